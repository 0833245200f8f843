"""The yardstick for environments describes edges as the environment does."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from byways.sparse_inference import EdgeOrderEnv, random_sparse

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def test_the_plain_game_is_the_compiled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    plain = importlib.import_module("_plain_game")
    graph = random_sparse([6, 6, 4], 0.4, rng=1)
    env, game = EdgeOrderEnv(graph, memory=5), plain.PlainGame(graph, 4)
    observation, _ = env.reset(seed=0)
    rng, over = np.random.default_rng(0), False
    while not over:
        features, mask = game.observe()
        assert (mask == observation["mask"]).all()
        np.testing.assert_allclose(features, observation["features"], rtol=1e-6)
        action = rng.choice(np.flatnonzero(mask))
        observation, reward, over, _, _ = env.step(action)
        assert game.step(int(action)) == -reward
