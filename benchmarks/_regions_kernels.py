"""The walks of byways.regions against one linear program per node, and edges; without surroundings.

A program per node takes minutes on networks that a walk does in milliseconds, so the peer lists its
first cells and its time is scaled to all of them. The first are no easier than the rest: a fixed
order of units asks the same number of questions everywhere.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from _edges import Complex, cells, subdivide
from _networks import name, seeded_network
from _ratio import Pace, Row, Side, compare

from byways.regions import enumerate_regions
from byways.regions._question import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from byways.regions import RegionReport

    Widths = tuple[int, ...]
    Found = tuple[int, NDArray[np.uint64]]

__all__ = ["KNOWN", "as_set", "edges", "programs", "walk_alone", "witnesses"]

# Counts on [-1, 1]^d that other programs found: linear programs, edge subdivision.
KNOWN = {
    (2, 16, 16): 127,
    (2, 32, 32): 795,
    (2, 64, 64, 64): 6_668,
    (2, 256, 256): 37_357,
    (3, 16, 16): 1_276,
    (3, 32, 32): 11_512,
    (4, 24, 24): 36_394,
    (5, 16, 16): 15_621,
    (6, 12, 12): 7_990,
    (8, 10, 10): 8_197,
}
_UNIT = (-1.0, 1.0)
_SAMPLE = 300  # cells of the peer


def programs(pace: Pace) -> Iterator[Row]:
    """Cells per second of a walk against those of one HiGHS program for each node."""
    goals = {
        (2, 32, 32): ("vertices", 10_000.0),
        (3, 32, 32): ("vertices", 2_000.0),
        (4, 24, 24): ("vertices", 2_000.0),
        (8, 10, 10): ("simplex", 300.0),
    }
    for widths, (method, goal) in goals.items():
        few = 20 if pace.quick else _SAMPLE
        ours, peer = walk_alone(widths, method), walk_alone(widths, "lp", most=few)
        row = compare(
            f"{method}: {name(widths)}, walk alone, per cell",
            Side(method, ours),
            Side(f"lp, first {few}", peer),
            pace=pace,
            same=partial(_first_cells, widths),
            goal=goal,
        )
        yield _scaled(row, KNOWN[widths] / few)


def edges(pace: Pace) -> Iterator[Row]:
    """Whole calls, signs and witnesses, against subdividing edges with NumPy."""
    goals = {(2, 256, 256): 50.0, (3, 32, 32): 4.0, (4, 24, 24): 4.0}
    for widths, goal in {(2, 16, 16): None}.items() if pace.quick else goals.items():
        chain = seeded_network(*widths)
        yield compare(
            f"edges: {name(widths)}, whole call",
            Side("enumerate_regions", partial(enumerate_regions, chain, _UNIT)),
            Side("edge subdivision", partial(subdivide, chain, *_UNIT)),
            pace=pace,
            same=partial(_same_cells, widths),
            goal=goal,
        )


def witnesses(pace: Pace) -> Iterator[Row]:
    """A point in each cell, next to signs alone."""
    nets = {(3, 32, 32): "vertices", (8, 10, 10): "simplex"}
    for widths, method in nets.items():
        row = compare(
            f"witnesses: {name(widths)}, {method}, walk alone, time with them to time without",
            Side("signs", walk_alone(widths, method)),
            Side("signs and witnesses", walk_alone(widths, method, keep=("signs", "witness"))),
            pace=pace,
            same=lambda ours, peer: "" if np.array_equal(ours[1], peer[1]) else "other signs",
            goal=2.0,
        )
        yield replace(row, at_most=True)


def walk_alone(
    widths: Widths, method: str, most: int | None = None, keep: tuple[str, ...] = ("signs",)
) -> Callable[[], Found]:
    """Ready an engine, its arrays laid out; a call gives its steps and its signs."""
    question = Question.ask(
        seeded_network(*widths),
        _UNIT,
        method=method,
        solver="highs",
        exact="float",
        tolerance=1e-9,
        keep=keep,
    )
    problem = question.problem()

    def walk() -> Found:
        started, words = question.walk(problem, np.zeros(0, dtype=np.uint8)), []
        found = 0
        while not started.finished and (most is None or found < most):
            room = 4_096 if most is None else most - found
            words.append(started.advance(room, 10**9).words)
            found += len(words[-1])
        return started.work, np.concatenate(words)

    return walk


def as_set(signs: NDArray[Any]) -> set[bytes]:
    """Give rows as a set."""
    return set(map(bytes, np.ascontiguousarray(signs)))


def _scaled(row: Row, factor: float) -> Row:
    if row.ratio is None or row.spread is None or row.seconds is None:
        return row
    return replace(
        row,
        ratio=row.ratio * factor,
        spread=(row.spread[0] * factor, row.spread[1] * factor),
        counted={"the peer's seconds in the ratio": f"scaled by {factor:.4g} to all cells"},
    )


def _first_cells(widths: Widths, ours: Found, peer: Found) -> str:
    mine, theirs = as_set(ours[1]), as_set(peer[1])
    if len(mine) != len(ours[1]) or len(mine) != KNOWN[widths]:
        return f"{len(ours[1])} cells, {len(mine)} of them different, {KNOWN[widths]} are known"
    return f"{len(theirs - mine)} of the peer's cells are missing" if theirs - mine else ""


def _same_cells(widths: Widths, ours: RegionReport, peer: Complex) -> str:
    mine, theirs = as_set(ours.signs), as_set(cells(peer))
    if mine == theirs and len(mine) == KNOWN[widths]:
        return ""
    return f"{len(mine - theirs)} cells only in ours, {len(theirs - mine)} only in the peer's"
