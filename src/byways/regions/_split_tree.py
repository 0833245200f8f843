"""From a list of regions to a split tree with multipliers, in floating point.

The list tells which decisions cut a cell: those that its leaves disagree on. The others are settled
as early as they can be, once for all leaves below, by multipliers (see ``_refute``). The tree comes
first, then a walk over its nodes that computes rows and multipliers. What comes out is a
suggestion: nothing here is relied on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byways.core.compiled import borrowing, borrowing_entry, compiled, entry, inlined, unrolled
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

FIRST, LAST, STAGE, NEXT = range(4)  # of a frame of the tree
ENTERED, LEFT, COUNT, SPLIT = range(4)  # of a frame of the walk


class SplitTree(NamedTuple):
    """Nodes in preorder and multipliers of refused sides; leaves are in the order of the list.

    ``decision`` is -1 at a leaf, ``kept`` -1 at a split and at a leaf. Side ``i`` is refused with
    the multipliers ``start[i] : start[i + 1]``.
    """

    decision: NDArray[np.int32]
    kept: NDArray[np.int8]
    start: Ints
    row: NDArray[np.int32]
    value: Array


class _Program(NamedTuple):
    """Room for one question: the dictionary of ``_refute``, and the rows of the path.

    Column ``i`` of ``live`` is row ``name[i]`` of the proof, divided by ``norms``, positive inside;
    the first columns are room for cuts, which have no name.
    """

    t: Array
    nonbasic: Ints
    flipped: NDArray[np.bool_]
    point: Array
    goal: Array
    values: Array
    live: Array
    name: Ints
    norms: Array

    @classmethod
    def of(cls, problem: Problem, scale: Array, cuts: int) -> _Program:
        """Make room, and write the rows of the domain."""
        d, m, k = problem.dim, len(problem.domain_rows), problem.decisions
        live = np.zeros((d + 1, cuts + m + k + 1))
        live[:, cuts : cuts + m] = problem.domain_rows.T
        return cls(
            t=np.zeros((d + 2) * (d + 1)),
            nonbasic=np.zeros(d + 1, dtype=np.int64),
            flipped=np.zeros(d, dtype=np.bool_),
            point=np.zeros(d),
            goal=np.zeros(d + 1),
            values=np.zeros(live.shape[1]),
            live=live,
            name=np.arange(-cuts, m + k + 1),
            norms=np.concatenate([scale, np.ones(k)]),
        )


def split_tree(problem: Problem, words: NDArray[np.uint64], scale: Array) -> SplitTree:
    """Build the tree of a list of regions.

    Args:
        problem: The question in engine coordinates.
        words: Packed decision bits, distinct and in lexicographic order, ``(n, words)``, n > 0.
        scale: For each row of the domain the factor that made its gradient a unit vector.

    Returns:
        The tree. Cost: some steps of a dual simplex method per refused side.
    """
    problem, zone = through_first_layer(problem)
    d, k = problem.dim, problem.decisions
    cuts = _MOST_CUTS if zone.W.size else 0
    net = Net.of(problem)
    decision, kept = _nodes(net.decision_start, np.ascontiguousarray(words.T), k)
    sides = int(np.count_nonzero(kept >= 0))
    start = np.zeros(sides + 1, dtype=np.int64)
    row, value = np.empty(sides * (d + 1), dtype=np.int32), np.empty(sides * (d + 1))
    with np.errstate(divide="ignore"):
        _refuse(
            net,
            zone,
            _Program.of(problem, scale, cuts),
            decision,
            kept,
            np.zeros((k + 2, 4), dtype=np.int64),
            np.zeros(k, dtype=np.uint8),
            np.zeros((k, d + 1)),
            np.zeros((d + 1, int(net.unit_start[-1]))),
            cuts,
            (start, row, value),
            unrolled(d),
        )
    used = int(start[-1])
    return SplitTree(decision, kept, start, row[:used].copy(), value[:used].copy())


@entry
def _nodes(starts, words, decisions):
    """Build the tree alone: decision and kept side of each node.

    Leaves are in lexicographic order, so that those of a split's side 0 come before the others.
    """
    stages, size = starts.size - 1, words.shape[0]
    frame = np.zeros((decisions + 2, 4), np.int64)
    settled = np.zeros((decisions + 2, size), np.uint64)  # per frame, the decisions above it
    every, some = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    decision, kept = np.empty(256, np.int32), np.empty(256, np.int8)
    frame[0, LAST] = words.shape[1]
    nodes, top = 0, 0  # slots below the top wait, each with side 1 of a split
    while top >= 0:
        first, last, stage = frame[top, FIRST], frame[top, LAST], frame[top, STAGE]
        begin, split = frame[top, NEXT], -1  # all of the stage before it is settled
        _gather(words, first, last, every, some)
        while stage < stages:
            if nodes + decisions + 1 > decision.size:
                decision, kept = _doubled(decision, decisions), _doubled(kept, decisions)
            nodes, split = _settle(
                begin, starts[stage + 1], every, some, settled[top], decision, kept, nodes
            )
            if split >= 0:
                break
            stage += 1
            begin = starts[stage]
        decision[nodes], kept[nodes] = split, -1
        nodes += 1
        if split < 0:
            top -= 1
            continue
        settled[top, split >> 6] |= np.uint64(1) << np.uint64(63 - (split & 63))
        for w in range(size):
            settled[top + 1, w] = settled[top, w]
        middle = _middle(words, first, last, split)
        frame[top + 1, FIRST], frame[top + 1, LAST], frame[top + 1, STAGE] = first, middle, stage
        frame[top, FIRST], frame[top, STAGE] = middle, stage
        frame[top, NEXT] = frame[top + 1, NEXT] = split + 1
        top += 1
    return decision[:nodes].copy(), kept[:nodes].copy()


@inlined
def _settle(first, end, every, some, settled, decision, kept, nodes):
    """Write a node for each decision that the leaves agree on; give the first other."""
    split = -1
    for k in range(first, end):
        word, mask = k >> 6, np.uint64(1) << np.uint64(63 - (k & 63))
        if settled[word] & mask:
            continue
        if some[word] & mask and not every[word] & mask:
            split = k if split < 0 else split
            continue
        decision[nodes], kept[nodes] = k, 1 if some[word] & mask else 0
        nodes += 1
        settled[word] |= mask
    return nodes, split


@compiled
def _doubled(array, spare):
    result = np.empty(2 * array.size + spare + 1, array.dtype)
    result[: array.size] = array
    return result


@borrowing
def _gather(words, first, last, every, some):
    """Tell which decisions all leaves, and which some leaves, take the side 1 of."""
    for w in range(every.size):
        both = one = words[w, first]
        for i in range(np.uint64(first), np.uint64(last)):
            both &= words[w, i]
            one |= words[w, i]
        every[w], some[w] = both, one


@inlined
def _middle(words, first, last, k):
    """Find the first leaf of side 1, where all leaves agree on what comes before a decision."""
    word, mask = k >> 6, np.uint64(1) << np.uint64(63 - (k & 63))
    while first < last:
        i = (first + last) // 2
        if words[word, i] & mask:
            last = i
        else:
            first = i + 1
    return first


@borrowing_entry
def _refuse(net, zone, program, decision, kept, frame, bits, rows, maps, cut, found, axes):
    """Walk over the nodes; write the multipliers of the sides that they refuse.

    Cuts lie before the rows of the path, from ``cut`` on. A slot below the top of ``frame`` waits
    with side 1 of a split, and all that is written below the split is written anew behind it.
    """
    m, starts, stages = net.domain_rows.shape[0], net.decision_start, net.decision_start.size - 1
    start, row, value = found
    frame[0, ENTERED], frame[0, LEFT], frame[0, COUNT], frame[0, SPLIT] = -1, 0, cut + m, -1
    top, sides, used = 0, 0, 0
    for node in range(decision.size):
        if frame[top, SPLIT] >= 0:
            bits[frame[top, SPLIT]] = 1
            _take(axes, program, frame[top, COUNT], rows, m, frame[top, SPLIT], 1.0)
            frame[top, COUNT] += 1
            frame[top, SPLIT] = -1
        while frame[top, LEFT] == 0 and frame[top, ENTERED] < stages - 1:
            stage = frame[top, ENTERED] + 1
            frame[top, ENTERED], frame[top, LEFT] = stage, starts[stage + 1] - starts[stage]
            size = enter_stage(net, stage, bits, maps)
            stage_rows(net, stage, size, maps, rows)
            _measure(axes, starts, net.unit, stage, maps, rows, program.norms, m)
        k, side = decision[node], kept[node]
        if k < 0:
            top -= 1
            continue
        frame[top, LEFT] -= 1
        if side < 0:
            for i in range(3):
                frame[top + 1, i] = frame[top, i]
            frame[top, SPLIT], frame[top + 1, SPLIT] = k, -1
            top += 1
            bits[k] = 0
            _take(axes, program, frame[top, COUNT], rows, m, k, -1.0)
            frame[top, COUNT] += 1
            continue
        # The row of the side that is kept holds on the whole cell anyhow: no later side needs it.
        bits[k] = side
        cut, used = _multipliers(
            axes, zone, program, rows, k, m, side, cut, frame[top, COUNT], row, value, used
        )
        sides += 1
        start[sides] = used


@inlined
def _measure(axes, decision_start, unit, stage, maps, rows, norms, m):
    """Find the factor between a unit-gradient row and what the network computes."""
    for k in range(decision_start[stage], decision_start[stage + 1]):
        total, constant = 0.0, True
        for c in range(1, len(axes) + 1):
            total += maps[c, unit[k]] ** 2
            constant &= rows[k, c] == 0.0
        norms[m + k] = 1.0 if constant else np.sqrt(total)


@inlined
def _take(axes, program, count, rows, m, k, sign):
    """Write the row of a side of a split, positive inside, behind those of the path."""
    live = program.live
    program.name[count] = m + k
    for c in range(len(axes) + 1):
        live[c, count] = sign * rows[k, c]


@inlined
def _multipliers(axes, zone, program, rows, k, m, side, cut, count, row, value, used):
    """Write the multipliers of one refused side; return the first cut and how many there are."""
    t, nonbasic, flipped = program.t, program.nonbasic, program.flipped
    goal, name, norms, live = program.goal, program.name, program.norms, program.live
    d, sign = len(axes), 1.0 if side else -1.0
    least = goal[0] = sign * rows[k, 0]
    for c in range(1, d + 1):
        goal[c] = sign * rows[k, c]
        least += min(goal[c], 0.0)
    if least > _ENOUGH:  # the box alone shows it
        row[used], value[used] = m + k, 1.0 / norms[m + k]
        return cut, used + 1
    begin(axes, goal, t, nonbasic, flipped)
    while True:
        outcome = ascend(axes, t, nonbasic, flipped, live, cut, count, program.values)
        if outcome != OPTIMUM or not cut:  # no room for cuts, or no zonotope
            break
        if highest(zone, t, nonbasic, flipped) < -_ENOUGH:
            break
        for c in range(d):
            program.point[c] = t[(d + 1) * (c + 1)]
        if not cut_off(zone, program.point, live, cut - 1):
            break
        cut -= 1
    return cut, _write(axes, t, nonbasic, name, norms, outcome, m + k, row, value, used)


@inlined
def _write(axes, t, nonbasic, name, norms, outcome, constraint, row, value, used):
    """Write multipliers down, largest first that of the refused row; return how many there are."""
    d, source, sign = len(axes), 0, 1.0
    if outcome == VOID:  # the cell itself is empty: its rows alone show it
        source, sign = (d + 1) * (d + 1), -1.0
        constraint = name[nonbasic[d] - d] if nonbasic[d] >= d else -1
    if constraint >= 0:
        row[used], value[used] = constraint, 1.0 / norms[constraint]
        used += 1
    for c in range(d):
        factor = sign * t[source + c + 1]
        if nonbasic[c] >= d and factor > 0.0 and name[nonbasic[c] - d] >= 0:
            row[used] = name[nonbasic[c] - d]
            value[used] = factor / norms[row[used]]
            used += 1
    return used
