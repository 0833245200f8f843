"""Jacobians of a step at all steps at once.

A step ``f(x_t, h)`` treats its leading axes apart, so one backward pass through the step on a whole
trajectory gives one row of every Jacobian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from byways.parallel.elements import Dense, Diagonal, IdentityPlus, Scalar, Structure

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Step = Callable[[Tensor], Tensor]  # states before the steps -> states after them

__all__ = ["JACOBIANS", "clipped", "jacobian_of", "scaled", "zero"]


def dense(step: Step, before: Tensor) -> Structure:
    """Take one backward pass for each coordinate."""
    size = before.shape[-1]
    leaf = before.detach().requires_grad_()
    with torch.enable_grad():
        sums = step(leaf).reshape(-1, size).sum(dim=0).unbind()
    if not sums or not sums[0].requires_grad:  # the step does not depend on the state
        return Dense(before.new_zeros((*before.shape, size)))
    rows = [_backward(total, leaf, retain=total is not sums[-1]) for total in sums]
    return Dense(torch.stack(rows, dim=-2))


def diagonal(step: Step, before: Tensor) -> Structure:
    """Take one backward pass: right if the Jacobian is known to be diagonal."""
    leaf = before.detach().requires_grad_()
    with torch.enable_grad():
        total = step(leaf).sum()
    if not total.requires_grad:
        return Diagonal(torch.zeros_like(before))
    return Diagonal(_backward(total, leaf, retain=False))


def main_diagonal(step: Step, before: Tensor) -> Structure:
    """Give the diagonal of any Jacobian, exactly, at the price of the whole."""
    return Diagonal(dense(step, before).to_dense().diagonal(dim1=-2, dim2=-1))


def probe(step: Step, before: Tensor, generator: torch.Generator) -> Structure:
    """Estimate the diagonal from one product with random signs (Hutchinson; unbiased).

    ``v * (v J)`` has the same mean as ``v * (J v)``, and a backward pass gives it.
    """
    drawn = torch.randint(0, 2, before.shape, generator=generator, device=generator.device)
    signs = drawn.to(before) * 2 - 1
    leaf = before.detach().requires_grad_()
    with torch.enable_grad():
        total = (step(leaf) * signs).sum()
    if not total.requires_grad:
        return Diagonal(torch.zeros_like(before))
    return Diagonal(signs * _backward(total, leaf, retain=False))


def identity(step: Step, before: Tensor) -> Structure:
    """Give the identity: the matrix of Picard's iteration."""
    return Scalar(before.new_ones(len(before), *(1,) * (before.ndim - 2)), before.shape[-1])


def zero(step: Step, before: Tensor) -> Structure:
    """Give zero: the matrix of Jacobi's iteration."""
    return Scalar(before.new_zeros(len(before), *(1,) * (before.ndim - 2)), before.shape[-1])


JACOBIANS: dict[str, Callable[[Step, Tensor], Structure]] = {
    "dense": dense,
    "diag": diagonal,
    "main-diag": main_diagonal,
    "identity": identity,
    "zero": zero,
}


def jacobian_of(name: str, generator: torch.Generator) -> Callable[[Step, Tensor], Structure]:
    """Give the function that computes Jacobians of that kind."""
    if name == "probe":
        return lambda step, before: probe(step, before, generator)
    return JACOBIANS[name]


def clipped(A: Structure) -> Structure:
    """Bound the growth of products: no factor above one in size.

    Clipping the norm of dense matrices slows Newton's method down several times, so this is for
    after an overflow only.
    """
    match A:
        case Diagonal(d=d):
            return Diagonal(d.nan_to_num(0.0).clamp(-1, 1))
        case Scalar():
            return A.like(A.a.nan_to_num(0.0).clamp(-1, 1))
    full = A.to_dense().nan_to_num(0.0)
    norm = full.abs().sum(dim=-1).amax(dim=-1).clamp_min(1)
    return Dense(full / norm[..., None, None])


def scaled(A: Structure, factor: float) -> Structure:
    """Multiply all matrices by a number."""
    if factor == 1.0:
        return A
    if isinstance(A, IdentityPlus):
        return Dense(A.to_dense() * factor)
    *rest, last = A.tensors
    return A.like(*rest, last * factor)


def _backward(output: Tensor, leaf: Tensor, *, retain: bool) -> Tensor:
    (row,) = torch.autograd.grad(output, leaf, retain_graph=retain)
    return row
