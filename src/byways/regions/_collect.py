"""Results of tasks, put together while they come: sums, progress, and whether they are enough."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import numpy as np

from byways.core.progress import ProgressEvent
from byways.regions._outcome import Outcome
from byways.regions._work import WHOLE
from byways.runs import Result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from byways.core.progress import Listener
    from byways.regions._gather import Answer
    from byways.regions._question import Question
    from byways.runs import Task

__all__ = ["Collector"]


class Collector:
    """Results so far.

    A count without a limit keeps sums alone, so that its memory does not grow with the work.

    Args:
        question: What is asked.
        most: Number of regions that is enough, or None.
        listener: Hears of progress.
        start: When the work began, seconds since the epoch.
        deadline: When it has to end, or None.
    """

    def __init__(
        self,
        question: Question,
        most: int | None,
        listener: Listener,
        start: float,
        deadline: float | None,
    ) -> None:
        self._listing = question.listing
        self._most = most
        self._listener = listener
        self._start = start
        self._deadline = deadline
        self._kept: dict[str, Result] = {}
        self._sums = _Sums(len(question.problem().stages))
        self._open = 1  # tasks known to be unfinished
        self._share = 0.0
        self._tasks = 0
        self._seconds = 0.0
        self._line = _Line()

    def take(self, results: Iterable[tuple[Task, Result]]) -> Outcome:
        """Collect until there are no more, or a limit is reached."""
        self._tell()
        for task, result in results:
            self._add(task, result)
            self._tell()
            if self._most is not None and self._line.advance(self._kept, self._most):
                return Outcome.MAX_REGIONS
            if self._deadline is not None and time.time() >= self._deadline:
                break
        return Outcome.TIME_LIMIT if self._open else Outcome.COMPLETE

    def answer(self, outcome: Outcome) -> Answer:
        """Put the parts together."""
        from byways.regions._gather import Answer

        results, sums = tuple(self._kept.values()), self._sums
        if outcome is Outcome.MAX_REGIONS and self._most is not None:
            results = self._line.first(self._kept, self._most)
            sums = _Sums(len(sums.layers))
            for result in results:
                sums.add(result)
            sums.layers[-1:] = sums.regions
        return Answer(
            results if self._listing else (),
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
        if self._listing or self._most is not None:
            self._kept[result.key] = result
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

    def __init__(self) -> None:
        self._next = [WHOLE]
        self._passed: list[str] = []
        self._total = 0

    def advance(self, kept: dict[str, Result], most: int) -> bool:
        """Pass on as far as the results go; tell whether there are more regions than ``most``."""
        while self._total <= most and self._next and self._next[-1] in kept:
            result = kept[self._next.pop()]
            self._passed.append(result.key)
            self._total += int(result.counts["regions"])
            self._next += [task.key for task in reversed(result.rest)]
        return self._total > most

    def first(self, kept: dict[str, Result], most: int) -> tuple[Result, ...]:
        """Give the results that were passed, cut to a number of regions."""
        left, results = most, []
        for key in self._passed:
            size = min(left, int(kept[key].counts["regions"]))
            results.append(_head(kept[key], size))
            left -= size
        return tuple(results)


def _head(result: Result, count: int) -> Result:
    """Keep the first regions of a result."""
    arrays: dict[str, NDArray[np.generic]] | None = None
    if result.arrays is not None:
        arrays = {name: array[:count] for name, array in result.arrays.items()}
    counts = {**result.counts, "regions": count}
    return Result(result.key, result.seconds, counts, arrays, complete=False)
