"""The changing half of a walk with corners: the current polytope, the path, those put off."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byways.regions._cuts import FACETS
from byways.regions._net import Net
from byways.regions._outlines import domain_outline
from byways.regions._signs import words_for
from byways.regions._sums import first_rows, wider

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._engine import Order
    from byways.regions._problem import Problem

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]

__all__ = ["Ground", "Trail", "grown", "planted"]

# Places in Trail.cursor. The last three say how much room is missing, 0 for enough.
STATE, STAGE, CORNERS, LISTED, DECISION, BASE, PENDING, STORED, LISTS, TESTS, AMBIGUOUS = range(11)
FORCED, STOP, STAGES, NEXT, DIM, PLAIN, DONE, WANT_FLOATS, WANT_INTS, WANT_CORNERS = range(11, 21)
# What the current polytope waits for.
GONE, CUT, ENTERING, HANDED = range(4)
# Places in Trail.numbers: of the walk; of the current polytope.
EXPLORED, MASS, SIZE = range(3)


class Trail(NamedTuple):
    """The changing half of a walk: the current polytope, the path to it, and a stack of others.

    ``polytope`` is laid out as ``_cuts`` says, in two halves, because a cut reads one and writes
    the other; ``masks`` go with them. A pending polytope lies in ``store`` in the same
    form, followed by its ``sums``; its verdicts and masks follow its list in ``lists``.
    """

    polytope: Array  # two halves
    masks: Ints  # two halves: facets through each corner; not used in the plane
    listed: Ints
    verdicts: Ints
    decided: Ints  # units whose share is to be added
    sums: Array  # rows of the next stage so far
    maps: Array  # (d + 1) units: rows of the stages on the path, stage by stage
    middle: Array  # (widest,): bounds of a stage's rows, see survey
    reach: Array
    word: Words  # the path's bits
    source: Words  # (2, room); this and the next five describe a cut
    origin: Words
    target: Words
    share: Array
    row: Array
    spare: Ints
    store: Array
    lists: Ints
    frames: Ints  # (decisions + 1, 6): stage, corners, listed, decision, size of sums, rows
    frame_numbers: Array  # (decisions + 1, 2): mass, size
    counts: Ints
    cursor: Ints
    numbers: Array


_NO_CORNERS = (np.zeros((0, 0)), np.zeros(0, dtype=np.int64))


class Ground(NamedTuple):
    """What all walks over a problem begin with.

    ``simple`` tells whether the domain's corners are known; without it there are none.
    """

    simple: bool
    corners: Array  # (k, d)
    masks: Ints
    rows: Array  # of the first stage
    size: float  # of the numbers that they were summed from
    widest: int

    @classmethod
    @lru_cache(maxsize=4)
    def of(cls, problem: Problem, tolerance: float) -> Ground:
        """Look at a problem; kept between the tasks of a process."""
        net = Net.of(problem)
        found = _domain_corners(net, tolerance)
        corners, masks = _NO_CORNERS if found is None else found
        widths = np.diff(net.unit_start)
        rows, size = first_rows(net) if len(widths) else (np.zeros(0), 0.0)
        widest = int(widths.max(initial=0))
        return cls(found is not None, corners, masks, rows, size, widest)


def _domain_corners(net: Net, tolerance: float) -> tuple[Array, Ints] | None:
    """Give the domain's corners and their facets; no corners if it is empty, None if not simple."""
    dim = net.free.size
    if dim == 2:
        corners, edges = domain_outline(net, tolerance)
        return corners, edges
    sides = (np.arange(1 << dim)[:, None] >> np.arange(dim)) & 1
    corners = sides.astype(np.float64)
    masks = (1 << (2 * np.arange(dim) + sides)).sum(axis=1)
    if 2 * dim + len(net.domain_rows) > FACETS:
        return None
    for r, row in enumerate(net.domain_rows):
        values = row[0] + corners @ row[1:]
        if values.max(initial=-1.0) <= tolerance:
            return _NO_CORNERS
        if values.min() >= -tolerance:
            continue
        if (np.abs(values) <= tolerance).any():
            return None
        above, below = np.flatnonzero(values > 0), np.flatnonzero(values < 0)
        rest = masks[above, None] & ~masks[below]
        i, j = np.nonzero(rest & (rest - 1) == 0)
        a, b = above[i], below[j]
        share = (values[a] / (values[a] - values[b]))[:, None]
        new = corners[a] + share * (corners[b] - corners[a])
        corners = np.concatenate([corners[above], new])
        masks = np.concatenate([masks[above], (masks[a] & masks[b]) | (1 << (2 * dim + r))])
    return corners, masks


def planted(net: Net, ground: Ground, order: Order) -> Trail:
    """Put the domain in the first place."""
    decisions, dim, widest = net.unit.size, net.free.size, ground.widest
    corners, masks, k = ground.corners, ground.masks, len(ground.corners)
    cursor = _cursor(net, order, k)
    sums, size = np.zeros((dim + 1) * widest), 0.0
    if cursor[STAGES]:
        sums[: ground.rows.size], size = ground.rows, ground.size
    polytope = np.empty(2 * (dim * k + 256))
    polytope[: dim * k] = corners.T.ravel()
    room = 256 + (dim + 2) * k
    facets = np.zeros(2 * room, dtype=np.int64)
    facets[:k] = masks
    return Trail(
        polytope=polytope,
        masks=facets,
        listed=np.zeros(decisions + 1, dtype=np.int64),
        verdicts=np.empty(decisions + 1, dtype=np.int64),
        decided=np.empty(widest + 1, dtype=np.int64),
        sums=sums,
        maps=np.empty((dim + 1) * int(net.unit_start[-1])),
        middle=np.empty(widest),
        reach=np.empty(widest),
        word=np.zeros(words_for(decisions), dtype=np.uint64),
        source=np.empty((2, room), dtype=np.uint64),
        origin=np.empty(room, dtype=np.uint64),
        target=np.empty(room, dtype=np.uint64),
        share=np.empty(room),
        row=np.empty(room),
        spare=np.empty(room, dtype=np.int64),
        store=np.empty(4096),
        lists=np.empty(1024, dtype=np.int64),
        frames=np.empty((decisions + 1, 6), dtype=np.int64),
        frame_numbers=np.empty((decisions + 1, 2)),
        counts=np.zeros(len(net.decision_start) - 1, dtype=np.int64),
        cursor=cursor,
        numbers=np.array([0.0 if k else 1.0, 1.0, size]),
    )


def grown(trail: Trail) -> Trail:
    """Give a walk the room that it asked for, and as much again."""
    floats, ints, corners = (2 * int(want) for want in trail.cursor[WANT_FLOATS:])
    trail.cursor[WANT_FLOATS:] = 0
    if trail.cursor[BASE]:  # the second half begins elsewhere now
        trail.cursor[BASE] = max(floats, trail.polytope.size // 2)
    names = ("source", "origin", "target", "share", "row", "spare")
    return trail._replace(
        polytope=wider(trail.polytope.reshape(2, -1), floats).ravel(),
        masks=wider(trail.masks.reshape(2, -1), corners).ravel(),
        store=wider(trail.store, floats),
        lists=wider(trail.lists, ints),
        **{name: wider(getattr(trail, name), corners) for name in names},
    )


def _cursor(net: Net, order: Order, k: int) -> Ints:
    """Say where the walk is before its first step."""
    decisions = net.unit.size
    cursor = np.zeros(21, dtype=np.int64)
    cursor[CORNERS], cursor[FORCED], cursor[DIM] = k, len(order.prefix), net.free.size
    cursor[STOP] = decisions if order.stop is None else order.stop
    cursor[STAGES] = np.count_nonzero(net.decision_start[:-1] < cursor[STOP])
    cursor[PLAIN] = not order.witnesses  # nobody asks where the last stage's cells are
    cursor[STATE] = ENTERING if cursor[STAGES] else CUT
    if k == 0:
        cursor[STATE] = GONE
    return cursor
