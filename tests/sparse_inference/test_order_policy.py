from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from byways.core.errors import ConversionError
from byways.sparse_inference import EdgeGraph, EdgeOrder, order_edges, random_sparse, simulate
from byways.sparse_inference import _episodes as episodes
from byways.sparse_inference._greedy import greedy
from byways.sparse_inference._mpnn import Mpnn, greedy_mpnn, play, scores
from byways.sparse_inference._order_policy import OrderPolicy, network_digest
from byways.sparse_inference._policy_nets import LaplacianNet, MpnnNet, embeddings
from byways.sparse_inference._ppo import Batch
from byways.sparse_inference._rollouts import Rules, decode, moves
from tests.sparse_inference.graphs import random_graph

UNSEEN = [random_sparse([16] * 5, 0.2, rng=seed) for seed in range(500, 520)]
SMALL = random_sparse([6, 6, 4], 0.4, rng=1)
LOOSE = random_graph(np.random.default_rng(3), n=16)


def wild(rounds: int = 2, width: int = 5, seed: int = 0) -> Mpnn:
    """Give weights none of which is zero."""
    rng = np.random.default_rng(seed)
    return Mpnn(*(rng.normal(size=a.shape) for a in greedy_mpnn(width, rounds, rng)))


def played(graph: EdgeGraph, edges: np.ndarray, places: int) -> tuple[Any, Any]:
    """Give a game in which these edges have run."""
    nets = episodes.pack([graph])
    states = episodes.start(nets, places)
    misses, ran = np.zeros(1, int), np.zeros(1, int)
    for e in edges:
        episodes.step(nets, states, np.array([e]), False, misses, ran)
    return nets, states


def seen(nets: Any, states: Any) -> Any:
    view = episodes.blank_view(nets)
    episodes.look(nets, states, True, view)
    return view


def as_batch(view: Any) -> Batch:
    rows = int(view.starts[-1])
    zeros = torch.zeros(rows, dtype=torch.int64)
    return Batch(
        zeros, torch.from_numpy(view.starts), torch.from_numpy(view.by_source[:rows]),
        torch.from_numpy(view.by_target[:rows]), torch.from_numpy(view.features[:rows]), {},
    )  # fmt: skip


@pytest.mark.parametrize("rounds", [0, 1, 2])
@pytest.mark.parametrize("ran", [0, 9, 20])
def test_scores_without_torch_are_those_of_the_torch_net(rounds: int, ran: int) -> None:
    order = greedy(LOOSE, 5)
    view = seen(*played(LOOSE, order[:ran], 5))
    weights = wild(rounds)
    net = MpnnNet(weights, np.random.default_rng(0))
    expected = net(as_batch(view))[0].detach().numpy()
    np.testing.assert_allclose(scores(view, weights), expected, rtol=1e-11, atol=1e-11)
    assert all((a == b).all() for a, b in zip(net.weights(), weights, strict=True))


@pytest.mark.parametrize("ran", [5, 15])
def test_scores_do_not_depend_on_the_numbering(ran: int) -> None:
    names = np.random.default_rng(0).permutation(LOOSE.vertices)
    back = np.argsort(names)
    other = EdgeGraph(
        names[LOOSE.sources], names[LOOSE.targets], LOOSE.weights, LOOSE.bias[back],
        LOOSE.activation[back], LOOSE.activations, names[LOOSE.inputs], names[LOOSE.outputs],
    )  # fmt: skip
    number = {pair: e for e, pair in enumerate(zip(other.sources, other.targets, strict=True))}
    renamed = np.array([number[names[u], names[v]]
                        for u, v in zip(LOOSE.sources, LOOSE.targets, strict=True)])  # fmt: skip
    order = greedy(LOOSE, 5)[:ran]
    found = []
    for graph, edges in ((LOOSE, order), (other, renamed[order])):
        view = seen(*played(graph, edges, 5))
        own = scores(view, wild())
        found.append(dict(zip(view.edges.tolist(), own.tolist(), strict=False)))
    assert set(found[1]) == {int(renamed[e]) for e in found[0]}
    for e, score in found[0].items():
        assert found[1][int(renamed[e])] == pytest.approx(score, rel=1e-10)


@pytest.mark.parametrize("graph", [*UNSEEN[:4], SMALL, LOOSE], ids=range(6))
@pytest.mark.parametrize("places", [2, 8, 50])
def test_before_training_the_policy_is_the_greedy_order(graph: EdgeGraph, places: int) -> None:
    weights = greedy_mpnn(4, 1, np.random.default_rng(0))
    orders, misses = play(graph, places, weights, 0, np.random.default_rng(0))
    assert (orders[0] == greedy(graph, places)).all()
    report = simulate(graph, EdgeOrder(orders[0]), memory=places + 1)
    assert report.lru_misses == misses[0]


def test_what_torch_plays_is_what_the_compiled_game_plays() -> None:
    weights = wild()
    net = MpnnNet(weights, np.random.default_rng(0))
    for graph in (SMALL, LOOSE):
        orders, misses = play(graph, 5, weights, 0, np.random.default_rng(0))
        nets = episodes.pack([graph])
        states = episodes.start(nets, 5)
        from byways.sparse_inference._ppo import best

        for _ in moves(net, nets, states, Rules(False, 5), best):
            pass
        assert (states.order[0] == orders[0]).all()
        assert states.tally[0, episodes.MISSES] == misses[0]


def test_drawn_orders_are_valid_and_differ_and_repeat_with_the_seed() -> None:
    graph, weights = UNSEEN[0], greedy_mpnn(4, 1, np.random.default_rng(0))
    orders, misses = play(graph, 8, weights, 5, np.random.default_rng(1))
    again, _ = play(graph, 8, weights, 5, np.random.default_rng(1))
    assert (orders == again).all()
    assert len({tuple(order) for order in orders.tolist()}) == 6
    for order, count in zip(orders, misses, strict=True):
        assert simulate(graph, EdgeOrder(order), memory=9).lru_misses == count


def test_the_shipped_policy_beats_the_greedy_order_on_unseen_networks() -> None:
    policy, rng = OrderPolicy.shipped(), np.random.default_rng(0)
    assert policy.kind == "mpnn"
    best, drawn, plain = [], [], []
    for graph in UNSEEN:
        orders, misses = policy.play(graph, 8, 16, rng)
        counts = [
            simulate(graph, EdgeOrder(order), memory=9).lru_misses / graph.edges for order in orders
        ]
        assert counts == (misses / graph.edges).tolist()
        best.append(counts[0])
        drawn.append(min(counts))
        own = simulate(graph, EdgeOrder(greedy(graph, 8)), memory=9)
        plain.append(own.lru_misses / graph.edges)
    assert np.mean(best) <= np.mean(plain) - 0.02
    assert np.mean(best) <= 0.80
    assert np.mean(drawn) <= 0.75


def test_the_shipped_file_is_small_and_holds_no_pickle() -> None:
    import byways.sparse_inference as package

    path = Path(package.__file__).parent / "data" / "order_policy.npz"
    assert path.stat().st_size < 100_000
    with np.load(path, allow_pickle=False) as stored:
        assert {stored[name].dtype.kind for name in stored.files} <= {"f", "U"}


def test_eon_takes_the_best_of_its_orders() -> None:
    graph = UNSEEN[1]
    for policy in ("lru", "min", "rr"):
        alone = order_edges(graph, "eon", memory=9, policy=policy, samples=0)
        many = order_edges(graph, "eon", memory=9, policy=policy, samples=8)
        totals = [simulate(graph, o, memory=9, policy=policy).total for o in (many, alone)]
        assert totals[0] <= totals[1]
    assert many.parameters == {"memory": 9, "policy": "rr", "samples": 8, "rng": 0}


def test_auto_tries_a_policy_that_is_given(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    OrderPolicy.shipped().save(path)
    assert "eon" not in order_edges(SMALL, memory=5).parameters["io"]
    chosen = order_edges(SMALL, memory=5, order_policy=path)
    own = order_edges(SMALL, "eon", memory=5)
    assert chosen.parameters["io"]["eon"] == simulate(SMALL, own, memory=5).total
    assert min(chosen.parameters["io"].values()) == simulate(SMALL, chosen, memory=5).total


def test_a_graph_without_edges_has_an_empty_order() -> None:
    empty = EdgeGraph.from_layers([[[0.0, 0.0]]])
    assert len(order_edges(empty, "eon", memory=5)) == 0


def test_a_policy_survives_a_file(tmp_path: Path) -> None:
    policy = OrderPolicy("mpnn", wild()._asdict(), {"memory": 9})
    policy.save(tmp_path / "p.npz")
    again = OrderPolicy.load(tmp_path / "p.npz")
    assert again.about == {"memory": 9}
    one, other = (p.play(SMALL, 4, 3, np.random.default_rng(0))[0] for p in (policy, again))
    assert (one == other).all()
    EdgeOrder(np.arange(3)).save(tmp_path / "o.npz")
    with pytest.raises(ConversionError, match="is needed"):
        OrderPolicy.load(tmp_path / "o.npz")


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("dqn", {}, "\"kind\" was 'dqn'; it is one of mpnn, laplacian"),
        ("mpnn", {"last": np.array([np.nan] * 5)}, 'weights "last" of an order policy are not all'),
        ("mpnn", {"linear": np.zeros(3)}, 'weights "linear" have shape (3,); (16,) is needed'),
        ("mpnn", {"more": np.zeros(3)}, 'a policy of kind "mpnn" has the weights linear, first'),
    ],
)
def test_bad_weights_are_refused(kind: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        OrderPolicy(kind, {**wild()._asdict(), **change})


def test_bad_policies_are_refused() -> None:
    with pytest.raises(TypeError, match='"order_policy" was 3; it takes what train_order_policy'):
        order_edges(SMALL, "eon", memory=5, order_policy=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='"samples" was -1; it is at least 0'):
        order_edges(SMALL, "eon", memory=5, samples=-1)
    with pytest.raises(FileNotFoundError):
        order_edges(SMALL, "eon", memory=5, order_policy="nowhere.npz")


def test_embeddings_are_eigenvectors_of_the_largest_eigenvalues() -> None:
    found = embeddings(LOOSE, 4)
    laplacian = np.zeros((LOOSE.vertices, LOOSE.vertices))
    for u, v in zip(LOOSE.sources, LOOSE.targets, strict=True):
        laplacian[[u, v], [v, u]] -= 1
        laplacian[u, u] += 1
        laplacian[v, v] += 1
    values = np.sort(np.linalg.eigvalsh(laplacian))[::-1]
    for k in range(4):
        np.testing.assert_allclose(laplacian @ found[:, k], values[k] * found[:, k], atol=1e-9)
    np.testing.assert_allclose(found.T @ found, LOOSE.vertices * np.eye(4), atol=1e-9)
    assert embeddings(SMALL, 50).shape == (16, 50)


def attention(
    net: LaplacianNet, edges: list[tuple[int, int]], cache: list[int]
) -> tuple[list[float], float]:
    """Give scores and value of one decision, by loops over the definition."""
    w = {name: p.detach().numpy() for name, p in net.named_parameters()}
    table = net.embedding.numpy()
    scale = np.sqrt(w["key"].shape[0])
    tokens = [np.concatenate([table[u], table[v]]) @ w["edge"] for u, v in edges]
    mixed = []
    for a in tokens:
        odds = np.array([(a @ w["query"]) @ (b @ w["key"]) / scale for b in tokens])
        odds = np.exp(odds - odds.max()) / np.exp(odds - odds.max()).sum()
        mixed.append(a + sum(p * (b @ w["content"]) for p, b in zip(odds, tokens, strict=True)))
    held = [table[x] @ w["vertex"] for x in cache]
    found = [
        max([(a @ w["cross_query"]) @ (x @ w["cross_key"]) / scale for x in held], default=0.0)
        for a in mixed
    ]
    everyone = [*mixed, *held]
    odds = np.exp([(x @ w["value_key"]) @ w["value_query"] / scale for x in everyone])
    read = sum(
        p * (x @ w["value_content"]) for p, x in zip(odds / odds.sum(), everyone, strict=True)
    )
    return found, float(read @ w["value_last"])


def test_the_reports_policy_is_its_attention_written_out() -> None:
    net = LaplacianNet(embeddings(SMALL, 6), 8, np.random.default_rng(0))
    with torch.no_grad():
        net.value_last.copy_(torch.arange(8.0) / 8)
    nets = episodes.pack([SMALL] * 2)
    states = episodes.start(nets, 4)
    rng, ran = np.random.default_rng(5), [0, 0]

    def choose(log: torch.Tensor, batch: Batch) -> torch.Tensor:
        from byways.sparse_inference._ppo import draws

        return draws(log, batch, rng)

    for move in moves(net, nets, states, Rules(True, 4), choose):
        scored, values = net(move.batch)
        sources = move.batch.extras["row_source"].tolist()
        targets = move.batch.extras["row_target"].tolist()
        edges = list(zip(sources, targets, strict=True))
        for d in range(len(move.games)):
            a, b = move.batch.starts[d : d + 2].tolist()
            cache = [x for x in move.batch.extras["cache"][d].tolist() if x >= 0]
            expected, value = attention(net, edges[a:b], cache)
            np.testing.assert_allclose(scored[a:b].detach().numpy(), expected, rtol=1e-9, atol=1e-9)
            share = 1 - ran[d] / SMALL.edges
            assert float(values[d].detach()) == pytest.approx(value * share, rel=1e-9)
        ran = [r + 1 for r in ran]


def test_the_reports_policy_orders_its_own_network_only() -> None:
    net = LaplacianNet(embeddings(SMALL, 6), 8, np.random.default_rng(0))
    arrays = {n: p.detach().numpy() for n, p in [*net.named_parameters(), *net.named_buffers()]}
    policy = OrderPolicy("laplacian", arrays, {"network": network_digest(SMALL)})
    orders, misses = policy.play(SMALL, 4, 2, np.random.default_rng(0))
    for order, count in zip(orders, misses, strict=True):
        assert simulate(SMALL, EdgeOrder(order), memory=5).lru_misses == count
    first, _ = decode(net, SMALL, Rules(True, 4), 0, np.random.default_rng(9))
    assert (first[0] == orders[0]).all()
    with pytest.raises(ValueError, match="orders the network that it was trained on"):
        policy.play(LOOSE, 4, 0, np.random.default_rng(0))
