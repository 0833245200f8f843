"""Every kind of map against its dense twin, and convolutions against torch."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array, csr_array
from torch.nn import functional

from byways.core import ConvMap, DenseMap, LinearMap, SparseMap
from byways.core.errors import DomainError, ShapeError
from byways.core.maps import map_from_state

Numbers = np.ndarray[Any, np.dtype[np.float64]]


def conv_matrix(weight: Numbers, input_shape: Sequence[int], **options: Any) -> Numbers:
    """Push the identity through torch's convolution."""
    size = int(np.prod(input_shape))
    images = torch.eye(size, dtype=torch.float64).reshape(size, *input_shape)
    conv = functional.conv1d if weight.ndim == 3 else functional.conv2d
    result: Numbers = conv(images, torch.from_numpy(weight), **options).reshape(size, -1).T.numpy()
    return result


def normal(*shape: int) -> Numbers:
    return np.random.default_rng(len(shape)).standard_normal(shape)


def holes(*shape: int) -> Numbers:
    matrix = normal(*shape)
    matrix[np.abs(matrix) < 0.7] = 0
    return matrix


def conv_pair(
    weight: Numbers, input_shape: tuple[int, ...], **options: Any
) -> tuple[LinearMap, Numbers]:
    return ConvMap(weight, input_shape, **options), conv_matrix(weight, input_shape, **options)


BUILDERS: dict[str, Callable[[], tuple[LinearMap, Numbers]]] = {
    "dense": lambda: (DenseMap(normal(4, 3)), normal(4, 3)),
    "dense, one row": lambda: (DenseMap([[1.0, -2.0]]), np.array([[1.0, -2.0]])),
    "sparse from dense": lambda: (SparseMap(holes(5, 7)), holes(5, 7)),
    "sparse from coo": lambda: (SparseMap(coo_array(holes(5, 7))), holes(5, 7)),
    "sparse, all zero": lambda: (SparseMap(np.zeros((2, 3))), np.zeros((2, 3))),
    "sparse, duplicates": lambda: (
        SparseMap(coo_array(([1.0, 2.0, -3.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))),
        np.array([[0.0, 3.0], [-3.0, 0.0]]),
    ),
    "conv1d": lambda: conv_pair(normal(3, 2, 3), (2, 7), stride=2, padding=1),
    "conv1d, dilated": lambda: conv_pair(normal(2, 1, 3), (1, 9), dilation=3, padding=2),
    "conv2d": lambda: conv_pair(normal(3, 2, 3, 2), (2, 5, 4)),
    "conv2d, all options": lambda: conv_pair(
        normal(4, 2, 3, 2), (4, 6, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2
    ),
    "conv2d, depthwise": lambda: conv_pair(normal(6, 1, 2, 2), (3, 4, 4), groups=3, padding=1),
}
EVERY_MAP = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS.keys())


@EVERY_MAP
def test_matrices_equal_the_dense_twin(build: Callable[[], tuple[LinearMap, Numbers]]) -> None:
    linear, twin = build()
    assert isinstance(linear, LinearMap)
    assert linear.shape == twin.shape
    np.testing.assert_array_equal(linear.to_dense(), twin)
    sparse = linear.to_sparse()
    assert isinstance(sparse, csr_array)
    np.testing.assert_array_equal(sparse.toarray(), twin)
    assert sparse.nnz == np.count_nonzero(twin)
    np.testing.assert_array_equal(linear.absolute().to_dense(), np.abs(twin))


@EVERY_MAP
@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3), (0,), (3, 0)], ids=str)
def test_products_equal_the_dense_twin(
    build: Callable[[], tuple[LinearMap, Numbers]], batch: tuple[int, ...]
) -> None:
    linear, twin = build()
    m, n = twin.shape
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((*batch, n)), rng.standard_normal((*batch, m))
    forward, backward = linear.apply(x), linear.apply_transpose(y)
    assert forward.dtype == backward.dtype == np.float64
    assert forward.shape == (*batch, m)
    assert backward.shape == (*batch, n)
    np.testing.assert_allclose(forward, np.einsum("mn,...n->...m", twin, x), atol=1e-13)
    np.testing.assert_allclose(backward, np.einsum("mn,...m->...n", twin, y), atol=1e-13)


@EVERY_MAP
def test_lists_and_other_dtypes_are_inputs_too(
    build: Callable[[], tuple[LinearMap, Numbers]],
) -> None:
    linear, twin = build()
    x = [1] * twin.shape[1]
    np.testing.assert_allclose(linear.apply(x), twin.sum(axis=1), atol=1e-13)
    np.testing.assert_allclose(linear.apply(np.float32(x)), twin.sum(axis=1), atol=1e-13)


@EVERY_MAP
def test_pickle_and_state_give_the_same_map(
    build: Callable[[], tuple[LinearMap, Numbers]],
) -> None:
    linear, twin = build()
    for copy in (pickle.loads(pickle.dumps(linear)), map_from_state(*linear.state())):
        assert type(copy) is type(linear)
        np.testing.assert_array_equal(copy.to_dense(), twin)
        assert copy.state()[0] == linear.state()[0]


@EVERY_MAP
def test_state_is_read_only(build: Callable[[], tuple[LinearMap, Numbers]]) -> None:
    linear, twin = build()
    for array in linear.state()[1].values():
        if array.ndim and array.size and array.dtype == np.float64:
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 7.0
    np.testing.assert_array_equal(linear.to_dense(), twin)


def test_maps_keep_a_copy_of_what_they_are_given() -> None:
    given = np.ones((2, 2))
    sparse_given = csr_array(given)
    kernel = np.ones((1, 1, 2))
    dense, sparse, conv = DenseMap(given), SparseMap(sparse_given), ConvMap(kernel, (1, 3))
    given[:] = sparse_given.data[:] = kernel[:] = 5
    assert dense.apply([1, 1]).tolist() == [2, 2]
    assert sparse.apply([1, 1]).tolist() == [2, 2]
    assert conv.apply([1, 1, 1]).tolist() == [2, 2]
    copy = sparse.to_sparse()
    copy.data[:] = 9
    assert sparse.apply([1, 1]).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("stride", "padding", "dilation"),
    list(itertools.product((1, 2, 3), (0, 1, 2), (1, 2))),
)
def test_conv2d_equals_the_identity_pushed_through_torch(
    stride: int, padding: int, dilation: int
) -> None:
    weight = normal(2, 3, 2, 3)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    ours = ConvMap(weight, (3, 6, 7), **options)
    np.testing.assert_array_equal(ours.to_dense(), conv_matrix(weight, (3, 6, 7), **options))


def test_conv_output_shape_is_that_of_torch() -> None:
    weight = normal(4, 2, 3, 3)
    theirs = functional.conv2d(
        torch.zeros(1, 2, 9, 8), torch.zeros(4, 2, 3, 3), stride=2, padding=1
    )
    assert ConvMap(weight, (2, 9, 8), stride=2, padding=1).output_shape == theirs.shape[1:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((normal(2, 2), (2, 3)), '"weight" has shape (2, 2)'),
        ((normal(1, 1, 2), (1, 4, 4)), '"input_shape" is (1, 4, 4)'),
        ((normal(1, 2, 2), (3, 4)), "does not fit 3 input channels"),
        ((normal(1, 1, 5), (1, 4)), "larger than the input (1, 4)"),
        ((normal(1, 1, 2), (1, 4), 0), '"stride" was 0'),
        ((normal(1, 1, 2), (1, 4), 1, -1), '"padding" was -1'),
        ((normal(1, 1, 2), (1, 4), 1, 0, 0), '"dilation" was 0'),
        ((normal(1, 1, 2), (1, 4), (1, 1)), '"stride" was (1, 1)'),
        ((normal(3, 1, 2), (2, 4), 1, 0, 1, 2), "groups=2 does not fit 2 input channels"),
    ],
)
def test_convolutions_that_do_not_fit_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        ConvMap(*arguments)
    assert message in str(caught.value)


def test_conv_sizes_may_be_numpy_integers_but_not_fractions() -> None:
    assert ConvMap(normal(1, 1, 2), (1, 4), stride=np.int64(2)).shape == (2, 4)
    with pytest.raises(TypeError):
        ConvMap(normal(1, 1, 2), (1, 4), stride=(1.5,))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [DenseMap, SparseMap])
def test_matrices_that_are_not_finite_are_refused(kind: type) -> None:
    with pytest.raises(DomainError, match="1 values that are NaN or infinite"):
        kind([[1.0, np.nan]])
    with pytest.raises(TypeError, match="complex128; real numbers are needed"):
        kind(np.array([[1.0, 1j]]))


def test_state_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind of linear map 'fourier'"):
        map_from_state("fourier", {})
