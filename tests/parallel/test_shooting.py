"""Multiple shooting against a loop with torch's own graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from byways.parallel._lattice import chunk_count
from byways.parallel._shooting import shoot


def _loop(step: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    states = []
    for x_t in x:
        state = step(x_t, state)
        states.append(state)
    return tuple(torch.stack(parts) for parts in zip(*states, strict=True))


def _gradients(states: tuple[Tensor, ...], leaves: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    loss = sum((s * torch.randn(s.shape, dtype=s.dtype, generator=generator)).sum() for s in states)
    return list(torch.autograd.grad(loss, leaves))


def _compare(mine: Any, other: Any, tolerance: float = 1e-10) -> None:
    for a, b in zip(mine, other, strict=True):
        scale = max(1.0, float(b.detach().abs().max()))
        assert float((a - b).detach().abs().max()) <= tolerance * scale


def _tanh_chain(gains: list[float], steps: int, units: int = 8) -> tuple[Any, Tensor, Any, Tensor]:
    """A tanh recurrence with one gain for each sequence: above 1 it is chaotic, below it forgets.

    The gain rides along as the last column of the state, so that each lane knows its own.
    """
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(units, units, dtype=torch.float64, generator=generator) / units**0.5
    W.requires_grad_()
    x = torch.randn(steps, len(gains), units, dtype=torch.float64, generator=generator)
    h = torch.zeros(len(gains), units + 1, dtype=torch.float64)
    h[:, -1] = torch.tensor(gains)

    def step(x_NI: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h, gain = state[0][:, :-1], state[0][:, -1:]
        return (torch.cat((torch.tanh(0.3 * x_NI + gain * (h @ W.T)), gain), 1),)

    return step, x.requires_grad_(), (h.requires_grad_(),), W


@pytest.mark.parametrize("chunks", [None, 1, 2, 7, 50, 1000])
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_any_number_of_chunks_gives_the_loops_answer(steps: int, chunks: int | None) -> None:
    step, x, state, W = _tanh_chain([0.5, 0.9, 0.2], steps)
    states, info = shoot(step, x, state, (W,), chunks=chunks)
    expected = _loop(step, x, state)
    _compare(states, expected)
    _compare(_gradients(states, [x, *state, W]), _gradients(expected, [x, *state, W]))
    assert info.converged
    assert 1 <= info.chunks <= steps
    assert info.iterations <= info.chunks


def test_a_chaotic_sequence_does_not_touch_the_tame_ones() -> None:
    step, x, state, W = _tanh_chain([0.5, 4.0, 0.6, 5.0], 400, 16)
    states, info = shoot(step, x, state, (W,), max_steps=5)
    assert info.fallback == (1, 3)
    assert not info.converged
    assert info.strategy == "shooting"
    assert info.jump < 1e-9
    tame, chaotic = states[0][:, ::2], states[0][:, 1::2]
    expected = _loop(step, x[:, ::2], (state[0][::2],))
    _compare([tame], expected)
    leaves = [x, *state, W]
    _compare(_gradients((tame,), leaves), _gradients(expected, leaves))
    # Two right programs disagree in a chaotic system, so the same batch is compared bit for bit.
    assert torch.equal(chaotic, _loop(step, x[:, 1::2], (state[0][1::2],))[0])


def test_all_chaotic_is_the_loop_itself_and_flagged() -> None:
    step, x, state, W = _tanh_chain([4.0, 5.0], 300, 16)
    states, info = shoot(step, x, state, (W,), max_steps=3)
    assert (info.strategy, info.chunks, info.fallback) == ("sequential", 1, (0, 1))
    assert torch.equal(states[0], _loop(step, x, state)[0])


def test_as_many_rounds_as_chunks_always_suffice() -> None:
    """A memory that never fades: the sum of all inputs, exact in float64."""
    x = torch.randint(-9, 9, (60, 2, 3), dtype=torch.float64, requires_grad=True)
    state = (torch.zeros(2, 3, dtype=torch.float64, requires_grad=True),)
    states, info = shoot(lambda x, s: (s[0] + x,), x, state, chunks=6)
    assert info.converged
    assert info.iterations == 6
    assert torch.equal(states[0], x.cumsum(0))
    weights = torch.arange(60.0, dtype=torch.float64)[:, None, None]
    (gradient,) = torch.autograd.grad((states[0] * weights).sum(), x)
    assert torch.equal(gradient, weights.flip(0).cumsum(0).flip(0).expand_as(x))


def test_a_backward_pass_that_does_not_settle_goes_chunk_by_chunk() -> None:
    """The forward pass is given its answer, so only the cotangents have to travel."""
    x = torch.zeros(60, 2, 1, dtype=torch.float64, requires_grad=True)
    state = (torch.zeros(2, 1, dtype=torch.float64, requires_grad=True),)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    states, info = shoot(
        lambda x, s: (scale * s[0] + x,), x, state, (scale,), chunks=6, max_steps=2
    )
    assert info.converged  # zero stays zero
    gradients = torch.autograd.grad(states[0][-1, 0].sum(), [x, *state, scale])
    assert info.backward_fallback == (0,)
    assert bool((gradients[0][:, 0] == 1).all())
    assert not gradients[0][:, 1].any()
    assert gradients[1].flatten().tolist() == [1.0, 0.0]
    assert gradients[2] == 0


def test_residual_chains_take_few_rounds_with_the_identity() -> None:
    """h + small(h): the identity as chunk Jacobian is nearly right, zero is not at all."""
    generator = torch.Generator().manual_seed(1)
    W = torch.randn(4, 4, dtype=torch.float64, generator=generator).requires_grad_()
    x = torch.zeros(256, 3, 1, dtype=torch.float64)
    state = (torch.randn(3, 4, dtype=torch.float64, generator=generator).requires_grad_(),)

    def step(x_NI: Tensor, s: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (s[0] + torch.tanh(s[0] @ W) / 256,)

    states, info = shoot(step, x, state, (W,), residual=True, chunks=16)
    expected = _loop(step, x, state)
    _compare(states, expected)
    _compare(_gradients(states, [*state, W]), _gradients(expected, [*state, W]))
    assert info.iterations <= 10
    assert shoot(step, x, state, (W,), chunks=16)[1].iterations == 16


def test_lengths_hold_the_state() -> None:
    step, x, state, W = _tanh_chain([0.5, 0.7, 0.6], 40)
    lengths = torch.tensor([40, 13, 0])
    states, _ = shoot(step, x, state, (W,), lengths=lengths)
    expected = _loop(step, x, state)[0]
    parts = [expected[:, 0], expected[:13, 1]]
    _compare([states[0][:, 0], states[0][:13, 1]], parts)
    assert torch.equal(states[0][13:, 1], states[0][12, 1].expand(27, -1))
    assert torch.equal(states[0][:, 2], state[0][2].expand(40, -1))


@pytest.mark.parametrize("max_steps", [None, 2])
@pytest.mark.parametrize("lengths", [[60, 7, 0, 1], [0, 0, 0, 0], [59, 60, 10, 30]])
def test_ended_sequences_have_the_gradients_of_the_loop(
    lengths: list[int], max_steps: int | None
) -> None:
    """The sequences without an end to their memory go step by step with two rounds."""
    step, x, state, W = _tanh_chain([0.5, 0.2, 0.9, 4.0], 60)
    n = torch.tensor(lengths)
    states, info = shoot(step, x, state, (W,), lengths=n, max_steps=max_steps, chunks=10)
    held, expected = state[0], []
    for t in range(60):
        new = step(x[t], (held,))[0]
        held = torch.where((t < n)[:, None], new, held)
        expected.append(held)
    plain = (torch.stack(expected),)
    _compare(states, plain)
    leaves = [x, *state, W]
    _compare(_gradients(states, leaves), _gradients(plain, leaves))
    # What has ended is not waited for, and its steps hold one state to the bit.
    assert info.iterations <= max(1, -(-max(lengths) // 6))
    for row, last in enumerate(lengths):
        assert torch.equal(
            states[0][last:, row],
            (states[0][last - 1, row] if last else state[0][row]).expand(60 - last, -1),
        )


def test_short_sequences_of_a_long_batch_settle_at_once() -> None:
    x = torch.randn(400, 3, 1, dtype=torch.float64, requires_grad=True)
    state = (torch.ones(3, 1, dtype=torch.float64, requires_grad=True),)

    def step(x: Tensor, s: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (0.2 * torch.sin(s[0]) + x,)

    states, info = shoot(step, x, state, lengths=torch.tensor([400, 30, 7]), max_steps=4)
    assert (info.converged, info.fallback) == (True, ())
    _gradients(states, [x, *state])
    assert info.backward_fallback == ()
    assert info.backward_iterations <= 4


def test_equal_cuts_give_equal_bits() -> None:
    step, x, state, W = _tanh_chain([0.5, 0.7], 100)
    first, second = (shoot(step, x, state, (W,), chunks=9)[0][0] for _ in range(2))
    assert torch.equal(first, second)


def test_no_cotangent_at_all() -> None:
    step, x, state, W = _tanh_chain([0.5], 30)
    states, info = shoot(step, x, state, (W,))
    gradients = torch.autograd.grad(0.0 * states[0].sum(), [x, W])
    assert not any(gradient.any() for gradient in gradients)
    assert info.backward_fallback == ()


def test_the_rule_for_chunks() -> None:
    assert chunk_count(10_000, 1) == 100
    assert chunk_count(20_000, 16) == 100
    assert chunk_count(1, 64) == 1
