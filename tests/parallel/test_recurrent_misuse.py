"""Bad input to RNN, GRU and LSTM: what is raised and what it says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from byways.core.errors import ShapeError
from byways.parallel import GRU, LSTM, RNN


def test_an_unknown_strategy_lists_the_names() -> None:
    with pytest.raises(ValueError, match=r"\"strategy\" is 'fast'; choose one of 'auto', 'floor'"):
        GRU(3, 4, strategy="fast")


@pytest.mark.parametrize("strategy", ["auto", "floor", "shooting", "torch", "pcr"])
@pytest.mark.parametrize("cls", [RNN, GRU, LSTM])
def test_a_value_that_is_not_finite_is_named_by_its_step(cls: Any, strategy: str) -> None:
    x = torch.randn(9, 2, 3)
    x[6, 1, 0] = torch.nan
    for batch_first in (False, True):
        ours = cls(3, 4, strategy=strategy, batch_first=batch_first)
        with pytest.raises(ValueError, match=r'"input" has 1 values that are not finite.* step 6'):
            ours(x.transpose(0, 1) if batch_first else x)
    with pytest.raises(ValueError, match=r"not finite.* step 6"):
        ours(x[:, 1])


def test_large_finite_values_pass() -> None:
    x = torch.full((5, 1, 3), 3e38)
    assert RNN(3, 4, strategy="floor")(x)[0].isfinite().all()


@pytest.mark.parametrize(
    ("lengths", "error", "words"),
    [
        ([3, 4, 5], ValueError, r'"lengths" has shape \(3,\); give one for each of the 2'),
        ([3, 10], ValueError, '"lengths" has 10 at index 1; each must lie between 0 and the 9'),
        ([-1, 3], ValueError, '"lengths" has -1 at index 0'),
        ([1.0, 2.0], TypeError, '"lengths" has dtype torch.float32'),
    ],
)
def test_lengths(lengths: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        GRU(3, 4)(torch.randn(9, 2, 3), lengths=lengths)


@pytest.mark.parametrize("cls", [RNN, GRU])
def test_the_initial_state_has_torchs_shape(cls: Any) -> None:
    with pytest.raises(ShapeError, match=r'"hx" has shape \(2, 4\); it must be \(1, 2, 4\)'):
        cls(3, 4, strategy="floor")(torch.randn(9, 2, 3), torch.zeros(2, 4))


def test_the_initial_state_of_an_lstm_is_a_pair() -> None:
    lstm, x = LSTM(3, 4, strategy="floor"), torch.randn(9, 2, 3)
    with pytest.raises(TypeError, match='"hx" is a Tensor; give a pair'):
        lstm(x, torch.zeros(1, 2, 4))
    with pytest.raises(ShapeError, match=r"it must be \(1, 2, 4\)"):
        lstm(x, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 5)))


@pytest.mark.parametrize(
    ("shape", "words"), [((3,), "three axes"), ((9, 2, 5), '"input_size" 3'), ((9, 4), "size")]
)
def test_the_shape_of_the_input(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        GRU(3, 4, strategy="floor")(torch.zeros(shape))


def test_two_sources_of_lengths() -> None:
    packed = pack_padded_sequence(torch.randn(5, 2, 3), torch.tensor([5, 2]))
    with pytest.raises(ValueError, match='"lengths" is given beside a PackedSequence'):
        GRU(3, 4)(packed, lengths=[5, 2])


def test_an_empty_sequence_on_torchs_kernel() -> None:
    with pytest.raises(ValueError, match='"lengths" has a 0 at index 1; torch'):
        GRU(3, 4, strategy="torch")(torch.randn(5, 2, 3), lengths=[5, 0])


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch tells of its own kernel
def test_projections_run_on_torchs_kernel_only() -> None:
    x = torch.randn(5, 2, 3)
    lstm = LSTM(3, 4, proj_size=2)
    assert torch.equal(lstm(x)[0], lstm.to_torch()(x)[0])
    with pytest.raises(ValueError, match='"strategy" is \'floor\' and "proj_size" is 2'):
        LSTM(3, 4, proj_size=2, strategy="floor")(x)


def test_the_floor_takes_real_numbers_only() -> None:
    with pytest.raises(ValueError, match="compiled loops take real numbers on the CPU"):
        GRU(3, 4, strategy="floor")(torch.zeros(5, 2, 3, dtype=torch.complex64))


def test_another_dtype_is_torchs_error() -> None:
    with pytest.raises(RuntimeError, match="dtype"):
        GRU(3, 4, strategy="floor")(torch.zeros(5, 2, 3, dtype=torch.float64))


def test_from_torch_takes_its_own_kind() -> None:
    with pytest.raises(TypeError, match=r'"module" is a RNN; GRU.from_torch takes a torch.nn.GRU'):
        GRU.from_torch(nn.RNN(3, 4))
