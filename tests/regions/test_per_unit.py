"""Networks whose layers mix activations: every method against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from byways.core import Layer, LayerChain, PerUnit, PiecewiseLinear, identity, leaky_relu, relu
from byways.core.activations import absolute, clamp
from byways.regions import count_regions, enumerate_regions
from tests.oracles.patterns import mixed_patterns_by_lp
from tests.oracles.plain import PlainActivation

FUNCTIONS = (
    identity,
    relu,
    leaky_relu(0.25),
    absolute,
    clamp(0.0, 0.5),
    PiecewiseLinear((), (2.0,), 1.0),
)


def mixed(widths: tuple[int, ...], seed: int) -> LayerChain:
    rng = np.random.default_rng(seed)
    layers = []
    for m, n in itertools.pairwise(widths):
        kinds = rng.integers(0, len(FUNCTIONS), size=n)
        weight, bias = rng.standard_normal((n, m)), rng.standard_normal(n) / 2
        layers.append(Layer(weight, bias, PerUnit(FUNCTIONS, kinds)))
    return LayerChain((*layers, Layer(rng.standard_normal((2, widths[-1])), [0.0, 0.0])))


def oracle(chain: LayerChain) -> set[tuple[int, ...]]:
    plain = [PlainActivation(f.breakpoints, f.slopes, f.offset) for f in FUNCTIONS]
    layers = [
        (layer.map.to_dense(), layer.bias, [plain[k] for k in layer.kinds])
        for layer in chain.layers[:-1]
    ]
    d = chain.input_size
    return mixed_patterns_by_lp(layers, (-np.ones(d), np.ones(d)))


CASES = [
    ((1, 5, 4), "simplex"),
    ((2, 5, 4), "vertices"),
    ((2, 5, 4), "simplex"),
    ((2, 4, 4), "lp"),
    ((3, 5, 4), "vertices"),
    ((2, 3, 3, 3), "vertices"),
    ((3, 3, 3, 3), "simplex"),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("widths", "method"), CASES)
def test_same_regions_as_brute_force(widths, method, seed):
    chain = mixed(widths, seed)
    report = enumerate_regions(chain, (-1, 1), method=method)
    assert set(map(tuple, report.signs.tolist())) == oracle(chain)
    assert len({tuple(row) for row in report.signs.tolist()}) == len(report)
    np.testing.assert_array_equal(chain.segments(report.witnesses), report.signs)
    assert sum(report.volume(k) for k in range(len(report))) == pytest.approx(2.0 ** widths[0])
    local = report.affine(slice(None))
    values = (local.weight @ report.witnesses[..., None])[..., 0] + local.bias
    np.testing.assert_allclose(values, chain(report.witnesses), atol=1e-12)
    assert count_regions(chain, (-1, 1), method=method).total == len(report)


@pytest.mark.parametrize("seed", range(3))
def test_report_finds_points_and_neighbours(seed):
    chain = mixed((2, 6, 5), seed)
    report = enumerate_regions(chain, (-1, 1))
    points = np.random.default_rng(seed).uniform(-1, 1, (100_000, 2))
    places = report.locate(points)
    assert places.min() >= 0
    np.testing.assert_array_equal(report.signs[places], chain.segments(points))
    graph = report.adjacency()
    assert abs(graph - graph.T).nnz == 0
    apart = [
        np.count_nonzero(report.signs[a] != report.signs[b])
        for a, b in zip(*graph.nonzero(), strict=True)
    ]
    assert apart.count(1) == len(apart)  # in general position a border belongs to one unit
