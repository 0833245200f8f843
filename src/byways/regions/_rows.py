"""The rows of a proof, and what proves a fact about them, in rationals.

A *decision* asks "is unit i above its breakpoint t?". The row of a decision is ``z - t``, negated
on side 0: an affine function of the domain's coordinates, given the sides of earlier layers. Rows
``b - A x`` of a polytope come before them. Sums of rows are formed by going back through the
layers, so that no affine map is ever composed.

Nothing here decides anything: a fact is proven by numbers that are given, or it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.exact import rational

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from byways.core.chain import Layer, LayerChain

    Array = NDArray[np.float64]
    Numbers = NDArray[Any]  # floats or rationals
    Paths = NDArray[np.int8]

__all__ = ["LEAF", "OPEN", "SPLIT", "ZERO", "Rows", "Rules"]

LEAF = SPLIT = OPEN = -1  # in "decision", in "kept", in a path
ZERO = Fraction(0)


class Rules:
    """What a row is and what proves a fact, in rationals.

    ``paths`` have one entry per decision: side 0, side 1, or -1 where it is open. ``layers`` are
    those that have rows, ``domain`` holds the normals and right-hand sides of a polytope.
    """

    def __init__(self, chain: LayerChain, domain: Any) -> None:
        box, infinite = getattr(domain, "box", domain), np.full(domain.dim, np.inf)
        self.lower, self.upper = getattr(box, "lower", -infinite), getattr(box, "upper", infinite)
        self.bounded = bool(np.isfinite(self.upper).all())
        layers = [Rows.of(item) for item in chain.layers[: max(chain.hidden, default=-1) + 1]]
        if hasattr(domain, "directions"):  # of a slice, whose coordinates are the box's
            layers.insert(0, Rows.embedding(domain.directions, domain.origin))
        normals = getattr(domain, "A", np.zeros((0, self.lower.size)))
        self.layers, self.domain = layers, (normals, getattr(domain, "b", np.zeros(0)))
        self.domain_rows = len(normals)
        self.decisions = sum(layer.decisions for layer in layers)

    def empty_exactly(self, path: Paths, multipliers: Mapping[int, Fraction]) -> bool:
        """Tell whether the combination proves a path empty, in rationals."""
        m, used = self.domain_rows, {i: v for i, v in multipliers.items() if v}
        if any(v < 0 or (i >= m and path[i - m] == OPEN) for i, v in used.items()):
            return False
        constant, gradient = self.combination(path, used)
        if not self.bounded and gradient.any():
            return False
        sides = zip(gradient, self.lower.tolist(), self.upper.tolist(), strict=True)
        top = constant + sum((g * Fraction(hi if g > 0 else lo) for g, lo, hi in sides if g), ZERO)
        if top != 0:
            return top < 0
        # Zero proves it too, if a row with a positive multiplier has to be positive: all have,
        # but for those of side 0 that are zero on the whole cell.
        return any(i < m or path[i - m] == 1 or not self.vanishes(path, i - m) for i in used)

    def vanishes(self, path: Paths, decision: int) -> bool:
        """Tell whether the row of a decision is zero on the whole cell."""
        constant, gradient = self.combination(path, {self.domain_rows + decision: Fraction(1)})
        if gradient[self.lower < self.upper].any():
            return False
        sides = zip(gradient, self.lower.tolist(), self.upper.tolist(), strict=True)
        return constant == -sum((g * Fraction(low) for g, low, _ in sides if g), ZERO)

    def combination(
        self, path: Paths, multipliers: Mapping[int, Fraction]
    ) -> tuple[Fraction, NDArray[Any]]:
        """Give constant and gradient of a combination of rows, in rationals."""
        dense = np.full((1, self.domain_rows + self.decisions), ZERO, dtype=object)
        for i, value in multipliers.items():
            dense[0, i] = value
        signs = np.where(path[None] == 0, -1, 1).astype(object)
        constant, gradient = _combine(*self.exactly, path[None], signs, dense)
        return constant[0], gradient[0]

    def inside_exactly(self, path: Paths, point: Sequence[Fraction]) -> bool:
        """Tell whether a point of the domain proves a path to be a region, in rationals."""
        sides = zip(self.lower.tolist(), point, self.upper.tolist(), strict=True)
        if not all(low <= x <= high for low, x, high in sides):
            return False
        m, signs = self.domain_rows, (2 * path[None] - 1).astype(object)
        place = np.array([point], dtype=object)
        rows = _values(*self.exactly, path[None], signs, place)[0]
        return all(
            row > 0 or (row == 0 and i >= m and path[i - m] == 0 and self.vanishes(path, i - m))
            for i, row in enumerate(rows)
        )

    @cached_property
    def exactly(self) -> tuple[list[Rows], Numbers, Numbers]:
        """The layers, and normals and right-hand sides of the domain, in rationals."""
        layers = [layer.rationals() for layer in self.layers]
        normals, sides = self.domain
        return layers, rational(normals), rational(sides)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Numbers of a layer: floats, but for the intercepts, or rationals.

    ``unit`` and ``threshold`` have one entry per decision; slopes and intercepts one row per unit.
    """

    weight: Numbers
    bias: Numbers
    unit: NDArray[np.intp]
    threshold: Numbers
    slopes: Numbers
    intercepts: Numbers

    @classmethod
    def of(cls, item: Layer) -> Rows:
        """Read a layer; its intercepts are rationals, for a float could not hold them."""
        slopes, intercepts = item.pieces(exact=True)
        floats = slopes.astype(np.float64)
        return cls(item.map.to_dense(), item.bias, *item.cuts, floats, intercepts)

    @classmethod
    def embedding(cls, directions: Array, origin: Array) -> Rows:
        """Give the layer that turns coordinates on a slice into inputs."""
        n = origin.size
        nothing = np.zeros(0)
        parts = (nothing.astype(np.intp), nothing, np.ones((n, 1)), rational(np.zeros((n, 1))))
        return cls(directions.T, origin, *parts)

    @property
    def decisions(self) -> int:
        """Number of decisions."""
        return len(self.unit)

    def rationals(self) -> Rows:
        """Turn all numbers into rationals."""
        weight, bias, threshold = map(rational, (self.weight, self.bias, self.threshold))
        slopes, intercepts = rational(self.slopes), self.intercepts
        return Rows(weight, bias, self.unit, threshold, slopes, intercepts)

    def segments(self, paths: Paths, at: int) -> NDArray[np.intp]:
        """Count the sides 1 of every unit; the layer's decisions begin at ``at``."""
        own = paths[:, at : at + self.decisions] == 1
        result: NDArray[np.intp] = self.gathered(own.astype(np.intp))
        return result

    def of_units(self, paths: Paths, at: int) -> tuple[Numbers, Numbers]:
        """Give slopes and intercepts of the units on their segments, each ``(paths, units)``."""
        unit, segments = np.arange(len(self.bias)), self.segments(paths, at)
        return self.slopes[unit, segments], self.intercepts[unit, segments]

    def gathered(self, values: Numbers) -> Numbers:
        """Sum up the values of each unit's decisions."""
        result = np.zeros((len(values), len(self.bias)), dtype=values.dtype)
        if len(set(self.unit.tolist())) == len(self.unit):
            result[:, self.unit] = values
        else:
            np.add.at(result.T, self.unit, values.T)
        return result


def _combine(
    layers: list[Rows],
    normals: Numbers,
    sides: Numbers,
    paths: Paths,
    signs: NDArray[Any],
    multipliers: Numbers,
) -> tuple[Numbers, Numbers]:
    """Give constants and gradients of combinations of rows, going back through the layers."""
    m, at = len(sides), paths.shape[1]
    weighted = multipliers[:, m:] * signs
    constant = multipliers[:, :m] @ sides if m else 0 * multipliers.sum(axis=1)
    passed = None  # weights of the numbers that enter the next layer
    for layer in reversed(layers):
        at -= layer.decisions
        own = weighted[:, at : at + layer.decisions]
        value = layer.gathered(own)
        if passed is not None:
            slopes, intercepts = layer.of_units(paths, at)
            constant = constant + (passed * intercepts).sum(axis=1)
            value = value + passed * slopes
        if layer.decisions:
            constant = constant - own @ layer.threshold
        constant = constant + value @ layer.bias
        passed = value @ layer.weight
    gradient = 0 * multipliers[:, :1] if passed is None else passed
    return constant, gradient - multipliers[:, :m] @ normals if m else gradient


def _values(
    layers: list[Rows],
    normals: Numbers,
    sides: Numbers,
    paths: Paths,
    signs: NDArray[Any],
    points: Numbers,
) -> Numbers:
    """Give all rows of the paths at the points, the domain's first."""
    rows, inputs, at = [sides - points @ normals.T if len(sides) else points[:, :0]], points, 0
    for layer in layers:
        z = inputs @ layer.weight.T + layer.bias
        end = at + layer.decisions
        rows.append((z[:, layer.unit] - layer.threshold) * signs[:, at:end])
        slopes, intercepts = layer.of_units(paths, at)
        inputs = slopes * z + intercepts
        at = end
    return np.concatenate(rows, axis=1)
