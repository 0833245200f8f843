"""EdgeGraph: a network as a directed acyclic graph whose edges are its non-zero weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.activations import PerUnit, PiecewiseLinear, identity
from byways.core.arrays import finite
from byways.core.errors import ShapeError
from byways.core.smooth import SMOOTH
from byways.sparse_inference._topology import levels_of, name_a_cycle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from torch import nn

    from byways.core.chain import LayerChain

    Ints = NDArray[np.int64]

__all__ = ["SMOOTH", "Activation", "EdgeGraph"]

Activation = PiecewiseLinear | str


@dataclass(frozen=True, eq=False)
class EdgeGraph:
    """A sparse feed-forward network, edge by edge.

    Vertices are neurons, inputs included; edge ``e`` adds ``weights[e] * value(sources[e])`` to
    ``targets[e]``. A vertex that is no input starts at its bias; after its last incoming edge its
    activation is applied. A vertex without incoming edges that is no input has the constant value
    ``activation(bias)``. Layers need not exist: an edge may skip any number of them.

    Edges stand in *destination-major* order: by level of the target, then target, then source.

    Args:
        sources: Vertex at the start of each edge, shape ``(m,)``.
        targets: Vertex at its end, shape ``(m,)``.
        weights: Shape ``(m,)``.
        bias: Shape ``(n,)``; not used at inputs.
        activation: Index into ``activations`` of each vertex, shape ``(n,)``; not used at inputs.
        activations: Piecewise-linear functions, or ``"tanh"`` or ``"sigmoid"``.
        inputs: Vertices that take the network's inputs, in order.
        outputs: Vertices that give its outputs, in order.

    Raises:
        ShapeError: If lengths do not fit.
        DomainError: If a weight or bias is not finite.
        ValueError: If there is a cycle, an index out of range, an edge given twice, or an edge
            into an input.

    Example:
        >>> graph = EdgeGraph.from_layers([[[1.0, 0.0], [2.0, -1.0]], [[1.0, 1.0]]])
        >>> graph
        EdgeGraph(5 vertices, 5 edges, 2 inputs, 1 outputs, 2 levels)
        >>> graph.density
        0.8333333333333334
    """

    sources: Ints
    targets: Ints
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    activation: Ints
    activations: tuple[Activation, ...]
    inputs: Ints
    outputs: Ints

    def __post_init__(self) -> None:
        weights, bias = finite(self.weights, "weights", 1), finite(self.bias, "bias", 1)
        n = len(bias)
        sources = _indices(self.sources, "sources", n, len(weights))
        targets = _indices(self.targets, "targets", n, len(weights))
        activation = _indices(self.activation, "activation", len(self.activations), n)
        inputs = _distinct(_indices(self.inputs, "inputs", n, None), "inputs")
        outputs = _distinct(_indices(self.outputs, "outputs", n, None), "outputs")
        into = np.isin(targets, inputs)
        if into.any():
            e = int(np.flatnonzero(into)[0])
            raise ValueError(
                f"edge {e} leads into vertex {targets[e]}, which is an input; inputs are given"
            )
        level = levels_of(sources, targets, n)
        if (level < 0).any():
            raise ValueError(name_a_cycle(sources, targets, level))
        order = np.lexsort((sources, targets, level[targets]))
        sources, targets, weights = sources[order], targets[order], weights[order]
        twice = np.flatnonzero((np.diff(sources) == 0) & (np.diff(targets) == 0))
        if twice.size:
            e = twice[0]
            raise ValueError(
                f"the edge {sources[e]} -> {targets[e]} is given twice; add its weights up first"
            )
        given = {
            "sources": sources, "targets": targets, "weights": weights, "bias": bias,
            "activation": activation, "inputs": inputs, "outputs": outputs, "_level": level,
        }  # fmt: skip
        for name, array in given.items():
            array = np.ascontiguousarray(array)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "activations", tuple(_known(a) for a in self.activations))

    @classmethod
    def from_layers(
        cls,
        weights: Sequence[Any],
        biases: Sequence[ArrayLike | None] | None = None,
        activations: Sequence[Activation | PerUnit] | Activation = identity,
        *,
        last: Activation | None = None,
        layout: str = "out_in",
        keep_zeros: bool = False,
    ) -> EdgeGraph:
        """Build the graph of a plain stack of layers.

        Args:
            weights: One matrix a layer: nested lists, NumPy, SciPy sparse, or torch (dense or
                sparse). Entries of a sparse matrix at the same place are added up.
            biases: One vector a layer, None for zeros.
            activations: One a layer (``PerUnit`` where units differ), or one for all.
            last: Activation of the last layer where one is given for all; the same if None.
            layout: ``"out_in"`` for matrices of shape ``(outputs, inputs)`` as torch keeps them,
                ``"in_out"`` for the transpose, as the Graph Challenge writes them.
            keep_zeros: Keep edges whose stored weight is zero (sparse matrices) or every entry
                (dense ones), instead of dropping them.

        Returns:
            Vertices are numbered layer by layer, inputs first.

        Raises:
            ShapeError: If neighbouring layers do not fit.
            ValueError: If there is no layer, or ``layout`` is not one of the two.

        Warns:
            UserWarning: If weights have 16 bits; the graph holds their values as float64.
        """
        if layout not in ("out_in", "in_out"):
            raise ValueError(f'"layout" was {layout!r}; it is "out_in" or "in_out"')
        if not len(weights):
            raise ValueError('"weights" is empty; give at least one matrix')
        _warn_of_short(weights)
        parts = [_triplets(w, layout, keep_zeros, i) for i, w in enumerate(weights)]
        sizes = [parts[0][3], *(part[4] for part in parts)]
        for i, part in enumerate(parts):
            if part[3] != sizes[i]:
                raise ShapeError(
                    f"layer {i} takes {part[3]} inputs, but {sizes[i]} values come to it"
                )
        starts = np.concatenate([[0], np.cumsum(sizes)])
        distinct, kinds = _kinds(_one_each(activations, last, len(parts)), sizes)
        return cls(
            np.concatenate([part[0] + starts[i] for i, part in enumerate(parts)]),
            np.concatenate([part[1] + starts[i + 1] for i, part in enumerate(parts)]),
            np.concatenate([part[2] for part in parts]),
            np.concatenate([np.zeros(sizes[0]), *_biases(biases, sizes[1:])]),
            kinds,
            distinct,
            np.arange(sizes[0]),
            np.arange(starts[-2], starts[-1]),
        )

    @classmethod
    def from_chain(cls, chain: LayerChain, *, keep_zeros: bool = False) -> EdgeGraph:
        """Build the graph of a ``LayerChain``; a convolution becomes one edge per product."""
        return cls.from_layers(
            [layer.map.to_sparse() for layer in chain.layers],
            [layer.bias for layer in chain.layers],
            [layer.activation for layer in chain.layers],
            keep_zeros=keep_zeros,
        )

    @classmethod
    def from_torch(
        cls, module: nn.Module, input_shape: int | Sequence[int] | None = None
    ) -> EdgeGraph:
        """Build the graph of a torch module, and compare both at random points.

        Takes what ``byways.as_chain`` takes, pruning masks, convolutions (one edge per product),
        folded BatchNorm and residual sums included, and Tanh and Sigmoid too. A value that a
        residual connection needs later is carried by edges that skip levels.

        Args:
            module: In eval mode. It is copied to the CPU and detached, and itself left as it was.
            input_shape: Shape of one input without the batch axis. Networks that begin with a
                dense layer do not need it, convolutions do.

        Returns:
            The graph, on flattened inputs and outputs (C order).

        Raises:
            TypeError: If it is no ``torch.nn.Module``, or its weights are complex.
            ValueError: If ``input_shape`` is missing.
            ConversionError: If a part of it is not made of edges; says which, and what is.
            DomainError: If weights are NaN or infinite.
            ShapeError: If sizes do not fit.

        Example:
            >>> from torch import nn
            >>> from torch.nn.utils import prune
            >>> layer = prune.l1_unstructured(nn.Linear(3, 2), "weight", amount=4)
            >>> EdgeGraph.from_torch(nn.Sequential(layer, nn.Tanh()))
            EdgeGraph(5 vertices, 2 edges, 3 inputs, 2 outputs, 1 levels)
        """
        import torch

        from byways.sparse_inference._doors import as_graph

        if not isinstance(module, torch.nn.Module):
            raise TypeError(  # an array, say
                f'"module" is {type(module).__name__}; a torch.nn.Module is needed, and '
                "EdgeGraph.from_layers takes matrices"
            )
        return as_graph(module, input_shape)

    @property
    def vertices(self) -> int:
        """Number of vertices, inputs included."""
        return len(self.bias)

    @property
    def edges(self) -> int:
        """Number of edges."""
        return len(self.weights)

    @property
    def level(self) -> Ints:
        """Length of the longest path that ends in each vertex, shape ``(n,)``."""
        found: Ints = self.__dict__["_level"]
        return found

    @property
    def levels(self) -> int:
        """Length of the longest path."""
        return int(self.level.max(initial=0))

    @cached_property
    def in_degree(self) -> Ints:
        """Number of edges into each vertex."""
        return np.bincount(self.targets, minlength=self.vertices).astype(np.int64)

    @cached_property
    def out_degree(self) -> Ints:
        """Number of edges out of each vertex."""
        return np.bincount(self.sources, minlength=self.vertices).astype(np.int64)

    @cached_property
    def into(self) -> tuple[Ints, Ints]:
        """Give ``(start, ids)``, with the edges ``ids[start[v]:start[v + 1]]`` into ``v``."""
        return _grouped(self.targets, self.vertices)

    @cached_property
    def out_of(self) -> tuple[Ints, Ints]:
        """Give ``(start, ids)``, with the edges ``ids[start[u]:start[u + 1]]`` out of ``u``."""
        return _grouped(self.sources, self.vertices)

    @property
    def density(self) -> float:
        """Edges divided by those of complete layers between neighbouring levels."""
        sizes = np.bincount(self.level)
        pairs = float((sizes[:-1] * sizes[1:]).sum())
        return self.edges / pairs if pairs else 0.0

    def __repr__(self) -> str:
        return (
            f"EdgeGraph({self.vertices} vertices, {self.edges} edges, {len(self.inputs)} inputs, "
            f"{len(self.outputs)} outputs, {self.levels} levels)"
        )


def _indices(values: Any, name: str, limit: int, length: int | None) -> Ints:
    array = np.asarray(values)
    if array.ndim != 1 or (length is not None and len(array) != length):
        wanted = "one axis" if length is None else f"shape ({length},)"
        raise ShapeError(f'"{name}" has shape {array.shape}; {wanted} is needed')
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f'"{name}" has dtype {array.dtype}; integers are needed')
    wrong = np.flatnonzero((array < 0) | (array >= limit))
    if wrong.size:
        k = wrong[0]
        raise ValueError(f'"{name}" is {array[k]} at index {k}; it must be below {limit}, from 0')
    return array.astype(np.int64)


def _distinct(array: Ints, name: str) -> Ints:
    values, counts = np.unique(array, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f'"{name}" lists vertex {values[counts > 1][0]} more than once')
    return array


def _known(activation: Activation) -> Activation:
    if isinstance(activation, PiecewiseLinear) or activation in SMOOTH:
        return activation
    raise ValueError(
        f"the activation {activation!r} is neither a PiecewiseLinear (byways.core.activations) "
        f"nor one of {', '.join(map(repr, SMOOTH))}"
    )


def _warn_of_short(weights: Sequence[Any]) -> None:
    kinds = {str(getattr(weight, "dtype", "")).removeprefix("torch.") for weight in weights}
    short = sorted(kind for kind in kinds if kind in ("float16", "bfloat16"))
    if short:
        message = f'"weights" are {" and ".join(short)}; the graph holds their values as float64'
        warnings.warn(message, UserWarning, stacklevel=3)


def _triplets(
    weight: Any, layout: str, keep_zeros: bool, layer: int
) -> tuple[Ints, Ints, NDArray[np.float64], int, int]:
    """Give sources, targets, weights and the numbers of inputs and outputs of one layer."""
    from scipy import sparse

    if hasattr(weight, "detach"):  # torch, which is not imported for it
        weight = weight.detach().cpu()
        if str(weight.dtype) == "torch.bfloat16":  # which NumPy lacks
            weight = weight.float()
        if str(weight.layout) != "torch.strided":
            entries = weight.to_sparse_coo().coalesce()
            shape = tuple(weight.shape)
            values = entries.values().numpy().astype(np.float64)
            weight = sparse.coo_array((values, entries.indices().numpy()), shape=shape)
        else:
            weight = weight.numpy()
    if not sparse.issparse(weight):
        dense = finite(weight, f"weights[{layer}]", 2)
        rows, columns = np.indices(dense.shape).reshape(2, -1) if keep_zeros else dense.nonzero()
        weight = sparse.coo_array((dense[rows, columns], (rows, columns)), shape=dense.shape)
    matrix = sparse.coo_array(weight)
    matrix.sum_duplicates()
    data = finite(matrix.data, f"weights[{layer}]")
    kept = np.ones(len(data), np.bool_) if keep_zeros else data != 0
    rows, columns = (matrix.coords[axis][kept].astype(np.int64) for axis in (0, 1))
    if layout == "in_out":
        return rows, columns, data[kept], matrix.shape[0], matrix.shape[1]
    return columns, rows, data[kept], matrix.shape[1], matrix.shape[0]


def _biases(
    biases: Sequence[ArrayLike | None] | None, sizes: Sequence[int]
) -> list[NDArray[np.float64]]:
    given: list[Any] = [None] * len(sizes) if biases is None else list(biases)
    if len(given) != len(sizes):
        raise ShapeError(f'"biases" has {len(given)} entries for {len(sizes)} layers')
    result = []
    for i, (bias, size) in enumerate(zip(given, sizes, strict=True)):
        plain = bias.detach().cpu() if hasattr(bias, "detach") else bias
        vector = np.zeros(size) if plain is None else finite(plain, f"biases[{i}]", 1)
        if len(vector) != size:
            raise ShapeError(f'"biases[{i}]" has {len(vector)} numbers for {size} units')
        result.append(vector)
    return result


def _one_each(
    activations: Sequence[Activation | PerUnit] | Activation, last: Activation | None, layers: int
) -> Sequence[Activation | PerUnit]:
    if isinstance(activations, str | PiecewiseLinear):
        return [activations] * (layers - 1) + [activations if last is None else last]
    if len(activations) != layers:
        raise ShapeError(f'"activations" has {len(activations)} entries for {layers} layers')
    return list(activations)


def _kinds(
    given: Sequence[Activation | PerUnit], sizes: Sequence[int]
) -> tuple[tuple[Activation, ...], Ints]:
    """Give the distinct activations, and the index of each vertex's; inputs have the identity."""
    place: dict[Activation, int] = {identity: 0}
    parts = [np.zeros(sizes[0], dtype=np.int64)]
    for activation, size in zip(given, sizes[1:], strict=True):
        functions = activation.functions if isinstance(activation, PerUnit) else (activation,)
        numbers = np.array([place.setdefault(f, len(place)) for f in functions])
        kinds = activation.kinds if isinstance(activation, PerUnit) else np.zeros(size, int)
        parts.append(numbers[kinds])
    return tuple(place), np.concatenate(parts)


def _grouped(keys: Ints, count: int) -> tuple[Ints, Ints]:
    start = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=count), out=start[1:])
    return start, np.argsort(keys, kind="stable")
