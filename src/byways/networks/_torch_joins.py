"""Torch calls that join values, take one apart, or move its numbers."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from byways.core.errors import ConversionError, ShapeError
from byways.networks._shapes import axis_windows, unsqueezed
from byways.networks._torch_steps import Site, refusal
from byways.networks._tournament import larger, largest, smaller
from byways.networks._values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from byways.networks._builder import ChainBuilder

__all__ = ["JOINS", "is_join", "join_step"]

_CURE = "give its arguments as plain numbers"


def join_step(
    builder: ChainBuilder, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], site: Site
) -> Any:
    """Do one call of ``JOINS``; the builder stands at its first value.

    Returns:
        A value, or several.

    Raises:
        ConversionError: If it is called in a way that is not supported.
        ShapeError: If values do not fit together.
    """
    name, step = JOINS[target]
    wrong: str | None = None
    with builder.step(str(site)):
        try:
            result = step(builder, *args, **kwargs)
        except ShapeError:
            raise
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            wrong = str(error)
    if wrong is not None:
        raise ConversionError(
            refusal(site, f"calls {name} in a way that is not supported ({wrong})", _CURE)
        )
    return builder.value if result is None else result


def is_join(target: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether a call is for ``join_step``: some are so for two values only."""
    if target not in JOINS:
        return False
    return target not in _OF_TWO or sum(isinstance(item, Value) for item in args) == 2


def _places(builder: ChainBuilder) -> Any:
    """Number the entries of the current value, with a batch axis of one in front."""
    shape = builder.known_shape()
    return np.arange(int(np.prod(shape))).reshape(1, *shape)


def _add(builder: ChainBuilder, first: Value, second: Value, *, alpha: float = 1.0) -> None:
    builder.add(second, float(alpha))


def _subtract(builder: ChainBuilder, first: Value, second: Value, *, alpha: float = 1.0) -> None:
    builder.add(second, -float(alpha))


def _concatenate(builder: ChainBuilder, tensors: Sequence[Value], dim: int = 0) -> None:
    builder.concatenate(_only_values(tensors), dim)


def _only_values(tensors: Sequence[Any]) -> Sequence[Value]:
    if not all(isinstance(item, Value) for item in tensors):
        raise TypeError("a value of the network together with a constant")
    return tensors


def _stack(builder: ChainBuilder, tensors: Sequence[Value], dim: int = 0) -> None:
    shapes = [
        value.shape if value.shape else builder.known_shape() for value in _only_values(tensors)
    ]
    spread = [
        Value(unsqueezed(shape, dim), value.steps)
        for shape, value in zip(shapes, tensors, strict=True)
    ]
    builder.concatenate(spread, dim if dim >= 0 else dim + len(shapes[0]) + 2)


def _larger(builder: ChainBuilder, first: Value, second: Value) -> None:
    larger(builder, second)


def _smaller(builder: ChainBuilder, first: Value, second: Value) -> None:
    smaller(builder, second)


def _max(builder: ChainBuilder, first: Value, *rest: Any, **given: Any) -> Any:
    """Do ``max(x, y)``, or ``max(x, dim)``, of which the places of the maxima are not known."""
    if rest and isinstance(rest[0], Value):
        larger(builder, rest[0])
        return None
    if not rest and "dim" not in given:
        raise TypeError("the maximum of the whole batch")
    _amax(builder, first, *rest, **given)
    return (builder.value, None)


def _amax(builder: ChainBuilder, first: Value, dim: Any, keepdim: bool = False) -> None:
    windows, shape = axis_windows(builder.known_shape(), dim, keepdim)
    largest(builder, windows.tolist(), shape)


def _mean(builder: ChainBuilder, first: Value, dim: Any, keepdim: bool = False) -> None:
    builder.total(dim, keep=keepdim, mean=True)


def _sum(builder: ChainBuilder, first: Value, dim: Any, keepdim: bool = False) -> None:
    builder.total(dim, keep=keepdim, mean=False)


def _index(builder: ChainBuilder, value: Value, index: Any) -> None:
    items = index if isinstance(index, tuple) else (index,)
    if items[0] is not Ellipsis and items[0] != slice(None):
        raise IndexError("an index into the batch axis")
    if not all(i is None or i is Ellipsis or isinstance(i, int | slice) for i in items):
        raise IndexError("an index that is no number or slice")
    builder.select(_places(builder)[items][0])


def _permute(builder: ChainBuilder, value: Value, *dims: Any) -> None:
    order = dims[0] if dims and isinstance(dims[0], tuple | list) else dims
    if order[0] != 0:
        raise IndexError("the batch axis is moved")
    builder.select(_places(builder).transpose(order)[0])


def _transpose(builder: ChainBuilder, value: Value, dim0: int, dim1: int) -> None:
    places = _places(builder)
    if 0 in {dim0 % places.ndim, dim1 % places.ndim}:
        raise IndexError("the batch axis is moved")
    builder.select(np.swapaxes(places, dim0, dim1)[0])


def _split(
    builder: ChainBuilder, value: Value, split_size_or_sections: Any, dim: int = 0
) -> tuple[Value, ...]:
    size = _places(builder).shape[dim]
    each = split_size_or_sections
    ends = np.cumsum(each)[:-1] if not isinstance(each, int) else np.arange(each, size, each)
    return _parts(builder, value, ends, dim)


def _chunk(builder: ChainBuilder, value: Value, chunks: int, dim: int = 0) -> tuple[Value, ...]:
    size = _places(builder).shape[dim]
    each = -(-size // chunks)
    return _parts(builder, value, np.arange(each, size, each), dim)


def _parts(builder: ChainBuilder, value: Value, ends: Any, dim: int) -> tuple[Value, ...]:
    places, found = _places(builder), []
    if dim % places.ndim == 0:
        raise IndexError("the batch axis is split")
    for part in np.split(places, ends, axis=dim):
        builder.resume(value)
        builder.select(part[0])
        found.append(builder.value)
    return tuple(found)


_OF_TWO = frozenset(
    {operator.add, operator.iadd, torch.add, "add", "add_"}
    | {operator.sub, operator.isub, torch.sub, "sub", "sub_"}
)
JOINS: dict[Any, tuple[str, Callable[..., Any]]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), ("add", _add)),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub", "sub_"), ("sub", _subtract)),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), ("cat", _concatenate)),
    torch.stack: ("stack", _stack),
    **dict.fromkeys((torch.maximum, "maximum"), ("maximum", _larger)),
    **dict.fromkeys((torch.minimum, "minimum"), ("minimum", _smaller)),
    **dict.fromkeys((torch.max, "max"), ("max", _max)),
    **dict.fromkeys((torch.amax, "amax"), ("amax", _amax)),
    **dict.fromkeys((torch.mean, "mean"), ("mean", _mean)),
    **dict.fromkeys((torch.sum, "sum"), ("sum", _sum)),
    operator.getitem: ("getitem", _index),
    **dict.fromkeys((torch.permute, "permute"), ("permute", _permute)),
    **dict.fromkeys((torch.transpose, "transpose"), ("transpose", _transpose)),
    **dict.fromkeys((torch.split, "split"), ("split", _split)),
    **dict.fromkeys((torch.chunk, "chunk"), ("chunk", _chunk)),
}
