"""Rows of a diagonal recurrence one after the other, the state in vector registers.

A state that is an array goes through memory between two rows, which takes longer than the
multiplication that waits for it. So the loop is emitted as LLVM instructions, with the state as phi
nodes. A vector is at most 64 bytes; LLVM splits it where registers are shorter.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

__all__ = ["rows"]

_intrinsic: Any = intrinsic  # numba types its own decorator as a function of Python
_INDEX = ir.IntType(64)
_VECTOR = 64  # bytes


def rows(factors, inputs, states, low, gap, reverse):
    """Go on from ``states[low]``, row by row of ``gap`` numbers, a multiple of four: for kernels.

    All are flat. ``factors`` and ``inputs`` begin with the numbers that belong to ``states[low]``;
    the state is in the row before them, or with ``reverse`` in the one behind them.
    """
    raise NotImplementedError


@overload(rows, jit_options={"fastmath": {"contract"}, "error_model": "numpy", "nogil": True})
def _rows(factors, inputs, states, low, gap, reverse):
    """Choose by type: complex numbers are no vectors of their parts."""
    return _in_memory if isinstance(states.dtype, types.Complex) else _in_registers


def _in_memory(factors, inputs, states, low, gap, reverse):
    count = len(inputs)
    before = low + count if reverse else low - gap
    state = states[before : before + gap].copy()
    for s in range(0, count, gap):
        row = count - gap - s if reverse else s
        for n in range(gap):
            state[n] = factors[row + n] * state[n] + inputs[row + n]
            states[low + row + n] = state[n]


def _in_registers(factors, inputs, states, low, gap, reverse):
    # A width is a loop of its own, as registers are given out when it is compiled.
    count = len(inputs)
    first, step = (count - gap, -gap) if reverse else (0, gap)
    left = gap
    while left >= 16:
        _go_on(factors, inputs, first, states, low + first, step, count // gap, 16)
        first, left = first + 16, left - 16
    if left >= 8:
        _go_on(factors, inputs, first, states, low + first, step, count // gap, 8)
        first, left = first + 8, left - 8
    if left >= 4:
        _go_on(factors, inputs, first, states, low + first, step, count // gap, 4)


@_intrinsic(prefer_literal=True)
def _go_on(typing, factors, inputs, first, states, now, step, rows, width):
    """Fill rows of ``states`` by ``state = factors * state + inputs``.

    The arrays are flat and of one real type. A row is ``width`` numbers, a literal power of two,
    and lies ``step`` numbers after the last one, or before it if negative. The first is at index
    ``first`` of ``factors`` and ``inputs`` and at ``now`` of ``states``, and the state before it is
    that at ``now - step``.
    """
    if not isinstance(width, types.IntegerLiteral):
        return None
    size = types.intp
    signature = types.void(factors, inputs, size, states, size, size, size, width)

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        arrays = [
            context.make_array(signature.args[k])(context, builder, given[k]).data
            for k in (0, 1, 3)
        ]
        _emit(builder, arrays, [given[k] for k in (2, 4, 5, 6)], width.literal_value)
        return context.get_dummy_value()

    return signature, generate


def _emit(b: Any, arrays: list[Any], numbers: list[Any], width: int) -> None:
    """Write the loop over the rows."""
    factors, inputs, states = arrays
    first, now, step, count = numbers
    number = states.type.pointee
    align = 4 if isinstance(number, ir.FloatType) else 8
    lanes = min(width, _VECTOR // align)
    vector = ir.VectorType(number, lanes)
    name = f"llvm.fma.v{lanes}f{8 * align}"
    fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(vector, [vector] * 3), name)

    def at(array: Any, index: Any, lane: int) -> Any:
        place = b.gep(array, [b.add(index, _INDEX(lane))])
        return b.bitcast(place, vector.as_pointer())

    columns = range(0, width, lanes)
    begun = [b.load(at(states, b.sub(now, step), lane), align=align) for lane in columns]
    start, loop, after = b.block, b.append_basic_block("rows"), b.append_basic_block("done")
    b.cbranch(b.icmp_signed(">", count, _INDEX(0)), loop, after)

    b.position_at_end(loop)
    row, source, target = (b.phi(_INDEX) for _ in range(3))
    held = [b.phi(vector) for _ in columns]
    fresh = []
    for lane, state in zip(columns, held, strict=True):
        a, x = (b.load(at(array, source, lane), align=align) for array in (factors, inputs))
        fresh.append(b.call(fma, [a, state, x]))
        b.store(fresh[-1], at(states, target, lane), align=align)
    following = [b.add(row, _INDEX(1)), b.add(source, step), b.add(target, step)]
    b.cbranch(b.icmp_signed("<", following[0], count), loop, after)
    entering, repeating = [_INDEX(0), first, now, *begun], [*following, *fresh]
    for phi, old, new in zip([row, source, target, *held], entering, repeating, strict=True):
        phi.add_incoming(old, start)
        phi.add_incoming(new, loop)
    b.position_at_end(after)
