"""Diagonal recurrences ``h_t = a_t h_{t-1} + b_t``: a compiled loop with its gradients.

On a CPU a loop over time whose inner loop runs over contiguous coordinates is faster than any scan,
because it reads each number once. Tensors elsewhere take the doubling scan, in torch alone.

Axes: O outer, T time, I inner, as in the kernels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.autograd import forward_ad

from byways.parallel._diagonal_kernels import diagonal_adjoint, diagonal_states

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["diagonal_recurrence"]

# Folded factors are normal numbers, and not so large that they lose digits or overflow.
_BOUNDS = {
    torch.float32: np.array([2.0**-126, 2.0], dtype=np.float32),
    torch.float64: np.array([2.0**-1022, 2.0]),
}
_BOUNDS |= {torch.complex64: _BOUNDS[torch.float32], torch.complex128: _BOUNDS[torch.float64]}

KERNEL_DTYPES = tuple(_BOUNDS)


def diagonal_recurrence(
    a: Tensor, b: Tensor, start: Tensor | None = None, *, dim: int = 0, reverse: bool = False
) -> Tensor:
    """Give every state of ``h_t = a_t h_{t-1} + b_t``.

    Args:
        a: Factors, broadcastable to ``b``.
        b: Inputs; float32, float64, complex64 or complex128.
        start: The state before the first step, of ``b``'s shape without ``dim``; zero if None.
        dim: The axis of time.
        reverse: Run from the last step to the first.

    Returns:
        The states, in the shape of ``b``, with gradients of any order for all three.
    """
    dim %= b.ndim
    shape = b.shape
    view = torch.Size((math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])))
    a_OTI, b_OTI = _shaped(a, shape, view), _shaped(b, shape, view)
    start_OI = None
    if start is not None:
        state = shape[:dim] + shape[dim + 1 :]
        start_OI = _shaped(start, state, torch.Size((view[0], view[2])))
    states = _diagonal(a_OTI, b_OTI, start_OI, reverse)
    return states if shape == view else states.reshape(shape)


def _shaped(tensor: Tensor, shape: torch.Size, view: torch.Size) -> Tensor:
    """Expand and reshape; a call that changes nothing costs a microsecond, so it is not made."""
    if tensor.shape != shape:
        tensor = tensor.expand(shape)
    return tensor if shape == view else tensor.reshape(view)


def _diagonal(a_OTI: Tensor, b_OTI: Tensor, start_OI: Tensor | None, reverse: bool) -> Tensor:
    known = b_OTI.device.type == "cpu" and b_OTI.dtype in KERNEL_DTYPES
    if known and not _is_watched(a_OTI, b_OTI, start_OI):
        return _states(a_OTI, b_OTI, start_OI, reverse)
    if start_OI is None:
        start_OI = b_OTI.new_zeros((b_OTI.shape[0], b_OTI.shape[2]))
    if not known:
        return _doubling(a_OTI, b_OTI, start_OI, reverse)
    states: Tensor = _DiagonalScan.apply(a_OTI, b_OTI, start_OI, reverse)
    return states


def _is_watched(*tensors: Tensor | None) -> bool:
    """Tell whether a derivative or a transform is under way; else no node of a graph is made.

    To enter a graph takes as long as 10 000 steps.
    """
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return True
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _states(a: Tensor, b: Tensor, start: Tensor | None, reverse: bool) -> Tensor:
    """Run the kernel; without a start it is zero."""
    h, inputs = torch.empty(b.shape, dtype=b.dtype), _array(b)
    first = np.zeros((b.shape[0], b.shape[2]), inputs.dtype) if start is None else _array(start)
    diagonal_states(_array(a), inputs, first, reverse, _BOUNDS[b.dtype], h.numpy())
    return h


def _doubling(a: Tensor, b: Tensor, start: Tensor, reverse: bool) -> Tensor:
    """Scan in ⌈log2 T⌉ rounds of whole-tensor operations, for devices without the kernels."""
    if reverse:
        return _doubling(a.flip(1), b.flip(1), start, False).flip(1)
    step = 1
    b = torch.cat([a[:, :1] * start[:, None] + b[:, :1], b[:, 1:]], dim=1)
    while step < b.shape[1]:
        new_b = a[:, step:] * b[:, :-step] + b[:, step:]
        b = torch.cat([b[:, :step], new_b], dim=1)
        a = torch.cat([a[:, :step], a[:, step:] * a[:, :-step]], dim=1)
        step *= 2
    return b


def _array(tensor: Tensor) -> Any:
    """Give NumPy's view; what has nothing to do is not called, as a call takes a microsecond."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.is_complex():
        tensor = tensor.resolve_conj()
    return (tensor if tensor.is_contiguous() else tensor.contiguous()).numpy()


class _DiagonalScan(torch.autograd.Function):
    """The kernels as one node of the graph; it saves its inputs and the states."""

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        """Enter the graph without binding inputs to names, which takes as long as 60 000 steps."""
        if torch._C._are_functorch_transforms_active():
            return super().apply(*inputs)
        return super(torch.autograd.Function, cls).apply(*inputs)  # type: ignore[misc]

    @staticmethod
    def forward(a: Tensor, b: Tensor, start: Tensor, reverse: bool) -> Tensor:
        return _states(a, b, start, reverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        a, _, start, ctx.reverse = inputs
        ctx.save_for_backward(a, start, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        a, start, h = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: only recorded operations
            return (*_adjoint(a, h, start, grads[0], ctx.reverse), None)
        da, db, dstart = torch.empty_like(h), torch.empty_like(h), torch.empty_like(start)
        diagonal_adjoint(
            _array(a.conj()),
            _array(h.conj()),
            _array(start.conj()),
            _array(grads[0]),
            ctx.reverse,
            _BOUNDS[h.dtype],
            da.numpy(),
            db.numpy(),
            dstart.numpy(),
        )
        return da, db, dstart, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], a: Tensor, b: Tensor, start: Tensor, rev: bool
    ) -> tuple[Tensor, int]:
        """Fold the mapped axis into the outer one."""
        folded = []
        for tensor, axis in zip((a, b, start), in_dims, strict=False):
            moved = tensor.expand(info.batch_size, *tensor.shape) if axis is None else tensor
            moved = moved if axis is None else moved.movedim(axis, 0)
            folded.append(moved.reshape(-1, *moved.shape[2:]))
        h: Tensor = _DiagonalScan.apply(*folded, rev)
        return h.reshape(info.batch_size, -1, *h.shape[1:]), 0


def _adjoint(
    a: Tensor, h: Tensor, start: Tensor, g: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Write the adjoint with operations that have derivatives themselves."""
    if reverse:
        a_next = torch.cat([a.new_zeros(a[:, :1].shape), a[:, :-1]], dim=1)
        before = torch.cat([h[:, 1:], start[:, None]], dim=1)
    else:
        a_next = torch.cat([a[:, 1:], a.new_zeros(a[:, :1].shape)], dim=1)
        before = torch.cat([start[:, None], h[:, :-1]], dim=1)
    carried = _diagonal(a_next.conj(), g, torch.zeros_like(start), not reverse)
    first = -1 if reverse else 0
    return carried * before.conj(), carried, a[:, first].conj() * carried[:, first]
