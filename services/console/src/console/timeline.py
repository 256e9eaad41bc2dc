"""What a record says in one line, and which records tell of one ticket. Codes and ids only: no words, names or addresses (S5)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from shared.events.envelope import Record

SHOWN = (
    "team",
    "level",
    "from_level",
    "to_level",
    "category",
    "subcategory",
    "needs_triage",
    "restricted",
    "criterion",
    "origin",
    "clause",
    "reason_code",
    "milestone",
    "cycle",
    "state",
    "due_at",
    "threshold",
    "provisional",
    "incident_ref",
    "epoch",
    "step",
    "roles",
    "severity_working",
    "channel",
    "template",
    "audience",
    "attempt",
    "missing",
    "clauses",
)
"""The fields worth a place in a line; every one holds a code, an id, a number or an instant."""


@dataclass(frozen=True, slots=True)
class Line:
    """One event as a person reads it."""

    at: str
    topic: str
    key: str
    fact: str
    detail: str
    recorded_at: datetime
    ticket_id: str | None
    incident_ref: str | None


def line_of(record: Record) -> Line:
    """Never fails: what cannot be read is shown as such."""
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    data = _data(record.value)
    shown = {name: data[name] for name in SHOWN if data.get(name) or (data.get(name) == 0 and data[name] is not False)}
    if "x-error-code" in headers:
        shown = {"error": headers["x-error-code"], "group": headers.get("x-consumer-group", "")} | shown
    return Line(
        at=headers.get("ce_time", ""),
        topic=record.topic,
        key=record.key.decode(errors="replace"),
        fact=_fact(headers.get("ce_type", "?")),
        detail=" ".join(f"{name}={_word(value)}" for name, value in shown.items()),
        recorded_at=record.timestamp,
        ticket_id=_text(data.get("ticket_id")),
        incident_ref=_text(data.get("incident_ref")),
    )


def timeline(ticket_id: str, records: Iterable[Record]) -> list[Line]:
    """Everything that happened to a ticket, over all topics, its incidents included, in the order of recording."""
    lines = [line_of(record) for record in records]
    incidents = {line.incident_ref for line in lines if line.ticket_id == ticket_id and line.incident_ref}
    mine = [line for line in lines if ticket_id in (line.key, line.ticket_id) or line.incident_ref in incidents]
    return sorted(mine, key=lambda line: line.recorded_at)


def _data(value: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}


def _fact(wire_type: str) -> str:
    return wire_type.removeprefix("com.storytailor.").removeprefix("support.").rsplit(".v", 1)[0]


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
