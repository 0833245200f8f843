"""Where two outputs of a network tie, in any number of dimensions, region by region."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from byways.core.errors import DomainError
from byways.regions import _analysis, _geometry
from byways.regions._feasibility import deepest_point

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from byways.regions._feasibility import Depth
    from byways.regions._report import RegionReport

    Array = NDArray[np.float64]

__all__ = ["Facet", "decision_facets"]


@dataclass(frozen=True, slots=True, eq=False)
class Facet:
    """A flat piece of the decision boundary: a closed region intersected with a hyperplane.

    Attributes:
        region: Number of the region; of a piece on the border between two, one of them.
        outputs: The two outputs that tie there, the others being smaller; of more that tie all
            along it, those that are the largest on its two sides. ``(0, 0)`` where the only output
            is zero.
        normal: Unit normal of the hyperplane ``normal . x = offset``, in the domain's coordinates,
            pointing to where the region's own map has the second output larger (the only one
            positive).
        offset: See ``normal``.
        A: With ``b``: the facet's inequalities ``A x <= b``, besides the hyperplane.
        b: See ``A``.
        point: A point in the facet's relative interior, as far as can be from its borders.
        axes: The domain's coordinates that vary; on the others it is flat.
    """

    region: int
    outputs: tuple[int, int]
    normal: Array
    offset: float
    A: Array
    b: Array
    point: Array
    axes: NDArray[np.intp]

    def vertices(self) -> Array:
        """List the facet's corners, shape ``(v, n)``.

        Raises:
            DomainError: If the facet is unbounded, or itself has more than 9 dimensions.
        """
        from scipy.spatial import HalfspaceIntersection

        basis = self._basis()
        rows, gaps = self.A @ basis, self.b - self.A @ self.point
        size = np.linalg.norm(rows, axis=1)
        rows, gaps = rows[size > 1e-12], gaps[size > 1e-12]
        if basis.shape[1] == 0:
            return self.point[None]
        self._require_corners()
        if basis.shape[1] == 1:
            ends = gaps / rows[:, 0]
            along = np.array([[ends[rows[:, 0] < 0].max()], [ends[rows[:, 0] > 0].min()]])
        else:
            halfspaces = np.column_stack([rows, -gaps])
            found = HalfspaceIntersection(halfspaces, np.zeros(basis.shape[1])).intersections
            along = found[np.unique(np.round(found, 10), axis=0, return_index=True)[1]]
        corners: Array = self.point + along @ basis.T
        return corners

    def area(self) -> float:
        """Give the facet's volume in its own dimensions: 1 for a point, a length, an area.

        Raises:
            DomainError: If the facet is unbounded, or itself has more than 9 dimensions.
        """
        basis = self._basis()
        if basis.shape[1] == 0:
            return 1.0
        return _geometry.volume_and_centroid((self.vertices() - self.point) @ basis)[0]

    def _basis(self) -> Array:
        """Give orthonormal directions along the facet, without flat sides of the domain."""
        basis = np.zeros((len(self.normal), len(self.axes) - 1))
        basis[self.axes] = np.linalg.svd(self.normal[None, self.axes])[2][1:].T
        return basis

    def _require_corners(self) -> None:
        """Refuse facets that are not the hull of a list of corners, or of too long a list."""
        d = len(self.axes) - 1
        if d > _geometry.MOST_DIMENSIONS:
            raise DomainError(
                f"a facet of {d} dimensions has too many corners to list; "
                f"{_geometry.MOST_DIMENSIONS} dimensions are the most. Use its A and b, or "
                "restrict the network to a Slice"
            )
        rows = np.vstack([self.A, self.normal, -self.normal])[:, self.axes]
        if not _geometry.is_bounded(rows):
            raise DomainError(
                f"this facet in region {self.region} is unbounded, so its corners do not span it; "
                "use its A and b, or enumerate on a Box"
            )


def _misses_box(row: Array, free: NDArray[np.bool_]) -> bool:
    """Tell whether a hyperplane is clear of the box: far away, it is no question for a solver."""
    low, high = np.minimum(row[1:], 0.0).sum(), np.maximum(row[1:], 0.0).sum()
    return not free.any() and not low <= -row[0] <= high


def decision_facets(report: RegionReport) -> Iterator[Facet]:
    """Give the facets of the decision boundary, region by region."""
    problem, domain = report.problem, report.question.domain
    tolerance, axes = report.question.tolerance, _analysis.varying(report.question.domain)
    for k in range(len(report)):
        values = _outputs(report, k)
        rows, owner = _geometry.all_rows(problem, report.bits_of(k))
        for outputs, tie, lead in _ties(values):
            size = float(np.linalg.norm(tie[1:]))
            if size <= _same(values):
                continue  # the same function on the whole region: no facet of its own
            on = tie / size
            if _misses_box(on, problem.free):
                continue
            along = np.minimum(*(np.abs(rows + s * on).max(axis=1) for s in (-1, 1))) <= tolerance
            if (owner[along] < 0).any():
                continue  # a side of the domain, with nothing beyond
            level = _level(lead, tie, tolerance)
            inside = np.concatenate([rows[~along], _unit(lead[~level])])
            depth = deepest_point(
                inside, np.vstack([on, -on]), np.ones(problem.dim, dtype=bool), box=False
            )
            if depth.margin <= tolerance:
                continue
            border = np.flatnonzero(along)
            across = rows[border[0]] if border.size else None
            if level.any() and outputs != _pair(report, k, outputs, level, on, across, depth):
                continue
            if border.size and not _gives(
                report, k, outputs, owner[border[0]], rows[border[0]], depth
            ):
                continue
            A, b = _analysis.to_domain_coordinates(domain, inside)
            normal, offset = _analysis.to_domain_coordinates(domain, on[None])
            place = _analysis.to_domain_points(domain, depth.point)
            yield Facet(k, outputs, -normal[0], -float(offset[0]), A, b, place, axes)


def _outputs(report: RegionReport, k: int) -> Array:
    """Give the outputs on a region as rows over engine coordinates."""
    local = report.network.local_map(report.signs_of([k])[0], before=report.problem.embed)
    return np.column_stack([local.bias, local.weight])


def _same(values: Array) -> float:
    """Give the gradient up to which two outputs differ by rounding only."""
    return 1e-12 * max(float(np.abs(values).max()), 1e-300)


def _gives(
    report: RegionReport, k: int, outputs: tuple[int, int], decision: int, row: Array, depth: Depth
) -> bool:
    """Tell whether it is this region that gives a piece on its border with another.

    That is the one on the positive side of the border's first decision, which both regions have in
    common, or between winners of a window the one that comes last in the list; but only the other
    can, if the outputs are the same function there.
    """
    start, end = report.problem.windows[decision]
    if end - start == 1 and report.bits_of(k)[decision]:
        return True
    other = _analysis.beyond(report, k, row, depth)
    if other < 0 or (end - start > 1 and k > other):
        return True
    values = _outputs(report, other)
    tie = next(tie for pair, tie, _ in _ties(values) if pair == outputs)
    return float(np.linalg.norm(tie[1:])) <= _same(values)


def _ties(values: Array) -> Iterator[tuple[tuple[int, int], Array, Array]]:
    """Give pairs of outputs, their difference, and what has to be positive for them to lead."""
    if len(values) == 1:
        yield (0, 0), values[0], np.zeros((0, values.shape[1]))
    for i, j in combinations(range(len(values)), 2):
        others = np.delete(np.arange(len(values)), [i, j])
        yield (i, j), values[j] - values[i], values[i] - values[others]


def _level(lead: Array, tie: Array, tolerance: float) -> NDArray[np.bool_]:
    """Tell which rows are zero wherever ``tie`` is."""
    size = np.linalg.norm(tie[1:])
    share = lead[:, 1:] @ tie[1:] / size**2
    scale = np.maximum(np.linalg.norm(lead[:, 1:], axis=1), size)
    level: NDArray[np.bool_] = (
        np.abs(lead - share[:, None] * tie).max(axis=1, initial=0.0) <= tolerance * scale
    )
    return level


def _pair(
    report: RegionReport,
    k: int,
    outputs: tuple[int, int],
    level: NDArray[np.bool_],
    on: Array,
    across: Array | None,
    depth: Depth,
) -> tuple[int, int]:
    """Name two of the outputs that tie on a hyperplane: those that are the largest beside it.

    Of equal ones the first is taken; if one is the largest on both sides, with it the first that is
    not the same there. ``across`` is zero on the hyperplane and positive in the region, if that is
    the region's border.
    """
    values = beyond = _outputs(report, k)
    other = -1 if across is None else _analysis.beyond(report, k, across, depth)
    if other >= 0:
        beyond = _outputs(report, other)
    tied = np.sort([*outputs, *np.delete(np.arange(len(values)), outputs)[level]])
    normal = on[1:] if across is None else across[1:]
    slopes = np.stack([values[tied, 1:] @ normal, beyond[tied, 1:] @ -normal])
    lead = slopes.max(axis=1, keepdims=True) - slopes > max(_same(values), _same(beyond))
    here, there = (~lead).argmax(axis=1)
    second = lead.any(axis=0).argmax() if here == there else there
    first, last = sorted((int(tied[here]), int(tied[second])))
    return first, last


def _unit(rows: Array) -> Array:
    """Give rows of unit gradient; constants that hold everywhere are left out."""
    size = np.linalg.norm(rows[:, 1:], axis=1)
    flat = size <= 1e-12
    kept = ~(flat & (rows[:, 0] > 0))
    scaled: Array = rows[kept] / np.where(flat, 1.0, size)[kept, None]
    return scaled
