from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byways.regions._cells import Cell, Cuts, Search, exhaustive, incremental
from byways.regions._feasibility import HighsPort
from tests.oracles.counts import (
    CENTRAL,
    GENERIC,
    PUBLISHED,
    cells_by_deletion,
    generic_regions,
)

Enumeration = Callable[[Cell, Cuts, Search], Iterator[Cell | None]]
BOTH = pytest.mark.parametrize("enumeration", [incremental, exhaustive])


def cuts_of(normals: Any, biases: Any, given: tuple[int, ...] = ()) -> Cuts:
    rows = np.column_stack([biases, normals]).astype(float)
    lengths = np.linalg.norm(rows[:, 1:], axis=1)
    rows /= np.where(lengths > 0, lengths, 1.0)[:, None]
    no = np.zeros(len(rows), dtype=bool)
    return Cuts(rows, no, no, np.array(given, dtype=np.uint8), {}, lambda bits: rows)


def search_in(d: int, *, whole: bool = True) -> tuple[Cell, Search]:
    """Start in all of R^d, or in the unit cube."""
    free = np.full(d, whole)
    middle = np.where(free, 0.0, 0.5)
    root = Cell(np.zeros(0, dtype=np.uint8), np.zeros((0, d + 1)), middle, 1.0)
    return root, Search(HighsPort(), np.zeros((0, d + 1)), free, 1e-9)


def cells(enumeration: Enumeration, cuts: Cuts, *, whole: bool = True) -> tuple[list[Cell], Search]:
    """List the cells, after checking what holds for any of them."""
    root, search = search_in(cuts.rows.shape[1] - 1, whole=whole)
    found = [cell for cell in enumeration(root, cuts, search) if cell is not None]
    for cell in found:
        values = cuts.rows[:, 0] + cuts.rows[:, 1:] @ cell.witness
        varying = cuts.rows[:, 1:].any(axis=1)
        assert (np.where(cell.bits > 0, values, -values)[varying] > search.tolerance).all()
        assert (cell.rows[:, 0] + cell.rows[:, 1:] @ cell.witness > search.tolerance).all()
        assert len(cell.rows) <= np.count_nonzero(varying)
    assert search.explored + sum(cell.mass for cell in found) == pytest.approx(1.0)
    return found, search


def signs(found: list[Cell]) -> set[tuple[int, ...]]:
    listed = [tuple(cell.bits.tolist()) for cell in found]
    assert len(set(listed)) == len(listed)
    return set(listed)


def differences(n: int) -> np.ndarray:
    return np.array([np.eye(n)[i] - np.eye(n)[j] for i, j in itertools.combinations(range(n), 2)])


@BOTH
@pytest.mark.parametrize(("n", "d"), [(3, 2), (4, 2), (4, 3), (5, 3), (5, 4), (6, 5), (6, 1)])
def test_hyperplanes_in_general_position(enumeration: Enumeration, n: int, d: int) -> None:
    rng = np.random.default_rng([n, d])
    found, _ = cells(enumeration, cuts_of(rng.normal(size=(n, d)), rng.normal(size=n)))
    assert len(signs(found)) == generic_regions(n, d)


@pytest.mark.parametrize(("d", "n"), [(2, 10), (3, 12)])
def test_more_hyperplanes_in_general_position(d: int, n: int) -> None:
    rng = np.random.default_rng([n, d])
    found, search = cells(incremental, cuts_of(rng.normal(size=(n, d)), rng.normal(size=n)))
    assert len(signs(found)) == GENERIC[d, n]
    assert search.programs <= n * len(found)
    assert search.ambiguous == 0


def test_hyperplanes_through_one_point() -> None:
    rng = np.random.default_rng(0)
    found, search = cells(incremental, cuts_of(rng.normal(size=(10, 3)), np.zeros(10)))
    assert len(signs(found)) == CENTRAL[3, 10]
    assert search.programs <= 2 * 10 * len(found)


@BOTH
@pytest.mark.parametrize("n", [2, 3, 4])
def test_braid(enumeration: Enumeration, n: int) -> None:
    normals = differences(n)
    found, search = cells(enumeration, cuts_of(normals, np.zeros(len(normals))))
    assert len(signs(found)) == PUBLISHED["braid", n]
    # The order of the coordinates decides each sign, and every order occurs.
    orders = itertools.permutations(range(n))
    assert signs(found) == {tuple((normals @ order > 0).astype(int)) for order in orders}
    assert search.ambiguous == 0


@BOTH
def test_cuts_of_the_unit_cube(enumeration: Enumeration) -> None:
    # x = 0.5, the facet x = 1, the corner x + y = 2 and x + y = 3, which is outside
    normals, biases = [(1, 0), (1, 0), (1, 1), (1, 1)], [-0.5, -1, -2, -3]
    found, _ = cells(enumeration, cuts_of(normals, biases), whole=False)
    assert signs(found) == {(0, 0, 0, 0), (1, 0, 0, 0)}


@BOTH
def test_constants_cost_no_program(enumeration: Enumeration) -> None:
    cuts = cuts_of(np.zeros((3, 2)), [1.0, 0.0, -1.0])
    found, search = cells(enumeration, cuts)
    assert signs(found) == {(1, 0, 0)}
    assert search.programs == (1 if enumeration is exhaustive else 0)


@BOTH
def test_no_decisions_leave_the_parent_whole(enumeration: Enumeration) -> None:
    found, _ = cells(enumeration, cuts_of(np.zeros((0, 2)), np.zeros(0)))
    assert signs(found) == {()}
    assert found[0].mass == 1.0


@BOTH
def test_a_higher_threshold_is_not_reached_below_a_lower_one(enumeration: Enumeration) -> None:
    # one unit x with thresholds 0.25, 0.5, 0.75: four segments, and no (0, 1, ..)
    cuts = cuts_of(np.ones((3, 1)), [-0.25, -0.5, -0.75])
    cuts = replace(cuts, follows=np.array([False, True, True]))
    found, search = cells(enumeration, cuts, whole=False)
    assert signs(found) == {(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)}
    assert search.programs <= 4


@BOTH
def test_parent_cell_bounds_its_cells(enumeration: Enumeration) -> None:
    root, search = search_in(2)
    triangle = np.array(
        [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1 / np.sqrt(2), *(-np.sqrt([0.5, 0.5])))]
    )
    parent = root._replace(rows=triangle, witness=np.array([0.25, 0.25]), mass=0.5)
    cuts = cuts_of([(1, 0), (1, -1), (1, 1)], [-0.5, 0.0, -1.0])
    found = [cell for cell in enumeration(parent, cuts, search) if cell is not None]
    assert signs(found) == {(0, 0, 0), (0, 1, 0), (1, 1, 0)}
    assert search.explored + sum(cell.mass for cell in found) == 0.5


def test_exhaustive_solves_one_program_per_sign_vector() -> None:
    rng = np.random.default_rng(1)
    found, search = cells(exhaustive, cuts_of(rng.normal(size=(5, 5)), rng.normal(size=5)))
    assert (len(found), search.programs) == (32, 32)


def test_incremental_saves_the_side_of_the_witness() -> None:
    rng = np.random.default_rng(1)
    found, search = cells(incremental, cuts_of(rng.normal(size=(5, 5)), rng.normal(size=5)))
    assert (len(found), search.programs) == (32, 31)  # one program per inner node


def test_steps_between_programs_are_given() -> None:
    root, search = search_in(2)
    rng = np.random.default_rng(2)
    cuts = cuts_of(rng.normal(size=(8, 2)), rng.normal(size=8))
    before = 0
    for _ in incremental(root, cuts, search):
        assert search.programs - before <= 2
        before = search.programs


def test_given_decisions_are_followed_on_one_side_only() -> None:
    rng = np.random.default_rng(4)
    normals, biases = rng.normal(size=(6, 2)), rng.normal(size=6)
    whole = signs(cells(incremental, cuts_of(normals, biases))[0])
    for prefix in itertools.product((0, 1), repeat=3):
        found, search = cells(incremental, cuts_of(normals, biases, prefix))
        assert signs(found) == {bits for bits in whole if bits[:3] == prefix}
        assert search.programs <= 3 + 3 * max(1, len(found))


def test_a_given_decision_against_a_constant_is_a_dead_end() -> None:
    found, search = cells(incremental, cuts_of(np.zeros((2, 2)), [1.0, 1.0], (1, 0)))
    assert (found, search.explored) == ([], 1.0)


class TestDoubt:
    def test_a_thin_side_is_counted_once_per_decision(self) -> None:
        cuts = cuts_of([(1, 0), (1, 0)], [-0.5, -0.5 - 1e-12])
        found, search = cells(incremental, cuts, whole=False)
        assert signs(found) == {(0, 0), (1, 1)}
        assert search.ambiguous == 2  # on either side of the first, the second is too close

    def test_exact_zeros_are_no_doubt(self) -> None:
        cuts = cuts_of([(1, 0), (1, 0), (-1, 0)], [-0.5, -0.5, 0.5])
        found, search = cells(incremental, cuts, whole=False)
        assert signs(found) == {(0, 0, 1), (1, 1, 0)}
        assert search.ambiguous == 0

    @BOTH
    def test_a_constant_near_zero_is_counted(self, enumeration: Enumeration) -> None:
        cuts = cuts_of(np.zeros((1, 2)), [0.0])
        doubtful = replace(cuts, doubtful=np.array([True]))
        found, search = cells(enumeration, doubtful)
        assert (signs(found), search.ambiguous) == ({(0,)}, 1)

    @pytest.mark.parametrize(("prefix", "leaves"), [((0, 0), {(0, 0)}), ((0, 1), set())])
    def test_what_is_given_is_not_counted_again(
        self, prefix: tuple[int, ...], leaves: set[tuple[int, ...]]
    ) -> None:
        cuts = cuts_of([(1, 0), (1, 0)], [-0.5, -0.5 - 1e-12], prefix)
        found, search = cells(incremental, cuts, whole=False)
        assert (signs(found), search.ambiguous) == (leaves, 0)


@settings(max_examples=40)
@given(
    rows=st.integers(1, 3).flatmap(
        lambda d: st.lists(
            st.lists(st.integers(-2, 2), min_size=d + 1, max_size=d + 1), min_size=1, max_size=5
        )
    )
)
def test_both_enumerations_agree_with_exact_counting(rows: list[list[int]]) -> None:
    table = np.array(rows, dtype=float)
    biases, normals = table[:, 0], table[:, 1:]
    biases = np.where(normals.any(axis=1), biases, np.sign(biases))
    cuts = cuts_of(normals, biases)
    one_by_one, _ = cells(incremental, cuts)
    all_at_once, _ = cells(exhaustive, cuts)
    assert signs(one_by_one) == signs(all_at_once)
    assert len(one_by_one) == cells_by_deletion(normals, biases)
