"""The door from ONNX: a graph that is a chain of piecewise-linear operators becomes a LayerChain.

Numbers are taken as the file stores them. The standard keeps attributes such as the slope of
LeakyRelu in single precision, so 0.01 there is 0.009999999776482582.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from byways.core.errors import ConversionError, ShapeError
from byways.networks._builder import ChainBuilder, warn_of_short_numbers
from byways.networks._onnx_constants import FOLDED, fold
from byways.networks._onnx_steps import OPERATORS, Call, refusal
from byways.networks._shapes import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from byways.core.chain import LayerChain

__all__ = ["from_onnx"]

# What attributes that are missing or of another kind lead to.
_MALFORMED = (
    ArithmeticError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    UnicodeDecodeError,
)


def from_onnx(source: Any, input_shape: tuple[int, ...] | None) -> LayerChain:
    """Convert an ONNX file, its bytes, or a ModelProto.

    Raises:
        ConversionError: If the file is damaged, or its graph is no chain of supported operators.
    """
    model, label = _read(source)
    graph = model.graph
    if not graph.node or len(graph.output) != 1:
        raise ConversionError(
            f"{label} holds a graph with {len(graph.node)} nodes and {len(graph.output)} outputs; "
            "a chain has at least one node and exactly one output"
        )
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        names = [value.name for value in inputs]
        raise ConversionError(f"{label} has the inputs {names!r}; a chain has exactly one")
    try:
        walk = _Walk(model, label, inputs[0], input_shape)
        walk.run()
    except UnicodeDecodeError as error:
        raise ConversionError(f"{label} is damaged: a name in it is no text ({error})") from error
    warn_of_short_numbers(walk.short)
    return walk.builder.build()


def _read(source: Any) -> tuple[onnx.ModelProto, str]:
    """Load a model; gives it and a label for messages.

    Raises:
        ConversionError: If it cannot be read.
        FileNotFoundError: If there is no such file.
    """
    if isinstance(source, onnx.ModelProto):
        return source, "the ONNX model"
    label = f"the ONNX file {str(source)!r}" if isinstance(source, Path) else "the ONNX bytes"
    if isinstance(source, Path) and not source.is_file():
        raise FileNotFoundError(f"{label} does not exist")
    try:
        if isinstance(source, Path):
            return onnx.load(str(source)), label
        return onnx.load_model_from_string(bytes(source)), label
    except Exception as error:  # protobuf's, the checker's or the operating system's
        raise ConversionError(
            f"{label} cannot be read: {error}. It is damaged, not ONNX, or its external data is "
            "missing"
        ) from error


class _Walk:
    """Goes through the nodes of a graph and feeds them to a builder, as long as they form a chain.

    Each name in ``values`` stands for a constant (an array), a computed shape (an array of objects
    that may hold BATCH), or the network's value (the name itself, as ``current``).
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        label: str,
        entry: onnx.ValueInfoProto,
        input_shape: tuple[int, ...] | None,
    ) -> None:
        self.graph = model.graph
        self.label = label
        self.opset = max(
            (item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}),
            default=1,
        )
        self.short: set[str] = set()
        declared = _declared_shape(entry, label)
        self.batch = declared[0] if declared else None
        self.builder = ChainBuilder(_agreed_shape(declared, input_shape, entry.name))
        self.current = entry.name
        self.flows: dict[str, tuple[int, ...] | None] = {entry.name: self.builder.shape}
        self.values = {tensor.name: self._array(tensor) for tensor in self.graph.initializer}

    def run(self) -> None:
        """Go through the nodes that the output depends on.

        Raises:
            ConversionError: If the output is not the end of the chain.
        """
        needed = _needed(self.graph)
        for node in self.graph.node:
            if needed.isdisjoint(node.output):
                continue
            if node.op_type == "Constant" and not node.domain:
                self.values[node.output[0]] = self._constant(node)
            else:
                self._step(node)
        if self.graph.output[0].name != self.current:
            raise ConversionError(
                f"the output {self.graph.output[0].name!r} of {self.label} is not the end of the "
                "chain but a constant or an earlier value"
            )

    def _step(self, node: onnx.NodeProto) -> None:
        where = f'node "{node.name or node.output[0]}" ({node.op_type})'
        if node.domain not in {"", "ai.onnx"}:
            raise ConversionError(refusal(f"{where} of the domain {node.domain!r}"))
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        flows = [name for name in node.input if name in self.flows]
        arrays = [self.values.get(name) for name in node.input]
        if not flows and node.op_type in FOLDED:
            self.values[node.output[0]] = fold(node.op_type, attributes, arrays, where)
            return
        if node.op_type == "Shape" and flows and not attributes:
            self.values[node.output[0]] = self._shape(flows[0], where)
            return
        if len(flows) > 1 or (flows and flows[0] != self.current):
            raise ConversionError(
                refusal(
                    where,
                    "joins two values of the network, or uses one from before the last layer: that "
                    "is a residual, a concatenation or a branch, not a chain",
                )
            )
        if node.op_type not in OPERATORS or not flows:
            raise ConversionError(refusal(where))
        position = list(node.input).index(self.current)
        call = Call(
            self.builder, where, self.opset, self.batch, attributes, arrays, position, node.input
        )
        try:
            with self.builder.step(where):
                OPERATORS[node.op_type](call)
        except _MALFORMED as error:
            raise ConversionError(refusal(where, f"is malformed ({error!r})")) from error
        self.current = node.output[0]
        self.flows[self.current] = self.builder.shape

    def _shape(self, flow: str, where: str) -> np.ndarray[Any, Any]:
        """Answer Shape: the batch's size is BATCH."""
        shape = self.flows[flow]
        if shape is None:
            raise ValueError(
                f'"input_shape" is None, but {where} asks for the shape of the input; give '
                '"input_shape" without the batch axis'
            )
        return np.array([BATCH, *shape], dtype=object)

    def _constant(self, node: onnx.NodeProto) -> np.ndarray[Any, Any]:
        """Read a Constant node."""
        item = node.attribute[0]
        value = onnx.helper.get_attribute_value(item)
        if item.name == "value":
            return self._array(value)
        if item.name in {"value_float", "value_floats", "value_int", "value_ints"}:
            return np.asarray(value)
        where = f'node "{node.name or node.output[0]}" (Constant)'
        raise ConversionError(refusal(where, f"stores a {item.name}"))

    def _array(self, tensor: onnx.TensorProto) -> np.ndarray[Any, Any]:
        """Read a stored tensor."""
        try:
            array = numpy_helper.to_array(tensor)
        except Exception as error:  # onnx raises many kinds for damaged data
            raise ConversionError(
                f'"{tensor.name}" of {self.label} cannot be read: {error}'
            ) from error
        if array.dtype.kind == "c":
            raise TypeError(f'"{tensor.name}" has dtype {array.dtype}; real weights are needed')
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        if kind in {"FLOAT16", "BFLOAT16"} or kind.startswith("FLOAT8"):
            self.short.add(kind.lower())
            return array.astype(np.float64)
        return array


def _needed(graph: onnx.GraphProto) -> set[str]:
    """Give the names that the output depends on."""
    needed = {output.name for output in graph.output}
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            needed.update(node.input)
    return needed


def _declared_shape(entry: onnx.ValueInfoProto, label: str) -> tuple[int | None, ...] | None:
    """Give the input's shape, None for a size that is not fixed; or None if it has none.

    Raises:
        ConversionError: If there is no room for a batch axis.
    """
    if not entry.type.tensor_type.HasField("shape"):
        return None
    sizes = entry.type.tensor_type.shape.dim
    if len(sizes) < 2:
        raise ConversionError(
            f'the input "{entry.name}" of {label} has {len(sizes)} axes; it needs two or more, '
            "the batch axis first"
        )
    return tuple(size.dim_value if size.dim_value > 0 else None for size in sizes)


def _agreed_shape(
    declared: Iterable[int | None] | None, given: tuple[int, ...] | None, name: str
) -> tuple[int, ...] | None:
    """Combine the shape in the file with the one that was given.

    Raises:
        ShapeError: If they contradict.
    """
    if declared is None:
        return given
    _, *stored = declared
    if given is None:
        known = tuple(size for size in stored if size is not None)
        return known if len(known) == len(stored) else None
    if len(stored) != len(given) or any(
        s not in {None, g} for s, g in zip(stored, given, strict=True)
    ):
        raise ShapeError(
            f'"input_shape" was {given!r}, but the file declares {tuple(stored)!r} for its input '
            f'"{name}"; leave "input_shape" out or give that'
        )
    return given
