"""Proofs of networks with many inputs, of mixed activations, and over a wide range of weights."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from byways.core.activations import PerUnit, hardtanh, identity, leaky_relu, relu
from byways.core.chain import Layer, LayerChain
from byways.core.domains import Box
from byways.networks import random_network
from byways.regions import RegionReport, check_proof, enumerate_regions
from byways.regions._problem import Problem
from byways.regions._rows import Rules
from byways.regions._split_tree import split_tree
from byways.regions._verify import verify
from tests.oracles.plain import hidden_layers
from tests.oracles.rational import patterns_by_vertices
from tests.regions.proofs import altered

SQUARE = Box([-1.0, -1.0], [1.0, 1.0])


def mixed(seed: int = 0) -> LayerChain:
    """Give a network whose units differ, LeakyReLU behind them."""
    rng = np.random.default_rng(seed)
    first = PerUnit((relu, hardtanh(), identity, leaky_relu(0.25)), [0, 1, 2, 3])
    layers = [Layer(rng.normal(size=(4, 2)), rng.normal(size=4) / 4, first)]
    layers.append(Layer(rng.normal(size=(3, 4)), rng.normal(size=3) / 4, leaky_relu(0.25)))
    return LayerChain((*layers, Layer(rng.normal(size=(1, 3)), np.zeros(1))))


def wide() -> LayerChain:
    """Give a network that is seen through its first layer."""
    return random_network((60, 4, 4, 1), rng=2)


CASES = {"wide": (wide(), Box(np.zeros(60), np.ones(60))), "mixed": (mixed(), SQUARE)}


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> tuple[LayerChain, Box, RegionReport]:
    chain, box = CASES[request.param]
    return chain, box, enumerate_regions(chain, box, exact="certified")


def test_accepted_and_equal_to_the_published_algorithm(
    case: tuple[LayerChain, Box, RegionReport],
) -> None:
    chain, box, report = case
    check = check_proof(chain, box, report.proof())
    assert check, str(check)
    assert (check.signs == report.signs).all()
    peer = enumerate_regions(chain, box, method="lp")
    assert np.array_equal(check.signs, peer.signs)


def test_sign_vector_removed(case: tuple[LayerChain, Box, RegionReport]) -> None:
    chain, box, report = case
    proof = report.proof()
    two = [
        i
        for i in range(len(proof.decision) - 2)
        if proof.kept[i] == -1 != proof.decision[i] and (proof.decision[i + 1 : i + 3] == -1).all()
    ]
    node = two[0]
    side = int((proof.kept[:node] >= 0).sum())
    shorter = altered(
        proof,
        decision=np.delete(proof.decision, node + 1),
        kept=np.insert(np.delete(proof.kept, [node, node + 1]), node, 1).astype(np.int8),
        start=np.insert(proof.start, side, proof.start[side]),
        points=np.delete(proof.points, int((proof.decision[:node] == -1).sum()), axis=0),
    )
    assert "refused side" in check_proof(chain, box, shorter).reason


def test_vector_added_where_only_the_border_is(case: tuple[LayerChain, Box, RegionReport]) -> None:
    """A refused side is made a leaf, with a neighbour's witness."""
    chain, box, report = case
    proof = report.proof()
    last = [
        i for i in range(len(proof.kept) - 1) if proof.kept[i] >= 0 and proof.decision[i + 1] == -1
    ]
    node = last[0]
    side = int((proof.kept[:node] >= 0).sum())
    leaf = int((proof.decision[:node] == -1).sum())
    gone = slice(int(proof.start[side]), int(proof.start[side + 1]))
    length = gone.stop - gone.start
    kept = proof.kept.copy()
    kept[node] = -1
    longer = altered(
        proof,
        decision=np.insert(proof.decision, node + 1, -1),
        kept=np.insert(kept, node + 1, -1),
        start=np.delete(proof.start, side + 1)
        - np.where(np.arange(len(proof.start) - 1) > side, length, 0),
        row=np.delete(proof.row, gone),
        value=np.delete(proof.value, gone),
        points=np.insert(proof.points, leaf, proof.points[leaf], axis=0),
    )
    assert "witness" in check_proof(chain, box, longer).reason


def test_one_multiplier_changed(case: tuple[LayerChain, Box, RegionReport]) -> None:
    chain, box, report = case
    proof = report.proof()
    refused = np.zeros(2, dtype=int)
    rng = np.random.default_rng(0)
    for i in rng.permutation(len(proof.value))[:40]:
        for k, value in enumerate((-proof.value[i], 0.0)):
            changed = proof.value.copy()
            changed[i] = value
            refused[k] += not check_proof(chain, box, altered(proof, value=changed))
    assert refused[0] == min(40, len(proof.value))
    assert refused[1] > refused[0] / 2


def test_two_workers() -> None:
    chain = random_network((3, 8, 8, 1), rng=4)
    alone = enumerate_regions(chain, (-1.0, 1.0), exact="certified")
    shared = enumerate_regions(chain, (-1.0, 1.0), exact="certified", workers=2)
    assert alone.digest() == shared.digest()
    assert check_proof(chain, (-1.0, 1.0), shared.proof()).regions == len(alone)


def spread(seed: int, widths: tuple[int, ...]) -> LayerChain:
    """Draw weights whose sizes go from 1e-8 to 1e8."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-8, 8, shape)

    pairs = [(draw(n, m), draw(n)) for m, n in itertools.pairwise(widths)]
    return LayerChain.from_arrays(pairs, activation=(relu, leaky_relu(1e-6))[seed % 2])


@pytest.mark.parametrize("seed", range(8))
def test_weights_of_all_sizes_by_brute_force(seed: int) -> None:
    chain = spread(seed, (2, 3, 2, 1))
    report = enumerate_regions(chain, SQUARE, exact="certified")
    truth = patterns_by_vertices(hidden_layers(chain), (SQUARE.lower, SQUARE.upper))
    assert {tuple(row) for row in report.signs.tolist()} == truth
    check = check_proof(chain, SQUARE, report.proof())
    assert check, str(check)
    assert (check.signs == report.signs).all()


@pytest.mark.parametrize("seed", range(8))
def test_float_proofs_hold_in_rationals(seed: int) -> None:
    """What floating point calls proven is so, also of points and multipliers at the very edge."""
    chain = spread(seed, (2, 4, 3, 1))
    report = enumerate_regions(chain, SQUARE, exact="certified")
    rules, proof = Rules(chain, SQUARE), report.proof()
    tree = split_tree(Problem.of(chain, SQUARE), report.words, np.zeros(0))
    rng = np.random.default_rng(seed)
    paths = Problem.of(chain, SQUARE).bits(report.signs).astype(np.int8)
    claims = 0
    for _ in range(6):
        # Witnesses moved onto a border, and a rounding or two to either side of it.
        near = np.array(
            [on_a_row(rules, p, x, rng) for p, x in zip(paths, proof.points, strict=True)]
        )
        near = np.clip(near, SQUARE.lower, SQUARE.upper)
        _, inside = verify(rules, tree, near)
        for j in np.flatnonzero(inside):
            claims += 1
            assert rules.inside_exactly(paths[j], [Fraction(x) for x in near[j].tolist()])
    assert claims


def on_a_row(rules: Rules, path: Any, x: Any, rng: np.random.Generator) -> Any:
    """Move a point along an axis to where a row of its path vanishes, within some roundings."""
    unit = int(rng.integers(rules.decisions))
    constant, gradient = rules.combination(path, {unit: Fraction(1)})
    axis = int(rng.integers(len(x)))
    if not gradient[axis]:
        return x
    place = [Fraction(v) for v in x.tolist()]
    value = constant + sum(g * v for g, v in zip(gradient, place, strict=True))
    moved = x.copy()
    moved[axis] = float(place[axis] - value / gradient[axis])
    moved[axis] += float(rng.integers(-3, 4)) * np.spacing(moved[axis])
    return moved
