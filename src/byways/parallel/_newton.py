"""The iteration behind ``solve_recurrence``: rounds of one affine recurrence each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from byways.parallel._jacobians import clipped, scaled, zero
from byways.parallel._scan import solve_affine
from byways.parallel._strategies import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from byways.parallel.elements import Structure

__all__ = ["TOLERANCES", "Iteration", "SolveInfo"]

TOLERANCES = {torch.float32: (1e-6, 1e-5), torch.float64: (1e-12, 1e-10)}

# Rounds without progress after which a sequence is left to the fallback.
_PATIENCE = 4


@dataclass(slots=True)
class SolveInfo:
    """How a recurrence was solved.

    Attributes:
        method: The method that ran first.
        iterations: Affine recurrences that were solved; with shooting, roll-outs of all chunks.
        residuals: The largest residual over its tolerance, at the guess and after each iteration;
            with shooting, the largest jump over its tolerance in each roll-out.
        converged: Whether every sequence met the tolerance by the method itself.
        fallback: What was done for the sequences that did not, in words; empty if nothing.
        fallback_steps: Steps that were computed one by one in the end.
        levels: Steps of all affine recurrences that waited for each other.
        combines: Compositions and applications of matrices in them.
    """

    method: str
    iterations: int = 0
    residuals: list[float] = field(default_factory=list)
    converged: bool = False
    fallback: str = ""
    fallback_steps: int = 0
    levels: int = 0
    combines: int = 0


@dataclass(slots=True)
class Iteration:
    """Newton's method on a whole trajectory, with any matrices.

    With residual ``r_t = f_t(h_{t-1}) - h_t``, a round solves ``d_t = A_t d_{t-1} + r_t`` and adds
    ``d``. The only fixed point is the sequential trajectory, whatever ``A`` is. The update form
    rounds less than solving for the states, and needs no special case for the start.

    A sequence that has met the tolerance is left alone, and one that is not finite cannot reach
    the others.
    """

    step: Callable[[Tensor], Tensor]
    matrices: Callable[[Callable[[Tensor], Tensor], Tensor], Structure]
    start: Tensor
    tolerance: tuple[float, float]
    max_steps: int
    bounds: tuple[Any, Any] | None
    damping: float
    strategy: str
    patient: bool
    info: SolveInfo

    def before(self, h: Tensor) -> Tensor:
        """Give the state before each step."""
        return torch.cat([self.start[None], h[:-1]])

    def excess(self, f: Tensor, h: Tensor) -> Tensor:
        """Give residual over tolerance for each step and sequence; at most one is converged.

        The tolerance is relative to each step. Relative to the largest state of all, a trajectory
        that grows would pass at the first guess.
        """
        absolute, relative = self.tolerance
        if h.shape[-1] == 0:
            return h.new_zeros(h.shape[:-1])
        size = (f - h).abs().amax(dim=-1)
        ratio = size / (absolute + relative * f.abs().amax(dim=-1))
        # No residual is none, also where the tolerance is zero because the state is.
        return ratio.nan_to_num(torch.inf, posinf=torch.inf).masked_fill(size == 0, 0.0)

    def run(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Iterate from a guess; give the states and the excess of each step and sequence."""
        clip = False
        watch = _Watch(h, 0 if self.patient else len(h) / self.max_steps)
        while True:
            f = self.step(self.before(h))
            excess = self.excess(f, h)
            worst = excess.amax(dim=0)
            self.info.residuals.append(float(worst.max()))
            open_ = ~(worst <= 1) & ~watch.given_up(excess, worst)
            if not bool(open_.any()) or self.info.iterations >= self.max_steps:
                return h, excess
            self.info.iterations += 1
            new = self._update(f, h, clip)
            finite = torch.isfinite(new).all(dim=-1).all(dim=0)
            if not bool(finite[open_].all()) and not clip:
                clip = True
                self.info.fallback = "matrices clipped after an overflow"
            h = torch.where((open_ & finite)[None, ..., None], new, h)

    def _update(self, f: Tensor, h: Tensor, clip: bool) -> Tensor:
        if self.matrices is zero:
            new = f  # exact, where h + (f - h) rounds
        else:
            A = scaled(self.matrices(self.step, self.before(h)), 1.0 - self.damping)
            A = clipped(A) if clip else A
            tally, nothing = Tally(), torch.zeros_like(self.start)
            new = h + solve_affine(A, f - h, nothing, strategy=self.strategy, tally=tally)
            self.info.levels += tally.levels
            self.info.combines += tally.combines
        if self.bounds is None:
            return new
        # An overflow is inside of the bounds after this; what has no value takes the step's own.
        low, high = self.bounds
        return torch.where(torch.isnan(new), f, new).clamp(low, high)


class _Watch:
    """Gives up sequences that make no progress.

    Progress is a residual that falls, or a converged beginning that grows fast enough to reach the
    end within the budget: residuals often rise for some rounds while the beginning grows.
    """

    def __init__(self, h: Tensor, pace: float) -> None:
        lanes = h.shape[1:-1]
        self.pace = pace
        self.last = h.new_full(lanes, torch.inf)
        self.known = torch.full(lanes, -1, device=h.device)
        self.slow = torch.zeros(lanes, dtype=torch.int64, device=h.device)

    def given_up(self, excess: Tensor, worst: Tensor) -> Tensor:
        """Tell which sequences have made no progress for some rounds."""
        bad = excess > 1
        prefix = torch.where(bad.any(dim=0), bad.int().argmax(dim=0), len(excess))
        stuck = (worst > 0.9 * self.last) & (prefix - self.known < self.pace)
        self.slow = torch.where(stuck, self.slow + 1, 0)
        self.last, self.known = worst, prefix
        return self.slow >= _PATIENCE
