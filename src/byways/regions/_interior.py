"""A point strictly inside the cell of a dictionary."""

from __future__ import annotations

import numpy as np

from byways.core.compiled import borrowing, compiled
from byways.regions._dictionary import descend, ratio_test

__all__ = ["interior_point"]


@compiled
def interior_point(t, basic, nonbasic, flipped, slot, n, free, reach, bits, tolerance, points, at):
    """Write the mean of the vertex and its neighbours into ``points[at]``; the dictionary is spent.

    At a simple vertex the neighbours span the space and their mean is interior. At a degenerate
    one some edges have no length; then for every constraint that is still tight a vertex away from
    it is sought, and all those points are averaged.
    """
    d = nonbasic.shape[1]
    shares = np.zeros(d + 1)
    for c in range(1, d + 1):
        if nonbasic[slot, c - 1] < d and free[nonbasic[slot, c - 1]]:
            continue
        step, _ = ratio_test(t, basic, nonbasic, slot, n, c, free)
        shares[c] = min(step, 1.0) / (d + 1)
    tight = np.empty(2 * (n + d), dtype=np.int64)
    count = _tight_constraints(t, basic, nonbasic, flipped, slot, n, free, shares, tolerance, tight)
    point = np.empty(d)
    _evaluate(t, basic, nonbasic, flipped, slot, n, free, shares, point)
    for c in range(d):
        points[at, c] = point[c]
    for i in range(count):
        _away_from(
            t, basic, nonbasic, flipped, slot, n, free, reach, bits, tight[i], tolerance, shares,
            point,
        )  # fmt: skip
        for c in range(d):
            points[at, c] += point[c]
    for c in range(d):
        points[at, c] /= count + 1


@borrowing
def _tight_constraints(t, basic, nonbasic, flipped, slot, n, free, shares, tolerance, tight):
    """List the constraints whose slack is at most the tolerance, as ``2 label + side``.

    Side 1 is the upper bound of a coordinate; anything else has side 0.
    """
    d, count = nonbasic.shape[1], 0
    for c in range(1, d + 1):
        label = nonbasic[slot, c - 1]
        if label < d and free[label]:
            continue
        if shares[c] <= tolerance:
            tight[count] = 2 * label + flipped[slot, c - 1]
            count += 1
        elif label < d and shares[c] >= 1.0 - tolerance:
            tight[count] = 2 * label + 1 - flipped[slot, c - 1]
            count += 1
    for i in range(n):
        label = basic[slot, i]
        if label < d and free[label]:
            continue
        value = t[slot, 0, i]
        for c in range(1, d + 1):
            value += t[slot, c, i] * shares[c]
        if value <= tolerance:
            tight[count] = 2 * label
            count += 1
        elif label < d and value >= 1.0 - tolerance:
            tight[count] = 2 * label + 1
            count += 1
    return count


@borrowing
def _away_from(
    t, basic, nonbasic, flipped, slot, n, free, reach, bits, constraint, tolerance, shares, point
):
    """Write a point of the cell into ``point`` where one constraint is not tight."""
    d = nonbasic.shape[1]
    label, upper = constraint // 2, constraint % 2 == 1
    sign = 1.0 if upper else -1.0
    for c in range(d + 1):
        t[slot, c, n] = 0.0
    for i in range(n):
        if basic[slot, i] == label:
            for c in range(d + 1):
                t[slot, c, n] = sign * t[slot, c, i]
    for c in range(d):
        if nonbasic[slot, c] == label:
            t[slot, c + 1, n] = -sign if flipped[slot, c] else sign
    t[slot, 0, n] = 0.0  # the vertex may have moved away already, which does no harm
    column, _ = descend(t, basic, nonbasic, flipped, slot, n, free, reach, bits, tolerance)
    for c in range(d + 1):
        shares[c] = 0.0
    if column > 0:
        step, _ = ratio_test(t, basic, nonbasic, slot, n, column, free)
        shares[column] = min(step, 1.0)
    _evaluate(t, basic, nonbasic, flipped, slot, n, free, shares, point)


@borrowing
def _evaluate(t, basic, nonbasic, flipped, slot, n, free, shares, point):
    """Turn values of the nonbasic variables into coordinates."""
    d = nonbasic.shape[1]
    for c in range(d):
        label = nonbasic[slot, c]
        if label < d:
            value = shares[c + 1]
            if flipped[slot, c]:
                value = -value if free[label] else 1.0 - value
            point[label] = value
    for i in range(n):
        if basic[slot, i] < d:
            value = t[slot, 0, i]
            for c in range(1, d + 1):
                value += t[slot, c, i] * shares[c]
            point[basic[slot, i]] = value
