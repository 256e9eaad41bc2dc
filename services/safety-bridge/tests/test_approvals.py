"""What nobody decides alone (S1)."""

import json
from typing import Any

import pytest

from safety_bridge import commands
from safety_bridge.domain import approvals
from safety_bridge.domain.commands import RoleNotHeld
from safety_bridge.domain.incident import AlreadyClosed, EpochHasPassed
from safety_bridge.domain.tracks import GuardianTrack, Handling
from shared.events import agent
from shared.events.envelope import Outgoing
from shared.policy.model import Policy, Relaxation
from shared.vocabulary import Severity

CRISIS = {"agent_incident_id": "A-1", "severity": "critical"}
EVERYTHING = CRISIS | {
    "responses": ["parent_notification", "mandatory_reporting", "crisis_intervention"],
    "intervention": {"state": "started"},
}
RELAXATIONS = {
    Relaxation.LOWER_SEVERITY: {"reason": "reassessed_by_safety_team", "severity": Severity.MEDIUM},
    Relaxation.RELEASE_GUARDIAN: {"reason": "guardian_found_safe"},
    Relaxation.SUPPRESS_GUARDIAN: {"reason": "no_guardian"},
    Relaxation.CLOSE_REPORT: {"reason": "not_reportable"},
    Relaxation.END_INTERVENTION: {"reason": "person_not_reachable"},
}
"""Each with what proposes it; closing needs all else to be done and is tested by itself."""
LEGAL = ("legal_compliance-2", "legal_compliance")
SAFETY = ("safety_team-1", "safety_team")


def facts_of(emitted: list[Outgoing]) -> list[str]:
    return [one.wire_type.rsplit(".", 2)[1] for one in emitted]


def state_of(bridge: Any) -> list[Any]:
    """All that a relaxation could relax."""
    one = bridge.incident()
    tracks = [one.handling_track, one.report_track, one.guardian_track, one.intervention_track]
    return [one.severity_working, one.facts.severity, tracks, one.disposition]


async def proposed(bridge: Any, relaxation: Relaxation) -> str:
    """Support has taken the incident and proposes; answers the snapshot."""
    await bridge.hear(agent.SafetyCrisisDetected, EVERYTHING)
    await bridge.acknowledge()
    await bridge.acknowledge("legal_compliance")
    await bridge.do(commands.propose, "primary-2", "primary", relaxation, **RELAXATIONS[relaxation])
    snapshot: str = approvals.proposal_of(bridge.incident(), relaxation).snapshot
    return snapshot


@pytest.mark.parametrize("relaxation", RELAXATIONS)
async def test_what_one_person_proposes_changes_nothing_until_another_agrees(
    bridge: Any, relaxation: Relaxation
) -> None:
    """Invariants 8, 14, 34 and 39: then it does, the peak stays visible, and both are named (S1)."""
    snapshot = await proposed(bridge, relaxation)
    before = state_of(bridge)
    assert facts_of(bridge.told)[-1] == "reassessment_proposed"
    emitted = await bridge.do(commands.approve, *LEGAL, relaxation, snapshot=snapshot)
    approved = json.loads(emitted[0].value)
    assert (facts_of(emitted)[0], approved["actor_id"], approved["reason_code"]) == (
        "reassessment_approved",
        LEGAL[0],
        relaxation,
    )
    assert state_of(bridge) != before
    assert bridge.incident().facts.severity is Severity.CRITICAL
    with pytest.raises(approvals.NothingProposed):
        await bridge.do(commands.approve, *LEGAL, relaxation, snapshot=snapshot)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
@pytest.mark.parametrize(
    ("actor", "refusal"),
    [
        (("primary-2", "primary"), approvals.TakesAnother),
        (("support-1", "support"), approvals.TakesAnother),
        (("legal_compliance-1", "legal_compliance"), approvals.TakesAnother),
        (("secondary-1", "secondary"), approvals.RoleMayNotApprove),
        (("secondary-1", "safety_team"), RoleNotHeld),
        (("nobody-1", "safety_team"), RoleNotHeld),
        (("escalation-service", "safety_team"), RoleNotHeld),
    ],
    ids=["who proposed", "who took it", "who took it too", "role", "role not held", "no role", "service account"],
)
async def test_who_may_not_agree_does_not(bridge: Any, relaxation: Relaxation, actor: Any, refusal: Any) -> None:
    """SN-20, invariant 39: whichever kind of relaxation it is (S1)."""
    snapshot = await proposed(bridge, relaxation)
    before = bridge.incident()
    with pytest.raises(refusal):
        await bridge.do(commands.approve, *actor, relaxation, snapshot=snapshot)
    assert bridge.incident() == before


async def test_closing_a_report_takes_legal(bridge: Any) -> None:
    """4.9 of the model (S1)."""
    snapshot = await proposed(bridge, Relaxation.CLOSE_REPORT)
    with pytest.raises(approvals.RoleMayNotApprove):
        await bridge.do(commands.approve, *SAFETY, Relaxation.CLOSE_REPORT, snapshot=snapshot)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
async def test_a_proposal_holds_for_an_hour(bridge: Any, relaxation: Relaxation) -> None:
    """Invariant 39: then it is proposed again (S1)."""
    await bridge.hear(agent.SafetyCrisisDetected, EVERYTHING)
    await bridge.do(commands.propose, "primary-2", "primary", relaxation, **RELAXATIONS[relaxation])
    snapshot = approvals.proposal_of(bridge.incident(), relaxation).snapshot
    with pytest.raises(approvals.AlreadyProposed):
        await bridge.do(commands.propose, "primary-1", "primary", relaxation, **RELAXATIONS[relaxation])
    bridge.now.advance(minutes=60, seconds=1)
    with pytest.raises(approvals.ProposalHasExpired):
        await bridge.do(commands.approve, *LEGAL, relaxation, snapshot=snapshot)
    await bridge.do(commands.propose, "primary-1", "primary", relaxation, **RELAXATIONS[relaxation])


@pytest.mark.parametrize("relaxation", RELAXATIONS)
@pytest.mark.parametrize(
    "news",
    [{"evidence_refs": ["ev-1"]}, {"severity": "low", "revision": 1}, {"report": {"state": "submitted"}}],
    ids=["evidence", "a lower word", "a step of the report"],
)
async def test_any_new_event_voids_what_was_proposed(bridge: Any, relaxation: Relaxation, news: Any) -> None:
    """SN-49: also for who agrees to what stands there now (S1)."""
    snapshot = await proposed(bridge, relaxation)
    await bridge.hear(agent.SafetyIncidentUpdated, EVERYTHING | news)
    for seen in (snapshot, approvals.snapshot(bridge.incident())):
        with pytest.raises(approvals.SnapshotIsVoid):
            await bridge.do(commands.approve, *LEGAL, relaxation, snapshot=seen)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
async def test_a_rejected_proposal_is_gone(bridge: Any, relaxation: Relaxation) -> None:
    """S1."""
    snapshot = await proposed(bridge, relaxation)
    before = state_of(bridge)
    assert facts_of(await bridge.do(commands.reject, *SAFETY, relaxation)) == ["reassessment_rejected"]
    assert state_of(bridge) == before
    with pytest.raises(approvals.NothingProposed):
        await bridge.do(commands.approve, *LEGAL, relaxation, snapshot=snapshot)


async def test_a_reason_that_the_policy_does_not_know_is_none(bridge: Any) -> None:
    """4.9 of the model: reason codes come from closed lists (S1)."""
    await bridge.hear(agent.SafetyCrisisDetected, EVERYTHING)
    with pytest.raises(approvals.ReasonUnknown):
        await bridge.do(commands.propose, *SAFETY, Relaxation.CLOSE_REPORT, reason="too_much_work")
    what = RELAXATIONS[Relaxation.LOWER_SEVERITY] | {"severity": Severity.CRITICAL}
    with pytest.raises(approvals.NotApplicable):
        await bridge.do(commands.propose, *SAFETY, Relaxation.LOWER_SEVERITY, **what)


async def test_a_lowered_severity_ends_with_the_first_word_above_it(bridge: Any) -> None:
    """4.4 of the model: the maximum is restored, and it pages (S1, S4)."""
    snapshot = await proposed(bridge, Relaxation.LOWER_SEVERITY)
    await bridge.do(commands.approve, *LEGAL, Relaxation.LOWER_SEVERITY, snapshot=snapshot)
    assert bridge.incident().severity_working is Severity.MEDIUM
    bridge.now.advance(minutes=1)
    emitted = await bridge.hear(agent.SafetyIncidentUpdated, EVERYTHING | {"severity": "medium"})
    assert bridge.incident().severity_working is Severity.MEDIUM
    assert "page_requested" not in facts_of(emitted)
    emitted = await bridge.hear(agent.SafetyIncidentUpdated, EVERYTHING | {"severity": "high"})
    assert facts_of(emitted)[:2] == ["incident_raised", "page_requested"]
    assert bridge.incident().severity_working is Severity.CRITICAL


async def test_lowering_what_nobody_has_taken_pages_on_by_the_lower_ladder(bridge: Any) -> None:
    """Lowering is no silence: an epoch of its own begins (S1, S4)."""
    await bridge.hear(agent.SafetyPrivacyConcern, CRISIS)
    what = RELAXATIONS[Relaxation.LOWER_SEVERITY]
    await bridge.do(commands.propose, "primary-2", "primary", Relaxation.LOWER_SEVERITY, **what)
    snapshot = bridge.incident().proposals[0].snapshot
    emitted = await bridge.do(commands.approve, *SAFETY, Relaxation.LOWER_SEVERITY, snapshot=snapshot)
    (page,) = [json.loads(one.value) for one in emitted if facts_of([one]) == ["page_requested"]]
    assert (page["lane"], page["epoch"], page["step"]) == ("medium", 2, 0)


async def test_a_report_closed_by_two_opens_again_when_the_agent_asks_anew(bridge: Any) -> None:
    """Invariant 14: what was agreed on was agreed on what was known (S1, S3)."""
    snapshot = await proposed(bridge, Relaxation.CLOSE_REPORT)
    await bridge.do(commands.approve, *LEGAL, Relaxation.CLOSE_REPORT, snapshot=snapshot)
    assert (bridge.incident().report_track, bridge.incident().is_report_open) == ("closed", False)
    bridge.now.advance(minutes=1)
    emitted = await bridge.hear(agent.SafetyMandatoryReportTriggered, EVERYTHING)
    assert facts_of(emitted)[:2] == ["incident_raised", "page_requested"]
    assert bridge.incident().is_report_open


async def followed_up(bridge: Any, event: Any, data: dict[str, Any], policy: Policy) -> None:
    """Everything of the checklist is done, and nothing is open."""
    await bridge.hear(event, data)
    await bridge.acknowledge()
    await bridge.do(commands.coordinate, "support-1", "support", counterpart="safety_team-1")
    for item in sorted(bridge.incident().checklist(policy)):
        await bridge.do(commands.progress, "support-1", "support", kind=item)
    assert bridge.incident().handling is Handling.FOLLOW_UP


async def test_a_high_incident_is_closed_by_two(bridge: Any, policy: Policy) -> None:
    """SN-20: who took it asks, and nobody but another with the role agrees (S1)."""
    await followed_up(bridge, agent.SafetyModerationConcern, CRISIS | {"severity": "high"}, policy)
    emitted = await bridge.do(commands.close, "support-1", "support", disposition="resolved")
    assert facts_of(emitted) == ["reassessment_proposed"]
    assert bridge.incident().handling is Handling.FOLLOW_UP
    snapshot = bridge.incident().proposals[0].snapshot
    for actor, refusal in (
        (("support-1", "support"), approvals.TakesAnother),
        (("primary-2", "support"), approvals.RoleMayNotApprove),
        (("escalation-service", "safety_team"), RoleNotHeld),
    ):
        with pytest.raises(refusal):
            await bridge.do(commands.approve, *actor, Relaxation.CLOSE, snapshot=snapshot)
    emitted = await bridge.do(commands.approve, *SAFETY, Relaxation.CLOSE, snapshot=snapshot)
    closed = json.loads(emitted[0].value)
    assert (facts_of(emitted)[0], closed["reason_code"], closed["tracks"]["handling"]) == (
        "incident_closed",
        "resolved",
        "closed",
    )
    assert facts_of(emitted)[1:] == ["deadline_met"]
    with pytest.raises(AlreadyClosed):
        await bridge.acknowledge()


async def test_a_medium_incident_is_closed_by_one(bridge: Any, policy: Policy) -> None:
    """S1: and reopened by one, which pages anew (S4)."""
    await followed_up(bridge, agent.SafetyPrivacyConcern, CRISIS | {"severity": "medium"}, policy)
    emitted = await bridge.do(commands.close, "support-1", "support", disposition="no_risk_found")
    assert facts_of(emitted)[0] == "incident_closed"
    bridge.now.advance(days=30)
    assert await bridge.look() == []
    emitted = await bridge.do(commands.reopen, "lead-1", "lead")
    assert facts_of(emitted)[:2] == ["incident_reopened", "page_requested"]
    assert bridge.incident().epoch == 2


@pytest.mark.parametrize(
    ("event", "open_point"),
    [
        ({"severity": "medium", "responses": ["parent_notification"]}, "guardian"),
        ({"severity": "medium", "responses": ["mandatory_reporting"]}, "report"),
        ({"severity": "medium", "intervention": {"state": "started"}}, "intervention"),
        ({"severity": "medium"}, "documented"),
    ],
    ids=["guardian held", "report open", "help not confirmed", "not documented"],
)
async def test_nothing_is_closed_while_something_is_open(
    bridge: Any, event: Any, open_point: str, policy: Policy
) -> None:
    """4.4 of the model: the tracks go their own ways, and all have to come to their end (S3, S4)."""
    await bridge.hear(agent.SafetyPrivacyConcern, CRISIS | event)
    await bridge.acknowledge()
    assert open_point in approvals.open_points(bridge.incident(), policy)
    with pytest.raises(approvals.NotApplicable):
        await bridge.do(commands.close, "support-1", "support", disposition="resolved")


async def test_a_retraction_before_the_first_page_stops_nothing(bridge: Any) -> None:
    """SN-22: it is a proposal; the page goes out, and two may close it as a false alarm (S1)."""
    await bridge.hear(agent.SafetyCrisisDetected, CRISIS)
    before = state_of(bridge)
    assert facts_of(await bridge.hear(agent.SafetyIncidentRetracted, CRISIS)) == ["reassessment_proposed"]
    assert state_of(bridge) == before
    bridge.now.advance(minutes=2)
    assert "page_requested" in facts_of(await bridge.look())


@pytest.mark.parametrize("track", [GuardianTrack.PLANNED, GuardianTrack.SENT, GuardianTrack.CONFIRMED])
async def test_what_is_held_from_a_guardian_no_single_person_lets_go(bridge: Any, track: GuardianTrack) -> None:
    """Invariant 34 (S5)."""
    await bridge.hear(agent.SafetyCrisisDetected, EVERYTHING)
    with pytest.raises(approvals.NotApplicable):
        await bridge.do(commands.guardian_told, *SAFETY, track=track)


async def test_every_command_counts_for_the_epoch_it_names_alone(bridge: Any) -> None:
    """SN-06, invariant 18 (S4)."""
    await bridge.hear(agent.SafetyCrisisDetected, EVERYTHING)
    await bridge.acknowledge()
    for command, more in (
        (commands.acknowledge, {}),
        (commands.raise_, {"severity": Severity.CRITICAL}),
        (commands.progress, {"kind": "documented"}),
        (commands.coordinate, {"counterpart": "safety_team-1"}),
        (commands.hand_off, {}),
        (commands.confirm_hand_off, {}),
        (commands.close, {"disposition": "resolved"}),
        (commands.reopen, {}),
        (commands.guardian_told, {"track": GuardianTrack.SENT}),
    ):
        with pytest.raises(EpochHasPassed):
            await bridge.do(command, "support-1", "support", epoch=7, **more)


@pytest.mark.parametrize(
    "worse",
    [{"class": "crisis"}, {"responses": ["crisis_intervention"]}, {"severity": "high"}],
    ids=["class", "response", "severity"],
)
async def test_a_lowering_ends_with_what_nobody_knew_of_when_it_was_agreed(bridge: Any, worse: Any) -> None:
    """A crisis that calls itself low is paged on the lane of a crisis, whatever two persons agreed on before (S1, S2)."""
    incident = {"agent_incident_id": "A-1", "severity": "low"}
    await bridge.hear(agent.SafetyModerationConcern, incident | {"severity": "high"})
    await bridge.acknowledge()
    lower = {"reason": "false_alarm", "severity": Severity.LOW}
    await bridge.do(commands.propose, "primary-2", "primary", Relaxation.LOWER_SEVERITY, **lower)
    snapshot = bridge.incident().proposals[0].snapshot
    await bridge.do(commands.approve, *SAFETY, Relaxation.LOWER_SEVERITY, snapshot=snapshot)
    assert bridge.incident().severity_working is Severity.LOW
    bridge.now.advance(minutes=1)
    emitted = await bridge.hear(agent.SafetyIncidentUpdated, incident | worse)
    assert "page_requested" in facts_of(emitted)
    is_crisis = "severity" not in worse
    assert bridge.incident().lane == ("crisis" if is_crisis else "high")


@pytest.mark.parametrize("is_closed", [False, True], ids=["taken", "closed"])
@pytest.mark.parametrize(
    ("relaxation", "again", "track", "clock"),
    [
        (Relaxation.CLOSE_REPORT, {"report": {"required": True}}, "report_track", "mandatory_report"),
        (Relaxation.END_INTERVENTION, {"responses": ["crisis_intervention"]}, "intervention_track", "crisis"),
    ],
    ids=["report", "intervention"],
)
async def test_what_two_ended_pages_anew_once_the_agent_asks_for_it_again(
    bridge: Any, policy: Policy, is_closed: bool, relaxation: Relaxation, again: Any, track: str, clock: str
) -> None:
    """Also of a closed incident, and its clock runs on: without its outcome it was never met (S1, S3; invariants 11, 14)."""
    started = CRISIS | {"intervention": {"state": "started"}, "responses": ["mandatory_reporting"]}
    await bridge.hear(agent.SafetyCrisisDetected, started)
    await bridge.acknowledge()
    await bridge.acknowledge("legal_compliance")
    for one in (Relaxation.CLOSE_REPORT, Relaxation.END_INTERVENTION):
        await bridge.do(commands.propose, "primary-2", "primary", one, **RELAXATIONS[one])
        snapshot = approvals.proposal_of(bridge.incident(), one).snapshot
        await bridge.do(commands.approve, *LEGAL, one, snapshot=snapshot)
    if is_closed:
        await bridge.do(commands.coordinate, "support-1", "support", counterpart="safety_team-1")
        for item in sorted(bridge.incident().checklist(policy)):
            await bridge.do(commands.progress, "support-1", "support", kind=item)
        await bridge.do(commands.close, "support-1", "support", disposition="resolved")
        snapshot = bridge.incident().proposals[0].snapshot
        await bridge.do(commands.approve, *LEGAL, Relaxation.CLOSE, snapshot=snapshot)
        assert bridge.incident().handling is Handling.CLOSED
    bridge.now.advance(minutes=10)
    emitted = await bridge.hear(agent.SafetyIncidentUpdated, CRISIS | again)
    assert "page_requested" in facts_of(emitted)
    assert bridge.incident().handling is Handling.PAGING
    assert getattr(bridge.incident(), track) in ("required", "started")
    bridge.now.advance(hours=1)
    breached = [json.loads(one.value) for one in await bridge.look() if facts_of([one]) == ["deadline_breached"]]
    assert ("outcome", clock) in [(one["clock"], one["incident_class"]) for one in breached]
