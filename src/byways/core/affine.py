"""Affine maps: ``f(x) = W x + b``, composed with ``then``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Affine"]


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """An affine map, or a batch of them.

    Only ``@``, ``+`` and indexing are used, so NumPy arrays, torch tensors and autograd all pass
    through.

    Args:
        weight: Matrix ``W``, shape ``(..., m, n)``.
        bias: Vector ``b``, shape ``(..., m)``.

    Example:
        >>> double = Affine(np.array([[2.0]]), np.array([0.0]))
        >>> shift = Affine(np.array([[1.0]]), np.array([3.0]))
        >>> double.then(shift)(np.array([5.0]))  # shift after double
        array([13.])
    """

    weight: Any
    bias: Any

    @classmethod
    def identity(cls, n: int, like: Any = None) -> Affine:
        """Give the identity on ``n`` coordinates, in the array type and dtype of ``like``."""
        if like is None or isinstance(like, np.ndarray):
            dtype = np.float64 if like is None else like.dtype
            return cls(np.eye(n, dtype=dtype), np.zeros(n, dtype=dtype))
        eye = like.new_zeros((n, n))
        eye.fill_diagonal_(1)
        return cls(eye, like.new_zeros((n,)))

    def __call__(self, x: Any) -> Any:
        """Map points of shape ``(..., n)`` to ``(..., m)``."""
        return (self.weight @ x[..., None])[..., 0] + self.bias

    def then(self, after: Affine) -> Affine:
        """Compose: ``f.then(g)(x) == g(f(x))``. Associative, not commutative; batches broadcast."""
        bias = (after.weight @ self.bias[..., None])[..., 0] + after.bias
        return Affine(after.weight @ self.weight, bias)
