# sizes: the walk and the outlines of its cells are one method and share its rule for cutting
"""Method "polygon": cells of a domain with two coordinates, cut with scissors.

A node of the tree is a convex polygon and a list of those decisions of the current stage whose line
cuts it, with the values of their rows at the corners. The first listed decision splits the polygon;
corners on the line belong to both parts, new corners and all values there come by interpolation. A
decision that has one sign at all corners is settled for the whole subtree. When the list is empty the
next stage is entered, and its values are computed afresh from the corners.

Every split succeeds, so the tree has no dead ends. The next stage's rows are summed up on the way:
when a unit's segment is known its share is added, so that nothing is multiplied twice.

References:
    Rada and Cerny (2018), "A new algorithm for enumeration of cells of hyperplane arrangements", for
    the order of decisions. Corners in place of linear programs, and carried values, are our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from byways.regions._engine import Batch
from byways.regions._net import Net, enter_stage, stage_rows
from byways.regions._problem import NEGLIGIBLE
from byways.regions._signs import unpack, words_for

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
FORCED, STOP, STAGES, WANT_FLOATS, WANT_INTS, WANT_CORNERS = range(11, 17)
# What the current polygon waits for.
GONE, CUT, SETTLED, ENTERING = range(4)
# Places in Trail.numbers: of the walk; of the current polygon.
EXPLORED, MASS, SIZE = range(3)
BOTH = 2  # in place of a bit: the line cuts the polygon


class Trail(NamedTuple):
    """The changing half of a walk: the current polygon, the path to it, and a stack of others.

    ``polygon`` holds, for ``k`` corners, ``k`` abscissae, ``k`` ordinates and ``k`` values for each
    listed decision; two halves, because a cut reads one and writes the other. A pending polygon lies
    in ``store`` in the same form, followed by its ``sums``.
    """

    polygon: Array  # two halves
    listed: Ints
    sums: Array  # (3, widest): rows of the next stage so far
    maps: Array  # (3 units,): rows of the stages on the path, constants first, stage by stage
    low: Array  # (widest,): smallest and largest value at the corners
    high: Array
    word: Words  # the path's bits
    origin: Ints  # (2, room): for both parts of a cut, corner = origin + share (target - origin)
    target: Ints
    share: Array
    store: Array
    lists: Ints
    frames: Ints  # (decisions + 1, 5): stage, corners, listed, decision, size of sums
    frame_numbers: Array  # (decisions + 1, 3)
    counts: Ints
    cursor: Ints
    numbers: Array


class PolygonWalk:
    """Walk over the cells of a problem with two bounded coordinates; see ``Walk``.

    Leaves come in lexicographic order of their decisions. Memory is that of one polygon with its
    values per split on the path. Cost per cell is about ``corners x listed`` interpolations, and per
    cell of a stage ``units x next units`` additions at most.
    """

    def __init__(self, problem: Problem, order: Order) -> None:
        if problem.dim != 2 or problem.free.any():  # noqa: PLR2004  polygons live in the plane
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
    corners, _ = _domain_outline(net, order.tolerance)
    k = len(corners)
    cursor = np.zeros(17, dtype=np.int64)
    cursor[CORNERS], cursor[FORCED] = k, len(order.prefix)
    cursor[STOP] = decisions if order.stop is None else order.stop
    cursor[STAGES] = np.count_nonzero(net.decision_start[:-1] < cursor[STOP])
    cursor[STATE] = ENTERING if cursor[STAGES] else SETTLED
    if k == 0:
        cursor[STATE] = GONE
    sums = np.zeros((3, widest))
    size = 0.0
    if cursor[STAGES]:
        first = net.weights[: net.weight_start[1]].reshape(len(net.inputs), -1)
        sums[:, : widths[0]] = net.inputs.T @ first
        sums[0, : widths[0]] += net.biases[: widths[0]]
        size = float(np.abs(net.inputs).max(initial=0.0))
    polygon = np.empty(2 * (2 * k + 256))
    polygon[: 2 * k] = corners.T.ravel()
    room = 2 * (k + decisions) + 8  # a cut adds one corner; _cut asks for more if that is not so
    return Trail(
        polygon=polygon,
        listed=np.empty(decisions + 1, dtype=np.int64),
        sums=sums,
        maps=np.empty(3 * int(net.unit_start[-1])),
        low=np.empty(widest),
        high=np.empty(widest),
        word=np.zeros(words_for(decisions), dtype=np.uint64),
        origin=np.empty((2, room), dtype=np.int64),
        target=np.empty((2, room), dtype=np.int64),
        share=np.empty((2, room)),
        store=np.empty(1024),
        lists=np.empty(256, dtype=np.int64),
        frames=np.empty((decisions + 1, 5), dtype=np.int64),
        frame_numbers=np.empty((decisions + 1, 3)),
        counts=np.zeros(len(net.decision_start) - 1, dtype=np.int64),
        cursor=cursor,
        numbers=np.array([0.0 if k else 1.0, 1.0, size]),
    )


def _grown(trail: Trail) -> Trail:
    """Give a walk the room that it asked for, and as much again."""
    floats, ints, corners = (2 * int(want) for want in trail.cursor[WANT_FLOATS:])
    trail.cursor[WANT_FLOATS:] = 0
    return trail._replace(
        polygon=_wider(trail.polygon.reshape(2, -1), floats).ravel(),
        store=_wider(trail.store, floats),
        lists=_wider(trail.lists, ints),
        origin=_wider(trail.origin, corners),
        target=_wider(trail.target, corners),
        share=_wider(trail.share, corners),
    )


def _wider(array: NDArray[Any], room: int) -> NDArray[Any]:
    """Copy an array to one whose last axis has at least ``room`` places."""
    if array.shape[-1] >= room:
        return array
    result = np.empty((*array.shape[:-1], room), dtype=array.dtype)
    result[..., : array.shape[-1]] = array
    return result


@njit(cache=True, nogil=True)
def _advance(net, prefix, trail, words, points, found, limits, tolerance):  # type: ignore[no-untyped-def]
    """Visit polygons until a limit is reached or room is missing; return the leaves met so far."""
    cursor = trail.cursor
    while found < limits[0] and cursor[TESTS] < limits[1]:
        state = cursor[STATE]
        if state == GONE:
            if cursor[PENDING] == 0:
                break
            _take_pending(trail)
        elif state == CUT:
            _settle(net, prefix, trail, tolerance)
        elif state == ENTERING:
            if not _enter(net, prefix, trail, tolerance):
                break
        elif cursor[LISTED]:
            if not _cut(net, prefix, trail, tolerance):
                break
        elif not _next_stage(net, trail):
            if words.shape[0]:
                words[found] = trail.word
            if points.shape[0]:
                _mean(trail.polygon, cursor[BASE], cursor[CORNERS], points, found)
            found += 1
            _close(trail)
    return found


@njit(cache=True, nogil=True, forceinline=True)
def _mean(polygon, base, k, points, found):  # type: ignore[no-untyped-def]
    """Write the mean of the corners, which lies strictly inside.

    Here and below plain indices stand where slices would read better: a slice counts references,
    which takes longer than the arithmetic on a polygon.
    """
    x, y = 0.0, 0.0
    for i in range(base, base + k):
        x += polygon[i]
        y += polygon[k + i]
    points[found, 0], points[found, 1] = x / k, y / k


@njit(cache=True, nogil=True, forceinline=True)
def _close(trail):  # type: ignore[no-untyped-def]
    """Be done with the current polygon."""
    trail.numbers[EXPLORED] += trail.numbers[MASS]
    trail.cursor[STATE] = GONE


@njit(cache=True, nogil=True, forceinline=True)
def _next_stage(net, trail):  # type: ignore[no-untyped-def]
    """Count the completed stage; go to the next one, if there is one."""
    cursor = trail.cursor
    stage = cursor[STAGE]
    if stage < trail.counts.size:
        end = net.decision_start[stage + 1]
        if cursor[FORCED] < end <= cursor[STOP]:
            trail.counts[stage] += 1
    if stage + 1 >= cursor[STAGES]:
        return False
    cursor[STAGE], cursor[STATE] = stage + 1, ENTERING
    return True


@njit(cache=True, nogil=True, forceinline=True)
def _record(word, k, bit):  # type: ignore[no-untyped-def]
    """Write one bit of the path."""
    mask = np.uint64(1) << np.uint64(63 - (k & 63))
    if bit:
        word[k >> 6] |= mask
    else:
        word[k >> 6] &= ~mask


@njit(cache=True, nogil=True, forceinline=True)
def _add_unit(net, stage, unit, word, maps, sums, numbers):  # type: ignore[no-untyped-def]
    """Add the share of a unit, whose decisions are all made, to the rows of the next stage."""
    first, width = net.unit_start[stage], net.unit_start[stage + 1] - net.unit_start[stage]
    u = unit - first
    begin = net.decision_start[stage]
    each = (net.decision_start[stage + 1] - begin) // width
    segment = 0
    for k in range(begin + u * each, begin + (u + 1) * each):
        segment += np.int64((word[k >> 6] >> np.uint64(63 - (k & 63))) & np.uint64(1))
    slope, intercept = net.slopes[stage, segment], net.intercepts[stage, segment]
    if slope == 0.0 and intercept == 0.0:
        return
    rows = maps[3 * first : 3 * (first + width)]
    constant = slope * rows[u] + intercept
    along, across = slope * rows[width + u], slope * rows[2 * width + u]
    numbers[SIZE] = max(numbers[SIZE], abs(constant), abs(along), abs(across))
    n = net.unit_start[stage + 2] - net.unit_start[stage + 1]
    at = net.weight_start[stage + 1] + u * n
    weights = net.weights[at : at + n]
    constants, xs, ys = sums[0, :n], sums[1, :n], sums[2, :n]
    for i in range(n):
        constants[i] += weights[i] * constant
        xs[i] += weights[i] * along
        ys[i] += weights[i] * across


@njit(cache=True, nogil=True)
def _ranges(polygon, base, k, rows, low, high):  # type: ignore[no-untyped-def]
    """Find the smallest and largest value of every row at the corners."""
    n = rows.size // 3
    constant, along, across = rows[:n], rows[n : 2 * n], rows[2 * n :]
    for v in range(k):
        x, y = polygon[base + v], polygon[base + k + v]
        for i in range(n):
            value = constant[i] + x * along[i] + y * across[i]
            low[i] = value if v == 0 or value < low[i] else low[i]
            high[i] = value if v == 0 or value > high[i] else high[i]


@njit(cache=True, nogil=True, forceinline=True)
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


# sizes: kernel, the loop over all units of a stage is hot and shares a dozen numbers
@njit(cache=True, nogil=True, forceinline=True)
def _enter(net, prefix, trail, tolerance):  # type: ignore[no-untyped-def]
    """Begin a stage: list the decisions that cut the polygon, settle the others.

    Returns False if there is not enough room to do so.
    """
    cursor, numbers, word = trail.cursor, trail.numbers, trail.word
    stage, k, forced = cursor[STAGE], cursor[CORNERS], cursor[FORCED]
    first, width = net.unit_start[stage], net.unit_start[stage + 1] - net.unit_start[stage]
    begin, end = net.decision_start[stage], min(net.decision_start[stage + 1], cursor[STOP])
    each = (net.decision_start[stage + 1] - begin) // width
    polygon, base = trail.polygon, cursor[BASE]
    if polygon.size < 2 * (2 + end - begin) * k:
        cursor[WANT_FLOATS] = (2 + end - begin) * k
        return False
    rows = trail.maps[3 * first : 3 * (first + width)]
    for c in range(3):
        rows[c * width : (c + 1) * width] = trail.sums[c, :width]
    low, high = trail.low, trail.high
    _ranges(polygon, base, k, rows, low, high)
    following = stage + 1 < cursor[STAGES]
    noise = NEGLIGIBLE * numbers[SIZE]
    numbers[SIZE] = 0.0
    if following:
        n = net.unit_start[stage + 2] - net.unit_start[stage + 1]
        trail.sums[0, :n] = net.biases[first + width : first + width + n]
        trail.sums[1:, :n] = 0.0
    cursor[TESTS] += end - begin
    cursor[STATE] = SETTLED
    m, d = 0, begin
    for i in range(width):
        along, across = rows[width + i], rows[2 * width + i]
        doubt = noise * net.weight_size[first + i]
        clear = tolerance * (abs(along) + abs(across)) + 4.0 * doubt  # cheaper than a root
        open_before = m
        for d in range(begin + i * each, min(begin + (i + 1) * each, end)):
            threshold = net.threshold[d]
            least, most = low[i] - threshold, high[i] - threshold
            bit = 0
            if least > clear:
                bit = 1
            elif most >= -clear:
                bit, doubtful = _compare(
                    rows[i] - threshold, along, across, polygon, base, k, m, doubt, tolerance
                )
                cursor[AMBIGUOUS] += doubtful
            if bit == BOTH:
                trail.listed[m] = d
                m += 1
                continue
            if d < forced and bit != prefix[d]:
                _close(trail)
                return True
            _record(word, d, bit)
        if following and m == open_before:
            _add_unit(net, stage, first + i, word, trail.maps, trail.sums, numbers)
    cursor[LISTED] = m
    return True


# sizes: kernel, the loop over all listed decisions is hot and shares a dozen numbers
@njit(cache=True, nogil=True, forceinline=True)
def _settle(net, prefix, trail, tolerance):  # type: ignore[no-untyped-def]
    """After a cut: strike decisions off the list whose sign is now the same at all corners."""
    cursor, word, listed = trail.cursor, trail.word, trail.listed
    stage, k, m = cursor[STAGE], cursor[CORNERS], cursor[LISTED]
    polygon = trail.polygon
    following = stage + 1 < cursor[STAGES]
    unit = net.unit[cursor[DECISION]]
    if following and (m == 0 or net.unit[listed[0]] != unit):
        _add_unit(net, stage, unit, word, trail.maps, trail.sums, trail.numbers)
    cursor[TESTS] += 1 + m
    cursor[STATE] = SETTLED
    kept = 0
    for r in range(m):
        d = listed[r]
        at = cursor[BASE] + (2 + r) * k
        least = most = polygon[at]
        for v in range(1, k):
            value = polygon[at + v]
            least = value if value < least else least
            most = value if value > most else most
        if least < -tolerance and most > tolerance:
            for v in range(at, at + k):
                polygon[v - (r - kept) * k] = polygon[v]
            listed[kept] = d
            kept += 1
            continue
        bit = 1 if most > tolerance else 0
        nearest = least if bit else most
        if nearest != 0.0 and abs(nearest) <= tolerance:
            cursor[AMBIGUOUS] += 1
        if d < cursor[FORCED] and bit != prefix[d]:
            _close(trail)
            return
        _record(word, d, bit)
        if following:
            unit = net.unit[d]
            sibling = kept > 0 and net.unit[listed[kept - 1]] == unit
            if not sibling and (r + 1 == m or net.unit[listed[r + 1]] != unit):
                _add_unit(net, stage, unit, word, trail.maps, trail.sums, trail.numbers)
    cursor[LISTED] = kept


@njit(cache=True, nogil=True, forceinline=True)
def _plan(polygon, at, k, tolerance, origin, target, share):  # type: ignore[no-untyped-def]
    """Say for the parts below and above a line which corners they have; return their numbers."""
    below, above = 0, 0
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


@njit(cache=True, nogil=True, forceinline=True)
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


# sizes: kernel, one cut hands a dozen numbers from the plan to both parts
@njit(cache=True, nogil=True, forceinline=True)
def _cut(net, prefix, trail, tolerance):  # type: ignore[no-untyped-def]
    """Split the polygon by the first listed decision; go on below the line, keep the rest for later.

    Where the decision is given, only its side is kept. Returns False if room is missing.
    """
    cursor, numbers, polygon = trail.cursor, trail.numbers, trail.polygon
    origin, target, share = trail.origin, trail.target, trail.share
    stage, k, m, base = cursor[STAGE], cursor[CORNERS], cursor[LISTED], cursor[BASE]
    if share.shape[1] < 2 * k:
        cursor[WANT_CORNERS] = 2 * k
        return False
    below, above = _plan(polygon, base + 2 * k, k, tolerance, origin, target, share)
    decision, n = trail.listed[0], 0
    if stage + 1 < cursor[STAGES]:
        n = net.unit_start[stage + 2] - net.unit_start[stage + 1]
    begin, lists = cursor[STORED], cursor[LISTS]
    end, needed = begin + (1 + m) * above + 3 * n, (1 + m) * max(below, above)
    if polygon.size < 2 * needed or trail.store.size < end:
        cursor[WANT_FLOATS] = max(needed, end)
    if trail.lists.size < lists + m:
        cursor[WANT_INTS] = lists + m
    if cursor[WANT_FLOATS] + cursor[WANT_INTS]:
        return False
    bit = 0
    if decision < cursor[FORCED]:
        bit = np.int64(prefix[decision])
    else:
        numbers[MASS] /= 2.0
        p = cursor[PENDING]
        trail.frames[p, 0], trail.frames[p, 1], trail.frames[p, 2] = stage, above, m - 1
        trail.frames[p, 3], trail.frames[p, 4] = decision, n
        trail.frame_numbers[p, MASS], trail.frame_numbers[p, SIZE] = numbers[MASS], numbers[SIZE]
        _part(polygon, base, k, m, origin, target, share, 1, above, trail.store, begin)
        for c in range(3):
            for i in range(n):
                trail.store[end - (3 - c) * n + i] = trail.sums[c, i]
        for r in range(m - 1):
            trail.lists[lists + r] = trail.listed[r + 1]
        cursor[PENDING], cursor[STORED], cursor[LISTS] = p + 1, end, lists + m - 1
    count, other = above if bit else below, polygon.size // 2 - base
    _part(polygon, base, k, m, origin, target, share, bit, count, polygon, other)
    for r in range(m - 1):
        trail.listed[r] = trail.listed[r + 1]
    _record(trail.word, decision, bit)
    cursor[BASE], cursor[CORNERS], cursor[LISTED] = other, count, m - 1
    cursor[DECISION], cursor[STATE] = decision, CUT
    return True


@njit(cache=True, nogil=True, forceinline=True)
def _take_pending(trail):  # type: ignore[no-untyped-def]
    """Make the youngest pending polygon, which lies above its line, the current one."""
    cursor, store, frames = trail.cursor, trail.store, trail.frames
    p = cursor[PENDING] - 1
    k, m, n = frames[p, 1], frames[p, 2], frames[p, 4]
    end, lists = cursor[STORED], cursor[LISTS]
    begin = end - (2 + m) * k - 3 * n
    for i in range((2 + m) * k):
        trail.polygon[cursor[BASE] + i] = store[begin + i]
    for c in range(3):
        for i in range(n):
            trail.sums[c, i] = store[end - (3 - c) * n + i]
    for r in range(m):
        trail.listed[r] = trail.lists[lists - m + r]
    trail.numbers[MASS], trail.numbers[SIZE] = trail.frame_numbers[p, MASS], trail.frame_numbers[p, SIZE]
    _record(trail.word, frames[p, 3], 1)
    cursor[PENDING], cursor[STORED], cursor[LISTS] = p, begin, lists - m
    cursor[STAGE], cursor[CORNERS], cursor[LISTED] = frames[p, 0], k, m
    cursor[DECISION], cursor[STATE] = frames[p, 3], CUT


class Outlines(NamedTuple):
    """The polygons of a list of cells, end to end.

    Corners of cell ``i`` are ``corners[starts[i] : starts[i + 1]]``, counter-clockwise, in engine
    coordinates. ``edges`` tells for each corner what lies on the edge to the next one: the number of
    a decision; or, on the domain's own outline, -1, -2, -3, -4 for the lower, right, upper and left
    side of the box and ``-5 - r`` for domain row ``r``. Of several lines on one edge, the first
    decision is given.
    """

    starts: Ints
    corners: Array
    edges: Ints

    def polygons(self) -> list[Array]:
        """Give one array ``(corners, 2)`` per cell."""
        return np.split(self.corners, self.starts[1:-1]) if len(self.starts) > 1 else []

    def following(self) -> Ints:
        """Give for each corner the place of the next corner of its polygon."""
        places = np.arange(1, len(self.corners) + 1)
        places[self.starts[1:] - 1] = self.starts[:-1]
        return places

    def areas(self) -> Array:
        """Give the area of each polygon, by the shoelace formula about its first corner."""
        if len(self.starts) == 1:
            return np.zeros(0)
        base = np.repeat(self.corners[self.starts[:-1]], np.diff(self.starts), axis=0)
        x, y = (self.corners - base).T  # small numbers: thin cells keep their digits
        after = self.following()
        return np.add.reduceat(x * y[after] - y * x[after], self.starts[:-1]) / 2.0


def polygons(problem: Problem, words: Words) -> list[Array]:
    """Give the polygon of each sign vector, see ``Outlines``."""
    return outlines(problem, words).polygons()


def outlines(
    problem: Problem, words: Words, *, stop: int | None = None, tolerance: float = 1e-9
) -> Outlines:
    """Cut the polygon of each sign vector out of the domain.

    Stages that neighbours in the list agree on are not repeated, so sorted lists are fastest.

    Args:
        problem: Network and domain; the domain has two bounded coordinates.
        words: Packed decisions of cells that exist, shape ``(n, words)``.
        stop: Number of decisions to heed, None for all.
        tolerance: As in the walk that found the cells.

    Returns:
        The polygons in the order of ``words``.
    """
    net = Net.of(problem)
    corners, edges = _domain_outline(net, tolerance)
    bits = unpack(words, problem.decisions)
    end = problem.decisions if stop is None else stop
    stages = len(problem.stages)
    room = len(corners) + problem.decisions + 2
    saved = np.empty((stages + 1, room, 2))
    saved[0, : len(corners)] = corners
    saved_edges = np.empty((stages + 1, room), dtype=np.int64)
    saved_edges[0, : len(corners)] = edges
    sizes = np.full(stages + 1, len(corners))
    maps = np.empty((int(net.unit_start[-1]), 3))
    rows = np.empty((problem.decisions, 3))
    starts = np.zeros(len(words) + 1, dtype=np.int64)
    result = Outlines(starts, np.empty((6 * len(words) + room, 2)), np.empty(0, dtype=np.int64))
    labels, cell = np.empty(len(result.corners), dtype=np.int64), 0
    while cell < len(words):
        cell = _replay(
            net, bits, end, cell, saved, saved_edges, sizes, maps, rows, starts, result.corners,
            labels, tolerance,
        )  # fmt: skip
        if cell < len(words):
            wider = _wider(result.corners.T, 2 * len(labels)).T
            result, labels = result._replace(corners=wider), _wider(labels, 2 * len(labels))
    used = int(starts[-1])
    return Outlines(starts, np.ascontiguousarray(result.corners[:used]), labels[:used])


def _domain_outline(net: Net, tolerance: float) -> tuple[Array, Ints]:
    """Give corners and edge labels of the unit square inside the domain's rows; maybe none."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    corners = np.concatenate([corners, np.empty((len(net.domain_rows), 2))])
    edges = np.full(len(corners), 0, dtype=np.int64)
    edges[:4] = [-1, -2, -3, -4]
    k = 4
    for r, row in enumerate(net.domain_rows):
        if not row[1:].any():
            k = k if row[0] >= 0 else 0
            continue
        values = row[0] + corners[:k] @ row[1:]
        if values.max(initial=-1.0) <= tolerance:
            k = 0
        if k:
            k = _clip(corners, edges, k, row, 1, -5 - r, tolerance)
    return corners[:k].copy(), edges[:k].copy()


# sizes: kernel, one pass over the corners that writes while it reads
@njit(cache=True, nogil=True)
def _clip(corners, edges, k, row, bit, label, tolerance):  # type: ignore[no-untyped-def]
    """Cut a polygon in place and keep one side of a line, if both are there; return its size."""
    sign = 1.0 if bit else -1.0
    values = np.empty(k)
    for i in range(k):
        values[i] = sign * (row[0] + row[1] * corners[i, 0] + row[2] * corners[i, 1])
    if values.min() >= -tolerance or values.max() <= tolerance:
        return k
    old, old_edges = corners[:k].copy(), edges[:k].copy()
    n = 0
    for i in range(k):
        j = i + 1 if i + 1 < k else 0
        here, there = values[i], values[j]
        if here >= -tolerance:
            corners[n], edges[n] = old[i], old_edges[i]
            if here <= tolerance and there < -tolerance:
                edges[n] = label
            n += 1
        if (here > tolerance and there < -tolerance) or (here < -tolerance and there > tolerance):
            corners[n] = old[i] + here / (here - there) * (old[j] - old[i])
            edges[n] = label if here > 0 else old_edges[i]
            n += 1
    return n


@njit(cache=True, nogil=True, forceinline=True)
def _agreement(net, bits, cell):  # type: ignore[no-untyped-def]
    """Count the stages on which a cell agrees with the one before."""
    stage, stages = 0, net.decision_start.size - 1
    while cell > 0 and stage < stages:
        for d in range(net.decision_start[stage], net.decision_start[stage + 1]):
            if bits[cell, d] != bits[cell - 1, d]:
                return stage
        stage += 1
    return stage


# sizes: kernel, its arrays are kept from cell to cell
@njit(cache=True, nogil=True)
def _replay(  # type: ignore[no-untyped-def]
    net, bits, end, cell, saved, saved_edges, sizes, maps, rows, starts, corners, labels, tolerance
):
    """Write outlines until the room is used up; return the number of the next cell.

    ``saved[l]`` is the outline on which stage ``l`` begins, on the path to the last cell.
    """
    stages, begin = sizes.size - 1, cell
    while cell < bits.shape[0]:
        stage = 0 if cell == begin else _agreement(net, bits, cell)
        while stage < stages:
            k = sizes[stage]
            saved[stage + 1, :k], saved_edges[stage + 1, :k] = saved[stage, :k], saved_edges[stage, :k]
            first, last = net.decision_start[stage], min(net.decision_start[stage + 1], end)
            if first < last:
                size = enter_stage(net, stage, bits[cell], maps)
                stage_rows(net, stage, size, maps, rows)
            for d in range(first, last):
                k = _clip(
                    saved[stage + 1], saved_edges[stage + 1], k, rows[d], bits[cell, d], d, tolerance
                )
            sizes[stage + 1] = k
            stage += 1
        k = sizes[stages]
        if starts[cell] + k > labels.size:
            return cell
        starts[cell + 1] = starts[cell] + k
        corners[starts[cell] : starts[cell + 1]] = saved[stages, :k]
        labels[starts[cell] : starts[cell + 1]] = saved_edges[stages, :k]
        cell += 1
    return cell
