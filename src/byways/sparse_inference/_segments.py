"""A deep network in segments, between which the inputs that have died out leave the batch."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.sparse_inference._simplify import apply_activation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

__all__ = ["Segments", "cut"]


class Segments:
    """Compiled segments, called one after the other on the inputs that are still alive.

    An input whose values are all zero between two segments stays zero, because ``cut`` only cuts
    where every later neuron gives zero for zeros. Its outputs are zeros without being computed.
    """

    def __init__(
        self, parts: Sequence[Callable[..., NDArray[Any]]], outputs: int, folded: int
    ) -> None:
        self._parts = tuple(parts)
        self._outputs = outputs
        self._folded = folded

    def __call__(self, x: Any) -> NDArray[Any]:
        """Give the outputs, shape ``(batch, outputs)``, for inputs of shape ``(batch, inputs)``."""
        values = self._parts[0](x)
        alive = np.arange(len(values))
        for part in self._parts[1:]:
            kept = values.any(axis=1)  # NaN counts as alive
            alive, values = alive[kept], part(values[kept])
        result = np.zeros((len(x), self._outputs), dtype=values.dtype)
        result[alive] = values
        return result

    def explain(self) -> tuple[Any, ...]:
        """Say for each segment which kernel runs which order, on how much memory.

        Edges out of constants are folded before the network is cut; the first segment counts them.
        """
        first, *others = (part.explain() for part in self._parts)  # type: ignore[attr-defined]
        given, folded = first.given_edges + self._folded, first.folded + self._folded
        return (replace(first, given_edges=given, folded=folded), *others)


def cut(graph: EdgeGraph, every: int) -> list[EdgeGraph]:
    """Cut a layered graph after every so many levels.

    Raises:
        ValueError: If an edge skips a level, an output stands before the last level, or a neuron
            behind the first cut is not zero where its sources are.
    """
    if (graph.level[graph.targets] - graph.level[graph.sources] != 1).any():
        raise ValueError('"compact" needs layers; an edge of this network skips a level')
    if (graph.level[graph.outputs] != graph.levels).any():
        raise ValueError('"compact" needs all outputs on the last level')
    later = np.flatnonzero(graph.level > every)
    rest = np.zeros(len(later))
    for k, activation in enumerate(graph.activations):
        mine = graph.activation[later] == k
        rest[mine] = apply_activation(activation, graph.bias[later[mine]])
    if rest.any():
        vertex = later[np.flatnonzero(rest)[0]]
        raise ValueError(
            f'"compact" needs neurons that are zero where their sources are; vertex {vertex} is '
            f"{rest[rest != 0][0]:g} there, so inputs that have died out come back"
        )
    bounds = [*range(0, max(graph.levels, 1), every), graph.levels]
    return [_between(graph, a, b) for a, b in pairwise(bounds)]


def _between(graph: EdgeGraph, first: int, last: int) -> EdgeGraph:
    """Give the edges into the levels ``first + 1 .. last``; vertices are numbered anew."""
    level = graph.level[graph.targets]
    mine = (level > first) & (level <= last)
    begin = graph.inputs if first == 0 else np.flatnonzero(graph.level == first)
    end = graph.outputs if last == graph.levels else np.flatnonzero(graph.level == last)
    inner = np.flatnonzero((graph.level > first) & (graph.level <= last))
    names = np.union1d(np.union1d(begin, inner), end)
    number = np.full(graph.vertices, -1)
    number[names] = np.arange(len(names))
    return replace(
        graph,
        sources=number[graph.sources[mine]],
        targets=number[graph.targets[mine]],
        weights=graph.weights[mine],
        bias=graph.bias[names],
        activation=graph.activation[names],
        inputs=number[begin],
        outputs=number[end],
    )
