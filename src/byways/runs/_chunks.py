"""What runs in a worker: a chunk of tasks, and the context that the process keeps for them."""

from __future__ import annotations

import pickle
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from byways.core.errors import RunMismatchError
from byways.runs._tasks import Context, Result, Task

__all__ = [
    "ContextRef",
    "Reply",
    "Work",
    "forget_context",
    "keep_context",
    "run_chunk",
    "run_task",
]

Work: TypeAlias = Callable[[Any, Task], Result]

# Long-lived workers serve many runs: they keep the contexts used last.
_KEPT = 4
_contexts: OrderedDict[str, Context] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class ContextRef:
    """How a worker gets the context: from its own memory, else from a file, else from bytes.

    Args:
        digest: Digest of the context.
        path: File to load it from, or None.
        load: Reads that file.
        data: The pickled context, or None.
    """

    digest: str
    path: str | None = None
    load: Callable[[Path], Any] | None = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a chunk gave.

    Args:
        results: Results of its first tasks, in order. They are not all where the chunk took much
            longer than predicted: the others are for another chunk.
        seconds: Time that they took.
        lacks_context: True if the process could not get the context, and nothing was done.
    """

    results: list[Result]
    seconds: float
    lacks_context: bool = False


def run_chunk(work: Work, tasks: list[Task], ref: ContextRef, patience: float) -> Reply:
    """Run tasks one after another until they are finished or the patience has run out.

    Args:
        work: The work function.
        tasks: The tasks.
        ref: How to get the context.
        patience: Seconds after which no further task is begun.

    Returns:
        The results so far.
    """
    context = _find_context(ref)
    if context is None:
        return Reply([], 0.0, lacks_context=True)
    started = time.perf_counter()
    results: list[Result] = []
    for task in tasks:
        results.append(run_task(work, context, task))
        if time.perf_counter() - started > patience:
            break
    return Reply(results, time.perf_counter() - started)


def run_task(work: Work, context: Any, task: Task) -> Result:
    """Run one task and check what it gives back.

    Raises:
        TypeError: If the work function does not return a result.
        ValueError: If it returns the result of another task.
    """
    started = time.perf_counter()
    try:
        result = work(context, task)
    except Exception as error:
        error.add_note(f"raised by task {task.key!r}")
        raise
    if not isinstance(result, Result):
        raise TypeError(
            f'"work" returned {result!r} for task {task.key!r}; it must return a byways.runs.Result'
        )
    if result.key != task.key:
        raise ValueError(
            f'"work" returned the result of {result.key!r} for task {task.key!r}; the keys must '
            "be equal"
        )
    return result if result.seconds else replace(result, seconds=time.perf_counter() - started)


def keep_context(context: Context, digest: str) -> None:
    """Keep a context in this process."""
    with _lock:
        _contexts[digest] = context
        _contexts.move_to_end(digest)
        while len(_contexts) > _KEPT:
            _contexts.popitem(last=False)


def forget_context(digest: str) -> None:
    """Keep a context no longer."""
    with _lock:
        _contexts.pop(digest, None)


def _find_context(ref: ContextRef) -> Context | None:
    """Give the context, or None if this process has no way to it."""
    with _lock:
        found = _contexts.get(ref.digest)
        if found is not None:
            _contexts.move_to_end(ref.digest)
            return found
    found = _load_context(ref)
    if found is not None:
        keep_context(found, ref.digest)
    return found


def _load_context(ref: ContextRef) -> Context | None:
    """Load a context from what came with the chunk, and check that it is the right one."""
    context: Context
    if ref.data is not None:
        context = pickle.loads(ref.data)
    elif ref.path is not None and ref.load is not None:
        try:
            context = ref.load(Path(ref.path))
        except OSError:  # no shared disk: ask for the bytes
            return None
    else:
        return None
    if context.digest() != ref.digest:
        raise RunMismatchError(
            f'the context has the digest {context.digest()!r} after it travelled, "digest" was '
            f"{ref.digest!r} before; its save and load, or its pickling, lose something"
        )
    return context
