"""Numbers of cells: closed forms from books, and exact counting by deletion and restriction."""

from __future__ import annotations

from fractions import Fraction
from math import comb, factorial
from typing import Any

# Counts that are printed in the literature, per family from n = 1 on (difference families from 2).
PUBLISHED = {
    ("braid", 2): 2,
    ("braid", 3): 6,
    ("braid", 4): 24,
    ("braid", 5): 120,
    ("type_b", 1): 2,
    ("type_b", 2): 8,
    ("type_b", 3): 48,
    ("type_b", 4): 384,
    ("shi", 2): 3,
    ("shi", 3): 16,
    ("shi", 4): 125,
    ("shi", 5): 1296,
    ("catalan", 2): 4,
    ("catalan", 3): 30,
    ("catalan", 4): 336,
    ("linial", 2): 2,
    ("linial", 3): 7,
    ("linial", 4): 36,
    ("linial", 5): 246,
    ("resonance", 1): 2,
    ("resonance", 2): 6,
    ("resonance", 3): 32,
    ("resonance", 4): 370,
    ("threshold", 1): 4,
    ("threshold", 2): 14,
    ("threshold", 3): 104,
    ("threshold", 4): 1882,
}
# Larger ones, for whoever counts faster than these oracles.
PUBLISHED_LARGE = {
    ("braid", 6): 720,
    ("braid", 7): 5040,
    ("braid", 8): 40320,
    ("type_b", 5): 3840,
    ("catalan", 5): 5040,
    ("resonance", 5): 11292,
    ("resonance", 6): 1066044,
    ("resonance", 7): 347326352,
    ("threshold", 5): 94572,
    ("threshold", 6): 15028134,
}
# (dimension, hyperplanes): cells of hyperplanes in general position.
GENERIC = {
    (2, 10): 56,
    (3, 12): 299,
    (3, 20): 1351,
    (4, 14): 1471,
    (4, 20): 6196,
    (5, 16): 6885,
    (6, 14): 6476,
    (6, 16): 14893,
    (8, 12): 3797,
    (8, 16): 39203,
}
CENTRAL = {(3, 10): 92, (4, 12): 464, (5, 14): 2186}


def generic_regions(n: int, dim: int) -> int:
    return sum(comb(n, i) for i in range(dim + 1))


def bounded_generic_regions(n: int, dim: int) -> int:
    return comb(n - 1, dim)


def central_regions(n: int, dim: int) -> int:
    return 2 * sum(comb(n - 1, i) for i in range(dim))


def generic_faces(n: int, dim: int, k: int) -> int:
    """Count the k-dimensional faces of n hyperplanes in general position."""
    return comb(n, dim - k) * sum(comb(n - dim + k, i) for i in range(k + 1))


def folded_regions(p: int, layers: int, dim: int) -> int:
    return int(p ** (layers * dim))


def braid_regions(n: int) -> int:
    return factorial(n)


def cells_by_deletion(normals: Any, biases: Any) -> int:
    """Count the cells of the hyperplanes ``a . x + b = 0`` in the whole space, exactly.

    Zaslavsky: cells(H) = cells(H without h) + cells(H cut with h). Equal hyperplanes count once,
    zero rows not at all. Every leaf of the recursion counts one cell.
    """
    rows = [
        [*(Fraction(float(v)) for v in row), Fraction(float(b))]
        for row, b in zip(normals, biases, strict=True)
    ]
    return _count(_distinct(rows))


def _count(rows: list[tuple[Fraction, ...]]) -> int:
    cells = 1
    for i, h in enumerate(rows):  # h is the last of the first i + 1
        cells += _count(_distinct([_cut(row, h) for row in rows[:i]]))
    return cells


def _cut(row: tuple[Fraction, ...], h: tuple[Fraction, ...]) -> list[Fraction]:
    """Write a hyperplane in the coordinates of ``h``, whose first non-zero one is solved for."""
    pivot = next(i for i, v in enumerate(h) if v)
    ratio = row[pivot] / h[pivot]
    return [v - ratio * w for i, (v, w) in enumerate(zip(row, h, strict=True)) if i != pivot]


def _distinct(rows: list[list[Fraction]]) -> list[tuple[Fraction, ...]]:
    """Scale the first non-zero coefficient to 1, drop rows without one and repeated rows."""
    kept: dict[tuple[Fraction, ...], None] = {}
    for row in rows:
        lead = next((v for v in row[:-1] if v), None)
        if lead is not None:
            kept[tuple(v / lead for v in row)] = None
    return list(kept)
