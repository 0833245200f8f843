"""From a list of regions to a split tree with multipliers, in floating point.

The list tells which decisions cut a cell: those that its leaves disagree on. The others are settled
as early as they can be, once for all leaves below, by one run of the simplex method, whose reduced
costs are the multipliers. What comes out is a suggestion: nothing here is relied on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byways.core.compiled import compiled, entry
from byways.regions._dictionary import (
    copy_dictionary,
    descend,
    express,
    pivot,
    prune,
    rebuild,
)
from byways.regions._net import Net, enter_stage, stage_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._problem import Problem

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["SplitTree", "split_tree"]

_OLD = 64  # pivots after which a dictionary is computed afresh
SIZE, AGE, STAGE, FIRST, LAST = range(5)  # of a frame
_TOLERANCE = 1e-12  # multipliers may be rough where rounding decides: they are checked anyway


class SplitTree(NamedTuple):
    """Nodes in preorder, multipliers of refused sides, and the order of the leaves.

    ``decision`` is -1 at a leaf, ``kept`` -1 at a split and at a leaf. Side ``i`` is refused with
    the multipliers ``start[i] : start[i + 1]``, on the path ``paths[i]`` with its refused side.
    Leaf number ``j`` of the tree is region ``leaves[j]`` of the list.
    """

    decision: Ints
    kept: NDArray[np.int8]
    start: Ints
    row: Ints
    value: Array
    paths: NDArray[np.int8]
    leaves: Ints


def split_tree(problem: Problem, words: NDArray[np.uint64], scale: Array) -> SplitTree:
    """Build the tree of a list of regions.

    Args:
        problem: The question in engine coordinates.
        words: Distinct packed decision bits, shape ``(n, words)``, at least one.
        scale: For each row of the domain the factor that made its gradient a unit vector.

    Returns:
        The tree. Cost: one run of the simplex method per refused side and per split.
    """
    d, m, k = problem.dim, len(problem.domain_rows), problem.decisions
    slots = m + k + 2
    nonbasic = np.empty((slots, d), dtype=np.int64)
    nonbasic[0] = np.arange(d)
    rows = np.zeros((m + k, d + 1))
    rows[:m] = problem.domain_rows
    norms = np.ones(m + k)
    norms[:m] = scale
    bits = np.ones(m + k, dtype=np.uint8)
    found = _build(
        Net.of(problem),
        np.ascontiguousarray(words),
        np.empty((slots, slots + 1, d + 1)),
        np.empty((slots, slots + 1), dtype=np.int64),
        nonbasic,
        np.zeros((slots, d), dtype=np.bool_),
        np.full((slots, k), -1, dtype=np.int8),
        bits,
        rows,
        norms,
        np.zeros((d + 1, sum(len(stage.bias) for stage in problem.stages))),
    )
    return SplitTree(*found)


# sizes: kernel, one loop over nodes, which writes to arrays that grow
@entry
def _build(net, words, t, basic, nonbasic, flipped, paths, bits, rows, norms, maps):
    """Walk down from the root; return the arrays of a ``SplitTree``."""
    free, m, stages = net.free, net.domain_rows.shape[0], net.decision_start.size - 1
    slots, k_all, d = paths.shape[0], paths.shape[1], free.size
    frame = np.zeros((slots, 5), np.int64)
    order = np.arange(words.shape[0])
    decision, kept = np.empty(256, np.int64), np.empty(256, np.int8)
    start, refused = np.zeros(257, np.int64), np.empty((256, k_all), np.int8)
    row, value = np.empty(1024, np.int64), np.empty(1024)
    nodes, sides, used, done = 0, 0, 0, 0
    leaves = np.empty(words.shape[0], np.int64)
    pending, top = np.zeros(slots, np.int64), 1
    spare = np.arange(slots - 1, -1, -1)  # slot 0 is on top and taken
    spares = slots - 1
    frame[0, STAGE], frame[0, LAST] = -1, words.shape[0]
    for i in range(m):  # the corner s = 0 need not lie in a polytope
        frame[0, AGE] += _go(t, basic, nonbasic, flipped, 0, frame, i, 1, rows, free)
    while top:
        top -= 1
        slot = pending[top]
        for k in range(k_all):
            bits[m + k] = paths[slot, k] == 1
        while True:
            stage = frame[slot, STAGE]
            if stage < 0 or _is_settled(paths, slot, net.decision_start, stage):
                frame[slot, STAGE] += 1
                stage += 1
                if stage == stages:
                    break
                size = enter_stage(net, stage, bits[m:], maps)
                stage_rows(net, stage, size, maps, rows[m:])
                _measure(net.decision_start, net.unit, stage, maps, rows, norms, m)
            if frame[slot, AGE] > _OLD:
                n = frame[slot, SIZE]
                frame[slot, SIZE] = rebuild(t, basic, nonbasic, flipped, slot, n, free, rows, bits)
                frame[slot, AGE] = 0
            split = -1
            for k in range(net.decision_start[stage], net.decision_start[stage + 1]):
                if paths[slot, k] >= 0:
                    continue
                side = _common_side(words, order, frame[slot, FIRST], frame[slot, LAST], k)
                if side < 0:
                    split = k if split < 0 else split
                    continue
                if nodes == decision.size:
                    decision, kept = _doubled(decision), _doubled(kept)
                if sides == refused.shape[0]:
                    start, more = _doubled(start), np.empty((2 * sides, k_all), np.int8)
                    more[:sides] = refused
                    refused = more
                while row.size < used + d + 1:
                    row, value = _doubled(row), _doubled(value)
                decision[nodes], kept[nodes] = k, side
                nodes += 1
                refused[sides] = paths[slot]
                refused[sides, k] = 1 - side
                # fmt: off
                more_used, pivots = _multipliers(
                    t, basic, nonbasic, flipped, slot, frame[slot, SIZE], free, rows, norms,
                    m + k, side, row, value, used,
                )
                # fmt: on
                used += more_used
                frame[slot, AGE] += pivots
                sides += 1
                start[sides] = used
                paths[slot, k] = side
                bits[m + k] = side
            if split < 0:
                continue
            if nodes == decision.size:
                decision, kept = _doubled(decision), _doubled(kept)
            decision[nodes], kept[nodes] = split, -1
            nodes += 1
            spares -= 1
            other = spare[spares]
            middle = _partition(words, order, frame[slot, FIRST], frame[slot, LAST], split)
            copy_dictionary(t, basic, nonbasic, flipped, slot, other, frame[slot, SIZE])
            frame[other], paths[other] = frame[slot], paths[slot]
            frame[slot, LAST], frame[other, FIRST] = middle, middle
            paths[slot, split], paths[other, split] = 0, 1
            bits[m + split] = 0
            for child in (slot, other):
                # fmt: off
                frame[child, AGE] += _go(
                    t, basic, nonbasic, flipped, child, frame, m + split, paths[child, split],
                    rows, free,
                )
                # fmt: on
            pending[top] = other
            top += 1
        if nodes == decision.size:
            decision, kept = _doubled(decision), _doubled(kept)
        decision[nodes], kept[nodes] = -1, -1
        nodes += 1
        leaves[done] = order[frame[slot, FIRST]]
        done += 1
        spare[spares] = slot
        spares += 1
    return (
        decision[:nodes].copy(),
        kept[:nodes].copy(),
        start[: sides + 1].copy(),
        row[:used].copy(),
        value[:used].copy(),
        refused[:sides].copy(),
        leaves,
    )


@compiled
def _doubled(array):
    result = np.empty(2 * array.size, array.dtype)
    result[: array.size] = array
    return result


@compiled
def _is_settled(paths, slot, decision_start, stage):
    first, end = decision_start[stage], decision_start[stage + 1]
    return (paths[slot, first:end] >= 0).all()


@compiled
def _measure(decision_start, unit, stage, maps, rows, norms, m):
    """Find the factor between a unit-gradient row and what the network computes."""
    for k in range(decision_start[stage], decision_start[stage + 1]):
        total, constant = 0.0, True
        for c in range(1, maps.shape[0]):
            total += maps[c, unit[k]] ** 2
            constant &= rows[m + k, c] == 0.0
        norms[m + k] = 1.0 if constant else np.sqrt(total)


@compiled
def _common_side(words, order, first, last, k):
    """Give the side that all leaves take, or -1."""
    word, mask = k >> 6, np.uint64(1) << np.uint64(63 - (k & 63))
    side = (words[order[first], word] & mask) != 0
    for i in range(first + 1, last):
        if ((words[order[i], word] & mask) != 0) != side:
            return -1
    return int(side)


@compiled
def _partition(words, order, first, last, k):
    """Bring the leaves of side 0 to the front, in their order; return the first of side 1."""
    word, mask = k >> 6, np.uint64(1) << np.uint64(63 - (k & 63))
    above, count, place = np.empty(last - first, np.int64), 0, first
    for i in range(first, last):
        if words[order[i], word] & mask:
            above[count] = order[i]
            count += 1
        else:
            order[place] = order[i]
            place += 1
    for i in range(count):
        order[place + i] = above[i]
    return place


@compiled
def _negate(t, slot, n):
    for c in range(t.shape[2]):
        t[slot, n, c] = -t[slot, n, c]


@compiled
def _go(t, basic, nonbasic, flipped, slot, frame, constraint, side, rows, free):
    """Take a dictionary to a side of a constraint, as far as rounding lets it; return pivots."""
    n, d = frame[slot, SIZE], nonbasic.shape[1]
    express(rows, constraint, t, basic, nonbasic, flipped, slot, n, free)
    if not side:
        _negate(t, slot, n)
    pivots = 0
    if t[slot, n, 0] <= _TOLERANCE:
        _negate(t, slot, n)
        column, pivots = descend(t, basic, nonbasic, flipped, slot, n, free, _TOLERANCE)
        _negate(t, slot, n)
        if column > 0:
            t[slot, n, 0] = min(t[slot, n, 0], 0.0)
            basic[slot, n] = d + constraint
            pivot(t, basic, nonbasic, flipped, slot, n, n, column, free)
            frame[slot, SIZE] = prune(t, basic, nonbasic, slot, n + 1, free)
            return pivots + 1
    basic[slot, n] = d + constraint
    t[slot, n, 0] = max(t[slot, n, 0], 0.0)
    frame[slot, SIZE] = prune(t, basic, nonbasic, slot, n + 1, free)
    return pivots


@compiled
def _multipliers(
    t, basic, nonbasic, flipped, slot, n, free, rows, norms, constraint, side, row, value, used
):
    """Write down multipliers that prove the other side empty; return their number and pivots."""
    d = nonbasic.shape[1]
    row[used], value[used] = constraint, 1.0 / norms[constraint]
    express(rows, constraint, t, basic, nonbasic, flipped, slot, n, free)
    if not side:
        _negate(t, slot, n)
    column, pivots = descend(t, basic, nonbasic, flipped, slot, n, free, _TOLERANCE)
    count = 1
    if column == 0:
        for c in range(1, d + 1):
            label = nonbasic[slot, c - 1] - d
            if label >= 0 and t[slot, n, c] > 0.0:
                row[used + count] = label
                value[used + count] = t[slot, n, c] / norms[label]
                count += 1
    return count, pivots
