"""Doors to a LayerChain, and networks with known answers.

Importing this package loads neither torch nor onnx; a door is opened when it is asked for.
"""

from __future__ import annotations

import importlib
import math
import operator
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byways.core.chain import LayerChain
from byways.core.errors import ShapeError
from byways.core.optional import require
from byways.core.smooth import SmoothChain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from byways.networks._examples import Example, example
    from byways.networks.generate import (
        arrangement,
        arrangement_count,
        central_arrangement,
        central_count,
        folding_network,
        generic_arrangement,
        generic_count,
        random_network,
        tent_chain,
    )

__all__ = [
    "Example",
    "arrangement",
    "arrangement_count",
    "as_chain",
    "central_arrangement",
    "central_count",
    "example",
    "folding_network",
    "generic_arrangement",
    "generic_count",
    "random_network",
    "tent_chain",
]

_EXAMPLES = frozenset({"Example", "example"})

_ACCEPTED = (
    "a LayerChain, a torch.nn.Module, an ONNX file (path, bytes or ModelProto), "
    "the path of a saved chain (.npz), or a list of (W, b) pairs"
)


def as_chain(network: Any, input_shape: int | Sequence[int] | None = None) -> LayerChain:
    """Convert a network to a LayerChain.

    The chain computes in float64 what the network computes: a float32 network is converted as the
    real function that its stored numbers define. A module is copied to the CPU and detached, and
    is itself left as it was. Values that a residual connection needs later are carried past a layer
    by units that have the identity; a maximum is a tournament of ReLUs.

    Args:
        network: A LayerChain (returned as it is); a ``torch.nn.Module`` in eval mode; an ONNX file
            as path, bytes or ModelProto; the path of a saved chain (``.npz``); or a list of
            ``(W, b)`` pairs with ReLU between them.
        input_shape: Shape of one input without the batch axis. Networks that begin with a dense
            layer do not need it; convolutions do, unless an ONNX file states it.

    Returns:
        The chain, on flattened inputs and outputs (C order).

    Raises:
        TypeError: If the network is none of these, or its weights are complex.
        ValueError: If ``input_shape`` is missing, or there is no layer.
        ConversionError: If a part of the network is not supported; says which and what is.
        DomainError: If weights are NaN or infinite.
        ShapeError: If sizes do not fit.
        MissingDependencyError: If the package that reads it is not installed.

    Example:
        >>> chain = as_chain([([[1.0], [-1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])])
        >>> chain([-3.0])
        array([3.])
    """
    return _checked(network, input_shape, smooth=False).chain


def as_smooth_chain(network: Any, input_shape: int | Sequence[int] | None = None) -> SmoothChain:
    """Do as ``as_chain`` and take tanh and sigmoid too: for passes that ask for no pieces."""
    return _checked(network, input_shape, smooth=True)


def _checked(network: Any, given: int | Sequence[int] | None, smooth: bool) -> SmoothChain:
    shape = _checked_shape(given)
    found = _converted(network, shape, smooth)
    _check_sizes(found.chain, shape)
    return found


def _converted(network: Any, shape: tuple[int, ...] | None, smooth: bool) -> SmoothChain:
    if isinstance(network, LayerChain):
        return SmoothChain(network)
    if isinstance(network, str | Path):
        return _from_file(Path(network), shape, smooth)
    if isinstance(network, bytes | bytearray | memoryview) or _is(network, "onnx", "ModelProto"):
        return _read_onnx(network, shape, smooth)
    if _is(network, "torch", "Module"):
        from byways.networks._from_torch import from_torch

        return from_torch(network, shape, smooth)
    if isinstance(network, list | tuple):
        return SmoothChain(LayerChain.from_arrays([_detached(pair) for pair in network]))
    raise TypeError(
        f'"network" is {reprlib.repr(network)} of type {_name(network)}; give {_ACCEPTED}'
    )


def _from_file(path: Path, shape: tuple[int, ...] | None, smooth: bool) -> SmoothChain:
    """Read a file by its suffix or, if that says nothing, by its first bytes."""
    suffix = path.suffix.lower()
    if suffix in {".pt", ".pth", ".ckpt", ".safetensors", ".pkl", ".h5", ".keras"}:
        raise TypeError(
            f'"network" is the file {str(path)!r}, which stores weights without the network that '
            f"they belong to; load it with the library that wrote it, then give {_ACCEPTED}"
        )
    if suffix != ".onnx":
        with path.open("rb") as stream:
            zipped = stream.read(2) == b"PK"  # .npz is a ZIP archive
        if zipped or suffix == ".npz":
            return SmoothChain(LayerChain.load(path))
    return _read_onnx(path, shape, smooth)


def _read_onnx(source: Any, shape: tuple[int, ...] | None, smooth: bool) -> SmoothChain:
    require("onnx", extra="onnx", purpose="Reading an ONNX network")
    from byways.networks._from_onnx import from_onnx

    return from_onnx(source, shape, smooth)


def _detached(pair: Any) -> Any:
    """Take torch tensors of a pair to where NumPy can read them; leave the rest as it is."""
    if not isinstance(pair, list | tuple):
        return pair
    return tuple(part.detach().cpu() if _is(part, "torch", "Tensor") else part for part in pair)


def _is(network: Any, package: str, name: str) -> bool:
    """Tell whether an object's class or a base of it is ``package...name``, importing nothing."""
    return any(
        base.__name__ == name and base.__module__.partition(".")[0] == package
        for base in type(network).__mro__
    )


def _name(network: Any) -> str:
    return f"{type(network).__module__}.{type(network).__qualname__}"


def _checked_shape(given: int | Sequence[int] | None) -> tuple[int, ...] | None:
    """Check the argument ``input_shape``."""
    if given is None:
        return None
    message = f'"input_shape" was {given!r}; give positive integers without the batch axis'
    sizes = (given,) if hasattr(given, "__index__") else given
    try:
        shape = tuple(operator.index(size) for size in sizes)
    except TypeError as error:
        raise TypeError(message) from error
    if not shape or min(shape) < 1 or any(isinstance(size, bool) for size in sizes):
        raise ValueError(message)
    return shape


def _check_sizes(chain: LayerChain, shape: tuple[int, ...] | None) -> None:
    """Compare the chain with the shape that was given, and refuse layers without units."""
    if 0 in chain.widths:
        raise ValueError(
            f'"network" has widths {chain.widths!r}; every layer needs at least one unit'
        )
    if shape is not None and math.prod(shape) != chain.input_size:
        raise ShapeError(
            f'"input_shape" was {shape!r}, {math.prod(shape)} numbers, but the network takes '
            f"{chain.input_size}"
        )


def __getattr__(name: str) -> Any:
    """Load the generators and examples when one of them is first asked for."""
    if name == "as_chain" or name not in __all__:
        raise AttributeError(
            f"module 'byways.networks' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    home = "_examples" if name in _EXAMPLES else "generate"
    return getattr(importlib.import_module(f"byways.networks.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
