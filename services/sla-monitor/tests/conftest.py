"""The calendars of the acceptance scenarios (HD), the rules of the policy on them, and the service as tests see it.

In memory: one ticket on a desk, or the real handlers on a unit of work whose rows are simply there. Or with its tables.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

import asyncpg
import httpx2
import pytest

from shared.events import sla
from shared.events.envelope import Event, Outgoing, Received, registry
from shared.events.routing import RoutingAssigned, RoutingEvent
from shared.events.sla import SlaEvent
from shared.messaging.kafka import Kafka
from shared.messaging.outbox import unpack_headers
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.business_time import Calendar, compile_calendar, load_calendar
from shared.policy.load import load_policy
from shared.policy.model import CalendarPolicy, Policy
from shared.runtime.database import Database
from shared.testing.builders import AT, UPSTREAM, ticket_data, wire
from shared.testing.time import FakeNow
from shared.vocabulary import CATEGORY_OF, Level, Milestone, Subcategory, Tier
from sla_monitor.app import SUBSCRIPTIONS, build
from sla_monitor.domain.clock import Care, Clock, Decided, Fact, FactKind, care_of
from sla_monitor.domain.notices import Notice
from sla_monitor.domain.targets import Rules
from sla_monitor.domain.ticket import Creation, Ticket
from sla_monitor.handlers import settle
from sla_monitor.settings import SlaMonitorSettings
from sla_monitor.store import Rulebook, SlaUnit

BERLIN = ZoneInfo("Europe/Berlin")
NAME = "sla_monitor"
"""The schema, which is named like the package."""

YEARS = range(2025, 2029)
WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday")
ALL_DAYS = (*WEEK, "saturday", "sunday")

CLOSED_IN_GERMANY = ("2026-01-01", "2026-04-03", "2026-04-06", "2026-05-01", "2026-12-25")
CLOSED_IN_NEW_YORK = ("2026-07-03", "2026-11-26", "2026-12-25")

CALENDARS: Mapping[str, dict[str, Any]] = {
    "CAL-DE": {"zone": "Europe/Berlin", "days": WEEK, "hours": ["09:00-17:00"], "closed": CLOSED_IN_GERMANY},
    "CAL-DE with a half-day": {
        "zone": "Europe/Berlin",
        "days": WEEK,
        "hours": ["09:00-17:00"],
        "closed": CLOSED_IN_GERMANY,
        "special": {"2026-12-24": ["09:00-13:00"]},
    },
    "CAL-LUNCH": {
        "zone": "Europe/Berlin",
        "days": WEEK,
        "hours": ["09:00-12:00", "13:00-17:00"],
        "closed": CLOSED_IN_GERMANY,
        "nominal": 7 * 60,
    },
    "CAL-NY": {"zone": "America/New_York", "days": WEEK, "hours": ["09:00-17:00"], "closed": CLOSED_IN_NEW_YORK},
    "CAL-NIGHT": {"zone": "Europe/Berlin", "days": ALL_DAYS, "hours": ["22:00-06:00"]},
    "CAL-IN": {"zone": "Asia/Kolkata", "days": WEEK, "hours": ["09:00-17:00"]},
    "CAL-24x7": {"zone": "Europe/Berlin", "days": ALL_DAYS, "hours": ["00:00-24:00"]},
    "CAL-08-18": {"zone": "Europe/Berlin", "days": WEEK, "hours": ["08:00-18:00"]},
}


def calendar_policy(
    *,
    zone: str = "Europe/Berlin",
    days: tuple[str, ...] = WEEK,
    hours: list[str] | None = None,
    closed: tuple[str, ...] = (),
    special: dict[str, list[str]] | None = None,
    nominal: int = 480,
) -> CalendarPolicy:
    return CalendarPolicy.model_validate(
        {
            "id": "test",
            "zone": zone,
            "nominal_day_minutes": nominal,
            "opening_hours": dict.fromkeys(days, ["09:00-17:00"] if hours is None else hours),
            "closed_days": {date.fromisoformat(day): "closed" for day in closed},
            "special_days": special or {},
        }
    )


@pytest.fixture(scope="session")
def calendar_policies() -> dict[str, CalendarPolicy]:
    return {name: calendar_policy(**given) for name, given in CALENDARS.items()}


@pytest.fixture(scope="session")
def calendars(calendar_policies: dict[str, CalendarPolicy]) -> dict[str, Calendar]:
    return {name: compile_calendar(policy, {}, YEARS) for name, policy in calendar_policies.items()}


@pytest.fixture(scope="session")
def policy() -> Policy:
    return load_policy()


@pytest.fixture(scope="session")
def rules(policy: Policy, calendars: dict[str, Calendar]) -> Rules:
    """The policy on CAL-DE, as in the acceptance scenarios."""
    return Rules.of(policy, calendars["CAL-DE"])


class Desk:
    """One ticket on a desk: things happen to it, arrive now or later, and are looked at; `said` is what was announced.

    Times are local to Berlin unless they carry an offset.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.book = {rules.key: rules}
        self.ticket = Ticket("T-1", "c-1")
        self.said: list[Notice] = []
        self.ids: list[str] = []
        self.next_look: datetime | None = None

    def routed(
        self,
        created: str,
        tier: Tier = Tier.FREE,
        subcategory: Subcategory | None = None,
        *,
        decided: str | None = None,
        care: Care | None = None,
    ) -> Self:
        """The first routing decision, taken when the ticket was created unless said otherwise."""
        decision = decided_at(at(decided or created), "r-1", subcategory, care=care, tier=tier)
        self.ticket.start(decision, created_at=at(created), rules=self.rules)
        return self.look(decided or created)

    def created(self, created: str, tier: Tier | None = None) -> Self:
        """The ticket came, and the router has not spoken yet."""
        self.ticket.creation = Creation(at(created), tier, at(created), "created-1", source=UPSTREAM)
        return self.look(created)

    def happens(
        self,
        kind: FactKind,
        when: str,
        *,
        arrives: str | None = None,
        reason: str | None = None,
        tier: Tier | None = None,
        rules: Rules | None = None,
    ) -> Self:
        if rules is not None:
            self.book[rules.key] = rules
        key = rules.key if rules else None
        self.ticket.add(Fact(at(when), kind, f"{kind}@{when}", reason=reason, tier=tier, rules=key))
        return self.look(arrives or when)

    def decided(
        self,
        when: str,
        subcategory: Subcategory | None = None,
        *,
        arrives: str | None = None,
        care: Care | None = None,
        level: int = 1,
        rose: bool = False,
        by_clock: bool = False,
    ) -> Self:
        """A later routing decision."""
        fact = decided_at(at(when), f"r@{when}", subcategory, care=care, level=level, rose=rose, by_clock=by_clock)
        self.ticket.add(fact)
        return self.look(arrives or when)

    def look(self, when: str) -> Self:
        """Look at the clocks and announce what is new."""
        found, outlook = self.ticket.look(at(when), self.rules, self.book)
        self.next_look = outlook.look_at
        for notice in found:
            self.ids.append(f"s-{len(self.ids) + 1}")
            self.ticket.record(notice, self.ids[-1])
        self.said += found
        return self

    def clock(self, milestone: Milestone, cycle: int = 1) -> Clock:
        """The clock as it was last announced."""
        return [notice.clock for notice in self.said if notice.clock.key == f"{milestone}|{cycle}"][-1]

    def heard(self, milestone: Milestone, cycle: int = 1) -> list[tuple[str, str]]:
        """What was announced about a clock: the turn and its local time."""
        return [
            (notice.turn.value, local(notice.at)) for notice in self.said if notice.clock.key == f"{milestone}|{cycle}"
        ]

    def due(self, milestone: Milestone, cycle: int = 1) -> str:
        """When a clock is due, local time."""
        return local(self.clock(milestone, cycle).due_at)


def decided_at(
    when: datetime,
    decision_id: str,
    subcategory: Subcategory | None = None,
    *,
    care: Care | None = None,
    level: int = 1,
    tier: Tier | None = None,
    rose: bool = False,
    by_clock: bool = False,
) -> Fact:
    """A routing decision as a fact; with the care of the subcategory unless another is named."""
    category = CATEGORY_OF[subcategory] if subcategory else None
    decided = Decided(care or care_of(category, subcategory), subcategory, Level(level), tier, rose, by_clock)
    return Fact(when, FactKind.ROUTED, decision_id, decided=decided)


def at(when: str) -> datetime:
    instant = datetime.fromisoformat(when)
    return (instant if instant.tzinfo else instant.replace(tzinfo=BERLIN)).astimezone(UTC)


def local(instant: datetime) -> str:
    """2026-03-06 15:00 in Berlin, with seconds and their parts only where there are any."""
    wall = instant.astimezone(BERLIN).replace(tzinfo=None)
    return wall.isoformat(" ", "auto" if wall.second or wall.microsecond else "minutes")


@pytest.fixture
def desk(rules: Rules) -> Desk:
    return Desk(rules)


EMITTED = registry(sla.EVENTS)


class Monitor:
    """Handles one event after the other, each twice: the second delivery must tell nothing new."""

    def __init__(self, rules: Rules) -> None:
        self.unit = SlaUnit(None, AT, Rulebook(rules))

    def handle(
        self,
        event_class: type[Event],
        *,
        ticket_id: str = "T-1",
        source: str = UPSTREAM,
        occurred_at: datetime = AT,
        claimed_at: datetime | None = None,
        **data: Any,
    ) -> list[Any]:
        """What is emitted because of the event."""
        message = wire(
            event_class,
            data_of(event_class, ticket_id, **data),
            source=source,
            occurred_at=occurred_at,
            claimed_at=claimed_at,
        )
        self.unit.now = max(self.unit.now, occurred_at)
        emitted = self.deliver(message)
        assert self.deliver(message) == []
        return [EMITTED[one.wire_type].model_validate_json(one.value) for one in emitted]

    def look(self, now: datetime, ticket_id: str = "T-1") -> list[Any]:
        """What is emitted because time has passed."""
        self.unit.now = now
        self.unit.because_of(None)
        before = len(self.unit.emitted)
        settle(self.unit.tickets.get(ticket_id), self.unit)
        return [EMITTED[one.wire_type].model_validate_json(one.value) for one in self.unit.emitted[before:]]

    def deliver(self, message: Received[Any]) -> list[Outgoing]:
        before = len(self.unit.emitted)
        self.unit.because_of(message)
        SUBSCRIPTIONS[type(message.event)](message, self.unit)
        return self.unit.emitted[before:]


def data_of(event_class: type[Event], ticket_id: str, **data: Any) -> dict[str, Any]:
    """The data of a ticket event as upstream sends it, or of a routing event as the router does."""
    fact = event_class.wire_type.rsplit(".", 2)[1]
    if issubclass(event_class, RoutingEvent):
        return ROUTED | {"ticket_id": ticket_id} | data
    return ticket_data(fact, ticket_id, **data)


ROUTED: dict[str, Any] = {
    "occurred_at": AT.isoformat(),
    "emitted_at": AT.isoformat(),
    "created_at": AT.isoformat(),
    "clauses": ["R2"],
    "policy_version": "test",
    "decision_id": "d-1",
    "replaces": "d-0",
    "team": "customer_service",
    "level": 1,
    "from_team": "customer_service",
    "from_level": 1,
    "to_level": 2,
    "owning_team": "technical_support",
    "category": "technical",
    "subcategory": "api_errors",
    "confidence": 1.0,
    "classifier_version": "test",
    "criterion": "needs_code_fix",
    "origin": "person",
    "tier": "premium",
}


@pytest.fixture
def monitor(rules: Rules) -> Monitor:
    return Monitor(rules)


class Service:
    """The service with a database of its own; nothing is consumed, batches and looks are handed to it."""

    def __init__(
        self,
        database_url: str,
        rules: Rules,
        *,
        schema: str = NAME,
        policy_file: Path | None = None,
        now: FakeNow | None = None,
    ) -> None:
        self.database = Database(database_url, schema=schema)
        self.now = now or FakeNow(AT)
        keys = [
            {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": [scope]}
            for name, scope in (("reader", "tickets:read"), ("writer", "events:write"), ("operator", "operate"))
        ]
        settings = SlaMonitorSettings.model_validate(
            {
                "kafka_bootstrap_servers": "127.0.0.1:9",
                "database_url": database_url,
                "api_keys": keys,
                "policy_file": policy_file,
            }
        )
        kafka = Kafka(settings.kafka_bootstrap_servers)
        self.app = build(
            settings,
            now=self.now,
            kafka=kafka,
            bulk=self.database,
            urgent=self.database,
            monotonic=self.now.monotonic,
        )
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app.api), base_url="http://sla-monitor")
        self.book = Rulebook(rules)
        self.units = UnitsOfWork(
            self.database,
            lambda connection, at: SlaUnit(connection, at, self.book),
            now=self.now,
            wake=lambda _: None,
        )

    async def handle(self, *messages: Received[Any]) -> None:
        """One batch in one transaction."""
        async with self.units.begin() as unit:
            await unit.load(messages)
            for message in messages:
                unit.because_of(message)
                SUBSCRIPTIONS[type(message.event)](message, unit)

    async def routed(self, *ticket_ids: str, **data: Any) -> None:
        """Tickets with running clocks, created and routed now."""
        now = {"created_at": self.now().isoformat(), "occurred_at": self.now().isoformat()}
        await self.handle(
            *(
                wire(RoutingAssigned, data_of(RoutingAssigned, one, **(now | data)), occurred_at=self.now())
                for one in ticket_ids
            )
        )

    async def told(self, *event_classes: type[SlaEvent]) -> list[SlaEvent]:
        """What left, in order; of some kinds only if named."""
        told = []
        for row in await self.rows("select headers, payload from outbox order by seq"):
            event_class = EMITTED[dict(unpack_headers(row["headers"]))["ce_type"].decode()]
            if not event_classes or event_class in event_classes:
                told.append(event_class.model_validate_json(row["payload"]))
        return told

    async def get(self, path: str, *, key: str = "reader") -> httpx2.Response:
        return await self.client.get(path, headers={"authorization": f"Bearer {key}"})

    async def post(self, path: str, body: Any, *, key: str = "operator") -> httpx2.Response:
        return await self.client.post(path, json=body, headers={"authorization": f"Bearer {key}"}, timeout=150)

    async def rows(self, query: str) -> list[asyncpg.Record]:
        async with self.database.connection() as connection:
            found: list[asyncpg.Record] = await connection.fetch(query)
            return found


@pytest.fixture(scope="session")
def shipped_rules(policy: Policy) -> Rules:
    """The policy on its own calendar."""
    return Rules.of(policy, load_calendar(policy.clocks.calendar))


@pytest.fixture(scope="session")
def template(template_with_tables: Callable[[str], str]) -> str:
    return template_with_tables(NAME)


@pytest.fixture
async def service(database_url: str, shipped_rules: Rules) -> AsyncIterator[Service]:
    service = Service(database_url, shipped_rules)
    yield service
    await service.client.aclose()
    await service.database.close()
