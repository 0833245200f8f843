"""Run directories, Ctrl-C and the way back."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run

Arm = Callable[[int, Callable[[], None]], None]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_to_the_same_digest(
    run: Run, many_tasks: None, stop_early: Arm, tmp_path: Path, number: signal.Signals
) -> None:
    words, run_dir = ["regions", "--example", "moons", "--method", "simplex"], tmp_path / "run dir"
    whole = run(*words, "--json").json
    stop_early(5, lambda: signal.raise_signal(number))

    stopped = run(*words, "--run-dir", run_dir)
    assert stopped.code == 3
    assert "so far" in stopped.out
    assert "partial     interrupted" in stopped.out.splitlines()
    assert stopped.out.splitlines()[-1] == f"to go on    byways resume '{run_dir}'"
    assert "Traceback" not in stopped.err

    partial = run("report", run_dir, "--json")
    assert partial.code == 3
    assert 0 < partial.json["regions"] < whole["regions"]
    assert 0 < partial.json["explored"] < 1

    stop_early(-1, lambda: None)
    resumed = run("resume", run_dir, "--json")
    assert resumed.code == 0
    assert resumed.json["earlier_tasks"] == partial.json["earlier_tasks"] > 0
    assert resumed.json["digest"] == whole["digest"]
    again = run("report", run_dir, "--json")
    assert (again.code, again.json["digest"]) == (0, whole["digest"])


def test_without_a_run_directory_it_says_how_to_have_one(
    run: Run, many_tasks: None, stop_early: Arm
) -> None:
    stop_early(5, lambda: signal.raise_signal(signal.SIGINT))
    done = run("regions", "--example", "moons")
    assert done.code == 3
    assert "give --run-dir DIR" in " ".join(done.out.split())


def test_a_finished_run_is_told_again(run: Run, tmp_path: Path) -> None:
    words = ["regions", "--example", "tent", "--run-dir", tmp_path / "run", "--json"]
    first, second = run(*words).json, run(*words).json
    assert first["digest"] == second["digest"]
    assert (first["earlier_tasks"], second["earlier_tasks"]) == (0, 1)


def test_a_count_can_be_resumed_and_reported(run: Run, tmp_path: Path) -> None:
    run("count", "--example", "tent", "--run-dir", tmp_path / "run")
    for words in (["resume"], ["report"]):
        found = run(*words, tmp_path / "run", "--json").json
        assert (found["regions"], found["network"]["source"]) == (1024, "tent")
    done = run("report", tmp_path / "run", "--save", tmp_path / "x.npz")
    assert done.code == 2
    assert "this run only counts" in done.err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["regions", "--example", "moons", "--box=0,1"], "network is another one, 1 -> 2"),
        (["regions", "--example", "tent", "--box=0,2"], "domain was '[0, 1]'"),
        (["regions", "--example", "tent", "--method", "lp"], "method was 'vertices'"),
        (["count", "--example", "tent"], "lists regions and this one counts"),
    ],
)
def test_another_question_in_the_same_directory(
    run: Run, tmp_path: Path, words: list[str], part: str
) -> None:
    run("regions", "--example", "tent", "--run-dir", tmp_path / "run")
    done = run(*words, "--run-dir", tmp_path / "run")
    assert done.code == 1
    assert part in done.err
    assert "use another --run-dir" in done.err
