"""A program to be killed that lists 2^LEVELS regions: ``python -m tests.regions.lister ...``.

Arguments: RUN LEVELS WORKERS. It prints the outcome, the number of regions, the digest, and the
largest resident size of this process and of the largest worker in MiB.
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


def _peaks() -> list[int]:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return [resource.getrusage(each).ru_maxrss // unit for each in who]


def main(run: str, levels: str, workers: str) -> None:
    report = list_tents(run, int(levels), int(workers))
    print(report.outcome.name, len(report), report.digest(), *_peaks())


if __name__ == "__main__":
    main(*sys.argv[1:])
