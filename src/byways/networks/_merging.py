"""Activations that a builder puts together: limits, and one function after another."""

from __future__ import annotations

import math

from byways.core.activations import PerUnit, PiecewiseLinear, absolute, clamp, identity, relu

__all__ = ["canonical", "composed", "limited"]


def limited(low: float | None, high: float | None) -> PiecewiseLinear:
    """Give the clamp between two limits; None or an infinite limit leaves its side open.

    Raises:
        ValueError: If the limits are not numbers in increasing order.
    """
    lower = None if low == -math.inf else low
    upper = None if high == math.inf else high
    return identity if lower is None and upper is None else clamp(lower, upper)


def canonical(activation: PiecewiseLinear) -> PiecewiseLinear:
    """Give equal functions one name, so that equal networks have equal digests."""
    shape = (activation.breakpoints, activation.slopes, activation.offset)
    for known in (identity, relu, absolute):
        if shape == (known.breakpoints, known.slopes, known.offset):
            return known
    return activation


def composed(first: PiecewiseLinear | PerUnit, second: PiecewiseLinear) -> PiecewiseLinear | None:
    """Give ``second`` after ``first`` if that is one clamp."""
    if isinstance(first, PerUnit):
        return None
    one, two = _limits(first), _limits(second)
    if one is None or two is None:
        return None
    low, high = max(one[0], two[0]), min(one[1], two[1])
    if low >= high:
        return None
    sides = (side if math.isfinite(side) else None for side in (low, high))
    return canonical(clamp(*sides))


def _limits(activation: PiecewiseLinear) -> tuple[float, float] | None:
    """Give the two sides of a clamp, infinite where open; None for another function."""
    lower = activation.slopes[0] == 0.0
    upper = len(activation.slopes) > 1 and activation.slopes[-1] == 0.0
    points = activation.breakpoints
    low = points[0] if lower and points else -math.inf
    high = points[-1] if upper else math.inf
    if not points or low >= high:
        return None
    sides = (side if math.isfinite(side) else None for side in (low, high))
    same = clamp(*sides) if math.isfinite(low) or math.isfinite(high) else None
    if same is None or (same.breakpoints, same.slopes, same.offset) != (
        points,
        activation.slopes,
        activation.offset,
    ):
        return None
    return low, high
