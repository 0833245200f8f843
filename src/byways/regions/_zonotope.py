"""Many inputs seen through few units: what the first layer's pre-activations can be.

The image of the box under the first layer is a zonotope, given by a centre and one generator per
input. Its hull is the box that multipliers start from; where that is too large, the zonotope itself
bounds a combination of rows, or it is cut off from a point by a half-space that serves all sides
to come.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byways.core.affine import Affine
from byways.core.compiled import compiled
from byways.regions._problem import Problem
from byways.regions._wide_oracle import Curvature, climb, evaluate, newton, slack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Zonotope", "cut_off", "highest", "through_first_layer"]

_MANY_INPUTS = 2  # times as many as units in the first layer
_STEPS = 40
_DAMPING = 1e-8
_INSIDE = 1e-9  # in units of the hull


class Zonotope(NamedTuple):
    """``centre + W delta`` with ``|delta_j| <= 1/2``; empty if a problem is not seen through it.

    Rows are padded to a multiple of four, inputs to a multiple of eight. ``z = base + scale s``
    for a point ``s`` of the hull, whose sides are [0, 1]. The other arrays are room for the oracle.
    """

    W: Array
    centre: Array
    absolute: Array  # row sums of |W| / 2 and |centre|
    base: Array
    scale: Array
    u: Array
    du: Array
    target: Array
    z: Array
    s: Array
    delta: Array
    ds: Array
    curvature: Curvature
    nowhere: NDArray[np.bool_]

    @classmethod
    def of(cls, weight: Array, centre: Array) -> Zonotope:
        """Make room and measure the hull."""
        (m, n), half = weight.shape, np.abs(weight).sum(axis=1) / 2
        w, padded = -(-m // 4) * 4, -(-n // 8) * 8
        W, middle, absolute = np.zeros((w, padded)), np.zeros(w), np.zeros(w)
        W[:m, :n], middle[:m], absolute[:m] = weight, centre, half + np.abs(centre)
        return cls(
            W=W,
            centre=middle,
            absolute=absolute,
            base=centre - half,
            scale=2 * half,
            u=np.zeros(w),
            du=np.zeros(w),
            target=np.zeros(w),
            z=np.zeros(w),
            s=np.zeros(padded),
            delta=np.zeros(padded),
            ds=np.zeros(padded),
            curvature=Curvature.of(W),
            nowhere=np.zeros(w, dtype=np.bool_),
        )


def through_first_layer(problem: Problem) -> tuple[Problem, Zonotope]:
    """Restate a problem with many inputs on the hull of its first layer's pre-activations.

    Returns:
        A problem with the same decisions, of which every region of the given one is a region, and
        the zonotope; the problem itself where it has no such shape.
    """
    stages = problem.stages
    if not stages or len(problem.domain_rows) or problem.free.any():
        return problem, Zonotope.of(np.zeros((0, 0)), np.zeros(0))
    m = len(stages[0].bias)
    if _MANY_INPUTS * m >= problem.dim:
        return problem, Zonotope.of(np.zeros((0, 0)), np.zeros(0))
    rows = stages[0].weight @ problem.inputs()
    weight, centre = rows[:, 1:], rows[:, 0] + stages[0].bias + rows[:, 1:].sum(axis=1) / 2
    zonotope = Zonotope.of(weight, centre)
    first = replace(stages[0], weight=np.eye(m), bias=np.zeros(m))
    embed = Affine(np.diag(zonotope.scale), zonotope.base)
    hull = Problem((first, *stages[1:]), np.zeros(m, dtype=np.bool_), np.zeros((0, m + 1)), embed)
    return hull, zonotope


@compiled
def highest(zone, t, nonbasic, flipped):
    """Bound the rows of a dictionary's path from above: minus its first row, plus the slacks.

    What is left are the coordinates at their ends, whose sum is maximised over the zonotope.
    """
    d, u = flipped.size, zone.u
    u[:] = 0.0
    most = -t[0]
    for c in range(d):
        label = nonbasic[c]
        if label < d and t[c + 1] > 0.0 and zone.scale[label] > 0.0:
            pull = t[c + 1] if flipped[c] else -t[c + 1]
            if flipped[c]:
                most -= t[c + 1]
            u[label] = pull / zone.scale[label]
            most += u[label] * (zone.centre[label] - zone.base[label])
    _, _, support = evaluate(zone.W, zone.centre, u, zone.centre, zone.s, zone.delta, zone.z)
    return most + support


# sizes: kernel, one search
@compiled
def cut_off(zone, point, rows, column):
    """Write a row that is not negative on the zonotope and negative at a point of the hull.

    False if none was found: then the point is in the zonotope, or close to it.
    """
    d, u, target, z = point.size, zone.u, zone.target, zone.z
    W, centre, s, delta, free = zone.W, zone.centre, zone.s, zone.delta, zone.nowhere
    terms = s.size + 64
    for i in range(d):
        target[i] = zone.base[i] + zone.scale[i] * point[i]
    u[:] = 0.0
    _, lift, support = evaluate(W, centre, u, target, s, delta, z)
    damping = _DAMPING
    for _ in range(_STEPS):
        if lift > support * (1.0 + 1e-9) + 2.0 * slack(u, zone.absolute, terms):
            _, _, support = evaluate(W, centre, u, target, s, delta, z)  # steps carry s along
            norm = 0.0
            rows[0, column] = support + slack(u, zone.absolute, terms)
            for i in range(d):
                rows[0, column] += u[i] * (centre[i] - zone.base[i])
                rows[i + 1, column] = -u[i] * zone.scale[i]
                norm += rows[i + 1, column] ** 2
            for i in range(d + 1):
                rows[i, column] /= np.sqrt(norm)
            return True
        rest = 0.0
        for i in range(d):
            rest = max(rest, abs(target[i] - z[i]) - _INSIDE * zone.scale[i])
        if rest <= 0.0:
            return False
        newton(W, target, free, u, s, z, zone.curvature, zone.du, damping)
        found, up, reach = climb(W, centre, target, free, u, zone.du, s, zone.ds, delta, z)
        if found > -np.inf:
            lift, support = up, reach
            damping = max(damping * 0.1, _DAMPING)
        elif damping >= 1.0:
            return False
        else:
            damping = max(damping * 1e3, 1e-4)
    return False
