"""Multipliers that show a side of a decision empty, by a dual simplex method, in floating point.

The row of the decision is minimised over the cell: where its least value is positive, the other
side is empty, and the reduced costs are the multipliers. The start is the corner of the box
``[0, 1]^d`` where the row is least; the rows of the path come in one at a time, when the point
violates them, and each step raises the bound. Most decisions are over after a step or two, as soon
as the bound is positive.

The dictionary ``t`` writes the minimised row (row 0), the coordinates (rows 1 to ``d``) and the row
that comes in (row ``d + 1``) as affine functions of ``d`` nonbasic variables, column 0 being the
constant: coordinates at an end of their range, and slacks of rows at 0. It is flat, ``d + 1``
numbers a row. Labels below ``d`` are coordinates, label ``d + i`` is the slack of row ``i``. A
*flipped* coordinate is at its upper end, and its column stands for ``1 - s``.

There is more overhead than arithmetic in few dimensions. So ``axes``, a sequence as long as there
are coordinates, may have a length that is known when the kernel is compiled, see ``unrolled``.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import FEW, comparing, inlined

__all__ = ["OPTIMUM", "POSITIVE", "VOID", "ascend", "begin"]

# How an ascent ends: the bound is positive; it is not, and no row is violated; the cell is empty.
POSITIVE, OPTIMUM, VOID = range(3)

_ENOUGH = 1e-9  # bound at which to stop, in units of the box; rounding is far below
_VIOLATED = 1e-11
_SMALL = 1e-11  # coefficients of unit-gradient rows that are rounding
_TIE = 1e-14
_TRIFLE = np.float64(1e-300)  # no ratio is 0 / 0, and one by 0 is infinite in plain Python too


@inlined
def begin(axes, goal, t, nonbasic, flipped):
    """Start at the corner of the box where a row is least."""
    d, width = len(axes), len(axes) + 1
    least = goal[0]
    for c in range(d):
        a = goal[c + 1]
        least += min(a, 0.0)
        t[c + 1] = abs(a)
        nonbasic[c], flipped[c] = c, a < 0.0
        for k in range(width):
            t[width * (c + 1) + k] = 0.0
        t[width * (c + 1)] = 1.0 if a < 0.0 else 0.0
        t[width * (c + 1) + c + 1] = -1.0 if a < 0.0 else 1.0
    t[0] = least


@inlined
def ascend(axes, t, nonbasic, flipped, rows, first, count, values):
    """Raise the bound on row 0 until it is positive or no row is violated; say how it ended.

    Columns ``first`` to ``count`` of ``rows`` are rows that hold on the cell: the long axis is the
    inner one. The row that shows an empty cell is the last of the dictionary.
    """
    d, width, last = len(axes), len(axes) + 1, np.uint64(len(axes) + 1) * np.uint64(len(axes) + 1)
    for _ in range(100 + 20 * d):
        if t[0] > _ENOUGH:
            return POSITIVE
        worst, label = -_VIOLATED, -1
        for c in range(d):
            value = t[width * (c + 1)]
            outside = min(value, 1.0 - value)
            label = c if outside < worst else label
            worst = min(outside, worst)
        if d <= FEW:
            taken = _below(axes, rows, first, count, t, worst)
        else:
            taken = _below_many(rows, first, count, t, values, worst)
        upper = False
        if taken >= 0:
            label = d + taken
            _express(axes, rows, np.uint64(taken), t)
        elif label >= 0:
            row = np.uint64(width * (label + 1))
            upper = t[row] > 1.0
            sign = -1.0 if upper else 1.0
            for c in range(np.uint64(width)):
                t[last + c] = sign * t[row + c]
            t[last] += 1.0 if upper else 0.0
        else:
            return OPTIMUM
        column = _entering(axes, t, nonbasic, flipped)
        if column == 0:
            nonbasic[d] = label
            return VOID
        _exchange(axes, t, np.uint64(column))
        nonbasic[column - 1], flipped[column - 1] = label, upper
    return OPTIMUM


@inlined
def _below(axes, rows, first, count, t, worst):
    """Find the row of the least value at a vertex, if that is below a number; else -1."""
    width, least, found = len(axes) + 1, worst, np.int64(-1)
    for i in range(np.uint64(first), np.uint64(count)):
        value = rows[0, i]
        for c in range(1, width):
            value += rows[c, i] * t[width * c]
        found = np.int64(i) if value < least else found
        least = value if value < least else least
    return found


@comparing
def _below_many(rows, first, count, t, values, worst):
    """Do the same with a pass over the rows per coordinate."""
    begin, end = np.uint64(first), np.uint64(count)
    for i in range(begin, end):
        values[i] = rows[0, i]
    for c in range(1, rows.shape[0]):
        x = t[rows.shape[0] * c]
        if x != 0.0:
            for i in range(begin, end):
                values[i] += rows[c, i] * x
    least = worst
    for i in range(begin, end):
        least = min(least, values[i])
    if least >= worst:
        return -1
    while values[begin] > least:
        begin += np.uint64(1)
    return np.int64(begin)


@inlined
def _express(axes, rows, i, t):
    """Write a row over the coordinates as a function of the nonbasic variables, as the last."""
    width = np.uint64(len(axes) + 1)
    last = width * width
    for c in range(width):
        t[last + c] = 0.0
    t[last] = rows[0, i]
    for k in range(np.uint64(1), width):
        a = rows[k, i]
        for c in range(width):
            t[last + c] += a * t[width * k + c]


@inlined
def _entering(axes, t, nonbasic, flipped):
    """Choose the column (from 1) that brings the last row to 0 at the least rise of row 0.

    A coordinate that would reach its other end before is sent there. 0 if there is no column.
    """
    d, width = len(axes), len(axes) + 1
    last = width * width
    while True:
        best = np.inf
        for c in range(1, width):
            a = t[last + c] if t[last + c] > _SMALL else 0.0
            best = min(best, (max(t[c], 0.0) + _TRIFLE) / a)
        column, size = 0, 0.0
        for c in range(1, width):
            a = t[last + c] if t[last + c] > _SMALL else 0.0
            fit = a if t[c] <= (best + _TIE) * a else 0.0
            column = c if fit > size else column
            size = max(fit, size)
        if column == 0 or nonbasic[column - 1] >= d or t[last] + size >= 0.0:
            return column
        flipped[column - 1] = not flipped[column - 1]
        for c in range(1, width):
            if c == column:  # a column that is known when this is compiled: no store has to wait
                _turn(axes, t, c)


@inlined
def _turn(axes, t, c):
    """Send the coordinate of a column to its other end."""
    width = len(axes) + 1
    for i in range(width + 1):
        t[width * i] += t[width * i + c]
        t[width * i + c] = 0.0 - t[width * i + c]


@inlined
def _exchange(axes, t, column):
    """Make the variable of the last row nonbasic, in the place of that of a column."""
    width = np.uint64(len(axes) + 1)
    last = width * width
    inverse = -1.0 / t[last + column]
    for c in range(width):
        t[last + c] *= inverse
    for i in range(width):
        a = t[width * i + column]
        for c in range(width):
            t[width * i + c] += a * t[last + c]
        t[width * i + column] = -a * inverse
