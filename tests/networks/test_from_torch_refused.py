"""What the torch door refuses, and with which words."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as nnf

from byways.core.errors import ConversionError, DomainError, ShapeError
from byways.networks import as_chain

if TYPE_CHECKING:
    from collections.abc import Callable

LISTED = r"Supported modules: .*BatchNorm1d.*Linear.*Unflatten\."


class Forward(nn.Module):
    """A forward given as a function of a module."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self._forward = forward

    def forward(self, x: torch.Tensor) -> Any:
        return self._forward(self, x)


@pytest.mark.parametrize(
    "module",
    [nn.ConvTranspose2d(1, 1, 2), nn.ReflectionPad1d(1), nn.Upsample(2), nn.PixelShuffle(1)],
    ids=lambda module: type(module).__name__,
)
def test_unsupported_module_is_named_with_path_and_type(module: nn.Module) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), module)).eval()
    kind = type(module).__name__
    with pytest.raises(ConversionError, match=rf'module "1\.1" \({kind}\) .*replace it.*{LISTED}'):
        as_chain(net)
    with pytest.raises(ConversionError, match=rf"the {kind} is not .*{LISTED}"):
        as_chain(module.eval())


SMOOTH = (
    "is smooth, so that the network has no regions.*Use ReLU.*PiecewiseLinear.*take the network as"
)
NORM = "divides by a norm or a variance.*BatchNorm in eval mode.*take the network as"
RECURRENT = "is recurrent: .*Unroll it.*byways.parallel"
PRODUCT = "multiplies values of the network with each other.*before and after it"
BY_NAME: list[tuple[nn.Module, str]] = [
    *((make(), SMOOTH) for make in (nn.GELU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.ELU, nn.Softplus)),
    *((make(), SMOOTH) for make in (nn.SELU, nn.CELU, nn.Mish, nn.LogSigmoid, nn.Softsign)),
    (nn.Softmax(dim=1), SMOOTH),
    (nn.LogSoftmax(dim=1), SMOOTH),
    (nn.Hardswish(), r"is piecewise quadratic: x times hardsigmoid\(x\)\. Use ReLU.*Hardsigmoid"),
    (nn.Hardshrink(), "jumps, so that it is not continuous"),
    (nn.LayerNorm(4), NORM),
    (nn.GroupNorm(2, 4), NORM),
    (nn.InstanceNorm1d(4), NORM),
    (nn.RMSNorm(4), NORM),
    (nn.RNN(4, 4), RECURRENT),
    (nn.LSTM(4, 4), RECURRENT),
    (nn.GRU(4, 4), RECURRENT),
    (nn.MultiheadAttention(4, 1), PRODUCT),
    (nn.GLU(), PRODUCT),
]


@pytest.mark.parametrize(
    ("module", "message"), BY_NAME, ids=[type(module).__name__ for module, _ in BY_NAME]
)
def test_what_no_chain_can_do_is_refused_with_alternatives(module: nn.Module, message: str) -> None:
    kind = type(module).__name__
    with pytest.raises(ConversionError, match=rf'module "1" \({kind}\) {message}'):
        as_chain(nn.Sequential(nn.Linear(4, 4), module).eval())
    with pytest.raises(ConversionError, match=rf"the {kind} {message}"):
        as_chain(module.eval())


CURES: list[tuple[nn.Module, str]] = [
    (nn.BatchNorm1d(4), r'"1" \(BatchNorm1d\) is in training mode.*call \.eval\(\)'),
    (nn.Dropout(0.1), r'"1" \(Dropout\) is in training mode.*call \.eval\(\)'),
    (nn.Dropout1d(0.1), r'"1" \(Dropout1d\) is in training mode.*call \.eval\(\)'),
    (nn.BatchNorm1d(4, track_running_stats=False).eval(), "keeps no running statistics"),
    (nn.Threshold(0.0, 1.0), r"jumps from value=1\.0 to threshold=0\.0; make both equal"),
    (nn.Unflatten(0, (1, 4)), "splits axis 0"),
    (nn.Flatten(0), r"axes 0 to -1 of \(batch, 4\) cannot be flattened; the batch axis must"),
]


@pytest.mark.parametrize(("module", "message"), CURES)
def test_setting_is_refused_with_a_cure(module: nn.Module, message: str) -> None:
    with pytest.raises((ConversionError, ShapeError), match=message):
        as_chain(nn.Sequential(nn.Linear(4, 4), module))


def test_dropout_that_drops_nothing_may_be_in_training_mode() -> None:
    assert as_chain(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0))).widths == (4, 4)


@pytest.mark.parametrize("pool", [nn.MaxPool1d(2), nn.AdaptiveMaxPool1d(2)])
def test_pooling_needs_an_axis_to_pool_along(pool: nn.Module) -> None:
    with pytest.raises(ShapeError, match=rf"{type(pool).__name__}\) works on channels and 1 more"):
        as_chain(nn.Sequential(nn.Linear(4, 4), pool))


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2, return_indices=True), nn.AdaptiveMaxPool2d(2, return_indices=True)]
)
def test_pooling_that_returns_indices_is_refused(pool: nn.Module) -> None:
    with pytest.raises(ConversionError, match="returns indices; set return_indices=False"):
        as_chain(pool, (1, 4, 4))


def test_prelu_with_too_many_slopes() -> None:
    prelu = nn.PReLU(3)
    with torch.no_grad():
        prelu.weight[0] = 0.5
    with pytest.raises(ShapeError, match=r"\(PReLU\) has 3 slopes, but the shape here is \(4,\)"):
        as_chain(nn.Sequential(nn.Linear(4, 4), prelu))


def _pick(m: Any, x: torch.Tensor) -> Any:
    return m.a(x) if x.sum() > 0 else m.b(x)


FORWARDS: dict[str, tuple[Callable[[Any, torch.Tensor], Any], str]] = {
    "square": (lambda m, x: m.a(x) * m.b(x), "joins values .* otherwise than by a sum"),
    "two outputs": (lambda m, x: (m.a(x), m.b(x)), r'node "output" \(output\) gives 2 values'),
    "sigmoid": (lambda m, x: torch.sigmoid(m.a(x)), r'node "sigmoid" \(sigmoid\) is smooth.*Use'),
    "tanh method": (lambda m, x: m.a(x).tanh(), r'node "tanh" \(tanh\) is smooth.*Use ReLU'),
    "gelu": (lambda m, x: nnf.gelu(m.a(x)), r'node "gelu" \(gelu\) is smooth.*Use ReLU'),
    "hardswish": (lambda m, x: nnf.hardswish(m.a(x)), "is piecewise quadratic"),
    "layer_norm": (lambda m, x: nnf.layer_norm(x, (4,)), r"\(layer_norm\) divides by a norm"),
    "softmax": (lambda m, x: nnf.softmax(m.a(x), 1), r'node "softmax" \(softmax\) is smooth'),
    "sum of other shapes": (
        lambda m, x: x.view(-1, 2, 2) + m.a(x)[:, :3],
        r"joins values of shapes \(2, 2\) and \(3,\), which do not fit",
    ),
    "concat of batches": (lambda m, x: torch.cat([x, m.a(x)]), "joins along the batch axis"),
    "concat of other shapes": (
        lambda m, x: torch.cat([x.view(-1, 2, 2), m.a(x)], 1),
        r"joins the shapes \[\(2, 2\), \(4,\)\]",
    ),
    "cat with a constant": (lambda m, x: torch.cat([x, m.a.weight], 1), "in a way that is not"),
    "scaled sum": (lambda m, x: torch.add(x, m.a(x), out=None), "calls add in a way that is not"),
    "permuted batch": (lambda m, x: x.permute(1, 0), "the batch axis is moved"),
    "sliced batch": (lambda m, x: x[0], "an index into the batch axis"),
    "largest of all": (lambda m, x: torch.max(x), "the maximum of the whole batch"),
    "largest of the batch": (lambda m, x: torch.amax(x, 0), "the batch axis"),
    "mean of all": (lambda m, x: x.mean(), "calls mean in a way that is not"),
    "sum of the batch": (lambda m, x: x.sum(dim=(0, 1)), "it works over the batch axis"),
    "split batch": (lambda m, x: torch.chunk(x, 2)[0], "the batch axis is split"),
    "places of maxima": (lambda m, x: torch.max(x, 1).indices, "is not a step of a chain"),
    "power": (lambda m, x: m.a(x) ** 2, r'node "pow_1" \(pow\) is not a piecewise-linear'),
    "matmul": (lambda m, x: m.a(x) @ m.b.weight, r'node "matmul" \(matmul\) is not a piecewise'),
    "1 / x": (lambda m, x: 1 / m.a(x), r'node "truediv" \(truediv\) does not combine'),
    "x + [1]": (lambda m, x: torch.add(m.a(x), 1, alpha=2), r'node "add" \(add\) is not a piec'),
    "clamp by tensor": (
        lambda m, x: torch.clamp(m.a(x), m.a.bias),
        r'node "clamp" \(clamp\) has arguments of types Parameter, NoneType',
    ),
    "clamp upside down": (
        lambda m, x: torch.clamp(m.a(x), 2.0, 1.0),
        r'"clamp" \(clamp\) is not a continuous .*"low" must be below "high"',
    ),
    "dropout": (
        lambda m, x: nnf.dropout(m.a(x)),
        r'node "dropout" \(dropout\) is in training mode.*call \.eval\(\)',
    ),
    "threshold": (lambda m, x: nnf.threshold(m.a(x), 0.1, 20.0), "jumps; make threshold and value"),
    "size that is not there": (
        lambda m, x: m.a(x).view(x.shape[0], x.shape[5]),
        r'asks for size 5 of \(batch, 4\); give "input_shape"',
    ),
    "weights as input": (lambda m, x: nnf.linear(m.a.weight, m.a(x)), "does not take the network"),
    "value as a decision": (_pick, "cannot be traced: .*control flow"),
    "a forward that fails": (
        lambda m, x: m.nothing(x),
        "cannot be traced: .*no attribute 'nothing'",
    ),
    "random": (lambda m, x: torch.rand(4), r'node "output" \(output\) is not a step of a chain'),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_forward_that_is_no_chain_names_the_node(name: str) -> None:
    forward, message = FORWARDS[name]
    with pytest.raises((ConversionError, ShapeError), match=message):
        as_chain(Forward(forward), (4,))


@pytest.mark.parametrize(
    "forward",
    [lambda m, x: x.view(8, -1), lambda m, x: x.view(-1, 2), lambda m, x: torch.flatten(x)],
    ids=["fixed batch", "other batch", "flat batch"],
)
def test_mixing_the_batch_is_refused(forward: Callable[[Any, torch.Tensor], Any]) -> None:
    with pytest.raises(ShapeError, match="batch"):
        as_chain(Forward(forward), (4,))


def test_second_input_is_refused_unless_it_has_a_default() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.a(x) + y

    class Optional(Two):
        def forward(self, x: torch.Tensor, y: float = 1.0) -> torch.Tensor:
            return self.a(x) + y

    with pytest.raises(ConversionError, match='"y" is a second input of the network'):
        as_chain(Two())
    chain = as_chain(Optional())
    shift = chain([0.0, 0.0])
    assert chain.widths == (2, 2)
    assert np.isfinite(shift).all()


def test_lazy_module_says_to_run_a_batch() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lazy = nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(2))
    with pytest.raises(ConversionError, match=r'"1" \(LazyLinear\) is not initialised.*one batch'):
        as_chain(lazy)
    lazy(torch.zeros(1, 2))
    assert as_chain(lazy).widths == (2, 3, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.running_var"])
def test_numbers_that_are_not_finite_name_layer_and_parameter(name: str, value: float) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
    with torch.no_grad():
        net.state_dict()[name].view(-1)[1] = value
    with pytest.raises(DomainError, match=rf'"{name}" has 1 values that are NaN or infinite'):
        as_chain(net)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats_warn_at_the_caller(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).to(dtype)
    message = f"{dtype}.*regions, are those of the float64 copy"
    with pytest.warns(UserWarning, match=message) as caught:
        chain = as_chain(net)
    assert caught[0].filename == __file__
    expected = net[0].weight.detach().double().numpy()
    assert np.array_equal(chain.layers[0].map.to_dense(), expected)


def test_complex_weights_are_a_type_error() -> None:
    with pytest.raises(TypeError, match=r'"0\.weight" has dtype torch\.complex64; real weights'):
        as_chain(nn.Sequential(nn.Linear(2, 2, dtype=torch.complex64)))


def test_integer_weights_are_cast() -> None:
    net = nn.Linear(2, 1)
    net.weight = nn.Parameter(torch.tensor([[2, 3]]), requires_grad=False)
    assert as_chain(net).layers[0].map.to_dense().tolist() == [[2.0, 3.0]]
    assert net.weight.dtype == torch.int64


def test_weights_without_values_are_refused() -> None:
    with pytest.raises(ConversionError, match='"weight" is on the meta device'):
        as_chain(nn.Linear(2, 2, device="meta"))


@pytest.mark.parametrize(
    "module",
    [nn.Conv1d(1, 1, 2), nn.Conv2d(1, 1, 2), nn.AvgPool2d(2), nn.ReLU(), nn.Unflatten(1, (2, 2))],
    ids=lambda module: type(module).__name__,
)
def test_missing_input_shape_is_named(module: nn.Module) -> None:
    with pytest.raises(ValueError, match=r'"input_shape" is None, but .* without the batch axis'):
        as_chain(nn.Sequential(module, nn.Flatten(), nn.Linear(4, 4)))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(3, 2), (4,)),
        (nn.Conv2d(3, 1, 2), (1, 4, 4)),
        (nn.Conv2d(1, 1, 5), (1, 4, 4)),
        (nn.Conv2d(1, 1, 2), (16,)),
        (nn.AvgPool2d(2), (4, 4)),
        (nn.BatchNorm2d(3).eval(), (2, 4, 4)),
    ],
)
def test_shape_that_does_not_fit_is_named(module: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=rf'\({type(module).__name__}\) .*"input_shape"'):
        as_chain(nn.Sequential(module), shape)


@pytest.mark.parametrize("module", [nn.Sequential(), nn.Identity(), nn.Sequential(nn.Flatten())])
def test_network_without_layers_is_a_value_error(module: nn.Module) -> None:
    with pytest.raises(ValueError, match="no layer"):
        as_chain(module, (3,))


def test_layer_without_units_is_a_value_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: initialising zero-element tensors
        net = nn.Sequential(nn.Linear(2, 0), nn.ReLU(), nn.Linear(0, 1))
    with pytest.raises(ValueError, match="every layer needs at least one"):
        as_chain(net)


def test_what_the_layers_do_not_show_is_found_by_comparing() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    net[1].register_forward_hook(lambda module, args, output: output * 2)
    with pytest.raises(ConversionError, match=r"differs from the module by up to .* 16 random"):
        as_chain(net)
    other = nn.Linear(2, 2)
    other.register_forward_hook(lambda module, args, output: output[:, :1])
    with pytest.raises(ConversionError, match="the chain gives 2 values a point, the module 1"):
        as_chain(other)


def test_module_that_cannot_be_copied() -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    net.kept = net[0].weight * 2  # a computed tensor, which torch does not copy
    with pytest.raises(ConversionError, match=r"cannot be copied: .*remove_weight_norm"):
        as_chain(net)


def test_parametrised_weight_is_computed() -> None:
    net = nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))
    expected = net.weight.detach().double().numpy()
    np.testing.assert_allclose(as_chain(net).layers[0].map.to_dense(), expected, rtol=1e-6)
