"""
Train the digits example
========================

The example ``digits`` that comes with the package reads handwritten digits: 1797 scanned images of
8 by 8 grey pixels, the test set of the UCI collection "Optical Recognition of Handwritten Digits",
which scikit-learn ships. This script trained it. The network is small on purpose: two hidden layers
of ten ReLU units, so that every activation region over the whole pixel box can be enumerated.

Run it with a file name to write the example there::

    python examples/train_digits.py digits.npz
"""

# %%
# Data
# ----
# Pixels are scaled to [0, 1]. Every third image is held out. Neighbouring images come from the same
# writer, so the held-out writers are not new to the network.

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from byways.core import Box, LayerChain
from byways.networks import Example

WIDTH = 10
SHOWN = (0, 3, 4)  # classes of the three images for the slice picture


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give images in [0, 1], their digits, and which images are held out."""
    pixels, digits = load_digits(return_X_y=True)
    return pixels / 16, digits, np.arange(len(digits)) % 3 == 0


# %%
# Training
# --------
# AdamW on batches of 64 with a cosine schedule. The generator is the script's own, so equal
# versions of torch give equal networks.


def train(images: np.ndarray, digits: np.ndarray, epochs: int = 100) -> nn.Sequential:
    """Train a 64-10-10-10 network in float64."""
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(
        nn.Linear(64, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, 10),
    ).double()
    with torch.no_grad():
        for parameter in net.parameters():
            inputs = parameter.shape[-1] if parameter.ndim == 2 else WIDTH
            parameter.uniform_(-1, 1, generator=generator).div_(inputs**0.5)
    x, y = torch.from_numpy(images), torch.from_numpy(digits)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        schedule.step()
    return net


# %%
# The example
# -----------
# The three images are the first held-out ones of their classes that the network gets right.


def build(epochs: int = 100) -> Example:
    """Train, measure on the held-out images and pack the example."""
    images, digits, held_out = data()
    net = train(images[~held_out], digits[~held_out], epochs)
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    chain = LayerChain.from_arrays(
        [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in linear]
    )
    right = held_out & (chain(images).argmax(axis=1) == digits)
    accuracy = right.sum() / held_out.sum()
    shown = [int(np.flatnonzero(right & (digits == digit))[0]) for digit in SHOWN]
    story = (
        "Handwritten digits, 8 by 8 pixels: 1797 scans from the UCI collection that scikit-learn "
        f"ships. Two hidden layers of {WIDTH} ReLU units, trained on two thirds of them; "
        f"{accuracy:.1%} of the others are classified correctly. The box is every image with "
        "pixels between 0 and 1."
    )
    return Example(
        name="digits",
        chain=chain,
        box=Box(np.zeros(64), np.ones(64)),
        points=images[shown],
        labels=digits[shown],
        classes=tuple("0123456789"),
        story=story,
        accuracy=float(accuracy),
    )


if __name__ == "__main__":
    digits_example = build()
    print(digits_example.story)
    if len(sys.argv) > 1:
        digits_example.save(sys.argv[1])
