"""The timer of the benchmarks, on calls and a clock whose seconds are known."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


class FakeTime:
    """A clock that calls move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def call(self, name: str, *seconds: float) -> Callable[[], str]:
        """Give a call that takes these seconds in turn, the last ones for ever."""
        left = list(seconds)

        def run() -> str:
            self.now += left.pop(0) if len(left) > 1 else left[0]
            self.calls.append(name)
            return name

        return run


@pytest.fixture
def ratio(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("_ratio")


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("_networks")


def compared(ratio: ModuleType, ours: Any, peer: Any, **options: Any) -> Any:
    clock = FakeTime()
    row = ratio.compare(
        "claim",
        ratio.Side("ours", clock.call("a", *ours)),
        ratio.Side("peer", clock.call("b", *peer)),
        **{"pace": ratio.Pace(), "same": lambda a, b: "", "clock": clock} | options,
    )
    return row, clock.calls


def test_rounds_are_interleaved_and_minima_divided(ratio: ModuleType) -> None:
    # first call, calibration, then seven rounds; the best of ours is 1, of the peer's 6
    ours, peer = [9.0, 2.0, 2.0, 1.0, 2.0], [30.0, 8.0, 8.0, 8.0, 6.0, 8.0]
    row, calls = compared(ratio, ours, peer, goal=6.0)
    assert calls == ["a", "b"] * 9
    assert row.ratio == 6.0
    assert row.spread == (3.0, 8.0)
    assert row.rounds == (7, 7)
    assert row.first_seconds == (9.0, 30.0)
    assert row.met == "yes"


def test_a_goal_that_is_missed_is_not_met(ratio: ModuleType) -> None:
    assert compared(ratio, [1.0], [2.0], goal=2.1)[0].met == "no"
    assert compared(ratio, [1.0], [2.0], goal=2.0)[0].met == "yes"
    assert compared(ratio, [1.0], [2.0])[0].met == "-"


def test_different_outputs_are_not_timed(ratio: ModuleType) -> None:
    row, calls = compared(ratio, [1.0], [2.0], goal=1.0, same=lambda a, b: f"{a} is not {b}")
    assert calls == ["a", "b"]
    assert (row.met, row.ratio, row.fault) == ("WRONG", None, "a is not b")


def test_a_peer_that_takes_too_long_is_called_once(ratio: ModuleType) -> None:
    row, calls = compared(ratio, [1.0], [100.0], goal=50.0)
    assert calls.count("b") == 1
    assert row.rounds == (7, 1)
    assert row.ratio == 100.0


def test_short_calls_are_repeated_until_the_clock_can_see_them(ratio: ModuleType) -> None:
    row, calls = compared(ratio, [0.001], [0.1])
    assert calls.count("a") == 2 + 7 * 20  # 20 ms a sample
    assert calls.count("b") == 2 + 7
    assert row.ratio == pytest.approx(100.0)


def test_the_start_up_of_a_peer_does_not_count(ratio: ModuleType) -> None:
    clock = FakeTime()
    row = ratio.compare(
        "claim",
        ratio.Side("ours", clock.call("a", 1.0)),
        ratio.Side("peer", clock.call("b", 5.0), start_up=2.0),
        pace=ratio.Pace(),
        same=lambda a, b: "",
        clock=clock,
    )
    assert row.ratio == 3.0


@pytest.mark.parametrize(
    ("row", "quick", "status", "word"),
    [
        ({"ratio": 2.0, "goal": 1.0}, False, 0, "yes"),
        ({"ratio": 0.5, "goal": 1.0}, False, 1, "no"),
        ({"ratio": 0.5, "goal": 1.0}, True, 0, "no"),
        ({"ratio": 0.5, "goal": 1.0, "at_most": True}, False, 0, "yes"),
        ({"goal": 1.0, "fault": "7 and 8"}, True, 1, "7 and 8"),
        ({"goal": 1.0, "absent": "relucent"}, False, 0, "not here: relucent"),
    ],
)
def test_the_table_the_file_and_the_status_agree(
    ratio: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    row: dict[str, Any],
    quick: bool,
    status: int,
    word: str,
) -> None:
    file = tmp_path / "found.json"
    options = ["script", "--json", str(file), *(["--quick"] if quick else [])]
    monkeypatch.setattr(sys, "argv", options)
    made = ratio.Row("a claim", "ours", "peer", **row)
    assert ratio.main("Title", {"group": lambda pace: [made]}) == status
    assert word in capsys.readouterr().out
    content = json.loads(file.read_text())
    assert {"machine", "versions", "commit", "threads"} < set(content)
    assert [claim["ratio"] for claim in content["claims"]] == [row.get("ratio")]
    assert content["claims"][0]["met"] == made.met


def test_seeded_networks_are_those_of_torch(networks: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    chain = networks.seeded_network(3, 16, 7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = [torch.nn.Linear(a, b) for a, b in ((3, 16), (16, 7), (7, 1))]
    for layer, linear in zip(chain.layers, drawn, strict=True):
        np.testing.assert_array_equal(layer.map.to_dense(), linear.weight.detach().numpy())
        np.testing.assert_array_equal(layer.bias, linear.bias.detach().numpy())
