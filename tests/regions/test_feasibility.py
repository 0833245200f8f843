from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from byways.core.errors import MissingDependencyError, SolverError
from byways.regions import _feasibility
from byways.regions._feasibility import (
    PORTS,
    GurobiPort,
    HighsPort,
    Port,
    ScipyPort,
    deepest_point,
    port,
)

ROOT = np.sqrt(2.0)
EVERY_PORT = pytest.mark.parametrize("name", PORTS)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Rows (constant, coefficients) whose deepest margin is known from geometry.

    ``point`` is the deepest point where there is only one.
    """

    name: str
    rows: list[tuple[float, ...]]
    margin: float
    free: str
    domain_rows: tuple[tuple[float, ...], ...] = ()
    point: tuple[float, ...] | None = None

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        size = len(self.free) + 1
        rows = np.array(self.rows, dtype=float).reshape(-1, size)
        domain_rows = np.array(self.domain_rows, dtype=float).reshape(-1, size)
        return rows, domain_rows, np.array([letter == "f" for letter in self.free])


def cube(d: int, radius: float, middle: float) -> list[tuple[float, ...]]:
    """The cube around (middle, .., middle); its deepest margin is the radius."""
    sides = np.eye(d)
    return [(radius - s * middle, *(s * side)) for side in sides for s in (1.0, -1.0)]


def simplex(d: int) -> list[tuple[float, ...]]:
    """x >= 0, sum x <= 1: the radius r of the ball inside solves d r + sqrt(d) r = 1."""
    tilted = np.full(d, -1.0) / np.sqrt(d)
    return [*((0.0, *row) for row in np.eye(d)), (1.0 / np.sqrt(d), *tilted)]


def thin(width: float) -> list[tuple[float, ...]]:
    return [(-0.25, 1.0, 0.0), (0.25 + width, -1.0, 0.0)]


PROBLEMS = [
    Known("empty", [(-0.7, 1.0, 0.0), (0.2, -1.0, 0.0)], -0.25, "bb"),
    Known("empty in a corner", [(-2.0 / ROOT - 0.5, 1 / ROOT, 1 / ROOT)], -0.5, "bb", (), (1, 1)),
    Known("touching a facet", [(0.0, -1.0, 0.0)], 0.0, "bb"),
    Known("touching a corner", [(-ROOT, 1 / ROOT, 1 / ROOT)], 0.0, "bb", (), (1, 1)),
    Known("a hyperplane", [(-0.5, 1.0, 0.0), (0.5, -1.0, 0.0)], 0.0, "bb"),
    Known("no rows", [], 1.0, "bb"),
    Known("full, margin cut off", [(5.0, 1.0, 0.0)], 1.0, "bb"),
    Known("full", [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0)], 1.0, "bb", (), (1, 1)),
    Known("thin", thin(1e-7), 5e-8, "bb"),
    Known("thinner", thin(1e-8), 5e-9, "bb"),
    Known(
        "degenerate", [*cube(2, 0.25, 0.5) * 3, (0.25 - 1 / ROOT, 1 / ROOT, 1 / ROOT)], 0.25, "bb"
    ),
    Known("cone", [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.6, -0.8)], 1.0, "ff"),
    Known("triangle", simplex(2), 1 / (2 + ROOT), "ff", (), (1 / (2 + ROOT),) * 2),
    Known("free strip", [(0.1, 1.0, 0.0), (0.1, -1.0, 0.0)], 0.1, "ff"),
    Known("free, empty", [(-1.0, 1.0, 0.0), (-1.0, -1.0, 0.0)], -1.0, "ff"),
    Known("half bounded", [(0.0, -0.6, 0.8), (0.0, 0.0, -1.0)], 0.0, "bf"),
    Known("far away", [(-1000.0, 1.0), (1000.5, -1.0)], 0.25, "f", (), (1000.25,)),
    Known("domain rows do not count", [(-0.5, 1.0, 0.0)], 0.5, "bb", ((0.0, 0.0, -1.0),), (1, 0)),
    Known("domain rows bind", [(0.0, 1.0, 0.0)], 0.25, "bb", ((0.25, -1.0, 0.0),)),
    Known("domain touched", [(-0.25, 1.0, 0.0)], 0.0, "bb", ((0.25, -1.0, 0.0),)),
    Known("domain empty", [(0.0, 1.0, 0.0)], -np.inf, "bb", ((-2.0, 1.0, 0.0),)),
    Known("larger cube", cube(30, 0.125, 0.5), 0.125, "b" * 30, (), (0.5,) * 30),
    Known("larger simplex", simplex(25), 1 / 30, "f" * 25, (), (1 / 30,) * 25),
]


@EVERY_PORT
@pytest.mark.parametrize("known", PROBLEMS, ids=lambda known: known.name)
def test_margin_and_point_are_known(name: str, known: Known) -> None:
    solver = port(name)
    rows, domain_rows, free = known.arrays()
    depth = solver.deepest(rows, domain_rows, free)
    slack = 10 * solver.precision
    assert depth.margin == pytest.approx(known.margin, abs=slack)
    if np.isinf(known.margin):
        assert np.isnan(depth.point).all()
        return
    assert depth.point.shape == free.shape
    values = rows[:, 0] + rows[:, 1:] @ depth.point
    assert depth.margin == pytest.approx(values.min(initial=1.0), abs=1e-15)
    assert (domain_rows[:, 0] + domain_rows[:, 1:] @ depth.point >= -slack).all()
    assert ((depth.point >= 0) & (depth.point <= 1) | free).all()
    if known.point is not None:
        assert depth.point == pytest.approx(np.array(known.point), abs=1e-7)


@EVERY_PORT
def test_one_port_answers_many_questions_in_any_order(name: str) -> None:
    solver = port(name)
    questions = [known.arrays() for known in PROBLEMS]
    first = [solver.deepest(*question).margin for question in questions]
    again = [solver.deepest(*question).margin for question in reversed(questions)]
    assert np.array(first) == pytest.approx(np.array(again[::-1]), abs=10 * solver.precision)


def test_highs_answers_do_not_depend_on_what_was_asked_before() -> None:
    rng = np.random.default_rng(3)
    questions = [(rng.normal(size=(12, 5)), np.zeros((0, 5)), np.zeros(4, bool)) for _ in range(20)]
    used = HighsPort()
    for question in questions:
        fresh, warm = HighsPort().deepest(*question), used.deepest(*question)
        assert fresh.margin == warm.margin
        assert np.array_equal(fresh.point, warm.point)


class TestDeepestPoint:
    def test_sides_of_the_box_count(self) -> None:
        free = np.array([False, False])
        depth = deepest_point(np.zeros((0, 3)), np.zeros((0, 3)), free)
        assert depth.margin == pytest.approx(0.5)
        assert depth.point == pytest.approx(np.array([0.5, 0.5]))

    def test_domain_rows_count(self) -> None:
        rows = np.array(simplex(2))
        depth = deepest_point(rows[:2], rows[2:], np.array([True, True]))
        assert depth.margin == pytest.approx(1 / (2 + ROOT))

    def test_sides_can_be_left_out(self) -> None:
        free = np.array([False, True])
        depth = deepest_point(np.array([(0.0, 1.0, 0.0)]), np.zeros((0, 3)), free, box=False)
        assert depth.margin == pytest.approx(1.0)

    def test_free_coordinates_have_no_sides(self) -> None:
        depth = deepest_point(np.zeros((0, 3)), np.zeros((0, 3)), np.array([True, False]))
        assert depth.margin == pytest.approx(0.5)
        assert np.isfinite(depth.point).all()

    @EVERY_PORT
    def test_a_port_or_its_name_will_do(self, name: str) -> None:
        free = np.array([False])
        for solver in (name, port(name)):
            depth = deepest_point(np.array([(-0.5, 1.0)]), np.zeros((0, 2)), free, solver)
            assert depth.margin == pytest.approx(0.25, abs=1e-8)


class TestDoor:
    def test_auto_takes_the_first_that_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert port().name == "highs"
        monkeypatch.setattr(_feasibility, "available", lambda module: module != "highspy")
        assert port("auto").name == "scipy"

    def test_an_unknown_name_lists_the_known_ones(self) -> None:
        with pytest.raises(ValueError, match=r'"solver" was \'cplex\'.*highs, scipy, gurobi'):
            port("cplex")

    def test_a_missing_package_says_how_to_get_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("byways.core.optional.available", lambda module: False)
        with pytest.raises(MissingDependencyError, match=r"pip install 'byways\[gurobi\]'"):
            port("gurobi")

    @EVERY_PORT
    def test_capabilities_are_declared(self, name: str) -> None:
        kind = PORTS[name]
        assert (kind.name, kind.extra) == (name, "gurobi" if name == "gurobi" else "")
        assert 0 < kind.precision <= 1e-9

    def test_no_solver_is_loaded_by_the_import(self) -> None:
        program = (
            "import sys, byways.regions._feasibility as f; f.available('gurobipy'); "
            "print([m for m in ('highspy', 'scipy.optimize', 'gurobipy') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


class Counting:
    """Count the runs of a solver."""

    def __init__(self, solver: Any) -> None:
        self.solver, self.runs = solver, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.solver, name)

    def run(self) -> None:
        self.runs += 1
        self.solver.run()


class TestFailures:
    @EVERY_PORT
    def test_a_status_that_we_do_not_know_is_an_error(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        raw = {"highs": "kOptimal", "scipy": "0", "gurobi": "OPTIMAL"}[name]
        monkeypatch.setattr(PORTS[name], "_MEANING", {})
        solver: Port = port(name)
        with pytest.raises(SolverError, match=f"solver=\"{name}\" ended with status '{raw}'"):
            solver.deepest(np.array([(0.0, 1.0)]), np.zeros((0, 2)), np.array([False]))

    def test_highs_tries_again_with_presolve(self) -> None:
        solver = HighsPort()
        solver._solver.setOptionValue("simplex_iteration_limit", 0)
        solver._solver = counting = Counting(solver._solver)
        assert solver.deepest(*PROBLEMS[-1].arrays()).margin == pytest.approx(1 / 30)
        assert counting.runs == 2

    def test_highs_gives_up_after_the_second_try(self) -> None:
        solver = HighsPort()
        solver._solver.setOptionValue("time_limit", 0.0)
        with pytest.raises(SolverError, match=r"kTimeLimit.*scipy, gurobi"):
            solver.deepest(*PROBLEMS[-1].arrays())

    def test_scipy_passes_the_message_on(self) -> None:
        solver = ScipyPort()
        solver._linprog = lambda *_, **__: type("Answer", (), {"status": 4, "message": "trouble"})
        with pytest.raises(SolverError, match=r"status '4' \(trouble\)"):
            solver.deepest(np.array([(0.0, 1.0)]), np.zeros((0, 2)), np.array([False]))

    def test_points_slightly_outside_the_box_are_moved_onto_it(self) -> None:
        solver = ScipyPort()
        answer = {"status": 0, "message": "", "x": np.array([-1e-10, 1 + 1e-10, -1e-10, 0.5])}
        solver._linprog = lambda *_, **__: type("Answer", (), answer)
        free = np.array([False, False, True])
        depth = solver.deepest(np.array([(0.5, 1.0, 0.0, 0.0)]), np.zeros((0, 4)), free)
        assert depth.point.tolist() == [0.0, 1.0, -1e-10]
        assert depth.margin == 0.5  # measured there, whatever the solver's t says

    def test_highs_keeps_small_coefficients(self) -> None:
        # s >= 1e-10 t along a free coordinate: the deepest point is far away, not at infinity
        rows = np.array([(0.0, 5e-10, 1.0), (0.0, 0.0, -1.0)])
        depth = HighsPort().deepest(rows, np.zeros((0, 3)), np.array([True, True]))
        assert depth.margin == pytest.approx(1.0)

    def test_gurobi_says_that_a_program_is_too_large_for_its_licence(self) -> None:
        d = 2100
        with pytest.raises(SolverError, match=r'2101 variables and 1 constraints.*solver="highs"'):
            GurobiPort().deepest(np.ones((1, d + 1)), np.zeros((0, d + 1)), np.zeros(d, bool))
        assert HighsPort().deepest(
            np.ones((1, d + 1)), np.zeros((0, d + 1)), np.zeros(d, bool)
        ).margin == pytest.approx(1.0)
