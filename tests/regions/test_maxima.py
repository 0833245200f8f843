"""Regions of max-pooling and maxout: a state for each number that may be the largest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from byways.core import Box, LayerChain, Polytope
from byways.networks import as_chain
from byways.regions import (
    RegionReport,
    Slice,
    WholeSpace,
    count_regions,
    enumerate_regions,
    iter_regions,
    region_at,
)
from tests.oracles.maxima import (
    most_maxout_regions,
    nearest,
    winners_by_lp,
    winners_of_orders,
)

torch = pytest.importorskip("torch")
pools = pytest.importorskip("tests.regions.pools")
nn = torch.nn

ENGINES = ["simplex", "vertices", "lp"]


def states(report: RegionReport) -> np.ndarray:
    return report.network.states(report.signs)


def as_set(report: RegionReport) -> set[tuple[int, ...]]:
    """Give the regions by their states, each of which must be another."""
    found = {tuple(row) for row in states(report).tolist()}
    assert len(found) == len(report)
    return found


@pytest.mark.parametrize("method", ENGINES)
@pytest.mark.parametrize("layers", [[[3, 4]], [[5], [3]], [[2, 3], [3, 1]], [[3, 3], [4, 4]]])
@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_regions_are_those_of_equal_winners(inputs: int, layers, method: str) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(len(layers) + 10 * inputs)
    chain, parts = pools.random_maxout(rng, inputs, layers)
    report = enumerate_regions(chain, (-2, 2), method=method)
    box = (-2 * np.ones(inputs), 2 * np.ones(inputs))
    expected = winners_by_lp(parts, box)
    # A window of one number has no state; those of two are decisions of the network.
    sizes = [[len(window) for window in windows] for _, _, windows in parts]
    flat = {
        tuple(
            place
            for chosen, part in zip(choice, sizes, strict=True)
            for place, size in zip(chosen, part, strict=True)
            if size > 1
        )
        for choice in expected
    }
    assert as_set(report) == flat
    assert report.layer_counts[-1] == len(report)
    assert sum(report.volume(k) for k in range(len(report))) == pytest.approx(4.0**inputs)


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_a_maximum_of_tangents_has_the_nearest_points_cells(dim: int) -> None:
    """A Voronoi diagram: one cell a point, and neighbours as in Delaunay's triangulation."""
    from scipy.spatial import Delaunay

    points = np.random.default_rng(dim).uniform(-1, 1, (9, dim))
    chain = as_chain(pools.Maxout([(*nearest(points), pools.side_by_side(9))]), (dim,))
    report = enumerate_regions(chain, WholeSpace(dim))
    place = states(report)[:, 0]
    assert sorted(place) == list(range(9))
    matches = count_regions(chain, WholeSpace(dim), maxima="matches").total
    assert matches > 9
    if dim > 1:
        pairs = {
            frozenset(pair)
            for simplex in Delaunay(points).simplices.tolist()
            for pair in itertools.combinations(simplex, 2)
        }
        entries = report.adjacency().tocoo()
        found = {frozenset((place[i], place[j])) for i, j in zip(*entries.coords, strict=True)}
        assert found == pairs


def test_largest_coordinate() -> None:
    """max(x_1, .., x_6) has six regions, all neighbours; the tournament's matches make 32."""
    chain = as_chain(nn.MaxPool1d(6), (1, 6))
    report = enumerate_regions(chain, WholeSpace(6))
    assert sorted(states(report)[:, 0]) == [0, 1, 2, 3, 4, 5]
    assert report.adjacency().nnz == 6 * 5
    assert count_regions(chain, WholeSpace(6), maxima="matches").total == 2**5
    np.testing.assert_array_equal(
        report.affine(slice(None)).weight[:, 0], np.eye(6)[states(report)[:, 0]]
    )


POOLS = {
    "windows that overlap": (nn.MaxPool1d(3, 1), 5, [[(0, 1, 2), (1, 2, 3), (2, 3, 4)]]),
    "one pool upon another": (
        nn.Sequential(nn.MaxPool1d(3, 1), nn.MaxPool1d(2, 1)),
        6,
        [[(0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5)], [(0, 1), (1, 2), (2, 3)]],
    ),
    "three upon three": (
        nn.Sequential(nn.MaxPool1d(3, 2), nn.MaxPool1d(3)),
        7,
        [[(0, 1, 2), (2, 3, 4), (4, 5, 6)], [(0, 1, 2)]],
    ),
    "padding, so windows of two and three": (
        nn.MaxPool1d(3, 2, padding=1, ceil_mode=True),
        6,
        [[(0, 1), (1, 2, 3), (3, 4, 5)]],
    ),
}


@pytest.mark.parametrize("method", ["simplex", "lp"])
@pytest.mark.parametrize("name", POOLS)
def test_pools_against_all_orders(name: str, method: str) -> None:
    """A region is a set of orders of the numbers, and all orders have one volume.

    In a pool upon a pool two entries are one and the same number on some regions.
    """
    module, n, layers = POOLS[name]
    rows, counts = winners_of_orders(n, layers)
    report = enumerate_regions(as_chain(module, (1, n)), (0, 1), method=method)
    found = states(report)
    order = np.lexsort(found.T[::-1])
    np.testing.assert_array_equal(found[order], rows)
    assert report.ambiguous == 0
    volumes = [report.volume(int(k)) for k in order]
    np.testing.assert_allclose(volumes, counts / counts.sum(), rtol=1e-9)


def test_the_published_maximum_is_reached_and_not_passed() -> None:
    for rank, units in [(3, 1), (3, 4), (5, 3)]:  # in one dimension all breaks are different
        rng = np.random.default_rng(rank)
        points = rng.uniform(-1, 1, (units * rank, 1))
        chain = as_chain(
            pools.Maxout([(*nearest(points), pools.side_by_side(*[rank] * units))]), (1,)
        )
        assert count_regions(chain, WholeSpace(1)).total == most_maxout_regions(1, units, rank)
    axes = np.repeat(np.eye(3), 4, axis=0)  # a maximum of four tangents along each axis
    at = np.tile([-0.7, -0.1, 0.4, 0.8], 3)
    module = pools.Maxout([(2 * at[:, None] * axes, -(at**2), pools.side_by_side(4, 4, 4))])
    assert count_regions(as_chain(module, (3,)), (-1, 1)).total == most_maxout_regions(3, 3, 4)
    for seed in range(5):
        chain, _ = pools.random_maxout(np.random.default_rng(seed), 3, [[4] * 5])
        found = count_regions(chain, WholeSpace(3))
        assert 1 < found.total <= most_maxout_regions(3, 5, 4)


def test_of_equal_entries_the_first_wins() -> None:
    """Entries that are equal everywhere, a constant one, and one that is never the largest."""
    weight = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.5, 0.5]]
    module = pools.Maxout([(weight, [0.0, 0.0, 0.0, 0.0, 0.25, -0.01], [tuple(range(6))])])
    chain = as_chain(module, (2,))
    for method in ENGINES:
        report = enumerate_regions(chain, (-1, 1), method=method)
        assert as_set(report) == {(0,), (2,), (4,)}
        assert report.ambiguous == 0


@pytest.fixture(scope="module")
def deep() -> RegionReport:
    chain, _ = pools.random_maxout(np.random.default_rng(3), 2, [[4, 4, 4, 4], [3, 3, 4]])
    return enumerate_regions(chain, (-2, 2))


def test_a_list_is_made_of_what_an_input_says(deep: RegionReport) -> None:
    points = np.random.default_rng(0).uniform(-2, 2, (20_000, 2))
    places = deep.locate(points)
    assert (places >= 0).all()
    chain = deep.network
    np.testing.assert_array_equal(states(deep)[places], chain.states(chain.segments(points)))
    local = deep.affine(places)
    np.testing.assert_allclose(
        (local.weight @ points[..., None])[..., 0] + local.bias, chain(points), atol=1e-9
    )
    for k in range(0, len(deep), 7):
        np.testing.assert_array_equal(region_at(chain, deep.witnesses[k]).signs, deep[k].signs)
    seen = np.bincount(places, minlength=len(deep)) / len(points) * 16.0
    areas = np.array([deep.volume(k) for k in range(len(deep))])
    assert np.abs(seen - areas).max() < 0.2  # a deviation of at most 0.057


def test_halfspaces_are_those_of_the_polytope(deep: RegionReport) -> None:
    points = np.random.default_rng(1).uniform(-2, 2, (5_000, 2))
    places = deep.locate(points)
    for k in range(0, len(deep), 5):
        for minimal in (False, True):
            A, b = deep.halfspaces(k, minimal=minimal)
            np.testing.assert_array_equal((points @ A.T < b).all(axis=1), places == k)


def test_neighbours_share_a_facet(deep: RegionReport) -> None:
    """Against short steps in many directions from points of all regions."""
    rng = np.random.default_rng(2)
    ends = rng.uniform(-2, 2, (200_000, 2))
    step = ends + rng.normal(0, 0.003, ends.shape)
    inside = (np.abs(step) < 2).all(axis=1)
    pairs = np.stack([deep.locate(ends[inside]), deep.locate(step[inside])])
    seen = np.unique(np.sort(pairs[:, pairs[0] != pairs[1]], axis=0), axis=1, return_counts=True)
    often = {tuple(pair) for pair, n in zip(seen[0].T.tolist(), seen[1], strict=True) if n > 3}
    entries = deep.adjacency().tocoo()
    found = {(i, j) for i, j in zip(*entries.coords, strict=True) if i < j}
    assert often <= found | _corners_only(deep, often - found)
    assert len(found) <= 3 * len(deep)  # edges of a planar graph


def _corners_only(report: RegionReport, pairs: set[tuple[int, ...]]) -> set[tuple[int, ...]]:
    """Keep pairs of regions whose closures have one point in common."""
    shared = {}
    for i, j in pairs:
        corners = [report.vertices(k)[:, None] for k in (i, j)]
        near = np.abs(corners[0] - corners[1].transpose(1, 0, 2)).max(axis=2) < 1e-9
        shared[i, j] = near.sum()
    return {pair for pair, count in shared.items() if count == 1}


def test_polygons_fill_the_square(deep: RegionReport) -> None:
    from byways.regions._outlines import outlines

    found = outlines(deep.problem, deep.words)
    assert found.areas().sum() == pytest.approx(1.0)
    for k, polygon in enumerate(found.polygons()):
        assert found.areas()[k] * 16.0 == pytest.approx(deep.volume(k))
        centre = 4.0 * polygon.mean(axis=0) - 2.0
        assert deep.locate(centre) == k


def test_the_same_answers_as_from_the_matches(deep: RegionReport) -> None:
    fine = enumerate_regions(deep.network, (-2, 2), maxima="matches")
    assert len(fine) > len(deep)
    assert {tuple(row) for row in states(fine).tolist()} == as_set(deep)
    assert deep.maximize(0)[0] == pytest.approx(fine.maximize(0)[0])
    assert deep.lipschitz() == pytest.approx(fine.lipschitz())
    np.testing.assert_allclose(deep.integral(), fine.integral())
    lengths = [
        np.linalg.norm(np.diff(report.decision_boundary(), axis=1), axis=2).sum()
        for report in (deep, fine)
    ]
    assert lengths[0] == pytest.approx(lengths[1])
    assert sum(facet.area() for facet in deep.decision_facets()) == pytest.approx(lengths[1])


def test_a_boundary_on_the_border_between_two_winners_is_given_once() -> None:
    """Outputs max(0, x, y) and the same plus (x - y) / 2 tie on the diagonal of the square."""
    weight = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]
    layers = [
        (weight, np.zeros(4), [(0, 1, 2), (3,)]),
        ([[1.0, 0.0], [1.0, 0.5]], np.zeros(2), [(0,), (1,)]),
    ]
    report = enumerate_regions(as_chain(pools.Maxout(layers), (2,)), (-1, 1))
    assert len(report) == 3
    assert sum(facet.area() for facet in report.decision_facets()) == pytest.approx(8**0.5)
    lengths = np.linalg.norm(np.diff(report.decision_boundary(), axis=1), axis=2)
    assert lengths.sum() == pytest.approx(8**0.5)


@pytest.mark.parametrize("kind", ["whole", "polytope", "slice"])
def test_other_domains(kind: str) -> None:
    rng = np.random.default_rng(4)
    chain, _ = pools.random_maxout(rng, 3, [[4, 3, 5], [3, 3]])
    domain = {
        "whole": WholeSpace(3),
        "polytope": Polytope(rng.standard_normal((4, 3)), np.ones(4), Box([-2.0] * 3, [2.0] * 3)),
        "slice": Slice(rng.standard_normal(3), rng.standard_normal((2, 3)), 2),
    }[kind]
    report = enumerate_regions(chain, domain)
    fine = enumerate_regions(chain, domain, maxima="matches")
    assert as_set(report) == {tuple(row) for row in states(fine).tolist()}
    np.testing.assert_array_equal(enumerate_regions(chain, domain, method="lp").words, report.words)
    np.testing.assert_array_equal(report.locate(report.witnesses), np.arange(len(report)))
    assert sorted(tuple(chain.states(region.signs)) for region in iter_regions(chain, domain)) == (
        sorted(as_set(report))
    )


def test_relu_and_pool_of_images() -> None:
    """Pools of ReLUs are equal to zero together: a tie on a whole cell, where the first wins."""
    torch.manual_seed(2)
    module = nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2, stride=1), nn.Flatten(), nn.Linear(8, 2)
    )
    chain = as_chain(module, (1, 4, 4))
    rng = np.random.default_rng(5)
    plane = Slice(rng.standard_normal(16), rng.standard_normal((2, 16)), 2)
    report = enumerate_regions(chain, plane)
    fine = enumerate_regions(chain, plane, maxima="matches")
    assert as_set(report) == {tuple(row) for row in states(fine).tolist()}
    assert len(report) < len(fine)
    points = plane(plane.box.sample(rng, 20_000))
    places = report.locate(points)
    assert (places >= 0).all()
    np.testing.assert_array_equal(states(report)[places], chain.states(chain.segments(points)))
    assert sum(report.volume(k) for k in range(len(report))) == pytest.approx(16.0)


def test_the_same_network_from_onnx() -> None:
    """Pools of an exported network have the same states, and every unsafe region is found."""
    export = pytest.importorskip("tests.networks.test_torch_export").export
    module = nn.Sequential(nn.MaxPool1d(3, 1), nn.Flatten(), nn.Linear(3, 2))
    chain = as_chain(module, (1, 5))
    other = as_chain(export(module, (1, 5), dynamo=False, free=False))
    found = [as_set(enumerate_regions(net, (-1, 1))) for net in (chain, other)]
    assert found[0] == found[1]
    assert len(found[0]) == len(winners_of_orders(5, [[(0, 1, 2), (1, 2, 3), (2, 3, 4)]])[0])


def test_bad_inputs() -> None:
    chain, _ = pools.random_maxout(np.random.default_rng(9), 2, [[3]])
    with pytest.raises(ValueError, match='"maxima" was \'pairs\'; it is "winners"'):
        enumerate_regions(chain, (-1, 1), maxima="pairs")
    with pytest.raises(ValueError, match="knows no windows with several states"):
        enumerate_regions(chain, (-1, 1), method="wide")


def test_windows_that_are_none_are_refused() -> None:
    """A chain whose windows are claimed by hand: ReLUs side by side, and one after another."""
    pairs = [(np.eye(3), np.zeros(3)), (np.ones((3, 3)), np.ones(3)), (np.ones((1, 3)), [0.0])]
    plain = LayerChain.from_arrays(pairs)
    for windows in [((0, 3),), ((0, 1, 3), (2, 4, 5)), ((0, 3), (1, 4), (2, 5))]:
        chain = LayerChain(plain.layers, windows)
        with pytest.raises(ValueError, match="not those of tournaments of ReLUs"):
            enumerate_regions(chain, (-1, 1))
        assert len(enumerate_regions(chain, (-1, 1), maxima="matches")) > 1
