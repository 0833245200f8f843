from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byways.core import LayerChain, hardtanh
from byways.networks.generate import (
    arrangement,
    arrangement_count,
    central_arrangement,
    central_count,
    folding_network,
    generic_arrangement,
    generic_count,
    random_network,
    tent_chain,
)
from tests.oracles import counts
from tests.oracles.lines import intervals
from tests.oracles.patterns import patterns_by_lp
from tests.oracles.plain import forward, hidden_layers, plain_layers
from tests.oracles.polygons import area, polygons

FAMILIES = ("braid", "type_b", "shi", "catalan", "linial", "resonance", "threshold")
DIFFERENCES = ("braid", "shi", "catalan", "linial")


def exact_cells(chain: LayerChain) -> int:
    layer = chain.layers[0]
    return counts.cells_by_deletion(layer.map.to_dense(), layer.bias)


@pytest.mark.parametrize(("family", "cells"), counts.PUBLISHED.items(), ids=str)
def test_families_have_the_published_number_of_cells(family: tuple[Any, int], cells: int) -> None:
    kind, n = family
    chain = arrangement(kind, n)
    assert chain.input_size == n + (kind == "threshold")
    assert arrangement_count(kind, n) == cells
    assert exact_cells(chain) == cells


@pytest.mark.slow
def test_resonance_in_five_dimensions_cell_by_cell() -> None:
    assert exact_cells(arrangement("resonance", 5)) == 11292


@pytest.mark.parametrize(("family", "cells"), counts.PUBLISHED_LARGE.items(), ids=str)
def test_larger_counts_are_the_published_ones(family: tuple[Any, int], cells: int) -> None:
    assert arrangement_count(*family) == cells


@pytest.mark.parametrize(
    ("kind", "n", "hyperplanes"),
    [
        ("braid", 5, 10),
        ("type_b", 3, 9),
        ("shi", 4, 12),
        ("catalan", 4, 18),
        ("linial", 4, 6),
        ("resonance", 4, 15),
        ("threshold", 3, 8),
    ],
)
def test_a_unit_per_hyperplane_and_none_twice(kind: Any, n: int, hyperplanes: int) -> None:
    layer = arrangement(kind, n).layers[0]
    rows = np.column_stack([layer.map.to_dense(), layer.bias])
    assert layer.width == hyperplanes
    assert len(np.unique(rows, axis=0)) == hyperplanes


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_cell_meets_the_small_box(kind: Any) -> None:
    n = 3
    chain = arrangement(kind, n)
    side = np.full(chain.input_size, n / 2)
    assert len(patterns_by_lp(hidden_layers(chain), (-side, side))) == arrangement_count(kind, n)


@pytest.mark.parametrize("kind", ["braid", "type_b", "resonance"])
def test_families_without_constants_meet_any_box_around_the_origin(kind: Any) -> None:
    box = ([-1e-3, -2e-3], [3e-3, 1e-3])
    assert len(polygons(hidden_layers(arrangement(kind, 2)), box)) == arrangement_count(kind, 2)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 100))
def test_generic_hyperplanes_are_generic(n: int, dim: int, seed: int) -> None:
    chain = generic_arrangement(n, dim, rng=seed)
    assert chain.widths == (dim, n, 1)
    assert exact_cells(chain) == generic_count(n, dim) == counts.generic_regions(n, dim)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 100))
def test_central_hyperplanes_are_generic_otherwise(n: int, dim: int, seed: int) -> None:
    chain = central_arrangement(n, dim, rng=seed)
    assert not chain.layers[0].bias.any()
    assert exact_cells(chain) == central_count(n, dim) == counts.central_regions(n, dim)


def test_counts_of_generic_hyperplanes_are_the_published_ones() -> None:
    for (dim, n), cells in counts.GENERIC.items():
        assert generic_count(n, dim) == cells
    for (dim, n), cells in counts.CENTRAL.items():
        assert central_count(n, dim) == cells


def test_normals_have_length_one_and_the_last_layer_adds_up() -> None:
    chain = generic_arrangement(50, 6, rng=0)
    normals = chain.layers[0].map.to_dense()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    x = np.random.default_rng(1).standard_normal((7, 6))
    expected = np.maximum(x @ normals.T + chain.layers[0].bias, 0).sum(axis=1)
    np.testing.assert_allclose(chain(x)[:, 0], expected)


@pytest.mark.parametrize("depth", [1, 2, 3, 10])
def test_the_tent_has_two_to_the_depth_regions(depth: int) -> None:
    chain = tent_chain(depth)
    assert chain.widths == (1, *[2] * depth, 1)
    found = intervals(hidden_layers(chain), 0, 1)
    assert len(found) == 2**depth
    ends = [Fraction(i, 2**depth) for i in range(2**depth + 1)]
    assert [interval.left for interval in found] == ends[:-1]
    layers = plain_layers(chain)
    assert [forward(layers, [x])[0] for x in ends[:9]] == [i % 2 for i in range(len(ends[:9]))]
    segments = np.array([interval.pattern for interval in found])
    slopes = chain.local_map(segments).weight.ravel()
    assert slopes.tolist() == [(-1) ** i * 2**depth for i in range(2**depth)]


@pytest.mark.parametrize(
    ("p", "layers", "dim", "regions"),
    [(2, 5, 1, 32), (3, 3, 1, 27), (2, 3, 2, 64), (3, 3, 2, 729), (2, 3, 3, 512), (5, 2, 1, 25)],
)
def test_folds_multiply(p: int, layers: int, dim: int, regions: int) -> None:
    chain = folding_network(p, layers, dim)
    assert chain.widths == (dim, *[p * dim] * layers, dim)
    hidden = hidden_layers(chain)
    assert counts.folded_regions(p, layers, dim) == regions
    if dim == 1:
        assert len(intervals(hidden, 0, 1)) == regions
    elif dim == 2:
        found = polygons(hidden, ([0, 0], [1, 1]))
        assert len(found) == regions
        assert {area(polygon) for polygon in found.values()} == {Fraction(1, regions)}
    else:  # the middles of the small cubes: one pattern each
        axis = (np.arange(p**layers) + 0.5) / p**layers
        middles = np.array(list(itertools.product(axis, repeat=dim)))
        assert len(np.unique(chain.segments(middles), axis=0)) == regions


@pytest.mark.parametrize("p", [2, 3, 7])
def test_a_fold_goes_up_and_down_between_zero_and_one(p: int) -> None:
    layers = plain_layers(folding_network(p, 2))
    values = [forward(layers, [Fraction(i, p * p)])[0] for i in range(p * p + 1)]
    assert values == [i % 2 for i in range(p * p + 1)]
    assert all(w.denominator == 1 for layer in layers for row in layer.weight for w in row)


def test_random_weights_have_the_variance_of_he() -> None:
    chain = random_network([200, 300, 2], rng=0, activation=hardtanh())
    first = chain.layers[0]
    weight = first.map.to_dense()
    assert weight.var() == pytest.approx(2 / 200, rel=0.03)
    assert weight.mean() == pytest.approx(0, abs=2e-3)
    assert abs(first.bias).max() <= 200**-0.5
    assert first.bias.std() == pytest.approx(200**-0.5 / 3**0.5, rel=0.1)
    assert chain.widths == (200, 300, 2)
    assert [layer.activation.name for layer in chain.layers] == ["clamp", "identity"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: generic_arrangement(5, 3, rng),
        lambda rng: central_arrangement(5, 3, rng),
        lambda rng: random_network([3, 4, 2], rng),
    ],
    ids=["generic", "central", "random"],
)
def test_equal_seeds_give_equal_chains(draw: Callable[[Any], LayerChain]) -> None:
    assert draw(1).digest() == draw(np.random.default_rng(1)).digest()
    assert len({draw(seed).digest() for seed in (1, 2, None, None)}) == 4


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: arrangement("coxeter", 3),
            ValueError,
            "\"kind\" was 'coxeter'; it must be one of",
        ),  # type: ignore[arg-type]
        (lambda: arrangement_count("x", 3), ValueError, "braid, type_b, shi"),  # type: ignore[arg-type]
        (lambda: arrangement("braid", 1), ValueError, '"n" was 1; it must be at least 2'),
        (lambda: arrangement("resonance", 0), ValueError, '"n" was 0; it must be at least 1'),
        (lambda: arrangement_count("resonance", 8), ValueError, "tabulated up to 7"),
        (lambda: arrangement_count("threshold", 7), ValueError, "tabulated up to 6"),
        (lambda: generic_arrangement(0, 2), ValueError, '"n" was 0'),
        (lambda: generic_count(3, 0), ValueError, '"dim" was 0'),
        (lambda: central_count(2.0, 2), TypeError, '"n" was 2.0; it must be an integer'),  # type: ignore[arg-type]
        (lambda: tent_chain(True), TypeError, '"depth" was True'),
        (lambda: tent_chain(0), ValueError, '"depth" was 0'),
        (lambda: folding_network(1, 2), ValueError, '"p" was 1; it must be at least 2'),
        (lambda: folding_network(2, 0), ValueError, '"layers" was 0'),
        (lambda: folding_network(2, 1, 0), ValueError, '"dim" was 0'),
        (lambda: random_network([3]), ValueError, '"widths" was [3]'),
        (lambda: random_network([]), ValueError, '"widths" was []'),
        (lambda: random_network([3, 0, 1]), ValueError, '"widths[1]" was 0'),
        (lambda: random_network([3, 1], rng="1"), TypeError, "\"rng\" was '1'"),  # type: ignore[arg-type]
    ],
    ids=[str(i) for i in range(18)],
)
def test_sizes_that_do_not_exist_are_refused(
    call: Callable[[], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        call()


def test_numpy_integers_are_sizes() -> None:
    assert generic_count(np.int64(10), np.int32(2)) == 56  # type: ignore[arg-type]
    assert tent_chain(np.int64(2)).units == 4  # type: ignore[arg-type]
