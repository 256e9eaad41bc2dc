"""The bridge killed, doubled and frozen at every call it makes to its database and broker: nothing lost, nothing doubled.

Calls are known by their statement: a first life without trouble finds them all, then each is the last of a life in turn. The
database is real; the broker is a list, so that its calls can be counted as well.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from safety_bridge import commands
from safety_bridge.app import build
from safety_bridge.domain.incident import Actor
from safety_bridge.settings import SafetyBridgeSettings
from safety_bridge.store import SafetyUnit
from safety_bridge.timers import page_who_is_due
from shared.events.agent import SafetyCrisisDetected, SafetyMandatoryReportTriggered
from shared.events.envelope import Record
from shared.events.topics import AGENT
from shared.messaging import inbox
from shared.messaging.kafka import Message, Partition
from shared.messaging.outbox import unpack_headers
from shared.messaging.ticker import Ticker
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.load import load_policy
from shared.policy.model import Policy
from shared.runtime.database import Database
from shared.testing.builders import record
from shared.testing.time import FakeNow

DEMO_DIRECTORY = Path(__file__).parents[3] / "deploy/src/deploy/directory.yaml"
LOCAL_KEY = Path(__file__).parents[3] / "deploy/src/deploy/local.key"
POLICY = load_policy()
AT_WORK = ("consumer-safety-bridge", "pages", "relay-urgent", "relay-bulk")
TABLES = "incident, incident_alias, outbox, inbox, consumer_cursor, dead_letter, told_once"
DEADLINE_SECONDS = 60.0


pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning",  # who is killed closes nothing: the sockets of the dead are left open
    "ignore::ResourceWarning",
)


class Settings(SafetyBridgeSettings):
    def policy(self) -> Policy:
        """Read once for all lives."""
        return POLICY


class Killed(BaseException):
    """The process is no more. Nothing catches it."""


class Fate:
    """What becomes of a life: it dies, or freezes, at the first call of this name. Without one it only remembers the calls."""

    def __init__(self, at: str | None = None, *, freezes: bool = False) -> None:
        self.at = at
        self.freezes = freezes
        self.calls: dict[str, None] = {}
        self.struck = asyncio.Event()
        self.thawed = asyncio.Event()

    @property
    def is_dead(self) -> bool:
        return self.struck.is_set() and not self.freezes

    async def meet(self, call: str) -> None:
        self.calls[call] = None
        if self.is_dead:
            raise Killed
        if call == self.at and not self.struck.is_set():
            self.struck.set()
        if self.struck.is_set():
            if not self.freezes:
                raise Killed
            await self.thawed.wait()


class Connection:
    """A connection whose calls meet their fate before and after."""

    def __init__(self, raw: Any, fate: Fate) -> None:
        self._raw = raw
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._raw, name)
        if name not in ("execute", "executemany", "fetch", "fetchrow", "fetchval"):
            return found

        async def call(statement: str, *arguments: Any) -> Any:
            await self._fate.meet(f"before {statement}")
            answer = await found(statement, *arguments)
            await self._fate.meet(f"after {statement}")
            return answer

        return call


class MortalDatabase(Database):
    def __init__(self, url: str, fate: Fate) -> None:
        super().__init__(url, schema="safety_bridge")
        self._fate = fate

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        async with super().connection() as raw:
            yield Connection(raw, self._fate)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        await self._fate.meet("before begin")
        async with Database.connection(self) as raw:
            async with raw.transaction():
                yield Connection(raw, self._fate)
                await self._fate.meet("before commit")
            await self._fate.meet("after commit")

    async def dedicated(self) -> Any:
        return Connection(await super().dedicated(), self._fate)


class Broker:
    """The agent's topic to read, and everything that was ever published, in order."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self.records = list(records)
        self.published: list[Message] = []

    def seen_by(self, fate: Fate) -> "MortalBroker":
        return MortalBroker(self, fate)


class MortalBroker:
    """The broker as one life sees it: reader and publisher in one."""

    epoch = 1

    def __init__(self, broker: Broker, fate: Fate) -> None:
        self._broker = broker
        self._fate = fate
        self._position = 0

    def reader(self, group: str, topics: Sequence[str], *, max_records: int) -> "MortalBroker":
        return MortalBroker(self._broker, self._fate) if topics == [AGENT.name] else MortalBroker(Broker(), self._fate)

    def publisher(self) -> "MortalBroker":
        return self

    async def start(self) -> None:
        """There is nothing to start."""

    async def stop(self) -> None:
        """Nor to stop."""

    async def poll(self, *, timeout_seconds: float) -> dict[Partition, list[Record]]:
        await asyncio.sleep(0.01)
        await self._fate.meet("poll")
        records = self._broker.records[self._position :]
        self._position += len(records)
        return {(AGENT.name, 0): records} if records else {}

    async def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        return dict.fromkeys(partitions, (0, len(self._broker.records)))

    def assigned(self) -> set[Partition]:
        return {(AGENT.name, 0)}

    def seek(self, partition: Partition, offset: int) -> None:
        self._position = offset

    async def commit(self, offsets: dict[Partition, int]) -> None:
        """A hint only."""

    async def publish(self, messages: Sequence[Message]) -> None:
        await self._fate.meet("before publish")
        self._broker.published += messages
        await self._fate.meet("after publish")


class World:
    """One database, one broker, one time; lives come and go in it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now = FakeNow()
        self.start = self.now()
        self.stage = 0
        self._own: Any = None
        self._tickers: list[Ticker] = []
        self.broker = Broker(
            [
                self._record(SafetyCrisisDetected, {"agent_incident_id": "A-1", "severity": "critical"}, "e-1", 0),
                self._record(SafetyCrisisDetected, {"agent_incident_id": "A-1", "severity": "critical"}, "e-1", 1),
                self._record(SafetyMandatoryReportTriggered, {"agent_incident_id": "A-2"}, "e-2", 2),
                Record(AGENT.name, 0, 3, self.now(), b"A-9", b"\xff not JSON", ()),
                self._record(SafetyCrisisDetected, {"agent_incident_id": "A-1", "severity": "low"}, "e-1", 4),
            ]
        )

    def _record(self, event_class: Any, data: dict[str, Any], event_id: str, offset: int) -> Record:
        return record(event_class, data, event_id=event_id, source="/agent", at=self.now(), offset=offset)

    @asynccontextmanager
    async def life(self, fate: Fate) -> AsyncIterator[UnitsOfWork[SafetyUnit]]:
        """The bridge at work as it is wired, until it is killed or the test has seen enough. Answers its way to act."""
        databases = [MortalDatabase(self.url, fate) for _ in range(2)]
        broker: Any = self.broker.seen_by(fate)
        settings = Settings.model_validate(
            {
                "kafka_bootstrap_servers": "nobody:9",
                "database_url": self.url,
                "directory_file": DEMO_DIRECTORY,
                "master_key_file": LOCAL_KEY,
            }
        )
        app = build(settings, now=self.now, kafka=broker, bulk=databases[0], urgent=databases[1])
        parts = {part.name: part for part in app.parts if part.name in AT_WORK}
        assert set(parts) == set(AT_WORK)
        tasks = [asyncio.create_task(part.run()) for part in parts.values()]
        self._tickers += [part for part in parts.values() if isinstance(part, Ticker)]
        consumer: Any = parts["consumer-safety-bridge"]
        try:
            yield consumer.units
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for database in databases:
                await database.close()

    async def value(self, query: str, *arguments: Any) -> Any:
        if self._own is None:
            self._own = await asyncpg.connect(self.url, server_settings={"search_path": "safety_bridge"})
        return await self._own.fetchval(query, *arguments)

    async def play(self, fate: Fate, *, until: int = 4) -> None:
        """Go on with the day where it stands, until it is over or the life meets its fate: signals are read; two minutes later
        everybody is paged again; somebody takes the crisis; ten minutes later the others are paged again."""
        async with self.life(fate) as units:
            await self.go_on(units, fate, until=until)

    async def go_on(self, units: UnitsOfWork[SafetyUnit], fate: Fate, *, until: int = 4) -> None:
        while self.stage < until:
            self.now.set(self.start + timedelta(minutes=(0, 2, 2, 12)[self.stage]))
            act = asyncio.create_task(self._take(units) if self.stage == 2 else asyncio.sleep(0))
            await self._rests(fate, act)
            if fate.struck.is_set():
                act.cancel()
                return
            self.stage += 1

    async def _rests(self, fate: Fate, act: "asyncio.Task[None]") -> None:
        """Everything is read, paged and published, or the life has met its fate."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not fate.struck.is_set():
                if act.done() and await self.value(_RESTS, AGENT.name, len(self.broker.records), self.now()):
                    return
                for ticker in self._tickers:
                    ticker.wake()
                await asyncio.sleep(0.02)

    async def _take(self, units: UnitsOfWork[SafetyUnit]) -> None:
        """Somebody takes the crisis; whoever got no answer asks again in the next life."""
        ref = await self.value("select ref from incident_alias where name = 'A-1' and kind = 'agent'")
        with suppress(Killed):
            async with units.begin() as unit:
                known = await unit.incidents.load_one(unit.connection, ref)
                assert known is not None
                commands.acknowledge(known, unit, epoch=known.epoch, actor=Actor("on-call-1", "primary"))

    async def end_sessions(self) -> None:
        """What the server does with a process that is silent in the middle of a transaction, only sooner."""
        await self.value(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )

    async def clear(self) -> None:
        await self.value(f"truncate {TABLES} cascade")
        await self._own.close()
        self._own = None

    def outcome(self) -> tuple[Counter[str], Counter[tuple[Any, ...]]]:
        """How often each fact was told, and how many pages of each reason, epoch, step and repeat there were.

        Repetitions of one and the same message are left out, and must be the same to the byte.
        """
        told: dict[tuple[bytes, bytes], Message] = {}
        for message in self.broker.published:
            headers = dict(message.headers)
            if message.topic.endswith(".dlq"):
                continue
            known = told.setdefault((headers["ce_source"], headers["ce_id"]), message)
            assert known.value == message.value
        facts: Counter[str] = Counter()
        pages: Counter[tuple[Any, ...]] = Counter()
        for message in told.values():
            fact = dict(message.headers)["ce_type"].decode().rsplit(".", 2)[1]
            facts[fact] += 1
            if fact == "page_requested":
                said = json.loads(message.value)
                pages[said["reason_code"], said["epoch"], said["step"], said["repeat"]] += 1
        return facts, pages


_RESTS = """
select (select max(next_offset) from consumer_cursor where topic = $1) = $2
   and not exists (select from outbox) and not exists (select from incident where look_at <= $3)
"""


@pytest.fixture
async def world(bridge_url: str) -> AsyncIterator[World]:
    world = World(bridge_url)
    database = Database(bridge_url, schema="safety_bridge")
    await inbox.keep_days(database, world.now().date())
    await database.close()
    await world.clear()
    yield world
    await world.clear()


EVERY = pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.long)])
"""All calls take minutes; `make test` tries some, `make test-long` each of them."""


async def quiet_day(world: World) -> tuple[list[str], Any]:
    """The calls of a day without trouble, and its outcome."""
    fate = Fate()
    await world.play(fate)
    outcome = world.outcome()
    facts, pages = outcome
    assert (facts["incident_opened"], facts["incident_acknowledged"], facts["created"]) == (3, 1, 3)
    assert set(pages.values()) <= {1, 2, 3}
    await world.clear()
    return list(fate.calls), outcome


@EVERY
async def test_killed_at_every_call_in_turn_it_ends_as_if_nothing_had_happened(world: World, every: int) -> None:
    """SN-33, invariants 1, 2, 19, 26, 28: after two deaths running another process goes on; every incident, ticket and page
    once."""
    calls, expected = await quiet_day(world)
    assert len(calls) > 20
    for call in calls[::every]:
        troubled = World(world.url)
        fate = Fate(call)
        await troubled.play(fate)
        assert fate.struck.is_set(), call
        await troubled.play(Fate(call))  # at the same call, where the rest of the day has it
        await troubled.play(Fate())
        assert troubled.outcome() == expected, call
        assert await troubled.value("select count(*) from incident") == 3, call
        await troubled.clear()


async def test_two_that_both_think_they_are_the_one_end_as_one(world: World) -> None:
    """Invariants 2 and 26: the cursor lets one through, rows are locked, ids are the same."""
    _, expected = await quiet_day(world)
    twin = World(world.url)
    other = Fate()
    async with twin.life(other):
        await twin.play(Fate())
    assert twin.outcome() == expected
    await twin.clear()


@EVERY
async def test_a_zombie_at_every_call_in_turn_sends_nothing_stale(world: World, every: int) -> None:
    """SN-32: frozen with old state in its hands until all is done and the crisis taken; awake again it adds not one message."""
    calls, expected = await quiet_day(world)
    for call in calls[::every]:
        haunted = World(world.url)
        frozen = Fate(call, freezes=True)
        async with haunted.life(frozen) as units:
            await haunted.go_on(units, frozen)
            assert frozen.struck.is_set(), call
            await haunted.end_sessions()
            await haunted.play(Fate())
            assert haunted.outcome() == expected, call
            frozen.thawed.set()
            await asyncio.sleep(0.3)
            assert haunted.outcome() == expected, call
        assert await haunted.value("select count(*) from outbox") == 0, call
        await haunted.clear()


async def test_after_an_outage_each_incident_is_paged_once_whichever_process_dies_on_the_way(world: World) -> None:
    """SN-34, invariant 28: 47 minutes away, and killed again right before and right after the pages leave."""
    for call in (None, "before commit", "after commit", "before publish", "after publish"):
        back = World(world.url)
        await back.play(Fate(), until=1)
        before = back.outcome()[1]
        back.start += timedelta(minutes=47)
        for fate in (Fate(call), Fate()):
            back.stage = 0
            await back.play(fate, until=1)
        since = back.outcome()[1] - before
        assert sum(count for (reason, *_), count in since.items() if reason == "not_acknowledged") == 3, call
        await back.clear()


async def test_an_acknowledgement_and_a_page_at_the_same_moment_have_one_outcome(service: Any) -> None:
    """SN-32, invariant 19: by the lock of the row either the page is out before, or there is none."""
    for number in range(20):
        await service.hear(SafetyCrisisDetected, {"agent_incident_id": f"A-{number}", "severity": "critical"})
    service.now.advance(minutes=2)

    async def take(ref: str) -> None:
        async with service.units.begin() as unit:
            known = await unit.incidents.load_one(unit.connection, ref)
            commands.acknowledge(known, unit, epoch=1, actor=Actor("support-1", "primary"))

    refs = [row["ref"] for row in await service.rows("select ref from incident order by ref")]
    looks = [page_who_is_due(service.units) for _ in range(2)]
    await asyncio.gather(looks[0], *(take(ref) for ref in refs[:10]), looks[1], *(take(ref) for ref in refs[10:]))
    service.now.advance(minutes=10)
    await page_who_is_due(service.units)
    rows = await service.rows("select seq, headers, payload from outbox order by seq")
    taken: set[str] = set()
    for row in rows:
        fact = dict(unpack_headers(row["headers"]))["ce_type"].decode().rsplit(".", 2)[1]
        if fact == "incident_acknowledged":
            taken.add(json.loads(row["payload"])["incident_ref"])
        elif fact == "page_requested":
            assert json.loads(row["payload"])["incident_ref"] not in taken
    assert taken == set(refs)
