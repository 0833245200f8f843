"""The secret of a run: who may read it, who may change it, and what holds without it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from byways.core.errors import JournalError, RunMismatchError
from byways.runs import Result, RunDirectory, run_tasks, serve_queue
from byways.runs._secret import VARIABLE, Secret
from tests.runs.directories import downgrade, filled, old
from tests.runs.queues import CONTEXT, IDENTITY, master, workers
from tests.runs.workloads import Scale, expected, found, make_tasks, multiply


def test_a_manifest_that_pretends_to_be_old_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "run")
    downgrade(path)
    for act in (RunDirectory.open, lambda p: RunDirectory.create_or_resume(p, **IDENTITY)):
        with pytest.raises(RunMismatchError, match="says that its results are not sealed, but"):
            act(path)


@pytest.mark.parametrize(
    "fields",
    [{"parameters": {"tolerance": 0.1}}, {"context": "scale-4"}, {"pass": "x"}, {"seal": "0" * 64},
     {"seal": "é"}, {"version": "0.0"}],
)  # fmt: skip
def test_a_changed_manifest_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = filled(tmp_path / "run")
    before = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(before | fields))
    with pytest.raises(RunMismatchError, match="not sealed with the secret of the run"):
        RunDirectory.open(path)


def test_a_manifest_that_lost_its_seal_is_damaged(tmp_path: Path) -> None:
    path = filled(tmp_path / "run")
    fields = json.loads((path / "manifest.json").read_text())
    for damaged in ({**fields, "seal": 7}, {k: v for k, v in fields.items() if k != "seal"}):
        (path / "manifest.json").write_text(json.dumps(damaged))
        with pytest.raises(JournalError, match="damaged"):
            RunDirectory.open(path)


def test_an_exchanged_secret_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "run")
    (path / "secret").write_text("f" * 64)
    with pytest.raises(RunMismatchError, match="not sealed with the secret of the run"):
        RunDirectory.open(path)
    (path / "secret").write_text("")
    with pytest.raises(RunMismatchError, match="secret is damaged: it has 0 bytes"):
        RunDirectory.open(path)


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root can give a file to another user"
)
def test_a_secret_of_another_user_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "run")
    os.chown(path / "secret", 4321, 4321)
    with pytest.raises(RunMismatchError, match="belongs to user 4321, who is neither you nor the"):
        RunDirectory.open(path)
    os.chown(path, 4321, 4321)  # now it is that user's directory
    assert RunDirectory.open(path).done_keys() == expected(6).keys()


def unreadable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the right to read the secret away; from root the system takes none."""
    if os.geteuid():
        (path / "secret").chmod(0)
        return

    def refuse(folder: Path) -> Secret:
        raise PermissionError(13, "Permission denied", str(folder / "secret"))

    monkeypatch.setattr(Secret, "read", refuse)


def delete(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path / "secret").unlink()


@pytest.mark.skipif(os.name != "posix", reason="it takes rights away")
@pytest.mark.parametrize("hide", [unreadable, delete])
def test_without_the_secret_results_can_be_read_but_not_added(
    tmp_path: Path,
    hide: Callable[[Path, pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = filled(tmp_path / "run")
    hide(path, monkeypatch)
    with RunDirectory.open(path) as run:
        assert found(list(run.results())) == expected(6)
        assert f"nobody checked who wrote the results in {path}" in caplog.text
        with pytest.raises(OSError, match="secret"):
            run.append(Result("n-000007"))
    assert len(list((path / "journal").iterdir())) == 1
    with pytest.raises(OSError, match="secret"):
        RunDirectory.create_or_resume(path, **IDENTITY)
    (path / "queue" / "partial").mkdir(parents=True)  # as if a master had been there
    with pytest.raises(OSError, match="secret"):
        serve_queue(path, multiply, Scale.load, idle=0.1)


def test_a_directory_from_before_seals_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = old(tmp_path / "run")
    with RunDirectory.create_or_resume(path, **IDENTITY) as run:
        assert found(list(run.results())) == expected(6)
        list(run_tasks(multiply, make_tasks(9), context=CONTEXT, journal=run))
        assert found(list(run.results())) == expected(9)
    assert f"nobody can check who wrote the results in {path}" in caplog.text
    with workers(path, "folder", 1):
        master(path, "folder", 12)
    with RunDirectory.open(path) as run:
        assert found(list(run.results())) == expected(12)
    assert (path / "queue" / "secret").stat().st_mode & 0o077 == 0
    assert not (path / "secret").exists()


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A secret outside of run directories."""
    path = tmp_path / "outside"
    path.write_text("correct horse battery staple\n")
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_with_a_secret_outside_not_even_a_new_one_inside_helps(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody makes the whole directory anew, with a secret and results of his own."""
    path = filled(tmp_path / "run")
    with workers(path, "folder", 1):
        master(path, "folder", 9)
    shutil.rmtree(path)
    monkeypatch.delenv(VARIABLE)
    filled(path)
    monkeypatch.setenv(VARIABLE, str(outside))
    with pytest.raises(RunMismatchError, match=f"not sealed with the secret.*{VARIABLE} is not"):
        RunDirectory.open(path)
    downgrade(path)
    (path / "secret").unlink()
    with pytest.raises(RunMismatchError, match="says that its results are not sealed, but"):
        RunDirectory.open(path)


def test_a_secret_outside_must_be_there_again(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(tmp_path / "run")
    assert RunDirectory.open(path).done_keys() == expected(6).keys()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(RunMismatchError, match=f"{VARIABLE} is not set as it was"):
        RunDirectory.open(path)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        RunDirectory.open(path)
    (tmp_path / "nowhere").write_text("  short \n")
    with pytest.raises(ValueError, match=f"{VARIABLE} was .*nowhere', a file of 5 bytes"):
        RunDirectory.open(path)


def test_a_run_has_one_secret_that_only_its_owner_reads(tmp_path: Path) -> None:
    first, second = Secret.make(tmp_path), Secret.make(tmp_path)
    assert first.derive("a", b"x") == second.derive("a", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0
    assert len((tmp_path / "secret").read_text()) == 64
    keys = {first.derive(purpose, subject) for purpose in "ab" for subject in (b"x", b"y")}
    assert len(keys) == 4
    (tmp_path / "other").mkdir()
    assert Secret.make(tmp_path / "other").derive("a", b"x") not in keys
