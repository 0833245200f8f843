"""The compiled tanh and logistic function against NumPy in extended precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from byways.parallel._vector_math import logistic, tanh


@njit(error_model="numpy")
def _values(x, tanh_out, logistic_out):
    for i in range(len(x)):
        tanh_out[i] = tanh(x[i])
        logistic_out[i] = logistic(x[i])


def _compiled(x: Any) -> tuple[Any, Any]:
    out = np.empty_like(x), np.empty_like(x)
    _values(x, *out)
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_few_units_in_the_last_place(dtype: Any) -> None:
    tiny = np.geomspace(1e-30, 1.0, 500)
    x = np.concatenate([np.linspace(-60, 60, 20_001), tiny, -tiny]).astype(dtype)
    mine = _compiled(x)
    exact = x.astype(np.longdouble)
    for got, expected in zip(mine, (np.tanh(exact), 1 / (1 + np.exp(-exact))), strict=True):
        error = np.abs(got - expected) / np.maximum(np.abs(expected), np.finfo(dtype).tiny)
        assert float(error.max()) < 4 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ends_of_the_range_and_nan(dtype: Any) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 1e30, -1e30, 0.0], dtype)
    t, s = _compiled(x)
    np.testing.assert_array_equal(t, np.array([1, -1, np.nan, 1, -1, 0], dtype))
    np.testing.assert_array_equal(s[[0, 2, 3, 5]], np.array([1, np.nan, 1, 0.5], dtype))
    assert (s[[1, 4]] < 1e-37).all()


def test_called_from_python() -> None:
    assert tanh(0.5) == pytest.approx(np.tanh(0.5), rel=1e-15)
    assert logistic(0.5) == pytest.approx(1 / (1 + np.exp(-0.5)), rel=1e-15)
