"""RNN, GRU and LSTM: torch's modules with other ways to run them.

They are subclasses of torch's own, and only ``forward`` is replaced: parameters, their names, their
initial values for a seed and the state_dict are torch's because the code that makes them is.
"""

from __future__ import annotations

import torch
from torch import nn

from byways.parallel._drop_in import DropIn

__all__ = ["GRU", "LSTM", "RNN"]


class RNN(DropIn, nn.RNN):
    """``torch.nn.RNN`` with other ways to run it: h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh).

    The parameters, their names and their initial values are torch's, and so are arguments, shapes
    and results, to rounding. What differs is how a layer is computed:

    - ``"floor"``: compiled loops over time without a graph, a hand-written linear backward pass,
      and the products with inputs and weights' gradients for all steps at once. CPU, any dynamics.
    - ``"shooting"``: about sqrt(T) chunks rolled out side by side until their ends meet, on any
      device. Sequences that do not settle are computed step by step and listed.
    - ``"torch"``: the kernel of ``torch.nn``.
    - ``"sequential"``, ``"blelloch"``, ``"pcr"``, ``"chunked"``: step by step forward, and backward
      one scan over the Jacobians of all steps (BPPSA). A tree composes matrices, H times the work,
      so this is for many processors, or for measuring; memory is T B H^2.
    - ``"auto"``: the floor on a CPU, unless torch's kernel is faster for the sizes at hand; on
      other devices a few rounds of shooting where they worked before, else torch's kernel.

    ``last_info`` says how the last call went, one entry for each layer and direction. Float16 and
    bfloat16 run in float32 but by torch's kernel. Gradients are of first order; a second derivative
    raises. ``torch.compile`` leaves the loops outside its graphs.

    Cost of a layer: O(T B H (H + I)) operations. The floor keeps T B H numbers for the backward
    pass and shooting T B times what one step's graph keeps.

    Args:
        input_size: Features of one step, I.
        hidden_size: Units H.
        num_layers: Layers, each fed with the outputs of the one before.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: Whether there are b_ih and b_hh.
        batch_first: Whether batches come as ``(batch, time, features)``.
        dropout: Share of each layer's outputs that is dropped in training, the last layer's not.
        bidirectional: Whether a second recurrence runs from the end.
        device: Where the parameters live.
        dtype: Of the parameters.
        strategy: How to run.

    Shape:
        input: ``(time, batch, I)`` or ``(time, I)``.
        output: ``(time, batch, D H)`` with D directions.
        states: ``(num_layers D, batch, H)``.

    Raises:
        ValueError: If the strategy is unknown.

    Example:
        >>> import torch
        >>> theirs = torch.nn.RNN(3, 5)
        >>> ours = RNN.from_torch(theirs)
        >>> x = torch.randn(100, 2, 3)
        >>> torch.allclose(ours(x)[0], theirs(x)[0], atol=1e-6)
        True
        >>> ours.last_info[0].strategy
        'floor'
    """

    _torch_class = nn.RNN

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        strategy: str = "auto",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            nonlinearity=nonlinearity,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
        )
        self._start(strategy)


class GRU(DropIn, nn.GRU):
    """``torch.nn.GRU`` with other ways to run it.

    r = s(W_ir x + b_ir + W_hr h + b_hr), z likewise, n = tanh(W_in x + b_in + r (W_hn h + b_hn))
    and h' = (1 - z) n + z h, as torch has it. Strategies, cost, shapes and limits are those of
    :class:`RNN`; the floor keeps 5 T B H numbers for the backward pass.

    Args:
        input_size: Features of one step, I.
        hidden_size: Units H.
        num_layers: Layers, each fed with the outputs of the one before.
        bias: Whether there are b_ih and b_hh.
        batch_first: Whether batches come as ``(batch, time, features)``.
        dropout: Share of each layer's outputs that is dropped in training, the last layer's not.
        bidirectional: Whether a second recurrence runs from the end.
        device: Where the parameters live.
        dtype: Of the parameters.
        strategy: How to run.

    Raises:
        ValueError: If the strategy is unknown.

    Example:
        >>> import torch
        >>> gru = GRU(3, 5, batch_first=True, bidirectional=True)
        >>> output, last = gru(torch.randn(2, 100, 3), lengths=[100, 60])
        >>> output.shape, last.shape, bool(output[1, 60:].any())
        (torch.Size([2, 100, 10]), torch.Size([2, 2, 5]), False)
    """

    _torch_class = nn.GRU

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        strategy: str = "auto",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
        )
        self._start(strategy)


class LSTM(DropIn, nn.LSTM):
    """``torch.nn.LSTM`` with other ways to run it.

    c' = s(f) c + s(i) tanh(g) and h' = s(o) tanh(c'), with the four pre-activations as torch has
    them. Strategies, cost, shapes and limits are those of :class:`RNN`; the floor keeps 6 T B H
    numbers for the backward pass.

    Args:
        input_size: Features of one step, I.
        hidden_size: Units H.
        num_layers: Layers, each fed with the outputs of the one before.
        bias: Whether there are b_ih and b_hh.
        batch_first: Whether batches come as ``(batch, time, features)``.
        dropout: Share of each layer's outputs that is dropped in training, the last layer's not.
        bidirectional: Whether a second recurrence runs from the end.
        proj_size: Size of a projection of h; other than 0 it runs on torch's kernel only.
        device: Where the parameters live.
        dtype: Of the parameters.
        strategy: How to run.

    Raises:
        ValueError: If the strategy is unknown.

    Example:
        >>> import torch
        >>> lstm = LSTM(3, 5)
        >>> output, (h, c) = lstm(torch.randn(100, 2, 3))
        >>> bool((output[-1] == h[0]).all()), c.shape
        (True, torch.Size([1, 2, 5]))
    """

    _torch_class = nn.LSTM

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        strategy: str = "auto",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            proj_size=proj_size,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
        )
        self._start(strategy)
