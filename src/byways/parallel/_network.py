"""BPPSA on any sequential network: one transposed Jacobian for each layer, one scan for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from byways.parallel._bppsa import exclusive_scan
from byways.parallel._layer_jacobians import transposed_jacobian
from byways.parallel._purity import agree, hides_a_leaf, refuse_random, refuse_replaced
from byways.parallel._scan_checks import in_kernel_precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from byways.parallel.elements import Structure

__all__ = ["ScannedNetwork"]


class ScannedNetwork(nn.Module):
    """A sequential network whose cotangents come from one scan over its layers.

    Args:
        layers: The layers, in order.
        max_tree_levels: Levels of the tree; all if None.
    """

    def __init__(self, layers: Sequence[nn.Module], max_tree_levels: int | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.max_tree_levels = max_tree_levels

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the layers compute."""
        refuse_random(self.layers, "model")
        if x.ndim == 1:
            return self.forward(x[None])[0]
        out: Tensor = _Scanned.apply(self, x, *self.parameters())
        return out


class _Scanned(torch.autograd.Function):
    """The network as one node; it saves the input of every layer."""

    @staticmethod
    def forward(ctx: Any, network: ScannedNetwork, x: Tensor, *parameters: Tensor) -> Tensor:
        inputs = [x.detach()]
        for layer in network.layers:
            # A layer that works in place must not reach the saved input.
            inputs.append(layer(inputs[-1].clone()))
        ctx.network = network
        ctx.save_for_backward(*inputs, *parameters)
        return inputs[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a network under parallel_backward has first derivatives only; a backward pass "
                "through it cannot take create_graph=True"
            )
        network: ScannedNetwork = ctx.network
        layers, saved = list(network.layers), list(ctx.saved_tensors)
        inputs, weights = saved[: len(layers) + 1], saved[len(layers) + 1 :]
        refuse_replaced(network, weights)
        jacobians = [
            transposed_jacobian(layer, x, y)
            for layer, x, y in zip(layers, inputs[:-1], inputs[1:], strict=True)
        ]
        # A layer that only changes the shape is no link: it hands its cotangent on as it is.
        links = [_wide(one) for one in reversed(jacobians) if one is not None]
        (first,) = in_kernel_precision(grads[0].flatten(1)[None])
        found = exclusive_scan(first, links, _multiply, max_tree_levels=network.max_tree_levels)
        found = [*found, links[-1].apply(found[-1])] if links else [first]
        gradients: dict[int, Tensor] = {}
        place = 0
        for layer, x, y, jacobian in reversed(
            list(zip(layers, inputs[:-1], inputs[1:], jacobians, strict=True))
        ):
            _collect(layer, x, y, found[place].reshape(y.shape).to(y.dtype), gradients)
            place += jacobian is not None
        parameters = [gradients.get(id(one)) for one in network.parameters()]
        return (None, found[-1].reshape(inputs[0].shape).to(inputs[0].dtype), *parameters)


def _wide(one: Structure) -> Structure:
    return one.like(*in_kernel_precision(*one.tensors))


def _multiply(later: Any, earlier: Any) -> Any:
    return later.apply(earlier) if isinstance(earlier, torch.Tensor) else later.after(earlier)


def _collect(
    layer: nn.Module, x: Tensor, y: Tensor, cotangent: Tensor, gradients: dict[int, Tensor]
) -> None:
    """Add the gradients of a layer's own parameters: one backward pass through it alone."""
    wanted = [one for one in layer.parameters() if one.requires_grad]
    if type(layer).__module__.startswith("torch.nn.") and not wanted:
        return
    with torch.enable_grad():
        again = layer(x.clone())
    if hides_a_leaf([again], wanted) or not agree([again], [y]):
        raise ValueError(
            f"{type(layer).__name__} gave another value than in the forward pass, or uses a tensor "
            "with gradient that is no parameter of its own; its backward pass needs a pure layer"
        )
    if not wanted:
        return
    found = torch.autograd.grad(again, wanted, cotangent, allow_unused=True)
    for one, grad in zip(wanted, found, strict=True):
        if grad is not None:
            gradients[id(one)] = gradients[id(one)] + grad if id(one) in gradients else grad
