# sizes: one compiled loop and the moves that it makes, which share one layout
"""Method "polygon": cells of a domain with two coordinates, cut with scissors.

A node of the tree is a convex polygon and a list of those decisions of the current stage whose
line cuts it, with the values of their rows at the corners. The first listed decision splits the
polygon; corners on the line belong to both parts, new corners and all values there come by
interpolation. A decision that has one sign at all corners is settled for the whole subtree. When
the list is empty the next stage is entered, and its values are computed afresh from the corners.

Every split succeeds, so the tree has no dead ends. The next stage's rows are summed up on the way:
when a unit's segment is known its share is added, so that nothing is multiplied twice.

References:
    Rada and Cerny (2018), "A new algorithm for enumeration of cells of hyperplane arrangements".
    Deviations: corners stand in place of linear programs, and decisions that cannot cut a cell are
    settled before their turn, because in the plane their values at the corners are at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from byways.regions._engine import Batch
from byways.regions._net import Net
from byways.regions._outlines import (
    Outlines,
    add_units,
    begin_sums,
    copy_run,
    domain_outline,
    first_rows,
    outlines,
    polygons,
    survey,
    wider,
)
from byways.regions._problem import NEGLIGIBLE
from byways.regions._signs import words_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._engine import Order
    from byways.regions._problem import Problem

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]

__all__ = ["Outlines", "PolygonWalk", "outlines", "polygons"]

# Places in Trail.cursor. The last three say how much room is missing, 0 for enough.
STATE, STAGE, CORNERS, LISTED, DECISION, BASE, PENDING, STORED, LISTS, TESTS, AMBIGUOUS = range(11)
FORCED, STOP, STAGES, NEXT, WANT_FLOATS, WANT_INTS, WANT_CORNERS = range(11, 18)
# What the current polygon waits for.
GONE, CUT, SETTLED, ENTERING = range(4)
# Places in Trail.numbers: of the walk; of the current polygon.
EXPLORED, MASS, SIZE = range(3)
BOTH = 2  # in place of a bit: the line cuts the polygon


class Trail(NamedTuple):
    """The changing half of a walk: the current polygon, the path to it, and a stack of others.

    ``polygon`` holds, for ``k`` corners, ``k`` abscissae, ``k`` ordinates and ``k`` values for each
    listed decision; two halves, because a cut reads one and writes the other. A pending polygon
    lies in ``store`` in the same form, followed by its ``sums``.
    """

    polygon: Array  # two halves
    listed: Ints
    decided: Ints  # units whose share is to be added
    sums: Array  # rows of the next stage so far, constants first
    maps: Array  # (3 units,): rows of the stages on the path, constants first, stage by stage
    middle: Array  # (widest,): bounds of a stage's rows, see _survey
    reach: Array
    word: Words  # the path's bits
    origin: Ints  # (2, room): for both parts of a cut, corner = origin + share (target - origin)
    target: Ints
    share: Array
    store: Array
    lists: Ints
    frames: Ints  # (decisions + 1, 5): stage, corners, listed, decision, size of sums
    frame_numbers: Array  # (decisions + 1, 2): mass, size
    counts: Ints
    cursor: Ints
    numbers: Array


class PolygonWalk:
    """Walk over the cells of a problem with two bounded coordinates; see ``Walk``.

    Leaves come in lexicographic order of their decisions. Memory is that of one polygon with its
    values per split on the path. Cost per cell is about ``corners x listed`` interpolations, and
    per cell of a stage ``units x next units`` additions at most.
    """

    def __init__(self, problem: Problem, order: Order) -> None:
        if problem.dim != 2 or problem.free.any():
            raise ValueError(
                f'method="polygon" needs a domain with two bounded coordinates; this one has '
                f"{problem.dim}, of which {int(problem.free.sum())} unbounded. "
                'Use method="simplex"'
            )
        self._net = Net.of(problem)
        self._order = order
        self._prefix = np.ascontiguousarray(order.prefix, dtype=np.uint8)
        self._trail = _start(self._net, order)
        self.finished = bool(self._trail.cursor[STATE] == GONE)

    @property
    def layer_counts(self) -> Ints:
        """Cells completed per stage."""
        return self._trail.counts

    @property
    def ambiguous(self) -> int:
        """Decisions within the tolerance of zero."""
        return int(self._trail.cursor[AMBIGUOUS])

    @property
    def explored(self) -> float:
        """Share of the tree that is done."""
        return float(self._trail.numbers[EXPLORED])

    @property
    def work(self) -> int:
        """Decisions tested on a polygon."""
        return int(self._trail.cursor[TESTS])

    def advance(self, leaves: int, work: int) -> Batch:
        """Go on for at most ``leaves`` leaves, and about ``work`` tests."""
        kept = leaves if self._order.listing else 0
        words = np.zeros((kept, self._trail.word.size), dtype=np.uint64)
        points = np.empty((kept if self._order.witnesses else 0, 2))
        limits = np.array([leaves, self.work + work])
        tolerance, found = self._order.tolerance, 0
        while True:
            trail = self._trail
            found = _advance(
                self._net, self._prefix, trail, words, points, found, limits, tolerance
            )
            if not trail.cursor[WANT_FLOATS:].any():
                break
            self._trail = _grown(trail)
        self.finished = bool(trail.cursor[STATE] == GONE and trail.cursor[PENDING] == 0)
        return Batch(words[:found], points[:found], int(found))


def _start(net: Net, order: Order) -> Trail:
    """Put the domain's outline in the first place."""
    decisions, widths = net.unit.size, np.diff(net.unit_start)
    widest = int(widths.max(initial=0))
    corners, _ = domain_outline(net, order.tolerance)
    k = len(corners)
    cursor = np.zeros(18, dtype=np.int64)
    cursor[CORNERS], cursor[FORCED] = k, len(order.prefix)
    cursor[STOP] = decisions if order.stop is None else order.stop
    cursor[STAGES] = np.count_nonzero(net.decision_start[:-1] < cursor[STOP])
    cursor[STATE] = ENTERING if cursor[STAGES] else SETTLED
    if k == 0:
        cursor[STATE] = GONE
    sums, size = np.zeros(3 * widest), 0.0
    if cursor[STAGES]:
        sums[: 3 * widths[0]], size = first_rows(net)
    polygon = np.empty(2 * (2 * k + 256))
    polygon[: 2 * k] = corners.T.ravel()
    room = 2 * (k + decisions) + 8  # a cut adds one corner; _cut asks for more if that is not so
    return Trail(
        polygon=polygon,
        listed=np.empty(decisions + 1, dtype=np.int64),
        decided=np.empty(widest + 1, dtype=np.int64),
        sums=sums,
        maps=np.empty(3 * int(net.unit_start[-1])),
        middle=np.empty(widest),
        reach=np.empty(widest),
        word=np.zeros(words_for(decisions), dtype=np.uint64),
        origin=np.empty((2, room), dtype=np.int64),
        target=np.empty((2, room), dtype=np.int64),
        share=np.empty((2, room)),
        store=np.empty(1024),
        lists=np.empty(256, dtype=np.int64),
        frames=np.empty((decisions + 1, 5), dtype=np.int64),
        frame_numbers=np.empty((decisions + 1, 2)),
        counts=np.zeros(len(net.decision_start) - 1, dtype=np.int64),
        cursor=cursor,
        numbers=np.array([0.0 if k else 1.0, 1.0, size]),
    )


def _grown(trail: Trail) -> Trail:
    """Give a walk the room that it asked for, and as much again."""
    floats, ints, corners = (2 * int(want) for want in trail.cursor[WANT_FLOATS:])
    trail.cursor[WANT_FLOATS:] = 0
    if trail.cursor[BASE]:  # the second half begins elsewhere now
        trail.cursor[BASE] = max(floats, trail.polygon.size // 2)
    return trail._replace(
        polygon=wider(trail.polygon.reshape(2, -1), floats).ravel(),
        store=wider(trail.store, floats),
        lists=wider(trail.lists, ints),
        origin=wider(trail.origin, corners),
        target=wider(trail.target, corners),
        share=wider(trail.share, corners),
    )


# Compiled code below passes plain arrays and plain indices where a tuple or a slice would read
# better: each of those counts references, which takes longer than the arithmetic on a polygon.


# sizes: kernel, it unpacks the trail once for all visits
@njit(cache=True, nogil=True, error_model="numpy")
def _advance(net, prefix, trail, words, points, found, limits, tolerance):  # type: ignore[no-untyped-def]
    """Visit polygons until a limit is reached or room is missing; return the leaves met so far."""
    cursor, numbers, word, counts = trail.cursor, trail.numbers, trail.word, trail.counts
    polygon, listed, decided = trail.polygon, trail.listed, trail.decided
    origin, target, share, sums = trail.origin, trail.target, trail.share, trail.sums
    store, lists, frames, masses = trail.store, trail.lists, trail.frames, trail.frame_numbers
    ends, units = net.decision_start[1:], net.unit
    most_leaves, most_work = limits[0], limits[1]
    stages, forced, stop = cursor[STAGES], cursor[FORCED], cursor[STOP]
    while found < most_leaves and cursor[TESTS] < most_work:
        state = cursor[STATE]
        if state == GONE:
            if cursor[PENDING] == 0:
                break
            _take_pending(
                cursor, numbers, word, polygon, listed, sums, store, lists, frames, masses
            )
        elif state == CUT:
            done = _settle(
                cursor, numbers, word, polygon, listed, decided, units, prefix, tolerance
            )
            if done and cursor[STAGE] + 1 < stages:
                size = add_units(net, cursor[STAGE], decided, done, word, trail.maps, sums)
                numbers[SIZE] = max(numbers[SIZE], size)
        elif state == ENTERING:
            if not _enter(net, prefix, trail, tolerance):
                break
        elif cursor[LISTED]:
            if share.shape[1] < 2 * cursor[CORNERS]:
                cursor[WANT_CORNERS] = 2 * cursor[CORNERS]
                break
            below, above = _plan(
                polygon, cursor[BASE], cursor[CORNERS], tolerance, origin, target, share
            )
            if _lacks_room(cursor, polygon, store, lists, max(below, above)):
                break
            bit = np.int64(0)
            if listed[0] < forced:
                bit = np.int64(prefix[listed[0]])
            else:
                _put_off(
                    cursor, numbers, polygon, listed, sums, store, lists, frames, masses,
                    origin, target, share, above,
                )  # fmt: skip
            _go_on(
                cursor, word, polygon, listed, origin, target, share, bit, above if bit else below
            )
        else:
            stage = cursor[STAGE]
            if stage < ends.size and forced < ends[stage] <= stop:
                counts[stage] += 1
            if stage + 1 < stages:
                cursor[STAGE], cursor[STATE] = stage + 1, ENTERING
                continue
            if words.shape[0]:
                for i in range(word.size):
                    words[found, i] = word[i]
            if points.shape[0]:
                _mean(polygon, cursor[BASE], cursor[CORNERS], points, found)
            found += 1
            numbers[EXPLORED] += numbers[MASS]
            cursor[STATE] = GONE
    return found


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _mean(polygon, base, k, points, found):  # type: ignore[no-untyped-def]
    """Write the mean of the corners, which lies strictly inside."""
    x, y = 0.0, 0.0
    for i in range(base, base + k):
        x += polygon[i]
        y += polygon[k + i]
    points[found, 0], points[found, 1] = x / k, y / k


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _record(word, k, bit):  # type: ignore[no-untyped-def]
    """Write one bit of the path."""
    place, shift = k >> 6, np.uint64(63 - (k & 63))
    word[place] = (word[place] & ~(np.uint64(1) << shift)) | (np.uint64(bit) << shift)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _compare(constant, along, across, polygon, base, k, m, doubt, tolerance):  # type: ignore[no-untyped-def]
    """Decide a row that may cut the polygon; leave its values in the place of the next listed row.

    Returns a bit or ``BOTH``, and whether rounding might have decided it.
    """
    gradient = np.sqrt(along * along + across * across)
    if gradient <= doubt:  # the unit is constant here
        return 1 if constant > doubt else 0, constant != 0.0 and abs(constant) <= doubt
    scale, at = 1.0 / gradient, base + (2 + m) * k
    least, most = np.inf, -np.inf
    for v in range(k):
        value = (constant + polygon[base + v] * along + polygon[base + k + v] * across) * scale
        polygon[at + v] = value
        least, most = min(least, value), max(most, value)
    if least < -tolerance and most > tolerance:
        return BOTH, False
    bit = 1 if most > tolerance else 0
    nearest = least if bit else most
    return bit, nearest != 0.0 and abs(nearest) <= tolerance


@njit(cache=True, nogil=True, error_model="numpy")
def _enter(net, prefix, trail, tolerance):  # type: ignore[no-untyped-def]
    """Begin a stage; returns False if there is not enough room to do so."""
    cursor, numbers, sums = trail.cursor, trail.numbers, trail.sums
    stage, k = cursor[STAGE], cursor[CORNERS]
    first, width = net.unit_start[stage], net.unit_start[stage + 1] - net.unit_start[stage]
    begin, end = net.decision_start[stage], min(net.decision_start[stage + 1], cursor[STOP])
    if trail.polygon.size < 2 * (2 + end - begin) * k:
        cursor[WANT_FLOATS] = (2 + end - begin) * k
        return False
    following = stage + 1 < cursor[STAGES]
    copy_run(sums, 0, trail.maps, 3 * first, 3 * width)
    rows = trail.maps[3 * first : 3 * (first + width)]
    doubts = net.weight_size[first : first + width] * (NEGLIGIBLE * numbers[SIZE])
    base = cursor[BASE]
    survey(trail.polygon, base, base + k, k, rows, doubts, tolerance, trail.middle, trail.reach)
    cursor[NEXT] = 0
    done = _sort_out(
        cursor, numbers, trail.word, trail.polygon, trail.listed, trail.decided, prefix, rows,
        trail.middle, trail.reach, doubts, net.threshold, net.unit, tolerance, begin, end,
        following,
    )  # fmt: skip
    if following:
        for unit in range(net.decided_end[stage], first + width):
            trail.decided[done] = unit
            done += 1
        cursor[NEXT] = net.unit_start[stage + 2] - net.unit_start[stage + 1]
        begin_sums(net, stage + 1, sums)
        numbers[SIZE] = add_units(net, stage, trail.decided, done, trail.word, trail.maps, sums)
    return True


# sizes: kernel, the loop over all decisions of a stage is hot and shares a dozen numbers
@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _sort_out(  # type: ignore[no-untyped-def]
    cursor, numbers, word, polygon, listed, decided, prefix, rows, middle, reach, doubts,
    threshold, unit, tolerance, begin, end, following,
):  # fmt: skip
    """List the decisions that cut the polygon, settle the others; count the units then decided."""
    base, k, width, first = cursor[BASE], cursor[CORNERS], doubts.size, unit[begin]
    forced = cursor[FORCED]
    cursor[TESTS] += end - begin
    cursor[STATE] = SETTLED
    m, done, listed_before = 0, 0, 0
    for d in range(begin, end):
        i = unit[d] - first
        offset = middle[i] - threshold[d]
        bit = 1 if offset > 0.0 else 0
        if abs(offset) <= reach[i]:
            bit, doubtful = _compare(
                rows[i] - threshold[d], rows[width + i], rows[2 * width + i],
                polygon, base, k, m, doubts[i], tolerance,
            )  # fmt: skip
            cursor[AMBIGUOUS] += doubtful
        if bit == BOTH:
            listed[m] = d
            m += 1
        elif d < forced and bit != prefix[d]:
            numbers[EXPLORED] += numbers[MASS]
            cursor[STATE] = GONE
            return 0
        else:
            _record(word, d, bit)
        if following and (d + 1 == end or unit[d + 1] != unit[d]):
            if m == listed_before:
                decided[done] = unit[d]
                done += 1
            listed_before = m
    cursor[LISTED] = m
    return done


# sizes: kernel, the loop over all listed decisions is hot and shares a dozen numbers
@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _settle(cursor, numbers, word, polygon, listed, decided, unit, prefix, tolerance):  # type: ignore[no-untyped-def]
    """After a cut strike decisions off the list whose sign is now the same at all corners.

    Returns the number of units of which all decisions are made by now.
    """
    k, m = cursor[CORNERS], cursor[LISTED]
    cursor[TESTS] += 1 + m
    cursor[STATE] = SETTLED
    kept, done, last = 0, 0, unit[cursor[DECISION]]
    if m == 0 or unit[listed[0]] != last:
        decided[0] = last
        done = 1
    at = to = cursor[BASE] + 2 * k
    for r in range(m):
        d = listed[r]
        least = most = polygon[at]
        for v in range(k):
            value = polygon[at + v]
            polygon[to + v] = value
            least = value if value < least else least
            most = value if value > most else most
        at += k
        if least < -tolerance and most > tolerance:
            listed[kept] = d
            kept += 1
            to += k
            continue
        bit = 1 if most > tolerance else 0
        nearest = least if bit else most
        if nearest != 0.0 and abs(nearest) <= tolerance:
            cursor[AMBIGUOUS] += 1
        if d < cursor[FORCED] and bit != prefix[d]:
            numbers[EXPLORED] += numbers[MASS]
            cursor[STATE] = GONE
            return 0
        _record(word, d, bit)
        sibling = kept > 0 and unit[listed[kept - 1]] == unit[d]
        if not sibling and (r + 1 == m or unit[listed[r + 1]] != unit[d]):
            decided[done] = unit[d]
            done += 1
    cursor[LISTED] = kept
    return done


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _plan(polygon, base, k, tolerance, origin, target, share):  # type: ignore[no-untyped-def]
    """Say for the parts below and above a line which corners they have; return their numbers."""
    below, above, at = 0, 0, base + 2 * k
    for i in range(k):
        j = i + 1 if i + 1 < k else 0
        here, there = polygon[at + i], polygon[at + j]
        if here <= tolerance:
            origin[0, below], target[0, below], share[0, below] = i, i, 0.0
            below += 1
        if here >= -tolerance:
            origin[1, above], target[1, above], share[1, above] = i, i, 0.0
            above += 1
        if (here > tolerance and there < -tolerance) or (here < -tolerance and there > tolerance):
            t = here / (here - there)
            origin[0, below], target[0, below], share[0, below] = i, j, t
            origin[1, above], target[1, above], share[1, above] = i, j, t
            below += 1
            above += 1
    return below, above


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _lacks_room(cursor, polygon, store, lists, corners):  # type: ignore[no-untyped-def]
    """Note what is too small for both parts of a cut, if anything is."""
    needed = (1 + cursor[LISTED]) * corners
    end = cursor[STORED] + needed + 3 * cursor[NEXT]
    if polygon.size < 2 * needed or store.size < end:
        cursor[WANT_FLOATS] = max(needed, end)
    if lists.size < cursor[LISTS] + cursor[LISTED]:
        cursor[WANT_INTS] = cursor[LISTS] + cursor[LISTED]
    return cursor[WANT_FLOATS] + cursor[WANT_INTS] > 0


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _part(  # type: ignore[no-untyped-def]
    polygon, base, k, m, origin, target, share, part, n, result, at
):
    """Write one part of a cut: coordinates and values, but for those of the line itself."""
    for r in range(1 + m):
        row = base + (r if r < BOTH else r + 1) * k  # two coordinates, the line, the others
        for v in range(n):
            a, b = polygon[row + origin[part, v]], polygon[row + target[part, v]]
            result[at + v] = a + share[part, v] * (b - a)
        at += n


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _put_off(  # type: ignore[no-untyped-def]
    cursor, numbers, polygon, listed, sums, store, lists, frames, masses, origin, target, share,
    above,
):  # fmt: skip
    """Store the part above the line for later, with the sums; both parts get half of the mass."""
    k, m, n, p = cursor[CORNERS], cursor[LISTED], cursor[NEXT], cursor[PENDING]
    begin = cursor[STORED]
    _part(polygon, cursor[BASE], k, m, origin, target, share, 1, above, store, begin)
    begin += (1 + m) * above
    if n:
        copy_run(sums, 0, store, begin, 3 * n)
    begin += 3 * n
    for r in range(1, m):
        lists[cursor[LISTS] + r - 1] = listed[r]
    numbers[MASS] /= 2.0
    frames[p, 0], frames[p, 1], frames[p, 2] = cursor[STAGE], above, m - 1
    frames[p, 3], frames[p, 4] = listed[0], n
    masses[p, 0], masses[p, 1] = numbers[MASS], numbers[SIZE]
    cursor[PENDING], cursor[STORED], cursor[LISTS] = p + 1, begin, cursor[LISTS] + m - 1


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _go_on(cursor, word, polygon, listed, origin, target, share, bit, count):  # type: ignore[no-untyped-def]
    """Make one part of the cut the current polygon."""
    k, m, other = cursor[CORNERS], cursor[LISTED], polygon.size // 2 - cursor[BASE]
    _part(polygon, cursor[BASE], k, m, origin, target, share, bit, count, polygon, other)
    cursor[DECISION], cursor[STATE] = listed[0], CUT
    _record(word, listed[0], bit)
    for r in range(1, m):
        listed[r - 1] = listed[r]
    cursor[BASE], cursor[CORNERS], cursor[LISTED] = other, count, m - 1


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _take_pending(  # type: ignore[no-untyped-def]
    cursor, numbers, word, polygon, listed, sums, store, lists, frames, masses
):
    """Make the youngest pending polygon, which lies above its line, the current one."""
    p, base = cursor[PENDING] - 1, cursor[BASE]
    k, m, n = frames[p, 1], frames[p, 2], frames[p, 4]
    begin = cursor[STORED] - (2 + m) * k - 3 * n
    cursor[PENDING], cursor[STORED], cursor[LISTS] = p, begin, cursor[LISTS] - m
    for i in range((2 + m) * k):
        polygon[base + i] = store[begin + i]
    if n:
        copy_run(store, begin + (2 + m) * k, sums, 0, 3 * n)
    for r in range(m):
        listed[r] = lists[cursor[LISTS] + r]
    numbers[MASS], numbers[SIZE] = masses[p, 0], masses[p, 1]
    _record(word, frames[p, 3], 1)
    cursor[STAGE], cursor[CORNERS], cursor[LISTED], cursor[NEXT] = frames[p, 0], k, m, n
    cursor[DECISION], cursor[STATE] = frames[p, 3], CUT
