"""The executor: all layers on one tile of inputs, then the next tile.

A tile's values lie neuron by neuron, ``T`` inputs side by side, so that an edge is one fused
multiply-add a vector. The wide kernel runs one destination at a time, six vectors wide; the grouped
kernel eight destinations, three vectors wide, which loads each source once for eight of them. Both
fill the registers of a core with 32 of them.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import compiled, entry
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
_AT_ONCE = 16  # inputs transposed together: a cache line of a neuron's vector


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
def _load(x, first, count, width, inputs, values):
    """Write a tile of inputs neuron by neuron; places beyond the batch are zero."""
    for begin in range(0, width, _AT_ONCE):
        room = min(width - begin, _AT_ONCE)
        here = min(max(count - begin, 0), room)
        for i in range(len(inputs)):
            at = inputs[i] + begin
            for t in range(here):
                values[at + t] = x[first + begin + t, i]
            for t in range(here, room):
                values[at + t] = 0.0


@compiled
def _store(values, outputs, constant, first, count, out):
    for begin in range(0, count, _AT_ONCE):
        here = min(count - begin, _AT_ONCE)
        for j in range(len(outputs)):
            at = outputs[j] + begin
            for t in range(here):
                out[first + begin + t, j] = values[at + t] if outputs[j] >= 0 else constant[j]


@compiled
def _finish(k, runs, places, kind, tables, values, width):
    for d in range(runs[k, 2], runs[k, 2] + runs[k, 4]):
        if tables[kind[d], 0] > CLAMP:
            _activate(values, places[d], width, tables[kind[d]])


@entry
def run_wide(x, out, first, last, program, values, width):
    """Run inputs ``first`` to ``last`` in tiles of ``width`` through runs of one destination."""
    runs, sources, weights, places, bias, low, high, kind, tables, inputs, outputs, constant = (
        program
    )
    for begin in range(first, last, width):
        count = min(width, last - begin)
        _load(x, begin, count, width, inputs, values)
        for k in range(len(runs)):
            accumulate(
                values, places, runs[k, 2], sources, runs[k, 0], runs[k, 1], weights, runs[k, 3],
                bias, low, high, runs[k, 5], runs[k, 6], 1, WIDE_VECTORS,
            )  # fmt: skip
            if runs[k, 6] > 1:
                _finish(k, runs, places, kind, tables, values, width)
        _store(values, outputs, constant, begin, count, out)


@entry
def run_grouped(x, out, first, last, program, values, width):
    """Do as ``run_wide`` with runs of one or of ``GROUP_ROWS`` destinations."""
    runs, sources, weights, places, bias, low, high, kind, tables, inputs, outputs, constant = (
        program
    )
    for begin in range(first, last, width):
        count = min(width, last - begin)
        _load(x, begin, count, width, inputs, values)
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
        _store(values, outputs, constant, begin, count, out)


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
            values[inputs[i]] = x[row, i]
        for k in range(len(places)):
            z = bias[k] + _dot(values, sources, weights, start[k], start[k + 1])
            z = low[k] if z < low[k] else z
            values[places[k]] = high[k] if z > high[k] else z
            if smooth[k]:
                _activate(values, places[k], 1, tables[smooth[k]])
        for j in range(len(outputs)):
            out[row, j] = values[outputs[j]] if outputs[j] >= 0 else constant[j]
