"""Compiled diagonal recurrences ``h_n = a_n h_{n-g} + b_n``, and their adjoint.

A sequence lies flat in memory, and a step of ``g`` numbers follows another. A narrow step is bound
by the latency of its multiplication, so steps are first folded in pairs, ``a'_n = a_n a_{n-g}`` and
``b'_n = a_n b_{n-g} + b_n``, which gives the same recurrence with twice the gap; a few times this,
and the gap fills several vector registers. Each fold is plain arithmetic on whole arrays. It is
done block by block, in the first-level cache, so that memory is read and written once. Where folded
factors leave the range of normal numbers, the plain loop goes on: it overflows no sooner than the
states do, and arithmetic on subnormal numbers takes a hundred times as long.

Axes: O outer (independent sequences), T time, I inner (independent coordinates, contiguous).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numba import njit

from byways.parallel._kernels import entry

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["diagonal_adjoint", "diagonal_states"]

_F = TypeVar("_F", bound="Callable[..., Any]")

_BLOCK = 1024  # numbers folded at once: four arrays of them stay in the first-level cache
_GAP = 32  # numbers that follow each other without waiting: measured best of 8 .. 64
_PATIENCE = 16  # blocks that go on plainly after one whose folded factors are out of range


def _inner(function: _F) -> _F:
    options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
    options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast("_F", njit(fastmath={"contract"}, **options)(function))


@entry
def diagonal_states(a_OTI, b_OTI, start_OI, reverse, bounds, h_OTI) -> None:
    """Fill ``h`` with ``h_t = a_t h_{t-1} + b_t``, where ``start`` comes before the first step.

    ``bounds`` are the least and the largest size of a factor that may be folded.
    """
    outer, steps, inner = b_OTI.shape
    if steps == 0 or inner == 0:
        return
    room = np.empty((4, _BLOCK + 2 * _GAP), b_OTI.dtype)
    for o in range(outer):
        a, b, h = a_OTI[o].ravel(), b_OTI[o].ravel(), h_OTI[o].ravel()
        _sequence(a, b, start_OI[o], reverse, bounds, h, room)


@entry
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
    room = np.empty((4, _BLOCK + 2 * _GAP), g_OTI.dtype)
    size = steps * inner
    early, late = slice(0, size - inner), slice(inner, size)
    first, last = (size - inner, 0) if reverse else (0, size - inner)
    now, before = (early, late) if reverse else (late, early)
    for o in range(outer):
        a, h, g = a_OTI[o].ravel(), h_OTI[o].ravel(), g_OTI[o].ravel()
        da, G = da_OTI[o].ravel(), db_OTI[o].ravel()
        end = g[last : last + inner]
        G[last : last + inner] = end
        _sequence(a[now], g[before], end, not reverse, bounds, G[before], room)
        _multiply(G[now], h[before], da[now])
        _multiply(G[first : first + inner], start_OI[o], da[first : first + inner])
        _multiply(G[first : first + inner], a[first : first + inner], dstart_OI[o])


@_inner
def _sequence(a, b, start, reverse, bounds, h, room) -> None:
    """Run one sequence: a few steps plainly, then block after block."""
    size, inner = len(b), len(start)
    if size == 0:
        return
    gap = inner
    while gap < _GAP:
        gap *= 2
    low = size - inner if reverse else 0
    now = slice(low, low + inner)
    _advance(a[now], start, b[now], h[now])
    done = min(gap, size)
    _plain(a, b, h, inner, done, inner, reverse)
    plain = 0
    while done < size:
        count = min(_BLOCK, size - done)
        low = size - done - count if reverse else done
        factors, inputs = a[low : low + count], b[low : low + count]
        if gap > inner and plain == 0:
            factors, inputs = _folded(a, b, inner, gap, low, count, reverse, room)
            plain = 0 if _in_range(factors, bounds) else _PATIENCE
        if plain > 0:
            _plain(a, b, h, done, done + count, inner, reverse)
            plain -= 1
        else:
            near = low if reverse else low - gap
            _vectors(factors, inputs, h[near : near + count + gap], gap, reverse)
        done += count


@_inner
def _plain(a, b, h, begin, end, gap, reverse) -> None:
    """Go on one by one, from the number ``begin`` in the order of time to ``end``."""
    size = len(b)
    state = h[size - begin if reverse else begin - 1]
    for k in range(begin, end):
        n = size - 1 - k if reverse else k
        if gap > 1:  # else the state stays in its register, as memory would add to the latency
            state = h[n + gap if reverse else n - gap]
        state = a[n] * state + b[n]
        h[n] = state


@_inner
def _vectors(a, b, h, gap, reverse) -> None:
    """Go through a block, ``gap`` numbers at once; ``h`` has the ``gap`` before it in addition."""
    count = len(b)
    for k in range(0, count, gap):
        width = min(gap, count - k)
        low = count - k - width if reverse else k
        before, now = (low + gap, low) if reverse else (low, low + gap)
        span = slice(low, low + width)
        _advance(a[span], h[before : before + width], b[span], h[now : now + width])


@_inner
def _folded(a, b, inner, wanted, low, count, reverse, room):
    """Give factors and inputs of a block for the gap ``wanted``, folding pair after pair."""
    gap, target = inner, 0
    length = count + wanted - 2 * gap
    near = low if reverse else low - (wanted - 2 * gap)
    far = near + gap if reverse else near - gap
    _fold(
        a[near : near + length],
        b[near : near + length],
        a[far : far + length],
        b[far : far + length],
        room[0, :length],
        room[1, :length],
    )
    gap *= 2
    while gap < wanted:
        left = length - gap
        near, far = (0, gap) if reverse else (gap, 0)
        source, target = target, 2 - target
        _fold(
            room[source, near : near + left],
            room[source + 1, near : near + left],
            room[source, far : far + left],
            room[source + 1, far : far + left],
            room[target, :left],
            room[target + 1, :left],
        )
        length = left
        gap *= 2
    return room[target, :length], room[target + 1, :length]


@_inner
def _fold(a, b, a_before, b_before, a_both, b_both) -> None:
    for n in range(len(a_both)):
        a_both[n] = a[n] * a_before[n]
        b_both[n] = a[n] * b_before[n] + b[n]


@_inner
def _advance(a, before, b, h) -> None:
    for n in range(len(h)):
        h[n] = a[n] * before[n] + b[n]


@_inner
def _multiply(x, y, product) -> None:
    for n in range(len(product)):
        product[n] = x[n] * y[n]


@_inner
def _in_range(factors, bounds) -> bool:
    """Say whether all folded factors have a size within bounds; NaN has not."""
    least, largest = bounds
    outside = 0
    for n in range(len(factors)):
        size = abs(factors[n].real) + abs(factors[n].imag)
        outside |= not (least <= size <= largest)
    return outside == 0
