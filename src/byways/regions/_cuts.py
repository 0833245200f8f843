# sizes: the moves of one compiled loop, which share one layout
"""Cutting polytopes that are known by their corners: the moves of method "vertices".

A polytope with ``k`` corners in ``d`` dimensions lies in a flat array: ``d`` rows of ``k``
coordinates, then for each listed decision a row of the ``k`` values there. The first listed
decision is the one that cuts. A cut names its new corners: corner ``k + e`` lies on the edge from
``origin[e]`` to ``target[e]``; ``source[0]`` and ``source[1]`` number the corners of the parts
below and above.

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
def verdict(values, at, k, tolerance):  # type: ignore[no-untyped-def]
    """Say where corners lie by their values, and whether rounding might have decided it."""
    least = most = values[at]
    for v in range(at + 1, at + k):
        value = values[v]
        least = value if value < least else least
        most = value if value > most else most
    if least < -tolerance and most > tolerance:
        return BOTH, 0
    bit = ABOVE if most > tolerance else BELOW
    nearest = least if bit else most
    return bit, 1 if nearest != 0.0 and abs(nearest) <= tolerance else 0


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def cut_ring(polytope, base, k, tolerance, source, origin, target, share):  # type: ignore[no-untyped-def]
    """Plan the cut of a polygon; corners on the line belong to both parts.

    Returns the numbers of corners below and above, and of new ones.
    """
    below, above, new, at = 0, 0, 0, base + 2 * k
    for i in range(k):
        j = i + 1 if i + 1 < k else 0
        here, there = polytope[at + i], polytope[at + j]
        if here <= tolerance:
            source[0, below] = i
            below += 1
        if here >= -tolerance:
            source[1, above] = i
            above += 1
        if (here > tolerance and there < -tolerance) or (here < -tolerance and there > tolerance):
            origin[new], target[new], share[new] = i, j, here / (here - there)
            source[0, below] = source[1, above] = k + new
            below, above, new = below + 1, above + 1, new + 1
    return below, above, new


# sizes: kernel, it sorts the corners and pairs them off in one go
@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def cut_simple(  # type: ignore[no-untyped-def]
    polytope, base, k, d, tolerance, masks, half, source, origin, target, share, spare
):
    """Plan the cut of a simple polytope; its masks, those of new corners after them, go to spare.

    Returns the numbers of corners below and above, and of new ones; -1 new ones if a corner lies
    on the hyperplane, or if there are too many facets.
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
    for e in range(new):
        source[0, below + e] = source[1, above + e] = k + e
    return below + new, above + new, new


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def pick(source, part, count, spare, masks, at):  # type: ignore[no-untyped-def]
    """Write the masks of a part of a cut."""
    for v in range(count):
        masks[at + v] = spare[source[part, v]]


# sizes: kernel, one pass over the rows for both parts of a cut
@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def split(  # type: ignore[no-untyped-def]
    polytope, base, k, first, d, m, source, origin, target, share, new, row,
    part, count, to, kept, store, put, verdicts, tolerance,
):  # fmt: skip
    """Write both parts of a cut: one to the polytope's other half, the other to the store.

    The part that goes on has ``count`` corners and keeps only rows that cut it, with a verdict for
    each row; the other has ``kept`` corners, none if it is not wanted. Rows before ``first`` are
    not needed any more. The row of the cut itself, number ``d``, is left out. Returns how many
    decisions might have been made by rounding.
    """
    doubts, other = 0, 1 - part
    to += first * count
    put += first * kept
    for r in range(first, d + m):
        if r == d:
            continue
        at = base + r * k
        for v in range(k):
            row[v] = polytope[at + v]
        for e in range(new):
            a, b = row[origin[e]], row[target[e]]
            row[k + e] = a + share[e] * (b - a)
        for v in range(kept):
            store[put + v] = row[source[other, v]]
        put += kept
        for v in range(count):
            polytope[to + v] = row[source[part, v]]
        if r > d:
            where, doubtful = verdict(polytope, to, count, tolerance)
            verdicts[r - d - 1] = where
            doubts += doubtful
            if where != BOTH:
                continue
        to += count
    return doubts


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
