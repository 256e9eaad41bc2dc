"""What the bridge understands of an event. Whatever is missing or odd has a safe meaning; nothing is refused for it (S2, S6).

Only known words are taken over, and digests of codes and references. The rest of an event (and with it whatever of a child's
may stand there) goes no further (S5).
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from safety_bridge.domain import identity
from safety_bridge.domain.facts import MOST_KEPT, Facts, Flag
from safety_bridge.domain.identity import Identity, Mode
from safety_bridge.domain.incident import Signal
from safety_bridge.domain.tracks import GuardianContact, InterventionTrack, ReportTrack
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
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#-]{0,127}")
"""A code, a pseudonym or a handle: no spaces, no mail address."""
E = TypeVar("E", bound=IntEnum)


@dataclass(frozen=True, slots=True)
class Kind:
    """What the type of an agent's event says by itself (S3)."""

    incident_class: IncidentClass | None = None
    report: ReportTrack = ReportTrack.NOT_REQUIRED
    intervention: InterventionTrack = InterventionTrack.NONE
    has_failed: bool = False
    guardian_notified: bool = False
    retracts: bool = False
    restates: bool = False
    """It tells the responses as a whole, so that one it leaves out would be taken back."""


CRISIS_DETECTED = Kind(IncidentClass.CRISIS)
REPORT_TRIGGERED = Kind(IncidentClass.MANDATORY_REPORT, ReportTrack.REQUIRED)
REPORT_GENERATED = Kind(IncidentClass.MANDATORY_REPORT, ReportTrack.GENERATED)
REPORT_SUBMITTED = Kind(IncidentClass.MANDATORY_REPORT, ReportTrack.SUBMITTED)
REPORT_ACCEPTED = Kind(IncidentClass.MANDATORY_REPORT, ReportTrack.ACCEPTED)
REPORT_FAILED = Kind(IncidentClass.MANDATORY_REPORT, ReportTrack.REQUIRED, has_failed=True)
MODERATION_CONCERN = Kind(IncidentClass.CONTENT_MODERATION)
PRIVACY_CONCERN = Kind(IncidentClass.PRIVACY)
COPPA_CONCERN = Kind(IncidentClass.COPPA)
INCIDENT_UPDATED = Kind(restates=True)
RESPONSE_STARTED = Kind(intervention=InterventionTrack.STARTED)
INTERVENTION_HANDED_OFF = Kind(intervention=InterventionTrack.HANDED_OFF)
INTERVENTION_CONFIRMED = Kind(intervention=InterventionTrack.CONFIRMED)
GUARDIAN_NOTIFIED = Kind(guardian_notified=True)
INCIDENT_RETRACTED = Kind(retracts=True)


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
    def revision(self) -> Any: ...
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
    def intervention(self) -> Any: ...
    @property
    def guardian_contact(self) -> Any: ...
    @property
    def preserve(self) -> Any: ...
    @property
    def category_codes(self) -> Any: ...
    @property
    def evidence_refs(self) -> Any: ...
    @property
    def subject_ref(self) -> Any: ...
    @property
    def account_ref(self) -> Any: ...


def identities_of(said: Said, *, source: str, event_id: str) -> tuple[Identity, ...]:
    """The agent's incident, then the ticket it names. An event that names no incident is one of its own."""
    mode = mode_of(said)
    has_id = said.agent_incident_id not in (None, "")
    own = identity.of_agent_incident(source, said.agent_incident_id if has_id else f"event {event_id}", mode)
    ticket_id = ticket_of(said)
    if not has_id:
        own = replace(own, name=None)
    return (own,) if ticket_id is None else (own, identity.of_ticket(ticket_id, mode))


def in_other_mode(said: Said, *, source: str) -> Identity | None:
    """The agent's incident of the same id that is a drill where this one is live, or live where it is a drill."""
    if said.agent_incident_id in (None, ""):
        return None
    other = Mode.LIVE if mode_of(said) is Mode.DRILL else Mode.DRILL
    return identity.of_agent_incident(source, said.agent_incident_id, other)


def is_of_another(environment: str | None, said: Any) -> bool:
    """Whether an event is of another deployment than ours; one that does not say, or says no word, is ours."""
    return environment is not None and _word(said) not in (None, "", _word(environment))


def mode_of(said: Said) -> Mode:
    """A drill only where the event says exactly so."""
    return Mode.DRILL if _word(said.mode) == Mode.DRILL else Mode.LIVE


def ticket_of(said: Said, *, fit: Callable[[object], str | None] = identity.fit_name) -> TicketId | None:
    """The ticket that the event names, known to us or not."""
    named = fit(said.ticket_ref) or fit(said.ticket_id)
    return TicketId(named) if named else None


def understand(
    said: Said, kind: Kind, *, occurred_at: datetime, received_at: datetime, is_clamped: bool, mark: str = ""
) -> Signal:
    """An event of the Child Safety Agent. `mark` stands for the event, so that what it counts is counted once."""
    flags = set()
    if is_clamped or (instant_of(said.detected_at) or occurred_at) > received_at + CLOCK_SKEW:
        flags.add(Flag.TIME_CLAMPED)
    occurred_at = min(occurred_at, received_at)
    moment = (occurred_at, _number(said.revision))
    responses, has_unknown = _responses(said.responses)
    if has_unknown:
        flags.add(Flag.RESPONSE_UNKNOWN)
    report, is_not_required = _report(said.report, kind)
    if Response.MANDATORY_REPORTING in responses:
        report = max(report, ReportTrack.REQUIRED)
    intervention = max(kind.intervention, _state(said.intervention, InterventionTrack))
    classes = {CLASS_OF_RESPONSE[one] for one in responses if one in CLASS_OF_RESPONSE}
    classes |= {one for one in (kind.incident_class, _class(said.incident_class)) if one is not None}
    if report > ReportTrack.NOT_REQUIRED:
        classes.add(IncidentClass.MANDATORY_REPORT)
    if IncidentClass.MANDATORY_REPORT in classes:
        report = max(report, ReportTrack.REQUIRED)
    stated = _severity(said.severity)
    if stated is None and said.severity is not None:
        flags.add(Flag.SEVERITY_UNKNOWN)
    detected_at = min(instant_of(said.detected_at) or occurred_at, received_at)
    agent_incident_id = identity.fit_name(said.agent_incident_id)
    if agent_incident_id is None:
        flags.add(Flag.AGENT_INCIDENT_ID_MISSING)
    if kind.has_failed:
        flags.add(Flag.REPORT_ATTEMPT_FAILED)
    named = [_references(one) for one in (said.category_codes, said.evidence_refs, said.subject_ref, said.account_ref)]
    if any(has_unfit for _, has_unfit in named):
        flags.add(Flag.REFERENCE_UNFIT)
    categories, evidence, subjects, accounts = (digests for digests, _ in named)
    is_preserved, preserve_until = _preserve(said.preserve)
    is_required = report > ReportTrack.NOT_REQUIRED
    facts = Facts(
        detected_at=detected_at,
        severity=stated or (Severity.CRITICAL if classes & UNKNOWN_IS_CRITICAL else Severity.HIGH),
        since=dict.fromkeys(classes, detected_at),
        asked=dict.fromkeys(responses, moment),
        unknown_responses=frozenset({mark} if has_unknown else ()),
        report=report,
        report_failures=frozenset({_attempt(said.report, mark)} if kind.has_failed else ()),
        accepted_at=_time_of(said.report, "accepted_at", occurred_at) if report is ReportTrack.ACCEPTED else None,
        intervention=intervention,
        handed_off_at=occurred_at if intervention is InterventionTrack.HANDED_OFF else None,
        confirmed_at=(
            _time_of(said.intervention, "confirmed_at", occurred_at)
            if intervention is InterventionTrack.CONFIRMED
            else None
        ),
        guardian_contact=_guardian_contact(said.guardian_contact),
        guardian_notified=kind.guardian_notified,
        preserve_until=preserve_until,
        is_preserved=is_preserved,
        categories=categories,
        evidence=evidence,
        subjects=dict.fromkeys(subjects, occurred_at),
        accounts=dict.fromkeys(accounts, occurred_at),
        agent_incident_ids=frozenset({agent_incident_id} if agent_incident_id else ()),
        flags=frozenset(flags),
        is_retracted=kind.retracts,
        last_severity=(*moment, stated) if stated is not None else None,
        last_responses=moment if kind.restates and said.responses is not None else None,
        last_report=(*moment, is_required) if is_required or is_not_required else None,
    )
    return Signal(facts)


def of_safety_ticket(
    subcategory: str | None, *, occurred_at: datetime, received_at: datetime, policy: Policy
) -> Signal:
    """A safety ticket, flagged or routed: class and severity by its subcategory; without one it is high, of no class (S2, S8)."""
    known = next((one for one in Subcategory if one == subcategory), None)
    defaults = policy.safety.severities.get(known) if known else None
    detected_at = min(occurred_at, received_at)
    return Signal(
        Facts(
            detected_at=detected_at,
            severity=defaults.severity if defaults else Severity.HIGH,
            since={defaults.incident_class: detected_at} if defaults else {},
        )
    )


def unreadable(*, occurred_at: datetime, received_at: datetime, severity: Severity = Severity.HIGH) -> Signal:
    """Something came on the agent's topic that could not be read: high, and it asks again each time (S2, S6)."""
    facts = Facts(min(occurred_at, received_at), severity, flags=frozenset({Flag.UNREADABLE}))
    return Signal(facts, asks_again=True)


def foreign(*, occurred_at: datetime, received_at: datetime) -> Signal:
    """An event of another deployment: none of its words counts here, and somebody has to see why it came (S6)."""
    facts = Facts(min(occurred_at, received_at), Severity.HIGH, flags=frozenset({Flag.OTHER_ENVIRONMENT}))
    return Signal(facts, asks_again=True)


def flagged(signal: Signal, flag: Flag) -> Signal:
    """The signal, with what is odd about it."""
    return replace(signal, facts=replace(signal.facts, flags=signal.facts.flags | {flag}))


def conflicting(signal: Signal) -> Signal:
    """Another body under a known id: what it raises is raised, and somebody has to look (S6)."""
    return replace(flagged(signal, Flag.CONFLICTING_ID), asks_again=True)


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


def _report(value: Any, kind: Kind) -> tuple[ReportTrack, bool]:
    """Where the report stands, and whether the event says that none is required."""
    said = value if isinstance(value, Mapping) else {}
    required = ReportTrack.REQUIRED if said.get("required") is True else ReportTrack.NOT_REQUIRED
    report = max(kind.report, required, _state(value, ReportTrack))
    says_no = said.get("required") is False or _word(said.get("state")) == ReportTrack.NOT_REQUIRED.word
    return report, says_no and report is ReportTrack.NOT_REQUIRED


def _state(value: Any, track: type[E]) -> E:
    said = _word(value.get("state")) if isinstance(value, Mapping) else None
    return next((one for one in track if one.name.lower() == said), track(0))


def _attempt(report: Any, mark: str) -> str:
    """The number of a failed attempt, where it is one that can be counted."""
    number = _number(report.get("attempt")) if isinstance(report, Mapping) else 0
    return f"#{number}" if 0 < number <= MOST_KEPT else mark


def _number(value: Any) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if is_number else 0


def _time_of(part: Any, name: str, occurred_at: datetime) -> datetime:
    """The time that a part of the event tells, which may only be earlier than the event."""
    told = instant_of(part.get(name)) if isinstance(part, Mapping) else None
    return min(told or occurred_at, occurred_at)


def _preserve(value: Any) -> tuple[bool, datetime | None]:
    if not isinstance(value, Mapping):
        return False, None
    until = instant_of(value.get("until"))
    return value.get("required") is True or until is not None, until


def _references(value: Any) -> tuple[frozenset[str], bool]:
    """Codes or references as digests, and whether something stood there that is none: it is not kept (S5)."""
    said: Iterable[Any] = value if isinstance(value, list | tuple) else () if value in (None, "") else (value,)
    fit = {one for one in said if isinstance(one, str) and _REFERENCE.fullmatch(one)}
    return frozenset(map(digest, fit)), any(not isinstance(one, str) or one not in fit for one in said)


def digest(reference: str) -> str:
    """Stands for a code or reference: it can be compared and not be read."""
    return hashlib.blake2b(reference.encode(), digest_size=12, key=b"storytailor-safety").hexdigest()


def _guardian_contact(value: Any) -> GuardianContact:
    return next((one for one in GuardianContact if one.name.lower() == _word(value)), GuardianContact.UNKNOWN)


def instant_of(value: Any) -> datetime | None:
    """An instant in words; a time without a zone says too little to count, and so does one that no calendar holds."""
    try:
        return datetime.fromisoformat(value).astimezone(UTC) if datetime.fromisoformat(value).tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None
