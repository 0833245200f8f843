"""The door from torch: a module of piecewise-linear layers becomes a LayerChain."""

from __future__ import annotations

import copy
import logging
import operator
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn.utils import prune

from byways.core.errors import ConversionError
from byways.networks._builder import ChainBuilder
from byways.networks._short_numbers import warn_of_short_numbers
from byways.networks._torch_calls import call_step, shape_query, unsupported
from byways.networks._torch_joins import is_join, join_step
from byways.networks._torch_steps import Site, is_leaf, module_step
from byways.networks._values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from byways.core.smooth import SmoothChain
    from byways.networks._shapes import Array

__all__ = ["from_torch"]

_LOGGER = logging.getLogger("byways.networks")
_POINTS = 16
_RTOL = 1e-9
_NOISE = 1e-14  # what terms of size 1 may leave when they cancel


def from_torch(
    module: nn.Module, input_shape: tuple[int, ...] | None, smooth: bool = False
) -> SmoothChain:
    """Convert a module and compare the chain with it on random inputs in float64.

    Tanh and sigmoid are taken only if ``smooth``.

    Raises:
        ConversionError: If the module is not a chain of supported layers, or the chain differs.
    """
    twin = _double_copy(module)
    builder = ChainBuilder(input_shape, smooth)
    if is_leaf(twin):
        module_step(builder, twin, Site("", type(twin).__name__))
    else:
        _Walk(twin, builder).run(_trace(twin))
    chain = builder.build()
    shape = _compare(chain, twin, builder.input_shape or (chain.chain.input_size,))
    return replace(chain, shape=shape)


def _double_copy(module: nn.Module) -> nn.Module:
    """Copy a module to the CPU in float64; the original is not touched.

    Raises:
        ConversionError: If it is lazy, on the meta device, or cannot be copied.
        TypeError: If a weight is complex.
    """
    for path, part in module.named_modules():
        if _uninitialised(part):
            raise ConversionError(
                f"{Site(path, type(part).__name__)} is not initialised yet; run one batch through "
                "the network, then convert it"
            )
    _check_dtypes(module)
    try:
        twin = copy.deepcopy(module, _masked(module)).cpu()
        _prune_for_good(twin)
        twin = twin.double()
    except Exception as error:
        raise ConversionError(
            f"the module of type {type(module).__name__} cannot be copied: {error}. Remove what "
            "keeps computed tensors in it (for instance torch.nn.utils.remove_weight_norm)"
        ) from error
    for tensor in _tensors(twin):
        tensor.requires_grad_(False)
        if not tensor.is_floating_point():
            tensor.data = tensor.data.double() if isinstance(tensor, nn.Parameter) else tensor.data
    return twin


def _masked(module: nn.Module) -> dict[int, torch.Tensor]:
    """Give copies of masked weights, which are computed tensors that ``deepcopy`` refuses."""
    pruned = [part for part in module.modules() if prune.is_pruned(part)]
    tensors = [t for part in pruned for t in vars(part).values() if isinstance(t, torch.Tensor)]
    return {id(tensor): tensor.detach().clone() for tensor in tensors}


def _prune_for_good(module: nn.Module) -> None:
    """Put masked weights where the masks and the original weights were."""
    for part in module.modules():
        for name in [n.removesuffix("_mask") for n, _ in part.named_buffers(recurse=False)]:
            if hasattr(part, f"{name}_orig"):
                prune.remove(part, name)  # type: ignore[no-untyped-call]


def _uninitialised(module: nn.Module) -> bool:
    """Tell whether a lazy module has not seen a batch yet."""
    return any(nn.parameter.is_lazy(p) for p in module.parameters(recurse=False))


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _check_dtypes(module: nn.Module) -> None:
    """Refuse complex and absent weights; warn of those with fewer than 24 bits."""
    short = set()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_complex():
            raise TypeError(f'"{name}" has dtype {tensor.dtype}; real weights are needed')
        if tensor.is_meta:
            raise ConversionError(f'"{name}" is on the meta device and has no values; load them')
        if tensor.is_floating_point() and torch.finfo(tensor.dtype).bits < 32:
            short.add(str(tensor.dtype))
    warn_of_short_numbers(short)


class _Tracer(fx.Tracer):
    """Looks into every module but torch's own layers (torch's documented extension point)."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tell whether a module is one step."""
        return is_leaf(m)


def _trace(module: nn.Module) -> fx.Graph:
    """Record what ``forward`` does.

    Raises:
        ConversionError: If it depends on values, or fails.
    """
    try:
        graph = _Tracer().trace(module)
    except Exception as error:  # whatever the user's forward raises
        raise ConversionError(
            f"the forward of {type(module).__name__} cannot be traced: {error}. It must be a fixed "
            "graph of layers, without decisions that depend on values"
        ) from error
    for node in reversed(graph.nodes):
        if not node.users and node.op not in {"placeholder", "output"}:
            graph.erase_node(node)  # computed and never used
    return graph


class _Walk:
    """Feeds the nodes of a graph to a builder; each value of the network is a ``Value``."""

    def __init__(self, root: nn.Module, builder: ChainBuilder) -> None:
        self.root = root
        self.builder = builder
        self.values: dict[fx.Node, Any] = {}

    def run(self, graph: fx.Graph) -> None:
        """Go through all nodes.

        Raises:
            ConversionError: At the first node that is not a step of a chain.
        """
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        for node in inputs[1:]:
            self.values[node] = node.args[0] if node.args else None
            if node.users and not node.args:
                raise ConversionError(
                    f'"{node.name}" is a second input of the network; a chain has one'
                )
        self.values[inputs[0]] = self.builder.value
        place = {node: i for i, node in enumerate(graph.nodes)}
        last = {node: max(map(place.__getitem__, node.users), default=0) for node in graph.nodes}
        for i, node in enumerate(graph.nodes):
            if node.op == "get_attr":
                self.values[node] = _attribute(self.root, str(node.target))
            elif node.op != "placeholder":
                held = [self.values[n] for n, end in last.items() if end > i and n in self.values]
                self._step(node, [value for value in _leaves(held) if isinstance(value, Value)])

    def _step(self, node: fx.Node, held: list[Value]) -> None:
        """Take one node; the values ``held`` are needed after it."""
        site = self._site(node)
        args: Any = fx.node.map_arg(node.args, self.values.__getitem__)
        kwargs: Any = fx.node.map_arg(node.kwargs, self.values.__getitem__)
        values = [item for item in _leaves((args, kwargs)) if isinstance(item, Value)]
        if values and _is_pick(node.target, args):
            several, which = args
            self.values[node] = several[0 if which == "values" else which]
            return
        if not values or node.target == "size" or node.target is getattr:
            self.values[node] = shape_query(node.target, args, site)
            return
        self.builder.resume(values[0], held)
        if node.op == "output":
            if len(values) > 1:
                raise ConversionError(
                    unsupported(site, f"gives {len(values)} values; one is taken")
                )
            return
        if node.op == "call_module" and len(values) == 1:
            module_step(self.builder, self.root.get_submodule(str(node.target)), site)
        elif is_join(node.target, args):
            self.values[node] = join_step(self.builder, node.target, args, kwargs, site)
            return
        elif len(values) == 1:
            call_step(self.builder, node.target, args, kwargs, site)
        else:
            raise ConversionError(
                unsupported(
                    site,
                    "joins values of the network otherwise than by a sum, a "
                    "concatenation or a maximum",
                )
            )
        self.values[node] = self.builder.value

    def _site(self, node: fx.Node) -> Site:
        if node.op == "call_module":
            part = self.root.get_submodule(str(node.target))
            return Site(str(node.target), type(part).__name__)
        name = node.target if isinstance(node.target, str) else node.target.__name__
        return Site(node.name, name, "node")


def _is_pick(target: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether a node takes one of several values that a call gave."""
    return (target is operator.getitem or args[1:] == ("values",)) and isinstance(args[0], tuple)


def _leaves(value: Any) -> Iterator[Any]:
    """Go through nested arguments."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _attribute(root: nn.Module, path: str) -> torch.Tensor:
    """Fetch a parameter, buffer or constant by its dotted path."""
    owner, _, name = path.rpartition(".")
    value: torch.Tensor = getattr(root.get_submodule(owner), name)
    return value


def _compare(chain: SmoothChain, twin: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Compare values at random points.

    Returns:
        The shape of one output of the module.

    Raises:
        ConversionError: If the module cannot be run, or a value differs.
    """
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(_POINTS, *shape, generator=generator, dtype=torch.float64, device="cpu")
    flat = points.reshape(_POINTS, -1).numpy()
    ours = chain(flat)
    try:
        # torch warns of slow paths here, which is nothing the caller can act on.
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = twin(points.clone())
            theirs = given.reshape(_POINTS, -1).numpy()
    except Exception as error:  # whatever the user's forward raises
        raise ConversionError(
            f"the module cannot be run on a float64 input of shape {(_POINTS, *shape)!r}: {error}. "
            'Check "input_shape", the shape of one input without the batch axis'
        ) from error
    if ours.shape != theirs.shape:
        raise ConversionError(
            f"the chain gives {ours.shape[1]} values a point, the module {theirs.shape[1]}; the "
            "module does something that its layers do not show (a hook, for instance)"
        )
    scale = float(np.abs(theirs).max())
    worst = float(np.abs(ours - theirs).max())
    if not worst <= _RTOL * scale + _NOISE * _largest_term(chain, flat):
        raise ConversionError(
            f"the chain differs from the module by up to {worst:.3g} (values up to {scale:.3g}) at "
            f"{_POINTS} random points; the module does something that its layers do not show (a "
            "hook, for instance), or its numbers overflow"
        )
    _LOGGER.debug("chain equals module up to %.3g at %d points", worst, _POINTS)
    return tuple(given.shape[1:])


def _largest_term(chain: SmoothChain, x: Array) -> float:
    """Give the largest sum of absolute terms in any unit, the scale of rounding errors."""
    largest = 0.0
    for i, layer in enumerate(chain.chain.layers):
        terms = layer.map.absolute().apply(np.abs(x)) + np.abs(layer.bias)
        largest = max(largest, float(terms.max()))
        x = chain.layer(i, x)
    return largest
