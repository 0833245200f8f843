"""Other people's tools, as yardsticks, called as their manuals say."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.core import LayerChain

__all__ = ["Relucent", "is_facet", "lacking"]


def lacking(*modules: str) -> str:
    """Name those modules that are not installed."""
    return ", ".join(module for module in modules if find_spec(module) is None)


class Relucent:
    """relucent 1.0: facet flips in one worker process, no certification.

    Args:
        chain: A ReLU network.
        radius: Search in the cube of this radius around zero; None for the whole input space.
    """

    def __init__(self, chain: LayerChain, radius: float | None = None) -> None:
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
        self._where = {} if radius is None else {"cube_radius": radius, "cube_mode": "intersect"}

    def search(self) -> Any:
        """Find every region, with its facets and its centre."""
        from relucent import Complex

        found = Complex(self._model)
        found.bfs(nworkers=1, verbose=0, verify=False, **self._where)
        return found

    @staticmethod
    def signs(found: Any) -> NDArray[np.uint8]:
        """Give the segments of all hidden units, one row for each region."""
        return np.array([cell.ss_np.ravel() > 0 for cell in found], dtype=np.uint8)

    @staticmethod
    def facets(found: Any) -> list[set[int]]:
        """Give the units that the peer says carry a facet, in the order of ``signs``."""
        return [set(map(int, cell.shis)) for cell in found]


def is_facet(chain: LayerChain, signs: NDArray[np.uint8], unit: int) -> bool:
    """Decide with one linear program whether a hidden ReLU unit carries a facet of a region.

    It does if a point on the unit's hyperplane is strictly on the region's side of all others.
    """
    from scipy.optimize import linprog

    rows, levels, used = np.eye(chain.input_size), np.zeros(chain.input_size), 0
    normals, constants = [], []
    for layer in chain.layers[:-1]:
        weight = layer.map.to_dense()
        rows, levels = weight @ rows, weight @ levels + layer.bias
        side = signs[used : used + len(levels)].astype(float)
        used += len(levels)
        normals.append((2.0 * side - 1.0)[:, None] * rows)
        constants.append((2.0 * side - 1.0) * levels)
        rows, levels = side[:, None] * rows, side * levels
    normal, constant = np.concatenate(normals), np.concatenate(constants)
    length = np.linalg.norm(normal, axis=1)
    others = np.flatnonzero((length > 0.0) & (np.arange(len(length)) != unit))
    matrix = np.column_stack([-normal[others] / length[others, None], np.ones(len(others))])
    best = linprog(
        np.append(np.zeros(chain.input_size), -1.0),
        A_ub=matrix,
        b_ub=constant[others] / length[others],
        A_eq=np.append(normal[unit], 0.0)[None],
        b_eq=-constant[unit : unit + 1],
        bounds=[(None, None)] * chain.input_size + [(None, 1.0)],
    )
    return bool(best.status == 0 and best.x[-1] > 1e-9)
