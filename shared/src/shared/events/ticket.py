"""`support.ticket.v1`: what happens to tickets, as upstream says it (and the safety-bridge for restricted ones).

Category, subcategory and signals are open text here: over Kafka an unknown word is ignored and kept as upstream's (C2);
intake refuses it over HTTP (E7).
"""

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from shared.events.envelope import Data, Event, Identifier, Instant
from shared.vocabulary import Tier

Words = tuple[str, ...]


class PersonKind(StrEnum):
    AGENT = "agent"
    CUSTOMER = "customer"
    SYSTEM = "system"


class Person(Data):
    """Who did something."""

    kind: PersonKind
    id: Identifier
    name: str | None = None
    roles: Words = ()


class Requester(Data):
    """Who asks; the locale (`de-AT`) says in which language to answer."""

    id: Identifier
    name: str | None = None
    email: str | None = None
    locale: str | None = None


class IpSubject(Data):
    """The intellectual property a ticket is about."""

    id: Identifier
    character: str | None = None
    owner: str | None = None
    high_profile: bool = False


class TicketEvent(Event):
    ticket_id: Identifier

    @property
    def key(self) -> str:
        return self.ticket_id


class TicketCreated(TicketEvent):
    wire_type = "com.storytailor.support.ticket.created.v1"

    subject: str
    body: str
    channel: str
    requester: Requester
    tier: Tier | None = None
    category: str | None = None
    subcategory: str | None = None
    signals: Words = ()
    ip: IpSubject | None = None
    number: str | None = None
    follows: Identifier | None = None
    attributes: dict[str, Any] | None = None


class TicketMessageAdded(TicketEvent):
    wire_type = "com.storytailor.support.ticket.message_added.v1"

    author: Person
    public: bool
    automated: bool = False
    body: str


class TicketAcknowledged(TicketEvent):
    wire_type = "com.storytailor.support.ticket.acknowledged.v1"

    by: Person


class TicketStatusChanged(TicketEvent):
    wire_type = "com.storytailor.support.ticket.status_changed.v1"

    status: Literal["open", "pending_customer", "pending_internal"]


class TicketReclassified(TicketEvent):
    wire_type = "com.storytailor.support.ticket.reclassified.v1"

    category: str
    subcategory: str | None = None
    reason: str
    by: Person


class TicketTierChanged(TicketEvent):
    wire_type = "com.storytailor.support.ticket.tier_changed.v1"

    tier: Tier
    effective_from: Instant | None = None


class TicketSignalsAdded(TicketEvent):
    wire_type = "com.storytailor.support.ticket.signals_added.v1"

    signals: Words
    by: Person


class TicketEscalationRequested(TicketEvent):
    wire_type = "com.storytailor.support.ticket.escalation_requested.v1"

    criterion: str
    note: str | None = None
    by: Person


class TicketDeescalationRequested(TicketEvent):
    wire_type = "com.storytailor.support.ticket.deescalation_requested.v1"

    to_level: int = Field(ge=0, le=3)
    reason: str
    by: Person


class TicketResolved(TicketEvent):
    wire_type = "com.storytailor.support.ticket.resolved.v1"

    summary: str
    facts: dict[str, Any] = Field(default_factory=dict)
    documentation: Any = None
    by: Person


class TicketReopened(TicketEvent):
    wire_type = "com.storytailor.support.ticket.reopened.v1"

    by: Person


class TicketClosed(TicketEvent):
    wire_type = "com.storytailor.support.ticket.closed.v1"

    reason: Literal["merged", "spam", "duplicate", "withdrawn"]
    into: Identifier | None = None
    by: Person


class TicketRated(TicketEvent):
    wire_type = "com.storytailor.support.ticket.rated.v1"

    score: int = Field(ge=1, le=5)
    comment: str | None = None
    by: Person | None = None


class TicketReviewed(TicketEvent):
    wire_type = "com.storytailor.support.ticket.reviewed.v1"

    check: str
    verdict: str
    by: Person


class TicketRestricted(TicketEvent):
    """Written by the safety-bridge only; from anyone else the mark is ignored (S9)."""

    wire_type = "com.storytailor.support.ticket.restricted.v1"


EVENTS: tuple[type[TicketEvent], ...] = (
    TicketCreated,
    TicketMessageAdded,
    TicketAcknowledged,
    TicketStatusChanged,
    TicketReclassified,
    TicketTierChanged,
    TicketSignalsAdded,
    TicketEscalationRequested,
    TicketDeescalationRequested,
    TicketResolved,
    TicketReopened,
    TicketClosed,
    TicketRated,
    TicketReviewed,
    TicketRestricted,
)
