"""Every supported module and function, and random stacks of them, against torch itself."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as nnf

from byways.core import ConvMap, LayerChain
from byways.networks import as_chain

if TYPE_CHECKING:
    from collections.abc import Callable

RTOL = 1e-9  # float64 sums in another order than torch's


def settle(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draw all numbers anew, so that no statistic or bias is 0 or 1; switch to eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            low = 0.5 if name.endswith("running_var") else -1.0
            tensor.data.uniform_(low, 1.5, generator=generator)
    return module.eval()


def check(
    module: nn.Module, shape: tuple[int, ...] | None, input_shape: Any = "same"
) -> LayerChain:
    """Convert and compare at points that the converter does not use."""
    chain = as_chain(module, shape if input_shape == "same" else input_shape)
    size = shape or (chain.input_size,)
    points = np.random.default_rng(7).uniform(-8.0, 8.0, (32, *size))
    with torch.no_grad():
        expected = copy.deepcopy(module).double()(torch.from_numpy(points)).reshape(32, -1).numpy()
    actual = chain(points.reshape(32, -1))
    np.testing.assert_allclose(actual, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())
    assert np.ptp(actual) > 0
    return chain


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 3), (5,)),
    "linear without bias": (lambda: nn.Linear(5, 3, bias=False), (5,)),
    "linear on the last of two axes": (lambda: nn.Linear(3, 2), (4, 3)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 3), (2, 9)),
    "conv1d same, even kernel": (lambda: nn.Conv1d(2, 3, 4, padding="same"), (2, 9)),
    "conv1d stride, dilation": (lambda: nn.Conv1d(2, 3, 3, 2, 2, dilation=2), (2, 9)),
    "conv2d": (lambda: nn.Conv2d(2, 3, 3), (2, 6, 5)),
    "conv2d valid": (lambda: nn.Conv2d(2, 3, 3, padding="valid", bias=False), (2, 6, 5)),
    "conv2d same": (lambda: nn.Conv2d(2, 3, 3, padding="same"), (2, 6, 5)),
    "conv2d same, even kernel": (lambda: nn.Conv2d(1, 2, (2, 4), padding="same"), (1, 6, 5)),
    "conv2d same, dilated": (lambda: nn.Conv2d(1, 2, 2, padding="same", dilation=3), (1, 6, 5)),
    "conv2d all": (
        lambda: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), groups=2),
        (4, 7, 6),
    ),
    "avgpool1d": (lambda: nn.AvgPool1d(3, 2, 1), (2, 8)),
    "avgpool1d ceil": (lambda: nn.AvgPool1d(3, 2, 1, ceil_mode=True), (2, 8)),
    "avgpool2d": (lambda: nn.AvgPool2d(2), (2, 6, 5)),
    "avgpool2d pad": (lambda: nn.AvgPool2d(3, 2, 1), (2, 6, 5)),
    "avgpool2d no pad count": (
        lambda: nn.AvgPool2d((3, 2), (2, 1), (1, 1), count_include_pad=False),
        (2, 6, 5),
    ),
    "avgpool2d ceil": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), (2, 6, 6)),
    "avgpool2d ceil, no pad count": (
        lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        (2, 6, 6),
    ),
    "avgpool2d ceil drops a window": (lambda: nn.AvgPool2d(2, 3, 1, ceil_mode=True), (1, 5, 6)),
    "avgpool2d divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), (2, 6, 5)),
    "adaptive1d": (lambda: nn.AdaptiveAvgPool1d(3), (2, 7)),
    "adaptive2d": (lambda: nn.AdaptiveAvgPool2d((None, 2)), (2, 3, 5)),
    "batchnorm1d": (lambda: nn.BatchNorm1d(4), (4,)),
    "batchnorm1d on an axis": (lambda: nn.BatchNorm1d(4), (4, 3)),
    "batchnorm1d not affine": (lambda: nn.BatchNorm1d(4, eps=0.3, affine=False), (4,)),
    "batchnorm2d": (lambda: nn.BatchNorm2d(3), (3, 2, 2)),
    "linear, batchnorm": (lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), (3,)),
    "conv, batchnorm": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 2, bias=False), nn.BatchNorm2d(3)),
        (1, 3, 3),
    ),
    "pool, batchnorm": (lambda: nn.Sequential(nn.AvgPool2d(2), nn.BatchNorm2d(2)), (2, 4, 4)),
    "conv, flatten, batchnorm per unit": (
        lambda: nn.Sequential(nn.Conv1d(1, 2, 2), nn.Flatten(), nn.BatchNorm1d(6)),
        (1, 4),
    ),
    "relu, batchnorm": (lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm1d(4)), (4,)),
    "flatten some": (lambda: nn.Sequential(nn.Flatten(1, 2), nn.Linear(2, 3)), (2, 3, 2)),
    "unflatten": (lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Linear(3, 2)), (6,)),
    "unflatten last": (lambda: nn.Sequential(nn.Unflatten(-1, (2, -1)), nn.Linear(3, 2)), (6,)),
    "identity, dropout": (
        lambda: nn.Sequential(nn.Identity(), nn.Dropout(0.5), nn.Linear(2, 2)),
        (2,),
    ),
    "dropout2d": (lambda: nn.Sequential(nn.Dropout2d(0.5), nn.Conv2d(1, 1, 1)), (1, 2, 2)),
    "relu": (nn.ReLU, (4,)),
    "relu in place": (lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True)), (3,)),
    "relu6": (nn.ReLU6, (4,)),
    "leaky relu": (lambda: nn.LeakyReLU(-0.3), (4,)),
    "leaky relu of slope 0": (lambda: nn.LeakyReLU(0.0), (4,)),
    "hardtanh": (lambda: nn.Hardtanh(-2.0, 0.5), (4,)),
    "hardtanh, open below": (lambda: nn.Hardtanh(-math.inf, 0.5), (4,)),
    "hardsigmoid": (nn.Hardsigmoid, (4,)),
    "prelu": (lambda: nn.PReLU(init=0.2), (4,)),
    "threshold": (lambda: nn.Threshold(-1.5, -1.5), (4,)),
    "relu, relu6, hardtanh": (lambda: nn.Sequential(nn.ReLU(), nn.ReLU6(), nn.Hardtanh()), (4,)),
    "hardtanh, leaky relu": (lambda: nn.Sequential(nn.Hardtanh(), nn.LeakyReLU(0.3)), (4,)),
    "disjoint clamps": (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.Hardtanh(0, 1), nn.Hardtanh(-0.5, 0.7)),
        (2,),
    ),
}


SLOW_PATH = "ignore:Using padding='same' with even kernel lengths:UserWarning"


@pytest.mark.filterwarnings(SLOW_PATH)
@pytest.mark.parametrize("name", MODULES)
def test_module_equals_torch(name: str) -> None:
    make, shape = MODULES[name]
    check(settle(make()), shape)


def test_equal_slopes_of_prelu_are_one_leaky_relu() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.PReLU(3, init=0.25)).eval()
    chain = check(module, (2,))
    assert chain.layers[0].activation.slopes == (0.25, 1.0)


class Functional(nn.Module):
    """A forward given as a function of a module."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.b = nn.Linear(6, 4)
        self.kernel = nn.Parameter(torch.randn(2, 1, 3))
        self.slope = nn.Parameter(torch.tensor([0.3]))
        self.register_buffer("mean", torch.full((6,), 0.4))
        self._forward = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(self, x)


FUNCTIONS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "F.relu": lambda m, x: m.b(nnf.relu(m.a(x))),
    "torch.relu": lambda m, x: m.b(torch.relu(m.a(x))),
    "x.relu()": lambda m, x: m.b(m.a(x).relu()),
    "F.relu(input=)": lambda m, x: m.b(nnf.relu(input=m.a(x), inplace=True)),
    "F.relu6": lambda m, x: nnf.relu6(m.a(x)),
    "F.leaky_relu": lambda m, x: nnf.leaky_relu(m.a(x), 0.2),
    "F.leaky_relu default": lambda m, x: nnf.leaky_relu(m.a(x)),
    "F.hardtanh": lambda m, x: nnf.hardtanh(m.a(x), min_val=-2.0),
    "F.hardsigmoid": lambda m, x: nnf.hardsigmoid(m.a(x)),
    "F.threshold": lambda m, x: nnf.threshold(m.a(x), 0.5, 0.5),
    "F.prelu": lambda m, x: nnf.prelu(m.a(x), m.slope),
    "F.dropout": lambda m, x: nnf.dropout(m.a(x), 0.5, m.training),
    "F.linear": lambda m, x: nnf.linear(x, m.b.weight, m.b.bias),
    "F.conv1d": lambda m, x: nnf.conv1d(x.unsqueeze(1), m.kernel, padding=1, stride=2),
    "F.avg_pool1d": lambda m, x: nnf.avg_pool1d(x.view(-1, 2, 3), 2),
    "F.avg_pool2d": lambda m, x: nnf.avg_pool2d(x.view(-1, 1, 2, 3), (1, 2), ceil_mode=True),
    "F.adaptive_avg_pool1d": lambda m, x: nnf.adaptive_avg_pool1d(x.view(-1, 1, 6), 4),
    "torch.clamp": lambda m, x: torch.clamp(m.a(x), -1.0, 2.0),
    "x.clamp(max)": lambda m, x: m.a(x).clamp(max=0.25),
    "x.clamp_min": lambda m, x: m.a(x).clamp_min(0.25),
    "torch.abs": lambda m, x: torch.abs(m.a(x)),
    "x.abs()": lambda m, x: m.a(x).abs(),
    "abs(x)": lambda m, x: abs(m.a(x)),
    "torch.flatten": lambda m, x: m.b(torch.flatten(x.view(-1, 2, 3), 1)),
    "x.view(x.size(0), -1)": lambda m, x: m.b(x.view(x.size(0), 2, 3).view(x.size(0), -1)),
    "x.view(x.shape[0], ...)": lambda m, x: m.b(m.a(x).view(x.shape[0], 3, 2).reshape(-1, 6)),
    "x.reshape((b, -1))": lambda m, x: m.b(torch.reshape(x, (x.size()[0], -1)).contiguous()),
    "sizes multiplied": lambda m, x: m.b(x.view(-1, 2, 3).view(-1, x.size(1) * x.shape[-1] // 6)),
    "squeeze": lambda m, x: m.b(torch.unsqueeze(x, -1).unsqueeze(1).squeeze(1).squeeze()),
    "x + c": lambda m, x: m.a(x) + 1.5,
    "c - x": lambda m, x: 1.0 - m.a(x).relu(),
    "-x": lambda m, x: -nnf.relu(m.a(x)),
    "(x - mean) / 2 * 3": lambda m, x: m.b(3 * ((x - m.mean) / 2)),
    "one module twice": lambda m, x: m.a(nnf.relu(m.a(x))),
    "a value that nobody uses": lambda m, x: (m.b(x), m.a(x))[1],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_equals_torch(name: str) -> None:
    check(settle(Functional(FUNCTIONS[name])), (6,))


def test_nested_sequential_and_shared_module() -> None:
    shared = nn.Linear(3, 3)
    inner = nn.Sequential(shared, nn.ReLU(), nn.Sequential(shared, nn.Hardtanh()))
    chain = check(settle(nn.Sequential(inner, nn.Sequential(), nn.Linear(3, 1))), (3,))
    assert chain.widths == (3, 3, 3, 1)
    assert chain.units == 6
    assert np.array_equal(chain.layers[0].map.to_dense(), chain.layers[1].map.to_dense())


def test_subclass_that_keeps_the_forward_is_its_base() -> None:
    class Named(nn.Linear):
        pass

    assert check(settle(nn.Sequential(Named(2, 3), nn.ReLU())), (2,)).widths == (2, 3)


def test_input_shape_is_only_needed_where_it_is_unknown() -> None:
    mlp = settle(nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.ReLU(), nn.Linear(3, 2)))
    assert check(mlp, (12,), input_shape=None).widths == (12, 3, 2)
    assert check(mlp, (3, 2, 2)).digest() == as_chain(mlp).digest()
    assert check(settle(nn.Linear(4, 1)), (4,), input_shape=4).widths == (4, 1)


def test_batchnorm_is_folded_into_the_step_before_it() -> None:
    module = settle(nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.ReLU()))
    chain = check(module, (2, 3, 3))
    assert len(chain.layers) == 1
    assert isinstance(chain.layers[0].map, ConvMap)
    alone = check(settle(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.BatchNorm1d(3))), (2,))
    assert alone.widths == (2, 3, 3)
    assert np.count_nonzero(alone.layers[1].map.to_dense()) == 3


@pytest.mark.filterwarnings(SLOW_PATH)
@pytest.mark.parametrize("kind", ["even", "uneven"])
def test_conv_equals_torch_exactly_on_the_identity(kind: str) -> None:
    kernel = (3, 3) if kind == "even" else (2, 4)
    conv = settle(nn.Conv2d(2, 3, kernel, padding="same")).double()
    chain = as_chain(conv, (2, 4, 5))
    eye = torch.eye(40, dtype=torch.float64).reshape(40, 2, 4, 5)
    with torch.no_grad():
        pushed = nnf.conv2d(eye, conv.weight, None, padding="same").reshape(40, -1).numpy().T
    assert np.array_equal(chain.layers[0].map.to_dense(), pushed)
    assert np.array_equal(chain.layers[0].bias, np.repeat(conv.bias.detach().numpy(), 20))


ACTIVATIONS = (
    nn.ReLU(),
    nn.LeakyReLU(0.1),
    nn.Hardtanh(),
    nn.ReLU6(),
    nn.Hardsigmoid(),
    nn.Identity(),
    nn.Dropout(0.3),
)


@st.composite
def stacks(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """Draw a network of up to three convolutions or poolings and up to three dense layers."""
    number = st.integers(1, 3)
    shape = (draw(number), draw(st.integers(4, 6)), draw(st.integers(4, 6)))
    steps: list[nn.Module] = []
    channels = shape[0]
    for _ in range(draw(st.integers(0, 3))):
        out, kernel = draw(number), draw(number)
        if draw(st.booleans()):
            steps += [nn.Conv2d(channels, out, kernel, draw(st.integers(1, 2)), kernel // 2)]
            steps += [nn.BatchNorm2d(out)] * draw(st.integers(0, 1))
            channels = out
        else:
            ceil, count = draw(st.booleans()), draw(st.booleans())
            steps += [nn.AvgPool2d(kernel, 2, kernel // 2, ceil, count)]
        steps += [draw(st.sampled_from(ACTIVATIONS))]
    steps += [nn.Flatten()]
    width = nn.Sequential(*steps).eval()(torch.zeros(2, *shape)).shape[1]
    for _ in range(draw(st.integers(1, 3))):
        out = draw(number)
        steps += [nn.Linear(width, out), *[nn.BatchNorm1d(out)] * draw(st.integers(0, 1))]
        steps += [draw(st.sampled_from(ACTIVATIONS))]
        width = out
    return settle(nn.Sequential(*steps), draw(st.integers(0, 99))), shape


@settings(max_examples=10)
@given(stacks())
def test_random_stacks_equal_torch(stack: tuple[nn.Module, tuple[int, ...]]) -> None:
    module, shape = stack
    chain = as_chain(module, shape)
    points = np.random.default_rng(1).standard_normal((8, math.prod(shape)))
    with torch.no_grad():
        inputs = torch.from_numpy(points.reshape(8, *shape))
        expected = copy.deepcopy(module).double()(inputs).reshape(8, -1).numpy()
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(chain(points), expected, rtol=RTOL, atol=RTOL * scale)


def test_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.BatchNorm1d(3).eval(), nn.Linear(3, 1))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.get_rng_state()
    chain = as_chain(module)
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in module] == [True, True, False, True]
    assert all(p.requires_grad and p.dtype == torch.float32 for p in module.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    with torch.no_grad():
        module[0].weight.zero_()
    assert np.array_equal(chain.layers[0].map.to_dense(), before["0.weight"].double().numpy())


def test_terms_that_cancel_are_not_taken_for_a_difference() -> None:
    """The network is the zero function; what is left of its terms is rounding alone."""
    torch.manual_seed(2)
    first, last = nn.Linear(3, 64, bias=False), nn.Linear(64, 1, bias=False)
    with torch.no_grad():
        first.weight[32:] = first.weight[:32].flip(0)
        last.weight[:, 32:] = -last.weight[:, :32].flip(1)
    chain = as_chain(nn.Sequential(first, nn.ReLU(), last))
    assert abs(chain([1.0, 2.0, 3.0])[0]) < 1e-14


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_module_on_a_gpu_is_copied() -> None:
    module = settle(nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)))
    digest = as_chain(module, (1, 3, 3)).digest()
    module.cuda()
    assert as_chain(module, (1, 3, 3)).digest() == digest
    assert next(module.parameters()).is_cuda


def test_pruned_weights_are_read_through_their_masks() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    for layer in (model[0], model[2]):
        torch.nn.utils.prune.l1_unstructured(layer, "weight", amount=0.5)
    chain = as_chain(model)
    assert np.count_nonzero(chain.layers[0].map.to_dense()) == 24
    x = torch.randn(5, 6)
    with torch.no_grad():
        np.testing.assert_allclose(chain(x.numpy()), model(x).numpy(), rtol=1e-5, atol=1e-6)
    assert torch.nn.utils.prune.is_pruned(model), "the model itself is untouched"
