"""The incident: what is known of it only grows, and every growth that matters begins a new epoch of paging (S1, S4).

What is known (`Facts`) is joined by maximum, union and earliest time, so that order and repetition of signals cannot matter.
Epoch, paging and acknowledgements are the part that depends on when something was heard.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from types import MappingProxyType

from safety_bridge.domain.identity import IncidentRef, Mode
from shared.errors import Refusal
from shared.policy.model import Policy
from shared.vocabulary import IncidentClass, Response, Severity, TicketId

SUPPORT = "support"
"""The role that acknowledges every incident, whatever its class (S4)."""
ON_CALL_FOR = MappingProxyType({SUPPORT: frozenset({"primary", "secondary", "lead"})})
"""Who on duty stands for a role that has to acknowledge, where that is not the role of the same name."""


class ReportTrack(IntEnum):
    """Where a mandatory report stands; it only moves on (S3)."""

    NOT_REQUIRED = 0
    REQUIRED = 1
    GENERATED = 2
    SUBMITTED = 3
    ACCEPTED = 4

    @property
    def word(self) -> str:
        return self.name.lower()


class GuardianContact(IntEnum):
    """Whether a guardian may be told; the most restrictive word stands, and no word is `unknown` (S5)."""

    ALLOWED = 0
    UNKNOWN = 1
    PROHIBITED = 2


class Flag(StrEnum):
    """What was odd about a signal."""

    UNREADABLE = "unreadable"
    CONFLICTING_ID = "conflicting_id"
    AGENT_INCIDENT_ID_MISSING = "agent_incident_id_missing"
    SEVERITY_UNKNOWN = "severity_unknown"
    RESPONSE_UNKNOWN = "response_unknown"
    TIME_CLAMPED = "time_clamped"
    REPORT_ATTEMPT_FAILED = "report_attempt_failed"


class EpochHasPassed(Refusal):
    """The incident has changed since the page that this answers; read it again."""

    slug = "epoch-has-passed"
    clause = "S4"


class RoleNotRequired(Refusal):
    """This role cannot acknowledge this incident; paging goes on."""

    slug = "role-not-required"
    clause = "S4"


class SeverityNeverFalls(Refusal):
    """The incident is more severe already, and nobody lowers a severity alone."""

    slug = "severity-never-falls"
    clause = "S1"


class ContinuesElsewhere(Refusal):
    """The incident goes on as another one; read it to see as which."""

    slug = "incident-continues-elsewhere"
    clause = "S8"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known. `joined` is commutative, associative and idempotent, and nothing ever gets less (S1)."""

    detected_at: datetime
    severity: Severity
    classes: frozenset[IncidentClass] = frozenset()
    responses: frozenset[Response] = frozenset()
    report: ReportTrack = ReportTrack.NOT_REQUIRED
    guardian_contact: GuardianContact = GuardianContact.UNKNOWN
    agent_incident_ids: frozenset[str] = frozenset()
    flags: frozenset[Flag] = frozenset()

    def joined(self, other: "Facts") -> "Facts":
        """What both know together."""
        return Facts(
            detected_at=min(self.detected_at, other.detected_at),
            severity=max(self.severity, other.severity),
            classes=self.classes | other.classes,
            responses=self.responses | other.responses,
            report=max(self.report, other.report),
            guardian_contact=max(self.guardian_contact, other.guardian_contact),
            agent_incident_ids=self.agent_incident_ids | other.agent_incident_ids,
            flags=self.flags | other.flags,
        )

    def at_least_the_floor(self, policy: Policy) -> "Facts":
        """No less severe than the classes allow; a crisis that has to be reported is critical (S2)."""
        if {IncidentClass.CRISIS, IncidentClass.MANDATORY_REPORT} <= self.classes:
            return replace(self, severity=Severity.CRITICAL)
        floors = (policy.safety.severity_floor.get(one, Severity.LOW) for one in self.classes)
        return replace(self, severity=max(self.severity, *floors, Severity.LOW))


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A named person took an epoch of the incident for a role (S4)."""

    epoch: int
    role: str
    actor_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Incident:
    """One matter of child safety. `ticket_id` is the safety ticket, or the restricted ticket made for it (S8, S9)."""

    ref: IncidentRef
    mode: Mode
    facts: Facts
    opened_at: datetime
    epoch_started_at: datetime
    next_page_at: datetime | None
    """When to look whom to page; None once the epoch is acknowledged."""
    revision: int = 0
    """Counts what was told of it; what is told twice has the same number."""
    epoch: int = 1
    next_page: int = 0
    """The number of the epoch's next page on its ladder."""
    ticket_id: TicketId | None = None
    is_born_of_ticket: bool = False
    acknowledgements: tuple[Acknowledgement, ...] = ()
    continues_in: IncidentRef | None = None

    def __repr__(self) -> str:
        return f"<Incident {self.ref} epoch {self.epoch} {self.severity_working.word}>"

    @property
    def severity_working(self) -> Severity:
        """What paging goes by. The peak, since nobody can lower it yet (S1)."""
        return self.facts.severity

    def roles_missing(self, policy: Policy) -> frozenset[str]:
        """The roles that still have to acknowledge this epoch (S4)."""
        required = {SUPPORT}.union(*(policy.safety.must_acknowledge[one] for one in self.facts.classes))
        return frozenset(required - self.roles_acknowledged)

    def acknowledge_by(self, policy: Policy) -> datetime | None:
        """The earliest instant by which one of its classes has to be acknowledged (S4)."""
        within = [policy.safety.acknowledge_within_minutes[one] for one in self.facts.classes]
        return self.facts.detected_at + timedelta(minutes=min(within)) if within else None

    @property
    def roles_acknowledged(self) -> frozenset[str]:
        """The roles that have acknowledged this epoch; earlier epochs do not count (S4)."""
        return frozenset(one.role for one in self.acknowledgements if one.epoch == self.epoch)

    @property
    def has_restricted_ticket(self) -> bool:
        """Whether its ticket was made by us, so that what is said of that ticket is no news (S9)."""
        return self.ticket_id is not None and not self.is_born_of_ticket

    @property
    def guardian_track(self) -> str:
        """Telling a guardian is held unless it is expressly allowed (S5)."""
        if Response.PARENT_NOTIFICATION not in self.facts.responses:
            return "none"
        return "planned" if self.facts.guardian_contact is GuardianContact.ALLOWED else "held"

    @property
    def handling_track(self) -> str:
        if self.continues_in is not None:
            return "merged"
        if self.next_page_at is None:
            return "acknowledged"
        return "paging" if self.severity_working > Severity.LOW else "new"


@dataclass(frozen=True, slots=True)
class Signal:
    """What the bridge understood of one event. `asks_again`: somebody has to look, even if nothing rises."""

    facts: Facts
    asks_again: bool = False


def open_incident(
    ref: IncidentRef,
    mode: Mode,
    signal: Signal,
    *,
    ticket_id: TicketId | None,
    is_born_of_ticket: bool,
    now: datetime,
    policy: Policy,
) -> Incident:
    """Opened first, understood later; paging counts from the detection, however late we heard of it (S4, S6)."""
    facts = signal.facts.at_least_the_floor(policy)
    return Incident(
        ref=ref,
        mode=mode,
        facts=facts,
        opened_at=now,
        epoch_started_at=facts.detected_at,
        next_page_at=facts.detected_at,
        ticket_id=ticket_id,
        is_born_of_ticket=is_born_of_ticket,
    )


def merge(incident: Incident, signal: Signal, *, now: datetime, policy: Policy) -> Incident:
    """The incident after one more signal. Worse news begins a new epoch; a lower word changes nothing (S1)."""
    facts = incident.facts.joined(signal.facts).at_least_the_floor(policy)
    after = replace(incident, facts=facts)
    is_worse = facts.severity > incident.facts.severity or facts.classes > incident.facts.classes
    if is_worse or (signal.asks_again and incident.next_page_at is None):
        return _new_epoch(after, incident.epoch + 1, now)
    return after


def absorb(incident: Incident, other: Incident, *, now: datetime, policy: Policy) -> tuple[Incident, Incident]:
    """Two incidents turn out to be one matter: one page lane for both (S8).

    The new epoch is later than any of either, so that no acknowledgement of one half passes for the whole.
    """
    facts = incident.facts.joined(other.facts).at_least_the_floor(policy)
    whole = _new_epoch(replace(incident, facts=facts), max(incident.epoch, other.epoch) + 1, now)
    return whole, replace(other, continues_in=incident.ref, next_page_at=None)


def acknowledge(incident: Incident, *, epoch: int, role: str, actor_id: str, now: datetime, policy: Policy) -> Incident:
    """The incident with this role's acknowledgement; the last one missing ends paging, not the incident (S4).

    Raises:
        ContinuesElsewhere, EpochHasPassed, RoleNotRequired: nothing changes and paging goes on.
    """
    _must_be_current(incident, epoch)
    required = next((one for one, on_call in ON_CALL_FOR.items() if role in on_call), role)
    missing = incident.roles_missing(policy)
    if required in incident.roles_acknowledged:
        return incident
    if required not in missing:
        raise RoleNotRequired
    return replace(
        incident,
        acknowledgements=(*incident.acknowledgements, Acknowledgement(epoch, required, actor_id, now)),
        next_page_at=incident.next_page_at if missing - {required} else None,
    )


def raise_by_person(
    incident: Incident,
    *,
    epoch: int,
    severity: Severity | None,
    incident_class: IncidentClass | None,
    now: datetime,
    policy: Policy,
) -> Incident:
    """A person makes it more severe or adds a class; nobody makes it less (S1).

    Raises:
        ContinuesElsewhere, EpochHasPassed, SeverityNeverFalls: nothing changes.
    """
    _must_be_current(incident, epoch)
    if severity is not None and severity < incident.severity_working:
        raise SeverityNeverFalls
    said = replace(
        incident.facts,
        severity=severity or incident.facts.severity,
        classes=frozenset({incident_class} if incident_class else ()),
    )
    return merge(incident, Signal(said), now=now, policy=policy)


def _must_be_current(incident: Incident, epoch: int) -> None:
    if incident.continues_in is not None:
        raise ContinuesElsewhere
    if epoch != incident.epoch:
        raise EpochHasPassed


def _new_epoch(incident: Incident, epoch: int, now: datetime) -> Incident:
    return replace(incident, epoch=epoch, epoch_started_at=now, next_page_at=now, next_page=0)
