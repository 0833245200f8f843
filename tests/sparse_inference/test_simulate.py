from __future__ import annotations

import dataclasses
import itertools
import re

import numpy as np
import pytest
import torch

from byways.sparse_inference import (
    EdgeGraph,
    EdgeOrder,
    compact_growth,
    order_edges,
    radix_net,
    random_sparse,
    simulate,
    simulate_cache,
)
from tests.oracles.edges import fewest_ios, replay, topological_orders
from tests.sparse_inference.graphs import complete, graph_of, random_graph


@pytest.mark.parametrize(
    ("a", "b", "places", "expected"),
    [(8, 8, 3, 45), (8, 8, 5, 31), (16, 12, 5, 70), (30, 40, 11, 197)],
)
def test_blocks_of_a_complete_layer(a: int, b: int, places: int, expected: int) -> None:
    graph = complete(a, b)
    order = order_edges(graph, "blocked", size=places - 1)
    blocks = -(-b // (places - 1))
    assert a * blocks - (blocks - 1) + 2 * b == expected  # the closed form
    assert simulate(graph, order, memory=places + 1, policy="min").neuron_io == expected


DIAMOND = [(0, 1), (0, 2), (1, 3), (2, 3)]
CHAIN = [(0, 2), (0, 3), (1, 2), (1, 3), (2, 4), (2, 5), (3, 4), (3, 5)]
TREE = [(0, 4), (1, 4), (2, 5), (3, 5), (4, 6), (5, 6)]
SKIPS = [(0, 1), (1, 2), (0, 2), (2, 3), (0, 3)]


@pytest.mark.parametrize(
    ("edges", "inputs", "outputs", "places", "expected"),
    [
        (DIAMOND, [0], [3], 2, 7),
        (DIAMOND, [0], [3], 3, 5),
        (CHAIN, [0, 1], [4, 5], 2, 13),
        (CHAIN, [0, 1], [4, 5], 3, 8),
        (TREE, [0, 1, 2, 3], [6], 2, 10),
        (TREE, [0, 1, 2, 3], [6], 3, 8),
        (SKIPS, [0], [3], 2, 7),
        (SKIPS, [0], [3], 3, 5),
    ],
)
def test_the_best_order_under_min_reaches_the_exhaustive_optimum(
    edges: list[tuple[int, int]], inputs: list[int], outputs: list[int], places: int, expected: int
) -> None:
    graph = graph_of(edges, inputs, outputs)
    kept = list(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))
    best = min(
        simulate(graph, EdgeOrder(np.array(order)), memory=places + 1, policy="min").neuron_io
        for order in topological_orders(kept)
    )
    assert best == expected == fewest_ios(edges, outputs, places)


@pytest.mark.parametrize("policy", ["lru", "min", "rr"])
def test_counts_are_those_of_a_replay(policy: str) -> None:
    rng = np.random.default_rng(5)
    graphs = [random_graph(rng, n) for n in (10, 14, 20)] + [random_sparse([9, 8, 7], 0.5, rng=1)]
    for graph, method, places in itertools.product(graphs, ["random", "source", "ego"], [2, 3, 7]):
        order = order_edges(graph, method, rng=3)
        edges = [(int(graph.sources[e]), int(graph.targets[e])) for e in order.permutation.tolist()]
        outputs = set(graph.outputs.tolist()) - set(graph.inputs.tolist())
        touched = {x for edge in edges for x in edge}
        alone = len(outputs - touched)
        report = simulate(graph, order, memory=places + 1, policy=policy)
        reads, writes, _ = replay(edges, sorted(outputs), places, policy)
        if policy == "min":  # ties may fall otherwise; reads are optimal either way
            assert report.reads == reads + alone
        else:
            assert (report.reads, report.writes) == (reads + alone, writes + alone)
        assert report.per_level.sum() == report.neuron_io - 2 * alone


@pytest.mark.parametrize("policy", ["lru", "min", "rr"])
def test_counts_with_shared_weights_are_those_of_a_replay(policy: str) -> None:
    rng = np.random.default_rng(6)
    drawn = [random_graph(rng, n) for n in (10, 14, 20)] + [random_sparse([9, 8, 7], 0.5, rng=1)]
    for drawing, kinds, places in itertools.product(drawn, [2, 5], [3, 4, 8]):
        weights = rng.choice(np.linspace(-1, 1, kinds), drawing.edges)
        graph = dataclasses.replace(drawing, weights=weights)
        order = order_edges(graph, "random", rng=3)
        steps = order.permutation.tolist()
        edges = [(int(graph.sources[e]), int(graph.targets[e])) for e in steps]
        names = [-1 - int(np.unique(weights).searchsorted(weights[e])) for e in steps]
        outputs = set(graph.outputs.tolist()) - set(graph.inputs.tolist())
        alone = len(outputs - {x for edge in edges for x in edge})
        report = simulate(graph, order, memory=places, policy=policy, shared_weights=True)
        reads, writes, weight_reads = replay(edges, sorted(outputs), places, policy, names)
        if policy == "min":  # as above
            assert report.reads + report.weight_reads == reads + alone + weight_reads
        else:
            assert (report.reads, report.writes) == (reads + alone, writes + alone)
            assert report.weight_reads == weight_reads
        assert report.lower_bound <= report.total


@pytest.mark.parametrize("policy", ["lru", "min", "rr"])
@pytest.mark.parametrize("method", ["destination", "random", "ego"])
def test_one_weight_takes_one_place_and_weights_of_their_own_none(policy: str, method: str) -> None:
    same, own = radix_net(64, 3, base=16), random_sparse([20, 16, 12], 0.4, rng=2)
    for graph, distinct in ((same, 1), (own, own.edges)):
        order = order_edges(graph, method, rng=1)
        apart = simulate(graph, order, memory=12, policy=policy)
        shared = simulate(graph, order, memory=12, policy=policy, shared_weights=True)
        assert np.unique(graph.weights).size == distinct == shared.weight_reads
        if policy == "lru" or graph is own:
            assert (shared.reads, shared.writes) == (apart.reads, apart.writes)
        assert shared.lower_bound == apart.lower_bound - graph.edges + distinct


def test_a_convolution_reads_its_kernel_once_where_it_fits() -> None:
    graph = EdgeGraph.from_torch(torch.nn.Conv1d(1, 1, 5, bias=False), input_shape=(1, 40))
    order = order_edges(graph, "destination")
    report = simulate(graph, order, memory=5 + 5 + 1, shared_weights=True)  # kernel, window, sum
    assert report.weight_reads == 5
    assert report.neuron_io == 40 + 36 + 36  # inputs, biases, outputs
    assert report.total == report.lower_bound


@pytest.mark.parametrize("policy", ["lru", "min"])
def test_compact_growth_runs_without_extra_io_in_one_place_more_than_its_window(
    policy: str,
) -> None:
    graph = compact_growth(8, 200, 3, rng=1)
    generating = EdgeOrder(np.lexsort((graph.sources, graph.targets)))
    assert not np.isin(graph.outputs, graph.inputs).any()
    neurons = np.unique([graph.sources, graph.targets]).size
    fits = simulate(graph, generating, memory=10, policy=policy)
    assert fits.neuron_io == neurons + 8 == fits.lower_bound - graph.edges
    tight = simulate(graph, generating, memory=8, policy=policy)
    assert tight.total > tight.lower_bound


@pytest.mark.parametrize("policy", ["lru", "min"])
@pytest.mark.parametrize("method", ["destination", "source"])
def test_the_base_radix_net_in_two_layers_of_memory(method: str, policy: str) -> None:
    graph = radix_net(1024, 6)
    report = simulate(graph, order_edges(graph, method), memory=2049, policy=policy)
    assert (report.reads, report.writes) == (7168, 1024)


def test_bounds_and_stack_property() -> None:
    for seed in range(4):
        graph = random_sparse([20, 30, 25, 10], 0.3, rng=seed)
        plain = order_edges(graph, "destination")
        misses = []
        for places in (2, 3, 5, 9, 20, 60, 200):
            lru = simulate(graph, plain, memory=places + 1)
            least = simulate(graph, plain, memory=places + 1, policy="min")
            assert lru.lower_bound <= lru.total <= lru.upper_bound
            assert least.reads <= lru.reads
            misses.append(lru.lru_misses)
        assert misses == sorted(misses, reverse=True)


def test_what_is_in_slow_memory_already_is_not_written() -> None:
    """An input that is an output is there from the start, a constant output once it has left."""
    edges = [(0, 3), (1, 3), (2, 3), (0, 4), (1, 4), (2, 4)]
    for inputs, writes in (([0, 1, 2], 2), ([1, 2], 3)):
        graph = graph_of(edges, inputs, [0, 3, 4])
        plain = order_edges(graph, "destination")
        for policy, places in itertools.product(("lru", "min", "rr"), (2, 3, 9)):
            report = simulate(graph, plain, memory=places + 1, policy=policy)
            assert report.writes == writes
            assert report.lower_bound <= report.total <= report.upper_bound


def test_a_memory_that_holds_everything_reads_everything_once() -> None:
    graph = random_sparse([6, 8, 3], 0.5, rng=0)
    touched = np.unique([graph.sources, graph.targets]).size
    for memory, method in itertools.product((50, 10**12, 10**30), ("destination", "greedy", "ego")):
        order = order_edges(graph, method, memory=min(memory, 10**15))
        assert simulate(graph, order, memory=memory).reads == touched


def test_one_set_is_a_fully_associative_cache() -> None:
    graph = random_sparse([40, 50, 30], 0.2, rng=0)
    for method, places in itertools.product(["destination", "random", "ego"], [4, 16, 64]):
        order = order_edges(graph, method)
        cache = simulate_cache(graph, order, size=64 * places, ways=places, tile=16)
        assert cache.misses == simulate(graph, order, memory=places + 1).lru_misses
        assert cache.accesses == 2 * graph.edges


def test_first_touch_spreads_strided_neurons_over_the_sets() -> None:
    graph = radix_net(1024, 6)
    order = order_edges(graph, "ego", memory=257)
    strided = simulate_cache(graph, order, size=32768, ways=8, tile=16, layout="identity")
    renumbered = simulate_cache(graph, order, size=32768, ways=8, tile=16)
    assert strided.misses > 2 * renumbered.misses


def test_reused_slots_are_as_many_as_live_values() -> None:
    graph = radix_net(64, 8, base=16)
    order = order_edges(graph, "destination")
    assert simulate_cache(graph, order, layout="identity").slots == graph.vertices
    assert simulate_cache(graph, order, layout="reuse").slots <= 2 * 64 + 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"memory": 2}, ValueError, '"memory" was 2; an edge needs its two ends and its weight'),
        ({"memory": 3.0}, TypeError, '"memory" was 3.0; it is a number of values, at least 3'),
        ({"memory": 9, "policy": "best"}, ValueError, "\"policy\" was 'best'; it is one of lru"),
    ],
)
def test_misuse(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    graph = complete(2, 2)
    with pytest.raises(error, match=re.escape(message)):
        simulate(graph, order_edges(graph, "source"), **arguments)  # type: ignore[arg-type]


def test_misuse_of_the_cache() -> None:
    graph = complete(2, 2)
    order = order_edges(graph, "source")
    with pytest.raises(ValueError, match="do not fit"):
        simulate_cache(graph, order, size=1000, ways=3)
    with pytest.raises(ValueError, match="\"layout\" was 'dense'; it is one of reuse, first_touch"):
        simulate_cache(graph, order, layout="dense")
    with pytest.raises(ValueError, match="the order has 4 edges; the graph has 6"):
        simulate_cache(EdgeGraph.from_layers([np.ones((2, 3))]), order)
