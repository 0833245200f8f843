"""The public face of the pass: names, signatures, docstrings, and what a call loads and does."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import byways
from byways import regions
from byways.networks import random_network
from byways.regions import (
    Outcome,
    RegionCount,
    RegionReport,
    Slice,
    WholeSpace,
    count_regions,
    enumerate_regions,
    iter_regions,
    region_at,
)
from byways.regions._problem import Problem
from byways.regions._wide_space import Space

ROOT = Path(__file__).parents[2]
QUESTION = {
    **{"method": "auto", "solver": "auto", "exact": "float", "maxima": "winners"},
    "tolerance": 1e-9,
}
MANNER = {
    "workers": 1,
    "executor": None,
    "queue": None,
    "run_dir": None,
    "max_regions": None,
    "time_limit": None,
    "progress": False,
}
KEEP = {"keep": ("signs", "witness")}
SIGNATURES: list[tuple[Any, dict[str, Any]]] = [
    (enumerate_regions, QUESTION | MANNER | KEEP),
    (count_regions, QUESTION | MANNER),
    (iter_regions, QUESTION | KEEP),
]


def test_names() -> None:
    assert sorted(regions.__all__) == [
        "RegionCount",
        "RegionReport",
        "Slice",
        "WholeSpace",
        "check_proof",
        "count_regions",
        "enumerate_regions",
        "estimate_regions",
        "iter_regions",
        "plot_slice",
        "region_at",
        "unsafe_regions",
    ]
    assert dir(regions) == sorted(regions.__all__)
    assert all(getattr(regions, name).__doc__ for name in regions.__all__)
    assert byways.regions is regions


def test_no_other_names() -> None:
    with pytest.raises(AttributeError, match=r"byways\.regions.* no attribute 'enumerate'"):
        regions.enumerate  # noqa: B018


@pytest.mark.parametrize(("door", "options"), SIGNATURES)
def test_signatures(door: Any, options: dict[str, Any]) -> None:
    parameters = inspect.signature(door).parameters
    assert list(parameters)[:2] == ["network", "domain"]
    keywords = {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert list(parameters) == ["network", "domain", *keywords]
    assert {name: p.default for name, p in keywords.items()} == options


def test_signature_of_region_at() -> None:
    assert list(inspect.signature(region_at).parameters) == ["network", "x"]


@pytest.mark.parametrize(
    "member",
    [
        *("affine", "ranks", "locate", "halfspaces", "vertices", "volume", "chebyshev"),
        *("adjacency", "graph", "integral", "decision_facets", "proof"),
        *("distinct_maps", "maximize", "minimize", "lipschitz", "decision_boundary"),
        *("to_frame", "plot", "save", "load", "rows", "digest"),
        *("signs", "witnesses", "network"),
    ],
)
def test_a_report_has_what_was_promised(member: str) -> None:
    assert getattr(RegionReport, member).__doc__


def test_fields() -> None:
    count = [field.name for field in dataclasses.fields(RegionCount)]
    assert count == ["total", "layer_counts", "outcome", "ambiguous", "seconds"]
    report = {field.name for field in dataclasses.fields(RegionReport)}
    assert {"layer_counts", "outcome", "ambiguous", "explored", "seconds"} <= report


@pytest.mark.parametrize("kind", [RegionCount, RegionReport, Slice, WholeSpace])
def test_values_are_frozen(kind: Any) -> None:
    assert kind.__dataclass_params__.frozen


@pytest.mark.parametrize("door", [door for door, _ in SIGNATURES], ids=lambda d: d.__name__)
def test_docstrings_name_every_argument_and_show_an_example(door: Any) -> None:
    text = inspect.getdoc(door) or ""
    for part in ("Args:", "Returns:", "Example:", ">>> "):
        assert part in text
    for name in inspect.signature(door).parameters:
        assert f"\n    {name}: " in text


class TestOutcome:
    def test_members(self) -> None:
        assert issubclass(Outcome, Enum)
        names = [outcome.name for outcome in Outcome]
        assert names == ["COMPLETE", "MAX_REGIONS", "TIME_LIMIT", "INTERRUPTED"]
        assert [outcome.name for outcome in Outcome if outcome.complete] == ["COMPLETE"]

    def test_the_text_says_what_to_do(self) -> None:
        advice = {
            Outcome.MAX_REGIONS: ("max_regions", "raise the limit"),
            Outcome.TIME_LIMIT: ("time_limit", "more time"),
            Outcome.INTERRUPTED: ("interrupted", "run_dir"),
        }
        for outcome, words in advice.items():
            assert all(word in outcome.value for word in words)


@pytest.mark.parametrize("method", ["auto", "simplex"])
def test_a_network_is_restated_once_for_a_question(method: str) -> None:
    chain = random_network((300, 4, 3), rng=0)
    caches = (Problem.of, Space.of) if method == "auto" else (Problem.of,)
    before = [cache.cache_info().misses for cache in caches]
    count_regions(chain, (0, 1), method=method)
    assert [cache.cache_info().misses for cache in caches] == [misses + 1 for misses in before]


def run(program: str) -> list[str]:
    """Run a program in a new process and give the modules that it says were loaded."""
    done = subprocess.run(
        [sys.executable, "-c", program + "\nimport sys; print(*sorted(sys.modules))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_importing_loads_no_kernel() -> None:
    loaded = run("import byways, byways.regions")
    assert not {"numba", "scipy", "highspy", "torch", "matplotlib", "pandas"} & set(loaded)
    assert "byways.regions._enumeration" not in loaded


@pytest.mark.parametrize("method", ["simplex", "vertices", "lp"])
def test_enumerating_loads_no_torch(method: str) -> None:
    loaded = run(
        "from byways.regions import enumerate_regions\n"
        "chain = [([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])]\n"
        f"assert len(enumerate_regions(chain, (-1, 1), method={method!r})) == 4"
    )
    home = {"simplex": "_simplex", "vertices": "_vertices", "lp": "_layerwise"}[method]
    assert f"byways.regions.{home}" in loaded
    assert not {"torch", "matplotlib", "pandas", "onnx"} & set(loaded)


def test_one_program_per_candidate_needs_no_compiler() -> None:
    loaded = run(
        "from byways.regions import count_regions\n"
        "chain = [([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])]\n"
        "assert count_regions(chain, (-1, 1), method='lp').total == 4"
    )
    assert "numba" not in loaded


def test_workers_load_no_torch() -> None:
    # The executor's processes run what workers of our own run; one of them tells what it loaded.
    loaded = run(
        "import multiprocessing, sys\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from byways.regions import _work, enumerate_regions\n"
        "_work._SMALL_LEAVES = _work._FEW_PROGRAMS = 1; _work._SMALL_WORK = {'lp': 1}\n"
        "chain = [([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])]\n"
        "context = multiprocessing.get_context('spawn')\n"
        "with ProcessPoolExecutor(1, mp_context=context) as pool:\n"
        "    report = enumerate_regions(chain, (-1, 1), method='lp', executor=pool)\n"
        "    theirs = pool.submit(eval, \"list(__import__('sys').modules)\").result()\n"
        "assert len(report) == 4\n"
        "assert 'byways.regions._layerwise' in theirs, theirs\n"
        "assert 'torch' not in theirs\n"
    )
    assert "torch" not in loaded
