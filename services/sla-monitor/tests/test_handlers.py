"""Events in, clock events out. In memory; every event is delivered twice (see conftest)."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from shared.errors import InvalidMessage, UnknownTicket
from shared.events.routing import RoutingAssigned, RoutingEscalated
from shared.events.sla import (
    SlaBreached,
    SlaCancelled,
    SlaClockStarted,
    SlaCorrected,
    SlaMet,
    SlaPaused,
    SlaResumed,
    SlaRetargeted,
)
from shared.events.ticket import (
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
from shared.testing.builders import AT, ticket_data, wire
from shared.vocabulary import ClockState, Milestone
from sla_monitor.domain.clock import Pause, Turn
from sla_monitor.handlers import EVENT_OF, SAFETY_BRIDGE

Monitor = Any
CUSTOMER = {"kind": "customer", "id": "u-1"}
AGENT = {"kind": "agent", "id": "a-1"}
MINUTE = timedelta(minutes=1)


def routed(monitor: Monitor, ticket_id: str, created_at: datetime = AT, **data: Any) -> None:
    """A ticket that is routed when it is created."""
    data |= {"created_at": created_at.isoformat()}
    monitor.handle(RoutingAssigned, ticket_id=ticket_id, occurred_at=created_at, **data)


def test_the_first_decision_starts_one_clock_per_milestone(monitor: Monitor) -> None:
    """Counted from the creation, each with all that is needed to recompute it by hand (L15, L16)."""
    decided_at = datetime(2026, 3, 3, 14, 0, 20, tzinfo=UTC)
    started = monitor.handle(RoutingAssigned, occurred_at=decided_at, created_at="2026-03-03T14:00:00Z")
    assert [type(event) for event in started] == [SlaClockStarted] * 3
    first = started[0]
    assert first.milestone is Milestone.INITIAL_RESPONSE
    assert first.started_at == datetime(2026, 3, 3, 14, tzinfo=UTC)
    assert first.due_at == datetime(2026, 3, 4, 2, tzinfo=UTC)
    assert first.occurred_at == decided_at
    assert (first.target.amount, first.target.unit) == (12, "hours")
    assert first.clauses == ("L1", "L2", "L16")
    assert (first.state, first.cycle, first.provisional) == (ClockState.RUNNING, 1, False)
    assert first.calendar.startswith("test@")
    assert started[1].clauses == ("L1", "L3", "L16")


def test_the_envelope_is_that_of_the_journey(monitor: Monitor) -> None:
    """Keyed by ticket, with the time of the fact, the journey's id and the cause; ids are the same for ever."""
    monitor.handle(RoutingAssigned)
    monitor.handle(TicketMessageAdded, occurred_at=AT + MINUTE)
    met = monitor.unit.emitted[-1]
    assert (met.topic, met.key, met.wire_type) == ("support.sla.v1", "T-1", SlaMet.wire_type)
    assert met.occurred_at == AT + MINUTE
    assert met.correlation_id == monitor.unit.emitted[0].correlation_id
    again = type(monitor)(monitor.unit.rules)
    again.handle(RoutingAssigned)
    assert [one.id for one in again.unit.emitted] == [one.id for one in monitor.unit.emitted[:3]]


@pytest.mark.parametrize(
    "message",
    [
        {"author": AGENT, "public": False},
        {"author": AGENT, "public": True, "automated": True},
        {"author": {"kind": "system", "id": "bot"}, "public": True},
        {"author": CUSTOMER, "public": True},
    ],
    ids=["internal note", "automatic reply", "system", "customer"],
)
def test_only_a_public_human_reply_meets_the_initial_response(monitor: Monitor, message: dict[str, Any]) -> None:
    """HD-35, HD-36 (L8)."""
    monitor.handle(RoutingAssigned)
    assert monitor.handle(TicketMessageAdded, occurred_at=AT + MINUTE, **message) == []


def test_a_public_human_reply_meets_it_with_its_share(monitor: Monitor) -> None:
    """(L8, L15)"""
    monitor.handle(RoutingAssigned)
    (met,) = monitor.handle(TicketMessageAdded, occurred_at=AT + timedelta(hours=3))
    assert isinstance(met, SlaMet)
    assert (met.milestone, met.elapsed_share, met.clauses) == (Milestone.INITIAL_RESPONSE, 0.25, ("L1", "L2", "L8"))


def test_a_machines_answer_does_not_end_the_pause(monitor: Monitor) -> None:
    """HD-37: an out-of-office reply while the customer is asked (L9)."""
    monitor.handle(RoutingAssigned)
    paused = monitor.handle(TicketStatusChanged, status="pending_customer", occurred_at=AT + MINUTE)
    assert [(type(event), event.milestone) for event in paused] == [
        (SlaPaused, Milestone.RESOLUTION),
        (SlaPaused, Milestone.ESCALATION),
    ]
    out_of_office = {"author": CUSTOMER, "public": True, "automated": True}
    assert monitor.handle(TicketMessageAdded, occurred_at=AT + 2 * MINUTE, **out_of_office) == []
    resumed = monitor.handle(TicketMessageAdded, occurred_at=AT + 3 * MINUTE, author=CUSTOMER)
    assert [type(event) for event in resumed] == [SlaResumed] * 2
    assert resumed[0].due_at - resumed[0].previous_due_at == 2 * MINUTE
    assert [(pause.started_at, pause.ended_at) for pause in resumed[0].pauses] == [(AT + MINUTE, AT + 3 * MINUTE)]


def test_waiting_for_colleagues_does_not_pause(monitor: Monitor) -> None:
    """(L9)"""
    monitor.handle(RoutingAssigned)
    assert monitor.handle(TicketStatusChanged, status="pending_internal", occurred_at=AT + MINUTE) == []


def test_an_acknowledgement_meets_its_own_milestone_only(monitor: Monitor) -> None:
    """(L8)"""
    monitor.handle(RoutingAssigned, category="ip_attribution", subcategory="rights_holder_claim")
    met = monitor.handle(TicketAcknowledged, occurred_at=AT + MINUTE)
    assert [(type(event), event.milestone) for event in met] == [(SlaMet, Milestone.ACKNOWLEDGEMENT)]


def test_resolving_and_reopening(monitor: Monitor) -> None:
    """Cycle 2 begins with the reopening (L12)."""
    monitor.handle(RoutingAssigned)
    ended = monitor.handle(TicketResolved, occurred_at=AT + MINUTE)
    assert {(type(event), event.milestone, event.reason) for event in ended} == {
        (SlaMet, Milestone.RESOLUTION, None),
        (SlaCancelled, Milestone.ESCALATION, "resolved"),
        (SlaCancelled, Milestone.INITIAL_RESPONSE, "resolved_unanswered"),
    }
    resumed = monitor.handle(TicketReopened, occurred_at=AT + timedelta(days=7, minutes=1))
    assert [(type(event), event.milestone, event.cycle) for event in resumed] == [
        (SlaResumed, Milestone.RESOLUTION, 2),
        (SlaResumed, Milestone.ESCALATION, 2),
    ]


def test_closing_cancels_with_the_reason(monitor: Monitor) -> None:
    """HD-29"""
    monitor.handle(RoutingAssigned)
    cancelled = monitor.handle(TicketClosed, reason="merged", occurred_at=AT + MINUTE)
    assert [(type(event), event.reason) for event in cancelled] == [(SlaCancelled, "merged")] * 3


def test_what_was_answered_in_a_merged_ticket_answers_the_one_that_goes_on(monitor: Monitor) -> None:
    """HD-29: A of 10:00, B of 10:20, answered in B at 10:30, merged at 11:00: A is answered at 10:30 (L8, L13)."""
    routed(monitor, "A")
    routed(monitor, "B", AT + 20 * MINUTE)
    monitor.handle(TicketMessageAdded, ticket_id="B", occurred_at=AT + 30 * MINUTE)
    said = monitor.handle(TicketClosed, ticket_id="B", reason="merged", into="A", occurred_at=AT + 60 * MINUTE)
    [met] = [event for event in said if event.ticket_id == "A"]
    assert (type(met), met.milestone, met.occurred_at) == (SlaMet, Milestone.INITIAL_RESPONSE, AT + 30 * MINUTE)
    assert met.started_at == AT
    assert [(type(event), event.milestone, event.reason) for event in said if event.ticket_id == "B"] == [
        (SlaCancelled, Milestone.RESOLUTION, "merged"),
        (SlaCancelled, Milestone.ESCALATION, "merged"),
    ]


def test_an_answer_before_the_breach_of_the_one_that_goes_on_withdraws_it(monitor: Monitor) -> None:
    """HD-29: A was breached while B, the same matter, had been answered in time (L13)."""
    routed(monitor, "A", tier="enterprise")
    routed(monitor, "B", AT + 20 * MINUTE, tier="enterprise")
    monitor.handle(TicketMessageAdded, ticket_id="B", occurred_at=AT + 30 * MINUTE)
    assert SlaBreached in {type(event) for event in monitor.look(AT + 61 * MINUTE, "A")}
    said = monitor.handle(TicketClosed, ticket_id="B", reason="merged", into="A", occurred_at=AT + 70 * MINUTE)
    [corrected] = [event for event in said if event.ticket_id == "A"]
    assert (type(corrected), corrected.state) == (SlaCorrected, ClockState.MET)


def test_what_the_customer_writes_after_merges_lands_on_the_ticket_that_goes_on(monitor: Monitor) -> None:
    """HD-30: C went into B, B into A; a message to C reopens A, and neither B nor C (L12)."""
    for ticket_id in "ABC":
        routed(monitor, ticket_id)
    monitor.handle(TicketClosed, ticket_id="C", reason="merged", into="B", occurred_at=AT + MINUTE)
    monitor.handle(TicketClosed, ticket_id="B", reason="merged", into="A", occurred_at=AT + 2 * MINUTE)
    monitor.handle(TicketResolved, ticket_id="A", occurred_at=AT + 3 * MINUTE)
    said = monitor.handle(TicketMessageAdded, ticket_id="C", author=CUSTOMER, occurred_at=AT + 4 * MINUTE)
    assert {(type(event), event.ticket_id, event.cycle) for event in said} == {(SlaResumed, "A", 2)}


MERGE = (
    (TicketStatusChanged, "A", 1, {"status": "pending_customer"}),
    (TicketMessageAdded, "B", 10, {"author": CUSTOMER}),
    (TicketClosed, "B", 20, {"reason": "merged", "into": "A"}),
    (TicketMessageAdded, "B", 30, {"author": CUSTOMER}),
)


@pytest.mark.parametrize("order", list(permutations(MERGE)))
def test_a_merge_ends_in_the_same_clocks_in_whatever_order_it_is_heard_of(monitor: Monitor, order: Any) -> None:
    """HD-30: what the customer wrote to B answers the question asked in A only from the merge on (L9, L13)."""
    for ticket_id in "AB":
        routed(monitor, ticket_id)
    for event_class, ticket_id, minute, data in order:
        monitor.handle(event_class, ticket_id=ticket_id, occurred_at=AT + minute * MINUTE, **data)
    ticket, now = monitor.unit.tickets.get("A"), AT + 40 * MINUTE
    [resolution] = [one.clock for one in ticket.clocks(now, monitor.unit.book) if one.clock.key == "resolution|1"]
    assert resolution.pauses == (Pause(AT + MINUTE, AT + 30 * MINUTE),)


@pytest.mark.parametrize("is_merged_first", [True, False])
def test_an_acknowledgement_counts_for_the_claim_that_goes_on(monitor: Monitor, is_merged_first: bool) -> None:
    """HD-29: given in B after the merge, heard of after it or before (L8, L13)."""
    for ticket_id in "AB":
        routed(monitor, ticket_id, category="ip_attribution", subcategory="rights_holder_claim")
    happened: list[tuple[Any, int, Any]] = [
        (TicketClosed, 20, {"reason": "merged", "into": "A"}),
        (TicketAcknowledged, 30, {}),
    ]
    said = []
    for event_class, minute, data in happened if is_merged_first else reversed(happened):
        said += monitor.handle(event_class, ticket_id="B", occurred_at=AT + minute * MINUTE, **data)
    assert ("A", Milestone.ACKNOWLEDGEMENT) in {(one.ticket_id, one.milestone) for one in said if type(one) is SlaMet}


def test_what_was_said_in_a_merged_ticket_waits_for_the_one_that_goes_on(monitor: Monitor) -> None:
    """HD-29: A came before B, but is heard of last; until then its other events wait as those of any unknown ticket (L13)."""
    routed(monitor, "B", AT + MINUTE)
    monitor.handle(TicketMessageAdded, ticket_id="B", occurred_at=AT + 2 * MINUTE)
    monitor.handle(TicketClosed, ticket_id="B", reason="merged", into="A", occurred_at=AT + 3 * MINUTE)
    monitor.handle(TicketMessageAdded, ticket_id="B", occurred_at=AT + 4 * MINUTE)
    with pytest.raises(UnknownTicket):
        monitor.handle(TicketResolved, ticket_id="A", occurred_at=AT + 5 * MINUTE)
    monitor.handle(TicketCreated, ticket_id="A", occurred_at=AT)
    routed(monitor, "A")
    met = [one for one in monitor.unit.emitted if one.key == "A" and one.wire_type == SlaMet.wire_type]
    assert [SlaMet.model_validate_json(one.value).occurred_at for one in met] == [AT + 2 * MINUTE]
    assert monitor.unit.tickets.get("A").correlation_id != ""


def test_what_the_customer_wrote_between_two_merges_stays_with_the_ticket_in_between(monitor: Monitor) -> None:
    """HD-30: C went into B, the customer wrote, B went into A; the message comes last of all (L13)."""
    for ticket_id in "ABC":
        routed(monitor, ticket_id)
    monitor.handle(TicketStatusChanged, ticket_id="A", status="pending_customer", occurred_at=AT + MINUTE)
    monitor.handle(TicketClosed, ticket_id="C", reason="merged", into="B", occurred_at=AT + 2 * MINUTE)
    monitor.handle(TicketClosed, ticket_id="B", reason="merged", into="A", occurred_at=AT + 4 * MINUTE)
    assert monitor.handle(TicketMessageAdded, ticket_id="C", author=CUSTOMER, occurred_at=AT + 3 * MINUTE) == []
    said = monitor.handle(TicketMessageAdded, ticket_id="C", author=CUSTOMER, occurred_at=AT + 5 * MINUTE)
    assert {(type(event), event.ticket_id) for event in said} == {(SlaResumed, "A")}


@pytest.mark.parametrize("order", list(permutations(["AB", "BC", "CA"])))
def test_in_a_circle_of_merges_the_first_by_name_goes_on(monitor: Monitor, order: tuple[str, ...]) -> None:
    """HD-30: A into B, B into C and C into A, in whatever order: A's clocks run, and an answer to any of them is A's."""
    for ticket_id in "ABC":
        routed(monitor, ticket_id)
    for minute, (ticket_id, into) in enumerate(order, start=1):
        closed_at = AT + minute * MINUTE
        monitor.handle(TicketClosed, ticket_id=ticket_id, reason="merged", into=into, occurred_at=closed_at)
    met = monitor.handle(TicketMessageAdded, ticket_id="C", occurred_at=AT + 5 * MINUTE)
    assert [(type(event), event.ticket_id, event.milestone) for event in met] == [
        (SlaMet, "A", Milestone.INITIAL_RESPONSE)
    ]
    for ticket_id, last in {"A": SlaBreached, "B": SlaCancelled, "C": SlaCancelled}.items():
        monitor.look(AT + timedelta(days=30), ticket_id)
        told = [one.wire_type for one in monitor.unit.emitted if one.key == ticket_id]
        assert told[-1] == last.wire_type


def test_a_ticket_merged_into_itself_stays_as_it_is(monitor: Monitor) -> None:
    """HD-30: the smallest circle."""
    routed(monitor, "A")
    assert monitor.handle(TicketClosed, ticket_id="A", reason="merged", into="A", occurred_at=AT + MINUTE) == []


def test_a_safety_ticket_is_not_merged_into_an_ordinary_one_but_the_other_way_round(monitor: Monitor) -> None:
    """HD-78: its clocks go on and what is said there is not said elsewhere; an ordinary one may go into it (S1)."""
    routed(monitor, "A")
    routed(monitor, "S", category="safety", subcategory="content_moderation")
    assert monitor.handle(TicketClosed, ticket_id="S", reason="merged", into="A", occurred_at=AT + MINUTE) == []
    met = monitor.handle(TicketMessageAdded, ticket_id="S", occurred_at=AT + 2 * MINUTE)
    assert [(event.ticket_id, event.milestone) for event in met] == [("S", Milestone.INITIAL_RESPONSE)]
    cancelled = monitor.handle(TicketClosed, ticket_id="A", reason="merged", into="S", occurred_at=AT + 3 * MINUTE)
    assert {(event.ticket_id, event.reason) for event in cancelled} == {("A", "merged")}


@pytest.mark.parametrize("decided_after", [1, 4])
def test_a_merged_ticket_that_goes_to_safety_goes_on_by_itself(monitor: Monitor, decided_after: int) -> None:
    """HD-78: its clocks run again, and what is said there is not said elsewhere, also if it was decided before (S1, S6, L13)."""
    for ticket_id in "AB":
        routed(monitor, ticket_id)
    monitor.handle(TicketClosed, ticket_id="B", reason="merged", into="A", occurred_at=AT + 3 * MINUTE)
    safety = {"category": "safety", "subcategory": "content_moderation"}
    monitor.handle(RoutingAssigned, ticket_id="B", occurred_at=AT + decided_after * MINUTE, **safety)
    met = monitor.handle(TicketMessageAdded, ticket_id="B", occurred_at=AT + 5 * MINUTE)
    assert {(type(event), event.ticket_id) for event in met} == {(SlaMet, "B")}


def test_thanks_reopen_a_resolved_ticket(monitor: Monitor) -> None:
    """HD-27: by the clause a customer's message reopens, whatever it says (L12)."""
    monitor.handle(RoutingAssigned)
    monitor.handle(TicketResolved, occurred_at=AT + MINUTE)
    said = monitor.handle(TicketMessageAdded, author=CUSTOMER, body="thanks!", occurred_at=AT + 2 * MINUTE)
    assert [(type(event), event.milestone, event.cycle) for event in said] == [
        (SlaResumed, Milestone.RESOLUTION, 2),
        (SlaResumed, Milestone.ESCALATION, 2),
    ]


def test_a_machines_answer_does_not_reopen(monitor: Monitor) -> None:
    """HD-37: an out-of-office reply after the solution (L9, L12)."""
    monitor.handle(RoutingAssigned)
    monitor.handle(TicketResolved, occurred_at=AT + MINUTE)
    out_of_office = {"author": CUSTOMER, "public": True, "automated": True}
    assert monitor.handle(TicketMessageAdded, occurred_at=AT + 2 * MINUTE, **out_of_office) == []
    assert monitor.look(AT + timedelta(days=30)) == []


def test_a_tier_may_hold_from_before_or_from_later(monitor: Monitor) -> None:
    """HD-34: two hours ago at once, as of then; in an hour at that time (L11)."""
    monitor.handle(RoutingAssigned, tier="free")
    now = AT + timedelta(hours=4)
    said = monitor.handle(
        TicketTierChanged, tier="premium", occurred_at=now, effective_from=(now - timedelta(hours=2)).isoformat()
    )
    assert {(type(event), event.occurred_at) for event in said} == {(SlaRetargeted, now - timedelta(hours=2))}
    due = {event.milestone: event.due_at for event in said}
    assert due[Milestone.INITIAL_RESPONSE] == AT + timedelta(hours=12)
    later = (now + timedelta(hours=1)).isoformat()
    assert monitor.handle(TicketTierChanged, tier="free", occurred_at=now, effective_from=later) == []
    said = [event for event in monitor.look(now + timedelta(hours=1)) if type(event) is SlaRetargeted]
    assert {event.occurred_at for event in said} == {now + timedelta(hours=1)}
    assert said[0].due_at == AT + timedelta(hours=48)


def test_a_rise_by_the_clock_leaves_its_breach_standing(monitor: Monitor) -> None:
    """HD-48: the router dates the rise by the breach that caused it; nothing is withdrawn (L14, E9)."""
    monitor.handle(RoutingAssigned)
    monitor.handle(TicketMessageAdded, occurred_at=AT + MINUTE)
    due_at = monitor.unit.tickets.get("T-1").clocks(AT + MINUTE, monitor.unit.book)[-1].clock.due_at
    breached = monitor.look(due_at)[-1]
    assert (type(breached), breached.milestone, breached.level) == (SlaBreached, Milestone.ESCALATION, 1)
    monitor.unit.now = due_at + MINUTE
    [started] = monitor.handle(RoutingEscalated, criterion="escalation_due", origin="clock", occurred_at=due_at)
    assert (type(started), started.level, started.cycle, started.started_at) == (SlaClockStarted, 2, 2, due_at)


def test_two_tiers_of_one_instant_are_two_events(monitor: Monitor) -> None:
    """Both hold from the same time: whoever remembers ids hears of the second due time too (L10, L11)."""
    monitor.handle(RoutingAssigned, tier="free")
    for tier in ("professional", "individual"):
        monitor.handle(TicketTierChanged, tier=tier, occurred_at=AT + MINUTE)
    ids = [one.id for one in monitor.unit.emitted]
    assert len(ids) == len(set(ids))


def test_a_correction_names_the_breach_that_it_withdraws(monitor: Monitor) -> None:
    """HD-65 (L13)."""
    monitor.handle(RoutingAssigned, tier="enterprise")
    breached = next(event for event in monitor.look(AT + timedelta(hours=1, minutes=1)) if type(event) is SlaBreached)
    assert breached.occurred_at == breached.due_at == AT + timedelta(hours=1)
    assert breached.emitted_at == AT + timedelta(hours=1, minutes=1)
    breach_id = next(one.id for one in monitor.unit.emitted if one.wire_type == SlaBreached.wire_type)
    (corrected,) = monitor.handle(TicketMessageAdded, occurred_at=AT + timedelta(minutes=50))
    assert isinstance(corrected, SlaCorrected)
    assert (corrected.caused_by, corrected.state) == (breach_id, ClockState.MET)
    assert corrected.occurred_at == AT + timedelta(minutes=50)


def test_how_late_a_reply_was_is_said(monitor: Monitor) -> None:
    """(L13)"""
    monitor.handle(RoutingAssigned, tier="enterprise")
    replied_at = AT + timedelta(hours=1, milliseconds=1)
    late = monitor.handle(TicketMessageAdded, occurred_at=replied_at)[-1]
    assert (late.late_by_seconds, late.state) == (0.001, ClockState.BREACHED)


def test_a_time_that_was_clamped_is_flagged(monitor: Monitor) -> None:
    """The clock counts from the receipt; the claimed time is kept beside it (L13)."""
    claimed = AT + timedelta(hours=2)
    monitor.handle(TicketCreated, claimed_at=claimed)
    started = monitor.handle(RoutingAssigned)
    assert all(event.clamped and event.claimed_at == claimed and event.started_at == AT for event in started)
    (met,) = monitor.handle(TicketMessageAdded, occurred_at=AT + MINUTE)
    assert not met.clamped


def test_a_decision_that_comes_before_its_ticket_is_enough(monitor: Monitor) -> None:
    """Two topics, in either order (L13, L16)."""
    assert len(monitor.handle(RoutingAssigned)) == 3
    assert monitor.handle(TicketCreated) == []
    assert monitor.look(AT + timedelta(hours=1)) == []


@pytest.mark.parametrize(
    "event_class", [TicketMessageAdded, TicketResolved, TicketAcknowledged, TicketRestricted, RoutingEscalated]
)
def test_an_event_of_an_unknown_ticket_waits(monitor: Monitor, event_class: Any) -> None:
    """Neither created nor routed yet (L13)."""
    with pytest.raises(UnknownTicket):
        monitor.handle(event_class)


def test_a_second_creation_under_another_id_is_refused(monitor: Monitor) -> None:
    """The first stands."""
    monitor.handle(TicketCreated)
    with pytest.raises(InvalidMessage, match="ticket_exists"):
        monitor.handle(TicketCreated)


def test_a_second_creation_with_the_same_id_from_elsewhere_is_refused(monitor: Monitor) -> None:
    """An event is known by its source and its id."""
    monitor.deliver(wire(TicketCreated, ticket_data("created"), id="e-1"))
    with pytest.raises(InvalidMessage, match="ticket_exists"):
        monitor.deliver(wire(TicketCreated, ticket_data("created"), id="e-1", source="/forum"))


@pytest.mark.parametrize("event_class", [TicketCreated, RoutingAssigned])
def test_a_creation_that_no_calendar_reaches_is_refused(monitor: Monitor, event_class: Any) -> None:
    """No due time is guessed (L3)."""
    long_ago = datetime(1926, 3, 3, tzinfo=UTC)
    with pytest.raises(InvalidMessage, match="invalid_data"):
        monitor.handle(event_class, occurred_at=long_ago, created_at=long_ago.isoformat())


def test_a_later_decision_retargets_and_a_rise_escalates_anew(monitor: Monitor) -> None:
    """L11: another category with the same targets moves nothing; L14, HD-49: the clock of the level before is void."""
    monitor.handle(RoutingAssigned)
    assert monitor.handle(RoutingAssigned, category="billing", subcategory="refund_request") == []
    cancelled, started = monitor.handle(RoutingEscalated, category="billing", occurred_at=AT + MINUTE)
    assert (cancelled.milestone, cancelled.reason, cancelled.level, cancelled.cycle) == ("escalation", "raised", 1, 1)
    assert (started.level, started.cycle, started.started_at) == (2, 2, AT + MINUTE)
    assert started.clauses[-1] == "L14"
    [retargeted] = monitor.handle(TicketTierChanged, tier="professional", occurred_at=AT + 2 * MINUTE)[:1]
    assert (retargeted.wire_type, retargeted.previous_due_at is not None) == (SlaRetargeted.wire_type, True)


def test_a_restricted_decision_cancels_and_silences(monitor: Monitor) -> None:
    """(L6)"""
    monitor.handle(RoutingAssigned)
    cancelled = monitor.handle(RoutingAssigned, restricted=True, category="safety", occurred_at=AT + MINUTE)
    assert [(type(event), event.reason) for event in cancelled] == [(SlaCancelled, "restricted")] * 3
    assert monitor.handle(TicketMessageAdded, occurred_at=AT + 2 * MINUTE) == []
    assert monitor.look(AT + timedelta(days=30)) == []


def test_only_the_safety_bridge_restricts(monitor: Monitor) -> None:
    """From anyone else the mark is ignored (S9)."""
    monitor.handle(RoutingAssigned)
    assert monitor.handle(TicketRestricted, occurred_at=AT + MINUTE) == []
    assert len(monitor.handle(TicketRestricted, source=SAFETY_BRIDGE, occurred_at=AT + 2 * MINUTE)) == 3


def test_a_ticket_of_the_safety_bridge_never_has_a_clock(monitor: Monitor) -> None:
    """Restricted from the start (S9, L6)."""
    monitor.handle(TicketCreated, source=SAFETY_BRIDGE)
    assert monitor.look(AT + timedelta(hours=1)) == []


def test_every_turn_has_its_event() -> None:
    """The words of the domain are those of the wire."""
    assert set(EVENT_OF) == set(Turn)
    assert len(set(EVENT_OF.values())) == len(Turn)


def test_a_message_without_meaning_for_clocks_leaves_no_trace(monitor: Monitor) -> None:
    """A note does not make the ticket be written again."""
    monitor.handle(RoutingAssigned)
    monitor.unit.tickets.changed.clear()
    note = wire(TicketMessageAdded, {"ticket_id": "T-1", "author": AGENT, "public": False, "body": "note"})
    monitor.deliver(note)
    assert monitor.unit.tickets.changed == set()
