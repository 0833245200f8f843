"""Shape arithmetic that the doors share: reshapes, padding, pooling windows.

Shapes leave the batch axis out. Where a network writes the batch's size into a shape, it is BATCH.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from byways.core.errors import ShapeError
from byways.core.maps import ConvMap, LinearMap, SparseMap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Shape = tuple[int, ...]
    Pads = Sequence[tuple[int, int]]

__all__ = [
    "BATCH",
    "Batch",
    "Windows",
    "adaptive_windows",
    "axis_windows",
    "conv_map",
    "flat_windows",
    "flattened",
    "pool_map",
    "reshaped",
    "same_pads",
    "sliding_places",
    "sliding_windows",
    "squeezed",
    "unsqueezed",
]


class Batch:
    """The unknown number of points in a batch."""

    def __repr__(self) -> str:
        return "batch"


BATCH: Final = Batch()


def reshaped(shape: Shape, target: Sequence[int | Batch]) -> Shape:
    """Give the shape after a reshape to ``target``, which names the batch axis first.

    Raises:
        ShapeError: If the batch axis would be mixed with others, or the sizes do not fit.
    """
    size, wanted = math.prod(shape), list(target)
    refusal = ShapeError(
        f"the reshape of (batch, {', '.join(map(str, shape))}) to {wanted!r} does not keep the "
        "batch as its first axis; give the batch's size or -1 first and sizes that fit after it"
    )
    if not wanted:
        raise refusal
    first, rest = wanted[0], [-2 if isinstance(size, Batch) else size for size in wanted[1:]]
    if rest.count(-1) == 1 and isinstance(first, Batch):
        known = math.prod(size for size in rest if size != -1)
        if known > 0 and size % known == 0:
            rest[rest.index(-1)] = size // known
    if not (isinstance(first, Batch) or first == -1) or math.prod(rest) != size or min(rest) < 1:
        raise refusal
    return tuple(rest)


def flattened(shape: Shape, start: int, end: int) -> Shape:
    """Merge axes ``start .. end``, counted with the batch axis as 0 or from the back.

    Raises:
        ShapeError: If the batch axis would be merged, or there is no such axis.
    """
    rank = len(shape) + 1
    first, last = (axis + rank if axis < 0 else axis for axis in (start, end))
    if not 1 <= first <= last < rank:
        raise ShapeError(
            f"axes {start} to {end} of (batch, {', '.join(map(str, shape))}) cannot be flattened; "
            "the batch axis must stay on its own"
        )
    merged = math.prod(shape[first - 1 : last])
    return (*shape[: first - 1], merged, *shape[last:])


def squeezed(shape: Shape, axis: int | Sequence[int] | None) -> Shape:
    """Drop axes of size 1: those given, counted with the batch axis as 0, or all.

    Raises:
        ShapeError: If the batch axis is among them, or there is no such axis.
    """
    rank = len(shape) + 1
    axes = range(1, rank) if axis is None else (axis,) if isinstance(axis, int) else axis
    chosen = {a + rank if a < 0 else a for a in axes}
    if not chosen <= set(range(1, rank)):
        raise ShapeError(f"axis {axis!r} of a squeeze must come after the batch axis")
    return tuple(n for i, n in enumerate(shape, start=1) if n != 1 or i not in chosen)


def unsqueezed(shape: Shape, axis: int) -> Shape:
    """Insert an axis of size 1 before ``axis``, counted with the batch axis as 0.

    Raises:
        ShapeError: If it would come before the batch axis.
    """
    rank = len(shape) + 2
    place = axis + rank if axis < 0 else axis
    if not 1 <= place < rank:
        raise ShapeError(f"axis {axis} of an unsqueeze must come after the batch axis")
    return (*shape[: place - 1], 1, *shape[place - 1 :])


def same_pads(
    shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    *,
    extra_first: bool = False,
) -> list[tuple[int, int]]:
    """Give the zeros before and after each axis that keep ``ceil(size / stride)`` outputs."""
    pads = []
    for size, k, s, d in zip(shape, kernel, stride, dilation, strict=True):
        total = max((math.ceil(size / s) - 1) * s + d * (k - 1) + 1 - size, 0)
        small, large = total // 2, total - total // 2
        pads.append((large, small) if extra_first else (small, large))
    return pads


def conv_map(
    weight: Array,
    shape: Shape,
    stride: Sequence[int],
    pads: Pads,
    dilation: Sequence[int],
    groups: int,
) -> tuple[LinearMap, Shape]:
    """Give a convolution of any padding and its output shape.

    Unequal padding has no ConvMap: it is the convolution of the padded input with the padding's
    columns left out.
    """
    if all(before == after for before, after in pads):
        even = ConvMap(weight, shape, stride, [before for before, _ in pads], dilation, groups)
        return even, even.output_shape
    sizes = (size + before + after for size, (before, after) in zip(shape[1:], pads, strict=True))
    padded = ConvMap(weight, (shape[0], *sizes), stride, 0, dilation, groups)
    positions = np.arange(padded.shape[1]).reshape(padded.input_shape)
    inside = (slice(before, before + n) for n, (before, _) in zip(shape[1:], pads, strict=True))
    columns = positions[(slice(None), *inside)].ravel()
    return SparseMap(padded.to_sparse()[:, columns]), padded.output_shape


@dataclass(frozen=True, slots=True)
class Windows:
    """Which inputs of one axis each output averages, and by how many it divides.

    Args:
        hits: Zeros and ones, shape ``(outputs, inputs)``.
        counts: Shape ``(outputs,)``.
    """

    hits: Array
    counts: Array


def sliding_windows(
    size: int,
    kernel: int,
    stride: int,
    pad: tuple[int, int] = (0, 0),
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Windows:
    """Give the windows of an average pooling along one axis.

    With ``ceil_mode`` a last window may hang over the end but must start before the padding there;
    what hangs over the padding itself is never counted.

    Raises:
        ShapeError: If the kernel is larger than the padded input, or a window holds no input.
    """
    before, after = pad
    steps = (size + before + after - kernel) / stride
    if steps < 0:
        raise ShapeError(f"a pooling window of {kernel} is larger than its input of {size}")
    outputs = (math.ceil(steps) if ceil_mode else math.floor(steps)) + 1
    if ceil_mode and (outputs - 1) * stride >= size + before:
        outputs -= 1
    starts = np.arange(outputs) * stride - before
    ends = np.minimum(starts + kernel, size + after)
    positions = np.arange(size)
    hits = (positions >= starts[:, None]) & (positions < ends[:, None])
    if not hits.any(axis=1).all():
        raise ShapeError(f"a pooling window of {kernel} with padding {pad!r} holds no input")
    counts = ends - starts if count_include_pad else hits.sum(axis=1)
    return Windows(hits.astype(np.float64), counts.astype(np.float64))


def sliding_places(
    size: int,
    kernel: int,
    stride: int,
    pad: tuple[int, int] = (0, 0),
    dilation: int = 1,
    *,
    ceil_mode: bool = False,
) -> list[list[int]]:
    """Give the places of one axis that each window of a max-pooling sees, padding left out.

    Raises:
        ShapeError: If the kernel is larger than the padded input, or a window holds no input.
    """
    before, after = pad
    steps = (size + before + after - dilation * (kernel - 1) - 1) / stride
    if steps < 0:
        raise ShapeError(f"a pooling window of {kernel} is larger than its input of {size}")
    outputs = (math.ceil(steps) if ceil_mode else math.floor(steps)) + 1
    if ceil_mode and (outputs - 1) * stride >= size + before:
        outputs -= 1
    taps = np.arange(kernel) * dilation - before
    windows = [start + taps for start in np.arange(outputs) * stride]
    found = [window[(window >= 0) & (window < size)].tolist() for window in windows]
    if not all(found):
        raise ShapeError(f"a pooling window of {kernel} with padding {pad!r} holds no input")
    return found


def flat_windows(
    shape: Shape, axes: Sequence[Sequence[Sequence[int]]]
) -> tuple[list[list[int]], Shape]:
    """Combine windows per spatial axis into places of ``(channels, *spatial)``, flattened.

    Returns:
        The windows, in C order of the outputs, and the outputs' shape.
    """
    windows = [[channel] for channel in range(shape[0])]
    for size, axis in zip(shape[1:], axes, strict=True):
        windows = [
            [place * size + p for place in outer for p in inner]
            for outer in windows
            for inner in axis
        ]
    return windows, (shape[0], *(len(axis) for axis in axes))


def axis_windows(
    shape: Shape, axes: int | Iterable[int] | None, keep: bool
) -> tuple[NDArray[np.int64], Shape]:
    """List the places that are reduced together where axes are, counted with the batch axis as 0.

    Args:
        shape: Shape of the value.
        axes: The axes; None means all.
        keep: Whether they stay, with size 1.

    Returns:
        A row of places for each output, in C order, and the outputs' shape.

    Raises:
        IndexError: If there is no such axis, or it is the batch's.
    """
    places = np.arange(math.prod(shape)).reshape(1, *shape)
    wanted = range(places.ndim) if axes is None else [axes] if isinstance(axes, int) else axes
    reduced = sorted({range(places.ndim)[axis] for axis in wanted})
    if 0 in reduced:
        raise IndexError("it works over the batch axis")
    kept = [axis for axis in range(places.ndim) if axis not in reduced]
    sizes = [1 if i in reduced else n for i, n in enumerate(places.shape) if keep or i in kept]
    size = math.prod(places.shape[axis] for axis in reduced)
    return places.transpose(*kept, *reduced).reshape(-1, size), tuple(sizes[1:])


def adaptive_windows(size: int, outputs: int) -> Windows:
    """Give the windows that spread ``outputs`` averages evenly over one axis."""
    starts = np.arange(outputs) * size // outputs
    ends = -(-(np.arange(outputs) + 1) * size // outputs)
    positions = np.arange(size)
    hits = (positions >= starts[:, None]) & (positions < ends[:, None])
    return Windows(hits.astype(np.float64), (ends - starts).astype(np.float64))


def pool_map(channels: int, axes: Sequence[Windows], divisor: int | None = None) -> SparseMap:
    """Give the average pooling of ``(channels, *spatial)``, one set of windows per axis."""
    from scipy.sparse import csr_array, kron

    hits, counts = csr_array(np.eye(channels)), np.asarray(np.ones(channels))
    for axis in axes:
        hits = csr_array(kron(hits, csr_array(axis.hits), format="csr"))
        counts = np.multiply.outer(counts, axis.counts).ravel()
    scale = 1.0 / (counts if divisor is None else np.full_like(counts, divisor))
    hits.data = hits.data * np.repeat(scale, np.diff(hits.indptr))
    return SparseMap(hits)
