"""A real pruned network: 784-1024-1024-10 on digits, 95 % of its weights taken away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pruned", "train_pruned"]

_KEPT = 0.05
_ROUNDS = (1.0, 0.5, 0.2, 0.1, _KEPT)  # share of weights left after each round of training


@dataclass(frozen=True)
class Pruned:
    """The model, and the share of test images that it and its dense ancestor name rightly."""

    model: Any
    dense_accuracy: float
    accuracy: float
    images: NDArray[np.float32]


def train_pruned(steps: int) -> Pruned:
    """Train, and take away the smallest weights in rounds; scikit-learn's digits at 28 by 28."""
    import torch
    from sklearn.datasets import load_digits
    from torch.nn.utils import prune

    digits = load_digits()
    small = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]
    large = torch.nn.functional.interpolate(small, (28, 28), mode="bilinear").flatten(1)
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:1400], order[1400:]
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 1024), torch.nn.ReLU(),
        torch.nn.Linear(1024, 10),
    )  # fmt: skip
    weights = [(layer, "weight") for layer in model if isinstance(layer, torch.nn.Linear)]

    def accuracy() -> float:
        with torch.no_grad():
            return float((model(large[test]).argmax(1) == labels[test]).float().mean())

    found, left = [], 1.0
    for share in _ROUNDS:
        if share < left:
            prune.global_unstructured(
                weights, pruning_method=prune.L1Unstructured, amount=1.0 - share / left
            )
            left = share
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(steps):
            batch = train[torch.randint(len(train), (128,))]
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(large[batch]), labels[batch])
            loss.backward()
            optimiser.step()
        found.append(accuracy())
    return Pruned(model.eval(), found[0], found[-1], large.numpy())
