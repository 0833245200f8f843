"""Every public name away from the CPU: the values and gradients of the loop on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from byways.parallel import (
    GRU,
    LSTM,
    RNN,
    MinGRU,
    MinLSTM,
    ParallelCell,
    associative_scan,
    parallel_backward,
    sample_ddim,
    scan,
    solve_recurrence,
)
from byways.parallel.diagnostics import lyapunov, verify
from tests.oracles.recurrences import loop, nonlinear, prefixes

from .devices import Device
from .test_backward import made
from .test_ddim import by_hand, cosine_levels, gaussian
from .test_diagonal import random
from .test_min import _loop as min_loop
from .test_scan import NAMES, STRUCTURES, dense_loop
from .test_solve import METHODS, problem, tanh_cell


def near(found: Any, expected: Any, device: Device) -> None:
    """Compare on the CPU, and see that each tensor was where it belongs."""
    home = "meta" if device.name == "simulated" else device.name
    assert all(one.device.type == home for one in found)
    there = [one.detach().cpu() for one in found]
    torch.testing.assert_close(there, [one.detach() for one in expected], rtol=1e-9, atol=1e-10)


def moved(device: Device, tensors: list[Tensor]) -> list[Tensor]:
    return [device.put(one) for one in tensors]


@pytest.mark.parametrize("strategy", ["auto", *NAMES])
@pytest.mark.parametrize("kind", sorted(STRUCTURES))
def test_scan(device: Device, kind: str, strategy: str) -> None:
    for n, reverse in ((1, False), (5, False), (6, True)):
        template = STRUCTURES[kind](n)
        inputs = [*template.tensors, random(n, 2, 4, seed=1), random(2, 4, seed=2)]
        inputs = [one.clone().requires_grad_() for one in inputs]
        there = moved(device, inputs)
        states = scan(template.like(*there[:-2]), *there[-2:], strategy=strategy, reverse=reverse)
        expected = dense_loop(template.like(*inputs[:-2]), *inputs[-2:], reverse)
        near([states], [expected], device)
        found = torch.autograd.grad(states.square().sum(), there)
        near(found, torch.autograd.grad(expected.square().sum(), inputs), device)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_diagonal_scan_of_tensors(device: Device, dtype: torch.dtype, reverse: bool) -> None:
    inputs = [random(9, 3, seed=k).to(dtype).requires_grad_() for k in range(2)]
    inputs.append(random(3, seed=2).to(dtype).requires_grad_())
    a, b, start = inputs
    expected = loop(lambda t, h: a[t] * h, b, start, reverse=reverse)
    there = moved(device, inputs)
    states = scan(*there, reverse=reverse)
    near([states], [expected], device)
    found = torch.autograd.grad(states.abs().sum(), there)
    near(found, torch.autograd.grad(expected.abs().sum(), inputs), device)


def test_what_is_not_finite_is_found(device: Device) -> None:
    a = torch.ones(5, 2)
    a[3, 1] = torch.nan
    with pytest.raises(ValueError, match='"A" is not finite; the first bad step is 3'):
        scan(device.put(a), device.put(torch.ones(5, 2)))


@pytest.mark.parametrize("strategy", NAMES)
def test_associative_scan(device: Device, strategy: str) -> None:
    matrices = (random(11, 3, 3) / 2).requires_grad_()
    expected = torch.stack(prefixes(lambda a, b: b @ a, list(matrices)))
    there = device.put(matrices)
    found = associative_scan(lambda a, b: b @ a, there, strategy=strategy, check_associative=True)
    near([found], [expected], device)
    near(
        torch.autograd.grad(found.sum(), there),
        torch.autograd.grad(expected.sum(), matrices),
        device,
    )


@pytest.mark.parametrize("steps", [1, 2, 30])
@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_solve_recurrence(device: Device, method: str, steps: int) -> None:
    inputs = [one.requires_grad_() for one in problem(steps)]
    expected = torch.stack(
        nonlinear(lambda x, h: tanh_cell(x, h, inputs[2]), list(inputs[0]), inputs[1])
    )
    x, h0, W = there = moved(device, inputs)
    states, _ = solve_recurrence(tanh_cell, x, h0, (W,), method=method, bounds=(-1, 1))
    near([states], [expected], device)
    found = torch.autograd.grad(states.square().sum(), there)
    near(found, torch.autograd.grad(expected.square().sum(), inputs), device)


def test_chaos_falls_back(device: Device) -> None:
    start = torch.tensor([0.3], dtype=torch.float64)
    x = torch.zeros(12, 1, dtype=torch.float64)

    def f(x: Tensor, h: Tensor) -> Tensor:
        return 4 * h * (1 - h) + x

    expected = torch.stack(nonlinear(f, list(x), start))
    options: dict[str, Any] = {"method": "newton", "max_steps": 2}
    states, info = solve_recurrence(f, device.put(x), device.put(start), **options)
    assert info.fallback
    near([states], [expected], device)


@pytest.mark.parametrize("strategy", ["auto", "sequential", "pcr"])
@pytest.mark.parametrize(
    "name", ["relu between other layers", "no bias", "residual", "wide residual", "wide sigmoid"]
)
def test_parallel_backward(device: Device, name: str, strategy: str) -> None:
    plain, x = made(name)
    model = device.move(copy.deepcopy(plain))
    x.requires_grad_()
    x_there = device.put(x)
    y, expected = parallel_backward(model, strategy=strategy)(x_there), plain(x)
    near([y], [expected], device)
    found = torch.autograd.grad(y.square().sum(), [x_there, *model.parameters()])
    wanted = torch.autograd.grad(expected.square().sum(), [x, *plain.parameters()])
    near(found, wanted, device)


def test_bppsa_with_sparse_jacobians(device: Device) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3),
        nn.AvgPool2d(2, count_include_pad=False), nn.Flatten(), nn.Linear(2, 3), nn.Tanh(),
    ).double()  # fmt: skip
    with torch.no_grad():
        plain[3].weight[0, 0] = 0.0  # pruned
        plain[6].weight[:, 0] = 0.0
    model = device.move(copy.deepcopy(plain))
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    x_there = device.put(x)
    y, expected = parallel_backward(model, strategy="bppsa")(x_there), plain(x)
    found = torch.autograd.grad(y.square().sum(), [x_there, *model.parameters()])
    wanted = torch.autograd.grad(expected.square().sum(), [x, *plain.parameters()])
    near(found, wanted, device)


@pytest.mark.parametrize("lengths", [None, [9, 4, 1]])
@pytest.mark.parametrize("strategy", ["auto", "shooting", "torch", "blelloch"])
@pytest.mark.parametrize("cls", [RNN, GRU, LSTM])
def test_drop_ins(device: Device, cls: Any, strategy: str, lengths: list[int] | None) -> None:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "dtype": torch.float64}
    plain = cls(3, 4, strategy="floor", **settings)  # itself compared with torch's elsewhere
    ours = cls(3, 4, strategy=strategy, **settings)
    ours.load_state_dict(plain.state_dict())
    device.move(ours)
    x = torch.randn(9, 3, 3, dtype=torch.float64, requires_grad=True)
    x_there = device.put(x)
    y, _ = ours(x_there, lengths=lengths)
    expected, _ = plain(x, lengths=lengths)
    near([y], [expected], device)
    found = torch.autograd.grad(y.square().sum(), [x_there, *ours.parameters()])
    near(found, torch.autograd.grad(expected.square().sum(), [x, *plain.parameters()]), device)


def test_the_compiled_loops_refuse_other_devices_by_name(device: Device) -> None:
    if device.name == "cpu":
        return
    ours = device.move(GRU(3, 4, strategy="floor"))
    with pytest.raises(ValueError, match=r"'floor' and the input is torch.float32 on (meta|cuda)"):
        ours(device.put(torch.zeros(5, 1, 3)))


class Leaky(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 2, dtype=torch.float64)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return 0.5 * h + torch.tanh(self.inner(torch.cat([x, h], -1)))


@pytest.mark.parametrize("cell", [Leaky, lambda: nn.GRUCell(3, 2, dtype=torch.float64)])
@pytest.mark.parametrize("lengths", [None, [20, 7]])
def test_parallel_cell(
    device: Device, cell: Callable[[], nn.Module], lengths: list[int] | None
) -> None:
    torch.manual_seed(0)
    plain = cell()
    x = torch.randn(20, 2, 3, dtype=torch.float64, requires_grad=True)
    h0 = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    steps, h = [], h0
    for t, x_t in enumerate(x):
        runs = torch.tensor(lengths or [20, 20])[:, None] > t
        h = torch.where(runs, plain(x_t, h), h)
        steps.append(h)  # a sequence that has ended holds its state
    expected = torch.stack(steps)
    inner = device.move(copy.deepcopy(plain))
    x_there, h_there = moved(device, [x, h0])
    y, last = ParallelCell(inner)(x_there, h_there, lengths=lengths)
    near([y, last], [expected, h], device)
    found = torch.autograd.grad(y.square().sum(), [x_there, h_there, *inner.parameters()])
    wanted = torch.autograd.grad(expected.square().sum(), [x, h0, *plain.parameters()])
    near(found, wanted, device)


@pytest.mark.parametrize("log_space", [False, True])
@pytest.mark.parametrize("cls", [MinGRU, MinLSTM])
def test_minimal_cells(device: Device, cls: Any, log_space: bool) -> None:
    torch.manual_seed(0)
    plain = cls(3, 5, log_space=log_space, dtype=torch.float64)
    x = torch.randn(20, 2, 3, dtype=torch.float64, requires_grad=True)
    h = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    expected = min_loop(plain, x, h)
    ours = device.move(copy.deepcopy(plain))
    x_there, h_there = moved(device, [x, h])
    states, _ = ours(x_there, h_there)
    near([states], [expected], device)
    found = torch.autograd.grad(states.square().sum(), [x_there, h_there, *ours.parameters()])
    wanted = torch.autograd.grad(expected.square().sum(), [x, h, *plain.parameters()])
    near(found, wanted, device)
    short, _ = ours(x_there, h_there, lengths=[20, 3])
    assert not short[3:, 1].cpu().any()


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize(
    "method", ["sequential", "picard", "anderson", "newton", "quasi", "shooting"]
)
def test_sample_ddim(device: Device, method: str, window: int | None) -> None:
    levels = cosine_levels(20)
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = by_hand(gaussian(levels), x, levels)
    there = device.put(levels)
    found, _ = sample_ddim(
        gaussian(there), device.put(x), levels, method=method, window=window, tolerance=1e-11
    )
    near([found], [expected], device)


def test_diagnostics(device: Device) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))).double()
    fast = parallel_backward(device.move(model))
    assert verify(fast, device.put(torch.randn(2, 4, dtype=torch.float64)))
    halving = lyapunov(
        lambda x, h: h / 2 + x,
        device.put(torch.zeros(50, 1, dtype=torch.float64)),
        device.put(torch.ones(1, dtype=torch.float64)),
    )
    assert float(halving) == pytest.approx(-0.6931471805599453)
