"""What a row of a proof is, for its checker: a network and a domain read in rationals.

Rows are the affine functions that have to be positive on a cell: first ``b - A x`` of the domain,
then, for each decision "is unit i above its breakpoint t?", ``z - t``, negated where the side is 0.
They are evaluated going forward through the layers, and summed going back through them, so that no
affine map is ever composed. Nothing here knows what a proof is.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from byways.core.activations import PiecewiseLinear
    from byways.core.chain import LayerChain

    Numbers = NDArray[Any]  # floats or rationals
    Paths = NDArray[np.int8]  # per decision: side 0, side 1, or -1 where it is open

__all__ = ["Layer", "Network", "domain_digest", "rational"]


def domain_digest(domain: Any) -> str:
    """Give a SHA-256 over the numbers of a domain."""
    hasher = hashlib.sha256(type(domain).__name__.encode())
    lower, upper = _box(domain)
    names = (name for name in ("A", "b", "origin", "directions") if hasattr(domain, name))
    parts = {"lower": lower, "upper": upper} | {name: getattr(domain, name) for name in names}
    for name, array in parts.items():
        hasher.update(f"{name}{array.shape}".encode() + array.astype("<f8").tobytes())
    return hasher.hexdigest()


def _box(domain: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    box = getattr(domain, "box", domain)
    return box.lower, box.upper


def rational(values: Any) -> Numbers:
    """Turn numbers into an array of rationals of the same shape."""
    given = np.asarray(values)
    result = np.empty(given.shape, dtype=object)
    result.reshape(-1)[:] = [Fraction(value) for value in given.ravel().tolist()]
    return result


class Layer(NamedTuple):
    """A layer: ``belongs`` (decisions, units) tells whose a decision is, ``shift`` is ``-t``."""

    weight: Numbers
    bias: Numbers
    belongs: NDArray[np.int64]
    shift: Numbers
    slopes: Numbers
    intercepts: Numbers


class Network(NamedTuple):
    """All layers that have a row, and the domain: rows ``offset + inward @ x``, and the box."""

    layers: list[Layer]
    inward: Numbers
    offset: Numbers
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @classmethod
    def of(cls, chain: LayerChain, domain: Any) -> Network:
        """Read a network in rationals; the coordinates are the box's, on a slice as elsewhere."""
        (lower, upper), layers = _box(domain), []
        if hasattr(domain, "directions"):
            weight, one = (
                rational(domain.directions.T),
                rational(np.ones((len(domain.origin), 1))),
            )
            none = np.zeros((0, len(one)), dtype=np.int64), rational([])
            layers.append(Layer(weight, rational(domain.origin), *none, one, one - 1))
        for layer in chain.layers[: max(chain.hidden, default=-1) + 1]:
            tables = [_pieces(layer.functions[kind]) for kind in layer.kinds]
            most = max(len(pieces) for pieces, _ in tables)
            pieces = rational([p + p[-1:] * (most - len(p)) for p, _ in tables])
            cuts = [len(found) for _, found in tables]
            belongs = np.repeat(np.eye(layer.width, dtype=np.int64), cuts, axis=0)
            shift = rational([-t for _, found in tables for t in found])
            weight, bias = rational(layer.map.to_dense()), rational(layer.bias)
            layers.append(Layer(weight, bias, belongs, shift, pieces[..., 0], pieces[..., 1]))
        normals, sides = getattr(domain, "A", np.zeros((0, len(lower)))), getattr(domain, "b", [])
        return cls(layers, -rational(normals), rational(sides), lower, upper)

    def map(self, change: Callable[[Numbers], Numbers]) -> Network:
        """Change all numbers."""
        layers = [
            Layer(*(part if part is layer.belongs else change(part) for part in layer))
            for layer in self.layers
        ]
        return Network(layers, change(self.inward), change(self.offset), self.lower, self.upper)

    def segments(self, paths: Paths) -> list[tuple[Layer, NDArray[np.int64]]]:
        """Give each layer with the segments of its units."""
        ends = np.cumsum([len(layer.shift) for layer in self.layers])[:-1]
        parts = np.split(paths == 1, ends, axis=1) if self.layers else []
        return [(a, part @ a.belongs) for a, part in zip(self.layers, parts, strict=True)]

    def combined(self, paths: Paths, signs: NDArray[Any], mu: Numbers) -> tuple[Numbers, Numbers]:
        """Give constants and gradients of combinations of rows, going back through the layers."""
        m, passed = len(self.offset), None
        constant, end = (mu[:, :m] * self.offset).sum(axis=1), mu.shape[1]
        for layer, segments in reversed(self.segments(paths)):
            own = (
                mu[:, end - len(layer.shift) : end] * signs[:, end - m - len(layer.shift) : end - m]
            )
            constant, end = constant + own @ layer.shift, end - len(layer.shift)
            value = own @ layer.belongs
            if passed is not None:
                unit = np.arange(len(layer.bias))
                constant = constant + (passed * layer.intercepts[unit, segments]).sum(axis=1)
                value = value + passed * layer.slopes[unit, segments]
            constant, passed = constant + value @ layer.bias, value @ layer.weight
        return constant, mu[:, :m] @ self.inward + (0 if passed is None else passed)

    def rows(self, paths: Paths, signs: NDArray[Any], points: Numbers) -> Numbers:
        """Give all rows of the paths, each at a point."""
        result, inputs = [self.offset + points @ self.inward.T], points
        for layer, segments in self.segments(paths):
            z, unit = inputs @ layer.weight.T + layer.bias, np.arange(len(layer.bias))
            result.append(z @ layer.belongs.T + layer.shift)
            inputs = layer.slopes[unit, segments] * z + layer.intercepts[unit, segments]
        ones = np.ones((len(paths), len(self.offset)), dtype=signs.dtype)
        found: Numbers = np.concatenate(result, axis=1) * np.concatenate([ones, signs], axis=1)
        return found


def _pieces(function: PiecewiseLinear) -> tuple[list[tuple[Fraction, Fraction]], list[Fraction]]:
    """Give slopes and intercepts of a function's pieces, from the one at 0 outwards; and cuts."""
    cuts, slopes = [[Fraction(x) for x in part] for part in (function.breakpoints, function.slopes)]
    home = sum(t < 0 for t in cuts)
    levels = [Fraction(function.offset)]
    for i in range(home, len(cuts)):
        levels.append(levels[-1] + (slopes[i] - slopes[i + 1]) * cuts[i])
    for i in range(home, 0, -1):
        levels.insert(0, levels[0] + (slopes[i] - slopes[i - 1]) * cuts[i - 1])
    return list(zip(slopes, levels, strict=True)), cuts
