"""When an enumeration stops, and what it ended with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Answer", "Limits", "Outcome"]


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop early: ``max_regions`` and ``time_limit`` (seconds), None for never."""

    max_regions: int | None
    time_limit: float | None

    def __post_init__(self) -> None:
        most, seconds = self.max_regions, self.time_limit
        if most is not None and (isinstance(most, bool) or not isinstance(most, int | np.integer)):
            raise TypeError(f'"max_regions" was {most!r}; give a positive integer, or None')
        if most is not None and most < 1:
            raise ValueError(f'"max_regions" was {most!r}; give a positive integer, or None')
        if seconds is not None and (
            isinstance(seconds, bool) or not isinstance(seconds, int | float)
        ):
            raise TypeError(f'"time_limit" was {seconds!r}; give seconds, or None')
        if seconds is not None and not seconds > 0:
            raise ValueError(f'"time_limit" was {seconds!r}; give a positive number of seconds')
        if most is not None:  # NumPy's integers do not travel as JSON
            object.__setattr__(self, "max_regions", int(most))

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.max_regions is not None or self.time_limit is not None


class Outcome(Enum):
    """How an enumeration ended; the value says what to do next."""

    COMPLETE = "every region was found"
    MAX_REGIONS = "stopped at max_regions; there are more: raise the limit or shrink the domain"
    TIME_LIMIT = "stopped at time_limit; there are more: give more time, workers or a run_dir"
    INTERRUPTED = "interrupted; what was found is kept: run again with the same run_dir to go on"

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self is Outcome.COMPLETE


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was found.

    ``words`` and ``points`` are the decision bits of the regions in order and a point in each,
    without rows for a count. ``tasks`` is the number of tasks, ``task_seconds`` the time that they
    took together.
    """

    words: NDArray[np.uint64]
    points: NDArray[np.float64]
    total: int
    layer_counts: tuple[int, ...]
    ambiguous: int
    explored: float
    tasks: int
    task_seconds: float
    seconds: float
    outcome: Outcome
