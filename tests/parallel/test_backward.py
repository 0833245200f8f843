"""parallel_backward against torch's own backward pass on the same model."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from byways.parallel import parallel_backward
from byways.parallel._segments import Segment

STRATEGIES = ["auto", "sequential", "blelloch", "pcr", "chunked"]


class Residual(nn.Module):
    """A residual layer as users write it."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.scale = 1 / depth

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * torch.tanh(self.inner(x))


class Halved(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width, bias=False)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.inner(x)) / 2.0 + x


def pairs(activation: Callable[[], nn.Module], depth: int, width: int) -> list[nn.Module]:
    return [part for _ in range(depth) for part in (nn.Linear(width, width), activation())]


MODELS: dict[str, Callable[[], nn.Module]] = {
    "tanh": lambda: nn.Sequential(*pairs(nn.Tanh, 20, 3)),
    "relu between other layers": lambda: nn.Sequential(
        nn.Linear(5, 4), nn.ReLU(), *pairs(nn.ReLU, 9, 4), nn.Linear(4, 2)
    ),
    "sigmoid": lambda: nn.Sequential(*pairs(nn.Sigmoid, 4, 3)),
    "linear": lambda: nn.Sequential(*(nn.Linear(3, 3) for _ in range(6))),
    "no bias": lambda: nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(6))),
    "nested": lambda: nn.Sequential(
        nn.Sequential(*pairs(nn.Tanh, 3, 4)), nn.Sequential(*pairs(nn.Tanh, 3, 4)), nn.GELU()
    ),
    "residual": lambda: nn.Sequential(*(Residual(4, 30) for _ in range(30))),
    "halved": lambda: nn.Sequential(*(Halved(4) for _ in range(7)), nn.Softmax(-1)),
    "two runs": lambda: nn.Sequential(*pairs(nn.Tanh, 3, 4), *pairs(nn.ReLU, 3, 4)),
    "wide": lambda: nn.Sequential(*pairs(nn.Tanh, 3, 40)),
    "wide residual": lambda: nn.Sequential(*(Residual(40, 3) for _ in range(3))),
    "wide sigmoid": lambda: nn.Sequential(*pairs(nn.Sigmoid, 3, 40)),
    "wide halved": lambda: nn.Sequential(*(Halved(40) for _ in range(3))),
    "wide linear": lambda: nn.Sequential(*(nn.Linear(40, 40) for _ in range(3))),
}


def made(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = MODELS[name]().to(dtype)
        width = next(p.shape[-1] for p in model.parameters() if p.ndim == 2)
        return model, torch.randn(30, width, dtype=dtype)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", sorted(MODELS))
def test_values_and_gradients_are_those_of_the_model(
    name: str, strategy: str, stacked: bool
) -> None:
    model, x = made(name)
    plain = copy.deepcopy(model)
    ours = parallel_backward(model, strategy=strategy, stacked=stacked)
    x_ours, x_plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    y_ours, y_plain = ours(x_ours), plain(x_plain)
    torch.testing.assert_close(y_ours, y_plain, rtol=1e-12, atol=1e-12)
    y_ours.square().sum().backward()
    y_plain.square().sum().backward()
    torch.testing.assert_close(x_ours.grad, x_plain.grad, rtol=1e-10, atol=1e-12)
    expected = [one.grad for one in plain.parameters()]
    own = [one.grad for one in model.parameters()]
    found = stacked_gradients(ours, plain) if stacked else own
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def stacked_gradients(ours: nn.Module, plain: nn.Module) -> list[Tensor | None]:
    """Take stacked gradients apart into the order of the plain model's parameters."""
    found: list[Tensor | None] = []
    for part in ours.parts:  # type: ignore[union-attr]
        if not isinstance(part, Segment):
            found += [one.grad for one in part.parameters()]
            continue
        for layer in range(part.depth):
            assert part.weight.grad is not None
            found.append(part.weight.grad[layer])
            if part.bias.grad is not None:
                found.append(part.bias.grad[layer])
    assert len(found) == len(list(plain.parameters()))
    return found


@pytest.mark.parametrize("strategy", [*STRATEGIES, "bppsa"])
@pytest.mark.parametrize("name", ["tanh", "relu between other layers", "residual", "wide residual"])
def test_float32_gradients(name: str, strategy: str) -> None:
    model, x = made(name, torch.float32)
    exact = copy.deepcopy(model).double()
    parallel_backward(model, strategy=strategy)(x).square().sum().backward()
    exact(x.double()).square().sum().backward()
    for a, b in zip(model.parameters(), exact.parameters(), strict=True):
        assert b.grad is not None
        torch.testing.assert_close(
            a.grad, b.grad.float(), rtol=0, atol=1e-5 * float(b.grad.abs().max())
        )


@pytest.mark.parametrize("strategy", ["auto", "sequential", "blelloch", "bppsa"])
@pytest.mark.parametrize("width", [2, 40])
def test_relu_at_zero_has_the_slope_of_torch(width: int, strategy: str) -> None:
    # Every second unit is at zero before its activation, the others are on.
    model = nn.Sequential(*pairs(nn.ReLU, 3, width)).double()
    on = (torch.arange(width) % 2).double()
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight.fill_(0.5)
            layer.weight[::2] = 0.0
            layer.bias.copy_(on)
    plain, x = copy.deepcopy(model), torch.ones(30, width, dtype=torch.float64)
    parallel_backward(model, strategy=strategy)(x).sum().backward()
    plain(x).sum().backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        assert not ours.grad[::2].any()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=0)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("strategy", [*STRATEGIES, "bppsa"])
@pytest.mark.parametrize("name", ["relu between other layers", "residual", "wide sigmoid"])
def test_gradients_pass_gradcheck(name: str, strategy: str, stacked: bool) -> None:
    model, x = made(name)
    ours = parallel_backward(model, strategy=strategy, stacked=stacked)
    assert torch.autograd.gradcheck(ours, x[:2].clone().requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("strategy", ["blelloch", "pcr", "bppsa"])
def test_products_of_half_precision_are_float32(strategy: str, dtype: torch.dtype) -> None:
    # Slopes of 2^-9 and then of 2^9: the products leave the range of half precision, or its digits.
    factors = [2.0**-9] * 3 + [1.001] * 20 + [2.0**9] * 3
    model = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in factors))
    with torch.no_grad():
        for layer, factor in zip(model, factors, strict=True):
            layer.weight.fill_(factor)
    model = model.to(dtype)
    exact = torch.stack([layer.weight.detach().double() for layer in model]).prod()
    x = torch.ones(1, 1, dtype=dtype, requires_grad=True)
    parallel_backward(model, strategy=strategy)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype
    assert float(x.grad) == pytest.approx(float(exact), rel=torch.finfo(dtype).eps)


def test_a_stack_and_its_model_share_their_weights() -> None:
    model, x = made("residual")
    ours = parallel_backward(model, stacked=True)
    assert len(list(ours.parameters())) == 2
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    ours(x).square().sum().backward()
    optimizer.step()
    torch.testing.assert_close(model(x), ours(x))
    assert ours.model is model


def test_training_gives_the_same_losses() -> None:
    model, x = made("residual")
    plain = copy.deepcopy(model)
    losses = []
    for net in (parallel_backward(model, stacked=True), plain):
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        losses.append([])
        for _ in range(20):
            optimizer.zero_grad()
            loss = (net(x) - x.flip(0)).square().mean()
            loss.backward()
            optimizer.step()
            losses[-1].append(float(loss.detach()))
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-6, atol=0)


def test_stacks_keep_what_is_frozen_and_what_has_no_bias() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Linear(3, 3, bias=i % 4 < 2) for i in range(12)]
    for layer in layers[:6]:
        layer.weight.requires_grad_(False)
    layers[8].bias.requires_grad_(False)
    model = nn.Sequential(*(part for one in layers for part in (one, nn.Tanh()))).double()
    plain, x = copy.deepcopy(model), torch.ones(2, 3, dtype=torch.float64)
    ours = parallel_backward(model, stacked=True)
    for net in (ours, plain):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5, weight_decay=0.01)
        net(x).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(ours(x), plain(x), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(list(model.parameters()), list(plain.parameters()))


@pytest.mark.parametrize("strategy", ["auto", "blelloch", "bppsa"])
def test_layers_that_stand_twice_in_a_model(strategy: str) -> None:
    layer = nn.Linear(3, 3).double()
    model = nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(3, 3).double(), nn.Tanh())
    plain, x = copy.deepcopy(model), torch.ones(2, 3, dtype=torch.float64)
    parallel_backward(model, strategy=strategy)(x).square().sum().backward()
    plain(x).square().sum().backward()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match='"stacked" was True and a weight stands in the model mor'):
        parallel_backward(model, stacked=True)


@pytest.mark.parametrize("strategy", [*STRATEGIES, "bppsa"])
def test_weights_that_change_between_the_passes(strategy: str) -> None:
    model, x = made("tanh")
    plain = copy.deepcopy(model)
    plain(x).sum().backward()
    out = parallel_backward(model, strategy=strategy)(x)
    with torch.no_grad():
        model[4].weight.mul_(1.0 + 1e-6)
    if strategy == "bppsa":  # it evaluates the layers again
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.sum().backward()
        return
    out.sum().backward()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)


def test_outputs_may_be_changed_in_place() -> None:
    for strategy in (*STRATEGIES, "bppsa"):
        model, x = made("residual")
        plain = copy.deepcopy(model)
        for net in (parallel_backward(model, strategy=strategy), plain):
            net(x).mul_(2).square().sum().backward()
        for a, b in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)


def test_shapes_of_inputs_and_lone_vectors() -> None:
    model, x = made("tanh")
    ours = parallel_backward(model)
    for given in (x[0], x[:0], x.reshape(2, 15, 3), x.T.contiguous().T):
        torch.testing.assert_close(ours(given), model(given))


def test_misuse() -> None:
    with pytest.raises(TypeError, match='"model" was of type int'):
        parallel_backward(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'tree'"):
        parallel_backward(nn.Linear(2, 2), strategy="tree")
    for model in (nn.GELU(), nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))):
        with pytest.raises(ValueError, match="no run of two or more equal layers"):
            parallel_backward(model)
    ours = parallel_backward(made("tanh")[0])
    x = torch.ones(1, 3, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(ours(x).sum(), x, create_graph=True)


def test_modules_that_only_look_like_layers_are_left_alone() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.inner(x)) * x

    hooked = nn.Linear(3, 3)
    hooked.register_forward_hook(lambda module, args, out: out * 2)
    model = nn.Sequential(*pairs(nn.Tanh, 3, 3), Doubled(), Doubled(), hooked, hooked)
    ours = parallel_backward(model)
    assert sum(isinstance(part, Segment) for part in ours.parts) == 1  # type: ignore[union-attr]
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), model(x))


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
@pytest.mark.parametrize("strategy", [*STRATEGIES, "bppsa"])
@pytest.mark.parametrize("cls", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_modules_scan_over_their_steps(
    cls: type[nn.RNNBase], strategy: str, steps: int
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = cls(3, 5, num_layers=2, bidirectional=True).double()
        x = torch.randn(steps, 2, 3, dtype=torch.float64, requires_grad=True)
    ours = parallel_backward(model, strategy=strategy)
    leaves = [x, *model.parameters()]  # ours has the very parameters of the model
    mine, theirs = ours(x)[0], model(x)[0]
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(mine.square().sum(), leaves)
    expected = torch.autograd.grad(theirs.square().sum(), leaves)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    if strategy == "bppsa":
        assert ours.last_info[0].strategy == "blelloch"  # type: ignore[union-attr, index]
    elif strategy != "auto":
        assert ours.last_info[0].strategy == strategy  # type: ignore[union-attr, index]


def test_recurrent_modules_are_trained_through_their_drop_ins() -> None:
    model = nn.RNN(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = [one.clone() for one in model.parameters()]
    parallel_backward(model, strategy="pcr")(torch.ones(9, 2, 2))[0].sum().backward()
    optimizer.step()
    assert all(bool((a != b).any()) for a, b in zip(before, model.parameters(), strict=True))


def test_recurrent_modules_take_no_options_of_chains() -> None:
    with pytest.raises(ValueError, match='"stacked" was True and "max_tree_levels" None for a GRU'):
        parallel_backward(nn.GRU(2, 3), stacked=True)
    with pytest.raises(ValueError, match='"max_tree_levels" 2 for a RNN'):
        parallel_backward(nn.RNN(2, 3), strategy="bppsa", max_tree_levels=2)
    with pytest.raises(ValueError, match="\"strategy\" was 'floor'; it takes auto, sequential"):
        parallel_backward(nn.RNN(2, 3), strategy="floor")
