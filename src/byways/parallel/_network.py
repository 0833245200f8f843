"""BPPSA on any sequential network: one transposed Jacobian for each layer, one scan for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from byways.parallel._bppsa import exclusive_scan
from byways.parallel._layer_jacobians import transposed_jacobian

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

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
        for layer in self.layers:
            _refuse_impure(layer)
        out: Tensor = _Scanned.apply(self, x, *self.parameters())
        return out


def _refuse_impure(layer: nn.Module) -> None:
    batch_norm = isinstance(layer, nn.modules.batchnorm._BatchNorm)
    dropout = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0.0
    if layer.training and (batch_norm or dropout):
        raise ValueError(
            f"{type(layer).__name__} in training mode is random or mixes samples, and the backward "
            "pass evaluates it again; call .eval() on it or take it out"
        )


class _Scanned(torch.autograd.Function):
    """The network as one node; it saves the input of every layer."""

    @staticmethod
    def forward(ctx: Any, network: ScannedNetwork, x: Tensor, *parameters: Tensor) -> Tensor:
        inputs = [x.detach()]
        for layer in network.layers:
            # A layer that works in place must not reach the saved input.
            inputs.append(layer(inputs[-1].clone()))
        ctx.network = network
        ctx.save_for_backward(*inputs)
        return inputs[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a network under parallel_backward has first derivatives only; a backward pass "
                "through it cannot take create_graph=True"
            )
        network: ScannedNetwork = ctx.network
        inputs = list(ctx.saved_tensors)
        layers = list(network.layers)
        jacobians = [
            transposed_jacobian(layer, x, y)
            for layer, x, y in zip(layers, inputs[:-1], inputs[1:], strict=True)
        ]
        # A layer that only changes the shape is no link: it hands its cotangent on as it is.
        links = [one for one in reversed(jacobians) if one is not None]
        first = grads[0].flatten(1)[None]
        found = exclusive_scan(first, links, _multiply, max_tree_levels=network.max_tree_levels)
        found = [*found, links[-1].apply(found[-1])] if links else [first]
        gradients: dict[int, Tensor] = {}
        place = 0
        for layer, x, y, jacobian in reversed(
            list(zip(layers, inputs[:-1], inputs[1:], jacobians, strict=True))
        ):
            _collect(layer, x, found[place].reshape(y.shape), gradients)
            place += jacobian is not None
        parameters = [gradients.get(id(one)) for one in network.parameters()]
        return (None, found[-1].reshape(inputs[0].shape), *parameters)


def _multiply(later: Any, earlier: Any) -> Any:
    return later.apply(earlier) if isinstance(earlier, torch.Tensor) else later.after(earlier)


def _collect(layer: nn.Module, x: Tensor, cotangent: Tensor, gradients: dict[int, Tensor]) -> None:
    """Add the gradients of a layer's own parameters: one backward pass through it alone."""
    wanted = [one for one in layer.parameters() if one.requires_grad]
    if not wanted:
        return
    with torch.enable_grad():
        y = layer(x)
    for one, grad in zip(wanted, torch.autograd.grad(y, wanted, cotangent), strict=True):
        gradients[id(one)] = gradients[id(one)] + grad if id(one) in gradients else grad
