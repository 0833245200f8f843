"""All regions on which a network can violate a property, each with a counterexample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.domains import Box
from byways.core.errors import ShapeError
from byways.core.reports import Report
from byways.networks import as_chain
from byways.regions._enumeration import enumerate_regions
from byways.regions._feasibility import deepest_point
from byways.regions._geometry import all_rows
from byways.regions._problem import NEGLIGIBLE
from byways.regions._sweep import minima
from byways.regions._vnnlib import Property, read_vnnlib

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    from numpy.typing import NDArray

    from byways.core.chain import LayerChain
    from byways.core.progress import Listener
    from byways.regions._report import RegionReport
    from byways.regions._vnnlib import Case

    Array = NDArray[np.float64]

__all__ = ["UnsafeRegion", "UnsafeReport", "unsafe_regions"]

_REGIONS_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class UnsafeRegion:
    """A region that can violate the property.

    Attributes:
        report: Number of the report, that is of the input box, that the region belongs to.
        region: Number of the region there.
        case: Number of the property's case that is violated.
        counterexample: An input, shape ``(n_0,)``.
        output: The network's output there, by a forward pass in float64.
        slack: By how much that pass satisfies the unsafe inequalities, the least of them; negative
            if it misses one of them.
        boundary: Whether the unsafe set only touches the region, or reaches into it by no more than
            the tolerance.
    """

    report: int
    region: int
    case: int
    counterexample: Array
    output: Array
    slack: float
    boundary: bool

    @property
    def confirmed(self) -> bool:
        """Whether the forward pass is unsafe at the counterexample."""
        return self.slack >= 0


@dataclass(frozen=True, eq=False)
class UnsafeReport(Report):
    """The regions on which a network can violate a property.

    Attributes:
        prop: What was asked.
        reports: All regions, one report for each box of inputs in the property.
        unsafe: The regions that can violate it.
    """

    prop: Property
    reports: tuple[RegionReport, ...]
    unsafe: tuple[UnsafeRegion, ...]

    @property
    def complete(self) -> bool:
        """Whether every region was looked at."""
        return all(report.outcome.complete for report in self.reports)

    @property
    def holds(self) -> bool | None:
        """Whether the property holds; False with a confirmed counterexample, None if unknown.

        Unknown are partial reports, and unsafe sets that are no thicker than the tolerance.
        """
        if any(found.confirmed for found in self.unsafe):
            return False
        doubts = self.unsafe or not self.complete or any(r.ambiguous for r in self.reports)
        return None if doubts else True

    def __len__(self) -> int:
        """Give the number of unsafe regions."""
        return len(self.unsafe)

    def __iter__(self) -> Iterator[UnsafeRegion]:
        """Give the unsafe regions one by one."""
        return iter(self.unsafe)

    def rows(self) -> list[dict[str, Any]]:
        """Give one row per unsafe region."""
        return [
            {
                "box": found.report,
                "region": found.region,
                "case": found.case,
                "confirmed": found.confirmed,
                "boundary": found.boundary,
                "slack": found.slack,
                "counterexample": found.counterexample.tolist(),
                "output": found.output.tolist(),
            }
            for found in self.unsafe
        ]

    def __str__(self) -> str:
        total = sum(len(report) for report in self.reports)
        verdict = {True: "holds", False: "is violated", None: "is undecided"}[self.holds]
        return f"{self.prop.source} {verdict}: {len(self)} of {total:,} regions can violate it"


def unsafe_regions(
    network: object,
    prop: str | Path | Property,
    *,
    method: str = "auto",
    solver: str = "auto",
    tolerance: float = 1e-9,
    workers: int | None = 1,
    executor: Executor | None = None,
    max_regions: int | None = None,
    time_limit: float | None = None,
    progress: bool | Listener = False,
) -> UnsafeReport:
    r"""List every region on which a network can violate a VNN-LIB property.

    A verifier gives one counterexample or none; here are all the places where there are some. In
    each region the network is affine, :math:`y = Wx + b`, so that the unsafe inputs
    :math:`Ax + By \le c` of the region are a polytope: its deepest point is the counterexample.
    Regions whose affine map stays clear of it on the whole box cost nothing more; a vertex of the
    others tells, or a linear program where several inequalities have to hold at once.

    Args:
        network: As for ``enumerate_regions``.
        prop: A VNN-LIB 1.0 file, gzipped or not.
        method: As for ``enumerate_regions``; likewise all that follow.
        solver: For ``method="lp"``.
        tolerance: Unsafe sets that reach no farther into a region, in units of the box's sides, are
            listed as ``boundary``.
        workers: Processes.
        executor: Who computes instead.
        max_regions: Stop after so many regions of a box.
        time_limit: Stop after so many seconds for a box.
        progress: Where to tell of it.

    Returns:
        The unsafe regions, by box and region. Each is listed once, under its first case, with an
        input whose output was computed by a forward pass. Deterministic.

    Raises:
        ConversionError: If the file is malformed; says on which line.
        ShapeError: If it has other inputs or outputs than the network.

    Example:
        >>> from byways.networks import example
        >>> from byways.regions._vnnlib import parse_vnnlib
        >>> above = parse_vnnlib('''
        ... (declare-const X_0 Real) (declare-const Y_0 Real)
        ... (assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= Y_0 0.75))''')
        >>> report = unsafe_regions(example("tent").chain, above)
        >>> report.holds, len(report)  # every one of the 1024 pieces rises above 3/4
        (False, 1024)
    """
    chain = as_chain(network)
    checked = _fitting(prop, chain)
    boxes: dict[bytes, list[int]] = {}
    for i, case in enumerate(checked.cases):
        boxes.setdefault(case.lower.tobytes() + case.upper.tobytes(), []).append(i)
    reports, unsafe = [], []
    for number, members in enumerate(boxes.values()):
        first = checked.cases[members[0]]
        report = enumerate_regions(
            chain,
            Box(first.lower, first.upper),
            method=method,
            solver=solver,
            tolerance=tolerance,
            workers=workers,
            executor=executor,
            max_regions=max_regions,
            time_limit=time_limit,
            progress=progress,
        )
        reports.append(report)
        unsafe += _of_box(report, number, [(i, checked.cases[i]) for i in members])
    return UnsafeReport(checked, tuple(reports), tuple(unsafe))


def _fitting(prop: str | Path | Property, chain: LayerChain) -> Property:
    """Read a property and compare it with the network.

    Raises:
        ShapeError: If it has other inputs or outputs.
    """
    checked = prop if isinstance(prop, Property) else read_vnnlib(prop)
    if (checked.inputs, checked.outputs) != (chain.input_size, chain.output_size):
        raise ShapeError(
            f"{checked.source} has {checked.inputs} inputs and {checked.outputs} outputs; the "
            f"network has {chain.input_size} and {chain.output_size}"
        )
    return checked


def _of_box(report: RegionReport, number: int, cases: list[tuple[int, Case]]) -> list[UnsafeRegion]:
    """Search the regions of a box; a case that is clearly violated goes before one that touches."""
    found: dict[int, UnsafeRegion] = {}
    for i, case in cases:
        for region, point, boundary in _violations(report, case):
            if region in found and (boundary or not found[region].boundary):
                continue
            x = np.clip(report.problem.embed(point), case.lower, case.upper)
            y = report.network(x)
            slack = float(case.slack(x, y))
            found[region] = UnsafeRegion(number, region, i, x, y, slack, boundary)
    return [found[region] for region in sorted(found)]


def _violations(report: RegionReport, case: Case) -> Iterator[tuple[int, Array, bool]]:
    """Give regions, an unsafe point of each in engine coordinates, and whether it only touches."""
    problem, tolerance = report.problem, report.question.tolerance
    for start in range(0, len(report), _REGIONS_AT_ONCE):
        chunk = slice(start, start + _REGIONS_AT_ONCE)
        bits, inside = report.bits_of(chunk), report.points[chunk]
        rows, constant = _unsafe_rows(report, problem.segments(bits), case)
        reach = rows[..., 0] + np.maximum(rows[..., 1:], 0.0).sum(axis=-1)
        possible = np.flatnonzero((reach >= -tolerance).all(axis=1))
        at = rows[..., 0] + np.einsum("nmd,nd->nm", rows[..., 1:], inside)
        for k in possible[(at[possible] > tolerance).all(axis=1)]:
            yield start + int(k), inside[k], False
        rest = possible[~(at[possible] > tolerance).all(axis=1)]
        best, places = _largest(report, bits[rest], rows[rest])
        for k, top, place in zip(rest, best, places, strict=True):
            if (top < -tolerance).any():
                continue
            free = ~constant[k]
            if rows.shape[1] == 1 and free[0] and top[0] > tolerance:
                share = min(0.5, 0.5 * top[0] / (top[0] - at[k, 0]))
                yield start + int(k), place[0] + share * (inside[k] - place[0]), False
                continue
            answer = _meeting(report, bits[k], rows[k], free)
            if answer is not None:
                yield start + int(k), *answer


def _unsafe_rows(
    report: RegionReport, signs: NDArray[np.uint8], case: Case
) -> tuple[Array, NDArray[np.bool_]]:
    """Give the unsafe inequalities of regions as rows ``row . (1, s) >= 0`` of unit gradient.

    Returns:
        Rows, shape ``(n, m, d + 1)``, and which are constant: those keep their number.
    """
    embed = report.problem.embed
    local = report.network.local_map(signs, before=embed)
    along = -(case.A @ embed.weight + case.B @ local.weight)
    level = case.c - case.A @ embed.bias - local.bias @ case.B.T
    size = np.abs(case.A) @ np.abs(embed.weight) + np.abs(case.B) @ np.abs(local.weight)
    gradient = np.linalg.norm(along, axis=-1)
    constant = gradient <= NEGLIGIBLE * size.sum(axis=-1)
    rows = np.concatenate([level[..., None], along], axis=-1)
    rows /= np.where(constant, 1.0, gradient)[..., None]
    rows[constant, 1:] = 0.0
    return rows, constant


def _largest(report: RegionReport, bits: NDArray[np.uint8], rows: Array) -> tuple[Array, Array]:
    """Give the largest value of each row on its region's closure, and where it is taken."""
    n, m, columns = rows.shape
    values, places = np.empty((n, m)), np.empty((n, m, columns - 1))
    for j in range(m):
        least, where = minima(
            report.problem, bits, np.ascontiguousarray(-rows[:, j]), report.question.tolerance
        )
        # A region that the sweep cannot reach is left to the linear program.
        values[:, j], places[:, j] = np.where(np.isnan(least), np.inf, -least), where
    return values, places


def _meeting(
    report: RegionReport, bits: NDArray[np.uint8], rows: Array, varying: NDArray[np.bool_]
) -> tuple[Array, bool] | None:
    """Find a point of a region where all rows hold; deep inside if there is one.

    Returns:
        The point and whether the unsafe set only touches the region; None if it is clear of it.
    """
    problem, tolerance = report.problem, report.question.tolerance
    sides, _ = all_rows(problem, bits)
    unsafe, free = rows[varying], np.ones(problem.dim, dtype=np.bool_)
    none = np.zeros((0, problem.dim + 1))
    touching = bool((rows[~varying, 0] < 0).any())
    depth = deepest_point(np.concatenate([unsafe, sides]), none, free, box=False)
    if depth.margin > tolerance:
        return depth.point, touching
    if len(unsafe):
        depth = deepest_point(unsafe, sides, free, box=False)
    if depth.margin < -tolerance:
        return None
    return depth.point, touching or depth.margin <= tolerance
