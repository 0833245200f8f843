"""Small diffusion models for the tests, the benchmark and the example: trained in seconds."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["Denoiser", "cosine_levels", "train_denoiser", "two_moons"]


def cosine_levels(steps: int) -> Tensor:
    """Signal levels along the path of a sampler, from noise (first) to data (last, 1)."""
    s = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return (
        torch.cos((s * 0.98 + 0.008) / 1.008 * math.pi / 2) ** 2
        / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    ).clamp(1e-4, 1.0)


class Denoiser(nn.Module):
    """Predicts noise from a point and its time, by an MLP with sines of the time."""

    def __init__(self, size: int, hidden: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("rates", 2.0 ** torch.arange(6) * math.pi)
        self.net = nn.Sequential(
            nn.Linear(size + 12, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, size),
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        phase = (t.to(x.dtype) / self.steps)[:, None] * self.rates.to(x.dtype) / 8
        return self.net(torch.cat([x, phase.sin(), phase.cos()], dim=1))


def train_denoiser(data: Tensor, hidden: int, steps: int, updates: int) -> Denoiser:
    """Train on batches of 256 with noise of random levels; deterministic."""
    generator = torch.Generator().manual_seed(0)
    model = Denoiser(data.shape[1], hidden, steps)
    with torch.no_grad():
        for one in model.parameters():
            bound = one.shape[-1] ** -0.5 if one.ndim == 2 else 0.1
            one.uniform_(-bound, bound, generator=generator)
    levels = cosine_levels(steps).float().flip(0)[1:]  # by time: index t is the level before it
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(updates):
        x = data[torch.randint(len(data), (256,), generator=generator)]
        t = torch.randint(steps, (256,), generator=generator)
        noise = torch.randn(x.shape, generator=generator)
        a = levels[t][:, None]
        loss = (model(a.sqrt() * x + (1 - a).sqrt() * noise, t) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.requires_grad_(False)


def two_moons() -> Tensor:
    """Points on two interleaved half circles, about unit size."""
    generator = torch.Generator().manual_seed(1)
    angle = torch.rand(2000, generator=generator) * math.pi
    side = (torch.rand(2000, generator=generator) < 0.5).float()
    x = torch.stack(
        [angle.cos() + side - 0.5, (1 - 2 * side) * angle.sin() + 0.25 * (2 * side - 1)], 1
    )
    return x + 0.05 * torch.randn(x.shape, generator=generator)
