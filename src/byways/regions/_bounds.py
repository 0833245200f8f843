"""Upper bounds on the number of regions, and the early refusal that rests on them."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

from byways.core.errors import DomainError

if TYPE_CHECKING:
    from byways.regions._outcome import Limits
    from byways.regions._problem import Problem, Stage
    from byways.regions._question import Question

__all__ = [
    "arrangement_bound",
    "product_bound",
    "refuse_if_astronomical",
    "serra_bound",
    "shape_of",
]

# A laptop takes hours, not minutes, for this many; beyond, a limit has to be chosen knowingly.
MANY = 10**10


def serra_bound(dim: int, layers: list[tuple[int, int, bool]]) -> int:
    r"""Bound the number of activation regions of a network by its shape.

    The bound is :math:`\sum \prod_l \binom{n_l}{j_l}` over all
    :math:`j_l \le \min(d, n_l, n_1 - j_1, \dots, n_{l-1} - j_{l-1})`: a cell on which
    :math:`j_l` of the units of layer l are off has a map of rank at most :math:`n_l - j_l`.

    Args:
        dim: Dimension of the domain.
        layers: Units, breakpoints per unit, and whether "off" means constant (as for ReLU), for
            each hidden layer. Where it does not, ranks do not fall.

    Returns:
        The bound. Units with several breakpoints count as that many hyperplanes.

    References:
        Serra, Tjandraatmadja, Ramalingam, Bounding and Counting Linear Regions of Deep Neural
        Networks, 2018, theorem 1.

    Example:
        >>> serra_bound(2, [(3, 1, True)])
        7
    """
    ways = {dim: 1}  # by the largest rank that is still possible
    for units, breakpoints, dies in layers:
        planes = units * breakpoints
        following: dict[int, int] = {}
        for rank, count in ways.items():
            for j in range(min(rank, planes) + 1):
                left = min(rank, units - j) if dies and breakpoints == 1 else min(rank, units)
                following[left] = following.get(left, 0) + count * comb(planes, j)
        ways = following
    return sum(ways.values())


def arrangement_bound(dim: int, decisions: int) -> int:
    """Count the regions that as many generic hyperplanes in one layer would make.

    Random and trained networks stay near this number (Hanin and Rolnick, Deep ReLU Networks Have
    Surprisingly Few Activation Patterns, 2019); it is no bound for deep networks.
    """
    return sum(comb(decisions, j) for j in range(min(dim, decisions) + 1))


def product_bound(dim: int, layers: list[tuple[int, int, bool]]) -> int:
    """Multiply what each layer's hyperplanes could make of a cell, were they all generic there.

    The bound takes no notice of ranks, so ``serra_bound`` is never larger.

    Example:
        >>> product_bound(2, [(3, 1, True), (3, 1, True)])
        49
    """
    total, width = 1, dim
    for units, breakpoints, _ in layers:
        before, width = width, min(width, units)
        total *= arrangement_bound(before, units * breakpoints)
    return total


def shape_of(problem: Problem) -> list[tuple[int, int, bool]]:
    """Describe the stages as ``serra_bound`` takes them."""
    return [(len(stage.bias), stage.slopes.shape[1] - 1, _dies(stage)) for stage in problem.stages]


def refuse_if_astronomical(question: Question, limits: Limits) -> None:
    """Refuse a question without limits that may have no answer in a lifetime.

    Raises:
        DomainError: If both the bound and the usual size exceed ten thousand million.
    """
    if limits.any:
        return
    problem = question.searched()
    layers = shape_of(problem)
    bound = serra_bound(problem.dim, layers)
    usual = arrangement_bound(problem.dim, problem.decisions)
    if min(bound, usual) <= MANY:
        return
    raise DomainError(
        f"this network may have up to {bound:.3g} activation regions here (upper bound of Serra "
        f"et al. 2018; {problem.decisions} generic hyperplanes in {problem.dim} dimensions make "
        f"{usual:.3g}), too many to list. Give max_regions or time_limit for a partial answer, a "
        "smaller domain (Box.around(x, eps)), or a Slice with two directions"
    )


def _dies(stage: Stage) -> bool:
    """Tell whether every unit with decisions is constant on one of its pieces.

    Windows are not: where entry 0 is the largest, it is what goes on. A window of k + 1 entries
    counts as k hyperplanes, which make at least as many cells as it has (Montúfar, Ren, Zhang,
    2022, sharp bounds for maxout networks).
    """
    return not stage.windows and bool((stage.slopes[: stage.decided] == 0).any(axis=1).all())
