"""What floating point proves of a tree, with a bound on all rounding.

On the way down each unit has a *row*: its pre-activation as an affine function of the coordinates
on the cell, computed in float64, and a bound on how far that is from the truth anywhere in the box.
A sum of ``n`` products, in any order, is off by at most ``gamma = n u / (1 - n u)`` times the sum
of their magnitudes, ``u = 2^-53``. The number ``gamma`` here is four times that, for the longest
sum that there is, which pays for the rounding of the bounds themselves; a trifle pays for
underflow. Whatever is not a number proves nothing.

Many inputs are seen through the first layer's pre-activations alone. These are the coordinates
then, and only a sum of rows whose maximum over their hull is not negative is carried back to the
inputs.

References:
    Higham (2002), "Accuracy and Stability of Numerical Algorithms", section 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byways.core.compiled import borrowing, borrowing_entry, inlined, unrolled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._rows import Rules
    from byways.regions._split_tree import SplitTree

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

__all__ = ["verify"]

OPEN = -1  # in a path

_OVERFLOW = 1e300
_MANY_INPUTS = 2  # times as many as units in the first layer


class Floats(NamedTuple):
    """A network and a domain, flat. Rows of the domain count as units, before all layers.

    Layer ``l`` has units ``unit_start[l] .. unit_start[l + 1]``, decisions ``decision_start[l] ..``
    and weights from ``weight_start[l]``, those of an input next to each other.
    """

    weights: Array
    weight_start: Ints
    biases: Array
    unit_start: Ints
    decision_start: Ints
    unit: Ints  # per row: its unit
    threshold: Array  # per row
    unit_decision: Ints  # per unit, and behind the last: its first decision
    slopes: Array  # (units, pieces), padded
    intercepts: Array
    normals: Array  # (rows of the domain, coordinates), outward
    sides: Array
    lower: Array
    upper: Array
    gamma: float
    trifle: float
    through: bool  # the coordinates are the first layer's pre-activations

    @classmethod
    def of(cls, rules: Rules) -> Floats:
        """Flatten what rules speak of."""
        layers, (normals, sides) = rules.layers, rules.domain
        m, d = normals.shape
        widths, counts = [len(a.bias) for a in layers], [a.decisions for a in layers]
        unit_start = np.cumsum([m, *widths], dtype=np.int64)
        pieces = max([a.slopes.shape[1] for a in layers], default=1)
        slopes, intercepts = np.zeros((2, unit_start[-1], pieces))
        for a, at in zip(layers, unit_start.tolist(), strict=False):
            here = slice(at, at + len(a.bias)), slice(a.slopes.shape[1])
            slopes[here], intercepts[here] = a.slopes, _rounded(a.intercepts)
        of_layer = [a.unit + at for a, at in zip(layers, unit_start, strict=False)]
        unit = np.concatenate([np.arange(m), *of_layer]).astype(np.int64)
        reach = np.maximum(np.abs(rules.lower), np.abs(rules.upper))
        terms = d + max(widths, default=0) + len(unit) + 16
        return cls(
            weights=_joined([a.weight.T.ravel() for a in layers]),
            weight_start=np.cumsum([0, *(a.weight.size for a in layers)], dtype=np.int64),
            biases=_joined([np.zeros(m), *(a.bias for a in layers)]),
            unit_start=unit_start,
            decision_start=np.cumsum([0, *counts], dtype=np.int64),
            unit=unit,
            threshold=_joined([np.zeros(m), *(a.threshold for a in layers)]),
            unit_decision=np.searchsorted(unit[m:], np.arange(unit_start[-1] + 1)),
            slopes=slopes,
            intercepts=intercepts,
            normals=np.ascontiguousarray(normals),
            sides=np.ascontiguousarray(sides),
            lower=rules.lower,
            upper=rules.upper,
            gamma=4.0 * terms * 2.0**-53 / (1.0 - terms * 2.0**-53),
            trifle=1e-300 * (1.0 + float(reach.sum())),
            through=bool(not m and layers and _MANY_INPUTS * widths[0] < d),
        )


class _Room(NamedTuple):
    """The rows of the cell that the walk is at, and the paths of those that wait.

    ``level`` has constants, error bounds and magnitudes per unit, ``bound`` for each row by how
    much rounding can have moved it, ``height`` values at a point; ``side`` lower and upper ends of
    the coordinates and the largest magnitude; ``part`` what a unit passes on: coefficient, shift
    and error bound.
    """

    slope: Array  # (columns, units): the long axis is the inner one
    level: Array
    bound: Array
    height: Array
    side: Array
    part: Array
    gradient: Array
    paths: NDArray[np.int8]
    where: Ints


def _rounded(intercepts: NDArray[Any]) -> Array:
    """Round rationals to floats, none but zero to zero."""
    floats = intercepts.astype(np.float64)
    floats[(floats == 0) & (intercepts != 0)] = 5e-324
    return floats


def _joined(parts: list[Array]) -> Array:
    return np.ascontiguousarray(np.concatenate([np.zeros(0), *parts]))


def verify(rules: Rules, tree: SplitTree, points: Array) -> tuple[Flags, Flags]:
    """Tell which refused sides, and which leaves with these points, floating point proves.

    Cost: one pass through a layer per cell of the layer before, a few products per multiplier and
    per decision of a leaf; of many inputs a pass per leaf, and per side that the hull leaves open.
    """
    floats = Floats.of(rules)
    columns = rules.layers[0].bias.size if floats.through else rules.lower.size
    units, decisions = int(floats.unit_start[-1]), rules.decisions
    room = _Room(
        slope=np.zeros((columns, units)),
        level=np.zeros((3, units)),
        bound=np.zeros(len(floats.unit)),
        height=np.zeros(units),
        side=np.zeros((3, columns)),
        part=np.zeros((3, units)),
        gradient=np.zeros(columns),
        paths=np.full((decisions + 1, decisions), OPEN, dtype=np.int8),
        where=np.zeros((decisions + 1, 2), dtype=np.int64),
    )
    holds, inside = np.zeros(len(tree.start) - 1, np.bool_), np.zeros(len(points), np.bool_)
    with np.errstate(all="ignore"):
        places = points  # where the rows are evaluated
        if floats.through:
            places = points @ rules.layers[0].weight.T + rules.layers[0].bias
        _verify(unrolled(columns), floats, *tree[:5], points, places, room, holds, inside)
    return holds, inside


@borrowing_entry
def _verify(axes, net, decision, kept, start, row, value, points, places, room, holds, inside):
    """Walk over the nodes and say which sides and which leaves are proven."""
    layers, slope, level, side = net.decision_start.size - 1, room.slope, room.level, room.side
    where = room.where
    _begin(net, slope, level, side)
    _bound(net, 0, net.sides.size, level, room.bound)
    where[0, 0] = -1
    sides, leaves, top = 0, 0, 0
    for node in range(decision.size):
        path = room.paths[top]
        while where[top, 1] == 0 and where[top, 0] < layers - 1:
            where[top, 0] += 1
            layer = where[top, 0]
            where[top, 1] = net.decision_start[layer + 1] - net.decision_start[layer]
            if layer > 0:
                _enter(axes, net, layer, path, slope, level, side, room.part)
            first, last = net.decision_start[layer], net.decision_start[layer + 1]
            _bound(net, net.sides.size + first, net.sides.size + last, level, room.bound)
        k = decision[node]
        if k < 0:
            inside[leaves] = _contains(axes, net, path, points[leaves], places[leaves], room)
            leaves += 1
            top -= 1
            continue
        where[top, 1] -= 1
        if kept[node] < 0:
            below = room.paths[top + 1]
            for i in range(path.size):
                below[i] = path[i]
            where[top + 1, 0], where[top + 1, 1] = where[top, 0], where[top, 1]
            path[k], below[k] = 1, 0
            top += 1
            continue
        path[k] = 1 - kept[node]
        holds[sides] = _is_empty(axes, net, path, start[sides], start[sides + 1], row, value, room)
        sides += 1
        path[k] = kept[node]


@inlined
def _is_empty(axes, net, path, first, last, row, value, room):
    """Tell whether a sum of rows of a path is negative on the domain."""
    m, columns, side, gradient = net.sides.size, np.uint64(len(axes)), room.side, room.gradient
    slope, level, bound = room.slope, room.level, room.bound
    constant, error, valid = 0.0, net.trifle, True
    for c in range(columns):
        gradient[c] = 0.0
    for j in range(first, last):
        i, factor = row[j], value[j]
        u, t = net.unit[i], net.threshold[i]
        valid &= factor >= 0.0 and (i < m or path[i - m] >= 0)
        error += factor * bound[i]
        factor = -factor if i >= m and path[i - m] == 0 else factor
        constant += factor * (level[0, u] - t)
        for c in range(columns):
            gradient[c] += factor * slope[c, u]
    error *= 1.0 + net.gamma
    valid &= abs(constant) < _OVERFLOW
    most = constant
    for c in range(columns):
        valid &= abs(gradient[c]) < _OVERFLOW
        most += max(gradient[c] * side[0, c], gradient[c] * side[1, c])
    if net.through and not most + error < 0.0:
        most = constant + _highest(net, gradient)
    return valid and most + error < 0.0


@borrowing
def _begin(net, slope, level, side):
    """Write the rows of the domain and of the first layer, which are exact, and the box."""
    m, n = net.sides.size, net.lower.size
    for i in range(m):
        level[0, i], level[2, i] = net.sides[i], abs(net.sides[i])
        for c in range(n):
            slope[c, i] = -net.normals[i, c]
            level[2, i] += abs(net.normals[i, c]) * max(abs(net.lower[c]), abs(net.upper[c]))
    if not net.through:
        for c in range(n):
            side[0, c], side[1, c] = net.lower[c], net.upper[c]
            side[2, c] = max(abs(net.lower[c]), abs(net.upper[c]))
    end = net.unit_start[1] if net.unit_start.size > 1 else m
    for i in range(m, end):
        low, high, size = net.biases[i], net.biases[i], abs(net.biases[i])
        for c in range(n):
            w = net.weights[c * (end - m) + i - m]
            size += abs(w) * max(abs(net.lower[c]), abs(net.upper[c]))
            low += min(w * net.lower[c], w * net.upper[c])
            high += max(w * net.lower[c], w * net.upper[c])
            if not net.through:
                slope[c, i] = w
        level[0, i], level[2, i] = net.biases[i], size
        if net.through:
            slope[i, i], level[0, i] = 1.0, 0.0
            size = size * (1.0 + net.gamma) + net.trifle
            side[0, i] = low - net.gamma * size - net.trifle
            side[1, i] = high + net.gamma * size + net.trifle
            side[2, i], level[2, i] = size, size


@inlined
def _enter(axes, net, layer, path, slope, level, side, part):
    """Write the rows of a layer on the cell that the path names."""
    before, first = net.unit_start[layer - 1], net.unit_start[layer]
    width, to = np.uint64(net.unit_start[layer + 1] - first), np.uint64(first)
    gamma, columns = net.gamma, len(axes)
    for j in range(before, first):
        segment = 0
        for k in range(net.unit_decision[j], net.unit_decision[j + 1]):
            segment += path[k]
        a, b = net.slopes[j, segment], net.intercepts[j, segment]
        part[0, j], part[1, j], part[2, j] = a, a * level[0, j] + b, 0.0
        if a != 0.0 or b != 0.0:
            size = abs(a) * level[2, j] + abs(b)
            part[2, j] = abs(a) * level[1, j] + gamma * size + net.trifle
    for i in range(width):
        bias = net.biases[to + i]
        level[0, to + i], level[1, to + i] = bias, gamma * abs(bias) + net.trifle
    for c in range(columns):
        for i in range(width):
            slope[c, to + i] = 0.0
    at = np.uint64(net.weight_start[layer])
    for j in range(before, first):
        if part[2, j] != 0.0:
            _pass_on(axes, net.weights, at, width, j, to, slope, level, part)
        at += width
    for i in range(width):
        level[1, to + i] *= 1.0 + gamma
        level[2, to + i] = abs(level[0, to + i])
    for c in range(columns):
        most = side[2, c]
        for i in range(width):
            level[2, to + i] += abs(slope[c, to + i]) * most


@inlined
def _bound(net, first, last, level, bound):
    """Bound the rounding of some rows."""
    gamma = net.gamma
    for i in range(first, last):
        u, t = net.unit[i], net.threshold[i]
        error = level[1, u] + gamma * (level[2, u] + abs(t)) + net.trifle
        bound[i] = error * (1.0 + gamma)


@inlined
def _pass_on(axes, weights, at, width, j, to, slope, level, part):
    """Add what a unit passes on to the rows of the units that it feeds."""
    shift, error = part[1, j], part[2, j]
    for i in range(width):
        level[0, to + i] += weights[at + i] * shift
        level[1, to + i] += abs(weights[at + i]) * error
    for c in range(len(axes)):
        factor = part[0, j] * slope[c, j]
        for i in range(width):
            slope[c, to + i] += weights[at + i] * factor


@borrowing
def _highest(net, gradient):
    """Maximise a function of the first layer's pre-activations over the inputs."""
    n, width, most = net.lower.size, np.uint64(gradient.size), 0.0
    for i in range(width):
        most += gradient[i] * net.biases[i]
    at = np.uint64(0)
    for c in range(n):
        pull = 0.0
        for i in range(width):
            pull += gradient[i] * net.weights[at + i]
        at += width
        if not abs(pull) < _OVERFLOW:
            return np.inf
        most += max(pull * net.lower[c], pull * net.upper[c])
    return most


@inlined
def _contains(axes, net, path, point, place, room):
    """Tell whether all rows of a path are positive at a point of the domain."""
    m, n = net.sides.size, net.lower.size
    slope, level, height, units = room.slope, room.level, room.height, np.uint64(room.height.size)
    inside = True
    for c in range(n):
        inside &= net.lower[c] <= point[c] <= net.upper[c]
    for u in range(units):
        value = level[0, u]
        for c in range(len(axes)):
            value += slope[c, u] * place[c]
        height[u] = value
    for i in range(m):
        inside &= height[i] > room.bound[i]
    for k in range(path.size):
        value = height[net.unit[m + k]] - net.threshold[m + k]
        inside &= (value if path[k] else -value) > room.bound[m + k]
    return inside
