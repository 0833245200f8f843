"""Bounded input domains: boxes and polytopes inside boxes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from byways.core.arrays import finite, frozen
from byways.core.errors import DomainError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["Box", "Polytope"]

_MOST_AXES_FOR_VERTICES = 16


@dataclass(frozen=True, eq=False)
class Box:
    """An axis-parallel box ``lower <= x <= upper``.

    A flat side (``lower == upper``) is a fixed coordinate.

    Args:
        lower: Smallest value per coordinate, shape ``(n,)``, finite.
        upper: Largest value per coordinate, shape ``(n,)``, finite.

    Raises:
        DomainError: If a side is infinite, NaN or has lower > upper; says which.
        ShapeError: If the two lengths differ or are 0.

    Example:
        >>> Box([0.0, 0.0], [1.0, 2.0]).center
        array([0.5, 1. ])
    """

    lower: Array
    upper: Array

    def __init__(self, lower: ArrayLike, upper: ArrayLike) -> None:
        object.__setattr__(self, "lower", frozen(lower, "lower", 1))
        object.__setattr__(self, "upper", frozen(upper, "upper", 1))
        if self.lower.shape != self.upper.shape or self.lower.size == 0:
            raise ShapeError(
                f'"lower" has shape {self.lower.shape} and "upper" {self.upper.shape}; '
                "give two vectors of the same length, one number per input coordinate"
            )
        wrong = np.flatnonzero(self.lower > self.upper)
        if wrong.size:
            i = int(wrong[0])
            raise DomainError(
                f"the box is empty in coordinate {i}: lower {float(self.lower[i])!r} is above "
                f"upper {float(self.upper[i])!r}; swap them"
            )

    @classmethod
    def around(
        cls, x: ArrayLike, eps: float | ArrayLike, clip: tuple[float, float] | None = None
    ) -> Box:
        """Give the closed L-infinity ball around a point.

        Args:
            x: Centre; any shape, flattened in C order.
            eps: Radius, one number or one per coordinate, not negative.
            clip: Smallest and largest value that a coordinate may take, for instance ``(0, 1)``.

        Returns:
            The ball, cut by ``clip``.

        Raises:
            DomainError: If ``eps`` is negative or the centre lies so far outside ``clip`` that
                nothing is left.
            ShapeError: If ``eps`` has another length than the centre.
        """
        center = finite(x, "x").ravel()
        radius = finite(eps, "eps").ravel()
        if np.any(radius < 0):
            raise DomainError(f'"eps" was {eps!r}; it must not be negative')
        if radius.size not in (1, center.size):
            raise ShapeError(
                f'"eps" has {radius.size} numbers for {center.size} coordinates; give one, or one '
                "per coordinate"
            )
        lower, upper = center - radius, center + radius
        if clip is None:
            return cls(lower, upper)
        low, high = clip
        if not low <= high:
            raise DomainError(f'"clip" was {clip!r}; give the smallest value, then the largest')
        outside = np.flatnonzero((upper < low) | (lower > high))
        if outside.size:
            i = outside[0]
            raise DomainError(
                f'"clip" was {clip!r}, which leaves nothing of the ball: coordinate {i} lies '
                f"between {lower[i]:g} and {upper[i]:g} there"
            )
        return cls(np.maximum(lower, low), np.minimum(upper, high))

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.lower.size

    @property
    def center(self) -> Array:
        """The middle, shape ``(n,)``."""
        middle: Array = self.lower + (self.upper - self.lower) / 2
        return middle

    @property
    def flat_axes(self) -> NDArray[np.intp]:
        """Coordinates with ``lower == upper``."""
        return np.flatnonzero(self.lower == self.upper)

    def contains(self, x: ArrayLike) -> NDArray[np.bool_]:
        """Tell for points of shape ``(..., n)`` whether they lie in the closed box."""
        points = _points(x, self.dim)
        within = (points >= self.lower) & (points <= self.upper)
        return np.asarray(within.all(axis=-1))

    def shares(self, x: ArrayLike) -> Array:
        """Give how far along each side points ``(..., n)`` lie: 0 at ``lower``, 1 at ``upper``.

        Points outside are clipped; along a flat side it is 0.
        """
        points = _points(x, self.dim).clip(self.lower, self.upper)
        # Halves, for the length of a side may be more than a float holds.
        half = np.maximum(self.upper / 2 - self.lower / 2, np.finfo(np.float64).tiny)
        result: Array = ((points / 2 - self.lower / 2) / half).clip(0.0, 1.0)
        return result

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Draw ``n`` uniform points, shape ``(n, dim)``."""
        return self.lower + rng.random((n, self.dim)) * (self.upper - self.lower)

    def vertices(self) -> Array:
        """List the corners, shape ``(2 ** free axes, dim)``; for at most 16 free axes.

        Raises:
            DomainError: If there are more than 16 axes that are not flat.
        """
        sides = [
            (low,) if low == high else (low, high)
            for low, high in zip(self.lower.tolist(), self.upper.tolist(), strict=True)
        ]
        free = sum(len(side) == 2 for side in sides)
        if free > _MOST_AXES_FOR_VERTICES:
            raise DomainError(f"a box with {free} free axes has 2**{free} corners; 16 is the most")
        return np.array(list(itertools.product(*sides)))


@dataclass(frozen=True, eq=False)
class Polytope:
    """The points of a box with ``A x <= b``.

    Args:
        A: Normals, shape ``(m, n)``.
        b: Right-hand sides, shape ``(m,)``.
        box: The box that bounds it, of dimension ``n``.

    Raises:
        ShapeError: If the shapes do not fit.
        DomainError: If a number is not finite.

    Example:
        >>> triangle = Polytope([[1.0, 1.0]], [1.0], Box([0.0, 0.0], [1.0, 1.0]))
        >>> triangle.contains([[0.2, 0.2], [0.9, 0.9]])
        array([ True, False])
    """

    A: Array
    b: Array
    box: Box

    def __init__(self, A: ArrayLike, b: ArrayLike, box: Box) -> None:
        if not isinstance(box, Box):
            raise TypeError(f'"box" was {box!r}; a Polytope lies inside a byways.Box')
        object.__setattr__(self, "A", frozen(A, "A", 2))
        object.__setattr__(self, "b", frozen(b, "b", 1))
        object.__setattr__(self, "box", box)
        if self.A.shape != (self.b.size, box.dim):
            raise ShapeError(
                f'"A" has shape {self.A.shape}, "b" {self.b.shape} and the box {box.dim} '
                "coordinates; A needs one row per number of b and one column per coordinate"
            )

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.box.dim

    def contains(self, x: ArrayLike) -> NDArray[np.bool_]:
        """Tell for points of shape ``(..., n)`` whether they lie in the closed polytope."""
        points = _points(x, self.dim)
        return np.asarray((points @ self.A.T <= self.b).all(axis=-1)) & self.box.contains(points)


def _points(x: ArrayLike, dim: int) -> Array:
    points = np.asarray(x, dtype=np.float64)
    if points.shape[-1:] != (dim,):
        raise ShapeError(f'"x" has shape {points.shape}; its last axis must have {dim} entries')
    return points
