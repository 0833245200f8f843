"""``queue=``: workers that are started by themselves find what one process finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import factorial
from pathlib import Path
from typing import Any

import pytest

from byways.networks import arrangement
from byways.regions import Outcome, _gather, _work, count_regions, enumerate_regions
from byways.regions._question import Question
from byways.runs import RunDirectory, serve_queue
from tests.runs.conftest import broker_url, queue

__all__ = ["broker_url", "queue"]  # fixtures

CHAIN = arrangement("type_b", 3)
REGIONS = 2**3 * factorial(3)  # signed permutations
DOORS: dict[str, Callable[..., Any]] = {"list": enumerate_regions, "count": count_regions}


@contextmanager
def worker(run_dir: Path, queue: str) -> Iterator[list[int]]:
    """Work beside the test; what is given fills with the number of tasks done."""
    done: list[int] = []
    with ThreadPoolExecutor(1) as thread:
        served = thread.submit(
            serve_queue, run_dir, _work.work, Question.load, queue=queue, idle=20.0
        )
        yield done
        done.append(served.result())


def open_tasks(run_dir: Path) -> set[str]:
    """Give the tasks that finished ones left to others and that nobody has done."""
    with RunDirectory.open(run_dir) as run:
        results = run.finished()
        done = set(run.done_keys())
        assert done == set(results)
        assert _work.WHOLE in done
        return {task.key for key in done for task in results[key].rest} - done


@pytest.mark.usefixtures("_cut_early")
@pytest.mark.parametrize("door", DOORS)
def test_workers_of_a_queue_find_all_regions(door: str, queue: str, tmp_path: Path) -> None:
    with worker(tmp_path / "run", queue) as done:
        found = DOORS[door](CHAIN, (-1, 1), queue=queue, run_dir=tmp_path / "run")
    assert found.outcome is Outcome.COMPLETE
    assert (len(found) if door == "list" else found.total) == REGIONS
    assert done[0] > 1
    assert open_tasks(tmp_path / "run") == set()
    again = DOORS[door](CHAIN, (-1, 1), run_dir=tmp_path / "run")  # from what is there
    alone = DOORS[door](CHAIN, (-1, 1))
    if door == "list":
        assert found.digest() == again.digest() == alone.digest()
    for other in (again, alone):
        assert found.layer_counts == other.layer_counts
        assert found.ambiguous == other.ambiguous


@pytest.mark.usefixtures("_cut_early")
def test_without_workers_a_time_limit_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gather, "_LATE_SECONDS", 0.2)
    options: dict[str, Any] = {"queue": "folder", "run_dir": tmp_path / "run"}
    found = count_regions(CHAIN, (-1, 1), time_limit=0.2, **options)
    assert found.outcome is Outcome.TIME_LIMIT
    assert found.total < REGIONS  # what the master itself did at first
    assert len(open_tasks(tmp_path / "run")) > 1
    resumed = count_regions(CHAIN, (-1, 1), run_dir=tmp_path / "run")
    alone = count_regions(CHAIN, (-1, 1))
    assert resumed.outcome is Outcome.COMPLETE
    assert (resumed.total, resumed.layer_counts) == (REGIONS, alone.layer_counts)
    assert open_tasks(tmp_path / "run") == set()


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"queue": 7}, TypeError, '"queue" was 7; it is "folder" or the address of a broker'),
        ({"queue": "redis://user:hush@host"}, ValueError, "\"queue\" was 'redis'"),
        ({"queue": "folder", "workers": 2}, ValueError, 'together with "workers" or "executor"'),
        ({"queue": "folder", "executor": ThreadPoolExecutor(1)}, ValueError, '"executor"'),
        ({"queue": "folder", "run_dir": None}, ValueError, "without a run directory"),
    ],
)
def test_misuse_is_refused_before_anything_is_written(
    door: Callable[..., Any], options: dict[str, Any], kind: type[Exception], message: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    with pytest.raises(kind, match=message) as caught:
        door(CHAIN, (-1, 1), **{"run_dir": tmp_path / "run"} | options)
    assert "hush" not in str(caught.value)
    assert not (tmp_path / "run").exists()
