"""Degenerate questions, the normal case: each trap once for every engine."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from byways.core.activations import PiecewiseLinear, absolute, hardtanh, relu
from byways.core.domains import Box, Polytope
from byways.regions._domains import Domain, Slice, WholeSpace
from byways.regions._engine import Order
from tests.oracles.counts import (
    CENTRAL,
    GENERIC,
    PUBLISHED,
    PUBLISHED_LARGE,
    folded_regions,
)
from tests.oracles.patterns import sign_patterns_by_lp
from tests.regions.engines import ENGINES, FASTEST, Engine, Pairs, check, problem_of, walk

SQUARE = Box([-1.0, -1.0], [1.0, 1.0])
CUBE = Box([-1.0] * 3, [1.0] * 3)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """``cells`` are how many there are, ``leaves`` which, if they are few."""

    name: str
    pairs: Pairs
    domain: Domain
    cells: int
    leaves: frozenset[tuple[int, ...]] | None = None
    activation: PiecewiseLinear = relu


def listed(name: str, pairs: Pairs, domain: Domain, *leaves: str, **more: Any) -> Case:
    bits = frozenset(tuple(int(c) for c in leaf) for leaf in leaves)
    return Case(name, pairs, domain, len(bits), bits, **more)


def layer(*rows: tuple[float, ...]) -> tuple[list[Any], list[float]]:
    """Write a layer as rows (w_1, .., w_n, bias)."""
    return [row[:-1] for row in rows], [row[-1] for row in rows]


SMALL = [
    Case(
        "duplicates and a zero row",
        [([(1, 0), (1, 0), (0, 1), (0, 0)], [0, -0.5, 0, 1])],
        SQUARE,
        6,
    ),
    Case("proportional rows", [([(1, 0), (2, 0), (0, 1)], [0, 0, 0])], SQUARE, 4),
    listed("equal rows", [layer((1, 2, 0.5), (1, 2, 0.5))], SQUARE, "00", "11"),
    listed("equal after scaling", [layer((0.1, 0.3, 0.1), (0.7, 2.1, 0.7))], SQUARE, "00", "11"),
    listed("opposite rows", [layer((1, 0, 0), (-1, 0, 0))], SQUARE, "01", "10"),
    listed("opposite rows, a strip", [layer((1, 0, 0.5), (-1, 0, 0.5))], SQUARE, "01", "11", "10"),
    listed("on the facets", [layer((1, 0, -1), (1, 0, 1), (-1, 0, 1), (0, 1, 1))], SQUARE, "0111"),
    listed("at a corner", [layer((1, 1, -2), (1, 1, 2), (-1, -1, 2), (-1, 1, -2))], SQUARE, "0110"),
    listed("through two corners", [layer((1, 1, 0))], SQUARE, "0", "1"),
    Case("diagonals and axes", [([(1, 1), (1, -1), (1, 0), (0, 1)], [0] * 4)], SQUARE, 8),
    listed("constants", [layer((0, 0, 0), (0, 0, 1), (0, 0, -1))], SQUARE, "010"),
    listed("dead layer", [layer((0, 0, -1)), layer((5, 0), (5, 1))], SQUARE, "001"),
    listed("zero on a cell", [layer((1, 0, 0)), layer((1, 0))], SQUARE, "00", "11"),
    listed("zero, else negative", [layer((1, 0, 0)), layer((-1, 0))], SQUARE, "00", "10"),
    listed(
        "touches a cell at a vertex",
        [layer((1, 0, 0), (0, 1, 0)), layer((1, 1, 0))],
        SQUARE,
        *("000", "101", "011", "111"),
    ),
    listed(
        "touches a cell at the far vertex",
        [layer((1, 0, 0), (0, 1, 0)), layer((1, 1, -2))],
        SQUARE,
        *("000", "100", "010", "110"),
    ),
    listed(
        "splits one cell of four",
        [layer((1, 0, 0), (0, 1, 0)), layer((1, -1, 0))],
        SQUARE,
        *("000", "101", "010", "110", "111"),
    ),
    listed(
        "touches at a facet of the domain",
        [layer((1, 0, 0), (0, 1, 0)), layer((1, 0, -1))],
        SQUARE,
        *("000", "100", "010", "110"),
    ),
    listed("thresholds on the facets", [layer((1, 0, 0))], SQUARE, "10", activation=hardtanh()),
    Case(
        "thresholds that coincide",
        [layer((2, 0, 0), (2, 0, 2), (0, 1, 0))],
        Box([-3.0, -3.0], [3.0, 3.0]),
        12,  # x cut at -1.5, -0.5, 0.5 and y at -1, 1; the second unit shares x = -0.5
        activation=hardtanh(),
    ),
    listed(
        "both sides alike",
        [layer((1, 0, 0)), layer((1, -0.5))],
        SQUARE,
        *("00", "01", "10", "11"),
        activation=absolute,
    ),
    listed("edge of a cube", [layer((1, 1, 0, -2), (1, 1, 0, 2))], CUBE, "01"),
    listed("vertex of a cube", [layer((1, 1, 1, -3), (-1, -1, -1, 3))], CUBE, "01"),
    listed("through three vertices", [layer((1, 1, 1, -1))], CUBE, "0", "1"),
    Case("eight planes of a cube", [([*itertools.product((1, -1), repeat=3)], [0] * 8)], CUBE, 14),
    listed(
        "one coordinate",
        [layer((1, 0), (2, 0), (-1, 0), (1, 1), (1, -1))],
        Box([-1.0], [1.0]),
        *("00110", "11010"),
    ),
    listed(
        "border of a polytope",
        [layer((1, 1, -1), (1, 0, 0))],
        Polytope([[1.0, 1.0]], [1.0], SQUARE),
        "00",
        "01",
    ),
    listed(
        "touches a polytope",
        [layer((1, 0, -1), (1, 1, 0))],
        Polytope([[1.0, 1.0], [1.0, -1.0]], [1.0, 1.0], Box([-3.0, -3.0], [3.0, 3.0])),
        *("00", "01"),
    ),
    listed(
        "along a slice",
        [layer((0, 0, 1, 0), (0, 0, 1, -1), (1, 0, 0, 0))],
        Slice([0.0, 0.0, 0.0], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 1.0),
        "000",
        "001",
    ),
    listed("flat side", [layer((1, 1, -1), (0, 1, -1))], Box([-1.0, 1.0], [1.0, 1.0]), "00", "10"),
]


def differences(n: int, shifts: tuple[float, ...]) -> Pairs:
    """Hyperplanes x_i - x_j = s for i < j."""
    rows = [
        (*(np.eye(n)[i] - np.eye(n)[j]), -s)
        for i, j in itertools.combinations(range(n), 2)
        for s in shifts
    ]
    return [layer(*rows)]


def type_b(n: int) -> Pairs:
    axes = np.eye(n)
    pairs = itertools.combinations(range(n), 2)
    mixed = [axes[i] + s * axes[j] for i, j in pairs for s in (1, -1)]
    return [(np.array([*axes, *mixed]), np.zeros(n * n))]


def resonance(n: int) -> Pairs:
    rows = [row for row in itertools.product((0.0, 1.0), repeat=n) if any(row)]
    return [(np.array(rows), np.zeros(len(rows)))]


def threshold(n: int) -> Pairs:
    rows = [(1.0, *row) for row in itertools.product((0.0, 1.0), repeat=n)]
    return [(np.array(rows), np.zeros(len(rows)))]


def family(name: str, n: int, pairs: Pairs) -> Case:
    cells = {**PUBLISHED, **PUBLISHED_LARGE}[name, n]
    return Case(f"{name} {n}", pairs, WholeSpace(len(pairs[0][0][0])), cells)


FAMILIES = [
    *(family("braid", n, differences(n, (0,))) for n in (3, 4, 5, 6)),
    *(family("type_b", n, type_b(n)) for n in (2, 3, 4, 5)),
    *(family("shi", n, differences(n, (0, 1))) for n in (3, 4, 5)),
    *(family("catalan", n, differences(n, (-1, 0, 1))) for n in (3, 4)),
    *(family("linial", n, differences(n, (1,))) for n in (3, 4, 5)),
    *(family("resonance", n, resonance(n)) for n in (2, 3, 4, 5)),
    *(family("threshold", n, threshold(n)) for n in (2, 3, 4)),
]


def in_a_box(case: Case) -> Case:
    """Central arrangements have the same cells in any box around the origin."""
    d = len(case.pairs[0][0][0])
    return Case(f"{case.name} in a box", case.pairs, Box([-1.0] * d, [1.0] * d), case.cells)


BOXED = [
    in_a_box(case)
    for case in FAMILIES
    if case.name in {"braid 3", "braid 4", "type_b 2", "type_b 3", "resonance 2", "resonance 4"}
]


def random_rows(n: int, d: int, central: bool) -> Case:
    rng = np.random.default_rng([n, d])
    cells = CENTRAL[d, n] if central else GENERIC[d, n]
    name = f"{'central' if central else 'generic'} {n} in {d} dimensions"
    rows = rng.normal(size=(n, d)), np.zeros(n) if central else rng.normal(size=n)
    return Case(name, [rows], WholeSpace(d), cells)


def folding(p: int, depth: int, d: int) -> Case:
    """Fold [0, 1] into p pieces, ``depth`` times, for d coordinates side by side.

    g(x) = p relu(x) + sum over i of (-1)^i 2 p relu(x - i / p): up and down between 0 and 1.
    """
    outer = p * np.array([1.0, *(2.0 * (-1.0) ** i for i in range(1, p))])
    first = np.kron(np.eye(d), np.ones((p, 1)))
    later = np.kron(np.eye(d), np.outer(np.ones(p), outer))
    bias = -np.tile(np.arange(p) / p, d)
    pairs = [(first, bias), *[(later, bias)] * (depth - 1)]
    name = f"{p} folds, {depth} layers, {d} coordinates"
    return Case(name, pairs, Box([0.0] * d, [1.0] * d), folded_regions(p, depth, d))


def pencil(n: int) -> Case:
    angles = np.pi * np.arange(n) / n
    rows = np.column_stack([np.cos(angles), np.sin(angles)])
    return Case(f"{n} lines through a point", [(rows, np.zeros(n))], SQUARE, 2 * n)


def corner_pencil(n: int) -> Case:
    """Lines through the corner (-1, -1): slopes k and 1 / k, and the two sides themselves."""
    rows = [(k, -1.0, k - 1.0) for k in range(n + 1)] + [(-1.0, k, k - 1.0) for k in range(n + 1)]
    # k = 1 twice is one line, k = 0 a side of the square
    return Case(f"{2 * n} lines through a corner", [layer(*rows)], SQUARE, 2 * n)


def axis_pencil(n: int) -> Case:
    """Planes through the third axis, and one across."""
    rows = [(1.0, float(k), 0.0, 0.0) for k in range(n)]
    return Case(f"{n} planes through a line", [layer(*rows, (0, 0, 1, 0))], CUBE, 4 * n)


def tangents(n: int) -> Case:
    """Tangents of a circle, n odd: any two meet, never three; the middle cell has n corners."""
    angles = 2 * np.pi * np.arange(n) / n
    rows = -np.column_stack([np.cos(angles), np.sin(angles)])
    cells = 1 + n + n * (n - 1) // 2
    return Case(f"{n} tangents", [(rows, np.ones(n))], Box([-1e3, -1e3], [1e3, 1e3]), cells)


LARGER = [
    *(random_rows(n, d, central=True) for d, n in CENTRAL),
    *(random_rows(n, d, central=False) for d, n in [(2, 10), (3, 12), (4, 14), (5, 16)]),
    *(folding(*sizes) for sizes in [(2, 5, 1), (3, 3, 1), (2, 3, 2), (3, 3, 2), (2, 3, 3)]),
    *(pencil(n) for n in (3, 8, 31)),
    corner_pencil(9),
    axis_pencil(12),
    *(tangents(n) for n in (7, 19, 71)),
]


def every(cases: list[Case]) -> pytest.MarkDecorator:
    """Pair cases with the engines that can take them."""
    pairs = []
    for case, engine in itertools.product(cases, ENGINES):
        problem, _ = problem_of(case.pairs, case.domain, case.activation)
        if engine.takes(problem, case.cells):
            pairs.append(pytest.param(engine, case, id=f"{engine.name}: {case.name}"))
    return pytest.mark.parametrize(("engine", "case"), pairs)


@every([*SMALL, *BOXED, *FAMILIES, *LARGER])
def test_cells_are_those_of_the_books(engine: Engine, case: Case) -> None:
    problem, chain = problem_of(case.pairs, case.domain, case.activation)
    found = walk(engine, problem)
    assert len(found.bits) == case.cells
    if case.leaves is not None:
        assert found.leaves == case.leaves
    check(found, problem, chain)


HUGE = [
    *(family("braid", n, differences(n, (0,))) for n in (7, 8)),
    family("catalan", 5, differences(5, (-1, 0, 1))),
    family("resonance", 6, resonance(6)),
    family("threshold", 5, threshold(5)),
    *(random_rows(n, d, central=False) for d, n in [(4, 20), (6, 16), (8, 16)]),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", HUGE, ids=lambda case: case.name)
def test_larger_counts_are_those_of_the_books(case: Case) -> None:
    problem, _ = problem_of(case.pairs, case.domain)
    running = FASTEST.start(problem, Order(np.zeros(0, dtype=np.uint8), None, False, False))
    found = 0
    while not running.finished:
        found += running.advance(10**6, 10**9).leaves
    assert found == case.cells


SIGNS_BY_BRUTE_FORCE = [
    case
    for case in [*SMALL, *BOXED, pencil(3), folding(2, 3, 1), folding(2, 2, 2), folding(3, 2, 1)]
    if isinstance(case.domain, Box) and case.activation is relu and case.cells <= 30
    if not case.domain.flat_axes.size
]


@every(SIGNS_BY_BRUTE_FORCE)
def test_signs_are_those_of_one_program_per_candidate(engine: Engine, case: Case) -> None:
    problem, _ = problem_of(case.pairs, case.domain)
    sides = (case.domain.lower, case.domain.upper) if isinstance(case.domain, Box) else None
    expected = sign_patterns_by_lp(
        [np.array(W, dtype=float) for W, _ in case.pairs], [b for _, b in case.pairs], sides
    )
    assert walk(engine, problem).leaves == expected


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
class TestThinCells:
    def test_thin_strip_is_a_cell(self, engine: Engine) -> None:
        problem, chain = problem_of([layer((1, 1, 0), (1, 1, -1e-6))], SQUARE)
        found = walk(engine, problem)
        assert found.leaves == {(0, 0), (1, 0), (1, 1)}
        assert found.walk.ambiguous == 0
        check(found, problem, chain)

    def test_strip_below_the_tolerance_is_counted_not_found(self, engine: Engine) -> None:
        problem, chain = problem_of([layer((1, 1, 0), (1, 1, -1e-12))], SQUARE)
        found = walk(engine, problem)
        assert found.leaves == {(0, 0), (1, 1)}
        assert found.walk.ambiguous >= 1
        check(found, problem, chain)

    def test_tolerance_decides(self, engine: Engine) -> None:
        problem, _ = problem_of([layer((1, 1, 0), (1, 1, -1e-6))], SQUARE)
        found = walk(engine, problem, tolerance=1e-5)
        assert found.leaves == {(0, 0), (1, 1)}
        assert found.walk.ambiguous >= 1

    def test_tiny_triangle_is_a_cell(self, engine: Engine) -> None:
        rows = layer((1, 0, 0), (0, 1, 0), (-1, -1, 1e-6))  # its area is 5e-13
        problem, chain = problem_of([rows], SQUARE)
        found = walk(engine, problem)
        assert found.leaves == set(itertools.product((0, 1), repeat=3)) - {(0, 0, 0)}
        check(found, problem, chain)

    def test_triangle_below_the_tolerance_is_counted_not_found(self, engine: Engine) -> None:
        rows = layer((1, 0, 0), (0, 1, 0), (-1, -1, 1e-12))
        problem, chain = problem_of([rows], SQUARE)
        found = walk(engine, problem)
        assert found.leaves == set(itertools.product((0, 1), repeat=3)) - {(0, 0, 0), (1, 1, 1)}
        assert found.walk.ambiguous >= 1
        check(found, problem, chain)

    def test_exact_degeneracy_is_not_ambiguous(self, engine: Engine) -> None:
        pairs = [
            layer((1, 0, 0), (0, 1, 0), (1, 0, 0), (0, 2, 0), (-1, 0, 1)),
            layer(*np.eye(5, 6)),
        ]
        problem, chain = problem_of(pairs, SQUARE)
        found = walk(engine, problem)
        assert found.walk.ambiguous == 0
        check(found, problem, chain)


PARTED = [folding(2, 2, 2), folding(3, 2, 1), SMALL[0], SMALL[10], in_a_box(FAMILIES[0])]


@every(PARTED)
def test_prefixes_of_any_depth_part_the_tree(engine: Engine, case: Case) -> None:
    problem, _ = problem_of(case.pairs, case.domain)
    whole = walk(engine, problem)
    for stop in range(problem.decisions + 1):
        trunk = walk(engine, problem, stop=stop)
        assert (trunk.bits[:, stop:] == 0).all()
        counts = trunk.walk.layer_counts.copy()
        leaves = []
        for prefix in trunk.bits[:, :stop]:
            part = walk(engine, problem, prefix=prefix.tolist())
            assert (part.bits[:, :stop] == prefix).all()
            counts += part.walk.layer_counts
            leaves.append(part.bits)
        assert np.array_equal(np.concatenate(leaves), whole.bits)
        assert counts.tolist() == whole.walk.layer_counts.tolist()


@every(PARTED)
def test_an_empty_prefix_has_no_leaves(engine: Engine, case: Case) -> None:
    problem, _ = problem_of(case.pairs, case.domain)
    alive = walk(engine, problem).leaves
    for bits in itertools.islice(itertools.product((0, 1), repeat=problem.decisions), 64):
        found = walk(engine, problem, prefix=bits)
        assert found.leaves == ({bits} & alive)
        assert found.walk.finished
        assert found.walk.explored == pytest.approx(1.0)
