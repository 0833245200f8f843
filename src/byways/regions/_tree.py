"""The changing half of a walk with dictionaries: their pool, and the path to the current node."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byways.regions._dictionary import ROWS_AT_ONCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._engine import Order
    from byways.regions._problem import Problem

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Tree", "drop_oldest", "plant"]

# Places in Tree.cursor, in a row of Tree.frame and in Tree.stack.
CURRENT, PENDING, SPARE, FORCED, STOP, NODES, PIVOTS, AMBIGUOUS = range(8)
SIZE, LEVEL, BIT, AGE = range(4)
TO_VISIT, UNUSED = range(2)


class Tree(NamedTuple):
    """A pool of dictionaries and the path to the current node.

    Constraints are numbered: first the ``m`` rows of the domain, then the decisions. The label of a
    constraint's slack is ``d`` plus its number. A dictionary's frame holds its number of rows, the
    number of its next constraint, the side it took of the one before, and the pivots behind it.
    After a window of several decisions the side is the number of the entry that wins.
    """

    t: Array  # (slots + 1, d + 2, constraints + 2 or more), see _dictionary
    basic: Ints
    nonbasic: Ints
    flipped: NDArray[np.bool_]
    frame: Ints
    mass: Array  # share of the tree below each dictionary
    stack: Ints  # slots to visit, and unused ones
    bits: NDArray[np.uint8]  # the path
    rows: Array  # of all constraints, valid on the path
    reach: Array  # (2, constraints): the most that a row can be in the box, negated and as it is
    maps: Array  # (d + 1, units): pre-activations of all units, valid on the path
    settled: NDArray[np.int8]  # bit of a constraint that misses its stage's cell, else -1
    counts: Ints  # completed cells per stage
    cursor: Ints
    explored: Array
    window: Ints  # (constraints, 2): begin and end of those that are decided together
    contest: Ints  # per constraint, and behind the last: where the next window of several begins
    sizes: Array  # per stage: of the numbers that its rows were summed from


def plant(problem: Problem, order: Order) -> Tree:
    """Make the pool and put the domain's corner ``s = 0`` in its first dictionary."""
    d, m, k = problem.dim, len(problem.domain_rows), problem.decisions
    slots = m + k + 2
    cursor = np.zeros(8, dtype=np.int64)
    cursor[SPARE] = slots - 1
    cursor[FORCED] = m + len(order.prefix)
    cursor[STOP] = m + (k if order.stop is None else order.stop)
    bits = np.zeros(m + k, dtype=np.uint8)
    bits[:m] = 1
    bits[m : cursor[FORCED]] = order.prefix
    rows = np.zeros((m + k, d + 1))
    rows[:m] = problem.domain_rows
    stack = np.empty((2, slots), dtype=np.int64)
    stack[UNUSED] = np.arange(slots - 1, -1, -1)
    nonbasic = np.empty((slots, d), dtype=np.int64)
    nonbasic[0] = np.arange(d)
    window, contest = _windows(problem)
    # np.zeros commits memory only where it is written: deep slots cost nothing until reached.
    return Tree(
        t=np.zeros((slots + 1, d + 2, -(-(slots + 1) // ROWS_AT_ONCE) * ROWS_AT_ONCE)),
        basic=np.empty((slots, slots + 1), dtype=np.int64),
        nonbasic=nonbasic,
        flipped=np.zeros((slots, d), dtype=np.bool_),
        frame=np.zeros((slots, 4), dtype=np.int64),
        mass=np.ones(slots),
        stack=stack,
        bits=bits,
        rows=rows,
        reach=_reach(rows),
        maps=np.zeros((d + 1, sum(len(stage.bias) for stage in problem.stages))),
        settled=np.full(m + k, -1, dtype=np.int8),
        counts=np.zeros(len(problem.stages), dtype=np.int64),
        cursor=cursor,
        explored=np.zeros(1),
        window=window,
        contest=contest,
        sizes=np.zeros(len(problem.stages)),
    )


def _windows(problem: Problem) -> tuple[Ints, Ints]:
    """Tell which constraints are decided together, and where the next several of them begin."""
    m, end = len(problem.domain_rows), len(problem.domain_rows) + problem.decisions
    alone = np.arange(m, dtype=np.int64)[:, None] + np.array([0, 1])
    window = np.concatenate([alone, problem.windows + m])
    several = window[window[:, 1] - window[:, 0] > 1, 0]
    contest = np.full(end + 1, end + 1)
    contest[several] = several
    return window, np.minimum.accumulate(contest[::-1])[::-1].copy()


def _reach(rows: Array) -> Array:
    """Bound rows on the box."""
    most = [side * rows[:, 0] + np.maximum(side * rows[:, 1:], 0.0).sum(axis=1) for side in (-1, 1)]
    return np.array(most)


def drop_oldest(cursor: Ints, stack: Ints, count: int) -> None:
    """Take dictionaries away, the oldest of those to visit first and the current one last.

    Args:
        cursor: Begins with ``CURRENT``, ``PENDING`` and ``SPARE``, here and in other engines.
        stack: Slots to visit, and unused ones.
        count: How many.
    """
    pending, spare = int(cursor[PENDING]), int(cursor[SPARE])
    if count > pending:
        cursor[CURRENT] = -1
        count = pending
    stack[UNUSED, spare : spare + count] = stack[TO_VISIT, :count]
    stack[TO_VISIT, : pending - count] = stack[TO_VISIT, count:pending].copy()
    cursor[PENDING], cursor[SPARE] = pending - count, spare + count
