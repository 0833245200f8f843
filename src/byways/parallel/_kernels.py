"""Compiled loops over recurrences with matrices.

Time runs backwards with ``reverse``. A kernel is compiled at its first call, so importing costs
nothing.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import fusing_entry

__all__ = ["dense_states", "shared_states"]


# sizes: kernel, one loop nest; calls would cost more than a small product
@fusing_entry
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
@fusing_entry
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
