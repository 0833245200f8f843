"""All regions that can violate a property, against closed forms and samples."""

from __future__ import annotations

import numpy as np
import pytest

from byways.core import LayerChain
from byways.core.errors import ShapeError
from byways.networks import example, random_network
from byways.regions import region_at, unsafe_regions
from byways.regions._vnnlib import Property, parse_vnnlib

ABSOLUTE = LayerChain.from_arrays([([[1.0], [-1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])])


def asks(inputs: int, outputs: int, *formulas: str, side: float = 1.0) -> Property:
    """Write a property on the box [-side, side]^inputs."""
    names = [f"X_{i}" for i in range(inputs)] + [f"Y_{j}" for j in range(outputs)]
    text = "\n".join(f"(declare-const {name} Real)" for name in names)
    for i in range(inputs):
        text += f"(assert (>= X_{i} {-side})) (assert (<= X_{i} {side}))"
    return parse_vnnlib(text + "\n".join(f"(assert {formula})" for formula in formulas))


def test_of_the_absolute_value_one_side_is_unsafe():
    prop = parse_vnnlib(
        "(declare-const X_0 Real)(declare-const Y_0 Real)"
        "(assert (>= X_0 -0.5))(assert (<= X_0 2))(assert (>= Y_0 1))"
    )
    report = unsafe_regions(ABSOLUTE, prop)
    (found,) = report
    assert report.holds is False
    assert not found.boundary
    assert 1 < found.counterexample[0] < 2
    assert found.output[0] == found.counterexample[0]
    assert found.slack == found.output[0] - 1


def test_a_region_that_only_touches_is_marked():
    report = unsafe_regions(ABSOLUTE, asks(1, 1, "(>= Y_0 1)"))
    assert [found.boundary for found in report] == [True, True]
    assert sorted(found.counterexample[0] for found in report) == [-1.0, 1.0]
    assert report.holds is False  # |-1| is 1 by the forward pass, too


def test_nothing_is_unsafe_above_the_maximum():
    report = unsafe_regions(ABSOLUTE, asks(1, 1, "(>= Y_0 1.001)"))
    assert report.holds is True
    assert len(report) == 0
    assert len(report.reports[0]) == 2
    assert "holds: 0 of 2 regions" in str(report)


def test_every_piece_of_the_tent_rises_above_three_quarters():
    prop = parse_vnnlib(
        "(declare-const X_0 Real)(declare-const Y_0 Real)"
        "(assert (>= X_0 0))(assert (<= X_0 1))(assert (>= Y_0 0.75))"
    )
    report = unsafe_regions(example("tent").chain, prop)
    assert len(report) == 1024
    x = np.array([found.counterexample[0] for found in report])
    assert sorted(np.floor(1024 * x)) == list(range(1024))
    assert all(found.confirmed and not found.boundary for found in report)


FORMULAS = {
    "largest": ["(>= Y_0 Y_1)", "(>= Y_0 Y_2)"],
    "not largest": ["(or (<= Y_0 Y_1) (<= Y_0 Y_2))"],
    "band": ["(>= Y_0 0.1)", "(<= Y_0 0.2)"],
    "of both": ["(>= Y_0 (+ X_0 0.4))", "(<= (- Y_1 X_1) -0.3)"],
    "input half": ["(<= (+ X_0 X_1) 0.25)", "(>= Y_2 0.3)"],
    "two boxes": ["(or (<= X_0 -0.5) (>= X_0 0.5))", "(<= Y_1 0)"],
}


@pytest.mark.parametrize("inputs", [1, 2, 3])
@pytest.mark.parametrize("name", FORMULAS)
def test_against_samples(name: str, inputs: int):
    chain = random_network((inputs, 7, 5, 3), rng=inputs)
    formulas = [f.replace("X_1", "X_0") if inputs == 1 else f for f in FORMULAS[name]]
    report = unsafe_regions(chain, asks(inputs, 3, *formulas))
    signs = [
        {tuple(part.signs[found.region]) for found in report if found.report == i}
        for i, part in enumerate(report.reports)
    ]
    rng, seen = np.random.default_rng(0), 0
    for case in report.prop.cases:
        (i,) = [
            i for i, part in enumerate(report.reports)
            if np.array_equal(part.question.domain.lower, case.lower)
            and np.array_equal(part.question.domain.upper, case.upper)
        ]  # fmt: skip
        x = rng.uniform(case.lower, case.upper, (100_000, inputs))
        unsafe = x[case.slack(x, chain(x)) > 1e-9]
        seen += len(unsafe)
        assert set(map(tuple, np.unique(chain.segments(unsafe), axis=0))) <= signs[i]
    assert (seen > 0) <= (report.holds is False)
    for found in report:
        case = report.prop.cases[found.case]
        x, y = found.counterexample, chain(found.counterexample)
        assert (case.lower <= x).all()
        assert (x <= case.upper).all()
        np.testing.assert_array_equal(found.output, y)
        assert found.slack == case.slack(x, y)
        if not found.boundary:
            assert found.slack > 0
            listed = report.reports[found.report].signs[found.region]
            np.testing.assert_array_equal(region_at(chain, x).signs, listed)


def test_a_flat_region_is_unsafe_as_a_whole_or_not_at_all():
    prop = asks(1, 1, "(<= Y_0 0)")
    dead = LayerChain.from_arrays([([[1.0]], [0.0]), ([[1.0]], [0.0])])
    report = unsafe_regions(dead, prop)
    assert [(found.region, found.boundary) for found in report] == [(0, False), (1, True)]
    below = unsafe_regions(dead, asks(1, 1, "(<= Y_0 -0.1)"))
    assert below.holds is True


def test_a_partial_answer_is_unknown_unless_violated():
    chain = random_network((2, 12, 12, 1), rng=0)
    top = 2 * float(np.abs(chain(np.random.default_rng(0).uniform(-1, 1, (1000, 2)))).max())
    report = unsafe_regions(chain, asks(2, 1, f"(>= Y_0 {2 * top})"), max_regions=3)
    assert not report.complete
    assert report.holds is None


def test_rows_make_a_table():
    report = unsafe_regions(ABSOLUTE, asks(1, 1, "(>= Y_0 0.5)"))
    assert [row["region"] for row in report.rows()] == [0, 1]
    assert set(report.rows()[0]) >= {"counterexample", "output", "slack", "confirmed", "boundary"}


def test_another_size_than_the_networks():
    with pytest.raises(ShapeError, match="has 2 inputs and 1 outputs; the network has 1 and 1"):
        unsafe_regions(ABSOLUTE, asks(2, 1, "(>= Y_0 0)"))
