"""Exact questions put to each of many regions: which rows are facets, where is a function least.

Each region is visited by following its decisions with the dictionary of method "simplex"; what is
asked is then a few pivots away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import borrowing, borrowing_entry
from byways.regions._dictionary import copy_dictionary, descend, express, pivot, ratio_test
from byways.regions._engine import Order
from byways.regions._net import Net
from byways.regions._simplex import arrive, follow, meet
from byways.regions._tree import AGE, CURRENT, FORCED, LEVEL, PENDING, SIZE, STOP, plant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._problem import Problem

    Array = NDArray[np.float64]
    Bits = NDArray[np.uint8]

__all__ = ["facets", "minima"]

_UNBOUNDED = 1e300
_COINCIDENT = 1e-9


def facets(problem: Problem, bits: Bits, tolerance: float) -> tuple[Bits, NDArray[np.bool_]]:
    """Tell which decisions' hyperplanes carry a facet of each region.

    Args:
        problem: The problem.
        bits: Decision bits of regions, shape ``(n, decisions)``.
        tolerance: A row is a facet if the region without it reaches this far beyond it.

    Returns:
        1 for a facet, same shape; and for each region whether it is *plain*: no two of its rows
        coincide and none vanishes. Where rows coincide none of them is reported as a facet.
    """
    tree = plant(problem, Order(np.zeros(problem.decisions, dtype=np.uint8)))
    result, plain = np.zeros_like(bits), np.zeros(len(bits), dtype=np.bool_)
    _facets(Net.of(problem), tree, np.ascontiguousarray(bits), tolerance, result, plain)
    return result, plain


def minima(problem: Problem, bits: Bits, rows: Array, tolerance: float) -> tuple[Array, Array]:
    """Find the least value of an affine function on the closure of each region.

    Args:
        problem: The problem.
        bits: Decision bits of regions, shape ``(n, decisions)``.
        rows: One function per region, shape ``(n, d + 1)``.
        tolerance: As for the enumeration.

    Returns:
        Values ``(n,)``, -inf where the function is unbounded, and places ``(n, d)``.
    """
    tree = plant(problem, Order(np.zeros(problem.decisions, dtype=np.uint8)))
    values, places = np.empty(len(bits)), np.full((len(bits), problem.dim), np.nan)
    # Scaled like every other row, so that the kernel's idea of "small" fits. The constant is added
    # afterwards: beside small slopes it would be huge.
    length = np.linalg.norm(rows[:, 1:], axis=1)
    scale = np.where(length > 0, length, 1.0)
    unit = np.column_stack([np.zeros(len(rows)), rows[:, 1:] / scale[:, None]])
    _minima(Net.of(problem), tree, np.ascontiguousarray(bits), unit, tolerance, values, places)
    return rows[:, 0] + values * scale, places


@borrowing
def _visit(net, tree, bits, tolerance):
    """Rebuild the dictionary of a region in slot 0; False if the region is not there."""
    m, d = net.domain_rows.shape[0], tree.nonbasic.shape[1]
    tree.cursor[CURRENT], tree.cursor[PENDING] = 0, 0
    tree.cursor[FORCED] = tree.cursor[STOP] = m + bits.size
    tree.frame[0, SIZE], tree.frame[0, LEVEL], tree.frame[0, AGE] = 0, 0, 0
    for c in range(d):
        tree.nonbasic[0, c], tree.flipped[0, c] = c, False
    for k in range(bits.size):
        tree.bits[m + k] = bits[k]
    while True:
        arrive(net, tree, 0)
        level = tree.frame[0, LEVEL]
        if level == m + bits.size:
            return True
        if tree.contest[level] == level:
            meet(net, tree, level)
        if not follow(net.free, tree, 0, level, tolerance):
            return False


@borrowing_entry
def _facets(net, tree, bits, tolerance, result, plain):
    m, d = net.domain_rows.shape[0], tree.nonbasic.shape[1]
    for i in range(bits.shape[0]):
        if not _visit(net, tree, bits[i], tolerance):
            continue
        plain[i] = _rows_differ(tree.rows, m)
        for c in range(d):
            label = tree.nonbasic[0, c]
            if label >= d + m and _bounds_cell(net, tree, label, tolerance):
                result[i, label - d - m] = 1
        for r in range(tree.frame[0, SIZE]):
            label = tree.basic[0, r]
            if label >= d + m and _bounds_cell(net, tree, label, tolerance):
                result[i, label - d - m] = 1


@borrowing
def _rows_differ(rows, first):
    """Tell whether no two rows are equal or opposite, and none is zero."""
    for k in range(first, rows.shape[0]):
        zero, constant = _size(rows, k, 0) == 0.0, _size(rows, k, 1) == 0.0
        if zero:
            return False
        for other in range(first, k):
            if not constant and _coincide(rows, k, other):
                return False
    return True


@borrowing
def _size(rows, k, start):
    size = 0.0
    for c in range(start, rows.shape[1]):
        size = max(size, abs(rows[k, c]))
    return size


@borrowing
def _coincide(rows, k, other):
    """Tell whether two rows are equal or opposite."""
    same, opposite = True, True
    for c in range(rows.shape[1]):
        same &= abs(rows[k, c] - rows[other, c]) <= _COINCIDENT
        opposite &= abs(rows[k, c] + rows[other, c]) <= _COINCIDENT
        if not (same or opposite):
            return False
    return True


@borrowing
def _bounds_cell(net, tree, label, tolerance):
    """Tell whether the cell grows when a slack may become negative; works on a copy in slot 1."""
    d, n = tree.nonbasic.shape[1], tree.frame[0, SIZE]
    t, basic, nonbasic, flipped = tree.t, tree.basic, tree.nonbasic, tree.flipped
    copy_dictionary(t, basic, nonbasic, flipped, 0, 1, n)
    for c in range(d):
        if nonbasic[1, c] == label:
            _, row = ratio_test(t, basic, nonbasic, 1, n, c + 1, net.free)
            if row < 0:  # no other constraint meets this edge: nothing can replace the slack
                return True
            pivot(t, basic, nonbasic, flipped, 1, n, row, c + 1, net.free)
    for r in range(n):
        if basic[1, r] == label:
            last = n - 1  # the slack's row becomes the candidate and stops being a constraint
            for c in range(d + 2):
                value = t[1, c, r]
                t[1, c, r] = t[1, c, last]
                t[1, c, last] = value
            basic[1, r] = basic[1, last]
            column, _ = descend(
                t, basic, nonbasic, flipped, 1, last, net.free, tree.reach, tree.bits, tolerance
            )
            return column > 0
    return False


@borrowing_entry
def _minima(net, tree, bits, rows, tolerance, values, places):
    d = tree.nonbasic.shape[1]
    t, basic, nonbasic, flipped = tree.t, tree.basic, tree.nonbasic, tree.flipped
    for i in range(bits.shape[0]):
        values[i] = np.nan
        if not _visit(net, tree, bits[i], tolerance):
            continue
        n = tree.frame[0, SIZE]
        express(rows, i, t, basic, nonbasic, flipped, 0, n, net.free)
        column, _ = descend(
            t, basic, nonbasic, flipped, 0, n, net.free, tree.reach, tree.bits, _UNBOUNDED
        )
        values[i] = -np.inf if column > 0 else t[0, 0, n]
        for c in range(d):
            label = nonbasic[0, c]
            if label < d:
                places[i, label] = 1.0 if flipped[0, c] and not net.free[label] else 0.0
        for r in range(n):
            if basic[0, r] < d:
                places[i, basic[0, r]] = t[0, 0, r]
