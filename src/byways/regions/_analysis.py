"""Exact statements about a network, from the list of its regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.affine import Affine
from byways.core.domains import Box, Polytope
from byways.core.errors import DomainError
from byways.regions import _geometry
from byways.regions._domains import Slice, WholeSpace
from byways.regions._signs import find, pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from byways.regions._domains import Domain
    from byways.regions._feasibility import Depth
    from byways.regions._report import RegionReport

    Array = NDArray[np.float64]

__all__ = [
    "adjacency",
    "beyond",
    "connected_parts",
    "corners",
    "decision_boundary",
    "distinct_maps",
    "inside",
    "integral",
    "is_bounded",
    "lipschitz",
    "minimize",
    "ranks",
    "to_domain_coordinates",
    "to_domain_points",
    "varying",
]

_REGIONS_AT_ONCE = 4_096
_NORMS = (1, 2, float("inf"))


def ranks(report: RegionReport, layer: int) -> NDArray[np.int64]:
    """Give the rank of each region's map from the domain to a layer's output."""
    depth = len(report.network.layers)
    if not -depth <= layer < depth:
        raise IndexError(
            f'"layer" was {layer!r}; this network has layers 0 to {depth - 1}, or -{depth} to -1 '
            "from the end"
        )
    basis = report.problem.embed
    found = [np.zeros(0, dtype=np.int64)]
    for _, signs in _chunks(report):
        local = report.network.local_map(signs, layer, before=basis)
        found.append(np.linalg.matrix_rank(local.weight))
    return np.concatenate(found)


def inside(domain: Domain, points: Array) -> NDArray[np.bool_]:
    """Tell which inputs lie in the closed domain; on a slice up to rounding."""
    if isinstance(domain, WholeSpace):
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(points).all(axis=-1))
        return finite
    if not isinstance(domain, Slice):
        return domain.contains(points)
    along = domain.coordinates(points)
    size = np.abs(points).max(axis=-1, initial=1.0)
    off = np.abs(domain(along) - points).max(axis=-1) > 1e-9 * size
    on_slice: NDArray[np.bool_] = domain.box.contains(along) & ~off
    return on_slice


def to_domain_coordinates(domain: Domain, rows: Array) -> tuple[Array, Array]:
    """Turn engine rows ``row . (1, s) > 0`` into ``A x < b`` with rows of unit length."""
    if isinstance(domain, WholeSpace):
        normals, offsets = -rows[:, 1:], rows[:, 0]
    else:
        box, axes = _box(domain), varying(domain)
        width = (box.upper - box.lower)[axes]
        normals = np.zeros((len(rows), box.dim))
        normals[:, axes] = -rows[:, 1:] / width
        offsets = rows[:, 0] + normals @ box.lower
    length = np.linalg.norm(normals, axis=1)
    return normals / length[:, None], offsets / length


def varying(domain: Domain) -> NDArray[np.intp]:
    """Give the domain's own coordinates that are not fixed."""
    if isinstance(domain, WholeSpace):
        return np.arange(domain.dim)
    box = _box(domain)
    return np.flatnonzero(box.lower < box.upper)


def _box(domain: Box | Polytope | Slice) -> Box:
    """Give the box that a bounded domain lies in, in its own coordinates."""
    return domain if isinstance(domain, Box) else domain.box


def largest_ball(report: RegionReport, k: int) -> tuple[Array, float]:
    """Give centre and radius of the largest ball in a region, in domain coordinates."""
    domain = report.question.domain
    normals, offsets = report.halfspaces(k, minimal=False)
    axes = varying(domain)
    centre = np.zeros(normals.shape[1]) if isinstance(domain, WholeSpace) else _box(domain).lower
    centre = centre.astype(np.float64, copy=True)
    found = _geometry.largest_ball(normals[:, axes], offsets - normals @ centre)
    if found is None:
        raise DomainError(
            f"region {k} is unbounded, and balls of any size fit in; enumerate a Box instead"
        )
    centre[axes] += found[0]
    return centre, found[1]


def corners(report: RegionReport, k: int) -> Array:
    """List the vertices of a region in domain coordinates."""
    if isinstance(report.question.domain, WholeSpace) and not is_bounded(report, k):
        raise DomainError(
            f"region {k} is unbounded, so its vertices do not span it; use halfspaces({k}), or "
            "enumerate on a Box"
        )
    problem = report.problem
    rows, _ = _geometry.all_rows(problem, report.bits_of(k))
    found = _geometry.vertices(problem, rows, report.inner_point(k))
    return to_domain_points(report.question.domain, found)


def is_bounded(report: RegionReport, k: int) -> bool:
    """Tell whether a region has finite size in every direction."""
    from byways.regions._sweep import minima

    problem = report.problem
    d = problem.dim
    axes = np.column_stack([np.zeros(2 * d), np.vstack([np.eye(d), -np.eye(d)])])
    bits = np.repeat(report.bits_of(k)[None], 2 * d, axis=0)
    values, _ = minima(problem, bits, axes, report.question.tolerance)
    return bool(np.isfinite(values).all())


def adjacency(report: RegionReport) -> csr_array:
    """Find which regions share a facet."""
    from scipy.sparse import csr_array

    from byways.regions._sweep import facets

    problem, n = report.problem, len(report)
    pairs = [np.zeros((0, 2), dtype=np.intp)]
    for start in range(0, n, _REGIONS_AT_ONCE):
        bits = report.bits_of(slice(start, start + _REGIONS_AT_ONCE))
        facet, plain = facets(problem, bits, report.question.tolerance)
        region, decision = np.nonzero(facet & plain[:, None])
        other = find(pack(problem.across(bits[region], decision)), report.words)
        known = other >= 0
        pairs.append(np.column_stack([region[known] + start, other[known]]))
        special = np.union1d(np.flatnonzero(~plain), region[~known])
        pairs += [_across(report, start + int(k)) for k in special]
    found = np.concatenate(pairs)
    found = np.unique(np.concatenate([found, found[:, ::-1]]), axis=0)
    ones = np.ones(len(found), dtype=np.uint8)
    return csr_array((ones, (found[:, 0], found[:, 1])), shape=(n, n))


def distinct_maps(report: RegionReport, tolerance: float) -> NDArray[np.int64]:
    """Label regions by their affine map."""
    entries = [np.zeros((0, 1))]
    for _, signs in _chunks(report):
        local = report.network.local_map(signs, before=report.problem.embed)
        flat = np.concatenate([local.weight.reshape(len(signs), -1), local.bias], axis=1)
        entries.append(flat)
    table = np.concatenate(entries[1:]) if len(entries) > 1 else entries[0]
    scale = np.abs(table).max(initial=0.0) or 1.0
    # Along a generic direction equal maps are neighbours; gaps wider than rounding separate them.
    direction = np.random.default_rng(0).standard_normal(table.shape[1])
    along = table @ (direction / np.linalg.norm(direction))
    order = np.argsort(along, kind="stable")
    group = np.cumsum(np.diff(along[order], prepend=-np.inf) > tolerance * scale)
    labels = np.empty(len(table), dtype=np.int64)
    labels[order] = group
    return _split_by_difference(table, labels, tolerance * scale)


def connected_parts(report: RegionReport, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Split classes of regions into those that hang together; number parts by appearance."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    pairs = adjacency(report).tocoo()
    same = labels[pairs.row] == labels[pairs.col]
    shape = (len(report), len(report))
    within = csr_array((pairs.data[same], (pairs.row[same], pairs.col[same])), shape=shape)
    parts = connected_components(within, directed=False)[1]
    _, first, inverse = np.unique(parts, return_index=True, return_inverse=True)
    numbers: NDArray[np.int64] = np.argsort(np.argsort(first, kind="stable"))[inverse]
    return numbers


def integral(report: RegionReport) -> Array:
    """Add up each region's map at its centroid, times its volume."""
    problem, domain = report.problem, report.question.domain
    if isinstance(domain, WholeSpace):
        raise DomainError(f"the domain {domain!r} has no bounds, so integrals diverge; use a Box")
    total, k = np.zeros(report.network.output_size), 0
    for bits, signs in _chunks(report):
        local = report.network.local_map(signs, before=problem.embed)
        for row, weight, bias in zip(bits, local.weight, local.bias, strict=True):
            rows, _ = _geometry.all_rows(problem, row)
            corners = _geometry.vertices(problem, rows, report.inner_point(k))
            volume, centroid = _geometry.volume_and_centroid(corners)
            total += volume * (weight @ centroid + bias)
            k += 1
    box = domain if isinstance(domain, Box) else domain.box
    sides = box.upper - box.lower
    result: Array = total * float(np.prod(sides[sides > 0]))
    return result


def minimize(report: RegionReport, i: int, sign: float) -> tuple[float, Array]:
    """Find the least value of ``sign`` times an output, and an input where it is taken."""
    from byways.regions._sweep import minima

    outputs = range(report.network.output_size)
    if i not in range(-len(outputs), len(outputs)):
        raise IndexError(f'"i" was {i!r}; outputs are numbered 0 to {len(outputs) - 1}')
    output, problem = outputs[i], report.problem
    best, place = np.inf, np.full(problem.dim, np.nan)
    for bits, signs in _chunks(report):
        local = report.network.local_map(signs, before=problem.embed)
        rows = sign * np.column_stack([local.bias[:, output], local.weight[:, output]])
        values, places = minima(problem, bits, rows, report.question.tolerance)
        k = int(np.nanargmin(values))
        if values[k] < best:
            best, place = float(values[k]), places[k]
    where: Array = problem.embed(place)
    return best, where


def lipschitz(report: RegionReport, p: float) -> float:
    """Give the largest operator norm of the regions' maps."""
    if p not in _NORMS:
        raise ValueError(f'"p" was {p!r}; it is 1, 2 or float("inf")')
    if isinstance(report.question.domain, Slice) and p != 2:
        raise ValueError(f'"p" was {p!r}; on a Slice, whose axes are not the inputs, it is 2')
    largest = 0.0
    turn = _domain_directions(report.question.domain)
    for _, signs in _chunks(report):
        weight = report.network.local_map(signs, before=turn).weight
        norms = np.linalg.norm(weight, ord=p, axis=(-2, -1))
        largest = max(largest, float(norms.max(initial=0.0)))
    return largest


def decision_boundary(report: RegionReport) -> Array:
    """Give the segments where the predicted class changes."""
    from byways.regions._boundary import boundary_segments
    from byways.regions._outlines import polygons

    problem = report.problem
    require_plane(report)
    local = report.network.local_map(report.signs, before=problem.embed)
    segments = boundary_segments(polygons(problem, report.words), local.weight, local.bias)
    return to_domain_points(report.question.domain, segments)


def require_plane(report: RegionReport) -> None:
    """Refuse domains that are not bounded and two-dimensional."""
    if report.problem.dim != 2 or report.problem.free.any():
        raise DomainError(
            f"this domain has {report.problem.dim} dimensions"
            f"{' and no bounds' if report.problem.free.any() else ''}; a picture needs a bounded "
            "one with two. Enumerate on a byways.regions.Slice with two directions"
        )


def _chunks(report: RegionReport) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Give bits and signs of some thousand regions at a time."""
    problem = report.problem
    for start in range(0, len(report), _REGIONS_AT_ONCE):
        bits = report.bits_of(slice(start, start + _REGIONS_AT_ONCE))
        yield bits, problem.segments(bits)


def to_domain_points(domain: Domain, points: Array) -> Array:
    """Turn engine coordinates into the domain's own."""
    if isinstance(domain, WholeSpace):
        return points
    box, axes = _box(domain), varying(domain)
    result = np.broadcast_to(box.lower, (*points.shape[:-1], box.dim)).copy()
    result[..., axes] += points * (box.upper - box.lower)[axes]
    return result


def _domain_directions(domain: Domain) -> Affine:
    """Give an orthonormal basis of the directions in which the domain extends, as a linear map."""
    if isinstance(domain, Slice):
        basis = np.linalg.qr(domain.directions.T)[0]
    elif isinstance(domain, WholeSpace):
        basis = np.eye(domain.dim)
    else:
        box = domain.box if isinstance(domain, Polytope) else domain
        basis = np.eye(box.dim)[:, box.lower < box.upper]
    return Affine(basis, np.zeros(len(basis)))


def _across(report: RegionReport, k: int) -> NDArray[np.intp]:
    """Find the neighbours of a region by stepping through the middle of each of its facets."""
    from byways.regions._feasibility import deepest_point

    problem, tolerance = report.problem, report.question.tolerance
    rows, owner = _geometry.all_rows(problem, report.bits_of(k))
    rows, owner = _geometry.minimal_rows(rows, owner, tolerance)
    found = []
    for i in np.flatnonzero(owner >= 0):
        others = np.delete(rows, i, axis=0)
        on_facet = np.vstack([rows[i], -rows[i]])
        depth = deepest_point(others, on_facet, np.ones(problem.dim, dtype=bool), box=False)
        other = beyond(report, k, rows[i], depth)
        if other >= 0:
            found.append((k, other))
    return np.array(found, dtype=np.intp).reshape(-1, 2)


def beyond(report: RegionReport, k: int, row: Array, depth: Depth) -> int:
    """Find the region on the other side of a facet of region ``k``, or -1.

    Args:
        report: The list.
        k: The region.
        row: What is zero on the facet and positive in the region.
        depth: The facet's deepest point.
    """
    for step in depth.margin * 0.5 ** np.arange(1, 36):
        place = depth.point - step * row[1:]
        other = int(report.locate(report.problem.embed(place)))
        if other not in (-1, k) and _touches(report, other, depth.point):
            return other
    return -1


def _touches(report: RegionReport, k: int, point: Array) -> bool:
    """Tell whether a point lies in the closure of a region; a step may have gone beyond it."""
    rows, _ = _geometry.all_rows(report.problem, report.bits_of(k))
    return bool((rows[:, 0] + rows[:, 1:] @ point >= -report.question.tolerance).all())


def _split_by_difference(
    table: Array, labels: NDArray[np.int64], tolerance: float
) -> NDArray[np.int64]:
    """Separate maps that only look alike along one direction; number labels by appearance."""
    result = np.full(len(table), -1, dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    following = 0
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        rest = members
        while rest.size:
            same = np.abs(table[rest] - table[rest[0]]).max(axis=1) <= tolerance
            result[rest[same]] = following
            following += 1
            rest = rest[~same]
    first = np.unique(result, return_index=True)[1]
    rank = np.empty(following, dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(following)
    return rank[result]
