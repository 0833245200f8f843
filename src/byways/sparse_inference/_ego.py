"""EGO: the greedy order that keeps an edge near the edges it shares an end with.

An edge is ready when every edge into its source has been placed. Among the ready ones the next is
one with the highest score: the number of edges among the last ``w`` placed that share its source,
share its target, or end in its source. With ``S[x]`` and ``D[x]`` the window's edges out of and
into ``x``, that is ``(S[u] + D[u]) + D[v]``. Among equals goes the edge whose terms have stood
still for longest, then the one with the lowest number.

A term of the score belongs to a vertex, so the queue holds vertices: ready sources, each with a
key that none of its edges exceeds. A key rises when a term grows. One that shrinks leaves it too
high, and a source is looked at again when it comes to the top. So an edge is placed for the price
of reading the edges beside it, not of moving each of them from one list to another.

A term is kept as one number, its count above ``bits`` bits with its age, which is less the later
the term changed. An edge's key has the sum of the two counts above the lower age, and grows with
either term: the best edge of a vertex is the one with the highest term at its far end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byways.core.compiled import borrowing, borrowing_entry, melted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Ints = NDArray[np.int64]

__all__ = ["ego", "ego_bytes"]

_NONE = -1
_NEVER = -(1 << 62)  # the term of a source that is not ready: no key with it is positive
_OUT_OF_REACH = np.iinfo(np.int32).max  # the bound of a source that is not queued


class _State(NamedTuple):
    """The arrays that EGO works with.

    Edges that are not placed stand beside both of their ends in the order of their numbers; those
    of vertex ``x`` from ``first[x]`` to before ``last[x]``.
    """

    order: Any  # the edges placed
    out_ids: Any
    out_ends: Any
    in_ends: Any
    out_first: Any
    out_last: Any
    in_first: Any
    in_last: Any
    in_start: Any  # the number of the first edge into a vertex, placed or not
    given: Any  # the term S + D of ready sources
    taken: Any  # the term D
    bound: Any  # on the counts of ``taken`` where a queued source leads
    best: Any  # where a source's best edge stands in ``out_ends``; _NONE if not known
    missing: Any
    # The queue, a heap with four branches: lower numbers win among equal keys.
    keys: Any
    names: Any
    heads: Any
    place: Any
    recent: Any  # ends of the window's edges, turn by turn


_PER_EDGE = {"order": np.int64, "out_ids": np.uint32, "out_ends": np.uint32, "in_ends": np.uint32}
_PER_VERTEX = {
    **dict.fromkeys(("out_first", "out_last", "in_first", "in_last", "in_start"), np.int64),
    **dict.fromkeys(("given", "taken", "best", "keys", "names"), np.int64),
    **dict.fromkeys(("bound", "missing", "place"), np.int32),
    "heads": np.uint32,
}


def ego(graph: EdgeGraph, window: int) -> Ints:
    """Give EGO's order; time O(sum of squared degrees), memory as ``ego_bytes`` says.

    References:
        The edge-order report (EGO, EON), 2023, Algorithm 3, completed: its first key is kept up to
        date, edges that leave the window lower the scores they had raised. Ties are first in,
        first out: an edge goes to the back when its source's or its target's term changes.

    Raises:
        ValueError: If the graph has 2**32 edges or more.
    """
    if graph.edges >= 1 << 32:
        raise ValueError(
            f"the graph has {graph.edges:,} edges; EGO numbers them in 32 bits, so give fewer than "
            f"{1 << 32:,}, or use another method"
        )
    parts: dict[str, Any] = {name: np.empty(graph.edges, t) for name, t in _PER_EDGE.items()}
    parts |= {name: np.empty(graph.vertices, t) for name, t in _PER_VERTEX.items()}
    state = _State(**parts, recent=np.empty((window, 2), np.uint32))
    bits = (6 * graph.edges + 8).bit_length()  # a stamp counts six changes a step
    _ego(state, graph.sources, graph.targets, graph.out_degree, graph.in_degree, bits)
    order: Ints = state.order
    return order


def ego_bytes(edges: int, vertices: int, window: int) -> int:
    """Give the bytes that ``ego`` allocates, those of the order included.

    Example:
        >>> round(ego_bytes(3_932_160, 123_904, 100) / 3_932_160)  # RadiX, 120 layers
        23
    """
    sizes = (edges, _PER_EDGE), (vertices, _PER_VERTEX)
    arrays = sum(n * np.dtype(kind).itemsize for n, kinds in sizes for kind in kinds.values())
    return arrays + window * 2 * np.dtype(np.uint32).itemsize


@melted
def _joined(a, b, low):
    """Give the key of an edge with these two terms."""
    return (a & ~low) + (b & ~low) + min(a & low, b & low)


@melted
def _least(key, near, low):
    """Give the least term that makes this key, or what is left of it, with the term ``near``."""
    return (key & ~low) - (near & ~low) + min(key & low, near & low)


@melted
def _changed(term, by, stamp, low):
    return (term & ~low) + by * (low + 1) + (low - stamp)


@melted
def _highest(ends, term):
    """Give the highest term; four at a time, which need not wait for each other."""
    a = b = c = d = np.int64(_NEVER)
    fours = len(ends) // 4
    for q in range(fours):
        k = 4 * q
        a, b = max(a, term[ends[k]]), max(b, term[ends[k + 1]])
        c, d = max(c, term[ends[k + 2]]), max(d, term[ends[k + 3]])
    for k in range(4 * fours, len(ends)):
        a = max(a, term[ends[k]])
    return max(max(a, b), max(c, d))


@melted
def _first_from(least, ends, term):
    """Find the first end whose term is not below ``least``."""
    fours = len(ends) // 4
    start = 4 * fours
    for q in range(fours):
        k = 4 * q
        one, two = max(term[ends[k]], term[ends[k + 1]]), max(term[ends[k + 2]], term[ends[k + 3]])
        if max(one, two) >= least:
            start = k
            break
    for k in range(start, len(ends)):
        if term[ends[k]] >= least:
            return k
    return len(ends)


@melted
def _below(value, values):
    """Count the lower ones: where a value stands in a sorted list, found without a branch."""
    count, mark = np.uint32(0), np.uint32(value)
    for k in range(len(values)):
        count += np.uint32(values[k] < mark)
    return np.int64(count)


@melted
def _close_gap(values, k):
    """Move the shorter side over place ``k``, and say whether that is the one in front."""
    in_front = 2 * k < len(values)
    if in_front:
        for j in range(k, 0, -1):
            values[j] = values[j - 1]
    else:
        for j in range(k, len(values) - 1):
            values[j] = values[j + 1]
    return in_front


@melted
def _drop(s, u, v, k):
    """Take the edge at place ``k`` of ``out_ends`` out of the lists of both of its ends."""
    first, last = s.out_first[u], s.out_last[u]
    _close_gap(s.out_ids[first:last], k - first)
    in_front = np.int64(_close_gap(s.out_ends[first:last], k - first))
    s.out_first[u] += in_front
    s.out_last[u] -= 1 - in_front
    ends = s.in_ends[s.in_first[v] : s.in_last[v]]
    in_front = np.int64(_close_gap(ends, _below(u, ends)))
    s.in_first[v] += in_front
    s.in_last[v] -= 1 - in_front


@melted
def _edge_between(s, x, v):
    """Find the place in ``out_ends`` of the unplaced edge from x to v."""
    first = s.out_first[x]
    return first + _below(s.in_start[v], s.out_ids[first : s.out_last[x]])


@borrowing
def _rise(s, k, x, key, name):
    """Put a source into place ``k`` of the heap, which is free, or above it."""
    keys, names, heads, place = s.keys, s.names, s.heads, s.place
    while k > 0:
        up = (k - 1) >> 2
        if keys[up] > key or (keys[up] == key and names[up] <= name):
            break
        keys[k], names[k], heads[k] = keys[up], names[up], heads[up]
        place[heads[k]] = k
        k = up
    keys[k], names[k], heads[k], place[x] = key, name, x, k


@borrowing
def _sink(s, k, x, key, name, size):
    """Put a source into place ``k`` of the heap, which is free, or below it."""
    keys, names, heads, place = s.keys, s.names, s.heads, s.place
    while 4 * k + 1 < size:
        child = 4 * k + 1
        for other in range(child + 1, min(child + 4, size)):
            if keys[other] > keys[child] or (
                keys[other] == keys[child] and names[other] < names[child]
            ):
                child = other
        if keys[child] < key or (keys[child] == key and names[child] >= name):
            break
        keys[k], names[k], heads[k] = keys[child], names[child], heads[child]
        place[heads[k]] = k
        k = child
    keys[k], names[k], heads[k], place[x] = key, name, x, k


@melted
def _lead(s, size, low, bits):
    """Look at the sources that come to the top until one's key is that of an edge; find it."""
    while True:
        u, key, k = np.int64(s.heads[0]), s.keys[0], s.best[s.heads[0]]
        near = s.given[u]
        if k != _NONE and key == _joined(near, s.taken[s.out_ends[k]], low):
            return u, k
        ends = s.out_ends[s.out_first[u] : s.out_last[u]]
        k = _first_from(_least(key, near, low), ends, s.taken)
        if k == len(ends):  # the key was too high
            key = _joined(near, _highest(ends, s.taken), low)
            k = _first_from(_least(key, near, low), ends, s.taken)
        far = s.taken[ends[k]]
        k += s.out_first[u]
        s.best[u], s.bound[u] = k, far >> bits
        _sink(s, 0, u, _joined(near, far, low), np.int64(s.out_ids[k]), size)


@melted
def _rival(s, v, u, k, low):
    """Give the best edge into ``v`` if it goes before the leading one, which is given, or that."""
    ends, near = s.in_ends[s.in_first[v] : s.in_last[v]], s.taken[v]
    key = _joined(near, _highest(ends, s.given), low)
    if key < s.keys[0]:
        return u, k
    x = np.int64(ends[_first_from(_least(key, near, low), ends, s.given)])
    other = _edge_between(s, x, v)
    if key > s.keys[0] or s.out_ids[other] < s.out_ids[k]:
        return x, other
    return u, k


@melted
def _announce(s, v, low, bits):
    """Tell the sources that lead to ``v`` of its term."""
    near, ends = s.taken[v], s.in_ends[s.in_first[v] : s.in_last[v]]
    count = near >> bits
    for q in range(len(ends)):
        x = np.int64(ends[q])
        if count > s.bound[x]:
            s.bound[x] = count
            key = _joined(near, s.given[x], low)
            if key > s.keys[s.place[x]]:  # else an older key is still too high
                s.best[x] = _edge_between(s, x, v)
                _rise(s, s.place[x], x, key, np.int64(s.out_ids[s.best[x]]))


@melted
def _slide(s, i, u, v, low):
    """Let edge ``i`` into the window and the oldest one out; what evens out is no change."""
    window, now = len(s.recent), 6 * i + 1
    turn = i % window
    a, b = np.int64(_NONE), np.int64(_NONE)
    if i >= window:
        a, b = np.int64(s.recent[turn, 0]), np.int64(s.recent[turn, 1])
    s.recent[turn, 0], s.recent[turn, 1] = u, v
    if v != b:
        s.taken[v] = _changed(s.taken[v], 1, now + 1, low)
        if b != _NONE:
            s.taken[b] = _changed(s.taken[b], -1, now + 3, low)
    if u not in (a, b):
        s.given[u] = _changed(s.given[u], 1, now, low)
    for x, stamp in ((a, now + 2), (b, now + 4)):
        if x not in (u, _NONE) and s.given[x] >= 0:
            s.given[x] = _changed(s.given[x], -1, stamp, low)


@melted
def _requeue(s, u, size, bits):
    """Let a source stand by what it may still have to offer; give the new size of the queue."""
    k = s.place[u]
    s.best[u] = _NONE
    if s.out_first[u] < s.out_last[u]:
        key = max(s.keys[k], s.given[u] + (np.int64(s.bound[u]) << bits))
        _rise(s, k, u, key, np.int64(_NONE))
        return size
    s.bound[u] = _OUT_OF_REACH
    size -= 1
    x, key, name = np.int64(s.heads[size]), s.keys[size], s.names[size]
    if x != u:
        _rise(s, k, x, key, name)
        _sink(s, s.place[x], x, key, name, size)
    return size


@melted
def _enqueue(s, x, term, bound, size, bits):
    """Make a source ready, and queue it if an edge leaves it; give the size of the queue."""
    s.given[x] = term
    if s.out_first[x] == s.out_last[x]:
        return size
    s.bound[x] = bound
    _rise(s, size, x, term + (np.int64(bound) << bits), np.int64(_NONE))
    return size + 1


@borrowing
def _list(s, sources, targets, out_degree, in_degree, low):
    begin = np.int64(0)
    for x in range(len(out_degree)):
        s.out_first[x], s.out_last[x] = begin, begin
        begin += out_degree[x]
        s.in_first[x], s.in_last[x], s.missing[x] = 0, 0, in_degree[x]
        s.given[x], s.taken[x], s.bound[x], s.best[x] = _NEVER, low, _OUT_OF_REACH, _NONE
    for e in range(len(sources)):  # sorted by their targets
        u, v = sources[e], targets[e]
        if e == 0 or targets[e - 1] != v:
            s.in_first[v], s.in_start[v] = e, e
        s.in_last[v] = e + 1
        k = s.out_last[u]
        s.out_last[u] += 1
        s.out_ids[k], s.out_ends[k], s.in_ends[e] = e, v, u


@borrowing_entry
def _ego(s, sources, targets, out_degree, in_degree, bits):
    low = (np.int64(1) << bits) - 1
    _list(s, sources, targets, out_degree, in_degree, low)
    size = np.int64(0)
    for x in range(len(s.missing)):
        if s.missing[x] == 0:
            size = _enqueue(s, x, low, 0, size, bits)
    pending = np.int64(_NONE)  # the last target, of whose term the keys do not know yet
    for i in range(len(s.order)):
        u, k = _lead(s, size, low, bits)
        if pending != _NONE:
            u, k = _rival(s, pending, u, k, low)
        v = np.int64(s.out_ends[k])
        s.order[i] = s.out_ids[k]
        _drop(s, u, v, k)
        if pending not in (v, _NONE):
            _announce(s, pending, low, bits)
        pending = v
        _slide(s, i, u, v, low)
        size = _requeue(s, u, size, bits)
        s.missing[v] -= 1
        if s.missing[v] == 0:
            # No look yet: nothing exceeds the longest window, so it comes to the top at once.
            term = (s.taken[v] & ~low) + low - (6 * i + 6)
            size = _enqueue(s, v, term, len(s.recent), size, bits)
