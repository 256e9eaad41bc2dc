"""What goes on after somebody has acknowledged: leases, reports, hand-offs and guardians (S3, S4, S5)."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from safety_bridge import commands
from safety_bridge.domain.approvals import NotApplicable
from safety_bridge.domain.commands import NotAcknowledged, ReasonUnknown
from safety_bridge.domain.facts import Flag
from safety_bridge.domain.tracks import GuardianTrack
from shared.events import agent
from shared.events.envelope import Outgoing, rfc3339
from shared.policy.model import Relaxation

CRISIS = {"agent_incident_id": "A-1", "severity": "critical"}
REPORT = {"agent_incident_id": "A-1", "severity": "high"}


def facts_of(emitted: list[Outgoing]) -> list[str]:
    facts = [one.wire_type.rsplit(".", 2)[1] for one in emitted]
    return [fact for fact in facts if not fact.startswith("deadline_")]


def pages(emitted: list[Outgoing]) -> list[Any]:
    return [json.loads(one.value) for one in emitted if facts_of([one]) == ["page_requested"]]


async def minutes_of_pages(bridge: Any, until: int) -> list[tuple[int, str, list[str]]]:
    """Minute, reason and roles of all that is paged, looking each minute."""
    found = []
    start = bridge.now()
    for _ in range(until):
        bridge.now.advance(minutes=1)
        for page in pages(await bridge.look()):
            minute = (bridge.now() - start) // timedelta(minutes=1)
            found.append((minute, page["reason_code"], page["roles"]))
    return found


async def test_an_acknowledgement_without_progress_pages_who_gave_it_and_the_next_step(bridge: Any) -> None:
    """SN-38, invariant 21 (S4)."""
    await bridge.hear(agent.SafetyCrisisDetected, CRISIS)
    await bridge.acknowledge("secondary")
    taken_at = bridge.now()
    bridge.now.advance(minutes=14, seconds=59)
    assert facts_of(await bridge.look()) == []
    bridge.now.advance(seconds=1)
    emitted = await bridge.look()
    assert facts_of(emitted) == ["incident_ack_lapsed", "page_requested"]
    (page,) = pages(emitted)
    assert (page["epoch"], page["step"], page["persons"]) == (2, 1, ["secondary-1"])
    assert page["roles"] == ["primary", "secondary", "safety_team"]
    lapsed = json.loads(emitted[0].value)
    assert lapsed["occurred_at"] == rfc3339(taken_at + timedelta(minutes=15))
    bridge.now.advance(minutes=2)
    assert [page["persons"] for page in pages(await bridge.look())] == [[]]


STEPS = ("progress", "coordinate", "report", "handoff")


async def step_after(bridge: Any, step: str, **since: float) -> list[Outgoing]:
    """A crisis that has to be reported is taken, and so much later something is done about it."""
    await bridge.hear(agent.SafetyCrisisDetected, CRISIS | {"severity": "critical"})
    await bridge.hear(agent.SafetyMandatoryReportTriggered, CRISIS)
    await bridge.acknowledge()
    await bridge.acknowledge("legal_compliance")
    bridge.now.advance(**since)
    emitted: list[Outgoing] = []
    match step:
        case "progress":
            emitted = await bridge.do(commands.progress, "support-1", "support", kind="evidence_reviewed")
        case "coordinate":
            emitted = await bridge.do(commands.coordinate, "support-1", "support", counterpart="safety_team-1")
        case "report":
            emitted = await bridge.hear(agent.SafetyMandatoryReportSubmitted, CRISIS)
        case "handoff":
            emitted = await bridge.do(commands.hand_off, "support-1", "support")
    return emitted


@pytest.mark.parametrize("step", STEPS)
async def test_progress_renews_the_lease(bridge: Any, step: str) -> None:
    """SN-38: a step at 02:14 holds until 02:29 (S4)."""
    await step_after(bridge, step, minutes=14)
    bridge.now.advance(minutes=14)
    assert "incident_ack_lapsed" not in facts_of(await bridge.look())
    bridge.now.advance(minutes=1)
    assert "incident_ack_lapsed" in facts_of(await bridge.look())


@pytest.mark.parametrize("step", STEPS)
async def test_progress_after_the_lease_is_too_late_though_no_timer_has_looked(bridge: Any, step: str) -> None:
    """Invariant 21, SN-38: also after an outage, whoever comes first (S4)."""
    emitted = await step_after(bridge, step, minutes=15)
    assert "incident_ack_lapsed" in facts_of(emitted)
    assert [page["persons"] for page in pages(emitted)] == [["legal_compliance-1", "support-1"]]


async def test_progress_is_of_who_took_it_and_of_a_kind_that_the_policy_knows(bridge: Any) -> None:
    """A silent queue of notes is no acknowledgement (S4)."""
    await bridge.hear(agent.SafetyCrisisDetected, CRISIS)
    with pytest.raises(NotAcknowledged):
        await bridge.do(commands.progress, "support-1", "support", kind="evidence_reviewed")
    await bridge.acknowledge()
    with pytest.raises(ReasonUnknown):
        await bridge.do(commands.progress, "support-1", "support", kind="had_lunch")


async def test_an_open_report_pages_by_itself_until_its_receipt(bridge: Any) -> None:
    """SN-17: at 30, 45, 55 and 60 minutes and every 10 after, though it has been acknowledged (S3, S4)."""
    await bridge.hear(agent.SafetyMandatoryReportTriggered, REPORT)
    await bridge.acknowledge()
    await bridge.acknowledge("legal_compliance")
    start = bridge.now()
    while bridge.now() < start + timedelta(minutes=85):
        bridge.now.advance(minutes=5)
        await bridge.do(commands.progress, "support-1", "support", kind="waiting_for_answer")
        await bridge.look()
    paged = [page for page in pages(bridge.told) if page["reason_code"] == "report_open"]
    minutes = [(_at(page) - start) // timedelta(minutes=1) for page in paged]
    assert minutes == [30, 45, 55, 60, 70, 80]
    assert {tuple(page["roles"]) for page in paged} == {("legal_compliance", "safety_team")}
    assert all(page["outlives_acknowledgement"] for page in paged)
    await bridge.hear(agent.SafetyMandatoryReportAccepted, REPORT)
    bridge.now.advance(minutes=10)
    assert [page["reason_code"] for page in pages(await bridge.look())] == []


def _at(page: Any) -> datetime:
    return datetime.fromisoformat(page["occurred_at"])


async def test_a_failed_attempt_pages_anew_and_leaves_the_clock_open(bridge: Any) -> None:
    """SN-18: submitted, last attempt failed, two failures counted (S3)."""
    await bridge.hear(agent.SafetyMandatoryReportSubmitted, REPORT)
    await bridge.acknowledge()
    await bridge.acknowledge("legal_compliance")
    failed = REPORT | {"report": {"attempt": 2, "failure_code": "validation"}}
    emitted = await bridge.hear(agent.SafetyMandatoryReportFailed, failed)
    assert facts_of(emitted) == ["incident_raised", "page_requested"]
    raised = json.loads(emitted[0].value)
    assert (raised["reason_code"], raised["failed_report_attempts"], raised["epoch"]) == ("report_failed", 2, 2)
    assert (raised["tracks"]["report"], bridge.incident().is_report_open) == ("submitted", True)
    assert await bridge.hear(agent.SafetyMandatoryReportFailed, failed) == []


async def test_a_hand_off_pages_until_it_is_confirmed(bridge: Any) -> None:
    """SN-50: Safety Team and lead, 15 minutes after the hand-off, and on (S3)."""
    await bridge.hear(agent.SafetyCrisisDetected, CRISIS | {"responses": ["crisis_intervention"]})
    await bridge.acknowledge()
    handed_off_at = bridge.now()
    await bridge.hear(agent.SafetyInterventionHandedOff, CRISIS)
    assert bridge.incident().intervention_track == "handed_off"
    found = await minutes_of_pages(bridge, 26)
    assert [one for one in found if one[1] == "hand_off_open"] == [
        (minute, "hand_off_open", ["safety_team", "lead"]) for minute in (15, 20, 25)
    ]
    await bridge.do(commands.confirm_hand_off, "safety_team-1", "safety_team")
    assert bridge.incident().intervention_track == "confirmed"
    assert bridge.incident().facts.confirmed_at == handed_off_at + timedelta(minutes=26)
    assert not [one for one in await minutes_of_pages(bridge, 10) if one[1] == "hand_off_open"]
    with pytest.raises(NotApplicable):
        await bridge.do(commands.confirm_hand_off, "safety_team-1", "safety_team")


async def test_a_guardian_is_told_only_after_people_said_so(bridge: Any) -> None:
    """SN-39: held, released by two; what is prohibited later holds it again (S5)."""
    wanted = CRISIS | {"responses": ["parent_notification"]}
    await bridge.hear(agent.SafetyCrisisDetected, wanted)
    assert bridge.incident().guardian_track is GuardianTrack.HELD
    await bridge.hear(agent.SafetyIncidentUpdated, wanted | {"guardian_contact": "allowed"})
    assert bridge.incident().guardian_track is GuardianTrack.HELD
    with pytest.raises(NotApplicable):
        await bridge.do(commands.guardian_told, "support-1", "support", track=GuardianTrack.SENT)
    release = Relaxation.RELEASE_GUARDIAN
    await bridge.do(commands.propose, "support-1", "support", release, reason="guardian_found_safe")
    seen = bridge.incident().proposals[0].snapshot
    await bridge.do(commands.approve, "safety_team-1", "safety_team", release, snapshot=seen)
    assert bridge.incident().guardian_track is GuardianTrack.PLANNED
    await bridge.hear(agent.SafetyIncidentUpdated, wanted | {"guardian_contact": "prohibited"})
    assert bridge.incident().guardian_track is GuardianTrack.HELD


async def test_where_a_guardian_may_be_told_a_person_releases_sends_and_confirms(bridge: Any) -> None:
    """Invariant 34: no message without a human release (S5)."""
    await bridge.hear(
        agent.SafetyCrisisDetected, CRISIS | {"responses": ["parent_notification"], "guardian_contact": "allowed"}
    )
    with pytest.raises(NotApplicable):
        await bridge.do(commands.guardian_told, "support-1", "support", track=GuardianTrack.SENT)
    for track in (GuardianTrack.PLANNED, GuardianTrack.SENT, GuardianTrack.CONFIRMED):
        emitted = await bridge.do(commands.guardian_told, "support-1", "support", track=track)
        assert bridge.incident().guardian_track is track
        assert json.loads(emitted[0].value)["reason_code"] == f"guardian_{track}"


async def test_more_than_one_subject_is_paged_to_the_safety_team_once(bridge: Any) -> None:
    """4.4 of the model: no silent re-targeting (S5)."""
    await bridge.hear(agent.SafetyCrisisDetected, CRISIS | {"subject_ref": "s-1"})
    emitted = await bridge.hear(agent.SafetyIncidentUpdated, CRISIS | {"subject_ref": "s-2"})
    assert [(page["reason_code"], page["roles"]) for page in pages(emitted)] == [("subject_conflict", ["safety_team"])]
    assert Flag.SUBJECT_CONFLICT in bridge.incident().facts.flags
    assert pages(await bridge.hear(agent.SafetyIncidentUpdated, CRISIS | {"subject_ref": "s-3"})) == []


async def test_two_subjects_in_one_event_are_paged_too(bridge: Any) -> None:
    """4.4 of the model (S5)."""
    emitted = await bridge.hear(agent.SafetyCrisisDetected, CRISIS | {"subject_ref": ["s-1", "s-2"]})
    assert [page["reason_code"] for page in pages(emitted)] == ["subject_conflict", "not_acknowledged"]


async def test_a_conflict_of_subjects_reaches_somebody_where_the_safety_team_is_nobody(bridge: Any) -> None:
    """S4: then the last responder hears of it."""
    on_call = {role: people for role, people in bridge.directory.on_call.items() if role != "safety_team"}
    bridge.directory = bridge.directory.model_copy(update={"on_call": on_call})
    for subject in ("s-1", "s-2"):
        emitted = await bridge.hear(agent.SafetyCrisisDetected, CRISIS | {"subject_ref": subject})
    assert [page["roles"] for page in pages(emitted)] == [["safety_team", "last_responder"]]


async def test_an_event_of_another_deployment_is_set_apart_and_paged(bridge: Any) -> None:
    """SN-42: none of its words counts here, and all of one producer are one incident (S6)."""
    bridge.environment = "staging"
    for number in range(3):
        copied = CRISIS | {"agent_incident_id": f"A-{number}", "environment": "prod"}
        await bridge.hear(agent.SafetyCrisisDetected, copied)
    apart = bridge.incident()
    assert (apart.facts.flags, apart.facts.classes, apart.facts.agent_incident_ids) == (
        {Flag.OTHER_ENVIRONMENT},
        frozenset(),
        frozenset(),
    )
    assert len(pages(bridge.told)) == 1
    for ours in ("staging", " Staging ", None):
        await bridge.hear(agent.SafetyCrisisDetected, CRISIS | {"environment": ours})
    assert len(bridge.all()) == 2
