"""Cells of one layer's hyperplanes inside a parent cell, one linear program per candidate.

Both enumerations are generators. They give a cell when they have one and None after each program
that gave none, so that whoever drives them can stop between two programs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from byways.regions._feasibility import Port

    Array = NDArray[np.float64]
    Bits = NDArray[np.uint8]

__all__ = ["Cell", "Cuts", "Search", "exhaustive", "incremental"]


class Cell(NamedTuple):
    """An open full-dimensional cell.

    ``bits`` are the decisions of the current layer. ``rows`` are positive on it, those of earlier
    layers first. Every row exceeds the tolerance at ``witness``, which may lie on the border of the
    domain. ``mass`` is the cell's share of the tree.
    """

    bits: Bits
    rows: Array
    witness: Array
    mass: float


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """The decisions of one layer on a parent cell.

    Args:
        rows: One row per decision, unit gradient; a decision that is constant on the parent has
            zeros but for the sign of its value. Shape ``(n, d + 1)``.
        follows: Whether a decision is a further threshold of the unit before, shape ``(n,)``.
        doubtful: Whether a constant was taken for zero though it is not, shape ``(n,)``.
        given: The first decisions, taken for granted: only that side is searched.
        ends: For each decision that begins a window of several where it ends.
        within: Gives the rows, as above, if the layer's decisions are known.
    """

    rows: Array
    follows: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]
    given: Bits
    ends: Mapping[int, int]
    within: Callable[[Bits], Array]

    def settled(self, k: int, bits: Bits) -> int | None:
        """Give the bit of decision ``k`` if it needs no program, else None."""
        if self.follows[k] and not bits[k - 1]:  # not above a threshold, so not above a higher one
            return 0
        if not self.rows[k, 1:].any():
            return int(self.rows[k, 0] > 0)
        return None

    def signed(self, bits: Bits) -> Array:
        """Give the rows of the first decisions, positive on their side, constants left out."""
        rows = self.rows[: len(bits)]
        signs = np.where(bits > 0, 1.0, -1.0)[:, None]
        result: Array = (signs * rows)[rows[:, 1:].any(axis=1)]
        return result


@dataclass(slots=True, eq=False)
class Search:
    """The solver, the domain, and what has been counted so far.

    ``programs`` counts linear programs, ``ambiguous`` decisions whose margin was within the
    tolerance of zero without being zero, ``explored`` the mass of dead ends and of finished leaves.
    """

    port: Port
    domain_rows: Array
    free: NDArray[np.bool_]
    tolerance: float
    programs: int = 0
    ambiguous: int = 0
    explored: float = 0.0

    def look(self, rows: Array) -> tuple[Array | None, bool]:
        """Solve one program: a witness if the rows have one, and whether the answer is in doubt."""
        self.programs += 1
        margin, point = self.port.deepest(rows, self.domain_rows, self.free)
        if margin > self.tolerance:
            return point, False
        return None, margin != 0.0 and abs(margin) <= self.tolerance


def incremental(parent: Cell, cuts: Cuts, search: Search) -> Iterator[Cell | None]:
    """Walk depth-first over the decisions; a side that holds the witness costs no program.

    A node is a choice for the first decisions with a witness. The witness decides one side of the
    next hyperplane, a program the other. If the witness lies on the hyperplane, both are searched.
    Memory is one node per decision; programs are at most two per node, so ``2 n`` per cell, and
    ``n`` if no witness ever lies on a hyperplane.

    References:
        Rada and Černý (2018), "A new algorithm for enumeration of cells of hyperplane arrangements
        and a comparison with Avis and Fukuda's reverse search", algorithm IncEnum.
    """
    stack = [Cell(np.zeros(0, dtype=np.uint8), parent.rows, parent.witness, parent.mass)]
    while stack:
        node = stack.pop()
        if len(node.bits) == len(cuts.rows):
            yield node
            continue
        programs = search.programs
        children = _children(node, cuts, search)
        if not children:
            search.explored += node.mass
        stack += children
        if search.programs > programs:
            yield None


def _children(node: Cell, cuts: Cuts, search: Search) -> list[Cell]:
    """Extend a node by one decision: no child (a dead end), one, or two."""
    k = len(node.bits)
    if k in cuts.ends:
        return _states(node, cuts, search, cuts.ends[k])
    forced = int(cuts.given[k]) if k < len(cuts.given) else None
    settled = cuts.settled(k, node.bits)
    if settled is not None:
        search.ambiguous += forced is None and bool(cuts.doubtful[k])
        child = node._replace(bits=_longer(node.bits, settled))
        return [child] if forced in (None, settled) else []
    row = cuts.rows[k]
    value = row[0] + row[1:] @ node.witness
    sides, doubts = [], False
    for bit, sign in ((0, -1.0), (1, 1.0)):
        if forced not in (None, bit):
            continue
        rows = np.concatenate([node.rows, sign * row[None]])
        witness: Array | None = node.witness
        if sign * value <= search.tolerance:
            witness, doubtful = search.look(rows)
            doubts |= doubtful
        if witness is not None:
            sides.append(Cell(_longer(node.bits, bit), rows, witness, node.mass))
    search.ambiguous += forced is None and doubts
    return [side._replace(mass=node.mass / len(sides)) for side in sides]


def _states(node: Cell, cuts: Cuts, search: Search, end: int) -> list[Cell]:
    """Extend a node by a window: a child for each entry that is the largest somewhere."""
    k, found, doubts = len(node.bits), [], 0
    given = cuts.given[k:end]
    for winner in range(k - 1, end):  # the first stands for entry 0, for which no bit is set
        bits = np.zeros(len(cuts.rows), dtype=np.uint8)
        bits[k:end] = np.arange(k, end) == winner
        if len(given) and (bits[k:end] != given).any():
            continue
        rows = cuts.within(bits)[k:end]
        rows = np.where(bits[k:end, None] > 0, rows, -rows)
        constant = ~rows[:, 1:].any(axis=1)
        # At 0 an entry equals its rival on the whole cell: the first of two wins.
        if (rows[constant, 0] < 0).any() or (
            bits[k:end][constant] & (rows[constant, 0] == 0)
        ).any():
            continue
        rows = np.concatenate([node.rows, rows[~constant]])
        witness: Array | None = node.witness
        if len(rows) and (rows[:, 0] + rows[:, 1:] @ node.witness).min() <= search.tolerance:
            witness, doubtful = search.look(rows)
            doubts += doubtful
        if witness is not None:
            found.append(Cell(np.concatenate([node.bits, bits[k:end]]), rows, witness, node.mass))
    search.ambiguous += 0 if len(given) else doubts
    return [child._replace(mass=node.mass / len(found)) for child in found]


def _longer(bits: Bits, bit: int) -> Bits:
    return np.append(bits, np.uint8(bit))


def exhaustive(parent: Cell, cuts: Cuts, search: Search) -> Iterator[Cell | None]:
    """Try every sign vector of the layer with one program each.

    Worth it where nearly all of the ``2^n`` exist, as for no more hyperplanes than dimensions.

    References:
        Drammis et al. (2024), "Parallel Algorithms for Exact Enumeration of Deep Neural Network
        Activation Regions", Bound-ExhEnum. Deviation: constant units and the order of the
        thresholds of one unit rule out candidates without a program.
    """
    candidates = _candidates(cuts)
    search.ambiguous += int(np.count_nonzero(cuts.doubtful))
    mass = parent.mass / len(candidates)
    for bits in candidates:
        rows = np.concatenate([parent.rows, cuts.signed(bits)])
        witness, doubtful = search.look(rows)
        search.ambiguous += doubtful
        if witness is None:
            search.explored += mass
            yield None
        else:
            yield Cell(bits, rows, witness, mass)


def _candidates(cuts: Cuts) -> list[Bits]:
    """List the sign vectors that constants and thresholds allow."""
    found = [np.zeros(0, dtype=np.uint8)]
    for k in range(len(cuts.rows)):
        settled = [cuts.settled(k, bits) for bits in found]
        found = [
            _longer(bits, bit)
            for bits, only in zip(found, settled, strict=True)
            for bit in (0, 1)
            if only in (None, bit)
        ]
    return found
