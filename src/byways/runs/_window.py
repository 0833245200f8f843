"""A window that slides over the tasks: cut chunks, keep some submitted, collect what comes back."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import BrokenExecutor, CancelledError
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from byways.core.errors import TasksFailedError
from byways.runs._tasks import Result, Task

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from byways.runs._chunks import Reply
    from byways.runs._directory import RunDirectory
    from byways.runs._executors import Pool
    from byways.runs._ledger import Ledger

__all__ = ["TaskQueue", "Window"]

# Submitted tasks are in memory; this many take about 4 MiB.
_PENDING_TASKS = 8192
_LEAST_CHUNK = 64
# Weight of the last chunk in the average of seconds per unit of cost.
_NEWEST = 0.3
_FLUSH_SECONDS = 0.5
# Tasks that are back in a moment are too short to travel alone: a few are tried before the window
# is filled. Where tasks take longer, a moment is nothing.
_FEW, _MOMENT = 8, 1e-3


@dataclass(slots=True)
class _Chunk:
    """Tasks that travel together."""

    tasks: list[Task]
    losses: int = 0
    lacked_context: int = 0


class TaskQueue:
    """The tasks that are still to do, checked one by one as they are asked for.

    Args:
        tasks: The tasks.
        journal: Tasks that it has are skipped, but not what they left to others.
        ledger: Counts what is skipped.

    Raises:
        TypeError: If an element is not a task.
        ValueError: If a key occurs twice in a list or tuple.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        journal: RunDirectory | None,
        ledger: Ledger,
    ) -> None:
        if isinstance(tasks, list | tuple):
            _check_unique(tasks)
        self._tasks = iter(tasks)
        self._finished = journal.finished() if journal is not None else None
        self._ledger = ledger
        self._left: list[Task] = []  # the newest goes first: so few of them wait at a time
        self._underway: set[str] = set()
        self._rate: float | None = None

    def __iter__(self) -> Iterator[Task]:
        return self

    def __next__(self) -> Task:
        while True:
            task = self._left.pop() if self._left else next(self._tasks)
            _check_task(task)
            if task.key in self._underway:
                raise _occurs_twice(task.key)
            if self._finished is None or task.key not in self._finished:
                self._underway.add(task.key)
                return task
            self._ledger.skip()
            self._add(self._finished.rest(task.key))

    def chunk(self, seconds: float, most: int, chunks: int) -> list[Task]:
        """Take tasks whose predicted time is just above a number of seconds, one at first.

        Of tasks that others left, no more are taken than one of so many ``chunks`` would get, so
        that the last of them are not all in one.
        """
        tasks: list[Task] = []
        predicted = 0.0
        if self._left:
            most = min(most, -(-len(self._left) // chunks))
        while len(tasks) < most and (task := next(self, None)) is not None:
            tasks.append(task)
            if self._rate is None:
                break
            predicted += self._rate * task.cost
            if predicted >= seconds:
                break
        return tasks

    def finish(self, pairs: list[tuple[Task, Result]], seconds: float) -> None:
        """Take note of what is finished, of the time that it took together, and of what it left."""
        cost = 0.0
        for task, _ in pairs:
            self._underway.discard(task.key)
            cost += task.cost
        rate = seconds / cost
        self._rate = rate if self._rate is None else self._rate + _NEWEST * (rate - self._rate)
        for _, result in reversed(pairs):
            self._left += reversed(result.rest)

    def put_back(self, tasks: list[Task]) -> None:
        """Take back tasks that were not begun; they go first."""
        self._underway.difference_update([task.key for task in tasks])
        self._left += reversed(tasks)

    def _add(self, rest: Sequence[Task]) -> None:
        """Put what a skipped task left in front."""
        self._ledger.expect(len(rest))
        self._left += reversed(rest)


class Window:
    """Keep a number of chunks submitted, and collect their results.

    Args:
        pool: Where chunks run.
        queue: The tasks.
        ledger: Where results are written down.
        size: Number of chunks submitted at a time, or None for the pool's own.
        retries: How often a chunk is submitted again after its worker died.
        until: Time since the epoch after which nothing is waited for, or None.
    """

    def __init__(
        self,
        pool: Pool,
        queue: TaskQueue,
        ledger: Ledger,
        size: int | None,
        retries: int,
        until: float | None = None,
    ) -> None:
        self._pool = pool
        self._queue = queue
        self._ledger = ledger
        self._size = size or pool.window
        self._most = max(_LEAST_CHUNK, _PENDING_TASKS // self._size)
        self._retries = retries
        self._until = until
        self._again: deque[_Chunk] = deque()
        self._running: dict[Future[Reply], _Chunk] = {}
        self._arrived: SimpleQueue[Future[Reply]] = SimpleQueue()

    def results(self) -> Generator[tuple[Task, Result], None, None]:
        """Run everything; give pairs of task and result."""
        complete = False
        try:
            yield from self._try_few()
            while self._fill():
                arrived = self._wait()
                if arrived is None:
                    return
                pairs = self._collect(arrived)
                self._fill()  # the workers go on while the caller looks at the results
                yield from pairs
            complete = True
        finally:
            self._stop(complete)

    def _try_few(self) -> list[tuple[Task, Result]]:
        """Submit a few chunks, and collect one if it is back in a moment."""
        if not self._fill(_FEW):
            return []
        try:
            pairs = self._collect(self._arrived.get(timeout=_MOMENT))
        except Empty:
            pairs = []
        self._fill()
        return pairs

    def _fill(self, most: int | None = None) -> bool:
        """Submit chunks until the window is full; False if there is nothing left to wait for."""
        size = self._size if most is None else min(most, self._size)
        while len(self._running) < size and (chunk := self._next()) is not None:
            try:
                future = self._pool.submit(chunk.tasks, lacked_context=chunk.lacked_context)
            except BrokenExecutor as error:
                raise self._failure([chunk, *self._running.values()], error) from error
            self._running[future] = chunk
            future.add_done_callback(self._arrived.put)
        return bool(self._running)

    def _next(self) -> _Chunk | None:
        """Give the chunk to submit next, if there is one.

        Where one death ends all workers, the chunks that were lost run one at a time: so only the
        one that kills its worker fails, and not those that shared its fate.
        """
        if self._pool.shared_fate and self._must_wait():
            return None
        if self._again:
            return self._again.popleft()
        tasks = self._queue.chunk(self._pool.target, self._most, self._size)
        return _Chunk(tasks) if tasks else None

    def _must_wait(self) -> bool:
        """Whether a chunk that was lost is running, or is the next and others are running."""
        lost = self._again[0].losses if self._again else 0
        return bool(lost and self._running) or any(c.losses for c in self._running.values())

    def _wait(self) -> Future[Reply] | None:
        """Wait for a chunk; nothing stays unflushed while workers take their time.

        None if there is no more time to wait.
        """
        while True:
            timeout = _FLUSH_SECONDS if self._ledger.unflushed else None
            if self._until is not None:
                left = max(self._until - time.time(), 0.0)
                timeout = left if timeout is None else min(left, timeout)
            try:
                return self._arrived.get(timeout=timeout)
            except Empty:
                self._ledger.flush()
            if self._until is not None and time.time() >= self._until:
                return None

    def _collect(self, future: Future[Reply]) -> list[tuple[Task, Result]]:
        """Write down what a chunk gave; put back what it did not do."""
        chunk = self._running.pop(future)
        try:
            reply = future.result()
        except (BrokenExecutor, CancelledError) as error:
            self._put_back(chunk, error)
            return []
        if reply.lacks_context:
            chunk.lacked_context += 1
            self._again.append(chunk)
            return []
        pairs = list(zip(chunk.tasks, reply.results, strict=False))
        for _, result in pairs:
            self._ledger.record(result)
        if pairs:
            self._queue.finish(pairs, reply.seconds)
        if rest := chunk.tasks[len(pairs) :]:
            if chunk.losses:
                self._again.append(_Chunk(rest, chunk.losses))
            else:
                self._queue.put_back(rest)  # they take longer than predicted: cut them anew
        return pairs

    def _put_back(self, chunk: _Chunk, error: BaseException) -> None:
        """Keep a lost chunk for another attempt, if it has one left."""
        chunk.losses += 1
        if chunk.losses > self._retries:
            fellows = self._running.values() if self._pool.shared_fate else ()
            raise self._failure([chunk, *fellows], error) from error
        # Lost chunks go last, so that they run alone once the others are through.
        self._again.append(chunk)

    def _failure(self, chunks: list[_Chunk], error: BaseException) -> TasksFailedError:
        """Describe the chunks that cannot be run; what finished meanwhile is not among them."""
        saved = {task.key for task in self._salvage()}
        keys = sorted({task.key for chunk in chunks for task in chunk.tasks} - saved)
        shown = ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")
        return TasksFailedError(
            f"{len(keys)} tasks were lost {self._retries + 1} times with their workers: {shown}; "
            f"the last cause was: {error!r}. A worker dies like this when "
            'memory runs out or compiled code crashes; raise "retries" if it was chance',
            tuple(keys),
        )

    def _salvage(self) -> list[Task]:
        """Write down the results that arrived and were not collected yet."""
        saved: list[Task] = []
        for future in [f for f in self._running if f.done() and not f.cancelled()]:
            if future.exception() is None:
                saved += [task for task, _ in self._collect(future)]
        return saved

    def _stop(self, complete: bool) -> None:
        """Cancel what is pending, keep what arrived, release the pool."""
        try:
            for future in () if self._pool.shared_fate else self._running:
                future.cancel()
            if self._ledger.keeps:
                self._salvage()
        finally:
            self._pool.close(abort=not complete)


def _check_task(task: object) -> None:
    """Refuse what is not a task."""
    if not isinstance(task, Task):
        raise TypeError(f'"tasks" contains {task!r}; every element must be a byways.runs.Task')


def _check_unique(tasks: list[Task] | tuple[Task, ...]) -> None:
    """Refuse two tasks of one key."""
    keys: set[str] = set()
    for task in tasks:
        _check_task(task)
        if task.key in keys:
            raise _occurs_twice(task.key)
        keys.add(task.key)


def _occurs_twice(key: str) -> ValueError:
    """Describe a key that is not unique."""
    return ValueError(f'"tasks" contains the key {key!r} twice; each task needs a key of its own')
