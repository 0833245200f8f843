"""Simplex dictionaries with implicit bounds: the moves of method "simplex".

A dictionary ``t`` writes each *basic* variable, one per row, as an affine function of ``d``
*nonbasic* ones: column 0 is its value where all nonbasic variables are 0, which is a vertex of the
cell. Labels below ``d`` are coordinates: bounded ones live in [0, 1] without a row of their own,
free ones anywhere. Labels from ``d`` on are slacks, >= 0. A nonbasic coordinate may be *flipped*:
then its column stands for ``1 - s`` (bounded, sitting at its upper bound) or ``-s`` (free).

The row after the last basic one, number ``n``, is the *candidate*: a function whose sign on the
cell is asked for. Moves change it along with the rest.

Columns lie one after the other: ``t[slot, c, i]`` is the coefficient of row i in column c. Rows are
many and columns few, so loops over rows take several numbers at a time; they run to a multiple of
four, and what lies behind the candidate is not read. One more column, number ``d + 1``, holds each
row's *ceiling*: the upper bound of its variable, or -1 if it has no bounds at all. The last slot is
no dictionary but room for a column.

``reach[side, k]`` is the most that constraint k's slack can be anywhere in the box, if the cell
lies on that side. So a candidate is nowhere below its value at the vertex plus what it can lose
along each column, and most candidates that miss the cell are known to before they are lowest.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import borrowing, comparing, compiled
from byways.regions._elimination import eliminate

__all__ = ["copy_dictionary", "descend", "express", "pivot", "prune", "ratio_test", "rebuild"]

# Coefficients below this are rounding of unit-gradient rows: they neither improve nor block.
SMALL = 1e-11
ROWS_AT_ONCE = 4
_FEW_ROWS = 3  # times the dimension; measured for 4 to 8 coordinates


@borrowing
def express(rows, k, t, basic, nonbasic, flipped, slot, n, free):
    """Write a row over the coordinates as the candidate, a function of the nonbasic variables."""
    d = nonbasic.shape[1]
    for c in range(d + 1):
        t[slot, c, n] = 0.0
    t[slot, 0, n] = rows[k, 0]
    for c in range(d):
        label = nonbasic[slot, c]
        if label >= d:
            continue
        a = rows[k, label + 1]
        t[slot, c + 1, n] += -a if flipped[slot, c] else a
        if flipped[slot, c] and not free[label]:
            t[slot, 0, n] += a
    for i in range(n):
        label = basic[slot, i]
        if label < d and rows[k, label + 1] != 0.0:
            a = rows[k, label + 1]
            for c in range(d + 1):
                t[slot, c, n] += a * t[slot, c, i]


@borrowing
def _whole(n):
    """Round the number of rows, the candidate included, up to what loops take at a time."""
    return np.uint64((n + ROWS_AT_ONCE) // ROWS_AT_ONCE * ROWS_AT_ONCE)


@comparing
def ratio_test(t, basic, nonbasic, slot, n, column, free):
    """Find how far the variable of a column (from 1) can rise, and the row that stops it.

    Row -1 means its own upper bound, or nothing if the step is infinite. Among rows that stop it
    together the one with the largest pivot is taken.
    """
    d = nonbasic.shape[1]
    label, top = nonbasic[slot, column - 1], d + 1
    step = 1.0 if label < d and not free[label] else np.inf
    nearest = np.inf
    for i in range(np.uint64(n)):
        a, value, ceiling = t[slot, column, i], t[slot, 0, i], t[slot, top, i]
        room = max(value if a < 0.0 else ceiling - value, 0.0)
        idle = (abs(a) <= SMALL) | (ceiling < 0.0)
        nearest = min(nearest, np.inf if idle else room / abs(a))
    if nearest >= step - 1e-14:
        return step, -1
    row, best = np.int64(-1), SMALL
    limit = nearest * (1 + 4e-16) + 1e-14  # rounding must not miss the row
    for i in range(np.uint64(n)):
        a, value, ceiling = t[slot, column, i], t[slot, 0, i], t[slot, top, i]
        room = max(value if a < 0.0 else ceiling - value, 0.0)
        if room <= limit * abs(a) and abs(a) > best and ceiling > 0.0:
            row, best = np.int64(i), abs(a)
    return nearest, row


@borrowing
def pivot(t, basic, nonbasic, flipped, slot, n, row, column, free):
    """Exchange the basic variable of a row with the nonbasic one of a column (from 1).

    ``n + 1`` rows are updated, the candidate included. A bounded coordinate that leaves at its
    upper bound leaves flipped.
    """
    d = nonbasic.shape[1]
    leaving, entering = basic[slot, row], nonbasic[slot, column - 1]
    was_flipped = flipped[slot, column - 1]
    flipped[slot, column - 1] = False
    if leaving < d and not free[leaving] and t[slot, column, row] > 0:
        for c in range(d + 1):
            t[slot, c, row] = -t[slot, c, row]
        t[slot, 0, row] += 1.0
        flipped[slot, column - 1] = True
    inverse, rows = 1.0 / t[slot, column, row], _whole(n)
    # Columns of one slot are too close together for the compiler to see that they do not overlap.
    aside = t.shape[0] - 1
    for i in range(rows):
        t[aside, 0, i] = t[slot, column, i]
    for c in range(d + 1):
        factor = -inverse * t[slot, c, row]
        if c == column:
            continue
        for i in range(rows):
            t[slot, c, i] += factor * t[aside, 0, i]
        t[slot, c, row] = factor
    for i in range(rows):
        t[slot, column, i] *= inverse
    t[slot, column, row] = inverse
    if was_flipped:
        for c in range(d + 1):
            t[slot, c, row] = -t[slot, c, row]
        if not free[entering]:
            t[slot, 0, row] += 1.0
    basic[slot, row], nonbasic[slot, column - 1] = entering, leaving
    t[slot, d + 1, row] = ceiling_of(entering, d, free)


@borrowing
def ceiling_of(label, d, free):
    """Give the upper bound of a basic variable, -1 for one without any bounds."""
    if label >= d:
        return np.inf
    return -1.0 if free[label] else 1.0


@borrowing
def flip(t, nonbasic, flipped, slot, n, column, free):
    """Send a nonbasic coordinate to its other bound, or turn a free one round."""
    bounded = not free[nonbasic[slot, column - 1]]
    for i in range(np.uint64(n + 1)):
        if bounded:
            t[slot, 0, i] += t[slot, column, i]
        t[slot, column, i] = -t[slot, column, i]
    flipped[slot, column - 1] = not flipped[slot, column - 1]


@borrowing
def _steepest(t, nonbasic, slot, n, free, bounded):
    """Choose the column along which the candidate falls most steeply, or 0."""
    d = nonbasic.shape[1]
    column, least = np.uint64(0), -SMALL
    for c in range(np.uint64(1), np.uint64(d + 1)):
        slope = t[slot, c, n]
        if not bounded:
            label = nonbasic[slot, c - np.uint64(1)]
            slope = -abs(slope) if label < d and free[label] else slope
        # Selected without a branch: which column wins is hard to foresee.
        column, least = np.uint64(c) if slope < least else column, min(slope, least)
    return np.int64(column)


@borrowing
def _smallest_label(t, nonbasic, slot, n, free):
    """Choose the column of the smallest label along which the candidate falls, or 0: Bland's."""
    d, column = nonbasic.shape[1], 0
    for c in range(1, d + 1):
        slope, label = t[slot, c, n], nonbasic[slot, c - 1]
        if label < d and free[label]:
            slope = -abs(slope)
        if slope < -SMALL and (column == 0 or label < nonbasic[slot, column - 1]):
            column = c
    return column


@borrowing
def _reached(nonbasic, slot, c, d, reach, bits):
    """Give the most that a bounded nonbasic variable can be, without a branch."""
    label = nonbasic[slot, np.uint64(c - 1)]
    k = np.uint64(max(label - d, 0))
    return reach[np.uint64(bits[k]), k] if label >= d else 1.0


@borrowing
def _loss(t, nonbasic, slot, n, reach, bits):
    """Bound what the candidate can lose from the vertex on."""
    d, total = nonbasic.shape[1], 0.0
    for c in range(np.uint64(1), np.uint64(d + 1)):
        total -= min(t[slot, c, n], 0.0) * _reached(nonbasic, slot, c, d, reach, bits)
    return total


@borrowing
def _loss_beyond(t, nonbasic, slot, n, row, column, reach, bits):
    """Bound what the candidate can lose from the vertex on that a pivot would lead to."""
    d, total = nonbasic.shape[1], 0.0
    factor = t[slot, column, n] / t[slot, column, row]
    for c in range(np.uint64(1), np.uint64(d + 1)):
        slope = t[slot, c, n] - factor * t[slot, c, row]
        lost = min(slope, 0.0) * _reached(nonbasic, slot, c, d, reach, bits)
        total -= lost if c != np.uint64(column) else 0.0
    return total


@borrowing
def descend(t, basic, nonbasic, flipped, slot, n, free, reach, bits, tolerance):
    """Lower the candidate by the simplex method until an edge leads below ``-tolerance``.

    Returns ``(column, pivots)``: the column of that edge; 0 if the candidate is nowhere lower on
    the cell, or nowhere as low as ``tolerance``; -1 if the method did not end.
    """
    patience, pivots, bounded = 20 + 4 * (t.shape[1] - 1 + n), 0, True
    for k in range(free.size):
        bounded &= not free[k]
    here = t[slot, 0, n]
    if bounded and here - _loss(t, nonbasic, slot, n, reach, bits) > tolerance:
        return 0, pivots
    while True:
        if pivots > patience:
            column = _smallest_label(t, nonbasic, slot, n, free)
        else:
            column = _steepest(t, nonbasic, slot, n, free, bounded)
        if column == 0:
            return 0, pivots
        if t[slot, column, n] > 0:
            flip(t, nonbasic, flipped, slot, n, column, free)
        step, row = ratio_test(t, basic, nonbasic, slot, n, column, free)
        there = t[slot, 0, n] + t[slot, column, n] * step
        if there < -tolerance:
            return column, pivots
        if row < 0:
            flip(t, nonbasic, flipped, slot, n, column, free)
        else:
            if (
                bounded
                and there > tolerance
                and there - _loss_beyond(t, nonbasic, slot, n, row, column, reach, bits) > tolerance
            ):
                return 0, pivots
            pivot(t, basic, nonbasic, flipped, slot, n, row, column, free)
        pivots += 1
        if pivots > 50 * patience:
            return -1, pivots


@borrowing
def copy_dictionary(t, basic, nonbasic, flipped, source, target, n):
    """Copy ``n + 1`` rows and all labels from one slot to another."""
    d = nonbasic.shape[1]
    rows = _whole(n)
    for c in range(d + 2):
        for i in range(rows):
            t[target, c, i] = t[source, c, i]
    for i in range(np.uint64(n + 1)):
        basic[target, i] = basic[source, i]
    for c in range(d):
        nonbasic[target, c] = nonbasic[source, c]
        flipped[target, c] = flipped[source, c]


@borrowing
def _can_bind(t, nonbasic, slot, row, free):
    """Tell whether a slack can reach 0 anywhere in the dictionary's cone."""
    d = nonbasic.shape[1]
    for c in range(1, d + 1):
        label = nonbasic[slot, c - 1]
        if t[slot, c, row] < -SMALL or (t[slot, c, row] > SMALL and label < d and free[label]):
            return True
    return False


@borrowing
def prune(t, basic, nonbasic, slot, n, free):
    """Drop the slacks that cannot reach 0 in the dictionary's cone; return the rows left.

    The cells below lie in that cone, so such a constraint is redundant for all of them. As long as
    there are few rows, looking for one costs more than carrying it along.
    """
    d, m = nonbasic.shape[1], 0
    if n <= _FEW_ROWS * d:
        return n
    for i in range(n):
        if basic[slot, i] >= d and not _can_bind(t, nonbasic, slot, i, free):
            continue
        basic[slot, m] = basic[slot, i]
        for c in range(d + 2):
            t[slot, c, m] = t[slot, c, i]
        m += 1
    return m


@compiled
def rebuild(t, basic, nonbasic, flipped, slot, n, free, rows, bits):
    """Compute a dictionary afresh from its labels, and drop rows that can never bind.

    Rounding gathered in many moves is lost. ``rows[k]``, negated where ``bits[k]`` is 0, is the
    slack with label ``d + k``. Returns the number of rows left.
    """
    d = nonbasic.shape[1]
    slacks, coordinates = np.empty(n, np.int64), np.empty(n, np.int64)
    kept, unknowns = 0, 0
    for i in range(n):
        if basic[slot, i] < d:
            coordinates[unknowns] = basic[slot, i]
            unknowns += 1
        else:
            slacks[kept] = basic[slot, i]
            kept += 1
    _solve_for(coordinates, unknowns, t, nonbasic, flipped, slot, free, rows, bits)
    for i in range(unknowns):
        basic[slot, i] = coordinates[i]
        t[slot, d + 1, i] = ceiling_of(coordinates[i], d, free)
    m = unknowns
    for i in range(kept):
        k = slacks[i] - d
        express(rows, k, t, basic, nonbasic, flipped, slot, m, free)
        if not bits[k]:
            for c in range(d + 1):
                t[slot, c, m] = -t[slot, c, m]
        if _can_bind(t, nonbasic, slot, m, free):
            t[slot, 0, m] = max(t[slot, 0, m], 0.0)
            basic[slot, m] = slacks[i]
            t[slot, d + 1, m] = np.inf
            m += 1
    return m


@compiled
def _solve_for(coordinates, unknowns, t, nonbasic, flipped, slot, free, rows, bits):
    """Write basic coordinates as functions of the nonbasic variables, into the first rows.

    Each nonbasic slack is one linear equation for them.
    """
    d = nonbasic.shape[1]
    system = np.zeros((unknowns, unknowns + d + 1))
    q = 0
    for c in range(d):
        if nonbasic[slot, c] < d:
            continue
        k = nonbasic[slot, c] - d
        sign = 1.0 if bits[k] else -1.0
        for j in range(unknowns):
            system[q, j] = sign * rows[k, coordinates[j] + 1]
        system[q, unknowns + c + 1] = 1.0
        system[q, unknowns] = -sign * rows[k, 0]
        for e in range(d):
            label = nonbasic[slot, e]
            if label >= d:
                continue
            a = sign * rows[k, label + 1]
            system[q, unknowns + e + 1] += a if flipped[slot, e] else -a
            if flipped[slot, e] and not free[label]:
                system[q, unknowns] -= a
        q += 1
    eliminate(system, unknowns, unknowns + d + 1, 0.0)
    for j in range(unknowns):
        for c in range(d + 1):
            t[slot, c, j] = system[j, unknowns + c]
