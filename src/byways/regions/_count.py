"""The number of regions, where no list is wanted."""

from __future__ import annotations

from dataclasses import dataclass

from byways.regions._outcome import Outcome

__all__ = ["RegionCount"]


@dataclass(frozen=True, slots=True)
class RegionCount:
    """How many regions there are.

    Attributes:
        total: Number of activation regions found.
        layer_counts: Cells after each hidden layer, so the last is ``total``; empty without one.
        outcome: How the enumeration ended.
        ambiguous: Decisions whose decisive number was within the tolerance of zero.
        seconds: Wall time.
    """

    total: int
    layer_counts: tuple[int, ...]
    outcome: Outcome
    ambiguous: int
    seconds: float

    def __str__(self) -> str:
        layers = " -> ".join(f"{count:,}" for count in self.layer_counts) or "no hidden layer"
        return (
            f"{self.total:,} regions ({layers}), {self.ambiguous} ambiguous decisions, "
            f"{self.seconds:.3g} s: {self.outcome.value}"
        )
