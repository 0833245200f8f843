"""From networks as users have them to edges: what the module gives, the compiled edges give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as nnf
from torch.nn.utils import prune

import byways as bw
from byways.core.errors import ConversionError
from byways.sparse_inference import (
    EdgeGraph,
    compile_network,
    order_edges,
    simulate,
    simulate_cache,
)
from tests.sparse_inference.graphs import slow


class Residual(nn.Module):
    """Smooth functions as modules, functions and methods, and values carried past them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.smooth = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.smooth(self.a(x))
        z = torch.sigmoid(torch.relu(self.b(y)) + x)
        return torch.tanh(self.c(z + y)).sigmoid()


def pruned() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 20), nn.Sigmoid(), nn.Linear(20, 4), nn.ReLU())
    for layer in model[::2]:
        prune.l1_unstructured(layer, "weight", 0.7)
    return model


def convolutions() -> nn.Module:
    model = nn.Sequential(
        nn.Conv1d(1, 2, 3, padding=1), nn.BatchNorm1d(2), nn.Tanh(), nn.Flatten(),
        nn.Linear(12, 3), nn.Sigmoid(),
    )  # fmt: skip
    model(torch.randn(8, 1, 6))
    return model


MODELS: list[tuple[Callable[[], nn.Module], tuple[int, ...] | None]] = [
    (Residual, None),
    (pruned, None),
    (convolutions, (1, 6)),
    (lambda: nn.Tanh(), (6,)),
]


@pytest.mark.parametrize(("make", "shape"), MODELS, ids=["residual", "pruned", "conv", "alone"])
def test_a_module_and_its_edges_give_the_same(
    make: Callable[[], nn.Module], shape: tuple[int, ...] | None
) -> None:
    torch.manual_seed(0)
    model = make().double().eval()
    x = 5 * torch.randn(40, *(shape or (6,)), dtype=torch.float64)
    graph = EdgeGraph.from_torch(model, shape)
    with torch.no_grad():
        expected = model(x).flatten(1).numpy()
        run = compile_network(model, input_shape=shape, dtype="float64")
        np.testing.assert_allclose(run(x).numpy(), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(slow(graph, x.flatten(1).numpy()), expected, rtol=1e-12, atol=1e-14)
    with pytest.raises(ConversionError, match="is smooth, so that the network has no regions"):
        bw.as_chain(model, shape)


def test_masks_leave_their_edges_out() -> None:
    torch.manual_seed(0)
    assert EdgeGraph.from_torch(pruned()).edges == 36 + 24  # of 120 and 80, 70 % pruned


def test_what_a_residual_sum_carries_skips_levels() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 5), nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nnf.relu(self.b(nnf.relu(self.a(x))) + x)

    graph = EdgeGraph.from_torch(Block())
    assert (graph.vertices, graph.edges) == (3 + 5 + 3, 15 + 15 + 3)
    skips = graph.level[graph.targets] - graph.level[graph.sources] == 2
    assert np.isin(graph.sources[skips], graph.inputs).all()
    assert (graph.weights[skips] == 1).all()
    two = EdgeGraph.from_torch(nn.Sequential(Block(), Block()))
    assert (two.vertices, two.edges) == (3 + 2 * 8, 2 * 33)


def test_two_ways_of_one_value_become_one_edge() -> None:
    model = nn.Sequential(nn.Identity(), nn.ReLU(), nn.Linear(2, 1))
    doubled = [([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0.0] * 3), ([[2.0, 1.0, 3.0]], [1.0])]
    chain = bw.LayerChain.from_arrays(doubled, bw.core.identity)
    run = compile_network(chain)
    assert run.explain().given_edges == 2
    assert run(np.array([[1.0, 10.0]])).tolist() == [[1 + 5 + 10]]
    assert EdgeGraph.from_torch(model, (2,)).edges == 4


def test_orders_and_counts_take_the_module_itself() -> None:
    torch.manual_seed(0)
    model = convolutions().eval()
    graph = EdgeGraph.from_torch(model, (1, 6))
    order = order_edges(model, "ego", memory=9, input_shape=(1, 6))
    assert (order.permutation == order_edges(graph, "ego", memory=9).permutation).all()
    report = simulate(model, order, memory=9, input_shape=(1, 6))
    assert report.total == simulate(graph, order, memory=9).total
    misses = simulate_cache(model, order, size=1024, input_shape=(1, 6)).misses
    assert misses == simulate_cache(graph, order, size=1024).misses
    x = torch.randn(9, 1, 6)
    with torch.no_grad():
        found = compile_network(model, input_shape=(1, 6), order=order)(x)
        torch.testing.assert_close(found, model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("call", [order_edges, compile_network, EdgeGraph.from_torch])
def test_a_convolution_asks_for_the_shape(call: Callable[[nn.Module], object]) -> None:
    with pytest.raises(ValueError, match='"input_shape" is None'):
        call(convolutions().eval())


@pytest.mark.parametrize("compact", [None, 1])
def test_outputs_have_the_shape_of_the_model(compact: int | None) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 3, 3, bias=False), nn.ReLU(), nn.Conv2d(3, 2, 2, bias=False)
    maps = nn.Sequential(*layers).eval()
    fast = compile_network(maps, input_shape=(2, 6, 5), compact=compact)
    for batch in (0, 1, 7):
        x = torch.randn(batch, 2, 6, 5)
        with torch.no_grad():
            torch.testing.assert_close(fast(x), maps(x), rtol=1e-5, atol=1e-6)


def test_smooth_functions_from_onnx() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 6, 6))
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("Add", ["c", "x"], ["d"]),
        helper.make_node("Sigmoid", ["d"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(k, TensorProto.DOUBLE, ["batch", 6]) for k in ("x", "y")]
    stored = [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")]
    graph = helper.make_graph(nodes, "smooth", ends[:1], ends[1:], stored)
    model = helper.make_model(graph).SerializeToString()
    x = rng.normal(size=(20, 6))
    expected = 1 / (1 + np.exp(-(np.tanh(x @ first) @ second + x)))
    found = compile_network(model, dtype="float64")(x)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    with pytest.raises(ConversionError, match="is smooth"):
        bw.as_chain(model)


def test_smooth_functions_of_many_places_are_refused() -> None:
    for model in (nn.GELU(), nn.Softmax(1), nn.SiLU()):
        with pytest.raises(ConversionError, match="is smooth"):
            EdgeGraph.from_torch(nn.Sequential(nn.Linear(2, 2), model))


def test_what_is_supported_is_named_with_the_smooth_ones() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.fft(x)

    with pytest.raises(ConversionError, match=r"Linear, .*Sigmoid, Tanh"):
        EdgeGraph.from_torch(nn.Sequential(nn.Linear(2, 2), nn.CosineSimilarity()))
    with pytest.raises(ConversionError, match="fft"):
        EdgeGraph.from_torch(nn.Sequential(nn.Linear(2, 2), Odd()))


def test_an_array_is_no_module() -> None:
    with pytest.raises(TypeError, match=r'"module" is ndarray; .*from_layers takes matrices'):
        EdgeGraph.from_torch(np.eye(2))  # type: ignore[arg-type]


def test_a_module_whose_inputs_die_out_stays_a_module() -> None:
    torch.manual_seed(0)
    layers = [part for _ in range(4) for part in (nn.Linear(8, 8, bias=False), nn.ReLU())]
    model = nn.Sequential(*layers)
    run = compile_network(model, compact=2)
    assert isinstance(run, nn.Module)
    assert len(run.explain()) == 2
    x = torch.randn(30, 8)
    x[::3] = -0.0
    with torch.no_grad():
        torch.testing.assert_close(run(x), model(x))
        with pytest.warns(UserWarning, match="computes in float32"):
            assert run(x.half()).dtype == torch.float16
