"""Proofs in the whole space, against closed forms; and tampered ones.

On R^d a combination of rows is bounded only where its slopes cancel exactly, so a proof stands or
falls with every single multiplier.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from byways.core.activations import absolute, hardtanh, leaky_relu
from byways.core.chain import LayerChain
from byways.core.domains import Box
from byways.networks import random_network
from byways.networks.generate import arrangement, generic_arrangement
from byways.regions import RegionReport, WholeSpace, check_proof, enumerate_regions
from byways.regions._proof import Proof
from tests.oracles.counts import PUBLISHED, generic_regions
from tests.oracles.plain import hidden_layers
from tests.oracles.rational import patterns_by_vertices
from tests.regions.proofs import altered

PLANE = WholeSpace(2)


def certified(chain: Any, domain: Any = None) -> RegionReport:
    """Make a certified report whose proof the checker accepts."""
    space = domain or WholeSpace(chain.input_size)
    report = enumerate_regions(chain, space, exact="certified")
    check = check_proof(chain, space, report.proof())
    assert check, str(check)
    assert (check.signs == report.signs).all()
    return report


def changed(proof: Proof, side: int, to: Any) -> Proof:
    """Write other multipliers down for one refused side, all of them as texts."""
    first, end = proof.start[side : side + 2].tolist()
    exact = dict(zip(proof.value_at.tolist(), proof.value_exact.tolist(), strict=True))
    given = [Fraction(exact.get(i, value)) for i, value in enumerate(proof.value.tolist())]
    exact |= {i: str(x) for i, x in enumerate(to(given[first:end]), first)}
    at = sorted(exact)
    return altered(proof, value_at=np.array(at), value_exact=np.array([exact[i] for i in at]))


@pytest.mark.parametrize(("n", "dim"), [(1, 1), (6, 1), (7, 2), (2, 3), (7, 3), (6, 4)])
def test_hyperplanes_in_general_position(n: int, dim: int) -> None:
    assert len(certified(generic_arrangement(n, dim, rng=10 * n + dim))) == generic_regions(n, dim)


@pytest.mark.parametrize(
    ("kind", "n"),
    [
        ("braid", 3), ("braid", 4), ("shi", 3), ("shi", 4), ("catalan", 3), ("linial", 3),
        ("linial", 4), ("type_b", 3), ("resonance", 3), ("threshold", 2),
    ],
)  # fmt: skip
def test_degenerate_arrangements(kind: Any, n: int) -> None:
    assert len(certified(arrangement(kind, n))) == PUBLISHED[kind, n]


def test_far_away_regions_count() -> None:
    """Two lines that all but coincide in direction meet far outside of any box of ordinary size."""
    tiny = 2.0**-40
    chain = LayerChain.from_arrays([([[0.0, 1.0], [tiny, 1.0]], [0.0, 1.0]), ([[1.0, 1.0]], [0.0])])
    assert len(certified(chain)) == 4
    assert len(certified(chain, Box([-1e6, -1e6], [1e6, 1e6]))) == 3


def test_parallel_but_for_a_rounding() -> None:
    """Seven times a tenth is not seven tenths: the lines cross, and floating point sees one."""
    rows, bias = [[0.1, 0.3], [0.7, 2.1]], [0.1, 0.7]
    chain = LayerChain.from_arrays([(rows, bias), ([[1.0, 1.0]], [0.0])])
    (a, b), (c, d) = ([Fraction(x) for x in row] for row in rows)
    assert a * d != b * c
    report = certified(chain)
    assert len(report) == 4
    assert len(enumerate_regions(chain, PLANE)) == 2


@pytest.mark.parametrize("activation", [absolute, leaky_relu(0.1), hardtanh()])
def test_deep_networks_have_the_regions_that_a_large_box_has(activation: Any) -> None:
    """No region of these networks lies outside of the box, in which rationals find them all."""
    chain = random_network((2, 3, 2, 1), rng=3, activation=activation)
    truth = patterns_by_vertices(hidden_layers(chain), ([-1e6] * 2, [1e6] * 2))
    assert {tuple(row) for row in certified(chain).signs.tolist()} == truth


def test_published_count_of_a_deep_network() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 10), torch.nn.ReLU(), torch.nn.Linear(10, 5), torch.nn.ReLU(),
        torch.nn.Linear(5, 1),
    )  # fmt: skip
    report = enumerate_regions(net.double(), PLANE, exact="certified")
    assert len(report) == 124
    assert check_proof(net, PLANE, report.proof()).regions == 124


@pytest.fixture(scope="module")
def case() -> tuple[LayerChain, RegionReport]:
    chain = random_network((2, 4, 3, 1), rng=1)
    return chain, certified(chain)


def test_every_multiplier_matters(case: tuple[LayerChain, RegionReport]) -> None:
    chain, report = case
    proof = report.proof()
    single = np.diff(proof.start) == 1
    assert proof.refusals > single.sum() + 20
    for side in np.flatnonzero(~single).tolist():
        tenfold = changed(proof, side, lambda given: [10 * x for x in given])
        assert check_proof(chain, PLANE, tenfold)
        for i in range(int(proof.start[side + 1] - proof.start[side])):
            off = changed(
                proof,
                side,
                lambda given, i=i: [
                    x * (1 + Fraction(1, 10**30)) if j == i else x for j, x in enumerate(given)
                ],
            )
            assert "multipliers" in check_proof(chain, PLANE, off).reason
    for side in np.flatnonzero(single).tolist():
        negative = changed(proof, side, lambda given: [-x for x in given])
        assert "multipliers" in check_proof(chain, PLANE, negative).reason


def test_sign_vector_removed(case: tuple[LayerChain, RegionReport]) -> None:
    chain, report = case
    proof = report.proof()
    node = next(
        i
        for i in range(len(proof.decision) - 2)
        if proof.decision[i] >= 0
        and proof.kept[i] < 0
        and (proof.decision[i + 1 : i + 3] < 0).all()
    )
    side, leaf = int((proof.kept[:node] >= 0).sum()), int((proof.decision[:node] < 0).sum())
    kept = np.delete(proof.kept, node + 1)
    kept[node] = 1
    shorter = altered(
        proof,
        decision=np.delete(proof.decision, node + 1),
        kept=kept,
        start=np.insert(proof.start, side, proof.start[side]),
        points=np.delete(proof.points, leaf, axis=0),
    )
    assert f"refused side {side}" in check_proof(chain, PLANE, shorter).reason


def test_boundary_only_vector_added() -> None:
    """Of three lines through a point two sign vectors have that point alone."""
    rows = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    chain = LayerChain.from_arrays([(rows, [0.0] * 3), ([[1.0] * 3], [0.0])])
    proof = certified(chain).proof()
    assert (proof.regions, proof.refusals) == (6, 2)
    side = 1
    node = int(np.flatnonzero(proof.kept >= 0)[side])
    leaf = int((proof.decision[:node] < 0).sum()) + (proof.kept[node] == 0)
    kept = proof.kept.copy()
    kept[node] = -1
    longer = altered(
        proof,
        decision=np.insert(proof.decision, node + 1, -1),
        kept=np.insert(kept, node + 1, -1),
        start=proof.start[:-1],
        row=proof.row[: proof.start[side]],
        value=proof.value[: proof.start[side]],
        points=np.insert(proof.points, leaf, 0.0, axis=0),
    )
    assert "witness" in check_proof(chain, PLANE, longer).reason


def test_altered_witness(case: tuple[LayerChain, RegionReport]) -> None:
    chain, report = case
    proof = report.proof()
    swapped = altered(proof, points=np.roll(proof.points, 1, axis=0))
    assert "witness" in check_proof(chain, PLANE, swapped).reason
    for nowhere in (np.nan, np.inf):
        points = proof.points.copy()
        points[0, 0] = nowhere
        assert not check_proof(chain, PLANE, altered(proof, points=points))


def test_another_network_or_domain(case: tuple[LayerChain, RegionReport]) -> None:
    chain, report = case
    proof, box = report.proof(), Box([-1.0, -1.0], [1.0, 1.0])
    other = random_network((2, 4, 3, 1), rng=2)
    assert "another network" in check_proof(other, PLANE, proof).reason
    assert not check_proof(other, PLANE, altered(proof, network=other.digest()))
    assert "another domain" in check_proof(chain, box, proof).reason
    # The proof of a box does not hold beyond it, whatever the digest says.
    inner = certified(chain, box).proof()
    assert "another domain" in check_proof(chain, PLANE, inner).reason
    forged = altered(inner, domain=proof.domain)
    assert "multipliers" in check_proof(chain, PLANE, forged).reason


def test_file(case: tuple[LayerChain, RegionReport], tmp_path: Any) -> None:
    chain, report = case
    report.proof().save(tmp_path / "proof.npz")
    assert check_proof(chain, PLANE, tmp_path / "proof.npz").regions == len(report)
