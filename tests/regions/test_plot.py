from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.offsetbox import AnnotationBbox

from byways.core.activations import absolute
from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.core.errors import DomainError, ShapeError
from byways.core.plotting import new_axes
from byways.networks import example
from byways.regions import RegionReport, Slice, WholeSpace, enumerate_regions, plot_slice
from byways.regions._boundary import boundary_segments, classified
from byways.regions._plot import draw_partition

UNIT = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
SQUARE = Box([-1.0, -1.0], [1.0, 1.0])


def lengths(segments: np.ndarray) -> np.ndarray:
    return np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)


def area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def on_unit_square(*outputs: tuple[float, float, float]) -> tuple[Any, Any, Any]:
    """Write outputs as (a, b, c) for a x + b y + c."""
    rows = np.array(outputs)
    return [UNIT], rows[None, :, :2], rows[None, :, 2]


class TestBoundary:
    def test_one_output_is_compared_with_zero(self) -> None:
        segments = boundary_segments(*on_unit_square((1, 0, -0.25)))
        assert segments.shape == (1, 2, 2)
        np.testing.assert_allclose(segments[0, :, 0], 0.25)
        assert sorted(segments[0, :, 1]) == [0.0, 1.0]

    def test_an_output_that_is_largest_at_no_corner_has_its_strip(self) -> None:
        given = on_unit_square((-1, 0, 0.375), (1, 0, -0.625), (0, 0, 0))
        segments = boundary_segments(*given)
        places = sorted(segments[:, :, 0].tolist())
        assert places == [[0.375, 0.375], [0.625, 0.625]]
        pieces, classes, _ = classified(*given)
        areas = {int(kind): area(piece) for piece, kind in zip(pieces, classes, strict=True)}
        assert areas == pytest.approx({0: 0.375, 1: 0.375, 2: 0.25})

    def test_three_outputs_meet_in_a_point(self) -> None:
        # nearest of (0, 0), (1, 0), (0, 1): |x - p|^2 without its common part
        segments = boundary_segments(*on_unit_square((0, 0, 0), (2, 0, -1), (0, 2, -1)))
        np.testing.assert_allclose(sorted(lengths(segments)), [0.5, 0.5, 0.5**0.5])
        for segment in segments:
            assert (np.abs(segment - 0.5).max(axis=1) < 1e-12).any()

    @pytest.mark.parametrize(
        "outputs",
        [
            [(1, 0, 1)],
            [(0, 0, 0)],
            [(1, 2, 0), (1, 2, 0)],
            [(0, 0, 3), (1, 0, -1)],
            [(1, 1, 0)],  # zero at a corner
        ],
    )
    def test_no_boundary(self, outputs: list[tuple[float, float, float]]) -> None:
        assert boundary_segments(*on_unit_square(*outputs)).shape == (0, 2, 2)

    def test_no_polygons(self) -> None:
        assert boundary_segments([], np.zeros((0, 3, 2)), np.zeros((0, 3))).shape == (0, 2, 2)

    def test_equal_outputs_below_a_third(self) -> None:
        given = on_unit_square((1, 0, 0), (1, 0, 0), (-1, 0, 1))
        np.testing.assert_allclose(boundary_segments(*given)[:, :, 0], [[0.5, 0.5]])
        _, classes, _ = classified(*given)
        assert set(classes.tolist()) == {0, 2}

    def test_a_tie_along_a_common_edge_is_given_once(self) -> None:
        right = UNIT + np.array([1.0, 0.0])
        weight = np.array([[[-1.0, 0.0]], [[1.0, 0.0]]])  # |x - 1|
        segments = boundary_segments([UNIT, right], weight, np.array([[1.0], [-1.0]]))
        assert sorted(map(tuple, segments[0].tolist())) == [(1.0, 0.0), (1.0, 1.0)]
        assert len(segments) == 1

    def test_pieces_fill_the_polygon_and_hold_one_class(self) -> None:
        rng = np.random.default_rng(0)
        weight, bias = rng.normal(size=(40, 6, 2)), rng.normal(size=(40, 6)) / 3
        pieces, classes, _ = classified([UNIT] * 40, weight, bias)
        assert sum(area(piece) for piece in pieces) == pytest.approx(40.0)
        assert len(pieces) > 80
        values = rng.random((2000, 2)) @ weight.transpose(0, 2, 1) + bias[:, None]
        shares = np.bincount(values.argmax(axis=2).ravel(), minlength=6) / 2000
        exact = np.bincount(classes, weights=[area(piece) for piece in pieces], minlength=6)
        np.testing.assert_allclose(exact, shares, atol=0.3)  # four standard errors

    def test_boundary_of_the_moons(self) -> None:
        moons = example("moons")
        segments = enumerate_regions(moons.chain, moons.box).decision_boundary()
        middles = segments.mean(axis=1)
        outputs = moons.chain(np.concatenate([segments[:, 0], segments[:, 1], middles]))
        np.testing.assert_allclose(outputs[:, 0], outputs[:, 1], atol=1e-9)
        along = segments[:, 1] - segments[:, 0]
        normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / lengths(segments)[:, None]
        sides = [moons.chain(middles + step * normal).argmax(axis=1) for step in (-1e-7, 1e-7)]
        assert (sides[0] != sides[1]).all()

    def test_boundary_of_the_moons_is_complete(self) -> None:
        moons = example("moons")
        segments = enumerate_regions(moons.chain, moons.box).decision_boundary()
        rng = np.random.default_rng(1)
        start, end = moons.box.sample(rng, 300), moons.box.sample(rng, 300)
        classes = [moons.chain(points).argmax(axis=1) for points in (start, end)]
        crossings = crossings_of(start, end, segments)
        # two classes: they differ at the ends if and only if the way crosses an odd number of times
        np.testing.assert_array_equal(crossings % 2 == 1, classes[0] != classes[1])


def crossings_of(start: np.ndarray, end: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Count how many segments each way from start to end crosses."""

    def side(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> np.ndarray:
        u, v = b - a, p - a
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0] > 0

    a, b = start[:, None], end[:, None]
    c, d = segments[None, :, 0], segments[None, :, 1]
    across = (side(a, b, c) != side(a, b, d)) & (side(c, d, a) != side(c, d, b))
    return np.asarray(across.sum(axis=1))


def of_kind(ax: Axes, kind: type[Any]) -> list[Any]:
    return [artist for artist in ax.collections if type(artist) is kind]


def legend_of(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def cross(outputs: int = 1) -> LayerChain:
    """Two lines through the middle; the outputs are |x + y| - 1/2 and, with two, |x - y|."""
    last = ([[1, 0], [0, 1]][:outputs], [-0.5, 0][:outputs])
    return LayerChain.from_arrays([([[1, 1], [1, -1]], [0, 0]), last], activation=absolute)


class TestPicture:
    def test_every_region_is_a_polygon(self) -> None:
        ax = plot_slice(cross(), SQUARE, color="norm", ax=new_axes())
        (fills,) = of_kind(ax, PolyCollection)
        polygons = [path.vertices[:-1] for path in fills.get_paths()]
        assert sorted(area(polygon) for polygon in polygons) == pytest.approx([1.0] * 4)
        assert ax.get_title() == "4 activation regions"
        assert (ax.get_xlim(), ax.get_ylim()) == ((-1.0, 1.0), (-1.0, 1.0))
        assert ax.figure.axes[1].get_ylabel() == "norm of the gradient"

    def test_class_fills_change_along_the_boundary(self) -> None:
        ax = plot_slice(cross(), SQUARE, color="class", ax=new_axes())
        (fills,) = of_kind(ax, PolyCollection)
        colors = fills.get_facecolors()
        areas: dict[tuple[float, ...], float] = {}
        for path, color in zip(fills.get_paths(), colors, strict=True):
            areas[tuple(color)] = areas.get(tuple(color), 0.0) + area(path.vertices[:-1])
        # |x + y| < 1/2 is the square without two corners of side 3/2
        assert sorted(areas.values()) == pytest.approx([1.75, 2.25])
        assert legend_of(ax) == ["output <= 0", "output > 0", "decision boundary"]
        boundary = of_kind(ax, LineCollection)[-1]
        total = lengths(np.array(boundary.get_segments())).sum()
        assert total == pytest.approx(2 * 1.5 * 2**0.5)

    def test_borders_by_layer(self) -> None:
        moons = example("moons")
        ax = plot_slice(moons.chain, moons.box, color="layer", ax=new_axes())
        second, first, _ = of_kind(ax, LineCollection)  # the first layer is drawn over the second
        ends = np.array(first.get_segments())
        layer = moons.chain.layers[0]
        values = ends @ layer.map.to_dense().T + layer.bias
        assert (np.abs(values).max(axis=1).min(axis=1) < 1e-9).all()
        values = np.array(second.get_segments()) @ layer.map.to_dense().T + layer.bias
        assert (np.abs(values).max(axis=1).min(axis=1) > 1e-9).all()
        assert first.get_linewidth()[0] > second.get_linewidth()[0]
        assert legend_of(ax) == ["layer 1", "layer 2", "decision boundary"]

    def test_ranks_are_counted_in_the_legend(self) -> None:
        corner = LayerChain.from_arrays([([[1, 0], [0, 1]], [0, 0]), ([[1, 0], [0, 1]], [0, 0])])
        ax = plot_slice(corner, SQUARE, color="rank", decision_boundary=False, ax=new_axes())
        assert legend_of(ax) == ["rank 0: 1", "rank 1: 2", "rank 2: 1"]

    def test_a_slice_of_digits_with_its_points(self) -> None:
        digits = example("digits")
        plane = Slice.through(digits.points)
        beside = digits.points[0] + 0.5
        points = np.concatenate([digits.points, [beside]])
        labels = [*digits.labels, -1]
        ax = plot_slice(
            digits.chain,
            plane,
            color="norm",
            points=points,
            labels=labels,
            classes=digits.classes,
            ax=new_axes(),
        )
        report = enumerate_regions(digits.chain, plane)
        assert ax.get_title() == f"{len(report)} activation regions on the slice"
        (fills,) = of_kind(ax, PolyCollection)
        assert len(fills.get_paths()) == len(report)
        solid, hollow = of_kind(ax, PathCollection)
        np.testing.assert_allclose(solid.get_offsets(), plane.coordinates(digits.points))
        assert len(hollow.get_offsets()) == 1
        assert len(hollow.get_facecolors()) == 0

    def test_points_that_are_images_stand_where_they_belong(self) -> None:
        digits = example("digits")
        plane = Slice.through(digits.points)
        ax = plot_slice(
            digits.chain,
            plane,
            points=digits.points,
            labels=digits.labels,
            image_shape=digits.image_shape,
            ax=new_axes(),
        )
        boxes = [artist for artist in ax.artists if isinstance(artist, AnnotationBbox)]
        np.testing.assert_allclose([box.xy for box in boxes], plane.coordinates(digits.points))
        for box, image in zip(boxes, digits.points, strict=True):
            np.testing.assert_array_equal(box.offsetbox.get_data(), image.reshape(8, 8))
        with pytest.raises(ShapeError, match=r"\(8, 9\).*64 pixels"):
            plot_slice(digits.chain, plane, points=digits.points, image_shape=(8, 9))

    def test_norms_are_those_of_the_jacobian(self) -> None:
        # slopes of |x + y| are (1, 1) everywhere; the box is stretched, the picture is not
        ax = plot_slice(cross(), Box([-1, -1], [3, 1]), color="norm", ax=new_axes())
        bar = ax.figure.axes[1]
        assert bar.get_ylim()[0] == pytest.approx(2**0.5)

    def test_flat_sides_are_left_out(self) -> None:
        chain = LayerChain.from_arrays([(np.eye(3), [0.0, 0.0, 0.5]), (np.ones((1, 3)), [0.0])])
        ax = plot_slice(chain, Box([-1, 0, -1], [1, 0, 1]), ax=new_axes())
        assert ax.get_title() == "4 activation regions"
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_{0}$", "$x_{2}$")

    def test_a_polytope(self) -> None:
        ax = plot_slice(cross(), Polytope([[1.0, 0.0]], [0.0], SQUARE), ax=new_axes())
        (fills,) = of_kind(ax, PolyCollection)
        areas = [area(path.vertices[:-1]) for path in fills.get_paths()]
        assert sum(areas) == pytest.approx(2.0)

    def test_a_network_without_hidden_units(self) -> None:
        line = LayerChain.from_arrays([([[1.0, 0.0]], [0.0])])
        ax = plot_slice(line, SQUARE, color="class", ax=new_axes())
        assert ax.get_title() == "1 activation region"

    def test_new_axes_are_the_callers(self) -> None:
        import matplotlib.pyplot as plt

        before = plt.get_fignums()
        ax = plot_slice(cross(), SQUARE)
        assert plt.get_fignums() == [*before, ax.figure.number]  # type: ignore[union-attr]
        plt.close(ax.figure)  # type: ignore[arg-type]

    def test_a_report_draws_the_same(self) -> None:
        report = enumerate_regions(cross(2), SQUARE)
        drawn = report.plot(new_axes())
        direct = plot_slice(cross(2), SQUARE, ax=new_axes())
        for kind in (PolyCollection, LineCollection):
            for one, other in zip(of_kind(drawn, kind), of_kind(direct, kind), strict=True):
                for a, b in zip(one.get_paths(), other.get_paths(), strict=True):
                    np.testing.assert_array_equal(a.vertices, b.vertices)
        assert drawn.get_title() == direct.get_title()

    def test_partition_of_given_polygons(self) -> None:
        ax = new_axes()
        draw_partition(ax, [UNIT, UNIT + 1], np.array([[1.0, 0, 0], [0, 0, 1.0]]))
        (fills,) = of_kind(ax, PolyCollection)
        np.testing.assert_array_equal(fills.get_facecolors()[:, :3], [[1, 0, 0], [0, 0, 1]])
        assert of_kind(ax, LineCollection) == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"color": "hue"}, ValueError, "\"color\" was 'hue'; it is one of auto, class"),
            ({"points": [[0.0]]}, ShapeError, r'"points" has shape \(1, 1\); rows of 2'),
            ({"points": [[np.nan, 0.0]]}, DomainError, '"points" has 1 values that are NaN'),
            ({"points": [[0.0, 0.0]], "labels": [0, 1]}, ShapeError, '"labels" has shape'),
            ({"classes": ["one"]}, ShapeError, '"classes" has 1 names for 2 classes'),
            ({"max_regions": 3}, DomainError, "more than 3 activation regions"),
        ],
    )
    def test_arguments(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            plot_slice(cross(), SQUARE, ax=new_axes(), **arguments)

    def test_domains(self) -> None:
        with pytest.raises(ValueError, match="Slice with two directions"):
            plot_slice(cross(), WholeSpace(2), ax=new_axes())
        cube = LayerChain.from_arrays([(np.eye(3), np.zeros(3)), (np.ones((1, 3)), [0.0])])
        report: RegionReport = enumerate_regions(cube, (-1, 1))
        with pytest.raises(DomainError, match="Slice with two directions"):
            report.plot(new_axes())
