"""The five checks on a resolved ticket (Q1), and how they are told again. In memory, every event is delivered twice."""

from typing import Any

import pytest

from shared.events.envelope import SAFETY_BRIDGE
from shared.events.routing import RoutingRefused
from shared.events.ticket import TicketEscalationRequested, TicketRestricted, TicketSignalsAdded

Ledger = Any
MORNING, NOON, EVENING = "2026-03-02 10:00", "2026-03-02 12:00", "2026-03-02 18:00"
BREACH = f"breached|T-1|{NOON}"


@pytest.fixture
def served(ledger: Ledger) -> Ledger:
    """A ticket that was created, routed and resolved."""
    return ledger.created(MORNING).routed(MORNING).resolved(EVENING)


def test_an_assessment_says_what_is_known_with_its_evidence(served: Ledger) -> None:
    """Ids of events only; unknown where nothing says so (Q1)."""
    served.clock("met", NOON)
    (told,) = served.told()
    assert (told.ticket_id, told.resolution, told.version, told.replaces) == ("T-1", 1, 1, None)
    assert told.clauses == ("Q1",)
    assert told.occurred_at == told.resolved_at
    assert [(one.check.value, one.verdict.value, one.evidence) for one in told.checks] == [
        ("response_within_target", "pass", (f"met|T-1|{NOON}",)),
        ("classification_and_routing", "pass", (f"assigned|T-1|{MORNING}",)),
        ("communication", "unknown", ()),
        ("escalation", "pass", ()),
        ("documentation", "unknown", ()),
    ]
    (sent,) = served.unit().emitted
    assert (sent.topic, sent.key) == ("support.sla.v1", "T-1")
    assert sent.wire_type == "com.storytailor.support.quality.assessed.v1"


def test_it_is_told_once_it_is_resolved_and_routed(ledger: Ledger) -> None:
    ledger.created(MORNING).resolved(EVENING)
    assert ledger.told() == []
    ledger.routed(MORNING)
    assert len(ledger.told()) == 1


def test_a_late_fact_is_told_as_a_new_version_and_the_same_is_not_told_twice(served: Ledger) -> None:
    """HD-65: it names the assessment that it replaces."""
    unit = served.unit()
    served.rated("2026-03-04 10:00", 5)
    for _ in range(2):
        served.deliver(unit)
    first, second = served.read(unit)
    assert (first.version, second.version, second.replaces) == (1, 2, unit.emitted[0].id)
    assert unit.emitted[1].id != unit.emitted[0].id
    assert second.occurred_at > second.resolved_at == first.occurred_at


def test_a_reopened_ticket_is_assessed_again_when_it_is_resolved_again(served: Ledger) -> None:
    """HD-70"""
    served.reopened("2026-03-03 10:00")
    assert served.told() == []
    served.resolved("2026-03-04 10:00")
    assert [one.resolution for one in served.told()] == [2]


def test_a_breach_fails_until_it_is_corrected(served: Ledger) -> None:
    """HD-65, HD-75: the check follows the corrected state (L13)."""
    served.clock("breached", NOON).clock("fulfilled_late", EVENING, state="breached")
    assert served.verdicts()["response_within_target"] == "fail"
    served.clock("corrected", "2026-03-02 11:50", state="met", caused_by=BREACH)
    assert served.verdicts()["response_within_target"] == "pass"


def test_what_nobody_answered_was_neither_kept_nor_missed(served: Ledger) -> None:
    """(L12)"""
    served.clock("cancelled", EVENING, reason="resolved_unanswered")
    assert served.verdicts()["response_within_target"] == "unknown"


def test_other_milestones_do_not_answer(served: Ledger) -> None:
    served.clock("met", NOON, milestone="resolution").clock("breached", NOON, milestone="resolution")
    assert served.verdicts()["response_within_target"] == "unknown"


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ({"category": "billing", "subcategory": "refund_request", "team": "finance"}, "fail"),
        ({"subcategory": "performance"}, "fail"),
        ({"team": "content"}, "fail"),
        ({"assignee": "a-7"}, "pass"),
    ],
    ids=["another category", "another subcategory", "another team", "an assignee"],
)
def test_a_ticket_classified_or_routed_anew_was_not_right_at_first(served: Ledger, after: Any, verdict: str) -> None:
    served.routed(NOON, number=2, **after)
    assert served.verdicts()["classification_and_routing"] == verdict


def test_the_way_out_of_triage_and_a_rise_are_no_mistakes(ledger: Ledger) -> None:
    """(C3, E)"""
    ledger.created(MORNING).routed(MORNING, category=None, subcategory=None, needs_triage=True)
    ledger.routed("2026-03-02 11:00", number=2, team="technical_support")
    ledger.moved(NOON, number=3, levels=(1, 3), criterion="needs_code_fix", team="engineering")
    ledger.moved("2026-03-02 13:00", number=4, levels=(3, 2), team="technical_support").resolved(EVENING)
    assert ledger.verdicts()["classification_and_routing"] == "pass"


def test_a_fall_below_the_level_of_entry_is_one(ledger: Ledger) -> None:
    """(R9)"""
    ledger.created(MORNING).routed(MORNING, level=2).moved(NOON, number=2, levels=(2, 1)).resolved(EVENING)
    assert ledger.verdicts()["classification_and_routing"] == "fail"


@pytest.mark.parametrize(("score", "verdict"), [(5, "pass"), (4, "pass"), (3, "unknown"), (2, "fail"), (1, "fail")])
def test_the_rating_says_whether_communication_was_clear_and_helpful(served: Ledger, score: int, verdict: str) -> None:
    served.rated("2026-03-03 10:00", score)
    assert served.verdicts()["communication"] == verdict


def test_the_last_rating_of_the_resolution_and_above_all_the_reviewer_count(served: Ledger) -> None:
    """HD-73"""
    served.rated("2026-03-03 10:00", 5).rated("2026-03-03 11:00", 1)
    assert served.verdicts()["communication"] == "fail"
    served.reviewed("2026-03-03 09:00", "communication", "pass")
    assert served.verdicts()["communication"] == "pass"


@pytest.mark.parametrize(
    ("documentation", "verdict"),
    [
        (True, "pass"),
        (False, "fail"),
        ({"complete": True}, "pass"),
        ({"complete": False}, "fail"),
        ("KB-12", "unknown"),
    ],
)
def test_documentation_is_complete_where_somebody_says_so(ledger: Ledger, documentation: Any, verdict: str) -> None:
    ledger.created(MORNING).routed(MORNING).resolved(EVENING, documentation=documentation)
    assert ledger.verdicts()["documentation"] == verdict


def test_a_reviewer_marks_what_events_do_not_tell_and_nothing_else(served: Ledger) -> None:
    """HD-75: the automatic part follows from events alone; a verdict without meaning is none."""
    for check in ("documentation", "escalation", "response_within_target", "classification_and_routing", "style"):
        served.reviewed(f"2026-03-03 10:0{len(check) % 10}", check, "fail")
    served.reviewed("2026-03-03 11:00", "documentation", "splendid")
    assert served.verdicts() == {
        "response_within_target": "unknown",
        "classification_and_routing": "pass",
        "communication": "unknown",
        "escalation": "fail",
        "documentation": "fail",
    }


@pytest.mark.parametrize("asked", ["signal", "request"])
def test_a_criterion_wants_its_level(served: Ledger, asked: str) -> None:
    """(E0)"""
    by = {"by": {"kind": "agent", "id": "a-1"}}
    if asked == "signal":
        served.add(TicketSignalsAdded, NOON, "T-1", signals=["needs_code_fix", "nonsense"], **by)
    else:
        served.add(TicketEscalationRequested, NOON, "T-1", criterion="needs_code_fix", **by)
    assert served.verdicts()["escalation"] == "fail"
    served.moved("2026-03-02 12:30", number=2, levels=(1, 2), criterion="needs_advanced_knowledge")
    assert served.verdicts()["escalation"] == "fail"
    served.moved("2026-03-02 13:00", number=3, levels=(2, 3), criterion="needs_code_fix")
    assert served.verdicts()["escalation"] == "pass"


def test_a_refusal_is_an_answer_and_what_the_category_does_not_know_asks_nothing(served: Ledger) -> None:
    """(E7)"""
    served.add(TicketEscalationRequested, NOON, "T-1", criterion="needs_code_fix")
    refused = {"request_id": served.messages[-1].id, "clause": "E7", "reason_code": "not_open"}
    refused |= {"occurred_at": NOON + "Z", "emitted_at": NOON + "Z", "clauses": ["E7"], "policy_version": "test"}
    served.add(RoutingRefused, NOON, "T-1", **refused)
    served.add(TicketEscalationRequested, "2026-03-02 13:00", "T-1", criterion="complex_billing")
    assert served.verdicts()["escalation"] == "pass"


def test_an_overdue_escalation_clock_wants_a_rise_of_its_own(served: Ledger) -> None:
    """(L14, E9)"""
    served.clock("breached", NOON, milestone="escalation")
    assert served.verdicts()["escalation"] == "fail"
    assert served.verdicts()["response_within_target"] == "unknown"
    served.moved("2026-03-02 12:01", number=2, levels=(1, 2), criterion="escalation_due")
    assert served.verdicts()["escalation"] == "pass"
    served.clock("breached", "2026-03-02 15:00", milestone="escalation", cycle=2)
    assert served.verdicts()["escalation"] == "fail"


def test_at_the_top_there_is_nowhere_to_rise(ledger: Ledger) -> None:
    """(L14)"""
    ledger.created(MORNING).routed(MORNING, level=3).clock("breached", NOON, milestone="escalation").resolved(EVENING)
    assert ledger.verdicts()["escalation"] == "pass"


def test_spam_merged_and_restricted_tickets_are_not_assessed(ledger: Ledger) -> None:
    """(S9)"""
    for ticket in ("spam", "merged", "restricted", "A"):
        ledger.created(MORNING, ticket).routed(MORNING, ticket)
    ledger.closed(NOON, "spam", reason="spam").closed(NOON, "merged", reason="merged", into="A")
    ledger.add(TicketRestricted, NOON, "restricted", source=SAFETY_BRIDGE)
    for ticket in ("spam", "merged", "restricted"):
        ledger.resolved(EVENING, ticket)
    assert ledger.told() == []
