"""Multiple shooting for ``solve_recurrence``: rounds of chunks rolled out side by side.

The steps are looked up by their number, so inputs can be any pytree and lanes any axes. The chain
is cut as in ``_shooting``, which keeps a graph through a cell; here gradients are implicit, and the
same fallback as for the other methods takes what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from byways.parallel._lattice import Lattice, chunk_count, roll, stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from byways.parallel._cells import State
    from byways.parallel._newton import Iteration

__all__ = ["roll_out"]


def roll_out(
    step: Callable[[Tensor, Tensor], Tensor], iteration: Iteration, init: Tensor | None, steps: int
) -> tuple[Tensor, Tensor]:
    """Correct guessed chunk starts by the end of the chunk before, until they agree.

    The first k of K chunks are right after k rounds.

    Args:
        step: Takes the numbers of K steps and K states.
        iteration: Start, tolerance, bounds, and the report; none of its matrices is used.
        init: Guess of all states, or None.
        steps: Number of steps, at least 1.

    Returns:
        The states, and the jump into each step over its tolerance, zero inside of chunks.
    """
    start, info = iteration.start, iteration.info
    index = torch.arange(steps, device=start.device)[:, None]
    chunks = chunk_count(steps, max(1, start[..., 0].numel()))
    lattice = Lattice.of(index, None, chunks)
    index = lattice.cut(index)

    def numbered(numbers: Tensor, state: State) -> State:
        return (step(numbers, state[0]),)

    firsts = torch.arange(lattice.K, device=start.device) * lattice.c
    starts = start.expand(lattice.K, *start.shape).clone()
    if init is not None:
        starts[1:] = init[firsts[1:] - 1]
    elif lattice.K > 1:  # what forgets its start is right after half a chunk already
        starts[1:] = roll(numbered, index[lattice.c // 2 :], (starts,))[-1][0][:-1]
    excess = start.new_zeros((steps, *start.shape[:-1]))
    while True:
        info.iterations += 1
        (states,) = stack(roll(numbered, index, (starts,)))
        ends = states[-1, :-1]
        excess[firsts[1:]] = iteration.excess(ends, starts[1:])
        info.residuals.append(float(excess.max()))
        if info.residuals[-1] <= 1 or info.iterations >= iteration.max_steps:
            return lattice.join(states)[:, 0], excess
        ends = ends if iteration.bounds is None else ends.clamp(*iteration.bounds)
        # A sequence whose chunks meet is left alone, whatever its neighbours still do.
        starts[1:] = torch.where(excess.amax(dim=0)[None, ..., None] > 1, ends, starts[1:])
