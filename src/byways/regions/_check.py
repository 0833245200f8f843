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

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.exact import Packing, homogeneous, integer_arrays, integers, product

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.core.chain import LayerChain

    Numbers = NDArray[Any]  # Python's integers, a column for each function or point

__all__ = ["RefusedError", "Rows", "check"]

LEAF = SPLIT = OPEN = -1  # in "decision", in "kept", in sides
BLOCK, GRID = 1024, 2.0**24  # leaves, points along a side


class RefusedError(Exception):
    """A proof that does not prove, and the place."""


def check(chain: LayerChain, domain: Any, proof: Any) -> NDArray[np.uint8]:
    """Go through the tree of a proof and check every fact; give the proven list.

    Raises:
        RefusedError: If it does not prove a list.
    """
    multipliers, refused, leaves = proof.multipliers(), 0, list[list[int]]()
    largest = max([1, *(sum(weight for _, weight in side) for side in multipliers)])
    rows = Rows(chain, domain, largest)
    waiting = [([1] * rows.given + [OPEN] * len(rows.unit), list[int]())]
    nodes = zip(proof.decision.tolist(), proof.kept.tolist(), strict=True)
    for place, (decision, kept) in enumerate(nodes):
        (sides, here), k = waiting.pop(), rows.given + decision
        if len(here) < len(sides) and OPEN not in sides[: len(here)]:
            here = rows.on(np.array(sides)[:, None], rows.functions).ravel().tolist()
        if (decision, kept) == (LEAF, SPLIT) and OPEN not in sides:
            # What the signs have to be at a point of the region.
            signs = [1 if side else -bool(row) for side, row in zip(sides, here, strict=True)]
            leaves.append(signs)
            continue
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
    wanted = np.array(leaves, dtype=np.int8)
    unproven = rows.unproven(wanted, proof.points)
    for leaf, witness in zip(unproven, proof.witnesses(unproven), strict=True):
        if not rows.inside(wanted[leaf], witness):
            raise RefusedError(f"leaf {leaf}: its witness does not lie in the region")
    above = (wanted[:, rows.given :] == 1).astype(np.uint8)
    return np.unique(above @ np.equal.outer(rows.unit, np.unique(rows.unit)), axis=0)


class Rows:
    """The rows of a network on a domain, and what proves facts about them.

    With its box as ``0 <= y <= 1``, a row is one integer: its coefficients, that of the constant
    last, are digits to a base so large that they stay apart in any sum whose weights add up to no
    more than ``largest``. At a point a row is its value, and the same code computes both.
    """

    def __init__(self, chain: LayerChain, domain: Any, largest: int) -> None:
        layers = chain.layers[: max(chain.hidden, default=0) + 1]
        maps = [(layer.map.to_dense(), layer.bias) for layer in layers]
        self.given = len(getattr(domain, "A", []))
        if self.given:
            maps[0] = np.vstack([-domain.A, maps[0][0]]), np.append(domain.b, maps[0][1])
        self.first, *others = [homogeneous(*parts) for parts in maps]
        if hasattr(domain, "directions"):
            self.first = self.first @ homogeneous(domain.directions.T, domain.origin)
        self.layers, self.unit = list[Any](), list[int]()
        starts, onwards = accumulate(chain.widths[1:], initial=0), [*others, np.eye(1, dtype=int)]
        for layer, start, onward in zip(layers, starts, onwards, strict=False):
            unit, cuts = layer.cuts
            (cuts, *tables), common = integer_arrays(cuts, *layer.pieces(exact=True))
            of_unit = np.equal.outer(np.arange(layer.width), unit).astype(int)
            self.layers.append((common, unit, cuts[:, None], of_unit, np.array(tables), onward))
            self.unit += (start + unit).tolist()
            largest *= 2 * max(map(abs, [common, *cuts, *np.ravel(tables)]))
            largest *= int(abs(onward).sum(axis=1).max())
        self.table, self.box = self.first, getattr(domain, "box", domain)
        self.bounded = hasattr(self.box, "lower")
        if self.bounded:
            (low, high), one = integer_arrays(self.box.lower, self.box.upper)
            slopes, constants = self.first[:, :-1] * (high - low), self.first @ np.append(low, one)
            self.table = np.column_stack([slopes, constants])
        self.packing = Packing(domain.dim, largest * int(abs(self.table).max()))
        self.functions = self.packing.pack(self.table)[:, None]

    def on(self, sides: NDArray[Any], z: Numbers) -> Numbers:
        """Give the rows of cells, up to the first layer with an open decision."""
        # The last of z is the 1 of (x, 1), times all that the other numbers were multiplied by.
        rows, z = z[: self.given], z[self.given :]
        for common, unit, cuts, of_unit, tables, onward in self.layers:
            own = sides[len(rows) :][: len(unit)]
            rows = np.vstack([common * rows, common * z[unit] - cuts * z[-1]])
            if len(rows) == len(sides) or (own == OPEN).any():
                break
            slopes, levels = tables[:, np.arange(len(of_unit))[:, None], of_unit @ own]
            z = onward @ np.vstack([slopes * z[:-1] + levels * z[-1], common * z[-1]])
            rows *= onward[-1, -1]
        return rows

    def empty(self, sides: list[int], here: list[int], side: list[tuple[int, int]]) -> bool:
        """Tell whether a combination of rows, given as rows and weights, proves a cell empty."""
        if any(k < 0 or sides[k] == OPEN or v < 0 for k, v in side):
            return False
        total = sum(v * here[k] if sides[k] else -v * here[k] for k, v in side)
        if not (self.bounded or self.packing.is_constant(total)):
            return False
        top = self.packing.highest(total)
        return top < 0 or (top == 0 and any(v and (sides[k] or here[k]) for k, v in side))

    def unproven(self, wanted: NDArray[np.int8], points: NDArray[Any]) -> list[int]:
        """Give the leaves that are not proven by the point next to the witness on a grid."""
        proven = self.box.contains(points) if self.bounded else np.zeros(len(points), dtype=bool)
        leaves = np.flatnonzero(proven)
        for at in range(0, len(leaves), BLOCK):
            block = leaves[at : at + BLOCK]
            y = np.column_stack([self.box.shares(points[block]), np.ones(len(block))])
            image = product(np.rint(GRID * y), self.table.T).T
            proven[block] = self.agree(wanted[block], image)
        return np.flatnonzero(~proven).tolist()

    def inside(self, wanted: NDArray[np.int8], witness: list[Any]) -> bool:
        """Tell whether a witness proves a leaf."""
        if self.bounded:
            ends = zip(self.box.lower.tolist(), witness, self.box.upper.tolist(), strict=True)
            if not all(low <= x <= high for low, x, high in ends):
                return False
        point = np.array(integers([*witness, 1])[0], dtype=object)
        return bool(self.agree(wanted[None], (self.first @ point)[:, None]).all())

    def agree(self, wanted: NDArray[np.int8], image: Numbers) -> NDArray[np.bool_]:
        """Tell at which points rows have the signs that they have in a leaf."""
        signs = np.sign(self.on(wanted.T > 0, image))
        return np.asarray((signs == wanted.T).all(axis=0))
