"""How an enumeration ended."""

from __future__ import annotations

from enum import Enum

__all__ = ["Outcome"]


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
