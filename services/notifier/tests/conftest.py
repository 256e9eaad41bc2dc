"""A notifier without tables: the same handlers and unit of work, with tickets and notifications kept in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiosmtpd.smtp import SMTP
from notifier_replica import Replica

from notifier.app import SUBSCRIPTIONS, read_edition
from notifier.domain.desk import Desk
from notifier.domain.gate import Gate
from notifier.domain.hours import Hours
from notifier.domain.notification import Notification
from notifier.domain.templates import Templates, Words
from notifier.handlers import SAFETY_BRIDGE
from notifier.store import Notifications, NotifierUnit, Paces, Tickets
from shared.directory import Directory
from shared.events.envelope import Event, Outgoing, Received, rfc3339
from shared.events.routing import RoutingAssigned, RoutingDeescalated, RoutingEscalated, RoutingRefused
from shared.events.safety import SafetyIncidentAcknowledged, SafetyPageRequested
from shared.events.sla import SlaBreached, SlaCorrected, SlaWarning
from shared.events.ticket import (
    TicketClosed,
    TicketCreated,
    TicketMessageAdded,
    TicketReopened,
    TicketResolved,
    TicketRestricted,
)
from shared.policy.confidentiality import load_confidentiality
from shared.policy.load import load_policy
from shared.runtime.database import Database
from shared.testing.builders import ticket_data, wire
from shared.testing.time import FakeNow
from shared.vocabulary import CATEGORY_OF, Subcategory, Team

REQUESTER = {"id": "u-1", "name": "Ada", "email": "ada@example.com"}
IP = {"id": "ip-1", "character": "Moonbear", "owner": "Moon Studios"}
REF = "SI-0A1B2C3D"


class Say:
    """Events, as they come from their topics; the keywords are the fields that matter to the test."""

    at: datetime = FakeNow()()

    def created(self, ticket_id: str = "T-1", **data: Any) -> Received[Any]:
        return self._say(
            TicketCreated, ticket_data("created", ticket_id, **({"requester": REQUESTER, "ip": IP} | data))
        )

    def resolved(self, ticket_id: str = "T-1", *, at: datetime = at, **data: Any) -> Received[Any]:
        return self._say(TicketResolved, ticket_data("resolved", ticket_id, **data), occurred_at=at)

    def reopened(self, ticket_id: str = "T-1", *, at: datetime = at) -> Received[Any]:
        return self._say(TicketReopened, ticket_data("reopened", ticket_id), occurred_at=at)

    def wrote(self, kind: str = "customer", *, automated: bool = False) -> Received[Any]:
        author = {"kind": kind, "id": "x-1"}
        return self._say(TicketMessageAdded, ticket_data("message_added", author=author, automated=automated))

    def closed(self, ticket_id: str = "T-1") -> Received[Any]:
        return self._say(TicketClosed, ticket_data("closed", ticket_id))

    def restricted(self, ticket_id: str = "T-1", *, source: str = SAFETY_BRIDGE) -> Received[Any]:
        return self._say(TicketRestricted, {"ticket_id": ticket_id}, source=source)

    def assigned(
        self, subcategory: str | None = "story_generation", ticket_id: str = "T-1", **data: Any
    ) -> Received[Any]:
        category = CATEGORY_OF[Subcategory(subcategory)].value if subcategory else None
        plain = {
            "ticket_id": ticket_id,
            "decision_id": "d-1",
            "team": "customer_service",
            "level": 1,
            "owning_team": "customer_service",
            "category": category,
            "subcategory": subcategory,
            "confidence": 1.0,
            "classifier_version": "c",
            "tier": "free",
            "created_at": rfc3339(self.at),
        }
        return self._say(RoutingAssigned, plain | data)

    def escalated(self, ticket_id: str = "T-1", **data: Any) -> Received[Any]:
        plain = self._move(ticket_id, from_level=1, to_level=2, team="technical_support")
        return self._say(RoutingEscalated, plain | {"criterion": "needs_advanced_knowledge", "origin": "person"} | data)

    def deescalated(self, ticket_id: str = "T-1", **data: Any) -> Received[Any]:
        return self._say(RoutingDeescalated, self._move(ticket_id, from_level=2, to_level=1, team="finance") | data)

    def refused(self, ticket_id: str = "T-1", **data: Any) -> Received[Any]:
        plain = {"ticket_id": ticket_id, "request_id": "e-1", "clause": "C3", "reason_code": "merged_in_a_circle"}
        return self._say(RoutingRefused, plain | data)

    def warned(self, ticket_id: str = "T-1", **data: Any) -> Received[Any]:
        return self._say(SlaWarning, self._clock(ticket_id) | {"threshold": 0.75} | data)

    def moved(self, event_class: type[Event], ticket_id: str = "T-1", **data: Any) -> Received[Any]:
        """Something else happened to the clock."""
        return self._say(event_class, self._clock(ticket_id) | data)

    def breached(self, ticket_id: str = "T-1", **data: Any) -> Received[Any]:
        return self._say(SlaBreached, self._clock(ticket_id) | data)

    def corrected(self, ticket_id: str = "T-1", **data: Any) -> Received[Any]:
        """Met half an hour after the start."""
        return self._say(
            SlaCorrected, self._clock(ticket_id) | {"state": "met", "elapsed_share": 0.0104} | data, occurred_at=self.at
        )

    def paged(self, ref: str = REF, **data: Any) -> Received[Any]:
        return self._say(SafetyPageRequested, self._incident(ref) | data)

    def noticed(self, event_class: type[Event], about: str, **data: Any) -> Received[Any]:
        """Something about the watch itself; the primary stands for whoever looks after it."""
        return self._say(event_class, {"about": about, "roles": ["primary"]} | data)

    def acknowledged(self, ref: str = REF, *, handling: str = "acknowledged", **data: Any) -> Received[Any]:
        tracks = {"handling": handling, "report": "not_required", "guardian": "none", "intervention": "none"}
        more = {"severity_peak": "critical", "classes": ["crisis"], "tracks": tracks}
        return self._say(SafetyIncidentAcknowledged, self._incident(ref) | more | data)

    def _say(self, event_class: type[Event], data: dict[str, Any], **envelope: Any) -> Received[Any]:
        at = rfc3339(self.at)
        every = {"occurred_at": at, "emitted_at": at, "clauses": ["R2"], "policy_version": "p"}
        return wire(event_class, every | data, **({"occurred_at": self.at} | envelope))

    def _move(self, ticket_id: str, **data: Any) -> dict[str, Any]:
        plain = {"ticket_id": ticket_id, "decision_id": "d-2", "replaces": "d-1", "from_team": "customer_service"}
        return plain | {"owning_team": "technical_support"} | data

    def _clock(self, ticket_id: str) -> dict[str, Any]:
        return {
            "ticket_id": ticket_id,
            "milestone": "initial_response",
            "cycle": 1,
            "target": {"amount": 48, "unit": "hours"},
            "started_at": rfc3339(self.at),
            "due_at": rfc3339(self.at + timedelta(hours=48)),
            "state": "running",
            "elapsed_share": 0.75,
            "calendar": "c@1",
        }

    def _incident(self, ref: str) -> dict[str, Any]:
        return {
            "incident_ref": ref,
            "mode": "live",
            "epoch": 1,
            "step": 0,
            "lane": "crisis",
            "severity_working": "critical",
            "roles": ["primary", "safety_team"],
        }


class MemoryUnit(NotifierUnit):
    """Reads and writes nothing: what it has in hand is all there is."""

    async def load(self, messages: Sequence[Received[Event]]) -> None:
        pass

    async def save(self) -> None:
        pass


class Office:
    """What a test says and asks."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.now = FakeNow()
        self.tickets = Tickets()
        self.notifications = Notifications()
        self.paces = Paces()
        self.told: list[Outgoing] = []

    def unit(self) -> MemoryUnit:
        unit = MemoryUnit(None, self.now(), self.desk, lambda _: None)
        unit.tickets, unit.notifications, unit.paces = self.tickets, self.notifications, self.paces
        return unit

    def hear(self, *messages: Received[Any]) -> "Office":
        """Events are consumed."""
        for message in messages:
            unit = self.unit()
            unit.because_of(message)
            SUBSCRIPTIONS[type(message.event)](message, unit)
            self.told += unit.emitted
        return self

    def told_to(self, audience: str) -> list[Notification]:
        return [one for one in self.notifications._known.values() if one.intent.audience == audience]

    def customer(self) -> dict[str, str]:
        """What became of each text to the customer; of several of one kind, of the latest."""
        return {one.intent.template.value: one.state.value for one in self.told_to("customer")}

    def recipients(self, audience: str) -> list[str]:
        return sorted(one.intent.recipient for one in self.told_to(audience))

    def latest(self, template: str) -> Notification:
        return [one for one in self.notifications._known.values() if one.intent.template == template][-1]

    def mail(self, template: str, *, released: bool = False) -> Words:
        """The latest mail with this text, as it would go out."""
        intent = self.latest(template).intent
        ticket = self.tickets.get(intent.ticket_id) if intent.ticket_id else None
        return self.desk.words(intent, ticket, released=released)


class Mailroom:
    """What the server does with the next mails, and what it has taken."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.answers: list[str] = []
        self.on_data = "take"
        self.arrivals: asyncio.Queue[Any] = asyncio.Queue()
        self.connections: list[SMTP] = []

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:  # noqa: N802 - aiosmtpd's name
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.on_data == "drop":
            server.transport.abort()
        if self.on_data == "stall":
            await asyncio.Event().wait()
        if self.on_data not in ("take", "drop"):
            return self.on_data
        self.taken.append(envelope)
        self.arrivals.put_nowait(envelope)
        return "250 taken"


@pytest.fixture(scope="session")
def desk() -> Desk:
    policy = load_policy()
    people = {
        "primary": [{"id": "pat", "name": "Pat", "email": "pat@staff.example"}],
        "safety_team": [
            {"id": "pat", "name": "Pat", "email": "pat@staff.example"},
            {"id": "sam", "name": "Sam", "email": "sam@staff.example"},
        ],
    }
    teams = {
        team.value: {"address": f"{team.value}@staff.example", "lead": f"{team.value}-lead@staff.example"}
        for team in Team
        if team is not Team.CHILD_SAFETY_AGENT
    }
    directory = Directory.from_yaml(yaml.safe_dump({"teams": teams, "on_call": people}))
    templates, gate = Templates(read_edition(policy)), Gate(load_confidentiality())
    return Desk(policy, templates, gate, directory, "https://incidents.example/open", Hours.of(policy))


@pytest.fixture(scope="session")
def say() -> Say:
    return Say()


@pytest.fixture
def office(desk: Desk) -> Office:
    return Office(desk)


@pytest.fixture
async def room() -> Mailroom:
    return Mailroom()


@pytest.fixture
async def smtp_port(room: Mailroom) -> AsyncIterator[int]:
    """The port of a real SMTP server that does what the mailroom says."""

    def connected() -> SMTP:
        room.connections.append(SMTP(room, hostname="test", enable_SMTPUTF8=True))
        return room.connections[-1]

    server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for connection in room.connections:
        if connection.transport is not None:
            connection.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture(scope="session")
def template(template_with_tables: Callable[[str], str]) -> str:
    return template_with_tables("notifier")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The notifier's own schema, empty."""
    one = Database(database_url, schema="notifier")
    yield one
    await one.close()


@pytest.fixture
def directory_file(desk: Desk, tmp_path: Path) -> Path:
    path = tmp_path / "directory.yaml"
    path.write_text(yaml.safe_dump(desk.directory.model_dump(mode="json")))
    return path


@pytest.fixture
def now() -> FakeNow:
    return FakeNow()


@pytest.fixture
async def replica(database: Database, desk: Desk, now: FakeNow) -> AsyncIterator[Replica]:
    one = Replica(database, desk, now)
    yield one
    await one.die()
