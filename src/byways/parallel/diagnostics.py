"""Questions to ask before and after a chain is run in parallel.

``lyapunov`` tells whether it can pay, ``verify`` whether it was right, ``critical_path`` what a
tree over a network's layers costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from byways.parallel._critical_path import CriticalPath, critical_path
from byways.parallel._jacobians import dense
from byways.parallel._solve import solve_recurrence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

__all__ = ["CriticalPath", "Verification", "critical_path", "lyapunov", "verify"]


def lyapunov(
    f: Callable[..., Tensor],
    x: Any,
    h0: Tensor,
    params: Sequence[Tensor] = (),
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Estimate the largest Lyapunov exponent of ``h_t = f(x_t, h_{t-1})`` for each sequence.

    A random unit vector is pushed through the Jacobians along the trajectory and renormalised; the
    mean of the logarithms is the exponent. Below zero the system forgets, and Newton's method and
    shooting converge in few rounds; above zero it is chaotic, and no parallel method helps.

    Args:
        f: One step, as for ``solve_recurrence``.
        x: What differs between steps, steps first.
        h0: The state before the first step, ``(*lanes, n)``.
        params: Other tensors that ``f`` takes.
        generator: Draws the first vector; a fixed seed if None.

    Returns:
        The exponents, ``(*lanes)``, per step; zero steps give NaN.

    Example:
        >>> start = torch.full((1,), 0.3, dtype=torch.float64)
        >>> chaotic = lyapunov(lambda x, h: 4 * h * (1 - h), torch.zeros(20_000), start)
        >>> abs(float(chaotic) - 0.6931) < 0.01  # ln 2
        True
    """
    states, _ = solve_recurrence(f, x, h0, params, method="sequential")
    states = states.detach()
    if len(states) == 0:
        return h0.new_full(h0.shape[:-1], torch.nan)
    leaves, tree = pytree.tree_flatten(x)
    given = pytree.tree_unflatten([leaf.detach() for leaf in leaves], tree)
    before = torch.cat([h0.detach()[None], states[:-1]])
    J = dense(lambda h: f(given, h, *params), before).to_dense().detach()
    seeded = generator or torch.Generator().manual_seed(0)
    drawn = torch.randn(h0.shape, generator=seeded, dtype=states.dtype, device=seeded.device)
    v = drawn.to(states)[..., None]
    v = v / v.norm(dim=-2, keepdim=True)
    total = states.new_zeros(h0.shape[:-1])
    for J_t in J:
        v = J_t @ v
        length = v.norm(dim=-2, keepdim=True)
        total += length[..., 0, 0].clamp_min(torch.finfo(v.dtype).tiny).log()
        v = v / length.clamp_min(torch.finfo(v.dtype).tiny)
    return total / len(J)


@dataclass(frozen=True, slots=True)
class Verification:
    """How far a module is from its reference on one input.

    Args:
        output_error: Largest difference of outputs, over the largest output.
        input_error: The same for the gradients of the input.
        parameter_error: The same for the gradients of parameters; None if the two modules hold
            them in different shapes.
    """

    output_error: float
    input_error: float
    parameter_error: float | None

    def __bool__(self) -> bool:
        """Tell whether all errors are those of rounding: below 1e-4."""
        errors = (self.output_error, self.input_error, self.parameter_error or 0.0)
        return all(error < 1e-4 for error in errors)


def verify(module: nn.Module, x: Tensor, reference: nn.Module | None = None) -> Verification:
    """Compare outputs and gradients of a module with those of its plain form.

    Args:
        module: What came from ``parallel_backward``, or a recurrent module with ``to_torch``.
        x: An input.
        reference: The plain form; the module's own if None.

    Returns:
        The errors. It is true if they are those of rounding.

    Raises:
        ValueError: If there is no reference.

    Example:
        >>> from byways.parallel import parallel_backward
        >>> layers = [m for _ in range(50) for m in (nn.Linear(4, 4), nn.Tanh())]
        >>> bool(verify(parallel_backward(nn.Sequential(*layers)), torch.ones(2, 4)))
        True
    """
    if reference is None:
        convert = getattr(module, "to_torch", None)
        reference = getattr(module, "model", None) if convert is None else convert()
    if reference is None:
        raise ValueError(
            f'"reference" is missing, and {type(module).__name__} has neither "model" nor '
            '"to_torch"; give the plain module'
        )
    ours, theirs = _gradients(module, x), _gradients(reference, x)
    shapes = [[one.shape for one in side[2]] for side in (ours, theirs)]
    parameter_error = None
    if shapes[0] == shapes[1]:
        pairs = zip(ours[2], theirs[2], strict=True)
        parameter_error = max((_difference(a, b) for a, b in pairs), default=0.0)
    return Verification(
        _difference(ours[0], theirs[0]), _difference(ours[1], theirs[1]), parameter_error
    )


def _gradients(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    leaf = x.detach().clone().requires_grad_()
    parameters = [one for one in module.parameters() if one.requires_grad]
    out = module(leaf)
    out = out if isinstance(out, torch.Tensor) else pytree.tree_leaves(out)[0]
    weights = torch.linspace(0.5, 1.5, out.numel(), dtype=out.dtype, device=out.device)
    total = (out * weights.reshape(out.shape)).sum()
    found = torch.autograd.grad(total, [leaf, *parameters], allow_unused=True)
    given = [out.new_zeros(1) if one is None else one for one in found]
    return out.detach(), given[0], given[1:]


def _difference(a: Tensor, b: Tensor) -> float:
    if a.numel() == 0:
        return 0.0
    size = max(float(b.detach().abs().max()), torch.finfo(b.dtype).tiny)
    return float((a - b).detach().abs().max()) / size
