"""How many numbers move between fast and slow memory when edges run in an order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.plotting import axes
from byways.sparse_inference._doors import as_graph
from byways.sparse_inference._order import require_order
from byways.sparse_inference._policies import count_io, lru_misses, next_uses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph
    from byways.sparse_inference._order import EdgeOrder

__all__ = ["IOReport", "simulate"]

POLICIES = {"lru": 0, "min": 1, "rr": 2}


@dataclass(frozen=True, slots=True, eq=False)
class IOReport:
    """What an order costs in the two-level memory model.

    Attributes:
        reads: Neuron values read: inputs, biases at first touch, values fetched again.
        writes: Neuron values written: unfinished or still needed values that had to leave, and
            finished outputs.
        weight_reads: Weights read: one an edge whatever the order, unless they are shared.
        lower_bound: No order and no policy needs less.
        upper_bound: Destination-major never needs more.
        lru_misses: Misses in the simpler model of a set of ``memory - 1`` vertices under LRU, in
            which nothing is written and nothing is dropped.
        per_level: Reads and writes while the edges into each level ran, shape ``(levels, 2)``.
        memory: Numbers that fast memory holds.
        policy: Which value has to leave.
        method: Finder of the order.
    """

    reads: int
    writes: int
    weight_reads: int
    lower_bound: int
    upper_bound: int
    lru_misses: int
    per_level: NDArray[np.int64]
    memory: int
    policy: str
    method: str

    @property
    def neuron_io(self) -> int:
        """Reads and writes of neuron values."""
        return self.reads + self.writes

    @property
    def total(self) -> int:
        """All reads and writes, weights included."""
        return self.neuron_io + self.weight_reads

    @property
    def ratio(self) -> float:
        """Total divided by the lower bound, 1 at best."""
        return self.total / self.lower_bound if self.lower_bound else 1.0

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw reads and writes per level; draw several orders on the same axes to compare them.

        Args:
            ax: Where to draw; new axes if None.

        Returns:
            The axes.
        """
        ax = axes(ax)
        count = self.per_level.sum(axis=1)
        ax.autoscale(axis="y")  # the lower limit that an earlier order set stops it
        width = 6.0 / (1 + len(ax.lines))  # what lies below another line stays visible
        ax.plot(np.arange(1, len(count) + 1), count, linewidth=max(width, 1.0), label=self.method)
        ax.locator_params(axis="x", integer=True)
        ax.set(
            xlabel="level of the target",
            ylabel="neuron values read and written",
            title=f"memory of {self.memory:,} numbers, {self.policy}",
        )
        ax.set_ylim(bottom=0)
        ax.legend(frameon=False)
        return ax

    def __str__(self) -> str:
        return (
            f"{self.method}, {self.policy}, memory {self.memory}: {self.total:,} I/Os "
            f"({self.weight_reads:,} weights, {self.reads:,} neuron reads, "
            f"{self.writes:,} writes), {self.ratio:.3f} of the lower bound"
        )


def simulate(
    network: Any,
    order: EdgeOrder,
    *,
    memory: int,
    policy: str = "lru",
    shared_weights: bool = False,
    input_shape: int | Sequence[int] | None = None,
) -> IOReport:
    """Count the I/Os of an order of edges, exactly.

    Fast memory holds ``memory`` numbers. An edge needs both its ends and its weight there; a weight
    is used once, so ``memory - 1`` places are left for neurons. The parts of an edge are pinned
    while it runs; the source is fetched first, the weight last. With ``shared_weights``, equal
    weights are one number, as those of a convolution are, which may stay in memory between two
    edges that use it. A value with no use left is dropped at once, for free;
    an output is written when it is finished and has no use left, or when it has to leave; one that
    is an input is not.

    Args:
        network: What ``compile_network`` takes; an ``EdgeGraph`` is not converted each time.
        order: A valid order of its edges.
        memory: Numbers that fast memory holds, at least 3.
        policy: ``"lru"`` evicts the value that was used longest ago, ``"min"`` the one whose next
            use is farthest (fewest reads; writes may be more than needed), ``"rr"`` the places in
            turn.
        shared_weights: Whether equal weights are one number that competes for memory.
        input_shape: Shape of one input, for convolutions.

    Returns:
        The report. Time O(m) for "lru", O(m log m) for "min", O(m) to O(m memory) for "rr".

    Raises:
        ValueError: If the order is not valid for the graph, ``memory`` is below 3, or there is no
            such policy.
        TypeError: If an argument has the wrong type.

    References:
        Gleinig, Ben-Nun, Hoefler, A Theory of I/O-Efficient Sparse Neural Network Inference, 2023.

    Example:
        >>> from byways.sparse_inference import EdgeGraph, order_edges
        >>> graph = EdgeGraph.from_layers([[[1.0, 1.0], [1.0, 1.0]]])
        >>> report = simulate(graph, order_edges(graph, "destination"), memory=4, policy="min")
        >>> report.reads, report.writes, report.lower_bound
        (4, 2, 10)
    """
    memory = _memory(memory)
    graph = as_graph(network, input_shape)
    if policy not in POLICIES:
        raise ValueError(f'"policy" was {policy!r}; it is one of {", ".join(POLICIES)}')
    require_order(order, graph)
    sources, targets = graph.sources[order.permutation], graph.targets[order.permutation]
    is_output = np.zeros(graph.vertices, dtype=np.bool_)
    is_output[np.setdiff1d(graph.outputs, graph.inputs)] = True  # inputs are there already
    occurring, alone, made = _census(graph, is_output)
    # A memory that holds everything is large enough.
    places = min(memory if shared_weights else memory - 1, graph.vertices + graph.edges)
    weights, shared = graph.edges, np.zeros(0, dtype=np.int64)
    if shared_weights:
        weights, shared = _numbered(graph.weights[order.permutation], graph.vertices)
        is_output = np.concatenate([is_output, np.zeros(weights, dtype=np.bool_)])
    ends = sources, targets, shared
    uses = next_uses(*ends, len(is_output)) if policy == "min" else np.zeros((0, 2), int)
    per_level = count_io(*ends, graph.level, is_output, places, POLICIES[policy], uses)
    reads, writes, weight_reads = (int(count) for count in per_level.sum(axis=0))
    return IOReport(
        reads + alone,
        writes + alone,
        weight_reads if shared_weights else graph.edges,
        weights + occurring + alone + made,
        2 * graph.edges + 2 * (occurring + alone - _inputs_occurring(graph)),
        int(lru_misses(sources, targets, graph.vertices, min(memory - 1, graph.vertices))),
        per_level[:, :2],
        memory,
        policy,
        order.method,
    )


def _numbered(weights: NDArray[Any], start: int) -> tuple[int, NDArray[np.int64]]:
    """Count the different weights; give each edge's a number, from ``start`` on."""
    values, inverse = np.unique(weights, return_inverse=True)
    return len(values), start + inverse


def _census(graph: EdgeGraph, is_output: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Count vertices at edges, outputs without edges that must be made, and outputs in all."""
    touched = (graph.in_degree > 0) | (graph.out_degree > 0)
    made = is_output & (graph.in_degree > 0)
    alone = is_output & ~touched
    return int(touched.sum()), int(alone.sum()), int(made.sum()) + int(alone.sum())


def _inputs_occurring(graph: EdgeGraph) -> int:
    return int((graph.out_degree[graph.inputs] > 0).sum())


def _memory(memory: object) -> int:
    if isinstance(memory, bool) or not isinstance(memory, int | np.integer):
        raise TypeError(f'"memory" was {memory!r}; it is a number of values, at least 3')
    if memory < 3:
        raise ValueError(
            f'"memory" was {memory!r}; an edge needs its two ends and its weight at once, '
            "so give at least 3"
        )
    return int(memory)
