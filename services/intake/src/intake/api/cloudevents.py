"""CloudEvents in the HTTP binding: structured, binary and batch, told apart by the content type.

In binary mode the attributes are `ce-` headers: unquoted, percent-decoded once, UTF-8.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from intake.domain.acceptance import Fault, Invalid
from intake.handlers.reading import Arrival
from intake.handlers.reception import Raw
from shared.runtime.http import Problem

JSON = "application/json"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MAX_ITEMS = 500

Headers = Mapping[bytes, bytes]


def media_type(headers: Headers, accepted: Iterable[str]) -> str:
    """The media type of the body.

    Raises:
        Problem: 415 for one that is not accepted here, for another character set than UTF-8, for a compressed body.
    """
    named, _, parameters = headers.get(b"content-type", b"").decode("latin-1").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip('" ')
    if named.strip() not in accepted or charset not in ("", "utf-8") or b"content-encoding" in headers:
        raise Problem(415, accepted=sorted(accepted))
    return named.strip()


def parse(body: bytes) -> Any:
    """
    Raises:
        Problem: 400 for a body that is not JSON in UTF-8.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Problem(400, "invalid-json", "The body is not JSON") from None


def items_of(body: bytes) -> list[Any]:
    """The items of a batch, each still to be read.

    Raises:
        Problem: it is not a list, or has too many items or none.
    """
    items = parse(body)
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise Problem(422, "invalid-batch", f"A batch is a list of 1 to {MAX_ITEMS} events")
    return items


def structured(event: Any) -> Arrival:
    """
    Raises:
        Invalid: it is not an object.
    """
    if not isinstance(event, dict):
        raise Invalid((Fault("", "must be an object"),))
    attributes = event.copy()  # what is refused is looked at once more
    return Arrival(attributes, attributes.pop("data", None))


def binary(headers: Headers, body: bytes) -> Arrival:
    """
    Raises:
        Problem: 400 for a body that is not JSON, or a `ce-` header that is not UTF-8.
    """
    try:
        attributes = {name[3:].decode(): _unquoted(value) for name, value in headers.items() if name.startswith(b"ce-")}
    except UnicodeDecodeError:
        raise Problem(400, "invalid-header", "A ce- header is not percent-encoded UTF-8") from None
    return Arrival(attributes, parse(body))


def _unquoted(value: bytes) -> str:
    if len(value) > 1 and value.startswith(b'"') and value.endswith(b'"'):
        value = value[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\")
    return unquote_to_bytes(value).decode() if b"%" in value else value.decode()


def read_leniently(headers: Headers, body: bytes) -> list[tuple[Arrival | None, Raw]]:
    """What the fast lane makes of a body, whatever its content type says: events, and None for what is not one (S6)."""
    told = b"\n".join(b": ".join(line) for line in headers.items() if line[0].startswith((b"ce-", b"content-")))
    whole = Raw(told, body)
    named = headers.get(b"content-type", b"").lower()
    try:
        if named.startswith(BATCH.encode()):
            return [_leniently(item, Raw(told, orjson.dumps(item))) for item in items_of(body)]
        if b"ce-type" in headers and not named.startswith(b"application/cloudevents"):
            return [(binary(headers, body), whole)]
        return [_leniently(parse(body), whole)]
    except (Problem, orjson.JSONEncodeError):
        return [(None, whole)]


def _leniently(event: Any, raw: Raw) -> tuple[Arrival | None, Raw]:
    return (structured(event) if isinstance(event, dict) else None), raw
