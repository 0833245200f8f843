"""Exact changes to a graph before it is compiled; each says what it did."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from byways.core.activations import PiecewiseLinear
from byways.core.smooth import smooth
from byways.sparse_inference._graph import EdgeGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import Activation

    Array = NDArray[np.float64]

__all__ = ["apply_activation", "constants", "drop_dead", "fold_constants", "merge_identical"]


def apply_activation(activation: Activation, z: Array) -> Array:
    """Evaluate an activation elementwise."""
    if isinstance(activation, PiecewiseLinear):
        return activation(z)
    return smooth(activation, z)


def constants(graph: EdgeGraph) -> tuple[NDArray[np.int64], Array]:
    """Give the vertices that no edge leads into and that are no inputs, and their values."""
    given = graph.in_degree == 0
    given[graph.inputs] = False
    vertices = np.flatnonzero(given)
    values = graph.bias[vertices].copy()
    for k, activation in enumerate(graph.activations):
        mine = graph.activation[vertices] == k
        values[mine] = apply_activation(activation, values[mine])
    return vertices, values


def fold_constants(graph: EdgeGraph) -> tuple[EdgeGraph, int]:
    """Move the constant values of vertices without incoming edges into the biases they reach.

    Sums are taken in another order, so values may change by rounding.

    Returns:
        The graph, and how many edges went. Vertices keep their numbers.
    """
    before = graph.edges
    while True:
        vertices, values = constants(graph)
        value = np.zeros(graph.vertices)
        value[vertices] = values
        constant = np.zeros(graph.vertices, dtype=np.bool_)
        constant[vertices] = True
        gone = constant[graph.sources]
        if not gone.any():
            return graph, before - graph.edges
        targets = graph.targets[gone]
        shift = np.bincount(
            targets, graph.weights[gone] * value[graph.sources[gone]], graph.vertices
        )
        graph = _without(replace(graph, bias=graph.bias + shift), gone)


def drop_dead(graph: EdgeGraph) -> tuple[EdgeGraph, int]:
    """Drop the edges of which no output hears.

    Returns:
        The graph, and how many edges went. Vertices keep their numbers.
    """
    heard = np.zeros(graph.vertices, dtype=np.bool_)
    heard[graph.outputs] = True
    level = graph.level[graph.targets]  # edges stand in the order of this
    for depth in range(graph.levels, 0, -1):
        first, last = np.searchsorted(level, [depth, depth + 1])
        here = slice(first, last)
        heard[graph.sources[here][heard[graph.targets[here]]]] = True
    gone = ~heard[graph.targets]
    return _without(graph, gone), int(gone.sum())


def merge_identical(graph: EdgeGraph) -> tuple[EdgeGraph, int]:
    """Let one neuron stand for all that compute the same: equal bias, activation, weights, sources.

    Sums are taken in another order, so values may change by rounding.

    Returns:
        The graph, and how many edges went. Vertices keep their numbers; outputs are not merged.
    """
    head = np.arange(graph.vertices)
    keep_apart = np.zeros(graph.vertices, dtype=np.bool_)
    keep_apart[graph.inputs] = keep_apart[graph.outputs] = True
    level = graph.level[graph.targets]
    parts = []
    for depth in range(1, graph.levels + 1):
        first, last = np.searchsorted(level, [depth, depth + 1])
        sources, targets = head[graph.sources[first:last]], graph.targets[first:last]
        weights = graph.weights[first:last]
        order = np.lexsort((sources, targets))
        sources, targets, weights = sources[order], targets[order], weights[order]
        fresh = np.ones(len(order), dtype=np.bool_)
        fresh[1:] = (np.diff(sources) != 0) | (np.diff(targets) != 0)
        begins = np.flatnonzero(fresh)
        weights = np.add.reduceat(weights, begins) if begins.size else weights
        sources, targets = sources[begins], targets[begins]
        _find_twins(graph, head, keep_apart, sources, targets, weights)
        mine = head[targets] == targets
        parts.append((sources[mine], targets[mine], weights[mine]))
    if not parts:
        return graph, 0
    sources, targets, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    merged = replace(graph, sources=sources, targets=targets, weights=weights)
    return merged, graph.edges - merged.edges


def _find_twins(
    graph: EdgeGraph,
    head: NDArray[np.int64],
    keep_apart: NDArray[np.bool_],
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
    weights: Array,
) -> None:
    """Point each target of one level to the first that computes the same."""
    vertices, begins = np.unique(targets, return_index=True)
    seen: dict[tuple[bytes, bytes, float, int], int] = {}
    for vertex, a, b in zip(vertices, begins, [*begins[1:], len(targets)], strict=True):
        if keep_apart[vertex]:
            continue
        key = (
            sources[a:b].tobytes(),
            weights[a:b].tobytes(),
            float(graph.bias[vertex]),
            int(graph.activation[vertex]),
        )
        head[vertex] = seen.setdefault(key, int(vertex))


def _without(graph: EdgeGraph, gone: NDArray[np.bool_]) -> EdgeGraph:
    left = ~gone
    return replace(
        graph,
        sources=graph.sources[left],
        targets=graph.targets[left],
        weights=graph.weights[left],
    )
