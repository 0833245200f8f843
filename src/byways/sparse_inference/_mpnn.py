"""The message-passing policy without torch: scores of choices, and whole games played by them.

A ready edge with features ``f`` has the score ``w . f + o . h_R``, where ``h_0 = relu(A log(1 + f)
+ a)`` and ``h_r = relu(B_r [h, s, t, g] + b_r)`` of the round before: ``s``, ``t`` and ``g`` are
the means of ``h`` over the choices with the same source, the same target, and over all. Nothing
depends on the numbering or the size of a network, so the weights work on any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byways.core.compiled import compiled, entry
from byways.sparse_inference._episodes import (
    FEATURES,
    MISSES,
    RUN,
    choices,
    describe,
    pack,
    run,
    settle,
    start,
)
from byways.sparse_inference._greedy import WEIGHTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Floats = NDArray[np.float64]

__all__ = ["Mpnn", "greedy_mpnn", "play", "scores"]


class Mpnn(NamedTuple):
    """The weights; ``H`` is the width, ``R`` the number of rounds, ``F`` that of features."""

    linear: Floats  # (F,)
    first: Floats  # (H, F)
    first_bias: Floats  # (H,)
    rounds: Floats  # (R, H, 4 H)
    rounds_bias: Floats  # (R, H)
    last: Floats  # (H,)


def greedy_mpnn(
    width: int, rounds: int, generator: np.random.Generator, sharpness: float = 8.0
) -> Mpnn:
    """Give random inner weights with an outer layer of zeros: what it plays is the greedy order.

    ``sharpness`` is how decided drawn choices are; a power of two keeps ties of the greedy order.
    """
    linear = np.zeros(len(FEATURES))
    linear[: len(WEIGHTS)] = sharpness * np.array(WEIGHTS)
    size = 4 * width
    return Mpnn(
        linear,
        generator.normal(0.0, np.sqrt(2 / len(FEATURES)), (width, len(FEATURES))),
        np.zeros(width),
        generator.normal(0.0, np.sqrt(2 / size), (rounds, width, size)),
        np.zeros((rounds, width)),
        np.zeros(width),
    )


def play(
    graph: EdgeGraph,
    places: int,
    weights: Mpnn,
    samples: int,
    generator: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Play a network: once for the best choice each time, then with choices drawn by their odds.

    Returns:
        The orders, shape ``(1 + samples, m)``, and their misses. A move costs time in proportion to
        the ready edges at the cache and to the degrees of their ends.
    """
    nets = pack([graph])
    orders = np.empty((1 + samples, graph.edges), np.int64)
    misses = np.empty(1 + samples, np.int64)
    for k in range(1 + samples):
        states = start(nets, places)
        _play(nets, states, weights, k > 0, generator)
        orders[k], misses[k] = states.order[0, : graph.edges], states.tally[0, MISSES]
    return orders, misses


@compiled
def _mean_of(hidden, count, group, sums, sizes):
    """Average rows over groups; a group is named by its first row."""
    sums[:count], sizes[:count] = 0.0, 0
    for k in range(count):
        sums[group[k]] += hidden[k]
        sizes[group[k]] += 1
    for k in range(count):
        if sizes[k] > 0:
            sums[k] /= sizes[k]


@compiled
def _score(features, count, by_source, by_target, weights, result):
    width, rounds = len(weights.last), len(weights.rounds)
    hidden = np.log1p(features[:count]) @ weights.first.T + weights.first_bias
    hidden = np.maximum(hidden, 0.0)
    sums, sizes = np.empty((count, width)), np.empty(count, np.int64)
    joint = np.empty((count, 4 * width))
    together = np.zeros(count, np.int64)
    for r in range(rounds):
        joint[:, :width] = hidden
        groups = (by_source, by_target, together)
        for part in range(3):
            _mean_of(hidden, count, groups[part], sums, sizes)
            for k in range(count):
                joint[k, (part + 1) * width : (part + 2) * width] = sums[groups[part][k]]
        hidden = np.maximum(joint @ weights.rounds[r].T + weights.rounds_bias[r], 0.0)
    for k in range(count):
        total = 0.0
        for j in range(features.shape[1]):  # in the greedy order's own sequence: ties stay ties
            total += weights.linear[j] * features[k, j]
        for j in range(width):
            total += weights.last[j] * hidden[k, j]
        result[k] = total


@entry
def scores(view, weights):
    """Give the score of each choice of a view."""
    result = np.empty(view.starts[-1])
    for i in range(len(view.starts) - 1):
        a, b = view.starts[i], view.starts[i + 1]
        if b > a:
            _score(
                view.features[a:b], b - a, view.by_source[a:b], view.by_target[a:b], weights,
                result[a:b],
            )  # fmt: skip
    return result


# sizes: kernel, a whole game
@entry
def _play(nets, states, weights, drawn, generator):
    m, points = nets.sizes[0, 1], nets.out_start.shape[1]
    known, mark = np.empty((points, 4), np.int64), np.empty((2, points), np.int64)
    edges, by_source, by_target = (
        np.empty(m, np.int64),
        np.empty(m, np.int64),
        np.empty(m, np.int64),
    )
    features, result = np.empty((m, len(weights.linear))), np.empty(m)
    while states.tally[0, RUN] < m:
        count = choices(0, False, nets, states, edges)
        best = 0
        if count > 1:
            describe(0, edges, count, nets, states, known, mark, by_source, by_target, features)
            _score(features, count, by_source, by_target, weights, result)
            if drawn:
                for k in range(count):  # the largest of these is a draw from the softmax
                    result[k] += -np.log(-np.log(generator.random()))
            best = int(np.argmax(result[:count]))
        run(0, edges[best], nets, states)
        settle(0, nets, states)
