"""How kernels are compiled, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numba import njit, types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "FEW",
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
    "unrolled",
]

FEW = 5  # coordinates for which loops are unrolled

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


def _made(function: _F, **options: Any) -> _F:
    """Compile, but not once more for each constant that a kernel hands over.

    Numba takes a 0 in a call for a type of its own. A fifth of what was compiled were such copies.
    """
    kernel: Any = njit(**options)(function)
    if kernel is function:  # with NUMBA_DISABLE_JIT, for debuggers
        return function
    template = kernel.get_call_template
    plain: Any = types.unliteral

    def for_types(args: Iterable[Any], keywords: Mapping[str, Any]) -> Any:
        named = {name: plain(value) for name, value in keywords.items()}
        return template(tuple(map(plain, args)), named)

    kernel.get_call_template = for_types
    return cast("_F", kernel)


def entry(function: _F) -> _F:
    """Compile what Python calls, at its first call, once per installation, without the GIL."""
    return _made(function, **_OPTIONS)


def compiled(function: _F) -> _F:
    """Compile what only kernels call: as ``entry``, without the costly wrapper for Python."""
    return _made(function, **_INNER, **_OWNED)


def borrowing_entry(function: _F) -> _F:
    """Compile as ``entry`` what makes no arrays, neither itself nor in what it calls."""
    return _made(function, **_OPTIONS, **_BORROWED)


def borrowing(function: _F) -> _F:
    """Compile as ``compiled`` what makes no arrays; what it calls may, if that is ``compiled``."""
    return _made(function, **_INNER, **_BORROWED)


def fusing_entry(function: _F) -> _F:
    """Compile as ``entry`` products and sums that may be rounded once."""
    return _made(function, **_OPTIONS, **_FUSED)


def fusing(function: _F) -> _F:
    """Compile as ``compiled`` products and sums that may be rounded once."""
    return _made(function, **_INNER, **_OWNED, **_FUSED)


def melted(function: _F) -> _F:
    """Compile as ``borrowing``, into the code that calls it: moves of a few numbers."""
    return _made(function, forceinline=True, **_INNER, **_BORROWED)


def inlined(function: _F) -> _F:
    """Compile into each kernel that calls it: handing over tuples of arrays would cost more."""
    return _made(function, inline="always", **_INNER)


def summing(function: _F) -> _F:
    """Compile sums whose order may be changed: only where the result bears any rounding."""
    return _made(function, fastmath={"reassoc", "contract", "nsz"}, **_INNER, **_BORROWED)


def comparing(function: _F) -> _F:
    """Compile as ``borrowing`` what meets no NaN, so that minima are taken of several numbers."""
    return _made(function, fastmath={"nnan", "nsz"}, **_INNER, **_BORROWED)


def unrolled(size: int) -> Any:
    """Give a sequence whose length kernels know when they are compiled, if it is a short one.

    Loops over its length become straight code, in a kernel for each of these lengths.

    Example:
        >>> unrolled(3), unrolled(9).size
        ((0, 1, 2), 9)
    """
    return tuple(range(size)) if size <= FEW else np.arange(size)
