"""How the tests of the command line run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from byways.cli import main
from byways.core import LayerChain


class Done(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object and nothing else."""
        found: dict[str, Any] = json.loads(self.out)
        return found


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def call(*words: object) -> Done:
        code = main([str(word) for word in words])
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def three_lines(tmp_path: Path) -> Path:
    """The lines x = 0, y = 0 and x + y = 1/2, which meet in (0, 0), (0, 1/2) and (1/2, 0)."""
    path = tmp_path / "lines.npz"
    normals, offsets = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0.0, 0.0, -0.5]
    LayerChain.from_arrays([(normals, offsets), ([[1.0, 1.0, 1.0]], [0.0])]).save(path)
    return path


@pytest.fixture
def many_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small questions too, so that a short run has something to resume."""
    from byways.regions import _work

    monkeypatch.setattr(_work, "_SMALL_LEAVES", 20)
    monkeypatch.setattr(_work, "_SMALL_WORK", dict.fromkeys(_work._SMALL_WORK, 20))
    monkeypatch.setattr(_work, "_SHARES", dict.fromkeys(_work._SHARES, 1))
    monkeypatch.setattr(_work, "_TASKS_WANTED", 16)


@pytest.fixture
def stop_early(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Do something when a number of parts are finished, once."""
    from byways.cli._progress import LiveLine

    def arm(after: int, what: Callable[[], None]) -> None:
        seen = 0

        def listen(_: LiveLine, event: object) -> None:
            nonlocal seen
            seen += 1
            if seen == after:
                what()

        monkeypatch.setattr(LiveLine, "__call__", listen)

    return arm
