"""The HTTP edge: what is shown, to whom, and in which pages."""

import pytest

from router.api import PAGE
from shared.events.ticket import TicketCreated, TicketSignalsAdded
from shared.testing.builders import ticket_data, wire


async def fill(service, count: int = 1, **data) -> None:
    await service.handle(
        *(wire(TicketCreated, ticket_data("created", f"T-{number}", **data)) for number in range(1, count + 1))
    )


async def test_a_ticket_is_shown_as_it_is_routed(service) -> None:
    """R8, without a word of the customer's."""
    await fill(service, category="billing", signals=["special_pricing"])
    answer = await service.get("/v1/tickets/T-1")
    assert answer.status_code == 200
    assert answer.json() == {
        "ticket_id": "T-1",
        "decision_id": "T-1:1",
        "category": "billing",
        "subcategory": None,
        "team": "executive",
        "level": 3,
        "owning_team": "finance",
        "also_notified": [],
        "needs_triage": False,
        "restricted": False,
        "confidence": 1.0,
        "criteria": [{"criterion": "special_pricing", "origin": "event"}],
        "clauses": ["C2", "E3"],
        "tier": "free",
        "created_at": "2026-03-03T15:00:00.000000Z",
        "resolved_at": None,
        "closed_at": None,
    }


async def test_the_decisions_are_shown_oldest_first(service) -> None:
    """R8: append-only, with type and data of what was announced."""
    await fill(service, category="billing")
    await service.handle(wire(TicketSignalsAdded, ticket_data("signals_added", signals=["complex_billing"])))
    shown = (await service.get("/v1/tickets/T-1/decisions")).json()
    assert shown["ticket_id"] == "T-1"
    first, second = shown["decisions"]
    assert first["type"] == "com.storytailor.support.routing.assigned.v1"
    assert (second["type"], second["replaces"], second["criterion"], second["to_level"]) == (
        "com.storytailor.support.routing.escalated.v1",
        "T-1:1",
        "complex_billing",
        2,
    )


@pytest.mark.parametrize("path", ["/v1/tickets/T-9", "/v1/tickets/T-9/decisions"])
async def test_an_unknown_ticket_is_not_found(service, path: str) -> None:
    """404, as a problem document."""
    answer = await service.get(path)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/v1/tickets", "/v1/tickets/T-1", "/v1/tickets/T-1/decisions"])
async def test_every_route_needs_a_key_with_the_scope(edge, path: str) -> None:
    """tickets:read."""
    assert (await edge.get(path, key="nobody")).status_code == 401
    assert (await edge.get(path, key="writer")).status_code == 403


async def test_tickets_come_in_pages_of_a_team_and_a_level(service) -> None:
    """Each ticket once, by id, and the last page says so."""
    await fill(service, 2 * PAGE + 1, category="billing")
    await service.handle(wire(TicketSignalsAdded, ticket_data("signals_added", "T-4", signals=["complex_billing"])))
    seen, token = [], None
    for _ in range(2):
        query = {"page_token": token} if token else {}
        page = (await service.get("/v1/tickets", team="customer_service", level=1, **query)).json()
        seen += [ticket["ticket_id"] for ticket in page["tickets"]]
        token = page["next_page_token"]
    assert seen == sorted(f"T-{number}" for number in range(1, 2 * PAGE + 2) if number != 4)
    assert token is None


async def test_level_0_is_a_level(service) -> None:
    """And not no level at all."""
    await fill(service, 1, category="safety", subcategory="crisis_detection")
    assert [len((await service.get("/v1/tickets", level=level)).json()["tickets"]) for level in (0, 1)] == [1, 0]


@pytest.mark.parametrize("token", ["", "x", "W10=", "e30=", "WyJhXHUwMDAwIixudWxsLG51bGxd"], ids=str)
async def test_a_token_that_is_none_of_ours_is_refused(edge, token: str) -> None:
    """422 with a pointer, never an echo."""
    answer = await edge.get("/v1/tickets", page_token=token)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/page_token")


async def test_a_token_belongs_to_its_question(service) -> None:
    """It cannot be used with another filter."""
    await fill(service, PAGE + 1)
    token = (await service.get("/v1/tickets", level=1)).json()["next_page_token"]
    assert (await service.get("/v1/tickets", level=1, page_token=token)).status_code == 200
    assert (await service.get("/v1/tickets", level=2, page_token=token)).status_code == 422
    assert (await service.get("/v1/tickets", page_token=token)).status_code == 422


@pytest.mark.parametrize("query", [{"team": "nobody"}, {"level": 7}, {"level": "one"}], ids=str)
async def test_an_unknown_filter_is_refused(edge, query) -> None:
    """422 names the parameter, not the value."""
    answer = await edge.get("/v1/tickets", **query)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid")
    assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(query))}"
