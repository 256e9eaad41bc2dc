"""`support.safety.v1`: incidents and who has to be told. Codes and references only (S5); restricted readers."""

from shared.events.envelope import Data, Event, Identifier, Instant
from shared.vocabulary import IncidentClass, Response


class Tracks(Data):
    """Where the four tracks of an incident stand."""

    handling: str
    report: str
    guardian: str
    intervention: str


class IncidentEvent(Event):
    """An incident as it stands after the fact; severities are words (S2)."""

    incident_ref: Identifier
    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str
    agent_incident_id: str | None = None
    ticket_id: str | None = None
    mode: str
    epoch: int
    severity_working: str
    severity_peak: str
    classes: tuple[IncidentClass, ...]
    responses: tuple[Response, ...] = ()
    tracks: Tracks
    flags: tuple[str, ...] = ()
    actor_id: str | None = None
    actor_role: str | None = None
    reason_code: str | None = None

    @property
    def key(self) -> str:
        return self.incident_ref


class SafetyIncidentOpened(IncidentEvent):
    wire_type = "com.storytailor.support.safety.incident_opened.v1"


class SafetyIncidentRaised(IncidentEvent):
    wire_type = "com.storytailor.support.safety.incident_raised.v1"


class SafetyIncidentUpdated(IncidentEvent):
    wire_type = "com.storytailor.support.safety.incident_updated.v1"


class SafetyIncidentAcknowledged(IncidentEvent):
    wire_type = "com.storytailor.support.safety.incident_acknowledged.v1"


class SafetyPageRequested(Event):
    """Somebody is to be paged now. `recipients` are references of the directory, never addresses (S4, S5)."""

    wire_type = "com.storytailor.support.safety.page_requested.v1"

    incident_ref: Identifier
    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str
    mode: str
    epoch: int
    step: int
    repeat: int = 0
    lane: str
    severity_working: str
    roles: tuple[str, ...]
    late_by_seconds: float = 0.0

    @property
    def key(self) -> str:
        return self.incident_ref


EVENTS: tuple[type[Event], ...] = (
    SafetyIncidentOpened,
    SafetyIncidentRaised,
    SafetyIncidentUpdated,
    SafetyIncidentAcknowledged,
    SafetyPageRequested,
)
