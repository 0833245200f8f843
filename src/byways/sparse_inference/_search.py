"""Evolution of the linear part of a policy: cheap, without gradients, and a good start.

Candidates are drawn around the weights so far, each weight with a spread of its own; the best third
gives the next weights and spreads. All candidates of a step order the same networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.sparse_inference._mpnn import Mpnn, play

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Floats = NDArray[np.float64]

__all__ = ["first_spread", "search_step"]

_CANDIDATES, _KEPT = 24, 8
_MEMORY = 0.8  # share of the old spread in the new one
_WIDER = 1.05  # against a spread that dies out before the weights are found


def first_spread(linear: Floats) -> Floats:
    """Give the spreads to begin with: a tenth of the weights' length in each direction."""
    return np.full(len(linear), 0.1 * float(np.linalg.norm(linear)))


def search_step(
    linear: Floats,
    spread: Floats,
    graphs: Sequence[EdgeGraph],
    places: int,
    generator: np.random.Generator,
) -> tuple[Floats, Floats, float]:
    """Improve the weights of a linear policy.

    Only directions matter to the best choice, so the weights keep their length.

    Returns:
        New weights, new spreads, and the mean misses an edge of the candidates.
    """
    length = float(np.linalg.norm(linear))
    candidates = linear + spread * generator.normal(size=(_CANDIDATES, len(linear)))
    misses = np.array([_misses(candidate, graphs, places) for candidate in candidates])
    kept = candidates[np.argsort(misses, kind="stable")[:_KEPT]]
    weights = np.log(_KEPT + 1) - np.log(np.arange(1, _KEPT + 1))
    weights /= weights.sum()
    mean = weights @ kept
    fresh = np.sqrt(weights @ (kept - linear) ** 2)
    scale = length / float(np.linalg.norm(mean))
    spread = (_MEMORY * spread + (1 - _MEMORY) * _WIDER * fresh) * scale
    return mean * scale, spread, float(misses.mean())


def _misses(linear: Floats, graphs: Sequence[EdgeGraph], places: int) -> float:
    plain = Mpnn(
        linear, np.zeros((1, len(linear))), np.zeros(1), np.zeros((0, 1, 4)), np.zeros((0, 1)),
        np.zeros(1),
    )  # fmt: skip
    unused = np.random.default_rng(0)
    return float(
        np.mean([play(graph, places, plain, 0, unused)[1][0] / graph.edges for graph in graphs])
    )
