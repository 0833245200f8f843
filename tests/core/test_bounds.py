"""Interval bounds are held against exact rational arithmetic, not against floating point."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byways.core import (
    Box,
    ConvMap,
    DenseMap,
    Layer,
    LayerChain,
    PiecewiseLinear,
    SparseMap,
    absolute,
    clamp,
    hardtanh,
    interval_bounds,
    leaky_relu,
    relu,
)
from byways.core.errors import ShapeError
from tests.oracles.plain import PlainActivation, activate, exact, plain_layers, pre_activations

Interval = tuple[Fraction, Fraction]
ACTIVATIONS = (relu, absolute, hardtanh(), clamp(0.1, 0.7), leaky_relu(0.01), leaky_relu(-0.3))


def exact_intervals(chain: LayerChain, box: Box) -> list[list[Interval]]:
    """Interval arithmetic without rounding: every pre-activation's interval, layer by layer."""
    current = list(zip(exact(box.lower), exact(box.upper), strict=True))
    result = []
    for layer in plain_layers(chain):
        outer = []
        for row, bias in zip(layer.weight, layer.bias, strict=True):
            low = high = bias
            for w, (a, b) in zip(row, current, strict=True):
                low += min(w * a, w * b)
                high += max(w * a, w * b)
            outer.append((low, high))
        result.append(outer)
        current = [_image(layer.activation, interval) for interval in outer]
    return result


def _image(activation: PlainActivation, interval: Interval) -> Interval:
    inside = [t for t in map(Fraction, activation.breakpoints) if interval[0] < t < interval[1]]
    values = [activate(activation, z) for z in (*interval, *inside)]
    return min(values), max(values)


def naive_bounds(chain: LayerChain, box: Box) -> list[tuple[np.ndarray, np.ndarray]]:
    """The textbook rule in floating point, with no thought of rounding (ReLU only)."""
    low, high = box.lower, box.upper
    bounds = []
    for layer in chain.layers:
        W = layer.map.to_dense()
        up, down = np.maximum(W, 0), np.minimum(W, 0)
        low, high = up @ low + down @ high + layer.bias, up @ high + down @ low + layer.bias
        bounds.append((low, high))
        low, high = np.maximum(low, 0), np.maximum(high, 0)
    return bounds


def violations(bounds: list[tuple[np.ndarray, np.ndarray]], truth: list[list[Interval]]) -> int:
    """Count the layers' bounds that do not contain the exact interval."""
    count = 0
    for (low, high), layer in zip(bounds, truth, strict=True):
        for a, b, (left, right) in zip(low, high, layer, strict=True):
            count += Fraction(float(a)) > left or Fraction(float(b)) < right
    return count


def wild_chain(rng: np.random.Generator, activation: PiecewiseLinear = relu) -> LayerChain:
    """Three layers with weights between 1e-8 and 1e8."""
    widths = rng.integers(1, 5, size=4)
    pairs = []
    for n, m in itertools.pairwise(widths):
        scale = 10.0 ** rng.uniform(-8, 8, (m, n))
        bias = 10.0 ** rng.uniform(-8, 8, m) * rng.standard_normal(m)
        pairs.append((rng.standard_normal((m, n)) * scale, bias))
    return LayerChain.from_arrays(pairs, activation=activation)


def wild_box(rng: np.random.Generator, n: int) -> Box:
    center = rng.standard_normal(n) * 10.0 ** rng.uniform(-4, 4, n)
    return Box.around(center, np.abs(rng.standard_normal(n)) * 10.0 ** rng.uniform(-10, 2, n))


def test_bounds_hold_in_exact_rationals_where_the_naive_rule_does_not() -> None:
    rng = np.random.default_rng(0)
    ours = naive = 0
    for _ in range(200):
        chain = wild_chain(rng)
        box = wild_box(rng, chain.input_size)
        truth = exact_intervals(chain, box)
        ours += violations(interval_bounds(chain, box), truth)
        naive += violations(naive_bounds(chain, box), truth)
    assert ours == 0
    assert naive > 50  # the comparison can see rounding


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.sampled_from(ACTIVATIONS))
def test_bounds_hold_for_every_activation(seed: int, activation: PiecewiseLinear) -> None:
    rng = np.random.default_rng(seed)
    chain = wild_chain(rng, activation)
    box = wild_box(rng, chain.input_size)
    assert violations(interval_bounds(chain, box), exact_intervals(chain, box)) == 0


@pytest.mark.slow
def test_bounds_hold_for_four_thousand_chains() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for i in range(4000):
        chain = wild_chain(rng, ACTIVATIONS[i % len(ACTIVATIONS)])
        box = wild_box(rng, chain.input_size)
        wrong += violations(interval_bounds(chain, box), exact_intervals(chain, box))
    assert wrong == 0


def test_bounds_are_tight_for_well_scaled_chains() -> None:
    rng = np.random.default_rng(2)
    for activation in ACTIVATIONS:
        pairs = [(rng.standard_normal((4, 3)), rng.standard_normal(4)) for _ in range(1)]
        pairs.append((rng.standard_normal((2, 4)), rng.standard_normal(2)))
        chain = LayerChain.from_arrays(pairs, activation=activation)
        box = Box.around(rng.standard_normal(3), 0.5)
        bounds, truth = interval_bounds(chain, box), exact_intervals(chain, box)
        for (low, high), layer in zip(bounds, truth, strict=True):
            np.testing.assert_allclose(low, [float(a) for a, _ in layer], atol=1e-13)
            np.testing.assert_allclose(high, [float(b) for _, b in layer], atol=1e-13)


def test_relu_of_x_plus_relu_of_minus_x() -> None:
    chain = LayerChain.from_arrays([([[1.0], [-1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])])
    low, high = interval_bounds(chain, Box([-1.0], [2.0]))[-1]
    assert low <= 0 <= low + 1e-12
    assert high - 1e-12 <= 3 <= high


def test_an_extreme_inside_the_interval_is_found() -> None:
    chain = LayerChain.from_arrays([([[1.0]], [0.0]), ([[1.0]], [0.0])], activation=absolute)
    low, high = interval_bounds(chain, Box([-3.0], [2.0]))[-1]
    assert low <= 0 <= low + 1e-12
    assert high - 1e-12 <= 3 <= high


def test_samples_lie_inside_for_every_kind_of_map() -> None:
    rng = np.random.default_rng(4)
    conv = ConvMap(rng.standard_normal((2, 1, 2)), (1, 5), padding=1)
    matrix = rng.standard_normal((6, conv.shape[0])) * (rng.random((6, conv.shape[0])) < 0.5)
    chain = LayerChain(
        (
            Layer(conv, rng.standard_normal(conv.shape[0]), relu),
            Layer(SparseMap(matrix), rng.standard_normal(6), hardtanh()),
            Layer(DenseMap(rng.standard_normal((2, 6))), [0.0, 1.0]),
        )
    )
    box = Box(-np.ones(5), [1.0, 1.0, 1.0, -1.0, 3.0])
    points = np.concatenate([box.sample(rng, 2000), box.vertices()])
    for (low, high), z in zip(
        interval_bounds(chain, box), chain.pre_activations(points), strict=True
    ):
        assert ((low <= z) & (z <= high)).all()
    assert violations(interval_bounds(chain, box), exact_intervals(chain, box)) == 0


def test_a_point_has_bounds_of_rounding_size() -> None:
    chain = LayerChain.from_arrays([(np.full((1, 3), 0.1), [0.3]), ([[0.1]], [0.7])])
    box = Box([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    truth = pre_activations(plain_layers(chain), exact(box.lower))
    for (low, high), (value,) in zip(interval_bounds(chain, box), truth, strict=True):
        assert Fraction(float(low[0])) <= value <= Fraction(float(high[0]))
        assert high[0] - low[0] < 1e-14


def test_a_box_of_another_dimension_is_refused() -> None:
    chain = LayerChain.from_arrays([([[1.0, 2.0]], [0.0])])
    with pytest.raises(ShapeError, match="box has 3 coordinates and the network 2 inputs"):
        interval_bounds(chain, Box(np.zeros(3), np.ones(3)))


@pytest.mark.parametrize("activation", [relu, leaky_relu(0.01)], ids=["relu", "leaky"])
def test_bounds_hold_where_products_underflow(activation: PiecewiseLinear) -> None:
    pairs = [(np.full((1, 40), 1e-162), [0.0]), ([[0.3]], [0.0])]
    chain = LayerChain.from_arrays(pairs, activation=activation)
    for side in (2.3e-162, -2.3e-162, 4e-161):
        box = Box(np.full(40, side), np.full(40, side))
        assert violations(interval_bounds(chain, box), exact_intervals(chain, box)) == 0
