"""Networks whose number of activation regions is known without counting.

An arrangement of hyperplanes ``a_i . x + b_i = 0`` is a chain with one hidden ReLU layer, one unit
per hyperplane, and a last layer that adds the units up: the cells of the arrangement are the
activation regions of the chain.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from byways.core.activations import PiecewiseLinear, relu
from byways.core.chain import LayerChain
from byways.core.seeding import as_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = [
    "arrangement",
    "arrangement_count",
    "central_arrangement",
    "central_count",
    "folding_network",
    "generic_arrangement",
    "generic_count",
    "random_network",
    "tent_chain",
]

Kind = Literal["braid", "type_b", "shi", "catalan", "linial", "resonance", "threshold"]

# Cells of the two families that have no closed form, from n = 1 on.
_RESONANCE_COUNTS = (2, 6, 32, 370, 11292, 1066044, 347326352)
_THRESHOLD_COUNTS = (4, 14, 104, 1882, 94572, 15028134)


def generic_arrangement(
    n: int, dim: int, rng: int | np.random.Generator | None = None
) -> LayerChain:
    """Draw ``n`` hyperplanes in general position.

    Normals are uniform on the sphere and distances from the origin standard normal, so with
    probability 1 any ``dim`` of them meet in one point and no ``dim + 1`` do.

    Args:
        n: Number of hyperplanes, at least 1.
        dim: Dimension of the space, at least 1.
        rng: Seed or generator; None draws fresh entropy.

    Returns:
        A chain of widths ``(dim, n, 1)``. It has ``generic_count(n, dim)`` regions in the whole
        space; a box may miss some of them.

    Example:
        >>> generic_arrangement(10, 2, rng=0).widths
        (2, 10, 1)
    """
    normals = _unit_rows(n, dim, generator := as_generator(rng))
    return _summed(normals, generator.standard_normal(n))


def generic_count(n: int, dim: int) -> int:
    r"""Count the cells of ``n`` hyperplanes in general position.

    They are :math:`\sum_{i \le d} \binom{n}{i}` in the whole space of dimension :math:`d`.

    Args:
        n: Number of hyperplanes, at least 1.
        dim: Dimension of the space, at least 1.

    Returns:
        The number of cells.

    References:
        Zaslavsky, Facing up to Arrangements, 1975; the formula is due to Schläfli.

    Example:
        >>> generic_count(10, 2), generic_count(12, 3), generic_count(20, 4)
        (56, 299, 6196)
    """
    n, dim = _at_least(1, n, "n"), _at_least(1, dim, "dim")
    return sum(math.comb(n, i) for i in range(dim + 1))


def central_arrangement(
    n: int, dim: int, rng: int | np.random.Generator | None = None
) -> LayerChain:
    """Draw ``n`` hyperplanes through the origin, otherwise in general position.

    Args:
        n: Number of hyperplanes, at least 1.
        dim: Dimension of the space, at least 1. In dimension 1 all of them are the same point.
        rng: Seed or generator; None draws fresh entropy.

    Returns:
        A chain of widths ``(dim, n, 1)``. It has ``central_count(n, dim)`` regions in the whole
        space, and as many in any box around the origin.

    Example:
        >>> central_arrangement(10, 3, rng=0)(np.zeros(3))
        array([0.])
    """
    normals = _unit_rows(n, dim, as_generator(rng))
    return _summed(normals, np.zeros(n))


def central_count(n: int, dim: int) -> int:
    r"""Count the cells of ``n`` hyperplanes through the origin, otherwise in general position.

    They are :math:`2 \sum_{i < d} \binom{n - 1}{i}` in dimension :math:`d`.

    Args:
        n: Number of hyperplanes, at least 1.
        dim: Dimension of the space, at least 1.

    Returns:
        The number of cells.

    References:
        Cover, Geometrical and Statistical Properties of Systems of Linear Inequalities, 1965.

    Example:
        >>> central_count(10, 3), central_count(12, 4), central_count(14, 5)
        (92, 464, 2186)
    """
    n, dim = _at_least(1, n, "n"), _at_least(1, dim, "dim")
    return 2 * sum(math.comb(n - 1, i) for i in range(dim))


def arrangement(kind: Kind, n: int) -> LayerChain:
    r"""Build an arrangement that combinatorics has counted.

    ============= ============================================ ============
    kind          hyperplanes                                  inputs
    ============= ============================================ ============
    ``braid``     :math:`x_i = x_j`                            ``n``
    ``type_b``    :math:`x_i = 0`, :math:`x_i = \pm x_j`       ``n``
    ``shi``       :math:`x_i - x_j \in \{0, 1\}`               ``n``
    ``catalan``   :math:`x_i - x_j \in \{-1, 0, 1\}`           ``n``
    ``linial``    :math:`x_i - x_j = 1`                        ``n``
    ``resonance`` :math:`\sum_{i \in S} x_i = 0`, S not empty  ``n``
    ``threshold`` :math:`x_0 + \sum_{i \in S} x_i = 0`, any S  ``n + 1``
    ============= ============================================ ============

    Pairs are :math:`i < j`. All of them are degenerate: many hyperplanes share a point. Every cell
    meets the box of half-width ``n / 2`` around the origin (any box around it for the four families
    without constants).

    Args:
        kind: A name of the table.
        n: Size of the family: at least 1, and at least 2 for those made of differences only.

    Returns:
        A chain with one hidden unit per hyperplane. Its region count is
        ``arrangement_count(kind, n)``.

    Example:
        >>> arrangement("shi", 3).widths  # two hyperplanes per pair
        (3, 6, 1)
    """
    _known(kind, n)
    return _summed(*_HYPERPLANES[kind](n))


def arrangement_count(kind: Kind, n: int) -> int:
    r"""Count the cells of ``arrangement(kind, n)``.

    Braid :math:`n!`, type B :math:`2^n n!`, Shi :math:`(n + 1)^{n - 1}`, Catalan :math:`n!` times
    the Catalan number, Linial :math:`2^{-n} \sum_k \binom{n}{k} (k + 1)^{n - 1}`. For resonance and
    threshold arrangements no formula is known; their counts come from published tables.

    Args:
        kind: A name that ``arrangement`` takes.
        n: Size of the family; at most 7 for resonance and 6 for threshold.

    Returns:
        The number of cells.

    Raises:
        ValueError: If the count is not in the tables.

    References:
        Stanley, An Introduction to Hyperplane Arrangements, 2007. Postnikov and Stanley,
        Deformations of Coxeter Hyperplane Arrangements, 2000, for Linial. Kamiya, Takemura and
        Terao, Ranking Patterns of Unfolding Models of Codimension One, 2011, and OEIS A034997, for
        resonance; OEIS A000609 for threshold.

    Example:
        >>> [arrangement_count("linial", n) for n in (3, 4, 5)]
        [7, 36, 246]
    """
    _known(kind, n)
    if kind in _FORMULAS:
        return _FORMULAS[kind](n)
    table = _RESONANCE_COUNTS if kind == "resonance" else _THRESHOLD_COUNTS
    if n > len(table):
        raise ValueError(
            f'"n" was {n!r}; the cells of a {kind} arrangement are tabulated up to {len(table)}'
        )
    return table[n - 1]


def tent_chain(depth: int) -> LayerChain:
    """Compose the tent map with itself.

    A layer has the units ``relu(z)`` and ``relu(z - 1/2)``; ``2 h_0 - 4 h_1`` rises from 0 to 1 and
    falls back. On the unit interval the chain has exactly ``2 ** depth`` regions with slopes
    ``±2 ** depth``. Units reach zero on borders of regions without crossing it.

    Args:
        depth: Number of hidden layers, at least 1.

    Returns:
        A chain of widths ``(1, 2, .., 2, 1)``; its numbers are powers of two.

    Example:
        >>> tent_chain(2)([[0.125], [0.25], [0.5]])
        array([[0.5],
               [1. ],
               [0. ]])
    """
    depth = _at_least(1, depth, "depth")
    fold, bias = [2.0, -4.0], [0.0, -0.5]
    inner = [([fold, fold], bias)] * (depth - 1)
    return LayerChain.from_arrays([([[1.0], [1.0]], bias), *inner, ([fold], [0.0])])


def folding_network(p: int, layers: int, dim: int = 1) -> LayerChain:
    r"""Fold every coordinate of the unit cube ``p`` times per layer.

    Each coordinate has ``p`` units per layer and the zigzag
    :math:`g(x) = \mathrm{relu}(px) + \sum_{i=1}^{p-1} (-1)^i\, 2\, \mathrm{relu}(px - i)`, which
    maps each ``p``-th of [0, 1] onto all of it. On the unit cube the chain has exactly
    ``p ** (layers * dim)`` regions, and every deeper unit touches zero on borders that it does not
    cross.

    Args:
        p: Folds per layer, at least 2.
        layers: Number of hidden layers, at least 1.
        dim: Number of coordinates, at least 1.

    Returns:
        A chain of widths ``(dim, p * dim, .., p * dim, dim)``. Units are scaled so that all its
        numbers are integers, which float64 holds exactly for every ``p``.

    References:
        Montúfar, Pascanu, Cho and Bengio, On the Number of Linear Regions of Deep Neural Networks,
        2014; the scaling of units is ours.

    Example:
        >>> folding_network(2, layers=5).widths  # 32 regions on [0, 1]
        (1, 2, 2, 2, 2, 2, 1)
    """
    p, layers = _at_least(2, p, "p"), _at_least(1, layers, "layers")
    eye = np.eye(_at_least(1, dim, "dim"))
    spread = np.kron(eye, np.full((p, 1), float(p)))
    fold = np.kron(eye, [[1.0, *(2.0 * (-1) ** i for i in range(1, p))]])
    bias = np.tile(-np.arange(p, dtype=np.float64), dim)
    inner = [(spread @ fold, bias)] * (layers - 1)
    return LayerChain.from_arrays([(spread, bias), *inner, (fold, np.zeros(dim))])


def random_network(
    widths: Sequence[int],
    rng: int | np.random.Generator | None = None,
    activation: PiecewiseLinear = relu,
) -> LayerChain:
    """Draw a network with He-scaled weights.

    Weights of a layer with ``m`` inputs are normal with variance ``2 / m``, biases uniform between
    ``±1 / sqrt(m)``.

    Args:
        widths: Inputs, units of every hidden layer, outputs: at least two numbers, each at least 1.
        rng: Seed or generator; None draws fresh entropy.
        activation: Of every layer but the last, which is affine.

    Returns:
        The chain. Equal seeds give equal chains.

    Raises:
        ValueError: If ``widths`` has fewer than two numbers.

    Example:
        >>> random_network([2, 16, 16, 1], rng=0).units
        32
    """
    sizes = [_at_least(1, width, f"widths[{i}]") for i, width in enumerate(widths)]
    if len(sizes) < 2:
        raise ValueError(f'"widths" was {widths!r}; give inputs, hidden units and outputs')
    generator = as_generator(rng)
    pairs = []
    for before, after in itertools.pairwise(sizes):
        weight = generator.standard_normal((after, before)) * math.sqrt(2 / before)
        pairs.append((weight, generator.uniform(-1, 1, after) / math.sqrt(before)))
    return LayerChain.from_arrays(pairs, activation=activation)


def _summed(normals: Array, biases: Array) -> LayerChain:
    """One ReLU unit per hyperplane, then their sum."""
    return LayerChain.from_arrays([(normals, biases), (np.ones((1, len(biases))), [0.0])])


def _unit_rows(n: int, dim: int, generator: np.random.Generator) -> Array:
    shape = (_at_least(1, n, "n"), _at_least(1, dim, "dim"))
    rows = generator.standard_normal(shape)
    unit: Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _differences(n: int) -> Array:
    """Rows ``e_i - e_j`` for ``i < j``."""
    eye = np.eye(n)
    return np.array([eye[i] - eye[j] for i, j in itertools.combinations(range(n), 2)])


def _shifted(n: int, constants: Sequence[float]) -> tuple[Array, Array]:
    """All hyperplanes ``x_i - x_j = c``, ``i < j``."""
    rows = _differences(n)
    return np.tile(rows, (len(constants), 1)), np.repeat(-np.array(constants), len(rows))


def _type_b(n: int) -> tuple[Array, Array]:
    pairs = _differences(n).reshape(-1, n)
    rows = np.concatenate([np.eye(n), pairs, np.abs(pairs)])
    return rows, np.zeros(len(rows))


def _subsets(n: int) -> Array:
    """All 0/1 rows of length ``n``, the empty one first."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def _resonance(n: int) -> tuple[Array, Array]:
    rows = _subsets(n)[1:]
    return rows, np.zeros(len(rows))


def _threshold(n: int) -> tuple[Array, Array]:
    rows = np.insert(_subsets(n), 0, 1.0, axis=1)
    return rows, np.zeros(len(rows))


def _linial_count(n: int) -> int:
    total: int = sum(math.comb(n, k) * (k + 1) ** (n - 1) for k in range(n + 1))
    return total >> n


_HYPERPLANES: dict[str, Callable[[int], tuple[Array, Array]]] = {
    "braid": lambda n: _shifted(n, (0.0,)),
    "type_b": _type_b,
    "shi": lambda n: _shifted(n, (0.0, 1.0)),
    "catalan": lambda n: _shifted(n, (-1.0, 0.0, 1.0)),
    "linial": lambda n: _shifted(n, (1.0,)),
    "resonance": _resonance,
    "threshold": _threshold,
}
_FORMULAS: dict[str, Callable[[int], int]] = {
    "braid": math.factorial,
    "type_b": lambda n: math.factorial(n) << n,
    "shi": lambda n: int((n + 1) ** (n - 1)),
    "catalan": lambda n: math.factorial(n) * math.comb(2 * n, n) // (n + 1),
    "linial": _linial_count,
}


def _known(kind: str, n: int) -> None:
    """Refuse an unknown family or a size that it does not have."""
    if kind not in get_args(Kind):
        raise ValueError(f'"kind" was {kind!r}; it must be one of {", ".join(get_args(Kind))}')
    _at_least(2 if kind in ("braid", "shi", "catalan", "linial") else 1, n, "n")


def _at_least(least: int, value: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f'"{name}" was {value!r}; it must be an integer')
    if value < least:
        raise ValueError(f'"{name}" was {value!r}; it must be at least {least}')
    return int(value)
