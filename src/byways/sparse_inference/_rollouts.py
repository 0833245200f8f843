"""Games played by a torch net, many at once, and what the optimiser learns from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from byways.sparse_inference import _episodes as episodes
from byways.sparse_inference import _ppo as ppo
from byways.sparse_inference._greedy import greedy
from byways.sparse_inference._policies import lru_misses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Move", "Rules", "decode", "greedy_misses", "moves", "rollout"]

_SCALE = 5.0  # misses a unit of reward: keeps values near one


@dataclass(frozen=True, slots=True)
class Rules:
    """What a game offers.

    Attributes:
        everything: All ready edges are choices, and each is a move; otherwise those at the cache
            are, and edges that cost nothing run by themselves.
        places: Vertices that the cache holds.
    """

    everything: bool
    places: int


@dataclass(frozen=True, slots=True)
class Move:
    """One move in every game that is not over.

    Attributes:
        batch: The decisions.
        rows: The choices taken.
        games: Number of each decision's game.
        values: What the net expected.
        misses: What the moves cost.
        ran: Edges that ran.
    """

    batch: ppo.Batch
    rows: torch.Tensor
    games: Ints
    values: Floats
    misses: Ints
    ran: Ints


def moves(
    net: Any,
    nets: episodes.Nets,
    states: episodes.States,
    rules: Rules,
    choose: Callable[[torch.Tensor, ppo.Batch], torch.Tensor],
) -> Iterator[Move]:
    """Play all games to their ends; ``choose`` takes rows from log probabilities."""
    view, count = episodes.blank_view(nets), len(nets.sizes)
    misses, ran = np.zeros(count, np.int64), np.zeros(count, np.int64)
    while True:
        episodes.look(nets, states, rules.everything, view)
        alive = np.flatnonzero(np.diff(view.starts))
        if not alive.size:
            return
        batch = _batch(nets, states, view, alive, rules)
        with torch.no_grad():
            scores, values = net(batch)
            rows = choose(ppo.log_odds(scores, batch), batch)
        edges = np.full(count, -1)
        edges[alive] = view.edges[rows.numpy()]
        episodes.step(nets, states, edges, not rules.everything, misses, ran)
        yield Move(batch, rows, alive, values.numpy(), misses[alive], ran[alive])


def _batch(
    nets: episodes.Nets, states: episodes.States, view: episodes.View, alive: Ints, rules: Rules
) -> ppo.Batch:
    """Copy a view into tensors, without the games that are over."""
    rows = int(view.starts[-1])
    starts = np.append(view.starts[:-1][alive], rows)
    owner = np.repeat(np.arange(len(alive)), np.diff(starts))
    first = starts[:-1][owner]
    by_source, by_target = view.by_source[:rows] + first, view.by_target[:rows] + first
    extras: dict[str, torch.Tensor] = {}
    if rules.everything:  # the policy of the report knows vertices by name
        edges, game = view.edges[:rows], alive[owner]
        cache = np.where(
            np.arange(rules.places) < states.tally[alive, episodes.SIZE, None],
            states.cache[alive],
            -1,
        )
        named = {"row_source": nets.sources[game, edges], "row_target": nets.targets[game, edges]}
        extras = {k: torch.from_numpy(v) for k, v in {**named, "cache": cache}.items()}
    return ppo.Batch(
        torch.from_numpy(owner),
        torch.from_numpy(starts),
        torch.from_numpy(by_source),
        torch.from_numpy(by_target),
        torch.tensor(view.features[:rows]),  # torch's own copy: see _policy_nets
        extras,
    )


def rollout(
    net: Any,
    graphs: Sequence[EdgeGraph],
    rules: Rules,
    settings: ppo.Settings,
    generator: np.random.Generator,
) -> tuple[ppo.Rollout, float]:
    """Play each network once, with choices drawn by their odds.

    A reward is what the greedy order pays on average for so many edges of this network, minus the
    misses: easy networks don't look like good play.

    Returns:
        What to learn from, and the mean misses an edge.
    """
    nets = episodes.pack(graphs)
    states = episodes.start(nets, rules.places)
    usual = np.array([greedy_misses(g, rules.places) / max(g.edges, 1) for g in graphs])
    played = list(moves(net, nets, states, rules, lambda log, b: ppo.draws(log, b, generator)))
    batch = ppo.joined([move.batch for move in played])
    sizes = np.cumsum([0, *(len(move.batch.owner) for move in played)])
    taken = torch.cat([m.rows + int(k) for m, k in zip(played, sizes, strict=False)])
    games = np.concatenate([move.games for move in played])
    rewards = np.concatenate([usual[m.games] * m.ran - m.misses for m in played]) / _SCALE
    values = np.concatenate([move.values for move in played])
    advantage, returns = np.empty(len(games)), np.empty(len(games))
    for i in range(len(graphs)):
        at = np.flatnonzero(games == i)
        advantage[at], returns[at] = ppo.advantages(
            rewards[at], values[at], settings.discount, settings.trace
        )
    found = ppo.Rollout(batch, taken, torch.from_numpy(advantage), torch.from_numpy(returns))
    share = states.tally[:, episodes.MISSES] / np.maximum(nets.sizes[:, 1], 1)
    return found, float(share.mean())


def decode(
    net: Any, graph: EdgeGraph, rules: Rules, samples: int, generator: np.random.Generator
) -> tuple[Ints, Ints]:
    """Play a network with the best choices, and ``samples`` times with drawn ones.

    Returns:
        The orders, shape ``(1 + samples, m)``, and their misses.
    """
    nets = episodes.pack([graph] * (1 + samples))
    states = episodes.start(nets, rules.places)

    def choose(log: torch.Tensor, batch: ppo.Batch) -> torch.Tensor:
        rows = ppo.draws(log, batch, generator)
        rows[0] = ppo.best(log, batch)[0]  # all games end after m moves, so the first is the first
        return rows

    for _ in moves(net, nets, states, rules, choose):
        pass
    return states.order[:, : graph.edges].copy(), states.tally[:, episodes.MISSES].copy()


def greedy_misses(graph: EdgeGraph, places: int) -> int:
    """Count the misses of the cache-aware greedy order."""
    order = greedy(graph, places)
    return int(lru_misses(graph.sources[order], graph.targets[order], graph.vertices, places))
