"""``byways regions --vnnlib``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run

TENT = """(declare-const X_0 Real) (declare-const Y_0 Real)
(assert (>= X_0 0)) (assert (<= X_0 1))
(assert (>= Y_0 {level}))
"""


@pytest.fixture
def prop(tmp_path: Path) -> Path:
    path = tmp_path / "tent.vnnlib"
    path.write_text(TENT.format(level=0.75))
    return path


def test_every_piece_of_the_tent_is_listed(run: Run, prop: Path) -> None:
    done = run("regions", "--example", "tent", "--vnnlib", prop, "--json")
    found = done.json
    assert done.code == 0
    assert (found["holds"], found["regions"], found["unsafe_regions"]) == (False, 1024, 1024)
    inputs = [row["counterexample"][0] for row in found["unsafe"]]
    assert sorted(np.floor(1024 * np.array(inputs))) == list(range(1024))
    assert all(row["confirmed"] and row["output"][0] >= 0.75 for row in found["unsafe"])
    assert found["format"] == "byways.unsafe/1"


def test_the_table_says_what_holds(run: Run, prop: Path) -> None:
    lines = run("regions", "--example", "tent", "--vnnlib", prop).out.splitlines()
    assert lines[2] == "verdict     violated"
    assert lines[3] == "regions     1,024 in 1 box"
    assert lines[4].startswith("unsafe      1,024")
    assert lines[-1] == "            and 1,014 more; --json lists all"
    prop.write_text(TENT.format(level=1.5))
    assert "verdict     holds" in run("regions", "--example", "tent", "--vnnlib", prop).out


def test_a_stopped_search_is_partial_and_unknown(run: Run, prop: Path) -> None:
    prop.write_text(TENT.format(level=1.5))
    done = run("regions", "--example", "tent", "--vnnlib", prop, "--max-regions", 5, "--json")
    assert done.code == 3
    assert (done.json["holds"], done.json["complete"]) == (None, False)


def test_a_malformed_file_names_the_line(run: Run, prop: Path) -> None:
    prop.write_text(TENT.format(level="high"))
    done = run("regions", "--example", "tent", "--vnnlib", prop)
    assert done.code == 1
    assert "line 3: 'high' is neither a variable X_i or Y_j nor a number" in done.err


@pytest.mark.parametrize("option", ["--box=0,1", "--whole-space", "--save=a.npz", "--run-dir=runs"])
def test_what_makes_no_sense_beside_it(run: Run, prop: Path, option: str) -> None:
    done = run("regions", "--example", "tent", "--vnnlib", prop, option)
    assert done.code == 2
    assert f"{option.partition('=')[0]} was given beside --vnnlib" in done.err


def test_a_count_has_no_property(run: Run, prop: Path) -> None:
    done = run("count", "--example", "tent", "--vnnlib", prop)
    assert done.code == 2
    assert "--vnnlib is for byways regions" in done.err
