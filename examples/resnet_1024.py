"""
Train a network of 1024 layers
==============================

A residual network of 1024 narrow layers is a discretised differential equation: each layer moves
the state by a thousandth of what it would otherwise. Its backward pass is a chain of 1024 affine
maps, which :func:`byways.parallel.parallel_backward` solves as one recurrence. The network is
trained twice on handwritten digits, from the same weights and on the same batches, once that way
and once by plain autograd.
"""

# %%
# Data and network
# ----------------
# A block is written as anyone would. Nothing in it says that its backward pass is special.

from __future__ import annotations

import copy
import time

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import byways as bw

DEPTH, WIDTH, BATCH, UPDATES = 1024, 8, 64, 40

digits = load_digits()
order = torch.randperm(len(digits.data), generator=torch.Generator().manual_seed(0))
pixels = torch.tensor(digits.data, dtype=torch.float64)[order] / 8 - 1
labels = torch.tensor(digits.target)[order]
TRAINING = 1400  # the other 397 are for the test


class Block(nn.Module):
    """One step of the state, a thousandth of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, h: Tensor) -> Tensor:
        """Give the next state."""
        return h + torch.tanh(self.inner(h)) / DEPTH


torch.manual_seed(0)
blocks = (Block() for _ in range(DEPTH))
theirs = nn.Sequential(nn.Linear(64, WIDTH), *blocks, nn.Linear(WIDTH, 10)).double()
ours = bw.parallel.parallel_backward(copy.deepcopy(theirs), stacked=True)
print(ours)

# %%
# Before any training, check that both compute the same, forward and backward.

with torch.no_grad():
    outputs = [net(pixels[:4]) for net in (ours, theirs)]
print(f"outputs differ by {float((outputs[0] - outputs[1]).abs().max()):.0e}")

# %%
# Two trainings
# -------------
# The optimiser gets the parameters of the network that it trains. With ``stacked=True`` the 1024
# blocks have two of them together.


def train(net: nn.Module) -> tuple[list[float], float]:
    """Train on random batches; give the losses and the seconds of processor time."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-2)
    losses, start = [], time.process_time()
    for _ in range(UPDATES):
        rows = torch.randint(TRAINING, (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(pixels[rows]), labels[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, time.process_time() - start


def accuracy(net: nn.Module) -> float:
    """Measure on the digits that no training saw."""
    with torch.no_grad():
        return float((net(pixels[TRAINING:]).argmax(1) == labels[TRAINING:]).double().mean())


nn.functional.cross_entropy(ours(pixels[:1]), labels[:1]).backward()  # compile before the clock

results = {}
for name, net in (("autograd", theirs), ("parallel_backward", ours)):
    losses, seconds = train(net)
    results[name] = losses, seconds
    print(f"{name}: accuracy {accuracy(net):.1%}, {seconds:.2f} s")

# %%
# Result
# ------
# Left, the losses over the updates; right, the same losses over the seconds that they took. On a
# logarithmic axis the faster training is the same curve, moved to the left.

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True)
for (name, (losses, seconds)), style in zip(results.items(), ("-", "--"), strict=True):
    left.plot(losses, style, label=name)
    right.plot([seconds * (i + 1) / UPDATES for i in range(UPDATES)], losses, style)
left.set_xlabel("update")
left.set_ylabel("cross-entropy")
right.set_xlabel("seconds of processor time (logarithmic)")
right.set_xscale("log")
left.legend()
fig.tight_layout()

# %%
# The sums are taken in another order, so the two agree to rounding and not to the bit.
difference = max(abs(a - b) for a, b in zip(*(r[0] for r in results.values()), strict=True))
print(f"losses differ by at most {difference:.0e}")
print(f"{results['autograd'][1] / results['parallel_backward'][1]:.0f} times less processor time")
