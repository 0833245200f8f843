"""``byways worker``."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from byways.cli._options import Debug, Directory, Idle, Lease, Source

if TYPE_CHECKING:
    from byways.runs import Result

__all__ = ["EPILOGUE", "worker"]

EPILOGUE = """\
Examples:
  byways worker runs/model
  byways worker runs/model --queue amqp --idle 600

--queue amqp takes the address of the broker from the variable BYWAYS_AMQP_URL.
"""


def worker(
    directory: Directory,
    /,
    *,
    queue: Source = "folder",
    lease: Lease = 60.0,
    idle: Idle = None,
    debug: Debug = False,
) -> int:
    """Work on the tasks of byways regions --queue, until its run is complete."""
    from threadpoolctl import threadpool_limits

    from byways.cli._compute import job
    from byways.cli._elsewhere import quiet
    from byways.cli._errors import COMPLETE, as_misuse
    from byways.cli._progress import clock
    from byways.runs import serve_queue

    quiet()
    logging.basicConfig(format="byways: %(message)s", level=logging.WARNING, stream=sys.stderr)
    seconds, tasks = 0.0, 0

    def note(result: Result) -> None:
        nonlocal seconds, tasks
        seconds, tasks = seconds + result.seconds, tasks + 1

    if not directory.exists():
        print(f"byways: waiting for a run in {str(directory)!r}", file=sys.stderr)
    work, load = job()
    try:
        with as_misuse(), threadpool_limits(1):
            serve_queue(directory, work, load, queue=queue, lease=lease, idle=idle, listener=note)
    finally:
        print(f"byways: worker finished {tasks:,} tasks in {clock(seconds)}", file=sys.stderr)
    return COMPLETE
