"""Whatever is heard, done and waited for, in whatever order: what must never happen to an incident does not (S1, S4)."""

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from safety_bridge import commands
from safety_bridge.domain import deadlines
from safety_bridge.domain.incident import Incident
from safety_bridge.domain.tracks import GuardianTrack, Handling
from shared.errors import Refusal
from shared.events import agent
from shared.events.agent import SafetyAgentHeartbeat, SafetyTicketFlagged, SafetyUnreadable
from shared.policy.model import Relaxation
from shared.vocabulary import IncidentClass, Response, Severity

FIRST = ("hear", agent.SafetyPrivacyConcern, {"agent_incident_id": "A-1", "severity": "medium"})
LONGEST_PAUSE = timedelta(days=1)
NOT_OF_THE_AGENT = {SafetyAgentHeartbeat, SafetyTicketFlagged, SafetyUnreadable}
REASONS = {
    Relaxation.LOWER_SEVERITY: "false_alarm",
    Relaxation.CLOSE_REPORT: "not_reportable",
    Relaxation.END_INTERVENTION: "person_declined",
    Relaxation.RELEASE_GUARDIAN: "guardian_found_safe",
    Relaxation.SUPPRESS_GUARDIAN: "no_guardian",
}
PEOPLE = [("support-1", "support"), ("primary-2", "primary"), ("legal_compliance-1", "legal_compliance")]

HEARD = st.tuples(
    st.just("hear"),
    st.sampled_from([one for one in agent.EVENTS if one not in NOT_OF_THE_AGENT]),
    st.fixed_dictionaries(
        {"agent_incident_id": st.just("A-1")},
        optional={
            "severity": st.sampled_from(["low", "medium", "high", "critical", "?"]),
            "responses": st.lists(st.sampled_from(Response), max_size=2),
            "report": st.fixed_dictionaries({"required": st.booleans(), "attempt": st.integers(1, 3)}),
            "evidence_refs": st.lists(st.sampled_from(["ev-1", "ev-2"]), max_size=1),
            "ticket_ref": st.just("T-1"),
        },
    ),
)
WAITED = st.tuples(st.just("wait"), st.sampled_from([1, 5, 14, 15, 31, 61, 600]))
DONE = st.tuples(
    st.just("do"),
    st.sampled_from(
        [
            (commands.acknowledge, {}),
            (commands.raise_, {"severity": Severity.CRITICAL}),
            (commands.raise_, {"incident_class": IncidentClass.COPPA}),
            (commands.progress, {"kind": "documented"}),
            (commands.progress, {"kind": "data_reviewed"}),
            (commands.coordinate, {"counterpart": "safety_team-1"}),
            (commands.hand_off, {}),
            (commands.confirm_hand_off, {}),
            (commands.guardian_told, {"track": GuardianTrack.SENT}),
            (commands.close, {"disposition": "resolved"}),
            (commands.reopen, {}),
        ]
    ),
    st.sampled_from(PEOPLE),
)
AGREED = st.tuples(st.just("agree"), st.sampled_from(list(REASONS)), st.sampled_from(list(Severity)))
WORKED = st.tuples(st.just("work"))


@settings(max_examples=150, deadline=None)
@given(st.lists(HEARD | WAITED | DONE | AGREED | WORKED, min_size=1, max_size=14))
def test_whatever_happens_nothing_is_lowered_or_silenced_by_one(make_bridge: Any, happenings: list[Any]) -> None:
    """Invariants 8, 9, 13, 14, 15, 19, 21 and 39, over random lives of incidents (S1, S4)."""
    asyncio.run(live(make_bridge(), happenings))


async def live(bridge: Any, happenings: list[Any]) -> None:
    for happening in [FIRST, *happenings]:
        before = {one.ref: one for one in bridge.all()}
        told = len(bridge.told)
        try:
            await happen(bridge, happening)
        except Refusal:
            assert happening[0] in ("agree", "work") or bridge.all() == list(before.values())
        for one in bridge.all():
            if one.ref in before:
                check_step(before[one.ref], one, happening)
            check_paging(one, before.get(one.ref), bridge.told[told:], bridge)
    ids = [one.id for one in bridge.told]
    assert len(set(ids)) == len(ids)
    assert max(thresholds(bridge).values(), default=1) == 1


async def happen(bridge: Any, happening: Any) -> None:
    match happening:
        case ("hear", event, data):
            await bridge.hear(event, data)
        case ("wait", minutes):
            bridge.now.advance(minutes=minutes)
            await bridge.look()
        case ("do", (command, more), (person, role)):
            await bridge.do(command, person, role, ref=first(bridge).ref, **more)
        case ("work",):
            await work(bridge, first(bridge).ref)
        case ("agree", relaxation, severity):
            more = {"severity": severity} if relaxation is Relaxation.LOWER_SEVERITY else {}
            ref = first(bridge).ref
            reason = REASONS[relaxation]
            await bridge.do(commands.propose, "primary-1", "primary", relaxation, ref=ref, reason=reason, **more)
            (proposal,) = (one for one in bridge.incident(ref).proposals if one.relaxation is relaxation)
            seen = proposal.snapshot
            legal = ("legal_compliance-2", "legal_compliance")
            await bridge.do(commands.approve, *legal, relaxation, ref=ref, snapshot=seen)


async def work(bridge: Any, ref: str) -> None:
    """Support and Legal take it and do all that is on its list."""
    for person, role in (PEOPLE[0], PEOPLE[2]):
        if role in bridge.incident(ref).roles_missing(bridge.policy):
            await bridge.do(commands.acknowledge, person, role, ref=ref)
    await bridge.do(commands.coordinate, *PEOPLE[0], ref=ref, counterpart="safety_team-1")
    for item in sorted(bridge.incident(ref).checklist(bridge.policy)):
        await bridge.do(commands.progress, *PEOPLE[0], ref=ref, kind=item)


def first(bridge: Any) -> Incident:
    found: Incident = bridge.all()[0]
    return found


def check_step(before: Incident, after: Incident, happening: Any) -> None:
    agreed = happening[1] if happening[0] == "agree" else None
    assert after.facts.severity >= before.facts.severity
    assert after.facts.report >= before.facts.report
    for name in ("classes", "responses", "evidence", "report_failures"):
        assert getattr(after.facts, name) >= getattr(before.facts, name)
    if agreed is not Relaxation.LOWER_SEVERITY:
        assert after.severity_working >= before.severity_working
    if before.is_report_open and not after.is_report_open:
        assert after.report_track == "accepted" or agreed is Relaxation.CLOSE_REPORT
    if before.guardian_track is GuardianTrack.HELD and after.guardian_track in (
        GuardianTrack.PLANNED,
        GuardianTrack.SUPPRESSED,
    ):
        assert agreed in (Relaxation.RELEASE_GUARDIAN, Relaxation.SUPPRESS_GUARDIAN)
    if after.handling is Handling.CLOSED:
        assert after.facts.severity < Severity.HIGH or before.handling is Handling.CLOSED
    assert after.epoch >= before.epoch


def check_paging(one: Incident, before: Incident | None, told: list[Any], bridge: Any) -> None:
    """Who has not been taken is paged on; who has is not, unless its lease runs out."""
    next_at = deadlines.next_look_at(one, bridge.policy)
    assert next_at is None or next_at > bridge.now()
    if one.continues_in is None and one.handling is Handling.PAGING:
        assert one.next_page_at is not None
        assert bridge.now() < one.next_page_at <= bridge.now() + LONGEST_PAUSE
    elif one.handling in (Handling.ACKNOWLEDGED, Handling.COORDINATING):
        assert one.next_page_at is None
        assert one.lease_ends_at is not None or one.severity_working is Severity.LOW
        if before is not None and before.epoch == one.epoch and before.handling is one.handling:
            assert not [page for page in pages(told, one) if page["reason_code"] == "not_acknowledged"]


def pages(told: list[Any], one: Incident) -> list[Any]:
    found = [json.loads(each.value) for each in told if each.wire_type.endswith("page_requested.v1")]
    return [page for page in found if page["incident_ref"] == one.ref]


def thresholds(bridge: Any) -> Counter[Any]:
    passed = [
        json.loads(one.value)
        for one in bridge.told
        if one.wire_type.endswith(("deadline_warning.v1", "deadline_breached.v1"))
    ]
    names = ("incident_ref", "clock", "incident_class", "elapsed_pct")
    return Counter(tuple(data[name] for name in names) for data in passed)
