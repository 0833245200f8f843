"""The door from ONNX: a graph of piecewise-linear operators becomes a LayerChain.

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
from byways.networks._builder import ChainBuilder
from byways.networks._onnx_constants import FOLDED, fold
from byways.networks._onnx_joins import JOINS
from byways.networks._onnx_steps import OPERATORS, Call, refusal
from byways.networks._refusals import refused_by_name
from byways.networks._shapes import BATCH
from byways.networks._short_numbers import warn_of_short_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from byways.core.smooth import SmoothChain
    from byways.networks._values import Value

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


def from_onnx(
    source: Any, input_shape: tuple[int, ...] | None, smooth: bool = False
) -> SmoothChain:
    """Convert an ONNX file, its bytes, or a ModelProto.

    Tanh and Sigmoid are taken only if ``smooth``.

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
        walk = _Walk(model, label, inputs[0], input_shape, smooth)
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
    """Goes through the nodes of a graph and feeds them to a builder.

    A name in ``values`` stands for a constant (an array) or a computed shape (an array of objects
    that may hold BATCH), one in ``flows`` for a value of the network.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        label: str,
        entry: onnx.ValueInfoProto,
        input_shape: tuple[int, ...] | None,
        smooth: bool,
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
        self.builder = ChainBuilder(_agreed_shape(declared, input_shape, entry.name), smooth)
        self.flows: dict[str, Value] = {entry.name: self.builder.value}
        self.values = {tensor.name: self._array(tensor) for tensor in self.graph.initializer}

    def run(self) -> None:
        """Go through the nodes that the output depends on.

        Raises:
            ConversionError: If the output is not the end of the chain.
        """
        needed = _needed(self.graph)
        nodes = [node for node in self.graph.node if not needed.isdisjoint(node.output)]
        last = {name: i for i, node in enumerate(nodes) for name in node.input}
        last[self.graph.output[0].name] = len(nodes)
        for i, node in enumerate(nodes):
            if node.op_type == "Constant" and not node.domain:
                self.values[node.output[0]] = self._constant(node)
            else:
                held = [flow for name, flow in self.flows.items() if last.get(name, 0) > i]
                self._step(node, held)
        end = self.flows.get(self.graph.output[0].name)
        if end is None:
            raise ConversionError(
                f"the output {self.graph.output[0].name!r} of {self.label} is a constant"
            )
        self.builder.resume(end, ())

    def _step(self, node: onnx.NodeProto, held: list[Value]) -> None:
        """Take one node; the values ``held`` are needed after it."""
        where = f'node "{node.name or node.output[0]}" ({node.op_type})'
        if node.domain not in {"", "ai.onnx"}:
            raise ConversionError(refusal(f"{where} of the domain {node.domain!r}"))
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        flows = [self.flows.get(name) for name in node.input]
        arrays = [self.values.get(name) for name in node.input]
        given = [flow for flow in flows if flow is not None]
        if not given and node.op_type in FOLDED:
            self.values[node.output[0]] = fold(node.op_type, attributes, arrays, where)
            return
        if node.op_type == "Shape" and given and not attributes:
            self.values[node.output[0]] = self._shape(given[0], where)
            return
        if self.builder.smooth and node.op_type in _SMOOTH and len(given) == 1:
            step = _SMOOTH[node.op_type]
        else:
            step = _operator(node.op_type, len(given), where)
        self.builder.resume(given[0], held)
        position = next(i for i, flow in enumerate(flows) if flow is not None)
        call = Call(
            builder=self.builder,
            where=where,
            opset=self.opset,
            batch=self.batch,
            attributes=attributes,
            arrays=arrays,
            position=position,
            names=node.input,
            flows=flows,
            outputs=len(node.output),
        )
        try:
            with self.builder.step(where):
                several = step(call)
        except _MALFORMED as error:
            raise ConversionError(refusal(where, f"is malformed ({error!r})")) from error
        self.flows.update(zip(node.output, several or [self.builder.value], strict=False))

    def _shape(self, flow: Value, where: str) -> np.ndarray[Any, Any]:
        """Answer Shape: the batch's size is BATCH."""
        shape = flow.shape
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


# Taken by passes that ask for no pieces.
_SMOOTH: dict[str, Callable[[Call], Any]] = {
    "Sigmoid": lambda call: call.builder.activate_smooth("sigmoid"),
    "Tanh": lambda call: call.builder.activate_smooth("tanh"),
}


def _operator(kind: str, values: int, where: str) -> Callable[[Call], Any]:
    """Find what an operator on so many values of the network means.

    Raises:
        ConversionError: If it is not supported.
    """
    known = refused_by_name(kind)
    if known is not None:
        raise ConversionError(f"{where} {known[0]}. {known[1]}")
    if values and kind in JOINS and (values > 1 or kind not in OPERATORS):
        return JOINS[kind]
    if values > 1:
        raise ConversionError(
            refusal(
                where,
                "joins values of the network otherwise than by a sum, a concatenation or a maximum",
            )
        )
    if values == 0 or kind not in OPERATORS:
        raise ConversionError(refusal(where))
    return OPERATORS[kind]


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
