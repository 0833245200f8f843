"""Exact activation regions: the polytopes on which a piecewise-linear network is affine.

>>> import byways as bw
>>> from byways.networks import example
>>> report = bw.regions.enumerate_regions(example("tent").chain, (0, 1))
>>> len(report)
1024
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byways.regions._count import RegionCount
    from byways.regions._domains import Slice, WholeSpace
    from byways.regions._enumeration import (
        count_regions,
        enumerate_regions,
        iter_regions,
        region_at,
    )
    from byways.regions._estimate import estimate_regions
    from byways.regions._outcome import Outcome as Outcome  # part of reports, not of __all__
    from byways.regions._plot import plot_slice
    from byways.regions._proof import check_proof
    from byways.regions._report import RegionReport
    from byways.regions._unsafe import unsafe_regions

__all__ = [
    "RegionCount",
    "RegionReport",
    "Slice",
    "WholeSpace",
    "check_proof",
    "count_regions",
    "enumerate_regions",
    "estimate_regions",
    "iter_regions",
    "plot_slice",
    "region_at",
    "unsafe_regions",
]

# Loaded on first use, so that asking for help does not load the kernels.
_HOME = {
    "Outcome": "_outcome",
    "RegionCount": "_count",
    "RegionReport": "_report",
    "Slice": "_domains",
    "WholeSpace": "_domains",
    "check_proof": "_proof",
    "count_regions": "_enumeration",
    "enumerate_regions": "_enumeration",
    "estimate_regions": "_estimate",
    "iter_regions": "_enumeration",
    "plot_slice": "_plot",
    "region_at": "_enumeration",
    "unsafe_regions": "_unsafe",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
