"""What the first call in an installation takes, when kernels are compiled, and the next process's.

Usage: python benchmarks/first_calls.py [--quick] [--only NAME] [--json FILE]

Each call is made in a fresh process that finds no compiled kernel, and again in another one that
finds what the first left. Seconds are CPU time of the whole process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from _ratio import Pace, Row, cpu_seconds, main

if TYPE_CHECKING:
    from collections.abc import Iterator

_REGIONS = """
from byways.networks.generate import random_network
from byways.regions import count_regions, enumerate_regions
chain = random_network({widths}, rng=0)
found = {function}(chain, (-1, 1), method="{method}")
print(len(found) if "{function}" == "enumerate_regions" else found.total)
"""
_CALLS = {
    "one input through a sparse network": """
import numpy as np
from byways.sparse_inference import compile_network, random_sparse
print(compile_network(random_sparse([8, 8], 0.5))(np.ones((1, 8))).shape)
""",
    "a batch through a sparse network": """
import numpy as np
from byways.sparse_inference import compile_network, random_sparse
print(compile_network(random_sparse([8, 8], 0.5))(np.ones((64, 8))).shape)
""",
    "a diagonal scan and its gradient": """
import torch
from byways.parallel import scan
a, b = torch.rand(2, 9, 1, 4).requires_grad_()
states = scan(a, b)
states.sum().backward()
print(states.shape)
""",
    "regions of a plane, counted": _REGIONS.format(
        widths=(2, 4, 1), function="count_regions", method="vertices"
    ),
    "regions in ten dimensions, listed": _REGIONS.format(
        widths=(10, 4, 1), function="enumerate_regions", method="simplex"
    ),
    "regions of wide inputs, listed": _REGIONS.format(
        widths=(64, 4, 4, 1), function="enumerate_regions", method="wide"
    ),
}


def first_calls(pace: Pace) -> Iterator[Row]:
    """Give a row for each kind of call; at a quick pace for the first."""
    for name, code in list(_CALLS.items())[: 1 if pace.quick else None]:
        with tempfile.TemporaryDirectory() as cache:
            first, again = (_process(code, cache) for _ in range(2))
        yield Row(
            f"{name}: the first call",
            "a process that compiles",
            "one that finds its kernels",
            ratio=first[0] / again[0],
            seconds=(first[0], again[0]),
            rounds=(1, 1),
            fault="" if first[1] == again[1] else f"{first[1]} is not {again[1]}",
        )


def _process(code: str, cache: str) -> tuple[float, str]:
    start = cpu_seconds()
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_CACHE_DIR": cache},
        capture_output=True,
        check=True,
        text=True,
    )
    return cpu_seconds() - start, said.stdout


if __name__ == "__main__":
    sys.exit(main("First calls", {"first_calls": first_calls}))
