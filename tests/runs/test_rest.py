"""Tasks that split themselves: nothing is lost and nothing counts twice, whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from byways.core.errors import JournalError
from byways.core.progress import ProgressEvent
from byways.runs import Result, RunDirectory, Task, run_tasks
from byways.runs._journal import parse_entry
from tests.runs.test_running import CONTEXT, where
from tests.runs.workloads import Scale

__all__ = ["where"]  # a fixture: every way to run

IDENTITY: dict[str, Any] = {"pass_name": "p", "parameters": {}, "context": CONTEXT}
WHOLE = Task("0-100", {"from": 0, "to": 100})
SHARE = 7


def sum_up(context: Scale, task: Task) -> Result:
    """Sum up a range as far as the share goes, and leave the rest in two halves."""
    first, last = int(str(task.payload["from"])), int(str(task.payload["to"]))
    reached = min(first + SHARE, last)
    middle = (reached + last) // 2
    parts = [(a, b) for a, b in ((reached, middle), (middle, last)) if a < b]
    rest = [Task(f"{a}-{b}", {"from": a, "to": b}) for a, b in parts]
    counts = {"sum": context.factor * sum(range(first, reached)), "found": 1}
    return Result(task.key, counts=counts, rest=rest)


def total(results: list[Result]) -> int:
    assert len({result.key for result in results}) == len(results)
    return sum(int(result.counts["sum"]) for result in results)


EXPECTED = 3 * 99 * 100 // 2


def test_what_is_left_is_run_too(where: dict[str, Any]) -> None:
    pairs = list(run_tasks(sum_up, [WHOLE], context=CONTEXT, **where))
    assert all(task.key == result.key for task, result in pairs)
    assert total([result for _, result in pairs]) == EXPECTED
    assert len(pairs) > 100 // SHARE


def test_a_run_may_stop_after_any_task(tmp_path: Path) -> None:
    count = len(list(run_tasks(sum_up, [WHOLE], context=CONTEXT)))
    for stop in range(1, count):
        path = tmp_path / str(stop)
        with RunDirectory.create(path, **IDENTITY) as run:
            pairs = run_tasks(sum_up, [WHOLE], context=CONTEXT, journal=run)
            for _ in range(stop):
                next(pairs)
            pairs.close()
        with RunDirectory.create_or_resume(path, **IDENTITY) as run:
            fresh = list(run_tasks(sum_up, [WHOLE], context=CONTEXT, journal=run))
            assert len(fresh) == count - stop
            assert total(list(run.results())) == EXPECTED


def test_a_journal_may_end_at_any_byte(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run", **IDENTITY) as run:
        list(run_tasks(sum_up, [WHOLE], context=CONTEXT, journal=run))
    (journal,) = (tmp_path / "run" / "journal").iterdir()
    whole = journal.read_bytes()
    for end in [*range(0, 400, 13), *range(400, len(whole), 211)]:
        journal.write_bytes(whole[:end])
        with RunDirectory.open(tmp_path / "run") as run:
            list(run_tasks(sum_up, [WHOLE], context=CONTEXT, journal=run))
            assert total(list(run.results())) == EXPECTED
        for other in set(journal.parent.iterdir()) - {journal}:
            other.unlink()


def test_a_lost_parent_is_done_again_and_its_finished_children_are_not(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run", **IDENTITY) as run:
        list(run_tasks(sum_up, [WHOLE], context=CONTEXT, journal=run))
    (journal,) = (tmp_path / "run" / "journal").iterdir()
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[1:]))
    with RunDirectory.open(tmp_path / "run") as run:
        again = list(run_tasks(sum_up, [WHOLE], context=CONTEXT, journal=run))
        assert [task.key for task, _ in again] == [WHOLE.key]
        assert total(list(run.results())) == EXPECTED


def test_what_is_left_comes_back_from_the_journal(tmp_path: Path) -> None:
    rest = [Task("b", {"x": [1, "ä"]}, cost=2.5), Task("c", {})]
    with RunDirectory.create(tmp_path / "run", **IDENTITY) as run:
        run.append(Result("a", rest=rest))
        run.append(Result("b"))
        finished = run.finished()
        assert {key: finished.rest(key) for key in finished} == {"a": tuple(rest), "b": ()}
        assert [result.rest for result in run.results()] == [tuple(rest), ()]


def test_few_tasks_wait_at_a_time() -> None:
    """The newest rest goes first, so a tree is worked off depth first."""

    def count_up(context: Scale, task: Task) -> Result:
        depth = task.key.count(".")
        rest = [Task(f"{task.key}.{k}", {}) for k in range(3 if depth < 6 else 0)]
        return Result(task.key, rest=rest)

    waiting, most = 1, 0
    for _, result in run_tasks(count_up, [Task("r", {})], context=CONTEXT):
        waiting += len(result.rest) - 1
        most = max(most, waiting)
    assert waiting == 0
    assert most <= 3 * 6


def test_progress_expects_what_is_left(tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    list(run_tasks(sum_up, [WHOLE], context=CONTEXT, progress=events.append))
    assert events[-1].done == events[-1].total == events[-1].found
    with RunDirectory.create(tmp_path / "run", **IDENTITY) as run:
        pairs = run_tasks(sum_up, [WHOLE], context=CONTEXT, journal=run)
        next(pairs), next(pairs)
        pairs.close()
        list(run_tasks(sum_up, [WHOLE], context=CONTEXT, journal=run, progress=events.append))
    assert events[-1].done == events[-1].total


def test_refused() -> None:
    with pytest.raises(TypeError, match=r"\"rest\" of result 'a' was \('b',\); it takes tasks"):
        Result("a", rest=["b"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="'a' is incomplete, so its task is done again"):
        Result("a", complete=False, rest=[Task("b", {})])
    with pytest.raises(ValueError, match="not a result in JSON"):
        parse_entry(b'{"key":"a","seconds":0,"counts":{},"rest":[{"key":"b"}]}')


def test_a_broken_rest_is_named_by_file_and_line(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run", **IDENTITY) as run:
        run.append(Result("a"))
    (journal,) = (tmp_path / "run" / "journal").iterdir()
    journal.write_text('{"key":"a","seconds":0.0,"counts":{},"rest":7}\n')
    with (
        RunDirectory.open(tmp_path / "run") as run,
        pytest.raises(JournalError, match="line 1 is broken"),
    ):
        run.finished()
