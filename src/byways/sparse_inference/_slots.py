"""Where each neuron's value lives: slots numbered so that neighbours in time are neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Ints = NDArray[np.int64]

__all__ = ["LAYOUTS", "assign_slots"]

LAYOUTS = ("reuse", "first_touch", "identity")


def assign_slots(graph: EdgeGraph, permutation: Ints, layout: str) -> tuple[Ints, int]:
    """Give the slot of every vertex and the number of slots.

    ``"identity"`` keeps the vertex numbers; ``"first_touch"`` numbers vertices in the order in
    which the edges touch them, which spreads strided neighbours over the sets of a cache;
    ``"reuse"`` does the same and gives the slot of a dead value to the next new one. Inputs come
    first in all but ``"identity"``, since they are loaded together, outputs keep their slots to the
    end. A slot is -1 where a value is never needed.

    Raises:
        ValueError: If there is no such layout.
    """
    if layout not in LAYOUTS:
        raise ValueError(f'"layout" was {layout!r}; it is one of {", ".join(LAYOUTS)}')
    n = graph.vertices
    if layout == "identity":
        return np.arange(n), n
    keep = np.zeros(n, dtype=np.bool_)
    keep[graph.outputs] = True
    sources, targets = graph.sources[permutation], graph.targets[permutation]
    slots: tuple[Ints, int] = _assign(sources, targets, graph.inputs, keep, layout == "reuse")
    return slots


# sizes: kernel, liveness and the free list in one pass over the edges
@entry
def _assign(sources, targets, inputs, keep, reuse):
    n = len(keep)
    left = np.zeros(n, np.int64)
    for i in range(len(sources)):
        left[sources[i]] += 1
        left[targets[i]] += 1
    slot = np.full(n, -1, np.int64)
    free = np.empty(n, np.int64)
    unused, count = 0, 0
    # Inputs in the order of their first use, then those that no edge uses.
    is_input = np.zeros(n, np.bool_)
    for x in inputs:
        is_input[x] = True
    for i in range(len(sources)):
        u = sources[i]
        if is_input[u] and slot[u] < 0:
            slot[u] = count
            count += 1
    for x in inputs:
        if slot[x] < 0:
            slot[x] = count
            count += 1
            if reuse and not keep[x]:
                free[unused] = slot[x]
                unused += 1
    for i in range(len(sources)):
        for x in (sources[i], targets[i]):
            if slot[x] < 0:
                if unused:
                    unused -= 1
                    slot[x] = free[unused]
                else:
                    slot[x] = count
                    count += 1
        for x in (sources[i], targets[i]):
            left[x] -= 1
            if reuse and left[x] == 0 and not keep[x]:
                free[unused] = slot[x]
                unused += 1
    for x in range(n):  # outputs without edges
        if keep[x] and slot[x] < 0:
            slot[x] = count
            count += 1
    return slot, count
