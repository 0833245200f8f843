"""A split tree put right: what floating point did not prove is decided in rationals.

A refused side that turns out to be a region, or several, becomes a split with a tree grown below
it; a leaf that turns out to be empty takes its branch with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from byways.regions._decide import Verdict
from byways.regions._rows import LEAF, OPEN, SPLIT, Rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from byways.regions._decide import Decider
    from byways.regions._split_tree import SplitTree

    Array = NDArray[np.float64]
    Paths = NDArray[np.int8]
    Point = Sequence[Fraction]

__all__ = ["Mended", "mend"]


@dataclass(slots=True, eq=False)
class Mended:
    """A tree in the making: nodes, multipliers per refused side, paths and points of leaves.

    A side is the number of one that the first tree had and that stays as it was, or multipliers.
    ``added`` counts the questions that the first tree did not have.
    """

    nodes: list[tuple[int, int]] = field(default_factory=list)
    sides: list[int | dict[int, Fraction]] = field(default_factory=list)
    paths: list[Paths] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    added: int = 0

    def size(self) -> tuple[int, int, int]:
        """Give what ``cut`` goes back to."""
        return len(self.nodes), len(self.sides), len(self.paths)

    def cut(self, size: tuple[int, int, int]) -> None:
        """Take back what came after."""
        nodes, sides, leaves = size
        del self.nodes[nodes:], self.sides[sides:], self.paths[leaves:], self.points[leaves:]


def mend(
    decider: Decider,
    rules: Rules,
    tree: SplitTree,
    points: Array,
    open_leaves: Iterable[int],
    open_sides: Iterable[int],
    leaf_paths: Paths,
) -> Mended:
    """Decide what is open and give the right tree.

    Args:
        decider: Decides cells in rationals.
        rules: The rules.
        tree: The suggested tree.
        points: Suggested witnesses of its leaves.
        open_leaves: Leaves whose witness is not proven yet.
        open_sides: Refused sides whose multipliers do not prove it yet.
        leaf_paths: Sides of all decisions, per leaf.

    Returns:
        The tree, every fact of which holds.
    """
    verdicts = {}
    for i in open_sides:
        part = slice(tree.start[i], tree.start[i + 1])
        guess = dict(zip(tree.row[part].tolist(), tree.value[part].tolist(), strict=True))
        verdicts[int(i)] = decider.decide(tree.paths[i], guess)
    witnesses: dict[int, Point | None] = {}
    for j in open_leaves:
        given = [Fraction(x) for x in points[j].tolist()]
        holds = rules.inside_exactly(leaf_paths[j], given)
        witnesses[int(j)] = given if holds else decider.decide(leaf_paths[j]).point
    mender = _Mender(decider, tree, points, verdicts, witnesses, leaf_paths)
    mender.copy(np.full(rules.decisions, OPEN, dtype=np.int8))
    return mender.result


class _Mender:
    """Goes through the suggested tree in preorder and writes the right one."""

    def __init__(
        self,
        decider: Decider,
        tree: SplitTree,
        points: Array,
        verdicts: dict[int, Verdict],
        witnesses: dict[int, Point | None],
        leaf_paths: Paths,
    ) -> None:
        self._decider, self._tree, self._points = decider, tree, points
        self._verdicts, self._witnesses, self._leaf_paths = verdicts, witnesses, leaf_paths
        self._node = self._side = self._leaf = 0  # the next ones of the suggested tree
        self.result = Mended()

    def copy(self, path: Paths) -> bool:
        """Copy the suggested tree below the next node; False, and nothing, if it is empty."""
        decision, kept = int(self._tree.decision[self._node]), int(self._tree.kept[self._node])
        self._node += 1
        if decision == LEAF:
            return self._copy_leaf()
        if kept != SPLIT:
            return self._copy_refusal(path, decision, kept)
        before = self.result.size()
        self.result.nodes.append((decision, SPLIT))
        low = self.copy(_at(path, decision, 0))
        high = self.copy(_at(path, decision, 1))
        if low and high:
            return True
        if not low and not high:
            self.result.cut(before)
            return False
        self._refuse_at(before[0], path, decision, int(high))
        return True

    def _copy_leaf(self) -> bool:
        leaf = self._leaf
        self._leaf += 1
        point = self._witnesses.get(leaf, self._points[leaf])
        if point is not None:
            self._write_leaf(self._leaf_paths[leaf], point)
        return point is not None

    def _write_leaf(self, path: Paths, point: Point) -> None:
        self.result.nodes.append((LEAF, SPLIT))
        self.result.paths.append(path)
        self.result.points.append(point)

    def _copy_refusal(self, path: Paths, decision: int, kept: int) -> bool:
        """Copy a node that keeps one side, if the other is indeed empty."""
        side = self._side
        self._side += 1
        verdict = self._verdicts.get(side)
        before = self.result.size()
        if verdict is None or verdict.multipliers is not None:
            self.result.nodes.append((decision, kept))
            self.result.sides.append(side if verdict is None else verdict.multipliers or {})
            if self.copy(_at(path, decision, kept)):
                return True
            self.result.cut(before)
            return False
        self.result.nodes.append((decision, SPLIT))
        other, point = _at(path, decision, 1 - kept), list(verdict.point or ())
        if kept == 1:
            self.grow(other, point)
        alive = self.copy(_at(path, decision, kept))
        if kept == 0:
            self.grow(other, point)
        if not alive:
            self._refuse_at(before[0], path, decision, 1 - kept)
        return True

    def _refuse_at(self, node: int, path: Paths, decision: int, kept: int) -> None:
        """Turn a split, one side of which wrote nothing, into a node that keeps the other."""
        self.result.added += 1
        verdict = self._decider.decide(_at(path, decision, 1 - kept))
        if verdict.multipliers is None:
            raise AssertionError("a cell is empty if all its parts are")
        self.result.nodes[node] = (decision, kept)
        at = sum(kept != SPLIT for _, kept in self.result.nodes[:node])
        self.result.sides.insert(at, verdict.multipliers)

    def grow(self, path: Paths, point: Point) -> None:
        """Write the tree below a path that has a witness, asking for every side in turn."""
        undecided = np.flatnonzero(path == OPEN)
        if not undecided.size:
            self._write_leaf(path, point)
            return
        decision = int(undecided[0])
        verdicts = [self._side_of(path, decision, side, point) for side in (0, 1)]
        self.result.added += 1
        alive = [side for side in (0, 1) if verdicts[side].point is not None]
        self.result.nodes.append((decision, alive[0] if len(alive) == 1 else SPLIT))
        if len(alive) == 1:
            self.result.sides.append(verdicts[1 - alive[0]].multipliers or {})
        for side in alive:
            self.grow(_at(path, decision, side), list(verdicts[side].point or ()))

    def _side_of(self, path: Paths, decision: int, side: int, point: Point) -> Verdict:
        """Decide one side; the one that the witness lies on needs no program."""
        there = _at(path, decision, side)
        if self._decider.holds(there, decision, point):
            return Verdict(tuple(point), None)
        return self._decider.decide(there)


def _at(path: Paths, decision: int, side: int) -> Paths:
    result = path.copy()
    result[decision] = side
    return result
