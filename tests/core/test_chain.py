from __future__ import annotations

import copy
import itertools
import pickle
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from byways.core import (
    ConvMap,
    DenseMap,
    Layer,
    LayerChain,
    PiecewiseLinear,
    SparseMap,
    absolute,
    clamp,
    hardtanh,
    identity,
    leaky_relu,
    relu,
)
from byways.core.errors import DomainError, ShapeError
from tests.oracles.plain import exact, forward, pattern, plain_layers, pre_activations

ACTIVATIONS = {
    "relu": (relu, nn.ReLU),
    "leaky": (leaky_relu(0.1), lambda: nn.LeakyReLU(0.1)),
    "hardtanh": (hardtanh(), nn.Hardtanh),
    "relu6": (clamp(0, 6), nn.ReLU6),
}
EVERY_ACTIVATION = pytest.mark.parametrize(
    ("activation", "module"), ACTIVATIONS.values(), ids=ACTIVATIONS.keys()
)


def twins(widths: tuple[int, ...], activation: PiecewiseLinear, module: Any) -> tuple[Any, Any]:
    """Give a torch network and the chain of its numbers."""
    generator = torch.Generator().manual_seed(0)
    layers: list[nn.Module] = []
    for n, m in itertools.pairwise(widths):
        linear = nn.Linear(n, m).double()
        with torch.no_grad():
            linear.weight.normal_(generator=generator)
            linear.bias.normal_(generator=generator)
        layers += [linear, module()]
    pairs = [
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in layers
        if isinstance(layer, nn.Linear)
    ]
    return nn.Sequential(*layers[:-1]), LayerChain.from_arrays(pairs, activation=activation)


def small(seed: int = 0, activation: PiecewiseLinear = relu) -> LayerChain:
    rng = np.random.default_rng(seed)
    pairs = [(rng.standard_normal((m, n)), rng.standard_normal(m)) for n, m in ((2, 4), (4, 3))]
    return LayerChain.from_arrays([*pairs, (np.ones((1, 3)), [0.5])], activation=activation)


def mixed() -> LayerChain:
    """All kinds of maps, a hidden last layer, a linear layer in the middle."""
    rng = np.random.default_rng(3)
    conv = ConvMap(rng.standard_normal((2, 1, 2)), (1, 4))
    sparse = SparseMap([[0.0, 2.0, 0.0, -1.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    return LayerChain(
        (
            Layer(conv, rng.standard_normal(6), hardtanh()),
            Layer(sparse, [0.25, -0.5]),
            Layer(DenseMap([[1.0, -1.0]]), [0.125], absolute),
        )
    )


@EVERY_ACTIVATION
def test_values_are_those_of_torch(activation: PiecewiseLinear, module: Any) -> None:
    net, chain = twins((3, 7, 5, 2), activation, module)
    x = np.random.default_rng(0).standard_normal((4, 5, 3))
    expected = net(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(chain(x), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(chain.pre_activations(x)[-1], expected, rtol=1e-12, atol=1e-12)


@EVERY_ACTIVATION
def test_local_map_is_the_jacobian_of_torch(activation: PiecewiseLinear, module: Any) -> None:
    net, chain = twins((3, 7, 5, 2), activation, module)
    points = np.random.default_rng(1).standard_normal((20, 3)) * 2
    maps = chain.local_map(chain.segments(points))
    assert maps.weight.shape == (20, 2, 3)
    for x, weight, value in zip(points, maps.weight, maps(points), strict=True):
        jacobian = torch.func.jacrev(net)(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(weight, jacobian, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(value, chain(x), rtol=1e-11, atol=1e-11)


def test_local_map_stops_after_the_given_layer() -> None:
    chain = small()
    x = np.array([0.3, -0.4])
    segments = chain.segments(x)
    by_hand = x
    for i, layer in enumerate(chain.layers):
        by_hand = layer.map.to_dense() @ by_hand + layer.bias
        by_hand = np.maximum(by_hand, 0) if i < 2 else by_hand
        for index in (i, i - 3):
            stopped = chain.local_map(segments, layer=index)
            assert stopped.weight.shape == (chain.widths[i + 1], 2)
            np.testing.assert_allclose(stopped(x), by_hand, atol=1e-13)
    for index in (3, -4):
        with pytest.raises(IndexError):
            chain.local_map(segments, layer=index)


@given(st.lists(st.integers(-64, 64), min_size=4, max_size=4))
def test_a_chain_of_all_kinds_holds_in_exact_rationals(numerators: list[int]) -> None:
    chain, layers = mixed(), plain_layers(mixed())
    x = [n / 16 for n in numerators]
    assert chain(x).tolist() == pytest.approx(
        [float(v) for v in forward(layers, exact(x))], abs=1e-12
    )
    near = min(
        abs(z - Fraction(t))
        for layer, values in zip(layers, pre_activations(layers, exact(x)), strict=True)
        for t in layer.activation.breakpoints
        for z in values
    )
    if near > 1e-9:
        assert tuple(chain.segments(x).tolist()) == pattern(layers, exact(x))


def test_sizes_count_what_they_say() -> None:
    chain = mixed()
    assert chain.widths == (4, 6, 2, 1)
    assert (chain.input_size, chain.output_size) == (4, 1)
    assert chain.hidden == (0, 2)
    assert chain.units == 7
    assert small().units == 7
    assert small().hidden == (0, 1)
    assert LayerChain.from_arrays([([[2.0]], [1.0])]).units == 0


def test_a_unit_at_exactly_zero_is_off() -> None:
    chain = LayerChain.from_arrays([([[1.0], [-1.0], [0.0]], [0.0] * 3), ([[1.0] * 3], [0.0])])
    assert chain.segments([0.0]).tolist() == [0, 0, 0]
    assert chain.segments([-0.0]).tolist() == [0, 0, 0]
    assert chain.segments([5e-324]).tolist() == [1, 0, 0]
    assert chain.on_boundary([[0.0], [1e-10], [1.0]]).tolist() == [True, True, True]
    assert small().on_boundary([0.3, -0.4]).tolist() is False


def test_on_boundary_sees_every_breakpoint() -> None:
    chain = LayerChain.from_arrays([([[1.0]], [0.0])], last=hardtanh())
    x = [[-1.0], [0.0], [1.0], [1.0 + 1e-6]]
    assert chain.on_boundary(x).tolist() == [True, False, True, False]
    assert chain.on_boundary(x, tolerance=1e-5).tolist() == [True, False, True, True]


@pytest.mark.parametrize("batch", [(0,), (3, 0), (1,), (2, 3)], ids=str)
def test_batches_keep_their_shape(batch: tuple[int, ...]) -> None:
    for chain in (small(), mixed()):
        x = np.ones((*batch, chain.input_size))
        assert chain(x).shape == (*batch, 1)
        assert chain.segments(x).shape == (*batch, chain.units)
        assert chain.segments(x).dtype == np.int8
        assert chain.on_boundary(x).shape == batch
        assert chain.local_map(chain.segments(x)).weight.shape == (*batch, 1, chain.input_size)


def test_a_layer_without_units_is_a_constant() -> None:
    for kind in (DenseMap, SparseMap):
        chain = LayerChain(
            (
                Layer(kind(np.zeros((0, 2))), np.zeros(0), relu),
                Layer(kind(np.zeros((1, 0))), [3.0]),
            )
        )
        assert chain([[1.0, 2.0], [0.0, 0.0]]).tolist() == [[3.0], [3.0]]
        assert chain.segments([1.0, 2.0]).shape == (0,)
        assert chain.local_map([])(np.array([1.0, 2.0])).tolist() == [3.0]


# Digest -----------------------------------------------------------------------------------------


def test_equal_numbers_have_equal_digests() -> None:
    chain = LayerChain.from_arrays([([[1.0], [-1.0]], [0.0, 0.5]), ([[1.0, 2.0]], [0.25])])
    again = LayerChain.from_arrays([([[1], [-1]], [0, 0.5]), ([[1, 2]], [0.25])])
    assert re.fullmatch("[0-9a-f]{64}", chain.digest())
    assert chain.digest() == again.digest()
    assert pickle.loads(pickle.dumps(chain)).digest() == chain.digest()
    assert copy.deepcopy(chain).digest() == chain.digest()


def test_digest_is_still_the_one_recorded_here() -> None:
    # Recorded from our own code: it guards run directories on disk, it proves nothing else.
    chain = LayerChain.from_arrays([([[1.0], [-1.0]], [0.0, 0.5]), ([[1.0, 2.0]], [0.25])])
    assert chain.digest() == ("7490fdcafe4df4a0c5dde831d05c70a581ac1a9b8605c9eb3c17ce126899b608")


def test_digest_does_not_see_memory_layout_or_how_an_activation_was_written() -> None:
    W = np.arange(6.0).reshape(2, 3)
    plain = LayerChain.from_arrays([(W, [0, 0]), (np.eye(2), [0, 0])])
    fortran = LayerChain.from_arrays([(np.asfortranarray(W), [0, 0]), (np.eye(2), [0, 0])])
    swapped = LayerChain.from_arrays([(W.astype(">f8"), [0, 0]), (np.eye(2), [0, 0])])
    integers = PiecewiseLinear((0,), (0, 1), 0, "relu")
    written = LayerChain.from_arrays([(W, [0, 0]), (np.eye(2), [0, 0])], activation=integers)
    assert {c.digest() for c in (fortran, swapped, written)} == {plain.digest()}


def test_digest_sees_every_change() -> None:
    base = [([[1.0, 2.0], [3.0, 4.0]], [0.0, 1.0]), ([[1.0, 1.0]], [0.0])]
    chains = [
        LayerChain.from_arrays(base),
        LayerChain.from_arrays(base, activation=absolute),
        LayerChain.from_arrays(base, activation=leaky_relu(0.1)),
        LayerChain.from_arrays(base, last=relu),
        LayerChain.from_arrays([*base, ([[1.0]], [0.0])]),
        LayerChain.from_arrays(base[:1]),
        LayerChain.from_arrays([([[1.0, 2.0], [3.0, np.nextafter(4, 5)]], [0.0, 1.0]), base[1]]),
        LayerChain.from_arrays([([[1.0, 2.0], [3.0, 4.0]], [1.0, 0.0]), base[1]]),
        LayerChain.from_arrays([([[2.0, 1.0], [4.0, 3.0]], [0.0, 1.0]), base[1]]),
        LayerChain.from_arrays([([[1.0, 3.0], [2.0, 4.0]], [0.0, 1.0]), base[1]]),
        LayerChain((Layer(SparseMap(base[0][0]), base[0][1], relu), Layer(*base[1]))),
    ]
    assert len({chain.digest() for chain in chains}) == len(chains)


def test_digest_of_a_sparse_map_does_not_depend_on_the_order_of_its_entries() -> None:
    from scipy.sparse import coo_array

    rows, columns, data = [0, 1, 1], [1, 0, 2], [1.0, 2.0, 3.0]
    one = SparseMap(coo_array((data, (rows, columns)), shape=(2, 3)))
    two = SparseMap(coo_array((data[::-1], (rows[::-1], columns[::-1])), shape=(2, 3)))
    digests = {LayerChain((Layer(linear, [0.0, 0.0]),)).digest() for linear in (one, two)}
    assert len(digests) == 1


# Bad inputs -------------------------------------------------------------------------------------


def test_layers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match='"layers" is empty'):
        LayerChain(())
    with pytest.raises(ValueError, match='"layers" is empty'):
        LayerChain.from_arrays([])
    with pytest.raises(ShapeError, match="layer 1 takes 3 inputs but layer 0 has 2 units"):
        LayerChain.from_arrays([(np.ones((2, 2)), [0, 0]), (np.ones((1, 3)), [0])])
    with pytest.raises(ShapeError, match=r"layer 0 of the list: .*3 numbers for a map with 2"):
        LayerChain.from_arrays([(np.ones((2, 2)), [0, 0, 0])])
    with pytest.raises(ValueError, match="layer 1 of the list"):
        LayerChain.from_arrays([([[1.0]], [0.0]), ([[1.0]],)])  # type: ignore[list-item]


def test_weights_that_are_not_finite_real_numbers_are_refused() -> None:
    with pytest.raises(DomainError, match=r"layer 1 of the list: .*1 values that are NaN"):
        LayerChain.from_arrays([([[1.0]], [0.0]), ([[np.nan]], [0.0])])
    with pytest.raises(DomainError, match='layer 0 of the list: "bias" has 1 values'):
        LayerChain.from_arrays([([[1.0]], [np.inf])])
    with pytest.raises(TypeError, match=r"layer 0 of the list: .*complex128"):
        LayerChain.from_arrays([([[1j]], [0.0])])


@pytest.mark.parametrize("method", ["__call__", "segments", "pre_activations", "on_boundary"])
def test_inputs_that_do_not_fit_are_refused(method: str) -> None:
    call = getattr(small(), method)
    with pytest.raises(ShapeError, match=re.escape('"x" has shape (3,); its last axis must have')):
        call([1.0, 2.0, 3.0])
    with pytest.raises(ShapeError):
        call(1.0)
    with pytest.raises(DomainError, match='"x" has 1 values that are NaN or infinite'):
        call([1.0, np.nan])
    with pytest.raises(DomainError, match='"x" has 2 values that are NaN or infinite'):
        call([-np.inf, np.inf])
    with pytest.raises(TypeError, match="real numbers are needed"):
        call(np.array([1j, 0]))


@pytest.mark.parametrize("segments", [[0] * 6 + [2], [0] * 6 + [-1], [0] * 6 + [0.5]], ids=str)
def test_segments_that_do_not_exist_are_refused(segments: list[float]) -> None:
    with pytest.raises((IndexError, ValueError, TypeError)):
        small().local_map(segments)


def test_segment_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(ShapeError, match="its last axis must have 7 entries"):
        small().local_map([0, 1])


def test_a_chain_cannot_be_changed() -> None:
    chain = small()
    with pytest.raises(AttributeError):
        chain.layers = ()  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        chain.layers[0].bias[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        chain.layers[0].map.to_dense()[0, 0] = 1


def test_a_matrix_in_a_layer_is_wrapped() -> None:
    layer = Layer(np.ones((2, 3)), [0.0, 0.0])  # type: ignore[arg-type]
    assert isinstance(layer.map, DenseMap)
    assert layer.width == 2
    assert layer.activation is identity
