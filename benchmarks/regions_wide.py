"""Claims about method "wide": images into narrow layers, against one linear program per node.

Usage: python benchmarks/regions_wide.py [--quick] [--only NAME] [--json FILE]

Networks are 784-n-n on the box [0, 1]^784: PyTorch's default weights with seed 0, or trained on
scikit-learn's digits enlarged to 28 x 28. One linear program per node would take days, so that side
is timed on the first 250 cells of a first-layer cell of median size and extrapolated to all cells;
the rows say so. HiGHS is timed twice, as it comes and without its presolve, which is what such
small dense programs ask for; the ratio is to the first, the second is counted beside it. All sides
run in the same process, in CPU seconds of one core.

How hard a trained network is depends on its weights: the claim takes five of them, and their median
has the goal. Ours counts all regions, always.

The claims "table", "large" and "stream" are for hand-made runs and start only by name.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from _memory import PeakMemory
from _networks import seeded_network, trained_network
from _ratio import Pace, Row, cpu_seconds, main, wall_seconds

from byways.core.domains import Box
from byways.regions import count_regions, enumerate_regions
from byways.regions._engine import Order
from byways.regions._feasibility import HighsPort
from byways.regions._layerwise import LayerwiseWalk
from byways.regions._problem import Problem
from byways.regions._wide import WideWalk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from byways.core import LayerChain

_INPUTS = 784
_SAMPLE = 250  # cells that linear programs find
_KNOWN = {8: 12_323, 11: 418_665, 12: 1_536_993}  # default weights; those from 11 on are published


class _Programs(NamedTuple):
    """What one linear program per node costs on a first-layer cell of median size."""

    seconds_a_cell: float
    programs_a_cell: float
    cells: int
    found: frozenset[bytes]
    complete: bool


class _Count(NamedTuple):
    """How many regions, and what finding them took."""

    total: int
    seconds: float
    programs: int
    outside_programs: int
    ambiguous: int


class _Plain(HighsPort):
    """HiGHS as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self._solver.resetOptions()
        self._solver.setOptionValue("output_flag", False)
        self._solver.setOptionValue("threads", 1)


def default(pace: Pace) -> Iterator[Row]:
    """PyTorch's default weights."""
    width = 8 if pace.quick else 11
    yield _row(_default(width), width, "default weights", pace, None if pace.quick else 3_000.0)


def trained(pace: Pace) -> Iterator[Row]:
    """Weights trained on digits from several starts."""
    width, seeds = (6, 2) if pace.quick else (11, 5)
    rows = []
    for seed in range(seeds):
        chain, known = trained_network(width, seed)
        words = f"trained from seed {seed}, {known:.0%} of the images known"
        rows.append(_row(chain, width, words, pace, None))
        yield rows[-1]
    ratios = [row.ratio for row in rows if row.ratio is not None]
    yield Row(
        f"784-{width}-{width}, trained, the median of {seeds} networks",
        "wide",
        "HiGHS as it comes",
        ratio=float(np.median(ratios)),
        goal=None if pace.quick else 2_000.0,
        spread=(min(ratios), max(ratios)),
        rounds=(len(ratios), len(ratios)),
    )


def two_cores(pace: Pace) -> Iterator[Row]:
    """A complete count on two cores, wall time, the start of the processes included."""
    width = 8 if pace.quick else 13
    chain = _default(width)
    count_regions(_default(4), (0, 1), method="wide")  # compiles, or reads the cache
    start = wall_seconds()
    count = count_regions(chain, (0, 1), method="wide", workers=2)
    seconds = wall_seconds() - start
    yield Row(
        f"784-{width}-{width}, default weights, count, seconds on two cores",
        "wide",
        "a goal in seconds",
        ratio=seconds,
        goal=None if pace.quick else 20.0,
        at_most=True,
        counted={"regions": count.total, "ambiguous": count.ambiguous},
        fault=_unlike(width, count.total),
    )


def table(pace: Pace) -> Iterator[Row]:
    """Widths 8 to 14: a quarter of an hour."""
    yield from _widths(range(8, 9) if pace.quick else range(8, 15), pace)


def large(pace: Pace) -> Iterator[Row]:
    """Widths 15 and 16: two hours."""
    yield from _widths(range(9, 10) if pace.quick else range(15, 17), pace)


def stream(pace: Pace) -> Iterator[Row]:
    """List all regions into a run directory on two cores, and watch memory and time."""
    for width, minutes in ((8, None),) if pace.quick else ((15, 5.0), (16, 20.0)):
        yield from _streamed(width, minutes)


def _streamed(width: int, minutes: float | None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, PeakMemory() as memory:
        start, run = time.perf_counter(), Path(folder) / "run"
        report = enumerate_regions(
            _default(width), (0, 1), method="wide", workers=2, keep=("signs",), run_dir=run
        )
        seconds = time.perf_counter() - start
        total, digest = len(report), report.digest()
        files = {"words.npy": run.glob("words.npy"), "shards": run.glob("shards/*")}
        files |= {"journal": run.glob("journal/*")}
        written = {k: sum(path.stat().st_size for path in paths) for k, paths in files.items()}
        del report
    what = f"784-{width}-{width}, default weights, listed to disk on two cores"
    yield Row(
        f"{what}, GiB of the largest process",
        "wide",
        "a goal in GiB",
        ratio=max(memory.own, *memory.others, 0) / 2**30,
        goal=None if minutes is None else 2.0,
        at_most=True,
        counted={
            "regions": total,
            "digest": digest[:16],
            "MiB of the master": memory.own >> 20,
            "MiB of each other process": [peak >> 20 for peak in memory.others],
            "MiB on disk": {name: size >> 20 for name, size in written.items()},
        },
        fault=_unlike(width, total),
    )
    yield Row(
        f"{what}, minutes",
        "wide",
        "a goal in minutes",
        ratio=seconds / 60,
        goal=minutes,
        at_most=True,
        counted={"regions a second": round(total / seconds)},
    )


def _widths(widths: range, pace: Pace) -> Iterator[Row]:
    for width in widths:
        yield _row(_default(width), width, "default weights", pace, None)
        chain, known = trained_network(width)
        goal = 500.0 if width == 15 and not pace.quick else None
        yield _row(chain, width, f"trained, {known:.0%} of the images known", pace, goal)


def _default(width: int) -> LayerChain:
    return seeded_network(_INPUTS, width, width)


def _row(chain: LayerChain, width: int, words: str, pace: Pace, goal: float | None) -> Row:
    """Count regions, and compare with programs on a sample."""
    problem = Problem.of(chain, Box(np.zeros(_INPUTS), np.ones(_INPUTS)))
    _words(WideWalk(problem, _order([1] * width)))  # compiles, or reads the cache
    ours = _complete(problem)
    cells = 20 if pace.quick else _SAMPLE
    root, known = _median(problem, width)
    tuned, plain = (_programs(problem, root, port, cells) for port in (HighsPort(), _Plain()))
    fault = _unlike(width, ours.total) if words == "default weights" else ""
    for theirs in (tuned, plain):
        if theirs.found - known or (theirs.complete and len(theirs.found) != len(known)):
            fault = f"{len(theirs.found - known)} regions only in the peer's, of {len(known)}"
    extrapolated = [ours.total * programs.seconds_a_cell for programs in (plain, tuned)]
    return Row(
        f"784-{width}-{width}, {words}: complete, against programs extrapolated",
        "wide",
        f"HiGHS as it comes, {plain.cells} cells",
        ratio=extrapolated[0] / ours.seconds,
        goal=goal,
        seconds=(ours.seconds, extrapolated[0]),
        rounds=(1, 1),
        counted={
            "regions": ours.total,
            "regions a second": round(ours.total / ours.seconds),
            "decided by a program": ours.programs,
            "by an outside solver": ours.outside_programs,
            "ambiguous": ours.ambiguous,
            "programs a region": round(plain.programs_a_cell, 2),
            "ms a program": round(1e3 * plain.seconds_a_cell / plain.programs_a_cell, 2),
            "ms without presolve": round(1e3 * tuned.seconds_a_cell / tuned.programs_a_cell, 2),
            "ratio without presolve": round(extrapolated[1] / ours.seconds),
            "note": f"the peer's time is that of {plain.cells} regions times all regions",
        },
        fault=fault,
    )


def _complete(problem: Problem) -> _Count:
    """Count all regions, and say each minute how far it is."""
    running = WideWalk(problem, Order(np.zeros(0, np.uint8), witnesses=False, listing=False))
    total, start, said = 0, cpu_seconds(), 0.0
    while not running.finished:
        total += running.advance(100_000, 10**6).leaves
        seconds = cpu_seconds() - start
        if seconds > said + 60.0:
            said = seconds
            print(f"{total:,} regions after {seconds:.0f} s", file=sys.stderr)
    solved = running.programs, running.outside_programs
    return _Count(total, cpu_seconds() - start, *solved, running.ambiguous)


def _median(problem: Problem, width: int) -> tuple[list[int], set[bytes]]:
    """Give a first-layer cell of median size among some, and its regions."""
    draw = np.random.default_rng(0)
    roots = [draw.integers(0, 2, size=width).tolist() for _ in range(15)]
    found = [set(map(bytes, _words(WideWalk(problem, _order(root))))) for root in roots]
    chosen = int(np.argsort([len(words) for words in found])[len(found) // 2])
    return roots[chosen], found[chosen]


def _programs(problem: Problem, root: list[int], solver: HighsPort, cells: int) -> _Programs:
    """Time linear programs on the first regions of a first-layer cell."""
    peer = LayerwiseWalk(problem, _order(root), solver=solver)
    found = [peer.advance(1, 10**9).words]  # down to the first cell: the prefix costs programs too
    start, before = cpu_seconds(), peer.work
    found.append(peer.advance(cells, 10**9).words)
    seconds, programs, count = cpu_seconds() - start, peer.work - before, len(found[1])
    words = frozenset(map(bytes, np.concatenate(found)))
    a_cell = seconds / max(count, 1), programs / max(count, 1)
    return _Programs(*a_cell, count, words, peer.finished)


def _order(prefix: list[int]) -> Order:
    return Order(np.array(prefix, dtype=np.uint8), witnesses=False)


def _words(running: WideWalk) -> np.ndarray:
    parts = []
    while not running.finished:
        parts.append(running.advance(10_000, 10**6).words)
    return np.concatenate(parts)


def _unlike(width: int, total: int) -> str:
    known = _KNOWN.get(width, total)
    return "" if total == known else f"{total} regions, {known} are known"


def _chosen() -> dict[str, Any]:
    """Give the claims: long ones only where they are named."""
    short = {"default": default, "trained": trained, "two_cores": two_cores}
    long = {"table": table, "large": large, "stream": stream}
    return short | {name: call for name, call in long.items() if name in sys.argv}


if __name__ == "__main__":
    sys.exit(main('Activation regions, method "wide"', _chosen()))
