"""A recurrent layer whose cotangents come from one scan over its steps' Jacobians (BPPSA).

Forward, the layer runs step by step without a graph. Backward, the cotangents of all steps obey
``u_t = g_t + J_{t+1}^T u_{t+1}``, an affine recurrence with a loss at every step; a scan solves it,
and one product gives the weights' gradients of all steps.

Axes: T steps, B sequences, G stacked gates; S numbers of a state: h, for the LSTM h and c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from byways.parallel._cells import CELLS
from byways.parallel._first_order import first_order
from byways.parallel._jacobians import dense
from byways.parallel._lattice import Lattice, roll, stack
from byways.parallel._scan import solve_affine
from byways.parallel.elements import SharedDiagonal, Structure

if TYPE_CHECKING:
    from collections.abc import Callable

    from byways.parallel._cells import State

__all__ = ["scanned_layer"]


def scanned_layer(
    kind: str,
    strategy: str,
    x_TBG: Tensor,
    state: State,
    W: Tensor,
    b: Tensor | None,
    n_B: Tensor | None,
) -> State:
    """Run one layer of a standard cell, with a backward pass by scan.

    First order only: a backward pass with ``create_graph=True`` raises.

    Args:
        kind: ``"tanh"``, ``"relu"``, ``"gru"`` or ``"lstm"``.
        strategy: Of ``scan``.
        x_TBG: The inputs' part of the pre-activations, T at least 1.
        state: Initial states ``(B, H)``.
        W: Recurrent weights.
        b: Recurrent bias, or None.
        n_B: Number of steps of each sequence, which then holds its last state; None for all.

    Returns:
        The states of all steps, a tuple of ``(T, B, H)``.
    """
    bias = x_TBG.new_zeros(W.shape[0]) if b is None else b
    parts = _Scanned.apply(kind, strategy, n_B, x_TBG, W, bias, *state)
    return cast("State", parts)


class _Scanned(torch.autograd.Function):
    """A layer as one node of the graph; it saves the states and its inputs."""

    @staticmethod
    def forward(
        ctx: Any,
        kind: str,
        strategy: str,
        n_B: Tensor | None,
        x: Tensor,
        W: Tensor,
        b: Tensor,
        *state: Tensor,
    ) -> State:
        cell, valid = CELLS[kind], _valid(x, n_B)
        states = stack(roll(lambda x_BG, h: cell(x_BG, h, W, b), x, state, valid))
        ctx.kind, ctx.strategy = kind, strategy
        ctx.save_for_backward(n_B, x, W, b, *state, *states)
        return states

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        n_B, x, W, b, *parts = ctx.saved_tensors
        half = len(parts) // 2
        start, h = torch.cat(parts[:half], -1), torch.cat(parts[half:], -1)
        before = torch.cat([start[None], h[:-1]])
        valid = _valid(x, n_B)
        J = _jacobians(ctx.kind, x, W, b, before, h, valid)
        # The cotangent that arrives at step t comes from step t + 1, through that step's matrix.
        after = torch.arange(1, len(x) + 1, device=x.device).clamp(max=len(x) - 1)
        g = torch.cat(grads, -1)
        nothing = torch.zeros_like(start)
        u = solve_affine(J.adjoint().at(after), g, nothing, reverse=True, strategy=ctx.strategy)
        leaves = [one.detach().requires_grad_() for one in (x, W, b, before)]
        with torch.enable_grad():
            end = _all_steps(ctx.kind, leaves[0], leaves[1], leaves[2], valid)(leaves[3])
        dx, dW, db, dbefore = torch.autograd.grad(end, leaves, u)
        return None, None, None, dx, dW, db, *dbefore[0].tensor_split(half, -1)


def _valid(x: Tensor, n_B: Tensor | None) -> Tensor | None:
    steps, sequences = x.shape[:2]
    return Lattice(steps, sequences, 1, steps, n_B).valid(x.device)


def _jacobians(
    kind: str, x: Tensor, W: Tensor, b: Tensor, before: Tensor, h: Tensor, valid: Tensor | None
) -> Structure:
    """Give the Jacobian of every step, at the states that the forward pass found."""
    if valid is None and kind == "tanh":
        return SharedDiagonal(W, 1 - h * h)
    if valid is None and kind == "relu":
        return SharedDiagonal(W, (h > 0).to(h.dtype))
    return dense(_all_steps(kind, x, W, b, valid), before)


def _all_steps(
    kind: str, x: Tensor, W: Tensor, b: Tensor, valid: Tensor | None
) -> Callable[[Tensor], Tensor]:
    """Give the map from all states before their step to all states after it."""
    parts = 2 if kind == "lstm" else 1

    def step(before: Tensor) -> Tensor:
        state = before.flatten(0, 1).tensor_split(parts, -1)
        new = torch.cat(CELLS[kind](x.flatten(0, 1), state, W, b), -1).view_as(before)
        return new if valid is None else torch.where(valid, new, before)

    return step
