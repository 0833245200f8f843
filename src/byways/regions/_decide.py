"""Is a cell a region? Decided in rational arithmetic, for what floating point leaves open.

A cell is the set where the rows of a path are positive. With ``t`` the least row, the program
``max t`` over the domain tells: a vertex with ``t > 0`` is a witness; at an optimum ``t <= 0`` the
reduced costs are multipliers, whose sum of rows is nowhere above ``t``.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byways.core.exact import rational
from byways.regions._rows import OPEN, ZERO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from byways.regions._rows import Rules

    Numbers = NDArray[Any]
    Path = NDArray[np.int8]

__all__ = ["Decider", "Verdict"]

_ONE = Fraction(1)
_PATIENCE = 50  # pivots by the largest coefficient before Bland's rule, which cannot cycle
_HEIGHT = -1  # the row ``t > 0``, beside the numbers of rows
_LARGEST_DENOMINATOR = 10_000  # of ratios of multipliers that are tried first


class Verdict(NamedTuple):
    """A witness, or multipliers per row that prove that there is none; the other is None."""

    point: tuple[Fraction, ...] | None
    multipliers: dict[int, Fraction] | None


class Decider:
    """Decides cells of one network on one domain."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._free = np.flatnonzero(rules.lower < rules.upper)
        # The whole space has no corner to start from, so its rows are written from the origin.
        ends = (rules.lower, rules.upper) if rules.bounded else np.zeros((2, rules.lower.size))
        self._lower, self._upper = map(rational, ends)
        self._rows_of_stage = lru_cache(maxsize=256)(self._compose)

    def decide(self, path: Path, guess: Mapping[int, float] | None = None) -> Verdict:
        """Decide a cell; ``guess`` are multipliers that nearly prove it empty.

        Cost: a rational simplex method on as many rows as the path has decisions, unless the guess,
        ratios of small numbers close to it, or in the whole space the same rows, prove it.
        """
        for multipliers in _near(guess or {}) if self._rules.bounded else ():
            if self._rules.empty_exactly(path, multipliers):
                return Verdict(None, multipliers)
        rows = self.rows(path)
        for multipliers in () if self._rules.bounded else _balanced(rows, guess or {}):
            if self._cancels(path, rows, multipliers):
                return Verdict(None, multipliers)
        varying = {}
        for i, row in rows.items():
            if row[1:].any():
                varying[i] = row
            elif row[0] < 0 or (row[0] == 0 and not self._counts_as_below(path, i)):
                return Verdict(None, {i: _ONE})
        if self._rules.bounded:
            found = _maximise_least(varying, self._upper[self._free] - self._lower[self._free])
        else:
            found = _maximise_least_anywhere(varying, self._free.size)
        if isinstance(found, dict):
            return Verdict(None, found)
        point = self._lower.copy()
        point[self._free] += found
        return Verdict(tuple(point), None)

    def holds(self, path: Path, decision: int, point: Sequence[Fraction]) -> bool:
        """Tell whether the row of a decision is positive at a point of the domain."""
        row = self.rows(path)[self._rules.domain_rows + decision]
        there = zip(row[1:], self._free.tolist(), strict=True)
        value = row[0] + sum((a * (point[j] - self._lower[j]) for a, j in there), ZERO)
        return bool(value > 0)

    def rows(self, path: Path) -> dict[int, Numbers]:
        """Give the rows of a path: constant and slopes, from the free coordinates' lower ends."""
        rules = self._rules
        layers, normals, sides = rules.exactly
        result = {}
        for i in range(rules.domain_rows):
            there = sides[i] - normals[i] @ self._lower
            result[i] = np.concatenate([[there], -normals[i][self._free]])
        at = 0
        for number, layer in enumerate(layers):
            values = self._rows_of_stage(number, path[:at].tobytes())
            for k in range(layer.decisions):
                if path[at + k] == OPEN:
                    continue
                row = values[layer.unit[k]].copy()
                row[0] -= layer.threshold[k]
                result[rules.domain_rows + at + k] = row if path[at + k] == 1 else -row
            at += layer.decisions
            if (path[:at] == OPEN).any():
                break
        return result

    def _compose(self, number: int, before: bytes) -> Numbers:
        """Give the rows of a layer's pre-activations, given the sides of the layers before."""
        layers = self._rules.exactly[0]
        layer = layers[number]
        if number == 0:
            there = layer.weight @ self._lower + layer.bias
            return np.column_stack([there, layer.weight[:, self._free]])
        path = np.frombuffer(before, dtype=np.int8)
        below = layers[number - 1]
        at = len(path) - below.decisions
        values = self._rows_of_stage(number - 1, before[:at])
        slopes, intercepts = below.of_units(path[None], at)
        inputs = slopes[0][:, None] * values
        inputs[:, 0] += intercepts[0]
        rows: Numbers = layer.weight @ inputs
        rows[:, 0] += layer.bias
        return rows

    def _cancels(
        self, path: Path, rows: Mapping[int, Numbers], multipliers: Mapping[int, Fraction]
    ) -> bool:
        """Tell whether a sum of rows has no slope and proves a path empty."""
        total = sum(value * rows[i] for i, value in multipliers.items())
        if any(value < 0 for value in multipliers.values()) or total[1:].any():
            return False
        strict = (rows[i].any() or not self._counts_as_below(path, i) for i in multipliers)
        return bool(total[0] < 0 or (total[0] == 0 and any(strict)))

    def _counts_as_below(self, path: Path, row: int) -> bool:
        """Tell whether zero is on the path's side of a row."""
        m = self._rules.domain_rows
        return row >= m and path[row - m] == 0


def _near(guess: Mapping[int, float]) -> list[dict[int, Fraction]]:
    """Give the multipliers of a guess, and others close to it that are ratios of small numbers."""
    given = {i: Fraction(value) for i, value in guess.items() if value > 0}
    if not given:
        return []
    most = max(given.values())
    ratios = {i: (v / most).limit_denominator(_LARGEST_DENOMINATOR) for i, v in given.items()}
    return [given, {i: v for i, v in ratios.items() if v}]


def _balanced(
    rows: Mapping[int, Numbers], guess: Mapping[int, float]
) -> Iterator[dict[int, Fraction]]:
    """Give the multipliers of a guess as they have to be for the slopes to cancel, if they can.

    Where more rows take part than there are slopes, the constants may have to cancel as well.
    """
    own, *others = guess or [_HEIGHT]
    others.sort(key=lambda i: -guess[i])
    for first in (1, 0) if guess else ():
        columns = [rows[i][first:] for i in others]
        solution = _solve(np.column_stack([*columns, -rows[own][first:]]))
        if solution is not None:
            chosen = zip(others, solution, strict=True)
            yield {own: _ONE, **{i: value for i, value in chosen if value}}


def _solve(system: Numbers) -> list[Fraction] | None:
    """Solve ``A x = b`` for ``[A | b]`` in rationals; the last unknowns are 0 where they can be."""
    pivots = list[int]()
    for column in range(system.shape[1] - 1):
        top = len(pivots)
        found = np.flatnonzero(system[top:, column])
        if not found.size:
            continue
        system[[top, top + found[0]]] = system[[top + found[0], top]]
        system[top] /= system[top, column]
        for i in np.flatnonzero(system[:, column]):
            if i != top:
                system[i] -= system[i, column] * system[top]
        pivots.append(column)
    if system[len(pivots) :, -1].any():
        return None
    solution = [ZERO] * (system.shape[1] - 1)
    for column, value in zip(pivots, system[:, -1].tolist(), strict=False):
        solution[column] = value
    return solution


def _maximise_least_anywhere(rows: Mapping[int, Numbers], d: int) -> Numbers | dict[int, Fraction]:
    """Do what ``_maximise_least`` does, in all of R^d.

    With ``x = y / t`` rows are homogeneous, so that they are positive somewhere if they are in the
    box ``|y| <= 1, 0 <= t <= 1``, coordinates of which are ``y + 1`` and t. At an optimum at most 0
    the multipliers cancel the slopes: else the sum, which is 0 at the origin, would be positive
    nearby.
    """
    cone = {
        i: np.array([-row[1:].sum(), *row[1:], row[0]], dtype=object) for i, row in rows.items()
    }
    cone[_HEIGHT] = rational([0] * (d + 1) + [1])
    found = _maximise_least(cone, rational([2] * d + [1]))
    if isinstance(found, dict):
        return {i: value for i, value in found.items() if i != _HEIGHT}
    place: Numbers = (found[:d] - 1) / found[d]
    return place


def _maximise_least(rows: Mapping[int, Numbers], width: Numbers) -> Numbers | dict[int, Fraction]:
    """Maximise the least row over ``0 <= u <= width``.

    Returns:
        A point where all rows are positive, or multipliers that prove that there is none.
    """
    if not rows:
        return width / 2
    table = _Dictionary(list(rows), np.array(list(rows.values()), dtype=object), width)
    while table.least <= 0:
        if not table.improve():
            return table.multipliers()
    return table.point()


class _Dictionary:
    """A bounded simplex dictionary for ``max t``, ``t <= row(u)`` for all rows.

    Variables ``0 .. d - 1`` are the coordinates, variable ``d + i`` is the slack of row ``i``. A
    coordinate may be flipped: its column then stands for ``width - u``. The first row of the table
    is ``t``; column 0 holds values.
    """

    def __init__(self, names: list[int], rows: Numbers, width: Numbers) -> None:
        self._names, self._width, d = names, width, len(width)
        lowest = min(range(len(names)), key=lambda i: rows[i, 0])
        # t = lowest row - its slack; the other slacks are row - t.
        column = np.full((len(names), 1), ZERO, dtype=object)
        extended = np.concatenate([rows, column], axis=1)
        least = extended[lowest].copy()
        least[-1] = -_ONE
        others = [i for i in range(len(names)) if i != lowest]
        self._table = np.concatenate([least[None], extended[others] - least[None]])
        self._basic = [d + i for i in others]
        self._nonbasic = [*range(d), d + lowest]
        self._flipped = [False] * (d + 1)
        self._steps = 0

    @property
    def least(self) -> Fraction:
        """The value of ``t`` at the current vertex."""
        value: Fraction = self._table[0, 0]
        return value

    def improve(self) -> bool:
        """Take one step of the simplex method; False at the optimum."""
        self._steps += 1
        rising = [c for c, slope in enumerate(self._table[0, 1:]) if slope > 0]
        if not rising:
            return False
        if self._steps > _PATIENCE:
            column = min(rising, key=lambda c: self._nonbasic[c])
        else:
            column = max(rising, key=lambda c: self._table[0, c + 1])
        row = self._blocking(column)
        if row is None:
            self._flip(column)
        else:
            self._pivot(row, column)
        return True

    def _blocking(self, column: int) -> int | None:
        """Give the row that first stops a rising column; None if it reaches its own other end."""
        entering = self._nonbasic[column]
        best: Fraction | None = self._width[entering] if entering < len(self._width) else None
        row = None
        for i, label in enumerate(self._basic):
            slope = self._table[i + 1, column + 1]
            value = self._table[i + 1, 0]
            if slope < 0:
                step = -value / slope
            elif slope > 0 and label < len(self._width):
                step = (self._width[label] - value) / slope
            else:
                continue
            first = best is None or step < best
            tie = step == best and row is not None and label < self._basic[row]
            if first or tie:
                best, row = step, i
        return row

    def _flip(self, column: int) -> None:
        """Send a nonbasic coordinate to its other end."""
        width = self._width[self._nonbasic[column]]
        self._table[:, 0] += width * self._table[:, column + 1]
        self._table[:, column + 1] = -self._table[:, column + 1]
        self._flipped[column] = not self._flipped[column]

    def _pivot(self, row: int, column: int) -> None:
        """Exchange a basic variable with a nonbasic one."""
        table, leaving, entering = self._table, self._basic[row], self._nonbasic[column]
        was_flipped, flips = self._flipped[column], False
        own = table[row + 1]
        if leaving < len(self._width) and own[column + 1] > 0:  # it leaves at its upper end
            own[:] = -own
            own[0] += self._width[leaving]
            flips = True
        inverse = -1 / own[column + 1]
        own[column + 1] = -_ONE
        own *= inverse
        for i in np.flatnonzero(table[:, column + 1]):
            if i != row + 1:
                factor = table[i, column + 1]
                table[i, column + 1] = ZERO
                changed = np.flatnonzero(own)
                table[i, changed] += factor * own[changed]
        if was_flipped:
            own[:] = -own
            own[0] += self._width[entering]
        self._basic[row], self._nonbasic[column] = entering, leaving
        self._flipped[column] = flips

    def point(self) -> Numbers:
        """Give the coordinates of the current vertex."""
        u = np.full(len(self._width), ZERO, dtype=object)
        for c, label in enumerate(self._nonbasic):
            if label < len(u) and self._flipped[c]:
                u[label] = self._width[label]
        for i, label in enumerate(self._basic):
            if label < len(u):
                u[label] = self._table[i + 1, 0]
        return u

    def multipliers(self) -> dict[int, Fraction]:
        """Give the reduced costs of the slacks at the optimum; they sum to 1."""
        d = len(self._width)
        pairs = zip(self._nonbasic, self._table[0, 1:], strict=True)
        return {self._names[v - d]: -cost for v, cost in pairs if v >= d and cost}
