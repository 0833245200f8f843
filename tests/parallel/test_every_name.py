"""What holds for every public name: gradients, short chains, layouts, in-place changes, memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from byways.parallel import (
    GRU,
    LSTM,
    RNN,
    MinGRU,
    MinLSTM,
    ParallelCell,
    associative_scan,
    scan,
    solve_recurrence,
)
from tests.oracles.recurrences import loop, nonlinear, prefixes

from .test_diagonal import random
from .test_min import _loop as min_loop

Parts = tuple[Tensor, ...]
CLOSE = {torch.float64: 1e-10, torch.float32: 1e-5}  # of the largest entry


@dataclass(frozen=True)
class Case:
    """A name, the loop that it must equal, and what both take: the first has the steps first."""

    ours: Callable[..., Parts]
    plain: Callable[..., Parts]
    inputs: Callable[[int], list[Tensor]]


def matrices(n: int) -> list[Tensor]:
    return [random(n, 2, 3, 3) / 2, random(n, 2, 3, seed=1), random(2, 3, seed=2)]


def scanned(strategy: str) -> Case:
    def plain(A: Tensor, b: Tensor, h: Tensor) -> Parts:
        return (loop(lambda t, h: (A[t] @ h[..., None])[..., 0], b, h),)

    return Case(lambda A, b, h: (scan(A, b, h, strategy=strategy),), plain, matrices)


def diagonal(strategy: str) -> Case:
    return Case(
        lambda a, b, h: (scan(a, b, h, strategy=strategy),),
        lambda a, b, h: (loop(lambda t, h: a[t] * h, b, h),),
        lambda n: [random(n, 2, 3), random(n, 2, 3, seed=1), random(2, 3, seed=2)],
    )


def combined(strategy: str) -> Case:
    def multiply(a: Tensor, b: Tensor) -> Tensor:
        return b @ a

    return Case(
        lambda x: (associative_scan(multiply, x, strategy=strategy),),
        lambda x: (torch.stack(prefixes(multiply, list(x))),),
        lambda n: matrices(n)[:1],
    )


def solved(method: str) -> Case:
    def f(x: Tensor, h: Tensor, W: Tensor) -> Tensor:
        return torch.tanh(h @ W.mT + x)

    def ours(x: Tensor, h: Tensor, W: Tensor) -> Parts:
        return (solve_recurrence(f, x, h, (W,), method=method, bounds=(-1, 1))[0],)

    def plain(x: Tensor, h: Tensor, W: Tensor) -> Parts:
        return (torch.stack(nonlinear(lambda x, h: f(x, h, W), list(x), h)),)

    W = 0.8 * torch.linalg.qr(random(3, 3, seed=3))[0]
    return Case(ours, plain, lambda n: [random(n, 2, 3), random(2, 3, seed=2), W.clone()])


def module_case(made: nn.Module, run: Callable[..., Parts], plain: Callable[..., Parts]) -> Case:
    """Make a case of a module; ``run`` and ``plain`` take it, ``x``, the start, and the weights."""
    names = [name for name, _ in made.named_parameters()]
    weights = [one.detach().clone() for one in made.parameters()]

    def given(call: Callable[..., Parts]) -> Callable[..., Parts]:
        return lambda x, h, *w: call(dict(zip(names, w, strict=True)), x, h)

    size = made.hidden_size if isinstance(made.hidden_size, int) else 3
    return Case(
        given(run),
        given(plain),
        lambda n: [random(n, 2, 3), random(2, size, seed=2), *(w.clone() for w in weights)],
    )


def recurrent(cls: Any, strategy: str, **settings: Any) -> Case:
    torch.manual_seed(0)
    ours = cls(3, 4, strategy=strategy, dtype=torch.float64, **settings)
    lstm = cls is LSTM

    def through(module: nn.Module) -> Callable[..., Parts]:
        def run(w: dict[str, Tensor], x: Tensor, h: Tensor) -> Parts:
            start = (h[None], h[None] / 2) if lstm else h[None]
            out, last = functional_call(module, w, (x, start))
            return (out, *(last if lstm else (last,)))

        return run

    return module_case(ours, through(ours), through(ours.to_torch()))


def minimal(cls: Any, log_space: bool) -> Case:
    torch.manual_seed(0)
    cell = cls(3, 4, log_space=log_space, dtype=torch.float64)

    class Looped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: Tensor, h: Tensor) -> Tensor:
            return min_loop(self.cell, x, h)

    looped = Looped()

    def plain(w: dict[str, Tensor], x: Tensor, h: Tensor) -> Parts:
        named = {f"cell.{name}": one for name, one in w.items()}
        states = functional_call(looped, named, (x, h))
        return states, states[-1]

    return module_case(cell, lambda w, x, h: functional_call(cell, w, (x, h)), plain)


class Leaky(nn.Module):
    hidden_size = 3

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 3, dtype=torch.float64)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return 0.5 * h + torch.tanh(self.inner(torch.cat([x, h], -1)))


def celled(strategy: str, cell: nn.Module | None = None) -> Case:
    torch.manual_seed(0)
    cell = Leaky() if cell is None else cell
    ours = ParallelCell(cell, strategy=strategy)
    ours.hidden_size = 3  # type: ignore[assignment]

    def plain(w: dict[str, Tensor], x: Tensor, h: Tensor) -> Parts:
        own = {name.removeprefix("cell."): one for name, one in w.items()}
        states = nonlinear(lambda x, h: functional_call(cell, own, (x, h)), list(x), h)
        return torch.stack(states), states[-1]

    return module_case(ours, lambda w, x, h: functional_call(ours, w, (x, h)), plain)


CASES = {
    **{f"scan, {s}": scanned(s) for s in ("auto", "blelloch", "pcr", "chunked")},
    **{f"diagonal scan, {s}": diagonal(s) for s in ("auto", "blelloch", "pcr")},
    **{f"associative_scan, {s}": combined(s) for s in ("sequential", "blelloch", "pcr", "chunked")},
    **{
        f"solve_recurrence, {m}": solved(m)
        for m in ("auto", "newton", "quasi", "picard", "jacobi", "shooting")
    },
    **{
        f"{cls.__name__}, {s}": recurrent(cls, s)
        for cls, last in ((RNN, "auto"), (GRU, "pcr"), (LSTM, "chunked"))
        for s in ("floor", "shooting", "blelloch", last)
    },
    "ReLU RNN, floor": recurrent(RNN, "floor", nonlinearity="relu"),
    **{f"{c.__name__}, {log}": minimal(c, log) for c in (MinGRU, MinLSTM) for log in (False, True)},
    **{f"ParallelCell, {s}": celled(s) for s in ("auto", "shooting", "sequential")},
    "ParallelCell of GRUCell": celled("auto", nn.GRUCell(3, 3, dtype=torch.float64)),
}


def loss_of(parts: Parts) -> Tensor:
    """Weigh all numbers of all steps differently."""
    terms = [(part * random(*part.shape, seed=9).to(part.dtype)).sum() for part in parts]
    return torch.stack(terms).sum()


def derivatives(run: Callable[..., Parts], inputs: list[Tensor]) -> list[Tensor]:
    """Give values, then gradients of those inputs that want one."""
    parts = run(*inputs)
    wanted = [one for one in inputs if one.requires_grad]
    return [*parts, *torch.autograd.grad(loss_of(parts), wanted)]


def assert_near(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        scale = max(float(theirs.detach().abs().max()), 1e-3)
        assert float((ours - theirs).detach().abs().max()) <= tolerance * scale


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("steps", [1, 2, 3, 70])
@pytest.mark.parametrize("name", sorted(CASES))
def test_values_and_gradients_are_those_of_the_loop(
    name: str, steps: int, dtype: torch.dtype
) -> None:
    case = CASES[name]
    steps = min(steps, 30) if "solve" in name else steps  # slow methods take a round a step
    inputs = [one.to(dtype).requires_grad_() for one in case.inputs(steps)]
    exact = [one.detach().double().requires_grad_() for one in inputs]
    expected = [one.to(dtype) for one in derivatives(case.plain, exact)]
    assert_near(derivatives(case.ours, inputs), expected, CLOSE[dtype])


@pytest.mark.parametrize("name", sorted(CASES))
def test_gradients_pass_gradcheck(name: str) -> None:
    case = CASES[name]
    inputs = [one.requires_grad_() for one in case.inputs(3)]
    assert torch.autograd.gradcheck(case.ours, inputs, fast_mode=True)


@pytest.mark.parametrize("name", sorted(CASES))
def test_inputs_of_any_layout_and_only_some_with_gradients(name: str) -> None:
    case = CASES[name]
    inputs = case.inputs(5)
    strided = [torch.stack([one, one], dim=-1)[..., 0] for one in inputs]
    strided[0] = inputs[0].movedim(0, -1).contiguous().movedim(-1, 0)
    spread = [inputs[0][:, :1].expand_as(inputs[0]), *strided[1:]]
    for given in (strided, spread):
        leaves = [one.detach() for one in given]
        assert any(not one.is_contiguous() for one in leaves)
        for wanted in range(len(leaves)):
            some = [one.requires_grad_(i == wanted) for i, one in enumerate(leaves)]
            expected = derivatives(case.plain, some)
            assert_near(derivatives(case.ours, some), expected, 1e-10)


def changed_in_place(case: Case, change: Callable[[list[Tensor], Parts], None]) -> None:
    """Change something between the passes: the gradient is refused, or that of before."""
    inputs = [one.requires_grad_() for one in case.inputs(6)]
    expected = derivatives(case.plain, inputs)
    parts = case.ours(*inputs)
    loss = loss_of(parts)
    with torch.no_grad():
        change(inputs, parts)
    try:
        found = torch.autograd.grad(loss, inputs)
    except RuntimeError as error:
        assert "inplace" in str(error)  # noqa: PT017
    else:
        assert_near(list(found), expected[len(parts) :], 1e-10)


@pytest.mark.parametrize("name", sorted(CASES))
def test_states_that_the_caller_changes_in_place(name: str) -> None:
    changed_in_place(CASES[name], lambda inputs, parts: parts[0].zero_())


@pytest.mark.parametrize("name", sorted(CASES))
def test_inputs_that_the_caller_changes_in_place(name: str) -> None:
    for i in range(len(CASES[name].inputs(2))):
        changed_in_place(CASES[name], lambda inputs, parts, i=i: inputs[i].mul_(2))


HALF = [name for name in CASES if not name.startswith(("associative", "ParallelCell"))]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(HALF))
def test_half_precision_is_rounded_at_the_door_only(name: str, dtype: torch.dtype) -> None:
    case = CASES[name]
    inputs = [one.to(dtype) for one in case.inputs(300)]
    found = case.ours(*inputs)[0]
    exact = case.plain(*(one.double() for one in inputs))[0]
    assert found.dtype == dtype
    # A module's product with the inputs is torch's own and rounded once.
    error = float((found.double() - exact).abs().max()) / float(exact.abs().max())
    assert error <= 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize(
    "name",
    [
        *(f"solve_recurrence, {method}" for method in ("newton", "shooting")),
        *(f"{cls}, {s}" for cls in ("RNN", "GRU", "LSTM") for s in ("floor", "blelloch")),
    ],
)
def test_jacobians_are_not_kept_for_the_backward_pass(name: str) -> None:
    saved: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    case = wide_case(name)
    inputs = [one.requires_grad_() for one in case.inputs(12)]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        parts = case.ours(*inputs)
    states = parts[0].numel()
    # Inputs, states and up to six gates a unit are kept; a Jacobian is as large as n states.
    assert sum(saved) < 16 * states + 2 * sum(one.numel() for one in inputs)
    assert 16 * states < parts[0].shape[-1] * states


def wide_case(name: str) -> Case:
    """Give a case with 40 numbers in a state."""
    kind, strategy = name.split(", ")
    if kind != "solve_recurrence":
        return wide_recurrent({"RNN": RNN, "GRU": GRU, "LSTM": LSTM}[kind], strategy)
    narrow = solved(strategy)
    W = 0.8 * torch.linalg.qr(random(40, 40, seed=3))[0]
    return Case(
        narrow.ours,
        narrow.plain,
        lambda n: [random(n, 2, 40), random(2, 40, seed=2), W.clone()],
    )


def wide_recurrent(cls: Any, strategy: str) -> Case:
    ours = cls(3, 40, strategy=strategy, dtype=torch.float64)

    def run(x: Tensor) -> Parts:
        return (ours(x)[0],)

    return Case(run, run, lambda n: [random(n, 2, 3)])
