from __future__ import annotations

import itertools
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byways.core.errors import RunMismatchError, TasksFailedError
from byways.core.progress import ProgressEvent
from byways.runs import Result, RunDirectory, Task, _journal, run_tasks
from byways.runs._chunks import forget_context
from tests.runs import workloads
from tests.runs.adversary import AdversarialExecutor
from tests.runs.workloads import Forgetful, Scale, Unsaved, expected, found, make_tasks, multiply

CONTEXT = Scale(3)


@contextmanager
def _threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(3) as executor:
        yield executor


@contextmanager
def _processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@contextmanager
def _loky() -> Iterator[Executor]:
    from loky import ProcessPoolExecutor as LokyExecutor

    executor = LokyExecutor(2)
    try:
        yield executor
    finally:
        executor.shutdown()


@contextmanager
def _adversary() -> Iterator[Executor]:
    executor = AdversarialExecutor(7)
    yield executor
    executor.end()
    assert executor.shutdowns == 0


@contextmanager
def _nobody() -> Iterator[None]:
    yield None


EXECUTORS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "inline": (_nobody, {}),
    "own pool": (_nobody, {"workers": 2}),
    "threads": (_threads, {}),
    "processes": (_processes, {}),
    "loky": (_loky, {}),
    "adversary": (_adversary, {"retries": 3}),
}


@pytest.fixture(params=EXECUTORS)
def where(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The arguments of run_tasks for every way to run."""
    make, arguments = EXECUTORS[request.param]
    with make() as executor:
        yield arguments | ({} if executor is None else {"executor": executor})


def _run(tasks: Any, **arguments: Any) -> dict[str, tuple[int, list[int]]]:
    pairs = list(run_tasks(multiply, tasks, **({"context": CONTEXT} | arguments)))
    assert all(task.key == result.key for task, result in pairs)
    return found([result for _, result in pairs])


def test_every_executor_gives_every_result_once(where: dict[str, Any]) -> None:
    assert _run(make_tasks(300), **where) == expected(300)


def test_every_executor_resumes(where: dict[str, Any], tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"pass_name": "p", "parameters": {}, "context": CONTEXT}
    with RunDirectory.create(tmp_path / "run", **arguments) as run:
        for n, _ in enumerate(run_tasks(multiply, make_tasks(40), context=CONTEXT, journal=run)):
            if n == 24:
                break
    with RunDirectory.create_or_resume(tmp_path / "run", **arguments) as run:
        done = run.done_keys()
        assert len(done) == 25
        fresh = _run(make_tasks(40), journal=run, **where)
        assert not done & fresh.keys()
        assert found(list(run.results())) == expected(40)


def test_context_without_a_file_travels_as_bytes(where: dict[str, Any]) -> None:
    assert _run(make_tasks(40), **where, context=Unsaved(3)) == expected(40)


def test_no_tasks_give_no_results(where: dict[str, Any]) -> None:
    assert _run([], **where) == {}


def test_error_of_the_work_names_the_task(where: dict[str, Any]) -> None:
    with pytest.raises(ArithmeticError, match="five is right out") as caught:
        list(run_tasks(workloads.fail_at_five, make_tasks(9), context=CONTEXT, **where))
    assert "raised by task 'n-000005'" in caught.value.__notes__


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(0, 60),
    window=st.none() | st.integers(1, 9),
    late=st.integers(1, 6),
    start=st.integers(0, 60),
)
def test_results_do_not_depend_on_how_they_came_about(
    seed: int, count: int, window: int | None, late: int, start: int
) -> None:
    executor = AdversarialExecutor(seed, late=late)
    tasks = make_tasks(count)
    tasks = tasks[start % (count + 1) :] + tasks[: start % (count + 1)]
    try:
        results = _run(iter(tasks), executor=executor, window=window, retries=3)
    finally:
        executor.end()
    assert results == expected(count)
    assert executor.shutdowns == 0


@pytest.mark.parametrize("window", [1, 2, 7])
def test_window_limits_what_is_submitted(window: int) -> None:
    executor = AdversarialExecutor(1, late=20)
    try:
        assert _run(make_tasks(200), executor=executor, window=window, retries=3) == expected(200)
    finally:
        executor.end()
    assert executor.most_pending == window


@pytest.mark.parametrize("arguments", [{}, {"workers": 2}, {"workers": 2, "window": 3}])
def test_tasks_are_taken_only_as_needed(arguments: dict[str, Any]) -> None:
    taken = itertools.count()

    def endless() -> Iterator[Task]:
        for n in taken:
            yield Task(f"n-{n}", {"n": n})

    pairs = run_tasks(workloads.multiply_slowly, endless(), context=CONTEXT, **arguments)
    assert next(taken) == 0  # nothing happens before the first result is asked for
    next(pairs)
    pairs.close()
    assert next(taken) < 200


def test_closing_cancels_promptly_and_leaves_no_process() -> None:
    before = set(multiprocessing.active_children())
    pairs = run_tasks(
        multiply_then_sleep, (Task(f"n-{n}", {"n": n}) for n in itertools.count()),
        context=CONTEXT, workers=2,
    )  # fmt: skip
    next(pairs)
    started = time.monotonic()
    pairs.close()
    assert time.monotonic() - started < 2.0
    assert set(multiprocessing.active_children()) <= before


def multiply_then_sleep(context: Scale, task: Task) -> Result:
    return (
        multiply(context, task) if task.payload["n"] == 0 else workloads.sleep_long(context, task)
    )


def test_closing_cancels_what_waits_in_a_given_executor() -> None:
    with ThreadPoolExecutor(1) as executor:
        pairs = run_tasks(
            workloads.multiply_slowly, make_tasks(5000), context=CONTEXT, executor=executor
        )
        next(pairs)
        pairs.close()
        started = time.monotonic()
        assert executor.submit(int, "7").result() == 7  # still open, and soon free
        assert time.monotonic() - started < 1.0


def test_failing_iterator_ends_the_run() -> None:
    def broken() -> Iterator[Task]:
        yield from make_tasks(3)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(run_tasks(multiply, broken(), context=CONTEXT, workers=2))


def test_interrupt_keeps_what_was_finished(tmp_path: Path) -> None:
    path = tmp_path / "run"
    work = workloads.interrupt_at_five
    with (
        RunDirectory.create(path, pass_name="p", parameters={}, context=CONTEXT) as run,
        pytest.raises(KeyboardInterrupt),
    ):
        list(run_tasks(work, make_tasks(9), context=CONTEXT, journal=run))
    with RunDirectory.open(path) as run:
        assert found(list(run.results())) == expected(5)


def test_interrupt_in_the_caller_cancels_and_flushes(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run = RunDirectory.create(path, pass_name="p", parameters={}, context=CONTEXT)
    given: set[str] = set()

    def loop() -> None:
        work = workloads.multiply_slowly
        for task, _ in run_tasks(work, make_tasks(500), context=CONTEXT, workers=2, journal=run):
            given.add(task.key)
            if len(given) == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop()
    reader = RunDirectory.open(path)  # ``run`` is not closed: what counts is what was flushed
    assert given <= reader.done_keys()
    run.close()


def test_a_broken_executor_is_tried_again_then_given_up() -> None:
    class Breaks(Executor):
        calls = 0

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            self.calls += 1
            future: Future[Any] = Future()
            future.set_exception(BrokenExecutor("the node is gone"))
            return future

    executor = Breaks()
    with pytest.raises(TasksFailedError, match="the node is gone") as caught:
        _run(make_tasks(1), executor=executor, retries=2)
    assert caught.value.keys == ("n-000000",)
    assert isinstance(caught.value.__cause__, BrokenExecutor)
    assert executor.calls == 3


def test_a_dead_executor_fails_at_once() -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        _run(make_tasks(3), executor=executor)


def test_a_cancelled_call_is_a_failure_not_a_hang() -> None:
    class Cancels(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.cancel()
            return future

    with pytest.raises(TasksFailedError, match="CancelledError"):
        _run(make_tasks(2), executor=Cancels())


def test_an_executor_without_a_shared_disk_gets_the_bytes(tmp_path: Path) -> None:
    class Elsewhere(AdversarialExecutor):
        """Forgets the context now and then, and has other files."""

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            forget_context(CONTEXT.digest())
            for path in tmp_path.rglob("context.npz"):
                path.rename(path.with_name("elsewhere"))
            return super().submit(fn, *args, **kwargs)

    run = RunDirectory.create(tmp_path / "run", pass_name="p", parameters={}, context=CONTEXT)
    executor = Elsewhere(3)
    try:
        assert _run(make_tasks(30), executor=executor, journal=run, retries=3) == expected(30)
    finally:
        executor.end()
        run.close()


def test_a_context_that_changes_on_its_way_is_refused() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor,
        pytest.raises(RunMismatchError, match=r"'scale-0' after it travelled, .* 'scale-3' before"),
    ):
        _run(make_tasks(3), executor=executor, context=Forgetful(3))


def test_results_are_written_while_workers_take_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "FLUSH_SHARE", 1e-9)  # after a flush, results wait a second
    gate = threading.Event()

    def wait_at_two(context: Scale, task: Task) -> Result:
        if task.payload["n"] == 2:
            gate.wait(10)
        return multiply(context, task)

    run = RunDirectory.create(tmp_path / "run", pass_name="p", parameters={}, context=CONTEXT)
    with ThreadPoolExecutor(1) as executor:
        tasks = make_tasks(3)
        pairs = run_tasks(wait_at_two, tasks, context=CONTEXT, executor=executor, journal=run)
        next(pairs)
        next(pairs)
        assert RunDirectory.open(run.path).done_keys() == {"n-000000"}
        consumer = threading.Thread(target=list, args=(pairs,))
        consumer.start()
        time.sleep(0.9)
        keys = RunDirectory.open(run.path).done_keys()
        gate.set()
        consumer.join()
    run.close()
    assert keys == {"n-000000", "n-000001"}


def test_progress_counts_tasks_and_what_was_found() -> None:
    events: list[ProgressEvent] = []
    list(run_tasks(multiply, make_tasks(20), context=CONTEXT, progress=events.append))
    last = events[-1]
    assert (last.done, last.total, last.found) == (20, 20, 20)
    assert last.fraction == 1.0


def test_progress_without_a_length_has_no_total() -> None:
    events: list[ProgressEvent] = []
    list(run_tasks(multiply, iter(make_tasks(5)), context=CONTEXT, progress=events.append))
    assert (events[-1].done, events[-1].total) == (5, None)


def test_seconds_are_filled_in() -> None:
    pairs = list(run_tasks(workloads.multiply_slowly, make_tasks(2), context=CONTEXT))
    assert all(0.01 <= result.seconds < 1 for _, result in pairs)


@pytest.mark.slow
def test_closing_at_any_moment_never_hangs() -> None:
    for moment in range(40):
        endless = (Task(f"n-{n}", {"n": n}) for n in itertools.count())
        pairs = run_tasks(multiply, endless, context=CONTEXT, workers=2)
        for _ in itertools.islice(pairs, 1 + 7 * moment):
            pass
        started = time.monotonic()
        pairs.close()
        assert time.monotonic() - started < 5.0
