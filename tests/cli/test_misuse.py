"""Bad command lines: what was given, what is allowed, what to do, and the exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from byways.cli._errors import in_options
from tests.cli.conftest import Run

TENT = ["regions", "--example", "tent"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["regons"], ['"regons"', 'Did you mean "regions"?']),
        (["regions"], ["no network was given", "--example"]),
        ([*TENT, "--metod", "lp"], ["--metod", "Did you mean --method?", "regions --help"]),
        ([*TENT, "--method", "simplx"], ["simplx", 'Did you mean "simplex"?']),
        (["regions", "--example", "tint"], ["tint", '"digits", "moons", "tent"']),
        ([*TENT, "net.onnx"], ["'net.onnx'", "'tent'", "give one of them"]),
        ([*TENT, "one.onnx", "two.onnx"], ["'two.onnx'", "leave it out"]),
        ([*TENT, "--box=1,0"], ["empty in coordinate 0", "lower 1.0", "swap them"]),
        ([*TENT, "--box=1"], ["--box was '1'", "--box=-1,1"]),
        ([*TENT, "--box=nan,1"], ["--box was 'nan,1'"]),
        ([*TENT, "--box=1,1"], ["flat", "some width"]),
        ([*TENT, "--box=0,1", "--whole-space"], ["--box and --whole-space", "keep one"]),
        ([*TENT, "--eps", "1"], ["--eps", "add --around FILE"]),
        ([*TENT, "--around", "x.npy"], ["add --eps E"]),
        ([*TENT, "--clip", "0,1"], ["--clip", "add --around FILE"]),
        ([*TENT, "--workers", "0"], ["--workers was '0'", "whole number from 1", '"all"']),
        ([*TENT, "--workers", "-1"], ["--workers"]),
        ([*TENT, "--workers", "2.5"], ["--workers was '2.5'"]),
        ([*TENT, "--max-regions", "0"], ["--max-regions was 0", "positive integer"]),
        ([*TENT, "--max-regions", "many"], ["--max-regions was 'many'", "a whole number"]),
        ([*TENT, "--max-regions"], ["--max-regions requires an argument"]),
        ([*TENT, "--time-limit", "0"], ["--time-limit was 0.0", "positive number of seconds"]),
        ([*TENT, "--time-limit", "soon"], ["--time-limit was 'soon'", "give a number"]),
        ([*TENT, "--tolerance", "1"], ["--tolerance was 1.0", "between 1e-13"]),
        (
            [*TENT, "--whole-space", "--method", "vertices"],
            ["--method was 'vertices'", "Use --method simplex"],
        ),
        (["resume"], ["DIRECTORY requires an argument"]),
        (["count", "--example", "tent", "--plot", "a.png"], ["--plot"]),
    ],
)
def test_misuse(run: Run, words: list[str], parts: list[str]) -> None:
    done = run(*words)
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("byways: ")
    assert [part for part in parts if part not in done.err] == []


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["regions", "nowhere.onnx", "--box=0,1"], ["no network file 'nowhere.onnx'"]),
        (["resume", "nowhere"], ["no run in 'nowhere'", "--run-dir"]),
        (["report", "nowhere"], ["there is no 'nowhere'", "--save"]),
        ([*TENT, "--box=nowhere.npz"], ["no file 'nowhere.npz'", "--box"]),
        ([*TENT, "--slice", "nowhere.npz"], ["no file 'nowhere.npz'", "--slice"]),
    ],
)
def test_what_is_not_there(run: Run, words: list[str], parts: list[str]) -> None:
    done = run(*words)
    assert (done.code, done.out) == (1, "")
    assert [part for part in parts if part not in done.err] == []


def test_files_that_hold_something_else(run: Run, three_lines: Path, tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("no numbers")
    np.savez(tmp_path / "low.npz", lower=[0.0, 0.0])
    done = run("regions", three_lines, "--around", tmp_path / "text.npy", "--eps", "1")
    assert done.code == 2
    assert "no array of numbers" in done.err
    done = run("regions", three_lines, f"--box={tmp_path / 'low.npz'}")
    assert done.code == 2
    assert "has no 'upper'" in done.err
    done = run("report", tmp_path / "text.npy")
    assert done.code == 1
    assert "neither a run directory nor a report" in done.err


def test_files_that_do_not_fit(run: Run, three_lines: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").touch()
    np.save(tmp_path / "line.npy", [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    np.save(tmp_path / "three.npy", np.zeros(3))
    lines, around = ["regions", three_lines], ["--around", tmp_path / "three.npy", "--eps", "1"]
    cases: list[tuple[list[object], str]] = [
        (["regions", tmp_path / "model.pt", "--box=0,1"], "torch.onnx.export"),
        ([*lines, "--slice", tmp_path / "line.npy"], "the points lie on one line"),
        ([*lines, *around], "the domain has 3 coordinates but the network has 2 inputs"),
        ([*lines, "--box=0,1", "--input-shape", "3"], "--input-shape was (3,)"),
        ([*lines, "--box=0,1", "--input-shape", "x"], "--input-shape was 'x'"),
        ([*lines, "--box=0,1", "--run-dir", three_lines], "is a file; name a directory"),
    ]
    for words, part in cases:
        done = run(*words)
        assert (done.code, done.out) == (2, "")
        assert part in done.err


def test_too_many_regions_to_list(run: Run, tmp_path: Path) -> None:
    from byways.networks import random_network

    random_network([20, 60, 2], rng=0).save(tmp_path / "net.npz")
    done = run("regions", tmp_path / "net.npz", "--box=-1,1")
    assert done.code == 1
    assert "Give --max-regions or --time-limit" in done.err
    assert "--around FILE --eps E" in done.err


def test_debug_shows_the_traceback(run: Run) -> None:
    assert "Traceback" not in run("resume", "nowhere").err
    assert "Traceback" in run("resume", "nowhere", "--debug").err


def test_what_should_not_happen_asks_for_debug(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("byways.cli._compute.gather", fail)
    done = run(*TENT)
    assert (done.code, done.out) == (1, "")
    assert "ZeroDivisionError: by zero (this should not happen; --debug" in done.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"run_dir" was 3', "--run-dir was 3"),
        ("stopped at max_regions; more", "stopped at --max-regions; more"),
        ("use --max-regions", "use --max-regions"),
        ("lower np.float64(1.5) is", "lower 1.5 is"),
        ('Use method="lp", or None for all cores', 'Use --method lp, or "all" for all cores'),
    ],
)
def test_arguments_become_options(text: str, expected: str) -> None:
    assert in_options(text) == expected
