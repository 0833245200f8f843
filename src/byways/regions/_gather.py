"""From a question to its answer: plan, run the tasks, keep a journal, respect the limits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from byways.core.progress import ProgressEvent, as_progress
from byways.regions._outcome import Outcome
from byways.regions._work import WHOLE, Plan, work
from byways.runs import Result, RunDirectory, Task, run_tasks

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from numpy.typing import NDArray

    from byways.core.progress import Listener
    from byways.regions._question import Question

__all__ = ["Answer", "Limits", "Manner", "gather", "recall"]

_PASS = "regions"
# Workers elsewhere look at the clock themselves; this long their last results may be on the way.
_LATE_SECONDS = 5.0


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

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.max_regions is not None or self.time_limit is not None


@dataclass(frozen=True, slots=True)
class Manner:
    """How to compute, which never changes what is found."""

    workers: int | None = 1
    executor: Executor | None = None
    run_dir: str | Path | None = None
    progress: bool | Listener = False
    queue: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was found. ``results`` are in the order of their keys, which is that of the signs."""

    results: tuple[Result, ...]
    layer_counts: tuple[int, ...]
    ambiguous: int
    explored: float
    seconds: float
    outcome: Outcome

    @property
    def total(self) -> int:
        """Number of regions."""
        return sum(int(result.counts["regions"]) for result in self.results)


def gather(question: Question, limits: Limits, manner: Manner) -> Answer:
    """Answer a question within limits.

    Returns:
        The answer; a partial one if a limit was reached or the user pressed Ctrl-C.
    """
    listener = as_progress(manner.progress)
    start = time.time()
    deadline = None if limits.time_limit is None else start + limits.time_limit
    with contextlib.ExitStack() as stack:
        journal = None
        if manner.run_dir is not None:
            journal = stack.enter_context(
                RunDirectory.create_or_resume(
                    manner.run_dir,
                    pass_name=_PASS,
                    parameters=question.parameters(),
                    context=question,
                )
            )
        known = _known(journal, limits.max_regions) if journal else {}
        stream = _results(question, limits, manner, journal, known, deadline)
        collector = _Collector(limits, listener, start, deadline)
        try:
            outcome = collector.take(stream)
        except KeyboardInterrupt:
            outcome = Outcome.INTERRUPTED
        finally:
            stream.close()
    return collector.answer(outcome)


def recall(question: Question, directory: RunDirectory) -> Answer:
    """Put together what a run directory holds, without going on.

    The cut into tasks is made again, which takes moments: it tells the share of each task. The
    answer's seconds are those that the tasks took together.
    """
    known = {result.key: result for result in directory.results()}
    collector = _Collector(Limits(None, None), as_progress(False), time.time(), None)

    def stream() -> Generator[Plan | Result, None, None]:
        plan = _plan(question, known, None, None)
        yield plan
        yield from (known[task.key] for task in plan.tasks if task.key in known)

    outcome = collector.take(stream()) if known else Outcome.INTERRUPTED
    if not outcome.complete:
        outcome = Outcome.INTERRUPTED
    spent = sum(result.seconds for result in known.values())
    return replace(collector.answer(outcome), seconds=spent)


def _results(
    question: Question,
    limits: Limits,
    manner: Manner,
    journal: RunDirectory | None,
    known: dict[str, Result],
    deadline: float | None,
) -> Generator[Plan | Result, None, None]:
    """Give the plan, then the results as they come, those of earlier sessions first."""

    def start(
        tasks: tuple[Task, ...], journal: RunDirectory | None
    ) -> Generator[tuple[Task, Result], None, None]:
        return run_tasks(
            work,
            tasks,
            context=question,
            workers=manner.workers,
            executor=manner.executor,
            journal=journal,
            queue=None if journal is None else manner.queue,
            until=None if deadline is None or not elsewhere else deadline + _LATE_SECONDS,
        )

    elsewhere = manner.executor is not None or manner.queue is not None
    if type(manner.workers) is not int or manner.workers != 1 or elsewhere:
        start((), journal)  # refuses wrong workers and executors before anything is computed
    plan = _plan(question, known, deadline, limits.max_regions)
    yield plan
    yield from (known[task.key] for task in plan.tasks if task.key in known)
    if plan.answer is not None:
        if plan.answer.key not in known:
            if journal is not None and plan.answer.complete:
                journal.append(plan.answer)
            yield plan.answer
        return
    done = journal.done_keys() - known.keys() if journal else set()
    again = tuple(task for task in plan.tasks if task.key in done)
    for running in [start(again, None)] * bool(again) + [start(plan.tasks, journal)]:
        with contextlib.closing(running):  # cancels what is pending
            yield from (result for _, result in running)


def _known(journal: RunDirectory, most: int | None) -> dict[str, Result]:
    """Give the results of earlier sessions that a session with this limit would find too.

    A task with more regions than are asked for stops at the first that its walk meets, which are
    not the first of its sorted list; it has to walk again.
    """
    results = {result.key: result for result in journal.results()}
    return {
        key: result
        for key, result in results.items()
        if most is None or result.counts["regions"] <= most
    }


def _plan(
    question: Question, known: dict[str, Result], deadline: float | None, most: int | None
) -> Plan:
    """Make the plan, or take it from an answer that an earlier session gave whole."""
    if WHOLE in known:
        stages = np.zeros(len(question.problem().stages), dtype=np.int64)
        return Plan((Task(WHOLE, {"prefix": ""}),), stages, 0, known[WHOLE])
    return Plan.make(question, deadline, most)


class _Collector:
    """Results so far, and whether they are enough."""

    def __init__(
        self, limits: Limits, listener: Listener, start: float, deadline: float | None
    ) -> None:
        self._limits = limits
        self._listener = listener
        self._start = start
        self._deadline = deadline
        self._plan: Plan | None = None
        self._done: dict[str, Result] = {}
        self._found = 0
        self._costs: dict[str, float] = {}
        self._cost = 0.0
        self._whole = 1.0

    def take(self, stream: Generator[Plan | Result, None, None]) -> Outcome:
        """Collect until the end of the stream or a limit."""
        for item in stream:
            if isinstance(item, Plan):
                self._plan = item
                self._costs = {task.key: task.cost for task in item.tasks}
                self._whole = sum(self._costs.values())
                self._tell()
                continue
            self._add(item)
            self._tell()
            if self._limits.max_regions is not None and self._enough(self._limits.max_regions):
                return Outcome.MAX_REGIONS
            if self._deadline is not None and time.time() >= self._deadline:
                break
        if self._plan and all(self._finished(task) for task in self._plan.tasks):
            return Outcome.COMPLETE
        return Outcome.TIME_LIMIT

    def answer(self, outcome: Outcome) -> Answer:
        """Put the parts together."""
        results = tuple(self._done[key] for key in sorted(self._done))
        if outcome is Outcome.MAX_REGIONS and self._limits.max_regions is not None:
            results = self._first(self._limits.max_regions)
        layers = np.zeros(0, dtype=np.int64) if self._plan is None else self._plan.trunk.copy()
        for result in results:
            counts = [int(result.counts[f"layer_{i}"]) for i in range(len(layers))]
            layers += np.array(counts, dtype=np.int64)  # also where there is no layer
        doubts = 0 if self._plan is None else self._plan.doubts
        if outcome is Outcome.MAX_REGIONS and len(layers):
            layers[-1] = sum(int(result.counts["regions"]) for result in results)
        return Answer(
            results,
            tuple(int(count) for count in layers),
            doubts + sum(int(result.counts["ambiguous"]) for result in results),
            1.0 if outcome.complete else min(self._share(), 1.0),
            time.time() - self._start,
            outcome,
        )

    def _finished(self, task: Task) -> bool:
        return task.key in self._done and self._done[task.key].complete

    def _add(self, result: Result) -> None:
        self._done[result.key] = result
        self._found += int(result.counts["regions"])
        if self._plan is not None:
            self._cost += self._costs[result.key] * float(result.counts["explored"])

    def _share(self) -> float:
        return self._cost / self._whole

    def _enough(self, most: int) -> bool:
        return sum(size for _, size in self._leading(most)) > most

    def _leading(self, most: int) -> Iterator[tuple[str, int]]:
        """Give key and size of the results that came without a gap in the order of the plan.

        Whatever the workers did in the meantime, these are the same.
        """
        total = 0
        for task in self._plan.tasks if self._plan else ():
            if task.key not in self._done or total > most:
                return
            size = int(self._done[task.key].counts["regions"])
            total += size
            yield task.key, size

    def _first(self, most: int) -> tuple[Result, ...]:
        """Cut the results without a gap to the allowed number of regions."""
        left, kept = most, {}
        for key, size in self._leading(most):
            kept[key] = _head(self._done[key], min(left, size))
            left -= min(left, size)
        return tuple(kept[key] for key in sorted(kept) if kept[key].counts["regions"])

    def _tell(self) -> None:
        seconds = time.time() - self._start
        self._listener(ProgressEvent("regions", self._share(), 1.0, self._found, seconds))


def _head(result: Result, count: int) -> Result:
    """Keep the first regions of a result."""
    arrays: dict[str, NDArray[np.generic]] | None = None
    if result.arrays is not None:
        arrays = {name: array[:count] for name, array in result.arrays.items()}
    counts = {**result.counts, "regions": count}
    return Result(result.key, result.seconds, counts, arrays, complete=False)
