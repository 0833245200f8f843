"""Networks of maxima as chains, made from arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from byways.core import LayerChain
from byways.networks import as_chain

torch = pytest.importorskip("torch")

Layers = list[tuple[Any, Any, list[tuple[int, ...]]]]


class Maxout(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Layers of maxima of affine functions; windows are next to each other."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList()
        self.windows = [windows for _, _, windows in layers]
        for weight, bias, _ in layers:
            part = torch.nn.Linear(*np.shape(weight)[::-1]).double()
            with torch.no_grad():
                part.weight.copy_(torch.tensor(np.asarray(weight)))
                part.bias.copy_(torch.tensor(np.asarray(bias)))
            self.parts.append(part)

    def forward(self, x):  # type: ignore[no-untyped-def]
        for part, windows in zip(self.parts, self.windows, strict=True):
            z = part(x)
            if len({len(window) for window in windows}) == 1:  # one tournament for all
                x = z.view(-1, len(windows), len(windows[0])).amax(2)
            else:  # one after the other
                x = torch.stack([z[:, window[0] : window[-1] + 1].amax(1) for window in windows], 1)
        return x


def side_by_side(*sizes: int) -> list[tuple[int, ...]]:
    """Give windows of the given sizes, one after the other."""
    ends = np.cumsum(sizes).tolist()
    return [tuple(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]


def random_maxout(
    rng: np.random.Generator, inputs: int, layers: list[list[int]]
) -> tuple[LayerChain, Layers]:
    """Make a network with windows of the given sizes in each layer."""
    parts: Layers = []
    size = inputs
    for sizes in layers:
        weight, bias = rng.standard_normal((sum(sizes), size)), rng.standard_normal(sum(sizes))
        parts.append((weight, bias, side_by_side(*sizes)))
        size = len(sizes)
    return as_chain(Maxout(parts), (inputs,)), parts
