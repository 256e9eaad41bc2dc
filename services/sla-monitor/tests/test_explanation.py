"""Why each clock is due when it is: what counts, what does not and because of what, and what moved it (L15)."""

import os
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from test_against_oracle import case_of, fact_of

from shared.vocabulary import ClockState, Milestone, Subcategory, Tier
from sla_monitor.domain.clock import FactKind, fold
from sla_monitor.domain.explanation import Explanation, Stretch, StretchKind, explain
from sla_monitor.domain.ticket import Ticket

Desk = Any
BERLIN = ZoneInfo("Europe/Berlin")
INITIAL_RESPONSE, RESOLUTION, ESCALATION = Milestone.INITIAL_RESPONSE, Milestone.RESOLUTION, Milestone.ESCALATION
CASES = int(os.environ.get("SUPPORT_TEST_CASES", "100"))
Told = tuple[str, str, str]


def explained(desk: Desk, now: str, milestone: Milestone = RESOLUTION, cycle: int = 1) -> Explanation:
    instant = at(now)
    found = explain(desk.ticket.changes(instant, desk.book), instant)
    return next(one for one in found if one.clock.key == f"{milestone}|{cycle}")


def told(explanation: Explanation) -> list[Told]:
    return [(wall(stretch.starts_at), wall(stretch.ends_at), why(stretch)) for stretch in explanation.stretches]


def why(stretch: Stretch) -> str:
    causes = (fact.id for fact in (stretch.begun_by, stretch.ended_by) if fact is not None)
    return " ".join(filter(None, (stretch.kind, stretch.name, *causes)))


def moved(explanation: Explanation) -> list[tuple[str, str, str, str | None, str]]:
    return [
        (
            move.turn.value,
            wall(move.was_due_at),
            wall(move.due_at),
            move.clause,
            move.because.id,
        )
        for move in explanation.moves
    ]


def at(local: str) -> datetime:
    return datetime.fromisoformat(local).replace(tzinfo=BERLIN).astimezone(UTC)


def wall(instant: datetime) -> str:
    return f"{instant.astimezone(BERLIN):%a %H:%M}"


def test_a_pause_is_one_stretch_and_names_what_began_and_ended_it(desk: Desk) -> None:
    """HD-22: over a night, which is part of the pause; the time that it takes away moves the due time (L9)."""
    desk.routed("2026-03-02 10:00", Tier.PREMIUM).happens(FactKind.WAITING, "2026-03-02 12:00")
    desk.happens(FactKind.CUSTOMER_WROTE, "2026-03-03 15:00")
    found = explained(desk, "2026-03-03 16:00")
    assert told(found) == [
        ("Mon 10:00", "Mon 12:00", "counted"),
        ("Mon 12:00", "Tue 15:00", "paused waiting@2026-03-02 12:00 customer_wrote@2026-03-03 15:00"),
        ("Tue 15:00", "Tue 17:00", "counted"),
        ("Tue 17:00", "Wed 09:00", "night"),
        ("Wed 09:00", "Wed 17:00", "counted"),
        ("Wed 17:00", "Thu 09:00", "night"),
        ("Thu 09:00", "Thu 13:00", "counted"),
    ]
    assert moved(found) == [("resumed", "Wed 10:00", "Thu 13:00", "L9", "customer_wrote@2026-03-03 15:00")]
    assert found.clauses == ("L1", "L3", "L16", "L9")
    assert found.counted == timedelta(hours=16)


def test_a_pause_that_goes_on_ends_now_and_nothing_ended_it(desk: Desk) -> None:
    """Nobody knows until when: what is counted is what was counted before it (L9)."""
    desk.routed("2026-03-02 10:00", Tier.PREMIUM).happens(FactKind.WAITING, "2026-03-02 12:00")
    found = explained(desk, "2026-03-06 10:00")
    assert told(found) == [
        ("Mon 10:00", "Mon 12:00", "counted"),
        ("Mon 12:00", "Fri 10:00", "paused waiting@2026-03-02 12:00"),
    ]
    assert (found.counted, found.moves) == (timedelta(hours=2), ())


def test_a_retarget_keeps_the_pause_and_says_what_moved_the_due_time(desk: Desk) -> None:
    """HD-23: five paused hours survive the change to one business day (L11)."""
    desk.routed("2026-03-02 09:00", Tier.PREMIUM).happens(FactKind.WAITING, "2026-03-02 10:00")
    desk.happens(FactKind.CONTINUED, "2026-03-02 15:00")
    desk.happens(FactKind.TIER_CHANGED, "2026-03-02 16:00", tier=Tier.PROFESSIONAL)
    found = explained(desk, "2026-03-02 16:30")
    assert told(found) == [
        ("Mon 09:00", "Mon 10:00", "counted"),
        ("Mon 10:00", "Mon 15:00", "paused waiting@2026-03-02 10:00 continued@2026-03-02 15:00"),
        ("Mon 15:00", "Mon 17:00", "counted"),
        ("Mon 17:00", "Tue 09:00", "night"),
        ("Tue 09:00", "Tue 14:00", "counted"),
    ]
    assert moved(found) == [
        ("resumed", "Tue 17:00", "Wed 14:00", "L9", "continued@2026-03-02 15:00"),
        ("retargeted", "Wed 14:00", "Tue 14:00", "L11", "tier_changed@2026-03-02 16:00"),
    ]
    assert found.counted == found.clock.promise.length == timedelta(hours=8)


def test_the_time_between_resolution_and_reopening_is_named_by_both(desk: Desk) -> None:
    """HD-25: three business days, solved Tuesday 12:00, reopened Thursday 10:00 (L12)."""
    desk.routed("2026-03-02 09:00", Tier.INDIVIDUAL).happens(FactKind.RESOLVED, "2026-03-03 12:00")
    desk.happens(FactKind.CUSTOMER_WROTE, "2026-03-05 10:00")
    first, second = (explained(desk, "2026-03-05 11:00", cycle=cycle) for cycle in (1, 2))
    assert told(second) == [
        ("Mon 09:00", "Mon 17:00", "counted"),
        ("Mon 17:00", "Tue 09:00", "night"),
        ("Tue 09:00", "Tue 12:00", "counted"),
        ("Tue 12:00", "Thu 10:00", "resolved resolved@2026-03-03 12:00 customer_wrote@2026-03-05 10:00"),
        ("Thu 10:00", "Thu 17:00", "counted"),
        ("Thu 17:00", "Fri 09:00", "night"),
        ("Fri 09:00", "Fri 15:00", "counted"),
    ]
    assert moved(second) == [("resumed", "Wed 17:00", "Fri 15:00", "L12", "customer_wrote@2026-03-05 10:00")]
    assert first.clock.state is ClockState.MET
    assert told(first)[-1] == ("Wed 09:00", "Wed 17:00", "counted")
    assert first.counted == second.counted == timedelta(hours=24)


def test_a_pause_that_the_resolution_ended_moves_the_due_time(desk: Desk) -> None:
    """Resolved while the customer is asked: the pause ends there, and the reopening adds the next one (L9, L12)."""
    desk.routed("2026-03-02 09:00", Tier.INDIVIDUAL).happens(FactKind.WAITING, "2026-03-02 10:00")
    desk.happens(FactKind.RESOLVED, "2026-03-02 12:00").happens(FactKind.REOPENED, "2026-03-02 13:00")
    for milestone in (RESOLUTION, ESCALATION):
        assert told(explained(desk, "2026-03-02 14:00", milestone, cycle=2))[:4] == [
            ("Mon 09:00", "Mon 10:00", "counted"),
            ("Mon 10:00", "Mon 12:00", "paused waiting@2026-03-02 10:00 resolved@2026-03-02 12:00"),
            ("Mon 12:00", "Mon 13:00", "resolved resolved@2026-03-02 12:00 reopened@2026-03-02 13:00"),
            ("Mon 13:00", "Mon 17:00", "counted"),
        ]
    assert moved(explained(desk, "2026-03-02 14:00")) == [
        ("met", "Wed 17:00", "Thu 11:00", "L12", "resolved@2026-03-02 12:00")
    ]
    assert moved(explained(desk, "2026-03-02 14:00", cycle=2)) == [
        ("resumed", "Thu 11:00", "Thu 12:00", "L12", "reopened@2026-03-02 13:00")
    ]


def test_elapsed_hours_count_day_and_night(desk: Desk) -> None:
    """(L2)"""
    desk.routed("2026-03-06 15:00", Tier.FREE)
    assert told(explained(desk, "2026-03-06 15:00", INITIAL_RESPONSE)) == [("Fri 15:00", "Sun 15:00", "counted")]


def test_a_cancelled_clock_is_explained_to_its_end(desk: Desk) -> None:
    """(L12)"""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.RESOLVED, "2026-03-02 12:00")
    found = explained(desk, "2026-03-03 09:00", ESCALATION)
    assert told(found) == [("Mon 09:00", "Mon 12:00", "counted")]
    assert found.clauses == ("L1", "L3", "L16", "L12")


def test_a_restricted_ticket_has_nothing_to_explain(desk: Desk) -> None:
    """(L6)"""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.RESTRICTED, "2026-03-02 10:00")
    assert explain(desk.ticket.changes(at("2026-03-02 11:00"), desk.book), at("2026-03-02 11:00")) == []


def test_a_new_cycle_for_a_cry_begins_without_a_move(desk: Desk) -> None:
    """It is promised anew; what ran before is cancelled (L11)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).decided("2026-03-02 10:00", Subcategory.CRISIS_DETECTION)
    found = explained(desk, "2026-03-02 10:01", INITIAL_RESPONSE, cycle=2)
    assert told(found) == [("Mon 10:00", "Mon 10:05", "counted")]
    assert found.moves == ()


def flaws(explanation: Explanation, now: datetime) -> list[str]:
    """What cannot be checked by hand about an explanation."""
    clock, stretches, flaws = explanation.clock, explanation.stretches, []
    if any(one.ends_at != other.starts_at for one, other in pairwise(stretches)):
        flaws.append("there is a gap")
    if any(stretch.length <= timedelta(0) for stretch in stretches):
        flaws.append("a stretch is empty")
    if clock.state is ClockState.PAUSED:
        until, counted = now, clock.counted(now)
    elif clock.state is ClockState.CANCELLED:
        until, counted = clock.ended_at, clock.counted(clock.ended_at)
    else:
        until, counted = clock.due_at, clock.promise.length
    if explanation.counted != counted:
        flaws.append(f"{explanation.counted} is counted instead of {counted}")
    if stretches and (stretches[0].starts_at, stretches[-1].ends_at) != (clock.started_at, until):
        flaws.append("it does not go from start to end")
    for stretch in stretches:
        if stretch.kind is StretchKind.PAUSED and (stretch.begun_by is None or stretch.begun_by.at > stretch.starts_at):
            flaws.append(f"nothing began {stretch}")
        if stretch.kind is StretchKind.RESOLVED and stretch.begun_by.kind is not FactKind.RESOLVED:
            flaws.append(f"no resolution began {stretch}")
        is_pause = stretch.kind in (StretchKind.PAUSED, StretchKind.RESOLVED)
        if is_pause and stretch.ended_by is None and clock.state is not ClockState.PAUSED:
            flaws.append(f"nothing ended {stretch}")
        if stretch.begun_by and stretch.ended_by and stretch.begun_by.order > stretch.ended_by.order:
            flaws.append(f"it ended before it began: {stretch}")
    dues = [due for move in explanation.moves for due in (move.was_due_at, move.due_at)]
    if dues and dues[-1] != clock.due_at:
        flaws.append("the moves lead elsewhere")
    if any(one != other for one, other in list(pairwise(dues))[1::2]):
        flaws.append("the moves do not follow from each other")
    return flaws


@pytest.mark.parametrize("part", range(4))
def test_every_explanation_of_random_tickets_can_be_checked_by_hand(part: int) -> None:
    """What counts sums up to the length, to the microsecond, however the clock was paused, moved and reopened (L15)."""
    for seed in range(part * CASES // 4, (part + 1) * CASES // 4):
        created_at, facts, _, ours, now = case_of(seed)
        ticket = Ticket("T-1", "c-1")
        for fact in map(fact_of, facts):
            if fact.kind is FactKind.ROUTED and not ticket.is_routed():
                ticket.start(fact, created_at=created_at, rules=ours)
            else:
                ticket.add(fact)
        if ticket.terms is None:
            continue
        for explanation in explain(fold(ticket.terms, ticket.facts, now, {ours.key: ours}), now):
            found = flaws(explanation, now)
            assert found == [], f"seed {seed}, {explanation.clock.key}: {found}"
