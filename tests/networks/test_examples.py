"""The shipped networks: their accuracy on the data, their files, and the scripts behind them."""

from __future__ import annotations

import runpy
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_moons

from byways.core.errors import ConversionError
from byways.networks import Example, example
from byways.networks._examples import EXAMPLES

SCRIPTS = Path(__file__).parents[2] / "examples"


def held_out(n: int) -> Any:
    return np.arange(n) % 3 == 0


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_complete(name: str) -> None:
    shown = example(name)
    assert shown.name == name
    assert shown.box.dim == shown.chain.input_size
    assert shown.points.shape == (len(shown.labels), shown.chain.input_size)
    assert shown.box.contains(shown.points).all()
    assert set(shown.labels) <= set(range(len(shown.classes)))
    assert len(shown.story) > 100
    assert shown.chain.digest() == example(name).chain.digest()


def test_digits_reads_the_held_out_images() -> None:
    shown = example("digits")
    images, digits = load_digits(return_X_y=True)
    test = held_out(len(images))
    right = shown.chain(images[test] / 16).argmax(axis=1) == digits[test]
    assert right.mean() >= 0.93
    assert right.mean() == pytest.approx(shown.accuracy)
    assert f"{right.mean():.1%}" in shown.story
    assert shown.chain.widths == (64, 10, 10, 10)
    assert shown.classes == tuple("0123456789")


def test_digits_shows_three_held_out_images_of_three_classes() -> None:
    shown = example("digits")
    images, digits = load_digits(return_X_y=True)
    test = held_out(len(images))
    assert len(set(shown.labels.tolist())) == len(shown.points) == 3
    for point, label in zip(shown.points, shown.labels, strict=True):
        (place,) = np.flatnonzero((images / 16 == point).all(axis=1))
        assert test[place]
        assert digits[place] == label
    np.testing.assert_array_equal(shown.chain(shown.points).argmax(axis=1), shown.labels)


def test_moons_tells_the_held_out_points_apart() -> None:
    shown = example("moons")
    points, moons = make_moons(900, noise=0.15, random_state=0)
    test = held_out(len(points))
    right = shown.chain(points[test]).argmax(axis=1) == moons[test]
    assert right.mean() >= 0.97
    assert right.mean() == pytest.approx(shown.accuracy)
    np.testing.assert_allclose(shown.points, points[test][:200])
    np.testing.assert_array_equal(shown.labels, moons[test][:200])
    assert shown.chain.widths == (2, 16, 16, 2)


def test_tent_is_the_tent_map_ten_times() -> None:
    shown = example("tent")
    x = np.arange(1025) / 1024
    np.testing.assert_array_equal(shown.chain(x[:, None])[:, 0], np.arange(1025) % 2)
    assert (shown.box.lower.tolist(), shown.box.upper.tolist()) == ([0], [1])
    assert shown.accuracy is None
    assert shown.classes == ()


def test_the_shipped_files_are_small_and_hold_no_pickle() -> None:
    folder = Path(str(files("byways.networks") / "data"))
    shipped = sorted(folder.iterdir())
    assert [file.name for file in shipped] == ["digits.npz", "moons.npz"]
    assert sum(file.stat().st_size for file in shipped) < 300_000
    for file in shipped:
        with np.load(file, allow_pickle=False) as stored:
            assert all(stored[name].dtype != object for name in stored.files)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_on_disk_comes_back(tmp_path: Path, name: str) -> None:
    shown = example(name)
    shown.save(tmp_path / "again.npz")
    again = Example.load(tmp_path / "again.npz")
    assert again.chain.digest() == shown.chain.digest()
    for field in ("name", "classes", "story", "accuracy"):
        assert getattr(again, field) == getattr(shown, field)
    for field in ("points", "labels"):
        np.testing.assert_array_equal(getattr(again, field), getattr(shown, field))
    np.testing.assert_array_equal(again.box.upper, shown.box.upper)


@pytest.mark.parametrize("name", ["digits", "moons"])
def test_the_shipped_file_is_what_save_writes(tmp_path: Path, name: str) -> None:
    example(name).save(tmp_path / "again.npz")
    with (
        np.load(tmp_path / "again.npz") as again,
        np.load(Path(str(files("byways.networks") / "data" / f"{name}.npz"))) as shipped,
    ):
        assert again.files == shipped.files
        for entry in shipped.files:
            np.testing.assert_array_equal(again[entry], shipped[entry])


def test_an_unknown_example_is_refused() -> None:
    with pytest.raises(ValueError, match="\"name\" was 'cats'; the examples are digits, moons"):
        example("cats")


def test_a_chain_is_no_example(tmp_path: Path) -> None:
    example("tent").chain.save(tmp_path / "net.npz")
    with pytest.raises(ConversionError, match=r"byways\.Example/1 is needed"):
        Example.load(tmp_path / "net.npz")


@pytest.mark.parametrize("entry", ["upper", "story", "accuracy", "chain.layers", "chain.0.bias"])
def test_a_missing_entry_is_refused(tmp_path: Path, entry: str) -> None:
    example("moons").save(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if name != entry}
    np.savez(tmp_path / "part.npz", allow_pickle=False, **arrays)
    with pytest.raises(ConversionError, match=r"part\.npz"):
        Example.load(tmp_path / "part.npz")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "epochs", "least"), [("digits", 20, 0.75), ("moons", 100, 0.85)])
def test_the_script_makes_an_example_like_the_shipped_one(
    tmp_path: Path, name: str, epochs: int, least: float
) -> None:
    script = runpy.run_path(str(SCRIPTS / f"train_{name}.py"), run_name="script")
    made, shipped = script["build"](epochs), example(name)
    made.save(tmp_path / "made.npz")
    again = Example.load(tmp_path / "made.npz")
    assert again.accuracy >= least
    assert again.chain.widths == shipped.chain.widths
    assert again.chain.digest() == script["build"](epochs).chain.digest()
    assert set(again.chain.state()) == set(shipped.chain.state())
    assert (again.name, again.classes) == (shipped.name, shipped.classes)
    assert again.points.shape == shipped.points.shape
    np.testing.assert_array_equal(again.box.lower, shipped.box.lower)
