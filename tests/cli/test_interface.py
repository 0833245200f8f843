"""The command line's names are frozen here; help is quick; processes end as they should."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from byways import __version__
from byways.cli import _progress
from byways.cli._main import _app
from byways.cli._progress import LiveLine
from byways.core.progress import ProgressEvent
from byways.networks import random_network
from tests.cli.conftest import Run

DOMAIN = ["--around", "--box", "--clip", "--eps", "--slice", "--vnnlib", "--whole-space"]
QUESTION = [
    *(*DOMAIN, "--example", "--input-shape", "--method", "--solver", "--tolerance", "--exact"),
    "--maxima",
]
LIMITS = ["--max-regions", "--time-limit", "--workers", "--queue", "--scheduler"]
FILES = ["--plot", "--points", "--save"]
FROZEN = {
    "regions": ["NETWORK", *QUESTION, *LIMITS, *FILES, "--proof", "--run-dir", "--json", "--debug"],
    "count": ["NETWORK", *QUESTION, *LIMITS, "--run-dir", "--json", "--debug"],
    "resume": ["DIRECTORY", *LIMITS, *FILES, "--json", "--debug"],
    "report": ["PLACE", *FILES, "--csv", "--json", "--debug"],
    "worker": ["DIRECTORY", "--queue", "--lease", "--idle", "--debug"],
    "check": ["NETWORK", "PROOF", *DOMAIN, "--example", "--input-shape", "--json", "--debug"],
    "order": [
        *("NETWORK", "--example", "--input-shape", "--cache", "--method", "--policy"),
        *("--max-steps", "--seed", "--report", "--save", "--plot", "--json", "--debug"),
    ],
    "bench-sparse": [
        *("NETWORK", "--example", "--input-shape", "--batch", "--threads", "--plot", "--json"),
        "--debug",
    ],
}


def python(*words: str) -> list[str]:
    return [sys.executable, "-m", "byways.cli", *words]


def test_commands_and_options_are_frozen() -> None:
    app = _app()
    names = {name for name in app if not name.startswith("-")}
    assert names == set(FROZEN)
    for name, expected in FROZEN.items():
        arguments = app[name].assemble_argument_collection()
        found = [option for a in arguments if not a.children for option in a.names]
        assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("words", [[], *([name] for name in FROZEN)])
def test_help_is_printed_on_standard_output(run: Run, words: list[str]) -> None:
    done = run(*words, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Usage: byways")
    assert "byways " + (words[0] if words else "regions") + " " in done.out.split("╯")[-1]


def test_version(run: Run) -> None:
    assert run("--version").out.strip() == __version__


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from byways.cli import main; main(['regions', '--help']); heavy = "
        "{'numpy', 'scipy', 'numba', 'torch', 'matplotlib', 'highspy'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.budget
def test_help_costs_little_beside_torch() -> None:
    def fastest(words: list[str]) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True, timeout=120)
            times.append(time.perf_counter() - start)
        return min(times)

    torch = fastest([sys.executable, "-c", "import torch"])
    assert fastest(python("--help")) <= 0.15 * torch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code"),
    [(["count", "--example", "tent"], 0), (["resume", "nowhere"], 1), (["regons"], 2),
     (["count", "--example", "tent", "--max-regions", "9"], 3)],
)  # fmt: skip
def test_exit_codes(words: list[str], code: int) -> None:
    done = subprocess.run(python(*words), capture_output=True, check=False, timeout=120)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_a_closed_pipe_is_no_error() -> None:
    words = python("count", "--example", "tent")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Error" not in process.stderr.read()
        assert process.wait(timeout=120) == 0


@pytest.mark.slow
def test_ctrl_c_in_a_process_of_its_own(tmp_path: Path) -> None:
    random_network([4, 32, 32, 2], rng=1).save(tmp_path / "net.npz")
    words = ["regions", str(tmp_path / "net.npz"), "--box=-1,1", "--json"]
    kept = python(*words, "--run-dir", str(tmp_path / "run"))
    with subprocess.Popen(kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not _journal_size(tmp_path / "run"):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert b"Traceback" not in err
    partial = json.loads(out)
    assert partial["outcome"] == "INTERRUPTED"

    def finish(command: list[str]) -> dict[str, object]:
        done = subprocess.run(command, capture_output=True, check=True, timeout=300)
        found: dict[str, object] = json.loads(done.stdout)
        return found

    resumed = finish(python("resume", str(tmp_path / "run"), "--json", "--workers", "2"))
    assert resumed["digest"] == finish(python(*words))["digest"]


def _journal_size(run_dir: Path) -> int:
    return sum(path.stat().st_size for path in run_dir.glob("journal/*.jsonl"))


def test_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_progress, "_QUIET", 0.02)
    monkeypatch.setattr(_progress, "_TICK", 0.01)
    with LiveLine() as line:
        line(ProgressEvent("regions", 0.0, 1.0, 0, 0.0))
        time.sleep(0.1)
        line(ProgressEvent("regions", 0.5, 1.0, 1234, 0.1))
        time.sleep(0.1)
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "% explored" in said.err


def test_nothing_is_said_of_short_work(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveLine() as line:
        line(ProgressEvent("regions", 1.0, 1.0, 7, 0.0))
    assert capsys.readouterr() == ("", "")
