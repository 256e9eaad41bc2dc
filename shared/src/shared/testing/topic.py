"""A look at a topic from its beginning, without a group and without committing anything."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

from shared.events.envelope import Record
from shared.messaging.kafka import Kafka


@dataclass(frozen=True)
class Seen:
    """A record as a watcher sees it."""

    topic: str
    partition: int
    offset: int
    key: str
    headers: dict[str, str]
    value: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.value)

    @property
    def fact(self) -> str:
        """`routing.assigned` of `com.storytailor.support.routing.assigned.v1`."""
        wire_type = self.headers["ce_type"]
        return wire_type.removeprefix("com.storytailor.").removeprefix("support.").rsplit(".v", 1)[0]


async def read_topic(kafka_address: str, topic: str) -> list[Seen]:
    """Everything on a topic now, in order per partition."""
    async with Kafka(kafka_address).watcher([topic]) as watcher:
        return [_seen(one) for one in await watcher.everything()]


async def wait_for_records(
    kafka_address: str, topic: str, enough: Callable[[list[Seen]], bool], *, deadline_seconds: float = 60.0
) -> list[Seen]:
    """What is on a topic once it is enough.

    Raises:
        AssertionError: it was not enough in time; names what was seen, by type.
    """
    async with asyncio.timeout(deadline_seconds + 30):
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_seconds
        while True:
            seen = await read_topic(kafka_address, topic)
            if enough(seen):
                return seen
            if loop.time() > end:
                raise AssertionError(f"{topic}: {len(seen)} records: {sorted({one.fact for one in seen})}")
            await asyncio.sleep(0.1)


@asynccontextmanager
async def producer(kafka_address: str) -> AsyncIterator[AIOKafkaProducer]:
    """A plain producer, as upstream would use."""
    sender = AIOKafkaProducer(bootstrap_servers=kafka_address, acks="all")
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


def _seen(one: Record) -> Seen:
    headers = {name: value.decode() for name, value in one.headers}
    return Seen(one.topic, one.partition, one.offset, one.key.decode(), headers, one.value)
