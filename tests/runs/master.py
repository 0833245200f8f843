"""A program to be killed: ``python -m tests.runs.master RUN LOG TASKS`` works with two workers."""

from __future__ import annotations

import sys
from pathlib import Path

from byways.runs import RunDirectory, Task, run_tasks
from tests.runs.workloads import Scale, multiply_and_log


def logged_tasks(log: Path, count: int) -> list[Task]:
    return [Task(f"n-{n:06d}", {"n": n, "log": str(log)}) for n in range(count)]


def main(path: str, log: str, count: str) -> None:
    context = Scale(3)
    tasks = logged_tasks(Path(log), int(count))
    with RunDirectory.create_or_resume(
        path, pass_name="demo", parameters={}, context=context
    ) as run:
        pairs = run_tasks(multiply_and_log, tasks, context=context, workers=2, journal=run)
        for _ in pairs:
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
