"""What run_tasks refuses, and what it says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byways.core.errors import RunMismatchError
from byways.runs import Result, RunDirectory, run_tasks
from tests.runs.workloads import Scale, expected, found, make_tasks, multiply

CONTEXT = Scale(3)


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_positive(workers: int) -> None:
    with pytest.raises(ValueError, match=r'"workers" was .*at least 1, or None for all cores'):
        run_tasks(multiply, [], context=CONTEXT, workers=workers)


@pytest.mark.parametrize("workers", [True, "2", 2.0])
def test_workers_must_be_a_whole_number(workers: Any) -> None:
    with pytest.raises(TypeError, match=r'"workers" was .*None for all cores'):
        run_tasks(multiply, [], context=CONTEXT, workers=workers)


def test_workers_may_be_a_whole_number_of_numpy() -> None:
    pairs = run_tasks(multiply, make_tasks(3), context=CONTEXT, workers=np.int64(1))
    assert found([result for _, result in pairs]) == expected(3)


@pytest.mark.parametrize("workers", [2, None])
def test_workers_and_executor_exclude_each_other(workers: int | None) -> None:
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(ValueError, match=r'"workers" was .* and "executor" was given too'),
    ):
        run_tasks(multiply, [], context=CONTEXT, workers=workers, executor=executor)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"executor": 7}, TypeError, '"executor" was 7'),
        ({"window": 0}, ValueError, '"window" was 0; it must be at least 1'),
        ({"window": True}, TypeError, '"window" was True'),
        ({"retries": -1}, ValueError, '"retries" was -1; it must be at least 0'),
        ({"retries": 1.0}, TypeError, '"retries" was 1.0'),
        ({"progress": 7}, TypeError, '"progress" was 7'),
        ({"context": 7}, TypeError, '"context" was 7; it must have the method digest'),
        ({"tasks": [7]}, TypeError, '"tasks" contains 7'),
        ({"tasks": make_tasks(2) * 2}, ValueError, "contains the key 'n-000000' twice"),
        ({"work": 7}, TypeError, '"work" was 7; it must be a function'),
    ],
)
def test_misuse_is_told_at_the_call(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    given = {"work": multiply, "tasks": [], "context": CONTEXT} | arguments
    with pytest.raises(kind, match=message):
        run_tasks(**given)


def test_equal_keys_that_meet_in_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="contains the key 'n-000000' twice"):
        list(run_tasks(multiply, iter(make_tasks(1) * 2), context=CONTEXT, workers=2))


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (None, TypeError, '"work" returned None for task'),
        (Result("other"), ValueError, "returned the result of 'other' for task 'n-000000'"),
    ],
)
def test_work_must_return_the_result_of_its_task(
    value: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        list(run_tasks(lambda context, task: value, make_tasks(1), context=CONTEXT))


def test_work_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(TypeError, match=r'"work" was .* cannot be sent to another process'):
        list(run_tasks(lambda context, task: None, make_tasks(1), context=CONTEXT, workers=2))  # type: ignore[arg-type, return-value]


def test_journal_of_another_context_is_refused(tmp_path: Path) -> None:
    with (
        RunDirectory.create(tmp_path, pass_name="p", parameters={}, context=Scale(4)) as run,
        pytest.raises(RunMismatchError, match="'scale-4'; the context has 'scale-3'"),
    ):
        run_tasks(multiply, [], context=CONTEXT, journal=run)
