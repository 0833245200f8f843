"""Recognise layers ``h -> a h + s g(W h + b)`` in the modules of a user.

A ``Linear`` and the activation after it are a link, and so is a module of the user's own that
computes the same with one linear layer: its code is traced, not its class. Everything else stays
what it is.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Link", "flattened", "read_links"]

_MODULES: dict[type[nn.Module], str] = {
    nn.Identity: "identity",
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
}
_FUNCTIONS: dict[Any, str] = {
    torch.relu: "relu",
    nn.functional.relu: "relu",
    torch.tanh: "tanh",
    nn.functional.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    nn.functional.sigmoid: "sigmoid",
}


@dataclass(frozen=True, slots=True)
class Link:
    """One layer ``h -> carry h + scale g(linear(h))`` of a chain, and the modules it stands for."""

    linear: nn.Linear
    activation: str
    carry: float = 0.0
    scale: float = 1.0
    modules: tuple[nn.Module, ...] = ()

    @property
    def kind(self) -> tuple[Any, ...]:
        """What must be equal in neighbours that form a chain."""
        weight = self.linear.weight
        return (weight.shape, weight.dtype, weight.device, self.activation, self.carry, self.scale)

    @property
    def trained(self) -> tuple[bool | None, ...]:
        """Whether weight and bias want gradients; None if there is no bias."""
        weight, bias = self.linear.weight, self.linear.bias
        return weight.requires_grad, None if bias is None else bias.requires_grad


def flattened(model: nn.Module) -> list[nn.Module]:
    """List the layers of a sequential model, nested ones included, in order."""
    if type(model) is not nn.Sequential:
        return [model]
    return [layer for child in model for layer in flattened(child)]


def read_links(layers: Iterable[nn.Module]) -> list[Link | nn.Module]:
    """Replace what is a link; a linear layer takes the activation that follows."""
    found: list[Link | nn.Module] = []
    known: dict[Any, Link | None] = {}
    for layer in layers:
        last = found[-1] if found else None
        activation = _MODULES.get(type(layer))
        waiting = isinstance(last, Link) and last.activation == "" and _is_plain(layer)
        if activation is not None and waiting and isinstance(last, Link):
            found[-1] = Link(last.linear, activation, modules=(last.linear, layer))
        elif type(layer) is nn.Linear and _is_square(layer) and _is_plain(layer):
            found.append(Link(layer, "", modules=(layer,)))
        else:
            found.append(_read_own(layer, known) or layer)
    return [
        replace(one, activation="identity") if isinstance(one, Link) and not one.activation else one
        for one in found
    ]


def _is_square(layer: nn.Linear) -> bool:
    return layer.in_features == layer.out_features


def _is_plain(module: nn.Module) -> bool:
    """Tell whether calling the module runs its forward and nothing else."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return not any(getattr(module, name) for name in hooks) and not hasattr(
        module, "parametrizations"
    )


def _read_own(module: nn.Module, known: dict[Any, Link | None]) -> Link | None:
    """Read a module of the user's own; one that is set up like an earlier one is not traced."""
    signature = tuple(
        (name, type(part), repr({k: v for k, v in vars(part).items() if not k.startswith("_")}))
        for name, part in module.named_modules()
    )
    if signature not in known:
        known[signature] = _traced(module)
    link = known[signature]
    if link is None or link.modules == (module,):
        return link
    linear = next(child for child in module.modules() if type(child) is nn.Linear)
    return replace(link, linear=linear, modules=(module,))


def _traced(module: nn.Module) -> Link | None:
    """Read a module of the user's own, if it is a residual layer with one linear layer."""
    linear = [child for child in module.modules() if type(child) is nn.Linear]
    own = len(linear) == 1 and _is_square(linear[0]) and type(module).__module__ != "torch.nn"
    if not own or isinstance(module, nn.Sequential) or not _is_plain(module):
        return None
    if not all(_is_plain(child) for child in module.modules()):
        return None
    try:
        graph = fx.symbolic_trace(module).graph
    except Exception:  # fx raises whatever the user's code does on a proxy: not a link then
        return None
    return _Reader(module).read(graph)


@dataclass(slots=True)
class _Term:
    """A value ``carry x + scale g(linear(x))``; ``g`` is None for a multiple of ``x`` alone."""

    carry: float = 0.0
    scale: float = 0.0
    linear: nn.Linear | None = None
    activation: str | None = None


class _Reader:
    """Follows a traced graph, node by node, with terms for values."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.terms: dict[Any, Any] = {}

    def read(self, graph: fx.Graph) -> Link | None:
        inputs = 0
        for node in graph.nodes:
            if node.op == "placeholder":
                inputs += 1
                self.terms[node] = _Term(carry=1.0)
                continue
            if node.op == "output":
                term = self.terms.get(node.args[0])
                return self._as_link(term) if inputs == 1 else None
            value = self._value(node)
            if value is None:
                return None
            self.terms[node] = value
        return None

    def _as_link(self, term: Any) -> Link | None:
        if not isinstance(term, _Term) or term.linear is None:
            return None
        name = term.activation or "identity"
        return Link(term.linear, name, term.carry, term.scale, (self.module,))

    def _value(self, node: fx.Node) -> Any:
        """Give the value of a node: a term, a number, or None if it is anything else."""
        if node.kwargs:
            return None
        args = [self.terms.get(arg) if isinstance(arg, fx.Node) else arg for arg in node.args]
        if node.op == "get_attr":
            value = operator.attrgetter(str(node.target))(self.module)
            return float(value) if isinstance(value, (int, float)) else None
        if node.op == "call_module":
            return self._called(self.module.get_submodule(str(node.target)), args)
        if node.op == "call_method":
            name = {"relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid"}.get(str(node.target))
            return _activated(args[0], name) if name and len(args) == 1 else None
        if node.target in _FUNCTIONS and len(args) == 1:
            return _activated(args[0], _FUNCTIONS[node.target])
        if node.target in {operator.add, torch.add} and len(args) == 2:
            return _sum(*args)
        if node.target in {operator.mul, torch.mul} and len(args) == 2:
            return _product(*args)
        if node.target in {operator.truediv, torch.div} and len(args) == 2:
            return _product(args[0], 1 / args[1]) if isinstance(args[1], (int, float)) else None
        return None

    def _called(self, module: nn.Module, args: list[Any]) -> Any:
        if len(args) != 1:
            return None
        if type(module) is nn.Linear:
            plain = isinstance(args[0], _Term) and args[0] == _Term(carry=1.0)
            return _Term(0.0, 1.0, module) if plain else None
        name = _MODULES.get(type(module))
        return args[0] if name == "identity" else _activated(args[0], name)


def _activated(term: Any, name: str | None) -> Any:
    ready = isinstance(term, _Term) and term.linear is not None and term.activation is None
    if not ready or name is None or (term.carry, term.scale) != (0.0, 1.0):
        return None
    return _Term(0.0, 1.0, term.linear, name)


def _sum(a: Any, b: Any) -> Any:
    if not isinstance(a, _Term) or not isinstance(b, _Term):
        return None
    if a.linear is not None and b.linear is not None:
        return None
    main = a if a.linear is not None else b
    return _Term(a.carry + b.carry, main.scale, main.linear, main.activation)


def _product(a: Any, b: Any) -> Any:
    number, term = (a, b) if isinstance(a, (int, float)) else (b, a)
    if not isinstance(number, (int, float)) or not isinstance(term, _Term):
        return None
    return _Term(term.carry * number, term.scale * number, term.linear, term.activation)
