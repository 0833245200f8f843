"""LayerChain: a frozen feed-forward network, the form that every analysis reads."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.activations import PerUnit, PiecewiseLinear, identity, relu
from byways.core.affine import Affine
from byways.core.arrays import finite, frozen
from byways.core.errors import ConversionError, ShapeError
from byways.core.files import read_npz, write_npz
from byways.core.maps import DenseMap, LinearMap, map_from_state
from byways.core.windows import with_winners

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["Layer", "LayerChain"]

_FORMAT = "byways.LayerChain/1"


@dataclass(frozen=True, eq=False)
class Layer:
    """One step ``x -> activation(map x + bias)``.

    Args:
        map: Linear part of shape ``(m, n)``; a matrix is wrapped.
        bias: Shape ``(m,)``.
        activation: Piecewise-linear function of all units, or ``PerUnit`` where they differ.

    Raises:
        ShapeError: If the bias or the activation does not fit the map.
    """

    map: LinearMap
    bias: Array
    activation: PiecewiseLinear | PerUnit = identity

    def __post_init__(self) -> None:
        if not isinstance(self.map, LinearMap):  # a plain matrix, against the annotation
            object.__setattr__(self, "map", DenseMap(self.map))  # type: ignore[unreachable]
        object.__setattr__(self, "bias", frozen(self.bias, "bias", 1))
        if self.bias.size != self.map.shape[0]:
            raise ShapeError(
                f'"bias" has {self.bias.size} numbers for a map with {self.map.shape[0]} outputs'
            )
        if isinstance(self.activation, PerUnit) and self.activation.kinds.size != self.width:
            raise ShapeError(
                f'"activation" is for {self.activation.kinds.size} units; the map has {self.width}'
            )

    @property
    def width(self) -> int:
        """Number of units."""
        return self.map.shape[0]

    @property
    def functions(self) -> tuple[PiecewiseLinear, ...]:
        """The functions that occur; ``kinds`` tells which unit has which."""
        act = self.activation
        return act.functions if isinstance(act, PerUnit) else (act,)

    @cached_property
    def kinds(self) -> NDArray[np.int64]:
        """Index into ``functions``, shape ``(units,)``."""
        if isinstance(self.activation, PerUnit):
            return self.activation.kinds
        return np.zeros(self.width, dtype=np.int64)

    @cached_property
    def decided(self) -> NDArray[np.intp]:
        """Units that have segments, which are those whose function has a breakpoint."""
        return np.unique(self.cuts[0])

    @cached_property
    def cuts(self) -> tuple[NDArray[np.intp], Array]:
        """Unit and breakpoint of each decision "is ``z`` above ``t``?", in the order of units."""
        points = [self.functions[kind].breakpoints for kind in self.kinds.tolist()]
        unit = np.repeat(np.arange(self.width), [len(found) for found in points])
        return unit, np.array([t for found in points for t in found], dtype=np.float64)

    def pieces(self, exact: bool = False) -> tuple[NDArray[Any], NDArray[Any]]:
        """Give slopes and intercepts of each unit's pieces, ``(units, pieces)``.

        Units with fewer pieces than others repeat their last. Exact ones are rationals: floats
        round the intercepts.
        """
        most = np.arange(max(len(function.slopes) for function in self.functions))
        tables: list[Any] = [f.exact_pieces() if exact else f.pieces() for f in self.functions]
        filled = [np.take(table, most, axis=1, mode="clip") for table in tables]
        slopes, intercepts = np.stack(filled, axis=1)
        return slopes[self.kinds], intercepts[self.kinds]


@dataclass(frozen=True, eq=False)
class LayerChain:
    """A frozen feed-forward network ``x_l = act_l(A_l x_{l-1} + b_l)``, ``l = 1 .. L``.

    Numbers are float64 and read-only. A layer whose activation has a breakpoint is *hidden*: its
    units have segments (for ReLU: 0 off, 1 on). The last layer is usually affine and has none.
    Units of a hidden layer that are linear, such as those that carry a value past the layer for a
    residual connection, have no segments and are left out of segment vectors.

    Args:
        layers: At least one layer; each takes as many inputs as the one before has units.
        windows: For each window of a max-pooling, which entries of a segment vector tell its
            winner, see ``byways.core.windows``.

    Raises:
        ShapeError: If neighbouring layers do not fit.
        ValueError: If there is no layer.

    Example:
        >>> W, b = [[1.0], [1.0]], [0.0, -0.5]
        >>> tent = LayerChain.from_arrays([(W, b), ([[2.0, -4.0]], [0.0])])
        >>> tent([[0.25], [0.5], [1.0]])
        array([[0.5],
               [1. ],
               [0. ]])
        >>> tent.segments([0.75])
        array([1, 1], dtype=int8)
        >>> tent.local_map([1, 1])(np.array([0.75]))
        array([0.5])
    """

    layers: tuple[Layer, ...]
    windows: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError('"layers" is empty; a chain needs at least one layer')
        for i, (before, after) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if after.map.shape[1] != before.width:
                raise ShapeError(
                    f"layer {i + 1} takes {after.map.shape[1]} inputs but layer {i} has "
                    f"{before.width} units"
                )

    @classmethod
    def from_arrays(
        cls,
        pairs: Sequence[tuple[ArrayLike, ArrayLike]],
        activation: PiecewiseLinear = relu,
        last: PiecewiseLinear = identity,
    ) -> LayerChain:
        """Build a chain from ``(W, b)`` pairs, shapes ``(m, n)`` and ``(m,)``.

        Args:
            pairs: One pair per layer.
            activation: Of every layer but the last.
            last: Of the last layer.

        Returns:
            The chain.

        Raises:
            ValueError: If a pair is malformed; the message names the layer.
        """
        layers = []
        for i, pair in enumerate(pairs):
            try:
                weight, bias = pair
                act = activation if i < len(pairs) - 1 else last
                layers.append(Layer(DenseMap(weight), np.asarray(bias), act))
            except (ValueError, TypeError) as error:
                raise type(error)(f"layer {i} of the list: {error}") from error
        return cls(tuple(layers))

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.layers[0].map.shape[1]

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self.layers[-1].width

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs and units of every layer, ``(n_0, n_1, .., n_L)``."""
        return (self.input_size, *(layer.width for layer in self.layers))

    @property
    def hidden(self) -> tuple[int, ...]:
        """Indices of the layers whose activation has a breakpoint."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.activation.breakpoints)

    @property
    def units(self) -> int:
        """Number of hidden units, the length of a segment vector."""
        return sum(self.layers[i].decided.size for i in self.hidden)

    def __call__(self, x: ArrayLike) -> Array:
        """Evaluate points of shape ``(..., n_0)`` to ``(..., n_L)`` in float64."""
        values = self._inputs(x)
        for layer in self.layers:
            values = layer.activation(layer.map.apply(values) + layer.bias)
        return values

    def pre_activations(self, x: ArrayLike) -> list[Array]:
        """Give ``A_l x_{l-1} + b_l`` of every layer, each of shape ``(..., n_l)``."""
        values, result = self._inputs(x), []
        for layer in self.layers:
            result.append(layer.map.apply(values) + layer.bias)
            values = layer.activation(result[-1])
        return result

    def segments(self, x: ArrayLike) -> NDArray[np.int8]:
        """Give the segment of every hidden unit, shape ``(..., units)``, in layer order."""
        values = self.pre_activations(x)
        parts = []
        for i in self.hidden:
            segment = self.layers[i].activation.segment(values[i])
            parts.append(segment[..., self.layers[i].decided])
        empty = np.zeros((*values[0].shape[:-1], 0), dtype=np.int8)
        return np.concatenate([empty, *parts], axis=-1)

    def states(self, segments: ArrayLike) -> NDArray[np.int64]:
        """Give segment vectors ``(..., units)`` with one entry per window: which is the largest.

        Units outside of windows come first, in their order, then the windows. Regions with equal
        states belong to one region of the max-pooling.
        """
        return with_winners(self._segments(segments), self.windows)

    def on_boundary(self, x: ArrayLike, tolerance: float = 1e-9) -> NDArray[np.bool_]:
        """Tell for points ``(..., n_0)`` whether a unit is within ``tolerance`` of a breakpoint."""
        values = self.pre_activations(x)
        result = np.zeros(values[0].shape[:-1], dtype=np.bool_)
        for i in self.hidden:
            unit, cuts = self.layers[i].cuts
            result |= (np.abs(values[i][..., unit] - cuts) <= tolerance).any(axis=-1)
        return result

    def local_map(
        self, segments: ArrayLike, layer: int | None = None, before: Affine | None = None
    ) -> Affine:
        """Give the affine map that the chain is where the units are on the given segments.

        Args:
            segments: Shape ``(..., units)``.
            layer: Stop after this layer, its activation included; counts from 0 or, negative, from
                the end. None means the last.
            before: A map into the inputs that the chain is composed with, for instance that of a
                slice; cheaper than composing afterwards.

        Returns:
            Weight ``(..., n_layer, n_0)`` and bias ``(..., n_layer)``. Cost: one dense product per
            layer and segment vector.

        Raises:
            ShapeError: If the segment vector has the wrong length.
            TypeError: If segments are not integers.
            ValueError: If a unit has no such segment.
            IndexError: If there is no such layer.
        """
        vector = self._segments(segments)
        stop = range(len(self.layers))[-1 if layer is None else layer]
        result = Affine.identity(self.input_size) if before is None else before
        used = 0
        for item in self.layers[: stop + 1]:
            result = result.then(Affine(item.map.to_dense(), item.bias))
            slopes, intercepts = item.pieces()
            count, unit = item.decided.size, np.arange(item.width)
            part = np.zeros((*(vector.shape[:-1] if count else ()), item.width), dtype=np.intp)
            part[..., item.decided] = vector[..., used : used + count]
            used += count
            slope = slopes[unit, part]
            weight = slope[..., None] * result.weight
            result = Affine(weight, slope * result.bias + intercepts[unit, part])
        batch = vector.shape[:-1]  # missing so far where no layer has segments
        weight = np.broadcast_to(result.weight, (*batch, *result.weight.shape[-2:]))
        return Affine(weight, np.broadcast_to(result.bias, (*batch, *result.bias.shape[-1:])))

    def digest(self) -> str:
        """Give the SHA-256 of shapes, weights and activations, as hexadecimal digits."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        hasher = hashlib.sha256(_FORMAT.encode())
        for layer in self.layers:
            kind, arrays = layer.map.state()
            hasher.update(json.dumps([kind, _describe(layer.activation)]).encode())
            for name, array in sorted({**arrays, "bias": layer.bias}.items()):
                fixed = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
                hasher.update(f"{name}{fixed.shape}{fixed.dtype.str}".encode())
                hasher.update(fixed.tobytes())
        return hasher.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the chain to a ``.npz`` file, whole or not at all."""
        write_npz(path, self.state())

    @classmethod
    def load(cls, path: str | Path) -> LayerChain:
        """Read a chain that ``save`` wrote. Nothing in the file is executed.

        Raises:
            ConversionError: If the file is not a saved chain.
        """
        arrays = read_npz(path, _FORMAT)
        try:
            return cls.from_state(arrays)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ConversionError(f"{str(path)!r} does not describe a chain: {error!r}") from error

    def state(self) -> dict[str, NDArray[Any]]:
        """Give the arrays that ``from_state`` turns back into this chain."""
        arrays: dict[str, NDArray[Any]] = {"format": np.array(_FORMAT)}
        described = []
        for i, layer in enumerate(self.layers):
            kind, parts = layer.map.state()
            described.append({"kind": kind, "activation": _describe(layer.activation)})
            arrays[f"{i}.bias"] = layer.bias
            arrays.update({f"{i}.map.{name}": part for name, part in parts.items()})
        arrays["layers"] = np.array(json.dumps(described))
        if self.windows:
            arrays["windows"] = np.array(json.dumps(self.windows))
        return arrays

    @classmethod
    def from_state(cls, arrays: dict[str, NDArray[Any]]) -> LayerChain:
        """Rebuild a chain from what ``state`` gave."""
        layers = []
        for i, described in enumerate(json.loads(str(arrays["layers"]))):
            prefix = f"{i}.map."
            parts = {
                name.removeprefix(prefix): a
                for name, a in arrays.items()
                if name.startswith(prefix)
            }
            linear = map_from_state(described["kind"], parts)
            layers.append(Layer(linear, arrays[f"{i}.bias"], _restored(described["activation"])))
        windows = json.loads(str(arrays["windows"])) if "windows" in arrays else []
        return cls(tuple(layers), tuple(tuple(int(unit) for unit in window) for window in windows))

    def _segments(self, segments: ArrayLike) -> NDArray[np.integer[Any]]:
        vector: NDArray[Any] = np.asarray(segments)
        if vector.shape[-1:] != (self.units,):
            raise ShapeError(
                f'"segments" has shape {vector.shape}; its last axis must have {self.units} entries'
            )
        if vector.size and vector.dtype.kind not in "biu":
            raise TypeError(f'"segments" has dtype {vector.dtype}; integers are needed')
        hidden = [self.layers[i] for i in self.hidden]
        most = np.zeros(0, np.intp)
        for layer in hidden:
            counts = np.array([len(function.breakpoints) for function in layer.functions])
            most = np.append(most, counts[layer.kinds[layer.decided]])
        wrong = np.argwhere((vector < 0) | (vector > most))
        if wrong.size:
            first = tuple(int(i) for i in wrong[0])
            raise ValueError(
                f'"segments" is {vector[first]} at index {first}; that unit has segments '
                f"0 to {most[first[-1]]}"
            )
        return vector

    def _inputs(self, x: ArrayLike) -> Array:
        values = finite(x, "x")
        if values.shape[-1:] != (self.input_size,):
            raise ShapeError(
                f'"x" has shape {values.shape}; its last axis must have {self.input_size} entries'
            )
        return values


def _describe(activation: PiecewiseLinear | PerUnit) -> dict[str, Any]:
    if isinstance(activation, PerUnit):
        functions = [asdict(function) for function in activation.functions]
        return {"functions": functions, "kinds": activation.kinds.tolist()}
    return asdict(activation)


def _restored(given: dict[str, Any]) -> PiecewiseLinear | PerUnit:
    """Undo ``_describe``."""
    if "kinds" in given:
        functions = [_restored(function) for function in given["functions"]]
        plain = [function for function in functions if isinstance(function, PiecewiseLinear)]
        return PerUnit(plain, given["kinds"])
    return PiecewiseLinear(
        tuple(given["breakpoints"]), tuple(given["slopes"]), given["offset"], given["name"]
    )
