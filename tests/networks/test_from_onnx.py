"""The ONNX door against onnxruntime, operator by operator and on whole graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from byways.core import ConvMap, LayerChain
from byways.networks import as_chain

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FLOAT32 = 3e-5  # onnxruntime computes in single precision; relative to the largest value
FLOAT64 = 1e-12

_RNG = np.random.default_rng(0)


def normal(*shape: int) -> NDArray[Any]:
    """Draw float32 numbers."""
    return _RNG.standard_normal(shape).astype(np.float32)


def model(
    nodes: list[onnx.NodeProto],
    shape: tuple[Any, ...],
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
    **constants: NDArray[Any],
) -> onnx.ModelProto:
    """Build a model from ``x`` to ``y`` with a free batch axis."""
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", dtype, ["batch", *shape])],
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(kind: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    """Build the last node of a model, which gives ``y``."""
    return helper.make_node(kind, [*inputs], ["y"], name=f"the_{kind}", **attributes)


def check(
    given: onnx.ModelProto, shape: tuple[int, ...], tolerance: float = FLOAT32, **options: Any
) -> LayerChain:
    """Convert and compare with onnxruntime."""
    data = given.SerializeToString()
    chain = as_chain(data, **options)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    kind = np.float64 if "double" in session.get_inputs()[0].type else np.float32
    points = np.random.default_rng(5).uniform(-3.0, 3.0, (16, *shape)).astype(kind)
    expected = session.run(None, {"x": points})[0].reshape(16, -1)
    actual = chain(points.reshape(16, -1).astype(np.float64))
    assert actual.shape == expected.shape
    assert np.ptp(actual) > 0
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    return chain


W, B = normal(4, 3), normal(3)
Operator = tuple[str, tuple[int, ...], dict[str, Any], dict[str, Any]]

# operator, shape of x, attributes, constants after x
OPERATORS: dict[str, Operator] = {
    "Gemm": ("Gemm", (4,), {}, {"w": W, "b": B}),
    "Gemm transB": ("Gemm", (4,), {"transB": 1}, {"w": W.T.copy(), "b": B}),
    "Gemm alpha beta": ("Gemm", (4,), {"alpha": 0.5, "beta": -2.0}, {"w": W, "b": B[None]}),
    "Gemm scalar C": ("Gemm", (4,), {"beta": 0.5}, {"w": W, "b": normal(1)}),
    "Gemm without C": ("Gemm", (4,), {}, {"w": W}),
    "MatMul": ("MatMul", (4,), {}, {"w": W}),
    "MatMul on two axes": ("MatMul", (2, 4), {}, {"w": W}),
    "Add": ("Add", (3,), {}, {"c": B}),
    "Add with a batch axis": ("Add", (2, 3), {}, {"c": B[None, None]}),
    "Sub": ("Sub", (3,), {}, {"c": B}),
    "Mul": ("Mul", (2, 3), {}, {"c": normal(2, 1)}),
    "Div": ("Div", (3,), {}, {"c": B}),
    "Conv 1-D": ("Conv", (2, 7), {"strides": [2], "pads": [1, 1]}, {"w": normal(3, 2, 3)}),
    "Conv 2-D": ("Conv", (2, 5, 6), {}, {"w": normal(3, 2, 3, 2), "b": B}),
    "Conv 2-D all": (
        "Conv",
        (4, 7, 6),
        {"strides": [2, 1], "pads": [1, 2, 1, 2], "dilations": [1, 2], "group": 2},
        {"w": normal(6, 2, 3, 2), "b": normal(6)},
    ),
    "Conv uneven pads": (
        "Conv",
        (1, 4, 5),
        {"pads": [0, 1, 2, 3], "kernel_shape": [2, 2]},
        {"w": normal(2, 1, 2, 2)},
    ),
    "Conv SAME_UPPER": (
        "Conv",
        (1, 6, 5),
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"w": normal(2, 1, 3, 4)},
    ),
    "Conv SAME_LOWER": ("Conv", (1, 6), {"auto_pad": "SAME_LOWER"}, {"w": normal(2, 1, 4)}),
    "Conv VALID": ("Conv", (1, 6), {"auto_pad": "VALID"}, {"w": normal(2, 1, 4)}),
    "Relu": ("Relu", (5,), {}, {}),
    "LeakyRelu": ("LeakyRelu", (5,), {"alpha": 0.25}, {}),
    "LeakyRelu default": ("LeakyRelu", (5,), {}, {}),
    "PRelu": ("PRelu", (5,), {}, {"s": np.full(5, 0.25, np.float32)}),
    "Abs": ("Abs", (5,), {}, {}),
    "HardSigmoid": ("HardSigmoid", (5,), {}, {}),
    "HardSigmoid of one's own": ("HardSigmoid", (5,), {"alpha": 0.75, "beta": 0.25}, {}),
    "Clip": ("Clip", (5,), {}, {"lo": np.float32(-1), "hi": np.float32(2)}),
    "Clip below": ("Clip", (5,), {}, {"lo": np.float32(0.5)}),
    "Clip of infinite sides": ("Clip", (5,), {}, {"lo": np.float32(-np.inf), "hi": np.float32(1)}),
    "Max": ("Max", (5,), {}, {"c": np.float32(0.5)}),
    "Min": ("Min", (5,), {}, {"c": np.array([0.5], np.float32)}),
    "BatchNormalization": (
        "BatchNormalization",
        (3, 4),
        {"epsilon": 0.125},
        {"s": normal(3), "b": B, "m": normal(3), "v": np.abs(normal(3))},
    ),
    "AveragePool 1-D": ("AveragePool", (2, 7), {"kernel_shape": [3]}, {}),
    "AveragePool 2-D": (
        "AveragePool",
        (2, 7, 6),
        {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]},
        {},
    ),
    "AveragePool count_include_pad": (
        "AveragePool",
        (2, 7, 6),
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "count_include_pad": 1},
        {},
    ),
    "AveragePool ceil_mode": (
        "AveragePool",
        (1, 6, 6),
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        {},
    ),
    "AveragePool SAME_UPPER": (
        "AveragePool",
        (1, 6, 5),
        {"kernel_shape": [2, 3], "strides": [1, 2], "auto_pad": "SAME_UPPER"},
        {},
    ),
    "GlobalAveragePool": ("GlobalAveragePool", (2, 3, 4), {}, {}),
    "ReduceMean": ("ReduceMean", (2, 3, 4), {"axes": [3, -2], "keepdims": 0}, {}),
    "ReduceSum": ("ReduceSum", (2, 3, 4), {}, {"a": np.array([2])}),
    "ReduceSum of nothing": ("ReduceSum", (2, 3), {"noop_with_empty_axes": 1}, {}),
    "ReduceMax": ("ReduceMax", (2, 3), {"axes": [-1], "keepdims": 1}, {}),
    "Neg": ("Neg", (3,), {}, {}),
    "Flatten": ("Flatten", (2, 3), {}, {}),
    "Flatten -2": ("Flatten", (2, 3), {"axis": -2}, {}),
    "Reshape 0 -1": ("Reshape", (2, 3), {}, {"s": np.array([0, -1])}),
    "Reshape -1 n": ("Reshape", (2, 3), {}, {"s": np.array([-1, 3, 2])}),
    "Reshape 0 0": ("Reshape", (2, 3), {}, {"s": np.array([0, 0, 3, 1])}),
    "Transpose of size 1": ("Transpose", (1, 3), {"perm": [0, 2, 1]}, {}),
    "Squeeze": ("Squeeze", (1, 3, 1), {}, {"a": np.array([1, -1])}),
    "Unsqueeze": ("Unsqueeze", (3,), {}, {"a": np.array([1, -1])}),
    "Identity": ("Identity", (3,), {}, {}),
    "Cast": ("Cast", (3,), {"to": TensorProto.FLOAT}, {}),
    "Dropout": ("Dropout", (3,), {}, {}),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_equals_onnxruntime(name: str) -> None:
    kind, shape, attributes, constants = OPERATORS[name]
    # Operators that only keep books get a Relu before them, or there would be no layer.
    before = helper.make_node("LeakyRelu", ["x"], ["h"], alpha=0.5)
    last = node(kind, "h", *constants, **attributes)
    check(model([before, last], shape, **constants), shape)


def test_conv_with_equal_padding_stays_a_convolution() -> None:
    kind, shape, attributes, constants = OPERATORS["Conv 2-D all"]
    chain = check(model([node(kind, "x", *constants, **attributes)], shape, **constants), shape)
    assert isinstance(chain.layers[0].map, ConvMap)


@pytest.mark.parametrize(("kind", "expected"), [("Sub", [3.0, 1.0]), ("Add", [3.0, 5.0])])
def test_constant_may_come_first(kind: str, expected: list[float]) -> None:
    chain = as_chain(model([node(kind, "c", "x")], (1,), c=np.array([3.0], np.float32)))
    assert chain([[0.0], [2.0]]).ravel().tolist() == expected


def test_clip_of_opset_6_has_attributes() -> None:
    chain = check(model([node("Clip", "x", min=-1.0, max=0.5)], (4,), opset=6), (4,))
    assert chain.layers[0].activation.breakpoints == (-1.0, 0.5)
    clip = node("Clip", "h", min=0.0)
    relu = as_chain(model([helper.make_node("Abs", ["x"], ["h"]), clip], (4,), opset=6))
    assert relu.layers[1].activation.name == "relu"


def test_squeeze_of_opset_11_has_attributes() -> None:
    first = helper.make_node("Relu", ["x"], ["h"])
    check(model([first, node("Squeeze", "h", axes=[1])], (1, 3), opset=11), (1, 3))
    check(model([first, node("Unsqueeze", "h", axes=[1, 3])], (3,), opset=11), (3,))


def mlp(dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """Build 4-3-2 as MatMul, Add, Relu, Gemm."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["b", "a"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        node("Gemm", "d", "v", transB=1),
    ]
    constants = {"w": W.astype(kind), "b": B.astype(kind), "v": W[:2, :3].astype(kind)}
    return model(nodes, (4,), dtype=dtype, **constants)


def test_double_model_equals_onnxruntime_tightly() -> None:
    chain = check(mlp(TensorProto.DOUBLE), (4,), FLOAT64)
    assert chain.widths == (4, 3, 2)
    assert np.array_equal(chain.layers[0].map.to_dense(), W.T)
    assert np.array_equal(chain.layers[0].bias, B)


def test_path_bytes_and_model_give_one_chain(tmp_path: Path) -> None:
    given = mlp()
    data = given.SerializeToString()
    paths = tmp_path / "net.onnx", tmp_path / "net.bin"
    for path in paths:
        path.write_bytes(data)
    sources = [given, data, bytearray(data), memoryview(data), *paths, str(paths[0])]
    arrays = [(W.T, B), (W[:2, :3], np.zeros(2))]
    assert {as_chain(source).digest() for source in sources} == {
        LayerChain.from_arrays(arrays).digest()
    }


def test_external_data_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(mlp(), path, save_as_external_data=True, location="net.data", size_threshold=0)
    assert (tmp_path / "net.data").stat().st_size > 0
    assert as_chain(path).digest() == as_chain(mlp()).digest()


@pytest.mark.parametrize("field", ["float_data", "raw_data", "Constant", "old inputs"])
def test_weights_are_found_wherever_they_are_stored(field: str) -> None:
    given = mlp()
    for i, tensor in enumerate(list(given.graph.initializer)):
        array = numpy_helper.to_array(tensor)
        if field == "float_data":
            flat = helper.make_tensor(tensor.name, TensorProto.FLOAT, array.shape, array.ravel())
            given.graph.initializer[i].CopyFrom(flat)
            assert not given.graph.initializer[i].raw_data
        elif field == "Constant":
            constant = helper.make_node("Constant", [], [tensor.name], value=tensor)
            given.graph.node.insert(0, constant)
        elif field == "old inputs":
            listed = helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, array.shape)
            given.graph.input.append(listed)
    if field == "Constant":
        del given.graph.initializer[:]
    assert as_chain(given).digest() == as_chain(mlp()).digest()


def test_flattening_by_the_shape_of_the_input() -> None:
    """Shape, Gather, Unsqueeze, Concat, Reshape: what ``x.view(x.size(0), -1)`` is exported as."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["u"]),
        helper.make_node("Concat", ["u", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["r", "t"], ["f"]),
        node("Gemm", "f", "w"),
    ]
    constants = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1]), "w": W}
    check(model(nodes, (2, 2), **constants), (2, 2))


def test_flattening_by_a_slice_of_the_shape() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Shape", ["r"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "one"], ["n"]),
        helper.make_node("Cast", ["n"], ["i"], to=TensorProto.INT64),
        helper.make_node("Concat", ["i", "rest"], ["t"], axis=0),
        node("Reshape", "r", "t"),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1]), "rest": np.array([4])}
    check(model(nodes, (2, 2), **constants), (2, 2))


def test_weights_may_be_transposed_by_a_node() -> None:
    turned = helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0])
    chain = check(model([turned, node("MatMul", "x", "wt")], (3,), w=W), (3,))
    assert np.array_equal(chain.layers[0].map.to_dense(), W)


def test_fixed_batch_is_a_batch() -> None:
    given = model([helper.make_node("Relu", ["x"], ["r"]), node("Reshape", "r", "s")], (2, 2))
    given.graph.initializer.append(numpy_helper.from_array(np.array([1, 4]), "s"))
    given.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    assert as_chain(given).widths == (4, 4)


def test_dead_nodes_are_ignored() -> None:
    given = mlp()
    given.graph.node.insert(0, helper.make_node("Softmax", ["x"], ["unused"]))
    assert as_chain(given).digest() == as_chain(mlp()).digest()


def test_input_shape_fills_in_free_sizes() -> None:
    free = model([node("Conv", "x", "w")], (1, "h", "w_"), w=normal(2, 1, 2, 2))
    assert as_chain(free, (1, 3, 4)).widths == (12, 12)
    with pytest.raises(ValueError, match=r'"input_shape" is None.*the_Conv'):
        as_chain(free)
    with pytest.raises(ValueError, match=r'"input_shape" was \(2, 3, 4\).*declares \(1, None'):
        as_chain(free, (2, 3, 4))
