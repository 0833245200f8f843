"""Residual, branching and pooling networks, from torch and from ONNX."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from byways.networks import as_chain
from tests.networks.graphs import GRAPHS, Graph, build, linear
from tests.networks.test_torch_export import export


def values(module: nn.Module, points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    with torch.no_grad():
        given = torch.tensor(points).reshape(-1, *shape)
        return module.double()(given).reshape(len(points), -1).numpy()


@pytest.mark.parametrize("name", GRAPHS)
def test_values_are_those_of_the_module(name: str) -> None:
    module, shape = build(name)
    chain = as_chain(module, shape)
    points = np.random.default_rng(1).standard_normal((256, chain.input_size)) * 2
    np.testing.assert_allclose(chain(points), values(module, points, shape), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", GRAPHS)
def test_local_map_is_the_jacobian(name: str) -> None:
    module, shape = build(name, seed=1)
    chain, module = as_chain(module, shape), module.double()
    for point in np.random.default_rng(2).standard_normal((5, chain.input_size)):
        local = chain.local_map(chain.segments(point))
        found = torch.autograd.functional.jacobian(
            lambda x: module(x.reshape(1, *shape)).flatten(), torch.tensor(point)
        )
        np.testing.assert_allclose(local.weight, found.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(local(point), chain(point), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", GRAPHS)
def test_exported_network_has_the_same_values(name: str) -> None:
    module, shape = build(name)
    chain = as_chain(module, shape)
    other = as_chain(export(module, shape, dynamo=False, free=False))
    points = np.random.default_rng(3).standard_normal((64, chain.input_size))
    # The exporter folds normalisations in single precision.
    np.testing.assert_allclose(other(points), chain(points), rtol=1e-4, atol=1e-5)
    assert other.units <= chain.units  # the exporter merges equal steps


def test_a_value_that_is_carried_has_no_segment() -> None:
    chain = as_chain(Graph(lambda m, x: m.b(torch.relu(m.a(x))) + x, **linear(3, 5, 5, 3)))
    assert chain.units == 5
    assert chain.widths == (3, 8, 3)
    assert chain.layers[0].decided.tolist() == [0, 1, 2, 3, 4]


def test_a_smaller_value_is_carried_instead_of_what_it_is_made_of() -> None:
    chain = as_chain(Graph(lambda m, x: m.b(x) + torch.relu(m.a(x)), **linear(9, 2, 9, 2)))
    assert chain.widths == (9, 4, 2)


def test_a_chain_stays_as_it_was() -> None:
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    chain = as_chain(Graph(lambda m, x: m.b(torch.relu(m.a(x))), a=plain[0], b=plain[2]))
    assert chain.digest() == as_chain(plain).digest()


def test_rounds_of_a_maximum() -> None:
    chain = as_chain(nn.MaxPool1d(5), (1, 5))
    assert chain.units == 4  # one decision fewer than entries
    assert len(chain.hidden) == 3  # rounds of a tournament among five
    x = np.random.default_rng(4).standard_normal((100, 5))
    np.testing.assert_allclose(chain(x)[:, 0], x.max(axis=1), atol=1e-15)


def test_of_equal_entries_the_first_wins() -> None:
    chain = as_chain(nn.MaxPool1d(3), (1, 3))
    np.testing.assert_array_equal(
        chain.local_map(chain.segments([1.0, 1.0, 1.0])).weight, [[1, 0, 0]]
    )
