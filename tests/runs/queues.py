"""How the tests of queues run masters and workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from byways.runs import Result, RunDirectory, run_tasks, serve_queue
from tests.runs.workloads import Scale, make_tasks, multiply

CONTEXT = Scale(3)
IDENTITY: dict[str, Any] = {"pass_name": "demo", "parameters": {}, "context": CONTEXT}


@contextmanager
def workers(
    path: Path, queue: str, number: int = 2, work: Callable[..., Result] = multiply, **options: Any
) -> Iterator[list[int]]:
    """Serve a queue with threads; what is given fills with the numbers of tasks they did."""
    done: list[int] = []

    def serve() -> None:
        options.setdefault("idle", 20.0)
        done.append(serve_queue(path, work, Scale.load, queue=queue, **options))

    with ThreadPoolExecutor(number) as threads:
        futures = [threads.submit(serve) for _ in range(number)]
        yield done
        for future in futures:
            future.result()


def master(path: Path, queue: str, count: int, **options: Any) -> list[Result]:
    with RunDirectory.create_or_resume(path, **IDENTITY) as run:
        tasks = make_tasks(count)
        pairs = run_tasks(multiply, tasks, context=CONTEXT, journal=run, queue=queue, **options)
        return [result for _, result in pairs]
