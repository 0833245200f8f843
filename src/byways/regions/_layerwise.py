"""Method "lp": the published algorithm, layer by layer with one linear program per candidate.

In each cell of the layers so far the next layer is affine, so its units are hyperplanes: they are
pulled back into the cell, and the cells of that arrangement are enumerated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.regions._cells import Cell, Cuts, Search, exhaustive, incremental
from byways.regions._engine import Batch
from byways.regions._feasibility import deepest_point, port
from byways.regions._signs import pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from byways.regions._engine import Order
    from byways.regions._feasibility import Port
    from byways.regions._problem import Problem, Stage

    Array = NDArray[np.float64]
    Bits = NDArray[np.uint8]

__all__ = ["LayerwiseWalk"]

_MOST_EXHAUSTIVE = 16  # decisions of a first layer whose sign vectors are all tried
_SHARES = np.append(0.0, 0.5 ** np.arange(1, 51))  # of the way to the middle of the domain


class LayerwiseWalk:
    """Walk over the cells of a problem with linear programs; see ``Walk`` for the attributes.

    ``work`` counts programs. The first layer is enumerated exhaustively if it has at most as many
    decisions as the domain has dimensions (and 16), all others incrementally. Depth-first over
    layers as over decisions, so memory does not grow with the number of cells. With n decisions in
    a layer, each of its cells costs at most 2 n programs.

    Args:
        problem: The network and its domain.
        order: What to do.
        solver: A port, or the name of one.

    Raises:
        ValueError: If there is no solver of that name.
        MissingDependencyError: If the solver is not installed.

    References:
        Drammis et al. (2024), "Parallel Algorithms for Exact Enumeration of Deep Neural Network
        Activation Regions", LayerWise-NNCE. Deviations: cells are open (margin above the
        tolerance), so that sign vectors of mere faces do not count; all layers go depth-first.
    """

    def __init__(self, problem: Problem, order: Order, solver: str | Port = "auto") -> None:
        chosen = port(solver) if isinstance(solver, str) else solver
        self._problem, self._order = problem, order
        self._search = Search(chosen, problem.domain_rows, problem.free, order.tolerance)
        self._middle = np.where(problem.free, 0.0, 0.5)
        self._steps = self._walk()
        self.finished = False
        self.layer_counts = np.zeros(len(problem.stages), dtype=np.int64)
        self.ambiguous = 0
        self.explored = 0.0
        self.work = 0

    def advance(self, leaves: int, work: int) -> Batch:
        """Go on until ``leaves`` more leaves or about ``work`` more programs."""
        bits, points, count = [], [], 0
        until = self._search.programs + work
        while count < leaves and self._search.programs < until:
            try:
                leaf = next(self._steps)
            except StopIteration:
                self.finished, self._search.explored = True, 1.0
                break
            if leaf is None:
                continue
            count += 1
            if self._order.listing:
                bits.append(leaf.bits)
            if self._order.witnesses:
                points.append(self._inside(leaf))
        self.ambiguous, self.work = self._search.ambiguous, self._search.programs
        self.explored = self._search.explored
        listed = np.zeros((len(bits), self._problem.decisions), dtype=np.uint8)
        for place, row in zip(listed, bits, strict=True):
            place[: len(row)] = row
        return Batch(pack(listed), np.array(points).reshape(-1, self._problem.dim), count)

    def _walk(self) -> Iterator[Cell | None]:
        """Give the leaves, and None after each step that gave none."""
        problem = self._problem
        if len(problem.domain_rows):
            self._search.programs += 1
            none = np.zeros((0, problem.dim + 1))
            depth = deepest_point(none, problem.domain_rows, problem.free, self._search.port)
            if depth.margin <= self._order.tolerance:
                return
            self._middle = depth.point
        root = Cell(np.zeros(0, dtype=np.uint8), np.zeros((0, problem.dim + 1)), self._middle, 1.0)
        yield from self._descend(0, root, problem.inputs())

    def _descend(self, index: int, parent: Cell, values: Array) -> Iterator[Cell | None]:
        """Give the leaves below a cell whose decisions are made up to stage ``index``.

        ``values`` are the rows of the stage's inputs, ``parent.bits`` all decisions so far.
        """
        end = self._problem.decisions if self._order.stop is None else self._order.stop
        if len(parent.bits) == end:
            self._search.explored += parent.mass
            yield parent
            return
        stage = self._problem.stages[index]
        rows = stage.weight @ values
        rows[:, 0] += stage.bias
        cuts = self._cuts(stage, rows, values, len(parent.bits), end)
        enumerate_cells = exhaustive if index == 0 and self._suits(cuts, stage) else incremental
        for found in enumerate_cells(parent, cuts, self._search):
            if found is None:
                yield None
                continue
            cell = found._replace(bits=np.concatenate([parent.bits, found.bits]))
            if len(cell.bits) < self._problem.ends[index]:  # stopped within the stage
                yield from self._descend(index, cell, values)
                continue
            forced = len(self._order.prefix)
            self.layer_counts[index] += len(cell.bits) > forced or forced == 0
            yield from self._descend(index + 1, cell, stage.outputs(rows, found.bits))

    def _cuts(self, stage: Stage, rows: Array, values: Array, start: int, end: int) -> Cuts:
        """Lay out the decisions of a stage as far as they are wanted, scaled to unit gradient."""
        count = min(len(stage.unit), end - start)
        size = float(np.abs(values).max(initial=0.0))
        scaled = self._problem.decision_rows(stage, rows, size)
        level = rows[stage.unit, 0] - stage.threshold
        return Cuts(
            rows=scaled[:count],
            follows=(np.diff(stage.unit, prepend=-1) == 0)[:count],
            doubtful=(~scaled.any(axis=1) & (level != 0.0))[:count],
            given=self._order.prefix[start : start + count],
            ends=dict(stage.windows),
            within=lambda bits: self._problem.decision_rows(stage, rows, size, bits),
        )

    def _suits(self, cuts: Cuts, stage: Stage) -> bool:
        """Tell whether to try all sign vectors of the first stage."""
        count = len(cuts.rows)
        whole = count == len(stage.unit) and not len(self._order.prefix) and not stage.windows
        return whole and count <= min(self._problem.dim, _MOST_EXHAUSTIVE)

    def _inside(self, leaf: Cell) -> Array:
        """Move a leaf's witness off the border of the domain, towards its middle.

        The margin to all rows and sides is a concave function of the way; the best of a few points
        is taken. Somewhere it is positive, because the middle is inside the domain.
        """
        points = leaf.witness + _SHARES[:, None] * (self._middle - leaf.witness)
        rows = np.concatenate([leaf.rows, self._problem.domain_rows])
        margins = (rows[:, 0] + points @ rows[:, 1:].T).min(axis=1, initial=np.inf)
        bounded = points[:, ~self._problem.free]
        sides = np.minimum(bounded, 1.0 - bounded).min(axis=1, initial=np.inf)
        best: Array = points[int(np.argmax(np.minimum(margins, sides)))]
        return best
