"""What starting costs: seconds and memory of fresh interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from _ratio import Pace, Row, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["budgets"]

_TIMED = """
import time
start = time.process_time()
{}
print("found", time.process_time() - start)
"""
_HELP = """
import contextlib, io, sys
sys.argv = ["byways", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
    from byways.cli import main
    main()
assert "regions" in said.getvalue()
"""
_RESIDENT = """
def resident():
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""
# The worker is asked through eval, so that nothing but the library's own work function is loaded.
_WORKER = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import byways as bw
from byways.networks.generate import random_network
chain = random_network((4, 24, 24, 1), rng=0)
with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
    total = bw.regions.count_regions(chain, (-1, 1), method="simplex", executor=pool).total
    modules = pool.submit(eval, "sorted(__import__('sys').modules)").result()
    status = pool.submit(eval, "open('/proc/self/status').read()").result()
assert total > 20_000 and "byways.regions._simplex" in modules and "torch" not in modules
print("found", next(x.split()[1] for x in status.splitlines() if x.startswith("VmRSS")))
"""
_IMPORTS = "\n".join(("import byways.regions", "byways.regions.count_regions"))


def budgets(pace: Pace) -> Iterator[Row]:
    """Compare start-up with that of PyTorch: CPU seconds, then resident memory."""
    rows = [
        ("start: import byways", "import byways", 0.05),
        ("start: byways --help", _HELP, 0.15),
    ]
    if find_spec("torch") is None:
        for claim, _, goal in rows:
            yield replace(missing(claim, "byways", "import torch", goal, "torch"), at_most=True)
        yield replace(missing("memory", "worker", "torch", 0.35, "torch"), at_most=True)
        return
    for claim, code, goal in rows:
        if "byways.cli" in code and find_spec("byways.cli") is None:
            yield replace(missing(claim, "--help", "torch", goal, "byways.cli"), at_most=True)
            continue
        yield _start(claim, code, goal, pace)
    yield _memory(pace)


def _start(claim: str, code: str, goal: float, pace: Pace) -> Row:
    ours, torch = [], []
    for _ in range(pace.rounds):
        ours.append(_found(_TIMED.format(code)))
        torch.append(_found(_TIMED.format("import torch")))
    ratios = [a / b for a, b in zip(ours, torch, strict=True)]
    return Row(
        claim,
        "ours",
        "import torch",
        ratio=min(ours) / min(torch),
        goal=goal,
        at_most=True,
        spread=(min(ratios), max(ratios)),
        rounds=(len(ours), len(torch)),
        seconds=(min(ours), min(torch)),
    )


def _memory(pace: Pace) -> Row:
    claim, goal = "memory: region worker", 0.35
    if not sys.platform.startswith("linux"):
        return replace(missing(claim, "worker", "torch", goal, "/proc"), at_most=True)
    rounds = 1 if pace.quick else 3  # memory hardly varies
    tail = "\nprint('found', resident())"
    worker = [_found(_WORKER) / 1024 for _ in range(rounds)]
    torch = [_found(_RESIDENT + "import torch" + tail) / 1024 for _ in range(rounds)]
    imports = _found(_RESIDENT + _IMPORTS + tail) / 1024
    numba = _found(_RESIDENT + "import numba" + tail) / 1024
    ratios = [a / b for a, b in zip(worker, torch, strict=True)]
    return Row(
        claim,
        f"{min(worker):.0f} MiB",
        f"with torch {min(torch):.0f} MiB",
        ratio=min(worker) / min(torch),
        goal=goal,
        at_most=True,
        spread=(min(ratios), max(ratios)),
        rounds=(rounds, rounds),
        counted={"byways.regions alone, MiB": round(imports), "numba alone, MiB": round(numba)},
    )


def _found(code: str) -> float:
    """Run code in a fresh interpreter and give the number that it prints after ``found``."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    if done.returncode:
        raise RuntimeError(f"a fresh interpreter failed:\n{done.stderr}")
    return float(done.stdout.rpartition("found ")[2])
