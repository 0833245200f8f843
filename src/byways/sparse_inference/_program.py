"""An order of edges turned into runs: what the executor reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.activations import PiecewiseLinear
from byways.sparse_inference._execute import CLAMP, IDENTITY, PIECES, SIGMOID, TANH
from byways.sparse_inference._slots import assign_slots

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import Activation, EdgeGraph

    Ints = NDArray[np.int64]

__all__ = ["Program", "activation_tables", "compile_grouped", "compile_runs"]

# Measured: costs of a run in the wide kernel and of an event in the edgewise one, in units of what
# an edge costs the edgewise kernel more than an edge inside a long run costs the wide one.
_RUN, _EVENT = 4, 3


@dataclass(frozen=True, eq=False)
class Program:
    """Runs of edges in the order of execution.

    A run adds the edges ``first .. last`` of ``sources`` to its ``rows`` destinations, which stand
    in ``places``, ``bias`` and ``kind`` from index ``place`` on; each edge has ``rows`` weights,
    from index ``weight`` on. ``begins`` and ``ends`` mark the first and the last run of its
    destinations; ``ends`` is 2 if an activation of one of them is no clamp.

    Attributes:
        runs: Columns first, last, place, weight, rows, begins, ends.
        sources: Slot of each run edge's source.
        weights: See above.
        places: Slots of destinations.
        bias: Their biases.
        kind: Row of ``tables`` that is their activation.
        tables: Activations, one a row: code, clip below and above, number of breakpoints,
            breakpoints, slopes, intercepts.
        inputs: Slot of each input.
        outputs: Slot of each output, -1 for a constant.
        constant: Value of each constant output.
        slots: Number of slots.
    """

    runs: Ints
    sources: Ints
    weights: NDArray[np.float64]
    places: Ints
    bias: NDArray[np.float64]
    kind: Ints
    tables: NDArray[np.float64]
    inputs: Ints
    outputs: Ints
    constant: NDArray[np.float64]
    slots: int

    @property
    def grouped(self) -> bool:
        """Whether runs with several destinations do most of the work."""
        length, rows = self.runs[:, 1] - self.runs[:, 0], self.runs[:, 4]
        return bool(2 * (length * rows)[rows > 1].sum() > len(self.weights))

    @property
    def edgewise(self) -> bool:
        """Whether edges one by one are faster than runs: runs are short, and few edges events."""
        edges, events = len(self.sources), int(self._marks().any(axis=0).sum())
        return not self.grouped and _RUN * len(self.runs) > edges + _EVENT * events

    def packed(self, tile: int, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """Give the arrays that kernels of runs read, slots turned into offsets of a tile's values.

        Raises:
            ValueError: If the values of a tile are more than offsets of 32 bits can tell apart.
        """
        self._require_offsets(tile)
        return (
            self.runs,
            (self.sources * tile).astype(np.uint32),
            self.weights.astype(dtype),
            np.append(self.places * tile, 0),  # the kernels look one ahead
            self.bias.astype(dtype),
            self.tables[self.kind, 1].astype(dtype),
            self.tables[self.kind, 2].astype(dtype),
            self.kind,
            self.tables,
            self._ports(tile, dtype),
        )

    def packed_edges(self, tile: int, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """Give the arrays that the edgewise kernel reads.

        Events are the edges that begin or finish their target; the last one never comes.

        Raises:
            ValueError: As ``packed``.
        """
        self._require_offsets(tile)
        first, last = self.runs[:, :2].T
        marks = self._marks()
        events = np.flatnonzero(marks.any(axis=0))
        run = np.searchsorted(last, events, side="right")
        kind, targets = self.kind[run], np.repeat(self.places, last - first)
        return (
            (np.column_stack([self.sources, targets]).ravel() * tile).astype(np.uint32),
            self.weights.astype(dtype),
            np.append(events, -1),
            marks[0, events],
            marks[1, events],
            self.bias[run].astype(dtype),
            self.tables[kind, 1].astype(dtype),
            self.tables[kind, 2].astype(dtype),
            kind,
            self.tables,
            self._ports(tile, dtype),
        )

    def _ports(self, tile: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], ...]:
        """Give the places of inputs and of outputs, and the columns and values of constants.

        A constant has no place of its own; 0 stands for it.
        """
        fixed = np.flatnonzero(self.outputs < 0)
        places = np.maximum(self.outputs, 0) * tile
        return self.inputs * tile, places, fixed, self.constant[fixed].astype(dtype)

    def _marks(self) -> NDArray[np.bool_]:
        """Tell for each edge whether its target begins and whether it ends, in runs of one."""
        marks = np.zeros((2, len(self.sources)), dtype=np.bool_)
        marks[0, self.runs[:, 0]] = self.runs[:, 5]
        marks[1, self.runs[:, 1] - 1] = self.runs[:, 6]
        return marks

    def _require_offsets(self, tile: int) -> None:
        if self.slots * tile >= 1 << 32:
            raise ValueError(
                f"{self.slots:,} values are alive at a time, of {tile} inputs each; fewer than "
                f"{(1 << 32) // tile:,} can be: give an order that finishes values earlier"
            )


def compile_runs(graph: EdgeGraph, permutation: Ints, layout: str = "reuse") -> Program:
    """Cut a valid order into runs of edges with the same destination; ``layout`` is of slots."""
    targets = graph.targets[permutation]
    fresh = np.ones(len(targets), dtype=np.bool_)
    fresh[1:] = targets[1:] != targets[:-1]
    first = np.flatnonzero(fresh)
    last = np.append(first[1:], len(targets)).astype(np.int64)[: len(first)]
    ends = targets[first]
    begins = np.zeros(len(first), dtype=np.bool_)
    begins[np.unique(ends, return_index=True)[1]] = True
    finishes = np.zeros(len(first), dtype=np.bool_)
    finishes[len(first) - 1 - np.unique(ends[::-1], return_index=True)[1]] = True
    ones, order = np.ones_like(first), np.arange(len(first))
    runs = np.column_stack([first, last, order, first, ones, begins, finishes]).astype(np.int64)
    sources = graph.sources[permutation]
    return _assemble(graph, permutation, runs, sources, ends, permutation, layout)


def compile_grouped(graph: EdgeGraph, rows: int) -> Program:
    """Level by level, run ``rows`` destinations with the same sources together where there are.

    Blocks with the same sources follow each other and find them in the cache next to the core.
    """
    start, _ = graph.into
    groups: dict[tuple[int, bytes], list[int]] = {}
    for v in np.flatnonzero(graph.in_degree).tolist():
        # Edges of a graph stand by level and target, so those into v are neighbours.
        key = int(graph.level[v]), graph.sources[_edges_into(graph, start, v)].tobytes()
        groups.setdefault(key, []).append(v)
    blocks: list[tuple[int, list[int]]] = []
    for (level, _), members in groups.items():
        whole = len(members) - len(members) % rows
        blocks += [(level, members[i : i + rows]) for i in range(0, whole, rows)]
        blocks += [(level, [v]) for v in members[whole:]]
    blocks.sort(key=lambda block: block[0])
    runs, used, weight, place = [], 0, 0, 0
    shared, permutation = [], []
    for _, members in blocks:
        edges = np.stack([_edges_into(graph, start, v) for v in members], axis=1)
        length = len(edges)
        runs.append((used, used + length, place, weight, len(members), 1, 1))
        shared.append(edges[:, 0])
        permutation.append(edges.ravel())
        used, weight, place = used + length, weight + edges.size, place + len(members)
    flat = np.concatenate(permutation) if permutation else np.zeros(0, dtype=np.int64)
    firsts = np.concatenate(shared) if shared else np.zeros(0, dtype=np.int64)
    ends = np.array([v for _, members in blocks for v in members], dtype=np.int64)
    table = np.array(runs, dtype=np.int64).reshape(-1, 7)
    return _assemble(graph, flat, table, graph.sources[firsts], ends, flat)


def _edges_into(graph: EdgeGraph, start: Ints, v: int) -> Ints:
    return graph.into[1][start[v] : start[v + 1]]


def _assemble(
    graph: EdgeGraph,
    permutation: Ints,
    runs: Ints,
    sources: Ints,
    ends: Ints,
    weighted: Ints,
    layout: str = "reuse",
) -> Program:
    from byways.sparse_inference._simplify import constants

    slot, slots = assign_slots(graph, permutation, layout)
    tables = activation_tables(graph.activations)
    kind = graph.activation[ends]
    if len(ends):
        runs[:, 6] *= 1 + np.logical_or.reduceat(tables[kind, 0] > CLAMP, runs[:, 2])
    fixed, values = constants(graph)
    constant = np.zeros(graph.vertices)
    constant[fixed] = values
    is_fixed = np.zeros(graph.vertices, dtype=np.bool_)
    is_fixed[fixed] = True
    return Program(
        runs,
        slot[sources],
        graph.weights[weighted],
        slot[ends],
        graph.bias[ends],
        kind,
        tables,
        slot[graph.inputs],
        np.where(is_fixed[graph.outputs], -1, slot[graph.outputs]),
        constant[graph.outputs],
        slots,
    )


def activation_tables(activations: tuple[Activation, ...]) -> NDArray[np.float64]:
    """Write each activation as a row of numbers."""
    rows = [_row(activation) for activation in activations]
    result = np.zeros((len(rows), max(map(len, rows), default=0)))
    for place, row in zip(result, rows, strict=True):
        place[: len(row)] = row
    return result


def _row(activation: Activation) -> list[float]:
    if not isinstance(activation, PiecewiseLinear):
        return [TANH if activation == "tanh" else SIGMOID, -np.inf, np.inf]
    if activation.is_identity:
        return [IDENTITY, -np.inf, np.inf]
    slopes, intercepts = activation.pieces()
    low = activation.breakpoints[0] if slopes[0] == 0 and len(slopes) > 1 else -np.inf
    high = activation.breakpoints[-1] if slopes[-1] == 0 and len(slopes) > 1 else np.inf
    inner = [k for k, a in enumerate(slopes) if a != 0]
    if len(inner) == 1 and slopes[inner[0]] == 1 and intercepts[inner[0]] == 0:
        return [CLAMP, low, high]
    count = float(len(activation.breakpoints))
    return [
        PIECES,
        -np.inf,
        np.inf,
        count,
        *activation.breakpoints,
        *slopes.tolist(),
        *intercepts.tolist(),
    ]
