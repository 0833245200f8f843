"""
Sample digits with fewer rounds
===============================

A diffusion model draws a picture by denoising it in many steps, and each step waits for the one
before. :func:`byways.parallel.sample_ddim` finds all states of that chain together: it guesses
them, calls the model on all of them at once, and corrects the guess. The picture is the sequential
one; what falls is the number of calls that wait for each other. On an accelerator that is the time;
on a CPU, where many rows cost much more than a few, it is not.
"""

# %%
# A small denoiser
# ----------------
# It predicts the noise in a picture of 8 times 8 pixels, from the picture and from the time.

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import byways as bw

STEPS, HIDDEN, UPDATES = 200, 256, 2000


def signal_levels(steps: int) -> Tensor:
    """Give the share of signal along the path, from noise to a clean picture."""
    s = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    shifted = (0.98 * s + 0.008) / 1.008
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    return (torch.cos(shifted * math.pi / 2) ** 2 / start).clamp(1e-4, 1.0)


class Denoiser(nn.Module):
    """A network with sines of the time as further inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rates", 2.0 ** torch.arange(6) * math.pi / 8)
        self.layers = nn.Sequential(
            nn.Linear(64 + 12, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, 64),
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Predict the noise in each row."""
        phase = (t.to(x.dtype) / STEPS)[:, None] * self.rates
        return self.layers(torch.cat([x, phase.sin(), phase.cos()], dim=1))


torch.manual_seed(0)
pictures = torch.tensor(load_digits().data, dtype=torch.float32) / 8 - 1
levels = signal_levels(STEPS)
by_time = levels.float().flip(0)[1:]
model = Denoiser()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
for _ in range(UPDATES):
    x = pictures[torch.randint(len(pictures), (128,))]
    t = torch.randint(STEPS, (128,))
    noise, level = torch.randn_like(x), by_time[t][:, None]
    loss = (model(level.sqrt() * x + (1 - level).sqrt() * noise, t) - noise).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
model.double().requires_grad_(False)
print(f"mean squared error of the predicted noise: {loss.item():.2f}")

# %%
# One noise, six samplers
# -----------------------
# All start from the same noise. ``rounds`` counts calls of the model that wait for each other,
# ``rows`` all the pictures that it was called on, in Newton's method without the 64 backward passes
# of each round that its Jacobians take. Fewer rounds are bought with more rows. Shooting
# rolls chunks of 15 steps out in lockstep, so each of its corrections is 15 rounds: for a chain
# this short it gains next to nothing.

noise = torch.randn(8, 64, dtype=torch.float64)
exact, info = bw.parallel.sample_ddim(model, noise, levels)
drawn = {"sequential": exact}
text = {"sequential": f"{info.rounds} rounds"}
print(f"{'method':<12}{'rounds':>8}{'rows':>8}{'final error':>14}")
print(f"{'sequential':<12}{info.rounds:>8}{info.rows:>8}{'':>14}")
changes = {}
for method in ("newton", "quasi", "anderson", "picard", "shooting"):
    drawn[method], info = bw.parallel.sample_ddim(model, noise, levels, method=method)
    error = float((drawn[method] - exact).abs().max())
    changes[method] = info.changes
    text[method] = f"{info.rounds} rounds\nerror {error:.0e}"
    print(f"{method:<12}{info.rounds:>8}{info.rows:>8}{error:>14.1e}")

# %%
# The pictures
# ------------
# Each row is one method. The errors are those of the worst pixel, on a scale from -1 to 1.

fig, axes = plt.subplots(len(drawn), len(noise), figsize=(8, 6.7))
for row, (method, samples) in zip(axes, drawn.items(), strict=True):
    for ax, sample in zip(row, samples, strict=True):
        ax.imshow(sample.reshape(8, 8), cmap="gray_r", vmin=-1, vmax=1)
        ax.set_xticks([])
        ax.set_yticks([])
    label = f"{method}\n{text[method]}"
    row[0].set_ylabel(label, rotation=0, ha="right", va="center")
fig.tight_layout()

# %%
# How they converge
# -----------------
# The largest change of any state in each round; below the line, a state is taken. Picard's method
# corrects by the linear part of the step alone, and its guesses go far away before they come back;
# Anderson's combines earlier rounds; the quasi-Newton method estimates the diagonal of the step's
# Jacobian.

fig, ax = plt.subplots(figsize=(6, 3.5))
for method in ("newton", "quasi", "anderson", "picard"):
    ax.semilogy(range(1, len(changes[method]) + 1), changes[method], ".-", label=method)
ax.axhline(1e-4 / 4, color="grey", linewidth=0.8)
ax.set_xlabel("round")
ax.set_ylabel("largest change of a state")
ax.legend()
fig.tight_layout()
