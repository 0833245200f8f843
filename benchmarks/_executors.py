"""Executors and queue workers of a given number, each as a context manager."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import tempfile
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["EXECUTORS", "QUEUES", "lacks", "queue_workers"]

_BROKER = "BYWAYS_TEST_AMQP"
_FOLDER = Path(__file__).resolve().parent


@contextlib.contextmanager
def _threads(workers: int) -> Iterator[Executor]:
    with ThreadPoolExecutor(workers) as executor:
        yield executor


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as executor:
        yield executor


@contextlib.contextmanager
def _loky(workers: int) -> Iterator[Executor]:
    from loky import ProcessPoolExecutor as Loky

    executor = Loky(workers)
    try:
        yield executor
    finally:
        executor.shutdown(kill_workers=True)


@contextlib.contextmanager
def _dask(workers: int) -> Iterator[Executor]:
    import distributed

    options: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": None}
    with tempfile.TemporaryDirectory() as folder:
        options["local_directory"] = folder
        with (
            distributed.LocalCluster(n_workers=workers, processes=True, **options) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client.get_executor(pure=False)


EXECUTORS: dict[str, Callable[[int], contextlib.AbstractContextManager[Executor]]] = {
    "threads": _threads,
    "processes": _processes,
    "loky": _loky,
    "dask": _dask,
}
QUEUES = ("folder", "amqp")


def lacks(name: str) -> str:
    """Say what an executor or queue lacks here, or nothing."""
    module = {"loky": "loky", "dask": "distributed", "amqp": "pika"}.get(name)
    if module is not None and importlib.util.find_spec(module) is None:
        return module
    return f"a broker in {_BROKER}" if name == "amqp" and _BROKER not in os.environ else ""


@contextlib.contextmanager
def queue_workers(
    name: str, workers: int, run: Path, job: str, *, warm: bool = False
) -> Iterator[str]:
    """Start workers of a queue as processes; give the queue.

    ``job`` names a pair (work function, loader of the context) as ``module:name``. With ``warm``
    they have loaded what a count needs before the queue is given.
    """
    queue = os.environ[_BROKER] if name == "amqp" else name
    module, _, pair = job.partition(":")
    code = (
        f"import sys; sys.path.insert(0, {str(_FOLDER)!r}); from {module} import {pair} as job\n"
        "from byways.runs import serve_queue\n"
        f"if {warm}: from _jobs import warm_up; warm_up()\n"
        "print(flush=True)\n"
        "serve_queue(sys.argv[1], *job, queue=sys.argv[2], idle=120)"
    )
    words = [sys.executable, "-c", code, str(run), queue]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(workers)]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()  # it is ready
        yield queue
    finally:
        for process in started:
            process.terminate()
            process.wait()
