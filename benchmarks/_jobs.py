"""Work functions that worker processes import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from _networks import seeded_network

from byways.regions import count_regions
from byways.regions._question import Question
from byways.regions._work import work
from byways.runs import Result, Task

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["BULK", "REGIONS", "Bulk", "do_nothing", "empty", "nothing_tasks", "warm_up"]


@dataclass(frozen=True, eq=False)
class Bulk:
    """A context of many bytes, such as the weights of a network."""

    weights: NDArray[Any]

    def digest(self) -> str:
        """Give the size, which tells the contexts of one benchmark apart."""
        return f"bulk-{self.weights.nbytes}"

    def save(self, path: Path) -> None:
        """Write the weights."""
        np.savez(path, weights=self.weights)

    @classmethod
    def load(cls, path: Path) -> Bulk:
        """Read the weights."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(stored["weights"])


def do_nothing(context: Bulk, task: Task) -> Result:
    """Touch the context."""
    return Result(task.key, seconds=1e-9, counts={"first": float(context.weights[0])})


def warm_up(context: object = None, task: Task | None = None) -> Result:
    """Load what a count needs, in this process."""
    count_regions(seeded_network(20, 4, 4), (-1, 1), method="wide")
    return Result("warm" if task is None else task.key, seconds=1e-9)


def empty() -> None:
    """Be the least that an executor can run."""


def nothing_tasks(count: int) -> list[Task]:
    """Give tasks for ``do_nothing``."""
    return [Task(f"n-{n:06d}", {"n": n}) for n in range(count)]


BULK = do_nothing, Bulk.load
REGIONS = work, Question.load
