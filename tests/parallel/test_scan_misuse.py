"""Bad inputs of the scans: what the message says, and what empty inputs give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from byways.parallel import associative_scan, scan
from byways.parallel.elements import Dense, Diagonal, IdentityPlus, Pattern, Sparse

Z = torch.zeros


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((Z(4, 2), Z(4, 2)), {"strategy": "tree"}, ValueError, "'tree'.*blelloch.*chunked"),
        ((Z(4, 2), Z(4, 2)), {"chunk": 0}, ValueError, '"chunk" was 0'),
        ((Z(4, 2), Z(4, 2)), {"chunk": True}, ValueError, '"chunk" was True'),
        ((Z(4, 2, 3), Z(4, 2)), {}, ValueError, r"\(4, 2, 3\).*square"),
        ((Z(5, 2, 2), Z(4, 2)), {}, ValueError, r"\(5, 2, 2\) and \"b\" \(4, 2\)"),
        ((Z(3, 2), Z(4, 2)), {}, ValueError, "broadcast"),
        ((Z(4, 2), Z(4, 2), Z(3)), {}, ValueError, r'"x0" has shape \(3,\).*\(2,\)'),
        ((Z(4, 2), Z(4, 2)), {"dim": 2}, ValueError, '"dim" was 2'),
        ((Z(4, 2), torch.ones(4, 2, dtype=torch.int64)), {}, TypeError, "int64"),
        ((Z(4, 2, dtype=torch.int32), Z(4, 2)), {}, TypeError, '"A" has dtype torch.int32'),
        (([1.0], Z(4, 2)), {}, TypeError, '"A" was of type list'),
        ((Dense(Z(4, 3, 3)), Z(4, 2)), {}, ValueError, "3 x 3 matrices for states of 2"),
        ((Dense(Z(4, 2, 3)), Z(4, 2)), {}, ValueError, "2 x 3 matrices"),
        ((Diagonal(Z(3, 2)), Z(4, 2)), {}, ValueError, '"A" has 3 steps and "b" has 4'),
        ((Diagonal(Z(4, 2)), Z(4, 2)), {"dim": 1}, ValueError, "steps first"),
    ],
)
def test_misuse_of_scan(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        scan(*arguments, **options)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_step_that_is_not_finite_is_named(bad: float) -> None:
    b = Z(6, 2)
    b[3, 1] = b[5, 0] = bad
    with pytest.raises(ValueError, match='"b" is not finite; the first bad step is 3'):
        scan(Z(6, 2), b)
    with pytest.raises(ValueError, match='"A" is not finite; the first bad step is 3'):
        scan(b, Z(6, 2))
    with pytest.raises(ValueError, match='"x0" is not finite'):
        scan(Z(6, 2), Z(6, 2), b[3])
    assert bool(
        torch.isfinite(scan(torch.full((4,), 1e38), torch.full((4,), 1e38)[:, None])[0]).all()
    )


def test_the_first_bad_step_of_a_structure_is_named() -> None:
    bad = torch.eye(2).repeat(6, 1, 1)
    bad[4, 0, 1] = torch.nan
    for A in (Dense(bad), Diagonal(bad[:, 0]), IdentityPlus(Dense(bad))):
        for strategy in ("auto", "blelloch"):
            with pytest.raises(ValueError, match='"A" is not finite; the first bad step is 4'):
                scan(A, Z(6, 2), strategy=strategy)
    with pytest.raises(ValueError, match='"A" is not finite; the first bad step is 4'):
        scan(bad, Z(6, 2))


@pytest.mark.parametrize("strategy", ["auto", "sequential", "blelloch", "pcr", "chunked"])
def test_empty_inputs(strategy: str) -> None:
    assert scan(Z(0, 3), Z(0, 3), Z(3), strategy=strategy).shape == (0, 3)
    assert scan(Z(0, 3, 3), Z(0, 3), strategy=strategy).shape == (0, 3)
    assert scan(Z(4, 0, 3), Z(4, 0, 3), strategy=strategy).shape == (4, 0, 3)
    start = torch.ones(3, requires_grad=True)
    scan(Z(0, 3, 3), Z(0, 3), start, strategy=strategy).sum().backward()
    assert start.grad is not None
    assert float(start.grad.abs().sum()) == 0.0
    assert associative_scan(torch.add, Z(0, 2), strategy=strategy).shape == (0, 2)


def test_a_chunk_longer_than_the_chain_is_the_chain() -> None:
    b = torch.arange(1.0, 6.0)
    for chunk in (99, np.int8(99)):
        found = scan(torch.ones(5), b, strategy="chunked", chunk=chunk)
        assert found.tolist() == [1.0, 3.0, 6.0, 10.0, 15.0]


def test_misuse_of_associative_scan() -> None:
    x = torch.arange(5.0)
    with pytest.raises(ValueError, match="not associative"):
        associative_scan(torch.sub, x, check_associative=True)
    torch.testing.assert_close(associative_scan(torch.add, x, check_associative=True), x.cumsum(0))
    with pytest.raises(ValueError, match=r"lengths \[5, 4\]"):
        associative_scan(lambda a, b: a, (x, x[:4]))
    with pytest.raises(ValueError, match="must keep them"):
        associative_scan(lambda a, b: a.sum(), x)
    with pytest.raises(TypeError, match='"fn" was 3'):
        associative_scan(3, x)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="leaf of type float"):
        associative_scan(torch.add, [x, 1.0])
    with pytest.raises(ValueError, match="no tensors"):
        associative_scan(torch.add, [])
    with pytest.raises(ValueError, match='"dim" was 1'):
        associative_scan(torch.add, x, dim=1)
    with pytest.raises(ValueError, match=r"'tree'.*blelloch.*chunked"):
        associative_scan(torch.add, x, strategy="tree")


def test_sparse_matrices_must_chain() -> None:
    tall, wide = Pattern([0, 1, 2], [0, 1, 0], (3, 2)), Pattern([0, 1], [0, 3], (2, 4))
    product = Sparse(tall, torch.ones(1, 3)).after(Sparse(wide, torch.ones(1, 2)))
    expected = Sparse(tall, torch.ones(1, 3)).to_dense() @ Sparse(wide, torch.ones(1, 2)).to_dense()
    torch.testing.assert_close(product.to_dense(), expected)
    with pytest.raises(ValueError, match=r"\(2, 4\).*cannot follow.*\(3, 2\)"):
        Sparse(wide, torch.ones(1, 2)).after(Sparse(tall, torch.ones(1, 3)))
    with pytest.raises(ValueError, match="sorted by row"):
        Pattern([1, 0], [0, 0], (2, 2))
    with pytest.raises(ValueError, match="each entry"):
        Pattern([0, 0], [1, 1], (2, 2))
    with pytest.raises(ValueError, match="one index"):
        Pattern([0, 0], [1], (2, 2))
