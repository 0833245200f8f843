"""Other ways to run a neural network's forward and backward pass.

The package is a lazy façade (PEP 562): importing it loads nothing heavy. Sub-packages and the
names of the core appear on first use:

>>> import byways as bw
>>> chain = bw.LayerChain.from_arrays([([[1.0], [-1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])])
>>> chain([-3.0])
array([3.])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byways import core, networks, parallel, regions, runs, sparse_inference
    from byways.core import Affine, Box, LayerChain, Polytope
    from byways.networks import as_chain

__version__ = "0.1.0"

__all__ = [
    "Affine",
    "Box",
    "LayerChain",
    "Polytope",
    "__version__",
    "as_chain",
    "core",
    "networks",
    "parallel",
    "regions",
    "runs",
    "sparse_inference",
]

_HOME = {
    "Affine": "byways.core",
    "Box": "byways.core",
    "LayerChain": "byways.core",
    "Polytope": "byways.core",
    "as_chain": "byways.networks",
}
_PACKAGES = frozenset({"core", "networks", "parallel", "regions", "runs", "sparse_inference"})


def __getattr__(name: str) -> Any:
    """Load a sub-package or a name of the core when it is first asked for."""
    if name in _PACKAGES:
        return importlib.import_module(f"byways.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'byways' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
