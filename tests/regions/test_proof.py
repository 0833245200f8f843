"""Certified lists against closed forms and rational brute force; proofs, and tampered ones."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import byways.core.exact
import byways.regions
from byways.core.activations import PerUnit, absolute, hardtanh, identity, leaky_relu, relu
from byways.core.chain import Layer, LayerChain
from byways.core.domains import Box, Polytope
from byways.core.errors import ConversionError
from byways.networks import folding_network, random_network
from byways.networks.generate import arrangement, generic_arrangement
from byways.regions import (
    RegionReport,
    Slice,
    check_proof,
    count_regions,
    enumerate_regions,
    iter_regions,
)
from byways.regions._proof import Proof
from tests.oracles.counts import PUBLISHED, folded_regions, generic_regions
from tests.oracles.plain import hidden_layers
from tests.oracles.rational import patterns_by_vertices
from tests.regions.nets import ACTIVATIONS, whole_numbered
from tests.regions.proofs import altered

SQUARE = Box([-1.0, -1.0], [1.0, 1.0])


def certified(chain: Any, domain: Any, **options: Any) -> RegionReport:
    """Make a certified report whose proof the checker accepts."""
    report = enumerate_regions(chain, domain, exact="certified", **options)
    check = check_proof(chain, domain, report.proof())
    assert check, str(check)
    assert (check.signs == report.signs).all()
    assert check.regions == len(report) == report.layer_counts[-1]
    assert report.ambiguous == 0
    return report


CLOSED = [
    ("braid", 3), ("braid", 4), ("type_b", 2), ("type_b", 3), ("shi", 3), ("shi", 4),
    ("catalan", 3), ("linial", 4), ("resonance", 3), ("threshold", 3),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "n"), CLOSED)
def test_degenerate_arrangements(kind: Any, n: int) -> None:
    chain = arrangement(kind, n)
    report = certified(chain, (-1024.0, 1024.0))
    assert len(report) == PUBLISHED[kind, n]


@pytest.mark.parametrize(("kind", "n"), [("braid", 5), ("resonance", 4)])
@pytest.mark.slow
def test_larger_degenerate_arrangements(kind: Any, n: int) -> None:
    assert len(certified(arrangement(kind, n), (-1024.0, 1024.0))) == PUBLISHED[kind, n]


@pytest.mark.parametrize(("p", "layers", "dim"), [(2, 4, 1), (3, 2, 1), (2, 2, 2)])
def test_folding(p: int, layers: int, dim: int) -> None:
    chain = folding_network(p, layers, dim)
    assert len(certified(chain, (0.0, 1.0))) == folded_regions(p, layers, dim)


def test_generic_needs_no_rationals() -> None:
    report = certified(generic_arrangement(8, 3, rng=0), (-1e4, 1e4))
    assert len(report) == generic_regions(8, 3)
    assert report.rational == 0


def brute(chain: LayerChain, lower: Any, upper: Any) -> set[tuple[int, ...]]:
    return patterns_by_vertices(hidden_layers(chain), (lower, upper))


def listed(report: RegionReport) -> set[tuple[int, ...]]:
    return {tuple(row) for row in report.signs.tolist()}


@pytest.mark.parametrize("seed", range(12))
def test_coinciding_hyperplanes_by_brute_force(seed: int) -> None:
    chain = whole_numbered((2, 3, 2, 1), seed, ACTIVATIONS[seed % len(ACTIVATIONS)])
    assert listed(certified(chain, SQUARE)) == brute(chain, SQUARE.lower, SQUARE.upper)


@pytest.mark.parametrize("method", ["simplex", "lp", "vertices"])
def test_every_method_gives_the_same_proven_list(method: str) -> None:
    chain = whole_numbered((2, 4, 2, 1), 5, relu)
    report = certified(chain, SQUARE, method=method)
    assert listed(report) == brute(chain, SQUARE.lower, SQUARE.upper)


def test_slivers_that_floating_point_cannot_see() -> None:
    # 7 * 0.1 is not 0.7 in binary: the two lines are not equal, and slivers lie between them.
    pairs = [([[0.1, 0.3], [0.7, 2.1]], [0.1, 0.7]), ([[1.0, 1.0]], [0.0])]
    chain = LayerChain.from_arrays(pairs)
    seen = enumerate_regions(chain, SQUARE)
    report = certified(chain, SQUARE)
    truth = brute(chain, SQUARE.lower, SQUARE.upper)
    assert listed(seen) == {(0, 0), (1, 1)}
    assert listed(report) == truth
    assert truth > listed(seen)
    assert report.rational > 0


def test_regions_that_are_not_there() -> None:
    # The second line coincides with the first exactly; the third misses the cell by 2**-60.
    tiny = 2.0**-60
    pairs = [([[1.0], [1.0]], [0.0, -tiny]), ([[-1.0, 1.0]], [tiny]), ([[1.0]], [0.0])]
    chain = LayerChain.from_arrays(pairs)
    report = certified(chain, (-1.0, 1.0))
    assert listed(report) == brute(chain, [-1.0], [1.0])


def test_polytope_slice_and_flat_side() -> None:
    chain = random_network((3, 5, 4, 1), rng=3)
    box = Box([-1.0, -1.0, 0.25], [1.0, 1.0, 0.25])
    flat = certified(chain, box)
    plane = Slice([0.0, 0.0, 0.25], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], extent=1.0)
    assert listed(flat) == listed(certified(chain, plane))
    cube = Box([-1.0] * 3, [1.0] * 3)
    half = Polytope([[1.0, 1.0, 1.0]], [0.0], cube)
    other = Polytope([[-1.0, -1.0, -1.0]], [0.0], cube)
    both = listed(certified(chain, half)) | listed(certified(chain, other))
    assert both == listed(certified(chain, cube))


def test_units_with_different_activations() -> None:
    mixed = PerUnit((hardtanh(), identity, leaky_relu(0.1)), [0, 1, 2])
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(3, 2)), rng.normal(size=3) / 4
    first = Layer(weight, bias, mixed)
    second = Layer(rng.normal(size=(2, 3)), rng.normal(size=2) / 4, absolute)
    chain = LayerChain((first, second))
    report = certified(chain, SQUARE)
    assert listed(report) == listed(enumerate_regions(chain, SQUARE))


def test_no_hidden_layer_and_counts() -> None:
    chain = LayerChain.from_arrays([([[1.0, 2.0]], [0.0])])
    report = enumerate_regions(chain, SQUARE, exact="certified")
    assert check_proof(chain, SQUARE, report.proof()).regions == 1
    deep = random_network((2, 5, 4, 1), rng=0)
    count = count_regions(deep, SQUARE, exact="certified")
    assert count.total == len(enumerate_regions(deep, SQUARE))
    assert count.ambiguous == 0


@pytest.fixture(scope="module")
def case() -> tuple[LayerChain, RegionReport]:
    chain = random_network((2, 5, 4, 1), rng=1)
    return chain, certified(chain, SQUARE)


def test_another_network_or_domain(case: tuple[LayerChain, RegionReport]) -> None:
    chain, report = case
    other = random_network((2, 5, 4, 1), rng=2)
    assert "another network" in str(check_proof(other, SQUARE, report.proof()))
    assert "another domain" in str(check_proof(chain, (-1.0, 1.5), report.proof()))
    # Nor do the facts hold there, whatever the digests say.
    forged = altered(report.proof(), network=other.digest())
    assert not check_proof(other, SQUARE, forged)


def test_sign_vector_removed(case: tuple[LayerChain, RegionReport]) -> None:
    chain, report = case
    proof = report.proof()
    where = [
        i
        for i in range(len(proof.decision) - 2)
        if proof.kept[i] == -1 and (proof.decision[i + 1 : i + 3] == -1).all()
    ]
    node = next(i for i in where if proof.decision[i] != -1)
    side = int((proof.kept[:node] >= 0).sum())
    leaf = int((proof.decision[:node] == -1).sum())
    shorter = altered(
        proof,
        decision=np.delete(proof.decision, node + 1),
        kept=np.insert(np.delete(proof.kept, [node, node + 1]), node, 1).astype(np.int8),
        start=np.insert(proof.start, side, proof.start[side]),
        points=np.delete(proof.points, leaf, axis=0),
    )
    check = check_proof(chain, SQUARE, shorter)
    assert not check
    assert "refused side" in check.reason
    # Left out without any certificate, the tree has an open side.
    cut = altered(proof, decision=proof.decision[:-1], kept=proof.kept[:-1])
    assert "missing" in check_proof(chain, SQUARE, cut).reason


def test_boundary_only_vector_added() -> None:
    # Three lines through one point: two sign vectors have only the point, which is no region.
    rows = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    chain = LayerChain.from_arrays([(rows, [0.0] * 3), ([[1.0] * 3], [0.0])])
    proof = certified(chain, SQUARE).proof()
    node = int(np.flatnonzero(proof.kept >= 0)[0])
    side, kept = 0, int(proof.kept[node])
    leaf = int((proof.decision[:node] == -1).sum())
    at = leaf if kept == 1 else leaf + 1
    longer = altered(
        proof,
        decision=np.insert(proof.decision, node + 1, -1),
        kept=np.insert(np.where(np.arange(len(proof.kept)) == node, -1, proof.kept), node + 1, -1),
        start=np.delete(proof.start, side + 1)
        - np.r_[0, [proof.start[1]] * (len(proof.start) - 2)],
        row=proof.row[proof.start[1] :],
        value=proof.value[proof.start[1] :],
        points=np.insert(proof.points, at, 0.0, axis=0),
    )
    check = check_proof(chain, SQUARE, longer)
    assert not check
    assert "witness" in check.reason


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_one_number_altered(case: tuple[LayerChain, RegionReport], data: st.DataObject) -> None:
    chain, report = case
    proof = report.proof()
    name = data.draw(st.sampled_from(["value", "row", "points", "decision", "kept"]))
    array = getattr(proof, name).copy()
    i = data.draw(st.integers(0, array.size - 1))
    if name == "value":
        array.flat[i] = -array.flat[i]  # no sum of rows with that weight proves anything
    elif name == "points":
        array.flat[i] = 1.5 + abs(array.flat[i])  # outside the box
    elif name == "row":
        array.flat[i] = 9 if array.flat[i] < 0 else -1 - array.flat[i]
    else:
        array.flat[i] = array.flat[i] + data.draw(st.sampled_from([3, 7, 50]))
    assert not check_proof(chain, SQUARE, altered(proof, **{name: array}))


@pytest.mark.parametrize(
    "parts",
    [
        {"value_at": np.array([0]), "value_exact": np.array(["1e999999999"])},
        {"value_at": np.array([0]), "value_exact": np.array(["1/0"])},
        {"point_at": np.array([0]), "point_exact": np.array(["nan"])},
        {"points": np.array([["a", "b"]])},
        {"points": np.zeros(3)},
        {"row": np.array(["a"])},
        {"value": np.array([np.inf])},
        {"value": np.array([np.nan])},
        {"start": np.array([0])},
        {"decision": np.array([[0]])},
        {"kept": np.array([0.5])},
    ],
    ids=str,
)
def test_malformed(case: tuple[LayerChain, RegionReport], parts: dict[str, Any]) -> None:
    """Whatever a file holds, the answer is a refusal, and soon."""
    chain, report = case
    proof = report.proof()
    if "value" in parts:  # the first of them
        parts = {"value": np.concatenate([parts["value"], proof.value[1:]])}
    check = check_proof(chain, SQUARE, altered(proof, **parts))
    assert not check
    assert check.reason


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_forged_emptiness_is_never_accepted(seed: int) -> None:
    """Whatever multipliers say, a side that holds a region is not refused."""
    chain = random_network((2, 4, 1), rng=seed)
    proof = certified(chain, SQUARE).proof()
    rng = np.random.default_rng(seed)
    forged = altered(
        proof,
        decision=np.array([0, 1, 2, 3, -1], dtype=np.int32),
        kept=np.array([1, 1, 1, 1, -1], dtype=np.int8),
        start=np.array([0, 1, 3, 6, 10]),
        row=np.array([0, 0, 1, 0, 1, 2, 0, 1, 2, 3], dtype=np.int32),
        value=rng.exponential(size=10),
        points=proof.points[:1],
    )
    if len(brute(chain, [-1.0] * 2, [1.0] * 2)) > 1:
        assert not check_proof(chain, SQUARE, forged)


def test_multiplier_that_matters(case: tuple[LayerChain, RegionReport]) -> None:
    chain, report = case
    proof = report.proof()
    refused = 0
    for i in range(len(proof.value)):
        value = proof.value.copy()
        value[i] = 0.0
        refused += not check_proof(chain, SQUARE, altered(proof, value=value))
    assert refused > len(proof.value) / 2


def test_file(case: tuple[LayerChain, RegionReport], tmp_path: Path) -> None:
    chain, report = case
    report.proof().save(tmp_path / "proof.npz")
    assert check_proof(chain, SQUARE, tmp_path / "proof.npz").accepted
    report.save(tmp_path / "report.npz")
    again = RegionReport.load(tmp_path / "report.npz")
    assert check_proof(chain, SQUARE, again.proof()).regions == len(report)
    with pytest.raises(ConversionError):
        Proof.load(tmp_path / "report.npz")


def test_workers_and_run_directory(tmp_path: Path) -> None:
    chain = random_network((2, 8, 6, 1), rng=4)
    alone = certified(chain, SQUARE)
    kept = certified(chain, SQUARE, run_dir=tmp_path / "run")
    again = certified(chain, SQUARE, run_dir=tmp_path / "run")
    assert alone.digest() == kept.digest() == again.digest()


def test_refusals() -> None:
    chain = random_network((2, 4, 1), rng=0)
    with pytest.raises(ValueError, match="max_regions"):
        enumerate_regions(chain, SQUARE, exact="certified", max_regions=5)
    with pytest.raises(ValueError, match="enumerate_regions"):
        iter_regions(chain, SQUARE, exact="certified")
    with pytest.raises(ValueError, match="certified"):
        enumerate_regions(chain, SQUARE, exact="exactly")
    report = enumerate_regions(chain, SQUARE)
    with pytest.raises(ValueError, match="certified"):
        report.proof()
    with pytest.raises(TypeError, match="proof"):
        check_proof(chain, SQUARE, report)  # type: ignore[arg-type]


def test_checker_stands_alone() -> None:
    """It imports no solver and nothing that enumerates."""
    checker = Path(byways.regions.__file__).parent / "_check.py"
    arithmetic = Path(byways.core.exact.__file__)
    standard = {"__future__", "math", "fractions", "itertools", "operator", "typing"}
    allowed = standard | {"collections.abc", "numpy", "numpy.typing"}
    assert imported(arithmetic) <= allowed
    # The chain is the name of a type alone.
    assert imported(checker) - allowed == {"byways.core.exact", "byways.core.chain"}
    names_of_types = next(n for n in ast.parse(checker.read_text()).body if isinstance(n, ast.If))
    assert "byways.core.chain" in {getattr(n, "module", "") for n in names_of_types.body}


def imported(path: Path) -> set[str]:
    """Name all modules that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    modules = {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)}
    return modules | {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
