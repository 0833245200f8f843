"""The whole space as a bounded question: with ``x = y / t`` every cell is a cone."""

from __future__ import annotations

import numpy as np

from byways.core.activations import PerUnit, identity
from byways.core.chain import Layer, LayerChain
from byways.core.domains import Box
from byways.core.maps import DenseMap
from byways.regions._problem import Problem

__all__ = ["homogenised"]


def homogenised(chain: LayerChain) -> Problem:
    """Ask about ``y`` in ``[-1, 1]^d`` and ``t`` in ``[0, 1]`` what was asked about ``x`` in R^d.

    Biases are multiplied by t, which every layer passes on. Cells are cones then, none of which the
    box cuts off, and the decisions are the same. Breakpoints other than 0, and constants that
    activations add, are not multiplied: with them this is no more than a suggestion.
    """
    layers = []
    for layer in chain.layers:
        weight = np.column_stack([layer.map.to_dense(), layer.bias])
        weight = np.vstack([weight, np.eye(1, weight.shape[1], weight.shape[1] - 1)])
        kinds = [*layer.kinds.tolist(), len(layer.functions)]
        activation = PerUnit((*layer.functions, identity), kinds)
        layers.append(Layer(DenseMap(weight), np.zeros(len(kinds)), activation))
    ones = np.ones(chain.input_size + 1)
    return Problem.of(LayerChain(tuple(layers)), Box(np.append(-ones[1:], 0.0), ones))
