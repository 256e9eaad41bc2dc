"""The log played once more: what it leads to, in which order, and what counts as the same result. Records made by hand."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from router.app import SUBSCRIPTIONS, shipped_parameters
from router.domain.classification import Classifier
from router.domain.model import Model
from router.handlers.rehearsal import Rehearsal, differences, in_order, without_assignments
from router.handlers.tickets import assign_to
from shared.events.envelope import Event, Record, source_of
from shared.events.sla import SlaBreached
from shared.events.ticket import TicketCreated, TicketMessageAdded, TicketSignalsAdded, TicketTierChanged
from shared.policy.model import Policy
from shared.testing.builders import AT, record, ticket_data

BREACHED = {
    "ticket_id": "T-1",
    "clauses": ["L14"],
    "policy_version": "test",
    "milestone": "escalation",
    "cycle": 1,
    "level": 1,
    "target": {"amount": 7, "unit": "business_days"},
    "state": "breached",
    "elapsed_share": 1.0,
    "calendar": "test",
} | {name: AT.isoformat() for name in ("occurred_at", "emitted_at", "started_at", "due_at")}
DISPUTE = {"category": "ip_attribution", "subcategory": "false_positive", "ip": {"id": "IP-1"}}


def fact(event_class: type[Event], minute: int, ticket_id: str = "T-1", **data: Any) -> Record:
    """A record of the ticket topic, written so many minutes after the first."""
    name = event_class.wire_type.rsplit(".", 2)[1]
    at = AT + timedelta(minutes=minute)
    return record(event_class, ticket_data(name, ticket_id, **data), event_id=f"e-{minute}", at=at, offset=minute)


def breach(minute: int) -> Record:
    at = AT + timedelta(minutes=minute)
    return record(SlaBreached, BREACHED, event_id=f"e-{minute}", source=source_of("sla-monitor"), at=at)


OPENED = fact(TicketCreated, 1, category="technical")
RAISED = fact(TicketSignalsAdded, 2, signals=["needs_code_fix"])
AT_ENTRY = ("assigned", "customer_service", 1, ["C2", "R2"])
AT_ENGINEERING = ("escalated", "engineering", 3, ["C2", "E1"])
LOGS = {
    "a ticket and a signal": ([OPENED, RAISED], [AT_ENTRY, AT_ENGINEERING]),
    "everything twice": (
        [replace(one, offset=number) for number, one in enumerate([OPENED, OPENED, RAISED, RAISED])],
        [AT_ENTRY, AT_ENGINEERING],
    ),
    "an event before its ticket": (
        [fact(TicketSignalsAdded, 0, signals=["needs_code_fix"]), OPENED],
        [AT_ENTRY, AT_ENGINEERING],
    ),
    "a second created under another id": ([OPENED, fact(TicketCreated, 2, category="billing")], [AT_ENTRY]),
    "the escalation clock": ([breach(2), OPENED], [AT_ENTRY, ("escalated", "technical_support", 2, ["C2", "E9"])]),
    "what cannot be read": ([replace(OPENED, value=b"{", offset=0), OPENED, replace(RAISED, headers=())], [AT_ENTRY]),
    "two disputes of one property": (
        [fact(TicketCreated, 1, **DISPUTE), fact(TicketCreated, 2, "T-2", requester={"id": "u-2"}, **DISPUTE)],
        [("assigned", "content", 2, ["C2", "R4"]), ("escalated", "legal", 3, ["C2", "R4", "E2"])],
    ),
    "two disputes of one person": (
        [fact(TicketCreated, 1, **DISPUTE), fact(TicketCreated, 2, "T-2", **DISPUTE)],
        [("assigned", "content", 2, ["C2", "R4"])],
    ),
}


def played(records: list[Record], classifier: Classifier) -> Rehearsal:
    rehearsal = Rehearsal(SUBSCRIPTIONS, classifier, AT)
    rehearsal.play(records)
    return rehearsal


def decisions_of(unit) -> list[dict[str, Any]]:
    return [{"type": entry.wire_type, **orjson.loads(entry.document)} for entry in unit.history]


def told(decision: Mapping[str, Any]) -> tuple[Any, ...]:
    level = decision.get("level", decision.get("to_level"))
    return decision["type"].rsplit(".", 2)[1], decision["team"], level, decision["clauses"]


def drafted(policy: Policy, change) -> Classifier:
    """A classifier by a policy whose document was changed."""
    document = policy.model_dump(mode="json")
    change(document)
    return Classifier(Policy.model_validate(document), Model(shipped_parameters()))


@pytest.mark.parametrize(("records", "expected"), LOGS.values(), ids=list(LOGS))
def test_the_log_leads_to_the_decisions_of_the_policy(records, expected, classifier: Classifier) -> None:
    """R8: a repetition changes nothing, and what comes before its ticket is handled right after it (L13)."""
    assert [told(one) for one in played(records, classifier).decisions("T-1")] == expected


@pytest.mark.parametrize(("records", "expected"), LOGS.values(), ids=list(LOGS))
def test_the_log_leads_to_the_same_every_time(records, expected, classifier: Classifier) -> None:
    """R8: no field but the moment depends on when it is played."""
    again = Rehearsal(SUBSCRIPTIONS, classifier, AT + timedelta(days=400))
    again.play(records)
    assert differences(played(records, classifier).decisions("T-1"), again.decisions("T-1")) == []


def test_what_is_played_is_what_was_decided(router, classifier: Classifier) -> None:
    """R8: the decisions of the log are those of the handlers, field by field."""
    router.handle(TicketCreated, category="technical", occurred_at=AT + timedelta(minutes=1))
    router.handle(TicketSignalsAdded, signals=["needs_code_fix"], occurred_at=AT + timedelta(minutes=2))
    recorded = decisions_of(router.unit)
    assert differences(recorded, played([OPENED, RAISED], classifier).decisions("T-1")) == []


def test_each_dispute_names_the_other(classifier: Classifier) -> None:
    """E2: raised once, each naming the others."""
    rehearsal = played(LOGS["two disputes of one property"][0], classifier)
    assert [rehearsal.decisions(ticket_id)[-1]["related"] for ticket_id in ("T-1", "T-2")] == [["T-2"], ["T-1"]]


def test_of_an_unknown_ticket_nothing_is_played(classifier: Classifier) -> None:
    """L13: an event without its ticket waits and decides nothing."""
    rehearsal = played([RAISED], classifier)
    assert (rehearsal.decisions("T-1"), rehearsal.placement("T-1")) == ([], None)


def placed_record(partition: int, offset: int, minute: int) -> Record:
    return Record("t", partition, offset, AT + timedelta(minutes=minute), b"", b"", ())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([(0, 0, 3), (1, 0, 1), (1, 1, 5)], [(1, 0), (0, 0), (1, 1)], id="by time between partitions"),
        pytest.param([(0, 1, 1), (0, 0, 9)], [(0, 0), (0, 1)], id="by offset inside one, though its clock ran back"),
        pytest.param([(0, 0, 9), (0, 1, 1), (1, 0, 5)], [(1, 0), (0, 0), (0, 1)], id="with the latest time seen"),
        pytest.param([], [], id="none"),
    ],
)
def test_records_are_played_in_the_order_of_writing(given, expected) -> None:
    """Never against the order of a partition (L13)."""
    for records in itertools.permutations(placed_record(*one) for one in given):
        assert [(one.partition, one.offset) for one in in_order(records)] == expected


TAMPERED = {
    "another category": (0, {"category": "account"}, "1.category"),
    "another tier": (0, {"tier": "premium"}, "1.tier"),
    "another signal": (1, {"signals": ["needs_configuration_change"]}, "2.to_level"),
    "a signal that says nothing": (1, {"signals": []}, "decisions"),
}


@pytest.mark.parametrize(("number", "data", "field"), TAMPERED.values(), ids=list(TAMPERED))
def test_a_tampered_record_is_a_difference(number: int, data, field: str, classifier: Classifier) -> None:
    """R8: what was recorded does not follow from another log, and the field says where."""
    records = [OPENED, RAISED]
    recorded = played(records, classifier).decisions("T-1")
    value = orjson.dumps(orjson.loads(records[number].value) | data)
    records[number] = replace(records[number], value=value)
    assert field in differences(recorded, played(records, classifier).decisions("T-1"))


def test_another_model_is_a_difference(policy: Policy, classifier: Classifier) -> None:
    """R8: the classifier's version is part of the decision (C3)."""
    other = Classifier(policy, Model(replace(shipped_parameters(), version="another")))
    recorded = played([OPENED], classifier).decisions("T-1")
    assert differences(recorded, played([OPENED], other).decisions("T-1")) == ["1.classifier_version"]


def test_another_policy_is_a_difference(policy: Policy, classifier: Classifier) -> None:
    """R8: the policy version is part of every decision."""
    other = drafted(policy, lambda document: document["clocks"].update(reopen_within_days=8))
    recorded = played([OPENED, RAISED], classifier).decisions("T-1")
    found = differences(recorded, played([OPENED, RAISED], other).decisions("T-1"))
    assert found == ["1.policy_version", "2.policy_version"]


ASSIGNMENTS = {
    "after the first decision": [],
    "after a rise": [(TicketSignalsAdded, {"signals": ["needs_code_fix"]})],
    "after a change of tier": [(TicketTierChanged, {"tier": "premium"})],
    "after a signal that changes nothing": [(TicketSignalsAdded, {"signals": ["complex_billing"]})],
}


@pytest.mark.parametrize("events", ASSIGNMENTS.values(), ids=list(ASSIGNMENTS))
def test_who_took_a_ticket_is_not_recomputed(router, events) -> None:
    """R8: an assignment to a member leaves the ticket where the log put it."""
    router.handle(TicketCreated, category="technical")
    for event_class, data in events:
        router.handle(event_class, **data)
    before = decisions_of(router.unit)
    assign_to(router.ticket(), "a-1", router.unit, seed="first")
    assign_to(router.ticket(), "a-2", router.unit, seed="second")
    after = decisions_of(router.unit)
    assert len(after) == len(before) + 2
    assert without_assignments(after) == without_assignments(before)


def test_who_took_a_ticket_under_a_newer_policy_is_not_recomputed(router, policy: Policy) -> None:
    """R8: a policy that names members reaches the tickets that wait for one."""
    router.handle(TicketCreated, category="technical")
    before = decisions_of(router.unit)
    router.unit.policy = drafted(policy, lambda document: document["clocks"].update(reopen_within_days=8)).policy
    assign_to(router.ticket(), "a-1", router.unit, seed="first")
    assert without_assignments(decisions_of(router.unit)) == without_assignments(before)


def test_a_decision_between_two_assignments_is_recomputed(router) -> None:
    """R8: a rise is decided by the log, whoever has the ticket."""
    router.handle(TicketCreated, category="technical")
    assign_to(router.ticket(), "a-1", router.unit, seed="first")
    router.handle(TicketSignalsAdded, signals=["needs_code_fix"])
    assign_to(router.ticket(), "a-2", router.unit, seed="second")
    assert [told(one) for one in without_assignments(decisions_of(router.unit))] == [AT_ENTRY, AT_ENGINEERING]


def to_level_3(document: dict[str, Any]) -> None:
    rows = document["escalation"]["rows"]["billing"]["to_level"]
    rows["2"].remove("complex_billing")
    rows["3"].append("complex_billing")


def only_certain_billing(document: dict[str, Any]) -> None:
    document["classification"]["triage_below"]["billing"] = 0.99


DRAFTS = {
    "a criterion at another level": (to_level_3, {"T-2"}),
    "triage below 0.99": (only_certain_billing, {"T-3"}),
    "nothing": (lambda document: None, set()),
}


@pytest.mark.parametrize(("change", "moved"), DRAFTS.values(), ids=list(DRAFTS))
def test_a_draft_moves_exactly_the_tickets_it_is_about(change, moved, policy: Policy, classifier: Classifier) -> None:
    """C3, E0: a ticket with a given category, one with a criterion, one that only its words place, one of another row."""
    records = [
        fact(TicketCreated, 1, "T-1", category="billing"),
        fact(TicketCreated, 2, "T-2", category="billing", signals=["complex_billing"]),
        fact(TicketCreated, 3, "T-3", subject="Invoice", body="I need an invoice"),
        fact(TicketCreated, 4, "T-4", category="technical", signals=["needs_code_fix"]),
        fact(TicketMessageAdded, 5, "T-4"),
    ]
    was, now = played(records, classifier), played(records, drafted(policy, change))
    tickets = [f"T-{number}" for number in range(1, 5)]
    assert {one for one in tickets if not was.placement(one).equals(now.placement(one))} == moved


ROUND_TRIPS = {
    "the one that ships": {},
    "with famous names": {"escalation": {"high_profile_ips": ["Elsa", "Bluey", "Peppa", "Mickey", "Totoro"]}},
    "with members": {
        "routing": {
            "members": {
                "finance": [
                    {
                        "id": "a-1",
                        "capacity": 3,
                        "works": {"zone": "Europe/Rome", "opening_hours": {"monday": ["22:00-06:00"]}},
                    }
                ]
            }
        }
    },
    "with special days": {
        "clocks": {
            "calendar": {"closed_days": {"2026-12-24": "Eve"}, "special_days": {"2026-12-31": ["09:00-24:00"]}},
            "targets": {"enterprise": {"initial_response": "90 minutes"}},
        }
    },
}


def merged(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    found = {
        name: merged(document[name], change)
        if isinstance(change, dict) and isinstance(document.get(name), dict)
        else change
        for name, change in changes.items()
    }
    return document | found


@pytest.mark.parametrize("changes", ROUND_TRIPS.values(), ids=list(ROUND_TRIPS))
def test_a_policy_keeps_its_version_through_json(changes, policy: Policy) -> None:
    """R8: a decision is recomputed by the very policy whose version it names."""
    given = Policy.model_validate(merged(policy.model_dump(mode="json"), changes))
    kept = Policy.model_validate_json(given.model_dump_json())
    assert (kept, kept.version) == (given, given.version)
    assert Policy.model_validate(given.model_dump(mode="json")).version == given.version


def test_a_policy_has_one_version_however_its_names_are_listed(policy: Policy) -> None:
    """R8: a set has no order, so neither the file's nor the process's counts."""
    names = ["Elsa", "Bluey", "Peppa", "Mickey"]
    documents = [
        merged(policy.model_dump(mode="json"), {"escalation": {"high_profile_ips": list(order)}})
        for order in itertools.permutations(names)
    ]
    assert len({Policy.model_validate(document).version for document in documents}) == 1
