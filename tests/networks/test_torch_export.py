"""A chain from torch and one from its ONNX export are the same chain."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from byways.core import LayerChain
from byways.networks import as_chain


class Viewed(nn.Module):
    """A net that flattens by the size of its input, as many forwards do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.head = nn.Linear(36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x))
        return self.head(x.view(x.size(0), -1))


def export(module: nn.Module, shape: tuple[int, ...], *, dynamo: bool, free: bool) -> bytes:
    """Write a module as ONNX, with a free or fixed batch axis."""
    stream = io.BytesIO()
    points = torch.zeros(2, *shape, dtype=next(module.parameters()).dtype)
    options: dict[str, Any] = {"dynamo": dynamo, "input_names": ["x"]}
    if free:
        axes = {0: torch.export.Dim("batch")} if dynamo else {0: "batch"}
        options |= {"dynamic_shapes": (axes,)} if dynamo else {"dynamic_axes": {"x": axes}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        if dynamo:
            torch.onnx.export(module, (points,), verbose=False, **options).save(stream)
        else:
            torch.onnx.export(module, (points,), stream, **options)
    return stream.getvalue()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(3, 4, (2, 3), stride=(1, 2), dilation=(1, 1), bias=False),
        nn.Hardtanh(-1.0, 2.0),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8, 3),
    )


NETS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "mlp": (mlp, (5,)),
    "conv": (conv, (2, 6, 6)),
    "view": (Viewed, (2, 6, 6)),
}


@pytest.mark.parametrize("free", [True, False], ids=["free batch", "fixed batch"])
@pytest.mark.parametrize(
    "dynamo", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["traced", "exported"]
)
@pytest.mark.parametrize("name", NETS)
def test_export_has_the_same_digest(name: str, dynamo: bool, free: bool) -> None:
    make, shape = NETS[name]
    torch.manual_seed(3)
    module = make().eval()
    chain = as_chain(module, shape)
    other = as_chain(export(module, shape, dynamo=dynamo, free=free))
    assert other.digest() == chain.digest()
    points = np.random.default_rng(0).standard_normal((16, chain.input_size))
    assert np.array_equal(other(points), chain(points))


def test_double_export_equals_onnxruntime_tightly() -> None:
    torch.manual_seed(4)
    module = mlp().double().eval()
    data = export(module, (5,), dynamo=False, free=True)
    points = np.random.default_rng(0).standard_normal((16, 5))
    expected = onnxruntime.InferenceSession(data).run(None, {"x": points})[0]
    np.testing.assert_allclose(as_chain(data)(points), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU6(), nn.LeakyReLU(0.25), nn.Hardsigmoid(), nn.PReLU(init=0.5), nn.Hardtanh()],
    ids=lambda module: type(module).__name__,
)
def test_exported_activation_equals_the_module(activation: nn.Module) -> None:
    torch.manual_seed(5)
    module = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), activation, nn.Linear(6, 2)).eval()
    chain: LayerChain = as_chain(module)
    other = as_chain(export(module, (3,), dynamo=False, free=True))
    points = np.random.default_rng(0).standard_normal((64, 3)) * 3
    # The exporter folds the normalisation in single precision.
    np.testing.assert_allclose(other(points), chain(points), rtol=1e-5, atol=1e-5)
    assert other.widths == chain.widths
