"""Bad input: the right problem document each time, nothing published, nothing of the content told or logged."""

import json
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from intake.api.documentation import SAFETY_EXAMPLE
from intake.api.routes import MAX_REQUEST_BYTES
from intake.handlers.reception import MAX_EVENT_BYTES

BATCH = "application/cloudevents-batch+json"
JSON = "application/json"
STRUCTURED = "application/cloudevents+json"
CANARY = "zq-canary"
PLAIN = {"subject": CANARY, "body": CANARY, "channel": "web", "requester": {"id": CANARY}}
EARLY = "0001-01-01T00:00:00+12:00"


def nested(depth: int) -> Any:
    data: Any = CANARY
    for _ in range(depth):
        data = {"x": data}
    return data


async def refused(intake: Any, caplog: Any, status: int, slug: str, *request: Any, **more: Any) -> list[str]:
    """Post what is refused, look for traces of it, and answer the pointers of the problem."""
    caplog.set_level("DEBUG")
    with capture_logs() as logged:
        answer = await intake.post(*request, **more)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"/problems/{slug}"), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    for told in (answer.text, caplog.text, repr(logged)):
        assert CANARY not in told
    assert await intake.left() == []
    assert await intake.rows("select 1 from accepted") == []
    return [error["pointer"] for error in problem.get("errors", [])]


@pytest.mark.parametrize(
    ("attributes", "pointer"),
    [
        pytest.param({"id": None}, "/id", id="no id"),
        pytest.param({"id": 7}, "/id", id="id is a number"),
        pytest.param({"id": CANARY * 15}, "/id", id="id of 135 characters"),
        pytest.param({"id": f"{CANARY}\n"}, "/id", id="id with a newline"),
        pytest.param({"source": ""}, "/source", id="empty source"),
        pytest.param({"type": [CANARY]}, "/type", id="type is a list"),
        pytest.param({"specversion": CANARY}, "/specversion", id="unknown specversion"),
        pytest.param({"correlationid": {CANARY: 1}}, "/correlationid", id="correlation id is an object"),
        pytest.param({"time": "2026-03-03T15:00:00"}, "/time", id="time without an offset"),
        pytest.param({"time": 1772550000}, "/time", id="time is a number"),
        pytest.param({"time": CANARY}, "/time", id="time is a word"),
        pytest.param({"time": EARLY}, "/time", id="time before the calendar"),
        pytest.param({"data": None}, "/data", id="no data"),
        pytest.param({"data": CANARY}, "/data", id="data is text"),
    ],
)
async def test_an_odd_attribute(intake: Any, caplog: Any, attributes: dict[str, Any], pointer: str) -> None:
    """422 with the place of it (issue 3, must show 8)."""
    event = intake.event(body=CANARY) | attributes
    assert await refused(intake, caplog, 422, "invalid-event", "/v1/events", event) == [pointer]


@pytest.mark.parametrize(
    ("fact", "data", "pointer"),
    [
        pytest.param("created", {"ticket_id": None}, "/ticket_id", id="no ticket id"),
        pytest.param("created", {"ticket_id": f"{CANARY}\0"}, "", id="NUL in an id"),
        pytest.param("created", {"body": f"{CANARY}\0"}, "", id="NUL in a text"),
        pytest.param("created", {"body": {CANARY: 1}}, "/body", id="body is an object"),
        pytest.param("created", {"tier": CANARY}, "/tier", id="unknown tier"),
        pytest.param("created", {"requester": {"id": CANARY * 20}}, "/requester/id", id="a field inside"),
        pytest.param("created", {"category": CANARY}, "/category", id="unknown category"),
        pytest.param("created", {"category": "billing", "subcategory": "login"}, "/subcategory", id="mismatched pair"),
        pytest.param("created", {"signals": ["legal_dispute", CANARY]}, "/signals/1", id="unknown signal"),
        pytest.param("created", {"attributes": nested(40)}, "", id="deep"),
        pytest.param("created", {"attributes": nested(500)}, "", id="deeper than can be written"),
        pytest.param("escalation_requested", {"criterion": CANARY}, "/criterion", id="unknown criterion"),
        pytest.param("reclassified", {"category": CANARY}, "/category", id="unknown new category"),
        pytest.param("status_changed", {"status": CANARY}, "/status", id="unknown status"),
        pytest.param("rated", {"score": 6}, "/score", id="score of 6"),
        pytest.param(
            "tier_changed", {"tier": "free", "effective_from": EARLY}, "/effective_from", id="before the calendar"
        ),
    ],
)
async def test_odd_data(intake: Any, caplog: Any, fact: str, data: dict[str, Any], pointer: str) -> None:
    """422 with the place of it: wrong types, and words that the policy does not have (C2, E0, E7)."""
    event = intake.event(fact, **data)
    assert await refused(intake, caplog, 422, "invalid-event", "/v1/events", event) == [f"/data{pointer}"]


@pytest.mark.parametrize(
    ("fields", "headers", "pointer"),
    [
        pytest.param({"subject": None}, {}, "/subject", id="no subject"),
        pytest.param({"ticket_id": 7}, {}, "/ticket_id", id="ticket id is a number"),
        pytest.param({"time": CANARY}, {}, "/time", id="odd time"),
        pytest.param({"category": CANARY}, {}, "/category", id="unknown category"),
        pytest.param({}, {"idempotency-key": "x" * 129}, "", id="Idempotency-Key of 129 characters"),
    ],
)
async def test_an_odd_plain_ticket(
    intake: Any, caplog: Any, fields: dict[str, Any], headers: dict[str, str], pointer: str
) -> None:
    """422 with the place in the body that was posted."""
    request = ("/v1/tickets", PLAIN | fields, JSON)
    assert await refused(intake, caplog, 422, "invalid-event", *request, headers=headers) == [pointer]


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        pytest.param(b'{"subject": "zq-canary', 400, "invalid-json", id="cut off"),
        pytest.param(b"", 400, "invalid-json", id="empty"),
        pytest.param(b'{"subject": "zq-canary \xff"}', 400, "invalid-json", id="invalid UTF-8"),
        pytest.param(b'{"zq-canary": NaN}', 400, "invalid-json", id="NaN"),
        pytest.param(b'{"subject": "zq-canary \\ud800"}', 400, "invalid-json", id="lone surrogate"),
        pytest.param(b"[" * 100_000, 400, "invalid-json", id="a hundred thousand brackets"),
        pytest.param(b'["zq-canary"]', 422, "invalid-event", id="a list"),
        pytest.param(CANARY.encode() * 1_200_000, 413, "too-large", id="ten megabytes"),
    ],
)
@pytest.mark.parametrize(("path", "content_type"), [("/v1/events", STRUCTURED), ("/v1/tickets", JSON)])
async def test_an_odd_body(
    intake: Any, caplog: Any, path: str, content_type: str, body: bytes, status: int, slug: str
) -> None:
    """400 for syntax, 422 for meaning, 413 before anything is parsed."""
    await refused(intake, caplog, status, slug, path, body, content_type)


@pytest.mark.parametrize(
    ("event", "status", "slug"),
    [
        pytest.param({"type": f"com.storytailor.{CANARY}"}, 422, "unknown-type", id="unknown type"),
        pytest.param(SAFETY_EXAMPLE, 422, "unknown-type", id="the agent's type"),
        pytest.param(
            {"type": "com.storytailor.support.ticket.restricted.v1"}, 422, "unknown-type", id="restricted (S9)"
        ),
        pytest.param({"time": "2026-02-24T14:59:59Z"}, 422, "too-old", id="a time beyond the window (L13)"),
        pytest.param({"data": PLAIN | {"ticket_id": "T-1", "body": CANARY * 30_000}}, 413, "too-large", id="size"),
    ],
)
async def test_an_event_that_is_not_for_us(
    intake: Any, caplog: Any, event: dict[str, Any], status: int, slug: str
) -> None:
    """Readable, and no fact we accept."""
    await refused(intake, caplog, status, slug, "/v1/events", intake.event() | event)


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        pytest.param({CANARY: 1}, "invalid-batch", id="an object"),
        pytest.param([], "invalid-batch", id="empty"),
        pytest.param([{CANARY: 1}] * 501, "invalid-batch", id="501 items"),
    ],
)
async def test_an_odd_batch(intake: Any, caplog: Any, body: Any, slug: str) -> None:
    """A batch is a list of 1 to 500 events (design 3.3)."""
    await refused(intake, caplog, 422, slug, "/v1/events", body, BATCH)


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        pytest.param("text/plain", {}, id="text"),
        pytest.param("", {}, id="none"),
        pytest.param("application/json; charset=latin-1", {}, id="character set"),
        pytest.param("application/json", {"content-encoding": "gzip"}, id="compressed"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/tickets"])
async def test_another_media_type(
    intake: Any, caplog: Any, path: str, content_type: str, headers: dict[str, str]
) -> None:
    """415 (design 3.3)."""
    await refused(intake, caplog, 415, "unsupported-media-type", path, PLAIN, content_type, headers=headers)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        pytest.param("/v1/events", {"ce-id": CANARY.encode() + b"\xff"}, id="raw"),
        pytest.param("/v1/events", {"ce-id": f"{CANARY}%FF"}, id="percent-encoded"),
        pytest.param("/v1/tickets", {"idempotency-key": CANARY.encode() + b"\xff"}, id="Idempotency-Key"),
    ],
)
async def test_a_header_that_is_not_utf_8(intake: Any, caplog: Any, path: str, headers: dict[str, Any]) -> None:
    """400 (issue 3, must show 8)."""
    await refused(intake, caplog, 400, "invalid-header", path, PLAIN, JSON, headers=headers)


async def test_a_binary_event_without_attributes(intake: Any, caplog: Any) -> None:
    """Plain JSON belongs to the other endpoint; all that is missing is named."""
    missing = await refused(intake, caplog, 422, "invalid-event", "/v1/events", PLAIN, JSON)
    assert missing == ["/specversion", "/id", "/source", "/type"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/tickets", "/v1/safety/events"])
@pytest.mark.parametrize(
    ("key", "status", "slug"),
    [
        pytest.param(CANARY, 401, "unauthorized", id="wrong key"),
        pytest.param("", 401, "unauthorized", id="no key"),
        pytest.param("reader", 403, "forbidden", id="missing scope"),
    ],
)
async def test_a_key_without_the_right(intake: Any, caplog: Any, path: str, key: str, status: int, slug: str) -> None:
    """Beside 413 the only refusals of the fast lane (S6)."""
    await refused(intake, caplog, status, slug, path, intake.event(body=CANARY), key=key)


async def test_a_source_that_the_key_may_not_speak_for(intake: Any, caplog: Any) -> None:
    """Keys are per producer (design 3.3)."""
    event = intake.event() | {"source": CANARY}
    await refused(intake, caplog, 403, "source-not-allowed", "/v1/events", event, key="helpdesk")


async def test_an_unknown_type_is_answered_with_the_known_ones(intake: Any) -> None:
    """`restricted` is not among them: the safety bridge alone restricts (S9)."""
    answer = await intake.post("/v1/events", intake.event("exploded"))
    assert "com.storytailor.support.ticket.created.v1" in answer.json()["known"]
    assert not any("restricted" in known for known in answer.json()["known"])


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/events", 405), ("POST", "/v1/nothing", 404)])
async def test_other_addresses_are_problems_too(intake: Any, method: str, path: str, status: int) -> None:
    """Every error is a problem document (RFC 9457)."""
    answer = await intake.client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("path", ["/v1/tickets", "/v1/safety/events"])
async def test_a_body_without_a_length_is_given_up_at_its_limit(intake: Any, path: str) -> None:
    """It is never read to its end, let alone parsed."""
    read = 0

    async def endless() -> Any:
        nonlocal read
        while read < 10 * MAX_REQUEST_BYTES:
            read += 65536
            yield b"x" * 65536

    headers = {"authorization": "Bearer all", "content-type": JSON}
    answer = await intake.client.post(path, content=endless(), headers=headers)
    assert answer.status_code == 413
    assert read <= MAX_REQUEST_BYTES + 2 * 65536


async def test_the_largest_event_is_accepted(intake: Any) -> None:
    """256 KiB as published: spaces do not count."""
    event = intake.event(body="")
    room = MAX_EVENT_BYTES - len(orjson.dumps(event["data"]))
    for size, status in ((room + 1, 413), (room, 202)):
        event["data"]["body"] = "x" * size
        answer = await intake.post("/v1/events", json.dumps(event, indent=8).encode())
        assert answer.status_code == status


async def test_a_key_that_posts_too_much_waits_but_its_safety_signals_do_not(limited: Any) -> None:
    """429 with `Retry-After`; the limiter never refuses a safety item (S6, invariant 7)."""
    answers = [await limited.post("/v1/events", limited.event(event_id=f"e-{n}")) for n in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[-1].headers["retry-after"] == "1"
    assert answers[-1].json()["type"] == "/problems/too-many-requests"
    flagged = await limited.post("/v1/events", limited.event(event_id="e-9", category="safety"))
    assert flagged.status_code == 202
    assert (await limited.post("/v1/safety/events", SAFETY_EXAMPLE)).status_code == 202
    batch = await limited.post("/v1/events", [limited.event(event_id="e-8")], BATCH)
    assert batch.json()[0]["problem"]["status"] == 429
    limited.now.advance(seconds=0.5)
    assert (await limited.post("/v1/events", limited.event(event_id="e-8"))).status_code == 202


CRY = PLAIN | {"subject": "help", "body": "I want to kill myself"}
REFUSED_CRIES: dict[str, tuple[str, Any, str, int]] = {
    "an unknown category": ("/v1/tickets", CRY | {"category": "hardware"}, JSON, 422),
    "no such tier": ("/v1/tickets", CRY | {"tier": "gold"}, JSON, 422),
    "an odd time": ("/v1/tickets", CRY | {"time": "yesterday"}, JSON, 422),
    "too large": ("/v1/tickets", CRY | {"body": "I want to kill myself. " * 20_000}, JSON, 413),
    "no JSON": ("/v1/tickets", b'{"body": "I want to kill myself"', JSON, 400),
    "an unknown type": (
        "/v1/events",
        {"specversion": "1.0", "id": "e", "source": "/s", "type": "x", "data": CRY},
        STRUCTURED,
        422,
    ),
    "an item of a batch": ("/v1/events", [{"data": CRY}, {"data": PLAIN}], BATCH, 207),
}


@pytest.mark.parametrize(("path", "body", "content_type", "status"), REFUSED_CRIES.values(), ids=list(REFUSED_CRIES))
async def test_what_is_refused_is_not_unseen(intake: Any, path: str, body: Any, content_type: str, status: int) -> None:
    """S6: upstream learns what is wrong, and words of crisis wake somebody all the same, once however often they are sent."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    for _ in range(2):
        answer = await intake.post(path, raw, content_type)
        assert answer.status_code == status, answer.text
    [mark] = await intake.left()
    assert (mark.topic, mark.data["reason_code"]) == ("safety.agent.v1", "refused")
    assert b"kill myself" in (await intake.unsealed(mark))[1]


async def test_a_cry_under_a_known_id_is_not_unseen(intake: Any) -> None:
    """S6: 409, since ids are taken once; the words are heard."""
    first = intake.event(body="hello")
    await intake.post("/v1/events", first, STRUCTURED)
    again = intake.event(body="I want to kill myself")
    assert (await intake.post("/v1/events", again, STRUCTURED)).status_code == 409
    assert (await intake.post("/v1/events", [again], BATCH)).json()[0]["status"] == 409
    marks = [left for left in await intake.left() if left.topic == "safety.agent.v1"]
    assert [mark.data["reason_code"] for mark in marks] == ["refused"] * 2
    assert all([b"kill myself" in (await intake.unsealed(mark))[1] for mark in marks])
