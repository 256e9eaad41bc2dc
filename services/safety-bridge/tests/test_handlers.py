"""What each event, command and due page makes the bridge say; codes and ids, and nothing an event says in its own words."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from safety_bridge import handlers
from safety_bridge.app import SUBSCRIPTIONS
from safety_bridge.domain import incident as rules
from safety_bridge.domain.facts import Flag
from safety_bridge.domain.identity import IncidentRef
from safety_bridge.domain.tracks import Handling
from shared.errors import DeadLetterCode
from shared.events import agent
from shared.events.agent import SafetyAgentHeartbeat, SafetyCrisisDetected, SafetyTicketFlagged, SafetyUnreadable
from shared.events.envelope import Event, Outgoing, Record, rfc3339
from shared.events.routing import RoutingAssigned, RoutingRefused
from shared.events.topics import TICKET, TOPIC_OF
from shared.testing.builders import record, wire
from shared.vocabulary import IncidentClass, Severity

AGENT = "/child-safety-agent"
CRISIS = {"agent_incident_id": "A-1", "severity": "critical"}


def facts_of(emitted: list[Outgoing]) -> list[str]:
    """What was told, but for the clocks: those are tested by themselves."""
    facts = [one.wire_type.rsplit(".", 2)[1] for one in emitted]
    return [fact for fact in facts if not fact.startswith("deadline_")]


def data_of(emitted: list[Outgoing], fact: str) -> Any:
    """The data of the only event of this fact."""
    (found,) = [json.loads(one.value) for one in emitted if facts_of([one]) == [fact]]
    return found


def routed(ticket_id: str, subcategory: str | None, **more: Any) -> dict[str, Any]:
    return {
        "ticket_id": ticket_id,
        "occurred_at": "2026-03-03T15:00:00Z",
        "emitted_at": "2026-03-03T15:00:00Z",
        "clauses": ["R6"],
        "policy_version": "p",
        "decision_id": "d-1",
        "team": "safety",
        "level": 1,
        "owning_team": "safety",
        "category": "safety",
        "subcategory": subcategory,
        "confidence": 1.0,
        "classifier_version": "c",
        "tier": "free",
        "created_at": "2026-03-03T15:00:00Z",
    } | more


async def test_a_crisis_opens_an_incident_pages_and_asks_for_a_restricted_ticket(bridge: Any) -> None:
    """SN-01, invariant 17: all of it leaves with the transaction that opened it (S3, S4, S9)."""
    emitted = await bridge.hear(SafetyCrisisDetected, CRISIS)
    assert facts_of(emitted) == ["incident_opened", "page_requested", "created", "restricted"]
    opened = data_of(emitted, "incident_opened")
    assert opened["agent_incident_id"] == "A-1"
    assert opened["ticket_id"] == data_of(emitted, "created")["ticket_id"]
    assert (opened["severity_working"], opened["classes"], opened["epoch"]) == ("critical", ["crisis"], 1)
    assert opened["tracks"] == {
        "handling": "paging",
        "report": "not_required",
        "guardian": "none",
        "intervention": "none",
    }
    page = data_of(emitted, "page_requested")
    assert (page["lane"], page["roles"], page["late_by_seconds"]) == ("crisis", ["primary", "safety_team"], 0.0)
    assert page["incident_ref"] == opened["incident_ref"] == bridge.incident().ref


async def test_a_report_of_an_account_without_any_ticket_has_a_restricted_one_and_an_hour(bridge: Any) -> None:
    """SN-15: nothing is attached to a ticket that its user can see, and nothing in the new one says whose it is (S3, S9)."""
    said = {"agent_incident_id": "A-1", "severity": "high", "account_ref": "acc-1"}
    emitted = await bridge.hear(agent.SafetyMandatoryReportTriggered, said)
    assert facts_of(emitted) == ["incident_opened", "page_requested", "created", "restricted"]
    created = data_of(emitted, "created")
    assert created["requester"]["id"] == "safety"
    general = [one for one in emitted if one.topic == "support.ticket.v1"]
    assert {one.key for one in general} == {created["ticket_id"]} == {data_of(emitted, "incident_opened")["ticket_id"]}
    for one in general:
        assert not {one.correlation_id, one.causation_id} & {bridge.incident().ref, emitted[0].causation_id}
    clocks = {clock.key: clock.due_at - clock.started_at for clock in bridge.incident().clocks}
    assert clocks["outcome", IncidentClass.MANDATORY_REPORT] == timedelta(minutes=60)


async def test_the_same_event_again_opens_and_pages_nothing(bridge: Any) -> None:
    """S1: also where the inbox would not know it (SN-02)."""
    message = wire(SafetyCrisisDetected, CRISIS, occurred_at=bridge.now())
    await bridge.hear_again(message)
    for _ in range(5):
        assert await bridge.hear_again(message) == []


async def test_a_replay_gives_the_same_reference(bridge: Any, policy: Any) -> None:
    """The reference follows from source, agent incident id and mode; the ticket's id from nothing (S9)."""
    other = type(bridge)(policy)
    await bridge.hear(SafetyCrisisDetected, CRISIS)
    await other.hear(SafetyCrisisDetected, CRISIS)
    assert bridge.incident().ref == other.incident().ref
    assert bridge.incident().ticket_id != other.incident().ticket_id


@pytest.mark.parametrize(
    ("event_class", "incident_class", "report"),
    [
        (agent.SafetyCrisisDetected, ["crisis"], "not_required"),
        (agent.SafetyMandatoryReportTriggered, ["mandatory_report"], "required"),
        (agent.SafetyMandatoryReportGenerated, ["mandatory_report"], "generated"),
        (agent.SafetyMandatoryReportSubmitted, ["mandatory_report"], "submitted"),
        (agent.SafetyMandatoryReportAccepted, ["mandatory_report"], "accepted"),
        (agent.SafetyMandatoryReportFailed, ["mandatory_report"], "required"),
        (agent.SafetyModerationConcern, ["content_moderation"], "not_required"),
        (agent.SafetyPrivacyConcern, ["privacy"], "not_required"),
        (agent.SafetyCoppaConcern, ["coppa"], "not_required"),
        (agent.SafetyIncidentUpdated, [], "not_required"),
    ],
)
async def test_every_event_of_the_agent_opens_an_incident_of_its_class(
    bridge: Any, event_class: type[Event], incident_class: list[str], report: str
) -> None:
    """S3: open first, understand later."""
    opened = data_of(await bridge.hear(event_class, {"agent_incident_id": "A-1"}), "incident_opened")
    assert (opened["classes"], opened["tracks"]["report"]) == (incident_class, report)


async def test_a_report_moving_on_is_told_and_pages_nobody_anew(bridge: Any) -> None:
    """S3."""
    await bridge.hear(agent.SafetyMandatoryReportTriggered, {"agent_incident_id": "A-1", "severity": "high"})
    emitted = await bridge.hear(agent.SafetyMandatoryReportSubmitted, {"agent_incident_id": "A-1", "severity": "high"})
    assert facts_of(emitted) == ["incident_updated"]
    assert data_of(emitted, "incident_updated")["tracks"]["report"] == "submitted"


async def test_a_lower_word_lowers_nothing(bridge: Any) -> None:
    """SN-04: working and peak stay critical, paging goes on unchanged (S1)."""
    await bridge.hear(SafetyCrisisDetected, CRISIS)
    before = bridge.incident()
    lower = {"agent_incident_id": "A-1", "severity": "low", "revision": 9}
    assert facts_of(await bridge.hear(agent.SafetyIncidentUpdated, lower)) == ["reassessment_proposed"]
    after = bridge.incident()
    assert (after.severity_working, after.facts.severity, after.epoch, after.next_page_at) == (
        Severity.CRITICAL,
        Severity.CRITICAL,
        before.epoch,
        before.next_page_at,
    )
    assert await bridge.hear(agent.SafetyIncidentUpdated, lower) == []


async def test_a_rise_after_an_acknowledgement_pages_at_once(bridge: Any) -> None:
    """SN-05, invariant 20 (S4)."""
    await bridge.hear(agent.SafetyModerationConcern, {"agent_incident_id": "A-1", "severity": "high"})
    await bridge.acknowledge()
    emitted = await bridge.hear(agent.SafetyIncidentUpdated, {"agent_incident_id": "A-1", "severity": "critical"})
    assert facts_of(emitted) == ["incident_raised", "page_requested"]
    raised = data_of(emitted, "incident_raised")
    assert (raised["epoch"], raised["reason_code"], raised["tracks"]["handling"]) == (2, "severity_rose", "paging")


async def test_an_acknowledgement_of_an_epoch_that_has_passed_stops_nothing(bridge: Any) -> None:
    """SN-06 (S4)."""
    await bridge.hear(agent.SafetyModerationConcern, {"agent_incident_id": "A-1", "severity": "high"})
    await bridge.hear(agent.SafetyIncidentUpdated, {"agent_incident_id": "A-1", "severity": "critical"})
    with pytest.raises(rules.EpochHasPassed):
        await bridge.acknowledge(epoch=1)
    bridge.now.advance(minutes=2)
    assert facts_of(await bridge.look()) == ["page_requested"]


async def test_an_acknowledgement_is_told_once_and_ends_paging(bridge: Any) -> None:
    """Invariant 19, HD-79: with whom and in which role; a second one changes nothing (S4)."""
    await bridge.hear(SafetyCrisisDetected, CRISIS)
    emitted = await bridge.acknowledge("primary")
    told = data_of(emitted, "incident_acknowledged")
    assert (told["actor_id"], told["actor_role"], told["tracks"]["handling"]) == (
        "primary-1",
        "support",
        "acknowledged",
    )
    assert await bridge.acknowledge("primary") == []
    bridge.now.advance(minutes=14)
    assert facts_of(await bridge.look()) == []


async def test_a_report_pages_legal_until_legal_has_taken_it(bridge: Any) -> None:
    """S4: two roles acknowledge a mandatory report."""
    await bridge.hear(agent.SafetyMandatoryReportTriggered, {"agent_incident_id": "A-1", "severity": "high"})
    handling = [data_of(await bridge.acknowledge(), "incident_acknowledged")["tracks"]["handling"]]
    bridge.now.advance(minutes=5)
    assert data_of(await bridge.look(), "page_requested")["roles"] == ["legal_compliance"]
    handling += [data_of(await bridge.acknowledge("legal_compliance"), "incident_acknowledged")["tracks"]["handling"]]
    assert handling == ["paging", "acknowledged"]


async def test_pages_go_on_by_the_timer_with_ids_of_their_own(bridge: Any) -> None:
    """SN-33, invariant 26: the id of a page follows from incident, epoch, step and repetition (S4)."""
    await bridge.hear(SafetyCrisisDetected, CRISIS)
    for minutes in (2, 2, 1, 3, 5, 5):
        bridge.now.advance(minutes=minutes)
        assert "page_requested" in facts_of(await bridge.look())
        assert await bridge.look() == []
    assert facts_of(bridge.told).count("paging_exhausted") == 1
    pages = [one for one in bridge.told if facts_of([one]) == ["page_requested"]]
    assert len({one.id for one in pages}) == len(pages) == 7


async def test_after_an_outage_each_incident_is_paged_once_and_says_how_late(bridge: Any) -> None:
    """SN-34, invariant 28 (S4)."""
    for number in range(3):
        await bridge.hear(SafetyCrisisDetected, CRISIS | {"agent_incident_id": f"A-{number}"})
    bridge.now.advance(minutes=47)
    emitted = await bridge.look()
    pages = [json.loads(one.value) for one in emitted if facts_of([one]) == ["page_requested"]]
    late = [json.loads(one.value) for one in emitted if facts_of([one]) == ["page_late"]]
    assert [(page["step"], page["late_by_seconds"]) for page in pages] == [(4, 2700.0)] * 3
    assert [(page["missed_steps"], page["late_by_seconds"]) for page in late] == [(10, 2700.0)] * 3


async def test_a_person_may_raise_an_incident(bridge: Any) -> None:
    """S1: to a severity or by a class, with who did it."""
    await bridge.hear(agent.SafetyPrivacyConcern, {"agent_incident_id": "A-1", "severity": "medium"})
    emitted = await bridge.raise_it(severity=Severity.HIGH)
    assert facts_of(emitted) == ["incident_raised", "page_requested"]
    assert data_of(emitted, "incident_raised")["actor_id"] == "lead-1"
    emitted = await bridge.raise_it(incident_class=IncidentClass.MANDATORY_REPORT)
    assert data_of(emitted, "page_requested")["lane"] == "mandatory_report"
    assert await bridge.raise_it(severity=Severity.HIGH) == []


@pytest.mark.parametrize(
    ("subcategory", "incident_class", "severity"),
    [
        ("crisis_detection", ["crisis"], "critical"),
        ("mandatory_reporting", ["mandatory_report"], "critical"),
        ("content_moderation", ["content_moderation"], "high"),
        ("privacy_concern", ["privacy"], "medium"),
        ("coppa_compliance", ["coppa"], "medium"),
        (None, [], "high"),
        ("login", [], "high"),
    ],
)
async def test_a_safety_ticket_has_one_incident_whichever_word_of_it_comes_first(
    bridge: Any, policy: Any, subcategory: str | None, incident_class: list[str], severity: str
) -> None:
    """S8: from the flag or from the routing, and no restricted ticket beside it (S9)."""
    routed_subcategory = None if subcategory == "login" else subcategory
    words = [
        (SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": subcategory}),
        (RoutingAssigned, routed("T-1", routed_subcategory)),
    ]
    for first, second in (words, words[::-1]):
        fresh = type(bridge)(policy)
        emitted = await fresh.hear(*first)
        assert facts_of(emitted) == ["incident_opened", "page_requested"]
        opened = data_of(emitted, "incident_opened")
        assert (opened["classes"], opened["severity_working"]) == (incident_class, severity)
        assert (opened["ticket_id"], opened["clauses"]) == ("T-1", ["S8"])
        assert await fresh.hear(*second) == []


async def test_a_second_cry_on_a_ticket_that_somebody_took_asks_again(bridge: Any) -> None:
    """S6: what intake flags in a later message is no repetition, however much the first one weighed."""
    await bridge.hear(SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"})
    await bridge.acknowledge()
    assert await bridge.hear(RoutingAssigned, routed("T-1", "crisis_detection")) == []
    emitted = await bridge.hear(SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"})
    assert facts_of(emitted) == ["incident_raised", "page_requested"]


async def test_other_tickets_and_restricted_ones_open_nothing(bridge: Any) -> None:
    """S8, S9."""
    assert await bridge.hear(RoutingAssigned, routed("T-1", "login", category="account")) == []
    assert await bridge.hear(RoutingAssigned, routed("T-2", None, restricted=True)) == []
    assert bridge.all() == []


async def test_what_is_said_of_our_own_restricted_ticket_is_no_news(bridge: Any) -> None:
    """A router that has not seen the mark yet must not raise the incident by its own ticket (S9)."""
    await bridge.hear(agent.SafetyPrivacyConcern, {"agent_incident_id": "A-1", "severity": "low"})
    before = bridge.incident()
    assert await bridge.hear(RoutingAssigned, routed(before.ticket_id, None)) == []
    assert bridge.incident() == before


async def test_an_agents_word_on_a_known_safety_ticket_joins_its_incident(bridge: Any) -> None:
    """S8: one page lane for both, no second ticket, and found by either id afterwards."""
    await bridge.hear(SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "content_moderation"})
    emitted = await bridge.hear(SafetyCrisisDetected, CRISIS | {"ticket_ref": "T-1"})
    assert facts_of(emitted) == ["incident_raised", "page_requested"]
    assert data_of(emitted, "incident_raised")["agent_incident_id"] == "A-1"
    assert facts_of(await bridge.hear(agent.SafetyMandatoryReportTriggered, CRISIS)) == [
        "incident_raised",
        "page_requested",
    ]
    assert bridge.incident().ticket_id == "T-1"


async def test_a_flag_for_a_ticket_the_agent_has_named_joins_the_agents_incident(bridge: Any) -> None:
    """SN-16: the link is pending, and the ticket's own word makes it, without a second page (S8, S9)."""
    flag = {"ticket_id": "T-1", "subcategory": "crisis_detection"}
    emitted = await bridge.hear(SafetyCrisisDetected, CRISIS | {"ticket_ref": "T-1"})
    assert facts_of(emitted) == ["incident_opened", "page_requested"]
    assert data_of(emitted, "incident_opened")["ticket_id"] is None
    await bridge.acknowledge()
    assert facts_of(await bridge.hear(SafetyTicketFlagged, flag)) == ["incident_updated"]
    assert bridge.incident().ticket_id == "T-1"
    bridge.now.advance(minutes=6)
    assert facts_of(await bridge.look()) == []
    assert facts_of(await bridge.hear(SafetyTicketFlagged, flag)) == ["incident_raised", "page_requested"]


async def test_a_ticket_that_turns_up_when_all_is_over_opens_it_again(bridge: Any) -> None:
    """S6: somebody of whom an event spoke long ago cries out for the first time; a closed incident swallows nothing."""
    await bridge.hear(SafetyCrisisDetected, CRISIS | {"ticket_ref": "T-1"})
    bridge.incidents.save(replace(bridge.incident(), handling=Handling.CLOSED, next_page_at=None))
    bridge.now.advance(days=7)
    emitted = await bridge.hear(SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"})
    assert facts_of(emitted)[:2] == ["incident_reopened", "page_requested"]


@pytest.mark.parametrize("environment", [5, ["prod"], {}, " ", True])
async def test_an_environment_that_is_no_word_makes_no_stranger_of_a_crisis(bridge: Any, environment: Any) -> None:
    """Invariant 5: an odd value there costs the signal nothing (S6)."""
    bridge.environment = "prod"
    await bridge.hear(SafetyCrisisDetected, CRISIS | {"environment": environment})
    assert bridge.incident().facts.classes == {IncidentClass.CRISIS}


async def test_a_ticket_that_does_not_turn_up_is_not_waited_for_longer_than_five_minutes(bridge: Any) -> None:
    """SN-16: then the incident has a restricted one of its own, and the late one links without a page (S9)."""
    await bridge.hear(SafetyCrisisDetected, CRISIS | {"ticket_ref": "T-1"})
    await bridge.acknowledge()
    bridge.now.advance(minutes=5)
    emitted = await bridge.look()
    assert facts_of(emitted) == ["incident_updated", "created", "restricted"]
    own = data_of(emitted, "created")["ticket_id"]
    assert own == data_of(emitted, "incident_updated")["ticket_id"] != "T-1"
    assert await bridge.look() == []
    assert await bridge.hear(SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"}) == []
    assert bridge.incident().ticket_id == own


async def test_two_incidents_that_turn_out_to_be_one_page_on_one_lane(bridge: Any) -> None:
    """S8: the ticket's incident goes on, the agent's own points to it and pages no more."""
    await bridge.hear(SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"})
    await bridge.acknowledge()
    of_ticket = bridge.incident().ref
    opened = data_of(await bridge.hear(SafetyCrisisDetected, CRISIS), "incident_opened")["incident_ref"]
    emitted = await bridge.hear(agent.SafetyIncidentUpdated, CRISIS | {"ticket_ref": "T-1"})
    assert facts_of(emitted) == ["incident_updated", "incident_raised", "page_requested"]
    gone, whole = data_of(emitted, "incident_updated"), data_of(emitted, "incident_raised")
    assert (gone["incident_ref"], gone["reason_code"], gone["tracks"]["handling"]) == (opened, "merged", "merged")
    assert (whole["incident_ref"], whole["epoch"]) == (of_ticket, 2)
    assert await bridge.hear(agent.SafetyIncidentUpdated, CRISIS) == []
    bridge.now.advance(minutes=2)
    assert [json.loads(one.value)["incident_ref"] for one in await bridge.look()] == [of_ticket]
    with pytest.raises(rules.ContinuesElsewhere):
        await bridge.acknowledge(ref=opened)


async def test_a_second_matter_of_the_agents_on_one_ticket_does_not_pass_for_one_taken(bridge: Any) -> None:
    """SN-57 where it meets S8: joined, and somebody is asked again."""
    await bridge.hear(SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"})
    await bridge.hear(SafetyCrisisDetected, CRISIS | {"ticket_ref": "T-1"})
    await bridge.acknowledge()
    emitted = await bridge.hear(SafetyCrisisDetected, CRISIS | {"agent_incident_id": "A-2", "ticket_ref": "T-1"})
    assert facts_of(emitted) == ["incident_raised", "page_requested"]


async def test_what_is_tried_with_the_ticket_of_an_incident_changes_nothing_of_it_and_is_told(bridge: Any) -> None:
    """SN-21: the router refuses to close, merge or move it; incident, clocks and pages stay, the attempt stands in the record.
    That a ticket is solved or an account deleted does not come here at all (S1)."""
    await bridge.hear(SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"})
    before = bridge.incident()
    refused = {name: routed("T-1", None)[name] for name in ("ticket_id", "occurred_at", "emitted_at", "policy_version")}
    refused |= {
        "clauses": ["S1"],
        "clause": "S1",
        "decision_id": "d-2",
        "request_id": "zq-1",
        "reason_code": "safety-stands",
    }
    emitted = await bridge.hear(RoutingRefused, refused)
    assert facts_of(emitted) == ["incident_updated"]
    assert data_of(emitted, "incident_updated")["reason_code"] == handlers.TICKET_CHANGE_REFUSED
    assert replace(bridge.incident(), revision=before.revision) == before
    assert await bridge.hear(RoutingRefused, refused | {"ticket_id": "T-2"}) == []
    bridge.now.advance(minutes=2)
    assert facts_of(await bridge.look()) == ["page_requested"]
    assert TICKET not in {TOPIC_OF[event.wire_type] for event in SUBSCRIPTIONS}


def test_of_what_the_router_refuses_only_what_it_refuses_for_safety_concerns_the_bridge() -> None:
    """S1: and of what it assigns only safety (S8)."""
    for clause, concerns in (("S1", True), ("L12", False)):
        assert handlers.is_routed_to_safety(RoutingRefused.model_construct(clause=clause)) is concerns


async def test_an_event_without_an_incident_is_a_matter_of_its_own_each_time(bridge: Any) -> None:
    """S6: it names the ticket alone; two of them are no repetition, whatever else they have in common."""
    await bridge.hear(SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"})
    for _ in range(2):
        await bridge.acknowledge()
        emitted = await bridge.hear(SafetyCrisisDetected, {"severity": "critical", "ticket_ref": "T-1"})
        assert facts_of(emitted) == ["incident_raised", "page_requested"]


async def test_two_incidents_of_one_account_page_each_on_its_own(bridge: Any) -> None:
    """SN-57 (S4)."""
    await bridge.hear(SafetyCrisisDetected, CRISIS | {"account_ref": "acc-1"})
    await bridge.acknowledge()
    emitted = await bridge.hear(SafetyCrisisDetected, {"agent_incident_id": "A-2", "account_ref": "acc-1"})
    assert facts_of(emitted) == ["incident_opened", "page_requested", "created", "restricted"]


async def test_a_drill_and_the_real_thing_are_two_incidents(bridge: Any) -> None:
    """SN-41: a drill has no ticket, and a live word for the same id opens the live incident."""
    drill = await bridge.hear(SafetyCrisisDetected, CRISIS | {"mode": "drill"})
    live = await bridge.hear(SafetyCrisisDetected, CRISIS)
    assert facts_of(drill) == ["incident_opened", "page_requested"]
    assert data_of(drill, "page_requested")["mode"] == "drill"
    assert facts_of(live) == ["incident_updated", "incident_opened", "page_requested", "created", "restricted"]
    assert all(Flag.OTHER_MODE in one.facts.flags for one in bridge.all())


async def test_crises_without_an_id_are_not_taken_for_one(bridge: Any) -> None:
    """S6: each is an incident of its own, flagged."""
    for _ in range(2):
        opened = data_of(await bridge.hear(SafetyCrisisDetected, {"severity": "critical"}), "incident_opened")
        assert (opened["agent_incident_id"], opened["flags"]) == (None, ["agent_incident_id_missing"])
    assert len(bridge.all()) == 2


async def test_what_was_detected_hours_ago_is_paged_at_the_step_of_its_age(bridge: Any) -> None:
    """SN-35 (S4)."""
    late = {"detected_at": rfc3339(bridge.now() - timedelta(hours=3))}
    emitted = await bridge.hear(agent.SafetyMandatoryReportTriggered, CRISIS | late)
    page = json.loads(emitted[1].value)
    assert (page["step"], page["late_by_seconds"]) == (4, 10800.0)
    assert "last_responder" in page["roles"]


def garbage(
    at: Any, *, key: bytes = b"k-1", headers: tuple[tuple[str, bytes], ...] = (), value: bytes = b"{"
) -> Record:
    return Record("safety.agent.v1", 0, 7, at, key, value, headers)


async def test_what_cannot_be_read_is_a_paged_incident_of_its_producer(bridge: Any) -> None:
    """SN-43, invariant 1: high, one for all of a producer's, paged again until somebody takes it (S2, S6)."""
    from_a = (("ce_source", b"/agent-a"),)
    emitted = await bridge.cannot_read(garbage(bridge.now(), headers=from_a), DeadLetterCode.INVALID_JSON)
    assert facts_of(emitted) == ["incident_opened", "page_requested", "created", "restricted"]
    opened = data_of(emitted, "incident_opened")
    assert (opened["severity_working"], opened["flags"], opened["clauses"]) == ("high", ["unreadable"], ["S6"])
    structured = json.dumps({"source": "/agent-a", "type": "?"}).encode()
    assert await bridge.cannot_read(garbage(bridge.now(), value=structured), DeadLetterCode.UNKNOWN_TYPE) == []
    bridge.now.advance(minutes=5)
    assert facts_of(await bridge.look()) == ["page_requested"]
    await bridge.cannot_read(garbage(bridge.now(), headers=(("ce_source", b"\xff"),)), DeadLetterCode.INVALID_ENVELOPE)
    await bridge.cannot_read(garbage(bridge.now(), key=b"k-2", value=b"[]"), DeadLetterCode.INVALID_ENVELOPE)
    assert len(bridge.all()) == 3


async def test_a_wrong_clock_delays_no_page(bridge: Any) -> None:
    """SN-35, L13: neither an event's time nor a record's puts a page off."""
    ahead = bridge.now() + timedelta(minutes=50)
    for emitted in (
        await bridge.cannot_read(garbage(ahead), DeadLetterCode.INVALID_JSON),
        await bridge.hear(SafetyUnreadable, {}, occurred_at=ahead),
        await bridge.hear(SafetyTicketFlagged, {"ticket_id": "T-1"}, occurred_at=ahead),
        await bridge.hear(SafetyCrisisDetected, CRISIS | {"detected_at": rfc3339(ahead)}, occurred_at=ahead),
    ):
        assert facts_of(emitted)[:2] == ["incident_opened", "page_requested"]
        assert data_of(emitted, "page_requested")["late_by_seconds"] == 0.0


async def test_the_next_unreadable_word_after_an_acknowledgement_asks_again(bridge: Any) -> None:
    """S6: what somebody took yesterday does not swallow what comes today."""
    await bridge.cannot_read(garbage(bridge.now()), DeadLetterCode.INVALID_JSON)
    await bridge.acknowledge()
    emitted = await bridge.cannot_read(garbage(bridge.now()), DeadLetterCode.INVALID_JSON)
    assert facts_of(emitted) == ["incident_raised", "page_requested"]
    assert data_of(emitted, "incident_raised")["reason_code"] == "asked_again"


async def test_a_body_intake_could_not_read_is_an_incident_too(bridge: Any) -> None:
    """S6: the fast lane accepts every body."""
    emitted = await bridge.hear(SafetyUnreadable, {"reason_code": "invalid_json"}, source="/agent-a")
    assert data_of(emitted, "incident_opened")["flags"] == ["unreadable"]


@pytest.mark.parametrize(("first", "second"), [("high", "critical"), ("critical", "high")])
async def test_of_two_bodies_under_one_id_the_worse_one_stands(bridge: Any, first: str, second: str) -> None:
    """SN-54, invariant 4: in either order; the conflict is flagged (S6)."""
    same = {"event_id": "e-77", "source": AGENT, "at": bridge.now()}
    await bridge.hear(SafetyCrisisDetected, CRISIS | {"severity": first}, id="e-77", source=AGENT)
    other = record(SafetyCrisisDetected, CRISIS | {"severity": second}, **same)
    emitted = await bridge.cannot_read(other, DeadLetterCode.ID_CONFLICT)
    assert len({one.id for one in bridge.told}) == len(bridge.told)
    incident = bridge.incident()
    assert (incident.severity_working, incident.facts.flags) == (Severity.CRITICAL, {Flag.CONFLICTING_ID})
    assert facts_of(emitted) == (
        ["incident_raised", "page_requested"] if second == "critical" else ["incident_updated"]
    )


@pytest.mark.parametrize(
    ("event", "said", "severity"),
    [
        (SafetyCrisisDetected, {"severity": "critical"}, "critical"),
        (SafetyCrisisDetected, {}, "critical"),
        (SafetyCrisisDetected, {"severity": "soon"}, "critical"),
        (SafetyCrisisDetected, {"severity": "medium"}, "high"),
        (SafetyCrisisDetected, {"severity": "high", "responses": ["mandatory_reporting"]}, "critical"),
        (agent.SafetyModerationConcern, {"responses": ["crisis_intervention"]}, "critical"),
        (agent.SafetyModerationConcern, {}, "high"),
        (SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"}, "critical"),
        (SafetyTicketFlagged, {"ticket_id": "T-1"}, "high"),
    ],
)
async def test_a_handlers_fault_is_an_incident_as_well(
    bridge: Any, event: type[agent.AgentEvent], said: dict[str, Any], severity: str
) -> None:
    """Invariant 1: also where we are the ones who failed, and nothing of its severity is lowered by that (S2, S6, S8)."""
    readable = record(event, {"agent_incident_id": "A-1"} | said, source=AGENT, at=bridge.now())
    emitted = await bridge.cannot_read(readable, DeadLetterCode.HANDLER_ERROR)
    opened = data_of(emitted, "incident_opened")
    assert (opened["flags"], opened["severity_working"]) == (["unreadable"], severity)


async def test_a_routed_safety_ticket_that_could_not_be_handled_is_an_incident(bridge: Any) -> None:
    """S6: other routing that ends as a dead letter is no signal."""
    opened = ["incident_opened", "page_requested", "created", "restricted"]
    for category, subcategory, opens, severity in (
        ("billing", None, [], None),
        ("safety", None, opened, "high"),
        ("safety", "crisis_detection", ["incident_raised", "page_requested"], "critical"),
    ):
        unit = bridge.unit()
        said = routed("T-1", subcategory, category=category)
        kept = record(RoutingAssigned, said, source="/router", at=bridge.now())
        handlers.on_unhandled_routing(kept, DeadLetterCode.HANDLER_ERROR, unit)
        handlers.on_unhandled_routing(garbage(bridge.now()), DeadLetterCode.INVALID_JSON, unit)
        await unit.save()
        assert facts_of(unit.emitted) == opens
        assert not opens or json.loads(unit.emitted[0].value)["severity_working"] == severity


async def test_a_heartbeat_opens_nothing(bridge: Any) -> None:
    """It belongs to no incident, also under an id that was used before."""
    heartbeat = record(SafetyAgentHeartbeat, {}, source=AGENT, at=bridge.now())
    assert await bridge.cannot_read(heartbeat, DeadLetterCode.ID_CONFLICT) == []


async def test_a_restricted_ticket_is_the_same_for_every_matter_and_leads_to_none(bridge: Any) -> None:
    """S9, SN-40, invariant 32: it differs in its id alone, and shares no id with the incident or its cause."""
    crisis = await bridge.hear(SafetyCrisisDetected, CRISIS, id="heard-77")
    report = await bridge.hear(agent.SafetyMandatoryReportTriggered, {"agent_incident_id": "A-2"}, id="heard-78")
    tickets = []
    for emitted in (crisis, report):
        created, restricted = emitted[-2:]
        ticket_id = created.key
        assert restricted.key == ticket_id
        outside = b"".join(
            [created.value, restricted.value, *(value for _, value in created.headers() + restricted.headers())]
        )
        for inside in ("A-1", "A-2", "heard-77", "heard-78", "SI-", *(one.id for one in emitted[:2])):
            assert inside.encode() not in outside
        tickets.append((json.loads(created.value) | {"ticket_id": None}, len(ticket_id)))
    assert tickets[0] == tickets[1]
    assert tickets[0][0]["category"] == "safety"
    assert tickets[0][0]["subcategory"] is None


async def test_nothing_an_event_says_in_its_own_words_is_passed_on(bridge: Any) -> None:
    """SN-23, S5: canaries in every field and attribute that is no id."""
    canaries = dict.fromkeys(
        ("mode", "environment", "severity", "class", "responses", "detected_at", "guardian_contact", "transcript"),
        "Zanzibar",
    ) | {
        "responses": ["Zanzibar"],
        "report": {"state": "Zanzibar", "authority_code": "Zanzibar"},
        "evidence_refs": ["Zanzibar"],
    }
    envelope = {"subject": "Zanzibar", "correlation_id": "Zanzibar"}
    for event_class in rules_events():
        await bridge.hear(event_class, canaries | {"agent_incident_id": "A-1", "ticket_ref": "T-1"}, **envelope)
    flag = {"ticket_id": "T-2", "subcategory": "Zanzibar", "evidence": ["Zanzibar"]}
    await bridge.hear(SafetyTicketFlagged, flag, **envelope)
    await bridge.hear(SafetyUnreadable, {"reason_code": "Zanzibar"}, source="Zanzibar", **envelope)
    await bridge.hear(RoutingAssigned, routed("T-3", None, evidence=["Zanzibar"], assignee="Zanzibar"), **envelope)
    headers = (("ce_source", b"Zanzibar"), ("x", b"Zanzibar"))
    await bridge.cannot_read(
        garbage(bridge.now(), key=b"Zanzibar", headers=headers, value=b"Zanzibar"), DeadLetterCode.INVALID_JSON
    )
    bridge.now.advance(minutes=10)
    await bridge.look()
    assert len(bridge.told) > 8
    for one in bridge.told:
        assert (
            b"anzibar" not in b"|".join([one.key.encode(), one.value, *(value for _, value in one.headers())]).lower()
        )
    assert "anzibar" not in str([replace(one, ref=IncidentRef("")) for one in bridge.all()]).lower()


def rules_events() -> list[type[Event]]:
    return [one for one in agent.EVENTS if one not in (SafetyTicketFlagged, SafetyUnreadable, SafetyAgentHeartbeat)]
