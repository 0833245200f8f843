"""Every door of the pass on every device that there is, against torch's own modules on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import byways.parallel as parallel
from tests.oracles.recurrences import loop
from tests.parallel.test_diagonal import random

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def near(ours: Tensor, theirs: Tensor, device: str) -> None:
    assert ours.device.type == device
    torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("structure", [parallel.elements.Diagonal, parallel.elements.Dense])
def test_scans(device: str, structure: Callable[[Tensor], parallel.elements.Structure]) -> None:
    a, b = random(37, 2, 3), random(37, 2, 3)
    if structure is parallel.elements.Dense:
        a = a[..., None] * random(3) / 2
    h = parallel.scan(structure(a.to(device)), b.to(device))
    expected = loop(
        lambda t, h: a[t] * h if a.ndim == 3 else (a[t] @ h[..., None])[..., 0], b, 0 * b[0]
    )
    near(h, expected, device)
    sums = parallel.associative_scan(torch.add, b.to(device))
    near(sums, b.cumsum(0), device)


@pytest.mark.parametrize("method", ["auto", "newton", "picard"])
def test_recurrences(device: str, method: str) -> None:
    x, h0 = random(50, 3) / 2, random(3)

    def step(x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(0.5 * h + x)

    h, states = h0, []
    for one in x:
        h = step(one, h)
        states.append(h)
    solved, _ = parallel.solve_recurrence(step, x.to(device), h0.to(device), method=method)
    near(solved, torch.stack(states), device)


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("strategy", ["auto", "blelloch"])
def test_backward_passes_of_chains(device: str, images: bool, strategy: str) -> None:
    torch.manual_seed(0)
    layers = [m for _ in range(9) for m in (nn.Linear(4, 4), nn.Tanh())]
    conv = [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 4)]
    model = nn.Sequential(*(conv + layers if images else layers)).double()
    with torch.no_grad():
        model[0].weight[0, 0] = 0  # a pruned kernel has a pattern of its own
    x = random(5, 1, 8, 8) if images else random(5, 4)
    model(x).square().sum().backward()
    ours = deepcopy(model).to(device)
    ours.zero_grad()
    parallel.parallel_backward(ours, strategy=strategy)(x.to(device)).square().sum().backward()
    for mine, theirs in zip(ours.parameters(), model.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        near(mine.grad, theirs.grad, device)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("lengths", [None, [30, 7]])
def test_recurrent_modules(
    device: str, kind: type[nn.RNN | nn.GRU | nn.LSTM], lengths: list[int] | None
) -> None:
    torch.manual_seed(0)
    theirs = kind(3, 4, num_layers=2, bidirectional=True).double()
    ours = getattr(parallel, kind.__name__).from_torch(deepcopy(theirs).to(device))
    x = random(30, 2, 3)
    given = None if lengths is None else torch.tensor(lengths)
    out, _ = ours(x.to(device), **({} if given is None else {"lengths": given.to(device)}))
    if given is None:
        expected, _ = theirs(x)
    else:
        packed = nn.utils.rnn.pack_padded_sequence(x, given)
        expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0])
    near(out, expected, device)
    out.square().mean().backward()
    expected.square().mean().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        near(mine.grad, other.grad, device)


def test_cells(device: str) -> None:
    torch.manual_seed(0)
    cell = nn.GRUCell(3, 4).double()
    x, h0 = random(40, 2, 3), random(2, 4)
    h, states = h0, []
    for one in x:
        h = cell(one, h)
        states.append(h)
    ours = parallel.ParallelCell(deepcopy(cell).to(device))
    near(ours(x.to(device), h0.to(device))[0], torch.stack(states), device)


@pytest.mark.parametrize("kind", [parallel.MinGRU, parallel.MinLSTM])
def test_minimal_modules(device: str, kind: type[parallel.MinGRU | parallel.MinLSTM]) -> None:
    # No peer has them: what is known is that a step at a time and all at once are the same.
    torch.manual_seed(0)
    module = kind(3, 4).double().to(device)
    x = random(12, 2, 3).to(device)
    whole, last = module(x)
    state, parts = None, []
    for t in range(len(x)):
        out, state = module(x[t : t + 1]) if state is None else module(x[t : t + 1], state)
        parts.append(out)
    near(whole, torch.cat(parts).cpu(), device)
    near(last, whole[-1:].cpu().reshape(last.shape), device)


@pytest.mark.parametrize("method", ["sequential", "newton"])
def test_samplers(device: str, method: str) -> None:
    levels = torch.linspace(0.01, 1.0, 31, dtype=torch.float64)
    noise, target = random(2, 3), random(1, 3)

    def model(x: Tensor, _t: Tensor) -> Tensor:
        return torch.tanh(x - target.to(x.device))

    expected = noise
    for now, later in pairwise(levels):  # Song et al., 2021, eq. 12
        noise_seen = model(expected, now)
        clean = (expected - (1 - now).sqrt() * noise_seen) / now.sqrt()
        expected = later.sqrt() * clean + (1 - later).sqrt() * noise_seen
    x, _ = parallel.sample_ddim(model, noise.to(device), levels, method=method, tolerance=1e-10)
    assert x.device.type == device
    torch.testing.assert_close(x.cpu(), expected, rtol=1e-7, atol=1e-7)
