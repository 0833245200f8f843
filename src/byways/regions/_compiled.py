"""How kernels are compiled, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["compiled"]

_F = TypeVar("_F", bound="Callable[..., Any]")


def compiled(function: _F) -> _F:
    """Compile a function on its first call, once per installation, free of the interpreter lock.

    Division follows IEEE 754 instead of raising, which keeps exception paths out of inner loops.
    """
    kernel: Any = njit(cache=True, nogil=True, error_model="numpy")(function)
    return cast("_F", kernel)
