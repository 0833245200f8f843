"""Journals: one line of JSON for each finished task, one writer for each file.

A line is appended after the shard that it names is in place, so a journal never promises what is
not there. A process that dies may leave an unfinished last line: it has no newline and is dropped.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from byways.core.errors import JournalError
from byways.runs._files import name_file, sync_directory
from byways.runs._secret import UNSEALED
from byways.runs._shards import ShardWriter, encode_record
from byways.runs._tasks import Task, check_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from byways.runs._secret import LineSeal
    from byways.runs._tasks import Result

__all__ = ["Entry", "JournalWriter", "parse_entry", "read_journal", "worker_name"]

_LOGGER = logging.getLogger("byways.runs")

FLUSH_BYTES = 8 << 20
FLUSH_SECONDS = 1.0
# Writing may take this share of the time; a cheap flush is therefore done at almost every result.
FLUSH_SHARE = 0.05
SYNC_SECONDS = 1.0

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,250}\.npz")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal: a finished task, and where its arrays are.

    Args:
        key: The task's key.
        seconds: Time that the task took.
        counts: Numbers by name.
        shard: File name of the shard with its arrays, None if it has none.
        offset: First byte of its record among the shard's records.
        length: Number of bytes of its record.
        crc: CRC-32 of its record, in a journal without seals.
        sha256: SHA-256 of its record, in a journal with seals.
        rest: Tasks that it left to others.
    """

    key: str
    seconds: float
    counts: Mapping[str, int | float]
    shard: str | None = None
    offset: int = 0
    length: int = 0
    crc: int = 0
    sha256: str = ""
    rest: Sequence[Task] = ()


def parse_entry(line: bytes) -> Entry:
    """Read one line of a journal; whether its seal holds is another question.

    Raises:
        ValueError: If the line is not a journal's line.
    """
    try:
        fields = json.loads(line)
        fields.pop("seal", None)
        fields["rest"] = tuple([Task(**task) for task in fields.get("rest", ())])
        entry = Entry(**fields)
        check_key(entry.key)
        numbers = [entry.seconds, *entry.counts.values()]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is not a result in JSON: {error}") from error
    if not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
        raise ValueError("its seconds and counts are not all finite numbers")
    if entry.seconds < 0:
        raise ValueError("its seconds are negative")
    if entry.shard is None:
        return entry
    if not isinstance(entry.shard, str) or _SHARD.fullmatch(entry.shard) is None:
        raise ValueError(f"{entry.shard!r} is not the name of a shard")
    if not all(type(n) is int and n >= 0 for n in (entry.offset, entry.length, entry.crc)):
        raise ValueError("the place of its record is not three whole numbers")
    if not isinstance(entry.sha256, str):
        raise ValueError("the SHA-256 of its record is not a text")
    return entry


def read_journal(
    path: Path, seal: LineSeal = UNSEALED, number: int = 1, offset: int = 0
) -> Iterator[tuple[int, int, Entry]]:
    """Read a journal, also while it grows.

    An unfinished last line is dropped; a line that is not ours is refused, and a log says so.

    Args:
        path: The journal.
        seal: Tells which lines are ours.
        number: Number of the first line to read, counted from 1.
        offset: Where that line begins.

    Yields:
        Line number from 1, offset of the line in the file, and the entry.

    Raises:
        JournalError: If a finished line is broken.
    """
    refused: list[int] = []
    with path.open("rb") as stream:
        stream.seek(offset)
        for number, line in enumerate(stream, number):  # noqa: B020  one name for one thing
            if not line.endswith(b"\n"):
                break
            try:
                entry = parse_entry(line)
            except ValueError as error:
                raise JournalError(
                    f"{path}, line {number} is broken: {error}. Delete the line, or the whole "
                    "file, and resume: the tasks it named are computed again",
                    path,
                    number,
                ) from error
            if seal.holds(line):
                yield number, offset, entry
            else:
                refused.append(number)
            offset += len(line)
    if refused:
        _LOGGER.warning(
            "refused %d results in %s, the first in line %d: they are not sealed with the secret "
            "of this run, so somebody else wrote or changed them; their tasks count as not done",
            len(refused),
            path,
            refused[0],
        )


def worker_name() -> str:
    """Give a name that no other writer has: host, process and a random number."""
    host = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname())[:60].strip("-") or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


class JournalWriter:
    """Append results to one journal and to the shards that belong to it.

    Results wait in memory until writing them would take less than a twentieth of the time, one
    second at most, or until they have 8 MiB. What was flushed survives the death of the process;
    what was synchronised, once a second at most and when the writer is closed, also survives the
    death of the machine.

    Args:
        journals: Folder of the journals.
        shards: Folder of the shards.
        worker: Name that no other writer of this run has or had.
        seal: Closes the lines.
    """

    def __init__(
        self, journals: Path, shards: Path, worker: str, seal: LineSeal = UNSEALED
    ) -> None:
        self._seal = seal
        self.path = journals / f"{worker}.jsonl"
        self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        self._shards = ShardWriter(shards, worker)
        self._lock = threading.RLock()
        self._length = 0
        self._lines: list[bytes] = []
        self._waiting = 0
        self._flushed = time.monotonic()
        self._pause = 0.0
        self._synced = time.monotonic()
        self._named = False
        self._dirty = False

    def append(self, result: Result) -> None:
        """Take a result; it is on its way to the disk, not there yet."""
        with self._lock:
            line = self._encode(result)
            self._lines.append(line)
            self._waiting += len(line)
            waited = time.monotonic() - self._flushed
            if waited >= self._pause or self._waiting >= FLUSH_BYTES:
                self.flush()

    def _encode(self, result: Result) -> bytes:
        """Give the line of a result, and hand its arrays to the shard."""
        # Keys and names of shards need no escapes, so only the counts pass through the encoder.
        counts = _encode(result.counts)
        line = f'{{"key":"{result.key}","seconds":{result.seconds!r},"counts":{counts}'
        if result.rest:
            line += f',"rest":[{",".join([task.to_json() for task in result.rest])}]'
        if result.arrays is None:
            return self._seal.close(line)
        record = encode_record(result.key, result.arrays)
        self._waiting += len(record)
        place = f'"offset":{self._shards.add(record)},"length":{len(record)}'
        shard = f'"shard":"{self._shards.name}",{place},{self._seal.mark(record)}'
        return self._seal.close(f"{line},{shard}")

    def flush(self) -> None:
        """Hand everything to the operating system, and make it durable if that is due."""
        with self._lock:
            started = time.monotonic()
            if self._lines:
                self._shards.flush()
                with name_file(self.path):
                    self._write(b"".join(self._lines))
                self._lines.clear()
                self._waiting = 0
            self._flushed = time.monotonic()
            self._pause = min(FLUSH_SECONDS, (self._flushed - started) / FLUSH_SHARE)
            if self._dirty and self._flushed - self._synced >= SYNC_SECONDS:
                self.sync()

    def _write(self, data: bytes) -> None:
        """Append bytes to the journal; after a failure the journal ends where it ended before."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except BaseException:
            os.ftruncate(self._handle, self._length)
            raise
        self._length += len(data)
        self._dirty = True

    def sync(self) -> None:
        """Make what was flushed durable: the shards first, then the journal that names them."""
        with self._lock:
            self._shards.sync()
            with name_file(self.path):
                os.fsync(self._handle)
            if not self._named:
                sync_directory(self.path.parent)
                self._named = True
            self._synced = time.monotonic()
            self._dirty = False

    def close(self) -> None:
        """Flush, synchronise and close; a second call does nothing."""
        with self._lock:
            if self._handle < 0:
                return
            try:
                self.flush()
                if self._dirty:
                    self.sync()
            finally:
                os.close(self._handle)
                self._handle = -1
