"""Ordering edges as a Gymnasium environment, for one network at a time or many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from byways.sparse_inference._order import EdgeOrder
from byways.sparse_inference._table import Table, read_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph
    from byways.sparse_inference._networks import Networks

__all__ = ["EdgeOrderEnv", "EdgeOrderVectorEnv"]

Observation = dict[str, Any]


class EdgeOrderEnv(gymnasium.Env[Observation, np.int64]):
    """Put the edges of a network in order, one a step; the reward is minus the misses.

    Fast memory is an LRU cache of ``memory - 1`` vertices. An action is the number of a ready edge;
    running it costs its ends that are not in the cache, source first. A game ends when all edges
    have run, and its rewards add up to minus the ``lru_misses`` that ``simulate`` counts for
    ``order``.

    An observation is a dictionary: ``"features"``, shape ``(max_edges, 16)``, one row an edge,
    zeros where it is not ready, and ``"mask"``, shape ``(max_edges,)``, 1 for ready edges. An
    action that is not ready runs nothing and costs 2, as much as the dearest edge; ``max_edges`` of
    them truncate a game.

    Args:
        networks: A network, several from which each game takes one, or a function that draws one
            with the generator it is given.
        memory: Numbers that fast memory holds, at least 3.
        free_moves: After each action run the ready edges that cost nothing, those that finish a
            vertex first. Games get shorter and every action matters.
        max_edges: Room for edges; the largest network given if None.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a number is not allowed, ``max_edges`` is missing beside a function, or a
            network does not fit.
        MissingDependencyError: If gymnasium is not installed.

    References:
        The edge-order report (EON), 2023.

    Example:
        >>> from byways.sparse_inference import random_sparse, simulate
        >>> env = EdgeOrderEnv(random_sparse([8, 8, 4], 0.3, rng=0), memory=5)
        >>> observation, info = env.reset(seed=0)
        >>> total, over = 0.0, False
        >>> while not over:
        ...     action = np.flatnonzero(env.action_masks())[0]
        ...     observation, reward, over, truncated, info = env.step(action)
        ...     total += reward
        >>> -int(total) == simulate(env.graph, env.order, memory=5).lru_misses
        True
    """

    metadata = {"render_modes": []}  # noqa: RUF012  as the base class has it

    def __init__(
        self,
        networks: Networks,
        *,
        memory: int = 9,
        free_moves: bool = False,
        max_edges: int | None = None,
    ) -> None:
        self._table = read_table(networks, 1, memory, free_moves, max_edges)
        self.action_space = spaces.Discrete(self._table.max_edges)
        self.observation_space = _observation_space(self._table)
        self._over = True

    @property
    def graph(self) -> EdgeGraph:
        """The network of the current game."""
        return self._table.graph(0)

    @property
    def order(self) -> EdgeOrder:
        """The edges in the order in which they ran, all of them once the game is over."""
        return EdgeOrder(self._table.order(0), "environment")

    def action_masks(self) -> NDArray[np.bool_]:
        """Tell which actions are ready edges, under the name that maskable learners ask for."""
        mask: NDArray[np.bool_] = self._table.mask()[0]
        return mask

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a game; ``options`` has no entries that matter."""
        super().reset(seed=seed)
        self._table.begin(np.ones(1, np.bool_), self.np_random)
        self._over = False
        features, mask = self._table.observe()
        return {"features": features[0], "mask": mask[0]}, {"edges": self.graph.edges}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Run an edge.

        Returns:
            Observation, reward, whether all edges have run, whether too many actions were not
            ready, and a dictionary: ``"misses"`` and ``"ran"`` of this step, ``"ready"`` whether
            the action was.

        Raises:
            ValueError: If no game is going on, or the action is out of range.
        """
        if self._over:
            raise ValueError("the game is over, or has not begun; call reset() first")
        if not self.action_space.contains(np.int64(action)):
            raise ValueError(
                f'"action" was {int(action)}; it is the number of an edge, below '
                f"{self._table.max_edges}"
            )
        moved = self._table.step(np.array([action]))
        features, mask = self._table.observe()
        over, truncated = bool(moved.over[0]), bool(moved.truncated[0])
        self._over = over or truncated
        info = {"misses": int(moved.misses[0]), "ran": int(moved.ran[0]),
                "ready": bool(moved.ready[0])}  # fmt: skip
        observation = {"features": features[0], "mask": mask[0]}
        return observation, float(moved.rewards[0]), over, truncated, info

    @staticmethod
    def vectorised(
        networks: Networks,
        num_envs: int,
        *,
        memory: int = 9,
        free_moves: bool = False,
        max_edges: int | None = None,
    ) -> EdgeOrderVectorEnv:
        """Give an environment of many games that compiled code moves on together.

        Args:
            networks: As above.
            num_envs: Number of games.
            memory: As above.
            free_moves: As above.
            max_edges: As above.
        """
        return EdgeOrderVectorEnv(networks, num_envs, memory, free_moves, max_edges)


class EdgeOrderVectorEnv(VectorEnv[Observation, Any, Any]):
    """Many games of ``EdgeOrderEnv``, moved on together; a game that is over begins anew.

    The step after the last of a game ignores its action, begins the next game, and gives reward 0.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        networks: Networks,
        num_envs: int,
        memory: int,
        free_moves: bool,
        max_edges: int | None,
    ) -> None:
        self._table = read_table(networks, num_envs, memory, free_moves, max_edges)
        self.num_envs = self._table.count
        self.single_action_space = spaces.Discrete(self._table.max_edges)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.single_observation_space = _observation_space(self._table)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._waiting = np.zeros(self.num_envs, np.bool_)

    def action_masks(self) -> NDArray[np.bool_]:
        """Tell which actions are ready edges, shape ``(num_envs, max_edges)``."""
        return self._table.mask()

    def orders(self) -> list[EdgeOrder]:
        """Give what ran so far in each game."""
        return [EdgeOrder(self._table.order(i), "environment") for i in range(self.num_envs)]

    def graphs(self) -> list[EdgeGraph]:
        """Give the network of each game."""
        return [self._table.graph(i) for i in range(self.num_envs)]

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin all games; ``options`` has no entries that matter."""
        super().reset(seed=seed)
        self._waiting[:] = False
        self._table.begin(np.ones(self.num_envs, np.bool_), self.np_random)
        features, mask = self._table.observe()
        return {"features": features, "mask": mask}, {}

    def step(
        self, actions: Any
    ) -> tuple[
        Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Run an edge of each game; see ``EdgeOrderEnv.step``."""
        chosen = np.where(self._waiting, -1, np.asarray(actions, np.int64))
        self._table.begin(self._waiting, self.np_random)
        moved = self._table.step(chosen)
        self._waiting = moved.over | moved.truncated
        features, mask = self._table.observe()
        info = {"misses": moved.misses, "ran": moved.ran, "ready": moved.ready}
        observation = {"features": features, "mask": mask}
        return observation, moved.rewards, moved.over, moved.truncated, info


def _observation_space(table: Table) -> spaces.Dict:
    shape = (table.max_edges, table.features)
    return spaces.Dict(
        {
            "features": spaces.Box(0.0, max(2.0 * table.max_edges, 4.0), shape, np.float32),
            "mask": spaces.Box(0, 1, shape[:1], np.int8),
        }
    )
