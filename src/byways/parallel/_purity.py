"""What may not stand in a chain whose steps are evaluated more than once, or side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

__all__ = ["agree", "hides_a_leaf", "refuse_random", "refuse_replaced"]


def refuse_random(module: nn.Module, name: str) -> None:
    """Refuse parts that are random, mix samples or change from call to call."""
    for path, part in module.named_modules():
        random = isinstance(part, _DropoutNd) and part.p > 0
        random = random or (isinstance(part, nn.RNNBase) and part.dropout > 0)
        if part.training and (random or isinstance(part, _BatchNorm)):
            where = repr(path) if path else "its root"
            raise ValueError(
                f'"{name}" has {type(part).__name__} in training mode at {where}; a step is '
                "evaluated more than once and must give the same each time: put it outside or "
                "call .eval() on it"
            )


def agree(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Tell whether two evaluations of one step are the same to rounding."""
    return all(
        torch.allclose(a, b, rtol=size, atol=size, equal_nan=True)
        for a, b in zip(found, expected, strict=True)
        for size in [float(torch.finfo(b.dtype).eps) ** 0.5]
    )


def hides_a_leaf(outputs: Sequence[Tensor], known: Iterable[Tensor]) -> bool:
    """Tell whether outputs depend on a tensor with gradient that is none of those known.

    Its gradient would be lost without a word, since derivatives are asked for by name.
    """
    known = list(known)
    names = {id(one) for one in known}
    if any(one.is_leaf and one.requires_grad and id(one) not in names for one in outputs):
        return True
    todo = [one.grad_fn for one in outputs]
    seen = {one.grad_fn for one in known}  # what a known tensor was made from is its own affair
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)  # that of a node which collects a gradient
        if leaf is not None and id(leaf) not in names:
            return True
        todo += [before for before, _ in node.next_functions]
    return False


def refuse_replaced(module: nn.Module, saved: Sequence[Tensor]) -> None:
    """Refuse a backward pass with other parameters than those of the forward pass."""
    places = [one.data_ptr() for one in module.parameters()]
    if places != [one.data_ptr() for one in saved]:
        raise RuntimeError(
            f"the parameters of {type(module).__name__} were replaced between the forward and the "
            "backward pass, which evaluates it again; take the gradient inside of "
            "torch.func.functional_call, or pass weights as arguments"
        )
