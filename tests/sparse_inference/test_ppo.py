"""The optimiser against closed forms, finite differences and brute force."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from byways.sparse_inference import _episodes as episodes
from byways.sparse_inference import _ppo as ppo
from byways.sparse_inference import random_sparse
from byways.sparse_inference._mpnn import greedy_mpnn
from byways.sparse_inference._policy_nets import MpnnNet
from byways.sparse_inference._rollouts import Rules, moves, rollout
from tests.oracles.edge_games import gae


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("discount", [1.0, 0.9])
@pytest.mark.parametrize("trace", [0.0, 0.5, 1.0])
def test_advantages_are_the_double_sum(discount: float, trace: float) -> None:
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=9), rng.normal(size=9)
    advantage, returns = ppo.advantages(rewards, values, discount, trace)
    np.testing.assert_allclose(advantage, gae(rewards, values, discount, trace), rtol=1e-12)
    np.testing.assert_allclose(returns, advantage + values, rtol=1e-12)


def test_advantages_with_a_full_trace_are_returns_minus_values() -> None:
    rewards, values = np.array([1.0, -2.0, 4.0]), np.array([5.0, 6.0, 7.0])
    advantage, _ = ppo.advantages(rewards, values, 1.0, 1.0)
    np.testing.assert_allclose(advantage, [3.0 - 5, 2.0 - 6, 4.0 - 7])


def tiny(counts: list[int], features: int = 3, seed: int = 0) -> ppo.Batch:
    """Give decisions with so many choices each, every choice a group of its own."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum([0, *counts])
    rows = torch.arange(int(starts[-1]))
    return ppo.Batch(
        torch.from_numpy(np.repeat(np.arange(len(counts)), counts)), torch.from_numpy(starts),
        rows, rows, torch.from_numpy(rng.normal(size=(len(rows), features))),
        {"row_source": rows, "cache": torch.arange(len(counts))[:, None]},
    )  # fmt: skip


def test_odds_are_the_softmax_of_each_decision() -> None:
    counts = [1, 4, 2]
    batch, scores = tiny(counts), torch.randn(7, dtype=torch.float64) * 300
    found = ppo.log_odds(scores, batch).split(counts)
    for part, own in zip(found, scores.split(counts), strict=True):
        torch.testing.assert_close(part, own.log_softmax(0))


class _Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64))

    def forward(self, batch: ppo.Batch) -> tuple[torch.Tensor, torch.Tensor]:
        first = batch.features[batch.starts[:-1]]
        return batch.features @ self.w, first @ self.w.square()


def example() -> tuple[_Linear, ppo.Rollout]:
    batch = tiny([3, 2, 4, 1, 3])
    advantage = torch.tensor([1.0, -2.0, 0.5, 3.0, -1.0], dtype=torch.float64)
    taken = torch.tensor([1, 4, 5, 9, 12])
    return _Linear(), ppo.Rollout(batch, taken, advantage, advantage.flip(0))


def by_hand(w: np.ndarray, data: ppo.Rollout, old: np.ndarray, settings: ppo.Settings) -> float:
    """Give the objective of the paper, decision by decision."""
    x, starts = data.batch.features.numpy(), data.batch.starts.numpy()
    a = data.advantage.numpy()
    a = (a - a.mean()) / (a.std() + 1e-8)
    gain = entropy = error = 0.0
    for d in range(len(a)):
        own = x[starts[d] : starts[d + 1]]
        p = np.exp(own @ w) / np.exp(own @ w).sum()
        ratio = p[int(data.taken[d]) - starts[d]] / np.exp(old[d])
        low, high = 1 - settings.clip, 1 + settings.clip
        gain += min(ratio * a[d], min(max(ratio, low), high) * a[d]) / len(a)
        entropy -= (p * np.log(p)).sum() / len(a)
        error += (own[0] @ w**2 - float(data.returns[d])) ** 2 / len(a)
    return settings.value * error - gain - settings.entropy * entropy


@pytest.mark.parametrize("shift", [0.0, 0.1, -0.5, 0.5])
def test_the_loss_and_its_gradient_are_those_of_the_formula(shift: float) -> None:
    net, data = example()
    settings = ppo.Settings(entropy=0.1)
    with torch.no_grad():
        old = ppo.log_odds(net(data.batch)[0], data.batch)[data.taken]
    old = old + shift * torch.tensor([1.0, -1.0, 0.7, 1.3, -1.2], dtype=torch.float64)
    value, _ = ppo.loss(net, data, old, settings)
    value.backward()
    w = net.w.detach().numpy()
    assert float(value.detach()) == pytest.approx(by_hand(w, data, old.numpy(), settings), 1e-9)
    for k in range(3):
        step = np.eye(3)[k] * 1e-6
        ends = [by_hand(w + s * step, data, old.numpy(), settings) for s in (1, -1)]
        assert net.w.grad is not None
        assert float(net.w.grad[k]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_at_the_old_policy_the_gradient_is_that_of_policy_gradients() -> None:
    net, data = example()
    settings = ppo.Settings(entropy=0.0, value=0.0)
    log = ppo.log_odds(net(data.batch)[0], data.batch)[data.taken]
    advantage = (data.advantage - data.advantage.mean()) / (data.advantage.std(correction=0) + 1e-8)
    (expected,) = torch.autograd.grad((log * advantage).mean(), [net.w])
    value, seen = ppo.loss(net, data, log.detach(), settings)
    (found,) = torch.autograd.grad(value, [net.w])
    torch.testing.assert_close(found, -expected)
    assert seen["divergence"] == pytest.approx(0.0, abs=1e-12)


def test_some_decisions_are_those_decisions() -> None:
    _, data = example()
    chosen = torch.tensor([0, 2, 4])
    part = ppo.select(data, chosen)
    rows = torch.tensor([0, 1, 2, 5, 6, 7, 8, 10, 11, 12])
    assert (part.batch.features == data.batch.features[rows]).all()
    assert part.batch.owner.tolist() == [0] * 3 + [1] * 4 + [2] * 3
    assert part.batch.by_source.tolist() == list(range(10))
    assert part.batch.extras["row_source"].tolist() == rows.tolist()
    assert part.batch.extras["cache"][:, 0].tolist() == chosen.tolist()
    taken = part.batch.features[part.taken]
    assert (taken == data.batch.features[data.taken[chosen]]).all()


def test_joined_batches_keep_their_decisions() -> None:
    first, second = tiny([2, 3]), tiny([1, 4], seed=1)
    both = ppo.joined([first, second])
    assert both.starts.tolist() == [0, 2, 5, 6, 10]
    assert both.owner.tolist() == [0, 0, 1, 1, 1, 2, 3, 3, 3, 3]
    assert both.by_target.tolist() == list(range(10))
    assert (both.features[5:] == second.features).all()


def test_draws_follow_the_odds() -> None:
    batch = tiny([3] * 4000)
    scores = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64).repeat(4000)
    rows = ppo.draws(ppo.log_odds(scores, batch), batch, np.random.default_rng(0))
    assert (batch.owner[rows] == torch.arange(4000)).all()
    share = np.bincount((rows % 3).numpy(), minlength=3) / 4000
    odds = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64).softmax(0).numpy()
    assert (abs(share - odds) < 4 * np.sqrt(odds * (1 - odds) / 4000)).all()


def test_the_best_choice_is_the_first_of_equals() -> None:
    batch = tiny([2, 3])
    scores = torch.tensor([1.0, 1.0, 0.0, 2.0, 2.0])
    assert ppo.best(scores, batch).tolist() == [0, 3]


def test_a_rollout_plays_whole_games_and_its_rewards_add_up() -> None:
    graphs = [random_sparse([8] * 3, 0.3, rng=s) for s in range(4)]
    rng = np.random.default_rng(0)
    net = MpnnNet(greedy_mpnn(4, 1, rng), rng)
    settings = ppo.Settings(trace=1.0)
    found, misses = rollout(net, graphs, Rules(False, 4), settings, np.random.default_rng(1))
    nets = episodes.pack(graphs)
    states = episodes.start(nets, 4)
    generator = np.random.default_rng(1)
    played = list(
        moves(net, nets, states, Rules(False, 4), lambda log, b: ppo.draws(log, b, generator))
    )
    total = states.tally[:, episodes.MISSES] / nets.sizes[:, 1]
    assert misses == pytest.approx(total.mean())
    assert sum(int(move.ran.sum()) for move in played) == sum(graph.edges for graph in graphs)
    # With a full trace the return of a game's first move is the sum of its rewards: the greedy
    # order's misses minus this game's, in units of five.
    from byways.sparse_inference._rollouts import greedy_misses

    usual = np.array([greedy_misses(graph, 4) for graph in graphs])
    expected = (usual - states.tally[:, episodes.MISSES]) / 5
    np.testing.assert_allclose(found.returns[:4].numpy(), expected, atol=1e-12)


def test_an_update_makes_good_choices_likelier() -> None:
    net, data = example()
    data = ppo.Rollout(data.batch, data.taken, data.advantage, net(data.batch)[1].detach())
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    before = ppo.log_odds(net(data.batch)[0], data.batch)[data.taken].detach()
    settings = ppo.Settings(parts=1, value=0.0, entropy=0.0)
    ppo.update(net, optimizer, data, settings, np.random.default_rng(0))
    after = ppo.log_odds(net(data.batch)[0], data.batch)[data.taken].detach()
    assert ((after - before) * data.advantage).sum() > 0
