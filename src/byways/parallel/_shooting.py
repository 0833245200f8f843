"""Multiple shooting: chunks of a recurrence rolled out side by side.

A chain h_t = f_t(h_{t-1}) of T steps is cut into K chunks of c steps. From guessed chunk starts
s_1..s_K (s_1 = h_0) all chunks are rolled out in lockstep: c steps on K B lanes with the true f.
Each chunk's end e_k should be the next one's start; the K - 1 differences, the jumps, are the whole
residual of the chain. The correction

    s_{k+1} <- e_k + P (s_k,new - s_k)

uses P = 0 for systems that forget (recurrent cells) and P = I for residual chains. Either way the
first k chunks are exact after k rounds, so K rounds always suffice; few do when a chunk forgets its
start. A chaotic system never forgets, and its sequences are computed step by step instead.

Axes: T steps, B sequences, c steps of a chunk, K chunks, N = K B lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from byways.parallel._adjoint import Adjoint, stitch
from byways.parallel._cells import State, Step
from byways.parallel._lattice import Lattice, RecurrenceInfo, lanes_like, largest, roll, stack

__all__ = ["shoot"]

# Per element: |jump| <= absolute + relative |end|.
_TOLERANCES = {torch.float32: (1e-6, 1e-5), torch.float64: (1e-12, 1e-10)}


def shoot(
    step: Step,
    x_TBI: Tensor,
    state: State,
    parameters: Sequence[Tensor] = (),
    *,
    lengths: Tensor | None = None,
    chunks: int | None = None,
    max_steps: int | None = None,
    expected: int = 1,
    residual: bool = False,
) -> tuple[State, RecurrenceInfo]:
    """Compute all states of a recurrence by multiple shooting, with gradients.

    Each sequence converges by itself and is rolled out no more once it has. One that has not after
    ``max_steps`` rounds is computed step by step with torch's own graph, and reported. The result
    is deterministic for a given number of chunks. Gradients are of first order only.

    Args:
        step: Pure function of one time step's input ``(N, I)`` and the state, a tuple of
            ``(N, ...)``, to the next state.
        x_TBI: Inputs of every step, T at least 1.
        state: Initial state, a tuple of ``(B, ...)``.
        parameters: Every other tensor that ``step`` uses and whose gradient is wanted.
        lengths: Number of steps of each sequence; afterwards its state is held.
        chunks: Number of chunks, at most T; by default about sqrt(T).
        max_steps: Rounds, forward and backward, before a sequence is given up; by default as many
            as there are chunks.
        expected: Round from which the autograd graph is recorded on the way, so that a roll-out
            that passes the test need not be repeated.
        residual: Correct with P = I instead of P = 0.

    Returns:
        The states of all steps, a tuple of ``(T, B, ...)``, and how they were found.
    """
    lattice = Lattice.of(x_TBI, lengths, chunks)
    limit = lattice.K if max_steps is None else max_steps
    info = RecurrenceInfo("shooting", lattice.K)
    task = _Task(step, tuple(parameters), limit, expected, residual, info)
    found = task.search(lattice, x_TBI, state)
    failed = torch.nonzero(~found.converged).flatten()
    if len(failed) == 0:
        return task.stitched(lattice, found, x_TBI, state), info
    info.converged, info.fallback = False, tuple(failed.tolist())
    by_steps = _sequential(step, lattice, x_TBI, state, failed)
    if len(failed) == lattice.B:
        info.strategy, info.chunks, info.jump = "sequential", 1, 0.0
        return by_steps, info
    kept = torch.nonzero(found.converged).flatten()
    alone = _Found(tuple(s[:, kept] for s in found.starts), found.converged[kept])
    some = x_TBI[:, kept], tuple(s[kept] for s in state)
    by_chunks = task.stitched(lattice.rows(kept), alone, *some)
    order = torch.argsort(torch.cat((kept, failed)))
    pairs = zip(by_chunks, by_steps, strict=True)
    return tuple(torch.cat(pair, 1)[:, order] for pair in pairs), info


def _sequential(step: Step, lattice: Lattice, x_TBI: Tensor, state: State, rows: Tensor) -> State:
    """Compute some of the sequences step by step, with torch's own graph."""
    lengths = None if lattice.lengths is None else lattice.lengths[rows]
    whole = Lattice(lattice.T, len(rows), 1, lattice.T, lengths)
    valid = whole.valid(x_TBI.device)
    return stack(roll(step, x_TBI[:, rows], tuple(s[rows] for s in state), valid))


@dataclass(slots=True)
class _Found:
    """Chunk starts ``(K, B, ...)``, who passed the test, and the roll-out if it was kept."""

    starts: State
    converged: Tensor
    states: State | None = None  # (c, N, ...)
    leaves: tuple[Tensor, ...] = field(default=())  # of its graph: x, then the starts


@dataclass(frozen=True, slots=True)
class _Task:
    """What stays the same while a recurrence is solved."""

    step: Step
    parameters: tuple[Tensor, ...]
    limit: int
    expected: int
    residual: bool
    info: RecurrenceInfo

    def needs_graph(self, x_TBI: Tensor, state: State) -> bool:
        inputs = (x_TBI, *state, *self.parameters)
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)

    def search(self, lattice: Lattice, x_TBI: Tensor, state: State) -> _Found:
        """Iterate until every sequence passes the test, or ``limit`` times."""
        graph = self.needs_graph(x_TBI, state)
        x_TBI = x_TBI.detach()
        starts = self._guess(lattice, x_TBI, tuple(s.detach() for s in state))
        running = torch.arange(lattice.B, device=x_TBI.device)
        found = _Found(starts, torch.zeros_like(running, dtype=torch.bool))
        while len(running) and self.info.iterations < self.limit:
            self.info.iterations += 1
            whole = len(running) == lattice.B
            if whole and self.info.iterations >= self.expected:
                self._record(lattice, found, x_TBI, graph)
                ends = _ends(lattice, found.states)
            else:
                ends = self._ends_of_some(lattice, found, x_TBI, running)
            jumps = _jumps(lattice, ends, starts, running)
            done = _small(jumps, ends, len(running))
            self.info.jump = max(self.info.jump, largest(tuple(j[:, done] for j in jumps)))
            found.converged[running[done]] = True
            if whole and bool(done.all()):
                return found
            found.states, found.leaves = None, ()
            self._correct(starts, jumps, running, ~done)
            running = running[~done]
        return found

    def stitched(self, lattice: Lattice, found: _Found, x_TBI: Tensor, state: State) -> State:
        """Join the chunks and hang their graph into the caller's."""
        graph = self.needs_graph(x_TBI, state)
        if found.states is None:
            self._record(lattice, found, x_TBI.detach(), graph)
        states = found.states or ()
        joined = tuple(lattice.join(s.detach()) for s in states)
        if not graph:
            return _held(lattice, joined, state)
        adjoint = Adjoint(
            self.step,
            lattice,
            found.leaves,
            states,
            self.parameters,
            self.limit,
            self.residual,
            self.info,
        )
        return _held(lattice, stitch(adjoint, joined, (x_TBI, *state, *self.parameters)), state)

    def _guess(self, lattice: Lattice, x_TBI: Tensor, state: State) -> State:
        """Guess the starts: for P = 0, the ends of a burn-in over the last half of each chunk."""
        starts = tuple(s.expand(lattice.K, *s.shape).clone() for s in state)
        if self.residual or lattice.K == 1:
            return starts
        skipped = lattice.c // 2
        valid = lattice.valid(x_TBI.device)
        with torch.no_grad():
            last = roll(
                self.step,
                lattice.cut(x_TBI)[skipped:],
                tuple(s.flatten(0, 1) for s in starts),
                None if valid is None else valid[skipped:],
            )[-1]
        for start, end in zip(starts, last, strict=True):
            start[1:] = lattice.chunks(end)[:-1]
        return starts

    def _record(self, lattice: Lattice, found: _Found, x_TBI: Tensor, graph: bool) -> None:
        """Roll out from the starts and keep all states, with their graph if it is needed."""
        leaves = (lattice.cut(x_TBI), *(s.flatten(0, 1).clone() for s in found.starts))
        found.leaves = tuple(leaf.detach().requires_grad_(graph) for leaf in leaves)
        with torch.set_grad_enabled(graph):
            valid = lattice.valid(x_TBI.device)
            found.states = stack(roll(self.step, found.leaves[0], found.leaves[1:], valid))

    def _ends_of_some(
        self, lattice: Lattice, found: _Found, x_TBI: Tensor, running: Tensor
    ) -> State:
        rows = lattice.rows(running)
        starts = tuple(s[:, running].flatten(0, 1) for s in found.starts)
        with torch.no_grad():
            x_cNI = rows.cut(x_TBI[:, running])
            last = roll(self.step, x_cNI, starts, rows.valid(x_TBI.device))[-1]
        return tuple(rows.chunks(s) for s in last)

    def _correct(self, starts: State, jumps: State, running: Tensor, open_: Tensor) -> None:
        rows = running[open_]
        for start, jump in zip(starts, jumps, strict=True):
            change = jump[:, open_]
            start[1:, rows] += change.cumsum(0) if self.residual else change


def _ends(lattice: Lattice, states: State | None) -> State:
    return tuple(lattice.chunks(s[-1].detach()) for s in states or ())


def _jumps(lattice: Lattice, ends: State, starts: State, running: Tensor) -> State:
    """Give the jumps into all chunks but the first; none is left where a sequence has ended."""
    jumps = tuple(e[:-1] - s[1:, running] for e, s in zip(ends, starts, strict=True))
    if lattice.lengths is None:
        return jumps
    firsts = torch.arange(1, lattice.K, device=running.device)[:, None] * lattice.c
    ended = firsts >= lattice.lengths[running]
    return tuple(jump.masked_fill(lanes_like(ended, jump), 0.0) for jump in jumps)


def _held(lattice: Lattice, states: State, start: State) -> State:
    """Copy the last state of each sequence over the steps after its end.

    There the chunks hold what they were given, which is right only as far as they meet.
    """
    n_B = lattice.lengths
    if n_B is None:
        return states
    rows = torch.arange(lattice.B, device=n_B.device)
    runs = torch.arange(lattice.T, device=n_B.device)[:, None] < n_B
    held = []
    for part, first in zip(states, start, strict=True):
        last = part[(n_B - 1).clamp_min(0), rows]
        last = torch.where(lanes_like(n_B > 0, first), last, first)
        held.append(torch.where(lanes_like(runs, part), part, last))
    return tuple(held)


def _small(jumps: State, ends: State, sequences: int) -> Tensor:
    """Tell which sequences pass the test; NaN fails it."""
    passed = torch.ones(sequences, dtype=torch.bool, device=ends[0].device)
    for jump, end in zip(jumps, ends, strict=True):
        if len(jump):
            absolute, relative = _TOLERANCES.get(end.dtype, _TOLERANCES[torch.float32])
            small = jump.abs() <= absolute + relative * end[:-1].abs()
            passed &= small.transpose(0, 1).flatten(1).all(1)
    return passed
