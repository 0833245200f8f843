"""What the ONNX door refuses, and with which words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from byways.core.errors import ConversionError, DomainError, ShapeError
from byways.networks import as_chain

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LISTED = "Supported operators: Abs, Add, AveragePool, .*Gemm, .*Unsqueeze"
EYE = np.eye(4, dtype=np.float32)


def model(
    nodes: list[onnx.NodeProto],
    shape: tuple[Any, ...] = (4,),
    opset: int = 17,
    **constants: NDArray[Any],
) -> onnx.ModelProto:
    """Build a model from ``x`` to ``y`` with a free batch axis."""
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(kind: str, *inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, [*inputs], [output], name=f"the_{kind}", **attributes)


def numbers(*values: float) -> NDArray[Any]:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize("kind", ["TopK", "ConvTranspose", "Resize", "CumSum"])
def test_unknown_operator_is_named(kind: str) -> None:
    with pytest.raises(ConversionError, match=rf'node "the_{kind}" \({kind}\) is not .*{LISTED}'):
        as_chain(model([node("Relu", "x", output="h"), node(kind, "h")]))


BY_NAME = {
    **dict.fromkeys(["Tanh", "Sigmoid", "Softmax", "Erf", "Gelu", "Elu", "Softplus"], "is smooth"),
    "HardSwish": "is piecewise quadratic",
    **dict.fromkeys(["Floor", "Sign"], "jumps, so that it is not continuous"),
    **dict.fromkeys(["LSTM", "GRU", "RNN"], "is recurrent"),
    **dict.fromkeys(["LayerNormalization", "InstanceNormalization", "LRN"], "divides by a norm"),
    "Attention": "multiplies values of the network with each other",
}


@pytest.mark.parametrize("kind", BY_NAME)
def test_what_no_chain_can_do_is_refused_with_alternatives(kind: str) -> None:
    message = rf'node "the_{kind}" \({kind}\) {BY_NAME[kind]}.*byways.parallel'
    with pytest.raises(ConversionError, match=message):
        as_chain(model([node("Relu", "x", output="h"), node(kind, "h")]))


def test_node_without_a_name_is_named_by_its_output() -> None:
    with pytest.raises(ConversionError, match=r'node "y" \(Tanh\)'):
        as_chain(model([helper.make_node("Tanh", ["x"], ["y"])]))


def test_operator_of_another_domain_is_refused() -> None:
    fused = helper.make_node("FusedGemm", ["x", "w"], ["y"], domain="com.microsoft")
    with pytest.raises(ConversionError, match=r"of the domain 'com.microsoft'"):
        as_chain(model([fused], w=EYE))


def test_product_of_two_values_is_refused() -> None:
    nodes = [node("Relu", "x", output="h"), node("Mul", "h", "x")]
    with pytest.raises(ConversionError, match=r'"the_Mul" \(Mul\) joins values .* by a sum'):
        as_chain(model(nodes))


@pytest.mark.parametrize(("kind", "message"), [
    ("Concat", "joins along the batch axis"), ("Split", "cuts the batch axis"),
])  # fmt: skip
def test_the_batch_stays_whole(kind: str, message: str) -> None:
    inputs = ("h", "x") if kind == "Concat" else ("h",)
    nodes = [node("Relu", "x", output="h"), node(kind, *inputs, axis=0)]
    with pytest.raises((ConversionError, ShapeError), match=rf'"the_{kind}".*{message}'):
        as_chain(model(nodes))


def test_sum_with_a_constant_is_refused() -> None:
    nodes = [node("Relu", "x", output="h"), node("Sum", "h", "c")]
    with pytest.raises(ConversionError, match=r'"the_Sum" \(Sum\) joins values .* with a constant'):
        as_chain(model(nodes, c=EYE[:1]))


# operator, shape of x, attributes, constants after x, message
SETTINGS: dict[str, tuple[str, tuple[int, ...], dict[str, Any], list[Any], str]] = {
    "Gemm transA": ("Gemm", (4,), {"transA": 1}, [EYE], "has transA=1, which mixes the batch"),
    "Gemm C": ("Gemm", (4,), {}, [EYE, np.ones((2, 4))], r"has a C of shape \(2, 4\)"),
    "MatMul vector": ("MatMul", (4,), {}, [EYE[0]], r"has a B of shape \(4,\)"),
    "Add of another size": ("Add", (4,), {}, [np.ones((3, 4))], "does not broadcast"),
    "Div by zero": ("Div", (4,), {}, [numbers(1, 0, 1, 1)], "divides by .* or by zero"),
    "Conv auto_pad": (
        "Conv",
        (1, 4),
        {"auto_pad": "SAME"},
        [np.ones((1, 1, 2))],
        "has auto_pad='SAME'",
    ),
    "Conv negative pads": ("Conv", (1, 4), {"pads": [-1, 0]}, [np.ones((1, 1, 2))], "pads="),
    "Conv of another size": ("Conv", (2, 4), {}, [np.ones((1, 1, 2))], "does not fit its input"),
    "AveragePool dilations": (
        "AveragePool",
        (1, 4),
        {"kernel_shape": [2], "dilations": [2]},
        [],
        r"has dilations=\[2\]",
    ),
    "AveragePool too large": (
        "AveragePool",
        (1, 4),
        {"kernel_shape": [5]},
        [],
        ": a pooling window of 5 is larger than its input of 4",
    ),
    "Clip upside down": (
        "Clip",
        (4,),
        {},
        [numbers(2), numbers(1)],
        'is not a continuous piecewise-linear function .*"low" must be below "high"',
    ),
    "Clip by many": ("Clip", (4,), {}, [numbers(1, 2)], "compares with 2 numbers"),
    "HardSigmoid falling": ("HardSigmoid", (4,), {"alpha": -1.0}, [], "has alpha=-1.0"),
    "PRelu of another size": ("PRelu", (4,), {}, [numbers(1, 2)], r"has slopes of shape \(2,\)"),
    "MaxPool without a size": ("MaxPool", (1, 4), {}, [], "is malformed .*kernel_shape"),
    "Pad with ones": ("Pad", (4,), {}, [np.array([0, 0, 0, 1]), numbers(1)], "with value 1.0"),
    "Pad the batch": ("Pad", (4,), {}, [np.array([1, 0, 0, 0])], "has pads="),
    "ReduceMax over the batch": ("ReduceMax", (4,), {}, [np.array([0])], "over the batch axis"),
    "ReduceMean of all": ("ReduceMean", (4,), {}, [], "axes=None: it works over the batch axis"),
    "ReduceSum of no axis": (
        "ReduceSum",
        (4,),
        {},
        [np.array([5])],
        r"axes=\(5,\): .*out of range",
    ),
    "BatchNormalization training": (
        "BatchNormalization",
        (4,),
        {"training_mode": 1},
        [numbers(1, 1, 1, 1)] * 4,
        "is in training mode",
    ),
    "Dropout training": (
        "Dropout",
        (4,),
        {},
        [np.float32(0.5), np.bool_(True)],
        "is in training mode, where it is random",
    ),
    "Cast to integer": ("Cast", (4,), {"to": TensorProto.INT64}, [], "rounds to another type"),
    "Cast to half": ("Cast", (4,), {"to": TensorProto.FLOAT16}, [], "rounds to another type"),
    "Flatten 0": ("Flatten", (2, 2), {"axis": 0}, [], "has axis=0, which mixes the batch"),
    "Flatten 2": ("Flatten", (2, 2), {"axis": 2}, [], "has axis=2, which mixes the batch"),
    "Reshape flat": ("Reshape", (2, 2), {}, [np.array([-1])], "keep the batch as its first axis"),
    "Reshape fixed": ("Reshape", (2, 2), {}, [np.array([8, 4])], "keep the batch as its first"),
    "Reshape mixed": ("Reshape", (2, 2), {}, [np.array([-1, 2])], "keep the batch as its first"),
    "Transpose batch": ("Transpose", (4,), {"perm": [1, 0]}, [], r"has perm=\[1, 0\], which"),
    "Unsqueeze batch": ("Unsqueeze", (4,), {}, [np.array([0])], "must come after the batch axis"),
    "Squeeze batch": ("Squeeze", (4,), {}, [np.array([0])], r"axis \(0,\) of a squeeze"),
    "Max of three": ("Max", (4,), {}, [numbers(1), numbers(2)], "does not compare with one"),
    "Min of many": ("Min", (4,), {}, [numbers(1, 2, 3, 4)], "compares with 4 numbers"),
    "AveragePool without a size": ("AveragePool", (1, 4), {}, [], "is malformed .*kernel_shape"),
    "AveragePool without a step": (
        "AveragePool",
        (1, 4),
        {"kernel_shape": [2], "strides": [0]},
        [],
        "is malformed .*division by zero",
    ),
    "Conv strides of another kind": (
        "Conv",
        (1, 4),
        {"strides": 2},
        [np.ones((1, 1, 2))],
        "is malformed",
    ),
    "Gemm of three axes": ("Gemm", (4,), {}, [EYE[None]], r"has a B of shape \(1, 4, 4\)"),
    "Gather the batch": ("Gather", (4,), {"axis": 0}, [np.array(0)], "changes the batch axis"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_is_refused_by_name(name: str) -> None:
    kind, shape, attributes, arrays, message = SETTINGS[name]
    constants = {f"c{i}": np.asarray(array) for i, array in enumerate(arrays)}
    last = node(kind, "h", *constants, **attributes)
    given = model([node("Relu", "x", output="h"), last], shape, **constants)
    with pytest.raises((ConversionError, ShapeError), match=rf'"the_{kind}" \({kind}\).*{message}'):
        as_chain(given)


@pytest.mark.parametrize(
    ("kind", "message"), [("MatMul", "has no constant B"), ("Gemm", "has no"), ("Div", "divides")]
)
def test_constant_on_the_wrong_side(kind: str, message: str) -> None:
    with pytest.raises(ConversionError, match=rf"\({kind}\) {message}"):
        as_chain(model([node(kind, "c", "x")], c=EYE))


def test_graph_that_is_no_chain() -> None:
    relu = node("Relu", "x")
    two = model([relu])
    two.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4]))
    with pytest.raises(ConversionError, match=r"has the inputs \['x', 'z'\]; a chain has exactly"):
        as_chain(two)
    outputs = model([relu, node("Relu", "y", output="z")])
    outputs.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4]))
    with pytest.raises(ConversionError, match="2 nodes and 2 outputs"):
        as_chain(outputs)
    constant = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(EYE))
    with pytest.raises(ConversionError, match=r"the output 'y' .* is a constant"):
        as_chain(model([constant]))
    flat = model([relu])
    del flat.graph.input[0].type.tensor_type.shape.dim[1:]
    with pytest.raises(ConversionError, match='input "x" of the ONNX model has 1 axes'):
        as_chain(flat)


def test_graph_that_only_keeps_books_has_no_layer() -> None:
    with pytest.raises(ValueError, match="no layer"):
        as_chain(model([node("Identity", "x")]))


@pytest.mark.parametrize("data", [b"nonsense", b"\x08", b"", b"\x00" * 64])
def test_damaged_bytes_and_files_are_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(data)
    with pytest.raises(ConversionError, match=r"the ONNX file '.*bad\.onnx'"):
        as_chain(tmp_path / "bad.onnx")
    with pytest.raises(ConversionError, match="the ONNX bytes"):
        as_chain(data)


def test_cut_file_is_named(tmp_path: Path) -> None:
    data = model([node("Gemm", "x", "w")], w=EYE).SerializeToString()
    (tmp_path / "cut.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(ConversionError, match=r"cut\.onnx' cannot be read"):
        as_chain(tmp_path / "cut.onnx")


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    given = model([node("Gemm", "x", "w")], w=EYE)
    onnx.save(given, path, save_as_external_data=True, location="net.data", size_threshold=0)
    data = path.read_bytes()
    (tmp_path / "net.data").unlink()
    with pytest.raises(ConversionError, match=r"net\.onnx' cannot be read"):
        as_chain(path)
    with pytest.raises(ConversionError, match='"w" of the ONNX bytes cannot be read'):
        as_chain(data)


def test_numbers_that_are_not_finite_name_node_and_input() -> None:
    bad = EYE.copy()
    bad[1, 2] = np.nan
    with pytest.raises(DomainError, match=r'B of node "the_Gemm" \(Gemm\)" has 1 .*\(1, 2\)'):
        as_chain(model([node("Gemm", "x", "w")], w=bad))


def test_complex_weights_are_a_type_error() -> None:
    with pytest.raises(TypeError, match='"w" has dtype complex64; real weights are needed'):
        as_chain(model([node("Gemm", "x", "w")], w=EYE.astype(np.complex64)))


def test_half_precision_warns_at_the_caller() -> None:
    half = numbers(0.1, 0.2, 0.3, 0.4).astype(np.float16)
    with pytest.warns(UserWarning, match="type float16; the chain, and so its regions") as caught:
        chain = as_chain(model([node("Add", "x", "c")], c=half))
    assert caught[0].filename == __file__
    assert chain.layers[0].bias.tolist() == half.astype(np.float64).tolist()


def test_constants_that_do_not_fit_name_the_node() -> None:
    nodes = [node("Gather", "w", "i", output="g"), node("Add", "x", "g")]
    with pytest.raises(ConversionError, match=r'"the_Gather" \(Gather\) cannot be evaluated'):
        as_chain(model(nodes, w=EYE, i=np.array(9)))


def test_weights_that_do_not_fit_name_the_node() -> None:
    with pytest.raises(ShapeError, match=r'"the_MatMul" \(MatMul\) takes 4 inputs .* \(3,\)'):
        as_chain(model([node("MatMul", "x", "w")], (3,), w=EYE))
