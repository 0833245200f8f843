"""Linear maps of layers: dense, sparse, convolution.

Each kind can be applied, applied transposed and written out as a matrix; whoever needs speed takes
the matrix once.
"""

from __future__ import annotations

import itertools
import math
import operator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from byways.core.arrays import finite, frozen
from byways.core.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_array

    Array = NDArray[np.float64]

__all__ = ["ConvMap", "DenseMap", "LinearMap", "SparseMap", "map_from_state"]

_CONV_SIZES = ("input_shape", "stride", "padding", "dilation", "groups")


@runtime_checkable
class LinearMap(Protocol):
    """What a layer needs of its linear part. ``shape`` is ``(m, n)``."""

    @property
    def shape(self) -> tuple[int, int]:
        """Output and input size."""

    def apply(self, x: ArrayLike) -> Array:
        """Map ``(..., n)`` to ``(..., m)``."""

    def apply_transpose(self, y: ArrayLike) -> Array:
        """Map ``(..., m)`` to ``(..., n)`` by the transposed matrix."""

    def absolute(self) -> LinearMap:
        """Give the map whose matrix entries are the absolute values."""

    def to_dense(self) -> Array:
        """Write the matrix out, shape ``(m, n)``."""

    def to_sparse(self) -> csr_array:
        """Write the matrix out as CSR without stored zeros."""

    def state(self) -> tuple[str, dict[str, NDArray[Any]]]:
        """Give the kind and the arrays that ``map_from_state`` turns back into this map."""


@dataclass(frozen=True, eq=False)
class DenseMap:
    """A matrix.

    Args:
        matrix: Shape ``(m, n)``.

    Example:
        >>> DenseMap([[1.0, 2.0]]).apply([[3.0, 4.0]])
        array([[11.]])
    """

    matrix: Array

    def __init__(self, matrix: ArrayLike) -> None:
        object.__setattr__(self, "matrix", frozen(matrix, "matrix", 2))

    @property
    def shape(self) -> tuple[int, int]:
        """Output and input size."""
        rows, columns = self.matrix.shape
        return rows, columns

    def apply(self, x: ArrayLike) -> Array:
        """Map ``(..., n)`` to ``(..., m)``."""
        product: Array = np.asarray(x, dtype=np.float64) @ self.matrix.T
        return product

    def apply_transpose(self, y: ArrayLike) -> Array:
        """Map ``(..., m)`` to ``(..., n)``."""
        product: Array = np.asarray(y, dtype=np.float64) @ self.matrix
        return product

    def absolute(self) -> DenseMap:
        """Give the map of absolute entries."""
        return DenseMap(np.abs(self.matrix))

    def to_dense(self) -> Array:
        """Give the matrix itself, read-only."""
        return self.matrix

    def to_sparse(self) -> csr_array:
        """Write the matrix out as CSR."""
        from scipy.sparse import csr_array

        return csr_array(self.matrix)

    def state(self) -> tuple[str, dict[str, NDArray[Any]]]:
        """Give kind and arrays."""
        return "dense", {"matrix": self.matrix}


class _MatrixBacked:
    """Shared by the maps that work through their CSR matrix."""

    _matrix: csr_array

    def apply(self, x: ArrayLike) -> Array:
        """Map ``(..., n)`` to ``(..., m)``."""
        return _rows_times(self._matrix, np.asarray(x, dtype=np.float64))

    def apply_transpose(self, y: ArrayLike) -> Array:
        """Map ``(..., m)`` to ``(..., n)``."""
        return _rows_times(self._matrix.T.tocsr(), np.asarray(y, dtype=np.float64))

    def absolute(self) -> SparseMap:
        """Give the map of absolute entries."""
        return SparseMap(abs(self._matrix))

    def to_dense(self) -> Array:
        """Write the matrix out."""
        dense: Array = self._matrix.toarray()
        return dense

    def to_sparse(self) -> csr_array:
        """Give a copy of the CSR matrix."""
        return self._matrix.copy()


@dataclass(frozen=True, eq=False)
class SparseMap(_MatrixBacked):
    """A sparse matrix.

    Args:
        matrix: Any scipy.sparse matrix or array, or a dense one; duplicates are summed, zeros
            dropped.

    Example:
        >>> SparseMap([[0.0, 2.0]]).to_sparse().nnz
        1
    """

    _matrix: csr_array

    def __init__(self, matrix: Any) -> None:
        from scipy.sparse import csr_array

        result = csr_array(matrix, copy=True)
        # Without this check an index out of range would read foreign memory later.
        result.check_format(full_check=True)
        result.data = finite(result.data, "matrix.data", 1)
        result.sum_duplicates()
        result.eliminate_zeros()
        for part in (result.data, result.indices, result.indptr):
            part.setflags(write=False)
        object.__setattr__(self, "_matrix", result)

    @property
    def shape(self) -> tuple[int, int]:
        """Output and input size."""
        rows, columns = self._matrix.shape
        return int(rows), int(columns)

    def state(self) -> tuple[str, dict[str, NDArray[Any]]]:
        """Give kind and arrays."""
        m = self._matrix
        return "sparse", {
            "data": m.data,
            "indices": m.indices.astype(np.int64),
            "indptr": m.indptr.astype(np.int64),
            "shape": np.array(self.shape, dtype=np.int64),
        }


@dataclass(frozen=True, eq=False)
class ConvMap(_MatrixBacked):
    """A convolution over one or two spatial axes, on flattened inputs.

    Inputs and outputs are the C-order flattenings of ``(channels, *spatial)``. As in torch, "conv"
    is cross-correlation: the kernel is not mirrored.

    Args:
        weight: Kernel, shape ``(out_channels, in_channels / groups, *kernel)``.
        input_shape: ``(in_channels, *spatial)``.
        stride: Step per spatial axis.
        padding: Zeros added on both sides, per spatial axis.
        dilation: Distance between kernel taps, per spatial axis.
        groups: Number of channel groups.

    Raises:
        ShapeError: If the numbers do not fit together.

    Example:
        >>> blur = ConvMap([[[0.5, 0.5]]], input_shape=(1, 3))
        >>> blur.apply([1.0, 3.0, 5.0])
        array([2., 4.])
    """

    weight: Array
    input_shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    output_shape: tuple[int, ...] = field(init=False)

    def __init__(
        self,
        weight: ArrayLike,
        input_shape: Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> None:
        kernel = frozen(weight, "weight")
        axes = kernel.ndim - 2
        if axes not in (1, 2) or len(input_shape) != axes + 1:
            raise ShapeError(
                f'"weight" has shape {kernel.shape} and "input_shape" is {tuple(input_shape)!r}; '
                "give (out, in, k) with (channels, length), or (out, in, kh, kw) with "
                "(channels, height, width)"
            )
        for name, value in (("stride", stride), ("padding", padding), ("dilation", dilation)):
            given = _sizes(value, axes)
            if len(given) != axes or min(given) < (0 if name == "padding" else 1):
                raise ShapeError(f'"{name}" was {value!r}; give one size per spatial axis ({axes})')
            object.__setattr__(self, name, given)
        shape = tuple(operator.index(size) for size in input_shape)
        if groups < 1 or kernel.shape[0] % groups or kernel.shape[1] * groups != shape[0]:
            raise ShapeError(
                f'"weight" of shape {kernel.shape} with groups={groups} does not fit '
                f"{shape[0]} input channels"
            )
        object.__setattr__(self, "weight", kernel)
        object.__setattr__(self, "input_shape", shape)
        object.__setattr__(self, "groups", int(groups))
        spatial = tuple(
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(
                shape[1:], kernel.shape[2:], self.stride, self.padding, self.dilation, strict=True
            )
        )
        if min(spatial) < 1:
            raise ShapeError(f'"weight" of shape {kernel.shape} is larger than the input {shape!r}')
        object.__setattr__(self, "output_shape", (kernel.shape[0], *spatial))

    @property
    def shape(self) -> tuple[int, int]:
        """Output and input size after flattening."""
        return int(np.prod(self.output_shape)), int(np.prod(self.input_shape))

    @cached_property
    def _matrix(self) -> csr_array:  # type: ignore[override]
        """Unroll: one entry per output position and kernel tap that hits the input."""
        from scipy.sparse import csr_array

        per_axis = [self._hits(axis) for axis in range(len(self.input_shape) - 1)]
        entries = [self._entries(hits) for hits in itertools.product(*per_axis)]
        rows, columns, data = (np.concatenate(part) for part in zip(*entries, strict=True))
        matrix = csr_array((data, (rows, columns)), shape=self.shape)
        matrix.eliminate_zeros()
        return matrix

    def _hits(self, axis: int) -> list[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Give per kernel tap of an axis the output positions and the input positions they read."""
        outputs = np.arange(self.output_shape[axis + 1])
        hits = []
        for tap in range(self.weight.shape[axis + 2]):
            inputs = outputs * self.stride[axis] - self.padding[axis] + tap * self.dilation[axis]
            inside = (inputs >= 0) & (inputs < self.input_shape[axis + 1])
            hits.append((tap, outputs[inside], inputs[inside]))
        return hits

    def _entries(
        self, hits: tuple[tuple[int, NDArray[np.int64], NDArray[np.int64]], ...]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        """Give rows, columns and values of one kernel tap for all channels and positions."""
        out_channels, per_group = self.weight.shape[:2]
        out, within = np.divmod(np.arange(out_channels * per_group), per_group)
        channel = (out // (out_channels // self.groups)) * per_group + within
        to, source = _flatten(hits, self.output_shape[1:], self.input_shape[1:])
        taps: tuple[Any, ...] = (slice(None), slice(None), *(hit[0] for hit in hits))
        values = self.weight[taps].reshape(-1)
        rows = out[:, None] * int(np.prod(self.output_shape[1:])) + to
        columns = channel[:, None] * int(np.prod(self.input_shape[1:])) + source
        return rows.ravel(), columns.ravel(), np.repeat(values, to.size)

    def state(self) -> tuple[str, dict[str, NDArray[Any]]]:
        """Give kind and arrays."""
        integers = {name: np.array(getattr(self, name), dtype=np.int64) for name in _CONV_SIZES}
        return "conv", {"weight": self.weight, **integers}


def map_from_state(kind: str, arrays: dict[str, NDArray[Any]]) -> LinearMap:
    """Rebuild a map from what its ``state`` gave.

    Raises:
        ValueError: If the kind is not one of ours.
    """
    if kind == "dense":
        return DenseMap(arrays["matrix"])
    if kind == "sparse":
        from scipy.sparse import csr_array

        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        rows, columns = (int(n) for n in arrays["shape"])
        return SparseMap(csr_array(parts, shape=(rows, columns)))
    if kind == "conv":
        return ConvMap(arrays["weight"], **{name: arrays[name].tolist() for name in _CONV_SIZES})
    raise ValueError(f"unknown kind of linear map {kind!r}; known are dense, sparse, conv")


def _sizes(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """Give one size per axis; NumPy's integers are integers, 1.5 is not."""
    if isinstance(value, (int, np.integer)):
        return (int(value),) * axes
    return tuple(operator.index(v) for v in value)


def _rows_times(matrix: csr_array, x: Array) -> Array:
    """Multiply every row of ``x (..., n)`` by the matrix."""
    flat = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # -1 fails where a layer has no units
    product: Array = np.ascontiguousarray((matrix @ flat.T).T)
    return product.reshape(*x.shape[:-1], matrix.shape[0])


def _flatten(
    hits: tuple[tuple[int, NDArray[np.int64], NDArray[np.int64]], ...],
    output_size: tuple[int, ...],
    input_size: tuple[int, ...],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Combine per-axis positions into flat output and input positions."""
    to = np.zeros(1, dtype=np.int64)
    source = np.zeros(1, dtype=np.int64)
    for (_, outputs, inputs), out_length, in_length in zip(
        hits, output_size, input_size, strict=True
    ):
        to = (to[:, None] * out_length + outputs).ravel()
        source = (source[:, None] * in_length + inputs).ravel()
    return to, source
