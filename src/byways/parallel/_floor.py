"""The floor: one recurrent layer forward without a graph, backward by a hand-written linear pass.

The backward pass of any recurrence is linear, delta_{t-1} = J_t^T delta_t + g_{t-1}, whatever the
forward dynamics are, so nothing here converges or fails to: the cost is the same for tame and for
chaotic weights. What depends on no neighbour in time is done for all steps at once: the products
with the inputs before the loop, the gradients of the weights after it.

Memory: RNN stores the states, GRU five and LSTM six numbers per unit and step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from byways.parallel import _loops
from byways.parallel._first_order import first_order

__all__ = ["FLOOR_DTYPES", "floor_layer"]

FLOOR_DTYPES = (torch.float32, torch.float64)

_CONTIGUOUS = torch.contiguous_format
# Cotangents below this are taken for 0: far above the denormal numbers, far below any use.
_TINY = {torch.float32: np.float32(2.0**-100), torch.float64: np.float64(2.0**-960)}


def floor_layer(
    kind: str, x_TBG: Tensor, state: tuple[Tensor, ...], W: Tensor, b: Tensor | None, n_B: Tensor
) -> tuple[Tensor, ...]:
    """Run one layer of a standard cell through all steps with compiled loops.

    First order only: a backward pass with ``create_graph=True`` raises.

    Args:
        kind: ``"tanh"``, ``"relu"``, ``"gru"`` or ``"lstm"``.
        x_TBG: The inputs' part of the pre-activations, bias ``b_ih`` included.
        state: Initial states ``(B, H)``: h_0, for the LSTM h_0 and c_0.
        W: Recurrent weights ``W_hh``, ``(G, H)``.
        b: Recurrent bias ``b_hh``, or None.
        n_B: Number of steps of each sequence, int64.

    Returns:
        The states of all steps ``(T, B, H)``, and for the LSTM also the last c ``(B, H)``. After
        its end a sequence holds its last state.
    """
    bias = x_TBG.new_zeros(W.shape[0]) if b is None else b
    if kind == "lstm":
        return cast("tuple[Tensor, Tensor]", _LSTM.apply(x_TBG, *state, W, bias, n_B))
    if kind == "gru":
        return (cast("Tensor", _GRU.apply(x_TBG, *state, W, bias, n_B)),)
    return (cast("Tensor", _RNN.apply(x_TBG, *state, W, bias, n_B, kind == "relu")),)


def _run(kernel: Callable[..., Any], *inputs: Any) -> None:
    """Call a loop with NumPy views, copied only where a tensor is not contiguous."""
    kernel(
        *(one.detach().contiguous().numpy() if isinstance(one, Tensor) else one for one in inputs)
    )


def _weight_gradient(delta_TBG: Tensor, h0_BH: Tensor, h_TBH: Tensor) -> Tensor:
    """Give the sum over steps of delta_t outer h_{t-1}: one product for all steps but the first."""
    total = delta_TBG[0].T @ h0_BH
    if len(delta_TBG) > 1:
        total.addmm_(delta_TBG[1:].flatten(0, 1).T, h_TBH[:-1].flatten(0, 1))
    return total


class _RNN(torch.autograd.Function):
    """tanh or ReLU layer."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h0: Tensor, W: Tensor, b: Tensor, n: Tensor, relu: bool
    ) -> Tensor:
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        _run(_loops.rnn_forward, x, h0, W.T, b, n, relu, out)
        ctx.save_for_backward(out, h0, W, n)
        ctx.relu = relu
        return out

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        out, h0, W, n = ctx.saved_tensors
        dx, dh0 = torch.empty_like(out), torch.empty_like(h0, memory_format=_CONTIGUOUS)
        tiny = _TINY[out.dtype]
        _run(_loops.rnn_backward, grad, out, W, n, ctx.relu, tiny, dx, dh0)
        return dx, dh0, _weight_gradient(dx, h0, out), dx.sum((0, 1)), None, None


class _GRU(torch.autograd.Function):
    """GRU layer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, W: Tensor, b: Tensor, n: Tensor) -> Tensor:
        T, B, _ = x.shape
        out, gates = x.new_empty(T, B, W.shape[1]), x.new_empty(T, B, 4 * W.shape[1])
        _run(_loops.gru_forward, x, h0, W.T, b, n, out, gates)
        ctx.save_for_backward(out, h0, gates, W, n)
        return out

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        out, h0, gates, W, n = ctx.saved_tensors
        T, B, H = out.shape
        dx, dq = out.new_empty(T, B, 3 * H), torch.empty_like(out)
        dh0 = torch.empty_like(h0, memory_format=_CONTIGUOUS)
        tiny = _TINY[out.dtype]
        _run(_loops.gru_backward, grad, out, h0, gates, W, n, tiny, dx, dq, dh0)
        # On the recurrent side q takes the place of n: r multiplies W_hn h + b_hn.
        parts = dx[..., : 2 * H], dq
        dW = torch.cat([_weight_gradient(part, h0, out) for part in parts])
        return dx, dh0, dW, torch.cat([part.sum((0, 1)) for part in parts]), None


class _LSTM(torch.autograd.Function):
    """LSTM layer."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h0: Tensor, c0: Tensor, W: Tensor, b: Tensor, n: Tensor
    ) -> tuple[Tensor, Tensor]:
        T, B, _ = x.shape
        H = W.shape[1]
        out, cells = x.new_empty(T, B, H), x.new_empty(T, B, H)
        gates = x.new_empty(T, B, 4 * H)
        _run(_loops.lstm_forward, x, h0, c0, W.T, b, n, out, cells, gates)
        ctx.save_for_backward(out, h0, c0, cells, gates, W, n)
        return out, cells[-1].clone()

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor, grad_c: Tensor) -> tuple[Tensor | None, ...]:
        out, h0, c0, cells, gates, W, n = ctx.saved_tensors
        dx = torch.empty_like(gates)
        dh0 = torch.empty_like(h0, memory_format=_CONTIGUOUS)
        dc0 = grad_c.clone(memory_format=_CONTIGUOUS)
        tiny = _TINY[out.dtype]
        _run(_loops.lstm_backward, grad, cells, c0, gates, W, n, tiny, dx, dh0, dc0)
        return dx, dh0, dc0, _weight_gradient(dx, h0, out), dx.sum((0, 1)), None
