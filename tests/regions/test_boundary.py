"""Decision boundaries of known networks, and what holds for all of them."""

from __future__ import annotations

import numpy as np
import pytest

from byways.core.errors import DomainError
from byways.networks import arrangement, random_network
from byways.regions import RegionReport, Slice, WholeSpace, enumerate_regions


def boundary_length(report: RegionReport) -> float:
    segments = report.decision_boundary()
    return float(np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1).sum())


class TestDecisionBoundary:
    @pytest.mark.parametrize(
        ("network", "length"),
        [
            ([([[1.0, 1.0]], [0.0])], 8**0.5),  # the diagonal
            ([(np.eye(2), [0.0, 0.0])], 8**0.5),  # two outputs, x = y
            ([([[1.0, 0.0], [-1.0, 0.0]], [0, 0]), ([[1.0, 1.0]], [-0.5])], 4.0),  # |x| = 1/2
            ([([[1.0, 0.0]], [2.0])], 0.0),  # never zero
            (
                [
                    ([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [0.0] * 4),
                    (np.ones((1, 4)), [-0.5]),
                ],
                8**0.5,  # |x| + |y| = 1/2, four sides of sqrt(1/2)
            ),
        ],
    )
    def test_lengths_of_known_boundaries(self, network: object, length: float) -> None:
        assert boundary_length(enumerate_regions(network, (-1, 1))) == pytest.approx(length)

    def test_where_the_two_largest_of_three_tie(self) -> None:
        # Classes are the sectors of max(x, y, 0): three rays, clipped to the square.
        network = [([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [0.0, 0.0, 0.0])]
        report = enumerate_regions(network, (-1, 1))
        assert boundary_length(report) == pytest.approx(1 + 1 + 2**0.5)

    @pytest.mark.parametrize("outputs", [1, 2, 4])
    def test_ends_and_middles_tie(self, outputs: int) -> None:
        chain = random_network([2, 8, 8, outputs], rng=6)
        segments = enumerate_regions(chain, (-1, 1)).decision_boundary()
        assert len(segments) > 0
        points = np.concatenate([segments[:, 0], segments[:, 1], segments.mean(axis=1)])
        values = chain(points)
        if outputs == 1:
            assert np.abs(values).max() < 1e-7
        else:
            first, second = np.sort(values, axis=1)[:, :-3:-1].T
            assert np.abs(first - second).max() < 1e-7
        assert (np.abs(points) <= 1 + 1e-9).all()

    @pytest.mark.parametrize("outputs", [1, 3])
    def test_no_way_between_two_classes_misses_it(self, outputs: int) -> None:
        chain = random_network([2, 8, 8, outputs], rng=6)
        segments = enumerate_regions(chain, (-1, 1)).decision_boundary()
        starts, stops = np.random.default_rng(0).uniform(-1, 1, (2, 300, 2))
        classes = [
            chain(x).argmax(axis=1) if outputs > 1 else chain(x)[:, 0] > 0 for x in (starts, stops)
        ]
        differ = classes[0] != classes[1]
        assert differ.any()
        crossed = [
            any(_cross_each_other(p, q, *segment) for segment in segments)
            for p, q in zip(starts[differ], stops[differ], strict=True)
        ]
        assert all(crossed)

    def test_in_the_coordinates_of_a_slice(self) -> None:
        network = [([[0.0, 0.0, 1.0]], [-0.5])]
        plane = Slice([0.0, 0.0, 0.0], [[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]], 1.0)
        (segment,) = enumerate_regions(network, plane).decision_boundary()
        assert segment[:, 1] == pytest.approx([0.25, 0.25])
        assert sorted(segment[:, 0]) == pytest.approx([-1.0, 1.0])

    @pytest.mark.parametrize(
        ("domain", "words"),
        [
            (WholeSpace(2), "2 dimensions and no bounds"),
            (Slice([0.0, 0.0], [[1.0, 0.0]], 1.0), "1 dimensions"),
        ],
    )
    def test_only_in_the_plane(self, domain: object, words: str) -> None:
        report = enumerate_regions(arrangement("braid", 2), domain)
        with pytest.raises(DomainError, match=f"{words}.*Slice with two directions"):
            report.decision_boundary()
        with pytest.raises(DomainError, match=f"{words}.*Slice with two directions"):
            report.plot()


def _cross_each_other(p: np.ndarray, q: np.ndarray, r: np.ndarray, s: np.ndarray) -> bool:
    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    slack = 1e-9  # a way through the joint of two segments
    return side(p, q, r) * side(p, q, s) <= slack and side(r, s, p) * side(r, s, q) <= slack
