"""Layers whose units have different activations."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from byways.core import Box, Layer, LayerChain, PerUnit, identity, interval_bounds, leaky_relu, relu
from byways.core.activations import absolute, clamp
from byways.core.errors import ShapeError

Z = np.array([[-2.0, -1.0, 3.0, 0.5], [1.0, -1.0, -3.0, 0.0]])
MIXED = PerUnit((relu, identity, clamp(0, 1)), [0, 1, 2, 0])


def mixed_chain() -> LayerChain:
    """Carry the input past a layer and add it again: ``x + |x|`` and ``relu(x) - x``."""
    first = Layer(
        np.array([[1.0], [1.0], [1.0]]), [0.0] * 3, PerUnit((absolute, identity), [0, 1, 0])
    )
    return LayerChain((first, Layer(np.array([[1.0, 1.0, 0.0], [0.0, -1.0, 0.5]]), [0.0, 1.0])))


def test_each_unit_has_its_function():
    expected = [[0.0, -1.0, 1.0, 0.5], [1.0, -1.0, 0.0, 0.0]]
    np.testing.assert_array_equal(MIXED(Z), expected)
    np.testing.assert_array_equal(MIXED.segment(Z), [[0, 0, 2, 1], [1, 0, 0, 0]])


def test_linear_units_have_no_segments():
    chain = mixed_chain()
    assert chain.units == 2
    assert chain.layers[0].decided.tolist() == [0, 2]
    np.testing.assert_array_equal(chain.segments([[-1.0], [2.0]]), [[0, 0], [1, 1]])


def test_each_unit_has_its_decisions_and_pieces():
    layer = Layer(np.eye(4), [0.0] * 4, PerUnit((relu, identity, clamp(-0.1, 0.3)), [2, 1, 0, 2]))
    unit, cuts = layer.cuts
    assert unit.tolist() == [0, 0, 2, 3, 3]
    assert cuts.tolist() == [-0.1, 0.3, 0.0, -0.1, 0.3]
    slopes, levels = layer.pieces(exact=True)
    low, high = Fraction(-0.1), Fraction(0.3)
    assert slopes.tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 1], [0, 1, 0]]
    assert levels.tolist() == [[low, 0, high], [0, 0, 0], [0, 0, 0], [low, 0, high]]


def test_values_and_local_maps():
    chain = mixed_chain()
    x = np.array([[-3.0], [2.0]])
    np.testing.assert_array_equal(chain(x), [[0.0, 5.5], [4.0, 0.0]])
    local = chain.local_map(chain.segments(x))
    np.testing.assert_array_equal(local.weight[..., 0], [[0.0, -1.5], [2.0, -0.5]])
    np.testing.assert_array_equal(local(x), chain(x))


def test_segments_are_checked_unit_by_unit():
    layer = Layer(np.eye(2), [0.0, 0.0], PerUnit((clamp(0, 1), relu), [0, 1]))
    chain = LayerChain((layer,))
    chain.local_map([2, 1])
    with pytest.raises(ValueError, match="has segments 0 to 1"):
        chain.local_map([1, 2])


def test_boundary_is_that_of_the_units_own_function():
    chain = LayerChain((Layer(np.eye(2), [0.0, 0.0], PerUnit((clamp(0, 1), relu), [0, 1])),))
    found = chain.on_boundary([[1.0, 0.5], [0.5, 1.0], [0.5, 0.0]])
    np.testing.assert_array_equal(found, [True, False, True])


def test_saved_and_loaded(tmp_path):
    chain = mixed_chain()
    chain.save(tmp_path / "chain.npz")
    again = LayerChain.load(tmp_path / "chain.npz")
    assert again.digest() == chain.digest()
    np.testing.assert_array_equal(again([[0.7]]), chain([[0.7]]))


def test_the_digest_tells_who_has_which_function():
    one, other = (
        LayerChain((Layer(np.eye(2), [0.0, 0.0], PerUnit((relu, identity), kinds)),))
        for kinds in ([0, 1], [1, 0])
    )
    assert one.digest() != other.digest()


def test_plainest_form():
    assert PerUnit.of((relu, identity), np.array([1, 1])) is identity
    slopes = PerUnit.of((leaky_relu(0.1), leaky_relu(0.2), leaky_relu(0.1)), np.array([2, 1, 0]))
    assert isinstance(slopes, PerUnit)
    assert slopes.kinds.tolist() == [0, 1, 0]


def test_bounds_are_per_unit():
    layer = Layer(np.array([[1.0], [1.0]]), [0.0, 0.0], PerUnit((relu, identity), [0, 1]))
    chain = LayerChain((layer, Layer(np.eye(2), [0.0, 0.0])))
    low, high = interval_bounds(chain, Box([-2.0], [1.0]))[-1]
    np.testing.assert_allclose(low, [0.0, -2.0], atol=1e-12)
    np.testing.assert_allclose(high, [1.0, 1.0], atol=1e-12)


@pytest.mark.parametrize("kinds", [[[0]], [0.5], [2], [-1]])
def test_wrong_kinds(kinds):
    with pytest.raises(ShapeError, match='"kinds"'):
        PerUnit((relu, identity), kinds)


def test_wrong_number_of_units():
    with pytest.raises(ShapeError, match="is for 1 units; the map has 2"):
        Layer(np.eye(2), [0.0, 0.0], PerUnit((relu,), [0]))
