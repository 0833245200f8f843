"""``associative_scan``: prefixes under the user's own operator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch.utils import _pytree as pytree

from byways.parallel._scan_checks import check_strategy
from byways.parallel._strategies import Tally, run_strategy

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from byways.parallel._strategies import Values

__all__ = ["associative_scan"]


def associative_scan(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    dim: int = 0,
    reverse: bool = False,
    *,
    strategy: str = "blelloch",
    chunk: int | None = None,
    check_associative: bool = False,
) -> Any:
    """Give all prefixes ``x_1, x_1 . x_2, x_1 . x_2 . x_3, ...`` of an associative operator.

    The operator need not commute: its first argument always stands before its second in the
    sequence (with ``reverse``, in the sequence read from its end). Gradients are those of the calls
    that were made, through autograd.

    Args:
        fn: Combines two pytrees of tensors, leaf shapes as in ``elems``; ``dim`` is moved to the
            front and has any length, so ``fn`` works on a whole level at once.
        elems: A tensor, or a pytree of tensors that have ``dim`` equally long.
        dim: The axis to scan.
        reverse: Scan from the end.
        strategy: ``"sequential"``, ``"blelloch"``, ``"pcr"``, ``"chunked"``, or ``"auto"``, which
            is ``"blelloch"``.
        chunk: Steps of a chunk of the chunked strategy; about the root of the length if None.
        check_associative: Combine three elements in both orders first, at up to eight places.

    Returns:
        The prefixes, in the shape of ``elems``.

    Raises:
        TypeError: If ``fn`` is not callable or a leaf is not a tensor.
        ValueError: If lengths differ, ``fn`` changes a shape, or the operator is not associative.

    References:
        Blelloch (1990), Prefix sums and their applications.

    Example:
        >>> import torch
        >>> associative_scan(torch.maximum, torch.tensor([1, 3, 2, 5, 4]))
        tensor([1, 3, 3, 5, 5])
    """
    chunk = check_strategy(strategy, chunk)
    leaves, tree = _flattened(fn, elems, dim)
    if len(leaves[0]) == 0:
        return elems
    if reverse:
        leaves = [leaf.flip(0) for leaf in leaves]

    def combine(earlier: Values, later: Values) -> Values:
        found = fn(
            pytree.tree_unflatten(list(earlier), tree), pytree.tree_unflatten(list(later), tree)
        )
        return _same_shapes(later, pytree.tree_leaves(found))

    if check_associative:
        _check_associative(combine, tuple(leaves))
    nodes = _UserNodes(tuple(leaf[1:] for leaf in leaves), combine)
    name = "blelloch" if strategy == "auto" else strategy
    found = run_strategy(name, tuple(leaf[:1] for leaf in leaves), nodes, Tally(), chunk)
    if reverse:
        found = tuple(leaf.flip(0) for leaf in found)
    return pytree.tree_unflatten([leaf.movedim(0, dim) for leaf in found], tree)


def _flattened(fn: Any, elems: Any, dim: int) -> tuple[list[Tensor], Any]:
    """Give the leaves with the scanned axis first, and the tree to put them back."""
    if not callable(fn):
        raise TypeError(f'"fn" was {fn!r}; it takes a function of two elements')
    leaves, tree = pytree.tree_flatten(elems)
    if not leaves:
        raise ValueError('"elems" has no tensors; it takes a tensor or a pytree of tensors')
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            raise TypeError(f'"elems" has a leaf of type {type(leaf).__name__}; it takes tensors')
        if not -leaf.ndim <= dim < leaf.ndim:
            raise ValueError(f'"dim" was {dim!r} for a leaf of shape {tuple(leaf.shape)}')
    moved = [leaf.movedim(dim, 0) for leaf in leaves]
    if len({len(leaf) for leaf in moved}) > 1:
        lengths = [len(leaf) for leaf in moved]
        raise ValueError(f'"elems" has leaves of lengths {lengths} along "dim"; they must be equal')
    return moved, tree


def _same_shapes(expected: Values, found: list[Any]) -> Values:
    before = [tuple(leaf.shape) for leaf in expected]
    after = [tuple(getattr(leaf, "shape", ())) for leaf in found]
    if before != after:
        raise ValueError(f'"fn" turned leaves of shapes {before} into {after}; it must keep them')
    return tuple(found)


def _check_associative(combine: Callable[[Values, Values], Values], leaves: Values) -> None:
    """Compare ``(x . y) . z`` with ``x . (y . z)`` at places spread over the sequence."""
    count = len(leaves[0])
    if count < 3:
        return
    starts = torch.linspace(0, count - 3, min(8, count - 2)).long()
    x, y, z = (tuple(leaf[starts + k] for leaf in leaves) for k in range(3))
    left, right = combine(combine(x, y), z), combine(x, combine(y, z))
    for a, b in zip(left, right, strict=True):
        exact = not (a.is_floating_point() or a.is_complex())
        tolerance = 0.0 if exact else float(torch.finfo(a.dtype).eps) ** 0.5
        if not torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
            raise ValueError(
                '"fn" is not associative: on three neighbours of "elems", fn(fn(x, y), z) and '
                "fn(x, fn(y, z)) differ"
            )


@dataclass(frozen=True, slots=True)
class _UserNodes:
    """Elements that act on a prefix by the user's operator."""

    leaves: Values
    combine: Callable[[Values, Values], Values]

    def __len__(self) -> int:
        return len(self.leaves[0])

    def at(self, steps: slice) -> Self:
        return replace(self, leaves=tuple(leaf[steps] for leaf in self.leaves))

    def after(self, earlier: Self) -> Self:
        if len(self) == 0:
            return self
        return replace(self, leaves=self.combine(earlier.leaves, self.leaves))

    def apply(self, values: Values) -> Values:
        return self.combine(values, self.leaves)
