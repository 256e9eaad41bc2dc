"""What the bridge understands of an event. Whatever is missing or odd has a safe meaning; nothing is refused for it (S2, S6).

Only known words are taken over. The rest of an event (and with it whatever of a child's may stand there) goes no further (S5).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from safety_bridge.domain import identity
from safety_bridge.domain.identity import Identity, Mode
from safety_bridge.domain.incident import Facts, Flag, GuardianContact, ReportTrack, Signal
from shared.policy.model import Policy
from shared.vocabulary import IncidentClass, Response, Severity, Subcategory, TicketId

CLOCK_SKEW = timedelta(seconds=1)
"""How far ahead of ours another machine's time may be before it is clamped (L13)."""
UNKNOWN_IS_CRITICAL = frozenset({IncidentClass.CRISIS, IncidentClass.MANDATORY_REPORT})
"""The classes of which an unknown severity counts as critical; of the others it counts as high (S2)."""
CLASS_OF_RESPONSE = {
    Response.CRISIS_INTERVENTION: IncidentClass.CRISIS,
    Response.MANDATORY_REPORTING: IncidentClass.MANDATORY_REPORT,
}
"""A response says what kind of matter it is, whatever kind of event asks for it (S2)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What the type of an agent's event says by itself (S3)."""

    incident_class: IncidentClass | None = None
    report: ReportTrack = ReportTrack.NOT_REQUIRED
    flags: frozenset[Flag] = frozenset()
    asks_again: bool = False


CRISIS_DETECTED = Kind(IncidentClass.CRISIS)
REPORT_TRIGGERED = Kind(IncidentClass.MANDATORY_REPORT, ReportTrack.REQUIRED)
REPORT_GENERATED = Kind(IncidentClass.MANDATORY_REPORT, ReportTrack.GENERATED)
REPORT_SUBMITTED = Kind(IncidentClass.MANDATORY_REPORT, ReportTrack.SUBMITTED)
REPORT_ACCEPTED = Kind(IncidentClass.MANDATORY_REPORT, ReportTrack.ACCEPTED)
REPORT_FAILED = Kind(
    IncidentClass.MANDATORY_REPORT, ReportTrack.REQUIRED, frozenset({Flag.REPORT_ATTEMPT_FAILED}), asks_again=True
)
MODERATION_CONCERN = Kind(IncidentClass.CONTENT_MODERATION)
PRIVACY_CONCERN = Kind(IncidentClass.PRIVACY)
COPPA_CONCERN = Kind(IncidentClass.COPPA)
INCIDENT_UPDATED = Kind()


class Said(Protocol):
    """What an agent's event may say; each field may be missing or of any kind."""

    @property
    def agent_incident_id(self) -> Any: ...
    @property
    def ticket_ref(self) -> Any: ...
    @property
    def ticket_id(self) -> Any: ...
    @property
    def mode(self) -> Any: ...
    @property
    def severity(self) -> Any: ...
    @property
    def incident_class(self) -> Any: ...
    @property
    def responses(self) -> Any: ...
    @property
    def detected_at(self) -> Any: ...
    @property
    def report(self) -> Any: ...
    @property
    def guardian_contact(self) -> Any: ...


def identities_of(said: Said, *, source: str, event_id: str) -> tuple[Identity, ...]:
    """The agent's incident, then the ticket it names. An event that names no incident is one of its own."""
    mode = mode_of(said)
    has_id = said.agent_incident_id not in (None, "")
    own = identity.of_agent_incident(source, said.agent_incident_id if has_id else f"event {event_id}", mode)
    ticket_id = ticket_of(said)
    if not has_id:
        own = replace(own, name=None)
    return (own,) if ticket_id is None else (own, identity.of_ticket(ticket_id, mode))


def mode_of(said: Said) -> Mode:
    """A drill only where the event says exactly so."""
    return Mode.DRILL if _word(said.mode) == Mode.DRILL else Mode.LIVE


def ticket_of(said: Said) -> TicketId | None:
    """The ticket that the event names, known to us or not."""
    named = identity.fit_id(said.ticket_ref) or identity.fit_id(said.ticket_id)
    return TicketId(named) if named else None


def understand(said: Said, kind: Kind, *, occurred_at: datetime, received_at: datetime, is_clamped: bool) -> Signal:
    """An event of the Child Safety Agent."""
    flags = set(kind.flags)
    responses, has_unknown = _responses(said.responses)
    if has_unknown:
        flags.add(Flag.RESPONSE_UNKNOWN)
    report = max(kind.report, _report(said.report))
    if Response.MANDATORY_REPORTING in responses:
        report = max(report, ReportTrack.REQUIRED)
    classes = {CLASS_OF_RESPONSE[one] for one in responses if one in CLASS_OF_RESPONSE}
    classes |= {one for one in (kind.incident_class, _class(said.incident_class)) if one is not None}
    if report > ReportTrack.NOT_REQUIRED:
        classes.add(IncidentClass.MANDATORY_REPORT)
    severity = _severity(said.severity)
    if severity is None:
        severity = Severity.CRITICAL if classes & UNKNOWN_IS_CRITICAL else Severity.HIGH
        if said.severity is not None:
            flags.add(Flag.SEVERITY_UNKNOWN)
    detected_at = _instant(said.detected_at) or occurred_at
    if is_clamped or detected_at > received_at + CLOCK_SKEW:
        flags.add(Flag.TIME_CLAMPED)
    agent_incident_id = identity.fit_id(said.agent_incident_id)
    if agent_incident_id is None:
        flags.add(Flag.AGENT_INCIDENT_ID_MISSING)
    facts = Facts(
        detected_at=min(detected_at, received_at),
        severity=severity,
        classes=frozenset(classes),
        responses=responses,
        report=report,
        guardian_contact=_guardian_contact(said.guardian_contact),
        agent_incident_ids=frozenset({agent_incident_id} if agent_incident_id else ()),
        flags=frozenset(flags),
    )
    return Signal(facts, asks_again=kind.asks_again)


def of_safety_ticket(
    subcategory: str | None, *, occurred_at: datetime, received_at: datetime, policy: Policy
) -> Signal:
    """A safety ticket, flagged or routed: class and severity by its subcategory; without one it is high, of no class (S2, S8)."""
    known = next((one for one in Subcategory if one == subcategory), None)
    defaults = policy.safety.severities.get(known) if known else None
    return Signal(
        Facts(
            detected_at=min(occurred_at, received_at),
            severity=defaults.severity if defaults else Severity.HIGH,
            classes=frozenset({defaults.incident_class} if defaults else ()),
        )
    )


def unreadable(*, occurred_at: datetime, received_at: datetime) -> Signal:
    """Something came on the agent's topic that could not be read: high, and it asks again each time (S2, S6)."""
    facts = Facts(min(occurred_at, received_at), Severity.HIGH, flags=frozenset({Flag.UNREADABLE}))
    return Signal(facts, asks_again=True)


def conflicting(signal: Signal) -> Signal:
    """Another body under a known id: what it raises is raised, and somebody has to look (S6)."""
    facts = replace(signal.facts, flags=signal.facts.flags | {Flag.CONFLICTING_ID})
    return Signal(facts, asks_again=True)


def _word(value: Any) -> str | None:
    return value.strip().casefold() if isinstance(value, str) else None


def _severity(value: Any) -> Severity | None:
    return next((one for one in Severity if one.word == _word(value)), None)


def _class(value: Any) -> IncidentClass | None:
    return next((one for one in IncidentClass if one == _word(value)), None)


def _responses(value: Any) -> tuple[frozenset[Response], bool]:
    said: Iterable[Any] = value if isinstance(value, list | tuple) else () if value is None else (value,)
    words = [_word(one) for one in said]
    known = frozenset(response for response in Response if response in words)
    return known, any(word not in known for word in words)


def _report(value: Any) -> ReportTrack:
    if not isinstance(value, Mapping):
        return ReportTrack.NOT_REQUIRED
    required = ReportTrack.REQUIRED if value.get("required") is True else ReportTrack.NOT_REQUIRED
    return max(required, next((one for one in ReportTrack if one.word == _word(value.get("state"))), required))


def _guardian_contact(value: Any) -> GuardianContact:
    return next((one for one in GuardianContact if one.name.lower() == _word(value)), GuardianContact.UNKNOWN)


def _instant(value: Any) -> datetime | None:
    """An instant in words; a time without a zone says too little to count."""
    try:
        return datetime.fromisoformat(value).astimezone(UTC) if datetime.fromisoformat(value).tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None
