"""The deepest point of a node: an own dual simplex method for what Newton's method leaves open.

A node is the set of inputs where all of its rows are positive. In the columns ``delta_j`` of the
box and the depth ``t`` it is the program that an outside solver would be given::

    maximise t    where    base_i + R_i . z >= t    z = centre + W delta    |delta_j| <= 1/2

Its dual has a multiplier per row, ``lambda >= 0`` with sum 1, and minimises the piecewise-linear
``f = lambda . (base + R centre) + sum_j |s_j| / 2`` over ``s = W^T u``, ``u = R^T lambda``. Each
step goes along an edge beyond all kinks on which ``f`` still falls (the long step of the bounded
dual simplex method). The basis has a column for each kink that it stands on, never more than Z has
dimensions, and one row more than columns. ``line`` holds what all rows have in the basic columns:
a step changes one of them, and loops over rows are loops over memory.

Whatever rounding does to the steps, both answers are checked at their end: a point by its margins,
an upper bound by ``f`` of its multipliers, beyond the bound on rounding.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import borrowing, summing
from byways.regions._elimination import eliminate
from byways.regions._wide_long_step import FLAT, kinks, long_step
from byways.regions._wide_oracle import image, multiply, slack
from byways.regions._wide_tree import (
    BY_WITNESS,
    COLUMNS,
    DEAD,
    LEVEL,
    OWN_PROGRAMS,
    PIVOTS,
    UNRESOLVED,
    WARM,
)

__all__ = ["deepest"]

_MOST_STEPS = 300
_SHARP = 1e-11  # violations below this are rounding
_SINGULAR = 1e-13
_ENOUGH = 0.25  # part of the upper bound at which a depth is good enough
_ROW, _COLUMN, _OPTIMAL = range(3)


# sizes: kernel, the loop of the method
@borrowing
def deepest(space, tree, slot, first, tolerance):
    """Decide whether the node in a slot is alive; ``UNRESOLVED`` where rounding may tell.

    A point inside is written to ``seen[slot]``.
    """
    W, p, delta, s, z, du = space.W, tree.program, tree.delta, tree.s, tree.z, tree.du
    active, basic, share = p.active, p.basic, p.share
    tree.cursor[OWN_PROGRAMS] += 1
    m = _lay_out(space, tree, slot, first)
    if m == 0:
        return UNRESOLVED
    a = 1  # active rows; basic are the depth, in place 0, and as many columns as make it square
    active[0], share[0] = m - 1, 1.0
    for i in range(m):
        p.line[0, i] = -1.0
    multiply(W, p.R[m - 1], s)
    for j in range(s.size):
        delta[j] = 0.5 if s[j] >= 0.0 else -0.5
    for _ in range(_MOST_STEPS):
        tree.cursor[PIVOTS] += 1
        t = _corner(W, space.centre, p, a, m, delta, z)
        if np.isnan(t):
            return UNRESOLVED
        kind, place, worst = _worst(p, a, m, delta)
        depth = t + _lowest(p, a, m, delta)
        if depth > tolerance and (kind == _OPTIMAL or depth >= _ENOUGH * t):
            _move_inside(W, p, a, delta, z, tree.trial)
            if _depth(p, tree.trial, m) > tolerance:
                _remember(tree, slot)
                return BY_WITNESS
        if kind == _OPTIMAL or t < -2.0 * tolerance:
            if _bound(space, p, a, du) < -tolerance:
                return DEAD
            if kind == _OPTIMAL:
                return UNRESOLVED
        _direction(p, a, kind, place, delta, du)
        multiply(W, du, p.step)
        leaving, most = -1, np.inf
        for i in range(a):
            if p.move[i] < -FLAT and share[i] < -most * p.move[i]:
                leaving, most = i, share[i] / -p.move[i]
        fall, middle = kinks(s, delta, p, a)
        entering, way = long_step(p, middle, fall, most, -worst)
        if way == np.inf:
            return UNRESOLVED
        for j in range(s.size):
            delta[j] = -delta[j] if p.ratio[j] < way else delta[j]
        for i in range(a):
            share[i] = max(share[i] + way * p.move[i], 0.0)
        for j in range(s.size):
            s[j] += way * p.step[j]
        if kind == _COLUMN:
            delta[basic[place]] = 0.5 if delta[basic[place]] > 0.0 else -0.5
            s[basic[place]] = 2.0 * way * delta[basic[place]]
        a = _exchange(W, p, a, m, kind, place, leaving, entering, way)
    return UNRESOLVED


@borrowing
def _exchange(W, p, a, m, kind, place, leaving, entering, way):
    """Write the next basis; return its rows."""
    active, share = p.active, p.share
    if kind == _ROW and entering >= 0:
        active[a], share[a] = place, way
        _enter(W, p, a, m, entering)
        return a + 1
    if kind == _ROW:
        active[leaving], share[leaving] = place, way
    elif entering >= 0:
        _enter(W, p, place, m, entering)
    else:
        active[leaving], share[leaving] = active[a - 1], share[a - 1]
        p.basic[place] = p.basic[a - 1]
        for i in range(m):
            p.line[place, i] = p.line[a - 1, i]
        return a - 1
    return a


@summing
def _enter(W, p, place, m, column):
    """Make a column basic, and write the rows' coefficients in it."""
    p.basic[place] = column
    for e in range(W.shape[0]):
        p.right[e] = W[e, column]
    for i in range(m):
        total = 0.0
        for e in range(W.shape[0]):
            total += p.R[i, e] * p.right[e]
        p.line[place, i] = total


@borrowing
def _lay_out(space, tree, slot, first):
    """Write the node's rows, of unit gradient over inputs, as functions of ``z``."""
    R, base, m, d = tree.program.R, tree.program.base, 0, tree.cursor[COLUMNS]
    R[:] = 0.0
    for i in range(space.rank):
        if tree.negative[i]:
            R[m, i], base[m] = -1.0 / space.length[i], 0.0
            m += 1
    for c in range(d if space.apex else 0):
        i = tree.column[c]
        R[m, i], base[m] = np.sign(tree.scale[c]) / space.length[i], 0.0
        m += 1
    for j in range(first, tree.frame[slot, LEVEL]):
        if tree.settled[j] >= 0:
            continue
        line, sign = tree.origin[space.rank + j], 1.0 if tree.bits[j] else -1.0
        base[m] = sign * line[0]
        for c in range(d):
            factor = sign * line[c + 1] / tree.scale[c]
            R[m, tree.column[c]] = factor
            base[m] -= factor * tree.base[c]
        m += 1
    return m


# sizes: kernel, one system and its use
@borrowing
def _corner(W, centre, p, a, m, delta, z):
    """Solve for the basic columns and the depth, at which all active rows are equal.

    Writes ``delta`` there, ``z`` as it would be without the basic columns, how far the rows are
    above the depth, and the inverse of the system. Returns the depth, NaN if that is singular.
    """
    inverse, value, unknown = p.inverse, p.value, p.right
    for b in range(1, a):
        delta[p.basic[b]] = 0.0
    image(W, centre, delta, z)
    _values(p, z, m)
    for i in range(a):
        for b in range(a):
            inverse[i, b] = p.line[b, p.active[i]]
            inverse[i, a + b] = 1.0 if b == i else 0.0
    if not eliminate(inverse, a, 2 * a, _SINGULAR):
        return np.nan
    for b in range(a):
        total = 0.0
        for i in range(a):
            inverse[b, i] = inverse[b, a + i]
            total -= inverse[b, i] * value[p.active[i]]
        unknown[b] = total
    for b in range(a):
        for i in range(m):
            value[i] += unknown[b] * p.line[b, i]
    for b in range(1, a):
        delta[p.basic[b]] = unknown[b]
    for i in range(a):
        value[p.active[i]] = 0.0
    return unknown[0]


@summing
def _values(p, z, m):
    """Write the values of the rows at a point."""
    for i in range(m):
        total = p.base[i]
        for e in range(z.size):
            total += p.R[i, e] * z[e]
        p.value[i] = total


# sizes: kernel, one search
@borrowing
def _worst(p, a, m, delta):
    """Find what is violated most: a row below the depth, or a basic column beyond its side.

    Violations count in units of the length of the edge that mends them (dual steepest edge).
    """
    kind, place, worst, most = _OPTIMAL, -1, 0.0, 0.0
    for b in range(1, a):
        beyond = abs(delta[p.basic[b]]) - 0.5
        if beyond > _SHARP:
            size = 0.0
            for i in range(a):
                size += p.inverse[b, i] ** 2
            if beyond * beyond > most * size:
                kind, place, worst, most = _COLUMN, b, beyond, beyond * beyond / size
    for i in range(m):
        p.size[i] = 1.0
    for c in range(a):
        for i in range(m):
            p.trial[i] = 0.0
        for b in range(a):
            for i in range(m):
                p.trial[i] += p.inverse[b, c] * p.line[b, i]
        for i in range(m):
            p.size[i] += p.trial[i] * p.trial[i]
    for i in range(m):
        beyond = -p.value[i]
        if beyond > _SHARP and beyond * beyond > most * p.size[i]:
            kind, place, worst, most = _ROW, i, beyond, beyond * beyond / p.size[i]
    return kind, place, worst


@borrowing
def _lowest(p, a, m, delta):
    """Give the value of the lowest row, less the depth, at the corner moved into the box."""
    for i in range(m):
        p.trial[i] = p.value[i]
    for b in range(1, a):
        beyond = delta[p.basic[b]] - min(max(delta[p.basic[b]], -0.5), 0.5)
        if beyond != 0.0:
            for i in range(m):
                p.trial[i] -= beyond * p.line[b, i]
    return _least(p.trial, m)


@borrowing
def _move_inside(W, p, a, delta, z, point):
    """Write the corner, moved into the box."""
    for e in range(z.size):
        point[e] = z[e]
    for b in range(1, a):
        inside = min(max(delta[p.basic[b]], -0.5), 0.5)
        for e in range(z.size):
            point[e] += W[e, p.basic[b]] * inside


@borrowing
def _depth(p, point, m):
    """Give the value of the lowest row at a point."""
    _values(p, point, m)
    return _least(p.value, m)


@borrowing
def _least(values, m):
    """Give the least of the first so many numbers."""
    least = np.inf
    for i in range(m):
        least = min(least, values[i])
    return least


@borrowing
def _remember(tree, slot):
    """Make the point found the one that was seen in the node."""
    for c in range(tree.cursor[COLUMNS]):
        gap = tree.trial[tree.column[c]] - tree.base[c]
        tree.seen[slot, c] = gap / tree.scale[c]
    tree.frame[slot, WARM] = 0


@borrowing
def _bound(space, p, a, u):
    """Bound the depth of all points from above by the multipliers, rounding included."""
    total, value = 0.0, 0.0
    for e in range(u.size):
        u[e] = 0.0
    for i in range(a):
        total += p.share[i]
        value += p.share[i] * p.base[p.active[i]]
        for e in range(u.size):
            u[e] += p.share[i] * p.R[p.active[i], e]
    multiply(space.W, u, p.step)
    for j in range(p.step.size):
        value += 0.5 * abs(p.step[j])
    for e in range(u.size):
        value += u[e] * space.centre[e]
    return (value + 2.0 * slack(u, space.absolute, p.step.size + 64)) / total


@borrowing
def _direction(p, a, kind, place, delta, du):
    """Write how the multipliers move, and ``u`` with them, when a violated side gives way."""
    for e in range(du.size):
        du[e] = p.R[place, e] if kind == _ROW else 0.0
    sign = 1.0 if kind == _ROW or delta[p.basic[place]] > 0.0 else -1.0
    for i in range(a):
        total = 0.0
        if kind == _ROW:
            for b in range(a):
                total -= p.inverse[b, i] * p.line[b, place]
        else:
            total = sign * p.inverse[place, i]
        p.move[i] = total
        for e in range(du.size):
            du[e] += total * p.R[p.active[i], e]
