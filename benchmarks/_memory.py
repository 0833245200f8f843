"""Peak memory of this process and of each process that it starts, while it runs."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
from pathlib import Path
from typing import Self

__all__ = ["PeakMemory"]

_PROC = Path("/proc")
_SECONDS = 0.25
_SMALL = 24 << 20  # helpers of multiprocessing that import next to nothing


class PeakMemory:
    """Watch resident sizes; use it as a context manager.

    On Linux the system keeps the peak of each process, and it is read several times a second, so
    that nothing but the last quarter of a second of a process can be missed. Elsewhere there is
    only this process, and its peak since it began.
    """

    def __init__(self) -> None:
        self.others: list[int] = []
        self._peaks: dict[int, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def own(self) -> int:
        """Peak of this process in bytes."""
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return _peak(os.getpid()) or usage * (1 if sys.platform == "darwin" else 1024)

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            (_PROC / "self" / "clear_refs").write_text("5")  # forget the peak so far
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.others = sorted((p for p in self._peaks.values() if p > _SMALL), reverse=True)

    def _watch(self) -> None:
        while True:
            for child in _descendants(os.getpid()):
                self._peaks[child] = max(_peak(child), self._peaks.get(child, 0))
            if self._over.wait(_SECONDS):
                return


def _peak(process: int) -> int:
    """Give the peak of a process in bytes, 0 if it is gone or the system does not tell."""
    try:
        lines = (_PROC / str(process) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def _descendants(process: int) -> list[int]:
    """List the children of a process, their children, and so on."""
    parents: dict[int, int] = {}
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            text = (folder / "stat").read_text()
            parents[int(folder.name)] = int(text.rpartition(")")[2].split()[1])
    found = [process]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]
