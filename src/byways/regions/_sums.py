"""Rows of a stage in flat arrays, summed up unit by unit while a region's decisions are made.

A stage's rows lie in one run: the constants of all units, then their first coefficients, and so on,
so that loops over units handle several at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.compiled import melted

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


# Unsigned indices below need no test for Python's negative ones, so that loops run several numbers
# at a time without slices, each of which counts references.


@melted
def copy_run(source, begin, target, at, count):
    """Copy a run of numbers."""
    here, there = np.uint64(begin), np.uint64(at)
    for i in range(np.uint64(count)):
        target[there + i] = source[here + i]


@melted
def begin_sums(biases, first, n, columns, sums):
    """Begin the rows of a stage, whose ``n`` units are numbered from ``first``, with its biases."""
    copy_run(biases, first, sums, 0, n)
    for i in range(np.uint64(n), np.uint64(columns * n)):
        sums[i] = 0.0


@melted
def add_units(
    unit_start, weight_start, weights, unit_decision, slopes, intercepts,
    stage, columns, decided, count, word, maps, sums,
):  # fmt: skip
    """Add the shares of units, whose decisions are all made, to the rows of the next stage.

    Returns the largest number among the rows of their values.
    """
    first, width = unit_start[stage], unit_start[stage + 1] - unit_start[stage]
    n, size = np.uint64(unit_start[stage + 2] - unit_start[stage + 1]), 0.0
    for j in range(count):
        unit = decided[j]
        u, segment = unit - first, np.int64(0)
        for k in range(unit_decision[unit], unit_decision[unit + 1]):
            segment += np.int64((word[k >> 6] >> np.uint64(63 - (k & 63))) & np.uint64(1))
        slope, shift = slopes[unit, segment], intercepts[unit, segment]
        if slope == 0.0 and shift == 0.0:
            continue
        at, to = np.uint64(weight_start[stage + 1]) + np.uint64(u) * n, np.uint64(0)
        for c in range(columns):
            value = slope * maps[columns * first + c * width + u] + shift
            shift = 0.0
            size = max(size, abs(value))
            for i in range(n):
                sums[to + i] += weights[at + i] * value
            to += n
    return size


@melted
def survey(corners, at, step, dim, k, rows, first, n, sizes, unit, doubt, tolerance, middle, reach):
    """Bound every row on the corners' bounding box: its value in the middle, and how far it goes.

    Coordinate ``c`` of the corners begins at ``at + c step``; the ``n`` units' rows begin at
    ``first``, and rounding of unit i is at most ``doubt sizes[unit + i]``. Most hyperplanes pass
    far from a cell, and this loop runs several rows at a time. Where the middle is farther from a
    threshold than the reach, no rounding matters, whatever the gradient is.
    """
    margin, here = 2 * tolerance + 1e-12, np.uint64(first)
    for i in range(np.uint64(n)):
        middle[i] = rows[here + i]
        reach[i] = 4 * doubt * sizes[np.uint64(unit) + i]
    for c in range(dim):
        begin = at + c * step
        low = high = corners[begin]
        for v in range(begin + 1, begin + k):
            low, high = min(low, corners[v]), max(high, corners[v])
        centre, half = (low + high) / 2, (high - low) / 2 + margin
        here = np.uint64(first) + np.uint64((c + 1) * n)
        for i in range(np.uint64(n)):
            middle[i] += centre * rows[here + i]
            reach[i] += half * abs(rows[here + i])
