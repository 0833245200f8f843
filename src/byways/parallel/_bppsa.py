"""BPPSA's scan on elements of any shapes: rectangular chains, sparse Jacobians, cut trees.

Back-propagation through n links is the exclusive scan of ``a[0] = dL/dx_n``, ``a[k] = J_{n-k+1}^T``
under ``A . B = B A``: ``out[k] = a[k-1] ... a[0]`` is the gradient at the input of link n-k+2. The
first element is a vector, so what contains it is one too, and after the up-sweep everything that is
handed down is a vector: the down-sweep multiplies matrices with vectors only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["exclusive_scan", "tree_levels"]


def tree_levels(links: int) -> int:
    """Give the levels of the whole up-sweep over a vector and this many links."""
    return max(0, links.bit_length() - 1)  # ⌈log2(n + 1)⌉ - 1


def exclusive_scan(
    first: Any,
    links: Sequence[Any],
    multiply: Callable[[Any, Any], Any],
    *,
    max_tree_levels: int | None = None,
    on_level: Callable[[str, list[tuple[Any, Any]]], None] | None = None,
) -> list[Any]:
    """Give ``out[1] .. out[n]``, the products of all elements before each link.

    Args:
        first: The vector ``a[0]``.
        links: The matrices ``a[1] .. a[n]``.
        multiply: ``multiply(later, earlier)``, the product ``later earlier``.
        max_tree_levels: Levels of the tree; the subtrees are then joined one by one. Products of
            sparse matrices fill in, so a few levels may cost less than all. All if None.
        on_level: Is told every level: ``"up"``, ``"across"`` or ``"down"``, and the pairs that are
            multiplied in it, at the same time.

    Returns:
        The products.

    References:
        Wang, Bai and Pekhimenko (2020), algorithm 1; any length, and the order for matrices.
    """
    n = len(links)
    depth = tree_levels(n)
    if max_tree_levels is not None:
        depth = min(depth, max_tree_levels)
    sweep = _Sweep([first, *links], multiply, on_level)
    for d in range(depth):
        # The last element is replaced by the identity, so products that end there are not needed.
        pairs = [(r, sweep.a[r], sweep.a[left]) for left, r in _pairs(n, d) if r != n]
        sweep.level("up", pairs)
    sweep.across(sorted({min(i + 2**depth - 1, n) for i in range(0, n + 1, 2**depth)}))
    for d in range(depth - 1, -1, -1):
        sweep.down(_pairs(n, d))
    return sweep.a[1:]


@dataclass(slots=True)
class _Sweep:
    """The array, with None for the identity, which is never materialised."""

    a: list[Any]
    multiply: Callable[[Any, Any], Any]
    on_level: Callable[[str, list[tuple[Any, Any]]], None] | None

    def level(self, phase: str, pairs: list[tuple[int, Any, Any]]) -> None:
        """Multiply the pairs of one level and store the products."""
        if self.on_level is not None and pairs:
            self.on_level(phase, [(later, earlier) for _, later, earlier in pairs])
        for place, later, earlier in pairs:
            self.a[place] = self.multiply(later, earlier)

    def across(self, roots: list[int]) -> None:
        """Give each subtree the product of those before it, one by one."""
        before = None
        for root in roots:
            value, self.a[root] = self.a[root], before
            if before is None or root == roots[-1]:
                before = value
                continue
            if self.on_level is not None:
                self.on_level("across", [(value, before)])
            before = self.multiply(value, before)

    def down(self, ends: Iterator[tuple[int, int]]) -> None:
        """Hand prefixes to both children; the prefix from the parent is applied first."""
        pairs = []
        for left, r in ends:
            value, self.a[left] = self.a[left], self.a[r]
            if self.a[r] is None:
                self.a[r] = value
            else:
                pairs.append((r, value, self.a[r]))
        self.level("down", pairs)


def _pairs(n: int, d: int) -> Iterator[tuple[int, int]]:
    """Give the ends of left and right subtrees that level ``d`` joins; the last may be short."""
    for i in range(0, n - 2**d + 1, 2 ** (d + 1)):
        yield i + 2**d - 1, min(i + 2 ** (d + 1) - 1, n)
