"""A problem as flat arrays, for compiled code, and the rows of a stage on a cell."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byways.core.compiled import inlined, melted
from byways.regions._problem import NEGLIGIBLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._problem import Problem

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Net", "enter_stage", "stage_rows"]


class Net(NamedTuple):
    """The frozen half of a walk. Units and decisions are numbered through all stages.

    Stage ``l`` has units ``unit_start[l] .. unit_start[l + 1]``, decisions ``decision_start[l] ..``
    and weights, transposed and flattened, from ``weight_start[l]``.
    """

    weights: Array
    weight_start: Ints
    biases: Array
    weight_size: Array  # sum of |weight| per unit, the yardstick for rounding
    unit_start: Ints
    decision_start: Ints
    unit: Ints
    threshold: Array
    unit_decision: Ints  # per unit, and behind the last: its first decision
    decided_end: Ints  # per stage: its first unit without decisions
    slopes: Array  # (units, pieces), padded
    intercepts: Array
    inputs: Array  # (n_0, d + 1): the network's inputs as rows
    free: NDArray[np.bool_]
    domain_rows: Array
    follows: NDArray[np.bool_]  # per constraint: a further threshold of the unit before
    section_end: Ints  # per constraint: where its stage, or the domain's rows, end

    @classmethod
    @lru_cache(maxsize=4)
    def of(cls, problem: Problem) -> Net:
        """Flatten a problem; kept between the tasks of a process."""
        stages = problem.stages
        sizes = [stage.weight.size for stage in stages]
        widths = [len(stage.bias) for stage in stages]
        starts = np.cumsum([0, *widths], dtype=np.int64)
        m = len(problem.domain_rows)
        pieces = max((stage.slopes.shape[1] for stage in stages), default=1)
        slopes, intercepts = np.zeros((2, starts[-1], pieces))
        unit = _joined([s.unit + a for s, a in zip(stages, starts, strict=False)]).astype(int)
        repeats = _joined([np.diff(stage.unit, prepend=-1) == 0 for stage in stages])
        for i, stage in enumerate(stages):
            here = slice(starts[i], starts[i + 1]), slice(stage.slopes.shape[1])
            slopes[here], intercepts[here] = stage.slopes, stage.intercepts
        return cls(
            weights=_joined([stage.weight.T.ravel() for stage in stages]),
            weight_start=np.cumsum([0, *sizes], dtype=np.int64),
            biases=_joined([stage.bias for stage in stages]),
            weight_size=_joined([np.abs(stage.weight).sum(axis=1) for stage in stages]),
            unit_start=starts,
            decision_start=np.concatenate([[0], problem.ends]).astype(np.int64),
            unit=unit,
            threshold=_joined([stage.threshold for stage in stages]),
            unit_decision=np.searchsorted(unit, np.arange(starts[-1] + 1)),
            decided_end=np.array(
                [a + s.decided for s, a in zip(stages, starts, strict=False)], int
            ),
            slopes=slopes,
            intercepts=intercepts,
            inputs=np.ascontiguousarray(problem.inputs()),
            free=problem.free,
            domain_rows=np.ascontiguousarray(problem.domain_rows),
            follows=np.concatenate([np.zeros(m), repeats]).astype(bool),
            section_end=np.repeat([m, *(m + problem.ends)], [m, *(len(s.unit) for s in stages)]),
        )


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.ascontiguousarray(np.concatenate([np.zeros(0), *parts]))


@inlined
def enter_stage(net: Net, stage: int, bits, maps):
    """Write the rows of a stage's pre-activations into ``maps``, on the cell that ``bits`` names.

    ``maps`` has shape ``(d + 1, units)``: the long axis is the inner one, whatever the dimension.
    Returns the size of the numbers that were summed, for telling rounding from gradient.
    """
    first, end = net.unit_start[stage], net.unit_start[stage + 1]
    width, columns = end - first, maps.shape[0]
    for k in range(columns):
        for i in range(first, end):
            maps[k, i] = net.biases[i] if k == 0 else 0.0
    sources = net.inputs.shape[0] if stage == 0 else first - net.unit_start[stage - 1]
    size = 0.0
    decision = 0 if stage == 0 else net.decision_start[stage - 1]
    for j in range(sources):
        unit, slope, intercept = 0, 0.0, 0.0
        if stage > 0:
            unit, segment = net.unit_start[stage - 1] + j, 0
            while decision < net.decision_start[stage] and net.unit[decision] == unit:
                segment += bits[decision]
                decision += 1
            slope, intercept = net.slopes[unit, segment], net.intercepts[unit, segment]
        at = net.weight_start[stage] + j * width
        for k in range(columns):
            value = net.inputs[j, k] if stage == 0 else slope * maps[k, unit]
            if k == 0:
                value += intercept
            size = max(size, abs(value))
            _add_multiple(maps, k, first, net.weights, at, width, value)
    return size


@melted
def _add_multiple(maps, k, first, weights, at, width, factor):
    """Add a multiple of a run of weights to a run of one row; nothing for units that are off."""
    if factor != 0.0:
        for i in range(width):
            maps[k, first + i] += weights[at + i] * factor


@inlined
def stage_rows(net: Net, stage: int, size: float, maps, rows):
    """Turn a stage's pre-activations into decision rows of unit gradient.

    A unit that is constant on the cell gets the row ``(+1 | 0 | -1, 0, ..)``. Returns how many
    constants were too close to zero to be sure of their sign.
    """
    doubtful, columns = 0, maps.shape[0]
    for k in range(net.decision_start[stage], net.decision_start[stage + 1]):
        unit = net.unit[k]
        noise = NEGLIGIBLE * size * net.weight_size[unit]
        level = maps[0, unit] - net.threshold[k]
        gradient = 0.0
        for c in range(1, columns):
            gradient += maps[c, unit] ** 2
        gradient = np.sqrt(gradient)
        if gradient > noise:
            rows[k, 0] = level / gradient
            for c in range(1, columns):
                rows[k, c] = maps[c, unit] / gradient
            continue
        for c in range(columns):
            rows[k, c] = 0.0
        if abs(level) > noise:
            rows[k, 0] = 1.0 if level > 0 else -1.0
        elif level != 0.0:
            doubtful += 1
    return doubtful
