"""Small networks for tests of the reports: random, degenerate, and what is true of them."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from byways.core.activations import PiecewiseLinear, absolute, clamp, hardtanh, leaky_relu, relu
from byways.core.chain import LayerChain
from byways.networks import random_network
from byways.regions import RegionReport

ACTIVATIONS: tuple[PiecewiseLinear, ...] = (
    relu,
    leaky_relu(0.25),  # a power of two: with 0.2 rounding itself makes slivers
    absolute,
    hardtanh(-0.5, 0.5),
    clamp(0.0, 0.75),
)


def whole_numbered(widths: tuple[int, ...], seed: int, activation: PiecewiseLinear) -> LayerChain:
    """Draw weights from {-1, -1/2, 0, 1/2, 1}: hyperplanes coincide, units die or stay zero."""
    rng = np.random.default_rng(seed)
    pairs = [
        (rng.integers(-2, 3, size=(n, m)) / 2, rng.integers(-1, 2, size=n) / 2)
        for m, n in itertools.pairwise(widths)
    ]
    return LayerChain.from_arrays(pairs, activation=activation)


@st.composite
def chains(
    draw: st.DrawFn, inputs: int | None = None, degenerate: bool = True, widest: int = 5
) -> LayerChain:
    """Draw a network of one to three hidden layers."""
    size = draw(st.integers(1, 3)) if inputs is None else inputs
    hidden = draw(st.lists(st.integers(1, widest), min_size=1, max_size=3))
    widths = (size, *hidden, draw(st.integers(1, 3)))
    seed = draw(st.integers(0, 10**6))
    activation = draw(st.sampled_from(ACTIVATIONS))
    if degenerate and draw(st.booleans()):
        return whole_numbered(widths, seed, activation)
    return random_network(widths, rng=seed, activation=activation)


def cell_rows(chain: LayerChain, signs: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Give the half-spaces ``a . x + c > 0`` of a sign vector, rows of length 1, layer by layer."""
    values, shift = np.eye(chain.input_size), np.zeros(chain.input_size)
    rows, used = [], 0
    for layer in chain.layers:
        weight = layer.map.to_dense()
        values, shift = weight @ values, weight @ shift + layer.bias
        cuts = layer.activation.breakpoints
        if not cuts:
            continue
        for unit in range(layer.width):
            s = int(signs[used + unit])
            length = np.linalg.norm(values[unit])
            bounds = [(1, cuts[s - 1])] if s > 0 else []
            bounds += [(-1, cuts[s])] if s < len(cuts) else []
            if length > 1e-12:
                rows += [
                    (sign * values[unit] / length, sign * (shift[unit] - t) / length)
                    for sign, t in bounds
                ]
            slope, intercept = layer.activation.piece(s)
            values[unit], shift[unit] = slope * values[unit], slope * shift[unit] + intercept
        used += layer.width
    return rows


def as_module(chain: LayerChain):  # type: ignore[no-untyped-def]  # torch may be missing
    """Give the network as a differentiable torch function of one input, in float64."""
    import torch

    def forward(x: torch.Tensor) -> torch.Tensor:
        for layer in chain.layers:
            z = torch.tensor(layer.map.to_dense().copy()) @ x + torch.tensor(layer.bias.copy())
            x = _piecewise(layer.activation, z)
        return x

    return forward


def _piecewise(activation: PiecewiseLinear, z):  # type: ignore[no-untyped-def]
    """Sum up kinks: slope of the first piece, and a ReLU per breakpoint."""
    kinks = zip(activation.breakpoints, np.diff(activation.slopes), strict=True)
    result = activation.slopes[0] * z + sum(float(d) * (z - t).relu() for t, d in kinks)
    at_zero = sum(float(d) * max(0.0, -t) for t, d in _kinks(activation))
    return result + activation.offset - at_zero


def _kinks(activation: PiecewiseLinear) -> list[tuple[float, float]]:
    return list(zip(activation.breakpoints, np.diff(activation.slopes), strict=True))


def saved(report: RegionReport, path: Path) -> bytes:
    """Give the bytes of the saved report, the time apart."""
    dataclasses.replace(report, seconds=0.0).save(path)
    return path.read_bytes()
