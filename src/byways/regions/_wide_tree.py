"""The changing half of a walk over a wide problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byways.regions._wide_oracle import Curvature

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._engine import Order
    from byways.regions._problem import Problem
    from byways.regions._wide_space import Space

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]

__all__ = ["WideTree", "plant"]

# Places in WideTree.cursor, .frame, .stack and .number.
(
    CURRENT, PENDING, SPARE, FORCED, STOP, NODES, PIVOTS, AMBIGUOUS, COLUMNS, CUTS, ASK, PROGRAMS,
    ORACLE, ROOT, OWN_PROGRAMS, STARTS,
) = range(16)  # fmt: skip
SIZE, LEVEL, BIT, AGE, CERTIFICATE, STAGE, CUTS_BELOW, WARM = range(8)
TO_VISIT, UNUSED = range(2)
EXPLORED, CEILING = range(2)

# What shows that a node is alive. Nothing yet: the given prefix is taken for granted.
GRANTED, AT_VERTEX, BY_WITNESS, UNRESOLVED, DEAD = range(5)
# What is asked of the caller.
NOTHING, ALIVE, POINT = range(3)

MOST_CUTS = 192
CUTS_ON_A_PATH = 96
MOST_STARTS = 64


class Program(NamedTuple):
    """Room for the program of ``_wide_program``: rows of a node, and a basis."""

    R: Array
    base: Array
    value: Array  # of the rows, less the depth
    size: Array  # of the steps that would mend them
    trial: Array
    line: Array  # by basic column, then by row
    share: Array  # multipliers of the active rows
    active: Ints
    basic: Ints
    inverse: Array  # and behind it room for the elimination
    right: Array
    move: Array
    step: Array
    fall: Array
    ratio: Array
    order: Ints


class Starts(NamedTuple):
    """The latest answers of the oracle in the root's cell, and its curvature there."""

    u: Array
    s: Array
    z: Array
    cost: Array  # the sums of H
    total: Array
    inside: Words


class WideTree(NamedTuple):
    """A pool of dictionaries, the path to the current node, and room for the oracle.

    Labels: coordinates from 0, decisions from ``rank`` on, cuts behind them. ``origin`` holds all
    of them as functions of the coordinates, valid on the path.
    """

    t: Array  # (slots, rows, columns)
    basic: Ints
    nonbasic: Ints
    frame: Ints
    mass: Array
    pull: Array  # (slots, rows of W): the oracle's u behind each witness
    seen: Array  # (slots, rank): each witness in coordinates
    stack: Ints
    bits: NDArray[np.uint8]  # the path, the whole prefix included
    prefix: NDArray[np.uint8]
    origin: Array
    maps: Array  # (1 + rank, units)
    settled: NDArray[np.int8]
    counts: Ints
    cursor: Ints
    number: Array
    column: Ints  # basis row of each coordinate
    base: Array  # z = base + scale y' for each coordinate
    scale: Array
    gram: Array  # of the coordinates, over inputs
    varying: Ints  # first-layer decisions that tell the roots apart
    negative: NDArray[np.bool_]  # basis rows of which only z <= 0 is asked
    point: Array  # of the cell, in coordinates
    push: Array
    target: Array
    z: Array
    u: Array
    du: Array
    trial: Array
    s: Array
    delta: Array
    ds: Array
    curvature: Curvature
    other_curvature: Curvature  # for the table, so that nothing hangs on who filled it
    starts: Starts
    system: Array
    place: Ints
    free: NDArray[np.bool_]  # no rows
    program: Program


def plant(problem: Problem, order: Order, space: Space) -> WideTree:
    """Make room; the first root is planted by the kernel."""
    k, r, (w, n) = problem.decisions, space.rank, space.W.shape
    slots = k + 3
    free = np.flatnonzero(space.settled < 0) if space.apex else np.zeros(0, dtype=np.int64)
    columns = -(-(r + 1) // 8) * 8
    room = 2 + r + k + CUTS_ON_A_PATH
    cursor = _cursor(order, slots, k, space)
    stack = np.empty((2, slots), dtype=np.int64)
    stack[UNUSED] = np.arange(slots - 1, -1, -1)
    settled = np.full(k, -1, dtype=np.int8)
    settled[: len(space.settled)] = space.settled
    prefix = np.zeros(k, dtype=np.uint8)
    prefix[: len(order.prefix)] = order.prefix
    return WideTree(
        t=np.zeros((slots, room, columns)),
        basic=np.full((slots, room), -1, dtype=np.int64),
        nonbasic=np.zeros((slots, max(r, 1)), dtype=np.int64),
        frame=np.zeros((slots, 8), dtype=np.int64),
        mass=np.zeros(slots),
        pull=np.zeros((slots, w)),
        seen=np.zeros((slots, max(r, 1))),
        stack=stack,
        bits=np.zeros(k, dtype=np.uint8),
        prefix=prefix,
        origin=np.zeros((r + k + MOST_CUTS, columns)),
        maps=np.zeros((1 + r, sum(len(stage.bias) for stage in problem.stages))),
        settled=settled,
        counts=np.zeros(len(problem.stages), dtype=np.int64),
        cursor=cursor,
        number=np.zeros(2),
        column=np.zeros(r, dtype=np.int64),
        base=np.zeros(r),
        scale=np.zeros(r),
        gram=np.zeros((r, r)),
        varying=free[(free >= cursor[FORCED]) & (free < cursor[STOP])].astype(np.int64),
        negative=np.zeros(w, dtype=np.bool_),
        **_workspace(space.W, r, room),
        program=_program(w, n, r + k),
    )


def _cursor(order: Order, slots: int, k: int, space: Space) -> Ints:
    """Start where nothing is planted yet."""
    cursor = np.zeros(16, dtype=np.int64)
    cursor[SPARE] = slots
    cursor[CURRENT] = -1
    cursor[FORCED] = len(order.prefix)
    cursor[STOP] = k if order.stop is None else order.stop
    cursor[AMBIGUOUS] = 0 if len(order.prefix) else space.doubts
    return cursor


def _workspace(W: Array, r: int, room: int) -> dict[str, Any]:
    """Make room for the oracle."""
    w, n = W.shape
    return {
        "curvature": Curvature.of(W),
        "other_curvature": Curvature.of(W),
        "point": np.zeros(r),
        "push": np.zeros(room + w),
        "target": np.zeros(w),
        "z": np.zeros(w),
        "u": np.zeros(w),
        "du": np.zeros(w),
        "trial": np.zeros(w),
        "s": np.zeros(n),
        "delta": np.zeros(n),
        "ds": np.zeros(n),
        "starts": Starts(
            u=np.zeros((MOST_STARTS, w)),
            s=np.zeros((MOST_STARTS, n)),
            z=np.zeros((MOST_STARTS, w)),
            cost=np.zeros(MOST_STARTS),
            total=np.zeros((MOST_STARTS, w, w)),
            inside=np.zeros((MOST_STARTS, n // 8), dtype=np.uint64),
        ),
        "system": np.zeros((r + 1, 2 * r + 2)),
        "place": np.zeros(n + 2 * w, dtype=np.int64),
        "free": np.zeros(w, dtype=np.bool_),
    }


def _program(w: int, n: int, rows: int) -> Program:
    """Make room for programs of so many rows."""
    return Program(
        R=np.zeros((rows, w)),
        base=np.zeros(rows),
        value=np.zeros(rows),
        size=np.zeros(rows),
        trial=np.zeros(rows),
        line=np.zeros((w + 2, rows)),
        share=np.zeros(w + 2),
        active=np.zeros(w + 2, dtype=np.int64),
        basic=np.zeros(w + 2, dtype=np.int64),
        inverse=np.zeros((w + 2, 2 * w + 4)),
        right=np.zeros(w + 2),
        move=np.zeros(w + 2),
        step=np.zeros(n),
        fall=np.zeros(n),
        ratio=np.zeros(n),
        order=np.zeros(n, dtype=np.int64),
    )
