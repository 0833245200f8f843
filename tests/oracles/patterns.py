"""Segment vectors of a network: one linear program per candidate, or random points."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linprog

from tests.oracles.plain import RELU, PlainActivation, PlainLayer, affine_piece, plain_layer

TOLERANCE = 1e-9

Row = tuple[np.ndarray, float]  # (a, c) means a . x + c > 0


def sign_patterns_by_lp(
    weights: list[Any], biases: list[Any], box: Any, activation: PlainActivation = RELU
) -> set[tuple[int, ...]]:
    """List the full-dimensional regions of hidden layers (leave the affine last layer out).

    ``box`` is a pair (lower, upper), or None for the whole space.
    """
    layers = [plain_layer(w, b, activation) for w, b in zip(weights, biases, strict=True)]
    return patterns_by_lp(layers, box)


def patterns_by_lp(layers: list[PlainLayer], box: Any) -> set[tuple[int, ...]]:
    size = len(layers[0].weight[0])
    found: set[tuple[int, ...]] = set()
    _descend(layers, box, np.eye(size), np.zeros(size), (), [], found)
    return found


def margin(rows: list[Row], box: Any) -> float:
    """Give the largest t <= 1 such that some x has every row at least t times its length."""
    if not rows:
        return 1.0
    A = np.array([row[0] for row in rows])
    lengths = np.linalg.norm(A, axis=1)
    size = A.shape[1]
    sides = [(None, None)] * size if box is None else list(zip(*box, strict=True))
    answer = linprog(
        np.r_[np.zeros(size), -1.0],
        A_ub=np.hstack([-A, lengths[:, None]]),
        b_ub=np.array([row[1] for row in rows]),
        bounds=[*sides, (None, 1.0)],
        method="highs",
    )
    if answer.status != 0:
        raise AssertionError(f"linprog says {answer.message}")
    return float(-answer.fun)


def _descend(
    layers: list[PlainLayer],
    box: Any,
    A: np.ndarray,
    c: np.ndarray,
    prefix: tuple[int, ...],
    rows: list[Row],
    found: set[tuple[int, ...]],
) -> None:
    """Extend a prefix by one layer; ``A x + c`` is what enters it."""
    if not layers:
        found.add(prefix)
        return
    layer = layers[0]
    W = np.array(layer.weight, dtype=float)
    P, q = W @ A, W @ c + np.array(layer.bias, dtype=float)
    scale = np.abs(W) @ np.abs(A).sum(axis=1)
    for choice, extended in _cells(layer.activation, P, q, scale, rows, box):
        pieces = [affine_piece(layer.activation, s) for s in choice]
        slope = np.array([float(a) for a, _ in pieces])
        shift = np.array([float(k) for _, k in pieces])
        after = prefix + choice if layer.activation.breakpoints else prefix
        args = (slope[:, None] * P, slope * q + shift, after, extended, found)
        _descend(layers[1:], box, *args)


def _cells(
    activation: PlainActivation,
    P: np.ndarray,
    q: np.ndarray,
    scale: np.ndarray,
    rows: list[Row],
    box: Any,
) -> list[tuple[tuple[int, ...], list[Row]]]:
    """Give every choice of segments of one layer that some interior point has."""
    cells: list[tuple[tuple[int, ...], list[Row]]] = [((), rows)]
    for a, value, size in zip(P, q, scale, strict=True):
        constant = np.linalg.norm(a) <= 1e-12 * size
        cells = [
            ((*choice, s), more)
            for choice, known in cells
            for s, more in (
                [(sum(1 for t in activation.breakpoints if value > t), known)]
                if constant
                else _sides(activation, a, value, known, box)
            )
        ]
    return cells


def _sides(
    activation: PlainActivation, a: np.ndarray, value: float, known: list[Row], box: Any
) -> list[tuple[int, list[Row]]]:
    """Give the segments that one unit has inside a cell, and the rows that say so."""
    options = [
        (s, known + _between(activation, s, a, value)) for s in range(len(activation.slopes))
    ]
    return [(s, rows) for s, rows in options if margin(rows, box) > TOLERANCE]


def _between(activation: PlainActivation, s: int, a: np.ndarray, value: float) -> list[Row]:
    """Say that ``a x + value`` lies inside segment ``s``."""
    rows: list[Row] = []
    if s > 0:
        rows.append((a, value - activation.breakpoints[s - 1]))
    if s < len(activation.breakpoints):
        rows.append((-a, activation.breakpoints[s] - value))
    return rows


def patterns_by_sampling(
    layers: list[PlainLayer], box: Any, rng: np.random.Generator, n: int
) -> set[tuple[int, ...]]:
    """Give the segment vectors of ``n`` uniform points: some of the regions."""
    lower, upper = (np.asarray(side, dtype=float) for side in box)
    values = lower + rng.random((n, len(lower))) * (upper - lower)
    parts = []
    for layer in layers:
        z = values @ np.array(layer.weight, dtype=float).T + np.array(layer.bias, dtype=float)
        s = (z[..., None] > np.array(layer.activation.breakpoints)).sum(axis=-1)
        pieces = [affine_piece(layer.activation, i) for i in range(len(layer.activation.slopes))]
        slopes = np.array([float(a) for a, _ in pieces])
        shifts = np.array([float(k) for _, k in pieces])
        values = slopes[s] * z + shifts[s]
        if layer.activation.breakpoints:
            parts.append(s)
    return {tuple(row) for row in np.unique(np.concatenate(parts, axis=1), axis=0).tolist()}


def mixed_patterns_by_lp(
    layers: list[tuple[Any, Any, list[PlainActivation]]], box: Any
) -> set[tuple[int, ...]]:
    """List regions where each unit has an activation of its own; linear units have no segment."""
    size = np.asarray(layers[0][0]).shape[1]
    cells = [((), [], np.eye(size), np.zeros(size))]
    for weight, bias, activations in layers:
        cells = [after for cell in cells for after in _mixed(cell, weight, bias, activations, box)]
    return {cell[0] for cell in cells}


def _mixed(
    cell: tuple[Any, ...], weight: Any, bias: Any, activations: list[PlainActivation], box: Any
) -> list[tuple[Any, ...]]:
    prefix, rows, A, c = cell
    P, q = np.asarray(weight) @ A, np.asarray(weight) @ c + np.asarray(bias)
    grown: list[tuple[tuple[int, ...], list[Row]]] = [((), rows)]
    for a, value, activation in zip(P, q, activations, strict=True):
        if np.linalg.norm(a) <= 1e-12:
            grown = [((*s, sum(value > t for t in activation.breakpoints)), k) for s, k in grown]
        else:
            grown = [
                ((*choice, s), more)
                for choice, known in grown
                for s, more in _sides(activation, a, value, known, box)
            ]
    found = []
    for choice, known in grown:
        pieces = [affine_piece(act, s) for act, s in zip(activations, choice, strict=True)]
        slope, shift = (np.array([float(p[i]) for p in pieces]) for i in (0, 1))
        bent = tuple(s for s, act in zip(choice, activations, strict=True) if act.breakpoints)
        found.append((prefix + bent, known, slope[:, None] * P, slope * q + shift))
    return found
