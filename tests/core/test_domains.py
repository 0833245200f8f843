from __future__ import annotations

import math
import pickle
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byways.core import Box, Polytope
from byways.core.errors import DomainError, ShapeError

SIDES = st.lists(
    st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(sorted), min_size=1, max_size=4
)


class AlmostOne:
    """A generator whose every number is the largest below 1."""

    def random(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, 1 - 2.0**-53)


@given(SIDES, st.integers(0, 1000))
def test_samples_lie_inside_and_leave_flat_sides_alone(sides: list[list[float]], seed: int) -> None:
    lower, upper = (list(side) for side in zip(*sides, strict=True))
    box = Box(lower, upper)
    points = box.sample(np.random.default_rng(seed), 20)
    assert points.shape == (20, box.dim)
    assert box.contains(points).all()
    assert box.contains(box.sample(AlmostOne(), 1)).all()  # type: ignore[arg-type]
    flat = [i for i, (low, high) in enumerate(sides) if low == high]
    assert box.flat_axes.tolist() == flat
    np.testing.assert_array_equal(points[:, flat], np.tile(box.lower[flat], (20, 1)))
    assert box.contains(box.center)


def test_samples_fill_the_box_evenly() -> None:
    points = Box([-1.0, 2.0], [3.0, 2.5]).sample(np.random.default_rng(0), 40_000)
    np.testing.assert_allclose(points.mean(axis=0), [1.0, 2.25], atol=0.05)
    np.testing.assert_allclose(points.std(axis=0), [4 / 12**0.5, 0.5 / 12**0.5], rtol=0.02)


def test_a_box_is_closed() -> None:
    box = Box([0.0, 0.0], [1.0, 2.0])
    points = [[0, 0], [1, 2], [1, 2.0000001], [-1e-9, 1], [0.5, 1], [np.nan, 0.5]]
    assert box.contains(points).tolist() == [True, True, False, False, True, False]
    assert box.contains([[[0.5, 0.5]]]).shape == (1, 1)
    assert bool(box.contains([0.5, 0.5])) is True
    assert box.contains(np.zeros((0, 2))).shape == (0,)
    assert box.dim == 2
    assert box.center.tolist() == [0.5, 1.0]


@pytest.mark.parametrize("points", [[[0.5]], [0.5], 0.5, [[0.5] * 3], [[0.5], [0.7]]])
def test_points_of_another_dimension_are_refused(points: Any) -> None:
    box = Box([0.0, 0.0], [1.0, 1.0])
    for domain in (box, Polytope([[1.0, 1.0]], [1.0], box)):
        with pytest.raises(
            ShapeError, match=r'"x" has shape .*; its last axis must have 2 entries'
        ):
            domain.contains(points)


def test_vertices_are_all_corners_once() -> None:
    assert Box([0.0, 5.0, -1.0], [1.0, 5.0, 1.0]).vertices().tolist() == [
        [0, 5, -1],
        [0, 5, 1],
        [1, 5, -1],
        [1, 5, 1],
    ]
    assert Box([2.0], [2.0]).vertices().tolist() == [[2.0]]
    many = Box(np.zeros(16), np.ones(16)).vertices()
    assert len(np.unique(many, axis=0)) == 2**16
    with pytest.raises(DomainError, match=re.escape("17 free axes has 2**17 corners")):
        Box(np.zeros(17), np.ones(17)).vertices()


def test_around_is_the_ball_cut_by_the_clip() -> None:
    box = Box.around([[0.25, 0.5], [0.75, 1.0]], 0.5, clip=(0, 1))
    assert box.lower.tolist() == [0, 0, 0.25, 0.5]
    assert box.upper.tolist() == [0.75, 1, 1, 1]
    own = Box.around([0.0, 1.0], [0.5, 0.25])
    assert own.lower.tolist() == [-0.5, 0.75]
    assert Box.around([1.0, 2.0], 0.0).flat_axes.tolist() == [0, 1]


def test_around_refuses_what_is_no_ball() -> None:
    with pytest.raises(DomainError, match=r'"eps" was -0\.1; it must not be negative'):
        Box.around([0.0], -0.1)
    with pytest.raises(DomainError, match='"eps" has 1 values that are NaN'):
        Box.around([0.0], math.nan)
    with pytest.raises(DomainError, match='"x" has 1 values that are NaN'):
        Box.around([math.inf], 0.1)
    with pytest.raises(DomainError, match=r"leaves nothing .* 1 lies between 4\.9 and 5\.1 there"):
        Box.around([0.5, 5.0], 0.1, clip=(0, 1))
    with pytest.raises(DomainError, match="the smallest value, then the largest"):
        Box.around([0.5], 0.1, clip=(1, 0))
    with pytest.raises(ShapeError, match='"eps" has 2 numbers for 3 coordinates'):
        Box.around([0.0, 0.0, 0.0], [0.1, 0.2])


@pytest.mark.parametrize(
    ("lower", "upper", "kind", "message"),
    [
        ([1.0], [0.0], DomainError, "empty in coordinate 0: lower 1.0 is above upper 0.0; swap"),
        ([0.0, 3.0], [1.0, 2.0], DomainError, "empty in coordinate 1: lower 3.0 is above upper"),
        ([0.0, -math.inf], [1.0, 1.0], DomainError, '"lower" has 1 values'),
        ([0.0, 0.0], [1.0, math.inf], DomainError, "first at index (1,): inf"),
        ([math.nan], [1.0], DomainError, '"lower" has 1 values'),
        ([0.0], [1.0, 2.0], ShapeError, '"lower" has shape (1,) and "upper" (2,)'),
        ([], [], ShapeError, "give two vectors of the same length"),
        (1, 0, ShapeError, '"lower" has shape ()'),
        ([[0.0]], [[1.0]], ShapeError, '"lower" has shape (1, 1)'),
        (["a"], ["b"], TypeError, '"lower" has dtype'),
        ([1j], [1.0], TypeError, '"lower" has dtype complex128'),
    ],
    ids=str,
)
def test_boxes_that_are_none_are_refused(
    lower: Any, upper: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        Box(lower, upper)


def test_a_box_keeps_read_only_copies() -> None:
    given_lower = np.zeros(2)
    box = Box(given_lower, [1, 1])
    given_lower[0] = 9
    assert box.lower.tolist() == [0, 0]
    with pytest.raises(ValueError, match="read-only"):
        box.upper[0] = 3
    with pytest.raises(AttributeError):
        box.lower = given_lower  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(box)).upper.tolist() == [1, 1]


def test_a_polytope_is_closed_and_lies_in_its_box() -> None:
    triangle = Polytope([[1.0, 1.0]], [1.0], Box([0.0, 0.0], [1.0, 1.0]))
    points = [[0.5, 0.5], [0.6, 0.5], [-0.1, 0.0], [0.0, 1.0], [0.2, 0.2]]
    assert triangle.contains(points).tolist() == [True, False, False, True, True]
    assert triangle.dim == 2
    free = Polytope(np.zeros((0, 2)), [], Box([0.0, 0.0], [1.0, 1.0]))
    assert free.contains([0.5, 0.5])
    assert pickle.loads(pickle.dumps(triangle)).A.tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("A", "b", "kind", "message"),
    [
        ([[1.0]], [1.0], ShapeError, '"A" has shape (1, 1), "b" (1,) and the box 2 coordinates'),
        ([[1.0, 1.0]], [1.0, 2.0], ShapeError, "A needs one row per number of b"),
        ([1.0, 1.0], [1.0], ShapeError, '"A" has shape (2,)'),
        ([[1.0, math.nan]], [1.0], DomainError, '"A" has 1 values'),
        ([[1.0, 1.0]], [math.inf], DomainError, '"b" has 1 values'),
    ],
)
def test_polytopes_that_do_not_fit_are_refused(
    A: Any, b: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        Polytope(A, b, Box([0.0, 0.0], [1.0, 1.0]))


def test_a_polytope_needs_a_box() -> None:
    with pytest.raises(TypeError, match=r"inside a byways\.Box"):
        Polytope([[1.0]], [1.0], ([0.0], [1.0]))  # type: ignore[arg-type]


def test_shares_of_a_box() -> None:
    box = Box([-1.0, 0.0, 5.0, -1.5e308], [1.0, 8.0, 5.0, 1.5e308])
    corners = np.array([box.lower, box.upper])
    assert box.shares(corners).tolist() == [[0.0] * 4, [1.0, 1.0, 0.0, 1.0]]
    assert box.shares([0.5, 2.0, 5.0, 0.0]).tolist() == [0.75, 0.25, 0.0, 0.5]
    assert box.shares([-7.0, 9.0, 6.0, 1.7e308]).tolist() == [0.0, 1.0, 0.0, 1.0]
