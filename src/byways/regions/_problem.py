"""The form in which every engine sees a question: a network on the unit box.

Engine coordinates ``s`` are chosen so that a bounded side is [0, 1]; a coordinate of the whole
space is free. An affine function of ``s`` is a *row* ``(constant, coefficients)`` of length
``d + 1``. A unit with k breakpoints asks k *decisions* "is z above t_i?"; each is one bit and one
hyperplane, so engines know nothing of segments. Linear layers without breakpoints are folded into
the stage that follows them.

Decisions of a *window*, a maximum of several numbers, are made together: decision j asks "is entry
j the largest?", at most one is answered with 1, and "none" is a state of its own. A window of k + 1
entries has k decisions and so k hyperplanes in each state, but other ones in each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from byways.core.affine import Affine
from byways.core.domains import Box, Polytope
from byways.core.errors import DomainError
from byways.regions._domains import Slice, WholeSpace
from byways.regions._maxima import collapsed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.core.chain import Layer, LayerChain
    from byways.regions._domains import Domain
    from byways.regions._maxima import Maxima

    Array = NDArray[np.float64]
    Bits = NDArray[np.uint8]

__all__ = ["Problem", "Stage"]

# A gradient so much smaller than the numbers it was summed from is rounding: a constant unit.
NEGLIGIBLE = 1e-12
_LARGEST = 1e150


@dataclass(frozen=True, eq=False)
class Stage:
    """One hidden layer: ``z = weight h + bias`` on the previous stage's values, and its pieces.

    ``unit`` and ``threshold`` have one entry per decision, thresholds of a unit ascending.
    ``slopes`` and ``intercepts`` have shape ``(units, pieces)``; a unit with fewer pieces than
    others repeats its last. The first ``decided`` units have decisions, in the order of the layer;
    behind them come those that are linear, such as units that carry a value past the layer.
    ``windows`` are the ranges of more than one decision that are made together.
    """

    weight: Array
    bias: Array
    unit: NDArray[np.int64]
    threshold: Array
    slopes: Array
    intercepts: Array
    decided: int
    windows: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, weight: Array, bias: Array, layer: Layer) -> tuple[Stage, NDArray[np.intp]]:
        """Lay out the decisions of a layer whose map is given.

        Returns:
            The stage, and for each of its units which unit of the layer it is.
        """
        order = np.concatenate([layer.decided, np.delete(np.arange(layer.width), layer.decided)])
        unit, threshold = layer.cuts
        slopes, intercepts = (table[order] for table in layer.pieces())
        stage = cls(
            weight=np.ascontiguousarray(weight[order]),
            bias=bias[order],
            unit=np.searchsorted(layer.decided, unit),
            threshold=threshold,
            slopes=slopes,
            intercepts=intercepts,
            decided=layer.decided.size,
        )
        return stage, order

    def segments(self, bits: Bits) -> NDArray[np.intp]:
        """Turn decision bits ``(..., decisions)`` into segments ``(..., units)``."""
        result = np.zeros((*bits.shape[:-1], len(self.bias)), dtype=np.intp)
        if len(self.unit) == self.decided:  # one threshold each
            result[..., : self.decided] = bits
            return result
        running = np.zeros((*bits.shape[:-1], len(self.unit) + 1), dtype=np.intp)
        np.cumsum(bits, axis=-1, dtype=np.intp, out=running[..., 1:])
        begin = np.searchsorted(self.unit, np.arange(self.decided + 1))
        result[..., : self.decided] = np.diff(running[..., begin], axis=-1)
        return result

    def outputs(self, rows: Array, bits: Bits) -> Array:
        """Give the rows of the units' values, from those of their pre-activations and the bits."""
        unit, segment = np.arange(len(self.bias)), self.segments(bits)
        values: Array = self.slopes[unit, segment][:, None] * rows
        values[:, 0] += self.intercepts[unit, segment]
        return values


@dataclass(frozen=True, eq=False)
class Problem:
    """A network and a domain in engine coordinates.

    ``free`` marks coordinates without bounds; ``domain_rows`` are further constraints
    ``row . (1, s) >= 0``, scaled to unit gradient; ``embed`` maps engine coordinates to inputs.
    ``maxima`` tells how segments of windows are those of the network, None if it has none.
    """

    stages: tuple[Stage, ...]
    free: NDArray[np.bool_]
    domain_rows: Array
    embed: Affine
    maxima: Maxima | None = None

    @classmethod
    @lru_cache(maxsize=8)
    def of(cls, chain: LayerChain, domain: Domain, *, winners: bool = False) -> Problem:
        """Restate a checked chain and domain; kept, for a question asks for it many times.

        Args:
            chain: The network.
            domain: Where to look.
            winners: Whether a window of a max-pooling has a state per entry, instead of a decision
                per match of its tournament.
        """
        embed, free = _coordinates(domain)
        rows = np.zeros((0, len(free) + 1))
        if isinstance(domain, Polytope):
            normals = -domain.A @ embed.weight
            rows = np.column_stack([domain.b - domain.A @ embed.bias, normals])
            rows = rows / np.maximum(np.linalg.norm(normals, axis=1), 1e-300)[:, None]
        maxima = collapsed(chain) if winners else None
        return cls(_stages(chain, maxima), free, rows, embed, maxima)

    @property
    def dim(self) -> int:
        """Number of engine coordinates."""
        return len(self.free)

    @property
    def decisions(self) -> int:
        """Number of decisions of all stages."""
        return sum(len(stage.unit) for stage in self.stages)

    @property
    def ends(self) -> NDArray[np.int64]:
        """For each stage the number of decisions up to its end."""
        return np.cumsum([len(stage.unit) for stage in self.stages], dtype=np.int64)

    @cached_property
    def windows(self) -> NDArray[np.int64]:
        """For each decision where those begin and end that are made with it, ``(decisions, 2)``."""
        start = np.arange(self.decisions, dtype=np.int64)
        result = np.stack([start, start + 1], axis=1)
        for start, stage in zip([0, *self.ends], self.stages, strict=False):
            for first, end in stage.windows:
                result[start + first : start + end] = start + first, start + end
        return result

    @property
    def contested(self) -> bool:
        """Whether some window has more than two states."""
        return any(stage.windows for stage in self.stages)

    def across(self, bits: Bits, decision: NDArray[np.integer]) -> Bits:
        """Give the cells behind a hyperplane of each cell: another state of the decision's window.

        Args:
            bits: Decision bits of cells, shape ``(n, decisions)``.
            decision: One decision for each, shape ``(n,)``.
        """
        result, rows = bits.copy(), np.arange(len(bits))
        inside = np.arange(bits.shape[1])
        window = self.windows[decision]
        result[(inside >= window[:, :1]) & (inside < window[:, 1:])] = 0
        result[rows, decision] = 1 - bits[rows, decision]
        return result

    def inputs(self) -> Array:
        """Give the rows of the network's inputs as functions of ``s``, shape ``(n_0, d + 1)``."""
        return np.column_stack([self.embed.bias, self.embed.weight])

    def require_interior(self, tolerance: float) -> None:
        """Refuse a polytope without interior.

        Raises:
            DomainError: If no ball of radius ``tolerance`` fits, in units of the box's sides.
        """
        if not len(self.domain_rows):
            return
        from byways.regions._feasibility import deepest_point

        depth = deepest_point(self.domain_rows, np.zeros((0, self.dim + 1)), self.free)
        if depth.margin <= tolerance:
            raise DomainError(
                "the polytope has no interior inside its box: the deepest point satisfies A x <= b "
                f"with a margin of {depth.margin:.3g} (in units of the box's sides); check A, b "
                "and the box"
            )

    def unit_rows(self, bits: Bits) -> list[Array]:
        """Give for each stage the rows of its pre-activations, on the cell that ``bits`` names.

        Args:
            bits: Decisions made so far; the stages whose predecessors are all decided are given.
        """
        values, used, result = self.inputs(), 0, []
        for stage in self.stages:
            rows = stage.weight @ values
            rows[:, 0] += stage.bias
            result.append(rows)
            part = bits[used : used + len(stage.unit)]
            used += len(stage.unit)
            if used > len(bits):
                break
            values = stage.outputs(rows, part)
        return result

    def decision_rows(
        self, stage: Stage, rows: Array, size: float, bits: Bits | None = None
    ) -> Array:
        """Turn rows of pre-activations into rows of decisions, scaled to unit gradient.

        A unit that is constant on the cell gets the row ``(+1 | 0 | -1, 0, ..)``. In a window an
        entry's rival is entry 0, or once the bits are known the winner; of two that are equal on
        the whole cell the first wins.

        Args:
            stage: The stage.
            rows: Pre-activations as rows, shape ``(units, d + 1)``.
            size: Largest entry of the rows of the stage's inputs, the yardstick for rounding.
            bits: The stage's decisions, where they are known.
        """
        result = rows[stage.unit].copy()
        result[:, 0] -= stage.threshold
        noise = NEGLIGIBLE * size * np.abs(stage.weight).sum(axis=1)[stage.unit]
        equal = np.zeros(len(result))
        for first, end in stage.windows:
            known = np.zeros(0) if bits is None else bits[first:end]
            for winner in first + np.flatnonzero(known):
                others = np.delete(np.arange(first, end), winner - first)
                result[others] -= result[winner]
                noise[others] += noise[winner]
                equal[first:winner] = 1.0
        gradient = np.linalg.norm(result[:, 1:], axis=1)
        constant = gradient <= noise
        level = np.where(np.abs(result[:, 0]) <= noise, equal, np.sign(result[:, 0]))
        result /= np.where(constant, 1.0, gradient)[:, None]
        result[constant] = 0.0
        result[constant, 0] = level[constant]
        return result

    def cell_rows(self, bits: Bits) -> Array:
        """Give all decision rows of a cell, ``row . (1, s) > 0`` inside, ``(decisions, d + 1)``.

        Rows of units that are constant on the cell are zero but for the constant.
        """
        values, used, result = self.inputs(), 0, [np.zeros((0, self.dim + 1))]
        for stage, rows in zip(self.stages, self.unit_rows(bits), strict=True):
            part = bits[used : used + len(stage.unit)]
            used += len(stage.unit)
            size = float(np.abs(values).max(initial=0.0))
            decided = self.decision_rows(stage, rows, size, part)
            result.append(np.where(part[:, None] > 0, decided, -decided))
            values = stage.outputs(rows, part)
        return np.concatenate(result)

    def segments(self, bits: Bits) -> NDArray[np.uint8]:
        """Turn decision bits ``(..., decisions)`` into the network's segments ``(..., units)``."""
        parts = np.split(bits, self.ends[:-1], axis=-1) if self.stages else []
        found = [
            stage.segments(part)[..., : stage.decided]
            for stage, part in zip(self.stages, parts, strict=True)
        ]
        empty = np.zeros((*bits.shape[:-1], 0), dtype=np.uint8)
        joined = np.concatenate([empty, *found], axis=-1).astype(np.uint8)
        return joined if self.maxima is None else self.maxima.expanded(joined).astype(np.uint8)

    def bits(self, segments: NDArray[np.integer]) -> Bits:
        """Turn segments ``(..., units)`` into decision bits ``(..., decisions)``."""
        if self.maxima is not None:
            segments = self.maxima.contracted(segments)
        parts, used = [np.zeros((*segments.shape[:-1], 0), dtype=np.uint8)], 0
        for stage in self.stages:
            part = segments[..., used : used + stage.decided]
            used += stage.decided
            place = np.arange(len(stage.unit)) - np.searchsorted(stage.unit, stage.unit)
            parts.append((part[..., stage.unit] > place).astype(np.uint8))
        return np.concatenate(parts, axis=-1)


def _coordinates(domain: Domain) -> tuple[Affine, NDArray[np.bool_]]:
    """Choose engine coordinates: the map to inputs, and which are free."""
    if isinstance(domain, WholeSpace):
        return Affine.identity(domain.dim), np.ones(domain.dim, dtype=np.bool_)
    box = domain if isinstance(domain, Box) else domain.box
    axes = np.flatnonzero(box.lower < box.upper)
    stretch = np.zeros((box.dim, axes.size))
    stretch[axes, np.arange(axes.size)] = (box.upper - box.lower)[axes]
    embed = Affine(stretch, box.lower)
    if isinstance(domain, Slice):
        embed = embed.then(Affine(domain.directions.T, domain.origin))
    return embed, np.zeros(axes.size, dtype=np.bool_)


def _stages(chain: LayerChain, maxima: Maxima | None) -> tuple[Stage, ...]:
    """Lay out the layers, each with those before it that have no breakpoints."""
    _require_moderate_weights(chain)
    stages, pending = [], Affine.identity(chain.input_size)
    windows = {} if maxima is None else maxima.by_layer()
    for i, layer in enumerate(chain.layers if maxima is None else maxima.chain.layers):
        pending = pending.then(Affine(layer.map.to_dense(), layer.bias))
        if layer.decided.size:
            stage, order = Stage.of(pending.weight, pending.bias, layer)
            stages.append(replace(stage, windows=windows.get(i, ())))
            pending = Affine(np.eye(layer.width)[np.argsort(order)], np.zeros(layer.width))
        else:
            slopes, intercepts = (table[:, 0] for table in layer.pieces())
            pending = Affine(slopes[:, None] * pending.weight, slopes * pending.bias + intercepts)
    return tuple(stages)


def _require_moderate_weights(chain: LayerChain) -> None:
    """Refuse numbers whose squares leave float64: they would be infinite, or taken for zero."""
    size = 1.0  # of what a layer computes from inputs in [-1, 1], at most
    for i, layer in enumerate(chain.layers):
        weights = np.abs(layer.map.to_dense())
        rows = weights.max(axis=1, initial=0.0)
        with np.errstate(over="ignore"):
            size = size * float(weights.sum(axis=1).max(initial=0.0))
            size += float(np.abs(layer.bias).max(initial=0.0))
        if not size < _LARGEST:
            raise DomainError(
                f"layer {i} computes numbers up to {size:.3g}, whose squares overflow; divide its "
                "weights and bias by a power of two (ReLU networks keep their regions so)"
            )
        if ((rows > 0) & (rows < 1 / _LARGEST)).any():
            raise DomainError(
                f"a unit of layer {i} has no weight above {1 / _LARGEST:g}, and squares of such "
                "numbers are zero; set them to zero, or multiply the unit's weights and bias"
            )
