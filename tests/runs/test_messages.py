"""Messages from strangers: whoever does not hold the secret of a run cannot hand out its work."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from byways.runs import Task
from byways.runs._messages import LARGEST, Message, Seal

TASK = Task("n-7", {"n": 7, "x": [0.1, 1e300, None, True, "é"]}, cost=2.5)
SEAL = Seal(b"secret", "run")


@pytest.mark.parametrize("again", [False, True])
def test_a_message_arrives_as_it_was_sent(again: bool) -> None:
    message = Message(TASK, "session", again)
    assert SEAL.read(SEAL.write(message)) == message
    assert json.loads(SEAL.write(message))["task"] == json.loads(TASK.to_json())


@pytest.mark.parametrize(
    "other", [Seal(b"Secret", "run"), Seal(b"secret", "Run"), Seal(b"", "run")]
)
def test_another_secret_or_run_is_refused(other: Seal) -> None:
    with pytest.raises(ValueError, match="its seal is not that of this run"):
        SEAL.read(other.write(Message(TASK, "session")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("session", "other"),
        ("again", True),
        ("again", 0),  # equal to False, and yet another message
        ("task", {"key": "n-8", "payload": {"n": 7}, "cost": 1.0}),
        ("task", {"key": "../../etc/passwd", "payload": {}, "cost": 1.0}),
        ("seal", None),
        ("seal", ""),
        ("seal", "é"),
        ("seal", ["0" * 64]),
        ("task", float("nan")),
    ],
)
def test_any_changed_field_is_refused(name: str, value: Any) -> None:
    fields = json.loads(SEAL.write(Message(TASK, "session")))
    with pytest.raises(ValueError, match="its seal is not that of this run"):
        SEAL.read(json.dumps(fields | {name: value}).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b"{}", b"\xff", TASK.to_json().encode(), pickle.dumps(TASK),
     b'{"seal":"x"}', b"[" * 100_000, b'{"task":' * 50_000],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"it is not (JSON|a JSON object)"):
        SEAL.read(data)


def test_a_sealed_message_with_a_bad_key_is_refused() -> None:
    fields: dict[str, Any] = json.loads(SEAL.write(Message(TASK, "s")))
    fields["task"]["key"] = "../up"
    del fields["seal"]
    forged = json.dumps(fields | {"seal": SEAL._sign(fields)}).encode()
    with pytest.raises(ValueError, match='"key" was'):
        SEAL.read(forged)


def test_large_messages_are_refused_on_both_sides() -> None:
    with pytest.raises(ValueError, match=r"\"payload\" of task 'big' has .* a queue takes 1048576"):
        SEAL.write(Message(Task("big", {"x": "x" * LARGEST}), "session"))
    with pytest.raises(ValueError, match="it has 1048577 bytes"):
        SEAL.read(b" " * (LARGEST + 1))
