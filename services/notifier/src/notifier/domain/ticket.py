"""What the notifier has to know of a ticket to write to its customer and its team, and nothing more.

The customer comes from one topic and the decision from another, in any order. What happened on the ticket waits here as an
occasion until both are known, since no customer text goes out before the first decision (T3).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from shared.vocabulary import Category, Level, Subcategory, Team


class Trigger(StrEnum):
    """What a customer is written to about."""

    FIRST_ROUTED = "first_routed"
    CLAIMED = "claimed"
    """A later decision found a rights-holder claim in the ticket (T4)."""
    ESCALATED = "escalated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Cause:
    """The event or decision behind a message: its id, and the journey it belongs to."""

    id: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Occasion:
    """Something that happened once and leads to at most one message per text."""

    trigger: Trigger
    cause: Cause
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Customer:
    """Who asked, and about what, as the ticket was created with."""

    name: str | None
    email: str | None
    number: str | None
    character: str | None
    owner: str | None
    locale: str | None = None
    """As the requester has it; `wording.py` knows which language serves it."""


@dataclass(frozen=True, slots=True)
class Routing:
    """The decision in force."""

    category: Category | None
    subcategory: Subcategory | None
    team: Team
    owning_team: Team
    level: Level

    @property
    def people(self) -> Team:
        """The team to write to: at level 0 the owning team, since the Child Safety Agent reads no mail."""
        return self.owning_team if self.team is Team.CHILD_SAFETY_AGENT else self.team


CLAIMS = ("attribution_added", "attribution_removed", "detection_reviewed")
"""What a resolution can report as done, and a text may say only then (T2)."""
REPORTED = "reported"
"""The value of what was reported as done."""
RESOLVED_AT = "resolved_at"
"""By the facts of a message, the resolution that it tells of."""
_NAMES = ("character", "owner", "rights_holder")


def reported(facts: Mapping[str, Any]) -> dict[str, str]:
    """What of the facts of a resolution can stand in a text: claims that are true, and names."""
    claims = {name: REPORTED for name in CLAIMS if facts.get(name) is True}
    return claims | {name: value for name in _NAMES if isinstance(value := facts.get(name), str) and value.strip()}


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as the notifier knows it. Its words are not in here."""

    id: str
    customer: Customer | None = None
    routing: Routing | None = None
    also_notified: tuple[Team, ...] = ()
    """Who else was told of the decision in force."""
    restricted: bool = False
    closed: bool = False
    stays_open: str | None = None
    """The closing that was refused because merges ran in a circle (HD-30)."""
    written_by_machine: bool = False
    """Whether the router took it for a machine's mail: an answer would only be answered (HD-63)."""
    claimed: bool = False
    """Whether it was ever found to be a rights-holder claim: its receipt goes out once (T4)."""
    resolved_at: datetime | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    waiting: tuple[Occasion, ...] = ()
    told: frozenset[str] = frozenset()
    """The texts of which a customer gets one for a ticket, and that were decided on."""

    @property
    def is_safety(self) -> bool:
        """Whether every customer text is suppressed (T3)."""
        return self.restricted or (self.routing is not None and self.routing.category is Category.SAFETY)

    @property
    def number(self) -> str:
        """What people call the ticket."""
        return self.customer.number if self.customer and self.customer.number else self.id

    def created(self, customer: Customer) -> Self:
        """The first `created` stands; that there was a second one is the router's to say."""
        return replace(self, customer=self.customer or customer)

    def routed(self, routing: Routing, *, cause: Cause, first: bool = False, restricted: bool = False) -> Self:
        """Under a new decision, which may be an occasion: the first one, or the one that found a claim (T4)."""
        is_claim = routing.subcategory is Subcategory.RIGHTS_HOLDER_CLAIM
        ticket = replace(
            self, routing=routing, restricted=self.restricted or restricted, claimed=self.claimed or is_claim
        )
        if first:
            return ticket.on(Occasion(Trigger.FIRST_ROUTED, cause))
        if is_claim and not self.claimed:
            return ticket.on(Occasion(Trigger.CLAIMED, cause))
        return ticket

    def resolved(self, occasion: Occasion, facts: Mapping[str, Any], *, at: datetime) -> Self:
        """A newer resolution stands for an older one that still waits."""
        known = {**self.facts, **reported(facts)}
        return replace(self._without_resolution(), resolved_at=at, facts=known).on(occasion)

    def is_resolved_as(self, facts: Mapping[str, str]) -> bool:
        """Whether the resolution that these facts tell of still stands; of other facts, always."""
        told = facts.get(RESOLVED_AT)
        return told is None or (self.resolved_at is not None and self.resolved_at.isoformat() == told)

    def can_be_reopened(self, at: datetime, *, within: timedelta) -> bool:
        """Whether it was resolved by then, and not for too long (L12); what happened before that arrives late (L13)."""
        return self.resolved_at is not None and timedelta(0) <= at - self.resolved_at <= within

    def reopened(self) -> Self:
        """What was reported as done is open again, and what waits to say so is no longer true (T2)."""
        open_again = {name: value for name, value in self.facts.items() if name not in CLAIMS}
        return replace(self._without_resolution(), resolved_at=None, facts=open_again)

    def on(self, occasion: Occasion) -> Self:
        return replace(self, waiting=(*self.waiting, occasion))

    def _without_resolution(self) -> Self:
        return replace(self, waiting=tuple(one for one in self.waiting if one.trigger is not Trigger.RESOLVED))
