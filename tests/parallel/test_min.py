"""MinGRU and MinLSTM against loops over the published formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from byways.core.errors import ShapeError
from byways.parallel import MinGRU, MinLSTM


def _g(c: Tensor) -> Tensor:
    return torch.where(c >= 0, c + 0.5, torch.sigmoid(c))


def _loop(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    states = []
    for x_t in x:
        parts = cell.projection(x_t).split(cell.hidden_size, -1)
        c = _g(parts[-1]) if cell.log_space else parts[-1]
        if isinstance(cell, MinGRU):
            z = torch.sigmoid(parts[0])
            h = (1 - z) * h + z * c
        else:
            f, i = torch.sigmoid(parts[0]), torch.sigmoid(parts[1])
            h = f / (f + i) * h + i / (f + i) * c
        states.append(h)
    return torch.stack(states)


@pytest.mark.parametrize("log_space", [False, True])
@pytest.mark.parametrize("cls", [MinGRU, MinLSTM])
@pytest.mark.parametrize("steps", [1, 2, 3, 100])
def test_values_and_gradients_of_the_loop(cls: Any, log_space: bool, steps: int) -> None:
    torch.manual_seed(0)
    cell = cls(3, 5, log_space=log_space, dtype=torch.float64)
    x = torch.randn(steps, 2, 3, dtype=torch.float64, requires_grad=True)
    h = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)  # negative values, too
    states, last = cell(x, h)
    expected = _loop(cell, x, h)
    torch.testing.assert_close(states, expected, rtol=1e-10, atol=1e-10)
    assert torch.equal(last, states[-1])
    leaves = [x, h, *cell.parameters()]
    mine = torch.autograd.grad(states.square().sum(), leaves)
    for a, b in zip(mine, torch.autograd.grad(expected.square().sum(), leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("log_space", [False, True])
@pytest.mark.parametrize("cls", [MinGRU, MinLSTM])
def test_lengths(cls: Any, log_space: bool) -> None:
    cell = cls(3, 5, log_space=log_space, batch_first=True, dtype=torch.float64)
    x = torch.randn(3, 20, 3, dtype=torch.float64, requires_grad=True)
    h = torch.randn(3, 5, dtype=torch.float64)
    states, last = cell(x, h, lengths=[20, 7, 0])
    torch.testing.assert_close(last[1], cell(x[1:2, :7], h[1:2])[1][0])
    torch.testing.assert_close(last[2], h[2])
    assert not states[1, 7:].any()
    (gradient,) = torch.autograd.grad(states.sum() + last.sum(), x)
    assert gradient.isfinite().all()
    assert not gradient[1, 7:].any()


def test_extreme_gates_stay_finite() -> None:
    cell = MinLSTM(1, 2)
    with torch.no_grad():
        cell.projection.weight.fill_(500.0)
    x = torch.tensor([-1.0, 1.0]).repeat(20)[:, None, None].requires_grad_()
    states, _ = cell(x)
    (gradient,) = torch.autograd.grad(states.sum(), x)
    assert states.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("log_space", [False, True])
@pytest.mark.parametrize("cls", [MinGRU, MinLSTM])
def test_gradgradcheck(cls: Any, log_space: bool) -> None:
    cell = cls(2, 2, dtype=torch.float64, log_space=log_space)
    x = torch.randn(4, 1, 2, dtype=torch.float64, requires_grad=True)
    h = torch.randn(1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(cell, (x, h))
    assert torch.autograd.gradgradcheck(cell, (x, h))


def test_doors() -> None:
    cell, start = MinGRU(3, 5), torch.randn(2, 5)
    states, last = cell(torch.zeros(0, 2, 3), start)
    assert states.shape == (0, 2, 5)
    assert torch.equal(last, start)
    assert cell(torch.zeros(4, 0, 3))[0].shape == (4, 0, 5)
    assert "3, 5, batch_first=False, log_space=False" in repr(cell)
    cell.reset_parameters()
    with pytest.raises(ShapeError, match=r'"input" has shape \(4, 2, 9\); give three axes'):
        cell(torch.zeros(4, 2, 9))
    with pytest.raises(ShapeError, match=r'"hx" has shape \(1, 2, 5\); it must be \(2, 5\)'):
        cell(torch.zeros(4, 2, 3), torch.zeros(1, 2, 5))
    with pytest.raises(ValueError, match="the first at time step 2"):
        cell(torch.tensor([0.0, 0.0, torch.nan])[:, None, None].expand(3, 2, 3))
