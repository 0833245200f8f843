from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from byways.core.compiled import borrowing_entry
from byways.regions._wide_nodes import ask_less
from byways.regions._wide_oracle import Curvature, climb, evaluate, newton

W_ROWS, INPUTS = 8, 64


@borrowing_entry
def step(W, t, negative, u, s, z, curvature, du):
    newton(W, t, negative, u, s, z, curvature, du, 1e-8)
    return 0.0


@borrowing_entry
def go(W, centre, t, negative, u, du, s, ds, delta, z):
    return climb(W, centre, t, negative, u, du, s, ds, delta, z)


@borrowing_entry
def value_at(W, centre, u, t, s, delta, z):
    return evaluate(W, centre, u, t, s, delta, z)


def dual(W: np.ndarray, gap: np.ndarray, u: np.ndarray) -> float:
    """The dual value, from its formula."""
    size = np.abs(u @ W)
    return float(u @ gap - np.where(size <= 0.5, size**2 / 2, size / 2 - 0.125).sum())


def case(seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(W_ROWS, INPUTS))
    centre = rng.normal(size=W_ROWS)
    return rng, W, centre, centre + 0.4 * W @ rng.uniform(-1, 1, INPUTS)


def test_the_curvature_is_that_of_the_columns_inside() -> None:
    rng, W, centre, t = case(0)
    curvature, negative = Curvature.of(W), np.zeros(W_ROWS, dtype=np.bool_)
    for _ in range(50):
        u = rng.normal(size=W_ROWS) * rng.choice([0.01, 0.1, 1.0])
        s, z, du = u @ W, centre.copy(), np.zeros(W_ROWS)
        step(W, t, negative, u, s, z, curvature, du)
        inside = W[:, np.abs(s) < 0.5]
        expected = inside @ inside.T
        assert np.tril(curvature.total) == pytest.approx(np.tril(expected), abs=1e-11)
        if np.linalg.matrix_rank(expected) == W_ROWS and np.linalg.cond(expected) < 1e4:
            ridge = 1e-8 * np.trace(expected) / W_ROWS
            exact = np.linalg.solve(expected + ridge * np.eye(W_ROWS), t - z)
            assert du == pytest.approx(exact, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_a_step_ends_where_the_dual_value_is_largest(seed: int) -> None:
    rng, W, centre, t = case(seed)
    u, negative = 0.05 * rng.normal(size=W_ROWS), rng.random(W_ROWS) < 0.4
    u[negative] = -np.abs(u[negative])
    s, delta, z, ds = np.zeros(INPUTS), np.zeros(INPUTS), np.zeros(W_ROWS), np.zeros(INPUTS)
    before, _, _ = value_at(W, centre, u, t, s, delta, z)
    assert before == pytest.approx(dual(W, t - centre, u))
    start, du = u.copy(), t - z  # the gradient
    way = du.copy()
    after, lift, support = go(W, centre, t, negative, u, du, s, ds, delta, z)
    assert after > before
    assert after == pytest.approx(dual(W, t - centre, u))
    assert (lift, support) == pytest.approx((u @ (t - centre), np.abs(u @ W).sum() / 2))
    assert (u[negative] <= 0.0).all()
    assert z == pytest.approx(centre + W @ np.clip(u @ W, -0.5, 0.5))
    # The bent way: pulls on negative rows stop at zero, where the way crosses it first.
    along = [np.where(negative, np.minimum(start + a * way, 0.0), start + a * way)
             for a in np.linspace(0.0, 20.0, 20_001)]  # fmt: skip
    values = np.array([dual(W, t - centre, v) for v in along])
    first_peak = values[: np.flatnonzero(np.diff(values) < 0)[0] + 1].max()
    assert after - before >= 0.9 * (first_peak - before)


def test_steps_that_are_no_numbers_are_not_taken() -> None:
    _, W, centre, t = case(1)
    negative = np.zeros(W_ROWS, dtype=np.bool_)
    for bad in np.nan, np.inf, 1e200:
        u, s, delta, z = np.zeros(W_ROWS), np.zeros(INPUTS), np.zeros(INPUTS), np.zeros(W_ROWS)
        value_at(W, centre, u, t, s, delta, z)
        found, _, _ = go(
            W, centre, t, negative, u, np.full(W_ROWS, bad), s, np.zeros(INPUTS), delta, z
        )
        assert found == -np.inf
        assert (u == 0.0).all()
        assert (s == 0.0).all()


def test_all_columns_clipped_gives_a_finite_step() -> None:
    _, W, centre, t = case(2)
    negative, curvature = np.zeros(W_ROWS, dtype=np.bool_), Curvature.of(W)
    u, delta, z, du = np.full(W_ROWS, 1e4), np.zeros(INPUTS), np.zeros(W_ROWS), np.zeros(W_ROWS)
    s, ds = np.zeros(INPUTS), np.zeros(INPUTS)
    before, _, _ = value_at(W, centre, u, t, s, delta, z)
    assert (np.abs(s) > 0.5).all()
    step(W, t, negative, u, s, z, curvature, du)
    assert np.isfinite(du).all()
    after, _, _ = go(W, centre, t, negative, u, du, s, ds, delta, z)
    assert after > before


class Room(NamedTuple):
    """What the kernel takes of a tree."""

    u: np.ndarray
    target: np.ndarray
    negative: np.ndarray


@borrowing_entry
def less(room, value, lift, support):
    return ask_less(room, value, lift, support)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_negative_rows_are_asked_for_half_of_what_is_not_refuted(share: float) -> None:
    room = Room(
        u=np.array([-2.0, 3.0, -1.0, 0.0, 4.0]),
        target=np.array([-0.1, 7.0, -0.3, -0.2, 8.0]),
        negative=np.array([True, False, True, True, False]),
    )
    # The pulls lift by 0.5; where the support is ``share`` of that above the rest, so much of what
    # is asked for is not refuted, and half of it stays.
    support = 1.5 + 0.5 * share
    value, lift = less(room, 1.5, 2.0, support)
    half = 0.5 * share
    expected = [-0.1 * half, 7.0, -0.3 * half, -0.2 * half, 8.0]
    assert room.target == pytest.approx(np.array(expected))
    assert (value, lift) == pytest.approx((1.0 + 0.5 * half, 1.5 + 0.5 * half))
    assert lift <= support
