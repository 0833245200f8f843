"""Claims about byways.regions: its engines, a peer, two workers, and what starting costs.

Usage: python benchmarks/regions.py [--quick] [--only NAME] [--json FILE]

Single-thread claims are in CPU seconds (children included), the claim about workers in wall time.
Networks are those that PyTorch draws with seed 0. The domain is [-1, 1]^d, or [0, 1]^784 for 784
inputs, unless a claim says otherwise. Seconds are those of whole public calls, but for the rows
that say "walk alone".
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from _budgets import budgets
from _networks import name, seeded_maxout, seeded_network
from _peers import Relucent, is_facet, lacking
from _ratio import Pace, Row, Side, compare, main, minima, missing, wall_seconds
from _regions_kernels import KNOWN, as_set, edges, programs, walk_alone, witnesses

from byways.regions import WholeSpace, count_regions, enumerate_regions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from byways.regions import RegionCount, RegionReport

Widths = tuple[int, ...]

_UNIT = (-1.0, 1.0)


def simplex(pace: Pace) -> Iterator[Row]:
    """One live dictionary against one HiGHS program for each candidate."""
    nets: list[Widths] = [(2, 16, 16), (2, 32, 32), (3, 16, 16), (4, 12, 12)]
    goals = {(2, 16, 16): 1_000.0}
    for widths in nets[:1] if pace.quick else nets:
        chain = seeded_network(*widths)
        row = compare(
            f"simplex: {name(widths)}, signs and witnesses",
            Side("simplex", partial(enumerate_regions, chain, _UNIT, method="simplex")),
            Side("lp", partial(enumerate_regions, chain, _UNIT, method="lp", solver="highs")),
            pace=pace,
            same=partial(_same_regions, widths),
        )
        yield replace(row, counted=_counted(row, widths))
        if widths in goals:
            yield _walks(widths, pace, goals[widths])
            yield compare(
                f"simplex: {name(widths)}, count",
                Side("simplex", partial(count_regions, chain, _UNIT, method="simplex")),
                Side("lp", partial(count_regions, chain, _UNIT, method="lp", solver="highs")),
                pace=pace,
                same=_same_counts,
            )


def vertices(pace: Pace) -> Iterator[Row]:
    """Corners against the dictionary."""
    nets: list[Widths] = [(2, 32, 32), (2, 256, 256), (3, 32, 32), (4, 24, 24), (5, 16, 16)]
    for widths in nets[:1] if pace.quick else nets:
        chain = seeded_network(*widths)
        yield compare(
            f"vertices: {name(widths)}",
            Side("vertices", partial(enumerate_regions, chain, _UNIT, method="vertices")),
            Side("simplex", partial(enumerate_regions, chain, _UNIT, method="simplex")),
            pace=pace,
            same=partial(_same_regions, widths),
            goal=1.0,
        )


def linear(pace: Pace) -> Iterator[Row]:
    """Time against number of regions, over widths."""
    for inputs, domain in ((4, _UNIT), (64, (0.0, 1.0))):
        widths = range(3, 7) if pace.quick else range(6, 12)
        chains = [seeded_network(inputs, n, n) for n in widths]
        calls = [partial(enumerate_regions, c, domain, method="simplex") for c in chains]
        seconds, reports = minima(list(calls), pace=pace)
        counts = [len(report) for report in reports]
        yield _fitted(f"linear: {inputs}-n-n, n = {widths[0]}..{widths[-1]}", counts, seconds)


def maxima(pace: Pace) -> Iterator[Row]:
    """A state for each number that may be the largest, against all matches of a tournament."""
    nets: list[Widths] = [(3, 4, 4), (4, 6, 6), (6, 6, 5)]
    for widths in nets[:1] if pace.quick else nets:
        claim = f"maxima: {name(widths)}, each unit the largest of 4, count"
        if absent := lacking("torch"):
            yield missing(claim, "winners", "matches", 1.0, absent)
            continue
        call = partial(count_regions, seeded_maxout(*widths), _UNIT, method="simplex")
        listing = partial(enumerate_regions, seeded_maxout(*widths), _UNIT, keep=("signs",))
        winners, matches = listing(), listing(maxima="matches")
        row = compare(
            claim,
            Side("winners", call),
            Side("matches", partial(call, maxima="matches")),
            pace=pace,
            same=lambda ours, _, reports=(winners, matches): _same_winners(ours, *reports),
            goal=1.0,
        )
        yield replace(row, counted={"winners": len(winners), "matches": len(matches)})


def relucent(pace: Pace) -> Iterator[Row]:
    """Facet flips with Gurobi: in the whole space, and in a square."""
    spaces: list[Widths] = [(2, 6, 6)] if pace.quick else [(2, 16, 16), (3, 16, 16), (2, 32, 32)]
    squares: list[Widths] = [(2, 6, 6)] if pace.quick else [(2, 32, 32)]
    for widths in spaces:
        yield from _against_relucent(widths, None, 3_000.0, pace)
    for widths in squares:
        yield from _against_relucent(widths, 1.0, 20_000.0, pace)


def workers(pace: Pace) -> Iterator[Row]:
    """Two processes against one, for a minute of work; starting them counts.

    First what two cores of this machine do at best: two counts that know nothing of each other.
    """
    narrow = (784, 8, 8) if pace.quick else (784, 12, 12)
    once = partial(count_regions, seeded_network(*narrow), (0.0, 1.0), method="wide")

    def side_by_side() -> list[RegionCount]:
        with ThreadPoolExecutor(2) as threads:
            return [future.result() for future in [threads.submit(once) for _ in range(2)]]

    yield compare(
        f"workers: two counts of {name(narrow)}, wall time: the limit of two cores here",
        Side("side by side", side_by_side),
        Side("one after the other", lambda: [once(), once()]),
        pace=pace,
        same=lambda ours, theirs: _same_counts(ours[0], theirs[0]) or _same_counts(*ours),
        clock=wall_seconds,
    )
    widths = (784, 11, 11) if pace.quick else (784, 14, 14)
    call = partial(count_regions, seeded_network(*widths), (0.0, 1.0), method="wide")
    row = compare(
        f"workers: {name(widths)}, count, two against one, wall time, pool start included",
        Side("two", partial(call, workers=2)),
        Side("one", partial(call, workers=1)),
        pace=pace,
        same=_same_counts,
        goal=1.8,
        clock=wall_seconds,
    )
    yield row


def _against_relucent(
    widths: Widths, radius: float | None, goal: float, pace: Pace
) -> Iterator[Row]:
    """Run the peer once or more, for both claims: it does the same work in either."""
    where = "whole space" if radius is None else "[-1, 1]^2"
    claim = f"relucent: {where}, {name(widths)}"
    ours, peer = ("count_regions", "report, adjacency"), "relucent 1.0"
    count, full = f"{claim}, count", f"{claim}, signs, witness, facets, neighbours"
    if absent := lacking("relucent", "gurobipy", "torch"):
        yield missing(count, ours[0], peer, goal, absent)
        yield missing(full, ours[1], peer, 300.0, absent)
        return
    chain = seeded_network(*widths)
    domain = WholeSpace(widths[0]) if radius is None else (-radius, radius)
    smallest = Relucent(seeded_network(widths[0], 1), radius).search
    start_up = 0.0 if pace.quick else min(minima([smallest], pace=Pace(quick=True))[0])
    counting = compare(
        count,
        Side(ours[0], partial(count_regions, chain, domain)),
        Side(peer, Relucent(chain, radius).search, start_up),
        pace=pace,
        same=partial(_same_as_relucent, chain, domain),
        goal=goal,
    )
    told = {"start-up of the peer's worker, not counted, s": round(start_up, 2)}
    yield replace(counting, counted=told)
    listing = partial(_with_neighbours, partial(enumerate_regions, chain, domain))
    yield _beside(replace(counting, claim=full, ours=ours[1], goal=300.0), listing, pace)


def _beside(counting: Row, listing: Any, pace: Pace) -> Row:
    """Compare the peer's search of a row that is there with a fuller call of ours."""
    if counting.seconds is None:
        return counting
    seconds = min(minima([listing], pace=pace)[0])
    return replace(
        counting,
        ratio=counting.seconds[1] / seconds,
        spread=None,
        rounds=(pace.rounds, counting.rounds[1]),
        seconds=(seconds, counting.seconds[1]),
        first_seconds=None,
        counted={"note": "the peer's search is that of the row above, timed before ours"},
    )


def _with_neighbours(listing: Any) -> RegionReport:
    report: RegionReport = listing()
    report.adjacency()
    return report


def _fitted(claim: str, counts: list[int], seconds: list[float]) -> Row:
    """Fit a line; the ratio is the share of variance that it explains."""
    x, y = np.array(counts, dtype=float), np.array(seconds)
    slope, base = np.polyfit(x, y, 1)
    rest = y - (slope * x + base)
    share = 1.0 - float((rest**2).sum() / ((y - y.mean()) ** 2).sum())
    return Row(
        claim,
        f"{slope * 1e6:.3g} μs a region",
        f"line, {base * 1e3:.3g} ms at 0",
        ratio=share,
        goal=0.98,
        counted={
            "regions": counts,
            "ms": [float(f"{s * 1e3:.4g}") for s in seconds],
            "slope of the logarithms": round(float(np.polyfit(np.log(x), np.log(y), 1)[0]), 3),
        },
    )


def _counted(row: Row, widths: Widths) -> dict[str, Any]:
    """Count the work of both engines once, apart from the timing."""
    if row.seconds is None:
        return {}
    programs, listed = walk_alone(widths, "lp")()
    steps, _ = walk_alone(widths, "simplex")()
    regions = len(listed)
    return {
        "regions": regions,
        "programs": programs,
        "programs a region": round(programs / regions, 2),
        "ms a program": round(1e3 * row.seconds[1] / programs, 3),
        "tests and pivots a region": round(steps / regions, 1),
        "μs a region": round(1e6 * row.seconds[0] / regions, 2),
    }


def _walks(widths: Widths, pace: Pace, goal: float) -> Row:
    """Compare the engines without what surrounds them, which weighs where regions are few."""
    return compare(
        f"simplex: {name(widths)}, walk alone",
        Side("simplex", walk_alone(widths, "simplex")),
        Side("lp", walk_alone(widths, "lp")),
        pace=pace,
        same=lambda ours, peer: "" if as_set(ours[1]) == as_set(peer[1]) else "other regions",
        goal=goal,
    )


def _same_regions(widths: Widths, ours: RegionReport, peer: RegionReport) -> str:
    """Compare sets of sign vectors, and their number with the published one."""
    mine, theirs = as_set(ours.signs), as_set(peer.signs)
    known = KNOWN.get(widths, len(mine))
    if mine != theirs:
        return f"{len(mine - theirs)} regions only in ours, {len(theirs - mine)} only in the peer's"
    if not len(mine) == len(ours) == known:
        return f"{len(ours)} regions, {len(mine)} of them different, {known} are known"
    return ""


def _same_winners(ours: RegionCount, winners: RegionReport, matches: RegionReport) -> str:
    """Compare which numbers are the largest together, of whose matches nobody knows."""
    mine, theirs = (as_set(r.network.states(r.signs)) for r in (winners, matches))
    if mine == theirs and ours.total == len(winners) == len(mine):
        return ""
    return f"{ours.total} regions, {len(mine)} states in the list, {len(theirs)} among the matches"


def _same_counts(ours: RegionCount, peer: RegionCount) -> str:
    a, b = ours.layer_counts, peer.layer_counts
    return "" if a == b and ours.total == peer.total else f"{a} and {b}"


def _same_as_relucent(chain: Any, domain: Any, ours: RegionCount, found: Any) -> str:
    """Compare the count and the sign vectors, then facets; a linear program decides disputes.

    In a square the peer names facets outside of it too, so there only signs are compared.
    """
    report = enumerate_regions(chain, domain)
    theirs = dict(zip(map(bytes, Relucent.signs(found)), Relucent.facets(found), strict=True))
    signs = report.signs
    if not ours.total == len(report) == len(found) or as_set(signs) != set(theirs):
        return f"{ours.total} regions and {len(found)}"
    if not isinstance(domain, WholeSpace):
        return ""
    border, wrong = report.adjacency().tocsr(), 0
    for k, row in enumerate(signs):
        across = signs[border.indices[border.indptr[k] : border.indptr[k + 1]]] != row
        mine = set(np.nonzero(across)[1].tolist())
        wrong += sum(is_facet(chain, row, u) != (u in mine) for u in mine ^ theirs[bytes(row)])
    return f"{wrong} facets are wrong" if wrong else ""


if __name__ == "__main__":
    sys.exit(
        main(
            "Activation regions",
            {
                "programs": programs,
                "edges": edges,
                "witnesses": witnesses,
                "simplex": simplex,
                "vertices": vertices,
                "linear": linear,
                "maxima": maxima,
                "relucent": relucent,
                "workers": workers,
                "budgets": budgets,
            },
        )
    )
