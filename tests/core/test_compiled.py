"""Tests of how kernels are compiled."""

from __future__ import annotations

import os
import subprocess
import sys
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


def test_kernels_may_stay_python_for_a_debugger() -> None:
    program = (
        "from byways.core.compiled import compiled\n"
        "def f(x): return x + 1\n"
        "assert compiled(f) is f and f(1) == 2\n"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
