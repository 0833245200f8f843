"""A queue in the run directory, for workers that see the same file system.

::

    RUN/queue/tasks/KEY.json       a message; it is removed when the result of its task is on disk
    RUN/queue/claims/KEY           made with O_EXCL by the worker that does the task
    RUN/queue/failed/KEY.json      why a task cannot be done
    RUN/queue/attempts/KEY         how often a broker delivered it again
    RUN/queue/partial/SESSION/     results that a limit cut short, for the master of that session
    RUN/queue/finished             the run is complete: workers may leave

A worker touches its claim again and again. A claim that does not change for its lease, by the clock
of the one who looks, belongs to nobody: it is moved away, which only one worker can do, and the
task is claimed afresh. The worker that was thought dead may go on; its result is one of two equal
ones, and counts once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from byways.runs._files import name_file, write_atomically
from byways.runs._messages import LARGEST, Message
from byways.runs._tasks import check_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from byways.runs._messages import Seal
    from byways.runs._tasks import Task

__all__ = ["Delivery", "FolderInbox", "FolderOutbox", "QueueFolder"]

_LOGGER = logging.getLogger("byways.runs")
_LOOK_SECONDS = 0.25  # between two looks at an empty queue
_BEATS = 4  # in one lease
_LEASES = (0.1, 3600.0)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that this worker has to itself.

    Args:
        message: The message.
        attempt: Which attempt at the task this is, counted from 1.
        receipt: What the queue needs to know it again.
    """

    message: Message
    attempt: int
    receipt: Any


class QueueFolder:
    """The folder ``queue`` of a run directory.

    Args:
        run: The run directory.
        create: Make what is not there.
    """

    def __init__(self, run: Path, *, create: bool = False) -> None:
        self.path = run / "queue"
        self.tasks, self.claims, self.failed, self.attempts, self.partial = (
            self.path / name for name in ("tasks", "claims", "failed", "attempts", "partial")
        )
        self._finished = self.path / "finished"
        if create:
            for folder in (self.tasks, self.claims, self.failed, self.attempts, self.partial):
                folder.mkdir(parents=True, exist_ok=True)

    @property
    def ready(self) -> bool:
        """Whether a master was here, now or before."""
        return self.partial.is_dir()  # it is made last

    @property
    def finished(self) -> bool:
        """Whether the run is complete, so that workers may leave."""
        return self._finished.exists()

    @finished.setter
    def finished(self, value: bool) -> None:
        if value:
            self._finished.touch()
        else:
            self._finished.unlink(missing_ok=True)

    def partial_folders(self, session: str) -> tuple[Path, Path]:
        """Give the folders for journals and shards of what a limit cut short in one session."""
        folders = self.partial / session / "journal", self.partial / session / "shards"
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        return folders

    def fail(self, key: str, reason: str) -> None:
        """Say why a task cannot be done."""
        text = json.dumps({"key": key, "reason": reason[:10_000]})
        write_atomically(self.failed / f"{key}.json", text.encode(), sync=False)

    def failures(self) -> Iterator[tuple[str, str]]:
        """Give key and reason of what cannot be done."""
        for name in _names(self.failed):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                fields = json.loads((self.failed / name).read_bytes())
                yield name.removesuffix(".json"), str(fields["reason"])

    def forget_failure(self, key: str) -> None:
        """Give a task another chance."""
        (self.failed / f"{key}.json").unlink(missing_ok=True)
        (self.attempts / key).unlink(missing_ok=True)


class FolderOutbox:
    """The master's end of a queue in a folder.

    Args:
        folder: The folder.
        seal: Seals the messages.
        session: Name of this master's session.
    """

    def __init__(self, folder: QueueFolder, seal: Seal, session: str) -> None:
        self._folder = folder
        self._seal = seal
        self._session = session

    def offer(self, tasks: Iterable[Task]) -> None:
        """Hand out tasks.

        Raises:
            ValueError: If a task is too large for a message.
        """
        for task in tasks:
            text = self._seal.write(Message(task, self._session))
            write_atomically(self._folder.tasks / f"{task.key}.json", text, sync=False)

    def tend(self) -> bool:
        """Do nothing: files need no care."""
        return False

    def repair(self, tasks: Iterable[Task]) -> None:
        """Hand out again what has got lost of the tasks that are not done."""
        there = {*_names(self._folder.tasks), *(f"{k}.json" for k in _names(self._folder.claims))}
        self.offer([task for task in tasks if f"{task.key}.json" not in there])

    def withdraw(self, tasks: Iterable[Task]) -> None:
        """Take back what no worker has begun."""
        claimed = set(_names(self._folder.claims))
        for task in tasks:
            if task.key not in claimed:
                (self._folder.tasks / f"{task.key}.json").unlink(missing_ok=True)

    def close(self, *, finished: bool) -> None:
        """Do nothing: whatever is left is for the next master."""


class _Seen(NamedTuple):
    """A claim of somebody else: what it looked like, since when, and what it says."""

    state: tuple[int, int, int]
    since: float
    lease: float
    attempt: int


class FolderInbox:
    """A worker's end of a queue in a folder.

    Args:
        folder: The folder.
        seal: Tells whose messages these are.
        worker: Name that no other worker has.
        lease: Seconds after which others may take over what this worker does, if it does not
            refresh its claim.
    """

    reachable = True

    def __init__(self, folder: QueueFolder, seal: Seal, worker: str, lease: float) -> None:
        self._folder = folder
        self._seal = seal
        self._token = f"{worker}-{secrets.token_hex(4)}"
        self._lease = lease
        self._names: deque[str] = deque()
        self._claimed: set[str] = set()
        self._seen: dict[str, _Seen] = {}
        self._beat: _Heartbeat | None = None

    def take(self, seconds: float) -> Delivery | None:
        """Claim a task; None if there is none for so many seconds."""
        end = time.monotonic() + seconds
        while True:
            self._look()
            while self._names:
                if delivery := self._try(self._names.popleft()):
                    return delivery
            if time.monotonic() >= end:
                return None
            time.sleep(min(_LOOK_SECONDS, seconds))

    def finish(self, delivery: Delivery) -> None:
        """Remove a task whose result is on disk."""
        path, text = delivery.receipt
        # Another master may have put its own message there: it waits for an answer of its own.
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == text:
                path.unlink()
        self._release(delivery.message.task.key)

    def give_back(self, delivery: Delivery) -> None:
        """Leave a task to others."""
        self._release(delivery.message.task.key)

    def close(self) -> None:
        """End the heartbeat."""
        if self._beat is not None:
            self._beat.stop()

    def _look(self) -> None:
        """List the tasks, oldest first, when all that were listed have been tried."""
        if self._names:
            return
        found = []
        for entry in _entries(self._folder.tasks):
            with contextlib.suppress(OSError):  # done meanwhile
                found.append((entry.stat().st_mtime_ns, entry.name))
        self._names = deque(name for _, name in sorted(found))
        self._claimed = set(_names(self._folder.claims))

    def _try(self, name: str) -> Delivery | None:
        """Claim one task, unless somebody else has it."""
        key = name.removesuffix(".json")
        try:
            check_key(key)
        except ValueError:
            _LOGGER.warning("refused the task file %r: its name is not that of a task", name[:80])
            return None
        attempt = 1
        if key in self._claimed:
            found = self._take_over(key)
            if found is None:
                return None
            attempt = found + 1
        if not self._claim(key, attempt):
            return None
        delivery = self._read(key, attempt)
        if delivery is None:
            self._release(key)
        return delivery

    def _claim(self, key: str, attempt: int) -> bool:
        """Make the claim; False if another worker was faster."""
        path = self._folder.claims / key
        text = json.dumps({"worker": self._token, "lease": self._lease, "attempt": attempt})
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        try:
            with name_file(path), os.fdopen(handle, "w") as stream:
                stream.write(text)
        except BaseException:  # a full disk: an empty claim would only keep others waiting
            path.unlink(missing_ok=True)
            raise
        self._beat = _Heartbeat(path, self._lease / _BEATS, self._owns)
        return True

    def _read(self, key: str, attempt: int) -> Delivery | None:
        """Read a claimed task; None if it is done meanwhile, or no task of this run."""
        path = self._folder.tasks / f"{key}.json"
        try:
            with path.open("rb") as stream:
                text = stream.read(LARGEST + 1)
            message = self._seal.read(text)
            if message.task.key != key:
                raise ValueError(f"it holds the task {message.task.key!r}")
        except FileNotFoundError:
            return None
        except ValueError as error:
            _LOGGER.warning("refused the message %s: %s", path, error)
            path.unlink(missing_ok=True)
            return None
        return Delivery(message, attempt, (path, text))

    def _take_over(self, key: str) -> int | None:
        """Move a claim away that its owner has left; give its attempt, None if it is alive."""
        path = self._folder.claims / key
        try:
            found = path.stat()
        except FileNotFoundError:
            self._seen.pop(key, None)
            return 0
        state = (found.st_mtime_ns, found.st_ino, found.st_size)
        seen = self._seen.get(key)
        if seen is None or seen.state != state:
            self._seen[key] = _Seen(state, time.monotonic(), *self._terms(path))
            return None
        if time.monotonic() - seen.since <= seen.lease:
            return None
        grave = path.with_name(f".{key}.{secrets.token_hex(4)}")
        try:
            path.rename(grave)
        except FileNotFoundError:
            return None
        grave.unlink()
        del self._seen[key]
        _LOGGER.warning("took over task %s, whose worker was silent for %g s", key, seen.lease)
        return seen.attempt

    def _terms(self, path: Path) -> tuple[float, int]:
        """Read lease and attempt of a claim; one not written yet has the lease of the reader."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            fields = json.loads(path.read_bytes())
            lease, attempt = float(fields["lease"]), int(fields["attempt"])
            return min(max(lease, _LEASES[0]), _LEASES[1]), attempt
        return self._lease, 1

    def _release(self, key: str) -> None:
        """Remove the own claim."""
        if self._beat is not None:
            self._beat.stop()
            self._beat = None
        path = self._folder.claims / key
        if self._owns(path):
            path.unlink(missing_ok=True)

    def _owns(self, path: Path) -> bool:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return bool(json.loads(path.read_bytes()).get("worker") == self._token)
        return False


class _Heartbeat:
    """Touch a claim until it is told to stop, or the claim is lost."""

    def __init__(self, path: Path, pause: float, owns: Callable[[Path], bool]) -> None:
        self._path = path
        self._pause = pause
        self._owns = owns
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="byways-claim", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._pause):
            if not self._owns(self._path):
                return
            with contextlib.suppress(OSError):  # the next beat may succeed
                os.utime(self._path)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Give the files of a folder, drafts and hidden ones apart."""
    with os.scandir(folder) as found:
        yield from (entry for entry in found if not entry.name.startswith("."))


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder)]
