"""Long work as data: tasks with stable keys, any executor, and directories that resume."""

from __future__ import annotations

from byways.runs._directory import RunDirectory, RunStatus
from byways.runs._running import run_tasks
from byways.runs._serving import serve_queue
from byways.runs._tasks import Context, Result, StoredContext, Task

__all__ = [
    "Context",
    "Result",
    "RunDirectory",
    "RunStatus",
    "StoredContext",
    "Task",
    "run_tasks",
    "serve_queue",
]
