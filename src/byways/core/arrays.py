"""Checks at the door for numeric arrays, and freezing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.errors import DomainError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["finite", "frozen"]


def finite(values: ArrayLike, name: str, ndim: int | None = None) -> NDArray[np.float64]:
    """Convert to float64 and refuse what is not a finite real array.

    Args:
        values: Numbers; integers and bools are cast.
        name: The argument's name for messages.
        ndim: Number of axes that it must have, or None for any.

    Returns:
        A C-contiguous float64 array (not necessarily a copy).

    Raises:
        TypeError: If the numbers are complex or not numbers.
        ShapeError: If the number of axes is wrong.
        DomainError: If some are NaN or infinite; says how many and where the first is.
    """
    try:
        given = np.asarray(values)
    except ValueError as error:  # ragged nested lists
        raise ShapeError(f'"{name}" is not a rectangular array: {error}') from error
    if given.dtype.kind not in "biuf":
        raise TypeError(f'"{name}" has dtype {given.dtype}; real numbers are needed')
    array = np.ascontiguousarray(given, dtype=np.float64).reshape(given.shape)
    if ndim is not None and array.ndim != ndim:
        raise ShapeError(f'"{name}" has shape {array.shape}; {ndim} axes are needed')
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DomainError(
            f'"{name}" has {int(bad.sum())} values that are NaN or infinite, the first at index '
            f"{first}: {float(array[first])!r}; finite numbers are needed"
        )
    return array


def frozen(values: ArrayLike, name: str, ndim: int | None = None) -> NDArray[np.float64]:
    """Do as ``finite``, on a copy that nobody can write to."""
    array = finite(values, name, ndim).copy()
    array.setflags(write=False)
    return array
