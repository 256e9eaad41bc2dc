"""What a ticket contributes to the figures: a pure function of its facts. In memory, every event is delivered twice."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.events.envelope import SAFETY_BRIDGE
from shared.events.routing import RoutingAssigned
from shared.events.ticket import TicketRestricted, TicketTierChanged
from sla_monitor.domain.quality import survivor

Ledger = Any
HOUR = 3600 * 1_000_000
DAY = 24 * HOUR
SAFETY = {"category": "safety", "subcategory": "content_moderation", "team": "safety", "owning_team": "safety"}


def test_the_first_public_human_message_answers_in_elapsed_and_in_business_time(ledger: Ledger) -> None:
    """Monday 16:00 to Tuesday 10:00 are 18 hours, two of them in business time (L8, Q2)."""
    ledger.created("2026-03-02 16:00").routed("2026-03-02 16:00")
    ledger.replied("2026-03-02 16:05", automated=True).replied("2026-03-02 16:10", public=False)
    ledger.replied("2026-03-03 10:00").replied("2026-03-03 11:00")
    figure = ledger.figure()
    assert (figure.response_elapsed, figure.response_business) == (18 * HOUR, 2 * HOUR)
    assert figure.resolved_at is None


def test_a_reopened_ticket_has_one_resolution_time_without_the_time_it_was_resolved(ledger: Ledger) -> None:
    """HD-70: solved Tuesday, reopened Thursday, solved Friday: Monday to Tuesday and Thursday to Friday count (Q2)."""
    ledger.created("2026-03-02 10:00").resolved("2026-03-03 10:00")
    ledger.reopened("2026-03-05 10:00").resolved("2026-03-06 12:00")
    figure = ledger.figure()
    assert (figure.resolution_elapsed, figure.resolution_business) == (2 * DAY + 2 * HOUR, 2 * 8 * HOUR + 2 * HOUR)
    assert figure.is_reopened
    assert len(figure.resolutions) == 2


def test_while_it_is_open_again_there_is_no_resolution(ledger: Ledger) -> None:
    """HD-70, restated: the earlier figure is gone as soon as the ticket is reopened."""
    ledger.created("2026-03-02 10:00").resolved("2026-03-03 10:00").reopened("2026-03-05 10:00")
    figure = ledger.figure()
    assert (figure.resolved_at, figure.resolution_elapsed, figure.is_first_contact) == (None, None, False)


def test_later_than_seven_days_nothing_is_reopened(ledger: Ledger) -> None:
    """Seven days sharp still is (L12)."""
    ledger.created("2026-03-02 10:00").resolved("2026-03-03 10:00").reopened("2026-03-10 10:00:01")
    assert not ledger.figure().is_reopened
    ledger.reopened("2026-03-10 10:00")
    assert ledger.figure().is_reopened


def test_waiting_for_the_customer_does_not_count(ledger: Ledger) -> None:
    """As for the clock: until the customer writes (L9)."""
    ledger.created("2026-03-02 10:00").routed("2026-03-02 10:00")
    ledger.waits("2026-03-02 11:00").wrote("2026-03-02 15:00").resolved("2026-03-02 16:00")
    assert ledger.figure().resolution_elapsed == 2 * HOUR


def test_with_legal_it_counts_all_the_same(ledger: Ledger) -> None:
    """Nothing pauses with safety or legal (L9)."""
    ledger.created("2026-03-02 10:00").routed("2026-03-02 10:00", owning_team="legal")
    ledger.waits("2026-03-02 11:00").wrote("2026-03-02 15:00").resolved("2026-03-02 16:00")
    assert ledger.figure().resolution_elapsed == 6 * HOUR


@pytest.mark.parametrize("reason", ["spam", "merged", "duplicate"])
def test_what_was_no_ticket_counts_nowhere(ledger: Ledger, reason: str) -> None:
    """HD-64: a closing for spam is no resolution, and the ticket is none."""
    ledger.created("2026-03-02 10:00").closed("2026-03-02 11:00", reason=reason)
    assert ledger.figure() is None


def test_a_withdrawn_ticket_waits_for_nothing_and_is_not_resolved(ledger: Ledger) -> None:
    ledger.created("2026-03-02 10:00").closed("2026-03-02 11:00", reason="withdrawn")
    figure = ledger.figure()
    assert (figure.is_closed, figure.resolved_at) == (True, None)


def test_a_closing_of_a_safety_ticket_is_not_heard(ledger: Ledger) -> None:
    """(S1)"""
    ledger.created("2026-03-02 10:00").routed("2026-03-02 10:00", category="safety", subcategory=None)
    ledger.closed("2026-03-02 11:00", reason="spam")
    assert not ledger.figure().is_closed


def test_a_resolved_ticket_that_goes_to_safety_is_open_again(ledger: Ledger) -> None:
    """Later than seven days too; what counts is its next resolution, and the time in between does not (S6, Q2)."""
    ledger.created("2026-03-02 10:00").routed("2026-03-02 10:00").resolved("2026-03-02 11:00")
    ledger.routed("2026-03-12 10:00", number=2, **SAFETY)
    assert (ledger.figure().resolved_at, ledger.figure().is_reopened) == (None, True)
    ledger.resolved("2026-03-12 12:00")
    assert ledger.figure().resolved_at == datetime(2026, 3, 12, 11, tzinfo=UTC)
    assert ledger.figure().resolution_elapsed == 3 * HOUR


@pytest.mark.parametrize("closing", [{"reason": "spam"}, {"reason": "withdrawn"}, {"reason": "merged", "into": "T-2"}])
def test_a_closed_ticket_that_goes_to_safety_is_open_again(ledger: Ledger, closing: Any) -> None:
    """It waits for its answer (S6, Q2)."""
    ledger.created("2026-03-02 10:00", "T-2")
    ledger.created("2026-03-02 10:00").routed("2026-03-02 10:00").closed("2026-03-02 11:00", **closing)
    ledger.routed("2026-03-02 12:00", number=2, **SAFETY)
    assert (ledger.figure().is_closed, ledger.figure().answered_at) == (False, None)


def test_a_merged_ticket_counts_in_the_one_that_survives(ledger: Ledger) -> None:
    """HD-29: the answer given in B at 10:30 is A's first; metrics count one ticket."""
    ledger.created("2026-03-02 10:00", "A").created("2026-03-02 10:20", "B")
    ledger.replied("2026-03-02 10:30", "B").closed("2026-03-02 11:00", "B", reason="merged", into="A")
    ledger.replied("2026-03-02 11:30", "A")
    assert ledger.figure("B") is None
    assert ledger.figure("A").response_elapsed == HOUR // 2


def test_what_the_customer_writes_to_a_merged_ticket_lands_on_the_one_that_survives(ledger: Ledger) -> None:
    """HD-30: chains are followed; A is reopened, B is not. What was written before the merge reopens nothing."""
    for ticket in "ABC":
        ledger.created("2026-03-02 10:00", ticket)
    ledger.closed("2026-03-02 11:00", "C", reason="merged", into="B")
    ledger.closed("2026-03-02 12:00", "B", reason="merged", into="A")
    ledger.resolved("2026-03-02 10:40", "A").wrote("2026-03-02 10:50", "C")
    assert not ledger.figure("A").is_reopened
    ledger.wrote("2026-03-03 10:00", "C")
    assert ledger.figure("A").is_reopened
    assert (ledger.figure("B"), ledger.figure("C")) == (None, None)


def test_a_circle_of_merges_counts_once() -> None:
    """HD-30"""
    circle = {"A": "B", "B": "C", "C": "B"}
    assert {survivor(ticket, circle) for ticket in "ABC"} == {"B"}


@pytest.mark.parametrize("source", ["bridge", "router"])
def test_of_a_restricted_ticket_nothing_is_kept(ledger: Ledger, source: str) -> None:
    """Outside Q2 and Q3, and no word about it; what was kept before is forgotten (Q3, S9)."""
    ledger.created("2026-03-02 10:00").routed("2026-03-02 10:00").resolved("2026-03-02 11:00")
    if source == "bridge":
        ledger.add(TicketRestricted, "2026-03-02 10:30", "T-1", source=SAFETY_BRIDGE)
    else:
        ledger.routed("2026-03-02 10:30", number=2, restricted=True)
    unit = ledger.unit()
    assert unit.records.figures == {"T-1": None}
    assert unit.emitted == []
    assert [fact.kind.value for fact in unit.records.get("T-1").facts] == ["restricted"]


def test_only_the_safety_bridge_restricts(ledger: Ledger) -> None:
    """(S9)"""
    ledger.created("2026-03-02 10:00").add(TicketRestricted, "2026-03-02 10:30", "T-1")
    assert ledger.figure() is not None


@pytest.mark.parametrize("claimed", ["1990-01-01 10:00", "2026-02-20 10:00"])
def test_a_resolution_that_claims_a_time_before_the_creation_has_the_time_of_that(ledger: Ledger, claimed: str) -> None:
    """As for the clocks, also where no calendar reaches; so it is reopened within seven days of the creation (L12, L13)."""
    ledger.created("2026-03-02 10:00").routed("2026-03-02 10:00").resolved(claimed)
    figure = ledger.figure()
    assert (figure.resolved_at, figure.resolution_elapsed) == (figure.created_at, 0)
    ledger.wrote("2026-03-05 10:00")
    assert ledger.figure().is_reopened


def test_a_ticket_restricted_from_the_start_counts_nowhere(ledger: Ledger) -> None:
    """(S9)"""
    ledger.created("2026-03-02 10:00", source=SAFETY_BRIDGE).resolved("2026-03-02 11:00")
    unit = ledger.unit()
    assert (unit.records.figures, unit.emitted) == ({"T-1": None}, [])


def test_the_tier_is_the_last_by_the_time_from_which_it_holds(ledger: Ledger) -> None:
    """One without is treated as free (L1)."""
    ledger.created("2026-03-02 10:00")
    assert ledger.figure().tier == "free"
    ledger.add(TicketTierChanged, "2026-03-02 12:00", "T-1", tier="family")
    ledger.add(TicketTierChanged, "2026-03-02 13:00", "T-1", tier="premium", effective_from="2026-03-02T09:00:00Z")
    assert ledger.figure().tier == "family"


def test_a_rise_by_e5_or_into_another_category_is_a_handover(ledger: Ledger) -> None:
    """HD-72: rights-holder and safety hand-overs are not in the rate (E5, Q3)."""
    ledger.created("2026-03-02 10:00").routed("2026-03-02 10:00")
    claim = {"category": "ip_attribution", "subcategory": "rights_holder_claim", "team": "legal"}
    ledger.moved("2026-03-02 11:00", number=2, levels=(1, 3), criterion="rights_holder_claim", **claim)
    figure = ledger.figure()
    assert (figure.is_handed_over, figure.is_raised, figure.raised_from) == (True, False, ())
    assert figure.entered == ("ip_attribution:3", "technical:1")


HAPPENINGS = st.sampled_from(
    [
        ("replied", {}),
        ("wrote", {}),
        ("waits", {}),
        ("waits", {"status": "open"}),
        ("resolved", {}),
        ("resolved", {"documentation": True}),
        ("reopened", {}),
        ("closed", {"reason": "merged", "into": "A"}),
        ("closed", {"reason": "merged", "into": "B"}),
        ("closed", {"reason": "withdrawn"}),
        ("rated", {"score": 5}),
        ("rated", {"score": 1}),
        ("reviewed", {"check": "escalation", "verdict": "fail"}),
        ("clock", {"turn": "breached"}),
        ("clock", {"turn": "met"}),
        ("clock", {"turn": "corrected", "caused_by": "breached|A|2026-03-02 12:00:00+00:00"}),
    ]
)
INSTANTS = st.integers(0, 20_000).map(lambda minute: datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(minutes=minute))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(happened=st.lists(st.tuples(HAPPENINGS, st.sampled_from("ABC"), INSTANTS), max_size=24), data=st.data())
def test_any_order_and_any_repetition_end_in_the_same_figures(ledger: Ledger, happened: Any, data: Any) -> None:
    """HD-74: for any prefix of the log, and after any permutation of its delivery (Q4)."""
    ledger.messages.clear()
    for ticket in "ABC":
        ledger.created("2026-03-02 10:00", ticket).routed("2026-03-02 10:00", ticket)
    for (fact, said), ticket, when in happened:
        getattr(ledger, fact)(when=when, ticket=ticket, **said)
    prefix = ledger.messages[: data.draw(st.integers(0, len(ledger.messages)))]
    shuffled = data.draw(st.permutations(prefix + prefix[: len(prefix) // 2]))
    ordered, other = ledger.unit(prefix), ledger.unit(shuffled)
    assert ordered.records.figures == other.records.figures
    told = [{one.ticket_id: one.checks for one in ledger.told(log)} for log in (prefix, shuffled)]
    assert told[0] == told[1]


def test_routing_speaks_of_the_ticket_first(ledger: Ledger) -> None:
    """What comes before `created` is kept; the ticket counts once it is there (L13)."""
    ledger.routed("2026-03-02 10:00").created("2026-03-02 10:00")
    assert isinstance(ledger.messages[0].event, RoutingAssigned)
    assert ledger.unit(ledger.messages[:1]).records.figures == {"T-1": None}
    assert ledger.figure().team == "customer_service"
