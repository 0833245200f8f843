"""From a list of regions to a split tree with multipliers, in floating point.

The list tells which decisions cut a cell: those that its leaves disagree on. The others are settled
as early as they can be, once for all leaves below, by multipliers (see ``_refute``). What comes out
is a suggestion: nothing here is relied on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byways.core.compiled import compiled, entry
from byways.regions._net import Net, enter_stage, stage_rows
from byways.regions._refute import OPTIMUM, VOID, ascend, begin
from byways.regions._zonotope import cut_off, highest, through_first_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._problem import Problem

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["SplitTree", "split_tree"]

_MOST_CUTS = 256
_ENOUGH = 1e-9  # negative enough to be proven in spite of rounding, in units of the box

STAGE, FIRST, LAST, COUNT, SPLIT = range(5)  # of a frame


class SplitTree(NamedTuple):
    """Nodes in preorder, multipliers of refused sides, and the order of the leaves.

    ``decision`` is -1 at a leaf, ``kept`` -1 at a split and at a leaf. Side ``i`` is refused with
    the multipliers ``start[i] : start[i + 1]``. Leaf ``j`` of the tree is region ``leaves[j]`` of
    the list.
    """

    decision: Ints
    kept: NDArray[np.int8]
    start: Ints
    row: Ints
    value: Array
    leaves: Ints


def split_tree(problem: Problem, words: NDArray[np.uint64], scale: Array) -> SplitTree:
    """Build the tree of a list of regions.

    Args:
        problem: The question in engine coordinates.
        words: Distinct packed decision bits, shape ``(n, words)``, at least one.
        scale: For each row of the domain the factor that made its gradient a unit vector.

    Returns:
        The tree. Cost: some steps of a dual simplex method per refused side.
    """
    problem, zone = through_first_layer(problem)
    d, m, k = problem.dim, len(problem.domain_rows), problem.decisions
    cuts = _MOST_CUTS if zone.W.size else 0
    live = np.zeros((d + 1, cuts + m + k + 1))
    live[:, cuts : cuts + m] = problem.domain_rows.T
    name = np.arange(-cuts, m + k + 1)
    norms = np.ones(m + k)
    norms[:m] = scale
    found = _build(
        Net.of(problem),
        zone,
        cuts,
        np.ascontiguousarray(words),
        np.full((k + 2, k), -1, dtype=np.int8),
        live,
        name,
        np.zeros((k, d + 1)),
        norms,
        np.zeros((d + 1, sum(len(stage.bias) for stage in problem.stages))),
        np.zeros((min(d, live.shape[1]) + 3, d + 1)),
    )
    return SplitTree(*found)


# sizes: kernel, one loop over nodes, which writes to arrays that grow
@entry
def _build(net, zone, room, words, paths, live, name, rows, norms, maps, t):
    """Walk down from the root; return the arrays of a ``SplitTree``."""
    m, starts, stages = net.domain_rows.shape[0], net.decision_start, net.decision_start.size - 1
    d, k_all = net.free.size, paths.shape[1]
    basic, nonbasic = np.zeros(t.shape[0], np.int64), np.zeros(d, np.int64)
    flipped, marked, point = np.zeros(d, np.bool_), np.zeros(d, np.bool_), np.zeros(d)
    cut = room  # cuts lie before the rows of the path
    goal, values = np.zeros(d + 1), np.zeros(live.shape[1])
    bits = np.zeros(k_all, np.uint8)
    order, frame = np.arange(words.shape[0]), np.zeros((paths.shape[0], 5), np.int64)
    every, some = np.zeros(words.shape[1], np.uint64), np.zeros(words.shape[1], np.uint64)
    decision, kept = np.empty(256, np.int64), np.empty(256, np.int8)
    start, row, value = np.zeros(257, np.int64), np.empty(1024, np.int64), np.empty(1024)
    nodes, sides, used, done = 0, 0, 0, 0
    leaves = np.empty(words.shape[0], np.int64)
    frame[0, STAGE], frame[0, LAST], frame[0, COUNT], frame[0, SPLIT] = (
        -1,
        words.shape[0],
        room + m,
        -1,
    )
    top = 0  # slots below the top wait, each with side 1 of a split
    while top >= 0:
        path, stage, count = paths[top], frame[top, STAGE], frame[top, COUNT]
        for k in range(k_all):
            bits[k] = path[k] == 1
        if frame[top, SPLIT] >= 0:
            _take(live, name, count, rows, m, frame[top, SPLIT], path)
            count += 1
        first, last = frame[top, FIRST], frame[top, LAST]
        _gather(words, order, first, last, every, some)
        split = -1
        while True:
            if stage < 0 or (split < 0 and _is_settled(path, starts, stage)):
                stage += 1
                if stage == stages:
                    break
                size = enter_stage(net, stage, bits, maps)
                stage_rows(net, stage, size, maps, rows)
                _measure(starts, net.unit, stage, maps, rows, norms, m)
            for k in range(starts[stage], starts[stage + 1]):
                if path[k] >= 0:
                    continue
                word, mask = k >> 6, np.uint64(1) << np.uint64(63 - (k & 63))
                if some[word] & mask and not every[word] & mask:
                    split = k if split < 0 else split
                    continue
                side = 1 if some[word] & mask else 0
                if nodes == decision.size:
                    decision, kept = _doubled(decision), _doubled(kept)
                decision[nodes], kept[nodes] = k, side
                nodes += 1
                least = rows[k, 0] if side else -rows[k, 0]
                for c in range(d + 1):
                    goal[c] = rows[k, c] if side else -rows[k, c]
                    least += min(goal[c], 0.0) if c else 0.0
                while row.size < used + d + 2:
                    row, value = _doubled(row), _doubled(value)
                if least > _ENOUGH:  # the box alone shows it
                    row[used], value[used] = m + k, 1.0 / norms[m + k]
                    used += 1
                else:
                    begin(goal, t, nonbasic, flipped)
                    n = 1
                    while True:
                        outcome, n = ascend(
                            t, basic, nonbasic, flipped, marked, point, live, cut, count, values, n
                        )
                        if outcome != OPTIMUM or not cut:  # no room for cuts, or no zonotope
                            break
                        if highest(zone, t, nonbasic, flipped) < -_ENOUGH:
                            break
                        if not cut_off(zone, point, live, cut - 1):
                            break
                        cut -= 1
                    used = _write(
                        t, basic, nonbasic, name, norms, outcome, n, m + k, row, value, used
                    )
                sides += 1
                if sides == start.size:
                    start = _doubled(start)
                start[sides] = used
                # The row holds on the whole cell anyhow, so that no later side needs it.
                path[k], bits[k] = side, side
            if split >= 0:
                break
        if nodes == decision.size:
            decision, kept = _doubled(decision), _doubled(kept)
        decision[nodes], kept[nodes] = split, -1
        nodes += 1
        if split < 0:
            leaves[done] = order[first]
            done += 1
            top -= 1
            continue
        middle = _partition(words, order, first, last, split)
        frame[top, STAGE], frame[top, COUNT], frame[top, SPLIT] = stage, count, split
        frame[top + 1], paths[top + 1] = frame[top], path
        frame[top + 1, LAST], frame[top, FIRST] = middle, middle
        paths[top + 1, split], path[split] = 0, 1
        top += 1
    return (
        decision[:nodes].copy(),
        kept[:nodes].copy(),
        start[: sides + 1].copy(),
        row[:used].copy(),
        value[:used].copy(),
        leaves,
    )


@compiled
def _doubled(array):
    result = np.empty(2 * array.size, array.dtype)
    result[: array.size] = array
    return result


@compiled
def _is_settled(path, starts, stage):
    return (path[starts[stage] : starts[stage + 1]] >= 0).all()


@compiled
def _measure(decision_start, unit, stage, maps, rows, norms, m):
    """Find the factor between a unit-gradient row and what the network computes."""
    for k in range(decision_start[stage], decision_start[stage + 1]):
        total, constant = 0.0, True
        for c in range(1, maps.shape[0]):
            total += maps[c, unit[k]] ** 2
            constant &= rows[k, c] == 0.0
        norms[m + k] = 1.0 if constant else np.sqrt(total)


@compiled
def _take(live, name, count, rows, m, k, path):
    """Write the row of a decided decision, positive inside, behind those of the path."""
    name[count] = m + k
    for c in range(live.shape[0]):
        live[c, count] = rows[k, c] if path[k] == 1 else -rows[k, c]


@compiled
def _gather(words, order, first, last, every, some):
    """Tell which decisions all leaves, and which some leaves, take the side 1 of."""
    for w in range(every.size):
        both, one = words[order[first], w], words[order[first], w]
        for i in range(first + 1, last):
            both &= words[order[i], w]
            one |= words[order[i], w]
        every[w], some[w] = both, one


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
def _write(t, basic, nonbasic, name, norms, outcome, n, constraint, row, value, used):
    """Write multipliers down, largest first that of the refused row; return how many there are."""
    d, source, sign = nonbasic.size, 0, 1.0
    if outcome == VOID:  # the cell itself is empty: its rows alone show it
        source, sign = n - 1, -1.0
        constraint = name[basic[source] - d] if basic[source] >= d else -1
    if constraint >= 0:
        row[used], value[used] = constraint, 1.0 / norms[constraint]
        used += 1
    for c in range(d):
        factor = sign * t[source, c + 1]
        if nonbasic[c] >= d and factor > 0.0 and name[nonbasic[c] - d] >= 0:
            row[used] = name[nonbasic[c] - d]
            value[used] = factor / norms[row[used]]
            used += 1
    return used
