"""ParallelCell against a loop over time, and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from byways.core.errors import ShapeError
from byways.parallel import ParallelCell


class Written(nn.Module):
    """A GRU as a user would write it, without a thought for torch's layout."""

    def __init__(self, inputs: int, units: int, scale: float = 1.0) -> None:
        super().__init__()
        self.hidden_size = units
        self.gates = nn.Linear(inputs + units, 2 * units)
        self.new = nn.Linear(inputs + units, units)
        with torch.no_grad():
            for weight in (self.gates.weight, self.new.weight):
                weight.mul_(scale)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        r, z = torch.sigmoid(self.gates(torch.cat((x, h), -1))).chunk(2, -1)
        return z * h + (1 - z) * torch.tanh(self.new(torch.cat((x, r * h), -1)))


class Spring(nn.Module):
    """Two states: position and velocity of damped springs."""

    def __init__(self) -> None:
        super().__init__()
        self.stiffness = nn.Parameter(torch.tensor([0.3, 0.5], dtype=torch.float64))

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        position, velocity = state
        velocity = 0.5 * velocity - self.stiffness * torch.sin(position) + x
        return position + velocity, velocity


def _loop(cell: Any, x: Tensor, state: Any) -> Any:
    states = []
    for x_t in x:
        state = cell(x_t, state)
        states.append(state)
    if isinstance(state, tuple):
        return tuple(torch.stack(parts) for parts in zip(*states, strict=True))
    return torch.stack(states)


def _close(mine: Any, other: Any, tolerance: float = 1e-9) -> None:
    for a, b in zip(mine, other, strict=True):
        assert a.shape == b.shape
        assert float((a - b).detach().abs().max()) <= tolerance * max(
            1.0, float(b.detach().abs().max())
        )


@pytest.mark.parametrize("strategy", ["auto", "shooting", "sequential"])
@pytest.mark.parametrize("steps", [1, 2, 3, 200])
def test_a_written_cell_is_the_loop(strategy: str, steps: int) -> None:
    cell = Written(3, 6).double()
    ours = ParallelCell(cell, strategy=strategy)
    x = torch.randn(steps, 2, 3, dtype=torch.float64, requires_grad=True)
    h = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    leaves = [x, h, *cell.parameters()]
    states, last = ours(x, h)
    expected = _loop(cell, x, h)
    weights = torch.randn(states.shape, dtype=torch.float64)
    _close([states, last], [expected, expected[-1]])
    mine = torch.autograd.grad((states * weights).sum(), leaves)
    _close(mine, torch.autograd.grad((expected * weights).sum(), leaves))


def test_tuples_of_states() -> None:
    cell = Spring()
    x = torch.randn(150, 4, 2, dtype=torch.float64)
    start = tuple(torch.zeros(4, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    ours = ParallelCell(cell, strategy="shooting")
    states, last = ours(x, start)
    expected = _loop(cell, x, start)
    _close([*states, *last], [*expected, expected[0][-1], expected[1][-1]])
    leaves = [*start, cell.stiffness]
    mine = torch.autograd.grad(sum(s.square().sum() for s in states), leaves)
    _close(mine, torch.autograd.grad(sum(s.square().sum() for s in expected), leaves))


@pytest.mark.parametrize("cell", [nn.RNNCell(3, 5), nn.GRUCell(3, 5), nn.LSTMCell(3, 5)])
@pytest.mark.parametrize("strategy", ["auto", "shooting"])
def test_torchs_own_cells(cell: nn.Module, strategy: str) -> None:
    ours = ParallelCell(copy.deepcopy(cell).double(), strategy=strategy, batch_first=True)
    x = torch.randn(2, 90, 3, dtype=torch.float64)
    states, _ = ours(x)
    zero = torch.zeros(2, 5, dtype=torch.float64)
    lstm = isinstance(cell, nn.LSTMCell)
    expected = _loop(ours.cell, x.transpose(0, 1), (zero, zero) if lstm else zero)
    pairs = zip(states, expected, strict=True) if lstm else [(states, expected)]
    for mine, other in pairs:
        _close([mine.transpose(0, 1)], [other])
    assert (ours.last_info.strategy == "floor") == (strategy == "auto" and not lstm)


def test_lengths_hold_the_state() -> None:
    cell = Written(3, 6).double()
    x = torch.randn(120, 3, 3, dtype=torch.float64)
    states, last = ParallelCell(cell)(x, lengths=[120, 40, 0])
    zero = torch.zeros(1, 6, dtype=torch.float64)
    _close([last[:1]], [_loop(cell, x[:, :1], zero)[-1]])
    _close([last[1:2]], [_loop(cell, x[:40, 1:2], zero)[-1]])
    assert not last[2].any()
    assert torch.equal(states[50, 1], last[1])


def test_a_chaotic_cell_is_flagged_and_remembered() -> None:
    cell = Written(3, 16, scale=12.0).double()
    ours = ParallelCell(cell)
    x = torch.randn(256, 2, 3, dtype=torch.float64)
    states, _ = ours(x)
    assert ours.last_info.fallback == (0, 1)
    assert torch.equal(states, _loop(cell, x, torch.zeros(2, 16, dtype=torch.float64)))
    tried = []
    for _ in range(104):
        ours(x[:64, :1])
        tried.append(ours.last_info.iterations > 0)
    # One failure weighs 0.3, so a second one settles it until the probe.
    assert tried[:3].count(True) <= 2
    assert tried[3:].count(True) == 1


def test_empty_input_gives_back_the_state() -> None:
    ours, h = ParallelCell(Written(3, 6)), torch.randn(2, 6)
    states, last = ours(torch.zeros(0, 2, 3), h)
    assert states.shape == (0, 2, 6)
    assert torch.equal(last, h)
    assert ours(torch.zeros(4, 0, 3))[0].shape == (4, 0, 6)


def test_second_derivatives() -> None:
    x = torch.randn(70, 1, 3, dtype=torch.float64, requires_grad=True)
    cell = Written(3, 4).double()
    (gradient,) = torch.autograd.grad(
        ParallelCell(cell, strategy="sequential")(x)[0].sum(), x, create_graph=True
    )
    gradient.square().sum().backward()
    with pytest.raises(RuntimeError, match='strategy="sequential"'):
        torch.autograd.grad(
            ParallelCell(cell, strategy="shooting")(x)[0].sum(), x, create_graph=True
        )


def test_state_dict_and_deepcopy() -> None:
    ours = ParallelCell(Written(3, 6))
    x = torch.randn(80, 1, 3)
    twin = ParallelCell(Written(3, 6))
    twin.load_state_dict(ours.state_dict())
    assert torch.equal(twin(x)[0], copy.deepcopy(ours)(x)[0])


class Random(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.inner(x + h))


@pytest.mark.parametrize("inner", [nn.Dropout(0.5), nn.BatchNorm1d(3)])
def test_cells_that_are_no_functions_are_refused_in_training(inner: nn.Module) -> None:
    ours, x, h = ParallelCell(Random(inner)), torch.randn(80, 2, 3), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="in training mode at 'inner'"):
        ours(x, h)
    ours.eval()
    _close([ours(x, h)[0]], [_loop(ours.cell, x, h)], 1e-5)


class Told(nn.Module):
    """A cell that computes what it is told."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.mix = nn.Parameter(0.1 * torch.eye(3))
        self.step = step

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.step(x, h @ self.mix))


class Counting:
    """A step with a state of its own."""

    calls = 0

    def __call__(self, x: Tensor, h: Tensor) -> Tensor:
        self.calls += 1
        return x + h / self.calls


@pytest.mark.parametrize("strategy", ["auto", "shooting"])
@pytest.mark.parametrize(
    "step",
    [
        lambda x, h: x + nn.functional.dropout(h + 1, 0.5),
        lambda x, h: x + h + 0.1 * torch.randn(h.shape),
        lambda x, h: x + h - h.mean(0),
        lambda x, h: x - x.mean(0) + h,
        Counting(),
    ],
    ids=["dropout", "noise", "mixed states", "mixed inputs", "a state of its own"],
)
def test_one_step_is_tried_before_the_chunks(step: Any, strategy: str) -> None:
    torch.manual_seed(0)
    ours = ParallelCell(Told(step), strategy=strategy)
    with pytest.raises(ValueError, match="be pure and treat sequences independently"):
        ours(torch.randn(80, 2, 3), torch.randn(2, 3))


def test_a_weight_outside_of_the_cell_is_refused_and_not_forgotten() -> None:
    outside = torch.tensor(0.5, requires_grad=True)
    made = 2 * outside  # no leaf, but its gradient would be lost, too
    x, h = torch.randn(80, 2, 3), torch.zeros(2, 3)
    for weight in (outside, made):
        ours = ParallelCell(Told(lambda x, h, weight=weight: weight * x + h))
        with pytest.raises(ValueError, match="no parameter of its own"):
            ours(x, h)
        with torch.no_grad():
            ours(x, h)
    ours = ParallelCell(Told(lambda x, h: 0.5 * x + h))
    (scale,) = torch.ones(1, requires_grad=True)
    weights = {name: scale * one.detach() for name, one in ours.named_parameters()}
    states, _ = torch.func.functional_call(ours, weights, (x, h))
    plain = x.new_zeros(2, 3)
    total = torch.zeros(())
    for x_t in x:
        plain = torch.tanh(0.5 * x_t + plain @ weights["cell.mix"])
        total = total + plain.square().sum()
    (found,) = torch.autograd.grad(states.square().sum(), scale, retain_graph=True)
    _close([found], torch.autograd.grad(total, scale), 1e-5)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_lengths_with_states_of_any_shape(shape: tuple[int, ...]) -> None:
    class Decay(nn.Module):
        def forward(self, x: Tensor, h: Tensor) -> Tensor:
            return 0.1 * h + torch.sin(x[..., 0]).reshape(-1, *(1,) * len(shape))

    ours = ParallelCell(Decay())
    x = torch.randn(100, 3, 1, dtype=torch.float64)
    start = torch.randn(3, *shape, dtype=torch.float64)
    states, last = ours(x, start, lengths=[100, 0, 31])
    for row, length in enumerate((100, 0, 31)):
        h = start[row]
        for t in range(length):
            h = 0.1 * h + torch.sin(x[t, row, 0])
        _close([last[row], states[-1, row]], [h, h])
    assert torch.equal(states[31:, 2], states[30, 2].expand(69, *shape))
    assert ours.last_info.converged


def test_misuse() -> None:
    x = torch.randn(8, 2, 3)
    with pytest.raises(TypeError, match=r'"cell" is a function; give a torch.nn.Module'):
        ParallelCell(lambda x, h: h)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="\"strategy\" is 'newton'"):
        ParallelCell(Written(3, 4), strategy="newton")
    with pytest.raises(ValueError, match='"hx" is None and Random has no attribute hidden_size'):
        ParallelCell(Random(nn.Identity()))(x)
    with pytest.raises(ShapeError, match=r'"hx" has shape \(5, 4\)'):
        ParallelCell(Written(3, 4))(x, torch.zeros(5, 4))
    with pytest.raises(ShapeError, match=r'"input" has shape \(8, 2\)'):
        ParallelCell(Written(3, 4))(x[..., 0])
    with pytest.raises(
        ShapeError, match=r'"cell" returned a state of shapes \[\(2, 3\)\] from one'
    ):
        ParallelCell(Random(nn.Identity()))(x, torch.zeros(2, 1))
    x[5, 0, 0] = torch.inf
    with pytest.raises(ValueError, match="the first at time step 5"):
        ParallelCell(Written(3, 4))(x)
