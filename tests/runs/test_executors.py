from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl  # noqa: F401  (its import sets a variable, here and not in a test)

from byways.core.errors import TasksFailedError
from byways.runs import Result, RunDirectory, Task, run_tasks
from byways.runs._chunks import ContextRef
from byways.runs._executors import usable_cores
from tests.runs import workloads
from tests.runs.workloads import Scale, expected, found, make_tasks

CONTEXT = Scale(3)
ROOT = Path(__file__).parents[2]

# Every worker that a script without the guard starts would run the script's first line.
UNGUARDED = """
import sys
import time
from pathlib import Path
with Path(sys.argv[1]).open("a") as log:
    log.write("started\\n")
from byways.runs import Task, run_tasks
from tests.runs.workloads import Scale, multiply
try:
    print(len(list(run_tasks(multiply, [Task("a", {"n": 1})], context=Scale(3), workers=2))))
except ValueError:
    print("never")
"""


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def test_workers_are_set_up_for_this_work() -> None:
    tasks = make_tasks(8)
    pairs = list(run_tasks(workloads.describe_process, tasks, context=CONTEXT, workers=2))
    for _, result in pairs:
        assert result.counts["pid"] != os.getpid()
        assert result.counts["most_threads"] == 1
        assert result.counts["omp"] == 1
        assert result.counts["ignores_interrupt"] == 1
        assert result.counts["torch"] == 0
    assert len({result.counts["pid"] for _, result in pairs}) <= 2


def test_the_callers_process_is_left_alone() -> None:
    before = (dict(os.environ), signal.getsignal(signal.SIGINT))
    ((_, result),) = run_tasks(workloads.describe_process, make_tasks(1), context=CONTEXT)
    assert result.counts["pid"] == os.getpid()
    list(run_tasks(workloads.multiply, make_tasks(3), context=CONTEXT, workers=2))
    assert (dict(os.environ), signal.getsignal(signal.SIGINT)) == before


def test_workers_start_together(tmp_path: Path) -> None:
    """None waits for another that is starting: each waits here until all are there."""
    context = workloads.Rendezvous(3, tmp_path, 3)
    ((_, result),) = run_tasks(workloads.meet, make_tasks(1), context=context, workers=3)
    assert result.counts["present"] == 3


def test_all_cores_are_those_that_the_process_may_use() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no sched_setaffinity")
    program = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
        "from byways.runs._executors import usable_cores; print(usable_cores())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=_environment(), capture_output=True, check=True
    )
    assert done.stdout.split() == [b"1"]
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_a_script_without_a_guard_ends_in_one_clear_error(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "log")],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: no worker process could start (exit codes [1])")
    assert "'if __name__ == \"__main__\":'" in last
    assert (tmp_path / "log").read_text().count("started") <= 3  # the script, a worker or two


class Recording(ProcessPoolExecutor):
    """Note how the context was offered with each call."""

    def __init__(self) -> None:
        super().__init__(2, get_context("spawn"))
        self.offers: list[ContextRef] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.offers += [argument for argument in args if isinstance(argument, ContextRef)]
        return super().submit(fn, *args, **kwargs)


def test_a_context_travels_as_a_file_although_a_whole_window_lacks_it() -> None:
    tasks = make_tasks(40)
    with Recording() as executor:
        pairs = run_tasks(workloads.multiply_slowly, tasks, context=CONTEXT, executor=executor)
        assert found([result for _, result in pairs]) == expected(40)
    assert [offer for offer in executor.offers if offer.data is not None] == []
    assert [offer for offer in executor.offers if offer.path is not None] != []


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    tasks = make_tasks(60)
    tasks[20] = Task(tasks[20].key, {"n": 20, "marker": str(marker)})
    pairs = list(run_tasks(workloads.die_once, tasks, context=CONTEXT, workers=2))
    assert marker.exists()
    assert found([result for _, result in pairs]) == expected(60)


def test_a_task_that_kills_its_worker_fails_alone(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"pass_name": "p", "parameters": {}, "context": CONTEXT}
    with RunDirectory.create(tmp_path / "run", **arguments) as run:
        pairs = run_tasks(
            workloads.die_at_five, make_tasks(30), context=CONTEXT, workers=2, journal=run
        )
        with pytest.raises(
            TasksFailedError, match=r"1 tasks were lost 2 times .*: n-000005"
        ) as got:
            list(pairs)
    assert got.value.keys == ("n-000005",)
    with RunDirectory.create_or_resume(tmp_path / "run", **arguments) as run:
        # The five that were submitted before were done, and are kept.
        assert {f"n-{n:06d}" for n in range(5)} <= run.done_keys()
        list(run_tasks(workloads.multiply, make_tasks(30), context=CONTEXT, journal=run))
        assert found(list(run.results())) == expected(30)


def test_without_retries_all_that_was_lost_is_named() -> None:
    pairs = run_tasks(workloads.die_at_five, make_tasks(30), context=CONTEXT, workers=2, retries=0)
    given: set[str] = set()
    with pytest.raises(TasksFailedError) as caught:
        given.update(task.key for task, _ in pairs)
    assert "n-000005" in caught.value.keys
    assert not given & set(caught.value.keys)


def test_work_that_a_worker_cannot_import_is_an_error() -> None:
    script = (
        "from byways.runs import *\n"
        "from tests.runs.workloads import Scale\n"
        "def work(context, task): return Result(task.key)\n"
        "list(run_tasks(work, [Task('a', {})], context=Scale(3), workers=2))\n"
    )
    done = subprocess.run(
        [sys.executable, "-"],  # a program from standard input cannot be imported again
        input=script,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "no worker process could start" in done.stderr.strip().splitlines()[-1]


# Largest growth of the process over a million tasks that are all pending at the start.
MILLION = """
import sys
import psutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from byways.runs import Task, run_tasks
from tests.runs.workloads import Scale, count_nothing
tasks = (Task(f"n-{n}", {"n": n}) for n in range(1_000_000))
with ThreadPoolExecutor(2) as executor:
    executor.submit(int).result()
    before = psutil.Process().memory_info().rss
    arguments = {"executor": executor} if sys.argv[1] == "threads" else {}
    pairs = run_tasks(count_nothing, tasks, context=Scale(3), **arguments)
    assert sum(1 for _ in pairs) == 1_000_000
    status = Path("/proc/self/status").read_text()  # ru_maxrss would count the parent's memory too
    print(int(status.partition("VmHWM:")[2].split()[0]) * 1024 - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize("kind", ["inline", "threads"])
def test_a_million_tasks_take_no_memory(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MILLION, kind],
        env=_environment(),
        capture_output=True,
        check=True,
    )
    assert int(done.stdout) <= 8 << 20


@pytest.mark.slow
def test_the_journal_costs_ten_microseconds_a_record(tmp_path: Path) -> None:
    arrays = {"signs": np.zeros((3, 4), np.uint8), "witness": np.zeros((3, 2))}
    costs = []
    for number in range(5):
        kept = [Result(f"t-{n:07d}", 0.5, {"regions": n, "lps": 3}) for n in range(20_000)]
        path = tmp_path / str(number)
        with RunDirectory.create(path, pass_name="p", parameters={}, context=CONTEXT) as run:
            run.append(Result("first", arrays=arrays))
            started = time.process_time()
            for result in kept:
                run.append(result)
            run.flush()
            costs.append((time.process_time() - started) / len(kept))
    assert min(costs) <= 10e-6
