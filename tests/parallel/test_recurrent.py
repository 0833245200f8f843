"""RNN, GRU and LSTM against torch.nn: outputs, states and every gradient."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from byways.parallel import GRU, LSTM, RNN

from .recurrent_pairs import assert_close, pair, results, start

KINDS = ("tanh", "relu", "gru", "lstm")
SOLVERS = ["floor", "shooting", "blelloch"]


@pytest.mark.parametrize("strategy", SOLVERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("steps", [1, 2, 3, 60])
def test_values_and_gradients_are_torchs(
    kind: str, strategy: str, dtype: torch.dtype, steps: int
) -> None:
    theirs, ours = pair(kind, 3, 7, strategy=strategy, dtype=dtype)
    x = torch.randn(steps, 4, 3, dtype=dtype, requires_grad=True)
    hx = start(theirs, 4)
    assert_close(results(ours, x, hx), results(theirs, x, hx))
    assert ours.last_info[0].strategy == strategy


@pytest.mark.parametrize("strategy", SOLVERS)
@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
@pytest.mark.parametrize(
    "settings",
    [
        {"num_layers": 2, "bidirectional": True},
        {"batch_first": True, "bias": False},
        {"num_layers": 3, "batch_first": True},
    ],
)
def test_layers_directions_and_axes(kind: str, strategy: str, settings: dict[str, Any]) -> None:
    theirs, ours = pair(kind, 3, 5, strategy=strategy, dtype=torch.float64, **settings)
    shape = (2, 30, 3) if settings.get("batch_first") else (30, 2, 3)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    hx = start(theirs, 2)
    assert_close(results(ours, x, hx), results(theirs, x, hx))


@pytest.mark.parametrize("strategy", [*SOLVERS, "torch"])
@pytest.mark.parametrize("kind", ["relu", "gru", "lstm"])
def test_ragged_sequences_are_torchs_packed_ones(kind: str, strategy: str) -> None:
    theirs, ours = pair(
        kind, 3, 5, strategy=strategy, dtype=torch.float64, num_layers=2, bidirectional=True
    )
    lengths = torch.tensor([4, 17, 1, 9])
    x = torch.randn(17, 4, 3, dtype=torch.float64, requires_grad=True)
    hx = start(theirs, 4)

    def packed(x: torch.Tensor, hx: Any) -> Any:
        output, last = theirs(pack_padded_sequence(x, lengths, enforce_sorted=False), hx)
        return pad_packed_sequence(output, total_length=17)[0], last

    class Packed:
        parameters = theirs.parameters
        __call__ = staticmethod(packed)

    expected = results(Packed(), x, hx)
    assert_close(results(ours, x, hx, lengths=lengths), expected)


def test_what_lies_after_the_end_is_not_read() -> None:
    theirs, ours = pair("gru", 3, 5, strategy="floor", dtype=torch.float64, bidirectional=True)
    x = torch.randn(8, 2, 3, dtype=torch.float64)
    alone = theirs(x[:5, 1:])[0]
    x[5:, 1] = torch.nan
    output, _ = ours(x, lengths=[8, 5])
    assert_close([output[:5, 1:]], [alone])
    assert not output[5:, 1].any()


def test_a_sequence_without_steps_keeps_its_state() -> None:
    ours = GRU(2, 3)
    hx = torch.randn(1, 2, 3)
    output, last = ours(torch.randn(4, 2, 2), hx, lengths=[0, 4])
    assert torch.equal(last[:, 0], hx[:, 0])
    assert not output[:, 0].any()


def test_packed_in_packed_out() -> None:
    theirs, ours = pair("lstm", 3, 5, strategy="auto", dtype=torch.float64)
    x = torch.randn(9, 3, 3, dtype=torch.float64)
    packed = pack_padded_sequence(x, torch.tensor([2, 9, 6]), enforce_sorted=False)
    mine, (h, c) = ours(packed)
    other, (h_other, c_other) = theirs(packed)
    assert torch.equal(mine.batch_sizes, other.batch_sizes)
    assert_close([mine.data, h, c], [other.data, h_other, c_other])


@pytest.mark.parametrize("strategy", ["auto", "torch", *SOLVERS])
@pytest.mark.parametrize("kind", KINDS)
def test_no_steps_and_no_sequences(kind: str, strategy: str) -> None:
    theirs, ours = pair(kind, 3, 5, strategy=strategy, dtype=torch.float32, bidirectional=True)
    hx = start(theirs, 2)
    output, last = ours(torch.zeros(0, 2, 3), hx)
    assert output.shape == (0, 2, 10)
    for mine, given in zip(_states(last), _states(hx), strict=True):
        assert torch.equal(mine, given)
    output, _ = ours(torch.zeros(0, 2, 3), hx)
    found = torch.autograd.grad(sum(part.sum() for part in _states(last)), _states(hx))
    assert all(bool((gradient == 1).all()) for gradient in found)
    output, last = ours(torch.zeros(4, 0, 3))
    assert output.shape == (4, 0, 10)
    assert _states(last)[0].shape == (2, 0, 5)


@pytest.mark.parametrize("cls", [RNN, GRU, LSTM])
def test_a_single_sequence_has_no_batch_axis(cls: Any) -> None:
    ours = cls(3, 5, strategy="floor")
    theirs = ours.to_torch()
    x = torch.randn(6, 3)
    mine, other = ours(x), theirs(x)
    assert_close([mine[0], *_states(mine[1])], [other[0], *_states(other[1])])


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_of_the_floor(kind: str) -> None:
    _, ours = pair(kind, 2, 3, strategy="floor", dtype=torch.float64)
    hx = start(ours, 2)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(x: torch.Tensor, *parts: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output, last = ours(x, parts if len(parts) == 2 else parts[0], lengths=[4, 3])
        return (output, *_states(last))

    assert torch.autograd.gradcheck(run, (x, *_states(hx)))


@pytest.mark.parametrize("strategy", SOLVERS)
def test_second_derivatives_are_refused(strategy: str) -> None:
    ours = GRU(2, 3, strategy=strategy)
    x = torch.randn(5, 1, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match='use strategy="torch"'):
        torch.autograd.grad(ours(x)[0].sum(), x, create_graph=True)


def test_the_backward_pass_may_be_repeated() -> None:
    for strategy in SOLVERS:
        ours = GRU(2, 3, strategy=strategy)
        x = torch.randn(30, 1, 2, requires_grad=True)
        loss = ours(x)[0].square().sum()
        (first,) = torch.autograd.grad(loss, x, retain_graph=True)
        (second,) = torch.autograd.grad(loss, x)
        assert torch.equal(first, second)


def test_a_graph_through_the_chunks_is_not_recorded_without_need() -> None:
    ours = GRU(2, 3, strategy="shooting")
    with torch.no_grad():
        assert not ours(torch.randn(30, 1, 2))[0].requires_grad
    ours.requires_grad_(False)
    assert not ours(torch.randn(30, 1, 2))[0].requires_grad


def test_views_and_expanded_inputs_work() -> None:
    theirs, ours = pair("gru", 3, 5, strategy="floor", dtype=torch.float64)
    x = torch.randn(1, 2, 3, 20, dtype=torch.float64)[0].permute(2, 0, 1)
    hx = torch.randn(1, 1, 5, dtype=torch.float64).expand(1, 2, 5)
    for given in (x, x[:, :1].expand(20, 2, 3), x.flip(0)[::2]):
        assert_close([ours(given, hx)[0]], [theirs(given, hx)[0]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_runs_in_float32(dtype: torch.dtype) -> None:
    ours = GRU(3, 5, dtype=dtype, strategy="floor")
    x = torch.randn(40, 2, 3, dtype=dtype)
    output, last = ours(x)
    exact = ours.to_torch().float()(x.float())[0]
    assert output.dtype == last.dtype == dtype
    assert float((output.float() - exact).detach().abs().max()) < 0.02


def test_an_overflow_shows() -> None:
    ours = RNN(1, 2, nonlinearity="relu", strategy="floor")
    with torch.no_grad():
        ours.weight_hh_l0.copy_(4.0 * torch.eye(2))
        ours.weight_ih_l0.fill_(1.0)
    output, _ = ours(torch.ones(200, 1, 1))
    assert output.isinf().any()
    ours = GRU(1, 2, strategy="floor")
    with torch.no_grad():
        ours.weight_hh_l0.fill_(torch.nan)
    assert ours(torch.ones(3, 1, 1))[0].isnan().all()


@pytest.mark.parametrize("strategy", SOLVERS)
def test_relu_at_zero_has_the_slope_of_torch(strategy: str) -> None:
    theirs, ours = pair("relu", 2, 4, strategy=strategy, dtype=torch.float64)
    with torch.no_grad():
        for module in (theirs, ours):
            for weight in module.parameters():
                weight.fill_(0.25)
                weight[::2] = 0.0  # every second unit is exactly at zero
    x = torch.ones(9, 2, 2, dtype=torch.float64, requires_grad=True)
    hx = torch.ones(1, 2, 4, dtype=torch.float64, requires_grad=True)
    mine = results(ours, x, hx)
    assert not mine[0][..., ::2].any()
    assert all(not gradient[::2].any() for gradient in mine[4:])
    assert_close(mine, results(theirs, x, hx))


@pytest.mark.parametrize("cls", [RNN, GRU, LSTM])
def test_a_chaotic_module_says_so_or_is_exact(cls: Any) -> None:
    torch.manual_seed(0)
    ours = cls(3, 16, strategy="shooting", dtype=torch.float64)
    with torch.no_grad():
        ours.weight_hh_l0.mul_(30.0)
    x = torch.randn(400, 3, 3, dtype=torch.float64)
    output, _ = ours(x)
    (info,) = ours.last_info
    # The state before each step, and one step of torch's from there: no two programs are compared.
    if cls is not LSTM:
        one = ours.to_torch()
        stepped, _ = one(x[1:].reshape(1, -1, 3), output[:-1].reshape(1, -1, 16))
        again = stepped.reshape(output[1:].shape)
        torch.testing.assert_close(output[1:], again, rtol=1e-9, atol=1e-9)
    assert info.iterations > 4
    assert info.converged == (info.fallback == ())


def test_vanishing_cotangents_end_the_backward_pass_early_and_right() -> None:
    theirs, ours = pair("gru", 3, 8, strategy="floor", dtype=torch.float32)
    with torch.no_grad():
        for module in (theirs, ours):
            module.weight_hh_l0.mul_(0.1)
            module.bias_ih_l0[8:16] = -3.0  # forget fast
    x = torch.randn(400, 2, 3, requires_grad=True)
    for module in (ours, theirs):
        module(x)[0][-1].sum().backward()
        module.x_grad, x.grad = x.grad, None
    assert not ours.x_grad[:100].any()
    mine = [ours.x_grad, *(p.grad for p in ours.parameters())]
    assert_close(mine, [theirs.x_grad, *(p.grad for p in theirs.parameters())])


def test_dropout_between_layers_is_torchs_for_a_seed() -> None:
    theirs, ours = pair("gru", 3, 5, strategy="floor", dtype=torch.float64, num_layers=3)
    theirs.dropout = ours.dropout = 0.5
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    torch.manual_seed(3)
    mine = ours(x)[0]
    torch.manual_seed(3)
    assert_close([mine], [theirs(x)[0]])
    assert_close([ours.eval()(x)[0]], [theirs.eval()(x)[0]])


@pytest.mark.parametrize("cls", [RNN, GRU, LSTM])
def test_a_seed_draws_torchs_weights_and_state_dicts_are_exchanged(cls: Any) -> None:
    settings = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    torch.manual_seed(5)
    ours = cls(3, 4, **settings)
    torch.manual_seed(5)
    theirs = cls._torch_class(3, 4, **settings)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)
    )
    theirs.load_state_dict(cls(3, 4, **settings).state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 12, 3)
    assert_close([ours(x)[0]], [theirs(x)[0]])


def test_from_torch_and_back_copy_everything_and_draw_nothing() -> None:
    theirs = nn.LSTM(3, 4, 2, batch_first=True, dropout=0.1, bidirectional=True).eval()
    theirs.weight_hh_l0.requires_grad_(False)
    before = torch.get_rng_state()
    back = LSTM.from_torch(theirs, strategy="torch").to_torch()
    assert torch.equal(torch.get_rng_state(), before)
    assert type(back) is nn.LSTM
    assert repr(back) == repr(theirs)
    assert not back.training
    assert not back.weight_hh_l0.requires_grad
    assert back.weight_hh_l1.data_ptr() != theirs.weight_hh_l1.data_ptr()
    x = torch.randn(2, 6, 3)
    assert torch.equal(back(x)[0], theirs(x)[0])


def test_deepcopy_is_independent() -> None:
    ours = GRU(3, 4, strategy="shooting")
    x = torch.randn(40, 1, 3)
    first = ours(x)[0]
    twin = copy.deepcopy(ours)
    with torch.no_grad():
        ours.weight_hh_l0.zero_()
    assert torch.equal(twin(x)[0], first)
    assert "strategy='shooting'" in repr(twin)


def test_functional_call_reaches_the_weights() -> None:
    ours = GRU(3, 4, strategy="floor")
    weights = {name: torch.zeros_like(p) for name, p in ours.named_parameters()}
    output, _ = torch.func.functional_call(ours, weights, (torch.randn(5, 1, 3),))
    assert not output.any()


def test_compiled_models_leave_the_loops_outside() -> None:
    ours = GRU(3, 4, strategy="floor")
    x = torch.randn(20, 2, 3)
    model = nn.Sequential(nn.Linear(3, 3), ours)
    output, _ = torch.compile(model, backend="eager")(x)
    assert torch.equal(output, model(x)[0])
    output.sum().backward()
    compiled = ours.weight_hh_l0.grad
    ours.zero_grad()
    model(x)[0].sum().backward()
    assert torch.equal(compiled, ours.weight_hh_l0.grad)


def test_auto_uses_torchs_kernel_where_it_is_faster() -> None:
    long_, wide = GRU(3, 8), LSTM(3, 64)
    long_(torch.randn(500, 1, 3))
    wide(torch.randn(50, 64, 3))
    assert [m.last_info[0].strategy for m in (long_, wide)] == ["floor", "torch"]


def _states(last: Any) -> tuple[torch.Tensor, ...]:
    return last if isinstance(last, tuple) else (last,)
