"""Tests of how kernels are compiled."""

from __future__ import annotations

from typing import Any

from numba import float64, types

from byways.core.compiled import compiled


def test_a_constant_does_not_compile_a_kernel_once_more() -> None:
    @compiled
    def scaled(value: float, factor: int) -> float:
        return value * factor

    kernel: Any = scaled
    for constant in (2, 3):
        kernel.get_call_template((float64, types.literal(constant)), {})
    kernel.get_call_template((float64,), {"factor": types.literal(4)})
    assert kernel.signatures == [(float64, types.int64)]
