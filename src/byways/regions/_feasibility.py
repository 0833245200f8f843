"""The question "how deep is this polyhedron?", put to one of several linear programming solvers.

A cell is the open set where affine rows are positive. It is full-dimensional exactly if the program
``max t subject to row . (1, s) >= t`` has a positive optimum, and its optimal point is a witness.
Solver objects can neither be pickled nor shared by threads: build a port where it is used.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np

from byways.core.errors import SolverError
from byways.core.optional import available, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = [
    "PORTS",
    "Depth",
    "GurobiPort",
    "HighsPort",
    "Port",
    "ScipyPort",
    "deepest_point",
    "port",
]


class Depth(NamedTuple):
    """The deepest point of a polyhedron.

    ``margin`` is the least value of a row at ``point``, at most 1; it is zero or negative if no
    point makes every row positive. An empty domain has margin ``-inf`` and a point of NaN.
    """

    margin: float
    point: Array


class Port(Protocol):
    """One linear programming solver.

    Attributes:
        name: The word for ``solver=``.
        module: The package's import name.
        extra: The extra of this package that installs it, empty for a hard dependency.
        precision: Violation of a constraint that the solver may leave.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    extra: ClassVar[str]
    precision: ClassVar[float]

    def deepest(self, rows: Array, domain_rows: Array, free: NDArray[np.bool_]) -> Depth:
        """Maximise ``t`` where ``row . (1, s) >= t``.

        Args:
            rows: Rows of unit gradient ``(constant, coefficients)``, shape ``(m, d + 1)``.
            domain_rows: Rows that shall only be non-negative, shape ``(k, d + 1)``.
            free: Coordinates without bounds, shape ``(d,)``; the others lie in [0, 1].

        Returns:
            The optimum, cut off at ``t = 1``, and where it is.

        Raises:
            SolverError: If the solver gives up.
        """


class _Answer(Enum):
    """What a solver's status word means for a program whose objective is bounded."""

    OPTIMAL = 1
    EMPTY = 2


class _Program(NamedTuple):
    """``max t`` over ``(s, t)`` with ``matrix @ (s, t) >= least`` and bounds."""

    matrix: Array
    least: Array
    lower: Array
    upper: Array

    @classmethod
    def of(cls, rows: Array, domain_rows: Array, free: NDArray[np.bool_]) -> _Program:
        matrix = np.zeros((len(rows) + len(domain_rows), len(free) + 1))
        matrix[: len(rows), :-1] = rows[:, 1:]
        matrix[: len(rows), -1] = -1.0
        matrix[len(rows) :, :-1] = domain_rows[:, 1:]
        least = -np.concatenate([rows[:, 0], domain_rows[:, 0]])
        lower = np.append(np.where(free, -np.inf, 0.0), -np.inf)
        upper = np.append(np.where(free, np.inf, 1.0), 1.0)
        return cls(matrix, least, lower, upper)


class HighsPort:
    """HiGHS through its own Python interface, one solver object for all questions."""

    name: ClassVar[str] = "highs"
    module: ClassVar[str] = "highspy"
    extra: ClassVar[str] = ""
    precision: ClassVar[float] = 1e-10

    _MEANING: ClassVar[dict[str, _Answer]] = {
        "kOptimal": _Answer.OPTIMAL,
        "kInfeasible": _Answer.EMPTY,
        # Presolve may not tell the two apart; with t <= 1 the program is never unbounded.
        "kUnboundedOrInfeasible": _Answer.EMPTY,
    }

    def __init__(self) -> None:
        import highspy

        api: Any = highspy  # its constructor carries no types
        self._solver = api.Highs()
        options: dict[str, Any] = {
            "output_flag": False,
            "threads": 1,
            "presolve": "off",  # the programs are small and dense: it costs more than it saves
            "primal_feasibility_tolerance": self.precision,
            "dual_feasibility_tolerance": self.precision,
            "small_matrix_value": 1e-12,  # smaller coefficients are dropped; the usual 1e-9 shows
        }
        for option, value in options.items():
            self._solver.setOptionValue(option, value)
        self._rowwise = int(api.MatrixFormat.kRowwise)
        self._maximise = int(api.ObjSense.kMaximize)

    def deepest(self, rows: Array, domain_rows: Array, free: NDArray[np.bool_]) -> Depth:
        """Answer the question of ``Port.deepest``."""
        self._pass(_Program.of(rows, domain_rows, free))
        self._solver.run()
        status = self._solver.getModelStatus().name
        if status not in self._MEANING:  # a second try from scratch, with presolve's reductions
            self._solver.clearSolver()
            self._solver.setOptionValue("presolve", "on")
            self._solver.run()
            self._solver.setOptionValue("presolve", "off")
            status = self._solver.getModelStatus().name
        if _meaning(self.name, self._MEANING, status) is _Answer.EMPTY:
            return _nothing(free)
        return _depth(rows, free, np.array(self._solver.getSolution().col_value[:-1]))

    def _pass(self, program: _Program) -> None:
        """Hand the program over as compressed rows."""
        count, size = program.matrix.shape
        row, column = np.nonzero(program.matrix)
        cost = np.zeros(size)
        cost[-1] = 1.0
        self._solver.passModel(
            size,
            count,
            row.size,
            self._rowwise,
            self._maximise,
            0.0,
            cost,
            program.lower,
            program.upper,
            program.least,
            np.full(count, np.inf),
            np.searchsorted(row, np.arange(count + 1)).astype(np.int32),
            column.astype(np.int32),
            program.matrix[row, column],
            np.zeros(size, dtype=np.int32),
        )


class ScipyPort:
    """``scipy.optimize.linprog``, which brings a HiGHS of its own."""

    name: ClassVar[str] = "scipy"
    module: ClassVar[str] = "scipy"
    extra: ClassVar[str] = ""
    precision: ClassVar[float] = 1e-10

    _MEANING: ClassVar[dict[str, _Answer]] = {"0": _Answer.OPTIMAL, "2": _Answer.EMPTY}

    def __init__(self) -> None:
        from scipy.optimize import linprog  # a third of a second that only this port needs

        self._linprog: Any = linprog

    def deepest(self, rows: Array, domain_rows: Array, free: NDArray[np.bool_]) -> Depth:
        """Answer the question of ``Port.deepest``."""
        program = _Program.of(rows, domain_rows, free)
        cost = np.zeros(len(program.lower))
        cost[-1] = -1.0
        answer = self._linprog(
            cost,
            A_ub=-program.matrix,
            b_ub=-program.least,
            bounds=np.column_stack([program.lower, program.upper]),
            method="highs-ds",
            options={
                "presolve": False,
                "primal_feasibility_tolerance": self.precision,
                "dual_feasibility_tolerance": self.precision,
            },
        )
        meaning = _meaning(self.name, self._MEANING, str(answer.status), str(answer.message))
        if meaning is _Answer.EMPTY:
            return _nothing(free)
        return _depth(rows, free, np.asarray(answer.x[:-1], dtype=np.float64))


class GurobiPort:
    """Gurobi. Without a licence of one's own it takes programs up to a fixed size only."""

    name: ClassVar[str] = "gurobi"
    module: ClassVar[str] = "gurobipy"
    extra: ClassVar[str] = "gurobi"
    precision: ClassVar[float] = 1e-9  # the tightest that it accepts

    _MEANING: ClassVar[dict[str, _Answer]] = {
        "OPTIMAL": _Answer.OPTIMAL,
        "INFEASIBLE": _Answer.EMPTY,
        "INF_OR_UNBD": _Answer.EMPTY,  # with t <= 1 the program is never unbounded
    }

    def __init__(self) -> None:
        self._api: Any = require(self.module, extra=self.extra, purpose=f'solver="{self.name}"')
        try:
            self._env = self._api.Env(params={"OutputFlag": 0, "LogToConsole": 0})
        except self._api.GurobiError as error:
            raise SolverError(
                f'Gurobi did not start: {error}; solver="highs" needs no licence'
            ) from error
        for option in ("FeasibilityTol", "OptimalityTol"):
            self._env.setParam(option, self.precision)
        self._env.setParam("Threads", 1)
        status = self._api.GRB.Status
        self._words = {getattr(status, word): word for word in dir(status) if word.isupper()}

    def deepest(self, rows: Array, domain_rows: Array, free: NDArray[np.bool_]) -> Depth:
        """Answer the question of ``Port.deepest``."""
        program = _Program.of(rows, domain_rows, free)
        cost = np.zeros(len(program.lower))
        cost[-1] = 1.0
        try:
            with self._api.Model(env=self._env) as model:
                x = model.addMVar(len(cost), lb=program.lower, ub=program.upper, obj=cost)
                model.ModelSense = self._api.GRB.MAXIMIZE
                model.addMConstr(program.matrix, x, ">", program.least)
                model.optimize()
                status = self._words.get(model.Status, str(model.Status))
                if _meaning(self.name, self._MEANING, status) is _Answer.EMPTY:
                    return _nothing(free)
                return _depth(rows, free, np.asarray(x.X[:-1], dtype=np.float64))
        except self._api.GurobiError as error:
            raise self._refusal(error, program) from error

    def _refusal(self, error: Any, program: _Program) -> SolverError:
        if error.errno != self._api.GRB.ERROR_SIZE_LIMIT_EXCEEDED:
            return SolverError(f"Gurobi failed: {error}")
        count, size = program.matrix.shape
        return SolverError(
            f"a program with {size} variables and {count} constraints is larger than Gurobi's "
            'licence allows; get a full licence, or use solver="highs", which has no limit'
        )


PORTS: dict[str, type[HighsPort] | type[ScipyPort] | type[GurobiPort]] = {
    kind.name: kind for kind in (HighsPort, ScipyPort, GurobiPort)
}


def port(name: str = "auto") -> Port:
    """Build the solver of that name, or with "auto" the first that is installed.

    Raises:
        ValueError: If there is no such solver.
        MissingDependencyError: If it is not installed.
    """
    if name == "auto":
        name = next((kind.name for kind in PORTS.values() if available(kind.module)), "highs")
    if name not in PORTS:
        raise ValueError(f'"solver" was {name!r}; it is "auto" or one of {", ".join(PORTS)}')
    return PORTS[name]()


def deepest_point(
    rows: Array,
    domain_rows: Array,
    free: NDArray[np.bool_],
    solver: str | Port = "auto",
    box: bool = True,
) -> Depth:
    """Give the point that is farthest from the nearest row's zero.

    Args:
        rows: Rows of unit gradient, shape ``(m, d + 1)``.
        domain_rows: Further sides of the domain, shape ``(k, d + 1)``.
        free: Coordinates without bounds, shape ``(d,)``.
        solver: A port, or the name of one to build.
        box: Whether the domain's sides count as rows; then the margin is the radius of the largest
            ball in the closed cell, at most 1. Otherwise the point may lie on them.

    Returns:
        Margin and point.
    """
    chosen = port(solver) if isinstance(solver, str) else solver
    if not box:
        return chosen.deepest(rows, domain_rows, free)
    counted = np.concatenate([rows, domain_rows, box_rows(free)])
    return chosen.deepest(counted, np.zeros((0, len(free) + 1)), free)


def box_rows(free: NDArray[np.bool_]) -> Array:
    """Give the sides ``s >= 0`` and ``1 - s >= 0`` of the bounded coordinates as rows."""
    lower = np.eye(len(free), len(free) + 1, k=1)[~free]
    upper = -lower
    upper[:, 0] = 1.0
    return np.concatenate([lower, upper])


def _meaning(name: str, meanings: dict[str, _Answer], word: str, detail: str = "") -> _Answer:
    if word not in meanings:
        names = ", ".join(other for other in PORTS if other != name)
        raise SolverError(
            f'solver="{name}" ended with status {word!r}{detail and f" ({detail})"}, which is '
            f"neither a solution nor a proof that there is none; try another solver ({names})"
        )
    return meanings[word]


def _depth(rows: Array, free: NDArray[np.bool_], point: Array) -> Depth:
    """Measure the margin at the point itself: the solver's ``t`` may be off by its precision."""
    point = np.where(free, point, np.clip(point, 0.0, 1.0))
    values = rows[:, 0] + rows[:, 1:] @ point
    return Depth(float(values.min(initial=1.0)), point)


def _nothing(free: NDArray[np.bool_]) -> Depth:
    return Depth(-np.inf, np.full(len(free), np.nan))
