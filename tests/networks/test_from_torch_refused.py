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
    [
        nn.GELU(),
        nn.Tanh(),
        nn.Sigmoid(),
        nn.SiLU(),
        nn.Softmax(dim=1),
        nn.Hardswish(),
        nn.MaxPool1d(2),
        nn.MaxPool2d(2),
        nn.LayerNorm(4),
        nn.RNN(4, 4),
        nn.LSTM(4, 4),
        nn.GRU(4, 4),
        nn.ELU(),
        nn.ConvTranspose2d(1, 1, 2),
        nn.MultiheadAttention(4, 1),
        nn.ReflectionPad1d(1),
    ],
    ids=lambda module: type(module).__name__,
)
def test_unsupported_module_is_named_with_path_and_type(module: nn.Module) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), module)).eval()
    kind = type(module).__name__
    with pytest.raises(ConversionError, match=rf'module "1\.1" \({kind}\) .*replace it.*{LISTED}'):
        as_chain(net)
    with pytest.raises(ConversionError, match=rf"the {kind} is not .*{LISTED}"):
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


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_mode_is_named(mode: str) -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode=mode)
    with pytest.raises(
        ConversionError, match=f"Conv2d has padding_mode='{mode}'; use padding_mode"
    ):
        as_chain(conv, (1, 4, 4))


def test_prelu_with_different_slopes_is_refused() -> None:
    prelu = nn.PReLU(4)
    with torch.no_grad():
        prelu.weight[0] = 0.5
    with pytest.raises(ConversionError, match=r'"1" \(PReLU\) has 4 slopes that differ; make them'):
        as_chain(nn.Sequential(nn.Linear(4, 4), prelu))


def _pick(m: Any, x: torch.Tensor) -> Any:
    return m.a(x) if x.sum() > 0 else m.b(x)


FORWARDS: dict[str, tuple[Callable[[Any, torch.Tensor], Any], str]] = {
    "residual": (lambda m, x: m.b(m.a(x)) + x, r'node "add" \(add\) joins two .*residual'),
    "residual after relu": (lambda m, x: torch.add(m.a(x), x), r'node "add" \(add\) joins two'),
    "square": (lambda m, x: m.a(x) * m.b(x), "uses one from before the last layer"),
    "concat": (lambda m, x: torch.cat([x, m.a(x)], 1), r'node "cat" \(cat\) joins two values'),
    "branch": (lambda m, x: (m.a(x), m.b(x))[1] + m.a(x), "from before the last layer"),
    "two outputs": (lambda m, x: (m.a(x), m.b(x)), "from before the last layer"),
    "sigmoid": (lambda m, x: torch.sigmoid(m.a(x)), r'node "sigmoid" \(sigmoid\) is not a piec'),
    "tanh method": (lambda m, x: m.a(x).tanh(), r'node "tanh" \(tanh\) is not a piecewise-linear'),
    "gelu": (lambda m, x: nnf.gelu(m.a(x)), r'node "gelu" \(gelu\) is not a piecewise-linear'),
    "max_pool": (lambda m, x: nnf.max_pool1d(x, 2), r'node "max_pool1d" \(max_pool1d\) is not'),
    "softmax": (lambda m, x: nnf.softmax(m.a(x), 1), r'node "softmax" \(softmax\) is not'),
    "permute": (lambda m, x: x.view(-1, 2, 2).permute(0, 2, 1), r'node "permute" \(permute\)'),
    "slice": (lambda m, x: m.a(x)[:, :2], r'node "getitem" \(getitem\) is not a piecewise-linear'),
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
    with pytest.raises(ConversionError, match=message):
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
