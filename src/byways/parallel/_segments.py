"""A run of equal layers as one node of the graph.

Forward, the states come step by step from a compiled loop, and no graph is recorded. Backward, the
cotangents obey ``u_{l-1} = (a I + W_l^T diag(s_l)) u_l``, an affine recurrence, which the chosen
strategy solves; the gradients of all layers' weights are then one product over the stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from byways.parallel._chain_kernels import ACTIVATIONS, chain_backward, chain_forward
from byways.parallel._scan import solve_affine
from byways.parallel._scan_checks import in_kernel_precision
from byways.parallel.elements import Dense

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from byways.parallel._links import Link

__all__ = ["Segment"]

_DTYPES = (torch.float32, torch.float64)

# Lanes times width up to which the compiled loops beat a loop over torch's matrix products.
_COMPILED_WORK = 1024


class Segment(nn.Module):
    """Layers of one shape, computed together.

    Args:
        links: The layers, at least one; stacked ones are trained in the same parts.
        strategy: How the backward recurrence is solved: a strategy of ``scan``, or ``"auto"``.
        stacked: Hold all weights in one parameter instead of the layers' own.
    """

    def __init__(self, links: Sequence[Link], strategy: str, stacked: bool) -> None:
        super().__init__()
        first = links[0]
        self.activation, self.carry, self.scale = first.activation, first.carry, first.scale
        self.strategy, self.stacked, self.depth = strategy, stacked, len(links)
        layers = [link.linear for link in links]
        if stacked:
            self.weight = nn.Parameter(torch.stack([one.weight.detach() for one in layers]))
            self.weight.requires_grad_(layers[0].weight.requires_grad)
            width = layers[0].out_features
            empty = layers[0].weight.detach().new_zeros(width)
            biases = [empty if one.bias is None else one.bias.detach() for one in layers]
            self.bias = nn.Parameter(torch.stack(biases))
            bias = layers[0].bias
            self.bias.requires_grad_(bias is not None and bias.requires_grad)
            _share(layers, self.weight, self.bias)
        else:
            self.layers = nn.ModuleList(part for link in links for part in link.modules)
        self._linear = layers

    @property
    def scanned(self) -> bool:
        """Whether the backward pass is a scan, not a loop."""
        return self.strategy not in {"auto", "sequential"}

    def extra_repr(self) -> str:
        """Say what the run computes."""
        return (
            f"depth={self.depth}, activation={self.activation}, carry={self.carry}, "
            f"scale={self.scale:.4g}, strategy={self.strategy}, stacked={self.stacked}"
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the last state from ``(*lanes, width)``."""
        lanes = x.reshape(-1, x.shape[-1])
        if self.stacked:
            weights: tuple[Tensor, ...] = (self.weight, self.bias)
        else:
            if self.strategy == "auto" and not _compiled(lanes):
                for layer in self.layers:  # as fast as anything else that leaves the weights apart
                    x = layer(x)
                return x
            biases = [one.bias for one in self._linear if one.bias is not None]
            weights = (*(one.weight for one in self._linear), *biases)
        out: Tensor = _Chain.apply(self, lanes, *weights)
        return out.reshape(x.shape)

    def unstack(self, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Give the stacks of weights and biases; a layer without bias has zeros."""
        if self.stacked:
            return weights[0], weights[1]
        W = torch.stack(list(weights[: self.depth]))
        rest = iter(weights[self.depth :])
        empty = W.new_zeros(W.shape[-1])
        biases = [empty if one.bias is None else next(rest) for one in self._linear]
        return W, torch.stack(biases)

    def gradients(self, dW: Tensor, db: Tensor) -> tuple[Tensor, ...]:
        """Give the gradients in the order of the weights."""
        if self.stacked:
            return dW, db
        kept = [i for i, one in enumerate(self._linear) if one.bias is not None]
        parts = db.unbind()
        return (*dW.unbind(), *(parts[i] for i in kept))


def _share(layers: Sequence[nn.Linear], weight: Tensor, bias: Tensor) -> None:
    """Let the layers' own parameters read from the stack, so that the model stays current."""
    for i, layer in enumerate(layers):
        layer.weight.data = weight.data[i]
        if layer.bias is not None:
            layer.bias.data = bias.data[i]


def _array(tensor: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.detach().contiguous().numpy()
    return array


class _Chain(torch.autograd.Function):
    """The states of a run of layers, and their derivatives."""

    @staticmethod
    def forward(ctx: Any, run: Segment, x: Tensor, *weights: Tensor) -> Tensor:
        W, b = run.unstack(weights)
        h, kept = _states(run, W, b, x)
        ctx.run = run
        ctx.save_for_backward(x, h, kept, W)
        return h[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a chain under parallel_backward has first derivatives only; a backward pass "
                "through it cannot take create_graph=True"
            )
        run: Segment = ctx.run
        x, h, kept, W = ctx.saved_tensors
        if run.scanned:
            u, dW, db = _by_scan(run, W, x, h, kept, grads[0])
        elif _compiled(x):
            u, dW, db = grads[0].clone().contiguous(), torch.empty_like(W), W.new_empty(W.shape[:2])
            local, carry = kept.clone(), _typed(run.carry, x)
            parts = _array(W), _array(x), _array(h), _array(local)
            chain_backward(*parts, carry, _array(u), _array(dW), _array(db))
        else:
            u, dW, db = _by_products(run, W, x, h, kept, grads[0])
        return (None, u, *run.gradients(dW, db))


def _compiled(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in _DTYPES and x.numel() <= _COMPILED_WORK


def _typed(value: float, like: Tensor) -> Any:
    """Give a number of the tensor's precision, so that a kernel computes in no other."""
    return like.new_tensor(value).numpy()[()]


def _states(run: Segment, W: Tensor, b: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute all states, and what the backward pass needs of the activations.

    These are the slopes, or the activations' values for the loop over products.
    """
    shape = (run.depth, *x.shape)
    h = x.new_empty(shape)
    if _compiled(x):
        slope, factors = torch.empty_like(h), (_typed(run.carry, x), _typed(run.scale, x))
        kind = ACTIVATIONS[run.activation]
        chain_forward(_array(W.mT), _array(b), _array(x), *factors, kind, h.numpy(), slope.numpy())
        return h, slope
    plain = run.carry == 0.0 and run.scale == 1.0
    y = h if plain else torch.empty_like(h)
    activate = _ACTIVATE[run.activation]
    for layer in range(run.depth):
        torch.addmm(b[layer], x, W[layer].T, out=y[layer])
        activate(y[layer])
        x = y[layer] if plain else torch.add(x * run.carry, y[layer], alpha=run.scale, out=h[layer])
    return h, _SLOPES[run.activation](y) * run.scale if run.scanned else y


def _by_products(
    run: Segment, W: Tensor, x: Tensor, h: Tensor, y: Tensor, g: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Go back layer by layer with torch's products; what a layer needs stays in the cache."""
    dW, db = torch.empty_like(W), W.new_empty(W.shape[:2])
    local, u, spare = (
        torch.empty_like(x),
        g.contiguous(),
        (torch.empty_like(x), g.new_empty(x.shape)),
    )
    pull = _PULLS[run.activation]
    for layer in range(run.depth - 1, -1, -1):
        pull(u, y[layer], local)
        if run.scale != 1.0:
            local.mul_(run.scale)
        torch.mm(local.T, h[layer - 1] if layer else x, out=dW[layer])
        torch.sum(local, 0, out=db[layer])
        u = torch.addmm(u, local, W[layer], beta=run.carry, out=spare[layer % 2])
    return u, dW, db


def _by_scan(
    run: Segment, W: Tensor, x: Tensor, h: Tensor, slope: Tensor, g: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Solve for the cotangents of all layers at once, and get all weights' from one product."""
    dtype = g.dtype
    W, x, h, slope, g = in_kernel_precision(W, x, h, slope, g)
    # Transposed Jacobians (a I + diag(s) W)^T; the last state's cotangent is the start.
    A = W.mT[:, None] * slope[..., None, :]
    if run.carry:
        A = A + run.carry * torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    nothing = torch.zeros_like(slope)
    u_LBW = solve_affine(Dense(A), nothing, g, reverse=True, strategy=run.strategy)
    local = slope * torch.cat([u_LBW[1:], g[None]])
    before = torch.cat([x[None], h[:-1]])
    return u_LBW[0].to(dtype), (local.mT @ before).to(dtype), local.sum(dim=1).to(dtype)


_ACTIVATE = {
    "identity": lambda z: z,
    "relu": torch.relu_,
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
}
# Slopes and products with them, from the values of the activations; ReLU at zero has slope zero.
_SLOPES = {
    "identity": torch.ones_like,
    "relu": lambda y: (y > 0).to(y.dtype),
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
}
_PULLS = {
    "identity": lambda u, _, out: out.copy_(u),
    "relu": lambda u, y, out: torch.mul(u, y > 0, out=out),
    "tanh": lambda u, y, out: torch.addcmul(u, torch.mul(u, y, out=out), y, value=-1, out=out),
    "sigmoid": lambda u, y, out: torch.addcmul(torch.mul(u, y, out=out), out, y, value=-1, out=out),
}
