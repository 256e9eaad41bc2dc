"""The tables on a real database: one incident for one matter, whoever comes first and however many come at once."""

import asyncio
from typing import Any

import pytest

from safety_bridge import handlers
from safety_bridge.domain import identity
from safety_bridge.domain.identity import Mode
from shared.errors import TransientFailure
from shared.events.agent import SafetyCrisisDetected, SafetyIncidentUpdated, SafetyTicketFlagged
from shared.testing.builders import wire

CRISIS = {"agent_incident_id": "A-1", "severity": "critical"}
FLAG = {"ticket_id": "T-1", "subcategory": "crisis_detection"}


async def test_an_incident_is_found_again_under_each_of_its_names(service: Any) -> None:
    """S8: by the agent's id, by the ticket it names, and by its restricted ticket."""
    await service.hear(SafetyCrisisDetected, CRISIS | {"ticket_ref": "T-1"})
    await service.hear(SafetyIncidentUpdated, CRISIS | {"report": {"required": True}})
    await service.hear(SafetyTicketFlagged, FLAG)
    found = await service.one()
    assert (found["epoch"], found["tracks"]["report"]) == (2, "required")
    for query in ("agent_incident_id=A-1", "ticket_id=T-1", f"ticket_id={found['ticket_id']}"):
        answer = await service.get(f"/v1/incidents?{query}")
        assert [one["incident_ref"] for one in answer.json()["incidents"]] == [found["incident_ref"]]


async def test_two_that_open_the_same_incident_at_once_end_with_one(service: Any) -> None:
    """The flag and the routing come through different consumers: the later one sees the earlier one when it tries again (S8)."""
    flag = wire(SafetyTicketFlagged, FLAG, occurred_at=service.now())
    loaded, late = asyncio.Event(), asyncio.Event()

    async def hear_late() -> None:
        async with service.units.begin() as unit:
            await unit.load([flag])
            loaded.set()
            await late.wait()
            unit.because_of(flag)
            handlers.on_agent_signal(flag, unit)

    waiting = asyncio.create_task(hear_late())
    await loaded.wait()
    await service.hear(SafetyTicketFlagged, FLAG)
    late.set()
    with pytest.raises(TransientFailure):
        await waiting
    await service.hear(SafetyTicketFlagged, FLAG)
    assert (await service.left())[:2] == ["incident_opened", "page_requested"]
    assert (await service.left()).count("page_requested") == 1


async def test_a_reference_that_is_taken_gives_way_to_the_next(service: Any) -> None:
    """40 bits collide before the world ends; a signal must not wait for that."""
    born_as = identity.of_agent_incident("/helpdesk", "A-1", Mode.LIVE)
    first, second = (ref for ref, _ in zip(identity.references(born_as), range(2), strict=False))
    await service.hear(SafetyCrisisDetected, CRISIS | {"agent_incident_id": "A-0"})
    await service.rows(f"insert into incident select '{first}', document, 1, null, opened_at from incident")
    await service.hear(SafetyCrisisDetected, CRISIS)
    (found,) = (await service.get("/v1/incidents?agent_incident_id=A-1")).json()["incidents"]
    assert found["incident_ref"] == second


async def test_due_pages_are_shared_by_replicas(service: Any) -> None:
    """What one has in hand the other leaves alone; nobody is paged twice (S4)."""
    for number in range(3):
        await service.hear(SafetyCrisisDetected, CRISIS | {"agent_incident_id": f"A-{number}"})
    service.now.advance(minutes=2)
    async with service.units.begin() as one, service.units.begin() as other:
        mine, _ = await one.incidents.load_due(one.connection, now=one.now, limit=2)
        theirs, _ = await other.incidents.load_due(other.connection, now=other.now, limit=2)
        for unit, due in ((one, mine), (other, theirs)):
            for incident in due:
                handlers.look(incident, unit)
    assert (len(mine), len(theirs)) == (2, 1)
    assert (await service.left()).count("page_requested") == 6
    async with service.units.begin() as again:
        assert await again.incidents.load_due(again.connection, now=again.now, limit=9) == ([], [])


async def test_what_turns_out_to_be_one_matter_is_one_from_then_on(service: Any) -> None:
    """S8: the names of the one lead to the other, also for those who come later."""
    await service.hear(SafetyTicketFlagged, FLAG)
    of_ticket = (await service.one())["incident_ref"]
    await service.hear(SafetyCrisisDetected, CRISIS)
    await service.hear(SafetyIncidentUpdated, CRISIS | {"ticket_ref": "T-1"})
    await service.hear(SafetyIncidentUpdated, CRISIS | {"report": {"state": "accepted"}})
    (found,) = (await service.get("/v1/incidents?agent_incident_id=A-1")).json()["incidents"]
    assert (found["incident_ref"], found["tracks"]["report"]) == (of_ticket, "accepted")
