"""EGO: the greedy order that keeps an edge near the edges it shares an end with.

An edge is ready when every edge into its source has been placed. Among the ready ones the next is
one with the highest score: the number of edges among the last ``w`` placed that share its source,
share its target, or end in its source. With ``S[x]`` and ``D[x]`` the window's edges out of and
into ``x``, that is ``S[u] + D[u] + D[v]``, at most ``3 w``: buckets, one list a score, make every
move constant time. Within a bucket the edge that has waited longest goes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import compiled, entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Ints = NDArray[np.int64]

__all__ = ["ego"]

_NONE = -1


def ego(graph: EdgeGraph, window: int) -> Ints:
    """Give EGO's order; time O(sum of squared degrees) at worst, memory O(m + n + w).

    References:
        The edge-order report (EGO, EON), 2023, Algorithm 3, completed: its first key is kept up to
        date, edges that leave the window lower the scores they had raised, ties are first in,
        first out.
    """
    out_start, out_ids = graph.out_of
    in_start, in_ids = graph.into
    order: Ints = _ego(
        graph.sources.astype(np.int32),
        graph.targets.astype(np.int32),
        (out_start, out_ids.astype(np.int32)),
        (in_start, in_ids.astype(np.int32)),
        graph.in_degree.copy(),
        window,
    )
    return order


# Lists are kept in three arrays: next and previous edge, and first and last edge of each bucket.
@compiled
def _unlink(e, following, previous, ends, score):
    a, b = previous[e], following[e]
    if a == _NONE:
        ends[0, score[e]] = b
    else:
        following[a] = b
    if b == _NONE:
        ends[1, score[e]] = a
    else:
        previous[b] = a


@compiled
def _append(e, value, following, previous, ends, score):
    score[e] = value
    last = ends[1, value]
    previous[e], following[e] = last, _NONE
    if last == _NONE:
        ends[0, value] = e
    else:
        following[last] = e
    ends[1, value] = e


@compiled
def _drop(k, ids, place, start, live, x):
    """Take an entry out of the still unplaced edges of ``x``, which stay together in front."""
    last = start[x] + live[x] - 1
    ids[k], ids[last] = ids[last], ids[k]
    place[ids[k]], place[ids[last]] = k, last
    live[x] -= 1


@compiled
def _shift(ids, first, count, by, top, following, previous, ends, score):
    """Move ready edges to another bucket."""
    for k in range(first, first + count):
        f = ids[k]
        if score[f] >= 0:
            value = score[f] + by
            _unlink(f, following, previous, ends, score)
            _append(f, value, following, previous, ends, score)
            top = max(top, value)
    return top


# sizes: kernel, the bucket queue's state would otherwise travel through every call
@entry
def _ego(sources, targets, outgoing, incoming, missing, window):
    out_start, out_ids = outgoing
    in_start, in_ids = incoming
    m, n = len(sources), len(missing)
    following, previous = np.empty(m, np.int32), np.empty(m, np.int32)
    score = np.full(m, _NONE, np.int32)  # of queued edges; -1 for edges not ready or placed
    ends = np.full((2, 3 * window + 4), _NONE, np.int32)
    out_place, in_place = np.empty(m, np.int32), np.empty(m, np.int32)
    out_live, in_live = np.empty(n, np.int64), np.empty(n, np.int64)
    for x in range(n):
        out_live[x] = out_start[x + 1] - out_start[x]
        in_live[x] = in_start[x + 1] - in_start[x]
    for k in range(m):
        out_place[out_ids[k]] = k
        in_place[in_ids[k]] = k
    from_window, into_window = np.zeros(n, np.int32), np.zeros(n, np.int32)  # S and D
    order = np.empty(m, np.int64)
    for e in range(m):
        if missing[sources[e]] == 0:
            _append(e, 0, following, previous, ends, score)
    top = 0
    for i in range(m):
        while ends[0, top] == _NONE:
            top -= 1
        e = ends[0, top]
        _unlink(e, following, previous, ends, score)
        score[e] = _NONE
        order[i] = e
        u, v = sources[e], targets[e]
        _drop(out_place[e], out_ids, out_place, out_start, out_live, u)
        _drop(in_place[e], in_ids, in_place, in_start, in_live, v)
        for turn in range(2):
            by = 1 - 2 * turn  # the edge enters the window, then the oldest leaves it
            if turn == 1:
                if i < window:
                    break
                u, v = sources[order[i - window]], targets[order[i - window]]
            from_window[u] += by
            into_window[v] += by
            top = _shift(
                out_ids, out_start[u], out_live[u], by, top, following, previous, ends, score
            )
            top = _shift(in_ids, in_start[v], in_live[v], by, top, following, previous, ends, score)
            top = _shift(
                out_ids, out_start[v], out_live[v], by, top, following, previous, ends, score
            )
        v = targets[e]
        missing[v] -= 1
        if missing[v] == 0:
            for k in range(out_start[v], out_start[v + 1]):
                f = out_ids[k]
                value = from_window[v] + into_window[v] + into_window[targets[f]]
                _append(f, value, following, previous, ends, score)
                top = max(top, value)
    return order
