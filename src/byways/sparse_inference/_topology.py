"""Levels, cycles and validity of orders: what is asked of a directed graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["first_misplaced", "levels_of", "name_a_cycle", "sources_at_once"]


def levels_of(sources: Ints, targets: Ints, n: int) -> Ints:
    """Give the length of the longest path into each vertex; -1 on and behind cycles."""
    order = np.argsort(sources, kind="stable")
    start = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(sources, minlength=n), out=start[1:])
    missing = np.bincount(targets, minlength=n).astype(np.int64)
    level: Ints = _levels(start, targets[order], missing)
    return level


@entry
def _levels(start: Ints, ends: Ints, missing: Ints) -> Ints:
    n = len(missing)
    level = np.zeros(n, dtype=np.int64)
    queue = np.empty(n, dtype=np.int64)
    size = 0
    for v in range(n):
        if missing[v] == 0:
            queue[size] = v
            size += 1
    done = 0
    while done < size:
        u = queue[done]
        done += 1
        for k in range(start[u], start[u + 1]):
            v = ends[k]
            level[v] = max(level[v], level[u] + 1)
            missing[v] -= 1
            if missing[v] == 0:
                queue[size] = v
                size += 1
    for v in range(n):
        if missing[v] > 0:
            level[v] = -1
    return level


def sources_at_once(levels: Ints, sources: Ints, n: int) -> float:
    """Give how many different sources the level of an edge has, as the mean over all edges.

    Args:
        levels: Level of each edge, ascending.
        sources: Source of each edge.
        n: Number of vertices.
    """
    count = _sources_per_level(levels, sources, np.full(n, -1))
    return float(count[levels].mean()) if len(levels) else 0.0


@entry
def _sources_per_level(levels: Ints, sources: Ints, seen: Ints) -> Ints:
    count = np.zeros(levels[-1] + 1 if len(levels) else 0, dtype=np.int64)
    for e in range(len(levels)):
        if seen[sources[e]] != levels[e]:
            seen[sources[e]] = levels[e]
            count[levels[e]] += 1
    return count


def name_a_cycle(sources: Ints, targets: Ints, level: Ints) -> str:
    """Say which vertices form a cycle, given that there is one."""
    stuck = level < 0
    inside = stuck[sources] & stuck[targets]
    before = dict(zip(targets[inside].tolist(), sources[inside].tolist(), strict=True))
    vertex, seen = int(np.flatnonzero(stuck)[0]), []
    while vertex not in seen:  # every vertex here has a predecessor here
        seen.append(vertex)
        vertex = before[vertex]
    cycle = [vertex, *reversed(seen[seen.index(vertex) :])]
    path = " -> ".join(map(str, cycle if len(cycle) < 12 else [*cycle[:10], "...", vertex]))
    return f"the edges form a cycle: {path}; a feed-forward network has none"


@entry
def first_misplaced(order: Ints, sources: Ints, targets: Ints, in_degree: Ints) -> int:
    """Give the first position whose edge comes before an edge into its source, or -1."""
    missing = in_degree.copy()
    for i in range(len(order)):
        e = order[i]
        if missing[sources[e]] > 0:
            return i
        missing[targets[e]] -= 1
    return -1
