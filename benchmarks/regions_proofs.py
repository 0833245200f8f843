"""Claims about proofs of region lists: what certifying costs, and what checking costs.

Usage: python benchmarks/regions_proofs.py [--quick] [--only NAME] [--json FILE]

Ratios of CPU time in one process, whole public calls, compilation apart. The lists of both modes
are compared before anything is timed.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from _networks import seeded_network
from _ratio import Pace, Row, Side, compare, main

from byways.core import LayerChain
from byways.networks import random_network
from byways.regions import check_proof, enumerate_regions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from byways.regions import RegionReport
    from byways.regions._proof import ProofCheck

_CASES: list[tuple[str, LayerChain, tuple[float, float]]] = [
    ("4-10-10-10", seeded_network(4, 10, 10, 10), (-1.0, 1.0)),
    ("4-10-10-10, many regions", random_network((4, 10, 10, 10, 1), rng=0), (-1.0, 1.0)),
    ("784-8-8", seeded_network(784, 8, 8), (0.0, 1.0)),
]


def cost(pace: Pace) -> Iterator[Row]:
    """Certified against float mode."""
    for name, chain, box in _CASES[:1] if pace.quick else _CASES:
        row = compare(
            f"certified: {name}, against float",
            Side("certified", partial(enumerate_regions, chain, box, exact="certified")),
            Side("float", partial(enumerate_regions, chain, box)),
            pace=pace,
            same=_same_list,
            goal=1 / 3,  # at most three times as long
        )
        yield replace(row, counted=_counted(chain, box))


def checking(pace: Pace) -> Iterator[Row]:
    """The checker against certified mode."""
    for name, chain, box in _CASES[:1] if pace.quick else _CASES:
        proof = enumerate_regions(chain, box, exact="certified").proof()
        yield compare(
            f"check: {name}, against certified mode",
            Side("check_proof", partial(check_proof, chain, box, proof)),
            Side("certified", partial(enumerate_regions, chain, box, exact="certified")),
            pace=pace,
            same=_proves,
        )


def _same_list(ours: RegionReport, peer: RegionReport) -> str:
    return "" if np.array_equal(ours.words, peer.words) else "another list"


def _proves(check: ProofCheck, report: RegionReport) -> str:
    same = check.accepted and np.array_equal(check.signs, report.signs)
    return "" if same else f"the proof does not prove the list: {check.reason}"


def _counted(chain: Any, box: tuple[float, float]) -> dict[str, int]:
    report = enumerate_regions(chain, box, exact="certified")
    proof = report.proof()
    return {"regions": len(report), "refused sides": proof.refusals, "rational": report.rational}


if __name__ == "__main__":
    sys.exit(main("Proofs of region lists", {"cost": cost, "checking": checking}))
