"""``exact="certified"``: every fact behind a list of regions proven, whoever made the list.

Floating point suggests a tree with multipliers and witnesses. What the rules prove stays; what they
leave open is decided in rationals; where the list was wrong the tree is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.domains import Polytope
from byways.regions._homogeneous import homogenised
from byways.regions._mending import mend
from byways.regions._proof import Proof, domain_digest
from byways.regions._rows import Rules
from byways.regions._signs import lexicographic_order, pack, unpack
from byways.regions._split_tree import split_tree
from byways.regions._verify import verify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._mending import Mended
    from byways.regions._problem import Problem
    from byways.regions._question import Question
    from byways.regions._split_tree import SplitTree

    Array = NDArray[np.float64]

__all__ = ["Certified", "certify", "of_winners"]

_AT_ONCE = 4096  # points
_NUMBERS_AT_ONCE = 1 << 17  # of points, so that they stay in the cache


@dataclass(frozen=True, slots=True, eq=False)
class Certified:
    """A proven list: packed decision bits, sorted, and a point in each region.

    ``rational`` counts the facts that floating point did not prove, ``corrected`` the regions that
    had been missing or too many.
    """

    words: NDArray[np.uint64]
    points: Array
    proof: Proof
    layer_counts: tuple[int, ...]
    rational: int
    corrected: int


def certify(question: Question, words: NDArray[np.uint64], points: Array) -> Certified:
    """Prove a list of regions, or the right one in its place.

    Args:
        question: What the list answers.
        words: Packed decision bits, distinct, in lexicographic order.
        points: A point in each region, engine coordinates; rough is good enough.

    Returns:
        The proven list with its proof. Cost: one run of the simplex method per refused side, and
        rationals for what floating point does not prove.
    """
    problem, rules = question.searched(), Rules(question.chain, question.domain)
    seen = problem if rules.bounded else homogenised(question.chain)
    tree = split_tree(seen, words, _scale(question))
    inside = _to_domain(rules, points)
    if rules.bounded:
        sides, leaves = (np.flatnonzero(~proven) for proven in verify(rules, tree, inside))
    else:  # rounded multipliers never cancel a gradient, and there is no bound on rounding
        sides, leaves = np.arange(len(tree.start) - 1), np.arange(len(inside))
    if not sides.size and not leaves.size:
        nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.str_)
        parts = tree.decision, tree.kept, tree.start, tree.row, tree.value, *nothing
        proof = _proof(question, *parts, inside, *nothing)
        return Certified(words, points, proof, _layer_counts(problem, words), 0, 0)
    mended = mend(rules, tree, inside, sides.tolist(), leaves.tolist())
    listed = pack(np.array(mended.paths, dtype=np.uint8).reshape(-1, problem.decisions))
    order = lexicographic_order(listed)
    found, before = (set(map(tuple, list_.tolist())) for list_ in (listed, words))
    return Certified(
        listed[order],
        _from_domain(rules, mended.points)[order],
        _proof_of(question, rules, tree, mended),
        _layer_counts(problem, listed[order]),
        sides.size + leaves.size + mended.added,
        len(found ^ before),
    )


def of_winners(
    question: Question, words: NDArray[np.uint64], points: Array
) -> tuple[NDArray[np.uint64], Array, tuple[int, ...]]:
    """Give the list of winners that a list of matches decides.

    A region of winners is the union of those of the matches that decide them, up to borders.

    Args:
        question: What was asked; its ``problem`` has the winners, ``searched`` the matches.
        words: Packed decision bits of the matches.
        points: A point in each region.

    Returns:
        Packed decision bits, distinct, in lexicographic order; for each a point of the first region
        of the matches that it comes from; cells after each hidden layer.
    """
    problem, matches = question.problem(), question.searched()
    parts = [pack(np.zeros((0, problem.decisions), dtype=np.uint8))]
    for first in range(0, len(words), _AT_ONCE):
        bits = unpack(words[first : first + _AT_ONCE], matches.decisions)
        parts.append(pack(problem.bits(matches.segments(bits))))
    listed, place = np.unique(np.concatenate(parts), axis=0, return_index=True)
    return listed, points[place], _layer_counts(problem, listed)


def _layer_counts(problem: Problem, words: NDArray[np.uint64]) -> tuple[int, ...]:
    """Count the distinct prefixes up to the end of each hidden layer of a sorted list."""
    changes, before = words[1:] ^ words[:-1], 64 * np.arange(words.shape[1])
    counts = []
    for end in problem.ends.tolist():
        within = np.clip(end - before, 0, 64).tolist()
        masks = [(1 << 64) - (1 << (64 - bits)) for bits in within]
        changed = (changes & np.array(masks, np.uint64)).any(axis=1)
        counts.append(1 + int(changed.sum()))
    return tuple(counts)


def _scale(question: Question) -> Array:
    """Give the factors by which a problem's domain rows are shorter than ``b - A x``."""
    if not isinstance(question.domain, Polytope):
        return np.zeros(0)
    lengths = np.linalg.norm(question.domain.A @ question.searched().embed.weight, axis=1)
    scale: Array = np.maximum(lengths, 1e-300)
    return scale


def _to_domain(rules: Rules, points: Array) -> Array:
    """Turn engine coordinates into those of the domain's box, clipped to it."""
    if not rules.bounded:
        return points
    free = np.flatnonzero(rules.lower < rules.upper)
    lower, upper = rules.lower[free], rules.upper[free]
    result = np.empty((len(points), rules.lower.size))
    count = max(1, _NUMBERS_AT_ONCE // max(1, rules.lower.size))
    for first in range(0, len(points), count):
        part = points[first : first + count] * (upper - lower)
        part += lower
        np.clip(part, lower, upper, out=part)
        if free.size == rules.lower.size:
            result[first : first + count] = part
        else:
            result[first : first + count] = rules.lower
            result[first : first + count, free] = part
    return result


def _from_domain(rules: Rules, points: list[Any]) -> Array:
    """Turn points of the domain's box into engine coordinates, rounded."""
    free = rules.lower < rules.upper
    given = np.array([[float(x) for x in point] for point in points]).reshape(-1, free.size)
    if not rules.bounded:
        return given
    result: Array = ((given - rules.lower) / np.where(free, rules.upper - rules.lower, 1.0))[
        :, free
    ]
    return result


def _proof_of(question: Question, rules: Rules, tree: SplitTree, mended: Mended) -> Proof:
    """Lay out a mended tree as arrays."""
    start, row = [0], list[int]()
    value: list[Any] = []
    for side in mended.sides:
        if isinstance(side, dict):
            row += side.keys()
            value += side.values()
        else:
            part = slice(tree.start[side], tree.start[side + 1])
            row += tree.row[part].tolist()
            value += tree.value[part].tolist()
        start.append(len(row))
    nodes = np.array(mended.nodes).reshape(-1, 2)
    flat = [x for point in mended.points for x in point]
    points, point_at, point_exact = _rounded(flat)
    multipliers = np.array(start), np.array(row), *_rounded(value)
    shape = len(mended.points), rules.lower.size
    return _proof(
        question,
        nodes[:, 0],
        nodes[:, 1],
        *multipliers,
        points.reshape(shape),
        point_at,
        point_exact,
    )


def _rounded(numbers: list[Any]) -> tuple[Array, NDArray[np.int64], NDArray[np.str_]]:
    """Round to floats; give places and texts of the rationals that no float is."""
    floats = np.array([float(number) for number in numbers], dtype=np.float64)
    pairs = enumerate(zip(numbers, floats.tolist(), strict=True))
    at = [i for i, (number, near) in pairs if number != near]
    texts = [str(numbers[i]) for i in at]
    return floats, np.array(at, dtype=np.int64), np.array(texts, dtype=np.str_)


def _proof(question: Question, *parts: NDArray[Any]) -> Proof:
    """Give the parts the types that files have."""
    kinds = "i4", "i1", "i8", "i4", "f8", "i8", "U", "f8", "i8", "U"
    typed: Any = (np.asarray(part, dtype=kind) for part, kind in zip(parts, kinds, strict=True))
    return Proof(question.chain.digest(), domain_digest(question.domain), *typed)
