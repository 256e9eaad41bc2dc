"""L14, E9: the escalation clock raises a ticket one level; a person and a timer acting at once raise it once."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.events.envelope import SAFETY_BRIDGE, rfc3339, source_of
from shared.events.routing import RoutingAssigned, RoutingEscalated
from shared.events.sla import SlaBreached, SlaCorrected
from shared.events.ticket import (
    TicketCreated,
    TicketDeescalationRequested,
    TicketEscalationRequested,
    TicketReclassified,
    TicketResolved,
    TicketRestricted,
)
from shared.testing.builders import AT
from shared.vocabulary import CATEGORY_OF, Category, Level, Subcategory

AGENT = {"kind": "agent", "id": "a-1"}
DUE = AT + timedelta(days=9)
SLA_MONITOR = source_of("sla-monitor")


def overdue(
    router: Any,
    *,
    at: datetime = DUE,
    level: int | None = None,
    started_at: datetime = AT,
    milestone: str = "escalation",
    ticket_id: str = "T-1",
    event_class: Any = SlaBreached,
    **data: Any,
) -> list[Any]:
    """What the router says when a clock of the ticket is breached."""
    return router.handle(
        event_class,
        ticket_id=ticket_id,
        source=SLA_MONITOR,
        occurred_at=at,
        **{
            "milestone": milestone,
            "cycle": 1,
            "level": level,
            "target": {"amount": 7, "unit": "business_days"},
            "started_at": rfc3339(started_at),
            "due_at": rfc3339(at),
            "state": "breached",
            "elapsed_share": 1.0,
            "calendar": "new-york-office@1",
            "clauses": ["L1"],
            "policy_version": "2026.1@x",
        }
        | data,
    )


def withdraw(router: Any, **data: Any) -> None:
    """A late fact shows that the clock of the latest rise ended before it was due."""
    breach = router.ticket().criteria[-1].breach
    told = {"state": "cancelled", "reason": "resolved", "caused_by": breach} | data
    assert overdue(router, event_class=SlaCorrected, at=DUE - timedelta(hours=1), **told) == []


def opened(router: Any, subcategory: str = "login", **data: Any) -> None:
    router.handle(TicketCreated, category=CATEGORY_OF[Subcategory(subcategory)].value, subcategory=subcategory, **data)


def test_at_level_1_it_raises_to_the_team_of_level_2(router) -> None:
    """HD-48: one escalation, with the clock as its origin, at the time at which it was due (L14)."""
    opened(router)
    [raised] = overdue(router)
    assert isinstance(raised, RoutingEscalated)
    assert (raised.from_level, raised.to_level, raised.team) == (1, 2, "technical_support")
    assert (raised.criterion, raised.origin, raised.occurred_at) == ("escalation_due", "clock", DUE)
    assert "E9" in raised.clauses


def test_each_restarted_clock_raises_one_level_more_up_to_the_top(router) -> None:
    """HD-48: at the top nothing is left to rise to; the lead hears of the breach itself (L14)."""
    opened(router)
    overdue(router)
    [raised] = overdue(router, at=DUE + timedelta(days=9), level=2, started_at=DUE)
    assert (raised.from_level, raised.to_level, raised.team) == (2, 3, "engineering")
    assert overdue(router, at=DUE + timedelta(days=18), level=3, started_at=DUE + timedelta(days=9)) == []


def test_a_person_two_seconds_earlier_makes_the_timer_void(router) -> None:
    """HD-49: the ticket stands at Level 2, not 3 (E9)."""
    opened(router)
    asked = router.handle(
        TicketEscalationRequested,
        occurred_at=DUE - timedelta(seconds=2),
        criterion="needs_advanced_knowledge",
        by=AGENT,
    )
    assert [event.to_level for event in asked] == [2]
    assert overdue(router) == []
    assert overdue(router, level=1) == []


def test_a_person_just_after_the_timer_raises_nothing_more(router) -> None:
    """What Level 2 asks for is satisfied already (E7, E9)."""
    opened(router)
    overdue(router)
    asked = router.handle(
        TicketEscalationRequested,
        occurred_at=DUE + timedelta(seconds=1),
        criterion="needs_advanced_knowledge",
        by=AGENT,
    )
    assert asked == []
    assert router.ticket().in_force.placement.level is Level.TWO


def test_two_breaches_of_the_same_clock_raise_once(router) -> None:
    """HD-53: what a second instance says of the same promise changes nothing (level and version are compared)."""
    opened(router)
    assert len(overdue(router)) == 1
    assert overdue(router, at=DUE + timedelta(microseconds=1)) == []
    assert router.ticket().in_force.id == "T-1:2"


def test_the_clock_of_another_level_is_void(router) -> None:
    """It was started for a level that the ticket has left (E9)."""
    opened(router)
    assert overdue(router, level=2) == []


@pytest.mark.parametrize("milestone", ["acknowledgement", "initial_response", "resolution"])
def test_other_breaches_raise_nothing(router, milestone: str) -> None:
    """Only the escalation clock does (L14)."""
    opened(router)
    assert overdue(router, milestone=milestone) == []


@pytest.mark.parametrize("category", Category)
def test_in_every_category_the_clock_goes_up_the_ladder_of_that_category(router, policy, category: Category) -> None:
    """R1, L14: to the next level and its team, and nowhere from the last."""
    router.handle(TicketCreated, subject="", body="", category=category.value)
    ladder = policy.routing.teams[category].levels
    level, started_at, at = router.ticket().in_force.placement.level, AT, DUE
    while (above := Level(level + 1)) in ladder:
        [raised] = overdue(router, at=at, level=level, started_at=started_at)
        assert (raised.to_level, raised.team) == (above, ladder[above])
        level, started_at, at = above, at, at + timedelta(days=9)
        if level is Level.THREE:
            break
    assert overdue(router, at=at, level=level, started_at=started_at) == []


def test_in_triage_and_at_level_0_it_raises_nothing(router) -> None:
    """There the lead is told instead (L14, C3)."""
    router.handle(TicketCreated, subject="", body="")
    assert overdue(router) == []
    router.handle(TicketCreated, ticket_id="T-2", body="I want to die")
    assert router.ticket("T-2").in_force.placement.level is Level.IMMEDIATE
    assert overdue(router, ticket_id="T-2") == []


@pytest.mark.parametrize("ended", ["resolved", "restricted"])
def test_what_is_resolved_or_restricted_does_not_rise(router, ended: str) -> None:
    """L12 cancels the clock, and of a restricted ticket one thing is said (S9)."""
    opened(router)
    if ended == "resolved":
        router.handle(TicketResolved, summary="done", by=AGENT)
    else:
        router.handle(TicketRestricted, source=SAFETY_BRIDGE)
    assert overdue(router) == []


def test_a_level_that_a_person_lowered_can_be_reached_again_by_the_next_clock(router) -> None:
    """R9: the old rise no longer holds, a later one does."""
    opened(router)
    overdue(router)
    lowered = DUE + timedelta(hours=1)
    router.handle(TicketDeescalationRequested, occurred_at=lowered, to_level=1, reason="solved by phone", by=AGENT)
    assert router.ticket().in_force.placement.level is Level.ONE
    [again] = overdue(router, at=lowered + timedelta(days=9), level=1, started_at=lowered)
    assert again.to_level == 2


def test_a_change_of_category_enters_anew(router) -> None:
    """R9: what the clock of the old category did does not count in the new one."""
    opened(router)
    overdue(router)
    [moved] = router.handle(
        TicketReclassified, occurred_at=DUE + timedelta(hours=1), category="billing", reason="it is the card", by=AGENT
    )
    assert isinstance(moved, RoutingAssigned)
    assert (moved.level, moved.team) == (1, "customer_service")


def test_words_of_the_law_raise_at_once_whatever_the_clock_says(router) -> None:
    """HD-50: a policy trigger does not wait for time."""
    opened(router, "refund_request")
    overdue(router)
    raised = router.handle(
        TicketEscalationRequested, occurred_at=DUE + timedelta(minutes=1), criterion="legal_action_threatened", by=AGENT
    )
    assert [(event.to_level, event.team) for event in raised] == [(3, "legal")]


def test_a_rise_whose_breach_is_withdrawn_stays_and_is_offered_for_undo(router, policy) -> None:
    """HD-65: no rule lowers; a person may, by the command that there is (L13, R9)."""
    opened(router)
    overdue(router)
    assert router.ticket().undo(policy) is None
    withdraw(router)
    assert router.ticket().in_force.placement.level is Level.TWO
    assert router.ticket().undo(policy) is Level.ONE
    [lowered] = router.handle(TicketDeescalationRequested, to_level=1, reason="it was solved in time", by=AGENT)
    assert (lowered.to_level, lowered.team) == (1, "customer_service")
    assert router.ticket().undo(policy) is None


def test_an_escalation_that_something_else_asks_for_too_is_not_offered_for_undo(router, policy) -> None:
    """HD-65: only what the withdrawn breach alone caused."""
    opened(router)
    overdue(router)
    router.handle(TicketEscalationRequested, occurred_at=DUE, criterion="needs_advanced_knowledge", by=AGENT)
    withdraw(router, caused_by=router.ticket().criteria[0].breach)
    assert router.ticket().undo(policy) is None


def test_of_two_rises_the_withdrawn_one_alone_is_offered(router, policy) -> None:
    """HD-65: back to Level 2, where the first clock rightly raised it."""
    opened(router)
    overdue(router)
    overdue(router, at=DUE + timedelta(days=9), level=2, started_at=DUE)
    withdraw(router, level=2, cycle=2)
    assert router.ticket().undo(policy) is Level.TWO


def test_a_correction_that_withdraws_another_event_offers_nothing(router, policy) -> None:
    """HD-65: here a pause that was told, not the breach (L13)."""
    opened(router)
    overdue(router)
    withdraw(router, caused_by="some-other-event")
    assert router.ticket().undo(policy) is None


def test_a_ticket_with_legal_is_not_offered_what_would_be_refused(router, policy) -> None:
    """HD-65, S1: the clock brought it to legal; from there nobody lowers."""
    opened(router, "false_positive")
    [raised] = overdue(router)
    assert raised.team == "legal"
    withdraw(router)
    assert router.ticket().undo(policy) is None
