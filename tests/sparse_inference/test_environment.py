from __future__ import annotations

import importlib.util
import re
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from byways.core.errors import MissingDependencyError
from byways.sparse_inference import (
    EdgeGraph,
    EdgeOrder,
    EdgeOrderEnv,
    order_edges,
    random_sparse,
    simulate,
)
from byways.sparse_inference._greedy import greedy
from tests.oracles.edge_games import Game
from tests.sparse_inference.graphs import random_graph

SMALL = random_sparse([6, 6, 4], 0.4, rng=1)
LOOSE = random_graph(np.random.default_rng(3), n=16)  # skips, dead ends, constants


def draw(rng: np.random.Generator) -> EdgeGraph:
    return random_sparse([6, 5, 4], 0.4, rng=rng)


def pairs(graph: EdgeGraph) -> list[tuple[int, int]]:
    return list(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))


@pytest.mark.parametrize("networks", [SMALL, [SMALL, LOOSE], draw])
@pytest.mark.parametrize("free_moves", [False, True])
def test_gymnasiums_checker_passes(networks: Any, free_moves: bool) -> None:
    env = EdgeOrderEnv(networks, memory=5, free_moves=free_moves, max_edges=80)
    check_env(env, skip_render_check=True)


@pytest.mark.parametrize("graph", [SMALL, LOOSE], ids=["layered", "loose"])
@pytest.mark.parametrize("memory", [3, 6, 40])
def test_a_game_is_that_of_plain_python_and_costs_what_simulate_counts(
    graph: EdgeGraph, memory: int
) -> None:
    env, rng = EdgeOrderEnv(graph, memory=memory), np.random.default_rng(memory)
    game = Game(pairs(graph), memory - 1)
    observation, info = env.reset(seed=0)
    assert info == {"edges": graph.edges}
    total, over = 0.0, False
    while not over:
        ready = np.flatnonzero(env.action_masks())
        assert set(ready.tolist()) == game.ready()
        assert (observation["mask"] == env.action_masks()).all()
        for e in range(graph.edges):
            expected = game.describe(e) if e in ready else np.zeros(16)
            np.testing.assert_allclose(observation["features"][e], expected, rtol=1e-6)
        action = rng.choice(ready)
        observation, reward, over, truncated, info = env.step(action)
        assert -reward == game.run(int(action)) == info["misses"]
        assert info["ran"] == 1
        assert not truncated
        total += reward
    assert env.order.permutation.tolist() == game.done
    assert -total == game.misses
    assert -total == simulate(graph, env.order, memory=memory).lru_misses


def test_free_moves_cost_nothing_and_leave_none() -> None:
    env, rng = EdgeOrderEnv(LOOSE, memory=6, free_moves=True), np.random.default_rng(0)
    env.reset(seed=0)
    game, total, over, ran = Game(pairs(LOOSE), 5), 0.0, False, 0
    while not over:
        _, reward, over, _, info = env.step(rng.choice(np.flatnonzero(env.action_masks())))
        fresh = env.order.permutation[ran : ran + info["ran"]].tolist()
        assert game.run(fresh[0]) == -reward
        for e in fresh[1:]:
            fewest = min(sum(len(game.left(x)) for x in game.edges[f]) for f in game.free())
            assert sum(len(game.left(x)) for x in game.edges[e]) == fewest
            assert game.run(e) == 0
        assert not game.free()
        ran, total = ran + info["ran"], total + reward
    assert -total == simulate(LOOSE, env.order, memory=6).lru_misses


def test_an_action_that_is_not_ready_costs_two_and_runs_nothing() -> None:
    env = EdgeOrderEnv(SMALL, memory=5)
    before, _ = env.reset(seed=0)
    wrong = int(np.flatnonzero(~env.action_masks())[0])
    for k in range(SMALL.edges):
        after, reward, over, truncated, info = env.step(np.int64(wrong))
        assert (reward, over, info) == (-2.0, False, {"misses": 0, "ran": 0, "ready": False})
        assert truncated == (k == SMALL.edges - 1)
        assert (after["features"] == before["features"]).all()
    with pytest.raises(ValueError, match="call reset"):
        env.step(np.int64(0))


def test_many_games_move_as_single_ones_do() -> None:
    graphs = [SMALL, LOOSE, random_sparse([9, 3, 9], 0.5, rng=2)]
    many = EdgeOrderEnv.vectorised(graphs, 5, memory=5)
    observation, _ = many.reset(seed=7)
    assert many.observation_space.contains(observation)
    rng, totals, ended = np.random.default_rng(0), np.zeros(5), 0
    singles = [EdgeOrderEnv(graph, memory=5, max_edges=many.action_masks().shape[1])
               for graph in many.graphs()]  # fmt: skip
    for single in singles:
        single.reset(seed=0)
    for _ in range(260):
        masks = many.action_masks()
        actions = np.array([rng.choice(np.flatnonzero(m)) if m.any() else 0 for m in masks])
        before = many.orders()
        observation, rewards, over, truncated, _ = many.step(actions)
        assert not truncated.any()
        assert many.observation_space.contains(observation)
        for i, single in enumerate(singles):
            if not masks[i].any():  # the last step ended the game; this one began another
                assert simulate(single.graph, before[i], memory=5).lru_misses == -totals[i]
                graph = many.graphs()[i]
                singles[i] = EdgeOrderEnv(graph, memory=5, max_edges=masks.shape[1])
                alone, _ = singles[i].reset(seed=0)
                totals[i], ended = 0.0, ended + 1
                assert rewards[i] == 0
                assert not over[i]
            else:
                alone, reward, done, _, _ = single.step(actions[i])
                assert (rewards[i], over[i]) == (reward, done)
                totals[i] += reward
            assert (alone["features"] == observation["features"][i]).all()
            assert (alone["mask"] == observation["mask"][i]).all()
    assert ended > 10


def test_the_same_seed_gives_the_same_games() -> None:
    many = EdgeOrderEnv.vectorised(draw, 3, max_edges=80)
    first = many.reset(seed=3)[0]["features"].copy()
    other = many.reset(seed=4)[0]["features"].copy()
    again = many.reset(seed=3)[0]["features"]
    assert (first == again).all()
    assert (first != other).any()


def test_networks_with_more_vertices_than_those_before_fit() -> None:
    sizes = iter([4, 40, 9, 80])

    def grow(rng: np.random.Generator) -> EdgeGraph:
        return random_sparse([next(sizes, 5), 4], 0.4, rng=rng)

    env = EdgeOrderEnv(grow, memory=4, max_edges=200)
    for seed in range(4):
        env.reset(seed=seed)
        over = False
        while not over:
            over = env.step(np.flatnonzero(env.action_masks())[0])[2]
        env.order.require_valid(env.graph)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"networks": 3}, TypeError, '"networks" was 3; it takes an EdgeGraph, several'),
        ({"networks": []}, ValueError, '"networks" is empty; give at least one EdgeGraph'),
        ({"networks": [SMALL, 4]}, TypeError, '"networks" at index 1 was 4; an EdgeGraph'),
        ({"networks": EdgeGraph.from_layers([[[0.0]]])}, ValueError, "has no edges"),
        ({"networks": draw}, ValueError, '"max_edges" is needed where "networks" is a function'),
        ({"max_edges": 3}, ValueError, 'edges, more than the 3 of "max_edges"; give more'),
        ({"memory": 2}, ValueError, '"memory" was 2; it is at least 3'),
        ({"memory": 4.0}, TypeError, '"memory" was 4.0; it is a whole number'),
        ({"free_moves": 1}, TypeError, '"free_moves" was 1; it is True or False'),
    ],
)
def test_bad_inputs_are_refused(arguments: dict[str, Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        EdgeOrderEnv(**{"networks": SMALL, **arguments})


def test_misuse_of_a_game_is_refused() -> None:
    env = EdgeOrderEnv(SMALL)
    with pytest.raises(ValueError, match="call reset"):
        env.step(np.int64(0))
    with pytest.raises(ValueError, match="call reset"):
        env.action_masks()
    env.reset()
    with pytest.raises(ValueError, match='"action" was 99; it is the number of an edge'):
        env.step(np.int64(99))
    with pytest.raises(ValueError, match='"num_envs" was 0; it is at least 1'):
        EdgeOrderEnv.vectorised(SMALL, 0)
    too_large = EdgeOrderEnv(lambda rng: SMALL, max_edges=5)
    with pytest.raises(ValueError, match='more than the 5 of "max_edges"'):
        too_large.reset()


def test_without_gymnasium_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import byways as bw

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "gymnasium" else found(name)
    )
    with pytest.raises(MissingDependencyError, match=re.escape("pip install 'byways[rl]'")):
        bw.sparse_inference.EdgeOrderEnv  # noqa: B018


def test_the_greedy_order_played_in_the_environment_costs_what_it_costs() -> None:
    graph = random_sparse([16] * 5, 0.2, rng=3)
    env, order = EdgeOrderEnv(graph, memory=9), greedy(graph, 8)
    env.reset(seed=0)
    total = sum(env.step(e)[1] for e in order)
    assert -total == simulate(graph, EdgeOrder(order), memory=9).lru_misses
    assert -total < simulate(graph, order_edges(graph, "destination"), memory=9).lru_misses
