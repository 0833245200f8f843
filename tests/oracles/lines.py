"""Regions of networks with one input: sorted breakpoints by exact interpolation."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import NamedTuple

from tests.oracles.plain import PlainActivation, PlainLayer, activate, pattern


class Interval(NamedTuple):
    """An open interval and the segments of all units on it."""

    left: Fraction
    right: Fraction
    pattern: tuple[int, ...]


def intervals(layers: list[PlainLayer], low: float, high: float) -> list[Interval]:
    """Give the activation regions of a network on ``[low, high]``, from left to right."""
    knots = [(Fraction(low), [Fraction(low)]), (Fraction(high), [Fraction(high)])]
    for layer in layers:
        knots = [(x, _linear(layer, values)) for x, values in knots]
        for unit in range(len(layer.bias)):
            knots = _split(knots, unit, layer.activation)
        knots = [(x, [activate(layer.activation, z) for z in values]) for x, values in knots]
    ends = [x for x, _ in knots]
    return [
        Interval(left, right, pattern(layers, [(left + right) / 2]))
        for left, right in itertools.pairwise(ends)
    ]


Knots = list[tuple[Fraction, list[Fraction]]]


def _linear(layer: PlainLayer, values: list[Fraction]) -> list[Fraction]:
    return [
        b + sum((w * v for w, v in zip(row, values, strict=True)), Fraction(0))
        for row, b in zip(layer.weight, layer.bias, strict=True)
    ]


def _split(knots: Knots, unit: int, activation: PlainActivation) -> Knots:
    """Insert a knot wherever the unit goes through one of its breakpoints between two knots."""
    result = [knots[0]]
    for x1, z1 in knots[1:]:
        x0, z0 = result[-1]
        start, stop = z0[unit], z1[unit]
        inside = [t for t in activation.breakpoints if min(start, stop) < t < max(start, stop)]
        shares = [(Fraction(t) - start) / (stop - start) for t in inside]
        for share in sorted(shares):
            middle = [a + share * (b - a) for a, b in zip(z0, z1, strict=True)]
            result.append((x0 + share * (x1 - x0), middle))
        result.append((x1, z1))
    return result
