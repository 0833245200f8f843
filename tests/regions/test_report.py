"""The list of regions as a person uses it: rows, files, geometry of single regions."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.core.errors import ConversionError, DomainError, ShapeError
from byways.networks import arrangement, random_network
from byways.regions import (
    Outcome,
    RegionReport,
    Slice,
    WholeSpace,
    count_regions,
    enumerate_regions,
    region_at,
)
from byways.regions._domains import Domain
from tests.oracles.plain import hidden_layers
from tests.oracles.polygons import area, polygons
from tests.regions.nets import ACTIVATIONS

CHAIN = random_network([2, 6, 5, 2], rng=4)
SQUARE = ([-1.0, -1.0], [1.0, 1.0])


@pytest.fixture(scope="module")
def report() -> RegionReport:
    return enumerate_regions(CHAIN, (-1, 1))


class TestAgainstExactPolygons:
    """In the plane every region is known as a polygon with rational corners."""

    @pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
    @pytest.mark.parametrize("seed", [0, 1])
    def test_signs_areas_and_corners(self, activation: Any, seed: int) -> None:
        chain = random_network([2, 5, 4, 1], rng=seed, activation=activation)
        found = enumerate_regions(chain, (-1, 1))
        expected = sorted(polygons(hidden_layers(chain), SQUARE).items())
        assert found.signs.tolist() == [list(signs) for signs, _ in expected]
        for k, (_, polygon) in enumerate(expected):
            assert found.volume(k) == pytest.approx(float(area(polygon)), rel=1e-6, abs=1e-12)
            corners = np.array(polygon, dtype=float)
            distance = np.abs(found.vertices(k)[:, None] - corners).max(axis=2)
            assert distance.min(axis=1).max() < 1e-7
            assert distance.min(axis=0).max() < 1e-7

    def test_a_minimal_list_has_one_half_plane_per_side(self, report: RegionReport) -> None:
        exact = dict(polygons(hidden_layers(CHAIN), SQUARE))
        for k in range(0, len(report), 4):
            region = report[k]
            polygon = np.array(exact[tuple(region.signs.tolist())], dtype=float)
            A, b = report.halfspaces(k)
            # A side lies on the half-plane's border; every corner lies within.
            slack = b - polygon @ A.T
            assert slack.min() > -1e-9
            assert ((np.abs(slack) < 1e-9).sum(axis=0) >= 2).all()
            sides = np.roll(polygon, -1, axis=0) - polygon
            directions = np.unique(
                np.round(sides / np.linalg.norm(sides, axis=1)[:, None], 7), axis=0
            )
            assert len(A) == len(directions)

    def test_vertices_of_the_plane_come_in_turn(self, report: RegionReport) -> None:
        for k in range(len(report)):
            corners = report.vertices(k)
            x, y = corners.T
            shoelace = 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))
            assert shoelace == pytest.approx(report.volume(k))


class TestGeometryInSpace:
    def test_volumes_of_boxes(self) -> None:
        # Planes x = 0.5 and y = -0.25 cut [-1, 1]^3 into four boxes.
        chain = LayerChain.from_arrays(
            [([[1, 0, 0], [0, 1, 0]], [-0.5, 0.25]), (np.ones((1, 2)), [0])]
        )
        found = enumerate_regions(chain, (-1, 1))
        assert [found.volume(k) for k in range(4)] == pytest.approx([2.25, 3.75, 0.75, 1.25])
        corners = sorted(found.vertices(3).tolist())
        expected = itertools.product((0.5, 1.0), (-0.25, 1.0), (-1.0, 1.0))
        assert np.allclose(corners, sorted(expected))
        A, b = found.halfspaces(3)
        assert sorted(zip(A.round(9).tolist(), b.round(9).tolist(), strict=True)) == sorted(
            [
                ([-1.0, 0.0, 0.0], -0.5),
                ([1.0, 0.0, 0.0], 1.0),
                ([0.0, -1.0, 0.0], 0.25),
                ([0.0, 1.0, 0.0], 1.0),
                ([0.0, 0.0, -1.0], 1.0),
                ([0.0, 0.0, 1.0], 1.0),
            ]
        )

    def test_simplices_of_the_braid_arrangement(self) -> None:
        # The order of four uniform numbers: every order is equally likely.
        found = enumerate_regions(arrangement("braid", 4), (0, 1))
        assert [found.volume(k) for k in range(24)] == pytest.approx([1 / 24] * 24)
        assert {len(found.vertices(k)) for k in range(24)} == {5}

    def test_one_dimension(self) -> None:
        found = enumerate_regions([([[2.0], [1.0]], [-1.0, 0.25]), ([[1.0, 1.0]], [0.0])], (-1, 1))
        assert [found.vertices(k).ravel().tolist() for k in range(3)] == [
            pytest.approx([-1.0, -0.25]),
            pytest.approx([-0.25, 0.5]),
            pytest.approx([0.5, 1.0]),
        ]
        assert [found.volume(k) for k in range(3)] == pytest.approx([0.75, 0.75, 0.5])

    def test_slices_are_measured_along_their_directions(self) -> None:
        chain = LayerChain.from_arrays([([[1.0, 0.0, 0.0]], [0.0]), ([[1.0]], [0.0])])
        plane = Slice([0.5, 0.0, 7.0], [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], extent=1.0)
        found = enumerate_regions(chain, plane)
        # x = 0.5 + 2 s changes sign at s = -1/4.
        assert [found.volume(k) for k in range(2)] == pytest.approx([1.5, 2.5])
        A, b = found.halfspaces(0)
        assert A.shape == (4, 2)
        assert any(
            np.allclose(row, [1, 0]) and c == pytest.approx(-0.25)
            for row, c in zip(A, b, strict=True)
        )
        assert found.witnesses.shape == (2, 3)
        assert (found.witnesses[:, 2] == 7.0).all()

    def test_flat_sides_stay_fixed(self) -> None:
        chain = LayerChain.from_arrays([([[1.0, 1.0, 1.0]], [0.0]), ([[1.0]], [0.0])])
        found = enumerate_regions(chain, Box([-1.0, 0.5, -1.0], [1.0, 0.5, 1.0]))
        assert sum(found.volume(k) for k in range(2)) == pytest.approx(4.0)
        assert (found.vertices(0)[:, 1] == 0.5).all()
        assert (found.witnesses[:, 1] == 0.5).all()

    def test_cones_have_no_volume_to_give(self) -> None:
        found = enumerate_regions(arrangement("type_b", 2), WholeSpace(2))
        assert [found.volume(k) for k in range(8)] == [np.inf] * 8
        with pytest.raises(DomainError, match=r"region 3 is unbounded.*use halfspaces"):
            found.vertices(3)
        A, b = found.halfspaces(3)
        assert A.shape == (2, 2)
        assert b.tolist() == [0.0, 0.0]

    def test_triangle_between_three_lines(self) -> None:
        rows = ([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], [0.0, 0.0, 1.0])
        found = enumerate_regions([rows, (np.ones((1, 3)), [0.0])], WholeSpace(2))
        volumes = np.array([found.volume(k) for k in range(len(found))])
        (k,) = np.flatnonzero(np.isfinite(volumes))
        assert volumes[k] == pytest.approx(0.5)
        assert found.signs[k].tolist() == [1, 1, 1]

    @pytest.mark.parametrize("domain", [WholeSpace(2), Box([-3.0, -20.0], [30.0, 5.0])])
    def test_the_circle_in_a_right_triangle(self, domain: object) -> None:
        # Sides of 3, 4 and 5: the inscribed circle has radius 1. At (1, 2) is the right angle.
        rows = ([[1.0, 0.0], [0.0, 1.0], [-3.0, -4.0]], [-1.0, -2.0, 23.0])
        found = enumerate_regions([rows, (np.ones((1, 3)), [0.0])], domain)
        (k,) = np.flatnonzero((found.signs == 1).all(axis=1))
        centre, radius = found.chebyshev(int(k))
        assert centre == pytest.approx([2.0, 3.0])
        assert radius == pytest.approx(1.0)

    def test_balls_in_a_box(self) -> None:
        chain = LayerChain.from_arrays([([[1.0, 1.0, 0.0]], [0.0]), ([[1.0]], [0.0])])
        found = enumerate_regions(chain, Box([-1.0, 0.5, -9.0], [1.0, 0.5, 9.0]))
        for k, (middle, radius) in enumerate([(-0.75, 0.25), (0.25, 0.75)]):
            centre, size = found.chebyshev(k)  # between x = -0.5 and a side of the box
            assert centre[:2] == pytest.approx([middle, 0.5])
            assert size == pytest.approx(radius)
        with pytest.raises(DomainError, match=r"region 0 is unbounded, and balls of any size"):
            enumerate_regions(arrangement("type_b", 2), WholeSpace(2)).chebyshev(0)

    def test_too_many_dimensions_for_vertices(self) -> None:
        found = enumerate_regions(random_network([10, 2, 1], rng=0), (-1, 1))
        with pytest.raises(DomainError, match=r"10 dimensions.*9 dimensions are the most"):
            found.volume(0)
        assert found.halfspaces(0)[0].shape[1] == 10


class TestRows:
    def test_shapes_and_types(self, report: RegionReport) -> None:
        n = len(report)
        assert report.signs.shape == (n, 11)
        assert report.signs.dtype == np.uint8
        assert report.witnesses.shape == (n, 2)
        assert report.bits.shape == (n, 11)
        assert report.outcome is Outcome.COMPLETE
        assert report.outcome.complete
        assert report.explored == 1.0
        assert report.ambiguous == 0
        assert report.seconds > 0
        assert report.network is CHAIN

    def test_signs_come_in_lexicographic_order(self, report: RegionReport) -> None:
        rows = [tuple(row) for row in report.signs.tolist()]
        assert rows == sorted(set(rows))

    def test_regions_one_by_one(self, report: RegionReport) -> None:
        regions = list(report)
        assert len(regions) == len(report)
        for k, region in enumerate(regions):
            assert np.array_equal(region.signs, report.signs[k])
            assert np.array_equal(region.witness, report.witnesses[k])
            assert np.array_equal(region.affine.weight, report.affine(k).weight)
        assert np.array_equal(report[-1].signs, report.signs[-1])

    @pytest.mark.parametrize("k", [10**6, -(10**6)])
    def test_no_such_region(self, report: RegionReport, k: int) -> None:
        for use in (report.__getitem__, report.affine, report.volume, report.halfspaces):
            with pytest.raises(IndexError):
                use(k)

    def test_numbers_from_numpy_are_numbers(self, report: RegionReport) -> None:
        k = np.argmax(report.witnesses[:, 0])
        assert report.affine(k).weight.shape == (2, 2)
        assert report.volume(k) == report.volume(int(k))
        assert np.array_equal(report[k].signs, report.signs[k])

    def test_several_maps_at_once(self, report: RegionReport) -> None:
        picked = np.array([3, 0, -1])
        many = report.affine(picked)
        assert many.weight.shape == (3, 2, 2)
        for i, k in enumerate(picked.tolist()):
            assert np.array_equal(many.weight[i], report.affine(k).weight)
            assert np.array_equal(many.bias[i], report.affine(k).bias)
        assert report.affine(slice(None)).weight.shape == (len(report), 2, 2)

    def test_ranks_are_those_of_the_local_maps(self, report: RegionReport) -> None:
        for layer in (0, 1, 2, -1, -3):
            stop = layer % 3
            expected = [
                np.linalg.matrix_rank(CHAIN.local_map(signs, stop).weight) for signs in report.signs
            ]
            assert report.ranks(layer).tolist() == expected
        # Two generic rows are independent, so the first layer's rank counts its active units.
        assert np.array_equal(report.ranks(0), np.minimum(report.signs[:, :6].sum(axis=1), 2))
        with pytest.raises(IndexError, match='"layer" was 3; this network has layers 0 to 2'):
            report.ranks(3)

    def test_ranks_on_a_line_are_at_most_one(self) -> None:
        found = enumerate_regions(CHAIN, Slice([0.0, 0.0], [[1.0, 2.0]], 1.0))
        assert found.ranks().max() == 1

    def test_table(self, report: RegionReport) -> None:
        rows = report.rows()
        assert len(rows) == len(report)
        for k, row in enumerate(rows):
            assert row == {
                "region": k,
                "segments": "".join(str(s) for s in report.signs[k]),
                "active": int(report.signs[k].sum()),
                "map_rank": int(np.linalg.matrix_rank(report.affine(k).weight)),
            }

    def test_frame(self, report: RegionReport) -> None:
        pandas = pytest.importorskip("pandas")
        frame = report.to_frame()
        assert isinstance(frame, pandas.DataFrame)
        assert list(frame.columns) == ["region", "segments", "active", "map_rank"]
        assert frame.groupby("map_rank").size().sum() == len(report)

    def test_text(self, report: RegionReport) -> None:
        text = str(report)
        assert f"{len(report)} regions ({report.layer_counts[0]} -> {len(report)})" in text
        assert "[-1, 1]^2" in text
        assert "method vertices" in text
        assert text.endswith("every region was found")
        count = count_regions(CHAIN, (-1, 1))
        assert str(count).startswith(f"{len(report)} regions (")
        assert str(report[0]).startswith(f"Region {''.join(map(str, report.signs[0]))}")

    def test_arrays_cannot_be_written(self, report: RegionReport) -> None:
        with pytest.raises(ValueError, match="read-only"):
            report.words[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            report.points[0] = 0

    def test_witnesses_only_where_they_were_kept(self) -> None:
        found = enumerate_regions(CHAIN, (-1, 1), keep=("signs",))
        assert found.witnesses.shape == (0, 2)
        assert found[0].witness is None
        assert np.array_equal(found.signs, enumerate_regions(CHAIN, (-1, 1)).signs)
        assert found.volume(0) > 0


class TestLocate:
    def test_batches_have_any_shape(self, report: RegionReport) -> None:
        points = report.witnesses[:6].reshape(2, 3, 2)
        assert report.locate(points).tolist() == [[0, 1, 2], [3, 4, 5]]
        assert report.locate(points[0, 1]).shape == ()
        assert int(report.locate(points[0, 1])) == 1
        assert report.locate(np.zeros((0, 2))).shape == (0,)
        assert report.locate(np.zeros((4, 0, 2))).shape == (4, 0)

    def test_outside_is_minus_one(self, report: RegionReport) -> None:
        assert report.locate([[1.5, 0.0], [0.0, -1.0001]]).tolist() == [-1, -1]
        with pytest.raises(DomainError, match=r'"x" has 1 value.*\(1, 0\)'):
            report.locate([[0.0, 0.0], [np.nan, 0.0]])

    def test_wrong_length_is_refused(self, report: RegionReport) -> None:
        with pytest.raises(ShapeError, match=r'"x" has shape \(3,\).*2 entries'):
            report.locate([0.0, 0.0, 0.0])

    def test_off_the_slice_is_minus_one(self) -> None:
        plane = Slice([0.0, 0.0, 1.0], [[1.0, 1.0, 0.0], [0.0, 1.0, 0.5]], extent=1.0)
        found = enumerate_regions(random_network([3, 5, 1], rng=2), plane)
        inside = plane(np.random.default_rng(0).uniform(-1, 1, (50, 2)))
        assert (found.locate(inside) >= 0).all()
        assert (found.locate(inside + np.array([0.0, 0.0, 1e-3])) == -1).all()
        assert int(found.locate(plane([1.01, 0.0]))) == -1

    def test_outside_the_polytope_is_minus_one(self) -> None:
        half = Polytope([[1.0, 0.0]], [0.0], Box(*SQUARE))
        found = enumerate_regions(CHAIN, half)
        assert int(found.locate([0.5, 0.0])) == -1
        assert int(found.locate([-0.51, 0.013])) >= 0

    def test_a_network_without_hidden_units(self) -> None:
        found = enumerate_regions([([[1.0, 0.0]], [0.0])], (-1, 1))
        assert found.locate([[0.0, 0.0], [2.0, 0.0]]).tolist() == [0, -1]

    def test_a_partial_report_says_what_it_does_not_have(self, report: RegionReport) -> None:
        part = enumerate_regions(CHAIN, (-1, 1), max_regions=5)
        found = part.locate(report.witnesses)
        assert sorted(found[found >= 0]) == list(range(5))
        assert (found == -1).sum() == len(report) - 5

    def test_region_at_needs_no_search(self, report: RegionReport) -> None:
        region = region_at(CHAIN, report.witnesses[7])
        assert np.array_equal(region.signs, report.signs[7])
        assert np.array_equal(region.affine.weight, report.affine(7).weight)

    def test_a_point_on_the_border_has_the_lower_segment(self) -> None:
        network = [([[1.0], [-1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])]
        assert region_at(network, [0.0]).signs.tolist() == [0, 0]
        assert int(enumerate_regions(network, (-1, 1)).locate([0.0])) == -1


DOMAINS: dict[str, Domain] = {
    "box": Box([-1.0, -0.5], [1.0, 2.0]),
    "polytope": Polytope([[1.0, 1.0]], [1.0], Box(*SQUARE)),
    "slice": Slice([0.0, 0.1], [[1.0, 2.0]], (-1, 3)),
    "whole space": WholeSpace(2),
}


class TestFiles:
    @pytest.mark.parametrize("domain", DOMAINS)
    def test_what_was_saved_comes_back(self, domain: str, tmp_path: Path) -> None:
        found = enumerate_regions(CHAIN, DOMAINS[domain])
        found.save(tmp_path / "report.npz")
        loaded = RegionReport.load(tmp_path / "report.npz")
        assert loaded.digest() == found.digest()
        assert np.array_equal(loaded.signs, found.signs)
        assert np.array_equal(loaded.witnesses, found.witnesses)
        assert loaded.layer_counts == found.layer_counts
        assert (loaded.outcome, loaded.seconds) == (found.outcome, found.seconds)
        assert loaded.network.digest() == CHAIN.digest()
        assert np.array_equal(loaded.locate(found.witnesses), np.arange(len(found)))
        assert loaded.affine(1).weight.tolist() == found.affine(1).weight.tolist()

    def test_a_partial_report_stays_partial(self, tmp_path: Path) -> None:
        enumerate_regions(CHAIN, (-1, 1), max_regions=3).save(tmp_path / "part.npz")
        loaded = RegionReport.load(tmp_path / "part.npz")
        assert loaded.outcome is Outcome.MAX_REGIONS
        assert len(loaded) == 3
        assert loaded.explored < 1

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        CHAIN.save(tmp_path / "chain.npz")
        with pytest.raises(
            ConversionError, match=r"LayerChain/1; byways\.RegionReport/1 is needed"
        ):
            RegionReport.load(tmp_path / "chain.npz")
        (tmp_path / "torn.npz").write_bytes((tmp_path / "chain.npz").read_bytes()[:100])
        with pytest.raises(ConversionError, match=r"cannot be read as byways\.RegionReport"):
            RegionReport.load(tmp_path / "torn.npz")
        with pytest.raises(FileNotFoundError):
            RegionReport.load(tmp_path / "none.npz")

    def test_the_digest_is_that_of_the_findings(self) -> None:
        first, again = (enumerate_regions(CHAIN, (-1, 1)) for _ in range(2))
        assert first.digest() == again.digest()
        others = [
            enumerate_regions(CHAIN, (-1, 0.5)),
            enumerate_regions(CHAIN, (-1, 1), method="simplex"),
            enumerate_regions(CHAIN, (-1, 1), tolerance=1e-8),
            enumerate_regions(CHAIN, (-1, 1), keep=("signs",)),
            enumerate_regions(CHAIN, (-1, 1), max_regions=3),
            enumerate_regions(random_network([2, 6, 5, 2], rng=5), (-1, 1)),
        ]
        assert len({first.digest(), *(other.digest() for other in others)}) == 7
