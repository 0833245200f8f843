"""Reading a run directory back: every journal, each key once, single records out of shards."""

from __future__ import annotations

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from byways.core.errors import JournalError
from byways.runs._journal import parse_entry, read_journal
from byways.runs._secret import UNSEALED
from byways.runs._shards import ShardReader, decode_record
from byways.runs._tasks import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from numpy.typing import NDArray

    from byways.runs._journal import Entry
    from byways.runs._secret import LineSeal
    from byways.runs._tasks import Task

__all__ = ["Finished", "Place", "Reader"]

_LOGGER = logging.getLogger("byways.runs")
_OPEN_FILES = 32


class Place(NamedTuple):
    """Where an entry stands: its journal, line from 1, offset in bytes; whether it has a rest."""

    journal: Path
    line: int
    offset: int
    rest: bool


class Reader:
    """Read the journals and shards of a run.

    Args:
        journals: Folder of the journals.
        shards: Folder of the shards.
        seal: Tells which lines are ours.
    """

    def __init__(self, journals: Path, shards: Path, seal: LineSeal = UNSEALED) -> None:
        self._journals = journals
        self._shards = shards
        self._seal = seal

    def entries(self) -> Iterator[tuple[Place, Entry]]:
        """Read everything that counts as done, duplicates included.

        A task whose shard is missing is not done: whoever deletes a damaged shard can resume.
        """
        known: dict[str | None, bool] = {None: True}
        missing: dict[str | None, int] = {}
        for journal in sorted(self._journals.glob("*.jsonl")):
            for line, offset, entry in read_journal(journal, self._seal):
                shard = entry.shard
                if shard is not None and shard not in known:
                    known[shard] = (self._shards / shard).is_file()
                if known[shard]:
                    yield Place(journal, line, offset, bool(entry.rest)), entry
                else:
                    missing[shard] = missing.get(shard, 0) + 1
        for shard, tasks in missing.items():
            _LOGGER.warning("shard %s is missing; its %d tasks count as not done", shard, tasks)

    def index(self) -> dict[str, Place]:
        """Say where the entry of each finished task is; of several the first counts."""
        index: dict[str, Place] = {}
        for place, entry in self.entries():
            index.setdefault(entry.key, place)
        return index

    def results(
        self, places: Iterable[tuple[str, Place]], *, arrays: bool = True
    ) -> Iterator[Result]:
        """Read the results whose keys and places are given, with or without their arrays."""
        with contextlib.closing(_OpenFiles()) as files:
            for key, place in places:
                entry = self._entry_at(files, key, place)
                bulk = self._arrays(files, entry) if arrays else None
                yield Result(entry.key, entry.seconds, entry.counts, bulk, rest=entry.rest)

    def result(self, entry: Entry) -> Result:
        """Read the result of one entry, from files as they are now.

        Raises:
            JournalError: If its shard is damaged or not there.
        """
        with contextlib.closing(_OpenFiles()) as files:
            arrays = self._arrays(files, entry)
            return Result(entry.key, entry.seconds, entry.counts, arrays, rest=entry.rest)

    def _entry_at(self, files: _OpenFiles, key: str, place: Place) -> Entry:
        """Read one line of a journal again."""
        stream = files.journal(place.journal)
        stream.seek(place.offset)
        line = stream.readline()
        try:
            entry = parse_entry(line)
            if entry.key != key or not self._seal.holds(line):
                raise ValueError(f"it is not what was sealed there for task {key!r}")
        except ValueError as error:
            raise JournalError(
                f"{place.journal}, line {place.line} changed while it was read: {error}",
                place.journal,
                place.line,
            ) from error
        return entry

    def _arrays(self, files: _OpenFiles, entry: Entry) -> dict[str, NDArray[Any]] | None:
        """Read and check the arrays of one entry."""
        if entry.shard is None:
            return None
        path = self._shards / entry.shard
        try:
            record = files.shard(path).read(entry.offset, entry.length, entry.sha256 or entry.crc)
            return decode_record(record, entry.key)
        except (ValueError, FileNotFoundError) as error:
            raise JournalError(
                f"{path} is damaged at task {entry.key!r}: {error}. Delete the file and resume: "
                "the tasks in it are computed again",
                path,
            ) from error


class Finished(Mapping[str, Result]):
    """The results that a run directory held at one moment, by their keys, without their arrays.

    Memory holds the keys and where their lines are, some 300 bytes for each; a result is read when
    it is asked for.

    Args:
        reader: Reads the directory.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._index = reader.index()

    def __getitem__(self, key: str) -> Result:
        return next(self._reader.results([(key, self._index[key])], arrays=False))

    def __contains__(self, key: object) -> bool:
        return key in self._index  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def rest(self, key: str) -> Sequence[Task]:
        """Give the tasks that a finished one left to others."""
        return self[key].rest if self._index[key].rest else ()

    def whole(self, keys: Iterable[str]) -> Iterator[Result]:
        """Read results with their arrays, one at a time, in the order of the keys.

        Raises:
            JournalError: If a line or a shard is damaged.
        """
        return self._reader.results((key, self._index[key]) for key in keys)


class _OpenFiles:
    """Files open for reading; of too many, the one not used for longest is closed."""

    def __init__(self) -> None:
        self._journals: OrderedDict[Path, BinaryIO] = OrderedDict()
        self._shards: OrderedDict[Path, ShardReader] = OrderedDict()

    def journal(self, path: Path) -> BinaryIO:
        """Give an open journal."""
        if path not in self._journals:
            self._journals[path] = path.open("rb")
        self._journals.move_to_end(path)
        if len(self._journals) > _OPEN_FILES:
            self._journals.popitem(last=False)[1].close()
        return self._journals[path]

    def shard(self, path: Path) -> ShardReader:
        """Give an open shard."""
        if path not in self._shards:
            self._shards[path] = ShardReader(path)
        self._shards.move_to_end(path)
        if len(self._shards) > _OPEN_FILES:
            self._shards.popitem(last=False)[1].close()
        return self._shards[path]

    def close(self) -> None:
        """Close them all."""
        for journal in self._journals.values():
            journal.close()
        for shard in self._shards.values():
            shard.close()
