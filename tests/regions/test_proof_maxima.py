"""Proven lists of winners: they follow from the proven list of the matches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byways.core import Box, LayerChain, Polytope
from byways.networks import as_chain
from byways.regions import (
    RegionReport,
    Slice,
    WholeSpace,
    check_proof,
    count_regions,
    enumerate_regions,
)
from byways.regions._proof import ProofCheck
from tests.oracles.maxima import nearest, winners_by_lp, winners_of_orders
from tests.regions.proofs import altered

torch = pytest.importorskip("torch")
pools = pytest.importorskip("tests.regions.pools")
nn = torch.nn


def proven(chain: LayerChain, domain: Any, **options: Any) -> tuple[RegionReport, ProofCheck]:
    """Make a certified report; its proof is accepted, and gives the same winners."""
    report = enumerate_regions(chain, domain, exact="certified", **options)
    check = check_proof(chain, domain, report.proof())
    assert check, check.reason
    assert check.regions == len(check.signs) >= len(report) == len(check.winners)
    assert report.ambiguous == 0
    found = chain.states(report.signs)
    np.testing.assert_array_equal(found[np.lexsort(found.T[::-1])], check.winners)
    # A witness has the region's winners, by a forward pass.
    np.testing.assert_array_equal(chain.states(chain.segments(report.witnesses)), found)
    return report, check


@pytest.mark.parametrize("layers", [[[3, 4]], [[5], [3]], [[2, 3], [3, 2]], [[3, 3], [4, 4]]])
@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_every_choice_of_winners_that_a_linear_program_finds(
    inputs: int, layers: list[list[int]]
) -> None:
    chain, parts = pools.random_maxout(np.random.default_rng(inputs), inputs, layers)
    report, check = proven(chain, (-2, 2))
    expected = winners_by_lp(parts, (-2 * np.ones(inputs), 2 * np.ones(inputs)))
    flat = {tuple(place for chosen in choice for place in chosen) for choice in expected}
    assert {tuple(row) for row in check.winners.tolist()} == flat
    plain = enumerate_regions(chain, (-2, 2))
    np.testing.assert_array_equal(report.words, plain.words)
    assert report.layer_counts == plain.layer_counts
    assert sum(report.volume(k) for k in range(len(report))) == pytest.approx(4.0**inputs)


@pytest.mark.parametrize(
    ("module", "n", "layers"),
    [
        (nn.MaxPool1d(3, 1), 5, [[(0, 1, 2), (1, 2, 3), (2, 3, 4)]]),
        (
            nn.Sequential(nn.MaxPool1d(3, 2), nn.MaxPool1d(3)),
            7,
            [[(0, 1, 2), (2, 3, 4), (4, 5, 6)], [(0, 1, 2)]],
        ),
        (nn.MaxPool1d(3, 2, padding=1, ceil_mode=True), 6, [[(0, 1), (1, 2, 3), (3, 4, 5)]]),
    ],
)
def test_pools_against_all_orders(module: Any, n: int, layers: Any) -> None:
    """Where windows overlap two entries of the next one may be the same number: a tie."""
    _, check = proven(as_chain(module, (1, n)), (0, 1))
    np.testing.assert_array_equal(check.winners, winners_of_orders(n, layers)[0])


def test_of_equal_entries_the_first_wins() -> None:
    weight = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.5, 0.5]]
    module = pools.Maxout([(weight, [0.0, 0.0, 0.0, 0.0, 0.25, -0.01], [tuple(range(6))])])
    _, check = proven(as_chain(module, (2,)), (-1, 1))
    assert check.winners.ravel().tolist() == [0, 2, 4]


def test_pools_of_units_that_are_off() -> None:
    """On whole cells all entries are zero, and the first wins."""
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Unflatten(1, (1, 6)), nn.MaxPool1d(3))
    chain = as_chain(module.double(), (2,))
    report, _ = proven(chain, (-2, 2))
    np.testing.assert_array_equal(report.words, enumerate_regions(chain, (-2, 2)).words)
    points = Box([-2.0, -2.0], [2.0, 2.0]).sample(np.random.default_rng(0), 5_000)
    places = report.locate(points)
    assert (places >= 0).all()
    found = chain.states(report.signs)[places]
    np.testing.assert_array_equal(found, chain.states(chain.segments(points)))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_nearest_points_in_the_whole_space(dim: int) -> None:
    points = np.random.default_rng(dim).uniform(-1, 1, (5, dim))
    chain = as_chain(pools.Maxout([(*nearest(points), pools.side_by_side(5))]), (dim,))
    _, check = proven(chain, WholeSpace(dim))
    assert check.winners.ravel().tolist() == list(range(5))


def test_a_sliver_that_floating_point_does_not_see() -> None:
    """Of three tangents to a parabola, nearly equal, each is the largest somewhere."""
    at = np.array([0.0, 1e-12, 2e-12])
    chain = as_chain(pools.Maxout([(2 * at[:, None], -(at**2), [(0, 1, 2)])]), (1,))
    assert len(enumerate_regions(chain, (-1, 1))) < 3
    report, check = proven(chain, (-1, 1))
    assert check.winners.ravel().tolist() == [0, 1, 2]
    assert report.rational > 0


def test_polytopes_and_slices() -> None:
    chain, _ = pools.random_maxout(np.random.default_rng(5), 3, [[3, 4], [3]])
    cut = Polytope([[1.0, 1.0, 1.0]], [0.5], Box([-1.0] * 3, [1.0] * 3))
    plane = Slice([0.1, 0.2, 0.3], [[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]], Box([-1, -1], [1, 1]))
    for domain in (cut, plane):
        report, _ = proven(chain, domain)
        np.testing.assert_array_equal(report.words, enumerate_regions(chain, domain).words)


def test_damaged_proofs_are_refused() -> None:
    chain, _ = pools.random_maxout(np.random.default_rng(1), 2, [[3, 3], [4]])
    report, _ = proven(chain, (-1, 1))
    proof = report.proof()
    open_side = altered(proof, decision=proof.decision[:-1], kept=proof.kept[:-1])
    moved = altered(proof, points=proof.points[::-1].copy())
    negative = altered(proof, value=-proof.value)
    for damaged in (open_side, moved, negative):
        check = check_proof(chain, (-1, 1), damaged)
        assert not check
        assert check.winners.shape[0] == check.regions == 0


def test_kept_counted_and_saved(tmp_path: Path) -> None:
    chain, _ = pools.random_maxout(np.random.default_rng(2), 2, [[3, 3], [3]])
    report, check = proven(chain, (-1, 1))
    count = count_regions(chain, (-1, 1), exact="certified")
    assert (count.total, count.layer_counts) == (len(report), report.layer_counts)
    for _ in range(2):  # the second time from the directory
        kept, _ = proven(chain, (-1, 1), run_dir=tmp_path / "run")
        assert kept.digest() == report.digest()
    shared, _ = proven(chain, (-1, 1), workers=2)
    assert shared.digest() == report.digest()
    report.save(tmp_path / "report.npz")
    again = RegionReport.load(tmp_path / "report.npz")
    assert again.digest() == report.digest()
    assert check_proof(chain, (-1, 1), again.proof())
    assert f"so {len(report)} of equal winners" in str(check)
