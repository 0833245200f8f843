"""Compiled diagonal recurrences ``h_n = a_n h_{n-g} + b_n``, and their adjoint.

A sequence lies flat in memory, and a step of ``g`` numbers follows another. A narrow step is bound
by the latency of its multiplication, so each step is first composed with the three before it, which
gives the same recurrence with four times the gap; once or twice this, and the gap fills several
vector registers. A fold is plain arithmetic on whole arrays. It is done block by block, in the
first-level cache, so that memory is read and written once. Where folded factors leave the range of
normal numbers, the plain loop goes on: it overflows no sooner than the states do, and arithmetic on
subnormal numbers takes a hundred times as long.

Axes: O outer (independent sequences), T time, I inner (independent coordinates, contiguous).
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import fusing, fusing_entry, summing
from byways.parallel._rows import rows

__all__ = ["diagonal_adjoint", "diagonal_states"]

_BLOCK = 2048  # numbers folded at once; 65,536 steps take 84 us with 1024, 78 us with 2048 or 4096
_GAP = 16  # numbers that go on at once: measured best of 8, 16, 32
_WIDE = 8  # numbers of a step from which folding does not pay
_PATIENCE = 16  # blocks that go on plainly after one whose folded factors are out of range


@fusing_entry
def diagonal_states(a_OTI, b_OTI, start_OI, reverse, bounds, h_OTI) -> None:
    """Fill ``h`` with ``h_t = a_t h_{t-1} + b_t``, where ``start`` comes before the first step.

    ``bounds`` are the least and the largest size of a factor that may be folded.
    """
    outer, steps, inner = b_OTI.shape
    if steps == 0 or inner == 0:
        return
    room = np.empty((4, _BLOCK + 4 * _GAP), b_OTI.dtype)
    for o in range(outer):
        _sequence(a_OTI[o], b_OTI[o], start_OI[o], reverse, bounds, h_OTI[o], room)


@fusing_entry
def diagonal_adjoint(
    a_OTI, h_OTI, start_OI, g_OTI, reverse, bounds, da_OTI, db_OTI, dstart_OI
) -> None:
    """Fill the gradients of ``a``, ``b`` and ``start`` from those of the states, ``g``.

    ``G_t = g_t + a_{t+1} G_{t+1}``, ``db = G``, ``da_t = G_t h_{t-1}`` and ``dstart = a_1 G_1``;
    for complex gradients in torch's convention, ``a``, ``h`` and ``start`` come conjugated.
    """
    outer, steps, inner = g_OTI.shape
    if steps == 0 or inner == 0:
        return
    room = np.empty((4, _BLOCK + 4 * _GAP), g_OTI.dtype)
    early, late = slice(0, steps - 1), slice(1, steps)
    first, last = (steps - 1, 0) if reverse else (0, steps - 1)
    now, before = (early, late) if reverse else (late, early)
    for o in range(outer):
        a, h, g, da, G = a_OTI[o], h_OTI[o], g_OTI[o], da_OTI[o], db_OTI[o]
        G[last] = g[last]
        _sequence(a[now], g[before], g[last], not reverse, bounds, G[before], room)
        _multiply(G[now].ravel(), h[before].ravel(), da[now].ravel())
        _multiply(G[first], start_OI[o], da[first])
        _multiply(G[first], a[first], dstart_OI[o])


@fusing
def _sequence(a_TI, b_TI, start_I, reverse, bounds, h_TI, room) -> None:
    """Run one sequence: as it lies if its steps are wide, else folded block by block."""
    steps, inner = b_TI.shape
    if inner >= _WIDE:
        state = start_I.copy()
        _advance(a_TI, b_TI, state, reverse, h_TI)
        return
    gap = inner
    while gap < _GAP:
        gap *= 4
    a, b, h, size = a_TI.ravel(), b_TI.ravel(), h_TI.ravel(), steps * inner
    done = min(gap, size)
    _plain(a, b, start_I, h, 0, done, reverse)
    plain = 0
    while size - done >= gap:
        count = min(_BLOCK // gap, (size - done) // gap) * gap
        low = size - done - count if reverse else done
        if plain == 0:
            factors, inputs = _folded(a, b, inner, gap, low, count, reverse, room)
            plain = 0 if _in_range(factors, bounds) else _PATIENCE
        if plain > 0:
            _plain(a, b, start_I, h, done, done + count, reverse)
            plain -= 1
        else:
            rows(factors, inputs, h, low, gap, reverse)
        done += count
    _plain(a, b, start_I, h, done, size, reverse)


@fusing
def _advance(a_RW, b_RW, state_W, reverse, h_RW) -> None:
    """Go on row by row, a row wide enough for vector registers, from the state before."""
    rows, width = h_RW.shape
    for s in range(rows):
        r = rows - 1 - s if reverse else s
        for n in range(width):
            value = a_RW[r, n] * state_W[n] + b_RW[r, n]
            state_W[n] = value
            h_RW[r, n] = value


@fusing
def _plain(a, b, start, h, begin, end, reverse) -> None:
    """Go on one by one, from the number ``begin`` in the order of time to ``end``."""
    size, gap = len(b), len(start)
    for k in range(begin, end):
        n, before = (size - 1 - k, size - 1 - k + gap) if reverse else (k, k - gap)
        if k < gap:
            state = start[gap - 1 - k if reverse else k]
        elif gap > 1 or k == begin:
            state = h[before]
        # else it stays in its register, as memory would add to the latency
        state = a[n] * state + b[n]
        h[n] = state


@fusing
def _folded(a, b, inner, wanted, low, count, reverse, room):
    """Give factors and inputs of a block for the gap ``wanted``, folding four and four."""
    gap, length, target = inner, count + wanted - 4 * inner, 0
    near = low if reverse else low - (wanted - inner)
    span = slice(near, near + length + 3 * gap)
    _fold(a[span], b[span], gap, reverse, room[0, :length], room[1, :length])
    gap *= 4
    while gap < wanted:
        left = length - 3 * gap
        source, target = target, 2 - target
        a, b = room[source, :length], room[source + 1, :length]
        _fold(a, b, gap, reverse, room[target, :left], room[target + 1, :left])
        length = left
        gap *= 4
    return room[target, :length], room[target + 1, :length]


@fusing
def _fold(a, b, gap, reverse, factors, inputs) -> None:
    """Compose each step with the three before it, ``gap`` numbers apart."""
    size = len(factors)
    i, j, k, m = (0, gap, 2 * gap, 3 * gap) if reverse else (3 * gap, 2 * gap, gap, 0)
    a_i, a_j, a_k, a_m = a[i : i + size], a[j : j + size], a[k : k + size], a[m : m + size]
    b_i, b_j, b_k, b_m = b[i : i + size], b[j : j + size], b[k : k + size], b[m : m + size]
    for n in range(size):
        factors[n] = (a_i[n] * a_j[n]) * (a_k[n] * a_m[n])
        inputs[n] = b_i[n] + a_i[n] * (b_j[n] + a_j[n] * (b_k[n] + a_k[n] * b_m[n]))


@fusing
def _multiply(x, y, product) -> None:
    for n in range(len(product)):
        product[n] = x[n] * y[n]


@summing
def _in_range(factors, bounds) -> bool:
    """Say whether all folded factors have a size within bounds; NaN has not."""
    least, largest = bounds
    one = bounds[1] / bounds[1]  # counted in the type of the numbers, which keeps registers full
    outside = one - one
    for n in range(len(factors)):
        size = abs(factors[n].real) + abs(factors[n].imag)
        outside += one - one if least <= size <= largest else one
    return bool(outside == 0)
