"""compile_network: from a sparse network to a function that runs it fast."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.errors import ShapeError
from byways.sparse_inference import _execute as execute
from byways.sparse_inference import _simple_orders as simple
from byways.sparse_inference._doors import as_graph_and_shape
from byways.sparse_inference._order import require_order
from byways.sparse_inference._program import Program, compile_grouped, compile_runs
from byways.sparse_inference._segments import Segments, cut
from byways.sparse_inference._simplify import drop_dead, fold_constants, merge_identical
from byways.sparse_inference._single import Single
from byways.sparse_inference._topology import sources_at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from byways.sparse_inference._graph import EdgeGraph
    from byways.sparse_inference._order import EdgeOrder

__all__ = ["CompiledNetwork", "compile_network"]

# Measured on either kind of core, with and without 32 registers of 64 bytes:
# FEW: inputs up to which one after the other is faster than a tile with empty places.
# NEARLY: share of edges from which filling up with zeros is faster.
# LONG_RUN: edges a block's run must have on average to pay for loading its sums again.
# L1_SHARE: bytes of a block of sources, which shall stay in the first-level cache.
# L1_LONG: bytes of a level's sources up to which a long tile, which AVX-512 has none of, is faster.
_FEW, _NEARLY, _LONG_RUN = (6, 0.45, 12) if execute.REGISTERS >= 32 else (3, 0.7, 16)
_L1_SHARE, _L1_LONG = 24_576, 32_768

_KERNELS = {
    "grouped": execute.run_grouped,
    "wide": execute.run_wide,
    "edgewise": execute.run_edgewise,
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a compiled network does; ``str`` tells it in words.

    Attributes:
        kernel: ``"grouped"``, several targets at a time; ``"wide"``, one; ``"edgewise"``, for
            orders that leave a target after an edge or two.
        order: Which order of edges.
        alone: What the loop for a handful of inputs runs over: ``"targets"``, whose sums it
            takes, or ``"sources"``, whose values it sends unless they are zero.
        tile: Inputs that run together.
        edges: Edges executed.
        given_edges: Edges of the network as it was given.
        dead, folded, merged: Edges that the exact simplifications took away.
        slots: Neuron values kept at a time, of ``vertices``.
        vertices: Neurons, inputs included.
        working_bytes: Bytes of those values.
        stream_bytes: Bytes of weights and indices read once a tile.
        threads: Threads that share the tiles.
        dtype: Type of values and weights.
    """

    kernel: str
    order: str
    alone: str
    tile: int
    edges: int
    given_edges: int
    dead: int
    folded: int
    merged: int
    slots: int
    vertices: int
    working_bytes: int
    stream_bytes: int
    threads: int
    dtype: str

    @property
    def intensity(self) -> float:
        """Operations for each byte that the kernel loads, which place it on a roofline.

        Two for each edge and input, against the vectors of sources, the weights and the indices.
        Sums that are left and taken up again are counted for the edgewise kernel alone.
        """
        size = np.dtype(self.dtype).itemsize
        vectors = (self.stream_bytes - size * self.edges) // 4  # an index for each
        loaded = size * self.tile * vectors + self.stream_bytes
        return 2 * self.edges * self.tile / loaded if loaded else 0.0

    def __str__(self) -> str:
        return (
            f"{self.edges:,} of {self.given_edges:,} edges ({self.dead:,} dead, {self.folded:,} "
            f"constant, {self.merged:,} merged away), order {self.order}, kernel {self.kernel}, "
            f"tiles of {self.tile} inputs on {self.threads} threads; {self.slots:,} slots for "
            f"{self.vertices:,} neurons, {self.working_bytes / 1024:,.0f} KB of values and "
            f"{self.stream_bytes / 1024:,.0f} KB of weights and indices, {self.dtype}"
        )


class CompiledNetwork:
    """A sparse network bound to an order of its edges; call it with ``(batch, inputs)`` arrays.

    The weights are a copy: later changes of the model do not reach it.
    """

    def __init__(
        self, program: Program, single: Single, about: Explanation, dtype: np.dtype[Any]
    ) -> None:
        self._about = about
        self._dtype = dtype
        self._slots = program.slots
        pack = program.packed_edges if about.kernel == "edgewise" else program.packed
        self._tiled = pack(about.tile, dtype)
        self._single = single
        self._sizes = len(program.inputs), len(program.outputs)

    def __call__(self, x: Any) -> NDArray[Any]:
        """Give the outputs, shape ``(batch, outputs)``, for inputs of shape ``(batch, inputs)``.

        Raises:
            ShapeError: If the shape does not fit.
            TypeError: If the numbers are not real.

        Warns:
            UserWarning: If they have 16 bits; they are computed with in the network's dtype.
        """
        given = np.asarray(x)
        if given.ndim != 2 or given.shape[1] != self._sizes[0]:
            raise ShapeError(f'"x" has shape {given.shape}; (batch, {self._sizes[0]}) is needed')
        if given.dtype.kind not in "biuf":
            raise TypeError(f'"x" has dtype {given.dtype}; real numbers are needed')
        if given.dtype == np.float16:
            message = f'"x" is float16; the network computes in {self._dtype}'
            warnings.warn(message, UserWarning, stacklevel=2)
        rows = np.ascontiguousarray(given, dtype=self._dtype)
        out = np.empty((len(rows), self._sizes[1]), dtype=self._dtype)
        tile, threads = self._about.tile, self._about.threads
        tiles = -(-len(rows) // tile)
        if len(rows) <= _FEW or threads == 1 or tiles == 1:
            self._run(rows, out, 0, len(rows))
        else:
            cuts = [tiles * k // threads * tile for k in range(threads)] + [len(rows)]
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda k: self._run(rows, out, cuts[k], cuts[k + 1]), range(threads)))
        return out

    def explain(self) -> Explanation:
        """Say which kernel runs which order, on how much memory."""
        return self._about

    def _run(self, x: NDArray[Any], out: NDArray[Any], first: int, last: int) -> None:
        flat, results = x.reshape(-1), out.reshape(-1)
        if len(x) <= _FEW:
            self._single(flat, results, first, last)
            return
        tile = self._about.tile
        values = _aligned(self._slots * tile, self._dtype)
        _KERNELS[self._about.kernel](flat, results, first, last, self._tiled, values, tile)


def compile_network(
    network: Any,
    *,
    input_shape: int | Sequence[int] | None = None,
    order: EdgeOrder | None = None,
    threads: int | None = None,
    dtype: DTypeLike = np.float32,
    merge: bool = False,
    compact: int | None = None,
) -> Any:
    """Compile a sparse network for fast inference on this machine's cores.

    A tile of inputs runs through all layers before the next one starts, so its values stay in the
    cache; each edge is one fused multiply-add over the tile. Neurons with the same sources run
    together, as many as the core's registers hold. Edges that no output hears are dropped and
    constant neurons folded into biases.

    Args:
        network: An ``EdgeGraph``, or whatever ``byways.as_chain`` reads: a ``torch.nn.Module``, an
            ONNX file, a list of ``(W, b)`` pairs, a ``LayerChain``. Tanh and sigmoid are taken too.
        input_shape: Shape of one input, for convolutions.
        order: Run the edges in this order; None chooses one.
        threads: Threads over tiles; None for the cores this process may use.
        dtype: ``float32`` or ``float64``, of values and weights.
        merge: Let one neuron stand for all that compute the same. Exact up to rounding.
        compact: Look after every so many levels for inputs of the batch whose values are all zero,
            and compute no further what stays zero. For deep networks whose inputs die out.

    Returns:
        For a ``torch.nn.Module`` a module with the same outputs, for inference; otherwise a
        function of ``(batch, inputs)`` arrays. Both have ``explain()``. Time O(batch edges), memory
        O(edges) and one tile of values a thread.

    Raises:
        ValueError: If the order is not valid for the graph, or a number is not allowed.
        TypeError: If an argument has the wrong type.
        ConversionError: If the network has parts that are not edges.

    Example:
        >>> from byways.sparse_inference import random_sparse
        >>> graph = random_sparse([64, 256, 10], 0.1, rng=0)
        >>> run = compile_network(graph)
        >>> run(np.ones((1000, 64))).shape
        (1000, 10)
    """
    graph, shape = as_graph_and_shape(network, input_shape)
    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f'"dtype" was {dtype!r}; float32 and float64 are supported')
    if order is not None:
        require_order(order, graph)
        if merge or compact is not None:
            name = "merge" if merge else "compact"
            raise ValueError(f'"{name}" changes the edges; it does not go with a given "order"')
    count = _threads(threads)
    if compact is not None:
        parts = _compacting(graph, compact, {"threads": count, "dtype": kind, "merge": merge})
        return parts if shape is None else _as_module(parts, kind, shape)
    small, folded = fold_constants(graph)
    small, dead = drop_dead(small)
    small, merged = merge_identical(small) if merge else (small, 0)
    if order is None:
        program, name = _chosen(small)
    else:
        program, name = compile_runs(small, _restricted(order, graph, small)), order.method
    single = Single(small, kind)
    kernel, vectors = _kernel(small, program)
    names, gone = (kernel, name, single.kernel), (dead, folded, merged)
    tile = vectors * execute.VECTOR_BYTES // kind.itemsize
    about = _explain(graph, program, names, gone, (tile, count), kind)
    compiled = CompiledNetwork(program, single, about, kind)
    return compiled if shape is None else _as_module(compiled, kind, shape)


def _compacting(graph: EdgeGraph, every: int, options: dict[str, Any]) -> Segments:
    """Compile a graph in segments."""
    if isinstance(every, bool) or not isinstance(every, (int, np.integer)):
        raise TypeError(f'"compact" was {every!r}; it is a positive number of levels, or None')
    if every < 1:
        raise ValueError(f'"compact" was {every!r}; it is a positive number of levels, or None')
    plain, folded = fold_constants(graph)  # constants stand on no level
    parts = [compile_network(part, **options) for part in cut(plain, int(every))]
    return Segments(parts, len(graph.outputs), folded)


def _explain(
    graph: EdgeGraph,
    program: Program,
    names: tuple[str, str, str],
    gone: tuple[int, int, int],
    sizes: tuple[int, int],
    dtype: np.dtype[Any],
) -> Explanation:
    tile, threads = sizes
    indices = len(program.sources) * (2 if names[0] == "edgewise" else 1)
    return Explanation(
        kernel=names[0],
        order=names[1],
        alone=names[2],
        tile=tile,
        edges=len(program.weights),
        given_edges=graph.edges,
        dead=gone[0],
        folded=gone[1],
        merged=gone[2],
        slots=program.slots,
        vertices=graph.vertices,
        working_bytes=program.slots * tile * dtype.itemsize,
        stream_bytes=len(program.weights) * dtype.itemsize + 4 * indices,
        threads=threads,
        dtype=dtype.name,
    )


def _as_module(
    compiled: CompiledNetwork | Segments, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Any:
    from byways.sparse_inference._module import CompiledModule

    return CompiledModule(compiled, dtype.name, shape)


def _kernel(graph: EdgeGraph, program: Program) -> tuple[str, int]:
    """Choose the kernel, and of how many vectors a tile is."""
    if program.grouped:
        return "grouped", execute.GROUP_VECTORS
    if program.edgewise:
        return "edgewise", execute.EDGE_VECTORS
    sources = sources_at_once(graph.level[graph.targets], graph.sources, graph.vertices)
    long = sources * execute.LONG_VECTORS * execute.VECTOR_BYTES <= _L1_LONG
    return "wide", execute.LONG_VECTORS if long else execute.WIDE_VECTORS


def _chosen(graph: EdgeGraph) -> tuple[Program, str]:
    """Choose groups where neurons share their sources, else blocks of sources where runs are long.

    A level that is nearly complete is filled up with zeros: several neurons at a time run more than
    twice as fast as one.
    """
    grouped = compile_grouped(_filled(graph), execute.GROUP_ROWS)
    if grouped.grouped:
        return grouped, "destination groups"
    block = max(_L1_SHARE // (execute.WIDE_VECTORS * execute.VECTOR_BYTES), 1)
    blocks = compile_runs(graph, simple.even_source_blocked(graph, block))
    if graph.edges >= _LONG_RUN * len(blocks.runs):
        return blocks, f"blocks of up to {block} sources"
    return compile_runs(graph, simple.even_destinations(graph)), "destination"


def _filled(graph: EdgeGraph) -> EdgeGraph:
    """Add edges of weight zero to the levels in which almost every edge is there."""
    level = graph.level[graph.targets]
    sources, targets, weights = [graph.sources], [graph.targets], [graph.weights]
    for depth in range(1, graph.levels + 1):
        first, last = np.searchsorted(level, [depth, depth + 1])
        heads, tails = np.unique(graph.sources[first:last]), np.unique(graph.targets[first:last])
        if not _NEARLY * len(heads) * len(tails) <= last - first < len(heads) * len(tails):
            continue
        there = np.zeros((len(tails), len(heads)), dtype=np.bool_)
        there[
            np.searchsorted(tails, graph.targets[first:last]),
            np.searchsorted(heads, graph.sources[first:last]),
        ] = True
        missing = np.nonzero(~there)
        sources.append(heads[missing[1]])
        targets.append(tails[missing[0]])
        weights.append(np.zeros(len(missing[0])))
    if len(sources) == 1:
        return graph
    return replace(
        graph,
        sources=np.concatenate(sources),
        targets=np.concatenate(targets),
        weights=np.concatenate(weights),
    )


def _restricted(order: EdgeOrder, graph: EdgeGraph, small: EdgeGraph) -> NDArray[np.int64]:
    """Drop from an order the edges that are gone, and renumber the others.

    Levels may have changed with the edges that went, and with them the order of those that stay.
    """
    names = small.sources * graph.vertices + small.targets
    sorter = np.argsort(names)
    given = (graph.sources * graph.vertices + graph.targets)[order.permutation]
    kept = given[np.isin(given, names)]
    result: NDArray[np.int64] = sorter[np.searchsorted(names, kept, sorter=sorter)]
    return result


def _aligned(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Give an array that starts at a cache line, so that no vector crosses two."""
    spare = execute.LINE_BYTES // dtype.itemsize
    raw = np.zeros(size + spare, dtype=dtype)
    start = -raw.ctypes.data % execute.LINE_BYTES // dtype.itemsize
    return raw[start : start + size]


def _threads(threads: int | None) -> int:
    if threads is None:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)):
        raise TypeError(
            f'"threads" was {threads!r}; it is a positive integer, or None for all cores'
        )
    if threads < 1:
        raise ValueError(
            f'"threads" was {threads!r}; give a positive integer, or None for all cores'
        )
    return int(threads)
