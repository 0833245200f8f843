"""``run_tasks``: push any number of tasks through a window of chunks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sized
from concurrent.futures import Executor
from typing import TYPE_CHECKING, TypeVar, cast

from byways.core.errors import RunMismatchError
from byways.core.progress import Listener, as_progress
from byways.runs._chunks import run_task
from byways.runs._executors import GivenExecutor, OwnPool, check_executor, count_workers
from byways.runs._ledger import Ledger
from byways.runs._offering import QueuePool, check_queue
from byways.runs._tasks import Context, Result, Task
from byways.runs._window import TaskQueue, Window

if TYPE_CHECKING:
    from byways.runs._chunks import Work
    from byways.runs._directory import RunDirectory
    from byways.runs._executors import Pool

__all__ = ["run_tasks"]

_C = TypeVar("_C", bound=Context)


def run_tasks(
    work: Callable[[_C, Task], Result],
    tasks: Iterable[Task],
    *,
    context: _C,
    workers: int | None = 1,
    executor: Executor | None = None,
    journal: RunDirectory | None = None,
    progress: bool | Listener = False,
    window: int | None = None,
    retries: int = 1,
    queue: str | None = None,
    until: float | None = None,
) -> Generator[tuple[Task, Result], None, None]:
    """Run tasks on one process or many, and give each result as it arrives.

    Tasks travel in chunks, cut so that a chunk takes about 0.2 s (1 s on a given executor), and
    at most ``window`` chunks are submitted at a time. So tasks may be an endless iterator, and
    memory does not grow with their number. A task may leave a rest (``Result.rest``); it is run
    next. Results arrive in any order; whoever needs one order sorts by key. Closing the generator,
    or leaving its loop, cancels what is pending.

    The cost beside the work itself is O(1) for each task, and one shipment of the context for each
    process. The set of results does not depend on workers, executor, window or chunks if ``work``
    is a pure function.

    Args:
        work: Function of the context and a task that returns the task's result; at the top level
            of a module, so that other processes can import it.
        tasks: The tasks, each key once. Two tasks of one key are refused where they can be seen:
            in a list or tuple, and among those submitted at the same time.
        context: What all tasks share, such as a network; it has ``digest()`` and can be pickled.
        workers: Number of processes; 1 runs everything in the caller's process, None uses all
            cores that this process may use.
        executor: Any ``concurrent.futures.Executor`` instead of processes of our own. It is never
            shut down here.
        journal: Run directory that keeps the results. Tasks that it has are skipped and not given
            again (what they left is run unless it is there too); its own ``results`` gives all.
        progress: True for a bar, or a function that takes a ``ProgressEvent``. Its ``done`` and
            ``total`` count tasks; its ``found`` is the sum of the counts named ``found``.
        window: Number of chunks submitted at a time; None means 2 * workers + 2, or 64 on a given
            executor.
        retries: How often a chunk is tried again after its worker died.
        queue: Instead of workers or an executor, hand the tasks to workers that are started by
            themselves (``serve_queue``) and see the same run directory: ``"folder"`` for a queue
            in it, the address of an AMQP broker, or ``"amqp"`` for the one in BYWAYS_AMQP_URL.
        until: Time (seconds since the epoch) after which no result is waited for any more, even if
            no worker ever comes; the generator ends without those that are missing.

    Returns:
        A generator of pairs (task, result), in the order in which they finish.

    Raises:
        RunMismatchError: If the journal belongs to another context.
        RuntimeError: If no worker process can start, as in a script without the guard
            ``if __name__ == "__main__":``.
        TasksFailedError: If workers died more often than ``retries`` allows; it lists the keys of
            the tasks that were in them. What ``work`` raises is raised unchanged, with a note that
            names the task.
        TypeError: If an argument has the wrong type.
        ValueError: If a number is too small, a key occurs twice, or both ``workers`` and
            ``executor`` are given.

    Example:
        >>> import byways as bw
        >>> from byways.runs import Result, Task, run_tasks
        >>> def evaluate(chain, task):
        ...     return Result(task.key, counts={"value": float(chain(task.payload["x"])[0])})
        >>> chain = bw.LayerChain.from_arrays([([[1.0]], [0.0]), ([[2.0]], [1.0])])
        >>> tasks = [Task(f"x-{i}", {"x": [i]}) for i in range(3)]
        >>> sorted(
        ...     result.counts["value"] for _, result in run_tasks(evaluate, tasks, context=chain)
        ... )
        [1.0, 3.0, 5.0]
    """
    if not callable(work):
        raise TypeError(f'"work" was {work!r}; it must be a function of a context and a task')
    number = count_workers(workers)
    if executor is not None:
        check_executor(executor, workers)
    _check_whole(retries, "retries", 0)
    if window is not None:
        _check_whole(window, "window", 1)
    if queue is not None:
        check_queue(queue, workers, executor, journal)
    digest = _digest(context, journal)
    total = len(tasks) if isinstance(tasks, Sized) else None
    # The workers of a queue write their results themselves.
    ledger = Ledger(journal if queue is None else None, as_progress(progress), total)
    waiting = TaskQueue(tasks, journal, ledger)
    if executor is None and number == 1 and queue is None:
        return _closing(_inline(work, context, waiting, ledger), ledger)

    def start() -> Pool:
        if queue is not None and journal is not None:
            return QueuePool(queue, journal)
        if executor is None:
            return OwnPool(work, context, digest, number)
        return GivenExecutor(executor, work, context, digest, journal)

    return _closing(_pooled(start, waiting, ledger, window, retries, until), ledger)


def _inline(
    work: Work, context: Context, queue: TaskQueue, ledger: Ledger
) -> Generator[tuple[Task, Result], None, None]:
    """Run everything in this process."""
    for task in queue:
        result = run_task(work, context, task)
        ledger.record(result)
        queue.finish([(task, result)], result.seconds)
        yield task, result


def _pooled(
    start: Callable[[], Pool],
    queue: TaskQueue,
    ledger: Ledger,
    size: int | None,
    retries: int,
    until: float | None,
) -> Generator[tuple[Task, Result], None, None]:
    """Run everything on a pool, which starts when the first result is asked for."""
    yield from Window(start(), queue, ledger, size, retries, until).results()


def _closing(
    pairs: Generator[tuple[Task, Result], None, None], ledger: Ledger
) -> Generator[tuple[Task, Result], None, None]:
    """Flush whatever ends the run, and announce its end if it is complete."""
    try:
        yield from pairs
        ledger.announce()
    finally:
        ledger.flush()


def _digest(context: object, journal: RunDirectory | None) -> str:
    """Give the digest of the context, which must be the one that the journal belongs to."""
    if not callable(getattr(context, "digest", None)):
        raise TypeError(f'"context" was {context!r}; it must have the method digest()')
    digest = cast("Context", context).digest()
    if journal is not None and journal.context_digest != digest:
        raise RunMismatchError(
            f'"journal" was {journal!r}, which belongs to the "context digest" '
            f"{journal.context_digest!r}; the context has {digest!r}; use the directory of this "
            "context"
        )
    return digest


def _check_whole(value: object, name: str, least: int) -> None:
    """Refuse what is not a whole number from ``least``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f'"{name}" was {value!r}; it must be a whole number from {least}')
    if value < least:
        raise ValueError(f'"{name}" was {value!r}; it must be at least {least}')
