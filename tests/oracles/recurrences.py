"""Recurrences step by step: loops that nobody can get wrong, in plain torch and plain Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def loop(
    apply: Callable[[int, Tensor], Tensor], b: Tensor, start: Tensor, *, reverse: bool = False
) -> Tensor:
    """States of ``h_t = A_t h_{t-1} + b_t`` with time first; ``apply(t, h)`` is ``A_t h``."""
    steps = range(len(b))
    states: dict[int, Tensor] = {}
    h = start
    for t in reversed(steps) if reverse else steps:
        h = apply(t, h) + b[t]
        states[t] = h
    return torch.stack([states[t] for t in steps]) if states else b


def prefixes(combine: Callable[[Any, Any], Any], items: Sequence[Any]) -> list[Any]:
    """All prefix combinations, left to right; ``combine(earlier, later)``."""
    found: list[Any] = []
    for item in items:
        found.append(combine(found[-1], item) if found else item)
    return found


def nonlinear(
    f: Callable[[Any, Tensor], Tensor], inputs: Sequence[Any], start: Tensor
) -> list[Tensor]:
    """States of ``h_t = f(x_t, h_{t-1})``."""
    states = []
    h = start
    for x in inputs:
        h = f(x, h)
        states.append(h)
    return states


def fibonacci(n: int) -> int:
    """The n-th Fibonacci number, by addition of integers."""
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def inclusive_combines(n: int) -> int:
    """Combinations that the odd-even scan needs, by its recursion: n - 1 + ops(n // 2)."""
    return 0 if n <= 1 else n - 1 + inclusive_combines(n // 2)


def doubling_combines(n: int) -> int:
    """Combinations that recursive doubling needs, counted one by one."""
    count, distance = 0, 1
    while distance < n:
        count += sum(1 for t in range(n) if t >= distance)
        distance *= 2
    return count
