"""What each torch function and tensor method means for a chain."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as nnf

from byways.core.activations import absolute, clamp, leaky_relu, relu
from byways.core.errors import ConversionError
from byways.networks._merging import limited
from byways.networks._refusals import refused_by_name
from byways.networks._shapes import BATCH, squeezed, unsqueezed
from byways.networks._torch_joins import JOINS
from byways.networks._torch_steps import (
    CURE,
    EVAL,
    HARDSIGMOID,
    Site,
    activate,
    activate_slopes,
    refusal,
    values_of,
)
from byways.networks._torch_windows import (
    average,
    average_adaptive,
    convolve,
    pool_largest,
    pool_largest_adaptive,
)
from byways.networks._values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from byways.networks._builder import ChainBuilder

__all__ = ["call_step", "shape_query", "unsupported"]


@dataclass(frozen=True, slots=True)
class _Call:
    """One call: where, and its arguments by name without the network's value."""

    builder: ChainBuilder
    site: Site
    given: dict[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        return self.given.get(name, default)

    def array(self, name: str) -> Any:
        """Give a tensor argument as numbers, or None."""
        tensor = self.get(name)
        return None if tensor is None else values_of(tensor, self.site, name)


def call_step(
    builder: ChainBuilder, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], site: Site
) -> None:
    """Feed one function or method call on the network's value to the builder.

    Raises:
        ConversionError: If the function is not supported, or not with these arguments.
    """
    if target in _ARITHMETIC and len(args) in (1, 2) and not kwargs:
        with builder.step(str(site)):
            _arithmetic(builder, _ARITHMETIC[target], args, site)
        return
    if builder.smooth and target in _SMOOTH and len(args) == 1 and not kwargs:
        with builder.step(str(site)):
            builder.activate_smooth(_SMOOTH[target])
        return
    if target not in _CALLS:
        known = refused_by_name(site.kind)
        if known is not None:
            raise ConversionError(f"{site} {known[0]}. {known[1]}")
        raise ConversionError(unsupported(site, "is not a piecewise-linear step of a chain"))
    names, step = _CALLS[target]
    if target in _SHAPES and args[1:] and not isinstance(args[1], tuple | list):
        args = (args[0], args[1:])  # x.view(a, b) is x.view((a, b))
    given = dict(zip(("input", *names), args, strict=False)) | kwargs
    unknown = sorted(set(given) - {"input", "inplace", *names})
    if unknown or len(args) > len(names) + 1 + ("inplace" not in names):
        raise ConversionError(
            unsupported(site, f"is called with arguments that are not supported: {unknown!r}")
        )
    if not isinstance(given.pop("input", None), Value):
        raise ConversionError(unsupported(site, "does not take the network's value as its input"))
    with builder.step(str(site)):
        step(_Call(builder, site, given))


def unsupported(site: Site, reason: str, cure: str = CURE) -> str:
    """Say that a call cannot be converted, what to do, and which calls can be."""
    targets = [*_CALLS, *_ARITHMETIC]
    names = [t if isinstance(t, str) else t.__name__.removeprefix("_") for t in targets]
    return refusal(site, reason, cure, calls=[*names, *(name for name, _ in JOINS.values())])


def shape_query(target: Any, args: tuple[Any, ...], site: Site) -> Any:
    """Answer ``x.size()``, ``x.size(k)``, ``x.shape``, an index into them, products of sizes.

    Raises:
        ConversionError: If the node asks for anything else.
    """
    if args and isinstance(args[0], Value):
        shape = args[0].shape
        sizes = (BATCH,) if shape is None else (BATCH, *shape)
        if target == "size" and len(args) > 1:
            target, args = operator.getitem, (sizes, args[1])
        elif target == "size" or args[1:] == ("shape",):
            return sizes
    if target is operator.getitem and isinstance(args[0], tuple):
        try:
            return args[0][args[1]]
        except (IndexError, TypeError) as error:
            cure = 'give "input_shape" if you have not, and ask only for axes that exist'
            reason = f"asks for size {args[1]!r} of {args[0]!r}"
            raise ConversionError(unsupported(site, reason, cure)) from error
    if target in _ON_SIZES and all(isinstance(size, int) for size in args):
        return target(*args)
    raise ConversionError(unsupported(site, "is not a step of a chain"))


def _arithmetic(builder: ChainBuilder, name: str, args: tuple[Any, ...], site: Site) -> None:
    """Feed ``x + c``, ``c - x`` and their like."""
    first = isinstance(args[0], Value)
    other: Any = args[-1] if first else args[0]
    if len(args) == 1:
        other = 0.0
    elif isinstance(other, torch.Tensor):
        other = values_of(other, site, "constant")
    elif not isinstance(other, int | float):
        raise ConversionError(unsupported(site, f"combines the network's value with {other!r}"))
    if len(args) != (1 if name == "neg" else 2) or (name == "div" and not first):
        raise ConversionError(
            unsupported(site, "does not combine the network's value with one constant")
        )
    scale, shift = {
        "add": (1.0, other),
        "sub": (1.0, -other) if first else (-1.0, other),
        "mul": (other, 0.0),
        "div": (1.0 / other if name == "div" else 1.0, 0.0),
        "neg": (-1.0, 0.0),
    }[name]
    builder.affine(scale, shift)


def _dropout(call: _Call) -> None:
    if call.get("training", True) and call.get("p", 0.5) > 0:
        raise ConversionError(
            unsupported(call.site, "is in training mode, where it is random", EVAL)
        )


def _prelu(call: _Call) -> None:
    activate_slopes(call.builder, call.array("weight"))


def _threshold(call: _Call) -> None:
    if call.get("threshold") != call.get("value"):
        raise ConversionError(unsupported(call.site, "jumps", "make threshold and value equal"))
    activate(call.builder, call.site, clamp, call.get("threshold"))


def _conv(call: _Call) -> None:
    rest = {name: call.given[name] for name in _CONV[2:] if name in call.given}
    convolve(call.builder, call.array("weight"), call.array("bias"), **rest)


def _squeeze(call: _Call) -> None:
    shape = squeezed(call.builder.known_shape(), call.get("dim"))
    call.builder.reshape((BATCH, *shape))


def _unsqueeze(call: _Call) -> None:
    shape = unsqueezed(call.builder.known_shape(), call.get("dim"))
    call.builder.reshape((BATCH, *shape))


def _activation(
    make: Callable[..., Any], **defaults: Any
) -> tuple[tuple[str, ...], Callable[[_Call], None]]:
    """Give the entry of an activation with these arguments and their defaults."""

    def step(call: _Call) -> None:
        numbers = [call.get(name, default) for name, default in defaults.items()]
        activate(call.builder, call.site, make, *numbers)

    return tuple(defaults), step


def _max_pool(axes: int) -> tuple[tuple[str, ...], Callable[[_Call], None]]:
    """Give the entry of a max-pooling over so many axes."""

    def step(call: _Call) -> None:
        if call.given.pop("return_indices", False):
            raise ConversionError(unsupported(call.site, "returns indices"))
        pool_largest(call.builder, axes, **call.given)

    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    return names, step


def _adaptive_max_pool(axes: int) -> tuple[tuple[str, ...], Callable[[_Call], None]]:
    def step(call: _Call) -> None:
        if call.given.pop("return_indices", False):
            raise ConversionError(unsupported(call.site, "returns indices"))
        pool_largest_adaptive(call.builder, axes, call.get("output_size"))

    return ("output_size", "return_indices"), step


_CONV = ("weight", "bias", "stride", "padding", "dilation", "groups")
_POOL = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
_RELU = _activation(lambda: relu)
_CLAMP = _activation(limited, min=None, max=None)
_AT_LEAST = _activation(lambda low: limited(low, None), min=None)
_AT_MOST = _activation(lambda high: limited(None, high), max=None)
_ABSOLUTE = _activation(lambda: absolute)
_FLATTEN = (
    ("start_dim", "end_dim"),
    lambda call: call.builder.flatten(call.get("start_dim", 0), call.get("end_dim", -1)),
)
_RESHAPE = (("shape",), lambda call: call.builder.reshape(call.get("shape")))
_SQUEEZE, _UNSQUEEZE = (("dim",), _squeeze), (("dim",), _unsqueeze)
_NOTHING: tuple[tuple[str, ...], Callable[[_Call], None]] = ((), lambda call: None)
_SHAPES = ("view", "reshape")

_CALLS: dict[Any, tuple[tuple[str, ...], Callable[[_Call], None]]] = {
    **dict.fromkeys((nnf.relu, torch.relu, torch.relu_, "relu", "relu_"), _RELU),
    **dict.fromkeys((torch.clamp, torch.clip, "clamp", "clip"), _CLAMP),
    **dict.fromkeys((torch.clamp_min, "clamp_min"), _AT_LEAST),
    **dict.fromkeys((torch.clamp_max, "clamp_max"), _AT_MOST),
    **dict.fromkeys((torch.abs, "abs", operator.abs, abs), _ABSOLUTE),
    **dict.fromkeys((torch.flatten, "flatten"), _FLATTEN),
    **dict.fromkeys((torch.reshape, "reshape", "view"), _RESHAPE),
    **dict.fromkeys((torch.squeeze, "squeeze"), _SQUEEZE),
    **dict.fromkeys((torch.unsqueeze, "unsqueeze"), _UNSQUEEZE),
    **dict.fromkeys(("contiguous", "clone", "detach"), _NOTHING),
    **dict.fromkeys((torch.conv1d, torch.conv2d), (_CONV, _conv)),
    nnf.relu6: _activation(lambda: clamp(0.0, 6.0)),
    nnf.leaky_relu: _activation(leaky_relu, negative_slope=0.01),
    nnf.hardtanh: _activation(limited, min_val=-1.0, max_val=1.0),
    nnf.hardsigmoid: _activation(lambda: HARDSIGMOID),
    nnf.threshold: (("threshold", "value"), _threshold),
    nnf.prelu: (("weight",), _prelu),
    nnf.dropout: (("p", "training"), _dropout),
    nnf.linear: (
        ("weight", "bias"),
        lambda call: call.builder.dense(call.array("weight"), call.array("bias")),
    ),
    nnf.max_pool1d: _max_pool(1),
    nnf.max_pool2d: _max_pool(2),
    nnf.adaptive_max_pool1d: _adaptive_max_pool(1),
    nnf.adaptive_max_pool2d: _adaptive_max_pool(2),
    nnf.avg_pool1d: (_POOL[:-1], lambda call: average(call.builder, 1, **call.given)),
    nnf.avg_pool2d: (_POOL, lambda call: average(call.builder, 2, **call.given)),
    nnf.adaptive_avg_pool1d: (
        ("output_size",),
        lambda call: average_adaptive(call.builder, 1, call.get("output_size")),
    ),
    nnf.adaptive_avg_pool2d: (
        ("output_size",),
        lambda call: average_adaptive(call.builder, 2, call.get("output_size")),
    ),
}

_ON_SIZES = frozenset({operator.add, operator.sub, operator.mul, operator.floordiv})

# Taken by passes that ask for no pieces.
_SMOOTH: dict[Any, str] = {
    **dict.fromkeys((torch.tanh, nnf.tanh, torch.tanh_, "tanh", "tanh_"), "tanh"),
    **dict.fromkeys((torch.sigmoid, nnf.sigmoid, torch.sigmoid_, "sigmoid", "sigmoid_"), "sigmoid"),
}

_ARITHMETIC: dict[Any, str] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), "add"),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub", "sub_"), "sub"),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), "mul"),
    **dict.fromkeys((operator.truediv, torch.div, "div", "div_"), "div"),
    **dict.fromkeys((operator.neg, torch.neg, "neg"), "neg"),
}
