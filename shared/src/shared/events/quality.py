"""`quality.assessed` on `support.sla.v1`: how well a resolved ticket was served (Q1)."""

from shared.events.envelope import Data, Event, Identifier, Instant
from shared.vocabulary import Check, Verdict


class CheckData(Data):
    """One check; the evidence is ids of events."""

    check: Check
    verdict: Verdict
    evidence: tuple[str, ...] = ()


class QualityAssessed(Event):
    """The five checks on the `resolution`-th resolution of a ticket.

    When a late fact changes what they say, they are told again: `version` counts up within the ticket, `replaces` is the event
    told before. Happened when the latest fact did that it rests on.
    """

    wire_type = "com.storytailor.support.quality.assessed.v1"

    ticket_id: Identifier
    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str
    resolution: int
    resolved_at: Instant
    version: int
    replaces: str | None = None
    checks: tuple[CheckData, ...]

    @property
    def key(self) -> str:
        return self.ticket_id


EVENTS: tuple[type[QualityAssessed], ...] = (QualityAssessed,)
