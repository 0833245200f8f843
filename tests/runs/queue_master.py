"""A master to be killed: ``python -m tests.runs.queue_master RUN QUEUE TASKS``.

It prints "ready" when all is imported, and what it got at the end, each result in a line, in the
order of their keys.
"""

from __future__ import annotations

import sys

from byways.runs import RunDirectory, run_tasks
from tests.runs.queues import CONTEXT, IDENTITY
from tests.runs.workloads import found, make_tasks, multiply


def main(path: str, queue: str, count: str) -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    tasks = make_tasks(int(count))
    with RunDirectory.create_or_resume(path, **IDENTITY) as run:
        for _ in run_tasks(multiply, tasks, context=CONTEXT, journal=run, queue=queue):
            pass
        for key, value in sorted(found(list(run.results())).items()):
            sys.stdout.write(f"{key} {value}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
