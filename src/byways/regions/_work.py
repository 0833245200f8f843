"""Enumeration as tasks: how one is worked off, and how it splits itself.

A question begins as one task, the whole tree. A task walks until it has done its share of counted
work; of what it has not visited by then it leaves to others all but the last few subtrees, one task
for each, and after a second share those too. So no task is larger than two shares and a decision,
whatever the tree looks like. Where the tree is cut depends on the question: not on clocks or
interruptions, and on the number of workers only if nothing in the result can tell.
"""

from __future__ import annotations

import hashlib
import math
import time
from enum import Enum
from typing import TYPE_CHECKING, cast

import numpy as np

from byways.regions._engine import Divisible, Subtree
from byways.regions._signs import lexicographic_order, unpack
from byways.runs import Result, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from byways.regions._engine import Batch, Walk
    from byways.regions._problem import Problem
    from byways.regions._question import Question
    from byways.runs._tasks import JSON

    Words = NDArray[np.uint64]

__all__ = ["LIMITS", "WHOLE", "is_small", "limited", "whole", "work"]

WHOLE = "whole"
# What of a task's payload belongs to a session, not to the question.
LIMITS = ("deadline", "most", "workers")
# What is done within about half a second in ten dimensions is not worth cutting; steps grow dearer
# with the dimension.
_SMALL_LEAVES = 200_000
_SMALL_WORK = {"lp": 2_000, "simplex": 1_600_000, "vertices": 3_000_000, "wide": 400_000}
# A share is this part of that, or of what the whole is expected to be, whichever is more: then
# for few workers the largest task of a question that is just large enough is below 1/(20 x workers)
# of the work. Wide questions are many times as large as that before a second has passed, and to
# begin with a task costs more there, as it does for the corners of planes cut by many units.
# Expectations from first paths were up to 10 times too high.
_SHARES = {"simplex": 64, "vertices": 16, "wide": 26}
_EXPECTED_SHARES = 1_000
# Where no cut shows, which is in wide questions, so few workers get shares twice as large, for to
# begin with tasks took a tenth of the time or more; the more there are, the smaller are shares.
_FEW_WORKERS = 2.5
_DECISION = 10  # room for the decision within which a share ends; few take more
_STEPS = 2  # looks at the clock and the work done within a share
_LEAVES_AT_ONCE = 4_096
_STEP = 200_000  # work between two looks at the clock, at most
_FEW_PROGRAMS = 500  # the same for linear programs
_TASKS_WANTED = 256  # of a tree whose engine cannot share out its work
_HEX_DIGITS = 64


def whole(deadline: float | None, most: int | None, workers: int = 1) -> Task:
    """Give the task of the whole tree.

    Args:
        deadline: When to stop, in seconds since the epoch, or None.
        most: Number of regions beyond which a task stops, or None.
        workers: How many the tasks are made for.
    """
    limits = dict(zip(LIMITS, (deadline, most, workers), strict=True))
    return Task(WHOLE, {"depth": 0, "prefix": "", "share": 1.0, "work": 0, "done": 0.0, **limits})


def limited(task: Task, limits: Mapping[str, JSON]) -> Task:
    """Give a task of an earlier session the limits of this one."""
    return Task(task.key, {**task.payload, **limits}, task.cost)


def is_small(question: Question, done: float, found: float) -> bool:
    """Tell whether so much work, and so many regions, are too little to be handed out."""
    return done < _small_work(question) and found < _SMALL_LEAVES


def work(question: Question, task: Task) -> Result:
    """List or count the regions of a subtree, sorted by sign vector, as far as its share goes."""
    start = time.perf_counter()
    problem = question.searched()
    walk, parts = question.walk(problem, _prefix(task)), _Parts(question.listing)
    left: list[Subtree] = []
    end = _explore(question, task, walk, parts, left)
    rest, explored = _children(task, walk, left), walk.explored
    if end is _End.SPENT and (cut := _cut(question, problem, task)) is not None:
        (walk, rest), parts, explored = cut, _Parts(question.listing), 0.0
        end = _End.FINISHED
    complete = end is _End.FINISHED
    counts = {
        "work": walk.work,
        "regions": parts.found,
        "ambiguous": walk.ambiguous,
        "explored": explored,
    }
    counts |= {f"layer_{i}": int(count) for i, count in enumerate(walk.layer_counts)}
    seconds = time.perf_counter() - start
    return Result(task.key, seconds, counts, parts.arrays(), complete, rest if complete else ())


def _small_work(question: Question) -> int:
    """Give the amount of work that is not worth handing out, in the unit of ``Walk.work``."""
    problem = question.searched()
    dim = problem.dim
    if question.method == "wide":  # its dictionaries have a column per unit of the first layer
        dim = min(dim, len(problem.stages[0].bias))
    return _SMALL_WORK[question.method] * 30 // (20 + dim)


def _share(question: Question, task: Task) -> float:
    """Give the amount of work after which a task leaves the rest to others."""
    payload, small = task.payload, _small_work(question)
    work, done = cast("int", payload["work"]), cast("float", payload["done"])
    expected = work / done if done else 0.0
    share = max(small / _SHARES[question.method], expected / _EXPECTED_SHARES)
    workers = cast("int", payload["workers"])
    if _shows_cuts(question):
        share = min(share, small)
    elif workers <= _FEW_WORKERS:
        share = min(2.0 * share, small)
    else:
        share = min(share, small) * _FEW_WORKERS / workers - _DECISION
    return max(share, 1.0)


def _shows_cuts(question: Question) -> bool:
    """Tell whether another cut of the tree may give another point of a region, or another doubt.

    A dictionary that follows a prefix ends at another vertex than one that walked there, and so it
    meets other decisions of which nothing is decided at a vertex. Corners pass degenerate cells on
    to dictionaries. Wide inputs reach one vertex either way, but inherit witnesses on the walk.
    """
    return question.method != "wide" or question.witnesses


class _End(Enum):
    """Why a walk was left."""

    FINISHED = "nothing is left"
    SPENT = "its share of the work is done"
    LIMIT = "a limit of the whole run was reached"


def _explore(
    question: Question, task: Task, walk: Walk, parts: _Parts, left: list[Subtree]
) -> _End:
    """Walk until one of the ends, and note what is left to others on the way."""
    deadline, most = _limits(task)
    sharing = cast("Divisible", walk) if question.method in _SHARES else None
    share = _small_work(question) if sharing is None else _share(question, task)
    step = min(_STEP, max(int(share / _STEPS), 1)) if sharing else _FEW_PROGRAMS
    overdue = 2 * share
    while True:
        # One leaf more than allowed is asked for: a limit is reached when something lies beyond it.
        room = _LEAVES_AT_ONCE if most is None else min(_LEAVES_AT_ONCE, most + 1 - parts.found)
        rest = math.ceil(share - walk.work)  # a full batch of leaves ends a step early
        parts.add(walk.advance(room, min(step, rest) if rest > 0 else step))
        if walk.finished:
            return _End.FINISHED
        if (most is not None and parts.found > most) or _out_of_time(deadline):
            return _End.LIMIT
        if walk.work < share or (sharing is None and task.key != WHOLE):
            continue
        if sharing is None:
            return _End.SPENT
        if sharing.open:
            # What looks small enough for a second share stays: elsewhere it has to begin anew.
            left += sharing.share_out(walk.explored if walk.work < overdue else 0.0)
            share = overdue


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
        stop = int(problem.windows[stop, 1])
        walk, words = question.walk(problem, _prefix(task), stop), []
        while not walk.finished:
            words.append(walk.advance(_LEAVES_AT_ONCE, 10**6).words)
        found = np.concatenate(words)
        prefixes = unpack(found[lexicographic_order(found)], stop)
    # The more units are on, the more cells there tend to be below.
    size = 1.0 + prefixes.sum(axis=1, dtype=np.float64) ** 2
    share = size / size.sum()
    heaviest_first = np.argsort(-size, kind="stable")
    subtrees = (Subtree(prefixes[i], float(share[i])) for i in heaviest_first)
    return walk, _children(task, walk, subtrees)


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


def _children(task: Task, walk: Walk, subtrees: Iterable[Subtree]) -> list[Task]:
    """Make tasks of subtrees, named by their decisions, and tell them what was done so far."""
    payload = task.payload
    share, done = cast("float", payload["share"]), cast("float", payload["done"])
    known: dict[str, JSON] = {
        **payload,
        "work": cast("int", payload["work"]) + walk.work,
        "done": done + share * walk.explored,
    }
    tasks = []
    for prefix, mass in subtrees:
        text = np.packbits(prefix).tobytes().hex()
        name = text if len(text) <= _HEX_DIGITS else hashlib.sha256(text.encode()).hexdigest()
        place: dict[str, JSON] = {"depth": len(prefix), "prefix": text, "share": share * mass}
        tasks.append(Task(f"{len(prefix)}-{name}", known | place))
    return tasks


def _prefix(task: Task) -> NDArray[np.uint8]:
    """Give the decisions that a task takes for granted."""
    octets = np.frombuffer(bytes.fromhex(cast("str", task.payload["prefix"])), dtype=np.uint8)
    return np.unpackbits(octets, count=cast("int", task.payload["depth"]))


def _limits(task: Task) -> tuple[float | None, int | None]:
    return cast("float | None", task.payload["deadline"]), cast("int | None", task.payload["most"])


def _out_of_time(deadline: float | None) -> bool:
    return deadline is not None and time.time() >= deadline
