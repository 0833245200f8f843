"""What each ONNX operator means for a chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.activations import PerUnit, PiecewiseLinear, absolute, leaky_relu, relu
from byways.core.arrays import finite
from byways.core.errors import ConversionError
from byways.networks._merging import limited
from byways.networks._onnx_constants import axes_of
from byways.networks._shapes import (
    BATCH,
    Batch,
    adaptive_windows,
    flat_windows,
    same_pads,
    sliding_places,
    sliding_windows,
    squeezed,
    unsqueezed,
)
from byways.networks._tournament import largest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from byways.networks._builder import ChainBuilder
    from byways.networks._shapes import Array, Pads
    from byways.networks._values import Value

__all__ = ["OPERATORS", "Call", "refusal"]

_FLOAT, _DOUBLE = 1, 11  # onnx.TensorProto.FLOAT and DOUBLE
# Operators of _onnx_joins, which imports this file.
_REDUCING = ("ReduceMax", "ReduceMean", "ReduceSum")
_JOINING = ("Concat", "Gather", "Max", "Min", "Pad", *_REDUCING, "Slice", "Split", "Sum")


@dataclass(frozen=True, slots=True)
class Call:
    """One node on the network's value.

    Args:
        builder: Takes the step.
        where: Name and operator of the node.
        opset: Version of the operators.
        batch: Size of the batch axis if the file fixes it.
        attributes: The node's.
        arrays: Its inputs; None where one is left out, or is the network's value.
        position: Which input that value is.
        names: Names of its inputs; empty where one is left out.
        flows: Its inputs that are values of the network; None where one is not.
        outputs: Number of its outputs.
    """

    builder: ChainBuilder
    where: str
    opset: int
    batch: int | None
    attributes: dict[str, Any]
    arrays: Sequence[NDArray[Any] | None]
    position: int
    names: Sequence[str] = ()
    flows: Sequence[Value | None] = ()
    outputs: int = 1

    def get(self, name: str, default: Any) -> Any:
        """Give an attribute or its default."""
        return self.attributes.get(name, default)

    def optional(self, index: int, name: str) -> Array | None:
        """Give a constant input as checked numbers, or None if it is left out."""
        given = self.arrays[index] if index < len(self.arrays) else None
        return None if given is None else finite(given, f"{name} of {self.where}")

    def constant(self, index: int, name: str) -> Array:
        """Give a constant input.

        Raises:
            ConversionError: If it is not a constant.
        """
        array = self.optional(index, name)
        if array is None or self.position == index:
            raise ConversionError(refusal(self.where, f"has no constant {name}"))
        return array

    def limit(self, index: int, default: float) -> float:
        """Give a constant input of one number, which may be infinite, or its default.

        Raises:
            ConversionError: If it has more numbers, or is not a constant.
        """
        array = self.arrays[index] if index < len(self.arrays) else None
        if array is None and index < len(self.names) and self.names[index]:
            raise ConversionError(refusal(self.where, f"has no constant {self.names[index]}"))
        if array is not None and array.size != 1:
            raise ConversionError(refusal(self.where, f"compares with {array.size} numbers"))
        return default if array is None else float(array.ravel()[0])


def refusal(where: str, reason: str = "is not a piecewise-linear step of a chain") -> str:
    """Say that a node cannot be converted, and which can be."""
    names = ", ".join(sorted({*OPERATORS, *_JOINING, "Constant", "Shape"}))
    return (
        f"{where} {reason}; replace it by a supported operator, or cut the graph before and after "
        f"it. Supported operators: {names}"
    )


def _gemm(call: Call) -> None:
    if call.get("transA", 0):
        raise ConversionError(refusal(call.where, "has transA=1, which mixes the batch"))
    weight = call.constant(1, "B")
    if weight.ndim != 2:
        raise ConversionError(refusal(call.where, f"has a B of shape {weight.shape!r}"))
    weight = weight if call.get("transB", 0) else weight.T
    bias = call.optional(2, "C")
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    if bias is not None and bias.shape not in {(), (1,), (1, 1), weight.shape[:1]}:
        if bias.shape != (1, weight.shape[0]):
            raise ConversionError(refusal(call.where, f"has a C of shape {bias.shape!r}"))
        bias = bias[0]
    if bias is not None:
        bias = np.broadcast_to(bias.ravel(), weight.shape[:1]) * beta
    call.builder.dense(weight * alpha, bias)


def _matmul(call: Call) -> None:
    weight = call.constant(1, "B")
    if weight.ndim != 2:
        raise ConversionError(refusal(call.where, f"has a B of shape {weight.shape!r}"))
    call.builder.dense(weight.T, None)


def _arithmetic(call: Call, name: str) -> None:
    """Feed ``x + c``, ``c - x`` and their like."""
    other = call.constant(1 - call.position, "constant")
    first = call.position == 0
    if name == "Add":
        call.builder.affine(1.0, other)
    elif name == "Sub":
        call.builder.affine(1.0, -other) if first else call.builder.affine(-1.0, other)
    elif name == "Mul":
        call.builder.affine(other, 0.0)
    elif first and (other != 0).all():
        call.builder.affine(1.0 / other, 0.0)
    else:
        raise ConversionError(refusal(call.where, "divides by the network's value or by zero"))


def _windows(call: Call, kernel: Sequence[int]) -> tuple[list[int], list[int], Pads]:
    """Read strides, dilations and padding of a window of a given size.

    Raises:
        ConversionError: If the padding is of an unknown or negative kind.
    """
    axes = len(kernel)
    stride = list(call.get("strides", [1] * axes))
    dilation = list(call.get("dilations", [1] * axes))
    kind = call.get("auto_pad", b"NOTSET").decode()
    if kind in {"SAME_UPPER", "SAME_LOWER"}:
        spatial = call.builder.spatial(axes)
        pads = same_pads(spatial, kernel, stride, dilation, extra_first=kind == "SAME_LOWER")
        return stride, dilation, pads
    given = [0] * (2 * axes) if kind == "VALID" else list(call.get("pads", [0] * (2 * axes)))
    if kind not in {"NOTSET", "VALID"} or min(given, default=0) < 0:
        raise ConversionError(refusal(call.where, f"has auto_pad={kind!r} and pads={given!r}"))
    return stride, dilation, list(zip(given[:axes], given[axes:], strict=True))


def _conv(call: Call) -> None:
    weight = call.constant(1, "W")
    stride, dilation, pads = _windows(call, weight.shape[2:])
    call.builder.conv(
        weight,
        call.optional(2, "B"),
        stride=stride,
        pads=pads,
        dilation=dilation,
        groups=call.get("group", 1),
    )


def _average_pool(call: Call) -> None:
    kernel = list(call.attributes["kernel_shape"])
    stride, dilation, pads = _windows(call, kernel)
    if set(dilation) != {1}:
        raise ConversionError(refusal(call.where, f"has dilations={dilation!r}"))
    windows = [
        sliding_windows(
            *sizes,
            ceil_mode=bool(call.get("ceil_mode", 0)),
            count_include_pad=bool(call.get("count_include_pad", 0)),
        )
        for sizes in zip(call.builder.spatial(len(kernel)), kernel, stride, pads, strict=True)
    ]
    call.builder.pool(windows)


def _global_average_pool(call: Call) -> None:
    call.builder.pool([adaptive_windows(size, 1) for size in call.builder.known_shape()[1:]])


def _max_pool(call: Call) -> None:
    if call.outputs > 1 or call.get("storage_order", 0):
        raise ConversionError(refusal(call.where, "gives indices"))
    kernel = list(call.attributes["kernel_shape"])
    stride, dilation, pads = _windows(call, kernel)
    sizes = zip(call.builder.spatial(len(kernel)), kernel, stride, pads, dilation, strict=True)
    ceil_mode = bool(call.get("ceil_mode", 0))
    windows = [sliding_places(*each, ceil_mode=ceil_mode) for each in sizes]
    largest(call.builder, *flat_windows(call.builder.known_shape(), windows))


def _global_max_pool(call: Call) -> None:
    shape = call.builder.known_shape()
    largest(call.builder, *flat_windows(shape, [[list(range(size))] for size in shape[1:]]))


def _activate(call: Call, make: Callable[..., PiecewiseLinear], *numbers: float | None) -> None:
    """Apply the activation ``make(*numbers)``.

    Raises:
        ConversionError: If the numbers do not make a continuous function.
    """
    try:
        function = make(*numbers)
    except ValueError as error:
        reason = f"is not a continuous piecewise-linear function ({error})"
        raise ConversionError(refusal(call.where, reason)) from error
    call.builder.activate(function)


def _clip(call: Call) -> None:
    """Read the limits: attributes up to opset 10, inputs since; the largest float is no limit."""
    if call.opset < 11:
        low, high = call.get("min", -np.inf), call.get("max", np.inf)
    else:
        low, high = call.limit(1, -np.inf), call.limit(2, np.inf)
    largest = float(np.finfo(np.float32).max)
    _activate(
        call, limited, -np.inf if low <= -largest else low, np.inf if high >= largest else high
    )


def _hard_sigmoid(call: Call) -> None:
    """Do ``max(0, min(1, alpha x + beta))``."""
    alpha, beta = call.get("alpha", 0.2), call.get("beta", 0.5)
    if alpha <= 0:
        raise ConversionError(refusal(call.where, f"has alpha={alpha!r}"))
    breakpoints = (-beta / alpha, (1.0 - beta) / alpha)
    offset = min(max(beta, 0.0), 1.0)
    call.builder.activate(
        PiecewiseLinear(breakpoints, (0.0, alpha, 0.0), offset, name="hardsigmoid")
    )


def _prelu(call: Call) -> None:
    """Apply one slope for all or one each: they broadcast, as any two inputs do."""
    slopes = call.constant(1, "slope")
    shape = call.builder.known_shape() if slopes.size > 1 else ()
    if slopes.ndim == len(shape) + 1 and slopes.shape[0] == 1:
        slopes = slopes[0]
    try:
        each = np.broadcast_to(slopes, shape) if shape else slopes
    except ValueError as error:
        raise ConversionError(
            refusal(call.where, f"has slopes of shape {slopes.shape!r} for a value of {shape!r}")
        ) from error
    distinct, kinds = np.unique(each, return_inverse=True)
    functions = [leaky_relu(slope) for slope in distinct.tolist()]
    call.builder.activate(PerUnit.of(functions, kinds.ravel()))


def _batch_normalization(call: Call) -> None:
    if call.get("training_mode", 0) or not call.get("spatial", 1):
        raise ConversionError(refusal(call.where, "is in training mode or not per channel"))
    names = ("scale", "B", "input_mean", "input_var")
    weight, bias, mean, variance = (call.constant(i, n) for i, n in enumerate(names, start=1))
    scale = 1.0 / np.sqrt(variance + call.get("epsilon", 1e-5)) * weight
    call.builder.normalise(scale, -mean * scale + bias)


def _dropout(call: Call) -> None:
    if call.limit(2, 0.0):
        raise ConversionError(refusal(call.where, "is in training mode, where it is random"))


def _cast(call: Call) -> None:
    if call.attributes["to"] not in {_FLOAT, _DOUBLE}:
        raise ConversionError(refusal(call.where, "rounds to another type than float or double"))


def _flatten(call: Call) -> None:
    axis = call.get("axis", 1)
    if call.builder.shape is not None and axis < 0:
        axis += len(call.builder.shape) + 1
    if axis != 1:
        raise ConversionError(refusal(call.where, f"has axis={axis}, which mixes the batch"))
    call.builder.flatten()


def _reshape(call: Call) -> None:
    """Read the target: 0 keeps an axis, and a fixed batch size in front stands for the batch."""
    given = call.arrays[1] if len(call.arrays) > 1 else np.array(call.get("shape", []))
    if given is None:
        raise ConversionError(refusal(call.where, "has no constant shape"))
    keep = not call.get("allowzero", 0)
    target: list[int | Batch] = []
    for i, size in enumerate(given.tolist()):
        if i == 0 and (isinstance(size, Batch) or size == call.batch or (size == 0 and keep)):
            target.append(BATCH)
        elif not isinstance(size, Batch) and size == 0 and keep:
            target.append((*call.builder.known_shape(), 0)[i - 1])
        else:
            target.append(size)
    call.builder.reshape(target)


def _transpose(call: Call) -> None:
    """Move axes; where only axes of size 1 move, the flattened order stays."""
    shape = call.builder.known_shape()
    order = list(call.get("perm", range(len(shape), -1, -1)))
    if order[0] != 0:
        raise ConversionError(refusal(call.where, f"has perm={order!r}, which moves the batch"))
    moved = [axis - 1 for axis in order if axis > 0 and shape[axis - 1] > 1]
    if moved == sorted(moved):
        call.builder.reshape((BATCH, *(shape[axis - 1] for axis in order[1:])))
    else:
        places = np.arange(int(np.prod(shape))).reshape(1, *shape)
        call.builder.select(places.transpose(order)[0])


def _squeeze(call: Call) -> None:
    shape = squeezed(call.builder.known_shape(), axes_of(call.attributes, call.arrays))
    call.builder.reshape((BATCH, *shape))


def _unsqueeze(call: Call) -> None:
    shape = call.builder.known_shape()
    axes = axes_of(call.attributes, call.arrays) or ()
    rank = len(shape) + 1 + len(axes)
    for axis in sorted(axis + rank if axis < 0 else axis for axis in axes):
        shape = unsqueezed(shape, axis)
    call.builder.reshape((BATCH, *shape))


OPERATORS: dict[str, Callable[[Call], None]] = {
    "Abs": lambda call: call.builder.activate(absolute),
    "Add": lambda call: _arithmetic(call, "Add"),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Conv": _conv,
    "Div": lambda call: _arithmetic(call, "Div"),
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "HardSigmoid": _hard_sigmoid,
    "Identity": lambda call: None,
    "LeakyRelu": lambda call: _activate(call, leaky_relu, call.get("alpha", 0.01)),
    "MatMul": _matmul,
    "Max": lambda call: _activate(call, limited, _limit(call), None),
    "MaxPool": _max_pool,
    "Min": lambda call: _activate(call, limited, None, _limit(call)),
    "Mul": lambda call: _arithmetic(call, "Mul"),
    "Neg": lambda call: call.builder.affine(-1.0, 0.0),
    "PRelu": _prelu,
    "Relu": lambda call: call.builder.activate(relu),
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Sub": lambda call: _arithmetic(call, "Sub"),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}


def _limit(call: Call) -> float:
    """Give the one number that Max or Min compares with."""
    if len(call.arrays) != 2:
        raise ConversionError(refusal(call.where, "does not compare with one constant"))
    return call.limit(1 - call.position, 0.0)
