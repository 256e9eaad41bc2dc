"""Clocks whose promise changes while they run, and escalation clocks that start anew. Local times of Berlin; CAL-DE."""

from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.policy.business_time import compile_calendar
from shared.policy.model import CalendarPolicy, Target
from shared.vocabulary import ClockState, Level, Milestone, Subcategory, Tier, Unit
from sla_monitor.domain.clock import Care, FactKind, Turn
from sla_monitor.domain.targets import Rules
from sla_monitor.domain.what_if import Effects, retarget_to

Desk = Any
ACKNOWLEDGEMENT, INITIAL_RESPONSE, RESOLUTION, ESCALATION = Milestone
TIER_CHANGED, RULES_CHANGED = FactKind.TIER_CHANGED, FactKind.RULES_CHANGED


def edited(rules: Rules, **numbers: Any) -> Rules:
    """Another policy on the same calendar."""
    return Rules("edited", rules.clocks.model_copy(update=numbers), rules.calendar)


# --- another tier (L11) ---------------------------------------------------------------------------------------------------


def test_pauses_survive_the_change_of_a_promise(desk: Desk) -> None:
    """HD-23: five paused hours stay out of the new target too; the grace would have ended earlier (L11, L9)."""
    desk.routed("2026-03-02 09:00", Tier.PREMIUM)
    desk.happens(FactKind.WAITING, "2026-03-02 10:00").happens(FactKind.CONTINUED, "2026-03-02 15:00")
    desk.happens(TIER_CHANGED, "2026-03-02 16:00", tier=Tier.PROFESSIONAL)
    assert desk.heard(RESOLUTION)[-1] == ("retargeted", "2026-03-02 16:00")
    assert desk.due(RESOLUTION) == "2026-03-03 14:00"


def test_a_tightened_promise_is_counted_from_the_creation(desk: Desk) -> None:
    """HD-32: individual to premium; the events carry the old due, the new one and the cause (L11, L15)."""
    desk.routed("2026-03-02 09:00", Tier.INDIVIDUAL)
    assert desk.due(RESOLUTION) == "2026-03-04 17:00"
    desk.happens(TIER_CHANGED, "2026-03-02 15:00", tier=Tier.PREMIUM)
    assert desk.due(INITIAL_RESPONSE) == "2026-03-02 21:00"
    assert desk.due(RESOLUTION) == "2026-03-03 17:00"
    told = {notice.clock.promise.milestone: notice for notice in desk.said if notice.turn == "retargeted"}
    assert told[INITIAL_RESPONSE].previous_due_at == datetime(2026, 3, 3, 8, tzinfo=UTC)
    assert told[RESOLUTION].previous_due_at == datetime(2026, 3, 4, 16, tzinfo=UTC)
    assert {(notice.because.kind, notice.clause) for notice in told.values()} == {(TIER_CHANGED, "L11")}


def test_what_would_be_due_already_has_the_grace(desk: Desk) -> None:
    """HD-32: free to professional on the next morning, unanswered: no breach at once, an hour is left (L11)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(TIER_CHANGED, "2026-03-03 09:00", tier=Tier.PROFESSIONAL)
    assert desk.due(INITIAL_RESPONSE) == "2026-03-03 10:00"
    assert ("retargeted", "2026-03-03 09:00") in desk.heard(INITIAL_RESPONSE)
    desk.look("2026-03-03 10:00")
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("breached", "2026-03-03 10:00")


def test_without_a_grace_it_is_due_at_the_change(desk: Desk, rules: Rules) -> None:
    """HD-32: by the clause the later of recomputed due and change, so nothing is breached before the change (L11)."""
    hasty = type(desk)(edited(rules, grace_share=0.0))
    hasty.routed("2026-03-02 09:00", Tier.FREE).happens(TIER_CHANGED, "2026-03-03 09:00", tier=Tier.PROFESSIONAL)
    assert hasty.heard(INITIAL_RESPONSE) == [
        ("clock_started", "2026-03-02 09:00"),
        ("retargeted", "2026-03-03 09:00"),
        ("breached", "2026-03-03 09:00"),
    ]


def test_a_breach_stands_through_a_downgrade(desk: Desk) -> None:
    """HD-34: premium to free after twelve unanswered hours; what still runs gets the longer target (L11)."""
    desk.routed("2026-03-02 09:00", Tier.PREMIUM).look("2026-03-02 21:00")
    desk.happens(TIER_CHANGED, "2026-03-03 10:00", tier=Tier.FREE).look("2026-03-04 12:00")
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("breached", "2026-03-02 21:00")
    assert desk.clock(INITIAL_RESPONSE).state is ClockState.BREACHED
    assert desk.due(RESOLUTION) == "2026-03-06 17:00"


def test_a_tier_that_flaps_warns_once_and_ends_as_a_fresh_computation(desk: Desk, rules: Rules) -> None:
    """HD-34: ten changes in a minute between two tiers; the same tier once more says nothing (L10, L11)."""
    desk.routed("2026-03-02 09:00", Tier.PREMIUM).look("2026-03-03 09:30")
    for second in range(0, 60, 6):
        tier = Tier.FREE if second % 12 == 0 else Tier.PREMIUM
        desk.happens(TIER_CHANGED, f"2026-03-03 10:00:{second:02}", tier=tier)
        said = len(desk.said)
        desk.happens(TIER_CHANGED, f"2026-03-03 10:00:{second + 1:02}", tier=tier)
        assert len(desk.said) == said
    desk.look("2026-03-03 10:30")
    assert [turn for turn, _ in desk.heard(RESOLUTION)] == ["clock_started", "warning"] + ["retargeted"] * 10
    fresh = type(desk)(rules).routed("2026-03-02 09:00", Tier.PREMIUM)
    for milestone in (RESOLUTION, ESCALATION):
        assert desk.due(milestone) == fresh.due(milestone)


def test_a_tier_that_holds_since_two_hours_retargets_as_of_then(desk: Desk) -> None:
    """HD-34: learned of at nine, it holds since seven; the grace ended at eight (L11, L13)."""
    desk.routed("2026-03-02 09:00", Tier.FREE)
    desk.happens(TIER_CHANGED, "2026-03-03 07:00", tier=Tier.PROFESSIONAL, arrives="2026-03-03 09:00")
    assert desk.heard(INITIAL_RESPONSE)[1:] == [("retargeted", "2026-03-03 07:00"), ("breached", "2026-03-03 08:00")]


def test_a_tier_that_will_hold_in_an_hour_changes_nothing_until_then(desk: Desk) -> None:
    """HD-34: the next look is at that time (L11)."""
    desk.routed("2026-03-02 09:00", Tier.FREE)
    desk.happens(TIER_CHANGED, "2026-03-02 11:00", tier=Tier.PREMIUM, arrives="2026-03-02 10:00")
    assert desk.due(INITIAL_RESPONSE) == "2026-03-04 09:00"
    assert desk.next_look == datetime(2026, 3, 2, 10, tzinfo=UTC)
    desk.look("2026-03-02 11:00")
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("retargeted", "2026-03-02 11:00")
    assert desk.due(INITIAL_RESPONSE) == "2026-03-02 21:00"


# --- another policy or calendar (L11) -------------------------------------------------------------------------------------


def test_an_edited_policy_reaches_running_clocks_only_by_a_retarget(desk: Desk, rules: Rules) -> None:
    """HD-33: 4 h become 2 h. What runs keeps 4 h and its version until it is told to change (L11)."""
    professional = rules.clocks.targets[Tier.PROFESSIONAL]
    two_hours = professional.model_copy(update={"initial_response": Target(amount=2, unit=Unit.HOURS)})
    new = edited(rules, targets={**rules.clocks.targets, Tier.PROFESSIONAL: two_hours})
    desk.routed("2026-03-02 10:00", Tier.PROFESSIONAL)
    desk.rules, desk.book[new.key] = new, new
    desk.look("2026-03-02 10:30").happens(FactKind.WAITING, "2026-03-02 10:40").decided("2026-03-02 10:50")
    assert desk.due(INITIAL_RESPONSE) == "2026-03-02 14:00"
    assert desk.clock(INITIAL_RESPONSE).rules.policy_version == rules.policy_version
    younger = type(desk)(new).routed("2026-03-02 10:00", Tier.PROFESSIONAL)
    assert younger.due(INITIAL_RESPONSE) == "2026-03-02 12:00"
    desk.happens(RULES_CHANGED, "2026-03-02 11:00", rules=new)
    assert ("retargeted", "2026-03-02 11:00") in desk.heard(INITIAL_RESPONSE)
    assert desk.due(INITIAL_RESPONSE) == "2026-03-02 12:00"
    assert desk.clock(INITIAL_RESPONSE).rules.policy_version == "edited"


def test_what_an_edit_adds_while_the_customer_is_asked_is_told_apart_as_started(desk: Desk, rules: Rules) -> None:
    """It starts and is paused at once; a dry run counts a start, and nothing that moves (L9, L11)."""
    free = rules.clocks.targets[Tier.FREE].model_copy(update={"escalation": None})
    asked = type(desk)(edited(rules, targets={**rules.clocks.targets, Tier.FREE: free}))
    asked.book[rules.key] = rules
    asked.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.WAITING, "2026-03-02 10:00")
    now, found = datetime(2026, 3, 2, 10, tzinfo=UTC), Effects()
    found.weigh(asked.ticket, retarget_to(rules.key, now, "x"), now, asked.book)
    assert [(effect.milestone, effect.turn) for effect in found.listed] == [(ESCALATION, Turn.STARTED)]
    assert (found.started, found.moved, found.clocks, found.unchanged) == (1, 0, 2, 2)


def test_a_clock_keeps_the_calendar_it_started_by(
    desk: Desk, rules: Rules, calendar_policies: dict[str, CalendarPolicy]
) -> None:
    """HD-19: new zone data abolishes summer time. Only a retarget moves the due time, and tells the one before (L11)."""
    with (files("tzdata.zoneinfo.Africa") / "Lagos").open("rb") as data:
        zone = ZoneInfo.from_file(data, key="Europe/Berlin")
    newer = compile_calendar(calendar_policies["CAL-DE"], {}, range(2025, 2029), zone=zone)
    new = Rules(rules.policy_version, rules.clocks, newer)
    desk.routed("2026-03-27 15:00", Tier.PROFESSIONAL).happens(FactKind.REPLIED, "2026-03-27 15:10")
    desk.rules, desk.book[new.key] = new, new
    desk.happens(FactKind.WAITING, "2026-03-27 15:30").happens(FactKind.CONTINUED, "2026-03-27 16:00")
    assert desk.due(RESOLUTION) == "2026-03-30 15:30"
    assert desk.clock(RESOLUTION).rules.calendar.name == rules.calendar.name
    desk.happens(RULES_CHANGED, "2026-03-29 12:00", rules=new)
    assert desk.heard(RESOLUTION)[-1] == ("retargeted", "2026-03-29 12:00")
    assert desk.due(RESOLUTION) == "2026-03-30 16:30"
    moved = [notice for notice in desk.said if notice.turn == "retargeted" and notice.clock.key == "resolution|1"]
    assert [notice.previous_due_at for notice in moved] == [datetime(2026, 3, 30, 13, 30, tzinfo=UTC)]
    assert desk.clock(RESOLUTION).rules.calendar.name == newer.name != rules.calendar.name


# --- into safety (L6, L7, L9, L11) ----------------------------------------------------------------------------------------


def test_into_safety_the_answer_is_owed_anew_and_no_pause_holds_it_back(desk: Desk) -> None:
    """HD-31: a paused ticket about a story, answered before; the tier's clocks go on (L7, L9, L11)."""
    desk.routed("2026-03-02 10:00", Tier.PREMIUM, Subcategory.STORY_QUALITY)
    desk.happens(FactKind.REPLIED, "2026-03-02 10:30").happens(FactKind.WAITING, "2026-03-02 11:00")
    desk.decided("2026-03-02 12:00", Subcategory.CONTENT_MODERATION)
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("met", "2026-03-02 10:30")
    assert desk.heard(INITIAL_RESPONSE, cycle=2) == [("clock_started", "2026-03-02 12:00")]
    assert desk.due(INITIAL_RESPONSE, cycle=2) == "2026-03-02 16:00"
    assert desk.heard(RESOLUTION)[-1] == ("resumed", "2026-03-02 12:00")
    assert desk.due(RESOLUTION) == "2026-03-04 11:00"
    desk.happens(FactKind.WAITING, "2026-03-02 13:00").look("2026-03-02 16:00")
    assert desk.heard(INITIAL_RESPONSE, cycle=2)[-1] == ("breached", "2026-03-02 16:00")
    assert desk.clock(RESOLUTION).state is ClockState.RUNNING


def test_into_safety_an_unanswered_clock_gives_way_to_that_of_the_trigger(desk: Desk) -> None:
    """HD-31: superseded by the next cycle, which counts from the change (L11)."""
    desk.routed("2026-03-02 10:00", Tier.FREE, Subcategory.STORY_QUALITY)
    desk.decided("2026-03-02 12:00", Subcategory.CRISIS_DETECTION)
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("cancelled", "2026-03-02 12:00")
    assert desk.clock(INITIAL_RESPONSE).reason == "superseded"
    assert desk.clock(INITIAL_RESPONSE, 2).started_at == datetime(2026, 3, 2, 11, tzinfo=UTC)
    assert desk.due(INITIAL_RESPONSE, cycle=2) == "2026-03-02 12:05"


@pytest.mark.parametrize(
    ("tier", "other", "due"),
    [
        (Tier.PREMIUM, Tier.FREE, "2026-03-02 14:00"),
        (Tier.FREE, Tier.PROFESSIONAL, "2026-03-02 14:00"),
        (Tier.ENTERPRISE, Tier.FREE, "2026-03-02 11:00"),
    ],
)
def test_no_tier_loosens_the_answer_to_a_safety_ticket(desk: Desk, tier: Tier, other: Tier, due: str) -> None:
    """HD-78: what was promised first is kept (L6, L7, S1)."""
    desk.routed("2026-03-02 10:00", tier, Subcategory.CONTENT_MODERATION)
    desk.happens(TIER_CHANGED, "2026-03-02 10:20", tier=other)
    assert desk.due(INITIAL_RESPONSE) == due
    desk.look("2026-03-02 14:00")
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("breached", due)


def test_a_holiday_holds_no_answer_to_safety_back(desk: Desk) -> None:
    """HD-78: reported on Good Friday, due four hours later (L6)."""
    desk.routed("2026-04-03 10:00", Tier.FREE, Subcategory.CONTENT_MODERATION)
    assert desk.due(INITIAL_RESPONSE) == "2026-04-03 14:00"


# --- escalation (L14, E9) -------------------------------------------------------------------------------------------------


def test_each_rise_starts_the_escalation_clock_anew_and_at_the_top_it_ends(desk: Desk) -> None:
    """HD-48: due at Level 1 and again at Level 2; at Level 3 the breach is told once and nothing follows (L14)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.REPLIED, "2026-03-02 09:10").look("2026-03-10 17:00")
    assert desk.heard(ESCALATION)[-1] == ("breached", "2026-03-10 17:00")
    assert desk.clock(ESCALATION).level is Level.ONE
    desk.decided("2026-03-10 17:00", level=2, rose=True, by_clock=True).look("2026-03-19 17:00")
    assert desk.heard(ESCALATION, cycle=2)[0] == ("clock_started", "2026-03-10 17:00")
    assert desk.heard(ESCALATION, cycle=2)[-1] == ("breached", "2026-03-19 17:00")
    assert (desk.clock(ESCALATION, 2).level, desk.clock(ESCALATION).state) == (Level.TWO, ClockState.BREACHED)
    desk.decided("2026-03-19 17:00", level=3, rose=True, by_clock=True).look("2026-03-30 17:00")
    assert desk.heard(ESCALATION, cycle=3)[-1] == ("breached", "2026-03-30 17:00")
    assert desk.clock(ESCALATION, 3).level is Level.THREE
    assert desk.next_look is None
    assert [turn for turn, _ in desk.heard(ESCALATION)] == ["clock_started", "breached"]


def test_a_rise_two_seconds_before_due_voids_the_clock(desk: Desk) -> None:
    """HD-49: cancelled as raised; at the old due time nothing is said of it (L14)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.REPLIED, "2026-03-02 09:10")
    desk.decided("2026-03-10 16:59:58", level=2, rose=True).look("2026-03-10 17:00")
    assert desk.heard(ESCALATION)[-1] == ("cancelled", "2026-03-10 16:59:58")
    assert desk.clock(ESCALATION).reason == "raised"
    assert desk.heard(ESCALATION, cycle=2) == [("clock_started", "2026-03-10 16:59:58")]
    assert (desk.clock(ESCALATION, 2).level, desk.due(ESCALATION, 2)) == (Level.TWO, "2026-03-19 16:59:58")


def test_a_rise_learned_of_after_the_breach_withdraws_it(desk: Desk) -> None:
    """HD-49: the person was first, the timer's event came first (L13, L14)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.REPLIED, "2026-03-02 09:10").look("2026-03-10 17:00")
    breach = desk.ids[[(one.turn, one.clock.key) for one in desk.said].index(("breached", "escalation|1"))]
    desk.decided("2026-03-10 16:59:58", level=2, rose=True, arrives="2026-03-10 17:00:01")
    [correction] = [notice for notice in desk.said if notice.turn == "corrected"]
    assert (correction.corrects, correction.clock.state, correction.clock.reason) == (
        breach,
        ClockState.CANCELLED,
        "raised",
    )


def test_a_process_that_is_behind_takes_no_start_back(desk: Desk) -> None:
    """The clock after a rise is told; a moment earlier by another clock on the wall it still is (L10, L14)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).look("2026-03-10 17:00")
    desk.decided("2026-03-10 17:01", level=2, rose=True)
    said = len(desk.said)
    desk.look("2026-03-10 17:00:59")
    assert len(desk.said) == said


def test_a_paused_ticket_is_not_raised_by_time(desk: Desk) -> None:
    """HD-50: not before the customer has answered (L9, L14)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.REPLIED, "2026-03-02 09:10")
    desk.happens(FactKind.WAITING, "2026-03-09 17:00").look("2026-03-20 12:00")
    assert desk.heard(ESCALATION)[-1] == ("paused", "2026-03-09 17:00")
    desk.happens(FactKind.CUSTOMER_WROTE, "2026-03-20 17:00").look("2026-03-23 17:00")
    assert desk.heard(ESCALATION)[-1] == ("breached", "2026-03-23 17:00")


def test_the_law_raises_a_paused_ticket_at_once_and_ends_its_pause(desk: Desk) -> None:
    """HD-50: words of a takedown notice; with legal nothing pauses (L9, L14)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.WAITING, "2026-03-03 09:00")
    desk.decided("2026-03-04 09:00", care=Care.LEGAL, level=3, rose=True)
    assert desk.heard(RESOLUTION)[-1] == ("resumed", "2026-03-04 09:00")
    assert desk.heard(ESCALATION)[-1] == ("cancelled", "2026-03-04 09:00")
    assert desk.heard(ESCALATION, cycle=2) == [("clock_started", "2026-03-04 09:00")]
    assert desk.clock(ESCALATION, 2).state is ClockState.RUNNING


def test_a_person_raises_a_paused_ticket_and_the_new_clock_waits_for_the_customer_too(desk: Desk) -> None:
    """HD-50: the level rises at once; whom the customer keeps waiting is not counted against (L9, L14)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.WAITING, "2026-03-03 09:00")
    desk.decided("2026-03-04 09:00", level=2, rose=True)
    assert desk.heard(ESCALATION)[-1] == ("cancelled", "2026-03-04 09:00")
    assert desk.heard(ESCALATION, cycle=2) == [
        ("clock_started", "2026-03-04 09:00"),
        ("paused", "2026-03-04 09:00"),
    ]


def test_a_resolution_learned_of_late_withdraws_the_breach_and_the_clock_that_the_rise_started(desk: Desk) -> None:
    """HD-65: resolved at 16:00, due at 17:00, learned of an hour later, after the router's rise (L13, L14)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.REPLIED, "2026-03-02 09:10").look("2026-03-10 17:00")
    breach = desk.ids[[(one.turn, one.clock.key) for one in desk.said].index(("breached", "escalation|1"))]
    desk.decided("2026-03-10 17:00", level=2, rose=True, by_clock=True)
    desk.happens(FactKind.RESOLVED, "2026-03-10 16:00", arrives="2026-03-10 18:00")
    corrected = {notice.clock.key: notice for notice in desk.said if notice.turn == "corrected"}
    assert corrected["escalation|1"].corrects == breach
    assert (desk.clock(ESCALATION).state, desk.clock(ESCALATION).reason) == (ClockState.CANCELLED, "resolved")
    assert (desk.clock(ESCALATION, 2).state, desk.clock(ESCALATION, 2).reason) == (ClockState.CANCELLED, "superseded")
    assert desk.next_look is None
