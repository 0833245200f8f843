"""Networks of maxima, by other means: one program per choice of winners, orders, nearest points."""

from __future__ import annotations

import itertools
from math import comb
from typing import Any

import numpy as np

from tests.oracles.patterns import TOLERANCE, Row, margin

Window = tuple[int, ...]


def winners_by_lp(
    layers: list[tuple[Any, Any, list[Window]]], box: Any
) -> set[tuple[tuple[int, ...], ...]]:
    """List which entries of which windows are the largest together somewhere.

    A layer is ``(W, b, windows)``: its units are the maxima of ``W x + b`` over the windows. For
    each region the winners of each layer are given. One linear program per choice of winners.
    """
    size = np.asarray(layers[0][0]).shape[1]
    cells: list[Any] = [((), [], np.eye(size), np.zeros(size))]
    for weight, bias, windows in layers:
        cells = [after for cell in cells for after in _below(cell, weight, bias, windows, box)]
    return {cell[0] for cell in cells}


def _below(cell: Any, weight: Any, bias: Any, windows: list[Window], box: Any) -> list[Any]:
    chosen, rows, A, c = cell
    P, q = np.asarray(weight) @ A, np.asarray(weight) @ c + np.asarray(bias)
    found: list[tuple[tuple[int, ...], list[Row]]] = [((), rows)]
    for window in windows:
        found = [
            ((*choice, place), known + _largest(P, q, window, place))
            for choice, known in found
            for place in range(len(window))
            if margin(known + _largest(P, q, window, place), box) > TOLERANCE
        ]
    return [((*chosen, choice), known, *_taken(P, q, windows, choice)) for choice, known in found]


def _largest(P: np.ndarray, q: np.ndarray, window: Window, place: int) -> list[Row]:
    best = window[place]
    return [(P[best] - P[i], q[best] - q[i]) for i in window if i != best]


def _taken(
    P: np.ndarray, q: np.ndarray, windows: list[Window], choice: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    best = [window[place] for window, place in zip(windows, choice, strict=True)]
    return P[best], q[best]


def winners_of_orders(n: int, layers: list[list[Window]]) -> tuple[np.ndarray, np.ndarray]:
    """List the winners of windows of n different numbers, layer upon layer, for all n! orders.

    Of equal numbers, which are one and the same number here, the first wins. Gives the distinct
    rows of winners and how many orders have each: in the unit cube all orders have one volume.
    """
    values, found = np.array(list(itertools.permutations(range(n)))), []
    for windows in layers:
        parts = [values[:, list(window)] for window in windows]
        found += [part.argmax(axis=1) for part in parts]
        values = np.stack([part.max(axis=1) for part in parts], axis=1)
    rows, counts = np.unique(np.stack(found, axis=1), axis=0, return_counts=True)
    return rows, counts


def nearest(points: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give affine functions of which the largest is that of the nearest point.

    ``|x|^2 - |x - p|^2 = 2 p.x - |p|^2``: a maximum of them has a Voronoi cell for each point.
    """
    points = np.asarray(points, dtype=float)
    return 2 * points, -(points**2).sum(axis=1)


def most_maxout_regions(dim: int, units: int, rank: int) -> int:
    """Bound the regions of one layer of maxima of ``rank`` affine functions.

    Montúfar, Ren, Zhang (2022), "Sharp bounds for the number of regions of maxout networks and
    vertices of Minkowski sums": the largest number there is.
    """
    return sum(comb(units, j) * (rank - 1) ** j for j in range(min(dim, units) + 1))
