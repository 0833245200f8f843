"""The games of an environment: networks drawn for them, moves, and observations of fixed shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from byways.sparse_inference import _episodes as episodes
from byways.sparse_inference._networks import Draw, Networks, drawn, graphs_of
from byways.sparse_inference._train_policy import whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["Moved", "Table", "read_table"]

_PENALTY = 2.0


def read_table(
    networks: Networks, count: int, memory: int, free_moves: bool, max_edges: int | None
) -> Table:
    """Check what an environment is given, and set up its games."""
    draw, fixed = graphs_of(networks)
    places = whole(memory, "memory", 3) - 1
    if not isinstance(free_moves, bool):
        raise TypeError(f'"free_moves" was {free_moves!r}; it is True or False')
    if max_edges is not None:
        room = whole(max_edges, "max_edges", 1)
    elif draw is None:
        room = max(graph.edges for graph in fixed)
    else:
        raise ValueError('"max_edges" is needed where "networks" is a function: spaces are fixed')
    for graph in fixed:
        _require_room(graph, room)
    return Table(draw, fixed, whole(count, "num_envs", 1), places, free_moves, room)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move did in each game, shape ``(count,)`` each."""

    rewards: NDArray[np.float64]
    misses: Ints
    ran: Ints
    ready: Bools
    over: Bools
    truncated: Bools


class Table:
    """Some games, none of them begun."""

    features = len(episodes.FEATURES)

    def __init__(
        self,
        draw: Draw | None,
        fixed: tuple[EdgeGraph, ...],
        count: int,
        places: int,
        free_moves: bool,
        max_edges: int,
    ) -> None:
        self.count, self.max_edges = count, max_edges
        self._draw, self._fixed = draw, fixed
        self._places, self._free = places, free_moves
        self._graphs: list[EdgeGraph] = []
        self._refused = np.zeros(count, np.int64)

    def graph(self, i: int) -> EdgeGraph:
        """Give a game's network."""
        if not self._graphs:
            raise ValueError("no game has begun; call reset() first")
        return self._graphs[i]

    def order(self, i: int) -> Ints:
        """Give the edges of a game that have run, in order."""
        self.graph(i)
        return self._states.order[i, : self._states.tally[i, episodes.RUN]].copy()

    def mask(self) -> Bools:
        """Tell which edges are ready, shape ``(count, max_edges)``."""
        self.graph(0)
        ready: Bools = self._states.status == episodes.READY
        return ready

    def begin(self, chosen: Bools, generator: np.random.Generator) -> None:
        """Draw networks for the chosen games and begin them."""
        for i in np.flatnonzero(chosen):
            if self._draw is not None:
                graph = drawn(self._draw, generator)
                _require_room(graph, self.max_edges)
            elif len(self._fixed) == 1:
                graph = self._fixed[0]
            else:
                graph = self._fixed[generator.integers(len(self._fixed))]
            self._sit(int(i), graph)
        self._refused[chosen] = 0
        episodes.begin(self._nets, self._states, chosen)

    def _sit(self, i: int, graph: EdgeGraph) -> None:
        if not self._graphs:
            self._graphs = [graph] * self.count
            self._nets = episodes.pack(self._graphs, edges=self.max_edges)
            self._states = episodes.start(self._nets, self._places)
            self._view = episodes.blank_view(self._nets)
        self._graphs[i] = graph
        lacking = graph.vertices - self._states.left.shape[1]
        if lacking > 0:
            self._nets, self._states = episodes.widened(self._nets, self._states, lacking)
        episodes.place(self._nets, i, graph)

    def step(self, actions: Ints) -> Moved:
        """Move all games on; an action of -1 leaves a game alone, one that is not ready costs."""
        self.graph(0)
        games = np.arange(self.count)
        ready = (actions >= 0) & (self._states.status[games, actions] == episodes.READY)
        self._refused += (actions >= 0) & ~ready
        misses, ran = np.zeros(self.count, np.int64), np.zeros(self.count, np.int64)
        episodes.step(
            self._nets, self._states, np.where(ready, actions, -1), self._free, misses, ran
        )
        rewards = -misses - _PENALTY * ((actions >= 0) & ~ready)
        over = self._states.tally[:, episodes.RUN] == self._nets.sizes[:, 1]
        truncated = ~over & (self._refused >= self.max_edges)
        return Moved(rewards, misses, ran, ready, over, truncated)

    def observe(self) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Give features, shape ``(count, max_edges, features)``, and the mask as numbers."""
        episodes.look(self._nets, self._states, True, self._view)
        features = np.zeros((self.count, self.max_edges, self.features), np.float32)
        episodes.spread(self._view, features)
        return features, self.mask().astype(np.int8)


def _require_room(graph: EdgeGraph, room: int) -> None:
    if graph.edges > room:
        raise ValueError(
            f'a network has {graph.edges} edges, more than the {room} of "max_edges"; give more'
        )
