"""BPPSA on whole networks: Jacobians, gradients and counts against autograd and arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from byways.parallel import parallel_backward
from byways.parallel._layer_jacobians import transposed_jacobian
from byways.parallel.diagnostics import critical_path, lyapunov, verify
from byways.parallel.elements import Sparse

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv": (nn.Conv2d(2, 3, 3, padding=1), (2, 5, 6)),
    "strided conv": (
        nn.Conv2d(2, 4, (3, 2), stride=2, padding=1, dilation=(1, 2), groups=2),
        (2, 7, 6),
    ),
    "max pool": (nn.MaxPool2d(2), (2, 4, 6)),
    "overlapping pool": (nn.MaxPool2d(3, stride=1, padding=1), (1, 4, 4)),
    "mean pool": (nn.AvgPool2d(2), (2, 4, 4)),
    "padded mean pool": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), (1, 5, 5)),
    "relu": (nn.ReLU(inplace=True), (2, 3)),
    "gelu": (nn.GELU(), (4,)),
    "linear": (nn.Linear(4, 3), (4,)),
    "layer norm": (nn.LayerNorm(4), (4,)),
    "softmax": (nn.Softmax(-1), (4,)),
}


def sample(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def pruned(layer: nn.Module, keep: float) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        weight: Tensor = layer.weight  # type: ignore[assignment]
        weight.mul_(torch.rand(weight.shape, generator=generator) < keep)
    return layer


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_transposed_jacobians_are_those_of_autograd(name: str) -> None:
    layer, shape = LAYERS[name]
    layer = copy.deepcopy(layer).double()
    x = sample(3, *shape)
    y = layer(x.clone())
    jacobian = transposed_jacobian(layer, x, y)
    assert jacobian is not None
    dense = jacobian.to_dense()[0].expand(3, -1, -1)
    for k in range(3):
        full = torch.autograd.functional.jacobian(lambda one: layer(one[None].clone())[0], x[k])
        torch.testing.assert_close(dense[k], full.reshape(y[k].numel(), x[k].numel()).T)


def test_the_pattern_of_a_convolution_has_its_published_size() -> None:
    x = torch.zeros(1, 3, 32, 32)
    layer = nn.Conv2d(3, 64, 3, padding=1)
    first = transposed_jacobian(layer, x, layer(x))
    assert isinstance(first, Sparse)
    assert first.pattern.shape == (3072, 65_536)
    assert first.pattern.nnz == 3 * 64 * (3 * 32 - 2) ** 2 == 1_696_512
    assert first.pattern.density == pytest.approx(0.00843, abs=5e-6)


def test_products_of_convolutions_fill_in_as_published() -> None:
    layer, x = nn.Conv2d(1, 1, 3, padding=1), torch.zeros(1, 1, 16, 16)
    one = transposed_jacobian(layer, x, layer(x))
    assert isinstance(one, Sparse)
    product, found = one, [one.pattern.density]
    for _ in range(3):
        product = one.after(product)  # type: ignore[assignment]
        found.append(product.pattern.density)
    assert found == pytest.approx([0.032, 0.084, 0.153, 0.235], abs=1e-3)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        pruned(nn.Conv2d(3, 4, 3, padding=1), 0.3), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(), pruned(nn.Linear(16, 10), 0.2), nn.Tanh(), nn.Linear(10, 3),
    ).double()  # fmt: skip


@pytest.mark.parametrize("levels", [None, 0, 1, 2])
def test_gradients_of_a_pruned_convolutional_network(levels: int | None) -> None:
    with torch.random.fork_rng():
        model = network()
    plain, x = copy.deepcopy(model), sample(4, 1, 8, 8)
    ours = parallel_backward(model, strategy="bppsa", max_tree_levels=levels)
    x_ours, x_plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours(x_ours).square().sum().backward()
    plain(x_plain).square().sum().backward()
    torch.testing.assert_close(x_ours.grad, x_plain.grad, rtol=1e-10, atol=1e-12)
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)


def test_random_layers_and_huge_jacobians_are_refused() -> None:
    x = torch.zeros(2, 4)
    for layer in (nn.Dropout(0.5), nn.BatchNorm1d(4)):
        ours = parallel_backward(nn.Sequential(nn.Linear(4, 4), layer), strategy="bppsa")
        with pytest.raises(ValueError, match=f"{type(layer).__name__} in training mode"):
            ours(x)
        torch.testing.assert_close(ours.eval()(x), ours.model(x))
    wide = nn.LayerNorm(5000)
    big = torch.zeros(2, 5000, requires_grad=True)
    with pytest.raises(ValueError, match="LayerNorm has 5000 x 5000 entries"):
        parallel_backward(nn.Sequential(wide, nn.ReLU()), strategy="bppsa")(big).sum().backward()


class Told(nn.Module):
    """A layer that computes what it is told."""

    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.compute = compute

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x)


def test_layers_that_are_no_functions_are_refused() -> None:
    outside = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    x = sample(3, 4).requires_grad_()
    for compute in (lambda x: outside * x, lambda x: x + torch.randn(x.shape)):
        ours = parallel_backward(nn.Sequential(nn.Tanh(), Told(compute)), strategy="bppsa")
        with pytest.raises(ValueError, match="Told gave another value than in the forward pass"):
            ours(x).sum().backward()
    inner = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    ours = parallel_backward(nn.Sequential(Told(inner), nn.Tanh()).double(), strategy="bppsa")
    with pytest.raises(ValueError, match=r"Dropout in training mode at '0.compute.1'"):
        ours(x)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (1, 3), (2, 5, 3)])
def test_any_number_of_samples(shape: tuple[int, ...]) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3), nn.ReLU()).double()
    inputs = [sample(*shape).requires_grad_() for _ in range(2)]
    for net, x in zip((parallel_backward(model, strategy="bppsa"), model), inputs, strict=True):
        y = net(x)
        assert y.shape == shape
        y.square().sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-10, atol=1e-12)


def test_second_derivatives_and_replaced_weights_are_refused() -> None:
    with torch.random.fork_rng():
        ours = parallel_backward(network(), strategy="bppsa")
    x = sample(2, 1, 8, 8).requires_grad_()
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(ours(x).sum(), x, create_graph=True)
    others = {name: 2 * one.detach() for name, one in ours.named_parameters()}
    out = torch.func.functional_call(ours, others, (x,))
    with pytest.raises(RuntimeError, match="parameters of ScannedNetwork were replaced"):
        out.sum().backward()


def vgg11(keep: float) -> nn.Sequential:
    """VGG-11 for 32 x 32 images, pruned at random."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [pruned(nn.Conv2d(channels, width, 3, padding=1), keep), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), pruned(nn.Linear(512, 10), 0.5))


@pytest.mark.slow
def test_critical_path_of_a_pruned_vgg11() -> None:
    report = critical_path(vgg11(0.03), (3, 32, 32), max_tree_levels=2)
    line = critical_path(vgg11(0.03), (3, 32, 32), max_tree_levels=0)
    assert line.tree_flops == line.sequential_flops == report.sequential_flops
    assert report.sequential_steps == 21
    steps = [level["phase"] for level in report.levels]
    assert len(steps) < report.sequential_steps
    assert steps.count("up") == steps.count("down") == 2


def test_operations_counted_by_hand() -> None:
    # Three dense layers 2 -> 3 -> 4 -> 5, last first: 20, 12 and 6 weights.
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 5))
    with torch.no_grad():
        for one in model.parameters():
            one.fill_(1.0)
    report = critical_path(model, (2,))
    assert report.layer_flops == (40, 24, 12)
    assert report.sequential_flops == 64
    # a[0] is applied to the last layer; the tree then needs no matrix product before the end.
    assert [(level["phase"], level["largest"]) for level in report.levels] == [
        ("up", 40),
        ("down", 24),
    ]
    with pytest.raises(ValueError, match="LayerNorm"):
        critical_path(nn.Sequential(nn.LayerNorm(2)), (2,))
    deep = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(8)))
    with pytest.raises(MemoryError, match="max_tree_levels"):
        critical_path(deep, (1, 8, 8), max_entries=100)


def test_lyapunov_exponents_of_known_systems() -> None:
    steps = torch.zeros(400)
    h0 = torch.full((2, 1), 0.2, dtype=torch.float64)
    rate = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    found = lyapunov(lambda x, h: rate * h, steps, h0)
    torch.testing.assert_close(found, rate[:, 0].log(), rtol=1e-12, atol=0)
    W = torch.tensor([[0.0, 0.9], [0.3, 0.0]], dtype=torch.float64)
    start = torch.ones(2, dtype=torch.float64)
    linear = lyapunov(lambda x, h: h @ W.T, torch.zeros(4000), start)
    expected = 0.5 * torch.log(torch.tensor(0.27, dtype=torch.float64))
    torch.testing.assert_close(linear, expected, rtol=0, atol=1e-3)
    assert bool(lyapunov(lambda x, h: h, torch.zeros(0), start).isnan())


def test_verification_sees_a_wrong_gradient() -> None:
    class Wrong(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.inner(x)
            return y.detach() + 0.9 * (y - y.detach())

    model = nn.Linear(3, 3).double()
    right = verify(copy.deepcopy(model), sample(2, 3), model)
    assert right
    assert right.parameter_error == 0.0
    wrong = verify(Wrong(model), sample(2, 3), model)
    assert not wrong
    assert wrong.output_error == 0.0
    assert wrong.input_error == pytest.approx(0.1)
    with pytest.raises(ValueError, match='"reference" is missing'):
        verify(model, sample(2, 3))
