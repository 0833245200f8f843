"""An executor that keeps the letter of the contract and nothing else."""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any

from byways.runs import Task


class AdversarialExecutor(Executor):
    """Run calls late and shuffled, some twice, and let the first attempt of some fail.

    Args:
        seed: Decides what happens to which call.
        late: Calls that are held back until so many wait (or nothing else comes).
        pickles: Send calls and answers through pickle, as another process would.
    """

    def __init__(self, seed: int, *, late: int = 4, pickles: bool = True) -> None:
        self.shutdowns = 0
        self.submitted = 0
        self.most_pending = 0
        self.broken = 0
        self._random = random.Random(seed)
        self._late = late
        self._pickles = pickles
        self._waiting: list[tuple[Future[Any], Callable[[], Any], set[str]]] = []
        self._changed = threading.Condition()
        self._ended = False
        self._lost: set[str] = set()  # keys of tasks that were lost once
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        call = pickle.dumps((fn, args, kwargs)) if self._pickles else b""

        def run() -> Any:
            if not self._pickles:
                return fn(*args, **kwargs)
            function, arguments, keywords = pickle.loads(call)
            return pickle.loads(pickle.dumps(function(*arguments, **keywords)))

        lists = [part for part in args if isinstance(part, list | tuple)]
        keys = {task.key for part in lists for task in part if isinstance(task, Task)}
        with self._changed:
            self.submitted += 1
            self._waiting.append((future, run, keys))
            self.most_pending = max(self.most_pending, len(self._waiting))
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.shutdowns += 1

    def end(self) -> None:
        """End the thread; the tests' own door."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._ended or len(self._waiting) >= self._late, timeout=0.002
                )
                if self._ended:
                    return
                if not self._waiting:
                    continue
                place = self._random.randrange(len(self._waiting))
                waiting = self._waiting[place]
            self._answer(*waiting)
            with self._changed:
                self._waiting.remove(waiting)

    def _answer(self, future: Future[Any], run: Callable[[], Any], keys: set[str]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        chance = self._random.random()
        try:
            value = run()
            if chance < 0.3:
                value = run()  # delivered once, computed twice
        except BaseException as error:
            future.set_exception(error)
            return
        if chance > 0.8 and self.broken < 3 and not keys & self._lost:
            self.broken += 1
            self._lost |= keys
            future.set_exception(BrokenExecutor("the adversary lost it"))
        else:
            future.set_result(value)
