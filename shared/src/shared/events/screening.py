"""`safety.screening.v1`: asks the Child Safety Agent to screen a ticket; nobody waits for the answer (S7)."""

from shared.events.envelope import Event, Identifier, Instant


class SafetyScreeningRequested(Event):
    wire_type = "com.storytailor.safety.screening_requested.v1"

    ticket_id: Identifier
    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str
    evidence: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.ticket_id


EVENTS: tuple[type[Event], ...] = (SafetyScreeningRequested,)
