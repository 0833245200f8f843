"""The oracles against printed numbers, hand-made cases and each other."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from tests.oracles import counts
from tests.oracles.lines import intervals
from tests.oracles.patterns import patterns_by_lp, patterns_by_sampling, sign_patterns_by_lp
from tests.oracles.plain import (
    ABSOLUTE,
    HARDTANH,
    LEAKY,
    RELU,
    PlainActivation,
    PlainLayer,
    activate,
    forward,
    pattern,
    plain_layer,
)
from tests.oracles.polygons import area, lines, polygons

SQUARE = ([-1.0, -1.0], [1.0, 1.0])
EVERY_ACTIVATION = pytest.mark.parametrize(
    "activation", [RELU, ABSOLUTE, HARDTANH, LEAKY], ids=["relu", "absolute", "hardtanh", "leaky"]
)


def network(activation: PlainActivation, inputs: int, seed: int) -> list[PlainLayer]:
    """Two hidden layers with numbers that are multiples of 1/8."""
    rng = np.random.default_rng(seed)
    layers = []
    for n, m in ((inputs, 3), (3, 3)):
        weight = rng.integers(-16, 17, (m, n)) / 8
        layers.append(plain_layer(weight, rng.integers(-8, 9, m) / 8, activation))
    return layers


def test_closed_forms_are_the_printed_numbers() -> None:
    for (dim, n), cells in counts.GENERIC.items():
        assert counts.generic_regions(n, dim) == cells
    for (dim, n), cells in counts.CENTRAL.items():
        assert counts.central_regions(n, dim) == cells
    assert counts.generic_faces(12, 3, 2) == 804
    assert counts.generic_faces(12, 3, 3) == counts.generic_regions(12, 3)
    assert counts.generic_faces(12, 3, 0) == 220
    assert counts.bounded_generic_regions(4, 2) == 3


def test_deletion_counts_lines_by_hand() -> None:
    assert counts.cells_by_deletion(np.zeros((0, 2)), []) == 1
    assert counts.cells_by_deletion([[1, 0], [2, 0], [0, 1]], [0, 0, 0]) == 4
    assert counts.cells_by_deletion([[1, 0], [1, 0], [0, 1], [0, 0]], [0, -0.5, 0, 1]) == 6
    assert counts.cells_by_deletion([[1, 0], [0, 1], [1, 1]], [0, 0, 0]) == 6
    assert counts.cells_by_deletion([[1, 0], [0, 1], [1, 1]], [0, 0, 1]) == 7
    assert counts.cells_by_deletion([[1, 1], [-2, -2]], [1, -2]) == 2


@EVERY_ACTIVATION
@pytest.mark.parametrize("seed", range(4))
def test_linear_programs_and_exact_polygons_agree(activation: PlainActivation, seed: int) -> None:
    layers = network(activation, 2, seed)
    by_polygon = polygons(layers, SQUARE)
    assert patterns_by_lp(layers, SQUARE) == set(by_polygon)
    assert sum(map(area, by_polygon.values())) == 4
    assert all(area(polygon) > 0 for polygon in by_polygon.values())
    rng = np.random.default_rng(seed)
    assert patterns_by_sampling(layers, SQUARE, rng, 2000) <= set(by_polygon)


@EVERY_ACTIVATION
def test_polygons_carry_the_pattern_of_their_centre(activation: PlainActivation) -> None:
    layers = network(activation, 2, 5)
    for signs, polygon in polygons(layers, SQUARE).items():
        center = [sum(p[i] for p in polygon) / Fraction(len(polygon)) for i in (0, 1)]
        assert pattern(layers, center) == signs


@EVERY_ACTIVATION
@pytest.mark.parametrize("seed", range(4))
def test_linear_programs_and_exact_intervals_agree(activation: PlainActivation, seed: int) -> None:
    layers = network(activation, 1, seed)
    found = intervals(layers, -2, 3)
    assert found[0].left == -2
    assert found[-1].right == 3
    assert all(a.right == b.left for a, b in itertools.pairwise(found))
    signs = [interval.pattern for interval in found]
    assert len(set(signs)) == len(signs)
    assert patterns_by_lp(layers, ([-2.0], [3.0])) == set(signs)


def test_a_line_that_only_touches_a_corner_cuts_nothing() -> None:
    assert len(lines([[1, 1]], [-2], SQUARE)) == 1
    assert len(lines([[1, 0]], [-1], SQUARE)) == 1
    assert len(lines([[1, 1]], [-2 + 2**-40], SQUARE)) == 2
    assert sign_patterns_by_lp([[[1, 1]]], [[-2]], SQUARE) == {(0,)}
    assert sign_patterns_by_lp([[[-1, -1]]], [[2]], SQUARE) == {(1,)}


def test_constant_units_never_split() -> None:
    weights = [[[1, 0], [0, 0], [0, 0], [1, 0]]]
    biases = [[0, 1, 0, 0]]
    assert sign_patterns_by_lp(weights, biases, SQUARE) == {(0, 1, 0, 0), (1, 1, 0, 1)}
    assert set(lines(weights[0], biases[0], SQUARE)) == {(0, 1, 0, 0), (1, 1, 0, 1)}


def test_the_whole_space_has_the_cells_that_a_box_misses() -> None:
    weights, biases = [[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]], [[0.0, 0.0, 50.0]]
    assert len(sign_patterns_by_lp(weights, biases, SQUARE)) == 4
    assert len(sign_patterns_by_lp(weights, biases, None)) == 7


def test_activations_by_hand() -> None:
    half = Fraction(1, 2)
    assert [activate(HARDTANH, z) for z in (-3 * half, half, 3 * half)] == [-1, half, 1]
    assert [activate(ABSOLUTE, z) for z in (-half, Fraction(0), half)] == [half, 0, half]
    assert activate(LEAKY, -half) == Fraction(-1, 16)
    shifted = PlainActivation((1.0,), (0.0, 2.0), 3.0)
    assert [activate(shifted, Fraction(z)) for z in (-5, 1, 2)] == [3, 3, 5]
    net = [
        plain_layer([[1], [1]], [0, -0.5]),
        plain_layer([[2, -4]], [0], PlainActivation((), (1,))),
    ]
    assert [forward(net, [Fraction(n, 4)])[0] for n in range(5)] == [0, half, 1, half, 0]
