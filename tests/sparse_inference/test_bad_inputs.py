"""What a compiled network is given and refuses, or bears: the cases that users run into."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from byways.core.activations import clamp, relu
from byways.core.errors import ConversionError, DomainError
from byways.sparse_inference import (
    EdgeGraph,
    compile_network,
    order_edges,
    random_sparse,
    simulate,
    simulate_cache,
)
from byways.sparse_inference._program import compile_runs

W = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 0.5]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_and_biases_that_are_not_finite(bad: float) -> None:
    weight = W.copy()
    weight[1, 2] = bad
    with pytest.raises(DomainError, match=re.escape("at index (1, 2)")):
        EdgeGraph.from_layers([weight])
    with pytest.raises(DomainError, match=re.escape('"biases[0]" has 1 value')):
        EdgeGraph.from_layers([W], [[0.0, bad]])


@pytest.mark.parametrize("copies", [1, 70], ids=["alone", "tiles"])
@pytest.mark.parametrize("density", [0.3, 1.0], ids=["wide", "grouped"])
def test_nan_survives_clipping_and_infinity_is_clipped_as_in_torch(
    density: float, copies: int
) -> None:
    rng = np.random.default_rng(2)
    weights = [rng.normal(size=(24, 24)) * (rng.random((24, 24)) < density) for _ in range(2)]
    run = compile_network(EdgeGraph.from_layers(weights, None, clamp(-1.0, 1.0)), dtype="float64")
    x = rng.normal(size=(3, 24))
    x[0, 3], x[1, 5] = np.nan, np.inf
    expected = torch.from_numpy(x)
    for weight in weights:
        # A sparse network has no edges of weight zero, which would make infinity NaN.
        reached = torch.from_numpy(weight != 0).to(torch.float64)
        broken = (torch.isnan(expected).to(torch.float64) @ reached.T) > 0
        finite = torch.nan_to_num(expected, nan=0.0, posinf=1e300)
        z = torch.where(broken, torch.nan, finite @ torch.from_numpy(weight).T)
        expected = torch.nn.functional.hardtanh(z)
    assert torch.isnan(expected[0]).any()
    assert torch.isfinite(expected[1]).all()
    found = run(np.repeat(x, copies, axis=0))[::copies]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("count", [5, 40], ids=["alone", "tiles"])
def test_infinity_reaches_flat_pieces_as_in_torch(count: int) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Hardsigmoid(), torch.nn.Linear(4, 2)
    )
    x = torch.randn(count, 3)
    x[0, 0], x[1, 0], x[2, 0], x[3, 0] = torch.inf, -torch.inf, torch.nan, 1e30
    with torch.no_grad():
        expected = model(x)
        assert torch.isfinite(expected[[0, 1, 3]]).all()
        torch.testing.assert_close(compile_network(model)(x), expected, equal_nan=True)


class Gated(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3)), ConversionError,
         'module "1" (LayerNorm)'),
        (torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Sequential(torch.nn.GELU())),
         ConversionError, 'module "1.0" (GELU)'),
        (torch.nn.MultiheadAttention(4, 2), ConversionError, "MultiheadAttention"),
        (torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)), ConversionError,
         'module "1" (BatchNorm1d) is in training mode'),
        (torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5)), ConversionError,
         'module "1" (Dropout) is in training mode'),
        (torch.nn.Conv2d(1, 2, 3), ValueError, '"input_shape" is None, but the Conv2d'),
    ],
    ids=["layernorm", "nested", "attention", "batchnorm", "dropout", "convolution"],
)  # fmt: skip
def test_modules_that_cannot_be_compiled(
    model: torch.nn.Module, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        compile_network(model)


def test_a_refusal_lists_what_is_supported() -> None:
    with pytest.raises(ConversionError, match=r"Supported modules: .*Conv2d, .*Linear, .*ReLU"):
        compile_network(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5)))


def test_weights_that_change_later_do_not_reach_the_compiled_network() -> None:
    model = torch.nn.Linear(3, 2)
    x = torch.randn(50, 3)
    with torch.no_grad():
        run, before = compile_network(model), model(x)
        model.weight.mul_(2.0)
        torch.testing.assert_close(run(x), before)
        torch.testing.assert_close(compile_network(model)(x), model(x))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_short_numbers_are_never_taken_in_silence(kind: torch.dtype) -> None:
    weight = torch.tensor(W).to(kind)
    name = str(kind).removeprefix("torch.")
    with pytest.warns(UserWarning, match=f'"weights" are {name}; the graph holds') as caught:
        graph = EdgeGraph.from_layers([weight])
    assert caught[0].filename == __file__
    assert graph.weights.tolist() == [1.0, 2.0, -1.0, 0.5]
    with pytest.warns(UserWarning, match=f"weights of type torch.{name}"):
        run = compile_network(torch.nn.Linear(3, 2).to(kind))
    x = torch.tensor([[0.5, -1.0, 2.0]] * 40).to(kind)
    with torch.no_grad(), pytest.warns(UserWarning, match=f"the input is torch.{name}") as caught:
        found = run(x)
    assert caught[0].filename == __file__
    assert found.dtype == kind
    if kind == torch.float16:
        with pytest.warns(UserWarning, match='"x" is float16; the network computes in float32'):
            rows = compile_network(graph)(x.numpy())
        assert (rows == [[4.5, 2.0]] * 40).all()


@pytest.mark.parametrize("order", ["ego", np.arange(4)], ids=["name", "edges"])
def test_what_is_no_order_is_told_how_to_get_one(order: object) -> None:
    graph = EdgeGraph.from_layers([W])
    for call in (
        lambda: compile_network(graph, order=order),
        lambda: simulate(graph, order, memory=9),  # type: ignore[arg-type]
        lambda: simulate_cache(graph, order),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match=re.escape('order_edges(network, "ego") finds one')):
            call()


def test_sizes_of_a_cache_are_integers() -> None:
    graph = EdgeGraph.from_layers([W])
    order = order_edges(graph, "destination")
    for given in ({"size": 1e4}, {"tile": "16"}, {"ways": True}):
        with pytest.raises(TypeError, match="it is a positive integer"):
            simulate_cache(graph, order, **given)  # type: ignore[arg-type]


def test_inputs_of_any_layout_and_integers_are_copied() -> None:
    run = compile_network(EdgeGraph.from_layers([W]))
    x = np.arange(300).reshape(3, 100) % 7
    expected = (W @ x).T
    for given in (x.T, np.asfortranarray(x.T), x.T.astype(np.float64), x.T[:, ::-1][:, ::-1]):
        before = given.copy()
        np.testing.assert_allclose(run(given), expected, rtol=1e-6)
        assert (given == before).all()
    np.testing.assert_allclose(run(x.T[::2]), expected[::2], rtol=1e-6)


def test_a_graph_without_edges_costs_its_outputs_alone() -> None:
    graph = EdgeGraph.from_layers([np.zeros((2, 3))], [[1.0, 2.0]], relu)
    order = order_edges(graph, "destination")
    report = simulate(graph, order, memory=3)
    # Two biases are read and written; three inputs are of no use.
    assert (report.reads, report.writes, report.weight_reads) == (2, 2, 0)
    assert simulate_cache(graph, order).misses == 0


def test_a_callers_threads_may_share_a_compiled_network() -> None:
    graph = random_sparse([64] * 4, 0.2, rng=0)
    run = compile_network(graph, threads=2)
    batches = [np.random.default_rng(k).random((1 + 50 * (k % 4), 64)) for k in range(24)]
    expected = [run(x) for x in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, alone in zip(pool.map(run, batches), expected, strict=True):
            assert (found == alone).all()


def test_more_values_than_offsets_of_32_bits_tell_apart_are_refused() -> None:
    graph = EdgeGraph.from_layers([W])
    program = compile_runs(graph, order_edges(graph, "destination").permutation)
    program.packed(32, np.dtype(np.float32))
    with pytest.raises(
        ValueError, match=re.escape("134,217,728 values are alive at a time, of 32")
    ):
        replace(program, slots=1 << 27).packed(32, np.dtype(np.float32))
    replace(program, slots=(1 << 27) - 1).packed(32, np.dtype(np.float32))
