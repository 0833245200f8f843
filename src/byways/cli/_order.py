"""``byways order`` and ``byways bench-sparse``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from byways.cli._options import Debug, Json, Network, SourceOptions

__all__ = ["bench_sparse", "order"]

Method = Literal[
    "auto",
    "destination",
    "source",
    "random",
    "blocked",
    "source_blocked",
    "ego",
    "greedy",
    "anneal",
    "eon",
]


def order(
    network: Network = None,
    /,
    *,
    source: SourceOptions = SourceOptions(),  # noqa: B008  frozen
    cache: Annotated[int, Parameter(help="Neuron values that fast memory holds.")] = 1024,
    method: Annotated[Method, Parameter(help="How to find the order.")] = "auto",
    policy: Annotated[Literal["lru", "min", "rr"], Parameter(help="Which value leaves.")] = "lru",
    max_steps: Annotated[int, Parameter(help="Changes that anneal tries.")] = 20_000,
    seed: Annotated[int, Parameter(help="For random and anneal.")] = 0,
    report: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="Count the I/Os of the plain orders too."),
    ] = False,
    save: Annotated[Path | None, Parameter(help="Write the order to this file (.npz).")] = None,
    plot: Annotated[Path | None, Parameter(help="Draw I/Os per level (.png, .pdf, .svg).")] = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Find an order of a network's edges that keeps neuron values in fast memory."""
    from byways.cli import _edges

    graph, name = _edges.read_graph(network, source)
    wanted = _edges.Wanted(cache, method, policy, max_steps, seed, report)
    return _edges.show_orders(graph, name, wanted, save=save, plot=plot, json=json)


def bench_sparse(
    network: Network = None,
    /,
    *,
    source: SourceOptions = SourceOptions(),  # noqa: B008  frozen
    batch: Annotated[int, Parameter(help="Inputs that run together.")] = 1024,
    threads: Annotated[int, Parameter(help="Threads of the compiled network.")] = 1,
    plot: Annotated[Path | None, Parameter(help="Draw a roofline (.png, .pdf, .svg).")] = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Compile a sparse network and time it beside SciPy's sparse and NumPy's dense products."""
    from byways.cli import _edges

    graph, name = _edges.read_graph(network, source)
    return _edges.show_speed(graph, name, batch=batch, threads=threads, plot=plot, json=json)
