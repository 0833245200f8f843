"""Other people's tools, as yardsticks, called as their manuals say."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.core import LayerChain

__all__ = ["Relucent", "lacking"]


def lacking(*modules: str) -> str:
    """Name those modules that are not installed."""
    return ", ".join(module for module in modules if find_spec(module) is None)


class Relucent:
    """relucent 1.0: whole input space by facet flips, one worker process, no certification.

    Args:
        chain: A ReLU network.
    """

    def __init__(self, chain: LayerChain) -> None:
        import torch

        torch.set_num_threads(1)
        modules: list[Any] = []
        for layer in chain.layers:
            linear = torch.nn.Linear(*reversed(layer.map.shape), dtype=torch.float64)
            linear.load_state_dict(
                {
                    "weight": torch.tensor(layer.map.to_dense()),
                    "bias": torch.tensor(np.array(layer.bias)),
                }
            )
            modules += [linear, torch.nn.ReLU()]
        self._model = torch.nn.Sequential(*modules[:-1])

    def search(self) -> Any:
        """Find every region, with its facets and its centre."""
        from relucent import Complex

        found = Complex(self._model)
        found.bfs(nworkers=1, verbose=0, verify=False)
        return found

    @staticmethod
    def signs(found: Any) -> NDArray[np.uint8]:
        """Give the segments of all hidden units, one row for each region."""
        return np.array([cell.ss_np.ravel() > 0 for cell in found], dtype=np.uint8)

    @staticmethod
    def facets(found: Any) -> list[int]:
        """Count the facets of each region, in the order of ``signs``."""
        return [len(cell.shis) for cell in found]
