"""Simulated annealing: move short blocks of edges about and keep what costs less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import compiled, entry
from byways.sparse_inference._policies import count_io, lru_misses, next_uses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Ints = NDArray[np.int64]

__all__ = ["anneal"]

_LONGEST = 8  # edges that move together
# A step changes the cost by a few I/Os, whatever the size of the network.
_HOT, _COLD = 1.0, 0.1


def anneal(
    graph: EdgeGraph,
    start: Ints,
    places: int,
    policy: int | None,
    steps: int,
    generator: np.random.Generator,
) -> Ints:
    """Improve an order; never give one that costs more than ``start``.

    A step moves one to eight consecutive edges to another place of the interval that their
    predecessors and successors leave them, and keeps the change by Metropolis' rule while the
    temperature falls geometrically. The cost is I/Os under ``policy``, or the misses of the simpler
    LRU model if it is None. Each step simulates the order anew: time O(steps m).

    References:
        Gleinig, Ben-Nun, Hoefler, 2023 (connection reordering).
    """
    is_output = np.zeros(graph.vertices, dtype=np.bool_)
    is_output[np.setdiff1d(graph.outputs, graph.inputs)] = True
    best: Ints = _anneal(
        start.copy(),
        graph.sources,
        graph.targets,
        graph.level,
        is_output,
        places,
        -1 if policy is None else policy,
        steps,
        generator,
    )
    return best


@compiled
def _cost(order, sources, targets, level, is_output, places, policy):
    s, t = sources[order], targets[order]
    n = len(level)
    if policy < 0:
        return lru_misses(s, t, n, places)
    streamed = s[:0]  # no weight stays in memory
    uses = next_uses(s, t, streamed, n) if policy == 1 else np.zeros((0, 2), np.int64)
    return count_io(s, t, streamed, level, is_output, places, policy, uses).sum()


@compiled
def _follows(f, order, first, last, sources, targets, after):
    """Tell whether an edge must run after (or before) some edge of a block."""
    for k in range(first, last):
        e = order[k]
        if (sources[f] == targets[e]) if after else (targets[f] == sources[e]):
            return True
    return False


@compiled
def _room(order, first, last, sources, targets):
    """Give the range of places between the block's last predecessor and its first successor."""
    low, high = first, last
    while low > 0 and not _follows(order[low - 1], order, first, last, sources, targets, False):
        low -= 1
    while high < len(order) and not _follows(
        order[high], order, first, last, sources, targets, True
    ):
        high += 1
    return low, high


# sizes: kernel, the whole walk in one loop
@entry
def _anneal(order, sources, targets, level, is_output, places, policy, steps, generator):
    m = len(order)
    cost = _cost(order, sources, targets, level, is_output, places, policy)
    best, least = order.copy(), cost
    if m < 2:
        return best
    for step in range(steps):
        length = 1 + generator.integers(0, min(_LONGEST, m - 1))
        first = generator.integers(0, m - length + 1)
        last = first + length
        low, high = _room(order, first, last, sources, targets)
        places_free = high - low - length
        if places_free <= 0:
            continue
        to = low + generator.integers(0, places_free + 1)
        if to == first:
            continue
        block = order[first:last].copy()
        trial = order.copy()
        if to < first:
            trial[to + length : last] = order[to:first]
        else:
            trial[first:to] = order[last : to + length]
        trial[to : to + length] = block
        change = _cost(trial, sources, targets, level, is_output, places, policy) - cost
        heat = _HOT * (_COLD / _HOT) ** (step / steps)
        if change <= 0 or generator.random() < np.exp(-change / heat):
            order, cost = trial, cost + change
            if cost < least:
                best, least = order.copy(), cost
    return best
