"""The inner loop of the executor as LLVM vectors: accumulators that stay in registers.

``accumulate`` adds a run of edges to ``rows`` destinations of ``vectors`` vectors each. A compiler
keeps such accumulators in registers only if the loop is written with them as values; numba's arrays
are memory, so the loop is emitted as LLVM instructions, with one phi node per accumulator. A vector
is 64 bytes; on machines with shorter registers LLVM splits it.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["VECTOR_BYTES", "accumulate"]

VECTOR_BYTES = 64
_INDEX = ir.IntType(64)
_UNALIGNED = 4  # bytes; what vectors may rely on
# Places of the arguments of ``accumulate``.
_ARRAYS = {"values": 0, "places": 1, "sources": 3, "weights": 6, "bias": 8, "low": 9, "high": 10}
_NUMBERS = {"place": 2, "first": 4, "last": 5, "weight": 7, "begins": 11, "ends": 12}


@intrinsic(prefer_literal=True)
def accumulate(
    _typing: Any,
    values: Any,
    places: Any,
    place: Any,
    sources: Any,
    first: Any,
    last: Any,
    weights: Any,
    weight: Any,
    bias: Any,
    low: Any,
    high: Any,
    begins: Any,
    ends: Any,
    rows: Any,
    vectors: Any,
) -> Any:
    """Add the edges ``first`` to ``last`` to the destinations ``place`` to ``place + rows``.

    ``values`` is the table of neuron vectors; ``places`` and ``sources`` hold offsets into it;
    ``weights`` has ``rows`` numbers an edge from index ``weight`` on. If ``begins``, sums start at
    ``bias[place ..]`` instead of what the table holds; if ``ends``, they are clipped to
    ``low[place ..]`` and ``high[place ..]`` (NaN stays NaN). ``rows`` and ``vectors`` must be
    literals: each pair of them is a loop of its own.
    """
    literal = isinstance(rows, types.IntegerLiteral) and isinstance(vectors, types.IntegerLiteral)
    if not literal:
        return None
    signature = types.void(
        values, places, types.intp, sources, types.intp, types.intp, weights, types.intp,
        bias, low, high, types.intp, types.intp, rows, vectors,
    )  # fmt: skip
    shape = rows.literal_value, vectors.literal_value

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        arrays = {
            name: context.make_array(signature.args[k])(context, builder, given[k]).data
            for name, k in _ARRAYS.items()
        }
        numbers = {name: given[k] for name, k in _NUMBERS.items()}
        _emit(builder, arrays, numbers, *shape)
        return context.get_dummy_value()

    return signature, generate


# sizes: kernel, one basic block after the other, as LLVM reads them
def _emit(b: Any, arrays: dict[str, Any], numbers: dict[str, Any], rows: int, vectors: int) -> None:
    """Write the loop over the edges: load the source once, feed every accumulator."""
    number = arrays["values"].type.pointee
    lanes = VECTOR_BYTES // (4 if isinstance(number, ir.FloatType) else 8)
    vector = ir.VectorType(number, lanes)
    name = f"llvm.fma.v{lanes}f{VECTOR_BYTES * 8 // lanes}"
    fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(vector, [vector] * 3), name)
    first, last = numbers["first"], numbers["last"]

    def element(array: str, index: Any, k: int = 0) -> Any:
        return b.load(b.gep(arrays[array], [b.add(index, _INDEX(k))]))

    def at(offset: Any, k: int) -> Any:
        start = b.gep(arrays["values"], [b.add(offset, _INDEX(k * lanes))])
        return b.bitcast(start, vector.as_pointer())

    places = [element("places", numbers["place"], r) for r in range(rows)]
    begins, ends = (b.icmp_signed("!=", numbers[name], _INDEX(0)) for name in ("begins", "ends"))
    begun = []
    for r, place in enumerate(places):
        bias = _broadcast(b, element("bias", numbers["place"], r), vector)
        held = [b.load(at(place, k), align=_UNALIGNED) for k in range(vectors)]
        begun += [b.select(begins, bias, old) for old in held]
    before, loop, after = b.block, b.append_basic_block("edges"), b.append_basic_block("done")
    b.cbranch(b.icmp_signed("<", first, last), loop, after)

    b.position_at_end(loop)
    edge = b.phi(_INDEX)
    sums = [b.phi(vector) for _ in begun]
    source = b.zext(element("sources", edge), _INDEX)
    loaded = [b.load(at(source, k), align=_UNALIGNED) for k in range(vectors)]
    row = b.add(numbers["weight"], b.mul(b.sub(edge, first), _INDEX(rows)))
    fresh = []
    for r in range(rows):
        factor = _broadcast(b, element("weights", row, r), vector)
        fresh += [b.call(fma, [factor, loaded[k], sums[r * vectors + k]]) for k in range(vectors)]
    following = b.add(edge, _INDEX(1))
    b.cbranch(b.icmp_signed("<", following, last), loop, after)
    for phi, old, new in zip([edge, *sums], [first, *begun], [following, *fresh], strict=True):
        phi.add_incoming(old, before)
        phi.add_incoming(new, loop)

    b.position_at_end(after)
    results = []
    for old, new in zip(begun, fresh, strict=True):
        results.append(b.phi(vector))
        results[-1].add_incoming(old, before)
        results[-1].add_incoming(new, loop)
    for r, place in enumerate(places):
        low, high = (
            _broadcast(b, b.select(ends, element(name, numbers["place"], r), open_), vector)
            for name, open_ in (("low", number(-math.inf)), ("high", number(math.inf)))
        )
        for k in range(vectors):
            z = results[r * vectors + k]
            z = b.select(b.fcmp_ordered("<", z, low), low, z)
            z = b.select(b.fcmp_ordered(">", z, high), high, z)
            b.store(z, at(place, k), align=_UNALIGNED)


def _broadcast(b: Any, value: Any, vector: Any) -> Any:
    lane = ir.IntType(32)
    empty = ir.Constant(vector, ir.Undefined)
    mask = ir.Constant(ir.VectorType(lane, vector.count), [0] * vector.count)
    return b.shuffle_vector(b.insert_element(empty, value, lane(0)), empty, mask)
