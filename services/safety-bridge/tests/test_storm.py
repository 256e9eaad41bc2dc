"""Far more incidents than people can read, on the real engines: nothing is lost, and a report does not wait behind them."""

import asyncio
import json
import resource
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from safety_bridge.app import build
from safety_bridge.settings import SafetyBridgeSettings
from shared.events.agent import SafetyCrisisDetected, SafetyMandatoryReportTriggered
from shared.events.topics import AGENT, SAFETY
from shared.messaging.kafka import Kafka
from shared.runtime.database import Database
from shared.runtime.migrate import migrate
from shared.runtime.now import machine_now
from shared.testing.builders import headers_of
from shared.testing.topic import Seen, producer, read_topic, wait_for_records

DEMO_DIRECTORY = Path(__file__).parents[3] / "deploy/src/deploy/directory.yaml"
LOCAL_KEY = Path(__file__).parents[3] / "deploy/src/deploy/local.key"
REPORT_WITHIN_SECONDS = 30.0
LAG_SECONDS = 60.0
GROWTH_MEGABYTES = 300.0


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.long)])
async def test_in_a_storm_every_incident_is_kept_and_a_report_is_paged_in_time(
    kafka_address: str, topic_prefix: str, database_url: str, count: int
) -> None:
    """SN-30, invariant 7: distinct critical incidents as fast as the broker takes them, one report in their middle."""
    await migrate(database_url, schema="safety_bridge", package="safety_bridge")
    kafka = Kafka(kafka_address, topic_prefix=topic_prefix)
    await kafka.create_topics()
    databases = [Database(database_url, schema="safety_bridge") for _ in range(2)]
    settings = SafetyBridgeSettings.model_validate(
        {
            "kafka_bootstrap_servers": kafka_address,
            "database_url": database_url,
            "directory_file": DEMO_DIRECTORY,
            "master_key_file": LOCAL_KEY,
        }
    )
    app = build(settings, now=machine_now, kafka=kafka, bulk=databases[0], urgent=databases[1])
    parts = [asyncio.create_task(part.run()) for part in app.parts]
    worked = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        started = time.monotonic()
        report_sent_at = await _pour(kafka_address, topic_prefix + AGENT.name, count)
        poured = time.monotonic() - started
        async with asyncio.timeout(600):
            while await _incidents(databases[0]) < count + 1:
                await asyncio.sleep(0.2)
        kept = time.monotonic() - started
        async with asyncio.timeout(600):
            while await _unpublished(databases[0]):
                await asyncio.sleep(0.2)
        published = time.monotonic() - started
        told = await wait_for_records(
            kafka_address,
            topic_prefix + SAFETY.name,
            lambda seen: any(one.fact == "safety.storm_started" for one in seen),
        )
    finally:
        for part in app.parts:
            await part.stop()
        await asyncio.gather(*parts)
        for database in databases:
            await database.close()
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    (report,) = [
        one for one in told if _is_page(one) and one.data["lane"] == "mandatory_report" and one.data["step"] == 0
    ]
    report_within = (datetime.fromisoformat(report.data["emitted_at"]) - report_sent_at).total_seconds()
    print(
        f"{count} incidents: {time.process_time() - worked:.1f} s of work, "
        f"poured in {poured:.1f} s, kept after {kept:.1f} s, published after {published:.1f} s, "
        f"report asked for after {report_within:.2f} s, memory grew by {growth:.0f} MB"
    )
    everything = await read_topic(kafka_address, topic_prefix + SAFETY.name)
    opened = {one.key for one in everything if one.fact == "safety.incident_opened"}
    assert len(opened) == count + 1
    assert {one.key for one in everything if _is_page(one)} == opened
    assert len({one.headers["ce_id"] for one in everything if one.fact == "safety.storm_started"}) == 1
    assert report_within < REPORT_WITHIN_SECONDS
    assert kept - poured < LAG_SECONDS
    assert growth < GROWTH_MEGABYTES
    assert await read_topic(kafka_address, topic_prefix + AGENT.dead_letters("support.safety-bridge")) == []


async def _pour(address: str, topic: str, count: int) -> datetime:
    """As fast as the broker takes them; answers when the report was sent."""
    at = machine_now()
    async with producer(address) as upstream:

        async def send(event_class: Any, number: int, **data: Any) -> Any:
            said = {"agent_incident_id": f"A-{number}"} | data
            headers = headers_of(event_class.wire_type, f"e-{number}", source="/agent", at=at)
            return await upstream.send(topic, json.dumps(said).encode(), key=f"A-{number}".encode(), headers=headers)

        sent = []
        for number in range(count):
            sent.append(await send(SafetyCrisisDetected, number, severity="critical"))
            if number == count // 2:
                sent.append(await send(SafetyMandatoryReportTriggered, count, severity="high"))
                report_sent_at = machine_now()
        await asyncio.gather(*sent)
        return report_sent_at


def _is_page(one: Seen) -> bool:
    return one.fact == "safety.page_requested"


async def _incidents(database: Database) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval("select count(*) from incident"))


async def _unpublished(database: Database) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval("select count(*) from outbox"))
