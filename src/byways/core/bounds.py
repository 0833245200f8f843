"""Interval bounds through a chain, rounded outward so that they hold in real arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.core.activations import PiecewiseLinear
    from byways.core.chain import Layer, LayerChain
    from byways.core.domains import Box

    Array = NDArray[np.float64]

__all__ = ["interval_bounds"]

_UNIT_ROUNDOFF = 2.0**-53
_SMALLEST = 2.0**-1074


def interval_bounds(chain: LayerChain, box: Box) -> list[tuple[Array, Array]]:
    r"""Bound every pre-activation of a chain over a box.

    With centre :math:`c` and radius :math:`r` of a layer's input, its pre-activation lies in
    :math:`Wc + b \pm (|W| r + 2\gamma(|W|(|c| + r) + |b|))`, where :math:`\gamma = ku/(1 - ku)`,
    :math:`k = n + 2` and :math:`u = 2^{-53}`; the second term covers every rounding of the products
    in any order of summation, and the end points are rounded outward. The bounds are therefore true
    of the real-arithmetic function with these float64 weights.

    Args:
        chain: The network.
        box: Inputs, of dimension ``chain.input_size``.

    Returns:
        Per layer, the last included, lower and upper bounds of shape ``(width,)``. Cost: two
        products per layer. Deterministic.

    Raises:
        ShapeError: If the box has another dimension than the chain's input.

    References:
        Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1, for
        :math:`\gamma`.

    Example:
        >>> from byways.core import Box, LayerChain
        >>> chain = LayerChain.from_arrays([([[1.0], [-1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])])
        >>> (low, high) = interval_bounds(chain, Box([-1.0], [2.0]))[-1]
        >>> bool(-1e-12 < low[0] <= 0 and 3 <= high[0] < 3 + 1e-12)  # the true range is [0, 2]
        True
    """
    if box.dim != chain.input_size:
        raise ShapeError(
            f"the box has {box.dim} coordinates and the network {chain.input_size} inputs"
        )
    low, high = box.lower, box.upper
    bounds = []
    for layer in chain.layers:
        low, high = _through_linear(layer, low, high)
        bounds.append((low, high))
        low, high = _through_units(layer, low, high)
    return bounds


def _through_linear(layer: Layer, low: Array, high: Array) -> tuple[Array, Array]:
    center = low + (high - low) / 2
    radius = np.nextafter(np.maximum(high - center, center - low), np.inf)
    magnitude = layer.map.absolute()
    terms = (layer.map.shape[1] + 2) * _UNIT_ROUNDOFF
    gamma = terms / (1 - terms)
    middle = layer.map.apply(center) + layer.bias
    error = magnitude.apply(np.abs(center) + radius) + np.abs(layer.bias)
    # A product that underflows is wrong by up to half the smallest number, whatever its size.
    underflow = (layer.map.shape[1] + 2) * _SMALLEST
    spread = magnitude.apply(radius) + 2 * gamma * error + underflow
    return np.nextafter(middle - spread, -np.inf), np.nextafter(middle + spread, np.inf)


def _through_units(layer: Layer, low: Array, high: Array) -> tuple[Array, Array]:
    lower, upper = low.copy(), high.copy()
    for k, function in enumerate(layer.functions):
        units = layer.kinds == k
        lower[units], upper[units] = _through_activation(function, low[units], high[units])
    return lower, upper


def _through_activation(
    activation: PiecewiseLinear, low: Array, high: Array
) -> tuple[Array, Array]:
    if activation.is_identity:
        return low, high
    candidates = [activation(low), activation(high)]
    for t in activation.breakpoints:  # an extreme may lie inside, as for the absolute value
        inside = (low < t) & (t < high)
        candidates.append(np.where(inside, activation(t), candidates[0]))
    lower, upper = np.minimum.reduce(candidates), np.maximum.reduce(candidates)
    # slope * z + intercept rounds twice; for ReLU both roundings are exact and zero stays zero.
    slack = 4 * _UNIT_ROUNDOFF * (np.abs(lower) + np.abs(upper) + _size(activation, low, high))
    exact = set(activation.slopes) <= {-1.0, 0.0, 1.0} and set(activation.breakpoints) == {0.0}
    if exact and activation.offset == 0:
        return lower, upper
    return np.nextafter(lower - slack, -np.inf), np.nextafter(upper + slack, np.inf)


def _size(activation: PiecewiseLinear, low: Array, high: Array) -> Array:
    """Bound the terms ``slope * z`` and ``intercept`` that an activation adds up."""
    slopes, intercepts = activation.pieces()
    size: Array = np.abs(slopes).max() * np.maximum(np.abs(low), np.abs(high))
    size += np.abs(intercepts).max()
    return size
