"""One region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.core.affine import Affine
    from byways.core.chain import LayerChain

__all__ = ["Region"]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """One activation region of a network.

    Attributes:
        network: The network.
        signs: Segment of every hidden unit (for ReLU 0 off, 1 on), shape ``(units,)``, uint8. For
            max-pooling ``network.states(signs)`` tells the winners; matches that they do not play
            are 0.
        witness: An input inside the region, shape ``(n_0,)``, or None if none was kept.
    """

    network: LayerChain
    signs: NDArray[np.uint8]
    witness: NDArray[np.float64] | None = None

    @property
    def affine(self) -> Affine:
        """The affine map that the network is on this region."""
        return self.network.local_map(self.signs)

    def __str__(self) -> str:
        pattern = "".join(str(int(sign)) for sign in self.signs)
        rank = int(np.linalg.matrix_rank(self.affine.weight))
        return f"Region {pattern or '(no hidden units)'}, affine map of rank {rank}"
