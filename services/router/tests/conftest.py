"""The router as tests see it: in memory (the real handlers on a unit of work whose rows are simply there), or with its tables."""

import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import asyncpg
import httpx2
import pytest

from router.app import NAME, SUBSCRIPTIONS, build, classifier_of
from router.domain.classification import Classifier
from router.domain.ticket import Ticket
from router.settings import RouterSettings
from router.store import RoutingUnit
from shared.events import routing, screening
from shared.events.envelope import Event, Received, registry, rfc3339
from shared.messaging.kafka import Kafka
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.load import load_policy
from shared.policy.model import Policy
from shared.runtime.database import Database
from shared.testing.builders import AT, UPSTREAM, ticket_data, wire
from shared.testing.time import FakeNow
from shared.vocabulary import TicketId

NOBODY = "127.0.0.1:9"
KEYS = {
    "reader": ["tickets:read"],
    "writer": ["events:write"],
    "explainer": ["tickets:read", "explain"],
    "teller": ["explain"],
    "operator": ["operate"],
}
"""What may be done with which key."""

EMITTED = registry([*routing.EVENTS, *screening.EVENTS])


class Router:
    """Handles one event after the other, each twice: the second delivery must change nothing."""

    def __init__(self, classifier: Classifier) -> None:
        self.unit = RoutingUnit(None, AT, classifier)

    def handle(
        self,
        event_class: type[Event],
        *,
        ticket_id: str = "T-1",
        source: str = UPSTREAM,
        occurred_at: datetime = AT,
        **data: Any,
    ) -> list[Any]:
        """What is emitted because of the event."""
        fact = event_class.wire_type.rsplit(".", 2)[1]
        if "occurred_at" in event_class.model_fields:
            data |= {"occurred_at": rfc3339(occurred_at), "emitted_at": rfc3339(occurred_at)}
        message = wire(event_class, ticket_data(fact, ticket_id, **data), source=source, occurred_at=occurred_at)
        emitted = self._deliver(message)
        ticket, history = self.ticket(ticket_id), list(self.unit.history)
        again = self._deliver(message)
        assert {one.id for one in again} <= {one.id for one in emitted}
        assert (self.ticket(ticket_id), self.unit.history) == (ticket, history)
        return [EMITTED[one.wire_type].model_validate_json(one.value) for one in emitted]

    def ticket(self, ticket_id: str = "T-1") -> Ticket:
        return self.unit.tickets.get(TicketId(ticket_id))

    def _deliver(self, message: Received[Any]) -> list[Any]:
        before = len(self.unit.emitted)
        self.unit.because_of(message)
        SUBSCRIPTIONS[type(message.event)](message, self.unit)
        return self.unit.emitted[before:]


@pytest.fixture(scope="session")
def policy() -> Policy:
    return load_policy()


@pytest.fixture(scope="session")
def classifier(policy: Policy) -> Classifier:
    return classifier_of(policy)


@pytest.fixture
def router(classifier: Classifier) -> Router:
    return Router(classifier)


class Service:
    """The service with a database of its own; nothing is consumed, batches are handed to it."""

    def __init__(self, database_url: str) -> None:
        self.database = Database(database_url, schema=NAME)
        keys = [
            {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": scopes}
            for name, scopes in KEYS.items()
        ]
        settings = RouterSettings.model_validate(
            {"kafka_bootstrap_servers": NOBODY, "database_url": database_url, "api_keys": keys}
        )
        kafka = Kafka(settings.kafka_bootstrap_servers)
        self.app = build(settings, now=FakeNow(), kafka=kafka, bulk=self.database, urgent=self.database)
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app.api), base_url="http://router")
        classifier = classifier_of(settings.policy())
        self.units = UnitsOfWork(
            self.database,
            lambda connection, at: RoutingUnit(connection, at, classifier),
            now=FakeNow(),
            wake=lambda _: None,
        )

    async def handle(self, *messages: Received[Any]) -> None:
        """One batch in one transaction."""
        async with self.units.begin() as unit:
            await unit.load(messages)
            for message in messages:
                unit.because_of(message)
                SUBSCRIPTIONS[type(message.event)](message, unit)

    async def get(self, path: str, *, key: str = "reader", **query: Any) -> httpx2.Response:
        return await self.client.get(path, params=query, headers={"authorization": f"Bearer {key}"})

    async def post(self, path: str, body: Any = None, *, key: str = "operator") -> httpx2.Response:
        return await self.client.post(path, json=body, headers={"authorization": f"Bearer {key}"})

    async def rows(self, query: str) -> list[asyncpg.Record]:
        async with self.database.connection() as connection:
            found: list[asyncpg.Record] = await connection.fetch(query)
            return found


@pytest.fixture
async def edge() -> AsyncIterator[Service]:
    """The HTTP edge alone: whatever it refuses, it refuses without its database."""
    service = Service(f"postgresql://{NOBODY}/none")
    yield service
    await service.client.aclose()
    await service.database.close()


@pytest.fixture(scope="session")
def template(template_with_tables: Callable[[str], str]) -> str:
    return template_with_tables(NAME)


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    service = Service(database_url)
    yield service
    await service.client.aclose()
    await service.database.close()
