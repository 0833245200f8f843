# sizes: six experiments that share their networks, orders and timer
"""
What an order of edges is worth today
=====================================

The report on edge orders (2023) runs a sparse network edge by edge, one input at a time, and finds
that its greedy order EGO halves the cache misses and with them the time. This script repeats its
experiments, figures 3 to 7: RadiX and random networks of up to 16 layers, their misses, densities
up to one half, and the networks of 16 neurons for the learned order EON. It adds two things: the
control of a shuffled order, and today's libraries. A roofline says what the compiled executor has
left to gain. ``--full`` takes the report's sizes; the default is smaller.
"""

# %%
# One input, edge by edge
# -----------------------
# ``walk`` is the report's algorithm: one multiply-add an edge, in whatever order, and the
# activation after the last edge into a neuron. Orders are compared with SciPy's and PyTorch's
# products of a CSR matrix and a vector, and with the compiled network, which for one input does not
# look at the order at all. All run on one thread, in turns, and the least time of some rounds
# counts; outputs must agree.

from __future__ import annotations

import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from numba import njit
from scipy import sparse

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
from byways.sparse_inference._anneal import anneal
from byways.sparse_inference._roofline import Ceilings, plot_roofline

FULL = "--full" in sys.argv
WIDTH = 1024
DEPTHS = (2, 4, 8, 16) if FULL else (2, 4)
ORDERS = ("destination", "source", "random", "ego")
torch.set_num_threads(1)


@njit(error_model="numpy")
def walk(sources, targets, weights, last, low, high, values):
    """Run the edges one after the other on one input; ``values`` starts at inputs and biases."""
    for e in range(len(sources)):
        t = targets[e]
        z = values[t] + weights[e] * values[sources[e]]
        if last[e]:
            z = min(max(z, low[t]), high[t])
        values[t] = z


def limits(graph: EdgeGraph) -> np.ndarray:
    """Give each neuron's least and greatest value: all activations here clip."""
    ends = np.array([kind([-1e30, 1e30]) for kind in graph.activations], dtype=np.float32)
    return ends[graph.activation].T.copy()


def edge_by_edge(graph: EdgeGraph, order: EdgeOrder) -> Callable[[np.ndarray], np.ndarray]:
    """Bind ``walk`` to an order."""
    edges = order.permutation
    sources, targets = (a[edges].astype(np.uint32) for a in (graph.sources, graph.targets))
    last = np.zeros(len(edges), np.bool_)
    last[len(edges) - 1 - np.unique(targets[::-1], return_index=True)[1]] = True
    weights, bias = graph.weights[edges].astype(np.float32), graph.bias.astype(np.float32)
    low, high = limits(graph)
    bias = np.where(graph.in_degree > 0, bias, np.clip(bias, low, high))

    def run(x: np.ndarray) -> np.ndarray:
        values = bias.copy()
        values[graph.inputs] = x
        walk(sources, targets, weights, last, low, high, values)
        return values[graph.outputs]

    return run


def layers(graph: EdgeGraph) -> list[tuple[sparse.csr_array, np.ndarray, np.ndarray]]:
    """Take a layered network of equal widths apart: weights, biases, limits of each layer."""
    n, found = len(graph.inputs), []
    layer, bounds = graph.targets // n, limits(graph)
    for k in range(1, graph.vertices // n):
        mine, here = layer == k, slice(k * n, (k + 1) * n)
        ends = graph.targets[mine] - k * n, graph.sources[mine] - (k - 1) * n
        weight = sparse.csr_array((graph.weights[mine].astype(np.float32), ends), shape=(n, n))
        found.append((weight, graph.bias[here].astype(np.float32), bounds[:, here]))
    return found


def scipy_csr(graph: EdgeGraph) -> Callable[[np.ndarray], np.ndarray]:
    """Run a network by SciPy's products; inputs are columns."""
    parts = layers(graph)

    def run(x: np.ndarray) -> np.ndarray:
        for weight, bias, (low, high) in parts:
            x = weight @ x
            x += bias if x.ndim == 1 else bias[:, None]
            np.clip(x, low[0], high[0], out=x)
        return x

    return run


def torch_csr(graph: EdgeGraph, dense: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """Run a network by PyTorch's products, of CSR tensors or of dense ones; inputs are columns."""
    parts = []
    for weight, bias, (low, high) in layers(graph):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that CSR is in beta
            made = torch.from_numpy(weight.toarray())
            parts.append((made if dense else made.to_sparse_csr(), torch.from_numpy(bias),
                          (float(low[0]), float(high[0]))))  # fmt: skip

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            values = torch.from_numpy(x)
            for weight, bias, (low, high) in parts:
                values = weight @ values + (bias if values.ndim == 1 else bias[:, None])
                values.clamp_(low, high)
            return values.numpy()

    return run


def least(calls: dict[str, Callable[[], np.ndarray]], rounds: int) -> dict[str, float]:
    """Time calls in turn; give the least seconds of each, after comparing what they give."""
    given = {name: call() for name, call in calls.items()}
    expected = next(iter(given.values()))
    for name, output in given.items():
        assert np.allclose(output, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()), name
    seconds = dict.fromkeys(calls, np.inf)
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            seconds[name] = min(seconds[name], time.thread_time() - start)
    return seconds


def network(kind: str, depth: int) -> EdgeGraph:
    """Give a random network of the report's density, or RadiX with drawn weights.

    With RadiX's own weights, all equal, every value is 0 or 32 after some layers: outputs would
    agree whatever was computed, and what skips zeros would look far too fast.
    """
    if kind == "random":
        return random_sparse([WIDTH] * (depth + 1), 0.05)
    graph, rng = radix_net(WIDTH, depth, bias=0.0), np.random.default_rng(1)
    return replace(graph, weights=rng.normal(0, 0.25, graph.edges))  # 32 edges into a neuron


x = (np.random.default_rng(0).random(WIDTH) < 0.2).astype(np.float32)
x += np.float32(0.01)  # no input is zero; hidden values often are, and compiled they are not sent
networks = {(kind, depth): network(kind, depth) for kind in ("RadiX", "random") for depth in DEPTHS}
orders = {
    key: {name: order_edges(graph, name, memory=1024) for name in ORDERS}
    for key, graph in networks.items()
}
speeds = {}
for key, graph in networks.items():
    calls = {name: partial(edge_by_edge(graph, o), x) for name, o in orders[key].items()}
    calls |= {"scipy csr": partial(scipy_csr(graph), x), "torch csr": partial(torch_csr(graph), x)}
    compiled = compile_network(graph, threads=1)
    calls["compiled"] = lambda run=compiled: run(x[None])[0]
    seconds = least(calls, 40 if FULL else 20)
    speeds[key] = {name: graph.edges / s / 1e6 for name, s in seconds.items()}
    shown = ", ".join(f"{name} {speed:,.0f}" for name, speed in speeds[key].items())
    print(f"{key[0]}, {key[1]} layers, millions of edges a second: {shown}")


def gain(kind: str, ours: str, theirs: str) -> str:
    """Say how many times faster one way is than another, over all depths."""
    ratios = [speeds[kind, d][ours] / speeds[kind, d][theirs] for d in DEPTHS]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


for kind in ("RadiX", "random"):
    print(
        f"{kind}: EGO runs {gain(kind, 'ego', 'destination')} times as fast as destination by "
        f"destination, but a shuffle does so too: {gain(kind, 'random', 'destination')}. Against "
        f"today's libraries EGO edge by edge has {gain(kind, 'ego', 'scipy csr')} of scipy csr and "
        f"{gain(kind, 'ego', 'torch csr')} of torch csr; compiled, without any order, "
        f"{gain(kind, 'compiled', 'scipy csr')} and {gain(kind, 'compiled', 'torch csr')}."
    )

# %%
# Misses
# ------
# The report counts vertices that an LRU cache misses. Reads and writes are another thing: an order
# that leaves sums unfinished writes them and reads them again. And where a neuron is one number, a
# cache of 32 KB misses nearly nothing in any order, so misses are not what makes one input faster:
# destination by destination each sum waits for the one before it, which any other order avoids.

PLACES = (100, 1023)


def counted(graph: EdgeGraph, name: str, order: EdgeOrder, places: int) -> tuple[float, float]:
    """Give misses and I/Os an edge; finders that look at the places are asked again for few."""
    if name in ("ego", "blocked") and places == PLACES[0]:
        order = order_edges(graph, name, memory=places + 1)
    report = simulate(graph, order, memory=places + 1)
    return report.lru_misses / graph.edges, report.neuron_io / graph.edges


counts = {}
for key, graph in networks.items():
    candidates = orders[key] | {"blocked": order_edges(graph, "blocked", memory=101)}
    for name, order in candidates.items():
        for places in PLACES:
            counts[(*key, name, places)] = counted(graph, name, order, places)
for kind in ("RadiX", "random"):
    depth = DEPTHS[-1]
    for places in PLACES:
        each = {name: counts[kind, depth, name, places] for name in (*ORDERS, "blocked")}
        shown = ", ".join(f"{name} {miss:.3f} ({io:.3f})" for name, (miss, io) in each.items())
        print(f"{kind}, {depth} layers, {places} places, misses (I/Os) an edge: {shown}")
    real = {
        name: simulate_cache(networks[kind, depth], order, tile=1).misses_per_edge
        for name, order in orders[kind, depth].items()
    }
    print(f"one input, 32 KB, misses an edge: {', '.join(f'{n} {m:.4f}' for n, m in real.items())}")

# %%
# Densities up to one half
# ------------------------
# Where the report ran out of memory: four layers, ever denser. EGO's queue holds vertices, so its
# memory is some tens of bytes an edge. Megabytes are the most that the whole process has held so
# far, PyTorch and dense matrices included.

DENSITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
SIDE = WIDTH if FULL else 256
start_x = x[:SIDE].copy()
dense_speeds = []
for density in DENSITIES:
    graph = random_sparse([SIDE] * 5, density)
    plain = order_edges(graph, "destination")
    ego = order_edges(graph, "ego", memory=101)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # from KB
    ways = {"destination": plain, "random": order_edges(graph, "random"), "ego": ego}
    calls = {name: partial(edge_by_edge(graph, o), start_x) for name, o in ways.items()}
    calls["scipy csr"] = partial(scipy_csr(graph), start_x)
    calls["torch csr"] = partial(torch_csr(graph), start_x)
    calls["torch dense"] = partial(torch_csr(graph, dense=True), start_x)
    run, row = compile_network(graph, threads=1), start_x[None]
    calls["compiled"] = lambda run=run, row=row: run(row)[0]
    seconds = least(calls, 20)
    dense_speeds.append({name: graph.edges / s / 1e6 for name, s in seconds.items()})
    shown = ", ".join(f"{name} {speed:,.0f}" for name, speed in dense_speeds[-1].items())
    print(
        f"density {density}, {graph.edges:,} edges: EGO found in {ego.seconds:.2f} s, "
        f"{held:.0f} MB; millions of edges a second: {shown}"
    )
faster = [
    d
    for d, speed in zip(DENSITIES, dense_speeds, strict=True)
    if speed["torch dense"] > max(v for name, v in speed.items() if name != "torch dense")
]
print(f"a dense product with its zeros is the fastest way at densities {faster or 'none of these'}")

# %%
# Sixteen neurons a layer
# -----------------------
# The report's toy for EON: four layers of 16 neurons, a fifth of the edges, eight places. It trains
# a policy for each network; the policy that comes with the package has never seen these.

unseen = [random_sparse([16] * 5, 0.2, rng=seed) for seed in range(500, 540 if FULL else 505)]
ways = {
    "destination": ("destination", {}),
    "random": ("random", {}),
    "EGO": ("ego", {}),
    "greedy": ("greedy", {}),
    "EON": ("eon", {"samples": 0}),
    "EON, best of 17": ("eon", {}),
}
found = {
    name: [order_edges(graph, method, memory=9, **options) for graph in unseen]
    for name, (method, options) in ways.items()
}
steps, rng = 150_000 if FULL else 20_000, np.random.default_rng(0)
found["annealing"] = [  # of misses, where ``order_edges`` anneals reads and writes
    EdgeOrder(anneal(g, o.permutation, 8, None, steps, rng))
    for g, o in zip(unseen, found["greedy"], strict=True)
]
toy = {
    name: float(np.mean([simulate(g, o, memory=9).lru_misses / g.edges
                         for g, o in zip(unseen, orders_found, strict=True)]))
    for name, orders_found in found.items()
}  # fmt: skip
print("16x4, 8 places, misses an edge:", ", ".join(f"{n} {m:.3f}" for n, m in toy.items()))

# %%
# Many inputs at a time
# ---------------------
# Now a neuron is a vector of a tile's values, the values do not fit the first cache, and the order
# counts. The executor takes any order; by itself it chooses blocks of sources, or groups of neurons
# that have the same sources. EGO moves fewest values on RadiX and is no faster for it: registers
# are the nearest memory, and it leaves a sum after an edge or two, so each edge moves it.

ROWS = 1024 if FULL else 192
many = (np.random.default_rng(1).random((ROWS, WIDTH)) < 0.2).astype(np.float32)
columns = many.T.copy()
batches = {}
for kind in ("RadiX", "random"):
    graph = networks[kind, 4]
    ours = {"compiled": compile_network(graph, threads=1)}
    for name in ORDERS:
        ours[name] = compile_network(graph, threads=1, order=orders[kind, 4][name])
    calls = {name: lambda run=run: run(many).T for name, run in ours.items()}
    peers = {"scipy csr": scipy_csr(graph), "torch csr": torch_csr(graph)}
    peers["torch dense"] = torch_csr(graph, dense=True)
    calls |= {name: partial(peer, columns) for name, peer in peers.items()}
    seconds = least(calls, 5 if FULL else 3)
    batches[kind] = {name: graph.edges * ROWS / s / 1e9 for name, s in seconds.items()}
    shown = ", ".join(f"{name} {speed:.1f}" for name, speed in batches[kind].items())
    print(f"{kind}, 4 layers, {ROWS} inputs, 10^9 edges a second: {shown}")
    peer = max(batches[kind][name] for name in peers)
    print(
        f"{kind}: the best library runs {peer:.1f}, the network compiled in EGO's order "
        f"{batches[kind]['ego'] / peer:.2f} times and by targets "
        f"{batches[kind]['destination'] / peer:.2f} times as fast"
    )

# %%
# Roofline
# --------
# The ceilings are measured with the executor's own loop. With several targets a source is loaded
# once for as many multiply-adds, and arithmetic is the limit. With one target each multiply-add
# loads a vector, and the limit is the level of the memory where the values are. A network's place
# on the horizontal axis is what its kernel does with a byte that it loads: two operations for each
# edge and input, against the vectors of sources, the weights and the indices, and in EGO's order,
# which runs edge by edge, the sums. What is stored is not counted.

ceilings = Ceilings.measured()
print(ceilings)

deep = radix_net(WIDTH, 24 if FULL else 6)
runs = {
    f"random {density}": (random_sparse([WIDTH] * 5, density), {})
    for density in ((0.01, 0.05, 0.2, 0.5) if FULL else (0.01, 0.05))
}
runs["RadiX, groups"] = (deep, {})
runs["RadiX, as given"] = (deep, {"order": order_edges(deep, "destination")})
runs["RadiX, EGO"] = (deep, {"order": order_edges(deep, "ego", memory=257)})
points = {}
for name, (graph, options) in runs.items():
    compiled = compile_network(graph, threads=1, **options)
    about = compiled.explain()
    seconds = least({"": partial(compiled, many)}, 5)[""]
    reached = 2 * about.edges * ROWS / seconds
    points[name] = about.intensity, reached
    print(
        f"{name}: {about.intensity:.2f} operations a byte loaded, {reached / 1e9:.0f} GFLOP/s, "
        f"{reached / ceilings.peak:.2f} of the peak; {about.working_bytes / 1024:.0f} KB of values"
    )

# %%
fig, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
for ax, kind in zip(axes[0], ("RadiX", "random"), strict=False):
    for name in speeds[kind, DEPTHS[0]]:
        style = "o-" if name in ORDERS else ("s--" if name != "compiled" else "D-")
        ax.plot(DEPTHS, [speeds[kind, d][name] / 1e3 for d in DEPTHS], style, ms=4, label=name)
    ax.set(title=f"One input: {kind}", xlabel="layers", ylabel="10⁹ edges a second")
    ax.set(xscale="log", xticks=DEPTHS, xticklabels=DEPTHS, ylim=(0, None))
    ax.minorticks_off()
axes[0, 1].legend(fontsize=7, ncols=2, loc="lower right")
ax = axes[0, 2]
shift = np.arange(len(ORDERS) + 1)
for k, kind in enumerate(("RadiX", "random")):
    heights = [counts[kind, DEPTHS[-1], name, 100][1] for name in (*ORDERS, "blocked")]
    ax.bar(shift + 0.4 * k, heights, 0.38, label=kind)
ax.set_xticks(shift + 0.2, (*ORDERS, "blocked"), rotation=20)
ax.set(title=f"Reads and writes, 100 places, {DEPTHS[-1]} layers", ylabel="neuron I/Os an edge")
ax.legend(fontsize=8)
ax = axes[1, 0]
for name in dense_speeds[0]:
    style = "s--" if name.startswith(("scipy", "torch")) else "o-"
    ax.plot(DENSITIES, [speed[name] / 1e3 for speed in dense_speeds], style, ms=4, label=name)
ax.set(title=f"One input: density, {SIDE}x4", xlabel="density", ylabel="10⁹ edges a second")
ax.set(xscale="log", yscale="log")
ax.legend(fontsize=7, ncols=2)
ax = axes[1, 1]
bars = ax.barh(list(toy)[::-1], list(toy.values())[::-1])
ax.bar_label(bars, fmt="%.2f", padding=2)
ax.set(title="16x4, 8 places", xlabel="misses an edge", xlim=(0, 1.15 * max(toy.values())))
plot_roofline(points, ceilings, axes[1, 2]).set(title=f"Roofline, {ROWS} inputs")
plt.show()
