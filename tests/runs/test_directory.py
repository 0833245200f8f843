from __future__ import annotations

import itertools
import json
import logging
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import byways
from byways.core.errors import JournalError, RunMismatchError
from byways.runs import Result, RunDirectory, Task, run_tasks
from tests.runs.workloads import Forgetful, Scale, Unsaved, expected, found, make_tasks, multiply

CONTEXT = Scale(3)
IDENTITY: dict[str, Any] = {
    "pass_name": "demo",
    "parameters": {"tolerance": 1e-9, "rule": {"depth": 3, "names": ["a", "b"]}},
    "context": CONTEXT,
}


def _create(path: Path) -> RunDirectory:
    return RunDirectory.create(path, **IDENTITY)


def _filled(path: Path, count: int = 20) -> Path:
    with _create(path) as run:
        for _ in run_tasks(multiply, make_tasks(count), context=CONTEXT, journal=run):
            pass
    return path


def _journal(path: Path) -> Path:
    (journal,) = (path / "journal").iterdir()
    return journal


def test_results_come_back_in_the_order_of_their_keys(tmp_path: Path) -> None:
    with _create(tmp_path / "run") as run:
        for key in ["b", "a.1", "c", "a-1", "B", "a"]:
            run.append(Result(key))
        assert [result.key for result in run.results()] == ["B", "a", "a-1", "a.1", "b", "c"]


def test_finished_results_are_read_when_asked_for(tmp_path: Path) -> None:
    with _create(tmp_path / "run") as run:
        for n in range(2000):
            rest = [Task(f"{n}-{k}", {"text": "x" * 100}) for k in range(5)]
            run.append(Result(f"{n}", counts={"n": n}, arrays={"x": np.arange(n % 7)}, rest=rest))
    tracemalloc.start()
    with RunDirectory.open(tmp_path / "run") as run:
        finished = run.finished()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 2000 * 500  # a thirtieth of what the results take
    assert list(map(int, finished)) == list(range(2000))
    assert finished["8"].counts == {"n": 8}
    assert finished["8"].arrays is None
    assert [task.key for task in finished.rest("8")] == [f"8-{k}" for k in range(5)]
    assert [len(r.arrays["x"]) for r in finished.whole(["9", "3"]) if r.arrays] == [2, 3]
    assert "2000" not in finished


@settings(max_examples=20)
@given(order=st.permutations(range(12)), cuts=st.sets(st.integers(1, 11)))
def test_any_order_and_any_sessions_give_the_same_results(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], cuts: set[int]
) -> None:
    path = tmp_path_factory.mktemp("any") / "run"
    tasks = make_tasks(12)
    edges = [0, *sorted(cuts), 12]
    for start, stop in itertools.pairwise(edges):
        with RunDirectory.create_or_resume(path, **IDENTITY) as run:
            for n in order[start:stop]:
                run.append(multiply(CONTEXT, tasks[n]))
    with RunDirectory.open(path) as run:
        assert found(list(run.results())) == expected(12)
        assert run.done_keys() == expected(12).keys()


def test_layout_is_the_documented_one(tmp_path: Path) -> None:
    path = _filled(tmp_path / "run")
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    assert names[0] == "context.npz"
    assert [name.split("/")[0] for name in names[1:]] == [
        "journal", "manifest.json", "secret", "shards",
    ]  # fmt: skip
    assert names[4].endswith("-000.npz")
    assert Scale.load(path / "context.npz") == CONTEXT


def test_manifest_is_the_same_bytes_each_time_but_for_its_seal(tmp_path: Path) -> None:
    for name in "ab":
        _create(tmp_path / name).close()
    one, two = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in "ab")
    assert one.pop("seal") != two.pop("seal")
    assert list(one.items()) == list(two.items())
    assert one == {
        "format": 2,
        "version": byways.__version__,
        "pass": "demo",
        "parameters": IDENTITY["parameters"],
        "context": "scale-3",
    }


def test_a_result_delivered_twice_counts_once(tmp_path: Path) -> None:
    with _create(tmp_path / "run") as run:
        for _ in range(2):
            run.append(Result("a", seconds=2.0, counts={"n": 5}, arrays={"x": np.arange(3)}))
        assert [result.key for result in run.results()] == ["a"]
        status = run.status()
    assert (status.tasks, status.seconds, status.counts, status.writers) == (1, 2.0, {"n": 5}, 1)


def test_two_masters_do_no_harm(tmp_path: Path) -> None:
    first = RunDirectory.create_or_resume(tmp_path / "run", **IDENTITY)
    second = RunDirectory.create_or_resume(tmp_path / "run", **IDENTITY)
    one = run_tasks(multiply, make_tasks(30), context=CONTEXT, journal=first)
    two = run_tasks(multiply, make_tasks(30), context=CONTEXT, journal=second)
    for _ in zip(one, two, strict=True):
        pass
    first.close()
    second.close()
    with RunDirectory.open(tmp_path / "run") as run:
        assert found(list(run.results())) == expected(30)
        assert (run.status().tasks, run.status().writers) == (30, 2)


def test_finished_run_computes_nothing_again(tmp_path: Path) -> None:
    path = _filled(tmp_path / "run")
    with RunDirectory.create_or_resume(path, **IDENTITY) as run:
        assert list(run_tasks(multiply, make_tasks(20), context=CONTEXT, journal=run)) == []
    assert len(list((path / "journal").iterdir())) == 1  # who writes nothing leaves no file


def test_reading_writes_nothing(tmp_path: Path) -> None:
    path = _filled(tmp_path / "run")
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in path.rglob("*")}
    with RunDirectory.open(path) as run:
        assert len(list(run.results())) == 20
        assert run.load_context(Scale.load) == CONTEXT
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in path.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pass_name": "other"}, "\"pass\" was 'demo' when it was made and is 'other' now"),
        ({"context": Scale(4)}, "\"context digest\" was 'scale-3' .* is 'scale-4' now"),
        (
            {"parameters": {"tolerance": 1e-8, "rule": {"depth": 3, "names": ["a", "b"]}}},
            '"parameters.tolerance" was 1e-09 when it was made and is 1e-08 now',
        ),
        (
            {"parameters": {"tolerance": 1e-9, "rule": {"depth": 3}}},
            r'"parameters.rule.names" was \[\'a\', \'b\'\] .* is absent now',
        ),
        (
            {"parameters": {"tolerance": 1e-9, "rule": {"depth": True, "names": ["a", "b"]}}},
            '"parameters.rule.depth" was 3 .* is True now',
        ),
        ({"parameters": {}}, '"parameters" was absent .* is {} now'),
    ],
)
def test_another_run_is_refused_by_field_and_values(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = _filled(tmp_path / "run", 2)
    with pytest.raises(RunMismatchError, match=message):
        RunDirectory.create_or_resume(path, **(IDENTITY | change))


def test_parameters_may_be_tuples_or_lists(tmp_path: Path) -> None:
    _create(tmp_path / "run").close()
    rule = {"depth": 3, "names": ("a", "b")}
    again = IDENTITY | {"parameters": {"rule": rule, "tolerance": 1e-9}}
    assert RunDirectory.create_or_resume(tmp_path / "run", **again).pass_name == "demo"


def test_newer_format_is_refused(tmp_path: Path) -> None:
    path = _filled(tmp_path / "run", 2)
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 3'))
    with pytest.raises(RunMismatchError, match='"format" 3, this version of byways reads up to 2'):
        RunDirectory.open(path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "{}", '{"format": 1}', '{"format": "1"}',
     '{"format":1,"pass":7,"parameters":{},"context":"x","version":"1"}',
     '{"format":1,"pass":"p","parameters":[],"context":"x","version":"1"}',
     '{"format":true,"pass":"p","parameters":[],"context":"x","version":"1"}'],
)  # fmt: skip
def test_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    path = _filled(tmp_path / "run", 2)
    (path / "manifest.json").write_text(text)
    with pytest.raises(JournalError, match=r"manifest\.json is damaged") as caught:
        RunDirectory.open(path)
    assert caught.value.file == path / "manifest.json"


def test_opening_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no manifest\.json"):
        RunDirectory.open(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no manifest\.json"):
        RunDirectory.open(tmp_path / "nowhere")


def test_creating_over_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for make in (RunDirectory.create, RunDirectory.create_or_resume):
        with pytest.raises(FileExistsError, match=r"holds 'thesis\.tex'; a new run needs"):
            make(tmp_path, **IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_creating_over_a_run_is_refused(tmp_path: Path) -> None:
    path = _filled(tmp_path / "run", 2)
    with pytest.raises(FileExistsError, match="holds a run already; open it, or use"):
        _create(path)


def test_results_of_a_lost_manifest_are_not_adopted(tmp_path: Path) -> None:
    path = _filled(tmp_path / "run", 2)
    (path / "manifest.json").unlink()
    with pytest.raises(FileExistsError, match=r"has no manifest\.json but holds"):
        RunDirectory.create_or_resume(path, **IDENTITY)


def test_a_start_that_failed_half_way_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "run"
    _create(path).close()
    (path / "manifest.json").unlink()
    (path / ".0a1b2c3d.part.npz").touch()
    assert RunDirectory.create_or_resume(path, **IDENTITY).done_keys() == set()


def test_a_file_in_the_way_is_the_systems_error(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(OSError, match="run"):
        _create(tmp_path / "run")


def test_context_must_be_one_that_can_be_saved(tmp_path: Path) -> None:
    unsaved: Any = Unsaved(3)
    with pytest.raises(TypeError, match=r'"context" was .* needs the method "save"'):
        RunDirectory.create(tmp_path / "run", pass_name="p", parameters={}, context=unsaved)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("parameters", "kind"), [({"x": float("nan")}, ValueError), ({"x": {1}}, TypeError)]
)
def test_parameters_must_be_json(tmp_path: Path, parameters: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r'"parameters" was .* which is not JSON'):
        RunDirectory.create(tmp_path / "r", pass_name="p", parameters=parameters, context=CONTEXT)


def test_a_swapped_context_file_is_noticed(tmp_path: Path) -> None:
    path = _filled(tmp_path / "run", 2)
    Scale(4).save(path / "context.npz")
    with (
        RunDirectory.open(path) as run,
        pytest.raises(RunMismatchError, match="'scale-4', the manifest says 'scale-3'"),
    ):
        run.load_context(Scale.load)


def test_a_context_that_its_file_loses_is_noticed(tmp_path: Path) -> None:
    with (
        RunDirectory.create(tmp_path, pass_name="p", parameters={}, context=Forgetful(3)) as run,
        pytest.raises(RunMismatchError, match="'scale-0', the manifest says 'scale-3'"),
    ):
        run.load_context(Forgetful.load)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.7, 0.99])
def test_corrupted_shard_is_named_and_can_be_deleted(
    tmp_path: Path, place: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = _filled(tmp_path / "run")
    (shard,) = (path / "shards").iterdir()
    data = bytearray(shard.read_bytes())
    start = int(place * len(data))
    for k in range(start, min(start + 60, len(data))):
        data[k] ^= 0x5A
    shard.write_bytes(data)
    with (
        RunDirectory.open(path) as run,
        pytest.raises(JournalError, match=f"{shard.name} is damaged at task 'n-.*Delete the file"),
    ):
        list(run.results())
    shard.unlink()
    with (
        caplog.at_level(logging.WARNING, "byways.runs"),
        RunDirectory.create_or_resume(path, **IDENTITY) as run,
    ):
        assert run.done_keys() == {f"n-{n:06d}" for n in range(0, 20, 4)}  # those without arrays
        assert f"{shard.name} is missing; its 15 tasks count as not done" in caplog.text
        again = list(run_tasks(multiply, make_tasks(20), context=CONTEXT, journal=run))
        assert len(again) == 15
        assert found(list(run.results())) == expected(20)


def test_torn_last_line_at_every_byte(tmp_path: Path) -> None:
    path = _filled(tmp_path / "run", 3)
    journal = _journal(path)
    whole = journal.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in range(last, len(whole)):
        journal.write_bytes(whole[:length])
        with RunDirectory.open(path) as run:
            assert run.done_keys() == {"n-000000", "n-000001"}
    journal.write_bytes(whole[:last])
    with RunDirectory.open(path) as run:
        assert run.done_keys() == {"n-000000", "n-000001"}
    journal.write_bytes(whole[: last + 9])
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    with RunDirectory.create_or_resume(copy, **IDENTITY) as run:
        tasks = [t for t, _ in run_tasks(multiply, make_tasks(3), context=CONTEXT, journal=run)]
        assert [task.key for task in tasks] == ["n-000002"]
        assert found(list(run.results())) == expected(3)


_GOOD = '{"key":"a","seconds":1.0,"counts":{}'


@pytest.mark.parametrize(
    "line",
    ["", "{", "null", "[]", "7", "\xff", "{}", '{"key":"a"}', '{"key":"a","seconds":1.0}',
     '{"key":"../a","seconds":1.0,"counts":{}}', '{"key":7,"seconds":1.0,"counts":{}}',
     '{"key":"a","seconds":"1","counts":{}}', '{"key":"a","seconds":NaN,"counts":{}}',
     '{"key":"a","seconds":1.0,"counts":[]}', '{"key":"a","seconds":1.0,"counts":{"n":"1"}}',
     '{"key":"a","seconds":-1.0,"counts":{}}',
     _GOOD + ',"extra":1}', _GOOD + ',"shard":"../x.npz"}', _GOOD + ',"shard":"/etc/x.npz"}',
     _GOOD + ',"shard":7}', _GOOD + ',"shard":"x.npz","offset":-1}',
     _GOOD + ',"shard":"x.npz","offset":0,"length":1.5}', _GOOD + ',"shard":"x.npy"}',
     "\x00" * 40, "[" * 100_000],
    ids=range(25),
)  # fmt: skip
def test_broken_line_is_named_by_file_and_number(tmp_path: Path, line: str) -> None:
    path = _filled(tmp_path / "run", 3)
    journal = _journal(path)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], line.encode("latin-1") + b"\n", *lines[2:]]))
    with RunDirectory.open(path) as run:
        for read in (run.done_keys, run.status, lambda: list(run.results())):
            with pytest.raises(JournalError, match=r"line 3 is broken: .* Delete the line") as got:
                read()
            assert (got.value.file, got.value.line) == (journal, 3)


def test_appending_after_close_is_refused(tmp_path: Path) -> None:
    run = _create(tmp_path / "run")
    run.close()
    run.close()
    with pytest.raises(ValueError, match="was closed; open it again"):
        run.append(Result("a"))
    assert run.done_keys() == set()


def test_relative_paths_stay_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = _create(Path("run"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run.append(Result("a"))
    run.close()
    assert RunDirectory.open(tmp_path / "run").done_keys() == {"a"}


def test_large_results_do_not_wait(tmp_path: Path) -> None:
    with _create(tmp_path / "run") as run:
        for n in range(3):
            run.append(Result(f"r{n}", arrays={"x": np.full(9 << 20, n, np.uint8)}))
            assert RunDirectory.open(run.path).done_keys() == {f"r{k}" for k in range(n + 1)}
        sums = [int(r.arrays["x"].sum()) for r in run.results() if r.arrays is not None]
    assert sums == [0, 9 << 20, 18 << 20]
