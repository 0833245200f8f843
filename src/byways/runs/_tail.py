"""Results of other processes, as they appear in a run directory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from byways.core.errors import JournalError
from byways.runs._journal import read_journal
from byways.runs._reader import Reader
from byways.runs._secret import UNSEALED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from byways.runs._journal import Entry
    from byways.runs._secret import LineSeal
    from byways.runs._tasks import Result

__all__ = ["Tail"]

# A file system that several machines share may show a line before the shard that it names.
_PATIENCE = 60.0


class Tail:
    """Follow the journals of a run directory, those that begin later included.

    Args:
        journals: Folder of the journals.
        shards: Folder of the shards.
        seal: Tells which lines are ours.
    """

    def __init__(self, journals: Path, shards: Path, seal: LineSeal = UNSEALED) -> None:
        self._journals = journals
        self._seal = seal
        self._reader = Reader(journals, shards, seal)
        self._last: dict[str, tuple[int, int, int]] = {}  # size, number and offset of a line
        self._doubts: dict[str, float] = {}

    def entries(self) -> Iterator[Entry]:
        """Give what was not given yet, duplicates included.

        Raises:
            JournalError: If a finished line is broken.
        """
        for path in sorted(self._journals.glob("*.jsonl")):
            seen, last, start = self._last.get(path.name, (0, 0, 0))
            size = path.stat().st_size
            if size == seen:
                continue
            self._last[path.name] = size, last, start
            for number, offset, entry in read_journal(path, self._seal, max(last, 1), start):
                if number > last:
                    self._last[path.name] = size, number, offset
                    yield entry

    def result(self, entry: Entry) -> Result | None:
        """Read the result of an entry; None if its shard is not there yet.

        Raises:
            JournalError: If it is still not there, or not whole, after a minute.
        """
        try:
            result = self._reader.result(entry)
        except JournalError:
            since = self._doubts.setdefault(entry.key, time.monotonic())
            if time.monotonic() - since > _PATIENCE:
                raise
            return None
        self._doubts.pop(entry.key, None)
        return result
