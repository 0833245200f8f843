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
    """Do as ``source_blocked``, but take a block's targets by the number of their edges in it."""
    level, block = graph.level[graph.targets], _source_block(graph, size)
    run = graph.targets * (block.max(initial=0) + 1) + block
    _, mine, counts = np.unique(run, return_inverse=True, return_counts=True)
    return np.lexsort((graph.sources, graph.targets, counts[mine], block, level))


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
