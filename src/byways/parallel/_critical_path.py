"""What BPPSA's tree costs on a network, counted from where its Jacobians are not zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from torch import nn

from byways.core.reports import Report
from byways.parallel._bppsa import exclusive_scan
from byways.parallel._layer_jacobians import _out_sizes, _pair, conv_entries, pool_entries
from byways.parallel._links import flattened

__all__ = ["CriticalPath", "critical_path"]


@dataclass(frozen=True, slots=True)
class CriticalPath(Report):
    """Floating-point operations of a backward pass, layer by layer and by a cut tree.

    Attributes:
        levels: One row for each level of the scan: phase, products, operations of the largest one,
            and of all.
        layer_flops: Operations of each transposed Jacobian times a vector, last layer first.
        max_tree_levels: Levels of the tree.
    """

    levels: tuple[dict[str, Any], ...]
    layer_flops: tuple[int, ...]
    max_tree_levels: int | None

    @property
    def tree_flops(self) -> int:
        """Operations of each level's largest product, the tree's critical path."""
        return sum(level["largest"] for level in self.levels)

    @property
    def work(self) -> int:
        """Operations of all products of the tree."""
        return sum(level["all"] for level in self.levels)

    @property
    def sequential_flops(self) -> int:
        """Operations of back-propagation layer by layer, with the same sparse Jacobians."""
        return sum(self.layer_flops[:-1])

    @property
    def sequential_steps(self) -> int:
        """Products along the critical path of ordinary back-propagation."""
        return len(self.layer_flops) - 1

    def rows(self) -> list[dict[str, Any]]:
        """Give one row for each level."""
        return list(self.levels)


def critical_path(
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    max_tree_levels: int | None = None,
    max_entries: int = 100_000_000,
) -> CriticalPath:
    """Count the operations along the critical path of BPPSA on a network.

    Entries of a pruned weight that are zero stay zero in the Jacobian; so do the places outside of
    a convolution's windows. A product of sparse matrices takes one multiplication and one addition
    for each pair of entries that meet. Convolutions fill in when they are multiplied, so a whole
    tree may cost far more than its first levels, and ``max_tree_levels`` cuts it.

    Args:
        model: A sequential network of Linear, Conv2d, MaxPool2d, AvgPool2d, Flatten and elementwise
            activations.
        input_shape: Shape of one sample, ``(C, H, W)`` or ``(n,)``.
        max_tree_levels: Levels of the tree; all if None.
        max_entries: Most entries of a product, above which the count gives up.

    Returns:
        The counts, for one sample.

    Raises:
        ValueError: If a layer is not one of these.
        MemoryError: If a product has more than ``max_entries`` entries.

    References:
        Wang, Bai and Pekhimenko (2020), section 4.2: pruned VGG-11, two levels of the tree.

    Example:
        >>> net = nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(4)))
        >>> report = critical_path(net, (2, 8, 8), max_tree_levels=1)
        >>> [level["phase"] for level in report.rows()]
        ['up', 'across', 'down']
    """
    links = _patterns(model, input_shape)[::-1]
    levels: list[dict[str, Any]] = []

    def told(phase: str, pairs: list[tuple[Any, Any]]) -> None:
        flops = [_flops(later, earlier) for later, earlier in pairs]
        levels.append(
            {"phase": phase, "products": len(pairs), "largest": max(flops), "all": sum(flops)}
        )

    def multiply(later: Any, earlier: Any) -> Any:
        if earlier is _VECTOR:
            return _VECTOR
        bound = _flops(later, earlier) // 2
        if min(bound, later.shape[0] * earlier.shape[1]) > max_entries:
            raise MemoryError(
                f'a product of Jacobians may have {bound:,} entries, more than "max_entries" = '
                f'{max_entries:,}; give a smaller "max_tree_levels"'
            )
        return _ones(later @ earlier)

    exclusive_scan(_VECTOR, links, multiply, max_tree_levels=max_tree_levels, on_level=told)
    return CriticalPath(tuple(levels), tuple(2 * one.nnz for one in links), max_tree_levels)


_VECTOR = "vector"  # its entries do not matter


def _flops(later: Any, earlier: Any) -> int:
    if earlier is _VECTOR:
        return 2 * int(later.nnz)
    columns = np.bincount(later.indices, minlength=later.shape[1]).astype(np.int64)
    return 2 * int(columns @ np.diff(earlier.indptr).astype(np.int64))


def _ones(matrix: Any) -> Any:
    matrix.data = np.ones_like(matrix.data)
    return matrix


def _matrix(rows: Any, columns: Any, shape: tuple[int, int]) -> Any:
    ones = np.ones(len(rows), dtype=np.int32)
    return _ones(sparse.csr_array((ones, (rows, columns)), shape=shape))


def _patterns(model: nn.Module, shape: tuple[int, ...]) -> list[Any]:
    """Give the transposed Jacobian's pattern of every layer but those that only reshape."""
    found = []
    for layer in flattened(model):
        size = int(np.prod(shape))
        match layer:
            case nn.Flatten() | nn.Identity() | nn.Dropout():
                shape = (size,) if isinstance(layer, nn.Flatten) else shape
                continue
            case nn.ReLU() | nn.Tanh() | nn.Sigmoid() | nn.GELU() | nn.SiLU():
                found.append(_matrix(np.arange(size), np.arange(size), (size, size)))
                continue
            case nn.Linear():
                i, j = np.nonzero(layer.weight.detach().cpu().numpy().T)
                after: tuple[int, ...] = (layer.out_features,)
            case nn.Conv2d():
                kernel = tuple(layer.weight.shape)
                steps = _pair(layer.stride), _pair(layer.padding), _pair(layer.dilation)
                mask = (layer.weight.detach() != 0).flatten().cpu().numpy()
                i, j, _ = conv_entries(kernel, shape, *steps, groups=layer.groups, mask=mask)
                after = (kernel[0], *_out_sizes(shape[1:], kernel[2:], *steps))
            case nn.MaxPool2d() | nn.AvgPool2d():
                window, stride = _pair(layer.kernel_size), _pair(layer.stride)
                padding = _pair(layer.padding)
                i, j = pool_entries(shape, window, stride, padding)
                after = (shape[0], *_out_sizes(shape[1:], window, stride, padding, (1, 1)))
                if isinstance(layer, nn.MaxPool2d):
                    # One input of each window wins; which one makes no difference to the count.
                    _, first = np.unique(j, return_index=True)
                    i, j = i[first], j[first]
            case _:
                raise ValueError(
                    f"no pattern is known for {type(layer).__name__}; known are Linear, Conv2d, "
                    "MaxPool2d, AvgPool2d, Flatten and elementwise activations"
                )
        found.append(_matrix(i, j, (size, int(np.prod(after)))))
        shape = after
    return found
