"""Regions of networks with two inputs: polygons cut in exact rationals."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tests.oracles.plain import PlainActivation, PlainLayer, affine_piece

Point = tuple[Fraction, Fraction]
Polygon = list[Point]
Line = tuple[Fraction, Fraction, Fraction]  # (a, b, c): a x + b y + c


def polygons(layers: list[PlainLayer], box: Any) -> dict[tuple[int, ...], Polygon]:
    """Give every activation region in the box as its corners, by its segment vector."""
    (x0, y0), (x1, y1) = ([Fraction(float(v)) for v in side] for side in box)
    start: Polygon = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    found: dict[tuple[int, ...], Polygon] = {}
    _descend(layers, start, [(_ONE, _NONE, _NONE), (_NONE, _ONE, _NONE)], (), found)
    return found


def lines(normals: Any, biases: Any, box: Any) -> dict[tuple[int, ...], Polygon]:
    """Give the cells of lines ``a . x + b = 0`` in a box, by the sides they lie on."""
    rows = [[Fraction(float(v)) for v in row] for row in normals]
    layer = PlainLayer(rows, [Fraction(float(b)) for b in biases], _STEP)
    return polygons([layer], box)


def area(polygon: Polygon) -> Fraction:
    """Give the area by the shoelace formula."""
    total = Fraction(0)
    for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        total += x0 * y1 - x1 * y0
    return abs(total) / 2


_ONE, _NONE = Fraction(1), Fraction(0)
_STEP = PlainActivation((0.0,), (0.0, 1.0))


def _descend(
    layers: list[PlainLayer],
    polygon: Polygon,
    inputs: list[Line],
    prefix: tuple[int, ...],
    found: dict[tuple[int, ...], Polygon],
) -> None:
    """``inputs`` are the affine functions of the point that enter the next layer."""
    if not layers:
        found[prefix] = polygon
        return
    layer = layers[0]
    functions = [_combine(row, b, inputs) for row, b in zip(layer.weight, layer.bias, strict=True)]
    cells: list[tuple[tuple[int, ...], Polygon]] = [((), polygon)]
    for f in functions:
        cells = [
            ((*choice, s), piece)
            for choice, cell in cells
            for s, piece in _pieces(cell, f, layer.activation)
        ]
    for choice, cell in cells:
        outputs = []
        for s, (a, b, c) in zip(choice, functions, strict=True):
            slope, shift = affine_piece(layer.activation, s)
            outputs.append((slope * a, slope * b, slope * c + shift))
        after = prefix + choice if layer.activation.breakpoints else prefix
        _descend(layers[1:], cell, outputs, after, found)


def _combine(row: list[Fraction], bias: Fraction, inputs: list[Line]) -> Line:
    a, b, c = _NONE, _NONE, bias
    for w, (fa, fb, fc) in zip(row, inputs, strict=True):
        a, b, c = a + w * fa, b + w * fb, c + w * fc
    return a, b, c


def _pieces(polygon: Polygon, f: Line, activation: PlainActivation) -> list[tuple[int, Polygon]]:
    """Cut a polygon at every breakpoint of one unit."""
    result = []
    rest = polygon
    for s, t in enumerate(activation.breakpoints):
        shifted = (f[0], f[1], f[2] - Fraction(t))
        below, above = _side(rest, shifted, -1), _side(rest, shifted, 1)
        if below:
            result.append((s, below))
        elif not above:  # the unit is at the breakpoint everywhere: the lower segment
            return [*result, (s, rest)]
        rest = above
        if not rest:
            return result
    return [*result, (len(activation.breakpoints), rest)]


def _side(polygon: Polygon, f: Line, sign: int) -> Polygon:
    """Keep the part where ``sign * f > 0``; empty if it has no interior."""
    values = [sign * (f[0] * x + f[1] * y + f[2]) for x, y in polygon]
    if not any(value > 0 for value in values):
        return []
    kept: Polygon = []
    for i, (point, value) in enumerate(zip(polygon, values, strict=True)):
        before, previous = polygon[i - 1], values[i - 1]
        if (value > 0 > previous) or (value < 0 < previous):
            share = previous / (previous - value)
            kept.append(
                (
                    before[0] + share * (point[0] - before[0]),
                    before[1] + share * (point[1] - before[1]),
                )
            )
        if value >= 0:
            kept.append(point)
    return kept
