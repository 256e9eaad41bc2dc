"""Intake as a test sees it: its HTTP side, its tables, and time that moves by hand. The database is real."""

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from deploy.engines import Engines
from intake.app import NAME, build
from intake.settings import IntakeSettings
from shared.messaging.kafka import Kafka
from shared.messaging.outbox import unpack_headers
from shared.runtime.database import Database
from shared.runtime.keys import MasterKeys
from shared.runtime.lifecycle import App
from shared.testing.builders import ticket_data
from shared.testing.time import FakeNow

NOBODY = "127.0.0.1:9"
LOCAL_KEY = Path(__file__).parents[3] / "deploy/src/deploy/local.key"
NOWHERE = f"postgresql://nobody@{NOBODY}/nothing"
KEYS = {
    "all": {"scopes": ["events:write", "safety:write"]},
    "reader": {"scopes": ["tickets:read"]},
    "helpdesk": {"scopes": ["events:write", "safety:write"], "sources": ["/helpdesk"]},
}


def as_settings(**values: Any) -> IntakeSettings:
    keys = [{"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **key} for name, key in KEYS.items()]
    return IntakeSettings.model_validate(
        {
            "kafka_bootstrap_servers": NOBODY,
            "database_url": f"postgresql://{NOBODY}/x",
            "api_keys": keys,
            "master_key_file": LOCAL_KEY,
            **values,
        }
    )


@dataclass
class Left:
    """An event on its way to a topic."""

    topic: str
    key: str
    headers: dict[str, str]
    data: Any


class Intake:
    """The service with its own database; what leaves is read from its outbox."""

    def __init__(self, settings: IntakeSettings, *, kafka: Kafka | None = None) -> None:
        self.now = FakeNow()
        self.url = settings.database_url.get_secret_value()
        self.databases = [Database(self.url, schema=NAME) for _ in range(2)]
        self.app: App = build(
            settings,
            now=self.now,
            kafka=kafka or Kafka(settings.kafka_bootstrap_servers),
            bulk=self.databases[0],
            urgent=self.databases[1],
        )
        self.app.api.state.started = True
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app.api), base_url="http://intake")

    @staticmethod
    def event(fact: str = "created", event_id: str = "e-1", time: str | None = None, **data: Any) -> dict[str, Any]:
        """A CloudEvent about a ticket, in structured mode."""
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": "/helpdesk",
            "type": f"com.storytailor.support.ticket.{fact}.v1",
            "data": ticket_data(fact, **data),
        }
        return event if time is None else {**event, "time": time}

    async def post(
        self, path: str, body: Any, content_type: str = "application/cloudevents+json", *, key: str = "all", **more: Any
    ) -> httpx2.Response:
        headers = {"authorization": f"Bearer {key}", "content-type": content_type} | more.pop("headers", {})
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(path, content=content, headers=headers, **more)

    async def left(self) -> list[Left]:
        """Everything in the outbox, in order."""
        rows = await self.rows("select topic, key, headers, payload from outbox order by seq")
        return [
            Left(
                row["topic"],
                row["key"].decode(),
                {name: value.decode() for name, value in unpack_headers(row["headers"])},
                json.loads(row["payload"]),
            )
            for row in rows
        ]

    async def unsealed(self, mark: Left) -> tuple[bytes, bytes]:
        """Headers and body that a mark carries for the bridge alone."""
        sealed = base64.b64decode(mark.data["sealed"])
        packed = json.loads(await MasterKeys.from_file(LOCAL_KEY).unwrap(sealed, mark.headers["ce_id"]))
        return base64.b64decode(packed["headers"]), base64.b64decode(packed["value"])

    async def rows(self, query: str) -> list[asyncpg.Record]:
        async with self.databases[0].connection() as connection:
            found: list[asyncpg.Record] = await connection.fetch(query)
            return found

    async def close(self) -> None:
        await self.client.aclose()
        for database in self.databases:
            await database.close()


@pytest.fixture(scope="session")
def template(template_with_tables: Callable[[str], str]) -> str:
    return template_with_tables(NAME)


@pytest.fixture(scope="module")
def intake_url(engines: Engines, template: str) -> Iterator[str]:
    """A database with the tables of intake, for the tests of one module."""
    name = f"intake_{secrets.token_hex(4)}"
    url = engines.database_url.rpartition("/")[0] + f"/{name}"
    asyncio.run(_execute(engines.database_url, f"create database {name} template {template}"))
    yield url
    asyncio.run(_execute(engines.database_url, f"drop database {name} with (force)"))


@pytest.fixture
async def intake(intake_url: str) -> AsyncIterator[Intake]:
    """Intake with empty tables, and with Kafka away."""
    service = Intake(as_settings(database_url=intake_url))
    yield service
    await service.close()
    await _execute(intake_url, "truncate intake.accepted, intake.outbox")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def limited(intake_url: str) -> AsyncIterator[Intake]:
    """Intake with a limit of two events a second."""
    service = Intake(as_settings(database_url=intake_url, intake_events_per_second=2))
    yield service
    await service.close()
    await _execute(intake_url, "truncate intake.accepted, intake.outbox")


@pytest.fixture
async def replica(intake: Intake) -> AsyncIterator[Intake]:
    """A second intake on the same database."""
    service = Intake(as_settings(database_url=intake.url))
    yield service
    await service.close()


@pytest.fixture
async def away() -> AsyncIterator[Intake]:
    """Intake with neither a database nor a Kafka."""
    service = Intake(as_settings(database_url=NOWHERE))
    yield service
    await service.close()


Make = Callable[[Kafka], Awaitable[Intake]]


@pytest.fixture
async def intake_on(intake: Intake) -> AsyncIterator[Make]:
    """Makes an intake with this Kafka, on an empty database."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(kafka: Kafka) -> Intake:
            service = Intake(as_settings(database_url=intake.url), kafka=kafka)
            stack.push_async_callback(service.close)
            return service

        yield make


@pytest.fixture
async def away_on() -> AsyncIterator[Make]:
    """Makes an intake with this Kafka, and with the database away."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(kafka: Kafka) -> Intake:
            service = Intake(as_settings(database_url=NOWHERE), kafka=kafka)
            stack.push_async_callback(service.close)
            return service

        yield make


@pytest.fixture
def settings() -> Any:
    return as_settings
