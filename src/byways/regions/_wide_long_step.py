"""The long step of the program for wide inputs: to the kink at which a sum of sizes stops to fall.

``f`` is ``sum_j |s_j| / 2`` and a linear part; along a step it has a kink where an ``s_j`` is 0.
Kinks are looked for by sums over all of them, not put in order: sums take less time than sorting,
whose branches no processor guesses.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import borrowing, summing

__all__ = ["FLAT", "kinks", "long_step"]

FLAT = 1e-11  # slopes below this are rounding
_MOST_SUMS = 40  # more than these are wanted only where many kinks are equally far
_FEW = 16  # kinks that are put in order


@summing
def kinks(s, delta, p, a):
    """Write by how much each kink ends the fall of ``f``, and how far ahead it is.

    What is not ahead ends nothing, and is at infinity or at no number. Returns what all of them
    end, and a guess how far off is the middle one.
    """
    for b in range(1, a):
        p.step[p.basic[b]] = 0.0
    total, size = 0.0, 0.0
    for j in range(s.size):
        fall = -2.0 * delta[j] * p.step[j]
        p.fall[j] = fall if fall > FLAT else 0.0
        p.ratio[j] = abs(s[j]) / p.fall[j]
        total += p.fall[j]
        size += abs(s[j]) if fall > FLAT else 0.0
    return total, size / max(total, FLAT)


@summing
def _until(ratio, fall, end):
    """Give the number of kinks up to an end, and by how much they end the fall."""
    number, total = 0.0, 0.0
    for j in range(ratio.size):
        total += fall[j] if ratio[j] <= end else 0.0
        number += 1.0 if ratio[j] <= end else 0.0
    return number, total


# sizes: kernel, one search
@borrowing
def long_step(p, middle, fall, most, slope):
    """Find the kink up to ``most`` at which ``f`` stops to fall; return it and how far it is.

    That is -1 and ``most`` if there is none. Afterwards the ratios of those passed are below it.
    An interval around it shrinks until few are left to be put in order.
    """
    low, fewer, below = -1.0, 0.0, 0.0
    high, more, above = most, np.inf, fall
    if most < np.inf:
        more, above = _until(p.ratio, p.fall, most)
    if slope + above < 0.0:
        return -1, most
    end = 2.0 * middle * -slope / fall  # where it would be if all were evenly spread
    for _ in range(_MOST_SUMS):
        if not low < end < high:
            end = 0.5 * (low + high) if high < np.inf else 2.0 * low + middle
        number, total = _until(p.ratio, p.fall, end)
        if slope + total >= 0.0:
            high, more, above = end, number, total
        else:
            low, fewer, below = end, number, total
        if more - fewer <= _FEW:
            break
        if high < np.inf:
            part = (-slope - below) / (above - below)
            end = max(low, 0.0) + min(max(part, 0.1), 0.9) * (high - max(low, 0.0))
        else:
            end *= 4.0
    count = _sort(p.ratio, p.order, low, high)
    slope += below
    for i in range(count):
        j = p.order[i]
        slope += p.fall[j]
        if slope >= 0.0 or i == count - 1:  # the sums may have been rounded otherwise
            return j, p.ratio[j]
        p.ratio[j] = -1.0  # passed, even if it is as far
    return -1, most


@borrowing
def _sort(ratio, order, low, high):
    """Put the kinks of an interval in order; return their number."""
    count = 0
    for j in range(ratio.size):
        if low < ratio[j] <= high:
            i = count
            while i > 0 and ratio[order[i - 1]] > ratio[j]:
                order[i] = order[i - 1]
                i -= 1
            order[i] = j
            count += 1
    return count
