"""Facets of the decision boundary against closed forms, the plane, and forward passes."""

from __future__ import annotations

import numpy as np
import pytest

from byways.core.chain import LayerChain
from byways.core.domains import Box
from byways.networks import random_network
from byways.regions import enumerate_regions
from byways.regions._facets import Facet


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
