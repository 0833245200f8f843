"""What starting costs: seconds and memory of fresh interpreters."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from _peers import lacking
from _ratio import Pace, Row, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["budgets"]

_MEASURED = """
import time
start = time.process_time()
{}
print("found", time.process_time() - start, resident())
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
            return next(int(x.split()[1]) / 1024 for x in lines if x.startswith("VmRSS"))
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
"""
# The worker is asked through eval, so that it loads what the library asks of it and nothing else.
# First it has the question and the work function and waits; then it has worked.
_WORKER = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import byways as bw
from byways.networks.generate import random_network
from byways.regions._question import Question
from byways.regions import _work
from byways.regions._work import work
_work._SMALL_LEAVES = 100  # beyond this, work is handed out
chain = random_network((4, 24, 24, 1), rng=0)
options = dict(solver="auto", exact="float", tolerance=1e-9, keep=("signs",))
question = Question.ask(chain, (-1, 1), method="simplex", **options)
def resident(pool):
    status = pool.submit(eval, "open('/proc/self/status').read()").result()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if "VmRSS" in line)
with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
    assert pool.submit(question.digest).result() == question.digest()
    pool.submit(getattr, work, "__name__").result()
    idle = resident(pool)
    total = bw.regions.count_regions(chain, (-1, 1), method="simplex", executor=pool).total
    modules = pool.submit(eval, "sorted(__import__('sys').modules)").result()
    worked = resident(pool)
assert total > 20_000 and "byways.regions._simplex" in modules and "torch" not in modules
print("found", idle, worked)
"""
_PARTS = ("import numpy", "import numba", "import byways.regions._simplex")
_WORKER_GOAL, _CLAIMS = 0.35, {"import byways": 0.05, "byways --help": 0.15}


def budgets(pace: Pace) -> Iterator[Row]:
    """Compare start-up with that of PyTorch: CPU seconds, then resident memory."""
    absent = {claim: lacking("torch") for claim in _CLAIMS}
    absent["byways --help"] = absent["byways --help"] or lacking("byways.cli")
    if lacking("torch"):
        for claim, goal in (*_CLAIMS.items(), ("region worker", _WORKER_GOAL)):
            yield replace(missing(claim, "ours", "torch", goal, "torch"), at_most=True)
        return
    codes = {"import byways": "import byways", "byways --help": _HELP, "torch": "import torch"}
    wanted = [name for name in codes if not absent.get(name)]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in wanted}
    for _ in range(pace.rounds):
        for name in wanted:
            found[name].append(_measure(codes[name]))
    for claim, goal in _CLAIMS.items():
        if claim in found:
            yield _start(claim, goal, found[claim], found["torch"])
        else:
            yield replace(missing(claim, "ours", "torch", goal, absent[claim]), at_most=True)
    yield from _memory([resident for _, resident in found["torch"]], pace)


def _start(
    claim: str, goal: float, ours: list[tuple[float, float]], torch: list[tuple[float, float]]
) -> Row:
    ratios = [a / b for (a, _), (b, _) in zip(ours, torch, strict=True)]
    least = (min(ours)[0], min(torch)[0])
    return Row(
        f"start: {claim}",
        "ours",
        "import torch",
        ratio=least[0] / least[1],
        goal=goal,
        at_most=True,
        spread=(min(ratios), max(ratios)),
        rounds=(len(ours), len(torch)),
        seconds=least,
    )


def _memory(torch: list[float], pace: Pace) -> Iterator[Row]:
    """Compare a worker that waits, and one that has worked, with an interpreter with PyTorch."""
    claims = ("memory: region worker, idle", "memory: region worker, has worked")
    if not sys.platform.startswith("linux"):
        for claim in claims:
            row = missing(claim, "worker", "import torch", _WORKER_GOAL, "/proc")
            yield replace(row, at_most=True)
        return
    found = [_found(_WORKER) for _ in range(1 if pace.quick else 3)]  # it hardly varies
    goals = (_WORKER_GOAL, None)  # numba alone is more than the goal, once it has compiled code
    least = map(min, zip(*found, strict=True))
    for claim, worker, goal in zip(claims, least, goals, strict=True):
        yield Row(
            claim,
            f"worker {worker:.0f} MiB",
            f"import torch {min(torch):.0f} MiB",
            ratio=worker / min(torch),
            goal=goal,
            at_most=True,
            rounds=(len(found), len(torch)),
        )
    if not pace.quick:
        for code in _PARTS:
            resident = _measure(code)[1]
            yield Row(
                f"memory: {code}",
                f"{resident:.0f} MiB",
                f"import torch {min(torch):.0f} MiB",
                ratio=resident / min(torch),
                rounds=(1, len(torch)),
            )


def _measure(code: str) -> tuple[float, float]:
    """Give CPU seconds and resident MiB of code in a fresh interpreter."""
    seconds, resident = _found(_RESIDENT + _MEASURED.format(code))
    return seconds, resident


def _found(code: str) -> list[float]:
    """Run code in a fresh interpreter and give the numbers that it prints after ``found``."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a fresh interpreter failed:\n{done.stderr}")
    return [float(number) for number in done.stdout.rpartition("found ")[2].split()]
