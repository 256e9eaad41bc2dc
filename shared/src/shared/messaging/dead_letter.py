"""Sets aside what cannot be handled, with its bytes and a reason code, and puts it back on request.

Three states in one table: *waiting* (it speaks of a ticket not seen yet and is tried again until it is an orphan, L13),
*parked* (a handler failed on it, or on an earlier record of the same ticket; order per ticket is kept), *dead* (it can never
be handled as it is). Parked and dead records are announced on `<topic>.<group>.dlq`; putting back reads the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from shared.errors import DeadLetterCode
from shared.events.envelope import Record
from shared.messaging.kafka import Message
from shared.messaging.outbox import pack_headers, unpack_headers
from shared.runtime.database import Connection

SCHEMA = """
create table dead_letter (
    id bigint generated always as identity primary key,
    consumer text not null,
    topic text not null,
    partition integer not null,
    record_offset bigint not null,
    recorded_at timestamptz not null,
    key bytea not null,
    headers bytea not null,
    body bytea not null,
    code text not null,
    attempts integer not null,
    state text not null check (state in ('waiting', 'parked', 'dead')),
    next_try_at timestamptz,
    created_at timestamptz not null,
    changed_at timestamptz not null
);
create index dead_letter_waiting on dead_letter (consumer, next_try_at) where state = 'waiting';
create index dead_letter_open on dead_letter (consumer, state, id) where state in ('parked', 'dead');
create index dead_letter_key on dead_letter (consumer, key) where state in ('waiting', 'parked');
create table parked_key (
    consumer text not null,
    key bytea not null,
    since timestamptz not null,
    primary key (consumer, key)
);
"""
WAIT_FOR_TICKET = timedelta(minutes=15)
"""How long an event waits for its ticket before it is an orphan (L13)."""
FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(seconds=5)


class State(StrEnum):
    WAITING = "waiting"
    PARKED = "parked"
    DEAD = "dead"


class Custody(Protocol):
    """Keeps the words of records that are set aside, where the dead letters must not hold them (S5)."""

    def withhold(self, record: Record) -> Record:
        """The record as it may be kept and announced; the same for the same record."""

    async def restore(self, unit: Any, record: Record) -> Record:
        """The record as it came; as it is kept where its words are gone."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record on its way into the table."""

    record: Record
    code: DeadLetterCode
    state: State
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """A record in the table."""

    id: int
    record: Record
    code: DeadLetterCode
    state: State
    attempts: int
    created_at: datetime


_INSERT = """
insert into dead_letter (consumer, topic, partition, record_offset, recorded_at, key, headers, body, code, attempts, state,
                         next_try_at, created_at, changed_at)
select $1, topic, partition, record_offset, recorded_at, key, headers, body, code, attempts, state,
       case when state = 'waiting' then $11::timestamptz + $12 end, $11, $11
from unnest($2::text[], $3::int[], $4::bigint[], $5::timestamptz[], $6::bytea[], $7::bytea[], $8::bytea[], $9::text[],
            $10::int[], $13::text[])
     with ordinality as row (topic, partition, record_offset, recorded_at, key, headers, body, code, attempts, state, place)
order by place
"""
_PARK = """
insert into parked_key (consumer, key, since) select $1, key, $3 from unnest($2::bytea[]) as row (key) on conflict do nothing
"""
_COLUMNS = "id, topic, partition, record_offset, recorded_at, key, headers, body, code, attempts, state, created_at"
_DUE = """
select key from dead_letter where consumer = $1 and state = 'waiting' and next_try_at <= $2
group by key order by min(next_try_at) limit $3
"""
_OF_KEY = f"""
select {_COLUMNS} from dead_letter where consumer = $1 and key = $2 and state = 'waiting' order by id for update
"""
_TRY_LATER = """
update dead_letter set attempts = attempts + 1, changed_at = $2::timestamptz,
       next_try_at = $2::timestamptz + least($3::interval * power(2, least(attempts, 10)), $4::interval)
where id = any($1::bigint[])
"""
_CHANGE = (
    "update dead_letter set state = $2, code = $3, changed_at = $4, next_try_at = null where id = any($1::bigint[])"
)
_REMOVE = "delete from dead_letter where id = any($1::bigint[])"
_LIST = f"""
select {_COLUMNS} from dead_letter
where state = any($1::text[]) and id > $2 and ($3::text is null or consumer = $3) and ($4::bigint[] is null or id = any($4))
order by id limit $5
"""
_KEY_LOCK = """
select key from parked_key where consumer = $1
   and key = (select key from dead_letter where consumer = $1 and id = $2 and state = 'parked') for update
"""
_WITH_TICKET = f"""
select {_COLUMNS} from dead_letter
where consumer = $1 and ((id = $2 and state = 'dead') or (key = $3 and state = 'parked')) order by id for update
"""
_UNPARK = "delete from parked_key where consumer = $1 and key = any($2::bytea[])"


async def set_aside(
    connection: Connection, consumer: str, records: Sequence[SetAside], *, now: datetime
) -> list[Message]:
    """Write records into the table, in this order, and park the keys of the parked ones, in the caller's transaction.

    Answers the announcements for the dead-letter topic; waiting records are not announced.
    """
    if not records:
        return []
    raw = [aside.record for aside in records]
    await connection.execute(
        _INSERT,
        consumer,
        [r.topic for r in raw],
        [r.partition for r in raw],
        [r.offset for r in raw],
        [r.timestamp for r in raw],
        [r.key for r in raw],
        [pack_headers(r.headers) for r in raw],
        [r.value for r in raw],
        [aside.code.value for aside in records],
        [aside.attempts for aside in records],
        now,
        FIRST_RETRY,
        [aside.state.value for aside in records],
    )
    if parked := [aside.record.key for aside in records if aside.state is State.PARKED]:
        await park(connection, consumer, parked, now=now)
    return [
        announcement(aside.record, consumer, aside.code, aside.attempts)
        for aside in records
        if aside.state is not State.WAITING
    ]


def announcement(record: Record, consumer: str, code: DeadLetterCode, attempts: int) -> Message:
    """The record as it goes to the dead-letter topic: its bytes, its key, its headers, and what happened to it."""
    why = {
        "x-error-code": code.value,
        "x-original-topic": record.topic,
        "x-original-partition": str(record.partition),
        "x-original-offset": str(record.offset),
        "x-attempts": str(attempts),
        "x-consumer-group": consumer,
    }
    headers = [(name, value) for name, value in record.headers if name not in why]
    headers += [(name, value.encode()) for name, value in why.items()]
    return Message(f"{record.topic}.{consumer}.dlq", record.key, headers, record.value)


async def due_waiting(connection: Connection, consumer: str, *, now: datetime, limit: int) -> list[bytes]:
    """The keys of which a waiting record is to be tried now."""
    return [row["key"] for row in await connection.fetch(_DUE, consumer, now, limit)]


async def waiting_of(connection: Connection, consumer: str, key: bytes) -> list[Kept]:
    """The waiting records of a key in order, locked."""
    return [_kept(row) for row in await connection.fetch(_OF_KEY, consumer, key)]


async def try_later(connection: Connection, kept: Sequence[Kept], *, now: datetime) -> None:
    await connection.execute(_TRY_LATER, [one.id for one in kept], now, FIRST_RETRY, LONGEST_RETRY)


async def change(
    connection: Connection, kept: Sequence[Kept], state: State, code: DeadLetterCode, *, now: datetime
) -> None:
    await connection.execute(_CHANGE, [one.id for one in kept], state.value, code.value, now)


async def remove(connection: Connection, kept: Sequence[Kept]) -> None:
    """They are handled: nothing of them is kept."""
    await connection.execute(_REMOVE, [one.id for one in kept])


async def park(connection: Connection, consumer: str, keys: Sequence[bytes], *, now: datetime) -> None:
    """Later records of these keys are set aside until somebody puts the first ones back."""
    await connection.execute(_PARK, consumer, sorted(set(keys)), now)


async def find(
    connection: Connection,
    *,
    consumer: str | None = None,
    after: int = 0,
    ids: Sequence[int] | None = None,
    limit: int = 100,
) -> list[Kept]:
    """Parked and dead records, oldest first."""
    states = [State.PARKED.value, State.DEAD.value]
    wanted = list(ids) if ids is not None else None
    return [_kept(row) for row in await connection.fetch(_LIST, states, after, consumer, wanted, limit)]


async def locked_with_their_tickets(connection: Connection, consumer: str, one_id: int) -> list[Kept]:
    """This record and, where it is parked, every parked record of the same ticket, in order.

    The lock on the parked key makes records that arrive meanwhile wait for the outcome.
    """
    key = await connection.fetchval(_KEY_LOCK, consumer, one_id)
    return [_kept(row) for row in await connection.fetch(_WITH_TICKET, consumer, one_id, key)]


async def unpark(connection: Connection, consumer: str, keys: Sequence[bytes]) -> None:
    await connection.execute(_UNPARK, consumer, keys)


def _kept(row: Any) -> Kept:
    record = Record(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["record_offset"],
        timestamp=row["recorded_at"],
        key=row["key"],
        value=row["body"],
        headers=tuple(unpack_headers(row["headers"])),
    )
    return Kept(row["id"], record, DeadLetterCode(row["code"]), State(row["state"]), row["attempts"], row["created_at"])
