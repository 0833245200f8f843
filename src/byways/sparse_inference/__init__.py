"""Inference edge by edge: orders of a sparse network's edges, what they cost, and running them.

>>> import byways as bw
>>> graph = bw.sparse_inference.random_sparse([64, 128, 10], 0.1, rng=0)
>>> order = bw.sparse_inference.order_edges(graph, memory=32)
>>> report = bw.sparse_inference.simulate(graph, order, memory=32)
>>> report.lower_bound <= report.total
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from byways.core.optional import require

if TYPE_CHECKING:
    from byways.sparse_inference._cache import simulate_cache
    from byways.sparse_inference._challenge import read_graph_challenge
    from byways.sparse_inference._compile import compile_network
    from byways.sparse_inference._environment import EdgeOrderEnv
    from byways.sparse_inference._finders import order_edges
    from byways.sparse_inference._generate import compact_growth, radix_net, random_sparse
    from byways.sparse_inference._graph import EdgeGraph
    from byways.sparse_inference._order import EdgeOrder
    from byways.sparse_inference._simulate import simulate
    from byways.sparse_inference._train_policy import train_order_policy

__all__ = [
    "EdgeGraph",
    "EdgeOrder",
    "EdgeOrderEnv",
    "compact_growth",
    "compile_network",
    "order_edges",
    "radix_net",
    "random_sparse",
    "read_graph_challenge",
    "simulate",
    "simulate_cache",
    "train_order_policy",
]

# Loaded on first use, so that asking for help does not load the kernels.
_HOME = {
    "EdgeGraph": "_graph",
    "EdgeOrder": "_order",
    "EdgeOrderEnv": "_environment",
    "compact_growth": "_generate",
    "compile_network": "_compile",
    "order_edges": "_finders",
    "radix_net": "_generate",
    "random_sparse": "_generate",
    "read_graph_challenge": "_challenge",
    "simulate": "_simulate",
    "simulate_cache": "_cache",
    "train_order_policy": "_train_policy",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "EdgeOrderEnv":  # its base class is another package's
        require("gymnasium", extra="rl", purpose="EdgeOrderEnv")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
