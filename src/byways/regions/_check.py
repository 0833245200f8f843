"""The checker of proofs: it knows what a row is, and nothing of how a proof is found.

A proof is a binary tree over *decisions* "is unit i above its breakpoint t?", in preorder. A node
either *splits* on a decision (side 0 first), or keeps one side and *refuses* the other with
multipliers, or is a leaf with a point, its *witness*. Rows are the affine functions that have to be
positive on a cell: first ``b - A x`` of the domain, then ``z - t``, negated where the side is 0.

* A refused side is empty, if some non-negative combination of the rows of its path is negative
  on the whole domain; or zero at most, and one of them must be positive.
* A leaf is a region, if at its witness, a point of the domain, all rows are positive. A row
  that is zero on the whole cell counts as side 0.

Both are computed in floating point first. A result is a sum of products, each of which went
through ``N`` roundings at most, so that it is off by at most ``gamma = N u / (1 - N u)`` times what
the same formula gives for magnitudes, ``u = 2^-53``; twice that, because magnitudes are rounded
too, and a trifle for underflow. Where that does not tell, the same formula is put to rationals.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from byways.core.activations import PiecewiseLinear
    from byways.core.chain import LayerChain

    Numbers = NDArray[Any]  # floats or rationals
    Paths = NDArray[np.int8]  # per decision: side 0, side 1, or OPEN

__all__ = ["ProofCheck", "check", "domain_digest"]

LEAF = SPLIT = OPEN = -1  # in "decision", in "kept", in a path
_AT_ONCE = 512  # paths in one matrix


@dataclass(frozen=True, slots=True, eq=False)
class ProofCheck:
    """What the checker found.

    Attributes:
        accepted: Whether the proof proves its list; ``bool(check)`` is the same.
        regions: Number of regions proven, 0 if refused.
        refusals: Number of sides proven empty.
        rational: How many of both took rational arithmetic.
        signs: The proven list: segments of all hidden units, one row per region, sorted.
        reason: Why the proof was refused, and where; empty if accepted.
    """

    accepted: bool
    regions: int
    refusals: int
    rational: int
    signs: NDArray[np.uint8]
    reason: str = ""

    def __bool__(self) -> bool:
        return self.accepted

    def __str__(self) -> str:
        if not self.accepted:
            return f"refused: {self.reason}"
        return (
            f"accepted: {self.regions:,} regions and no others; {self.refusals:,} sides proven "
            f"empty; {self.rational:,} facts in rational arithmetic, the others in floating point "
            "with error bounds"
        )


class _RefusedError(Exception):
    """A proof that does not prove, and the place."""


def check(chain: LayerChain, domain: Any, proof: Mapping[str, NDArray[Any]]) -> ProofCheck:
    """Check a proof, given as its arrays."""
    nothing = np.zeros((0, chain.units), dtype=np.uint8)
    try:
        _same(proof["network"], chain.digest(), "network")
        _same(proof["domain"], domain_digest(domain), "domain")
        net = _Net.of(chain, domain)
        sides, leaves = _walk(proof, net)
        with np.errstate(all="ignore"):
            facts = _Facts(net)
            rational = _check_sides(proof, facts, sides) + _check_leaves(proof, facts, leaves)
    except _RefusedError as refused:
        return ProofCheck(False, 0, 0, 0, nothing, str(refused))
    except (KeyError, ValueError, TypeError, IndexError, ArithmeticError) as error:
        return ProofCheck(False, 0, 0, 0, nothing, f"the proof is malformed: {error!r}")
    parts = [segments[:, a.belongs.any(axis=0)] for a, segments in net.segments(leaves)]
    signs = np.concatenate([np.zeros((len(leaves), 0)), *parts], axis=1).astype(np.uint8)
    signs = signs[np.lexsort(signs.T[::-1])] if signs.size else signs
    return ProofCheck(True, len(leaves), len(sides), rational, signs)


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


def _same(found: Any, wanted: str, what: str) -> None:
    if str(found) != wanted:
        raise _RefusedError(
            f"it speaks of another {what}: digest {str(found)[:16]!r}, not {wanted[:16]!r}"
        )


def _rational(values: Any) -> Numbers:
    given = np.asarray(values)
    result = np.empty(given.shape, dtype=object)
    result.reshape(-1)[:] = [Fraction(value) for value in given.ravel().tolist()]
    return result


class _Layer(NamedTuple):
    """A layer: ``belongs`` (decisions, units) tells whose a decision is, ``shift`` is ``-t``."""

    weight: Numbers
    bias: Numbers
    belongs: NDArray[np.int64]
    shift: Numbers
    slopes: Numbers
    intercepts: Numbers


class _Net(NamedTuple):
    """All layers that have a row, and the domain: rows ``offset + inward @ x``, and the box."""

    layers: list[_Layer]
    inward: Numbers
    offset: Numbers
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @classmethod
    def of(cls, chain: LayerChain, domain: Any) -> _Net:
        """Read a network in rationals; the coordinates are the box's, on a slice as elsewhere."""
        (lower, upper), layers = _box(domain), []
        if hasattr(domain, "directions"):
            weight, one = (
                _rational(domain.directions.T),
                _rational(np.ones((len(domain.origin), 1))),
            )
            none = np.zeros((0, len(one)), dtype=np.int64), _rational([])
            layers.append(_Layer(weight, _rational(domain.origin), *none, one, one - 1))
        for layer in chain.layers[: max(chain.hidden, default=-1) + 1]:
            tables = [_pieces(layer.functions[kind]) for kind in layer.kinds]
            most = max(len(pieces) for pieces, _ in tables)
            pieces = _rational([p + p[-1:] * (most - len(p)) for p, _ in tables])
            cuts = [len(found) for _, found in tables]
            belongs = np.repeat(np.eye(layer.width, dtype=np.int64), cuts, axis=0)
            shift = _rational([-t for _, found in tables for t in found])
            weight, bias = _rational(layer.map.to_dense()), _rational(layer.bias)
            layers.append(_Layer(weight, bias, belongs, shift, pieces[..., 0], pieces[..., 1]))
        normals, sides = getattr(domain, "A", np.zeros((0, len(lower)))), getattr(domain, "b", [])
        return cls(layers, -_rational(normals), _rational(sides), lower, upper)

    def map(self, change: Callable[[Numbers], Numbers]) -> _Net:
        """Change all numbers."""
        layers = [
            _Layer(*(part if part is layer.belongs else change(part) for part in layer))
            for layer in self.layers
        ]
        return _Net(layers, change(self.inward), change(self.offset), self.lower, self.upper)

    def segments(self, paths: Paths) -> list[tuple[_Layer, NDArray[np.int64]]]:
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


class _Facts:
    """What proves a fact: in floating point for many at once, in rationals for one."""

    def __init__(self, net: _Net) -> None:
        self.exact, self.floats = net, net.map(lambda numbers: numbers.astype(np.float64))
        self.sizes, self.lower, self.upper = self.floats.map(np.abs), net.lower, net.upper
        roundings, growth = 2 * net.lower.size + len(net.offset) + 16, 1.0
        for layer in self.sizes.layers:
            roundings += layer.weight.shape[1] + 2 * sum(layer.belongs.shape) + 12
            growth *= 1.0 + sum(float(part.sum()) for part in layer)
        unit = roundings * 2.0**-53
        self.gamma, self.trifle = 2.0 * unit / (1.0 - unit), 1e-300 * growth

    def empty(self, paths: Paths, mu: Numbers) -> NDArray[np.bool_]:
        """Tell for which paths floating point proves that a combination of rows is negative."""
        reach = np.maximum(np.abs(self.lower), np.abs(self.upper))
        constant, gradient = self.floats.combined(paths, 2.0 * paths - 1.0, mu)
        top = constant + np.maximum(gradient, 0.0) @ self.upper
        top += np.minimum(gradient, 0.0) @ self.lower
        size, steepness = self.sizes.combined(paths, np.ones(paths.shape), mu)
        trifle = self.trifle * (1.0 + mu.sum(axis=1)) * (1.0 + reach.sum())
        sure = top + self.gamma * (size + steepness @ reach) + trifle < 0.0
        proven: NDArray[np.bool_] = sure & self._usable(paths, mu)
        return proven

    def _usable(self, paths: Paths, mu: Numbers) -> NDArray[np.bool_]:
        """Tell where no multiplier is negative, and none belongs to an open decision."""
        m = len(self.exact.offset)
        opened = ((paths == OPEN) & (mu[:, m:] != 0)).any(axis=1)
        usable: NDArray[np.bool_] = (mu >= 0).all(axis=1) & ~opened
        return usable

    def empty_exactly(self, path: Paths, mu: Numbers) -> bool:
        """Tell whether a combination of rows proves a path empty, in rationals."""
        if not self._usable(path[None], mu[None])[0]:
            return False
        m, top = len(self.exact.offset), self._top(path, mu, 1)
        if top is None or top != 0:
            return top is not None and top < 0
        # Zero proves it too, if a row with a positive multiplier has to be positive: all have,
        # but for those of side 0 that are zero on the whole cell.
        used = np.flatnonzero(mu).tolist()
        return any(i < m or path[i - m] == 1 or not self._vanishes(path, i) for i in used)

    def _top(self, path: Paths, mu: Numbers, sign: int) -> Fraction | None:
        """Give the maximum over the box of a combination, or of its negative; None if infinite."""
        signs = (2 * path[None] - 1).astype(object)
        constant, gradient = self.exact.combined(path[None], signs, mu[None])
        top: Fraction = sign * constant[0]
        box = zip(self.lower.tolist(), self.upper.tolist(), strict=True)
        for g, (low, high) in zip(sign * gradient[0], box, strict=True):
            end = high if g > 0 else low
            if g and np.isinf(end):
                return None
            top += g * Fraction(end) if g else 0
        return top

    def _vanishes(self, path: Paths, row: int) -> bool:
        """Tell whether a row is zero on the whole cell."""
        mu = _rational(np.arange(len(self.exact.offset) + path.size) == row)
        return self._top(path, mu, 1) == 0 == self._top(path, mu, -1)

    def inside(self, paths: Paths, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell for which paths floating point proves that all rows are positive at the point."""
        rows = self.floats.rows(paths, 2.0 * paths - 1.0, points)
        size = self.sizes.rows(paths, np.ones(paths.shape), np.abs(points))
        trifle = self.trifle * (1.0 + np.abs(points).sum(axis=1, keepdims=True))
        within = (points >= self.lower) & (points <= self.upper)
        proven: NDArray[np.bool_] = (rows > self.gamma * size + trifle).all(axis=1) & within.all(
            axis=1
        )
        return proven

    def inside_exactly(self, path: Paths, point: list[Fraction]) -> bool:
        """Tell whether a point of the domain proves a path to be a region, in rationals."""
        m, sides = len(self.exact.offset), zip(self.lower, point, self.upper, strict=True)
        place, signs = np.array([point], dtype=object), (2 * path[None] - 1).astype(object)
        return all(low <= x <= high for low, x, high in sides) and all(
            row > 0 or (row == 0 and i >= m and path[i - m] == 0 and self._vanishes(path, i))
            for i, row in enumerate(self.exact.rows(path[None], signs, place)[0])
        )


def _walk(proof: Mapping[str, Any], net: _Net) -> tuple[Paths, Paths]:
    """Go through the tree; give the path of every refused side and of every leaf."""
    counts = [len(layer.shift) for layer in net.layers]
    before = np.repeat(np.cumsum([0, *counts])[:-1], counts)  # decisions of earlier layers
    sides, leaves, waiting = [], [], [np.full(len(before), OPEN, dtype=np.int8)]
    nodes = zip(proof["decision"].tolist(), proof["kept"].tolist(), strict=True)
    for place, (decision, kept) in enumerate(nodes):
        if not waiting:
            raise _RefusedError(f"node {place}: the tree had ended before")
        path = waiting.pop()
        if decision == LEAF:
            if kept != SPLIT or (path == OPEN).any():
                raise _RefusedError(f"node {place}: a leaf where decisions are open")
            leaves.append(path)
            continue
        if not 0 <= decision < len(before) or path[decision] != OPEN:
            raise _RefusedError(f"node {place}: decision {decision} is not open here")
        if (path[: before[decision]] == OPEN).any():
            raise _RefusedError(f"node {place}: decision {decision} depends on open ones")
        if kept not in (SPLIT, 0, 1):
            raise _RefusedError(f"node {place}: side {kept!r} is neither 0 nor 1")
        below, above = path.copy(), path
        below[decision], above[decision] = 0, 1
        if kept == SPLIT:
            waiting += [above, below]
        else:
            sides.append(below if kept else above)
            waiting.append(above if kept else below)
    if waiting:
        raise _RefusedError("the tree ends with open sides: sign vectors are missing")
    none = np.zeros((0, len(before)), dtype=np.int8)
    return np.vstack([none, *sides]), np.vstack([none, *leaves])


def _check_sides(proof: Mapping[str, Any], facts: _Facts, paths: Paths) -> int:
    """Check the multipliers of the refused sides; give how many took rationals."""
    start, row, value = proof["start"], proof["row"], proof["value"]
    if start.shape != (len(paths) + 1,) or start[0] != 0 or not start[-1] == len(row) == len(value):
        raise _RefusedError(f"there are {len(paths)} refused sides, and multipliers for others")
    if not (np.diff(start) >= 0).all() or not (row >= 0).all() or not np.isfinite(value).all():
        raise _RefusedError("multipliers of the refused sides are damaged")
    exact, unclear = _exactly(proof, "value"), []
    width = len(facts.exact.offset) + paths.shape[1]
    for first in range(0, len(paths), _AT_ONCE):
        part, ends = paths[first : first + _AT_ONCE], start[first : first + _AT_ONCE + 1]
        mu, own = np.zeros((len(part), width)), slice(ends[0], ends[-1])
        mu[np.repeat(np.arange(len(part)), np.diff(ends)), row[own]] = value[own]
        unclear += (first + np.flatnonzero(~facts.empty(part, mu))).tolist()
    for i in unclear:
        mu = _rational(np.zeros(width))
        for j in range(int(start[i]), int(start[i + 1])):
            mu[row[j]] = exact.get(j, Fraction(value[j]))
        if not facts.empty_exactly(paths[i], mu):
            raise _RefusedError(f"refused side {i}: its multipliers do not prove that it is empty")
    return len(unclear)


def _check_leaves(proof: Mapping[str, Any], facts: _Facts, paths: Paths) -> int:
    """Check the witnesses of the leaves; give how many took rationals."""
    points, n = proof["points"], facts.lower.size
    if points.shape != (len(paths), n) or not np.isfinite(points).all():
        raise _RefusedError(f"there are {len(paths)} leaves, and witnesses of shape {points.shape}")
    exact, unclear = _exactly(proof, "point"), []
    for first in range(0, len(paths), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        unclear += (first + np.flatnonzero(~facts.inside(paths[part], points[part]))).tolist()
    for i in unclear:
        numbers = enumerate(points[i].tolist(), i * n)
        if not facts.inside_exactly(paths[i], [exact.get(j, Fraction(x)) for j, x in numbers]):
            raise _RefusedError(f"leaf {i}: its witness does not lie in the region")
    return len(unclear)


def _exactly(proof: Mapping[str, Any], name: str) -> dict[int, Fraction]:
    """Give the numbers that no float is, by place."""
    texts = proof[f"{name}_exact"].tolist()
    return dict(zip(proof[f"{name}_at"].tolist(), map(Fraction, texts), strict=True))


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
