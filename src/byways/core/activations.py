"""Elementwise piecewise-linear activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "PiecewiseLinear",
    "absolute",
    "clamp",
    "hardtanh",
    "identity",
    "leaky_relu",
    "relu",
]


@dataclass(frozen=True, slots=True)
class PiecewiseLinear:
    """A continuous function of one variable with finitely many linear pieces.

    With breakpoints ``t_1 < ... < t_k`` and slopes ``a_0 .. a_k``, segment ``i`` is the interval
    ``(t_i, t_{i+1}]``: at a breakpoint the lower segment counts, so ReLU at exactly 0 is segment 0,
    as torch's gradient there.

    Args:
        breakpoints: ``t_1 < ... < t_k``; empty for a linear function.
        slopes: ``a_0 .. a_k``, one more than breakpoints.
        offset: The function's value at 0.
        name: A word for messages.

    Raises:
        ValueError: If the numbers do not fit together or are not finite.

    Example:
        >>> relu6 = clamp(0, 6)
        >>> relu6([-1.0, 2.0, 7.0])
        array([0., 2., 6.])
        >>> relu6.segment([-1.0, 2.0, 7.0])
        array([0, 1, 2], dtype=int8)
        >>> relu6.piece(2)  # slope and intercept
        (0.0, 6.0)
    """

    breakpoints: tuple[float, ...]
    slopes: tuple[float, ...]
    offset: float = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        numbers = np.array([*self.breakpoints, *self.slopes, self.offset], dtype=np.float64)
        if len(self.slopes) != len(self.breakpoints) + 1:
            raise ValueError(
                f'"slopes" has {len(self.slopes)} numbers for {len(self.breakpoints)} breakpoints; '
                "give one slope more than breakpoints"
            )
        if not np.isfinite(numbers).all():
            raise ValueError(f"breakpoints, slopes and offset must be finite, got {self!r}")
        if np.any(np.diff(self.breakpoints) <= 0):
            raise ValueError(f'"breakpoints" must increase strictly, got {self.breakpoints!r}')
        if len(self.breakpoints) > np.iinfo(np.int8).max:
            raise ValueError(f'"breakpoints" has {len(self.breakpoints)} numbers; 127 are allowed')
        # Plain floats, no -0.0: equal functions then have equal digests.
        object.__setattr__(self, "breakpoints", tuple(float(t) + 0.0 for t in self.breakpoints))
        object.__setattr__(self, "slopes", tuple(float(a) + 0.0 for a in self.slopes))
        object.__setattr__(self, "offset", float(self.offset) + 0.0)

    def __call__(self, z: ArrayLike) -> NDArray[np.float64]:
        """Evaluate elementwise."""
        values = np.asarray(z, dtype=np.float64)
        slopes, intercepts = self.pieces()
        segment = self.segment(values)
        result: NDArray[np.float64] = slopes[segment] * values + intercepts[segment]
        return result

    def segment(self, z: ArrayLike) -> NDArray[np.int8]:
        """Give the index of the linear piece, that is how many breakpoints lie below ``z``."""
        values = np.asarray(z, dtype=np.float64)
        count: Any = np.searchsorted(self.breakpoints, values, side="left")
        return np.asarray(count, dtype=np.int8)

    def piece(self, segment: int) -> tuple[float, float]:
        """Give slope and intercept of one linear piece."""
        slopes, intercepts = self.pieces()
        return float(slopes[segment]), float(intercepts[segment])

    def pieces(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give slopes and intercepts of all pieces, each of shape ``(k + 1,)``."""
        slopes = np.array(self.slopes, dtype=np.float64)
        intercepts = np.zeros_like(slopes)
        # Continuity at t_i: a_{i-1} t_i + c_{i-1} = a_i t_i + c_i. From the segment of 0 outward,
        # so that the limits of a clamp come out without rounding.
        home = int(np.searchsorted(self.breakpoints, 0.0, side="left"))
        intercepts[home] = self.offset
        for i in range(home, len(self.breakpoints)):
            intercepts[i + 1] = intercepts[i] + (slopes[i] - slopes[i + 1]) * self.breakpoints[i]
        for i in range(home, 0, -1):
            intercepts[i - 1] = (
                intercepts[i] + (slopes[i] - slopes[i - 1]) * self.breakpoints[i - 1]
            )
        return slopes, intercepts

    @property
    def is_identity(self) -> bool:
        """Whether this is the identity function."""
        return self.slopes == (1.0,) and self.offset == 0.0


identity = PiecewiseLinear((), (1.0,), name="identity")
relu = PiecewiseLinear((0.0,), (0.0, 1.0), name="relu")
absolute = PiecewiseLinear((0.0,), (-1.0, 1.0), name="absolute")


def leaky_relu(negative_slope: float = 0.01) -> PiecewiseLinear:
    """Give ``max(z, 0) + negative_slope * min(z, 0)``; with slope 1 there is no breakpoint."""
    if negative_slope == 1:
        return identity
    return PiecewiseLinear((0.0,), (float(negative_slope), 1.0), name="leaky_relu")


def clamp(low: float | None = None, high: float | None = None) -> PiecewiseLinear:
    """Give ``min(max(z, low), high)``; either side may be open.

    Raises:
        ValueError: If both sides are open or ``low >= high``.
    """
    if low is None and high is None:
        raise ValueError('"low" and "high" are both None; give at least one of them')
    if low is not None and high is not None and low >= high:
        raise ValueError(f'"low" must be below "high", got {low!r} and {high!r}')
    breakpoints = tuple(float(t) for t in (low, high) if t is not None)
    slopes = (*((0.0,) if low is not None else ()), 1.0, *((0.0,) if high is not None else ()))
    value = max(0.0, low) if low is not None else 0.0
    value = min(value, high) if high is not None else value
    return PiecewiseLinear(breakpoints, slopes, float(value), name="clamp")


def hardtanh(low: float = -1.0, high: float = 1.0) -> PiecewiseLinear:
    """Give ``min(max(z, low), high)`` with the usual sides -1 and 1."""
    return clamp(low, high)
