from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byways.core.activations import PiecewiseLinear, absolute, hardtanh, leaky_relu, relu
from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.regions._domains import Domain, Slice, WholeSpace
from byways.regions._engine import Order
from byways.regions._outlines import Outlines, outlines, polygons
from byways.regions._problem import Problem
from byways.regions._signs import find, pack, unpack
from byways.regions._simplex import SimplexWalk
from byways.regions._vertices import VerticesWalk
from tests.oracles.counts import folded_regions, generic_regions
from tests.oracles.plain import hidden_layers
from tests.oracles.polygons import area
from tests.oracles.polygons import polygons as exact_polygons

SQUARE = Box([-1.0, -1.0], [1.0, 1.0])
NOTHING = np.zeros(0, dtype=np.uint8)


def random_chain(*widths: int, seed: int = 0, activation: PiecewiseLinear = relu) -> LayerChain:
    rng = np.random.default_rng(seed)
    shapes = [*itertools.pairwise(widths), (widths[-1], 1)]
    pairs = [(rng.normal(size=(b, a)) / a**0.5, rng.normal(size=b) / 2) for a, b in shapes]
    return LayerChain.from_arrays(pairs, activation=activation)


def problem_of(chain: LayerChain, domain: Domain = SQUARE) -> Problem:
    return Problem.of(chain, domain)


def finish(walk: Any, leaves: int = 10_000, work: int = 10**9) -> tuple[Any, Any]:
    words, points = [], []
    while not walk.finished:
        batch = walk.advance(leaves, work)
        assert len(batch.words) == batch.leaves <= leaves
        words.append(batch.words)
        points.append(batch.points)
    return np.concatenate(words), np.concatenate(points)


def cells(problem: Problem, **order: Any) -> np.ndarray:
    return finish(VerticesWalk(problem, Order(NOTHING, **order)))[0]


# Weights on a coarse grid make lines meet in corners, coincide and vanish all the time.
grid = st.integers(-4, 4).map(lambda i: i / 2)


@st.composite
def coarse_chains(draw: st.DrawFn) -> LayerChain:
    widths = [2, *draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)), 1]
    activation = draw(st.sampled_from([relu, absolute, hardtanh(), leaky_relu(0.125)]))
    pairs = [
        (
            [[draw(grid) for _ in range(a)] for _ in range(b)],
            [draw(grid) for _ in range(b)],
        )
        for a, b in itertools.pairwise(widths)
    ]
    return LayerChain.from_arrays(pairs, activation=activation)


@settings(max_examples=60)
@given(coarse_chains())
def test_cells_and_areas_are_those_of_exact_scissors(chain: LayerChain) -> None:
    problem = problem_of(chain)
    expected = exact_polygons(hidden_layers(chain), ((-1, -1), (1, 1)))
    words = cells(problem)
    found = problem.segments(unpack(words, problem.decisions))
    assert {tuple(row) for row in found.tolist()} == set(expected)
    assert len(found) == len(expected)
    areas = outlines(problem, words).areas() * 4  # engine coordinates are [0, 1]
    exact = [float(area(expected[tuple(row)])) for row in found.tolist()]
    np.testing.assert_allclose(areas, exact, rtol=1e-9)


def torch_chain(*widths: int) -> LayerChain:
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    pairs = [(m.weight.detach().double().numpy(), m.bias.detach().double().numpy()) for m in layers]
    return LayerChain.from_arrays([*pairs, (np.ones((1, widths[-1])), [0.0])])


# Counted before by edge subdivision, an independent method and program: Euler's E - V + 1.
@pytest.mark.parametrize(
    ("widths", "count"),
    [
        ((2, 16, 16), 127),
        ((2, 32, 32), 795),
        ((2, 64, 64), 2943),
        ((2, 64, 64, 64), 6668),
        pytest.param((2, 256, 256), 37357, marks=pytest.mark.slow),
    ],
)
def test_counts_agree_with_edge_subdivision(widths: tuple[int, ...], count: int) -> None:
    problem = problem_of(torch_chain(*widths))
    walk = VerticesWalk(problem, Order(NOTHING))
    words, _ = finish(walk)
    assert len(words) == count
    assert walk.layer_counts[-1] == count
    assert walk.ambiguous == 0
    assert walk.explored == pytest.approx(1.0)
    areas = outlines(problem, words).areas()
    assert areas.min() > 0
    assert areas.sum() == pytest.approx(1.0, abs=1e-12)


def test_lines_in_general_position() -> None:
    rng = np.random.default_rng(3)
    rows, biases = rng.normal(size=(30, 2)), rng.normal(size=30)
    chain = LayerChain.from_arrays([(rows, biases), (np.ones((1, 30)), [0.0])])
    far = Box([-1e4, -1e4], [1e4, 1e4])  # all meetings of two lines lie inside
    meetings = [
        np.linalg.solve(rows[[i, j]], -biases[[i, j]])
        for i, j in itertools.combinations(range(30), 2)
    ]
    assert np.abs(meetings).max() < 1e4
    assert len(cells(problem_of(chain, far))) == generic_regions(30, 2)


@pytest.mark.parametrize(("p", "depth"), [(2, 3), (3, 2), (4, 2), (5, 1), (2, 5)])
def test_folded_squares_are_equal(p: int, depth: int) -> None:
    outer = p * np.array([1.0, *(2.0 * (-1.0) ** i for i in range(1, p))])
    bias = -np.tile(np.arange(p) / p, 2)
    later = (np.kron(np.eye(2), np.outer(np.ones(p), outer)), bias)
    first = (np.kron(np.eye(2), np.ones((p, 1))), bias)
    chain = LayerChain.from_arrays([first, *[later] * (depth - 1), (np.ones((1, 2 * p)), [0.0])])
    problem = problem_of(chain, Box([0.0, 0.0], [1.0, 1.0]))
    words = cells(problem)
    assert len(words) == folded_regions(p, depth, 2)
    np.testing.assert_allclose(outlines(problem, words).areas(), p ** (-2.0 * depth), rtol=1e-9)


@pytest.mark.parametrize("activation", [relu, hardtanh(), absolute], ids=lambda a: a.name)
def test_same_cells_as_the_simplex_walk(activation: PiecewiseLinear) -> None:
    problem = problem_of(random_chain(2, 20, 20, 70, activation=activation))
    words, _ = finish(VerticesWalk(problem, Order(NOTHING)))
    others, _ = finish(SimplexWalk(problem, Order(NOTHING)))
    assert words.shape[1] > 1
    assert {tuple(w) for w in words.tolist()} == {tuple(w) for w in others.tolist()}
    assert len(words) == len(others)


def test_leaves_come_in_lexicographic_order() -> None:
    words = cells(problem_of(random_chain(2, 12, 70)))
    rows = [tuple(word) for word in words.tolist()]
    assert rows == sorted(rows)


@pytest.mark.parametrize("stop", [1, 7, 12, 13, 30])
def test_subtrees_in_order_make_up_the_walk(stop: int) -> None:
    problem = problem_of(random_chain(2, 12, 18))
    whole = VerticesWalk(problem, Order(NOTHING))
    words, points = finish(whole)
    roots = unpack(cells(problem, stop=stop), problem.decisions)[:, :stop]
    walks = [VerticesWalk(problem, Order(np.ascontiguousarray(root))) for root in roots]
    parts = [finish(walk) for walk in walks]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), words)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), points)
    counts = sum(walk.layer_counts for walk in walks)
    below = problem.ends > stop
    np.testing.assert_array_equal(counts, np.where(below, whole.layer_counts, 0))


def test_a_prefix_of_no_cell_has_no_leaves() -> None:
    chain = LayerChain.from_arrays([([[1, 0], [1, 0]], [0.0, -0.5]), ([[1, 1]], [0.0])])
    walk = VerticesWalk(problem_of(chain), Order(np.array([0, 1], dtype=np.uint8)))
    assert walk.advance(10, 10**9).leaves == 0
    assert walk.finished
    assert walk.explored == 1.0


@pytest.mark.parametrize(("leaves", "work"), [(1, 10**9), (7, 10**9), (10_000, 1), (3, 50)])
def test_pauses_change_nothing(leaves: int, work: int) -> None:
    problem = problem_of(random_chain(2, 24, 24))
    words, points = finish(VerticesWalk(problem, Order(NOTHING)))
    walk = VerticesWalk(problem, Order(NOTHING))
    again = finish(walk, leaves, work)
    np.testing.assert_array_equal(again[0], words)
    np.testing.assert_array_equal(again[1], points)
    assert walk.explored == pytest.approx(1.0)


def test_counting_keeps_nothing() -> None:
    problem = problem_of(random_chain(2, 8, 8))
    walk = VerticesWalk(problem, Order(NOTHING, listing=False, witnesses=False))
    batch = walk.advance(10_000, 10**9)
    assert batch.words.shape == (0, 1)
    assert batch.points.shape == (0, 2)
    assert batch.leaves == walk.layer_counts[-1] == len(cells(problem))


@pytest.mark.parametrize("domain", [Box([0.0] * 9, [1.0] * 9), WholeSpace(2)])
def test_other_domains_are_refused(domain: Domain) -> None:
    chain = random_chain(domain.dim, 3)
    with pytest.raises(ValueError, match=r'at most 8 coordinates.*Use method="simplex"'):
        VerticesWalk(problem_of(chain, domain), Order(NOTHING))


class TestPolytope:
    def test_areas_add_up_to_the_triangle(self) -> None:
        triangle = Polytope([[1.0, 1.0]], [0.0], SQUARE)
        problem = problem_of(random_chain(2, 10, 10), triangle)
        found = outlines(problem, cells(problem))
        assert found.areas().sum() == pytest.approx(0.5)
        assert set(found.edges[found.edges < 0].tolist()) == {-1, -4, -5}

    def test_rows_without_normal_forbid_all_or_nothing(self) -> None:
        chain = random_chain(2, 4)
        free = problem_of(chain, Polytope([[0.0, 0.0]], [0.0], SQUARE))
        assert len(cells(free)) == len(cells(problem_of(chain)))
        none = VerticesWalk(
            problem_of(chain, Polytope([[0.0, 0.0]], [-1.0], SQUARE)), Order(NOTHING)
        )
        assert (none.finished, none.explored) == (True, 1.0)

    def test_empty(self) -> None:
        empty = Polytope([[1.0, 0.0], [-1.0, 0.0]], [0.0, -0.5], SQUARE)
        walk = VerticesWalk(problem_of(random_chain(2, 4), empty), Order(NOTHING))
        assert walk.finished


class TestOutlines:
    problem = problem_of(random_chain(2, 16, 16, seed=5))

    def found(self) -> tuple[np.ndarray, Outlines]:
        words = cells(self.problem)
        return words, outlines(self.problem, words)

    def test_euler(self) -> None:
        _, found = self.found()
        corners = np.unique(np.round(found.corners, 10), axis=0)
        inner = int((found.edges >= 0).sum())
        assert inner % 2 == 0
        sides = inner // 2 + int((found.edges < 0).sum())
        assert len(corners) - sides + len(found.starts) - 1 == 1

    def test_an_edge_leads_to_the_cell_beyond_its_decision(self) -> None:
        words, found = self.found()
        cell = np.repeat(np.arange(len(words)), np.diff(found.starts))
        inner = found.edges >= 0
        bits = unpack(words, self.problem.decisions)[cell[inner]]
        rows = np.arange(len(bits))
        bits[rows, found.edges[inner]] ^= 1
        assert (find(pack(bits), words) >= 0).all()

    def test_edges_lie_on_their_lines(self) -> None:
        words, found = self.found()
        bits = unpack(words, self.problem.decisions)
        following = found.following()
        for i in range(len(words)):
            rows = self.problem.cell_rows(bits[i])
            for corner in range(found.starts[i], found.starts[i + 1]):
                if found.edges[corner] < 0:
                    continue
                row = rows[found.edges[corner]]
                ends = found.corners[[corner, following[corner]]]
                np.testing.assert_allclose(row[0] + ends @ row[1:], 0.0, atol=1e-12)

    def test_sides_of_the_square_are_named(self) -> None:
        _, found = self.found()
        ends = np.stack([found.corners, found.corners[found.following()]], axis=1)
        for label, axis, value in [(-1, 1, 0.0), (-2, 0, 1.0), (-3, 1, 1.0), (-4, 0, 0.0)]:
            side = ends[found.edges == label]
            assert (side[:, :, axis] == value).all()
            other = side[:, :, 1 - axis]
            assert np.abs(other[:, 1] - other[:, 0]).sum() == pytest.approx(1.0)

    def test_any_order_of_cells(self) -> None:
        words, found = self.found()
        order = np.random.default_rng(0).permutation(len(words))
        shuffled = polygons(self.problem, words[order])
        straight = found.polygons()
        for place, i in enumerate(order):
            np.testing.assert_allclose(shuffled[place], straight[i], atol=1e-14)

    @pytest.mark.parametrize("stop", [0, 5, 16, 20])
    def test_first_decisions_only(self, stop: int) -> None:
        words = cells(self.problem, stop=stop)
        found = outlines(self.problem, words, stop=stop)
        assert found.areas().sum() == pytest.approx(1.0)
        assert found.edges.max() < stop

    def test_points_of_the_walk_lie_inside(self) -> None:
        words, points = finish(VerticesWalk(self.problem, Order(NOTHING)))
        for point, polygon in zip(points, polygons(self.problem, words), strict=True):
            sides = np.roll(polygon, -1, axis=0) - polygon
            offset = point - polygon
            assert (sides[:, 0] * offset[:, 1] - sides[:, 1] * offset[:, 0] > 0).all()

    def test_of_nothing(self) -> None:
        found = outlines(self.problem, np.zeros((0, 1), dtype=np.uint64))
        assert found.polygons() == []
        assert found.areas().size == 0


def test_corners_of_a_sliced_network_are_exact() -> None:
    # |x + y| and |x - z| on the plane z = 1/4: its corners are quarters
    chain = LayerChain.from_arrays(
        [([[1, 1, 0], [1, 0, -1]], [0.0, 0.0]), ([[1, 1]], [0.0])], activation=absolute
    )
    plane = Slice([0, 0, 0.25], [[1, 0, 0], [0, 1, 0]], 1.0)
    problem = problem_of(chain, plane)
    found = {
        frozenset((Fraction(x), Fraction(y)) for x, y in (2 * polygon - 1).tolist())
        for polygon in polygons(problem, cells(problem))
    }
    cut, low = Fraction(1, 4), Fraction(-1)
    top = -low
    assert found == {
        frozenset({(low, low), (cut, low), (cut, -cut), (low, top)}),
        frozenset({(cut, low), (top, low), (cut, -cut)}),
        frozenset({(low, top), (cut, -cut), (cut, top)}),
        frozenset({(cut, -cut), (top, low), (top, top), (cut, top)}),
    }
