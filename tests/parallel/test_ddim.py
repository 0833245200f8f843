"""The sampler against its closed form on Gaussian data and against itself, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks._denoisers import cosine_levels, train_denoiser, two_moons
from byways.parallel import sample_ddim

METHODS = ["picard", "anderson", "newton", "quasi", "shooting"]
MEAN, DEVIATION = 3.0, 0.5


def gaussian(levels: Tensor) -> Any:
    """The best denoiser of normal data is linear."""

    def noise(x: Tensor, t: Tensor) -> Tensor:
        a = levels[len(levels) - 2 - t][:, None]
        return (1 - a).sqrt() * (x - MEAN * a.sqrt()) / (a * DEVIATION**2 + 1 - a)

    return noise


def by_hand(model: Any, x: Tensor, levels: Tensor) -> Tensor:
    """DDIM as the paper writes it: predict the clean sample, then add noise back."""
    steps = len(levels) - 1
    for i in range(steps):
        eps = model(x, torch.full((len(x),), steps - 1 - i))
        clean = (x - (1 - levels[i]).sqrt() * eps) / levels[i].sqrt()
        x = levels[i + 1].sqrt() * clean + (1 - levels[i + 1]).sqrt() * eps
    return x


@pytest.mark.parametrize("method", [*METHODS, "sequential"])
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_parallel_sampling_equals_the_loop(method: str, steps: int) -> None:
    levels = cosine_levels(steps)
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, info = sample_ddim(gaussian(levels), x, levels, method=method)
    torch.testing.assert_close(found, by_hand(gaussian(levels), x, levels), rtol=0, atol=1e-4)
    assert info.converged


def test_an_affine_sampler_takes_one_newton_round_and_has_its_limit() -> None:
    errors = []
    for steps in (100, 1000):
        levels = cosine_levels(steps)
        x = torch.tensor([[-1.3], [0.7]], dtype=torch.float64)
        found, info = sample_ddim(gaussian(levels), x, levels, method="newton")
        assert info.rounds == 2  # one that solves it, one that sees no change
        assert info.changes[1] < 1e-9
        a = levels[0]
        limit = MEAN + DEVIATION * (x - a.sqrt() * MEAN) / (a * DEVIATION**2 + 1 - a).sqrt()
        errors.append(float((found - limit).abs().max()))
    assert errors[1] < errors[0] / 5
    assert errors[1] < 2e-2


@pytest.mark.parametrize("method", ["picard", "newton", "quasi", "anderson"])
@pytest.mark.parametrize("window", [1, 2, 7, 49, 50, 1000])
def test_any_window_gives_the_sequential_sample(method: str, window: int) -> None:
    levels = cosine_levels(50)
    x = torch.ones(2, 3, 1, dtype=torch.float64)
    model = gaussian(levels)

    def noise(x: Tensor, t: Tensor) -> Tensor:
        return model(x.flatten(1), t).reshape(x.shape)

    found, info = sample_ddim(noise, x, levels, method=method, window=window, tolerance=1e-9)
    expected = by_hand(model, x.flatten(1), levels).reshape(x.shape)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert info.rounds <= 50 + 50 // window + 1


def test_rounds_of_a_trained_model_in_the_plane() -> None:
    model = train_denoiser(two_moons(), 32, 1000, 60).double()
    levels = cosine_levels(1000)
    x = torch.randn(2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    exact = by_hand(model, x, levels)
    for method, rounds in (("newton", 7), ("quasi", 15), ("anderson", 28), ("picard", 30)):
        found, info = sample_ddim(model, x, levels, method=method)
        assert info.converged
        assert info.rounds <= rounds
        torch.testing.assert_close(found, exact, rtol=0, atol=1e-4)


def test_a_budget_that_is_too_small_is_flagged_and_the_rest_done_exactly() -> None:
    levels = cosine_levels(60)
    x = torch.ones(2, 2, dtype=torch.float64)
    found, info = sample_ddim(gaussian(levels), x, levels, method="picard", max_steps=np.int64(2))
    assert not info.converged
    torch.testing.assert_close(found, by_hand(gaussian(levels), x, levels), rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", [*METHODS, "sequential"])
def test_empty_batches_and_no_steps(method: str) -> None:
    levels = cosine_levels(5)
    model = gaussian(levels)
    assert sample_ddim(model, torch.zeros(0, 2), levels, method=method)[0].shape == (0, 2)
    x = torch.ones(2, 2)
    assert torch.equal(sample_ddim(model, x, levels[:1], method=method)[0], x)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_overflows_away_from_the_path(method: str) -> None:
    # A wrong guess grows like a fifth power until nothing is finite; the path itself is tame.
    levels = cosine_levels(40)
    tame = gaussian(levels)

    def model(x: Tensor, t: Tensor) -> Tensor:
        return torch.where(x.abs() < 5, tame(x, t) + 0.1 * torch.sin(3 * x), x**5)

    x = torch.tensor([[0.4, -1.1], [1.9, 0.3]], dtype=torch.float64)
    exact = by_hand(model, x, levels)
    assert bool(exact.isfinite().all())
    found, _ = sample_ddim(model, x, levels, method=method)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_that_blows_up_leaves_the_others_alone(method: str) -> None:
    levels = cosine_levels(40)

    def model(x: Tensor, t: Tensor) -> Tensor:
        return torch.where(x > 5, torch.nan, torch.tanh(x))

    x = torch.tensor([[0.4], [9.0], [-1.2]], dtype=torch.float64)
    exact = by_hand(model, x, levels)
    assert exact.isnan().flatten().tolist() == [False, True, False]
    found, _ = sample_ddim(model, x, levels, method=method)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", [*METHODS, "sequential"])
def test_half_precision_is_kept_for_the_model(method: str, dtype: torch.dtype) -> None:
    # Steps of less than half a unit in the last place: states in half precision would stand still.
    levels = torch.linspace(0.25, 1.0, 2001, dtype=torch.float64)
    x = torch.tensor([[-1.0], [0.5]], dtype=dtype)

    def model(x: Tensor, t: Tensor) -> Tensor:
        assert x.dtype == dtype
        return torch.zeros_like(x)

    found, _ = sample_ddim(model, x, levels, method=method)
    assert found.dtype == dtype
    assert torch.equal(found, 2 * x)  # sqrt(1 / 0.25) times the start


@pytest.mark.parametrize("chunks", [1, 7, 500])
def test_more_chunks_than_steps_are_the_steps(chunks: int) -> None:
    levels = cosine_levels(20)
    x = torch.ones(2, 3, dtype=torch.float64)
    found, info = sample_ddim(gaussian(levels), x, levels, method="shooting", chunks=chunks)
    torch.testing.assert_close(found, by_hand(gaussian(levels), x, levels), rtol=0, atol=1e-4)
    assert info.converged


def test_models_that_no_parallel_method_can_use() -> None:
    levels = cosine_levels(10)
    x = torch.ones(3, 2)
    for layer in (torch.nn.Dropout(0.1), torch.nn.BatchNorm1d(2)):
        net = torch.nn.Sequential(torch.nn.Linear(2, 2), layer)
        with pytest.raises(ValueError, match=f"{type(layer).__name__} in training mode at '1'"):
            sample_ddim(timeless(net), x, levels, method="picard")
        sample_ddim(timeless(net).eval(), x, levels, method="picard")
    for model in (lambda x, t: x - x.mean(0), lambda x, t: x + torch.randn(x.shape)):
        with pytest.raises(ValueError, match="alone and among others"):
            sample_ddim(model, torch.randn(3, 2), levels, method="quasi")


def timeless(net: torch.nn.Sequential) -> torch.nn.Module:
    """Let a network take the time and leave it alone."""

    class Timeless(torch.nn.Sequential):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]
            found: Tensor = super().forward(x)
            return found

    return Timeless(*net)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"method": "ddpm"}, ValueError, "'ddpm'.*picard"),
        ({"window": 0}, ValueError, '"window" was 0'),
        ({"chunks": -3}, ValueError, '"chunks" was -3'),
        ({"max_steps": True}, ValueError, '"max_steps" was True'),
        ({"tolerance": float("nan")}, ValueError, '"tolerance" was nan'),
        ({"schedule": torch.zeros(4)}, ValueError, "above 0"),
        ({"schedule": torch.ones(2, 2)}, ValueError, r"\(2, 2\)"),
        ({"x_T": torch.ones(3)}, ValueError, "batch"),
        ({"x_T": torch.ones(3, 1, dtype=torch.int32)}, TypeError, "int32"),
        ({"x_T": torch.full((1, 1), float("nan"))}, ValueError, "not finite"),
        ({"timesteps": torch.arange(3)}, ValueError, r"\(3,\); 10 steps take 10"),
        ({"model": 3}, TypeError, '"model" was 3'),
        ({"model": lambda x, t: x[:, :1]}, ValueError, "shape of its input"),
    ],
)
def test_misuse(options: dict[str, Any], error: type[Exception], words: str) -> None:
    given: dict[str, Any] = {"model": lambda x, t: x, "x_T": torch.ones(2, 2)}
    given |= {"schedule": cosine_levels(10)} | options
    with pytest.raises(error, match=words):
        sample_ddim(given.pop("model"), given.pop("x_T"), given.pop("schedule"), **given)
