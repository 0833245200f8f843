"""Leaves of method "vertices": their words, and a point strictly inside each.

Where one or two hyperplanes are left to cut a polytope of the last stage, its parts are leaves and
nobody asks for their corners. With two left, corners of the section by the first are enough: they
tell on which sides of it the second one cuts.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import melted, summing
from byways.regions._cuts import ABOVE, BELOW, BOTH, bounds, interpolate, place

__all__ = ["FEW", "beyond", "give", "give_quarters", "mean", "quarters", "record"]


FEW = 3  # a polytope's leaves that come together, but for the first


@melted
def give(word, words, found):
    """Write the path's bits as a leaf, if leaves are listed."""
    if words.shape[0]:
        for i in range(word.size):
            words[found, i] = word[i]


@melted
def record(word, k, bit):
    """Write one bit of the path."""
    at, shift = k >> 6, np.uint64(63 - (k & 63))
    word[at] = (word[at] & ~(np.uint64(1) << shift)) | (np.uint64(bit) << shift)


@summing
def _mean(polytope, at, k):
    begin, total = np.uint64(at), 0.0
    for v in range(np.uint64(k)):
        total += polytope[begin + v]
    return total / k


@melted
def mean(polytope, base, k, points, at):
    """Write the mean of the corners, which lies strictly inside."""
    for c in range(points.shape[1]):
        points[at, c] = _mean(polytope, base + c * k, k)


@summing
def _sum_beyond(polytope, at, values, k, tolerance, sign):
    """Sum a row over the corners where another row has a sign."""
    total, row, other = 0.0, np.uint64(at), np.uint64(values)
    for v in range(np.uint64(k)):
        x = polytope[row + v]
        total += x if sign * polytope[other + v] > tolerance else 0.0
    return total


@melted
def beyond(polytope, base, k, d, tolerance, bit, points, at):
    """Write a point strictly inside the part of a polytope on one side of row ``d``.

    On the way from the mean of all corners to the mean of those on that side, every point but the
    last is inside the polytope; the one half-way from the hyperplane to the end is taken. Returns
    the row's value there.
    """
    sign, values, count = 1.0 if bit else -1.0, base + d * k, 0
    for v in range(np.uint64(k)):
        count += sign * polytope[np.uint64(values) + v] > tolerance
    centre = _mean(polytope, values, k)
    end = _sum_beyond(polytope, values, values, k, tolerance, sign) / count
    share = _half_way(centre, end, bit)
    for c in range(d):
        there = _sum_beyond(polytope, base + c * k, values, k, tolerance, sign) / count
        points[at, c] = (1.0 - share) * _mean(polytope, base + c * k, k) + share * there
    return (1.0 - share) * centre + share * end


@melted
def _half_way(start, end, bit):
    """Tell how far along a way to stop, of which only the part on one side of 0 counts."""
    if (start > 0.0) == (end > 0.0):
        return 0.5
    crossing = start / (start - end)
    return 0.5 * crossing + (0.5 if (end > 0.0) == (bit > 0) else 0.0)


@melted
def quarters(
    polytope, base, k, d, source, below, above, origin, target, share, new, row, tolerance
):
    """Say where the second listed row lies in both parts of a planned cut by the first.

    Returns verdicts on the part below, the part above and the section; and how many of the first
    two might have been decided by rounding.
    """
    at = base + (d + 1) * k
    low, high = interpolate(polytope, at, origin, target, share, new, row)
    section, _ = place(low, high, tolerance)
    least, most = bounds(polytope, at, source, BELOW, below)
    under, doubtful = place(min(least, low), max(most, high), tolerance)
    least, most = bounds(polytope, at, source, ABOVE, above)
    over, doubts = place(min(least, low), max(most, high), tolerance)
    return under, over, section, doubtful + doubts


# sizes: kernel, it hands a dozen arrays on
@melted
def give_quarters(
    polytope, base, other, k, d, tolerance, source, below, above, origin, target, share, new, row,
    under, over, section, word, prefix, first, second, words, points, found,
):  # fmt: skip
    """Give the three or four leaves of a polytope that two rows cut; return the leaves by then.

    Only those that agree with the prefix count. The section by the first row goes to ``other``.
    """
    if points.shape[0]:
        for r in range(d + 2):
            if r != d:
                interpolate(polytope, base + r * k, origin, target, share, new, row)
                put = np.uint64(other + (r - (r > d)) * new)
                for e in range(np.uint64(new)):
                    polytope[put + e] = row[e]
    for part in range(2):
        if first < prefix.size and part != prefix[first]:
            continue
        where, old = (over, above) if part else (under, below)
        record(word, first, part)
        for bit in range(2):
            if where == 1 - bit or (second < prefix.size and bit != prefix[second]):
                continue
            record(word, second, bit)
            give(word, words, found)
            if points.shape[0]:
                _within(
                    polytope, base, other, k, d, tolerance, source, part, old, new, section, bit,
                    points, found,
                )  # fmt: skip
            found += 1
    return found


# sizes: kernel, one way in three steps
@melted
def _within(
    polytope, base, other, k, d, tolerance, source, part, old, new, section, bit, points, at
):
    """Write a point strictly inside a quarter.

    The way leads from a point inside the section, if possible one on the right side of the second
    row, to the mean of old corners of the part. Only its ends may lie on the part's border.
    """
    if section == BOTH:
        start = beyond(polytope, other, new, d, tolerance, bit, points, at)
    else:
        mean(polytope, other, new, points, at)
        start = _mean(polytope, other + d * new, new)
    astray = section == 1 - bit  # then the way has to end on the right side
    sign, values, count, end = 1.0 if bit else -1.0, np.uint64(base + (d + 1) * k), 0, 0.0
    for v in range(np.uint64(old)):
        value = polytope[values + source[part, v]]
        taken = not astray or sign * value > tolerance
        count += taken
        end += value if taken else 0.0
    end /= count
    share = _half_way(start, end, bit)
    for c in range(d):
        row, there = np.uint64(base + c * k), 0.0
        for v in range(np.uint64(old)):
            taken = not astray or sign * polytope[values + source[part, v]] > tolerance
            there += polytope[row + source[part, v]] if taken else 0.0
        points[at, c] += share * (there / count - points[at, c])
