"""What is announced, once each, in a sane order, and put right when a late fact shows that it was not so."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.vocabulary import ClockState, Level, Milestone, Subcategory, Tier
from sla_monitor.domain.clock import Care, Decided, Fact, FactKind, fold
from sla_monitor.domain.targets import Rules
from sla_monitor.domain.ticket import Creation, Ticket

Desk = Any
ACKNOWLEDGEMENT, INITIAL_RESPONSE, RESOLUTION, ESCALATION = Milestone


# --- warnings and breaches (L10) ------------------------------------------------------------------------------------------


def test_warnings_come_at_shares_of_the_counted_time(desk: Desk) -> None:
    """HD-42: three business days from Monday 10:00 (L10)."""
    desk.routed("2026-03-02 10:00", Tier.INDIVIDUAL).happens(FactKind.REPLIED, "2026-03-02 10:05")
    looks = []
    while desk.next_look is not None and len(looks) < 4:
        looks.append(desk.next_look)
        desk.look(desk.next_look.isoformat())
    assert desk.heard(RESOLUTION)[1:] == [
        ("warning", "2026-03-03 14:00"),
        ("warning", "2026-03-04 12:00"),
        ("warning", "2026-03-04 15:36"),
    ]
    desk.look("2026-03-05 10:00")
    assert desk.heard(RESOLUTION)[-1] == ("breached", "2026-03-05 10:00")


def test_a_threshold_is_walked_through_closed_time(desk: Desk) -> None:
    """HD-43: nine tenths of a day that began on Friday afternoon are used up on Monday (L10, L3)."""
    desk.routed("2026-03-06 12:00", Tier.PROFESSIONAL).happens(FactKind.REPLIED, "2026-03-06 12:05")
    desk.look("2026-03-06 16:00").look("2026-03-09 09:00")
    assert desk.heard(RESOLUTION)[1:] == [("warning", "2026-03-06 16:00")]
    desk.look("2026-03-09 10:00").look("2026-03-09 11:12")
    assert desk.heard(RESOLUTION)[2:] == [("warning", "2026-03-09 10:00"), ("warning", "2026-03-09 11:12")]


def test_looking_again_says_nothing_twice(desk: Desk) -> None:
    """HD-44: a restart or another replica right after a warning (L10)."""
    desk.routed("2026-03-02 10:00", Tier.PROFESSIONAL).look("2026-03-02 12:00")
    said = len(desk.said)
    desk.look("2026-03-02 12:00").look("2026-03-02 12:30")
    assert len(desk.said) == said
    assert desk.heard(INITIAL_RESPONSE)[1:] == [("warning", "2026-03-02 12:00")]


def test_after_downtime_breaches_have_their_true_time_and_overtaken_warnings_are_not_sent(desk: Desk) -> None:
    """HD-46: down from 10:00 to 15:00 (L10)."""
    desk.routed("2026-03-02 10:00", Tier.PROFESSIONAL).look("2026-03-02 15:00")
    assert desk.heard(INITIAL_RESPONSE) == [("clock_started", "2026-03-02 10:00"), ("breached", "2026-03-02 14:00")]
    assert desk.heard(RESOLUTION) == [("clock_started", "2026-03-02 10:00"), ("warning", "2026-03-02 14:00")]


def test_a_breach_in_the_night_has_the_time_of_the_night(desk: Desk) -> None:
    """HD-45: due on Saturday at 23:00, told then; when people hear of it is the notifier's matter (L10, T6)."""
    desk.routed("2026-03-07 11:00", Tier.PREMIUM)
    while desk.clock(INITIAL_RESPONSE).state is ClockState.RUNNING:
        looked_at = desk.next_look
        desk.look(looked_at.isoformat())
    assert looked_at == datetime(2026, 3, 7, 22, tzinfo=UTC)
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("breached", "2026-03-07 23:00")


def test_of_several_passed_thresholds_only_the_highest_is_sent_with_its_true_time(desk: Desk) -> None:
    """(L10)"""
    desk.routed("2026-03-02 10:00", Tier.PROFESSIONAL).look("2026-03-02 13:50")
    assert desk.heard(INITIAL_RESPONSE)[1:] == [("warning", "2026-03-02 13:36")]
    assert desk.said[-1].threshold == 0.9


def test_a_pause_moves_the_thresholds(desk: Desk) -> None:
    """The next look is the threshold on the resumed clock (L9, L10)."""
    desk.routed("2026-03-02 09:00", Tier.PROFESSIONAL).happens(FactKind.REPLIED, "2026-03-02 09:01")
    desk.happens(FactKind.WAITING, "2026-03-02 10:00").happens(FactKind.CONTINUED, "2026-03-02 12:00")
    desk.look("2026-03-02 14:59")
    assert desk.heard(RESOLUTION)[-1] == ("resumed", "2026-03-02 12:00")
    desk.look("2026-03-02 15:00")
    assert desk.heard(RESOLUTION)[-1] == ("warning", "2026-03-02 15:00")


def test_what_an_earlier_cycle_used_up_is_not_warned_of_again(desk: Desk) -> None:
    """Each threshold once for a clock; in cycle 2 only those that it passes itself (L10, L12)."""
    desk.routed("2026-03-02 09:00", Tier.PROFESSIONAL).look("2026-03-02 13:00")
    desk.happens(FactKind.RESOLVED, "2026-03-02 14:00").happens(FactKind.REOPENED, "2026-03-03 09:00")
    desk.look("2026-03-03 09:30")
    assert desk.heard(RESOLUTION, cycle=2) == [("resumed", "2026-03-03 09:00")]
    desk.look("2026-03-03 10:00")
    assert desk.heard(RESOLUTION, cycle=2)[-1] == ("warning", "2026-03-03 10:00")


# --- late, swapped and repeated facts (L13) -------------------------------------------------------------------------------


def test_a_reply_in_time_that_arrives_after_the_breach_withdraws_it_by_name(desk: Desk) -> None:
    """HD-65: replied at 10:50, arrived at 11:20, breach announced at 11:00 (L13)."""
    desk.routed("2026-03-02 10:00", Tier.ENTERPRISE).look("2026-03-02 11:00")
    breach = desk.ids[[notice.turn for notice in desk.said].index("breached")]
    desk.happens(FactKind.REPLIED, "2026-03-02 10:50", arrives="2026-03-02 11:20")
    correction = desk.said[-1]
    assert (correction.turn, correction.corrects) == ("corrected", breach)
    assert correction.clock.state is ClockState.MET
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("corrected", "2026-03-02 10:50")


def test_a_reply_after_due_leaves_the_breach_standing(desk: Desk) -> None:
    """(L13)"""
    desk.routed("2026-03-02 10:00", Tier.ENTERPRISE).look("2026-03-02 11:00")
    desk.happens(FactKind.REPLIED, "2026-03-02 11:05")
    assert desk.heard(INITIAL_RESPONSE)[-2:] == [
        ("breached", "2026-03-02 11:00"),
        ("fulfilled_late", "2026-03-02 11:05"),
    ]
    assert desk.clock(INITIAL_RESPONSE).state is ClockState.BREACHED


def test_a_late_reply_that_is_the_first_to_show_the_breach_tells_both_in_order(desk: Desk) -> None:
    """Nothing had been looked at since the start (L13)."""
    desk.routed("2026-03-02 10:00", Tier.ENTERPRISE).happens(FactKind.REPLIED, "2026-03-02 11:05")
    assert desk.heard(INITIAL_RESPONSE) == [
        ("clock_started", "2026-03-02 10:00"),
        ("breached", "2026-03-02 11:00"),
        ("fulfilled_late", "2026-03-02 11:05"),
    ]


def test_an_earlier_reply_that_arrives_later_corrects_the_time(desk: Desk) -> None:
    """The answer was given at 10:30, not at 10:50 (L13)."""
    desk.routed("2026-03-02 10:00", Tier.ENTERPRISE).happens(FactKind.REPLIED, "2026-03-02 10:50")
    met = desk.ids[-1]
    desk.happens(FactKind.REPLIED, "2026-03-02 10:30", arrives="2026-03-02 10:55")
    assert (desk.said[-1].turn, desk.said[-1].corrects) == ("corrected", met)
    assert desk.clock(INITIAL_RESPONSE).ended_at == datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def test_a_late_pause_withdraws_a_breach_and_the_next_breach_is_another_event(desk: Desk) -> None:
    """Waiting since 12:00, learned of on the next day (L9, L13)."""
    desk.routed("2026-03-02 09:00", Tier.PROFESSIONAL).look("2026-03-02 17:00")
    desk.happens(FactKind.WAITING, "2026-03-02 12:00", arrives="2026-03-03 10:00")
    assert desk.heard(RESOLUTION)[-1] == ("corrected", "2026-03-02 12:00")
    assert desk.clock(RESOLUTION).state is ClockState.PAUSED
    desk.happens(FactKind.CUSTOMER_WROTE, "2026-03-03 11:00").look("2026-03-03 16:00")
    assert desk.heard(RESOLUTION)[-2:] == [("resumed", "2026-03-03 11:00"), ("breached", "2026-03-03 16:00")]
    breaches = [notice for notice in desk.said if notice.turn == "breached" and notice.clock.key == "resolution|1"]
    assert [notice.corrections for notice in breaches] == [0, 1]


def test_a_breach_that_stands_is_not_withdrawn_by_what_else_comes_late(desk: Desk) -> None:
    """A tighter promise that left the due time as it was: told, naming the start (L11, L13)."""
    desk.routed("2026-03-02 10:00", Tier.PROFESSIONAL).look("2026-03-02 14:00")
    started = desk.ids[[notice.clock.promise.milestone for notice in desk.said].index(INITIAL_RESPONSE)]
    desk.happens(FactKind.TIER_CHANGED, "2026-03-02 13:55", tier=Tier.ENTERPRISE, arrives="2026-03-02 14:10")
    [correction] = [one for one in desk.said if one.turn == "corrected" and one.clock.key == "initial_response|1"]
    assert (correction.clock.state, correction.corrects) == (ClockState.BREACHED, started)


def test_a_late_end_of_a_pause_can_unmake_a_success(desk: Desk) -> None:
    """The customer had answered at 10:00: the resolution was late, which is told after the correction (L13)."""
    desk.routed("2026-03-02 09:00", Tier.PROFESSIONAL).happens(FactKind.WAITING, "2026-03-02 09:30")
    desk.happens(FactKind.RESOLVED, "2026-03-03 16:00")
    desk.happens(FactKind.CUSTOMER_WROTE, "2026-03-02 10:00", arrives="2026-03-03 17:00")
    assert desk.heard(RESOLUTION)[-3:] == [
        ("corrected", "2026-03-02 10:00"),
        ("breached", "2026-03-03 09:30"),
        ("fulfilled_late", "2026-03-03 16:00"),
    ]


def test_pausing_and_resuming_swapped_on_the_wire_equals_the_ordered_run(desk: Desk, rules: Rules) -> None:
    """HD-65 (L13)."""
    swapped = type(desk)(rules)
    desk.routed("2026-03-02 09:00", Tier.PREMIUM)
    desk.happens(FactKind.WAITING, "2026-03-02 10:00").happens(FactKind.CONTINUED, "2026-03-02 12:00")
    swapped.routed("2026-03-02 09:00", Tier.PREMIUM).happens(FactKind.CONTINUED, "2026-03-02 12:00")
    swapped.happens(FactKind.WAITING, "2026-03-02 10:00", arrives="2026-03-02 12:01")
    assert swapped.clock(RESOLUTION) == desk.clock(RESOLUTION)
    assert swapped.heard(RESOLUTION) == desk.heard(RESOLUTION)


def test_a_late_closing_supersedes_the_cycle_that_never_was(desk: Desk) -> None:
    """Closed as a duplicate before the customer wrote again (L12, L13)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).happens(FactKind.RESOLVED, "2026-03-02 10:00")
    desk.happens(FactKind.CUSTOMER_WROTE, "2026-03-02 12:00")
    desk.happens(FactKind.CLOSED, "2026-03-02 11:00", arrives="2026-03-02 13:00", reason="duplicate")
    assert desk.heard(RESOLUTION, cycle=2)[-1][0] == "corrected"
    assert (desk.clock(RESOLUTION, 2).state, desk.clock(RESOLUTION, 2).reason) == (ClockState.CANCELLED, "superseded")
    said = len(desk.said)
    desk.look("2026-04-01 12:00")
    assert [notice.clock.promise.milestone for notice in desk.said[said:]] == []


def test_a_clock_that_never_was_is_withdrawn_before_it_would_have_been_due(desk: Desk) -> None:
    """Closed before it became a claim: nothing is told with a time that is still to come (L11, L13)."""
    desk.routed("2026-03-02 09:00", Tier.FREE).decided("2026-03-02 12:00", Subcategory.RIGHTS_HOLDER_CLAIM)
    desk.happens(FactKind.CLOSED, "2026-03-02 11:00", arrives="2026-03-02 12:30", reason="merged")
    assert desk.heard(INITIAL_RESPONSE, cycle=2) == [
        ("clock_started", "2026-03-02 12:00"),
        ("corrected", "2026-03-02 12:00"),
    ]
    assert desk.clock(INITIAL_RESPONSE, 2).state is ClockState.CANCELLED


# --- provisional clocks (L16) ---------------------------------------------------------------------------------------------


def test_a_ticket_that_nobody_routes_gets_its_tiers_clocks_after_a_minute(desk: Desk) -> None:
    """Flagged provisional, counted from the creation (L16)."""
    desk.created("2026-03-02 10:00", Tier.PROFESSIONAL).look("2026-03-02 10:00:59")
    assert desk.said == []
    assert desk.next_look == datetime(2026, 3, 2, 9, 1, tzinfo=UTC)
    desk.look("2026-03-02 10:01")
    assert desk.heard(INITIAL_RESPONSE) == [("clock_started", "2026-03-02 10:01")]
    assert desk.due(INITIAL_RESPONSE) == "2026-03-02 14:00"
    assert desk.ticket.terms.provisional


def test_routing_retargets_provisional_clocks_once(desk: Desk) -> None:
    """A content report has four hours where the free tier has two days (L16, L7)."""
    desk.created("2026-03-02 10:00", Tier.FREE).look("2026-03-02 10:01")
    desk.routed("2026-03-02 10:00", Tier.FREE, Subcategory.CONTENT_MODERATION, decided="2026-03-02 10:05")
    assert desk.heard(INITIAL_RESPONSE)[-1] == ("retargeted", "2026-03-02 10:05")
    assert desk.said[-3].previous_due_at == datetime(2026, 3, 4, 9, tzinfo=UTC)
    assert desk.due(INITIAL_RESPONSE) == "2026-03-02 14:00"
    assert [turn for turn, _ in desk.heard(RESOLUTION)] == ["clock_started", "retargeted"]
    assert not desk.ticket.terms.provisional
    said = len(desk.said)
    desk.look("2026-03-02 10:06")
    assert len(desk.said) == said


def test_a_milestone_that_only_the_category_promises_starts_when_routed(desk: Desk) -> None:
    """(L16, L5)"""
    desk.created("2026-03-02 10:00", Tier.FREE).look("2026-03-02 10:01")
    desk.routed("2026-03-02 10:00", Tier.FREE, Subcategory.RIGHTS_HOLDER_CLAIM, decided="2026-03-02 10:05")
    assert desk.heard(ACKNOWLEDGEMENT) == [("clock_started", "2026-03-02 10:05")]


def test_a_provisional_breach_that_the_category_dates_earlier_is_corrected(desk: Desk) -> None:
    """Judged by the final due of L7, from the creation (L13, L16)."""
    desk.created("2026-03-02 10:00", Tier.ENTERPRISE).look("2026-03-02 11:00")
    desk.routed("2026-03-02 10:00", Tier.ENTERPRISE, Subcategory.CRISIS_DETECTION, decided="2026-03-02 11:30")
    assert [turn for turn, _ in desk.heard(INITIAL_RESPONSE)] == [
        "clock_started",
        "breached",
        "retargeted",
        "corrected",
        "breached",
    ]
    assert desk.due(INITIAL_RESPONSE) == "2026-03-02 10:05"


def test_what_happened_before_the_decision_is_told_after_the_start(desk: Desk) -> None:
    """A reply that came before the routing decision meets its clock (L8, L16)."""
    desk.ticket.add(Fact(datetime(2026, 3, 2, 9, 0, 30, tzinfo=UTC), FactKind.REPLIED, "m-1"))
    desk.routed("2026-03-02 10:00", Tier.FREE, decided="2026-03-02 10:00:45")
    assert desk.heard(INITIAL_RESPONSE) == [("clock_started", "2026-03-02 10:00:45"), ("met", "2026-03-02 10:00:30")]


# --- restricted tickets (L6, S9) ------------------------------------------------------------------------------------------


def test_a_restricted_ticket_has_no_clock(desk: Desk) -> None:
    """Not even a provisional one (L6)."""
    desk.created("2026-03-02 10:00").happens(FactKind.RESTRICTED, "2026-03-02 10:00:10").look("2026-03-02 12:00")
    desk.routed("2026-03-02 10:00", decided="2026-03-02 12:00", care=Care.SAFETY).look("2026-03-20 12:00")
    assert desk.said == []
    assert desk.next_look is None
    assert desk.ticket.clocks(datetime(2026, 3, 20, tzinfo=UTC), desk.book) == []


def test_a_restriction_cancels_what_was_told_and_then_there_is_silence(desk: Desk) -> None:
    """Later replies, in time or not, are nobody's business (L6)."""
    desk.routed("2026-03-02 10:00", Tier.ENTERPRISE).look("2026-03-02 11:00")
    desk.happens(FactKind.RESTRICTED, "2026-03-02 11:10")
    assert [(notice.turn, notice.clock.reason) for notice in desk.said[-2:]] == [("cancelled", "restricted")] * 2
    said = len(desk.said)
    desk.happens(FactKind.REPLIED, "2026-03-02 10:30", arrives="2026-03-02 12:00").look("2026-04-02 10:00")
    assert len(desk.said) == said


def test_a_restriction_cancels_a_clock_that_was_retargeted(desk: Desk) -> None:
    """A moved clock runs as well (L6, L11)."""
    desk.routed("2026-03-02 09:00").happens(FactKind.TIER_CHANGED, "2026-03-02 10:00", tier=Tier.PREMIUM)
    desk.happens(FactKind.RESTRICTED, "2026-03-02 11:00")
    for milestone in (INITIAL_RESPONSE, RESOLUTION, ESCALATION):
        assert desk.heard(milestone)[1:] == [("retargeted", "2026-03-02 10:00"), ("cancelled", "2026-03-02 11:00")]


def test_a_restriction_heard_of_late_cancels_the_cycle_that_began_after_it(desk: Desk) -> None:
    """The rise was heard of before the restriction, which happened first (L6, L13, L14)."""
    desk.routed("2026-03-02 09:00").decided("2026-03-02 11:00", level=2, rose=True)
    desk.happens(FactKind.RESTRICTED, "2026-03-02 10:59", arrives="2026-03-02 11:01")
    assert desk.heard(ESCALATION, cycle=2) == [("clock_started", "2026-03-02 11:00"), ("cancelled", "2026-03-02 10:59")]
    assert desk.clock(ESCALATION, cycle=2).reason == "restricted"
    said = len(desk.said)
    desk.look("2026-04-02 10:00")
    assert len(desk.said) == said


# --- order does not matter (L13) ------------------------------------------------------------------------------------------

CREATED = datetime(2026, 3, 2, 9, tzinfo=UTC)
KINDS = [kind for kind in FactKind if kind not in (FactKind.RESTRICTED, FactKind.RULES_CHANGED)]


def happening(minutes: int, kind: FactKind, care: Care, reason: str, tier: Tier, *, rose: bool) -> Fact:
    decided = Decided(care, _CASES[care], Level(minutes % 3 + 1), rose=rose)
    return Fact(
        at=CREATED + timedelta(minutes=minutes),
        kind=kind,
        id=f"{minutes}-{kind}-{care}-{reason}-{tier}-{rose}",
        reason=reason if kind is FactKind.CLOSED else None,
        decided=decided if kind is FactKind.ROUTED else None,
        tier=tier if kind is FactKind.TIER_CHANGED else None,
    )


_CASES = {
    Care.ORDINARY: Subcategory.USER_QUESTION,
    Care.LEGAL: Subcategory.RIGHTS_HOLDER_CLAIM,
    Care.SAFETY: Subcategory.PRIVACY_CONCERN,
}
HAPPENINGS = st.lists(
    st.builds(
        happening,
        minutes=st.integers(-60, 10 * 24 * 60),
        kind=st.sampled_from(KINDS),
        care=st.sampled_from(Care),
        reason=st.sampled_from(["spam", "merged"]),
        tier=st.sampled_from(Tier),
        rose=st.booleans(),
    ),
    max_size=12,
)


def a_ticket(rules: Rules, tier: Tier, subcategory: Subcategory | None) -> Ticket:
    """A ticket with its first routing decision."""
    ticket = Ticket("T-1", "c-1")
    route(ticket, rules, tier, subcategory)
    return ticket


def route(ticket: Ticket, rules: Rules, tier: Tier, subcategory: Subcategory | None) -> None:
    decision = Fact(CREATED, FactKind.ROUTED, "r-1", decided=Decided(Care.ORDINARY, subcategory, Level.ONE, tier))
    ticket.start(decision, created_at=CREATED, rules=rules)


def deliver(
    ticket: Ticket,
    facts: list[Fact],
    rules: Rules,
    *,
    decision: Callable[[Ticket], None] = lambda _: None,
    decided_after: int = 0,
) -> list[Any]:
    """Deliver facts one by one, each a while after the other, looking each time; the decision arrives among them."""
    said = []
    now = CREATED
    for place, fact in enumerate([*facts, None]):
        if place == decided_after or (fact is None and place < decided_after):
            decision(ticket)
        now = max(now + timedelta(minutes=7), fact.at if fact else now)
        if fact is not None:
            ticket.add(fact)
        notices, _ = ticket.look(now, rules, {rules.key: rules})
        for notice in notices:
            ticket.record(notice, f"s-{len(said)}")
            said.append(notice)
    return said


@settings(max_examples=150)
@given(
    facts=HAPPENINGS,
    seed=st.integers(0, 10_000),
    tier=st.sampled_from(Tier),
    subcategory=st.sampled_from([None, Subcategory.USER_QUESTION, Subcategory.CRISIS_DETECTION]),
    decided_after=st.integers(0, 12),
)
def test_the_clocks_are_the_same_whatever_the_order_and_however_often(
    facts: list[Fact], seed: int, tier: Tier, subcategory: Subcategory | None, decided_after: int, rules: Rules
) -> None:
    """Facts shuffled, some twice, the decision among them: same final clocks, and what was told last says so (L13, L16)."""
    shuffled = facts + facts[::2]
    random.Random(seed).shuffle(shuffled)
    in_order = a_ticket(rules, tier, subcategory)
    deliver(in_order, sorted(facts, key=lambda fact: fact.order), rules)
    unrouted = Ticket("T-1", "c-1", creation=Creation(CREATED, tier, CREATED, "created-1", source="/helpdesk"))
    said = deliver(
        unrouted,
        shuffled,
        rules,
        decision=lambda ticket: route(ticket, rules, tier, subcategory),
        decided_after=decided_after,
    )
    end, book = CREATED + timedelta(days=60), {rules.key: rules}
    assert in_order.clocks(end, book) == unrouted.clocks(end, book)
    said += unrouted.look(end, rules, book)[0]
    last_told = {notice.clock.key: notice.clock for notice in said}
    for change in unrouted.clocks(
        end, book
    ):  # a promise that moved nothing is told with the next turn, as is the level
        told = last_told[change.clock.key]
        assert told._replace(level=None, promise=None) == change.clock._replace(level=None, promise=None)


@settings(max_examples=100)
@given(facts=HAPPENINGS, tier=st.sampled_from(Tier))
def test_each_announcement_is_another_event_and_in_order_nothing_is_corrected(
    facts: list[Fact], tier: Tier, rules: Rules
) -> None:
    """Facts that arrive in order need no correction, and no announcement repeats another (L10, L13)."""
    ticket = a_ticket(rules, tier, None)
    said = deliver(ticket, sorted(facts, key=lambda fact: fact.order), rules)
    assert len({(n.turn, n.clock.key, n.at, n.threshold, n.corrections, len(n.tells), n.clause) for n in said}) == len(
        said
    )
    if all(fact.at >= CREATED for fact in facts) and len({fact.at for fact in facts}) == len(facts):
        assert [notice for notice in said if notice.turn == "corrected"] == []


@pytest.mark.parametrize("tier", Tier)
def test_a_fold_of_nothing_starts_and_at_the_end_breaches(tier: Tier, rules: Rules) -> None:
    """Every promise is either kept or missed, never silent (L10)."""
    ticket = a_ticket(rules, tier, Subcategory.RIGHTS_HOLDER_CLAIM)
    changes = fold(ticket.terms, [], CREATED + timedelta(days=60), {rules.key: rules})
    assert [change.turn.value for change in changes] == ["clock_started"] * 4 + ["breached"] * 4
    assert all(change.at == change.clock.due_at for change in changes[4:])
