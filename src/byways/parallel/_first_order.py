"""Backward passes that compute first derivatives only, and say so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["first_order"]

Backward = Callable[..., tuple[Tensor | None, ...]]


def first_order(backward: Backward) -> Backward:
    """Run a backward pass without a graph, and refuse to record one.

    torch's ``once_differentiable`` notices a second derivative only where the incoming gradient
    needs one, so it lets ``loss = output.sum()`` pass, with second derivatives that lack terms.
    """

    @functools.wraps(backward)
    def wrapped(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a backward pass with create_graph=True asks for second derivatives, and these "
                'loops have first ones only; use strategy="torch" for standard modules and '
                'strategy="sequential" for a ParallelCell'
            )
        return backward(ctx, *gradients)

    return wrapped
