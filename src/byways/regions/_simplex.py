# sizes: one compiled loop and the moves that it makes, which share one layout
"""Method "simplex": depth-first over decisions with one live dictionary.

A node of the tree is a full-dimensional cell, known by a vertex of its closure. Where the next
decision's row is positive at that vertex, the positive side is full-dimensional for free; the
other side is, if and only if the row's minimum over the closed cell is negative. That is one run
of the primal simplex method from a feasible vertex, left as soon as the row falls below zero.
Where the row vanishes at the vertex neither side is free, and both are searched.

A window of several decisions, a maximum of several numbers, is one step: for each entry a copy of
the dictionary is taken to where that entry is at least all others, one rival after another.

All of R^d needs no box: free coordinates enter the basis and stay there, and a side that is reached
along an endless edge is alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import borrowing, borrowing_entry, inlined
from byways.regions._dictionary import (
    copy_dictionary,
    descend,
    express,
    pivot,
    prune,
    rebuild,
)
from byways.regions._engine import Batch, Subtree, given_away
from byways.regions._interior import interior_point
from byways.regions._net import Net, enter_stage, stage_rows
from byways.regions._problem import NEGLIGIBLE
from byways.regions._signs import words_for
from byways.regions._tree import (
    AGE,
    AMBIGUOUS,
    BIT,
    CURRENT,
    FORCED,
    LEVEL,
    NODES,
    PENDING,
    PIVOTS,
    SIZE,
    SPARE,
    STOP,
    TO_VISIT,
    UNUSED,
    drop_oldest,
    plant,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._engine import Order
    from byways.regions._problem import Problem

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["SimplexWalk"]

_OLD = 64  # pivots after which a dictionary is computed afresh, long before rounding shows


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

    @property
    def open(self) -> int:
        """Number of dictionaries that are still to visit; 0 on the way through the prefix."""
        cursor, current = self._tree.cursor, self._tree.cursor[CURRENT]
        if current >= 0 and self._tree.frame[current, LEVEL] <= cursor[FORCED]:
            return 0
        return int(cursor[PENDING] + (current >= 0))

    def share_out(self, kept: float = 0.0) -> list[Subtree]:
        """Give away the oldest of what is left."""
        tree, cursor, m = self._tree, self._tree.cursor, self._net.domain_rows.shape[0]
        pending, current = int(cursor[PENDING]), int(cursor[CURRENT])
        slots = [*tree.stack[TO_VISIT, :pending].tolist(), *([current] if current >= 0 else [])]
        rest, going = [], slots[: given_away(tree.mass[slots], kept)]
        for slot in going:
            prefix = tree.bits[m : tree.frame[slot, LEVEL]].copy()  # the path leads past its root
            if slot != current:
                begin, end = tree.window[tree.frame[slot, LEVEL] - 1] - m
                prefix[begin:end] = np.arange(1, end - begin + 1) == tree.frame[slot, BIT]
            rest.append(Subtree(prefix, float(tree.mass[slot])))
            tree.counts[:] += self._net.decision_start[1:] == len(prefix)
        drop_oldest(cursor, tree.stack, len(going))
        self.finished = bool(cursor[CURRENT] < 0 and cursor[PENDING] == 0)
        return rest


# sizes: kernel, the loop that unpacks both tuples once, because handing them over costs a test
@borrowing_entry
def _advance(net, tree, words, points, leaves, work, tolerance):
    """Visit nodes until a limit is reached; return the number of leaves met."""
    t, basic, nonbasic, flipped, frame = tree.t, tree.basic, tree.nonbasic, tree.flipped, tree.frame
    mass, stack, cursor, bits, rows = tree.mass, tree.stack, tree.cursor, tree.bits, tree.rows
    free, follows, section_end, m = net.free, net.follows, net.section_end, net.domain_rows.shape[0]
    settled, reach, contest, found = tree.settled, tree.reach, tree.contest, 0
    while found < leaves and cursor[NODES] + cursor[PIVOTS] < work:
        if cursor[CURRENT] < 0:
            if not _take_pending(cursor, stack, frame, bits):
                break
            if contest[0] < contest[contest.size - 1]:
                _recall(net, tree, cursor[CURRENT])
        slot = cursor[CURRENT]
        level, n, before = frame[slot, LEVEL], frame[slot, SIZE], cursor[PIVOTS]
        if level >= m and (level == m or section_end[level - 1] == level):
            arrive(net, tree, slot)
            n = frame[slot, SIZE]
            if cursor[FORCED] <= level < cursor[STOP]:
                # fmt: off
                _survey(
                    t, basic, nonbasic, flipped, slot, n, free, rows, reach, bits, settled, cursor,
                    level, section_end[level], tolerance,
                )
                # fmt: on
        if level == cursor[STOP]:
            if words.shape[0]:
                _write_word(words, found, bits, m, level)
            if points.shape[0]:
                interior_point(
                    t, basic, nonbasic, flipped, slot, n, free, reach, bits, tolerance, points,
                    found,
                )  # fmt: skip
            found += 1
            _leave(cursor, stack, tree.explored, mass[slot], slot)
        elif level < cursor[FORCED]:
            if contest[level] == level:
                meet(net, tree, level)
            if not follow(free, tree, slot, level, tolerance):
                _leave(cursor, stack, tree.explored, mass[slot], slot)
        else:
            if frame[slot, AGE] > _OLD:
                n = rebuild(t, basic, nonbasic, flipped, slot, n, free, rows, bits)
                frame[slot, SIZE], frame[slot, AGE] = n, 0
            if contest[level] == level:
                _contend(net, tree, slot, level, tolerance)
                continue
            end = min(section_end[level], cursor[STOP], contest[level])
            # fmt: off
            k, column = _pass_by(
                t, basic, nonbasic, flipped, slot, n, free, rows, reach, follows, settled, bits,
                cursor, level, end, tolerance,
            )
            frame[slot, LEVEL] = min(k + 1, end)
            frame[slot, AGE] += cursor[PIVOTS] - before
            if column > 0:
                _push_far_side(
                    t, basic, nonbasic, flipped, frame, mass, stack, cursor, slot, column, k,
                    1 - bits[k], free,
                )
                _append(t, basic, frame, slot, nonbasic.shape[1] + k)
                frame[slot, SIZE] = prune(t, basic, nonbasic, slot, n + 1, free)
            elif k < end:
                bits[k] = _branch_at_zero(
                    t, basic, nonbasic, flipped, frame, mass, stack, cursor, slot, k, free, reach,
                    bits, tolerance,
                )
            # fmt: on
    return found


@borrowing
def _take_pending(cursor, stack, frame, bits):
    """Make the youngest pending dictionary the current one."""
    if cursor[PENDING] == 0:
        return False
    cursor[PENDING] -= 1
    slot = stack[TO_VISIT, cursor[PENDING]]
    cursor[CURRENT] = slot
    bits[frame[slot, LEVEL] - 1] = frame[slot, BIT]
    return True


@borrowing
def _leave(cursor, stack, explored, mass, slot):
    """Give the current dictionary back; its share of the tree is done."""
    explored[0] += mass
    stack[UNUSED, cursor[SPARE]] = slot
    cursor[SPARE] += 1
    cursor[CURRENT] = -1


@inlined
def arrive(net, tree, slot):
    """Where stages end or begin: count the completed cell and prepare the next stage's rows."""
    level = tree.frame[slot, LEVEL]
    m, cursor = net.domain_rows.shape[0], tree.cursor
    for stage in range(tree.counts.size):
        if net.decision_start[stage + 1] == level - m and (
            level > cursor[FORCED] or cursor[FORCED] == m
        ):
            tree.counts[stage] += 1
        if net.decision_start[stage] == level - m and level < cursor[STOP]:
            size = enter_stage(net, stage, tree.bits[m:], tree.maps)
            tree.sizes[stage] = size
            doubts = stage_rows(net, stage, size, tree.maps, tree.rows[m:])
            _measure(tree.rows, tree.reach, level, net.section_end[level])
            if level >= cursor[FORCED]:  # else whoever gave the prefix has counted them
                cursor[AMBIGUOUS] += doubts


@borrowing
def _measure(rows, reach, start, end):
    """Bound rows on the box."""
    for k in range(start, end):
        low = high = rows[k, 0]
        for c in range(1, rows.shape[1]):
            low, high = low + min(rows[k, c], 0.0), high + max(rows[k, c], 0.0)
        reach[0, k], reach[1, k] = -low, high


@borrowing
def meet(net, tree, start):
    """Prepare the rows of a window whose winner is known from the bits."""
    end, winner = tree.window[start, 1], start - 1
    for k in range(start, end):
        if tree.bits[k]:
            winner = k
    _crown(net, tree, start, end, winner)


@borrowing
def _recall(net, tree, slot):
    """Make the winner that a dictionary has in its last window that of the path."""
    last = tree.frame[slot, LEVEL] - 1
    start, end = tree.window[last]
    if end - start > 1:
        _crown(net, tree, start, end, start - 1 + tree.frame[slot, BIT])


@borrowing
def _crown(net, tree, start, end, winner):
    """Let an entry of a window be the largest: write bits and rows; ``start - 1`` means entry 0.

    The row of a constraint is what is negative where its entry is less than the winner; that of the
    winner is positive where it is more than entry 0. Of entries that are equal on the whole cell
    the first wins.
    """
    m, maps, rows, stage = net.domain_rows.shape[0], tree.maps, tree.rows, 0
    while net.decision_start[stage + 1] <= start - m:
        stage += 1
    doubt = NEGLIGIBLE * tree.sizes[stage]
    for k in range(start, end):
        tree.bits[k] = k == winner
        unit, rival = net.unit[k - m], net.unit[max(winner - m, 0)]
        contested = winner >= start and k != winner
        noise = doubt * (net.weight_size[unit] + (net.weight_size[rival] if contested else 0.0))
        gradient = 0.0
        for c in range(rows.shape[1]):
            rows[k, c] = maps[c, unit] - (maps[c, rival] if contested else 0.0)
            gradient += rows[k, c] ** 2 if c else 0.0
        gradient = np.sqrt(gradient)
        level = rows[k, 0]
        for c in range(rows.shape[1]):
            rows[k, c] = rows[k, c] / gradient if gradient > noise else 0.0
        if gradient <= noise and abs(level) > noise:
            rows[k, 0] = 1.0 if level > 0 else -1.0
        elif gradient <= noise and contested and k < winner:
            rows[k, 0] = 1.0
    _measure(rows, tree.reach, start, end)


@borrowing
def _contend(net, tree, slot, start, tolerance):
    """Leave a dictionary for each entry of a window that is the largest somewhere in the cell."""
    t, basic, nonbasic, flipped, frame = tree.t, tree.basic, tree.nonbasic, tree.flipped, tree.frame
    cursor, stack, end, before = (
        tree.cursor,
        tree.stack,
        tree.window[start, 1],
        tree.cursor[PENDING],
    )
    for winner in range(end - 1, start - 2, -1):
        if _has_lost(tree.settled, start, end, winner):
            continue
        cursor[NODES] += 1
        cursor[SPARE] -= 1
        other = stack[UNUSED, cursor[SPARE]]
        copy_dictionary(t, basic, nonbasic, flipped, slot, other, frame[slot, SIZE])
        for i in range(frame.shape[1]):
            frame[other, i] = frame[slot, i]
        _crown(net, tree, start, end, winner)
        k = start
        while k < end and follow(net.free, tree, other, k, tolerance):
            k += 1
        if k < end:
            stack[UNUSED, cursor[SPARE]] = other
            cursor[SPARE] += 1
            continue
        frame[other, SIZE] = prune(t, basic, nonbasic, other, frame[other, SIZE], net.free)
        frame[other, BIT] = winner - start + 1
        stack[TO_VISIT, cursor[PENDING]] = other
        cursor[PENDING] += 1
    children = cursor[PENDING] - before
    for i in range(before, cursor[PENDING]):
        tree.mass[stack[TO_VISIT, i]] = tree.mass[slot] / children
    _leave(cursor, stack, tree.explored, 0.0 if children else tree.mass[slot], slot)


@borrowing
def _has_lost(settled, start, end, winner):
    """Tell whether an entry of a window is known to be smaller than another on the whole stage."""
    lost = winner >= start and settled[winner] == 0
    for k in range(start, end):
        lost |= winner < start and settled[k] == 1
    return lost


@borrowing
def _write_word(words, at, bits, m, end):
    for i in range(m, end):
        if bits[i]:
            k = i - m
            words[at, k >> 6] |= np.uint64(1) << np.uint64(63 - (k & 63))


@borrowing
def _negate(t, slot, n):
    for c in range(t.shape[1] - 1):
        t[slot, c, n] = -t[slot, c, n]


@borrowing
def _append(t, basic, frame, slot, label):
    """Keep the candidate as a slack; it is not negative here."""
    n = frame[slot, SIZE]
    basic[slot, n] = label
    t[slot, 0, n], t[slot, t.shape[1] - 1, n] = max(t[slot, 0, n], 0.0), np.inf
    frame[slot, SIZE] = n + 1


@borrowing
def _cross(t, basic, nonbasic, flipped, frame, slot, column, label, free):
    """Follow an edge through the candidate's zero and make its far side the cell."""
    n = frame[slot, SIZE]
    t[slot, 0, n] = max(t[slot, 0, n], 0.0)  # the vertex may lie beyond zero by a rounding
    _negate(t, slot, n)
    basic[slot, n] = label
    pivot(t, basic, nonbasic, flipped, slot, n, n, column, free)
    frame[slot, SIZE] = n + 1


@borrowing
def follow(free, tree, slot, k, tolerance):
    """Go to the given side of a constraint; False if that side of the cell is empty."""
    t, basic, nonbasic, flipped, frame = tree.t, tree.basic, tree.nonbasic, tree.flipped, tree.frame
    n, d, rows = frame[slot, SIZE], nonbasic.shape[1], tree.rows
    frame[slot, LEVEL] = k + 1
    constant = True
    for c in range(1, d + 1):
        constant &= rows[k, c] == 0.0
    if constant:
        return (rows[k, 0] > 0) == (tree.bits[k] > 0)
    express(rows, k, t, basic, nonbasic, flipped, slot, n, free)
    if not tree.bits[k]:
        _negate(t, slot, n)
    if t[slot, 0, n] > tolerance:
        _append(t, basic, frame, slot, d + k)
        return True
    _negate(t, slot, n)
    column, pivots = descend(
        t, basic, nonbasic, flipped, slot, n, free, tree.reach, tree.bits, tolerance
    )
    tree.cursor[PIVOTS] += pivots
    frame[slot, AGE] += pivots
    if column <= 0:
        tree.cursor[AMBIGUOUS] += _doubtful(t, slot, n, column, tolerance)
        return False
    _cross(t, basic, nonbasic, flipped, frame, slot, column, d + k, free)
    return True


@borrowing
def _survey(
    t, basic, nonbasic, flipped, slot, n, free, rows, reach, bits, settled, cursor, start, end,
    tolerance,
):  # fmt: skip
    """Find the decisions of a stage that miss its whole cell: settled for all that it is cut into.

    Where a stage has few units for the dimension nearly all of them cut, and asking is a waste.
    """
    worthwhile = end - start > nonbasic.shape[1]
    for k in range(start, end):
        settled[k] = -1
        if not worthwhile:
            continue
        cursor[NODES] += 1
        express(rows, k, t, basic, nonbasic, flipped, slot, n, free)
        value = t[slot, 0, n]
        if abs(value) <= tolerance:
            continue
        if value < 0:
            _negate(t, slot, n)
        column, pivots = descend(t, basic, nonbasic, flipped, slot, n, free, reach, bits, tolerance)
        cursor[PIVOTS] += pivots
        if column <= 0:
            cursor[AMBIGUOUS] += _doubtful(t, slot, n, column, tolerance)
            settled[k] = value > 0


@borrowing
def _pass_by(
    t,
    basic,
    nonbasic,
    flipped,
    slot,
    n,
    free,
    rows,
    reach,
    follows,
    settled,
    bits,
    cursor,
    k,
    end,
    tolerance,
):
    """Record the bits of decisions that do not cut the cell.

    Returns the first decision that cuts the cell or vanishes at its vertex (or ``end``), and the
    column of the edge that leads across; 0 where the row vanishes.
    """
    while k < end:
        # A unit that is not above a threshold is not above its higher ones either.
        known = 0 if follows[k] and bits[k - 1] == 0 else settled[k]
        if known >= 0:
            bits[k] = known
            k += 1
            continue
        cursor[NODES] += 1
        express(rows, k, t, basic, nonbasic, flipped, slot, n, free)
        value = t[slot, 0, n]
        if abs(value) <= tolerance:
            return k, 0
        bits[k] = value > 0
        if value < 0:
            _negate(t, slot, n)
        column, pivots = descend(t, basic, nonbasic, flipped, slot, n, free, reach, bits, tolerance)
        cursor[PIVOTS] += pivots
        if column > 0:
            return k, column
        cursor[AMBIGUOUS] += _doubtful(t, slot, n, column, tolerance)
        k += 1
    return k, 0


@borrowing
def _doubtful(t, slot, n, column, tolerance):
    """Tell whether "nowhere negative" rests on a number that might be rounding."""
    value = t[slot, 0, n]
    if column < 0 or (value != 0.0 and abs(value) <= tolerance):
        return True
    if value <= tolerance:  # a negative coefficient that was taken for rounding might be real
        for c in range(1, t.shape[1] - 1):
            if t[slot, c, n] < 0.0:
                return True
    return False


@borrowing
def _branch_at_zero(
    t, basic, nonbasic, flipped, frame, mass, stack, cursor, slot, k, free, reach, bits, tolerance
):
    """Decide a constraint that vanishes at the vertex; return the bit of the current dictionary."""
    n = frame[slot, SIZE]
    below, pivots = descend(t, basic, nonbasic, flipped, slot, n, free, reach, bits, tolerance)
    doubts = below <= 0 and _doubtful(t, slot, n, below, tolerance)
    if below > 0:
        _push_far_side(
            t, basic, nonbasic, flipped, frame, mass, stack, cursor, slot, below, k, 0, free
        )
    _negate(t, slot, n)
    above, more = descend(t, basic, nonbasic, flipped, slot, n, free, reach, bits, tolerance)
    doubts |= above <= 0 and _doubtful(t, slot, n, above, tolerance)
    cursor[PIVOTS] += pivots + more
    cursor[AMBIGUOUS] += doubts
    if above > 0 and below > 0:
        _cross(t, basic, nonbasic, flipped, frame, slot, above, nonbasic.shape[1] + k, free)
    elif below > 0:  # the cell lies on the negative side as it is: take the sibling back
        cursor[PENDING] -= 1
        stack[UNUSED, cursor[SPARE]] = stack[TO_VISIT, cursor[PENDING]]
        cursor[SPARE] += 1
        mass[slot] *= 2.0
    return above > 0


@borrowing
def _push_far_side(
    t, basic, nonbasic, flipped, frame, mass, stack, cursor, slot, column, k, bit, free
):
    """Copy the dictionary, take the copy across the candidate's zero and leave it for later."""
    cursor[SPARE] -= 1
    other = stack[UNUSED, cursor[SPARE]]
    n = frame[slot, SIZE]
    copy_dictionary(t, basic, nonbasic, flipped, slot, other, n)
    frame[other, SIZE], frame[other, LEVEL], frame[other, BIT] = n, k + 1, bit
    frame[other, AGE] = frame[slot, AGE] + 1
    _cross(t, basic, nonbasic, flipped, frame, other, column, nonbasic.shape[1] + k, free)
    frame[other, SIZE] = prune(t, basic, nonbasic, other, frame[other, SIZE], free)
    mass[slot] /= 2.0
    mass[other] = mass[slot]
    stack[TO_VISIT, cursor[PENDING]] = other
    cursor[PENDING] += 1
