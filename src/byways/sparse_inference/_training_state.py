"""What training has reached, as arrays: kept in memory after each update, and in a file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from byways.core.errors import ConversionError, RunMismatchError
from byways.core.files import read_npz, write_npz
from byways.sparse_inference._training_report import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["TrainingState", "capture", "restore"]

_FORMAT = "byways.TrainingState/1"
_FILE = "training.npz"

_NET, _AVERAGE, _SQUARE, _BEST, _STEPS = "net.", "average.", "square.", "best.", "steps"
_NUMBERS = ("updates", "best_misses", "start_misses", "seconds")


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Everything that the next update depends on, and everything worth telling.

    Attributes:
        updates: Updates done.
        arrays: Parameters, and Adam's averages of gradients and of their squares.
        history: One row for each update, with ``COLUMNS``; ``held_out`` is nan where it was not
            evaluated.
        best: Parameters with the fewest misses on the held-out networks so far.
        best_misses: Their misses an edge.
        start_misses: Those before the first update.
        seconds: Spent so far.
    """

    updates: int
    arrays: Mapping[str, Floats]
    history: Floats
    best: Mapping[str, Floats]
    best_misses: float
    start_misses: float
    seconds: float

    def save(self, run_dir: Path, settings: Mapping[str, Any]) -> None:
        """Write to a run directory, whole or not at all."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        about = {"settings": dict(settings), **numbers}
        arrays = {**self.arrays, **{_BEST + name: array for name, array in self.best.items()}}
        head = {"format": np.array(_FORMAT), "about": np.array(json.dumps(about, sort_keys=True))}
        write_npz(run_dir / _FILE, {**head, **arrays, "history": self.history})

    @classmethod
    def load(cls, run_dir: Path, settings: Mapping[str, Any]) -> TrainingState | None:
        """Read from a run directory; None if nothing is there yet.

        Raises:
            ConversionError: If the file is damaged.
            RunMismatchError: If it belongs to another training.
        """
        path = run_dir / _FILE
        if not path.exists():
            return None
        arrays = read_npz(path, _FORMAT)
        try:
            about = json.loads(str(arrays.pop("about")))
            history = arrays.pop("history")
            stored = about["settings"]
            state = cls(
                about["updates"],
                {k: v for k, v in arrays.items() if not k.startswith((_BEST, "format"))},
                history,
                {k.removeprefix(_BEST): v for k, v in arrays.items() if k.startswith(_BEST)},
                *(about[name] for name in _NUMBERS[1:]),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise ConversionError(f"{str(path)!r} is damaged: {error!r}") from error
        for name in sorted(stored.keys() | settings.keys()):
            old, new = stored.get(name), settings.get(name)
            if old != new:
                raise RunMismatchError(
                    f'{str(path)!r} belongs to another training: "{name}" was {old!r} when it was '
                    f"made and is {new!r} now; use another run_dir, or the old value"
                )
        return state


def capture(
    net: torch.nn.Module, optimizer: torch.optim.Optimizer, before: TrainingState | None = None
) -> TrainingState:
    """Copy a net and its optimiser; the rest is taken from the state before."""
    arrays: dict[str, Floats] = {}
    for name, parameter in net.named_parameters():
        moments = optimizer.state.get(parameter, {})
        zeros = torch.zeros_like(parameter)
        for prefix, value in (
            (_NET, parameter),
            (_AVERAGE, moments.get("exp_avg", zeros)),
            (_SQUARE, moments.get("exp_avg_sq", zeros)),
        ):
            arrays[prefix + name] = value.detach().numpy().copy()
    for name, buffer in net.named_buffers():
        arrays[_NET + name] = buffer.numpy().copy()
    taken = [float(moments["step"]) for moments in optimizer.state.values()]
    arrays[_STEPS] = np.array(taken[:1] or [0.0])
    if before is None:
        return TrainingState(0, arrays, np.zeros((0, len(COLUMNS))), {}, np.inf, np.inf, 0.0)
    return replace(before, arrays=arrays)


def restore(state: TrainingState, net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a net and its optimiser where they were."""
    steps = float(state.arrays[_STEPS][0])
    with torch.no_grad():
        for name, buffer in net.named_buffers():
            buffer.copy_(torch.from_numpy(state.arrays[_NET + name]))
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(state.arrays[_NET + name]))
            if steps:
                optimizer.state[parameter] = {
                    "step": torch.tensor(steps),
                    "exp_avg": torch.from_numpy(state.arrays[_AVERAGE + name].copy()),
                    "exp_avg_sq": torch.from_numpy(state.arrays[_SQUARE + name].copy()),
                }
