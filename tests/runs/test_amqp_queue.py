"""The queue at a broker: what only a broker can do, and go wrong."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from byways.core.errors import MissingDependencyError
from byways.runs import RunDirectory, Task, serve_queue
from byways.runs._amqp import Broker
from byways.runs._folder import QueueFolder
from byways.runs._messages import Message, Seal
from tests.runs.queues import CONTEXT, IDENTITY, master, workers
from tests.runs.workloads import Scale, expected, found, make_tasks, multiply


def test_foreign_and_hostile_messages_are_refused(
    broker_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import pika

    path = tmp_path / "run"
    seal = RunDirectory.create(path, **IDENTITY).seals.messages()
    QueueFolder(path, create=True)
    forged = Seal(b"guessed", "scale-3").write(Message(Task("n-000001", {"n": 2}), "s"))
    connection, channel = Broker(broker_url, seal.name).open()
    for body in (b"\x80\x04.", b"x" * (2 << 20), forged, b'{"key":"../../x"}'):
        channel.basic_publish("", seal.name, body, pika.BasicProperties())
    connection.close()
    with workers(path, broker_url, 1):
        assert found(master(path, broker_url, 3)) == expected(3)
    assert caplog.text.count("refused a message") == 4
    assert not (tmp_path / "x").exists()


def test_passwords_are_told_to_nobody(
    broker_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    password = broker_url.partition("@")[0].rpartition(":")[2]
    with workers(tmp_path / "run", broker_url, 1):
        master(tmp_path / "run", broker_url, 3)
    wrong = broker_url.replace(password, "hush-hush")
    (tmp_path / "run" / "queue" / "finished").unlink()
    for act in (
        lambda: master(tmp_path / "run", wrong, 5),
        lambda: serve_queue(tmp_path / "run", multiply, Scale.load, queue=wrong, idle=1.0),
    ):
        with pytest.raises(ConnectionError, match="check that it runs, and the user") as got:
            act()
        assert "hush-hush" not in "".join(map(repr, (got.value, got.value.__cause__)))
    told = caplog.text + "".join(capfd.readouterr())
    for path in tmp_path.rglob("*"):
        told += path.read_text(errors="replace") if path.is_file() else path.name
    assert password not in told
    assert "hush-hush" not in told


def test_the_address_can_come_from_the_environment(
    broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BYWAYS_AMQP_URL", broker_url)
    with workers(tmp_path / "run", "amqp", 1):
        assert found(master(tmp_path / "run", "amqp", 3)) == expected(3)


def test_a_finished_queue_leaves_nothing_at_the_broker(broker_url: str, tmp_path: Path) -> None:
    import pika

    with workers(tmp_path / "run", broker_url, 2):
        master(tmp_path / "run", broker_url, 5)
    name = RunDirectory.open(tmp_path / "run").seals.messages().name
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
        connection.channel().queue_declare(name, passive=True)
    connection.close()


def test_a_message_that_was_delivered_again_is_not_computed_again(
    broker_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    with RunDirectory.create(path, **IDENTITY) as run:
        run.append(multiply(CONTEXT, make_tasks(1)[0]))
        seal = run.seals.messages()
    QueueFolder(path, create=True)
    connection, channel = Broker(broker_url, seal.name).open()
    text = seal.write(Message(make_tasks(1)[0], "s", again=True))
    channel.basic_publish("", seal.name, text)
    assert serve_queue(path, multiply, Scale.load, queue=broker_url, idle=1.0) == 0
    assert channel.queue_declare(seal.name, passive=True).method.message_count == 0
    channel.queue_delete(seal.name)
    connection.close()


@pytest.mark.parametrize("address", ["amqp://u:hush@127.0.0.1:1/", "amqp://u:hush@host:port/%2f"])
def test_a_broker_that_is_not_there(tmp_path: Path, address: str) -> None:
    pytest.importorskip("pika")
    with pytest.raises((ConnectionError, ValueError), match=r"amqp://") as caught:
        master(tmp_path / "run", address, 3)
    assert "hush" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_an_address_that_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pika")
    monkeypatch.delenv("BYWAYS_AMQP_URL", raising=False)
    with pytest.raises(ValueError, match="the variable BYWAYS_AMQP_URL; it is not set"):
        master(tmp_path / "run", "amqp", 3)


def test_without_pika_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from byways.core import optional

    monkeypatch.setattr(optional, "available", lambda module: False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'byways\[amqp\]'"):
        master(tmp_path / "run", "amqp://host", 3)
