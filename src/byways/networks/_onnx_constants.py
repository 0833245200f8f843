"""Operators on constants and computed shapes, evaluated while the graph is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Value = NDArray[Any]

__all__ = ["FOLDED", "axes_of", "fold"]


def fold(
    operator: str, attributes: dict[str, Any], arrays: Sequence[Value | None], where: str
) -> Value:
    """Evaluate an operator in FOLDED on constants; shapes are arrays of objects.

    Raises:
        ConversionError: If the constants do not fit.
    """
    try:
        return np.asarray(FOLDED[operator](attributes, arrays))
    except (TypeError, ValueError, IndexError, AttributeError, KeyError) as error:
        raise ConversionError(f"{where} cannot be evaluated on its constants: {error}") from error


def axes_of(attributes: dict[str, Any], arrays: Sequence[Value | None]) -> tuple[int, ...] | None:
    """Give the axes of Squeeze and Unsqueeze, an attribute up to opset 12 and an input since."""
    if "axes" in attributes:
        return tuple(attributes["axes"])
    if len(arrays) > 1 and arrays[1] is not None:
        return tuple(int(axis) for axis in arrays[1].ravel())
    return None


def _gather(attributes: dict[str, Any], arrays: Sequence[Any]) -> Value:
    return np.asarray(np.take(arrays[0], arrays[1].astype(np.intp), axis=attributes.get("axis", 0)))


def _slice(attributes: dict[str, Any], arrays: Sequence[Any]) -> Value:
    """Cut along axes; the limits are attributes up to opset 9 and inputs since."""
    inputs = [*arrays[1:], None, None, None, None][:4]
    names = ("starts", "ends", "axes", "steps")
    given = {
        name: list(attributes.get(name, ())) if array is None else array.ravel().tolist()
        for name, array in zip(names, inputs, strict=True)
    }
    result: Value = arrays[0]
    axes = given["axes"] or range(len(given["starts"]))
    steps = given["steps"] or [1] * len(given["starts"])
    for start, end, axis, step in zip(given["starts"], given["ends"], axes, steps, strict=True):
        index = [slice(None)] * result.ndim
        index[axis] = slice(start, end, step)
        result = result[tuple(index)]
    return result


def _reshape(attributes: dict[str, Any], arrays: Sequence[Any]) -> Value:
    target = [
        arrays[0].shape[i] if size == 0 and not attributes.get("allowzero") else int(size)
        for i, size in enumerate(arrays[1])
    ]
    reshaped: Value = arrays[0].reshape(target)
    return reshaped


def _expand_dims(attributes: dict[str, Any], arrays: Sequence[Any]) -> Value:
    return np.expand_dims(arrays[0], axes_of(attributes, arrays) or ())


def _divide(attributes: dict[str, Any], arrays: Sequence[Any]) -> Value:
    """Divide; sizes, which are whole, without remainder."""
    first, second = arrays
    whole = first.dtype.kind in "iuO" and second.dtype.kind in "iuO"
    return np.asarray(first // second if whole else first / second)


def _filled(attributes: dict[str, Any], arrays: Sequence[Any]) -> Value:
    """Fill an array of a given shape with one number, 0 by default."""
    from onnx import numpy_helper

    given = attributes.get("value")
    number = np.float32(0) if given is None else numpy_helper.to_array(given)
    return np.full([int(size) for size in arrays[0]], number)


FOLDED: dict[str, Callable[[dict[str, Any], Sequence[Any]], Value]] = {
    "Add": lambda attributes, arrays: np.asarray(arrays[0] + arrays[1]),
    "Cast": lambda attributes, arrays: arrays[0],
    "Concat": lambda attributes, arrays: np.concatenate(arrays, axis=attributes["axis"]),
    "ConstantOfShape": _filled,
    "Div": _divide,
    "Gather": _gather,
    "Identity": lambda attributes, arrays: arrays[0],
    "Mul": lambda attributes, arrays: np.asarray(arrays[0] * arrays[1]),
    "Reshape": _reshape,
    "Slice": _slice,
    "Sub": lambda attributes, arrays: np.asarray(arrays[0] - arrays[1]),
    "Squeeze": lambda attributes, arrays: np.squeeze(arrays[0], axes_of(attributes, arrays)),
    "Transpose": lambda attributes, arrays: np.transpose(arrays[0], attributes.get("perm")),
    "Unsqueeze": _expand_dims,
}
