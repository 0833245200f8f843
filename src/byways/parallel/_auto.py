"""What ``strategy="auto"`` knows: when torch's own kernel wins, and what worked last time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byways.parallel._lattice import RecurrenceInfo

__all__ = ["ROUNDS", "Memory", "torch_wins"]

ROUNDS = 4  # of shooting, forward and backward, before a sequence is given up
_SHORTEST = 64  # steps below which chunks cannot repay their burn-in
_PROBE = 100  # calls after which a strategy that failed is tried again
_WEIGHT = 0.3  # of the newest call in the exponential averages


# Cost of one layer in microseconds: a + T (b + B (c G H + d G H^2) / 10^6), with G gates. Fitted to
# 48 settings (H 8..256, B 1..64, T 5 and 50) on one core; only the ratio of two rows counts. The
# rows of one cell: training and inference, each by torch's kernel and by the compiled loops.
_COSTS = {
    "rnn": (
        ((181, 32.9, 8590, 62.6), (416, 2.56, 8410, 92.1)),
        ((53, 4.53, 2310, 21.2), (156, 0.35, 3500, 40.5)),
    ),
    "gru": (
        ((204, 104.2, 7720, 88.8), (512, 5.61, 7620, 109.4)),
        ((65, 13.7, 2500, 23.3), (178, 0.55, 3030, 45.0)),
    ),
    "lstm": (
        ((456, 1.20, 3790, 67.9), (582, 0.0, 6650, 112.6)),
        ((138, 0.34, 1270, 14.0), (231, 0.07, 2750, 47.5)),
    ),
}
_MARGIN = 1.1  # the fit is no better than that, and torch's kernel is what users know
_GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@lru_cache(maxsize=256)
def torch_wins(cell: str, steps: int, sequences: int, units: int, *, training: bool) -> bool:
    """Tell whether torch's own kernel is the faster one on a CPU.

    Args:
        cell: ``"rnn"``, ``"gru"`` or ``"lstm"``.
        steps: T.
        sequences: B.
        units: H.
        training: Whether a backward pass will follow.
    """
    per_step = sequences * _GATES[cell] * units
    torch_cost, floor_cost = (
        a + steps * (b + per_step * (c + d * units) / 1e6)
        for a, b, c, d in _COSTS[cell][0 if training else 1]
    )
    return torch_cost < _MARGIN * floor_cost


@dataclass(slots=True)
class Memory:
    """Exponential averages of how shooting went in earlier calls of one module.

    The choice depends on the calls so far and on nothing else: no clock, so that a program gives
    the same numbers each time it is run.
    """

    success: float = 1.0  # share of the sequences that converged, forward and backward
    rounds: float = 2.0  # that the forward pass took
    since_probe: int = 0
    last: RecurrenceInfo | None = None
    sequences: int = 1

    def shoot_next(self, steps: int) -> bool:
        """Decide for the next call."""
        self._learn()
        if steps < _SHORTEST:
            return False
        self.since_probe += 1
        if self.success >= 0.5 or self.since_probe >= _PROBE:
            self.since_probe = 0
            return True
        return False

    @property
    def expected(self) -> int:
        """Round in which the forward pass is likely to be done."""
        return max(1, round(self.rounds))

    def note(self, info: RecurrenceInfo, sequences: int) -> None:
        """Keep how a call went; its backward pass is read when the next call asks."""
        self.last, self.sequences = info, sequences

    def _learn(self) -> None:
        info, self.last = self.last, None
        if info is None:
            return
        lost = len(set(info.fallback) | set(info.backward_fallback))
        self.success += _WEIGHT * (1 - lost / max(self.sequences, 1) - self.success)
        self.rounds += _WEIGHT * (info.iterations - self.rounds)
