"""ONNX operators that join values of the network, take one apart, or move its numbers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.errors import ConversionError
from byways.networks._builder import ChainBuilder
from byways.networks._onnx_constants import FOLDED, axes_of
from byways.networks._onnx_steps import Call, refusal
from byways.networks._shapes import axis_windows
from byways.networks._tournament import larger, largest, smaller
from byways.networks._values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["JOINS"]

_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _values(call: Call) -> list[Value]:
    """Give the inputs, all of which are values of the network.

    Raises:
        ConversionError: If one is a constant.
    """
    if any(flow is None for flow in call.flows):
        raise ConversionError(refusal(call.where, "joins values of the network with a constant"))
    return [flow for flow in call.flows if flow is not None]


def _add(call: Call) -> None:
    for value in _values(call)[1:]:
        call.builder.add(value)


def _subtract(call: Call) -> None:
    call.builder.add(_values(call)[1], -1.0)


def _fold_in(call: Call, join: Callable[..., None]) -> None:
    """Join the first value with the second, the result with the third, and so on."""
    rest = _values(call)[1:]
    for i, value in enumerate(rest):
        with call.builder.keeping(*rest[i + 1 :]):
            join(call.builder, value)


def _concatenate(call: Call) -> None:
    call.builder.concatenate(_values(call), call.attributes["axis"])


def _places(call: Call) -> NDArray[np.int64]:
    """Number the entries of the current value, with a batch axis of one in front."""
    shape = call.builder.known_shape()
    return np.arange(int(np.prod(shape))).reshape(1, *shape)


def _move(call: Call) -> None:
    """Do to the places what the operator does to numbers.

    Raises:
        ConversionError: If the batch axis changes.
    """
    operator = call.where.rpartition("(")[2].removesuffix(")")
    places = FOLDED[operator](call.attributes, [_places(call), *call.arrays[1:]])
    if places.ndim < 2 or places.shape[0] != 1:
        raise ConversionError(refusal(call.where, "changes the batch axis"))
    call.builder.select(places[0])


def _split(call: Call) -> list[Value]:
    """Cut along an axis; the sizes are an attribute up to opset 12 and an input since.

    Raises:
        ConversionError: If the batch axis is cut.
    """
    places, axis = _places(call), call.get("axis", 0)
    if axis % places.ndim == 0:
        raise ConversionError(refusal(call.where, "cuts the batch axis"))
    sizes = call.arrays[1] if len(call.arrays) > 1 else call.get("split", None)
    if sizes is None:
        each = -(-places.shape[axis] // call.outputs)
        ends = np.arange(each, places.shape[axis], each)
    else:
        ends = np.cumsum(np.asarray(sizes, dtype=np.int64))[:-1]
    whole, found = Value(call.builder.shape, call.builder.value.steps), []
    for part in np.split(places, ends, axis=axis):
        call.builder.resume(whole)
        call.builder.select(part[0])
        found.append(call.builder.value)
    return found


def _pad(call: Call) -> None:
    """Pad with copies of the value's own numbers, or with zeros.

    Raises:
        ConversionError: If it pads with another constant, or the batch.
    """
    given = call.get("pads", None) if call.opset < 11 else call.constant(1, "pads")
    pads = np.asarray(given, dtype=np.int64).reshape(2, -1).T
    mode = call.get("mode", b"constant").decode()
    constant = call.limit(2, 0.0) if call.opset >= 11 else call.get("value", 0.0)
    if pads.min() < 0 or pads[0].any() or len(call.arrays) > 3 or constant != 0.0:
        raise ConversionError(
            refusal(call.where, f"has pads={pads.tolist()!r} with value {constant!r}")
        )
    if mode == "constant":
        call.builder.pad_zeros(pads[1:].tolist())
    elif mode in _MODES and not pads[1].any():
        call.builder.pad(pads[2:].tolist(), _MODES[mode])
    else:
        raise ConversionError(refusal(call.where, f"has mode={mode!r}"))


def _reduce(call: Call, step: Callable[..., None]) -> None:
    """Reduce axes: attributes up to opset 12 (sums) or 17, inputs since; none means all.

    Raises:
        ConversionError: If they are the batch's, or do not exist.
    """
    axes = axes_of(call.attributes, call.arrays) or None
    if axes is None and call.get("noop_with_empty_axes", 0):
        return
    try:
        step(call.builder, axes, keep=bool(call.get("keepdims", 1)))
    except IndexError as error:
        raise ConversionError(refusal(call.where, f"has axes={axes!r}: {error}")) from error


def _largest(builder: ChainBuilder, axes: tuple[int, ...] | None, *, keep: bool) -> None:
    windows, shape = axis_windows(builder.known_shape(), axes, keep)
    largest(builder, windows.tolist(), shape)


# Those that are in OPERATORS too are here for two and more values of the network.
JOINS: dict[str, Callable[[Call], Any]] = {
    "Add": _add,
    "Concat": _concatenate,
    "Gather": _move,
    "Max": lambda call: _fold_in(call, larger),
    "Min": lambda call: _fold_in(call, smaller),
    "Pad": _pad,
    "ReduceMax": lambda call: _reduce(call, _largest),
    "ReduceMean": lambda call: _reduce(call, partial(ChainBuilder.total, mean=True)),
    "ReduceSum": lambda call: _reduce(call, partial(ChainBuilder.total, mean=False)),
    "Slice": _move,
    "Split": _split,
    "Sub": _subtract,
    "Sum": _add,
}
