"""A worker to be killed: ``python -m tests.runs.queue_worker RUN QUEUE WORK LEASE IDLE``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from byways.runs import serve_queue
from tests.runs import workloads
from tests.runs.workloads import Scale


def main(run: str, queue: str, name: str, lease: str, idle: str) -> None:
    work: Callable[..., Any] = getattr(workloads, name)
    done = serve_queue(run, work, Scale.load, queue=queue, lease=float(lease), idle=float(idle))
    sys.stdout.write(f"finished {done}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
