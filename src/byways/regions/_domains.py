"""Where to enumerate: slices and the whole space, beside the core's boxes and polytopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from byways.core.arrays import finite, frozen
from byways.core.domains import Box, Polytope
from byways.core.errors import DomainError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["Domain", "Slice", "WholeSpace", "as_domain"]

_LONGEST = 1e100  # side of a domain


@dataclass(frozen=True, eq=False)
class Slice:
    """An affine piece of the input space: ``x = origin + s @ directions`` for ``s`` in a box.

    With two directions it is the flat picture of a network with any number of inputs. The slice of
    a region may be empty, and what is enumerated are the regions of the network *restricted* to the
    slice.

    Args:
        origin: The point of ``s = 0``, shape ``(n,)``.
        directions: Linearly independent rows, shape ``(k, n)``.
        extent: The box of ``s``: one number ``e`` for ``[-e, e]`` on each axis, a pair
            ``(lower, upper)`` of numbers, or a ``Box`` with ``k`` coordinates.

    Raises:
        ShapeError: If the shapes do not fit.
        DomainError: If the directions are dependent or the extent is flat.

    Example:
        >>> plane = Slice([0.0, 0.0, 0.5], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], extent=(-1, 1))
        >>> plane([[0.25, -0.5]])
        array([[ 0.25, -0.5 ,  0.5 ]])
    """

    origin: Array
    directions: Array
    box: Box

    def __init__(
        self,
        origin: ArrayLike,
        directions: ArrayLike,
        extent: float | tuple[float, float] | Box = 1.0,
    ) -> None:
        point, rows = (
            frozen(np.ravel(np.asarray(origin)), "origin", 1),
            frozen(directions, "directions", 2),
        )
        if rows.shape[1] != point.size or len(rows) == 0:
            raise ShapeError(
                f'"directions" has shape {rows.shape} and "origin" {point.size} coordinates; give '
                "one row of that length per direction"
            )
        if np.linalg.matrix_rank(rows) < len(rows):
            raise DomainError('"directions" are linearly dependent; leave the superfluous ones out')
        object.__setattr__(self, "origin", point)
        object.__setattr__(self, "directions", rows)
        object.__setattr__(self, "box", _extent(extent, len(rows)))

    @classmethod
    def through(cls, points: ArrayLike, margin: float = 0.4) -> Slice:
        """Give the plane through three points, as a square picture around them.

        The directions are orthonormal, so distances in the picture are distances in the input
        space.

        Args:
            points: Three points that are not on one line, shape ``(3, n)``.
            margin: Room around the points, as a share of their largest distance from the middle.

        Returns:
            A slice with two directions whose origin is the mean of the points.

        Raises:
            ShapeError: If there are not three points.
            DomainError: If they lie on one line.
        """
        corners = finite(points, "points", 2)
        if len(corners) != 3 or corners.shape[1] < 2:
            raise ShapeError(f'"points" has shape {corners.shape}; three points are needed')
        origin = corners.mean(axis=0)
        first = corners[1] - corners[0]
        second = corners[2] - corners[0]
        first = first / (np.linalg.norm(first) or 1.0)
        second = second - (second @ first) * first
        size = np.linalg.norm(second)
        if size <= 1e-12 * np.abs(corners).max():
            raise DomainError('"points" lie on one line; choose three that span a plane')
        directions = np.stack([first, second / size])
        reach = np.abs((corners - origin) @ directions.T).max() * (1 + margin)
        return cls(origin, directions, float(reach))

    @property
    def dim(self) -> int:
        """Number of directions."""
        return len(self.directions)

    def __call__(self, s: ArrayLike) -> Array:
        """Map slice coordinates ``(..., k)`` to inputs ``(..., n)``."""
        return self.origin + np.asarray(s, dtype=np.float64) @ self.directions

    def coordinates(self, x: ArrayLike) -> Array:
        """Give the slice coordinates ``(..., k)`` of the points nearest to ``x (..., n)``."""
        offsets = np.asarray(x, dtype=np.float64) - self.origin
        result: Array = offsets @ np.linalg.pinv(self.directions)
        return result


@dataclass(frozen=True, slots=True)
class WholeSpace:
    """All of R^d, without a box.

    Args:
        dim: Number of inputs, at least 1.

    Raises:
        DomainError: If ``dim`` is not a positive integer.
    """

    dim: int

    def __post_init__(self) -> None:
        if isinstance(self.dim, bool) or not isinstance(self.dim, int) or self.dim < 1:
            raise DomainError(f'"dim" was {self.dim!r}; give the number of inputs, 1 or more')


Domain = Box | Polytope | Slice | WholeSpace


def as_domain(domain: object, inputs: int) -> Domain:
    """Check a domain, or make a ``Box`` of a pair ``(lower, upper)``; scalars serve all inputs.

    Raises:
        TypeError: If it is nothing that we know.
        DomainError: If it does not fit the network or has no interior.
    """
    if isinstance(domain, tuple | list) and len(domain) == 2:
        sides = [
            np.full(inputs, side) if np.ndim(side) == 0 else np.asarray(side) for side in domain
        ]
        domain = Box(*sides)
    if not isinstance(domain, Box | Polytope | Slice | WholeSpace):
        raise TypeError(
            f'"domain" was {domain!r}; give a Box, a pair (lower, upper), a Polytope, a Slice or '
            "WholeSpace(d)"
        )
    size = domain.origin.size if isinstance(domain, Slice) else domain.dim
    if size != inputs:
        raise DomainError(f'"domain" has {size} coordinates but the network has {inputs} inputs')
    box = domain.box if isinstance(domain, Polytope | Slice) else domain
    if isinstance(box, Box):
        _require_moderate_sides(box)
    if isinstance(box, Box) and box.flat_axes.size == box.dim:
        raise DomainError(
            f"every side of the box is flat (coordinate 0 is {float(box.lower[0])!r}); a domain "
            "needs an interior, so give at least one coordinate some width"
        )
    return domain


def _require_moderate_sides(box: Box) -> None:
    with np.errstate(over="ignore"):
        sides = box.upper - box.lower
    if (sides > _LONGEST).any():
        k = int(sides.argmax())
        raise DomainError(
            f"the domain is {float(sides[k]):g} long in coordinate {k}, and the squares of such "
            "numbers overflow; use WholeSpace(d) where inputs have no bounds"
        )


def _extent(extent: object, k: int) -> Box:
    if isinstance(extent, Box):
        box = extent
    else:
        numbers = finite(np.asarray(extent), "extent").ravel()
        if numbers.size == 1:
            numbers = np.array([-numbers[0], numbers[0]])
        if numbers.size != 2:
            raise ShapeError(f'"extent" was {extent!r}; give a number, (lower, upper) or a Box')
        box = Box(np.full(k, numbers[0]), np.full(k, numbers[1]))
    if box.dim != k:
        raise ShapeError(f'"extent" has {box.dim} coordinates for {k} directions')
    if box.flat_axes.size:
        raise DomainError(f'"extent" is flat in coordinate {int(box.flat_axes[0])}; give it width')
    return box
