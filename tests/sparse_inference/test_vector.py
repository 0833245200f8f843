from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from byways.sparse_inference._lanes import clipped, filled, load, multiply_add, store
from byways.sparse_inference._vector import VECTOR_BYTES, accumulate

ROOM = 20  # neuron vectors in the table


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "vectors"), [(1, 3), (1, 4), (1, 6), (4, 3), (8, 3)])
def test_runs_of_any_length_by_dense_products(rows: int, vectors: int, dtype: str) -> None:
    """All shapes that some host uses; this one's may be any of them."""

    @njit(error_model="numpy")
    def run(values, places, sources, edges, weights, bias, low, high, begins, ends):  # type: ignore[no-untyped-def]
        accumulate(
            values, places, 1, sources, 2, 2 + edges, weights, 3, bias, low, high, begins, ends,
            rows, vectors,
        )  # fmt: skip

    rng = np.random.default_rng(rows)
    width = vectors * VECTOR_BYTES // np.dtype(dtype).itemsize
    for edges in range(8):
        for begins, ends in ((0, 0), (1, 0), (0, 1), (1, 1)):
            table = rng.normal(size=(ROOM, width)).astype(dtype)
            slots = rng.permutation(ROOM)
            # Arrays begin with entries of other runs, and places end with one.
            places, sources = slots[: rows + 2], slots[rows + 2 :][:edges]
            weights = rng.normal(size=3 + edges * rows).astype(dtype)
            bias = rng.normal(size=rows + 1).astype(dtype)
            low, high = np.full(rows + 1, -0.5, dtype), np.full(rows + 1, 0.75, dtype)
            expected = table.astype(float)
            sums = np.tile(bias[1:, None], width) if begins else expected[places[1:-1]]
            sums = sums + weights[3:].reshape(edges, rows).T.astype(float) @ expected[sources]
            expected[places[1:-1]] = np.clip(sums, -0.5, 0.75) if ends else sums
            values = table.ravel()
            offsets = np.concatenate([[0, 0], sources * width]).astype(np.uint32)
            run(values, places * width, offsets, edges, weights, bias, low, high, begins, ends)
            found = values.reshape(ROOM, width)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("vectors", [1, 2, 4])
def test_vectors_as_values(vectors: int, dtype: str) -> None:
    @njit
    def run(values, factor, low, high, start):  # type: ignore[no-untyped-def]
        source = load(values, 1, vectors)
        held = source
        sums = filled(start, source)
        for _ in range(3):
            sums = multiply_add(held, factor, sums)
        store(values, 5, clipped(sums, low, high))

    width = vectors * VECTOR_BYTES // np.dtype(dtype).itemsize
    values = np.random.default_rng(vectors).normal(size=width + 7).astype(dtype)
    values[2] = np.nan
    expected = values.copy()
    expected[5 : 5 + width] = np.clip(0.25 + 1.5 * values[1 : 1 + width], -0.5, 0.75)
    number = np.dtype(dtype).type
    run(values, number(0.5), number(-0.5), number(0.75), number(0.25))
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)
