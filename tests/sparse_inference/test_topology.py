from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from byways.sparse_inference._topology import levels_of, sources_at_once

GRAPHS = st.integers(2, 8).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), min_size=1),
    )
)


@given(GRAPHS)
def test_levels_against_longest_walks(case: tuple[int, set[tuple[int, int]]]) -> None:
    n, edges = case
    sources, targets = np.array(sorted(edges)).T
    step = np.zeros((n, n), dtype=bool)
    step[sources, targets] = True
    expected, reach = np.zeros(n, dtype=int), np.eye(n, dtype=bool)
    for length in range(1, n + 1):  # walks of length n exist only into vertices behind a cycle
        reach = reach @ step
        expected[reach.any(axis=0)] = length
    expected[expected == n] = -1
    assert (levels_of(sources, targets, n) == expected).all()


def test_sources_at_once_against_sets() -> None:
    rng = np.random.default_rng(0)
    levels, sources = np.sort(rng.integers(1, 6, 60)), rng.integers(0, 9, 60)
    count = {level: len({*sources[levels == level].tolist()}) for level in range(1, 6)}
    expected = sum(count[level] for level in levels.tolist()) / 60
    assert sources_at_once(levels, sources, 9) == expected
    assert sources_at_once(levels[:0], sources[:0], 9) == 0
