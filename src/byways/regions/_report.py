# sizes: one class, the list of regions with all that can be asked of it
"""The list of regions, and what can be asked of it."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.affine import Affine
from byways.core.files import read_npz, write_npz
from byways.core.optional import require
from byways.core.reports import Report
from byways.regions import _analysis, _geometry
from byways.regions._array_files import blocks
from byways.regions._count import RegionCount
from byways.regions._domains import WholeSpace
from byways.regions._outcome import Outcome
from byways.regions._proof import Proof
from byways.regions._question import Question, describe, under
from byways.regions._region import Region
from byways.regions._signs import find, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import networkx
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_array

    from byways.core.chain import LayerChain
    from byways.regions._facets import Facet
    from byways.regions._outcome import Answer
    from byways.regions._problem import Problem

    Array = NDArray[np.float64]

__all__ = ["RegionReport"]

_FORMAT = "byways.RegionReport/1"
_AT_ONCE = 4_096
_MOST_BYTES = 4 << 30  # of an array with a row for each region


@dataclass(frozen=True, eq=False)
class RegionReport(Report):
    """The activation regions of a network on a domain, in lexicographic order of their signs.

    Rows of ``signs``, ``witnesses`` and of every per-region array belong together. Geometry
    (``halfspaces``, ``vertices``, ``volume``) is in the domain's own coordinates: inputs, or for a
    ``Slice`` the coordinates along its directions.

    Attributes:
        question: Network, domain and method, as they were checked at the door.
        layer_counts: Cells after each hidden layer; the last is the number of regions.
        outcome: How the enumeration ended.
        ambiguous: Decisions whose decisive number was not zero but within the tolerance of zero.
            With 0 every decision was clear.
        explored: Share of the work that is done, 1 for a complete report.
        seconds: Wall time of the call that made the report.
        rational: With ``exact="certified"``, decisions that took rational arithmetic.
        certificate: What ``proof()`` gives, if there is one.

    Example:
        >>> import byways as bw
        >>> from byways.networks import example
        >>> report = bw.regions.enumerate_regions(example("tent").chain, (0, 1))
        >>> len(report), report.outcome.name, report.ambiguous
        (1024, 'COMPLETE', 0)
        >>> report.lipschitz()
        1024.0
    """

    question: Question
    words: NDArray[np.uint64]
    points: Array
    layer_counts: tuple[int, ...]
    outcome: Outcome
    ambiguous: int
    explored: float
    seconds: float
    rational: int = 0
    certificate: Proof | None = None

    @classmethod
    def assemble(cls, question: Question, answer: Answer) -> RegionReport:
        """Put the parts of an answer together, and certify them if the question asks for it."""
        return (
            cls(
                question,
                answer.words,
                answer.points,
                answer.layer_counts,
                answer.outcome,
                answer.ambiguous,
                answer.explored,
                answer.seconds,
            )
            ._certified()
            ._of_winners()
        )

    def _certified(self) -> RegionReport:
        """Give the proven report, where that is wanted and the list is whole."""
        if self.question.exact != "certified" or not self.outcome.complete:
            return self
        from byways.regions._certify import certify

        start = time.perf_counter()
        found = certify(self.question, self.words, self.points)
        return replace(
            self,
            words=found.words,
            points=found.points,
            layer_counts=found.layer_counts,
            ambiguous=0,
            rational=found.rational,
            certificate=found.proof,
            seconds=self.seconds + time.perf_counter() - start,
        )

    def _of_winners(self) -> RegionReport:
        """Give the report in winners, where the list that was found is one of matches."""
        if self.question.searched() is self.problem:
            return self
        from byways.regions._certify import of_winners

        words, points, layer_counts = of_winners(self.question, self.words, self.points)
        return replace(self, words=words, points=points, layer_counts=layer_counts)

    def __post_init__(self) -> None:
        self.words.setflags(write=False)
        self.points.setflags(write=False)

    @property
    def network(self) -> LayerChain:
        """The network."""
        return self.question.chain

    @property
    def problem(self) -> Problem:
        """The question in the coordinates of the engines."""
        return self.question.problem()

    def __len__(self) -> int:
        """Give the number of regions."""
        return len(self.words)

    def __iter__(self) -> Iterator[Region]:
        """Give the regions one by one."""
        for first in range(0, len(self), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            inputs = self._points_to_inputs(self.points[some])
            for k, signs in enumerate(self.signs_of(some)):
                yield Region(self.network, signs, inputs[k] if len(inputs) else None)

    def __getitem__(self, k: int) -> Region:
        """Give region ``k``."""
        witness = self._points_to_inputs(self.points[k]) if len(self.points) else None
        return Region(self.network, self.signs_of([k])[0], witness)

    @property
    def bits(self) -> NDArray[np.uint8]:
        """Decision bits, one per unit and breakpoint, shape ``(regions, decisions)``."""
        self._refuse_more_than_memory("bits", self.problem.decisions)
        return unpack(self.words, self.problem.decisions)

    def bits_of(self, k: int | slice) -> NDArray[np.uint8]:
        """Give the decision bits of one region or of a range."""
        if isinstance(k, slice):
            return unpack(self.words[k], self.problem.decisions)
        bits: NDArray[np.uint8] = unpack(self.words[[k]], self.problem.decisions)[0]
        return bits

    def inner_point(self, k: int) -> Array:
        """Give the deepest point of region ``k`` in engine coordinates."""
        from byways.regions._feasibility import deepest_point

        rows, _ = _geometry.all_rows(self.problem, self.bits_of(k))
        none = np.zeros((0, self.problem.dim + 1))
        return deepest_point(rows, none, np.ones(self.problem.dim, dtype=np.bool_), box=False).point

    @property
    def signs(self) -> NDArray[np.uint8]:
        """Segment of every hidden unit (for ReLU 0 off, 1 on), shape ``(regions, units)``.

        Raises:
            MemoryError: If they would take more than 4 GiB; ``signs_of`` gives some at a time.
        """
        self._refuse_more_than_memory("signs", self.problem.decisions)
        return self.problem.segments(self.bits)

    def signs_of(self, some: slice | list[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Give the segments of some regions: ``report.signs_of(slice(0, 1000))``.

        Args:
            some: Their numbers, or a slice.

        Returns:
            Those rows of ``signs``; a report that is longer than memory can be read like this.
        """
        problem = self.problem
        return problem.segments(unpack(self.words[some], problem.decisions))

    @property
    def witnesses(self) -> Array:
        """An input strictly inside each region, shape ``(regions, n_0)``; empty if not kept."""
        if len(self.points):
            self._refuse_more_than_memory("witnesses", 8 * self.network.input_size)
        return self._points_to_inputs(self.points)

    def affine(self, k: int | NDArray[np.integer] | slice) -> Affine:
        """Give the affine map that the network is on region ``k`` (or on several, as a batch).

        Returns:
            Weight ``(n_L, n_0)`` and bias ``(n_L,)``; it equals the network's Jacobian there.
        """
        signs = self.signs_of([k])[0] if isinstance(k, int | np.integer) else self.signs_of(k)
        return self.network.local_map(signs)

    def ranks(self, layer: int = -1) -> NDArray[np.int64]:
        """Give for each region the rank of the map from the domain to a layer's output.

        Args:
            layer: Layer of the network, from 0, or negative from the end; its activation included.

        Returns:
            Shape ``(regions,)``. For a ``Slice`` the rank is that of the map on the slice.

        Raises:
            IndexError: If the network has no such layer.
        """
        return _analysis.ranks(self, layer)

    def locate(self, x: ArrayLike) -> NDArray[np.intp]:
        """Find the regions of inputs by one forward pass each.

        Args:
            x: Inputs, shape ``(..., n_0)``.

        Returns:
            Number of the region, shape ``(...)``; -1 outside the domain, off the slice, on a
            boundary whose segments belong to no region, or where the report is partial.
        """
        points = np.asarray(x, dtype=np.float64)
        signs = self.network.segments(points)
        shape = signs.shape[:-1]
        if 0 in shape:
            return np.zeros(shape, dtype=np.intp)
        bits = self.problem.bits(signs.reshape(math.prod(shape), -1))
        place = find(pack(bits), self.words).reshape(shape)
        return np.where(_analysis.inside(self.question.domain, points), place, -1)

    def halfspaces(self, k: int, *, minimal: bool = True) -> tuple[Array, Array]:
        """Give region ``k`` as ``A x < b`` inside the domain, in the domain's coordinates.

        Args:
            k: Number of the region.
            minimal: Leave out inequalities that follow from the others; costs one linear program
                each.

        Returns:
            ``A (m, n)`` with rows of unit length and ``b (m,)``; the domain's sides included.
        """
        rows, owner = _geometry.all_rows(self.problem, self.bits_of(k))
        if minimal:
            rows, owner = _geometry.minimal_rows(rows, owner, self.question.tolerance)
        return _analysis.to_domain_coordinates(self.question.domain, rows)

    def vertices(self, k: int) -> Array:
        """List the vertices of region ``k``, shape ``(v, n)``; in the plane in turn.

        Raises:
            DomainError: In more than 9 dimensions, or for a region without bounds.
        """
        return _analysis.corners(self, k)

    def volume(self, k: int) -> float:
        """Give the exact volume of region ``k`` (length in one dimension, area in two).

        A region without bounds has volume inf.
        """
        if isinstance(self.question.domain, WholeSpace) and not _analysis.is_bounded(self, k):
            return float("inf")
        return _geometry.volume(self.vertices(k))

    def chebyshev(self, k: int) -> tuple[Array, float]:
        """Give the largest ball inside region ``k``, by one linear program.

        Returns:
            Centre ``(n,)`` and radius, in the domain's coordinates; those that the domain fixes do
            not count.

        Raises:
            DomainError: If balls of any size fit in.
        """
        return _analysis.largest_ball(self, k)

    def adjacency(self) -> csr_array:
        """Give which regions share a facet, as a symmetric 0/1 matrix ``(regions, regions)``.

        Cost: some pivots per region and facet; regions on which hyperplanes coincide take a linear
        program per facet.
        """
        return _analysis.adjacency(self)

    def graph(self) -> networkx.Graph[int]:
        """Give the same neighbours as a NetworkX graph, whose nodes are the regions' numbers.

        Raises:
            MissingDependencyError: If NetworkX is not installed.
        """
        nx = require("networkx", extra="graph", purpose="A report's graph()")
        result: networkx.Graph[int] = nx.from_scipy_sparse_array(
            self.adjacency(), edge_attribute=None
        )
        return result

    def distinct_maps(
        self, tolerance: float = 1e-9, *, connected: bool = False
    ) -> NDArray[np.int64]:
        """Label the regions by their affine map: equal maps, equal labels, from 0.

        ``distinct_maps().max() + 1`` is the number of linear pieces.

        Args:
            tolerance: Largest difference of entries, relative to the largest entry, that counts as
                rounding.
            connected: Whether regions that no chain of neighbours with their map joins get labels
                of their own; costs ``adjacency()``.

        Returns:
            Labels, shape ``(regions,)``, numbered by first appearance.
        """
        labels = _analysis.distinct_maps(self, tolerance)
        return _analysis.connected_parts(self, labels) if connected else labels

    def maximize(self, i: int) -> tuple[float, Array]:
        """Find the largest value of output ``i`` on the closed domain, and where it is taken.

        Returns:
            The value (inf where unbounded) and an input of shape ``(n_0,)``. Exact up to rounding;
            for a partial report it is the largest value on the regions found.

        Raises:
            IndexError: If there is no such output.
        """
        value, place = _analysis.minimize(self, i, -1.0)
        return -value, place

    def minimize(self, i: int) -> tuple[float, Array]:
        """Find the smallest value of output ``i``; as ``maximize``."""
        return _analysis.minimize(self, i, 1.0)

    def integral(self) -> Array:
        """Integrate the outputs over the domain, exactly up to rounding, shape ``(n_L,)``.

        The measure is that of the domain's own coordinates. Cost: a convex hull per region.

        Raises:
            DomainError: In more than 9 dimensions, or on a domain without bounds.
        """
        return _analysis.integral(self)

    def lipschitz(self, p: float = 2) -> float:
        """Give the Lipschitz constant of the network on the domain: the largest operator norm.

        Args:
            p: Norm on inputs and outputs: 1, 2 or ``float("inf")``; on a ``Slice`` 2.

        Returns:
            The exact constant up to rounding (a lower bound for a partial report).

        Raises:
            ValueError: If ``p`` is another number.
        """
        return _analysis.lipschitz(self, p)

    def decision_boundary(self) -> Array:
        """Give where the predicted class changes, as line segments; for two-dimensional domains.

        With one output the boundary is its zero set, with more it is where the largest two tie.

        Returns:
            Segments, shape ``(m, 2, 2)``: end points in the domain's coordinates.

        Raises:
            DomainError: If the domain does not have two dimensions.
        """
        return _analysis.decision_boundary(self)

    def decision_facets(self) -> Iterator[Facet]:
        """Give the decision boundary's flat pieces, in any number of dimensions, region by region.

        A piece is where two outputs tie and the others are smaller (with one output, where it is
        zero), on a hyperplane through a region or on the border between two, which is given once;
        each has inequalities, a point, ``vertices()`` and ``area()``. Where more than two tie all
        along it, those that are the largest on its two sides are named. Not given are whole
        regions on which outputs tie, and sides of the domain. Cost: a linear program per region
        and pair.

        Example:
            The line ``x + y = 1`` through the unit square, and the border ``x = 0`` between the
            two regions of ``relu(x) - relu(-x)``:

            >>> import byways as bw
            >>> line = [([[1.0, 1.0]], [1.0]), ([[1.0]], [-2.0])]
            >>> (facet,) = bw.regions.enumerate_regions(line, (0, 1)).decision_facets()
            >>> sorted(facet.vertices().round(9).tolist()), round(facet.area(), 4)
            ([[0.0, 1.0], [1.0, 0.0]], 1.4142)
            >>> kink = [([[1.0, 0.0], [-1.0, 0.0]], [0.0, 0.0]), ([[1.0, -1.0]], [0.0])]
            >>> (facet,) = bw.regions.enumerate_regions(kink, (-1, 1)).decision_facets()
            >>> facet.normal.tolist(), facet.area()
            ([1.0, 0.0], 2.0)
        """
        from byways.regions._facets import decision_facets

        return decision_facets(self)

    def rows(self) -> list[dict[str, Any]]:
        """Give one row per region: its segments as text, active units, and the rank of its map."""
        return list(self.each_row())

    def each_row(self) -> Iterator[dict[str, Any]]:
        """Give the same rows one by one, for lists whose rows do not fit into memory."""
        for first in range(0, len(self), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            few = replace(self, words=self.words[some], points=self.points[:0])
            pairs = zip(few.signs.tolist(), few.ranks().tolist(), strict=True)
            for k, (signs, rank) in enumerate(pairs, first):
                segments, active = "".join(map(str, signs)), sum(sign > 0 for sign in signs)
                yield {"region": k, "segments": segments, "active": active, "map_rank": rank}

    def plot(self, ax: Axes | None = None, *, color: str = "auto") -> Axes:
        """Draw the exact partition; for two-dimensional domains and slices.

        Args:
            ax: Axes to draw on; new ones by default.
            color: ``"class"``, ``"rank"``, ``"norm"`` or ``"layer"``; ``"auto"`` takes the class
                where there are several outputs, else the rank.

        Returns:
            The axes.

        Raises:
            DomainError: If the domain does not have two dimensions; draw a ``Slice`` then.
        """
        from byways.regions._plot import draw_report

        return draw_report(self, ax, color)

    def proof(self) -> Proof:
        """Give the proof that these are the regions, for ``check_proof``.

        Raises:
            ValueError: If the report was not certified.
        """
        if self.certificate is None:
            raise ValueError(
                'this report has no proof; make it with exact="certified", and let it finish'
            )
        return self.certificate if self.certificate.seal else self.certificate.sealed()

    def digest(self) -> str:
        """Give the SHA-256 of everything but the time it took."""
        hasher = hashlib.sha256(self.question.digest().encode())
        hasher.update(json.dumps(self._summary(), sort_keys=True).encode())
        for array, dtype in ((self.words, "<u8"), (self.points, "<f8")):
            for block in blocks(array):
                hasher.update(block.astype(dtype).tobytes())
        return hasher.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the report to a ``.npz`` file, whole or not at all."""
        arrays = {f"question.{name}": array for name, array in self.question.state().items()}
        summary = self._summary() | {"seconds": self.seconds}
        if self.certificate is not None:
            parts = self.proof().arrays()
            arrays |= {f"proof.{name}": array for name, array in parts.items()}
        arrays |= {"words": self.words, "points": self.points, "format": np.array(_FORMAT)}
        write_npz(path, arrays | {"summary": np.array(json.dumps(summary, sort_keys=True))})

    @classmethod
    def load(cls, path: str | Path) -> RegionReport:
        """Read a report that ``save`` wrote.

        Raises:
            ConversionError: If the file is something else or damaged.
        """
        arrays = read_npz(path, _FORMAT)
        summary = json.loads(str(arrays["summary"]))
        summary["outcome"] = Outcome[summary["outcome"]]
        summary["layer_counts"] = tuple(summary["layer_counts"])
        question = Question.from_state(under("question.", arrays))
        parts = under("proof.", arrays)
        proof = Proof.from_arrays(parts) if parts else None
        lists = arrays["words"], arrays["points"]
        return cls(question, *lists, **summary, certificate=proof)

    def count(self) -> RegionCount:
        """Give the numbers alone."""
        return RegionCount(len(self), self.layer_counts, self.outcome, self.ambiguous, self.seconds)

    def __str__(self) -> str:
        text = f"{describe(self.question.domain)}, method {self.question.method}: {self.count()}"
        if self.certificate is not None:
            text += f"; certified, {self.rational:,} decisions in rational arithmetic"
        return text

    def _summary(self) -> dict[str, Any]:
        return {
            "layer_counts": list(self.layer_counts),
            "outcome": self.outcome.name,
            "ambiguous": self.ambiguous,
            "explored": self.explored,
            "rational": self.rational,
        }

    def _refuse_more_than_memory(self, name: str, bytes_a_region: int) -> None:
        size = bytes_a_region * len(self)
        if size > _MOST_BYTES:
            raise MemoryError(
                f'"{name}" of {len(self):,} regions would take {size / 2**30:,.1f} GiB; iterate '
                "over the report, or read some at a time with signs_of and affine"
            )

    def _points_to_inputs(self, points: Array) -> Array:
        mapped: Array = self.problem.embed(points)
        return mapped
