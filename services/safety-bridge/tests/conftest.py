"""The bridge in two forms: with incidents in memory, and as the service on a real database."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from deploy.engines import Engines
from safety_bridge import commands, handlers
from safety_bridge.app import SUBSCRIPTIONS, build
from safety_bridge.domain import deadlines
from safety_bridge.domain.incident import Actor, Incident
from safety_bridge.settings import SafetyBridgeSettings
from safety_bridge.store import Incidents, SafetyUnit
from shared.directory import Directory
from shared.errors import DeadLetterCode
from shared.events.envelope import Event, Outgoing, Received, Record
from shared.events.topics import TOPIC_OF
from shared.messaging.kafka import Kafka
from shared.messaging.outbox import unpack_headers
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.load import load_policy
from shared.policy.model import Policy
from shared.runtime.database import Database
from shared.runtime.keys import MasterKeys, new_key
from shared.runtime.lifecycle import App
from shared.runtime.migrate import migrate
from shared.testing.builders import wire
from shared.testing.time import FakeNow

DEMO_DIRECTORY = Path(__file__).parents[3] / "deploy/src/deploy/directory.yaml"
DEMO = Directory.from_yaml(DEMO_DIRECTORY.read_text())
ROLES = ("primary", "secondary", "lead", "safety_team", "legal_compliance", "last_responder")
STAFF = {f"{role}-{number}": frozenset({role}) for role in ROLES for number in (1, 2)} | {
    "support-1": frozenset({"primary"}),
    "nobody-1": frozenset(),
}
"""Two people of each role."""


class MemoryUnit(SafetyUnit):
    """Reads and writes nothing: what it has in hand is all there is."""

    told_once: set[str]

    async def load(self, messages: Sequence[Received[Event]]) -> None:
        pass

    async def save(self) -> None:
        for _, do in self._later:
            do()
        for key, (tell, *_) in self.noticed._once.items():
            if key not in self.told_once:
                self.told_once.add(key)
                tell()


class Bridge:
    """What a test says and asks. `told` is everything emitted so far."""

    def __init__(self, policy: Policy) -> None:
        self.now = FakeNow()
        self.policy = policy
        self.directory = DEMO
        self.environment: str | None = None
        self.incidents = Incidents()
        self.told_once: set[str] = set()
        self.told: list[Outgoing] = []

    def unit(self) -> MemoryUnit:
        unit = MemoryUnit(
            None,
            self.now(),
            policy=self.policy,
            directory=self.directory,
            staff=STAFF,
            keys=MasterKeys([new_key()]),
            environment=self.environment,
        )
        unit.incidents, unit.told_once = self.incidents, self.told_once
        return unit

    async def hear(self, event_class: type[Event], data: dict[str, Any], **envelope: Any) -> list[Outgoing]:
        """An event is consumed; answers what was emitted."""
        return await self.hear_again(wire(event_class, data, **({"occurred_at": self.now()} | envelope)))

    async def hear_again(self, message: Received[Any]) -> list[Outgoing]:
        """The same message is consumed, as if the inbox did not know it."""
        unit = self.unit()
        unit.because_of(message)
        SUBSCRIPTIONS[type(message.event)](message, unit)
        return await self._done(unit)

    async def cannot_read(self, record: Record, code: DeadLetterCode) -> list[Outgoing]:
        unit = self.unit()
        handlers.on_unreadable(record, code, unit)
        return await self._done(unit)

    async def acknowledge(self, role: str = "support", *, ref: str = "", epoch: int = 0) -> list[Outgoing]:
        """Somebody acknowledges; where not said otherwise, the only incident in its current epoch."""
        return await self.do(commands.acknowledge, f"{role}-1", role, ref=ref, epoch=epoch)

    async def raise_it(self, **what: Any) -> list[Outgoing]:
        return await self.do(commands.raise_, "lead-1", "support", **what)

    async def do(
        self, command: Any, person: str, role: str, *what: Any, ref: str = "", epoch: int = 0, **more: Any
    ) -> list[Outgoing]:
        """A person commands something; where not said otherwise, of the only incident in its current epoch."""
        unit = self.unit()
        known = self.incident(ref)
        command(known, unit, *what, epoch=epoch or known.epoch, actor=Actor(person, role), **more)
        return await self._done(unit)

    async def look(self) -> list[Outgoing]:
        """The timer looks for what is due."""
        unit = self.unit()
        for incident in self.all():
            due_at = deadlines.next_look_at(incident, self.policy)
            if due_at is not None and due_at <= self.now():
                handlers.look(incident, unit)
        return await self._done(unit)

    def all(self) -> list[Incident]:
        return list(self.incidents._by_ref.values())

    def incident(self, ref: str = "") -> Incident:
        """The incident of this reference, or the only one."""
        (found,) = [one for one in self.all() if ref in ("", one.ref)]
        return found

    async def _done(self, unit: MemoryUnit) -> list[Outgoing]:
        await unit.save()
        for outgoing in unit.emitted:
            assert TOPIC_OF[outgoing.wire_type].name == outgoing.topic
        self.told += unit.emitted
        return unit.emitted


NOBODY = "127.0.0.1:9"
LOCAL_KEY = Path(__file__).parents[3] / "deploy/src/deploy/local.key"
KEYS = {
    "support": ["incidents:read", "incidents:act"],
    "reader": ["incidents:read"],
    "stranger": ["tickets:read"],
    "operator": ["operate"],
    "vault": ["incidents:protected"],
}


def as_settings(**values: Any) -> SafetyBridgeSettings:
    keys = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": scopes}
        for name, scopes in KEYS.items()
    ]
    return SafetyBridgeSettings.model_validate(
        {
            "kafka_bootstrap_servers": NOBODY,
            "database_url": NOBODY,
            "directory_file": DEMO_DIRECTORY,
            "master_key_file": LOCAL_KEY,
            "api_keys": keys,
            **values,
        }
    )


class Service:
    """The service on a database of its own; it runs nothing by itself. What leaves is read from its outbox."""

    def __init__(self, settings: SafetyBridgeSettings, policy: Policy) -> None:
        url = settings.database_url.get_secret_value()
        self.url = url
        self.now = FakeNow()
        self.databases = [Database(url, schema="safety_bridge") for _ in range(2)]
        kafka = Kafka(settings.kafka_bootstrap_servers, topic_prefix=settings.topic_prefix)
        self.app: App = build(settings, now=self.now, kafka=kafka, bulk=self.databases[0], urgent=self.databases[1])
        self.app.api.state.started = True
        transport = httpx2.ASGITransport(self.app.api)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://safety-bridge")
        self.keys = settings.keys()
        make = partial(SafetyUnit, policy=policy, directory=DEMO, staff=STAFF, keys=self.keys)
        self.units = UnitsOfWork(self.databases[0], make, now=self.now, wake=lambda lane: None)

    async def hear(self, event_class: type[Event], data: dict[str, Any], **envelope: Any) -> None:
        """An event is consumed, in a transaction of its own."""
        message = wire(event_class, data, **({"occurred_at": self.now()} | envelope))
        async with self.units.begin() as unit:
            await unit.load([message])
            unit.because_of(message)
            SUBSCRIPTIONS[event_class](message, unit)

    async def get(self, path: str, *, key: str = "support", method: str = "GET", **headers: str) -> httpx2.Response:
        return await self.client.request(method, path, headers={"authorization": f"Bearer {key}"} | headers)

    async def post(self, path: str, body: Any, *, key: str = "support") -> httpx2.Response:
        return await self.client.post(path, json=body, headers={"authorization": f"Bearer {key}"})

    async def one(self) -> Any:
        """The only incident."""
        (found,) = (await self.get("/v1/incidents")).json()["incidents"]
        return found

    async def rows(self, query: str) -> list[asyncpg.Record]:
        async with self.databases[0].connection() as connection:
            found: list[asyncpg.Record] = await connection.fetch(query)
            return found

    async def left(self) -> list[str]:
        """The facts in the outbox, in order."""
        rows = await self.rows("select headers from outbox order by seq")
        return [dict(unpack_headers(row["headers"]))["ce_type"].decode().rsplit(".", 2)[1] for row in rows]

    async def close(self) -> None:
        await self.client.aclose()
        for database in self.databases:
            await database.close()


@pytest.fixture(scope="session")
def template(template_with_tables: Callable[[str], str]) -> str:
    return template_with_tables("safety_bridge")


@pytest.fixture(scope="module")
def bridge_url(engines: Engines, template: str) -> Iterator[str]:
    """A database with the tables of the bridge, for the tests of one module."""
    name = f"bridge_{secrets.token_hex(4)}"
    url = engines.database_url.rpartition("/")[0] + f"/{name}"
    asyncio.run(_execute(engines.database_url, f"create database {name} template {template}"))
    yield url
    asyncio.run(_execute(engines.database_url, f"drop database {name} with (force)"))


@pytest.fixture
async def service(bridge_url: str, policy: Policy) -> AsyncIterator[Service]:
    """The service with empty tables, and with Kafka away."""
    service = Service(as_settings(database_url=bridge_url), policy)
    yield service
    await service.rows(
        "truncate incident, incident_alias, incident_key, secret, outbox, feed, feed_number, storm, told_once"
    )
    await service.close()


@pytest.fixture
async def audited(database_url: str, policy: Policy) -> AsyncIterator[Service]:
    """The service on a database of the test's own: the rows of an audit cannot be taken away between tests."""
    await migrate(database_url, schema="safety_bridge", package="safety_bridge")
    service = Service(as_settings(database_url=database_url), policy)
    yield service
    await service.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def policy() -> Policy:
    return load_policy()


@pytest.fixture
def bridge(policy: Policy) -> Bridge:
    return Bridge(policy)


@pytest.fixture(scope="session")
def make_bridge(policy: Policy) -> Callable[[], Bridge]:
    """Bridges for tests that need many."""
    return lambda: Bridge(policy)


@pytest.fixture(scope="session")
def demo() -> Directory:
    return DEMO
