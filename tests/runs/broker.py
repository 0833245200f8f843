"""A RabbitMQ of our own: on loopback, with its own data, node name, cookie and port mapper.

``python -m tests.runs.broker FOLDER`` runs one until it is told to end (SIGTERM), and writes its
address to ``FOLDER/url`` as soon as it takes connections.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

# Debian's wrapper in /usr/sbin would change to the user rabbitmq and its data.
_PLACES = "/usr/lib/rabbitmq/bin:/usr/local/sbin:/opt/rabbitmq/sbin"
_START_SECONDS = 60.0


def find_server() -> str | None:
    """Give the path of RabbitMQ's start script, None if it or the port mapper is missing."""
    found = shutil.which("rabbitmq-server", path=f"{_PLACES}:{os.environ.get('PATH', '')}")
    return found if shutil.which("epmd") else None


class Broker:
    """A broker that can be killed and started again, with what it had on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.password = secrets.token_hex(8)
        self._port, self._distribution, self._mapper = _free_ports(3)
        self._node = f"byways-{secrets.token_hex(4)}@localhost"
        self._processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self._port}\n"
            f"default_user = byways\ndefault_pass = {self.password}\n"
        )

    @property
    def url(self) -> str:
        return f"amqp://byways:{self.password}@127.0.0.1:{self._port}/%2f"

    @property
    def log(self) -> str:
        return (self.folder / "out").read_text()

    def start(self) -> None:
        server = find_server()
        assert server is not None
        if not self._processes:
            mapper = ["epmd", "-address", "127.0.0.1", "-port", str(self._mapper)]
            self._processes.append(self._open(mapper))
        self._processes.append(self._open([server]))
        end = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self._processes[-1].poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.1)

    def kill(self, *, forget: bool = False) -> None:
        """End it as a power cut would; what it has not written is lost, or all of it."""
        server = self._processes.pop()
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        if forget:
            shutil.rmtree(self.folder / "data")

    def stop(self) -> None:
        while self._processes:
            process = self._processes.pop()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _open(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "out").open("ab") as log:
            return subprocess.Popen(
                command, env=self._environment(), stdout=log, stderr=log, start_new_session=True
            )

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return os.environ | {
            "HOME": folder,  # the cookie of Erlang lies there
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false "
            "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _answers(self) -> bool:
        import pika

        with contextlib.suppress(pika.exceptions.AMQPError, OSError):
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
            return True
        return False


def _free_ports(count: int) -> list[int]:
    """Choose ports below those that systems give to outgoing connections.

    One of these could take a port while its broker is down, even a client that tries to reach it.
    """
    free: list[int] = []
    while len(free) < count:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            free.append(port)
    return free


def main(folder: str) -> None:
    broker = Broker(Path(folder).absolute())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        broker.start()
        (broker.folder / "url.part").write_text(broker.url)
        (broker.folder / "url.part").replace(broker.folder / "url")
        signal.pause()
    finally:
        broker.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
