"""The executor: all layers on one tile of inputs, then the next tile.

A tile's values lie neuron by neuron, ``T`` inputs side by side, so that an edge is one fused
multiply-add a vector. The wide kernel runs one destination at a time, six vectors wide; the grouped
kernel eight destinations, three vectors wide, which loads each source once for eight of them. Both
fill the registers of a core with 32 of them.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import compiled, entry
from byways.sparse_inference._transpose import turn
from byways.sparse_inference._vector import VECTOR_BYTES, accumulate

__all__ = [
    "CLAMP",
    "GROUP_ROWS",
    "GROUP_VECTORS",
    "IDENTITY",
    "PIECES",
    "SIGMOID",
    "TANH",
    "VECTOR_BYTES",
    "WIDE_VECTORS",
    "run_grouped",
    "run_single",
    "run_wide",
]

IDENTITY, CLAMP, PIECES, TANH, SIGMOID = range(5)
WIDE_VECTORS, GROUP_VECTORS, GROUP_ROWS = 6, 3, 8


@compiled
def _activate(values, at, width, table):
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
            values[t] = table[4 + count + k] * values[t] + table[5 + 2 * count + k]


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
def _store(values, strides, outputs, constant, first, count, out):
    side, n = len(strides), len(outputs)
    plain = n > 0 and outputs.min() >= 0
    for begin in range(0, count, side):
        here = min(count - begin, side)
        start = (first + begin) * n
        if plain and here == side <= n:
            for j in range(0, n, side):
                column = min(j, n - side)
                turn(values, outputs, column, begin, out, strides, 0, start + column)
            continue
        for j in range(n):
            at = outputs[j] + begin
            for t in range(here):
                out[start + t * n + j] = values[at + t] if outputs[j] >= 0 else constant[j]


@compiled
def _finish(k, runs, places, kind, tables, values, width):
    for d in range(runs[k, 2], runs[k, 2] + runs[k, 4]):
        if tables[kind[d], 0] > CLAMP:
            _activate(values, places[d], width, tables[kind[d]])


@entry
def run_wide(x, out, first, last, program, values, width):
    """Run inputs ``first`` to ``last`` in tiles of ``width`` through runs of one destination.

    ``x`` and ``out`` are flat, row after row.
    """
    runs, sources, weights, places, bias, low, high, kind, tables, inputs, outputs, constant = (
        program
    )
    side = VECTOR_BYTES // values.itemsize
    into, out_of = np.arange(side) * len(inputs), np.arange(side) * len(outputs)
    for begin in range(first, last, width):
        count = min(width, last - begin)
        _load(x, into, begin, count, width, inputs, values)
        for k in range(len(runs)):
            accumulate(
                values, places, runs[k, 2], sources, runs[k, 0], runs[k, 1], weights, runs[k, 3],
                bias, low, high, runs[k, 5], runs[k, 6], 1, WIDE_VECTORS,
            )  # fmt: skip
            if runs[k, 6] > 1:
                _finish(k, runs, places, kind, tables, values, width)
        _store(values, out_of, outputs, constant, begin, count, out)


@entry
def run_grouped(x, out, first, last, program, values, width):
    """Do as ``run_wide`` with runs of one or of ``GROUP_ROWS`` destinations."""
    runs, sources, weights, places, bias, low, high, kind, tables, inputs, outputs, constant = (
        program
    )
    side = VECTOR_BYTES // values.itemsize
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
        _store(values, out_of, outputs, constant, begin, count, out)


@compiled
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
    for e in range(first + 4 * fours, last):
        s0 += weights[e] * values[sources[e]]
    return (s0 + s1) + (s2 + s3)


@entry
def run_single(x, out, first, last, program, values):
    """Run inputs ``first`` to ``last`` one by one, one destination after the other.

    Destination ``k`` has the edges ``start[k]`` to ``start[k + 1]``.
    """
    start, sources, weights, places, bias, low, high, smooth, tables, inputs, outputs, constant = (
        program
    )
    for row in range(first, last):
        for i in range(len(inputs)):
            values[inputs[i]] = x[row * len(inputs) + i]
        for k in range(len(places)):
            z = bias[k] + _dot(values, sources, weights, start[k], start[k + 1])
            z = low[k] if z < low[k] else z
            values[places[k]] = high[k] if z > high[k] else z
            if smooth[k]:
                _activate(values, places[k], 1, tables[smooth[k]])
        for j in range(len(outputs)):
            out[row * len(outputs) + j] = values[outputs[j]] if outputs[j] >= 0 else constant[j]
