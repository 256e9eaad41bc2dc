"""The HTTP edge: what is shown, to whom, and in which pages."""

from datetime import timedelta
from typing import Any

import pytest

from router.api import PAGE
from shared.events.envelope import source_of
from shared.events.ticket import (
    TicketCreated,
    TicketMessageAdded,
    TicketReclassified,
    TicketRestricted,
    TicketSignalsAdded,
)
from shared.testing.builders import AT, ticket_data, wire


async def fill(service, count: int = 1, **data) -> None:
    await service.handle(
        *(wire(TicketCreated, ticket_data("created", f"T-{number}", **data)) for number in range(1, count + 1))
    )


async def test_a_ticket_is_shown_as_it_is_routed(service) -> None:
    """R8, without a word of the customer's."""
    await fill(service, category="billing", subcategory="refund_request", signals=["special_pricing"])
    answer = await service.get("/v1/tickets/T-1")
    assert answer.status_code == 200
    assert answer.json() == {
        "ticket_id": "T-1",
        "decision_id": "T-1:1",
        "category": "billing",
        "subcategory": "refund_request",
        "team": "executive",
        "level": 3,
        "owning_team": "finance",
        "also_notified": [],
        "needs_triage": False,
        "restricted": False,
        "confidence": 1.0,
        "criteria": [{"criterion": "special_pricing", "origin": "event"}],
        "related": [],
        "assignee": None,
        "watchers": [],
        "undo_to": None,
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


EXPLAINED = "/v1/tickets/T-1/explain"


@pytest.mark.parametrize(
    ("key", "status"),
    [("nobody", 401), ("writer", 403), ("operator", 403), ("reader", 403), ("teller", 403)],
)
async def test_the_words_behind_a_decision_need_both_scopes(edge, key: str, status: int) -> None:
    """tickets:read and explain: neither of them is enough (S5)."""
    assert (await edge.get(EXPLAINED, key=key)).status_code == status


async def test_the_words_behind_each_decision_are_shown(service) -> None:
    """R8: the patterns with what they matched, the words that weighed, and none where no words decided."""
    await fill(service, subject="Card", body="I was charged twice on my card.")
    await service.handle(
        wire(TicketSignalsAdded, ticket_data("signals_added", signals=["complex_billing"])),
        wire(
            TicketMessageAdded,
            ticket_data("message_added", author={"kind": "customer", "id": "u-1"}, body="I will take legal action."),
        ),
    )
    shown = (await service.get(EXPLAINED, key="explainer")).json()
    history = (await service.get("/v1/tickets/T-1/decisions")).json()["decisions"]
    assert shown["ticket_id"] == "T-1"
    assert [one["decision"] for one in shown["decisions"]] == history
    created, signal, message = [one["explanation"] for one in shown["decisions"]]
    assert created["rules"] == []
    assert {"charged", "twice", "card"} <= {one["word"] for one in created["words"]}
    assert signal is None
    assert "legal action" in {words for _, words in message["rules"]}


@pytest.mark.parametrize("key", ["reader", "explainer"])
async def test_an_unknown_ticket_is_not_explained(service, key: str) -> None:
    """404 for whoever may ask, 403 for whoever may not."""
    expected = {"reader": 403, "explainer": 404}
    assert (await service.get("/v1/tickets/T-9/explain", key=key)).status_code == expected[key]


async def test_a_restricted_ticket_is_not_explained(service) -> None:
    """S9: neither one of the safety bridge nor one that was explained before it was marked."""
    bridge = source_of("safety-bridge")
    await fill(service, body="I was charged twice on my card.")
    assert (await service.get(EXPLAINED, key="explainer")).status_code == 200
    await service.handle(
        wire(TicketRestricted, ticket_data("restricted"), source=bridge),
        wire(TicketCreated, ticket_data("created", "T-2", body="I want to die"), source=bridge),
    )
    for ticket_id in ("T-1", "T-2"):
        assert (await service.get(f"/v1/tickets/{ticket_id}/explain", key="explainer")).status_code == 404


CANARIES = ["take legal action", "legal action", "charged", "quokkaquark"]
"""Two that patterns match, one that the model weighs, one that nobody knows."""


async def test_a_customers_words_are_shown_by_explain_alone(service) -> None:
    """S5: no other route, no event, no other table holds them, the one that nobody knows not even explain."""
    body = "Quokkaquark! I was charged twice on my card and I will take legal action against you."
    await fill(service, subject="Charged by the quokkaquark", body=body)
    await service.handle(
        wire(TicketMessageAdded, ticket_data("message_added", author={"kind": "customer", "id": "u-1"}, body=body)),
        wire(TicketReclassified, ticket_data("reclassified", category="safety", reason="quokkaquark")),
    )
    explained = (await service.get(EXPLAINED, key="explainer")).text.casefold()
    assert [canary in explained for canary in CANARIES] == [True, True, True, False]
    paths = {
        "/v1/tickets": "reader",
        "/v1/tickets/T-1": "reader",
        "/v1/tickets/T-1/decisions": "reader",
        "/v1/corrections": "operator",
        "/v1/dead-letters": "operator",
    }
    told = []
    for path, key in paths.items():
        answer = await service.get(path, key=key)
        assert answer.status_code == 200
        told.append(answer.text)
    events = await service.rows("select key, headers, payload from outbox")
    assert events
    told += [bytes(value).decode(errors="replace") for row in events for value in row.values()]
    for column, table in (("document", "ticket"), ("document", "decision"), ("text", "sighting")):
        told += [bytes(row[0]).decode(errors="replace") for row in await service.rows(f"select {column} from {table}")]
    told += [str(row) for table in ("sighting", "feedback") for row in await service.rows(f"select * from {table}")]
    assert [canary for canary in CANARIES if any(canary in text.casefold() for text in told)] == []


async def test_corrections_are_counted_by_version_and_category(service) -> None:
    """C3: what people corrected, from triage or from a category, and how sure the classifier had been."""
    await fill(service, 3)
    agent = {"by": {"kind": "agent", "id": "a-1"}}
    await service.handle(
        *(
            wire(TicketReclassified, ticket_data("reclassified", ticket_id, category=category, **agent))
            for ticket_id, category in (("T-1", "billing"), ("T-2", "billing"), ("T-3", "account"), ("T-1", "content"))
        ),
        wire(
            TicketReclassified,
            ticket_data("reclassified", "T-2", category="content", by={"kind": "system", "id": "s-1"}),
        ),
        wire(TicketReclassified, ticket_data("reclassified", "T-3", category="no such word", **agent)),
    )
    shown = (await service.get("/v1/corrections", key="operator")).json()
    assert shown["days"] == 30
    rows = {(one["was_category"], one["category"]): one for one in shown["corrections"]}
    counted = {pair: row["corrections"] for pair, row in rows.items()}
    assert counted == {(None, "billing"): 2, (None, "account"): 1, ("billing", "content"): 1}
    assert rows["billing", "content"]["confidence"] == 1.0
    assert len({one["classifier_version"] for one in shown["corrections"]}) == 1


async def test_corrections_are_those_of_the_last_days(service) -> None:
    """The day on which a person corrected counts, not the day on which the ticket came."""
    await fill(service, 2)
    for ticket_id, days in (("T-1", 1), ("T-2", 20)):
        data = ticket_data("reclassified", ticket_id, category="billing")
        await service.handle(wire(TicketReclassified, data, occurred_at=AT - timedelta(days=days)))
    counted = []
    for days in (7, 30):
        shown = (await service.get("/v1/corrections", key="operator", days=days)).json()
        counted.append([one["corrections"] for one in shown["corrections"]])
    assert counted == [[1], [2]]


@pytest.mark.parametrize("days", [0, 367, "canary"])
async def test_corrections_of_no_days_are_refused(edge, days) -> None:
    """422 names the parameter, not the value."""
    answer = await edge.get("/v1/corrections", key="operator", days=days)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/days")
    assert "canary" not in answer.text


WORKBENCH = [
    ("get", "/v1/corrections"),
    ("post", "/v1/drafts"),
    ("post", "/v1/tickets/T-1/recompute"),
]


@pytest.mark.parametrize(("method", "path"), WORKBENCH)
async def test_the_workbench_needs_a_key_with_the_scope(edge, method: str, path: str) -> None:
    """operate: reading tickets and their words is not enough."""
    for key, status in {"nobody": 401, "reader": 403, "explainer": 403}.items():
        assert (await getattr(edge, method)(path, key=key)).status_code == status


BAD_DRAFTS: dict[str, tuple[dict[str, Any], str]] = {
    "no number": (
        {"changes": {"classification": {"triage_below": {"billing": "canary"}}}},
        "/changes/classification/triage_below/billing",
    ),
    "no share": (
        {"changes": {"classification": {"triage_below": {"billing": 1.5}}}},
        "/changes/classification/triage_below/billing",
    ),
    "no such field": ({"changes": {"clocks": {"no_such": "canary"}}}, "/changes/clocks/no_such"),
    "no part at all": ({"changes": {"routing": "canary"}}, "/changes/routing"),
    "a criterion without a text": (
        {"changes": {"escalation": {"rows": {"billing": {"to_level": {"2": ["canary"]}}}}}},
        "/changes",
    ),
    "no such severity": (
        {"changes": {"safety": {"severities": {"crisis_detection": {"severity": "canary"}}}}},
        "/changes/safety/severities/crisis_detection/severity",
    ),
    "a target of no unit": (
        {"changes": {"clocks": {"targets": {"free": {"resolution": "5 canary"}}}}},
        "/changes/clocks/targets/free/resolution/unit",
    ),
    "a pattern that cannot be read": (
        {"changes": {"words": {"en": {"topics": {"login": {"says": ["((("]}}}}}},
        "/changes/words/en",
    ),
    "a level that the category has not": (
        {"changes": {"routing": {"entries": {"crisis_detection": {"level": 3}}}}},
        "/changes",
    ),
    "no changes": ({"last": 10}, "/changes"),
    "changes that are none": ({"changes": ["canary"]}, "/changes"),
    "too few tickets": ({"changes": {}, "last": 0}, "/last"),
    "too many tickets": ({"changes": {}, "last": 5001}, "/last"),
    "something else": ({"changes": {}, "other": "canary"}, "/other"),
}


async def test_a_draft_that_is_no_policy_is_refused(edge) -> None:
    """422 with a pointer to each place that is wrong, never an echo of what stands there."""
    for name, (draft, place) in BAD_DRAFTS.items():
        answer = await edge.post("/v1/drafts", draft)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid"), name
        assert place in [error["pointer"] for error in answer.json()["errors"]], name
        assert not [value for value in ("canary", "(((", "1.5", "5001") if value in answer.text], name


async def test_a_draft_that_is_no_json_is_refused(edge) -> None:
    """400, since nothing of it can be pointed at."""
    headers = {"authorization": "Bearer operator", "content-type": "application/json"}
    answer = await edge.client.post("/v1/drafts", content=b'{"changes": canary', headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-json")
    assert "canary" not in answer.text
