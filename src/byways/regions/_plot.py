"""Pictures of exact partitions of a plane, and the exact decision boundary in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.arrays import finite
from byways.core.domains import Box
from byways.core.errors import DomainError, ShapeError
from byways.core.plotting import (
    INK,
    add_image,
    add_polygons,
    add_segments,
    axes,
    categorical,
    colorbar,
    sequential,
)
from byways.regions._boundary import classified
from byways.regions._domains import Slice
from byways.regions._outlines import Outlines, outlines
from byways.regions._question import Question
from byways.regions._signs import unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from byways.regions._domains import Domain
    from byways.regions._report import RegionReport

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]

__all__ = ["draw_partition", "draw_report", "plot_slice"]

_COLORS = ("auto", "class", "rank", "norm", "layer")
_NEAR = 1e-9  # distance, in units of the domain's sides, that counts as none


def plot_slice(
    network: object,
    domain: object,
    *,
    color: str = "auto",
    decision_boundary: bool = True,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    image_shape: tuple[int, int] | None = None,
    max_regions: int = 200_000,
    ax: Axes | None = None,
) -> Axes:
    """Draw the exact partition of a plane into activation regions.

    Every region is drawn as the polygon that it is; nothing is sampled. Borders are darkest where a
    unit of the first hidden layer bends, and paler with each layer.

    Args:
        network: Anything that ``byways.as_chain`` takes.
        domain: What to look at: a bounded domain with two free coordinates (a ``Box``, a pair
            ``(lower, upper)``, a ``Polytope``), or a ``Slice`` with two directions through the
            inputs of a network with any number of them.
        color: ``"class"`` fills by the largest output (for one output by its sign), splitting
            regions where it changes; ``"rank"`` by the rank of the region's affine map on the
            plane; ``"norm"`` by its spectral norm, per unit of the plane's coordinates;
            ``"layer"`` paints the borders by the layer they come from. ``"auto"`` is the class if
            there are several outputs, else the rank.
        decision_boundary: Draw where the class changes as a thick line.
        points: Inputs to mark, shape ``(k, n_0)``. Those off a slice are drawn hollow, at the
            nearest point of its plane.
        labels: Class of each point, shape ``(k,)``, as indices of outputs.
        classes: Name of each class, for the legend.
        image_shape: Draw each point as the grey image that it is; ``(rows, columns)``.
        max_regions: Largest number of regions that is worth drawing.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes, not shown yet.

    Raises:
        DomainError: If the plane has more than ``max_regions`` regions, or no interior.
        MissingDependencyError: If matplotlib is not installed.
        ShapeError: If points or labels have the wrong shape.
        ValueError: If the domain is not a bounded plane, or ``color`` is none of the above.

    Example:
        >>> from byways.networks import example
        >>> moons = example("moons")
        >>> ax = plot_slice(moons.chain, moons.box, points=moons.points, labels=moons.labels)
        >>> ax.get_title()
        '241 activation regions'
        >>> import matplotlib.pyplot as plt
        >>> plt.close(ax.figure)
    """
    question = Question.ask(
        network, domain, method="vertices", solver="", exact="float", tolerance=_NEAR, keep=()
    )
    _check_color(color)
    marks = _Marks.of(question, points, labels, classes, image_shape)
    words = _all_words(question, max_regions)
    return _draw(question, words, axes(ax), color, decision_boundary, marks)


def draw_report(report: RegionReport, ax: Axes | None, color: str) -> Axes:
    """Draw the regions of a report; see ``RegionReport.plot``.

    Raises:
        DomainError: If the domain is not a bounded plane.
    """
    from byways.regions._analysis import require_plane

    require_plane(report)
    _check_color(color)
    question = report.question
    marks = _Marks.of(question, None, None, None, None)
    return _draw(question, report.words, axes(ax), color, True, marks)


def draw_partition(
    ax: Axes,
    polygons: Sequence[Array],
    colors: Array,
    borders: Sequence[Array] = (),
    inks: Array | None = None,
) -> None:
    """Fill polygons and draw borders over them, the first layer's on top.

    Args:
        ax: Axes to draw on.
        polygons: Corners of each polygon, shapes ``(k, 2)``.
        colors: One RGB colour per polygon, shape ``(n, 3)``.
        borders: For each layer its line segments, shape ``(m, 2, 2)``.
        inks: One RGB colour per layer; by default from dark to pale.
    """
    add_polygons(ax, polygons, colors)
    width = float(np.clip(9.0 / max(len(polygons), 1) ** 0.3, 0.25, 1.2))
    for layer in reversed(range(len(borders))):
        fading = 0.55**layer
        ink = INK if inks is None else inks[layer]
        segments = borders[layer]
        add_segments(ax, segments, ink, width * (0.45 + 0.55 * fading), 0.35 + 0.55 * fading)


@dataclass(frozen=True, slots=True, eq=False)
class _Marks:
    """Points of the plane to be marked, their classes (-1 for none) and which lie off the plane."""

    places: Array
    labels: Ints
    off: NDArray[np.bool_]
    classes: tuple[str, ...]
    images: Array | None

    @classmethod
    def of(
        cls,
        question: Question,
        points: ArrayLike | None,
        labels: ArrayLike | None,
        classes: Sequence[str] | None,
        image_shape: tuple[int, int] | None,
    ) -> _Marks:
        """Check points and labels and find their places in the picture."""
        outputs = max(question.chain.output_size, 2)
        names = tuple(map(str, classes)) if classes is not None else ()
        if names and len(names) != outputs:
            raise ShapeError(f'"classes" has {len(names)} names for {outputs} classes; name each')
        size = question.chain.input_size
        inputs = finite(np.zeros((0, size)) if points is None else points, "points", 2)
        if inputs.shape[1] != size:
            raise ShapeError(f'"points" has shape {inputs.shape}; rows of {size} inputs are needed')
        numbers = np.full(len(inputs), -1) if labels is None else np.asarray(labels)
        if numbers.shape != (len(inputs),):
            raise ShapeError(
                f'"labels" has shape {numbers.shape} for {len(inputs)} points; give one per point'
            )
        images = None if image_shape is None else _as_images(inputs, image_shape)
        domain = question.domain
        if isinstance(domain, Slice):
            places = domain.coordinates(inputs)
            away = np.linalg.norm(domain(places) - inputs, axis=1)
            scale = 1.0 + np.abs(inputs).max(initial=0.0)
            return cls(places, numbers.astype(np.int64), away > 1e-6 * scale, names, images)
        free = _picture_axes(domain)
        off = np.zeros(len(inputs), dtype=np.bool_)
        return cls(inputs[:, free], numbers.astype(np.int64), off, names, images)


def _as_images(inputs: Array, shape: tuple[int, int]) -> Array:
    if len(shape) != 2 or shape[0] * shape[1] != inputs.shape[1]:
        raise ShapeError(
            f'"image_shape" was {shape!r}; give (rows, columns) with {inputs.shape[1]} pixels'
        )
    return inputs.reshape(-1, *shape)


def _check_color(color: str) -> None:
    if color not in _COLORS:
        raise ValueError(f'"color" was {color!r}; it is one of {", ".join(_COLORS)}')


def _all_words(question: Question, most: int) -> Words:
    """Enumerate all regions, unless there are too many."""
    walk = question.walk(question.problem(), np.zeros(0, dtype=np.uint8))
    parts, count = [], 0
    while not walk.finished:
        batch = walk.advance(min(most + 1, 50_000), 10**9)
        parts.append(batch.words)
        count += batch.leaves
        if count > most:
            raise DomainError(
                f'the plane has more than {most} activation regions, the "max_regions" to draw; '
                "look at a smaller domain"
            )
    return np.concatenate(parts)


def _picture_axes(domain: Domain) -> NDArray[np.intp]:
    """Give the coordinates of the domain that the picture's axes are."""
    box = domain if isinstance(domain, Box) else domain.box  # type: ignore[union-attr]
    return np.flatnonzero(box.lower < box.upper)


def _frame(domain: Domain) -> tuple[Array, Array]:
    """Give the lower left corner and the side lengths of the picture."""
    box = domain if isinstance(domain, Box) else domain.box  # type: ignore[union-attr]
    free = _picture_axes(domain)
    return box.lower[free], (box.upper - box.lower)[free]


def _draw(
    question: Question, words: Words, ax: Axes, color: str, boundary: bool, marks: _Marks
) -> Axes:
    """Draw regions, boundary and points, and say what they are."""
    problem, chain = question.problem(), question.chain
    if color == "auto":
        color = "class" if chain.output_size > 1 else "rank"
    corner, sides = _frame(question.domain)
    found = outlines(problem, words)
    bits = unpack(words, problem.decisions)
    local = chain.local_map(problem.segments(bits), before=problem.embed)
    pieces, numbers, segments = classified(found.polygons(), local.weight, local.bias)
    if color != "class":
        pieces = found.polygons()
    borders = _borders(found, bits, problem.ends)
    inks = categorical(np.arange(len(borders))) if color == "layer" else None
    fills = _fills(ax, color, numbers, local.weight / sides)
    draw_partition(
        ax,
        [corner + piece * sides for piece in pieces],
        fills,
        [corner + part * sides for part in borders],
        inks,
    )
    drawn = boundary and len(segments) > 0
    if drawn:
        add_segments(ax, corner + segments * sides, INK, 2.4, 1.0)
    _mark(ax, marks)
    _explain(ax, color, numbers, local.weight, len(borders), drawn, marks)
    _label(ax, question.domain, len(words))
    return ax


def _borders(found: Outlines, bits: NDArray[np.uint8], ends: Ints) -> list[Array]:
    """Give for each layer the edges that its units cause, each from its upper side only."""
    cell = np.repeat(np.arange(len(bits)), np.diff(found.starts))
    inner = found.edges >= 0
    inner[inner] = bits[cell[inner], found.edges[inner]] > 0
    segments = np.stack([found.corners, found.corners[found.following()]], axis=1)[inner]
    layer = np.searchsorted(ends, found.edges[inner], side="right")
    return [segments[layer == i] for i in range(len(ends))]


def _pale(colors: Array) -> Array:
    """Mix with white, so that lines and points stand out."""
    return 0.45 * colors + 0.55


def _fills(ax: Axes, color: str, numbers: Ints, weight: Array) -> Array:
    """Choose the fill of each polygon; add the colour bar of a sequential one."""
    if color == "class":
        return _pale(categorical(numbers))
    if color == "rank":
        return _pale(categorical(_ranks(weight)))
    if color == "norm":
        norms = np.linalg.norm(weight, ord=2, axis=(-2, -1))
        colorbar(ax, norms, "norm of the gradient" if weight.shape[1] == 1 else "norm of the map")
        return sequential(norms)
    return np.full((len(weight), 3), 0.985)


def _ranks(weight: Array) -> NDArray[np.intp]:
    scale = np.abs(weight).max(initial=0.0)
    ranks: NDArray[np.intp] = np.linalg.matrix_rank(weight, tol=1e-9 * scale or 1e-300)
    return ranks


def _mark(ax: Axes, marks: _Marks) -> None:
    """Draw the points in the colours of their classes."""
    hues = np.where(marks.labels[:, None] >= 0, categorical(np.maximum(marks.labels, 0)), 1.0)
    if marks.images is not None:
        for place, image, hue in zip(marks.places, marks.images, hues, strict=True):
            add_image(ax, place, image, hue)
        return
    for off in (False, True):
        chosen = marks.off == off
        if chosen.any():
            face: Any = "none" if off else hues[chosen]
            rim: Any = hues[chosen] if off else INK
            x, y = marks.places[chosen].T
            ax.scatter(
                x, y, s=26, facecolors=face, edgecolors=rim, linewidths=0.8,
                zorder=6,
            )  # fmt: skip


def _explain(
    ax: Axes, color: str, numbers: Ints, weight: Array, layers: int, boundary: bool, marks: _Marks
) -> None:
    """Add the legend."""
    patches: list[tuple[Array, str]] = []
    if color == "class":
        seen = np.unique(np.concatenate([numbers, marks.labels[marks.labels >= 0]]))
        names = marks.classes or _class_names(weight.shape[1])
        patches = [(_pale(categorical([int(i)])[0]), names[int(i)]) for i in seen]
    elif color == "rank":
        seen, counts = np.unique(_ranks(weight), return_counts=True)
        patches = [
            (_pale(categorical([int(i)])[0]), f"rank {i}: {count:,}")
            for i, count in zip(seen, counts, strict=True)
        ]
    for hue, text in patches:
        ax.plot([], [], marker="s", markersize=9, linestyle="", color=hue, label=text)
    for layer in range(layers if color == "layer" else 0):
        ax.plot([], [], color=categorical([layer])[0], label=f"layer {layer + 1}")
    if boundary:
        ax.plot([], [], color=INK, linewidth=2.4, label="decision boundary")
    if patches or boundary or color == "layer":
        # Beside the picture, where it hides nothing; below it where the colour bar stands beside.
        place = (1.0, -0.08) if color == "norm" else (1.01, 1.0)
        corner: Any = "upper right" if color == "norm" else "upper left"
        ax.legend(loc=corner, bbox_to_anchor=place, fontsize=8, frameon=False)


def _class_names(outputs: int) -> tuple[str, ...]:
    if outputs == 1:
        return ("output <= 0", "output > 0")
    return tuple(f"class {i}" for i in range(outputs))


def _label(ax: Axes, domain: Domain, count: int) -> None:
    """Write title and axes."""
    corner, sides = _frame(domain)
    free = _picture_axes(domain)
    sliced = isinstance(domain, Slice)
    names = [f"direction {i}" if sliced else f"$x_{{{i}}}$" for i in free]
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.set(xlim=(corner[0], corner[0] + sides[0]), ylim=(corner[1], corner[1] + sides[1]))
    if sliced or 0.4 < sides[0] / sides[1] < 2.5:
        ax.set_aspect("equal")
    where = " on the slice" if sliced else ""
    ax.set_title(f"{count:,} activation region{'s' if count != 1 else ''}{where}")
