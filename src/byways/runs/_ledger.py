"""What is written down about a run while it goes: journal and progress."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from byways.core.progress import ProgressEvent

if TYPE_CHECKING:
    from byways.core.progress import Listener
    from byways.runs._directory import RunDirectory
    from byways.runs._tasks import Result

__all__ = ["Ledger"]

_EVENT_SECONDS = 0.1


class Ledger:
    """Write results to the journal and tell the listener.

    Args:
        journal: Where results are kept, or None.
        listener: Takes progress events, ten a second at most.
        total: Number of tasks, those already done included, or None.
    """

    def __init__(self, journal: RunDirectory | None, listener: Listener, total: int | None) -> None:
        self._journal = journal
        self._listener = listener
        self._total = total
        self._done = 0
        self._found = 0
        self._started = self._announced = time.monotonic()
        self.unflushed = False

    @property
    def keeps(self) -> bool:
        """Whether results are kept."""
        return self._journal is not None

    def expect(self, tasks: int) -> None:
        """Count tasks that were not among those given."""
        if self._total is not None:
            self._total += tasks

    def skip(self) -> None:
        """Count a task that an earlier run has finished."""
        self._done += 1

    def record(self, result: Result) -> None:
        """Keep and count a result."""
        if self._journal is not None and result.complete:
            self._journal.append(result)
            self.unflushed = True
        self.expect(len(result.rest))
        self._done += 1
        self._found += int(result.counts.get("found", 0))
        if time.monotonic() - self._announced >= _EVENT_SECONDS:
            self.announce()

    def announce(self) -> None:
        """Tell the listener how far the run is."""
        self._announced = time.monotonic()
        seconds = self._announced - self._started
        self._listener(ProgressEvent("tasks", self._done, self._total, self._found, seconds))

    def flush(self) -> None:
        """Hand what is kept to the operating system."""
        self.unflushed = False
        if self._journal is not None:
            self._journal.flush()
