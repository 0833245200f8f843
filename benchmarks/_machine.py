"""What a measurement depends on: the machine, the versions, the commit, the threads."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["describe_machine", "limit_threads"]

_PACKAGES = ("byways", "numpy", "scipy", "numba", "highspy", "torch", "relucent", "gurobipy", "jax")
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def limit_threads() -> Iterator[None]:
    """Pin linear algebra to one thread, here and in processes that are started from here."""
    from threadpoolctl import threadpool_limits

    os.environ.update(dict.fromkeys(_VARIABLES, "1"))
    with threadpool_limits(1):
        yield


def describe_machine() -> dict[str, Any]:
    """Give machine, versions, commit and threads, ready for JSON."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "missing"
    if versions["byways"] == "missing":  # run from a checkout that is not installed
        import byways

        versions["byways"] = byways.__version__
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "load": load,
            "system": f"{platform.system()} {platform.machine()}",
        },
        "threads": 1,
        "versions": versions,
        "commit": _commit(),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _commit() -> str:
    """Give the commit that runs, with a plus sign if files differ from it."""
    folder = Path(__file__).resolve().parent
    try:
        head = _git(folder, "rev-parse", "--short", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
