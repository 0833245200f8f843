"""One input at a time: the values fit the cache, and what counts is how few edges are touched.

By targets, each sum is taken over a target's edges. By sources, each value is sent along its edges,
and a value of zero is not sent: behind ReLU and its like that saves about half of the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.activations import PiecewiseLinear
from byways.core.compiled import borrowing, borrowing_entry
from byways.sparse_inference._execute import CLAMP, activate
from byways.sparse_inference._program import activation_tables, compile_runs
from byways.sparse_inference._simple_orders import destination

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import Activation, EdgeGraph

__all__ = ["Single"]

_OFTEN_ZERO = 0.5  # share of edges whose source can be zero from which values are sent


class Single:
    """A graph made ready for one input at a time.

    Attributes:
        kernel: ``"sources"`` or ``"targets"``, what the outer loop runs over.
    """

    def __init__(self, graph: EdgeGraph, dtype: np.dtype[Any]) -> None:
        can_be_zero = np.array([_can_be_zero(a) for a in graph.activations])[graph.activation]
        can_be_zero[graph.inputs] = False  # nothing is known of these
        if can_be_zero[graph.sources].sum() > _OFTEN_ZERO * graph.edges:
            self.kernel, self._run = "sources", _by_sources
            self._arrays, self._slots = _outgoing(graph, dtype)
        else:
            self.kernel, self._run = "targets", _by_targets
            self._arrays, self._slots = _incoming(graph, dtype)
        self._dtype = dtype

    def __call__(self, x: NDArray[Any], out: NDArray[Any], first: int, last: int) -> None:
        """Run inputs ``first`` to ``last``; ``x`` and ``out`` are flat, row after row."""
        self._run(x, out, first, last, self._arrays, np.zeros(self._slots, dtype=self._dtype))


def _can_be_zero(activation: Activation) -> bool:
    """Tell whether an activation is zero on an interval."""
    if not isinstance(activation, PiecewiseLinear):
        return False
    slopes, intercepts = activation.pieces()
    return bool(((slopes == 0) & (intercepts == 0)).any())


def _incoming(graph: EdgeGraph, dtype: np.dtype[Any]) -> tuple[tuple[Any, ...], int]:
    program = compile_runs(graph, destination(graph))
    arrays = list(program.packed(1, dtype))
    arrays[0] = np.append(program.runs[:, 0], len(program.sources))
    arrays[3] = program.places.astype(np.uint32)
    # Row 0 is no smooth activation, or never looked at: 0 says that clipping was all.
    arrays[7] = np.where(program.runs[:, 6] > 1, program.kind + 1, 0).astype(np.uint32)
    arrays[8] = np.vstack([np.zeros_like(program.tables[:1]), program.tables])
    return tuple(arrays), program.slots


def _outgoing(graph: EdgeGraph, dtype: np.dtype[Any]) -> tuple[tuple[NDArray[Any], ...], int]:
    """Number the vertices that matter by level, inputs first in their order."""
    used = (graph.in_degree + graph.out_degree) > 0
    used[graph.outputs] = True
    used[graph.inputs] = False
    others = np.flatnonzero(used)
    order = np.concatenate([graph.inputs, others[np.argsort(graph.level[others], kind="stable")]])
    number = np.full(graph.vertices, -1)
    number[order] = np.arange(len(order))
    edges = np.argsort(number[graph.sources], kind="stable")
    start = np.zeros(len(order) + 1, dtype=np.int64)
    np.cumsum(graph.out_degree[order], out=start[1:])
    tables = activation_tables(graph.activations)
    kind = graph.activation[order]
    low, high = tables[kind, 1].astype(dtype), tables[kind, 2].astype(dtype)
    smooth = np.where(tables[kind, 0] > CLAMP, kind + 1, 0).astype(np.uint32)
    arrays = (
        start,
        number[graph.targets[edges]].astype(np.uint32),
        graph.weights[edges].astype(dtype),
        graph.bias[order].astype(dtype),
        low,
        high,
        smooth,
        np.vstack([np.zeros_like(tables[:1]), tables]),
        np.array([len(graph.inputs)]),
        number[graph.outputs],
    )
    return arrays, len(order)


@borrowing
def _dot(values, sources, weights, first, last):
    """Sum a run's products; four sums at a time hide the latency of the additions.

    Unsigned indices spare the test for negative ones, which halves the time.
    """
    zero = values.dtype.type(0.0)
    s0, s1, s2, s3 = zero, zero, zero, zero
    fours = (last - first) // 4
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for q in range(fours):
        e = np.uint64(first) + np.uint64(4) * np.uint64(q)
        s0 += weights[e] * values[sources[e]]
        s1 += weights[e + one] * values[sources[e + one]]
        s2 += weights[e + two] * values[sources[e + two]]
        s3 += weights[e + three] * values[sources[e + three]]
    for rest in range(first + 4 * fours, last):
        s0 += weights[rest] * values[sources[rest]]
    return (s0 + s1) + (s2 + s3)


@borrowing_entry
def _by_targets(x, out, first, last, program, values):
    """Take one sum after the other; destination ``k`` has the edges ``start[k]:start[k + 1]``."""
    start, sources, weights, places, bias, low, high, smooth, tables, ports = program
    inputs, outputs, fixed, constant = ports
    for row in range(first, last):
        for i in range(len(inputs)):
            values[inputs[i]] = x[row * len(inputs) + i]
        for k in range(len(places)):
            z = bias[k] + _dot(values, sources, weights, start[k], start[k + 1])
            z = low[k] if z < low[k] else z
            values[places[k]] = high[k] if z > high[k] else z
            if smooth[k]:
                activate(values, places[k], 1, tables[smooth[k]])
        for j in range(len(outputs) if len(fixed) < len(outputs) else 0):
            out[row * len(outputs) + j] = values[outputs[j]]
        for k in range(len(fixed)):
            out[row * len(outputs) + fixed[k]] = constant[k]


# sizes: kernel, one pass over the vertices
@borrowing_entry
def _by_sources(x, out, first, last, program, values):
    """Send one value after the other; vertex ``k`` has the edges ``start[k]:start[k + 1]``.

    Vertices stand by level, so a vertex's sum is complete when its turn comes.
    """
    start, targets, weights, bias, low, high, smooth, tables, count, outputs = program
    given = count[0]
    for row in range(first, last):
        for i in range(given):
            values[i] = x[row * given + i]
        for k in range(given, len(bias)):
            values[k] = bias[k]
        for k in range(len(bias)):
            if k >= given:
                z = values[k]
                z = low[k] if z < low[k] else z
                values[k] = high[k] if z > high[k] else z
                if smooth[k]:
                    activate(values, k, 1, tables[smooth[k]])
            z = values[k]
            if z != 0:  # NaN is sent
                for e in range(np.uint64(start[k]), np.uint64(start[k + 1])):
                    values[targets[e]] += weights[e] * z
        for j in range(len(outputs)):
            out[row * len(outputs) + j] = values[outputs[j]]
