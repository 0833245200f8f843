"""Simplex dictionaries with implicit bounds: the moves of method "simplex".

A dictionary ``t`` writes each *basic* variable, one per row, as an affine function of ``d``
*nonbasic* ones: column 0 is its value where all nonbasic variables are 0, which is a vertex of the
cell. Labels below ``d`` are coordinates: bounded ones live in [0, 1] without a row of their own,
free ones anywhere. Labels from ``d`` on are slacks, >= 0. A nonbasic coordinate may be *flipped*:
then its column stands for ``1 - s`` (bounded, sitting at its upper bound) or ``-s`` (free).

The row after the last basic one, number ``n``, is the *candidate*: a function whose sign on the
cell is asked for. Moves change it along with the rest.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import compiled

__all__ = ["copy_dictionary", "descend", "express", "pivot", "prune", "ratio_test", "rebuild"]

# Coefficients below this are rounding of unit-gradient rows: they neither improve nor block.
SMALL = 1e-11
_FEW_ROWS = 3  # times the dimension; measured for 4 to 8 coordinates


@compiled
def express(rows, k, t, basic, nonbasic, flipped, slot, n, free):
    """Write a row over the coordinates as the candidate, a function of the nonbasic variables."""
    d = nonbasic.shape[1]
    for c in range(d + 1):
        t[slot, n, c] = 0.0
    t[slot, n, 0] = rows[k, 0]
    for c in range(d):
        label = nonbasic[slot, c]
        if label >= d:
            continue
        a = rows[k, label + 1]
        t[slot, n, c + 1] += -a if flipped[slot, c] else a
        if flipped[slot, c] and not free[label]:
            t[slot, n, 0] += a
    for i in range(n):
        label = basic[slot, i]
        if label < d and rows[k, label + 1] != 0.0:
            a = rows[k, label + 1]
            for c in range(d + 1):
                t[slot, n, c] += a * t[slot, i, c]


@compiled
def ratio_test(t, basic, nonbasic, slot, n, column, free):
    """Find how far the variable of a column (from 1) can rise, and the row that stops it.

    Row -1 means its own upper bound, or nothing if the step is infinite. Among rows that stop it
    together the one with the largest pivot is taken.
    """
    d = nonbasic.shape[1]
    label = nonbasic[slot, column - 1]
    step = 1.0 if label < d and not free[label] else np.inf
    row, best = -1, 0.0
    for i in range(n):
        a = t[slot, i, column]
        if -SMALL <= a <= SMALL:
            continue
        label = basic[slot, i]
        if label < d:
            if free[label]:
                continue
            room = t[slot, i, 0] if a < 0 else 1.0 - t[slot, i, 0]
        elif a < 0:
            room = t[slot, i, 0]
        else:
            continue
        size = abs(a)
        reach = max(room, 0.0) / size
        if reach < step - 1e-14 or (reach <= step + 1e-14 and size > best and row >= 0):
            step, row, best = min(reach, step), i, size
    return step, row


@compiled
def pivot(t, basic, nonbasic, flipped, slot, n, row, column, free):
    """Exchange the basic variable of a row with the nonbasic one of a column (from 1).

    ``n + 1`` rows are updated, the candidate included. A bounded coordinate that leaves at its
    upper bound leaves flipped.
    """
    d = nonbasic.shape[1]
    leaving, entering = basic[slot, row], nonbasic[slot, column - 1]
    was_flipped = flipped[slot, column - 1]
    flipped[slot, column - 1] = False
    if leaving < d and not free[leaving] and t[slot, row, column] > 0:
        for c in range(d + 1):
            t[slot, row, c] = -t[slot, row, c]
        t[slot, row, 0] += 1.0
        flipped[slot, column - 1] = True
    inverse = 1.0 / t[slot, row, column]
    t[slot, row, column] = -1.0
    for c in range(d + 1):
        t[slot, row, c] *= -inverse
    for i in range(n + 1):
        a = t[slot, i, column]
        if i == row or a == 0.0:
            continue
        t[slot, i, column] = 0.0
        for c in range(d + 1):
            t[slot, i, c] += a * t[slot, row, c]
    if was_flipped:
        for c in range(d + 1):
            t[slot, row, c] = -t[slot, row, c]
        if not free[entering]:
            t[slot, row, 0] += 1.0
    basic[slot, row], nonbasic[slot, column - 1] = entering, leaving


@compiled
def flip(t, nonbasic, flipped, slot, n, column, free):
    """Send a nonbasic coordinate to its other bound, or turn a free one round."""
    bounded = not free[nonbasic[slot, column - 1]]
    for i in range(n + 1):
        if bounded:
            t[slot, i, 0] += t[slot, i, column]
        t[slot, i, column] = -t[slot, i, column]
    flipped[slot, column - 1] = not flipped[slot, column - 1]


@compiled
def _entering(t, nonbasic, slot, n, free, smallest_label):
    """Choose a column along which the candidate falls: the steepest, or Bland's, or 0."""
    d = nonbasic.shape[1]
    column, best = 0, SMALL
    for c in range(1, d + 1):
        fall = -t[slot, n, c]
        label = nonbasic[slot, c - 1]
        if fall < 0 and label < d and free[label]:
            fall = -fall
        if fall <= SMALL:
            continue
        if smallest_label:
            if column == 0 or label < nonbasic[slot, column - 1]:
                column = c
        elif fall > best:
            column, best = c, fall
    return column


@compiled
def descend(t, basic, nonbasic, flipped, slot, n, free, tolerance):
    """Lower the candidate by the simplex method until an edge leads below ``-tolerance``.

    Returns ``(column, pivots)``: the column of that edge; 0 if the candidate is nowhere lower on
    the cell, its coefficients then being the Farkas multipliers; -1 if the method did not end.
    """
    patience = 20 + 4 * (t.shape[2] + n)
    pivots = 0
    while True:
        column = _entering(t, nonbasic, slot, n, free, pivots > patience)
        if column == 0:
            return 0, pivots
        if t[slot, n, column] > 0:
            flip(t, nonbasic, flipped, slot, n, column, free)
        step, row = ratio_test(t, basic, nonbasic, slot, n, column, free)
        if t[slot, n, 0] + t[slot, n, column] * step < -tolerance:
            return column, pivots
        if row < 0:
            flip(t, nonbasic, flipped, slot, n, column, free)
        else:
            pivot(t, basic, nonbasic, flipped, slot, n, row, column, free)
        pivots += 1
        if pivots > 50 * patience:
            return -1, pivots


@compiled
def copy_dictionary(t, basic, nonbasic, flipped, source, target, n):
    """Copy ``n + 1`` rows and all labels from one slot to another."""
    d = nonbasic.shape[1]
    for i in range(n + 1):
        for c in range(d + 1):
            t[target, i, c] = t[source, i, c]
        basic[target, i] = basic[source, i]
    for c in range(d):
        nonbasic[target, c] = nonbasic[source, c]
        flipped[target, c] = flipped[source, c]


@compiled
def _can_bind(t, nonbasic, slot, row, free):
    """Tell whether a slack can reach 0 anywhere in the dictionary's cone."""
    d = nonbasic.shape[1]
    for c in range(1, d + 1):
        label = nonbasic[slot, c - 1]
        if t[slot, row, c] < -SMALL or (t[slot, row, c] > SMALL and label < d and free[label]):
            return True
    return False


@compiled
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
        for c in range(d + 1):
            t[slot, m, c] = t[slot, i, c]
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
    m = unknowns
    for i in range(kept):
        k = slacks[i] - d
        express(rows, k, t, basic, nonbasic, flipped, slot, m, free)
        if not bits[k]:
            for c in range(d + 1):
                t[slot, m, c] = -t[slot, m, c]
        if _can_bind(t, nonbasic, slot, m, free):
            t[slot, m, 0] = max(t[slot, m, 0], 0.0)
            basic[slot, m] = slacks[i]
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
    _eliminate(system, unknowns)
    for j in range(unknowns):
        for c in range(d + 1):
            t[slot, j, c] = system[j, unknowns + c]


@compiled
def _eliminate(system, unknowns):
    """Solve ``[A | B]`` in place by Gauss-Jordan elimination with row exchanges."""
    columns = system.shape[1]
    for j in range(unknowns):
        best = j
        for q in range(j + 1, unknowns):
            if abs(system[q, j]) > abs(system[best, j]):
                best = q
        inverse = 1.0 / system[best, j]
        for c in range(columns):
            value = system[best, c] * inverse
            system[best, c] = system[j, c]
            system[j, c] = value
        for q in range(unknowns):
            a = system[q, j] if q != j else 0.0
            for c in range(j, columns):
                system[q, c] -= a * system[j, c]
