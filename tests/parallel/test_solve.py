"""Nonlinear recurrences against closed forms, step-by-step loops and autograd."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from byways.parallel import plan, solve_recurrence
from byways.parallel.elements import Dense
from tests.oracles.recurrences import nonlinear
from tests.parallel.test_diagonal import random

METHODS = ["newton", "quasi", "picard", "jacobi", "shooting", "sequential"]


def tanh_cell(x: Tensor, h: Tensor, W: Tensor) -> Tensor:
    return torch.tanh(h @ W.mT + x)


def problem(steps: int, size: int = 4, lanes: int = 3, gain: float = 0.8) -> tuple[Tensor, ...]:
    W = torch.linalg.qr(random(size, size))[0] * gain
    return random(steps, lanes, size, seed=1), random(lanes, size, seed=2), W


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [1, 2, 3, 60])
def test_every_method_finds_the_sequential_trajectory(method: str, steps: int) -> None:
    x, h0, W = problem(steps)
    found, info = solve_recurrence(tanh_cell, x, h0, (W,), method=method, bounds=(-1, 1))
    expected = torch.stack(nonlinear(lambda x, h: tanh_cell(x, h, W), list(x), h0))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert info.converged or method == "picard"  # which is for residual chains
    assert info.iterations <= steps


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("steps", [100, 1000, 10_000])
def test_twelve_scalar_runs_take_at_most_eight_rounds(gain: float, steps: int) -> None:
    x = 0.5 * torch.sin(torch.arange(steps, dtype=torch.float64))[:, None]
    start = torch.zeros(1, dtype=torch.float64)

    def f(x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(gain * h + x)

    found, info = solve_recurrence(f, x, start, method="newton", bounds=(-1, 1))
    state, expected = 0.0, []
    for value in x[:, 0].tolist():
        state = math.tanh(gain * state + value)
        expected.append(state)
    torch.testing.assert_close(
        found[:, 0], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9
    )
    assert info.converged
    assert info.iterations <= 8


def test_an_overflow_is_caught_without_bounds() -> None:
    x = 0.5 * torch.sin(torch.arange(10_000, dtype=torch.float64))[:, None]
    start = torch.zeros(1, dtype=torch.float64)
    found, info = solve_recurrence(lambda x, h: torch.tanh(3 * h + x), x, start, method="newton")
    assert "clipped" in info.fallback
    last = torch.tanh(3 * found[-2] + x[-1])
    torch.testing.assert_close(found[-1], last)


def test_an_affine_step_takes_one_round() -> None:
    # Explicit Euler of y' = k y: (1 + s k)^n, exactly.
    steps, s, k = 500, 0.01, -2.0
    found, info = solve_recurrence(
        lambda x, h: h + s * k * h, torch.zeros(steps), torch.ones(1).double(), method="newton"
    )
    powers = (1 + s * k) ** torch.arange(1, steps + 1, dtype=torch.float64)
    torch.testing.assert_close(found[:, 0], powers, rtol=1e-11, atol=0)
    assert info.iterations == 1


def test_euler_of_the_logistic_equation_has_first_order() -> None:
    errors = []
    for steps in (100, 1000, 10_000):
        s = 10.0 / steps
        y0 = torch.full((1,), 0.01, dtype=torch.float64)
        found, info = solve_recurrence(
            lambda x, y, s=s: y + s * y * (1 - y), torch.zeros(steps), y0, method="newton"
        )
        exact = 1 / (1 + (1 / 0.01 - 1) * math.exp(-10.0))
        errors.append(abs(float(found[-1]) - exact))
        assert info.converged
        assert info.iterations <= 13
    assert errors[0] == pytest.approx(2.0e-4, rel=0.3)
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.2)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.2)


def test_logistic_map_predictable_and_chaotic() -> None:
    x0 = torch.tensor([0.3], dtype=torch.float64)
    found, info = solve_recurrence(
        lambda x, h: 2 * h * (1 - h), torch.zeros(40), x0, method="newton", bounds=(0, 1)
    )
    n = torch.arange(1, 41, dtype=torch.float64)
    closed = (1 - torch.tensor(0.4, dtype=torch.float64) ** (2**n)) / 2
    torch.testing.assert_close(found[:, 0], closed, rtol=1e-12, atol=1e-12)
    assert info.converged
    chaotic, info = solve_recurrence(
        lambda x, h: 4 * h * (1 - h), torch.zeros(300), x0, method="newton", max_steps=10
    )
    assert not info.converged
    assert "step by step" in info.fallback
    exact = torch.sin(2 ** n[:30] * math.asin(math.sqrt(0.3))) ** 2
    torch.testing.assert_close(chaotic[:30, 0], exact, rtol=0, atol=1e-5)
    by_hand = nonlinear(lambda x, h: 4 * h * (1 - h), range(300), x0)
    largest = max(float((4 * a * (1 - a) - b).abs()) for a, b in itertools.pairwise(chaotic))
    assert largest < 1e-9  # accepted by residual: two right programs differ in a chaotic system
    assert len(by_hand) == len(chaotic)


@pytest.mark.parametrize("rounds", [1, 3, 7])
def test_jacobi_replays_the_loop_exactly(rounds: int) -> None:
    x, h0, _ = problem(20)

    def f(x: Tensor, h: Tensor) -> Tensor:
        return 3.9 * (h * (1 - h)).abs() + 1e-3 * x  # one number at a time, so no sum reorders

    options: dict[str, Any] = {"on_failure": "return", "tolerance": (0, 1e-15)}
    found, _ = solve_recurrence(f, x, h0, method="jacobi", max_steps=rounds, **options)
    expected = torch.stack(nonlinear(f, list(x), h0))
    assert torch.equal(found[:rounds], expected[:rounds])
    assert not torch.equal(found[rounds], expected[rounds])


@pytest.mark.parametrize("method", ["jacobi", "newton", "quasi", "picard"])
@pytest.mark.parametrize("rounds", [1, 3, 7])
def test_the_first_states_are_exact_after_as_many_rounds(method: str, rounds: int) -> None:
    x, h0, W = problem(20, gain=1.4)
    found, info = solve_recurrence(
        tanh_cell,
        x,
        h0,
        (W,),
        method=method,
        max_steps=rounds,
        on_failure="return",
        tolerance=(0, 1e-15),
    )
    expected = torch.stack(nonlinear(lambda x, h: tanh_cell(x, h, W), list(x), h0))
    torch.testing.assert_close(found[:rounds], expected[:rounds], rtol=1e-13, atol=1e-13)
    assert info.iterations <= rounds


def test_a_chaotic_sequence_leaves_the_tame_ones_alone() -> None:
    rate = torch.tensor([[2.0], [4.0], [2.5]], dtype=torch.float64)
    h0 = torch.full((3, 1), 0.3, dtype=torch.float64)
    guess = torch.full((1,), 0.55, dtype=torch.float64)

    def f(x: Tensor, h: Tensor) -> Tensor:
        return rate * h * (1 - h)

    together, info = solve_recurrence(
        f, torch.zeros(400), h0, method="newton", bounds=(0, 1), init=guess
    )
    assert not info.converged
    assert "1 of 3 sequences" in info.fallback
    for lane in (0, 2):
        slow = float(rate[lane])
        alone, own = solve_recurrence(
            lambda x, h, slow=slow: slow * h * (1 - h),
            torch.zeros(400),
            h0[lane],
            method="newton",
            bounds=(0, 1),
            init=guess,
        )
        assert own.converged
        assert torch.equal(together[:, lane], alone)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("method", METHODS)
def test_gradients_equal_autograd_through_the_loop(method: str, dtype: torch.dtype) -> None:
    x, h0, W = (one.to(dtype).requires_grad_() for one in problem(40))
    weight = random(40, 3, 4, seed=7).to(dtype)
    found, _ = solve_recurrence(tanh_cell, x, h0, (W,), method=method, bounds=(-1, 1))
    plain = torch.stack(nonlinear(lambda x, h: tanh_cell(x, h, W), list(x), h0))
    ours = torch.autograd.grad((weight * found).sum(), (x, h0, W))
    theirs = torch.autograd.grad((weight * plain).sum(), (x, h0, W))
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b).abs().max()) <= tolerance * float(b.abs().max())


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_gradients_pass_gradcheck(steps: int) -> None:
    inputs = [one.requires_grad_() for one in problem(steps, size=2, lanes=1)]

    def run(x: Tensor, h0: Tensor, W: Tensor) -> Tensor:
        return solve_recurrence(tanh_cell, x, h0, (W,), method="newton")[0]

    assert torch.autograd.gradcheck(run, inputs)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(run(*inputs).sum(), inputs[1], create_graph=True)


def test_a_chain_of_layers_with_their_own_weights() -> None:
    depth, width = 50, 3
    weights = (random(depth, width, width) / 4).requires_grad_()
    biases = random(depth, width, seed=1).requires_grad_()
    h0 = random(5, width, seed=2)

    def layer(x: tuple[Tensor, Tensor], h: Tensor) -> Tensor:
        W, b = x
        return h + torch.tanh(h @ W.mT + b[..., None, :])

    found, info = solve_recurrence(layer, (weights, biases), h0, method="newton")
    plain = torch.stack(nonlinear(layer, list(zip(weights, biases, strict=True)), h0))
    assert info.converged
    torch.testing.assert_close(found, plain)
    for ours, theirs in zip(
        torch.autograd.grad(found[-1].sum(), (weights, biases)),
        torch.autograd.grad(plain[-1].sum(), (weights, biases)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("strategy", ["auto", "sequential", "blelloch", "pcr", "chunked"])
@pytest.mark.parametrize("method", ["newton", "quasi", "picard"])
def test_any_scan_solves_the_rounds(method: str, strategy: str) -> None:
    inputs = [one.requires_grad_() for one in problem(37)]
    x, h0, W = inputs
    options: dict[str, Any] = {"method": method, "strategy": strategy, "bounds": (-1, 1)}
    found, info = solve_recurrence(tanh_cell, x, h0, (W,), **options)
    plain = torch.stack(nonlinear(lambda x, h: tanh_cell(x, h, W), list(x), h0))
    torch.testing.assert_close(found, plain, rtol=1e-10, atol=1e-10)
    ours, theirs = (torch.autograd.grad(one.square().sum(), inputs) for one in (found, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
    each = plan(37, 4)["sequential" if strategy == "auto" else strategy]
    assert info.levels == info.iterations * each.levels
    assert info.combines == info.iterations * each.combines


@pytest.mark.parametrize("strategy", ["auto", "pcr"])
def test_a_residual_network_of_1024_layers(strategy: str) -> None:
    depth, width = 1024, 3
    weights = random(depth, width, width).requires_grad_()
    biases = random(depth, 1, width, seed=1).requires_grad_()
    h0 = random(4, width, seed=2)

    def layer(x: tuple[Tensor, Tensor], h: Tensor) -> Tensor:
        W, b = x
        return h + torch.relu(h @ W.mT + b) / depth

    found, info = solve_recurrence(layer, (weights, biases), h0, method="newton", strategy=strategy)
    plain = torch.stack(nonlinear(layer, list(zip(weights, biases, strict=True)), h0))
    assert info.converged
    assert info.iterations <= 8
    assert info.levels == info.iterations * (10 if strategy == "pcr" else 1023)
    torch.testing.assert_close(found, plain, rtol=1e-10, atol=1e-10)
    ours, theirs = (
        torch.autograd.grad(one[-1].square().sum(), (weights, biases)) for one in (found, plain)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_module_brings_its_parameters() -> None:
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4, dtype=torch.float64)

        def forward(self, x: Tensor, h: Tensor) -> Tensor:
            return torch.tanh(self.inner(h) + x)

    torch.manual_seed(0)
    cell = Cell()
    x, h0, _ = problem(30)
    solve_recurrence(cell, x, h0, method="newton")[0].square().sum().backward()
    ours = [one.grad for one in cell.parameters()]
    plain = torch.stack(nonlinear(cell, list(x), h0)).square().sum()
    torch.testing.assert_close(ours, list(torch.autograd.grad(plain, list(cell.parameters()))))


def test_jacobians_known_beforehand() -> None:
    x, h0, _ = problem(50)

    def f(x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(0.5 * h + x)

    expected = torch.stack(nonlinear(f, list(x), h0))
    for jacobian in (
        "diag",
        "probe",
        lambda x, h: Dense(torch.diag_embed(0.5 * (1 - f(x, h) ** 2))),
    ):
        found, info = solve_recurrence(f, x, h0, method="newton", jacobian=jacobian)
        torch.testing.assert_close(found, expected)
        assert info.converged
        assert info.iterations <= 6


def test_a_good_guess_saves_rounds_and_damping_still_converges() -> None:
    x, h0, W = problem(80)
    exact, cold = solve_recurrence(tanh_cell, x, h0, (W,), method="newton")
    _, warm = solve_recurrence(tanh_cell, x, h0, (W,), method="newton", init=exact + 1e-6)
    assert warm.iterations < cold.iterations
    damped, info = solve_recurrence(tanh_cell, x, h0, (W,), method="newton", damping=0.1)
    assert info.converged
    torch.testing.assert_close(damped, exact, rtol=1e-9, atol=1e-9)


def test_empty_half_precision_and_memory() -> None:
    x, h0, W = problem(4)
    empty, info = solve_recurrence(tanh_cell, x[:0], h0, (W,), method="newton")
    assert empty.shape == (0, 3, 4)
    assert info.converged
    h0.requires_grad_()
    for method in METHODS:
        empty, _ = solve_recurrence(tanh_cell, x[:0], h0, (W,), method=method)
        (gradient,) = torch.autograd.grad(empty.sum(), h0)
        assert torch.equal(gradient, torch.zeros(3, 4, dtype=torch.float64))
        states, _ = solve_recurrence(tanh_cell, x[:, :0], h0[:0], (W,), method=method)
        assert states.shape == (4, 0, 4)
    h0 = h0.detach()
    half = solve_recurrence(lambda x, h: torch.tanh(h + x), x.half(), h0.half(), method="newton")[0]
    assert half.dtype == torch.float16
    with pytest.raises(MemoryError, match=r"3 T B n² s = 4,608 bytes.*probe"):
        solve_recurrence(tanh_cell, x, h0, (W,), method="newton", max_bytes=1000)


def test_failure_is_raised_or_flagged() -> None:
    h0 = torch.full((1,), 0.3, dtype=torch.float64)

    def f(x: Tensor, h: Tensor) -> Tensor:
        return 4 * h * (1 - h)

    options: dict[str, Any] = {"method": "newton", "max_steps": 5}
    with pytest.raises(RuntimeError, match=r"1 of 1 sequences did not converge.*newton"):
        solve_recurrence(f, torch.zeros(200), h0, on_failure="raise", **options)
    _, info = solve_recurrence(f, torch.zeros(200), h0, on_failure="return", **options)
    assert not info.converged
    assert info.residuals[-1] > 1


@pytest.mark.parametrize("method", ["newton", "shooting", "jacobi"])
def test_states_of_zero_converge_under_a_relative_tolerance(method: str) -> None:
    x = torch.tensor([1.0, -9.0, -9.0, -9.0, 2.0, -9.0], dtype=torch.float64)[:, None]
    start = torch.ones(1, dtype=torch.float64)

    def f(x: Tensor, h: Tensor) -> Tensor:
        return torch.relu(h + x)  # 2 0 0 0 2 0

    found, info = solve_recurrence(f, x, start, method=method, tolerance=(0.0, 1e-10))
    assert found[:, 0].tolist() == [2.0, 0.0, 0.0, 0.0, 2.0, 0.0]
    assert info.converged


def test_an_exploding_chain_does_not_pass_at_the_guess() -> None:
    # Relative to the largest state of all, zeros would be accepted at once.
    h0 = torch.ones(1, dtype=torch.float64)
    found, info = solve_recurrence(
        lambda x, h: 2 * h + torch.sin(h), torch.zeros(60), h0, method="newton"
    )
    expected = nonlinear(lambda x, h: 2 * h + torch.sin(h), range(60), h0)
    assert info.iterations > 0
    torch.testing.assert_close(found[:30], torch.stack(expected)[:30], rtol=1e-6, atol=0)
