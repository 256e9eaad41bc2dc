"""The whole system on one machine: engines, mail catcher and services, and the file that tells where they are."""

import fcntl
import hashlib
import json
import os
import secrets
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from deploy import processes
from deploy.catcher import MailCatcher
from deploy.engines import Engines
from deploy.supervisor import CRASH_LOOP_DEATHS, Supervised
from shared.runtime.keys import new_key
from shared.runtime.settings import Scope

LOOK_SECONDS = 0.1
DIRECTORY_FILE = Path(__file__).with_name("directory.yaml")


@dataclass(frozen=True)
class Service:
    """What is run, and its usual port."""

    name: str
    port: int
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    niceness: int = 0


def _command(name: str) -> tuple[str, ...]:
    return sys.executable, "-m", name.replace("-", "_")


BULK_NICENESS = 10
"""Of a process without urgent work: where the processors are busy, it lets the others go first (S6)."""
URGENT, BULK = ({"SUPPORT_LANE": lane} for lane in ("urgent", "bulk"))
SERVICES = (
    Service("intake", 8080, _command("intake")),
    Service("router", 8081, _command("router"), niceness=BULK_NICENESS),
    Service("sla-monitor", 8082, _command("sla-monitor"), niceness=BULK_NICENESS),
    Service("safety-bridge", 8083, _command("safety-bridge"), URGENT),
    Service("safety-bridge-bulk", 8085, _command("safety-bridge"), BULK, BULK_NICENESS),
    Service("notifier", 8084, _command("notifier"), URGENT),
    Service("notifier-bulk", 8086, _command("notifier"), BULK, BULK_NICENESS),
)


class StackError(Exception):
    """The system did not come up."""


class Stack:
    """The running system. Its directory holds data, logs and `endpoints.json`, and belongs to one stack at a time."""

    def __init__(
        self,
        directory: Path,
        engines: Engines,
        *,
        services: Iterable[Service] = SERVICES,
        replicas: int = 1,
        environment: Mapping[str, str] | None = None,
        usual_ports: bool = False,
    ) -> None:
        """Not started yet.

        Args:
            environment: further variables for the services, for example SUPPORT_TOPIC_PREFIX.
            usual_ports: take the usual ports where they are free, instead of any.
        """
        self.directory = directory
        self.engines = engines
        self.api_key = secrets.token_urlsafe(24)
        self.catcher = MailCatcher(smtp_port=1025, http_port=8025) if usual_ports else MailCatcher()
        self.endpoints_file = directory / "endpoints.json"
        self.processes: list[Supervised] = []
        self._services = tuple(services)
        self._replicas = replicas
        self._environment = environment or {}
        self._usual_ports = usual_ports
        self._told: dict[str, int] = {}
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._to_undo = ExitStack()

    def start(self, deadline_seconds: float = 180.0) -> None:
        """Return when every service is ready. Whatever it raises, `stop` undoes what was done.

        Raises:
            StackError: another stack has this directory, a service keeps dying, or is not ready in time.
            EngineError: an engine did not start.
        """
        (self.directory / "log").mkdir(parents=True, exist_ok=True)
        self._take_directory()
        self.endpoints_file.unlink(missing_ok=True)
        self._to_undo.callback(self.engines.stop)
        self.engines.start()
        self.catcher.start()
        self._to_undo.callback(self.catcher.stop)
        self._to_undo.callback(self._stop_services)
        self.processes = list(self._make_processes())
        for process in self.processes:
            process.start()
        self._watcher.start()
        self._to_undo.callback(self._watcher.join)
        self._to_undo.callback(self._stopping.set)
        self.wait_until_ready(deadline_seconds, bearable_deaths=CRASH_LOOP_DEATHS)

    def stop(self) -> None:
        """Services first, together and in order; then the rest."""
        self._to_undo.close()

    def supervise(self) -> None:
        """Stay for as long as the system is looked after.

        Raises:
            StackError: it no longer is, because of a fault of ours.
        """
        self._watcher.join()
        raise StackError("the supervisor has failed")

    def wait_until_ready(self, deadline_seconds: float = 60.0, *, bearable_deaths: int | None = None) -> None:
        """Return when every service is ready, the restarted ones again, and `endpoints.json` says so.

        Raises:
            StackError: it takes too long or a service keeps dying; with the last lines of the logs.
        """
        deadline = time.monotonic() + deadline_seconds
        while not (self._all_ready() and self._told == self._pids()):
            hopeless = bearable_deaths is not None and any(p.deaths >= bearable_deaths for p in self.processes)
            if hopeless or time.monotonic() > deadline:
                late = [process for process in self.processes if not process.is_ready]
                logs = (f"--- {process.name}: {process.log}\n{processes.tail(process.log)}" for process in late)
                raise StackError("\n".join(["the services are not ready", *logs]))
            time.sleep(LOOK_SECONDS / 2)

    def kill(self, name: str) -> None:
        """End a service's process with SIGKILL; the supervisor starts it again."""
        self._find(name).kill()

    def url(self, name: str) -> str:
        """The address of a service's HTTP side."""
        return self._find(name).url

    def _find(self, name: str) -> Supervised:
        return next(process for process in self.processes if process.name == name)

    def _take_directory(self) -> None:
        lock = self._to_undo.enter_context((self.directory / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(f"another system runs in {self.directory}") from None
        self._to_undo.callback(self.endpoints_file.unlink, missing_ok=True)

    def _make_processes(self) -> Iterator[Supervised]:
        environment = {**os.environ, **self._service_environment(), **self._environment}
        for service in self._services:
            for number in range(1, self._replicas + 1):
                name = service.name if number == 1 else f"{service.name}-{number}"
                port = processes.free_port(service.port if self._usual_ports and number == 1 else None)
                log = self.directory / "log" / f"{name}.log"
                log.unlink(missing_ok=True)
                environment_of_it = {**environment, **service.environment}
                yield Supervised(name, service.command, port, environment_of_it, log, niceness=service.niceness)

    def _service_environment(self) -> dict[str, str]:
        key = {
            "name": "local",
            "sha256": hashlib.sha256(self.api_key.encode()).hexdigest(),
            "scopes": list(Scope),
            "sources": ["*"],
        }
        return {
            "SUPPORT_KAFKA_BOOTSTRAP_SERVERS": self.engines.kafka_address,
            "SUPPORT_DATABASE_URL": self.engines.database_url,
            "SUPPORT_API_KEYS": json.dumps([key]),
            "SUPPORT_DIRECTORY_FILE": str(DIRECTORY_FILE),
            "SUPPORT_MASTER_KEY_FILE": str(self._master_key_file()),
            "SUPPORT_SMTP_URL": f"smtp://{self.catcher.smtp_address}",
            "SUPPORT_MAIL_FROM": "Storytailor Support <support@storytailor.example>",
            "SUPPORT_INTAKE_EVENTS_PER_SECOND": "0",
        }

    def _master_key_file(self) -> Path:
        """Made once for this directory, beside the data that it protects."""
        file = self.directory / "master.key"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(b64encode(new_key()).decode() + "\n")
        return file

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self.engines.revive()
            for process in self.processes:
                process.look()
            pids = self._pids()
            if pids != self._told and self._all_ready():
                self._tell()
                self._told = pids

    def _all_ready(self) -> bool:
        return all(process.is_ready for process in self.processes)

    def _pids(self) -> dict[str, int]:
        return {process.name: process.pid for process in self.processes}

    def _tell(self) -> None:
        """Write where everything is; readers see the old file or the new one, and only its owner sees the key."""
        content = {
            "kafka": self.engines.kafka_address,
            "database": self.engines.database_url,
            "api_key": self.api_key,
            "services": {process.name: {"url": process.url, "pid": process.pid} for process in self.processes},
            "catchers": {"mail": {"url": self.catcher.url, "smtp": self.catcher.smtp_address}},
        }
        partial = self.endpoints_file.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(content, indent=2) + "\n")
        partial.replace(self.endpoints_file)

    def _stop_services(self) -> None:
        for process in self.processes:
            process.ask_to_stop()
        for process in self.processes:
            process.stop()
