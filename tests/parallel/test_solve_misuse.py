"""Bad inputs of ``solve_recurrence``: what is raised and what it says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from byways.parallel import solve_recurrence


class HidingModule(nn.Module):
    """A module with a weight of its own and one that is nobody's."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.ones(4))
        self.hidden = {"weight": torch.ones(4, requires_grad=True)}

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.own * h + self.hidden["weight"] * x)


def test_replaced_weights_are_refused_in_the_backward_pass() -> None:
    cell = HidingModule()
    cell.hidden["weight"].requires_grad_(False)

    class Run(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: Tensor, h: Tensor) -> Tensor:
            return solve_recurrence(self.cell, x, h, method="newton")[0]

    weights = {"cell.own": torch.full((4,), 0.5, requires_grad=True)}
    x, h0 = torch.ones(6, 3, 4), torch.zeros(3, 4)
    states = torch.func.functional_call(Run(), weights, (x, h0))
    with pytest.raises(RuntimeError, match="parameters of HidingModule were replaced"):
        states.sum().backward()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"method": "deer"}, ValueError, "'deer'.*newton.*picard"),
        ({"jacobian": "full"}, ValueError, "'full'"),
        ({"strategy": "tree"}, ValueError, "'tree'.*blelloch"),
        ({"on_failure": "warn"}, ValueError, "'warn'"),
        ({"damping": 1.0}, ValueError, '"damping" was 1.0'),
        ({"max_steps": 0, "method": "newton"}, ValueError, '"max_steps" was 0'),
        ({"h0": torch.zeros(3, 4, dtype=torch.int64)}, TypeError, "int64"),
        ({"h0": torch.zeros(3, 4, dtype=torch.complex64)}, TypeError, "complex64"),
        ({"h0": torch.full((3, 4), float("nan"))}, ValueError, '"h0" is not finite'),
        ({"x": torch.full((5, 3, 4), float("inf"))}, ValueError, "first bad step is 0"),
        ({"x": (torch.zeros(5, 3, 4), torch.zeros(4))}, ValueError, r"\[5, 4\] steps"),
        ({"x": None}, TypeError, '"x" must be'),
        ({"f": 3}, TypeError, '"f" was 3'),
        ({"f": lambda x, h: h.sum(-1)}, ValueError, "must keep"),
        ({"f": lambda x, h: nn.functional.dropout(h + 1, 0.5)}, ValueError, "must be pure"),
        ({"f": lambda x, h: h + h.mean(0)}, ValueError, "leading axes"),
        ({"f": lambda x, h: h + h.mean(-2, keepdim=True)}, ValueError, "neighbour"),
        ({"f": lambda x, h: h * torch.ones(4, requires_grad=True)}, ValueError, '"params"'),
        ({"f": HidingModule()}, ValueError, '"params"'),
        ({"params": (torch.ones(2, dtype=torch.int64),)}, TypeError, "int64"),
    ],
)
def test_misuse(options: dict[str, Any], error: type[Exception], words: str) -> None:
    torch.manual_seed(0)
    given: dict[str, Any] = {"f": lambda x, h: torch.tanh(h + x), "x": torch.ones(5, 3, 4)}
    given |= {"h0": torch.eye(3, 4)} | options
    with pytest.raises(error, match=words):
        solve_recurrence(given.pop("f"), given.pop("x"), given.pop("h0"), **given)
