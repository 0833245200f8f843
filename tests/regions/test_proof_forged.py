"""Wrong proofs, made by hand and sealed: each is refused, with a word on why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.core.errors import DomainError
from byways.networks import random_network
from byways.regions import Slice, WholeSpace, check_proof, enumerate_regions
from byways.regions._proof import Proof, domain_digest
from tests.regions.proofs import altered

# Two units on [-1, 1]: x and x - 1/2, so the sign vectors are 00, 10 and 11.
LINES = LayerChain.from_arrays([([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, 1.0]], [0.0])])
SIDE = Box([-1.0], [1.0])


def made(**parts: Any) -> Proof:
    """Give a right proof of the three regions, with parts replaced."""
    right: dict[str, Any] = {
        "network": LINES.digest(),
        "domain": domain_digest(SIDE),
        # Below x = 0, row x - 1/2 on side 1 together with row x on side 0 sums up to -1/2.
        "decision": np.array([0, 1, -1, 1, -1, -1], dtype=np.int32),
        "kept": np.array([-1, 0, -1, -1, -1, -1], dtype=np.int8),
        "start": np.array([0, 2]),
        "row": np.array([1, 0], dtype=np.int32),
        "value": np.array([1.0, 1.0]),
        "value_at": np.zeros(0, dtype=np.int64),
        "value_exact": np.zeros(0, dtype="U1"),
        "points": np.array([[-0.5], [0.25], [0.75]]),
        "point_at": np.zeros(0, dtype=np.int64),
        "point_exact": np.zeros(0, dtype="U1"),
    }
    return Proof(**(right | parts)).sealed()


def refusal(proof: Proof, network: Any = LINES, domain: Any = SIDE) -> str:
    check = check_proof(network, domain, proof)
    assert not check
    assert check.regions == 0
    assert not check.signs.size
    return check.reason


def test_the_right_one() -> None:
    check = check_proof(LINES, SIDE, made())
    assert check.signs.tolist() == [[0, 0], [1, 0], [1, 1]]


NO_PROOF = "refused side 0: its multipliers do not prove it empty"


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ([1, 0], [0.0, 0.0]),
        ([1, 0], [-0.0, -0.0]),
        ([1, 0], [1.0, -1.0]),
        ([1, 0], [-1.0, -1.0]),
        ([1, 0], [1e300, -1e-300]),  # the sum is positive
        ([1, 1, 0], [2.0, -1.0, 1.0]),  # and so is what it comes to
        ([1, 1], [1.0, 1.0]),  # the row alone, twice
        ([1, 0], [1.0, 0.4]),  # at x = 1 it is 0.1
        ([0, 0], [1.0, 1.0]),  # true, but not of this side
        ([-1, 0], [1.0, 1.0]),
        ([-2, -1], [1.0, 1.0]),  # the same rows, counted from the end
        ([1, 0, 2**30], [1.0, 1.0, 0.0]),
        ([1, 0, 2], [1.0, 1.0, 1.0]),
        ([], []),
    ],
)
def test_multipliers_that_prove_nothing(row: list[int], value: list[float]) -> None:
    parts = {"row": np.array(row, dtype=np.int64), "value": np.array(value, dtype=np.float64)}
    reason = refusal(made(**parts, start=np.array([0, len(row)])))
    assert reason == NO_PROOF or (max(row) >= 2 and "malformed: IndexError" in reason)


def test_zero_at_most_needs_a_row_that_may_not_be_zero() -> None:
    """Two units that are zero: neither their side 0 nor nothing at all is empty."""
    chain = LayerChain.from_arrays([([[0.0], [1.0]], [0.0, -1.0]), ([[1.0, 1.0]], [0.0])])
    parts: dict[str, Any] = {
        "network": chain.digest(),
        "decision": np.array([0, 1, -1]),
        "kept": np.array([0, 0, -1]),
        "start": np.array([0, 1, 2]),
        "row": np.array([0, 1]),
        "points": np.array([[0.5]]),
    }
    assert check_proof(chain, SIDE, made(**parts)).signs.tolist() == [[0, 0]]
    # The zero unit is on side 0, and only there; a witness on side 1 there is none.
    wrong_way = made(**parts | {"kept": np.array([1, 0, -1])})
    assert refusal(wrong_way, chain) == NO_PROOF
    split = {"decision": np.array([0, 1, -1, 1, -1]), "kept": np.array([-1, 0, -1, 0, -1])}
    both = made(**parts | split | {"row": np.array([1, 1]), "points": np.array([[0.5], [0.5]])})
    assert refusal(both, chain) == "leaf 1: its witness does not lie in the region"
    # Unit 1 touches zero at an end of the box: side 1 is empty, side 0 is not by row 0.
    by_zeros = made(**parts | {"row": np.array([0, 0])})
    assert refusal(by_zeros, chain).startswith("refused side 1")


@pytest.mark.parametrize(
    ("points", "leaf"),
    [
        ([[0.0], [0.25], [0.75]], 0),  # on the border, which has the other sign vectors too
        ([[-0.5], [0.5], [0.75]], 1),
        ([[-0.5], [0.25], [0.5]], 2),
        ([[-0.5], [0.25], [0.5 - 2**-50]], 2),
        ([[-1.0 - 2**-52], [0.25], [0.75]], 0),  # outside by one rounding
        ([[-0.5], [0.25], [1e308]], 2),
        ([[-0.5], [0.25], [np.inf]], 2),
        ([[-0.5], [np.nan], [0.75]], 1),
        ([[0.25], [-0.5], [0.75]], 0),
        ([[-0.5], [0.25], [0.25]], 2),
    ],
)
def test_witnesses_that_are_none(points: list[list[float]], leaf: int) -> None:
    assert refusal(made(points=np.array(points))).startswith(f"leaf {leaf}: its witness")


def test_a_witness_next_to_the_border() -> None:
    """The grid does not see it, and the integers do."""
    near = [[-(2.0**-60)], [0.5 - 2.0**-54], [0.5 + 2.0**-53]]
    assert check_proof(LINES, SIDE, made(points=np.array(near)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble, np.int8, object])
def test_witnesses_of_other_types(dtype: Any) -> None:
    right, wrong = np.array([[-0.5], [0.25], [0.75]]), np.array([[-0.5], [0.75], [0.75]])
    assert "leaf 1" in refusal(made(points=wrong.astype(dtype))) or dtype is np.int8
    check = check_proof(LINES, SIDE, made(points=right.astype(dtype)))
    assert check.accepted == (dtype is not np.int8)  # -0.5 is 0 there


@pytest.mark.parametrize(
    ("exact", "accepted"), [("1/3", True), ("-1/3", False), ("2/3", False), ("4/3", False)]
)
def test_rational_witnesses(exact: str, accepted: bool) -> None:
    """The float in its place proves a leaf as well; where it does not, the rational decides."""
    parts = {"point_at": np.array([1]), "point_exact": np.array([exact])}
    wrong = np.array([[-0.5], [7.0], [0.75]])
    assert bool(check_proof(LINES, SIDE, made(points=wrong, **parts))) == accepted
    assert check_proof(LINES, SIDE, made(**parts))


@pytest.mark.parametrize("texts", [["nan"], ["1/0"], ["1e9"], ["9" * 5000], ["1/2/3"], [""], []])
def test_texts_that_are_no_rationals(texts: list[str]) -> None:
    given = np.array(texts, dtype="U5000")
    assert "malformed" in refusal(made(point_at=np.array([0]), point_exact=given))
    assert "malformed" in refusal(made(value_at=np.array([0]), value_exact=given))


def test_huge_multipliers() -> None:
    """They prove what small ones do."""
    at = {"value_at": np.array([0, 1])}
    same = ["1" + "0" * 2000, "1" + "0" * 2000]
    assert check_proof(LINES, SIDE, made(**at, value_exact=np.array(same)))
    small = ["1" + "0" * 2000, "4" + "0" * 1999]
    assert refusal(made(**at, value_exact=np.array(small))) == NO_PROOF


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"decision": [0, 1, -1, 1, -1], "kept": [-1, 0, -1, -1, -1]}, "sign vectors are missing"),
        ({"decision": [], "kept": []}, "sign vectors are missing"),
        ({"decision": [-1], "kept": [-1]}, "node 0: decision -1 is not open"),
        ({"decision": [0, 1, -1, -1], "kept": [-1, 0, -1, -1]}, "node 3: decision -1"),
        ({"decision": [0, 0, -1, 1, -1, -1]}, "node 1: decision 0 is not open"),
        ({"decision": [0, 2, -1, 1, -1, -1]}, "node 1: decision 2 is not open"),
        ({"decision": [0, -2, -1, 1, -1, -1]}, "node 1: decision -2 is not open"),
        ({"decision": [2**31, 1, -1, 1, -1, -1]}, "node 0: decision 2147483648 is not open"),
        ({"kept": [-1, 2, -1, -1, -1, -1]}, "node 1: decision 1 is not open"),
        ({"kept": [-1, -2, -1, -1, -1, -1]}, "node 1: decision 1 is not open"),
        ({"kept": [-1, 0, 0, -1, -1, -1]}, "node 2: decision -1 is not open"),
        ({"kept": [-1, 0, -1, -1, -1]}, "malformed"),
        ({"decision": [0, 1, -1, 1, -1, -1, -1], "kept": [-1, 0, *[-1] * 5]}, "malformed"),
        ({"decision": [0.5, 1, -1, 1, -1, -1]}, "malformed"),
        ({"points": [[-0.5], [0.25], [0.75], [0.8]]}, "more witnesses"),
        ({"points": [[-0.5], [0.25]]}, "more witnesses"),
        ({"points": [[-0.5, 0.0], [0.25, 0.0], [0.75, 0.0]]}, "more witnesses"),
        ({"points": [-0.5, 0.25, 0.75]}, "more witnesses"),
        ({"start": [0, 2, 2]}, "more witnesses or multipliers"),
        ({"start": [0]}, "malformed"),
        ({"start": [0, 1]}, NO_PROOF),
        ({"start": [2, 0]}, NO_PROOF),
        ({"value": [1.0]}, "malformed"),
        ({"value": [np.inf, 1.0]}, "malformed"),
        ({"value": [1.0, np.nan]}, "malformed"),
    ],
    ids=str,
)
def test_trees_and_lengths(parts: dict[str, list[Any]], reason: str) -> None:
    assert reason in refusal(made(**{name: np.array(part) for name, part in parts.items()}))


def test_a_region_twice() -> None:
    """A leaf cannot be doubled: both sides of a split are other sign vectors."""
    doubled = made(
        decision=np.array([0, 1, -1, -1, 1, -1, -1]),
        kept=np.full(7, -1),
        points=np.array([[-0.5], [-0.5], [0.25], [0.75]]),
        start=np.array([0]),
        row=np.zeros(0, dtype=int),
        value=np.zeros(0),
    )
    assert refusal(doubled) == "leaf 1: its witness does not lie in the region"


def test_rows_of_a_later_layer() -> None:
    """Before all sides of the layer before are known they are no functions at all."""
    chain = random_network((2, 3, 2, 1), rng=1)
    proof = enumerate_regions(chain, (-1, 1), exact="certified").proof()
    early = altered(proof, decision=np.where(np.arange(len(proof.decision)), proof.decision, 3))
    assert refusal(early, chain, (-1, 1)).startswith("node 0: decision 3 is not open")
    first = int(np.flatnonzero(proof.kept >= 0)[0])
    assert proof.decision[:first].max() < 3  # the side is refused in the first layer
    later = altered(proof, row=np.where(np.arange(len(proof.row)) == 0, 3, proof.row))
    assert "refused side 0" in refusal(later, chain, (-1, 1))


def test_another_network_or_domain_with_the_digests_put_right() -> None:
    steeper = LayerChain.from_arrays([([[1.0], [-1.0]], [0.0, -0.5]), ([[1.0, 1.0]], [0.0])])
    assert "refused side 0" in refusal(made(network=steeper.digest()), steeper)
    wider = LayerChain.from_arrays([([[1.0]] * 3, [0.0, -0.5, 0.1]), ([[1.0] * 3], [0.0])])
    assert "decision -1 is not open" in refusal(made(network=wider.digest()), wider)
    linear = LayerChain.from_arrays([([[1.0]], [0.0])])
    assert "decision 0 is not open" in refusal(made(network=linear.digest()), linear)
    for domain, leaf in ((Box([0.1], [1.0]), 0), (Box([-1.0], [0.4]), 2)):
        assert f"leaf {leaf}" in refusal(made(domain=domain_digest(domain)), domain=domain)
    half = Polytope([[1.0]], [0.5], SIDE)
    assert refusal(made(domain=domain_digest(half)), domain=half) == NO_PROOF
    renumbered = made(domain=domain_digest(half), row=np.array([2, 1]))
    assert "leaf 2" in refusal(renumbered, domain=half)


def test_in_the_whole_space_the_slopes_have_to_cancel() -> None:
    parts = {"domain": domain_digest(WholeSpace(1))}
    assert check_proof(LINES, WholeSpace(1), made(**parts))
    unequal = made(**parts, value=np.array([1.0, np.nextafter(1.0, 2.0)]))
    assert refusal(unequal, domain=WholeSpace(1)) == NO_PROOF
    for point in (np.nan, np.inf):
        points = np.array([[-0.5], [point], [0.75]])
        assert "malformed" in refusal(made(**parts, points=points), domain=WholeSpace(1))


def test_a_domain_of_another_dimension() -> None:
    chain = random_network((2, 3, 1), rng=1)
    line = Slice([0.0, 0.0], [[1.0, 0.5]], extent=1.0)
    proof = enumerate_regions(chain, line, exact="certified").proof()
    assert check_proof(chain, line, proof)
    square = Box([-1.0] * 2, [1.0] * 2)
    assert "refused side" in refusal(altered(proof, domain=domain_digest(square)), chain, square)
    alone = made(network=chain.digest(), domain=domain_digest(square))
    with pytest.raises(DomainError):
        check_proof(chain, SIDE, alone)
