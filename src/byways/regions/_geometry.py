"""Polyhedra of single regions: inequalities, vertices, volume."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from byways.core.errors import DomainError, SolverError
from byways.regions._feasibility import box_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._problem import Problem

    Array = NDArray[np.float64]
    Bits = NDArray[np.uint8]

__all__ = [
    "MOST_DIMENSIONS",
    "all_rows",
    "bounding_rows",
    "is_bounded",
    "largest_ball",
    "minimal_rows",
    "vertices",
    "volume",
    "volume_and_centroid",
]

MOST_DIMENSIONS = 9  # of a vertex list; beyond, their number explodes


def all_rows(problem: Problem, bits: Bits) -> tuple[Array, NDArray[np.intp]]:
    """Give the rows of a region and of its domain, ``row . (1, s) >= 0``, and whose they are.

    Returns:
        Rows of unit gradient, shape ``(m, d + 1)``, constants left out, and for each the number of
        its decision, or -1 for a side of the domain.
    """
    cell = problem.cell_rows(bits)
    varying = np.flatnonzero(np.any(cell[:, 1:] != 0, axis=1))
    sides = bounding_rows(problem)
    owner = np.concatenate([varying, np.full(len(sides), -1)])
    return np.concatenate([cell[varying], sides]), owner


def bounding_rows(problem: Problem) -> Array:
    """Give the domain's sides as rows."""
    return np.concatenate([box_rows(problem.free), problem.domain_rows])


def minimal_rows(
    rows: Array, owner: NDArray[np.intp], tolerance: float
) -> tuple[Array, NDArray[np.intp]]:
    """Leave out rows that follow from the others; of equal rows the first stays.

    A row is needed if its value falls below ``-tolerance`` somewhere once it is left out itself.
    One linear program per row.
    """
    keep = list(np.unique(np.round(rows, 12), axis=0, return_index=True)[1])
    keep.sort()
    for i in tuple(keep):
        others = [j for j in keep if j != i]
        relaxed = rows[i].copy()
        relaxed[0] += 1.0  # keeps the program bounded: one unit beyond the row is far enough
        if _lowest(rows[i], np.vstack([rows[others], relaxed])) >= -tolerance:
            keep = others
    return rows[keep], owner[keep]


def _lowest(row: Array, rows: Array) -> float:
    """Give the least value of a row where other rows are not negative."""
    from scipy.optimize import linprog

    found = linprog(row[1:], -rows[:, 1:], rows[:, 0], bounds=(None, None), method="highs-ds")
    if found.status != 0:
        raise SolverError(f"HiGHS ended with: {found.message}")
    return float(found.fun + row[0])


def largest_ball(normals: Array, offsets: Array) -> tuple[Array, float] | None:
    """Give centre and radius of the largest ball with ``normals x <= offsets``; None if unbounded.

    Args:
        normals: Rows of unit length.
        offsets: One for each.

    Raises:
        SolverError: If the solver fails.
    """
    from scipy.optimize import linprog

    d = normals.shape[1]
    found = linprog(
        np.append(np.zeros(d), -1.0),
        np.column_stack([normals, np.ones(len(normals))]),
        offsets,
        bounds=(None, None),
        method="highs-ds",
    )
    if found.status == 3:  # unbounded
        return None
    if found.status != 0 or found.x is None:
        raise SolverError(f"HiGHS ended with: {found.message}")
    return found.x[:d], float(found.x[d])


def is_bounded(normals: Array) -> bool:
    """Tell whether ``{x : normals x <= b}``, if it is not empty, is bounded; whatever ``b`` is.

    It is if no direction is left free: the normals span the space, and a combination of all of
    them with positive factors is zero (Stiemke's lemma).
    """
    m, d = normals.shape
    alone = normals[np.count_nonzero(normals, axis=1) == 1]
    if len(alone) and (alone.max(axis=0) > 0).all() and (alone.min(axis=0) < 0).all():
        return True  # within the sides of a box, which needs no program
    if np.linalg.matrix_rank(normals) < d:
        return False
    from scipy.optimize import linprog

    found = linprog(
        np.zeros(m), A_eq=normals.T, b_eq=np.zeros(d), bounds=(1.0, None), method="highs-ds"
    )
    return bool(found.status == 0)


def vertices(problem: Problem, rows: Array, inside: Array) -> Array:
    """List the vertices of a bounded region in engine coordinates, in two dimensions in turn.

    Args:
        problem: For the number of dimensions.
        rows: All rows of the region and its domain.
        inside: A point strictly inside.

    Raises:
        DomainError: In too many dimensions.
    """
    d = problem.dim
    if d == 1:
        ends = -rows[:, 0] / rows[:, 1]
        return np.array([[ends[rows[:, 1] > 0].max()], [ends[rows[:, 1] < 0].min()]])
    if d > MOST_DIMENSIONS:
        raise DomainError(
            f"a region in {d} dimensions has too many vertices to list; {MOST_DIMENSIONS} "
            "dimensions are the most. Use halfspaces(k), or restrict the network to a Slice"
        )
    from scipy.spatial import HalfspaceIntersection

    halfspaces = np.column_stack([-rows[:, 1:], -rows[:, 0]])
    points = HalfspaceIntersection(halfspaces, inside).intersections
    points = points[np.isfinite(points).all(axis=1)]
    points = points[np.unique(np.round(points, 10), axis=0, return_index=True)[1]]
    if d == 2:
        around = points - points.mean(axis=0)
        points = points[np.argsort(np.arctan2(around[:, 1], around[:, 0]))]
    return points


def volume(corners: Array) -> float:
    """Give the volume of the convex hull of a region's vertices, flat coordinates left out."""
    corners = corners[:, np.ptp(corners, axis=0) > 0]
    if corners.shape[1] == 1:
        return float(np.ptp(corners))
    from scipy.spatial import ConvexHull

    return float(ConvexHull(corners).volume)


def volume_and_centroid(corners: Array) -> tuple[float, Array]:
    """Give the volume of the convex hull of points, and its centre of mass.

    The hull is a union of simplices with one facet on its surface and the points' mean as apex.
    """
    d = corners.shape[1]
    if d == 0:
        return 1.0, np.zeros(0)
    if d == 1:
        return float(np.ptp(corners)), np.array([(corners.min() + corners.max()) / 2.0])
    from scipy.spatial import ConvexHull

    apex = corners.mean(axis=0)
    facets = corners[ConvexHull(corners).simplices] - apex
    parts = np.abs(np.linalg.det(facets))
    centroid = apex + (parts / parts.sum()) @ facets.sum(axis=1) / (d + 1)
    return float(parts.sum()) / math.factorial(d), centroid
