"""Workers of a queue: the same results as without, whoever comes, goes, fails or meddles."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from byways.core.errors import RunMismatchError, TasksFailedError
from byways.runs import Result, RunDirectory, Task, run_tasks, serve_queue
from byways.runs._folder import QueueFolder
from tests.runs import workloads
from tests.runs.queues import CONTEXT, IDENTITY, master, workers
from tests.runs.workloads import Scale, expected, found, make_tasks, multiply


def test_workers_find_what_one_process_finds(tmp_path: Path, queue: str) -> None:
    with workers(tmp_path / "run", queue) as done:
        assert found(master(tmp_path / "run", queue, 40)) == expected(40)
    assert sum(done) == 40  # nothing was computed twice
    with RunDirectory.open(tmp_path / "run") as run:
        assert found(list(run.results())) == expected(40)
    folder = tmp_path / "run" / "queue"
    left = sorted(p.name for p in folder.rglob("*") if p.is_file())
    assert left == ["finished"]


def test_a_run_goes_on_with_what_is_left(tmp_path: Path, queue: str) -> None:
    with RunDirectory.create(tmp_path / "run", **IDENTITY) as run:
        list(run_tasks(multiply, make_tasks(10), context=CONTEXT, journal=run))
    for count in (25, 25):
        with workers(tmp_path / "run", queue, idle=0.5):
            master(tmp_path / "run", queue, count)
    with RunDirectory.open(tmp_path / "run") as run:
        assert found(list(run.results())) == expected(25)
        assert run.status().tasks == 25


def test_two_masters_on_one_directory(tmp_path: Path, queue: str) -> None:
    RunDirectory.create(tmp_path / "run", **IDENTITY).close()
    with (
        workers(tmp_path / "run", queue, 2, workloads.multiply_slowly, idle=2.0),
        ThreadPoolExecutor(2) as masters,
    ):
        both = [masters.submit(master, tmp_path / "run", queue, 30) for _ in range(2)]
        for one in both:
            assert expected(30).items() >= found(one.result()).items()
    with RunDirectory.open(tmp_path / "run") as run:
        assert found(list(run.results())) == expected(30)


def test_an_error_of_the_work_reaches_the_master(tmp_path: Path, queue: str) -> None:
    path = tmp_path / "run"
    with (
        workers(path, queue, 1, workloads.fail_at_five, idle=1.0),
        pytest.raises(TasksFailedError, match="five is right out") as caught,
    ):
        master(path, queue, 8)
    assert caught.value.keys == ("n-000005",)
    with workers(path, queue, 1):  # repaired, it goes on
        master(path, queue, 8)
    with RunDirectory.open(path) as run:
        assert found(list(run.results())) == expected(8)


def cut_short(context: Scale, task: Task) -> Result:
    return Result(task.key, counts={"product": 0}, complete=task.payload["n"] != 2)


def test_what_a_limit_cut_short_is_given_but_not_kept(tmp_path: Path, queue: str) -> None:
    with workers(tmp_path / "run", queue, 1, cut_short):
        results = master(tmp_path / "run", queue, 4)
    assert {result.key: result.complete for result in results} == {
        "n-000000": True, "n-000001": True, "n-000002": False, "n-000003": True,
    }  # fmt: skip
    with RunDirectory.open(tmp_path / "run") as run:
        assert run.done_keys() == {"n-000000", "n-000001", "n-000003"}


def test_without_workers_a_time_limit_still_ends_it(tmp_path: Path, queue: str) -> None:
    start = time.time()
    assert master(tmp_path / "run", queue, 3, until=start + 0.5) == []
    assert 0.4 < time.time() - start < 10
    with workers(tmp_path / "run", queue, 1):  # and leaves no work behind that hinders the next
        assert found(master(tmp_path / "run", queue, 3)) == expected(3)


def test_a_master_that_leaves_takes_its_tasks_back(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run", **IDENTITY) as run:
        pairs = run_tasks(multiply, make_tasks(300), context=CONTEXT, journal=run, queue="folder")
        with workers(tmp_path / "run", "folder", 1, workloads.multiply_slowly, idle=0.5) as done:
            next(pairs)
            pairs.close()
    assert list((tmp_path / "run" / "queue" / "tasks").iterdir()) == []
    assert sum(done) < 300


def test_results_of_strangers_are_told_and_not_counted(
    tmp_path: Path, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    RunDirectory.create(tmp_path / "run", **IDENTITY).close()
    with (
        workers(tmp_path / "run", queue, 1, workloads.multiply_slowly),
        RunDirectory.open(tmp_path / "run") as run,
    ):
        pairs = run_tasks(multiply, make_tasks(9), context=CONTEXT, journal=run, queue=queue)
        results = [next(pairs)[1]]
        with RunDirectory.open(run.path) as stranger:
            stranger.append(Result("unknown", counts={"product": 666}))
        results += [result for _, result in pairs]
    assert found(results) == expected(9)
    assert "refused 1 results" in caplog.text
    assert "unknown" in caplog.text


def test_a_changed_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run"
    RunDirectory.create(path, **IDENTITY).close()
    QueueFolder(path, create=True)
    Scale(4).save(path / "context.npz")
    with pytest.raises(RunMismatchError, match=r"context\.npz has the .* 'scale-4'"):
        serve_queue(path, multiply, Scale.load)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"queue": 7}, TypeError, '"queue" was 7'),
        ({"queue": "redis://user:hush@host"}, ValueError, "\"queue\" was 'redis'"),
        ({"queue": "folder", "workers": 2}, ValueError, 'together with "workers"'),
        ({"queue": "folder", "executor": ThreadPoolExecutor(1)}, ValueError, '"executor"'),
    ],
)
def test_misuse_is_refused(
    tmp_path: Path, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with (
        RunDirectory.create(tmp_path / "run", **IDENTITY) as run,
        pytest.raises(kind, match=message) as caught,
    ):
        run_tasks(multiply, [], context=CONTEXT, journal=run, **options)
    assert "hush" not in str(caught.value)


def test_a_queue_needs_a_run_directory() -> None:
    with pytest.raises(ValueError, match='"queue" was given without a run directory'):
        run_tasks(multiply, [], context=CONTEXT, queue="folder")


@pytest.mark.parametrize("options", [{"lease": 0.0}, {"idle": -1.0}])
def test_a_worker_refuses_wrong_numbers(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f'"{next(iter(options))}" was .* positive number'):
        serve_queue(tmp_path, multiply, Scale.load, **options)


def test_a_worker_without_a_run_leaves_when_told() -> None:
    assert serve_queue("nowhere", multiply, Scale.load, idle=0.1) == 0


def halve(context: Scale, task: Task) -> Result:
    """Leave one half of a range to each of two others, down to single numbers."""
    low, high = (int(str(task.payload[name])) for name in ("low", "high"))
    if high - low == 1:
        return Result(task.key, counts={"sum": context.factor * low})
    middle = (low + high) // 2
    rest = [
        Task(f"{task.key}{name}", {"low": a, "high": b})
        for name, a, b in (("a", low, middle), ("b", middle, high))
    ]
    return Result(task.key, counts={"sum": 0}, rest=rest)


def test_tasks_that_split_are_done_to_the_end(tmp_path: Path, queue: str) -> None:
    root = Task("r", {"low": 0, "high": 16})
    with (
        workers(tmp_path / "run", queue, 2, halve),
        RunDirectory.create(tmp_path / "run", **IDENTITY) as run,
    ):
        pairs = list(run_tasks(halve, [root], context=CONTEXT, journal=run, queue=queue))
        assert sum(int(result.counts["sum"]) for _, result in pairs) == 3 * sum(range(16))
        assert len(pairs) == len(run.done_keys()) == 31
