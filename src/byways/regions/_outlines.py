"""Polygons of cells with two coordinates: corners, edges, areas, from sign vectors.

Cells are cut out of the domain again, one decision after another, so a saved list of sign vectors
is enough for a picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byways.core.compiled import compiled, entry
from byways.regions._net import Net
from byways.regions._problem import NEGLIGIBLE
from byways.regions._sums import add_units, begin_sums, first_rows, survey, wider

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._problem import Problem

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]

__all__ = ["Outlines", "clip", "domain_outline", "outlines", "polygons"]


class Outlines(NamedTuple):
    """The polygons of a list of cells, end to end.

    Corners of cell ``i`` are ``corners[starts[i] : starts[i + 1]]``, counter-clockwise, in engine
    coordinates. ``edges`` tells for each corner what lies on the edge to the next one: the number
    of a decision; or, on the domain's own outline, -1, -2, -3, -4 for the lower, right, upper and
    left side of the box and ``-5 - r`` for domain row ``r``. Of several lines on one edge, the
    first decision is given.
    """

    starts: Ints
    corners: Array
    edges: Ints

    def polygons(self) -> list[Array]:
        """Give one array ``(corners, 2)`` per cell."""
        return np.split(self.corners, self.starts[1:-1]) if len(self.starts) > 1 else []

    def following(self) -> Ints:
        """Give for each corner the place of the next corner of its polygon."""
        places = np.arange(1, len(self.corners) + 1)
        places[self.starts[1:] - 1] = self.starts[:-1]
        return places

    def areas(self) -> Array:
        """Give the area of each polygon, by the shoelace formula about its first corner."""
        if len(self.starts) == 1:
            return np.zeros(0)
        base = np.repeat(self.corners[self.starts[:-1]], np.diff(self.starts), axis=0)
        x, y = (self.corners - base).T  # small numbers: thin cells keep their digits
        after = self.following()
        return np.add.reduceat(x * y[after] - y * x[after], self.starts[:-1]) / 2.0


def polygons(problem: Problem, words: Words) -> list[Array]:
    """Give the polygon of each sign vector, see ``Outlines``."""
    return outlines(problem, words).polygons()


def outlines(
    problem: Problem, words: Words, *, stop: int | None = None, tolerance: float = 1e-9
) -> Outlines:
    """Cut the polygon of each sign vector out of the domain.

    Stages that neighbours in the list agree on are not repeated, so sorted lists are fastest.

    Args:
        problem: Network and domain; the domain has two bounded coordinates.
        words: Packed decisions of cells that exist, shape ``(n, words)``.
        stop: Number of decisions to heed, None for all.
        tolerance: As in the walk that found the cells.

    Returns:
        The polygons in the order of ``words``.
    """
    net = Net.of(problem)
    corners, edges = domain_outline(net, tolerance)
    end = problem.decisions if stop is None else stop
    stages = int(np.count_nonzero(net.decision_start[:-1] < end))
    k, room = len(corners), len(corners) + problem.decisions + 2
    widest = int(np.diff(net.unit_start).max(initial=0))
    path = Path(
        corners=np.empty((stages + 1, 2 * room)),
        edges=np.empty((stages + 1, room), dtype=np.int64),
        counts=np.full(stages + 1, k),
        sizes=np.zeros(stages + 1),
        maps=np.empty(3 * int(net.unit_start[-1])),
        units=np.arange(net.unit_start[-1]),
        scratch=np.empty((2, widest)),
        window=problem.windows,
    )
    path.corners[0, :k], path.corners[0, room : room + k], path.edges[0, :k] = *corners.T, edges
    if stages:
        path.maps[: 3 * net.unit_start[1]], path.sizes[0] = first_rows(net)
    given = np.ascontiguousarray(words)
    starts = np.zeros(len(words) + 1, dtype=np.int64)
    points, labels = np.empty((2, 6 * len(words) + room)), np.empty(0, dtype=np.int64)
    cell = 0
    while True:
        labels = wider(labels, points.shape[1])
        cell = _replay(net, path, given, end, cell, starts, points, labels, tolerance)
        if cell == len(words):
            break
        points = wider(points, 2 * points.shape[1])
    used = int(starts[-1])
    return Outlines(starts, np.ascontiguousarray(points[:, :used].T), labels[:used].copy())


class Path(NamedTuple):
    """What the replay knows of the last cell: the outline on which each stage began, and rows."""

    corners: Array  # (stages + 1, 2 room): abscissae, then ordinates
    edges: Ints
    counts: Ints
    sizes: Array
    maps: Array
    units: Ints
    scratch: Array
    window: Ints


def domain_outline(net: Net, tolerance: float) -> tuple[Array, Ints]:
    """Give corners and edge labels of the unit square inside the domain's rows; maybe none."""
    room = 4 + len(net.domain_rows)
    corners, edges, k = np.zeros(2 * room), np.zeros(room, dtype=np.int64), 4
    corners[1:3] = corners[room + 2 : room + 4] = 1.0
    edges[:4] = [-1, -2, -3, -4]
    for r, row in enumerate(net.domain_rows):
        if not row[1:].any():
            k = k if row[0] >= 0 else 0
            continue
        values = row[0] + row[1] * corners[:k] + row[2] * corners[room : room + k]
        k = k if values.max(initial=-1.0) > tolerance else 0
        if k:
            k = clip(corners, edges, k, row[0], row[1], row[2], 1.0, -5 - r, tolerance)
    return np.stack([corners[:k], corners[room : room + k]], axis=1), edges[:k]


# sizes: kernel, one pass over the corners that writes while it reads
@entry
def clip(
    corners: Array,
    edges: Ints,
    k: int,
    constant: float,
    along: float,
    across: float,
    sign: float,
    label: int,
    tolerance: float,
) -> int:
    """Cut a polygon in place and keep one side of a line, if both are there; return its size."""
    room = edges.size
    x, y = corners[:room], corners[room:]
    values = np.empty(k)
    for i in range(k):
        values[i] = sign * (constant + along * x[i] + across * y[i])
    if values.min() >= -tolerance or values.max() <= tolerance:
        return k
    old_x, old_y, old_edges = x[:k].copy(), y[:k].copy(), edges[:k].copy()
    n = 0
    for i in range(k):
        j = i + 1 if i + 1 < k else 0
        here, there = values[i], values[j]
        if here >= -tolerance:
            x[n], y[n], edges[n] = old_x[i], old_y[i], old_edges[i]
            if here <= tolerance and there < -tolerance:
                edges[n] = label
            n += 1
        if (here > tolerance and there < -tolerance) or (here < -tolerance and there > tolerance):
            t = here / (here - there)
            x[n] = old_x[i] + t * (old_x[j] - old_x[i])
            y[n] = old_y[i] + t * (old_y[j] - old_y[i])
            edges[n] = label if here > 0.0 else old_edges[i]
            n += 1
    return n


@compiled
def _agreement(net, words, cell):
    """Count the stages on which a cell agrees with the one before."""
    for i in range(words.shape[1]):
        different = words[cell, i] ^ words[cell - 1, i]
        if different:
            first = 64 * i
            while not (different >> np.uint64(63)) & np.uint64(1):
                different <<= np.uint64(1)
                first += 1
            return np.searchsorted(net.decision_start, first, side="right") - 1
    return net.decision_start.size - 1


@compiled
def _bit(word, d):
    return (word[d >> 6] >> np.uint64(63 - (d & 63))) & np.uint64(1)


@compiled
def _winner(start, end, word):
    """Give the decision of a window that was answered with 1, or -1; -1 too for one on its own."""
    if end - start > 1:
        for d in range(start, end):
            if _bit(word, d):
                return d
    return -1


# sizes: kernel, one pass over the decisions of a stage that shares a dozen numbers
@compiled
def _replay_stage(net, path, word, stage, end, tolerance):
    """Cut the outline on which a stage begins; prepare the next stage."""
    k, room = path.counts[stage], path.edges.shape[1]
    corners, edges = path.corners[stage + 1], path.edges[stage + 1]
    for i in range(k):
        corners[i], corners[room + i] = path.corners[stage, i], path.corners[stage, room + i]
        edges[i] = path.edges[stage, i]
    first, width = net.unit_start[stage], net.unit_start[stage + 1] - net.unit_start[stage]
    rows = path.maps[3 * first : 3 * (first + width)]
    doubt = NEGLIGIBLE * path.sizes[stage]
    middle, reach = path.scratch[0], path.scratch[1]
    survey(
        corners, 0, room, 2, k, path.maps, 3 * first, width, net.weight_size, first, doubt,
        tolerance, middle, reach,
    )  # fmt: skip
    for d in range(net.decision_start[stage], min(net.decision_start[stage + 1], end)):
        u, threshold = net.unit[d] - first, net.threshold[d]
        level, along, across = rows[u] - threshold, rows[width + u], rows[2 * width + u]
        least, noise = abs(middle[u] - threshold) - reach[u], doubt * net.weight_size[first + u]
        winner = _winner(path.window[d, 0], path.window[d, 1], word)
        if winner >= 0 and winner != d:
            v, least = net.unit[winner] - first, -1.0
            level, along, across = (
                level - rows[v],
                along - rows[width + v],
                across - rows[2 * width + v],
            )
            noise += doubt * net.weight_size[first + v]
        gradient = np.hypot(along, across)
        if least > 0.0 or gradient <= noise:
            continue
        sign = (1.0 if _bit(word, d) else -1.0) / gradient
        k = clip(corners, edges, k, level, along, across, sign, d, tolerance)
    path.counts[stage + 1] = k
    if net.decision_start[stage + 1] < end:
        after = net.unit_start[stage + 2]
        sums = path.maps[3 * (first + width) : 3 * after]
        begin_sums(net.biases, first + width, after - first - width, 3, sums)
        path.sizes[stage + 1] = add_units(
            net.unit_start, net.weight_start, net.weights, net.unit_decision, net.slopes,
            net.intercepts, stage, 3, path.units[first:], width, word, path.maps, sums,
        )  # fmt: skip


@entry
def _replay(net, path, words, end, cell, starts, points, labels, tolerance):
    """Write outlines until the room is used up; return the number of the next cell."""
    begin = cell
    stages = path.counts.size - 1
    while cell < words.shape[0]:
        stage = 0 if cell == begin else _agreement(net, words, cell)
        while stage < stages:
            _replay_stage(net, path, words[cell], stage, end, tolerance)
            stage += 1
        k, room, at = path.counts[stages], path.edges.shape[1], starts[cell]
        if at + k > labels.size:
            break
        starts[cell + 1] = at + k
        for i in range(k):
            points[0, at + i] = path.corners[stages, i]
            points[1, at + i] = path.corners[stages, room + i]
            labels[at + i] = path.edges[stages, i]
        cell += 1
    return cell
