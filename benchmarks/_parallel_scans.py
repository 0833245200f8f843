"""Claims about scans, chains of layers, diffusion samplers and Newton's rounds."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from _denoisers import cosine_levels, train_denoiser, two_moons
from _peers import lacking
from _ratio import Pace, Row, Side, compare, missing
from torch import nn

from byways.parallel import parallel_backward, sample_ddim, scan, solve_recurrence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

__all__ = ["SCANS"]

# XLA reads this when it starts; one thread, as for everything else.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

_NO_LOSS = 0.95  # the goal where nothing is promised but not to be slower than torch


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def diagonal(pace: Pace) -> Iterator[Row]:
    """h_t = a_t h_{t-1} + b_t, forward, float32, layout (B, T, D), against everyone's scan."""
    shapes = [(1, 65536, 1), (1, 65536, 16), (8, 4096, 64), (4, 65536, 16)]
    for shape in [(2, 300, 4)] if pace.quick else shapes:
        a, b = _random(*shape, seed=0).sigmoid(), _random(*shape, seed=1)
        ours = Side("scan", partial(scan, a, b, dim=1))
        yield _memory_limit(f"diagonal scan {shape}: reading and writing alone", ours, a, b, pace)
        for name, (modules, goal, make) in _PEERS.items():
            claim = f"diagonal scan {shape}: {name}"
            absent = lacking(*modules)
            if absent:
                yield missing(claim, "scan", name, goal, absent)
            else:
                yield compare(
                    claim, ours, Side(name, make(a, b)), pace=pace, same=_close, goal=goal
                )


def _memory_limit(claim: str, ours: Side, a: Tensor, b: Tensor, pace: Pace) -> Row:
    """Time a sum, which reads and writes what a scan must: the ratio is how near the limit is."""
    add = Side("torch.add", partial(torch.add, a, b))
    row = compare(claim, ours, add, pace=pace, same=lambda mine, other: "")
    size = 3 * b.numel() * b.element_size()
    speeds = [f"{size / seconds / 1e9:.1f} GB/s" for seconds in row.seconds or ()]
    return replace(row, counted={"bytes": f"{size:,}", "speeds": ", ".join(speeds)})


def _torch_scan(a: Tensor, b: Tensor) -> Callable[[], Any]:
    from torch._higher_order_ops.associative_scan import associative_scan

    def combine(x: Any, y: Any) -> Any:
        return x[0] * y[0], y[0] * x[1] + y[1]

    return lambda: associative_scan(combine, (a, b), dim=1, combine_mode="generic")[1]


def _jax_loop(a: Tensor, b: Tensor) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    def step(h: Any, ab: Any) -> Any:
        h = ab[0] * h + ab[1]
        return h, h

    def run(a: Any, b: Any) -> Any:
        return jax.lax.scan(step, jnp.zeros_like(b[0]), (a, b))[1]

    compiled = jax.jit(run)
    first = [jnp.asarray(one.movedim(1, 0).contiguous().numpy()) for one in (a, b)]
    return lambda: compiled(*first).block_until_ready().swapaxes(0, 1)


def _jax_tree(a: Tensor, b: Tensor) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    def combine(x: Any, y: Any) -> Any:
        return x[0] * y[0], y[0] * x[1] + y[1]

    compiled = jax.jit(lambda a, b: jax.lax.associative_scan(combine, (a, b), axis=1)[1])
    arrays = [jnp.asarray(one.numpy()) for one in (a, b)]
    return lambda: compiled(*arrays).block_until_ready()


def _mambapy(a: Tensor, b: Tensor) -> Callable[[], Any]:
    from mambapy.pscan import pscan

    return lambda: pscan(a[..., None], b[..., None])[..., 0]


def _accelerated(a: Tensor, b: Tensor) -> Callable[[], Any]:
    from accelerated_scan.ref import scan as reference

    channels = [one.mT.contiguous() for one in (a, b)]  # its layout: (B, D, T)
    return lambda: reference(*channels).mT


def _torchlpc(a: Tensor, b: Tensor) -> Callable[[], Any]:
    from torchlpc import sample_wise_lpc

    batch, steps, size = b.shape
    x = b.mT.reshape(batch * size, steps).contiguous()
    factors = -a.mT.reshape(batch * size, steps, 1).contiguous()
    return lambda: sample_wise_lpc(x, factors).reshape(batch, size, steps).mT


_PEERS: dict[str, tuple[tuple[str, ...], float, Callable[[Tensor, Tensor], Callable[[], Any]]]] = {
    "torch associative_scan": ((), 13.0, _torch_scan),
    "jax lax.scan, compiled": (("jax",), 2.0, _jax_loop),
    "jax associative_scan, compiled": (("jax",), 2.0, _jax_tree),
    "mambapy pscan": (("mambapy",), 2.0, _mambapy),
    "accelerated-scan reference": (("accelerated_scan",), 2.0, _accelerated),
    "torchlpc": (("torchlpc",), 2.0, _torchlpc),
}


def _close(ours: Any, theirs: Any) -> str:
    a, b = np.asarray(ours.detach()), np.asarray(theirs)
    worst = float(np.abs(a - b).max() / max(1e-30, np.abs(a).max()))
    return "" if a.shape == b.shape and worst < 1e-4 else f"relative difference {worst:.1e}"


class _Residual(nn.Module):
    """A residual layer as users write it."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * torch.tanh(self.inner(x))


def _network(width: int, depth: int, residual: bool) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if residual:
            return nn.Sequential(*(_Residual(width, 1 / depth) for _ in range(depth)))
        return nn.Sequential(
            *(m for _ in range(depth) for m in (nn.Linear(width, width), nn.Tanh()))
        )


def chains(pace: Pace) -> Iterator[Row]:
    """Backward passes of MLP chains, 1024 separate nn.Linear, weights stacked and not."""
    depth = 20 if pace.quick else 1024
    goals = {(1, 2): 50.0, (1, 4): 33.0, (1, 8): 20.0, (1, 16): 7.0}
    others = [(16, 4), (16, 16), (16, 64), (64, 64)]
    for batch, width in [(1, 2)] if pace.quick else [*goals, *others]:
        for stacked in (True, False):
            kind = "stacked" if stacked else "weights of the layers"
            net, x = _network(width, depth, False), _random(batch, width, seed=1)
            yield compare(
                f"MLP chain backward, depth {depth}, B={batch}, w={width}, {kind}",
                Side("parallel_backward", _backward(parallel_backward(net, stacked=stacked), x)),
                Side("autograd", _backward(net, x)),
                pace=pace,
                same=_same_gradient,
                goal=goals.get((batch, width), _NO_LOSS) if stacked else _NO_LOSS,
            )


def residual(pace: Pace) -> Iterator[Row]:
    """Forward and backward passes of residual chains, branch scale 1 / depth."""
    depth = 20 if pace.quick else 1024
    goals = {(1, 4): 30.0, (1, 16): 13.0, (16, 16): 6.0, (16, 64): _NO_LOSS, (64, 64): _NO_LOSS}
    for (batch, width), goal in list(goals.items())[: 1 if pace.quick else None]:
        net, x = _network(width, depth, True), _random(batch, width, seed=1)
        yield compare(
            f"residual chain forward and backward, depth {depth}, B={batch}, w={width}",
            Side("parallel_backward", _training(parallel_backward(net, stacked=True), x)),
            Side("autograd", _training(net, x)),
            pace=pace,
            same=_same_gradient,
            goal=goal,
        )


def _backward(net: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """Run the backward pass alone, on a graph that is kept."""
    leaf = x.clone().requires_grad_()
    y = net(leaf)
    weights = torch.ones_like(y)
    parameters = [leaf, *net.parameters()]

    def run() -> Tensor:
        for one in parameters:
            one.grad = None
        y.backward(weights, retain_graph=True)
        return leaf.grad

    return run


def _training(net: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    leaf = x.clone().requires_grad_()
    parameters = [leaf, *net.parameters()]

    def run() -> Tensor:
        for one in parameters:
            one.grad = None
        net(leaf).sum().backward()
        return leaf.grad

    return run


def _same_gradient(ours: Tensor, theirs: Tensor) -> str:
    worst = float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30))
    return "" if worst < 1e-4 else f"relative difference {worst:.1e}"


def diffusion(pace: Pace) -> Iterator[Row]:
    """DDIM, 1000 steps: rounds of dependent model calls, final error at most 1e-4."""
    steps, updates = (50, 20) if pace.quick else (1000, 1500)
    levels = cosine_levels(steps)
    plane = two_moons()
    cases = [("plane", plane, 64, 1, {"newton": 7, "quasi": 15, "anderson": 28, "picard": 30})]
    if lacking("sklearn"):
        yield missing("DDIM digits", "quasi", "sequential", 15, "sklearn")
    else:
        from sklearn.datasets import load_digits

        digits = torch.tensor(load_digits().data, dtype=torch.float32) / 8 - 1
        cases.append(("digits", digits, 128, 4, {"quasi": 15, "anderson": 28, "picard": 30}))
    for name, data, hidden, batch, goals in cases:
        model = train_denoiser(data, hidden, steps, updates).double()
        x = _random(batch, data.shape[1], seed=3).double()
        exact, plain = sample_ddim(model, x, levels)
        for method, goal in goals.items():
            found, info = sample_ddim(model, x, levels, method=method)
            error = float((found - exact).abs().max())
            yield Row(
                f"DDIM {steps} steps, {name}, batch {batch}: rounds",
                method,
                f"sequential {plain.rounds}",
                ratio=float(info.rounds),
                goal=float(goal),
                at_most=True,
                counted={"final error": f"{error:.1e}", "rows": info.rows},
                fault="" if error <= 1e-4 and info.converged else f"final error {error:.1e}",
            )


def newton(pace: Pace) -> Iterator[Row]:
    """Twelve scalar recurrences h = tanh(g h + sin(t) / 2): Newton's rounds with projection."""
    worst, wrong, counts = 0, "", {}
    for gain in (0.5, 1.0, 1.5, 3.0):
        for steps in (100, 1000, 10_000):
            x = 0.5 * torch.sin(torch.arange(steps, dtype=torch.float64))[:, None]
            start = torch.zeros(1, dtype=torch.float64)
            f = partial(_scalar_step, gain)
            found, info = solve_recurrence(f, x, start, method="newton", bounds=(-1, 1))
            state = 0.0
            for value in x[:, 0].tolist():
                state = math.tanh(gain * state + value)
            if not info.converged or abs(float(found[-1]) - state) > 1e-8:
                wrong = f"gain {gain}, {steps} steps"
            counts[f"g={gain} T={steps}"] = info.iterations
            worst = max(worst, info.iterations)
    yield Row(
        "scalar tanh recurrences, twelve: most Newton rounds",
        "newton, projected",
        "sequential",
        ratio=float(worst),
        goal=8.0,
        at_most=True,
        counted=counts,
        fault=wrong,
    )


def _scalar_step(gain: float, x: Tensor, h: Tensor) -> Tensor:
    return torch.tanh(gain * h + x)


SCANS = {
    "diagonal": diagonal,
    "chains": chains,
    "residual": residual,
    "diffusion": diffusion,
    "newton": newton,
}
