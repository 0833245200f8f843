"""The only timer of the benchmarks: two sides, interleaved, and one table of claims.

A claim is a ratio of two things run in the same process, A B A B ..., reported as the ratio of the
minima with the spread of the ratios per round. Outputs are compared before anything is timed. The
first call of each side, with its compilers and caches, is reported apart. Short calls are repeated
until a sample is long enough for the clock.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from _machine import describe_machine, limit_threads

__all__ = [
    "Pace",
    "Row",
    "Side",
    "compare",
    "cpu_seconds",
    "main",
    "minima",
    "missing",
    "wall_seconds",
]

Clock = Callable[[], float]
_SAMPLE = 0.02  # seconds that a sample lasts at least
_MOST_REPEATS = 1_000

wall_seconds: Clock = time.perf_counter


def cpu_seconds() -> float:
    """Give the CPU time of this process and of the processes that it started and that ended."""
    try:
        import resource
    except ImportError:  # Windows counts no children
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass(frozen=True, slots=True)
class Pace:
    """How much to measure.

    A side that has used up ``patience`` seconds is not called again; the other goes on.
    """

    quick: bool = False

    @property
    def rounds(self) -> int:
        """Rounds of a comparison."""
        return 1 if self.quick else 7

    @property
    def patience(self) -> float:
        """Seconds of the clock for one side of a comparison."""
        return 0.05 if self.quick else 60.0


@dataclass(frozen=True, slots=True)
class Side:
    """A named call. ``start_up`` seconds are not counted; they were measured, not guessed."""

    name: str
    call: Callable[[], Any]
    start_up: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """One claim and what came of it.

    ``ratio`` shall be at least ``goal``, or at most with ``at_most``; a row without goal informs.
    ``fault`` says what is wrong with the outputs, ``absent`` which peer is not installed.
    """

    claim: str
    ours: str
    peer: str
    ratio: float | None = None
    goal: float | None = None
    at_most: bool = False
    spread: tuple[float, float] | None = None
    rounds: tuple[int, int] = (0, 0)
    seconds: tuple[float, float] | None = None
    first_seconds: tuple[float, float] | None = None
    counted: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    absent: str = ""

    @property
    def met(self) -> str:
        """The verdict in a word."""
        if self.fault:
            return "WRONG"
        if self.absent or self.ratio is None:
            return "missing"
        if self.goal is None:
            return "-"
        reached = self.ratio <= self.goal if self.at_most else self.ratio >= self.goal
        return "yes" if reached else "no"


@dataclass(slots=True)
class _Times:
    """The samples of one side."""

    side: Side
    clock: Clock
    first: float = 0.0
    repeats: int = 1
    samples: list[float] = field(default_factory=list)
    used: float = 0.0

    def call_first(self, patience: float = float("inf")) -> Any:
        """Call once, and take a call that outlasts the patience for the only sample."""
        start = self.clock()
        output = self.side.call()
        self.first = self.clock() - start
        if self.first > patience:
            self.samples.append(max(self.first - self.side.start_up, 1e-9))
            self.used = self.first
        return output

    def calibrate(self, pace: Pace) -> None:
        """Find how many calls a sample needs, now that everything is warm."""
        if pace.quick or self.samples or self.side.start_up:
            return
        start = self.clock()
        self.side.call()
        once = max(self.clock() - start, 1e-7)
        self.used += once
        self.repeats = min(max(1, round(_SAMPLE / once)), _MOST_REPEATS)

    def sample(self, pace: Pace) -> float:
        """Give the seconds of one more call, or the least so far when patience is used up."""
        if self.used >= pace.patience and self.samples:
            return min(self.samples)
        start = self.clock()
        for _ in range(self.repeats):
            self.side.call()
        taken = self.clock() - start
        self.used += taken
        self.samples.append(max(taken / self.repeats - self.side.start_up, 1e-9))
        return self.samples[-1]


def compare(
    claim: str,
    ours: Side,
    peer: Side,
    *,
    pace: Pace,
    same: Callable[[Any, Any], str],
    goal: float | None = None,
    clock: Clock = cpu_seconds,
) -> Row:
    """Time two sides against each other.

    Args:
        claim: Words for the table.
        ours: Our side.
        peer: The other.
        pace: How much to measure.
        same: Compares the outputs of the two; says in words what differs, or nothing.
        goal: Least ratio of the peer's time to ours.
        clock: What seconds are.

    Returns:
        The row; without a ratio if the outputs differ.
    """
    a, b = _Times(ours, clock), _Times(peer, clock)
    fault = same(a.call_first(), b.call_first(pace.patience))
    row = Row(claim, ours.name, peer.name, goal=goal, fault=fault)
    row = replace(row, first_seconds=(a.first, b.first))
    if fault:
        return row
    a.calibrate(pace)
    b.calibrate(pace)
    ratios = []
    for _ in range(pace.rounds):
        mine, theirs = a.sample(pace), b.sample(pace)
        ratios.append(theirs / mine)
    least = (min(a.samples), min(b.samples))
    return replace(
        row,
        ratio=least[1] / least[0],
        spread=(min(ratios), max(ratios)),
        rounds=(len(a.samples), len(b.samples)),
        seconds=least,
    )


def minima(
    calls: list[Callable[[], Any]], *, pace: Pace, clock: Clock = cpu_seconds
) -> tuple[list[float], list[Any]]:
    """Give the least seconds of several calls, interleaved, and what the first calls gave."""
    times = [_Times(Side("", call), clock) for call in calls]
    outputs = [one.call_first() for one in times]
    for one in times:
        one.calibrate(pace)
    for _ in range(pace.rounds):
        for one in times:
            one.sample(pace)
    return [min(one.samples) for one in times], outputs


def missing(claim: str, ours: str, peer: str, goal: float | None, what: str) -> Row:
    """Give the row of a claim that cannot be tried because ``what`` is not installed."""
    return Row(claim, ours, peer, goal=goal, absent=what)


def main(title: str, claims: Mapping[str, Callable[[Pace], Iterable[Row]]]) -> int:
    """Run a script's claims, print the table and write the JSON.

    Args:
        title: The script's first line.
        claims: Name and function of each group of claims.

    Returns:
        Exit status: 1 if outputs differ, or if a goal is missed and the run was not ``--quick``.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--quick", action="store_true", help="small cases: outputs, not speed")
    parser.add_argument("--only", choices=tuple(claims), metavar="NAME", help=", ".join(claims))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here")
    options = parser.parse_args()
    pace = Pace(options.quick)
    machine = describe_machine()
    with limit_threads():
        rows = list(_run(claims, options.only, pace))
    print(_header(title, machine, pace))
    print(_table(rows))
    print(_notes(rows))
    if options.json is not None:
        listed = [asdict(row) | {"met": row.met} for row in rows]
        content = {"script": title, "quick": pace.quick, **machine, "claims": listed}
        options.json.write_text(json.dumps(content, indent=1, default=str) + "\n")
    verdicts = {row.met for row in rows}
    return int("WRONG" in verdicts or ("no" in verdicts and not pace.quick))


def _run(
    claims: Mapping[str, Callable[[Pace], Iterable[Row]]], only: str | None, pace: Pace
) -> Iterator[Row]:
    for name, group in claims.items():
        if only in (None, name):
            start = time.perf_counter()
            print(f"{name} ...", file=sys.stderr, flush=True)
            yield from group(pace)
            print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def _header(title: str, machine: dict[str, Any], pace: Pace) -> str:
    parts = [f"{key} {value}" for key, value in machine["versions"].items()]
    kind = "quick: outputs compared, ratios of no weight" if pace.quick else "full"
    told = machine["machine"]
    return (
        f"\n{title} ({kind})\n"
        f"{told['cpu']}, {told['cores']} cores, load {told['load']}, {told['system']}; "
        f"threads {machine['threads']}; commit {machine['commit']}\n{', '.join(parts)}\n"
    )


def _table(rows: list[Row]) -> str:
    head = ("claim", "ours", "peer", "ratio", "per round", "rounds", "goal", "met")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    texts = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    texts.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(text.rstrip() for text in texts)


def _cells(row: Row) -> tuple[str, ...]:
    ours, peer = row.ours, row.peer
    if row.seconds is not None:
        ours, peer = (f"{n} {_time(s)}" for n, s in zip((ours, peer), row.seconds, strict=True))
    sign = "<=" if row.at_most else ">="
    return (
        row.claim,
        ours,
        peer,
        "" if row.ratio is None else _number(row.ratio),
        "" if row.spread is None else f"{_number(row.spread[0])} .. {_number(row.spread[1])}",
        "/".join(map(str, row.rounds)) if any(row.rounds) else "",
        "" if row.goal is None else f"{sign} {_number(row.goal)}",
        row.met,
    )


def _notes(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        parts = [f"{key} {value}" for key, value in row.counted.items()]
        if row.first_seconds is not None:
            first = " and ".join(map(_time, row.first_seconds))
            parts.append(f"first calls {first}")
        if row.absent:
            parts.append(f"not here: {row.absent}")
        if row.fault:
            parts.append(f"OUTPUTS DIFFER: {row.fault}")
        if parts:
            lines.append(f"{row.claim}: {'; '.join(parts)}")
    return "\n" + "\n".join(lines)


def _number(value: float) -> str:
    if value >= 100.0:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1.0 or value >= 10.0 else f"{value:.2f}"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} μs"
