"""Predictions against what the scans count, and against formulas."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from byways.parallel import plan, scan
from byways.parallel._bppsa import exclusive_scan, tree_levels
from byways.parallel._strategies import STRATEGIES


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_counts_are_those_of_the_code(strategy: str) -> None:
    for n in [*range(1, 66), 1000, 1024, 1025]:
        for chunk in (None, 1, 5):
            b = torch.zeros(n, 1)
            _, told = scan(b, b, strategy=strategy, chunk=chunk, return_info=True)
            predicted = plan(n, 1, chunk=chunk)[strategy]
            assert (predicted.levels, predicted.combines) == (told.levels, told.combines), (
                n,
                chunk,
            )


@pytest.mark.parametrize("n", [2, 17, 1000])
def test_times_by_hand(n: int) -> None:
    one = plan(n, 8, workers=10**9)
    assert one["sequential"].time == n - 1
    depth = math.ceil(math.log2(n))
    assert one["pcr"].time <= depth * (1 + 8)
    assert one["blelloch"].time <= 2 * depth * (1 + 8)
    alone = plan(n, 8, structure="diagonal")
    assert alone["pcr"].time == n * depth - (2**depth - 1)


def test_a_dense_tree_wants_twice_as_many_workers_as_the_size() -> None:
    assert plan(100_000, 32, workers=8).chosen.strategy == "sequential"
    assert plan(100_000, 32, workers=1024).chosen.strategy != "sequential"
    assert plan(1000, 4, iterations=5, evaluate_time=10).chosen.strategy == "sequential"
    assert plan(1000, 1, iterations=5, evaluate_time=10, workers=4000).chosen.strategy == "pcr"


def test_numpys_numbers_do_not_overflow() -> None:
    small = [np.int32(n) for n in (100_000, 64, 1000)]
    steps, size, batch = map(int, small)
    assert plan(small[0], small[1], batch=small[2], chunk=np.int8(100)) == plan(
        steps, size, batch=batch, chunk=100
    )
    assert plan(steps, size, batch=batch)["pcr"].nbytes > 2**31


def test_memory_and_rows() -> None:
    found = plan(17_984, 32, batch=4)
    assert found["pcr"].nbytes == 17_984 * 4 * (3 * 32 * 32 + 32) * 4
    assert [row["strategy"] for row in found.rows()] == [one.strategy for one in found.predictions]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, '"steps" was 0'),
        ({"workers": True}, '"workers" was True'),
        ({"structure": "csr"}, "'csr'.*diagonal"),
        ({"chunk": 0}, '"chunk" was 0'),
    ],
)
def test_misuse(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan(**({"steps": 4, "size": 2} | options))


@pytest.mark.parametrize("levels", [None, 0, 1, 2])
def test_scan_of_rectangular_chains_in_the_published_order(levels: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    for n in [*range(1, 71), 200]:
        sizes = torch.randint(1, 6, (n + 1,), generator=generator).tolist()
        first = torch.randn(sizes[0], generator=generator, dtype=torch.float64)
        links = [
            torch.randn(b, a, generator=generator, dtype=torch.float64)
            for a, b in itertools.pairwise(sizes)
        ]
        expected = [first]
        for link in links[:-1]:
            expected.append(link @ expected[-1])
        found = exclusive_scan(
            first, links, lambda later, earlier: later @ earlier, max_tree_levels=levels
        )
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("n", range(1, 70))
def test_levels_of_the_published_scan(n: int) -> None:
    seen: list[int] = []
    exclusive_scan(
        "v", ["m"] * n, lambda a, b: b, on_level=lambda phase, pairs: seen.append(len(pairs))
    )
    depth = math.ceil(math.log2(n + 1)) - 1
    assert tree_levels(n) == depth
    assert len(seen) <= 2 * depth
    assert sum(seen) < 2 * n
