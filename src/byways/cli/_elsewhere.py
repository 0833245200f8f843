"""Work on other machines: a Dask cluster, or the workers of a queue."""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from byways.cli._errors import Misuse, as_misuse
from byways.core.optional import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    from byways.cli._options import ElsewhereOptions

__all__ = ["Crew", "quiet"]

_CONNECT_SECONDS = "10s"


@dataclass(frozen=True, slots=True)
class Crew:
    """Who computes, and where the results are kept.

    Args:
        workers: Number of processes; None for all cores.
        run_dir: Where finished parts are kept, or None.
        options: Who computes instead.

    Raises:
        Misuse: If they exclude each other.
    """

    workers: int | None
    run_dir: Path | None
    options: ElsewhereOptions

    def __post_init__(self) -> None:
        given = [f"--{n}" for n in ("queue", "scheduler") if getattr(self.options, n) is not None]
        if len(given) > 1 or (given and self.workers != 1):
            first, second = [*given, "--workers"][:2]
            raise Misuse(f"{first} and {second} exclude each other; give one of them")
        if self.options.queue is not None and self.run_dir is None:
            raise Misuse("--queue needs --run-dir, where its workers put their results; name one")
        if self.options.queue is not None:
            from byways.runs._offering import check_queue

            with as_misuse():
                check_queue(self.options.queue, 1, None, self.run_dir)

    @contextlib.contextmanager
    def executor(self) -> Iterator[Executor | None]:
        """Give the executor of a cluster, if one was asked for.

        Raises:
            ConnectionError: If no scheduler answers.
        """
        address = self.options.scheduler
        if address is None:
            yield None
            return
        distributed: Any = require("distributed", extra="dask", purpose="--scheduler")
        try:
            client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConnectionError(
                f"--scheduler was {address!r}, where no scheduler answers: {error}"
            ) from error
        with client:
            yield client.get_executor(pure=False)  # else equal calls would be made once

    def tell_how(self) -> None:
        """Say how workers of a queue are started."""
        queue = self.options.queue
        if queue is None:
            return
        # Whoever gave an address can write it again; it may hold a password.
        shown = queue if queue in ("folder", "amqp") else "amqp://..."
        command = f"byways worker {shlex.quote(str(self.run_dir))} --queue {shown}"
        print(f"byways: start workers, any number, with: {command}", file=sys.stderr)


def quiet() -> None:
    """Keep libraries from telling on standard error what our own messages say."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
