"""The wired service: what it subscribes to, when it is ready, and its way from a topic to a topic."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from pydantic import ValidationError

from safety_bridge.app import SUBSCRIPTIONS, build
from safety_bridge.settings import SafetyBridgeSettings
from shared.events.agent import SafetyCrisisDetected, SafetyTicketFlagged
from shared.events.topics import AGENT, ROUTING, SAFETY, TICKET, TOPICS
from shared.messaging.kafka import Kafka
from shared.runtime.database import Database
from shared.runtime.lifecycle import App
from shared.runtime.now import machine_now
from shared.testing.builders import headers_of
from shared.testing.topic import Seen, producer, read_topic, wait_for_records

CANARY = "Zanzibar"
DEMO_DIRECTORY = Path(__file__).parents[3] / "deploy/src/deploy/directory.yaml"
LOCAL_KEY = Path(__file__).parents[3] / "deploy/src/deploy/local.key"


def settings(**values: Any) -> SafetyBridgeSettings:
    return SafetyBridgeSettings.model_validate(
        {
            "kafka_bootstrap_servers": "nobody:9",
            "database_url": "postgresql://nobody/x",
            "directory_file": DEMO_DIRECTORY,
            "master_key_file": LOCAL_KEY,
        }
        | values
    )


def test_what_it_subscribes_to_is_on_its_topics() -> None:
    """The map says the same: every event of the agent, and routing decisions (S6, S8)."""
    assert set(AGENT.events) <= set(SUBSCRIPTIONS) <= {*AGENT.events, *ROUTING.events}


def test_a_directory_that_is_missing_or_wrong_stops_the_start(tmp_path: Path) -> None:
    """Design 3.4: it names the variable, and no address."""
    wrong = tmp_path / "directory.yaml"
    wrong.write_text("on_call: {primary: [{id: p, email: nobody at all}]}")
    for path in (wrong, tmp_path / "missing.yaml"):
        with pytest.raises(ValidationError, match="directory_file") as refused:
            settings(directory_file=path)
        assert "nobody at all" not in str(refused.value.errors(include_input=False))


def test_two_processes_of_one_lane_each_do_what_one_process_of_both_does() -> None:
    """S6: the lanes share nothing but the looks at the directory file."""

    def parts(lane: str | None) -> list[str]:
        database = Database("postgresql://nobody/x", schema="safety_bridge")
        app = build(settings(lane=lane), now=machine_now, kafka=Kafka("nobody:9"), bulk=database, urgent=database)
        return sorted(part.name for part in app.parts)

    assert sorted([*parts("urgent"), *parts("bulk")]) == sorted([*parts(None), "coverage", "directory-file"])
    assert not [name for name in parts("urgent") if "bulk" in name or "routing" in name]


@pytest.mark.parametrize(("lane", "proves"), [("urgent", True), (None, True), ("bulk", False)])
async def test_a_process_that_proves_nothing_does_not_say_that_it_cannot(lane: str | None, proves: bool) -> None:
    """A process of the bulk would be degraded for ever, and hide that the other one is."""
    database = Database("postgresql://nobody/x", schema="safety_bridge")
    app = build(settings(lane=lane), now=machine_now, kafka=Kafka("nobody:9"), bulk=database, urgent=database)
    assert ("self_proof" in (await _get(app, "/readyz")).json()["degraded"]) == proves


async def test_without_a_last_responder_it_is_not_ready(database_url: str, tmp_path: Path) -> None:
    """SN-09, invariant 24: a list that ends with nobody is no list (S4)."""
    directory = yaml.safe_load(DEMO_DIRECTORY.read_text())
    directory["on_call"]["last_responder"] = []
    lacking = tmp_path / "directory.yaml"
    lacking.write_text(yaml.safe_dump(directory))
    database = Database(database_url, schema="safety_bridge")
    app = build(
        settings(directory_file=lacking), now=machine_now, kafka=Kafka("nobody:9"), bulk=database, urgent=database
    )
    app.api.state.started = True
    answer = await _get(app, "/readyz")
    await database.close()
    assert answer.status_code == 503
    assert answer.json()["failing"]["directory"] == "nobody to reach at the end of: crisis, mandatory_report, high"


async def _get(app: App, path: str) -> Any:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app.api), base_url="http://bridge") as client:
        return await client.get(path)


@asynccontextmanager
async def running(database_url: str, kafka: Kafka) -> AsyncIterator[Database]:
    """The service at work, as `main` runs it, until the test is done."""
    await kafka.create_topics()
    databases = [Database(database_url, schema="safety_bridge") for _ in range(2)]
    app = build(settings(), now=machine_now, kafka=kafka, bulk=databases[0], urgent=databases[1])
    tasks = [asyncio.create_task(part.run()) for part in app.parts]
    try:
        yield databases[0]
    finally:
        for part in app.parts:
            await part.stop()
        await asyncio.gather(*tasks)
        for database in databases:
            await database.close()


def said(event_class: Any, event_id: str, *, source: str = "/agent") -> list[tuple[str, bytes]]:
    more = {"ce_subject": CANARY, "ce_correlationid": CANARY, "x-note": CANARY}
    headers = headers_of(event_class.wire_type, event_id, source=source, at=machine_now())
    return headers + [(name, value.encode()) for name, value in more.items()]


async def test_from_the_agents_topic_to_a_page_and_nothing_of_its_words(
    kafka_address: str, topic_prefix: str, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """SN-01, 02, 23, 43, 54: a signal, its repetition, a second body, and what nobody can read (S5, S6)."""
    kafka = Kafka(kafka_address, topic_prefix=topic_prefix)
    crisis = {"agent_incident_id": "A-1", "severity": "high", "transcript": CANARY, "guardian_contact": CANARY}
    worse = crisis | {"severity": "critical"}
    flag = {"ticket_id": "T-1", "subcategory": "crisis_detection", "evidence": [CANARY]}
    async with running(database_url, kafka) as database, producer(kafka_address) as upstream:
        first, flagged = said(SafetyCrisisDetected, "e-1"), said(SafetyTicketFlagged, "e-2", source="/intake")
        for value, key, headers in (
            (json.dumps(crisis).encode(), b"A-1", first),
            (json.dumps(crisis).encode(), b"A-1", first),
            (json.dumps(worse).encode(), b"A-1", first),
            (json.dumps(flag).encode(), b"T-1", flagged),
            (CANARY.encode(), b"A-9", said(SafetyCrisisDetected, "e-3")),
            (b'{"severity": "critical"}', CANARY.encode(), [("ce_source", b"/other"), ("ce_type", CANARY.encode())]),
        ):
            await upstream.send_and_wait(topic_prefix + AGENT.name, value, key=key, headers=headers)
        told = await wait_for_records(
            kafka_address, topic_prefix + SAFETY.name, lambda seen: _count(seen, "page_requested") >= 5
        )
        tickets = await wait_for_records(
            kafka_address, topic_prefix + TICKET.name, lambda seen: _count(seen, "restricted") >= 3
        )
        columns = await _all_columns(database)
    assert _count(told, "incident_opened") == 4
    assert (_count(told, "incident_raised"), _count(told, "page_requested")) == (1, 5)
    assert (_count(tickets, "created"), _count(tickets, "restricted")) == (3, 3)
    written = [*told, *tickets]
    for topic in TOPICS:
        if topic not in (AGENT, SAFETY, TICKET):
            written += await read_topic(kafka_address, topic_prefix + topic.name)
    everything = "|".join([repr(one) for one in written] + columns + [*capsys.readouterr()])
    for form in (CANARY, CANARY.encode().hex()):
        assert form not in everything


def _count(seen: list[Seen], fact: str) -> int:
    return sum(one.fact.endswith(fact) for one in seen)


async def _all_columns(database: Database) -> list[str]:
    """Every row of every table but the dead letters, as text."""
    async with database.connection() as connection:
        tables = await connection.fetch(
            "select tablename from pg_tables where schemaname = 'safety_bridge' and tablename <> 'dead_letter'"
        )
        return [
            row[0] for table in tables for row in await connection.fetch(f"select t::text from {table['tablename']} t")
        ]
