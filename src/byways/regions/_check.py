"""The checker of proofs: all of it in integers, and nothing of how a proof is found.

A *decision* asks "is unit i above its breakpoint t?": side 1 if so, else side 0. Its row is
``r = z - t``; the rows ``b - A x`` of a polytope come before those, always on side 1. A
piecewise-linear unit is a line with a bend at each breakpoint,
``f(z) = a z + c + sum of jump * max(z - t, 0)``. So every row is an affine function of the point
plus a sum over earlier rows that are on side 1: ``r_k = own_k(x) + sum of passed_kj * r_j``.

A proof is a binary tree over decisions, in preorder. A node *splits* on one (side 0 comes first),
or keeps one side and *refuses* the other with multipliers, or is a leaf with a point, its witness.
In a cell rows on side 1 are positive; those on side 0 are negative, or zero on the whole cell.

* A leaf is a region, if this is so at its witness, a point of the domain.
* A refused side is empty, if some non-negative combination of its rows, those on side 0 negated,
  is negative on the whole domain; or zero at most, and one that takes part may not be zero.

Floats are integers over powers of two. Nothing here changes if a point ``(x, 1)``, or all
multipliers of a side, are multiplied by a positive number, so there are no fractions either.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from byways.core.activations import PiecewiseLinear
    from byways.core.chain import LayerChain

    Integers = NDArray[Any]  # of Python's, which have no end
    Sides = NDArray[np.int64]  # per row: side 0, side 1, or OPEN

__all__ = ["RefusedError", "Rows", "check"]

LEAF = SPLIT = OPEN = -1  # in "decision", in "kept", in sides


class RefusedError(Exception):
    """A proof that does not prove, and the place."""


def check(
    chain: LayerChain, domain: Any, proof: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.uint8], int]:
    """Check a proof, given as its arrays; give the proven list and how many sides are refused.

    Raises:
        RefusedError: If it does not prove a list.
    """
    try:
        rows = Rows(chain, domain)
        leaves, refused = _walk(rows, proof)
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise RefusedError(f"the proof is malformed: {error!r}") from error
    segments = leaves @ (rows.unit[:, None] == np.unique(rows.unit))
    return np.unique(segments.astype(np.uint8), axis=0), refused


def _walk(rows: Rows, proof: Mapping[str, NDArray[Any]]) -> tuple[Sides, int]:
    """Go through the tree and check every fact; give the sides of each leaf, and the refusals."""
    m, size, points, n = rows.given, len(rows.own), proof["points"], proof["points"].shape[1]
    start, row, value = (proof[name].tolist() for name in ("start", "row", "value"))
    for i, text in zip(proof["value_at"].tolist(), proof["value_exact"].tolist(), strict=True):
        value[i] = _fraction(text)
    texts = zip(proof["point_at"].tolist(), proof["point_exact"].tolist(), strict=True)
    exact = {i: _fraction(text) for i, text in texts}
    waiting, refused = [np.repeat([1, OPEN], [m, size - m])], 0
    leaves: list[Sides] = []
    nodes = zip(proof["decision"].tolist(), proof["kept"].tolist(), strict=True)
    for place, (decision, kept) in enumerate(nodes):
        sides, k = waiting.pop(), m + decision
        if decision == LEAF and kept == SPLIT:
            i = len(leaves)
            point = [exact.get(j, x) for j, x in enumerate(points[i].tolist(), i * n)]
            if (sides == OPEN).any() or not rows.inside(sides, point):
                raise RefusedError(f"leaf {i}: its witness does not lie in the region")
            leaves.append(sides[m:])
            continue
        if kept not in (SPLIT, 0, 1) or not m <= k < size or not rows.settle(sides, k):
            raise RefusedError(f"node {place}: decision {decision} is not open here")
        both = sides.copy(), sides.copy()
        both[0][k], both[1][k] = 0, 1
        if kept == SPLIT:
            waiting += reversed(both)
            continue
        own = slice(start[refused], start[refused + 1])
        if not rows.empty(both[1 - kept], row[own], value[own]):
            raise RefusedError(f"refused side {refused}: its multipliers do not prove it empty")
        refused += 1
        waiting.append(both[kept])
    if waiting:
        raise RefusedError("the tree ends with open sides: sign vectors are missing")
    if len(points) != len(leaves) or len(start) != refused + 1:
        raise RefusedError("there are more witnesses or multipliers than facts")
    return np.array(leaves).reshape(len(leaves), size - m), refused


class Rows:
    """The rows of a network on a domain, and what proves facts about them.

    Row ``k``, times ``scale[k]``, is ``own[k] @ entry @ (x, 1)`` plus the sum of ``passed[k, j]``
    times row ``j`` as it stands here, over all ``j`` on side 1. The first ``given`` rows are those
    of the domain; ``unit`` tells whose decisions the others are. ``here`` holds the rows on the
    cell that the walk is at, as functions of ``entry @ (x, 1)``.
    """

    def __init__(self, chain: LayerChain, domain: Any) -> None:
        box, infinite = getattr(domain, "box", domain), np.full(domain.dim, np.inf)
        self.lower, self.upper = getattr(box, "lower", -infinite), getattr(box, "upper", infinite)
        self.bounded = bool(np.isfinite(self.upper).all())
        if self.bounded:
            self.box, self.one = _integers([self.lower, self.upper])
        layers = chain.layers[: max(chain.hidden, default=-1) + 1]
        maps = [_affine(layer.map.to_dense(), layer.bias) for layer in layers]
        units = [[_bends(layer.functions[kind]) for kind in layer.kinds] for layer in layers]
        counts = [len(bends) for layer in units for _, _, bends in layer]
        normals = getattr(domain, "A", np.zeros((0, domain.dim)))
        self.given, self.unit = len(normals), np.repeat(np.arange(len(counts)), counts)
        self.entry = _affine(np.eye(domain.dim), np.zeros(domain.dim))
        if maps and hasattr(domain, "directions"):
            maps[0] = maps[0] @ _affine(domain.directions.T, domain.origin)
        elif maps and not self.given and len(maps[0]) < len(self.entry):
            self.entry, maps[0] = maps[0], np.eye(len(maps[0]), dtype=int).astype(object)
        c, size = len(self.entry), self.given + len(self.unit)
        self.scale, table = np.ones(size, object), np.zeros((size, c + size), object)
        for k, normal in enumerate(normals):
            table[k, :c], self.scale[k] = _integers([*-normal, domain.b[k]])
        k, out = self.given, np.eye(c, c + size, dtype=int).astype(object)
        for matrix, layer in zip(maps, units, strict=True):
            z = matrix @ out
            out, one = z.copy(), z[-1]
            for i, (slope, level, bends) in enumerate(layer):
                out[i] = slope * z[i] + level * one
                for t, jump in bends:
                    table[k], self.scale[k] = _integers((z[i] - t * one) / Fraction(one[c - 1]))
                    out[i, c + k] += jump * Fraction(one[c - 1], self.scale[k])
                    k += 1
            out = _integers(out)[0]
        self.lift = math.lcm(*self.scale) // self.scale
        self.own, self.passed, self.here = table[:, :c], table[:, c:], table[:, :c].copy()

    def settle(self, sides: Sides, k: int) -> bool:
        """Write a row down; False if it is settled, or depends on what is open."""
        passed, above = self.passed[k], np.flatnonzero(sides == 1)
        if sides[k] != OPEN or (sides[passed != 0] == OPEN).any():
            return False
        self.here[k] = self.own[k] + passed[above] @ self.here[above]
        return True

    def empty(self, sides: Sides, rows: list[int], multipliers: list[Any]) -> bool:
        """Tell whether a combination of rows proves that a cell is empty."""
        if any(k < 0 or sides[k] == OPEN or v < 0 for k, v in zip(rows, multipliers, strict=True)):
            return False
        weights = _integers(multipliers)[0] * self.lift[rows] * (2 * sides[rows] - 1)
        top = self._highest(weights @ self.here[rows])
        used = [k for k, v in zip(rows, multipliers, strict=True) if v]
        return top < 0 or (top == 0 and any(sides[k] == 1 or not self._vanishes(k) for k in used))

    def inside(self, sides: Sides, point: list[Any]) -> bool:
        """Tell whether a point of the domain lies in a cell."""
        box = zip(self.lower.tolist(), point, self.upper.tolist(), strict=True)
        values = (self.here @ (self.entry @ _integers([*point, 1])[0])).tolist()
        return all(low <= x <= high for low, x, high in box) and all(
            v > 0 if side else v < 0 or (v == 0 and self._vanishes(k))
            for k, (v, side) in enumerate(zip(values, sides.tolist(), strict=True))
        )

    def _highest(self, row: Integers) -> float:
        """Give the maximum over the domain, times some positive number."""
        slopes, constant = np.split(row @ self.entry, [-1])
        if not self.bounded:
            return math.inf if slopes.any() else int(constant[0])
        corner = np.where(slopes > 0, self.box[1], self.box[0])
        return int(corner @ slopes + constant[0] * self.one)

    def _vanishes(self, k: int) -> bool:
        """Tell whether a row is zero on the whole cell."""
        return self._highest(self.here[k]) == 0 == self._highest(-self.here[k])


def _bends(function: PiecewiseLinear) -> tuple[Fraction, Fraction, list[tuple[Fraction, Fraction]]]:
    """Write a function as ``a z + c + sum of jump * max(z - t, 0)``; give a, c and (t, jump)."""
    jumps = [Fraction(b) - Fraction(a) for a, b in pairwise(function.slopes)]
    bends = list(zip(map(Fraction, function.breakpoints), jumps, strict=True))
    at_zero = sum((jump * -t for t, jump in bends if t < 0), Fraction(0))
    return Fraction(function.slopes[0]), Fraction(function.offset) - at_zero, bends


def _affine(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> Integers:
    """Give the matrix that takes ``(x, 1)`` to ``(weight @ x + bias, 1)``, times some number."""
    last = np.eye(1, weight.shape[1] + 1, weight.shape[1])
    return _integers(np.vstack([np.column_stack([weight, bias]), last]))[0]


def _fraction(text: str) -> Fraction:
    """Read ``p/q``, and nothing that is short to write and long to work out."""
    return Fraction(*map(int, text.split("/")))


def _integers(numbers: Any) -> tuple[Integers, int]:
    """Multiply floats or rationals by their least common denominator; give that too."""
    given = np.asarray(numbers)
    ratios = [number.as_integer_ratio() for number in given.ravel().tolist()]
    common = math.lcm(*{q for _, q in ratios})
    result = np.empty(given.size, dtype=object)
    result[:] = [p * (common // q) for p, q in ratios]
    return result.reshape(given.shape), common
