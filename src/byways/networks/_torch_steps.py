"""What each torch module means for a chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from byways.core.activations import PiecewiseLinear, clamp, leaky_relu, relu
from byways.core.arrays import finite
from byways.core.errors import ConversionError
from byways.networks._merging import limited
from byways.networks._refusals import refused_by_name
from byways.networks._shapes import BATCH
from byways.networks._torch_windows import (
    average,
    average_adaptive,
    convolve,
    pool_largest,
    pool_largest_adaptive,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from byways.networks._builder import ChainBuilder
    from byways.networks._shapes import Array

    ModuleStep = Callable[[ChainBuilder, Any, "Site"], None]

__all__ = [
    "CURE",
    "EVAL",
    "HARDSIGMOID",
    "Site",
    "activate",
    "activate_slopes",
    "is_leaf",
    "module_step",
    "refusal",
    "values_of",
]

CURE = (
    "replace it by a supported step, or convert the parts of the network before and after it on "
    "their own"
)
EVAL = "call .eval() on the network first"

HARDSIGMOID = PiecewiseLinear((-3.0, 3.0), (0.0, 1.0 / 6.0, 0.0), 0.5, name="hardsigmoid")


@dataclass(frozen=True, slots=True)
class Site:
    """Where in the network a step stands, for messages."""

    path: str
    kind: str
    noun: str = "module"

    def __str__(self) -> str:
        return f'{self.noun} "{self.path}" ({self.kind})' if self.path else f"the {self.kind}"


def is_leaf(module: nn.Module) -> bool:
    """Tell whether a module is one step: torch's own, or one that keeps the forward of one."""
    if type(module) is nn.Sequential:
        return False
    return type(module).__module__.startswith("torch.nn.modules") or _step_of(module) is not None


def module_step(builder: ChainBuilder, module: nn.Module, site: Site) -> None:
    """Feed one module to the builder.

    Raises:
        ConversionError: If the module is not supported.
    """
    step = _step_of(module)
    if step is None and builder.smooth:
        step = _step_of(module, _SMOOTH)
    if step is None:
        known = refused_by_name(site.kind)
        if known is not None:
            raise ConversionError(f"{site} {known[0]}. {known[1]}")
        reason = "is not a piecewise-linear layer of a chain"
        raise ConversionError(refusal(site, reason, smooth=builder.smooth))
    with builder.step(str(site)):
        step(builder, module, site)


def refusal(
    site: Site,
    reason: str,
    cure: str = CURE,
    *,
    calls: Iterable[str] = (),
    smooth: bool = False,
) -> str:
    """Say that a part cannot be converted, what to do, and which parts can be."""
    bases = [*_MODULES, *(_SMOOTH if smooth else ())]
    modules = ", ".join(sorted(base.__name__ for base in bases))
    names = ", ".join(sorted(set(calls)))
    return f"{site} {reason}; {cure}. Supported modules: {modules}." + (
        f" Supported functions and methods: {names}." if names else ""
    )


def values_of(tensor: torch.Tensor, site: Site, name: str) -> Array:
    """Give a tensor's numbers, checked; ``name`` is the parameter's."""
    return finite(tensor.detach().cpu().numpy(), f"{site.path}.{name}" if site.path else name)


def activate(
    builder: ChainBuilder, site: Site, make: Callable[..., PiecewiseLinear], *numbers: Any
) -> None:
    """Apply the activation ``make(*numbers)``.

    Raises:
        ConversionError: If the numbers do not make a continuous function.
    """
    if any(not isinstance(number, int | float | None) for number in numbers):
        kinds = ", ".join(type(number).__name__ for number in numbers)
        raise ConversionError(
            refusal(site, f"has arguments of types {kinds}", "give plain numbers")
        )
    try:
        function = make(*numbers)
    except ValueError as error:
        raise ConversionError(
            refusal(site, f"is not a continuous piecewise-linear function ({error})")
        ) from error
    builder.activate(function)


def activate_slopes(builder: ChainBuilder, slopes: Array) -> None:
    """Apply PReLU: one slope for all, or one per channel."""
    functions = [leaky_relu(slope) for slope in slopes.ravel().tolist()]
    if len(set(functions)) == 1:
        builder.activate(functions[0])
    else:
        builder.activate_channels(functions)


def _step_of(
    module: nn.Module, steps: dict[type[nn.Module], ModuleStep] | None = None
) -> ModuleStep | None:
    """Find the step of a module's class, or of a base whose forward it keeps."""
    table = _MODULES if steps is None else steps
    for base in type(module).__mro__:
        if base in table:
            return table[base] if type(module).forward is base.forward else None
    return None


def _optional(tensor: torch.Tensor | None, site: Site, name: str) -> Array | None:
    return None if tensor is None else values_of(tensor, site, name)


def _linear(builder: ChainBuilder, module: nn.Linear, site: Site) -> None:
    builder.dense(values_of(module.weight, site, "weight"), _optional(module.bias, site, "bias"))


def _conv(builder: ChainBuilder, module: nn.Conv1d | nn.Conv2d, site: Site) -> None:
    padding: Any = module.padding
    if module.padding_mode != "zeros":
        # Torch pads by this many on each side, last axis first, before it convolves.
        sides = np.array(module._reversed_padding_repeated_twice).reshape(-1, 2)[::-1]
        builder.pad(sides.tolist(), module.padding_mode)
        padding = 0
    convolve(
        builder,
        values_of(module.weight, site, "weight"),
        _optional(module.bias, site, "bias"),
        module.stride,
        padding,
        module.dilation,
        module.groups,
    )


def _pool_1d(builder: ChainBuilder, module: nn.AvgPool1d, site: Site) -> None:
    average(
        builder,
        1,
        module.kernel_size,
        module.stride,
        module.padding,
        module.ceil_mode,
        module.count_include_pad,
    )


def _pool_2d(builder: ChainBuilder, module: nn.AvgPool2d, site: Site) -> None:
    average(
        builder,
        2,
        module.kernel_size,
        module.stride,
        module.padding,
        module.ceil_mode,
        module.count_include_pad,
        module.divisor_override,
    )


def _batch_norm(builder: ChainBuilder, module: nn.BatchNorm1d | nn.BatchNorm2d, site: Site) -> None:
    """Fold ``(x - mean) / sqrt(var + eps) * weight + bias`` into scale and shift."""
    if module.training:
        raise ConversionError(
            refusal(
                site,
                "is in training mode, where it depends on the batch",
                EVAL,
            )
        )
    if module.running_mean is None or module.running_var is None:
        raise ConversionError(
            refusal(site, "keeps no running statistics, so it depends on the batch")
        )
    mean = values_of(module.running_mean, site, "running_mean")
    variance = values_of(module.running_var, site, "running_var")
    scale = 1.0 / np.sqrt(variance + module.eps)
    if module.affine:
        scale = scale * values_of(module.weight, site, "weight")
    shift = -mean * scale
    if module.affine:
        shift = shift + values_of(module.bias, site, "bias")
    builder.normalise(scale, shift)


def _dropout(builder: ChainBuilder, module: nn.Dropout, site: Site) -> None:
    if module.training and module.p > 0:
        raise ConversionError(refusal(site, "is in training mode, where it is random", EVAL))


def _prelu(builder: ChainBuilder, module: nn.PReLU, site: Site) -> None:
    activate_slopes(builder, values_of(module.weight, site, "weight"))


def _threshold(builder: ChainBuilder, module: nn.Threshold, site: Site) -> None:
    if module.threshold != module.value:
        raise ConversionError(
            refusal(
                site,
                f"jumps from value={module.value!r} to threshold={module.threshold!r}",
                "make both equal, so that it is continuous",
            )
        )
    activate(builder, site, clamp, module.threshold)


def _unflatten(builder: ChainBuilder, module: nn.Unflatten, site: Site) -> None:
    shape = builder.known_shape()
    axis, sizes = module.dim, module.unflattened_size
    if not isinstance(axis, int) or not all(isinstance(size, int) for size in sizes):
        raise ConversionError(refusal(site, "names its axes", "number them"))
    axis = axis + len(shape) + 1 if axis < 0 else axis
    if not 1 <= axis <= len(shape):
        raise ConversionError(
            refusal(site, f"splits axis {module.dim}, which is not one after the batch axis")
        )
    builder.reshape((BATCH, *shape[: axis - 1], *sizes, *shape[axis:]))


def _max_pool(axes: int) -> ModuleStep:
    def step(builder: ChainBuilder, module: Any, site: Site) -> None:
        _refuse_indices(module, site)
        pool_largest(
            builder,
            axes,
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
            module.ceil_mode,
        )

    return step


def _adaptive_max_pool(axes: int) -> ModuleStep:
    def step(builder: ChainBuilder, module: Any, site: Site) -> None:
        _refuse_indices(module, site)
        pool_largest_adaptive(builder, axes, module.output_size)

    return step


def _refuse_indices(module: Any, site: Site) -> None:
    if module.return_indices:
        raise ConversionError(refusal(site, "returns indices", "set return_indices=False"))


def _nothing(builder: ChainBuilder, module: nn.Module, site: Site) -> None:
    """Do what the identity does."""


_MODULES: dict[type[nn.Module], ModuleStep] = {
    nn.AdaptiveAvgPool1d: lambda builder, m, site: average_adaptive(builder, 1, m.output_size),
    nn.AdaptiveAvgPool2d: lambda builder, m, site: average_adaptive(builder, 2, m.output_size),
    nn.AdaptiveMaxPool1d: _adaptive_max_pool(1),
    nn.AdaptiveMaxPool2d: _adaptive_max_pool(2),
    nn.AvgPool1d: _pool_1d,
    nn.AvgPool2d: _pool_2d,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Dropout: _dropout,
    nn.Dropout1d: _dropout,
    nn.Dropout2d: _dropout,
    nn.Flatten: lambda builder, m, site: builder.flatten(m.start_dim, m.end_dim),
    nn.Hardsigmoid: lambda builder, m, site: builder.activate(HARDSIGMOID),
    nn.Hardtanh: lambda builder, m, site: activate(builder, site, limited, m.min_val, m.max_val),
    nn.Identity: _nothing,
    nn.LeakyReLU: lambda builder, m, site: activate(builder, site, leaky_relu, m.negative_slope),
    nn.Linear: _linear,
    nn.MaxPool1d: _max_pool(1),
    nn.MaxPool2d: _max_pool(2),
    nn.PReLU: _prelu,
    nn.ReLU: lambda builder, m, site: builder.activate(relu),
    nn.ReLU6: lambda builder, m, site: builder.activate(clamp(0.0, 6.0)),
    nn.Threshold: _threshold,
    nn.Unflatten: _unflatten,
}

# Taken by passes that ask for no pieces.
_SMOOTH: dict[type[nn.Module], ModuleStep] = {
    nn.Sigmoid: lambda builder, m, site: builder.activate_smooth("sigmoid"),
    nn.Tanh: lambda builder, m, site: builder.activate_smooth("tanh"),
}
