"""Four ways to compute all prefixes of a chain, written once for every kind of element.

A chain is a first value and the nodes that follow it. A node maps the value before it to the value
after it, and nodes compose. Values and nodes are stacked, steps first, so one call works on a whole
level. Every function gives the first value and all that follow, and tells the tally what it did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = ["STRATEGIES", "Nodes", "Tally", "Values", "run_strategy"]

Values = tuple["Tensor", ...]


class Nodes(Protocol):
    """A stack of maps from a value to the next."""

    def __len__(self) -> int: ...

    def at(self, steps: slice) -> Self:
        """Select nodes."""

    def after(self, earlier: Self) -> Self:
        """Compose node by node: ``self`` is applied after ``earlier``."""

    def apply(self, values: Values) -> Values:
        """Map one value by each node."""


@dataclass(slots=True)
class Tally:
    """Counts what a strategy does.

    ``levels`` are the steps that depend on each other, ``combines`` the compositions and
    applications in all of them.
    """

    levels: int = 0
    combines: int = 0

    def level(self, combines: int) -> None:
        """Count one level of this many combinations, if any."""
        self.levels += combines > 0
        self.combines += combines


def run_strategy(
    name: str, first: Values, nodes: Nodes, tally: Tally, chunk: int | None = None
) -> Values:
    """Give all values of a chain by the strategy of that name."""
    if name == "chunked":
        return chunked(first, nodes, tally, chunk)
    return STRATEGIES[name](first, nodes, tally)


def sequential(first: Values, nodes: Nodes, tally: Tally) -> Values:
    """Go step by step."""
    found = [first]
    for t in range(len(nodes)):
        found.append(nodes.at(slice(t, t + 1)).apply(found[-1]))
        tally.level(1)
    return _joined(found)


def blelloch(first: Values, nodes: Nodes, tally: Tally) -> Values:
    """Combine neighbours, scan the pairs, and fill in what lies between them.

    This is Blelloch's up-sweep and down-sweep for any length: an odd value at the end waits for its
    turn, and no identity is needed. The first value is always applied, never composed, so what
    hangs on it costs a matrix-vector product.
    """
    count = len(nodes)
    if count == 0:
        return first
    pairs = (count - 1) // 2
    tally.level(1 + pairs)
    second = nodes.at(slice(0, 1)).apply(first)
    merged = nodes.at(slice(2, None, 2)).after(nodes.at(slice(1, 2 * pairs, 2)))
    odd = blelloch(second, merged, tally)
    between = nodes.at(slice(1, None, 2))
    tally.level(len(between))
    even = between.apply(_part(odd, slice(0, len(between)))) if len(between) else ()
    return _woven(_joined([first, even]) if even else first, odd)


def pcr(first: Values, nodes: Nodes, tally: Tally) -> Values:
    """Double the reach of every node until all start at the first value (cyclic reduction)."""
    reach = 1
    while len(nodes) > 0:
        ready = min(reach, len(nodes))
        tally.level(len(nodes))
        new = nodes.at(slice(0, ready)).apply(_part(first, slice(0, ready)))
        first = _joined([first, new])
        left = len(nodes) - ready
        nodes = nodes.at(slice(ready, None)).after(nodes.at(slice(0, left)))
        reach *= 2
    return first


def chunked(first: Values, nodes: Nodes, tally: Tally, chunk: int | None = None) -> Values:
    """Scan chunks side by side, then their ends, then carry the ends into the chunks."""
    total = len(nodes) + 1
    size = min(chunk or math.isqrt(total - 1) + 1, total)
    head = [first]
    prefixes: list[Nodes] = []
    for i in range(size):
        lanes = nodes.at(slice(size - 1 + i, None, size))
        if i > 0:
            head.append(nodes.at(slice(i - 1, i)).apply(head[-1]))
            tally.level(1 + len(lanes))
            lanes = lanes.after(prefixes[-1].at(slice(0, len(lanes))))
        prefixes.append(lanes)
    if len(prefixes[0]) == 0:
        return _joined(head)
    ends = prefixes[-1].at(slice(0, len(prefixes[0]) - 1))
    carried = blelloch(head[-1], ends, tally)
    columns = list(head)
    for i, lanes in enumerate(prefixes):
        tally.level(len(lanes))
        new = lanes.apply(_part(carried, slice(0, len(lanes)))) if len(lanes) else ()
        columns[i] = _joined([head[i], new]) if new else head[i]
    return _transposed(columns)


STRATEGIES: dict[str, Callable[[Values, Nodes, Tally], Values]] = {
    "sequential": sequential,
    "blelloch": blelloch,
    "pcr": pcr,
    "chunked": chunked,
}


def _part(values: Values, steps: slice) -> Values:
    return tuple(value[steps] for value in values)


def _joined(parts: list[Values]) -> Values:
    return tuple(torch.cat(leaves) for leaves in zip(*parts, strict=True))


def _woven(even: Values, odd: Values) -> Values:
    """Merge the values of even and odd steps; there are as many of both, or one more even."""
    return _transposed([even, odd])


def _transposed(columns: list[Values]) -> Values:
    """Put column ``i`` at the steps ``i, i + k, ...``; the first columns may be one longer."""
    merged = []
    for leaves in zip(*columns, strict=True):
        short = len(leaves[-1])
        full = torch.stack([leaf[:short] for leaf in leaves], dim=1).flatten(0, 1)
        tails = [leaf[short:] for leaf in leaves if len(leaf) > short]
        merged.append(torch.cat([full, *tails]) if tails else full)
    return tuple(merged)
