"""Processes of the notifier that can be killed by SIGKILL, in which time passes faster than outside.

A process needs seconds to begin, so one that is ready (the nursery) has children whenever a line tells it to.
"""

import asyncio
import os
import signal
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from mmap import mmap
from pathlib import Path

from notifier_replica import Replica

from notifier.app import MAILS_AT_ONCE, PAGES_AT_ONCE, URGENT_PAUSE, channels, read_edition
from notifier.domain.desk import Desk
from notifier.domain.gate import Gate
from notifier.domain.hours import Hours
from notifier.domain.retry import SendResult
from notifier.domain.templates import Templates
from notifier.senders import Message
from notifier.senders.destinations import Channels
from notifier.settings import NotifierSettings
from notifier.timers import Deliveries
from shared.directory import Directory
from shared.policy.confidentiality import load_confidentiality
from shared.policy.load import load_policy
from shared.runtime.database import Database

SPEED = 5
"""Seconds of theirs in one of ours."""
BEGAN = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class CommonNow:
    """The same `now` in all processes that have the file: it runs, and can be moved on."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(struct.pack("dd", time.monotonic(), 0.0))
        with file.open("r+b") as opened:
            self._memory = mmap(opened.fileno(), 16)

    def __call__(self) -> datetime:
        began, moved = struct.unpack("dd", self._memory[:])
        return BEGAN + timedelta(seconds=(time.monotonic() - began) * SPEED + moved)

    def move_to(self, at: datetime) -> None:
        began, moved = struct.unpack("dd", self._memory[:])
        self._memory[:] = struct.pack("dd", began, moved + (at - self()).total_seconds())


class Hurried(Channels):
    """Deadlines are as long as time runs."""

    async def send(self, message: Message, *, within: timedelta) -> SendResult:
        return await super().send(message, within=within / SPEED)


def a_desk(directory_file: Path) -> Desk:
    policy = load_policy()
    directory = Directory.from_yaml(directory_file.read_text())
    return Desk(
        policy, Templates(read_edition(policy)), Gate(load_confidentiality()), directory, "the list", Hours.of(policy)
    )


def settings_for(directory_file: Path, smtp_port: int) -> NotifierSettings:
    return NotifierSettings.model_validate(
        {
            "kafka_bootstrap_servers": "k:9092",
            "database_url": "postgresql://d",
            "directory_file": directory_file,
            "smtp_url": f"smtp://127.0.0.1:{smtp_port}",
            "mail_from": "Storytailor Support <support@storytailor.example>",
            "webhook_secrets": [SECRET],
            "trusted_hosts": ["127.0.0.1"],
        }
    )


async def live(settings: NotifierSettings, desk: Desk, database_url: str, now: CommonNow) -> None:
    """Both lanes as `build` wires them, until the end."""
    lanes = []
    for urgent, at_once in ((True, PAGES_AT_ONCE), (False, MAILS_AT_ONCE)):
        replica = Replica(Database(database_url, schema="notifier"), desk, now)
        ways = channels(settings, now, at_once, URGENT_PAUSE)
        lanes.append(Deliveries(replica.units, Hurried(ways._of), urgent=urgent))
    await asyncio.gather(*(lane.run() for lane in lanes))


def main(directory_file: str, smtp_port: str, database_url: str, clock: str) -> None:
    """Have a child for each line that comes, and say its number."""
    desk, settings = a_desk(Path(directory_file)), settings_for(Path(directory_file), int(smtp_port))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    children = []
    print("ready", flush=True)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)
            asyncio.run(live(settings, desk, database_url, CommonNow(Path(clock))))
        children.append(child)
        print(child, flush=True)
    for child in children:
        _kill(child)


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


class Nursery:
    """Where processes are born and die."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.alive: list[int] = []
        self.killed = 0

    async def bear(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self.alive.append(int(await self.said()))

    def kill(self, pid: int) -> None:
        """As SIGKILL does: nothing is finished, closed or told."""
        self.alive.remove(pid)
        assert _kill(pid), "it has died by itself"
        self.killed += 1

    async def said(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def nursery(directory_file: Path, smtp_port: int, url: str, clock: Path, log: Path) -> AsyncIterator[Nursery]:
    """One that is ready; what its children write goes to the log."""
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            *map(str, (directory_file, smtp_port, url, clock)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=written,
        )
    one = Nursery(process)
    try:
        assert await one.said() == "ready"
        yield one
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
