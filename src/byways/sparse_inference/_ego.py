"""EGO: the greedy order that keeps an edge near the edges it shares an end with.

An edge is ready when every edge into its source has been placed. Among the ready ones the next is
one with the highest score: the number of edges among the last ``w`` placed that share its source,
share its target, or end in its source. With ``S[x]`` and ``D[x]`` the window's edges out of and
into ``x``, that is ``(S[u] + D[u]) + D[v]``. Among equals goes the edge whose terms have stood
still for longest, then the one with the lowest number.

A term of the score belongs to a vertex, so the queue holds vertices: ready sources, each with a
bound on the key of its best edge. A bound is set when a term grows. One that shrinks leaves it too
high, and a source is looked at again when it comes to the top. So an edge is placed for the price
of reading the edges beside it, not of moving each of them from one list to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import borrowing, entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Ints = NDArray[np.int64]

__all__ = ["ego"]

_NONE = -1
_OUT_OF_REACH = np.iinfo(np.int32).max  # the bound of a source that is not queued


def ego(graph: EdgeGraph, window: int) -> Ints:
    """Give EGO's order; time O(sum of squared degrees), memory O(m + n).

    References:
        The edge-order report (EGO, EON), 2023, Algorithm 3, completed: its first key is kept up to
        date, edges that leave the window lower the scores they had raised. Ties are first in,
        first out: an edge goes to the back when its source's or its target's term changes.
    """
    sources, targets = graph.sources.astype(np.uint32), graph.targets.astype(np.uint32)
    order: Ints = _ego(sources, targets, graph.out_degree, graph.in_degree, window)
    return order


@entry
def _beside(near, far, degree):
    """List the edges by one end: where each vertex's begin, their ids, far ends and own places."""
    m, n = len(near), len(degree)
    first = np.zeros(n + 1, np.int64)
    first[1:] = np.cumsum(degree)
    ids, ends, where = np.empty(m, np.uint32), np.empty(m, np.uint32), np.empty(m, np.uint32)
    fill = first[:-1].copy()
    for e in range(m):
        k = fill[near[e]]
        fill[near[e]] += 1
        ids[k], ends[k], where[e] = e, far[e], k
    return first, ids, ends, where


# A heap of vertices: ``key`` is larger and then ``best``, an edge, smaller towards the top.
@borrowing
def _above(u, x, key, best):
    return key[u] > key[x] or (key[u] == key[x] and best[u] < best[x])


@borrowing
def _rise(u, heap, place, key, best):
    k = place[u]
    while k > 0:
        parent = heap[(k - 1) // 2]
        if not _above(u, parent, key, best):
            break
        heap[k], place[parent] = parent, k
        k = (k - 1) // 2
    heap[k], place[u] = u, k


@borrowing
def _sink(u, size, heap, place, key, best):
    k = place[u]
    while 2 * k + 1 < size:
        child = 2 * k + 1
        if child + 1 < size and _above(heap[child + 1], heap[child], key, best):
            child += 1
        x = heap[child]
        if not _above(x, u, key, best):
            break
        heap[k], place[x] = x, k
        k = child
    heap[k], place[u] = u, k


@borrowing
def _take_out(u, size, heap, place, key, best):
    last, k = heap[size - 1], place[u]
    place[u] = _NONE
    if last != u:
        heap[k], place[last] = last, k
        _rise(last, heap, place, key, best)
        _sink(last, size - 1, heap, place, key, best)


@borrowing
def _drop(e, ids, ends, where, first, live, x):
    """Take an edge out of the unplaced ones beside ``x``, which stay together in front."""
    k, last = where[e], first[x] + live[x] - 1
    other = ids[last]
    ids[k], ids[last] = other, e
    ends[k], ends[last] = ends[last], ends[k]
    where[other], where[e] = k, last
    live[x] -= 1


@borrowing
def _foremost(ids, ends, first, last, floor, term, since):
    """Find the best of some edges: its far end's term, its stamp and itself.

    ``since`` says when the terms changed; ``floor`` is when the term of the near end did.
    """
    top, stamp, edge = np.int32(_NONE), np.int64(0), np.int64(_NONE)
    for k in range(first, last):
        v = ends[k]
        value = term[v]
        if value >= top:
            later, name = max(floor, since[v]), np.int64(ids[k])
            if value > top or later < stamp or (later == stamp and name < edge):
                top, stamp, edge = value, later, name
    return top, stamp, edge


# sizes: kernel, the queue's state would otherwise travel through every call
@entry
def _ego(sources, targets, out_degree, in_degree, window):
    m, n = len(sources), len(in_degree)
    out_first, out_ids, out_ends, out_where = _beside(sources, targets, out_degree)
    in_first, in_ids, in_ends, in_where = _beside(targets, sources, in_degree)
    out_live, in_live, missing = out_degree.copy(), in_degree.copy(), in_degree.copy()
    order = np.empty(m, np.int64)
    given = np.full(n, _NONE, np.int32)  # S + D of a ready source, -1 of others
    taken = np.zeros(n, np.int32)  # D
    given_since, taken_since = np.zeros(n, np.int64), np.zeros(n, np.int64)  # stamps of changes
    span = 6 * m + 8  # a key is score * span - stamp; six changes a step
    bound = np.full(n, _OUT_OF_REACH, np.int32)  # on ``taken`` where a queued source leads
    key, best = np.zeros(n, np.int64), np.full(n, _NONE, np.int64)
    heap, place = np.empty(n, np.int64), np.full(n, _NONE, np.int64)
    size = 0
    for vertex in range(n):
        if missing[vertex] == 0:
            given[vertex] = 0
            if out_live[vertex] > 0:
                bound[vertex], heap[size], place[vertex] = 0, vertex, size
                size += 1
    pending = np.int64(_NONE)  # the last target, of whose term the bounds do not know yet
    for i in range(m):
        e = np.int64(_NONE)
        while True:
            u = heap[0]
            e = best[u]
            if e != _NONE:
                v = targets[e]
                stamp = max(given_since[u], taken_since[v])
                if key[u] == (given[u] + taken[v]) * span - stamp:
                    break
            first, floor = out_first[u], given_since[u]
            top, stamp, best[u] = _foremost(
                out_ids, out_ends, first, first + out_live[u], floor, taken, taken_since
            )
            bound[u], key[u] = top, (given[u] + top) * span - stamp
            _sink(u, size, heap, place, key, best)
        if pending != _NONE:
            first, floor = in_first[pending], taken_since[pending]
            top, stamp, edge = _foremost(
                in_ids, in_ends, first, first + in_live[pending], floor, given, given_since
            )
            rank = (top + taken[pending]) * span - stamp
            if top != _NONE and (rank > key[u] or (rank == key[u] and edge < e)):
                e = edge
        u, v = np.int64(sources[e]), np.int64(targets[e])
        order[i] = e
        _drop(e, out_ids, out_ends, out_where, out_first, out_live, u)
        _drop(e, in_ids, in_ends, in_where, in_first, in_live, v)
        if pending not in (v, _NONE):
            value, floor, first = taken[pending], taken_since[pending], in_first[pending]
            for k in range(first, first + in_live[pending]):
                x = in_ends[k]
                if value > bound[x]:
                    bound[x], best[x] = value, in_ids[k]
                    key[x] = (given[x] + value) * span - max(floor, given_since[x])
                    _rise(x, heap, place, key, best)
        pending = v
        # One edge enters the window and one leaves it; what evens out is no change.
        now = 6 * i + 1
        a, b = np.int64(_NONE), np.int64(_NONE)
        if i >= window:
            a, b = np.int64(sources[order[i - window]]), np.int64(targets[order[i - window]])
        if v != b:
            taken[v] += 1
            taken_since[v] = now + 1
            if b != _NONE:
                taken[b] -= 1
                taken_since[b] = now + 3
        for turn, x in enumerate((u, a, b)):
            by = int(x == u) - int(x == a) - int(x == b)
            if x == _NONE or by == 0 or given[x] == _NONE or (turn > 0 and x == u):
                continue
            given[x] += by
            given_since[x] = now + 2 * turn
            if out_live[x] > 0:
                key[x], best[x] = (given[x] + bound[x]) * span - given_since[x], _NONE
                _rise(x, heap, place, key, best)
                _sink(x, size, heap, place, key, best)
        if out_live[u] == 0:
            bound[u] = _OUT_OF_REACH
            _take_out(u, size, heap, place, key, best)
            size -= 1
        missing[v] -= 1
        if missing[v] == 0:
            given[v], given_since[v] = taken[v], now + 5
            if out_live[v] > 0:
                # No look yet: nothing exceeds the longest window, so it comes to the top at once.
                bound[v], key[v] = window, (given[v] + window) * span - now
                heap[size], place[v] = v, size
                size += 1
                _rise(v, heap, place, key, best)
    return order
