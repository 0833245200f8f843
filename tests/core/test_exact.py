"""Exact arithmetic against loops over Python's own integers and rationals."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byways.core.exact import Packing, homogeneous, integer_arrays, integers, product, rational

WIDE = st.integers(-(2**200), 2**200)
SMALL = st.integers(-9, 9)
ROW = st.lists(WIDE, min_size=4, max_size=4)
SIZES = [(1, 2**51 - 1), (3, 2**24), (785, 2**24), (785, 1), (0, 5)]
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def objects(rows: Any) -> Any:
    return np.array(rows, dtype=object)


@given(st.lists(FLOATS | st.fractions(), min_size=1, max_size=5))
def test_integers_are_the_smallest_of_these_proportions(numbers: list[Any]) -> None:
    whole, common = integers(numbers)
    assert [Fraction(p, common) for p in whole] == [Fraction(x) for x in numbers]
    assert math.gcd(common, *whole) == 1


def test_arrays_keep_their_shapes() -> None:
    (first, second, none), common = integer_arrays([[0.5, 1.0]], [0.75], np.zeros((0, 3)))
    assert (first.tolist(), second.tolist(), common) == ([[2, 4]], [3], 4)
    assert none.shape == (0, 3)
    assert all(type(x) is int for x in first.ravel())


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        integers([math.nan])
    with pytest.raises(OverflowError):
        integers([math.inf])


def test_rational() -> None:
    assert rational([[0.1], [2]]).tolist() == [[Fraction(0.1)], [Fraction(2)]]


@given(
    st.lists(FLOATS, min_size=6, max_size=6), st.lists(st.integers(-9, 9), min_size=2, max_size=2)
)
def test_homogeneous(numbers: list[float], x: list[int]) -> None:
    weight, bias = np.array(numbers[:4]).reshape(2, 2), np.array(numbers[4:])
    *z, one = (homogeneous(weight, bias) @ objects([*x, 1])).tolist()
    assert one > 0
    for i in range(2):
        truth = sum((Fraction(w) * v for w, v in zip(weight[i], x, strict=True)), Fraction(bias[i]))
        assert Fraction(z[i], one) == truth


@pytest.mark.parametrize(
    ("n", "most"), [(1, 2**51 - 1), (3, 2**24), (785, 2**24), (785, 1), (0, 5)]
)
def test_product_by_loops(n: int, most: int) -> None:
    rng = random.Random(n)
    whole = [[rng.choice([most, -most, rng.randint(-most, most)]) for _ in range(n)] for _ in "ab"]
    matrix = [[rng.randint(-(2**90), 2**90) >> rng.randint(0, 95) for _ in "xyz"] for _ in range(n)]
    found = product(np.array(whole, dtype=float).reshape(2, n), objects(matrix).reshape(n, 3))
    truth = [
        [sum(a * row[j] for a, row in zip(line, matrix, strict=True)) for j in range(3)]
        for line in whole
    ]
    assert found.tolist() == truth


def test_product_of_numbers_too_large() -> None:
    with pytest.raises(OverflowError, match="3 numbers"):
        product(np.full((1, 3), 2.0**52), objects([[1], [1], [1]]))


@given(
    st.lists(st.lists(WIDE, min_size=4, max_size=4), min_size=2, max_size=2), st.integers(-99, 99)
)
def test_packed_functions_are_added_and_multiplied(rows: list[list[int]], factor: int) -> None:
    packing = Packing(3, 100 * 2**200)
    f, g = packing.pack(objects(rows)).tolist()
    truth = [factor * a + b for a, b in zip(*rows, strict=True)]
    found = factor * f + g
    assert packing.coefficients(found) == truth
    assert packing.highest(found) == sum(max(a, 0) for a in truth[:-1]) + truth[-1]
    assert packing.is_constant(found) == (not any(truth[:-1]))
    assert (found == 0) == (not any(truth))


@pytest.mark.parametrize("largest", [1, 127, 128, 255, 256, 2**64 - 1, 2**64])
def test_packing_at_its_limits(largest: int) -> None:
    packing, ends = Packing(2, largest), [largest, -largest, 0]
    for row in ([a, b, c] for a in ends for b in ends for c in ends):
        (function,) = packing.pack(objects([row])).tolist()
        assert packing.coefficients(function) == row
        assert packing.is_constant(function) == (row[:2] == [0, 0])
        assert packing.highest(function) == max(row[0], 0) + max(row[1], 0) + row[2]
