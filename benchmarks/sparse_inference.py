"""Claims about byways.sparse_inference: executors against other libraries, orders of edges.

Usage: python benchmarks/sparse_inference.py [--quick] [--only NAME] [--json FILE]

One thread each and CPU seconds, but for the claim about threads. Inputs are rows in memory on both
sides; a peer's transposition counts as ours does. Networks: "random" is four layers of 1024 with
normal weights and ReLU, "RadiX" the Graph Challenge's construction.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from _memory import PeakMemory
from _peers import lacking
from _pruned import train_pruned
from _ratio import Pace, Row, Side, compare, cpu_seconds, main, minima, missing, wall_seconds
from _sparse_peers import (
    Layers,
    MklCsr,
    OnnxDense,
    ScipyCsr,
    TorchCsr,
    TorchDense,
    mkl_library,
)
from _sparse_policy import policy

from byways.networks import as_chain
from byways.sparse_inference import (
    EdgeGraph,
    EdgeOrder,
    compile_network,
    order_edges,
    radix_net,
    random_sparse,
    simulate,
    simulate_cache,
)
from byways.sparse_inference import _execute as execute
from byways.sparse_inference._ego import ego_bytes
from byways.sparse_inference._program import Program, compile_runs
from byways.sparse_inference._roofline import multiply_add_rate
from byways.sparse_inference._simple_orders import even_destinations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_WIDTH = 1024
_SHARES = 60  # rounds of a call and the peak: a core shared with others has good and bad seconds


def batch(pace: Pace) -> Iterator[Row]:
    """Many inputs: ours against sparse products and dense ones."""
    rows = 96 if pace.quick else 1024
    goals: dict[tuple[float, str], float] = {
        (0.05, "scipy"): 4.0,
        (0.05, "torch csr"): 4.0,
        (0.2, "scipy"): 4.5,
        (0.2, "onnxruntime dense"): 2.0,
    }
    for density in (0.05,) if pace.quick else (0.01, 0.05, 0.2, 0.5):
        graph = random_sparse([_WIDTH] * 5, density)
        yield from _against(
            f"random 1024x4, density {density}, {rows} inputs", graph, rows, pace,
            ("scipy", "torch csr", "sparse_dot_mkl", "torch dense", "onnxruntime dense"),
            {name: goal for (d, name), goal in goals.items() if d == density},
        )  # fmt: skip
        if density in (0.05, 0.2):
            plain = compile_network(graph, threads=1, order=order_edges(graph, "destination"))
            run, x = compile_network(graph, threads=1), _inputs(rows)
            yield compare(
                f"random 1024x4, density {density}, {rows} inputs: the order it chooses",
                Side(run.explain().order, partial(run, x)),
                Side("destination by destination", partial(plain, x)),
                pace=pace, same=_same, goal=1.5 if density == 0.2 else None,
            )  # fmt: skip


def radix(pace: Pace) -> Iterator[Row]:
    """RadiX-Net, whose neurons share their sources in groups."""
    layers, rows = (4, 96) if pace.quick else (24, 2048)
    graph = radix_net(_WIDTH, layers)
    title = f"RadiX 1024x{layers}, {rows} inputs"
    plain = order_edges(graph, "destination")
    yield from _against(f"{title}, edge order as given", graph, rows, pace, ("scipy",),
                        {"scipy": 5.0}, order=plain)  # fmt: skip
    alike = EdgeOrder(even_destinations(graph))
    yield from _against(f"{title}, one neuron at a time, those with the same sources in turn",
                        graph, rows, pace, ("scipy",), {"scipy": 5.0}, order=alike)  # fmt: skip
    yield from _against(f"{title}, groups", graph, rows, pace, ("scipy",), {"scipy": 12.0})
    if not pace.quick:
        run, x = compile_network(graph, threads=1), _inputs(rows)
        yield _share_of_peak(f"{title}, groups: share of the peak", partial(run, x),
                             graph.edges * rows, 0.7)  # fmt: skip
    yield from _against(f"{title}, identical neurons merged", graph, rows, pace, ("scipy",), {},
                        merge=True)  # fmt: skip


def _share_of_peak(
    claim: str, call: Callable[[], NDArray[np.float32]], work: int, goal: float
) -> Row:
    """Measure a call and multiply-adds in registers in turn: a core's pace is never twice the same.

    The share is that of the best rounds of each, as every ratio here is one of minima; the spread
    is that of the shares of single rounds.
    """
    rates = []
    call()
    for _ in range(_SHARES):
        start = cpu_seconds()
        call()
        seconds = cpu_seconds() - start
        rates.append((work / seconds, multiply_add_rate()))
    ours, peaks = np.transpose(rates)
    shares = ours / peaks
    counted = {"10^9 a second": f"{ours.max() / 1e9:.1f}, peak {peaks.max() / 1e9:.1f}"}
    return Row(
        claim, "edges a second", "multiply-adds in registers", ours.max() / peaks.max(), goal,
        spread=(shares.min(), shares.max()), rounds=(_SHARES, _SHARES), counted=counted,
    )  # fmt: skip


def challenge(pace: Pace) -> Iterator[Row]:
    """The Graph Challenge's 1024 neurons, 120 layers; how much each exact simplification gives."""
    layers, rows = (12, 96) if pace.quick else (120, 12_288)
    graph, x = radix_net(_WIDTH, layers), _inputs(rows)
    ways: list[tuple[str, float, dict[str, Any]]] = [
        ("edge order as given", 9.0, {"order": order_edges(graph, "destination")}),
        (
            "one neuron at a time, those with the same sources in turn",
            9.0,
            {"order": EdgeOrder(even_destinations(graph))},
        ),
        ("groups", 15.0, {}),
        ("groups, dead inputs leave", 25.0, {"compact": 12}),
        ("identical neurons merged", 200.0, {"merge": True}),
    ]
    calls = [partial(compile_network(graph, threads=1, **way[2]), x) for way in ways]
    peer = partial(ScipyCsr(Layers.of(graph)), x)
    seconds, outputs = minima([peer, *calls], pace=pace)
    for (way, goal, _), spent, output in zip(ways, seconds[1:], outputs[1:], strict=True):
        title = f"RadiX 1024x{layers}, {rows} inputs, {way}"
        fault = _other_categories(output, outputs[0])
        yield Row(title, "byways", "scipy", None if fault else seconds[0] / spent, goal,
                  seconds=(spent, seconds[0]), fault=fault)  # fmt: skip


def single(pace: Pace) -> Iterator[Row]:
    """One input at a time."""
    for density in (0.05,) if pace.quick else (0.01, 0.05, 0.2):
        graph = random_sparse([_WIDTH] * 5, density)
        yield from _against(
            f"random 1024x4, density {density}, one input, a fifth on", graph, 1, pace,
            ("scipy", "torch csr"), {"scipy": 1.3, "torch csr": 0.95},
        )  # fmt: skip
        full = np.random.default_rng(0).normal(size=(1, _WIDTH)).astype(np.float32)
        yield from _against(
            f"random 1024x4, density {density}, one input without zeros", graph, full, pace,
            ("scipy", "torch csr"), {"scipy": 1.3, "torch csr": 0.95},
        )  # fmt: skip


def pruned(pace: Pace) -> Iterator[Row]:
    """A whole model: trained, pruned to 5 % of its weights, compiled."""
    absent = lacking("torch", "sklearn")
    title = "784-1024-1024-10 on digits, 95 % pruned"
    goals = {"torch dense": 4.0, "onnxruntime dense": 2.0}
    if absent:
        for peer, goal in goals.items():
            yield missing(f"{title}: {peer}", "byways", peer, goal, absent)
        return
    found = train_pruned(5 if pace.quick else 150)
    graph = EdgeGraph.from_chain(as_chain(found.model))
    counted = {"test accuracy, dense and pruned": f"{found.dense_accuracy} {found.accuracy}"}
    x = found.images[:96] if pace.quick else found.images
    for row in _against(f"{title}, {len(x)} images", graph, x, pace, tuple(goals), goals):
        yield replace(row, counted=row.counted | counted)


def threads(pace: Pace) -> Iterator[Row]:
    """Two threads against one, in wall time."""
    rows = 192 if pace.quick else 8192
    graph, x = random_sparse([_WIDTH] * 5, 0.05), _inputs(rows)
    yield compare(
        f"two threads, random 1024x4, density 0.05, {rows} inputs",
        Side("two", partial(compile_network(graph, threads=2), x)),
        Side("one", partial(compile_network(graph, threads=1), x)),
        pace=pace, same=_same, goal=1.7, clock=wall_seconds,
    )  # fmt: skip


def orders(pace: Pace) -> Iterator[Row]:
    """I/Os counted, not timed: lower is better, so the ratio is at most the goal."""
    small = radix_net(_WIDTH, 6)
    cases = [
        ("random 1024x4, density 0.05", random_sparse([_WIDTH] * 5, 0.05), 101, 0.55),
        ("random 500x4, density 0.1", random_sparse([500] * 5, 0.1), 100, 0.55),
        ("RadiX 1024x12", radix_net(_WIDTH, 12), 101, 0.35),
    ]
    for title, graph, memory, goal in cases[1:2] if pace.quick else cases:
        plain = simulate(graph, order_edges(graph, "destination"), memory=memory)
        best = simulate(graph, order_edges(graph, memory=memory), memory=memory)
        control = simulate(graph, order_edges(graph, "random"), memory=memory)
        yield Row(
            f"neuron I/O under LRU, memory {memory}: {title}", f"auto ({best.method})",
            "destination", best.neuron_io / plain.neuron_io, goal, at_most=True,
            counted={"auto": best.neuron_io, "destination": plain.neuron_io,
                     "random": control.neuron_io},
        )  # fmt: skip
    ring: NDArray[np.float64] = sum(
        (np.roll(np.eye(128), k, axis=1) for k in (-1, 0, 1)), np.zeros((128, 128))
    )
    chain = EdgeGraph.from_layers([ring] * 8)
    fused = simulate(chain, order_edges(chain, memory=25), memory=25)
    least = fused.lower_bound - chain.edges
    yield Row("neuron I/O, convolution of width 3, 128x8, memory 25", "auto", "lower bound",
              fused.neuron_io / least, 1.03, at_most=True)  # fmt: skip
    order = order_edges(small, "ego", memory=257)
    identity = simulate_cache(small, order, layout="identity").misses
    touched = simulate_cache(small, order).misses
    yield Row("misses of a 32 KB cache of 8 ways, EGO on RadiX 1024x6", "first touch",
              "vertex numbers", identity / touched, 2.0)  # fmt: skip


def edgewise(pace: Pace) -> Iterator[Row]:
    """Orders that leave a target after an edge or two: the kernel for them, and its layout."""
    x = _inputs(96 if pace.quick else 1024)
    small = radix_net(_WIDTH, 6)
    order = order_edges(small, "ego", memory=257)
    yield compare(
        f"EGO on RadiX 1024x6, {len(x)} inputs: numbers of the slots",
        Side("first touch", _edgewise(small, order, x, "first_touch")),
        Side("vertex numbers", _edgewise(small, order, x, "identity")), pace=pace, same=_same,
        goal=2.0,
    )  # fmt: skip
    scattered = random_sparse([_WIDTH] * 5, 0.05)
    for title, graph in ("RadiX 1024x6", small), ("random 1024x4, density 0.05", scattered):
        order = order_edges(graph, "ego", memory=257)
        yield compare(
            f"EGO on {title}, {len(x)} inputs",
            Side("edge by edge", _edgewise(graph, order, x)),
            Side("run by run", _runwise(graph, order, x)), pace=pace, same=_same,
        )  # fmt: skip


def narrow(pace: Pace) -> Iterator[Row]:
    """Levels of few neurons: against SciPy, and with tiles as long as elsewhere."""
    rows = 96 if pace.quick else 2048
    for width, layers, density in ((64, 60, 0.13), (64, 60, 0.4), (128, 30, 0.1)):
        graph = random_sparse([width] * (layers + 1), density)
        x, order = _inputs(rows)[:, :width].copy(), EdgeOrder(even_destinations(graph))
        title = f"random {width}x{layers}, density {density}, {rows} inputs"
        yield from _against(title, graph, x, pace, ("scipy",), {})
        yield compare(
            f"{title}: tiles",
            Side("long", _runwise(graph, order, x, execute.LONG_VECTORS)),
            Side("short", _runwise(graph, order, x)), pace=pace, same=_same,
        )  # fmt: skip


def _edgewise(
    graph: EdgeGraph, order: EdgeOrder, x: NDArray[np.float32], layout: str = "reuse"
) -> Callable[[], NDArray[np.float32]]:
    """Bind the kernel for short runs to an order and a numbering of the slots."""
    program = compile_runs(graph, order.permutation, layout)
    return _bound(program, execute.run_edgewise, execute.EDGE_VECTORS, program.packed_edges, x)


def _runwise(
    graph: EdgeGraph,
    order: EdgeOrder,
    x: NDArray[np.float32],
    vectors: int = execute.WIDE_VECTORS,
) -> Callable[[], NDArray[np.float32]]:
    program = compile_runs(graph, order.permutation)
    return _bound(program, execute.run_wide, vectors, program.packed, x)


def _bound(
    program: Program, kernel: Any, vectors: int, pack: Any, x: NDArray[np.float32]
) -> Callable[[], NDArray[np.float32]]:
    tile = vectors * execute.VECTOR_BYTES // x.itemsize
    packed = pack(tile, x.dtype)
    values = np.zeros(program.slots * tile + 16, np.float32)
    values = values[-values.ctypes.data % execute.LINE_BYTES // x.itemsize :]

    def run() -> NDArray[np.float32]:
        out = np.empty((len(x), len(program.outputs)), np.float32)
        kernel(x.reshape(-1), out.reshape(-1), 0, len(x), packed, values, tile)
        return out

    return run


def ego(pace: Pace) -> Iterator[Row]:
    """What finding an order costs."""
    memory, layers = 101, 12 if pace.quick else 120
    cases = [("RadiX 1024x120", partial(radix_net, _WIDTH, layers), 400.0)]
    if not pace.quick:  # first, for a process may keep what it has had
        dense = partial(random_sparse, [_WIDTH] * 5, 0.5)
        cases.insert(0, ("random 1024x4, density 0.5", dense, 3000.0))
    order_edges(random_sparse([8, 8], 0.5), "ego")  # compile
    for name, make, goal in cases:
        graph, seconds = make(), np.inf
        with PeakMemory() as peak:
            for _ in range(1 if pace.quick else 3):
                start = cpu_seconds()
                order_edges(graph, "ego", memory=memory)
                seconds = min(seconds, cpu_seconds() - start)
        nanoseconds = seconds / graph.edges * 1e9
        megabytes = peak.own / 1e6  # graphs, libraries and all
        counted = {"edges": graph.edges, "seconds": seconds, "most MB of the process": megabytes}
        yield Row(f"EGO, nanoseconds an edge: {name}", "EGO", "-", nanoseconds, goal, at_most=True,
                  counted=counted)  # fmt: skip
        extra = ego_bytes(graph.edges, graph.vertices, memory - 1)
        yield Row(f"EGO, bytes an edge: {name}", "EGO", "-", extra / graph.edges, 64.0,
                  at_most=True, counted={"MB": extra / 1e6})  # fmt: skip


def _against(
    title: str,
    graph: EdgeGraph,
    inputs: int | NDArray[np.float32],
    pace: Pace,
    peers: tuple[str, ...],
    goals: dict[str, float],
    **options: Any,
) -> Iterator[Row]:
    """Compare a compiled graph with several peers."""
    makers: dict[str, tuple[Callable[[Layers], Any], str]] = {
        "scipy": (ScipyCsr, ""),
        "torch csr": (TorchCsr, lacking("torch")),
        "sparse_dot_mkl": (MklCsr, lacking("sparse_dot_mkl") or ("" if mkl_library() else "mkl")),
        "torch dense": (TorchDense, lacking("torch")),
        "onnxruntime dense": (OnnxDense, lacking("onnx", "onnxruntime")),
    }
    run, layers = compile_network(graph, threads=1, **options), Layers.of(graph)
    x = _inputs(inputs) if isinstance(inputs, int) else inputs
    for peer in peers:
        make, absent = makers[peer]
        if absent:
            yield missing(f"{title}: {peer}", "byways", peer, goals.get(peer), absent)
            continue
        row = compare(
            f"{title}: {peer}", Side("byways", partial(run, x)),
            Side(peer, partial(make(layers), x)), pace=pace, same=_same, goal=goals.get(peer),
        )  # fmt: skip
        if row.seconds is not None:
            work = graph.edges * len(x) / 1e9
            speeds = " and ".join(f"{work / s:.1f}" for s in row.seconds)
            row = replace(row, counted={"10^9 edges a second": speeds})
        yield row


def _inputs(rows: int) -> NDArray[np.float32]:
    """Inputs that are on or off; a fifth on keeps RadiX networks undecided."""
    return (np.random.default_rng(0).random((rows, _WIDTH)) < 0.2).astype(np.float32)


def _same(ours: NDArray[Any], theirs: NDArray[Any]) -> str:
    size = float(np.abs(theirs).max(initial=1.0))
    worst = float(np.abs(ours - theirs).max(initial=0.0))
    return "" if worst <= 1e-4 * size else f"outputs differ by {worst:.3g} at a size of {size:.3g}"


def _other_categories(ours: NDArray[Any], theirs: NDArray[Any]) -> str:
    """Compare which inputs end with anything, which is what the challenge asks for, and values."""
    if not (ours.any(axis=1) == theirs.any(axis=1)).all():
        return "categories differ"
    return _same(ours, theirs)


if __name__ == "__main__":
    sys.exit(
        main(
            "byways.sparse_inference",
            {
                "batch": batch,
                "radix": radix,
                "challenge": challenge,
                "single": single,
                "pruned": pruned,
                "threads": threads,
                "orders": orders,
                "edgewise": edgewise,
                "narrow": narrow,
                "ego": ego,
                "policy": policy,
            },
        )
    )
