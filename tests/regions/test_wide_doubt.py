"""Method "wide" where its dictionaries give up: what they leave in doubt is decided by programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from byways.networks import random_network
from byways.regions import enumerate_regions

# Kernels that stay Python read the limit when they run; compiled ones have it built in.
PROGRAM = """
import json, sys
from byways.networks import random_network
from byways.regions import _wide_dictionary, enumerate_regions
_wide_dictionary._MOST_PIVOTS = int(sys.argv[1])
found = []
for seed in range(2, 5):
    chain = random_network((24, 4, 4, 1), rng=seed)
    report = enumerate_regions(chain, (-1, 1), method="wide", keep=("signs",))
    assert report.ambiguous == 0
    found.append(report.signs.tolist())
print(json.dumps(found))
"""


@pytest.mark.parametrize("pivots", [0, 1, 400])
def test_a_limit_of_pivots_costs_programs_and_no_region(pivots: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(pivots)],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    for seed, signs in enumerate(json.loads(done.stdout), start=2):
        chain = random_network((24, 4, 4, 1), rng=seed)
        expected = enumerate_regions(chain, (-1, 1), method="lp")
        assert np.array_equal(signs, expected.signs)
