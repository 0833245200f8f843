"""What a training is to do, and on which networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from byways.core.seeding import task_generator
from byways.sparse_inference._networks import drawn, graphs_of
from byways.sparse_inference._order_policy import network_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from byways.sparse_inference._graph import EdgeGraph
    from byways.sparse_inference._networks import Networks

__all__ = ["Plan", "Source"]

_HELD_OUT = 20  # networks drawn to judge by


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides the result, apart from the networks."""

    memory: int
    kind: str
    search_steps: int
    max_steps: int
    games: int
    width: int
    rounds: int
    learning_rate: float
    discount: float
    entropy: float
    every: int
    seed: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where networks come from, and those to judge by."""

    draw: Callable[[np.random.Generator], EdgeGraph] | None
    fixed: tuple[EdgeGraph, ...]
    held_out: tuple[EdgeGraph, ...]

    @classmethod
    def of(cls, networks: Networks, held_out: Sequence[EdgeGraph] | None, plan: Plan) -> Source:
        """Check what was given."""
        draw, fixed = graphs_of(networks)
        if plan.kind == "laplacian" and len(fixed) != 1:
            raise ValueError(
                'a policy of kind "laplacian" is for one network; give one as "networks", or '
                'train kind "mpnn"'
            )
        if plan.kind == "laplacian" and held_out is not None:
            raise ValueError('"held_out" is for kind "mpnn": kind "laplacian" knows one network')
        if held_out is not None:
            return cls(draw, fixed, graphs_of(held_out, "held_out")[1])
        generator = task_generator(plan.seed, "held out")
        unseen = tuple(drawn(draw, generator) for _ in range(_HELD_OUT)) if draw else fixed
        return cls(draw, fixed, unseen)

    def take(self, count: int, generator: np.random.Generator) -> list[EdgeGraph]:
        """Give the networks of one update."""
        if self.draw is None:
            return [self.fixed[k % len(self.fixed)] for k in range(count)]
        return [drawn(self.draw, generator) for _ in range(count)]

    def digests(self, seed: int) -> list[str]:
        """Name the networks; those that a function draws, by the first."""
        first = self.take(1, task_generator(seed, "name")) if self.draw else list(self.fixed)
        return [network_digest(graph) for graph in [*first, *self.held_out]]
