"""Where the largest output of a network changes, exactly, from the polygons of its regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import entry
from byways.regions._outlines import clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["boundary_segments", "classified"]

_NEAR = 1e-9  # distance, in units of the domain's sides, that counts as none
_ROUNDING = 1e-12  # a gradient this much smaller than the numbers it comes from


def boundary_segments(polygons: Sequence[Array], weight: Array, bias: Array) -> Array:
    """Give the line segments on which the largest two outputs tie; for one output, where it is 0.

    On polygon ``i`` the outputs are ``weight[i] x + bias[i]``. A polygon on which the largest two
    are the same function has no segment of its own inside.

    Args:
        polygons: Corners in turn, shapes ``(k, 2)``, in units of about 1.
        weight: Shape ``(n, outputs, 2)``.
        bias: Shape ``(n, outputs)``.

    Returns:
        End points, shape ``(m, 2, 2)``; a segment that two polygons share is given once. Cost: one
        pass over all corners and outputs, and ``outputs^2`` cuts of each polygon with a tie.
    """
    return classified(polygons, weight, bias)[2]


def classified(
    polygons: Sequence[Array], weight: Array, bias: Array
) -> tuple[list[Array], Ints, Array]:
    """Split polygons by their largest output; give pieces, their classes and the tie segments."""
    if weight.shape[1] == 1:  # one output competes with zero
        weight = np.concatenate([np.zeros_like(weight), weight], axis=1)
        bias = np.concatenate([np.zeros_like(bias), bias], axis=1)
    sizes = np.array([len(polygon) for polygon in polygons], dtype=np.int64)
    cell = np.repeat(np.arange(len(sizes)), sizes)
    corners = np.concatenate([np.zeros((0, 2)), *polygons])
    values = (weight[cell] * corners[:, None]).sum(axis=2) + bias[cell]
    starts = np.cumsum(sizes) - sizes
    numbers = values[starts].argmax(axis=1)
    rows = np.arange(len(values))
    lead = values[rows, numbers[cell]]
    values[rows, numbers[cell]] = -np.inf
    gap = np.minimum.reduceat(lead - values.max(axis=1), starts) if len(starts) else lead
    size = np.abs(weight).sum(axis=2).max(axis=1) + np.abs(bias).max(axis=1)
    pieces, classes, ties = [], [], [np.zeros((0, 2, 2))]
    for i in np.flatnonzero(gap <= 2 * _NEAR * size).tolist():
        parts, kinds, segments = _split(polygons[i], weight[i], bias[i])
        pieces += parts
        classes += kinds
        ties.append(segments)
    whole = np.flatnonzero(gap > 2 * _NEAR * size).tolist()
    pieces = [polygons[i] for i in whole] + pieces
    kinds_of_pieces = np.concatenate([numbers[whole], np.array(classes, dtype=np.int64)])
    return pieces, kinds_of_pieces.astype(np.int64), _distinct(np.concatenate(ties))


def _distinct(segments: Array) -> Array:
    """Drop repetitions, whichever end comes first."""
    ends = np.round(segments / _NEAR)
    swapped = (ends[:, 0, 0] > ends[:, 1, 0]) | (
        (ends[:, 0, 0] == ends[:, 1, 0]) & (ends[:, 0, 1] > ends[:, 1, 1])
    )
    ends[swapped] = ends[swapped][:, ::-1]
    _, first = np.unique(ends.reshape(len(ends), 4), axis=0, return_index=True)
    result: Array = segments[np.sort(first)]
    return result


def _split(polygon: Array, weight: Array, bias: Array) -> tuple[list[Array], list[int], Array]:
    """Cut one polygon by its largest output; give pieces, their classes and the ties."""
    outputs = len(bias)
    room = len(polygon) + outputs
    corners, edges = np.empty((outputs, 2 * room)), np.empty((outputs, room), dtype=np.int64)
    counts = np.zeros(outputs, dtype=np.int64)
    _parts(polygon, weight, bias, corners, edges, counts)
    pieces, kinds, ties = [], [], [np.zeros((0, 2, 2))]
    for a in np.flatnonzero(counts):
        k = counts[a]
        piece = np.stack([corners[a, :k], corners[a, room : room + k]], axis=1)
        pieces.append(piece)
        kinds.append(int(a))
        tied = _ties(piece, edges[a, :k], int(a), counts, weight, bias)
        ties.append(np.stack([piece, np.roll(piece, -1, axis=0)], axis=1)[tied])
    return pieces, kinds, np.concatenate(ties)


def _ties(
    piece: Array, edges: Ints, a: int, counts: Ints, weight: Array, bias: Array
) -> NDArray[np.bool_]:
    """Tell which edges of the piece of output ``a`` are ties with another output.

    An edge that came from a cut is a tie and has the other output's piece on its other side, so one
    of the two suffices. The polygon's own edges are ties if the lead is zero at both ends.
    """
    lead = (piece @ (weight[a] - weight).T) + (bias[a] - bias)
    steepness = np.linalg.norm(weight[a] - weight, axis=1)
    lead = lead / np.where(steepness > 0, steepness, 1.0)
    at_zero = np.abs(lead) <= 2 * _NEAR
    at_zero[:, at_zero.all(axis=0)] = False  # the same function, or the output itself
    own = (at_zero & np.roll(at_zero, -1, axis=0)).any(axis=1)
    other = np.maximum(edges, 0)
    tied: NDArray[np.bool_] = np.where(edges >= 0, (a < other) | (counts[other] == 0), own)
    return tied


@entry
def _parts(
    polygon: Array, weight: Array, bias: Array, corners: Array, edges: Ints, counts: Ints
) -> None:
    """Write for each output the part of a polygon where it is largest, the first among equals."""
    outputs, room = edges.shape
    size = np.abs(weight).max() + np.abs(bias).max()
    for a in range(outputs):
        k = polygon.shape[0]
        for i in range(k):
            corners[a, i], corners[a, room + i], edges[a, i] = polygon[i, 0], polygon[i, 1], -1
        for b in range(outputs):
            along, across = weight[a, 0] - weight[b, 0], weight[a, 1] - weight[b, 1]
            constant, gradient = bias[a] - bias[b], np.hypot(along, across)
            if b == a or k == 0:
                continue
            if gradient <= _ROUNDING * size:
                loses = constant < -_ROUNDING * size
                k = 0 if loses or (b < a and constant <= _ROUNDING * size) else k
                continue
            x, y = corners[a, :k], corners[a, room : room + k]
            lead = (constant + along * x + across * y) / gradient
            if lead.max() <= _NEAR and (b < a or lead.min() < -_NEAR):
                k = 0
                continue
            k = clip(corners[a], edges[a], k, constant, along, across, 1.0 / gradient, b, _NEAR)
        counts[a] = k
