"""Work on other machines: queues and clusters, as the command line starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from byways.networks import random_network
from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]


@contextmanager
def program(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program beside the test, and end it."""
    process = subprocess.Popen(
        [sys.executable, *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def network(tmp_path: Path) -> Path:
    random_network([3, 10, 10, 2], rng=0).save(tmp_path / "net.npz")
    return tmp_path / "net.npz"


def test_workers_of_a_queue_give_the_same_report(
    run: Run, many_tasks: None, network: Path, tmp_path: Path
) -> None:
    words = ["regions", network, "--box=-1,1", "--json"]
    alone = run(*words).json
    run_dir = tmp_path / "run dir"
    with program("-m", "byways.cli", "worker", str(run_dir)) as worker:
        done = run(*words, "--queue", "folder", "--run-dir", run_dir)
        _, told = worker.communicate(timeout=60)
    assert done.code == 0
    assert done.json["digest"] == alone["digest"]
    assert f"start workers, any number, with: byways worker '{run_dir}'" in done.err
    assert worker.returncode == 0
    tasks = int(told.rpartition("worker finished ")[2].split()[0])
    assert tasks > 1
    assert run("report", run_dir, "--json").json["digest"] == alone["digest"]


def test_a_dask_cluster_gives_the_same_report(run: Run, many_tasks: None, network: Path) -> None:
    distributed = pytest.importorskip("distributed")
    words = ["regions", network, "--box=-1,1", "--json"]
    alone = run(*words).json
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        done = run(*words, "--scheduler", cluster.scheduler_address)
    assert done.code == 0
    assert done.json["digest"] == alone["digest"]


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["--queue", "folder"], 2, "--queue needs --run-dir"),
        (
            ["--queue", "folder", "--workers", "2", "--run-dir", "x"],
            2,
            "--queue and --workers excl",
        ),
        (["--scheduler", "tcp://x", "--workers", "all"], 2, "--scheduler and --workers exclude"),
        (["--scheduler", "tcp://x", "--queue", "amqp", "--run-dir", "x"], 2, "--queue and --sched"),
        (["--queue", "rabbit", "--run-dir", "x"], 2, "--queue was 'rabbit'"),
    ],
)
def test_misuse(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int,
    part: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = run("regions", "--example", "tent", *words)
    assert part in done.err
    assert done.code == code


def test_a_scheduler_that_is_not_there(
    run: Run, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("byways.cli._elsewhere._CONNECT_SECONDS", "200ms")
    done = run("regions", network, "--box=-1,1", "--scheduler", "tcp://127.0.0.1:1")
    assert done.code == 1
    assert "--scheduler was 'tcp://127.0.0.1:1', where no scheduler answers" in done.err


def test_a_worker_refuses_wrong_options(run: Run, tmp_path: Path) -> None:
    done = run("worker", tmp_path, "--lease", "0")
    assert done.code == 2
    assert "--lease was 0.0; it must be a positive number of seconds" in done.err
    done = run("worker", tmp_path, "--idle", "0.1")
    assert (done.code, done.err) == (0, "byways: worker finished 0 tasks in 0:00\n")


def test_a_report_without_the_secret_says_that_nobody_checked_it(
    run: Run, network: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    alone = run("count", network, "--box=-1,1", "--json", "--run-dir", run_dir).json
    (run_dir / "secret").unlink()
    words = [sys.executable, "-m", "byways.cli"]
    told = [
        subprocess.run(
            [*words, act, run_dir, "--json"], capture_output=True, text=True, check=False
        )
        for act in ("report", "resume")
    ]
    report, resume = told
    assert (report.returncode, json.loads(report.stdout)["regions"]) == (0, alone["regions"])
    assert report.stderr == (
        f"nobody checked who wrote the results in {run_dir}: its secret cannot be read\n"
    )
    assert resume.returncode == 1
    assert f"{run_dir / 'secret'}" in resume.stderr
