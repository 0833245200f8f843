from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from byways.core import (
    PiecewiseLinear,
    absolute,
    clamp,
    hardtanh,
    identity,
    leaky_relu,
    relu,
)
from tests.oracles.plain import PlainActivation, activate
from tests.oracles.plain import segment as plain_segment

TorchFunction = Callable[[torch.Tensor], torch.Tensor]

TABLE: list[tuple[str, PiecewiseLinear, TorchFunction]] = [
    ("relu", relu, functional.relu),
    ("absolute", absolute, torch.abs),
    ("identity", identity, lambda z: z),
    ("leaky 0.01", leaky_relu(), functional.leaky_relu),
    ("leaky 0.3", leaky_relu(0.3), lambda z: functional.leaky_relu(z, 0.3)),
    ("leaky -0.5", leaky_relu(-0.5), lambda z: functional.leaky_relu(z, -0.5)),
    ("leaky 2", leaky_relu(2.0), lambda z: functional.leaky_relu(z, 2.0)),
    ("hardtanh", hardtanh(), functional.hardtanh),
    ("hardtanh -2 0.5", hardtanh(-2, 0.5), lambda z: functional.hardtanh(z, -2, 0.5)),
    ("relu6", clamp(0, 6), functional.relu6),
    ("clamp 0.1 0.7", clamp(0.1, 0.7), lambda z: torch.clamp(z, 0.1, 0.7)),
    ("clamp -0.7 -0.1", clamp(-0.7, -0.1), lambda z: torch.clamp(z, -0.7, -0.1)),
    ("clamp low", clamp(low=-1.5), lambda z: torch.clamp(z, min=-1.5)),
    ("clamp high", clamp(high=1.5), lambda z: torch.clamp(z, max=1.5)),
]
BY_NAME = pytest.mark.parametrize(
    ("ours", "theirs"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
POINTS = np.concatenate([np.linspace(-8, 8, 161), [-1e9, -1e-300, -0.0, 0.0, 1e-300, 1e9]])


@BY_NAME
def test_values_are_those_of_torch(ours: PiecewiseLinear, theirs: TorchFunction) -> None:
    np.testing.assert_array_equal(ours(POINTS), theirs(torch.from_numpy(POINTS)).numpy())


@BY_NAME
def test_slopes_are_the_gradients_of_torch(ours: PiecewiseLinear, theirs: TorchFunction) -> None:
    away = POINTS[[not np.isin(z, ours.breakpoints) for z in POINTS]]
    z = torch.from_numpy(away).requires_grad_()
    theirs(z).sum().backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    slopes, _ = ours.pieces()
    np.testing.assert_array_equal(slopes[ours.segment(away)], z.grad.numpy())


@given(
    st.lists(st.floats(-100, 100), max_size=5, unique=True).map(sorted),
    st.lists(st.integers(-5, 5), min_size=6, max_size=6),
    st.integers(-5, 5),
    st.floats(-200, 200),
)
def test_values_and_segments_hold_in_exact_rationals(
    breakpoints: list[float], slopes: list[int], offset: int, z: float
) -> None:
    numbers = tuple(breakpoints), tuple(float(a) for a in slopes[: len(breakpoints) + 1])
    ours = PiecewiseLinear(*numbers, float(offset))
    plain = PlainActivation(*numbers, float(offset))
    expected = activate(plain, Fraction(z))
    assert float(ours(z)) == pytest.approx(float(expected), rel=1e-13, abs=1e-10)
    piece = sum(Fraction(t) < Fraction(z) for t in breakpoints)
    exact_slopes, intercepts = ours.exact_pieces()
    assert exact_slopes[piece] * Fraction(z) + intercepts[piece] == expected
    assert int(ours.segment(z)) == plain_segment(plain, Fraction(z))


@BY_NAME
def test_neighbouring_pieces_meet(ours: PiecewiseLinear, theirs: TorchFunction) -> None:
    for i, t in enumerate(ours.breakpoints):
        (a, c), (b, d) = ours.piece(i), ours.piece(i + 1)
        assert a * t + c == pytest.approx(b * t + d, abs=1e-15)
        assert a * t + c == pytest.approx(float(theirs(torch.tensor(t, dtype=torch.float64))))


@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_clamp_gives_its_limits_exactly(a: float, b: float) -> None:
    low, high = sorted((a, b))
    if low == high:
        return
    ours = clamp(low, high)
    assert float(ours(-1e15)) == low
    assert float(ours(1e15)) == high


def test_a_breakpoint_belongs_to_the_lower_segment() -> None:
    above = np.nextafter(0.0, 1.0)
    assert relu.segment([-1.0, -0.0, 0.0, above]).tolist() == [0, 0, 0, 1]
    assert hardtanh().segment([-1.0, -0.5, 1.0, 1.5]).tolist() == [0, 1, 1, 2]
    assert relu.segment(0.0).dtype == np.int8
    z = torch.zeros(1, requires_grad=True)
    functional.relu(z).sum().backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert relu.piece(int(relu.segment(0.0)))[0] == float(z.grad) == 0.0


def test_shapes_are_kept() -> None:
    for shape in ((), (0,), (2, 0, 3), (2, 3)):
        assert relu(np.zeros(shape)).shape == shape
        assert relu.segment(np.zeros(shape)).shape == shape
        assert identity.segment(np.ones(shape)).shape == shape


def test_a_leaky_relu_without_a_kink_is_the_identity() -> None:
    assert leaky_relu(1.0) is identity
    assert identity.is_identity
    assert not relu.is_identity
    assert not PiecewiseLinear((), (1.0,), 0.5).is_identity
    assert not PiecewiseLinear((), (2.0,)).is_identity


@pytest.mark.parametrize(
    "given_numbers",
    [((0,), (0, 1), 0), ([0.0], [0.0, 1.0], 0.0), ((np.float32(0),), (np.int64(0), 1), 0)],
    ids=["integers", "lists", "numpy"],
)
def test_numbers_become_plain_floats(given_numbers: tuple[object, ...]) -> None:
    made = PiecewiseLinear(*given_numbers, "relu")  # type: ignore[arg-type]
    assert made == relu
    assert hash(made) == hash(relu)
    assert json.dumps(asdict(made)) == json.dumps(asdict(relu))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0.0,), (1.0,)), '"slopes" has 1 numbers for 1 breakpoints'),
        (((), ()), '"slopes" has 0 numbers for 0 breakpoints'),
        (((0.0, 0.0), (1.0, 2.0, 3.0)), '"breakpoints" must increase strictly, got (0.0, 0.0)'),
        (((1.0, 0.0), (1.0, 2.0, 3.0)), '"breakpoints" must increase strictly'),
        (((0.0,), (1.0, math.nan)), "must be finite"),
        (((math.inf,), (1.0, 2.0)), "must be finite"),
        (((0.0,), (1.0, 2.0), math.inf), "must be finite"),
        ((tuple(range(128)), (1.0,) * 129), "127 are allowed"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        PiecewiseLinear(*arguments)  # type: ignore[arg-type]


def test_clamps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="both None; give at least one"):
        clamp()
    with pytest.raises(ValueError, match='"low" must be below "high", got 2 and 1'):
        clamp(2, 1)
    with pytest.raises(ValueError, match='"low" must be below "high"'):
        hardtanh(1.0, 1.0)
