"""Which entry of a window is the largest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from byways.core import LayerChain
from byways.core.errors import ShapeError
from byways.core.windows import winners, with_winners


def played(values: tuple[int, ...]) -> list[int]:
    """Play the matches one by one."""
    left, bits = list(values), []
    while len(left) > 1:
        pairs = [left[i : i + 2] for i in range(0, len(left), 2)]
        bits += [int(pair[1] > pair[0]) for pair in pairs if len(pair) == 2]
        left = [max(pair) for pair in pairs]
    return bits


@pytest.mark.parametrize("k", range(1, 7))
def test_the_winner_is_the_largest(k: int) -> None:
    orders = list(itertools.permutations(range(k)))
    bits = np.array([played(order) for order in orders]).reshape(len(orders), k - 1)
    np.testing.assert_array_equal(winners(bits), [order.index(k - 1) for order in orders])


def test_windows_come_behind_the_other_units() -> None:
    segments = np.array([[1, 0, 1, 2, 1], [0, 1, 0, 0, 0]])
    found = with_winners(segments, [(0, 1, 4), (2,)])  # of 4 entries: 0 or 1, 2 or 3, then both
    np.testing.assert_array_equal(found, [[2, 2, 1], [0, 0, 0]])


def test_without_windows_states_are_segments() -> None:
    chain = LayerChain.from_arrays([([[1.0], [1.0]], [0.0, 0.5]), ([[1.0, 1.0]], [0.0])])
    np.testing.assert_array_equal(chain.states([[0, 1], [1, 1]]), [[0, 1], [1, 1]])
    with pytest.raises(ShapeError):
        chain.states([1])
