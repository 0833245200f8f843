"""A queue at a broker that speaks AMQP 0-9-1, such as RabbitMQ, for workers on many machines.

The queue is durable and its messages persistent; the broker confirms each. A worker has one message
at a time and acknowledges it when the result is on disk. A message whose worker dies is delivered
again; so is one whose worker lost the broker, and then its key is done already.

A broker drops whoever is silent, so each end has a thread that owns the connection and does nothing
else: pika's connections serve one thread only, and a task may take longer than any heartbeat.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from byways.core.optional import require
from byways.runs._folder import Delivery
from byways.runs._messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from byways.runs._folder import QueueFolder
    from byways.runs._messages import Seal
    from byways.runs._tasks import Task

__all__ = ["AmqpInbox", "AmqpOutbox", "Broker", "is_amqp", "without_password"]

_LOGGER = logging.getLogger("byways.runs")
_VARIABLE = "BYWAYS_AMQP_URL"
# RabbitMQ takes a message away that is not acknowledged for half an hour, however alive its worker
# is; brokers before 3.12 ignore this and need consumer_timeout in their own configuration.
_CONSUMER_TIMEOUT_MS = 7 * 24 * 3600 * 1000
_PUMP_SECONDS = 0.5
_PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)  # before attempts to reach a broker that was there before
_PATIENCE = 600.0


def is_amqp(place: str) -> bool:
    """Tell whether the name of a queue means a broker."""
    return place == "amqp" or place.startswith(("amqp://", "amqps://"))


def without_password(place: str) -> str:
    """Give the address of a broker as it may be shown: without user, password and options."""
    try:
        parts = urlsplit(place)
        port = f":{parts.port}" if parts.port else ""
        host = parts.hostname or ""
    except ValueError:
        return "amqp://..."
    return f"{parts.scheme}://{host}{port}{parts.path}" if parts.scheme else place


class Broker:
    """Where the broker is, and how to get a channel to one queue of it.

    Args:
        place: ``amqp://user:password@host:port/vhost``, or ``amqp`` for the address in the
            variable BYWAYS_AMQP_URL, where other users do not see the password.
        name: Name of the queue.

    Raises:
        MissingDependencyError: If pika is not installed.
        ValueError: If the address cannot be understood.
    """

    def __init__(self, place: str, name: str) -> None:
        self._pika: Any = require("pika", extra="amqp", purpose="A queue at a broker")
        url = os.environ.get(_VARIABLE, "") if place == "amqp" else place
        if not url:
            raise ValueError(
                f'"queue" was {place!r}, which takes the address from the variable {_VARIABLE}; '
                "it is not set"
            )
        self.shown = without_password(url)
        self.name = name
        try:
            self._parameters = self._pika.URLParameters(url)
        except Exception:  # whatever it says, the address may be in it
            self._parameters = None
        if self._parameters is None:
            raise ValueError(
                f'"queue" was {self.shown!r}, which is no address of a broker; it is '
                "amqp://user:password@host:port/vhost"
            )
        self.lost = (self._pika.exceptions.AMQPError, OSError)

    def open(self) -> tuple[Any, Any]:
        """Give a connection and a channel with the queue declared.

        Raises:
            ConnectionError: If the broker cannot be reached or does not let us in.
        """
        try:
            connection = self._pika.BlockingConnection(self._parameters)
            channel = connection.channel()
            # Every client must declare the same: the broker refuses another.
            arguments = {"x-consumer-timeout": _CONSUMER_TIMEOUT_MS}
            channel.queue_declare(self.name, durable=True, arguments=arguments)
        except self.lost as error:
            reason = type(error).__name__  # its text could repeat what the broker was told
        else:
            return connection, channel
        raise ConnectionError(
            f"the broker at {self.shown} cannot be used: {reason}; check that it runs, and the "
            "user and password in its address"
        )

    def open_patiently(self, over: threading.Event) -> tuple[Any, Any]:
        """Give a connection to a broker that was there before, as soon as it is back.

        Raises:
            ConnectionError: If it does not come back.
        """
        end = time.monotonic() + _PATIENCE
        attempt = 0
        while True:
            try:
                return self.open()
            except ConnectionError:
                if over.wait(_PAUSES[min(attempt, len(_PAUSES) - 1)]) or time.monotonic() > end:
                    raise
                attempt += 1

    def properties(self) -> Any:
        """Give what makes a message survive the broker."""
        return self._pika.BasicProperties(content_type="application/json", delivery_mode=2)


class AmqpOutbox:
    """The master's end of a queue at a broker. One thread at a time may use it.

    Args:
        broker: The broker.
        seal: Seals the messages.
        session: Name of this master's session.
        over: Set when there is no more use in waiting for a broker.
        again: Whether some of the tasks may be done already.

    Raises:
        ConnectionError: If the broker cannot be reached.
    """

    def __init__(
        self, broker: Broker, seal: Seal, session: str, over: threading.Event, *, again: bool
    ) -> None:
        self._broker = broker
        self._seal = seal
        self._session = session
        self._again = again
        self._over = over
        self._shaken = False
        self._connect(broker.open)

    def offer(self, tasks: Iterable[Task], *, again: bool = False) -> None:
        """Hand out tasks.

        Raises:
            ConnectionError: If the broker is gone for long.
            ValueError: If a task is too large for a message.
        """
        for task in tasks:
            text = self._seal.write(Message(task, self._session, self._again or again))
            self._insist(functools.partial(self._publish, text))

    def tend(self) -> bool:
        """Answer the broker's heartbeats; True if it was gone, and messages may be too."""
        self._insist(lambda: self._connection.process_data_events(0))
        shaken, self._shaken = self._shaken, False
        return shaken

    def repair(self, tasks: Iterable[Task]) -> None:
        """Hand out all tasks again if none waits: who is not done with one may be dead.

        A task that somebody is still busy with may be computed twice, by a worker that would have
        nothing to do otherwise.
        """
        found: list[int] = []

        def count() -> None:
            reply = self._channel.queue_declare(self._broker.name, passive=True)
            found.append(reply.method.message_count)

        self._insist(count)
        if found[-1] == 0:
            self.offer(tasks, again=True)

    def withdraw(self, tasks: Iterable[Task]) -> None:
        """Take back what no worker has begun."""
        with contextlib.suppress(*self._broker.lost):
            self._channel.queue_purge(self._broker.name)

    def close(self, *, finished: bool) -> None:
        """Leave; the queue of a finished run is deleted, which sends its workers home."""
        with contextlib.suppress(*self._broker.lost):
            if finished:
                self._channel.queue_delete(self._broker.name)
            self._connection.close()

    def _publish(self, text: bytes) -> None:
        self._channel.basic_publish("", self._broker.name, text, self._broker.properties(), True)

    def _insist(self, action: Callable[[], object]) -> None:
        """Do something, again on a new connection if the old one is lost."""
        while True:
            try:
                action()
            except self._broker.lost:
                _LOGGER.warning("lost the broker at %s, trying again", self._broker.shown)
                self._connect(functools.partial(self._broker.open_patiently, self._over))
                self._shaken = True
            else:
                return

    def _connect(self, way: Callable[[], tuple[Any, Any]]) -> None:
        self._connection, self._channel = way()
        self._channel.confirm_delivery()


class _Arrived(NamedTuple):
    """A message as it came: on which channel, its number there, and whether it came before."""

    channel: Any
    tag: int
    redelivered: bool
    body: bytes


class AmqpInbox:
    """A worker's end of a queue at a broker.

    Args:
        broker: The broker.
        seal: Tells whose messages these are.
        folder: Folder of the queue, which remembers how often a task was delivered again.

    Raises:
        ConnectionError: If the broker cannot be reached.
    """

    def __init__(self, broker: Broker, seal: Seal, folder: QueueFolder) -> None:
        self._broker = broker
        self._seal = seal
        self._folder = folder
        self._arrived: queue.SimpleQueue[_Arrived] = queue.SimpleQueue()
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self.reachable = True
        self._connection, self._channel = broker.open()
        self._thread = threading.Thread(target=self._pump, name="byways-amqp", daemon=True)
        self._thread.start()

    def take(self, seconds: float) -> Delivery | None:
        """Give the next message; None if there is none for so many seconds.

        Raises:
            ConnectionError: If the broker is gone for long.
        """
        if self._failure is not None:
            self._raise()
        try:
            found = self._arrived.get(timeout=seconds)
        except queue.Empty:
            return None
        if found.channel is not self._channel:
            return None  # its connection is lost, and the broker delivers it again
        try:
            message = self._seal.read(found.body)
        except ValueError as error:
            _LOGGER.warning("refused a message at %s: %s", self._broker.shown, error)
            self._tell(found, "basic_reject", requeue=False)
            return None
        attempt = 1
        if found.redelivered:
            attempt += self._count(message.task.key)
            message = Message(message.task, message.session, again=True)
        return Delivery(message, attempt, found)

    def finish(self, delivery: Delivery) -> None:
        """Acknowledge a message: the result of its task is on disk."""
        self._tell(delivery.receipt, "basic_ack")

    def give_back(self, delivery: Delivery) -> None:
        """Leave a task to others."""
        self._tell(delivery.receipt, "basic_nack", requeue=True)

    def close(self) -> None:
        """Leave; what was not acknowledged is delivered to others."""
        self._over.set()
        self._thread.join(5.0)

    def _count(self, key: str) -> int:
        """Note that a task was delivered again, and give how often that was."""
        with (self._folder.attempts / key).open("ab") as stream:
            stream.write(b".")
            return stream.tell()

    def _tell(self, found: _Arrived, what: str, **arguments: object) -> None:
        """Let the connection's thread tell the broker something about a message."""

        def tell() -> None:
            with contextlib.suppress(*self._broker.lost):  # then it is delivered again
                getattr(found.channel, what)(found.tag, **arguments)

        with contextlib.suppress(*self._broker.lost):
            self._connection.add_callback_threadsafe(tell)

    def _pump(self) -> None:
        """Own the connection: take what comes, answer heartbeats, come back after a loss."""
        try:
            while not self._over.is_set():
                try:
                    self._serve()
                except self._broker.lost:
                    _LOGGER.warning("lost the broker at %s, trying again", self._broker.shown)
                    self.reachable = False
                    opened = self._broker.open_patiently(self._over)
                    self._connection, self._channel = opened
                    self.reachable = True
            with contextlib.suppress(*self._broker.lost):
                self._connection.process_data_events(0)  # what is still to be told
                self._connection.close()
        except BaseException as error:
            self._failure = error

    def _serve(self) -> None:
        """Consume on one channel until it is over."""
        channel = self._channel

        def keep(_: object, method: Any, __: object, body: bytes) -> None:
            found = _Arrived(channel, method.delivery_tag, method.redelivered, body)
            self._arrived.put(found)

        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(self._broker.name, keep)
        while not self._over.is_set():
            self._connection.process_data_events(_PUMP_SECONDS)
            if not channel.consumer_tags and not self._folder.finished:
                self._connection.close()  # somebody deleted the queue of an unfinished run
                raise ConnectionError

    def _raise(self) -> NoReturn:
        failure = self._failure
        raise failure if failure is not None else ConnectionError
