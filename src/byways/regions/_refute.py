"""Multipliers that show a side of a decision empty, by a dual simplex method, in floating point.

The row of the decision is minimised over the cell: where its least value is positive, the other
side is empty, and the reduced costs are the multipliers. The start is the corner of the box
``[0, 1]^d`` where the row is least; the rows of the path come in one at a time, when the point
violates them, and each step raises the bound. Most decisions are over after a step or two, as soon
as the bound is positive.

The dictionary ``t`` writes the minimised row (row 0) and the coordinates that are basic as affine
functions of ``d`` nonbasic variables, column 0 being the constant: coordinates at an end of their
range, and slacks of rows at 0. Labels below ``d`` are coordinates, label ``d + i`` is the slack of
row ``i``. A *flipped* coordinate is at its upper end, and its column stands for ``1 - s``.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import borrowing, comparing, inlined

__all__ = ["OPTIMUM", "POSITIVE", "VOID", "ascend", "begin"]

# How an ascent ends: the bound is positive; it is not, and no row is violated; the cell is empty.
POSITIVE, OPTIMUM, VOID = range(3)

_ENOUGH = 1e-9  # bound at which to stop, in units of the box; rounding is far below
_VIOLATED = 1e-11
_SMALL = 1e-11  # coefficients of unit-gradient rows that are rounding
_TIE = 1e-14


@inlined
def begin(goal, t, nonbasic, flipped):
    """Start at the corner of the box where a row is least."""
    t[0, 0] = goal[0]
    for c in range(nonbasic.size):
        a = goal[c + 1]
        nonbasic[c], flipped[c] = c, a < 0.0
        t[0, 0] += min(a, 0.0)
        t[0, c + 1] = abs(a)


@inlined
def ascend(t, basic, nonbasic, flipped, marked, point, rows, first, count, values, m):
    """Raise the bound on row 0 until it is positive or no row is violated.

    Columns ``first`` to ``count`` of ``rows`` are rows that hold on the cell: the long axis is the
    inner one. Returns how it ended and how many dictionary rows are in use; the one that shows an
    empty cell is the last.
    """
    d = nonbasic.size
    for _ in range(100 + 20 * d):
        if t[0, 0] > _ENOUGH:
            return POSITIVE, m
        for c in range(d):
            if nonbasic[c] < d:
                point[nonbasic[c]] = 1.0 if flipped[c] else 0.0
        worst, row, upper = -_VIOLATED, -1, False
        for i in range(1, m):
            value = t[i, 0]
            point[basic[i]] = value
            if min(value, 1.0 - value) < worst:
                worst, row, upper = min(value, 1.0 - value), i, value > 1.0
        taken = _below(rows, first, count, point, values, worst)
        row = m if taken >= 0 else row
        if row < 0:
            return OPTIMUM, m
        if taken >= 0:
            _express(rows, taken, t, basic, nonbasic, flipped, m)
            basic[m], upper = d + taken, False
        elif upper:
            for c in range(d + 1):
                t[row, c] = -t[row, c]
            t[row, 0] += 1.0
        column = _entering(t, nonbasic, marked, row)
        if column == 0:
            if row != m:
                _swap(t, basic, row, m)
            return VOID, m + 1
        _flip(t, flipped, marked, max(m, row + 1))
        m = _exchange(t, basic, nonbasic, flipped, row, column, upper, m)
    return OPTIMUM, m


@comparing
def _below(rows, first, count, point, values, worst):
    """Find the row of the least value at a point, if that is below a number; else -1."""
    begin, end = np.uint64(first), np.uint64(count)
    for i in range(begin, end):
        values[i] = rows[0, i]
    for c in range(point.size):
        x = point[c]
        if x != 0.0:
            for i in range(begin, end):
                values[i] += rows[c + 1, i] * x
    least = worst
    for i in range(begin, end):
        least = min(least, values[i])
    if least >= worst:
        return -1
    while values[begin] > least:
        begin += np.uint64(1)
    return np.int64(begin)


@inlined
def _express(rows, i, t, basic, nonbasic, flipped, m):
    """Write a row over the coordinates as a function of the nonbasic variables, behind the last."""
    d = nonbasic.size
    constant, here = rows[0, i], np.uint64(m)
    for c in range(d):
        a, label = 0.0, nonbasic[c]
        if label < d:
            a = rows[label + 1, i]
            if flipped[c]:
                constant += a
                a = -a
        t[here, np.uint64(c + 1)] = a
    t[here, 0] = constant
    for q in range(np.uint64(1), here):
        a = rows[basic[q] + 1, i]
        for c in range(np.uint64(d + 1)):
            t[here, c] += a * t[q, c]


@inlined
def _entering(t, nonbasic, marked, row):
    """Choose the column (from 1) that brings a row to 0 at the least rise of row 0, or 0 for none.

    A coordinate that would reach its other end before is marked, to be sent there.
    """
    d, value = nonbasic.size, t[row, 0]
    for c in range(d):
        marked[c] = False
    while True:
        column, best, size = 0, np.inf, 0.0
        for c in range(1, d + 1):
            a = t[row, c]
            if a <= _SMALL or marked[c - 1]:
                continue
            ratio = max(t[0, c], 0.0) / a
            if ratio < best - _TIE or (ratio <= best + _TIE and a > size):
                column, best, size = c, min(ratio, best), a
        if column == 0 or nonbasic[column - 1] >= d or value + t[row, column] >= 0.0:
            return column
        marked[column - 1] = True
        value += t[row, column]


@inlined
def _flip(t, flipped, marked, m):
    """Send the marked coordinates to their other ends."""
    for c in range(flipped.size):
        if marked[c]:
            flipped[c] = not flipped[c]
            for i in range(m):
                t[i, 0] += t[i, c + 1]
                t[i, c + 1] = -t[i, c + 1]


@borrowing
def _swap(t, basic, row, other):
    basic[other] = basic[row]
    for c in range(t.shape[1]):
        t[other, c] = t[row, c]


@inlined
def _exchange(t, basic, nonbasic, flipped, row, column, upper, m):
    """Make the variable of a row nonbasic and that of a column basic; slacks get no row."""
    d, columns, own = nonbasic.size, np.uint64(nonbasic.size + 1), np.uint64(row)
    entering, turned = nonbasic[column - 1], flipped[column - 1]
    nonbasic[column - 1], flipped[column - 1] = basic[row], upper
    inverse = 1.0 / t[row, column]
    t[row, column] = -1.0
    for c in range(columns):
        t[own, c] *= -inverse
    for i in range(np.uint64(m)):
        a = t[i, np.uint64(column)]
        if i == own:
            continue
        t[i, np.uint64(column)] = 0.0
        for c in range(columns):
            t[i, c] += a * t[own, c]
    if entering < d:
        if turned:
            for c in range(columns):
                t[own, c] = -t[own, c]
            t[own, 0] += 1.0
        basic[row] = entering
        return max(m, row + 1)
    if row == m:
        return m
    _swap(t, basic, m - 1, row)
    return m - 1
