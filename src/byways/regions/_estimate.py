"""What can be said of the number of regions without listing them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from byways.core.domains import Polytope
from byways.core.errors import DomainError
from byways.core.seeding import as_generator
from byways.regions._bounds import product_bound, serra_bound, shape_of
from byways.regions._count import RegionCount
from byways.regions._domains import WholeSpace
from byways.regions._gather import Manner, gather
from byways.regions._outcome import Limits
from byways.regions._question import Question
from byways.regions._signs import pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._problem import Problem

__all__ = ["RegionEstimate", "estimate_regions"]

_SAMPLES_AT_ONCE = 65_536
_LEAST_ACCEPTED = 1e-4  # share of its box that a polytope must fill to be sampled by rejection


@dataclass(frozen=True, slots=True)
class RegionEstimate:
    """Bounds and estimates of the number of activation regions.

    Attributes:
        samples: Number of uniform samples.
        seen: Distinct sign vectors among them. A lower bound, but for samples within rounding of a
            border. Where it is close to ``samples``, nearly every sample had a region of its own:
            it then tells how many samples there were, and nothing about the regions.
        unseen_share: Good-Turing estimate of the part of the domain's volume that lies in regions
            which no sample met: the share of samples whose region was met once.
        chao1: Chao's estimate of a lower bound of the number of regions, from those met once and
            twice; regions much smaller than the domain's ``samples``-th part hardly count in it.
        exact: Result of the search within the budget, a lower bound unless it is complete; None
            without a budget.
        upper: Rank-aware upper bound of Serra et al. (2018).
        product: Product of the layers' arrangement bounds, never below ``upper``.
    """

    samples: int
    seen: int
    unseen_share: float
    chao1: float
    exact: RegionCount | None
    upper: int
    product: int

    @property
    def lower(self) -> int:
        """Largest lower bound."""
        return max(self.seen, 0 if self.exact is None else self.exact.total)

    def __str__(self) -> str:
        if self.exact is not None and self.exact.outcome.complete:
            return f"exactly {self.exact.total:,} regions"
        text = f"{self.lower:,} to {self.upper:.3g} regions"
        if self.seen > 0.9 * self.samples:
            return (
                f"{text}; nearly every sample had a region of its own, so the samples tell little"
            )
        return (
            f"{text}; Chao1 {self.chao1:,.0f}, and {self.unseen_share:.1%} of the volume lies in "
            "regions that no sample met"
        )


def estimate_regions(
    network: object,
    domain: object,
    *,
    samples: int = 10_000,
    budget: float | None = None,
    rng: int | np.random.Generator | None = 0,
) -> RegionEstimate:
    """Bound and estimate the number of activation regions where a list would be too long.

    Cost: one forward pass per sample, and ``budget`` seconds of exact search. Deterministic for a
    seed without a budget.

    Args:
        network: As for ``enumerate_regions``.
        domain: A bounded domain.
        samples: How many points to draw uniformly; at least 1.
        budget: Seconds for an exact count, which may be partial; None for none.
        rng: Seed or ``numpy.random.Generator``.

    Returns:
        The bounds and estimates, each with its meaning.

    Raises:
        DomainError: If the domain has no bounds, or a polytope fills too little of its box.
        TypeError: If ``samples`` is not a whole number.
        ValueError: If ``samples`` is not positive.

    References:
        Good (1953), "The population frequencies of species and the estimation of population
        parameters". Chao (1984), "Nonparametric estimation of the number of classes in a
        population"; here its bias-corrected form. Serra, Tjandraatmadja, Ramalingam (2018),
        "Bounding and Counting Linear Regions of Deep Neural Networks".

    Example:
        >>> from byways.networks import example
        >>> found = estimate_regions(example("tent").chain, (0, 1), samples=20_000)
        >>> found.seen, found.unseen_share  # equal pieces: all 1024 are met, again and again
        (1024, 0.0)
    """
    if isinstance(samples, bool) or not isinstance(samples, int):
        raise TypeError(f'"samples" was {samples!r}; it is a whole number from 1')
    if samples < 1:
        raise ValueError(f'"samples" was {samples!r}; it is a whole number from 1')
    limits = Limits(None, budget)
    question = Question.ask(
        network, domain, method="auto", solver="auto", exact="float", tolerance=1e-9, keep=None
    )
    problem = question.problem()
    times = _times_met(question, problem, samples, as_generator(rng))
    once, twice = int((times == 1).sum()), int((times == 2).sum())
    exact = None
    if budget is not None:
        found = gather(question, limits, Manner())
        exact = RegionCount(
            found.total, found.layer_counts, found.outcome, found.ambiguous, found.seconds
        )
    layers = shape_of(problem)
    return RegionEstimate(
        samples,
        len(times),
        once / samples,
        len(times) + once * (once - 1) / (2.0 * (twice + 1)),
        exact,
        serra_bound(problem.dim, layers),
        product_bound(problem.dim, layers),
    )


def _times_met(
    question: Question, problem: Problem, samples: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Count how often each region was met that was met at all."""
    words = []
    left = samples
    while left:
        points = _draw(question, problem, min(left, _SAMPLES_AT_ONCE), rng)
        bits = problem.bits(question.chain.segments(problem.embed(points)))
        words.append(pack(bits.reshape(len(points), -1)))
        left -= len(points)
    times: NDArray[np.int64] = np.unique(np.concatenate(words), axis=0, return_counts=True)[1]
    return times


def _draw(
    question: Question, problem: Problem, count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw points uniformly from the domain, in engine coordinates."""
    if isinstance(question.domain, WholeSpace):
        raise DomainError(
            f'"domain" was {question.domain!r}, which has no uniform distribution; give a Box'
        )
    points = rng.random((count, problem.dim))
    if not isinstance(question.domain, Polytope):
        return points
    rows, kept, drawn = problem.domain_rows, np.zeros((0, problem.dim)), 0
    while len(kept) < count:
        inside = (rows[:, 0] + points @ rows[:, 1:].T > 0).all(axis=1)
        kept, drawn = np.concatenate([kept, points[inside]]), drawn + count
        if drawn > 10_000 and len(kept) < _LEAST_ACCEPTED * drawn:
            raise DomainError(
                f"of {drawn} points of its box only {len(kept)} lie in the polytope; give a box "
                "that fits more closely"
            )
        points = rng.random((count, problem.dim))
    return kept[:count]
