"""The builder that every door feeds: linear maps, activations and reshapes become a LayerChain."""

from __future__ import annotations

import math
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from byways.core.activations import PiecewiseLinear, absolute, clamp, identity, relu
from byways.core.arrays import finite
from byways.core.chain import Layer, LayerChain
from byways.core.errors import ShapeError
from byways.core.maps import ConvMap, DenseMap, LinearMap, SparseMap
from byways.networks._shapes import Windows, conv_map, flattened, pool_map, reshaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from byways.networks._shapes import Array, Batch, Pads, Shape

__all__ = ["ChainBuilder", "limited", "warn_of_short_numbers"]


def warn_of_short_numbers(kinds: Iterable[str]) -> None:
    """Warn, on the line that called this package, of weights with fewer than 24 bits."""
    given = ", ".join(sorted(kinds))
    level, frame = 1, sys._getframe()
    while frame.f_back and (frame.f_globals.get("__package__") or "").startswith("byways"):
        level, frame = level + 1, frame.f_back
    if given:
        warnings.warn(
            f"the network has weights of type {given}; the chain, and so its regions, are those of "
            "the float64 copy",
            UserWarning,
            stacklevel=level,
        )


def limited(low: float | None, high: float | None) -> PiecewiseLinear:
    """Give the clamp between two limits; None or an infinite limit leaves its side open.

    Raises:
        ValueError: If the limits are not numbers in increasing order.
    """
    lower = None if low == -math.inf else low
    upper = None if high == math.inf else high
    return identity if lower is None and upper is None else clamp(lower, upper)


@dataclass(slots=True)
class _Draft:
    """A layer whose activation may still come."""

    map: LinearMap
    bias: Array | None
    activation: PiecewiseLinear = identity


class ChainBuilder:
    """Collects the steps of a network in the order in which they run.

    Steps work on one point of shape ``shape``; the chain works on its C-order flattening. An
    elementwise scale or shift is folded into the linear step right before it, if there is one.

    Args:
        input_shape: Shape of one input, without the batch axis. None: taken from the first step
            if that is a dense one.
    """

    def __init__(self, input_shape: Shape | None) -> None:
        self.input_shape = input_shape
        self.shape = input_shape
        self.where = "the network"
        self._drafts: list[_Draft] = []

    @contextmanager
    def step(self, where: str) -> Iterator[None]:
        """Name the step that is fed inside the ``with`` block, for messages.

        Raises:
            ShapeError: One raised inside, with the name in front.
        """
        self.where = where
        try:
            yield
        except ShapeError as error:
            if where in str(error):
                raise
            raise ShapeError(f"{where}: {error}") from error

    def known_shape(self) -> Shape:
        """Give the shape at this step.

        Raises:
            ValueError: If nobody has told it.
        """
        if self.shape is None:
            raise ValueError(
                f'"input_shape" is None, but {self.where} works on a shape that only you know; '
                'give "input_shape" without the batch axis, for instance (1, 28, 28)'
            )
        return self.shape

    def spatial(self, axes: int) -> Shape:
        """Give the sizes after the channels.

        Raises:
            ShapeError: If there are not ``axes`` of them.
        """
        shape = self.known_shape()
        if len(shape) != axes + 1:
            raise ShapeError(
                f"{self.where} works on channels and {axes} more axes, but the shape here is "
                f'{shape!r}; check "input_shape" and the layers before'
            )
        return shape[1:]

    def dense(self, weight: Array, bias: Array | None) -> None:
        """Multiply the last axis by a matrix of shape ``(m, n)``.

        Raises:
            ShapeError: If the last axis does not have ``n`` entries.
        """
        rows, columns = weight.shape
        if self.shape is None:
            self.input_shape = self.shape = (columns,)
        if self.shape[-1:] != (columns,):
            raise ShapeError(
                f"{self.where} takes {columns} inputs along the last axis, but the shape here is "
                f'{self.shape!r}; check "input_shape" and the layers before'
            )
        copies = math.prod(self.shape[:-1])
        full = None if bias is None else np.tile(bias, copies)
        self._add(_repeated(weight, copies), full, (*self.shape[:-1], rows))

    def conv(
        self,
        weight: Array,
        bias: Array | None,
        *,
        stride: Sequence[int],
        pads: Pads,
        dilation: Sequence[int],
        groups: int,
    ) -> None:
        """Convolve ``(channels, *spatial)``; ``pads`` are the zeros before and after each axis.

        Raises:
            ShapeError: If the kernel does not fit the shape here.
        """
        shape = self.known_shape()
        try:
            linear, output = conv_map(weight, shape, stride, pads, dilation, groups)
        except ValueError as error:
            raise ShapeError(
                f'{self.where} does not fit its input of shape {shape!r}; check "input_shape" and '
                f"the layers before ({error})"
            ) from error
        full = None if bias is None else np.repeat(bias, math.prod(output[1:]))
        self._add(linear, full, output)

    def pool(self, axes: Sequence[Windows], divisor: int | None = None) -> None:
        """Average over windows of the spatial axes, one set of windows per axis."""
        shape = (self.known_shape()[0], *self.spatial(len(axes)))
        output = (shape[0], *(axis.counts.size for axis in axes))
        self._add(pool_map(shape[0], axes, divisor), None, output)

    def normalise(self, scale: Array, shift: Array) -> None:
        """Scale and shift each channel, the first axis: ``(channels,)`` numbers each.

        Raises:
            ShapeError: If there are not that many channels.
        """
        if self.shape is None:
            self.input_shape = self.shape = (scale.size,)
        if self.shape[:1] != (scale.size,):
            raise ShapeError(
                f"{self.where} takes {scale.size} channels, but the shape here is {self.shape!r}; "
                'check "input_shape" and the layers before'
            )
        column = (scale.size,) + (1,) * (len(self.shape) - 1)
        self.affine(scale.reshape(column), shift.reshape(column))

    def affine(self, scale: Array | float, shift: Array | float) -> None:
        """Do ``x * scale + shift`` elementwise; both broadcast to the shape here.

        Raises:
            ShapeError: If they do not broadcast to it.
        """
        factor, summand = self._spread(scale), self._spread(shift)
        if not self._drafts or self._drafts[-1].activation is not identity:
            self._drafts.append(_Draft(_diagonal(np.ones(factor.size)), None))
        draft = self._drafts[-1]
        if not (factor == 1.0).all():
            draft.map = _scaled(draft.map, factor)
            draft.bias = None if draft.bias is None else draft.bias * factor
        draft.bias = summand if draft.bias is None else draft.bias + summand

    def activate(self, activation: PiecewiseLinear) -> None:
        """Apply a function elementwise."""
        function = _canonical(activation)
        size = math.prod(self.known_shape())
        if function.is_identity:
            return
        if not self._drafts:
            self._drafts.append(_Draft(_diagonal(np.ones(size)), None))
        merged = _composed(self._drafts[-1].activation, function)
        if merged is None:
            self._drafts.append(_Draft(_diagonal(np.ones(size)), None, function))
        else:
            self._drafts[-1].activation = merged

    def flatten(self, start: int = 1, end: int = -1) -> None:
        """Merge axes, counted with the batch axis as 0."""
        if self.shape is None and (start, end) == (1, -1):
            return  # whatever the shape, the chain sees it flat
        self.shape = flattened(self.known_shape(), start, end)

    def reshape(self, target: Sequence[int | Batch]) -> None:
        """Reshape to ``target``, which names the batch axis first."""
        self.shape = reshaped(self.known_shape(), target)

    def build(self) -> LayerChain:
        """Give the chain.

        Raises:
            ValueError: If there was no layer, or one has no units.
        """
        if not self._drafts:
            raise ValueError("the network has no layer; a chain needs at least one")
        layers = []
        for i, draft in enumerate(self._drafts):
            if 0 in draft.map.shape:
                raise ValueError(
                    f"layer {i} has shape {draft.map.shape!r}; every layer needs at least one "
                    "input and one unit"
                )
            bias = np.zeros(draft.map.shape[0]) if draft.bias is None else draft.bias
            layers.append(Layer(draft.map, bias, draft.activation))
        return LayerChain(tuple(layers))

    def _add(self, linear: LinearMap, bias: Array | None, shape: Shape) -> None:
        self._drafts.append(_Draft(linear, bias))
        self.shape = shape

    def _spread(self, values: Array | float) -> Array:
        """Broadcast one number, or an array with or without a batch axis of 1, to the shape."""
        shape = self.known_shape()
        array = finite(values, f"the constant of {self.where}")
        if array.ndim == len(shape) + 1 and array.shape[0] == 1:
            array = array[0]
        try:
            return np.broadcast_to(array, shape).ravel()
        except ValueError as error:
            raise ShapeError(
                f"{self.where} has a constant of shape {array.shape!r}, which does not broadcast "
                f"to the shape here, {shape!r}"
            ) from error


def _repeated(weight: Array, copies: int) -> LinearMap:
    """Give the block-diagonal map of ``copies`` equal blocks."""
    if copies == 1:
        return DenseMap(weight)
    from scipy.sparse import eye_array, kron

    return SparseMap(kron(eye_array(copies), weight, format="csr"))


def _diagonal(values: Array) -> SparseMap:
    from scipy.sparse import diags_array

    return SparseMap(diags_array(values))


def _scaled(linear: LinearMap, factor: Array) -> LinearMap:
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
    return SparseMap(_diagonal(factor).to_sparse() @ linear.to_sparse())


def _canonical(activation: PiecewiseLinear) -> PiecewiseLinear:
    """Give equal functions one name, so that equal networks have equal digests."""
    shape = (activation.breakpoints, activation.slopes, activation.offset)
    for known in (identity, relu, absolute):
        if shape == (known.breakpoints, known.slopes, known.offset):
            return known
    return activation


def _composed(first: PiecewiseLinear, second: PiecewiseLinear) -> PiecewiseLinear | None:
    """Give ``second`` after ``first`` if that is one clamp or ``first`` does nothing."""
    if first is identity:
        return second
    one, two = _limits(first), _limits(second)
    if one is None or two is None:
        return None
    low, high = max(one[0], two[0]), min(one[1], two[1])
    if low >= high:
        return None
    sides = (side if math.isfinite(side) else None for side in (low, high))
    return _canonical(clamp(*sides))


def _limits(activation: PiecewiseLinear) -> tuple[float, float] | None:
    """Give the two sides of a clamp, infinite where open; None for another function."""
    lower = activation.slopes[0] == 0.0
    upper = len(activation.slopes) > 1 and activation.slopes[-1] == 0.0
    points = activation.breakpoints
    low = points[0] if lower and points else -math.inf
    high = points[-1] if upper else math.inf
    if not points or low >= high:
        return None
    sides = (side if math.isfinite(side) else None for side in (low, high))
    same = clamp(*sides) if math.isfinite(low) or math.isfinite(high) else None
    if same is None or (same.breakpoints, same.slopes, same.offset) != (
        points,
        activation.slopes,
        activation.offset,
    ):
        return None
    return low, high
