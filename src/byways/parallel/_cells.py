"""One step of the standard cells, in torch's own parametrisation.

``x_NG`` is the inputs' part of the pre-activations, W_ih x_t + b_ih; N counts lanes, that is
sequences or sequences times chunks. The gates are stacked as in ``torch.nn``: r, z, n for the GRU
and i, f, g, o for the LSTM. As in torch, and unlike in the paper, the GRU's r multiplies the hidden
product with its bias, r (W_hn h + b_hn), so b_ih and b_hh have different gradients in the n gate.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

__all__ = ["CELLS", "State", "Step"]

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], State]
Cell = Callable[[Tensor, State, Tensor, Tensor | None], State]


def _tanh(x_NG: Tensor, state: State, W: Tensor, b: Tensor | None) -> State:
    return (torch.tanh(x_NG + linear(state[0], W, b)),)


def _relu(x_NG: Tensor, state: State, W: Tensor, b: Tensor | None) -> State:
    return (torch.relu(x_NG + linear(state[0], W, b)),)


def _gru(x_NG: Tensor, state: State, W: Tensor, b: Tensor | None) -> State:
    (h,) = state
    H = h.shape[-1]
    a = linear(h, W, b)
    r, z = torch.sigmoid(x_NG[:, : 2 * H] + a[:, : 2 * H]).split(H, dim=-1)
    n = torch.tanh(torch.addcmul(x_NG[:, 2 * H :], r, a[:, 2 * H :]))
    return (torch.lerp(n, h, z),)  # n + z (h - n)


def _lstm(x_NG: Tensor, state: State, W: Tensor, b: Tensor | None) -> State:
    h, c = state
    i, f, g, o = (x_NG + linear(h, W, b)).split(h.shape[-1], dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


CELLS: dict[str, Cell] = {"tanh": _tanh, "relu": _relu, "gru": _gru, "lstm": _lstm}
