"""Keeps one process running: starts it, starts it again when it dies, and tells when it dies again and again."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from deploy import processes

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 15.0
STEADY_SECONDS = 20.0
"""Who lives this long has recovered: its next death counts as the first."""
CRASH_LOOP_DEATHS = 4


class Supervised:
    """One process of a service, on one port, for as long as the system runs."""

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        port: int,
        environment: Mapping[str, str],
        log: Path,
        *,
        niceness: int = 0,
    ) -> None:
        self.name = name
        self.port = port
        self.log = log
        self.deaths = 0
        """In a row, none of them after a steady life."""
        self._command = command
        self._environment = environment
        self._niceness = niceness
        self._process: subprocess.Popen[bytes] | None = None
        self._ready_pid: int | None = None
        self._started_at = 0.0
        self._start_again_at: float | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_ready(self) -> bool:
        """Whether it lives and has been ready since it was started."""
        return self._process is not None and self._process.poll() is None and self._ready_pid == self._process.pid

    def start(self) -> None:
        if self._ready_pid is None:
            self.port = processes.free_port(self.port)  # nobody knows it yet, and somebody may have taken it meanwhile
        environment = {**self._environment, "SUPPORT_HTTP_PORT": str(self.port)}
        self._process = processes.start(self._command, log=self.log, environment=environment, niceness=self._niceness)
        self._started_at = time.monotonic()
        self._start_again_at = None

    def look(self) -> None:
        """See how it is doing; what has died is started again after a pause that grows with each death in a row."""
        now = time.monotonic()
        if self._start_again_at is not None:
            if now >= self._start_again_at:
                self.start()
        elif self._process is not None and (status := self._process.poll()) is not None:
            self.deaths = 1 if now - self._started_at > STEADY_SECONDS else self.deaths + 1
            pause = min(FIRST_PAUSE_SECONDS * 2.0 ** (self.deaths - 1), LONGEST_PAUSE_SECONDS)
            self._start_again_at = now + pause
            self._report(status, pause)
        elif not self.is_ready and _answers_ready(self.url):
            self._ready_pid = self.pid

    def kill(self) -> None:
        """End it with SIGKILL. It is started again, and this death is not held against it."""
        if self._process is not None:
            self.deaths = 0
            self._process.kill()
            self._process.wait()

    def ask_to_stop(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        if self._process is not None:
            processes.stop(self._process, within_seconds=30)

    def _report(self, status: int, pause: float) -> None:
        ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        again = " again and again" if self.deaths >= CRASH_LOOP_DEATHS else ""
        print(f"{self.name} {ended}{again}; starting it anew in {pause:.1f} s (log: {self.log})", file=sys.stderr)


def _answers_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:  # refused, late, or an HTTP error: urllib's are of this kind
        return False
