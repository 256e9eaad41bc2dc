"""Remembers what was handled, in the transaction that handled it: a second delivery does nothing.

Two guards that complete each other. The *cursor* says where a consumer group stands in each partition; moving it is a
compare-and-set, so that a process that lost the partition cannot commit (Kafka's own committed offset is only a hint). The
*inbox* holds the identity of every applied event, so that what upstream or a relay published twice is applied once.

The inbox is partitioned by the event's own day: a repetition carries the same time, so it meets its first copy in the same
partition, and days older than the acceptance window are dropped whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from shared.events.envelope import Event, Received
from shared.messaging.kafka import Partition
from shared.runtime.database import Connection, Database

SCHEMA = """
create table consumer_cursor (
    consumer text not null,
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    primary key (consumer, topic, partition)
) with (fillfactor = 50);
create table inbox (
    happened_on date not null,
    identity bytea not null,
    consumer text not null,
    meaning bytea not null,
    primary key (happened_on, identity, consumer)
) partition by range (happened_on);
create table inbox_other_days partition of inbox default;
"""
DAYS_KEPT = 9
"""A day more than the longest acceptance window plus the zone of a claimed time."""
DAYS_AHEAD = 2

_OPEN = """
with fence as (
    update consumer_cursor as cursor set next_offset = move.next_offset
    from unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[]) as move (topic, partition, expected, next_offset)
    where cursor.consumer = $1 and cursor.topic = move.topic and cursor.partition = move.partition
      and cursor.next_offset = move.expected
    returning 1
), fresh as (
    insert into inbox (happened_on, identity, consumer, meaning)
    select happened_on, identity, $1, meaning
    from unnest($6::date[], $7::bytea[], $8::bytea[]) as event (happened_on, identity, meaning)
    order by happened_on, identity
    on conflict do nothing
    returning identity
), parked as (
    select key from parked_key where consumer = $1 and key = any($9::bytea[]) order by key for share
)
select
    (select count(*) from fence) as moved,
    (select coalesce(array_agg(identity), '{}') from fresh) as fresh,
    (select coalesce(array_agg(key), '{}') from parked) as parked
"""
_MEANINGS = """
select identity, meaning from inbox
where consumer = $1 and happened_on = any($2::date[]) and identity = any($3::bytea[])
"""
_CURSORS = """
with wanted as (
    select * from unnest($2::text[], $3::int[], $4::bigint[]) as wanted (topic, partition, first_offset)
), made as (
    insert into consumer_cursor (consumer, topic, partition, next_offset)
    select $1, topic, partition, first_offset from wanted order by topic, partition
    on conflict do nothing
    returning topic, partition, next_offset
)
select topic, partition, next_offset from made
union all
select topic, partition, next_offset from consumer_cursor join wanted using (topic, partition) where consumer = $1
"""


class Fenced(Exception):  # noqa: N818
    """Another process has moved the cursor: this batch is not ours to apply."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where the cursor of a partition has to stand, and where it goes."""

    partition: Partition
    expected: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class Opened:
    """What the inbox says of a batch. `conflicts` carry a known id with another meaning; `parked` are keys."""

    fresh: list[Received[Event]]
    duplicates: list[Received[Event]]
    conflicts: list[Received[Event]]
    parked: set[bytes]


async def open_batch(
    connection: Connection,
    consumer: str,
    moves: Sequence[Move],
    messages: Sequence[Received[Event]],
    keys: Sequence[bytes] = (),
) -> Opened:
    """Move the cursor and remember the events, in the caller's transaction and in one statement. `keys` are the records'.

    Raises:
        Fenced: another process owns one of the partitions now.
    """
    first: dict[bytes, Received[Event]] = {}
    again: list[Received[Event]] = []
    for message in messages:
        identity = message.envelope.identity
        if identity in first:
            again.append(message)
        else:
            first[identity] = message
    row = await connection.fetchrow(
        _OPEN,
        consumer,
        [move.partition[0] for move in moves],
        [move.partition[1] for move in moves],
        [move.expected for move in moves],
        [move.next_offset for move in moves],
        [_day(message) for message in first.values()],
        list(first),
        [message.meaning for message in first.values()],
        list(set(keys)),
    )
    if row["moved"] != len(moves):
        raise Fenced
    fresh_identities = set(row["fresh"])
    fresh = [message for identity, message in first.items() if identity in fresh_identities]
    known = [message for identity, message in first.items() if identity not in fresh_identities]
    meanings = {identity: first[identity].meaning for identity in fresh_identities}
    if known:
        meanings |= await _meanings(connection, consumer, known)
    repeated = known + again
    conflicts = [m for m in repeated if meanings.get(m.envelope.identity, m.meaning) != m.meaning]
    conflicting = set(map(id, conflicts))
    duplicates = [m for m in repeated if id(m) not in conflicting]
    return Opened(fresh, duplicates, conflicts, set(row["parked"]))


async def cursors(
    connection: Connection, consumer: str, first_offsets: Mapping[Partition, int]
) -> dict[Partition, int]:
    """Where the consumer stands in these partitions; in a new one at the first offset still there."""
    places = sorted(first_offsets)
    rows = await connection.fetch(
        _CURSORS, consumer, [p[0] for p in places], [p[1] for p in places], [first_offsets[p] for p in places]
    )
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def move_cursor(connection: Connection, consumer: str, move: Move) -> None:
    """Move a cursor by itself.

    Raises:
        Fenced: it does not stand where it was expected.
    """
    await open_batch(connection, consumer, [move], [])


async def keep_days(database: Database, today: date) -> None:
    """Make the inbox partitions of the days around today and drop those that no accepted event can belong to any more."""
    wanted = {_table(today + timedelta(days=n)): today + timedelta(days=n) for n in range(-DAYS_KEPT, DAYS_AHEAD + 1)}
    async with database.transaction() as connection:
        await connection.execute("select pg_advisory_xact_lock(hashtext('inbox days'))")
        existing = {
            row["name"]
            for row in await connection.fetch(
                "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'inbox'::regclass"
            )
        }
        for table, day in wanted.items():
            if table not in existing:
                await _add_day(connection, table, day)
        for table in existing - set(wanted) - {"inbox_other_days"}:
            await connection.execute(f"drop table {table}")
        await connection.execute(
            "delete from inbox_other_days where happened_on < $1", today - timedelta(days=DAYS_KEPT * 10)
        )


async def _add_day(connection: Connection, table: str, day: date) -> None:
    """Rows that came before their day had a partition move over from the rest."""
    await connection.execute(f"create table {table} (like inbox including all)")
    await connection.execute(
        f"with gone as (delete from inbox_other_days where happened_on = $1 returning *) insert into {table} select * from gone",
        day,
    )
    await connection.execute(
        f"alter table inbox attach partition {table} for values from ('{day}') to ('{day + timedelta(days=1)}')"
    )


def _table(day: date) -> str:
    return f"inbox_{day:%Y%m%d}"


def _day(message: Received[Event]) -> date:
    claimed: datetime = message.envelope.claimed_at or message.occurred_at
    return claimed.date()


async def _meanings(
    connection: Connection, consumer: str, messages: Sequence[Received[Event]]
) -> Mapping[bytes, bytes]:
    rows = await connection.fetch(
        _MEANINGS, consumer, [_day(m) for m in messages], [m.envelope.identity for m in messages]
    )
    return {row["identity"]: row["meaning"] for row in rows}
