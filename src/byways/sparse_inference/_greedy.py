"""The greedy order that looks into the cache: take the ready edge that costs and promises most.

At each step every ready edge with an end in an LRU cache of ``C`` vertices is scored, and the best
one runs. Edges with both ends in the cache cost nothing and run first. The score of another edge is
a weighted sum over what matters later: how many ready edges the missing end would join to the
cache, how much is left to do at the ends, and how long ago those present were used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import compiled, entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Ints = NDArray[np.int64]

__all__ = ["WEIGHTS", "greedy"]

# Of: ready edges between the missing end and the cache; edges left at the missing end; edges left
# at the present end; age of the present end, in vertices of the cache; edges left into the target;
# whether the missing end is the target. Found by tools/tune_greedy.py on small random networks.
WEIGHTS = (1.0, 0.02, -0.31, 0.48, -0.36, -1.77)


def greedy(graph: EdgeGraph, places: int, weights: tuple[float, ...] = WEIGHTS) -> Ints:
    """Give the cache-aware greedy order for a cache of ``places`` vertices.

    Time O(m) steps that each look at the ready edges of the cached vertices.
    """
    out_start, out_ids = graph.out_of
    in_start, in_ids = graph.into
    order: Ints = _greedy(
        graph.sources,
        graph.targets,
        (out_start, out_ids),
        (in_start, in_ids),
        graph.in_degree.copy(),
        places,
        np.array(weights),
    )
    return order


@compiled
def _join(x, by, outgoing, incoming, sources, targets, ready, joined):
    """Count for the neighbours of a vertex that enters or leaves the cache its ready edges."""
    out_start, out_ids = outgoing
    in_start, in_ids = incoming
    for k in range(out_start[x], out_start[x + 1]):
        if ready[out_ids[k]]:
            joined[targets[out_ids[k]]] += by
    for k in range(in_start[x], in_start[x + 1]):
        if ready[in_ids[k]]:
            joined[sources[in_ids[k]]] += by


# sizes: kernel, one scan over the cache's edges a step, with all state in flat arrays
@entry
def _greedy(sources, targets, outgoing, incoming, missing, places, weights):
    out_start, out_ids = outgoing
    m, n = len(sources), len(missing)
    order = np.empty(m, np.int64)
    ready, placed = np.zeros(m, np.bool_), np.zeros(m, np.bool_)
    left_in, left = missing.copy(), missing.copy()
    for e in range(m):
        ready[e] = missing[sources[e]] == 0
        left[sources[e]] += 1
    held, stamp = np.zeros(n, np.bool_), np.zeros(n, np.int64)
    cache = np.empty(min(places, n), np.int64)
    size, now, fresh = 0, 0, 0
    joined = np.zeros(n, np.int64)  # ready edges between a vertex and the cache
    for i in range(m):
        best, top = -1, -np.inf
        for c in range(size):
            x = cache[c]
            if left[x] == 0:
                continue
            for side in range(2):
                start, ids = outgoing if side == 0 else incoming
                for k in range(start[x], start[x + 1]):
                    e = ids[k]
                    if placed[e] or not ready[e]:
                        continue
                    y = targets[e] if side == 0 else sources[e]
                    if held[y]:
                        score = 1e9 - left[x] - left[y]  # free; those that finish a vertex first
                    else:
                        score = (
                            weights[0] * joined[y]
                            + weights[1] * left[y]
                            + weights[2] * left[x]
                            + weights[3] * (now - stamp[x]) / places
                            + weights[4] * left_in[targets[e]]
                            + weights[5] * (side == 0)
                        )
                    if score > top:
                        best, top = e, score
        if best < 0:  # nothing ready touches the cache
            while placed[fresh] or not ready[fresh]:
                fresh = fresh + 1 if fresh + 1 < m else 0
            best = fresh
        e = best
        order[i] = e
        placed[e], ready[e] = True, False
        u, v = sources[e], targets[e]
        if held[u]:
            joined[v] -= 1
        if held[v]:
            joined[u] -= 1
        left[u] -= 1
        left[v] -= 1
        left_in[v] -= 1
        for x in (u, v):
            now += 1
            stamp[x] = now
            if held[x]:
                continue
            if size == places:
                oldest = 0
                for c in range(1, size):
                    if stamp[cache[c]] < stamp[cache[oldest]]:
                        oldest = c
                held[cache[oldest]] = False
                _join(cache[oldest], -1, outgoing, incoming, sources, targets, ready, joined)
                cache[oldest] = x
            else:
                cache[size] = x
                size += 1
            held[x] = True
            _join(x, 1, outgoing, incoming, sources, targets, ready, joined)
        if left_in[v] == 0:
            for k in range(out_start[v], out_start[v + 1]):
                f = out_ids[k]
                ready[f] = True
                joined[targets[f]] += held[v]
                joined[sources[f]] += held[targets[f]]
    return order
