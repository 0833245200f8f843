"""How kernels are compiled, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["compiled", "entry"]

_F = TypeVar("_F", bound="Callable[..., Any]")


def entry(function: _F) -> _F:
    """Compile what Python calls, at its first call, once per installation, without the GIL.

    Division follows IEEE 754 instead of raising, which keeps exception paths out of inner loops.
    """
    kernel: Any = njit(cache=True, nogil=True, error_model="numpy")(function)
    return cast("_F", kernel)


def compiled(function: _F) -> _F:
    """Compile what only kernels call: as ``entry``, without the costly wrapper for Python."""
    kernel: Any = njit(
        cache=True,
        nogil=True,
        error_model="numpy",
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
    )(function)
    return cast("_F", kernel)
