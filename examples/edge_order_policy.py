"""
Learn in which order to run edges
=================================

A sparse network runs edge by edge, and fast memory holds a few neurons only. Which edge should be
next? This script plays that as a game, trains a policy on small random networks, and tries it on
networks that it has never seen. With a file name it trains longer and writes the policy that comes
with the package::

    python examples/edge_order_policy.py --full order_policy.npz
"""

# %%
# The game
# --------
# A move runs an edge whose source is finished. It costs one for each of its two ends that is not
# among the eight neurons used last. Networks are four layers of 16 neurons with a fifth of the
# edges; each game is on a fresh one, so that nothing can be learned by heart.

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np

from byways.sparse_inference import (
    EdgeGraph,
    EdgeOrderEnv,
    order_edges,
    random_sparse,
    simulate,
    train_order_policy,
)

MEMORY = 9  # eight neurons, and a place for the weight
FULL = "--full" in sys.argv


def draw(rng: np.random.Generator) -> EdgeGraph:
    """Draw a network."""
    return random_sparse([16] * 5, 0.2, rng=rng)


env = EdgeOrderEnv(draw, memory=MEMORY, max_edges=400)
observation, info = env.reset(seed=0)
print(f"{info['edges']} edges, {env.action_masks().sum()} of them may run first")

# %%
# Training
# --------
# The policy scores the ready edges at the cache from what they share with it; it begins as the
# greedy order, so it is never worse than that where it is judged. A search without gradients turns
# its linear part first, then proximal policy optimisation trains all of it. ``run_dir`` would make
# it go on after a stop.

if FULL:
    report = train_order_policy(
        draw,
        memory=MEMORY,
        search_steps=40,
        max_steps=150,
        held_out=[random_sparse([16] * 5, 0.2, rng=seed) for seed in range(1000, 1040)],
        progress=lambda event: print(event.done, event.message, flush=True),
    )
else:
    report = train_order_policy(
        draw, memory=MEMORY, search_steps=12, max_steps=8, games=16, every=2
    )
print(report)

# %%
# Learning curves
# ---------------

ax = report.plot()
plt.show()

# %%
# Unseen networks
# ---------------
# Misses an edge, on average over networks from other seeds: the layered run, the greedy order, the
# policy just trained, and the one that comes with the package, which ``order_edges`` takes if none
# is given. ``samples`` draws more orders by the policy's odds and keeps the best.

unseen = [random_sparse([16] * 5, 0.2, rng=seed) for seed in range(500, 520)]


def misses(method: str, **options: object) -> float:
    """Give the mean misses an edge of a method."""
    orders = [order_edges(graph, method, memory=MEMORY, **options) for graph in unseen]
    return float(
        np.mean(
            [
                simulate(graph, order, memory=MEMORY).lru_misses / graph.edges
                for graph, order in zip(unseen, orders, strict=True)
            ]
        )
    )


table = {
    "destination": misses("destination"),
    "greedy": misses("greedy"),
    "just trained": misses("eon", samples=0, order_policy=report),
    "shipped": misses("eon", samples=0),
    "shipped, best of 17": misses("eon", samples=16),
}
for name, value in table.items():
    print(f"{name:20} {value:.3f}")

fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
bars = ax.barh(list(table)[::-1], list(table.values())[::-1], color="#4c78a8")
ax.bar_label(bars, fmt="%.3f", padding=3)
ax.set(xlabel="misses an edge, 20 unseen networks", xlim=(0, 1.25))
plt.show()

# %%
# The file
# --------

if FULL:
    report.policy.save(sys.argv[-1])
    print(f"written to {sys.argv[-1]}")
