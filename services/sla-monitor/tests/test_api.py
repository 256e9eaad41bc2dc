"""The HTTP edge: the clocks of a ticket as they stand now, and to whom they are shown."""

from typing import Any

import pytest

from shared.events.ticket import TicketCreated, TicketMessageAdded
from shared.testing.builders import ticket_data, wire

Service = Any


async def test_the_clocks_are_shown_with_the_fields_of_their_events(service: Service) -> None:
    """As they stand now: shares go on between events (L15)."""
    await service.routed("T-1", tier="professional")
    service.now.advance(hours=1)
    answer = await service.get("/v1/tickets/T-1/clocks")
    assert answer.status_code == 200
    shown = answer.json()
    assert shown["ticket_id"] == "T-1"
    first = shown["clocks"][0]
    assert first.pop("policy_version").startswith("2026.1@")
    assert first.pop("calendar").startswith("new-york-office@")
    assert first.pop("caused_by")
    assert first == {
        "ticket_id": "T-1",
        "occurred_at": "2026-03-03T15:00:00.000000Z",
        "emitted_at": "2026-03-03T16:00:00.000000Z",
        "clauses": ["L1", "L2", "L16"],
        "milestone": "initial_response",
        "cycle": 1,
        "level": None,
        "target": {"amount": 4, "unit": "hours"},
        "started_at": "2026-03-03T15:00:00.000000Z",
        "due_at": "2026-03-03T19:00:00.000000Z",
        "previous_due_at": None,
        "state": "running",
        "elapsed_share": 0.25,
        "threshold": None,
        "pauses": [],
        "short_notice": False,
        "provisional": False,
        "clamped": False,
        "claimed_at": None,
        "late_by_seconds": None,
        "reason": None,
    }
    assert [clock["milestone"] for clock in shown["clocks"]] == ["initial_response", "resolution", "escalation"]


async def test_what_is_met_stays_as_it_was(service: Service) -> None:
    """(L8)"""
    await service.routed("T-1", tier="professional")
    await service.handle(wire(TicketMessageAdded, ticket_data("message_added")))
    service.now.advance(days=3)
    first, resolution, _ = (await service.get("/v1/tickets/T-1/clocks")).json()["clocks"]
    assert (first["state"], first["elapsed_share"]) == ("met", 0.0)
    assert (resolution["state"], resolution["elapsed_share"]) == ("breached", 1.0)


async def test_a_ticket_that_is_not_routed_yet_has_no_clocks(service: Service) -> None:
    """(L16)"""
    await service.handle(wire(TicketCreated, ticket_data("created")))
    assert (await service.get("/v1/tickets/T-1/clocks")).json() == {"ticket_id": "T-1", "clocks": []}


async def test_a_restricted_ticket_shows_no_clocks(service: Service) -> None:
    """(L6)"""
    await service.routed("T-1")
    await service.routed("T-1", restricted=True)
    assert (await service.get("/v1/tickets/T-1/clocks")).json() == {"ticket_id": "T-1", "clocks": []}


async def test_an_unknown_ticket_is_not_found(service: Service) -> None:
    """404, as a problem document."""
    answer = await service.get("/v1/tickets/T-9/clocks")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(("key", "status"), [("nobody", 401), ("writer", 403)])
async def test_a_key_with_the_scope_is_needed(service: Service, key: str, status: int) -> None:
    """`tickets:read`."""
    assert (await service.get("/v1/tickets/T-1/clocks", key=key)).status_code == status
