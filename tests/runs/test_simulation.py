"""Simulated schedules against closed forms."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byways.runs import Result, Task
from byways.runs._simulation import TimedTask, merged, recorded, simulate

SECONDS = st.lists(st.integers(1, 20), min_size=1, max_size=12)


def timed(seconds: list[int]) -> list[TimedTask]:
    return [TimedTask(str(i), float(s)) for i, s in enumerate(seconds)]


def binary(depth: int, key: str = "r") -> list[TimedTask]:
    """A task of a second that leaves two, and so on."""
    if depth == 0:
        return [TimedTask(key, 1.0)]
    halves = [*binary(depth - 1, key + "0"), *binary(depth - 1, key + "1")]
    return [TimedTask(key, 1.0, (key + "0", key + "1")), *halves]


@given(count=st.integers(0, 40), workers=st.integers(1, 50))
def test_equal_tasks_go_in_rounds(count: int, workers: int) -> None:
    for static in (False, True):
        schedule = simulate(timed([3] * count), workers, static=static)
        assert schedule.makespan == 3 * math.ceil(count / workers)
        assert schedule.work == 3 * count


@given(seconds=SECONDS)
def test_one_worker_takes_the_sum_and_many_the_longest(seconds: list[int]) -> None:
    for static in (False, True):
        alone = simulate(timed(seconds), 1, static=static, latency=0.5)
        assert alone.makespan == sum(seconds) + 0.5 * len(seconds)
        crowd = simulate(timed(seconds), 1000, static=static, latency=0.5)
        assert crowd.makespan == max(seconds) + 0.5


@given(seconds=SECONDS, workers=st.integers(1, 5))
def test_bounds_of_graham(seconds: list[int], workers: int) -> None:
    """Graham (1966): a list schedule is below work / w + (1 - 1 / w) longest."""
    least = max(sum(seconds) / workers, max(seconds))
    makespan = simulate(timed(seconds), workers).makespan
    assert least <= makespan <= sum(seconds) / workers + (1 - 1 / workers) * max(seconds) + 1e-9
    assert simulate(timed(seconds), workers, static=True).makespan >= least


def test_the_best_order_is_optimal_for_two_workers() -> None:
    seconds = [7, 5, 4, 4, 3, 2]
    best = min(
        max(sum(seconds[i] for i in side), 25 - sum(seconds[i] for i in side))
        for n in range(7)
        for side in [p for p in permutations(range(6), n) if list(p) == sorted(p)]
    )
    found = min(simulate(timed(list(p)), 2).makespan for p in permutations(seconds))
    assert found == best == 13


def test_static_loses_where_long_tasks_meet() -> None:
    assert simulate(timed([3, 1, 3, 1]), 2, static=True).makespan == 6
    assert simulate(timed([3, 1, 3, 1]), 2).makespan == 4


@pytest.mark.parametrize("depth", range(7))
def test_a_tree_that_splits_itself(depth: int) -> None:
    tasks = binary(depth)
    assert simulate(tasks, 1).makespan == 2 ** (depth + 1) - 1
    assert simulate(tasks, 2**depth).makespan == depth + 1  # level by level
    assert simulate(tasks, 2**depth).efficiency == pytest.approx(
        (2 ** (depth + 1) - 1) / ((depth + 1) * 2**depth)
    )
    # What is left stays with the worker that was dealt the root.
    assert simulate(tasks, 8, static=True).makespan == 2 ** (depth + 1) - 1
    assert merged(tasks) == [TimedTask("r", 2 ** (depth + 1) - 1)]
    if depth:
        assert [t.seconds for t in merged(tasks, ["r0", "r1"])] == [2**depth - 1] * 2


def test_times_of_results() -> None:
    results = [Result("a", 2.0, rest=[Task("b", {})]), Result("b", 3.0)]
    assert recorded(results) == [TimedTask("a", 2.0, ("b",)), TimedTask("b", 3.0)]


def test_nothing_takes_no_time() -> None:
    schedule = simulate([], 3)
    assert (schedule.makespan, schedule.work, schedule.speed_up) == (0.0, 0.0, 1.0)


def test_refused() -> None:
    with pytest.raises(ValueError, match=r'"workers" was 0; it must be at least 1'):
        simulate([], 0)
    with pytest.raises(ValueError, match=r'"latency" was -1; it must be at least 0 seconds'):
        simulate([], 1, latency=-1)
    with pytest.raises(ValueError, match="\"tasks\" lacks 'b', which another left"):
        simulate([TimedTask("a", 1.0, ("b",))], 1)
