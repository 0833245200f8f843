"""Layers and directions of a recurrent module around one solver of a single recurrence.

Axes: T steps, B sequences, I inputs, H units, G stacked gates; L layers times directions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear

from byways.parallel._cells import State

__all__ = ["Solver", "kind_of", "run_layers"]

# (x_TBG, state, W_hh, b_hh) to the states of all steps and the last state.
Solver = Callable[[Tensor, State, Tensor, Tensor | None], tuple[Tensor, State]]


def kind_of(module: nn.RNNBase) -> str:
    """Name the cell: ``"tanh"``, ``"relu"``, ``"gru"`` or ``"lstm"``."""
    if isinstance(module, nn.RNN):
        return str(module.nonlinearity)
    return "gru" if isinstance(module, nn.GRU) else "lstm"


@dataclass(frozen=True, slots=True)
class _Reversal:
    """Turn time round within each sequence's own length, padding left in place."""

    index: Tensor | None  # (T, B)

    @classmethod
    def of(cls, steps: int, lengths_B: Tensor | None) -> _Reversal:
        if lengths_B is None:
            return cls(None)
        t = torch.arange(steps, device=lengths_B.device)[:, None]
        return cls(torch.where(t < lengths_B, lengths_B - 1 - t, t))

    def __call__(self, x_TBH: Tensor) -> Tensor:
        if self.index is None:
            return x_TBH.flip(0)
        return x_TBH.gather(0, self.index[..., None].expand_as(x_TBH))


def run_layers(
    module: nn.RNNBase, x_TBI: Tensor, state_LBH: State, lengths_B: Tensor | None, solve: Solver
) -> tuple[Tensor, State]:
    """Run all layers and directions of a module.

    Args:
        module: Whose weights and settings are used.
        x_TBI: Inputs, time first.
        state_LBH: Initial states of all layers and directions.
        lengths_B: Number of steps of each sequence, or None for all; outputs after it are zero.
        solve: Solver of one recurrence.

    Returns:
        The outputs of the last layer ``(T, B, directions * H)`` and the last states, as torch.
    """
    directions = 2 if module.bidirectional else 1
    reversal = _Reversal.of(len(x_TBI), lengths_B)
    mask = _running(len(x_TBI), lengths_B)
    lasts: list[State] = []
    for layer in range(module.num_layers):
        outputs = []
        for backwards in range(directions):
            W_ih, W_hh, b_ih, b_hh = _weights(module, layer, backwards)
            x = reversal(x_TBI) if backwards else x_TBI
            start = tuple(s[layer * directions + backwards] for s in state_LBH)
            h, last = solve(linear(x, W_ih, b_ih), start, W_hh, b_hh)
            h = h if mask is None else h * mask
            outputs.append(reversal(h) if backwards else h)
            lasts.append(last)
        x_TBI = torch.cat(outputs, -1) if directions == 2 else outputs[0]
        if module.dropout and module.training and layer < module.num_layers - 1:
            x_TBI = dropout(x_TBI, module.dropout, training=True)
    return x_TBI, tuple(torch.stack(parts) for parts in zip(*lasts, strict=True))


def _running(steps: int, lengths_B: Tensor | None) -> Tensor | None:
    if lengths_B is None:
        return None
    return (torch.arange(steps, device=lengths_B.device)[:, None] < lengths_B)[..., None]


def _weights(
    module: nn.RNNBase, layer: int, backwards: int
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    end = f"l{layer}_reverse" if backwards else f"l{layer}"
    W_ih, W_hh = getattr(module, f"weight_ih_{end}"), getattr(module, f"weight_hh_{end}")
    if not module.bias:
        return W_ih, W_hh, None, None
    return W_ih, W_hh, getattr(module, f"bias_ih_{end}"), getattr(module, f"bias_hh_{end}")
