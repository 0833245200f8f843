"""Squares of a batch turned round in registers: rows of inputs to vectors of neurons, and back.

Number by number, this takes as long as a third of a sparse network. A square is as wide as a
register: its rows are loaded, pairs of them exchange halves, quarters and so on, and they are
stored as its columns.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from byways.sparse_inference._vector import VECTOR_BYTES

__all__ = ["SQUARE_BYTES", "turn"]

SQUARE_BYTES = VECTOR_BYTES

_INDEX, _LANE = ir.IntType(64), ir.IntType(32)


@intrinsic
def turn(
    _typing: Any,
    given: Any,
    given_at: Any,
    given_first: Any,
    given_shift: Any,
    taken: Any,
    taken_at: Any,
    taken_first: Any,
    taken_shift: Any,
) -> Any:
    """Write the transpose of a square of ``given`` to ``taken``, both flat arrays.

    Row ``r`` of the square begins at ``given_at[given_first + r] + given_shift``, and row ``c`` of
    its transpose at ``taken_at[taken_first + c] + taken_shift``. A side has ``SQUARE_BYTES``.
    """
    signature = types.void(
        given, given_at, types.intp, types.intp, taken, taken_at, types.intp, types.intp
    )

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        def data(k: int) -> Any:
            return context.make_array(signature.args[k])(context, b, arguments[k]).data

        number = data(0).type.pointee
        size = 4 if isinstance(number, ir.FloatType) else 8
        vector = ir.VectorType(number, SQUARE_BYTES // size)

        def places(k: int) -> list[Any]:
            array, at, first, shift = data(k), data(k + 1), arguments[k + 2], arguments[k + 3]
            found = []
            for r in range(vector.count):
                offset = b.load(b.gep(at, [b.add(first, _INDEX(r))]))
                start = b.gep(array, [b.add(offset, shift)])
                found.append(b.bitcast(start, vector.as_pointer()))
            return found

        rows = [b.load(place, align=size) for place in places(0)]
        for place, column in zip(places(4), _transposed(b, rows), strict=True):
            b.store(column, place, align=size)
        return context.get_dummy_value()

    return signature, generate


def _transposed(b: Any, rows: list[Any]) -> list[Any]:
    """Transpose by exchanging, at each width, what stands across the diagonal of each block."""
    count = len(rows)
    width = 1
    while width < count:
        low = [i if not i & width else count + i - width for i in range(count)]
        high = [i + width if not i & width else count + i for i in range(count)]
        masks = [ir.Constant(ir.VectorType(_LANE, count), mask) for mask in (low, high)]
        fresh = list(rows)
        for r in range(count):
            if not r & width:
                fresh[r], fresh[r + width] = (
                    b.shuffle_vector(rows[r], rows[r + width], mask) for mask in masks
                )
        rows, width = fresh, 2 * width
    return rows
