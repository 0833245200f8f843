"""Regions in rational arithmetic by brute force: every sign vector, every vertex.

The closed cell of a sign vector in a box is the convex hull of its vertices; the open cell is not
empty exactly if the vertices' mean makes every row that is not identically zero positive.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

from tests.oracles.plain import PlainLayer, affine_piece

Row = list[Fraction]  # constant, coefficients


def patterns_by_vertices(layers: list[PlainLayer], box: Any) -> set[tuple[int, ...]]:
    """List the segment vectors of all full-dimensional regions of hidden layers in a box."""
    lower, upper = ([Fraction(float(v)) for v in side] for side in box)
    size = len(lower)
    sides = []
    for j in range(size):
        unit = [Fraction(int(i == j)) for i in range(size)]
        sides += [[-lower[j], *unit], [upper[j], *(-u for u in unit)]]
    inputs = [[Fraction(0), *(Fraction(int(i == j)) for i in range(size))] for j in range(size)]
    found: set[tuple[int, ...]] = set()
    _descend(layers, inputs, sides, (), found)
    return found


def _descend(
    layers: list[PlainLayer],
    inputs: list[Row],
    rows: list[Row],
    prefix: tuple[int, ...],
    found: set[tuple[int, ...]],
) -> None:
    if not layers:
        found.add(prefix)
        return
    layer = layers[0]
    z = []
    for weights, bias in zip(layer.weight, layer.bias, strict=True):
        row = [
            sum((w * v[c] for w, v in zip(weights, inputs, strict=True)), Fraction(0))
            for c in range(len(inputs[0]))
        ]
        row[0] += bias
        z.append(row)
    pieces = range(len(layer.activation.slopes))
    for choice in itertools.product(pieces, repeat=len(z)):
        more = [cut for row, s in zip(z, choice, strict=True) for cut in _between(layer, row, s)]
        if not is_region(rows + [cut for cut, _ in more], [strict for _, strict in more]):
            continue
        outputs = []
        for row, s in zip(z, choice, strict=True):
            slope, shift = affine_piece(layer.activation, s)
            outputs.append([slope * row[0] + shift, *(slope * v for v in row[1:])])
        kept = rows + [cut for cut, _ in more if any(cut[1:])]
        _descend(layers[1:], outputs, kept, (*prefix, *choice), found)


def _between(layer: PlainLayer, row: Row, s: int) -> list[tuple[Row, bool]]:
    """Give the rows of a segment, and whether zero is excluded even where the row is constant."""
    cuts = [Fraction(t) for t in layer.activation.breakpoints]
    result: list[tuple[Row, bool]] = []
    if s > 0:
        result.append(([row[0] - cuts[s - 1], *row[1:]], True))
    if s < len(cuts):
        result.append(([cuts[s] - row[0], *(-v for v in row[1:])], False))
    return result


def is_region(rows: list[Row], strict: list[bool]) -> bool:
    """Tell whether an interior point of the box makes all rows positive.

    ``strict`` belongs to the last rows: False where an identically zero row is allowed.
    """
    first = len(rows) - len(strict)
    live = []
    for i, row in enumerate(rows):
        if any(row[1:]):
            live.append(row)
        elif row[0] < 0 or (row[0] == 0 and (i < first or strict[i - first])):
            return False
    corners = list(_vertices(live))
    if not corners:
        return False
    mean = [sum(column, Fraction(0)) / len(corners) for column in zip(*corners, strict=True)]
    return all(_value(row, mean) > 0 for row in live)


def _vertices(rows: list[Row]) -> Any:
    """Give the points where as many independent rows vanish as there are coordinates."""
    for chosen in itertools.combinations(rows, len(rows[0]) - 1):
        point = _solve([[*row[1:], -row[0]] for row in chosen])
        if point is not None and all(_value(row, point) >= 0 for row in rows):
            yield tuple(point)


def _value(row: Row, point: Any) -> Fraction:
    return row[0] + sum((a * x for a, x in zip(row[1:], point, strict=True)), Fraction(0))


def _solve(system: list[list[Fraction]]) -> list[Fraction] | None:
    """Solve ``[A | b]`` by elimination; None if singular."""
    n = len(system)
    for j in range(n):
        pivot = next((i for i in range(j, n) if system[i][j]), None)
        if pivot is None:
            return None
        system[j], system[pivot] = system[pivot], system[j]
        system[j] = [v / system[j][j] for v in system[j]]
        for i in range(n):
            if i != j and system[i][j]:
                factor = system[i][j]
                system[i] = [v - factor * w for v, w in zip(system[i], system[j], strict=True)]
    return [row[-1] for row in system]
