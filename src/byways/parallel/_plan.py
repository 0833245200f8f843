"""``plan``: what a recurrence costs by each strategy, before it is run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.reports import Report
from byways.parallel._strategies import STRATEGIES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Plan", "Prediction", "plan"]

# Structure -> numbers that a matrix of size n has, and what composing costs beside applying.
_STRUCTURES: dict[str, tuple[Callable[[int], int], Callable[[int], int]]] = {
    "scalar": (lambda n: 1, lambda n: 1),
    "diagonal": (lambda n: n, lambda n: 1),
    "dense": (lambda n: n * n, lambda n: n),
}

_Level = tuple[int, int]  # applications and compositions that can be done at once


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one strategy takes.

    Args:
        strategy: Its name.
        levels: Steps that depend on each other.
        combines: Applications and compositions of elements.
        time: Predicted time, in the unit of the times that were given.
        nbytes: Memory of matrices and states.
    """

    strategy: str
    levels: int
    combines: int
    time: float
    nbytes: int


@dataclass(frozen=True, slots=True)
class Plan(Report):
    """Predictions, the fastest first. Made by :func:`plan`."""

    predictions: tuple[Prediction, ...]

    @property
    def chosen(self) -> Prediction:
        """The fastest."""
        return self.predictions[0]

    def __getitem__(self, strategy: str) -> Prediction:
        return next(one for one in self.predictions if one.strategy == strategy)

    def rows(self) -> list[dict[str, Any]]:
        """Give one row for each strategy."""
        names = Prediction.__slots__
        return [{name: getattr(one, name) for name in names} for one in self.predictions]


def plan(
    steps: int,
    size: int,
    *,
    structure: str = "dense",
    workers: int = 1,
    batch: int = 1,
    step_time: float = 1.0,
    combine_time: float | None = None,
    iterations: int = 1,
    evaluate_time: float = 0.0,
    itemsize: int = 4,
    chunk: int | None = None,
) -> Plan:
    """Predict levels, work, time and memory of every strategy, for machines that are not here.

    A level of ``m`` operations on ``p`` workers takes ``ceil(m / p)`` times the time of one. Levels
    and combinations are those that the scans count when they run. A dense tree scan composes
    matrices, ``n^3`` operations against the ``n^2`` of a product with a vector, so it needs about
    ``2 n`` workers to break even.

    Args:
        steps: Length T of the recurrence.
        size: Size n of a state.
        structure: ``"scalar"``, ``"diagonal"`` or ``"dense"``.
        workers: Operations that run at the same time.
        batch: Sequences.
        step_time: Time to apply a matrix to a state, in any unit.
        combine_time: Time to compose two matrices; n times ``step_time`` for dense ones, else equal
            to it, if None.
        iterations: Rounds of Newton's method, each one scan; 1 for a linear recurrence.
        evaluate_time: Time to evaluate one nonlinear step and its Jacobian.
        itemsize: Bytes of a number.
        chunk: Steps of a chunk; about the root of T if None.

    Returns:
        The predictions. For ``iterations`` above 1 the sequential one evaluates each step once and
        needs no scan.

    Raises:
        ValueError: If a number is not positive or the structure is unknown.

    Example:
        >>> plan(1024, 20).chosen.strategy
        'sequential'
        >>> plan(1024, 20, workers=4096).chosen.strategy
        'pcr'
        >>> plan(1000, 4)["blelloch"].combines
        1984
    """
    steps, size, workers = _counts(steps=steps, size=size, workers=workers)
    batch, iterations, itemsize = _counts(batch=batch, iterations=iterations, itemsize=itemsize)
    (chunk,) = _counts(chunk=math.isqrt(steps - 1) + 1 if chunk is None else chunk)
    if structure not in _STRUCTURES:
        raise ValueError(f'"structure" was {structure!r}; it takes {", ".join(_STRUCTURES)}')
    numbers, dearer = _STRUCTURES[structure]
    combine = step_time * dearer(size) if combine_time is None else combine_time
    rounds_of_steps = math.ceil(steps * batch / workers)
    found = []
    for name in STRATEGIES:
        levels = _LEVELS[name](steps, chunk)
        time = sum(
            math.ceil(a * batch / workers) * step_time + math.ceil(c * batch / workers) * combine
            for a, c in levels
        )
        time = iterations * (time + rounds_of_steps * evaluate_time)
        if name == "sequential" and iterations > 1:
            time = steps * math.ceil(batch / workers) * max(step_time, evaluate_time)
        copies = 1 if name == "sequential" else 3
        nbytes = steps * batch * (copies * numbers(size) + size) * itemsize
        depth = sum(min(a, 1) or min(c, 1) for a, c in levels)
        found.append(Prediction(name, depth, sum(a + c for a, c in levels), time, nbytes))
    return Plan(tuple(sorted(found, key=lambda one: one.time)))


def _counts(**values: int) -> list[int]:
    """Refuse what is not positive; give Python's integers, which do not overflow."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f'"{name}" was {value!r}; it takes a positive integer')
    return [int(value) for value in values.values()]


def _sequential(steps: int, chunk: int) -> list[_Level]:
    return [(1, 0)] * (steps - 1)


def _blelloch(steps: int, chunk: int) -> list[_Level]:
    up, down = [], []
    while steps > 1:
        up.append((1, steps // 2 - 1))
        if steps > 2:
            down.append(((steps - 1) // 2, 0))
        steps //= 2
    return up + down[::-1]


def _pcr(steps: int, chunk: int) -> list[_Level]:
    levels, reach = [], 1
    while reach < steps:
        ready = min(reach, steps - reach)
        levels.append((ready, steps - reach - ready))
        reach *= 2
    return levels


def _chunked(steps: int, chunk: int) -> list[_Level]:
    chunk = min(chunk, steps)
    count = math.ceil(steps / chunk)
    last = steps - (count - 1) * chunk  # steps of the last chunk

    def others(i: int) -> int:
        """Count the chunks after the first that have a step ``i``."""
        return count - 1 if i < last else max(0, count - 2)

    inside = [(1, others(i)) for i in range(1, chunk)]
    carried = [(others(i), 0) for i in range(chunk) if others(i)]
    between = _blelloch(count - 1, chunk) if count > 1 else []
    return inside + between + carried


_LEVELS: dict[str, Callable[[int, int], list[_Level]]] = {
    "sequential": _sequential,
    "blelloch": _blelloch,
    "pcr": _pcr,
    "chunked": _chunked,
}
