"""Tiles: batches that fill them or not, and how long they are."""

from __future__ import annotations

import numpy as np
import pytest

from byways.core.activations import PiecewiseLinear, relu
from byways.sparse_inference import EdgeGraph, compile_network
from byways.sparse_inference import _execute as execute
from tests.sparse_inference.graphs import close


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "widths", [(16, 20, 16), (37, 30, 21), (8, 40, 50), (50, 40, 9), (7, 9, 8)]
)
def test_widths_and_batches_that_do_not_fill_squares(widths: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(sum(widths))
    weights = [rng.normal(size=shape) for shape in zip(widths[1:], widths[:-1], strict=True)]
    biases = [rng.normal(size=n) for n in widths[1:]]
    run = compile_network(EdgeGraph.from_layers(weights, biases, relu), dtype=dtype, threads=1)
    for batch in (4, 7, 8, 9, 15, 16, 17, 100, 111, 112, 193):
        x = rng.normal(size=(batch, widths[0]))
        hidden = np.maximum(x @ weights[0].T + biases[0], 0.0)
        close(run(x), np.maximum(hidden @ weights[1].T + biases[1], 0.0), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [relu, "tanh"])
def test_long_tiles_that_a_batch_does_not_fill(kind: PiecewiseLinear | str, dtype: str) -> None:
    rng = np.random.default_rng(6)
    weights = [rng.normal(size=(40, 40)) * (rng.random((40, 40)) < 0.4) / 5 for _ in range(3)]
    biases = list(rng.normal(size=(3, 40)))
    graph = EdgeGraph.from_layers(weights, biases, kind, last=kind)
    run = compile_network(graph, dtype=dtype, threads=1)
    about = run.explain()
    assert about.kernel == "wide"
    assert about.tile * np.dtype(dtype).itemsize == execute.LONG_VECTORS * execute.VECTOR_BYTES
    half = execute.WIDE_VECTORS * execute.VECTOR_BYTES // np.dtype(dtype).itemsize
    for batch in (half - 1, half, half + 1, about.tile, about.tile + 1, about.tile + half, 300):
        x = rng.normal(size=(batch, 40))
        expected = x
        for weight, bias in zip(weights, biases, strict=True):
            z = expected @ weight.T + bias
            expected = np.tanh(z) if kind == "tanh" else np.maximum(z, 0.0)
        close(run(x), expected, dtype)


@pytest.mark.parametrize(
    ("width", "vectors"), [(128, execute.LONG_VECTORS), (129, execute.WIDE_VECTORS)]
)
def test_tiles_are_long_where_the_sources_of_a_level_fit_into_the_first_cache(
    width: int, vectors: int
) -> None:
    shifts = np.arange(5) * 7  # each target has five sources, and each source five targets
    weight = np.zeros((width, width))
    weight[np.arange(width)[:, None], (np.arange(width)[:, None] + shifts) % width] = 1.0
    about = compile_network(EdgeGraph.from_layers([weight] * 3, None, relu)).explain()
    assert about.tile * 4 == vectors * execute.VECTOR_BYTES


def test_a_constant_among_many_outputs() -> None:
    rng = np.random.default_rng(5)
    weight, bias = rng.normal(size=(24, 20)), rng.normal(size=24)
    weight[[0, 11, 23]] = 0.0
    x = rng.normal(size=(50, 20))
    close(
        compile_network(EdgeGraph.from_layers([weight], [bias]))(x), x @ weight.T + bias, "float32"
    )
