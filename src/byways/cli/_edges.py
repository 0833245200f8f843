"""What ``byways order`` and ``byways bench-sparse`` read, compute and print."""

from __future__ import annotations

import json as to_json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.cli._errors import COMPLETE, Misuse, as_misuse
from byways.cli._files import make_room, require_picture
from byways.cli._inputs import read_file, read_source
from byways.core.plotting import new_axes, save_figure
from byways.sparse_inference import (
    compile_network,
    order_edges,
    read_graph_challenge,
    simulate,
)
from byways.sparse_inference._doors import as_graph
from byways.sparse_inference._roofline import Ceilings, plot_roofline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from byways.cli._options import SourceOptions
    from byways.sparse_inference import EdgeGraph, EdgeOrder
    from byways.sparse_inference._simulate import IOReport

    Layers = list[tuple[Any, NDArray[np.float32], Any]]

__all__ = ["Wanted", "read_graph", "show_orders", "show_speed"]

_LEAST = 2
_PLAIN = ("destination", "source", "random")  # what a report sets beside the order that was found


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to find, and what to set beside it."""

    cache: int
    method: str
    policy: str
    max_steps: int
    seed: int
    report: bool


def read_graph(network: Path | None, source: SourceOptions) -> tuple[EdgeGraph, str]:
    """Read a network file, an example, or a folder of the Graph Challenge."""
    if network is not None and network.is_dir() and source.example is None:
        return read_graph_challenge(network), network.name
    if network is not None and network.is_file() and source.example is None:
        return read_file(network, source, as_graph), network.name
    found = read_source(network, source)
    return as_graph(found.chain), found.name


def show_orders(
    graph: EdgeGraph,
    name: str,
    wanted: Wanted,
    *,
    save: Path | None,
    plot: Path | None,
    json: bool,
) -> int:
    """Find the order, count, print, and write what was asked for."""
    if save is not None:
        make_room(save, "--save")
    _prepare(plot)
    orders = _orders(graph, wanted)
    counts = [simulate(graph, one, memory=wanted.cache + 1, policy=wanted.policy) for one in orders]
    files = {}
    if save is not None:
        orders[0].save(save)
        files["saved"] = str(save)
    if plot is not None:
        ax = new_axes(7.0, 4.5)
        for count in counts:
            count.plot(ax)
        save_figure(ax, plot)
        files["picture"] = str(plot)
    about = {
        "format": "byways.order/1", "network": _facts(graph, name), "cache": wanted.cache,
        "policy": wanted.policy, "lower_bound": counts[0].lower_bound,
        "upper_bound": counts[0].upper_bound, "seconds": round(orders[0].seconds, 6),
        "orders": [_row(count) for count in counts], "files": files,
    }  # fmt: skip
    _say(about if json else _order_table(about), json)
    return COMPLETE


def _prepare(plot: Path | None) -> None:
    if plot is not None:
        make_room(plot, "--plot")
        require_picture(plot)


def _orders(graph: EdgeGraph, wanted: Wanted) -> list[EdgeOrder]:
    """Find the order that was asked for, and those that a report sets beside it."""
    if wanted.cache < _LEAST:
        raise Misuse(f"--cache was {wanted.cache}; an edge has two ends, so give at least 2")
    with as_misuse():
        best = order_edges(
            graph,
            wanted.method,
            memory=wanted.cache + 1,
            policy=wanted.policy,
            max_steps=wanted.max_steps,
            rng=wanted.seed,
        )
    plain = [method for method in _PLAIN if wanted.report and method != best.method]
    return [best, *(order_edges(graph, method, rng=wanted.seed) for method in plain)]


def _row(count: IOReport) -> dict[str, Any]:
    return {
        "method": count.method, "total": count.total, "reads": count.reads,
        "writes": count.writes, "weights": count.weight_reads,
        "ratio": round(count.ratio, 6), "lru_misses": count.lru_misses,
    }  # fmt: skip


def show_speed(
    graph: EdgeGraph, name: str, *, batch: int, threads: int, plot: Path | None, json: bool
) -> int:
    """Compile, compare the outputs, time the sides in turns, print, and draw if asked to."""
    if batch < 1:
        raise Misuse(f"--batch was {batch}; give a positive number of inputs")
    if threads < 1:
        raise Misuse(f"--threads was {threads}; give a positive number")
    _prepare(plot)
    run = compile_network(graph, threads=threads)
    x = np.random.default_rng(0).random((batch, len(graph.inputs)), dtype=np.float32)
    sides: dict[str, Callable[[], NDArray[Any]]] = {"byways": lambda: run(x)}
    layers = _layers(graph)
    if layers:
        dense = [(weight.toarray(), bias, act) for weight, bias, act in layers]
        sides["scipy"] = lambda: _stack(layers, x)
        sides["numpy dense"] = lambda: _stack(dense, x)
    outputs = {side: call() for side, call in sides.items()}
    size = max(float(np.abs(outputs["byways"]).max(initial=0.0)), 1.0)
    worst = max(float(np.abs(one - outputs["byways"]).max(initial=0.0)) for one in outputs.values())
    seconds = dict.fromkeys(sides, float("inf"))
    for _ in range(7):
        for side, call in sides.items():
            start = time.perf_counter()
            call()
            seconds[side] = min(seconds[side], time.perf_counter() - start)
    files = {}
    if plot is not None:
        reached = 2 * graph.edges * batch / seconds["byways"]
        save_figure(_roofline({name: (run.explain().intensity, reached)}), plot)
        files["picture"] = str(plot)
    about = {
        "format": "byways.bench-sparse/1", "network": _facts(graph, name), "batch": batch,
        "kernel": str(run.explain()), "largest_difference": worst / size,
        "seconds": seconds,
        "edges_per_second": {side: graph.edges * batch / s for side, s in seconds.items()},
        "files": files,
    }  # fmt: skip
    _say(about if json else _speed_table(about), json)
    return COMPLETE


def _roofline(points: dict[str, tuple[float, float]]) -> Axes:
    ceilings = Ceilings.measured()
    ax = plot_roofline(points, ceilings, new_axes(7.0, 5.0))
    ax.set_title("one core's ceilings")
    return ax


def _facts(graph: EdgeGraph, name: str) -> dict[str, Any]:
    return {
        "source": name, "vertices": graph.vertices, "edges": graph.edges,
        "inputs": len(graph.inputs), "outputs": len(graph.outputs), "levels": graph.levels,
    }  # fmt: skip


def _say(about: dict[str, Any] | str, json: bool) -> None:
    print(to_json.dumps(about, indent=2) if json else about)
    sys.stdout.flush()


def _order_table(about: dict[str, Any]) -> str:
    net = about["network"]
    lines = [
        f"network     {net['source']}, {net['vertices']:,} neurons, {net['edges']:,} edges",
        f"memory      {about['cache']:,} neuron values, policy {about['policy']}",
        f"bounds      {about['lower_bound']:,} to {about['upper_bound']:,} I/Os",
        "",
        f"{'order':<16}{'I/Os':>14}{'reads':>14}{'writes':>14}{'to bound':>10}",
    ]
    lines += [
        f"{row['method']:<16}{row['total']:>14,}{row['reads']:>14,}{row['writes']:>14,}"
        f"{row['ratio']:>10.3f}"
        for row in about["orders"]
    ]
    lines += ["", f"{'seconds':<12}{about['seconds']:.3g}"]
    return "\n".join([*lines, *(f"{kind:<12}{path}" for kind, path in about["files"].items())])


def _speed_table(about: dict[str, Any]) -> str:
    net, seconds = about["network"], about["seconds"]
    lines = [
        f"network     {net['source']}, {net['edges']:,} edges, {net['levels']} levels",
        f"batch       {about['batch']:,}",
        f"kernel      {about['kernel']}",
        f"difference  {about['largest_difference']:.2g} of the largest output",
        "",
        f"{'side':<16}{'seconds':>12}{'10^9 edges/s':>14}{'byways is':>12}",
    ]
    for side, spent in seconds.items():
        speed = about["edges_per_second"][side] / 1e9
        faster = "" if side == "byways" else f"{spent / seconds['byways']:.2f} x"
        lines.append(f"{side:<16}{spent:>12.3g}{speed:>14.2f}{faster:>12}")
    return "\n".join([*lines, *(f"{kind:<12}{path}" for kind, path in about["files"].items())])


def _layers(graph: EdgeGraph) -> Layers:
    """Take a plainly layered graph apart; empty if an edge skips a level or units differ."""
    from scipy import sparse

    if (graph.level[graph.targets] - graph.level[graph.sources] != 1).any():
        return []
    result, place = [], np.full(graph.vertices, -1)
    before = graph.inputs
    place[before] = np.arange(len(before))
    for level in range(1, graph.levels + 1):
        here = graph.outputs if level == graph.levels else np.flatnonzero(graph.level == level)
        kinds = np.unique(graph.activation[here])
        if len(kinds) != 1 or isinstance(graph.activations[kinds[0]], str):
            return []
        place[here] = np.arange(len(here))
        mine = graph.level[graph.targets] == level
        ends = place[graph.targets[mine]], place[graph.sources[mine]]
        if min(end.min() for end in ends) < 0:  # an end stands in no layer, as constants may
            return []
        values = graph.weights[mine].astype(np.float32)
        matrix = sparse.csr_array((values, ends), shape=(len(here), len(before)))
        bias = graph.bias[here].astype(np.float32)[:, None]
        result.append((matrix, bias, graph.activations[kinds[0]]))
        before = here
    return result


def _stack(layers: Layers, x: NDArray[np.float32]) -> NDArray[np.float32]:
    values = np.ascontiguousarray(x.T)
    for weight, bias, act in layers:
        values = weight @ values + bias
        if act.breakpoints == (0.0,) and act.slopes == (0.0, 1.0):
            values = np.maximum(values, 0)
        elif not act.is_identity:
            values = act(values).astype(np.float32)
    result: NDArray[np.float32] = values.T
    return result
