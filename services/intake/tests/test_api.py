"""The endpoints on a real database: what is accepted and leaves, and what is refused without a trace."""

import json
from datetime import timedelta
from typing import Any

import pytest

from intake.api.documentation import EVENT_EXAMPLE, SAFETY_EXAMPLE, TICKET_EXAMPLE
from shared.events.envelope import rfc3339
from shared.events.ticket import EVENTS
from shared.testing.builders import ticket_data

BATCH = "application/cloudevents-batch+json"
JSON = "application/json"
STRUCTURED = "application/cloudevents+json"


PLAIN = {"subject": "No sound", "body": "Nothing plays.", "channel": "web", "requester": {"id": "u-1"}}


# What is accepted


async def test_a_structured_event_leaves_as_it_came(intake: Any) -> None:
    """Source, id and unknown fields are kept; the key and the subject are the ticket id (design 3.2)."""
    event = intake.event(time="2026-03-03T16:00:00.5+02:00", shoe_size=7) | {"correlationid": "journey-1"}
    answer = await intake.post("/v1/events", event)
    assert (answer.status_code, answer.json()) == (202, {"event_id": "e-1", "ticket_id": "T-1", "duplicate": False})
    [left] = await intake.left()
    assert (left.topic, left.key, left.data) == ("support.ticket.v1", "T-1", event["data"])
    assert left.headers == {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": "e-1",
        "ce_source": "/helpdesk",
        "ce_type": "com.storytailor.support.ticket.created.v1",
        "ce_time": "2026-03-03T14:00:00.500000Z",
        "ce_subject": "T-1",
        "ce_correlationid": "journey-1",
    }


async def test_a_binary_event_is_the_same_event(intake: Any) -> None:
    """The three modes are three spellings: header values are percent-decoded once."""
    event = intake.event()
    headers = {f"ce-{name}": value for name, value in event.items() if name != "data"}
    headers["ce-id"] = "caf%C3%A9%2541"
    answer = await intake.post("/v1/events", event["data"], JSON, headers=headers)
    assert answer.json()["event_id"] == "café%41"
    structured = await intake.post("/v1/events", event | {"id": "café%41"})
    assert structured.json()["duplicate"] is True
    assert [left.headers["ce_id"] for left in await intake.left()] == ["café%41"]


async def test_a_batch_answers_each_item_in_order(intake: Any) -> None:
    """Each item stands alone (design 3.3)."""
    items = [
        intake.event(event_id="e-1"),
        intake.event(event_id="e-2", ticket_id="T-2", channel=None),
        intake.event(event_id="e-1"),
        intake.event(event_id="e-1", ticket_id="T-3"),
        "no event",
        intake.event("message_added", event_id="e-3"),
    ]
    answer = await intake.post("/v1/events", items, BATCH)
    assert answer.status_code == 207
    first, invalid, again, other, no_event, last = answer.json()
    assert first == {"status": 202, "event_id": "e-1", "ticket_id": "T-1", "duplicate": False}
    assert (invalid["status"], invalid["problem"]["errors"][0]["pointer"]) == (422, "/data/channel")
    assert again == first | {"duplicate": True}
    assert (other["status"], other["problem"]["type"]) == (409, "/problems/id-conflict")
    assert (no_event["status"], no_event["problem"]["status"]) == (422, 422)
    assert (last["status"], last["event_id"]) == (202, "e-3")
    assert [left.headers["ce_id"] for left in await intake.left()] == ["e-1", "e-3"]


async def test_a_ticket_that_says_safety_late_in_a_batch_stays_in_order(intake: Any) -> None:
    """It does not wait for the others, and its `created` still comes before its message (S6, design 3.3)."""
    items = [
        intake.event(event_id="e-1", ticket_id="T-2"),
        intake.event(event_id="e-2"),
        intake.event("message_added", event_id="e-3", body="I want to die"),
        intake.event("message_added", event_id="e-4", ticket_id="T-2"),
        intake.event("message_added", event_id="e-5"),
    ]
    answer = await intake.post("/v1/events", items, BATCH)
    assert [one["event_id"] for one in answer.json()] == ["e-1", "e-2", "e-3", "e-4", "e-5"]
    tickets = [left.headers["ce_id"] for left in await intake.left() if left.topic == "support.ticket.v1"]
    assert tickets == ["e-2", "e-3", "e-5", "e-1", "e-4"]


async def test_a_plain_ticket_becomes_a_created_event(intake: Any) -> None:
    """For people who do not want CloudEvents: without any id, each post is a new ticket."""
    first, second = [(await intake.post("/v1/tickets", PLAIN, JSON)).json() for _ in range(2)]
    assert first["event_id"] != second["event_id"]
    assert first["ticket_id"] != second["ticket_id"]
    left = (await intake.left())[0]
    assert left.headers["ce_type"] == "com.storytailor.support.ticket.created.v1"
    assert left.data == {**PLAIN, "ticket_id": first["ticket_id"]}
    assert left.key == first["ticket_id"]


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        pytest.param({"idempotency-key": "k-1"}, {}, id="Idempotency-Key"),
        pytest.param({}, {"ticket_id": "T-9"}, id="ticket_id"),
        pytest.param({"idempotency-key": '"k-1"'}, {"ticket_id": "T-9"}, id="both"),
    ],
)
async def test_a_plain_ticket_may_be_retried(intake: Any, headers: dict[str, str], fields: dict[str, str]) -> None:
    """`Idempotency-Key` or `ticket_id` makes a retry safe, also when it comes later; other content is a conflict."""
    first = await intake.post("/v1/tickets", PLAIN | fields, JSON, headers=headers)
    intake.now.advance(hours=30)
    again = await intake.post("/v1/tickets", PLAIN | fields, JSON, headers=headers)
    other = await intake.post("/v1/tickets", PLAIN | fields | {"body": "Else."}, JSON, headers=headers)
    assert again.json() == first.json() | {"duplicate": True}
    assert (other.status_code, other.json()["type"]) == (409, "/problems/id-conflict")
    assert len(await intake.left()) == 1


async def test_idempotency_keys_of_two_producers_do_not_meet(intake: Any) -> None:
    """Keys are scoped by the caller."""
    headers = {"idempotency-key": "k-1"}
    first = await intake.post("/v1/tickets", PLAIN, JSON, headers=headers)
    second = await intake.post("/v1/tickets", PLAIN, JSON, headers=headers, key="helpdesk")
    assert second.json()["duplicate"] is False
    assert second.json()["ticket_id"] != first.json()["ticket_id"]


@pytest.mark.parametrize("event_class", [one for one in EVENTS if not one.wire_type.endswith("restricted.v1")])
async def test_every_ticket_event_is_accepted(intake: Any, event_class: Any) -> None:
    """The whole vocabulary of `support.ticket.v1` (design 3.2)."""
    fact = event_class.wire_type.split(".")[-2]
    more = {
        "reclassified": {"category": "billing"},
        "tier_changed": {"tier": "family"},
        "signals_added": {"signals": ["legal_dispute"]},
        "escalation_requested": {"criterion": "needs_code_fix"},
        "deescalation_requested": {"to_level": 1},
        "status_changed": {"status": "pending_customer"},
        "rated": {"score": 5},
    }
    answer = await intake.post("/v1/events", intake.event(fact, **more.get(fact, {})))
    assert answer.status_code == 202, answer.text


# New or known


async def test_the_same_event_again_is_a_duplicate(intake: Any) -> None:
    """Same source and id: 202 with `duplicate: true`, nothing is published twice; key order and spaces mean nothing."""
    await intake.post("/v1/events", intake.event(time="2026-03-03T15:00:00Z"))
    event = intake.event(time="2026-03-03T16:00:00.000+01:00")
    rewritten = json.dumps(dict(reversed(event.items())), indent=4).encode()
    answer = await intake.post("/v1/events", rewritten)
    assert (answer.status_code, answer.json()["duplicate"]) == (202, True)
    assert len(await intake.left()) == 1


async def test_an_event_without_a_time_may_be_retried(intake: Any) -> None:
    """The time it does not claim is no part of its meaning."""
    await intake.post("/v1/events", intake.event())
    intake.now.advance(days=6)
    answer = await intake.post("/v1/events", intake.event())
    assert answer.json()["duplicate"] is True


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"data": ticket_data("created", body="Else.")}, id="data"),
        pytest.param({"time": "2026-03-03T14:59:59Z"}, id="time"),
        pytest.param({"subject": "S"}, id="subject"),
        pytest.param({"type": "com.storytailor.support.ticket.acknowledged.v1"}, id="type"),
    ],
)
async def test_the_same_id_with_another_meaning_is_a_conflict(intake: Any, change: dict[str, Any]) -> None:
    """The meaning is the canonical JSON of type, subject, time and data (design 3.3)."""
    event = intake.event(time="2026-03-03T15:00:00Z", by={"kind": "agent", "id": "a-1"})
    await intake.post("/v1/events", event)
    answer = await intake.post("/v1/events", event | change)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/id-conflict")
    assert len(await intake.left()) == 1


async def test_a_bare_id_may_repeat_across_sources(intake: Any) -> None:
    """Identity is source and id (design 2)."""
    await intake.post("/v1/events", intake.event())
    answer = await intake.post("/v1/events", intake.event() | {"source": "/app"})
    assert answer.json()["duplicate"] is False


async def test_an_id_is_forgotten_with_its_window_and_not_before(intake: Any) -> None:
    """The maximum age is the de-duplication window: what could still be posted is still known (L13)."""
    claimed = intake.now() + timedelta(days=3)
    await intake.post("/v1/events", intake.event(event_id="e-1"))
    await intake.post("/v1/events", intake.event(event_id="e-2", time=rfc3339(claimed)))
    [forgetting] = [part for part in intake.app.parts if part.name == "forget"]
    intake.now.advance(days=7)
    await forgetting._look()
    assert len(await intake.rows("select 1 from accepted")) == 2
    intake.now.advance(seconds=1)
    await forgetting._look()
    assert len(await intake.rows("select 1 from accepted")) == 1
    intake.now.advance(days=3)
    await forgetting._look()
    assert await intake.rows("select 1 from accepted") == []


# Time


async def test_a_future_time_is_accepted_clamped_and_flagged(intake: Any) -> None:
    """It happened at receipt, and its claim travels with it (L13)."""
    answer = await intake.post("/v1/events", intake.event(time="2026-03-03T18:00:00Z"))
    assert answer.status_code == 202
    [left] = await intake.left()
    assert left.headers["ce_time"] == rfc3339(intake.now())
    assert left.headers["ce_claimedtime"] == "2026-03-03T18:00:00.000000Z"


async def test_a_retry_of_a_future_event_is_a_duplicate(intake: Any) -> None:
    """Its meaning holds the time it claimed, not its receipt (L13)."""
    for _ in range(2):
        answer = await intake.post("/v1/events", intake.event(time="2026-03-03T18:00:00Z"))
        intake.now.advance(minutes=5)
    assert answer.json()["duplicate"] is True


# Safety flags


async def test_a_ticket_that_says_safety_leaves_with_a_flag(intake: Any) -> None:
    """Ids and criterion ids only, in the transaction that accepts the ticket (S6)."""
    event = intake.event(subject="Worried", body="My daughter says she wants to die.", category="billing")
    await intake.post("/v1/events", event)
    ticket, flag = await intake.left()
    assert (flag.topic, flag.key) == ("safety.agent.v1", "T-1")
    assert flag.headers["ce_type"] == "com.storytailor.safety.ticket_flagged.v1"
    assert (flag.headers["ce_causationid"], flag.headers["ce_correlationid"]) == ("e-1", "e-1")
    assert flag.data["subcategory"] == "crisis_detection"
    assert flag.data.keys() == {"ticket_id", "subcategory", "evidence"}
    assert "die" not in json.dumps(flag.data).replace("crisis_detection", "")
    assert ticket.topic == "support.ticket.v1"


@pytest.mark.parametrize(
    ("fact", "data"),
    [
        pytest.param("message_added", {"body": "quiero morir"}, id="words of a message"),
        pytest.param("rated", {"score": 1, "comment": "I want to die"}, id="words of a rating"),
        pytest.param("created", {"category": "safety", "subcategory": "content_moderation"}, id="category"),
        pytest.param("reclassified", {"category": "safety"}, id="new category"),
        pytest.param("signals_added", {"signals": ["report_submission"]}, id="signal"),
    ],
)
async def test_safety_is_flagged_wherever_it_is_said(intake: Any, fact: str, data: dict[str, Any]) -> None:
    """Upstream category, signals, or the shared list of crisis words (S6)."""
    await intake.post("/v1/events", intake.event(fact, **data))
    assert [left.topic for left in await intake.left()] == ["support.ticket.v1", "safety.agent.v1"]


async def test_a_duplicate_is_not_flagged_again(intake: Any) -> None:
    """Nothing is published twice."""
    for _ in range(2):
        await intake.post("/v1/events", intake.event(category="safety"))
    assert len(await intake.left()) == 2


async def test_a_plain_ticket_is_flagged_too(intake: Any) -> None:
    """Whatever the way in (S6)."""
    await intake.post("/v1/tickets", PLAIN | {"body": "He is cutting himself; he wants to die."}, JSON)
    assert len(await intake.left()) == 2


# The document


async def test_the_document_describes_the_routes(intake: Any) -> None:
    """OpenAPI 3.1, with every accepted type and the problems of each route."""
    document = (await intake.client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert {"/v1/events", "/v1/tickets", "/v1/safety/events"} <= document["paths"].keys()
    assert "TicketEscalationRequested" in document["components"]["schemas"]
    answers = document["paths"]["/v1/safety/events"]["post"]["responses"]
    assert set(answers) == {"202", "401", "403", "413", "503"}


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("/v1/events", EVENT_EXAMPLE, STRUCTURED),
        ("/v1/tickets", TICKET_EXAMPLE, JSON),
        ("/v1/safety/events", SAFETY_EXAMPLE, STRUCTURED),
    ],
)
async def test_its_examples_can_be_posted(intake: Any, path: str, body: Any, content_type: str) -> None:
    """An example that does not work is worse than none."""
    assert (await intake.post(path, body, content_type)).status_code == 202
    assert len(await intake.left()) == 1
