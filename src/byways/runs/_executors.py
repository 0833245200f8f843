"""Where chunks run: processes of our own, or the user's executor, behind one small interface."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from byways.runs._chunks import ContextRef, Reply, forget_context, keep_context, run_chunk

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from byways.runs._chunks import Work
    from byways.runs._directory import RunDirectory
    from byways.runs._tasks import Context, Task

__all__ = ["GivenExecutor", "OwnPool", "Pool", "check_executor", "count_workers", "usable_cores"]

# A chunk that takes this many times its target gives back what is left of it.
_PATIENCE = 4.0
# A worker that is told to end and does not within this time is terminated.
_GRACE_SECONDS = 2.0
# Codes of a process that runs, and of one that its pool ended because another one died.
_NO_CAUSE = (None, -signal.SIGTERM)
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_GUARD_ADVICE = (
    "The workers import the script that was started, so it must start the work under "
    "'if __name__ == \"__main__\":'"
)


class Pool(Protocol):
    """Takes chunks. A chunk should take ``target`` seconds, and ``window`` of them be submitted.

    With ``shared_fate`` the death of one worker ends all chunks that are submitted, and ``close``
    ends them too; without it the caller cancels them.
    """

    target: float
    window: int
    shared_fate: bool

    def submit(self, tasks: list[Task], *, lacked_context: int) -> Future[Reply]:
        """Start a chunk; in another way if workers lacked the context for it so often."""

    def close(self, *, abort: bool) -> None:
        """Release what this run took; with ``abort`` at once, whatever is still running."""


def usable_cores() -> int:
    """Count the cores that this process may use."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_workers(workers: object) -> int:
    """Check the argument ``workers`` and give the number it means.

    Raises:
        TypeError: If it is neither a whole number nor None.
        ValueError: If it is below 1.
    """
    if workers is None:
        return usable_cores()
    if isinstance(workers, bool) or not isinstance(workers, Integral):
        raise TypeError(
            f'"workers" was {workers!r}; it takes a whole number from 1, or None for all cores'
        )
    if workers < 1:
        raise ValueError(f'"workers" was {workers!r}; it must be at least 1, or None for all cores')
    return int(workers)


def check_executor(executor: object, workers: object) -> None:
    """Check the argument ``executor`` together with ``workers``.

    Raises:
        TypeError: If it has no method ``submit``.
        ValueError: If ``workers`` was given too.
    """
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f'"executor" was {executor!r}; it must be a concurrent.futures.Executor, with submit()'
        )
    if workers != 1 or isinstance(workers, bool):
        raise ValueError(
            f'"workers" was {workers!r} and "executor" was given too; an executor brings its own '
            'workers, so leave "workers" out'
        )


class OwnPool:
    """Processes that live for one run.

    They are started by a fork server or afresh, never forked from this process, whose threads
    would not survive it. They run one thread of linear algebra each, leave Ctrl-C to this process,
    and end when it ends, even by ``kill -9``.

    Args:
        work: The work function.
        context: The context of all tasks.
        digest: Its digest.
        workers: Number of processes.

    Raises:
        RuntimeError: If no worker can start.
        TypeError: If the work function or the context cannot be pickled.
    """

    target = 0.2
    shared_fate = True

    def __init__(self, work: Work, context: Context, digest: str, workers: int) -> None:
        self.window = 2 * workers + 2
        self._work = work
        self._ref = ContextRef(digest)
        self._workers = min(workers, 61) if sys.platform == "win32" else workers
        _check_not_importing()
        _pickle(work, "work", "a function at the top level of a module")
        data = _pickle(context, "context", "made of picklable parts")
        # Nothing is ever sent: each worker sees the line end, also when this process is killed.
        self._far_end, self._line = multiprocessing.Pipe(duplex=False)
        self._initial = (data, digest, self._far_end)
        self._pool = self._start()
        self._greet()

    def submit(self, tasks: list[Task], *, lacked_context: int = 0) -> Future[Reply]:
        """Start a chunk, in new processes if the old ones died."""
        try:
            return self._send(tasks)
        except BrokenExecutor:
            self._pool.shutdown(wait=True)
            self._pool = self._start()
            return self._send(tasks)

    def close(self, *, abort: bool) -> None:
        """Stop the processes: when they are idle, or at once.

        The caller must not cancel chunks: CPython's pool stumbles over a future that is cancelled
        while its process dies. Nor may a process be killed while it sends a result, or the pool
        waits for the rest of it for ever. So a worker ends itself when the line is cut, and only
        one that does not even notice (compiled code that holds the interpreter) is terminated.
        """
        rescue = threading.Timer(_GRACE_SECONDS, _terminate, [self._processes()])
        if abort:
            self._line.close()
            rescue.start()
        self._pool.shutdown(wait=True, cancel_futures=abort)
        rescue.cancel()
        self._line.close()
        self._far_end.close()

    def _send(self, tasks: list[Task]) -> Future[Reply]:
        patience = _PATIENCE * self.target
        return self._pool.submit(_run_until_cut, self._work, tasks, self._ref, patience)

    def _start(self) -> ProcessPoolExecutor:
        """Make a pool; its processes start with its first tasks."""
        methods = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in methods else "spawn"
        return ProcessPoolExecutor(
            self._workers,
            mp_context=multiprocessing.get_context(method),
            initializer=_prepare_process,
            initargs=self._initial,
        )

    def _processes(self) -> list[BaseProcess]:
        """List the pool's processes; the executor has no public way to them before 3.14."""
        return list((self._pool._processes or {}).values())

    def _greet(self) -> None:
        """Start all workers and wait for the first, so that a script without a guard fails here."""
        processes: list[BaseProcess] = []
        try:
            ready = [self._pool.submit(_accept, self._work) for _ in range(self._workers)]
            processes = self._processes()
            ready[0].result()
        except (BrokenExecutor, EOFError, OSError) as error:
            self.close(abort=True)
            codes = sorted({p.exitcode for p in processes if p.exitcode not in _NO_CAUSE})
            raise RuntimeError(
                f"no worker process could start (exit codes {codes}). {_GUARD_ADVICE}; what else "
                "went wrong in the worker is above, on standard error"
            ) from error
        except BaseException:
            self.close(abort=True)
            raise


class GivenExecutor:
    """The user's executor. It is never shut down here.

    The context travels once to each process: the first chunk of a process finds it in memory (a
    thread), else in a file (the run directory's, or a temporary one), else it asks for the bytes.

    Args:
        executor: The user's executor.
        work: The work function.
        context: The context of all tasks.
        digest: Its digest.
        journal: Run directory that holds the context already, or None.
    """

    target = 1.0
    window = 64
    shared_fate = False

    def __init__(
        self,
        executor: Executor,
        work: Work,
        context: Context,
        digest: str,
        journal: RunDirectory | None,
    ) -> None:
        self._executor = executor
        self._work = work
        self._context = context
        self._digest = digest
        self._file = None if journal is None else journal.context_path
        self._folder: str | None = None
        self._ref = ContextRef(digest)
        self._data: bytes | None = None
        keep_context(context, digest)

    def submit(self, tasks: list[Task], *, lacked_context: int) -> Future[Reply]:
        """Start a chunk: first a file is offered, and the bytes only where that did not help.

        A window of chunks is on its way before the first worker says that it lacks the context, so
        that one chunk was offered the file says nothing about the others.
        """
        ref = self._ref
        if lacked_context == 1:
            ref = self._offer_file() or self._offer_bytes()
        elif lacked_context:
            ref = self._offer_bytes()
        return self._executor.submit(run_chunk, self._work, tasks, ref, _PATIENCE * self.target)

    def close(self, *, abort: bool) -> None:
        """Remove the temporary file; the executor is the user's."""
        forget_context(self._digest)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _offer_file(self) -> ContextRef | None:
        """Offer a file from now on; None if the context cannot be saved."""
        load = getattr(type(self._context), "load", None)
        if load is None or not hasattr(self._context, "save"):
            return None
        if self._ref.path is None:
            self._ref = ContextRef(self._digest, str(self._file or self._write_file()), load)
        return self._ref

    def _offer_bytes(self) -> ContextRef:
        """Send the bytes this once."""
        if self._data is None:
            self._data = _pickle(self._context, "context", "made of picklable parts")
        return ContextRef(self._digest, data=self._data)

    def _write_file(self) -> Path:
        """Write the context to a temporary file."""
        context: Any = self._context
        self._folder = tempfile.mkdtemp(prefix="byways-")
        path = Path(self._folder, "context.npz")
        context.save(path)
        return path


def _pickle(value: object, name: str, need: str) -> bytes:
    """Pickle an argument, or say which one cannot be."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f'"{name}" was {value!r}, which cannot be sent to another process: {error}; it must '
            f"be {need}"
        ) from error


def _check_not_importing() -> None:
    """Leave a worker that is about to start workers because the script has no guard.

    The process that started this worker reports it; a traceback from here would only hide that.

    Raises:
        SystemExit: If this process is a worker that is still importing the script.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(_GUARD_ADVICE)


def _accept(work: Work) -> None:
    """Show that a worker can start and import the work function."""


def _terminate(processes: list[BaseProcess]) -> None:
    """End processes that did not end themselves."""
    for process in processes:
        process.terminate()


def _prepare_process(data: bytes, digest: str, line: Connection) -> None:
    """Set up a worker process before its first chunk."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(line,), name="byways-line", daemon=True).start()
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))  # for libraries not loaded yet
    keep_context(pickle.loads(data), digest)
    # Imported here, because its import alone sets an environment variable.
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)  # for libraries that came with the context


class _Computing:
    """Whether this worker is in a chunk, and not sending its results."""

    now = False
    gate = threading.Lock()


def _run_until_cut(work: Work, tasks: list[Task], ref: ContextRef, patience: float) -> Reply:
    """Run a chunk in a worker, which may end in the middle of it."""
    _Computing.now = True
    try:
        return run_chunk(work, tasks, ref, patience)
    finally:
        with _Computing.gate:  # no results are sent by a process that is about to end
            _Computing.now = False


def _watch(line: Connection) -> None:
    """End this process when its line is cut: in a chunk, or anywhere if its parent is gone."""
    with contextlib.suppress(OSError):
        line.poll(None)
    parent = multiprocessing.parent_process()
    while True:
        with _Computing.gate:
            if _Computing.now or parent is None or not parent.is_alive():
                os._exit(1)
        time.sleep(0.01)
