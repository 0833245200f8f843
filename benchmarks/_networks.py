"""Networks that are the same on every machine, all but one without PyTorch."""

from __future__ import annotations

import itertools

import numpy as np

from byways.core import LayerChain
from byways.networks import as_chain

__all__ = ["name", "seeded_maxout", "seeded_network", "trained_network"]


def seeded_network(*widths: int, seed: int = 0) -> LayerChain:
    """Give the network that PyTorch draws after ``torch.manual_seed(seed)``.

    ``torch.nn.Linear(a, b)`` for consecutive widths, then one linear output; ReLU between them.
    Both libraries have the same Mersenne Twister. PyTorch takes 24 bits of a draw for a number u
    and rounds ``u (2 bound) - bound`` once to float32, as is done here by way of float64.

    Args:
        widths: Inputs and hidden units.
        seed: The seed.

    Returns:
        The chain, with float32 weights in float64.
    """
    draw = np.random.RandomState(seed)  # the old generator is PyTorch's
    pairs = []
    for fan_in, width in zip(widths, (*widths[1:], 1), strict=True):
        bound = float(np.float32(fan_in**-0.5))
        arrays = []
        for shape in ((width, fan_in), (width,)):
            u = (draw.randint(0, 2**32, size=shape, dtype=np.uint32) & 0xFFFFFF) * 2.0**-24
            arrays.append((u * (2.0 * bound) - bound).astype(np.float32).astype(np.float64))
        pairs.append((arrays[0], arrays[1]))
    return LayerChain.from_arrays(pairs)


def seeded_maxout(*widths: int, of: int = 4, seed: int = 0) -> LayerChain:
    """Give a network each of whose hidden units is the largest of some affine functions.

    Args:
        widths: Inputs and hidden units.
        of: How many functions each is the largest of.
        seed: Of PyTorch, which draws the weights.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    parts: list[nn.Module] = []
    for before, width in itertools.pairwise(widths):
        pool = (nn.Unflatten(1, (1, of * width)), nn.MaxPool1d(of), nn.Flatten())
        parts += [nn.Linear(before, of * width), *pool]
    return as_chain(nn.Sequential(*parts, nn.Linear(widths[-1], 1)), (widths[0],))


def trained_network(width: int, seed: int = 0) -> tuple[LayerChain, float]:
    """Train 784-width-width-10 on scikit-learn's digits, enlarged bilinearly to 28 x 28.

    Adam on the cross-entropy, 60 passes over all images in batches of 64, from PyTorch's default
    weights; some seconds.

    Args:
        width: Units of both hidden layers.
        seed: Seed of the weights and of the order of the images.

    Returns:
        The chain, its pixels in [0, 1], and the share of the images that it knows.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    place = np.linspace(0.0, 7.0, 28)
    enlarge = np.maximum(1.0 - np.abs(place[:, None] - np.arange(8)), 0.0)
    X = (enlarge @ (images.reshape(-1, 8, 8) / 16.0) @ enlarge.T).reshape(-1, 784)
    draw = np.random.default_rng(seed)
    weights = []
    for a, b in ((784, width), (width, width), (width, 10)):
        weights += [draw.uniform(-1, 1, (b, a)) / a**0.5, draw.uniform(-1, 1, b) / a**0.5]
    moments = [np.zeros((2, *w.shape)) for w in weights]
    step = 0
    for _ in range(60):
        order = draw.permutation(len(X))
        for batch in np.array_split(order, len(X) // 64):
            step += 1
            for w, m, g in zip(
                weights, moments, _gradient(weights, X[batch], labels[batch]), strict=True
            ):
                m[0] += 0.1 * (g - m[0])
                m[1] += 0.001 * (g * g - m[1])
                scale = np.sqrt(m[1] / (1.0 - 0.999**step)) + 1e-8
                w -= 3e-3 * m[0] / (1.0 - 0.9**step) / scale
    chain = LayerChain.from_arrays(list(zip(weights[::2], weights[1::2], strict=True)))
    return chain, float((chain(X).argmax(axis=1) == labels).mean())


def _gradient(weights: list, X: np.ndarray, labels: np.ndarray) -> list:
    """Give the gradient of the mean cross-entropy."""
    V, a, W, b, U, c = weights
    first = np.maximum(X @ V.T + a, 0.0)
    second = np.maximum(first @ W.T + b, 0.0)
    scores = second @ U.T + c
    error = np.exp(scores - scores.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(len(X)), labels] -= 1.0
    error /= len(X)
    below = (error @ U) * (second > 0)
    lowest = (below @ W) * (first > 0)
    return [
        lowest.T @ X,
        lowest.sum(0),
        below.T @ first,
        below.sum(0),
        error.T @ second,
        error.sum(0),
    ]


def name(widths: tuple[int, ...]) -> str:
    """Write widths as ``2-16-16``."""
    return "-".join(map(str, widths))
