"""Masters, workers, brokers and disks that fail: nothing is lost, nothing counts twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from byways.core.errors import JournalError
from byways.runs import RunDirectory, _amqp, _tail, run_tasks
from tests.runs.broker import Broker, find_server
from tests.runs.queues import CONTEXT, IDENTITY, master, workers
from tests.runs.workloads import expected, found, make_tasks, multiply, multiply_slowly

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="these faults are those of POSIX")


class Programs:
    """Masters and workers as processes of their own, ended with the test."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, words)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def worker(
        self,
        path: Path,
        queue: str,
        *,
        work: str = "multiply_slowly",
        lease: float = 1.0,
        idle: float = 20.0,
    ) -> subprocess.Popen[str]:
        return self.start("tests.runs.queue_worker", path, queue, work, lease, idle)

    def master(self, path: Path, queue: str, count: int) -> subprocess.Popen[str]:
        return self.start("tests.runs.queue_master", path, queue, count)


@pytest.fixture
def programs() -> Iterator[Programs]:
    all_of_them = Programs()
    yield all_of_them
    for process in all_of_them.started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.01)


def done(path: Path) -> int:
    if not (path / "manifest.json").exists():
        return 0
    with RunDirectory.open(path) as run:
        return len(run.done_keys())


def offered(path: Path, queue: str) -> int:
    """Count the tasks that wait in a queue."""
    if not (path / "queue" / "partial").exists():
        return 0
    return len(tasks_of(path)) if queue == "folder" else int(at_broker(path, queue).message_count)


def at_broker(path: Path, queue: str) -> Any:
    """Ask a broker for the numbers of messages and of workers that wait for one."""
    with RunDirectory.open(path) as run:
        name = run.seals.messages().name
    connection, channel = _amqp.Broker(queue, name).open()
    with contextlib.closing(connection):
        return channel.queue_declare(name, passive=True).method


def check(path: Path, count: int) -> None:
    """Nothing is lost, nothing counts twice."""
    with RunDirectory.open(path) as run:
        assert found(list(run.results())) == expected(count)
        assert run.status().tasks == count


def test_a_killed_worker_is_replaced(tmp_path: Path, queue: str, programs: Programs) -> None:
    path = tmp_path / "run"
    first, second = programs.worker(path, queue), programs.master(path, queue, 60)
    wait_for(lambda: done(path) > 5)
    first.kill()  # in the middle of a task
    programs.worker(path, queue)
    assert second.wait(30) == 0
    check(path, 60)


def test_workers_go_on_without_a_master(tmp_path: Path, queue: str, programs: Programs) -> None:
    path = tmp_path / "run"
    first = programs.master(path, queue, 50)
    wait_for(lambda: offered(path, queue) == 50)
    programs.worker(path, queue)
    wait_for(lambda: done(path) > 5)
    first.kill()
    wait_for(lambda: done(path) == 50)
    again = programs.master(path, queue, 60)
    assert again.wait(30) == 0
    check(path, 60)


@pytest.mark.parametrize("late", [0, 5])
def test_two_masters_report_the_same(
    tmp_path: Path, queue: str, late: int, programs: Programs
) -> None:
    """The second starts at the same time, or when some tasks are done."""
    path = tmp_path / "run"
    first = programs.master(path, queue, 20)
    programs.worker(path, queue)
    wait_for(lambda: done(path) >= late)
    both = [first, programs.master(path, queue, 20)]
    lines = [f"{key} {value}\n" for key, value in sorted(expected(20).items())]
    report = "".join(["ready\n", *lines])
    for boss in both:
        assert boss.communicate(timeout=30) == (report, "")
        assert boss.returncode == 0
    check(path, 20)


def test_a_suspended_worker_wakes_up(tmp_path: Path, programs: Programs) -> None:
    path = tmp_path / "run"
    sleeper = programs.worker(path, "folder", lease=0.5)
    boss = programs.master(path, "folder", 40)
    wait_for(lambda: done(path) > 5)
    sleeper.send_signal(signal.SIGSTOP)
    programs.worker(path, "folder", lease=0.5)
    assert boss.wait(30) == 0  # past the lease, another worker did what the sleeper had
    sleeper.send_signal(signal.SIGCONT)
    _, errors = sleeper.communicate(timeout=30)
    assert (sleeper.returncode, errors) == (0, "")
    check(path, 40)


@pytest.mark.slow
def test_a_worker_that_the_broker_gave_up_wakes_up(
    tmp_path: Path, broker_url: str, programs: Programs
) -> None:
    path, queue = tmp_path / "run", f"{broker_url}?heartbeat=1"
    sleeper, boss = programs.worker(path, queue), programs.master(path, queue, 40)
    wait_for(lambda: done(path) > 5)
    sleeper.send_signal(signal.SIGSTOP)
    programs.worker(path, queue)
    assert boss.wait(30) == 0
    sleeper.send_signal(signal.SIGCONT)
    sleeper.communicate(timeout=30)
    assert sleeper.returncode == 0
    check(path, 40)


@pytest.mark.slow
def test_heartbeats_are_kept_while_computing(
    tmp_path: Path, broker_url: str, programs: Programs
) -> None:
    path, queue = tmp_path / "run", f"{broker_url}?heartbeat=1"
    worker = programs.worker(path, queue, work="multiply_for_seconds")
    boss = programs.master(path, queue, 2)
    assert boss.wait(60) == 0  # each task is longer than three heartbeats
    output, errors = worker.communicate(timeout=30)
    assert (output, errors) == ("finished 2\n", "")


@pytest.mark.slow
def test_a_killed_broker_comes_back(tmp_path: Path, programs: Programs) -> None:
    """Workers wait for it longer than for a task, and what it has lost is offered again."""
    if find_server() is None:
        pytest.skip("there is no rabbitmq-server to start and kill")
    path, broker = tmp_path / "run", Broker(tmp_path / "broker")
    try:
        broker.start()
        boss = programs.master(path, broker.url, 300)
        wait_for(lambda: offered(path, broker.url) > 0)
        for _ in range(2):
            programs.worker(path, broker.url, idle=8.0)
        wait_for(lambda: at_broker(path, broker.url).consumer_count == 2)
        for least, forget in ((20, False), (80, True)):
            wait_for(lambda least=least: done(path) > least)  # type: ignore[misc]
            broker.kill(forget=forget)
            time.sleep(0.5)
            broker.start()
        assert boss.wait(60) == 0
        check(path, 300)
    finally:
        broker.stop()


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="it mounts a tmpfs")
def test_a_full_disk_ends_a_worker_and_loses_nothing(tmp_path: Path, programs: Programs) -> None:
    with small_disk(tmp_path / "disk"):
        path, ballast = tmp_path / "disk" / "run", tmp_path / "disk" / "ballast"
        boss = programs.master(path, "folder", 200)
        wait_for(lambda: (path / "queue" / "tasks").is_dir() and len(tasks_of(path)) == 200)
        with pytest.raises(OSError, match="No space left"):
            fill(ballast)
        worker = programs.worker(path, "folder")
        _, errors = worker.communicate(timeout=30)
        last = errors.strip().splitlines()[-1]
        assert last.startswith("OSError: [Errno 28] No space left on device: ")
        assert str(path) in last
        assert done(path) < 200
        ballast.unlink()
        programs.worker(path, "folder", work="multiply")
        assert boss.wait(30) == 0
        check(path, 200)
        assert not list(path.rglob("*.part"))


def fill(path: Path) -> None:
    with path.open("wb") as stream:
        while True:
            os.write(stream.fileno(), bytes(1000))


def tasks_of(path: Path) -> list[Path]:
    return list((path / "queue" / "tasks").glob("n-*"))


def test_a_torn_line_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "run"
    RunDirectory.create(path, **IDENTITY).close()
    (path / "journal" / "torn.jsonl").write_text('{"key":"n-000001","secon')
    with workers(path, "folder", 1):
        assert found(master(path, "folder", 3)) == expected(3)
    check(path, 3)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run"
    RunDirectory.create(path, **IDENTITY).close()
    with (
        workers(path, "folder", 1, multiply_slowly, idle=1.0),
        RunDirectory.open(path) as run,
    ):
        pairs = run_tasks(multiply, make_tasks(30), context=CONTEXT, journal=run, queue="folder")
        next(pairs)
        (path / "journal" / "bad.jsonl").write_text('{"key":"n-000001","secon\n')
        with pytest.raises(JournalError, match=r"bad\.jsonl, line 1 is broken") as caught:
            list(pairs)
    assert (caught.value.file, caught.value.line) == (path / "journal" / "bad.jsonl", 1)


def test_a_corrupted_shard_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tail, "_PATIENCE", 0.3)  # so long it may be on its way
    path = tmp_path / "run"
    with RunDirectory.create(path, **IDENTITY) as run:
        pairs = run_tasks(multiply, make_tasks(3), context=CONTEXT, journal=run, queue="folder")
        with RunDirectory.open(path) as other:
            other.append(multiply(CONTEXT, make_tasks(2)[1]))
        (shard,) = (path / "shards").iterdir()
        data = shard.read_bytes()
        shard.write_bytes(data.replace(b"n-000001", b"n-000007"))
        with pytest.raises(JournalError, match="is damaged") as caught:
            list(pairs)
    assert caught.value.file == shard


def interrupt(programs: Programs, path: Path, delay: float, count: int) -> None:
    """Press Ctrl-C at a master some time after its imports, which may turn it into any error."""
    boss = programs.master(path, "folder", count)
    assert boss.stdout is not None
    assert boss.stdout.readline() == "ready\n"
    time.sleep(delay)
    boss.send_signal(signal.SIGINT)
    try:
        output, errors = boss.communicate(timeout=30)
    except subprocess.TimeoutExpired as late:
        # Python drops an exception that a signal raises in a callback of its import locks, and
        # says so. Whoever sits there presses once more.
        if b"Exception ignored in" not in (late.stderr or b""):
            raise
        boss.send_signal(signal.SIGINT)
        output, errors = boss.communicate(timeout=30)
    assert boss.returncode in (0, 1, -signal.SIGINT), errors
    # With all written, Python may end without a word.
    if errors or len(output.splitlines()) < count:
        # The last line as a rule; Python wraps one that falls into a class that it imports late.
        assert any(line.startswith("KeyboardInterrupt") for line in errors.splitlines()), errors


@pytest.mark.parametrize("moments", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_interrupts_at_random_moments(tmp_path: Path, moments: int, programs: Programs) -> None:
    path, chance = tmp_path / "run", random.Random(moments)
    programs.worker(path, "folder")
    for _ in range(moments):
        interrupt(programs, path, chance.uniform(0.0, 0.5), 20 * moments)
    assert programs.master(path, "folder", 20 * moments).wait(60) == 0
    check(path, 20 * moments)
