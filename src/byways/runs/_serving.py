"""A worker of a queue: take a task, compute it, put the result on disk, say so."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from byways.runs._amqp import AmqpInbox, Broker
from byways.runs._chunks import run_task
from byways.runs._directory import RunDirectory
from byways.runs._folder import FolderInbox, QueueFolder
from byways.runs._journal import JournalWriter, worker_name
from byways.runs._offering import check_queue
from byways.runs._tasks import Context, Result, Task

if TYPE_CHECKING:
    from byways.runs._folder import Delivery
    from byways.runs._tail import Tail

__all__ = ["serve_queue"]

_LOGGER = logging.getLogger("byways.runs")
_LOOK_SECONDS = 0.5
_C = TypeVar("_C", bound=Context)


class _Inbox(Protocol):
    """Where tasks come from, unless the place is out of reach for now."""

    reachable: bool

    def take(self, seconds: float) -> Delivery | None: ...

    def finish(self, delivery: Delivery) -> None: ...

    def give_back(self, delivery: Delivery) -> None: ...

    def close(self) -> None: ...


def serve_queue(
    path: str | Path,
    work: Callable[[_C, Task], Result],
    load: Callable[[Path], _C],
    *,
    queue: str = "folder",
    lease: float = 60.0,
    idle: float | None = None,
    retries: int = 3,
    listener: Callable[[Result], None] | None = None,
) -> int:
    """Work on the tasks of a queue until its run is finished.

    Any number of workers may serve one queue; they come and go at any moment, also by ``kill -9``.
    A result is on disk before its task counts as done; a task whose worker dies is done by another
    one, and a result that arrives twice counts once. Messages are JSON, and only those that are
    sealed with the secret in the run directory are obeyed.

    Args:
        path: The run directory; if it is not there yet, it is waited for.
        work: The work function of the run.
        load: Reads the run's context from a file.
        queue: ``"folder"`` for the queue in the run directory, the address of a broker, or
            ``"amqp"`` for the address in the variable BYWAYS_AMQP_URL.
        lease: Seconds after which another worker takes over a task in a folder if this one is
            silent. It is refreshed while the task is computed.
        idle: Seconds without a task after which the worker leaves; None waits for ever. While the
            broker is away, for ten minutes at most, they are not counted.
        retries: How often a task is tried again after its worker died.
        listener: Is told each result.

    Returns:
        The number of tasks that this worker finished.

    Raises:
        ConnectionError: If the broker cannot be reached.
        MissingDependencyError: If the package for a broker is not installed.
        OSError: If a result cannot be written; its task is given back.
        RunMismatchError: If the context in the directory is not the one of the run.
        ValueError: If the queue is none, or a number is out of range.
    """
    check_queue(queue, 1, None, path)
    for name, value in (("lease", lease), ("idle", idle)):
        if value is not None and not value > 0:
            raise ValueError(f'"{name}" was {value!r}; it must be a positive number of seconds')
    folder = QueueFolder(Path(path).absolute())
    if not _wait_for(folder, idle):
        return 0
    with RunDirectory.open(path) as run:
        seal = run.seals.messages()
        worker = _Worker(run, folder, work, run.load_context(load), retries, listener)
        inbox: _Inbox
        if queue == "folder":
            inbox = FolderInbox(folder, seal, worker_name(), lease)
        else:
            inbox = AmqpInbox(Broker(queue, seal.name), seal, folder)
        try:
            return worker.serve(inbox, idle)
        finally:
            inbox.close()


def _wait_for(folder: QueueFolder, idle: float | None) -> bool:
    """Wait until a master has made the queue; False if none did in time."""
    end = None if idle is None else time.monotonic() + idle
    while not folder.ready:
        if end is not None and time.monotonic() > end:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


class _Worker:
    """What a worker does with deliveries."""

    def __init__(
        self,
        run: RunDirectory,
        folder: QueueFolder,
        work: Callable[[Any, Task], Result],
        context: Context,
        retries: int,
        listener: Callable[[Result], None] | None,
    ) -> None:
        self._run = run
        self._folder = folder
        self._work = work
        self._context = context
        self._retries = retries
        self._listener = listener
        self._tail: Tail | None = None
        self._done: set[str] = set()
        self.finished = 0

    def serve(self, inbox: _Inbox, idle: float | None) -> int:
        """Handle what comes until the run is finished, or nothing comes for long."""
        since = time.monotonic()
        while True:
            delivery = inbox.take(_LOOK_SECONDS)
            if delivery is not None:
                self._handle(inbox, delivery)
                since = time.monotonic()
            elif self._folder.finished:
                return self.finished
            elif not inbox.reachable:
                since = time.monotonic()
            elif idle is not None and time.monotonic() - since > idle:
                return self.finished

    def _handle(self, inbox: _Inbox, delivery: Delivery) -> None:
        """Do a task, and let the queue know how it ended."""
        task = delivery.message.task
        try:
            if delivery.message.again and self._is_done(task.key):
                pass
            elif delivery.attempt > self._retries + 1:
                self._folder.fail(
                    task.key,
                    f"{delivery.attempt - 1} workers died or left in the middle of it; a worker "
                    "dies like this when memory runs out or compiled code crashes",
                )
            else:
                self._do(delivery)
        except BaseException:
            inbox.give_back(delivery)
            raise
        inbox.finish(delivery)

    def _do(self, delivery: Delivery) -> None:
        """Compute a task and put its result on disk."""
        task = delivery.message.task
        try:
            result = run_task(self._work, self._context, task)
        except Exception as error:
            _LOGGER.exception("task %s failed", task.key)
            self._folder.fail(task.key, "".join(traceback.format_exception(error)).strip())
            return
        if result.complete:
            self._run.append(result)
            self._run.sync()
        else:
            self._keep_partial(result, delivery.message.session)
        self.finished += 1
        if self._listener is not None:
            self._listener(result)

    def _keep_partial(self, result: Result, session: str) -> None:
        """Write what a limit cut short where only the master of this session looks."""
        if not (self._folder.partial / session).is_dir():
            return  # that master has left
        folders, seal = self._folder.partial_folders(session), self._run.seals.partial(session)
        writer = JournalWriter(*folders, worker_name(), seal)
        try:
            writer.append(result)
        finally:
            writer.close()

    def _is_done(self, key: str) -> bool:
        """Look whether anybody has finished a task."""
        if self._tail is None:
            self._tail = self._run.follow()
        self._done.update(entry.key for entry in self._tail.entries())
        return key in self._done
