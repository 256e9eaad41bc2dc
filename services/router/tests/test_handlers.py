"""What each event makes the router say. Every event is delivered twice (see `Router`): the second changes nothing."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from router.handlers.tickets import SAFETY_BRIDGE
from shared.errors import DeadLetterCode, InvalidMessage, UnknownTicket
from shared.events.routing import RoutingAssigned, RoutingDeescalated, RoutingEscalated, RoutingRefused
from shared.events.screening import SafetyScreeningRequested
from shared.events.ticket import (
    TicketClosed,
    TicketCreated,
    TicketDeescalationRequested,
    TicketEscalationRequested,
    TicketMessageAdded,
    TicketReclassified,
    TicketReopened,
    TicketResolved,
    TicketRestricted,
    TicketSignalsAdded,
    TicketTierChanged,
)
from shared.policy.model import Policy
from shared.testing.builders import AT, ticket_data, wire

CUSTOMER = {"kind": "customer", "id": "u-1"}
LOGIN = {"category": "account", "subcategory": "login"}
CRISIS = {"body": "I want to die"}


def names(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_the_first_decision_carries_everything(router, policy: Policy) -> None:
    """One `assigned` with team, level, owner, classification, clauses, policy version and what it is counted from (R8)."""
    [assigned] = router.handle(
        TicketCreated,
        body="The refund failed and Alexa does not answer",
        tier="premium",
        category="billing",
        subcategory="refund_request",
        signals=["complex_billing", "no such word"],
        occurred_at=AT - timedelta(minutes=5),
    )
    assert assigned.model_dump(mode="json") == {
        "ticket_id": "T-1",
        "occurred_at": "2026-03-03T14:55:00.000000Z",
        "emitted_at": "2026-03-03T15:00:00.000000Z",
        "clauses": ["C2", "E3"],
        "policy_version": policy.version,
        "decision_id": "T-1:1",
        "replaces": None,
        "team": "finance",
        "level": 2,
        "owning_team": "finance",
        "also_notified": [],
        "assignee": None,
        "watchers": [],
        "category": "billing",
        "subcategory": "refund_request",
        "secondary": [],
        "alternatives": [],
        "suggestions": [],
        "related": [],
        "confidence": 1.0,
        "evidence": ["event.complex_billing"],
        "classifier_version": router.unit.classifier.version,
        "upstream": {"category": "billing", "subcategory": "refund_request"},
        "needs_triage": False,
        "restricted": False,
        "tier": "premium",
        "created_at": "2026-03-03T14:55:00.000000Z",
    }


def test_a_ticket_nobody_can_place_goes_to_triage(router) -> None:
    """C3; a ticket without a tier is treated as free (L1)."""
    [assigned] = router.handle(TicketCreated, subject="", body="")
    assert (assigned.category, assigned.team, assigned.level, assigned.owning_team, assigned.needs_triage) == (
        None,
        "customer_service",
        1,
        "customer_service",
        True,
    )
    assert (assigned.tier, assigned.upstream, assigned.clauses) == ("free", None, ("C3",))


def test_an_unknown_pair_is_kept_as_upstreams(router) -> None:
    """Ignored for the decision (C2)."""
    [assigned] = router.handle(TicketCreated, body="My payment failed", category="hardware", subcategory="login")
    assert (assigned.subcategory, assigned.upstream.category) == ("payment_failure", "hardware")


def test_a_high_profile_ip_is_a_criterion_of_the_event(router) -> None:
    """Legal review (E2)."""
    [assigned] = router.handle(
        TicketCreated, category="ip_attribution", subcategory="user_question", ip={"id": "ip-9", "high_profile": True}
    )
    assert (assigned.team, assigned.level) == ("legal", 3)
    assert "event.high_profile_ip" in assigned.evidence


def test_a_legal_threat_in_the_text_decides_the_entry(router) -> None:
    """HD-54: legal at once, the refund is kept beside it (E5, C4, C5)."""
    text = "Refund or my lawyer will send a DMCA notice for my character"
    [assigned] = router.handle(TicketCreated, body=text, category="billing", subcategory="refund_request")
    assert (assigned.subcategory, assigned.team, assigned.level) == ("rights_holder_claim", "legal", 3)
    assert [other.subcategory for other in assigned.secondary] == ["refund_request"]
    assert assigned.upstream.category == "billing"
    assert {"C4", "E5", "R3"} <= set(assigned.clauses)
    assert {"text.dmca_takedown", "dmca_takedown.en.1"} <= set(assigned.evidence)


def test_words_of_crisis_ask_for_screening_and_route_at_once(router) -> None:
    """HD-55, S7: the ticket does not wait for the answer (R5)."""
    screening, assigned = router.handle(TicketCreated, **CRISIS, category="billing")
    assert isinstance(screening, SafetyScreeningRequested)
    assert (screening.evidence, screening.clauses) == (("crisis_detection.en.5",), ("S7",))
    assert (assigned.subcategory, assigned.level, assigned.team) == ("crisis_detection", 0, "child_safety_agent")
    assert (assigned.also_notified, assigned.upstream.category) == (("safety",), "billing")


def test_nothing_that_is_emitted_repeats_a_customers_words(router) -> None:
    """Ids and codes only leave on the routing topic."""
    router.handle(
        TicketCreated, subject="Zebra", body="Zebra: I want to die, refund", requester={"id": "u-1", "name": "Zebra"}
    )
    assert all(b"ebra" not in one.value and b"die" not in one.value for one in router.unit.emitted)


def test_a_second_created_under_another_id_is_a_mistake(router) -> None:
    """The first stands, the second becomes a dead letter."""
    router.handle(TicketCreated, **LOGIN)
    before = router.ticket()
    with pytest.raises(InvalidMessage) as refused:
        router.handle(TicketCreated, category="billing")
    assert refused.value.code is DeadLetterCode.TICKET_EXISTS
    assert router.ticket() == before


@pytest.mark.parametrize(
    ("event_class", "data"),
    [
        (TicketMessageAdded, {}),
        (TicketReclassified, {"category": "billing"}),
        (TicketSignalsAdded, {"signals": []}),
        (TicketTierChanged, {"tier": "premium"}),
        (TicketEscalationRequested, {"criterion": "needs_code_fix"}),
        (TicketDeescalationRequested, {"to_level": 1}),
        (TicketResolved, {}),
        (TicketReopened, {}),
        (TicketClosed, {}),
        (TicketRestricted, {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_any_other_event_waits_for_its_ticket(router, event_class, data) -> None:
    """It is parked until `created` comes (L13)."""
    with pytest.raises(UnknownTicket):
        router.handle(event_class, **data)


def test_signals_raise_inside_the_category(router) -> None:
    """`escalated` names the criterion and its origin (E6)."""
    [first] = router.handle(TicketCreated, **LOGIN)
    [escalated] = router.handle(TicketSignalsAdded, signals=["needs_advanced_knowledge", "needs_code_fix", "huh"])
    assert isinstance(escalated, RoutingEscalated)
    assert (escalated.from_level, escalated.to_level) == (1, 3)
    assert (escalated.from_team, escalated.team) == ("customer_service", "engineering")
    assert (escalated.criterion, escalated.origin) == ("needs_code_fix", "event")
    assert (escalated.replaces, escalated.decision_id) == (first.decision_id, "T-1:2")
    assert escalated.clauses == ("C2", "E8")


@pytest.mark.parametrize("signals", [[], ["needs_code_fix"], ["complex_billing"], ["huh"]], ids=str)
def test_signals_that_change_nothing_emit_nothing(router, signals) -> None:
    """Already satisfied, of another row, or unknown (R8, E7)."""
    router.handle(TicketCreated, **LOGIN, signals=["data_integrity"])
    assert router.handle(TicketSignalsAdded, signals=signals) == []


def test_a_claim_changes_the_category(router) -> None:
    """A change of category is `assigned` with what it replaces (E5)."""
    router.handle(TicketCreated, **LOGIN)
    [assigned] = router.handle(TicketSignalsAdded, signals=["rights_holder_claim"])
    assert isinstance(assigned, RoutingAssigned)
    assert (assigned.replaces, assigned.subcategory, assigned.team) == ("T-1:1", "rights_holder_claim", "legal")


def test_a_claim_inside_ip_attribution_is_a_rise(router) -> None:
    """From any level, immediately legal (E2)."""
    router.handle(TicketCreated, category="ip_attribution", subcategory="missing_attribution")
    [escalated] = router.handle(TicketSignalsAdded, signals=["dmca_takedown"])
    assert isinstance(escalated, RoutingEscalated)
    assert (escalated.from_level, escalated.to_level, escalated.team) == (2, 3, "legal")
    assert (escalated.criterion, escalated.subcategory) == ("dmca_takedown", "rights_holder_claim")


def test_a_change_of_team_without_a_rise_is_assigned(router) -> None:
    """From the executives to legal compliance, both Level 3 (E5)."""
    router.handle(TicketCreated, category="billing", signals=["executive_dispute"])
    [assigned] = router.handle(TicketSignalsAdded, signals=["regulatory_inquiry"])
    assert isinstance(assigned, RoutingAssigned)
    assert (assigned.level, assigned.team, assigned.replaces) == (3, "legal_compliance", "T-1:1")


def test_a_criterion_at_level_0_only_tells_legal_compliance(router) -> None:
    """The level stays (R9)."""
    router.handle(TicketCreated, category="safety", subcategory="crisis_detection")
    [assigned] = router.handle(TicketSignalsAdded, signals=["law_enforcement_request"])
    assert (assigned.level, assigned.also_notified) == (0, ("safety", "legal_compliance"))


def test_a_person_asks_for_a_rise(router) -> None:
    """E7."""
    router.handle(TicketCreated, **LOGIN)
    [escalated] = router.handle(TicketEscalationRequested, criterion="needs_configuration_change")
    assert (escalated.criterion, escalated.origin, escalated.to_level) == ("needs_configuration_change", "person", 2)


@pytest.mark.parametrize(
    ("criterion", "reason"),
    [("please", "unknown_criterion"), ("complex_billing", "criterion_of_another_category")],
)
def test_a_rise_that_the_policy_does_not_know_is_refused(router, criterion, reason) -> None:
    """`refused` names the request, the clause and the reason (E7)."""
    router.handle(TicketCreated, **LOGIN)
    [refused] = router.handle(TicketEscalationRequested, criterion=criterion)
    assert isinstance(refused, RoutingRefused)
    assert (refused.clause, refused.reason_code, refused.clauses) == ("E7", reason, ("E7",))
    assert refused.request_id == router.unit.emitted[-1].causation_id


def test_a_person_lowers_a_level(router) -> None:
    """R9."""
    router.handle(TicketCreated, **LOGIN, signals=["needs_code_fix"])
    [lowered] = router.handle(TicketDeescalationRequested, to_level=1)
    assert isinstance(lowered, RoutingDeescalated)
    assert (lowered.from_level, lowered.to_level, lowered.team) == (3, 1, "customer_service")
    assert (lowered.replaces, lowered.clauses) == ("T-1:1", ("C2", "R9"))


@pytest.mark.parametrize(
    ("created", "asked", "clause", "reason"),
    [
        ({"category": "safety"}, {"to_level": 1}, "S1", "safety_stands"),
        ({"category": "billing", "signals": ["legal_action_threatened"]}, {"to_level": 1}, "S1", "legal_stands"),
        ({"category": "billing"}, {"to_level": 3}, "R9", "not_lower"),
        ({"category": "billing", "signals": ["special_pricing"]}, {"to_level": 1, "reason": ""}, "R9", "no_reason"),
        (
            {"category": "billing", "signals": ["special_pricing"]},
            {"to_level": 1, "by": {"kind": "system", "id": "bot"}},
            "R9",
            "not_a_person",
        ),
    ],
    ids=["safety", "legal", "a rise", "without a reason", "by a system"],
)
def test_a_lowering_that_the_policy_forbids_is_refused(router, created, asked, clause, reason) -> None:
    """S1, R9."""
    router.handle(TicketCreated, **created)
    [refused] = router.handle(TicketDeescalationRequested, **asked)
    assert (refused.clause, refused.reason_code) == (clause, reason)


def test_reclassifying_assigns_anew(router) -> None:
    """R9; triage ends with it."""
    router.handle(TicketCreated)
    [assigned] = router.handle(TicketReclassified, category="ip_attribution", subcategory="false_positive")
    assert (assigned.level, assigned.team, assigned.needs_triage, assigned.replaces) == (2, "content", False, "T-1:1")


def test_reclassifying_to_the_same_says_nothing(router) -> None:
    """A decision equal to the current one emits nothing (R8)."""
    router.handle(TicketCreated, **LOGIN)
    assert router.handle(TicketReclassified, **LOGIN) == []
    assert router.handle(TicketReclassified, category="hardware") == []


def test_reclassifying_out_of_safety_is_refused(router) -> None:
    """S1."""
    router.handle(TicketCreated, category="safety", subcategory="privacy_concern")
    [refused] = router.handle(TicketReclassified, category="billing")
    assert (refused.clause, refused.reason_code) == ("S1", "safety_stands")


def test_a_changed_tier_is_kept_for_the_next_decision(router) -> None:
    """It decides targets, not teams."""
    router.handle(TicketCreated, **LOGIN)
    assert router.handle(TicketTierChanged, tier="enterprise") == []
    [assigned] = router.handle(TicketReclassified, category="billing")
    assert assigned.tier == "enterprise"


def test_a_customers_later_words_of_crisis_move_the_ticket_to_safety(router) -> None:
    """E5, S7."""
    router.handle(TicketCreated, **LOGIN)
    screening, assigned = router.handle(TicketMessageAdded, author=CUSTOMER, **CRISIS)
    assert isinstance(screening, SafetyScreeningRequested)
    assert (assigned.subcategory, assigned.level, assigned.replaces) == ("crisis_detection", 0, "T-1:1")


def test_a_customers_later_threat_raises_the_ticket(router) -> None:
    """The criterion's origin is the text (E5, E6)."""
    router.handle(TicketCreated, **LOGIN)
    [escalated] = router.handle(TicketMessageAdded, author=CUSTOMER, body="I will sue you")
    assert (escalated.team, escalated.criterion, escalated.origin) == ("legal", "legal_action_threatened", "text")


@pytest.mark.parametrize(
    "data",
    [{"author": {"kind": "agent", "id": "a-1"}}, {"author": CUSTOMER, "automated": True}],
    ids=["an agent's", "automatic"],
)
def test_words_that_are_not_a_customers_decide_nothing(router, data) -> None:
    """Whoever answers a crisis uses its words."""
    router.handle(TicketCreated, **LOGIN)
    assert router.handle(TicketMessageAdded, **CRISIS, **data) == []


@pytest.mark.parametrize("event_class", [TicketReopened, TicketMessageAdded])
def test_reopening_after_seven_days_is_refused(router, event_class) -> None:
    """By a person or by a customer's message (L12)."""
    router.handle(TicketCreated, **LOGIN)
    router.handle(TicketResolved)
    data = {"author": CUSTOMER} if event_class is TicketMessageAdded else {}
    [refused] = router.handle(event_class, **data, occurred_at=AT + timedelta(days=7, seconds=1))
    assert (refused.clause, refused.reason_code) == ("L12", "reopened_too_late")
    assert router.ticket().resolved_at == AT


@pytest.mark.parametrize("event_class", [TicketReopened, TicketMessageAdded])
def test_reopening_within_seven_days_keeps_team_and_level(router, event_class) -> None:
    """L12."""
    router.handle(TicketCreated, **LOGIN)
    router.handle(TicketResolved)
    data = {"author": CUSTOMER} if event_class is TicketMessageAdded else {}
    assert router.handle(event_class, **data, occurred_at=AT + timedelta(days=7)) == []
    assert router.ticket().resolved_at is None


def test_a_crisis_on_a_long_resolved_ticket_is_routed_all_the_same(router) -> None:
    """L12 refuses no safety signal: the ticket is open again (S6)."""
    router.handle(TicketCreated, **LOGIN)
    router.handle(TicketResolved)
    events = router.handle(TicketMessageAdded, author=CUSTOMER, **CRISIS, occurred_at=AT + timedelta(days=30))
    assert names(events) == ["SafetyScreeningRequested", "RoutingAssigned"]
    assert router.ticket().is_open


def test_a_closed_ticket_still_hears_what_comes_later(router) -> None:
    """Recorded, and nothing is held back."""
    router.handle(TicketCreated, **LOGIN)
    assert router.handle(TicketClosed, reason="duplicate", into="T-0") == []
    assert router.ticket().closed_at == AT
    assert names(router.handle(TicketSignalsAdded, signals=["needs_code_fix"])) == ["RoutingEscalated"]


@pytest.mark.parametrize("order", list(permutations(["AB", "BC", "CA"])))
def test_merges_in_a_circle_end_with_people_and_an_open_ticket(router, order: tuple[str, ...]) -> None:
    """HD-30: in whatever order, the first by name stays open, and the closing of that one is what is refused (C3)."""
    for ticket_id in "ABC":
        router.handle(TicketCreated, ticket_id=ticket_id)
    said = []
    for ticket_id, into in order:
        said += router.handle(TicketClosed, ticket_id=ticket_id, reason="merged", into=into)
    [refused] = said
    assert isinstance(refused, RoutingRefused)
    assert (refused.ticket_id, refused.clause, refused.reason_code) == ("A", "C3", "merged_in_a_circle")
    assert [router.ticket(ticket_id).is_open for ticket_id in "ABC"] == [True, False, False]


def test_a_ticket_merged_into_itself_stays_open(router) -> None:
    """HD-30: the smallest circle."""
    router.handle(TicketCreated)
    [refused] = router.handle(TicketClosed, reason="merged", into="T-1")
    assert refused.reason_code == "merged_in_a_circle"
    assert router.ticket().is_open


def test_a_safety_ticket_is_not_closed(router) -> None:
    """S1."""
    router.handle(TicketCreated, category="safety")
    [refused] = router.handle(TicketClosed, reason="spam")
    assert (refused.clause, router.ticket().closed_at) == ("S1", None)


def only_what_may_be_said(assigned: RoutingAssigned) -> bool:
    said = assigned.model_dump(exclude={"ticket_id", "occurred_at", "emitted_at", "policy_version", "decision_id"})
    said = {name: value for name, value in said.items() if name not in ("classifier_version", "created_at", "replaces")}
    return said == {
        "clauses": ("S5",),
        "team": "safety",
        "level": 1,
        "owning_team": "safety",
        "also_notified": (),
        "assignee": None,
        "watchers": (),
        "category": "safety",
        "subcategory": None,
        "secondary": (),
        "alternatives": (),
        "suggestions": (),
        "related": (),
        "confidence": 1.0,
        "evidence": (),
        "upstream": None,
        "needs_triage": False,
        "restricted": True,
        "tier": "free",
    }


def test_a_ticket_of_the_safety_bridge_is_restricted_from_its_first_decision(router) -> None:
    """Category safety, subcategory null, Level 1, clause S5, nothing else, whatever its words (S9)."""
    [assigned] = router.handle(
        TicketCreated, source=SAFETY_BRIDGE, category="safety", **CRISIS, signals=["dmca_takedown"]
    )
    assert only_what_may_be_said(assigned)
    assert router.handle(TicketRestricted, source=SAFETY_BRIDGE) == []


def test_marking_a_ticket_hides_what_was_known(router) -> None:
    """S9: the safety bridge may mark any ticket."""
    router.handle(TicketCreated, **CRISIS, category="billing", signals=["report_submission"])
    [assigned] = router.handle(TicketRestricted, source=SAFETY_BRIDGE)
    assert only_what_may_be_said(assigned)
    assert assigned.replaces == "T-1:1"


def test_from_anyone_else_the_mark_is_ignored(router) -> None:
    """S9."""
    router.handle(TicketCreated, **LOGIN)
    assert router.handle(TicketRestricted) == []
    assert not router.ticket().restricted


@pytest.mark.parametrize(
    ("event_class", "data", "clause"),
    [
        (TicketSignalsAdded, {"signals": ["report_submission", "dmca_takedown"]}, None),
        (TicketMessageAdded, {"author": CUSTOMER, **CRISIS}, None),
        (TicketEscalationRequested, {"criterion": "report_submission"}, "S9"),
        (TicketReclassified, {"category": "safety", "subcategory": "crisis_detection"}, "S1"),
        (TicketDeescalationRequested, {"to_level": 1}, "S1"),
        (TicketClosed, {"reason": "spam"}, "S1"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_nothing_that_happens_later_shows_on_a_restricted_ticket(router, event_class, data, clause) -> None:
    """S5, S9."""
    router.handle(TicketCreated, source=SAFETY_BRIDGE)
    before = router.ticket()
    events = router.handle(event_class, **data)
    assert [refused.clause for refused in events] == ([clause] if clause else [])
    assert router.ticket() == before


def test_what_is_emitted_belongs_to_the_journey_of_its_cause(router) -> None:
    """Correlation, causation, and ids that a repetition repeats."""
    message = wire(TicketCreated, ticket_data("created"), id="e-77", correlation_id="j-1")
    emitted = router._deliver(message)
    assert [(one.key, one.correlation_id, one.causation_id) for one in emitted] == [("T-1", "j-1", "e-77")]


def test_every_decision_is_a_line_of_the_history(router) -> None:
    """R8: numbered, with the bytes that were announced; refusals are none."""
    router.handle(TicketCreated, **LOGIN)
    router.handle(TicketSignalsAdded, signals=["needs_code_fix"])
    router.handle(TicketEscalationRequested, criterion="please")
    router.handle(TicketDeescalationRequested, to_level=2)
    lines = router.unit.history
    assert [(line.number, line.wire_type.split(".")[4]) for line in lines] == [
        (1, "assigned"),
        (2, "escalated"),
        (3, "deescalated"),
    ]
    assert lines[0].document == router.unit.emitted[0].value


def test_a_reply_that_only_the_model_understands_is_routed_to_safety(router) -> None:
    """C4, S7: later words are read as closely as the first; the agent is asked to screen them."""
    router.handle(TicketCreated, **LOGIN)
    cry = "When the lights go out he lies down next to me and I hold my breath"
    screening, assigned = router.handle(TicketMessageAdded, author=CUSTOMER, body=cry)
    assert names([screening, assigned]) == ["SafetyScreeningRequested", "RoutingAssigned"]
    assert all(one.startswith("feature.") for one in screening.evidence)
    assert assigned.category == "safety"


def test_a_cry_opens_a_closed_ticket_again(router) -> None:
    """S6: closed as spam, it would be offered to nobody."""
    router.handle(TicketCreated, **LOGIN)
    router.handle(TicketClosed, reason="spam")
    assert names(router.handle(TicketMessageAdded, author=CUSTOMER, **CRISIS))[-1] == "RoutingAssigned"
    assert router.ticket().is_assignable


def test_a_crisis_is_not_made_a_report_that_may_wait_longer(router) -> None:
    """S1: an hour instead of five minutes is less, whoever says so."""
    router.handle(TicketCreated, **CRISIS)
    [refused] = router.handle(TicketReclassified, category="safety", subcategory="mandatory_reporting")
    assert refused.reason_code == "safety_stands"
