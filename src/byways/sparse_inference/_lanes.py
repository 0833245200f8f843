"""Vectors as values that kernels can hold: a compiler keeps them in registers.

numba has arrays, which are memory, and numbers. ``load`` takes some vectors of a flat
array as one value; kernels written in Python then read as if it were a number.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from byways.sparse_inference._vector import UNALIGNED, VECTOR_BYTES, broadcast

__all__ = ["clipped", "filled", "load", "multiply_add", "store"]


class _Lanes(types.Type):
    """The numbers of some vectors, side by side."""

    def __init__(self, number: Any, count: int) -> None:
        self.number, self.count = number, count
        super().__init__(f"lanes({number} x {count})")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: _Lanes) -> None:
        number = manager[lanes.number].get_value_type()
        super().__init__(manager, lanes, ir.VectorType(number, lanes.count))


@intrinsic(prefer_literal=True)
def load(_typing: Any, values: Any, at: Any, vectors: Any) -> Any:
    """Take the ``vectors``, a literal, that begin at offset ``at`` of a flat array."""
    if not isinstance(vectors, types.IntegerLiteral):
        return None
    count = vectors.literal_value * VECTOR_BYTES * 8 // values.dtype.bitwidth
    lanes = _Lanes(values.dtype, count)

    def generate(context: Any, b: Any, signature: Any, given: Any) -> Any:
        place = _place(context, b, signature.args[0], given[0], given[1], count)
        return b.load(place, align=UNALIGNED)

    return lanes(values, types.intp, vectors), generate


@intrinsic
def store(_typing: Any, values: Any, at: Any, lanes: Any) -> Any:
    """Write them from offset ``at`` of a flat array on."""

    def generate(context: Any, b: Any, signature: Any, given: Any) -> Any:
        place = _place(context, b, signature.args[0], given[0], given[1], lanes.count)
        b.store(given[2], place, align=UNALIGNED)
        return context.get_dummy_value()

    return types.void(values, types.intp, lanes), generate


@intrinsic
def filled(_typing: Any, number: Any, like: Any) -> Any:
    """Give lanes that all hold one number, as many as another value has."""

    def generate(context: Any, b: Any, signature: Any, given: Any) -> Any:
        return broadcast(b, given[0], given[1].type)

    return like(like.number, like), generate


@intrinsic
def multiply_add(_typing: Any, lanes: Any, factor: Any, sums: Any) -> Any:
    """Add ``factor`` times the lanes to the sums, rounded once."""

    def generate(context: Any, b: Any, signature: Any, given: Any) -> Any:
        kind = given[0].type
        name = f"llvm.fma.v{kind.count}f{lanes.number.bitwidth}"
        fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(kind, [kind] * 3), name)
        return b.call(fma, [given[0], broadcast(b, given[1], kind), given[2]])

    return sums(lanes, lanes.number, sums), generate


@intrinsic
def clipped(_typing: Any, lanes: Any, low: Any, high: Any) -> Any:
    """Bring what is below ``low`` or above ``high`` there; NaN stays NaN."""

    def generate(context: Any, b: Any, signature: Any, given: Any) -> Any:
        z, low, high = given[0], *(broadcast(b, limit, given[0].type) for limit in given[1:])
        z = b.select(b.fcmp_ordered("<", z, low), low, z)
        return b.select(b.fcmp_ordered(">", z, high), high, z)

    return lanes(lanes, lanes.number, lanes.number), generate


def _place(context: Any, b: Any, array: Any, values: Any, at: Any, count: int) -> Any:
    data = context.make_array(array)(context, b, values).data
    lanes = ir.VectorType(data.type.pointee, count)
    return b.bitcast(b.gep(data, [at]), lanes.as_pointer())
