"""What the checker reads of a network and a domain, against loops over rationals."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from byways.core.domains import Box, Polytope
from byways.networks import random_network
from byways.regions import Slice
from byways.regions._check_network import Network, domain_digest, rational
from tests.oracles.plain import activate, hidden_layers
from tests.regions.nets import ACTIVATIONS

CUBE = Box([-1.0] * 3, [1.0] * 3)


def decided(chain: Any, inputs: list[Fraction]) -> list[tuple[int, Fraction]]:
    """Give side and distance from the breakpoint, of every decision, unit by unit."""
    found = []
    for layer in hidden_layers(chain):
        z = [
            sum((w * x for w, x in zip(row, inputs, strict=True)), bias)
            for row, bias in zip(layer.weight, layer.bias, strict=True)
        ]
        cuts = [Fraction(t) for t in layer.activation.breakpoints]
        found += [(int(value > t), abs(value - t)) for value in z for t in cuts]
        inputs = [activate(layer.activation, value) for value in z]
    return found


def rows_at(net: Network, path: Any, point: Any) -> Any:
    signs = (2 * path[None] - 1).astype(object)
    return net.rows(path[None], signs, rational(point)[None])[0]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rows_are_distances_from_the_breakpoints(activation: Any) -> None:
    chain = random_network((3, 4, 3, 1), rng=5, activation=activation)
    net = Network.of(chain, CUBE)
    rng = np.random.default_rng(0)
    for point in rng.uniform(-1.0, 1.0, size=(5, 3)):
        truth = decided(chain, [Fraction(x) for x in point.tolist()])
        path = np.array([side for side, _ in truth], dtype=np.int8)
        assert rows_at(net, path, point).tolist() == [size for _, size in truth]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_sums_of_rows_are_affine_and_exact(activation: Any) -> None:
    """Going back gives what going forward gives, at points of other cells as well."""
    chain = random_network((3, 4, 3, 1), rng=7, activation=activation)
    half = Polytope([[1.0, 2.0, -1.0]], [0.3], CUBE)
    net, rng = Network.of(chain, half), np.random.default_rng(1)
    truth = decided(chain, [Fraction(x) for x in rng.uniform(-1.0, 1.0, 3).tolist()])
    path = np.array([side for side, _ in truth], dtype=np.int8)
    signs = (2 * path[None] - 1).astype(object)
    mu = rational(rng.exponential(size=1 + path.size))
    constant, gradient = net.combined(path[None], signs, mu[None])
    for point in rng.uniform(-1.0, 1.0, size=(4, 3)):
        rows = rows_at(net, path, point)
        assert rows[0] == Fraction(0.3) - sum(
            Fraction(a) * Fraction(x) for a, x in zip((1, 2, -1), point.tolist(), strict=True)
        )
        assert constant[0] + gradient[0] @ rational(point) == mu @ rows


def test_a_slice_is_read_as_a_layer() -> None:
    chain = random_network((3, 4, 1), rng=2)
    origin, directions = [0.0, 0.1, 0.25], [[1.0, 0.0, 0.5], [0.0, 1.0, -2.0]]
    net = Network.of(chain, Slice(origin, directions, extent=1.0))
    place = [Fraction(3, 8), Fraction(-1, 7)]
    inputs = [
        Fraction(o) + Fraction(a) * place[0] + Fraction(b) * place[1]
        for o, a, b in zip(origin, *directions, strict=True)
    ]
    truth = decided(chain, inputs)
    path = np.array([side for side, _ in truth], dtype=np.int8)
    assert rows_at(net, path, np.array(place)).tolist() == [size for _, size in truth]


def test_every_number_of_a_domain_counts() -> None:
    other = Box([-1.0] * 3, [1.0, 1.0, np.nextafter(1.0, 2.0)])
    half = [Polytope([[1.0, 0.0, 0.0]], [b], CUBE) for b in (0.0, 0.5)]
    assert len({domain_digest(d) for d in (CUBE, other, *half)}) == 4
