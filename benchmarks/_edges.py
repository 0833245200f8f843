"""Edge subdivision in NumPy, a yardstick: vertices, edges and signs of the whole complex.

Written from the description of the method {Berzins, 2023, "Polyhedral complex extraction from ReLU
networks using edge subdivision"}, one neuron after another, everything within a neuron in arrays.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.core import LayerChain

    Array = NDArray[np.float64]
    Signs = NDArray[np.int8]

__all__ = ["Complex", "cells", "subdivide"]


class Complex(NamedTuple):
    """The domain's vertices and edges after all neurons.

    ``signs`` has ``2 d`` columns for the sides of the box (0 on a side, else 1), then one for each
    hidden unit (0 on its hyperplane).
    """

    points: Array
    edges: NDArray[np.int64]
    signs: Signs
    codes: NDArray[np.int64]  # one random number for each column


def subdivide(chain: LayerChain, lower: float, upper: float) -> Complex:
    """Cut the edges of a box by every hidden unit of a ReLU network in general position."""
    dim = chain.input_size
    units = sum(layer.width for layer in chain.layers[:-1])
    corners = np.array(list(itertools.product((0, 1), repeat=dim)), dtype=np.int8)
    apart = np.abs(corners[:, None] - corners[None]).sum(axis=2)
    signs = np.concatenate([corners, 1 - corners, np.zeros((len(corners), units))], axis=1)
    codes = np.random.default_rng(0).integers(-(2**62), 2**62, size=2 * dim + units)
    points = lower + corners * (upper - lower)
    state = Complex(points, np.argwhere(np.triu(apart == 1)), signs.astype(np.int8), codes)
    values, column = state.points, 2 * dim
    for layer in chain.layers[:-1]:
        weight = layer.map.to_dense()
        first = column
        for row, bias in zip(weight, layer.bias, strict=True):
            state, values = _cut(state, values, values @ row + bias, column, 2 * dim)
            column += 1
        on = state.signs[:, first:column] > 0
        values = np.where(on, values @ weight.T + layer.bias, 0.0)
    return state


def _cut(state: Complex, values: Array, z: Array, column: int, sides: int) -> tuple[Complex, Array]:
    """Split the edges that cross zero and join the new vertices across faces."""
    points, edges, signs, codes = state
    signs[:, column] = np.sign(z)
    ends = signs[edges, column]
    crossing = ends[:, 0] * ends[:, 1] < 0
    a, b = edges[crossing].T
    share = (z[a] / (z[a] - z[b]))[:, None]
    along = np.where(signs[a] != 0, signs[a], signs[b])
    along[:, column] = 0
    new = len(points) + np.arange(len(a))
    across = _across_faces(along[:, :column], codes, sides) + len(points)
    edges = np.concatenate(
        [edges[~crossing], np.column_stack([a, new]), np.column_stack([new, b]), across]
    )
    points = np.concatenate([points, points[a] + share * (points[b] - points[a])])
    values = np.concatenate([values, values[a] + share * (values[b] - values[a])])
    return Complex(points, edges, np.concatenate([signs, along]), codes), values


def _across_faces(along: Signs, codes: NDArray[np.int64], sides: int) -> NDArray[np.int64]:
    """Pair the cut edges that border one two-dimensional face.

    A face at an edge has the edge's signs but for one zero, which is 1 or, of a unit, -1.
    """
    edge, zero = np.nonzero(along == 0)
    base = along @ codes[: along.shape[1]]
    both = zero >= sides
    keys = np.concatenate([base[edge] + codes[zero], base[edge[both]] - codes[zero[both]]])
    owner = np.concatenate([edge, edge[both]])
    order = np.argsort(keys, kind="stable")
    keys, owner = keys[order], owner[order]
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    return np.column_stack([owner[twice], owner[twice + 1]])


def cells(found: Complex) -> NDArray[np.uint8]:
    """Give the segments of all hidden units, one row for each cell."""
    dim = found.points.shape[1]
    known: dict[int, Any] = {}
    _, zero = np.nonzero(found.signs == 0)
    zero = zero.reshape(-1, dim)  # in general position each vertex has d zeros
    base = found.signs.astype(np.int64) @ found.codes
    for choice in itertools.product((-1, 1), repeat=dim):
        allowed = ((zero >= 2 * dim) | (np.array(choice) > 0)).all(axis=1)
        keys = base + found.codes[zero] @ np.array(choice)
        _, first = np.unique(keys[allowed], return_index=True)
        for i in np.flatnonzero(allowed)[first].tolist():
            if int(keys[i]) not in known:
                known[int(keys[i])] = (i, choice)
    rows = np.array([i for i, _ in known.values()])
    signs = found.signs[rows].copy()
    np.put_along_axis(signs, zero[rows], np.array([c for _, c in known.values()], np.int8), axis=1)
    return (signs[:, 2 * dim :] > 0).astype(np.uint8)
