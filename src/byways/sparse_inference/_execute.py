"""The executor: all layers on one tile of inputs, then the next tile.

A tile's values lie neuron by neuron, ``T`` inputs side by side, so that an edge is one fused
multiply-add a vector. The wide kernel runs one destination at a time and is bound by the loads of
sources: its tile is narrow, so that more neurons stay in the cache next to the core, and the sum of
the next destination is fetched while one grows. Where they stay there anyway, being few, its tile
is long: an index and a weight then serve more inputs. The grouped kernel runs several destinations
that share their sources, loads each source once for all, and is bound by the multipliers: its sums
fill the registers that the core has.

Orders that leave a target after an edge or two have no runs to speak of. The edgewise kernel adds
each edge to the target's place in the table, and holds the source for as long as edges leave it.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import borrowing, compiled, entry
from byways.sparse_inference._lanes import clipped, filled, load, multiply_add, store
from byways.sparse_inference._transpose import SQUARE_BYTES, turn
from byways.sparse_inference._vector import LINE_BYTES, REGISTERS, VECTOR_BYTES, accumulate

__all__ = [
    "CLAMP",
    "EDGE_VECTORS",
    "GROUP_ROWS",
    "GROUP_VECTORS",
    "IDENTITY",
    "LINE_BYTES",
    "LONG_VECTORS",
    "PIECES",
    "REGISTERS",
    "SIGMOID",
    "TANH",
    "VECTOR_BYTES",
    "WIDE_VECTORS",
    "activate",
    "run_edgewise",
    "run_grouped",
    "run_wide",
]

IDENTITY, CLAMP, PIECES, TANH, SIGMOID = range(5)
WIDE_VECTORS, LONG_VECTORS = (6, 6) if REGISTERS >= 32 else (4, 8)
GROUP_ROWS, GROUP_VECTORS = (8, 3) if REGISTERS >= 32 else (4, 3)
EDGE_VECTORS = 4


@borrowing
def activate(values, at, width, table):
    """Apply an activation that is no clamp to a vector in place."""
    code = table[0]
    if code == TANH:
        for t in range(at, at + width):
            values[t] = np.tanh(values[t])
    elif code == SIGMOID:
        for t in range(at, at + width):
            values[t] = 1.0 / (1.0 + np.exp(-values[t]))
    elif code == PIECES:
        count = int(table[3])
        for t in range(at, at + width):
            k = 0
            while k < count and values[t] > table[4 + k]:
                k += 1
            slope, level = table[4 + count + k], table[5 + 2 * count + k]
            if slope != 0 or np.isnan(values[t]):  # zero times infinity is no number
                level += slope * values[t]
            values[t] = level


@compiled
def _load(x, strides, first, count, width, inputs, values):
    """Write a tile of inputs neuron by neuron; places beyond the batch are zero."""
    side, n = len(strides), len(inputs)
    for begin in range(0, width, side):
        here = min(max(count - begin, 0), side)
        start = (first + begin) * n
        if here == side <= n:
            # The last square ends at the edge, and may repeat some of the one before.
            for i in range(0, n, side):
                column = min(i, n - side)
                turn(x, strides, 0, start + column, values, inputs, column, begin)
            continue
        for i in range(n):
            at = inputs[i] + begin
            for t in range(here):
                values[at + t] = x[start + t * n + i]
            for t in range(here, side):
                values[at + t] = 0.0


@compiled
def _store(values, strides, outputs, fixed, constant, first, count, out):
    """Write a tile's outputs row by row; the columns ``fixed`` hold the same for every input."""
    side, n = len(strides), len(outputs)
    for begin in range(0, count if len(fixed) < n else 0, side):
        here = min(count - begin, side)
        start = (first + begin) * n
        if here == side <= n:
            for j in range(0, n, side):
                column = min(j, n - side)
                turn(values, outputs, column, begin, out, strides, 0, start + column)
            continue
        for j in range(n):
            at = outputs[j] + begin
            for t in range(here):
                out[start + t * n + j] = values[at + t]
    for t in range(count):
        for k in range(len(fixed)):
            out[(first + t) * n + fixed[k]] = constant[k]


@borrowing
def _finish(k, runs, places, kind, tables, values, width):
    for d in range(runs[k, 2], runs[k, 2] + runs[k, 4]):
        if tables[kind[d], 0] > CLAMP:
            activate(values, places[d], width, tables[kind[d]])


@entry
def run_wide(x, out, first, last, program, values, width):
    """Run inputs ``first`` to ``last`` in tiles of ``width`` through runs of one destination.

    ``x`` and ``out`` are flat, row after row. A tile is of ``WIDE_VECTORS`` or of ``LONG_VECTORS``;
    of a long one that the batch fills to less than a short one, no more is computed.
    """
    runs, sources, weights, places, bias, low, high, kind, tables, ports = program
    inputs, outputs, fixed, constant = ports
    side = SQUARE_BYTES // values.itemsize
    into, out_of = np.arange(side) * len(inputs), np.arange(side) * len(outputs)
    short = WIDE_VECTORS * VECTOR_BYTES // values.itemsize
    for begin in range(first, last, width):
        count = min(width, last - begin)
        _load(x, into, begin, count, short if count <= short else width, inputs, values)
        for k in range(len(runs)):
            if count <= short:
                accumulate(
                    values, places, runs[k, 2], sources, runs[k, 0], runs[k, 1], weights,
                    runs[k, 3], bias, low, high, runs[k, 5], runs[k, 6], 1, WIDE_VECTORS,
                )  # fmt: skip
            else:
                accumulate(
                    values, places, runs[k, 2], sources, runs[k, 0], runs[k, 1], weights,
                    runs[k, 3], bias, low, high, runs[k, 5], runs[k, 6], 1, LONG_VECTORS,
                )  # fmt: skip
            if runs[k, 6] > 1:
                _finish(k, runs, places, kind, tables, values, width)
        _store(values, out_of, outputs, fixed, constant, begin, count, out)


@entry
def run_grouped(x, out, first, last, program, values, width):
    """Do as ``run_wide`` with runs of one or of ``GROUP_ROWS`` destinations."""
    runs, sources, weights, places, bias, low, high, kind, tables, ports = program
    inputs, outputs, fixed, constant = ports
    side = SQUARE_BYTES // values.itemsize
    into, out_of = np.arange(side) * len(inputs), np.arange(side) * len(outputs)
    for begin in range(first, last, width):
        count = min(width, last - begin)
        _load(x, into, begin, count, width, inputs, values)
        for k in range(len(runs)):
            if runs[k, 4] == GROUP_ROWS:
                accumulate(
                    values, places, runs[k, 2], sources, runs[k, 0], runs[k, 1], weights,
                    runs[k, 3], bias, low, high, runs[k, 5], runs[k, 6], GROUP_ROWS, GROUP_VECTORS,
                )  # fmt: skip
            else:
                accumulate(
                    values, places, runs[k, 2], sources, runs[k, 0], runs[k, 1], weights,
                    runs[k, 3], bias, low, high, runs[k, 5], runs[k, 6], 1, GROUP_VECTORS,
                )  # fmt: skip
            if runs[k, 6] > 1:
                _finish(k, runs, places, kind, tables, values, width)
        _store(values, out_of, outputs, fixed, constant, begin, count, out)


@entry
def run_edgewise(x, out, first, last, program, values, width):
    """Do as ``run_wide``, edge by edge; ``events`` are edges that begin or finish their targets."""
    pairs, weights, events, begins, ends, bias, low, high, kind, tables, ports = program
    inputs, outputs, fixed, constant = ports
    side = SQUARE_BYTES // values.itemsize
    into, out_of = np.arange(side) * len(inputs), np.arange(side) * len(outputs)
    for begin in range(first, last, width):
        count = min(width, last - begin)
        _load(x, into, begin, count, width, inputs, values)
        k, event, held = 0, events[0], pairs[0]
        source = load(values, held, EDGE_VECTORS)
        for e in range(len(weights)):
            if pairs[2 * e] != held:
                held = pairs[2 * e]
                source = load(values, held, EDGE_VECTORS)
            target = pairs[2 * e + 1]
            if e != event:
                sums = load(values, target, EDGE_VECTORS)
                store(values, target, multiply_add(source, weights[e], sums))
                continue
            sums = filled(bias[k], source) if begins[k] else load(values, target, EDGE_VECTORS)
            sums = multiply_add(source, weights[e], sums)
            store(values, target, clipped(sums, low[k], high[k]) if ends[k] else sums)
            if ends[k] and tables[kind[k], 0] > CLAMP:
                activate(values, np.int64(target), width, tables[kind[k]])
            k += 1
            event = events[k]
        _store(values, out_of, outputs, fixed, constant, begin, count, out)
