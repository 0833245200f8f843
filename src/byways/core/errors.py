"""Every exception that the library defines.

A message says what was given, what is allowed and what to do. Plain misuse of an argument raises
``TypeError`` or ``ValueError``; the classes here are for what only this library can know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "BywaysError",
    "ConversionError",
    "DomainError",
    "JournalError",
    "MissingDependencyError",
    "RunMismatchError",
    "ShapeError",
    "SolverError",
    "TasksFailedError",
]


class BywaysError(Exception):
    """Base of every exception defined here."""


class ConversionError(BywaysError):
    """A module, file or operator that cannot become a chain of layers."""


class DomainError(BywaysError, ValueError):
    """A box, polytope, weight or input that is not finite, not ordered or empty."""


class ShapeError(BywaysError, ValueError):
    """An array whose shape does not fit."""


class SolverError(BywaysError):
    """An outside solver that failed, or that answered a word we do not know."""


class RunMismatchError(BywaysError):
    """A run directory that belongs to another network or to other parameters."""


class MissingDependencyError(BywaysError, ImportError):
    """An optional package that is needed and not installed."""


class TasksFailedError(BywaysError):
    """Tasks that failed more often than they may be retried.

    Attributes:
        keys: Keys of the failed tasks, sorted.
    """

    def __init__(self, message: str, keys: tuple[str, ...]) -> None:
        super().__init__(message)
        self.keys = keys

    def __reduce__(self) -> tuple[type[TasksFailedError], tuple[str, tuple[str, ...]]]:
        # Exceptions cross process borders, and pickle passes only the message on by itself.
        return type(self), (str(self), self.keys)


class JournalError(BywaysError):
    """A damaged file of a run directory.

    Attributes:
        file: The damaged file.
        line: Its first bad line, counted from 1 (0 if the file has no lines).
    """

    def __init__(self, message: str, file: Path, line: int = 0) -> None:
        super().__init__(message)
        self.file = file
        self.line = line

    def __reduce__(self) -> tuple[type[JournalError], tuple[str, Path, int]]:
        return type(self), (str(self), self.file, self.line)
