"""A question about regions, checked once at the door, and all that a worker needs to answer it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.core.files import read_npz, write_npz
from byways.networks import as_chain
from byways.regions._domains import Slice, WholeSpace, as_domain
from byways.regions._engine import MOST_COORDINATES, Order
from byways.regions._problem import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from byways.regions._domains import Domain
    from byways.regions._engine import Walk
    from byways.regions._outcome import Limits

__all__ = ["Question", "describe", "require_whole", "under"]

_FORMAT = "byways.regions.Question/1"
_METHODS = ("auto", "lp", "simplex", "vertices", "wide")
_KEEP = ("signs", "witness")
_EXACT = ("float", "certified")
_MAXIMA = ("winners", "matches")
_FEW = 4  # sides of a box that are written out
_CORNERS_PAY = 5  # coordinates; with more of them a dictionary is smaller than a list of corners


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A network, a domain and how its regions shall be found.

    ``maxima`` is "winners" only where that makes a difference. A certified list of winners is found
    as one of matches, which decide the winners.
    """

    chain: LayerChain
    domain: Domain
    method: str
    solver: str
    tolerance: float
    witnesses: bool
    listing: bool = True
    exact: str = "float"
    maxima: str = "matches"

    @classmethod
    def ask(
        cls,
        network: object,
        domain: object,
        *,
        method: str,
        solver: str,
        exact: str,
        tolerance: float,
        keep: tuple[str, ...] | None,
        maxima: str = "winners",
    ) -> Question:
        """Check the arguments that every public function shares; ``keep`` None asks for counts."""
        chain = as_chain(network)
        checked = as_domain(domain, chain.input_size)
        _check_options(exact, tolerance, keep or ())
        chosen = _choose_method(method, checked)
        if chosen == "lp":
            from byways.regions._feasibility import port

            solver = port(solver).name
        certified = exact == "certified"
        witnesses = certified or "witness" in (keep or ())
        listing = certified or keep is not None
        options = (chosen, solver, float(tolerance), witnesses, listing, exact)
        question = cls(chain, checked, *options, _states(chain, maxima))
        question.problem().require_interior(float(tolerance))
        return question._suited(method)

    def _suited(self, method: str) -> Question:
        """Refuse "wide" where it does not fit, and take it unasked where it pays."""
        if self.searched().contested:
            if method == "wide":
                raise ValueError(
                    "\"method\" was 'wide', which knows no windows with several states; use "
                    'method="simplex", or maxima="matches"'
                )
            return replace(self, method="simplex") if method == "auto" else self
        if method not in ("auto", "wide") or (method == "auto" and self.method != "simplex"):
            return self
        from byways.regions._wide_space import misfit, pays

        if method == "auto":
            return replace(self, method="wide") if pays(self.searched(), self.tolerance) else self
        reason = misfit(self.searched(), self.tolerance)
        if reason:
            raise ValueError(
                f"\"method\" was 'wide', which does not suit this question: {reason}; "
                'use method="simplex"'
            )
        return self

    def problem(self) -> Problem:
        """Restate the question in engine coordinates."""
        return Problem.of(self.chain, self.domain, winners=self.maxima == "winners")

    def searched(self) -> Problem:
        """Give the problem whose regions engines list, and which a proof speaks of."""
        problem = self.problem()
        if self.exact == "certified" and problem.contested:
            return Problem.of(self.chain, self.domain, winners=False)
        return problem

    def walk(self, problem: Problem, prefix: NDArray[np.uint8], stop: int | None = None) -> Walk:
        """Start the chosen engine on a subtree."""
        witnesses = self.witnesses and self.listing and stop is None
        order = Order(prefix, stop, witnesses, self.listing or stop is not None, self.tolerance)
        if self.method == "lp":
            from byways.regions._layerwise import LayerwiseWalk

            return LayerwiseWalk(problem, order, solver=self.solver)
        if self.method == "vertices":
            from byways.regions._vertices import VerticesWalk

            return VerticesWalk(problem, order)
        if self.method == "wide":
            from byways.regions._wide import WideWalk

            return WideWalk(problem, order)
        from byways.regions._simplex import SimplexWalk

        return SimplexWalk(problem, order)

    def digest(self) -> str:
        """Give a text that is equal for equal questions only."""
        return hashlib.sha256(json.dumps(self.parameters(), sort_keys=True).encode()).hexdigest()

    def parameters(self) -> dict[str, Any]:
        """Give what makes this question another one than the next, the network apart."""
        states = {"maxima": self.maxima} if self.maxima == "winners" else {}
        return states | {
            "network": self.chain.digest(),
            "domain": describe(self.domain),
            "method": self.method,
            "solver": self.solver if self.method == "lp" else "",
            "tolerance": self.tolerance,
            "witnesses": self.witnesses,
            "listing": self.listing,
            "exact": self.exact,
        }

    def state(self) -> dict[str, NDArray[Any]]:
        """Give the arrays that ``from_state`` turns back into this question, without limits."""
        arrays = {f"chain.{name}": array for name, array in self.chain.state().items()}
        arrays.update({f"domain.{name}": a for name, a in _domain_state(self.domain).items()})
        arrayed = ("network", "domain")
        options = {k: v for k, v in self.parameters().items() if k not in arrayed}
        options["solver"] = self.solver
        arrays["format"] = np.array(_FORMAT)
        arrays["options"] = np.array(json.dumps(options, sort_keys=True))
        return arrays

    @classmethod
    def from_state(cls, arrays: dict[str, NDArray[Any]]) -> Question:
        """Rebuild a question from what ``state`` gave."""
        chain = LayerChain.from_state(under("chain.", arrays))
        domain = _domain_from_state(under("domain.", arrays))
        return cls(chain, domain, **json.loads(str(arrays["options"])))

    def save(self, path: Path) -> None:
        """Write the question to a ``.npz`` file."""
        write_npz(path, self.state())

    @classmethod
    def load(cls, path: Path) -> Question:
        """Read a question that ``save`` wrote."""
        return cls.from_state(read_npz(path, _FORMAT))


def require_whole(question: Question, limits: Limits) -> None:
    """Refuse limits for a question that only a whole list answers.

    Raises:
        ValueError: If there are limits, and certificates are asked for.
    """
    if question.exact == "certified" and limits.any:
        raise ValueError(
            '"max_regions" or "time_limit" was given with exact="certified": what is proven is '
            'that a list is whole. Leave the limit out, or use exact="float"'
        )


def describe(domain: Domain) -> str:
    """Say in a few words which domain it is; equal words for equal domains only."""
    if isinstance(domain, WholeSpace):
        return f"R^{domain.dim}"
    if isinstance(domain, Box):
        sides = [
            f"[{_shortest(low)}, {_shortest(high)}]"
            for low, high in zip(domain.lower.tolist(), domain.upper.tolist(), strict=True)
        ]
        if len(set(sides)) == 1:
            return f"{sides[0]}^{domain.dim}" if domain.dim > 1 else sides[0]
        if domain.dim <= _FEW:
            return " x ".join(sides)
    hasher = hashlib.sha256()
    for name, array in sorted(_domain_state(domain).items()):
        hasher.update(f"{name}{array.shape}".encode())
        hasher.update(np.ascontiguousarray(array).tobytes())
    kind = type(domain).__name__.lower()
    return f"{kind} with {domain.dim} coordinates, sha256 {hasher.hexdigest()[:16]}"


def _shortest(number: float) -> str:
    """Write a number with the fewest digits that give it back."""
    return repr(number).removesuffix(".0")


def _domain_state(domain: Domain) -> dict[str, NDArray[Any]]:
    if isinstance(domain, WholeSpace):
        return {"dim": np.array(domain.dim)}
    box = domain if isinstance(domain, Box) else domain.box
    arrays: dict[str, NDArray[Any]] = {"lower": box.lower, "upper": box.upper}
    if isinstance(domain, Polytope):
        arrays.update(A=domain.A, b=domain.b)
    elif isinstance(domain, Slice):
        arrays.update(origin=domain.origin, directions=domain.directions)
    return arrays


def _domain_from_state(arrays: dict[str, NDArray[Any]]) -> Domain:
    if "dim" in arrays:
        return WholeSpace(int(arrays["dim"]))
    box = Box(arrays["lower"], arrays["upper"])
    if "A" in arrays:
        return Polytope(arrays["A"], arrays["b"], box)
    if "origin" in arrays:
        return Slice(arrays["origin"], arrays["directions"], box)
    return box


def under(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Give the arrays whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


def _choose_method(method: str, domain: Domain) -> str:
    if method not in _METHODS:
        raise ValueError(f'"method" was {method!r}; it is one of {", ".join(_METHODS)}')
    box = domain if isinstance(domain, Box) else getattr(domain, "box", None)
    if isinstance(domain, Slice):
        free = domain.dim
    else:
        free = domain.dim if box is None else domain.dim - box.flat_axes.size
    if method == "auto":
        return "vertices" if box is not None and free <= _CORNERS_PAY else "simplex"
    if method == "vertices" and (box is None or free > MOST_COORDINATES):
        raise ValueError(
            "\"method\" was 'vertices', which needs a bounded domain with at most "
            f"{MOST_COORDINATES} free coordinates; this one is {describe(domain)}. "
            'Use method="simplex", or a Slice with two directions'
        )
    return method


def _states(chain: LayerChain, maxima: str) -> str:
    """Check what the states of a maximum shall be, and tell whether it matters."""
    if maxima not in _MAXIMA:
        raise ValueError(
            f'"maxima" was {maxima!r}; it is "winners" (regions on which each maximum has one '
            'winner) or "matches" (those of the tournament of ReLUs that computes it)'
        )
    if all(len(window) < 2 for window in chain.windows):
        return "matches"
    return maxima


def _check_options(exact: str, tolerance: object, keep: object) -> None:
    if exact not in _EXACT:
        raise ValueError(
            f'"exact" was {exact!r}; it is "float" (decisions in float64, those within "tolerance" '
            'of zero counted in the report) or "certified" (every decision proven)'
        )
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float):
        raise TypeError(f'"tolerance" was {tolerance!r}; it is a number')
    if not 1e-13 <= tolerance <= 1e-3:
        raise ValueError(
            f'"tolerance" was {tolerance!r}; it is a distance in units of the domain\'s sides, '
            "between 1e-13 (rounding) and 1e-3"
        )
    if not isinstance(keep, tuple | list) or not set(keep) <= set(_KEEP):
        raise ValueError(f'"keep" was {keep!r}; it is a tuple out of {_KEEP!r}')
