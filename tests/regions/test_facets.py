"""Facets of the decision boundary against closed forms, the plane, and forward passes."""

from __future__ import annotations

import numpy as np
import pytest

from byways.core.chain import LayerChain
from byways.core.domains import Box
from byways.core.errors import DomainError
from byways.networks import random_network
from byways.regions import WholeSpace, enumerate_regions
from byways.regions._facets import Facet
from byways.regions._geometry import is_bounded
from tests.regions.nets import ACTIVATIONS, whole_numbered


def plane_through_cube(extra: int) -> LayerChain:
    """Give x + y + z - 1.5, cut into regions by units that the output does not read."""
    rng = np.random.default_rng(0)
    weight = np.concatenate([np.eye(3), rng.standard_normal((extra, 3))])
    bias = np.concatenate([np.ones(3), -weight[3:] @ np.full(3, 0.45)])
    read = np.concatenate([np.ones(3), np.zeros(extra)])
    return LayerChain.from_arrays([(weight, bias), (read[None], np.array([-4.5]))])


@pytest.mark.parametrize("extra", [0, 1, 6])
def test_a_plane_through_a_cube_is_a_hexagon(extra: int) -> None:
    report = enumerate_regions(plane_through_cube(extra), (0, 1))
    facets = list(report.decision_facets())
    assert sum(facet.area() for facet in facets) == pytest.approx(3 * np.sqrt(3) / 4, rel=1e-9)
    for facet in facets:
        assert facet.outputs == (0, 0)
        assert facet.normal == pytest.approx(np.full(3, 3**-0.5))
        assert facet.offset == pytest.approx(1.5 * 3**-0.5)
    if not extra:
        assert len(facets[0].vertices()) == 6


def test_a_side_of_the_domain_that_is_flat() -> None:
    box = Box([0, 0, 0.5], [1, 1, 0.5])  # x + y = 1: the square's diagonal
    facets = list(enumerate_regions(plane_through_cube(3), box).decision_facets())
    assert sum(facet.area() for facet in facets) == pytest.approx(np.sqrt(2), rel=1e-9)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_lengths_in_the_plane_are_those_of_the_segments(outputs: int) -> None:
    report = enumerate_regions(random_network((2, 8, 8, outputs), rng=4), (-2, 2))
    segments = report.decision_boundary()
    length = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1).sum()
    assert length > 0
    found = sum(facet.area() for facet in report.decision_facets())
    assert found == pytest.approx(length, rel=1e-7)


def holds(facet: Facet, x: np.ndarray) -> bool:
    """Whether a point is on a facet, up to what bisection leaves."""
    near = abs(facet.normal @ x - facet.offset) < 1e-9
    return bool(near and (facet.A @ x <= facet.b + 1e-9).all())


@pytest.mark.parametrize("dim", [3, 4])
def test_whoever_changes_class_crosses_one_facet(dim: int) -> None:
    chain = random_network((dim, 7, 5, 3), rng=1)
    facets = list(enumerate_regions(chain, (-2, 2)).decision_facets())
    rng, crossed = np.random.default_rng(0), 0
    for facet in facets:
        i, j = facet.outputs
        values = chain(facet.point)
        assert values[i] == pytest.approx(values[j], abs=1e-9)
        assert values.argmax() in facet.outputs
        ahead = chain(facet.point + 1e-7 * facet.normal)
        assert ahead[j] > ahead[i]
    for a, b in rng.uniform(-2, 2, (40, 2, dim)):
        first, last = chain(a).argmax(), chain(b).argmax()
        if first == last:
            continue
        for _ in range(60):  # to where the class of a ends
            middle = (a + b) / 2
            a, b = (middle, b) if chain(middle).argmax() == first else (a, middle)
        crossed += 1
        assert sum(holds(facet, a) for facet in facets) == 1
    assert crossed > 5


def kinked(size: int, left: float, right: float, extra: int) -> LayerChain:
    """Give left * relu(-u) + right * relu(u), where u = x + y + ... - size / 2, in more regions."""
    rng = np.random.default_rng(1)
    ones = np.ones((1, size))
    weight = np.concatenate([ones, -ones, rng.standard_normal((extra, size))])
    bias = np.concatenate([[-size / 2, size / 2], -weight[2:] @ np.full(size, 0.45)])
    mixed = np.concatenate([np.eye(2, 2 + extra), rng.standard_normal((extra, 2 + extra))])
    layers = [(weight, bias), (mixed, np.full(2 + extra, 0.1)), (np.zeros((1, 2 + extra)), [0.0])]
    layers[1][1][:2] = 0.0
    layers[2][0][0, :2] = right, left
    return LayerChain.from_arrays(layers)


@pytest.mark.parametrize("extra", [0, 3])
@pytest.mark.parametrize(
    ("left", "right", "ahead"),
    [(-1, 1, 1), (2, 1, 1), (0, 1, 1), (1, 0, -1), (-1, 0, 1), (0, 0, 0)],
    ids=["crosses", "touches", "zero left", "zero right", "negative left", "zero"],
)
def test_what_lies_on_a_border_is_given_once(
    left: float, right: float, ahead: int, extra: int
) -> None:
    report = enumerate_regions(kinked(3, left, right, extra), (0, 1))
    facets = list(report.decision_facets())
    area = 3 * np.sqrt(3) / 4 if ahead else 0.0  # the cube's hexagon
    assert sum(facet.area() for facet in facets) == pytest.approx(area, rel=1e-9)
    for facet in facets:
        assert facet.normal == pytest.approx(np.full(3, ahead * 3**-0.5))
        assert report.network(facet.point)[0] == pytest.approx(0.0, abs=1e-12)
        assert ((facet.A @ facet.point) < facet.b).all()


def test_a_side_of_the_domain_is_no_border_between_classes() -> None:
    chain = LayerChain.from_arrays([([[1.0, 0.0]], [0.0]), ([[1.0]], [0.0])])
    assert list(enumerate_regions(chain, (0, 1)).decision_facets()) == []
    assert len(list(enumerate_regions(chain, (-1, 1)).decision_facets())) == 1


# Outputs as multiples of relu(u) and relu(-u), and which two are the largest beside u = 0.
THREE = {
    "x, 0, -x": ([[1, -1], [0, 0], [-1, 1]], (0, 2)),
    "x, 2 x, 0": ([[1, -1], [2, -2], [0, 0]], (1, 2)),
    "x, x, -x": ([[1, -1], [1, -1], [-1, 1]], (0, 2)),
    "relu(x), relu(-x), 0": ([[1, 0], [0, 1], [0, 0]], (0, 1)),
    "-|x|, 0, |x|": ([[-1, -1], [0, 0], [1, 1]], (0, 2)),
    "relu(x), 0, 2 relu(x)": ([[1, 0], [0, 0], [2, 0]], (0, 2)),
    "relu(x), relu(x), 0": ([[1, 0], [1, 0], [0, 0]], (0, 2)),
}


@pytest.mark.parametrize("inside", [False, True], ids=["on a border", "inside a region"])
@pytest.mark.parametrize("name", THREE)
def test_where_three_outputs_tie_the_two_largest_are_named(name: str, inside: bool) -> None:
    """On the border between two regions; and for linear outputs also inside one."""
    outputs, pair = np.array(THREE[name][0], dtype=float), THREE[name][1]
    weight = np.concatenate([np.ones((1, 3)), -np.ones((1, 3))])
    bias, shift = np.array([-1.5, 1.5]), np.zeros(3)
    if inside:
        if (outputs[:, 0] != -outputs[:, 1]).any():
            return
        bias, shift = bias + 9.0, -9.0 * outputs.sum(axis=1)
    report = enumerate_regions([(weight, bias), (outputs, shift)], (0, 1))
    assert len(report) == (1 if inside else 2)
    (facet,) = report.decision_facets()
    assert facet.outputs == pair
    assert facet.area() == pytest.approx(3 * np.sqrt(3) / 4, rel=1e-9)  # the cube's hexagon
    beside = [report.network(facet.point + s * facet.normal) for s in (-1e-3, 1e-3)]
    assert {int(values.argmax()) for values in beside} <= set(pair)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("seed", range(12))
def test_degenerate_lengths_in_the_plane_are_those_of_the_segments(seed: int, outputs: int) -> None:
    chain = whole_numbered((2, 5, 4, outputs), seed, ACTIVATIONS[seed % len(ACTIVATIONS)])
    report = enumerate_regions(chain, Box([-1.03, -0.96], [0.98, 1.01]))
    segments = report.decision_boundary()
    length = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1).sum()
    found = sum(facet.area() for facet in report.decision_facets())
    assert found == pytest.approx(length, rel=1e-7)


def test_a_tie_far_beyond_the_box_is_no_facet() -> None:
    """Outputs that hardly change tie 1e12 sides away: no facet, and nothing to ask a solver."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(4, 5)), np.zeros(4)
    flat = np.vstack([1e-12 * rng.normal(size=4), np.zeros(4)])
    for gap, facets in ((1.0, 0), (0.0, 1)):
        report = enumerate_regions([hidden, (flat, np.array([gap, 0.0]))], (-1, 1))
        assert (len(list(report.decision_facets())) > 0) == bool(facets)


def test_unbounded_facets_are_refused_by_name() -> None:
    facets = list(enumerate_regions(plane_through_cube(0), WholeSpace(3)).decision_facets())
    triangle, *others = sorted(facets, key=lambda facet: -facet.point.min())
    # Where all units are on: x + y + z = 3/2 above -1, with sides of 4.5 sqrt(2).
    assert triangle.area() == pytest.approx(np.sqrt(3) / 4 * 40.5, rel=1e-9)
    corners = sorted(triangle.vertices().round(9).tolist())
    assert corners == [[-1, -1, 3.5], [-1, 3.5, -1], [3.5, -1, -1]]
    assert len(others) == 6  # strips, and corners of the space
    for facet in others:
        for ask in (facet.area, facet.vertices):
            with pytest.raises(DomainError, match=f"facet in region {facet.region} is unbounded"):
                ask()


@pytest.mark.parametrize("size", [2, 3])
def test_a_facet_along_what_no_unit_reads_is_unbounded(size: int) -> None:
    weight = np.eye(1, size)
    chain = LayerChain.from_arrays([(weight, [1.0]), ([[1.0]], [-2.0])])
    (facet,) = enumerate_regions(chain, WholeSpace(size)).decision_facets()
    with pytest.raises(DomainError, match="unbounded"):
        facet.area()
    (facet,) = enumerate_regions(chain, (-1, 2)).decision_facets()
    assert facet.area() == pytest.approx(3.0 ** (size - 1))


def test_facets_of_many_dimensions_are_refused_by_name() -> None:
    chain = LayerChain.from_arrays([(np.ones((1, 11)), [11.0]), ([[1.0]], [-11.0])])
    (facet,) = enumerate_regions(chain, (-1, 1)).decision_facets()
    with pytest.raises(DomainError, match="a facet of 10 dimensions has too many corners"):
        facet.area()


@pytest.mark.parametrize(
    ("normals", "bounded"),
    [
        ([[1, 0], [-1, 0], [0, 1], [0, -1]], True),
        ([[1, 0], [-1, 0], [0, 1]], False),
        ([[1, 0], [-1, 0]], False),  # a strip
        ([[1, 0], [0, 1], [-1, -1]], True),
        ([[1, 0], [0, 1], [-1, 1]], False),
        ([[1], [1]], False),
        ([[1], [-3]], True),
        ([[1, 0], [0, 1], [-1, -1], [1, 1]], True),
    ],
)
def test_what_is_bounded(normals: list[list[float]], bounded: bool) -> None:
    assert is_bounded(np.array(normals, dtype=float)) == bounded
