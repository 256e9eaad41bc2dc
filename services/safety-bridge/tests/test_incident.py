"""What is known of an incident only grows, in whatever order it is heard (S1, S2)."""

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from bridge_builders import FIELDS, KINDS, NOW, SIGNALS, after_all, heard, opened, said, taken
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from safety_bridge.domain import approvals, commands, deadlines, facts, signal
from safety_bridge.domain import incident as rules
from safety_bridge.domain.facts import Flag, Lowering
from safety_bridge.domain.identity import IncidentRef
from safety_bridge.domain.incident import Actor, Incident, Signal, absorb, merge
from safety_bridge.domain.tracks import Handling, ReportTrack
from shared.policy.model import Policy, Relaxation
from shared.vocabulary import IncidentClass, Severity

SAM = Actor("sam", "support")
SHUFFLES = 20
"""Of each set of signals."""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def what_must_not_depend_on_order(incident: Incident, policy: Policy) -> list[Any]:
    """Facts, tracks and clocks; not what was told when."""
    looked_at, _ = deadlines.look(incident, now=NOW, policy=policy)
    clocks = {(one.promise, one.incident_class, one.started_at, one.due_at, one.met_at) for one in looked_at.clocks}
    tracks = [incident.report_track, incident.guardian_track, incident.intervention_track, incident.severity_working]
    return [incident.facts, incident.facts.lowerings(policy), tracks, clocks]


@settings(max_examples=200, deadline=None)
@given(st.lists(SIGNALS, min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_any_order_with_any_repetition_ends_in_the_same_facts_tracks_and_clocks(
    policy: Policy, signals: list[Signal], random: Random
) -> None:
    """Invariants 3 and 12: in thousands of shuffles order and duplicates change nothing but epoch and pages (S1)."""
    told = what_must_not_depend_on_order(after_all(signals, policy), policy)
    for _ in range(SHUFFLES):
        shuffled = signals + random.choices(signals, k=4)
        random.shuffle(shuffled)
        assert what_must_not_depend_on_order(after_all(shuffled, policy), policy) == told


@given(st.lists(SIGNALS, min_size=2, max_size=6), st.booleans())
def test_nothing_known_ever_gets_less(policy: Policy, signals: list[Signal], is_taken: bool) -> None:
    """Invariants 8, 9, 10 and 14: severity and report rise, nothing leaves a set, times only tighten (S1)."""
    before = opened(signals[0], policy)
    before = taken(before, policy, *before.roles_missing(policy)) if is_taken else before
    for one in signals[1:]:
        before, _ = deadlines.look(before, now=NOW, policy=policy)
        after, _ = deadlines.look(merge(before, one, now=NOW, policy=policy), now=NOW, policy=policy)
        for name in ("severity", "report", "intervention", "guardian_contact", "failed_attempts"):
            assert getattr(after.facts, name) >= getattr(before.facts, name)
        for name in ("classes", "responses", "evidence", "categories", "flags", "report_failures"):
            assert getattr(after.facts, name) >= getattr(before.facts, name)
        assert after.severity_working >= before.severity_working
        assert after.facts.detected_at <= before.facts.detected_at
        assert (after.facts.preserve_until or NOW) >= (before.facts.preserve_until or after.facts.preserve_until or NOW)
        assert after.epoch >= before.epoch
        for earlier, later in zip(before.clocks, after.clocks, strict=False):
            assert later.due_at <= earlier.due_at
        before = after


def test_a_lower_word_is_remembered_for_two_persons_and_changes_nothing(policy: Policy) -> None:
    """SN-04, SN-22: severity, response, report and the whole matter taken back, by the agent's latest word (S1)."""
    first = heard(
        signal.REPORT_TRIGGERED,
        at=NOW - timedelta(minutes=1),
        severity="critical",
        responses=["parent_notification", "mandatory_reporting"],
    )
    later = heard(signal.INCIDENT_UPDATED, severity="high", responses=["mandatory_reporting"])
    not_needed = heard(signal.INCIDENT_UPDATED, severity="critical", report={"required": False})
    retracted = heard(signal.INCIDENT_RETRACTED, severity="critical")
    known = opened(first, policy)
    for word, lowering in (
        (later, {Lowering.SEVERITY, Lowering.RESPONSE}),
        (not_needed, {Lowering.REPORT}),
        (retracted, {Lowering.RETRACTED}),
    ):
        after = merge(known, word, now=NOW, policy=policy)
        assert after.facts.lowerings(policy) == lowering
        assert (after.severity_working, after.facts.responses, after.facts.report, after.epoch, after.next_page_at) == (
            known.severity_working,
            known.facts.responses,
            known.facts.report,
            known.epoch,
            known.next_page_at,
        )


def test_a_failed_attempt_counts_once_however_often_it_is_told(policy: Policy) -> None:
    """SN-18: by number where there is one, else by event (S3)."""
    numbered = [heard(signal.REPORT_FAILED, report={"attempt": number}, mark=f"e-{number}") for number in (2, 2, 1)]
    assert after_all(numbered[:1], policy).facts.failed_attempts == 2
    assert after_all(numbered, policy).facts.failed_attempts == 2
    assert (
        after_all([heard(signal.REPORT_FAILED, mark=mark) for mark in ("a", "b", "a")], policy).facts.failed_attempts
        == 2
    )


def test_of_too_many_references_those_kept_do_not_depend_on_order_and_the_rest_asks_again(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 3, SN-49: a document stays small, what it cannot hold is sealed and never passes for a repetition (S1)."""
    monkeypatch.setattr(facts, "MOST_KEPT", 3)
    signals = [
        heard(signal.REPORT_FAILED, mark=f"e-{n}", evidence_refs=[f"ev-{n}", f"ev-{n + 1}"], account_ref=f"a-{n}")
        for n in range(9)
    ]
    known = after_all(signals, policy)
    for seed in range(100):
        shuffled = Random(seed).choices(signals, k=5) + Random(seed).sample(signals, k=len(signals))
        assert after_all(shuffled, policy).facts == known.facts
    assert {len(known.facts.evidence), len(known.facts.accounts), known.facts.failed_attempts} == {3}
    known = taken(known, policy, "support", "legal_compliance")
    asked = approvals.propose(
        known, Relaxation.CLOSE_REPORT, epoch=known.epoch, reason="not_reportable", actor=SAM, now=NOW, policy=policy
    )
    after = merge(asked, heard(signal.REPORT_FAILED, mark="e-99"), now=NOW, policy=policy)
    assert (after.epoch, after.next_page_at, after.proposals) == (known.epoch + 1, NOW, ())


def test_one_event_can_name_more_than_one_subject(policy: Policy) -> None:
    """4.4 of the model: said once or twice, it is the same conflict (S5)."""
    two = heard(signal.CRISIS_DETECTED, subject_ref=["s-1", "s-2"])
    assert Flag.SUBJECT_CONFLICT in opened(two, policy).facts.flags
    assert after_all([two, two], policy) == opened(two, policy)


def test_more_than_one_subject_of_one_incident_is_a_conflict_whichever_came_first(policy: Policy) -> None:
    """4.4 of the model: no silent re-targeting; nobody can read who it is (S5)."""
    words = [heard(signal.CRISIS_DETECTED, subject_ref=one, account_ref="a-1") for one in ("s-1", "s-2")]
    for order in (words, words[::-1]):
        facts = after_all(order, policy).facts
        assert Flag.SUBJECT_CONFLICT in facts.flags
        assert "s-1" not in repr(facts)
    assert Flag.SUBJECT_CONFLICT not in after_all(words[:1] * 2, policy).facts.flags


def test_what_is_no_reference_is_not_kept(policy: Policy) -> None:
    """SN-23: an address in a reference is flagged, and the incident opens all the same (S5)."""
    facts = opened(heard(signal.CRISIS_DETECTED, evidence_refs=["ev-1", "kid@example.org"]), policy).facts
    assert (len(facts.evidence), Flag.REFERENCE_UNFIT in facts.flags) == (1, True)


def test_two_bodies_of_one_event_end_alike_in_either_order(policy: Policy) -> None:
    """SN-54, invariant 4: the higher severity stands, the lower body lowers and proposes nothing (S1)."""
    high, low = (heard(signal.MODERATION_CONCERN, severity=one) for one in ("high", "low"))
    for first, second in ((high, low), (low, high)):
        facts = merge(opened(first, policy), signal.conflicting(second), now=NOW, policy=policy).facts
        assert facts == high.facts.joined(low.facts).joined(signal.conflicting(low).facts).at_least_the_floor(policy)
        assert (facts.severity, facts.lowerings(policy)) == (Severity.HIGH, frozenset())


def closed_incident(policy: Policy) -> Incident:
    incident = opened(heard(signal.PRIVACY_CONCERN, at=NOW - timedelta(seconds=1), severity="medium"), policy)
    incident = taken(incident, policy, "support")
    at = {"epoch": 1, "now": NOW, "policy": policy}
    incident = commands.coordinate(incident, counterpart="safety_team-1", **at)
    for item in sorted(incident.checklist(policy)):
        incident = commands.progress(incident, kind=item, **at)
    assert incident.handling is Handling.FOLLOW_UP
    return commands.close(incident, epoch=1, disposition="resolved", policy=policy)


@pytest.mark.parametrize(
    ("kind", "said", "reopens"),
    [
        (signal.PRIVACY_CONCERN, {"severity": "medium"}, False),
        (signal.INCIDENT_UPDATED, {"severity": "low"}, True),
        (signal.PRIVACY_CONCERN, {"severity": "medium", "evidence_refs": ["ev-9"]}, True),
        (signal.CRISIS_DETECTED, {}, True),
    ],
    ids=["the same again", "a lower word", "evidence", "worse news"],
)
def test_news_of_a_closed_incident_reopens_it_and_a_repetition_does_not(
    policy: Policy, kind: signal.Kind, said: dict[str, Any], reopens: bool
) -> None:
    """4.4 of the model: never a new silent incident, never a swallowed event (S4)."""
    closed = closed_incident(policy)
    later = NOW + timedelta(hours=1)
    after = merge(closed, heard(kind, **said), now=later, policy=policy)
    assert (after.handling is Handling.PAGING, after.epoch) == (reopens, 2 if reopens else 1)
    assert (after.disposition is None, after.done == frozenset()) == (reopens, reopens)


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
    assert Flag.TIME_CLAMPED in facts.flags


def test_the_time_of_an_event_is_clamped_wherever_it_counts(policy: Policy) -> None:
    """SN-35, invariant 10: a broker's clock that is ahead lets no hand-off, receipt or confirmation wait for it (L13)."""
    ahead = NOW + timedelta(hours=2)
    handed_off = heard(signal.INTERVENTION_HANDED_OFF, at=ahead).facts
    accepted = heard(signal.REPORT_ACCEPTED, at=ahead).facts
    confirmed = heard(signal.INTERVENTION_CONFIRMED, at=ahead).facts
    assert (handed_off.handed_off_at, accepted.accepted_at, confirmed.confirmed_at) == (NOW, NOW, NOW)
    assert Flag.TIME_CLAMPED in handed_off.flags


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
        after = merge(before, heard(signal.CRISIS_DETECTED, severity=severity), now=NOW, policy=policy)
        assert replace(after, facts=before.facts) == before


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
        with pytest.raises(commands.RoleNotRequired):
            taken(incident, policy, role)


def test_an_acknowledgement_counts_for_the_epoch_it_names_alone(policy: Policy) -> None:
    """SN-06, invariant 18: what was seen is what is taken (S4)."""
    risen = after_all([heard(signal.PRIVACY_CONCERN, severity="high"), heard(signal.CRISIS_DETECTED)], policy)
    for epoch in (risen.epoch - 1, risen.epoch + 1):
        with pytest.raises(rules.EpochHasPassed):
            commands.acknowledge(risen, epoch=epoch, actor=SAM, now=NOW, policy=policy)


def test_a_person_raises_and_never_lowers(policy: Policy) -> None:
    """S1: raising needs nobody's consent, lowering is no command at all."""
    incident = taken(opened(heard(signal.MODERATION_CONCERN, severity="high"), policy), policy, "support")
    known = {"epoch": 1, "response": None, "now": NOW, "policy": policy}
    worse = commands.raise_by_person(incident, severity=Severity.CRITICAL, incident_class=None, **known)
    wider = commands.raise_by_person(incident, severity=None, incident_class=IncidentClass.MANDATORY_REPORT, **known)
    same = commands.raise_by_person(incident, severity=Severity.HIGH, incident_class=None, **known)
    assert (worse.epoch, worse.severity_working) == (2, Severity.CRITICAL)
    assert (wider.epoch, wider.roles_missing(policy)) == (2, {"support", "legal_compliance"})
    assert same == incident
    with pytest.raises(commands.SeverityNeverFalls):
        commands.raise_by_person(incident, severity=Severity.LOW, incident_class=None, **known)


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
