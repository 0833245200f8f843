from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from byways.core.errors import ConversionError, RunMismatchError
from byways.core.progress import ProgressEvent
from byways.sparse_inference import (
    EdgeGraph,
    EdgeOrder,
    order_edges,
    random_sparse,
    simulate,
    train_order_policy,
)
from byways.sparse_inference import _policy_nets as policy_nets
from byways.sparse_inference._greedy import greedy
from byways.sparse_inference._search import search_step
from byways.sparse_inference._training_report import TrainingOutcome, TrainingReport

SMALL = random_sparse([6, 6, 4], 0.4, rng=1)
SHORT: dict[str, Any] = {
    "memory": 5, "search_steps": 2, "max_steps": 4, "games": 6, "width": 4, "every": 2,
}  # fmt: skip


def draw(rng: np.random.Generator) -> EdgeGraph:
    return random_sparse([6, 6, 4], 0.4, rng=rng)


def equal(one: TrainingReport, other: TrainingReport) -> bool:
    same = np.array_equal(one.history, other.history, equal_nan=True)
    pairs = [(a, other.policy.arrays[name]) for name, a in one.policy.arrays.items()]
    return same and all((a == b).all() for a, b in pairs)


@pytest.fixture(scope="module")
def whole() -> TrainingReport:
    return train_order_policy(draw, **SHORT)


def test_a_report_tells_what_was_done(whole: TrainingReport) -> None:
    assert whole.outcome is TrainingOutcome.COMPLETE
    assert whole.history.shape == (6, 5)
    assert np.isfinite(whole.history[:, 1]).tolist() == [False, True] * 3
    assert np.isfinite(whole.history[:, 2]).tolist() == [False] * 2 + [True] * 4
    assert whole.best_misses == min(whole.start_misses, np.nanmin(whole.history[:, 1]))
    assert whole.start_misses == pytest.approx(whole.greedy_misses)
    assert [row["update"] for row in whole.rows()] == [1, 2, 3, 4, 5, 6]
    assert "all updates were done" in str(whole)
    assert len(whole.plot().get_lines()) == 3


def test_misses_on_held_out_networks_are_those_that_simulate_counts() -> None:
    held_out = [random_sparse([7, 6, 5], 0.4, rng=s) for s in range(3)]
    report = train_order_policy(draw, held_out=held_out, **SHORT)
    counts, plain = [], []
    for graph in held_out:
        order = order_edges(graph, "eon", memory=5, samples=0, order_policy=report)
        counts.append(simulate(graph, order, memory=5).lru_misses / graph.edges)
        own = simulate(graph, EdgeOrder(greedy(graph, 4)), memory=5)
        plain.append(own.lru_misses / graph.edges)
    assert np.mean(counts) == pytest.approx(report.best_misses)
    assert np.mean(plain) == pytest.approx(report.greedy_misses)
    assert report.best_misses <= report.greedy_misses + 1e-12


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_going_on_gives_what_one_run_gives(
    whole: TrainingReport, steps: int, tmp_path: Path
) -> None:
    def stop(event: ProgressEvent) -> None:
        if event.done == steps:
            raise KeyboardInterrupt

    first = train_order_policy(draw, run_dir=tmp_path, progress=stop, **SHORT)
    assert first.outcome is TrainingOutcome.INTERRUPTED
    assert len(first.history) == steps
    assert np.array_equal(first.history, whole.history[:steps], equal_nan=True)
    second = train_order_policy(draw, run_dir=tmp_path, **SHORT)
    assert second.outcome is TrainingOutcome.COMPLETE
    assert equal(second, whole)
    assert equal(train_order_policy(draw, run_dir=tmp_path, **SHORT), whole)
    longer = train_order_policy(draw, run_dir=tmp_path, **{**SHORT, "max_steps": 6})
    assert len(longer.history) == 8
    assert np.array_equal(longer.history[:6], whole.history, equal_nan=True)


def test_an_interrupt_in_the_middle_of_an_update_costs_that_update_alone(
    whole: TrainingReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = policy_nets.MpnnNet.forward, 0

    def forward(self: Any, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 60:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(policy_nets.MpnnNet, "forward", forward)
    first = train_order_policy(draw, run_dir=tmp_path, **SHORT)
    monkeypatch.undo()
    assert first.outcome is TrainingOutcome.INTERRUPTED
    assert 2 <= len(first.history) < 6
    assert equal(train_order_policy(draw, run_dir=tmp_path, **SHORT), whole)


KILLED = """
import os, signal, sys
from byways.sparse_inference import random_sparse, train_order_policy

def stop(event):
    if event.done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

train_order_policy(lambda rng: random_sparse([6, 6, 4], 0.4, rng=rng), memory=5, search_steps=2,
                   max_steps=4, games=6, width=4, every=2, run_dir=sys.argv[1], progress=stop)
"""


@pytest.mark.slow
def test_a_killed_process_loses_no_finished_update(whole: TrainingReport, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -9
    events: list[ProgressEvent] = []
    assert equal(train_order_policy(draw, run_dir=tmp_path, progress=events.append, **SHORT), whole)
    assert [event.done for event in events] == [4, 5, 6]


def test_time_is_limited() -> None:
    report = train_order_policy(draw, time_limit=1e-9, **SHORT)
    assert report.outcome is TrainingOutcome.TIME_LIMIT
    assert len(report.history) == 0
    assert report.best_misses == report.start_misses
    assert len(report.plot().get_lines()) == 3


def test_another_training_in_the_folder_is_refused(tmp_path: Path) -> None:
    brief = {**SHORT, "max_steps": 0}
    train_order_policy(draw, run_dir=tmp_path, **brief)
    with pytest.raises(RunMismatchError, match='"memory" was 5 when it was made and is 6 now'):
        train_order_policy(draw, run_dir=tmp_path, **{**brief, "memory": 6})
    with pytest.raises(RunMismatchError, match='"networks" was'):
        train_order_policy([SMALL], run_dir=tmp_path, **brief)
    (tmp_path / "training.npz").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(ConversionError, match="cannot be read"):
        train_order_policy(draw, run_dir=tmp_path, **brief)


def test_the_reports_policy_is_trained_for_one_network(tmp_path: Path) -> None:
    brief = {**SHORT, "kind": "laplacian", "max_steps": 3, "every": 1}
    report = train_order_policy(SMALL, **brief)
    assert len(report.history) == 3
    assert report.best_misses <= report.start_misses
    order = order_edges(SMALL, "eon", memory=5, samples=0, order_policy=report)
    misses = simulate(SMALL, order, memory=5).lru_misses
    assert misses / SMALL.edges == pytest.approx(report.best_misses)
    train_order_policy(SMALL, run_dir=tmp_path, **{**brief, "max_steps": 1})
    assert equal(train_order_policy(SMALL, run_dir=tmp_path, **brief), report)
    for networks in (draw, [SMALL, SMALL]):
        with pytest.raises(ValueError, match='kind "laplacian" is for one network'):
            train_order_policy(networks, **brief)
    with pytest.raises(ValueError, match='"held_out" is for kind "mpnn"'):
        train_order_policy(SMALL, held_out=[SMALL], **brief)


def test_a_seeded_search_finds_a_planted_optimum() -> None:
    # On one network, weights that play well must come out no worse than those it began with.
    graph = random_sparse([10] * 4, 0.3, rng=0)
    linear, spread = np.zeros(16), np.full(16, 0.5)
    linear[1] = 1.0  # prefer missing ends with much left: a bad rule
    rng, seen = np.random.default_rng(0), []
    for _ in range(12):
        linear, spread, misses = search_step(linear, spread, [graph], 5, rng)
        seen.append(misses)
    assert np.linalg.norm(linear) == pytest.approx(1.0)
    assert np.mean(seen[-3:]) < np.mean(seen[:3]) - 0.05


def test_equal_seeds_give_equal_policies_and_global_state_stays(whole: TrainingReport) -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002  what must not change
    expected = torch.rand(1), np.random.random()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    assert equal(train_order_policy(draw, **SHORT), whole)
    assert (torch.rand(1), np.random.random()) == expected  # noqa: NPY002
    assert not equal(train_order_policy(draw, rng=1, **SHORT), whole)


@pytest.mark.parametrize("kind", ["mpnn", "laplacian"])
def test_what_products_round_by_is_the_same_in_every_run(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # BLAS rounds by where its operands start, and torch's sums by the number of threads.
    net = {"mpnn": policy_nets.MpnnNet, "laplacian": policy_nets.LaplacianNet}[kind]
    real, threads, starts = net.forward, set(), set()

    def forward(self: Any, batch: Any) -> Any:
        threads.add(torch.get_num_threads())
        operands = [batch.features, *self.parameters(), *self.buffers()]
        starts.update(operand.data_ptr() % 64 for operand in operands if operand.numel())
        return real(self, batch)

    monkeypatch.setattr(net, "forward", forward)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train_order_policy(SMALL, **{**SHORT, "kind": kind})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads == {1}
    assert starts == {0}


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"networks": 4}, TypeError, '"networks" was 4; it takes an EdgeGraph, several'),
        ({"networks": []}, ValueError, '"networks" is empty'),
        ({"networks": lambda rng: 3}, TypeError, 'the function "networks" drew was 3'),
        ({"kind": "gnn"}, ValueError, "\"kind\" was 'gnn'; it is one of mpnn, laplacian"),
        ({"memory": 2}, ValueError, '"memory" was 2; it is at least 3'),
        ({"max_steps": -1}, ValueError, '"max_steps" was -1; it is at least 0'),
        ({"max_steps": True}, TypeError, '"max_steps" was True; it is a whole number'),
        ({"search_steps": 1.5}, TypeError, '"search_steps" was 1.5; it is a whole number'),
        ({"games": 0}, ValueError, '"games" was 0; it is at least 1'),
        ({"every": 0}, ValueError, '"every" was 0'),
        ({"learning_rate": 0}, ValueError, '"learning_rate" was 0; it is a number above 0'),
        ({"learning_rate": float("nan")}, ValueError, '"learning_rate" was nan'),
        ({"discount": 1.1}, ValueError, '"discount" was 1.1; it is a number above 0 and at most 1'),
        ({"entropy": -1.0}, ValueError, '"entropy" was -1.0'),
        ({"time_limit": "long"}, TypeError, "\"time_limit\" was 'long'; it is a number"),
        ({"held_out": [3]}, TypeError, '"held_out" at index 0 was 3; an EdgeGraph is needed'),
        ({"progress": 3}, TypeError, '"progress" was 3'),
        ({"rng": "x"}, TypeError, "\"rng\" was 'x'"),
    ],
)
def test_bad_inputs_are_refused(change: dict[str, Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        train_order_policy(**{"networks": draw, **SHORT, **change})
