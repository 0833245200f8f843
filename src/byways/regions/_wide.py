"""Method "wide": many inputs, few units in the first layer.

The network sees of its inputs only the first layer's pre-activations. In each first-layer cell the
later layers are an arrangement in as many dimensions as units are on, few enough for dictionaries
of some hundred numbers; what is left to ask is whether a node of that arrangement meets the image
of the box. Nearly all nodes are answered by certificates at their vertex or by cuts that others
left, the rest by Newton's method on the inputs, and the few that it cannot decide by a linear
program: by an own simplex method, or where rounding may tell by an outside solver. So the answer
is complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.regions._engine import Batch, Subtree, given_away
from byways.regions._net import Net
from byways.regions._signs import words_for
from byways.regions._tree import drop_oldest
from byways.regions._wide_kernel import advance, leave
from byways.regions._wide_space import Space, first_rows
from byways.regions._wide_tree import (
    ALIVE,
    AMBIGUOUS,
    ASK,
    BIT,
    BY_WITNESS,
    CERTIFICATE,
    COLUMNS,
    CURRENT,
    EXPLORED,
    FORCED,
    LEVEL,
    NODES,
    NOTHING,
    OWN_PROGRAMS,
    PENDING,
    PIVOTS,
    POINT,
    PROGRAMS,
    ROOT,
    STOP,
    TO_VISIT,
    UNRESOLVED,
    WARM,
    plant,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._engine import Order
    from byways.regions._feasibility import Depth, Port
    from byways.regions._problem import Problem

__all__ = ["WideWalk"]


class WideWalk:
    """Walk over the cells of a problem; see ``Walk`` for the attributes.

    Memory is that of one small dictionary per level. ``programs`` counts the nodes that took a
    linear program.

    Raises:
        ValueError: If the problem does not suit the method.
    """

    def __init__(self, problem: Problem, order: Order) -> None:
        self._problem, self._order = problem, order
        self._net = Net.of(problem)
        self._space = Space.of(problem, order.tolerance)
        self._tree = plant(problem, order, self._space)
        self._port: Port | None = None
        self._first_rows = first_rows(problem)
        self._given = 0.0
        self.finished = False

    @property
    def layer_counts(self) -> NDArray[np.int64]:
        """Cells completed per stage."""
        return self._tree.counts

    @property
    def ambiguous(self) -> int:
        """Decisions within the tolerance of zero."""
        return int(self._tree.cursor[AMBIGUOUS])

    @property
    def explored(self) -> float:
        """Share of the tree that is done."""
        return 1.0 - self._given if self.finished else float(self._tree.number[EXPLORED])

    @property
    def work(self) -> int:
        """Decisions tested and pivots made."""
        return int(self._tree.cursor[NODES] + self._tree.cursor[PIVOTS])

    @property
    def programs(self) -> int:
        """Linear programs solved for what nothing else decided."""
        return int(self._tree.cursor[OWN_PROGRAMS])

    @property
    def outside_programs(self) -> int:
        """Those of them that an outside solver had to repeat."""
        return int(self._tree.cursor[PROGRAMS])

    def advance(self, leaves: int, work: int) -> Batch:
        """Go on for at most ``leaves`` leaves, and about ``work`` tests and pivots."""
        cursor = self._tree.cursor
        kept = leaves if self._order.listing else 0
        words = np.zeros((kept, words_for(self._problem.decisions)), dtype=np.uint64)
        points = np.empty((kept if self._order.witnesses else 0, self._problem.dim))
        until, found = self.work + work, 0
        while True:
            found += advance(
                self._net,
                self._space,
                self._tree,
                words[found:],
                points[found:],
                leaves - found,
                until,
                self._order.tolerance,
            )
            if cursor[ASK] == POINT:
                # A leaf stops at the path's end, or within the first layer's orthant.
                level = max(int(cursor[STOP]), len(self._first_bits()))
                depth = self._deepest(self._tree.bits[:level])
                points[found - 1] = _off_border(depth)
            elif cursor[ASK] == ALIVE:
                self._resolve()
            else:
                break
            cursor[ASK] = NOTHING
        roots = 1 << self._tree.varying.size
        self.finished = bool(cursor[CURRENT] < 0 and not cursor[PENDING] and cursor[ROOT] == roots)
        return Batch(words[:found], points[:found], found)

    @property
    def open(self) -> int:
        """Number of subtrees that are still to visit; 0 on the way through the prefix."""
        cursor, slot = self._tree.cursor, self._tree.cursor[CURRENT]
        started = cursor[ROOT] > 0 or not self._tree.varying.size
        if not started or (slot >= 0 and self._tree.frame[slot, LEVEL] <= cursor[FORCED]):
            return 0
        unplanted = (1 << self._tree.varying.size) - int(cursor[ROOT])
        return int(cursor[PENDING] + (slot >= 0)) + unplanted.bit_count()

    def share_out(self, kept: float = 0.0) -> list[Subtree]:
        """Give away the oldest of what is left, all roots that were not planted yet among it."""
        tree, cursor = self._tree, self._tree.cursor
        rest, pending, current = self._blocks(), int(cursor[PENDING]), int(cursor[CURRENT])
        slots = [*tree.stack[TO_VISIT, :pending].tolist(), *([current] if current >= 0 else [])]
        going = slots[: given_away(tree.mass[slots], kept)]
        for slot in going:
            prefix = tree.bits[: tree.frame[slot, LEVEL]].copy()  # the path leads past its root
            if slot != current:
                prefix[-1] = tree.frame[slot, BIT]
            # A cell that this walk counts has to be one; others turn out empty where they go.
            counted = len(prefix) in self._net.decision_start[1:]
            doubtful = counted and tree.frame[slot, CERTIFICATE] == UNRESOLVED
            if doubtful and not self._is_alive(self._deepest(prefix)):
                tree.number[EXPLORED] += tree.mass[slot]
                continue
            rest.append(Subtree(prefix, float(tree.mass[slot])))
        for subtree in rest:
            tree.counts[:] += self._net.decision_start[1:] == len(subtree.prefix)
            self._given += subtree.mass
        cursor[ROOT] = 1 << tree.varying.size
        drop_oldest(cursor, tree.stack, len(going))
        self.finished = bool(cursor[CURRENT] < 0 and not cursor[PENDING])
        return rest

    def _blocks(self) -> list[Subtree]:
        """Give the roots that were not planted yet, as few subtrees."""
        tree, size = self._tree, self._tree.varying.size
        first = np.maximum(tree.settled[: len(self._space.settled)], 0).astype(np.uint8)
        forced = min(int(tree.cursor[FORCED]), len(first))
        first[:forced] = tree.prefix[:forced]
        blocks, root = [], int(tree.cursor[ROOT])
        while root < 1 << size:
            low = (root & -root).bit_length() - 1 if root else size  # roots in the block: 2^low
            first[tree.varying] = (root >> np.arange(size - 1, -1, -1)) & 1
            end = tree.varying[size - low - 1] + 1 if low < size else 0
            blocks.append(Subtree(first[:end].copy(), 2.0 ** (low - size)))
            root += 1 << low
        return blocks

    def _first_bits(self) -> NDArray[np.uint8]:
        """Give the decisions that a root has taken."""
        return self._tree.bits[: len(self._space.settled) if self._space.apex else 0]

    def _resolve(self) -> None:
        """Decide by a linear program whether the current node is alive."""
        tree, cursor = self._tree, self._tree.cursor
        slot = int(cursor[CURRENT])
        depth = self._deepest(tree.bits[: tree.frame[slot, LEVEL]])
        if not self._is_alive(depth):
            leave(cursor, tree.stack, tree.number, tree.mass, slot)
            return
        space, d = self._space, int(cursor[COLUMNS])
        z = space.centre + space.W[:, : self._problem.dim] @ (depth.point - 0.5)
        tree.seen[slot, :d] = (z[tree.column[:d]] - tree.base[:d]) / tree.scale[:d]
        tree.frame[slot, WARM] = 0
        tree.frame[slot, CERTIFICATE] = BY_WITNESS

    def _is_alive(self, depth: Depth) -> bool:
        """Decide by the deepest point of a cell, and note a doubt."""
        cursor, tolerance = self._tree.cursor, self._order.tolerance
        cursor[PROGRAMS] += 1
        near = abs(depth.margin) <= tolerance and depth.margin != 0.0
        cursor[AMBIGUOUS] += near
        return depth.margin > tolerance

    def _deepest(self, bits: NDArray[np.uint8]) -> Depth:
        """Give the deepest point of the cell of some decisions."""
        from byways.regions._feasibility import deepest_point, port

        if self._port is None:
            self._port = port()
        rows = self._rows(bits)
        none = np.zeros((0, self._problem.dim + 1))
        return deepest_point(rows, none, self._problem.free, self._port, box=False)

    def _rows(self, bits: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Give the rows of a cell whose last stage may be incomplete; constants left out."""
        problem, rows, size, used = self._problem, self._first_rows, 1.0, 0
        result = []
        for stage, following in zip(problem.stages, (*problem.stages[1:], None), strict=True):
            part = bits[used : used + len(stage.unit)]
            used += len(stage.unit)
            decided = problem.decision_rows(stage, rows, size)[: len(part)]
            result.append(np.where(part[:, None] > 0, 1.0, -1.0) * decided)
            if used > len(bits) or following is None:
                break
            values = stage.outputs(rows, part)
            size = float(np.abs(values).max(initial=0.0))
            rows = following.weight @ values
            rows[:, 0] += following.bias
        found = np.concatenate(result)
        return found[found[:, 1:].any(axis=1)]


def _off_border(depth: Depth) -> NDArray[np.float64]:
    """Move a deepest point towards the middle of the box by a part of its margin.

    Rows have unit gradient, so that they fall by no more than the way.
    """
    way = 0.5 - depth.point
    share = 0.5 * depth.margin / max(float(np.linalg.norm(way)), depth.margin, 1e-300)
    return depth.point + max(share, 0.0) * way
