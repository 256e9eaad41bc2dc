"""Events that say only what matters to the test; the rest has a plain value."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any

from shared.events.envelope import Envelope, Event, Received, Record, received, rfc3339
from shared.events.topics import TOPIC_OF

AT = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
UPSTREAM = "/helpdesk"
_PLAIN: dict[str, dict[str, Any]] = {
    "created": {"subject": "Help", "body": "Please help.", "channel": "app", "requester": {"id": "u-1"}},
    "message_added": {"author": {"kind": "agent", "id": "a-1"}, "public": True, "body": "We are on it."},
    "resolved": {"summary": "Done.", "by": {"kind": "agent", "id": "a-1"}},
    "reclassified": {"reason": "read again", "by": {"kind": "agent", "id": "a-1"}},
    "deescalation_requested": {"reason": "solved below", "by": {"kind": "agent", "id": "a-1"}},
    "closed": {"reason": "spam", "by": {"kind": "agent", "id": "a-1"}},
    "reviewed": {"check": "documentation", "verdict": "pass", "by": {"kind": "agent", "id": "a-1"}},
    "acknowledged": {"by": {"kind": "agent", "id": "a-1"}},
    "reopened": {"by": {"kind": "customer", "id": "u-1"}},
    "signals_added": {"by": {"kind": "agent", "id": "a-1"}},
    "escalation_requested": {"by": {"kind": "agent", "id": "a-1"}},
}
_numbers = itertools.count(1)


def ticket_data(fact: str, ticket_id: str = "T-1", **data: Any) -> dict[str, Any]:
    """The data of a ticket event as upstream would send it."""
    return {"ticket_id": ticket_id} | _PLAIN.get(fact, {}) | data


def wire(event_class: type[Event], data: dict[str, Any], **envelope: Any) -> Received[Any]:
    """The event as a handler gets it. Envelope fields (`id`, `source`, `occurred_at`, …) have plain values."""
    values: dict[str, Any] = {
        "source": UPSTREAM,
        "id": f"event-{next(_numbers)}",
        "occurred_at": AT,
        "subject": data.get("ticket_id"),
    }
    return received(event_class, Envelope(type=event_class.wire_type, **(values | envelope)), data)


def record(
    event_class: type[Event],
    data: dict[str, Any],
    *,
    event_id: str | None = None,
    source: str = UPSTREAM,
    at: datetime = AT,
    offset: int = 0,
) -> Record:
    """The event as a record of its topic, in binary mode."""
    headers = headers_of(event_class.wire_type, event_id or f"event-{next(_numbers)}", source=source, at=at)
    key = event_class.model_validate(data).key.encode()
    topic = TOPIC_OF[event_class.wire_type].name
    return Record(topic, 0, offset, at, key, json.dumps(data).encode(), tuple(headers))


def headers_of(wire_type: str, event_id: str, *, source: str = UPSTREAM, at: datetime = AT) -> list[tuple[str, bytes]]:
    """The headers of a binary-mode record."""
    values = {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": source,
        "ce_type": wire_type,
        "ce_time": rfc3339(at),
    }
    return [(name, value.encode()) for name, value in values.items()]
