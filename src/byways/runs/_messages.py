"""What travels in a queue: a task as JSON, sealed with the secret of its run.

A worker does what a message says, so it must know who wrote it: whoever may read the secret in the
run directory may hand out work, and a stranger at the broker may not.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass

from byways.runs._tasks import Task

__all__ = ["LARGEST", "Message", "Seal"]

# Bytes of a message. A task is some hundred bytes; whatever is larger is no task.
LARGEST = 1 << 20
_FIELDS = {"session", "again", "task", "seal"}


@dataclass(frozen=True, slots=True)
class Message:
    """A task on its way to a worker.

    Args:
        task: The task.
        session: Whom an incomplete result is for: a name that each master makes for itself.
        again: Whether somebody may have finished the task already.
    """

    task: Task
    session: str
    again: bool = False


class Seal:
    """Write messages that only holders of a secret can write, and read no others.

    Args:
        secret: The secret.
        run: What the messages belong to: the digest of the run's context.
    """

    def __init__(self, secret: bytes, run: str) -> None:
        self._secret = secret
        self._run = run

    @property
    def name(self) -> str:
        """A name for the queue of this run; it does not give the secret away."""
        return f"byways.{self._sign({'name': 'queue'})[:24]}"

    def write(self, message: Message) -> bytes:
        """Give the bytes of a message.

        Raises:
            ValueError: If they are too many.
        """
        task = json.loads(message.task.to_json())
        fields = {"session": message.session, "again": message.again, "task": task}
        text = _canonical({**fields, "seal": self._sign(fields)})
        if len(text) > LARGEST:
            raise ValueError(
                f'"payload" of task {message.task.key!r} has {len(text)} bytes as a message; a '
                f"queue takes {LARGEST}. Put what all tasks share into the context"
            )
        return text

    def read(self, data: bytes) -> Message:
        """Read a message that may come from a stranger.

        Raises:
            ValueError: If it is too large, no message, or not sealed with this secret.
        """
        if len(data) > LARGEST:
            raise ValueError(f"it has {len(data)} bytes, a message has {LARGEST} at most")
        try:
            fields = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is not JSON: {error}") from error
        if not isinstance(fields, dict) or set(fields) != _FIELDS:
            raise ValueError("it is not a JSON object with session, again, task and seal")
        seal = fields.pop("seal")
        try:
            sealed = isinstance(seal, str) and hmac.compare_digest(seal, self._sign(fields))
        except (TypeError, ValueError, RecursionError):  # not ASCII, not finite, too deep
            sealed = False
        if not sealed:
            raise ValueError("its seal is not that of this run")
        # From here on it is what one of us wrote.
        task = Task.from_json(json.dumps(fields["task"]))
        return Message(task, fields["session"], fields["again"])

    def _sign(self, fields: dict[str, object]) -> str:
        content = self._run.encode() + b"\n" + _canonical(fields)
        return hmac.new(self._secret, content, hashlib.sha256).hexdigest()


def _canonical(fields: dict[str, object]) -> bytes:
    """Give JSON that is the same after reading and writing it again."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
