"""Scans of every structure and strategy against a loop, exact integers and counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from byways.parallel import associative_scan, scan
from byways.parallel._strategies import STRATEGIES
from byways.parallel.elements import (
    BlockDiagonal,
    Dense,
    Diagonal,
    IdentityPlus,
    Pattern,
    Scalar,
    SharedDiagonal,
    Sparse,
    Structure,
)
from tests.oracles.recurrences import (
    doubling_combines,
    fibonacci,
    inclusive_combines,
    loop,
    prefixes,
)
from tests.parallel.test_diagonal import random

NAMES = sorted(STRATEGIES)
PATTERN = Pattern([0, 0, 1, 2, 3, 3], [0, 2, 1, 3, 0, 3], (4, 4))
STRUCTURES: dict[str, Callable[[int], Structure]] = {
    "scalar": lambda n: Scalar(random(n, 2), 4),
    "diagonal": lambda n: Diagonal(random(n, 2, 4)),
    "block-diagonal": lambda n: BlockDiagonal(random(n, 2, 2, 2, 2) / 2),
    "dense": lambda n: Dense(random(n, 2, 4, 4) / 3),
    "dense, one for all lanes": lambda n: Dense(random(n, 1, 4, 4) / 3),
    "shared": lambda n: SharedDiagonal(random(4, 4) / 2, random(n, 2, 4)),
    "shared, diagonal first": lambda n: SharedDiagonal(random(4, 4) / 2, random(n, 2, 4), True),
    "identity plus dense": lambda n: IdentityPlus(Dense(random(n, 2, 4, 4) / 10)),
    "identity plus shared": lambda n: IdentityPlus(
        SharedDiagonal(random(4, 4) / 8, random(n, 2, 4))
    ),
    "identity plus diagonal": lambda n: IdentityPlus(Diagonal(random(n, 2, 4) / 10)),
    "identity plus sparse": lambda n: IdentityPlus(Sparse(PATTERN, random(n, 2, 6) / 10)),
    "sparse": lambda n: Sparse(PATTERN, random(n, 2, 6) / 2),
}
LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 16, 33]


def dense_loop(A: Structure, b: Tensor, start: Tensor, reverse: bool) -> Tensor:
    matrices = A.to_dense()
    return loop(
        lambda t, h: torch.einsum("...ij,...j->...i", matrices[t], h), b, start, reverse=reverse
    )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("strategy", NAMES)
@pytest.mark.parametrize("kind", sorted(STRUCTURES))
def test_states_equal_the_loop(kind: str, strategy: str, reverse: bool) -> None:
    for n in LENGTHS:
        A, b, start = STRUCTURES[kind](n), random(n, 2, 4, seed=1), random(2, 4, seed=2)
        found = scan(A, b, start, strategy=strategy, reverse=reverse, chunk=3 if n > 5 else None)
        torch.testing.assert_close(found, dense_loop(A, b, start, reverse), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("strategy", NAMES)
def test_every_length_of_products_of_matrices(strategy: str, reverse: bool) -> None:
    for n in [*range(1, 71), 1000, 1023, 1024, 1025]:
        size = 2 + n % 4
        matrices = torch.linalg.qr(random(n, size, size, seed=n))[0]
        ordered = list(matrices.flip(0)) if reverse else list(matrices)
        products = torch.stack(prefixes(lambda a, b: b @ a, ordered))
        found = associative_scan(lambda a, b: b @ a, matrices, strategy=strategy, reverse=reverse)
        expected = products.flip(0) if reverse else products
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
        # The same products as states, from the first unit vector on.
        start, zeros = torch.eye(size, dtype=torch.float64)[0], matrices.new_zeros(n, size)
        states = scan(matrices, zeros, start, strategy=strategy, reverse=reverse)
        torch.testing.assert_close(states, expected[..., 0], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("strategy", NAMES)
@pytest.mark.parametrize("kind", sorted(STRUCTURES))
def test_gradients_equal_autograd_through_the_loop(kind: str, strategy: str, reverse: bool) -> None:
    for n in (1, 2, 3, 6):
        template = STRUCTURES[kind](n)
        inputs = [*template.tensors, random(n, 2, 4, seed=1), random(2, 4, seed=2)]
        inputs = [one.float().double().requires_grad_() for one in inputs]
        weight = random(n, 2, 4, seed=3).float()
        plain = dense_loop(template.like(*inputs[:-2]), *inputs[-2:], reverse)
        expected = torch.autograd.grad((weight * plain).sum(), inputs)
        for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
            given = [one.detach().to(dtype).requires_grad_() for one in inputs]
            A = template.like(*given[:-2])
            ours = scan(A, *given[-2:], strategy=strategy, reverse=reverse)
            found = torch.autograd.grad((weight * ours).sum(), given)
            for a, b in zip(found, expected, strict=True):
                size = float(b.abs().max())
                torch.testing.assert_close(a, b.to(dtype), rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("kind", ["dense", "shared", "identity plus dense", "sparse"])
def test_second_derivatives(kind: str) -> None:
    template = STRUCTURES[kind](3)
    inputs = [*template.tensors, random(3, 2, 4, seed=1), random(2, 4, seed=2)]
    inputs = [one.clone().requires_grad_() for one in inputs]

    def run(*parts: Tensor) -> Tensor:
        states: Tensor = scan(template.like(*parts[:-2]), *parts[-2:])
        return states

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("strategy", ["auto", *NAMES])
def test_fibonacci_is_exact(strategy: str, reverse: bool) -> None:
    A = torch.tensor([[1.0, 1.0], [1.0, 0.0]], dtype=torch.float64).expand(78, 2, 2)
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    zeros = torch.zeros(78, 2, dtype=torch.float64)
    states = scan(A, zeros, start, strategy=strategy, reverse=reverse)
    assert int(states[0 if reverse else -1, 1]) == fibonacci(78) == 8944394323791464


@pytest.mark.parametrize("strategy", ["auto", *NAMES])
@pytest.mark.parametrize("steps", [1, 2, 3, 40])
def test_a_scalar_recurrence_has_its_closed_gradient(steps: int, strategy: str) -> None:
    # h_t = a h_{t-1} + 1 from 0: dh_T/da = (1 - T a^(T-1) + (T-1) a^T) / (1 - a)^2
    x = 0.9
    closed = (1 - steps * x ** (steps - 1) + (steps - 1) * x**steps) / (1 - x) ** 2
    for shape in ((), (1,), (1, 1)):
        a = torch.full(shape, x, dtype=torch.float64, requires_grad=True)
        b = torch.ones(steps, *shape[:1], dtype=torch.float64)
        states = scan(a.expand(steps, *shape), b, strategy=strategy)
        (found,) = torch.autograd.grad(states[-1].sum(), a)
        assert float(found) == pytest.approx(closed, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("strategy", NAMES)
@pytest.mark.parametrize("reverse", [False, True])
def test_integer_matrices_modulo_a_prime(strategy: str, reverse: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    matrices = torch.randint(0, 10_007, (37, 3, 3), generator=generator)

    def combine(a: Tensor, b: Tensor) -> Tensor:
        return (b @ a) % 10_007

    ordered = list(matrices.flip(0)) if reverse else list(matrices)
    expected = torch.stack(prefixes(combine, ordered))
    found = associative_scan(combine, matrices, reverse=reverse, strategy=strategy)
    assert torch.equal(found, expected.flip(0) if reverse else expected)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 1000, 1001, 1024])
def test_counts_are_the_published_ones(n: int) -> None:
    def info(strategy: str) -> tuple[int, int]:
        b = torch.zeros(n, 1, dtype=torch.float64)
        _, told = scan(b, b, strategy=strategy, return_info=True)
        return told.combines, told.levels

    depth = (n - 1).bit_length()  # ⌈log2 n⌉
    assert info("blelloch")[0] == inclusive_combines(n)
    assert info("blelloch")[1] <= max(0, 2 * n.bit_length() - 2)
    assert info("pcr") == (doubling_combines(n), depth)
    assert info("pcr")[0] == n * depth - (2**depth - 1)
    assert info("sequential") == (n - 1, n - 1)


def test_counts_by_number() -> None:
    numbers = {
        n: scan(torch.zeros(n, 1), torch.zeros(n, 1), strategy="blelloch", return_info=True)
        for n in (1000, 1024, 1001)
    }
    assert [numbers[n][1].combines for n in (1000, 1024, 1001)] == [1984, 2036, 1985]
    _, told = scan(torch.zeros(1000, 1), torch.zeros(1000, 1), strategy="pcr", return_info=True)
    assert (told.combines, told.levels) == (8977, 10)


@pytest.mark.parametrize("strategy", NAMES)
def test_float32_keeps_its_accuracy(strategy: str) -> None:
    a, b = random(2000, 3).sigmoid(), random(2000, 3, seed=1)
    exact = loop(lambda t, h: a[t] * h, b, torch.zeros(3, dtype=torch.float64))
    found = scan(a.float(), b.float(), strategy=strategy).double()
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_saturate(dtype: torch.dtype) -> None:
    ones = torch.ones(4096, dtype=dtype)
    found = scan(ones, ones)
    assert found.dtype == dtype
    assert float(found[-1]) == 4096.0  # a running sum in half precision stops far before


def test_trees_of_tensors_and_gradients_through_the_operator() -> None:
    a, b = random(9, 2).requires_grad_(), random(9, 2, seed=1).requires_grad_()

    def combine(x: dict[str, Tensor], y: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"a": y["a"] * x["a"], "b": y["a"] * x["b"] + y["b"]}

    found = associative_scan(combine, {"a": a, "b": b})["b"]
    expected = loop(lambda t, h: a[t] * h, b, torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(found, expected)
    for ours, plain in zip(
        torch.autograd.grad(found.square().sum(), (a, b)),
        torch.autograd.grad(expected.square().sum(), (a, b)),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain)


def test_operators_beyond_sums() -> None:
    x = random(50, 3)
    torch.testing.assert_close(
        associative_scan(torch.logaddexp, x, strategy="pcr"), x.logcumsumexp(0)
    )
    torch.testing.assert_close(associative_scan(torch.maximum, x.T, dim=1), x.T.cummax(1).values)


@pytest.mark.parametrize("layout", ["transposed", "expanded", "sliced"])
def test_reversed_scans_of_any_layout(layout: str) -> None:
    plain = random(6, 8)
    b = {
        "transposed": random(8, 6).T,
        "expanded": random(1, 8).expand(6, 8),
        "sliced": random(6, 16)[:, ::2],
    }[layout]
    expected = loop(lambda t, h: plain[t] * h, b, torch.zeros(8, dtype=torch.float64), reverse=True)
    for strategy in NAMES:
        torch.testing.assert_close(scan(plain, b, reverse=True, strategy=strategy), expected)


@pytest.mark.parametrize("dim", [0, 1, -2])
def test_time_may_be_any_axis(dim: int) -> None:
    a, b = random(3, 5, 4), random(3, 5, 4, seed=1)
    matrices = random(3, 5, 4, 4) / 3
    for A in (a, matrices):
        first = scan(A.movedim(dim if A.ndim == 3 else dim % 3, 0), b.movedim(dim, 0))
        torch.testing.assert_close(scan(A, b, dim=dim).movedim(dim, 0), first)


def test_a_small_term_beside_the_identity_keeps_its_digits() -> None:
    # (1 + e)^n - 1 for e = 1e-9: the sum of binomials, against a product that starts from 1.
    e = torch.full((1024, 1, 1, 1), 1e-12, dtype=torch.float64)
    node: Structure = IdentityPlus(Dense(e[:1]))
    for _ in range(10):
        node = node.after(node)
    assert isinstance(node, IdentityPlus)
    expected = 1024e-12 + 1024 * 1023 / 2 * 1e-24
    assert float(node.E.to_dense()) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("strategy", ["auto", "pcr"])
@pytest.mark.parametrize("steps", [0, 1, 2, 9])
def test_states_before_each_step(steps: int, strategy: str, reverse: bool) -> None:
    inputs = [random(2, steps, 3), random(2, steps, 3, seed=1), random(2, 3, seed=2)]
    a, b, start = (one.requires_grad_() for one in inputs)
    options: dict[str, Any] = {"dim": 1, "strategy": strategy, "reverse": reverse}
    h, expected = start, {}
    for t in reversed(range(steps)) if reverse else range(steps):
        expected[t] = h
        h = a[:, t] * h + b[:, t]
    found = scan(a, b, start, inclusive=False, **options)
    if steps == 0:
        assert found.shape == (2, 0, 3)
        return
    plain = torch.stack([expected[t] for t in range(steps)], dim=1)
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-12)
    if steps > 1:
        ours, theirs = (torch.autograd.grad(one.sin().sum(), inputs) for one in (found, plain))
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    without = scan(a, b, inclusive=False, **options)
    assert not without[:, -1 if reverse else 0].any()


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
def test_gradients_for_some_of_the_inputs(wanted: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(40, 3, generator=generator).double() for _ in range(2)]
    inputs = [*inputs, torch.ones(3, dtype=torch.float64)]
    for i in wanted:
        inputs[i].requires_grad_()
    h = inputs[2]
    states = torch.stack([h := a * h + b for a, b in zip(*inputs[:2], strict=True)])
    leaves = [inputs[i] for i in wanted]
    expected = torch.autograd.grad(states.square().sum(), leaves)
    found = torch.autograd.grad(scan(*inputs).square().sum(), leaves)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 37, 64])
def test_scans_equal_torchs_own(steps: int) -> None:
    from torch._higher_order_ops.associative_scan import associative_scan as theirs

    def combine(x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return x[0] * y[0], y[0] * x[1] + y[1]

    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(steps, 3, generator=generator).double() for _ in range(2))
    _, expected = theirs(combine, (a, b), dim=0, combine_mode="generic")
    torch.testing.assert_close(scan(a, b), expected, rtol=1e-12, atol=1e-12)
    _, found = associative_scan(combine, (a, b))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("other", [torch.float32, torch.float64])
def test_general_and_plain_inputs_meet(other: torch.dtype) -> None:
    # Equal shapes and types take a shorter way to the loop than factors to be broadcast or cast.
    b = torch.linspace(-1, 1, 60, dtype=torch.float64).reshape(2, 30)
    narrow = torch.linspace(0, 1, 30, dtype=other)
    plain = scan(narrow.double().expand(2, 30).clone(), b, torch.ones(2).double(), dim=1)
    torch.testing.assert_close(scan(narrow, b, torch.ones(2, dtype=other), dim=1), plain)
