"""The backward pass of multiple shooting: cotangents, chunk by chunk in parallel.

The cotangent u_k that chunk k receives at its end is the one that chunk k+1 sends out at its start,
u_k = VJP_{k+1}(g_{k+1}, u_{k+1}), with g the gradients of a chunk's own states. All chunks send at
once, on the autograd graph of the last roll-out: c nodes instead of T. The pass that confirms u
also delivers the gradients of inputs and parameters. A sequence whose cotangents do not settle goes
through its chunks one by one, from the last to the first, which is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from byways.parallel._cells import State, Step
from byways.parallel._first_order import first_order
from byways.parallel._lattice import Lattice, RecurrenceInfo, roll, stack

__all__ = ["Adjoint", "stitch"]

# A cotangent has no scale of its own: relative to the largest of its sequence over all chunks.
_TOLERANCES = {torch.float32: 2e-6, torch.float64: 1e-12}

Gradients = list[Tensor | None]


@dataclass(frozen=True, slots=True)
class Adjoint:
    """The recorded roll-out and what its backward pass needs.

    ``leaves`` are the inputs ``(c, N, ...)`` and the chunk starts ``(N, ...)`` of the graph of
    ``states`` ``(c, N, ...)``.
    """

    step: Step
    lattice: Lattice
    leaves: tuple[Tensor, ...]
    states: State
    parameters: tuple[Tensor, ...]
    limit: int
    residual: bool
    info: RecurrenceInfo

    def solve(self, gradients: tuple[Tensor, ...], wanted: tuple[bool, ...]) -> Gradients:
        """Give the gradients of x ``(T, B, ...)``, initial state and parameters."""
        lattice = self.lattice
        g = tuple(lattice.cut(gradient) for gradient in gradients)
        u = tuple(torch.zeros_like(s) for s in self.leaves[1:])
        self.info.backward_iterations, settled = 0, False
        while not settled and self.info.backward_iterations <= max(self.limit, 1):
            # The first pass starts from u = 0, so it confirms u only where there is one chunk.
            whole = self.info.backward_iterations > 0 or lattice.K == 1
            found = self._pull(g, u, wanted if whole else self._starts_only(wanted))
            passed, u = self._update(u, found)
            self.info.backward_iterations += 1
            settled = whole and bool(passed.all())
        failed = torch.nonzero(~passed).flatten()
        self.info.backward_fallback = tuple(failed.tolist())
        if len(failed) == 0:
            return self._outward(found)
        # Cotangents of the failed sequences are silenced here and go their own way.
        g_rest = tuple(_silenced(lattice.chunks(part, 1), failed) for part in g)
        u_rest = tuple(_silenced(lattice.chunks(part)[None], failed)[0] for part in u)
        found = self._outward(self._pull(g_rest, u_rest, wanted))
        return self._add_rows(found, self._one_by_one(g, failed, wanted), failed)

    def _starts_only(self, wanted: tuple[bool, ...]) -> tuple[bool, ...]:
        return tuple(1 <= i < len(self.leaves) for i in range(len(wanted)))

    def _pull(self, g: State, u: State, wanted: tuple[bool, ...]) -> Gradients:
        """Pull g and the ends' cotangents u back; the starts are always among the answers."""
        inputs = (*self.leaves, *self.parameters)
        starts = range(1, len(self.leaves))
        chosen = [i for i in range(len(inputs)) if wanted[i] or i in starts]
        with torch.enable_grad():
            last = tuple(s[-1] for s in self.states)
        got = torch.autograd.grad(
            (*self.states, *last),
            [inputs[i] for i in chosen],
            (*g, *u),
            retain_graph=True,
            materialize_grads=True,
        )
        answer: Gradients = [None] * len(inputs)
        for i, gradient in zip(chosen, got, strict=True):
            answer[i] = gradient
        return answer

    def _update(self, u: State, found: Gradients) -> tuple[Tensor, State]:
        """Hand each start's cotangent to the chunk before; tell which sequences had it already."""
        passed = torch.ones(self.lattice.B, dtype=torch.bool, device=u[0].device)
        updated = []
        for part, sent in zip(u, found[1 : len(self.leaves)], strict=True):
            old, new = self.lattice.chunks(part), torch.zeros_like(part)
            received = self.lattice.chunks(new)
            change = self.lattice.chunks(_present(sent))[1:] - old[:-1]
            received[:-1] = old[:-1] + (_reversed_sum(change) if self.residual else change)
            relative = _TOLERANCES.get(part.dtype, _TOLERANCES[torch.float32])
            sizes = received.abs().transpose(0, 1).flatten(1).amax(1)
            changes = change.abs().transpose(0, 1).flatten(1)
            passed &= (changes <= relative * sizes[:, None]).all(1)
            updated.append(new)
        return passed, tuple(updated)

    def _outward(self, found: Gradients) -> Gradients:
        """Bring the gradients of the leaves into the shapes of x and the initial state."""
        states = [self.lattice.chunks(_present(s))[0] for s in found[1 : len(self.leaves)]]
        x = None if found[0] is None else self.lattice.join(found[0])
        return [x, *states, *found[len(self.leaves) :]]

    def _one_by_one(self, g: State, rows: Tensor, wanted: tuple[bool, ...]) -> Gradients:
        """Do some sequences exactly: from the last chunk to the first, each rolled out anew."""
        lattice, states = self.lattice, len(self.leaves) - 1
        pieces = [lattice.chunks(part, 1)[:, :, rows] for part in (self.leaves[0], *g)]
        starts = [lattice.chunks(part)[:, rows] for part in self.leaves[1:]]
        u = tuple(torch.zeros_like(part[0]) for part in starts)
        total: Gradients = [None] * len(wanted)
        x_gradients: Gradients = []
        for k in range(lattice.K - 1, -1, -1):
            chunk = self._chunk(k, rows, pieces[0][:, k], tuple(s[k] for s in starts))
            found = chunk._pull(tuple(part[:, k] for part in pieces[1:]), u, wanted)
            u = tuple(_present(s) for s in found[1 : 1 + states])
            x_gradients.insert(0, found[0])
            for i in range(1 + states, len(total)):
                total[i] = _sum(total[i], found[i])
        if wanted[0]:
            x_cKB = torch.stack([_present(part) for part in x_gradients], 1)
            total[0] = lattice.rows(rows).join(x_cKB.flatten(1, 2))
        total[1 : 1 + states] = u
        return total

    def _chunk(self, k: int, rows: Tensor, x_cBI: Tensor, starts: State) -> Adjoint:
        """Roll out one chunk of some sequences by itself."""
        valid = self.lattice.valid(x_cBI.device)
        if valid is not None:
            valid = self.lattice.chunks(valid, 1)[:, k, rows]
        leaves = tuple(leaf.detach().requires_grad_() for leaf in (x_cBI, *starts))
        with torch.enable_grad():
            states = stack(roll(self.step, leaves[0], leaves[1:], valid))
        alone = Lattice(self.lattice.c, len(rows), 1, self.lattice.c, None)
        return replace(self, lattice=alone, leaves=leaves, states=states)

    def _add_rows(self, found: Gradients, more: Gradients, rows: Tensor) -> Gradients:
        if found[0] is not None and more[0] is not None:
            found[0] = found[0].index_copy(1, rows, more[0])
        for i in range(1, len(self.leaves)):
            found[i] = _present(found[i]).index_copy(0, rows, _present(more[i]))
        for i in range(len(self.leaves), len(found)):
            found[i] = _sum(found[i], more[i])
        return found


def stitch(adjoint: Adjoint, joined: State, inputs: tuple[Tensor, ...]) -> State:
    """Give ``joined`` as a differentiable function of x, the initial state and the parameters."""
    stitched: State = _Stitch.apply(adjoint, joined, *inputs)
    return stitched


class _Stitch(torch.autograd.Function):
    """The joint between the caller's graph and the chunks' graph. First order only."""

    @staticmethod
    def forward(ctx: Any, adjoint: Adjoint, joined: State, *inputs: Tensor) -> State:
        ctx.adjoint = adjoint
        return joined

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        wanted = tuple(ctx.needs_input_grad[2:])
        found = ctx.adjoint.solve(gradients, wanted)
        return (None, None, *(f if w else None for f, w in zip(found, wanted, strict=True)))


def _present(gradient: Tensor | None) -> Tensor:
    """Narrow a type: the gradients of the starts are always asked for."""
    if gradient is None:
        raise AssertionError("the gradient of a chunk's start was not computed")
    return gradient


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _reversed_sum(x: Tensor) -> Tensor:
    """Sum from each chunk to the last."""
    return x.flip(0).cumsum(0).flip(0)


def _silenced(part_cKB: Tensor, rows: Tensor) -> Tensor:
    """Zero the cotangents of some sequences, lanes flat again."""
    return part_cKB.index_fill(2, rows, 0.0).flatten(1, 2)
