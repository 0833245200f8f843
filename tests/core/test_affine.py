from __future__ import annotations

import functools
import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byways.core import Affine

# Fifty copies of x -> [[0, 1], [1, 1]] x + (1, 0): Fibonacci numbers.
FIFTY_WEIGHT = [[7778742049, 12586269025], [12586269025, 20365011074]]
FIFTY_BIAS = [12586269025, 20365011073]


def fibonacci_step() -> Affine:
    return Affine(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([1.0, 0.0]))


def composed(maps: list[Affine], choose: st.DataObject) -> Affine:
    """Compose neighbours in a drawn order until one map is left."""
    maps = list(maps)
    while len(maps) > 1:
        i = choose.draw(st.integers(0, len(maps) - 2))
        maps[i : i + 2] = [maps[i].then(maps[i + 1])]
    return maps[0]


@settings(max_examples=25)
@given(st.data())
def test_fifty_steps_in_any_bracketing_are_exact(data: st.DataObject) -> None:
    result = composed([fibonacci_step()] * 50, data)
    assert result.weight.tolist() == FIFTY_WEIGHT
    assert result.bias.tolist() == FIFTY_BIAS


def test_fifty_steps_from_the_left_the_right_and_in_halves() -> None:
    steps = [fibonacci_step()] * 50
    left = functools.reduce(Affine.then, steps)
    right = functools.reduce(lambda after, before: before.then(after), steps)
    five = functools.reduce(Affine.then, steps[:5])
    ten = five.then(five)
    fifty = ten.then(ten).then(ten.then(ten)).then(ten)
    for result in (left, right, fifty):
        assert result.weight.tolist() == FIFTY_WEIGHT
        assert result.bias.tolist() == FIFTY_BIAS


@st.composite
def integer_maps(draw: st.DrawFn, count: int) -> list[Affine]:
    """Maps that fit in a row, with small integers: float64 composes them exactly."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=count + 1, max_size=count + 1))
    numbers = st.integers(-9, 9)
    maps = []
    for n, m in itertools.pairwise(sizes):
        weight = draw(st.lists(numbers, min_size=m * n, max_size=m * n))
        bias = draw(st.lists(numbers, min_size=m, max_size=m))
        maps.append(Affine(np.array(weight, float).reshape(m, n), np.array(bias, float)))
    return maps


@given(integer_maps(3))
def test_then_is_associative(maps: list[Affine]) -> None:
    f, g, h = maps
    left, right = f.then(g).then(h), f.then(g.then(h))
    np.testing.assert_array_equal(left.weight, right.weight)
    np.testing.assert_array_equal(left.bias, right.bias)


@given(integer_maps(2), st.integers(-9, 9))
def test_then_applies_its_argument_second(maps: list[Affine], seed: int) -> None:
    f, g = maps
    x = np.arange(f.weight.shape[1]) * 3.0 + seed
    np.testing.assert_array_equal(f.then(g)(x), g(f(x)))


def test_then_does_not_commute() -> None:
    double = Affine(np.array([[2.0]]), np.array([0.0]))
    shift = Affine(np.array([[1.0]]), np.array([3.0]))
    assert double.then(shift)(np.array([5.0])) == 13
    assert shift.then(double)(np.array([5.0])) == 16


@given(integer_maps(1))
def test_identity_changes_nothing_on_either_side(maps: list[Affine]) -> None:
    (f,) = maps
    m, n = f.weight.shape
    for result in (Affine.identity(n).then(f), f.then(Affine.identity(m))):
        np.testing.assert_array_equal(result.weight, f.weight)
        np.testing.assert_array_equal(result.bias, f.bias)


def test_batches_broadcast_like_a_loop() -> None:
    rng = np.random.default_rng(0)
    f = Affine(rng.standard_normal((5, 1, 3, 2)), rng.standard_normal((5, 1, 3)))
    g = Affine(rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 2)))
    x = rng.standard_normal((5, 4, 2))
    both = f.then(g)
    assert both.weight.shape == (5, 4, 2, 2)
    for i in range(5):
        for j in range(4):
            hidden = f.weight[i, 0] @ x[i, j] + f.bias[i, 0]
            expected = g.weight[j] @ hidden + g.bias[j]
            np.testing.assert_allclose(both(x)[i, j], expected, rtol=1e-13, atol=1e-13)


def test_torch_tensors_pass_through() -> None:
    step = Affine(
        torch.tensor([[0, 1], [1, 1]], dtype=torch.int64), torch.tensor([1, 0], dtype=torch.int64)
    )
    result = functools.reduce(Affine.then, [step] * 50)
    assert isinstance(result.weight, torch.Tensor)
    assert result.weight.tolist() == FIFTY_WEIGHT
    assert result.bias.tolist() == FIFTY_BIAS


def test_autograd_passes_through_composition() -> None:
    generator = torch.Generator().manual_seed(0)
    arguments = [
        torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
        for shape in ((3, 2), (3,), (2, 3), (2,), (4, 2))
    ]

    def evaluate(
        W: torch.Tensor, b: torch.Tensor, V: torch.Tensor, c: torch.Tensor, x: torch.Tensor
    ) -> torch.Tensor:
        result: torch.Tensor = Affine(W, b).then(Affine(V, c))(x)
        return result

    assert torch.autograd.gradcheck(evaluate, arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_identity_is_like_its_torch_model(dtype: torch.dtype) -> None:
    result = Affine.identity(3, like=torch.zeros(1, dtype=dtype))
    assert result.weight.dtype == result.bias.dtype == dtype
    assert result.weight.tolist() == np.eye(3).tolist()
    assert result.bias.tolist() == [0, 0, 0]


def test_identity_is_like_its_numpy_model() -> None:
    assert Affine.identity(2).weight.dtype == np.float64
    assert Affine.identity(2, like=np.zeros(1, np.float32)).bias.dtype == np.float32


def test_pickle_keeps_the_map() -> None:
    result = pickle.loads(pickle.dumps(fibonacci_step()))
    np.testing.assert_array_equal(result.weight, [[0, 1], [1, 1]])
    np.testing.assert_array_equal(result.bias, [1, 0])
