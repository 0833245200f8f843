"""Bounds and estimates against exact counts, and integrals against closed forms and sums."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.integrate import dblquad

from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.core.errors import DomainError
from byways.networks import arrangement, example, random_network, tent_chain
from byways.regions import Slice, WholeSpace, count_regions, enumerate_regions, estimate_regions
from byways.regions._bounds import product_bound, serra_bound
from tests.oracles.counts import generic_regions
from tests.regions.nets import as_module


@pytest.mark.parametrize("seed", range(6))
def test_bounds_hold(seed: int) -> None:
    chain = random_network((1 + seed % 3, 5, 4, 2), rng=seed)
    count = count_regions(chain, (-1, 1)).total
    found = estimate_regions(chain, (-1, 1), samples=3000, budget=60.0)
    assert found.seen <= count <= found.upper <= found.product
    assert found.exact is not None
    assert found.lower == found.exact.total == count
    assert str(found) == f"exactly {count:,} regions"


def test_volumes_predict_what_samples_meet() -> None:
    """The expected number of distinct patterns is the sum of 1 - (1 - volume)^samples."""
    chain = random_network((2, 12, 12, 1), rng=3)
    report = enumerate_regions(chain, (0, 1))
    volumes = np.array([report.volume(k) for k in range(len(report))])
    n = 500
    draws = [estimate_regions(chain, (0, 1), samples=n, rng=seed) for seed in range(40)]
    expected = (1 - (1 - volumes) ** n).sum()
    assert np.mean([d.seen for d in draws]) == pytest.approx(expected, rel=0.03)
    unseen = (volumes * (1 - volumes) ** (n - 1)).sum()
    assert np.mean([d.unseen_share for d in draws]) == pytest.approx(unseen, abs=0.005)


def test_chao_is_exact_where_pieces_are_equal() -> None:
    draws = [estimate_regions(tent_chain(8), (0, 1), samples=200, rng=i).chao1 for i in range(40)]
    assert np.mean(draws) == pytest.approx(256, rel=0.1)


def test_product_and_rank_bound_of_one_layer_are_the_closed_form() -> None:
    for n, d in ((5, 2), (7, 3), (3, 4)):
        assert product_bound(d, [(n, 1, True)]) == generic_regions(n, d)
        assert serra_bound(d, [(n, 1, True)]) == generic_regions(n, d)
    assert product_bound(2, [(1, 1, True), (4, 1, True)]) == 2 * 5  # rank 1 after one unit
    assert product_bound(3, [(2, 1, True), (4, 1, True)]) == 4 * 11


def test_high_dimensions_are_called_what_they_are() -> None:
    chain = random_network((60, 40, 40, 1), rng=0)
    found = estimate_regions(chain, (-1, 1), samples=200)
    assert found.seen > 180
    assert "nearly every sample had a region of its own" in str(found)
    few = estimate_regions(example("digits").chain, (0, 1), samples=50, budget=0.05)
    assert few.exact is not None
    assert not few.exact.outcome.complete
    assert few.lower >= few.exact.total


def test_polytopes_and_slices_are_sampled_inside() -> None:
    chain = LayerChain.from_arrays([([[1.0, 1.0]], [-1.5]), ([[1.0]], [0.0])])
    triangle = Polytope([[1.0, 1.0]], [1.0], Box([0, 0], [1, 1]))
    assert estimate_regions(chain, triangle).seen == 1  # the line misses it
    assert estimate_regions(chain, (0, 1)).seen == 2
    line = Slice([0.0, 0.0], [[1.0, 1.0]], ([0.0], [0.7]))
    assert estimate_regions(chain, line).seen == 1


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"samples": 0}, ValueError, '"samples" was 0; it is a whole number'),
        ({"samples": 2.5}, TypeError, '"samples" was 2.5; it is a whole number'),
        ({"samples": True}, TypeError, '"samples" was True'),
        ({"budget": 0.0}, ValueError, '"time_limit" was 0.0; give a positive number'),
        ({"domain": WholeSpace(1)}, DomainError, "no uniform distribution; give a Box"),
    ],
)
def test_refused(options: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        estimate_regions(tent_chain(2), **{"domain": (0, 1), **options})


def test_a_needle_in_its_box_is_refused() -> None:
    needle = Polytope([[1.0, 1.0]], [1e-4], Box([0, 0], [1, 1]))
    with pytest.raises(DomainError, match="give a box that fits more closely"):
        estimate_regions(random_network((2, 3, 1), rng=0), needle, samples=20_000)


@pytest.mark.parametrize("depth", [1, 4, 7])
def test_tents_have_mean_one_half(depth: int) -> None:
    integral = enumerate_regions(tent_chain(depth), (0, 1)).integral()
    assert integral == pytest.approx(np.array([0.5]), abs=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5])
def test_sums_of_absolute_values(dim: int) -> None:
    """Over [-1, 1]^d the integral of sum |x_i| is d 2^(d - 1)."""
    weight = np.vstack([np.eye(dim), -np.eye(dim)])
    chain = LayerChain.from_arrays([(weight, np.zeros(2 * dim)), (np.ones((1, 2 * dim)), [0.0])])
    report = enumerate_regions(chain, (-1, 1))
    assert report.integral() == pytest.approx(np.array([dim * 2.0 ** (dim - 1)]))


def test_quadrature_agrees() -> None:
    chain = random_network((2, 4, 3, 2), rng=5)
    integral = enumerate_regions(chain, ([-1, 0], [1, 0.5])).integral()
    for i in range(2):
        peer, _ = dblquad(
            lambda y, x, i=i: float(chain(np.array([x, y]))[i]), -1, 1, 0, 0.5, epsabs=1e-4
        )
        assert integral[i] == pytest.approx(peer, abs=1e-3)


def test_integral_over_a_slice_is_along_its_coordinates() -> None:
    chain = LayerChain.from_arrays([(np.eye(2), [0.0, 0.0]), ([[1.0, 1.0]], [0.0])])
    line = Slice([0.0, 0.0], [[3.0, 0.0]], ([0.0], [2.0]))  # relu(3 t) from 0 to 2
    assert enumerate_regions(chain, line).integral() == pytest.approx(np.array([6.0]))
    with pytest.raises(DomainError, match="integrals diverge; use a Box"):
        enumerate_regions(chain, WholeSpace(2)).integral()


def test_the_maps_are_the_derivatives_that_torch_takes() -> None:
    torch = pytest.importorskip("torch")
    chain = random_network((3, 5, 4, 2), rng=2)
    report = enumerate_regions(chain, (-1, 1))
    module = as_module(chain)
    for k in range(0, len(report), 7):
        x = torch.tensor(report.witnesses[k])
        jacobian = torch.autograd.functional.jacobian(module, x)
        assert np.allclose(jacobian.numpy(), report.affine(k).weight)


def test_parts_that_do_not_hang_together() -> None:
    """A bump: flat, up, down, flat. The two flat ends have one map but do not touch."""
    bump = [([[1.0], [1.0], [1.0]], [-1.0, -2.0, -3.0]), ([[1.0, -2.0, 1.0]], [0.0])]
    report = enumerate_regions(bump, (0, 4))
    assert report.distinct_maps().max() + 1 == 3
    assert report.distinct_maps(connected=True).tolist() == [0, 1, 2, 3]
    # Central planes: all regions of a zero output have one map and hang together.
    plain = [(w, 0 * np.ones(len(w))) for w in (np.eye(2),)]
    dead = LayerChain.from_arrays([*plain, (np.zeros((1, 2)), [0.0])])
    assert enumerate_regions(dead, (-1, 1)).distinct_maps(connected=True).tolist() == [0] * 4


def test_neighbours_are_few() -> None:
    """Cells of an arrangement in d dimensions have at most 2 d neighbours on average."""
    for dim, seed in itertools.product((2, 3), range(3)):
        report = enumerate_regions(random_network((dim, 8, 1), rng=seed), (-1, 1))
        assert report.adjacency().sum() / len(report) <= 2 * dim
    braid = enumerate_regions(arrangement("braid", 4), WholeSpace(4))
    assert (braid.adjacency().sum(axis=1) == 3).all()  # the permutohedron's graph
