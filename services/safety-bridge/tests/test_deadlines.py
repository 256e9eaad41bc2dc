"""The clocks of an incident: each threshold once, with its true time, whatever else happens (S4)."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bridge_builders import NOW, SIGNALS, heard, opened, taken
from hypothesis import given
from hypothesis import strategies as st

from safety_bridge import handlers
from safety_bridge.domain import deadlines, signal
from safety_bridge.domain.clock import ALL, Clock, Promise, Step
from safety_bridge.domain.incident import Signal, merge
from shared.directory import Directory
from shared.events import agent
from shared.events.envelope import Outgoing, rfc3339
from shared.policy.model import Policy
from shared.vocabulary import IncidentClass

CRISIS = {"agent_incident_id": "A-1", "severity": "critical"}
REPORT = {"agent_incident_id": "A-1", "severity": "high"}
WARN_AT = (50, 80)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def told(emitted: list[Outgoing], clock: str, incident_class: str | None = None) -> list[tuple[str, float, int]]:
    """Step, minutes since NOW-like start, and percent of what was told of a clock."""
    found = []
    for one in emitted:
        fact = one.wire_type.rsplit(".", 2)[1]
        data = json.loads(one.value)
        if fact.startswith("deadline_") and (data["clock"], data["incident_class"]) == (clock, incident_class):
            since = datetime.fromisoformat(data["occurred_at"]) - datetime.fromisoformat(data["started_at"])
            found.append((fact.removeprefix("deadline_"), since / minutes(1), data["elapsed_pct"]))
    return found


@pytest.mark.parametrize(
    ("incident_class", "acknowledge", "outcome"),
    [
        (IncidentClass.CRISIS, 5, 15),
        (IncidentClass.MANDATORY_REPORT, 15, 60),
        (IncidentClass.CONTENT_MODERATION, 60, 240),
        (IncidentClass.PRIVACY, 240, 1440),
        (IncidentClass.COPPA, 240, 1440),
    ],
)
def test_each_class_has_its_deadlines(
    policy: Policy, incident_class: IncidentClass, acknowledge: int, outcome: int
) -> None:
    """4.2 of the model: minutes from the earliest detection, around the clock (S3, L6)."""
    known = opened(heard(signal.INCIDENT_UPDATED, severity="high", incident_class=incident_class.value), policy)
    looked_at, _ = deadlines.look(known, now=NOW, policy=policy)
    due = {clock.promise: clock.due_at - NOW for clock in looked_at.clocks}
    assert due == {Promise.ACKNOWLEDGE: minutes(acknowledge), Promise.OUTCOME: minutes(outcome)}


async def test_each_threshold_is_told_once_however_many_epochs_pass(bridge: Any) -> None:
    """Invariant 13, SN-07: started, 50 %, 80 %, breached; a new epoch starts no clock anew (S4)."""
    await bridge.hear(agent.SafetyModerationConcern, REPORT)
    for minute in range(1, 100):
        bridge.now.advance(minutes=1)
        await bridge.look()
        if minute % 20 == 0:
            await bridge.hear(
                agent.SafetyIncidentUpdated, REPORT | {"severity": "critical", "evidence_refs": [f"e-{minute}"]}
            )
    expected = [("started", 0, 0), ("warning", 30, 50), ("warning", 48, 80), ("breached", 60, 100)]
    assert told(bridge.told, "acknowledge", "content_moderation") == expected


async def test_what_passed_while_the_bridge_was_down_is_told_once_with_its_true_time(bridge: Any) -> None:
    """SN-34, invariants 13 and 28 (S4)."""
    await bridge.hear(agent.SafetyCrisisDetected, CRISIS)
    bridge.now.advance(minutes=47)
    emitted = await bridge.look()
    assert told(emitted, "acknowledge", "crisis") == [("warning", 2.5, 50), ("warning", 4, 80), ("breached", 5, 100)]
    assert told(emitted, "outcome", "crisis") == [("warning", 7.5, 50), ("warning", 12, 80), ("breached", 15, 100)]
    assert await bridge.look() == []


async def test_a_deadline_already_past_is_breached_at_once(bridge: Any) -> None:
    """SN-35: with the time at which it passed (S4)."""
    late = {"detected_at": rfc3339(bridge.now() - timedelta(hours=3))}
    emitted = await bridge.hear(agent.SafetyMandatoryReportTriggered, REPORT | late)
    assert told(emitted, "outcome", "mandatory_report")[-1] == ("breached", 60, 100)


async def test_a_clock_is_met_by_its_own_outcome_alone(bridge: Any) -> None:
    """Invariant 11: the acknowledgement by all roles, a receipt; nothing else stops it (S4)."""
    await bridge.hear(agent.SafetyMandatoryReportTriggered, REPORT)
    bridge.now.advance(minutes=3)
    assert told(await bridge.acknowledge(), "acknowledge", "mandatory_report") == []
    met = told(await bridge.acknowledge("legal_compliance"), "acknowledge", "mandatory_report")
    assert met == [("met", 3, 20)]
    bridge.now.advance(minutes=7)
    emitted = await bridge.hear(agent.SafetyMandatoryReportSubmitted, REPORT)
    assert told(emitted, "outcome", "mandatory_report") == []
    emitted = await bridge.hear(agent.SafetyMandatoryReportAccepted, REPORT)
    assert told(emitted, "outcome", "mandatory_report") == [("met", 10, 16)]
    bridge.now.advance(hours=2)
    assert told(await bridge.look(), "outcome", "mandatory_report") == []


async def test_a_receipt_in_time_that_is_heard_of_late_meets_the_clock_in_time(bridge: Any) -> None:
    """The event's time counts: no breach is told that never was (S4)."""
    started_at = bridge.now()
    await bridge.hear(agent.SafetyMandatoryReportTriggered, REPORT)
    bridge.now.advance(minutes=70)
    accepted = {"report": {"state": "accepted", "accepted_at": rfc3339(started_at + minutes(20))}}
    emitted = await bridge.hear(agent.SafetyMandatoryReportAccepted, REPORT | accepted)
    assert told(emitted, "outcome", "mandatory_report") == [("met", 20, 33)]


async def test_an_earlier_detection_moves_a_deadline_earlier_and_says_so(bridge: Any) -> None:
    """Invariant 10: never later (S4)."""
    await bridge.hear(agent.SafetyPrivacyConcern, REPORT)
    for shift, expected in ((-60, [("started", 0, 0)]), (-30, [])):
        earlier = {"detected_at": rfc3339(bridge.now() + minutes(shift))}
        emitted = await bridge.hear(agent.SafetyPrivacyConcern, REPORT | earlier)
        assert told(emitted, "acknowledge", "privacy") == expected


@given(st.lists(SIGNALS, min_size=1, max_size=5), st.integers(0, 400 * 24 * 60))
def test_after_a_look_nothing_is_due_until_later(policy: Policy, signals: list[Signal], later: int) -> None:
    """Invariants 15 and 16: whatever is due is done in one look, and there is a next page, also after a year (S4)."""
    now = NOW + minutes(later)
    known = opened(signals[0], policy)
    for one in signals[1:]:
        known = merge(known, one, now=NOW, policy=policy)
    unit = Looking(policy, now)
    looked_at = handlers.look(known, unit)  # type: ignore[arg-type]
    next_at = deadlines.next_look_at(looked_at, policy)
    assert next_at is not None
    assert next_at > now
    assert looked_at.next_page_at is not None


class Looking:
    """As much of a unit of work as a look needs."""

    directory = Directory.from_yaml((Path(__file__).parents[3] / "deploy/src/deploy/directory.yaml").read_text())
    reachable = frozenset({"primary", "safety_team"})

    def __init__(self, policy: Policy, now: datetime) -> None:
        self.policy, self.now, self.incidents = policy, now, self

    def emit(self, *_: Any, **__: Any) -> None:
        """Nothing is read of it."""

    def save(self, *_: Any) -> None:
        """Nothing is kept."""


@given(
    st.lists(st.integers(0, 130), min_size=1, max_size=8),
    st.none() | st.integers(0, 130),
    st.lists(st.integers(0, 60), max_size=3),
)
def test_however_a_clock_is_looked_at_it_tells_the_same_thresholds(
    looks: list[int], met_at: int | None, starts: list[int]
) -> None:
    """Invariants 10 and 13: each at most once, all that passed before the outcome (S4)."""
    clock = Clock(Promise.OUTCOME, None, NOW, NOW + minutes(100))
    notices = []
    for at in [*sorted(looks), 1_000]:
        if starts:
            start = NOW - minutes(starts.pop())
            clock = clock.tightened(start, start + minutes(100))
        outcome_at = NOW + minutes(met_at) if met_at is not None and met_at <= at else None
        before = clock
        clock, found = clock.look(NOW + minutes(at), outcome_at=outcome_at, warn_at=WARN_AT)
        assert clock.due_at <= before.due_at
        notices += found
    percents = [notice.percent for notice in notices if notice.step is not Step.MET]
    assert len(set(percents)) == len(percents)
    if met_at is None:
        assert percents == [50, 80, ALL]
    assert sum(notice.step is Step.MET for notice in notices) == (met_at is not None)


def test_an_acknowledgement_ends_no_clock_but_its_own(policy: Policy) -> None:
    """Invariant 11 (S4)."""
    known = opened(heard(signal.CRISIS_DETECTED, severity="critical"), policy)
    looked_at, _ = deadlines.look(taken(known, policy, "support"), now=NOW, policy=policy)
    assert {clock.promise for clock in looked_at.clocks if clock.met_at is None} == {Promise.OUTCOME}


async def test_a_promise_not_kept_to_one_of_two_is_not_kept_to_the_whole(bridge: Any) -> None:
    """Invariants 10 and 11: the clocks of the one that goes away end there, the other's run for both, also one that was met
    (S4, S8)."""
    await bridge.hear(agent.SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"})
    (of_ticket,) = bridge.all()
    await bridge.acknowledge(ref=of_ticket.ref)
    bridge.now.advance(minutes=1)
    await bridge.hear(agent.SafetyCrisisDetected, CRISIS)
    emitted = await bridge.hear(agent.SafetyIncidentUpdated, CRISIS | {"ticket_ref": "T-1"})
    assert told(emitted, "acknowledge", "crisis") == [("moved", 0, 0)]
    assert told(emitted, "outcome", "crisis") == [("moved", 0, 0)]
    bridge.now.advance(minutes=4)
    late = await bridge.look()
    assert told(late, "acknowledge", "crisis")[-1] == ("breached", 5, 100)
    assert {one.key for one in late} == {of_ticket.ref}
