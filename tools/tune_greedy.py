"""Find the weights of the cache-aware greedy order by random search on small random networks.

Usage: python tools/tune_greedy.py [SECONDS]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from byways.sparse_inference import EdgeGraph, EdgeOrder, random_sparse, simulate
from byways.sparse_inference._greedy import WEIGHTS, greedy

PLACES = 8


def main(seconds: float) -> None:
    """Print each better set of weights as it is found, and how it does on networks unseen."""
    seen, unseen = ([network(seed) for seed in seeds] for seeds in (range(12), range(100, 120)))
    rng = np.random.default_rng(0)
    best = np.array(WEIGHTS)
    least, stop = misses(best, seen), time.monotonic() + seconds
    report(best, least, misses(best, unseen))
    while time.monotonic() < stop:
        trial = rng.normal(size=len(best))
        if rng.random() < 0.8:
            trial = best + trial * rng.choice([0.05, 0.2, 0.5])
        found = misses(trial, seen)
        if found < least:
            best, least = trial, found
            report(best, least, misses(best, unseen))


def network(seed: int) -> EdgeGraph:
    """Give a network of four layers of 16 neurons."""
    return random_sparse([16] * 5, 0.2, rng=seed)


def misses(weights: np.ndarray, graphs: list[EdgeGraph]) -> float:
    """Give the mean number of LRU misses an edge."""
    orders = [EdgeOrder(greedy(graph, PLACES, tuple(weights))) for graph in graphs]
    counts = [
        simulate(graph, order, memory=PLACES + 1).lru_misses / graph.edges
        for graph, order in zip(graphs, orders, strict=True)
    ]
    return float(np.mean(counts))


def report(weights: np.ndarray, seen: float, unseen: float) -> None:
    """Print one line; only ratios of weights matter."""
    scaled = ", ".join(f"{w:.2f}" for w in weights / abs(weights[0]))
    sys.stdout.write(f"({scaled}): {seen:.4f} misses an edge, {unseen:.4f} on unseen networks\n")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
