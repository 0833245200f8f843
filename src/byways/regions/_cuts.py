# sizes: the moves of one compiled loop, which share one layout
"""Cutting polytopes that are known by their corners: the moves of method "vertices".

A polytope with ``k`` corners in ``d`` dimensions lies in a flat array: ``d`` rows of ``k``
coordinates, then for each listed decision a row of the ``k`` values there. The first listed
decision is the one that cuts. ``source[0]`` and ``source[1]`` number the old corners of the parts
below and above; new corner ``e`` lies on the edge from ``origin[e]`` to ``target[e]``. In the part
above the new ones follow the old ones, in the part below they do so in reverse order, which keeps
both in cyclic order in the plane.

In the plane corners stand in cyclic order, which gives the edges. Elsewhere each corner has a mask
with one bit for each facet through it. The polytope is *simple* if those are ``d``; then two
corners share an edge if and only if they share ``d - 1`` facets. A hyperplane that passes through
no corner cuts a simple polytope into simple ones. Bits belong to the facets of the polytope at hand
and are given anew when a facet is gone, so one word is enough for any number of hyperplanes.

Functions here pass plain arrays and plain indices where a tuple or a slice would read better: each
of those counts references, which takes longer than the arithmetic on a polytope.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = [
    "ABOVE",
    "BELOW",
    "BOTH",
    "FACETS",
    "beyond",
    "cut_ring",
    "cut_simple",
    "mean",
    "pick",
    "split",
    "strike",
    "verdict",
]

BELOW, ABOVE, BOTH = range(3)  # where a polytope lies; the first two are bits
FACETS = 62  # in a mask, whose sign bit stays out of use


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _place(least, most, tolerance):  # type: ignore[no-untyped-def]
    """Say where values lie, and whether rounding might have decided it."""
    if least < -tolerance and most > tolerance:
        return BOTH, 0
    bit = ABOVE if most > tolerance else BELOW
    nearest = least if bit else most
    return bit, 1 if nearest != 0.0 and abs(nearest) <= tolerance else 0


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def verdict(values, at, k, tolerance):  # type: ignore[no-untyped-def]
    """Say where corners lie by their values, and whether rounding might have decided it."""
    least = most = values[at]
    for v in range(at + 1, at + k):
        value = values[v]
        least = value if value < least else least
        most = value if value > most else most
    return _place(least, most, tolerance)


# sizes: kernel, two walks along the corners and the crossings at their ends
@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def cut_ring(polytope, base, k, tolerance, source, origin, target, share):  # type: ignore[no-untyped-def]
    """Plan the cut of a polygon; corners on the line belong to both parts.

    Returns the numbers of old corners below and above, and of new ones.
    """
    at = base + 2 * k
    low, high = 0, 0
    before = polytope[at + k - 1]
    for i in range(k):
        here = polytope[at + i]
        if here <= tolerance < before:
            low = i
        elif here >= -tolerance > before:
            high = i
        before = here
    below, above, new, i = 0, 0, 0, high
    while polytope[at + i] >= -tolerance:
        source[1, above] = last = i
        above += 1
        i = i + 1 if i + 1 < k else 0
    here = polytope[at + last]
    if here > tolerance:
        origin[0], target[0], share[0] = last, i, here / (here - polytope[at + i])
        new = 1
    i = low
    while polytope[at + i] <= tolerance:
        source[0, below] = last = i
        below += 1
        i = i + 1 if i + 1 < k else 0
    here = polytope[at + last]
    if here < -tolerance:
        origin[new], target[new], share[new] = last, i, here / (here - polytope[at + i])
        new += 1
    return below, above, new


# sizes: kernel, it sorts the corners and pairs them off in one go
@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def cut_simple(  # type: ignore[no-untyped-def]
    polytope, base, k, d, tolerance, masks, half, source, origin, target, share, spare
):
    """Plan the cut of a simple polytope; its masks, those of new corners after them, go to spare.

    Returns the numbers of old corners below and above, and of new ones; -1 new ones if a corner
    lies on the hyperplane, or if there are too many facets.
    """
    below, above, used, at = 0, 0, 0, base + d * k
    for v in range(k):
        mask, value = masks[half + v], polytope[at + v]
        spare[v] = mask
        used |= mask
        if value > tolerance:
            source[1, above] = v
            above += 1
        elif value < -tolerance:
            source[0, below] = v
            below += 1
        else:
            return 0, 0, -1
    bit = ~used & -(~used)  # the lowest bit that is not in use
    if bit <= 0 or bit >= 1 << FACETS:
        return 0, 0, -1
    new = 0
    for i in range(above):
        a = source[1, i]
        mask = spare[a]
        for j in range(below):
            rest = mask & ~spare[source[0, j]]
            if rest & (rest - 1) == 0:  # all facets but one are common
                b = source[0, j]
                origin[new], target[new] = a, b
                share[new] = polytope[at + a] / (polytope[at + a] - polytope[at + b])
                spare[k + new] = (mask ^ rest) | bit
                new += 1
    return below, above, new


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def pick(source, part, old, k, new, spare, masks, at):  # type: ignore[no-untyped-def]
    """Write the masks of a part of a cut."""
    for v in range(old):
        masks[at + v] = spare[source[part, v]]
    for e in range(new):
        masks[at + old + e] = spare[k + (e if part else new - 1 - e)]


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _carry(polytope, at, source, part, old, row, new, result, put):  # type: ignore[no-untyped-def]
    """Write a row of a part of a cut; return its least and its largest old value."""
    least = most = polytope[at + source[part, 0]]
    for v in range(old):
        value = polytope[at + source[part, v]]
        result[put + v] = value
        least = value if value < least else least
        most = value if value > most else most
    put += old
    for e in range(new):
        result[put + e] = row[e if part else new - 1 - e]
    return least, most


# sizes: kernel, one pass over the rows for both parts of a cut
@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def split(  # type: ignore[no-untyped-def]
    polytope, base, k, first, d, m, source, origin, target, share, new, row,
    part, old, to, verdicts, keep, other_old, store, put, lists, note, tolerance,
):  # fmt: skip
    """Write both parts of a cut: one to the polytope's other half, the other to the store.

    Either keeps only the rows that cut it; verdicts on all go to ``verdicts`` and, for the part in
    the store, to ``lists`` from ``note`` on. Without ``keep`` nothing is stored. Rows before
    ``first`` are not needed any more. The row of the cut itself, number ``d``, is left out.
    Returns how many decisions might have been made by rounding, and how many rows were stored.
    """
    doubts, stored = 0, 0
    to += first * (old + new)
    put += first * (other_old + new)
    for r in range(first, d + m):
        if r == d:
            continue
        at = base + r * k
        low, high = np.inf, -np.inf
        for e in range(new):
            a = polytope[at + origin[e]]
            value = a + share[e] * (polytope[at + target[e]] - a)
            row[e] = value
            low = value if value < low else low
            high = value if value > high else high
        least, most = _carry(polytope, at, source, part, old, row, new, polytope, to)
        where = BOTH
        if r > d:
            where, doubtful = _place(min(least, low), max(most, high), tolerance)
            verdicts[r - d - 1] = where
            doubts += doubtful
        if where == BOTH:
            to += old + new
        if not keep:
            continue
        least, most = _carry(polytope, at, source, 1 - part, other_old, row, new, store, put)
        where = BOTH
        if r > d:
            where, doubtful = _place(min(least, low), max(most, high), tolerance)
            lists[note + r - d - 1] = where
            doubts += doubtful
            stored += where == BOTH
        if where == BOTH:
            put += other_old + new
    return doubts, stored


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def strike(  # type: ignore[no-untyped-def]
    decision, listed, m, verdicts, word, prefix, unit, decided
):
    """Strike settled decisions off a list of ``m``, the one that has just cut being off already.

    Returns the number of those left, and of units all of whose decisions are made by now, which go
    to ``decided``; -1 left if a decision contradicts the prefix.
    """
    kept, done, last = 0, 0, unit[decision]
    if m == 0 or unit[listed[0]] != last:
        decided[0] = last
        done = 1
    for r in range(m):
        d, where = listed[r], verdicts[r]
        if where == BOTH:
            listed[kept] = d
            kept += 1
            continue
        if d < prefix.size and where != prefix[d]:
            return -1, 0
        place, shift = d >> 6, np.uint64(63 - (d & 63))
        word[place] = (word[place] & ~(np.uint64(1) << shift)) | (np.uint64(where) << shift)
        sibling = kept > 0 and unit[listed[kept - 1]] == unit[d]
        if not sibling and (r + 1 == m or unit[listed[r + 1]] != unit[d]):
            decided[done] = unit[d]
            done += 1
    return kept, done


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def mean(polytope, base, k, points, at):  # type: ignore[no-untyped-def]
    """Write the mean of the corners, which lies strictly inside."""
    for c in range(points.shape[1]):
        total = 0.0
        for v in range(base + c * k, base + (c + 1) * k):
            total += polytope[v]
        points[at, c] = total / k


# sizes: kernel, three means in two loops
@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def beyond(polytope, base, k, d, tolerance, bit, points, at):  # type: ignore[no-untyped-def]
    """Write a point strictly inside the part of a polytope on one side of its first listed row.

    On the way from the mean of all corners to the mean of those on that side, every point but the
    last is inside the polytope; the one half-way from the hyperplane to the end is taken.
    """
    values, count = base + d * k, 0
    centre, end = 0.0, 0.0
    for v in range(k):
        value = polytope[values + v]
        centre += value
        if (value > tolerance) if bit else (value < -tolerance):
            end += value
            count += 1
    centre, end = centre / k, end / count
    crossing = centre / (centre - end) if (centre > 0.0) != (end > 0.0) else 0.0
    share = 0.5 + 0.5 * crossing
    for c in range(d):
        middle, there = 0.0, 0.0
        for v in range(k):
            x, value = polytope[base + c * k + v], polytope[values + v]
            middle += x
            if (value > tolerance) if bit else (value < -tolerance):
                there += x
        points[at, c] = (1.0 - share) * middle / k + share * there / count
