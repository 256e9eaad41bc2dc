"""What is known of an incident only grows, in whatever order it is heard (S1, S2)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from safety_bridge.domain import incident as rules
from safety_bridge.domain import signal
from safety_bridge.domain.identity import IncidentRef, Mode
from safety_bridge.domain.incident import (
    Incident,
    ReportTrack,
    Signal,
    absorb,
    acknowledge,
    merge,
    open_incident,
)
from shared.policy.model import Policy
from shared.vocabulary import IncidentClass, Response, Severity

NOW = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
FIELDS = (
    "agent_incident_id",
    "ticket_ref",
    "ticket_id",
    "mode",
    "severity",
    "incident_class",
    "responses",
    "detected_at",
    "report",
    "guardian_contact",
)
KINDS = (
    signal.CRISIS_DETECTED,
    signal.REPORT_TRIGGERED,
    signal.REPORT_GENERATED,
    signal.REPORT_SUBMITTED,
    signal.REPORT_ACCEPTED,
    signal.REPORT_FAILED,
    signal.MODERATION_CONCERN,
    signal.PRIVACY_CONCERN,
    signal.COPPA_CONCERN,
    signal.INCIDENT_UPDATED,
)


def said(**fields: Any) -> Any:
    return SimpleNamespace(**(dict.fromkeys(FIELDS) | fields))


def heard(kind: signal.Kind, **fields: Any) -> Signal:
    return signal.understand(said(**fields), kind, occurred_at=NOW, received_at=NOW, is_clamped=False)


def opened(first: Signal, policy: Policy) -> Incident:
    return open_incident(
        IncidentRef("SI-00000000"), Mode.LIVE, first, ticket_id=None, is_born_of_ticket=False, now=NOW, policy=policy
    )


def after_all(signals: list[Signal], policy: Policy) -> Incident:
    incident = opened(signals[0], policy)
    for one in signals[1:]:
        incident = merge(incident, one, now=NOW, policy=policy)
    return incident


def taken(incident: Incident, policy: Policy, *roles: str) -> Incident:
    for role in roles:
        incident = acknowledge(incident, epoch=incident.epoch, role=role, actor_id="a-1", now=NOW, policy=policy)
    return incident


SIGNALS = st.builds(
    heard,
    st.sampled_from(KINDS),
    severity=st.sampled_from(["low", "medium", " High", "CRITICAL ", "urgent", 4, None]),
    incident_class=st.sampled_from([None, "crisis", "coppa", "?"]),
    responses=st.none() | st.lists(st.sampled_from([*Response, "dance", 1]), max_size=3),
    detected_at=st.none()
    | st.integers(-9000, 9000).map(lambda seconds: (NOW + timedelta(seconds=seconds)).isoformat())
    | st.just("yesterday"),
    report=st.none()
    | st.fixed_dictionaries(
        {}, optional={"required": st.booleans(), "state": st.sampled_from(["accepted", "generated", "?"])}
    ),
    guardian_contact=st.sampled_from([None, "allowed", "prohibited", "perhaps"]),
    agent_incident_id=st.sampled_from([None, "A-1", "A-2", 7]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.data(), st.lists(SIGNALS, min_size=1, max_size=6))
def test_any_order_with_any_repetition_ends_in_the_same_facts(
    policy: Policy, data: st.DataObject, signals: list[Signal]
) -> None:
    """Invariant 3: order and duplicates change nothing but epoch and pages (S1)."""
    shuffled = data.draw(st.permutations(signals + data.draw(st.lists(st.sampled_from(signals), max_size=4))))
    assert after_all(list(shuffled), policy).facts == after_all(signals, policy).facts


@given(st.lists(SIGNALS, min_size=2, max_size=6))
def test_nothing_known_ever_gets_less(policy: Policy, signals: list[Signal]) -> None:
    """Invariants 8, 9 and 10: severity and report rise, classes and responses stay, times only tighten (S1)."""
    before = opened(signals[0], policy)
    for one in signals[1:]:
        after = merge(before, one, now=NOW, policy=policy)
        assert after.facts.severity >= before.facts.severity
        assert after.facts.report >= before.facts.report
        assert after.facts.guardian_contact >= before.facts.guardian_contact
        assert after.facts.classes >= before.facts.classes
        assert after.facts.responses >= before.facts.responses
        assert after.facts.detected_at <= before.facts.detected_at
        assert after.epoch >= before.epoch
        before = after


@given(st.sampled_from(KINDS), st.fixed_dictionaries(dict.fromkeys(FIELDS, JSON)))
def test_no_value_in_any_field_is_a_reason_to_refuse(policy: Policy, kind: signal.Kind, fields: dict[str, Any]) -> None:
    """Invariants 5 and 12: whatever stands there has a safe meaning, and never `low` by itself (S2, S6)."""
    understood = heard(kind, **fields)
    assert signal.identities_of(said(**fields), source="/agent", event_id="e-1")
    assert understood.facts.detected_at <= NOW
    assert understood.facts.severity > Severity.LOW or fields["severity"].strip().casefold() == "low"
    assert opened(understood, policy)


@pytest.mark.parametrize(
    ("kind", "severity", "meant"),
    [
        (signal.CRISIS_DETECTED, "CRITICAL ", Severity.CRITICAL),
        (signal.PRIVACY_CONCERN, " Medium", Severity.MEDIUM),
        (signal.CRISIS_DETECTED, "urgent", Severity.CRITICAL),
        (signal.REPORT_TRIGGERED, None, Severity.CRITICAL),
        (signal.MODERATION_CONCERN, 4, Severity.HIGH),
        (signal.INCIDENT_UPDATED, None, Severity.HIGH),
        (signal.PRIVACY_CONCERN, "low", Severity.LOW),
    ],
)
def test_a_known_severity_counts_and_any_other_has_a_safe_default(
    kind: signal.Kind, severity: Any, meant: Severity
) -> None:
    """SN-53, S2."""
    assert heard(kind, severity=severity).facts.severity is meant


@pytest.mark.parametrize(
    ("kinds", "floor"),
    [
        ([signal.CRISIS_DETECTED], Severity.HIGH),
        ([signal.REPORT_TRIGGERED], Severity.HIGH),
        ([signal.CRISIS_DETECTED, signal.REPORT_TRIGGERED], Severity.CRITICAL),
        ([signal.COPPA_CONCERN], Severity.LOW),
    ],
)
def test_a_class_has_a_floor_below_which_no_word_puts_it(
    policy: Policy, kinds: list[signal.Kind], floor: Severity
) -> None:
    """S2: crisis and mandatory report are at least high, together critical."""
    assert after_all([heard(kind, severity="low") for kind in kinds], policy).severity_working is floor


def test_a_report_told_backwards_is_accepted_since_its_first_day(policy: Policy) -> None:
    """SN-03: the later word wins, the oldest time counts, support is still asked to acknowledge (S3, S4)."""
    early = (NOW - timedelta(minutes=50)).isoformat()
    incident = after_all(
        [
            heard(signal.REPORT_ACCEPTED, severity="high"),
            heard(signal.REPORT_SUBMITTED, severity="high"),
            heard(signal.REPORT_TRIGGERED, severity="high", detected_at=early),
        ],
        policy,
    )
    assert incident.facts.report is ReportTrack.ACCEPTED
    assert incident.facts.detected_at == NOW - timedelta(minutes=50)
    assert incident.epoch == 1
    assert "support" in incident.roles_missing(policy)


def test_a_time_in_the_future_is_clamped_and_flagged() -> None:
    """SN-35, L13: a wrong clock can only tighten."""
    facts = heard(signal.CRISIS_DETECTED, detected_at=(NOW + timedelta(hours=2)).isoformat()).facts
    assert facts.detected_at == NOW
    assert rules.Flag.TIME_CLAMPED in facts.flags


def test_a_guardian_is_told_only_where_it_is_expressly_allowed(policy: Policy) -> None:
    """Silence means held, and once held it stays so (S5)."""
    wanted = {"responses": ["parent_notification"]}
    allowed = opened(heard(signal.CRISIS_DETECTED, **wanted, guardian_contact="allowed"), policy)
    assert allowed.guardian_track == "planned"
    later = merge(allowed, heard(signal.INCIDENT_UPDATED), now=NOW, policy=policy)
    assert later.guardian_track == "held"


@pytest.mark.parametrize(
    ("kind", "worse", "said"),
    [
        (signal.MODERATION_CONCERN, signal.INCIDENT_UPDATED, {"severity": "critical"}),
        (signal.MODERATION_CONCERN, signal.CRISIS_DETECTED, {}),
        (signal.CRISIS_DETECTED, signal.INCIDENT_UPDATED, {"report": {"required": True}}),
        (signal.CRISIS_DETECTED, signal.INCIDENT_UPDATED, {"responses": ["mandatory_reporting"]}),
        (signal.REPORT_SUBMITTED, signal.REPORT_FAILED, {}),
    ],
    ids=["severity", "class", "report", "response", "failed attempt"],
)
def test_worse_news_after_an_acknowledgement_begins_a_new_epoch(
    policy: Policy, kind: signal.Kind, worse: signal.Kind, said: dict[str, Any]
) -> None:
    """SN-05, invariant 20: who took it took less than it is now (S4)."""
    before = opened(heard(kind, severity="high"), policy)
    before = taken(before, policy, *before.roles_missing(policy))
    then = heard(worse, **{"severity": "high"} | said)
    assert before.next_page_at is None
    after = merge(before, then, now=NOW, policy=policy)
    assert (after.epoch, after.next_page_at) == (2, NOW)
    assert after.roles_missing(policy)


def test_an_equal_or_lower_word_after_an_acknowledgement_asks_nobody(policy: Policy) -> None:
    """Invariant 20, SN-04: nothing is lowered, nobody is paged (S1)."""
    before = taken(opened(heard(signal.CRISIS_DETECTED, severity="critical"), policy), policy, "support")
    for severity in ("critical", "low"):
        assert merge(before, heard(signal.CRISIS_DETECTED, severity=severity), now=NOW, policy=policy) == before


def test_a_mandatory_report_is_taken_by_support_and_by_legal(policy: Policy) -> None:
    """S4: until the last of them acknowledges, paging goes on."""
    incident = opened(heard(signal.REPORT_TRIGGERED), policy)
    by_support = taken(incident, policy, "secondary")
    assert by_support.roles_missing(policy) == {"legal_compliance"}
    assert by_support.next_page_at is not None
    assert taken(by_support, policy, "legal_compliance").next_page_at is None


def test_who_does_not_stand_for_a_needed_role_cannot_end_paging(policy: Policy) -> None:
    """Invariant 18, S4."""
    incident = opened(heard(signal.CRISIS_DETECTED), policy)
    for role in ("safety_team", "legal_compliance", "janitor"):
        with pytest.raises(rules.RoleNotRequired):
            taken(incident, policy, role)


def test_an_acknowledgement_counts_for_the_epoch_it_names_alone(policy: Policy) -> None:
    """SN-06, invariant 18: what was seen is what is taken (S4)."""
    risen = after_all([heard(signal.PRIVACY_CONCERN, severity="high"), heard(signal.CRISIS_DETECTED)], policy)
    for epoch in (risen.epoch - 1, risen.epoch + 1):
        with pytest.raises(rules.EpochHasPassed):
            acknowledge(risen, epoch=epoch, role="support", actor_id="a-1", now=NOW, policy=policy)


def test_a_person_raises_and_never_lowers(policy: Policy) -> None:
    """S1: raising needs nobody's consent, lowering is no command at all."""
    incident = taken(opened(heard(signal.MODERATION_CONCERN, severity="high"), policy), policy, "support")
    known = {"epoch": 1, "now": NOW, "policy": policy}
    worse = rules.raise_by_person(incident, severity=Severity.CRITICAL, incident_class=None, **known)
    wider = rules.raise_by_person(incident, severity=None, incident_class=IncidentClass.MANDATORY_REPORT, **known)
    same = rules.raise_by_person(incident, severity=Severity.HIGH, incident_class=None, **known)
    assert (worse.epoch, worse.severity_working) == (2, Severity.CRITICAL)
    assert (wider.epoch, wider.roles_missing(policy)) == (2, {"support", "legal_compliance"})
    assert same == incident
    with pytest.raises(rules.SeverityNeverFalls):
        rules.raise_by_person(incident, severity=Severity.LOW, incident_class=None, **known)


def test_two_incidents_that_are_one_matter_page_anew_on_one_lane(policy: Policy) -> None:
    """S8: no acknowledgement of one half passes for the whole."""
    mine = replace(
        opened(heard(signal.CRISIS_DETECTED, severity="high"), policy), ref=IncidentRef("SI-00000001"), epoch=4
    )
    of_ticket = taken(opened(heard(signal.MODERATION_CONCERN, severity="high"), policy), policy, "support")
    whole, gone = absorb(of_ticket, mine, now=NOW, policy=policy)
    assert (whole.epoch, whole.next_page_at, whole.facts) == (5, NOW, mine.facts.joined(of_ticket.facts))
    assert (gone.continues_in, gone.next_page_at, gone.handling_track) == (whole.ref, None, "merged")
    with pytest.raises(rules.ContinuesElsewhere):
        taken(gone, policy, "support")


@given(st.lists(SIGNALS, min_size=1, max_size=3))
def test_an_incident_comes_back_from_storage_as_it_went(policy: Policy, signals: list[Signal]) -> None:
    document = TypeAdapter(Incident)
    incident = taken(after_all(signals, policy), policy, "support")
    assert document.validate_json(document.dump_json(incident)) == incident


def test_the_repr_of_an_incident_names_no_id_of_the_agents(policy: Policy) -> None:
    """What reaches a log by accident says reference, epoch and severity (S5)."""
    assert (
        repr(opened(heard(signal.CRISIS_DETECTED, agent_incident_id="A-1"), policy))
        == "<Incident SI-00000000 epoch 1 critical>"
    )
