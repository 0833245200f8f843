"""What a type-checker must find in ``byways.regions``. Nobody runs this file."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import byways as bw
from byways.core import Affine
from byways.regions import (
    Outcome,
    RegionCount,
    RegionReport,
    Slice,
    WholeSpace,
    count_regions,
    enumerate_regions,
    iter_regions,
)

chain = bw.LayerChain.from_arrays([([[1.0]], [0.0]), ([[1.0]], [0.0])])

report = enumerate_regions(chain, bw.Box([0.0], [1.0]), workers=None, run_dir="runs/a")
assert_type(report, RegionReport)
assert_type(len(report), int)
assert_type(report.outcome, Outcome)
assert_type(report.signs, NDArray[np.uint8])
assert_type(report.affine(0), Affine)
assert_type(report.volume(0), float)
assert_type(RegionReport.load("report.npz"), RegionReport)

enumerate_regions(chain, (-1.0, 1.0), method="simplex", executor=ThreadPoolExecutor(2))
enumerate_regions(chain, bw.Polytope([[1.0]], [1.0], bw.Box([0.0], [2.0])), max_regions=10)
enumerate_regions(chain, Slice([0.0], [[1.0]], 1.0), time_limit=1.5, progress=True)

assert_type(count_regions(chain, WholeSpace(1)), RegionCount)
assert_type(count_regions(chain, WholeSpace(1)).total, int)
regions: Iterator[object] = iter_regions(chain, WholeSpace(1))
