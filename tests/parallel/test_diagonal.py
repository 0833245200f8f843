"""Diagonal recurrences against a loop, closed forms and torch's own derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

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
@pytest.mark.parametrize(
    ("steps", "width"), [(31, 1), (32, 1), (33, 1), (2081, 1), (2100, 2), (700, 3), (70, 40)]
)
def test_folded_steps_equal_the_loop(
    steps: int, width: int, dtype: torch.dtype, reverse: bool
) -> None:
    # 16 numbers are done at once and 2048 folded at once: lengths around both, and of no multiple.
    a, b, start = (random(*s, dtype=dtype) for s in [(steps, width), (steps, width), (width,)])
    a = (a / 2).requires_grad_()
    expected = loop(lambda t, h: a[t] * h, b, start, reverse=reverse)
    states = diagonal_recurrence(a, b, start, reverse=reverse)
    torch.testing.assert_close(states, expected, rtol=1e-12, atol=1e-12)
    weights = random(steps, width, dtype=dtype, seed=2)
    (mine,) = torch.autograd.grad((states * weights).sum().abs(), a)
    (theirs,) = torch.autograd.grad((expected * weights).sum().abs(), a)
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("reverse", [False, True])
def test_steps_that_fold_out_of_range_go_on_plainly(reverse: bool) -> None:
    # From a zero state nothing grows, while the product of two factors would overflow.
    steps = 3000
    a, b = torch.full((steps,), 1e200, dtype=torch.float64), torch.zeros(steps).double()
    states = diagonal_recurrence(a, b, torch.zeros(()).double(), reverse=reverse)
    assert torch.equal(states, b)
    # Halving from 1, a power of two a step: exact down to the least normal number, as by hand.
    halved = diagonal_recurrence(
        torch.full((1000,), 0.5).double(),
        torch.zeros(1000).double(),
        torch.ones(()).double(),
        reverse=reverse,
    )
    powers = 0.5 ** torch.arange(1, 1001, dtype=torch.float64)
    assert torch.equal(halved, powers.flip(0) if reverse else powers)
    # Factors whose products are subnormal, beside an input at each step.
    tiny = torch.full((2500,), 1e-12, dtype=torch.float64)
    ones = torch.ones(2500, dtype=torch.float64)
    states = diagonal_recurrence(tiny, ones, reverse=reverse)
    assert float(states.max()) == pytest.approx(1 / (1 - 1e-12), rel=1e-15)
    assert sorted(set(states.tolist())) == [1.0, 1.0 + 1e-12]


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


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # make_dual's own
def test_forward_derivatives_are_refused_and_not_dropped() -> None:
    # Without a graph the kernel runs at once, which must not lose the tangents of dual numbers.
    a, b = random(5, 2), random(5, 2, seed=1)
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="jvp"):
        diagonal_recurrence(forward_ad.make_dual(a, torch.ones_like(a)), b)
    with pytest.raises(RuntimeError, match="jvp"):
        torch.func.jvp(lambda a: diagonal_recurrence(a, b), (a,), (torch.ones_like(a),))
