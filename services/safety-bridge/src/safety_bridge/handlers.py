"""What the bridge does about an event, and whenever something of an incident is due: load, decide, save, emit.

What is emitted is built from codes alone; nothing an event says in its own words is ever passed on (S5).
"""

import secrets
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import orjson
import structlog

from safety_bridge import custody
from safety_bridge.audit import Entry
from safety_bridge.domain import deadlines, feed, handover, identity, paging, protected, signal
from safety_bridge.domain.clock import Clock, Notice, Step
from safety_bridge.domain.facts import Flag
from safety_bridge.domain.identity import CROCKFORD, Identity, IdentityKind, Mode, fit_name
from safety_bridge.domain.incident import Actor, Incident, Signal, absorb, merge, open_incident
from safety_bridge.domain.paging import Page, Why
from safety_bridge.domain.retention import Reason, Retention
from safety_bridge.domain.tracks import Handling
from safety_bridge.store import SafetyUnit, identities_of, is_ours
from safety_bridge.vault import Kind
from shared.directory import OnCallRole
from shared.errors import DeadLetterCode, InvalidMessage
from shared.events import agent
from shared.events.agent import AgentEvent, SafetyAgentHeartbeat, SafetyTicketFlagged, SafetyUnreadable
from shared.events.envelope import Event, Received, Record, decode, parse_json
from shared.events.routing import RoutingAssigned, RoutingRefused
from shared.events.safety import (
    DeadlineEvent,
    IncidentEvent,
    SafetyDeadlineBreached,
    SafetyDeadlineMet,
    SafetyDeadlineMoved,
    SafetyDeadlineStarted,
    SafetyDeadlineWarning,
    SafetyIncidentAckLapsed,
    SafetyIncidentOpened,
    SafetyIncidentRaised,
    SafetyIncidentReopened,
    SafetyIncidentUpdated,
    SafetyPageLate,
    SafetyPageRequested,
    SafetyPagingExhausted,
    SafetyPolicyViolation,
    SafetyReassessmentProposed,
    SafetyRetentionDecided,
    SafetyStepEmpty,
    Tracks,
    WatchEvent,
)
from shared.events.ticket import Requester, TicketCreated, TicketRestricted
from shared.events.topics import AGENT, ROUTING, Topic
from shared.runtime.log import where
from shared.vocabulary import Category, Severity, TicketId

KINDS: Mapping[type[Event], signal.Kind] = MappingProxyType(
    {
        agent.SafetyCrisisDetected: signal.CRISIS_DETECTED,
        agent.SafetyMandatoryReportTriggered: signal.REPORT_TRIGGERED,
        agent.SafetyMandatoryReportGenerated: signal.REPORT_GENERATED,
        agent.SafetyMandatoryReportSubmitted: signal.REPORT_SUBMITTED,
        agent.SafetyMandatoryReportAccepted: signal.REPORT_ACCEPTED,
        agent.SafetyMandatoryReportFailed: signal.REPORT_FAILED,
        agent.SafetyModerationConcern: signal.MODERATION_CONCERN,
        agent.SafetyPrivacyConcern: signal.PRIVACY_CONCERN,
        agent.SafetyCoppaConcern: signal.COPPA_CONCERN,
        agent.SafetyIncidentUpdated: signal.INCIDENT_UPDATED,
        agent.SafetyResponseStarted: signal.RESPONSE_STARTED,
        agent.SafetyInterventionHandedOff: signal.INTERVENTION_HANDED_OFF,
        agent.SafetyInterventionConfirmed: signal.INTERVENTION_CONFIRMED,
        agent.SafetyGuardianNotified: signal.GUARDIAN_NOTIFIED,
        agent.SafetyIncidentRetracted: signal.INCIDENT_RETRACTED,
    }
)
"""What each type of the agent's events says by itself."""
OPENED_BY = {
    IdentityKind.AGENT: "S3",
    IdentityKind.TICKET: "S8",
    IdentityKind.UNREADABLE: "S6",
    IdentityKind.FOREIGN: "S6",
}
RESTRICTED_TICKET_DIGITS = 10
LATE_AFTER = timedelta(seconds=10)
"""A page that leaves this much later than it was due is told to be late (S4)."""
DEADLINES: Mapping[Step, type[DeadlineEvent]] = MappingProxyType(
    {
        Step.STARTED: SafetyDeadlineStarted,
        Step.WARNING: SafetyDeadlineWarning,
        Step.BREACHED: SafetyDeadlineBreached,
        Step.MET: SafetyDeadlineMet,
        Step.MOVED: SafetyDeadlineMoved,
    }
)


TICKET_CHANGE_REFUSED = "ticket_change_refused"
EVERY_INCIDENT = "*"
"""Stands in the audit for the incident where somebody looked at the list of all."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks at an incident, in which role and why: an id and two words, never a sentence (S5)."""

    actor: str
    role: str
    reason: str


def on_agent_signal(message: Received[AgentEvent], unit: SafetyUnit) -> None:
    """Whatever comes on the agent's topic opens or updates an incident; a flag does so for its ticket (S3, S6, S8)."""
    unit.noticed.arrived(message.envelope.source, feed.number_of(message.event.sequence))
    names = identities_of(message, unit.environment)
    if names[0].kind is IdentityKind.FOREIGN:
        heard = signal.foreign(occurred_at=message.occurred_at, received_at=unit.now)
    else:
        heard = _in_other_mode(_understood(message, unit), message, names, unit)
    _receive(heard, names, unit)
    _set_apart(message, names, unit)


def on_heartbeat(message: Received[SafetyAgentHeartbeat], unit: SafetyUnit) -> None:
    """A heartbeat opens nothing: it only says that its source is heard, and how far it has got (S4)."""
    unit.noticed.beat(message.envelope.source, feed.number_of(message.event.highest_sequence))


def is_routed_to_safety(event: RoutingAssigned | RoutingRefused) -> bool:
    """Of all that the router decides, only safety tickets concern the bridge, and what was refused for their sake (S1, S8)."""
    return event.clause == "S1" if isinstance(event, RoutingRefused) else event.category is Category.SAFETY


def on_routing_assigned(message: Received[RoutingAssigned], unit: SafetyUnit) -> None:
    """A ticket routed to safety has an incident, unless the ticket is the restricted one of an incident (S8, S9)."""
    for name in identities_of(message):
        known = unit.incidents.find(name)
        if known is None or not known.has_restricted_ticket or known.ticket_id != name.name:
            _receive(_understood(message, unit), (name,), unit)


def on_routing_refused(message: Received[RoutingRefused], unit: SafetyUnit) -> None:
    """Somebody would have closed or moved the ticket of an incident: nothing of it changes, and its record shows it (S1)."""
    for name in identities_of(message):
        if (known := unit.incidents.find(name)) is not None:
            unit.incidents.save(tell(SafetyIncidentUpdated, known, unit, "S1", reason_code=TICKET_CHANGE_REFUSED))


def on_unreadable(record: Record, code: DeadLetterCode, unit: SafetyUnit) -> None:
    """Nothing on the agent's topic is only a dead letter: what cannot be read is an incident of its producer (S6).

    A second body under a known id can be read: what it raises is raised. What could be read and not be handled, a fault of ours,
    is as severe as it said. The record's bytes are sealed under its incident's key.
    """
    message = _readable(record, AGENT)
    if code is DeadLetterCode.ID_CONFLICT and message is not None:
        if type(message.event) is SafetyAgentHeartbeat:
            return
        if (understood := _understood_unhandled(message, unit)) is not None:
            names, heard = understood
            unit.after_loading(names, lambda: _receive(signal.conflicting(heard), names, unit))
            unit.after_loading(names, lambda: _seal_record(record, names, unit))
            return
    unread = _receive_unreadable(record, message, unit)
    unit.after_loading(unread, lambda: _seal_record(record, unread, unit))


def on_unhandled_routing(record: Record, code: DeadLetterCode, unit: SafetyUnit) -> None:  # noqa: ARG001
    """A routed safety ticket that could not be handled is not only a dead letter either (S6)."""
    message = _readable(record, ROUTING)
    if message is not None and isinstance(message.event, RoutingAssigned) and identities_of(message):
        _receive_unreadable(record, message, unit)


def look(due: Incident, unit: SafetyUnit) -> Incident:
    """Do all that is due of an incident now: leases, pages, thresholds, its ticket. Keep it, and when it is due next (S4)."""
    if due.continues_in is not None:
        unit.incidents.save(due)
        return due
    after = paging.lapse(due, now=unit.now, policy=unit.policy)
    if after.epoch > due.epoch:
        after = tell(SafetyIncidentAckLapsed, after, unit, "S4", occurred_at=due.lease_ends_at)
    after, page = handover.next_page(after, now=unit.now, directory=unit.directory, policy=unit.policy)
    if page is not None:
        _ask_for(page, after, unit)
        _tell_empty_steps(after, page, unit)
    after, insisted = paging.insist(after, now=unit.now, reachable=unit.reachable, policy=unit.policy)
    for page in insisted:
        _ask_for(page, after, unit)
    after, told = deadlines.look(after, now=unit.now, policy=unit.policy)
    for clock, notice in told:
        _tell_of_clock(clock, notice, after, unit)
    after, names = _with_ticket(after, unit)
    unit.incidents.save(after, names)
    return after


def keep(
    before: Incident,
    after: Incident,
    unit: SafetyUnit,
    names: Sequence[Identity] = (),
    *,
    actor: Actor | None = None,
    reason_code: str | None = None,
) -> Incident:
    """Tell what has changed, keep it, and page at once if the news is worse."""
    if after.epoch > before.epoch:
        event = SafetyIncidentReopened if before.handling is Handling.CLOSED else SafetyIncidentRaised
        after = tell(event, after, unit, "S1", actor=actor, reason_code=reason_code or _why(before, after))
    elif not after.facts.knows_what(before.facts) or shown(after) != shown(before):
        after = tell(SafetyIncidentUpdated, after, unit, "S1", actor=actor, reason_code=reason_code)
    for lowering in sorted(after.facts.lowerings(unit.policy) - before.facts.lowerings(unit.policy)):
        after = tell(SafetyReassessmentProposed, after, unit, "S1", reason_code=lowering)
    unit.incidents.save(after, names)
    _warn_of_conflict(before.facts.flags, after, unit)
    return look(after, unit)


def tell(
    event: type[IncidentEvent],
    one: Incident,
    unit: SafetyUnit,
    clause: str,
    *,
    occurred_at: datetime | None = None,
    actor: Actor | None = None,
    reason_code: str | None = None,
    proposed_severity: Severity | None = None,
) -> Incident:
    """Emit what the incident is now; the one returned remembers that it was told."""
    told = replace(one, revision=one.revision + 1)
    unit.emit(
        event(
            **shown(told),
            actor_id=actor.id if actor else None,
            actor_role=actor.role if actor else None,
            reason_code=reason_code,
            proposed_severity=proposed_severity.word if proposed_severity else None,
            occurred_at=occurred_at or unit.now,
            emitted_at=unit.now,
            clauses=(clause,),
            policy_version=unit.policy.version,
        ),
        occurred_at=occurred_at or unit.now,
        seed=f"{told.ref}|{told.revision}",
        correlation_id=told.ref,
    )
    return told


def tell_of_watch(event: type[WatchEvent], unit: SafetyUnit, *, about: str, seed: str, **details: Any) -> None:
    """Tell whoever looks after the watch; the last responder where nobody does (S4)."""
    reachable = handover.reachable_at(unit.directory, unit.now)
    roles = tuple(role for role in unit.policy.safety.watch.roles if role in reachable) or (
        OnCallRole.LAST_RESPONDER.value,
    )
    unit.emit(
        event(
            about=about,
            occurred_at=unit.now,
            emitted_at=unit.now,
            clauses=("S4",),
            policy_version=unit.policy.version,
            roles=roles,
            **details,
        ),
        occurred_at=unit.now,
        seed=f"{about}|{seed}",
        correlation_id=about,
    )


def read(refs: Iterable[str], by: Reader, unit: SafetyUnit, *, what: str = "incident_read") -> None:
    """Who has looked at which incident stands in the audit before anything is shown (S5)."""
    unit.noted += [Entry(ref, what, "", by.actor, by.role, by.reason, b"") for ref in refs]


def decide_retention(kept: Retention, unit: SafetyUnit, decision: str, reason: Reason, **actor: str) -> None:
    """Tell what was decided about the content of an incident; the audit keeps it by this event (S5)."""
    told = SafetyRetentionDecided(
        incident_ref=kept.incident_ref,
        occurred_at=unit.now,
        emitted_at=unit.now,
        clauses=("S5",),
        policy_version=unit.policy.version,
        decision=decision,
        reason_code=reason,
        delete_after=kept.delete_after,
        actor_id=actor.get("actor_id"),
        actor_role=actor.get("actor_role"),
    )
    seed = f"{kept.incident_ref}|{decision}|{unit.now.isoformat()}"
    unit.emit(told, occurred_at=unit.now, seed=seed, correlation_id=kept.incident_ref)


def shown(one: Incident) -> dict[str, Any]:
    """An incident as its events and its API show it: codes and ids (S5)."""
    facts = one.facts
    return {
        "incident_ref": one.ref,
        "agent_incident_id": min(facts.agent_incident_ids, default=None),
        "ticket_id": one.ticket_id,
        "mode": one.mode.value,
        "epoch": one.epoch,
        "severity_working": one.severity_working.word,
        "severity_peak": facts.severity.word,
        "classes": tuple(sorted(facts.classes)),
        "responses": tuple(sorted(facts.responses)),
        "tracks": Tracks(
            handling=one.handling_track,
            report=one.report_track,
            guardian=one.guardian_track,
            intervention=one.intervention_track,
        ),
        "flags": tuple(sorted(flag.value for flag in facts.flags)),
        "failed_report_attempts": facts.failed_attempts,
    }


def _understood(message: Received[Any], unit: SafetyUnit) -> Signal:
    event, envelope = message.event, message.envelope
    match event:
        case SafetyUnreadable():
            return signal.unreadable(occurred_at=envelope.occurred_at, received_at=unit.now)
        case SafetyTicketFlagged() | RoutingAssigned():
            heard = signal.of_safety_ticket(
                event.subcategory, occurred_at=envelope.occurred_at, received_at=unit.now, policy=unit.policy
            )
            is_new_word = isinstance(event, SafetyTicketFlagged)
            return replace(heard, asks_again=True) if is_new_word else heard  # each flag is another cry
    return signal.understand(
        event,
        KINDS[type(event)],
        occurred_at=envelope.occurred_at,
        received_at=unit.now,
        is_clamped=envelope.claimed_at is not None,
        mark=envelope.identity.hex(),
    )


def _in_other_mode(heard: Signal, message: Received[AgentEvent], names: Sequence[Identity], unit: SafetyUnit) -> Signal:
    """An id that is known as a drill and as live is two incidents, and both say so: live can never turn into a drill (S6)."""
    other = signal.in_other_mode(message.event, source=message.envelope.source)
    twin = unit.incidents.find(other) if other is not None else None
    if twin is None:
        return heard
    flagged = replace(twin, facts=replace(twin.facts, flags=twin.facts.flags | {Flag.OTHER_MODE}))
    if flagged != twin:
        keep(twin, flagged, unit)
    return signal.flagged(heard, Flag.OTHER_MODE) if names[0].kind is IdentityKind.AGENT else heard


def _receive(heard: Signal, names: Sequence[Identity], unit: SafetyUnit) -> None:
    """Open the incident, or merge into the one that has one of these names; two that meet become one (S8)."""
    known, others = _known(names, unit)
    if known is None:
        _open(heard, names, unit)
        return
    is_of_agent = names[0].kind is IdentityKind.AGENT and unit.incidents.find(names[0]) is None
    if is_of_agent and (known.facts.agent_incident_ids or names[0].name is None):
        heard = replace(heard, asks_again=True)  # a second matter of the agent's must not pass for one already taken
    before = known
    if names[0].kind is IdentityKind.TICKET:
        known, heard = _linked(known, heard, TicketId(names[0].name or ""))
    after = merge(known, heard, now=unit.now, policy=unit.policy)
    for other in others:
        after, gone = absorb(after, other, now=unit.now, policy=unit.policy)
        unit.incidents.hand_over(gone, after)
        unit.incidents.save(tell(SafetyIncidentUpdated, gone, unit, "S8", reason_code="merged"))
        for clock in other.clocks:
            if clock.met_at is None:
                _tell_of_clock(clock, Notice(Step.MOVED, unit.now, clock.percent_at(unit.now)), gone, unit)
    keep(before, after, unit, names)


def _linked(known: Incident, heard: Signal, ticket_id: TicketId) -> tuple[Incident, Signal]:
    """The incident, once the ticket that an event has named turns up by itself: no second cry, unless all was over (S8, S9)."""
    if ticket_id in known.tickets:
        return known, heard
    linked = replace(known, tickets=known.tickets | {ticket_id})
    if linked.ticket_id is None and linked.ticket_due_at is not None:
        linked = replace(linked, ticket_id=ticket_id, is_born_of_ticket=True, ticket_due_at=None)
    return linked, replace(heard, asks_again=known.handling is Handling.CLOSED)


def _known(names: Sequence[Identity], unit: SafetyUnit) -> tuple[Incident | None, list[Incident]]:
    """The incident these names belong to, and those that turn out to be the same matter.

    The incident of a ticket named goes before the agent's own; an incident that was born of a ticket stays its own (S8).
    """
    found = {one.ref: one for name in reversed(names) if (one := unit.incidents.find(name)) is not None}
    if not found:
        return None, []
    *others, last = found.values()
    if others and last.is_born_of_ticket:
        return last, []
    return (others[0], [last]) if others else (last, [])


def _open(heard: Signal, names: Sequence[Identity], unit: SafetyUnit) -> None:
    """An incident that no ticket gave birth to gets a restricted one, once the ticket it names has not turned up; a drill
    gets none (S9).
    """
    born_as = names[0]
    is_born_of_ticket = born_as.kind is IdentityKind.TICKET
    ticket_id = TicketId(born_as.name or "") if is_born_of_ticket else None
    opened = open_incident(
        unit.incidents.free_reference(born_as),
        born_as.mode,
        heard,
        ticket_id=ticket_id,
        is_born_of_ticket=is_born_of_ticket,
        now=unit.now,
        policy=unit.policy,
    )
    if ticket_id is not None:
        opened = replace(opened, tickets=frozenset({ticket_id}))
    elif born_as.mode is Mode.LIVE:
        wait = timedelta(minutes=unit.policy.safety.restricted_ticket_after_minutes if len(names) > 1 else 0)
        opened = replace(opened, ticket_due_at=unit.now + wait)
        if not wait:
            opened = replace(opened, ticket_id=_new_ticket_id())
    unit.incidents.save(opened, names)
    _warn_of_conflict(frozenset(), opened, unit)
    look(tell(SafetyIncidentOpened, opened, unit, OPENED_BY[born_as.kind]), unit)


def _warn_of_conflict(known: AbstractSet[Flag], one: Incident, unit: SafetyUnit) -> None:
    if Flag.SUBJECT_CONFLICT in one.facts.flags - known:
        _ask_for(paging.subject_conflict(one, reachable=unit.reachable), one, unit)


def _with_ticket(incident: Incident, unit: SafetyUnit) -> tuple[Incident, tuple[Identity, ...]]:
    """The incident with its restricted ticket, once that is due (S9)."""
    if incident.ticket_due_at is None or incident.ticket_due_at > unit.now:
        return incident, ()
    ticket_id = incident.ticket_id or _new_ticket_id()
    after = replace(incident, ticket_id=ticket_id, ticket_due_at=None)
    if incident.ticket_id is None:
        after = tell(SafetyIncidentUpdated, after, unit, "S9")
    _open_restricted_ticket(ticket_id, unit)
    return after, (identity.of_ticket(ticket_id),)


def _ask_for(page: Page, one: Incident, unit: SafetyUnit) -> None:
    """Ask the notifier for a page, and tell where the pages have got to."""
    about = {
        "incident_ref": one.ref,
        "occurred_at": unit.now,
        "emitted_at": unit.now,
        "clauses": ("S4",),
        "policy_version": unit.policy.version,
        "mode": one.mode,
        "epoch": one.epoch,
    }
    late_by = page.late_by.total_seconds()
    number = f"{page.step}|{page.repeat}"
    is_ladder = page.why in (Why.NOT_ACKNOWLEDGED, Why.HAND_OVER)
    on_duty_since = page.handed_over_at or (max(one.epoch_started_at, one.opened_at) if is_ladder else None)
    events: dict[str, Event] = {
        f"{one.ref}|{one.epoch if is_ladder else page.why}|{number}{_at(page.handed_over_at)}": SafetyPageRequested(
            **about,
            step=page.step,
            repeat=page.repeat,
            lane=page.lane,
            severity_working=one.severity_working.word,
            roles=page.roles,
            persons=page.persons,
            on_duty_since=on_duty_since,
            late_by_seconds=late_by,
            reason_code=page.why,
            outlives_acknowledgement=not is_ladder,
        )
    }
    if page.late_by > LATE_AFTER:
        seed = f"{one.ref}|{one.epoch}|{page.why}|{number}|late"
        events[seed] = SafetyPageLate(**about, step=page.step, late_by_seconds=late_by, missed_steps=page.missed)
    if page.is_first_repeat:
        events[f"{one.ref}|{one.epoch}|exhausted"] = SafetyPagingExhausted(**about, lane=page.lane)
    for seed, event in events.items():
        unit.emit(event, occurred_at=unit.now, seed=seed, correlation_id=one.ref)


def _tell_of_clock(clock: Clock, notice: Notice, one: Incident, unit: SafetyUnit) -> None:
    unit.emit(
        DEADLINES[notice.step](
            incident_ref=one.ref,
            occurred_at=notice.at,
            emitted_at=unit.now,
            clauses=("S4",),
            policy_version=unit.policy.version,
            mode=one.mode,
            epoch=one.epoch,
            clock=clock.promise,
            incident_class=clock.incident_class,
            started_at=clock.started_at,
            due_at=clock.due_at,
            elapsed_pct=notice.percent,
        ),
        occurred_at=notice.at,
        seed="|".join((one.ref, clock.promise, clock.incident_class or "", _which(clock, notice))),
        correlation_id=one.ref,
    )


def _which(clock: Clock, notice: Notice) -> str:
    """What tells one notice of a clock from its others."""
    match notice.step:
        case Step.STARTED:
            return clock.due_at.isoformat()
        case Step.MET | Step.MOVED:
            return f"{notice.step}|{notice.at.isoformat()}"
    return str(notice.percent)


def _tell_empty_steps(one: Incident, page: Page, unit: SafetyUnit) -> None:
    """Who was missing on a step that reached nobody is told once a shift, and once a day where nobody takes turns (S4)."""
    for role in page.skipped:
        if unit.directory.on_duty(role, unit.now):
            continue
        edges = unit.directory.handovers([role], unit.now - timedelta(days=1), unit.now)
        shift = edges[-1].isoformat() if edges else unit.now.date().isoformat()
        details = {"incident_ref": one.ref, "epoch": one.epoch, "lane": page.lane}
        seed = f"{shift}|{one.ref}"
        unit.noticed.once(
            f"empty|{role}|{shift}", partial(tell_of_watch, SafetyStepEmpty, unit, about=role, seed=seed, **details)
        )


def _at(instant: datetime | None) -> str:
    return f"|{instant.isoformat()}" if instant else ""


def _why(before: Incident, after: Incident) -> str:
    if after.severity_working > before.severity_working:
        return "severity_rose"
    if after.facts.classes > before.facts.classes:
        return "class_added"
    return "report_failed" if after.facts.failed_attempts > before.facts.failed_attempts else "asked_again"


def _open_restricted_ticket(ticket_id: TicketId, unit: SafetyUnit) -> None:
    """A ticket that says nothing: the same words for every matter, and no id by which it could be traced to one (S9)."""
    unit.because_of(None)
    created = TicketCreated(
        ticket_id=ticket_id,
        subject="Safety matter",
        body="",
        channel="safety",
        requester=Requester(id="safety"),
        category=Category.SAFETY.value,
    )
    for event in (created, TicketRestricted(ticket_id=ticket_id)):
        unit.emit(event, occurred_at=unit.now, seed=ticket_id, correlation_id=ticket_id)


def _new_ticket_id() -> TicketId:
    """Drawn, not derived: whoever can guess an incident's id must not be able to compute its ticket's (S9)."""
    return TicketId("SR-" + "".join(secrets.choice(CROCKFORD) for _ in range(RESTRICTED_TICKET_DIGITS)))


def _receive_unreadable(record: Record, message: Received[Any] | None, unit: SafetyUnit) -> Sequence[Identity]:
    names = (identity.of_unreadable(_producer_of(record)),)
    severity = _severity_unhandled(message, unit) if message is not None else Severity.HIGH
    heard = signal.unreadable(occurred_at=record.timestamp, received_at=unit.now, severity=severity)
    unit.after_loading(names, lambda: _receive(heard, names, unit))
    return names


def _severity_unhandled(message: Received[Any], unit: SafetyUnit) -> Severity:
    """High, or critical where it would have been: what it is about as far as that is known without handling it (S2)."""
    understood = _understood_unhandled(message, unit)
    if understood is not None:
        return max(Severity.HIGH, understood[1].facts.at_least_the_floor(unit.policy).severity)
    kind = KINDS.get(type(message.event))
    is_grave = kind is not None and kind.incident_class in signal.UNKNOWN_IS_CRITICAL
    return Severity.CRITICAL if is_grave else Severity.HIGH


def _understood_unhandled(message: Received[Any], unit: SafetyUnit) -> tuple[tuple[Identity, ...], Signal] | None:
    """Whose it is and what it says; None where that is what it could not be handled for, since nothing may fail here any more."""
    try:
        return identities_of(message, unit.environment), _understood(message, unit)
    except Exception as error:
        log.error("not understood", error=type(error).__name__, where=where(error))
        return None


def _set_apart(message: Received[AgentEvent], names: Sequence[Identity], unit: SafetyUnit) -> None:
    """What is protected in an event, and what should not have been said, is sealed; its producer is told the places (S5)."""
    known = unit.incidents.find(names[0])
    if known is None:
        return
    if is_ours(message.envelope):
        if isinstance(message.event, SafetyUnreadable) and message.event.sealed is not None:
            unit.vault.take_over(known.ref, Kind.RECORD, b64decode(message.event.sealed), about=message.id)
        return
    data = message.event.model_dump(by_alias=True, exclude_unset=True)
    if (until := protected.preserved_until(data)) is not None:
        unit.vault.preserve(known.ref, until)
    apart = protected.set_apart(data)
    for kind, values in ((Kind.PROTECTED, apart.protected), (Kind.QUARANTINE, apart.quarantined)):
        if values:
            unit.vault.seal(known.ref, kind, orjson.dumps(values))
    if apart.places:
        violation = SafetyPolicyViolation(
            incident_ref=known.ref,
            occurred_at=unit.now,
            emitted_at=unit.now,
            clauses=("S5",),
            policy_version=unit.policy.version,
            mode=known.mode,
            agent_incident_id=fit_name(message.event.agent_incident_id),
            source=fit_name(message.envelope.source),
            places=apart.places,
        )
        seed = f"{message.envelope.source}|{message.envelope.id}"
        unit.emit(violation, occurred_at=unit.now, seed=seed, correlation_id=known.ref)


def _seal_record(record: Record, names: Sequence[Identity], unit: SafetyUnit) -> None:
    """The bytes of a record that was set aside, under the key of the incident that it opened or updated (S5, S6)."""
    known = unit.incidents.find(names[0])
    if known is not None:
        unit.vault.seal(known.ref, Kind.RECORD, custody.packed(record), place=custody.place_of(record))


def _readable(record: Record, topic: Topic) -> Received[Event] | None:
    try:
        return decode(record, topic.types)
    except InvalidMessage:
        return None
    except Exception as error:  # the consumer could not decode it either
        log.error("not decoded", error=type(error).__name__, where=where(error))
        return None


def _producer_of(record: Record) -> str:
    """Who wrote a record that cannot be read: its source where it has one, else its key."""
    try:
        said = dict(record.headers).get("ce_source", b"").decode() or parse_json(record.value)["source"]
    except (InvalidMessage, UnicodeDecodeError, KeyError, TypeError):
        said = None
    return identity.fit_id(said) or f"{record.topic} {record.key.hex()}"
