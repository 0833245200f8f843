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

from byways.core.compiled import melted

__all__ = [
    "ABOVE",
    "BELOW",
    "BOTH",
    "FACETS",
    "bounds",
    "cut_ring",
    "cut_simple",
    "interpolate",
    "pick",
    "place",
    "split",
    "strike",
    "verdict",
]

BELOW, ABOVE, BOTH = range(3)  # where a polytope lies; the first two are bits
FACETS = 62  # in a mask, whose sign bit stays out of use


@melted
def place(least, most, tolerance):
    """Say where values lie, and whether rounding might have decided it."""
    if least < -tolerance and most > tolerance:
        return BOTH, 0
    bit = ABOVE if most > tolerance else BELOW
    nearest = least if bit else most
    return bit, 1 if nearest != 0.0 and abs(nearest) <= tolerance else 0


@melted
def verdict(values, at, k, tolerance):
    """Say where corners lie by their values, and whether rounding might have decided it."""
    least = most = values[at]
    begin = np.uint64(at)
    for v in range(np.uint64(k)):
        least, most = min(least, values[begin + v]), max(most, values[begin + v])
    return place(least, most, tolerance)


# sizes: kernel, two walks along the corners and the crossings at their ends
@melted
def cut_ring(polytope, base, k, tolerance, source, origin, target, share):
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
@melted
def cut_simple(polytope, base, k, d, tolerance, masks, half, source, origin, target, share, spare):
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


@melted
def pick(source, part, old, k, new, spare, masks, at):
    """Write the masks of a part of a cut."""
    put, behind, count = np.uint64(at), np.uint64(k), np.uint64(new)
    for v in range(np.uint64(old)):
        masks[put + v] = spare[source[part, v]]
    put += np.uint64(old)
    for e in range(count):
        masks[put + e] = spare[behind + (e if part else count - np.uint64(1) - e)]


@melted
def interpolate(polytope, at, origin, target, share, new, row):
    """Compute a row at new corners; return its least and its largest value there."""
    least, most, begin = np.inf, -np.inf, np.uint64(at)
    for e in range(np.uint64(new)):
        a = polytope[begin + origin[e]]
        value = a + share[e] * (polytope[begin + target[e]] - a)
        row[e] = value
        least, most = min(least, value), max(most, value)
    return least, most


@melted
def bounds(polytope, at, source, part, old):
    """Give the least and the largest value of a row at the old corners of a part."""
    least, most, begin = np.inf, -np.inf, np.uint64(at)
    for v in range(np.uint64(old)):
        value = polytope[begin + source[part, v]]
        least, most = min(least, value), max(most, value)
    return least, most


@melted
def _carry(polytope, at, source, part, old, row, new, result, put):
    """Write a row of a part of a cut."""
    begin, place, count = np.uint64(at), np.uint64(put), np.uint64(new)
    for v in range(np.uint64(old)):
        result[place + v] = polytope[begin + source[part, v]]
    place += np.uint64(old)
    for e in range(count):
        result[place + e] = row[e if part else count - np.uint64(1) - e]


# sizes: kernel, one pass over the rows for both parts of a cut
@melted
def split(
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
        low, high = interpolate(polytope, at, origin, target, share, new, row)
        here = there = BOTH
        if r > d:
            least, most = bounds(polytope, at, source, part, old)
            here, doubtful = place(min(least, low), max(most, high), tolerance)
            verdicts[r - d - 1] = here
            doubts += doubtful
        if here == BOTH:
            _carry(polytope, at, source, part, old, row, new, polytope, to)
            to += old + new
        if not keep:
            continue
        if r > d:
            least, most = bounds(polytope, at, source, 1 - part, other_old)
            there, doubtful = place(min(least, low), max(most, high), tolerance)
            lists[note + r - d - 1] = there
            doubts += doubtful
            stored += there == BOTH
        if there == BOTH:
            _carry(polytope, at, source, 1 - part, other_old, row, new, store, put)
            put += other_old + new
    return doubts, stored


@melted
def strike(decision, listed, m, verdicts, word, prefix, unit, decided):
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
