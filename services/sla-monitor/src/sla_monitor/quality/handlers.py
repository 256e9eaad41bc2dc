"""One function per event: the event becomes a fact of its ticket. At the end of the batch `settle` says what follows from them.

Nothing waits here for anything: facts of a ticket not seen yet are kept, and count once it is created.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from shared.events.envelope import SAFETY_BRIDGE, Event, Received
from shared.events.quality import CheckData, QualityAssessed
from shared.events.routing import RoutingAssigned, RoutingDeescalated, RoutingEscalated, RoutingRefused
from shared.events.sla import SlaBreached, SlaCancelled, SlaCorrected, SlaEvent, SlaMet
from shared.events.ticket import (
    PersonKind,
    TicketClosed,
    TicketCreated,
    TicketEscalationRequested,
    TicketMessageAdded,
    TicketRated,
    TicketReopened,
    TicketResolved,
    TicketRestricted,
    TicketReviewed,
    TicketSignalsAdded,
    TicketStatusChanged,
    TicketTierChanged,
)
from shared.vocabulary import ClockState, Criterion, Milestone, TicketStatus, Verdict
from sla_monitor.domain.checks import REVIEWED, Assessment, assess
from sla_monitor.domain.quality import Decision, Fact, FactKind, Record, Told, figure, lends, merging, survivor, tell
from sla_monitor.quality.store import QualityUnit

_MARKS = (Verdict.PASS, Verdict.FAIL)


def concerns(event: Event) -> bool:
    """Of the clocks those of responses and escalation."""
    return not isinstance(event, SlaEvent) or event.milestone is not Milestone.RESOLUTION


def on_ticket_created(message: Received[TicketCreated], unit: QualityUnit) -> None:
    """From here on the ticket counts (Q2, Q3); one from the safety bridge never does (S9)."""
    created = message.event
    if message.envelope.source == SAFETY_BRIDGE:
        _add(FactKind.RESTRICTED, message, unit)
        return
    record = _add(
        FactKind.CREATED,
        message,
        unit,
        word=created.tier,
        about=hashlib.blake2b(created.requester.id.encode(), digest_size=16).hexdigest(),
        criteria=_criteria(created.signals, unit),
    )
    record.correlation_id = record.correlation_id or message.envelope.correlation_id or message.id


def on_ticket_message_added(message: Received[TicketMessageAdded], unit: QualityUnit) -> None:
    """A public message of a human agent answers (L8); a customer's ends a pause or reopens (L9, L12)."""
    said = message.event
    if said.automated:
        return
    if said.author.kind is PersonKind.CUSTOMER:
        _add(FactKind.CUSTOMER_WROTE, message, unit)
    elif said.author.kind is PersonKind.AGENT and said.public:
        _add(FactKind.REPLIED, message, unit)


def on_ticket_status_changed(message: Received[TicketStatusChanged], unit: QualityUnit) -> None:
    """What counts as resolution time pauses like its clock (L9)."""
    is_waiting = TicketStatus(message.event.status) is TicketStatus.PENDING_CUSTOMER
    _add(FactKind.WAITING if is_waiting else FactKind.CONTINUED, message, unit)


def on_ticket_tier_changed(message: Received[TicketTierChanged], unit: QualityUnit) -> None:
    """Figures by tier take the last one, by the time from which it holds."""
    change = message.event
    record = unit.records.changing(change.ticket_id)
    record.add(Fact(change.effective_from or message.occurred_at, FactKind.TIER, message.id, change.tier))


def on_ticket_signals_added(message: Received[TicketSignalsAdded], unit: QualityUnit) -> None:
    """Criteria that want an answer (Q1)."""
    _add(FactKind.DEMANDED, message, unit, criteria=_criteria(message.event.signals, unit))


def on_ticket_escalation_requested(message: Received[TicketEscalationRequested], unit: QualityUnit) -> None:
    """A criterion that wants an answer (Q1, E7)."""
    _add(FactKind.DEMANDED, message, unit, criteria=_criteria([message.event.criterion], unit))


def on_ticket_resolved(message: Received[TicketResolved], unit: QualityUnit) -> None:
    """Whether the documentation is complete is known where it says so: a truth value, or one named `complete` (Q1)."""
    said = message.event.documentation
    complete = said.get("complete") if isinstance(said, dict) else said
    verdict = (Verdict.PASS if complete else Verdict.FAIL) if isinstance(complete, bool) else None
    _add(FactKind.RESOLVED, message, unit, word=verdict)


def on_ticket_reopened(message: Received[TicketReopened], unit: QualityUnit) -> None:
    """(L12)"""
    _add(FactKind.REOPENED, message, unit)


def on_ticket_closed(message: Received[TicketClosed], unit: QualityUnit) -> None:
    """No resolution; a ticket merged into another one counts there. Both rows are written, so that a race is noticed."""
    _add(FactKind.CLOSED, message, unit, word=message.event.reason, about=message.event.into)
    if message.event.into is not None:
        unit.records.changing(message.event.into)


def on_ticket_rated(message: Received[TicketRated], unit: QualityUnit) -> None:
    """The last rating of a resolution counts (Q3)."""
    _add(FactKind.RATED, message, unit, score=message.event.score)


def on_ticket_reviewed(message: Received[TicketReviewed], unit: QualityUnit) -> None:
    """A reviewer's mark, `pass` or `fail`, on what events do not tell (Q1)."""
    review = message.event
    if review.check in REVIEWED and review.verdict in _MARKS:
        _add(FactKind.REVIEWED, message, unit, word=review.verdict, about=review.check)


def on_ticket_restricted(message: Received[TicketRestricted], unit: QualityUnit) -> None:
    """From the safety bridge: the ticket is outside all figures, and nothing more is said of it (Q3, S9)."""
    if message.envelope.source == SAFETY_BRIDGE:
        _add(FactKind.RESTRICTED, message, unit)


def on_routing_assigned(message: Received[RoutingAssigned], unit: QualityUnit) -> None:
    """The first decision, or another category or team (Q1)."""
    decided = message.event
    if decided.restricted:
        _add(FactKind.RESTRICTED, message, unit)
        return
    decision = Decision(
        decided.decision_id,
        decided.replaces,
        decided.category,
        decided.subcategory,
        decided.team,
        decided.owning_team,
        decided.level,
    )
    _add(FactKind.ROUTED, message, unit, decision=decision)


def on_routing_moved(message: Received[RoutingEscalated | RoutingDeescalated], unit: QualityUnit) -> None:
    """A rise with its criterion, or a fall (Q3)."""
    moved = message.event
    decision = Decision(
        moved.decision_id,
        moved.replaces,
        moved.category,
        moved.subcategory,
        moved.team,
        moved.owning_team,
        moved.to_level,
        moved.from_level,
        moved.criterion if isinstance(moved, RoutingEscalated) else None,
    )
    _add(FactKind.ROUTED, message, unit, decision=decision)


def on_routing_refused(message: Received[RoutingRefused], unit: QualityUnit) -> None:
    """What was asked has its answer (E7)."""
    _add(FactKind.REFUSED, message, unit, about=message.event.request_id)


def on_clock(message: Received[SlaBreached | SlaMet | SlaCancelled | SlaCorrected], unit: QualityUnit) -> None:
    """How a response or an escalation clock ended; a correction withdraws what was told (L13, HD-65)."""
    match message.event:
        case SlaBreached():
            kind = FactKind.BREACHED
        case SlaMet():
            kind = FactKind.MET
        case SlaCorrected(state=ClockState.MET):
            kind = FactKind.MET
        case SlaCorrected():
            kind = FactKind.CORRECTED
        case SlaCancelled(reason="resolved_unanswered"):
            kind = FactKind.UNANSWERED
        case _:
            return
    told = message.event
    _add(kind, message, unit, word=told.milestone, about=told.caused_by if isinstance(told, SlaCorrected) else None)


def settle(unit: QualityUnit) -> Iterator[str]:
    """Say what follows from the facts of a batch: the figures of each changed ticket, and its assessment if that is new.

    Answers each ticket before it is judged, so that others may have their turn in between.
    """
    records = unit.records
    merged = {one.ticket_id: closing for one in records if (closing := merging(one, unit.standards)) is not None}
    into = {ticket_id: closing.about for ticket_id, closing in merged.items() if closing.about is not None}
    home = {ticket_id: survivor(ticket_id, into) for ticket_id in into}
    lent: dict[str, list[Fact]] = {}
    for ticket_id, closing in merged.items():
        if home[ticket_id] != ticket_id:
            lent.setdefault(home[ticket_id], []).extend(lends(records.get(ticket_id), closing))
    for ticket_id in records.affected():
        record = records.changing(ticket_id)
        yield ticket_id
        if home.get(ticket_id, ticket_id) != ticket_id:
            records.figures[ticket_id] = None
            continue
        story = tell(record, lent.get(ticket_id, ()), unit.standards)
        records.figures[ticket_id] = figure(record, story, unit.standards) if story is not None else None
        assessment = assess(record, story, unit.standards.policy) if story is not None else None
        if assessment is not None:
            _tell(record, assessment, unit)


def _tell(record: Record, assessment: Assessment, unit: QualityUnit) -> None:
    """Tell an assessment unless the same was told before (Q1)."""
    told = record.told
    if told is not None and (told.resolution_id, told.findings) == (assessment.resolution.id, assessment.findings):
        return
    version = told.version + 1 if told is not None else 1
    event = QualityAssessed(
        ticket_id=record.ticket_id,
        occurred_at=assessment.at,
        emitted_at=unit.now,
        clauses=("Q1",),
        policy_version=unit.standards.policy.version,
        resolution=assessment.number,
        resolved_at=assessment.resolution.at,
        version=version,
        replaces=told.event_id if told is not None else None,
        checks=tuple(
            CheckData(check=finding.check, verdict=finding.verdict, evidence=finding.evidence)
            for finding in assessment.findings
        ),
    )
    seed = f"{record.ticket_id}|{version}"
    event_id = unit.emit(event, occurred_at=assessment.at, seed=seed, correlation_id=record.correlation_id)
    record.told = Told(event_id, version, assessment.resolution.id, assessment.findings)


def _add(kind: FactKind, message: Received[Any], unit: QualityUnit, **more: Any) -> Record:
    record = unit.records.changing(message.event.ticket_id)
    record.add(Fact(message.occurred_at, kind, message.id, **more))
    return record


def _criteria(words: Iterable[str], unit: QualityUnit) -> tuple[Criterion, ...]:
    """The words of E0 among them."""
    return tuple(Criterion(word) for word in words if word in unit.standards.policy.criteria)
