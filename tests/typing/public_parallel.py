"""What a type-checker must find in ``byways.parallel`` beside the modules. Nobody runs this."""

from __future__ import annotations

from typing import assert_type

import torch
from torch import Tensor, nn

from byways.parallel import (
    associative_scan,
    diagnostics,
    elements,
    parallel_backward,
    plan,
    sample_ddim,
    scan,
    solve_recurrence,
)
from byways.parallel._plan import Plan

x = torch.zeros(5, 2, 3)
scan(x, x, x[0], dim=1, reverse=True, strategy="pcr", chunk=None, return_info=True)
scan(elements.Dense(torch.zeros(5, 2, 3, 3)), x)
associative_scan(torch.add, x, dim=0, reverse=False, strategy="blelloch")
states, info = solve_recurrence(lambda x, h: x + h, x, x[0], method="newton", bounds=(-1, 1))
assert_type(states, Tensor)
assert_type(info.converged, bool)
assert_type(parallel_backward(nn.GRU(3, 4), strategy="blelloch"), nn.Module)
assert_type(sample_ddim(lambda x, t: x, x[0], torch.ones(4), window=2)[0], Tensor)
assert_type(plan(1000, 20, workers=4), Plan)
assert_type(diagnostics.verify(nn.Linear(3, 3), x).output_error, float)

scan(x, x, dim="time")  # type: ignore[arg-type]
parallel_backward(nn.GRU(3, 4), depth=3)  # type: ignore[call-arg]
solve_recurrence(lambda x, h: h, x)  # type: ignore[call-arg]
