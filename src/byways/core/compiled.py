"""How kernels are compiled, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "borrowing",
    "borrowing_entry",
    "comparing",
    "compiled",
    "entry",
    "fusing",
    "fusing_entry",
    "inlined",
    "melted",
    "summing",
]

_F = TypeVar("_F", bound="Callable[..., Any]")

# Division follows IEEE 754 instead of raising, which keeps exception paths out of inner loops.
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# A product and the sum that follows may become one instruction, which rounds once instead of twice.
_FUSED: dict[str, Any] = {"fastmath": {"contract"}}
# Numba counts references to each array that it takes out of a tuple, which cost kernels that are
# handed tuples of arrays more than half of their time. What allocates nothing can do without.
_BORROWED: dict[str, Any] = {"_nrt": False}
_OWNED: dict[str, Any] = {"_nrt": True}  # said, for it is taken over from the caller otherwise


def entry(function: _F) -> _F:
    """Compile what Python calls, at its first call, once per installation, without the GIL."""
    return cast("_F", njit(**_OPTIONS)(function))


def compiled(function: _F) -> _F:
    """Compile what only kernels call: as ``entry``, without the costly wrapper for Python."""
    return cast("_F", njit(**_INNER, **_OWNED)(function))


def borrowing_entry(function: _F) -> _F:
    """Compile as ``entry`` what makes no arrays, neither itself nor in what it calls."""
    return cast("_F", njit(**_OPTIONS, **_BORROWED)(function))


def borrowing(function: _F) -> _F:
    """Compile as ``compiled`` what makes no arrays; what it calls may, if that is ``compiled``."""
    return cast("_F", njit(**_INNER, **_BORROWED)(function))


def fusing_entry(function: _F) -> _F:
    """Compile as ``entry`` products and sums that may be rounded once."""
    return cast("_F", njit(**_OPTIONS, **_FUSED)(function))


def fusing(function: _F) -> _F:
    """Compile as ``compiled`` products and sums that may be rounded once."""
    return cast("_F", njit(**_INNER, **_OWNED, **_FUSED)(function))


def melted(function: _F) -> _F:
    """Compile as ``borrowing``, into the code that calls it: moves of a few numbers."""
    return cast("_F", njit(forceinline=True, **_INNER, **_BORROWED)(function))


def inlined(function: _F) -> _F:
    """Compile into each kernel that calls it: handing over tuples of arrays would cost more."""
    return cast("_F", njit(inline="always", **_INNER)(function))


def summing(function: _F) -> _F:
    """Compile sums whose order may be changed: only where the result bears any rounding."""
    return cast(
        "_F", njit(fastmath={"reassoc", "contract", "nsz"}, **_INNER, **_BORROWED)(function)
    )


def comparing(function: _F) -> _F:
    """Compile as ``borrowing`` what meets no NaN, so that minima are taken of several numbers."""
    return cast("_F", njit(fastmath={"nnan", "nsz"}, **_INNER, **_BORROWED)(function))
