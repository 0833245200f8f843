"""Rows of a stage in flat arrays, summed up unit by unit while a region's decisions are made.

A stage's rows lie in one run: the constants of all units, then their first coefficients, and so on,
so that loops over units handle several at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._net import Net

    Array = NDArray[np.float64]

__all__ = ["add_units", "begin_sums", "copy_run", "first_rows", "survey", "wider"]


def first_rows(net: Net) -> tuple[Array, float]:
    """Give the rows of the first stage, and the size of the numbers that they were summed from."""
    width = net.unit_start[1]
    weights = net.weights[: net.weight_start[1]].reshape(len(net.inputs), width)
    rows = net.inputs.T @ weights
    rows[0] += net.biases[:width]
    return rows.ravel(), float(np.abs(net.inputs).max(initial=0.0))


def wider(array: NDArray[Any], room: int) -> NDArray[Any]:
    """Copy an array to one whose last axis has at least ``room`` places."""
    if array.shape[-1] >= room:
        return array
    result = np.empty((*array.shape[:-1], room), dtype=array.dtype)
    result[..., : array.shape[-1]] = array
    return result


@njit(cache=True, nogil=True, error_model="numpy")
def copy_run(source, begin, target, at, count):  # type: ignore[no-untyped-def]
    """Copy so many numbers that slices pay, which let several go at a time."""
    given, result = source[begin : begin + count], target[at : at + count]
    for i in range(count):
        result[i] = given[i]


@njit(cache=True, nogil=True, error_model="numpy")
def begin_sums(net, stage, sums):  # type: ignore[no-untyped-def]
    """Begin the rows of a stage with its biases."""
    first, n = net.unit_start[stage], net.unit_start[stage + 1] - net.unit_start[stage]
    copy_run(net.biases, first, sums, 0, n)
    for i in range(n, net.inputs.shape[1] * n):
        sums[i] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def add_units(net, stage, decided, count, word, maps, sums):  # type: ignore[no-untyped-def]
    """Add the shares of units, whose decisions are all made, to the rows of the next stage.

    Returns the largest number among the rows of their values.
    """
    first, width = net.unit_start[stage], net.unit_start[stage + 1] - net.unit_start[stage]
    n, columns = net.unit_start[stage + 2] - net.unit_start[stage + 1], net.inputs.shape[1]
    rows = sums[: columns * n].reshape(columns, n)
    size = 0.0
    for j in range(count):
        unit = decided[j]
        u, segment = unit - first, np.int64(0)
        for k in range(net.unit_decision[unit], net.unit_decision[unit + 1]):
            segment += np.int64((word[k >> 6] >> np.uint64(63 - (k & 63))) & np.uint64(1))
        slope, shift = net.slopes[unit, segment], net.intercepts[unit, segment]
        if slope == 0.0 and shift == 0.0:
            continue
        at = net.weight_start[stage + 1] + u * n
        weights = net.weights[at : at + n]
        for c in range(columns):
            value = slope * maps[columns * first + c * width + u] + shift
            shift = 0.0
            size = max(size, abs(value))
            for i in range(n):
                rows[c, i] += weights[i] * value
    return size


@njit(cache=True, nogil=True, error_model="numpy")
def survey(  # type: ignore[no-untyped-def]
    corners, at, step, dim, k, rows, doubts, tolerance, middle, reach
):
    """Bound every row on the corners' bounding box: its value in the middle, and how far it goes.

    Coordinate ``c`` of the corners begins at ``at + c step``. Most hyperplanes pass far from a
    cell, and this loop runs several rows at a time. Where the middle is farther from a threshold
    than the reach, no rounding matters, whatever the gradient is.
    """
    n, margin = doubts.size, 2 * tolerance + 1e-12
    for i in range(n):
        middle[i] = rows[i]
        reach[i] = 4 * doubts[i]
    for c in range(dim):
        begin = at + c * step
        low = high = corners[begin]
        for v in range(begin + 1, begin + k):
            low, high = min(low, corners[v]), max(high, corners[v])
        centre, half = (low + high) / 2, (high - low) / 2 + margin
        along = rows[(c + 1) * n : (c + 2) * n]
        for i in range(n):
            middle[i] += centre * along[i]
            reach[i] += half * abs(along[i])
