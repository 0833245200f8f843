"""The checker of proofs: exact, and nothing of how a proof is found.

A *decision* asks "is unit i above its breakpoint t?": side 1 if so, else side 0. Its *row* is
``z - t``, an affine function of the point once all sides of earlier layers are settled. The rows
``b - A x`` of a polytope come before those of decisions, always on side 1.

A proof is a binary tree over decisions, in preorder. A node *splits* on one (side 0 comes first),
or keeps one side and *refuses* the other with multipliers, or is a leaf with a point, its witness.
In a cell rows on side 1 are positive; those on side 0 are negative, or zero on the whole cell.

* A leaf is a region, if this is so at its witness, a point of the domain, or at one close to it.
* A refused side is empty, if some non-negative combination of its rows, those on side 0 negated,
  is negative on the whole domain; or zero at most, and one that takes part may not be zero.

Floats are integers over powers of two. Nothing here changes if a point ``(x, 1)``, all multipliers
of a side, or all rows of a cell are multiplied by a positive number, so all numbers are integers.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import accumulate, pairwise
from operator import getitem, lshift, mul
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from byways.core.activations import PiecewiseLinear
    from byways.core.chain import LayerChain

    Multipliers = list[tuple[int, int]]  # rows and their weights

__all__ = ["RefusedError", "Rows", "check", "integers"]

LEAF = SPLIT = OPEN = -1  # in "decision", in "kept", in sides
LIMB = 16  # bits


class RefusedError(Exception):
    """A proof that does not prove, and the place."""


def check(chain: LayerChain, domain: Any, proof: Any) -> NDArray[np.uint8]:
    """Go through the tree of a proof and check every fact; give the proven list.

    Raises:
        RefusedError: If it does not prove a list.
    """
    multipliers, witnesses = proof.multipliers(), proof.witnesses()
    largest = max([1, *(sum(weight for _, weight in side) for side in multipliers)])
    rows, refused, leaves = Rows(chain, domain, largest), 0, list[list[int]]()
    start = [1] * rows.given + [OPEN] * len(rows.unit)
    waiting = [(start, rows.on(start, rows.functions))]
    nodes = zip(proof.decision.tolist(), proof.kept.tolist(), strict=True)
    for place, (decision, kept) in enumerate(nodes):
        (sides, here), k = waiting.pop(), rows.given + decision
        if (decision, kept) == (LEAF, SPLIT):
            if OPEN in sides or not rows.inside(sides, here, next(witnesses)):
                raise RefusedError(f"leaf {len(leaves)}: its witness does not lie in the region")
            leaves.append(sides[rows.given :])
            continue
        if OPEN not in sides[: len(here)]:
            here = rows.on(sides, rows.functions)
        if kept not in (SPLIT, 0, 1) or not rows.given <= k < len(here) or sides[k] != OPEN:
            raise RefusedError(f"node {place}: decision {decision} is not open here")
        both = [([*sides[:k], side, *sides[k + 1 :]], here) for side in (0, 1)]
        if kept == SPLIT:
            waiting += reversed(both)
        elif rows.empty(both[1 - kept][0], here, multipliers[refused]):
            waiting.append(both[kept])
            refused += 1
        else:
            raise RefusedError(f"refused side {refused}: its multipliers do not prove it empty")
    if waiting:
        raise RefusedError("the tree ends with open sides: sign vectors are missing")
    if proof.points.shape != (len(leaves), domain.dim) or len(multipliers) != refused:
        raise RefusedError("there are more witnesses or multipliers than facts")
    segments = np.array(leaves, dtype=np.uint8) @ np.equal.outer(rows.unit, np.unique(rows.unit))
    return np.unique(segments, axis=0)


class Rows:
    """The rows of a network on a domain, and what proves facts about them.

    With its box as ``0 <= y <= 1``, a row is one integer: its coefficients, that of the constant
    last, are digits to a base so large that they stay apart in any sum whose weights add up to no
    more than ``largest``. At a point a row is its value, and the same code computes both.
    """

    def __init__(self, chain: LayerChain, domain: Any, largest: int) -> None:
        nothing = np.zeros((0, chain.input_size)), np.zeros(0)
        normals, bounds = getattr(domain, "A", nothing[0]), getattr(domain, "b", nothing[1])
        layers = chain.layers[: max(chain.hidden, default=-1) + 1]
        maps = [(layer.map.to_dense(), layer.bias) for layer in layers] or [nothing]
        maps[0] = np.vstack([-normals, maps[0][0]]), np.append(bounds, maps[0][1])
        self.first, *others = [_affine(*parts) for parts in maps]
        if hasattr(domain, "directions"):
            self.first = self.first @ _affine(domain.directions.T, domain.origin)
        self.given, self.layers, self.unit, units = len(normals), list[Any](), list[int](), 0
        steps, onwards = [1, *(m[-1, -1] for m in others)], [*(m.tolist() for m in others), []]
        for layer, step, onward in zip(layers, steps, onwards, strict=False):
            pieces = [_pieces(layer.functions[kind]) for kind in layer.kinds]
            common = math.lcm(*(x.denominator for unit in pieces for part in unit for x in part))
            whole = [[[int(x * common) for x in part] for part in unit] for unit in pieces]
            cuts = [(i, t) for i, (ts, _, _) in enumerate(whole) for t in ts]
            lines = [list(zip(*unit[1:], strict=True)) for unit in whole]
            self.layers.append((step * common, common, cuts, [*lines, [(common, 0)]], onward))
            self.unit += [units + i for i, _ in cuts]
            units += len(whole)
            largest *= common + sum(abs(x) for unit in whole for part in unit for x in part)
            largest *= sum(abs(x) for row in onward for x in row) or 1
        self._pack(getattr(domain, "box", domain), largest)

    def _pack(self, box: Any, largest: int) -> None:
        """Write the first rows as functions of y."""
        functions, self.bounded = self.first.copy(), hasattr(box, "lower")
        if self.bounded:
            self.lower, self.upper = box.lower, box.upper
            self.half = np.maximum(box.upper / 2 - box.lower / 2, np.finfo(float).tiny)
            ends, one = integers([*box.lower, *box.upper])
            low, high = np.array(ends, dtype=object).reshape(2, -1)
            functions[:, :-1] *= high - low
            functions[:, -1] = self.first[:, :-1] @ low + self.first[:, -1] * one
        bits = LIMB * ((largest * int(abs(functions).sum())).bit_length() // LIMB + 1)
        places = range(0, bits * functions.shape[1], bits)
        self.powers = np.array([1 << i for i in range(0, bits, LIMB)], dtype=object)
        self.middle = sum(1 << place + bits - 1 for place in places)
        self.functions = [sum(map(lshift, row, places)) for row in functions.tolist()]
        self.limbs = np.hstack([self._limbs(row) for row in self.functions]).astype(np.float64)

    def on(self, sides: list[int], z: list[int]) -> list[int]:
        """Give the rows of a cell, up to the first layer with an open decision."""
        rows, z = z[: self.given], z[self.given :]
        for step, common, cuts, tables, onward in self.layers:
            before, pieces, one = len(rows), [0] * len(z), z[-1]
            rows = [step * row for row in rows] + [common * z[i] - t * one for i, t in cuts]
            if OPEN in sides[: len(rows)]:
                break
            for (i, _), side in zip(cuts, sides[before:], strict=False):
                pieces[i] += side
            lines = zip(map(getitem, tables, pieces), z, strict=True)
            out = [slope * value + level * one for (slope, level), value in lines]
            z = [sum(map(mul, weights, out)) for weights in onward]
        return rows

    def empty(self, sides: list[int], here: list[int], multipliers: Multipliers) -> bool:
        """Tell whether a combination of rows proves that a cell is empty."""
        if any(k < 0 or sides[k] == OPEN or v < 0 for k, v in multipliers):
            return False
        limbs = self._limbs(sum((v if sides[k] else -v) * here[k] for k, v in multipliers))
        if not self.bounded and limbs[:-1].any():
            return False
        above = np.append(limbs[:-1, -1] >= 0, True)  # which slopes, and the constant
        top = (above @ limbs).astype(object) @ self.powers
        return top < 0 or (top == 0 and any(v and (sides[k] or here[k]) for k, v in multipliers))

    def inside(self, sides: list[int], here: list[int], witness: Any) -> bool:
        """Tell whether a point, or one close to it, is in the domain and in a cell."""
        for image in self._images(witness):
            values = zip(sides, here, self.on(sides, image), strict=True)
            if all(v > 0 if side else v < 0 or v == row == 0 for side, row, v in values):
                return True
        return False

    def _images(self, witness: Any) -> Iterator[list[int]]:
        """Give the first rows at a point of the domain that is close to a witness, then there."""
        if self.bounded:
            if not ((self.lower <= witness) & (witness <= self.upper)).all():
                return
            share = (witness.astype(np.float64) / 2 - self.lower / 2) / self.half
            grid = 2.0 ** (52 - LIMB - len(self.limbs).bit_length())  # sums are below 2 ** 53
            y = np.append(np.rint(share.clip(0, 1) * grid), grid)
            limbs = (y @ self.limbs).reshape(-1, self.powers.size).astype(np.int64)
            yield (limbs.astype(object) @ self.powers).tolist()
        point, _ = integers([*witness.tolist(), 1])
        yield (self.first @ np.array(point, dtype=object)).tolist()

    def _limbs(self, row: int) -> NDArray[np.int64]:
        """Cut the coefficients of a row in pieces; the last of each has its sign."""
        data = (row + self.middle).to_bytes(-(-self.middle.bit_length() // 8), "little")
        limbs = np.frombuffer(data, "<u2").reshape(-1, self.powers.size).astype(np.int64)
        limbs[:, -1] -= 1 << LIMB - 1
        return limbs


def _pieces(function: PiecewiseLinear) -> tuple[list[Fraction], list[Fraction], list[Fraction]]:
    """Give the breakpoints of a function, and the slope and intercept of each piece."""
    cuts, slopes = list(map(Fraction, function.breakpoints)), list(map(Fraction, function.slopes))
    steps = [(a - b) * t for t, (a, b) in zip(cuts, pairwise(slopes), strict=True)]
    levels = list(accumulate(steps, initial=Fraction(function.offset)))
    at_zero = levels[sum(t < 0 for t in cuts)] - levels[0]
    return cuts, slopes, [level - at_zero for level in levels]


def _affine(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> Any:
    """Give the matrix that takes ``(x, 1)`` to ``(weight @ x + bias, 1)``, times some number."""
    last = np.eye(1, weight.shape[1] + 1, weight.shape[1])
    numbers = np.vstack([np.column_stack([weight, bias]), last])
    return np.array(integers(numbers.ravel().tolist())[0], dtype=object).reshape(numbers.shape)


def integers(numbers: Iterable[Any]) -> tuple[list[int], int]:
    """Multiply floats or rationals by their least common denominator; give that too."""
    ratios = [number.as_integer_ratio() for number in numbers]
    common = math.lcm(*{q for _, q in ratios})
    return [p * (common // q) for p, q in ratios], common
