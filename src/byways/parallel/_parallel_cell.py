"""Any user-written cell, rolled out in parallel over time by multiple shooting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from byways.core.errors import ShapeError
from byways.parallel._auto import ROUNDS, Memory
from byways.parallel._cells import State, Step
from byways.parallel._checks import checked_lengths, checked_strategy, refuse_non_finite
from byways.parallel._floor import FLOOR_DTYPES, floor_layer
from byways.parallel._lattice import Lattice, RecurrenceInfo, roll, stack
from byways.parallel._purity import agree, hides_a_leaf, refuse_random
from byways.parallel._shooting import shoot

__all__ = ["ParallelCell"]

_STRATEGIES = ("auto", "shooting", "sequential")


class ParallelCell(nn.Module):
    """Run a cell ``cell(x_t, h) -> h`` over a whole sequence, many steps at a time.

    The sequence is cut into about sqrt(T) chunks that are rolled out side by side, on a batch of
    as many lanes, until the end of each chunk is the start of the next (multiple shooting); the
    backward pass does the same with cotangents. The answer is that of a loop over time, to a
    tolerance per element of 1e-5 relative plus 1e-6 in float32, 1e-10 plus 1e-12 in float64. It
    takes sqrt(T) times a few dependent steps instead of T. That pays for cells that forget, as
    trained recurrent cells mostly do, and for small batches. A sequence that does not settle is
    computed step by step with torch's own graph; ``last_info`` lists it.

    With ``"auto"`` at most 4 rounds are tried, what worked is remembered as an exponential average
    over the calls, and a cell that failed is tried again every 100 calls. Sequences under 64 steps
    run step by step; ``RNNCell`` and ``GRUCell`` run on the compiled loops of :class:`RNN`.

    The cell must be a pure function of its two arguments and its parameters, since it is evaluated
    several times at the same step: dropout and batch normalisation in training mode are refused,
    and one step is tried before the chunks are rolled out. Gradients are of first order under
    shooting, and of any order step by step.

    Cost: a few times T B evaluations of the cell, in a few sqrt(T) calls. Memory: what T B
    evaluations keep for their backward pass.

    Args:
        cell: Takes one step's inputs ``(N, ...)`` and the state, a tensor or tuple of tensors
            ``(N, ...)``, and returns the next state in the same form.
        batch_first: Whether inputs and states have the batch before time.
        strategy: ``"auto"``, ``"shooting"`` without a limit of rounds, or ``"sequential"``.

    Raises:
        TypeError: If ``cell`` is no module.
        ValueError: If the strategy is unknown.

    Example:
        >>> import torch
        >>> class Leaky(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.mix = torch.nn.Linear(6, 4)
        ...
        ...     def forward(self, x, h):
        ...         return 0.5 * h + 0.5 * torch.tanh(self.mix(torch.cat((x, h), -1)))
        >>> cell = ParallelCell(Leaky())
        >>> states, last = cell(torch.randn(1000, 3, 2), torch.zeros(3, 4))
        >>> states.shape, cell.last_info.strategy, cell.last_info.converged
        (torch.Size([1000, 3, 4]), 'shooting', True)
    """

    def __init__(
        self, cell: nn.Module, *, batch_first: bool = False, strategy: str = "auto"
    ) -> None:
        super().__init__()
        if not isinstance(cell, nn.Module):
            raise TypeError(
                f'"cell" is a {type(cell).__name__}; give a torch.nn.Module, so that its '
                "parameters can be found"
            )
        self.cell = cell
        self.batch_first = batch_first
        self.strategy = checked_strategy(strategy, _STRATEGIES)
        self.last_info: RecurrenceInfo | None = None
        self._memory = Memory()

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"batch_first={self.batch_first}, strategy={self.strategy!r}"

    def forward(
        self,
        input: Tensor,
        hx: Tensor | tuple[Tensor, ...] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Any, Any]:
        """Run the cell over all steps.

        Args:
            input: ``(time, batch, ...)``, finite.
            hx: Initial state, a tensor ``(batch, ...)`` or a tuple of them; zeros
                ``(batch, cell.hidden_size)`` if None and the cell has such an attribute.
            lengths: Number of steps of each sequence, 0 to T; afterwards its state is held.

        Returns:
            The states of all steps ``(time, batch, ...)`` and the last state ``(batch, ...)``, both
            in the form of the state.

        Raises:
            ShapeError: If the shapes of ``input``, ``hx`` or the cell's state do not fit.
            ValueError: If ``lengths`` do not fit, ``input`` is not finite, ``hx`` is needed, or
                the cell is random, mixes sequences, or has a state or a hidden weight of its own.
        """
        if input.ndim < 3:
            raise ShapeError(
                f'"input" has shape {tuple(input.shape)}; give time, batch and at least one more'
            )
        x = input.transpose(0, 1) if self.batch_first else input
        steps, sequences = x.shape[:2]
        refuse_non_finite("input", x)
        refuse_random(self.cell, "cell")
        state = self._initial_state(hx, x)
        n = None if lengths is None else checked_lengths(lengths, steps, sequences, x.device)
        if steps == 0 or sequences == 0:
            self.last_info = RecurrenceInfo("sequential")
            states = tuple(s.expand(steps, *s.shape) for s in state)
        else:
            states = self._run(x, state, n)
            state = tuple(s[-1] for s in states)
        if self.batch_first:
            states = tuple(s.transpose(0, 1) for s in states)
        pair = isinstance(hx, tuple) or len(state) > 1
        return (states, state) if pair else (states[0], state[0])

    def _run(self, x: Tensor, state: State, n: Tensor | None) -> State:
        auto = self.strategy == "auto"
        if auto and _on_floor(self.cell, x):
            self.last_info = RecurrenceInfo("floor")
            return _by_floor(self.cell, x, state, n)
        step = _as_step(self.cell)
        if self.strategy == "sequential" or (auto and not self._memory.shoot_next(len(x))):
            self.last_info = RecurrenceInfo("sequential")
            whole = Lattice(len(x), x.shape[1], 1, len(x), n)
            return stack(roll(step, x, state, whole.valid(x.device)))
        self._refuse_impure(step, x, state)
        states, self.last_info = shoot(
            step,
            x,
            state,
            tuple(p for p in self.cell.parameters() if p.requires_grad),
            lengths=n,
            max_steps=ROUNDS if auto else None,
            expected=self._memory.expected,
        )
        self._memory.note(self.last_info, x.shape[1])
        return states

    def _initial_state(self, hx: Tensor | tuple[Tensor, ...] | None, x: Tensor) -> State:
        if hx is None:
            size = getattr(self.cell, "hidden_size", None)
            if not isinstance(size, int):
                raise ValueError(
                    f'"hx" is None and {type(self.cell).__name__} has no attribute hidden_size; '
                    "give the initial state"
                )
            zeros = x.new_zeros(x.shape[1], size)
            return (zeros, zeros) if isinstance(self.cell, nn.LSTMCell) else (zeros,)
        state = hx if isinstance(hx, tuple) else (hx,)
        for part in state:
            if part.ndim < 1 or part.shape[0] != x.shape[1]:
                raise ShapeError(
                    f'"hx" has shape {tuple(part.shape)}; its first axis must be the '
                    f"{x.shape[1]} sequences of the input"
                )
        return state

    def _refuse_impure(self, step: Step, x: Tensor, state: State) -> None:
        """Try one step: shooting needs one that depends on nothing but its arguments."""
        x, state = x.detach(), tuple(part.detach() for part in state)
        alone = step(x[0], state)
        if torch.is_grad_enabled() and hides_a_leaf(alone, self.cell.parameters()):
            raise ValueError(
                '"cell" uses a tensor that requires a gradient and is no parameter of its own; '
                "register it, or its gradient would be lost"
            )
        with torch.no_grad():
            rows = tuple(torch.cat(pair) for pair in zip(state, alone, strict=True))
            beside = step(torch.cat((x[0], x[min(1, len(x) - 1)])), rows)
        if not agree([part[: x.shape[1]] for part in beside], alone):
            raise ValueError(
                '"cell" gave different values for the same step alone and beside others; it must '
                "be pure and treat sequences independently (no randomness, no state of its own)"
            )


def _as_step(cell: nn.Module) -> Step:
    """Wrap a cell so that its state is a tuple, and check the first one that it returns."""
    checked = False

    def step(x_NI: Tensor, state: State) -> State:
        nonlocal checked
        new = cell(x_NI, state if len(state) > 1 else state[0])
        new = new if isinstance(new, tuple) else (new,)
        if not checked:
            shapes = [[tuple(part.shape) for part in parts] for parts in (new, state)]
            if shapes[0] != shapes[1]:
                raise ShapeError(
                    f'"cell" returned a state of shapes {shapes[0]} from one of {shapes[1]}; '
                    "both must be equal"
                )
            checked = True
        return new

    return step


def _on_floor(cell: nn.Module, x: Tensor) -> TypeGuard[nn.RNNCell | nn.GRUCell]:
    """Tell whether the compiled loops know this cell; a subclass may compute something else.

    They do not hand out the LSTM's c of every step.
    """
    known = type(cell) in (nn.RNNCell, nn.GRUCell)
    return known and x.ndim == 3 and x.device.type == "cpu" and x.dtype in FLOOR_DTYPES


def _by_floor(
    cell: nn.RNNCell | nn.GRUCell, x_TBI: Tensor, state: State, n: Tensor | None
) -> State:
    kind = cell.nonlinearity if isinstance(cell, nn.RNNCell) else "gru"
    n_B = torch.full(x_TBI.shape[1:2], len(x_TBI)) if n is None else n
    x_TBG = linear(x_TBI, cell.weight_ih, cell.bias_ih)
    return floor_layer(kind, x_TBG, state, cell.weight_hh, cell.bias_hh, n_B)
