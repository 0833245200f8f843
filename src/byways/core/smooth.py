"""Chains in which some units have a smooth activation, for passes that ask for no pieces.

A ``LayerChain`` is piecewise linear, and what reads one may rely on it. So a smooth activation is
kept beside the chain: there its units are linear.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from byways.core.chain import LayerChain

    Array = NDArray[np.float64]

__all__ = ["SMOOTH", "SmoothChain", "smooth"]

SMOOTH = ("tanh", "sigmoid")


@dataclass(frozen=True, slots=True)
class SmoothChain:
    """A chain, and the smooth functions that follow linear units of it.

    Attributes:
        chain: The network, with the identity where a smooth function is.
        after: Layer to the function's name and how many units have it, the first ones.
        shape: Shape of one output as the network was given; None if it knows flat ones alone.
    """

    chain: LayerChain
    after: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None

    def __call__(self, x: Array) -> Array:
        """Evaluate points of shape ``(..., n_0)``."""
        for i in range(len(self.chain.layers)):
            x = self.layer(i, x)
        return x

    def layer(self, i: int, x: Array) -> Array:
        """Evaluate one layer."""
        layer = self.chain.layers[i]
        values = layer.activation(layer.map.apply(x) + layer.bias)
        if i in self.after:
            name, units = self.after[i]
            values[..., :units] = smooth(name, values[..., :units])
        return values


def smooth(name: str, z: Array) -> Array:
    """Evaluate a smooth activation elementwise."""
    if name == "tanh":
        return np.tanh(z)
    positive = np.exp(-np.abs(z))  # does not overflow
    result: Array = np.where(z >= 0, 1.0, positive) / (1.0 + positive)
    return result
