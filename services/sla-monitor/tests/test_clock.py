"""Clocks by the exact instants of the acceptance scenarios. Local times of Berlin; the policy on CAL-DE."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.policy.business_time import Calendar
from shared.vocabulary import ClockState, Milestone, Subcategory, Tier, Unit
from sla_monitor.domain.clock import Care, FactKind
from sla_monitor.domain.targets import Rules

Desk = Any
ACKNOWLEDGEMENT, INITIAL_RESPONSE, RESOLUTION, ESCALATION = Milestone
Calendars = dict[str, Calendar]


# --- targets (L1-L7) ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "tier", "created", "initial_response", "resolution", "escalation"),
    [
        ("HD-01", Tier.FREE, "2026-03-06 15:00", "2026-03-08 15:00", "2026-03-13 15:00", "2026-03-17 15:00"),
        ("HD-03", Tier.PREMIUM, "2026-03-07 11:00", "2026-03-07 23:00", "2026-03-10 17:00", "2026-03-11 17:00"),
        ("HD-04", Tier.PROFESSIONAL, "2026-03-03 16:30", "2026-03-03 20:30", "2026-03-04 16:30", "2026-03-05 16:30"),
        ("HD-12", Tier.FREE, "2026-03-28 10:00", "2026-03-30 11:00", "2026-04-07 17:00", "2026-04-09 17:00"),
        ("HD-13", Tier.INDIVIDUAL, "2026-10-24 12:00", "2026-10-25 11:00", "2026-10-28 17:00", "2026-10-30 17:00"),
        ("HD-76", Tier.ENTERPRISE, "2026-03-03 10:00", "2026-03-03 11:00", "2026-03-03 17:00", "2026-03-04 17:00"),
        ("HD-76", Tier.ENTERPRISE, "2026-03-03 17:00", "2026-03-03 18:00", "2026-03-04 17:00", "2026-03-05 17:00"),
        ("HD-76", Tier.ENTERPRISE, "2026-03-07 11:00", "2026-03-07 12:00", "2026-03-09 17:00", "2026-03-10 17:00"),
    ],
)
def test_a_tier_promises_hours_day_and_night_and_business_days(
    desk: Desk, scenario: str, tier: Tier, created: str, initial_response: str, resolution: str, escalation: str
) -> None:
    """Hours elapse, days run in business time, same-day targets end at closing (L1, L2, L3, L4)."""
    desk.routed(created, tier)
    assert desk.due(INITIAL_RESPONSE) == initial_response
    assert desk.due(RESOLUTION) == resolution
    assert desk.due(ESCALATION) == escalation


@pytest.mark.parametrize("tier", Tier)
def test_every_tier_has_its_row(desk: Desk, tier: Tier, rules: Rules) -> None:
    """Created on a Monday at nine, each target is the policy's number (L1)."""
    desk.routed("2026-03-02 09:00", tier)
    for milestone in (INITIAL_RESPONSE, RESOLUTION, ESCALATION):
        target = rules.clocks.targets[tier].of(milestone)
        length = desk.clock(milestone).promise.length
        hours = {Unit.HOURS: 1, Unit.BUSINESS_DAYS: 8, Unit.SAME_DAY: 8, Unit.NEXT_BUSINESS_DAY: 16}[target.unit]
        assert length.total_seconds() == target.amount * hours * 3600
        assert desk.clock(milestone).promise.clauses[0] == "L1"


def test_a_ticket_without_a_tier_is_treated_as_free(desk: Desk) -> None:
    """(L1)"""
    desk.created("2026-03-06 15:00", None).look("2026-03-06 15:01")
    assert desk.due(INITIAL_RESPONSE) == "2026-03-08 15:00"


def test_a_same_day_target_late_in_the_day_is_short_notice(desk: Desk) -> None:
    """HD-76: created at 16:50 there are ten minutes left, flagged at once (L4)."""
    desk.routed("2026-03-03 16:50", Tier.ENTERPRISE)
    assert desk.due(RESOLUTION) == "2026-03-03 17:00"
    assert desk.clock(RESOLUTION).promise.short_notice
    assert not desk.clock(INITIAL_RESPONSE).promise.short_notice
    assert not desk.clock(ESCALATION).promise.short_notice


@pytest.mark.parametrize(
    "subcategory", [Subcategory.USER_QUESTION, Subcategory.MISSING_ATTRIBUTION, Subcategory.FALSE_POSITIVE]
)
def test_ip_questions_are_answered_in_a_day_and_solved_in_three(desk: Desk, subcategory: Subcategory) -> None:
    """The category's target is earlier than the free tier's; the escalation stays the tier's (L5, L7)."""
    desk.routed("2026-03-07 22:10", Tier.FREE, subcategory)
    assert desk.due(INITIAL_RESPONSE) == "2026-03-08 22:10"
    assert desk.due(RESOLUTION) == "2026-03-11 17:00"
    assert desk.clock(INITIAL_RESPONSE).promise.clauses == ("L5", "L2", "L7")
    assert desk.clock(ESCALATION).promise.clauses == ("L1", "L3")


def test_a_rights_holder_claim_is_acknowledged_within_the_hour(desk: Desk) -> None:
    """Acknowledgement 1 h, initial response 24 h, the rest is the tier's (L5, L7)."""
    desk.routed("2026-03-07 22:10", Tier.FREE, Subcategory.RIGHTS_HOLDER_CLAIM)
    assert desk.due(ACKNOWLEDGEMENT) == "2026-03-07 23:10"
    assert desk.due(INITIAL_RESPONSE) == "2026-03-08 22:10"
    assert desk.due(RESOLUTION) == "2026-03-13 17:00"


@pytest.mark.parametrize(
    ("subcategory", "created", "due"),
    [
        (Subcategory.CRISIS_DETECTION, "2026-03-29 01:58", "2026-03-29 03:03"),
        (Subcategory.MANDATORY_REPORTING, "2026-03-29 01:30", "2026-03-29 03:30"),
        (Subcategory.CONTENT_MODERATION, "2026-03-28 23:00", "2026-03-29 04:00"),
        (Subcategory.PRIVACY_CONCERN, "2026-03-06 18:00", "2026-03-07 18:00"),
        (Subcategory.COPPA_COMPLIANCE, "2026-03-06 18:00", "2026-03-07 18:00"),
    ],
)
def test_safety_is_answered_by_elapsed_time(desk: Desk, subcategory: Subcategory, created: str, due: str) -> None:
    """HD-77, HD-80: also through the hour that does not exist, and while the office is closed (L6)."""
    desk.routed(created, Tier.FREE, subcategory)
    assert desk.due(INITIAL_RESPONSE) == due
    assert desk.clock(INITIAL_RESPONSE).promise.clauses == ("L6", "L2", "L7")


def test_the_earlier_due_instant_wins_not_the_smaller_number(desk: Desk) -> None:
    """An enterprise promise of one hour is earlier than the category's day (L7)."""
    desk.routed("2026-03-02 10:00", Tier.ENTERPRISE, Subcategory.PRIVACY_CONCERN)
    assert desk.due(INITIAL_RESPONSE) == "2026-03-02 11:00"
    assert desk.clock(INITIAL_RESPONSE).promise.clauses == ("L1", "L2", "L7")


def test_a_safety_ticket_keeps_its_tiers_resolution_and_escalation(desk: Desk) -> None:
    """A milestone that only one of them sets stands (L7)."""
    desk.routed("2026-03-02 10:00", Tier.PREMIUM, Subcategory.CRISIS_DETECTION)
    assert desk.due(RESOLUTION) == "2026-03-04 10:00"
    assert desk.due(ESCALATION) == "2026-03-05 10:00"


# --- fulfilment (L8, L13) -------------------------------------------------------------------------------------------------


def test_a_reply_at_the_due_instant_is_in_time_and_a_millisecond_later_it_is_not(desk: Desk, rules: Rules) -> None:
    """HD-41: met when the event's time is not after due (L8)."""
    late = type(desk)(rules)
    desk.routed("2026-03-02 10:00", Tier.PROFESSIONAL).happens(FactKind.REPLIED, "2026-03-02 14:00")
    late.routed("2026-03-02 10:00", Tier.PROFESSIONAL).happens(FactKind.REPLIED, "2026-03-02 14:00:00.001")
    assert desk.clock(INITIAL_RESPONSE).state is ClockState.MET
    assert late.clock(INITIAL_RESPONSE).state is ClockState.BREACHED
    assert late.heard(INITIAL_RESPONSE)[1:] == [
        ("breached", "2026-03-02 14:00"),
        ("fulfilled_late", "2026-03-02 14:00:00.001000"),
    ]


def test_nothing_but_a_public_human_reply_answers(desk: Desk) -> None:
    """HD-36: status changes, assignment and pausing fulfil nothing (L8)."""
    desk.routed("2026-03-02 10:00", Tier.PROFESSIONAL)
    desk.happens(FactKind.WAITING, "2026-03-02 10:10").happens(FactKind.CONTINUED, "2026-03-02 10:20")
    desk.decided("2026-03-02 10:30")
    assert desk.clock(INITIAL_RESPONSE).state is ClockState.RUNNING


def test_the_acknowledgement_of_a_claim_is_met_by_either(desk: Desk, rules: Rules) -> None:
    """By the acknowledgement itself or by the first public human message (L8)."""
    replied = type(desk)(rules).routed("2026-03-02 10:00", Tier.FREE, Subcategory.RIGHTS_HOLDER_CLAIM)
    replied.happens(FactKind.REPLIED, "2026-03-02 10:30")
    desk.routed("2026-03-02 10:00", Tier.FREE, Subcategory.RIGHTS_HOLDER_CLAIM)
    desk.happens(FactKind.ACKNOWLEDGED, "2026-03-02 10:30")
    assert replied.clock(ACKNOWLEDGEMENT).state is desk.clock(ACKNOWLEDGEMENT).state is ClockState.MET
    assert replied.clock(INITIAL_RESPONSE).state is ClockState.MET
    assert desk.clock(INITIAL_RESPONSE).state is ClockState.RUNNING


# --- pauses (L9) ----------------------------------------------------------------------------------------------------------


def test_a_paused_clock_neither_warns_nor_breaches(desk: Desk) -> None:
    """HD-20: still paused on Tuesday at noon, whatever else is looked at meanwhile (L9)."""
    desk.routed("2026-03-02 09:00", Tier.PROFESSIONAL)
    desk.happens(FactKind.REPLIED, "2026-03-02 09:10").happens(FactKind.WAITING, "2026-03-02 09:30")
    assert desk.next_look is None
    desk.look("2026-03-03 12:00").happens(FactKind.REPLIED, "2026-03-03 12:30").look("2026-03-10 12:00")
    assert desk.heard(RESOLUTION) == [("clock_started", "2026-03-02 09:00"), ("paused", "2026-03-02 09:30")]
    assert desk.clock(RESOLUTION).state is ClockState.PAUSED


@pytest.mark.parametrize(
    ("scenario", "tier", "created", "pauses", "due"),
    [
        ("HD-21", Tier.PREMIUM, "2026-03-02 10:00", [("2026-03-02 12:00", "2026-03-03 15:00")], "2026-03-05 13:00"),
        ("HD-22", Tier.PREMIUM, "2026-03-02 10:00", [("2026-03-02 17:30", "2026-03-03 08:30")], "2026-03-04 10:00"),
        (
            "HD-22",
            Tier.PROFESSIONAL,
            "2026-03-06 10:00",
            [("2026-03-06 16:00", "2026-03-09 10:00")],
            "2026-03-09 12:00",
        ),
        (
            "HD-22",
            Tier.PROFESSIONAL,
            "2026-04-30 09:00",
            [("2026-04-30 15:00", "2026-05-04 11:00")],
            "2026-05-04 13:00",
        ),
        (
            "HD-24",
            Tier.PROFESSIONAL,
            "2026-03-02 09:00",
            [("2026-03-02 10:00:05", "2026-03-02 10:00:40"), ("2026-03-02 10:00:50", "2026-03-02 10:01:10")],
            "2026-03-03 09:00:55",
        ),
    ],
)
def test_a_pause_is_not_counted_in_the_unit_of_the_target(
    desk: Desk, scenario: str, tier: Tier, created: str, pauses: list[tuple[str, str]], due: str
) -> None:
    """Pause and target are measured on the same calendar (L9)."""
    desk.routed(created, tier)
    for waiting, continued in pauses:
        desk.happens(FactKind.WAITING, waiting).happens(FactKind.CONTINUED, continued)
    assert desk.due(RESOLUTION) == due


def test_a_pause_through_the_repeated_hour_is_sixty_real_minutes(
    desk: Desk, rules: Rules, calendars: Calendars
) -> None:
    """HD-15: on a calendar that never closes, paused from the first to the second 02:15 (L3, L9)."""
    always_open = replace(calendars["CAL-24x7"], nominal_day=timedelta(hours=12))
    night = type(desk)(Rules(rules.policy_version, rules.clocks, always_open)).routed(
        "2026-10-24 20:00", Tier.PROFESSIONAL
    )
    night.happens(FactKind.WAITING, "2026-10-25T02:15+02:00").happens(FactKind.CONTINUED, "2026-10-25T02:15+01:00")
    assert night.clock(RESOLUTION).due_at == datetime(2026, 10, 25, 7, tzinfo=UTC)


def test_the_customers_message_ends_the_pause_at_its_own_time(desk: Desk) -> None:
    """HD-24: even if the status event comes later (L9)."""
    desk.routed("2026-03-02 09:00", Tier.PROFESSIONAL)
    desk.happens(FactKind.WAITING, "2026-03-02 10:00").happens(FactKind.CUSTOMER_WROTE, "2026-03-02 12:00")
    desk.happens(FactKind.CONTINUED, "2026-03-02 15:00")
    assert desk.due(RESOLUTION) == "2026-03-03 11:00"


def test_initial_response_never_pauses(desk: Desk) -> None:
    """(L9)"""
    desk.routed("2026-03-02 10:00", Tier.PROFESSIONAL).happens(FactKind.WAITING, "2026-03-02 10:30")
    desk.look("2026-03-02 15:00")
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("breached", "2026-03-02 14:00")


@pytest.mark.parametrize(
    ("subcategory", "care"),
    [
        (Subcategory.PRIVACY_CONCERN, None),
        (Subcategory.RIGHTS_HOLDER_CLAIM, None),
        (Subcategory.REFUND_REQUEST, Care.LEGAL),
    ],
)
def test_nothing_pauses_with_safety_or_legal(desk: Desk, subcategory: Subcategory, care: Care | None) -> None:
    """HD-78: asking the customer does not hold back these clocks (L9, L6)."""
    desk.routed("2026-03-02 10:00", Tier.PREMIUM, subcategory, care=care)
    desk.happens(FactKind.WAITING, "2026-03-02 11:00").look("2026-03-02 16:00")
    assert desk.clock(RESOLUTION).state is ClockState.RUNNING
    assert desk.due(RESOLUTION) == "2026-03-04 10:00"


def test_a_pause_ends_when_the_ticket_goes_to_legal(desk: Desk) -> None:
    """With legal nothing pauses, from the decision on (L9)."""
    desk.routed("2026-03-02 10:00", Tier.PREMIUM).happens(FactKind.WAITING, "2026-03-02 12:00")
    desk.decided("2026-03-02 14:00", care=Care.LEGAL)
    assert desk.heard(RESOLUTION)[-1] == ("resumed", "2026-03-02 14:00")
    assert desk.due(RESOLUTION) == "2026-03-04 12:00"


# --- resolving, reopening, closing (L12) ----------------------------------------------------------------------------------


def test_resolving_meets_resolution_and_cancels_the_rest(desk: Desk) -> None:
    """What nobody answered is counted apart (L12)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.RESOLVED, "2026-03-03 12:00")
    assert desk.clock(RESOLUTION).state is ClockState.MET
    assert (desk.clock(ESCALATION).state, desk.clock(ESCALATION).reason) == (ClockState.CANCELLED, "resolved")
    assert desk.clock(INITIAL_RESPONSE).reason == "resolved_unanswered"
    assert desk.next_look is None


def test_a_reply_and_a_resolution_at_the_same_instant_answer_first(desk: Desk) -> None:
    """Whatever came first over the wire (L13)."""
    desk.routed("2026-03-02 09:00", Tier.FREE)
    desk.happens(FactKind.RESOLVED, "2026-03-03 12:00").happens(FactKind.REPLIED, "2026-03-03 12:00")
    assert desk.clock(INITIAL_RESPONSE).state is ClockState.MET


def test_reopening_resumes_in_the_next_cycle_and_the_time_in_between_is_a_pause(desk: Desk) -> None:
    """HD-25: solved Tuesday 12:00, reopened by the customer Thursday 10:00 (L12)."""
    desk.routed("2026-03-02 09:00", Tier.INDIVIDUAL).happens(FactKind.REPLIED, "2026-03-02 10:00")
    desk.happens(FactKind.RESOLVED, "2026-03-03 12:00").happens(FactKind.CUSTOMER_WROTE, "2026-03-05 10:00")
    assert desk.heard(RESOLUTION, cycle=2) == [("resumed", "2026-03-05 10:00")]
    assert desk.due(RESOLUTION, cycle=2) == "2026-03-06 15:00"
    assert desk.heard(ESCALATION, cycle=2) == [("resumed", "2026-03-05 10:00")]
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("met", "2026-03-02 10:00")


def test_a_breach_stands_through_reopening_and_is_not_repeated(desk: Desk) -> None:
    """HD-26: breached Monday, solved Tuesday, reopened Wednesday; the escalation clock goes on (L12)."""
    desk.routed("2026-02-27 09:00", Tier.PROFESSIONAL).look("2026-03-02 09:30")
    desk.happens(FactKind.RESOLVED, "2026-03-02 12:00").happens(FactKind.REOPENED, "2026-03-04 09:00")
    desk.look("2026-03-20 09:00").happens(FactKind.RESOLVED, "2026-03-20 10:00")
    assert [turn for turn, _ in desk.heard(RESOLUTION)] == ["clock_started", "breached", "fulfilled_late"]
    assert [turn for turn, _ in desk.heard(RESOLUTION, cycle=2)] == ["resumed", "fulfilled_late"]
    assert desk.heard(ESCALATION, cycle=2) == [("resumed", "2026-03-04 09:00"), ("breached", "2026-03-04 14:00")]


def test_the_window_for_reopening_is_seven_days_to_the_microsecond(desk: Desk, rules: Rules) -> None:
    """HD-28: exactly seven days is still the old ticket; later is not for the clocks (L12)."""
    later = type(desk)(rules)
    for one, wrote in ((desk, "2026-03-10 12:00"), (later, "2026-03-10 12:00:00.000001")):
        one.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.RESOLVED, "2026-03-03 12:00")
        one.happens(FactKind.CUSTOMER_WROTE, wrote)
    assert desk.heard(RESOLUTION, cycle=2) == [("resumed", "2026-03-10 12:00")]
    assert later.heard(RESOLUTION, cycle=2) == []


def test_a_target_used_up_when_resolved_is_due_when_reopened(desk: Desk) -> None:
    """Resolved at the due instant is met; reopened there is nothing left to count (L8, L12)."""
    desk.routed("2026-03-02 09:00", Tier.PROFESSIONAL).happens(FactKind.RESOLVED, "2026-03-02 17:00")
    desk.happens(FactKind.REOPENED, "2026-03-03 11:00")
    assert desk.heard(RESOLUTION)[-1] == ("met", "2026-03-02 17:00")
    assert desk.heard(RESOLUTION, cycle=2) == [("resumed", "2026-03-03 11:00"), ("breached", "2026-03-03 11:00")]


def test_closing_cancels_what_runs_and_a_message_does_not_reopen_it(desk: Desk) -> None:
    """HD-29: the clocks of a merged ticket end, its breaches stay."""
    desk.routed("2026-03-02 10:00", Tier.ENTERPRISE)
    desk.happens(FactKind.CLOSED, "2026-03-02 11:30", reason="merged").happens(
        FactKind.CUSTOMER_WROTE, "2026-03-02 12:00"
    )
    assert (desk.clock(RESOLUTION).state, desk.clock(RESOLUTION).reason) == (ClockState.CANCELLED, "merged")
    assert desk.clock(INITIAL_RESPONSE).state is ClockState.BREACHED
    assert desk.next_look is None


def test_a_safety_ticket_cannot_be_closed_away(desk: Desk) -> None:
    """HD-78: merging it into an ordinary one silences nothing (L6)."""
    desk.routed("2026-03-02 10:00", Tier.FREE, Subcategory.CONTENT_MODERATION)
    desk.happens(FactKind.CLOSED, "2026-03-02 11:00", reason="merged").look("2026-03-02 15:00")
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("breached", "2026-03-02 14:00")


@pytest.mark.parametrize("is_answered", [True, False], ids=["answered", "not answered"])
def test_a_stricter_rule_owes_no_second_answer_to_a_safety_ticket(
    desk: Desk, policy: Any, rules: Rules, is_answered: bool
) -> None:
    """An edit from 4 hours to 2 is no change into safety: it moves what runs and begins no new cycle (L11)."""
    document = policy.model_dump(mode="json")
    document["clocks"]["overlays"]["content_moderation"]["initial_response"] = "2 hours"
    stricter = Rules.of(type(policy).model_validate(document), rules.calendar)
    desk.routed("2026-03-03 10:00", Tier.PREMIUM, Subcategory.CONTENT_MODERATION)
    if is_answered:
        desk.happens(FactKind.REPLIED, "2026-03-03 10:30")
    desk.happens(FactKind.RULES_CHANGED, "2026-03-03 11:00", rules=stricter)
    assert not [notice for notice in desk.said if notice.clock.key == f"{INITIAL_RESPONSE}|2"]
    assert desk.due(INITIAL_RESPONSE) == ("2026-03-03 14:00" if is_answered else "2026-03-03 12:00")
