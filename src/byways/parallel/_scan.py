"""``scan``: all states of an affine recurrence, with gradients, by any strategy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, TypeGuard

import torch

from byways.parallel._diagonal import KERNEL_DTYPES, diagonal_recurrence
from byways.parallel._kernels import dense_states, shared_states
from byways.parallel._scan_checks import (
    check_outcome,
    check_start,
    check_strategy,
    check_system,
    in_kernel_precision,
)
from byways.parallel._strategies import Tally, run_strategy
from byways.parallel.elements import (
    BlockDiagonal,
    Dense,
    Diagonal,
    IdentityPlus,
    Scalar,
    SharedDiagonal,
    Structure,
)

if TYPE_CHECKING:
    from torch import Tensor

    from byways.parallel._strategies import Values

__all__ = ["ScanInfo", "affine_scan", "scan", "solve_affine"]


@dataclass(frozen=True, slots=True)
class ScanInfo:
    """What a scan did.

    Args:
        strategy: The strategy that ran.
        levels: Steps that depended on each other.
        combines: Compositions and applications of elements, all together.
    """

    strategy: str
    levels: int
    combines: int


def scan(
    A: Tensor | Structure,
    b: Tensor,
    x0: Tensor | None = None,
    *,
    dim: int = 0,
    reverse: bool = False,
    strategy: str = "auto",
    chunk: int | None = None,
    inclusive: bool = True,
    return_info: bool = False,
) -> Any:
    """Give all states of ``h_t = A_t h_{t-1} + b_t``, ``h_0 = x0``.

    Gradients for all inputs come from one reversed scan with the adjoint matrices, of any order of
    differentiation. The result is deterministic.

    Args:
        A: A structure of :mod:`byways.parallel.elements`, or a tensor. A tensor with one axis more
            than ``b`` holds matrices in its last two; with one axis it holds a factor for each
            step; else it is diagonal and broadcasts to ``b``.
        b: What is added at each step. Half precision is computed in float32 and cast back.
        x0: The state before the first step; zero if None.
        dim: The axis of time in ``b`` and ``A``. A structure has its steps first, so it takes 0.
        reverse: Run from the last step to the first.
        strategy: ``"sequential"``, ``"blelloch"``, ``"pcr"``, ``"chunked"``, or ``"auto"``: the
            compiled loop on a CPU, doubling elsewhere.
        chunk: Steps of a chunk of the chunked strategy; about the root of the length if None.
        inclusive: Give the state after each step; if False the one before it, ``x0`` first.
        return_info: Give ``(states, info)``, where ``info`` counts levels and combinations.

    Shape:
        ``b``: ``(T, *lanes, n)``, with T at ``dim``; ``x0``: ``(*lanes, n)``.

    Returns:
        The states, in the shape of ``b``; empty for ``T = 0``.

    Raises:
        TypeError: If an argument is not a tensor or not of a floating-point type.
        ValueError: If shapes do not fit, the strategy is unknown, or an input is not finite.

    References:
        Blelloch (1990), Prefix sums and their applications. Wang, Bai and Pekhimenko (2020), BPPSA:
        scaling back-propagation by parallel scan algorithm.

    Example:
        >>> import torch
        >>> fibonacci = torch.tensor([[1.0, 1.0], [1.0, 0.0]]).expand(6, 2, 2)
        >>> scan(fibonacci, torch.zeros(6, 2), torch.tensor([1.0, 0.0]), strategy="pcr")[:, 1]
        tensor([1., 1., 2., 3., 5., 8.])
    """
    chunk = check_strategy(strategy, chunk)
    if strategy in {"auto", "sequential"} and _is_plain(A, b, x0, dim):
        start = None if x0 is None else check_start(x0, b, dim)
        states = diagonal_recurrence(A, b, start, dim=dim, reverse=reverse)
        count = max(0, b.shape[dim] - 1)
        info = ScanInfo("sequential", count, count)
    else:
        system = check_system(A, b, dim)
        states, info = _general(system, b, check_start(x0, b, dim), dim, reverse, strategy, chunk)
    check_outcome(states, A, b, dim, 0 if reverse else -1)
    if not inclusive:
        states = _before(states, check_start(x0, b, dim), dim, reverse)
    return (states, info) if return_info else states


def _before(states: Tensor, start: Tensor, dim: int, reverse: bool) -> Tensor:
    """Shift the states by one step."""
    steps = states.shape[dim]
    if steps == 0:
        return states
    first, rest = start.unsqueeze(dim).to(states.dtype), states.narrow(dim, int(reverse), steps - 1)
    return torch.cat((rest, first) if reverse else (first, rest), dim=dim)


def _is_plain(A: Any, b: Any, x0: Any, dim: int) -> TypeGuard[Tensor]:
    """Tell whether nothing has to be checked, cast or broadcast before the compiled loop.

    Preparing the general case takes as long as several thousand steps.
    """
    return (
        isinstance(A, torch.Tensor)
        and isinstance(b, torch.Tensor)
        and b.device.type == "cpu"
        and b.dtype in KERNEL_DTYPES
        and -b.ndim <= dim < b.ndim
        and A.shape == b.shape
        and A.dtype == b.dtype
        and A.device == b.device
        and (x0 is None or (isinstance(x0, torch.Tensor) and x0.dtype == b.dtype))
    )


def _general(
    system: Structure,
    b: Tensor,
    start: Tensor,
    dim: int,
    reverse: bool,
    strategy: str,
    chunk: int | None,
) -> tuple[Tensor, ScanInfo]:
    tally, name = Tally(), _chosen(strategy, b)
    if isinstance(system, Diagonal) and name == "sequential":
        tally.levels = tally.combines = max(0, b.shape[dim] - 1)
        factors, b_in, x_in = in_kernel_precision(system.d.movedim(0, dim), b, start)
        states = diagonal_recurrence(factors, b_in, x_in, dim=dim, reverse=reverse).to(b.dtype)
    else:
        b_first, x_in, *tensors = in_kernel_precision(b.movedim(dim, 0), start, *system.tensors)
        system = system.like(*tensors)
        states = affine_scan(
            system, b_first, x_in, reverse=reverse, strategy=name, chunk=chunk, tally=tally
        )
        states = states.to(b.dtype).movedim(0, dim)
    return states, ScanInfo(name, tally.levels, tally.combines)


def affine_scan(
    system: Structure,
    b: Tensor,
    start: Tensor,
    *,
    reverse: bool = False,
    strategy: str = "auto",
    chunk: int | None = None,
    tally: Tally | None = None,
) -> Tensor:
    """Scan without checks: time first, kernel precision, gradients included."""
    plan = _Plan(
        system.like(*(tensor.detach() for tensor in system.tensors)),
        strategy,
        chunk,
        reverse,
        Tally() if tally is None else tally,
    )
    states: Tensor = _AffineScan.apply(plan, b, start, *system.tensors)
    return states


def solve_affine(
    system: Structure,
    b: Tensor,
    start: Tensor,
    *,
    reverse: bool = False,
    strategy: str = "auto",
    chunk: int | None = None,
    tally: Tally | None = None,
) -> Tensor:
    """Scan outside of autograd."""
    tally = Tally() if tally is None else tally
    strategy = _chosen(strategy, b)
    steps = len(b)
    if steps == 0 or b.numel() == 0:
        return torch.empty_like(b)
    if strategy == "sequential" and b.device.type == "cpu" and b.dtype in KERNEL_DTYPES:
        states = _compiled_states(system, b, start, reverse)
        if states is not None:
            tally.levels, tally.combines = tally.levels + steps - 1, tally.combines + steps - 1
            return states
    if reverse:
        turn = torch.arange(steps - 1, -1, -1, device=b.device)
        system, b = system.at(turn), b[turn]
    if strategy != "sequential":
        system = system.closed()
    first = system.at(slice(0, 1)).apply(start[None]) + b[:1]
    nodes = _AffineNodes(system.at(slice(1, None)), b[1:])
    (states,) = run_strategy(strategy, (first,), nodes, tally, chunk)
    return states.flip(0) if reverse else states


def _chosen(strategy: str, b: Tensor) -> str:
    if strategy != "auto":
        return strategy
    return "sequential" if b.device.type == "cpu" else "pcr"


def _compiled_states(system: Structure, b: Tensor, start: Tensor, reverse: bool) -> Tensor | None:
    """Run the compiled loop for the structure, if there is one."""
    match system:
        case Diagonal(d=d):
            return diagonal_recurrence(d, b, start, reverse=reverse)
        case Scalar(a=a):
            return diagonal_recurrence(a[..., None], b, start, reverse=reverse)
        case IdentityPlus(E=Diagonal(d=d)):
            return diagonal_recurrence(1 + d, b, start, reverse=reverse)
        case IdentityPlus():
            return _compiled_states(Dense(system.to_dense()), b, start, reverse)
        case BlockDiagonal(blocks=blocks):
            count, size, _ = blocks.shape[-3:]
            cut = (count, size)
            parts = b.unflatten(-1, cut), start.unflatten(-1, cut)
            return dense_recurrence(blocks, *parts, reverse).flatten(-2)
        case Dense(A=A) if A.shape[-2] == A.shape[-1]:
            return dense_recurrence(A, b, start, reverse)
        case SharedDiagonal(W=W, d=d, first=first):
            return shared_recurrence(W, d, first, b, start, reverse)
    return None


def dense_recurrence(A: Tensor, b: Tensor, start: Tensor, reverse: bool) -> Tensor:
    """Run the compiled loop over dense matrices ``(T, *lanes, n, n)``; lanes broadcast."""
    steps, size = len(b), b.shape[-1]
    lanes = b.shape[1:-1]
    if all(axis == 1 for axis in A.shape[1:-2]):
        A = A.reshape(steps, 1, size, size)
    else:
        A = A.expand(steps, *lanes, size, size).reshape(steps, -1, size, size)
    # The adjoint's matrices are transposed views: the loop reads them as they lie.
    turned = A.stride(-1) != 1 and A.mT.is_contiguous()
    states = torch.empty(b.shape, dtype=b.dtype)
    dense_states(
        _array(A.mT if turned else A),
        _array(b.reshape(steps, -1, size)),
        _array(start.expand(b.shape[1:]).reshape(-1, size)),
        reverse,
        turned,
        states.reshape(steps, -1, size).numpy(),
    )
    return states


def shared_recurrence(
    W: Tensor, d: Tensor, first: bool, b: Tensor, start: Tensor, reverse: bool
) -> Tensor:
    """Run the compiled loop over ``diag(d_t) W``, or ``W diag(d_t)`` with ``first``."""
    steps, size = len(b), b.shape[-1]
    states = torch.empty(b.shape, dtype=b.dtype)
    shared_states(
        _array(W),
        _array(d.expand(b.shape).reshape(steps, -1, size)),
        _array(b.reshape(steps, -1, size)),
        _array(start.expand(b.shape[1:]).reshape(-1, size)),
        first,
        reverse,
        states.reshape(steps, -1, size).numpy(),
    )
    return states


def _array(tensor: Tensor) -> Any:
    return tensor.detach().resolve_conj().contiguous().numpy()


@dataclass(frozen=True, slots=True)
class _AffineNodes:
    """Affine maps as nodes of a chain; a value is one state."""

    system: Structure
    b: Tensor

    def __len__(self) -> int:
        return len(self.b)

    def at(self, steps: slice) -> Self:
        return replace(self, system=self.system.at(steps), b=self.b[steps])

    def after(self, earlier: Self) -> Self:
        if len(self.b) == 0:
            return self
        b = self.system.apply(earlier.b) + self.b
        return replace(self, system=self.system.after(earlier.system), b=b)

    def apply(self, values: Values) -> Values:
        return (self.system.apply(values[0]) + self.b,)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a scan is to be done; the system's tensors are detached."""

    system: Structure
    strategy: str
    chunk: int | None
    reverse: bool
    tally: Tally


class _AffineScan(torch.autograd.Function):
    """A scan as one node of the graph; it saves the matrices and the states."""

    @staticmethod
    def forward(plan: _Plan, b: Tensor, start: Tensor, *tensors: Tensor) -> Tensor:
        return solve_affine(
            plan.system.like(*tensors),
            b,
            start,
            reverse=plan.reverse,
            strategy=plan.strategy,
            chunk=plan.chunk,
            tally=plan.tally,
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.plan, _, start, *tensors = inputs
        ctx.save_for_backward(output, start, *tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        h, start, *tensors = ctx.saved_tensors
        g, steps = grads[0], len(grads[0])
        if steps == 0 or g.numel() == 0:
            return (None, g, torch.zeros_like(start), *map(torch.zeros_like, tensors))
        system = plan.system.like(*tensors)
        # The cotangent that arrives at step t comes from step t + 1, through that step's matrix.
        order = torch.arange(steps, device=g.device) + (-1 if plan.reverse else 1)
        incoming = system.adjoint().at(order.clamp(0, steps - 1))
        solve = affine_scan if torch.is_grad_enabled() else solve_affine
        total = solve(
            incoming,
            g,
            torch.zeros_like(start),
            reverse=not plan.reverse,
            strategy=plan.strategy,
            chunk=plan.chunk,
        )
        if plan.reverse:
            before, first = torch.cat([h[1:], start[None]]), slice(steps - 1, steps)
        else:
            before, first = torch.cat([start[None], h[:-1]]), slice(0, 1)
        dstart = system.at(first).adjoint().apply(total[first])[0]
        pull = torch.func.vjp(lambda *parts: system.like(*parts).apply(before), *tensors)[1]
        return (None, total, dstart, *pull(total))
