"""Numbers of regions that are known from elsewhere, asked for at the public door."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from byways.core.activations import PiecewiseLinear, absolute, clamp, hardtanh, leaky_relu, relu
from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.networks import (
    arrangement,
    central_arrangement,
    folding_network,
    generic_arrangement,
    random_network,
    tent_chain,
)
from byways.regions import Outcome, Slice, WholeSpace, count_regions, enumerate_regions
from byways.regions._domains import Domain
from tests.oracles.counts import (
    CENTRAL,
    GENERIC,
    PUBLISHED,
    PUBLISHED_LARGE,
    bounded_generic_regions,
    folded_regions,
    generic_faces,
    generic_regions,
)
from tests.oracles.patterns import patterns_by_lp
from tests.oracles.plain import hidden_layers

FEW = 130  # regions that method "lp" finds in well under a second
KNOWN = {**PUBLISHED, **PUBLISHED_LARGE}
NAMES = ("braid", "type_b", "shi", "catalan", "linial", "resonance", "threshold")
IN_THE_SUITE = 45_000  # cells; the rest is slow
FAMILIES = sorted(
    case for case, cells in KNOWN.items() if cells <= IN_THE_SUITE and case[0] in NAMES
)
DIFFERENCES = [case for case in FAMILIES if case[0] in ("braid", "shi", "catalan", "linial")]


def methods(cells: int, *, few: bool = False) -> list[str]:
    """Name the methods that can be asked for so many cells."""
    return ["simplex", *(["lp"] if cells <= FEW else []), *(["vertices"] if few else [])]


def counted(network: object, domain: object, method: str = "auto") -> int:
    """Count, and check what holds for every complete count of exact numbers."""
    count = count_regions(network, domain, method=method)
    assert count.outcome is Outcome.COMPLETE
    assert count.layer_counts[-1:] in {(), (count.total,)}
    assert list(count.layer_counts) == sorted(count.layer_counts)
    return count.total


@pytest.mark.parametrize(("kind", "n"), FAMILIES)
def test_families_in_the_whole_space(kind: Any, n: int) -> None:
    chain, cells = arrangement(kind, n), KNOWN[kind, n]
    for method in methods(cells):
        assert counted(chain, WholeSpace(chain.input_size), method) == cells


@pytest.mark.parametrize(("kind", "n"), [case for case in FAMILIES if KNOWN[case] <= 12_000])
def test_families_in_a_box_that_meets_every_cell(kind: Any, n: int) -> None:
    chain, cells = arrangement(kind, n), KNOWN[kind, n]
    half = n / 2 + 1  # no cell of these families needs coordinates beyond n / 2
    for method in methods(cells if n <= 4 else FEW + 1, few=chain.input_size <= 6):
        assert counted(chain, (-half, half), method) == cells


@pytest.mark.parametrize(("kind", "n"), [case for case in DIFFERENCES if case[1] == 3])
def test_differences_of_three_in_the_plane_across_their_diagonal(kind: Any, n: int) -> None:
    # Nothing changes along (1, 1, 1), so the plane across it meets every cell.
    across = [[1.0, -1.0, 0.0], [1.0, 1.0, -2.0]]
    plane = Slice(np.zeros(3), across, extent=4.0)
    for method in methods(KNOWN[kind, n], few=True):
        assert counted(arrangement(kind, n), plane, method) == KNOWN[kind, n]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n"), [("resonance", 6), ("threshold", 5)])
def test_large_families(kind: Any, n: int) -> None:
    chain = arrangement(kind, n)
    assert counted(chain, WholeSpace(chain.input_size)) == KNOWN[kind, n]


@pytest.mark.parametrize(("dim", "n"), GENERIC)
def test_hyperplanes_in_general_position(dim: int, n: int) -> None:
    cells = GENERIC[dim, n]
    for method in methods(cells):
        assert counted(generic_arrangement(n, dim, rng=n), WholeSpace(dim), method) == cells


@pytest.mark.parametrize("n", [1, 2, 5, 9])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_few_hyperplanes_in_general_position(dim: int, n: int) -> None:
    chain = generic_arrangement(n, dim, rng=100 * n + dim)
    for method in methods(generic_regions(n, dim)):
        assert counted(chain, WholeSpace(dim), method) == generic_regions(n, dim)


@pytest.mark.parametrize("n", [10, 20])
def test_lines_whose_crossings_all_lie_in_the_box(n: int) -> None:
    # Tangents of the unit circle at the points of a regular polygon, every other one turned.
    angles = np.arange(n) * (2 * np.pi / n) + 0.01 * np.arange(n) ** 2
    chain = LayerChain.from_arrays(
        [(np.column_stack([np.cos(angles), np.sin(angles)]), np.ones(n)), (np.ones((1, n)), [0])]
    )
    normals = chain.layers[0].map.to_dense()
    crossings = [
        np.linalg.solve(normals[[i, j]], [-1.0, -1.0])
        for i, j in itertools.combinations(range(n), 2)
    ]
    half = 2 * np.abs(crossings).max()
    for method in methods(generic_regions(n, 2), few=True):
        assert counted(chain, (-half, half), method) == generic_regions(n, 2)


@pytest.mark.parametrize(("dim", "n"), CENTRAL)
def test_hyperplanes_through_the_origin(dim: int, n: int) -> None:
    chain, cells = central_arrangement(n, dim, rng=7), CENTRAL[dim, n]
    for method in methods(cells):
        assert counted(chain, WholeSpace(dim), method) == cells
    for method in methods(cells, few=dim <= 6):
        assert counted(chain, (-1, 2), method) == cells


@pytest.mark.parametrize(("dim", "n"), [(1, 6), (2, 10), (3, 8), (4, 7)])
def test_bounded_cells_and_vertices(dim: int, n: int) -> None:
    report = enumerate_regions(generic_arrangement(n, dim, rng=3), WholeSpace(dim))
    bounded = [k for k in range(len(report)) if np.isfinite(report.volume(k))]
    assert len(bounded) == bounded_generic_regions(n, dim)
    corners = np.concatenate([report.vertices(k) for k in bounded])
    assert len(np.unique(np.round(corners, 6), axis=0)) == generic_faces(n, dim, 0)


@pytest.mark.parametrize(("dim", "n"), [(1, 6), (2, 10), (3, 12), (4, 9)])
def test_facets_between_cells(dim: int, n: int) -> None:
    report = enumerate_regions(generic_arrangement(n, dim, rng=3), WholeSpace(dim))
    assert report.adjacency().sum() == 2 * generic_faces(n, dim, dim - 1)


def test_neighbours_in_the_braid_arrangement_are_swaps_of_neighbouring_values() -> None:
    report = enumerate_regions(arrangement("braid", 5), WholeSpace(5))
    order = [tuple(row) for row in np.argsort(report.witnesses, axis=1)]
    assert len(set(order)) == 120
    place = {permutation: k for k, permutation in enumerate(order)}
    expected = np.zeros((120, 120), dtype=np.uint8)
    for permutation, i in itertools.product(order, range(4)):
        swapped = list(permutation)
        swapped[i], swapped[i + 1] = swapped[i + 1], swapped[i]
        expected[place[permutation], place[tuple(swapped)]] = 1
    assert np.array_equal(report.adjacency().toarray(), expected)


FOLDINGS = [(2, 5, 1), (3, 3, 1), (2, 3, 2), (3, 3, 2), (2, 3, 3)]


@pytest.mark.parametrize(("p", "depth", "dim"), FOLDINGS)
def test_folded_cubes(p: int, depth: int, dim: int) -> None:
    chain, cells = folding_network(p, depth, dim), folded_regions(p, depth, dim)
    for method in methods(cells, few=True):
        count = count_regions(chain, (0, 1), method=method)
        assert count.total == cells
        assert count.layer_counts == tuple(p ** (dim * (i + 1)) for i in range(depth))
    report = enumerate_regions(chain, (0, 1))
    assert [report.volume(k) for k in range(cells)] == pytest.approx([1 / cells] * cells)


@pytest.mark.parametrize("depth", [1, 4, 10])
def test_tents(depth: int) -> None:
    report = enumerate_regions(tent_chain(depth), (0, 1))
    assert report.layer_counts == tuple(2**i for i in range(1, depth + 1))
    slopes = report.affine(slice(None)).weight.ravel()
    assert sorted(slopes) == [-(2.0**depth)] * 2 ** (depth - 1) + [2.0**depth] * 2 ** (depth - 1)


def torch_module(*widths: int) -> Any:
    """Build the published recipe: default initialisation in the order of the layers."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    linear = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    parts = [part for layer in linear[:-1] for part in (layer, torch.nn.ReLU())]
    return torch.nn.Sequential(*parts, linear[-1]).double()


WHOLE_SPACE = {
    (2, 10, 5, 1): 124,
    (2, 16, 16, 1): 572,
    (2, 32, 32, 1): 2268,
    (3, 16, 16, 1): 5028,
    (4, 16, 1): 2517,
}
TEN_WIDE = {(2, 32, 32, 1): 2101, (2, 64, 64, 1): 7556, (2, 64, 64, 64, 1): 18863}
HIDDEN_ONLY = {
    (2, 16, 16): 127,
    (2, 32, 32): 795,
    (3, 16, 16): 1276,
    (3, 32, 32): 11512,
    (4, 24, 24): 36394,
    (5, 16, 16): 15621,
    (6, 12, 12): 7990,
    (8, 10, 10): 8197,
}


@pytest.mark.parametrize("widths", WHOLE_SPACE, ids=str)
def test_seeded_modules_in_the_whole_space(widths: tuple[int, ...]) -> None:
    cells = WHOLE_SPACE[widths]
    for method in methods(cells):
        assert counted(torch_module(*widths), WholeSpace(widths[0]), method) == cells


@pytest.mark.parametrize("widths", TEN_WIDE, ids=str)
@pytest.mark.parametrize("method", ["vertices", "simplex"])
def test_seeded_modules_in_a_wide_box(widths: tuple[int, ...], method: str) -> None:
    assert counted(torch_module(*widths), (-10, 10), method) == TEN_WIDE[widths]


@pytest.mark.parametrize("widths", HIDDEN_ONLY, ids=str)
def test_seeded_hidden_layers_in_the_unit_box(widths: tuple[int, ...]) -> None:
    # The last layer takes its numbers from the generator after the hidden ones, so they stay.
    module, cells = torch_module(*widths, 1), HIDDEN_ONLY[widths]
    for method in methods(cells, few=widths[0] <= 6):
        assert counted(module, (-1, 1), method) == cells


@pytest.mark.slow
@pytest.mark.parametrize("widths", [(2, 16, 16), (2, 32, 32), (3, 16, 16)], ids=str)
def test_one_program_per_candidate_finds_the_same_lists(widths: tuple[int, ...]) -> None:
    module = torch_module(*widths, 1)
    reports = [enumerate_regions(module, (-1, 1), method=m) for m in ("lp", "simplex")]
    assert np.array_equal(reports[0].signs, reports[1].signs)
    assert len(reports[0]) == HIDDEN_ONLY[widths]


DUPLICATES = [
    ([(1, 0), (1, 0), (0, 1), (0, 0)], [0, -0.5, 0, 1], 6),
    ([(1, 0), (2, 0), (0, 1)], [0, 0, 0], 4),
    ([(1, 2), (1, 2)], [0.5, 0.5], 2),
    ([(1, 2), (-3, -6)], [0.5, -1.5], 2),
    ([(0, 0), (0, 0)], [0, -1], 1),
    ([(1, 0), (0, 1), (1, 0), (0, 1)], [-1, 1, 1, -1], 1),  # sides of the box
]


@pytest.mark.parametrize("method", ["lp", "simplex", "vertices"])
@pytest.mark.parametrize(("weight", "bias", "cells"), DUPLICATES)
def test_duplicate_and_zero_rows(weight: Any, bias: Any, cells: int, method: str) -> None:
    network = [(np.array(weight, dtype=float), bias), (np.ones((1, len(bias))), [0.0])]
    assert counted(network, (-1, 1), method) == cells


def test_duplicate_rows_set_both_signs() -> None:
    report = enumerate_regions(
        [([[1.0], [1.0], [-1.0]], [0, 0, 0]), (np.ones((1, 3)), [0])], (-1, 1)
    )
    assert report.signs.tolist() == [[0, 0, 1], [1, 1, 0]]


def test_the_same_unit_twice_in_two_layers() -> None:
    # The second layer asks again what the first has decided.
    pair = ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
    assert counted([pair, pair, pair, ([[1.0, 1.0]], [0.0])], (-1, 1)) == 4


ACTIVATIONS: dict[str, PiecewiseLinear] = {
    "relu": relu,
    "leaky": leaky_relu(0.2),
    "absolute": absolute,
    "hardtanh": hardtanh(-0.5, 0.5),
    "relu6": clamp(0.0, 0.75),
}
CUBE = Box([-1.0] * 3, [1.0] * 3)
FLAT = Box([-1.0, 0.25, -0.5], [1.0, 0.25, 1.5])
DOMAINS: dict[str, Domain] = {
    "box": CUBE,
    "around": Box.around([0.9, 0.2, -0.3], 0.4, clip=(-1, 1)),
    "polytope": Polytope([[1.0, 1.0, 0.5], [-1.0, 0.3, 0.2]], [0.7, 0.8], CUBE),
    "slice": Slice([0.1, -0.2, 0.3], [[1.0, 0.5, 0.0], [0.0, -0.5, 1.0]], extent=(-1, 2)),
    "line": Slice([0.1, -0.2, 0.3], [[1.0, 0.5, -1.0]], extent=1.5),
    "flat side": FLAT,
    "flat polytope": Polytope([[1.0, 0.0, 1.0]], [0.4], FLAT),
    "whole space": WholeSpace(3),
}


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_methods_agree(activation: str, domain: str) -> None:
    chain = random_network([3, 4, 3, 2], rng=11, activation=ACTIVATIONS[activation])
    names = ["simplex", "lp", *(["vertices"] if domain != "whole space" else [])]
    reports = {name: enumerate_regions(chain, DOMAINS[domain], method=name) for name in names}
    first = reports["simplex"]
    assert len(first) > 1
    for report in reports.values():
        assert np.array_equal(report.signs, first.signs)
        assert report.layer_counts == first.layer_counts
        assert np.array_equal(chain.segments(report.witnesses), report.signs)


@pytest.mark.parametrize("where", ["box", "whole space"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_signs_are_those_of_one_program_per_candidate(activation: str, where: str) -> None:
    chain = random_network([2, 3, 2, 1], rng=5, activation=ACTIVATIONS[activation])
    box = ([-1.0] * 2, [1.0] * 2) if where == "box" else None
    expected = sorted(patterns_by_lp(hidden_layers(chain), box))
    report = enumerate_regions(chain, WholeSpace(2) if box is None else (-1, 1))
    assert report.signs.tolist() == [list(row) for row in expected]


@pytest.mark.parametrize("solver", ["highs", "scipy"])
def test_both_free_solvers(solver: str) -> None:
    chain = arrangement("shi", 3)
    assert count_regions(chain, WholeSpace(3), method="lp", solver=solver).total == 16


def test_no_hidden_unit_is_one_region() -> None:
    network = [([[1.0, 2.0], [0.5, -1.0]], [0.5, 0.0])]
    for domain in ((-1, 1), WholeSpace(2)):
        report = enumerate_regions(network, domain)
        assert (len(report), report.layer_counts) == (1, ())
        assert report.signs.shape == (1, 0)
        assert report.affine(0).weight.tolist() == [[1.0, 2.0], [0.5, -1.0]]
        assert counted(network, domain) == 1


def test_a_dead_layer_is_one_region() -> None:
    dead = [(np.eye(2), [-9.0, -9.0]), (np.eye(2), [1.0, -1.0]), ([[1.0, 1.0]], [0.0])]
    report = enumerate_regions(dead, (-1, 1))
    assert report.signs.tolist() == [[0, 0, 1, 0]]
    assert report.affine(0).weight.tolist() == [[0.0, 0.0]]
    assert report.affine(0).bias.tolist() == [1.0]
    assert report.ranks().tolist() == [0]
