"""The two engines everything runs on, Kafka and PostgreSQL, wherever they come from.

Three providers build the same pair: *given* (addresses are set), *containers* (testcontainers) and *embedded* (from
packages alone). Services see two addresses and cannot tell which.
"""

import socket
import struct
import sys
import time
from abc import ABC, abstractmethod
from importlib import resources
from urllib.parse import urlsplit

CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qk"
START_SECONDS = 180.0
REVIVE_PAUSE_SECONDS = 1.0


class EngineError(Exception):
    """An engine did not start, or cannot do what was asked of it."""


class Engine(ABC):
    """One Kafka broker or one PostgreSQL server. It keeps its address and its data over `kill` and `launch`."""

    address: str
    """Kafka: host:port. PostgreSQL: the URL."""

    @abstractmethod
    def launch(self) -> None:
        """Start it without waiting, on the data it had."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers a request.

        Raises:
            EngineError: it has ended.
        """

    @abstractmethod
    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL)."""

    @abstractmethod
    def stop(self) -> None:
        """End it in order."""

    def has_died(self) -> bool:
        """Whether it has ended without being told to. Only a provider whose own children the engines are can know."""
        return False

    def wait(self, deadline_seconds: float = START_SECONDS) -> None:
        """Return when it is ready.

        Raises:
            EngineError: it has ended, or is not ready in time.
        """
        deadline = time.monotonic() + deadline_seconds
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise EngineError(f"{self.address} is not ready after {deadline_seconds:.0f} s")
            time.sleep(0.02)


class Engines:
    """Kafka and PostgreSQL, started and stopped together."""

    def __init__(self, kafka: Engine, database: Engine) -> None:
        self.kafka = kafka
        self.database = database
        self._revived_at = 0.0

    @property
    def kafka_address(self) -> str:
        return self.kafka.address

    @property
    def database_url(self) -> str:
        return self.database.address

    def start(self) -> None:
        """Start both side by side and wait for both; nothing stays behind when one fails."""
        try:
            self.database.launch()
            self.kafka.launch()
            self.database.wait()
            self.kafka.wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.kafka.stop()
        self.database.stop()

    def revive(self) -> None:
        """Launch what has died, on the data it had; called again and again by a supervisor."""
        if time.monotonic() - self._revived_at > REVIVE_PAUSE_SECONDS:
            for engine in (self.kafka, self.database):
                if engine.has_died():
                    print(f"{type(engine).__name__} has died; starting it anew", file=sys.stderr)
                    engine.launch()
                    self._revived_at = time.monotonic()

    def restart_kafka(self) -> None:
        """Kill the broker and start it again on the same port and data."""
        _restart(self.kafka)

    def restart_database(self) -> None:
        """Kill the database server and start it again on the same port and data."""
        _restart(self.database)


def _restart(engine: Engine) -> None:
    engine.kill()
    engine.launch()
    engine.wait()


def broker_settings() -> str:
    """What every broker of ours has in common; addresses and the data directory are added to it."""
    return resources.files("deploy").joinpath("broker.properties").read_text()


def kafka_answers(address: str) -> bool:
    """Whether the broker at host:port answers a metadata request and knows of a broker."""
    request = struct.pack(">hhihi?", 3, 4, 1, -1, 0, False)  # Metadata v4, no client id, no topics, create none
    try:
        with _connect(*_host_and_port(address)) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(16, socket.MSG_WAITALL)  # length, correlation, throttle time, number of brokers
    except OSError:
        return False
    return len(answer) == 16 and struct.unpack(">i", answer[12:])[0] > 0


def database_answers(url: str) -> bool:
    """Whether the server of the URL gets as far as asking who is there; while it starts or recovers it refuses."""
    parts = urlsplit(url)
    parameters = f"user\0{parts.username or 'postgres'}\0database\0{parts.path.lstrip('/') or 'postgres'}\0\0".encode()
    try:
        with _connect(parts.hostname or "127.0.0.1", parts.port or 5432) as connection:
            connection.sendall(struct.pack(">ii", len(parameters) + 8, 196608) + parameters)  # protocol 3.0
            return connection.recv(1) == b"R"
    except OSError:
        return False


def _connect(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), timeout=2)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
