"""What the commands compute and print."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from byways.networks import as_chain, generic_arrangement, generic_count
from tests.cli.conftest import Run

TENT_LAYERS = [2**k for k in range(1, 11)]


def test_the_tent_has_1024_regions(run: Run) -> None:
    done = run("regions", "--example", "tent", "--json")
    found = done.json
    assert done.code == 0
    assert found["regions"] == 1024
    assert found["layer_counts"] == TENT_LAYERS
    assert found["ranks"] == {"1": 1024}
    assert found["outcome"] == "COMPLETE"
    assert found["explored"] == 1.0


def test_the_keys_of_the_json_object_are_frozen(run: Run) -> None:
    found = run("count", "--example", "tent", "--json").json
    assert sorted(found) == [
        "ambiguous", "complete", "digest", "domain", "earlier_tasks", "exact", "explored", "files",
        "format",
        "layer_counts", "maxima",
        "method", "network", "outcome", "ranks", "ranks_of", "rational", "regions",
        "regions_per_second", "seconds", "solver", "task_seconds", "tolerance",
    ]  # fmt: skip
    assert sorted(found["network"]) == ["activations", "digest", "source", "widths"]


def test_the_table_says_what_was_found(run: Run) -> None:
    lines = run("regions", "--example", "tent").out.splitlines()
    facts = {line[:12].strip(): line[12:] for line in lines}
    assert facts["network"].startswith("tent, 1 -> 2 -> ")
    assert facts["domain"] == "[0, 1]"
    assert facts["regions"] == "1,024"
    assert facts["per layer"].endswith(" -> 512 -> 1,024")
    assert "100.0 %" in facts["map rank"]
    assert facts["ambiguous"] == "0 decisions"
    assert max(map(len, lines)) <= 80
    assert lines == [line.rstrip() for line in lines]


def test_count_counts(run: Run) -> None:
    found = run("count", "--example", "tent", "--json").json
    assert (found["regions"], found["layer_counts"]) == (1024, TENT_LAYERS)
    assert found["ranks"] is found["digest"] is None


def test_a_network_from_a_file_on_the_whole_space(run: Run, tmp_path: Path) -> None:
    generic_arrangement(10, 2).save(tmp_path / "net.npz")
    found = run("regions", tmp_path / "net.npz", "--whole-space", "--json").json
    assert found["regions"] == generic_count(10, 2) == 56
    assert found["domain"] == "all of R^2"


@pytest.mark.parametrize("words", [["--box=-1,1"], ["--box", "-1,1"], ["--box=-1.0, +1e0"]])
def test_a_box_of_two_numbers(run: Run, three_lines: Path, words: list[str]) -> None:
    found = run("regions", three_lines, *words, "--json").json
    assert found["regions"] == 1 + 3 + 3  # cells of the square: 1 + lines + crossings
    assert found["domain"] == "[-1, 1]^2"


@pytest.mark.parametrize("ending", ["npz", "json", "csv"])
def test_a_box_from_a_file(run: Run, three_lines: Path, tmp_path: Path, ending: str) -> None:
    path, lower, upper = tmp_path / f"box.{ending}", [-1.0, 0.25], [1.0, 0.75]
    if ending == "npz":
        np.savez(path, lower=lower, upper=upper)
    elif ending == "json":
        path.write_text(json.dumps({"lower": lower, "upper": upper}))
    else:
        path.write_text("lower,upper\n-1,1\n0.25,0.75\n")
    found = run("regions", three_lines, f"--box={path}", "--json").json
    assert found["regions"] == 1 + 2 + 1  # y = 0 is outside, and so are two of the crossings
    assert found["domain"] == "[-1, 1] x [0.25, 0.75]"


@pytest.mark.parametrize(
    ("words", "expected"), [(["--eps", "0.4"], 5), (["--eps=0.4", "--clip", "0,1"], 2)]
)
def test_a_box_around_a_point(
    run: Run, three_lines: Path, tmp_path: Path, words: list[str], expected: int
) -> None:
    np.save(tmp_path / "x.npy", np.zeros(2))
    done = run("regions", three_lines, "--around", tmp_path / "x.npy", *words, "--json")
    assert done.json["regions"] == expected


def test_a_slice(run: Run, three_lines: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "diagonal.npz", origin=[0.0, 0.0], directions=[[1.0, 1.0]], extent=1.0)
    found = run("regions", three_lines, "--slice", tmp_path / "diagonal.npz", "--json").json
    assert found["regions"] == 3  # x = y meets the lines in 0 and in 1/4
    np.save(tmp_path / "points.npy", [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    found = run("regions", three_lines, "--slice", tmp_path / "points.npy", "--json").json
    assert found["regions"] == 7


@pytest.mark.parametrize("method", ["simplex", "vertices", "lp"])
def test_every_method(run: Run, three_lines: Path, method: str) -> None:
    found = run("regions", three_lines, "--box=-1,1", "--method", method, "--json").json
    assert (found["regions"], found["method"]) == (7, method)
    assert (found["solver"] is None) == (method != "lp")


def test_a_limit_gives_a_partial_table_and_exit_code_3(run: Run) -> None:
    done = run("regions", "--example", "tent", "--max-regions", "100")
    assert done.code == 3
    assert "100 so far" in done.out
    assert "stopped at --max-regions" in " ".join(done.out.split())


def test_a_saved_report_reads_the_same(run: Run, three_lines: Path, tmp_path: Path) -> None:
    saved = tmp_path / "new" / "report.npz"
    first = run("regions", three_lines, "--box=-1,1", "--save", saved, "--json").json
    again = run("report", saved, "--json").json
    same = ["regions", "layer_counts", "ranks", "digest", "domain", "method", "outcome", "network"]
    again["network"]["source"] = first["network"]["source"]  # a report knows no file names
    assert [again[key] for key in same] == [first[key] for key in same]
    assert first["files"] == {"saved": str(saved)}


def test_rows_as_csv(run: Run, three_lines: Path, tmp_path: Path) -> None:
    saved, rows = tmp_path / "report.npz", tmp_path / "rows.csv"
    run("regions", three_lines, "--box=-1,1", "--save", saved)
    done = run("report", saved, "--csv", rows)
    assert done.code == 0
    with rows.open(newline="") as stream:
        table = list(csv.DictReader(stream))
    # Of the eight sign vectors only x < 0, y < 0, x + y > 1/2 is impossible.
    expected = [f"{k:03b}" for k in range(8) if k != 0b001]
    assert [row["segments"] for row in table] == expected
    assert [int(row["active"]) for row in table] == [text.count("1") for text in expected]


@pytest.mark.slow
def test_two_workers_find_the_same(run: Run, many_tasks: None) -> None:
    one = run("regions", "--example", "moons", "--json").json
    two = run("regions", "--example", "moons", "--workers", "2", "--json").json
    assert one["digest"] == two["digest"]


@pytest.mark.parametrize(
    ("domain", "rational"), [("--box=-10000,10000", False), ("--whole-space", True)]
)
def test_a_certified_list_and_its_proof(
    run: Run, tmp_path: Path, domain: str, rational: bool
) -> None:
    generic_arrangement(6, 2, rng=0).save(tmp_path / "net.npz")
    asked = ("regions", tmp_path / "net.npz", domain, "--exact", "certified")
    found = run(*asked, "--proof", tmp_path / "proof.npz", "--json").json
    assert found["regions"] == generic_count(6, 2)
    assert (found["exact"], found["ambiguous"]) == ("certified", 0)
    assert (found["rational"] > 0) == rational
    assert f"certified   {found['rational']:,} decisions in rational arithmetic" in run(*asked).out
    given = ("check", tmp_path / "net.npz", tmp_path / "proof.npz")
    accepted = run(*given, domain)
    assert accepted.code == 0
    assert accepted.out.startswith("accepted: 22 regions and no others")
    refused = run(*given, "--box=-1,1", "--json")
    assert refused.code == 1
    assert "another domain" in refused.json["reason"]


def test_proofs_that_cannot_be_had(run: Run, tmp_path: Path) -> None:
    asked = ("regions", "--example", "tent")
    assert run(*asked, "--proof", tmp_path / "proof.npz").code == 2
    assert run(*asked, "--exact", "certified", "--max-regions", "3").code == 2


def test_states_of_a_maximum(run: Run, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "pool.npz"
    as_chain(torch.nn.MaxPool1d(4), (1, 4)).save(path)
    found = run("count", str(path), "--whole-space", "--json").json
    assert (found["regions"], found["maxima"]) == (4, "winners")
    lines = run("count", str(path), "--whole-space", "--maxima", "matches").out.splitlines()
    assert "regions     8" in lines
    assert "maxima      regions of equal matches" in lines
    asked = ("regions", str(path), "--box=0,1", "--exact", "certified")
    found = run(*asked, "--proof", tmp_path / "proof.npz", "--json").json
    assert (found["regions"], found["maxima"]) == (4, "winners")
    checked = run("check", path, tmp_path / "proof.npz", "--box=0,1", "--json").json
    assert (checked["accepted"], checked["regions"], checked["winners"]) == (True, 8, 4)
