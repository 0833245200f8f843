"""Elementwise piecewise-linear activations."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "PerUnit",
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
        return np.array(self.slopes), np.array(self._intercepts(float))

    def exact_pieces(self) -> tuple[list[Fraction], list[Fraction]]:
        """Give slopes and intercepts of all pieces as rationals; floats round the intercepts."""
        return list(map(Fraction, self.slopes)), self._intercepts(Fraction)

    def _intercepts(self, number: type[Any]) -> list[Any]:
        cuts, slopes = list(map(number, self.breakpoints)), list(map(number, self.slopes))
        # Continuity at t_i: a_{i-1} t_i + c_{i-1} = a_i t_i + c_i. From the segment of 0 outward,
        # so that the limits of a clamp come out without rounding.
        home = sum(t < 0 for t in cuts)
        result = [number(self.offset)]
        for i in range(home, len(cuts)):
            result.append(result[-1] + (slopes[i] - slopes[i + 1]) * cuts[i])
        for i in range(home, 0, -1):
            result.insert(0, result[0] + (slopes[i] - slopes[i - 1]) * cuts[i - 1])
        return result

    @property
    def is_identity(self) -> bool:
        """Whether this is the identity function."""
        return self.slopes == (1.0,) and self.offset == 0.0


@dataclass(frozen=True, eq=False)
class PerUnit:
    """The activations of a layer whose units do not all have the same one.

    PReLU has a slope per channel; a residual connection carries values past a layer through units
    that have the identity.

    Args:
        functions: The functions that occur, each once.
        kinds: For each unit the index of its function, shape ``(units,)``.

    Raises:
        ShapeError: If ``kinds`` is not one axis of indices.

    Example:
        >>> carried = PerUnit((relu, identity), [0, 1])
        >>> carried([-1.0, -1.0])
        array([ 0., -1.])
    """

    functions: tuple[PiecewiseLinear, ...]
    kinds: NDArray[np.int64]

    def __init__(
        self, functions: Sequence[PiecewiseLinear], kinds: Sequence[int] | NDArray[np.integer]
    ) -> None:
        given = np.array(kinds)
        if given.ndim != 1 or given.dtype.kind not in "iu":
            raise ShapeError(
                f'"kinds" has shape {given.shape} and dtype {given.dtype}; give one index into '
                '"functions" per unit'
            )
        if given.size and not 0 <= given.min() <= given.max() < len(functions):
            raise ShapeError(
                f'"kinds" goes from {given.min()} to {given.max()}, but there are '
                f"{len(functions)} functions"
            )
        given = given.astype(np.int64)
        given.setflags(write=False)
        object.__setattr__(self, "functions", tuple(functions))
        object.__setattr__(self, "kinds", given)

    @classmethod
    def of(
        cls, functions: Sequence[PiecewiseLinear], kinds: NDArray[np.integer]
    ) -> PiecewiseLinear | PerUnit:
        """Give the plainest form: one function if all units have it, else each once, in turn."""
        distinct: list[PiecewiseLinear] = list(dict.fromkeys(functions[k] for k in kinds.tolist()))
        if len(distinct) == 1:
            return distinct[0]
        place = {function: k for k, function in enumerate(distinct)}
        return cls(distinct, np.array([place[functions[k]] for k in kinds.tolist()]))

    def __call__(self, z: ArrayLike) -> NDArray[np.float64]:
        """Evaluate; the last axis is that of the units."""
        values = np.array(z, dtype=np.float64)
        for function, units in self._groups():
            if not function.is_identity:
                values[..., units] = function(values[..., units])
        return values

    def segment(self, z: ArrayLike) -> NDArray[np.int8]:
        """Give each unit's segment, 0 where it has but one."""
        values = np.asarray(z, dtype=np.float64)
        result = np.zeros(values.shape, dtype=np.int8)
        for function, units in self._groups():
            result[..., units] = function.segment(values[..., units])
        return result

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """All breakpoints that occur; empty if every unit is linear."""
        return tuple(sorted({t for function in self.functions for t in function.breakpoints}))

    @property
    def name(self) -> str:
        """The functions' names, for messages."""
        return " and ".join(dict.fromkeys(f.name or "custom" for f in self.functions))

    def _groups(self) -> list[tuple[PiecewiseLinear, NDArray[np.intp]]]:
        return [(f, np.flatnonzero(self.kinds == k)) for k, f in enumerate(self.functions)]


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
