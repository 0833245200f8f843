"""Small linear systems: solutions that are known, and pivots that are too small."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from byways.core.compiled import borrowing_entry
from byways.regions._elimination import eliminate

Array = NDArray[np.float64]


@borrowing_entry
def _solve(system: Array, unknowns: int, width: int, smallest: float) -> bool:
    return eliminate(system, unknowns, width, smallest)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_the_solution_takes_the_place_of_the_right_sides(n: int) -> None:
    rng = np.random.default_rng(n)
    left, solution = rng.integers(-9, 10, (n, n)) + 20.0 * np.eye(n), rng.integers(-9, 10, (n, 3))
    system = np.full((n + 1, n + 5), 7.0)  # more room than the system takes
    system[:n, : n + 3] = np.hstack([left[::-1], (left @ solution)[::-1]])  # needs exchanges
    assert _solve(system, n, n + 3, 1e-12)
    np.testing.assert_allclose(system[:n, n : n + 3], solution, rtol=0, atol=1e-12)
    assert (system[n] == 7.0).all()
    assert (system[:, n + 3 :] == 7.0).all()


def test_a_matrix_whose_first_pivot_is_zero_is_inverted() -> None:
    system = np.array([[0.0, 2.0, 1.0, 0.0], [4.0, 0.0, 0.0, 1.0]])
    assert _solve(system, 2, 4, 1e-12)
    assert system[:, 2:].tolist() == [[0.0, 0.25], [0.5, 0.0]]


def test_a_pivot_below_the_smallest_is_refused() -> None:
    assert not _solve(np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 1.0]]), 2, 3, 1e-13)
    assert not _solve(np.array([[1e-9, 1.0]]), 1, 2, 1e-8)
    assert _solve(np.array([[1e-9, 1.0]]), 1, 2, 1e-10)
