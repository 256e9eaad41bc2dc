"""Planted words in every field of every safety input, and a look at every byte that the whole system wrote (S5)."""

import asyncio
import base64
import html
import itertools
import json
import quopri
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import asyncpg
import pytest

from journeys.system import System
from safety_bridge.domain.protected import FIELDS, Group
from shared.events import agent
from shared.events.envelope import rfc3339
from shared.events.topics import AGENT, SAFETY, TOPICS
from shared.runtime.now import machine_now
from shared.testing.topic import producer

MARK = "Zanzibarquill"
"""A word that nobody else writes. Each planted text has it, a name, an address and a number of its own."""
CLOUDEVENT = [("content-type", b"application/cloudevents+json")]
TOLD_BY = {"x-actor-id": "tim", "x-actor-role": "safety_team", "x-reason": "review"}
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_numbers = itertools.count(1)


def planted() -> str:
    return f"Ada <{MARK}@oak.example> {next(_numbers)}, 5 Hill & Sons"


def holds_mark(data: bytes) -> bool:
    """As it is, in any case, and as mail, web and JSON write it."""
    forms = [data, unquote_to_bytes(data), html.unescape(data.decode("latin-1")).encode("latin-1", "replace")]
    forms += [quopri.decodestring(data), data.replace(b"\x00", b"")]
    for run in BASE64.findall(data):
        for start in range(4):
            part = run[start:].translate(bytes.maketrans(b"-_", b"+/"))
            forms.append(base64.b64decode(part[: len(part) // 4 * 4]))
    return any(MARK.lower().encode() in form.lower() for form in forms)


@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: text.upper().encode(),
        lambda text: text.encode("utf-16"),
        lambda text: b"x" + base64.b64encode(b"ab" + text.encode()),
        lambda text: base64.urlsafe_b64encode(text.encode()),
        lambda text: "".join(f"%{byte:02x}" for byte in text.encode()).encode(),
        lambda text: "".join(f"&#{ord(letter)};" for letter in text).encode(),
        lambda text: "".join(f"={byte:02X}" for byte in text.encode()).encode(),
    ],
)
def test_the_scan_finds_the_mark_in_every_form(encode: Any) -> None:
    """Invariant 29: a scan that finds nothing must have been able to."""
    assert holds_mark(b"before " + encode(planted()) + b" after")
    assert not holds_mark(encode("Nothing to see here, whatever the form it has."))


def everywhere() -> dict[str, Any]:
    """A document with planted words in every field that an agent may send, in unknown ones, and in their names."""
    said: dict[str, Any] = {name: planted() for name in FIELDS}
    for name, field in FIELDS.items():
        if isinstance(field, Group):
            said[name] = {inner: [planted()] for inner in field.fields} | {planted(): planted()}
    return said | {"child_name": planted(), "transcript": [planted()], planted(): {"deep": [planted()]}}


def headers(wire_type: str, event_id: str, **more: str) -> list[tuple[str, bytes]]:
    values = {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": planted(),
        "ce_type": wire_type,
        "ce_time": rfc3339(machine_now()),
        "ce_subject": planted(),
        "ce_correlationid": planted(),
        "x-note": planted(),
    }
    return [(name, value.encode()) for name, value in (values | more).items()]


def records() -> Iterator[tuple[bytes, list[tuple[str, bytes]], bytes]]:
    """Key, headers and value of what the agent's topic may hold: every type, an id twice, and what nobody can read."""
    for event_class in agent.EVENTS:
        yield planted().encode(), headers(event_class.wire_type, planted()), json.dumps(everywhere()).encode()
    crisis = agent.SafetyCrisisDetected.wire_type
    own_id = {"agent_incident_id": "A-canary", "severity": "high"}
    for said in (own_id, own_id | {"severity": "critical"}):
        twice = headers(crisis, "the-same", ce_source="/agent")
        yield b"A-canary", twice, json.dumps(everywhere() | said).encode()
    yield planted().encode(), headers(crisis, planted()), planted().encode()
    yield planted().encode(), headers(planted(), planted()), json.dumps(everywhere()).encode()
    yield planted().encode(), headers(crisis, planted(), ce_time=planted()), json.dumps(everywhere()).encode()
    yield planted().encode(), [("ce_source", planted().encode()), ("x", b"\xff")], b"\xff" + planted().encode()
    yield planted().encode(), [], json.dumps([planted()]).encode()
    structured = {"specversion": "1.0", "id": planted(), "source": planted(), "type": crisis, "data": everywhere()}
    yield b"", CLOUDEVENT, json.dumps(structured | {"time": rfc3339(machine_now()), planted(): planted()}).encode()
    yield b"", CLOUDEVENT, json.dumps(structured).encode()


async def test_planted_words_are_nowhere_but_in_the_vault(system: System) -> None:
    """Must show 5; SN-23, SN-24, SN-43, invariants 29, 33: topics, tables, mails, logs, metrics and answers, byte by byte."""
    sent = list(records())
    async with producer(system.engines.kafka_address) as upstream:
        for key, head, value in sent:
            await upstream.send_and_wait(system.topic_prefix + AGENT.name, value, key=key, headers=head)
    answers = await post_to_the_fast_lane(system)
    await everything_is_handled(system)
    incidents = (await system.ask("safety-bridge", "/v1/incidents"))["incidents"]
    answers += await act(system, incidents[0]["incident_ref"])
    await everything_is_handled(system)
    written = {"answers": answers, "mails": [json.dumps(await system.mails()).encode()]}
    written |= {f"topic {name}": found async for name, found in topics(system)}
    written |= {f"table {name}": found async for name, found in tables(system)}
    written |= {f"log {file.name}": [file.read_bytes()] for file in (system.stack.directory / "log").iterdir()}
    async with system.client() as client:
        for process in system.stack.processes:
            written[f"metrics {process.name}"] = [(await client.get(f"{process.url}/metrics")).content]
    assert sum(map(len, written.values())) > 200
    assert {place for place, found in written.items() if any(map(holds_mark, found))} == {f"topic {AGENT.name}"}
    sealed = [
        await system.ask("safety-bridge", f"/v1/incidents/{one['incident_ref']}/protected", headers=TOLD_BY)
        for one in incidents
    ]
    values = [json.dumps(one["value"]) for incident in sealed for one in incident["values"]]
    opened = " ".join([*values, *(unpacked(value) for value in values)])
    for _, head, value in sent:
        if (
            not is_heartbeat(head) and head != CLOUDEVENT
        ):  # of a CloudEvent in one piece the data is kept, not its envelope
            planted_there = re.findall(rf"{MARK}@oak.example> \d+,", value.decode("latin-1"))
            assert [text for text in planted_there if text not in opened] == []


def is_heartbeat(head: list[tuple[str, bytes]]) -> bool:
    """Heartbeats open nothing and are kept nowhere."""
    return ("ce_type", agent.SafetyAgentHeartbeat.wire_type.encode()) in head


def unpacked(value: str) -> str:
    said = json.loads(value)
    packed = said.get("value") if isinstance(said, dict) else None
    return base64.b64decode(packed).decode("latin-1") if isinstance(packed, str) else ""


async def post_to_the_fast_lane(system: System) -> list[bytes]:
    """Events like those of the topic, and bodies that nobody can read; answers what intake said."""
    url = system.stack.url("intake") + "/v1/safety/events"
    event = {"specversion": "1.0", "time": rfc3339(machine_now()), "subject": planted(), "correlationid": planted()}
    event |= {"source": planted(), "data": everywhere(), planted(): planted()}
    said = []
    async with system.client() as client:
        for content in (
            json.dumps(event | {"id": planted(), "type": agent.SafetyCrisisDetected.wire_type}),
            json.dumps(event | {"id": planted(), "type": planted()}),
            json.dumps([planted()]),
            planted(),
        ):
            more = {"content-type": "application/cloudevents+json", "x-note": MARK}
            answer = await client.post(url, content=content, headers=more)
            assert answer.status_code == 202
            said.append(b"" if MARK in answer.text and "event_id" in answer.text else answer.content)
    return said


async def act(system: System, ref: str) -> list[bytes]:
    """A note, and requests that are refused; answers what the bridge said."""
    url = f"{system.stack.url('safety-bridge')}/v1/incidents"
    actor = {"id": "on-call-1", "role": "support"}
    async with system.client() as client:
        noted = await client.post(f"{url}/{ref}/notes", json={"actor": actor, "text": planted()})
        assert noted.status_code == 201
        refused = [
            await client.post(f"{url}/{ref}/notes", json={"actor": {"id": [planted()], "role": planted()}}),
            await client.post(f"{url}/{ref}/raise", json={"epoch": planted(), "actor": actor, "severity": planted()}),
            await client.post(f"{url}/{planted()}/acknowledge", json={"epoch": 1, "actor": actor}),
            await client.get(url, params={"agent_incident_id": planted()}),
            await client.get(f"{url}/{ref}", headers={"x-reason": MARK, "x-actor-role": MARK}),
        ]
    return [noted.content, *(one.content for one in refused)]


async def everything_is_handled(system: System) -> None:
    """The bridge has read the agent's topic to its end, the notifier the bridge's, and nothing waits to leave."""
    async with asyncio.timeout(120):
        for schema, group, topic in (
            ("safety_bridge", "support.safety-bridge", AGENT.name),
            ("safety_bridge", None, ""),
            ("notifier", "support.notifier.urgent", SAFETY.name),
            ("notifier", None, ""),
        ):
            while True:
                if group is None:
                    done = not await system.sql(f"select count(*) from {schema}.outbox")
                else:
                    read = await system.sql(
                        f"select coalesce(sum(next_offset), 0)::int from {schema}.consumer_cursor "
                        f"where consumer = '{group}' and topic = '{topic}'"
                    )
                    done = read >= len(await system.read_raw(topic))
                if done:
                    break
                await asyncio.sleep(0.3)


async def topics(system: System) -> Any:
    names = [topic.name for topic in TOPICS] + [one.dead_letters(group) for one in TOPICS for group in one.consumers]
    for name in names:
        found = await system.read_raw(name)
        yield name, [b"|".join([one.key, one.value, *(n.encode() + v for n, v in one.headers)]) for one in found]


async def tables(system: System) -> Any:
    """Every column of every row of every service, with its bytes as they are."""
    connection = await asyncpg.connect(system.database_url)
    try:
        for schema, table in await connection.fetch(
            "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
        ):
            rows = await connection.fetch(f'select * from "{schema}"."{table}"')
            yield (
                f"{schema}.{table}",
                [one if isinstance(one, bytes) else str(one).encode() for row in rows for one in row],
            )
    finally:
        await connection.close()
