from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from byways.core.activations import PiecewiseLinear, absolute, clamp, hardtanh, leaky_relu, relu
from byways.core.chain import Layer, LayerChain
from byways.core.domains import Box, Polytope
from byways.core.errors import SolverError
from byways.core.maps import DenseMap
from byways.regions._domains import Domain, Slice, WholeSpace
from byways.regions._engine import Order
from byways.regions._feasibility import PORTS, HighsPort
from byways.regions._layerwise import LayerwiseWalk
from byways.regions._problem import Problem
from tests.oracles.counts import generic_regions
from tests.oracles.patterns import patterns_by_lp, patterns_by_sampling
from tests.oracles.plain import hidden_layers
from tests.regions.engines import Engine, check, problem_of, walk

LP = Engine("lp", LayerwiseWalk, most=400)
NONE = np.zeros(0, dtype=np.uint8)


def random_pairs(widths: tuple[int, ...], seed: int) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=(n, m)) * np.sqrt(2 / m), 0.3 * rng.normal(size=n))
        for m, n in itertools.pairwise(widths)
    ]


def random_problem(
    widths: tuple[int, ...],
    seed: int = 0,
    domain: Domain | None = None,
    activation: PiecewiseLinear = relu,
) -> tuple[Problem, LayerChain]:
    box = Box([-1.0] * widths[0], [1.0] * widths[0])
    return problem_of(random_pairs(widths, seed), domain or box, activation)


def segments_of(problem: Problem, bits: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(row) for row in problem.segments(bits).tolist()}


ACTIVATIONS = {
    "relu": relu,
    "leaky": leaky_relu(0.2),
    "absolute": absolute,
    "hardtanh": hardtanh(-0.5, 0.5),
    "relu6": clamp(0.0, 0.75),
    "slope one piece": PiecewiseLinear((0.0,), (1.0, -2.0), 0.5),
}


class TestAgainstBruteForce:
    @pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
    @pytest.mark.parametrize("widths", [(1, 3, 2), (2, 3, 2), (3, 2, 2)])
    def test_segments_of_a_box(self, widths: tuple[int, ...], activation: PiecewiseLinear) -> None:
        problem, chain = random_problem(widths, 1, activation=activation)
        found = walk(LP, problem)
        sides = [-np.ones(widths[0]), np.ones(widths[0])]
        assert segments_of(problem, found.bits) == patterns_by_lp(hidden_layers(chain), sides)
        check(found, problem, chain)

    @pytest.mark.parametrize("widths", [(2, 4, 3, 2), (3, 3, 3), (1, 2, 2, 2, 2), (4, 2, 3)])
    def test_any_number_of_layers(self, widths: tuple[int, ...]) -> None:
        problem, chain = random_problem(widths, 2)
        found = walk(LP, problem)
        sides = [-np.ones(widths[0]), np.ones(widths[0])]
        assert found.leaves == patterns_by_lp(hidden_layers(chain), sides)
        check(found, problem, chain)

    def test_the_whole_space(self) -> None:
        problem, chain = random_problem((2, 4, 3), 3, WholeSpace(2))
        found = walk(LP, problem)
        assert found.leaves == patterns_by_lp(hidden_layers(chain), None)
        check(found, problem, chain)

    def test_layers_without_breakpoints_are_passed_through(self) -> None:
        kinds = (relu, leaky_relu(1.0), relu, leaky_relu(1.0))
        chain = LayerChain(
            tuple(
                Layer(DenseMap(W), b, kind)
                for (W, b), kind in zip(random_pairs((2, 4, 3, 3, 1), 4), kinds, strict=True)
            )
        )
        problem = Problem.of(chain, Box([-1.0, -1.0], [1.0, 1.0]))
        found = walk(LP, problem)
        assert found.leaves == patterns_by_lp(hidden_layers(chain), [[-1, -1], [1, 1]])
        check(found, problem, chain)

    def test_random_points_are_in_cells_that_were_found(self) -> None:
        problem, chain = random_problem((2, 8, 6), 5)
        found = walk(LP, problem)
        rng = np.random.default_rng(0)
        sampled = patterns_by_sampling(hidden_layers(chain), ([-1, -1], [1, 1]), rng, 20_000)
        assert sampled <= found.leaves
        assert len(sampled) > 0.9 * len(found.leaves)
        check(found, problem, chain)


class TestDomains:
    def test_polytope_is_a_box_with_one_more_row(self) -> None:
        pairs = random_pairs((2, 5), 6)
        W, b = pairs[0]
        box = Box([-1.0, -1.0], [1.0, 1.0])
        problem, chain = problem_of(pairs, Polytope([[1.0, 1.0]], [0.3], box))
        found = walk(LP, problem)
        check(found, problem, chain)
        # The same cells are those of the box that lie below x + y = 0.3, as one more unit says.
        wider, _ = problem_of([(np.vstack([W, [-1.0, -1.0]]), [*b, 0.3])], box)
        below = {bits[:-1] for bits in walk(LP, wider).leaves if bits[-1]}
        assert found.leaves == below

    def test_polytope_without_interior_has_no_cells(self) -> None:
        box = Box([-1.0, -1.0], [1.0, 1.0])
        problem, _ = problem_of(random_pairs((2, 3), 0), Polytope([[1, 1], [-1, -1]], [0, 0], box))
        found = walk(LP, problem)
        assert (len(found.bits), found.walk.explored) == (0, 1.0)

    def test_slice_is_the_network_behind_its_map(self) -> None:
        rng = np.random.default_rng(7)
        origin, directions = rng.normal(size=6) * 0.1, rng.normal(size=(2, 6))
        pairs = random_pairs((6, 6, 4), 7)
        problem, _ = problem_of(pairs, Slice(origin, directions, 1.0))
        W, b = pairs[0]
        flat, chain = problem_of(
            [(W @ directions.T, W @ origin + b), pairs[1]], Box([-1] * 2, [1] * 2)
        )
        found = walk(LP, flat)
        assert walk(LP, problem).leaves == found.leaves
        check(found, flat, chain)

    @pytest.mark.parametrize(("n", "d"), [(10, 2), (8, 3), (7, 4)])
    def test_generic_hyperplanes_in_the_whole_space(self, n: int, d: int) -> None:
        problem, chain = random_problem((d, n), n, WholeSpace(d))
        found = walk(LP, problem)
        assert len(found.bits) == generic_regions(n, d)
        check(found, problem, chain)

    def test_many_inputs_and_few_units(self) -> None:
        problem, chain = random_problem((64, 5, 4), 8)
        found = walk(LP, problem)
        assert len({tuple(row) for row in found.bits[:, :5].tolist()}) == 2**5
        check(found, problem, chain)


@pytest.mark.parametrize("solver", PORTS)
def test_every_port_finds_the_same_cells(solver: str) -> None:
    problem, chain = random_problem((2, 5, 4), 9)
    engine = Engine(solver, lambda *question: LayerwiseWalk(*question, solver=solver), most=100)
    found = walk(engine, problem)
    assert found.leaves == patterns_by_lp(hidden_layers(chain), [[-1, -1], [1, 1]])
    check(found, problem, chain)


class TestPrograms:
    def test_first_layer_is_exhaustive_if_it_is_narrow(self) -> None:
        problem, _ = random_problem((5, 5), 0, WholeSpace(5))
        found = walk(LP, problem)
        assert (len(found.bits), found.walk.work) == (32, 32)

    def test_wide_first_layer_is_incremental(self) -> None:
        problem, _ = random_problem((4, 5), 0, WholeSpace(4))
        found = walk(LP, problem)
        assert len(found.bits) == generic_regions(5, 4)
        assert found.walk.work <= 31  # at most one per inner node of the tree

    @pytest.mark.parametrize("widths", [(2, 8), (2, 8, 6), (3, 5, 5, 4)])
    def test_programs_are_bounded_by_decisions_times_cells(self, widths: tuple[int, ...]) -> None:
        problem, _ = random_problem(widths, 11)
        found = walk(LP, problem)
        counts = found.walk.layer_counts
        assert found.walk.work <= (counts * np.array(widths[1:])).sum()
        assert found.walk.work >= len(found.bits) - 1  # one per inner node of the tree


class TestAdvance:
    def test_batches_of_any_size_give_the_same_leaves_in_the_same_order(self) -> None:
        problem, _ = random_problem((2, 5, 4), 12)
        lists = []
        for leaves, work in [(1, 10**6), (7, 10**6), (10**6, 1), (3, 5), (10**6, 10**6)]:
            running = LayerwiseWalk(problem, Order(NONE))
            words, points = [], []
            while not running.finished:
                batch = running.advance(leaves, work)
                assert batch.leaves <= leaves
                words.append(batch.words)
                points.append(batch.points)
            lists.append((np.concatenate(words), np.concatenate(points), running.work))
        for words, points, programs in lists[1:]:
            assert np.array_equal(words, lists[0][0])
            assert np.array_equal(points, lists[0][1])
            assert programs == lists[0][2]

    def test_work_is_a_limit(self) -> None:
        problem, _ = random_problem((2, 8, 6), 13)
        running = LayerwiseWalk(problem, Order(NONE))
        seen = []
        while not running.finished:
            before = running.work
            running.advance(10**6, 10)
            assert running.work - before <= 11
            seen.append(running.explored)
        assert seen == sorted(seen)
        assert seen[-1] == 1.0
        assert len(seen) > 5

    def test_a_finished_walk_has_no_more(self) -> None:
        problem, _ = random_problem((2, 3), 14)
        running = LayerwiseWalk(problem, Order(NONE))
        assert running.advance(10**6, 10**6).leaves > 0
        assert running.finished
        assert running.advance(10, 10).leaves == 0

    def test_counts_alone(self) -> None:
        problem, _ = random_problem((2, 5, 4), 12)
        expected = len(walk(LP, problem).bits)
        running = LayerwiseWalk(problem, Order(NONE, witnesses=False, listing=False))
        batch = running.advance(10**6, 10**6)
        assert (batch.leaves, batch.words.shape, batch.points.shape) == (expected, (0, 1), (0, 2))

    def test_signs_without_points(self) -> None:
        problem, _ = random_problem((2, 5, 4), 12)
        running = LayerwiseWalk(problem, Order(NONE, witnesses=False))
        batch = running.advance(10**6, 10**6)
        assert (len(batch.words), batch.points.shape) == (batch.leaves, (0, 2))

    def test_more_than_64_decisions(self) -> None:
        slopes, biases = np.zeros((70, 1)), np.tile([1.0, -1.0], 35)
        slopes[::10], biases[::10] = 1.0, -np.arange(1, 8) / 8  # 7 cuts among 63 constants
        problem, chain = problem_of([(slopes, biases)], Box([0.0], [1.0]))
        found = walk(LP, problem)
        expected = np.tile([1, 0], (8, 35))
        expected[:, ::10] = np.arange(8)[:, None] > np.arange(7)
        assert found.bits.tolist() == expected.tolist()
        check(found, problem, chain)


class TestNoHiddenLayer:
    def test_one_leaf(self) -> None:
        chain = LayerChain.from_arrays([([[1.0, 2.0]], [0.0])])
        problem = Problem.of(chain, Box([-1.0, -1.0], [1.0, 1.0]))
        found = walk(LP, problem)
        assert (len(found.bits), found.walk.layer_counts.tolist()) == (1, [])
        assert found.points.tolist() == [[0.5, 0.5]]


class TestParts:
    @pytest.mark.parametrize("activation", [relu, hardtanh(-0.5, 0.5)], ids=["relu", "hardtanh"])
    @pytest.mark.parametrize("widths", [(2, 3, 2), (3, 3, 2)])
    def test_prefixes_part_the_walk(
        self, widths: tuple[int, ...], activation: PiecewiseLinear
    ) -> None:
        problem, _ = random_problem(widths, 16, activation=activation)
        whole = walk(LP, problem)
        for stop in range(0, problem.decisions + 1, 3):
            trunk = walk(LP, problem, stop=stop)
            assert (trunk.bits[:, stop:] == 0).all()
            assert trunk.leaves == {(*b[:stop], *[0] * (len(b) - stop)) for b in whole.leaves}
            parts = [walk(LP, problem, prefix=row.tolist()) for row in trunk.bits[:, :stop]]
            assert np.array_equal(np.concatenate([part.bits for part in parts]), whole.bits)
            counts = trunk.walk.layer_counts + sum(part.walk.layer_counts for part in parts)
            assert counts.tolist() == whole.walk.layer_counts.tolist()
            assert all(part.walk.explored == 1.0 for part in parts)

    def test_layers_inside_the_prefix_are_not_counted(self) -> None:
        problem, _ = random_problem((2, 4, 3), 16)
        prefix = walk(LP, problem).bits[0]
        assert walk(LP, problem, prefix=prefix[:4].tolist()).walk.layer_counts[0] == 0
        assert walk(LP, problem, prefix=prefix[:3].tolist()).walk.layer_counts[0] >= 1
        assert walk(LP, problem, prefix=prefix.tolist()).walk.layer_counts.tolist() == [0, 0]

    def test_layers_beyond_the_stop_are_not_counted(self) -> None:
        problem, _ = random_problem((2, 4, 3), 16)
        whole = walk(LP, problem).walk.layer_counts
        assert walk(LP, problem, stop=3).walk.layer_counts.tolist() == [0, 0]
        assert walk(LP, problem, stop=4).walk.layer_counts.tolist() == [whole[0], 0]
        assert walk(LP, problem, stop=6).walk.layer_counts.tolist() == [whole[0], 0]

    def test_doubt_is_shared_out_without_being_counted_twice(self) -> None:
        W = [(1.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 1.0)]
        problem, _ = problem_of([(W, [0.0, -1e-12, 0.0, -1e-12])], Box([-1.0, -1.0], [1.0, 1.0]))
        whole = walk(LP, problem)
        assert len(whole.bits) == 4
        assert whole.walk.ambiguous == 6  # two about x; two about y in either half
        for stop in range(5):
            trunk = walk(LP, problem, stop=stop)
            parts = [walk(LP, problem, prefix=row.tolist()) for row in trunk.bits[:, :stop]]
            assert trunk.walk.ambiguous + sum(part.walk.ambiguous for part in parts) == 6


def test_constants_that_are_nearly_zero_are_counted() -> None:
    # Behind a dead layer the second unit is 1e-14 up to rounding of numbers of size 1e3.
    first = ([[1.0, 0.0], [1.0, 0.0]], [1e3, 1e3])
    second = ([[1.0, -1.0], [1.0, 0.0]], [1e-14, 0.0])
    problem, _ = problem_of([first, second], Box([-1.0, -1.0], [1.0, 1.0]))
    found = walk(LP, problem)
    assert found.leaves == {(1, 1, 0, 1)}
    assert found.walk.ambiguous == 1


class TestSolver:
    def test_an_unknown_solver_is_refused(self) -> None:
        problem, _ = random_problem((2, 3))
        with pytest.raises(ValueError, match=r'"solver" was \'simplex\''):
            LayerwiseWalk(problem, Order(NONE), solver="simplex")

    def test_a_port_of_ones_own_is_used(self) -> None:
        problem, _ = random_problem((2, 6))
        own = HighsPort()
        asked = []
        answer = own.deepest
        own.deepest = lambda *question: asked.append(1) or answer(*question)  # type: ignore[method-assign, func-returns-value]
        running = LayerwiseWalk(problem, Order(NONE), solver=own)
        running.advance(10**6, 10**6)
        assert len(asked) == running.work > 0

    def test_a_licence_that_is_too_small_is_reported(self) -> None:
        problem, _ = random_problem((2100, 2))
        running = LayerwiseWalk(problem, Order(NONE), solver="gurobi")
        with pytest.raises(SolverError, match='solver="highs"'):
            running.advance(1, 1)
