"""Claims about byways.runs: what a task costs on each executor, memory, two workers, forecasts.

Usage: python benchmarks/runs.py [--quick] [--only NAME] [--json FILE]

Seconds are wall time, for the work is in other processes; the journal's are CPU seconds. A broker
is used if the variable BYWAYS_TEST_AMQP has its address.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _executors import EXECUTORS, QUEUES, lacks, queue_workers
from _jobs import Bulk, do_nothing, empty, nothing_tasks, warm_up
from _networks import seeded_network
from _ratio import Pace, Row, main

from byways.regions._gather import Manner, gather
from byways.regions._outcome import Limits
from byways.regions._question import Question
from byways.runs import Result, RunDirectory, run_tasks
from byways.runs._executors import GivenExecutor
from byways.runs._simulation import recorded, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from byways.runs._simulation import TimedTask

_SIZES = {"1 KB": 1_000, "1 MB": 1_000_000, "100 MB": 100_000_000}
_ASSUMED = (
    "tasks take as long on every worker, no start-up, no shared bottleneck, next task at once"
)
_NOTHING = (
    "import sys; sys.path.insert(0, {folder!r})\n"
    "from concurrent.futures import ThreadPoolExecutor\n"
    "import numpy as np\n"
    "from _jobs import Bulk, do_nothing\n"
    "from byways.runs import Task, run_tasks\n"
    "def field(name):\n"
    "    lines = open('/proc/self/status')\n"
    "    return next(int(x.split()[1]) / 1024 for x in lines if x.startswith(name))\n"
    "context = Bulk(np.zeros(1000))\n"
    "tasks = (Task(f'n-{{n}}', {{'n': n}}) for n in range({count}))\n"
    "with ThreadPoolExecutor(2) as executor:\n"
    "    executor.submit(int).result()\n"
    "    before = field('VmRSS')\n"
    "    pairs = run_tasks(do_nothing, tasks, context=context, executor=executor)\n"
    "    assert sum(1 for _ in pairs) == {count}\n"
    "    print(field('VmHWM') - before)\n"
)


def overhead(pace: Pace) -> Iterator[Row]:
    """A task whose context is cached against an empty call of the executor.

    The median of many rounds, each of one run of ours and one of theirs: what disturbs one of them
    now and then does not count. Once as ``run_tasks`` hands tasks out, in chunks; once with one
    task in each call, for which there is no goal: a call that carries a task and brings back a
    result is not an empty one. And once with few tasks, of which the first travel alone, without a
    goal too.
    """
    sizes = dict(list(_SIZES.items())[:1]) if pace.quick else _SIZES
    for name, start in EXECUTORS.items():
        if pace.quick and name == "dask":
            continue  # its processes take seconds to start
        if lacks(name):
            yield Row(f"overhead: {name}", "task", "empty call", absent=lacks(name))
            continue
        with start(2) as executor:
            for size, number in sizes.items():
                claim = f"overhead: {name}, context of {size}"
                yield _overhead(claim, executor, number, pace)
                yield _overhead(claim, executor, number, pace, one_each=True)
            yield _overhead(f"overhead: {name}", executor, 1_000, pace, few=True)


def _overhead(
    claim: str,
    executor: Executor,
    size: int,
    pace: Pace,
    *,
    one_each: bool = False,
    few: bool = False,
) -> Row:
    count, rounds = (40, pace.rounds) if "dask" in claim else (200, 5 * pace.rounds)
    count = 20 if few else count  # calls of dask take 10 ms
    tasks, context = nothing_tasks(count), Bulk(np.ones(size // 8))

    def ours() -> int:
        pairs = run_tasks(do_nothing, tasks, context=context, executor=executor)
        return sum(int(result.counts["first"]) for _, result in pairs)

    def theirs() -> int:
        return len(wait([executor.submit(empty) for _ in range(count)]).done)

    with _one_task_a_call() if one_each else contextlib.nullcontext():
        outputs = [ours(), theirs()]  # from here on the context is in every process
        times = [(_seconds(ours), _seconds(theirs)) for _ in range(rounds)]
    ratios = sorted(mine / other for mine, other in times)
    claim, goal = (f"{claim}, one task a call", None) if one_each else (claim, 1.5)
    claim, goal = (f"{claim}, {count} tasks", None) if few else (claim, goal)
    fault = "" if outputs == [count, count] else f"{outputs} are not {count} each"
    seconds = [statistics.median(side) / count for side in zip(*times, strict=True)]
    quarter = len(ratios) // 4  # the spread is that of the middle half
    return Row(
        claim, "task", "empty call", statistics.median(ratios), goal, at_most=True,
        spread=(ratios[quarter], ratios[-1 - quarter]), rounds=(rounds, rounds),
        seconds=(seconds[0], seconds[1]), fault=fault,
    )  # fmt: skip


def _seconds(call: Callable[[], int]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextlib.contextmanager
def _one_task_a_call() -> Iterator[None]:
    """Cut no chunks, which would hide what a task costs."""
    before = GivenExecutor.target
    GivenExecutor.target = 0.0
    try:
        yield
    finally:
        GivenExecutor.target = before


def queues(pace: Pace) -> Iterator[Row]:
    """Seconds for a task that does nothing, result on disk; there is nothing to compare with."""
    count = 20 if pace.quick else 500
    for name in QUEUES:
        claim = f"queue: {name}, two workers, milliseconds for a task"
        if lacks(name):
            yield Row(claim, "task", "-", absent=lacks(name))
            continue
        with tempfile.TemporaryDirectory() as folder:
            context = Bulk(np.ones(1000))
            run = RunDirectory.create(
                f"{folder}/run", pass_name="benchmark", parameters={}, context=context
            )
            options: dict[str, Any] = {"context": context, "journal": run}
            with run, queue_workers(name, 2, run.path, "_jobs:BULK") as queue:
                next(run_tasks(do_nothing, nothing_tasks(1), queue=queue, **options))
                start = time.perf_counter()
                pairs = run_tasks(do_nothing, nothing_tasks(count), queue=queue, **options)
                found = sum(1 for _ in pairs)
                seconds = (time.perf_counter() - start) / count
        fault = "" if found == count - 1 else f"{found} results of {count - 1}"
        yield Row(claim, "task", "-", 1e3 * seconds, fault=fault)


def memory(pace: Pace) -> Iterator[Row]:
    """Growth of the process while a million tasks are pending, in MiB."""
    claim = f"memory: {'10,000' if pace.quick else 'a million'} pending tasks, growth in MiB"
    if not sys.platform.startswith("linux"):
        yield Row(claim, "run_tasks", "-", goal=8.0, at_most=True, absent="/proc")
        return
    code = _NOTHING.format(
        count=10_000 if pace.quick else 1_000_000, folder=str(Path(__file__).resolve().parent)
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    yield Row(claim, "run_tasks", "-", float(done.stdout), 8.0, at_most=True)


def journal(pace: Pace) -> Iterator[Row]:
    """CPU microseconds for a record, counts alone, amortised over flushes."""
    count = 1_000 if pace.quick else 50_000
    kept = [Result(f"t-{n:07d}", 0.5, {"regions": n, "lps": 3}) for n in range(count)]
    costs = []
    for _ in range(pace.rounds):
        microseconds, keys = _append(kept)
        costs.append(microseconds)
    fault = "" if keys == count else f"{keys} of {count} records came back"
    yield Row(
        "journal: microseconds for a record", "append", "-", min(costs), 10.0, at_most=True,
        spread=(min(costs), max(costs)), rounds=(pace.rounds, 0), fault=fault,
    )  # fmt: skip


def _append(kept: list[Result]) -> tuple[float, int]:
    """Give microseconds for a record, and how many records come back."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(
            f"{folder}/run", pass_name="benchmark", parameters={}, context=Bulk(np.ones(1))
        )
        with run:
            start = time.process_time()
            for result in kept:
                run.append(result)
            run.flush()
            spent = time.process_time() - start
            return spent / len(kept) * 1e6, len(run.done_keys())


def scaling(pace: Pace) -> Iterator[Row]:
    """Two workers against one on a whole count, when all of them have started.

    The workers of an executor have counted once before, and those of a queue a small network. Our
    own pool starts for each call and within the time; what that takes is measured apart, and shown
    below the table. The first tasks are done by the caller alone, and a count of
    784-10-10 takes half a second; the larger network shows what is left of that in a longer one.
    """
    for widths in ((8, 12, 12),) if pace.quick else ((784, 10, 10), (784, 10, 14)):
        yield from _scaling(widths, pace)


def _scaling(widths: tuple[int, ...], pace: Pace) -> Iterator[Row]:
    question = _question(widths)
    truth = _count(question)[1]

    def executed(start: Callable[[int], Any], number: int) -> tuple[float, int]:
        with start(number) as executor:
            _count(question, executor=executor)  # the executor's processes load what they need
            return _count(question, executor=executor)

    def own(number: int) -> tuple[float, int]:
        return _count(question, workers=number)

    def queued(name: str, number: int) -> tuple[float, int]:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder, "run")
            with queue_workers(name, number, run, "_jobs:REGIONS", warm=True) as queue:
                return _count(question, queue=queue, run_dir=run)

    ways: dict[str, Callable[[int], tuple[float, int]]] = {"own": own}
    ways |= {name: partial(executed, start) for name, start in EXECUTORS.items()}
    ways |= {name: partial(queued, name) for name in QUEUES}
    for name, way in ways.items():
        claim = f"scaling: {'-'.join(map(str, widths))}, {name}, two workers against one"
        if lacks(name):
            yield Row(claim, "two", "one", absent=lacks(name))
        elif not pace.quick or name in ("own", "threads"):
            row = _scaled(claim, way, truth, pace)
            if name == "own" and not pace.quick:
                row = replace(row, counted={"start-up within": f"{_start_up(question):.2f} s"})
            yield row


def _start_up(question: Question) -> float:
    """Give the seconds in which our own two processes start, load what they need, and end."""
    start = time.perf_counter()
    list(run_tasks(warm_up, nothing_tasks(2), context=question, workers=2))
    return time.perf_counter() - start


def _scaled(claim: str, way: Callable[[int], tuple[float, int]], truth: int, pace: Pace) -> Row:
    pairs = [(way(2), way(1)) for _ in range(1 if pace.quick else 3)]
    totals = {total for pair in pairs for _, total in pair}
    two, one = (min(pair[i][0] for pair in pairs) for i in range(2))
    ratios = [pair[1][0] / pair[0][0] for pair in pairs]
    fault = "" if totals == {truth} else f"{totals}, not {truth}"
    return Row(
        claim, "two", "one", one / two, spread=(min(ratios), max(ratios)), seconds=(two, one),
        rounds=(len(pairs), len(pairs)), fault=fault,
    )  # fmt: skip


def simulator(pace: Pace) -> Iterator[Row]:
    """Wall time of a count on 1, 2, 100 and 1000 workers, predicted from the seconds of its tasks.

    The tasks are timed twice: by one process that has the machine for itself, and by two worker
    processes at once. The first predicts without knowing what two processes take from each other;
    the second knows that, and what is left of the difference is the simulator's own: chunks, the
    first tasks, which the caller does alone, and the way of tasks and results. The prediction
    assumes that a task takes on every worker as long as when it was timed, that a free worker takes
    the next task at once, and that a task's rest is available when it ends. So nothing counts the
    start of workers, and 100 and 1000 workers are those of machines that share no bottleneck; that
    is a forecast, not a measurement, and has no peer.
    """
    widths = (784, 10, 10) if pace.quick else (784, 10, 14)
    question, name = _question(widths), "-".join(map(str, widths))
    _count(question)  # compilers and caches
    rounds = 1 if pace.quick else 3
    alone = _fastest([_timed_count(question) for _ in range(rounds)])
    with EXECUTORS["processes"](2) as executor:
        _count(question, executor=executor)
        pair = _fastest([_timed_count(question, executor=executor) for _ in range(rounds)])
    fault = "" if alone[1] == pair[1] else f"{alone[1]} and {pair[1]} regions"
    for workers, tasks, measured, timed in (
        (1, alone[2], alone[0], "timed alone"),
        (2, alone[2], pair[0], "timed alone"),
        (2, pair[2], pair[0], "timed by two"),
        (100, alone[2], None, "timed alone"),
        (1000, alone[2], None, "timed alone"),
    ):
        schedule = simulate(tasks, workers)
        claim = f"simulator: {name}, tasks {timed}, {workers} workers"
        counted = {"tasks": len(tasks), "speed-up": round(schedule.speed_up, 2)}
        if measured is None:
            yield Row(
                f"{claim}, speed-up", "forecast", "one worker", schedule.speed_up,
                seconds=(schedule.makespan, schedule.work), fault=fault,
                counted=counted | {"assumed": _ASSUMED},
            )  # fmt: skip
        else:
            yield Row(
                claim, "predicted", "measured", schedule.makespan / measured, counted=counted,
                seconds=(schedule.makespan, measured), rounds=(rounds, rounds), fault=fault,
            )  # fmt: skip


def _timed_count(question: Question, **how: Any) -> tuple[float, int, list[TimedTask]]:
    """Give the seconds of a count in a run directory, its total, and its timed tasks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run")
        seconds, total = _count(question, run_dir=path, **how)
        with RunDirectory.open(path) as run:
            return seconds, total, recorded(run.results())


def _fastest(
    counts: list[tuple[float, int, list[TimedTask]]],
) -> tuple[float, int, list[TimedTask]]:
    """Give the count that was disturbed least."""
    return min(counts, key=lambda count: count[0])


def _question(widths: tuple[int, ...]) -> Question:
    """Ask for the number of regions of a network."""
    return Question.ask(
        seeded_network(*widths), (-1, 1), method="auto", solver="auto", exact="float",
        tolerance=1e-9, keep=None,
    )  # fmt: skip


def _count(question: Question, **how: Any) -> tuple[float, int]:
    """Give the seconds of a count and its total."""
    start = time.perf_counter()
    answer = gather(question, Limits(None, None), Manner(**how))
    return time.perf_counter() - start, answer.total


CLAIMS = {
    "overhead": overhead,
    "queues": queues,
    "memory": memory,
    "journal": journal,
    "scaling": scaling,
    "simulator": simulator,
}

if __name__ == "__main__":
    raise SystemExit(main(str(__doc__).partition("\n")[0], CLAIMS))
