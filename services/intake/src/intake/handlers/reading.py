"""What a post says, checked field by field. Whatever is wrong is told by its place, never by its value."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from intake.domain.acceptance import Fault, Invalid, Said
from shared.events import ticket
from shared.events.envelope import Event, Identifier
from shared.runtime.http import pointer

MAX_DEPTH = 32
AN_ID = "must be an id: text of 1 to 128 characters"

_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
AnyEvent = TypeVar("AnyEvent", bound=Event)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event as it came: its CloudEvents attributes and its data, both parsed, neither checked."""

    attributes: Mapping[str, Any]
    data: Any


@dataclass(frozen=True, slots=True)
class Told:
    """The attributes of an event, checked. `time` is what it claims for itself, if it claims any."""

    source: str
    id: str
    type: str
    time: datetime | None = None
    subject: str | None = None
    correlation_id: str | None = None


def told(attributes: Mapping[str, Any]) -> Told:
    """
    Raises:
        Invalid: an attribute is missing or odd.
    """
    faults = []
    if attributes.get("specversion") != "1.0":
        faults.append(Fault("/specversion", "must be 1.0"))
    for name in ("id", "source", "type", "subject", "correlationid"):
        text = attributes.get(name)
        if (text is not None or name in ("id", "source", "type")) and not is_identifier(text):
            faults.append(Fault(f"/{name}", AN_ID))
    time = instant(attributes.get("time"), faults)
    if faults:
        raise Invalid(tuple(faults))
    return Told(
        attributes["source"],
        attributes["id"],
        attributes["type"],
        time,
        attributes.get("subject"),
        attributes.get("correlationid"),
    )


def is_identifier(text: Any) -> bool:
    try:
        _IDENTIFIER.validate_python(text, strict=True)
    except ValidationError:
        return False
    return True


def instant(text: Any, faults: list[Fault]) -> datetime | None:
    """The RFC 3339 time in UTC; None if there is none, and a fault if it is not one."""
    if text is None:
        return None
    if isinstance(text, str) and _RFC3339.fullmatch(text):
        with suppress(ValueError, OverflowError):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    faults.append(Fault("/time", "must be an RFC 3339 time with an offset"))
    return None


def encoded(data: Any, at: str) -> bytes:
    """The data as it is published: what was given, written compactly. `at` is the pointer to it.

    Raises:
        Invalid: it is nested deeper than JSON can be written again.
    """
    try:
        return orjson.dumps(data)
    except orjson.JSONEncodeError:
        raise Invalid((Fault(at, "nested too deeply"),)) from None


def texts_in(body: bytes) -> Iterator[str]:
    """Every text of a document, whatever its shape; of what is no JSON all of it."""
    try:
        parts = [orjson.loads(body)]
    except orjson.JSONDecodeError:
        yield body.decode(errors="replace")
        return
    while parts:
        part = parts.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            parts.extend(reversed(part.values()))
        elif isinstance(part, list):
            parts.extend(reversed(part))


def refuse_odd_json(data: Any, value: bytes, at: str) -> None:
    """
    Raises:
        Invalid: the data is nested deeper than anybody needs, or has a NUL in a text, which databases cannot hold.
    """
    # the walk takes longer than all the rest, so it is taken only where the bytes look like it
    if value.count(b"{") + value.count(b"[") > MAX_DEPTH or b"\\u0000" in value:
        _walk(data, at, MAX_DEPTH)


def _walk(part: Any, at: str, levels_left: int) -> None:
    if isinstance(part, str):
        if "\0" in part:
            raise Invalid((Fault(at, "text must not contain NUL"),))
    elif isinstance(part, dict | list):
        if not levels_left:
            raise Invalid((Fault(at, "nested too deeply"),))
        for one in [*part.keys(), *part.values()] if isinstance(part, dict) else part:
            _walk(one, at, levels_left - 1)


def validated(event_class: type[AnyEvent], data: Any, at: str) -> AnyEvent:
    """
    Raises:
        Invalid: a field is missing or of the wrong kind.
    """
    if not isinstance(data, dict):
        raise Invalid((Fault(at, "must be an object"),))
    try:
        return event_class.model_validate(data)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        raise Invalid(tuple(Fault(at + pointer(one["loc"]), one["msg"]) for one in wrong)) from None


def said_by(event: ticket.TicketEvent) -> Said:
    """The policy's words in an event, and the customer's own."""
    match event:
        case ticket.TicketCreated():
            return Said(event.category, event.subcategory, event.signals, texts=(event.subject, event.body))
        case ticket.TicketMessageAdded():
            return Said(texts=(event.body,))
        case ticket.TicketRated():
            return Said(texts=(event.comment or "",))
        case ticket.TicketReclassified():
            return Said(event.category, event.subcategory)
        case ticket.TicketSignalsAdded():
            return Said(signals=event.signals)
        case ticket.TicketEscalationRequested():
            return Said(criterion=event.criterion)
    return Said()
