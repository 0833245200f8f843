"""Method "vertices" in other dimensions than the plane."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import HalfspaceIntersection

from byways.core.activations import PiecewiseLinear, absolute, hardtanh, relu
from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.regions._engine import Order
from byways.regions._signs import unpack
from byways.regions._simplex import SimplexWalk
from byways.regions._vertices import VerticesWalk
from tests.regions.test_vertices import NOTHING, finish, problem_of, random_chain


@pytest.mark.parametrize("dim", [1, 3, 4, 5, 6])
@pytest.mark.parametrize("activation", [relu, hardtanh(), absolute], ids=lambda a: a.name)
def test_same_cells_as_the_simplex_walk(dim: int, activation: PiecewiseLinear) -> None:
    box = Box([-1.0] * dim, [1.0] * dim)
    problem = problem_of(random_chain(dim, 7, 6, 5, activation=activation), box)
    walk = VerticesWalk(problem, Order(NOTHING))
    words, points = finish(walk, leaves=13)
    others, _ = finish(SimplexWalk(problem, Order(NOTHING)))
    assert sorted(map(tuple, others.tolist())) == [tuple(w) for w in words.tolist()]
    assert walk.handed == 0
    inside = unpack(words, problem.decisions)
    for bits, point in zip(inside[::9], points[::9], strict=True):
        rows = problem.cell_rows(bits)
        varying = rows[:, 1:].any(axis=1)
        assert (rows[varying] @ np.append(1.0, point) > 0).all()


def test_more_facets_than_a_word_has_bits() -> None:
    # Planes that touch a small ball: the cell around it has 70 facets or so.
    normals = np.random.default_rng(2).normal(size=(90, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    chain = LayerChain.from_arrays([(-normals, np.full(90, 0.05)), (np.ones((1, 90)), [0.0])])
    problem = problem_of(chain, Box([-1.0] * 3, [1.0] * 3))
    prefix = np.ones(70, dtype=np.uint8)  # most of the planes around the ball
    walk = VerticesWalk(problem, Order(prefix))
    words, _ = finish(walk)
    others, _ = finish(SimplexWalk(problem, Order(prefix)))
    assert walk.handed > 0
    assert {tuple(w) for w in words.tolist()} == {tuple(w) for w in others.tolist()}


def test_cells_of_many_corners_get_the_room_that_they_need() -> None:
    # Hyperplanes that touch a small ball, and four that cut it.
    normals = np.random.default_rng(2).normal(size=(55, 4))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    offsets = np.append(np.full(51, 0.05), [0.01] * 4)
    sides = np.concatenate([np.eye(4), -np.eye(4)])
    round_cell = np.concatenate(
        [np.column_stack([normals[:51], -offsets[:51]]), np.column_stack([sides, -np.ones(8)])]
    )
    assert len(HalfspaceIntersection(round_cell, np.zeros(4)).intersections) > 256
    chain = LayerChain.from_arrays([(-normals, offsets), (np.ones((1, 55)), [0.0])])
    problem = problem_of(chain, Box([-1.0] * 4, [1.0] * 4))
    prefix = np.ones(51, dtype=np.uint8)
    walk = VerticesWalk(problem, Order(prefix))
    words, _ = finish(walk)
    others, _ = finish(SimplexWalk(problem, Order(prefix)))
    assert walk.handed == 0
    assert {tuple(w) for w in words.tolist()} == {tuple(w) for w in others.tolist()}


def test_only_the_cell_at_a_corner_is_handed_over() -> None:
    # Four planes through one point next to planes in general position.
    rng = np.random.default_rng(5)
    normals, offsets = rng.normal(size=(10, 3)), rng.normal(size=10) / 4
    offsets[:4] = -normals[:4] @ [0.5, 0.25, -0.5]
    chain = LayerChain.from_arrays([(normals, offsets), (np.ones((1, 10)), [0.0])])
    problem = problem_of(chain, Box([-1.0] * 3, [1.0] * 3))
    walk = VerticesWalk(problem, Order(NOTHING))
    words, _ = finish(walk, leaves=7)
    others, _ = finish(SimplexWalk(problem, Order(NOTHING)))
    assert 0 < walk.handed < len(words) / 4
    assert walk.explored == pytest.approx(1.0)
    assert walk.layer_counts.tolist() == [len(words)]
    assert {tuple(w) for w in words.tolist()} == {tuple(w) for w in others.tolist()}


def test_a_pyramid_is_handed_over_whole() -> None:
    sides = [[1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, -1.0, 1.0]]
    pyramid = Polytope(sides, [0.5] * 4, Box([-1.0] * 3, [1.0] * 3))  # four facets at the top
    problem = problem_of(random_chain(3, 6, 5), pyramid)
    walk = VerticesWalk(problem, Order(NOTHING))
    words, _ = finish(walk, leaves=7)
    others, _ = finish(SimplexWalk(problem, Order(NOTHING)))
    assert walk.handed == 1
    assert walk.explored == pytest.approx(1.0)
    assert sorted(map(tuple, words.tolist())) == sorted(map(tuple, others.tolist()))
