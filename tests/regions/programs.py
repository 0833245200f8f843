"""Modules of tests as processes of their own, to be watched, killed and waited for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["Program", "Start", "peak"]

ROOT = Path(__file__).parents[2]

Start = Callable[..., "Program"]  # of the fixture ``start``: a module and its arguments


class Program:
    """``python -m MODULE ARGUMENTS``, in a session of its own."""

    def __init__(self, module: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Wait for something to happen while it runs."""
        end = time.monotonic() + 300
        while not true():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "nothing came"
            time.sleep(0.001)

    def finish(self) -> tuple[list[str], int]:
        """Wait for what it prints; give also the largest peak of its processes in MiB."""
        largest, end = 0, time.monotonic() + 300
        while self.process.poll() is None and time.monotonic() < end:
            largest = max(largest, _largest_peak(self.process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1)
        output, errors = self.process.communicate(timeout=1)
        assert self.process.returncode == 0, errors
        return output.split(), largest

    def kill(self) -> None:
        """Kill the process; its workers notice by themselves."""
        self.process.kill()
        self.process.communicate()

    def end(self) -> None:
        """Kill what is left of it, workers included."""
        if self.process.poll() is None:
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
        self.process.communicate()


def peak() -> int:
    """Give the largest size that this process had in memory, in MiB."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset) >> 20
    if sys.platform == "linux":  # where ru_maxrss would count the parent's memory too
        return _high_water(Path("/proc/self"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20


def _largest_peak(session: int) -> int:
    """Give the largest peak, in MiB, of the processes of a session; 0 where /proc is missing."""
    found = [0]
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                found.append(_high_water(folder))
    return max(found)


def _high_water(folder: Path) -> int:
    lines = (folder / "status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return int(status.get("VmHWM", "0 kB").split()[0]) >> 10
