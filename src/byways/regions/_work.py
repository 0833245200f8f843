"""Enumeration as tasks: how one is worked off, and how it splits itself.

A question begins as one task, the whole tree. A task walks until it has done its share of counted
work; what it has not visited by then it leaves to others, one task for each subtree. So no task is
much larger than a share, whatever the tree looks like, and where the tree is cut depends on the
question alone: not on clocks, workers or interruptions, and so neither does the answer.
"""

from __future__ import annotations

import hashlib
import time
from enum import Enum
from typing import TYPE_CHECKING, cast

import numpy as np

from byways.regions._engine import Divisible, Subtree
from byways.regions._signs import lexicographic_order, unpack
from byways.runs import Result, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from byways.regions._engine import Batch, Walk
    from byways.regions._problem import Problem
    from byways.regions._question import Question
    from byways.runs._tasks import JSON

    Words = NDArray[np.uint64]

__all__ = ["LIMITS", "WHOLE", "is_small", "limited", "whole", "work"]

WHOLE = "whole"
LIMITS = ("deadline", "most")  # what of a task's payload belongs to a session, not to the question
# What is done within about half a second in ten dimensions is not worth cutting; steps grow dearer
# with the dimension.
_SMALL_LEAVES = 200_000
_SMALL_WORK = {"lp": 2_000, "simplex": 2_000_000, "vertices": 3_000_000, "wide": 400_000}
# A task may do this part of that: enough that starting it costs little, and so little that workers
# never wait long for each other. The first one may do twice as much: many questions are smaller.
_SHARES = 32
_STEPS = 4  # looks at the clock and the work done within a share
_FEW = 4  # subtrees; a walk with more of them open goes on, for they are small, to twice its share
_LEAVES_AT_ONCE = 4_096
_STEP = 200_000  # work between two looks at the clock, at most
_TASKS_WANTED = 256  # of a tree whose engine cannot share out its work
_HEX_DIGITS = 64


def whole(deadline: float | None, most: int | None) -> Task:
    """Give the task of the whole tree.

    Args:
        deadline: When to stop, in seconds since the epoch, or None.
        most: Number of regions beyond which a task stops, or None.
    """
    limits = dict(zip(LIMITS, (deadline, most), strict=True))
    return Task(WHOLE, {"depth": 0, "prefix": "", "share": 1.0, **limits})


def limited(task: Task, limits: Mapping[str, JSON]) -> Task:
    """Give a task of an earlier session the limits of this one."""
    return Task(task.key, {**task.payload, **limits}, task.cost)


def is_small(question: Question, results: Sequence[Result]) -> bool:
    """Tell whether what was done so far is too little to be handed out to workers."""
    done = sum(result.counts["work"] for result in results)
    found = sum(result.counts["regions"] for result in results)
    return done < _small_work(question) and found < _SMALL_LEAVES


def work(question: Question, task: Task) -> Result:
    """List or count the regions of a subtree, sorted by sign vector, as far as its share goes."""
    start = time.perf_counter()
    problem = question.problem()
    walk, parts = question.walk(problem, _prefix(task)), _Parts(question.listing)
    end, rest, explored = _explore(question, task, walk, parts), None, walk.explored
    if end is _End.SPENT and isinstance(walk, Divisible):
        rest = [_child(task, subtree) for subtree in walk.share_out()]
    elif end is _End.SPENT and (cut := _cut(question, problem, task)) is not None:
        (walk, rest), parts, explored = cut, _Parts(question.listing), 0.0
    complete = end is _End.FINISHED or rest is not None
    counts = {
        "work": walk.work,
        "regions": parts.found,
        "ambiguous": walk.ambiguous,
        "explored": explored,
    }
    counts |= {f"layer_{i}": int(count) for i, count in enumerate(walk.layer_counts)}
    seconds = time.perf_counter() - start
    return Result(task.key, seconds, counts, parts.arrays(), complete, rest or ())


def _small_work(question: Question) -> int:
    """Give the amount of work that is not worth handing out, in the unit of ``Walk.work``."""
    problem = question.problem()
    dim = problem.dim
    if question.method == "wide":  # its dictionaries have a column per unit of the first layer
        dim = min(dim, len(problem.stages[0].bias))
    return _SMALL_WORK[question.method] * 30 // (20 + dim)


class _End(Enum):
    """Why a walk was left."""

    FINISHED = "nothing is left"
    SPENT = "its share of the work is done"
    LIMIT = "a limit of the whole run was reached"


def _explore(question: Question, task: Task, walk: Walk, parts: _Parts) -> _End:
    """Walk until one of the ends."""
    deadline, most = _limits(task)
    share = most_work = _small_work(question)
    if isinstance(walk, Divisible):
        share, most_work = max(share // _SHARES, 1), max(2 * share // _SHARES, 2)
    if task.key == WHOLE:
        share = most_work
    step = min(_STEP, max(share // _STEPS, 1))
    while True:
        # One leaf more than allowed is asked for: a limit is reached when something lies beyond it.
        room = _LEAVES_AT_ONCE if most is None else min(_LEAVES_AT_ONCE, most + 1 - parts.found)
        parts.add(walk.advance(room, step))
        if walk.finished:
            return _End.FINISHED
        if (most is not None and parts.found > most) or _out_of_time(deadline):
            return _End.LIMIT
        if walk.work >= share and _may_split(walk, task, overdue=walk.work >= most_work):
            return _End.SPENT


def _may_split(walk: Walk, task: Task, *, overdue: bool) -> bool:
    """Tell whether a walk that has done its share can be left now, and leave few tasks behind."""
    if not isinstance(walk, Divisible):
        return task.key == WHOLE
    return walk.open > 0 and (walk.open <= _FEW or overdue)


def _cut(question: Question, problem: Problem, task: Task) -> tuple[Walk, list[Task]] | None:
    """Cut the whole tree at the depth at which it has some hundreds of subtrees.

    Returns:
        The walk to that depth, and a task for each subtree; None if time runs out before.
    """
    deadline, _ = _limits(task)
    walk, stop, prefixes = question.walk(problem, _prefix(task), 0), 0, np.zeros((0, 0), np.uint8)
    while len(prefixes) < _TASKS_WANTED and stop < problem.decisions:
        if _out_of_time(deadline):
            return None
        stop += 1
        walk, words = question.walk(problem, _prefix(task), stop), []
        while not walk.finished:
            words.append(walk.advance(_LEAVES_AT_ONCE, 10**6).words)
        found = np.concatenate(words)
        prefixes = unpack(found[lexicographic_order(found)], stop)
    # The more units are on, the more cells there tend to be below.
    size = 1.0 + prefixes.sum(axis=1, dtype=np.float64) ** 2
    share = size / size.sum()
    heaviest_first = np.argsort(-size, kind="stable")
    return walk, [_child(task, Subtree(prefixes[i], float(share[i]))) for i in heaviest_first]


class _Parts:
    """Batches of a walk."""

    def __init__(self, listing: bool) -> None:
        self._listing = listing
        self._words: list[Words] = []
        self._points: list[NDArray[np.float64]] = []
        self.found = 0

    def add(self, batch: Batch) -> None:
        """Take a batch."""
        self.found += batch.leaves
        if self._listing:
            self._words.append(batch.words)
            self._points.append(batch.points)

    def arrays(self) -> dict[str, NDArray[np.generic]] | None:
        """Put the batches together, sorted by sign vector; None if nothing is listed."""
        if not self._words:
            return None
        listed, inside = np.concatenate(self._words), np.concatenate(self._points)
        order = lexicographic_order(listed)
        arrays: dict[str, NDArray[np.generic]] = {"words": listed[order]}
        if len(inside):
            arrays["points"] = inside[order]
        return arrays


def _child(task: Task, subtree: Subtree) -> Task:
    """Make a task of a subtree, named by its decisions."""
    depth = len(subtree.prefix)
    text = np.packbits(subtree.prefix).tobytes().hex()
    name = text if len(text) <= _HEX_DIGITS else hashlib.sha256(text.encode()).hexdigest()
    share = cast("float", task.payload["share"]) * subtree.mass
    return Task(f"{depth}-{name}", {**task.payload, "depth": depth, "prefix": text, "share": share})


def _prefix(task: Task) -> NDArray[np.uint8]:
    """Give the decisions that a task takes for granted."""
    octets = np.frombuffer(bytes.fromhex(cast("str", task.payload["prefix"])), dtype=np.uint8)
    return np.unpackbits(octets, count=cast("int", task.payload["depth"]))


def _limits(task: Task) -> tuple[float | None, int | None]:
    return cast("float | None", task.payload["deadline"]), cast("int | None", task.payload["most"])


def _out_of_time(deadline: float | None) -> bool:
    return deadline is not None and time.time() >= deadline
