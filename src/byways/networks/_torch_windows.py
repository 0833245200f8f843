"""Convolutions and poolings with torch's arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from byways.networks._shapes import (
    adaptive_windows,
    flat_windows,
    same_pads,
    sliding_places,
    sliding_windows,
)
from byways.networks._tournament import largest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from byways.networks._builder import ChainBuilder
    from byways.networks._shapes import Array

__all__ = ["average", "average_adaptive", "convolve", "pool_largest", "pool_largest_adaptive"]


def convolve(
    builder: ChainBuilder,
    weight: Array,
    bias: Array | None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> None:
    """Feed a convolution with torch's arguments to the builder."""
    axes = weight.ndim - 2
    steps, spread = _each(stride, axes), _each(dilation, axes)
    if padding == "same":  # torch allows it with stride 1 only, so the input's size is immaterial
        pads = same_pads(weight.shape[2:], weight.shape[2:], steps, spread)
    else:
        sizes = _each(0 if isinstance(padding, str) else padding, axes)
        pads = [(size, size) for size in sizes]
    builder.conv(weight, bias, stride=steps, pads=pads, dilation=spread, groups=groups)


def average(
    builder: ChainBuilder,
    axes: int,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> None:
    """Feed an average pooling with torch's arguments to the builder."""
    kernel = _each(kernel_size, axes)
    steps = kernel if stride is None or stride == () else _each(stride, axes)
    windows = [
        sliding_windows(
            size, k, s, (p, p), ceil_mode=ceil_mode, count_include_pad=count_include_pad
        )
        for size, k, s, p in zip(
            builder.spatial(axes), kernel, steps, _each(padding, axes), strict=True
        )
    ]
    builder.pool(windows, divisor_override)


def average_adaptive(builder: ChainBuilder, axes: int, output_size: Any) -> None:
    """Feed an adaptive average pooling to the builder; None keeps an axis."""
    spatial = builder.spatial(axes)
    outputs = output_size if isinstance(output_size, tuple | list) else (output_size,) * axes
    pairs = zip(spatial, outputs, strict=True)
    builder.pool([adaptive_windows(size, size if out is None else out) for size, out in pairs])


def pool_largest(
    builder: ChainBuilder,
    axes: int,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> None:
    """Feed a max-pooling with torch's arguments to the builder."""
    kernel = _each(kernel_size, axes)
    steps = kernel if stride is None or stride == () else _each(stride, axes)
    sizes = zip(
        builder.spatial(axes),
        kernel,
        steps,
        ((p, p) for p in _each(padding, axes)),
        _each(dilation, axes),
        strict=True,
    )
    windows = [sliding_places(*each, ceil_mode=ceil_mode) for each in sizes]
    largest(builder, *flat_windows(builder.known_shape(), windows))


def pool_largest_adaptive(builder: ChainBuilder, axes: int, output_size: Any) -> None:
    """Feed an adaptive max-pooling to the builder; None keeps an axis."""
    spatial = builder.spatial(axes)
    outputs = output_size if isinstance(output_size, tuple | list) else (output_size,) * axes
    hits = [
        adaptive_windows(size, size if out is None else out).hits
        for size, out in zip(spatial, outputs, strict=True)
    ]
    windows = [[np.flatnonzero(row).tolist() for row in axis] for axis in hits]
    largest(builder, *flat_windows(builder.known_shape(), windows))


def _each(value: int | Sequence[int], axes: int) -> list[int]:
    """Give one number per axis."""
    numbers = [value] if isinstance(value, int) else list(value)
    return numbers * axes if len(numbers) == 1 else numbers
