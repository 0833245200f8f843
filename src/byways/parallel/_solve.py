"""``solve_recurrence``: all states of a nonlinear recurrence, found together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from byways.parallel._jacobians import dense, diagonal, jacobian_of
from byways.parallel._newton import TOLERANCES, Iteration, SolveInfo
from byways.parallel._purity import agree, hides_a_leaf, refuse_replaced
from byways.parallel._rollouts import roll_out
from byways.parallel._scan import solve_affine
from byways.parallel._scan_checks import check_strategy, in_kernel_precision
from byways.parallel._solve_checks import (
    check_memory,
    check_problem,
    method_and_matrices,
    round_limit,
    widened,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

__all__ = ["solve_recurrence"]

_LONG = 64  # steps from which shooting is tried on what another method has left
_ROUNDS = 4  # of it


def solve_recurrence(
    f: Callable[..., Tensor],
    x: Any,
    h0: Tensor,
    params: Sequence[Tensor] = (),
    *,
    method: str = "auto",
    jacobian: str | Callable[..., Any] = "auto",
    strategy: str = "auto",
    bounds: tuple[Any, Any] | None = None,
    tolerance: tuple[float, float] | None = None,
    max_steps: int | None = None,
    init: Tensor | None = None,
    damping: float = 0.0,
    on_failure: str = "fallback",
    max_bytes: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, SolveInfo]:
    """Give all states of ``h_t = f(x_t, h_{t-1}, *params)``.

    The trajectory is the root of ``r_t = f(x_t, h_{t-1}) - h_t``. A round evaluates ``f`` at all
    steps at once and solves an affine recurrence ``d_t = A_t d_{t-1} + r_t``; the method says what
    ``A`` is. Every undamped choice has the first k states right after k rounds. Shooting instead
    guesses the starts of chunks, and has the first k chunks right after k rounds. Few rounds are
    enough where the system forgets (its largest Lyapunov exponent is negative); in a chaotic one
    no method of this kind helps, and two right programs disagree there anyway.

    Gradients are implicit: one reversed recurrence with the Jacobians at the solution, then one
    backward pass through ``f`` on all steps. They are of first order; a second raises.

    Args:
        f: One step. It is also called with all steps at once, a leading axis in ``x`` and ``h``,
            and must treat leading axes independently and purely. A module brings its parameters.
        x: What differs between steps: a tensor or a pytree of tensors, steps first.
        h0: The state before the first step. Half precision, here and in ``x`` and ``params``, is
            computed in float32 and cast back.
        params: Other tensors that ``f`` takes and whose gradients are wanted.
        method: ``"newton"`` (the Jacobian), ``"quasi"`` (its diagonal), ``"picard"`` (the identity,
            for residual chains), ``"jacobi"`` (zero), ``"shooting"`` (about sqrt(T) chunks, rolled
            out side by side from guessed starts), ``"sequential"`` (step by step), or ``"auto"``:
            step by step on a CPU, where this wins unless ``f`` is very narrow and T large, and
            Newton's method elsewhere.
        jacobian: ``"dense"``; ``"diag"`` if it is known to be diagonal; ``"main-diag"``, the
            diagonal of any; ``"probe"``, an estimate of that from one product with random signs; a
            function ``(x, h_before, *params) -> Structure``; or ``"auto"``, by the method.
        strategy: How each affine recurrence, forward and backward, is solved: a strategy of
            :func:`scan`, such as ``"pcr"``; ``"auto"`` is the compiled loop on a CPU and doubling
            elsewhere.
        bounds: Lowest and highest values that states can have; each round is projected on them.
            This is what keeps Newton's method from overflowing where the guess is poor.
        tolerance: Absolute and relative, for the residual of each step; with ``"shooting"``, for
            the jump from the end of a chunk to the start of the next.
        max_steps: Rounds; all that can be needed, T, for ``"jacobi"`` and ``"picard"``, and at most
            100 for the others, if None.
        init: A guess of the states, such as those of the last call; zero if None.
        damping: Between 0 and 1, shrinks the Jacobian. It trades speed for stability.
        on_failure: ``"fallback"`` tries four rounds of shooting on unfinished sequences, and goes
            step by step from their first unfinished step, which is exact; ``"raise"``;
            ``"return"`` what there is, flagged.
        max_bytes: Most memory for the Jacobians.
        generator: Draws the signs of ``"probe"``; a fixed seed if None.

    Shape:
        ``h0``: ``(*lanes, n)``; leaves of ``x``: ``(T, ...)``; states ``(T, *lanes, n)``.

    Returns:
        The states, and how they were found. ``info.converged`` is False if anything but the method
        itself was needed.

    Raises:
        TypeError: If a state is not real and floating-point.
        ValueError: If a name is unknown, shapes do not fit, an input is not finite, or ``f`` is
            random, mixes sequences, or uses a tensor with gradient that is not in ``params``.
        MemoryError: If the Jacobians need more than ``max_bytes``.
        RuntimeError: If the method fails and ``on_failure`` is ``"raise"``.

    References:
        Lim et al. (2024), DEER. Danieli et al. (2023), DeepPCR. Gonzalez et al. (2024), quasi-DEER.

    Example:
        >>> import torch
        >>> x = torch.sin(torch.arange(1000.0, dtype=torch.float64))[:, None]
        >>> h, info = solve_recurrence(
        ...     lambda x, h: torch.tanh(0.9 * h + x), x, torch.zeros(1).double(), method="newton"
        ... )
        >>> h.shape, info.converged, info.iterations < 10
        (torch.Size([1000, 1]), True, True)
    """
    check_strategy(strategy, None)
    leaves, tree = check_problem(f, x, h0, params, method, on_failure, damping)
    dtype = in_kernel_precision(h0)[0].dtype
    start = h0.to(dtype)
    steps = len(leaves[0])
    chosen, kind = method_and_matrices(method, jacobian, h0)
    check_memory(steps, start, kind, chosen, max_bytes)
    info = SolveInfo(chosen)
    if steps == 0 or h0.numel() == 0:
        info.converged = True
        return h0.expand(steps, *h0.shape), info
    module = tuple(f.parameters()) if isinstance(f, torch.nn.Module) else ()
    leaves, params = widened(leaves), widened(params)
    problem = _Problem(f, tree, len(leaves), len(params), kind, strategy, bounds, info)
    limit = round_limit(max_steps, chosen, steps)
    budget = tolerance or TOLERANCES.get(dtype, TOLERANCES[torch.float64])
    search = _Search(budget, limit, damping, on_failure, generator, init)
    states: Tensor = _Solve.apply(problem, search, start, *leaves, *params, *module)
    return states.to(h0.dtype), info


@dataclass(frozen=True, slots=True)
class _Search:
    """How to look for the states."""

    tolerance: tuple[float, float]
    max_steps: int
    damping: float
    on_failure: str
    generator: torch.Generator | None
    init: Tensor | None


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is to be solved; tensors travel apart, where autograd sees them."""

    f: Callable[..., Tensor]
    tree: Any
    leaf_count: int
    param_count: int
    jacobian: str | Callable[..., Any]
    strategy: str
    bounds: tuple[Any, Any] | None
    info: SolveInfo

    def step(self, tensors: Sequence[Tensor], h: Tensor, steps: Any = slice(None)) -> Tensor:
        """Evaluate ``f`` at some steps, or at one."""
        leaves = [leaf[steps] for leaf in tensors[: self.leaf_count]]
        params = tensors[self.leaf_count : self.leaf_count + self.param_count]
        out = self.f(pytree.tree_unflatten(leaves, self.tree), h, *params)
        if out.shape != h.shape:
            raise ValueError(
                f'"f" turned states of shape {tuple(h.shape)} into {tuple(out.shape)}; it must '
                "keep the shape, also with a leading axis of steps"
            )
        return out

    def solve(self, search: _Search, start: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """Find the states, outside of autograd."""
        self._check_purity(start, tensors)
        steps = len(tensors[0])
        empty = start.new_zeros((steps, *start.shape))
        if self.info.method == "sequential":
            self.info.converged = True
            return self._by_steps(start, tensors, empty, 0, None)
        h = (
            empty
            if search.init is None
            else search.init.detach().to(start).expand_as(empty).clone()
        )
        iteration = self._iteration(search, start, tensors)
        if self.info.method == "shooting":
            guess = None if search.init is None else h
            h, excess = roll_out(
                lambda at, state: self.step(tensors, state, at), iteration, guess, steps
            )
        else:
            h, excess = iteration.run(h)
        failed = ~(excess.amax(dim=0) <= 1)
        self.info.converged = not bool(failed.any())
        if self.info.converged or search.on_failure == "return":
            return h
        text = f"{int(failed.sum())} of {failed.numel()} sequences did not converge in "
        text += f"{self.info.iterations} rounds of {self.info.method}"
        if search.on_failure == "raise":
            raise RuntimeError(
                f"{text}; the largest residual is {self.info.residuals[-1]:.3g} times the "
                'tolerance. Give bounds, a better "init", or on_failure="fallback"'
            )
        return self._fall_back(search, start, tensors, h, excess, text)

    def _fall_back(
        self,
        search: _Search,
        start: Tensor,
        tensors: Sequence[Tensor],
        h: Tensor,
        excess: Tensor,
        text: str,
    ) -> Tensor:
        """Finish the sequences that a method has left: by shooting if that works, else exactly."""
        said = f"{self.info.fallback}; {text}" if self.info.fallback else text
        if self.info.method != "shooting" and len(h) >= _LONG:
            h, excess = self._by_shooting(search, start, tensors, h, excess)
            said += "; then shooting was tried"
        failed = ~(excess.amax(dim=0) <= 1)
        self.info.fallback = said
        if not bool(failed.any()):
            return h
        first = int((excess[:, failed] > 1).any(dim=1).nonzero()[0, 0])
        self.info.fallback += f": {int(failed.sum())} computed step by step from step {first}"
        self.info.fallback_steps = len(h) - first
        return self._by_steps(start, tensors, h, first, failed)

    def _by_shooting(
        self,
        search: _Search,
        start: Tensor,
        tensors: Sequence[Tensor],
        h: Tensor,
        excess: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Try a few rounds of shooting, and take from it what a method has left."""
        tried = replace(search, max_steps=_ROUNDS)
        iteration = replace(self._iteration(tried, start, tensors), info=SolveInfo("shooting"))
        found, jumps = roll_out(
            lambda at, state: self.step(tensors, state, at), iteration, None, len(h)
        )
        settled = ~(excess.amax(dim=0) <= 1) & (jumps.amax(dim=0) <= 1)
        h = torch.where(settled[..., None], found, h)
        return h, torch.where(settled, torch.zeros_like(excess), excess)

    def _iteration(self, search: _Search, start: Tensor, tensors: Sequence[Tensor]) -> Iteration:
        def whole(h: Tensor) -> Tensor:
            return self.step(tensors, h)

        def own(step: Any, before: Tensor) -> Any:
            leaves = list(tensors[: self.leaf_count])
            params = tensors[self.leaf_count : self.leaf_count + self.param_count]
            given: Any = self.jacobian
            return given(pytree.tree_unflatten(leaves, self.tree), before, *params)

        seeded = search.generator or torch.Generator().manual_seed(0)
        named = isinstance(self.jacobian, str)
        return Iteration(
            whole,
            jacobian_of(str(self.jacobian), seeded) if named else own,
            start,
            search.tolerance,
            search.max_steps,
            self.bounds,
            search.damping,
            self.strategy,
            self.info.method in {"jacobi", "picard"},
            self.info,
        )

    def _by_steps(
        self,
        start: Tensor,
        tensors: Sequence[Tensor],
        h: Tensor,
        first: int,
        wanted: Tensor | None,
    ) -> Tensor:
        """Go on from the states before ``first``, and keep the sequences that are wanted."""
        h = h.clone()
        state = start if first == 0 else h[first - 1].clone()
        for t in range(first, len(h)):
            state = self.step(tensors, state, t)
            h[t] = state if wanted is None else torch.where(wanted[..., None], state, h[t])
        return h

    def _check_purity(self, start: Tensor, tensors: Sequence[Tensor]) -> None:
        """Refuse steps that are random, mix steps or sequences, or hide a tensor with gradient."""
        both = start.detach().expand(min(2, len(tensors[0])), *start.shape)
        with torch.enable_grad():
            together = self.step([t.detach() for t in tensors], both, slice(0, 2))
        module = isinstance(self.f, torch.nn.Module)
        if hides_a_leaf([together], self.f.parameters() if module else ()):  # type: ignore[attr-defined]
            raise ValueError(
                '"f" uses a tensor that requires a gradient and is not in "params"; pass it there, '
                "or make f a torch.nn.Module that owns it"
            )
        alone = self.step(tensors, start, 0)
        if not agree([together[0]], [alone]):
            raise ValueError(
                '"f" gave different values for one step alone and among others; it must be pure '
                "and treat leading axes independently (no dropout, no batch normalisation in "
                "training mode, no randomness of its own)"
            )
        if start[..., 0].numel() < 2:
            return
        rows = start.reshape(-1, start.shape[-1])
        beside = torch.cat([alone.reshape(rows.shape)[:1], rows[1:]]).reshape(start.shape)
        found, expected = (
            one.reshape(rows.shape)[1:] for one in (self.step(tensors, beside, 0), alone)
        )
        if not agree([found], [expected]):
            raise ValueError(
                '"f" gave a sequence another value when its neighbour changed; each must be '
                "treated independently, so what belongs together goes into the last axis of the "
                "state"
            )


class _Solve(torch.autograd.Function):
    """The trajectory as a function of start, inputs and parameters, by implicit derivatives."""

    @staticmethod
    def forward(
        ctx: Any, problem: _Problem, search: _Search, start: Tensor, *tensors: Tensor
    ) -> Tensor:
        h = problem.solve(search, start, tensors)
        ctx.problem = problem
        ctx.save_for_backward(h, start, *tensors)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "solve_recurrence has first derivatives only; a backward pass through it cannot "
                "take create_graph=True"
            )
        problem: _Problem = ctx.problem
        h, start, *tensors = ctx.saved_tensors
        if isinstance(problem.f, torch.nn.Module):
            refuse_replaced(problem.f, tensors[problem.leaf_count + problem.param_count :])
        before = torch.cat([start[None], h[:-1]])
        jacobian = diagonal if problem.jacobian == "diag" else dense
        A = jacobian(lambda states: problem.step(tensors, states), before)
        later = torch.arange(1, len(h) + 1, device=h.device).clamp(max=len(h) - 1)
        u, nothing = A.adjoint().at(later), torch.zeros_like(start)
        total = solve_affine(u, grads[0], nothing, reverse=True, strategy=problem.strategy)
        # A module owns its parameters, so they must stay the leaves of this graph.
        needed = ctx.needs_input_grad[3:]
        shared = problem.leaf_count + problem.param_count
        inputs = [
            tensor if i >= shared else tensor.detach().requires_grad_(needs)
            for i, (tensor, needs) in enumerate(zip(tensors, needed, strict=True))
        ]
        wanted = [tensor for tensor, needs in zip(inputs, needed, strict=True) if needs]
        gradients: list[Tensor | None] = []
        if wanted:
            with torch.enable_grad():
                after = problem.step(inputs, before)
            found = iter(torch.autograd.grad(after, wanted, total, allow_unused=True))
            gradients = [next(found) if needs else None for needs in needed]
        gradients += [None] * (len(needed) - len(gradients))
        dstart = A.at(slice(0, 1)).adjoint().apply(total[:1])[0]
        return (None, None, dstart, *gradients)
