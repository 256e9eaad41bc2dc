"""A log of events about some tickets, and what quality makes of it: in memory, or in its tables."""

import random
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Self
from zoneinfo import ZoneInfo

import pytest

from shared.events import sla
from shared.events.envelope import Event, Received
from shared.events.quality import QualityAssessed
from shared.events.routing import RoutingAssigned, RoutingDeescalated, RoutingEscalated
from shared.events.sla import SlaEvent
from shared.events.ticket import (
    TicketClosed,
    TicketCreated,
    TicketMessageAdded,
    TicketRated,
    TicketReopened,
    TicketResolved,
    TicketReviewed,
    TicketStatusChanged,
)
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.business_time import Calendar
from shared.policy.model import Policy
from shared.runtime.database import Database
from shared.testing.builders import AT, UPSTREAM, ticket_data, wire
from shared.testing.time import FakeNow
from sla_monitor.domain.quality import Figure, Standards
from sla_monitor.quality.app import SUBSCRIPTIONS
from sla_monitor.quality.handlers import concerns, settle
from sla_monitor.quality.store import QualityUnit, Selection, Summaries, Summary

BERLIN = ZoneInfo("Europe/Berlin")
AGENT = {"kind": "agent", "id": "a-1"}
CUSTOMER = {"kind": "customer", "id": "u-1"}
ROUTED: dict[str, Any] = {
    "occurred_at": AT.isoformat(),
    "emitted_at": AT.isoformat(),
    "created_at": AT.isoformat(),
    "clauses": ["R2"],
    "policy_version": "test",
    "team": "customer_service",
    "owning_team": "technical_support",
    "category": "technical",
    "subcategory": "api_errors",
    "confidence": 1.0,
    "classifier_version": "test",
    "tier": "premium",
}
CLOCK: dict[str, Any] = {
    "occurred_at": AT.isoformat(),
    "emitted_at": AT.isoformat(),
    "started_at": AT.isoformat(),
    "due_at": AT.isoformat(),
    "clauses": ["L1"],
    "policy_version": "test",
    "cycle": 1,
    "target": {"amount": 1, "unit": "hours"},
    "elapsed_share": 1.0,
    "calendar": "test",
}


def at(when: str) -> datetime:
    """Local to Berlin unless it carries an offset."""
    instant = datetime.fromisoformat(when)
    return (instant if instant.tzinfo else instant.replace(tzinfo=BERLIN)).astimezone(UTC)


class Log:
    """What happened, told in a few words. The id of an event is its fact, ticket and time, with a + for each one before."""

    def __init__(self) -> None:
        self.messages: list[Received[Any]] = []

    def add(
        self, event_class: type[Event], when: str | datetime, ticket: str, *, source: str = UPSTREAM, **data: Any
    ) -> Self:
        fact = event_class.wire_type.rsplit(".", 2)[1]
        occurred_at = at(when) if isinstance(when, str) else when
        if event_class.wire_type.split(".")[3] == "ticket":
            data = ticket_data(fact, ticket, **data)
        event_id = f"{fact}|{ticket}|{when}"
        event_id += "+" * sum(known.id.rstrip("+") == event_id for known in self.messages)
        message = wire(event_class, {"ticket_id": ticket} | data, id=event_id, source=source, occurred_at=occurred_at)
        self.messages.append(message)
        return self

    def created(self, when: str | datetime, ticket: str = "T-1", *, requester: str | None = None, **data: Any) -> Self:
        return self.add(TicketCreated, when, ticket, requester={"id": requester or f"u-{ticket}"}, **data)

    def routed(
        self, when: str | datetime, ticket: str = "T-1", *, number: int = 1, level: int = 1, **data: Any
    ) -> Self:
        before = f"{ticket}-{number - 1}" if number > 1 else None
        decision = {"decision_id": f"{ticket}-{number}", "replaces": before, "level": level}
        return self.add(RoutingAssigned, when, ticket, **(ROUTED | decision | data))

    def moved(
        self, when: str | datetime, ticket: str = "T-1", *, number: int, levels: tuple[int, int], **data: Any
    ) -> Self:
        """A rise by a criterion, or without one a fall."""
        decision = {"decision_id": f"{ticket}-{number}", "replaces": f"{ticket}-{number - 1}", "from_team": "content"}
        decision |= {"from_level": levels[0], "to_level": levels[1], "origin": "person"}
        event_class = RoutingEscalated if "criterion" in data else RoutingDeescalated
        return self.add(event_class, when, ticket, **(ROUTED | decision | data))

    def replied(self, when: str | datetime, ticket: str = "T-1", **data: Any) -> Self:
        return self.add(TicketMessageAdded, when, ticket, **({"author": AGENT, "public": True} | data))

    def wrote(self, when: str | datetime, ticket: str = "T-1", **data: Any) -> Self:
        return self.add(TicketMessageAdded, when, ticket, author=CUSTOMER, public=True, **data)

    def waits(self, when: str | datetime, ticket: str = "T-1", status: str = "pending_customer") -> Self:
        return self.add(TicketStatusChanged, when, ticket, status=status)

    def resolved(self, when: str | datetime, ticket: str = "T-1", **data: Any) -> Self:
        return self.add(TicketResolved, when, ticket, **data)

    def reopened(self, when: str | datetime, ticket: str = "T-1") -> Self:
        return self.add(TicketReopened, when, ticket)

    def closed(self, when: str | datetime, ticket: str = "T-1", **data: Any) -> Self:
        return self.add(TicketClosed, when, ticket, **data)

    def rated(self, when: str | datetime, score: int, ticket: str = "T-1") -> Self:
        return self.add(TicketRated, when, ticket, score=score)

    def reviewed(self, when: str | datetime, check: str, verdict: str, ticket: str = "T-1") -> Self:
        return self.add(TicketReviewed, when, ticket, check=check, verdict=verdict)

    def clock(
        self, turn: str, when: str | datetime, ticket: str = "T-1", *, milestone: str = "initial_response", **data: Any
    ) -> Self:
        event_class = next(event for event in sla.EVENTS if event.wire_type.endswith(f".{turn}.v1"))
        assert issubclass(event_class, SlaEvent)
        state = {"breached": "breached", "cancelled": "cancelled"}.get(turn, "met")
        return self.add(event_class, when, ticket, **(CLOCK | {"milestone": milestone, "state": state} | data))


class Ledger(Log):
    """The log as quality judges it, in memory: told in one batch, each event twice, or in any other order."""

    def __init__(self, standards: Standards) -> None:
        super().__init__()
        self.standards = standards

    def unit(self, messages: Iterable[Received[Any]] | None = None) -> QualityUnit:
        unit = QualityUnit(None, AT, self.standards, settle)
        self.deliver(unit, messages)
        return unit

    def deliver(self, unit: QualityUnit, messages: Iterable[Received[Any]] | None = None) -> None:
        """One batch on top of what the unit of work knows."""
        for message in self.messages * 2 if messages is None else messages:
            deliver(message, unit)
        unit.because_of(None)
        assert len(list(settle(unit))) == len(unit.records.figures)

    def figure(self, ticket: str = "T-1") -> Figure | None:
        return self.unit().records.figures[ticket]

    def told(self, messages: Iterable[Received[Any]] | None = None) -> list[QualityAssessed]:
        return self.read(self.unit(messages))

    def read(self, unit: QualityUnit) -> list[QualityAssessed]:
        """What leaves with a unit of work."""
        return [QualityAssessed.model_validate_json(one.value) for one in unit.emitted]

    def verdicts(self, ticket: str = "T-1") -> dict[str, str]:
        """The checks as told last about a ticket."""
        assessed = [one for one in self.told() if one.ticket_id == ticket][-1]
        return {one.check.value: one.verdict.value for one in assessed.checks}


def deliver(message: Received[Any], unit: QualityUnit) -> None:
    if type(message.event) in SUBSCRIPTIONS and concerns(message.event):
        unit.because_of(message)
        SUBSCRIPTIONS[type(message.event)](message, unit)


class Books(Log):
    """The log in the tables of quality, and the figures that they answer."""

    def __init__(self, database: Database, standards: Standards) -> None:
        super().__init__()
        self.database = database
        self.now = FakeNow(AT)
        self.summaries = Summaries(database, standards)
        self.units = UnitsOfWork(
            database,
            lambda connection, now: QualityUnit(connection, now, standards, settle),
            now=self.now,
            wake=lambda _: None,
        )

    async def write(self, messages: Sequence[Received[Any]] | None = None) -> None:
        """One batch; without messages what was logged since the last one."""
        batch = list(self.messages if messages is None else messages)
        if messages is None:
            self.messages.clear()
        async with self.units.begin() as unit:
            await unit.load(batch)
            for message in batch:
                deliver(message, unit)

    async def write_in_pieces(self, messages: Sequence[Received[Any]], seed: int) -> None:
        """In another order, in batches of any size, some events twice."""
        order = random.Random(seed)
        messages = [*messages, *order.sample(list(messages), len(messages) // 3)]
        order.shuffle(messages)
        while messages:
            size = order.randint(1, 12)
            await self.write(messages[:size])
            messages = messages[size:]

    async def sums(self, starts: str = "2026-03-01", ends: str = "2026-04-01", **more: Any) -> Summary:
        return await self.summaries.of(Selection(at(starts), at(ends), **more), self.now())

    async def rows(self, query: str) -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(query))

    async def forget(self) -> None:
        async with self.database.connection() as connection:
            await connection.execute("truncate quality_record, quality_figure, outbox")


@pytest.fixture(scope="session")
def standards(policy: Policy, calendars: dict[str, Calendar]) -> Standards:
    """The policy on CAL-DE, as in the acceptance scenarios."""
    return Standards(policy, calendars["CAL-DE"])


@pytest.fixture
def ledger(standards: Standards) -> Ledger:
    return Ledger(standards)


@pytest.fixture
async def books(database_url: str, standards: Standards) -> AsyncIterator[Books]:
    database = Database(database_url, schema="sla_monitor")
    yield Books(database, standards)
    await database.close()
