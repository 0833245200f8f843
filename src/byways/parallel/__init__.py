"""Forward and backward passes over depth and time, computed in parallel.

A chain ``h_t = f_t(h_{t-1})`` costs as many dependent steps as it is long. Its backward pass is an
affine recurrence whatever ``f`` is, and affine maps compose associatively, so a scan gives every
cotangent at once. Its forward pass is the root of a system of equations, which Newton's method
solves with one affine recurrence a round.

This is a training pass: it speaks torch, carries gradients, and needs the extra ``torch``.
"""

from __future__ import annotations

from byways.core.optional import require

require("torch", extra="torch", purpose="byways.parallel")

from byways.parallel import diagnostics, elements
from byways.parallel._associative import associative_scan
from byways.parallel._backward import parallel_backward
from byways.parallel._ddim import sample_ddim
from byways.parallel._min import MinGRU, MinLSTM
from byways.parallel._parallel_cell import ParallelCell
from byways.parallel._plan import plan
from byways.parallel._recurrent import GRU, LSTM, RNN
from byways.parallel._scan import scan
from byways.parallel._solve import solve_recurrence

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "MinGRU",
    "MinLSTM",
    "ParallelCell",
    "associative_scan",
    "diagnostics",
    "elements",
    "parallel_backward",
    "plan",
    "sample_ddim",
    "scan",
    "solve_recurrence",
]
