"""Method "simplex": depth-first over decisions with one live dictionary.

A node of the tree is a full-dimensional cell, known by a vertex of its closure. Where the next
decision's row is positive at that vertex, the positive side is full-dimensional for free; the other
side is, if and only if the row's minimum over the closed cell is negative. That is one run of the
primal simplex method from a feasible vertex, left as soon as the row falls below zero. Where the row
vanishes at the vertex neither side is free, and both are searched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from byways.regions._dictionary import (
    copy_dictionary,
    descend,
    express,
    pivot,
    rebuild,
)
from byways.regions._engine import Batch
from byways.regions._interior import interior_point
from byways.regions._net import Net, enter_stage, stage_rows
from byways.regions._signs import words_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._engine import Order
    from byways.regions._problem import Problem

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["SimplexWalk"]

# Places in Tree.cursor.
CURRENT, PENDING, SPARE, FORCED, STOP, NODES, PIVOTS, AMBIGUOUS = range(8)


class Tree(NamedTuple):
    """The changing half of a walk: a pool of dictionaries and the path to the current node.

    Constraints are numbered: first the ``m`` rows of the domain, then the decisions. The label of a
    constraint's slack is ``d`` plus its number. A dictionary's ``level`` is the number of the next
    constraint, its ``bit`` the side it took of the one before.
    """

    t: Array  # (slots, constraints + 2, d + 1)
    basic: Ints
    nonbasic: Ints
    flipped: NDArray[np.bool_]
    size: Ints  # rows of each dictionary
    level: Ints
    bit: NDArray[np.uint8]
    mass: Array  # share of the tree below each dictionary
    pending: Ints  # stack of slots to visit
    spare: Ints  # stack of unused slots
    bits: NDArray[np.uint8]  # the path
    signs: Array  # the path as +1 and -1
    rows: Array  # of all constraints, valid on the path
    maps: Array  # pre-activations of all units, valid on the path
    counts: Ints  # completed cells per stage
    cursor: Ints
    explored: Array


class SimplexWalk:
    """Walk over the cells of a problem; see ``Walk`` for the attributes.

    Memory is that of one dictionary per level. Cost per decision is a few pivots of
    ``splits x dim`` numbers.
    """

    def __init__(self, problem: Problem, order: Order) -> None:
        self._net = Net.of(problem)
        self._order = order
        self._tree = plant(problem, order)
        self.finished = False

    @property
    def layer_counts(self) -> Ints:
        """Cells completed per stage."""
        return self._tree.counts

    @property
    def ambiguous(self) -> int:
        """Decisions within the tolerance of zero."""
        return int(self._tree.cursor[AMBIGUOUS])

    @property
    def explored(self) -> float:
        """Share of the tree that is done."""
        return float(self._tree.explored[0])

    @property
    def work(self) -> int:
        """Decisions tested and pivots made."""
        return int(self._tree.cursor[NODES] + self._tree.cursor[PIVOTS])

    def advance(self, leaves: int, work: int) -> Batch:
        """Go on for at most ``leaves`` leaves, and about ``work`` tests and pivots."""
        dim = self._net.free.size
        kept = leaves if self._order.listing else 0
        words = np.zeros((kept, words_for(self._net.unit.size)), dtype=np.uint64)
        points = np.empty((kept if self._order.witnesses else 0, dim))
        until = self.work + work
        found = _advance(self._net, self._tree, words, points, leaves, until, self._order.tolerance)
        cursor = self._tree.cursor
        self.finished = bool(cursor[CURRENT] < 0 and cursor[PENDING] == 0)
        return Batch(words[:found], points[:found], int(found))


def plant(problem: Problem, order: Order) -> Tree:
    """Make the pool and put the domain's corner ``s = 0`` in its first dictionary."""
    d, m, k = problem.dim, len(problem.domain_rows), problem.decisions
    slots = m + k + 2
    units = sum(len(stage.bias) for stage in problem.stages)
    cursor = np.zeros(8, dtype=np.int64)
    cursor[CURRENT], cursor[SPARE] = 0, slots - 1
    cursor[FORCED] = m + len(order.prefix)
    cursor[STOP] = m + (k if order.stop is None else order.stop)
    bits = np.zeros(m + k, dtype=np.uint8)
    bits[:m] = 1
    bits[m : cursor[FORCED]] = order.prefix
    nonbasic = np.empty((slots, d), dtype=np.int64)
    nonbasic[0] = np.arange(d)
    flipped = np.zeros((slots, d), dtype=np.bool_)
    mass = np.ones(slots)
    rows = np.zeros((m + k, d + 1))
    rows[:m] = problem.domain_rows
    # np.empty commits memory only where it is written: deep slots cost nothing until reached.
    return Tree(
        t=np.empty((slots, slots + 1, d + 1)),
        basic=np.empty((slots, slots + 1), dtype=np.int64),
        nonbasic=nonbasic,
        flipped=flipped,
        size=np.zeros(slots, dtype=np.int64),
        level=np.zeros(slots, dtype=np.int64),
        bit=np.zeros(slots, dtype=np.uint8),
        mass=mass,
        pending=np.empty(slots, dtype=np.int64),
        spare=np.arange(slots - 1, -1, -1, dtype=np.int64),
        bits=bits,
        signs=np.where(bits > 0, 1.0, -1.0),
        rows=rows,
        maps=np.zeros((units, d + 1)),
        counts=np.zeros(len(problem.stages), dtype=np.int64),
        cursor=cursor,
        explored=np.zeros(1),
    )


@njit(cache=True, nogil=True)
def _advance(net, tree, words, points, leaves, work, tolerance):  # type: ignore[no-untyped-def]
    """Visit nodes until a limit is reached; return the number of leaves met."""
    cursor, found = tree.cursor, 0
    while found < leaves and cursor[NODES] + cursor[PIVOTS] < work:
        if cursor[CURRENT] < 0 and not _take_pending(tree):
            break
        slot = cursor[CURRENT]
        level = arrive(net, tree, slot)
        if level == cursor[STOP]:
            if words.shape[0]:
                _write_word(words[found], tree.bits, net.domain_rows.shape[0], level)
            if points.shape[0]:
                interior_point(net, tree, slot, points[found], tolerance)
            found += 1
            _leave(tree, slot)
        elif level < cursor[FORCED]:
            if not follow(net, tree, slot, level, tolerance):
                _leave(tree, slot)
        else:
            _branch(net, tree, slot, level, tolerance)
    return found


@njit(cache=True, nogil=True)
def _take_pending(tree):  # type: ignore[no-untyped-def]
    """Make the youngest pending dictionary the current one."""
    cursor = tree.cursor
    if cursor[PENDING] == 0:
        return False
    cursor[PENDING] -= 1
    slot = tree.pending[cursor[PENDING]]
    cursor[CURRENT] = slot
    _record(tree, tree.level[slot] - 1, tree.bit[slot])
    return True


@njit(cache=True, nogil=True)
def _record(tree, k, bit):  # type: ignore[no-untyped-def]
    tree.bits[k] = bit
    tree.signs[k] = 1.0 if bit else -1.0


@njit(cache=True, nogil=True)
def _leave(tree, slot):  # type: ignore[no-untyped-def]
    """Give the current dictionary back; its share of the tree is done."""
    cursor = tree.cursor
    tree.explored[0] += tree.mass[slot]
    tree.spare[cursor[SPARE]] = slot
    cursor[SPARE] += 1
    cursor[CURRENT] = -1


@njit(cache=True, nogil=True)
def arrive(net, tree, slot):  # type: ignore[no-untyped-def]
    """Count completed stages and prepare those that begin here; return the level."""
    level = tree.level[slot]
    m, cursor = net.domain_rows.shape[0], tree.cursor
    k = level - m
    if k < 0:
        return level
    for stage in range(tree.counts.size):
        if net.decision_start[stage + 1] == k and (level > cursor[FORCED] or cursor[FORCED] == m):
            tree.counts[stage] += 1
        if net.decision_start[stage] == k and level < cursor[STOP]:
            n = tree.size[slot]
            tree.size[slot] = rebuild(
                tree.t,
                tree.basic,
                tree.nonbasic,
                tree.flipped,
                slot,
                n,
                net.free,
                tree.rows,
                tree.signs,
            )
            size = enter_stage(net, stage, tree.bits[m:], tree.maps)
            cursor[AMBIGUOUS] += stage_rows(net, stage, size, tree.maps, tree.rows[m:])
    return level


@njit(cache=True, nogil=True)
def _write_word(word, bits, m, end):  # type: ignore[no-untyped-def]
    for i in range(m, end):
        if bits[i]:
            k = i - m
            word[k >> 6] |= np.uint64(1) << np.uint64(63 - (k & 63))


@njit(cache=True, nogil=True)
def _negate(t, slot, n):  # type: ignore[no-untyped-def]
    for c in range(t.shape[2]):
        t[slot, n, c] = -t[slot, n, c]


@njit(cache=True, nogil=True)
def _append(tree, slot, k):  # type: ignore[no-untyped-def]
    """Keep the candidate as the slack of constraint ``k``; it is not negative here."""
    n = tree.size[slot]
    tree.basic[slot, n] = net_label(tree, k)
    tree.t[slot, n, 0] = max(tree.t[slot, n, 0], 0.0)
    tree.size[slot] = n + 1


@njit(cache=True, nogil=True)
def net_label(tree, k):  # type: ignore[no-untyped-def]
    """Give the label of the slack of constraint ``k``."""
    return tree.nonbasic.shape[1] + k


@njit(cache=True, nogil=True)
def _cross(net, tree, slot, column, k):  # type: ignore[no-untyped-def]
    """Follow an edge through the candidate's zero and make its far side the cell."""
    n = tree.size[slot]
    t = tree.t
    _negate(t, slot, n)
    tree.basic[slot, n] = net_label(tree, k)
    pivot(t, tree.basic, tree.nonbasic, tree.flipped, slot, n, n, column, net.free)
    tree.size[slot] = n + 1


@njit(cache=True, nogil=True)
def _search(net, tree, slot, tolerance):  # type: ignore[no-untyped-def]
    """Look for a place in the cell where the candidate is negative; give the edge's column or 0."""
    n = tree.size[slot]
    column, pivots = descend(
        tree.t, tree.basic, tree.nonbasic, tree.flipped, slot, n, net.free, tolerance
    )
    tree.cursor[PIVOTS] += pivots
    if column <= 0:
        tree.cursor[AMBIGUOUS] += _doubtful(tree.t, slot, n, column, tolerance)
    return max(column, 0)


@njit(cache=True, nogil=True)
def follow(net, tree, slot, k, tolerance):  # type: ignore[no-untyped-def]
    """Go to the given side of a constraint; False if that side of the cell is empty."""
    tree.level[slot] = k + 1
    n = tree.size[slot]
    t = tree.t
    express(
        tree.rows, k, t, tree.basic, tree.nonbasic, tree.flipped, slot, n, net.free
    )
    constant = not tree.rows[k, 1:].any()
    if constant:
        return (tree.rows[k, 0] > 0) == (tree.bits[k] > 0)
    if not tree.bits[k]:
        _negate(t, slot, n)
    if t[slot, n, 0] > tolerance:
        _append(tree, slot, k)
        return True
    _negate(t, slot, n)
    column = _search(net, tree, slot, tolerance)
    if column > 0:
        _cross(net, tree, slot, column, k)
    return column > 0


@njit(cache=True, nogil=True)
def _branch(net, tree, slot, level, tolerance):  # type: ignore[no-untyped-def]
    """Pass the decisions that do not cut the cell; split it at the first that does."""
    m, cursor = net.domain_rows.shape[0], tree.cursor
    stage_end = cursor[STOP]
    for stage in range(tree.counts.size):  # rows of later stages are not known yet
        end = m + net.decision_start[stage + 1]
        if level < end < stage_end:
            stage_end = end
    k, column, tests, pivots, doubts = _pass_by(
        tree.t,
        tree.basic,
        tree.nonbasic,
        tree.flipped,
        slot,
        tree.size[slot],
        net.free,
        tree.rows,
        net.follows,
        tree.bits,
        tree.signs,
        level,
        stage_end,
        tolerance,
    )
    cursor[NODES] += tests
    cursor[PIVOTS] += pivots
    cursor[AMBIGUOUS] += doubts
    tree.level[slot] = k
    if k == stage_end:
        return
    tree.level[slot] = k + 1
    if column > 0:
        _push_far_side(net, tree, slot, column, k, 1 - tree.bits[k])
        _append(tree, slot, k)
    else:
        bit = _branch_at_zero(net, tree, slot, k, tolerance)
        tree.bits[k], tree.signs[k] = bit, 2.0 * bit - 1.0


@njit(cache=True, nogil=True)
def _pass_by(  # type: ignore[no-untyped-def]
    t, basic, nonbasic, flipped, slot, n, free, rows, follows, bits, signs, k, end, tolerance
):
    """Record the bits of decisions that do not cut the cell.

    This is the hot loop; it takes plain arrays because handing over a tuple of them costs more than
    a test. Returns the first decision that cuts the cell or vanishes at its vertex (or ``end``), the
    column of the edge that leads across (0 where the row vanishes), and counts of tests, pivots and
    doubts.
    """
    tests, pivots, doubts = 0, 0, 0
    while k < end:
        if follows[k] and bits[k - 1] == 0:  # not above a threshold, so not above a higher one
            bits[k], signs[k] = 0, -1.0
            k += 1
            continue
        tests += 1
        express(rows, k, t, basic, nonbasic, flipped, slot, n, free)
        value = t[slot, n, 0]
        if abs(value) <= tolerance:
            return k, 0, tests, pivots, doubts
        if value > 0:
            bits[k], signs[k] = 1, 1.0
        else:
            bits[k], signs[k] = 0, -1.0
            _negate(t, slot, n)
        column, steps = descend(t, basic, nonbasic, flipped, slot, n, free, tolerance)
        pivots += steps
        if column > 0:
            return k, column, tests, pivots, doubts
        doubts += _doubtful(t, slot, n, column, tolerance)
        k += 1
    return k, 0, tests, pivots, doubts


@njit(cache=True, nogil=True)
def _doubtful(t, slot, n, column, tolerance):  # type: ignore[no-untyped-def]
    """Tell whether "nowhere negative" rests on a number that might be rounding."""
    value = t[slot, n, 0]
    if column < 0 or (value != 0.0 and abs(value) <= tolerance):
        return True
    if value <= tolerance:  # a negative coefficient that was taken for rounding might be real
        for c in range(1, t.shape[2]):
            if t[slot, n, c] < 0.0:
                return True
    return False


@njit(cache=True, nogil=True)
def _branch_at_zero(net, tree, slot, k, tolerance):  # type: ignore[no-untyped-def]
    """Decide a constraint that vanishes at the vertex; return the bit of the current dictionary."""
    n = tree.size[slot]
    t = tree.t
    t[slot, n, 0] = max(t[slot, n, 0], 0.0)
    column = _search(net, tree, slot, tolerance)
    below = column > 0
    if below:
        _push_far_side(net, tree, slot, column, k, 0)
    _negate(t, slot, n)
    column = _search(net, tree, slot, tolerance)
    above = column > 0
    if above and below:
        _cross(net, tree, slot, column, k)
    elif below:  # the cell lies on the negative side as it is: take the sibling back
        tree.cursor[PENDING] -= 1
        tree.spare[tree.cursor[SPARE]] = tree.pending[tree.cursor[PENDING]]
        tree.cursor[SPARE] += 1
        tree.mass[slot] *= 2.0
    return 1 if above else 0


@njit(cache=True, nogil=True)
def _push_far_side(net, tree, slot, column, k, bit):  # type: ignore[no-untyped-def]
    """Copy the dictionary, take the copy across the candidate's zero and leave it for later."""
    cursor = tree.cursor
    cursor[SPARE] -= 1
    other = tree.spare[cursor[SPARE]]
    n = tree.size[slot]
    copy_dictionary(tree.t, tree.basic, tree.nonbasic, tree.flipped, slot, other, n)
    tree.size[other] = n
    _cross(net, tree, other, column, k)
    tree.level[other], tree.bit[other] = k + 1, bit
    tree.mass[slot] /= 2.0
    tree.mass[other] = tree.mass[slot]
    tree.pending[cursor[PENDING]] = other
    cursor[PENDING] += 1
