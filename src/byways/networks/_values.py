"""Values of a network under construction, as affine functions of the last layer's units.

A network is a graph; a chain is a line. Whatever is linear (convolutions, sums of two branches,
concatenations, reshapes) only changes what a value is in terms of the units so far. An activation
makes a new layer; other values that are needed later are carried past it by units that have the
identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.maps import ConvMap, DenseMap, LinearMap, SparseMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from byways.networks._shapes import Array, Shape

__all__ = [
    "Step",
    "Value",
    "beside",
    "diagonal",
    "form",
    "plain_map",
    "repeated",
    "scaled",
    "selection",
]

_DENSE = 0.25  # share of entries that are not zero from which a matrix is stored as one


@dataclass(frozen=True, slots=True)
class Step:
    """An affine step; no bias is a bias of zeros."""

    map: LinearMap
    bias: Array | None = None


@dataclass(eq=False, slots=True)
class Value:
    """One value of the network, flattened: ``steps`` applied to the units of the last layer.

    ``shape`` leaves the batch axis out; None where it is not known yet.
    """

    shape: Shape | None
    steps: tuple[Step, ...] = ()


def diagonal(values: Array) -> SparseMap:
    """Give the map that multiplies elementwise."""
    from scipy.sparse import diags_array

    return SparseMap(diags_array(values))


def selection(places: NDArray[np.integer], size: int) -> SparseMap:
    """Give the map that reads the given places of a vector."""
    from scipy.sparse import csr_array

    count = places.size
    entries = (np.ones(count), places.ravel().astype(np.int64), np.arange(count + 1))
    return SparseMap(csr_array(entries, shape=(count, size)))


def plain_map(matrix: csr_array) -> LinearMap:
    """Store a matrix in the form that suits it."""
    if matrix.nnz > _DENSE * matrix.shape[0] * matrix.shape[1]:
        return DenseMap(matrix.toarray())
    return SparseMap(matrix)


def repeated(weight: Array, copies: int) -> LinearMap:
    """Give the block-diagonal map of ``copies`` equal blocks."""
    if copies == 1:
        return DenseMap(weight)
    from scipy.sparse import eye_array, kron

    return SparseMap(kron(eye_array(copies), weight, format="csr"))


def scaled(linear: LinearMap, factor: Array) -> LinearMap:
    """Multiply the rows of a map; a convolution stays one if the factor is one per channel."""
    if isinstance(linear, DenseMap):
        return DenseMap(linear.matrix * factor[:, None])
    if isinstance(linear, ConvMap):
        per_channel = factor.reshape(linear.output_shape[0], -1)
        if (per_channel == per_channel[:, :1]).all():
            column = per_channel[:, 0].reshape(-1, *(1,) * (linear.weight.ndim - 1))
            return ConvMap(
                linear.weight * column,
                linear.input_shape,
                linear.stride,
                linear.padding,
                linear.dilation,
                linear.groups,
            )
    return SparseMap(diagonal(factor).to_sparse() @ linear.to_sparse())


def form(value: Value, width: int) -> tuple[csr_array, Array]:
    """Multiply the steps out: matrix and bias in terms of ``width`` units."""
    from scipy.sparse import csr_array, eye_array

    matrix: csr_array = csr_array(eye_array(width))
    bias: Array = np.zeros(width)
    for step in value.steps:
        linear = step.map.to_sparse()
        matrix = csr_array(linear @ matrix)
        bias = np.asarray(linear @ bias) + (0.0 if step.bias is None else step.bias)
    return matrix, bias


def beside(
    matrix: csr_array, bias: Array, others: Sequence[Value], width: int
) -> tuple[LinearMap, Array, int]:
    """Lay out a layer that computes a value and carries others; rewrite the others' steps.

    What is carried are the units that the others read, or the others themselves if they are
    smaller.

    Returns:
        Map and bias of the layer, and how many units are carried: the last ones.
    """
    from scipy.sparse import csr_array, hstack, vstack

    size = matrix.shape[0]
    forms = [form(value, width) for value in others]
    read = np.unique(np.concatenate([part.indices for part, _ in forms]))
    if sum(part.shape[0] for part, _ in forms) < read.size:
        rows: Any = vstack([part for part, _ in forms])
        shift = np.concatenate([part for _, part in forms])
        count, start = rows.shape[0], size
        for value, (part, _) in zip(others, forms, strict=True):
            places = np.arange(start, start + part.shape[0])
            value.steps = (Step(selection(places, size + count)),)
            start += part.shape[0]
    else:
        rows, shift, count = selection(read, width).to_sparse(), np.zeros(read.size), read.size
        for value, (part, offset) in zip(others, forms, strict=True):
            blank = csr_array((part.shape[0], size))
            value.steps = (Step(SparseMap(hstack([blank, part[:, read]])), offset),)
    return plain_map(csr_array(vstack([matrix, rows]))), np.concatenate([bias, shift]), count
