"""From a question to its answer: plan, run the tasks, keep a journal, respect the limits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from byways.core.progress import as_progress
from byways.regions._collect import Collector
from byways.regions._outcome import Answer, Limits, Outcome
from byways.regions._work import LIMITS, is_small, limited, whole, work
from byways.runs import Result, RunDirectory, Task, run_tasks
from byways.runs._executors import count_workers
from byways.runs._offering import check_queue

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from byways.core.progress import Listener
    from byways.regions._question import Question

__all__ = ["Manner", "gather", "recall"]

_PASS = "regions"
# Workers elsewhere look at the clock themselves; this long their last results may be on the way.
_LATE_SECONDS = 5.0
# Threads have nothing to load, so they get questions this part as large as processes do.
_FOR_THREADS = 1 / 8


@dataclass(frozen=True, slots=True)
class Manner:
    """How to compute, which never changes what is found."""

    workers: int | None = 1
    executor: Executor | None = None
    run_dir: str | Path | None = None
    progress: bool | Listener = False
    queue: str | None = None

    def __post_init__(self) -> None:
        if self.queue is not None:
            check_queue(self.queue, self.workers, self.executor, self.run_dir)


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
        stream = _results(question, limits, manner, journal, deadline)
        most = limits.max_regions
        collector = Collector(question, journal, most, listener, start, deadline)
        try:
            outcome = collector.take(stream)
        except KeyboardInterrupt:
            outcome = Outcome.INTERRUPTED
        finally:
            stream.close()
        return collector.answer(outcome)


def recall(question: Question, directory: RunDirectory) -> Answer:
    """Put together what a run directory holds, without going on.

    The answer's seconds are those that the tasks took together.
    """
    collector = Collector(question, directory, None, as_progress(False), time.time(), None)
    outcome = collector.take(_recalled([whole(None, None)], directory.finished(), []))
    answer = collector.answer(outcome if outcome.complete else Outcome.INTERRUPTED)
    return replace(answer, seconds=answer.task_seconds)


Stream: TypeAlias = Generator[tuple[Task, Result], None, None]


def _results(
    question: Question,
    limits: Limits,
    manner: Manner,
    journal: RunDirectory | None,
    deadline: float | None,
) -> Stream:
    """Give the results as they come, those of earlier sessions first.

    What the journal keeps comes without its arrays.
    """
    elsewhere = manner.executor is not None or manner.queue is not None
    start = partial(
        run_tasks,
        work,
        context=question,
        workers=manner.workers,
        executor=manner.executor,
        until=None if deadline is None or not elsewhere else deadline + _LATE_SECONDS,
    )
    if type(manner.workers) is not int or manner.workers != 1 or elsewhere:
        start([], journal=journal, queue=manner.queue)  # refuses wrong arguments at once
    most = limits.max_regions
    # Which regions are the first ones depends on where the tree is cut: not on workers then.
    root = whole(deadline, most, _workers(manner) if most is None else 1)
    known: Mapping[str, Result] = journal.finished() if journal else {}
    waiting: list[Task] = []
    # A task with more regions than are asked for stops at the first that its walk meets, which
    # are not the first of its sorted list; it has to walk again.
    yield from _recalled([root], known, waiting, most)
    if waiting == [root]:
        threads = isinstance(manner.executor, ThreadPoolExecutor)
        yield from _begin(question, journal, known, waiting, _FOR_THREADS if threads else 1.0)
    again = [task for task in waiting if task.key in known]
    fresh = [task for task in waiting if task.key not in known]
    for tasks, kept in ((again, None), (fresh, journal)):
        if not tasks:
            continue
        running = start(tasks, journal=kept, queue=manner.queue if kept else None)
        with contextlib.closing(running):  # cancels what is pending
            for task, result in running:
                yield task, result if kept is None else _without_arrays(result)
                # What is in the journal already is not given by the run itself.
                yield from _recalled(result.rest, known, [])


def _workers(manner: Manner) -> int:
    """Say for how many workers tasks are made; 1 where it cannot be known."""
    if manner.queue is not None:
        return 1
    if manner.executor is not None:
        size = getattr(manner.executor, "_max_workers", 1)  # of the standard library's, and loky's
        return size if isinstance(size, int) and size > 0 else 1
    return count_workers(manner.workers)


def _without_arrays(result: Result) -> Result:
    """Drop the arrays of a result that a run directory keeps: only whole ones are kept."""
    return replace(result, arrays=None) if result.complete else result


def _begin(
    question: Question,
    journal: RunDirectory | None,
    known: Mapping[str, Result],
    waiting: list[Task],
    patience: float,
) -> Stream:
    """Work off tasks without workers, until it is clear that the question is a large one."""
    done = found = 0
    while waiting and is_small(question, done / patience, found / patience):
        task = waiting.pop()
        result = work(question, task)
        done, found = done + int(result.counts["work"]), found + int(result.counts["regions"])
        if journal is not None and task.key not in known:
            if result.complete:
                journal.append(result)
            result = _without_arrays(result)
        yield task, result
        more: list[Task] = []
        yield from _recalled(result.rest, known, more)
        waiting += reversed(more)


def _recalled(
    tasks: Iterable[Task],
    known: Mapping[str, Result],
    waiting: list[Task],
    most: int | None = None,
) -> Stream:
    """Give what is known of tasks and of those that they left; list the others as waiting.

    What has more than ``most`` regions counts as unknown.
    """
    stack = list(tasks)[::-1]
    limits = {k: stack[0].payload[k] for k in LIMITS} if stack else {}
    while stack:
        task = stack.pop()
        result = known.get(task.key)
        if result is None or (most is not None and result.counts["regions"] > most):
            waiting.append(task)
            continue
        yield task, result
        stack += [limited(child, limits) for child in reversed(result.rest)]
