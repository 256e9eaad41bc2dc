"""`support.routing.v1`: what the router decided (R8), and what it refused (E7, S1)."""

from shared.events.envelope import Data, Event, Identifier, Instant
from shared.vocabulary import Category, Criterion, Hint, Level, Origin, Subcategory, Team, Tier


class RoutingEvent(Event):
    ticket_id: Identifier
    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str

    @property
    def key(self) -> str:
        return self.ticket_id


class Secondary(Data):
    """Another thing the ticket is also about, or a candidate in triage (C3, C5)."""

    category: Category
    subcategory: Subcategory | None = None
    confidence: float


class Suggestion(Data):
    """Why the ticket may be no ticket; of a duplicate which one it repeats. A person closes it, never a rule."""

    hint: Hint
    of: Identifier | None = None


class Upstream(Data):
    """The category that came with the ticket, as it came (C2, C4)."""

    category: str | None = None
    subcategory: str | None = None


class RoutingAssigned(RoutingEvent):
    """The first decision, or a later change of category, team or assignee without a rise (then `replaces` is set).

    `confidence` is a share: of the tickets with 0.8, about 80 % are right. `alternatives` are what else was considered;
    `related` are other tickets of the same matter; `watchers` had the ticket before its assignee.
    """

    wire_type = "com.storytailor.support.routing.assigned.v1"

    decision_id: str
    replaces: str | None = None
    team: Team
    level: Level
    owning_team: Team
    also_notified: tuple[Team, ...] = ()
    assignee: str | None = None
    watchers: tuple[str, ...] = ()
    category: Category | None
    subcategory: Subcategory | None
    secondary: tuple[Secondary, ...] = ()
    alternatives: tuple[Secondary, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    related: tuple[Identifier, ...] = ()
    confidence: float
    evidence: tuple[str, ...] = ()
    classifier_version: str
    upstream: Upstream | None = None
    needs_triage: bool = False
    restricted: bool = False
    tier: Tier
    created_at: Instant


class RoutingMoved(RoutingEvent):
    """The level changed inside the category; category and subcategory are those after it (a claim also becomes one, E5)."""

    decision_id: str
    replaces: str
    from_level: Level
    to_level: Level
    from_team: Team
    team: Team
    owning_team: Team
    also_notified: tuple[Team, ...] = ()
    category: Category | None = None
    subcategory: Subcategory | None = None
    related: tuple[Identifier, ...] = ()


class RoutingEscalated(RoutingMoved):
    """A later rise inside the category (E)."""

    wire_type = "com.storytailor.support.routing.escalated.v1"

    criterion: Criterion
    origin: Origin


class RoutingDeescalated(RoutingMoved):
    """A person lowered the level with a reason (R9)."""

    wire_type = "com.storytailor.support.routing.deescalated.v1"

    origin: Origin = Origin.PERSON


class RoutingRefused(RoutingEvent):
    """What was asked and the policy forbids; `request_id` is the id of the event that asked (E7)."""

    wire_type = "com.storytailor.support.routing.refused.v1"

    request_id: str
    clause: str
    reason_code: str


EVENTS: tuple[type[RoutingEvent], ...] = (RoutingAssigned, RoutingEscalated, RoutingDeescalated, RoutingRefused)
