"""One function per event of a ticket: load, decide, save, emit. What the policy forbids is answered by `routing.refused`.

A decision happened when the fact happened that caused it; a decision equal to the current one emits nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

from router.domain.assignment import is_at_work
from router.domain.classification import Topic, UpstreamWords
from router.domain.company import Kind, Sighting, fingerprint, suggestions, together
from router.domain.escalation import Met, criterion_of
from router.domain.machine import is_machine_mail
from router.domain.routing import Change, change
from router.domain.ticket import PERSISTS, Decision, Merge, MergedInACircle, Ticket
from router.store import Feedback, RoutingUnit
from shared.errors import DeadLetterCode, InvalidMessage, Refusal
from shared.events.envelope import SAFETY_BRIDGE, Event, Received
from shared.events.routing import (
    RoutingAssigned,
    RoutingDeescalated,
    RoutingEscalated,
    RoutingEvent,
    RoutingRefused,
    Secondary,
    Suggestion,
    Upstream,
)
from shared.events.screening import SafetyScreeningRequested
from shared.events.sla import (
    SlaBreached,
    SlaCancelled,
    SlaClockStarted,
    SlaCorrected,
    SlaEvent,
    SlaFulfilledLate,
    SlaMet,
    SlaPaused,
    SlaResumed,
    SlaRetargeted,
)
from shared.events.ticket import (
    PersonKind,
    TicketClosed,
    TicketCreated,
    TicketDeescalationRequested,
    TicketEscalationRequested,
    TicketMessageAdded,
    TicketReclassified,
    TicketReopened,
    TicketResolved,
    TicketRestricted,
    TicketSignalsAdded,
    TicketStatusChanged,
    TicketTierChanged,
)
from shared.policy.model import Several
from shared.vocabulary import ClockState, Criterion, Hint, Level, Milestone, Origin, TicketId, TicketStatus, Tier

E = TypeVar("E", bound=Event)
Handler = Callable[[Received[E], RoutingUnit], None]


def refusable(handler: Handler[E]) -> Handler[E]:
    """A handler whose refusals become `routing.refused`; it refuses before it saves or emits."""

    @wraps(handler)
    def answer(message: Received[E], unit: RoutingUnit) -> None:
        try:
            handler(message, unit)
        except Refusal as refusal:
            _refuse(refusal, message, unit)

    return answer


def on_ticket_created(message: Received[TicketCreated], unit: RoutingUnit) -> None:
    """The first decision: one `assigned`, with text and signals already applied (R2-R7).

    Raises:
        InvalidMessage: `ticket_exists`, when the ticket came under another event id before.
    """
    created = message.event
    known = unit.tickets.find(TicketId(created.ticket_id))
    if known is not None:
        if known.created_by == message.envelope.identity.hex():
            return
        raise InvalidMessage(DeadLetterCode.TICKET_EXISTS)
    ticket = _opened(message, unit)
    if message.envelope.source == SAFETY_BRIDGE:
        _settle(ticket.marked_restricted(), message, unit)
        return
    ticket = _compared(ticket, message, unit)
    signs = unit.judged(message).reading.crisis
    if signs or ticket.is_found_in_crisis:
        evidence = tuple(sign.rule_id for sign in signs) or ticket.classification.evidence
        _ask_for_screening(evidence, message, unit)
    _settle(ticket, message, unit, texts=(created.subject, created.body))


def on_ticket_message_added(message: Received[TicketMessageAdded], unit: RoutingUnit) -> None:
    """A customer's words may tell of a crisis or meet a criterion (E5, E6), and reopen a resolved ticket (L12).

    A public reply of Level 1 is an attempt; who writes again after it that the trouble is still there has one that persists (E1).
    """
    added = message.event
    ticket = unit.tickets.get(TicketId(added.ticket_id))
    if added.automated:
        return
    if added.author.kind is PersonKind.AGENT and added.public:
        unit.tickets.save(ticket.replied(message.occurred_at))
    if added.author.kind is not PersonKind.CUSTOMER:
        return
    reading = unit.classifier.read(added.body)
    danger = unit.classifier.danger((added.body,), reading)
    if reading.crisis or danger:
        evidence = tuple(sign.rule_id for sign in reading.crisis) or (danger.evidence if danger else ())
        if not ticket.restricted:
            _ask_for_screening(evidence, message, unit)
    else:
        try:
            ticket = _reopened(ticket, message, unit)
        except Refusal as refusal:
            _refuse(refusal, message, unit)
    told = replace(ticket, waits_for_customer=False).told(reading, danger, unit.policy)
    _settle(told, message, unit, texts=(added.body,))


@refusable
def on_ticket_reclassified(message: Received[TicketReclassified], unit: RoutingUnit) -> None:
    """Enters its new category by R2-R7 (R9), and stays there whatever later words say, but for safety and claims (S1, C4).

    Out of safety is refused. What a person corrects is remembered: it is what the classifier got wrong.
    """
    words = UpstreamWords(message.event.category, message.event.subcategory)
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    corrected = ticket.reclassified(words, unit.policy)
    if message.event.by.kind is PersonKind.AGENT and words.understood() is not None and not ticket.restricted:
        unit.feedback.append(Feedback(ticket, corrected.classification, message.occurred_at))
    _settle(corrected, message, unit)


def on_ticket_signals_added(message: Received[TicketSignalsAdded], unit: RoutingUnit) -> None:
    """Signals raise by E0 and E5; words that are not in E0 are ignored."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    _settle(ticket.meeting(_signalled(message.event.signals, unit), unit.policy), message, unit)


@refusable
def on_ticket_escalation_requested(message: Received[TicketEscalationRequested], unit: RoutingUnit) -> None:
    """A person asks for a rise with a criterion of E0 (E7)."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    _settle(ticket.asked_to_rise(message.event.criterion, unit.policy), message, unit)


@refusable
def on_ticket_deescalation_requested(message: Received[TicketDeescalationRequested], unit: RoutingUnit) -> None:
    """A person lowers the level with a reason (R9), never of safety tickets and tickets with legal (S1)."""
    asked = message.event
    lowered = unit.tickets.get(TicketId(asked.ticket_id)).lowered(
        Level(asked.to_level), reason=asked.reason, by_person=asked.by.kind is PersonKind.AGENT, policy=unit.policy
    )
    _settle(lowered, message, unit)


def on_ticket_tier_changed(message: Received[TicketTierChanged], unit: RoutingUnit) -> None:
    """The tier decides targets, not teams: it is remembered for the next decision."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    unit.tickets.save(replace(ticket, tier=message.event.tier))


def on_ticket_resolved(message: Received[TicketResolved], unit: RoutingUnit) -> None:
    """From here on the seven days run in which it may be reopened (L12)."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    unit.tickets.save(ticket.resolved(message.occurred_at))


@refusable
def on_ticket_reopened(message: Received[TicketReopened], unit: RoutingUnit) -> None:
    """Within seven days, team and level stay as they were; later it is refused (L12)."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    unit.tickets.save(_reopened(ticket, message, unit))


@refusable
def on_ticket_closed(message: Received[TicketClosed], unit: RoutingUnit) -> None:
    """Recorded; refused on safety tickets (S1). Facts that come later are still handled.

    In a circle of merges the first ticket by name stays open, and people are told (HD-30).
    """
    into = message.event.into
    merge = Merge(TicketId(into), message.id) if into is not None else None
    ticket = unit.tickets.get(TicketId(message.event.ticket_id)).closed(message.occurred_at, merge)
    unit.tickets.save(ticket)
    if circle := unit.tickets.circle(ticket):
        first = min(circle, key=lambda one: one.ticket_id)
        unit.tickets.save(first.not_merged())
        if first.merge is not None:
            _refuse(MergedInACircle(), message, unit, of=(first.ticket_id, first.merge.closed_by))


def on_ticket_restricted(message: Received[TicketRestricted], unit: RoutingUnit) -> None:
    """From the safety bridge: from now on the general topics say one thing only. From anyone else it is ignored (S9)."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    if message.envelope.source == SAFETY_BRIDGE:
        _settle(ticket.marked_restricted(), message, unit)
        unit.sightings.forget(ticket.ticket_id)
        unit.tickets.forget(ticket.ticket_id)


def on_ticket_status_changed(message: Received[TicketStatusChanged], unit: RoutingUnit) -> None:
    """A ticket that waits for its customer is no load to whoever has it (HD-58)."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    is_waiting = TicketStatus(message.event.status) is TicketStatus.PENDING_CUSTOMER
    unit.tickets.save(replace(ticket, waits_for_customer=is_waiting))


def on_sla_breached(message: Received[SlaBreached], unit: RoutingUnit) -> None:
    """The escalation clock, when due and unresolved, raises the ticket one level (L14, E9)."""
    breached = message.event
    ticket = unit.tickets.get(TicketId(breached.ticket_id))
    if breached.milestone is Milestone.ESCALATION:
        _settle(ticket.overdue(breached.level, breached.started_at, unit.policy, breach=message.id), message, unit)


def on_sla_corrected(message: Received[SlaCorrected], unit: RoutingUnit) -> None:
    """A rise whose breach is withdrawn stays, and is offered for undo (L13, R9, HD-65); the clock urges as it now stands."""
    corrected = message.event
    ticket = unit.tickets.get(TicketId(corrected.ticket_id))
    if corrected.caused_by is not None:
        ticket = ticket.withdrawn(corrected.caused_by)
    if corrected.state is not ClockState.BREACHED:  # a breach that stands was told before
        ticket = ticket.timed(corrected.milestone, _urges_until(corrected))
    unit.tickets.save(ticket)


def on_sla_clock_moved(message: Received[SlaClockStarted | SlaRetargeted | SlaResumed], unit: RoutingUnit) -> None:
    """When a ticket is due decides who is served first (HD-59)."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    unit.tickets.save(ticket.timed(message.event.milestone, _urges_until(message.event)))


def on_sla_clock_ended(
    message: Received[SlaMet | SlaFulfilledLate | SlaCancelled | SlaPaused], unit: RoutingUnit
) -> None:
    """A promise that is kept, gone or paused urges nobody."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    unit.tickets.save(ticket.timed(message.event.milestone, None))


def _urges_until(clock: SlaEvent) -> datetime | None:
    """When it is due, or was: a missed promise urges until it is kept, a paused one does not."""
    return clock.due_at if clock.state in (ClockState.RUNNING, ClockState.BREACHED) else None


def assign_to(ticket: Ticket, member: str | None, unit: RoutingUnit, *, seed: str) -> None:
    """Give a ticket to somebody of its team, or back to the team; announced as a decision that replaces the one in force (R8)."""
    before = ticket.in_force
    taken = ticket.taken_by(member)
    decision = replace(before, id=f"{ticket.ticket_id}:{before.number + 1}", number=before.number + 1)
    taken = replace(taken, decision=decision)
    event = _assigned(taken, decision, before, unit.now, unit)
    unit.tickets.save(taken)
    unit.decide(decision, event, occurred_at=unit.now, seed=seed)


def _reopened(ticket: Ticket, message: Received[Any], unit: RoutingUnit) -> Ticket:
    """Open again; whoever had it and is not there now only watches (L12, HD-60).

    Raises:
        Refusal: more than seven days after it was resolved.
    """
    reopened = ticket.reopened(message.occurred_at, unit.policy)
    if reopened is ticket or ticket.assignee is None:
        return reopened
    members = unit.policy.routing.members.get(ticket.in_force.placement.team, ())
    is_there = any(member.id == ticket.assignee and is_at_work(member, unit.now) for member in members)
    return reopened if is_there else reopened.taken_by(None)


def _opened(message: Received[TicketCreated], unit: RoutingUnit) -> Ticket:
    created, judged = message.event, unit.judged(message)
    tier = created.tier or Tier.FREE
    has_upstream = created.category is not None or created.subcategory is not None
    upstream = UpstreamWords(created.category, created.subcategory) if has_upstream else None
    criteria = _signalled(created.signals, unit)
    if created.ip is not None and created.ip.high_profile:
        criteria.append(Met(Criterion.HIGH_PROFILE_IP, Origin.EVENT))
    elif created.ip is not None and _is_high_profile((created.ip.id, created.ip.character, created.ip.owner), unit):
        criteria.append(Met(Criterion.HIGH_PROFILE_IP, Origin.STATE))
    criteria += [Met(criterion, Origin.TEXT) for criterion in judged.reading.criteria if criterion is not PERSISTS]
    ticket = Ticket(
        ticket_id=TicketId(created.ticket_id),
        created_by=message.envelope.identity.hex(),
        created_at=message.occurred_at,
        tier=tier,
        requester_id=created.requester.id,
        ip_id=created.ip.id if created.ip else None,
        upstream=upstream,
        classification=judged.classification,
    )
    return ticket.meeting(criteria, unit.policy)


def _signalled(words: tuple[str, ...], unit: RoutingUnit) -> list[Met]:
    known = (criterion_of(word, unit.policy) for word in words)
    return [Met(criterion, Origin.EVENT) for criterion in known if criterion is not None]


def _is_high_profile(names: tuple[str | None, ...], unit: RoutingUnit) -> bool:
    """Whether one of the names stands on the policy's list, in any case of letters (E2)."""
    listed = {name.casefold() for name in unit.policy.escalation.high_profile_ips}
    return bool(listed) and any(name is not None and name.casefold() in listed for name in names)


def _compared(ticket: Ticket, message: Received[TicketCreated], unit: RoutingUnit) -> Ticket:
    """With what its requester's other tickets suggest, and whether others have the same trouble (E6, HD-62 to HD-64)."""
    created, judged, policy = message.event, unit.judged(message), unit.policy
    hints: list[Hint] = [hint for hint in judged.reading.hints if hint is not Hint.MACHINE_MAIL]
    by_subject = Hint.MACHINE_MAIL in unit.classifier.read(created.subject).hints
    if by_subject or is_machine_mail(created.attributes):
        hints.append(Hint.MACHINE_MAIL)
    mine = Sighting(
        Kind.REQUESTER,
        created.requester.id,
        ticket.ticket_id,
        created.requester.id,
        message.occurred_at,
        fingerprint(created.subject, created.body),
        counts=Hint.MACHINE_MAIL in hints,
    )
    ticket = replace(ticket, suggestions=suggestions(mine, unit.sightings.see(mine)[-_LOOKED_AT:], hints, policy))
    for key in judged.troubles:
        trouble = replace(mine, kind=Kind.TROUBLE, key=key, text=b"", counts=True)
        ticket = _joined(ticket, trouble, policy.escalation.same_trouble, message, unit)
    return ticket


def _joined(ticket: Ticket, mine: Sighting, several: Several, message: Received[Any], unit: RoutingUnit) -> Ticket:
    """One matter with the tickets seen under the same key, once they are enough: those that do not know yet rise too (E2)."""
    others = together(mine, unit.sightings.see(mine), several)
    if not others:
        return ticket
    criterion = _SHARED[mine.kind]
    for other_id in others:
        other = unit.tickets.find(other_id)
        if other is not None and other.is_open and not other.restricted:
            companions = (ticket.ticket_id, *others)
            _decide(_unless_known(other, companions, criterion, unit), message, unit)
    return _unless_known(ticket, others, criterion, unit)


def _unless_known(ticket: Ticket, others: tuple[TicketId, ...], criterion: Criterion, unit: RoutingUnit) -> Ticket:
    """What is raised already, or was lowered by a person since (R9), is not raised again and hears of no newcomer."""
    if ticket.lowered_to is not None or any(met.criterion is criterion for met in ticket.criteria):
        return ticket
    return ticket.one_of(others, criterion, unit.policy)


_LOOKED_AT = 1000
"""So many of a requester's tickets are compared with a new one."""
_SHARED = {Kind.IP: Criterion.MULTIPLE_DISPUTES, Kind.TROUBLE: Criterion.AFFECTS_MANY_OR_STABILITY}


def _settle(ticket: Ticket, message: Received[Any], unit: RoutingUnit, texts: tuple[str, ...] = ()) -> None:
    """What a ticket is now decides, with the others of its matter, where it stands (R8, E2)."""
    if ticket.ip_id is not None and not ticket.restricted:
        mine = Sighting(
            Kind.IP,
            ticket.ip_id,
            ticket.ticket_id,
            ticket.requester_id,
            ticket.created_at,
            counts=ticket.is_dispute,
        )
        ticket = _joined(ticket, mine, unit.policy.escalation.same_ip, message, unit)
    _decide(ticket, message, unit, texts)


def _decide(ticket: Ticket, message: Received[Any], unit: RoutingUnit, texts: tuple[str, ...] = ()) -> None:
    """Save the ticket; where its placement is no longer the one decided, decide anew and say so (R8)."""
    before, placement = ticket.decision, ticket.placed(unit.policy)
    kind = change(before.placement, placement) if before else Change.ASSIGNED
    if kind is Change.NONE:
        unit.tickets.save(ticket)
        return
    number = before.number + 1 if before else 1
    decision = Decision(f"{ticket.ticket_id}:{number}", number, placement)
    if before is not None and before.placement.team is not placement.team:
        ticket = replace(ticket, assignee=None, watchers=())
    ticket = replace(ticket, decision=decision)
    if before is None or kind is Change.ASSIGNED:
        event: RoutingEvent = _assigned(ticket, decision, before, message.occurred_at, unit)
    elif kind is Change.ESCALATED and placement.raised_by is not None:
        met = placement.raised_by
        ticket = replace(ticket, raised_at=message.occurred_at, replies=0)
        moved = _moved(ticket, decision, before, message, unit)
        event = RoutingEscalated(**moved, criterion=met.criterion, origin=met.origin)
    else:
        event = RoutingDeescalated(**_moved(ticket, decision, before, message, unit))
    unit.tickets.save(ticket)
    by_words = bool(ticket.classification.evidence or ticket.classification.alternatives)
    is_explained = bool(texts) and by_words and not ticket.restricted
    explanation = unit.classifier.explain(texts, ticket.classification) if is_explained else None
    unit.decide(decision, event, occurred_at=message.occurred_at, explanation=explanation)


def _assigned(
    ticket: Ticket, decision: Decision, before: Decision | None, at: datetime, unit: RoutingUnit
) -> RoutingAssigned:
    placement, classification = decision.placement, ticket.classification
    upstream = ticket.upstream
    return RoutingAssigned(
        ticket_id=ticket.ticket_id,
        occurred_at=at,
        emitted_at=unit.now,
        clauses=placement.clauses,
        policy_version=unit.policy.version,
        decision_id=decision.id,
        replaces=before.id if before else None,
        team=placement.team,
        level=placement.level,
        owning_team=placement.owning_team,
        also_notified=placement.also_notified,
        assignee=ticket.assignee,
        watchers=ticket.watchers,
        category=placement.category,
        subcategory=placement.subcategory,
        secondary=_topics(classification.secondary),
        alternatives=_topics(classification.alternatives),
        suggestions=tuple(Suggestion(hint=one.hint, of=one.of) for one in ticket.suggestions),
        related=ticket.related,
        confidence=classification.confidence,
        evidence=tuple(dict.fromkeys((*classification.evidence, *map(_evidence, ticket.criteria)))),
        classifier_version=classification.version,
        upstream=Upstream(category=upstream.category, subcategory=upstream.subcategory) if upstream else None,
        needs_triage=placement.category is None,
        restricted=placement.restricted,
        tier=ticket.tier,
        created_at=ticket.created_at,
    )


def _topics(topics: tuple[Topic, ...]) -> tuple[Secondary, ...]:
    return tuple(
        Secondary(category=topic.category, subcategory=topic.subcategory, confidence=topic.confidence)
        for topic in topics
    )


def _evidence(met: Met) -> str:
    return f"{met.origin}.{met.criterion}"


def _moved(
    ticket: Ticket, decision: Decision, before: Decision, message: Received[Any], unit: RoutingUnit
) -> dict[str, Any]:
    """What a rise and a fall both say."""
    placement = decision.placement
    return {
        "ticket_id": ticket.ticket_id,
        "occurred_at": message.occurred_at,
        "emitted_at": unit.now,
        "clauses": placement.clauses,
        "policy_version": unit.policy.version,
        "decision_id": decision.id,
        "replaces": before.id,
        "from_level": before.placement.level,
        "to_level": placement.level,
        "from_team": before.placement.team,
        "team": placement.team,
        "owning_team": placement.owning_team,
        "also_notified": placement.also_notified,
        "category": placement.category,
        "subcategory": placement.subcategory,
        "related": ticket.related,
    }


def _refuse(
    refusal: Refusal, message: Received[Any], unit: RoutingUnit, *, of: tuple[TicketId, str] | None = None
) -> None:
    """Refuse what the message asks, or what another event asked of another ticket."""
    clause = refusal.clause or "E7"
    ticket_id, request_id = of or (message.event.ticket_id, message.id)
    unit.emit(
        RoutingRefused(
            ticket_id=ticket_id,
            occurred_at=message.occurred_at,
            emitted_at=unit.now,
            clauses=(clause,),
            policy_version=unit.policy.version,
            request_id=request_id,
            clause=clause,
            reason_code=refusal.slug.replace("-", "_"),
        ),
        occurred_at=message.occurred_at,
    )


def _ask_for_screening(evidence: tuple[str, ...], message: Received[Any], unit: RoutingUnit) -> None:
    """Words that show a crisis are screened by the Child Safety Agent too; nobody waits for it (S7)."""
    unit.emit(
        SafetyScreeningRequested(
            ticket_id=message.event.ticket_id,
            occurred_at=message.occurred_at,
            emitted_at=unit.now,
            clauses=("S7",),
            policy_version=unit.policy.version,
            evidence=evidence,
        ),
        occurred_at=message.occurred_at,
    )
