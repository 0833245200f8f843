"""Shooting as a method of ``solve_recurrence``: chunks, chaos, guesses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from byways.parallel import solve_recurrence
from tests.oracles.recurrences import nonlinear
from tests.parallel.test_diagonal import random
from tests.parallel.test_solve import problem, tanh_cell


def gated(x: dict[str, Tensor], h: Tensor, W: Tensor) -> Tensor:
    keep = torch.sigmoid(x["gate"])
    return keep * h + (1 - keep) * torch.tanh(h @ W.mT + x["drive"])


@pytest.mark.parametrize("steps", [2, 7, 400])
@pytest.mark.parametrize("lanes", [(), (3,), (2, 3)])
def test_shooting_gives_sequential_states_and_gradients(steps: int, lanes: tuple[int, ...]) -> None:
    leaves = [random(steps, *lanes, 4).requires_grad_(), random(steps, 1, seed=5).requires_grad_()]
    leaves[1] = leaves[1].reshape(steps, *(1 for _ in lanes), 1)  # one gate for all lanes
    h0 = random(*lanes, 4, seed=2).requires_grad_()
    W = (0.9 * torch.linalg.qr(random(4, 4, seed=3))[0]).requires_grad_()
    x = {"drive": leaves[0], "gate": leaves[1]}
    found, info = solve_recurrence(gated, x, h0, (W,), method="shooting")
    rows = [{"drive": drive, "gate": gate} for drive, gate in zip(*leaves, strict=True)]
    plain = torch.stack(nonlinear(lambda x, h: gated(x, h, W), rows, h0))
    torch.testing.assert_close(found, plain, rtol=1e-10, atol=1e-10)
    assert info.converged
    assert info.fallback_steps == 0
    assert info.iterations <= math.isqrt(steps) + 1
    weight = random(*found.shape, seed=9)
    ours = torch.autograd.grad((weight * found).sum(), (*leaves, h0, W))
    theirs = torch.autograd.grad((weight * plain).sum(), (*leaves, h0, W))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_shooting_is_exact_after_as_many_rounds_as_chunks_even_in_chaos() -> None:
    # 400 steps are 20 chunks of 20.
    h0 = torch.full((1,), 0.3, dtype=torch.float64)

    def f(x: Tensor, h: Tensor) -> Tensor:
        return 4 * h * (1 - h)

    expected = torch.stack(nonlinear(f, range(400), h0))
    found, info = solve_recurrence(f, torch.zeros(400), h0, method="shooting")
    assert (info.iterations, info.converged) == (20, True)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    options: dict[str, Any] = {"method": "shooting", "max_steps": 3}
    part, info = solve_recurrence(f, torch.zeros(400), h0, on_failure="return", **options)
    assert not info.converged
    torch.testing.assert_close(part[:60], expected[:60], rtol=0, atol=0)
    assert float((part[60:80] - expected[60:80]).abs().max()) > 0.1
    with pytest.raises(RuntimeError, match=r"1 of 1 sequences did not converge.*3 rounds of shoot"):
        solve_recurrence(f, torch.zeros(400), h0, on_failure="raise", **options)


@pytest.mark.parametrize("method", ["newton", "shooting"])
def test_gradients_of_tame_sequences_beside_a_chaotic_one(method: str) -> None:
    rate = torch.tensor([[2.0], [4.0], [2.5]], dtype=torch.float64)
    x = torch.zeros(300, 3, 1, dtype=torch.float64, requires_grad=True)
    h0 = torch.full((3, 1), 0.3, dtype=torch.float64, requires_grad=True)

    def f(x: Tensor, h: Tensor) -> Tensor:
        return rate * h * (1 - h) + x

    options: dict[str, Any] = {"method": method, "bounds": (0, 1), "max_steps": 8}
    found, info = solve_recurrence(f, x, h0, **options)
    assert not info.converged
    plain = torch.stack(nonlinear(f, list(x), h0))
    tame = [0, 2]
    ours, theirs = (
        [part[..., tame, :] for part in torch.autograd.grad(states.square().sum(), (x, h0))]
        for states in (found, plain)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    alone, _ = solve_recurrence(
        lambda x, h: rate[tame] * h * (1 - h) + x, x[:, tame], h0[tame], **options
    )
    assert torch.equal(found[:, tame], alone)


def test_shooting_leaves_a_chaotic_sequence_to_the_fallback() -> None:
    rate = torch.tensor([[2.0], [4.0], [2.5]], dtype=torch.float64)
    h0 = torch.full((3, 1), 0.3, dtype=torch.float64)

    def f(x: Tensor, h: Tensor) -> Tensor:
        return rate * h * (1 - h)

    found, info = solve_recurrence(f, torch.zeros(400), h0, method="shooting", max_steps=4)
    expected = torch.stack(nonlinear(f, range(400), h0))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert not info.converged
    assert "1 of 3 sequences did not converge in 4 rounds of shooting" in info.fallback
    assert info.fallback_steps == 320  # four chunks of 20 were right


def test_shooting_takes_a_guess_bounds_and_a_tolerance() -> None:
    x, h0, W = problem(400, gain=0.99)
    exact, cold = solve_recurrence(tanh_cell, x, h0, (W,), method="shooting", bounds=(-1, 1))
    again, warm = solve_recurrence(tanh_cell, x, h0, (W,), method="shooting", init=exact)
    assert warm.iterations == 1
    torch.testing.assert_close(again, exact, rtol=1e-10, atol=1e-10)
    loose, info = solve_recurrence(
        tanh_cell, x, h0, (W,), method="shooting", tolerance=(0.1, 0.0), max_bytes=1
    )
    assert info.iterations < cold.iterations
    assert 0 < float((loose - exact).abs().max()) < 1.0


@pytest.mark.parametrize("method", ["picard", "jacobi", "newton"])
def test_what_another_method_leaves_is_settled_by_shooting(method: str) -> None:
    x, h0, W = (one.requires_grad_() for one in problem(200, gain=0.5))
    options: dict[str, Any] = {"method": method, "max_steps": 2}
    found, info = solve_recurrence(tanh_cell, x, h0, (W,), **options)
    expected = torch.stack(nonlinear(lambda x, h: tanh_cell(x, h, W), list(x), h0))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert not info.converged  # by the method itself
    assert "then shooting was tried" in info.fallback
    assert info.fallback_steps == 0
    ours, theirs = (
        torch.autograd.grad(one.square().sum(), (x, h0, W)) for one in (found, expected)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_chaos_that_no_method_settles_is_replayed_exactly() -> None:
    rate = torch.tensor([[4.0], [2.0]], dtype=torch.float64)
    h0 = torch.full((2, 1), 0.3, dtype=torch.float64)

    def f(x: Tensor, h: Tensor) -> Tensor:
        return rate * h * (1 - h)

    found, info = solve_recurrence(f, torch.zeros(400), h0, method="jacobi", max_steps=7)
    expected = torch.stack(nonlinear(f, range(400), h0))
    torch.testing.assert_close(found[:, 0], expected[:, 0], rtol=0, atol=0)
    torch.testing.assert_close(found[:, 1], expected[:, 1], rtol=1e-10, atol=1e-10)
    assert "1 computed step by step from step 7" in info.fallback
