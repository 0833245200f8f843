"""A program to be killed that lists 2^LEVELS regions: ``python -m tests.regions.lister ...``.

Arguments: RUN LEVELS WORKERS. It prints the outcome, the number of regions, the digest, and the
largest resident size in MiB.
"""

from __future__ import annotations

import resource
import sys

from byways.networks import tent_chain
from byways.regions import RegionReport, enumerate_regions


def list_tents(run: str | None, levels: int, workers: int) -> RegionReport:
    return enumerate_regions(
        tent_chain(levels), (0, 1), keep=("signs",), run_dir=run, workers=workers
    )


def main(run: str, levels: str, workers: str) -> None:
    report = list_tents(run, int(levels), int(workers))
    digest = report.digest()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak //= 2**20 if sys.platform == "darwin" else 2**10
    print(report.outcome.name, len(report), digest, peak)


if __name__ == "__main__":
    main(*sys.argv[1:])
