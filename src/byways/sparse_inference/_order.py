"""EdgeOrder: a sequence in which the edges of a graph may be executed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.errors import ConversionError, ShapeError
from byways.core.files import read_npz, write_npz
from byways.core.plotting import axes, sequential
from byways.sparse_inference._topology import first_misplaced

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

__all__ = ["EdgeOrder", "require_order"]

_FORMAT = "byways.EdgeOrder/1"


@dataclass(frozen=True, eq=False)
class EdgeOrder:
    """A permutation of a graph's edges, and where it comes from.

    It is valid for a graph if every edge comes after all edges into its source.

    Args:
        permutation: Edge ids in the order of execution, shape ``(m,)``.
        method: Name of the finder.
        parameters: Its parameters.
        seconds: How long it took.
    """

    permutation: NDArray[np.int64]
    method: str = "given"
    parameters: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        given = np.asarray(self.permutation)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise ShapeError(
                f'"permutation" has shape {given.shape} and dtype {given.dtype}; '
                "one axis of integers is needed"
            )
        array = given.astype(np.int64)
        array.setflags(write=False)
        object.__setattr__(self, "permutation", array)

    def require_valid(self, graph: EdgeGraph) -> None:
        """Refuse an order that this graph's edges cannot be executed in.

        Raises:
            ValueError: Saying the first offending position.
        """
        order, m = self.permutation, graph.edges
        if len(order) != m:
            raise ValueError(f"the order has {len(order)} edges; the graph has {m}")
        wrong = np.flatnonzero((order < 0) | (order >= m))
        if wrong.size:
            raise ValueError(
                f"the order names edge {order[wrong[0]]} at position {wrong[0]}; edges are "
                f"numbered 0 to {m - 1}"
            )
        first = np.full(m, -1)
        first[order[::-1]] = np.arange(m)[::-1]
        again = np.flatnonzero(first[order] != np.arange(m))
        if again.size:
            i = again[0]
            raise ValueError(
                f"the order repeats edge {order[i]} at position {i}; it stood at {first[order[i]]}"
            )
        i = first_misplaced(order, graph.sources, graph.targets, graph.in_degree)
        if i >= 0:
            e = order[i]
            raise ValueError(
                f"the order is not topological: edge {e} ({graph.sources[e]} -> "
                f"{graph.targets[e]}) at position {i} comes before an edge into {graph.sources[e]}"
            )

    def is_valid(self, graph: EdgeGraph) -> bool:
        """Tell whether the graph's edges can be executed in this order."""
        try:
            self.require_valid(graph)
        except ValueError:
            return False
        return True

    def save(self, path: str | Path) -> None:
        """Write the order to a ``.npz`` file, whole or not at all."""
        about = {"method": self.method, "parameters": self.parameters, "seconds": self.seconds}
        write_npz(
            path,
            {
                "format": np.array(_FORMAT),
                "permutation": self.permutation,
                "about": np.array(json.dumps(about)),
            },
        )

    @classmethod
    def load(cls, path: str | Path) -> EdgeOrder:
        """Read an order that ``save`` wrote. Nothing in the file is executed.

        Raises:
            ConversionError: If the file is not a saved order.
        """
        arrays = read_npz(path, _FORMAT)
        try:
            return cls(arrays["permutation"], **json.loads(str(arrays["about"])))
        except (LookupError, TypeError, ValueError) as error:
            raise ConversionError(f"{str(path)!r} does not describe an order: {error!r}") from error

    def plot(self, graph: EdgeGraph, ax: Axes | None = None) -> Axes:
        """Draw which edge runs when: time to the right, the edge's number upwards.

        Edges are numbered destination-major, so the plain layered run is a diagonal.

        Args:
            graph: The graph that the order is for; colours are the levels of the targets.
            ax: Where to draw; new axes if None.

        Returns:
            The axes.
        """
        self.require_valid(graph)
        ax = axes(ax)
        level = graph.level[graph.targets[self.permutation]]
        moments = np.arange(len(self))
        ax.scatter(moments, self.permutation, s=1, c=sequential(level), linewidths=0)
        ax.set(xlabel="step", ylabel="edge, by target and source", title=f"order: {self.method}")
        return ax

    def __len__(self) -> int:
        return len(self.permutation)


def require_order(order: object, graph: EdgeGraph) -> None:
    """Refuse what is no order at all, such as the name of a method, or not valid for the graph.

    Raises:
        TypeError: If it is no ``EdgeOrder``.
        ValueError: If it is not valid for the graph.
    """
    if not isinstance(order, EdgeOrder):
        raise TypeError(
            f'"order" was {order!r:.60}; an EdgeOrder is needed: order_edges(network, "ego") finds '
            "one, EdgeOrder(permutation) makes one of edge numbers"
        )
    order.require_valid(graph)
