"""The inner loop of the executor as LLVM vectors: accumulators that stay in registers.

``accumulate`` adds a run of edges to ``rows`` destinations of ``vectors`` vectors each. A compiler
keeps such accumulators in registers only if the loop is written with them as values; numba's arrays
are memory, so the loop is emitted as LLVM instructions, with one phi node per accumulator. A vector
is as long as a register, and ``REGISTERS`` tells how many of those there are; LLVM splits it where
they are shorter than 32 bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LINE_BYTES", "REGISTERS", "UNALIGNED", "VECTOR_BYTES", "accumulate", "broadcast"]


def _registers() -> int:
    """Count: 32 of 64 bytes with AVX-512, 16 of 32 bytes with AVX, as much as 32 of 16 on ARM."""
    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM cannot tell
        return 16
    return 32 if features.get("avx512f") else 16


REGISTERS = _registers()
VECTOR_BYTES = 64 if REGISTERS >= 32 else 32
LINE_BYTES = 64  # of a cache
_INDEX = ir.IntType(64)
UNALIGNED = 4  # bytes; what vectors may rely on
# Accumulators that keep the multipliers busy while each waits for its last addition.
_BUSY = 256 // VECTOR_BYTES
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

    ``values`` is the table of neuron vectors; ``places`` and ``sources`` hold offsets into it.
    ``places`` has an entry behind the last destination, for what is read next is fetched early.
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
    """Write the loops over the edges: load the source once, feed every accumulator.

    An accumulator waits for its last addition. Where an edge feeds few of them, every other edge
    feeds a second set.
    """
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

    def wide(array: str, index: Any, kind: Any) -> Any:
        return b.bitcast(b.gep(arrays[array], [index]), kind.as_pointer())

    def add(edge: Any, sums: list[Any]) -> list[Any]:
        source = b.zext(element("sources", edge), _INDEX)
        loaded = [b.load(at(source, k), align=UNALIGNED) for k in range(vectors)]
        row = b.add(numbers["weight"], b.mul(b.sub(edge, first), _INDEX(rows)))
        fresh = []
        for r in range(rows):
            factor = broadcast(b, element("weights", row, r), vector)
            fresh += [
                b.call(fma, [factor, loaded[k], sums[r * vectors + k]]) for k in range(vectors)
            ]
        return fresh

    places = [element("places", numbers["place"], r) for r in range(rows)]
    begins, ends = (b.icmp_signed("!=", numbers[name], _INDEX(0)) for name in ("begins", "ends"))

    def biases() -> list[Any]:
        found = [element("bias", numbers["place"], r) for r in range(rows)]
        return [x for bias in found for x in [broadcast(b, bias, vector)] * vectors]

    def held() -> list[Any]:
        return [b.load(at(p, k), align=UNALIGNED) for p in places for k in range(vectors)]

    sums = _either(b, begins, biases, held)
    edge, size = first, len(sums)
    if 2 * size <= _BUSY:
        # So few multiplications do not cover the way of the next sums from the second cache.
        following = element("places", numbers["place"], rows)
        for k in range(0, vectors, LINE_BYTES // VECTOR_BYTES):
            _prefetch(b, at(following, k))

        def pair(edge: Any, sums: list[Any]) -> list[Any]:
            # Loads are what limits, so the two indices are one load, and the two weights another.
            both = b.load(wide("sources", edge, _INDEX), align=UNALIGNED)
            row = b.add(numbers["weight"], b.sub(edge, first))
            weights = b.load(wide("weights", row, ir.VectorType(number, 2)), align=UNALIGNED)
            indices = b.and_(both, _INDEX(0xFFFFFFFF)), b.lshr(both, _INDEX(32))
            fresh = []
            for j, source in enumerate(indices):
                factor = _spread(b, weights, j, vector)
                fresh += [
                    b.call(fma, [factor, b.load(at(source, k), align=UNALIGNED), z])
                    for k, z in enumerate(sums[j * size : (j + 1) * size])
                ]
            return fresh

        nothing = ir.Constant(vector, [number(-0.0)] * lanes)
        edge, sums = _loop(b, edge, last, 2, sums + [nothing] * size, pair)
        sums = [b.fadd(x, y) for x, y in zip(sums[:size], sums[size:], strict=True)]
    _, sums = _loop(b, edge, last, 1, sums, add)

    def clipped() -> list[Any]:
        values = []
        for r in range(rows):
            low, high = (
                broadcast(b, element(name, numbers["place"], r), vector) for name in ("low", "high")
            )
            for z in sums[r * vectors : (r + 1) * vectors]:
                z = b.select(b.fcmp_ordered("<", z, low), low, z)
                values.append(b.select(b.fcmp_ordered(">", z, high), high, z))
        return values

    values = iter(_either(b, ends, clipped, lambda: sums))
    for place in places:
        for k in range(vectors):
            b.store(next(values), at(place, k), align=UNALIGNED)


def _either(
    b: Any, condition: Any, yes: Callable[[], list[Any]], no: Callable[[], list[Any]]
) -> list[Any]:
    """Branch, and give the values of the way that was taken."""
    with b.if_else(condition) as (then, otherwise):
        with then:
            first, from_first = yes(), b.block
        with otherwise:
            second, from_second = no(), b.block
    results = []
    for x, y in zip(first, second, strict=True):
        results.append(b.phi(x.type))
        results[-1].add_incoming(x, from_first)
        results[-1].add_incoming(y, from_second)
    return results


def _loop(
    b: Any,
    first: Any,
    last: Any,
    step: int,
    values: list[Any],
    body: Callable[[Any, list[Any]], list[Any]],
) -> tuple[Any, list[Any]]:
    """Take ``step`` edges at a time while as many are left; give the next edge and the values."""
    before, loop, after = b.block, b.append_basic_block("edges"), b.append_basic_block("done")

    def branch(edge: Any) -> None:
        b.cbranch(b.icmp_signed("<=", b.add(edge, _INDEX(step)), last), loop, after)

    branch(first)
    b.position_at_end(loop)
    begun = [first, *values]
    held = [b.phi(value.type) for value in begun]
    fresh = [b.add(held[0], _INDEX(step)), *body(held[0], held[1:])]
    branch(fresh[0])
    for phi, old, new in zip(held, begun, fresh, strict=True):
        phi.add_incoming(old, before)
        phi.add_incoming(new, loop)
    b.position_at_end(after)
    results = []
    for old, new in zip(begun, fresh, strict=True):
        results.append(b.phi(old.type))
        results[-1].add_incoming(old, before)
        results[-1].add_incoming(new, loop)
    return results[0], results[1:]


def _prefetch(b: Any, place: Any) -> None:
    byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
    fetch = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0i8")
    b.call(fetch, [b.bitcast(place, byte), *map(flag, (0, 3, 1))])  # to read, to stay, data


def broadcast(b: Any, value: Any, vector: Any) -> Any:
    """Give a vector that holds a number in every lane."""
    empty = ir.Constant(vector, ir.Undefined)
    return _spread(b, b.insert_element(empty, value, ir.IntType(32)(0)), 0, vector)


def _spread(b: Any, numbers: Any, lane: int, vector: Any) -> Any:
    """Give a vector that holds one lane of another in every lane."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [lane] * vector.count)
    return b.shuffle_vector(numbers, ir.Constant(numbers.type, ir.Undefined), mask)
