"""How long recorded tasks would take on any number of workers."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byways.runs._tasks import Result

__all__ = ["Schedule", "TimedTask", "merged", "recorded", "simulate"]


@dataclass(frozen=True, slots=True)
class TimedTask:
    """A task that was run: how long it took, and the keys of the tasks that it left to others."""

    key: str
    seconds: float
    rest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """What came of a simulated run.

    Attributes:
        workers: Number of workers.
        makespan: Seconds from the first start to the last end.
        work: Seconds of all tasks together, without latency.
    """

    workers: int
    makespan: float
    work: float

    @property
    def speed_up(self) -> float:
        """How many times shorter than one worker without latency."""
        return self.work / self.makespan if self.makespan else 1.0

    @property
    def efficiency(self) -> float:
        """Share of the workers' time that is spent on tasks."""
        return self.speed_up / self.workers


def recorded(results: Iterable[Result]) -> list[TimedTask]:
    """Take the times of results, as of ``RunDirectory.results``."""
    return [TimedTask(r.key, r.seconds, tuple(task.key for task in r.rest)) for r in results]


def merged(tasks: Iterable[TimedTask], keys: Iterable[str] | None = None) -> list[TimedTask]:
    """Undo splits: give chosen tasks the time of all that came of them.

    Args:
        tasks: Recorded tasks.
        keys: Which to give, none of them a descendant of another; by default those that nobody
            left.
    """
    known = {task.key: task for task in tasks}
    chosen = _roots(known) if keys is None else list(keys)
    result = []
    for key in chosen:
        seconds, waiting = 0.0, [key]
        while waiting:
            task = known[waiting.pop()]
            seconds += task.seconds
            waiting += task.rest
        result.append(TimedTask(key, seconds))
    return result


def simulate(
    tasks: Iterable[TimedTask], workers: int, *, static: bool = False, latency: float = 0.0
) -> Schedule:
    """Schedule recorded tasks on a number of workers.

    Assumptions: a task takes on every worker as long as it took when it was recorded, so workers
    are equally fast and do not share a bottleneck; a worker that becomes free takes the next task
    at once, but for ``latency`` seconds per task; what a task leaves is available when it ends, and
    goes first, the newest before the others, as in ``run_tasks``. Chunks are not modelled.

    Cost: O(n log workers) for n tasks.

    Args:
        tasks: Recorded tasks; those that nobody left are available from the start, in this order.
        workers: Number of workers.
        static: Deal out the tasks beforehand, one worker after another; what a task leaves stays
            with its worker.
        latency: Seconds between taking a task and beginning it.

    Returns:
        Makespan and efficiency.

    Raises:
        ValueError: If there is no worker, a latency is negative, or a task of a rest is missing.

    Example:
        >>> tasks = [TimedTask("a", 1.0, ("b", "c")), TimedTask("b", 2.0), TimedTask("c", 3.0)]
        >>> simulate(tasks, 2).makespan, simulate(tasks, 1).makespan
        (4.0, 6.0)
    """
    if workers < 1:
        raise ValueError(f'"workers" was {workers!r}; it must be at least 1')
    if latency < 0:
        raise ValueError(f'"latency" was {latency!r}; it must be at least 0 seconds')
    known = {task.key: task for task in tasks}
    missing = {key for task in known.values() for key in task.rest} - known.keys()
    if missing:
        raise ValueError(f'"tasks" lacks {min(missing)!r}, which another left; give all tasks')
    work = sum(task.seconds for task in known.values())
    if static:
        shares = [0.0] * workers
        counts = _family_sizes(known)
        for i, task in enumerate(merged(known.values())):
            shares[i % workers] += task.seconds + latency * counts[task.key]
        return Schedule(workers, max(shares), work)
    return Schedule(workers, _dynamic(known, workers, latency), work)


def _dynamic(known: dict[str, TimedTask], workers: int, latency: float) -> float:
    """Let every worker that is free take the next task; give the end of the last."""
    available = _roots(known)[::-1]
    running: list[tuple[float, int, str]] = []  # end, order of start, key
    now, idle, started = 0.0, workers, 0
    while available or running:
        while available and idle:
            key = available.pop()
            heapq.heappush(running, (now + latency + known[key].seconds, started, key))
            started, idle = started + 1, idle - 1
        now, _, key = heapq.heappop(running)
        idle += 1
        available += reversed(known[key].rest)
    return now


def _roots(known: dict[str, TimedTask]) -> list[str]:
    """List the tasks that nobody left."""
    left = {key for task in known.values() for key in task.rest}
    return [key for key in known if key not in left]


def _family_sizes(known: dict[str, TimedTask]) -> dict[str, int]:
    """Count for each root the tasks that came of it, itself included."""
    sizes = {}
    for root in _roots(known):
        waiting, size = [root], 0
        while waiting:
            waiting += known[waiting.pop()].rest
            size += 1
        sizes[root] = size
    return sizes
