"""What may be given where networks are asked for: one, several, or a function that draws them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from byways.sparse_inference._graph import EdgeGraph

__all__ = ["Networks", "drawn", "graphs_of"]

Draw = Callable[[np.random.Generator], EdgeGraph]
Networks = EdgeGraph | Sequence[EdgeGraph] | Draw


def graphs_of(
    networks: Networks, name: str = "networks"
) -> tuple[Draw | None, tuple[EdgeGraph, ...]]:
    """Give the function that draws, or None and the networks given.

    Raises:
        TypeError: If it is none of the three.
        ValueError: If no network is given, or one without edges.
    """
    if isinstance(networks, EdgeGraph):
        fixed: tuple[EdgeGraph, ...] = (networks,)
    elif isinstance(networks, Sequence):
        fixed = tuple(networks)
        if not fixed:
            raise ValueError(f'"{name}" is empty; give at least one EdgeGraph')
    elif callable(networks):
        return networks, ()
    else:
        raise TypeError(
            f'"{name}" was {networks!r}; it takes an EdgeGraph, several, or a function that draws '
            "one with the numpy.random.Generator it is given"
        )
    for k, graph in enumerate(fixed):
        _usable(graph, f'"{name}" at index {k}')
    return None, fixed


def drawn(draw: Draw, generator: np.random.Generator) -> EdgeGraph:
    """Draw a network, and check it."""
    graph = draw(generator)
    _usable(graph, 'what the function "networks" drew')
    return graph


def _usable(graph: object, where: str) -> None:
    if not isinstance(graph, EdgeGraph):
        raise TypeError(f"{where} was {graph!r}; an EdgeGraph is needed")
    if not graph.edges:
        raise ValueError(f"{where} has no edges; there is nothing to order")
