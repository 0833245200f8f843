"""Maxima of several numbers as decisions with several states, out of the rounds of a tournament.

In real arithmetic ``max(z_0, .., z_k) = z_0 + max(0, d_1, .., d_k)`` with ``d_j = z_j - z_0``. So
the rounds that decide a window become one layer with the units ``d_j``. Each asks one decision, "is
``z_j`` the largest?", of which at most one is answered with 1, and has the slope of its answer;
with one unit this is a ReLU. The layer carries what else the rounds carried, with entry 0 in the
place of each window's winner.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byways.core.activations import PerUnit, identity, relu
from byways.core.chain import Layer, LayerChain
from byways.core.maps import SparseMap
from byways.core.windows import matches_of_winners, winners

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from byways.core.activations import PiecewiseLinear

    Array = NDArray[np.float64]
    Segments = NDArray[np.integer[Any]]

__all__ = ["Maxima", "collapsed"]

_AGREES = 1e-9  # relative difference that counts as rounding
_POINTS = 16


@dataclass(frozen=True, eq=False)
class Maxima:
    """A network whose tournaments are collapsed, and how its segments go with the network's own.

    Attributes:
        chain: Its layers. As a chain it is another function: windows are not ReLUs.
        windows: For each window that was collapsed its matches in the network's segment vector.
        begin: The place of its first decision in the segment vector of ``chain``.
        others: The units outside of those windows, in the network's segment vector.
        places: Where they are in that of ``chain``.
    """

    chain: LayerChain
    windows: tuple[tuple[int, ...], ...]
    begin: NDArray[np.int64]
    others: NDArray[np.int64]
    places: NDArray[np.int64]

    def by_layer(self) -> dict[int, tuple[tuple[int, int], ...]]:
        """Give for layers of ``chain`` where windows with several decisions begin and end."""
        found: dict[int, list[tuple[int, int]]] = {}
        start = np.cumsum([0, *(layer.decided.size for layer in self.chain.layers)])
        for begin, window in zip(self.begin.tolist(), self.windows, strict=True):
            if len(window) > 1:
                layer = int(np.searchsorted(start, begin, side="right")) - 1
                first = begin - int(start[layer])
                found.setdefault(layer, []).append((first, first + len(window)))
        return {layer: tuple(windows) for layer, windows in found.items()}

    def contracted(self, segments: Segments) -> Segments:
        """Turn segments of the network ``(..., units)`` into those of ``chain``."""
        result = np.zeros_like(segments)
        result[..., self.places] = segments[..., self.others]
        for begin, window in zip(self.begin, self.windows, strict=True):
            won = winners(segments[..., list(window)])[..., None]
            result[..., begin : begin + len(window)] = won == np.arange(1, len(window) + 1)
        return result

    def expanded(self, segments: Segments) -> Segments:
        """Undo ``contracted``; matches in which the winner does not play are 0."""
        result = np.zeros_like(segments)
        result[..., self.others] = segments[..., self.places]
        for begin, window in zip(self.begin, self.windows, strict=True):
            bits = segments[..., begin : begin + len(window)]
            won = np.where(bits.any(axis=-1), bits.argmax(axis=-1) + 1, 0)
            result[..., list(window)] = matches_of_winners(len(window) + 1)[0][won]
        return result


@lru_cache(maxsize=4)
def collapsed(chain: LayerChain) -> Maxima | None:
    """Collapse the tournaments of a network.

    Args:
        chain: The network.

    Returns:
        None if no window has more than two entries.

    Raises:
        ValueError: If the network's windows are not those of tournaments of ReLUs.
    """
    tournaments = _tournaments(chain)
    if not tournaments:
        return None
    layers = list(chain.layers)
    for found in reversed(tournaments):
        layers[found.first : found.last + 2] = _one_layer(layers, found)
    start = np.cumsum([0, *(layer.decided.size for layer in chain.layers)])
    first = {found.first: found for found in tournaments}
    windows: list[tuple[int, ...]] = []
    begin, others, places = [], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    count, i = 0, 0
    while i < len(chain.layers):
        if i in first:
            windows += first[i].windows
            for window in first[i].windows:
                begin.append(count)
                count += len(window)
            i = first[i].last + 1
            continue
        others.append(np.arange(start[i], start[i + 1]))
        places.append(count + np.arange(others[-1].size))
        count, i = count + others[-1].size, i + 1
    joined = np.concatenate(others), np.concatenate(places)
    result = Maxima(LayerChain(tuple(layers)), tuple(windows), np.array(begin), *joined)
    _compare(chain, result)
    return result


class _Tournament(NamedTuple):
    """Rounds that decide windows together: layers ``first`` to ``last``.

    ``windows`` are the matches of each in the network's segment vector, ``layer`` and ``unit`` tell
    where each entry of the vector is.
    """

    first: int
    last: int
    windows: list[tuple[int, ...]]
    layer: NDArray[np.int64]
    unit: NDArray[np.int64]


def _tournaments(chain: LayerChain) -> list[_Tournament]:
    """Find the tournaments of windows with more than two entries, in layer order."""
    sizes = [layer.decided.size for layer in chain.layers]
    layer = np.repeat(np.arange(len(sizes)), sizes)
    unit = np.concatenate([layer.decided for layer in chain.layers])
    together: dict[int, list[tuple[int, ...]]] = {}
    for window in chain.windows:
        together.setdefault(int(layer[window[0]]), []).append(tuple(window))
    found = []
    for first, windows in sorted(together.items()):
        last = max(int(layer[list(window)].max()) for window in windows)
        if last > first:
            found.append(_Tournament(first, last, windows, layer, unit))
            _check(chain, found[-1])
    return found


def _check(chain: LayerChain, found: _Tournament) -> None:
    """Refuse layers that do more than decide the windows."""
    matches = sorted(place for window in found.windows for place in window)
    inside = np.flatnonzero((found.layer >= found.first) & (found.layer <= found.last))
    rounds = chain.layers[found.first : found.last + 1]
    kinds = {_shape(function) for layer in rounds for function in layer.functions}
    if matches != inside.tolist() or not kinds <= {_shape(relu), _shape(identity)}:
        raise _not_a_tournament()


def _shape(function: PiecewiseLinear) -> tuple[object, ...]:
    return function.breakpoints, function.slopes, function.offset


def _compare(chain: LayerChain, found: Maxima) -> None:
    """Compare winners, other decisions and values at some random inputs."""
    points = np.random.default_rng(0).standard_normal((_POINTS, chain.input_size))
    segments = chain.segments(points)
    contracted = found.contracted(segments)
    theirs, values = _followed(chain, points, segments)
    ours, outputs = _followed(found.chain, points, contracted)
    pairs = [(outputs, values), (ours[:, found.places], theirs[:, found.others])]
    for begin, window in zip(found.begin, found.windows, strict=True):
        leads, won = (part[:, begin : begin + len(window)] for part in (ours, contracted))
        pairs.append(((leads * won).sum(axis=1), leads.max(axis=1, initial=0.0)))
    for found_here, expected in pairs:
        size = np.abs(expected).max(initial=1.0)
        if not np.allclose(found_here, expected, rtol=0.0, atol=_AGREES * size):
            raise _not_a_tournament()


def _followed(chain: LayerChain, points: Array, segments: Segments) -> tuple[Array, Array]:
    """Give what decisions are made from and the outputs, with the segments taken for granted."""
    values, levels, used = points, [], 0
    for layer in chain.layers:
        level = layer.map.apply(values) + layer.bias
        part, unit = np.zeros(level.shape, dtype=np.intp), np.arange(layer.width)
        levels.append(level[:, layer.decided])
        part[:, layer.decided] = segments[:, used : used + layer.decided.size]
        used += layer.decided.size
        slopes, intercepts = layer.pieces()
        values = slopes[unit, part] * level + intercepts[unit, part]
    return np.concatenate(levels, axis=1), values


def _not_a_tournament() -> ValueError:
    return ValueError(
        'the network\'s windows are not those of tournaments of ReLUs; use maxima="matches", or a '
        'chain without "windows"'
    )


def _one_layer(layers: list[Layer], found: _Tournament) -> list[Layer]:
    """Give what replaces the rounds of a tournament and the layer behind them."""
    from scipy.sparse import csr_array, hstack, vstack

    rounds = layers[found.first : found.last + 1]
    width = rounds[-1].width
    if found.last + 1 < len(layers):
        after = layers[found.last + 1]
    else:
        after = Layer(SparseMap(_unit_matrix(width)), np.zeros(width))
    follow = after.map.to_sparse()
    size = np.array([len(window) + 1 for window in found.windows])
    passes = [_pass(rounds, found, winner) for winner in range(size.max())]
    first, gains = passes[0], _gains(rounds, found)
    window = np.repeat(np.arange(len(size)), size - 1)
    entry = np.concatenate([np.arange(1, k) for k in size])
    every = csr_array(vstack([each.leads for each in passes]))
    leads = every[entry * len(size) + window]
    read = np.diff(csr_array(follow.T).indptr) > 0
    kept = np.flatnonzero(read & (np.diff(first.values.indptr) > 0))
    rows = csr_array(vstack([leads, first.values[kept]]))
    weight = csr_array(hstack([(follow @ gains)[:, window], follow[:, kept]]))
    kinds = np.repeat([0, 1], [len(window), kept.size])
    bias = rows[:, [-1]].toarray()[:, 0]
    return [
        Layer(SparseMap(rows[:, :-1]), bias, PerUnit((relu, identity), kinds)),
        Layer(SparseMap(weight), after.bias, after.activation),
    ]


class _Pass(NamedTuple):
    """The rounds where one entry wins, as functions of what enters them, constants last.

    ``leads`` has for each window by how much the entry is ahead of entry 0; in windows without that
    entry the last one wins. ``values`` are those of the units of the last round.
    """

    leads: csr_array
    values: csr_array


def _pass(rounds: list[Layer], found: _Tournament, winner: int) -> _Pass:
    """Follow the rounds with one winner in all windows."""
    from scipy.sparse import csr_array, vstack

    wins = [np.zeros(layer.width) for layer in rounds]
    start = np.cumsum([0, *(layer.width for layer in rounds)])
    wanted = []
    for window in found.windows:
        segments, last = matches_of_winners(len(window) + 1)
        here = min(winner, len(window))
        for place, segment in zip(window, segments[here].tolist(), strict=True):
            wins[found.layer[place] - found.first][found.unit[place]] = segment
        final = window[last[here]]
        row = start[found.layer[final] - found.first] + found.unit[final]
        wanted.append(row if here else start[-1])
    size = rounds[0].map.shape[1]
    values, levels = _unit_matrix(size + 1), []
    for layer, won in zip(rounds, wins, strict=True):
        slope = np.ones(layer.width)
        slope[layer.decided] = won[layer.decided]
        levels.append(_then(layer, values))
        values = _scaled(levels[-1], slope)
        values = csr_array(vstack([values, _unit_matrix(size + 1)[[size]]]))
    every = csr_array(vstack([*levels, csr_array((1, size + 1))]))  # the last is for entry 0
    return _Pass(every[np.array(wanted)], csr_array(values[:-1]))


def _gains(rounds: list[Layer], found: _Tournament) -> csr_array:
    """Tell how the units of the last round grow with the last match of each window."""
    from scipy.sparse import csr_array

    finals = [window[-1] for window in found.windows]
    result = csr_array((rounds[0].map.shape[1], len(finals)))
    for i, layer in enumerate(rounds, found.first):
        slope = np.ones(layer.width)
        slope[layer.decided] = 0.0
        result = _scaled(csr_array(layer.map.to_sparse() @ result), slope)
        here = [w for w, final in enumerate(finals) if found.layer[final] == i]
        units = [found.unit[finals[w]] for w in here]
        result = csr_array(result + csr_array((np.ones(len(here)), (units, here)), result.shape))
    return result


def _then(layer: Layer, values: csr_array) -> csr_array:
    """Apply a layer's affine part to functions whose last row is the constant 1."""
    from scipy.sparse import csr_array, hstack

    return csr_array(hstack([layer.map.to_sparse(), csr_array(layer.bias[:, None])]) @ values)


def _scaled(matrix: csr_array, factor: Array) -> csr_array:
    from scipy.sparse import csr_array, diags_array

    result = csr_array(diags_array(factor) @ matrix)
    result.eliminate_zeros()
    return result


def _unit_matrix(size: int) -> csr_array:
    from scipy.sparse import csr_array, eye_array

    return csr_array(eye_array(size))
