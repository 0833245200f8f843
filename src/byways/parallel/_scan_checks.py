"""What the doors of scans check, once."""

from __future__ import annotations

import cmath
from typing import TYPE_CHECKING

import numpy as np
import torch

from byways.parallel._strategies import STRATEGIES
from byways.parallel.elements import Dense, Diagonal, IdentityPlus, Scalar, Sparse, Structure

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "check_count",
    "check_finite",
    "check_outcome",
    "check_start",
    "check_strategy",
    "check_system",
    "check_tensor",
    "in_kernel_precision",
]

_HALF = (torch.float16, torch.bfloat16)


def check_count(name: str, value: int | None, takes: str = "a positive number, or None") -> int:
    """Refuse what is not positive and whole; give a number of Python's, which do not overflow."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f'"{name}" was {value!r}; it takes {takes}')
    return int(value)


def check_strategy(strategy: str, chunk: int | None) -> int | None:
    """Refuse an unknown strategy and a chunk that is not a number of steps; give the chunk."""
    if strategy != "auto" and strategy not in STRATEGIES:
        raise ValueError(f'"strategy" was {strategy!r}; it takes auto, {", ".join(STRATEGIES)}')
    if chunk is None:
        return None
    return check_count("chunk", chunk, "a positive number of steps, or None")


def check_tensor(value: object, name: str) -> None:
    """Refuse what is no tensor of floating-point numbers."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(f'"{name}" was of type {type(value).__name__}; it takes a torch.Tensor')
    if not (value.is_floating_point() or value.is_complex()):
        raise TypeError(
            f'"{name}" has dtype {value.dtype}; it takes a floating-point or complex tensor, for '
            "instance after .double()"
        )


def check_finite(value: Tensor, name: str, dim: int = 0) -> None:
    """Name the first step that is not finite."""
    # A sum is finite unless an entry is not, or it overflows; only then the entries are looked at.
    if bool(torch.isfinite(value.detach().sum())):
        return
    first = value.detach().movedim(dim, 0)
    bad = ~torch.isfinite(first.reshape(len(first), -1)).all(dim=1)
    if bool(bad.any()):
        step = int(bad.nonzero()[0, 0])
        raise ValueError(f'"{name}" is not finite; the first bad step is {step}')


def check_outcome(states: Tensor, A: Tensor | Structure, b: Tensor, dim: int, last: int) -> None:
    """Look for inputs that are not finite where the last state is not.

    What is not finite stays so: zero times it is NaN. So the inputs need no pass of their own.
    """
    if states.shape[dim] == 0 or isinstance(A, Structure):
        return
    final = states.detach().select(dim, last)
    total = final if final.numel() == 1 else final.sum()  # a call takes as long as 5 000 steps
    if not cmath.isfinite(total.item()):
        check_finite(b, "b", dim)
        check_finite(A if A.ndim else A[None], "A", dim if A.ndim >= b.ndim else 0)


def check_system(A: Tensor | Structure, b: Tensor, dim: int) -> Structure:
    """Turn the matrices into a structure that fits ``b``, steps first."""
    check_tensor(b, "b")
    if b.ndim == 0 or not -b.ndim <= dim < b.ndim:
        raise ValueError(
            f'"dim" was {dim!r} for "b" of shape {tuple(b.shape)}; it takes an axis of "b"'
        )
    if isinstance(A, Structure):
        check_finite(b, "b")
        return _check_structure(A, b, dim)
    check_tensor(A, "A")
    return _as_structure(A, b, dim % b.ndim)


def _check_structure(A: Structure, b: Tensor, dim: int) -> Structure:
    if dim % b.ndim != 0:
        raise ValueError(
            f'"dim" was {dim!r} for a {type(A).__name__}; a structure has its steps first, so it '
            "takes dim=0"
        )
    if len(A) != len(b):
        raise ValueError(f'"A" has {len(A)} steps and "b" has {len(b)}; they must be equal')
    size = b.shape[-1] if b.ndim > 1 else 1
    rows, columns = _matrix_shape(A)
    if not rows == columns == size:
        raise ValueError(
            f'"A" has {rows} x {columns} matrices for states of {size}, the last axis of "b" of '
            f"shape {tuple(b.shape)}; the matrices of a recurrence are square"
        )
    for tensor in A.tensors:
        check_finite(tensor, "A")
    return A


def _matrix_shape(A: Structure) -> tuple[int, int]:
    match A:
        case IdentityPlus(E=E):
            return _matrix_shape(E)
        case Sparse(pattern=pattern):
            return pattern.shape
        case Scalar(size=size):
            return size, size
        case Diagonal(d=d):
            return d.shape[-1], d.shape[-1]
    dense = A.at(slice(0, 1)).to_dense()
    return dense.shape[-2], dense.shape[-1]


def _as_structure(A: Tensor, b: Tensor, dim: int) -> Structure:
    shapes = f'"A" has shape {tuple(A.shape)} and "b" {tuple(b.shape)}'
    if A.ndim == b.ndim + 1:
        if A.shape[-1] != A.shape[-2] or A.shape[-1] != b.shape[-1] or dim == b.ndim - 1:
            raise ValueError(
                f'{shapes}: the last two axes of "A" must be square and fit the last axis of "b"'
            )
        pairs = zip(A.shape[:-2], b.shape[:-1], strict=True)
        if any(mine not in {1, theirs} for mine, theirs in pairs) or A.shape[dim] != b.shape[dim]:
            raise ValueError(f'{shapes}: all but the last axes must broadcast to those of "b"')
        return Dense(A.movedim(dim, 0))
    if A.ndim == 1 and b.ndim > 1 and len(A) == b.shape[dim]:
        A = A.reshape(-1, *(1,) * (b.ndim - 1)).movedim(0, dim)
    try:
        d = A.expand(b.shape)
    except RuntimeError as error:
        raise ValueError(
            f'{shapes}: factors must broadcast to "b"; matrices have one axis more than "b"'
        ) from error
    return Diagonal(d.movedim(dim, 0))


def check_start(x0: Tensor | None, b: Tensor, dim: int) -> Tensor:
    """Give the state before the first step in the shape of a state."""
    shape = list(b.shape)
    del shape[dim]
    if x0 is None:
        return b.new_zeros(shape)
    check_tensor(x0, "x0")
    try:
        start = x0.expand(shape)
    except RuntimeError as error:
        raise ValueError(
            f'"x0" has shape {tuple(x0.shape)}; a state has {tuple(shape)}, the shape of "b" '
            "without the steps"
        ) from error
    if not bool(torch.isfinite(start.detach()).all()):
        raise ValueError('"x0" is not finite')
    return start


def in_kernel_precision(*tensors: Tensor) -> list[Tensor]:
    """Bring tensors to their common type, and half precision to float32.

    A running sum of ones in half precision stops at 2048 (float16) or 256 (bfloat16).
    """
    common = tensors[0].dtype
    for tensor in tensors[1:]:
        common = torch.promote_types(common, tensor.dtype)
    if common in _HALF:
        common = torch.float32
    return [tensor if tensor.dtype == common else tensor.to(common) for tensor in tensors]
