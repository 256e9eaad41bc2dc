"""A look at a topic from its beginning, without a group and without committing anything."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

Sent = tuple[bytes, bytes, list[tuple[str, bytes]]]


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
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_address, enable_auto_commit=False, isolation_level="read_committed"
    )
    await consumer.start()
    try:
        numbers = consumer.partitions_for_topic(topic)
        while numbers is None:
            await consumer._client.force_metadata_update()
            numbers = (await consumer._client.fetch_all_metadata()).partitions_for_topic(topic)
        places = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        found: list[Seen] = []
        left = {place for place in places if ends[place] > 0 and await consumer.position(place) < ends[place]}
        while left:
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                found += [_seen(raw) for raw in records]
                if await consumer.position(place) >= ends[place]:
                    left.discard(place)
        return found
    finally:
        await consumer.stop()


async def wait_for_records(
    kafka_address: str, topic: str, enough: Callable[[list[Seen]], bool], *, deadline_seconds: float = 30.0
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


def _seen(raw: Any) -> Seen:
    headers = {name: value.decode() for name, value in raw.headers}
    return Seen(raw.topic, raw.partition, raw.offset, (raw.key or b"").decode(), headers, raw.value or b"")
