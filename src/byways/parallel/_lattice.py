"""The cut of a chain of T steps into K chunks of c, and what rolls it out.

Axes: T steps, B sequences, c steps of a chunk, K chunks, N = K B lanes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from byways.parallel._cells import State, Step

__all__ = ["Lattice", "RecurrenceInfo", "chunk_count", "lanes_like", "largest", "roll", "stack"]


@dataclass(slots=True)
class RecurrenceInfo:
    """How a recurrence was computed.

    Attributes:
        strategy: ``"shooting"``, ``"floor"``, ``"torch"``, ``"sequential"``, or the strategy of the
            scan of the backward pass.
        chunks: Number of chunks K, 1 if none were made.
        iterations: Roll-outs of all chunks that the forward pass took, the burn-in not counted.
        converged: Whether every sequence met the tolerance. What did not was computed step by step.
        jump: Largest difference between a chunk's end and the next one's start in what was
            returned; 0 where nothing was cut.
        fallback: Sequences that were computed step by step in the forward pass.
        backward_iterations: Passes over the chunk graph in the last backward pass.
        backward_fallback: Sequences whose backward pass went chunk by chunk.
    """

    strategy: str
    chunks: int = 1
    iterations: int = 0
    converged: bool = True
    jump: float = 0.0
    fallback: tuple[int, ...] = ()
    backward_iterations: int = 0
    backward_fallback: tuple[int, ...] = ()


def chunk_count(steps: int, sequences: int) -> int:
    """Give the number of chunks that balances lanes and steps: about sqrt(T), less in batches."""
    lanes = steps if sequences <= 4 else steps / 2
    return max(1, round(math.sqrt(lanes)))


@dataclass(frozen=True, slots=True)
class Lattice:
    """T steps of B sequences as K chunks of c steps, the last one padded."""

    T: int
    B: int
    K: int
    c: int
    lengths: Tensor | None

    @classmethod
    def of(cls, x_TBI: Tensor, lengths: Tensor | None, chunks: int | None) -> Lattice:
        """Cut the given inputs; ``chunks`` is a wish, T at most and without empty chunks."""
        T, B = x_TBI.shape[:2]
        c = -(-T // min(chunk_count(T, B) if chunks is None else chunks, T))
        return cls(T, B, -(-T // c), c, lengths)

    def rows(self, rows: Tensor) -> Lattice:
        """Give the same cut for some of the sequences."""
        lengths = None if self.lengths is None else self.lengths[rows]
        return Lattice(self.T, len(rows), self.K, self.c, lengths)

    def cut(self, x_TB: Tensor) -> Tensor:
        """Give ``(c, N, ...)``, contiguous, zero in the padding."""
        missing = self.K * self.c - self.T
        if missing:
            x_TB = torch.cat((x_TB, x_TB.new_zeros(missing, *x_TB.shape[1:])))
        x_cKB = x_TB.unflatten(0, (self.K, self.c)).transpose(0, 1)
        x_cN: Tensor = x_cKB.contiguous().flatten(1, 2)
        return x_cN

    def join(self, x_cN: Tensor) -> Tensor:
        """Give ``(T, B, ...)`` back from ``(c, N, ...)``."""
        return self.chunks(x_cN, 1).transpose(0, 1).flatten(0, 1)[: self.T]

    def chunks(self, x_N: Tensor, dim: int = 0) -> Tensor:
        """Split the axis of lanes N into K and B."""
        split: Tensor = x_N.unflatten(dim, (self.K, self.B))
        return split

    def valid(self, device: torch.device) -> Tensor | None:
        """Tell which lanes are still running, ``(c, N, 1)``; None if all are."""
        if self.lengths is None:
            return None
        times = torch.arange(self.K * self.c, device=device).view(self.K, self.c).T
        return (times[..., None] < self.lengths).flatten(1, 2)[..., None]


def roll(step: Step, x_TNI: Tensor, state: State, valid_TN1: Tensor | None = None) -> list[State]:
    """Apply ``step`` to one time step after the other; where not valid the state is held."""
    states = []
    for t, x_NI in enumerate(x_TNI.unbind(0)):
        new = step(x_NI, state)
        if valid_TN1 is not None:
            runs = valid_TN1[t, :, 0]
            pairs = zip(new, state, strict=True)
            new = tuple(torch.where(lanes_like(runs, a), a, b) for a, b in pairs)
        state = new
        states.append(state)
    return states


def lanes_like(mask: Tensor, like: Tensor) -> Tensor:
    """Append axes to a mask over the first axes of a tensor, so that it broadcasts."""
    return mask.reshape(*mask.shape, *(1,) * (like.ndim - mask.ndim))


def stack(states: list[State]) -> State:
    """Stack a roll-out along time, part by part."""
    return tuple(torch.stack(parts) for parts in zip(*states, strict=True))


def largest(parts: State) -> float:
    """Give the largest absolute value."""
    return max((float(part.abs().max()) for part in parts if part.numel()), default=0.0)
