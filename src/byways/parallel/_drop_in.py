"""What RNN, GRU and LSTM share: the door, the choice of a strategy, torch's class to and fro."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from byways.core.errors import ShapeError
from byways.parallel._auto import ROUNDS, Memory, torch_wins
from byways.parallel._cells import CELLS, State
from byways.parallel._checks import checked_lengths, checked_strategy, refuse_non_finite
from byways.parallel._floor import FLOOR_DTYPES, floor_layer
from byways.parallel._lattice import RecurrenceInfo
from byways.parallel._layers import Solver, kind_of, run_layers
from byways.parallel._scanned_layer import scanned_layer
from byways.parallel._shooting import shoot
from byways.parallel._strategies import STRATEGIES

__all__ = ["DropIn"]

_STRATEGIES = ("auto", "floor", "shooting", "torch", *STRATEGIES)
_HALF = (torch.float16, torch.bfloat16)  # computed in float32


class DropIn(nn.RNNBase):
    """Mixed into a subclass of a module of ``torch.nn``, whose ``forward`` it replaces."""

    _torch_class: ClassVar[type[nn.RNNBase]]
    _untraced: ClassVar[Callable[..., Any] | None] = None
    strategy: str
    last_info: tuple[RecurrenceInfo, ...]

    def _start(self, strategy: str) -> None:
        self.strategy = checked_strategy(strategy, _STRATEGIES)
        self.last_info = ()
        self._memory = Memory()

    @classmethod
    def from_torch(cls, module: nn.RNNBase, *, strategy: str = "auto") -> Self:
        """Copy a module of ``torch.nn``: equal settings, equal weights of its own.

        Args:
            module: Of the class of the same name in ``torch.nn``.
            strategy: How to run, see the class.

        Returns:
            The new module, on the same device, in the same dtype and mode.

        Raises:
            TypeError: If the module is of another class.
        """
        if not isinstance(module, cls._torch_class):
            raise TypeError(
                f'"module" is a {type(module).__name__}; {cls.__name__}.from_torch takes a '
                f"torch.nn.{cls._torch_class.__name__}"
            )
        return cast("Self", _copy(module, cls, strategy=strategy))

    def to_torch(self) -> nn.RNNBase:
        """Give a plain module of ``torch.nn`` with equal settings and weights of its own."""
        return _copy(self, self._torch_class)

    def extra_repr(self) -> str:
        """Add the strategy to torch's line."""
        return f"{super().extra_repr()}, strategy={self.strategy!r}"

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        *,
        lengths: Tensor | list[int] | None = None,
    ) -> tuple[Any, Any]:
        """Run over a batch of sequences, as the module of the same name in ``torch.nn``.

        Args:
            input: Padded sequences or a ``PackedSequence``; finite.
            hx: Initial state, zero if None.
            lengths: Number of steps of each sequence, 0 to T, in any order; all T if None. What
                comes after is not read, outputs there are zero, and the last state is that of each
                sequence's own last step.

        Returns:
            The outputs and the last state, in torch's shapes; packed if the input was.

        Raises:
            ValueError: If shapes or lengths do not fit, or ``input`` is not finite.
        """
        if not torch.compiler.is_compiling():
            return self._forward(input, hx, lengths)
        if DropIn._untraced is None:
            # The loops are no code that torch.compile could trace. Not at import: this loads it.
            DropIn._untraced = staticmethod(torch.compiler.disable(DropIn._forward))
        return cast("tuple[Any, Any]", DropIn._untraced(self, input, hx, lengths))

    def _forward(
        self, input: Tensor | PackedSequence, hx: Any, lengths: Tensor | list[int] | None
    ) -> tuple[Any, Any]:
        if isinstance(input, PackedSequence):
            return self._packed(input, hx, lengths)
        strategy = self._choose(input, lengths)
        if strategy == "torch" and lengths is None and self._sizes(input)[0]:
            refuse_non_finite("input", self._time_first(input)[0])
            self.last_info = (RecurrenceInfo("torch"),)
            return cast("tuple[Any, Any]", super().forward(input, hx))
        x_TBI, batched = self._time_first(input)
        steps, sequences = x_TBI.shape[:2]
        if lengths is not None:
            lengths = checked_lengths(lengths, steps, sequences, x_TBI.device)
            padding = torch.arange(steps, device=x_TBI.device)[:, None] >= lengths
            x_TBI = x_TBI.masked_fill(padding[..., None], 0.0)
        refuse_non_finite("input", x_TBI)
        state = self._initial_state(hx, x_TBI, batched)
        output, last = self._run(strategy, x_TBI, state, lengths)
        if not batched:
            output, last = output[:, 0], tuple(s[:, 0] for s in last)
        elif self.batch_first:
            output = output.transpose(0, 1)
        return output, last if len(last) == 2 else last[0]

    def _packed(self, packed: PackedSequence, hx: Any, lengths: object) -> tuple[Any, Any]:
        if lengths is not None:
            raise ValueError('"lengths" is given beside a PackedSequence; that has its own')
        input, own = pad_packed_sequence(packed, batch_first=self.batch_first)
        output, last = self.forward(input, hx, lengths=own)
        return pack_padded_sequence(output, own, self.batch_first, enforce_sorted=False), last

    def _time_first(self, input: Tensor) -> tuple[Tensor, bool]:
        if input.ndim not in (2, 3):
            raise ShapeError(
                f'"input" has shape {tuple(input.shape)}; give (time, features), or a batch with '
                f"three axes"
            )
        if input.shape[-1] != self.input_size:
            raise ShapeError(
                f'"input" has shape {tuple(input.shape)}; its last axis must be '
                f'"input_size" {self.input_size}'
            )
        if input.ndim == 2:
            return input[:, None], False
        return (input.transpose(0, 1) if self.batch_first else input), True

    def _initial_state(self, hx: Any, x_TBI: Tensor, batched: bool) -> State:
        lstm = isinstance(self, nn.LSTM)
        rows, B = self.num_layers * (2 if self.bidirectional else 1), x_TBI.shape[1]
        sizes = [self.proj_size or self.hidden_size, self.hidden_size][: 1 + lstm]
        if hx is None:
            return tuple(x_TBI.new_zeros(rows, B, size) for size in sizes)
        parts = tuple(hx) if lstm and isinstance(hx, (tuple, list)) else (hx,)
        if len(parts) != len(sizes) or not all(isinstance(part, Tensor) for part in parts):
            wanted = "a pair (h_0, c_0) of tensors" if lstm else "one tensor"
            raise TypeError(f'"hx" is a {type(hx).__name__}; give {wanted} or None')
        for part, size in zip(parts, sizes, strict=True):
            shape = (rows, B, size) if batched else (rows, size)
            if part.shape != shape:
                raise ShapeError(f'"hx" has shape {tuple(part.shape)}; it must be {shape}')
        return parts if batched else tuple(part[:, None] for part in parts)

    def _run(
        self, strategy: str, x_TBI: Tensor, state: State, n_B: Tensor | None
    ) -> tuple[Tensor, State]:
        self.last_info = ()
        steps, sequences = x_TBI.shape[:2]
        if steps == 0:
            width = state[0].shape[-1] * (2 if self.bidirectional else 1)
            return x_TBI.new_zeros(0, sequences, width), state
        if strategy == "torch" and n_B is not None:
            self.last_info = (RecurrenceInfo("torch"),)
            return self._by_torch(x_TBI, state, n_B)
        if strategy in STRATEGIES:
            solve = self._by_scan(strategy, n_B)
        else:
            solve = self._by_floor(n_B) if strategy == "floor" else self._by_shooting(n_B)
        return run_layers(self, x_TBI, state, n_B, _in_float32(solve))

    def _choose(self, input: Tensor, lengths: object) -> str:
        """Name the strategy of this call, from its shapes and before any work."""
        floor_takes = input.device.type == "cpu" and input.dtype in (*FLOOR_DTYPES, *_HALF)
        if self.strategy != "auto":
            self._refuse(input, floor_takes)
            return self.strategy
        if self.proj_size:
            return "torch"
        steps, sequences = self._sizes(input)
        if not floor_takes:
            shoots = input.device.type != "cpu" and self._memory.shoot_next(steps)
            return "shooting" if shoots else "torch"
        if steps == 0 or sequences == 0 or lengths is not None:
            return "floor"
        training = torch.is_grad_enabled() and (
            input.requires_grad
            or any(weight.requires_grad for weight in self._flat_weights if weight is not None)
        )
        cell = type(self).__name__.lower()
        wins = torch_wins(cell, steps, sequences, self.hidden_size, training=training)
        return "torch" if wins else "floor"

    def _sizes(self, input: Tensor) -> tuple[int, int]:
        """Give steps and sequences; zeros for a shape that the door will refuse."""
        if input.ndim not in (2, 3):
            return 0, 0
        if input.ndim == 2:
            return input.shape[0], 1
        first, second, _ = input.shape
        return (second, first) if self.batch_first else (first, second)

    def _refuse(self, input: Tensor, floor_takes: bool) -> None:
        """Raise for a strategy that cannot do what is asked."""
        if self.strategy != "torch" and self.proj_size:
            raise ValueError(
                f'"strategy" is {self.strategy!r} and "proj_size" is {self.proj_size}; '
                'projections run with strategy="torch" or "auto" only'
            )
        if self.strategy == "floor" and not floor_takes:
            raise ValueError(
                f"\"strategy\" is 'floor' and the input is {input.dtype} on {input.device}; "
                "the compiled loops take real numbers on the CPU"
            )

    def _by_torch(self, x_TBI: Tensor, state: State, n_B: Tensor) -> tuple[Tensor, State]:
        """Run torch's kernel on ragged input."""
        if bool((n_B == 0).any()):
            raise ValueError(
                f'"lengths" has a 0 at index {int(n_B.argmin())}; torch\'s kernel takes no empty '
                "sequence, another strategy does"
            )
        packed = pack_padded_sequence(x_TBI, n_B.cpu(), enforce_sorted=False)
        output, last = super().forward(packed, state if len(state) == 2 else state[0])
        output, _ = pad_packed_sequence(output, total_length=len(x_TBI))
        return output, last if len(state) == 2 else (last,)

    def _by_floor(self, n_B: Tensor | None) -> Solver:
        kind = kind_of(self)

        def solve(x_TBG: Tensor, state: State, W: Tensor, b: Tensor | None) -> tuple[Tensor, State]:
            n = torch.full(x_TBG.shape[1:2], len(x_TBG)) if n_B is None else n_B
            h, *cell = floor_layer(kind, x_TBG, state, W, b, n)
            self.last_info += (RecurrenceInfo("floor"),)
            return h, (h[-1], *cell)

        return solve

    def _by_scan(self, strategy: str, n_B: Tensor | None) -> Solver:
        kind = kind_of(self)

        def solve(x_TBG: Tensor, state: State, W: Tensor, b: Tensor | None) -> tuple[Tensor, State]:
            states = scanned_layer(kind, strategy, x_TBG, state, W, b, n_B)
            self.last_info += (RecurrenceInfo(strategy),)
            return states[0], tuple(part[-1] for part in states)

        return solve

    def _by_shooting(self, n_B: Tensor | None) -> Solver:
        cell = CELLS[kind_of(self)]
        limit = ROUNDS if self.strategy == "auto" else None

        def solve(x_TBG: Tensor, state: State, W: Tensor, b: Tensor | None) -> tuple[Tensor, State]:
            parameters = (W,) if b is None else (W, b)
            states, info = shoot(
                lambda x, s: cell(x, s, W, b),
                x_TBG,
                state,
                parameters,
                lengths=n_B,
                max_steps=limit,
                expected=self._memory.expected,
            )
            self._memory.note(info, x_TBG.shape[1])
            self.last_info += (info,)
            return states[0], tuple(s[-1] for s in states)

        return solve


def _in_float32(solve: Solver) -> Solver:
    """Let a solver compute half precision in float32."""

    def solved(x_TBG: Tensor, state: State, W: Tensor, b: Tensor | None) -> tuple[Tensor, State]:
        dtype = x_TBG.dtype
        if dtype not in _HALF:
            return solve(x_TBG, state, W, b)
        start, bias = tuple(s.float() for s in state), None if b is None else b.float()
        h, last = solve(x_TBG.float(), start, W.float(), bias)
        return h.to(dtype), tuple(s.to(dtype) for s in last)

    return solved


def _copy(module: nn.RNNBase, cls: type[nn.RNNBase], **options: Any) -> nn.RNNBase:
    """Build a module of another class with the same settings and equal weights."""
    settings: dict[str, Any] = {
        "num_layers": module.num_layers,
        "bias": module.bias,
        "batch_first": module.batch_first,
        "dropout": module.dropout,
        "bidirectional": module.bidirectional,
    }
    if isinstance(module, nn.RNN):
        settings["nonlinearity"] = module.nonlinearity
    if isinstance(module, nn.LSTM):
        settings["proj_size"] = module.proj_size
    weight = cast("Tensor", module.weight_ih_l0)
    # Made without storage first: no random number is drawn, the caller's generator stays put.
    build: Any = cls
    new: nn.RNNBase = build(
        module.input_size,
        module.hidden_size,
        device="meta",
        dtype=weight.dtype,
        **settings,
        **options,
    ).to_empty(device=weight.device)
    new.load_state_dict(module.state_dict())
    for mine, theirs in zip(new.parameters(), module.parameters(), strict=True):
        mine.requires_grad_(theirs.requires_grad)
    return new.train(module.training)
