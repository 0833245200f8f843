"""Misses of a real cache: sets, ways, lines, and vectors of neuron values laid out in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.compiled import entry
from byways.sparse_inference._doors import as_graph
from byways.sparse_inference._order import require_order
from byways.sparse_inference._slots import assign_slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from byways.sparse_inference._order import EdgeOrder

__all__ = ["CacheReport", "simulate_cache"]


@dataclass(frozen=True, slots=True)
class CacheReport:
    """What a set-associative cache does with an order.

    Attributes:
        accesses: Cache lines of neuron values asked for.
        misses: Those that were not there.
        misses_per_edge: Misses in vectors, per edge: 0 at best, 2 at worst.
        layout: How slots were numbered.
        slots: Number of slots.
    """

    accesses: int
    misses: int
    misses_per_edge: float
    layout: str
    slots: int


def simulate_cache(
    network: Any,
    order: EdgeOrder,
    *,
    size: int = 32768,
    ways: int = 8,
    line: int = 64,
    tile: int = 16,
    layout: str = "first_touch",
    input_shape: int | Sequence[int] | None = None,
) -> CacheReport:
    """Count the misses of a set-associative LRU cache while edges run on a tile of inputs.

    A neuron is a vector of ``tile`` float32 values; an edge touches the lines of its source's
    vector, then those of its target's. Weights stream past and are not counted.

    Args:
        network: What ``compile_network`` takes; an ``EdgeGraph`` is not converted each time.
        order: A valid order of its edges.
        size: Bytes of the cache.
        ways: Lines a set.
        line: Bytes a line, a power of two.
        tile: Inputs that run together.
        layout: ``"identity"`` keeps vertex numbers as slots, ``"first_touch"`` numbers slots as the
            order touches them, ``"reuse"`` also gives the slots of dead values away.
        input_shape: Shape of one input, for convolutions.

    Returns:
        The report; time O(m times lines a vector times ways).

    Raises:
        ValueError: If the order is not valid, sizes do not fit each other, or there is no such
            layout.
        TypeError: If a size is no integer, or the order no ``EdgeOrder``.

    Example:
        >>> from byways.sparse_inference import order_edges, radix_net
        >>> graph = radix_net(1024, 6)
        >>> order = order_edges(graph, "destination")
        >>> simulate_cache(graph, order, layout="identity").misses_per_edge > 0.5
        True
    """
    graph = as_graph(network, input_shape)
    for name, value in {"size": size, "ways": ways, "line": line, "tile": tile}.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f'"{name}" was {value!r}; it is a positive integer')
    width = 4 * tile
    if min(size, ways, line, tile) < 1 or line & (line - 1) or size % (ways * line):
        raise ValueError(
            f'"size" {size!r}, "ways" {ways!r}, "line" {line!r} and "tile" {tile!r} do not fit: '
            "all are positive, a line is a power of two, the size a multiple of ways times line"
        )
    require_order(order, graph)
    slot, slots = assign_slots(graph, order.permutation, layout)
    accesses, misses = _count(
        slot[graph.sources[order.permutation]] * width,
        slot[graph.targets[order.permutation]] * width,
        size // (ways * line),
        ways,
        line,
        width,
    )
    per_vector = max(-(-width // line), 1)
    per_edge = misses / per_vector / graph.edges if graph.edges else 0.0
    return CacheReport(int(accesses), int(misses), per_edge, layout, slots)


# sizes: kernel, a set is a short array that is searched and shifted in place
@entry
def _count(sources, targets, sets, ways, line, width):
    tags = np.full((sets, ways), -1, np.int64)  # most recently used first
    accesses, misses = 0, 0
    for i in range(len(sources)):
        for address in (sources[i], targets[i]):
            for block in range(address // line, (address + width - 1) // line + 1):
                row = tags[block % sets]
                accesses += 1
                k = 0
                while k < ways - 1 and row[k] != block:
                    k += 1
                if row[k] != block:
                    misses += 1
                while k > 0:
                    row[k] = row[k - 1]
                    k -= 1
                row[0] = block
    return accesses, misses
