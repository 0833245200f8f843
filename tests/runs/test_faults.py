"""Real processes that die, disks that are full, directories that cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from byways.runs import RunDirectory, run_tasks
from tests.runs.master import logged_tasks
from tests.runs.workloads import Scale, expected, found, multiply, multiply_and_log

CONTEXT = Scale(3)
ROOT = Path(__file__).parents[2]
IDENTITY: dict[str, Any] = {"pass_name": "demo", "parameters": {}, "context": CONTEXT}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="these faults are those of POSIX")


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


class Master:
    """The program ``master`` as a process, with the log of what its workers did."""

    def __init__(self, folder: Path, count: int) -> None:
        self.run = folder / "run"
        self.log = folder / "log"
        self.count = count
        self.log.touch()

    def start(self) -> subprocess.Popen[str]:
        arguments = [str(self.run), str(self.log), str(self.count)]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.runs.master", *arguments],
            cwd=ROOT,
            env=_environment(),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def executed(self) -> list[tuple[int, str]]:
        """Process and key of every task that was computed."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [(int(pid), key) for pid, key in lines]

    def journaled(self) -> set[str]:
        if not (self.run / "manifest.json").exists():
            return set()
        return RunDirectory.open(self.run).done_keys()

    def finish(self) -> None:
        """Resume in this process, and check that nothing is lost or counted twice."""
        tasks = logged_tasks(self.log, self.count)
        with RunDirectory.create_or_resume(self.run, **IDENTITY) as run:
            done = run.done_keys()
            fresh = run_tasks(multiply, tasks, context=CONTEXT, journal=run)
            assert {task.key for task, _ in fresh} == expected(self.count).keys() - done
            assert found(list(run.results())) == expected(self.count)


def _wait_for(condition: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.01)


def _gone(pids: set[int]) -> bool:
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            continue
    return True


@pytest.mark.parametrize("after", [1, 110])
def test_a_killed_master_loses_one_chunk_per_worker_and_no_worker_stays(
    tmp_path: Path, after: int
) -> None:
    master = Master(tmp_path, 180)
    process = master.start()
    _wait_for(lambda: len(master.executed()) >= after)
    process.kill()
    process.communicate()
    workers = {pid for pid, _ in master.executed()}
    _wait_for(lambda: _gone(workers))
    lost = {key for _, key in master.executed()} - master.journaled()
    # A chunk is cut for 0.2 s and a task takes 0.01 s, about 20 each; twice that on a busy machine.
    assert len(lost) <= 2 * 40
    master.finish()


IDLE = """
import sys, time
from pathlib import Path
from byways.runs import run_tasks
from tests.runs.master import logged_tasks
from tests.runs.workloads import Scale, multiply_and_log
if __name__ == "__main__":
    tasks = logged_tasks(Path(sys.argv[1]), 6)
    pairs = run_tasks(multiply_and_log, tasks, context=Scale(3), workers=2)
    next(pairs)
    time.sleep(60)
"""


def test_idle_workers_end_with_a_killed_master(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(IDLE)
    log = tmp_path / "log"
    log.touch()
    process = subprocess.Popen([sys.executable, str(script), str(log)], env=_environment())
    _wait_for(lambda: len(log.read_text().splitlines()) == 6)
    time.sleep(0.2)
    workers = {int(line.split()[0]) for line in log.read_text().splitlines()}
    assert not _gone(workers)
    process.kill()
    process.wait()
    _wait_for(lambda: _gone(workers), seconds=5.0)


def _interrupt(master: Master, after: int, delay: float) -> None:
    """Send Ctrl-C to the whole group, as a terminal does, once ``after`` more tasks are done."""
    before = len(master.executed())
    process = master.start()
    _wait_for(lambda: len(master.executed()) >= before + after or process.poll() is not None)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    if process.returncode == 0:
        return  # it was faster
    assert process.returncode == -signal.SIGINT, errors
    assert errors.strip().splitlines()[-1] == "KeyboardInterrupt"
    _wait_for(lambda: _gone({pid for pid, _ in master.executed()}))


def test_an_interrupt_keeps_what_was_done(tmp_path: Path) -> None:
    master = Master(tmp_path, 50)
    _interrupt(master, after=20, delay=0.0)
    assert len(master.journaled()) > 0
    master.finish()


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(20))
def test_interrupts_at_any_moment_lose_nothing(tmp_path: Path, moment: int) -> None:
    master = Master(tmp_path, 60)
    for again in range(3):
        _interrupt(master, after=1 + moment % 7 + again, delay=0.0037 * moment)
    master.finish()


@pytest.mark.slow
def test_repeated_kills_lose_nothing(tmp_path: Path) -> None:
    master = Master(tmp_path, 120)
    for after in (5, 30, 50, 80):
        process = master.start()
        _wait_for(lambda after=after: len(master.executed()) >= after)
        process.kill()
        process.communicate()
    master.finish()


# Files may not grow beyond a limit: the system's own error, half-way through a write, as on a
# full disk. Then the limit goes away, as when someone has made room.
FULL_DISK = """
import resource, signal, sys
import numpy as np
from byways.runs import Result, RunDirectory
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run = RunDirectory.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
failures = 0
for n in range(40):
    arrays = {"below": np.arange(n % 4)} if n % 4 else None
    try:
        run.append(Result(f"n-{n:06d}", counts={"product": 3 * n}, arrays=arrays))
        run.flush()
    except OSError as error:
        failures += 1
        if failures == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
run.close()
print(failures)
"""


@pytest.mark.parametrize("limit", [200, 333, 700, 1111])
def test_a_full_disk_is_the_systems_error_and_tears_nothing(tmp_path: Path, limit: int) -> None:
    RunDirectory.create(tmp_path / "run", **IDENTITY).close()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "run"), str(limit)],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert int(done.stdout) == 2
    with RunDirectory.open(tmp_path / "run") as run:
        assert found(list(run.results())) == expected(40)
    assert not list((tmp_path / "run").rglob("*.part*"))


READ_ONLY = """
import os, sys
from byways.runs import Result, RunDirectory
run = RunDirectory.open(sys.argv[1])
list(run.results())  # imports what another user might not be able to read
if os.getuid() == 0:
    os.setuid(65534)  # root may write everywhere
print(len(list(run.results())))
try:
    run.append(Result("b"))
except PermissionError as error:
    print(type(error).__name__)
run.close()
"""


def test_a_directory_that_cannot_be_written_can_be_read() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run")
        with RunDirectory.create(path, **IDENTITY) as run:
            list(
                run_tasks(
                    multiply_and_log,
                    logged_tasks(Path(folder, "log"), 3),
                    context=CONTEXT,
                    journal=run,
                )
            )
        Path(folder).chmod(0o755)
        folders = [path, path / "journal", path / "shards"]
        for each in folders:
            each.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(path)],
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        for each in folders:
            each.chmod(0o755)
        assert done.stderr == ""
        assert done.stdout.split() == ["3", "PermissionError"]
        assert len(list((path / "journal").iterdir())) == 1
