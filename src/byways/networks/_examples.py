"""Small trained networks that come with the package, each with a story."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.chain import LayerChain
from byways.core.domains import Box
from byways.core.errors import ConversionError
from byways.core.files import read_npz, write_npz
from byways.networks.generate import tent_chain

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["EXAMPLES", "Example", "example"]

EXAMPLES = ("digits", "moons", "tent")

_IMAGE_SHAPES = {"digits": (8, 8)}
_FORMAT = "byways.Example/1"
_CHAIN = "chain."
_TENT_STORY = (
    "The tent map composed with itself ten times, written down and not trained. Each of its ten "
    "layers of two units doubles the number of pieces: 20 units make exactly 1024 regions on the "
    "unit interval."
)


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A network, the box in which to look at it, and where it comes from.

    Attributes:
        name: The name that ``example`` takes.
        chain: The network.
        box: Its natural input domain.
        points: Some inputs for pictures, shape ``(k, chain.input_size)``; ``k`` may be 0.
        labels: Their classes as indices into ``classes``, shape ``(k,)``.
        classes: Name of each class, in the order of the outputs; empty if there are none.
        story: A few sentences: data, training, accuracy.
        accuracy: Share of held-out data that the network classifies correctly, or None.
    """

    name: str
    chain: LayerChain
    box: Box
    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    story: str
    accuracy: float | None

    @property
    def image_shape(self) -> tuple[int, int] | None:
        """Rows and columns of the images that the inputs are, or None."""
        return _IMAGE_SHAPES.get(self.name)

    def save(self, path: str | Path) -> None:
        """Write the example to a ``.npz`` file, whole or not at all."""
        arrays: dict[str, NDArray[Any]] = {
            "format": np.array(_FORMAT),
            "name": np.array(self.name),
            "lower": self.box.lower,
            "upper": self.box.upper,
            "points": self.points,
            "labels": self.labels,
            "classes": np.array(self.classes, dtype=np.str_),
            "story": np.array(self.story),
            "accuracy": np.array([] if self.accuracy is None else [self.accuracy]),
        }
        arrays.update({_CHAIN + key: array for key, array in self.chain.state().items()})
        write_npz(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Example:
        """Read an example that ``save`` wrote. Nothing in the file is executed.

        Raises:
            ConversionError: If the file is not a saved example.
        """
        arrays = read_npz(path, _FORMAT)
        try:
            return cls._from_arrays(arrays)
        except (LookupError, TypeError, ValueError) as error:
            raise ConversionError(f"{str(path)!r} describes no example: {error!r}") from error

    @classmethod
    def _from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Example:
        chain = {
            key.removeprefix(_CHAIN): array
            for key, array in arrays.items()
            if key.startswith(_CHAIN)
        }
        accuracy = arrays["accuracy"]
        return cls(
            name=str(arrays["name"]),
            chain=LayerChain.from_state(chain),
            box=Box(arrays["lower"], arrays["upper"]),
            points=arrays["points"],
            labels=arrays["labels"],
            classes=tuple(arrays["classes"].tolist()),
            story=str(arrays["story"]),
            accuracy=float(accuracy[0]) if accuracy.size else None,
        )


def example(name: str) -> Example:
    """Give one of the networks that come with the package.

    ``digits`` reads handwritten digits of 8 by 8 pixels, ``moons`` tells two interleaved half
    circles apart in the plane, ``tent`` is the tent map composed ten times. The scripts in
    ``examples/`` trained the first two.

    Args:
        name: ``"digits"``, ``"moons"`` or ``"tent"``.

    Returns:
        The network with its box, some points and its story.

    Raises:
        ValueError: If there is no example of this name.

    Example:
        >>> digits = example("digits")
        >>> digits.chain.widths
        (64, 10, 10, 10)
        >>> [digits.classes[i] for i in digits.chain(digits.points).argmax(axis=1)]
        ['0', '3', '4']
    """
    if name not in EXAMPLES:
        raise ValueError(f'"name" was {name!r}; the examples are {", ".join(EXAMPLES)}')
    if name == "tent":
        box = Box([0.0], [1.0])
        no_points, no_labels = np.zeros((0, 1)), np.zeros(0, dtype=np.int64)
        return Example(name, tent_chain(10), box, no_points, no_labels, (), _TENT_STORY, None)
    with as_file(files("byways.networks") / "data" / f"{name}.npz") as path:
        return Example.load(path)
