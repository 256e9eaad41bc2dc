"""What is known of an incident. Joined by maximum, union and earliest time, so that order and repetition cannot matter (S1).

A lower word of the agent's is not joined, it is remembered by its time: two persons may be asked about it. Pseudonyms and
references to evidence stand here as digests: they can be counted and compared, and nobody can read them (S5).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from safety_bridge.domain.tracks import GuardianContact, InterventionTrack, ReportTrack
from shared.policy.model import Policy
from shared.vocabulary import IncidentClass, Response, Severity

K = TypeVar("K")
T = TypeVar("T", datetime, tuple[datetime, int], tuple[datetime, int, Severity], tuple[datetime, int, bool])

MOST_KEPT = 1_000
"""So many codes, references or failed attempts of one incident are kept one by one."""

Moment = tuple[datetime, int]
"""When the agent said something: the event's time, then its revision."""


class Flag(StrEnum):
    """What was odd about a signal."""

    UNREADABLE = "unreadable"
    CONFLICTING_ID = "conflicting_id"
    AGENT_INCIDENT_ID_MISSING = "agent_incident_id_missing"
    SEVERITY_UNKNOWN = "severity_unknown"
    RESPONSE_UNKNOWN = "response_unknown"
    TIME_CLAMPED = "time_clamped"
    REPORT_ATTEMPT_FAILED = "report_attempt_failed"
    REFERENCE_UNFIT = "reference_unfit"
    """A code or reference that is none: it is not kept."""
    SUBJECT_CONFLICT = "subject_conflict"
    """More than one subject or account was named for one incident."""
    OTHER_ENVIRONMENT = "other_environment"
    """The event says that it is of another deployment."""
    OTHER_MODE = "other_mode"
    """The agent's incident is known as a drill and as live: it is two."""


class Lowering(StrEnum):
    """What the agent would now take back. It is never joined; two persons may decide so (S1)."""

    SEVERITY = "severity"
    RESPONSE = "response"
    REPORT = "report"
    RETRACTED = "retracted"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known. `joined` is commutative, associative and idempotent, and nothing ever gets less (S1)."""

    detected_at: datetime
    severity: Severity
    since: Mapping[IncidentClass, datetime] = field(default_factory=dict)
    """The classes, each with the earliest time it was detected at: there its clocks start (S3)."""
    asked: Mapping[Response, Moment] = field(default_factory=dict)
    """The responses, each with the latest moment the agent asked for it."""
    unknown_responses: frozenset[str] = frozenset()
    """The events that asked for something we do not know."""
    report: ReportTrack = ReportTrack.NOT_REQUIRED
    report_failures: frozenset[str] = frozenset()
    """Failed attempts, by number where the agent gives one, else by event: a repetition counts once."""
    accepted_at: datetime | None = None
    intervention: InterventionTrack = InterventionTrack.NONE
    handed_off_at: datetime | None = None
    confirmed_at: datetime | None = None
    guardian_contact: GuardianContact = GuardianContact.UNKNOWN
    guardian_notified: bool = False
    preserve_until: datetime | None = None
    is_preserved: bool = False
    categories: frozenset[str] = frozenset()
    evidence: frozenset[str] = frozenset()
    subjects: Mapping[str, datetime] = field(default_factory=dict)
    accounts: Mapping[str, datetime] = field(default_factory=dict)
    """By digest, with the earliest time each was named at."""
    agent_incident_ids: frozenset[str] = frozenset()
    flags: frozenset[Flag] = frozenset()
    is_retracted: bool = False
    last_severity: tuple[datetime, int, Severity] | None = None
    last_responses: Moment | None = None
    """The latest moment the agent told the responses as a whole."""
    last_report: tuple[datetime, int, bool] | None = None
    """Whether a report is required, by the agent's latest word; of two at one moment the graver counts."""

    @property
    def classes(self) -> frozenset[IncidentClass]:
        return frozenset(self.since)

    @property
    def responses(self) -> frozenset[Response]:
        return frozenset(self.asked)

    @property
    def failed_attempts(self) -> int:
        """How many attempts to report have failed: as many as we heard of, or as the agent has numbered."""
        numbers = (int(one[1:]) for one in self.report_failures if one.startswith("#"))
        return max(len(self.report_failures), *numbers, 0)

    def joined(self, other: "Facts") -> "Facts":
        """What both know together."""
        known = Facts(
            detected_at=min(self.detected_at, other.detected_at),
            severity=max(self.severity, other.severity),
            since=_earliest_each(self.since, other.since),
            asked=_latest_each(self.asked, other.asked),
            unknown_responses=_few(self.unknown_responses | other.unknown_responses),
            report=max(self.report, other.report),
            report_failures=_few(self.report_failures | other.report_failures),
            accepted_at=_earliest(self.accepted_at, other.accepted_at),
            intervention=max(self.intervention, other.intervention),
            handed_off_at=_earliest(self.handed_off_at, other.handed_off_at),
            confirmed_at=_earliest(self.confirmed_at, other.confirmed_at),
            guardian_contact=max(self.guardian_contact, other.guardian_contact),
            guardian_notified=self.guardian_notified or other.guardian_notified,
            preserve_until=_latest(self.preserve_until, other.preserve_until),
            is_preserved=self.is_preserved or other.is_preserved,
            categories=_few(self.categories | other.categories),
            evidence=_few(self.evidence | other.evidence),
            subjects=_few_of(_earliest_each(self.subjects, other.subjects)),
            accounts=_few_of(_earliest_each(self.accounts, other.accounts)),
            agent_incident_ids=_few(self.agent_incident_ids | other.agent_incident_ids),
            flags=self.flags | other.flags,
            is_retracted=self.is_retracted or other.is_retracted,
            last_severity=_latest(self.last_severity, other.last_severity),
            last_responses=_latest(self.last_responses, other.last_responses),
            last_report=_latest(self.last_report, other.last_report),
        )
        more_than_one = len(known.subjects) > 1 or len(known.accounts) > 1
        return replace(known, flags=known.flags | {Flag.SUBJECT_CONFLICT}) if more_than_one else known

    def at_least_the_floor(self, policy: Policy) -> "Facts":
        """No less severe than the classes allow; a crisis that has to be reported is critical (S2), and a report of that
        class is required (S3).
        """
        is_report = IncidentClass.MANDATORY_REPORT in self.classes
        return replace(
            self,
            severity=max(self.severity, floor(self.classes, policy)),
            report=max(self.report, ReportTrack.REQUIRED if is_report else ReportTrack.NOT_REQUIRED),
        )

    def lowerings(self, policy: Policy) -> frozenset[Lowering]:
        """What the agent would take back by its latest word, and only two persons may (S1)."""
        said = set()
        if self.last_severity and max(self.last_severity[2], floor(self.classes, policy)) < self.severity:
            said.add(Lowering.SEVERITY)
        if self.last_responses and any(moment < self.last_responses for moment in self.asked.values()):
            said.add(Lowering.RESPONSE)
        if self.report > ReportTrack.NOT_REQUIRED and self.last_report and not self.last_report[2]:
            said.add(Lowering.REPORT)
        if self.is_retracted:
            said.add(Lowering.RETRACTED)
        return frozenset(said)

    def leaves_out(self, said: "Facts") -> bool:
        """Whether something said is not kept, because there are too many of its kind; nobody can tell then whether it is news."""
        return any(
            len(kept := getattr(self, name)) >= MOST_KEPT and not frozenset(getattr(said, name)) <= frozenset(kept)
            for name in _MANY
        )

    def knows_what(self, other: "Facts") -> bool:
        """Whether both know the same: only what the agent said last may differ."""
        return _lasting(self) == _lasting(other)

    def says_no_more_than(self, other: "Facts", policy: Policy) -> bool:
        """Whether nothing is new, nor anything to be taken back: a closed incident stays closed."""
        return self.knows_what(other) and self.lowerings(policy) == other.lowerings(policy)


_MANY = ("unknown_responses", "report_failures", "categories", "evidence", "subjects", "accounts", "agent_incident_ids")


def floor(classes: Iterable[IncidentClass], policy: Policy) -> Severity:
    """The least severity that the classes allow (S2)."""
    present = set(classes)
    if {IncidentClass.CRISIS, IncidentClass.MANDATORY_REPORT} <= present:
        return Severity.CRITICAL
    return max((policy.safety.severity_floor.get(one, Severity.LOW) for one in present), default=Severity.LOW)


def _lasting(facts: Facts) -> list[object]:
    last_words = ("asked", "is_retracted", "last_severity", "last_responses", "last_report")
    return [facts.responses, *(getattr(facts, one.name) for one in fields(facts) if one.name not in last_words)]


def _few(many: frozenset[str]) -> frozenset[str]:
    """The first of them by their own order, so that which ones are kept does not depend on what came when (S1)."""
    return many if len(many) <= MOST_KEPT else frozenset(sorted(many)[:MOST_KEPT])


def _few_of(many: dict[str, datetime]) -> dict[str, datetime]:
    kept = _few(frozenset(many))
    return {key: at for key, at in many.items() if key in kept}


def _earliest(one: T | None, other: T | None) -> T | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _latest(one: T | None, other: T | None) -> T | None:
    return max((value for value in (one, other) if value is not None), default=None)


def _earliest_each(one: Mapping[K, datetime], other: Mapping[K, datetime]) -> dict[K, datetime]:
    return {key: min(each[key] for each in (one, other) if key in each) for key in {**one, **other}}


def _latest_each(one: Mapping[K, Moment], other: Mapping[K, Moment]) -> dict[K, Moment]:
    return {key: max(each[key] for each in (one, other) if key in each) for key in {**one, **other}}
