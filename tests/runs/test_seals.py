"""Forged results: whoever can write to a run directory but not read its secret cannot lie to it."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byways.core.errors import JournalError
from byways.runs import Result, RunDirectory, Task, run_tasks
from byways.runs._journal import JournalWriter
from byways.runs._shards import encode_record
from tests.runs.directories import filled, journal_of, lines_of
from tests.runs.queues import CONTEXT, IDENTITY, master, workers
from tests.runs.workloads import expected, found, make_tasks, multiply

LINE = b'{"key":"n-000001","seconds":0.0,"counts":{"product":666,"found":1}'


def change(path: Path, number: int, old: bytes, new: bytes) -> None:
    """Change one line, and check that it is still a journal's line."""
    lines = lines_of(path)
    assert lines[number].count(old) == 1
    lines[number] = lines[number].replace(old, new)
    json.loads(lines[number])
    journal_of(path).write_bytes(b"".join(lines))


def check_refused(path: Path, keys: set[str], caplog: pytest.LogCaptureFixture) -> None:
    """Everybody who reads refuses the results under these keys, says so, and takes all others."""
    whole = expected(6)
    left = {key: value for key, value in whole.items() if key not in keys}
    caplog.clear()
    with caplog.at_level(logging.WARNING, "byways.runs"), RunDirectory.open(path) as run:
        assert found(list(run.results())) == left
        assert f"refused {len(keys)} results in {path}" in caplog.text
        assert run.done_keys() == left.keys()
        assert run.finished().keys() == left.keys()
        status = run.status()
        assert (status.tasks, status.counts["product"]) == (
            len(left), sum(value for value, _ in left.values()),
        )  # fmt: skip
        assert {entry.key for entry in run.follow().entries()} == left.keys()
        again = [t.key for t, _ in run_tasks(multiply, make_tasks(6), context=CONTEXT, journal=run)]
        assert set(again) == keys
        assert found(list(run.results())) == whole


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [
        (1, b'"product":3', b'"product":4'),
        (1, b'"seconds":0.0', b'"seconds":9.0'),
        (1, b'"offset":0', b'"offset":1'),
        (1, b',"shard"', b',"rest":[{"key":"x","payload":{},"cost":1}],"shard"'),
        (4, b'"n-000004"', b'"n-000040"'),
        (4, b',"seal":"', b',"seal":"0'),
        (4, b',"seal":', b' ,"seal":'),
    ],
)
def test_an_altered_line_is_refused(
    tmp_path: Path, number: int, old: bytes, new: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = filled(tmp_path / "run")
    change(path, number, old, new)
    check_refused(path, {f"n-{number:06d}"}, caplog)


def test_a_line_without_a_seal_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = filled(tmp_path / "run")
    change(path, 4, lines_of(path)[4][-44:-2], b"")
    assert b"seal" not in lines_of(path)[4]
    check_refused(path, {"n-000004"}, caplog)


@pytest.mark.parametrize("place", ["aaa", "zzz"])  # journals are read in the order of their names
def test_a_forged_result_under_a_known_key_is_refused(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes with arrays, checksums and a guessed seal, before or after the true one."""
    path = filled(tmp_path / "run")
    record = encode_record("n-000001", {"below": np.array([666])})
    np.savez(path / "shards" / f"{place}-000.npz", records=np.frombuffer(record, np.uint8))
    shard = b',"shard":"%s-000.npz","offset":0,"length":%d' % (place.encode(), len(record))
    marks = b',"sha256":"%s"' % hashlib.sha256(record).hexdigest().encode()
    bodies = [LINE, LINE + shard + marks, LINE + shard + b',"crc":%d' % zlib.crc32(record)]
    ends = [b"}\n", b',"seal":"%s"}\n' % (b"0" * 32), lines_of(path)[1][-44:]]
    forged = path / "journal" / f"{place}.jsonl"
    forged.write_bytes(b"".join([body + end for body in bodies for end in ends]))
    with caplog.at_level(logging.WARNING, "byways.runs"), RunDirectory.open(path) as run:
        assert found(list(run.results())) == expected(6)
        assert run.status().counts["product"] == 3 * sum(range(6))
    assert f"refused 9 results in {forged}, the first in line 1" in caplog.text


def test_a_forged_rest_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rest = [Task("b", {"n": 1}), Task("c", {"n": 2})]
    with RunDirectory.create(tmp_path / "run", **IDENTITY) as run:
        run.append(Result("a", rest=rest))
        run.flush()
        assert run.finished().rest("a") == tuple(rest)
        text = journal_of(run.path).read_text()
        short = text.replace(rest[0].to_json() + ",", "")  # a part of the work would get lost
        assert short != text
        journal_of(run.path).write_text(short)
        assert run.done_keys() == run.finished().keys() == set()
    assert "refused 1 results" in caplog.text


@pytest.mark.parametrize("other", [{}, {"parameters": {"tolerance": 1}}, {"pass_name": "other"}])
def test_a_line_of_another_run_is_refused(
    tmp_path: Path, other: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    path = filled(tmp_path / "run")
    foreign = tmp_path / "foreign"
    with RunDirectory.create(foreign, **IDENTITY | other) as run:
        run.append(Result("n-000001", counts={"product": 666, "found": 1}))
    shutil.copy(journal_of(foreign), path / "journal" / "aaa.jsonl")
    with RunDirectory.open(path) as run:
        assert found(list(run.results())) == expected(6)
    assert "refused 1 results" in caplog.text


def test_seals_of_two_runs_with_one_secret_differ(tmp_path: Path) -> None:
    """Even the same secret does not let a result pass from one question to another."""
    one = filled(tmp_path / "one")
    two = tmp_path / "two"
    two.mkdir()
    shutil.copy(one / "secret", two / "secret")
    with RunDirectory.create(two, **IDENTITY | {"parameters": {"tolerance": 1e-3}}) as run:
        shutil.copy(journal_of(one), two / "journal" / "copied.jsonl")
        assert run.done_keys() == set()


def test_a_forged_shard_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Another record of the same length, key and CRC-32 as the one that the line promises."""
    path = filled(tmp_path / "run")
    (shard,) = (path / "shards").iterdir()
    with np.load(shard) as stored:
        records = stored["records"].copy()
    (size,) = [int(json.loads(line)["length"]) for line in lines_of(path)[1:2]]
    record = bytearray(records[:size].tobytes())
    wanted = zlib.crc32(record)
    forge_crc(record, wanted)
    assert zlib.crc32(record) == wanted
    records[:size] = np.frombuffer(bytes(record), np.uint8)
    np.savez(shard, records=records)
    with (
        RunDirectory.open(path) as run,
        pytest.raises(JournalError, match=r"is damaged at task 'n-000001'.*checksum") as caught,
    ):
        list(run.results())
    assert caught.value.file == shard


def forge_crc(record: bytearray, wanted: int) -> None:
    """Change the value of an array, and its last four bytes so that the CRC-32 stays the same.

    A CRC is linear: what the last 32 bits must be is the solution of 32 equations modulo 2.
    """
    record[-8] ^= 0xFF
    base = zlib.crc32(bytes(record))
    rows: list[tuple[int, int]] = []
    for bit in range(32):
        flipped = bytearray(record)
        flipped[-1 - bit // 8] ^= 1 << bit % 8
        effect, made_of = zlib.crc32(bytes(flipped)) ^ base, 1 << bit
        for row, parts in rows:
            if effect ^ row < effect:
                effect, made_of = effect ^ row, made_of ^ parts
        rows = sorted([*rows, (effect, made_of)], reverse=True)
    need, flips = base ^ wanted, 0
    for row, parts in rows:
        if need ^ row < need:
            need, flips = need ^ row, flips ^ parts
    for bit in range(32):
        if flips >> bit & 1:
            record[-1 - bit // 8] ^= 1 << bit % 8


def test_lines_that_change_places_are_noticed(tmp_path: Path) -> None:
    """Both are sealed, and each would be read as the result of the other."""
    with RunDirectory.create(tmp_path / "run", **IDENTITY) as run:
        run.append(Result("a", counts={"product": 1}))
        run.append(Result("b", counts={"product": 2}))
        finished = run.finished()
        lines = lines_of(run.path)
        journal_of(run.path).write_bytes(b"".join(reversed(lines)))
        with pytest.raises(JournalError, match="line 1 changed while it was read"):
            finished["a"]


def test_a_partial_result_cannot_pass_for_a_whole_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is sealed by a worker, but for a master's eyes only: it would cut the answer short."""
    path = tmp_path / "run"
    run = RunDirectory.create(path, **IDENTITY)
    writer = JournalWriter(path / "journal", path / "shards", "x", run.seals.partial("session"))
    writer.append(Result("n-000001", counts={"product": 0}))
    writer.close()
    assert run.done_keys() == set()
    assert "refused 1 results" in caplog.text


def test_a_forger_does_not_stop_a_queue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A stranger answers every task of a running queue at once; the run takes none of it."""
    path = tmp_path / "run"
    RunDirectory.create(path, **IDENTITY).close()
    forged = b"".join([LINE.replace(b"000001", b"%06d" % n) + b"}\n" for n in range(9)])
    (path / "journal" / "aaa.jsonl").write_bytes(forged)
    with workers(path, "folder", 1):
        assert found(master(path, "folder", 9)) == expected(9)
    assert "refused 9 results" in caplog.text
