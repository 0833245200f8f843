"""A split tree put right: what floating point did not prove is decided in rationals.

A refused side that turns out to be a region, or several, becomes a split with a tree grown below
it; a leaf that turns out to be empty takes its branch with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.regions._decide import Decider, Verdict
from byways.regions._rows import LEAF, OPEN, SPLIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from byways.regions._rows import Rules
    from byways.regions._split_tree import SplitTree

    Array = NDArray[np.float64]
    Paths = NDArray[np.int8]
    Point = Sequence[Fraction]
    Job = tuple[Callable[..., None], Any]  # a method and its arguments

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


def mend(
    rules: Rules,
    tree: SplitTree,
    points: Array,
    open_sides: Iterable[int],
    open_leaves: Iterable[int],
) -> Mended:
    """Decide what is open and give the right tree.

    Args:
        rules: The rules.
        tree: The suggested tree.
        points: Suggested witnesses of its leaves.
        open_sides: Refused sides whose multipliers do not prove it yet.
        open_leaves: Leaves whose witness is not proven yet.

    Returns:
        The tree, every fact of which holds.
    """
    mender = _Mender(rules, tree, points, set(open_sides), set(open_leaves))
    return mender.run()


class _Mender:
    """Goes through the suggested tree in preorder and writes the right one.

    ``_jobs`` is a stack in place of recursion, because trees may be deep.
    """

    def __init__(
        self,
        rules: Rules,
        tree: SplitTree,
        points: Array,
        open_sides: set[int],
        open_leaves: set[int],
    ) -> None:
        self._rules, self._decider, self._tree, self._points = rules, Decider(rules), tree, points
        self._open_sides, self._open_leaves = open_sides, open_leaves
        self._node = self._side = self._leaf = 0  # the next ones of the suggested tree
        self._jobs: list[Job] = []
        self._result = Mended()

    def run(self) -> Mended:
        """Do all there is to do."""
        root = np.full(self._rules.decisions, OPEN, dtype=np.int8)
        self._jobs.append((self._copy, (root,)))
        while self._jobs:
            job, arguments = self._jobs.pop()
            job(*arguments)
        return self._result

    def _copy(self, path: Paths) -> None:
        """Copy the suggested tree below the next node; nothing, if it is empty."""
        decision, kept = int(self._tree.decision[self._node]), int(self._tree.kept[self._node])
        self._node += 1
        if decision == LEAF:
            self._copy_leaf(path)
        elif kept == SPLIT:
            self._branch(path, decision, [(self._copy, (_at(path, decision, i),)) for i in (0, 1)])
        else:
            self._copy_refusal(path, decision, kept)

    def _branch(self, path: Paths, decision: int, sides: list[Job]) -> None:
        """Write a split, both sides of it, and then look whether both wrote something."""
        before = len(self._result.nodes)
        self._result.nodes.append((decision, SPLIT))
        below: list[int] = []
        middle = (lambda: below.append(len(self._result.nodes)), ())
        close = (self._close, (path, decision, before, below))
        self._jobs += [close, sides[1], middle, sides[0]]

    def _close(self, path: Paths, decision: int, node: int, below: list[int]) -> None:
        """Turn a split, one side of which wrote nothing, into a node that keeps the other."""
        low, high = below[0] > node + 1, len(self._result.nodes) > below[0]
        if not low and not high:
            self._result.nodes.pop()
        elif not low or not high:
            self._refuse_at(node, path, decision, int(high))

    def _copy_leaf(self, path: Paths) -> None:
        leaf = self._leaf
        self._leaf += 1
        point: Point | None = self._points[leaf].tolist()
        if leaf in self._open_leaves:
            point = [Fraction(x) for x in self._points[leaf].tolist()]
            if not self._rules.inside_exactly(path, point):
                point = self._decider.decide(path).point
        if point is not None:
            self._write_leaf(path, point)

    def _write_leaf(self, path: Paths, point: Point) -> None:
        self._result.nodes.append((LEAF, SPLIT))
        self._result.paths.append(path)
        self._result.points.append(point)

    def _copy_refusal(self, path: Paths, decision: int, kept: int) -> None:
        """Copy a node that keeps one side, if the other is indeed empty."""
        side, other = self._side, _at(path, decision, 1 - kept)
        self._side += 1
        multipliers: int | dict[int, Fraction] | None = side
        if side in self._open_sides:
            part = slice(self._tree.start[side], self._tree.start[side + 1])
            guess = zip(self._tree.row[part].tolist(), self._tree.value[part].tolist(), strict=True)
            point, multipliers = self._decider.decide(other, dict(guess))
        goes_on = self._copy, (_at(path, decision, kept),)
        if multipliers is None:
            grows = self.grow, (other, point)
            self._branch(path, decision, [grows, goes_on] if kept else [goes_on, grows])
            return
        size = len(self._result.nodes), len(self._result.sides)
        self._result.nodes.append((decision, kept))
        self._result.sides.append(multipliers)
        self._jobs += [(self._withdraw, size), goes_on]

    def _withdraw(self, nodes: int, sides: int) -> None:
        """Take a refusal back below which nothing was written."""
        if len(self._result.nodes) == nodes + 1:
            del self._result.nodes[nodes:], self._result.sides[sides:]

    def _refuse_at(self, node: int, path: Paths, decision: int, kept: int) -> None:
        self._result.added += 1
        multipliers = self._decider.decide(_at(path, decision, 1 - kept)).multipliers
        if multipliers is None:
            raise AssertionError("a cell is empty if all its parts are")
        self._result.nodes[node] = (decision, kept)
        at = sum(kept != SPLIT for _, kept in self._result.nodes[:node])
        self._result.sides.insert(at, multipliers)

    def grow(self, path: Paths, point: Point) -> None:
        """Write the tree below a path that has a witness, asking for every side in turn."""
        undecided = np.flatnonzero(path == OPEN)
        if not undecided.size:
            self._write_leaf(path, point)
            return
        decision = int(undecided[0])
        verdicts = [self._side_of(path, decision, side, point) for side in (0, 1)]
        self._result.added += 1
        alive = [side for side in (0, 1) if verdicts[side].point is not None]
        self._result.nodes.append((decision, alive[0] if len(alive) == 1 else SPLIT))
        if len(alive) == 1:
            self._result.sides.append(verdicts[1 - alive[0]].multipliers or {})
        for side in reversed(alive):
            there = _at(path, decision, side), list(verdicts[side].point or ())
            self._jobs.append((self.grow, there))

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
