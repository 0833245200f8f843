"""Contexts and work functions that worker processes can import, and what they must give."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from byways.runs import Result, Task


@dataclass(frozen=True)
class Scale:
    """A context of one number, stored as every context is."""

    factor: int

    def digest(self) -> str:
        return f"scale-{self.factor}"

    def save(self, path: Path) -> None:
        np.savez(path, factor=np.array(self.factor))

    @classmethod
    def load(cls, path: Path) -> Scale:
        with np.load(path, allow_pickle=False) as stored:
            return cls(int(stored["factor"]))


@dataclass(frozen=True)
class Unsaved:
    """A context that can only be pickled."""

    factor: int

    def digest(self) -> str:
        return f"unsaved-{self.factor}"


class Forgetful(Scale):
    """A context whose file loses what it held."""

    @classmethod
    def load(cls, path: Path) -> Forgetful:
        return cls(0)


@dataclass(frozen=True)
class Rendezvous(Scale):
    """A context that no process can read before as many as expected are about to read it."""

    folder: Path
    expected: int

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        (self.folder / str(os.getpid())).touch()
        end = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < self.expected and time.monotonic() < end:
            time.sleep(0.01)


def make_tasks(count: int) -> list[Task]:
    """Tasks for the numbers below ``count``, of unequal cost."""
    return [Task(f"n-{n:06d}", {"n": n}, cost=1.0 + n % 3) for n in range(count)]


def expected(count: int, factor: int = 3) -> dict[str, tuple[int, list[int]]]:
    """What ``multiply`` must give: each product, and the numbers below n % 4."""
    return {f"n-{n:06d}": (factor * n, list(range(n % 4))) for n in range(count)}


def found(results: list[Result]) -> dict[str, tuple[int, list[int]]]:
    """Results in the form of ``expected``; each key must be there once."""
    assert len({result.key for result in results}) == len(results)
    return {
        result.key: (
            int(result.counts["product"]),
            [] if result.arrays is None else result.arrays["below"].tolist(),
        )
        for result in results
    }


def multiply(context: Scale, task: Task) -> Result:
    n = task.payload["n"]
    assert isinstance(n, int)
    arrays = {"below": np.arange(n % 4)} if n % 4 else None
    return Result(task.key, counts={"product": context.factor * n, "found": 1}, arrays=arrays)


def meet(context: Rendezvous, task: Task) -> Result:
    return Result(task.key, counts={"present": len(list(context.folder.iterdir()))})


def multiply_slowly(context: Scale, task: Task) -> Result:
    time.sleep(0.01)
    return multiply(context, task)


def multiply_for_seconds(context: Scale, task: Task) -> Result:
    time.sleep(4)
    return multiply(context, task)


def die_once(context: Scale, task: Task) -> Result:
    """Kill the own process at the task that names a file, unless the file is there already."""
    marker = Path(str(task.payload.get("marker", os.devnull)))
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return multiply(context, task)


def die_at_five(context: Scale, task: Task) -> Result:
    if task.payload["n"] == 5:
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    return multiply_slowly(context, task)


def fail_at_five(context: Scale, task: Task) -> Result:
    if task.payload["n"] == 5:
        raise ArithmeticError("five is right out")
    return multiply(context, task)


def interrupt_at_five(context: Scale, task: Task) -> Result:
    if task.payload["n"] == 5:
        raise KeyboardInterrupt
    return multiply(context, task)


def multiply_and_log(context: Scale, task: Task) -> Result:
    """Note the process and the key in a file before the result is given back."""
    result = multiply_slowly(context, task)
    with Path(str(task.payload["log"])).open("a") as log:
        log.write(f"{os.getpid()} {task.key}\n")
    return result


def sleep_long(context: Scale, task: Task) -> Result:
    time.sleep(60)
    return multiply(context, task)


def count_nothing(context: Scale, task: Task) -> Result:
    return Result(task.key)


def describe_process(context: Scale, task: Task) -> Result:
    """Tell what the process looks like: threads, signals, modules."""
    import sys

    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    threads = [int(pool["num_threads"]) for pool in threadpool_info()]
    counts = {
        "pid": os.getpid(),
        "most_threads": max(threads, default=1),
        "ignores_interrupt": int(signal.getsignal(signal.SIGINT) is signal.SIG_IGN),
        "torch": int("torch" in sys.modules),
        "omp": int(os.environ.get("OMP_NUM_THREADS", "0")),
    }
    time.sleep(0.05)
    return Result(task.key, counts=counts)
