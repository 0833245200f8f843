"""What the checker reads of a network and a domain, against loops over rationals."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.networks import random_network
from byways.regions import Slice
from byways.regions._check import OPEN, Rows
from byways.regions._proof import domain_digest
from tests.oracles.plain import activate, hidden_layers
from tests.regions.nets import ACTIVATIONS

CUBE = Box([-1.0] * 3, [1.0] * 3)


def decided(chain: Any, inputs: list[Fraction]) -> list[tuple[int, Fraction]]:
    """Give side of, and distance ``z - t`` from, the breakpoint of every decision."""
    found = []
    for layer in hidden_layers(chain):
        z = [
            sum((w * x for w, x in zip(row, inputs, strict=True)), bias)
            for row, bias in zip(layer.weight, layer.bias, strict=True)
        ]
        cuts = [Fraction(t) for t in layer.activation.breakpoints]
        found += [(int(value > t), value - t) for value in z for t in cuts]
        inputs = [activate(layer.activation, value) for value in z]
    return found


def rationals(numbers: Any) -> list[Fraction]:
    return [Fraction(x) for x in np.ravel(numbers).tolist()]


def settled(rows: Rows, sides: list[int]) -> np.ndarray[Any, Any]:
    """Settle all decisions in their order."""
    here = np.array([1] * rows.given + [OPEN] * len(sides))
    for k, side in enumerate(sides, rows.given):
        assert rows.settle(here, k)
        here[k] = side
    return here


def rows_at(rows: Rows, point: list[Fraction]) -> list[Fraction]:
    """Evaluate what was settled, without the scales of rows and point."""
    coordinates = rows.entry @ np.array([*point, Fraction(1)], dtype=object)
    found = (rows.here @ coordinates) / np.array(rows.scale * Fraction(1))
    return list(found / coordinates[-1])


@pytest.mark.parametrize("widths", [(3, 4, 3, 1), (3, 2, 4, 1)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rows_are_distances_from_the_breakpoints(activation: Any, widths: tuple[int, ...]) -> None:
    """With fewer units than inputs rows are functions of the first layer's pre-activations."""
    chain = random_network(widths, rng=5, activation=activation)
    rows, rng = Rows(chain, CUBE), np.random.default_rng(0)
    for numbers in rng.uniform(-1.0, 1.0, size=(5, 3)):
        truth = decided(chain, rationals(numbers))
        settled(rows, [side for side, _ in truth])
        assert rows_at(rows, rationals(numbers)) == [size for _, size in truth]


def test_a_decision_waits_for_those_that_it_depends_on() -> None:
    rows = Rows(random_network((3, 4, 3, 1), rng=5), CUBE)
    sides = np.full(7, OPEN)
    assert not rows.settle(sides, 4)
    sides[:4] = 0
    assert rows.settle(sides, 4)
    assert not rows.settle(sides, 0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_highest_value_of_a_row_is_at_a_corner(activation: Any) -> None:
    chain = random_network((3, 2, 3, 1), rng=7, activation=activation)
    rows, rng = Rows(chain, CUBE), np.random.default_rng(1)
    truth = decided(chain, rationals(rng.uniform(-1.0, 1.0, 3)))
    settled(rows, [side for side, _ in truth])
    corners = [
        rows_at(rows, rationals(x)) for x in np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T
    ]
    scale = rows.entry[-1, -1] * rows.one
    for k, row in enumerate(rows.here):
        assert Fraction(rows._highest(row), scale * rows.scale[k]) == max(c[k] for c in corners)


def test_rows_of_a_polytope_come_first() -> None:
    chain = random_network((3, 2, 1), rng=7)
    half = Polytope([[1.0, 2.0, -1.0]], [0.3], CUBE)
    rows, point = Rows(chain, half), [Fraction(1, 3), Fraction(-1, 7), Fraction(1, 2)]
    truth = decided(chain, point)
    settled(rows, [side for side, _ in truth])
    first = Fraction(0.3) - point[0] - 2 * point[1] + point[2]
    assert rows_at(rows, point) == [first, *(size for _, size in truth)]


def test_a_slice_is_read_as_a_layer() -> None:
    chain = random_network((3, 4, 1), rng=2)
    origin, directions = [0.0, 0.1, 0.25], [[1.0, 0.0, 0.5], [0.0, 1.0, -2.0]]
    rows = Rows(chain, Slice(origin, directions, extent=1.0))
    place = [Fraction(3, 8), Fraction(-1, 7)]
    inputs = [
        Fraction(o) + Fraction(a) * place[0] + Fraction(b) * place[1]
        for o, a, b in zip(origin, *directions, strict=True)
    ]
    truth = decided(chain, inputs)
    settled(rows, [side for side, _ in truth])
    assert rows_at(rows, place) == [size for _, size in truth]


def test_units_are_numbered_and_bends_exact() -> None:
    """A tenth is no binary number, and 1e-300 no small one."""
    chain = LayerChain.from_arrays([([[0.1], [1e-300]], [0.3, 1.0]), ([[1.0, 1.0]], [0.0])])
    rows = Rows(chain, Box([-1.0], [1.0]))
    settled(rows, [1, 0])
    point = [Fraction(1, 3)]
    assert rows_at(rows, point) == [
        Fraction(0.1) / 3 + Fraction(0.3),
        Fraction(1e-300) / 3 + 1,
    ]
    assert rows.unit.tolist() == [0, 1]


def test_every_number_of_a_domain_counts() -> None:
    other = Box([-1.0] * 3, [1.0, 1.0, np.nextafter(1.0, 2.0)])
    half = [Polytope([[1.0, 0.0, 0.0]], [b], CUBE) for b in (0.0, 0.5)]
    assert len({domain_digest(d) for d in (CUBE, other, *half)}) == 4
