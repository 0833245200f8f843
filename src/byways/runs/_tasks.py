"""Tasks and results: the data that long work is made of."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["JSON", "Arrays", "Context", "Result", "Task", "check_key"]

JSON: TypeAlias = "str | int | float | bool | list[JSON] | dict[str, JSON] | None"
Arrays: TypeAlias = "Mapping[str, NDArray[Any]]"

# One path component on every file system: no separator, no leading dot, no trailing dot.
_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,118}[A-Za-z0-9_-])?")
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
# A result is made for every task, and whether an abstract class has an instance takes as long as
# the rest of a check: the common types go first.
_REAL, _INTEGRAL, _MAPPING = (float, int, Real), (int, Integral), (dict, Mapping)
# Kinds of dtype whose bytes mean the same in another process. Objects and records are not among.
STORABLE_KINDS = frozenset("biufcSUmM?")


class Context(Protocol):
    """What every task of a run needs and none changes: a network, usually with its domain.

    A context is shipped once to each process and kept there under its digest, so it must be
    picklable. A context that also has ``save(path)`` and a class method ``load(path)``, both for
    a ``.npz`` file, can be stored in a run directory.
    """

    def digest(self) -> str:
        """Give a text that is equal for equal contexts only."""


class StoredContext(Context, Protocol):
    """A context that can be written to a file."""

    def save(self, path: Path) -> None:
        """Write the context to a ``.npz`` file."""


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work as data.

    Args:
        key: Name of the task, unique in its run and equal in every run of the same work. It
            becomes a file name: 1 to 120 ASCII letters, digits, ``.``, ``_`` and ``-``, the first
            a letter or digit, the last not a dot.
        payload: What the work function needs besides the context: text, finite numbers, booleans,
            None, and lists and dictionaries of them. The task keeps a copy.
        cost: Guess of the time it takes, in any unit that is the same for all tasks of a run. It
            steers how many tasks travel together, never a result.

    Raises:
        TypeError: If the key is not a str, the payload not a mapping, or the cost not a number.
        ValueError: If the key is no file name, the payload would not survive JSON unchanged, or
            the cost is not positive and finite.

    Example:
        >>> task = Task("subtree-0007", {"signs": [1, 0, 1]}, cost=2.0)
        >>> Task.from_json(task.to_json()) == task
        True
    """

    key: str
    payload: Mapping[str, JSON]
    cost: float = 1.0

    def __post_init__(self) -> None:
        check_key(self.key)
        object.__setattr__(self, "payload", _copy_payload(self.payload, self.key))
        _check_number(self.cost, '"cost" of task', self.key)
        if self.cost <= 0:
            raise ValueError(f'"cost" of task {self.key!r} was {self.cost!r}; it must be above 0')
        object.__setattr__(self, "cost", float(self.cost))

    def __hash__(self) -> int:
        return hash(self.key)

    def to_json(self) -> str:
        """Give the task as one line of JSON."""
        fields = {"key": self.key, "payload": self.payload, "cost": self.cost}
        return _encode(fields)

    @classmethod
    def from_json(cls, text: str | bytes) -> Task:
        """Read a task from the JSON that ``to_json`` gave.

        Args:
            text: The line of JSON; it may come from a stranger.

        Returns:
            The task.

        Raises:
            ValueError: If the text is not JSON, or is not a task.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"a task must be JSON; reading it gave: {error}") from error
        if not isinstance(fields, dict) or set(fields) != {"key", "payload", "cost"}:
            raise ValueError('a task must be a JSON object with "key", "payload" and "cost"')
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no yes-or-no equality
class Result:
    """What the work function gives back for one task.

    Args:
        key: The key of its task.
        seconds: Time that the task took; where it is 0, ``run_tasks`` fills it in.
        counts: Finite numbers by name, such as how many regions were found.
        arrays: Bulk results by name (numbers, booleans, text or times, of any shape), or None.
        complete: False for what a task found until a limit of its own stopped it. Such a result is
            given to the caller but not kept in a journal, so that a later run does the task again.
        rest: Tasks that this one leaves to others, because it turned out too large for one. They
            are run like those that were given, and a journal names them in the same line, so that
            no part of a task that split itself can get lost. Their keys must be new in the run,
            and the same whenever the task is run.

    Raises:
        TypeError: If a field has the wrong type, or an array holds objects or records.
        ValueError: If a number is not finite, the seconds are negative, or an incomplete result
            leaves a rest.

    Example:
        >>> Result("subtree-0007", counts={"regions": 3}).counts
        {'regions': 3}
    """

    key: str
    seconds: float = 0.0
    counts: Mapping[str, int | float] = field(default_factory=dict)
    arrays: Arrays | None = None
    complete: bool = True
    rest: Sequence[Task] = ()

    def __post_init__(self) -> None:
        check_key(self.key)
        _check_number(self.seconds, '"seconds" of result', self.key)
        if self.seconds < 0:
            raise ValueError(
                f'"seconds" of result {self.key!r} was {self.seconds!r}; it must be >= 0'
            )
        object.__setattr__(self, "seconds", float(self.seconds))
        object.__setattr__(self, "counts", _copy_counts(self.counts, self.key))
        object.__setattr__(self, "arrays", _copy_arrays(self.arrays, self.key))
        object.__setattr__(self, "rest", tuple(self.rest))
        if self.rest and not all(isinstance(task, Task) for task in self.rest):
            raise TypeError(f'"rest" of result {self.key!r} was {self.rest!r}; it takes tasks')
        if self.rest and not self.complete:
            raise ValueError(
                f"result {self.key!r} is incomplete, so its task is done again as a whole; it must "
                f'not leave a "rest", which was {self.rest!r}'
            )


def check_key(key: object) -> None:
    """Refuse what cannot be the key of a task.

    Raises:
        TypeError: If the key is not a str.
        ValueError: If the key cannot be a file name everywhere.
    """
    if not isinstance(key, str):
        raise TypeError(f'"key" was {key!r}; it must be a str')
    if _KEY.fullmatch(key) is None:
        shown = key if len(key) <= 160 else key[:150] + "..."
        raise ValueError(
            f'"key" was {shown!r}; it becomes a file name, so it takes 1 to 120 ASCII letters, '
            'digits, ".", "_" and "-", starts with a letter or digit and does not end in a dot'
        )


def _check_number(value: object, what: str, key: str, name: str | None = None) -> None:
    """Refuse what is not a finite real number; text is put together only for an error."""
    kind: type[Exception] = TypeError
    need = "a number"
    if isinstance(value, _REAL) and not isinstance(value, bool):
        if math.isfinite(value):
            return
        kind, need = ValueError, "finite"
    shown = f"{what} {key!r}" if name is None else f"{what} {key!r}: {name!r}"
    raise kind(f"{shown} was {value!r}; it must be {need}")


def _copy_payload(payload: object, key: str) -> dict[str, JSON]:
    """Copy a payload through JSON, and refuse it if that changes it."""
    if not isinstance(payload, Mapping):
        raise TypeError(f'"payload" of task {key!r} was {payload!r}; it must be a dictionary')
    plain = dict(payload)
    problem = "it comes back from JSON changed (a tuple, or a key that is not a str?)"
    try:
        copy: dict[str, JSON] = json.loads(json.dumps(plain, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    else:
        if copy == plain:
            return copy
    raise ValueError(
        f'"payload" of task {key!r} cannot travel as JSON: {problem}; it takes text, finite '
        "numbers, booleans, None, and lists and dictionaries of them"
    )


def _copy_counts(counts: object, key: str) -> dict[str, int | float]:
    """Copy counts as plain Python numbers."""
    if not isinstance(counts, _MAPPING):
        raise TypeError(f'"counts" of result {key!r} was {counts!r}; it must be a dictionary')
    copy: dict[str, int | float] = {}
    for name, value in counts.items():
        if not isinstance(name, str):
            raise TypeError(f'"counts" of result {key!r} has the name {name!r}; it must be a str')
        _check_number(value, '"counts" of result', key, name)
        copy[name] = int(value) if isinstance(value, _INTEGRAL) else float(value)
    return copy


def _copy_arrays(arrays: object, key: str) -> dict[str, NDArray[Any]] | None:
    """Turn values into arrays that can be stored; no arrays at all become None."""
    if arrays is None:
        return None
    if not isinstance(arrays, Mapping):
        raise TypeError(f'"arrays" of result {key!r} was {arrays!r}; it must be a dictionary')
    copy = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f'"arrays" of result {key!r} has the name {name!r}; it must be a str')
        array = np.asarray(value)
        if array.dtype.kind not in STORABLE_KINDS:
            raise TypeError(
                f'"arrays" of result {key!r}: {name!r} has dtype {array.dtype}; it takes numbers, '
                "booleans, text and times, not objects or records"
            )
        copy[name] = array
    return copy or None
