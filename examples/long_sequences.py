"""
Train a GRU on long sequences, twice
====================================

A vibration sensor writes 1000 samples, and a GRU that reads them one by one shall name which of
four machines it hears. It is trained twice from the same weights and on the same batches: once as
``torch.nn.GRU``, once as :class:`byways.parallel.GRU`, which is a drop-in for it. The learning
curves and the accuracy agree; what differs is the time.
"""

# %%
# Data
# ----
# Each machine repeats a chirp of 60 samples and a pause as long; its chirp has its own first and
# last frequency. Onset and loudness vary, and below lie a slow drift and noise.

from __future__ import annotations

import math
import time

import matplotlib.pyplot as plt
import torch
from torch import nn

import byways as bw

STEPS, CHIRP, CLASSES = 1000, 60, 4
SWEEPS = torch.tensor([[0.03, 0.03], [0.12, 0.12], [0.03, 0.12], [0.12, 0.03]])  # turns a sample


def draw(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Give samples ``(time, batch, 1)`` and the machine of each sequence."""
    machines = torch.randint(0, CLASSES, (count,), generator=generator)
    onset = torch.randint(0, 2 * CHIRP, (count,), generator=generator)
    loudness, drift = torch.rand(2, count, generator=generator)
    t = torch.arange(STEPS)[:, None]
    place = (t + onset) % (2 * CHIRP)
    share = place / CHIRP
    first, last = SWEEPS[machines].unbind(1)
    turns = CHIRP * (first * share + (last - first) * share**2 / 2)
    chirp = (place < CHIRP) * (1.0 + loudness) * torch.sin(2 * math.pi * turns)
    slow = 0.3 * torch.sin(2 * math.pi * (t / STEPS + drift))
    noise = 0.2 * torch.randn(STEPS, count, generator=generator)
    return (chirp + slow + noise).double()[..., None], machines


samples, machines = draw(12, torch.Generator().manual_seed(5))
fig, axes = plt.subplots(CLASSES, 1, figsize=(8, 4.5), sharex=True)
for machine, ax in enumerate(axes):
    row = int((machines == machine).nonzero()[0])
    ax.plot(samples[:, row, 0], linewidth=0.6, color=f"C{machine}")
    ax.set_ylabel(f"machine {machine}")
axes[-1].set_xlabel("sample")
fig.tight_layout()


# %%
# Two trainings
# -------------
# The whole difference is the class. ``from_torch`` copies the weights, so both start equal.


class Reader(nn.Module):
    """A recurrent module and a linear read-out of its mean output."""

    def __init__(self, recurrent: nn.Module, units: int) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.read_out = nn.Linear(units, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give the logits of each sequence."""
        output, _ = self.recurrent(x)
        return self.read_out(output.mean(0))


def train(model: Reader, updates: int, batch: int = 16) -> tuple[list[float], float]:
    """Train on fresh batches; give the losses and the seconds on the clock."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses, seconds = [], 0.0
    for _ in range(updates):
        x, y = draw(batch, generator)
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds += time.perf_counter() - start
        losses.append(loss.item())
    return losses, seconds


def accuracy(model: Reader) -> float:
    """Measure on 256 sequences that no training saw."""
    x, y = draw(256, torch.Generator().manual_seed(2))
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


torch.manual_seed(0)
UNITS, UPDATES = 24, 100
theirs = Reader(nn.GRU(1, UNITS), UNITS).double()
ours = Reader(bw.parallel.GRU.from_torch(theirs.recurrent), UNITS).double()
ours.read_out.load_state_dict(theirs.read_out.state_dict())
ours(draw(1, torch.Generator())[0]).sum().backward()  # compile the loops before the clock runs
ours.zero_grad()

results = {}
for name, model in (("torch.nn.GRU", theirs), ("byways.parallel.GRU", ours)):
    losses, seconds = train(model, UPDATES)
    results[name] = losses, seconds
    print(f"{name}: accuracy {accuracy(model):.1%}, {seconds:.1f} s")

# %%
# Result
# ------
# Left, the losses over the updates; right, the same losses over the seconds that they took.

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True)
for (name, (losses, seconds)), style in zip(results.items(), ("-", "--"), strict=True):
    left.plot(losses, style, label=name)
    right.plot([seconds * (i + 1) / len(losses) for i in range(len(losses))], losses, style)
left.set_xlabel("update")
left.set_ylabel("cross-entropy")
right.set_xlabel("seconds")
left.legend()
fig.tight_layout()

# %%
# The two add the same numbers in another order. The difference starts at one unit in the last place
# of float64 and grows with every update, since training is itself an unstable recurrence: two runs
# of the same module whose weights differ in the last place part in the same way.
difference = [abs(a - b) for a, b in zip(*(r[0] for r in results.values()), strict=True)]
for update in (0, 25, 50, UPDATES - 1):
    print(f"losses of update {update} differ by {difference[update]:.0e}")
