"""From a wide input to the few numbers that the network sees of it.

A network with 784 inputs and 11 units in its first layer depends on 11 numbers, the first layer's
pre-activations z; those reachable from the box form a zonotope Z. Units that are constant on the
box, or stay on a flat piece of their activation, are left out; of dependent rows a basis is taken,
and the others are functions of it.

Where the breakpoints of all units left have a common point inside Z, that point is the *apex*:
every sign vector of the first layer exists, and each of its cells is an orthant around the apex.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byways.core.compiled import entry
from byways.regions._problem import NEGLIGIBLE
from byways.regions._wide_oracle import Curvature, radius

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._problem import Problem, Stage

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Space", "first_rows", "misfit", "pays"]

MOST_COLUMNS = 31
_MANY_INPUTS = 24
_VERY_MANY_INPUTS = 256
_MOST_ORTHANTS = 20
_LEAST_SPAN = 1e-9  # of a unit over the box: coordinates are its values, and thresholds absolute
_DEPENDENT, _INDEPENDENT = 1e-12, 1e-7  # relative lengths of what a row adds to those before


class Space(NamedTuple):
    """The image of the box under the first layer's basis units, and what is known of it.

    Arrays over rows are padded to a multiple of four, those over inputs to a multiple of eight.
    """

    W: Array  # (rows, inputs): basis units over the centred unit box
    centre: Array
    absolute: Array  # row sums of |W| / 2 and |centre|
    length: Array  # of the rows
    gram: Array  # W W^T
    inverse: Array  # of the Gram matrix
    decision: Ints  # first decision of each basis row's unit
    bends: NDArray[np.bool_]  # per basis row: not flat below its breakpoint
    lower: Array  # interval hull
    upper: Array
    outer: Array  # (2, rows): radii along the axes, downwards and upwards
    table: Array  # radii along sums of axes by bit mask, NaN where not asked for yet
    rows: Array  # (units, 1 + rows): all units as functions of the basis
    settled: NDArray[np.int8]  # first-layer decisions that are the same on the whole box, else -1
    doubts: int
    rank: int
    apex: bool

    @classmethod
    @lru_cache(maxsize=4)
    def of(cls, problem: Problem, tolerance: float) -> Space:
        """Reduce a problem.

        Raises:
            ValueError: If the engine for wide inputs does not suit it.
        """
        if problem.free.any() or len(problem.domain_rows) or not problem.stages:
            raise ValueError("it needs a box with a bounded side in every direction")
        stage = problem.stages[0]
        (level, weight), noise = _centred(problem), _noise(problem)
        settled, doubts = _settle(stage, level, weight, noise, tolerance)
        moving = _moving(stage, weight, settled, noise)
        basis, combination = _basis(weight, moving)
        if basis.size > MOST_COLUMNS:
            raise ValueError(f"its first layer has rank {basis.size}, at most {MOST_COLUMNS} fit")
        shift = _thresholds(stage)[basis]
        decision = np.searchsorted(stage.unit, basis)
        single = basis.size == moving.size <= _MOST_ORTHANTS
        single &= bool((np.bincount(stage.unit, minlength=len(stage.bias))[basis] == 1).all())
        single = single and bool((settled[decision] < 0).all())
        bends = (stage.slopes[basis, 0] != 0.0) | (stage.slopes[basis, -1] == 0.0)
        half, W = np.abs(weight[basis]).sum(axis=1) / 2, _padded(weight[basis])
        space = cls(
            W=W,
            centre=_pad(level[basis] - shift * single, W.shape[0]),
            absolute=_pad(half + np.abs(level[basis] - shift * single), len(W)),
            length=np.linalg.norm(weight[basis], axis=1),
            gram=weight[basis] @ weight[basis].T,
            inverse=np.linalg.inv(weight[basis] @ weight[basis].T).astype(np.float64),
            decision=decision,
            bends=bends,
            lower=np.zeros(basis.size),
            upper=np.zeros(basis.size),
            outer=np.zeros((2, basis.size)),
            table=np.full(1 << basis.size if single and not bends.any() else 1, np.nan),
            rows=_rows(stage, level, weight, settled, basis, moving, combination, single),
            settled=settled,
            doubts=doubts,
            rank=basis.size,
            apex=False,
        )
        reach = half + 1e-13 * space.absolute[: basis.size]  # rounded outward: no corner is lost
        space.lower[:] = space.centre[: basis.size] - reach
        space.upper[:] = space.centre[: basis.size] + reach
        return _with_apex(space) if single else space


def misfit(problem: Problem, tolerance: float) -> str:
    """Say why the engine for wide inputs does not suit a problem; empty where it does."""
    try:
        Space.of(problem, tolerance)
    except ValueError as error:
        return str(error)
    return ""


def pays(problem: Problem, tolerance: float) -> bool:
    """Tell whether the engine for wide inputs is the faster one: many inputs for few units."""
    if problem.dim < _MANY_INPUTS or problem.free.any() or not problem.stages:
        return False
    if len(problem.stages[0].bias) > 2 * MOST_COLUMNS or misfit(problem, tolerance):
        return False
    space = Space.of(problem, tolerance)
    # Without an apex many nodes need a program: twenty times slower than the simplex walk at 64
    # inputs. That walk's dictionaries have a column per input, which tells from some hundreds on.
    return space.rank * 2 <= problem.dim and (space.apex or problem.dim >= _VERY_MANY_INPUTS)


@lru_cache(maxsize=4)
def first_rows(problem: Problem) -> Array:
    """Give the first stage's pre-activations as rows, shape ``(units, 1 + inputs)``."""
    stage = problem.stages[0]
    rows: Array = stage.weight @ problem.inputs()
    rows[:, 0] += stage.bias
    return rows


def _centred(problem: Problem) -> tuple[Array, Array]:
    """Give the first stage over ``s - 1/2``: values at the middle of the box, and weights."""
    rows = first_rows(problem)
    return rows[:, 0] + rows[:, 1:].sum(axis=1) / 2, rows[:, 1:]


def _noise(problem: Problem) -> Array:
    """Give for each unit of the first stage the row sum of weights up to which it is constant."""
    size = np.abs(problem.inputs()).max()
    result: Array = NEGLIGIBLE * size * np.abs(problem.stages[0].weight).sum(axis=1)
    return result


def _settle(
    stage: Stage, level: Array, weight: Array, constant: Array, tolerance: float
) -> tuple[NDArray[np.int8], int]:
    """Find decisions whose hyperplane misses the box, and count those that nearly do not."""
    settled = np.full(len(stage.unit), -1, dtype=np.int8)
    half = np.abs(weight).sum(axis=1)[stage.unit] / 2
    length = np.maximum(np.linalg.norm(weight, axis=1)[stage.unit], 1e-300)
    value = level[stage.unit] - stage.threshold
    noise = 1e-13 * (half + np.abs(level[stage.unit]) + np.abs(stage.threshold))
    flat = half <= constant[stage.unit]
    settled[(value + half) / length <= tolerance] = 0
    settled[(value - half) / length >= -tolerance] = 1
    settled[flat] = value[flat] > noise[flat]
    reach = np.minimum(np.abs(value + half), np.abs(value - half))
    near = np.where(flat, np.abs(value) <= noise, reach <= length * tolerance)
    near &= np.where(flat, value, reach) != 0.0
    return settled, int(near.sum())


def _moving(stage: Stage, weight: Array, settled: NDArray[np.int8], constant: Array) -> Ints:
    """Give the units of which later layers, or the first layer's decisions, see something."""
    count = len(stage.bias)
    open_decisions = np.bincount(stage.unit, weights=settled < 0, minlength=count)
    segment = np.bincount(stage.unit, weights=settled > 0, minlength=count).astype(int)
    flat = (open_decisions == 0) & (stage.slopes[np.arange(count), segment] == 0.0)
    still = np.abs(weight).sum(axis=1) <= constant
    return np.flatnonzero(~still & ~flat)


def _basis(weight: Array, moving: Ints) -> tuple[Ints, Array]:
    """Choose independent rows, and write the moving rows as combinations of them.

    Raises:
        ValueError: If rows are so nearly dependent that the rank is a matter of taste, or so small
            that rounding tells in what follows.
    """
    from scipy.linalg import lstsq, qr

    if not moving.size:
        return moving, np.zeros((0, 0))
    if np.abs(weight[moving]).sum(axis=1).min() < _LEAST_SPAN:
        raise ValueError(f"a unit of its first layer spans less than {_LEAST_SPAN} on this box")
    rows = weight[moving] / np.linalg.norm(weight[moving], axis=1)[:, None]
    _, upper, order = qr(rows.T, mode="economic", pivoting=True)
    size = np.abs(np.diag(upper))
    rank = int((size > _INDEPENDENT).sum())
    if (size[rank:] > _DEPENDENT).any():
        raise ValueError("rows of its first layer are nearly, but not quite, dependent")
    if rank == moving.size:
        return moving, np.eye(rank)
    basis = np.sort(moving[order[:rank]])
    combination = lstsq(weight[basis].T, weight[moving].T)[0].T
    combination[np.abs(combination) < 1e-14] = 0.0
    return basis, combination


def _thresholds(stage: Stage) -> Array:
    """Give the first breakpoint of each unit, 0 where it has none."""
    result = np.zeros(len(stage.bias))
    result[stage.unit[::-1]] = stage.threshold[::-1]
    return result


def _rows(
    stage: Stage,
    level: Array,
    weight: Array,
    settled: NDArray[np.int8],
    basis: Ints,
    moving: Ints,
    combination: Array,
    single: bool,
) -> Array:
    """Write the pre-activations of all units as functions of the basis; zero where none is seen."""
    rows = np.zeros((len(stage.bias), 1 + basis.size))
    rows[:, 0] = level
    base = level[basis] - _thresholds(stage)[basis] * single
    rows[moving, 1:] = combination
    rows[moving, 0] = level[moving] - combination @ base
    return rows


def _with_apex(space: Space) -> Space:
    """Measure Z around zero; without a radius in every direction there is no apex."""
    scale = np.minimum(-space.lower, space.upper)
    if not (scale > 0.0).all():
        return space
    room = Curvature.of(space.W)
    outer = _axes(space.W, space.centre, space.absolute, space.lower, space.upper, room)
    usable = outer.min(axis=0) > 1e-4 * (space.upper - space.lower)
    space.outer[:] = outer
    return space._replace(apex=bool(usable.all()))


def _padded(weight: Array) -> Array:
    m, n = weight.shape
    W = np.zeros((max(4, -(-m // 4) * 4), max(8, -(-n // 8) * 8)))
    W[:m, :n] = weight
    return W


def _pad(values: Array, size: int) -> Array:
    result = np.zeros(size)
    result[: len(values)] = values
    return result


@entry
def _axes(W: Any, centre: Any, absolute: Any, lower: Any, upper: Any, curvature: Any) -> Any:
    """Give the radii of Z along the axes, downwards and upwards; 0 where zero is not inside."""
    w, n, r = W.shape[0], W.shape[1], lower.size
    s, delta, z = np.empty(n), np.empty(n), np.empty(w)
    t, du, u, ds = np.empty(w), np.empty(w), np.zeros(w), np.empty(n)
    free = np.zeros(w, dtype=np.bool_)
    q, outer = np.zeros(w), np.zeros((2, r))
    for i in range(r):
        for side in range(2):
            far = upper[i] if side else -lower[i]
            q[i] = 1.0 if side else -1.0
            outer[side, i] = radius(
                W,
                centre,
                absolute,
                q,
                far,
                1e-9 * far,
                free,
                t,
                s,
                ds,
                delta,
                z,
                curvature,
                du,
                u,
            )
            q[i] = 0.0
            if outer[side, i] <= 1e-4 * far:
                return np.zeros((2, r))
    return outer
