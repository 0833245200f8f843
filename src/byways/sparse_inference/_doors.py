"""From a network, in whatever form it comes, to the graph of its edges."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.activations import PiecewiseLinear
from byways.networks import as_smooth_chain
from byways.sparse_inference._graph import SMOOTH, EdgeGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from byways.core.smooth import SmoothChain

__all__ = ["as_graph", "as_graph_and_shape"]


def as_graph(network: Any, input_shape: int | Sequence[int] | None = None) -> EdgeGraph:
    """Give the graph of a network that ``byways.as_chain`` reads, or of one with tanh or sigmoid.

    Neurons that only hand one value on are left out: what they carry skips their level.
    """
    return as_graph_and_shape(network, input_shape)[0]


def as_graph_and_shape(
    network: Any, input_shape: int | Sequence[int] | None = None
) -> tuple[EdgeGraph, tuple[int, ...] | None]:
    """Do as ``as_graph``, and give the shape of one output of a ``torch.nn.Module``, else None."""
    if isinstance(network, EdgeGraph):
        return network, None
    found = as_smooth_chain(network, input_shape)
    return _without_carriers(_of_smooth_chain(found)), found.shape


def _of_smooth_chain(found: SmoothChain) -> EdgeGraph:
    plain = EdgeGraph.from_chain(found.chain)
    if not found.after:
        return plain
    kinds = plain.activation.copy()
    starts = list(accumulate(found.chain.widths))
    for layer, (name, units) in found.after.items():
        first = starts[layer]  # inputs stand before the first layer
        kinds[first : first + units] = len(plain.activations) + SMOOTH.index(name)
    return EdgeGraph(
        plain.sources, plain.targets, plain.weights, plain.bias, kinds,
        (*plain.activations, *SMOOTH), plain.inputs, plain.outputs,
    )  # fmt: skip


def _without_carriers(graph: EdgeGraph) -> EdgeGraph:
    """Leave out neurons whose value is that of another: one edge of weight 1, the identity."""
    from scipy.sparse import coo_array

    linear = [isinstance(f, PiecewiseLinear) and f.is_identity for f in graph.activations]
    carries = (graph.in_degree == 1) & (graph.bias == 0) & np.array(linear)[graph.activation]
    carries[graph.inputs] = carries[graph.outputs] = False
    into = carries[graph.targets] & (graph.weights == 1)
    carries = np.zeros_like(carries)
    carries[graph.targets[into]] = True
    if not carries.any():
        return graph
    origin = np.arange(graph.vertices)
    origin[graph.targets[into]] = graph.sources[into]
    while carries[origin].any():  # carried past several levels
        origin = origin[origin]
    kept = ~carries[graph.targets]
    ends = graph.targets[kept], origin[graph.sources[kept]]
    edges = coo_array((graph.weights[kept], ends), shape=(graph.vertices, graph.vertices))
    edges.sum_duplicates()  # two ways of the same value to the same neuron
    targets, sources = edges.coords
    number = np.cumsum(~carries) - 1
    return EdgeGraph(
        number[sources], number[targets], edges.data, graph.bias[~carries],
        graph.activation[~carries], graph.activations, number[graph.inputs], number[graph.outputs],
    )  # fmt: skip
