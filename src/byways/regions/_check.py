"""The checker of proofs: it knows what a row is, and nothing of how a proof is found.

A proof is a binary tree over *decisions* "is unit i above its breakpoint t?", in preorder. A node
either *splits* on a decision (side 0 first), or keeps one side and *refuses* the other with
multipliers, or is a leaf with a point, its *witness*. Rows are the affine functions that have to be
positive on a cell: first ``b - A x`` of the domain, then ``z - t``, negated where the side is 0.

* A refused side is empty, if some non-negative combination of the rows of its path is negative
  on the whole domain; or zero at most, and one of them must be positive.
* A leaf is a region, if at its witness, a point of the domain, all rows are positive. A row
  that is zero on the whole cell counts as side 0.

Both are looked at in floating point first, with a bound on all rounding, and in rationals where
that does not tell.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.regions._rows import LEAF, OPEN, SPLIT, Rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from byways.core.chain import LayerChain

    Paths = NDArray[np.int8]

__all__ = ["ProofCheck", "check", "domain_digest"]

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
        rules = Rules(chain, domain)
        sides, leaves = _walk(proof, rules)
        rationals = _check_sides(proof, rules, sides) + _check_leaves(proof, rules, leaves)
    except _RefusedError as refused:
        return ProofCheck(False, 0, 0, 0, nothing, str(refused))
    except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError) as error:
        return ProofCheck(False, 0, 0, 0, nothing, f"the proof is malformed: {error!r}")
    signs = rules.segments(leaves)
    signs = signs[np.lexsort(signs.T[::-1])] if signs.size else signs
    return ProofCheck(True, len(leaves), len(sides), rationals, signs)


def domain_digest(domain: Any) -> str:
    """Give a SHA-256 over the numbers of a bounded domain."""
    hasher = hashlib.sha256(type(domain).__name__.encode())
    box = getattr(domain, "box", domain)
    parts = {"lower": box.lower, "upper": box.upper}
    parts |= {
        k: getattr(domain, k) for k in ("A", "b", "origin", "directions") if k in vars(domain)
    }
    for name, array in parts.items():
        hasher.update(f"{name}{array.shape}".encode() + array.astype("<f8").tobytes())
    return hasher.hexdigest()


def _same(found: Any, wanted: str, what: str) -> None:
    if str(found) != wanted:
        raise _RefusedError(
            f"it speaks of another {what}: digest {str(found)[:16]!r}, not {wanted[:16]!r}"
        )


def _walk(proof: Mapping[str, Any], rules: Rules) -> tuple[Paths, Paths]:
    """Go through the tree; give the path of every refused side and of every leaf."""
    sides, leaves = [], []
    waiting = [np.full(rules.decisions, OPEN, dtype=np.int8)]
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
        if not 0 <= decision < rules.decisions or path[decision] != OPEN:
            raise _RefusedError(f"node {place}: decision {decision} is not open here")
        if (path[: rules.first[decision]] == OPEN).any():
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
    return rules.stacked(sides), rules.stacked(leaves)


def _check_sides(proof: Mapping[str, Any], rules: Rules, paths: Paths) -> int:
    """Check the multipliers of the refused sides; give how many took rationals."""
    start, row, value = proof["start"], proof["row"], proof["value"]
    if start.shape != (len(paths) + 1,) or start[0] != 0 or not start[-1] == len(row) == len(value):
        raise _RefusedError(f"there are {len(paths)} refused sides, and multipliers for others")
    if not (np.diff(start) >= 0).all() or not (row >= 0).all() or not np.isfinite(value).all():
        raise _RefusedError("multipliers of the refused sides are damaged")
    exact = dict(zip(proof["value_at"].tolist(), proof["value_exact"].tolist(), strict=True))
    unclear = []
    for first in range(0, len(paths), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        dense = rules.dense(start[first : first + _AT_ONCE + 1], row, value)
        unclear += (first + np.flatnonzero(~rules.empty(paths[part], dense))).tolist()
    for i in unclear:
        at = range(int(start[i]), int(start[i + 1]))
        numbers = [Fraction(exact.get(j, value[j])) for j in at]
        if not rules.empty_exactly(
            paths[i], dict(zip(row[list(at)].tolist(), numbers, strict=True))
        ):
            raise _RefusedError(f"refused side {i}: its multipliers do not prove that it is empty")
    return len(unclear)


def _check_leaves(proof: Mapping[str, Any], rules: Rules, paths: Paths) -> int:
    """Check the witnesses of the leaves; give how many took rationals."""
    points = proof["points"]
    if points.shape != (len(paths), rules.lower.size) or not np.isfinite(points).all():
        raise _RefusedError(f"there are {len(paths)} leaves, and witnesses of shape {points.shape}")
    exact = dict(zip(proof["point_at"].tolist(), proof["point_exact"].tolist(), strict=True))
    unclear = []
    for first in range(0, len(paths), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        unclear += (first + np.flatnonzero(~rules.inside(paths[part], points[part]))).tolist()
    for i in unclear:
        at = range(i * rules.lower.size, (i + 1) * rules.lower.size)
        numbers = [Fraction(exact.get(j, points.flat[j])) for j in at]
        if not rules.inside_exactly(paths[i], numbers):
            raise _RefusedError(f"leaf {i}: its witness does not lie in the region")
    return len(unclear)
