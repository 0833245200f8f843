"""A compiled network as a PyTorch module; the one file of the pass that needs torch."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from byways.sparse_inference._compile import CompiledNetwork, Explanation
    from byways.sparse_inference._segments import Segments

__all__ = ["CompiledModule"]


class CompiledModule(torch.nn.Module):
    """What ``compile_network`` makes of a ``torch.nn.Module``: the same outputs, for inference.

    The weights are a copy, of the time of the call. Inputs of shape ``(batch, ...)`` on the CPU,
    outputs of the model's shape in the dtype of the input.
    """

    def __init__(
        self, network: CompiledNetwork | Segments, dtype: str, shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self._network = network
        self._dtype = dtype
        self._shape = shape  # of one output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network.

        Raises:
            RuntimeError: If the input wants a gradient or lies on another device.

        Warns:
            UserWarning: If the input has 16 bits: values between the layers have more.
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
        given = x.detach()
        if x.dtype in (torch.float16, torch.bfloat16):
            message = (
                f"the input is {x.dtype}; the network computes in {self._dtype} and rounds the "
                "result"
            )
            warnings.warn(message, UserWarning, stacklevel=4)  # past torch's own calls
            given = given.float()
        rows = given.flatten(1).numpy() if x.dim() > 1 else given[None].numpy()
        values = torch.from_numpy(self._network(rows)).to(x.dtype)
        values = values.reshape(len(values), *self._shape)
        return values if x.dim() > 1 else values[0]

    def explain(self) -> Explanation | tuple[Explanation, ...]:
        """Say which kernel runs which order, on how much memory; for each segment if there are."""
        return self._network.explain()
