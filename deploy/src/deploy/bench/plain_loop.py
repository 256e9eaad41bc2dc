"""The best plain aiokafka + asyncpg loop that does the router's writes: what the machine allows for this hop.

Consume 500, parse, one transaction (inbox, state, history, outbox) by `unnest`, publish keyed batches and forget the outbox
rows while the next batch is parsed and stored, commit offsets twice a second. It has no cursor fence, no dead letters, no
rules, and loses its place when it dies: it is a yardstick, not a service.
"""

import asyncio
import sys
import time
from typing import Any

import aiokafka
import asyncpg
import orjson
from aiokafka.partitioner import murmur2

BATCH = 500
TABLES = """
create table inbox (identity bytea primary key, meaning bytea not null);
create table ticket (ticket_id text primary key, version integer, team text, level smallint, document bytea);
create table decision (ticket_id text, number integer, document bytea, primary key (ticket_id, number));
create table outbox (seq bigint generated always as identity primary key, topic text, key bytea, headers bytea, payload bytea);
"""
INBOX = "insert into inbox select * from unnest($1::bytea[], $2::bytea[]) on conflict do nothing"
STATE = """
insert into ticket select * from unnest($1::text[], $2::int[], $3::text[], $4::smallint[], $5::bytea[])
on conflict (ticket_id) do update set version = excluded.version, document = excluded.document
"""
HISTORY = "insert into decision select * from unnest($1::text[], $2::int[], $3::bytea[])"
OUTBOX = """
insert into outbox (topic, key, headers, payload)
select 'routing', * from unnest($1::bytea[], $2::bytea[], $3::bytea[]) returning seq
"""
HEADERS = [
    ("content-type", b"application/json"),
    ("ce_specversion", b"1.0"),
    ("ce_type", b"com.storytailor.support.routing.assigned.v1"),
    ("ce_source", b"/storytailor/support/router"),
    ("ce_time", b"2026-03-03T15:00:00.000000Z"),
]


async def run(kafka_address: str, database_url: str, topic_in: str, topic_out: str) -> None:
    database = await asyncpg.connect(database_url)
    cleaner = await asyncpg.connect(database_url)
    await database.execute(TABLES)
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=kafka_address, enable_idempotence=True, acks="all", linger_ms=0, max_batch_size=512 * 1024
    )
    consumer = aiokafka.AIOKafkaConsumer(
        topic_in,
        bootstrap_servers=kafka_address,
        group_id=f"plain-{topic_in}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await producer.start()
    await consumer.start()
    partitions = len(await producer.partitions_for(topic_out))
    publishing: asyncio.Task[None] | None = None
    committed_at = 0.0
    while True:
        polled = await consumer.getmany(timeout_ms=200, max_records=BATCH)
        rows = [_decide(record) for records in polled.values() for record in records]
        if not rows:
            continue
        columns = [list(column) for column in zip(*rows, strict=True)]
        identities, meanings, ids, teams, payloads, headers = columns
        async with database.transaction():
            await database.execute(INBOX, identities, meanings)
            await database.execute(STATE, ids, [1] * len(ids), teams, [1] * len(ids), payloads)
            await database.execute(HISTORY, ids, [1] * len(ids), payloads)
            keys = [one.encode() for one in ids]
            seqs = [row["seq"] for row in await database.fetch(OUTBOX, keys, headers, payloads)]
        if publishing is not None:
            await publishing
        publishing = asyncio.create_task(_publish(producer, cleaner, topic_out, partitions, keys, payloads, seqs))
        if time.monotonic() - committed_at > 0.5:
            committed_at = time.monotonic()
            await consumer.commit()


def _decide(record: Any) -> tuple[bytes, bytes, str, str, bytes, bytes]:
    event = orjson.loads(record.value)
    headers = dict(record.headers)
    ticket_id, team = event["ticket_id"], "customer_service"
    decision = {
        "ticket_id": ticket_id,
        "occurred_at": "2026-03-03T15:00:00.000000Z",
        "emitted_at": "2026-03-03T15:00:00.000000Z",
        "clauses": ["C2", "R2"],
        "policy_version": "2026.1@000000000000",
        "decision_id": headers["ce_id"].decode(),
        "team": team,
        "level": 1,
        "owning_team": "finance",
        "also_notified": [],
        "category": event["category"],
        "subcategory": event["subcategory"],
        "secondary": [],
        "confidence": 1.0,
        "evidence": ["upstream"],
        "classifier_version": "rules-1",
        "upstream": {"category": event["category"], "subcategory": event["subcategory"]},
        "needs_triage": False,
        "restricted": False,
        "tier": event["tier"],
        "created_at": "2026-03-03T15:00:00.000000Z",
        "padding": "x" * 200,
    }
    return headers["ce_id"], headers["ce_id"], ticket_id, team, orjson.dumps(decision), orjson.dumps(event["ticket_id"])


async def _publish(
    producer: Any, cleaner: Any, topic: str, partitions: int, keys: list[bytes], payloads: list[bytes], seqs: list[int]
) -> None:
    batches: dict[int, Any] = {}
    for key, payload in zip(keys, payloads, strict=True):
        number = (murmur2(key) & 0x7FFFFFFF) % partitions
        batch = batches.get(number)
        if batch is None:
            batch = batches[number] = producer.create_batch()
        batch.append(key=key, value=payload, timestamp=None, headers=HEADERS)
    acknowledged = [await producer.send_batch(batch, topic, partition=number) for number, batch in batches.items()]
    await asyncio.gather(*acknowledged)
    await cleaner.execute("delete from outbox where seq = any($1::bigint[])", seqs)


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:5]))
