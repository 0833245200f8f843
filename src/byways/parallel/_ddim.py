"""``sample_ddim``: a deterministic diffusion sampler whose steps are found together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from byways.parallel._jacobians import dense, probe
from byways.parallel._purity import agree, refuse_random
from byways.parallel._scan import solve_affine
from byways.parallel._scan_checks import (
    check_count,
    check_finite,
    check_tensor,
    in_kernel_precision,
)
from byways.parallel.elements import Scalar

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from byways.parallel.elements import Structure

__all__ = ["SampleInfo", "sample_ddim"]

METHODS = ("sequential", "picard", "anderson", "newton", "quasi", "shooting")
_MEMORY = 6  # earlier rounds that Anderson's method combines
_CAUTION = 4  # a state is taken at a change this much below the tolerance: later steps amplify it


@dataclass(slots=True)
class SampleInfo:
    """How a sample was found.

    Attributes:
        method: The method.
        rounds: Calls of the model that depended on each other.
        rows: Rows that the model evaluated, all calls together; backward passes are not counted.
        changes: Largest change of a state in each round.
        converged: False if steps had to be done one by one in the end.
    """

    method: str
    rounds: int = 0
    rows: int = 0
    changes: list[float] = field(default_factory=list)
    converged: bool = True


def sample_ddim(
    model: Callable[[Tensor, Tensor], Tensor],
    x_T: Tensor,
    schedule: Tensor,
    *,
    method: str = "sequential",
    timesteps: Tensor | None = None,
    window: int | None = None,
    chunks: int | None = None,
    tolerance: float = 1e-4,
    max_steps: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, SampleInfo]:
    """Sample with DDIM: the state at the end of a chain of N denoising steps.

    With ``a_i`` the signal level before step ``i``, a step is ``x_{i+1} = c_i x_i + e_i
    eps(x_i, t_i)``, ``c_i = sqrt(a_{i+1} / a_i)``, ``e_i = sqrt(1 - a_{i+1}) - c_i sqrt(1 - a_i)``.
    A parallel method guesses all states, calls the model on all of them at once, and corrects them
    by an affine recurrence, until no state changes by more than the tolerance. The result is that
    of the sequential sampler up to that. Fewer rounds save time where a call on many rows costs
    hardly more than a call on one: on accelerators, or for tiny models. On a CPU count on rounds,
    not on seconds.

    Args:
        model: Predicts the noise from ``(rows, *shape)`` and ``(rows,)`` of times, row by row.
        x_T: Noise to start from, ``(batch, *shape)``.
        schedule: The N + 1 signal levels (cumulative products of alpha) along the path: that of
            ``x_T`` first, that of the result last, 1 for a clean sample.
        method: ``"sequential"``; ``"picard"`` (correct by the linear part ``c``); ``"anderson"``
            (Picard's, with the last 6 rounds combined); ``"newton"`` (the whole Jacobian, one
            backward pass for each coordinate: low dimensions only); ``"quasi"`` (an estimate of its
            diagonal by one backward pass); ``"shooting"`` (chunks in lockstep).
        timesteps: The N times given to the model; ``N - 1, ..., 0`` if None.
        window: Steps that are solved together; the window slides over what has converged. All if
            None.
        chunks: Chunks of the shooting method; about the root of N if None.
        tolerance: Largest error that is accepted, judged by a quarter of it as change of a state.
        max_steps: Rounds, after which the rest is done step by step; as many as can help if None.
        generator: Draws the signs of ``"quasi"``; a fixed seed if None.

    Returns:
        The sample, in the shape of ``x_T``, and how it was found. No gradient is kept.

    Raises:
        TypeError: If a tensor is not floating-point.
        ValueError: If the method is unknown, schedule, times or a number do not fit, or a parallel
            method meets a model that is random or mixes rows.

    References:
        Song, Meng and Ermon (2021), DDIM, eq. 12 with sigma = 0. Shih et al. (2023), ParaDiGMS.

    Example:
        >>> import torch
        >>> levels = torch.linspace(0.01, 1.0, 101, dtype=torch.float64)
        >>> def noise(x, t):  # of data that are normal with mean 3 and deviation 0.5
        ...     a = levels[100 - 1 - t][:, None]
        ...     return (1 - a).sqrt() * (x - 3 * a.sqrt()) / (a * 0.25 + 1 - a)
        >>> x, info = sample_ddim(noise, torch.zeros(1, 1).double(), levels, method="newton")
        >>> info.rounds <= 3  # the sampler is affine here; the last round sees no change
        True
    """
    named = {"window": window, "chunks": chunks, "max_steps": max_steps}
    window, chunks, max_steps = (
        None if value is None else check_count(name, value) for name, value in named.items()
    )
    if not tolerance >= 0:
        raise ValueError(f'"tolerance" was {tolerance!r}; it takes a number from 0 on')
    path = _checked(model, x_T, schedule, method, timesteps)
    size = window or len(path.times)
    with torch.no_grad():
        if x_T.numel() == 0 or not len(path.times):
            return x_T.clone(), path.info
        (start,) = in_kernel_precision(x_T.reshape(len(x_T), -1))
        if method == "sequential" or size == 1:
            out = path.by_steps(start, 0)
            return out.reshape(x_T.shape).to(x_T.dtype), path.info
        _refuse_impure(path, start)
        if method == "shooting":
            out = _shoot(path, start, chunks, tolerance)
        else:
            seeded = generator or torch.Generator().manual_seed(0)
            # All but Anderson's method are exact after N rounds.
            most = len(path.times) * (2 if method == "anderson" else 1) + _MEMORY
            limit = most if max_steps is None else max_steps
            out = _slide(path, start, size, tolerance, limit, seeded)
        return out.reshape(x_T.shape).to(x_T.dtype), path.info


@dataclass(slots=True)
class _Path:
    """The coefficients of all steps and the model."""

    model: Callable[[Tensor, Tensor], Tensor]
    c: Tensor
    e: Tensor
    times: Tensor
    like: Tensor  # what the model takes: rows of this shape and type
    info: SampleInfo

    def step(self, x_SBD: Tensor, steps: Any) -> Tensor:
        """Do one step from each of many states; axes: S steps, B batch, D coordinates."""
        count, batch, _ = x_SBD.shape
        rows = x_SBD.reshape(count * batch, *self.like.shape[1:]).to(self.like.dtype)
        noise = self.model(rows, self.times[steps].repeat_interleave(batch))
        if noise.shape != rows.shape:
            raise ValueError(
                f'"model" turned {tuple(rows.shape)} into {tuple(noise.shape)}; it must predict '
                "noise of the shape of its input"
            )
        c, e = self.c[steps][:, None, None], self.e[steps][:, None, None]
        moved: Tensor = c * x_SBD + e * noise.reshape(x_SBD.shape).to(x_SBD.dtype)
        return moved

    def count(self, rows: int) -> None:
        """Count a call of the model that waited for the one before."""
        self.info.rounds += 1
        self.info.rows += rows

    def by_steps(self, x: Tensor, first: int) -> Tensor:
        """Do the steps from ``first`` on, one by one."""
        for i in range(first, len(self.times)):
            self.count(len(x))
            x = self.step(x[None], slice(i, i + 1))[0]
        return x

    def matrices(self, before: Tensor, steps: slice, generator: torch.Generator) -> Structure:
        """Give what the method takes for the Jacobians of the steps."""

        def step(x: Tensor) -> Tensor:
            return self.step(x, steps)

        if self.info.method == "newton":
            return dense(step, before)
        if self.info.method == "quasi":
            return probe(step, before, generator)
        return Scalar(self.c[steps][:, None], before.shape[-1])


def _slide(
    path: _Path,
    start: Tensor,
    size: int,
    tolerance: float,
    limit: int,
    generator: torch.Generator,
) -> Tensor:
    """Solve a window of steps, and move it on over what has converged."""
    total, first = len(path.times), 0
    states = start.expand(min(size, total), *start.shape).clone()
    memory = _Anderson() if path.info.method == "anderson" else None
    while first < total:
        if path.info.rounds >= limit:
            path.info.converged = False
            return path.by_steps(start, first)
        steps = slice(first, first + len(states))
        before = torch.cat([start[None], states[:-1]])
        after = path.step(before, steps)
        path.count(before.shape[0] * before.shape[1])
        A = path.matrices(before, steps, generator)
        change = solve_affine(A, after - states, torch.zeros_like(start))
        if memory is not None:
            change = memory.combined(states, change)
        # What overflowed takes the step's own value, which is the first right one at least.
        new = torch.where(torch.isfinite(change), states + change, after)
        moved = (new - states).abs().amax(dim=(1, 2))
        path.info.changes.append(float(moved.max()))
        ready = _ready(moved, tolerance / _CAUTION)
        whole = first + len(states) == total
        if memory is not None and whole and ready < len(states):
            ready = 0  # earlier rounds can be combined as long as the window stays where it is
        states = new
        if memory is not None and ready:
            memory.forget()
        start = states[ready - 1] if ready else start
        first += ready
        fresh = min(total - first, size) - (len(states) - ready)
        tail = states[-1].expand(max(fresh, 0), *start.shape)
        states = torch.cat([states[ready:], tail])
    return start


def _ready(moved: Tensor, tolerance: float) -> int:
    """Count the steps at the front that are done: the first always is, by exactness."""
    open_ = (~(moved <= tolerance)).nonzero()  # this way round NaN is open
    return max(1, int(open_[0, 0])) if len(open_) else len(moved)


class _Anderson:
    """Anderson's mixing of the last rounds (type II, all steps in one vector)."""

    def __init__(self) -> None:
        self.states: list[Tensor] = []
        self.changes: list[Tensor] = []

    def forget(self) -> None:
        """Start anew: the window has moved."""
        self.states.clear()
        self.changes.clear()

    def combined(self, states: Tensor, change: Tensor) -> Tensor:
        """Give the change that minimises the linear model of the residual."""
        if not bool(torch.isfinite(change).all()):  # nothing can be learnt from such a round
            self.forget()
            return change
        self.states = [*self.states, states.flatten()][-_MEMORY:]
        self.changes = [*self.changes, change.flatten()][-_MEMORY:]
        if len(self.states) < 2:
            return change
        d_states = torch.stack([a - self.states[-1] for a in self.states[:-1]], dim=1)
        d_changes = torch.stack([a - self.changes[-1] for a in self.changes[:-1]], dim=1)
        gram = d_changes.mT @ d_changes
        gram.diagonal().add_(1e-10 * gram.diagonal().amax())
        weights = torch.linalg.lstsq(gram, -(d_changes.mT @ self.changes[-1])[:, None]).solution
        mixed: Tensor = self.changes[-1] + ((d_states + d_changes) @ weights)[:, 0]
        return mixed.reshape(change.shape)


def _shoot(path: _Path, start: Tensor, chunks: int | None, tolerance: float) -> Tensor:
    """Roll chunks out in lockstep and pass the jumps on through the linear part."""
    total = len(path.times)
    count = min(chunks or max(1, round(total**0.5)), total)
    length = -(-total // count)
    count = -(-total // length)
    firsts = torch.arange(count, device=start.device) * length
    ends = (firsts + length).clamp(max=total)
    growth = torch.stack([path.c[a:b].prod() for a, b in zip(firsts, ends, strict=True)])
    heads = start.expand(count, *start.shape).clone()
    for k in range(count):
        tails = heads
        for i in range(length):
            live = int((firsts + i < ends).sum())
            path.count(live * len(start))
            moved = path.step(tails[:live], firsts[:live] + i)
            tails = torch.cat([moved, tails[live:]])
        jumps = tails[:-1] - heads[1:]
        path.info.changes.append(float(jumps.abs().max()) if len(jumps) else 0.0)
        if path.info.changes[-1] <= tolerance / _CAUTION**2:  # jumps of all chunks add up
            break
        matrices = Scalar(growth[:-1, None], start.shape[-1])
        A = matrices.like(torch.cat([torch.zeros_like(growth[:1, None]), matrices.a[1:]]))
        new = heads[1:] + solve_affine(A, jumps, torch.zeros_like(start))
        # What overflowed, and what is right by now, takes the chunk's own end.
        new = torch.where(torch.isfinite(new), new, tails[:-1])
        new[: k + 1] = tails[: len(new)][: k + 1]
        heads = torch.cat([heads[:1], new])
    return tails[-1]


def _checked(model: Any, x_T: Tensor, schedule: Tensor, method: str, timesteps: Any) -> _Path:
    if not callable(model):
        raise TypeError(f'"model" was {model!r}; it takes a function (x, t) -> noise')
    if method not in METHODS:
        raise ValueError(f'"method" was {method!r}; it takes {", ".join(METHODS)}')
    check_tensor(x_T, "x_T")
    check_tensor(schedule, "schedule")
    check_finite(x_T, "x_T")
    levels = schedule.detach().double()
    bad = levels.ndim != 1 or len(levels) < 1 or not bool(((levels > 0) & (levels <= 1)).all())
    if bad or x_T.ndim < 2:
        raise ValueError(
            f'"schedule" has shape {tuple(schedule.shape)} and "x_T" {tuple(x_T.shape)}; they take '
            "signal levels above 0 and at most 1, one more than steps, and (batch, *shape)"
        )
    count = len(levels) - 1
    times = torch.arange(count - 1, -1, -1) if timesteps is None else timesteps
    if times.shape != (count,):
        raise ValueError(f'"timesteps" has shape {tuple(times.shape)}; {count} steps take {count}')
    c = (levels[1:] / levels[:-1]).sqrt()
    e = (1 - levels[1:]).sqrt() - c * (1 - levels[:-1]).sqrt()
    (kernel,) = in_kernel_precision(x_T)
    info = SampleInfo(method)
    return _Path(model, c.to(kernel), e.to(kernel), times.to(x_T.device), x_T, info)


def _refuse_impure(path: _Path, start: Tensor) -> None:
    """Refuse a model that is random or mixes rows: states would depend on what is beside them."""
    if isinstance(path.model, torch.nn.Module):
        refuse_random(path.model, "model")
    count = min(2, len(path.times))
    alone = path.step(start[None], slice(0, 1))
    together = path.step(torch.cat([start[None], alone])[:count], slice(0, count))
    if not agree([together[:1]], [alone]):
        raise ValueError(
            '"model" gave different noise for the same rows alone and among others; it must be '
            "pure and treat rows independently"
        )
