"""CloudEvents 1.0 in the Kafka binding: how an event becomes a record and a record an event.

Published in binary mode (attributes in `ce_` headers, value = the data as JSON); accepted in binary and structured mode.
Identity is (source, id), kept verbatim. Headers carry ids and codes only.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from shared.errors import DeadLetterCode, InvalidMessage


def rfc3339(instant: datetime) -> str:
    """UTC with `Z` and microseconds, the only form in which an instant leaves."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the calendar in UTC") from None


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_in_utc),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
]
"""An aware instant; written as RFC 3339 UTC with `Z` and microseconds."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An id of ours or of upstream: 1-128 characters without control characters, kept verbatim."""

OUR_SOURCES = "/storytailor/support/"
"""Where the events of our services come from; nobody else may speak from there (S9)."""


def source_of(service: str) -> str:
    """The source of a service's events."""
    return OUR_SOURCES + service


SAFETY_BRIDGE = source_of("safety-bridge")
"""The one source whose mark `restricted` counts, and whose tickets are restricted from the start (S9)."""

MAX_FUTURE = timedelta(seconds=1)
"""How far an event's time may be ahead of its receipt before it is clamped and flagged (L13): below it is clock skew."""


class Data(BaseModel):
    """A part of an event's data. Unknown fields are ignored, never an error."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Event(Data):
    """The data of one fact. The wire type is written down in each class; `key` orders it among its like."""

    wire_type: ClassVar[str]

    @property
    def key(self) -> str:
        """The record's key: facts with the same key stay in order."""
        raise NotImplementedError


E_co = TypeVar("E_co", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True)
class Record:
    """What came from a topic, byte for byte."""

    topic: str
    partition: int
    offset: int
    timestamp: datetime
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Envelope:
    """The attributes of an event that came in. `occurred_at` is UTC and never later than receipt (L13)."""

    source: str
    id: str
    type: str
    occurred_at: datetime
    subject: str | None = None
    correlation_id: str | None = None
    claimed_at: datetime | None = None
    """The time the event claimed for itself, where that lay in the future and was clamped (L13)."""

    @property
    def identity(self) -> bytes:
        """16 bytes that stand for (source, id)."""
        return hashlib.blake2b(f"{self.source}\0{self.id}".encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Received(Generic[E_co]):
    """An event with its envelope, as a handler gets it."""

    event: E_co
    envelope: Envelope
    meaning: bytes
    """16 bytes that stand for type, subject, time and data; the same id with another meaning is a conflict."""

    @property
    def occurred_at(self) -> datetime:
        return self.envelope.occurred_at

    @property
    def id(self) -> str:
        return self.envelope.id


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event on its way out: everything but the topic's prefix. `value` is the data as JSON."""

    topic: str
    key: str
    wire_type: str
    source: str
    id: str
    occurred_at: datetime
    correlation_id: str
    causation_id: str | None
    value: bytes
    claimed_at: datetime | None = None

    def headers(self) -> list[tuple[str, bytes]]:
        headers = [
            ("content-type", b"application/json"),
            ("ce_specversion", b"1.0"),
            ("ce_id", self.id.encode()),
            ("ce_source", self.source.encode()),
            ("ce_type", self.wire_type.encode()),
            ("ce_time", rfc3339(self.occurred_at).encode()),
            ("ce_subject", self.key.encode()),
            ("ce_correlationid", self.correlation_id.encode()),
        ]
        if self.causation_id is not None:
            headers.append(("ce_causationid", self.causation_id.encode()))
        if self.claimed_at is not None:
            headers.append(("ce_claimedtime", rfc3339(self.claimed_at).encode()))
        return headers


def derived_id(*parts: str) -> str:
    """The same id for the same parts, for ever: what is emitted twice after a crash is recognised as one."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=16, key=b"storytailor-support").hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


def meaning_of(wire_type: str, subject: str | None, claimed_time: datetime, data: Any) -> bytes:
    """16 bytes over canonical JSON of type, subject, time and data."""
    canonical = orjson.dumps([wire_type, subject, rfc3339(claimed_time), data], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=16).digest()


_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)


def decode(record: Record, types: Mapping[str, type[Event]]) -> Received[Event]:
    """The event in a record, in binary or structured mode.

    Raises:
        InvalidMessage: with the code that says what is wrong; never with a value.
    """
    headers = dict(record.headers)
    content_type = headers.get("content-type", b"").lower()
    if content_type.startswith(b"application/cloudevents"):
        attributes, data = _structured(record.value)
    else:
        attributes, data = _binary(headers, record.value)
    envelope = _envelope(attributes, received_at=record.timestamp)
    event_class = types.get(envelope.type)
    if event_class is None:
        raise InvalidMessage(DeadLetterCode.UNKNOWN_TYPE)
    return received(event_class, envelope, data)


def received(event_class: type[Event], envelope: Envelope, data: Any) -> Received[Event]:
    """The event that `data` (parsed JSON) describes.

    Raises:
        InvalidMessage: `invalid_data` when a field is missing or of the wrong kind.
    """
    try:
        event = event_class.model_validate(data)
        meaning = meaning_of(envelope.type, envelope.subject, envelope.claimed_at or envelope.occurred_at, data)
    except (ValidationError, orjson.JSONEncodeError):
        raise InvalidMessage(DeadLetterCode.INVALID_DATA) from None
    return Received(event, envelope, meaning)


def parse_json(value: bytes) -> Any:
    """
    Raises:
        InvalidMessage: `invalid_json`, also for numbers, nesting or text that JSON for machines cannot hold.
    """
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise InvalidMessage(DeadLetterCode.INVALID_JSON) from None


def _binary(headers: Mapping[str, bytes], value: bytes) -> tuple[dict[str, Any], Any]:
    try:
        attributes = {name[3:]: text.decode() for name, text in headers.items() if name.startswith("ce_")}
    except UnicodeDecodeError:
        raise InvalidMessage(DeadLetterCode.INVALID_ENVELOPE) from None
    if not attributes:
        raise InvalidMessage(DeadLetterCode.INVALID_ENVELOPE)
    return attributes, parse_json(value)


def _structured(value: bytes) -> tuple[dict[str, Any], Any]:
    attributes = parse_json(value)
    if not isinstance(attributes, dict):
        raise InvalidMessage(DeadLetterCode.INVALID_ENVELOPE)
    return attributes, attributes.pop("data", None)


def _envelope(attributes: Mapping[str, Any], received_at: datetime) -> Envelope:
    try:
        if attributes["specversion"] != "1.0":
            raise InvalidMessage(DeadLetterCode.INVALID_ENVELOPE)
        source = _IDENTIFIER.validate_python(attributes["source"])
        event_id = _IDENTIFIER.validate_python(attributes["id"])
        wire_type = attributes["type"]
        time = _INSTANT.validate_python(attributes["time"])
        claimed = _INSTANT.validate_python(attributes["claimedtime"]) if "claimedtime" in attributes else None
        subject = attributes.get("subject")
        correlation_id = _identifier_or_none(attributes.get("correlationid"))
    except (KeyError, ValidationError):
        raise InvalidMessage(DeadLetterCode.INVALID_ENVELOPE) from None
    if not isinstance(wire_type, str) or not isinstance(subject, str | None):
        raise InvalidMessage(DeadLetterCode.INVALID_ENVELOPE)
    if time > received_at + MAX_FUTURE:
        time, claimed = received_at, time
    return Envelope(source, event_id, wire_type, time, subject, correlation_id, claimed)


def _identifier_or_none(value: Any) -> str | None:
    """A correlation id is a courtesy: one that is no id is dropped, the event stays."""
    try:
        return _IDENTIFIER.validate_python(value)
    except ValidationError:
        return None


def registry(classes: Sequence[type[Event]]) -> dict[str, type[Event]]:
    """The event classes by wire type."""
    return {event_class.wire_type: event_class for event_class in classes}
