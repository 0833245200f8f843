"""What a type-checker must find in the recurrent part of ``byways.parallel``. Nobody runs this."""

from __future__ import annotations

from typing import assert_type

import torch
from torch import Tensor, nn

from byways.parallel import GRU, LSTM, RNN, MinGRU, MinLSTM, ParallelCell

assert_type(GRU.from_torch(nn.GRU(3, 4)), GRU)
assert_type(RNN.from_torch(nn.RNN(3, 4), strategy="floor"), RNN)
assert_type(LSTM(3, 4, 2, batch_first=True).to_torch(), nn.RNNBase)
assert_type(MinGRU(3, 4, log_space=True).forward(torch.zeros(5, 2, 3)), tuple[Tensor, Tensor])
assert_type(MinLSTM(3, 4).forward(torch.zeros(5, 2, 3), lengths=[5, 2]), tuple[Tensor, Tensor])
cell = ParallelCell(nn.GRUCell(3, 4), strategy="shooting")
cell.forward(torch.zeros(5, 2, 3), (torch.zeros(2, 4), torch.zeros(2, 4)))

GRU(3, 4, True, strategy="auto", speed=3)  # type: ignore[call-arg]
ParallelCell(3)  # type: ignore[arg-type]
