"""Kafka behind three small things: `Publisher`, `Reader` and topic creation. Nothing else imports aiokafka.

The client has traps that this module closes, so that nobody else has to know them: calls that never return while a broker is
frozen (every call here has a deadline), an idempotent producer that one rejected record wedges (it is thrown away and made
anew), records handed out before a rebalance has settled (`epoch` tells), auto-commit (off), a header's name that is no UTF-8,
at which it stops for ever (`_AnyNames`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.consumer import fetcher
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAlreadyExistsError,
    for_code,
)
from aiokafka.partitioner import murmur2
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

from shared.errors import TransientFailure
from shared.events.envelope import Record
from shared.events.topics import DEAD_LETTER_PARTITIONS, MAX_RECORD_BYTES, TOPICS

CALL_SECONDS = 10.0
"""The deadline of a single call to the broker."""
STOP_SECONDS = 3.0
REQUEST_MILLISECONDS = 10_000
LATEST_MILLISECONDS = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()) * 1000
"""What a record says beyond, such as microseconds for milliseconds, no calendar holds."""
MAX_BATCH_BYTES = 512 * 1024

log = structlog.get_logger()
T = TypeVar("T")
Partition = tuple[str, int]
"""A topic's name without prefix, and the number of the partition."""


class Unpublished(TransientFailure):
    """No acknowledgement in time: the records may or may not be there. The same records are sent again later."""


class Rejected(Exception):  # noqa: N818
    """The broker will never take these records."""


@dataclass(frozen=True, slots=True)
class Message:
    """What goes to a topic, byte for byte."""

    topic: str
    key: bytes
    headers: Sequence[tuple[str, bytes]]
    value: bytes


class Kafka:
    """One cluster, and the prefix of all names on it."""

    def __init__(self, bootstrap_servers: str, *, topic_prefix: str = "", client_id: str = "support") -> None:
        self.bootstrap_servers = bootstrap_servers
        self.topic_prefix = topic_prefix
        self.client_id = client_id

    def publisher(self) -> "Publisher":
        return Publisher(self)

    def reader(self, group: str, topics: Iterable[str], *, max_records: int) -> "Reader":
        return Reader(self, group, topics, max_records=max_records)

    def watcher(self, topics: Iterable[str]) -> "Watcher":
        return Watcher(self, topics)

    async def create_topics(self, *, replication_factor: int = 1, min_insync_replicas: int = 1) -> None:
        """Create every topic of the map that is missing, dead-letter topics included; existing ones are left as they are.

        Raises:
            TransientFailure: the broker is away.
        """
        partitions = {topic.name: topic.partitions for topic in TOPICS}
        partitions |= {t.dead_letters(group): DEAD_LETTER_PARTITIONS for t in TOPICS for group in t.consumers}
        settings = {"max.message.bytes": str(MAX_RECORD_BYTES), "min.insync.replicas": str(min_insync_replicas)}
        async with self._admin() as admin:
            known = set(await within(admin.list_topics(), CALL_SECONDS))
            missing = [
                NewTopic(self.topic_prefix + name, count, replication_factor, topic_configs=settings)
                for name, count in partitions.items()
                if self.topic_prefix + name not in known
            ]
            if missing:
                answer = await within(admin.create_topics(missing, timeout_ms=REQUEST_MILLISECONDS), 2 * CALL_SECONDS)
                for topic, code, *_ in answer.topic_errors:
                    error = for_code(code)
                    if code and error is not TopicAlreadyExistsError:
                        raise TransientFailure(f"topic {topic}: {error.__name__}")

    async def describe(self, topics: Sequence[str]) -> list[dict[str, Any]]:
        """What the broker says of topics; full names.

        Raises:
            TransientFailure: the broker is away, or a topic is not there.
        """
        async with self._admin() as admin:
            described: list[dict[str, Any]] = await within(admin.describe_topics(list(topics)), CALL_SECONDS)
        for one in described:
            if one["error_code"]:
                raise TransientFailure(f"topic {one['topic']}: {for_code(one['error_code']).__name__}")
        return described

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers, client_id=self.client_id)
        try:
            await within(admin.start(), CALL_SECONDS)
            yield admin
        finally:
            await _quietly(admin.close())


class Publisher:
    """Publishes messages in order per key and answers when the broker has acknowledged all of them."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None

    async def publish(self, messages: Sequence[Message], *, deadline_seconds: float = CALL_SECONDS) -> None:
        """
        Raises:
            Unpublished: the outcome is unknown or the broker is away; the same messages may be published again.
            Rejected: the broker will never take one of them.
        """
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._publish(messages)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            await self.stop()
            raise Rejected(type(error).__name__) from error
        except (KafkaError, OSError, TimeoutError) as error:
            await self.stop()
            raise Unpublished(type(error).__name__) from error

    async def stop(self) -> None:
        """Give up the producer; the next publish makes a new one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _quietly(producer.stop())

    async def _publish(self, messages: Sequence[Message]) -> None:
        producer = await self._started()
        waiting = []
        batches: dict[Partition, Any] = {}
        counts: dict[str, int] = {}
        for message in messages:
            topic = self._kafka.topic_prefix + message.topic
            count = counts.get(topic)
            if count is None:
                count = counts[topic] = len(await producer.partitions_for(topic))
            at = (topic, partition_of(message.key, count))
            batch = batches.get(at)
            if batch is None:
                batch = batches[at] = producer.create_batch()
            if (
                batch.append(key=message.key, value=message.value, timestamp=None, headers=list(message.headers))
                is None
            ):
                waiting.append(await producer.send_batch(batch, topic, partition=at[1]))
                batch = batches[at] = producer.create_batch()
                batch.append(key=message.key, value=message.value, timestamp=None, headers=list(message.headers))
        for (topic, number), batch in batches.items():
            batch.close()
            waiting.append(await producer.send_batch(batch, topic, partition=number))
        for acknowledged in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(acknowledged, BaseException):
                raise acknowledged

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._kafka.bootstrap_servers,
                client_id=self._kafka.client_id,
                enable_idempotence=True,
                acks="all",
                linger_ms=0,
                max_batch_size=MAX_BATCH_BYTES,
                max_request_size=MAX_RECORD_BYTES,
                request_timeout_ms=REQUEST_MILLISECONDS,
            )
            try:
                await producer.start()
            except BaseException:
                await _quietly(producer.stop())
                raise
            self._producer = producer
        return self._producer


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Only counts: where to read from is decided in the reading loop, since records may arrive before this returns."""

    def __init__(self) -> None:
        self.epoch = 0

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        self.epoch += 1

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        self.epoch += 1


class Reader:
    """Reads the partitions of a consumer group that fall to this process. Offsets are the caller's business."""

    def __init__(self, kafka: Kafka, group: str, topics: Iterable[str], *, max_records: int) -> None:
        self._prefix = kafka.topic_prefix
        self._topics = [self._prefix + topic for topic in topics]
        self._max_records = max_records
        self._rebalances = _Rebalances()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap_servers,
            client_id=kafka.client_id,
            group_id=self._prefix + group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=MAX_RECORD_BYTES,
            request_timeout_ms=REQUEST_MILLISECONDS,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=3_000,
            rebalance_timeout_ms=30_000,
        )

    @property
    def epoch(self) -> int:
        """Rises with every rebalance: what was known about positions before no longer holds."""
        return self._rebalances.epoch

    async def start(self) -> None:
        """
        Raises:
            TransientFailure: the broker is away. The reader is used up; make another.
        """
        self._consumer.subscribe(self._topics, listener=self._rebalances)
        try:
            await within(self._consumer.start(), 3 * CALL_SECONDS)
        except TransientFailure:
            await self.stop()
            raise

    async def poll(self, *, timeout_seconds: float) -> dict[Partition, list[Record]]:
        """What has arrived, per partition in order. Positions advance: to read something again, `seek`."""
        try:
            fetched = await self._consumer.getmany(
                timeout_ms=int(timeout_seconds * 1000), max_records=self._max_records
            )
        except KafkaError as error:
            raise TransientFailure(type(error).__name__) from error
        return {
            (self._name(at), at.partition): [_record(self._name(at), raw) for raw in records]
            for at, records in fetched.items()
        }

    async def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, tuple[int, int]]:
        """For each partition the first offset still there and the offset that the next record will get."""
        at = {self._at(partition): partition for partition in partitions}
        first = await within(self._consumer.beginning_offsets(list(at)), CALL_SECONDS)
        end = await within(self._consumer.end_offsets(list(at)), CALL_SECONDS)
        return {partition: (first[tp], end[tp]) for tp, partition in at.items()}

    def assigned(self) -> set[Partition]:
        return {(self._name(at), at.partition) for at in self._consumer.assignment()}

    def seek(self, partition: Partition, offset: int) -> None:
        self._consumer.seek(self._at(partition), offset)

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Tell the broker how far we are: a hint for lag displays, nothing depends on it."""
        mine = self._consumer.assignment()
        told = {self._at(partition): offset for partition, offset in offsets.items()}
        told = {at: offset for at, offset in told.items() if at in mine}
        if told:
            await _quietly(self._consumer.commit(told))

    async def stop(self) -> None:
        await _quietly(self._consumer.stop())

    def _name(self, at: TopicPartition) -> str:
        return str(at.topic).removeprefix(self._prefix)

    def _at(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._prefix + partition[0], partition[1])


class Watcher:
    """Reads whole topics for a person or a tool: no group, nothing committed, nothing moved for anybody else."""

    def __init__(self, kafka: Kafka, topics: Iterable[str]) -> None:
        self._kafka = kafka
        self._prefix = kafka.topic_prefix
        self._topics = list(topics)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap_servers,
            client_id=kafka.client_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=MAX_RECORD_BYTES,
            request_timeout_ms=REQUEST_MILLISECONDS,
        )
        self._places: list[TopicPartition] = []

    async def __aenter__(self) -> Self:
        """
        Raises:
            TransientFailure: the broker is away, or a topic is not there.
        """
        try:
            await within(self._consumer.start(), CALL_SECONDS)
            for described in await self._kafka.describe([self._kafka.topic_prefix + topic for topic in self._topics]):
                numbers = sorted(partition["partition"] for partition in described["partitions"])
                self._places += [TopicPartition(described["topic"], number) for number in numbers]
            self._consumer.assign(self._places)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await _quietly(self._consumer.stop())

    async def everything(self) -> list[Record]:
        """All records up to now, in order per partition."""
        return [record async for record in self.until_now()]

    async def until_now(self, last: int | None = None) -> AsyncIterator[Record]:
        """The records up to now as they are read, in order per partition; of each partition only the `last` if given."""
        ends = await within(self._consumer.end_offsets(self._places), CALL_SECONDS)
        starts = await within(self._consumer.beginning_offsets(self._places), CALL_SECONDS)
        if last is not None:
            starts = {place: max(start, ends[place] - last) for place, start in starts.items()}
        left = {place for place in self._places if starts[place] < ends[place]}
        for place in self._places:
            self._consumer.seek(place, starts[place])
        while left:
            for place, raws in (await self._consumer.getmany(timeout_ms=200)).items():
                for raw in raws:
                    yield _record(str(place.topic).removeprefix(self._prefix), raw)
            for place in list(left):
                if await within(self._consumer.position(place), CALL_SECONDS) >= ends[place]:
                    left.discard(place)

    async def length(self) -> int:
        """How many records the topics have ever had."""
        return sum((await self.ends()).values())

    async def ends(self) -> dict[Partition, int]:
        """The offset that the next record of each partition will get."""
        ends = await within(self._consumer.end_offsets(self._places), CALL_SECONDS)
        return {(str(at.topic).removeprefix(self._prefix), at.partition): end for at, end in ends.items()}

    async def skip_to_end(self) -> None:
        """Go on with what comes from now on."""
        await within(self._consumer.seek_to_end(*self._places), CALL_SECONDS)

    async def follow(self) -> AsyncIterator[Record]:
        """Records as they come, from where reading stands."""
        while True:
            for place, raws in (await self._consumer.getmany(timeout_ms=500)).items():
                for raw in raws:
                    yield _record(str(place.topic).removeprefix(self._prefix), raw)


class _AnyNames:
    """What was fetched of a partition, batch by batch, whatever the headers are called: the broker takes any bytes."""

    def __init__(self, fetched: bytes) -> None:
        self._fetched = memoryview(fetched)
        self._records = MemoryRecords(fetched)
        self._at = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        if batch is None:
            return None
        length = int.from_bytes(self._fetched[self._at + 8 : self._at + 12])
        begin, self._at = self._at, self._at + 12 + length
        return batch if batch.is_control_batch else _Batch(batch, self._fetched[begin : self._at])


class _Batch:
    """Read by the client's fast half; by its slow one, which can be taught, where that stops at a name."""

    def __init__(self, batch: Any, written: memoryview) -> None:
        self._batch = batch
        self._written = written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            slow = _DefaultRecordBatchPy(self._written)
            slow._maybe_uncompress()
            slow._buffer = _Replacing(slow._buffer)
            return iter(slow)


class _Replacing(bytearray):
    """Bytes of which any part is some text: what is no UTF-8 is replaced."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Replacing(found) if isinstance(found, bytearray) else found

    def decode(self, *_: object) -> str:
        return bytes(self).decode(errors="replace")


fetcher.MemoryRecords = _AnyNames


def _record(topic: str, raw: Any) -> Record:
    return Record(
        topic=topic,
        partition=raw.partition,
        offset=raw.offset,
        timestamp=datetime.fromtimestamp(min(max(raw.timestamp, 0), LATEST_MILLISECONDS) / 1000, UTC),
        key=raw.key or b"",
        value=raw.value or b"",
        headers=tuple((name, value or b"") for name, value in raw.headers),
    )


@lru_cache(maxsize=100_000)
def partition_of(key: bytes, count: int) -> int:
    """Where Kafka's own clients put this key, so that upstream's records and ours agree."""
    hashed: int = murmur2(key)
    return (hashed & 0x7FFFFFFF) % count


async def within(call: Awaitable[T], seconds: float) -> T:
    """The answer of a broker call.

    Raises:
        TransientFailure: no answer in time, or the broker is away.
    """
    try:
        async with asyncio.timeout(seconds):
            return await call
    except (KafkaError, OSError, TimeoutError) as error:
        raise TransientFailure(type(error).__name__) from error


async def _quietly(call: Awaitable[Any]) -> None:
    """For calls whose failure changes nothing: stopping, and hints."""
    try:
        await within(call, STOP_SECONDS)
    except TransientFailure as failure:
        log.info("kafka call given up", reason=str(failure))
