"""The queue in a folder, from inside: claims, leases, hostile files."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest

from byways.core.errors import TasksFailedError
from byways.runs import RunDirectory, Task
from byways.runs._folder import FolderInbox, FolderOutbox, QueueFolder
from byways.runs._messages import Message, Seal
from tests.runs.queues import IDENTITY, master, workers
from tests.runs.workloads import expected, make_tasks


@pytest.fixture
def folder(tmp_path: Path) -> QueueFolder:
    return QueueFolder(tmp_path, create=True)


@pytest.fixture
def seal() -> Seal:
    return Seal(b"secret", "run")


def open_inbox(folder: QueueFolder, seal: Seal, lease: float = 60.0) -> FolderInbox:
    return FolderInbox(folder, seal, "worker", lease)


def test_a_task_is_claimed_once(folder: QueueFolder, seal: Seal) -> None:
    FolderOutbox(folder, seal, "s").offer(make_tasks(50))
    taken: list[str] = []

    def drain() -> None:
        inbox = open_inbox(folder, seal)
        while delivery := inbox.take(0.0):
            taken.append(delivery.message.task.key)
            inbox.finish(delivery)

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(expected(50))
    assert list(folder.tasks.iterdir()) == list(folder.claims.iterdir()) == []


def test_an_owner_who_is_silent_loses_its_claim(
    folder: QueueFolder, seal: Seal, caplog: pytest.LogCaptureFixture
) -> None:
    FolderOutbox(folder, seal, "s").offer(make_tasks(1))
    first, second = open_inbox(folder, seal, 0.3), open_inbox(folder, seal, 0.3)
    mine = first.take(0.0)
    assert mine is not None
    assert second.take(1.0) is None  # the heart beats
    first.close()  # the heart stops, as that of a suspended process
    theirs = second.take(5.0)
    assert theirs is not None
    assert (theirs.message, theirs.attempt) == (mine.message, 2)
    assert "took over task n-000000" in caplog.text
    first.finish(mine)  # it wakes up, and its result is as good as the other
    assert [path.name for path in folder.claims.iterdir()] == ["n-000000"]  # not its own
    second.finish(theirs)
    assert list(folder.claims.iterdir()) == list(folder.tasks.iterdir()) == []


def test_an_owner_who_stops_before_it_has_signed_loses_its_claim(
    folder: QueueFolder, seal: Seal
) -> None:
    FolderOutbox(folder, seal, "s").offer(make_tasks(1))
    (folder.claims / "n-000000").touch()
    patient, hasty = open_inbox(folder, seal), open_inbox(folder, seal, 0.2)
    assert patient.take(0.5) is None  # for as long as its own lease
    delivery = hasty.take(5.0)
    assert delivery is not None
    assert delivery.attempt == 2
    hasty.finish(delivery)
    assert list(folder.claims.iterdir()) == list(folder.tasks.iterdir()) == []


def test_a_message_of_another_master_stays(folder: QueueFolder, seal: Seal) -> None:
    FolderOutbox(folder, seal, "first").offer(make_tasks(1))
    inbox = open_inbox(folder, seal)
    delivery = inbox.take(0.0)
    assert delivery is not None
    FolderOutbox(folder, seal, "second").offer(make_tasks(1))
    inbox.finish(delivery)
    again = inbox.take(0.0)
    assert again is not None
    assert again.message.session == "second"
    inbox.close()


def test_lost_messages_are_offered_again(folder: QueueFolder, seal: Seal) -> None:
    outbox = FolderOutbox(folder, seal, "s")
    tasks = make_tasks(3)
    outbox.offer(tasks)
    (folder.tasks / "n-000000.json").unlink()
    (folder.tasks / "n-000001.json").unlink()
    (folder.claims / "n-000001").touch()  # somebody is at it
    outbox.repair(tasks)
    names = sorted(path.name for path in folder.tasks.iterdir())
    assert names == ["n-000000.json", "n-000002.json"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", b"{}", "it is not a JSON object"),
        ("a.json", b"x" * (2 << 20), "it has 1048577 bytes"),
        ("a.json", None, "its seal is not that of this run"),
        ("b.json", b"a", "it holds the task 'a'"),
        ("b b.json", b"{}", "its name is not that of a task"),
    ],
)
def test_hostile_files_are_refused_and_logged(
    folder: QueueFolder, seal: Seal, name: str, content: bytes | None, reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    message = Message(Task("a", {}), "s")
    if content is None:
        content = Seal(b"guessed", "run").write(message)
    elif content == b"a":
        content = seal.write(message)
    (folder.tasks / name).write_bytes(content)
    inbox = open_inbox(folder, seal)
    assert inbox.take(0.0) is None
    assert reason in caplog.text
    assert list(folder.claims.iterdir()) == []
    inbox.close()


def test_a_task_that_kills_its_workers_fails_at_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    path = tmp_path / "run"
    RunDirectory.create(path, **IDENTITY).close()
    folder = QueueFolder(path, create=True)
    dead = {"worker": "dead", "lease": 0.1, "attempt": 4}
    (folder.claims / "n-000001").write_text(json.dumps(dead))
    with workers(path, "folder", 1):
        with pytest.raises(TasksFailedError, match=r"4 workers died .*; a worker dies like"):
            master(path, "folder", 3)
        folder.finished = True
