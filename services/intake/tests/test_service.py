"""Intake as it runs, on real Kafka and PostgreSQL: what is accepted arrives, whichever of the two is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from intake.api.documentation import EVENT_EXAMPLE, SAFETY_EXAMPLE
from intake.api.routes import MAX_REQUEST_BYTES
from shared.messaging.kafka import Kafka
from shared.testing.topic import read_topic, wait_for_records

BATCH = "application/cloudevents-batch+json"


@asynccontextmanager
async def running(service: Any) -> AsyncIterator[None]:
    """The parts of the service at work."""
    tasks = [asyncio.create_task(part.run()) for part in service.app.parts]
    yield
    for part in service.app.parts:
        await part.stop()
    await asyncio.gather(*tasks)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


@pytest.fixture
async def kafka(kafka_address: str, topic_prefix: str) -> Kafka:
    cluster = Kafka(kafka_address, topic_prefix=topic_prefix)
    await cluster.create_topics()
    return cluster


async def test_what_is_accepted_arrives_in_order(
    intake_on: Any, kafka: Kafka, kafka_address: str, topic_prefix: str
) -> None:
    """Each ticket's events in the order of their answers, flags on the agent's topic (design 3.1, S6)."""
    service = await intake_on(kafka)
    facts = ("created", "message_added", "resolved", "rated")
    for fact in facts:
        items = [service.event(fact, f"{fact}-{n}", ticket_id=f"T-{n}", score=5) for n in range(50)]
        answer = await service.post("/v1/events", items, BATCH)
        assert {one["status"] for one in answer.json()} == {202}
    await service.post("/v1/events", service.event("message_added", "crisis", ticket_id="T-7", body="quiero morir"))
    async with running(service):
        seen = await wait_for_records(kafka_address, f"{topic_prefix}support.ticket.v1", lambda all_: len(all_) >= 201)
        flags = await wait_for_records(kafka_address, f"{topic_prefix}safety.agent.v1", bool)
    for n in range(50):
        mine = [record.fact for record in seen if record.key == f"T-{n}"]
        assert mine[: len(facts)] == [f"ticket.{fact}" for fact in facts]
    assert [(flag.key, flag.headers["ce_causationid"]) for flag in flags] == [("T-7", "crisis")]
    assert await service.left() == []


async def test_the_fast_lane_works_with_the_database_away(
    away_on: Any, kafka: Kafka, kafka_address: str, topic_prefix: str
) -> None:
    """202 as soon as Kafka has acknowledged; keys are known without the database (design 2)."""
    service = await away_on(kafka)
    answers = [await service.post("/v1/safety/events", body) for body in (SAFETY_EXAMPLE, b"{", SAFETY_EXAMPLE)]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert (await service.post("/v1/events", EVENT_EXAMPLE)).status_code == 503
    seen = await read_topic(kafka_address, f"{topic_prefix}safety.agent.v1")
    assert sorted(record.fact for record in seen) == ["safety.crisis_detected"] * 2 + ["safety.unreadable"]
    first, second = [record for record in seen if record.fact == "safety.crisis_detected"]
    assert (first.value, first.headers["ce_id"]) == (second.value, second.headers["ce_id"])


async def test_the_largest_body_of_the_fast_lane_fits_into_a_record(
    intake_on: Any, away_on: Any, kafka: Kafka, kafka_address: str, topic_prefix: str
) -> None:
    """Both ways: through the outbox, and past the database."""
    event = {**SAFETY_EXAMPLE, "data": {"agent_incident_id": "i-1", "x": ""}}
    event["data"]["x"] = "x" * (MAX_REQUEST_BYTES - len(json.dumps(event)))
    service, past_the_store = await intake_on(kafka), await away_on(kafka)
    for one in (service, past_the_store):
        assert (await one.post("/v1/safety/events", event)).status_code == 202
    async with running(service):
        topic = f"{topic_prefix}safety.agent.v1"
        seen = await wait_for_records(kafka_address, topic, lambda records: len(records) == 2)
    assert seen[0].value == seen[1].value


async def test_intake_is_ready_with_kafka_away(intake: Any) -> None:
    """It still accepts; the answer says what is degraded (design 3.3)."""
    await intake.post("/v1/events", intake.event())

    async def degraded() -> bool:
        answer = await intake.client.get("/readyz")
        assert answer.status_code == 200
        return "relay-bulk" in answer.json()["degraded"]

    async with running(intake):
        await eventually(degraded)
    assert len(await intake.left()) == 1


async def test_intake_is_not_ready_with_the_database_away(away: Any) -> None:
    """It accepts nothing but safety (design 3.3)."""

    async def unready() -> bool:
        answer = await away.client.get("/readyz")
        return answer.status_code == 503 and answer.json()["failing"].keys() == {"database"}

    async with running(away):
        await eventually(unready)
