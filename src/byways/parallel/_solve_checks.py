"""What the door of ``solve_recurrence`` checks, and what it chooses, before any call of ``f``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from byways.parallel._jacobians import JACOBIANS
from byways.parallel._scan_checks import (
    check_count,
    check_finite,
    check_tensor,
    in_kernel_precision,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["check_memory", "check_problem", "method_and_matrices", "round_limit", "widened"]

# Method -> the matrices it uses if "jacobian" is "auto".
_METHODS = {
    "newton": "dense",
    "quasi": "main-diag",
    "picard": "identity",
    "jacobi": "zero",
    "shooting": "zero",
    "sequential": "zero",
}
_ON_FAILURE = ("fallback", "raise", "return")


def check_problem(
    f: Any, x: Any, h0: Tensor, params: Any, method: str, on_failure: str, damping: float
) -> tuple[list[Tensor], Any]:
    """Check what can be checked without calling ``f``; give the leaves of ``x`` and their tree."""
    if not callable(f):
        raise TypeError(f'"f" was {f!r}; it takes a function (x_t, h) -> h or a module')
    if method != "auto" and method not in _METHODS:
        raise ValueError(f'"method" was {method!r}; it takes auto, {", ".join(_METHODS)}')
    if on_failure not in _ON_FAILURE:
        raise ValueError(f'"on_failure" was {on_failure!r}; it takes {", ".join(_ON_FAILURE)}')
    if not 0.0 <= damping < 1.0:
        raise ValueError(f'"damping" was {damping!r}; it takes a number from 0 to below 1')
    check_tensor(h0, "h0")
    if h0.is_complex() or h0.ndim == 0:
        raise TypeError(
            f'"h0" has dtype {h0.dtype} and {h0.ndim} axes; it takes a real state with at least one'
        )
    check_finite(h0[None], "h0")
    leaves, tree = pytree.tree_flatten(x)
    if not leaves or not all(isinstance(leaf, torch.Tensor) and leaf.ndim for leaf in leaves):
        raise TypeError('"x" must be a tensor or a pytree of tensors, each with the steps first')
    if len({len(leaf) for leaf in leaves}) > 1:
        raise ValueError(
            f'"x" has leaves of {[len(leaf) for leaf in leaves]} steps; give equal ones'
        )
    for leaf in leaves:
        if leaf.is_floating_point():
            check_finite(leaf, "x")
    for tensor in params:
        check_tensor(tensor, "params")
    return leaves, tree


def widened(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Bring half precision to float32, and leave whole numbers as they are."""
    return [in_kernel_precision(one)[0] if one.is_floating_point() else one for one in tensors]


def method_and_matrices(method: str, jacobian: Any, h0: Tensor) -> tuple[str, Any]:
    """Give the method and the kind of its matrices."""
    if method == "auto":
        method = "sequential" if h0.device.type == "cpu" else "newton"
    kind = _METHODS[method] if jacobian == "auto" else jacobian
    if not callable(kind) and kind not in {*JACOBIANS, "probe"}:
        raise ValueError(
            f'"jacobian" was {jacobian!r}; it takes auto, dense, diag, main-diag, probe, or a '
            "function that gives a structure"
        )
    return method, kind


def check_memory(steps: int, start: Tensor, kind: Any, method: str, max_bytes: int | None) -> None:
    if max_bytes is None or method in {"sequential", "shooting"} or callable(kind):
        return
    wide = start.shape[-1] if kind in {"dense", "main-diag"} else 1
    needed = 3 * steps * start.numel() * wide * start.element_size()
    if needed > max_bytes:
        raise MemoryError(
            f"the Jacobians need about 3 T B n{'²' if wide > 1 else ''} s = {needed:,} bytes, more "
            f'than "max_bytes" = {max_bytes:,}; method="quasi" with jacobian="probe" needs n times '
            'less than dense ones, method="sequential" nothing'
        )


def round_limit(max_steps: int | None, method: str, steps: int) -> int:
    if max_steps is None:
        return steps if method in {"jacobi", "picard"} else min(steps, 100)
    return check_count("max_steps", max_steps)
