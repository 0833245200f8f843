"""Training an order policy: update after update, each from what the last one left."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from byways.core.progress import ProgressEvent
from byways.core.seeding import task_generator
from byways.sparse_inference import _ppo as ppo
from byways.sparse_inference._mpnn import Mpnn, greedy_mpnn
from byways.sparse_inference._order_policy import OrderPolicy, network_digest
from byways.sparse_inference._policy_nets import LaplacianNet, MpnnNet, embeddings
from byways.sparse_inference._rollouts import Rules, greedy_misses, rollout
from byways.sparse_inference._search import search_step
from byways.sparse_inference._training_report import COLUMNS, TrainingOutcome, TrainingReport
from byways.sparse_inference._training_state import TrainingState, capture, restore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from byways.core.progress import Listener
    from byways.sparse_inference._plan import Plan, Source

__all__ = ["train"]

_EMBEDDING = 16  # eigenvectors that the report's policy sees of a vertex
_SEARCHED = 24  # networks that a step of the search orders


def train(
    plan: Plan, source: Source, run_dir: Path | None, time_limit: float | None, listener: Listener
) -> TrainingReport:
    """Train from the start, or from what the run directory holds."""
    with _one_thread():
        return _train(_Task.of(plan, source), run_dir, time_limit, listener)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: its sums round by their number, and these nets gain nothing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _train(
    task: _Task, run_dir: Path | None, time_limit: float | None, listener: Listener
) -> TrainingReport:
    plan, source = task.plan, task.source
    settings = {**asdict(plan), "networks": source.digests(plan.seed)}
    del settings["max_steps"]  # more updates may be asked for later
    state = None
    if run_dir is not None:
        run_dir.mkdir(parents=True, exist_ok=True)
        state = TrainingState.load(run_dir, settings)
    if state is None:
        state, misses = task.judged(capture(task.net, task.optimizer))
        state = replace(state, start_misses=misses)
    restore(state, task.net, task.optimizer)
    outcome, start, spent = TrainingOutcome.COMPLETE, time.perf_counter(), state.seconds
    try:
        while state.updates < plan.search_steps + plan.max_steps:
            if time_limit is not None and time.perf_counter() - start > time_limit:
                outcome = TrainingOutcome.TIME_LIMIT
                break
            later = task.advance(state)
            later = replace(later, seconds=spent + time.perf_counter() - start)
            if run_dir is not None:
                later.save(run_dir, settings)
            state = later
            listener(_event(state, plan))
    except KeyboardInterrupt:
        outcome = TrainingOutcome.INTERRUPTED
    return task.report(state, outcome)


@dataclass(frozen=True, slots=True)
class _Task:
    """A net, and what it is trained for."""

    plan: Plan
    source: Source
    net: MpnnNet | LaplacianNet
    optimizer: torch.optim.Optimizer
    rules: Rules
    settings: ppo.Settings

    @classmethod
    def of(cls, plan: Plan, source: Source) -> _Task:
        generator = task_generator(plan.seed, "start")
        net: MpnnNet | LaplacianNet
        if plan.kind == "mpnn":
            net = MpnnNet(greedy_mpnn(plan.width, plan.rounds, generator), generator)
        else:
            basis = embeddings(source.fixed[0], _EMBEDDING)
            net = LaplacianNet(basis, plan.width, generator)
        settings = ppo.Settings(
            discount=plan.discount, rate=plan.learning_rate, entropy=plan.entropy
        )
        rules = Rules(plan.kind == "laplacian", plan.memory - 1)
        optimizer = torch.optim.Adam(net.parameters(), lr=settings.rate)
        return cls(plan, source, net, optimizer, rules, settings)

    def advance(self, state: TrainingState) -> TrainingState:
        """Do one update; its randomness depends on its number alone."""
        generator = task_generator(self.plan.seed, f"update {state.updates}")
        if state.updates < self.plan.search_steps and isinstance(self.net, MpnnNet):
            seen = self._search(self.net, generator)
        else:
            seen = self._learn(generator)
        updates = state.updates + 1
        state = replace(capture(self.net, self.optimizer, state), updates=updates)
        held_out = np.nan
        if updates % self.plan.every == 0:
            state, held_out = self.judged(state)
        seen["held_out"] = held_out
        row = [seen.get(name, np.nan) for name in COLUMNS]
        return replace(state, history=np.vstack([state.history, row]))

    def _search(self, net: MpnnNet, generator: np.random.Generator) -> dict[str, float]:
        graphs = self.source.take(_SEARCHED, generator)
        linear, spread, misses = search_step(
            net.linear.detach().numpy(), net.spread.numpy(), graphs, self.rules.places, generator
        )
        with torch.no_grad():
            net.linear.copy_(torch.from_numpy(linear))
            net.spread.copy_(torch.from_numpy(spread))
        return {"sampled": misses}

    def _learn(self, generator: np.random.Generator) -> dict[str, float]:
        graphs = self.source.take(self.plan.games, generator)
        found, misses = rollout(self.net, graphs, self.rules, self.settings, generator)
        seen = ppo.update(self.net, self.optimizer, found, self.settings, generator)
        return {"sampled": misses, **seen}

    def policy(self, arrays: Mapping[str, NDArray[np.float64]], **more: Any) -> OrderPolicy:
        """Give weights as a policy."""
        about = {**asdict(self.plan), **more}
        if self.plan.kind == "laplacian":
            about["network"] = network_digest(self.source.fixed[0])
        return OrderPolicy(self.plan.kind, arrays, about)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Give what a policy is made of; the value is not part of it."""
        known = [*self.net.named_parameters(), *self.net.named_buffers()]
        arrays = {name: value.detach().numpy().copy() for name, value in known}
        if isinstance(self.net, MpnnNet):
            return {name: arrays[name] for name in Mpnn._fields}
        return arrays

    def misses(self, policy: OrderPolicy) -> float:
        """Give the mean misses an edge of a policy's best choices on the held-out networks."""
        unused = np.random.default_rng(0)
        counts = [
            policy.play(graph, self.rules.places, 0, unused)[1][0] / graph.edges
            for graph in self.source.held_out
        ]
        return float(np.mean(counts))

    def judged(self, state: TrainingState) -> tuple[TrainingState, float]:
        """Count misses on the held-out networks, and keep the net if it is the best so far."""
        arrays = self.arrays()
        misses = self.misses(self.policy(arrays))
        if misses < state.best_misses:
            state = replace(state, best=arrays, best_misses=misses)
        return state, misses

    def report(self, state: TrainingState, outcome: TrainingOutcome) -> TrainingReport:
        """Sum up."""
        held_out = self.source.held_out
        greedy = np.mean([greedy_misses(g, self.rules.places) / g.edges for g in held_out])
        known = {"updates": state.updates, "held_out_misses": state.best_misses}
        return TrainingReport(
            self.policy(state.best, **known),
            outcome,
            state.history,
            state.start_misses,
            state.best_misses,
            float(greedy),
            state.seconds,
        )


def _event(state: TrainingState, plan: Plan) -> ProgressEvent:
    sampled = state.history[-1, 0]
    text = f"{sampled:.3f} misses an edge, {state.best_misses:.3f} held out"
    total = plan.search_steps + plan.max_steps
    return ProgressEvent("training", state.updates, total, 0, state.seconds, text)
