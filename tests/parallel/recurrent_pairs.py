"""A module of torch.nn, ours with the same weights, and the outputs and gradients of both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from byways.parallel import GRU, LSTM, RNN

OURS = {"tanh": RNN, "relu": RNN, "gru": GRU, "lstm": LSTM}
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}  # relative to the largest entry


def pair(
    kind: str, inputs: int, units: int, *, strategy: str, dtype: torch.dtype, **settings: Any
) -> tuple[nn.RNNBase, Any]:
    """Give torch's module and ours, equal weights."""
    torch.manual_seed(0)
    if kind in ("tanh", "relu"):
        settings["nonlinearity"] = kind
    ours = OURS[kind]
    theirs = ours._torch_class(inputs, units, dtype=dtype, **settings)
    return theirs, ours.from_torch(theirs, strategy=strategy)


def start(module: nn.RNNBase, sequences: int) -> Any:
    """Draw an initial state that wants a gradient."""
    rows = module.num_layers * (2 if module.bidirectional else 1)
    dtype = module.weight_ih_l0.dtype
    parts = [
        torch.randn(rows, sequences, module.hidden_size, dtype=dtype, requires_grad=True)
        for _ in range(2 if isinstance(module, nn.LSTM) else 1)
    ]
    return tuple(parts) if len(parts) == 2 else parts[0]


def results(module: Any, x: Tensor, hx: Any, **options: Any) -> list[Tensor]:
    """Give outputs, last states, and the gradients of a loss that reads all of them."""
    output, last = module(x, hx, **options)
    states = last if isinstance(last, tuple) else (last,)
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (part * torch.randn(part.shape, dtype=part.dtype, generator=generator)).sum()
        for part in (output, *states)
    )
    starts = hx if isinstance(hx, tuple) else (hx,)
    leaves = [x, *starts, *module.parameters()]
    return [output, *states, *torch.autograd.grad(loss, leaves)]


def assert_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Compare each tensor relative to its own largest entry."""
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape
        assert mine.dtype == other.dtype
        if other.numel():
            scale = max(float(other.detach().abs().max()), 1e-3)
            error = float((mine - other).detach().abs().max())
            assert error <= TOLERANCES[other.dtype] * scale
