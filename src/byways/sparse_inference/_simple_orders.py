"""Orders that follow from the layers alone: destinations, sources, blocks of either, random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Ints = NDArray[np.int64]

__all__ = [
    "blocked",
    "destination",
    "even_destinations",
    "even_source_blocked",
    "random",
    "source",
    "source_blocked",
]


def destination(graph: EdgeGraph) -> Ints:
    """Finish one target after the other; the sources of each ascend."""
    return np.arange(graph.edges, dtype=np.int64)  # the order in which a graph keeps its edges


def even_destinations(graph: EdgeGraph) -> Ints:
    """Do as ``destination``, but take the targets of a level by the number of their edges.

    A core foresees the end of a loop that is as long as the one before. Targets with the same
    sources follow each other, and find them in the cache.
    """
    marks = np.random.default_rng(0).random(graph.vertices)
    # Equal sources have equal sums of marks; others with equal sums would only stand in between.
    alike = np.bincount(graph.targets, marks[graph.sources], graph.vertices)
    v = graph.targets
    return np.lexsort((v, alike[v], graph.in_degree[v], graph.level[v]))


def source(graph: EdgeGraph) -> Ints:
    """Per level of targets, use up one source after the other."""
    return np.lexsort((graph.targets, graph.sources, graph.level[graph.targets]))


def random(graph: EdgeGraph, generator: np.random.Generator) -> Ints:
    """Shuffle the edges into each level: the control for every claim about an order."""
    return np.lexsort((generator.random(graph.edges), graph.level[graph.targets]))


def blocked(graph: EdgeGraph, size: int) -> Ints:
    """Per level, fill blocks of ``size`` targets; inside a block sweep the sources.

    The sweep turns around from block to block, so that a block begins with the sources that the one
    before ended with.
    """
    level = graph.level[graph.targets]
    block = _rank_in_level(graph)[graph.targets] // size
    sweep = np.where(block % 2 == 0, graph.sources, -graph.sources)
    return np.lexsort((graph.targets, sweep, block, level))


def source_blocked(graph: EdgeGraph, size: int) -> Ints:
    """Per level of targets, take blocks of ``size`` sources; inside, one target after the other.

    Blocks are counted along the sources that occur at the level, wherever they stand.
    """
    level = graph.level[graph.targets]
    return np.lexsort((graph.sources, graph.targets, _source_block(graph, size), level))


def even_source_blocked(graph: EdgeGraph, size: int) -> Ints:
    """Do as ``source_blocked``, with blocks of a level all but equal, and none above ``size``.

    A block's targets are taken by the number of their edges in it. A block's sources are those that
    the level before reached one after the other: so do their values lie, which spreads them evenly
    over the sets of a cache.
    """
    level, reached = graph.level[graph.targets], np.arange(graph.vertices)
    order = [np.zeros(0, dtype=np.int64)]
    for depth in range(1, graph.levels + 1):
        first, last = np.searchsorted(level, [depth, depth + 1])
        v = graph.targets[first:last]
        heads, mine = np.unique(graph.sources[first:last], return_inverse=True)
        rank = np.argsort(np.argsort(reached[heads]))[mine]
        blocks = -(-len(heads) // size)
        block = rank * blocks // len(heads)
        _, run, lengths = np.unique(v * blocks + block, return_inverse=True, return_counts=True)
        here = np.lexsort((rank, v, lengths[run], block))
        order.append(first + here)
        tails, at = np.unique(v[here], return_index=True)
        reached[tails] = graph.vertices + first + at
    return np.concatenate(order)


def _source_block(graph: EdgeGraph, size: int) -> Ints:
    """Give for each edge the block of its source among the sources of its level."""
    level = graph.level[graph.targets]
    order = np.lexsort((graph.sources, level))
    fresh = np.ones(graph.edges, dtype=np.int64)
    same = np.diff(level[order]) == 0
    fresh[1:] = np.diff(graph.sources[order]) != 0
    fresh[1:][~same] = 1
    count = np.cumsum(fresh) - 1
    begins = np.flatnonzero(np.concatenate([[True], ~same])) if graph.edges else np.zeros(0, int)
    count -= np.repeat(count[begins], np.diff([*begins, graph.edges]))
    block = np.empty(graph.edges, dtype=np.int64)
    block[order] = count // size
    return block


def _rank_in_level(graph: EdgeGraph) -> Ints:
    """Number the vertices of each level, in the order of their ids."""
    order = np.argsort(graph.level, kind="stable")
    sizes = np.bincount(graph.level)
    rank = np.empty(graph.vertices, dtype=np.int64)
    rank[order] = np.arange(graph.vertices) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank
