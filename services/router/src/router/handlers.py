"""One function per event of a ticket: load, decide, save, emit. What the policy forbids is answered by `routing.refused`.

A decision happened when the fact happened that caused it; a decision equal to the current one emits nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

from router.domain.classification import NOTHING, Reading, UpstreamWords
from router.domain.escalation import Met, criterion_of
from router.domain.routing import Change, change
from router.domain.ticket import Decision, Ticket
from router.store import RoutingUnit
from shared.errors import DeadLetterCode, InvalidMessage, Refusal
from shared.events.envelope import SAFETY_BRIDGE, Event, Received
from shared.events.routing import (
    RoutingAssigned,
    RoutingDeescalated,
    RoutingEscalated,
    RoutingEvent,
    RoutingRefused,
    Secondary,
    Upstream,
)
from shared.events.screening import SafetyScreeningRequested
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
    TicketTierChanged,
)
from shared.vocabulary import Criterion, Level, Origin, TicketId, Tier

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
    if message.envelope.source == SAFETY_BRIDGE:
        _settle(_opened(message, NOTHING, unit).marked_restricted(), message, unit)
        return
    reading = unit.classifier.read(created.subject, created.body)
    _ask_for_screening(reading, message, unit)
    _settle(_opened(message, reading, unit), message, unit)


def on_ticket_message_added(message: Received[TicketMessageAdded], unit: RoutingUnit) -> None:
    """A customer's words may tell of a crisis or meet a criterion (E5, E6), and reopen a resolved ticket (L12)."""
    added = message.event
    ticket = unit.tickets.get(TicketId(added.ticket_id))
    if added.author.kind is not PersonKind.CUSTOMER or added.automated:
        return
    reading = unit.classifier.read(added.body)
    try:
        ticket = ticket.reopened(message.occurred_at, unit.policy)
    except Refusal as refusal:
        _refuse(refusal, message, unit)
    if not ticket.restricted:
        _ask_for_screening(reading, message, unit)
    _settle(ticket.told(reading, unit.policy), message, unit)


@refusable
def on_ticket_reclassified(message: Received[TicketReclassified], unit: RoutingUnit) -> None:
    """Enters its new category by R2-R7 (R9); out of safety is refused (S1)."""
    words = UpstreamWords(message.event.category, message.event.subcategory)
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    _settle(ticket.reclassified(words, unit.policy), message, unit)


def on_ticket_signals_added(message: Received[TicketSignalsAdded], unit: RoutingUnit) -> None:
    """Signals raise by E0 and E5; words that are not in E0 are ignored."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    _settle(ticket.meeting(_signalled(message.event.signals), unit.policy), message, unit)


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
    unit.tickets.save(ticket.reopened(message.occurred_at, unit.policy))


@refusable
def on_ticket_closed(message: Received[TicketClosed], unit: RoutingUnit) -> None:
    """Recorded; refused on safety tickets (S1). Facts that come later are still handled."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    unit.tickets.save(ticket.closed(message.occurred_at))


def on_ticket_restricted(message: Received[TicketRestricted], unit: RoutingUnit) -> None:
    """From the safety bridge: from now on the general topics say one thing only. From anyone else it is ignored (S9)."""
    ticket = unit.tickets.get(TicketId(message.event.ticket_id))
    if message.envelope.source == SAFETY_BRIDGE:
        _settle(ticket.marked_restricted(), message, unit)


def _opened(message: Received[TicketCreated], reading: Reading, unit: RoutingUnit) -> Ticket:
    created = message.event
    tier = created.tier or Tier.FREE
    has_upstream = created.category is not None or created.subcategory is not None
    upstream = UpstreamWords(created.category, created.subcategory) if has_upstream else None
    criteria = _signalled(created.signals)
    if created.ip is not None and created.ip.high_profile:
        criteria.append(Met(Criterion.HIGH_PROFILE_IP, Origin.EVENT))
    criteria += [Met(criterion, Origin.TEXT) for criterion in reading.criteria]
    ticket = Ticket(
        ticket_id=TicketId(created.ticket_id),
        created_by=message.envelope.identity.hex(),
        created_at=message.occurred_at,
        tier=tier,
        requester_id=created.requester.id,
        ip_id=created.ip.id if created.ip else None,
        upstream=upstream,
        classification=unit.classifier.classify(reading, upstream, tier),
    )
    return ticket.meeting(criteria, unit.policy)


def _signalled(words: tuple[str, ...]) -> list[Met]:
    known = (criterion_of(word) for word in words)
    return [Met(criterion, Origin.EVENT) for criterion in known if criterion is not None]


def _settle(ticket: Ticket, message: Received[Any], unit: RoutingUnit) -> None:
    """Save the ticket; where its placement is no longer the one decided, decide anew and say so (R8)."""
    before, placement = ticket.decision, ticket.placed(unit.policy)
    kind = change(before.placement, placement) if before else Change.ASSIGNED
    if kind is Change.NONE:
        unit.tickets.save(ticket)
        return
    number = before.number + 1 if before else 1
    decision = Decision(f"{ticket.ticket_id}:{number}", number, placement)
    ticket = replace(ticket, decision=decision)
    if before is None or kind is Change.ASSIGNED:
        event: RoutingEvent = _assigned(ticket, decision, before, message, unit)
    elif kind is Change.ESCALATED and placement.raised_by is not None:
        met = placement.raised_by
        event = RoutingEscalated(**_moved(decision, before, message, unit), criterion=met.criterion, origin=met.origin)
    else:
        event = RoutingDeescalated(**_moved(decision, before, message, unit))
    unit.tickets.save(ticket)
    unit.decide(decision, event, occurred_at=message.occurred_at)


def _assigned(
    ticket: Ticket, decision: Decision, before: Decision | None, message: Received[Event], unit: RoutingUnit
) -> RoutingAssigned:
    placement, classification = decision.placement, ticket.classification
    upstream = ticket.upstream
    return RoutingAssigned(
        ticket_id=ticket.ticket_id,
        occurred_at=message.occurred_at,
        emitted_at=unit.now,
        clauses=placement.clauses,
        policy_version=unit.policy.version,
        decision_id=decision.id,
        replaces=before.id if before else None,
        team=placement.team,
        level=placement.level,
        owning_team=placement.owning_team,
        also_notified=placement.also_notified,
        category=placement.category,
        subcategory=placement.subcategory,
        secondary=tuple(
            Secondary(category=topic.category, subcategory=topic.subcategory, confidence=topic.confidence)
            for topic in classification.secondary
        ),
        confidence=classification.confidence,
        evidence=(*classification.evidence, *(f"{met.origin}.{met.criterion}" for met in ticket.criteria)),
        classifier_version=classification.version,
        upstream=Upstream(category=upstream.category, subcategory=upstream.subcategory) if upstream else None,
        needs_triage=placement.category is None,
        restricted=placement.restricted,
        tier=ticket.tier,
        created_at=ticket.created_at,
    )


def _moved(decision: Decision, before: Decision, message: Received[Any], unit: RoutingUnit) -> dict[str, Any]:
    """What a rise and a fall both say."""
    placement = decision.placement
    return {
        "ticket_id": message.event.ticket_id,
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
    }


def _refuse(refusal: Refusal, message: Received[Any], unit: RoutingUnit) -> None:
    clause = refusal.clause or "E7"
    unit.emit(
        RoutingRefused(
            ticket_id=message.event.ticket_id,
            occurred_at=message.occurred_at,
            emitted_at=unit.now,
            clauses=(clause,),
            policy_version=unit.policy.version,
            request_id=message.id,
            clause=clause,
            reason_code=refusal.slug.replace("-", "_"),
        ),
        occurred_at=message.occurred_at,
    )


def _ask_for_screening(reading: Reading, message: Received[Any], unit: RoutingUnit) -> None:
    """Words that show a crisis are screened by the Child Safety Agent too; nobody waits for it (S7)."""
    if reading.crisis:
        unit.emit(
            SafetyScreeningRequested(
                ticket_id=message.event.ticket_id,
                occurred_at=message.occurred_at,
                emitted_at=unit.now,
                clauses=("S7",),
                policy_version=unit.policy.version,
                evidence=tuple(hit.rule_id for hit in reading.crisis),
            ),
            occurred_at=message.occurred_at,
        )
