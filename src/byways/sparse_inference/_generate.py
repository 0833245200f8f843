"""Sparse networks with a known structure: RadiX-Net, random, and compact growth."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from byways.core.activations import PiecewiseLinear, clamp, identity, relu
from byways.core.seeding import as_generator
from byways.sparse_inference._graph import EdgeGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["challenge_bias", "compact_growth", "radix_net", "random_sparse"]

# Biases of the Graph Challenge by number of neurons.
_BIASES = {1024: -0.3, 4096: -0.35, 16384: -0.4, 65536: -0.45}
_COPIES = 16


def challenge_bias(neurons: int) -> float:
    """Give the bias that the Graph Challenge sets for so many neurons a layer."""
    return _BIASES.get(neurons, -0.3)


def radix_net(
    neurons: int = 1024,
    layers: int = 120,
    *,
    base: int | None = None,
    bias: float | None = None,
    rng: int | np.random.Generator | None = 0,
) -> EdgeGraph:
    """Build a RadiX-Net as the Sparse Deep Neural Network Graph Challenge does.

    With ``neurons = copies * base`` and ``base = 2^g``, layer ``k`` of a group of ``g`` layers
    joins ``i`` to ``j`` where ``j mod base`` is ``c`` or ``c - 2^k``, ``c = i mod base``: through
    the first group every input reaches every neuron along equally many paths. From the second group
    on ``c`` is permuted at random, one permutation a group. Weights are 1/16 for 32 edges a neuron
    (in general two divided by that number); each layer ends in ``min(max(z, 0), 32)``.

    Compared with the challenge's files for 1024 neurons: layers 1 to 30, without the sixth. Of the
    larger networks, base, steps and the length of a group are those that entrants describe; how
    their later groups are permuted is taken from the smallest.

    Args:
        neurons: Neurons a layer, inputs included.
        layers: Number of layers.
        base: Power of two that divides ``neurons``; ``neurons / 16`` if None.
        bias: Of every neuron; the challenge's for 1024, 4096, 16384 and 65536 neurons, else -0.3,
            if None.
        rng: Seed of the permutations. The challenge's own permutations are not published as a
            formula; its files are read by ``read_graph_challenge``.

    Raises:
        ValueError: If ``base`` is no power of two from 2 on that divides ``neurons``.

    References:
        Kepner et al., Sparse Deep Neural Network Graph Challenge, 2019; Robinett and Kepner,
        RadiX-Net, 2019.

    Example:
        >>> radix_net(1024, 6).edges
        196608
    """
    width = neurons // _COPIES if base is None else base
    if width < 2 or width & (width - 1) or neurons % width or layers < 1:
        raise ValueError(
            f'"neurons" was {neurons!r}, "layers" {layers!r} and "base" {base!r}; at least one '
            "layer is needed, and a base that is a power of two, from 2 on, and divides the neurons"
        )
    generator = as_generator(rng)
    copies, group, place = neurons // width, width.bit_length() - 1, np.arange(neurons)
    sources = np.repeat(np.arange(layers * neurons), 2 * copies)
    targets = np.empty((layers, neurons, 2 * copies), dtype=np.int64)
    permuted = place % width
    for layer in range(layers):
        k = layer % group
        if layer and k == 0:
            permuted = generator.permutation(neurons) % width
        ends = np.stack([permuted, (permuted - (1 << k)) % width], axis=1)
        reached = ends[:, :, None] + width * np.arange(copies)
        targets[layer] = reached.reshape(neurons, -1) + (layer + 1) * neurons
    constant = challenge_bias(neurons) if bias is None else bias
    total = (layers + 1) * neurons
    kind = np.ones(total, dtype=np.int64)
    kind[:neurons] = 0
    return EdgeGraph(
        sources,
        targets.ravel(),
        np.full(len(sources), 1.0 / copies),
        np.where(kind, constant, 0.0),
        kind,
        (identity, clamp(0.0, 32.0)),
        place,
        place + layers * neurons,
    )


def random_sparse(
    widths: Sequence[int],
    density: float,
    *,
    activation: PiecewiseLinear | str = relu,
    rng: int | np.random.Generator | None = 0,
) -> EdgeGraph:
    """Draw a layered network in which each edge is present with a given probability.

    Weights are normal with variance two over the expected number of edges into a neuron, biases
    normal with deviation 0.1; the last layer is affine.

    Args:
        widths: Inputs and units of each layer.
        density: Probability of an edge, above 0 and at most 1.
        activation: Of the layers but the last.
        rng: Seed or generator.

    Raises:
        ValueError: If there are fewer than two widths, one is not positive, or the density is out
            of range.

    Example:
        >>> random_sparse([1024, 1024, 1024], 0.05, rng=0).levels
        2
    """
    if len(widths) < 2 or min(widths) < 1 or not 0 < density <= 1:
        raise ValueError(
            f'"widths" was {widths!r} and "density" {density!r}; at least two positive widths and '
            "a density above 0, at most 1, are needed"
        )
    generator = as_generator(rng)
    weights, biases = [], []
    for before, after in pairwise(widths):
        present = generator.random((after, before)) < density
        scale = np.sqrt(2.0 / max(density * before, 1.0))
        weights.append(np.where(present, generator.normal(0.0, scale, (after, before)), 0.0))
        biases.append(generator.normal(0.0, 0.1, after))
    return EdgeGraph.from_layers(weights, biases, activation, last=identity)


def compact_growth(
    window: int,
    steps: int,
    degree: int,
    *,
    rng: int | np.random.Generator | None = 0,
) -> EdgeGraph:
    """Grow a network that runs in ``window + 1`` places without any extra I/O.

    ``window`` neurons are alive. Each step adds a neuron with edges from ``degree`` of them, after
    which it takes the place of one of these. Those alive at the end are the outputs.

    Args:
        window: Neurons alive at a time; also the number of inputs.
        steps: Neurons to add.
        degree: Edges into each, at most ``window``.
        rng: Seed or generator.

    Returns:
        The graph; edges into vertex ``window + t`` are those of step ``t``, so edges sorted by
        target are in the generating order.

    Raises:
        ValueError: If ``degree`` exceeds ``window`` or a number is not positive.

    References:
        Gleinig, Ben-Nun, Hoefler, 2023 (compact growth).

    Example:
        >>> compact_growth(8, 100, 3).edges
        300
    """
    if not 1 <= degree <= window or steps < 1:
        raise ValueError(
            f'"window" was {window!r}, "steps" {steps!r} and "degree" {degree!r}; at least one '
            'step and a degree from 1 to "window" are needed'
        )
    generator = as_generator(rng)
    alive = np.arange(window)
    sources = np.empty((steps, degree), dtype=np.int64)
    for t in range(steps):
        chosen = generator.choice(window, degree, replace=False)
        sources[t] = alive[chosen]
        alive[generator.choice(chosen)] = window + t
    vertices = window + steps
    return EdgeGraph(
        sources.ravel(),
        np.repeat(np.arange(window, vertices), degree),
        generator.normal(0.0, 1.0 / np.sqrt(degree), steps * degree),
        np.zeros(vertices),
        (np.arange(vertices) >= window).astype(np.int64),
        (identity, relu),
        np.arange(window),
        alive.copy(),
    )
