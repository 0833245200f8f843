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

__all__ = ["diagonal_adjoint", "diagonal_states", "entry"]

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
