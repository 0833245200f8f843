"""``parallel_backward``: a model whose backward pass is solved as a recurrence."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from torch import nn

from byways.parallel._links import Link, flattened, read_links
from byways.parallel._network import ScannedNetwork
from byways.parallel._recurrent import GRU, LSTM, RNN
from byways.parallel._scan_checks import check_strategy
from byways.parallel._segments import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["ParallelBackward", "parallel_backward"]

_RECURRENT: dict[type[nn.Module], Any] = {nn.RNN: RNN, nn.GRU: GRU, nn.LSTM: LSTM}


class ParallelBackward(nn.Module):
    """A sequential model whose runs of equal layers are computed together.

    Made by :func:`parallel_backward`.

    Attributes:
        parts: Segments, and the layers that belong to none, in order.
    """

    def __init__(self, model: nn.Module, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        # Not a submodule: its parameters are those of the parts already.
        self._model = (model,)

    @property
    def model(self) -> nn.Module:
        """The model that was given, with current weights, for saving or for anything else."""
        return self._model[0]

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the model computes."""
        for part in self.parts:
            x = part(x)
        return x


def parallel_backward(
    model: nn.Module,
    *,
    strategy: str = "auto",
    stacked: bool = False,
    max_tree_levels: int | None = None,
) -> nn.Module:
    """Give a module that computes what ``model`` does, with a parallel backward pass.

    Runs of equal layers ``h -> a h + s g(W h + b)``, plain or residual, become one node of the
    graph each: the forward pass keeps their states, the backward pass solves one affine recurrence
    for all cotangents and gets all weight gradients from one product. What is no such layer is
    called as before. Gradients go to the parameters of ``model``; of first order only.

    Args:
        model: An ``nn.Sequential`` of linear layers and activations (ReLU, tanh, sigmoid), and of
            modules of your own that add such a layer to their input, scaled or not. A model without
            any run of two such layers is refused. An ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM`` becomes
            this package's drop-in for it, on the same parameters; there the chain are the steps.
        strategy: How the recurrence is solved: ``"sequential"``, ``"blelloch"`` (BPPSA),
            ``"pcr"`` (DeepPCR), ``"chunked"``, or ``"auto"``: step by step in a compiled loop,
            which wins on a CPU for every width. A scan composes matrices, ``w`` times the work, and
            wants about ``2 w`` processors. ``"bppsa"`` is the published algorithm on *any*
            sequential network: each layer's transposed Jacobian, sparse for convolutions, pools,
            activations and pruned weights, and one scan over all layers. It is for measuring and
            for machines with many processors; on a CPU it is slower than torch.
        stacked: Hold the weights of a run in one parameter, which makes optimiser and graph
            independent of the depth. The layers of ``model`` then read from it; make the optimiser
            from the parameters of the result. A run ends where another part of a layer is frozen.
        max_tree_levels: With ``"bppsa"`` on a sequential network, levels of the tree; all if None.

    Returns:
        The module. ``.model`` gives the given one.

    Raises:
        TypeError: If ``model`` is not a module.
        ValueError: If the strategy is unknown, nothing in the model is a run of layers, layers that
            share a weight shall be ``stacked``, or a recurrent module shall be ``stacked`` or have
            ``max_tree_levels``.

    References:
        Wang, Bai and Pekhimenko (2020), BPPSA. Danieli et al. (2023), DeepPCR.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> layers = [m for _ in range(100) for m in (nn.Linear(4, 4), nn.Tanh())]
        >>> net = nn.Sequential(*layers)
        >>> fast, x = parallel_backward(net), torch.randn(3, 4)
        >>> torch.allclose(fast(x), net(x))
        True
        >>> fast.parts[0].depth
        100
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f'"model" was of type {type(model).__name__}; it takes a torch.nn.Module')
    if type(model) in _RECURRENT:
        return _recurrent(model, strategy, stacked=stacked, max_tree_levels=max_tree_levels)
    if strategy == "bppsa":
        return ParallelBackward(model, [ScannedNetwork(flattened(model), max_tree_levels)])
    check_strategy(strategy, None)
    parts: list[nn.Module] = []
    layers = flattened(model)
    if stacked:
        _refuse_shared(layers)
    for kind, group in groupby(read_links(layers), key=lambda part: _kind(part, stacked)):
        members: list[Any] = list(group)
        if kind is None or len(members) < 2:
            for one in members:
                parts += one.modules if isinstance(one, Link) else [one]
        else:
            parts.append(Segment(members, strategy, stacked))
    if not any(isinstance(part, Segment) for part in parts):
        raise ValueError(
            f'"model" ({type(model).__name__}) has no run of two or more equal layers '
            "h -> a h + s g(W h + b) with ReLU, tanh, sigmoid or no activation; there is nothing "
            "to solve together"
        )
    return ParallelBackward(model, parts)


def _recurrent(
    model: Any, strategy: str, *, stacked: bool, max_tree_levels: int | None
) -> nn.Module:
    """Give the drop-in of a recurrent module, on the module's own parameters."""
    if stacked or max_tree_levels is not None:
        raise ValueError(
            f'"stacked" was {stacked!r} and "max_tree_levels" {max_tree_levels!r} for a '
            f"{type(model).__name__}; its steps share their weights and its scan goes to the end, "
            "so leave both out"
        )
    strategy = "blelloch" if strategy == "bppsa" else strategy
    check_strategy(strategy, None)
    drop_in: nn.Module = _RECURRENT[type(model)].from_torch(model, strategy=strategy)
    for name, parameter in model.named_parameters():
        setattr(drop_in, name, parameter)
    return drop_in


def _kind(part: Link | nn.Module, stacked: bool) -> tuple[Any, ...] | None:
    if not isinstance(part, Link):
        return None
    return (*part.kind, *part.trained) if stacked else part.kind


def _refuse_shared(layers: Sequence[nn.Module]) -> None:
    """Refuse layers that share a weight: stacked, each would go its own way."""
    weights = [id(one) for layer in layers for one in layer.parameters()]
    if len(set(weights)) < len(weights):
        raise ValueError(
            '"stacked" was True and a weight stands in the model more than once; it would become '
            "several, so leave the layers unstacked"
        )
