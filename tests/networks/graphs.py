"""Torch modules whose values branch, join and compete."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as nnf


class Graph(nn.Module):
    """Parts by name, and a forward that uses them."""

    def __init__(self, forward: Callable[..., torch.Tensor], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self._forward = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(self, x)


def linear(*sizes: int) -> dict[str, nn.Module]:
    """Give layers a, b, c, .. between the given sizes."""
    pairs = zip(sizes[::2], sizes[1::2], strict=True)
    return {name: nn.Linear(m, n) for name, (m, n) in zip("abcdef", pairs, strict=False)}


def _sloped(count: int) -> nn.PReLU:
    prelu = nn.PReLU(count)
    with torch.no_grad():
        prelu.weight.copy_(torch.linspace(-0.5, 1.0, count))  # the last is linear
    return prelu


def _residual(m, x):  # type: ignore[no-untyped-def]
    return m.c(torch.relu(m.b(torch.relu(m.a(x))) + x))


def _twice(m, x):  # type: ignore[no-untyped-def]
    h = torch.relu(m.a(x))
    h = h + torch.relu(m.b(h))
    return m.d(h + torch.relu(m.c(h)) - 0.5 * h)


def _dense(m, x):  # type: ignore[no-untyped-def]
    h = torch.cat([x, torch.relu(m.a(x))], 1)
    h = torch.cat([h, torch.relu(m.b(h))], 1)
    return m.c(h)


def _maxout(m, x):  # type: ignore[no-untyped-def]
    return m.b(m.a(x).view(-1, 4, 3).amax(2))


def _maxout_values(m, x):  # type: ignore[no-untyped-def]
    return m.b(torch.max(m.a(x).view(-1, 3, 4), 1).values + m.a(x).view(-1, 3, 4).max(1)[0])


def _gated(m, x):  # type: ignore[no-untyped-def]
    left, right = m.a(x).chunk(2, dim=1)
    return m.b(torch.minimum(torch.maximum(left, right), right.relu() + 0.25))


def _shuffled(m, x):  # type: ignore[no-untyped-def]
    h = torch.relu(m.a(x)).view(-1, 2, 3).transpose(1, 2)
    first, second = torch.split(h.reshape(-1, 6), [2, 4], dim=1)
    return m.b(torch.cat([second[:, 1:3], first], 1))


def _branches(m, x):  # type: ignore[no-untyped-def]
    return m.c(torch.stack([torch.relu(m.a(x)), m.b(x).abs()], dim=2).flatten(1))


def _averaged(m, x):  # type: ignore[no-untyped-def]
    h = torch.relu(m.conv(x))
    rows = h.mean(-1, keepdim=True) - h.sum(dim=3, keepdim=True) / 8
    return m.head(torch.cat([h.mean(dim=(2, 3)), torch.sum(rows, [3, 2])], 1))


class Block(nn.Module):
    """A convolutional residual block with batch normalisation and a strided shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.BatchNorm2d(2))
        self.two = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2))
        self.short = nn.Conv2d(1, 2, 1, stride=2)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.two(nnf.relu(self.one(x)))
        h += self.short(x)
        return self.head(torch.flatten(nnf.relu(h), 1))


# name -> (make, shape of one input)
GRAPHS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (lambda: Graph(_residual, **linear(2, 4, 4, 2, 2, 2)), (2,)),
    "two residuals": (lambda: Graph(_twice, **linear(3, 4, 4, 4, 4, 4, 4, 2)), (3,)),
    "dense block": (lambda: Graph(_dense, **linear(2, 3, 5, 3, 8, 2)), (2,)),
    "branches": (lambda: Graph(_branches, **linear(2, 3, 2, 3, 6, 2)), (2,)),
    "maxout": (lambda: Graph(_maxout, **linear(2, 12, 4, 2)), (2,)),
    "maxout by max": (lambda: Graph(_maxout_values, **linear(2, 12, 4, 2)), (2,)),
    "maximum and minimum": (lambda: Graph(_gated, **linear(2, 6, 3, 2)), (2,)),
    "moved numbers": (lambda: Graph(_shuffled, **linear(2, 6, 4, 2)), (2,)),
    "averages": (
        lambda: Graph(_averaged, conv=nn.Conv2d(1, 2, 2), head=nn.Linear(4, 2)),
        (1, 3, 3),
    ),
    "convolutional block": (Block, (1, 4, 4)),
    "slopes per channel": (
        lambda: nn.Sequential(nn.Linear(2, 5), _sloped(5), nn.Linear(5, 4), _sloped(4)),
        (2,),
    ),
    "slopes of a convolution": (
        lambda: nn.Sequential(nn.Conv1d(1, 3, 2), _sloped(3), nn.Flatten(), nn.Linear(9, 2)),
        (1, 4),
    ),
    "max-pooling": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2, stride=1), nn.Flatten(), nn.Linear(8, 2)
        ),
        (1, 4, 4),
    ),
    "max-pooling of a line": (
        lambda: nn.Sequential(nn.Conv1d(1, 2, 3), nn.MaxPool1d(3, 2, padding=1, ceil_mode=True)),
        (1, 8),
    ),
    "max-pooling with holes": (
        lambda: nn.Sequential(nn.Conv1d(1, 1, 1), nn.MaxPool1d(2, 1, dilation=3)),
        (1, 7),
    ),
    "adaptive max-pooling": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveMaxPool2d((1, 2))),
        (1, 3, 4),
    ),
    "reflected padding": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=(1, 2), padding_mode="reflect"), nn.ReLU()
        ),
        (1, 4, 4),
    ),
    "replicated padding": (
        lambda: nn.Sequential(nn.Conv1d(2, 2, 3, padding=2, padding_mode="replicate"), nn.ReLU()),
        (2, 4),
    ),
    "circular padding": (
        lambda: nn.Sequential(
            nn.Conv1d(1, 2, 4, padding="same", padding_mode="circular"), nn.ReLU()
        ),
        (1, 5),
    ),
}


def build(name: str, seed: int = 0) -> tuple[nn.Module, tuple[int, ...]]:
    """Make a network with random weights, running statistics included."""
    torch.manual_seed(seed)
    make, shape = GRAPHS[name]
    module = make().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    return module, shape
