"""The engines that enumerate, what each can take, and how to put a question to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from byways.core.activations import PiecewiseLinear, relu
from byways.core.chain import LayerChain
from byways.regions._domains import Domain
from byways.regions._engine import MOST_COORDINATES, Order, Walk
from byways.regions._layerwise import LayerwiseWalk
from byways.regions._problem import Problem
from byways.regions._signs import unpack
from byways.regions._simplex import SimplexWalk
from byways.regions._vertices import VerticesWalk
from byways.regions._wide import WideWalk
from byways.regions._wide_space import misfit

Pairs = Sequence[tuple[Any, Any]]
Bits = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Engine:
    """``most`` is the number of cells that it finds in well under two seconds."""

    name: str
    start: Callable[[Problem, Order], Walk]
    most: int
    dims: int | None = None  # bounded coordinates only
    wide: bool = False

    def takes(self, problem: Problem, cells: int) -> bool:
        fits = self.dims is None or (problem.dim <= self.dims and not problem.free.any())
        fits &= not self.wide or not misfit(problem, 1e-9)
        return fits and cells <= self.most


ENGINES = (
    Engine("lp", LayerwiseWalk, most=400),
    Engine("simplex", SimplexWalk, most=50_000),
    Engine("vertices", VerticesWalk, most=50_000, dims=MOST_COORDINATES),
    Engine("wide", WideWalk, most=400, wide=True),
)
FASTEST = ENGINES[1]  # in any number of dimensions


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """All leaves of a walk: bits in lexicographic order, and their points."""

    bits: np.ndarray
    points: np.ndarray
    walk: Walk

    @property
    def leaves(self) -> set[Bits]:
        return {tuple(row) for row in self.bits.tolist()}


def problem_of(
    pairs: Pairs, domain: Domain, activation: PiecewiseLinear = relu
) -> tuple[Problem, LayerChain]:
    """Make hidden layers of the pairs (W, b), with a summing layer behind them."""
    arrays = [(np.array(W, dtype=float), np.array(b, dtype=float)) for W, b in pairs]
    last = (np.ones((1, len(arrays[-1][1]))), np.zeros(1))
    chain = LayerChain.from_arrays([*arrays, last], activation=activation)
    return Problem.of(chain, domain), chain


def walk(
    engine: Engine,
    problem: Problem,
    prefix: Sequence[int] = (),
    stop: int | None = None,
    tolerance: float = 1e-9,
    leaves: int = 1000,
    work: int = 10**9,
) -> Found:
    """Let an engine finish, ``leaves`` at a time."""
    order = Order(np.array(prefix, dtype=np.uint8), stop, tolerance=tolerance)
    running = engine.start(problem, order)
    words, points = [], []
    while not running.finished:
        batch = running.advance(leaves, work)
        assert batch.leaves == len(batch.words) == len(batch.points)
        words.append(batch.words)
        points.append(batch.points)
    count = sum(len(batch) for batch in words)
    bits = np.zeros((0, problem.decisions), dtype=np.uint8)
    if count:
        bits = unpack(np.concatenate(words), problem.decisions)
    inside = np.concatenate(points) if points else np.zeros((0, problem.dim))
    order_of_bits = np.lexsort(bits.T[::-1]) if bits.size else np.arange(count)
    return Found(bits[order_of_bits], inside[order_of_bits], running)


def check(found: Found, problem: Problem, chain: LayerChain) -> None:
    """Check what holds for every finished walk over the whole tree."""
    assert len(found.leaves) == len(found.bits), "a cell was found twice"
    assert found.walk.explored == pytest.approx(1.0)
    counts = found.walk.layer_counts.tolist()
    assert counts == sorted(counts), "cells of a deeper layer refine those before"
    assert counts == [
        len({tuple(row) for row in found.bits[:, :end].tolist()}) for end in problem.ends
    ]
    check_points(found, problem, chain)


def check_points(found: Found, problem: Problem, chain: LayerChain) -> None:
    """Check that each point lies inside the open domain and that the network says the same there.

    Rows of the cell are compared with zero rather than the network's own values, which are rounded:
    a unit that is zero on the cell may come out of a forward pass as 1e-17.
    """
    points = found.points
    assert np.isfinite(points).all()
    bounded = points[:, ~problem.free]
    assert (bounded > 0).all()
    assert (bounded < 1).all()
    assert (problem.domain_rows[:, :1] + problem.domain_rows[:, 1:] @ points.T > 0).all()
    stride = 1 + len(points) // 500
    for bits, point in zip(found.bits[::stride], points[::stride], strict=True):
        rows = problem.cell_rows(bits)
        varying = rows[:, 1:].any(axis=1)
        assert (rows[varying, 0] + rows[varying, 1:] @ point > 0).all()
    assert_same_segments(found, problem, chain)


def assert_same_segments(found: Found, problem: Problem, chain: LayerChain) -> None:
    """Compare segments with those of a forward pass where no value is too close to a breakpoint."""
    inputs = problem.embed(found.points)
    expected = problem.segments(found.bits)
    values = chain.pre_activations(inputs)
    gaps = [
        np.abs(z[..., None] - np.array(layer.activation.breakpoints)).min(axis=-1)
        for z, layer in zip(values, chain.layers, strict=True)
        if layer.activation.breakpoints
    ]
    sure = np.concatenate(gaps, axis=-1) > 1e-12
    assert (chain.segments(inputs)[sure] == expected[sure]).all()
