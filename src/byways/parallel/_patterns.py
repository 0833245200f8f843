"""Where the entries of sparse matrices are, apart from their values.

The Jacobians of convolutions, pools and pruned layers have patterns that shapes and masks fix. So
do their products. A pattern, and what its products need, is computed once and used at every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Ints = NDArray[np.int64]

__all__ = ["Pattern", "Product"]


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """How to multiply on two patterns: ``later[i] * earlier[i]`` is added to ``target[i]``."""

    pattern: Pattern
    later: Tensor
    earlier: Tensor
    target: Tensor

    @property
    def flops(self) -> int:
        """One multiplication and one addition for each term."""
        return 2 * len(self.target)


class Pattern:
    """The places of the entries of a sparse matrix, in CSR order.

    Args:
        rows: Row of each entry.
        columns: Column of each entry.
        shape: Rows and columns of the matrix.

    Raises:
        ValueError: If entries are outside of the shape, repeated, or not sorted by row and column.

    Example:
        >>> bidiagonal = Pattern([0, 1, 1], [0, 0, 1], (2, 2))
        >>> bidiagonal.nnz, bidiagonal.density
        (3, 0.75)
    """

    def __init__(self, rows: Any, columns: Any, shape: tuple[int, int]) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        i, j = np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)
        if i.shape != j.shape or i.ndim != 1:
            raise ValueError(
                f'"rows" and "columns" have shapes {i.shape} and {j.shape}; they take one index '
                "for each entry"
            )
        places = i * self.shape[1] + j
        inside = len(i) == 0 or (
            i.min() >= 0 and i.max() < shape[0] and j.min() >= 0 and j.max() < shape[1]
        )
        if not inside or np.any(np.diff(places) <= 0):
            raise ValueError(
                f'"rows" and "columns" must list each entry of a {self.shape} matrix once, sorted '
                "by row and then by column; scipy.sparse's sum_duplicates() and sort_indices() do"
            )
        self.rows, self.columns = torch.from_numpy(i), torch.from_numpy(j)
        self._products: dict[int, tuple[Pattern, Product]] = {}
        self._turned: tuple[Pattern, Tensor] | None = None

    @classmethod
    def from_mask(cls, mask: Tensor) -> Pattern:
        """Give the pattern of the true entries of a matrix."""
        i, j = mask.nonzero(as_tuple=True)
        return cls(i.cpu().numpy(), j.cpu().numpy(), (mask.shape[0], mask.shape[1]))

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return len(self.rows)

    @property
    def density(self) -> float:
        """Share of the places that hold an entry."""
        return self.nnz / max(1, self.shape[0] * self.shape[1])

    def transposed(self) -> tuple[Pattern, Tensor]:
        """Give the pattern of the transpose and where its entries stand in this one."""
        if self._turned is None:
            i, j = self.rows.numpy(), self.columns.numpy()
            order = np.lexsort((i, j))
            turned = Pattern(j[order], i[order], (self.shape[1], self.shape[0]))
            self._turned = (turned, torch.from_numpy(order))
        return self._turned

    def after(self, earlier: Pattern) -> Product:
        """Plan the product of this pattern with an earlier one; planned once for each pair."""
        known = self._products.get(id(earlier))
        if known is None or known[0] is not earlier:
            known = (earlier, _plan_product(self, earlier))
            self._products[id(earlier)] = known
        return known[1]

    def __repr__(self) -> str:
        return f"Pattern({self.shape[0]} x {self.shape[1]}, {self.nnz} entries)"


def _plan_product(later: Pattern, earlier: Pattern) -> Product:
    if later.shape[1] != earlier.shape[0]:
        raise ValueError(
            f"a {later.shape} sparse matrix cannot follow a {earlier.shape} one; the columns of "
            "the later must be the rows of the earlier"
        )
    i, k = later.rows.numpy(), later.columns.numpy()
    starts = np.searchsorted(earlier.rows.numpy(), np.arange(earlier.shape[0] + 1))
    counts = np.diff(starts)[k]
    first = np.repeat(np.arange(len(k)), counts)
    within = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    second = np.repeat(starts[k], counts) + within
    width = earlier.shape[1]
    places, target = np.unique(
        i[first] * width + earlier.columns.numpy()[second], return_inverse=True
    )
    pattern = Pattern(places // max(width, 1), places % max(width, 1), (later.shape[0], width))
    as_tensor = torch.from_numpy
    return Product(pattern, as_tensor(first), as_tensor(second), as_tensor(target.astype(np.int64)))
