"""MinGRU and MinLSTM: gated recurrences that are linear in the state.

With gates that do not look at the state, h_t = a_t h_{t-1} + b_t is a diagonal affine recurrence
and all steps follow from one scan. The initial state is one more affine element, so it may have
any sign, in log space too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from byways.core.errors import ShapeError
from byways.parallel._checks import checked_lengths, refuse_non_finite
from byways.parallel._diagonal import diagonal_recurrence
from byways.parallel._scan_checks import in_kernel_precision

__all__ = ["MinGRU", "MinLSTM"]


class _MinCell(nn.Module):
    """What both share: one linear map for all gates, the door, and the scan."""

    _gates: int  # rows of the linear map in units of H

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        log_space: bool = False,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.batch_first = batch_first
        self.log_space = log_space
        outputs = self._gates * hidden_size
        self.projection = nn.Linear(input_size, outputs, bias=bias, device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the weights anew, as ``torch.nn.Linear`` does."""
        self.projection.reset_parameters()

    def extra_repr(self) -> str:
        """Name sizes and settings."""
        return (
            f"{self.input_size}, {self.hidden_size}, batch_first={self.batch_first}, "
            f"log_space={self.log_space}"
        )

    def forward(
        self,
        input: Tensor,
        hx: Tensor | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compute all states.

        Args:
            input: ``(time, batch, input_size)``, finite.
            hx: Initial state ``(batch, hidden_size)``, zero if None.
            lengths: Number of steps of each sequence, 0 to T; outputs after it are zero.

        Returns:
            The states of all steps ``(time, batch, hidden_size)`` and the last ``(batch, H)``.

        Raises:
            ShapeError: If the shape of ``input`` or ``hx`` does not fit.
            ValueError: If ``lengths`` do not fit or ``input`` is not finite.
        """
        if input.ndim != 3 or input.shape[-1] != self.input_size:
            raise ShapeError(
                f'"input" has shape {tuple(input.shape)}; give three axes, the last of size '
                f"{self.input_size}"
            )
        x_TBI = input.transpose(0, 1) if self.batch_first else input
        steps, sequences = x_TBI.shape[:2]
        if hx is not None and hx.shape != (sequences, self.hidden_size):
            raise ShapeError(
                f'"hx" has shape {tuple(hx.shape)}; it must be {(sequences, self.hidden_size)}'
            )
        refuse_non_finite("input", x_TBI)
        start = x_TBI.new_zeros(sequences, self.hidden_size) if hx is None else hx
        if steps == 0:
            return input.new_zeros(*input.shape[:2], self.hidden_size), start
        gates, state = in_kernel_precision(self.projection(x_TBI), start)
        log_a, log_b, candidate = self._gated(gates)
        running = None
        if lengths is not None:
            n = checked_lengths(lengths, steps, sequences, x_TBI.device)
            running = (torch.arange(steps, device=n.device)[:, None] < n)[..., None]
            # After its end a sequence is held by a = 1, b = 0.
            log_a = log_a.masked_fill(~running, 0.0)
            log_b = log_b.masked_fill(~running, -1e4)  # a zero whose gradient is no NaN
        h = self._solve(log_a, log_b, candidate, state).to(x_TBI.dtype)
        last = h[-1]
        h = h if running is None else h * running
        return (h.transpose(0, 1) if self.batch_first else h), last

    def _gated(self, gates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give log a, the log of the candidate's factor, and the candidate."""
        raise NotImplementedError

    def _solve(self, log_a: Tensor, log_b: Tensor, candidate: Tensor, start: Tensor) -> Tensor:
        if not self.log_space:
            return diagonal_recurrence(log_a.exp(), log_b.exp() * candidate, start)
        # Sums of logarithms grow with T, and what they lose the states lose relatively.
        total = log_a.double().cumsum(0)
        terms = (log_b + _log_g(candidate)).double() - total
        h = torch.exp(total + torch.logcumsumexp(terms, 0)) + total.exp() * start
        return h.to(start.dtype)


class MinGRU(_MinCell):
    """Minimal GRU: h_t = (1 - z_t) h_{t-1} + z_t c_t, gates that see only the input.

    z_t = s(W_z x_t + b_z) with the logistic function s, and c_t = W_h x_t + b_h.

    With ``log_space`` the candidate is made positive, g(c) = c + 1/2 for c >= 0 and s(c) below, and
    the states are summed as logarithms. That form is for comparison with published models: it is
    slower, and its sums are in float64 because in float32 their error grows with T (about 3e-3
    relative at T = 65,536).

    Cost: O(T B H I) operations, deterministic; gradients of any order. In half precision the gates
    and the scan are float32.

    Args:
        input_size: Features of one step, I.
        hidden_size: Units H.
        bias: Whether the linear maps have a bias.
        batch_first: Whether batches come as ``(batch, time, features)``.
        device: Where the parameters live.
        dtype: Of the parameters.
        log_space: Sum logarithms.

    References:
        Feng, Tung, Ahmed, Bengio and Hajimirsadeghi, "Were RNNs all we needed?" (2024), sections
        3.1 and B.2. Deviation: h_0 enters as an affine element also in log space.

    Example:
        >>> import torch
        >>> cell = MinGRU(3, 5)
        >>> x = torch.randn(100, 2, 3)
        >>> states, last = cell(x)
        >>> rest, _ = cell(x[60:], cell(x[:60])[1])  # a state may be handed on
        >>> torch.allclose(states[60:], rest, atol=1e-6)
        True
    """

    _gates = 2

    def _gated(self, gates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        k, candidate = gates.chunk(2, -1)
        return -softplus(k), logsigmoid(k), candidate


class MinLSTM(_MinCell):
    """Minimal LSTM: h_t = f' h_{t-1} + i' c_t, gates that see only the input.

    f' = f / (f + i) and i' = i / (f + i) with f = s(W_f x_t + b_f), i = s(W_i x_t + b_i) and
    c_t = W_h x_t + b_h.

    ``log_space`` and cost as for :class:`MinGRU`.

    Args:
        input_size: Features of one step, I.
        hidden_size: Units H.
        bias: Whether the linear maps have a bias.
        batch_first: Whether batches come as ``(batch, time, features)``.
        device: Where the parameters live.
        dtype: Of the parameters.
        log_space: Sum logarithms.

    References:
        Feng, Tung, Ahmed, Bengio and Hajimirsadeghi, "Were RNNs all we needed?" (2024), sections
        3.2 and B.3. Deviation: h_0 enters as an affine element also in log space.

    Example:
        >>> import torch
        >>> states, last = MinLSTM(3, 5)(torch.randn(100, 2, 3))
        >>> states.shape, bool((states[-1] == last).all())
        (torch.Size([100, 2, 5]), True)
    """

    _gates = 3

    def _gated(self, gates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f, i, candidate = gates.chunk(3, -1)
        # f / (f + i) = s(log f - log i); the difference of two log-sigmoids never overflows.
        difference = logsigmoid(f) - logsigmoid(i)
        return logsigmoid(difference), logsigmoid(-difference), candidate


def _log_g(c: Tensor) -> Tensor:
    """Give log g(c), g(c) = c + 1/2 for c >= 0 and the logistic function below."""
    return torch.where(c >= 0, torch.log(torch.relu(c) + 0.5), logsigmoid(c))
