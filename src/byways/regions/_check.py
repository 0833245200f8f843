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

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.regions._check_network import Network, domain_digest, rational

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from byways.core.chain import LayerChain

    Numbers = NDArray[Any]  # floats or rationals
    Paths = NDArray[np.int8]  # per decision: side 0, side 1, or OPEN

__all__ = ["RefusedError", "check"]

LEAF = SPLIT = OPEN = -1  # in "decision", in "kept", in a path
_AT_ONCE = 512  # paths in one matrix


class RefusedError(Exception):
    """A proof that does not prove, and the place."""


def check(
    chain: LayerChain, domain: Any, proof: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.uint8], int, int]:
    """Check a proof, given as its arrays.

    Returns:
        The proven list, how many sides are refused, and how many facts took rationals.

    Raises:
        RefusedError: If it does not prove a list.
    """
    try:
        _same(proof["network"], chain.digest(), "network")
        _same(proof["domain"], domain_digest(domain), "domain")
        net = Network.of(chain, domain)
        sides, leaves = _walk(proof, net)
        with np.errstate(all="ignore"):
            facts = _Facts(net)
            exact = _check_sides(proof, facts, sides) + _check_leaves(proof, facts, leaves)
    except (KeyError, ValueError, TypeError, IndexError, ArithmeticError) as error:
        raise RefusedError(f"the proof is malformed: {error!r}") from error
    parts = [segments[:, a.belongs.any(axis=0)] for a, segments in net.segments(leaves)]
    signs = np.concatenate([np.zeros((len(leaves), 0)), *parts], axis=1).astype(np.uint8)
    return signs[np.lexsort(signs.T[::-1])] if signs.size else signs, len(sides), exact


def _same(found: Any, wanted: str, what: str) -> None:
    if str(found) != wanted:
        raise RefusedError(
            f"it speaks of another {what}: digest {str(found)[:16]!r}, not {wanted[:16]!r}"
        )


class _Facts:
    """What proves a fact: in floating point for many at once, in rationals for one."""

    def __init__(self, net: Network) -> None:
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
        mu = rational(np.arange(len(self.exact.offset) + path.size) == row)
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


def _walk(proof: Mapping[str, Any], net: Network) -> tuple[Paths, Paths]:
    """Go through the tree; give the path of every refused side and of every leaf."""
    counts = [len(layer.shift) for layer in net.layers]
    before = np.repeat(np.cumsum([0, *counts])[:-1], counts)  # decisions of earlier layers
    sides, leaves, waiting = [], [], [np.full(len(before), OPEN, dtype=np.int8)]
    nodes = zip(proof["decision"].tolist(), proof["kept"].tolist(), strict=True)
    for place, (decision, kept) in enumerate(nodes):
        if not waiting:
            raise RefusedError(f"node {place}: the tree had ended before")
        path = waiting.pop()
        if decision == LEAF:
            if kept != SPLIT or (path == OPEN).any():
                raise RefusedError(f"node {place}: a leaf where decisions are open")
            leaves.append(path)
            continue
        if not 0 <= decision < len(before) or path[decision] != OPEN:
            raise RefusedError(f"node {place}: decision {decision} is not open here")
        if (path[: before[decision]] == OPEN).any():
            raise RefusedError(f"node {place}: decision {decision} depends on open ones")
        if kept not in (SPLIT, 0, 1):
            raise RefusedError(f"node {place}: side {kept!r} is neither 0 nor 1")
        below, above = path.copy(), path
        below[decision], above[decision] = 0, 1
        if kept == SPLIT:
            waiting += [above, below]
        else:
            sides.append(below if kept else above)
            waiting.append(above if kept else below)
    if waiting:
        raise RefusedError("the tree ends with open sides: sign vectors are missing")
    none = np.zeros((0, len(before)), dtype=np.int8)
    return np.vstack([none, *sides]), np.vstack([none, *leaves])


def _check_sides(proof: Mapping[str, Any], facts: _Facts, paths: Paths) -> int:
    """Check the multipliers of the refused sides; give how many took rationals."""
    start, row, value = proof["start"], proof["row"], proof["value"]
    if start.shape != (len(paths) + 1,) or start[0] != 0 or not start[-1] == len(row) == len(value):
        raise RefusedError(f"there are {len(paths)} refused sides, and multipliers for others")
    if not (np.diff(start) >= 0).all() or not (row >= 0).all() or not np.isfinite(value).all():
        raise RefusedError("multipliers of the refused sides are damaged")
    exact, unclear = _exactly(proof, "value"), []
    width = len(facts.exact.offset) + paths.shape[1]
    for first in range(0, len(paths), _AT_ONCE):
        part, ends = paths[first : first + _AT_ONCE], start[first : first + _AT_ONCE + 1]
        mu, own = np.zeros((len(part), width)), slice(ends[0], ends[-1])
        mu[np.repeat(np.arange(len(part)), np.diff(ends)), row[own]] = value[own]
        unclear += (first + np.flatnonzero(~facts.empty(part, mu))).tolist()
    for i in unclear:
        mu = rational(np.zeros(width))
        for j in range(int(start[i]), int(start[i + 1])):
            mu[row[j]] = exact.get(j, Fraction(value[j]))
        if not facts.empty_exactly(paths[i], mu):
            raise RefusedError(f"refused side {i}: its multipliers do not prove that it is empty")
    return len(unclear)


def _check_leaves(proof: Mapping[str, Any], facts: _Facts, paths: Paths) -> int:
    """Check the witnesses of the leaves; give how many took rationals."""
    points, n = proof["points"], facts.lower.size
    if points.shape != (len(paths), n) or not np.isfinite(points).all():
        raise RefusedError(f"there are {len(paths)} leaves, and witnesses of shape {points.shape}")
    exact, unclear = _exactly(proof, "point"), []
    for first in range(0, len(paths), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        unclear += (first + np.flatnonzero(~facts.inside(paths[part], points[part]))).tolist()
    for i in unclear:
        numbers = enumerate(points[i].tolist(), i * n)
        if not facts.inside_exactly(paths[i], [exact.get(j, Fraction(x)) for j, x in numbers]):
            raise RefusedError(f"leaf {i}: its witness does not lie in the region")
    return len(unclear)


def _exactly(proof: Mapping[str, Any], name: str) -> dict[int, Fraction]:
    """Give the numbers that no float is, by place."""
    texts = proof[f"{name}_exact"].tolist()
    return dict(zip(proof[f"{name}_at"].tolist(), map(Fraction, texts), strict=True))
