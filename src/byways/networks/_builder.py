# sizes: every step of a chain has a method, of a few lines each
"""The builder that every door feeds: linear maps, activations, reshapes, joins become a chain."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.activations import PerUnit, PiecewiseLinear, identity
from byways.core.arrays import finite
from byways.core.chain import Layer, LayerChain
from byways.core.errors import ShapeError
from byways.core.maps import LinearMap, SparseMap
from byways.core.smooth import SmoothChain
from byways.networks._merging import canonical, composed
from byways.networks._shapes import (
    Windows,
    axis_windows,
    conv_map,
    flattened,
    pool_map,
    reshaped,
)
from byways.networks._values import (
    Step,
    Value,
    beside,
    diagonal,
    form,
    plain_map,
    repeated,
    scaled,
    selection,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from byways.networks._shapes import Array, Batch, Pads, Shape

__all__ = ["ChainBuilder"]


@dataclass(slots=True)
class _Draft:
    """A layer that may still be merged with what follows."""

    map: LinearMap
    bias: Array | None
    activation: PiecewiseLinear | PerUnit = identity


class ChainBuilder:
    """Collects the steps of a network in the order in which they run.

    Steps work on the current value, one point of shape ``shape``; the chain works on its C-order
    flattening. An elementwise scale or shift is folded into the linear step right before it, if
    there is one.

    Args:
        input_shape: Shape of one input, without the batch axis. None: taken from the first step
            if that is a dense one.
        smooth: Whether ``activate_smooth`` may be called; a door that asks for a ``LayerChain``
            refuses such activations by name.
    """

    def __init__(self, input_shape: Shape | None, smooth: bool = False) -> None:
        self.input_shape = input_shape
        self.smooth = smooth
        self.value = Value(input_shape)
        self.where = "the network"
        self._others: list[Value] = []
        self._drafts: list[_Draft] = []
        self._windows: list[list[tuple[int, int]]] = []
        self._after: dict[int, tuple[str, int]] = {}

    @property
    def shape(self) -> Shape | None:
        """Shape of the current value."""
        return self.value.shape

    @shape.setter
    def shape(self, shape: Shape | None) -> None:
        self.value.shape = shape

    def resume(self, value: Value, others: Iterable[Value] | None = None) -> None:
        """Go on from a value; ``others`` will be needed later and are kept, None: as so far."""
        self.value = Value(value.shape, value.steps)
        self._others = self._others if others is None else list(others)

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
        self._begin((columns,))
        if self.known_shape()[-1:] != (columns,):
            raise ShapeError(
                f"{self.where} takes {columns} inputs along the last axis, but the shape here is "
                f'{self.shape!r}; check "input_shape" and the layers before'
            )
        outer = self.known_shape()[:-1]
        copies = math.prod(outer)
        full = None if bias is None else np.tile(bias, copies)
        self._add(repeated(weight, copies), full, (*outer, rows))

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
        self._begin((scale.size,))
        shape = self.known_shape()
        if shape[:1] != (scale.size,):
            raise ShapeError(
                f"{self.where} takes {scale.size} channels, but the shape here is {self.shape!r}; "
                'check "input_shape" and the layers before'
            )
        column = (scale.size,) + (1,) * (len(shape) - 1)
        self.affine(scale.reshape(column), shift.reshape(column))

    def affine(self, scale: Array | float, shift: Array | float) -> None:
        """Do ``x * scale + shift`` elementwise; both broadcast to the shape here.

        Raises:
            ShapeError: If they do not broadcast to it.
        """
        factor, summand = self._spread(scale), self._spread(shift)
        *before, last = self.value.steps or (Step(diagonal(np.ones(factor.size))),)
        linear, bias = last.map, last.bias
        if not (factor == 1.0).all():
            linear = scaled(linear, factor)
            bias = None if bias is None else bias * factor
        bias = summand if bias is None else bias + summand
        self.value.steps = (*before, Step(linear, bias))

    def activate(self, activation: PiecewiseLinear | PerUnit) -> None:
        """Apply a function elementwise, or one per unit of the flattened value."""
        size = math.prod(self.known_shape())
        function = canonical(activation) if isinstance(activation, PiecewiseLinear) else activation
        if isinstance(function, PiecewiseLinear):
            if function.is_identity:
                return
            here = len(self._drafts) - 1
            if here >= 0 and here not in self._after and not (self.value.steps or self._others):
                merged = composed(self._drafts[-1].activation, function)
                if merged is not None:
                    self._drafts[-1].activation = merged
                    return
        self._new_layer(function, size)

    def activate_smooth(self, name: str) -> None:
        """Apply a smooth function elementwise; the chain has the identity there."""
        size = math.prod(self.known_shape())
        self._new_layer(identity, size)
        self._after[len(self._drafts) - 1] = name, size

    def activate_channels(self, functions: Sequence[PiecewiseLinear]) -> None:
        """Apply one function per channel, the first axis.

        Raises:
            ShapeError: If there are not that many channels.
        """
        self._begin((len(functions),))
        shape = self.known_shape()
        if shape[:1] != (len(functions),):
            raise ShapeError(
                f"{self.where} has {len(functions)} slopes, but the shape here is {shape!r}"
            )
        kinds = np.repeat(np.arange(len(functions)), math.prod(shape[1:]))
        self.activate(PerUnit.of([canonical(function) for function in functions], kinds))

    def add(self, other: Value, sign: float = 1.0) -> None:
        """Add another value times a sign; shapes broadcast.

        Raises:
            ShapeError: If they do not.
        """
        mine, theirs = self.known_shape(), self._shape_of(other)
        try:
            shape = np.broadcast_shapes(mine, theirs)
        except ValueError as error:
            raise ShapeError(
                f"{self.where} joins values of shapes {mine!r} and {theirs!r}, which do not fit"
            ) from error
        total, shift = self._spread_form(self.value, mine, shape)
        matrix, bias = self._spread_form(other, theirs, shape)
        self._become(total + sign * matrix, shift + sign * bias, shape)

    def concatenate(self, values: Sequence[Value], axis: int) -> None:
        """Make the current value of several; ``axis`` counts with the batch axis as 0.

        Raises:
            ShapeError: If the axis is the batch's, or the shapes do not fit.
        """
        from scipy.sparse import csr_array, vstack

        shapes, start, places = [self._shape_of(value) for value in values], 0, []
        for shape in shapes:
            places.append(np.arange(start, start + math.prod(shape)).reshape(shape))
            start += math.prod(shape)
        place = axis + len(shapes[0]) if axis < 0 else axis - 1
        if place < 0:
            raise ShapeError(f"{self.where} joins along the batch axis")
        try:
            order: NDArray[np.int64] = np.concatenate(places, axis=place)
        except ValueError as error:
            raise ShapeError(f"{self.where} joins the shapes {shapes!r}: {error}") from error
        forms = [form(value, self._width()) for value in values]
        matrix, bias = (
            csr_array(vstack([m for m, _ in forms])),
            np.concatenate([b for _, b in forms]),
        )
        self._become(matrix[order.ravel()], bias[order.ravel()], order.shape)

    def total(self, axes: int | Iterable[int] | None, *, keep: bool, mean: bool) -> None:
        """Add up, or average, over axes, which count with the batch axis as 0."""
        from scipy.sparse import csr_array

        windows, shape = axis_windows(self.known_shape(), axes, keep)
        outputs, size = windows.shape
        share = np.full(windows.size, 1.0 / size if mean else 1.0)
        starts = np.arange(0, windows.size + 1, size)
        columns = math.prod(self.known_shape())
        self.linear(csr_array((share, windows.ravel(), starts), (outputs, columns)), shape)

    def select(self, places: NDArray[np.integer]) -> None:
        """Read the given places of the flattened value, into the shape of ``places``."""
        size = math.prod(self.known_shape())
        self._add(selection(places, size), None, places.shape)

    def pad(self, pads: Pads, mode: str) -> None:
        """Repeat numbers at the ends of the spatial axes: reflect, replicate or circular."""
        kinds: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
        shape = (self.known_shape()[0], *self.spatial(len(pads)))
        places = np.arange(math.prod(shape)).reshape(shape)
        self.select(np.pad(places, [(0, 0), *pads], mode=kinds[mode]))

    def pad_zeros(self, pads: Pads) -> None:
        """Add zeros at the ends of every axis."""
        shape = self.known_shape()
        places = np.arange(math.prod(shape)).reshape(shape)
        padded = np.pad(places, pads, constant_values=-1)
        rows = selection(np.maximum(padded.ravel(), 0), places.size).to_sparse()
        inside = (padded.ravel() >= 0).astype(np.float64)
        self.linear(diagonal(inside).to_sparse() @ rows, padded.shape)

    def flatten(self, start: int = 1, end: int = -1) -> None:
        """Merge axes, counted with the batch axis as 0."""
        if self.shape is None and (start, end) == (1, -1):
            return  # whatever the shape, the chain sees it flat
        self.shape = flattened(self.known_shape(), start, end)

    def reshape(self, target: Sequence[int | Batch]) -> None:
        """Reshape to ``target``, which names the batch axis first."""
        self.shape = reshaped(self.known_shape(), target)

    def build(self) -> SmoothChain:
        """Give the chain, and where a smooth function belongs.

        Raises:
            ValueError: If there was no layer, or one has no units.
        """
        drafts = [*self._drafts, *(_Draft(step.map, step.bias) for step in self.value.steps)]
        if not drafts:
            raise ValueError("the network has no layer; a chain needs at least one")
        layers = []
        for i, draft in enumerate(drafts):
            if 0 in draft.map.shape:
                raise ValueError(
                    f"layer {i} has shape {draft.map.shape!r}; every layer needs at least one "
                    "input and one unit"
                )
            bias = np.zeros(draft.map.shape[0]) if draft.bias is None else draft.bias
            layers.append(Layer(draft.map, bias, draft.activation))
        first = np.cumsum([0, *(layer.decided.size for layer in layers)]).tolist()
        windows = tuple(tuple(first[i] + k for i, k in window) for window in self._windows)
        return SmoothChain(LayerChain(tuple(layers), windows), self._after)

    def _begin(self, shape: Shape) -> None:
        """Take the input's shape from the first step, if nobody has told it."""
        if self.shape is None:
            self.input_shape = self.shape = shape
            for value in self._others:
                value.shape = shape if value.shape is None else value.shape

    def _width(self) -> int:
        """Number of units that values are functions of."""
        if self._drafts:
            return self._drafts[-1].map.shape[0]
        return math.prod(self.input_shape or ())

    def _shape_of(self, value: Value) -> Shape:
        return self.known_shape() if value.shape is None else value.shape

    @contextmanager
    def keeping(self, *values: Value) -> Iterator[None]:
        """Keep more values inside the ``with`` block."""
        before = self._others
        self._others = [*before, *values]
        try:
            yield
        finally:
            self._others = before

    @property
    def layers(self) -> int:
        """Number of layers so far."""
        return len(self._drafts)

    def remember(self, windows: Iterable[list[tuple[int, int]]]) -> None:
        """Note windows: layer and number in it of the units that decide each."""
        self._windows.extend(window for window in windows if window)

    def linear(self, matrix: csr_array, shape: Shape) -> None:
        """Multiply the flattened value by a matrix."""
        self._add(SparseMap(matrix), None, shape)

    def _add(self, linear: LinearMap, bias: Array | None, shape: Shape) -> None:
        self.value.steps = (*self.value.steps, Step(linear, bias))
        self.shape = shape

    def _become(self, matrix: csr_array, bias: Array, shape: Shape) -> None:
        """Replace the current value by a function of the last layer's units."""
        self.value.steps, self.shape = (Step(plain_map(matrix), bias),), shape

    def _new_layer(self, function: PiecewiseLinear | PerUnit, size: int) -> None:
        """Make a layer of the current value's activation."""
        if self._others:
            self._activate_beside(function, size)
            return
        steps = self.value.steps or (Step(diagonal(np.ones(size))),)
        self._drafts.extend(_Draft(step.map, step.bias) for step in steps)
        self._drafts[-1].activation = function
        self.value.steps = ()

    def _activate_beside(self, function: PiecewiseLinear | PerUnit, size: int) -> None:
        """Make a layer of the current value's activation that carries the other values."""
        width = self._width()
        linear, bias, carried = beside(*form(self.value, width), self._others, width)
        functions = function.functions if isinstance(function, PerUnit) else (function,)
        kinds = function.kinds if isinstance(function, PerUnit) else np.zeros(size, dtype=np.int64)
        everyone = np.append(kinds, np.full(carried, len(functions)))
        self._drafts.append(_Draft(linear, bias, PerUnit.of((*functions, identity), everyone)))
        self.value.steps = (Step(selection(np.arange(size), size + carried)),)

    def _spread_form(self, value: Value, given: Shape, shape: Shape) -> tuple[csr_array, Array]:
        """Give a value as a function of the last layer's units, broadcast to a shape."""
        matrix, bias = form(value, self._width())
        if given == shape:
            return matrix, bias
        places = np.broadcast_to(np.arange(math.prod(given)).reshape(given), shape).ravel()
        return matrix[places], bias[places]

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
