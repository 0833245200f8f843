"""Arithmetic without rounding: floats as rationals, or as integers over a common denominator."""

from __future__ import annotations

import math
from fractions import Fraction
from operator import lshift
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Numbers = NDArray[Any]  # objects: Python's integers, or rationals

__all__ = ["Packing", "homogeneous", "integer_arrays", "integers", "product", "rational"]


def rational(values: Any) -> Numbers:
    """Turn numbers into an array of rationals of the same shape."""
    given = np.asarray(values)
    result = np.empty(given.shape, dtype=object)
    result.reshape(-1)[:] = [Fraction(value) for value in given.ravel().tolist()]
    return result


def integers(numbers: Iterable[Any]) -> tuple[list[int], int]:
    """Multiply floats or rationals by their least common denominator; give that too.

    Example:
        >>> integers([0.5, -3.0, Fraction(1, 3)])
        ([3, -18, 2], 6)
    """
    ratios = [number.as_integer_ratio() for number in numbers]
    common = math.lcm(*{q for _, q in ratios})
    return [p * (common // q) for p, q in ratios], common


def integer_arrays(*arrays: Any) -> tuple[list[Numbers], int]:
    """Do as ``integers`` with several arrays, which keep their shapes.

    Example:
        >>> (whole,), common = integer_arrays([[0.5], [0.75]])
        >>> whole.tolist(), common
        ([[2], [3]], 4)
    """
    given = [np.asarray(array) for array in arrays]
    numbers, common = integers(np.concatenate([array.ravel() for array in given]).tolist())
    flat, result, end = np.array(numbers, dtype=object), [], 0
    for array in given:
        end += array.size
        result.append(flat[end - array.size : end].reshape(array.shape))
    return result, common


def homogeneous(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> Numbers:
    """Give integers that take ``(x, 1)`` to ``(weight @ x + bias, 1)``, times a positive number.

    Example:
        >>> homogeneous(np.array([[3.0, 0.5]]), np.array([0.25])).tolist()
        [[12, 2, 1], [0, 0, 4]]
    """
    last = np.eye(1, weight.shape[1] + 1, weight.shape[1])
    (matrix,), _ = integer_arrays(np.vstack([np.column_stack([weight, bias]), last]))
    return matrix


def product(whole: NDArray[np.float64], matrix: Numbers) -> Numbers:
    """Multiply whole floats by a matrix of integers, exactly and by floating point.

    The integers are cut in pieces so short that sums of products are below ``2**53``. Much faster
    than products of objects, for many rows of small numbers.

    Raises:
        OverflowError: If the floats are too large for that.

    Example:
        >>> product(np.array([[3.0, 1.0]]), np.array([[2**70], [-5]], dtype=object)) - 3 * 2**70
        array([[-5]], dtype=object)
    """
    most = int(np.abs(whole).max(initial=0.0))
    bits = 53 - len(matrix).bit_length() - most.bit_length()
    if bits < 1:
        raise OverflowError(f"{most} times {len(matrix)} numbers may be more than a float holds")
    sizes, signs = np.abs(matrix), np.sign(matrix)
    result = np.zeros((len(whole), matrix.shape[1]), dtype=object)
    for place in range(0, int(sizes.max(initial=0)).bit_length(), bits):
        piece = signs * (sizes >> place & (1 << bits) - 1)
        part = whole @ piece.astype(np.float64)
        result += part.astype(np.int64).astype(object) << place
    return result


class Packing:
    """Affine functions of ``y``, each as one integer whose digits are its coefficients.

    Sums and multiples of functions are those of these integers, at the price of one product instead
    of one per coefficient; a function is zero if and only if its integer is.

    Args:
        dim: Number of coordinates of ``y``; a function has one coefficient more, its constant.
        largest: Bound on the magnitude of all coefficients that are to be read again.

    Example:
        >>> packing = Packing(2, largest=1000)
        >>> f, g = packing.pack(np.array([[1, -2, 5], [0, 3, -9]], dtype=object))
        >>> packing.coefficients(10 * f + g)
        [10, -17, 41]
        >>> packing.highest(10 * f + g)  # for 0 <= y <= 1
        51
    """

    def __init__(self, dim: int, largest: int) -> None:
        self._size = largest.bit_length() // 8 + 1  # bytes, a bit for the sign included
        self._places = range(0, 8 * self._size * (dim + 1), 8 * self._size)
        self._middle = sum(1 << place + 8 * self._size - 1 for place in self._places)

    def pack(self, functions: Numbers) -> Numbers:
        """Write functions, one per row."""
        powers: Numbers = np.array([1 << place for place in self._places], dtype=object)
        return np.asarray(functions @ powers)

    def coefficients(self, function: int) -> list[int]:
        """Read a function."""
        digits = self._digits(function)
        return [self._sum(digits[i : i + 1]) for i in range(len(digits))]

    def highest(self, function: int) -> int:
        """Give the largest value for ``0 <= y <= 1``: the sum of positive slopes and constant."""
        digits = self._digits(function)
        counts = digits[:, -1] >= 128  # is not negative
        counts[-1] = True
        return self._sum(digits[counts])

    def is_constant(self, function: int) -> bool:
        """Tell whether all slopes are zero."""
        return function % (1 << self._places[-1]) == 0

    def _digits(self, function: int) -> NDArray[np.uint8]:
        """Give the bytes of each coefficient, above the least that it might be."""
        data = (function + self._middle).to_bytes(self._size * len(self._places), "little")
        return np.frombuffer(data, np.uint8).reshape(-1, self._size)

    def _sum(self, digits: NDArray[np.uint8]) -> int:
        sums: list[int] = digits.sum(axis=0).tolist()
        total: int = sum(map(lshift, sums, range(0, 8 * self._size, 8)))
        return total - (len(digits) << 8 * self._size - 1)
