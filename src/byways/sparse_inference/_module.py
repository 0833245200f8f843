"""A compiled network as a PyTorch module; the one file of the pass that needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from byways.sparse_inference._compile import CompiledNetwork, Explanation

__all__ = ["CompiledModule"]


class CompiledModule(torch.nn.Module):
    """What ``compile_network`` makes of a ``torch.nn.Module``: the same outputs, for inference.

    The weights are a copy, of the time of the call. Inputs of shape ``(batch, ...)`` on the CPU,
    outputs of shape ``(batch, outputs)`` in the dtype of the input.
    """

    def __init__(self, network: CompiledNetwork) -> None:
        super().__init__()
        self._network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network.

        Raises:
            RuntimeError: If the input wants a gradient or lies on another device.
        """
        if x.requires_grad and torch.is_grad_enabled():
            raise RuntimeError(
                "the input requires a gradient, which a compiled network does not give; call it "
                "under torch.no_grad(), or use the model it was compiled from"
            )
        if x.device.type != "cpu":
            raise RuntimeError(
                f"the input is on {x.device}; a compiled network runs on the CPU: pass x.cpu()"
            )
        rows = x.detach().flatten(1).numpy() if x.dim() > 1 else x.detach()[None].numpy()
        values = torch.from_numpy(self._network(rows)).to(x.dtype)
        return values if x.dim() > 1 else values[0]

    def explain(self) -> Explanation:
        """Say which kernel runs which order, on how much memory."""
        return self._network.explain()
