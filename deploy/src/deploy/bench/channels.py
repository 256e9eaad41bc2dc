"""`make bench-channels`: what one destination in trouble takes from the others, with tables, senders and loop as in the service.

Real HTTP servers on loopback, in a process of their own: one that takes everything, one that asks for time, one that never
answers, and a port where nobody listens. The figure is the ratio to the same work without trouble in the same run, as the
trouble begins and while it lasts; of several rounds the best counts, since what else the machine does only takes away.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import yaml
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from deploy.processes import free_port
from deploy.provider import provide_engines
from notifier.app import URGENT_PAUSE, channels, read_edition
from notifier.domain.desk import Desk
from notifier.domain.gate import Gate
from notifier.domain.hours import Hours
from notifier.domain.notification import GO, Audience, Channel, Intent, Notification, Template
from notifier.domain.templates import Templates
from notifier.settings import NotifierSettings
from notifier.store import NotifierUnit
from notifier.timers import Deliveries
from shared.directory import Directory
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.confidentiality import load_confidentiality
from shared.policy.load import load_policy
from shared.runtime.database import Connection, Database
from shared.runtime.migrate import migrate
from shared.runtime.now import machine_now
from shared.vocabulary import Team

SCHEMA = "notifier"
WELL = 50
"""Destinations that take everything."""
SECRET = "whsec_" + "A" * 32
PROBES, PROBE_SECONDS = 100, 0.05
SETTLED_SECONDS = 10.0
"""After which another way or person has been looked for, for each message in trouble."""
DEADLINE_SECONDS = 300
_ANSWERS = {
    b"/well": b"HTTP/1.1 200 x\r\ncontent-length: 2\r\n\r\nok",
    b"/busy": b"HTTP/1.1 429 x\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n",
}
_UNSENT = "select count(*) from notification where state <> 'sent' and id like $1"
_TIMES = "select created_at, sent_at from notification where id like $1 and state = 'sent'"

out = Console(highlight=False, width=130)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Messages that cannot be delivered while the others are."""

    name: str
    path: str | None
    """On the server of the bench; None where nobody listens."""
    messages: int = 1_000
    destinations: int = 1
    channel: Channel = Channel.WEBHOOK


@dataclass(frozen=True, slots=True)
class Figures:
    """What was seen of the destinations that are well: messages a second as the trouble begins and while it lasts, processor
    seconds of the notifier for each of the latter, and seconds that single messages take."""

    first_rate: float
    rate: float
    used: float
    waited: list[float]


NONE = Trouble("none", "/well/other", messages=0)
TROUBLES = (
    Trouble("1,000 calls to one destination hang", "/hang"),
    Trouble("one destination answers 429, Retry-After 30", "/busy"),
    Trouble("at one destination nobody listens", None),
    Trouble(
        "1,000 calls to 1,000 destinations of another channel hang", "/hang", destinations=1_000, channel=Channel.SLACK
    ),
)


def serve(pipe: Pipe) -> None:
    """The other side, until its process is ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                said = next((said for path, said in _ANSWERS.items() if head.startswith(b"POST " + path)), None)
                if said is None:
                    await reader.read()  # until the caller gives up
                else:
                    writer.write(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4_000)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


class Bench:
    """One directory, one database, and one notifier's way out after the other."""

    def __init__(self, url: str, server: str, dead: str) -> None:
        self._url = url
        self._server = server
        self._dead = dead
        self._incidents = itertools.count()

    async def measure(self, trouble: Trouble, count: int) -> Figures:
        """A burst to the destinations that are well, then single messages to them."""
        async with self._notifier(trouble) as units:
            await self._add(units, "trouble", "trouble", trouble.messages, trouble.destinations, trouble.channel)
            await asyncio.sleep(0.5)
            first_rate, _ = await self._burst(units, "first", count)
            await asyncio.sleep(SETTLED_SECONDS if trouble.messages else 0)
            rate, used = await self._burst(units, "second", count)
            for number in range(PROBES):
                await self._add(units, f"probe-{number}", "well", 1, WELL)
                await asyncio.sleep(PROBE_SECONDS)
            await self._wait(units, "probe%")
            waited = sorted((sent - made).total_seconds() for made, sent in await self._times(units, "probe%"))
        return Figures(first_rate, rate, used, waited)

    async def _burst(self, units: UnitsOfWork[NotifierUnit], name: str, count: int) -> tuple[float, float]:
        began, used = machine_now(), time.process_time()
        await self._add(units, name, "well", count, WELL)
        await self._wait(units, f"{name}%")
        used = time.process_time() - used
        ended = max(sent for _, sent in await self._times(units, f"{name}%"))
        return count / (ended - began).total_seconds(), used / count

    @asynccontextmanager
    async def _notifier(self, trouble: Trouble) -> AsyncIterator[UnitsOfWork[NotifierUnit]]:
        database = Database(self._url, schema=SCHEMA)
        async with database.connection() as connection:
            await connection.execute("truncate notification, pace, disabled_destination, outbox")
        policy = load_policy()
        templates = Templates(read_edition(policy))
        desk = Desk(
            policy, templates, Gate(load_confidentiality()), self._directory(trouble), "the list", Hours.of(policy)
        )
        ways_out: list[Deliveries] = []

        def make(connection: Connection, at: datetime) -> NotifierUnit:
            return NotifierUnit(connection, at, desk=desk, wake=lambda _: ways_out[0].wake())

        units = UnitsOfWork(database, make, now=machine_now, wake=lambda _: None)
        ways_out.append(Deliveries(units, channels(self._settings(), machine_now, 32, URGENT_PAUSE), urgent=True))
        running = asyncio.create_task(ways_out[0].run())
        try:
            yield units
        finally:
            await ways_out[0].stop()
            await running
            await database.close()

    def _directory(self, trouble: Trouble) -> Directory:
        well = [(f"well-{n}", Channel.WEBHOOK, f"{self._server}/well/{n}") for n in range(WELL)]
        at = f"{self._server}{trouble.path}" if trouble.path else self._dead
        ill = [(f"trouble-{n}", trouble.channel, f"{at}/{n}") for n in range(trouble.destinations)]
        people = [
            {"id": name, "channels": [{"kind": kind.value, "address": url, "urgent": True, "verified": True}]}
            for name, kind, url in (*well, *ill)
        ]
        teams = {team.value: {"address": "t@x.example", "lead": "l@x.example"} for team in Team}
        return Directory.from_yaml(yaml.safe_dump({"teams": teams, "people": people}, sort_keys=False))

    def _settings(self) -> NotifierSettings:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            teams = {team.value: {"address": "t@x.example", "lead": "l@x.example"} for team in Team}
            file.write(yaml.safe_dump({"teams": teams}))
            file.flush()
            return NotifierSettings(
                kafka_bootstrap_servers="nobody:9",
                database_url=SecretStr(self._url),
                directory_file=Path(file.name),
                smtp_url=SecretStr("smtp://127.0.0.1:9"),
                mail_from="Support <support@storytailor.example>",
                webhook_secrets=(SecretStr(SECRET),),
                trusted_hosts=frozenset({"127.0.0.1"}),
            )

    async def _add(
        self,
        units: UnitsOfWork[NotifierUnit],
        name: str,
        to: str,
        count: int,
        destinations: int,
        channel: Channel = Channel.WEBHOOK,
    ) -> None:
        """Pages that nobody paces, so many, to so many people in turn."""
        async with units.begin() as unit:
            for number in range(count):
                intent = Intent(
                    identity=(name, str(number)),
                    audience=Audience.ON_CALL,
                    recipient=f"{to}-{number % destinations}",
                    template=Template.PAGE,
                    clauses=(),
                    incident_ref=f"SI-{next(self._incidents):08d}",
                    facts={"severity": "critical", "lane": "crisis", "mode": "live", "paged_at": "now"},
                    channel=channel,
                )
                page = Notification.of(f"{name}|{number}", intent, GO, unit.now)
                unit.notifications.add(replace(page, destination=unit.desk.destination(intent)))

    async def _wait(self, units: UnitsOfWork[NotifierUnit], names: str) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                async with units.database.connection() as connection:
                    if await connection.fetchval(_UNSENT, names) == 0:
                        return
                await asyncio.sleep(0.1)

    async def _times(self, units: UnitsOfWork[NotifierUnit], names: str) -> Iterable[tuple[datetime, datetime]]:
        async with units.database.connection() as connection:
            return [(row["created_at"], row["sent_at"]) for row in await connection.fetch(_TIMES, names)]


async def _run(database_url: str, server: str, arguments: argparse.Namespace) -> None:
    await migrate(database_url, schema=SCHEMA, package="notifier")
    bench = Bench(database_url, server, f"http://127.0.0.1:{free_port(None)}")
    out.print(
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {arguments.count:,} messages to {WELL} destinations that"
        " are well"
    )
    found: dict[str, list[Figures]] = {}
    for _ in range(arguments.rounds):
        for trouble in (NONE, *TROUBLES):
            found.setdefault(trouble.name, []).append(await bench.measure(trouble, arguments.count))
    table = Table("trouble", "as it begins", "while it lasts", "processor time each", "single ones, median", "p99")
    usual = _best(found[NONE.name])
    for name, seen in found.items():
        best, waited = _best(seen), sorted(one for run in seen for one in run.waited)
        table.add_row(
            name,
            f"{best.first_rate:,.0f}/s = {best.first_rate / usual.first_rate:.2f}",
            f"{best.rate:,.0f}/s = {best.rate / usual.rate:.2f}",
            f"{best.used * 1000:.1f} ms = {best.used / usual.used:.2f}",
            f"{statistics.median(waited) * 1000:.0f} ms",
            f"{waited[int(len(waited) * 0.99)] * 1000:.0f} ms",
        )
    out.print(table)
    out.print(f"load {os.getloadavg()[0]:.1f} afterwards")


def _best(seen: list[Figures]) -> Figures:
    """The best of each figure."""
    return Figures(
        max(run.first_rate for run in seen), max(run.rate for run in seen), min(run.used for run in seen), waited=[]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000, help="messages to the destinations that are well")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    here, there = multiprocessing.Pipe()
    other_side = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    with tempfile.TemporaryDirectory(prefix="support-bench-") as name:
        database = provide_engines(Path(name) / "engines").database
        try:
            other_side.start()
            database.launch()
            database.wait()
            asyncio.run(_run(database.address, f"http://127.0.0.1:{here.recv()}", arguments))
        finally:
            other_side.kill()
            database.stop()


if __name__ == "__main__":
    main()
