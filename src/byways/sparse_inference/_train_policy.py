"""The door to training an order policy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from byways.core.optional import require
from byways.core.progress import as_progress
from byways.core.seeding import as_generator
from byways.sparse_inference._order_policy import KINDS
from byways.sparse_inference._plan import Plan, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from byways.core.progress import Listener
    from byways.sparse_inference._graph import EdgeGraph
    from byways.sparse_inference._networks import Networks
    from byways.sparse_inference._training_report import TrainingReport

__all__ = ["train_order_policy", "whole"]


def train_order_policy(
    networks: Networks,
    *,
    memory: int = 9,
    kind: str = "mpnn",
    search_steps: int = 40,
    max_steps: int = 200,
    games: int = 64,
    width: int = 16,
    rounds: int = 1,
    learning_rate: float = 1e-2,
    discount: float = 1.0,
    entropy: float = 0.0,
    every: int = 10,
    held_out: Sequence[EdgeGraph] | None = None,
    run_dir: str | Path | None = None,
    time_limit: float | None = None,
    progress: bool | Listener = False,
    rng: int | np.random.Generator | None = 0,
) -> TrainingReport:
    """Train a policy that orders edges, by proximal policy optimisation.

    A move runs a ready edge and costs the ends that an LRU cache of ``memory - 1`` vertices does
    not hold. Each update plays ``games`` networks to their ends. A policy of kind ``"mpnn"`` starts
    as the greedy order and is kept where it has fewest misses on the held-out networks, so it is
    never worse there. The result depends on the arguments alone, not on when a run was stopped
    and went on.

    Args:
        networks: A network, several, or a function that draws one with the generator it is given:
            only fresh networks teach a policy that works on others.
        memory: Numbers that fast memory holds, at least 3, as in ``simulate``.
        kind: ``"mpnn"`` passes messages between the ready edges at the cache and works on any
            network afterwards; ``"laplacian"`` is the policy of the edge-order report, attention
            over eigenvectors of one network's Laplacian, for that network only.
        search_steps: Steps of a search over the policy's linear part (``"mpnn"``), before the
            updates: cheap, and most of the gain.
        max_steps: Updates by proximal policy optimisation.
        games: Games an update.
        width: Units of each layer of the policy.
        rounds: Rounds of message passing (``"mpnn"``).
        learning_rate: Step size of Adam.
        discount: Of rewards, a move; 1 counts every later miss fully.
        entropy: Weight of the bonus for undecided choices.
        every: Updates between two looks at the held-out networks.
        held_out: Networks to judge by; if None, 20 drawn from the function, or the networks given.
        run_dir: Folder that keeps the state after every update; the same call goes on from there.
        time_limit: Seconds after which training ends early, at the next update.
        progress: True for a bar, or a function that takes a ``ProgressEvent``.
        rng: Seed; a generator gives one number for a seed.

    Returns:
        The report; its ``policy`` goes to ``order_edges(graph, "eon", order_policy=...)``.
        Ctrl-C ends training with outcome ``INTERRUPTED`` and the state of the last update.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a number, name or network is not allowed.
        MissingDependencyError: If torch is not installed.
        RunMismatchError: If ``run_dir`` belongs to another training.

    References:
        The edge-order report (EON), 2023; Schulman et al., Proximal Policy Optimization, 2017.

    Example:
        >>> from byways.sparse_inference import order_edges, random_sparse, simulate
        >>> def draw(rng):
        ...     return random_sparse([8, 8, 8], 0.3, rng=rng)
        >>> report = train_order_policy(draw, memory=5, max_steps=2, games=8, every=1)
        >>> report.best_misses <= report.start_misses
        True
        >>> graph = random_sparse([12, 12, 12], 0.3, rng=1)
        >>> order_edges(graph, "eon", memory=5, order_policy=report).is_valid(graph)
        True
    """
    require("torch", extra="rl", purpose="Training an order policy")
    from byways.sparse_inference._training import train

    if kind not in KINDS:
        raise ValueError(f'"kind" was {kind!r}; it is one of {", ".join(KINDS)}')
    search = whole(search_steps, "search_steps", 0) if kind == "mpnn" else 0
    plan = Plan(
        whole(memory, "memory", 3), kind, search, whole(max_steps, "max_steps", 0),
        whole(games, "games", 1), whole(width, "width", 1), whole(rounds, "rounds", 1),
        _positive(learning_rate, "learning_rate"), _positive(discount, "discount", 1.0),
        _positive(entropy, "entropy") if entropy != 0 else 0.0, whole(every, "every", 1),
        _root(rng),
    )  # fmt: skip
    limit = None if time_limit is None else _positive(time_limit, "time_limit")
    source = Source.of(networks, held_out, plan)
    folder = None if run_dir is None else Path(run_dir)
    return train(plan, source, folder, limit, as_progress(progress))


def whole(value: object, name: str, least: int) -> int:
    """Check a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f'"{name}" was {value!r}; it is a whole number, at least {least}')
    if value < least:
        raise ValueError(f'"{name}" was {value!r}; it is at least {least}')
    return int(value)


def _positive(value: object, name: str, most: float = math.inf) -> float:
    limit = "" if most == math.inf else f" and at most {most:g}"
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f'"{name}" was {value!r}; it is a number above 0{limit}')
    if not (0 < value <= most and math.isfinite(value)):
        raise ValueError(f'"{name}" was {value!r}; it is a number above 0{limit}')
    return float(value)


def _root(rng: int | np.random.Generator | None) -> int:
    if isinstance(rng, int) and not isinstance(rng, bool):
        return rng
    return int(as_generator(rng).integers(2**62))
