"""Networks as plain numbers, evaluated by loops over exact rationals."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple


class PlainActivation(NamedTuple):
    """A continuous piecewise-linear function: breakpoints, slopes, value at 0."""

    breakpoints: tuple[float, ...]
    slopes: tuple[float, ...]
    offset: float = 0.0


RELU = PlainActivation((0.0,), (0.0, 1.0))
ABSOLUTE = PlainActivation((0.0,), (-1.0, 1.0))
HARDTANH = PlainActivation((-1.0, 1.0), (0.0, 1.0, 0.0))
LEAKY = PlainActivation((0.0,), (0.125, 1.0))
IDENTITY = PlainActivation((), (1.0,))


class PlainLayer(NamedTuple):
    """Rows of numbers, a bias each, and the activation behind them."""

    weight: list[list[Fraction]]
    bias: list[Fraction]
    activation: PlainActivation


def plain_layer(weight: Any, bias: Any, activation: PlainActivation = RELU) -> PlainLayer:
    rows = [[Fraction(float(w)) for w in row] for row in weight]
    return PlainLayer(rows, [Fraction(float(b)) for b in bias], activation)


def plain_layers(chain: Any) -> list[PlainLayer]:
    """Read any object with ``layers``, each with ``map``, ``bias`` and ``activation``."""
    return [
        plain_layer(
            layer.map.to_dense(),
            layer.bias,
            PlainActivation(
                layer.activation.breakpoints, layer.activation.slopes, layer.activation.offset
            ),
        )
        for layer in chain.layers
    ]


def hidden_layers(chain: Any) -> list[PlainLayer]:
    """Drop trailing layers that have no breakpoint."""
    layers = plain_layers(chain)
    while layers and not layers[-1].activation.breakpoints:
        layers.pop()
    return layers


def activate(activation: PlainActivation, z: Fraction) -> Fraction:
    """Integrate the slopes from 0 to ``z`` and add the value at 0."""
    low, high = min(z, Fraction(0)), max(z, Fraction(0))
    cuts = [Fraction(t) for t in activation.breakpoints]
    area = Fraction(0)
    for i, slope in enumerate(activation.slopes):
        left = low if i == 0 else max(low, cuts[i - 1])
        right = high if i == len(cuts) else min(high, cuts[i])
        if left < right:
            area += Fraction(slope) * (right - left)
    return Fraction(activation.offset) + (area if z >= 0 else -area)


def segment(activation: PlainActivation, z: Fraction) -> int:
    return sum(1 for t in activation.breakpoints if z > Fraction(t))


def affine_piece(activation: PlainActivation, index: int) -> tuple[Fraction, Fraction]:
    """Give slope and intercept of one piece, from its value at a point of it."""
    cuts = [Fraction(t) for t in activation.breakpoints]
    if not cuts:
        point = Fraction(0)
    elif index == 0:
        point = cuts[0]
    else:
        point = cuts[index - 1]
    slope = Fraction(activation.slopes[index])
    return slope, activate(activation, point) - slope * point


def pre_activations(layers: list[PlainLayer], x: list[Fraction]) -> list[list[Fraction]]:
    values, result = x, []
    for layer in layers:
        z = []
        for row, b in zip(layer.weight, layer.bias, strict=True):
            total = b
            for w, v in zip(row, values, strict=True):
                total += w * v
            z.append(total)
        result.append(z)
        values = [activate(layer.activation, value) for value in z]
    return result


def forward(layers: list[PlainLayer], x: list[Fraction]) -> list[Fraction]:
    z = pre_activations(layers, x)[-1]
    return [activate(layers[-1].activation, value) for value in z]


def pattern(layers: list[PlainLayer], x: list[Fraction]) -> tuple[int, ...]:
    """Give the segment of every unit of every layer that has a breakpoint."""
    return tuple(
        segment(layer.activation, value)
        for layer, z in zip(layers, pre_activations(layers, x), strict=True)
        if layer.activation.breakpoints
        for value in z
    )


def exact(values: Any) -> list[Fraction]:
    return [Fraction(float(value)) for value in values]
