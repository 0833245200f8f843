"""The door to all order finders."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.seeding import as_generator
from byways.sparse_inference import _simple_orders as simple
from byways.sparse_inference._anneal import anneal
from byways.sparse_inference._doors import as_graph
from byways.sparse_inference._ego import ego
from byways.sparse_inference._greedy import greedy
from byways.sparse_inference._order import EdgeOrder
from byways.sparse_inference._simulate import POLICIES, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph
    from byways.sparse_inference._order_policy import OrderPolicy
    from byways.sparse_inference._training_report import TrainingReport

__all__ = ["METHODS", "order_edges"]

METHODS = (
    "auto",
    "destination",
    "source",
    "random",
    "blocked",
    "source_blocked",
    "ego",
    "greedy",
    "anneal",
    "eon",
)
_SLOW = ("anneal", "eon")  # not for networks of any size
_PARAMETERS = {
    "random": ("rng",),
    "blocked": ("size",),
    "source_blocked": ("size",),
    "ego": ("window",),
    "greedy": ("memory",),
    "anneal": ("memory", "policy", "max_steps", "rng"),
    "eon": ("memory", "policy", "samples", "rng"),
}


def order_edges(
    network: Any,
    method: str = "auto",
    *,
    memory: int = 1024,
    policy: str = "lru",
    size: int | None = None,
    window: int | None = None,
    max_steps: int = 20_000,
    samples: int = 16,
    order_policy: OrderPolicy | TrainingReport | str | Path | None = None,
    rng: int | np.random.Generator | None = 0,
    input_shape: int | Sequence[int] | None = None,
) -> EdgeOrder:
    """Find an order of edges that keeps neuron values in fast memory.

    Args:
        network: What ``compile_network`` takes; an ``EdgeGraph`` is not converted each time.
        method: ``"destination"``, ``"source"`` and ``"random"`` are the plain orders of a layered
            run; ``"blocked"`` and ``"source_blocked"`` work on blocks of targets or sources;
            ``"ego"`` is greedy over all ready edges, across layers, by what they share with the
            last ones; ``"greedy"`` looks into a simulated cache; ``"anneal"`` improves the greedy
            order by simulated annealing and ``"eon"`` plays a learned policy, both for small
            networks; ``"auto"`` simulates all but these two and takes the one with fewest I/Os.
        memory: Numbers that fast memory holds, at least 3; sets the sizes below.
        policy: Under which ``"auto"``, ``"anneal"`` and ``"eon"`` compare: ``"lru"``, ``"min"`` or
            ``"rr"``.
        size: Vertices a block; half of fast memory if None (all but two of its places thrash under
            LRU when the blocks are sparse).
        window: Edges that EGO looks back; ``memory - 1`` if None.
        max_steps: Changes that ``"anneal"`` tries; each simulates the whole order.
        samples: Orders that ``"eon"`` draws, besides the one of its best choices; 0 for that alone.
        order_policy: For ``"eon"``: what ``train_order_policy`` gave back, the path of a saved
            policy, or None for the one that comes with the package. If it is given, ``"auto"``
            tries ``"eon"`` too.
        rng: Seed of ``"random"``, ``"anneal"`` and ``"eon"``.
        input_shape: Shape of one input, for convolutions.

    Returns:
        The order. With ``"auto"`` its parameters hold the I/Os of every candidate.

    Raises:
        ValueError: If a name or number is not allowed.

    References:
        The edge-order report (EGO), 2023; Gleinig, Ben-Nun, Hoefler, 2023 (destination-major is
        optimal up to a factor of two).

    Example:
        >>> from byways.sparse_inference import radix_net
        >>> graph = radix_net(64, 6, base=16)
        >>> order_edges(graph, "ego", memory=24).is_valid(graph)
        True
    """
    _known(method, "method", METHODS)
    _known(policy, "policy", tuple(POLICIES))
    graph = as_graph(network, input_shape)
    places = _positive(memory, "memory", 3) - 1
    block = max(places // 2, 1) if size is None else _positive(size, "size", 1)
    back = places if window is None else _positive(window, "window", 1)
    if method == "auto":
        return _best(graph, places + 1, policy, size, window, rng, order_policy)
    steps, draws = _positive(max_steps, "max_steps", 1), _positive(samples, "samples", 0)
    start = time.perf_counter()
    finders: dict[str, Callable[[], NDArray[np.int64]]] = {
        "destination": lambda: simple.destination(graph),
        "source": lambda: simple.source(graph),
        "random": lambda: simple.random(graph, as_generator(rng)),
        "blocked": lambda: simple.blocked(graph, block),
        "source_blocked": lambda: simple.source_blocked(graph, block),
        "ego": lambda: ego(graph, min(back, max(graph.edges, 1))),
        "greedy": lambda: greedy(graph, places),
        "anneal": lambda: _annealed(graph, places, policy, steps, rng),
        "eon": lambda: _learned(graph, memory, policy, draws, order_policy, rng),
    }
    permutation = finders[method]()
    given = {"size": block, "window": back, "memory": places + 1, "policy": policy,
             "max_steps": steps, "samples": draws, "rng": _named(rng)}  # fmt: skip
    parameters = {name: given[name] for name in _PARAMETERS.get(method, ())}
    return EdgeOrder(permutation, method, parameters, time.perf_counter() - start)


def _best(
    graph: EdgeGraph,
    memory: int,
    policy: str,
    size: int | None,
    window: int | None,
    rng: int | np.random.Generator | None,
    order_policy: OrderPolicy | TrainingReport | str | Path | None,
) -> EdgeOrder:
    start, totals, best = time.perf_counter(), {}, None
    # EGO with a short window keeps to chains of neurons, with a long one to whole neighbourhoods.
    short = max((memory - 1) // 4, 1)
    candidates = [(method, method, window) for method in METHODS[1:] if method not in _SLOW]
    candidates += [(f"ego, window {short}", "ego", short)] if window is None else []
    candidates += [("eon", "eon", None)] if order_policy is not None else []
    for name, method, back in candidates:
        order = order_edges(
            graph, method, memory=memory, policy=policy, size=size, window=back, rng=rng,
            order_policy=order_policy,
        )  # fmt: skip
        totals[name] = simulate(graph, order, memory=memory, policy=policy).total
        if totals[name] == min(totals.values()):
            best = order
    assert best is not None  # there is at least one method
    parameters = {**best.parameters, "io": totals, "memory": memory, "policy": policy}
    return EdgeOrder(best.permutation, best.method, parameters, time.perf_counter() - start)


def _annealed(
    graph: EdgeGraph, places: int, policy: str, steps: int, rng: int | np.random.Generator | None
) -> NDArray[np.int64]:
    start = greedy(graph, places)
    return anneal(graph, start, places, POLICIES[policy], steps, as_generator(rng))


def _learned(
    graph: EdgeGraph,
    memory: int,
    policy: str,
    samples: int,
    order_policy: OrderPolicy | TrainingReport | str | Path | None,
    rng: int | np.random.Generator | None,
) -> NDArray[np.int64]:
    from byways.sparse_inference._order_policy import as_order_policy

    learned = as_order_policy(order_policy)
    orders, _ = learned.play(graph, memory - 1, samples, as_generator(rng))
    totals = [
        simulate(graph, EdgeOrder(order), memory=memory, policy=policy).total for order in orders
    ]
    best: NDArray[np.int64] = orders[int(np.argmin(totals))]
    return best


def _named(rng: int | np.random.Generator | None) -> int | str | None:
    return rng if rng is None or isinstance(rng, int) else "generator"


def _known(value: str, name: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f'"{name}" was {value!r}; it is one of {", ".join(allowed)}')


def _positive(value: object, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f'"{name}" was {value!r}; it is an integer, at least {least}')
    if value < least:
        raise ValueError(f'"{name}" was {value!r}; it is at least {least}')
    return int(value)
