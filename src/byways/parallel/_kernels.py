"""Compiled loops over linear recurrences.

Axes: O outer (independent sequences), T time, I inner (independent coordinates, contiguous). Time
runs backwards with ``reverse``. A kernel is compiled at its first call, so importing costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["dense_states", "diagonal_adjoint", "diagonal_states", "entry", "shared_states"]

_F = TypeVar("_F", bound="Callable[..., Any]")


def entry(function: _F) -> _F:
    """Compile at the first call, once per installation, without the GIL.

    A product and the sum that follows may become one instruction, which rounds once, not twice.
    """
    options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
    return cast("_F", njit(fastmath={"contract"}, **options)(function))


# sizes: kernel, one loop nest over contiguous memory
@entry
def diagonal_states(a_OTI, b_OTI, start_OI, reverse, h_OTI) -> None:
    """Fill ``h`` with ``h_t = a_t h_{t-1} + b_t``, where ``start`` comes before the first step."""
    outer, steps, inner = b_OTI.shape
    for o in range(outer):
        if inner == 1:  # the state stays in a register: memory would add to each step's latency
            state, a, b, h = start_OI[o, 0], a_OTI[o, :, 0], b_OTI[o, :, 0], h_OTI[o, :, 0]
            if reverse:
                for t in range(steps - 1, -1, -1):
                    state = a[t] * state + b[t]
                    h[t] = state
            else:
                for t in range(steps):
                    state = a[t] * state + b[t]
                    h[t] = state
            continue
        for s in range(steps):
            t = steps - 1 - s if reverse else s
            before = t + 1 if reverse else t - 1
            if s == 0:
                for i in range(inner):
                    h_OTI[o, t, i] = a_OTI[o, t, i] * start_OI[o, i] + b_OTI[o, t, i]
            else:
                for i in range(inner):
                    h_OTI[o, t, i] = a_OTI[o, t, i] * h_OTI[o, before, i] + b_OTI[o, t, i]


# sizes: kernel, one loop nest over contiguous memory
@entry
def diagonal_adjoint(a_OTI, h_OTI, start_OI, g_OTI, reverse, da_OTI, db_OTI, dstart_OI) -> None:
    """Fill the gradients of ``a``, ``b`` and ``start`` from those of the states, ``g``.

    ``G_t = g_t + conj(a_{t+1}) G_{t+1}``, ``db = G``, ``da_t = G_t conj(h_{t-1})`` and
    ``dstart = conj(a_1) G_1``; the conjugates are torch's convention for complex gradients.
    """
    outer, steps, inner = g_OTI.shape
    for o in range(outer):
        for s in range(steps - 1, -1, -1):
            t = steps - 1 - s if reverse else s
            after = t - 1 if reverse else t + 1
            before = t + 1 if reverse else t - 1
            if s == steps - 1:
                for i in range(inner):
                    db_OTI[o, t, i] = g_OTI[o, t, i]
            else:
                for i in range(inner):
                    carried = np.conj(a_OTI[o, after, i]) * db_OTI[o, after, i]
                    db_OTI[o, t, i] = carried + g_OTI[o, t, i]
            if s == 0:
                for i in range(inner):
                    da_OTI[o, t, i] = db_OTI[o, t, i] * np.conj(start_OI[o, i])
                    dstart_OI[o, i] = np.conj(a_OTI[o, t, i]) * db_OTI[o, t, i]
            else:
                for i in range(inner):
                    da_OTI[o, t, i] = db_OTI[o, t, i] * np.conj(h_OTI[o, before, i])


# sizes: kernel, one loop nest; calls would cost more than a small product
@entry
def dense_states(A_TLMN, b_TLN, start_LN, reverse, turned, h_TLN) -> None:
    """Fill ``h`` with ``h_t = A_t h_{t-1} + b_t``; ``A`` holds transposes if ``turned``.

    Axes: L lanes (``A`` may have one for all), M rows, N columns.
    """
    steps, lanes, size = b_TLN.shape
    shared = A_TLMN.shape[1] == 1
    for s in range(steps):
        t = steps - 1 - s if reverse else s
        before = t + 1 if reverse else t - 1
        for lane in range(lanes):
            matrix = A_TLMN[t, 0 if shared else lane]
            x = start_LN[lane] if s == 0 else h_TLN[before, lane]
            y = h_TLN[t, lane]
            for i in range(size):
                y[i] = b_TLN[t, lane, i]
            if turned:
                for j in range(size):
                    for i in range(size):
                        y[i] += matrix[j, i] * x[j]
            else:
                for i in range(size):
                    total = y[i]
                    for j in range(size):
                        total += matrix[i, j] * x[j]
                    y[i] = total


# sizes: kernel, one loop nest; calls would cost more than a small product
@entry
def shared_states(W, d_TLN, b_TLN, start_LN, first, reverse, h_TLN) -> None:
    """Fill ``h`` with ``h_t = diag(d_t) W h_{t-1} + b_t``, or with ``W diag(d_t)`` if ``first``."""
    steps, lanes, size = b_TLN.shape
    turned = np.ascontiguousarray(W.T)
    x = np.empty(size, b_TLN.dtype)
    for s in range(steps):
        t = steps - 1 - s if reverse else s
        before = t + 1 if reverse else t - 1
        for lane in range(lanes):
            source = start_LN[lane] if s == 0 else h_TLN[before, lane]
            y = h_TLN[t, lane]
            for i in range(size):
                x[i] = d_TLN[t, lane, i] * source[i] if first else source[i]
                y[i] = 0.0
            for j in range(size):
                for i in range(size):
                    y[i] += turned[j, i] * x[j]
            for i in range(size):
                y[i] = (y[i] if first else d_TLN[t, lane, i] * y[i]) + b_TLN[t, lane, i]
