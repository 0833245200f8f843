"""The master's side of a queue: offer tasks, watch the run directory for their results."""

from __future__ import annotations

import logging
import math
import secrets
import shutil
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from byways.core.errors import TasksFailedError
from byways.runs._amqp import AmqpOutbox, Broker, is_amqp
from byways.runs._chunks import Reply
from byways.runs._folder import FolderOutbox, QueueFolder
from byways.runs._tail import Tail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from byways.runs._directory import RunDirectory
    from byways.runs._journal import Entry
    from byways.runs._tasks import Result, Task

__all__ = ["QueuePool", "check_queue"]

_LOGGER = logging.getLogger("byways.runs")
_QUIET_SECONDS = 60.0  # without a result until lost messages are looked for; doubled each time
_SHAKEN_SECONDS = 5.0  # from the return of a lost broker until they are looked for
_LOOK_SECONDS = (0.02, 0.5)
_LOOK_SHARE = 20.0  # looking takes at most one in so many seconds
_LEAVE_SECONDS = 10.0


class _Outbox(Protocol):
    """Where tasks are handed out."""

    def offer(self, tasks: Iterable[Task]) -> None: ...

    def tend(self) -> bool: ...

    def repair(self, tasks: Iterable[Task]) -> None: ...

    def withdraw(self, tasks: Iterable[Task]) -> None: ...

    def close(self, *, finished: bool) -> None: ...


def check_queue(queue: object, workers: object, executor: object, journal: object) -> None:
    """Check the argument ``queue`` together with those that it excludes or needs.

    Raises:
        TypeError: If it is not a text.
        ValueError: If it is no queue, or the others do not fit.
    """
    if not isinstance(queue, str):
        raise TypeError(f'"queue" was {queue!r}; it is "folder" or the address of a broker')
    if queue != "folder" and not is_amqp(queue):
        shown = queue.partition("://")[0]
        raise ValueError(
            f'"queue" was {shown!r}; it is "folder", "amqp", or an address amqp://host or amqps://'
            "host"
        )
    if executor is not None or workers != 1 or isinstance(workers, bool):
        raise ValueError(
            '"queue" was given together with "workers" or "executor"; the workers of a queue are '
            "started by themselves, so leave these out"
        )
    if journal is None:
        raise ValueError(
            '"queue" was given without a run directory; workers put their results there, so name '
            "one that all of them see"
        )


class QueuePool:
    """A pool whose workers come and go: each chunk is one task in a queue.

    A thread owns the queue: it offers what was submitted, and follows the journals of the run
    directory for results, whoever writes them.

    Args:
        queue: Where the queue is.
        journal: The run directory.

    Raises:
        ConnectionError: If the broker cannot be reached.
        ValueError: If its address cannot be understood.
    """

    target = 0.0
    window = 1024
    shared_fate = False

    def __init__(self, queue: str, journal: RunDirectory) -> None:
        self._over = threading.Event()
        seal = journal.seals.messages()
        resumed = QueueFolder(journal.path).ready
        self._folder = QueueFolder(journal.path, create=True)
        self._folder.finished = False
        session = secrets.token_hex(8)
        self._outbox: _Outbox
        if queue == "folder":
            self._outbox = FolderOutbox(self._folder, seal, session)
        else:
            broker = Broker(queue, seal.name)
            self._outbox = AmqpOutbox(broker, seal, session, self._over, again=resumed)
        self._whole = journal.follow()
        self._partial_folder = self._folder.partial / session
        self._partial = Tail(*self._folder.partial_folders(session), journal.seals.partial(session))
        self._submitted: SimpleQueue[tuple[Task, Future[Reply]]] = SimpleQueue()
        self._waiting: dict[str, tuple[Task, Future[Reply]]] = {}
        self._early: dict[str, tuple[Tail, Entry]] = {}  # results that nobody waits for yet
        self._earlier = journal.done_keys()
        self._answered: set[str] = set()
        self._aborted = False
        self._thread = threading.Thread(target=self._run, name="byways-queue", daemon=True)
        self._thread.start()

    def submit(self, tasks: list[Task], *, lacked_context: int = 0) -> Future[Reply]:
        """Offer one task."""
        (task,) = tasks
        future: Future[Reply] = Future()
        self._submitted.put((task, future))
        return future

    def close(self, *, abort: bool) -> None:
        """Leave the queue; with ``abort`` take back what no worker has begun."""
        self._aborted = abort
        self._over.set()
        self._thread.join(_LEAVE_SECONDS)
        shutil.rmtree(self._partial_folder, ignore_errors=True)

    def _run(self) -> None:
        """Own the queue until told to leave; whoever waits learns of a failure."""
        try:
            self._follow()
            if self._aborted:
                self._outbox.withdraw([task for task, _ in self._waiting.values()])
            else:
                self._folder.finished = True
                self._report_strangers()
        except BaseException as error:
            while not self._over.is_set():
                self._take_submitted(0.1)
                self._fail_all(error)
        finally:
            self._outbox.close(finished=not self._aborted)

    def _fail_all(self, error: BaseException) -> None:
        """Let everybody who waits know that nothing will come."""
        for _, future in self._waiting.values():
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        self._waiting.clear()

    def _follow(self) -> None:
        """Offer and collect until it is over."""
        least, most = _LOOK_SECONDS
        pause, quiet = least, _QUIET_SECONDS
        news, doubt = time.monotonic(), math.inf
        while not self._over.is_set():
            started = time.monotonic()
            self._outbox.offer(self._take_submitted(pause))
            if self._outbox.tend():
                doubt = time.monotonic() + _SHAKEN_SECONDS
            looked = time.monotonic()
            if self._collect():
                pause, news, quiet = least, time.monotonic(), _QUIET_SECONDS
            else:
                cost = time.monotonic() - looked
                pause = min(max(pause * 1.5, _LOOK_SHARE * cost), max(most, _LOOK_SHARE * cost))
            if self._waiting and started - news > quiet:
                news, quiet, doubt = time.monotonic(), 2 * quiet, 0.0
            if self._waiting and started > doubt:
                self._outbox.repair([task for task, _ in self._waiting.values()])
                doubt = math.inf

    def _take_submitted(self, seconds: float) -> list[Task]:
        """Wait for tasks, and give those whose results are not there already."""
        fresh: list[Task] = []
        timeout: float | None = seconds
        while True:
            try:
                task, future = self._submitted.get(timeout=timeout)
            except Empty:
                return fresh
            timeout = 0.0
            self._waiting[task.key] = task, future
            self._folder.forget_failure(task.key)
            if task.key not in self._early:
                fresh.append(task)

    def _collect(self) -> bool:
        """Answer who waits with what has come; True if anything has."""
        self._read()
        found = False
        for key in [key for key in self._early if key in self._waiting]:
            tail, entry = self._early[key]
            result = tail.result(entry)
            if result is not None:
                del self._early[key]
                self._answer(result, complete=tail is self._whole)
                found = True
        for key, reason in self._folder.failures():
            if key in self._waiting:
                _, future = self._waiting.pop(key)
                if future.set_running_or_notify_cancel():
                    future.set_exception(TasksFailedError(f"task {key!r} failed: {reason}", (key,)))
        return found

    def _read(self) -> None:
        """Take note of the results that have come."""
        for tail in (self._whole, self._partial):
            for entry in tail.entries():
                self._early.setdefault(entry.key, (tail, entry))

    def _report_strangers(self) -> None:
        """Say so if there are results that are not of this run: nobody counts them."""
        self._read()
        strangers = sorted(self._early.keys() - self._earlier - self._answered)
        if strangers:
            _LOGGER.warning(
                "refused %d results in the run directory that belong to no task of this run: %s",
                len(strangers),
                ", ".join(strangers[:5]),
            )

    def _answer(self, result: Result, *, complete: bool) -> None:
        _, future = self._waiting.pop(result.key)
        self._answered.add(result.key)
        if not complete:
            result = replace(result, complete=False)
        if future.set_running_or_notify_cancel():
            future.set_result(Reply([result], result.seconds))
