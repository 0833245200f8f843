"""Transposed Jacobians of layers, with the pattern that their shapes fix.

A convolution's pattern follows from its sizes, a pool's from its windows, a pruned layer's from its
mask. Only values change from call to call, so patterns are made once and kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from byways.parallel._patterns import Pattern
from byways.parallel.elements import Dense, Diagonal, Sparse, Structure

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Ints = NDArray[np.int64]

__all__ = ["conv_entries", "pool_entries", "transposed_jacobian"]

_DENSE_ABOVE = 0.3  # density from which a weight is multiplied as a dense matrix
_LARGEST_DENSE = 2**24  # entries of a Jacobian that is computed row by row


def transposed_jacobian(layer: nn.Module, x: Tensor, y: Tensor) -> Structure | None:
    """Give ``(dy/dx)^T`` for a batch, as one step with the batch as lanes.

    Args:
        layer: A layer without randomness, which treats samples independently.
        x: Its input, ``(batch, ...)``.
        y: Its output.

    Returns:
        The matrices ``(1, batch or 1, size of x, size of y)``; None for the identity.

    Raises:
        ValueError: If the layer is not known and its Jacobian is too large to compute by rows.
    """
    match layer:
        case nn.Flatten() | nn.Identity() | nn.Unflatten():
            return None
        case nn.Dropout() if not layer.training or layer.p == 0.0:
            return None
        case nn.Linear() if x.ndim == 2:
            return _linear(layer.weight.detach())
        case nn.Conv2d() if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            return _conv(layer, x)
        case nn.MaxPool2d() if not layer.ceil_mode:
            return _max_pool(layer, x)
        case nn.AvgPool2d() if not layer.ceil_mode and layer.divisor_override is None:
            return _mean_pool(layer, x)
        case (
            nn.ReLU() | nn.Tanh() | nn.Sigmoid() | nn.GELU() | nn.SiLU() | nn.ELU() | nn.LeakyReLU()
        ):
            return _elementwise(layer, x)
    return _by_rows(layer, x, y)


def _linear(weight: Tensor) -> Structure:
    mask = weight != 0
    if float(mask.float().mean()) > _DENSE_ABOVE:
        return Dense(weight.T[None, None])
    return Sparse(Pattern.from_mask(mask.T), weight.T[mask.T][None, None])


def _elementwise(layer: nn.Module, x: Tensor) -> Structure:
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        total = layer(leaf.clone()).sum()  # the clone bears an in-place activation
    (slope,) = torch.autograd.grad(total, leaf)
    return Diagonal(slope.flatten(1)[None])


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _conv(layer: nn.Conv2d, x: Tensor) -> Structure:
    kernel = layer.weight.detach()
    nonzero = kernel != 0
    whole = bool(nonzero.all())
    settings = (_pair(layer.stride), _pair(layer.padding), _pair(layer.dilation), layer.groups)
    sizes = tuple(kernel.shape), tuple(x.shape[1:])
    kept = None if whole else nonzero.flatten().cpu().numpy().tobytes()
    pattern, source = _conv_pattern(*sizes, *settings, kept)
    return Sparse(pattern, kernel.flatten()[source][None, None])


@lru_cache(maxsize=64)
def _conv_pattern(
    kernel: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    kept: bytes | None,
) -> tuple[Pattern, Tensor]:
    """Give the pattern of the transposed Jacobian and the kernel entry of each of its entries."""
    mask = None if kept is None else np.frombuffer(kept, dtype=bool)
    inputs, outputs, entries = conv_entries(kernel, size, stride, padding, dilation, groups, mask)
    rows = int(np.prod(size))
    height, width = _out_sizes(size[1:], kernel[2:], stride, padding, dilation)
    columns = kernel[0] * height * width
    order = np.lexsort((outputs, inputs))
    pattern = Pattern(inputs[order], outputs[order], (rows, columns))
    return pattern, torch.from_numpy(entries[order])


def _out_sizes(
    size: tuple[int, ...],
    window: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int]:
    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, window, stride, padding, dilation, strict=True)
    ]
    return out[0], out[1]


def conv_entries(
    kernel: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int = 1,
    mask: NDArray[np.bool_] | None = None,
) -> tuple[Ints, Ints, Ints]:
    """List input, output and kernel entry of every product of a convolution.

    Args:
        kernel: ``(C_out, C_in / groups, kh, kw)``.
        size: ``(C_in, H, W)``.
        stride: Of both axes, as are padding and dilation.
        padding: Zeros on each side.
        dilation: Distance of kernel entries.
        groups: Groups of channels.
        mask: Kernel entries that are there, flat; all if None.

    Returns:
        Three arrays of equal length, flat indices.
    """
    entries = np.arange(int(np.prod(kernel))) if mask is None else np.flatnonzero(mask)
    out, channel, a, b = np.unravel_index(entries, kernel)
    height, width = _out_sizes(size[1:], kernel[2:], stride, padding, dilation)
    row, column = np.divmod(np.arange(height * width), width)
    y = row * stride[0] - padding[0] + a[:, None] * dilation[0]
    x = column * stride[1] - padding[1] + b[:, None] * dilation[1]
    inside = (y >= 0) & (y < size[1]) & (x >= 0) & (x < size[2])
    group = out // (kernel[0] // groups)
    source = (channel + group * kernel[1])[:, None]
    inputs = (source * size[1] + y) * size[2] + x
    outputs = out[:, None] * (height * width) + np.arange(height * width)
    which = np.broadcast_to(entries[:, None], inside.shape)
    return inputs[inside], outputs[inside], which[inside]


@lru_cache(maxsize=64)
def _pool_pattern(
    size: tuple[int, ...],
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Pattern:
    inputs, outputs = pool_entries(size, window, stride, padding, dilation)
    height, width = _out_sizes(size[1:], window, stride, padding, dilation)
    order = np.lexsort((outputs, inputs))
    shape = (int(np.prod(size)), size[0] * height * width)
    return Pattern(inputs[order], outputs[order], shape)


def pool_entries(
    size: tuple[int, ...],
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[Ints, Ints]:
    """List input and output of every place of every window of a pool."""
    kernel = (size[0], 1, *window)
    inputs, outputs, _ = conv_entries(kernel, size, stride, padding, dilation, groups=size[0])
    return inputs, outputs


def _max_pool(layer: nn.MaxPool2d, x: Tensor) -> Structure:
    window, padding = _pair(layer.kernel_size), _pair(layer.padding)
    stride, dilation = _pair(layer.stride), _pair(layer.dilation)
    pattern = _pool_pattern(tuple(x.shape[1:]), window, stride, padding, dilation)
    _, winner = nn.functional.max_pool2d(x, window, stride, padding, dilation, return_indices=True)
    plane = x.shape[2] * x.shape[3]
    channel = torch.arange(x.shape[1], device=x.device)[:, None, None] * plane
    chosen = (winner + channel).flatten(1)
    values = (chosen[:, pattern.columns] == pattern.rows.to(x.device)).to(x.dtype)
    return Sparse(pattern, values[None])


def _mean_pool(layer: nn.AvgPool2d, x: Tensor) -> Structure:
    window, padding = _pair(layer.kernel_size), _pair(layer.padding)
    pattern = _pool_pattern(tuple(x.shape[1:]), window, _pair(layer.stride), padding, (1, 1))
    share = x.new_full((pattern.nnz,), 1 / (window[0] * window[1]))
    if not layer.count_include_pad:
        share = 1 / torch.bincount(pattern.columns, minlength=pattern.shape[1])[pattern.columns]
    return Sparse(pattern, share.to(x)[None, None])


def _by_rows(layer: nn.Module, x: Tensor, y: Tensor) -> Structure:
    """Compute the Jacobian of any other layer, one backward pass for each output."""
    outputs, inputs = y[:1].numel(), x[:1].numel()
    if outputs * inputs * len(x) > _LARGEST_DENSE:
        raise ValueError(
            f"the Jacobian of {type(layer).__name__} has {outputs} x {inputs} entries for each "
            "sample, too many to compute by rows; layers with known Jacobians are Linear, Conv2d, "
            "MaxPool2d, AvgPool2d, Flatten and elementwise activations"
        )
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        columns = layer(leaf).reshape(len(x), -1).sum(dim=0).unbind()
    rows = [torch.autograd.grad(one, leaf, retain_graph=True)[0].flatten(1) for one in columns]
    return Dense(torch.stack(rows, dim=-1)[None])
