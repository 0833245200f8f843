"""``solve_recurrence``: all states of a nonlinear recurrence, found together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from byways.parallel._jacobians import JACOBIANS, dense, diagonal, jacobian_of
from byways.parallel._newton import TOLERANCES, Iteration, SolveInfo
from byways.parallel._rollouts import roll_out
from byways.parallel._scan import solve_affine
from byways.parallel._scan_checks import check_finite, check_tensor, in_kernel_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

__all__ = ["solve_recurrence"]

# Method -> the matrices it uses if "jacobian" is "auto".
_METHODS = {
    "newton": "dense",
    "quasi": "main-diag",
    "picard": "identity",
    "jacobi": "zero",
    "shooting": "zero",
    "sequential": "zero",
}
_ON_FAILURE = ("fallback", "raise", "return")


def solve_recurrence(
    f: Callable[..., Tensor],
    x: Any,
    h0: Tensor,
    params: Sequence[Tensor] = (),
    *,
    method: str = "auto",
    jacobian: str | Callable[..., Any] = "auto",
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
        h0: The state before the first step.
        params: Other tensors that ``f`` takes and whose gradients are wanted.
        method: ``"newton"`` (the Jacobian), ``"quasi"`` (its diagonal), ``"picard"`` (the identity,
            for residual chains), ``"jacobi"`` (zero), ``"shooting"`` (about sqrt(T) chunks, rolled
            out side by side from guessed starts), ``"sequential"`` (step by step), or ``"auto"``:
            step by step on a CPU, where this wins unless ``f`` is very narrow and T large, and
            Newton's method elsewhere.
        jacobian: ``"dense"``; ``"diag"`` if it is known to be diagonal; ``"main-diag"``, the
            diagonal of any; ``"probe"``, an estimate of that from one product with random signs; a
            function ``(x, h_before, *params) -> Structure``; or ``"auto"``, by the method.
        bounds: Lowest and highest values that states can have; each round is projected on them.
            This is what keeps Newton's method from overflowing where the guess is poor.
        tolerance: Absolute and relative, for the residual of each step; with ``"shooting"``, for
            the jump from the end of a chunk to the start of the next.
        max_steps: Rounds; all that can be needed, T, for ``"jacobi"`` and ``"picard"``, and at most
            100 for the others, if None.
        init: A guess of the states, such as those of the last call; zero if None.
        damping: Between 0 and 1, shrinks the Jacobian. It trades speed for stability.
        on_failure: ``"fallback"`` computes unfinished sequences step by step from their first
            unfinished step, which is exact; ``"raise"``; ``"return"`` what there is, flagged.
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
    leaves, tree = _check(f, x, h0, params, method, on_failure, damping)
    dtype = in_kernel_precision(h0)[0].dtype
    start = h0.to(dtype)
    steps = len(leaves[0])
    chosen, kind = _chosen(method, jacobian, h0)
    _check_memory(steps, start, kind, chosen, max_bytes)
    info = SolveInfo(chosen)
    if steps == 0 or h0.numel() == 0:
        info.converged = True
        return h0.new_empty((steps, *h0.shape)), info
    module = tuple(f.parameters()) if isinstance(f, torch.nn.Module) else ()
    problem = _Problem(f, tree, len(leaves), len(params), kind, bounds, info)
    limit = _limit(max_steps, chosen, steps)
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
        first = int((excess[:, failed] > 1).any(dim=1).nonzero()[0, 0])
        said = f"{self.info.fallback}; " if self.info.fallback else ""
        self.info.fallback = f"{said}{text}: computed step by step from step {first}"
        self.info.fallback_steps = steps - first
        return self._by_steps(start, tensors, h, first, failed)

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
        """Refuse steps that are random, that mix steps, or that hide a tensor with gradient."""
        with torch.set_grad_enabled(not isinstance(self.f, torch.nn.Module)):
            both = start.detach().expand(min(2, len(tensors[0])), *start.shape)
            together = self.step([t.detach() for t in tensors], both, slice(0, 2))
        if together.requires_grad:
            raise ValueError(
                '"f" uses a tensor that requires a gradient and is not in "params"; pass it there, '
                "or make f a torch.nn.Module that owns it"
            )
        alone = self.step(tensors, start, 0)
        size = float(torch.finfo(start.dtype).eps) ** 0.5
        if not torch.allclose(alone, together[0], rtol=size, atol=size, equal_nan=True):
            raise ValueError(
                '"f" gave different values for one step alone and among others; it must be pure '
                "and treat leading axes independently (no dropout, no batch normalisation in "
                "training mode, no randomness of its own)"
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
        before = torch.cat([start[None], h[:-1]])
        jacobian = diagonal if problem.jacobian == "diag" else dense
        A = jacobian(lambda states: problem.step(tensors, states), before)
        later = torch.arange(1, len(h) + 1, device=h.device).clamp(max=len(h) - 1)
        total = solve_affine(A.adjoint().at(later), grads[0], torch.zeros_like(start), reverse=True)
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


def _check(
    f: Any, x: Any, h0: Tensor, params: Any, method: str, on_failure: str, damping: float
) -> tuple[list[Tensor], Any]:
    """Check what can be checked without calling ``f``; give the leaves of ``x`` and their tree."""
    if not callable(f):
        raise TypeError(f'"f" was {f!r}; it takes a function (x_t, h) -> h or a module')
    if method != "auto" and method not in _METHODS:
        raise ValueError(f'"method" was {method!r}; it takes auto, {", ".join(_METHODS)}')
    if on_failure not in _ON_FAILURE:
        raise ValueError(f'"on_failure" was {on_failure!r}; it takes {", ".join(_ON_FAILURE)}')
    if not 0.0 <= damping < 1.0:
        raise ValueError(f'"damping" was {damping!r}; it takes a number from 0 to below 1')
    check_tensor(h0, "h0")
    if h0.is_complex() or h0.ndim == 0:
        raise TypeError(
            f'"h0" has dtype {h0.dtype} and {h0.ndim} axes; it takes a real state with at least one'
        )
    check_finite(h0[None], "h0")
    leaves, tree = pytree.tree_flatten(x)
    if not leaves or not all(isinstance(leaf, torch.Tensor) and leaf.ndim for leaf in leaves):
        raise TypeError('"x" must be a tensor or a pytree of tensors, each with the steps first')
    if len({len(leaf) for leaf in leaves}) > 1:
        raise ValueError(
            f'"x" has leaves of {[len(leaf) for leaf in leaves]} steps; give equal ones'
        )
    for leaf in leaves:
        if leaf.is_floating_point():
            check_finite(leaf, "x")
    for tensor in params:
        check_tensor(tensor, "params")
    return leaves, tree


def _chosen(method: str, jacobian: Any, h0: Tensor) -> tuple[str, Any]:
    """Give the method and the kind of its matrices."""
    if method == "auto":
        method = "sequential" if h0.device.type == "cpu" else "newton"
    kind = _METHODS[method] if jacobian == "auto" else jacobian
    if not callable(kind) and kind not in {*JACOBIANS, "probe"}:
        raise ValueError(
            f'"jacobian" was {jacobian!r}; it takes auto, dense, diag, main-diag, probe, or a '
            "function that gives a structure"
        )
    return method, kind


def _check_memory(steps: int, start: Tensor, kind: Any, method: str, max_bytes: int | None) -> None:
    if max_bytes is None or method in {"sequential", "shooting"} or callable(kind):
        return
    wide = start.shape[-1] if kind in {"dense", "main-diag"} else 1
    needed = 3 * steps * start.numel() * wide * start.element_size()
    if needed > max_bytes:
        raise MemoryError(
            f"the Jacobians need about 3 T B n{'²' if wide > 1 else ''} s = {needed:,} bytes, more "
            f'than "max_bytes" = {max_bytes:,}; method="quasi" with jacobian="probe" needs n times '
            'less than dense ones, method="sequential" nothing'
        )


def _limit(max_steps: int | None, method: str, steps: int) -> int:
    if max_steps is None:
        return steps if method in {"jacobi", "picard"} else min(steps, 100)
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
        raise ValueError(f'"max_steps" was {max_steps!r}; it takes a positive number, or None')
    return max_steps
