"""``--plot``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from byways.core import optional
from byways.networks import random_network
from tests.cli.conftest import Run

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if anything is enumerated."""

    def refuse(*_: object) -> None:
        raise AssertionError("work was started")

    monkeypatch.setattr("byways.cli._compute.gather", refuse)


def test_the_plane_of_the_moons(run: Run, tmp_path: Path) -> None:
    done = run("regions", "--example", "moons", "--plot", tmp_path / "new" / "moons.png")
    assert done.code == 0
    assert (tmp_path / "new" / "moons.png").read_bytes().startswith(PNG)
    assert "moons.png" in done.out


def test_a_plane_through_three_given_inputs(run: Run, tmp_path: Path) -> None:
    random_network([3, 5, 2], rng=0).save(tmp_path / "net.npz")
    np.save(tmp_path / "points.npy", np.eye(3))
    words = ["regions", tmp_path / "net.npz", "--box=-1,1", "--plot", tmp_path / "a.svg"]
    done = run(*words, "--points", tmp_path / "points.npy")
    assert done.code == 0
    assert "random points" not in done.err
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_without_points_it_says_that_they_are_random(run: Run, tmp_path: Path) -> None:
    random_network([3, 5, 2], rng=0).save(tmp_path / "net.npz")
    done = run("regions", tmp_path / "net.npz", "--box=-1,1", "--plot", tmp_path / "a.png")
    assert done.code == 0
    assert "three random points" in done.err


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["--example", "tent", "--plot", "a.png"], 2, "one dimension only"),
        (["--example", "moons", "--plot", "a.xyz"], 2, "ending must be one of"),
        (["--example", "moons", "--points", "a.npy"], 2, "without --plot"),
        (["--example", "digits", "--plot", "a.png", "--points", "a.npy"], 1, "no file 'a.npy'"),
        (["--example", "moons", "--plot", "."], 2, "is a directory"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_the_work(
    run: Run, no_work: None, words: list[str], code: int, part: str
) -> None:
    done = run("regions", *words)
    assert done.code == code
    assert part in done.err


def test_without_matplotlib_it_names_the_extra(
    run: Run, no_work: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional, "available", lambda module: module != "matplotlib")
    done = run("regions", "--example", "moons", "--plot", "a.png")
    assert done.code == 1
    assert "pip install 'byways[plot]'" in done.err
