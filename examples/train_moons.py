"""
Train the moons example
=======================

The example ``moons`` that comes with the package tells two interleaved half circles apart. The
points are generated (scikit-learn's ``make_moons``), not measured: a plane is where the partition
into activation regions can be drawn whole, and two moons are the classic picture there. This script
trained the network, two hidden layers of 16 ReLU units.

Run it with a file name to write the example there::

    python examples/train_moons.py moons.npz
"""

# %%
# Data
# ----
# 900 noisy points from a fixed seed; every third one is held out.

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn.datasets import make_moons
from torch import nn

from byways.core import Box, LayerChain
from byways.networks import Example

WIDTH = 16
SHOWN = 200  # held-out points that the picture shows


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give points, the moon of each, and which points are held out."""
    points, moons = make_moons(900, noise=0.15, random_state=0)
    return points, moons, np.arange(len(moons)) % 3 == 0


# %%
# Training
# --------
# AdamW on all points at once. The generator is the script's own, so equal versions of torch give
# equal networks.


def train(points: np.ndarray, moons: np.ndarray, epochs: int = 1500) -> nn.Sequential:
    """Train a 2-16-16-2 network in float64."""
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(
        nn.Linear(2, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, 2),
    ).double()
    with torch.no_grad():
        for parameter in net.parameters():
            inputs = parameter.shape[-1] if parameter.ndim == 2 else WIDTH
            parameter.uniform_(-1, 1, generator=generator).div_(inputs**0.5)
    x, y = torch.from_numpy(points), torch.from_numpy(moons)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        schedule.step()
    return net


# %%
# The example
# -----------


def build(epochs: int = 1500) -> Example:
    """Train, measure on the held-out points and pack the example."""
    points, moons, held_out = data()
    net = train(points[~held_out], moons[~held_out], epochs)
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    chain = LayerChain.from_arrays(
        [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in linear]
    )
    right = chain(points[held_out]).argmax(axis=1) == moons[held_out]
    story = (
        "Two interleaved half circles with noise, 900 generated points. Two hidden layers of "
        f"{WIDTH} ReLU units, trained on two thirds of them; {right.mean():.1%} of the others are "
        "classified correctly. The box is the part of the plane around the points."
    )
    return Example(
        name="moons",
        chain=chain,
        box=Box([-2.0, -1.5], [3.0, 2.0]),
        points=points[held_out][:SHOWN],
        labels=moons[held_out][:SHOWN],
        classes=("upper moon", "lower moon"),
        story=story,
        accuracy=float(right.mean()),
    )


if __name__ == "__main__":
    moons_example = build()
    print(moons_example.story)
    if len(sys.argv) > 1:
        moons_example.save(sys.argv[1])
