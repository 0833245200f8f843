"""The matrices of a recurrence, one class for each structure that is worth knowing.

An element is an affine map ``x -> A x + b``; later after earlier is ``(A2 A1, A2 b1 + b2)``. A
class here holds the ``A`` of every step. Its step tensors have the steps first, then any lanes (a
batch), then the matrix; lanes may have size 1 and broadcast.

| structure | matrix of a step | product with its own kind |
| --- | --- | --- |
| `Scalar` | ``a I`` | scalar |
| `Diagonal` | ``diag(d)`` | diagonal |
| `BlockDiagonal` | equal square blocks | block-diagonal |
| `Dense` | any, rectangular too | dense |
| `Sparse` | values on a known pattern | sparse, with fill-in |
| `SharedDiagonal` | ``diag(d) W``, the same ``W`` at all steps | dense |
| `IdentityPlus` | ``I + E`` | identity plus |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import torch

from byways.parallel._patterns import Pattern

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "BlockDiagonal",
    "Dense",
    "Diagonal",
    "IdentityPlus",
    "Pattern",
    "Scalar",
    "SharedDiagonal",
    "Sparse",
    "Structure",
]


class Structure(ABC):
    """Matrices ``A_1 .. A_T`` of one structure."""

    @property
    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that define the matrices; gradients go to these."""

    @abstractmethod
    def like(self, *tensors: Tensor) -> Self:
        """Give the same structure with other tensors."""

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """Multiply vectors ``(T, *lanes, n)``, each by the matrix of its step."""

    @abstractmethod
    def after(self, earlier: Structure) -> Structure:
        """Multiply step by step: ``self`` is applied after ``earlier``."""

    @abstractmethod
    def transpose(self) -> Structure:
        """Transpose every matrix."""

    @abstractmethod
    def to_dense(self) -> Tensor:
        """Give the matrices as ``(T, *lanes, m, n)``."""

    def __len__(self) -> int:
        return len(self.tensors[-1])

    def at(self, steps: slice | Tensor) -> Self:
        """Select steps."""
        return self.like(*(tensor[steps] for tensor in self.tensors))

    def adjoint(self) -> Structure:
        """Give the conjugate transposes."""
        turned = self.transpose()
        if not any(tensor.is_complex() for tensor in self.tensors):
            return turned
        return turned.like(*(tensor.conj() for tensor in turned.tensors))

    def closed(self) -> Structure:
        """Give the same matrices in a structure whose products keep it."""
        return self

    def norm_bound(self) -> Tensor:
        """Bound the maximum norm of each matrix: its largest absolute row sum."""
        return self.to_dense().abs().sum(dim=-1).amax(dim=-1)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors)


@dataclass(frozen=True, slots=True, eq=False)
class Scalar(Structure):
    """Multiples of the identity: ``a`` of shape ``(T, *lanes)``, for vectors of ``size``."""

    a: Tensor
    size: int

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.a,)

    def like(self, *tensors: Tensor) -> Self:
        return replace(self, a=tensors[0])

    def apply(self, x: Tensor) -> Tensor:
        return self.a[..., None] * x

    def after(self, earlier: Structure) -> Structure:
        if isinstance(earlier, Scalar):
            return replace(self, a=self.a * earlier.a)
        return Dense(self.a[..., None, None] * earlier.to_dense())

    def transpose(self) -> Scalar:
        return self

    def to_dense(self) -> Tensor:
        eye = torch.eye(self.size, dtype=self.a.dtype, device=self.a.device)
        return self.a[..., None, None] * eye

    def norm_bound(self) -> Tensor:
        return self.a.abs()


@dataclass(frozen=True, slots=True, eq=False)
class Diagonal(Structure):
    """Diagonal matrices: ``d`` of shape ``(T, *lanes, n)``, real or complex."""

    d: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.d,)

    def like(self, *tensors: Tensor) -> Self:
        return replace(self, d=tensors[0])

    def apply(self, x: Tensor) -> Tensor:
        return self.d * x

    def after(self, earlier: Structure) -> Structure:
        if isinstance(earlier, Diagonal):
            return Diagonal(self.d * earlier.d)
        if isinstance(earlier, Sparse):
            return earlier.scaled(rows=self.d)
        return Dense(self.d[..., None] * earlier.to_dense())

    def transpose(self) -> Diagonal:
        return self

    def to_dense(self) -> Tensor:
        return torch.diag_embed(self.d)

    def norm_bound(self) -> Tensor:
        return self.d.abs().amax(dim=-1)


@dataclass(frozen=True, slots=True, eq=False)
class BlockDiagonal(Structure):
    """Square blocks along the diagonal: ``blocks`` of shape ``(T, *lanes, n / m, m, m)``."""

    blocks: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.blocks,)

    def like(self, *tensors: Tensor) -> Self:
        return replace(self, blocks=tensors[0])

    def apply(self, x: Tensor) -> Tensor:
        count, size, _ = self.blocks.shape[-3:]
        pieces = x.reshape(*x.shape[:-1], count, size, 1)
        return (self.blocks @ pieces).flatten(-3)

    def after(self, earlier: Structure) -> Structure:
        if (
            isinstance(earlier, BlockDiagonal)
            and self.blocks.shape[-3:] == earlier.blocks.shape[-3:]
        ):
            return BlockDiagonal(self.blocks @ earlier.blocks)
        return Dense(self.to_dense()).after(earlier)

    def transpose(self) -> BlockDiagonal:
        return BlockDiagonal(self.blocks.mT)

    def to_dense(self) -> Tensor:
        count = self.blocks.shape[-3]
        eye = torch.eye(count, dtype=self.blocks.dtype, device=self.blocks.device)
        spread = self.blocks[..., :, :, None, :] * eye[:, None, :, None]
        return spread.flatten(-2).flatten(-3, -2)


@dataclass(frozen=True, slots=True, eq=False)
class Dense(Structure):
    """Matrices without structure: ``A`` of shape ``(T, *lanes, m, n)``."""

    A: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.A,)

    def like(self, *tensors: Tensor) -> Self:
        return replace(self, A=tensors[0])

    def apply(self, x: Tensor) -> Tensor:
        return (self.A @ x[..., None])[..., 0]

    def after(self, earlier: Structure) -> Structure:
        if isinstance(earlier, Diagonal):
            return Dense(self.A * earlier.d[..., None, :])
        return Dense(self.A @ earlier.to_dense())

    def transpose(self) -> Dense:
        return Dense(self.A.mT)

    def to_dense(self) -> Tensor:
        return self.A


@dataclass(frozen=True, slots=True, eq=False)
class SharedDiagonal(Structure):
    """``diag(d_t) W``, or ``W diag(d_t)`` with ``first``: the Jacobian of a tanh RNN's step.

    ``W`` is ``(n, n)`` and stands for all steps, ``d`` is ``(T, *lanes, n)``; the product is never
    formed for a vector.
    """

    W: Tensor
    d: Tensor
    first: bool = False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.W, self.d)

    def like(self, *tensors: Tensor) -> Self:
        return replace(self, W=tensors[0], d=tensors[1])

    def at(self, steps: slice | Tensor) -> Self:
        return replace(self, d=self.d[steps])

    def apply(self, x: Tensor) -> Tensor:
        return (self.d * x) @ self.W.mT if self.first else self.d * (x @ self.W.mT)

    def after(self, earlier: Structure) -> Structure:
        return self.closed().after(earlier)

    def transpose(self) -> SharedDiagonal:
        return SharedDiagonal(self.W.mT, self.d, not self.first)

    def to_dense(self) -> Tensor:
        return self.W * (self.d[..., None, :] if self.first else self.d[..., :, None])

    def closed(self) -> Dense:
        return Dense(self.to_dense())


@dataclass(frozen=True, slots=True, eq=False)
class IdentityPlus(Structure):
    """``I + E``: the Jacobian of a residual step, composed without adding the identity.

    ``(I + E2)(I + E1) = I + (E2 + E1 + E2 E1)`` keeps digits of small ``E`` that ``1 + E`` drops.
    """

    E: Structure

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.E.tensors

    def like(self, *tensors: Tensor) -> Self:
        return replace(self, E=self.E.like(*tensors))

    def at(self, steps: slice | Tensor) -> Self:
        return replace(self, E=self.E.at(steps))

    def apply(self, x: Tensor) -> Tensor:
        return x + self.E.apply(x)

    def after(self, earlier: Structure) -> Structure:
        if not isinstance(earlier, IdentityPlus):
            return Dense(self.to_dense()).after(earlier)
        first, second = earlier.closed().E, self.closed().E
        both = second.after(first)
        if type(first) is type(second) is type(both):
            parts = zip(first.tensors, second.tensors, both.tensors, strict=True)
            return IdentityPlus(both.like(*(a + b + c for a, b, c in parts)))
        return IdentityPlus(Dense(first.to_dense() + second.to_dense() + both.to_dense()))

    def transpose(self) -> IdentityPlus:
        return IdentityPlus(self.E.transpose())

    def to_dense(self) -> Tensor:
        E = self.E.to_dense()
        return E + torch.eye(E.shape[-1], dtype=E.dtype, device=E.device)

    def closed(self) -> IdentityPlus:
        # A sparse sum needs a pattern of its own; dense is the structure that holds any sum.
        inner = Dense(self.E.to_dense()) if isinstance(self.E, Sparse) else self.E.closed()
        return IdentityPlus(inner)


@dataclass(frozen=True, slots=True, eq=False)
class Sparse(Structure):
    """Values of shape ``(T, *lanes, nnz)`` on one pattern, in CSR order.

    The pattern of a product is computed once for each pair of patterns, never from values.
    """

    pattern: Pattern
    values: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.values,)

    def like(self, *tensors: Tensor) -> Self:
        return replace(self, values=tensors[0])

    def apply(self, x: Tensor) -> Tensor:
        terms = self.values * x[..., self.pattern.columns]
        return _sum_into(terms, self.pattern.rows, self.pattern.shape[0])

    def after(self, earlier: Structure) -> Structure:
        if isinstance(earlier, Diagonal):
            return self.scaled(columns=earlier.d)
        if not isinstance(earlier, Sparse):
            return Dense(self.to_dense()).after(earlier)
        plan = self.pattern.after(earlier.pattern)
        terms = self.values[..., plan.later] * earlier.values[..., plan.earlier]
        return Sparse(plan.pattern, _sum_into(terms, plan.target, plan.pattern.nnz))

    def scaled(self, rows: Tensor | None = None, columns: Tensor | None = None) -> Sparse:
        """Multiply by diagonal matrices from the left and from the right."""
        values = self.values
        if rows is not None:
            values = values * rows[..., self.pattern.rows]
        if columns is not None:
            values = values * columns[..., self.pattern.columns]
        return Sparse(self.pattern, values)

    def transpose(self) -> Sparse:
        turned, order = self.pattern.transposed()
        return Sparse(turned, self.values[..., order])

    def to_dense(self) -> Tensor:
        m, n = self.pattern.shape
        places = self.pattern.rows * n + self.pattern.columns
        flat = _sum_into(self.values, places, m * n)
        return flat.reshape(*flat.shape[:-1], m, n)


def _sum_into(terms: Tensor, places: Tensor, size: int) -> Tensor:
    """Add up terms that share a place along the last axis."""
    out = terms.new_zeros((*terms.shape[:-1], size))
    return out.index_add(-1, places.to(terms.device), terms)
