"""The fast lane: every body that a valid key sends is accepted, and wakes somebody if it cannot be read (S6)."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from intake.api.routes import MAX_REQUEST_BYTES
from shared.events.topics import MAX_RECORD_BYTES

FAST = "/v1/safety/events"
BATCH = "application/cloudevents-batch+json"
JSON = "application/json"
STRUCTURED = "application/cloudevents+json"
CANARY = "zq-canary"
UNREADABLE = "com.storytailor.safety.unreadable.v1"


def a_crisis(event_id: str = "s-1", **changes: Any) -> dict[str, Any]:
    """A CloudEvent of the Child Safety Agent, in structured mode."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/child-safety-agent",
        "type": "com.storytailor.safety.crisis_detected.v1",
        "time": "2026-03-03T14:59:00Z",
        "data": {"agent_incident_id": "i-1", "severity": "critical", "note": CANARY},
    } | changes


@pytest.mark.parametrize(
    ("data", "key", "ticket_id"),
    [
        pytest.param({"agent_incident_id": "i-1", "ticket_id": "T-1"}, "i-1", "T-1", id="incident"),
        pytest.param({"ticket_id": "T-1"}, "T-1", "T-1", id="ticket"),
        pytest.param({"agent_incident_id": 7, "detail": {"deep": [1.0]}}, "s-1", None, id="neither"),
    ],
)
async def test_a_safety_event_leaves_as_it_came(
    intake: Any, data: dict[str, Any], key: str, ticket_id: str | None
) -> None:
    """On the agent's topic, keyed by the agent's incident (design 3.1)."""
    answer = await intake.post(FAST, a_crisis(data=data))
    assert (answer.status_code, answer.json()) == (
        202,
        {"event_id": "s-1", "ticket_id": ticket_id, "duplicate": False},
    )
    [left] = await intake.left()
    assert (left.topic, left.key, left.data) == ("safety.agent.v1", key, data)
    assert left.headers["ce_source"] == "/child-safety-agent"
    assert left.headers["ce_time"] == "2026-03-03T14:59:00.000000Z"


async def test_all_three_modes_are_read(intake: Any) -> None:
    """Structured, binary and batch; a JSON body that is a CloudEvent is one whatever its media type says."""
    headers = {f"ce-{name}": value for name, value in a_crisis("s-2").items() if name != "data"}
    assert (await intake.post(FAST, a_crisis("s-1"))).json()["event_id"] == "s-1"
    assert (await intake.post(FAST, a_crisis()["data"], JSON, headers=headers)).json()["event_id"] == "s-2"
    assert (await intake.post(FAST, a_crisis("s-3"), "text/plain")).json()["event_id"] == "s-3"
    batch = await intake.post(FAST, [a_crisis("s-4"), CANARY, a_crisis("s-5")], BATCH)
    assert batch.status_code == 202
    assert [one["event_id"] for one in batch.json()][::2] == ["s-4", "s-5"]
    facts = [left.headers["ce_type"].split(".")[-2] for left in await intake.left()]
    assert facts == ["crisis_detected"] * 4 + ["unreadable"] + ["crisis_detected"]


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        pytest.param(b"", STRUCTURED, "invalid_json", id="empty"),
        pytest.param(b"zq-canary \xff\x00", STRUCTURED, "invalid_json", id="bytes"),
        pytest.param(b'"zq-canary"', JSON, "invalid_json", id="no object"),
        pytest.param(b"[" * 5000, STRUCTURED, "invalid_json", id="brackets"),
        pytest.param(b"x" * MAX_REQUEST_BYTES, "text/plain", "invalid_json", id="one mebibyte"),
        pytest.param(b"[]", BATCH, "invalid_json", id="empty batch"),
        pytest.param(json.dumps([1] * 501).encode(), BATCH, "invalid_json", id="batch of 501"),
        pytest.param(a_crisis(id=None), STRUCTURED, "invalid_event", id="no id"),
        pytest.param(a_crisis(time=CANARY), STRUCTURED, "invalid_event", id="odd time"),
        pytest.param(a_crisis(data=CANARY), STRUCTURED, "invalid_event", id="data is text"),
        pytest.param(a_crisis(type=CANARY), STRUCTURED, "unknown_type", id="unknown type"),
        pytest.param(a_crisis(data={"x": [1e15] * 90_000}), STRUCTURED, "too_large", id="larger when written anew"),
    ],
)
async def test_what_cannot_be_read_is_kept_and_pages(
    intake: Any, caplog: Any, body: Any, content_type: str, reason: str
) -> None:
    """Its mark on the agent's topic carries it sealed, no word to be read; nothing of it in the log (issue 3, must show 8)."""
    caplog.set_level("DEBUG")
    raw = body if isinstance(body, bytes) else json.dumps(body).replace("1000000000000000.0", "1e15").encode()
    with capture_logs() as logged:
        first, again = [await intake.post(FAST, raw, content_type) for _ in range(2)]
    assert (first.status_code, first.json()["ticket_id"]) == (202, None)
    assert again.json() == first.json() | {"duplicate": True}
    [mark] = await intake.left()
    assert (mark.topic, mark.headers["ce_type"]) == ("safety.agent.v1", UNREADABLE)
    assert (mark.data["reason_code"], mark.data.keys()) == (reason, {"reason_code", "sealed"})
    assert (mark.headers["ce_id"], mark.headers["ce_source"]) == (
        first.json()["event_id"],
        "/storytailor/support/intake/all",
    )
    assert (await intake.unsealed(mark))[1] == raw
    assert len(json.dumps(mark.data)) < MAX_RECORD_BYTES - 128 * 1024
    for told in (repr(mark), first.text, caplog.text, repr(logged)):
        assert CANARY not in told


async def test_the_headers_of_an_unreadable_event_are_kept_too(intake: Any) -> None:
    """In binary mode they are half of the event; the key is not among them."""
    await intake.post(FAST, b"{", JSON, headers={"ce-type": "x", "ce-id": "%FF"})
    [mark] = await intake.left()
    headers, _ = await intake.unsealed(mark)
    assert b"ce-id: %FF" in headers
    assert b"Bearer" not in headers


async def test_the_same_id_with_another_meaning_leaves_as_it_came(intake: Any) -> None:
    """SN-54, invariant 4: the bridge tells it from the first and raises what it raises; here it would only be sealed (S6)."""
    bodies = [a_crisis(data={"agent_incident_id": "i-1", "severity": severity}) for severity in ("low", "critical")]
    answers = [(await intake.post(FAST, body)).json() for body in bodies * 2]
    assert [(one["event_id"], one["duplicate"]) for one in answers] == [("s-1", False)] * 2 + [("s-1", True)] * 2
    assert [one.data["severity"] for one in await intake.left()] == ["low", "critical"]


@pytest.mark.parametrize("time", ["2026-02-20T00:00:00Z", "1970-01-01T00:00:00Z"])
async def test_no_signal_is_too_old(intake: Any, time: str) -> None:
    """SN-35, invariant 5: what comes late or by a wrong clock is what it says, and its breach is told at once (S6)."""
    await intake.post(FAST, a_crisis(time=time))
    [left] = await intake.left()
    assert (left.headers["ce_type"], left.data["severity"]) == (a_crisis()["type"], "critical")
    assert left.headers["ce_time"] == time.replace("Z", ".000000Z")


async def test_a_source_that_the_key_may_not_speak_for_is_marked(intake: Any) -> None:
    """Nobody else can take the agent's ids, and no signal is refused (S6)."""
    answer = await intake.post(FAST, a_crisis(), key="helpdesk")
    assert answer.status_code == 202
    [mark] = await intake.left()
    assert mark.data["reason_code"] == "source_not_allowed"
    assert (await intake.post(FAST, a_crisis())).json()["duplicate"] is False


async def test_the_same_event_again_is_a_duplicate(intake: Any) -> None:
    """Nothing is published twice."""
    await intake.post(FAST, a_crisis())
    assert (await intake.post(FAST, a_crisis())).json()["duplicate"] is True
    assert len(await intake.left()) == 1


async def test_a_future_time_is_clamped(intake: Any) -> None:
    """As for tickets (L13)."""
    await intake.post(FAST, a_crisis(time="2026-03-03T18:00:00Z"))
    [left] = await intake.left()
    assert left.headers["ce_claimedtime"] == "2026-03-03T18:00:00.000000Z"
