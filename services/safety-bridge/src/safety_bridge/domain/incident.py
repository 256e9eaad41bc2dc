"""The incident: what is known of it only grows, and every growth that matters begins a new epoch of paging (S1, S4).

What is known stands in `facts.py`, what persons did about it here. Epoch, paging and acknowledgements are the part that
depends on when something was heard.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from safety_bridge.domain.clock import Clock, ClockKey, Promise
from safety_bridge.domain.facts import Facts
from safety_bridge.domain.identity import IncidentRef, Mode
from safety_bridge.domain.tracks import GuardianContact, GuardianTrack, Handling, InterventionTrack, ReportTrack
from shared.errors import Refusal
from shared.policy.model import PagingLane, Policy, Relaxation
from shared.vocabulary import IncidentClass, Response, Severity, TicketId

SUPPORT = "support"
"""The role that acknowledges every incident, whatever its class (S4)."""
SAFETY_TEAM = "safety_team"
LEGAL_COMPLIANCE = "legal_compliance"
LAST_RESPONDER = "last_responder"
ON_CALL_FOR = MappingProxyType({SUPPORT: frozenset({"primary", "secondary", "lead"})})
"""Who on duty stands for a role that has to acknowledge, where that is not the role of the same name."""
NEEDS_TWO_TO_CLOSE = Severity.HIGH
"""From here on nobody closes an incident alone (S1)."""


class ContinuesElsewhere(Refusal):
    """The incident goes on as another one; read it to see as which."""

    slug = "incident-continues-elsewhere"
    clause = "S8"


class EpochHasPassed(Refusal):
    """The incident has changed since the page that this answers; read it again."""

    slug = "epoch-has-passed"
    clause = "S4"


class AlreadyClosed(Refusal):
    """The incident is closed; reopen it first."""

    slug = "incident-closed"
    clause = "S4"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and in which role."""

    id: str
    role: str


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A named person took an epoch of the incident for a role (S4)."""

    epoch: int
    role: str
    actor_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one person asks for and another one has to agree to, as long as the incident is the one both saw (S1)."""

    relaxation: Relaxation
    reason: str
    by: Actor
    at: datetime
    snapshot: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class GuardianDecision:
    """What persons decided about telling a guardian; a release holds for what was known of the guardian then (S5)."""

    track: GuardianTrack
    contact: GuardianContact


@dataclass(frozen=True, slots=True)
class Incident:
    """One matter of child safety. `ticket_id` is its safety ticket, or the restricted ticket made for it (S8, S9).

    `is_born_of_ticket`: it is the incident of a safety ticket and has no other one.
    """

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
    handling: Handling = Handling.PAGING
    lease_ends_at: datetime | None = None
    """Until when the acknowledgement holds without progress."""
    lapsed_ackers: frozenset[str] = frozenset()
    """Who took it and let it lie: they are on the next page."""
    coordinated_with: str | None = None
    done: frozenset[str] = frozenset()
    """Items of the checklists."""
    disposition: str | None = None
    lowered_to: Severity | None = None
    """What two persons agreed paging should go by."""
    report_closed_for: str | None = None
    intervention_ended_for: str | None = None
    guardian_decision: GuardianDecision | None = None
    proposals: tuple[Proposal, ...] = ()
    clocks: tuple[Clock, ...] = ()
    insisted: Mapping[str, int] = field(default_factory=dict)
    """The number of the next page on each ladder that an acknowledgement does not end."""
    tickets: frozenset[TicketId] = frozenset()
    """The safety tickets whose own word has come, not only their name in an event."""
    ticket_due_at: datetime | None = None
    """When it gets a restricted ticket, should the ticket that was named not turn up (S9)."""

    def __repr__(self) -> str:
        return f"<Incident {self.ref} epoch {self.epoch} {self.severity_working.word}>"

    @property
    def severity_working(self) -> Severity:
        """What paging goes by: the peak, unless two persons have lowered it (S1)."""
        return self.facts.severity if self.lowered_to is None else self.lowered_to

    @property
    def lane(self) -> PagingLane:
        """The ladder of the policy that this incident climbs (S4)."""
        if self.severity_working is Severity.CRITICAL:
            return PagingLane.CRISIS
        if self.lowered_to is None and IncidentClass.CRISIS in self.facts.classes:
            return PagingLane.CRISIS
        if IncidentClass.MANDATORY_REPORT in self.facts.classes:
            return PagingLane.MANDATORY_REPORT
        return PagingLane(self.severity_working.word)

    def roles_missing(self, policy: Policy) -> frozenset[str]:
        """The roles that still have to acknowledge this epoch (S4)."""
        required = {SUPPORT}.union(*(policy.safety.must_acknowledge[one] for one in self.facts.classes))
        return frozenset(required - self.roles_acknowledged)

    @property
    def roles_acknowledged(self) -> frozenset[str]:
        """The roles that have acknowledged this epoch; earlier epochs do not count (S4)."""
        return frozenset(one.role for one in self.acknowledgements if one.epoch == self.epoch)

    @property
    def ackers(self) -> frozenset[str]:
        """The persons whose acknowledgement is current."""
        return frozenset(one.actor_id for one in self.acknowledgements if one.epoch == self.epoch)

    @property
    def has_restricted_ticket(self) -> bool:
        """Whether its ticket was made by us, so that what is said of that ticket is no news (S9)."""
        return self.ticket_id is not None and not self.is_born_of_ticket

    @property
    def is_report_open(self) -> bool:
        """Whether a report has to be made and no receipt is there; two persons may close it for a reason (S1, S3)."""
        report = self.facts.report
        return ReportTrack.NOT_REQUIRED < report < ReportTrack.ACCEPTED and self.report_closed_for is None

    @property
    def is_intervention_open(self) -> bool:
        """Whether help is under way and nobody has confirmed it; two persons may end it for a reason (S1, S3)."""
        is_under_way = InterventionTrack.NONE < self.facts.intervention < InterventionTrack.CONFIRMED
        return is_under_way and self.intervention_ended_for is None

    @property
    def is_hand_off_open(self) -> bool:
        """Whether somebody was handed over and nobody has confirmed it (S3)."""
        return self.facts.intervention is InterventionTrack.HANDED_OFF and self.intervention_ended_for is None

    @property
    def handling_track(self) -> str:
        if self.continues_in is not None:
            return "merged"
        if self.handling is Handling.PAGING and self.severity_working is Severity.LOW:
            return "new"
        return self.handling.value

    @property
    def report_track(self) -> str:
        return self.facts.report.word if self.report_closed_for is None else "closed"

    @property
    def intervention_track(self) -> str:
        if self.intervention_ended_for is not None and self.facts.intervention < InterventionTrack.CONFIRMED:
            return "ended_without_contact"
        return self.facts.intervention.word

    @property
    def guardian_track(self) -> GuardianTrack:
        """Telling a guardian is held unless it is expressly allowed, or two persons have released it (S5)."""
        facts, decision = self.facts, self.guardian_decision
        if decision is not None and decision.track is not GuardianTrack.PLANNED:
            return decision.track
        if facts.guardian_notified:
            return GuardianTrack.SENT
        if Response.PARENT_NOTIFICATION not in facts.responses:
            return GuardianTrack.NONE
        released_for = decision.contact if decision is not None else GuardianContact.ALLOWED
        return GuardianTrack.PLANNED if facts.guardian_contact <= released_for else GuardianTrack.HELD

    def checklist(self, policy: Policy) -> frozenset[str]:
        """What has to be done before it is followed up (S4)."""
        items = (policy.safety.checklists[one] for one in self.facts.classes)
        return frozenset(policy.safety.checklist_of_every_incident).union(*items)


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
    facts = signal.facts.joined(signal.facts).at_least_the_floor(policy)
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
    """The incident after one more signal. Worse news begins a new epoch; a lower word changes nothing (S1). What is too much to
    keep passes for news.
    """
    known = incident.facts
    facts = known.joined(signal.facts).at_least_the_floor(policy)
    if facts.leaves_out(signal.facts):
        signal, incident = replace(signal, asks_again=True), replace(incident, proposals=())
    after = _no_longer_agreed(replace(incident, facts=facts), known, said=signal.facts.severity)
    is_graver = after.severity_working > incident.severity_working or facts.classes > known.classes
    wanted_again = _wanted_again(incident, after)
    after = _running_again(after, wanted_again)
    is_worse = is_graver or bool(wanted_again)
    if incident.handling is Handling.CLOSED:
        reopens = signal.asks_again or is_worse or not facts.says_no_more_than(known, policy)
        return new_epoch(reopened(after), now=now) if reopens else after
    if is_worse:
        return new_epoch(after, now=now)
    if incident.next_page_at is None and (signal.asks_again or _has_failed_again(known, facts)):
        return new_epoch(after, now=now)
    return renew_lease(after, now=now, policy=policy) if _has_moved_on(known, facts) else after


def absorb(incident: Incident, other: Incident, *, now: datetime, policy: Policy) -> tuple[Incident, Incident]:
    """Two incidents turn out to be one matter: one page lane for both (S8).

    The new epoch is later than any of either, so that no acknowledgement of one half passes for the whole; nor does what
    two persons have agreed on, nor a promise kept to one of them.
    """
    facts = incident.facts.joined(other.facts).at_least_the_floor(policy)
    latest = max(incident.epoch, other.epoch)
    whole = replace(
        reopened(incident),
        facts=facts,
        epoch=latest,
        lowered_to=None,
        report_closed_for=None,
        intervention_ended_for=None,
        guardian_decision=None,
        proposals=(),
        tickets=incident.tickets | other.tickets,
    )
    not_kept = {clock.key for clock in other.clocks if clock.met_at is None} | _wanted_again(incident, whole)
    gone = replace(other, continues_in=incident.ref, next_page_at=None, lease_ends_at=None, clocks=())
    return new_epoch(_running_again(whole, not_kept), now=now), gone


def new_epoch(incident: Incident, *, now: datetime) -> Incident:
    """Somebody has to look again: paging begins anew, and who acknowledged before has not acknowledged this (S4)."""
    return replace(
        incident,
        epoch=incident.epoch + 1,
        epoch_started_at=now,
        next_page_at=now,
        next_page=0,
        handling=Handling.PAGING,
        lease_ends_at=None,
    )


def reopened(incident: Incident) -> Incident:
    """What was done before is not done for what comes now."""
    return replace(incident, done=frozenset(), disposition=None, coordinated_with=None)


def renew_lease(incident: Incident, *, now: datetime, policy: Policy) -> Incident:
    """Something has been done: the acknowledgement holds for another while, unless it had run out by then, looked at or not
    (S4).
    """
    if incident.lease_ends_at is not None and incident.lease_ends_at <= now:
        return incident
    minutes = policy.safety.lease_minutes[incident.lane]
    holds = incident.handling in (Handling.ACKNOWLEDGED, Handling.COORDINATING) and minutes is not None
    return replace(incident, lease_ends_at=now + timedelta(minutes=minutes or 0) if holds else None)


def must_be_current(incident: Incident, epoch: int) -> None:
    """
    Raises:
        ContinuesElsewhere, AlreadyClosed, EpochHasPassed: what was seen is not what is.
    """
    if incident.continues_in is not None:
        raise ContinuesElsewhere
    if incident.handling is Handling.CLOSED:
        raise AlreadyClosed
    if epoch != incident.epoch:
        raise EpochHasPassed


def _no_longer_agreed(after: Incident, known: Facts, *, said: Severity) -> Incident:
    """What two persons agreed on ends with the first word that says more than they knew (S1)."""
    facts = after.facts
    is_news = facts != known
    is_above = after.lowered_to is not None and (said > after.lowered_to or facts.classes > known.classes)
    asks_for_report = facts.last_report != known.last_report and facts.last_report is not None and facts.last_report[2]
    help_wanted = facts.asked.get(Response.CRISIS_INTERVENTION) != known.asked.get(Response.CRISIS_INTERVENTION)
    return replace(
        after,
        lowered_to=None if is_news and is_above else after.lowered_to,
        report_closed_for=None if asks_for_report else after.report_closed_for,
        intervention_ended_for=None if help_wanted else after.intervention_ended_for,
    )


def _wanted_again(before: Incident, after: Incident) -> set[ClockKey]:
    """What two persons had ended without its outcome and is wanted after all (S1, S3)."""
    wanted: set[ClockKey] = set()
    if before.report_closed_for is not None and after.is_report_open:
        wanted.add((Promise.OUTCOME, IncidentClass.MANDATORY_REPORT))
    if before.intervention_ended_for is not None and after.is_intervention_open:
        wanted |= {(Promise.OUTCOME, IncidentClass.CRISIS), (Promise.CONFIRMATION, None)}
    return wanted


def _running_again(incident: Incident, wanted: Collection[ClockKey]) -> Incident:
    """A clock goes on where its end turned out to be none; what it has told stays told (S4)."""
    clocks = tuple(replace(one, met_at=None) if one.key in wanted else one for one in incident.clocks)
    return replace(incident, clocks=clocks)


def _has_failed_again(known: Facts, facts: Facts) -> bool:
    return facts.report < ReportTrack.ACCEPTED and facts.report_failures > known.report_failures


def _has_moved_on(known: Facts, facts: Facts) -> bool:
    """A step of the report or of the intervention is progress (S4)."""
    return facts.report > known.report or facts.intervention > known.intervention
