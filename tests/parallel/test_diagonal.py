"""Diagonal recurrences against a loop, closed forms and torch's own derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from byways.parallel._diagonal import _doubling, diagonal_recurrence
from tests.oracles.recurrences import loop

DTYPES = [torch.float64, torch.complex128]


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=dtype, generator=generator)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 64])
def test_states_equal_the_loop(steps: int, dtype: torch.dtype, reverse: bool) -> None:
    a, b, start = (random(*s, dtype=dtype) for s in [(steps, 2, 3), (steps, 2, 3), (2, 3)])
    expected = loop(lambda t, h: a[t] * h, b, start, reverse=reverse)
    torch.testing.assert_close(diagonal_recurrence(a, b, start, reverse=reverse), expected)
    moved = diagonal_recurrence(
        a.movedim(0, 1), b.movedim(0, 1), start, dim=1, reverse=reverse
    ).movedim(1, 0)
    torch.testing.assert_close(moved, expected)
    flat = [one.movedim(0, 1) for one in (a, b)]
    torch.testing.assert_close(_doubling(*flat, start, reverse).movedim(1, 0), expected)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_derivatives_of_both_orders(steps: int, dtype: torch.dtype, reverse: bool) -> None:
    inputs = [random(*s, dtype=dtype) for s in [(2, steps, 2), (2, steps, 2), (2, 2)]]
    inputs = [one.requires_grad_() for one in inputs]

    def run(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
        return diagonal_recurrence(a, b, start, dim=1, reverse=reverse)

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_no_steps_and_no_batch_give_empty_states() -> None:
    assert diagonal_recurrence(random(0, 3), random(0, 3), random(3)).shape == (0, 3)
    assert diagonal_recurrence(random(4, 0, 3), random(4, 0, 3)).shape == (4, 0, 3)


def test_factors_broadcast_and_their_gradients_sum() -> None:
    a = random(5, 1, 1).requires_grad_()
    full = a.detach().expand(5, 2, 3).clone().requires_grad_()
    b = random(5, 2, 3)
    diagonal_recurrence(a, b).sum().backward()
    diagonal_recurrence(full, b).sum().backward()
    assert a.grad is not None
    assert full.grad is not None
    torch.testing.assert_close(a.grad, full.grad.sum(dim=(1, 2), keepdim=True))


@pytest.mark.parametrize("steps", [1, 2, 3, 40])
def test_scalar_recurrence_has_its_closed_gradient(steps: int) -> None:
    # h_t = a h_{t-1} + 1 from 0: dh_T/da = (1 - T a^(T-1) + (T-1) a^T) / (1 - a)^2
    a = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    diagonal_recurrence(a, torch.ones(steps, dtype=torch.float64))[-1].backward()
    x = 0.9
    closed = (1 - steps * x ** (steps - 1) + (steps - 1) * x**steps) / (1 - x) ** 2
    assert a.grad is not None
    assert float(a.grad) == pytest.approx(closed, rel=1e-12)


def test_mapped_recurrence_equals_one_by_one() -> None:
    a, b, start = random(4, 6, 3), random(4, 6, 3, seed=1), random(3)
    mapped = torch.func.vmap(diagonal_recurrence, in_dims=(0, 0, None))(a, b, start)
    singly = [diagonal_recurrence(*one, start) for one in zip(a, b, strict=True)]
    torch.testing.assert_close(mapped, torch.stack(singly))


def test_inputs_of_any_layout() -> None:
    a, b = random(3, 5).T, random(1, 3).expand(5, 3)
    assert not a.is_contiguous()
    expected = loop(lambda t, h: a[t] * h, b, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(diagonal_recurrence(a, b), expected)
