"""What holds for the regions of every network."""

from __future__ import annotations

import itertools
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byways.core.chain import Layer, LayerChain
from byways.core.domains import Box, Polytope
from byways.core.maps import DenseMap
from byways.networks import random_network
from byways.regions import (
    RegionReport,
    Slice,
    WholeSpace,
    count_regions,
    enumerate_regions,
    iter_regions,
    region_at,
)
from byways.regions._bounds import serra_bound
from tests.oracles.patterns import patterns_by_sampling
from tests.oracles.plain import hidden_layers
from tests.regions.nets import as_module, chains, whole_numbered
from tests.runs.adversary import AdversarialExecutor

FEW = settings(max_examples=25)
SEEDS = st.integers(0, 10**6)


@FEW
@given(chains(), SEEDS)
def test_points_off_the_boundaries_lie_in_the_region_of_their_signs(
    chain: LayerChain, seed: int
) -> None:
    report = enumerate_regions(chain, (-1, 1))
    points = np.random.default_rng(seed).uniform(-1, 1, (200, chain.input_size))
    points = points[~chain.on_boundary(points, 1e-6)]
    found = report.locate(points)
    assert (found >= 0).all()
    assert np.array_equal(report.signs[found], chain.segments(points))


@FEW
@given(chains(degenerate=False), SEEDS)
def test_signs_of_sampled_points_are_listed(chain: LayerChain, seed: int) -> None:
    size = chain.input_size
    rng = np.random.default_rng(seed)
    seen = patterns_by_sampling(hidden_layers(chain), ([-1] * size, [1] * size), rng, 300)
    listed = {tuple(row) for row in enumerate_regions(chain, (-1, 1)).signs.tolist()}
    assert seen <= listed


@FEW
@given(chains())
def test_witnesses_lie_strictly_inside(chain: LayerChain) -> None:
    report = enumerate_regions(chain, (-1, 1))
    assert (np.abs(report.witnesses) < 1).all()
    found, expected = report.locate(report.witnesses), np.arange(len(report))
    # A unit that is 0 on all of a region may come out of a forward pass as 1e-17.
    zero = chain.on_boundary(report.witnesses, 1e-12)
    assert np.array_equal(found[~zero], expected[~zero])
    assert np.isin(found[zero], [-1, *expected]).all()
    for k, witness in enumerate(report.witnesses[:10]):
        A, b = report.halfspaces(k, minimal=False)
        assert (A @ witness < b).all()


@FEW
@given(chains(), SEEDS)
def test_volumes_add_up_to_the_box(chain: LayerChain, seed: int) -> None:
    lower = np.random.default_rng(seed).uniform(-1, 0, chain.input_size)
    report = enumerate_regions(chain, Box(lower, lower + 1.5))
    total = sum(report.volume(k) for k in range(len(report)))
    assert total == pytest.approx(1.5**chain.input_size)


@FEW
@given(chains(inputs=2))
def test_areas_add_up_to_the_polygon(chain: LayerChain) -> None:
    # The square without the corner beyond x + y = 1, a triangle of area 1/2.
    polytope = Polytope([[1.0, 1.0]], [1.0], Box([-1.0, -1.0], [1.0, 1.0]))
    report = enumerate_regions(chain, polytope)
    assert sum(report.volume(k) for k in range(len(report))) == pytest.approx(3.5)
    assert (report.witnesses.sum(axis=1) < 1).all()


@FEW
@given(chains(inputs=3))
def test_areas_add_up_on_a_slice_and_a_flat_side(chain: LayerChain) -> None:
    plane = Slice([0.1, 0.2, 0.3], [[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]], extent=(-1, 2))
    for domain, area in ((plane, 9.0), (Box([-1.0, 0.5, 0.0], [1.0, 0.5, 1.0]), 2.0)):
        report = enumerate_regions(chain, domain)
        assert sum(report.volume(k) for k in range(len(report))) == pytest.approx(area)
        assert np.array_equal(report.locate(report.witnesses), np.arange(len(report)))


@FEW
@given(chains())
def test_affine_is_the_network_around_the_witness(chain: LayerChain) -> None:
    report = enumerate_regions(chain, (-1, 1))
    for k, witness in enumerate(report.witnesses[:8]):
        affine = report.affine(k)
        assert affine(witness) == pytest.approx(chain(witness), abs=1e-9)
        A, b = report.halfspaces(k, minimal=False)
        reach = 0.5 * (b - A @ witness).min()  # a step that stays inside
        for step in reach * np.eye(chain.input_size):
            assert affine(witness + step) == pytest.approx(chain(witness + step), abs=1e-9)


@FEW
@given(chains())
def test_affine_is_the_jacobian_of_autograd(chain: LayerChain) -> None:
    torch = pytest.importorskip("torch")
    module = as_module(chain)
    report = enumerate_regions(chain, (-1, 1))
    for k, witness in enumerate(report.witnesses[:8]):
        if chain.on_boundary(witness, 1e-12):
            continue  # a unit is zero on all of the region; its derivative is a convention
        jacobian = torch.autograd.functional.jacobian(module, torch.from_numpy(witness.copy()))
        assert report.affine(k).weight == pytest.approx(jacobian.numpy(), abs=1e-9)


def changed(chain: LayerChain, turn: list[np.ndarray]) -> LayerChain:
    """Multiply the values of each hidden layer by a matrix, and undo it in the next layer."""
    layers, undo = [], np.eye(chain.input_size)
    for layer, matrix in zip(chain.layers, [*turn, np.eye(chain.output_size)], strict=True):
        weight = matrix @ layer.map.to_dense() @ undo
        layers.append(Layer(DenseMap(weight), matrix @ layer.bias, layer.activation))
        undo = np.linalg.inv(matrix)
    return LayerChain(tuple(layers))


@FEW
@given(chains(), SEEDS)
def test_counts_do_not_change_with_the_order_of_units(chain: LayerChain, seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn = [np.eye(layer.width)[rng.permutation(layer.width)] for layer in chain.layers[:-1]]
    assert count_regions(changed(chain, turn), (-1, 1)).layer_counts == (
        count_regions(chain, (-1, 1)).layer_counts
    )


@FEW
@given(SEEDS, st.lists(st.integers(1, 5), min_size=1, max_size=3), st.booleans())
def test_counts_do_not_change_with_the_scale_of_units(
    seed: int, hidden: list[int], degenerate: bool
) -> None:
    widths = (2, *hidden, 1)
    relu = random_network([1, 1, 1]).layers[0].activation
    chain = whole_numbered(widths, seed, relu) if degenerate else random_network(widths, seed)
    rng = np.random.default_rng(seed)
    turn = [np.diag(2.0 ** rng.integers(-3, 4, layer.width)) for layer in chain.layers[:-1]]
    before, after = (enumerate_regions(c, (-1, 1)) for c in (chain, changed(chain, turn)))
    assert np.array_equal(before.signs, after.signs)


@FEW
@given(chains(inputs=3, degenerate=False), SEEDS)
def test_regions_turn_with_the_input(chain: LayerChain, seed: int) -> None:
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    first = chain.layers[0]
    turned = Layer(DenseMap(first.map.to_dense() @ rotation.T), first.bias, first.activation)
    there = enumerate_regions(
        LayerChain((turned, *chain.layers[1:])), Slice(np.zeros(3), rotation.T, extent=1.0)
    )
    assert np.array_equal(there.signs, enumerate_regions(chain, (-1, 1)).signs)


@FEW
@given(chains())
def test_deeper_layers_refine(chain: LayerChain) -> None:
    report = enumerate_regions(chain, (-1, 1))
    assert list(report.layer_counts) == sorted(report.layer_counts)
    used = 0
    for depth, layer in enumerate(chain.layers[:-1]):
        used += layer.width
        shorter = enumerate_regions(LayerChain(chain.layers[: depth + 1]), (-1, 1))
        assert np.array_equal(np.unique(report.signs[:, :used], axis=0), shorter.signs)
        assert report.layer_counts[depth] == len(shorter)


@FEW
@given(chains(inputs=2))
def test_smaller_domains_have_fewer_regions(chain: LayerChain) -> None:
    domains = [(-0.5, 0.5), (-1, 1), (-10, 10), WholeSpace(2)]
    lists = [
        {tuple(row) for row in enumerate_regions(chain, domain).signs.tolist()}
        for domain in domains
    ]
    assert all(smaller <= larger for smaller, larger in itertools.pairwise(lists))


@FEW
@given(chains())
def test_list_count_and_iteration_agree(chain: LayerChain) -> None:
    report = enumerate_regions(chain, (-1, 1))
    count = count_regions(chain, (-1, 1))
    assert count.total == len(report)
    assert count.layer_counts == report.layer_counts
    assert count.ambiguous == report.ambiguous
    walked = list(iter_regions(chain, (-1, 1)))
    assert sorted(tuple(region.signs) for region in walked) == [
        tuple(region.signs) for region in report
    ]
    for region in walked[:5]:
        assert region.witness is not None
        assert np.array_equal(region_at(chain, region.witness).signs, region.signs)


@settings(max_examples=8)
@given(chains(inputs=2))
def test_methods_give_equal_lists(chain: LayerChain) -> None:
    reports = [
        enumerate_regions(chain, (-1, 1), method=name) for name in ("simplex", "vertices", "lp")
    ]
    for report in reports[1:]:
        assert np.array_equal(report.signs, reports[0].signs)
        assert report.layer_counts == reports[0].layer_counts


@FEW
@given(chains())
def test_no_network_beats_the_bound(chain: LayerChain) -> None:
    layers = [
        (layer.width, len(layer.activation.breakpoints), 0.0 in layer.activation.slopes)
        for layer in chain.layers[:-1]
    ]
    assert count_regions(chain, WholeSpace(chain.input_size)).total <= serra_bound(
        chain.input_size, layers
    )


@pytest.mark.parametrize("widths", [(2, 3, 3), (3, 4, 2, 3), (1, 5, 5), (4, 2, 6)])
def test_the_bound_is_the_published_sum(widths: tuple[int, ...]) -> None:
    from math import comb, prod

    dim, *sizes = widths
    expected = 0
    for falls in itertools.product(*(range(size + 1) for size in sizes)):
        ranks = [dim, *(size - j for size, j in zip(sizes, falls, strict=True))]
        if all(
            j <= min(size, *ranks[: i + 1])
            for i, (size, j) in enumerate(zip(sizes, falls, strict=True))
        ):
            expected += prod(comb(size, j) for size, j in zip(sizes, falls, strict=True))
    assert serra_bound(dim, [(size, 1, True) for size in sizes]) == expected


LARGE = {
    "simplex": (random_network([3, 24, 24, 2], rng=0), Box([-1.0] * 3, [1.0] * 3)),
    "vertices": (random_network([2, 48, 48, 48, 2], rng=0), Box([-3.0] * 2, [3.0] * 2)),
    "lp": (random_network([2, 8, 8, 2], rng=0), Box([-1.0] * 2, [1.0] * 2)),
}


def ask(method: str, **options: Any) -> RegionReport:
    chain, domain = LARGE[method]
    return enumerate_regions(chain, domain, method=method, **options)


@pytest.mark.parametrize("method", LARGE)
def test_reports_do_not_depend_on_being_cut(method: str, request: pytest.FixtureRequest) -> None:
    whole = ask(method)
    request.getfixturevalue("_cut_early")
    parts = ask(method)
    assert np.array_equal(whole.signs, parts.signs)
    assert whole.layer_counts == parts.layer_counts
    assert np.array_equal(parts.locate(parts.witnesses), np.arange(len(parts)))


@pytest.mark.usefixtures("_cut_early")
@pytest.mark.parametrize("method", LARGE)
def test_reports_are_equal_for_any_executor(method: str) -> None:
    inline = ask(method)
    assert inline.explored == 1.0
    executors: list[Executor] = [ThreadPoolExecutor(3), AdversarialExecutor(seed=1)]
    try:
        for executor in executors:
            report = ask(method, executor=executor)
            assert report.digest() == inline.digest()
            assert np.array_equal(report.witnesses, inline.witnesses)
    finally:
        executors[0].shutdown()
        executors[1].end()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_cut_early")
def test_two_processes_give_the_same_report() -> None:
    assert ask("lp", workers=2).digest() == ask("lp").digest()


@pytest.mark.slow
@pytest.mark.usefixtures("_cut_early")
def test_two_processes_give_the_same_large_report() -> None:
    chain = random_network([3, 24, 24, 2], rng=0)
    alone, together = (enumerate_regions(chain, (-1, 1), workers=n) for n in (1, 2))
    assert together.digest() == alone.digest()
    counts = count_regions(chain, (-1, 1), workers=2)
    assert (counts.total, counts.layer_counts) == (len(alone), alone.layer_counts)
