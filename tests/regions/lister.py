"""A program that lists signs: ``python -m tests.regions.lister CHAIN RUN WORKERS``.

It prints the outcome, the number of regions, the digest, and its largest size in memory in MiB.
"""

from __future__ import annotations

import sys
from pathlib import Path

from byways.core.chain import LayerChain
from byways.regions import RegionReport, enumerate_regions
from tests.regions.programs import peak


def list_signs(chain: LayerChain, run: Path | None, workers: int) -> RegionReport:
    return enumerate_regions(chain, (0, 1), keep=("signs",), run_dir=run, workers=workers)


def main(chain: str, run: str, workers: str) -> None:
    report = list_signs(LayerChain.load(chain), Path(run), int(workers))
    print(report.outcome.name, len(report), report.digest(), peak())


if __name__ == "__main__":
    main(*sys.argv[1:])
