"""Shifts and gaps while incidents wait: nobody's shift ends the paging, and whoever comes is told (S4)."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from safety_bridge.domain import coverage
from safety_bridge.domain.commands import acknowledge
from safety_bridge.domain.facts import Facts
from safety_bridge.domain.handover import next_page, reachable_at
from safety_bridge.domain.identity import IncidentRef, Mode
from safety_bridge.domain.incident import Actor, Incident, Signal, open_incident
from safety_bridge.domain.paging import Page, lanes_without_end
from safety_bridge.timers import Coverage
from shared.directory import Directory
from shared.events.agent import SafetyCrisisDetected, SafetyModerationConcern
from shared.policy.load import load_policy
from shared.policy.model import Policy
from shared.testing.time import FakeNow
from shared.vocabulary import IncidentClass, Severity

POLICY = load_policy()
DEMO = Directory.from_yaml((Path(__file__).parents[3] / "deploy/src/deploy/directory.yaml").read_text())
SHIFT_ENDS = datetime(2026, 3, 4, 2, 0, tzinfo=UTC)
WEEKDAYS = [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "00:00", "until": "00:00"}]
SUNDAY = datetime(2026, 3, 8, 15, 0, tzinfo=UTC)


def rota(demo: Directory, role: str, **rotation: Any) -> Directory:
    """The demo directory with one role held by a rotation of Ada and Ben, who change at two in the morning."""
    plain = {"zone": "UTC", "start": "2026-03-02T02:00", "shift_days": 1, "members": ["ada", "ben"]}
    document = demo.model_dump(mode="json", exclude_unset=True)
    document["on_call"].pop(role)
    document["people"] = [{"id": name, "email": f"{name}@staff.example"} for name in ("ada", "ben")]
    document["schedules"] = {role: {"rotations": [plain | rotation]}}
    return Directory.from_yaml(yaml.safe_dump(document))


def waiting(policy: Policy, at: datetime, severity: Severity = Severity.HIGH) -> Incident:
    facts = Facts(at, severity, {IncidentClass.CONTENT_MODERATION: at})
    return open_incident(
        IncidentRef("SI-00000000"),
        Mode.LIVE,
        Signal(facts),
        ticket_id=None,
        is_born_of_ticket=False,
        now=at,
        policy=policy,
    )


def pages_of(
    incident: Incident, directory: Directory, policy: Policy, *, minutes: int
) -> tuple[Incident, list[tuple[datetime, Page]]]:
    """The pages of a ticker that looks every second, as long as it takes nobody to acknowledge."""
    found = []
    now, end = incident.epoch_started_at, incident.epoch_started_at + timedelta(minutes=minutes)
    while now <= end:
        incident, page = next_page(incident, now=now, directory=directory, policy=policy)
        if page is not None:
            found.append((now, page))
        now += timedelta(seconds=1)
    return incident, found


def test_whoever_comes_on_duty_while_an_incident_waits_is_paged_at_that_moment(policy: Policy, demo: Directory) -> None:
    """SN-55: unacknowledged since 01:58, hand-over at 02:00; the ladder itself goes on as if nothing had happened."""
    start = SHIFT_ENDS - timedelta(minutes=2)
    _, pages = pages_of(waiting(policy, start), rota(demo, "primary"), policy, minutes=6)
    assert [((at - start).total_seconds(), page.step, page.roles, page.handed_over_at) for at, page in pages] == [
        (0, 0, ("primary",), None),
        (120, 0, ("primary",), SHIFT_ENDS),
        (300, 1, ("primary", "secondary"), None),
    ]


def test_a_role_that_was_not_paged_yet_changes_hands_in_silence(policy: Policy, demo: Directory) -> None:
    """The second person is asked at the fifth minute, whoever that is then."""
    start = SHIFT_ENDS - timedelta(minutes=2)
    _, pages = pages_of(waiting(policy, start), rota(demo, "secondary"), policy, minutes=6)
    assert [page.handed_over_at for _, page in pages] == [None, None]


def test_once_it_is_acknowledged_a_handover_pages_nobody(policy: Policy, demo: Directory) -> None:
    start = SHIFT_ENDS - timedelta(minutes=2)
    directory = rota(demo, "primary")
    incident, _ = next_page(waiting(policy, start), now=start, directory=directory, policy=policy)
    assert incident.next_page_at == SHIFT_ENDS
    taken = acknowledge(incident, epoch=1, actor=Actor("ada", "primary"), now=start, policy=policy)
    assert next_page(taken, now=SHIFT_ENDS, directory=directory, policy=policy) == (taken, None)


def test_after_an_outage_over_a_handover_there_is_one_page_and_it_finds_both(policy: Policy, demo: Directory) -> None:
    """SN-34, SN-55: the page that belongs to now, to whoever held the role since the epoch began."""
    start = SHIFT_ENDS - timedelta(minutes=2)
    directory = rota(demo, "primary")
    incident, _ = next_page(waiting(policy, start), now=start, directory=directory, policy=policy)
    incident, page = next_page(incident, now=start + timedelta(minutes=47), directory=directory, policy=policy)
    assert page is not None
    assert (page.step, page.handed_over_at) == (3, None)
    again, none = next_page(incident, now=start + timedelta(minutes=47), directory=directory, policy=policy)
    assert (again, none) == (incident, None)


@settings(deadline=None, max_examples=60)
@given(
    begins=st.integers(0, 48 * 60),
    hours=st.integers(1, 12),
    role=st.sampled_from(["primary", "secondary", "lead", "safety_team"]),
    severity=st.sampled_from([Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL]),
)
def test_handovers_add_pages_and_take_none_away(begins: int, hours: int, role: str, severity: Severity) -> None:
    """SN-55, invariants 15 and 16: the ladder's pages come to the second as without any rota; a look is never overdue."""
    start = SHIFT_ENDS + timedelta(minutes=begins)
    directory = rota(DEMO, role, shift_days=None, shift_hours=hours)
    incident, plain = waiting(POLICY, start, severity), waiting(POLICY, start, severity)
    by_ladder, by_rota, plainly = [], [], []
    now = start
    while now <= start + timedelta(hours=6):
        incident, page = next_page(incident, now=now, directory=directory, policy=POLICY)
        plain, other = next_page(plain, now=now, directory=DEMO, policy=POLICY)
        if page is not None:
            (by_rota if page.handed_over_at else by_ladder).append((now, page.step, page.roles))
        if other is not None:
            plainly.append((now, other.step, other.roles))
        assert incident.next_page_at is not None
        assert incident.next_page_at > now
        now = min(incident.next_page_at, plain.next_page_at or incident.next_page_at)
    assert by_ladder == plainly
    due = [at for at in directory.handovers([role], start, start + timedelta(hours=6)) if _was_paged(plainly, role, at)]
    assert [at for at, _, _ in by_rota] == [at for at in due if at not in {at for at, _, _ in plainly}]


def _was_paged(pages: list[tuple[datetime, int, tuple[str, ...]]], role: str, before: datetime) -> bool:
    return any(role in roles and at < before for at, _, roles in pages)


def test_on_a_sunday_without_rota_the_next_step_runs_at_once_and_the_gap_is_known(
    policy: Policy, demo: Directory
) -> None:
    """SN-08, invariant 23: nobody is primary; the secondary is paged in the same look, and the step is told as empty."""
    directory = rota(demo, "primary", hours=WEEKDAYS)
    _, page = next_page(waiting(policy, SUNDAY), now=SUNDAY, directory=directory, policy=policy)
    assert page is not None
    assert (page.step, page.roles, page.skipped) == (1, ("secondary",), ("primary",))
    assert reachable_at(directory, SUNDAY) == reachable_at(demo, SUNDAY) - {"primary"}


def test_gaps_are_known_two_weeks_before_they_come(policy: Policy, demo: Directory) -> None:
    """SN-08: readiness, log and metric name the role and the first gap."""
    directory = rota(demo, "primary", hours=WEEKDAYS)
    now = FakeNow(SUNDAY - timedelta(days=4))
    watch = Coverage(lambda: directory, policy, now)
    assert watch.gaps() == "nobody is primary from 2026-03-07 00:00 to 2026-03-09 00:00 UTC and 1 times more"
    assert watch.last_responder_missing() is None
    assert coverage.gaps_ahead(demo, policy, SUNDAY) == {}


def test_the_last_responder_has_to_be_covered_at_every_moment(policy: Policy, demo: Directory) -> None:
    """Invariant 24, SN-09: a list whose end is nobody next weekend is no list, though today somebody is there."""
    directory = rota(demo, "last_responder", hours=WEEKDAYS)
    monday = SUNDAY - timedelta(days=6)
    watch = Coverage(lambda: directory, policy, FakeNow(monday))
    assert lanes_without_end(policy, reachable_at(directory, monday)) == ()
    assert "nobody is last_responder from 2026-03-07 00:00" in str(watch.last_responder_missing())


async def test_the_page_of_a_handover_says_so(bridge: Any) -> None:
    """SN-55: the event has the reason and the instant, ids of its own, and again the same ones when told twice."""
    start = SHIFT_ENDS - timedelta(minutes=1)
    bridge.now.set(start)
    bridge.directory = rota(bridge.directory, "primary")
    await bridge.hear(SafetyCrisisDetected, {"agent_incident_id": "A-1", "severity": "high"})
    bridge.now.set(SHIFT_ENDS)
    before = bridge.incident()
    (told,) = await bridge.look()
    bridge.incidents.save(before)
    (again,) = await bridge.look()
    assert (told.id, told.value) == (again.id, again.value)
    page = json.loads(told.value)
    assert (page["reason_code"], page["roles"], page["step"]) == ("hand_over", ["primary"], 0)
    assert page["on_duty_since"] == "2026-03-04T02:00:00.000000Z"
    bridge.now.advance(minutes=1)
    (step,) = map(json.loads, (one.value for one in await bridge.look()))
    assert (step["reason_code"], step["on_duty_since"]) == ("not_acknowledged", "2026-03-04T01:59:00.000000Z")


async def test_an_empty_step_is_told_once_a_shift_however_many_incidents_meet_it(bridge: Any) -> None:
    """SN-08: the weekend is one shift of nobody; on the next one it is told again, to the lead and ops."""
    bridge.now.set(SUNDAY)
    bridge.directory = rota(bridge.directory, "primary", hours=WEEKDAYS)
    told = []
    for day in (0, 0, 0, 7):
        bridge.now.set(SUNDAY + timedelta(days=day))
        emitted = await bridge.hear(
            SafetyCrisisDetected, {"agent_incident_id": f"A-{len(bridge.all())}", "severity": "high"}
        )
        told += [json.loads(one.value) for one in emitted if "step_empty" in one.wire_type]
    assert [(one["about"], one["roles"]) for one in told] == []
    for number in range(3):
        emitted = await bridge.hear(SafetyModerationConcern, {"agent_incident_id": f"M-{number}", "severity": "high"})
        told += [json.loads(one.value) for one in emitted if "step_empty" in one.wire_type]
        assert any("page_requested" in one.wire_type for one in emitted)
    bridge.now.set(SUNDAY + timedelta(days=14))
    for number in range(3):
        emitted = await bridge.hear(SafetyModerationConcern, {"agent_incident_id": f"N-{number}", "severity": "high"})
        told += [json.loads(one.value) for one in emitted if "step_empty" in one.wire_type]
    assert [(one["about"], one["roles"], one["lane"]) for one in told] == [("primary", ["lead", "ops"], "high")] * 2
