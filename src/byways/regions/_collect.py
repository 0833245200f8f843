"""Results of tasks, put together while they come: sums, progress, and whether they are enough."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from byways.core.progress import ProgressEvent
from byways.regions._listing import Part, lay_out
from byways.regions._outcome import Answer, Outcome
from byways.regions._work import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from byways.core.progress import Listener
    from byways.regions._question import Question
    from byways.runs import Result, RunDirectory, Task

__all__ = ["Collector"]


class Collector:
    """Results so far.

    A count keeps sums alone, so that its memory does not grow with the work. A list keeps its
    regions, or where a run directory has them a few hundred bytes for each task.

    Args:
        question: What is asked.
        run: The directory that has the arrays of results that come without, or None.
        most: Number of regions that is enough, or None.
        listener: Hears of progress.
        start: When the work began, seconds since the epoch.
        deadline: When it has to end, or None.
    """

    def __init__(
        self,
        question: Question,
        run: RunDirectory | None,
        most: int | None,
        listener: Listener,
        start: float,
        deadline: float | None,
    ) -> None:
        self._question = question
        self._run = run
        self._most = most
        self._listener = listener
        self._start = start
        self._deadline = deadline
        stages = len(question.searched().stages)
        self._parts: list[Part] = []
        self._sums = _Sums(stages)
        self._line = _Line(stages)
        self._open = 1  # tasks known to be unfinished
        self._share = 0.0
        self._tasks = 0
        self._seconds = 0.0

    def take(self, results: Iterable[tuple[Task, Result]]) -> Outcome:
        """Collect until there are no more, or a limit is reached."""
        self._tell()
        for task, result in results:
            self._add(task, result)
            self._tell()
            if self._most is not None and self._line.advance(result, self._most):
                return Outcome.MAX_REGIONS
            if self._deadline is not None and time.time() >= self._deadline:
                break
        return Outcome.TIME_LIMIT if self._open else Outcome.COMPLETE

    def answer(self, outcome: Outcome) -> Answer:
        """Put the parts together."""
        parts, sums = self._parts, self._sums
        if outcome is Outcome.MAX_REGIONS and self._most is not None:
            sums = self._line.sums
            sums.regions = sums.layers[-1:] = self._most
            parts = self._line.first(parts, self._most)
        words, points = lay_out(self._question, parts, self._run, complete=outcome.complete)
        return Answer(
            words,
            points,
            sums.regions,
            tuple(int(count) for count in sums.layers),
            sums.ambiguous,
            1.0 if outcome.complete else min(self._share, 1.0),
            self._tasks,
            self._seconds,
            time.time() - self._start,
            outcome,
        )

    def _add(self, task: Task, result: Result) -> None:
        self._sums.add(result)
        if self._question.listing:
            decisions = self._question.searched().decisions
            self._parts.append(Part.of(task, result, decisions))
        if result.complete:
            self._open += len(result.rest) - 1
        self._tasks += 1
        self._seconds += result.seconds
        self._share += cast("float", task.payload["share"]) * float(result.counts["explored"])

    def _tell(self) -> None:
        seconds = time.time() - self._start
        share = min(self._share, 1.0)
        self._listener(ProgressEvent("regions", share, 1.0, self._sums.regions, seconds))


class _Sums:
    """Sums of counts."""

    def __init__(self, stages: int) -> None:
        self.regions = 0
        self.ambiguous = 0
        self.layers: NDArray[np.int64] = np.zeros(stages, dtype=np.int64)

    def add(self, result: Result) -> None:
        """Add those of a result."""
        self.regions += int(result.counts["regions"])
        self.ambiguous += int(result.counts["ambiguous"])
        for i in range(len(self.layers)):
            self.layers[i] += int(result.counts[f"layer_{i}"])


class _Line:
    """The results that came without a gap, in an order that does not depend on the workers.

    A task comes before those that it left to others, and they come before its successors.
    """

    def __init__(self, stages: int) -> None:
        self.sums = _Sums(stages)
        self._ahead: dict[str, Result] = {}  # those behind a gap
        self._next = [WHOLE]
        self._passed: dict[str, int] = {}

    def advance(self, result: Result, most: int) -> bool:
        """Take a result; tell whether there are more than ``most`` regions without a gap."""
        self._ahead[result.key] = replace(result, arrays=None)
        while self.sums.regions <= most and self._next and self._next[-1] in self._ahead:
            passed = self._ahead.pop(self._next.pop())
            self.sums.add(passed)
            self._passed[passed.key] = int(passed.counts["regions"])
            self._next += [task.key for task in reversed(passed.rest)]
        return self.sums.regions > most

    def first(self, parts: list[Part], most: int) -> list[Part]:
        """Give the parts that were passed, cut to a number of regions."""
        left, sizes = most, dict[str, int]()
        for key, count in self._passed.items():
            sizes[key] = min(left, count)
            left -= sizes[key]
        return [replace(part, count=sizes[part.key]) for part in parts if part.key in sizes]
