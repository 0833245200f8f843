"""Small graphs for tests."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from byways.core.activations import PiecewiseLinear, clamp, identity, leaky_relu, relu
from byways.sparse_inference import EdgeGraph
from tests.oracles.edges import infer

KINDS: tuple[PiecewiseLinear | str, ...] = (
    identity,
    relu,
    clamp(-0.5, 1.0),
    leaky_relu(0.1),
    PiecewiseLinear((-1.0, 0.5), (0.5, -1.0, 2.0), 0.25, "zigzag"),
    "tanh",
    "sigmoid",
)


_TOLERANCE = {"float32": 2e-4, "float64": 1e-11}  # sums of tens of terms, in another order


def close(found: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=_TOLERANCE[dtype], atol=_TOLERANCE[dtype])


def graph_of(
    edges: Sequence[tuple[int, int]], inputs: Sequence[int], outputs: Sequence[int]
) -> EdgeGraph:
    """Give a graph with weights 1, no biases and no activations."""
    n = max(max(edge) for edge in edges) + 1
    sources, targets = np.array(edges).T
    return EdgeGraph(
        sources, targets, np.ones(len(edges)), np.zeros(n), np.zeros(n, int), (identity,),
        np.array(inputs), np.array(outputs),
    )  # fmt: skip


def complete(a: int, b: int) -> EdgeGraph:
    return EdgeGraph.from_layers([np.ones((b, a))])


def random_graph(rng: np.random.Generator, n: int = 24, density: float = 0.3) -> EdgeGraph:
    """Draw a graph without layers: skips, constants, dead ends, every activation."""
    inputs = np.arange(4)
    pairs = [(u, v) for v in range(4, n) for u in range(v) if rng.random() < density]
    pairs = [(u, v) for u, v in pairs if v % 7 != 5]  # some have no edges into them
    sources, targets = np.array(pairs).T
    names = rng.permutation(n)
    weights = rng.normal(size=len(pairs)) / np.sqrt(1 + density * n)
    return EdgeGraph(
        names[sources], names[targets], weights, rng.normal(size=n),
        rng.integers(0, len(KINDS), n), KINDS, names[inputs],
        names[rng.choice(np.arange(4, n), 5, replace=False)],
    )  # fmt: skip


def value_of(kind: PiecewiseLinear | str, z: float) -> float:
    if kind == "tanh":
        return float(np.tanh(z))
    if kind == "sigmoid":
        return float(1 / (1 + np.exp(-z)))
    assert isinstance(kind, PiecewiseLinear)
    x, y = [z], kind.offset  # integrate the slope from 0 to z
    cuts = [t for t in kind.breakpoints if min(0, z) < t < max(0, z)]
    corners = sorted([0.0, *cuts, *x])
    for a, b in itertools.pairwise(corners):
        slope = kind.slopes[sum(t <= (a + b) / 2 for t in kind.breakpoints)]
        y += slope * (b - a) * (1 if z > 0 else -1)
    return float(y)


def slow(graph: EdgeGraph, x: np.ndarray, permutation: np.ndarray | None = None) -> np.ndarray:
    """Run the oracle on a batch."""
    order = np.arange(graph.edges) if permutation is None else permutation
    edges = [(int(graph.sources[e]), int(graph.targets[e]), float(graph.weights[e])) for e in order]

    def activation(v: int, z: float) -> float:
        return value_of(graph.activations[graph.activation[v]], z)

    rows = [
        infer(edges, graph.bias, activation, graph.inputs.tolist(), graph.outputs.tolist(), row)
        for row in x
    ]
    return np.array(rows).reshape(len(x), len(graph.outputs))
