"""The one door to matplotlib: axes, colours, files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.optional import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = [
    "INK",
    "add_image",
    "add_polygons",
    "add_segments",
    "axes",
    "categorical",
    "colorbar",
    "new_axes",
    "save_figure",
    "sequential",
]

INK = "#22252b"
_PALE, _SPAN = 0.08, 0.8  # the part of the colour map in use: neither white nor black
_HUES = (
    *("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2"),
    *("#b279a2", "#eeca3b", "#9d755d", "#ff9da6", "#8a8f98"),
)


def axes(ax: Axes | None) -> Axes:
    """Give back the caller's axes, or new ones on a figure of the caller's pyplot session."""
    if ax is not None:
        return ax
    require("matplotlib", extra="plot", purpose="Drawing a picture")
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(7, 6), layout="constrained")[1]


def new_axes(width: float = 7.0, height: float = 6.0) -> Axes:
    """Give axes on a figure of its own that no pyplot session knows of."""
    require("matplotlib", extra="plot", purpose="Drawing a picture")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").add_subplot()


def save_figure(ax: Axes, path: str | Path) -> None:
    """Write the figure of some axes to a file, whole or not at all.

    Raises:
        ValueError: If the file's ending is not one that matplotlib can write.
    """
    target = Path(path)
    figure: Any = ax.figure
    kinds = figure.canvas.get_supported_filetypes()
    ending = target.suffix.lstrip(".").lower()
    if ending not in kinds:
        raise ValueError(f'"path" was {str(path)!r}; the ending must be one of {sorted(kinds)}')
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.part")
    try:
        figure.savefig(draft, dpi=160, format=ending, bbox_inches="tight")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def categorical(labels: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Give one RGB colour per label, the same for equal labels; shape ``(n, 3)``."""
    from matplotlib.colors import to_rgb

    table = np.array([to_rgb(hue) for hue in _HUES])
    return table[np.asarray(labels, dtype=np.intp) % len(table)]


def sequential(values: NDArray[Any]) -> NDArray[np.float64]:
    """Give one RGB colour per value, pale for the smallest to deep for the largest."""
    from matplotlib import colormaps

    numbers = np.asarray(values, dtype=np.float64)
    span = np.ptp(numbers) or 1.0
    low = numbers.min(initial=np.inf)
    shades: NDArray[np.float64] = colormaps["YlGnBu"](_PALE + _SPAN * (numbers - low) / span)
    return shades[:, :3]


def colorbar(ax: Axes, values: NDArray[Any], label: str) -> None:
    """Add the key to the colours that ``sequential`` gives the values."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    shades = ListedColormap(sequential(np.linspace(0.0, 1.0, 256)).tolist())
    low, high = float(np.min(values)), float(np.max(values))
    scale = Normalize(low, high if high > low else low + 1.0)
    ax.figure.colorbar(ScalarMappable(scale, shades), ax=ax, label=label, shrink=0.85)


def add_polygons(
    ax: Axes, polygons: Sequence[NDArray[np.float64]], colors: NDArray[np.float64]
) -> None:
    """Fill polygons, shapes ``(k, 2)``, in one RGB colour each."""
    from matplotlib.collections import PolyCollection

    # A hairline in the fill's own colour hides the seams that smoothing leaves between neighbours.
    filled = PolyCollection(polygons, facecolors=colors, edgecolors="face", linewidths=0.3)
    ax.add_collection(filled, autolim=True)
    ax.autoscale_view()


def add_segments(
    ax: Axes,
    segments: NDArray[np.float64],
    color: str | NDArray[np.float64],
    width: float,
    alpha: float,
) -> None:
    """Draw line segments, shape ``(m, 2, 2)``, in points of width and one colour."""
    from matplotlib.collections import LineCollection

    lines = LineCollection(
        list(segments), colors=[color], linewidths=width, alpha=alpha, capstyle="round"
    )
    ax.add_collection(lines, autolim=False)


def add_image(
    ax: Axes, place: NDArray[np.float64], image: NDArray[np.float64], rim: NDArray[np.float64]
) -> None:
    """Put a small grey image, large values dark, at a place of the picture, in a coloured frame."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    points = 44.0  # of its longer side
    drawn = OffsetImage(
        image, zoom=points / max(image.shape), cmap="gray_r", interpolation="nearest"
    )
    frame = {"edgecolor": tuple(rim), "linewidth": 2.0}
    box = AnnotationBbox(drawn, (place[0], place[1]), pad=0.12, bboxprops=frame)
    box.set_zorder(7)
    ax.add_artist(box)
