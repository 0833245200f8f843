"""A live line on standard error while regions are found."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from byways.core.progress import ProgressEvent

__all__ = ["LiveLine", "clock", "progress_text"]

_QUIET = 0.5  # seconds: what is over by then needs no progress
_TICK = 0.25
_LINE_EVERY = 5.0  # seconds between lines where they cannot be overwritten
_COMPILING = "compiling kernels, once per installation ..."


class LiveLine:
    """Listens to progress, and shows it from a thread of its own, so that the clock never stops.

    On a terminal one line is overwritten; elsewhere a plain line is written every few seconds.
    """

    def __init__(self) -> None:
        self._event: ProgressEvent | None = None
        self._first: tuple[float, int, float] | None = None  # time, found, share at the first look
        self._start = time.monotonic()
        self._over = threading.Event()
        self._live = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._compilations: Any = None
        self._shown = False

    def __call__(self, event: ProgressEvent) -> None:
        """Take an event; the thread shows it."""
        self._event = event

    def __enter__(self) -> Self:
        from numba.core.event import install_recorder

        self._stack = contextlib.ExitStack()
        self._compilations = self._stack.enter_context(install_recorder("numba:compile"))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._stack.close()

    def _run(self) -> None:
        """Show a line now and then until all is over."""
        with contextlib.suppress(OSError, ValueError):  # nobody reads standard error any more
            self._show_until_over()

    def _show_until_over(self) -> None:
        due = _QUIET
        said_compiling = False
        while not self._over.wait(_TICK):
            elapsed = time.monotonic() - self._start
            compiling = self._is_compiling() and elapsed > 1.0
            if self._live and elapsed > _QUIET:
                self._overwrite(_COMPILING if compiling else self._text(elapsed))
            elif compiling and not said_compiling:
                said_compiling = True
                print(f"byways: {_COMPILING}", file=sys.stderr, flush=True)
            elif not self._live and elapsed > _QUIET and self._event is not None:
                text = self._text(elapsed)
                if elapsed >= due and self._first and elapsed > self._first[0] + _QUIET:
                    due = elapsed + _LINE_EVERY
                    print(text, file=sys.stderr, flush=True)
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _is_compiling(self) -> bool:
        depth = 0
        for _, event in list(self._compilations.buffer):
            depth += 1 if event.is_start else -1
        return depth > 0

    def _overwrite(self, text: str) -> None:
        from shutil import get_terminal_size

        self._shown = True
        room = get_terminal_size().columns - 1
        print(f"\r\x1b[K{text[:room]}", end="", file=sys.stderr, flush=True)

    def _text(self, elapsed: float) -> str:
        event = self._event
        if event is None:
            return f"looking ...   {clock(elapsed)} elapsed"
        share = event.fraction or 0.0
        # Work of earlier sessions is there at the first look: it says nothing about this rate.
        if self._first is None:
            self._first = (elapsed, event.found, share)
        since, gained = elapsed - self._first[0], share - self._first[2]
        rate = (event.found - self._first[1]) / since if since > _QUIET else 0.0
        left = since * (1 - share) / gained if gained > 0 and since > _QUIET else None
        return progress_text(event.found, share, rate, elapsed, left)


def progress_text(found: int, share: float, rate: float, elapsed: float, left: float | None) -> str:
    """Write the line.

    >>> progress_text(12345, 0.25, 2000.0, 6.0, 18.0)
    '12,345 regions   25.0 % explored   2,000/s   0:06 elapsed   about 0:18 left'
    """
    parts = [f"{found:,} regions", f"{100 * share:.1f} % explored"]
    if rate > 0:
        parts.append(f"{rate:,.0f}/s")
    parts.append(f"{clock(elapsed)} elapsed")
    if left is not None:
        parts.append(f"about {clock(left)} left")
    return "   ".join(parts)


def clock(seconds: float) -> str:
    """Give a duration as on a clock.

    >>> clock(75), clock(3725)
    ('1:15', '1:02:05')
    """
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    tail = f"{whole % 60:02d}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"
