"""Largest entries: MaxPool, Maxout and their like as rounds of ReLU.

In real arithmetic ``max(a, b) = a + relu(b - a)``, and the unit's segment tells which is larger; of
equals the first counts, as it does for torch. In float64 the sum may differ from the larger number
by its last digits.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from byways.core.activations import relu
from byways.networks._values import Value, selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from byways.networks._builder import ChainBuilder
    from byways.networks._shapes import Shape

__all__ = ["larger", "largest", "smaller"]


def larger(builder: ChainBuilder, other: Value) -> None:
    """Take the elementwise maximum with another value: ``a + relu(b - a)``."""
    first = Value(builder.shape, builder.value.steps)
    with builder.keeping(first):
        builder.affine(-1.0, 0.0)
        builder.add(other)
        builder.activate(relu)
    builder.add(first)


def smaller(builder: ChainBuilder, other: Value) -> None:
    """Take the elementwise minimum with another value: ``a - relu(a - b)``."""
    first = Value(builder.shape, builder.value.steps)
    with builder.keeping(first):
        builder.add(other, -1.0)
        builder.activate(relu)
    builder.affine(-1.0, 0.0)
    builder.add(first)


def largest(builder: ChainBuilder, windows: Sequence[Sequence[int]], shape: Shape) -> None:
    """Take the largest entry of each window of places, into a value of shape ``shape``.

    In each round neighbours a, b of a window become ``a + relu(b - a)``; k entries take about
    log2 k rounds, and k - 1 decisions in all.
    """
    left = [list(window) for window in windows]
    matches: list[list[tuple[int, int]]] = [[] for _ in left]
    while any(len(window) > 1 for window in left):
        size = math.prod(builder.known_shape())
        keep = [place for window in left for place in window[::2]]
        pairs = [pair for window in left for pair in zip(window[::2], window[1::2], strict=False)]
        first, second = np.array(pairs).T
        gap = selection(second, size).to_sparse() - selection(first, size).to_sparse()
        kept = Value(builder.shape, builder.value.steps)
        with builder.keeping(kept):
            builder.linear(gap, (len(pairs),))
            builder.activate(relu)
        numbers = itertools.count()
        for window, match in zip(left, matches, strict=True):
            match.extend((builder.layers - 1, next(numbers)) for _ in range(len(window) // 2))
        played = np.flatnonzero([i + 1 < len(w) for w in left for i in range(0, len(w), 2)])
        builder.linear(selection(played, len(keep)).to_sparse().T.tocsr(), (len(keep),))
        gains = builder.value
        builder.resume(kept)
        builder.select(np.array(keep))
        builder.add(gains)
        ends = np.cumsum([(len(window) + 1) // 2 for window in left]).tolist()
        left = [list(range(begin, end)) for begin, end in zip([0, *ends], ends, strict=False)]
    builder.remember(matches)
    builder.select(np.array([window[0] for window in left]).reshape(shape))
