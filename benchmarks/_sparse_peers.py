"""Other libraries' ways to run a stack of sparse layers, one thread each."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from byways.core import PiecewiseLinear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference import EdgeGraph

    Floats = NDArray[np.float32]

__all__ = [
    "Layers",
    "MklCsr",
    "OnnxDense",
    "ScipyCsr",
    "TorchCsr",
    "TorchDense",
    "mkl_library",
]


@dataclass(frozen=True)
class Layers:
    """A layered graph as matrices ``(outputs, inputs)``; each layer is clipped to its limits."""

    weights: list[sparse.csr_array]
    biases: list[Floats]
    limits: list[tuple[float, float]]

    @classmethod
    def of(cls, graph: EdgeGraph) -> Layers:
        """Take a graph apart by levels."""
        weights, biases, limits = [], [], []
        place = np.zeros(graph.vertices, dtype=np.int64)
        sizes = []
        for level in range(graph.levels + 1):
            here = np.flatnonzero(graph.level == level)
            if level == 0:
                here = graph.inputs
            elif level == graph.levels:
                here = graph.outputs
            place[here] = np.arange(len(here))
            sizes.append(len(here))
            if level:
                mine = graph.level[graph.targets] == level
                ends = place[graph.targets[mine]], place[graph.sources[mine]]
                shape = (sizes[level], sizes[level - 1])
                values = graph.weights[mine].astype(np.float32)
                weights.append(sparse.csr_array((values, ends), shape=shape))
                biases.append(graph.bias[here].astype(np.float32))
                act = graph.activations[graph.activation[here[0]]]
                assert isinstance(act, PiecewiseLinear)
                low, high = act([-1e30, 1e30])
                limits.append((-np.inf if low < -1e20 else low, np.inf if high > 1e20 else high))
        return cls(weights, biases, limits)


class ScipyCsr:
    """SciPy: a CSR matrix times the transposed batch."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers

    def __call__(self, x: Floats) -> Floats:
        values = np.ascontiguousarray(x.T)
        for weight, bias, (low, high) in zip(
            self._layers.weights, self._layers.biases, self._layers.limits, strict=True
        ):
            values = weight @ values
            values += bias[:, None]
            if np.isfinite(low) or np.isfinite(high):
                np.clip(values, low, high, out=values)
        return values.T


class MklCsr:
    """Intel's MKL through sparse_dot_mkl: a CSR matrix times the transposed batch."""

    def __init__(self, layers: Layers) -> None:
        os.environ.setdefault("MKL_RT", mkl_library())
        from sparse_dot_mkl import dot_product_mkl, mkl_set_num_threads

        mkl_set_num_threads(1)
        self._product = dot_product_mkl
        self._layers = layers
        self._weights = [sparse.csr_matrix(weight) for weight in layers.weights]

    def __call__(self, x: Floats) -> Floats:
        values = np.ascontiguousarray(x.T)
        for weight, bias, (low, high) in zip(
            self._weights, self._layers.biases, self._layers.limits, strict=True
        ):
            values = self._product(weight, values)
            values += bias[:, None]
            if np.isfinite(low) or np.isfinite(high):
                np.clip(values, low, high, out=values)
        result: Floats = values.T
        return result


def mkl_library() -> str:
    """Give the path of the library in the package ``mkl``, unknown to loaders; empty if absent."""
    try:
        files = metadata.files("mkl") or []
    except metadata.PackageNotFoundError:
        return ""
    found = [str(file.locate()) for file in files if file.name.startswith("libmkl_rt.so")]
    return found[0] if found else ""


class _Torch:
    def __init__(self, layers: Layers) -> None:
        import torch

        torch.set_num_threads(1)
        self._torch = torch
        self._limits = layers.limits
        self._biases = [torch.from_numpy(bias)[:, None] for bias in layers.biases]
        self._weights = [self._tensor(weight) for weight in layers.weights]

    def _tensor(self, weight: sparse.csr_array) -> Any:
        raise NotImplementedError

    def __call__(self, x: Floats) -> Floats:
        with self._torch.inference_mode():
            values = self._torch.from_numpy(x).T.contiguous()
            for weight, bias, (low, high) in zip(
                self._weights, self._biases, self._limits, strict=True
            ):
                values = weight @ values + bias
                if np.isfinite(low) or np.isfinite(high):
                    values = values.clamp_(low, high)
            result: Floats = values.T.numpy()
            return result


class TorchCsr(_Torch):
    """PyTorch: sparse CSR tensors."""

    def _tensor(self, weight: sparse.csr_array) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that CSR is in beta
            return self._torch.sparse_csr_tensor(
                self._torch.from_numpy(weight.indptr), self._torch.from_numpy(weight.indices),
                self._torch.from_numpy(weight.data), weight.shape,
            )  # fmt: skip


class TorchDense(_Torch):
    """PyTorch: dense matrices with the zeros in them."""

    def _tensor(self, weight: sparse.csr_array) -> Any:
        return self._torch.from_numpy(weight.toarray())


class OnnxDense:
    """onnxruntime: the dense network as one graph."""

    def __init__(self, layers: Layers) -> None:
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        nodes, constants, name = [], [], "x"
        for k, (weight, bias, (low, high)) in enumerate(
            zip(layers.weights, layers.biases, layers.limits, strict=True)
        ):
            given = {"w": weight.toarray(), "b": bias}
            given |= {key: np.float32(value) for key, value in (("lo", low), ("hi", high))}
            constants += [
                numpy_helper.from_array(np.asarray(a), f"{key}{k}") for key, a in given.items()
            ]
            nodes.append(helper.make_node("Gemm", [name, f"w{k}", f"b{k}"], [f"z{k}"], transB=1))
            name = f"z{k}"
            if np.isfinite(low) or np.isfinite(high):
                nodes.append(helper.make_node("Clip", [name, f"lo{k}", f"hi{k}"], [f"h{k}"]))
                name = f"h{k}"
        sizes = layers.weights[0].shape[1], layers.weights[-1].shape[0]
        ends = [
            helper.make_tensor_value_info(label, TensorProto.FLOAT, ["batch", size])
            for label, size in (("x", sizes[0]), (name, sizes[1]))
        ]
        graph = helper.make_graph(nodes, "stack", ends[:1], ends[1:], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = min(onnx.IR_VERSION, 10)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, x: Floats) -> Floats:
        result: Floats = self._session.run(None, {"x": x})[0]
        return result
