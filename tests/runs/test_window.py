"""How tasks are cut into chunks, and what becomes of a chunk that was cut wrongly."""

from __future__ import annotations

import pickle
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from byways.core.progress import as_progress
from byways.runs import Result, Task, _window, run_tasks
from byways.runs._chunks import ContextRef, Reply, run_chunk
from byways.runs._executors import OwnPool
from byways.runs._ledger import Ledger
from byways.runs._window import TaskQueue, Window
from tests.runs import workloads
from tests.runs.workloads import Scale, expected, found, make_tasks, multiply

CONTEXT = Scale(3)


def test_long_chunks_give_back_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ref = ContextRef(CONTEXT.digest(), data=pickle.dumps(CONTEXT))
    reply = run_chunk(workloads.multiply_slowly, make_tasks(20), ref, patience=0.035)
    assert 1 <= len(reply.results) <= 4  # each takes 0.01 s at least
    assert [result.key for result in reply.results] == list(expected(20))[: len(reply.results)]
    # In a run: the first tasks are quick, so later chunks are far too large for what they hold.
    monkeypatch.setattr(OwnPool, "target", 0.005)
    pairs = run_tasks(quick_then_slow, make_tasks(60), context=CONTEXT, workers=2)
    assert found([result for _, result in pairs]) == expected(60)


class Impatient:
    """A pool that does one task of each chunk; the first is quick, and the others are not."""

    target, window, shared_fate = 1.0, 4, False

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def submit(self, tasks: list[Task], *, lacked_context: int = 0) -> Future[Reply]:
        seconds = 10.0 if self.sizes else 1e-9
        self.sizes.append(len(tasks))
        future: Future[Reply] = Future()
        future.set_result(Reply([multiply(CONTEXT, tasks[0])], seconds))
        return future

    def close(self, *, abort: bool) -> None:
        """Do nothing."""


def test_what_took_longer_than_predicted_is_cut_anew() -> None:
    """One worker alone would have to do what is left of a chunk that is far too large."""
    pool, ledger = Impatient(), Ledger(None, as_progress(False), None)
    queue = TaskQueue(make_tasks(100), None, ledger)
    pairs = list(Window(pool, queue, ledger, None, 0).results())
    assert found([result for _, result in pairs]) == expected(100)
    large = [n for n, size in enumerate(pool.sizes) if size > 25]  # a quarter of the tasks
    assert large == [4]  # the first that was cut after a window of single tasks


def quick_then_slow(context: Scale, task: Task) -> Result:
    n = task.payload["n"]
    assert isinstance(n, int)
    return (multiply if n < 8 else workloads.multiply_slowly)(context, task)


class Counting(ThreadPoolExecutor):
    """Count the calls."""

    calls = 0

    def submit(self, *arguments: object, **options: object) -> Future[Reply]:  # type: ignore[override]
        self.calls += 1
        return super().submit(*arguments, **options)  # type: ignore[arg-type]


def test_quick_tasks_do_not_fill_a_window_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_window, "_MOMENT", 5.0)  # a busy machine takes its time
    with Counting(2) as executor:
        pairs = run_tasks(multiply, make_tasks(200), context=CONTEXT, executor=executor)
        assert found([result for _, result in pairs]) == expected(200)
    assert executor.calls < 20  # the window holds 64
