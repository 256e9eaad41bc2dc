"""Writes `docs/contracts`: a JSON Schema for every event and one AsyncAPI document, from `shared.events` (`make docs`).

The committed files are compared with what this writes by a test, so that an event cannot change unseen.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.events.envelope import Event
from shared.events.topics import DEAD_LETTER_PARTITIONS, TOPICS, Topic

DIALECT = "https://json-schema.org/draft/2020-12/schema"
HEADERS = {
    "content-type": "application/json",
    "ce_specversion": "1.0",
    "ce_id": "with ce_source the identity of the event, at most 128 characters",
    "ce_source": "who says it",
    "ce_type": "the wire type",
    "ce_time": "when it happened: RFC 3339, UTC with Z, microseconds",
    "ce_subject": "the key",
    "ce_correlationid": "the journey the event belongs to",
    "ce_causationid": "the event that made this one happen",
    "ce_claimedtime": "the time the event claimed where that lay in the future and was clamped (L13)",
}


def contracts() -> dict[str, str]:
    """File name -> text, for every file of `docs/contracts`."""
    files = {f"{short_name(event)}.json": _text(schema_of(event)) for topic in TOPICS for event in topic.events}
    files["asyncapi.json"] = _text(asyncapi())
    files["README.md"] = "\n".join(_overview())
    return files


def schema_of(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema of an event's data; unknown fields are always allowed."""
    schema = event.model_json_schema()
    return {"$schema": DIALECT, "$id": event.wire_type} | schema


def short_name(event: type[Event]) -> str:
    """`support.routing.assigned.v1` of `com.storytailor.support.routing.assigned.v1`."""
    return event.wire_type.removeprefix("com.storytailor.")


def asyncapi() -> dict[str, Any]:
    """Every topic with its key, partitions, events, producers and consumer groups (AsyncAPI 3.0)."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Storytailor support", "version": "1"},
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": dict(_operations()),
        "components": {
            "messages": {short_name(event): _message(event, topic) for topic in TOPICS for event in topic.events}
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"Key: {topic.key}. Lane: {topic.lane.name.lower()}. Producers: {', '.join(topic.producers)}.",
        "messages": {
            short_name(event): {"$ref": f"#/components/messages/{short_name(event)}"} for event in topic.events
        },
        "bindings": {"kafka": {"topic": topic.name, "partitions": topic.partitions}},
    }


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for topic in TOPICS:
        channel = {"$ref": f"#/channels/{topic.name.replace('/', '~1')}"}
        for producer in topic.producers:
            yield f"{producer} sends {topic.name}", {"action": "send", "channel": channel}
        for group in topic.consumers:
            binding = {"kafka": {"groupId": {"type": "string", "const": group}}}
            yield f"{group} receives {topic.name}", {"action": "receive", "channel": channel, "bindings": binding}


def _message(event: type[Event], topic: Topic) -> dict[str, Any]:
    return {
        "name": event.wire_type,
        "summary": " ".join((event.__doc__ or "").split()) or short_name(event),
        "headers": {
            "type": "object",
            "properties": {name: {"type": "string", "description": text} for name, text in HEADERS.items()},
        },
        "payload": {"$ref": f"./{short_name(event)}.json"},
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}}},
    }


def _overview() -> Iterator[str]:
    yield "# Contracts"
    yield ""
    yield "Written by `make docs` from `shared/src/shared/events`; do not edit. Records are CloudEvents 1.0 in the Kafka"
    yield "binding, binary mode; structured mode is accepted on input. Unknown fields are ignored, never an error. A record"
    yield "published twice (after a crash) has the same `ce_source`, `ce_id` and bytes."
    for topic in TOPICS:
        yield ""
        yield f"## `{topic.name}`"
        yield ""
        yield f"Key: {topic.key}. {topic.partitions} partitions. Written by {', '.join(topic.producers)}."
        if topic.consumers:
            letters = ", ".join(f"`{topic.dead_letters(group)}`" for group in topic.consumers)
            yield f"Read by {', '.join(f'`{group}`' for group in topic.consumers)}; dead letters on {letters}"
            yield f"({DEAD_LETTER_PARTITIONS} partitions)."
        yield ""
        for event in topic.events:
            yield f"- [`{short_name(event)}`]({short_name(event)}.json)"
    yield ""


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files, and remove those that no longer belong there."""
    folder = Path("docs/contracts")
    folder.mkdir(parents=True, exist_ok=True)
    files = contracts()
    for stale in set(folder.iterdir()) - {folder / name for name in files}:
        stale.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
