"""Checks at the doors of the recurrent modules."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor

__all__ = ["checked_lengths", "checked_strategy", "refuse_non_finite"]


def checked_strategy(strategy: str, allowed: Sequence[str]) -> str:
    """Give the strategy back if there is one of that name."""
    if strategy not in allowed:
        names = ", ".join(map(repr, allowed))
        raise ValueError(f'"strategy" is {strategy!r}; choose one of {names}')
    return strategy


def checked_lengths(lengths: object, steps: int, sequences: int, device: torch.device) -> Tensor:
    """Give the lengths as an int64 tensor of shape ``(B,)``."""
    given = torch.as_tensor(lengths)
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise TypeError(f'"lengths" has dtype {given.dtype}; give whole numbers of steps')
    if given.shape != (sequences,):
        raise ValueError(
            f'"lengths" has shape {tuple(given.shape)}; give one for each of the '
            f"{sequences} sequences, shape {(sequences,)}"
        )
    wrong = torch.nonzero((given < 0) | (given > steps)).flatten()
    if len(wrong):
        at = int(wrong[0])
        raise ValueError(
            f'"lengths" has {int(given[at])} at index {at}; each must lie between 0 and the '
            f"{steps} steps of the input"
        )
    return given.to(device=device, dtype=torch.int64)


def refuse_non_finite(name: str, x_TB: Tensor) -> None:
    """Raise where the input, time first, has NaN or infinity."""
    # A finite sum rules both out and reads the input once; an overflowing sum needs a look.
    x_TB = x_TB.detach()
    if isfinite(x_TB.sum().item()):
        return
    bad = ~torch.isfinite(x_TB)
    if bool(bad.any()):
        first = int(torch.nonzero(bad.flatten(1).any(1))[0])
        raise ValueError(
            f'"{name}" has {int(bad.sum())} values that are not finite, the first at time step '
            f"{first}; remove or replace them before the call"
        )
