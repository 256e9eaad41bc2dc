"""The three examples of the source document, and what must never go wrong with a safety signal, through the whole system."""

import asyncio
from typing import Any

import pytest

from journeys.system import System, event

AGENT = {"kind": "agent", "id": "a-1", "name": "Sam"}


def requester(ticket_id: str) -> dict[str, str]:
    return {"id": f"u-{ticket_id}", "name": "Ada", "email": f"{ticket_id}@customers.example"}


async def mails_to(system: System, address: str, count: int) -> list[dict[str, Any]]:
    """The mails to an address once there are so many."""
    async with asyncio.timeout(60):
        while True:
            mails = [mail for mail in await system.mails() if address in mail["to"]]
            if len(mails) >= count:
                return mails
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("ticket_id", "category", "subcategory", "owner"),
    [
        ("EX-1", "technical", "story_generation", "technical_support"),
        ("EX-2", "billing", "payment_failure", "finance"),
    ],
)
async def test_a_standard_issue(system: System, ticket_id: str, category: str, subcategory: str, owner: str) -> None:
    """Examples 1 and 2: triaged to customer service, answered in time, resolved, and the customer was told."""
    created = event(
        "created",
        ticket_id,
        f"{ticket_id}-1",
        tier="individual",
        category=category,
        subcategory=subcategory,
        requester=requester(ticket_id),
    )
    await system.post(created)
    await system.post(event("message_added", ticket_id, f"{ticket_id}-2", author=AGENT, public=True))
    await system.post(event("resolved", ticket_id, f"{ticket_id}-3", summary="It works again.", by=AGENT))
    routing = await system.read_until("support.routing.v1", lambda seen: any(one.key == ticket_id for one in seen))
    (assigned,) = [one.data for one in routing if one.key == ticket_id]
    assert (assigned["team"], assigned["level"], assigned["owning_team"]) == ("customer_service", 1, owner)
    sla = await system.read_until(
        "support.sla.v1", lambda seen: sum(one.key == ticket_id and one.fact == "sla.met" for one in seen) == 2
    )
    met = {one.data["milestone"] for one in sla if one.key == ticket_id and one.fact == "sla.met"}
    assert met == {"initial_response", "resolution"}
    mails = await mails_to(system, requester(ticket_id)["email"], 2)
    (resolution,) = [mail for mail in mails if "It works again." in mail["text"]]
    assert "resolved" in resolution["subject"].lower()


def is_opened(event: Any) -> bool:
    return event.fact == "safety.incident_opened" and event.data["agent_incident_id"] == "A-1"


async def test_a_safety_issue(system: System) -> None:
    """Example 3: a crisis is paged until somebody acknowledges; nothing of it stands on general topics or in mails (S5, S9)."""
    secret = "transcript-canary"
    async with system.client() as client:
        answer = await client.post(
            system.stack.url("intake") + "/v1/safety/events",
            json={
                "specversion": "1.0",
                "id": "crisis-1",
                "source": "/child-safety-agent",
                "type": "com.storytailor.safety.crisis_detected.v1",
                "data": {"agent_incident_id": "A-1", "severity": "critical", "transcript": secret},
            },
        )
        assert answer.status_code == 202
    safety = await system.read_until("support.safety.v1", lambda seen: any(is_opened(one) for one in seen))
    opened = next(one.data for one in safety if is_opened(one))
    ref = opened["incident_ref"]
    tickets = await system.read_until("support.ticket.v1", lambda seen: any("restricted" in one.fact for one in seen))
    restricted = next(one for one in tickets if one.fact == "ticket.restricted")
    assert not any(word in str(restricted) for word in ("crisis", "critical", "A-1", ref))
    async with asyncio.timeout(60):
        while f"[{ref}] Action needed now" not in await paged(system):
            await asyncio.sleep(0.1)
    everything = str(await system.mails())
    for topic in ("support.ticket.v1", "support.safety.v1", "support.notification.v1", "support.routing.v1"):
        everything += str([one.value for one in await system.read(topic)])
    assert secret not in everything
    async with system.client() as client:
        url = f"{system.stack.url('safety-bridge')}/v1/incidents/{ref}/acknowledge"
        answer = await client.post(
            url, json={"epoch": opened["epoch"], "actor": {"id": "on-call-1", "role": "support"}}
        )
        assert answer.status_code == 200, answer.text
    incident = await system.ask("safety-bridge", f"/v1/incidents/{ref}")
    assert incident["tracks"]["handling"] == "acknowledged"


async def test_what_the_fast_lane_cannot_read_is_paged(system: System) -> None:
    """S6: never refused, never only in a dead-letter topic."""
    before = len(await paged(system))
    async with system.client() as client:
        answer = await client.post(
            system.stack.url("intake") + "/v1/safety/events",
            content=b"\xff\xfe not json",
            headers={"content-type": "application/json"},
        )
    assert answer.status_code == 202
    async with asyncio.timeout(60):
        while len(await paged(system)) == before:
            await asyncio.sleep(0.1)


async def paged(system: System) -> list[str]:
    """The subjects of the mails that page somebody."""
    return [mail["subject"] for mail in await system.mails() if "Action needed now" in mail["subject"]]
