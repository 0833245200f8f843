"""The ceilings of this core, measured with the executor's own loop.

With several destinations a source is loaded once for as many multiply-adds, and arithmetic is the
limit. With one destination each multiply-add loads a vector, and the limit is the level of the
memory where the values are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.compiled import entry
from byways.sparse_inference._vector import REGISTERS, VECTOR_BYTES, accumulate

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["load_rate", "multiply_add_rate"]

# Sums that fill the registers and leave room for a source and a weight; more would be spilled.
_ROWS, _VECTORS, _ALONE = (8, 3, 8) if REGISTERS >= 32 else (6, 1, 4)
_EDGES, _ROUNDS = 20_000, 50
_LANES = VECTOR_BYTES // 4


def multiply_add_rate() -> float:
    """Measure the multiply-adds of float32 numbers a second that one core can do."""
    edges, seconds = _least_time(_several, 0, _ROWS, _VECTORS)
    return edges * _ROWS * _VECTORS * _LANES / seconds


def load_rate(size: int) -> float:
    """Measure the bytes a second that one core loads while it sweeps over ``size`` bytes."""
    edges, seconds = _least_time(_alone, size, 1, _ALONE)
    return edges * _ALONE * VECTOR_BYTES / seconds


@entry
def _several(values: Any, places: Any, sources: Any, weights: Any, plain: Any, edges: int) -> None:
    accumulate(  # type: ignore[call-arg]  # numba hands over the typing context
        values, places, 0, sources, 0, edges, weights, 0, plain, plain, plain, 0, 0, _ROWS, _VECTORS
    )


@entry
def _alone(values: Any, places: Any, sources: Any, weights: Any, plain: Any, edges: int) -> None:
    accumulate(  # type: ignore[call-arg]
        values, places, 0, sources, 0, edges, weights, 0, plain, plain, plain, 0, 0, 1, _ALONE
    )


def _least_time(
    kernel: Callable[..., Any], size: int, rows: int, vectors: int
) -> tuple[int, float]:
    """Give the number of edges and the least seconds in which they ran."""
    width = vectors * _LANES
    count = max(size // (4 * width), 1)
    edges = max(count, _EDGES)
    spare = rows + 1
    values = np.ones((count + spare) * width + _LANES, np.float32)  # zeros share one page
    values = values[-values.ctypes.data % VECTOR_BYTES // 4 :]
    sources = ((np.arange(edges) % count + spare) * width).astype(np.uint32)
    weights, plain = np.zeros(rows * edges, np.float32), np.zeros(rows, np.float32)
    arguments = values, np.arange(spare) * width, sources, weights, plain, edges
    kernel(*arguments)
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.thread_time()
        kernel(*arguments)
        best = min(best, time.thread_time() - start)
    return edges, best
