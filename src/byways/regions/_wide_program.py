"""The deepest point of a node: an own dual simplex method for what Newton's method leaves open.

A node is the set of inputs where all of its rows are positive. In the columns ``delta_j`` of the
box and the depth ``t`` it is the program that an outside solver would be given::

    maximise t    where    base_i + R_i . z >= t    z = centre + W delta    |delta_j| <= 1/2

Its dual has a multiplier per row, ``lambda >= 0`` with sum 1, and minimises the piecewise-linear
``f = lambda . (base + R centre) + sum_j |s_j| / 2`` over ``s = W^T u``, ``u = R^T lambda``. Each
step goes along an edge beyond all kinks on which ``f`` still falls (the long step of the bounded
dual simplex method). The basis has a column for each kink that it stands on, never more than Z has
dimensions, and one row more than columns.

Whatever rounding does to the steps, both answers are checked at their end: a point by its margins,
an upper bound by ``f`` of its multipliers, beyond the bound on rounding.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import borrowing
from byways.regions._elimination import eliminate
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
_ZERO = 1e-11  # slopes below this are rounding
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
    R, base, active, basic, share = p.R, p.base, p.active, p.basic, p.share
    tree.cursor[OWN_PROGRAMS] += 1
    m = _lay_out(space, tree, slot, first)
    if m == 0:
        return UNRESOLVED
    a = 1  # active rows, one more than basic columns
    active[0], share[0] = m - 1, 1.0
    multiply(W, R[m - 1], s)
    for j in range(s.size):
        delta[j] = 0.5 if s[j] >= 0.0 else -0.5
    for _ in range(_MOST_STEPS):
        tree.cursor[PIVOTS] += 1
        t = _corner(W, space.centre, R, base, active, basic, a, delta, z, p.inverse, p.right)
        if np.isnan(t):
            return UNRESOLVED
        kind, place, worst = _worst(
            W, R, base, active, basic, a, m, delta, z, t, p.inverse, p.right
        )
        depth = _depth(W, R, base, basic, a, m, delta, z, tree.trial)
        if depth > tolerance and (kind == _OPTIMAL or depth >= _ENOUGH * t):
            for c in range(tree.cursor[COLUMNS]):
                gap = tree.trial[tree.column[c]] - tree.base[c]
                tree.seen[slot, c] = gap / tree.scale[c]
            tree.frame[slot, WARM] = 0
            return BY_WITNESS
        if kind == _OPTIMAL or t < -2.0 * tolerance:
            if _bound(space, R, base, active, share, a, p.step, du) < -tolerance:
                return DEAD
            if kind == _OPTIMAL:
                return UNRESOLVED
        _direction(W, R, active, basic, a, kind, place, delta, p.inverse, p.right, p.move, du)
        multiply(W, du, p.step)
        leaving, most = -1, np.inf
        for i in range(a):
            if p.move[i] < -_ZERO and share[i] < -most * p.move[i]:
                leaving, most = i, share[i] / -p.move[i]
        count = _kinks(s, p.step, delta, basic, a, most, p.ratio, p.order)
        entering = _long_step(p.ratio, p.order, p.step, count, -worst)
        if entering < 0 and leaving < 0:
            return UNRESOLVED
        way = p.ratio[entering] if entering >= 0 else most
        passed = entering if entering >= 0 else count
        for i in range(passed):
            delta[p.order[i]] = -delta[p.order[i]]
        for i in range(a):
            share[i] = max(share[i] + way * p.move[i], 0.0)
        for j in range(s.size):
            s[j] += way * p.step[j]
        if kind == _COLUMN:
            delta[basic[place]] = 0.5 if delta[basic[place]] > 0.0 else -0.5
            s[basic[place]] = 2.0 * way * delta[basic[place]]
        a = _exchange(active, basic, share, a, kind, place, leaving, entering, p.order, way)
    return UNRESOLVED


@borrowing
def _exchange(active, basic, share, a, kind, place, leaving, entering, order, way):
    """Write the next basis; return its rows."""
    if kind == _ROW and entering >= 0:
        active[a], share[a], basic[a - 1] = place, way, order[entering]
        return a + 1
    if kind == _ROW:
        active[leaving], share[leaving] = place, way
    elif entering >= 0:
        basic[place] = order[entering]
    else:
        active[leaving], share[leaving] = active[a - 1], share[a - 1]
        basic[place] = basic[a - 2]
        return a - 1
    return a


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
def _corner(W, centre, R, base, active, basic, a, delta, z, inverse, right):
    """Solve for the basic columns and the depth, at which all active rows are equal.

    Writes ``delta`` and ``z`` there and the inverse of the system, whose last column belongs to
    the depth; returns the depth, NaN if the system is singular.
    """
    w = W.shape[0]
    for b in range(a - 1):
        delta[basic[b]] = 0.0
    image(W, centre, delta, z)
    for i in range(a):
        right[i] = -base[active[i]]
        for e in range(w):
            right[i] -= R[active[i], e] * z[e]
        for b in range(a - 1):
            total = 0.0
            for e in range(w):
                total += R[active[i], e] * W[e, basic[b]]
            inverse[i, b] = total
        inverse[i, a - 1] = -1.0
        for b in range(a):
            inverse[i, a + b] = 1.0 if b == i else 0.0
    if not eliminate(inverse, a, 2 * a, _SINGULAR):
        return np.nan
    t = 0.0
    for b in range(a):
        total = 0.0
        for i in range(a):
            inverse[b, i] = inverse[b, a + i]
            total += inverse[b, i] * right[i]
        if b == a - 1:
            t = total
            continue
        delta[basic[b]] = total
        for e in range(w):
            z[e] += W[e, basic[b]] * total
    return t


# sizes: kernel, one search
@borrowing
def _worst(W, R, base, active, basic, a, m, delta, z, t, inverse, right):
    """Find what is violated most: a row below the depth, or a basic column beyond its side.

    Violations count in units of the length of the edge that mends them (dual steepest edge).
    """
    kind, place, worst, most = _OPTIMAL, -1, 0.0, 0.0
    for b in range(a - 1):
        beyond = abs(delta[basic[b]]) - 0.5
        if beyond > _SHARP:
            size = 0.0
            for i in range(a):
                size += inverse[b, i] ** 2
            if beyond * beyond > most * size:
                kind, place, worst, most = _COLUMN, b, beyond, beyond * beyond / size
    for i in range(m):
        beyond = t - base[i]
        for e in range(z.size):
            beyond -= R[i, e] * z[e]
        known = beyond <= _SHARP
        for b in range(a):
            known |= active[b] == i
        if known:
            continue
        size = 1.0
        _against(W, R, basic, a, i, right)
        for b in range(a):
            move = 0.0
            for c in range(a):
                move += inverse[c, b] * right[c]
            size += move * move
        if beyond * beyond > most * size:
            kind, place, worst, most = _ROW, i, beyond, beyond * beyond / size
    return kind, place, worst


@borrowing
def _against(W, R, basic, a, row, right):
    """Write a row's coefficients in the basic columns and in the depth."""
    for b in range(a - 1):
        right[b] = 0.0
        for e in range(W.shape[0]):
            right[b] += R[row, e] * W[e, basic[b]]
    right[a - 1] = -1.0


@borrowing
def _depth(W, R, base, basic, a, m, delta, z, point):
    """Write the corner, moved into the box, into ``point``; return its depth."""
    for e in range(z.size):
        point[e] = z[e]
    for b in range(a - 1):
        beyond = delta[basic[b]] - min(max(delta[basic[b]], -0.5), 0.5)
        if beyond != 0.0:
            for e in range(z.size):
                point[e] -= W[e, basic[b]] * beyond
    depth = np.inf
    for i in range(m):
        value = base[i]
        for e in range(z.size):
            value += R[i, e] * point[e]
        depth = min(depth, value)
    return depth


@borrowing
def _bound(space, R, base, active, share, a, s, u):
    """Bound the depth of all points from above by the multipliers, rounding included."""
    total, value = 0.0, 0.0
    for e in range(u.size):
        u[e] = 0.0
    for i in range(a):
        total += share[i]
        value += share[i] * base[active[i]]
        for e in range(u.size):
            u[e] += share[i] * R[active[i], e]
    multiply(space.W, u, s)
    for j in range(s.size):
        value += 0.5 * abs(s[j])
    for e in range(u.size):
        value += u[e] * space.centre[e]
    return (value + 2.0 * slack(u, space.absolute, s.size + 64)) / total


@borrowing
def _direction(W, R, active, basic, a, kind, place, delta, inverse, right, move, du):
    """Write how the multipliers move, and ``u`` with them, when a violated side gives way."""
    for e in range(du.size):
        du[e] = R[place, e] if kind == _ROW else 0.0
    if kind == _ROW:
        _against(W, R, basic, a, place, right)
    sign = 1.0 if kind == _ROW or delta[basic[place]] > 0.0 else -1.0
    for i in range(a):
        total = 0.0
        if kind == _ROW:
            for b in range(a):
                total -= inverse[b, i] * right[b]
        else:
            total = sign * inverse[place, i]
        move[i] = total
        for e in range(du.size):
            du[e] += total * R[active[i], e]


@borrowing
def _kinks(s, step, delta, basic, a, most, ratio, order):
    """List the kinks ahead nearer than ``most``, and how far they are; return their number."""
    for b in range(a - 1):
        step[basic[b]] = 0.0
    count = 0
    for j in range(s.size):
        ratio[count] = abs(s[j]) / max(abs(step[j]), _ZERO)
        order[count] = j
        count += delta[j] * step[j] < 0.0 and abs(step[j]) > _ZERO and ratio[count] < most
    return count


@borrowing
def _long_step(ratio, order, step, count, slope):
    """Order the kinks around the one at which ``f`` stops to fall; return its place or -1."""
    low, high = 0, count
    while low < high:
        middle, end = low, high
        pivot = ratio[(low + high) // 2]
        passed = 0.0
        i = low
        while i < end:  # three ways: nearer, as far, farther
            if ratio[i] < pivot:
                passed += abs(step[order[i]])
                ratio[i], ratio[middle] = ratio[middle], ratio[i]
                order[i], order[middle] = order[middle], order[i]
                middle += 1
                i += 1
            elif ratio[i] > pivot:
                end -= 1
                ratio[i], ratio[end] = ratio[end], ratio[i]
                order[i], order[end] = order[end], order[i]
            else:
                i += 1
        if slope + passed >= 0.0:
            high = middle
            continue
        slope += passed
        for i in range(middle, end):
            slope += abs(step[order[i]])
            if slope >= 0.0:
                return i
        low = end
    return -1
