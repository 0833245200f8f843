from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from byways.core import errors


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "BywaysError"])
def test_every_error_is_one_of_ours(name: str) -> None:
    assert issubclass(getattr(errors, name), errors.BywaysError)


@pytest.mark.parametrize(
    ("ours", "standard"),
    [
        (errors.DomainError, ValueError),
        (errors.ShapeError, ValueError),
        (errors.MissingDependencyError, ImportError),
    ],
)
def test_errors_are_caught_as_what_python_calls_them(
    ours: type[Exception], standard: type[Exception]
) -> None:
    assert issubclass(ours, standard)


@pytest.mark.parametrize(
    "error",
    [
        errors.TasksFailedError("two tasks failed", ("a", "b")),
        errors.JournalError("bad line", Path("run/journal/w.jsonl"), 7),
        errors.JournalError("no line", Path("run/manifest.json")),
        errors.DomainError("empty"),
        errors.MissingDependencyError("no torch"),
    ],
    ids=str,
)
def test_errors_survive_pickle_with_what_they_know(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def _fail() -> None:
    raise errors.JournalError("bad line", Path("w.jsonl"), 7)


@pytest.mark.slow
def test_errors_of_a_worker_reach_the_caller() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(errors.JournalError) as caught,
    ):
        pool.submit(_fail).result(timeout=60)
    assert (caught.value.file, caught.value.line) == (Path("w.jsonl"), 7)
