"""The list of regions in order, put together from the parts that tasks found.

A subtree of decisions is an interval of the lexicographic order, so the regions of a task lie
around those of the tasks that it left, and the whole list is a merge of nested intervals. Nothing
is sorted again, each part is read once, and one part for each level of the tree is in memory. A
long list of a run directory goes to files there, and the report maps them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from byways.core.errors import JournalError
from byways.regions._array_files import ArrayFile, ArrayInMemory
from byways.regions._signs import lower_bound, words_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from byways.regions._array_files import Target
    from byways.regions._question import Question
    from byways.runs import Result, RunDirectory, Task

    Block = dict[str, NDArray[Any]]

__all__ = ["Part", "lay_out"]

_IN_MEMORY = 64 << 20  # bytes; a longer list of a run directory goes to files
_WORD = 64
_BYTES = 8  # of an entry, of words and points alike

Arrays: TypeAlias = "Mapping[str, NDArray[Any]]"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The regions of one task, in order.

    They lie from ``low`` to below ``high``, if the words of a sign vector are read as one whole
    number. Only the first ``count`` are meant. ``arrays`` is None where a run directory has them;
    ``mark`` tells whether it is this result that it has.
    """

    key: str
    low: int
    high: int
    count: int
    mark: int
    arrays: Arrays | None

    @classmethod
    def of(cls, task: Task, result: Result, decisions: int) -> Part:
        """Make a part of what a task found, with its arrays or without."""
        prefix, depth = cast("str", task.payload["prefix"]), cast("int", task.payload["depth"])
        bits = _WORD * words_for(decisions)
        low = int(prefix or "0", 16) << (bits - 4 * len(prefix))
        high = low + (1 << (bits - depth))
        count = int(result.counts["regions"])
        return cls(result.key, low, high, count, _mark(result), result.arrays)


def lay_out(
    question: Question, parts: Sequence[Part], run: RunDirectory | None, *, complete: bool
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Give decision bits and points of all regions, in lexicographic order.

    Args:
        question: What was asked.
        parts: What was found.
        run: The run directory that keeps the parts without arrays.
        complete: Whether the list is; the file of a list that is not has no name, so that nobody
            takes it for the whole.

    Returns:
        Words and points; of a long list in a run directory read-only maps of files.

    Raises:
        JournalError: If a part is damaged.
        OSError: If there is no space for the files; what was written of them is removed.
    """
    problem, found = question.searched(), [part for part in parts if part.count]
    total = sum(part.count for part in found)
    words = total, words_for(problem.decisions)
    points = total if question.witnesses else 0, problem.dim
    size = _BYTES * (words[0] * words[1] + points[0] * points[1])
    filed = run is not None and question.exact == "float" and size > _IN_MEMORY
    with contextlib.ExitStack() as stack:

        def target(name: str, dtype: str, shape: tuple[int, int]) -> Target:
            if run is None or not filed or 0 in shape:
                return ArrayInMemory(dtype, shape)
            file = ArrayFile(run.path / f"{name}.npy", dtype, shape, keep=complete)
            return stack.enter_context(file)

        targets = {
            "points": target("points", "<f8", points),
            "words": target("words", "<u8", words),
        }
        rows = 0
        for block in _merged(_loaded(found, run)):
            rows += len(block["words"])
            for name, array in block.items():
                targets[name].add(array)
        if rows != total and run is not None:
            raise JournalError(
                f"the shards of {run.path} hold {rows:,} regions and its journals promise "
                f"{total:,}; compute the run again in another directory",
                run.path,
            )
        laid = {name: each.finish() for name, each in targets.items()}
    return laid["words"], laid["points"]


def _loaded(parts: Sequence[Part], run: RunDirectory | None) -> Iterator[tuple[Part, Arrays]]:
    """Give the parts with their arrays in the order of where they begin, outer ones first."""
    ordered = sorted(parts, key=lambda part: (part.low, -part.high))
    missing = [part.key for part in ordered if part.arrays is None]
    stored = run.finished().whole(missing) if run is not None else iter(())
    for part in ordered:
        arrays = part.arrays
        if arrays is None and run is not None:
            result = next(stored)
            if _mark(result) != part.mark:
                raise JournalError(
                    f"{run.path} holds two results of task {part.key!r}, as two sessions make them "
                    "that run at a time with different numbers of workers; call again, and the "
                    "first result of each task counts",
                    run.path,
                )
            arrays = result.arrays
        yield part, {name: array[: part.count] for name, array in (arrays or {}).items()}


def _mark(result: Result) -> int:
    """Tell results of a task apart that left different parts of it to others."""
    return hash(tuple(result.counts.values()))


def _merged(parts: Iterator[tuple[Part, Arrays]]) -> Iterator[Block]:
    """Give the regions of nested intervals in order."""
    around: list[_Open] = []
    for part, arrays in parts:
        while around and around[-1].high <= part.low:
            yield around.pop().rest()
        if around:
            yield around[-1].below(part.low)
        around.append(_Open(part.high, arrays))
    while around:
        yield around.pop().rest()


class _Open:
    """A part of which some regions have not been given yet."""

    def __init__(self, high: int, arrays: Arrays) -> None:
        self.high = high
        self._arrays = arrays
        self._given = 0

    def below(self, low: int) -> Block:
        """Give the regions below a number that were not given yet."""
        words = self._arrays["words"]
        columns = range(words.shape[1] - 1, -1, -1)
        wanted = [(low >> (_WORD * column)) % 2**_WORD for column in columns]
        (end,) = lower_bound(np.array([wanted], dtype=np.uint64), words)
        return self._until(int(end))

    def rest(self) -> Block:
        """Give all that were not given yet."""
        return self._until(len(self._arrays["words"]))

    def _until(self, end: int) -> Block:
        block = {name: array[self._given : end] for name, array in self._arrays.items()}
        self._given = max(self._given, end)
        return block
