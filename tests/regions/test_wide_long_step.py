"""The long step of the program for wide inputs, against all kinks in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from byways.core.compiled import borrowing_entry
from byways.regions._wide_long_step import kinks, long_step
from byways.regions._wide_tree import Program, _program

if TYPE_CHECKING:
    from numpy.typing import NDArray


@borrowing_entry
def go(s, delta, p, a, most, slope):
    fall, middle = kinks(s, delta, p, a)
    return long_step(p, middle, fall, most, slope)


def in_order(
    s: NDArray[np.float64], step: NDArray[np.float64], delta: NDArray[np.float64]
) -> list[tuple[float, float]]:
    """List how far the kinks ahead are, and how much each ends the fall of the sum."""
    ahead = delta * step < 0
    return sorted(zip(np.abs(s[ahead] / step[ahead]), np.abs(step[ahead]), strict=True))


@pytest.mark.parametrize("kind", ["spread", "tied", "at once", "far apart"])
@pytest.mark.parametrize("most", [np.inf, 0.4])
def test_the_long_step_ends_where_the_sum_stops_to_fall(kind: str, most: float) -> None:
    rng = np.random.default_rng(5)
    met = {True: 0, False: 0}
    for _ in range(200):
        n = int(rng.integers(1, 400))
        s, step = rng.normal(size=n), rng.normal(size=n)
        if kind == "tied":
            s, step = rng.integers(-2, 3, n).astype(float), rng.integers(-2, 3, n).astype(float)
        elif kind == "at once":
            s[:] = 0.0
        elif kind == "far apart":
            s *= 10.0 ** rng.uniform(-9, 9, n)
        delta = np.where(s >= 0, 0.5, -0.5)
        known = [kink for kink in in_order(s, step, delta) if kink[0] <= most]
        p: Program = _program(2, n, 3)
        p.step[:] = step
        slope = -float(rng.uniform(0.01, 1.2)) * sum(size for _, size in in_order(s, step, delta))
        place, way = go(s, delta, p, 1, most, slope - 1e-3)
        steeper = np.cumsum([size for _, size in known]) + slope - 1e-3
        met[place >= 0] += 1
        if place < 0:
            assert way == most
            assert not known or steeper[-1] < 1e-12
            continue
        assert way == pytest.approx(known[int(np.argmax(steeper >= 0.0))][0], abs=1e-15)
        assert abs(s[place]) == pytest.approx(way * abs(step[place]))
        passed = p.ratio < way
        before = slope - 1e-3 + np.abs(step[passed]).sum()
        assert before < 1e-12  # it still falls before that kink, and not after it
        assert before + abs(step[place]) > -1e-12
    assert min(met.values()) > 20
