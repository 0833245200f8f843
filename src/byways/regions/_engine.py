"""What the engines have in common: a walk over a subtree of decisions, in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MOST_COORDINATES", "Batch", "Divisible", "Order", "Subtree", "Walk", "given_away"]

MOST_COORDINATES = 8  # of method "vertices": a cell of d coordinates has about 2^d corners


@dataclass(frozen=True, slots=True)
class Order:
    """What a walk shall do.

    ``prefix`` holds decisions that are taken for granted (the subtree's root); ``stop`` is the
    depth at which nodes count as leaves, None for the full depth; ``witnesses`` asks for a point in
    each leaf; ``listing`` False asks for counts alone.
    """

    prefix: NDArray[np.uint8]
    stop: int | None = None
    witnesses: bool = True
    listing: bool = True
    tolerance: float = 1e-9


class Batch(NamedTuple):
    """Leaves in the order in which the walk met them.

    ``words`` are their packed decision bits (zeros beyond ``stop``), shape ``(n, words)``;
    ``points`` a point strictly inside each, engine coordinates, shape ``(n, d)``, or ``(0, d)``.
    """

    words: NDArray[np.uint64]
    points: NDArray[np.float64]
    leaves: int

    @classmethod
    def joined(cls, parts: list[Batch]) -> Batch:
        """Put batches together; at least one."""
        full = [part for part in parts if part.leaves] or parts[:1]
        if len(full) == 1:
            return full[0]
        words = np.concatenate([part.words for part in full])
        points = np.concatenate([part.points for part in full])
        return cls(words, points, sum(part.leaves for part in full))

    def split(self, leaves: int) -> tuple[Batch, Batch]:
        """Give at most so many leaves, and the rest."""
        first = Batch(self.words[:leaves], self.points[:leaves], min(self.leaves, leaves))
        return first, Batch(self.words[leaves:], self.points[leaves:], self.leaves - first.leaves)


class Walk(Protocol):
    """A depth-first walk that can be left and taken up again between batches."""

    @property
    def finished(self) -> bool:
        """Whether every leaf has been given."""

    @property
    def layer_counts(self) -> NDArray[np.int64]:
        """Cells completed so far per stage, those inside the prefix not counted."""

    @property
    def ambiguous(self) -> int:
        """Decisions whose decisive number was within the tolerance of zero without being zero."""

    @property
    def explored(self) -> float:
        """Share of the subtree that is done, each split giving half to either side."""

    @property
    def work(self) -> int:
        """Steps so far, in a unit of the engine (tests, pivots, programs solved)."""

    def advance(self, leaves: int, work: int) -> Batch:
        """Go on until about ``leaves`` more leaves or ``work`` more steps."""


class Subtree(NamedTuple):
    """A subtree that a walk has not visited: the decisions of its root, and its share.

    ``mass`` is the subtree's part of the walk's own tree, as ``Walk.explored`` counts it.
    """

    prefix: NDArray[np.uint8]
    mass: float


@runtime_checkable
class Divisible(Protocol):
    """What a walk has in addition if its work can be shared out."""

    @property
    def open(self) -> int:
        """Number of subtrees that ``share_out`` would give; 0 on the way through the prefix."""

    def share_out(self, kept: float = 0.0) -> list[Subtree]:
        """Give away subtrees that were not visited, the oldest of them; only if some are open.

        Where such a root completes a stage, its cell is counted in ``layer_counts`` by this walk,
        because a walk does not count the cells inside its prefix. What is given away is not
        ``explored`` by this walk.

        Args:
            kept: The walk goes on with the youngest subtrees that together have at most this mass;
                with 0 it ends.
        """


def given_away(masses: NDArray[np.float64], kept: float) -> int:
    """Say how many open subtrees go, so that the others have at most a mass.

    Args:
        masses: Their masses, the oldest first.
        kept: What may stay.
    """
    younger = np.cumsum(masses[::-1])
    return len(masses) - int(np.searchsorted(younger, kept, side="right"))
