"""What training an order policy gives back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.plotting import axes
from byways.core.reports import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from byways.sparse_inference._order_policy import OrderPolicy

__all__ = ["COLUMNS", "TrainingOutcome", "TrainingReport"]

COLUMNS = ("sampled", "held_out", "divergence", "entropy", "value_error")


class TrainingOutcome(Enum):
    """How training ended; the value says what to do next."""

    COMPLETE = "all updates were done"
    TIME_LIMIT = "stopped at time_limit: run again with the same run_dir to go on"
    INTERRUPTED = (
        "interrupted; no finished update is lost: run again with the same run_dir to go on"
    )


@dataclass(frozen=True, slots=True, eq=False)
class TrainingReport(Report):
    """A trained policy, and how it came about.

    Attributes:
        policy: The policy that did best on the held-out networks; ``save(path)`` keeps it.
        outcome: How training ended.
        history: One row for each update, shape ``(updates, 5)``: misses an edge of the games
            played, misses an edge on the held-out networks with the best choices (nan where it was
            not looked at), divergence from the policy before, entropy of the choices, squared error
            of the values.
        start_misses: Misses an edge on the held-out networks before training.
        best_misses: Those of ``policy``.
        greedy_misses: Those of the cache-aware greedy order.
        seconds: Time that all updates took, over all runs.
    """

    policy: OrderPolicy
    outcome: TrainingOutcome
    history: NDArray[np.float64]
    start_misses: float
    best_misses: float
    greedy_misses: float
    seconds: float

    def rows(self) -> list[dict[str, Any]]:
        """Give one row for each update."""
        return [
            {"update": k + 1, **dict(zip(COLUMNS, row, strict=True))}
            for k, row in enumerate(self.history.tolist())
        ]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the learning curves.

        Args:
            ax: Where to draw; new axes if None.

        Returns:
            The axes.
        """
        ax = axes(ax)
        steps = np.arange(1, len(self.history) + 1)
        sampled, held_out = self.history[:, 0], self.history[:, 1]
        seen = np.concatenate([[True], np.isfinite(held_out)])
        judged = np.concatenate([[self.start_misses], held_out])
        ax.plot(steps, sampled, color="#b8bec9", linewidth=1, label="games played, choices drawn")
        ax.plot(
            np.arange(len(judged))[seen], judged[seen], color="#e45756", marker="o", markersize=3,
            label="held-out networks, best choices",
        )  # fmt: skip
        ax.axhline(
            self.greedy_misses, color="#4c78a8", linestyle="--", linewidth=1,
            label="held-out networks, greedy order",
        )  # fmt: skip
        ax.set(xlabel="update", ylabel="misses an edge", title=f"order policy: {self.policy.kind}")
        ax.legend(frameon=False)
        return ax

    def __str__(self) -> str:
        return (
            f"{self.policy.kind} policy after {len(self.history)} updates "
            f"({self.seconds:.1f} s): {self.best_misses:.4f} misses an edge on the held-out "
            f"networks, {self.start_misses:.4f} before, {self.greedy_misses:.4f} greedy; "
            f"{self.outcome.value}"
        )
