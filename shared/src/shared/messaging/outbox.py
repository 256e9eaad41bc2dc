"""Events leave with the transaction that decided them: rows first, then the relay publishes them in order and deletes them.

Order per key: `seq` is taken under the lock of the key's state row, so it is commit order; the relay publishes in `seq`
order and deletes only what Kafka has acknowledged. Two relays at once (a take-over) can only repeat, never invert, first
occurrences; consumers drop repetitions by id.
"""

import asyncio
import zlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import orjson
import structlog

from shared.events.envelope import Outgoing
from shared.events.topics import TOPICS, Lane
from shared.messaging.kafka import Kafka, Message, Rejected
from shared.messaging.pauses import Pauses
from shared.runtime.database import Connection, Database, is_transient
from shared.runtime.metrics import PUBLISHED

SCHEMA = """
create table outbox (
    seq bigint generated always as identity primary key,
    lane smallint not null,
    topic text not null,
    key bytea not null,
    headers bytea not null,
    payload bytea not null,
    created_at timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index outbox_next on outbox (lane, seq);
create table outbox_rejected (
    seq bigint primary key,
    topic text not null,
    key bytea not null,
    headers bytea not null,
    payload bytea not null,
    rejected_at timestamptz not null
);
"""


BATCH = 1000
"""How many events the relay publishes at once."""
IDLE_SECONDS = 0.05
"""How often an idle relay looks for events that another replica has written."""
FROZEN_AFTER_SECONDS = 15
"""When the server ends the session of a relay that has gone silent; more than a publish may take (CALL_SECONDS)."""
LOCK_SPACE = 0x53_55_50_50

log = structlog.get_logger()

_ADD = """
insert into outbox (lane, topic, key, headers, payload, created_at)
select lane, topic, key, headers, payload, $6
from unnest($1::smallint[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[])
     with ordinality as row (lane, topic, key, headers, payload, place)
order by place
"""
_NEXT = "select seq, topic, key, headers, payload from outbox where lane = $1 order by seq limit $2"
_DONE = "delete from outbox where seq = any($1::bigint[])"
_REJECT = """
with gone as (delete from outbox where seq = $1 returning seq, topic, key, headers, payload)
insert into outbox_rejected select *, now() from gone
"""


def to_message(event: Outgoing) -> Message:
    return Message(event.topic, event.key.encode(), event.headers(), event.value)


async def add(connection: Connection, messages: Sequence[Message], *, now: datetime) -> set[Lane]:
    """Put messages into the outbox, in this order, in the caller's transaction. Answers the lanes to wake."""
    if not messages:
        return set()
    lanes = [lane_of(message.topic) for message in messages]
    await connection.execute(
        _ADD,
        lanes,
        [message.topic for message in messages],
        [message.key for message in messages],
        [pack_headers(message.headers) for message in messages],
        [message.value for message in messages],
        now,
    )
    return set(lanes)


def lane_of(topic: str) -> Lane:
    """The lane of a topic or of its dead letters."""
    return next(known.lane for known in TOPICS if topic == known.name or topic.startswith(known.name + "."))


def pack_headers(headers: Sequence[tuple[str, bytes]]) -> bytes:
    """Headers as bytes for a table; values are kept byte for byte."""
    return orjson.dumps([(name, value.decode("latin-1")) for name, value in headers])


def unpack_headers(packed: bytes) -> list[tuple[str, bytes]]:
    return [(name, value.encode("latin-1")) for name, value in orjson.loads(packed)]


class Relay:
    """Publishes the outbox of one lane of one service. Every replica runs one; the holder of the lane's lock works.

    The lock belongs to the database session that also reads and deletes: a relay that loses its session stops by itself, a
    process that dies frees the lock at once, and one that freezes is cut off by the server after `idle_session_timeout`.
    """

    def __init__(self, database: Database, kafka: Kafka, lane: Lane) -> None:
        self.name = f"relay-{lane.name.lower()}"
        self._database = database
        self._lane = lane
        self._publisher = kafka.publisher()
        self._woken = asyncio.Event()
        self._stop = asyncio.Event()
        self._rejected = 0
        self._trouble: str | None = None

    def wake(self) -> None:
        """There is something in the outbox."""
        self._woken.set()

    def failing(self) -> str | None:
        if self._rejected:
            return f"{self._rejected} events were rejected by the broker, see table outbox_rejected"
        return self._trouble

    async def stop(self) -> None:
        self._stop.set()
        self._woken.set()

    async def run(self) -> None:
        """Publish until stopped; what fails is tried again with growing pauses, for ever."""
        pauses = Pauses()
        while not self._stop.is_set():
            try:
                await self._hold_and_publish(pauses)
            except Exception as error:
                if not is_transient(error):
                    log.exception("relay failed", lane=self._lane.name, error=type(error).__name__)
                self._trouble = f"not publishing: {type(error).__name__}"
                await pauses.wait(self._stop)
        await self._publisher.stop()

    async def _hold_and_publish(self, pauses: Pauses) -> None:
        connection = await self._database.dedicated()
        try:
            await connection.execute(f"set idle_session_timeout = '{FROZEN_AFTER_SECONDS}s'")
            while not self._stop.is_set():
                self._woken.clear()
                if await connection.fetchval("select pg_try_advisory_lock($1, $2)", LOCK_SPACE, self._lock_number()):
                    break
                self._trouble = None
                await self._sleep(0.2)
            while not self._stop.is_set():
                published = await self._publish_some(connection)
                self._trouble = None
                pauses.reset()
                if published < BATCH:
                    await self._sleep(IDLE_SECONDS)
        finally:
            connection.terminate()

    async def _publish_some(self, connection: Connection) -> int:
        self._woken.clear()
        rows = await connection.fetch(_NEXT, int(self._lane), BATCH)
        if rows:
            messages = [Message(r["topic"], r["key"], unpack_headers(r["headers"]), r["payload"]) for r in rows]
            try:
                await self._publisher.publish(messages)
                await connection.execute(_DONE, [row["seq"] for row in rows])
                PUBLISHED.labels(self._lane.name.lower()).inc(len(rows))
            except Rejected:
                await self._publish_one_by_one(connection, [row["seq"] for row in rows], messages)
        return len(rows)

    async def _publish_one_by_one(
        self, connection: Connection, seqs: Sequence[int], messages: Sequence[Message]
    ) -> None:
        for seq, message in zip(seqs, messages, strict=True):
            try:
                await self._publisher.publish([message])
                await connection.execute(_DONE, [seq])
                PUBLISHED.labels(self._lane.name.lower()).inc()
            except Rejected as rejection:
                await connection.execute(_REJECT, seq)
                self._rejected += 1
                log.error("event rejected by the broker", topic=message.topic, seq=seq, reason=str(rejection))

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    def _lock_number(self) -> int:
        """One lock per schema and lane, in the 31 bits that PostgreSQL leaves for it."""
        return zlib.crc32(f"{self._database.schema}:{self._lane}".encode()) & 0x7FFFFFFF
