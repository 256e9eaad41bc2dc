"""What a consumer makes of a record: headers that contradict its content lose nothing (S6)."""

from datetime import UTC, datetime

import orjson
import pytest

from shared.events.agent import SafetyAgentHeartbeat, SafetyCrisisDetected
from shared.events.envelope import Record
from shared.events.topics import AGENT
from shared.messaging.consumer import Consumer
from shared.messaging.kafka import Kafka
from shared.messaging.unit_of_work import UnitsOfWork
from shared.runtime.database import Database

AT = datetime(2026, 3, 3, 15, tzinfo=UTC)
CRISIS = SafetyCrisisDetected.wire_type
HEARTBEAT = SafetyAgentHeartbeat.wire_type.encode()


@pytest.fixture
async def consumer():
    """Handles crises and nothing else; it never reaches its engines here."""
    database = Database("postgresql://127.0.0.1:9/none", schema="nobody")
    units = UnitsOfWork(database, lambda *_: None, now=lambda: AT, wake=lambda _: None)
    yield Consumer("support.test", [AGENT], {SafetyCrisisDetected: lambda *_: None}, units, Kafka("127.0.0.1:9"))
    await database.close()


def record(value: bytes, *headers: tuple[str, bytes]) -> Record:
    return Record(AGENT.name, 0, 0, AT, b"inc-1", value, headers)


async def test_a_structured_crisis_is_read_whatever_its_headers_claim(consumer) -> None:
    """The content type decides, not a stray `ce_type` of a kind that nobody handles."""
    envelope = {"specversion": "1.0", "id": "e-1", "source": "/agent", "type": CRISIS, "time": "2026-03-03T15:00:00Z"}
    value = orjson.dumps({**envelope, "data": {"incident_id": "inc-1"}})
    read = consumer.decode(record(value, ("content-type", b"application/cloudevents+json"), ("ce_type", HEARTBEAT)))
    assert read.code is None
    assert isinstance(read.message.event, SafetyCrisisDetected)


async def test_what_cannot_be_read_is_told_also_of_a_kind_that_nobody_handles(consumer) -> None:
    """A garbled heartbeat is set aside with a code, so that somebody hears of it."""
    assert consumer.decode(record(b"{", ("ce_type", HEARTBEAT), ("ce_specversion", b"1.0"))).code == "invalid_json"
