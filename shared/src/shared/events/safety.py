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
    failed_report_attempts: int = 0
    proposed_severity: str | None = None
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


class SafetyIncidentAckLapsed(IncidentEvent):
    """Who took it did nothing with it for too long: it is paged anew (S4)."""

    wire_type = "com.storytailor.support.safety.incident_ack_lapsed.v1"


class SafetyIncidentProgressed(IncidentEvent):
    """Something was done; `reason_code` says what (S4)."""

    wire_type = "com.storytailor.support.safety.incident_progressed.v1"


class SafetyIncidentCoordinated(IncidentEvent):
    """Somebody of the Safety Team works on it too (S4)."""

    wire_type = "com.storytailor.support.safety.incident_coordinated.v1"


class SafetyIncidentReopened(IncidentEvent):
    """It was closed, and has to be looked at again (S4)."""

    wire_type = "com.storytailor.support.safety.incident_reopened.v1"


class SafetyIncidentClosed(IncidentEvent):
    """It is at its end; `reason_code` is the disposition (S1)."""

    wire_type = "com.storytailor.support.safety.incident_closed.v1"


class SafetyReassessmentProposed(IncidentEvent):
    """A person, or the agent (then without an actor), would have something lowered, closed or let go; `reason_code` says
    what. Nothing has changed: it takes two persons (S1).
    """

    wire_type = "com.storytailor.support.safety.reassessment_proposed.v1"


class SafetyReassessmentApproved(IncidentEvent):
    """A second person has agreed; what was proposed holds from now on (S1)."""

    wire_type = "com.storytailor.support.safety.reassessment_approved.v1"


class SafetyReassessmentRejected(IncidentEvent):
    """What was proposed does not come to pass (S1)."""

    wire_type = "com.storytailor.support.safety.reassessment_rejected.v1"


class OfIncident(Event):
    """Something about an incident that changes nothing of it."""

    incident_ref: Identifier
    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str
    mode: str
    epoch: int

    @property
    def key(self) -> str:
        return self.incident_ref


HAND_OVER = "hand_over"
"""The reason of a page to whoever has just come on duty."""


class SafetyPageRequested(OfIncident):
    """Somebody is to be paged now: who holds these roles, and these persons of the directory; never addresses (S4, S5).

    Who held a role at any time since `on_duty_since` is not dropped; with the reason `hand_over` it is only whoever came on duty
    then. `reason_code` says why; a page that `outlives_acknowledgement` is not over once the epoch is acknowledged.
    """

    wire_type = "com.storytailor.support.safety.page_requested.v1"

    step: int
    repeat: int = 0
    lane: str
    severity_working: str
    roles: tuple[str, ...]
    persons: tuple[str, ...] = ()
    on_duty_since: Instant | None = None
    late_by_seconds: float = 0.0
    reason_code: str = "not_acknowledged"
    outlives_acknowledgement: bool = False


class SafetyPageLate(OfIncident):
    """A page left later than it was due, in place of the `missed_steps` before it (S4)."""

    wire_type = "com.storytailor.support.safety.page_late.v1"

    step: int
    late_by_seconds: float
    missed_steps: int


class SafetyPagingExhausted(OfIncident):
    """Everybody on the ladder has been paged and nobody has acknowledged; the last step repeats without end (S4)."""

    wire_type = "com.storytailor.support.safety.paging_exhausted.v1"

    lane: str


class DeadlineEvent(OfIncident):
    """One clock of an incident, at the instant `occurred_at`, by when `elapsed_pct` of its time was used up (S4).

    `clock` is acknowledge, outcome or confirmation (of a hand-off, which has no class).
    """

    clock: str
    incident_class: IncidentClass | None = None
    started_at: Instant
    due_at: Instant
    elapsed_pct: int


class SafetyDeadlineStarted(DeadlineEvent):
    """A clock runs. Told again when it turns out to be due earlier; it is never due later."""

    wire_type = "com.storytailor.support.safety.deadline_started.v1"


class SafetyDeadlineWarning(DeadlineEvent):
    wire_type = "com.storytailor.support.safety.deadline_warning.v1"


class SafetyDeadlineBreached(DeadlineEvent):
    wire_type = "com.storytailor.support.safety.deadline_breached.v1"


class SafetyDeadlineMet(DeadlineEvent):
    """What was promised has happened, in time or after the breach. Told again if it turned out not to have happened and then
    does."""

    wire_type = "com.storytailor.support.safety.deadline_met.v1"


class SafetyDeadlineMoved(DeadlineEvent):
    """The incident goes on as another one (`incident_updated`, reason `merged`): a clock of that one stands for this one."""

    wire_type = "com.storytailor.support.safety.deadline_moved.v1"


class SafetyPolicyViolation(Event):
    """An event said what it should not have said. `places` are JSON pointers into its data, never a value, and `*` where a name
    may be somebody's words; what stood there is sealed, and the incident is handled like any other (S5)."""

    wire_type = "com.storytailor.support.safety.policy_violation.v1"

    incident_ref: Identifier
    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str
    mode: str
    agent_incident_id: str | None = None
    source: str | None = None
    places: tuple[str, ...]

    @property
    def key(self) -> str:
        return self.incident_ref


class SafetyRetentionDecided(Event):
    """What was decided about the sealed content of an incident: `kept`, `destroyed`, `erasure_restricted` (somebody asked for it
    to be erased; kept until `delete_after`), `hold_placed`, `hold_lifted`. The incident's tracks are never touched by it (S5)."""

    wire_type = "com.storytailor.support.safety.retention_decided.v1"

    incident_ref: Identifier
    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str
    decision: str
    reason_code: str
    delete_after: Instant | None = None
    actor_id: str | None = None
    actor_role: str | None = None

    @property
    def key(self) -> str:
        return self.incident_ref


class SafetyAuditHead(Event):
    """Where the audit of the safety-bridge stands: so many rows, the last with this hash. Once a minute; keep it elsewhere."""

    wire_type = "com.storytailor.support.safety.audit_head.v1"

    occurred_at: Instant
    emitted_at: Instant
    count: int
    row_hash: str
    """In hexadecimal."""

    @property
    def key(self) -> str:
        return "audit"


class WatchEvent(Event):
    """Something about the watch itself, told to whoever holds one of `roles` (S4). `about`: a feed's source, a role, `storm`."""

    about: Identifier
    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str
    roles: tuple[str, ...]

    @property
    def key(self) -> str:
        return self.about


class SafetyFeedSilent(WatchEvent):
    """A source that has to be heard is not; told again while that lasts."""

    wire_type = "com.storytailor.support.safety.feed_silent.v1"

    last_heard_at: Instant | None = None
    silent_seconds: float
    repeat: int = 0


class SafetyFeedBack(WatchEvent):
    """A source that was told to be silent is heard again."""

    wire_type = "com.storytailor.support.safety.feed_back.v1"


class MissingRange(Data):
    """Sequence numbers from the first to the last, both included."""

    first: int
    last: int


class SafetyFeedGap(WatchEvent):
    """A source has published what has not arrived; every missing range is named."""

    wire_type = "com.storytailor.support.safety.feed_gap.v1"

    missing: tuple[MissingRange, ...]


class SafetyStormStarted(WatchEvent):
    """Many more incidents are opened than people can read one by one; each is kept and paged for all the same."""

    wire_type = "com.storytailor.support.safety.storm_started.v1"

    opened: int
    within_seconds: int


class SafetyStormEnded(WatchEvent):
    wire_type = "com.storytailor.support.safety.storm_ended.v1"

    started_at: Instant
    opened: int


class SafetyStepEmpty(WatchEvent):
    """A step of a paging ladder reached nobody who holds the role `about`; the next step ran at once."""

    wire_type = "com.storytailor.support.safety.step_empty.v1"

    incident_ref: Identifier
    epoch: int
    lane: str


EVENTS: tuple[type[Event], ...] = (
    SafetyIncidentOpened,
    SafetyIncidentRaised,
    SafetyIncidentUpdated,
    SafetyIncidentAcknowledged,
    SafetyIncidentAckLapsed,
    SafetyIncidentProgressed,
    SafetyIncidentCoordinated,
    SafetyIncidentReopened,
    SafetyIncidentClosed,
    SafetyReassessmentProposed,
    SafetyReassessmentApproved,
    SafetyReassessmentRejected,
    SafetyPageRequested,
    SafetyPageLate,
    SafetyPagingExhausted,
    SafetyDeadlineStarted,
    SafetyDeadlineWarning,
    SafetyDeadlineBreached,
    SafetyDeadlineMet,
    SafetyDeadlineMoved,
    SafetyFeedSilent,
    SafetyFeedBack,
    SafetyFeedGap,
    SafetyStormStarted,
    SafetyStormEnded,
    SafetyStepEmpty,
    SafetyPolicyViolation,
    SafetyRetentionDecided,
    SafetyAuditHead,
)
