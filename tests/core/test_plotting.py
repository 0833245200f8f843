from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from byways.core.plotting import axes, categorical, new_axes, save_figure, sequential

mpl.use("Agg")


def test_given_axes_are_used_and_new_ones_belong_to_pyplot() -> None:
    import matplotlib.pyplot as plt

    own = new_axes()
    assert axes(own) is own
    assert plt.get_fignums() == []
    made = axes(None)
    assert plt.get_fignums() == [1]
    plt.close(made.figure)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ending", "magic"), [("png", b"\x89PNG"), ("PDF", b"%PDF"), ("svg", b"<?xml")]
)
def test_a_figure_is_written_whole(tmp_path: Path, ending: str, magic: bytes) -> None:
    file = tmp_path / "deep" / f"picture.{ending}"
    save_figure(new_axes(2, 2), file)
    assert file.read_bytes().startswith(magic)
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("name", ["picture", "picture.xyz"])
def test_an_unknown_ending_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"the ending must be one of .*'png'"):
        save_figure(new_axes(2, 2), tmp_path / "deep" / name)
    assert list(tmp_path.iterdir()) == []


def test_equal_labels_have_equal_colours_and_ten_labels_ten() -> None:
    colours = categorical([3, 1, 3, 13])
    assert colours.shape == (4, 3)
    np.testing.assert_array_equal(colours[0], colours[2])
    assert len(np.unique(categorical(range(10)), axis=0)) == 10
    assert ((categorical(range(10)) >= 0) & (categorical(range(10)) <= 1)).all()


def test_larger_values_are_darker() -> None:
    colours = sequential(np.array([0.0, 5.0, 10.0, 10.0]))
    light = colours @ [0.2126, 0.7152, 0.0722]
    assert light[0] > light[1] > light[2] == light[3]
    assert sequential(np.array([2, 2])).shape == (2, 3)
