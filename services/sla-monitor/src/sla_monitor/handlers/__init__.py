"""One function per event: the event becomes a fact of its ticket, and what is new about the clocks is told.

Tickets and routing decisions come over two topics, in either order; facts are judged by the time at which they happened (L13).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from shared.errors import DeadLetterCode, InvalidMessage
from shared.events.envelope import SAFETY_BRIDGE, Received
from shared.events.routing import RoutingAssigned, RoutingDeescalated, RoutingEscalated
from shared.events.sla import EVENTS, PauseData, SlaEvent, TargetData
from shared.events.ticket import (
    PersonKind,
    TicketAcknowledged,
    TicketClosed,
    TicketCreated,
    TicketMessageAdded,
    TicketReopened,
    TicketResolved,
    TicketRestricted,
    TicketStatusChanged,
    TicketTierChanged,
)
from shared.vocabulary import Level, Origin, TicketStatus, Tier
from sla_monitor.domain.clock import Change, Decided, Fact, FactKind, Turn, care_of
from sla_monitor.domain.notices import Notice
from sla_monitor.domain.ticket import Creation, Ticket
from sla_monitor.store import SlaUnit

EVENT_OF = {turn: event for turn in Turn for event in EVENTS if event.wire_type.endswith(f".sla.{turn}.v1")}


def on_ticket_created(message: Received[TicketCreated], unit: SlaUnit) -> None:
    """The ticket is known; it has clocks once it is routed, or provisional ones if nobody does (L16).

    Raises:
        InvalidMessage: `ticket_exists`, when the ticket came under another event id before.
    """
    ticket = _known_or_new(message, unit)
    if ticket.creation is not None:
        if (ticket.creation.source, ticket.creation.id) == (message.envelope.source, message.id):
            return
        raise InvalidMessage(DeadLetterCode.TICKET_EXISTS)
    _countable(message.occurred_at, unit)
    ticket.creation = Creation(
        at=message.occurred_at,
        tier=message.event.tier,
        received_at=unit.now,
        source=message.envelope.source,
        id=message.id,
        claimed_at=message.envelope.claimed_at,
    )
    if message.envelope.source == SAFETY_BRIDGE:
        ticket.add(_fact(message, FactKind.RESTRICTED))
    settle(ticket, unit)


def on_ticket_message_added(message: Received[TicketMessageAdded], unit: SlaUnit) -> None:
    """A public message of a human agent answers (L8); a customer's message ends a pause or reopens (L9, L12)."""
    ticket = unit.tickets.get(message.event.ticket_id)
    said = message.event
    if said.automated:
        return
    if said.author.kind is PersonKind.CUSTOMER:
        kind = FactKind.CUSTOMER_WROTE
    elif said.author.kind is PersonKind.AGENT and said.public:
        kind = FactKind.REPLIED
    else:
        return
    _say(kind, ticket, message, unit)


def on_ticket_acknowledged(message: Received[TicketAcknowledged], unit: SlaUnit) -> None:
    """Meets `acknowledgement` (L8)."""
    _say(FactKind.ACKNOWLEDGED, unit.tickets.get(message.event.ticket_id), message, unit)


def on_ticket_tier_changed(message: Received[TicketTierChanged], unit: SlaUnit) -> None:
    """Recomputes what runs from the time from which the tier holds, which may lie before or ahead (L11)."""
    changed = message.event
    ticket = unit.tickets.get(changed.ticket_id)
    ticket.add(
        Fact(
            changed.effective_from or message.occurred_at,
            FactKind.TIER_CHANGED,
            message.id,
            message.envelope.claimed_at,
            tier=changed.tier,
        )
    )
    settle(ticket, unit)


def on_ticket_status_changed(message: Received[TicketStatusChanged], unit: SlaUnit) -> None:
    """`pending_customer` pauses, every other status counts (L9)."""
    is_waiting = TicketStatus(message.event.status) is TicketStatus.PENDING_CUSTOMER
    kind = FactKind.WAITING if is_waiting else FactKind.CONTINUED
    _add(kind, unit.tickets.get(message.event.ticket_id), message, unit)


def on_ticket_resolved(message: Received[TicketResolved], unit: SlaUnit) -> None:
    """Resolving meets `resolution` and cancels what is left (L12)."""
    _add(FactKind.RESOLVED, unit.tickets.get(message.event.ticket_id), message, unit)


def on_ticket_reopened(message: Received[TicketReopened], unit: SlaUnit) -> None:
    """Within seven days the clocks go on in their next cycle; later it changes nothing here (L12)."""
    _add(FactKind.REOPENED, unit.tickets.get(message.event.ticket_id), message, unit)


def on_ticket_closed(message: Received[TicketClosed], unit: SlaUnit) -> None:
    """Cancels what runs; not on safety tickets (S1). Merged, what it lends counts for the ticket that goes on (HD-29); in a
    circle of merges that is the first by name, whatever the order in which they came (HD-30)."""
    ticket = unit.tickets.get(message.event.ticket_id)
    ticket.add(_fact(message, FactKind.CLOSED, reason=message.event.reason))
    if message.event.into is not None and not ticket.is_of_safety():
        ticket.merged_into = message.event.into
        unit.tickets.expect(message.event.into)
        if circle := unit.tickets.circle(ticket):
            first = min(circle, key=lambda one: one.ticket_id)
            first.stay_open()
            settle(first, unit)
        _lend(ticket, ticket.facts, unit)
    settle(ticket, unit)


def on_ticket_restricted(message: Received[TicketRestricted], unit: SlaUnit) -> None:
    """From the safety bridge: the ticket has no clock from now on (L6). From anyone else it is ignored (S9)."""
    ticket = unit.tickets.get(message.event.ticket_id)
    if message.envelope.source == SAFETY_BRIDGE:
        _add(FactKind.RESTRICTED, ticket, message, unit)


def on_routing_assigned(message: Received[RoutingAssigned], unit: SlaUnit) -> None:
    """The first decision starts the clocks, counted from the ticket's creation (L16)."""
    decision = message.event
    _countable(decision.created_at, unit)
    ticket = _known_or_new(message, unit)
    fact = _decided(message, decision.level, tier=decision.tier)
    if ticket.is_routed():
        ticket.add(fact)
    else:
        ticket.start(fact, created_at=decision.created_at, rules=unit.rules)
    if decision.restricted:
        ticket.add(_fact(message, FactKind.RESTRICTED))
    settle(ticket, unit)


def on_routing_moved(message: Received[RoutingEscalated | RoutingDeescalated], unit: SlaUnit) -> None:
    """Another level or team: with safety and legal nothing pauses (L9); after a rise the escalation clock restarts (L14)."""
    ticket = unit.tickets.get(message.event.ticket_id)
    moved = message.event
    rose, by_clock = isinstance(moved, RoutingEscalated), moved.origin is Origin.CLOCK
    ticket.add(_decided(message, moved.to_level, rose=rose, by_clock=by_clock))
    settle(ticket, unit)


def settle(ticket: Ticket, unit: SlaUnit) -> list[Notice]:
    """Tell what is new about a ticket's clocks and set its timer; answers what was told."""
    notices, outlook = ticket.look(unit.now, unit.rules, unit.book)
    for notice in notices:
        event = clock_event(
            EVENT_OF[notice.turn],
            ticket,
            notice,
            measured_at=notice.at,
            emitted_at=unit.now,
            threshold=notice.threshold,
            corrects=notice.corrects,
        )
        event_id = unit.emit(
            event, occurred_at=notice.at, seed=notice.seed(ticket.ticket_id), correlation_id=ticket.correlation_id
        )
        ticket.record(notice, event_id)
    unit.tickets.save(ticket, outlook)
    return notices


def clock_event(
    event_class: type[SlaEvent],
    ticket: Ticket,
    turn: Change | Notice,
    *,
    measured_at: datetime,
    emitted_at: datetime,
    threshold: float | None = None,
    corrects: str | None = None,
) -> SlaEvent:
    """A clock after a turn, with all that a person needs to recompute it by hand (L15)."""
    terms, clock, because = ticket.terms, turn.clock, turn.because
    assert terms is not None
    promise = clock.promise
    claimed_at, caused_by = None, None
    if because is not None:
        claimed_at, caused_by = because.claimed_at, because.id
    elif turn.turn in (Turn.STARTED, Turn.RETARGETED):
        claimed_at = ticket.creation.claimed_at if ticket.creation else None
        caused_by = terms.decided_by
    return event_class(
        ticket_id=ticket.ticket_id,
        occurred_at=turn.at,
        emitted_at=emitted_at,
        clauses=promise.clauses if turn.clause is None else (*promise.clauses, turn.clause),
        policy_version=clock.rules.policy_version,
        milestone=promise.milestone,
        cycle=clock.cycle,
        level=clock.level,
        target=TargetData(amount=promise.target.amount, unit=promise.target.unit),
        started_at=clock.started_at,
        due_at=clock.due_at,
        previous_due_at=turn.previous_due_at,
        state=clock.state,
        elapsed_share=round(clock.share(measured_at), 6),
        threshold=threshold,
        pauses=tuple(PauseData(started_at=pause.started_at, ended_at=pause.ended_at) for pause in clock.pauses),
        calendar=clock.rules.calendar.name,
        short_notice=promise.short_notice,
        provisional=terms.provisional,
        clamped=claimed_at is not None,
        claimed_at=claimed_at,
        late_by_seconds=(turn.at - clock.due_at).total_seconds() if turn.turn is Turn.FULFILLED_LATE else None,
        reason=clock.reason,
        caused_by=corrects or caused_by,
    )


def _add(kind: FactKind, ticket: Ticket, message: Received[Any], unit: SlaUnit) -> None:
    ticket.add(_fact(message, kind))
    settle(ticket, unit)


def _say(kind: FactKind, ticket: Ticket, message: Received[Any], unit: SlaUnit) -> None:
    _add(kind, ticket, message, unit)
    _lend(ticket, [_fact(message, kind)], unit)


def _lend(ticket: Ticket, facts: Iterable[Fact], unit: SlaUnit) -> None:
    """What was said in a merged ticket is said in those that it was merged into, one after the other (HD-30)."""
    for heir in unit.tickets.heirs(ticket):
        if not (facts := [fact for fact in facts if ticket.lends(fact)]):
            return
        for fact in facts:
            heir.add(fact)
        settle(heir, unit)
        ticket = heir


def _fact(message: Received[Any], kind: FactKind, *, reason: str | None = None) -> Fact:
    return Fact(message.occurred_at, kind, message.id, message.envelope.claimed_at, reason)


def _decided(
    message: Received[Any], level: Level, *, tier: Tier | None = None, rose: bool = False, by_clock: bool = False
) -> Fact:
    decision = message.event
    care = care_of(decision.category, decision.subcategory, decision.team, decision.owning_team)
    return Fact(
        message.occurred_at,
        FactKind.ROUTED,
        message.id,
        message.envelope.claimed_at,
        decided=Decided(care, decision.subcategory, level, tier, rose, by_clock),
    )


def _known_or_new(message: Received[TicketCreated | RoutingAssigned], unit: SlaUnit) -> Ticket:
    """The ticket; whichever topic speaks of it first makes it known."""
    ticket = unit.tickets.find(message.event.ticket_id) or Ticket(message.event.ticket_id, "")
    ticket.correlation_id = ticket.correlation_id or message.envelope.correlation_id or message.id
    return ticket


def _countable(created_at: datetime, unit: SlaUnit) -> None:
    """
    Raises:
        InvalidMessage: `invalid_data`, when no calendar can count from this creation (L3).
    """
    if not unit.rules.calendar.covers(created_at):
        raise InvalidMessage(DeadLetterCode.INVALID_DATA)
