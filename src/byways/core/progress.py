"""Progress as events; a bar is only one listener."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Listener", "ProgressEvent", "as_progress"]


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """How far a long computation is.

    Args:
        stage: What is being done, one or two words.
        done: Work finished so far, in the unit of ``total``.
        total: All the work, or None where it is not known.
        found: Things found so far (regions, verified inputs).
        seconds: Wall time since the start.
        message: Anything else worth a few words.
    """

    stage: str
    done: float
    total: float | None
    found: int
    seconds: float
    message: str = ""

    @property
    def fraction(self) -> float | None:
        """Finished share of the work between 0 and 1, None where the total is not known."""
        if not self.total:
            return None
        return min(1.0, self.done / self.total)

    @property
    def seconds_left(self) -> float | None:
        """Expected remaining wall time if the rate stays as it is."""
        fraction = self.fraction
        if not fraction:
            return None
        return self.seconds * (1 - fraction) / fraction


Listener = Callable[[ProgressEvent], None]


def as_progress(progress: bool | Listener) -> Listener:
    """Turn the ``progress`` argument of a long function into a listener.

    Args:
        progress: False for silence, True for a bar on standard error, or a function that takes a
            ``ProgressEvent``.

    Returns:
        The listener. A bar closes itself when ``done`` reaches ``total``.

    Raises:
        TypeError: If ``progress`` is neither a bool nor callable.
    """
    if progress is False:
        return _ignore
    if progress is True:
        return _Bar()
    if callable(progress):
        return progress
    raise TypeError(
        f'"progress" was {progress!r}; it takes True (a bar), False, or a function of one '
        "ProgressEvent"
    )


def _ignore(event: ProgressEvent) -> None:
    """Listen to nothing."""


class _Bar:
    """A tqdm bar on standard error, made at the first event."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, event: ProgressEvent) -> None:
        if self._bar is None:
            from tqdm.auto import tqdm  # ~0.1 s to import: only for those who watch

            layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
            self._bar = tqdm(total=1.0, desc=event.stage, bar_format=layout, leave=False)
        bar = self._bar
        rate = event.found / event.seconds if event.seconds > 0 else 0.0
        bar.set_description_str(event.stage, refresh=False)
        bar.set_postfix_str(f"{event.found:,} found, {rate:,.0f}/s {event.message}", refresh=False)
        bar.update(max(0.0, (event.fraction or 0.0) - bar.n))
        if event.total and event.done >= event.total:
            bar.close()
