"""Proximal policy optimisation over choices that differ in number, in one file.

A decision has any number of choices; the rows of all choices of all decisions stand in one array,
those of decision ``d`` from ``starts[d]`` on. A net gives a score per row and a value per decision;
the policy is the softmax of a decision's scores.

References:
    Schulman, Wolski, Dhariwal, Radford, Klimov, Proximal Policy Optimization Algorithms, 2017 (the
    clipped objective, eq. 7); Schulman, Moritz, Levine, Jordan, Abbeel, High-Dimensional Continuous
    Control Using Generalized Advantage Estimation, 2016 (eq. 16).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Batch", "Net", "Rollout", "Settings", "advantages", "log_odds", "loss", "update"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the policy is improved.

    Args:
        discount: Of later rewards.
        trace: The lambda of generalised advantage estimation. What a move keeps in the cache pays
            late: ten trials with 0.95, one seed each, did not learn; those with 1.0 did.
        clip: How far the odds of a choice may move before its gradient stops.
        epochs: Passes over the games of an update.
        parts: Steps of the optimiser an epoch.
        rate: Step size of Adam.
        entropy: Weight of the entropy bonus.
        value: Weight of the value's squared error.
        largest: Norm to which gradients are cut.
        halt: Divergence from the old policy (in nats) at which an update ends early.
    """

    discount: float = 1.0
    trace: float = 1.0
    clip: float = 0.2
    epochs: int = 2
    parts: int = 2
    rate: float = 1e-2
    entropy: float = 0.0
    value: float = 0.5
    largest: float = 0.5
    halt: float = 0.03


@dataclass(frozen=True, slots=True)
class Batch:
    """Decisions and their choices, as tensors.

    Attributes:
        owner: Decision of each row, ascending, shape ``(rows,)``.
        starts: First row of each decision, and the number of rows, shape ``(decisions + 1,)``.
        by_source: For each row, the first row of its decision with the same source.
        by_target: The same for the target.
        features: Shape ``(rows, features)``.
        extras: More about rows or decisions that a net asks for.
    """

    owner: Tensor
    starts: Tensor
    by_source: Tensor
    by_target: Tensor
    features: Tensor
    extras: dict[str, Tensor]

    @property
    def decisions(self) -> int:
        """Number of decisions."""
        return len(self.starts) - 1


class Net(Protocol):
    """What is trained: a ``torch.nn.Module`` that scores choices."""

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give scores, shape ``(rows,)``, and values, shape ``(decisions,)``."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """What an update learns from.

    Attributes:
        batch: All decisions.
        taken: Row of the choice taken, shape ``(decisions,)``.
        advantage: How much better than expected it went, shape ``(decisions,)``.
        returns: What the value should have been.
    """

    batch: Batch
    taken: Tensor
    advantage: Tensor
    returns: Tensor


def advantages(
    rewards: Floats, values: Floats, discount: float, trace: float
) -> tuple[Floats, Floats]:
    """Give advantages and returns of one whole game, whose end is worth nothing.

    ``A_t = sum_k (discount trace)^k (r_{t+k} + discount V_{t+k+1} - V_{t+k})``; returns are
    ``A + V``. Shapes ``(steps,)``.
    """
    steps = len(rewards)
    result, later = np.empty(steps), 0.0
    following = np.append(values[1:], 0.0)
    for t in range(steps - 1, -1, -1):
        later = rewards[t] + discount * following[t] - values[t] + discount * trace * later
        result[t] = later
    return result, result + values


def log_odds(scores: Tensor, batch: Batch) -> Tensor:
    """Give the logarithm of each choice's probability: a softmax within each decision."""
    top = torch.full((batch.decisions,), -torch.inf, dtype=scores.dtype)
    top = top.scatter_reduce(0, batch.owner, scores.detach(), "amax")
    shifted = scores - top[batch.owner]
    total = torch.zeros_like(top).index_add(0, batch.owner, shifted.exp())
    return shifted - total.log()[batch.owner]


def loss(
    net: Net, rollout: Rollout, old: Tensor, settings: Settings
) -> tuple[Tensor, dict[str, float]]:
    """Give the clipped objective, with signs for descent, and what is worth watching.

    Args:
        net: What is trained.
        rollout: Decisions, with advantages of any scale; they are normalised here.
        old: Log probabilities of the choices taken, when they were taken.
        settings: Weights of the parts.
    """
    scores, values = net(rollout.batch)
    log = log_odds(scores, rollout.batch)
    spread = rollout.advantage.std(correction=0)
    advantage = (rollout.advantage - rollout.advantage.mean()) / (spread + 1e-8)
    ratio = (log[rollout.taken] - old).exp()
    cut = ratio.clamp(1 - settings.clip, 1 + settings.clip)
    gain = torch.minimum(ratio * advantage, cut * advantage).mean()
    entropy = -(log.exp() * log).sum() / rollout.batch.decisions
    error = (values - rollout.returns).square().mean()
    seen = {
        "divergence": float((ratio - 1 - ratio.log()).mean().detach()),
        "entropy": float(entropy.detach()),
        "value_error": float(error.detach()),
    }
    return settings.value * error - gain - settings.entropy * entropy, seen


def update(
    net: Any,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    settings: Settings,
    generator: np.random.Generator,
) -> dict[str, float]:
    """Improve a net on a rollout; the same generator gives the same result."""
    with torch.no_grad():
        old = log_odds(net(rollout.batch)[0], rollout.batch)[rollout.taken]
    seen: dict[str, float] = {}
    for _ in range(settings.epochs):
        order = generator.permutation(rollout.batch.decisions)
        for part in np.array_split(order, settings.parts):
            if not part.size:
                continue
            chosen = torch.from_numpy(np.sort(part))
            value, seen = loss(net, select(rollout, chosen), old[chosen], settings)
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), settings.largest)
            optimizer.step()
        if seen["divergence"] > settings.halt:
            break
    return seen


def select(rollout: Rollout, chosen: Tensor) -> Rollout:
    """Give some of the decisions with their choices."""
    batch = rollout.batch
    counts = batch.starts.diff()[chosen]
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    owner = torch.repeat_interleave(torch.arange(len(chosen)), counts)
    shift = (batch.starts[chosen] - starts[:-1])[owner]  # from new rows to old ones
    rows = torch.arange(len(owner)) + shift
    small = Batch(
        owner,
        starts,
        batch.by_source[rows] - shift,
        batch.by_target[rows] - shift,
        batch.features[rows],
        {k: v[rows if k.startswith("row") else chosen] for k, v in batch.extras.items()},
    )
    taken = rollout.taken[chosen] - (batch.starts[chosen] - starts[:-1])
    return Rollout(small, taken, rollout.advantage[chosen], rollout.returns[chosen])


def joined(batches: list[Batch]) -> Batch:
    """Put batches one behind the other."""
    rows = np.cumsum([0, *(len(b.owner) for b in batches)])
    decisions = np.cumsum([0, *(b.decisions for b in batches)])

    def moved(name: str, by: NDArray[np.int64]) -> Tensor:
        return torch.cat([getattr(b, name) + int(k) for b, k in zip(batches, by, strict=False)])

    starts = [b.starts[:-1] + int(k) for b, k in zip(batches, rows, strict=False)]
    return Batch(
        moved("owner", decisions),
        torch.cat([*starts, torch.tensor([int(rows[-1])])]),
        moved("by_source", rows),
        moved("by_target", rows),
        torch.cat([b.features for b in batches]),
        {k: torch.cat([b.extras[k] for b in batches]) for k in batches[0].extras},
    )


def draws(log: Tensor, batch: Batch, generator: np.random.Generator) -> Tensor:
    """Draw one row of each decision by its probability (the largest of shifted Gumbel noises)."""
    noise = -np.log(-np.log(generator.random(len(log))))
    return best(log + torch.from_numpy(noise), batch)


def best(scores: Tensor, batch: Batch) -> Tensor:
    """Give the first row of each decision with its highest score."""
    top = torch.full((batch.decisions,), -torch.inf, dtype=scores.dtype)
    top = top.scatter_reduce(0, batch.owner, scores, "amax")
    rows = torch.arange(len(scores)).masked_fill(scores < top[batch.owner], len(scores))
    first = torch.full((batch.decisions,), len(scores))
    return first.scatter_reduce(0, batch.owner, rows, "amin")
