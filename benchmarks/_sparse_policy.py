"""Learned orders on networks that no policy was trained on, and how fast their games run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from _peers import lacking
from _plain_game import PlainGame
from _ratio import Pace, Row, Side, compare, missing

from byways.sparse_inference import EdgeGraph, EdgeOrder, order_edges, random_sparse, simulate
from byways.sparse_inference._anneal import anneal
from byways.sparse_inference._greedy import greedy
from byways.sparse_inference._order_policy import OrderPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["policy"]

_PLACES = 8
_UNSEEN = range(500, 540)  # seeds; training draws from other generators
_STEPS = 150_000  # of annealing


def policy(pace: Pace) -> Iterator[Row]:
    """Misses an edge, counted by ``simulate``, and steps of many environments."""
    graphs = [random_sparse([16] * 5, 0.2, rng=s) for s in _UNSEEN[: 3 if pace.quick else 40]]
    learned, rng = OrderPolicy.shipped(), np.random.default_rng(0)
    steps = 2_000 if pace.quick else _STEPS
    ways: list[tuple[str, float | None, Callable[[EdgeGraph], NDArray[np.int64]]]] = [
        ("destination", None, lambda g: order_edges(g, "destination").permutation),
        ("EGO", None, lambda g: order_edges(g, "ego", memory=_PLACES + 1).permutation),
        ("greedy that looks into the cache", 0.80, lambda g: greedy(g, _PLACES)),
        ("EON, best choices", 0.80, lambda g: _drawn(learned, g, 0, rng)),
        ("EON, best of 16 drawn", 0.75, lambda g: _drawn(learned, g, 16, rng)),
        (f"annealing, {steps:,} steps", None if pace.quick else 0.72,
         lambda g: anneal(g, greedy(g, _PLACES), _PLACES, None, steps, rng)),
    ]  # fmt: skip
    title = f"LRU misses an edge, {len(graphs)} unseen networks 16x4, density 0.2, 8 vertices"
    for name, goal, find in ways:
        counts = np.array([_misses(graph, find(graph)) / graph.edges for graph in graphs])
        counted = {"largest": round(float(counts.max()), 3)}
        yield Row(f"{title}: {name}", name, "-", float(counts.mean()), goal, at_most=True,
                  counted=counted)  # fmt: skip
    yield from _larger(pace, learned, rng)
    yield from _environments(pace)


def _larger(pace: Pace, learned: OrderPolicy, rng: np.random.Generator) -> Iterator[Row]:
    """Networks of other sizes and densities than those of the training."""
    cases = [("64x3, density 0.1, 16 vertices", [64] * 4, 0.1, 16)]
    if not pace.quick:
        cases.append(("128x3, density 0.1, 32 vertices", [128] * 4, 0.1, 32))
    for title, widths, density, places in cases:
        graphs = [random_sparse(widths, density, rng=s) for s in _UNSEEN[: 1 if pace.quick else 4]]
        ours = [_misses(g, learned.play(g, places, 0, rng)[0][0], places) for g in graphs]
        theirs = [_misses(g, greedy(g, places), places) for g in graphs]
        yield Row(f"LRU misses, moved without training to {title}", "EON, best choices", "greedy",
                  sum(ours) / sum(theirs), None, at_most=True,
                  counted={"misses": f"{sum(ours)} and {sum(theirs)}"})  # fmt: skip


def _environments(pace: Pace) -> Iterator[Row]:
    """A whole game in each of many environments, with features and masks at each step."""
    claim, count = "steps of 64 environments with observations, 16x4", 64
    absent = lacking("gymnasium")
    if absent:
        yield missing(claim, "compiled, together", "plain Python", 20.0, absent)
        return
    from byways.sparse_inference import EdgeOrderEnv

    graph = random_sparse([16] * 5, 0.2, rng=0)
    orders = [order_edges(graph, "random", rng=k).permutation for k in range(count)]
    many = EdgeOrderEnv.vectorised(graph, count, memory=_PLACES + 1)
    moves = 20 if pace.quick else graph.edges
    row = compare(
        claim, Side("compiled, together", partial(_together, many, orders, moves)),
        Side("plain Python", partial(_one_by_one, graph, orders, moves)), pace=pace, same=_same,
        goal=20.0,
    )  # fmt: skip
    if row.seconds is not None:
        row.counted["steps a second"] = " and ".join(
            f"{count * moves / seconds:,.0f}" for seconds in row.seconds
        )
    yield row


def _together(many: Any, orders: list[NDArray[np.int64]], moves: int) -> NDArray[np.float64]:
    many.reset(seed=0)
    seen = np.zeros(len(orders))
    for k in range(moves):
        observation, rewards, *_ = many.step(np.array([order[k] for order in orders]))
        seen += rewards - observation["features"][:, 0, 0] - observation["mask"][:, 1]
    return seen


def _one_by_one(
    graph: EdgeGraph, orders: list[NDArray[np.int64]], moves: int
) -> NDArray[np.float64]:
    seen = np.zeros(len(orders))
    for i, order in enumerate(orders):
        game = PlainGame(graph, _PLACES)
        for e in order[:moves].tolist():
            seen[i] -= game.step(e)
            features, mask = game.observe()
            seen[i] -= features[0, 0] + mask[1]
    return seen


def _same(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> str:
    return "" if np.array_equal(ours, theirs) else "rewards or observations differ"


def _drawn(
    learned: OrderPolicy, graph: EdgeGraph, samples: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    orders, misses = learned.play(graph, _PLACES, samples, rng)
    best: NDArray[np.int64] = orders[int(np.argmin(misses[-max(samples, 1) :])) + (samples > 0)]
    return best


def _misses(graph: EdgeGraph, order: NDArray[np.int64], places: int = _PLACES) -> int:
    return simulate(graph, EdgeOrder(order), memory=places + 1).lru_misses
