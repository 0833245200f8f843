"""Facts about orders, I/O and executors that need no trust in this package."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byways.core.activations import identity, relu
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
from byways.sparse_inference._finders import METHODS
from tests.oracles.edges import fewest_ios, topological_orders
from tests.sparse_inference.graphs import complete, random_graph, slow


def pruned_model() -> torch.nn.Sequential:
    torch.manual_seed(3)
    layers = [torch.nn.Linear(12, 20), torch.nn.ReLU(), torch.nn.Linear(20, 16), torch.nn.ReLU6(),
              torch.nn.Linear(16, 5)]  # fmt: skip
    for layer in layers[::2]:
        layer.weight.data *= torch.rand_like(layer.weight) < 0.3
    return torch.nn.Sequential(*layers)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_every_order_gives_what_the_dense_model_gives(
    method: str, dtype: str, tolerance: float
) -> None:
    model = pruned_model().to(getattr(torch, dtype))
    graph = EdgeGraph.from_chain(as_chain(model.double()))
    model = model.to(getattr(torch, dtype))
    x = torch.randn(70, 12, dtype=getattr(torch, dtype))
    with torch.no_grad():
        expected = model(x).numpy()
    for seed in range(3):
        order = order_edges(graph, method, memory=9, rng=seed, max_steps=100, samples=1)
        for rows in (70, 2):
            found = compile_network(graph, order=order, dtype=dtype)(x[:rows].numpy())
            error = np.abs(found - expected[:rows]).max()
            assert error <= tolerance * np.abs(expected).max()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_orders_that_mix_levels_at_random_give_the_same_outputs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 16)
    left, order = graph.in_degree.copy(), []
    ready = [e for e in range(graph.edges) if left[graph.sources[e]] == 0]
    while ready:
        e = ready.pop(rng.integers(len(ready)))
        order.append(e)
        v = graph.targets[e]
        left[v] -= 1
        if left[v] == 0:
            ready += np.flatnonzero(graph.sources == v).tolist()
    x = rng.normal(size=(9, 4))
    run = compile_network(graph, order=EdgeOrder(np.array(order)), dtype="float64")
    np.testing.assert_allclose(run(x), slow(graph, x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("n", "places", "expected"),
    [
        (2, 2, 7),
        (2, 3, 6),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((3, 2, 13), (3, 3, 11), (3, 4, 9))
        ),
    ],
)
def test_the_least_io_of_complete_layers(n: int, places: int, expected: int) -> None:
    graph = complete(n, n)
    edges = list(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))
    assert fewest_ios(edges, graph.outputs.tolist(), places) == expected

    def ios(order: EdgeOrder) -> int:
        return simulate(graph, order, memory=places + 1, policy="min").neuron_io

    if n == 2:
        assert min(ios(EdgeOrder(np.array(p))) for p in topological_orders(edges)) == expected
    blocks = order_edges(graph, "blocked", size=places - 1)
    found = order_edges(graph, "anneal", memory=places + 1, policy="min", max_steps=20_000)
    assert expected == ios(found) <= ios(blocks)


@pytest.mark.parametrize("policy", ["lru", "min"])
def test_io_lies_between_the_closed_bounds(policy: str) -> None:
    for seed in range(3):
        graph = random_sparse([20, 30, 25, 10], 0.3, rng=seed)
        neurons = len(np.unique([graph.sources, graph.targets]))
        entered = np.isin(graph.inputs, graph.sources).sum()
        least = graph.edges + neurons + 10
        most = 2 * (graph.edges + neurons - entered)
        plain = order_edges(graph, "destination")
        for places in (2, 3, 7, 30, 200):
            found = simulate(graph, plain, memory=places + 1, policy=policy)
            assert (found.lower_bound, found.upper_bound) == (least, most)
            assert least <= found.total <= most
        assert found.total == least


def lines_touched(graph: EdgeGraph, order: EdgeOrder, size: int) -> Iterator[int]:
    """Give the lines of 64 bytes that are touched; vertex ``x`` has bytes from ``size * x`` on."""
    for e in order.permutation.tolist():
        for x in (int(graph.sources[e]), int(graph.targets[e])):
            yield from range(size * x // 64, (size * (x + 1) - 1) // 64 + 1)


@pytest.mark.parametrize(("ways", "sets"), [(1, 16), (2, 8), (4, 4), (8, 3)])
@pytest.mark.parametrize("tile", [8, 16, 48])
@pytest.mark.parametrize("method", ["destination", "random", "ego"])
def test_misses_are_those_of_a_cache_of_lists(ways: int, sets: int, tile: int, method: str) -> None:
    graph = random_sparse([40, 50, 30], 0.2, rng=0)
    order = order_edges(graph, method)
    cache: list[list[int]] = [[] for _ in range(sets)]
    misses = 0
    for line in lines_touched(graph, order, 4 * tile):
        held = cache[line % sets]
        if line in held:
            held.remove(line)
        else:
            misses += 1
        held.append(line)
        del held[:-ways]
    found = simulate_cache(
        graph, order, size=64 * ways * sets, ways=ways, tile=tile, layout="identity"
    )
    assert found.misses == misses


def test_exact_simplifications_keep_values_and_categories() -> None:
    graph = radix_net(256, 12, base=16)
    x = np.random.default_rng(0).random((150, 256)) < np.linspace(0, 0.4, 150)[:, None]
    plain = compile_network(graph, order=order_edges(graph, "destination"), dtype="float64")(x)
    ended = plain.any(axis=1)
    assert 20 < ended.sum() < 130
    for options in ({}, {"merge": True}, {"compact": 4}, {"merge": True, "compact": 3}):
        found = compile_network(graph, dtype="float64", **options)(x)
        assert (found.any(axis=1) == ended).all()
        np.testing.assert_allclose(found, plain, rtol=1e-11)


def test_outputs_do_not_depend_on_what_else_is_in_the_batch() -> None:
    graph = EdgeGraph.from_layers([np.eye(5), np.ones((3, 5))], None, [relu, identity])
    x = np.random.default_rng(1).normal(size=(200, 5))
    run = compile_network(graph, dtype="float64", threads=2)
    whole = run(x)
    for first, last in itertools.pairwise((0, 33, 40, 99, 200)):
        np.testing.assert_allclose(run(x[first:last]), whole[first:last], rtol=1e-14)
