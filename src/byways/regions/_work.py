"""Enumeration cut into tasks: what to do, one task, and how the answers are put together.

A small question is answered whole. A larger one is cut at a fixed depth of the decision tree into
some hundreds of subtrees; the cut depends on the question alone, so that the answer, its order
included, does not depend on who computed which part.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from byways.regions._signs import lexicographic_order, unpack
from byways.runs import Result, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._engine import Walk
    from byways.regions._problem import Problem
    from byways.regions._question import Question

    Words = NDArray[np.uint64]

__all__ = ["Plan", "work"]

WHOLE = "whole"
_TASKS_WANTED = 256
# What is done within about half a second in ten dimensions is not worth cutting; steps grow dearer
# with the dimension.
_SMALL_LEAVES = 200_000
_SMALL_WORK = {"lp": 2_000, "simplex": 2_000_000, "vertices": 3_000_000, "wide": 2_000_000}
_LEAVES_AT_ONCE = 4_096
_STEP = {
    "lp": 200,
    "simplex": 200_000,
    "vertices": 200_000,
    "wide": 200_000,
}  # work between two looks at the clock


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Tasks, heaviest first, and what was learnt while cutting.

    ``answer`` is the finished result of a small question; then there is the one task it belongs
    to. ``trunk`` holds the layer counts of the stages above the cut, ``doubts`` its ambiguous
    decisions.
    """

    tasks: tuple[Task, ...]
    trunk: NDArray[np.int64]
    doubts: int
    answer: Result | None

    @classmethod
    def make(cls, question: Question, deadline: float | None, most: int | None) -> Plan:
        """Answer a small question, or cut a large one.

        ``deadline`` (seconds since the epoch) and ``most`` (regions) go into every task.
        """
        problem = question.problem()
        limits: dict[str, float | int | None] = {"deadline": deadline, "most": most}
        whole = Task(WHOLE, {"prefix": "", **limits})
        budget = _SMALL_WORK[question.method] * 30 // (20 + problem.dim)
        answer = _explore(question, problem, whole, budget)
        if answer.complete or _is_full(most, answer):
            return cls((whole,), np.zeros(len(problem.stages), dtype=np.int64), 0, answer)
        stop, cut = 0, None
        while cut is None or (len(cut[0]) < _TASKS_WANTED and stop < problem.decisions):
            if _out_of_time(deadline):
                return cls((whole,), np.zeros(len(problem.stages), dtype=np.int64), 0, answer)
            stop += 1
            cut = _cut(question, problem, stop)
        prefixes, walk = cut
        tasks = [
            Task(f"{i:05d}", {"prefix": _text(bits), **limits}, cost=1.0 + float(bits.sum()) ** 2)
            for i, bits in enumerate(prefixes)
        ]
        tasks.sort(key=lambda task: (-task.cost, task.key))
        return cls(tuple(tasks), walk.layer_counts.copy(), walk.ambiguous, None)


def work(question: Question, task: Task) -> Result:
    """List or count the regions of one subtree, sorted by sign vector."""
    return _explore(question, question.problem(), task, None)


def _cut(question: Question, problem: Problem, stop: int) -> tuple[NDArray[np.uint8], Walk]:
    """Give the sign prefixes of a depth in lexicographic order."""
    walk = question.walk(problem, np.zeros(0, dtype=np.uint8), stop)
    parts = []
    while not walk.finished:
        parts.append(walk.advance(_LEAVES_AT_ONCE, 10**6).words)
    words = np.concatenate(parts)
    return unpack(words[lexicographic_order(words)], stop), walk


def _explore(question: Question, problem: Problem, task: Task, budget: int | None) -> Result:
    """Walk a subtree until it is done or a limit is reached."""
    start = time.perf_counter()
    prefix = np.array([int(c) for c in str(task.payload["prefix"])], dtype=np.uint8)
    deadline, most = _limits(task)
    walk = question.walk(problem, prefix)
    words, points, found = [], [], 0
    while not walk.finished:
        # One leaf more than allowed is asked for: a limit is reached when something lies beyond it.
        room = _LEAVES_AT_ONCE if most is None else min(_LEAVES_AT_ONCE, most + 1 - found)
        step = _STEP[question.method]
        batch = walk.advance(room, step if budget is None else min(step, budget - walk.work))
        words.append(batch.words)
        points.append(batch.points)
        found += batch.leaves
        spent = budget is not None and (walk.work >= budget or found >= _SMALL_LEAVES)
        if spent or (most is not None and found > most) or _out_of_time(deadline):
            break
    counts = {"regions": found, "ambiguous": walk.ambiguous, "explored": walk.explored}
    counts |= {f"layer_{i}": int(count) for i, count in enumerate(walk.layer_counts)}
    arrays = _sorted(words, points) if question.listing else None
    seconds = time.perf_counter() - start
    return Result(task.key, seconds, counts, arrays, complete=walk.finished)


def _text(bits: NDArray[np.uint8]) -> str:
    return "".join("1" if bit else "0" for bit in bits)


def _limits(task: Task) -> tuple[float | None, int | None]:
    deadline, most = task.payload["deadline"], task.payload["most"]
    return (
        deadline if isinstance(deadline, float) else None,
        most if isinstance(most, int) else None,
    )


def _out_of_time(deadline: float | None) -> bool:
    return deadline is not None and time.time() >= deadline


def _is_full(most: int | None, answer: Result) -> bool:
    return most is not None and answer.counts["regions"] > most


def _sorted(
    words: list[Words], points: list[NDArray[np.float64]]
) -> dict[str, NDArray[np.generic]]:
    listed, inside = np.concatenate(words), np.concatenate(points)
    order = lexicographic_order(listed)
    arrays: dict[str, NDArray[np.generic]] = {"words": listed[order]}
    if len(inside):
        arrays["points"] = inside[order]
    return arrays
