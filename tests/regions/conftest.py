"""Fixtures of the pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from byways.core.chain import LayerChain
from byways.regions import _work, enumerate_regions
from tests.regions import master
from tests.regions.programs import Program, Start


@pytest.fixture(scope="session", autouse=True)
def _compiled_kernels() -> None:
    """Compile, or read from the cache, what runs; the first test would else be a slow one."""
    pairs = [([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.25]), ([[1.0, 1.0], [1.0, -1.0]], [0.0, 0.0])]
    chain = LayerChain.from_arrays(pairs)
    for method in ("simplex", "wide", "vertices"):
        report = enumerate_regions(chain, (-1, 1), method=method)
    report.maximize(0)
    report.adjacency()


@pytest.fixture
def _cut_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut even a small question into tasks, until the end of the test."""
    for name, value in master.EARLY.items():
        monkeypatch.setattr(_work, name, value)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start modules as processes, which end with the test at the latest."""
    programs: list[Program] = []

    def begin(module: str, *arguments: object) -> Program:
        programs.append(Program(module, *arguments))
        return programs[-1]

    yield begin
    for program in programs:
        program.end()
