# sizes: one walk: its compiled loop and the moves that share the path's layout
"""Method "vertices": cells of a domain with few coordinates, carried by their corners.

A node of the tree is a polytope, given by its corners, and a list of those decisions of the current
stage whose hyperplane cuts it, with the values of their rows at the corners. The first listed
decision splits the polytope; coordinates of new corners and all values there come by interpolation.
A decision that has one sign at all corners is settled for the whole subtree. When the list is empty
the next stage is entered, and its values are computed afresh from the corners.

Every split succeeds, so the tree has no dead ends. The next stage's rows are summed up on the way:
when a unit's segment is known its share is added, so that nothing is multiplied twice.

Outside the plane cuts must meet no corner (see ``_cuts``). A cell where one does is handed over to
method "simplex", with all that is below it. So is a network with windows of several decisions.

References:
    Rada and Cerny (2018), "A new algorithm for enumeration of cells of hyperplane arrangements".
    Deviations: corners stand in place of linear programs, and decisions that cannot cut a cell are
    settled before their turn, because their values at the corners are at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import borrowing_entry, melted
from byways.regions._cuts import (
    ABOVE,
    BELOW,
    BOTH,
    cut_ring,
    cut_simple,
    pick,
    split,
    strike,
    verdict,
)
from byways.regions._engine import MOST_COORDINATES, Batch, Order, Subtree, given_away
from byways.regions._leaves import FEW, beyond, give, give_quarters, mean, quarters, record
from byways.regions._net import Net
from byways.regions._problem import NEGLIGIBLE
from byways.regions._signs import unpack, words_for
from byways.regions._sums import add_units, begin_sums, copy_run, survey
from byways.regions._trail import (
    AMBIGUOUS,
    BASE,
    CORNERS,
    CUT,
    DECISION,
    DIM,
    DONE,
    ENTERING,
    EXPLORED,
    FORCED,
    GONE,
    HANDED,
    LISTED,
    LISTS,
    MASS,
    NEXT,
    PENDING,
    PLAIN,
    SIZE,
    STAGE,
    STAGES,
    STATE,
    STOP,
    STORED,
    TESTS,
    WANT_CORNERS,
    WANT_FLOATS,
    WANT_INTS,
    Ground,
    grown,
    planted,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._problem import Problem
    from byways.regions._simplex import SimplexWalk

    Ints = NDArray[np.int64]

__all__ = ["VerticesWalk"]


class VerticesWalk:
    """Walk over the cells of a problem with few bounded coordinates; see ``Walk``.

    Memory is that of one polytope with its values per split on the path. Cost per cell is about
    ``corners x listed`` interpolations, and per cell of a stage ``units x next units`` additions at
    most. ``handed`` counts the cells that were handed over to method "simplex".
    """

    def __init__(self, problem: Problem, order: Order) -> None:
        if problem.free.any() or problem.dim > MOST_COORDINATES:
            raise ValueError(
                f'method="vertices" needs a domain with at most {MOST_COORDINATES} coordinates, '
                f"all bounded; this one has {problem.dim}, of which {int(problem.free.sum())} "
                'unbounded. Use method="simplex"'
            )
        self._problem = problem
        self._net = Net.of(problem)
        self._order = order
        self._prefix = np.ascontiguousarray(order.prefix, dtype=np.uint8)
        self._inner: SimplexWalk | None = None
        words = words_for(problem.decisions)
        self._held = Batch(
            np.zeros((0, words), np.uint64), np.zeros((0, problem.dim)), 0
        )  # leaves found beyond those that were asked for
        self.handed = 0
        ground = Ground.of(problem, order.tolerance)
        self._trail = planted(self._net, ground, order)
        if not ground.simple or problem.contested:
            self._trail.numbers[EXPLORED] = 0.0
            self._hand_over()

    @property
    def finished(self) -> bool:
        """Whether every leaf has been given."""
        return self._held.leaves == 0 and self._exhausted

    @property
    def _exhausted(self) -> bool:
        """Whether every leaf has been found."""
        cursor = self._trail.cursor
        return bool(self._inner is None and cursor[STATE] == GONE and cursor[PENDING] == 0)

    @property
    def layer_counts(self) -> Ints:
        """Cells completed per stage."""
        trail, ends, held = self._trail, self._net.decision_start[1:], self._held.leaves
        counts = trail.counts if self._inner is None else trail.counts + self._inner.layer_counts
        # Leaves are cells of a stage if the walk stops at its end.
        return counts - held * (ends == trail.cursor[STOP]) if held else counts

    @property
    def ambiguous(self) -> int:
        """Decisions within the tolerance of zero."""
        inner = 0 if self._inner is None else self._inner.ambiguous
        return int(self._trail.cursor[AMBIGUOUS]) + inner

    @property
    def explored(self) -> float:
        """Share of the tree that is done."""
        explored, mass, _ = self._trail.numbers.tolist()
        return float(explored + (0.0 if self._inner is None else mass * self._inner.explored))

    @property
    def work(self) -> int:
        """Decisions tested on a polytope, and the steps of method "simplex"."""
        return int(self._trail.cursor[TESTS]) + (0 if self._inner is None else self._inner.work)

    def advance(self, leaves: int, work: int) -> Batch:
        """Go on for at most ``leaves`` leaves, and about ``work`` tests."""
        until, parts, found = self.work + work, [self._held], self._held.leaves
        while not self._exhausted and found < leaves and self.work < until:
            if self._inner is None:
                part = self._cut(leaves - found, until)
            else:
                part = self._inner.advance(leaves - found, until - self.work)
                self._take_back()
            parts.append(part)
            found += part.leaves
        batch, self._held = Batch.joined(parts).split(leaves)
        return batch

    @property
    def open(self) -> int:
        """Number of polytopes that are still to visit; 0 on the way through the prefix."""
        cursor = self._trail.cursor
        inner = 0 if self._inner is None else self._inner.open
        if cursor[STATE] == GONE or inner:
            return int(cursor[PENDING]) + inner
        deeper = self._position()[0] > cursor[FORCED]
        return int(cursor[PENDING]) + 1 if deeper else 0

    def share_out(self, kept: float = 0.0) -> list[Subtree]:
        """Give away the oldest of what is left."""
        trail, cursor, ends = self._trail, self._trail.cursor, self._net.decision_start[1:]
        path, mass = unpack(trail.word[None], self._net.unit.size)[0], float(trail.numbers[MASS])
        pending, frames, numbers = int(cursor[PENDING]), trail.frames, trail.frame_numbers
        here = [] if cursor[STATE] == GONE else [mass]
        going = given_away(np.array([*numbers[:pending, 0], *here]), kept)
        rest, waiting = [], min(going, pending)
        for p in range(waiting):
            prefix = path[: frames[p, 3] + 1].copy()  # the path leads past all that waits
            prefix[-1] = 1
            rest.append(Subtree(prefix, float(numbers[p, 0])))
            trail.counts[:] += ends == len(prefix)
        for array in (frames, numbers):
            array[: pending - waiting] = array[waiting:pending].copy()
        cursor[PENDING] = pending - waiting
        return rest if going == waiting else rest + self._give_here(path, mass)

    def _give_here(self, path: NDArray[np.uint8], mass: float) -> list[Subtree]:
        """Give away what is left of the current polytope."""
        trail, cursor, rest = self._trail, self._trail.cursor, []
        if self._inner is not None and self._inner.open:
            rest = [Subtree(bits, mass * share) for bits, share in self._inner.share_out()]
            mass *= self._inner.explored
            self._take_back()
            trail.numbers[EXPLORED] += mass - trail.numbers[MASS]
        else:
            level, counted = self._position()
            rest.append(Subtree(path[:level].copy(), mass))
            trail.counts[:] += (self._net.decision_start[1:] == level) & (not counted)
        self._inner, cursor[STATE] = None, GONE
        return rest

    def _position(self) -> tuple[int, bool]:
        """Say how many decisions lie behind the current polytope.

        If they end with a stage: also whether the walk is past its end, and has counted the cell.
        """
        cursor, starts = self._trail.cursor, self._net.decision_start
        if cursor[STATE] == ENTERING:
            return int(starts[cursor[STAGE]]), True
        if cursor[LISTED]:
            return int(self._trail.listed[0]), True
        last = min(int(cursor[STAGE]) + 1, len(starts) - 1)
        return min(int(starts[last]), int(cursor[STOP])), False

    def _cut(self, leaves: int, until: int) -> Batch:
        """Go on until a limit, or until a cell has to be handed over.

        The last polytope's leaves come together, up to ``FEW`` of them too many.
        """
        kept = leaves + FEW if self._order.listing else 0
        words = np.zeros((kept, self._trail.word.size), dtype=np.uint64)
        points = np.empty((kept if self._order.witnesses else 0, self._problem.dim))
        limits = np.array([leaves, until])
        tolerance, found = self._order.tolerance, 0
        while True:
            trail = self._trail
            found = _advance(
                self._net, self._prefix, trail, words, points, found, limits, tolerance
            )
            if not any(trail.cursor[WANT_FLOATS:].tolist()):  # faster than NumPy's
                break
            self._trail = grown(trail)
        if trail.cursor[STATE] == HANDED:
            self._hand_over()
        return Batch(words[:found], points[:found], int(found))

    def _hand_over(self) -> None:
        """Let method "simplex" walk over the current cell: all before its next cut is decided."""
        from byways.regions._simplex import SimplexWalk

        trail, order = self._trail, self._order
        prefix = unpack(trail.word[None], int(trail.listed[0]))[0]
        if len(prefix) < len(self._prefix):
            prefix = self._prefix
        self.handed += 1
        self._inner = SimplexWalk(
            self._problem,
            Order(prefix, order.stop, order.witnesses, order.listing, order.tolerance),
        )

    def _take_back(self) -> None:
        """Go on here if method "simplex" is done with the cell that it got."""
        inner, trail = self._inner, self._trail
        if inner is None or not inner.finished:
            return
        trail.counts[:] += inner.layer_counts
        trail.cursor[AMBIGUOUS] += inner.ambiguous
        trail.cursor[TESTS] += inner.work
        trail.numbers[EXPLORED] += trail.numbers[MASS]
        trail.cursor[STATE] = GONE
        self._inner = None


# sizes: kernel, it unpacks the trail once for all visits
@borrowing_entry
def _advance(net, prefix, trail, words, points, found, limits, tolerance):
    """Visit polytopes until a limit is reached or room is missing; return the leaves met so far."""
    cursor, numbers, word, counts = trail.cursor, trail.numbers, trail.word, trail.counts
    polytope, masks, listed, decided = trail.polytope, trail.masks, trail.listed, trail.decided
    source, origin, target, share = trail.source, trail.origin, trail.target, trail.share
    row, spare, verdicts, sums = trail.row, trail.spare, trail.verdicts, trail.sums
    store, lists, frames, masses = trail.store, trail.lists, trail.frames, trail.frame_numbers
    maps, middle, reach = trail.maps, trail.middle, trail.reach
    ends, units, dim = net.decision_start[1:], net.unit, cursor[DIM]
    thresholds, weight_size, biases = net.threshold, net.weight_size, net.biases
    unit_start, weight_start, weights = net.unit_start, net.weight_start, net.weights
    unit_decision, slopes, intercepts = net.unit_decision, net.slopes, net.intercepts
    decided_end = net.decided_end
    most_leaves, most_work = limits[0], limits[1]
    stages, forced, stop = cursor[STAGES], cursor[FORCED], cursor[STOP]
    while found < most_leaves and cursor[TESTS] < most_work:
        state, stage = cursor[STATE], cursor[STAGE]
        if state == ENTERING:
            if not _enter(
                cursor, numbers, word, polytope, listed, decided, prefix, maps, sums, middle, reach,
                ends, thresholds, units, unit_start, weight_size, tolerance,
            ):  # fmt: skip
                break
            if stage + 1 >= stages or cursor[STATE] == GONE:
                continue
            done = cursor[DONE]
            for unit in range(decided_end[stage], unit_start[stage + 1]):
                decided[done] = unit
                done += 1
            n = unit_start[stage + 2] - unit_start[stage + 1]
            cursor[NEXT] = (dim + 1) * n
            begin_sums(biases, unit_start[stage + 1], n, dim + 1, sums)
            numbers[SIZE] = add_units(
                unit_start, weight_start, weights, unit_decision, slopes, intercepts,
                stage, dim + 1, decided, done, word, maps, sums,
            )  # fmt: skip
            continue
        if state == HANDED or (state == GONE and cursor[PENDING] == 0):
            break
        k, m, last = cursor[CORNERS], cursor[LISTED], stage + 1 >= stages
        if state == GONE:
            _take_pending(
                cursor, numbers, word, polytope, masks, listed, verdicts, sums, store, lists,
                frames, masses,
            )  # fmt: skip
            m = cursor[LISTED]
        elif m == 0:
            if stage < ends.size and forced < ends[stage] <= stop:
                counts[stage] += 1
            if not last:
                cursor[STAGE], cursor[STATE] = stage + 1, ENTERING
                continue
            give(word, words, found)
            if points.shape[0]:
                mean(polytope, cursor[BASE], k, points, found)
            found += 1
            numbers[EXPLORED] += numbers[MASS]
            cursor[STATE] = GONE
            continue
        elif m == 1 and last:
            # Two leaves: where their corners are need not be known.
            before = found
            for bit in range(2):
                if listed[0] < forced and bit != prefix[listed[0]]:
                    continue
                record(word, listed[0], bit)
                give(word, words, found)
                if points.shape[0]:
                    beyond(polytope, cursor[BASE], k, dim, tolerance, bit, points, found)
                found += 1
            if forced < ends[stage] <= stop:
                counts[stage] += found - before
            numbers[EXPLORED] += numbers[MASS]
            cursor[TESTS] += 1
            cursor[STATE] = GONE
            continue
        else:
            if row.size < (dim + 2) * k:
                cursor[WANT_CORNERS] = (dim + 2) * k
                break
            base, half = cursor[BASE], row.size if cursor[BASE] else 0
            if dim == 2:
                below, above, new = cut_ring(
                    polytope, base, k, tolerance, source, origin, target, share
                )
            else:
                below, above, new = cut_simple(
                    polytope, base, k, dim, tolerance, masks, half, source, origin, target, share,
                    spare,
                )  # fmt: skip
            if new < 0:
                cursor[STATE] = HANDED
                break
            if _lacks_room(cursor, polytope, store, lists, max(below, above) + new):
                break
            decision = listed[0]
            keep = decision >= forced
            other = polytope.size // 2 - base
            if m == 2 and last and new >= dim:
                before = found
                under, over, section, doubts = quarters(
                    polytope, base, k, dim, source, below, above, origin, target, share, new, row,
                    tolerance,
                )  # fmt: skip
                found = give_quarters(
                    polytope, base, other, k, dim, tolerance, source, below, above, origin, target,
                    share, new, row, under, over, section, word, prefix, decision, listed[1], words,
                    points, found,
                )  # fmt: skip
                if forced < ends[stage] <= stop:
                    counts[stage] += found - before
                if keep:  # else whoever gave the prefix has counted them
                    cursor[AMBIGUOUS] += doubts
                numbers[EXPLORED] += numbers[MASS]
                cursor[TESTS] += 4
                cursor[STATE] = GONE
                continue
            part = BELOW if keep else np.int64(prefix[decision])
            old, first = above if part else below, dim if last and cursor[PLAIN] else 0
            cursor[DECISION], cursor[STATE] = decision, CUT
            doubts, kept = split(
                polytope, base, k, first, dim, m, source, origin, target, share, new, row,
                part, old, other, verdicts, keep, above, store, cursor[STORED], lists,
                cursor[LISTS] + m - 1, tolerance,
            )  # fmt: skip
            if keep:  # else whoever gave the prefix has counted them
                cursor[AMBIGUOUS] += doubts
            for r in range(1, m):
                listed[r - 1] = listed[r]
            if dim != 2:
                pick(source, part, old, k, new, spare, masks, row.size - half)
            if keep:
                if dim != 2:
                    pick(source, ABOVE, above, k, new, spare, lists, cursor[LISTS] + 2 * (m - 1))
                _put_off(
                    cursor, numbers, listed, sums, store, lists, frames, masses, above + new, kept
                )
            record(word, decision, part)
            m -= 1
            cursor[BASE], cursor[CORNERS] = other, old + new
        cursor[TESTS] += 1 + m
        left, done = strike(cursor[DECISION], listed, m, verdicts, word, prefix, units, decided)
        if left < 0:
            numbers[EXPLORED] += numbers[MASS]
            cursor[STATE] = GONE
            continue
        cursor[LISTED] = left
        if done and cursor[STAGE] + 1 < stages:
            size = add_units(
                unit_start, weight_start, weights, unit_decision, slopes, intercepts,
                cursor[STAGE], dim + 1, decided, done, word, maps, sums,
            )  # fmt: skip
            numbers[SIZE] = max(numbers[SIZE], size)
    return found


@melted
def _compare(maps, row, width, threshold, polytope, base, k, dim, m, doubt, tolerance):
    """Decide a row that may cut the polytope; leave its values in the place of the next listed row.

    Returns a verdict, and whether rounding might have decided it.
    """
    constant, gradient = maps[row] - threshold, 0.0
    for c in range(1, dim + 1):
        gradient += maps[row + c * width] * maps[row + c * width]
    gradient = np.sqrt(gradient)
    if gradient <= doubt:  # the unit is constant here
        return 1 if constant > doubt else 0, 1 if 0.0 < abs(constant) <= doubt else 0
    scale, at = 1.0 / gradient, base + (dim + m) * k
    constant *= scale
    put, corners = np.uint64(at), np.uint64(k)
    for v in range(corners):
        polytope[put + v] = constant
    for c in range(dim):
        slope, begin = maps[row + (c + 1) * width] * scale, np.uint64(base + c * k)
        for v in range(corners):
            polytope[put + v] += slope * polytope[begin + v]
    return verdict(polytope, at, k, tolerance)


@melted
def _enter(
    cursor, numbers, word, polytope, listed, decided, prefix, maps, sums, middle, reach, ends,
    thresholds, units, unit_start, weight_size, tolerance,
):  # fmt: skip
    """Begin a stage; returns False if there is not enough room to do so."""
    stage, k, dim = cursor[STAGE], cursor[CORNERS], cursor[DIM]
    first, width = unit_start[stage], unit_start[stage + 1] - unit_start[stage]
    begin, end = ends[stage - 1] if stage else 0, min(ends[stage], cursor[STOP])
    if polytope.size < 2 * (dim + end - begin) * k:
        cursor[WANT_FLOATS] = (dim + end - begin) * k
        return False
    rows, doubt = (dim + 1) * first, NEGLIGIBLE * numbers[SIZE]
    copy_run(sums, 0, maps, rows, (dim + 1) * width)
    survey(
        polytope, cursor[BASE], k, dim, k, maps, rows, width, weight_size, first, doubt, tolerance,
        middle, reach,
    )  # fmt: skip
    cursor[NEXT] = 0
    cursor[DONE] = _sort_out(
        cursor, numbers, word, polytope, listed, decided, prefix, maps, rows, first, width, middle,
        reach, weight_size, doubt, thresholds, units, tolerance, begin, end,
    )  # fmt: skip
    return True


# sizes: kernel, the loop over all decisions of a stage is hot and shares a dozen numbers
@melted
def _sort_out(
    cursor, numbers, word, polytope, listed, decided, prefix, maps, rows, first, width, middle,
    reach, weight_size, doubt, threshold, unit, tolerance, begin, end,
):  # fmt: skip
    """List the decisions that cut the polytope, settle the others; count the units then decided."""
    base, k, dim = cursor[BASE], cursor[CORNERS], cursor[DIM]
    forced = cursor[FORCED]
    cursor[TESTS] += end - begin
    cursor[STATE] = CUT
    m, done, listed_before = 0, 0, 0
    for d in range(begin, end):
        i = unit[d] - first
        offset = middle[i] - threshold[d]
        bit = 1 if offset > 0.0 else 0
        if abs(offset) <= reach[i]:
            bit, doubtful = _compare(
                maps,
                rows + i,
                width,
                threshold[d],
                polytope,
                base,
                k,
                dim,
                m,
                doubt * weight_size[first + i],
                tolerance,
            )
            if begin >= forced:  # else whoever gave the prefix has counted it
                cursor[AMBIGUOUS] += doubtful
        if bit == BOTH:
            listed[m] = d
            m += 1
        elif d < forced and bit != prefix[d]:
            numbers[EXPLORED] += numbers[MASS]
            cursor[STATE] = GONE
            return 0
        else:
            record(word, d, bit)
        if d + 1 == end or unit[d + 1] != unit[d]:
            if m == listed_before:
                decided[done] = unit[d]
                done += 1
            listed_before = m
    cursor[LISTED] = m
    return done


@melted
def _lacks_room(cursor, polytope, store, lists, corners):
    """Note what is too small for both parts of a cut, if anything is."""
    needed = (cursor[DIM] + cursor[LISTED] - 1) * corners
    end = cursor[STORED] + needed + cursor[NEXT]
    if polytope.size < 2 * needed or store.size < end:
        cursor[WANT_FLOATS] = max(needed, end)
    if lists.size < cursor[LISTS] + 2 * cursor[LISTED] + corners:
        cursor[WANT_INTS] = cursor[LISTS] + 2 * cursor[LISTED] + corners
    return cursor[WANT_FLOATS] + cursor[WANT_INTS] > 0


@melted
def _put_off(cursor, numbers, listed, sums, store, lists, frames, masses, k, kept):
    """Note what goes with the part above a cut, whose rows are in the store; halve the mass."""
    m, n, p = cursor[LISTED] - 1, cursor[NEXT], cursor[PENDING]
    begin = cursor[STORED] + (cursor[DIM] + kept) * k
    if n:
        copy_run(sums, 0, store, begin, n)
    for r in range(m):
        lists[cursor[LISTS] + r] = listed[r]
    numbers[MASS] /= 2.0
    frames[p, 0], frames[p, 1], frames[p, 2] = cursor[STAGE], k, m
    frames[p, 3], frames[p, 4], frames[p, 5] = cursor[DECISION], n, kept
    masses[p, 0], masses[p, 1] = numbers[MASS], numbers[SIZE]
    cursor[PENDING], cursor[STORED] = p + 1, begin + n
    cursor[LISTS] += 2 * m + (k if cursor[DIM] != 2 else 0)


@melted
def _take_pending(
    cursor, numbers, word, polytope, masks, listed, verdicts, sums, store, lists, frames, masses
):
    """Make the youngest pending polytope, which lies above its cut, the current one."""
    p, base, dim = cursor[PENDING] - 1, cursor[BASE], cursor[DIM]
    k, m, n, kept = frames[p, 1], frames[p, 2], frames[p, 4], frames[p, 5]
    begin = cursor[STORED] - (dim + kept) * k - n
    cursor[PENDING], cursor[STORED] = p, begin
    if dim != 2:
        cursor[LISTS] -= k
        at = masks.size // 2 if base else 0
        for v in range(k):
            masks[at + v] = lists[cursor[LISTS] + v]
    cursor[LISTS] -= 2 * m
    at = cursor[LISTS]
    for r in range(m):
        listed[r] = lists[at + r]
        verdicts[r] = lists[at + m + r]
    copy_run(store, begin, polytope, base, (dim + kept) * k)
    if n:
        copy_run(store, begin + (dim + kept) * k, sums, 0, n)
    numbers[MASS], numbers[SIZE] = masses[p, 0], masses[p, 1]
    record(word, frames[p, 3], 1)
    cursor[STAGE], cursor[CORNERS], cursor[LISTED], cursor[NEXT] = frames[p, 0], k, m, n
    cursor[DECISION], cursor[STATE] = frames[p, 3], CUT
