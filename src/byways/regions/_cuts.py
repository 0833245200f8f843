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
    begin = np.uint64(at)
    for v in range(np.uint64(k)):
        least, most = min(least, values[begin + v]), max(most, values[begin + v])
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
    at, behind, used, nearest = np.uint64(base + d * k), np.uint64(k), 0, np.inf
    half = np.uint64(half)
    below, above = np.uint64(0), np.uint64(0)
    # No branches: on which side a corner lies, and which pairs are edges, is hard to foresee.
    for v in range(behind):
        mask, value = masks[half + v], polytope[at + v]
        spare[v] = mask
        used |= mask
        nearest = min(nearest, abs(value))
        source[0, below] = source[1, above] = v
        below += np.uint64(value < 0.0)
        above += np.uint64(value > 0.0)
    bit = ~used & -(~used)  # the lowest bit that is not in use
    if nearest <= tolerance or bit <= 0 or bit >= 1 << FACETS:
        return 0, 0, -1
    for j in range(below):
        spare[behind + j] = spare[source[0, j]]
    new = np.uint64(0)
    for i in range(above):
        a = source[1, i]
        mask = spare[a]
        for j in range(below):
            rest = mask & ~spare[behind + j]
            origin[new], target[new] = a, source[0, j]
            new += np.uint64(rest & (rest - 1) == 0)  # all facets but one are common
    for e in range(new):
        a, b = origin[e], target[e]
        share[e] = polytope[at + a] / (polytope[at + a] - polytope[at + b])
        spare[behind + e] = (spare[a] & spare[b]) | bit
    return np.int64(below), np.int64(above), np.int64(new)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def pick(source, part, old, k, new, spare, masks, at):  # type: ignore[no-untyped-def]
    """Write the masks of a part of a cut."""
    put, behind, count = np.uint64(at), np.uint64(k), np.uint64(new)
    for v in range(np.uint64(old)):
        masks[put + v] = spare[source[part, v]]
    put += np.uint64(old)
    for e in range(count):
        masks[put + e] = spare[behind + (e if part else count - np.uint64(1) - e)]


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _interpolate(polytope, at, origin, target, share, new, row):  # type: ignore[no-untyped-def]
    """Compute a row at new corners; return its least and its largest value there."""
    least, most, begin = np.inf, -np.inf, np.uint64(at)
    for e in range(np.uint64(new)):
        a = polytope[begin + origin[e]]
        value = a + share[e] * (polytope[begin + target[e]] - a)
        row[e] = value
        least, most = min(least, value), max(most, value)
    return least, most


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _bounds(polytope, at, source, part, old):  # type: ignore[no-untyped-def]
    """Give the least and the largest value of a row at the old corners of a part."""
    least, most, begin = np.inf, -np.inf, np.uint64(at)
    for v in range(np.uint64(old)):
        value = polytope[begin + source[part, v]]
        least, most = min(least, value), max(most, value)
    return least, most


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _carry(polytope, at, source, part, old, row, new, result, put):  # type: ignore[no-untyped-def]
    """Write a row of a part of a cut."""
    begin, place, count = np.uint64(at), np.uint64(put), np.uint64(new)
    for v in range(np.uint64(old)):
        result[place + v] = polytope[begin + source[part, v]]
    place += np.uint64(old)
    for e in range(count):
        result[place + e] = row[e if part else count - np.uint64(1) - e]


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
        low, high = _interpolate(polytope, at, origin, target, share, new, row)
        here = there = BOTH
        if r > d:
            least, most = _bounds(polytope, at, source, part, old)
            here, doubtful = _place(min(least, low), max(most, high), tolerance)
            verdicts[r - d - 1] = here
            doubts += doubtful
        if here == BOTH:
            _carry(polytope, at, source, part, old, row, new, polytope, to)
            to += old + new
        if not keep:
            continue
        if r > d:
            least, most = _bounds(polytope, at, source, 1 - part, other_old)
            there, doubtful = _place(min(least, low), max(most, high), tolerance)
            lists[note + r - d - 1] = there
            doubts += doubtful
            stored += there == BOTH
        if there == BOTH:
            _carry(polytope, at, source, 1 - part, other_old, row, new, store, put)
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


# Any sum will do for a point inside: their order is free, so that several numbers go at a time.
_SUMS = {"reassoc", "contract", "nsz"}


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True, fastmath=_SUMS)
def mean(polytope, base, k, points, at):  # type: ignore[no-untyped-def]
    """Write the mean of the corners, which lies strictly inside."""
    corners = np.uint64(k)
    for c in range(points.shape[1]):
        begin, total = np.uint64(base + c * k), 0.0
        for v in range(corners):
            total += polytope[begin + v]
        points[at, c] = total / k


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True, fastmath=_SUMS)
def _sums_beyond(polytope, at, values, k, tolerance, sign):  # type: ignore[no-untyped-def]
    """Sum a row over all corners, and over those where another row has a sign."""
    total, there, row, other = 0.0, 0.0, np.uint64(at), np.uint64(values)
    for v in range(np.uint64(k)):
        x = polytope[row + v]
        total += x
        there += x if sign * polytope[other + v] > tolerance else 0.0
    return total / k, there


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def beyond(polytope, base, k, d, tolerance, bit, points, at):  # type: ignore[no-untyped-def]
    """Write a point strictly inside the part of a polytope on one side of its first listed row.

    On the way from the mean of all corners to the mean of those on that side, every point but the
    last is inside the polytope; the one half-way from the hyperplane to the end is taken.
    """
    sign, values, count = 1.0 if bit else -1.0, base + d * k, 0
    for v in range(np.uint64(k)):
        count += sign * polytope[np.uint64(values) + v] > tolerance
    centre, end = _sums_beyond(polytope, values, values, k, tolerance, sign)
    end /= count
    crossing = centre / (centre - end) if (centre > 0.0) != (end > 0.0) else 0.0
    share = 0.5 + 0.5 * crossing
    for c in range(d):
        middle, there = _sums_beyond(polytope, base + c * k, values, k, tolerance, sign)
        points[at, c] = (1.0 - share) * middle + share * there / count
