"""OrderPolicy: a learned rule for the next edge, as arrays in a file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.errors import ConversionError
from byways.core.files import read_npz, write_npz
from byways.core.optional import require
from byways.sparse_inference._episodes import FEATURES
from byways.sparse_inference._mpnn import Mpnn, play

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Ints = NDArray[np.int64]

__all__ = ["KINDS", "OrderPolicy", "as_order_policy", "network_digest"]

KINDS = ("mpnn", "laplacian")
_FORMAT = "byways.OrderPolicy/1"
_ARRAY = "array."


@dataclass(frozen=True, eq=False)
class OrderPolicy:
    """A learned rule that picks the next edge of an order.

    Attributes:
        kind: ``"mpnn"`` scores ready edges by message passing over features that any network has,
            and runs without torch; ``"laplacian"`` knows one network by the eigenvectors of its
            Laplacian, as the edge-order report has it, and needs torch.
        arrays: Its weights.
        about: How it was trained.
    """

    kind: str
    arrays: Mapping[str, NDArray[np.float64]]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f'"kind" was {self.kind!r}; it is one of {", ".join(KINDS)}')
        for name, array in self.arrays.items():
            if not np.isfinite(array).all():
                raise ValueError(f'the weights "{name}" of an order policy are not all finite')
        if self.kind == "mpnn":
            _check_mpnn(self.arrays)

    def play(
        self, graph: EdgeGraph, places: int, samples: int, generator: np.random.Generator
    ) -> tuple[Ints, Ints]:
        """Order a network's edges: by the best choices, and ``samples`` times by drawn ones.

        Returns:
            The orders, shape ``(1 + samples, m)``, and the misses of each in an LRU cache of
            ``places`` vertices.

        Raises:
            ValueError: If a policy for one network is given another.
        """
        if not graph.edges:
            return np.zeros((1 + samples, 0), np.int64), np.zeros(1 + samples, np.int64)
        if self.kind == "mpnn":
            weights = Mpnn(*(self.arrays[name] for name in Mpnn._fields))
            return play(graph, places, weights, samples, generator)
        if self.about.get("network") != network_digest(graph):
            raise ValueError(
                'a policy of kind "laplacian" orders the network that it was trained on, and this '
                'is another; train one for it, or take a policy of kind "mpnn"'
            )
        require("torch", extra="rl", purpose='An order policy of kind "laplacian"')
        from byways.sparse_inference._policy_nets import load_laplacian
        from byways.sparse_inference._rollouts import Rules, decode

        return decode(load_laplacian(self.arrays), graph, Rules(True, places), samples, generator)

    def save(self, path: str | Path) -> None:
        """Write the policy to a ``.npz`` file, whole or not at all."""
        about = json.dumps({"kind": self.kind, "about": dict(self.about)}, sort_keys=True)
        arrays = {_ARRAY + name: array for name, array in self.arrays.items()}
        write_npz(path, {"format": np.array(_FORMAT), "about": np.array(about), **arrays})

    @classmethod
    def load(cls, path: str | Path) -> OrderPolicy:
        """Read a policy that ``save`` wrote. Nothing in the file is executed.

        Raises:
            ConversionError: If the file is not a saved policy.
        """
        stored = read_npz(path, _FORMAT)
        try:
            about = json.loads(str(stored["about"]))
            arrays = {
                name.removeprefix(_ARRAY): array.astype(np.float64)
                for name, array in stored.items()
                if name.startswith(_ARRAY)
            }
            return cls(about["kind"], arrays, about["about"])
        except (LookupError, TypeError, ValueError) as error:
            raise ConversionError(
                f"{str(path)!r} does not describe an order policy: {error!r}"
            ) from error

    @classmethod
    def shipped(cls) -> OrderPolicy:
        """Give the policy that comes with the package, which ``examples`` tells how to train."""
        with as_file(files("byways.sparse_inference") / "data" / "order_policy.npz") as path:
            return cls.load(path)


def as_order_policy(given: object) -> OrderPolicy:
    """Turn the argument ``order_policy`` into a policy: None means the one shipped.

    Raises:
        TypeError: If it is neither None, a path, a policy, nor a report that holds one.
    """
    if given is None:
        return OrderPolicy.shipped()
    policy = getattr(given, "policy", given)
    if isinstance(policy, OrderPolicy):
        return policy
    if isinstance(given, str | Path):
        return OrderPolicy.load(given)
    raise TypeError(
        f'"order_policy" was {given!r}; it takes what train_order_policy returned, the path of a '
        "saved policy, or None for the one that comes with the package"
    )


def network_digest(graph: EdgeGraph) -> str:
    """Name a network by its edges; weights do not matter for their order."""
    content = hashlib.sha256(np.int64(graph.vertices).tobytes())
    for array in (graph.sources, graph.targets):
        content.update(np.ascontiguousarray(array, "<i8").tobytes())
    return content.hexdigest()


def _check_mpnn(arrays: Mapping[str, NDArray[np.float64]]) -> None:
    if set(arrays) != set(Mpnn._fields):
        raise ValueError(
            f'a policy of kind "mpnn" has the weights {", ".join(Mpnn._fields)}; these are '
            f"{', '.join(sorted(arrays)) or 'none'}"
        )
    width, size = len(arrays["last"]), len(FEATURES)
    rounds = len(arrays["rounds"])
    shapes = [(size,), (width, size), (width,), (rounds, width, 4 * width), (rounds, width)]
    for name, shape in zip(Mpnn._fields, shapes, strict=False):
        if arrays[name].shape != shape:
            raise ValueError(
                f'the weights "{name}" have shape {arrays[name].shape}; {shape} is needed'
            )
