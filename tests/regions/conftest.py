"""Compiled kernels are loaded before the first test, which would else be the slow one."""

from __future__ import annotations

import pytest

from byways.core.chain import LayerChain
from byways.regions import enumerate_regions


@pytest.fixture(scope="session", autouse=True)
def _compiled_kernels() -> None:
    """Compile, or read from the cache, what every method and every sweep over regions runs."""
    pairs = [([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.25]), ([[1.0, 1.0], [1.0, -1.0]], [0.0, 0.0])]
    chain = LayerChain.from_arrays(pairs)
    for method in ("simplex", "polygon"):
        report = enumerate_regions(chain, (-1, 1), method=method)
    report.maximize(0)
    report.adjacency()
