"""Pictures: what ``--plot`` draws, decided before the work starts."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from byways.cli._errors import Misuse, as_misuse
from byways.cli._files import require_picture
from byways.cli._inputs import read_array
from byways.core.domains import Box, Polytope
from byways.core.plotting import new_axes, save_figure
from byways.regions import Slice, WholeSpace, plot_slice

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from byways.cli._inputs import Source
    from byways.regions import RegionReport
    from byways.regions._question import Question

    Array = NDArray[np.float64]

__all__ = ["Picture", "plan"]

_CORNERS = 3
_TRIES = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture to be drawn.

    Attributes:
        path: The file to write.
        plane: The slice to draw; None for the domain itself.
        points: Inputs to mark.
        labels: Their classes, if they are known.
        classes: Names of the classes, if they are known.
        image_shape: Shape of the images that the points are, if they are known to be some.
    """

    path: Path
    plane: Slice | None
    points: Array
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] | None
    image_shape: tuple[int, int] | None = None

    def draw(self, report: RegionReport) -> None:
        """Draw and write the file."""
        ax = new_axes()
        if self.plane is None and not (report.outcome.complete and len(self.points)):
            report.plot(ax)
        else:
            plot_slice(
                report.network,
                report.question.domain if self.plane is None else self.plane,
                points=self.points,
                labels=self.labels,
                classes=self.classes,
                image_shape=self.image_shape,
                max_regions=max(200_000, len(report)),
                ax=ax,
            )
        if self.plane is not None:
            ax.set_title(f"{ax.get_title()} through three inputs")
        save_figure(ax, self.path)


def plan(path: Path, points: Path | None, question: Question, source: Source) -> Picture:
    """Decide what to draw.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
        Misuse: If nothing can be drawn, or not to this file.
    """
    require_picture(path)
    problem = question.problem()
    if problem.dim < 2:
        raise Misuse(
            "--plot draws a plane, and this domain has one dimension only; leave --plot out"
        )
    marks, labels, classes = _marks(points, question, source)
    if problem.dim == 2 and not problem.free.any():
        return Picture(path, None, marks, labels, classes)
    if len(marks) < _CORNERS:
        marks, labels = _random_points(question), None
        print(
            "byways: without --points the picture shows the plane through three random points "
            "of the domain",
            file=sys.stderr,
        )
    corners = marks[:_CORNERS]
    with as_misuse():
        plane = Slice.through(corners)
    known = None if labels is None else labels[:_CORNERS]
    shape = source.example.image_shape if source.example else None
    return Picture(path, plane, corners, known, classes, shape)


def _marks(
    points: Path | None, question: Question, source: Source
) -> tuple[Array, NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Give the points to mark: those of ``--points``, else those of the example."""
    size = question.chain.input_size
    example = source.example
    if points is None:
        if example is None or not len(example.points):
            return np.zeros((0, size)), None, None
        return example.points, example.labels, example.classes or None
    rows = read_array(points, "--points")
    rows = rows.reshape(len(rows), -1) if rows.ndim > 1 else rows[None]
    if rows.shape[1] != size or len(rows) < _CORNERS:
        raise Misuse(
            f"--points was {str(points)!r}, which holds {len(rows)} rows of {rows.shape[1]} "
            f"numbers; give three rows of {size}, the inputs of the network"
        )
    return rows, None, None if example is None else example.classes or None


def _random_points(question: Question) -> Array:
    """Draw three points of the domain, the same ones every time."""
    domain, rng = question.domain, np.random.default_rng(0)
    if isinstance(domain, WholeSpace):
        return rng.standard_normal((_CORNERS, domain.dim))
    if isinstance(domain, Slice):
        return domain(domain.box.sample(rng, _CORNERS))
    if isinstance(domain, Box):
        return domain.sample(rng, _CORNERS)
    return _inside(domain, rng)


def _inside(domain: Polytope, rng: np.random.Generator) -> Array:
    drawn = domain.box.sample(rng, _TRIES)
    found = drawn[domain.contains(drawn)][:_CORNERS]
    if len(found) < _CORNERS:
        raise Misuse("no random points of this domain were found; add --points FILE, three inputs")
    return found
