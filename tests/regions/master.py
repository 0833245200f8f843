"""A program to be killed: ``python -m tests.regions.master CHAIN RUN METHOD WORKERS``."""

from __future__ import annotations

import sys

from byways.core.chain import LayerChain
from byways.regions import RegionReport, _work, enumerate_regions

BOX = (-1.0, 1.0)
# Cuts even a small question into tasks, so that there is something to interrupt.
EARLY = {
    "_SMALL_LEAVES": 10,
    "_SMALL_WORK": dict.fromkeys(("lp", "simplex", "vertices", "wide"), 20),
    "_SHARES": dict.fromkeys(("simplex", "vertices", "wide"), 1),
    "_TASKS_WANTED": 64,
}


def main(chain: str, run: str, method: str, workers: str) -> RegionReport:
    for name, value in EARLY.items():
        setattr(_work, name, value)
    network = LayerChain.load(chain)
    return enumerate_regions(network, BOX, method=method, run_dir=run, workers=int(workers))


if __name__ == "__main__":
    report = main(*sys.argv[1:])
    sys.stdout.write(f"{report.outcome.name} {len(report)} {report.digest()}\n")
