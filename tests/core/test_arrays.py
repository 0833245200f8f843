from __future__ import annotations

import re

import numpy as np
import pytest

from byways.core.arrays import finite, frozen
from byways.core.errors import DomainError, ShapeError


@pytest.mark.parametrize("given", [[True, False], [1, 0], np.float16([1, 0]), np.uint8([1, 0])])
def test_real_numbers_become_float64(given: object) -> None:
    array = finite(given, "x")  # type: ignore[arg-type]
    assert array.dtype == np.float64
    assert array.tolist() == [1.0, 0.0]


def test_memory_becomes_c_contiguous_and_scalars_stay_scalars() -> None:
    assert finite(np.ones((2, 3), order="F"), "x").flags.c_contiguous
    assert finite(2.5, "x").shape == ()
    assert finite([], "x").shape == (0,)


def test_a_frozen_array_is_a_copy_that_cannot_be_written() -> None:
    given = np.zeros(2)
    array = frozen(given, "x")
    given[0] = 5
    assert array.tolist() == [0, 0]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1.0, np.nan], [np.inf, 2.0]], '"W" has 2 values that are NaN or infinite'),
        ([[1.0, np.nan], [np.inf, 2.0]], "first at index (0, 1): nan;"),
        (-np.inf, "first at index (): -inf;"),
    ],
)
def test_infinite_numbers_are_refused_with_count_and_place(given: object, message: str) -> None:
    with pytest.raises(DomainError, match=re.escape(message)):
        finite(given, "W")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [[1j], ["1"], [None], np.array(["2020"], "datetime64[Y]")])
def test_what_is_not_a_real_number_is_a_type_error(given: object) -> None:
    with pytest.raises(TypeError, match=r'"W" has dtype .*; real numbers are needed'):
        finite(given, "W")  # type: ignore[arg-type]


def test_wrong_axes_and_ragged_lists_are_shape_errors() -> None:
    with pytest.raises(ShapeError, match=re.escape('"W" has shape (2,)')):
        finite([1.0, 2.0], "W", 2)
    with pytest.raises(ShapeError, match='"W" is not a rectangular array'):
        finite([[1.0], [1.0, 2.0]], "W")
