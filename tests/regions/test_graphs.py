"""Regions of residual, branching and pooling networks against samples, volumes and autograd."""

from __future__ import annotations

import numpy as np
import pytest

from byways.core import Box
from byways.networks import as_chain
from byways.regions import RegionReport, Slice, count_regions, enumerate_regions

torch = pytest.importorskip("torch")
graphs = pytest.importorskip("tests.networks.graphs")

PLANE = [name for name, (_, shape) in graphs.GRAPHS.items() if shape == (2,)]
IMAGES = ["convolutional block", "max-pooling", "max-pooling of a line", "slopes of a convolution"]


def check(report: RegionReport, module, shape, area: float) -> None:  # type: ignore[no-untyped-def]
    """Compare with 10^5 samples, the domain's area, and autograd at the witnesses.

    Where there are maxima, who loses to whom is not part of a region.
    """
    chain, domain = report.network, report.question.domain
    rng = np.random.default_rng(0)
    points = (
        domain.sample(rng, 100_000)
        if isinstance(domain, Box)
        else domain(domain.box.sample(rng, 100_000))
    )
    places = report.locate(points)
    assert (places >= 0).mean() > 0.9999  # but for points on a border, up to rounding
    found, seen = report.signs[places[places >= 0]], chain.segments(points[places >= 0])
    np.testing.assert_array_equal(chain.states(found), chain.states(seen))
    assert sum(report.volume(k) for k in range(len(report))) == pytest.approx(area)
    module = module.double()
    for k in range(0, len(report), max(1, len(report) // 20)):
        found = torch.autograd.functional.jacobian(
            lambda x: module(x.reshape(1, *shape)).flatten(), torch.tensor(report.witnesses[k])
        )
        np.testing.assert_allclose(report.affine(k).weight, found.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", PLANE)
def test_on_a_square(name: str, seed: int) -> None:
    module, shape = graphs.build(name, seed)
    report = enumerate_regions(as_chain(module, shape), (-1, 1))
    check(report, module, shape, 4.0)
    other = enumerate_regions(report.network, (-1, 1), method="simplex")
    np.testing.assert_array_equal(other.signs, report.signs)
    assert count_regions(report.network, (-1, 1), method="lp").total == len(report)


@pytest.mark.parametrize("name", IMAGES)
def test_on_a_slice_of_images(name: str) -> None:
    module, shape = graphs.build(name)
    chain = as_chain(module, shape)
    rng = np.random.default_rng(5)
    plane = Slice(
        rng.standard_normal(chain.input_size), rng.standard_normal((2, chain.input_size)), 1
    )
    report = enumerate_regions(chain, plane)
    assert len(report) > 5
    check(report, module, shape, 4.0)


def test_in_three_dimensions() -> None:
    module, shape = graphs.build("two residuals")
    report = enumerate_regions(as_chain(module, shape), (-1, 1))
    check(report, module, shape, 8.0)


def test_a_residual_in_closed_form() -> None:
    """With h = x + relu(x), the network relu(h - 1) bends at x = 0 and x = 1/2."""
    from torch import nn

    class Net(nn.Module):
        def forward(self, x):  # type: ignore[no-untyped-def]
            return torch.relu(x + torch.relu(x) - 1.0)

    report = enumerate_regions(as_chain(Net(), (1,)), (-1, 1))
    np.testing.assert_array_equal(report.signs, [[0, 0], [1, 0], [1, 1]])
    np.testing.assert_allclose([report.volume(k) for k in range(3)], [1.0, 0.5, 0.5])
    np.testing.assert_array_equal(report.affine(slice(None)).weight.ravel(), [0.0, 0.0, 2.0])


def largest_by_lp(weight, bias, windows):  # type: ignore[no-untyped-def]
    """List the winners of windows of affine functions that some open set of the square has."""
    import itertools

    from tests.oracles.patterns import margin

    found = set()
    for choice in itertools.product(*(range(len(window)) for window in windows)):
        rows = [
            (weight[window[c]] - weight[other], bias[window[c]] - bias[other])
            for window, c in zip(windows, choice, strict=True)
            for other in window
            if other != window[c]
        ]
        if margin(rows, (-np.ones(2), np.ones(2))) > 1e-9:
            found.add(choice)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_states_are_the_regions_of_a_maxout(seed: int) -> None:
    """Regions of equal winners, of which the tournament's are pieces, against brute force."""
    module, shape = graphs.build("maxout", seed)
    chain = as_chain(module, shape)
    report = enumerate_regions(chain, (-1, 1), maxima="matches")
    places = report.locate(np.random.default_rng(1).uniform(-1, 1, (10_000, 2)))
    assert (places >= 0).all()
    windows = np.arange(12).reshape(4, 3)
    weight, bias = (part.detach().double().numpy() for part in (module.a.weight, module.a.bias))
    expected = largest_by_lp(weight, bias, windows)
    states = {tuple(row) for row in chain.states(report.signs).tolist()}
    assert states == expected
    assert len(states) <= len(report)
    points = np.random.default_rng(seed).uniform(-1, 1, (1000, 2))
    with torch.no_grad():
        inner = module.double().a(torch.tensor(points)).reshape(-1, 4, 3).numpy()
    np.testing.assert_array_equal(chain.states(chain.segments(points)), inner.argmax(axis=2))


def test_states_of_a_pooling_survive_saving(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from byways.core import LayerChain

    module, shape = graphs.build("max-pooling of a line")
    chain = as_chain(module, shape)
    chain.save(tmp_path / "chain.npz")
    again = LayerChain.load(tmp_path / "chain.npz")
    assert again.windows == chain.windows
    x = np.random.default_rng(0).standard_normal((50, chain.input_size))
    with torch.no_grad():
        conv = module.double()[0](torch.tensor(x).reshape(-1, *shape)).numpy()
    # Windows of three with padding 1 and stride 2; the first and the last see two and one.
    places = [[0, 1], [1, 2, 3], [3, 4, 5]]
    expected = [conv[:, c][:, place].argmax(axis=1) for c in range(2) for place in places]
    np.testing.assert_array_equal(again.states(again.segments(x)), np.stack(expected, axis=1))
