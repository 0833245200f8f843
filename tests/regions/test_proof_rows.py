"""What the checker reads of a network and a domain, against loops over rationals."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.core.exact import integers
from byways.networks import random_network
from byways.regions import Slice, WholeSpace
from byways.regions._check import OPEN, Rows
from byways.regions._proof import domain_digest
from tests.oracles.plain import activate, hidden_layers
from tests.regions.nets import ACTIVATIONS

CUBE = Box([-1.0] * 3, [1.0] * 3)
LARGEST = 10**20
SMALL = Box([-0.25] * 3, [0.25] * 3)
CORNERS = [list(map(Fraction, corner)) for corner in itertools.product([-0.25, 0.25], repeat=3)]


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


def functions_on(rows: Rows, sides: list[int]) -> list[int]:
    """Give the rows of a cell as functions."""
    found: list[int] = rows.on(np.array(sides)[:, None], rows.functions).ravel().tolist()
    return found


def settled(rows: Rows, truth: list[tuple[int, Fraction]]) -> tuple[list[int], list[int]]:
    """Give the sides of a point's cell, those of the domain's rows before them, and its rows."""
    sides = [1] * rows.given + [side for side, _ in truth]
    return sides, functions_on(rows, sides)


def rows_at(rows: Rows, functions: list[int], point: list[Fraction]) -> list[Fraction]:
    """Evaluate rows, as functions of the box's shares, times some number."""
    if rows.bounded:
        ends = zip(rationals(rows.box.lower), point, rationals(rows.box.upper), strict=True)
        point = [(x - low) / (high - low) for low, x, high in ends]
    return [
        sum(c * x for c, x in zip(rows.packing.coefficients(f), [*point, 1], strict=True))
        for f in functions
    ]


def signs_of(truth: list[tuple[int, Fraction]]) -> Any:
    """Give the signs of a point's rows, as those of the only leaf of a proof."""
    return np.array([[int(size > 0) - int(size < 0) for _, size in truth]], dtype=np.int8)


def proportional(found: list[Any], truth: list[Fraction]) -> bool:
    """Tell whether numbers differ by one positive factor."""
    factor = next(Fraction(a) / b for a, b in zip(found, truth, strict=True) if b)
    return factor > 0 and found == [factor * b for b in truth]


@pytest.mark.parametrize("widths", [(3, 4, 3, 1), (3, 2, 4, 1)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rows_are_distances_from_the_breakpoints(activation: Any, widths: tuple[int, ...]) -> None:
    chain = random_network(widths, rng=5, activation=activation)
    rows, rng = Rows(chain, CUBE, LARGEST), np.random.default_rng(0)
    for numbers in rng.uniform(-1.0, 1.0, size=(5, 3)):
        point = rationals(numbers)
        truth = decided(chain, point)
        sizes, signs = [size for _, size in truth], signs_of(truth)
        assert proportional(rows_at(rows, settled(rows, truth)[1], point), sizes)
        assert rows.unproven(signs, numbers[None]) == []
        assert rows.inside(signs[0], numbers.tolist())
        for k in range(len(sizes)):  # no other signs will do
            other = np.where(np.arange(len(sizes)) == k, -signs, signs).astype(np.int8)
            assert rows.unproven(other, numbers[None]) == [0]
            assert not rows.inside(other[0], numbers.tolist())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_at_points_are_distances(activation: Any) -> None:
    """One column per point, each with sides of its own."""
    chain = random_network((3, 4, 3, 1), rng=5, activation=activation)
    rows, points = Rows(chain, CUBE, LARGEST), np.random.default_rng(0).uniform(-1, 1, (4, 3))
    truths = [decided(chain, rationals(point)) for point in points]
    sides = np.array([[side for side, _ in truth] for truth in truths])
    image = rows.first @ np.column_stack([integers([*p.tolist(), 1])[0] for p in points])
    for values, truth in zip(rows.on(sides.T, image).T.tolist(), truths, strict=True):
        assert proportional(values, [size for _, size in truth])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_point_close_by_is_a_point_of_the_domain(activation: Any) -> None:
    """An end of the box is met exactly, so that the signs are those at the corner."""
    chain = random_network((3, 4, 3, 1), rng=5, activation=activation)
    box = Box([-0.3, 1e-3, 2.0], [0.1, 7.0, 2.0])
    rows = Rows(chain, box, LARGEST)
    for corner in itertools.product(*zip(box.lower, box.upper, strict=True)):
        signs, point = signs_of(decided(chain, rationals(corner))), np.array([corner])
        assert rows.unproven(signs, point) == []
        assert rows.inside(signs[0], list(corner))
    for outside in ([-0.31, 1.0, 2.0], [0.0, 7.1, 2.0], [0.0, 1.0, np.nan], [np.inf, 1.0, 2.0]):
        assert rows.unproven(signs, np.array([outside])) == [0]
        assert not rows.inside(signs[0], outside)


def test_a_layer_waits_for_the_one_before() -> None:
    rows = Rows(random_network((3, 4, 3, 1), rng=5), CUBE, LARGEST)
    sides = [0, 1, OPEN, 1, *[OPEN] * 3]
    assert len(functions_on(rows, sides)) == 4
    sides[2] = 0
    assert len(functions_on(rows, sides)) == 7


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", [(3, 4, 3, 1), (3, 2, 3, 1)])
def test_a_side_is_empty_by_its_largest_value_at_a_corner(
    activation: Any, widths: tuple[int, ...]
) -> None:
    """Weights may add up to the largest that was announced."""
    chain = random_network(widths, rng=7, activation=activation)
    rows, rng = Rows(chain, SMALL, LARGEST), np.random.default_rng(1)
    seen = set()
    for numbers in rng.uniform(-0.25, 0.25, size=(30, 3)):
        sides, here = settled(rows, decided(chain, rationals(numbers)))
        at = np.array([rows_at(rows, here, corner) for corner in CORNERS])
        k, j = rng.choice(len(sides), 2, replace=False).tolist()
        sides[k] = 1 - sides[k]
        for weights in ({k: LARGEST}, {k: LARGEST - 1, j: 1}, {k: LARGEST // 2, j: LARGEST // 2}):
            signed = [(2 * sides[i] - 1) * w * at[:, i] for i, w in weights.items()]
            top = max(sum(signed))
            assert top != 0
            assert rows.empty(sides, here, list(weights.items())) == (top < 0)
            seen.add(top < 0)
    assert seen == {True, False}


def test_where_the_largest_value_is_zero() -> None:
    """Unit 0 touches the box, unit 1 is zero, and unit 2 falls below zero."""
    pairs = [([[1.0], [0.0], [-1.0]], [-1.0, 0.0, -3.0]), ([[1.0] * 3], [0.0])]
    rows = Rows(LayerChain.from_arrays(pairs), Box([-1.0], [1.0]), LARGEST)
    here = functions_on(rows, [OPEN] * 3)
    assert [row == 0 for row in here] == [False, True, False]
    for k, side, empty in [(0, 1, True), (0, 0, False), (1, 1, True), (1, 0, False), (2, 1, True)]:
        sides = [OPEN] * 3
        sides[k] = side
        assert rows.empty(sides, here, [(k, 1)]) == empty
        assert not rows.empty(sides, here, [(k, 0)])
        assert not rows.empty(sides, here, [])
        assert not rows.empty(sides, here, [(k, -1)])
        assert not rows.empty(sides, here, [(k, 1), (1 - min(k, 1), 1)])
        assert not rows.empty(sides, here, [(k - 3, 1)])


def test_in_the_whole_space_slopes_have_to_cancel() -> None:
    pairs = [([[0.1], [0.3]], [0.0, 1.0]), ([[1.0, 1.0]], [0.0])]
    rows = Rows(LayerChain.from_arrays(pairs), WholeSpace(1), LARGEST)
    sides = [1, 0]  # x > 0 and x <= -1 / 0.3
    here = functions_on(rows, sides)
    exact = Fraction(0.3) / Fraction(0.1)
    assert rows.empty(sides, here, [(0, exact.numerator), (1, exact.denominator)])
    assert not rows.empty(sides, here, [(0, 3), (1, 1)])


def test_rows_of_a_polytope_come_first() -> None:
    chain = random_network((3, 2, 1), rng=7)
    half = Polytope([[1.0, 2.0, -1.0]], [0.3], CUBE)
    rows, point = Rows(chain, half, LARGEST), [Fraction(1, 3), Fraction(-1, 7), Fraction(1, 2)]
    truth = decided(chain, point)
    first = Fraction(0.3) - point[0] - 2 * point[1] + point[2]
    found = rows_at(rows, settled(rows, truth)[1], point)
    assert proportional(found, [first, *(size for _, size in truth)])


def test_a_slice_is_read_as_a_layer() -> None:
    chain = random_network((3, 4, 1), rng=2)
    origin, directions = [0.0, 0.1, 0.25], [[1.0, 0.0, 0.5], [0.0, 1.0, -2.0]]
    rows = Rows(chain, Slice(origin, directions, extent=1.0), LARGEST)
    place = [Fraction(3, 8), Fraction(-1, 7)]
    inputs = [
        Fraction(o) + Fraction(a) * place[0] + Fraction(b) * place[1]
        for o, a, b in zip(origin, *directions, strict=True)
    ]
    truth = decided(chain, inputs)
    found = rows_at(rows, settled(rows, truth)[1], place)
    assert proportional(found, [size for _, size in truth])


def test_units_are_numbered_and_bends_exact() -> None:
    """A tenth is no binary number, and 1e-300 no small one."""
    chain = LayerChain.from_arrays([([[0.1], [1e-300]], [0.3, 1.0]), ([[1.0, 1.0]], [0.0])])
    rows = Rows(chain, Box([-1.0], [1.0]), LARGEST)
    found = rows_at(rows, functions_on(rows, [1, 0]), [Fraction(1, 3)])
    truth = [Fraction(0.1) / 3 + Fraction(0.3), Fraction(1e-300) / 3 + 1]
    assert proportional(found, truth)
    assert rows.unit == [0, 1]


def test_every_number_of_a_domain_counts() -> None:
    other = Box([-1.0] * 3, [1.0, 1.0, np.nextafter(1.0, 2.0)])
    half = [Polytope([[1.0, 0.0, 0.0]], [b], CUBE) for b in (0.0, 0.5)]
    assert len({domain_digest(d) for d in (CUBE, other, *half)}) == 4
