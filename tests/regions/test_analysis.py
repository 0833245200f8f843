"""Exact statements about networks, compared with exact polygons, programs and brute force."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import linprog
from scipy.sparse.csgraph import connected_components

from byways.core.activations import PiecewiseLinear
from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.networks import random_network, tent_chain
from byways.regions import Slice, WholeSpace, enumerate_regions
from tests.oracles.patterns import patterns_by_lp
from tests.oracles.plain import hidden_layers
from tests.oracles.polygons import Point, Polygon, polygons
from tests.regions.nets import ACTIVATIONS, cell_rows, chains, whole_numbered

FEW = settings(max_examples=20)
SQUARE = ([-1.0, -1.0], [1.0, 1.0])


def exact_polygons(chain: LayerChain) -> list[tuple[tuple[int, ...], Polygon]]:
    return sorted(polygons(hidden_layers(chain), SQUARE).items())


def shared_length(first: Polygon, second: Polygon) -> Fraction:
    """Measure (along one axis) what two polygons have in common along their sides."""
    total = Fraction(0)
    for (p, q), (r, s) in itertools.product(_sides(first), _sides(second)):
        if not _on_a_line(p, q, r, s):
            continue
        along = 0 if q[0] != p[0] else 1
        low = max(min(p[along], q[along]), min(r[along], s[along]))
        high = min(max(p[along], q[along]), max(r[along], s[along]))
        total += max(high - low, Fraction(0))
    return total


def _on_a_line(p: Point, q: Point, r: Point, s: Point) -> bool:
    """Ask floats first, which is fast, and rationals where these cannot tell."""
    for number in (float, Fraction):
        u = [number(b) - number(a) for a, b in zip(p, q, strict=True)]
        for end in (r, s):
            v = [number(b) - number(a) for a, b in zip(p, end, strict=True)]
            if abs(u[0] * v[1] - u[1] * v[0]) > (1e-12 if number is float else 0):
                return False
    return True


def _sides(polygon: Polygon) -> list[tuple[Point, Point]]:
    return [(p, q) for p, q in zip(polygon, [*polygon[1:], polygon[0]], strict=True) if p != q]


def adjacency_of_polygons(chain: LayerChain) -> np.ndarray:
    cells = [polygon for _, polygon in exact_polygons(chain)]
    result = np.zeros((len(cells), len(cells)), dtype=np.uint8)
    for i, j in itertools.combinations(range(len(cells)), 2):
        result[i, j] = result[j, i] = shared_length(cells[i], cells[j]) > 0
    return result


def share_a_facet(rows: list[list[tuple[np.ndarray, float]]], i: int, j: int) -> bool:
    """Look for a point on a hyperplane of cell i that is strictly inside all else of i and j."""
    both = np.array([[*a, c] for a, c in rows[i] + rows[j]])
    for a, c in rows[i]:
        plane = np.array([*a, c])
        aside = np.minimum(np.abs(both - plane).max(axis=1), np.abs(both + plane).max(axis=1))
        rest = both[aside > 1e-9]
        opposed = (np.abs(np.array([[*r, s] for r, s in rows[j]]) + plane).max(axis=1) < 1e-9).any()
        if opposed and _depth(rest, plane) > 1e-7:
            return True
    return False


def _depth(rows: np.ndarray, plane: np.ndarray) -> float:
    """Give the largest t with ``a . x + c >= t`` for all rows, on a plane."""
    n = rows.shape[1] - 1
    found = linprog(
        [*np.zeros(n), -1.0],
        A_ub=np.column_stack([-rows[:, :-1], np.ones(len(rows))]),
        b_ub=rows[:, -1],
        A_eq=[[*plane[:-1], 0.0]],
        b_eq=[-plane[-1]],
        bounds=[(None, None)] * n + [(None, 1.0)],
    )
    return float(-found.fun) if found.status == 0 else -1.0


class TestAdjacency:
    @settings(max_examples=10)
    @given(chains(inputs=2, widest=3))
    def test_neighbours_are_polygons_with_a_common_side(self, chain: LayerChain) -> None:
        found = enumerate_regions(chain, (-1, 1)).adjacency()
        assert np.array_equal(found.toarray(), adjacency_of_polygons(chain))

    def test_the_graph_has_the_same_edges(self) -> None:
        chain = random_network((2, 6, 4), rng=2)
        graph = enumerate_regions(chain, (-1, 1)).graph()
        expected = {(int(i), int(j)) for i, j in np.argwhere(adjacency_of_polygons(chain)) if i < j}
        assert {(min(edge), max(edge)) for edge in graph.edges} == expected
        assert len(expected) > 20

    @pytest.mark.parametrize("seed", [0, 1])
    def test_neighbours_in_space_by_linear_programs(self, seed: int) -> None:
        chain = random_network([3, 3, 2, 1], rng=seed)
        report = enumerate_regions(chain, (-1, 1))
        sides = [(sign * axis, 1.0) for axis in np.eye(3) for sign in (1.0, -1.0)]
        rows = [cell_rows(chain, signs) + sides for signs in report.signs]
        expected = np.zeros((len(report), len(report)), dtype=np.uint8)
        for i, j in itertools.combinations(range(len(report)), 2):
            expected[i, j] = expected[j, i] = share_a_facet(rows, i, j)
        assert expected.sum() > 0
        assert np.array_equal(report.adjacency().toarray(), expected)

    @FEW
    @given(chains())
    def test_neighbours_are_few_and_mutual(self, chain: LayerChain) -> None:
        report = enumerate_regions(chain, (-1, 1))
        found = report.adjacency()
        assert found.shape == (len(report), len(report))
        assert (found != found.T).nnz == 0
        assert found.diagonal().sum() == 0
        # Gaines and Bi: on average no more than twice as many neighbours as dimensions.
        assert found.sum() / len(report) <= 2 * chain.input_size
        # The domain is convex, so one can walk from each to each.
        assert connected_components(found, directed=False)[0] == 1

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize("make", [random_network, whole_numbered])
    @pytest.mark.parametrize("widths", [(2, 6, 5, 1), (2, 5, 4, 3, 1)])
    def test_euler_counts_one(self, widths: Any, make: Any, activation: PiecewiseLinear) -> None:
        report = enumerate_regions(make(widths, 1, activation=activation), (-1, 1))
        corners = [report.vertices(k) for k in range(len(report))]
        points = np.unique(np.round(np.concatenate(corners), 7), axis=0)
        inner = int(report.adjacency().sum()) // 2
        outer = sum(
            bool((np.isclose(p, q) & np.isclose(np.abs(p), 1)).any())
            for polygon in corners
            for p, q in zip(polygon, np.roll(polygon, -1, axis=0), strict=True)
        )
        assert len(points) - (inner + outer) + len(report) == 1

    def test_units_that_coincide(self) -> None:
        # Both units change at x = 0, so crossing it changes two signs at once.
        network = [([[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0]], [0.0] * 3), (np.ones((1, 3)), [0.0])]
        report = enumerate_regions(network, (-1, 1))
        assert report.signs.tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1]]
        assert report.adjacency().toarray().tolist() == [
            [0, 1, 1, 0],
            [1, 0, 0, 1],
            [1, 0, 0, 1],
            [0, 1, 1, 0],
        ]

    def test_one_region_has_no_neighbour(self) -> None:
        report = enumerate_regions([([[1.0, 0.0]], [0.0])], (-1, 1))
        assert report.adjacency().toarray().tolist() == [[0]]

    def test_tents_are_a_path(self) -> None:
        report = enumerate_regions(tent_chain(5), (0, 1))
        order = np.argsort(report.witnesses.ravel())
        path = np.eye(32, k=1) + np.eye(32, k=-1)
        assert np.array_equal(report.adjacency().toarray()[np.ix_(order, order)], path)


class TestExtremes:
    @FEW
    @given(chains(inputs=2, widest=3))
    def test_extremes_are_taken_at_corners_of_polygons(self, chain: LayerChain) -> None:
        report = enumerate_regions(chain, (-1, 1))
        corners = np.array(
            [corner for _, polygon in exact_polygons(chain) for corner in polygon], dtype=float
        )
        values = chain(corners)
        for i in range(chain.output_size):
            most, where = report.maximize(i)
            least, there = report.minimize(i)
            assert most == pytest.approx(values[:, i].max(), abs=1e-7)
            assert least == pytest.approx(values[:, i].min(), abs=1e-7)
            assert chain(where)[i] == pytest.approx(most, abs=1e-7)
            assert chain(there)[i] == pytest.approx(least, abs=1e-7)
            assert (np.abs([where, there]) <= 1 + 1e-9).all()

    @pytest.mark.parametrize("seed", range(3))
    def test_extremes_in_space_by_linear_programs(self, seed: int) -> None:
        chain = random_network([4, 5, 4, 2], rng=seed)
        box = Box.around(np.full(4, 0.2), 0.7)
        report = enumerate_regions(chain, box)
        best = -np.inf
        for signs in report.signs:
            rows = np.array([[*a, c] for a, c in cell_rows(chain, signs)])
            local = chain.local_map(signs)
            found = linprog(
                -local.weight[1],
                A_ub=-rows[:, :-1],
                b_ub=rows[:, -1],
                bounds=np.column_stack([box.lower, box.upper]),
            )
            best = max(best, local.bias[1] - found.fun)
        value, place = report.maximize(1)
        assert value == pytest.approx(best)
        assert chain(place)[1] == pytest.approx(best)
        assert (np.abs(place - 0.2) <= 0.7 + 1e-9).all()
        assert value >= chain(box.sample(np.random.default_rng(0), 2000))[:, 1].max()

    def test_polytope_and_slice(self) -> None:
        hat = [([[1.0, 0.0], [-1.0, 0.0]], [0.0, 0.0]), ([[-1.0, -1.0]], [1.0])]  # 1 - |x|
        wedge = Polytope([[1.0, 1.0]], [-0.5], Box([-1.0, -1.0], [1.0, 0.0]))
        value, place = enumerate_regions(hat, wedge).maximize(0)
        assert value == pytest.approx(1.0)
        assert place[0] == pytest.approx(0.0)
        value, place = enumerate_regions(hat, wedge).minimize(0)
        assert (value, place[0]) == (pytest.approx(0.0), pytest.approx(-1.0))
        line = Slice([0.25, 7.0], [[0.5, 0.0]], extent=(0, 2))
        value, place = enumerate_regions(hat, line).maximize(0)
        assert (value, place.tolist()) == (pytest.approx(0.75), [0.25, 7.0])
        assert enumerate_regions(hat, line).minimize(0)[0] == pytest.approx(-0.25)

    def test_without_bounds(self) -> None:
        hat = [([[1.0], [-1.0]], [0.0, 0.0]), ([[-1.0, -1.0]], [1.0])]
        report = enumerate_regions(hat, WholeSpace(1))
        assert report.maximize(0)[0] == pytest.approx(1.0)
        assert report.minimize(0)[0] == -np.inf

    def test_large_values_on_regions_without_slope(self) -> None:
        step = [([[1.0]], [0.0]), ([[0.0], [1.0]], [-5e11, -5e11])]
        for domain in ((-1, 1), WholeSpace(1)):
            report = enumerate_regions(step, domain)
            assert [report.maximize(0)[0], report.minimize(0)[0]] == [-5e11, -5e11]
            assert report.minimize(1)[0] == -5e11
            assert report.network(report.minimize(1)[1])[1] == -5e11

    def test_no_such_output(self) -> None:
        report = enumerate_regions(tent_chain(1), (0, 1))
        for i in (1, -2):
            with pytest.raises(IndexError):
                report.maximize(i)
        assert report.maximize(-1)[0] == 1.0
        assert report.minimize(0)[0] == 0.0


class TestLipschitz:
    @FEW
    @given(chains(inputs=2, widest=3))
    def test_largest_norm_of_all_patterns(self, chain: LayerChain) -> None:
        report = enumerate_regions(chain, (-1, 1))
        maps = [chain.local_map(signs).weight for signs, _ in exact_polygons(chain)]
        for p in (1, 2, np.inf):
            expected = max(np.linalg.norm(weight, ord=p) for weight in maps)
            assert report.lipschitz(p) == pytest.approx(expected)

    def test_it_bounds_all_quotients_and_is_reached(self) -> None:
        chain = random_network([3, 6, 4, 2], rng=1)
        report = enumerate_regions(chain, (-1, 1))
        x, y = np.random.default_rng(0).uniform(-1, 1, (2, 4000, 3))
        for p in (1, 2, np.inf):
            change = np.linalg.norm(chain(x) - chain(y), ord=p, axis=1)
            assert (change <= report.lipschitz(p) * np.linalg.norm(x - y, ord=p, axis=1)).all()
        norms = np.linalg.norm(report.affine(slice(None)).weight, ord=2, axis=(1, 2))
        witness = report.witnesses[norms.argmax()]
        direction = np.linalg.svd(report.affine(int(norms.argmax())).weight)[2][0]
        step = 1e-7 * direction
        quotient = np.linalg.norm(chain(witness + step) - chain(witness)) / 1e-7
        assert quotient == pytest.approx(report.lipschitz(), rel=1e-5)

    def test_tents_double(self) -> None:
        for depth in (1, 3, 6):
            assert enumerate_regions(tent_chain(depth), (0, 1)).lipschitz() == 2.0**depth

    def test_only_directions_of_the_domain_count(self) -> None:
        network = [([[3.0, 4.0, 100.0]], [0.0]), ([[1.0]], [0.0])]
        flat = Box([-1.0, -1.0, 0.0], [1.0, 1.0, 0.0])
        assert enumerate_regions(network, flat).lipschitz() == pytest.approx(5.0)
        line = Slice([0.0] * 3, [[2.0, 0.0, 0.0]], 1.0)  # its speed does not matter
        assert enumerate_regions(network, line).lipschitz() == pytest.approx(3.0)
        assert enumerate_regions(network, WholeSpace(3)).lipschitz() == pytest.approx(
            np.sqrt(25 + 100**2)
        )

    @pytest.mark.parametrize("p", [3, 0, "2", None])
    def test_other_norms_are_refused(self, p: object) -> None:
        report = enumerate_regions(tent_chain(1), (0, 1))
        with pytest.raises(ValueError, match=r'"p" was .*; it is 1, 2 or float\("inf"\)'):
            report.lipschitz(p)  # type: ignore[arg-type]


class TestDistinctMaps:
    @FEW
    @given(chains(inputs=2))
    def test_classes_of_equal_maps(self, chain: LayerChain) -> None:
        report = enumerate_regions(chain, (-1, 1))
        labels = report.distinct_maps()
        maps = [chain.local_map(signs) for signs in report.signs]
        tables = [np.column_stack([m.weight, m.bias]) for m in maps]
        scale = max(np.abs(table).max() for table in tables) or 1.0
        seen: list[np.ndarray] = []
        for k, table in enumerate(tables):
            same = [i for i, other in enumerate(seen) if np.abs(table - other).max() < 1e-7 * scale]
            if not same:
                seen.append(table)
            assert labels[k] == (same[0] if same else len(seen) - 1)

    def test_kinks_that_cancel(self) -> None:
        # relu(x) - relu(-x) is x, on two regions.
        report = enumerate_regions([([[1.0], [-1.0]], [0, 0]), ([[1.0, -1.0]], [0])], (-1, 1))
        assert report.distinct_maps().tolist() == [0, 0]

    def test_units_behind_zero_weights(self) -> None:
        report = enumerate_regions([(np.eye(2), [0, 0]), ([[1.0, 0.0]], [0])], (-1, 1))
        assert report.signs.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
        assert report.distinct_maps().tolist() == [0, 0, 1, 1]

    def test_pieces_of_a_tent_all_differ(self) -> None:
        assert enumerate_regions(tent_chain(7), (0, 1)).distinct_maps().max() + 1 == 128

    def test_the_tolerance_decides(self) -> None:
        network = [([[1.0], [-1.0]], [0, 0]), ([[1.0, -(1.0 - 1e-6)]], [0])]
        report = enumerate_regions(network, (-1, 1))
        assert report.distinct_maps().tolist() == [0, 1]
        assert report.distinct_maps(tolerance=1e-4).tolist() == [0, 0]

    def test_along_a_slice(self) -> None:
        # The regions differ in a direction that the slice does not have.
        network = [([[1.0, 0.0], [-1.0, 0.0]], [0, 0]), ([[1.0, 1.0]], [0])]
        report = enumerate_regions(network, Slice([0.0, 0.0], [[1.0, 1.0]], 1.0))
        assert report.distinct_maps().tolist() == [0, 1]


def test_patterns_of_the_two_oracles_agree() -> None:
    chain = random_network([2, 4, 3, 1], rng=8)
    exact = {signs for signs, _ in exact_polygons(chain)}
    assert exact == patterns_by_lp(hidden_layers(chain), SQUARE)
