"""Dictionaries of the engine for wide inputs: few columns, kept optimal for a gauge.

A dictionary ``t[slot]`` writes variables as affine functions of ``d`` nonbasic ones that are all
>= 0; column 0 is their value at the vertex. Row 0 is the gauge ``sum y'``, whose coefficients are
never negative, so that the vertex is the place of the cell's smallest gauge. Labels name variables:
coordinates ``y'``, then decisions, then cuts. Rows of decisions still open are raw, those of
decided ones are signed: >= 0 on the cell. Label -1 marks a row that is not kept.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import borrowing
from byways.regions._elimination import eliminate

__all__ = ["DOUBT", "EMPTY", "FEASIBLE", "copy", "dual", "express", "prune", "refresh"]

EMPTY, FEASIBLE, DOUBT = range(3)
_SHARP = 1e-10  # a value below minus this is infeasible
_PIVOT = 1e-9  # least pivot
_ZERO = 1e-12  # coefficients below this are rounding
_MOST_PIVOTS = 400


@borrowing
def pivot(t, basic, nonbasic, slot, n, row, column, width):
    """Exchange the basic variable of a row with the nonbasic one of a column (from 1)."""
    line = t[slot, row]
    inverse = -1.0 / line[column]
    line[column] = -1.0
    for c in range(width):
        line[c] *= inverse
    for i in range(n):
        if i == row or basic[slot, i] == -1:
            continue
        other = t[slot, i]
        a = other[column]
        if a == 0.0:
            continue
        other[column] = 0.0
        for b in range(0, width, 8):
            x0, x1 = other[b] + a * line[b], other[b + 1] + a * line[b + 1]
            x2, x3 = other[b + 2] + a * line[b + 2], other[b + 3] + a * line[b + 3]
            x4, x5 = other[b + 4] + a * line[b + 4], other[b + 5] + a * line[b + 5]
            x6, x7 = other[b + 6] + a * line[b + 6], other[b + 7] + a * line[b + 7]
            other[b], other[b + 1], other[b + 2], other[b + 3] = x0, x1, x2, x3
            other[b + 4], other[b + 5], other[b + 6], other[b + 7] = x4, x5, x6, x7
    basic[slot, row], nonbasic[slot, column - 1] = nonbasic[slot, column - 1], basic[slot, row]


# sizes: kernel, the innermost loop of the engine
@borrowing
def dual(t, basic, nonbasic, slot, n, d, width, opened, opened_end, ceiling, tolerance):
    """Restore feasibility by the dual simplex method; labels from ``opened`` on bind nothing.

    Returns ``(outcome, pivots)``. The gauge only rises, so that a cell is empty as soon as it
    exceeds ``ceiling``.
    """
    pivots = 0
    while pivots < _MOST_PIVOTS:
        row, worst = 0 * n, -_SHARP  # a literal zero would be compiled for by itself
        for i in range(1, n):
            value = t[slot, i, 0]
            if value < worst:
                label = basic[slot, i]
                if label >= 0 and not opened <= label < opened_end:
                    row, worst = i, value
        if row == 0:
            return FEASIBLE, pivots
        column, best, small = 0 * n, np.inf, False
        for c in range(1, d + 1):
            a = t[slot, row, c]
            if a > _PIVOT:
                ratio = t[slot, 0, c] / a
                if ratio < best:
                    column, best = c, ratio
            elif a > _ZERO:
                small = True
        if column == 0:
            return (DOUBT if small or worst > -tolerance else EMPTY), pivots
        pivot(t, basic, nonbasic, slot, n, row, column, width)
        pivots += 1
        if t[slot, 0, 0] > ceiling:
            return EMPTY, pivots
    return DOUBT, pivots


@borrowing
def copy(t, basic, nonbasic, source, target, n, d, width):
    """Copy a dictionary from one slot to another."""
    for i in range(n):
        basic[target, i] = basic[source, i]
        if basic[source, i] != -1:
            for c in range(width):
                t[target, i, c] = t[source, i, c]
    for c in range(d):
        nonbasic[target, c] = nonbasic[source, c]


# sizes: kernel, one loop over rows
@borrowing
def prune(t, basic, slot, n, d, front, coordinates, opened, opened_end):
    """Leave out what cannot reach zero in the dictionary's cone, and so nowhere below.

    Coordinates stay, and so do rows up to ``front``, of which only the label goes. Returns the
    number of rows.
    """
    m = front
    for i in range(1, n):
        label = basic[slot, i]
        binds = 0 <= label < coordinates or opened <= label < opened_end
        if label >= 0 and not binds:
            binds = t[slot, i, 0] < -_SHARP  # where ``dual`` was left in doubt
            for c in range(1, d + 1):
                if t[slot, i, c] < -_ZERO:
                    binds = True
                    break
        if i < front:
            if not binds:
                basic[slot, i] = -1
        elif binds:
            if m < i:
                basic[slot, m] = label
                for c in range(d + 1):
                    t[slot, m, c] = t[slot, i, c]
            m += 1
    return m


# sizes: kernel, one loop over rows
@borrowing
def express(origin, label, sign, t, basic, nonbasic, slot, n, d, coordinates, row):
    """Write a function of the coordinates as a row over the nonbasic variables."""
    line = t[slot, row]
    line[:] = 0.0
    line[0] = sign * origin[label, 0]
    for c in range(d):
        if nonbasic[slot, c] < coordinates:
            line[c + 1] += sign * origin[label, nonbasic[slot, c] + 1]
    for i in range(1, n):
        j = basic[slot, i]
        if 0 <= j < coordinates and i != row:
            a = sign * origin[label, j + 1]
            if a != 0.0:
                for c in range(d + 1):
                    line[c] += a * t[slot, i, c]


# sizes: kernel, one system and its use
@borrowing
def refresh(
    origin, bits, t, basic, nonbasic, slot, n, d, coordinates, opened, opened_end, system, place
):
    """Compute a dictionary afresh from its labels, so that rounding does not gather."""
    b, q = 0, 0
    rows = place[d:]
    for i in range(1, n):
        if 0 <= basic[slot, i] < coordinates:
            place[b], rows[b] = basic[slot, i], i
            b += 1
    width = b + d + 1
    for c in range(d):
        label = nonbasic[slot, c]
        if label < coordinates:
            continue
        sign = 1.0
        if label < opened_end and bits[label - coordinates] == 0:
            sign = -1.0
        for j in range(width):
            system[q, j] = 0.0
        for j in range(b):
            system[q, j] = sign * origin[label, place[j] + 1]
        system[q, b] = -sign * origin[label, 0]
        for e in range(d):
            other = nonbasic[slot, e]
            if other < coordinates:
                system[q, b + 1 + e] = -sign * origin[label, other + 1]
        system[q, b + 1 + c] = 1.0
        q += 1
    if not eliminate(system, b, width, _ZERO):
        return False
    for j in range(b):
        for c in range(d + 1):
            t[slot, rows[j], c] = system[j, b + c]
    t[slot, 0, :] = 0.0
    for c in range(d):
        if nonbasic[slot, c] < coordinates:
            t[slot, 0, c + 1] = 1.0
    for j in range(b):
        for c in range(d + 1):
            t[slot, 0, c] += system[j, b + c]
    for i in range(1, n):
        label = basic[slot, i]
        if label >= coordinates:
            sign = 1.0
            if label < opened and bits[label - coordinates] == 0:
                sign = -1.0
            express(origin, label, sign, t, basic, nonbasic, slot, n, d, coordinates, i)
    return True
