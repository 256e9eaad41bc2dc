"""The wired service: what it subscribes to, and its way from a topic to a topic."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router.app import GROUP, NAME, SUBSCRIPTIONS, build
from router.settings import RouterSettings
from shared.events.quality import QualityAssessed
from shared.events.sla import SlaWarning
from shared.events.ticket import TicketAcknowledged, TicketRated, TicketReviewed
from shared.events.topics import ROUTING, SCREENING, SLA, TICKET
from shared.messaging.kafka import Kafka
from shared.runtime.database import Database
from shared.runtime.now import machine_now
from shared.testing.builders import headers_of, ticket_data
from shared.testing.topic import producer, wait_for_records


def test_what_it_subscribes_to_is_what_can_change_a_decision() -> None:
    """Everything on the ticket topic but what is said to other services, and the clocks as far as they raise or urge."""
    assert GROUP in TICKET.consumers
    assert GROUP in SLA.consumers
    assert set(TICKET.events) - set(SUBSCRIPTIONS) == {TicketAcknowledged, TicketRated, TicketReviewed}
    assert set(SLA.events) - set(SUBSCRIPTIONS) == {SlaWarning, QualityAssessed}


@asynccontextmanager
async def running(database_url: str, kafka: Kafka) -> AsyncIterator[None]:
    """The service at work, as `main` runs it, until the test is done."""
    await kafka.create_topics()
    databases = [Database(database_url, schema=NAME) for _ in range(2)]
    settings = RouterSettings.model_validate({"kafka_bootstrap_servers": "used:0", "database_url": database_url})
    app = build(settings, now=machine_now, kafka=kafka, bulk=databases[0], urgent=databases[1])
    tasks = [asyncio.create_task(part.run()) for part in app.parts]
    try:
        yield
    finally:
        for part in app.parts:
            await part.stop()
        await asyncio.gather(*tasks)
        for database in databases:
            await database.close()


async def test_from_the_ticket_topic_to_a_decision(kafka_address: str, topic_prefix: str, database_url: str) -> None:
    """A ticket, its repetition, a signal and words of crisis: decided once each, in order (S7)."""
    kafka = Kafka(kafka_address, topic_prefix=topic_prefix)
    facts = [
        ("e-1", "created", {"category": "technical"}),
        ("e-1", "created", {"category": "technical"}),
        ("e-2", "signals_added", {"signals": ["needs_code_fix"]}),
        ("e-3", "message_added", {"author": {"kind": "customer", "id": "u-1"}, "body": "I want to die"}),
    ]
    at = machine_now()
    async with running(database_url, kafka), producer(kafka_address) as upstream:
        for event_id, fact, data in facts:
            headers = headers_of(f"com.storytailor.support.ticket.{fact}.v1", event_id, at=at)
            value = json.dumps(ticket_data(fact, **data)).encode()
            await upstream.send_and_wait(topic_prefix + TICKET.name, value, key=b"T-1", headers=headers)
        decided = await wait_for_records(kafka_address, topic_prefix + ROUTING.name, lambda seen: len(seen) >= 3)
        asked = await wait_for_records(kafka_address, topic_prefix + SCREENING.name, lambda seen: len(seen) >= 1)
    assert [(one.fact, one.data["decision_id"], one.data["replaces"]) for one in decided] == [
        ("routing.assigned", "T-1:1", None),
        ("routing.escalated", "T-1:2", "T-1:1"),
        ("routing.assigned", "T-1:3", "T-1:2"),
    ]
    assert [(one.key, one.data["evidence"]) for one in asked] == [("T-1", ["crisis_detection.en.5"])]
