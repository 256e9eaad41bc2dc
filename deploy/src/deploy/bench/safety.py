"""`make bench-safety`: how long a crisis takes from its post to the mail server, when everything else is in its way.

First with a great many ticket events waiting in every service, then over a restart of the broker, with the database away and with
Kafka away at the fast lane; then ten thousand incidents in a minute. Read figures beside the load that is printed with them.
"""

import argparse
import asyncio
import math
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.bench.__main__ import Bench, out, preload, running_engines
from deploy.catcher import MailCatcher
from deploy.engines import Engine, Engines
from deploy.given import GivenDatabase, GivenKafka
from deploy.stack import Stack
from shared.messaging.kafka import Kafka

GOAL_SECONDS = 0.3
PAUSE_SECONDS = 0.25
AWAY_SECONDS = 5.0
LATE_SECONDS = 120.0
PEOPLE_SLACK_SECONDS = 70.0
"""After the storm: long enough for its last roll-up."""
SIGNALS_A_POST = 20
FEW = 4
"""So few that all of them are paged one by one, also if they come at once."""
_FORGET_PACE = "delete from notifier.pace"
_REFERENCE = re.compile(rb"^Subject: .*\[(SI-[0-9A-Z]{8})\]", re.MULTILINE)


class TimedCatcher(MailCatcher):
    """Knows when the first mail about each incident came and how many each person got, and keeps no mail: it is no bottleneck."""

    def __init__(self) -> None:
        super().__init__()
        self.first_at: dict[str, float] = {}
        self.of_person: Counter[str] = Counter()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        content = envelope.content
        if isinstance(content, bytes) and b"Action needed now" in content:
            self.of_person.update(envelope.rcpt_tos)
            if found := _REFERENCE.search(content):
                self.first_at.setdefault(found.group(1).decode(), time.monotonic())
        return "250 taken"


class Probe:
    """Posts crises and sees their pages arrive. Each is to be paged by itself, so the pace of the people is forgotten before."""

    def __init__(self, stack: Stack, catcher: TimedCatcher, database_url: str) -> None:
        self._stack = stack
        self._catcher = catcher
        self._database_url = database_url

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(headers={"authorization": f"Bearer {self._stack.api_key}"}, timeout=60)

    async def one_by_one(self, count: int) -> list[float]:
        """Seconds from post to mail of so many crises, each acknowledged before the next one comes."""
        delays = []
        async with self.client() as client:
            for _ in range(count):
                known = set(self._catcher.first_at)
                await self.forget_pace()
                at = await self.post(client)
                (reference,) = await self._arrived(known, 1)
                delays.append(self._catcher.first_at[reference] - at)
                await self._acknowledge(client, reference)
                await asyncio.sleep(PAUSE_SECONDS)
        return sorted(delays)

    async def while_away(self, engine: Engine) -> tuple[list[float], list[float]]:
        """With an engine killed: seconds to each 202, and from the engine's return to each mail."""
        known = set(self._catcher.first_at)
        await self.forget_pace()
        await asyncio.to_thread(engine.kill)
        accepted = []
        async with self.client() as client:
            for _ in range(FEW):
                began = time.monotonic()
                await self.post(client)
                accepted.append(time.monotonic() - began)
        await asyncio.sleep(AWAY_SECONDS)
        engine.launch()
        await asyncio.to_thread(engine.wait)
        back_at = time.monotonic()
        references = await self._arrived(known, FEW)
        async with self.client() as client:
            for reference in references:
                await self._acknowledge(client, reference)
        return accepted, sorted(max(0.0, self._catcher.first_at[one] - back_at) for one in references)

    async def post(
        self, client: httpx2.AsyncClient, kind: str = "crisis_detected", agent_incident_id: str | None = None
    ) -> float:
        """When it was posted; it has been accepted by then."""
        at = time.monotonic()
        body = signal(agent_incident_id or f"bench-{secrets.token_hex(6)}", kind)
        answer = await client.post(self._stack.url("intake") + "/v1/safety/events", json=body)
        answer.raise_for_status()
        return at

    async def delay_of(self, client: httpx2.AsyncClient, agent_incident_id: str, at: float) -> float:
        """Seconds from `at` to the first mail about the agent's incident."""
        url = f"{self._stack.url('safety-bridge')}/v1/incidents?agent_incident_id={agent_incident_id}"
        async with asyncio.timeout(LATE_SECONDS):
            while not (found := (await client.get(url)).json()["incidents"]):  # noqa: ASYNC110 - no bell
                await asyncio.sleep(0.1)
            while found[0]["incident_ref"] not in self._catcher.first_at:  # noqa: ASYNC110 - no bell
                await asyncio.sleep(0.02)
        return self._catcher.first_at[found[0]["incident_ref"]] - at

    async def forget_pace(self) -> None:
        connection = await asyncpg.connect(self._database_url)
        await connection.execute(_FORGET_PACE)
        await connection.close()

    async def _arrived(self, known: set[str], count: int) -> set[str]:
        """The references of so many incidents that were not known before."""
        async with asyncio.timeout(LATE_SECONDS):
            while len(new := set(self._catcher.first_at) - known) < count:  # noqa: ASYNC110 - no bell
                await asyncio.sleep(0.005)
        return new

    async def _acknowledge(self, client: httpx2.AsyncClient, reference: str) -> None:
        path = f"{self._stack.url('safety-bridge')}/v1/incidents/{reference}"
        epoch = (await client.get(path)).json()["epoch"]
        actor = {"id": "on-call-1", "role": "primary"}
        await client.post(f"{path}/acknowledge", json={"epoch": epoch, "actor": actor})


def signal(agent_incident_id: str, kind: str) -> dict[str, Any]:
    severity = "critical" if kind == "crisis_detected" else "high"
    return {
        "specversion": "1.0",
        "id": agent_incident_id,
        "source": "/child-safety-agent",
        "type": f"com.storytailor.safety.{kind}.v1",
        "data": {"agent_incident_id": agent_incident_id, "severity": severity},
    }


async def behind_a_backlog(bench: Bench, count: int, signals: int) -> None:
    """The crises come while every service has the backlog before it; then the engines fail one after the other."""
    kafka, database_url = await bench.place()
    await preload(kafka, count)
    with _stack(bench, kafka, database_url) as (stack, catcher):
        probe = Probe(stack, catcher, database_url)
        delays = await probe.one_by_one(signals)
        left = await _left(kafka, count)
        kept = "kept" if percentile(delays, 0.99) < GOAL_SECONDS else "MISSED"
        goal = f"goal p99 < {GOAL_SECONDS * 1000:.0f} ms {kept}"
        bench.report(f"crisis to mail server behind {count:,} tickets", told(delays), f"{goal}; {left}")
        posting = asyncio.create_task(probe.one_by_one(signals // 4))
        await asyncio.sleep(2)
        began = time.monotonic()
        await asyncio.to_thread(bench.engines.restart_kafka)
        away = f"the broker was away for {time.monotonic() - began:.1f} s"
        bench.report("the same over a restart of the broker", told(await posting), away)
        for name, engine in (("Kafka", bench.engines.kafka), ("the database", bench.engines.database)):
            accepted, delays = await probe.while_away(engine)
            bench.report(
                f"with {name} away", f"202 within {max(accepted):.2f} s", f"paged after its return: {told(delays)}"
            )


async def _left(kafka: Kafka, count: int) -> str:
    """How much of the backlog was still waiting, by what the router had published."""
    async with kafka.watcher(["support.routing.v1"]) as routed:
        return f"{max(0, count - await routed.length()):,} tickets still to be routed"


async def storm(bench: Bench, incidents: int, seconds: float) -> None:
    """So many distinct critical incidents within so long, and a mandatory report among them."""
    kafka, database_url = await bench.place()
    with _stack(bench, kafka, database_url) as (stack, catcher):
        probe = Probe(stack, catcher, database_url)
        report, reported_at = f"bench-{secrets.token_hex(6)}", 0.0
        async with probe.client() as client:
            began = time.monotonic()
            for number in range(0, incidents, SIGNALS_A_POST):
                await asyncio.gather(*(probe.post(client) for _ in range(SIGNALS_A_POST)))
                if not reported_at and number >= incidents // 2:
                    reported_at = await probe.post(client, "mandatory_report_triggered", report)
                await asyncio.sleep(max(0.0, began + number / incidents * seconds - time.monotonic()))
            took = time.monotonic() - began
            delay = await probe.delay_of(client, report, reported_at)
        await asyncio.sleep(PEOPLE_SLACK_SECONDS)
        opened = await _count(database_url, "select count(*) from safety_bridge.incident")
        forgotten = await _count(
            database_url,
            "select count(*) from safety_bridge.incident i where not exists "
            "(select 1 from notifier.notification n where n.incident_ref = i.ref)",
        )
        minutes = (time.monotonic() - began) / 60
        most = max(catcher.of_person.values())
        bench.report(
            f"storm: {incidents:,} signals in {took:.0f} s", f"{opened:,} incidents", f"{forgotten} never paged for"
        )
        bench.report("mails to the person who got most", str(most), f"in {minutes:.1f} min, on every lane")
        bench.report("the report among them", f"paged after {delay:.1f} s", "goal 30 s, on its own lane")
        for process in stack.processes:
            bench.report(f"memory of {process.name}", f"{_peak_megabytes(process.pid)} MB", "peak resident")


async def _count(database_url: str, query: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        found: int = await connection.fetchval(query)
        return found
    finally:
        await connection.close()


def _peak_megabytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024


def percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[math.ceil(len(seconds) * share) - 1]


def told(seconds: list[float]) -> str:
    p50, p99, most = (percentile(seconds, share) for share in (0.5, 0.99, 1.0))
    load = f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
    return f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, most {most * 1000:.0f} ms (n={len(seconds)}, {load})"


@contextmanager
def _stack(bench: Bench, kafka: Kafka, database_url: str) -> Iterator[tuple[Stack, TimedCatcher]]:
    given = Engines(GivenKafka(kafka.bootstrap_servers), GivenDatabase(database_url))
    directory = bench.directory / kafka.topic_prefix.rstrip(".")
    stack = Stack(directory, given, environment={"SUPPORT_TOPIC_PREFIX": kafka.topic_prefix})
    stack.catcher = catcher = TimedCatcher()
    try:
        stack.start(300.0)
        yield stack, catcher
    finally:
        stack.stop()


async def _run(engines: Engines, directory: Path, arguments: argparse.Namespace) -> None:
    bench = Bench(engines, directory)
    if "backlog" in arguments.only:
        await behind_a_backlog(bench, arguments.count, arguments.signals)
    if "storm" in arguments.only:
        await storm(bench, arguments.incidents, arguments.seconds)
    for what, figure, beside in bench.rows:
        out.print(f"{what:50} {figure:60} {beside}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-safety", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=["backlog", "storm"], default=["backlog", "storm"])
    parser.add_argument("--count", type=int, default=200_000, help="ticket events that wait")
    parser.add_argument("--signals", type=int, default=100, help="crises behind them")
    parser.add_argument("--incidents", type=int, default=10_000, help="of the storm")
    parser.add_argument("--seconds", type=float, default=60.0, help="within which the storm's signals are posted")
    arguments = parser.parse_args()
    with running_engines() as (engines, directory):
        asyncio.run(_run(engines, directory, arguments))


if __name__ == "__main__":
    main()
