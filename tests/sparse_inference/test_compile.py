from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.utils.prune as prune
from hypothesis import given, settings
from hypothesis import strategies as st

from byways.core.activations import PiecewiseLinear, clamp, relu
from byways.core.errors import ConversionError, ShapeError
from byways.sparse_inference import (
    EdgeGraph,
    EdgeOrder,
    compile_network,
    order_edges,
    radix_net,
    random_sparse,
)
from byways.sparse_inference import _execute as execute
from byways.sparse_inference._finders import METHODS
from byways.sparse_inference._program import compile_runs
from byways.sparse_inference._simplify import drop_dead, fold_constants, merge_identical
from tests.sparse_inference.graphs import close, graph_of, random_graph, slow


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [0, 1, 3, 4, 31, 32, 33, 48, 49, 200])
def test_any_graph_and_any_batch(batch: int, dtype: str) -> None:
    rng = np.random.default_rng(batch)
    graph = random_graph(rng)
    x = rng.normal(size=(batch, 4))
    found = compile_network(graph, dtype=dtype, threads=2)(x)
    assert found.shape == (batch, 5)
    assert found.dtype == dtype
    close(found, slow(graph, x), dtype)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(METHODS))
def test_any_valid_order_gives_the_same_outputs(seed: int, method: str) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 16)
    order = order_edges(graph, method, memory=6, rng=seed, max_steps=100)
    x = rng.normal(size=(9, 4))
    expected = slow(graph, x, order.permutation)
    close(compile_network(graph, order=order, dtype="float64")(x), expected, "float64")
    close(compile_network(graph, order=order, dtype="float64")(x[:2]), expected[:2], "float64")


def layered(graph: EdgeGraph, n: int, x: np.ndarray, high: float) -> np.ndarray:
    """Run a stack of square layers with dense products."""
    for level in range(graph.levels):
        mine = graph.level[graph.targets] == level + 1
        dense = np.zeros((n, n))
        dense[graph.targets[mine] - n * (level + 1), graph.sources[mine] - n * level] = (
            graph.weights[mine]
        )
        x = x @ dense.T + graph.bias[n * (level + 1) : n * (level + 2)]
        if level < graph.levels - 1 or np.isfinite(high):
            x = np.clip(x, 0.0, high)
    return x


@pytest.mark.parametrize(
    ("graph", "kernel", "high"),
    [
        (radix_net(64, 7, base=64), "wide", 32.0),
        (radix_net(256, 5, base=16), "grouped", 32.0),
        (random_sparse([64] * 4, 0.3, rng=1), "wide", np.inf),
        (random_sparse([64] * 4, 0.8, rng=1), "grouped", np.inf),
        (random_sparse([64] * 3, 1.0, rng=1), "grouped", np.inf),
    ],
    ids=["radix_wide", "radix_grouped", "thin", "nearly_complete", "complete"],
)
def test_layers_by_dense_products(graph: EdgeGraph, kernel: str, high: float) -> None:
    n = len(graph.inputs)
    x = np.random.default_rng(0).random((150, n))
    for threads in (1, np.int64(2)):
        run = compile_network(graph, threads=threads, dtype="float64")
        assert run.explain().kernel == kernel
        close(run(x), layered(graph, n, x, high), "float64")
    close(compile_network(graph)(x), layered(graph, n, x, high), "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["ego", "source", "random"])
@pytest.mark.parametrize(
    ("graph", "high"),
    [(radix_net(256, 5, base=16), 32.0), (random_sparse([64] * 4, 0.3, rng=1), np.inf)],
    ids=["radix", "random"],
)
def test_orders_of_short_runs_go_edge_by_edge(
    graph: EdgeGraph, high: float, method: str, dtype: str
) -> None:
    n = len(graph.inputs)
    order = order_edges(graph, method, memory=20, rng=0)
    x = np.random.default_rng(0).random((150, n))
    run = compile_network(graph, order=order, dtype=dtype, threads=2)
    assert run.explain().kernel == "edgewise"
    close(run(x), layered(graph, n, x, high), dtype)
    x[7, 3], x[80, 5] = np.nan, 1e30  # one that stays and one that is clipped
    with np.errstate(over="ignore"):
        close(run(x), layered(graph, n, x, high), dtype)


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)])
@pytest.mark.parametrize("kind", [clamp(-0.5, 0.5), "tanh"])
def test_edge_by_edge_rounds_as_runs_of_one_edge_do(
    kind: PiecewiseLinear | str, dtype: np.dtype[np.generic]
) -> None:
    rng = np.random.default_rng(4)
    weights = [rng.normal(size=(30, 30)) * (rng.random((30, 30)) < 0.4) for _ in range(3)]
    graph = EdgeGraph.from_layers(weights, list(rng.normal(size=(3, 30))), kind)
    program = compile_runs(graph, order_edges(graph, "source").permutation)
    assert len(program.runs) == graph.edges
    x = rng.normal(size=(100, 30)).astype(dtype)
    found = np.zeros((2, 100, 30), dtype)
    ways = (
        (execute.run_wide, execute.WIDE_VECTORS, program.packed),
        (execute.run_edgewise, execute.EDGE_VECTORS, program.packed_edges),
    )
    for out, (kernel, vectors, pack) in zip(found, ways, strict=True):
        tile = vectors * execute.VECTOR_BYTES // dtype.itemsize
        values = np.zeros(program.slots * tile, dtype)
        kernel(x.ravel(), out.reshape(-1), 0, 100, pack(tile, dtype), values, tile)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("kinds", [("tanh", relu), (relu, "tanh")])
def test_neurons_with_the_same_sources_and_other_activations(
    kinds: tuple[PiecewiseLinear | str, PiecewiseLinear | str],
) -> None:
    rng = np.random.default_rng(6)
    weight, bias, x = rng.normal(size=(16, 5)), rng.normal(size=16), rng.normal(size=(40, 5))
    smooth = np.arange(16) % 2 == kinds.index("tanh")
    graph = EdgeGraph(
        np.tile(np.arange(5), 16), np.repeat(np.arange(5, 21), 5), weight.ravel(),
        np.concatenate([np.zeros(5), bias]),
        np.concatenate([np.full(5, 2), np.arange(16) % 2]), (*kinds, relu),
        np.arange(5), np.arange(5, 21),
    )  # fmt: skip
    run = compile_network(graph, dtype="float64")
    assert run.explain().kernel == "grouped"
    z = x @ weight.T + bias
    close(run(x), np.where(smooth, np.tanh(z), np.maximum(z, 0.0)), "float64")


def test_a_torch_module_becomes_a_module_with_the_same_outputs() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU6(),
        torch.nn.AvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(64, 20), torch.nn.LeakyReLU(),
        torch.nn.Dropout(0.5), torch.nn.Linear(20, 3),
    )  # fmt: skip
    for _ in range(3):
        model(torch.randn(8, 1, 8, 8))
    prune.random_unstructured(model[5], "weight", amount=0.8)
    model.eval()
    fast = compile_network(model, input_shape=(1, 8, 8))
    assert isinstance(fast, torch.nn.Module)
    x = torch.randn(130, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
        assert fast(x[0].flatten()).shape == (3,)
        assert fast(x.double()).dtype == torch.float64
    with pytest.raises(RuntimeError, match=r"call it under torch\.no_grad"):
        fast(x.requires_grad_())
    kept = int((model[5].weight != 0).sum())
    taps = 4 * (3 * 8 - 2) ** 2  # of the convolution; pooling joins 4 pixels to each of 64
    assert fast.explain().given_edges == taps + 4 * 64 + kept + 60


def test_a_module_with_other_parts_is_refused() -> None:
    with pytest.raises(ConversionError, match="LayerNorm"):
        compile_network(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3)))


def test_nan_and_infinity_pass_as_in_the_dense_network() -> None:
    graph = EdgeGraph.from_layers([np.eye(3), np.eye(3)], None, relu)
    x = np.array([[np.nan, -1.0, 2.0], [np.inf, -np.inf, 0.0]])
    for rows in (x, np.repeat(x, 60, axis=0)):
        found = compile_network(graph)(rows)
        expected = np.where(np.isnan(rows), np.nan, np.maximum(rows, 0))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("kind", "kernel"), [(relu, "sources"), (clamp(-1.0, 1.0), "targets"), ("tanh", "targets")]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_single_inputs_skip_zeros_where_activations_make_them(
    kind: PiecewiseLinear | str, kernel: str, dtype: str
) -> None:
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=(30, 30)) * (rng.random((30, 30)) < 0.3) for _ in range(4)]
    biases = [rng.normal(size=30) for _ in range(4)]
    run = compile_network(EdgeGraph.from_layers(weights, biases, kind), dtype=dtype)
    assert run.explain().alone == kernel
    x = rng.normal(size=(3, 30)) * (rng.random((3, 30)) < 0.5)
    expected = x
    for weight, bias in zip(weights, biases, strict=True):
        z = expected @ weight.T + bias
        expected = np.tanh(z) if kind == "tanh" else np.clip(z, *((0, None), (-1, 1))[kind != relu])
    close(run(x), expected, dtype)
    x[1, 4] = np.nan
    assert np.isnan(run(x)[1]).any()
    close(run(x)[[0, 2]], expected[[0, 2]], dtype)


def test_constants_are_folded_and_dead_ends_dropped() -> None:
    # 0 input, 1 constant, 2 sum of both, 3 heard by nobody, 4 output, 5 constant output
    graph = EdgeGraph(
        np.array([0, 1, 2, 2]), np.array([2, 2, 3, 4]), np.array([1.0, 2.0, 5.0, 3.0]),
        np.array([0.0, 0.5, 1.0, 0.0, -1.0, -0.25]), np.array([0, 1, 1, 1, 0, 0]),
        (EdgeGraph.from_layers([[[1.0]]]).activations[0], relu), np.array([0]), np.array([4, 5]),
    )  # fmt: skip
    folded, constant = fold_constants(graph)
    assert constant == 1
    assert folded.bias[2] == 2.0
    small, dead = drop_dead(folded)
    assert dead == 1
    assert sorted(zip(small.sources.tolist(), small.targets.tolist(), strict=True)) == [
        (0, 2),
        (2, 4),
    ]
    x = np.array([[1.0], [-9.0]])
    run = compile_network(graph, dtype="float64")
    assert (run(x) == [[3 * 3 - 1, -0.25], [-1, -0.25]]).all()
    about = run.explain()
    assert (about.given_edges, about.edges, about.dead, about.folded) == (4, 2, 1, 1)
    assert "2 of 4 edges (1 dead, 1 constant, 0 merged away)" in str(about)


def test_merging_keeps_the_outputs() -> None:
    graph = radix_net(256, 12, base=16)
    merged, gone = merge_identical(graph)
    # From the second level on a neuron has at most as many kinds of sources as the base.
    assert gone > 0.8 * graph.edges
    assert merged.edges == graph.edges - gone
    x = (np.random.default_rng(0).random((100, 256)) < 0.3).astype(float)
    whole = compile_network(graph, dtype="float64")(x)
    close(compile_network(graph, merge=True, dtype="float64")(x), whole, "float64")
    assert (
        (whole > 0).any(axis=1) == (compile_network(graph, merge=True)(x) > 0).any(axis=1)
    ).all()


@pytest.mark.parametrize("every", [1, 3, 5, 100])
@pytest.mark.parametrize("merge", [False, True])
def test_inputs_that_die_out_leave_the_batch(every: int, merge: bool) -> None:
    graph = radix_net(256, 12, base=16)
    x = (np.random.default_rng(0).random((200, 256)) < np.linspace(0, 0.5, 200)[:, None]).astype(
        float
    )
    whole = layered(graph, 256, x, 32.0)
    alive = whole.any(axis=1)
    assert 20 < alive.sum() < 180
    run = compile_network(graph, compact=every, merge=merge, dtype="float64")
    close(run(x), whole, "float64")
    assert len(run.explain()) == -(-12 // every)
    assert not run(x[:1]).any(), "an input of zeros"


def test_a_network_whose_weights_are_all_pruned_away_gives_its_constants() -> None:
    graph = EdgeGraph.from_layers([np.zeros((2, 3))], [[1.0, -2.0]], relu)
    for compact in (None, 1, 5):
        assert compile_network(graph, compact=compact)(np.ones((40, 3))).tolist() == [[1, 0]] * 40


def test_neurons_without_edges_into_them_do_not_stop_compaction() -> None:
    rng = np.random.default_rng(0)
    first, second, third = (rng.normal(size=(6, 6)) for _ in range(3))
    first[2], second[4] = 0.0, 0.0
    bias = np.array([0.0, 0.0, 0.5, 0.0, 0.0, 0.0])  # that of neuron 2 makes it a constant
    x = rng.normal(size=(40, 6))
    graph = EdgeGraph.from_layers([first, second], [bias, None], relu)
    expected = np.maximum(np.maximum(x @ first.T + bias, 0) @ second.T, 0)
    with pytest.raises(ValueError, match="outputs on the last level"):
        compile_network(graph, compact=1)
    graph = EdgeGraph.from_layers([first, second[:4]], [bias, None], relu)
    run = compile_network(graph, compact=2, dtype="float64")
    np.testing.assert_allclose(run(x), expected[:, :4], rtol=1e-12, atol=1e-12)
    parts = run.explain()
    assert sum(part.given_edges for part in parts) == graph.edges
    assert sum(part.folded for part in parts) == 4  # those that leave neuron 2
    deep = EdgeGraph.from_layers([first, second, third], [0 * bias, None, None], relu)
    expected = np.maximum(x @ first.T, 0)
    for weight in (second, third):
        expected = np.maximum(expected @ weight.T, 0)
    run = compile_network(deep, compact=1, dtype="float64")
    np.testing.assert_allclose(run(x), expected, rtol=1e-12, atol=1e-12)


def test_compaction_is_refused_where_zeros_do_not_stay() -> None:
    stack = [np.eye(3)] * 3
    with pytest.raises(ValueError, match="vertex 6 is 1 there, so inputs that have died out come"):
        compile_network(
            EdgeGraph.from_layers(stack, [np.zeros(3), np.ones(3), np.zeros(3)], relu), compact=1
        )
    with pytest.raises(ValueError, match='"compact" needs layers'):
        compile_network(graph_of([(0, 1), (1, 2), (0, 2)], [0], [2]), compact=1)
    with pytest.raises(ValueError, match='"compact" was 0; it is a positive number of levels'):
        compile_network(EdgeGraph.from_layers(stack), compact=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dtype": "float16"}, ValueError, "\"dtype\" was 'float16'; float32 and float64 are"),
        ({"threads": 0}, ValueError, '"threads" was 0; give a positive integer, or None'),
        ({"threads": True}, TypeError, '"threads" was True; it is a positive integer'),
        ({"order": EdgeOrder(np.arange(3))}, ValueError, "the order has 3 edges; the graph has 4"),
    ],
)
def test_misuse(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    graph = EdgeGraph.from_layers([np.ones((2, 2))])
    with pytest.raises(error, match=re.escape(message)):
        compile_network(graph, **arguments)


def test_misuse_of_inputs() -> None:
    run = compile_network(EdgeGraph.from_layers([np.ones((2, 3))]))
    with pytest.raises(ShapeError, match=re.escape('"x" has shape (3,); (batch, 3) is needed')):
        run(np.zeros(3))
    with pytest.raises(TypeError, match="complex128; real numbers are needed"):
        run(np.zeros((1, 3)) + 1j)
    order = order_edges(EdgeGraph.from_layers([np.ones((2, 3))]), "source")
    with pytest.raises(ValueError, match='"merge" changes the edges'):
        compile_network(EdgeGraph.from_layers([np.ones((2, 3))]), order=order, merge=True)


def test_no_edges_give_constants() -> None:
    graph = EdgeGraph.from_layers([np.zeros((2, 3))], [[1.0, -1.0]], relu, last=relu)
    for batch in (0, 1, 100):
        assert (compile_network(graph)(np.ones((batch, 3))) == [1.0, 0.0]).all()
    copy = graph_of([(0, 1)], [0], [1, 0])  # an output that is an input
    assert (compile_network(copy)(np.full((40, 1), 2.0)) == 2.0).all()
