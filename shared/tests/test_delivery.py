"""The promise of the messaging core, on the real engines: nothing lost, nothing applied twice, order per ticket kept."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, ClassVar

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from shared.errors import DeadLetterCode, InvalidMessage, TransientFailure, UnknownTicket
from shared.events import topics
from shared.events.envelope import Event, Received
from shared.events.routing import RoutingRefused
from shared.events.ticket import TicketClosed, TicketCreated, TicketMessageAdded
from shared.events.topics import MAX_RECORD_BYTES, ROUTING, TICKET, Lane
from shared.messaging import consumer as consumer_module
from shared.messaging import dead_letter, inbox, outbox
from shared.messaging.consumer import Consumer
from shared.messaging.dead_letter import Kept
from shared.messaging.kafka import Kafka, Message, _AnyNames, _record
from shared.messaging.outbox import Relay
from shared.messaging.schema import MESSAGING_TABLES
from shared.messaging.second_try import Redriven, SecondTry
from shared.messaging.unit_of_work import UnitOfWork, UnitsOfWork
from shared.runtime.database import Connection, Database
from shared.runtime.now import machine_now
from shared.testing.builders import AT, headers_of, ticket_data
from shared.testing.time import FakeNow
from shared.testing.topic import Seen, producer, read_topic, wait_for_records

pytestmark = pytest.mark.engines
GROUP = "support.router"
CREATED = TicketCreated.wire_type
ADDED = TicketMessageAdded.wire_type


class Tally(UnitOfWork):
    """The smallest service there is: writes down which events each ticket saw, and answers each with an event."""

    service: ClassVar[str] = "tally"

    def __init__(self, connection: Connection, now: datetime) -> None:
        super().__init__(connection, now)
        self.seen: dict[str, list[str]] = {}

    async def load(self, messages: Sequence[Received[Event]]) -> None:
        keys = sorted({message.event.key for message in messages})
        rows = await self.connection.fetch("select * from tally where ticket_id = any($1) order by 1 for update", keys)
        self.seen |= {row["ticket_id"]: list(row["seen"]) for row in rows}

    async def save(self) -> None:
        await self.connection.executemany(
            "insert into tally values ($1, $2) on conflict (ticket_id) do update set seen = excluded.seen",
            sorted(self.seen.items()),
        )


BROKEN: set[str] = set()
"""Bodies on which the handler has a bug."""


def on_created(message: Received[TicketCreated], unit: Tally) -> None:
    unit.seen.setdefault(message.event.ticket_id, []).append(message.id)
    _answer(message, unit)


def on_added(message: Received[TicketMessageAdded], unit: Tally) -> None:
    if message.event.body in BROKEN:
        raise ZeroDivisionError("a bug")
    if message.event.body == "never":
        raise InvalidMessage(DeadLetterCode.TICKET_EXISTS)
    if message.event.ticket_id not in unit.seen:
        raise UnknownTicket
    unit.seen[message.event.ticket_id].append(message.id)
    _answer(message, unit)


def _answer(message: Received[Any], unit: Tally) -> None:
    unit.emit(
        RoutingRefused(
            ticket_id=message.event.ticket_id,
            occurred_at=message.occurred_at,
            emitted_at=unit.now,
            clauses=("R8",),
            policy_version="1",
            request_id=message.id,
            clause="R8",
            reason_code=f"{len(unit.seen[message.event.ticket_id])}",
        ),
        occurred_at=message.occurred_at,
    )


HANDLERS = {TicketCreated: on_created, TicketMessageAdded: on_added}


class Rig:
    """One service on the real engines."""

    def __init__(self, kafka: Kafka, database: Database, database_url: str, now: Callable[[], datetime]) -> None:
        self.kafka = kafka
        self.database = database
        self.database_url = database_url
        self.relay = Relay(database, kafka, Lane.BULK)
        self.units = UnitsOfWork(database, Tally, now=now, wake=lambda _: self.relay.wake())

    def consumer(self, **options: Any) -> Consumer[Tally]:
        return Consumer(GROUP, [TICKET], HANDLERS, self.units, self.kafka, **options)

    async def send(self, *events: tuple[str, str, dict[str, Any] | bytes]) -> None:
        """(wire type, event id, data) each; data as bytes goes out as it is, keyed T-1."""
        async with producer(self.kafka.bootstrap_servers) as plain:
            for wire_type, event_id, data in events:
                key = data["ticket_id"] if isinstance(data, dict) else "T-1"
                value = json.dumps(data).encode() if isinstance(data, dict) else data
                await plain.send_and_wait(
                    self.kafka.topic_prefix + TICKET.name,
                    value,
                    key=key.encode(),
                    headers=headers_of(wire_type, event_id),
                )

    async def tally(self) -> dict[str, list[str]]:
        async with self.database.connection() as connection:
            return {row["ticket_id"]: row["seen"] for row in await connection.fetch("select * from tally")}

    async def answers(self, count: int) -> list[Seen]:
        return await wait_for_records(
            self.kafka.bootstrap_servers,
            self.kafka.topic_prefix + ROUTING.name,
            lambda seen: len({one.headers["ce_id"] for one in seen}) >= count,
        )

    async def dead_letters(self, count: int) -> list[Seen]:
        return await wait_for_records(
            self.kafka.bootstrap_servers,
            self.kafka.topic_prefix + TICKET.dead_letters(GROUP),
            lambda seen: len(seen) >= count,
        )


@pytest.fixture
async def rig(kafka_address: str, database_url: str, topic_prefix: str) -> AsyncIterator[Rig]:
    """Topics of its own and an empty schema."""
    async with _rig(kafka_address, database_url, topic_prefix, machine_now) as made:
        yield made


@asynccontextmanager
async def _rig(address: str, url: str, prefix: str, now: Callable[[], datetime]) -> AsyncIterator[Rig]:
    BROKEN.clear()
    schema = prefix.rstrip(".")
    plain = await asyncpg.connect(url)
    await plain.execute(f"create schema {schema}; set search_path to {schema}")
    await plain.execute(MESSAGING_TABLES + "create table tally (ticket_id text primary key, seen text[] not null);")
    await plain.close()
    kafka = Kafka(address, topic_prefix=prefix)
    await kafka.create_topics()
    database = Database(url, schema=schema, use_role=False)
    yield Rig(kafka, database, url, now)
    await database.close()


@asynccontextmanager
async def running(*parts: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        yield
    finally:
        for part in parts:
            await part.stop()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


def created(ticket_id: str, event_id: str) -> tuple[str, str, dict[str, Any]]:
    return CREATED, event_id, ticket_data("created", ticket_id)


def added(ticket_id: str, event_id: str, body: str = "more") -> tuple[str, str, dict[str, Any]]:
    return ADDED, event_id, ticket_data("message_added", ticket_id, body=body)


async def test_an_event_published_three_times_is_applied_once(rig: Rig) -> None:
    """What upstream repeats, in one batch or later, changes nothing the second time."""
    await rig.send(created("T-1", "a"), created("T-1", "a"), added("T-1", "b"))
    async with running(rig.consumer(), rig.relay):
        await rig.answers(2)
        await rig.send(created("T-1", "a"), added("T-1", "b"), added("T-1", "c"))
        seen = await rig.answers(3)
    assert await rig.tally() == {"T-1": ["a", "b", "c"]}
    assert [one.data["request_id"] for one in seen] == ["a", "b", "c"]
    assert len({one.headers["ce_id"] for one in seen}) == 3


async def test_the_same_id_from_another_source_is_another_event(rig: Rig) -> None:
    """Identity is (source, id)."""
    data = json.dumps(ticket_data("created", "T-1")).encode()
    async with producer(rig.kafka.bootstrap_servers) as plain:
        for source in ("/one", "/two"):
            await plain.send_and_wait(
                rig.kafka.topic_prefix + TICKET.name, data, key=b"T-1", headers=headers_of(CREATED, "a", source=source)
            )
    async with running(rig.consumer(), rig.relay):
        await rig.answers(2)
    assert await rig.tally() == {"T-1": ["a", "a"]}


async def test_the_same_id_with_another_meaning_is_a_dead_letter(rig: Rig) -> None:
    """Never silently dropped: `id_conflict`, with its bytes and its origin; spelling is not meaning."""
    respelled = json.dumps(dict(reversed(ticket_data("created", "T-1").items())), indent=3).encode()
    await rig.send(
        created("T-1", "a"), (CREATED, "a", respelled), (CREATED, "a", ticket_data("created", "T-1", body="x"))
    )
    async with running(rig.consumer(), rig.relay):
        (letter,) = await rig.dead_letters(1)
    assert letter.headers["x-error-code"] == "id_conflict"
    assert (letter.headers["x-original-topic"], letter.headers["x-original-offset"]) == (TICKET.name, "2")
    assert letter.headers["x-consumer-group"] == GROUP
    assert letter.data["body"] == "x"
    assert await rig.tally() == {"T-1": ["a"]}


@pytest.mark.parametrize(
    ("wire_type", "value", "code"),
    [
        (CREATED, b"{", "invalid_json"),
        (CREATED, b"\xff\xfe", "invalid_json"),
        (CREATED, b'{"ticket_id": "\\ud800"}', "invalid_json"),
        (CREATED, b"[" * 10_000, "invalid_json"),
        (CREATED, b'{"ticket_id": "T-1"}', "invalid_data"),
        (CREATED, b'{"ticket_id": 7}', "invalid_data"),
        (CREATED, b"null", "invalid_data"),
        ("com.storytailor.support.ticket.exploded.v1", b"{}", "unknown_type"),
    ],
)
async def test_what_cannot_be_decoded_is_set_aside_and_the_rest_goes_on(
    rig: Rig, wire_type: str, value: bytes, code: str
) -> None:
    """Poison goes to the dead letters at once, byte for byte, and the consumer stays healthy."""
    await rig.send(created("T-1", "a"), (wire_type, "p", value), added("T-1", "b"))
    consumer = rig.consumer()
    async with running(consumer, rig.relay):
        (letter,) = await rig.dead_letters(1)
        await rig.answers(2)
        assert consumer.failing() is None
    assert (letter.headers["x-error-code"], letter.value, letter.key) == (code, value, "T-1")
    assert await rig.tally() == {"T-1": ["a", "b"]}


async def test_a_record_without_an_envelope_is_set_aside(rig: Rig) -> None:
    async with producer(rig.kafka.bootstrap_servers) as plain:
        await plain.send_and_wait(rig.kafka.topic_prefix + TICKET.name, b"{}", key=None)
    async with running(rig.consumer(), rig.relay):
        (letter,) = await rig.dead_letters(1)
    assert letter.headers["x-error-code"] == "invalid_envelope"


async def test_structured_mode_is_accepted(rig: Rig) -> None:
    """The content type decides the mode, whatever headers stand beside it."""
    document = {
        "specversion": "1.0",
        "id": "a",
        "source": "/app",
        "type": CREATED,
        "time": "2026-03-03T15:00:00+01:00",
        "data": ticket_data("created", "T-1"),
    }
    async with producer(rig.kafka.bootstrap_servers) as plain:
        await plain.send_and_wait(
            rig.kafka.topic_prefix + TICKET.name,
            json.dumps(document).encode(),
            key=b"T-1",
            headers=[("content-type", b"application/cloudevents+json; charset=utf-8"), ("ce_id", b"other")],
        )
    async with running(rig.consumer(), rig.relay):
        (answer,) = await rig.answers(1)
    assert answer.headers["ce_causationid"] == "a"
    assert answer.data["occurred_at"] == "2026-03-03T14:00:00.000000Z"


async def test_a_handler_bug_parks_its_ticket_in_order_and_no_other(rig: Rig) -> None:
    """The record is isolated from its batch; later records of the ticket follow it, until they are put back in order."""
    BROKEN.add("boom")
    others = [created(f"O-{n}", f"o-{n}") for n in range(40)]
    await rig.send(created("T-1", "a"), *others[:20], added("T-1", "b", "boom"), added("T-1", "c"), *others[20:])
    consumer = rig.consumer()
    async with running(consumer, rig.relay):
        letters = await rig.dead_letters(2)
        await rig.answers(41)
        await rig.send(added("T-1", "d"))
        letters = await rig.dead_letters(3)
        assert [(one.headers["ce_id"], one.headers["x-error-code"]) for one in letters] == [
            ("b", "handler_error"),
            ("c", "handler_error"),
            ("d", "handler_error"),
        ]
        assert letters[0].headers["x-attempts"] == "3"
        assert (await rig.tally())["T-1"] == ["a"]
        async with rig.database.connection() as connection:
            kept = await dead_letter.find(connection, consumer=GROUP)
        assert (await SecondTry(consumer).redrive([kept[0].id])).handled == 0
        BROKEN.clear()
        redriven = await SecondTry(consumer).redrive([kept[1].id])
        assert (redriven.handled, redriven.still_failing) == (3, 0)
        await rig.send(added("T-1", "e"))
        await rig.answers(45)
    assert (await rig.tally())["T-1"] == ["a", "b", "c", "d", "e"]


async def test_a_batch_that_takes_too_long_is_applied_in_parts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same batch would meet the same deadline for ever."""
    save, most = Tally.save, []

    async def slowly(unit: Tally) -> None:
        await save(unit)
        await unit.connection.execute("set local statement_timeout = 400")
        await unit.connection.execute("select pg_sleep(0.03 * $1)", len(unit.seen))
        most.append(len(unit.seen))

    monkeypatch.setattr(Tally, "save", slowly)
    await rig.send(*(created(f"T-{n}", f"e-{n}") for n in range(60)))
    async with running(rig.consumer(), rig.relay):
        await rig.answers(60)
    assert await rig.tally() == {f"T-{n}": [f"e-{n}"] for n in range(60)}
    assert max(most) < 14


async def test_many_handler_faults_turn_readiness_red(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 20 % of 500: the deployment is wrong, not the message. Poison that cannot be decoded never counts."""
    monkeypatch.setattr(consumer_module, "FAULT_WINDOW", 20)
    consumer = rig.consumer()
    consumer._outcomes = type(consumer._outcomes)(maxlen=20)
    BROKEN.add("boom")
    await rig.send(
        *[created(f"T-{n}", f"c-{n}") for n in range(20)],
        *[(CREATED, f"p-{n}", b"{") for n in range(20)],
    )
    async with running(consumer, rig.relay):
        await rig.answers(20)
        await rig.dead_letters(20)
        assert consumer.failing() is None
        await rig.send(*[added(f"T-{n}", f"a-{n}", "boom") for n in range(5)])
        await rig.dead_letters(25)
        assert consumer.failing() is not None


async def test_an_event_before_its_ticket_waits_for_it(rig: Rig) -> None:
    """Waiting is in the table, not in memory; when the ticket comes the event is applied (L13, HD-65)."""
    consumer = rig.consumer()
    async with running(consumer, rig.relay):
        await rig.send(added("T-1", "b"))
        await until(lambda: _count(rig, "dead_letter where state = 'waiting'", 1))
        await rig.send(created("T-1", "a"))
        await rig.answers(1)
        await until(lambda: _look_again(rig, consumer))
    assert await rig.tally() == {"T-1": ["a", "b"]}


async def test_several_that_wait_for_one_ticket_are_applied_in_order(rig: Rig) -> None:
    """One transaction for all of a ticket: what the first changed is there for the second."""
    consumer = rig.consumer()
    async with running(consumer, rig.relay):
        await rig.send(*[added("T-1", one) for one in "bcde"])
        await until(lambda: _count(rig, "dead_letter where state = 'waiting'", 4))
        await rig.send(created("T-1", "a"))
        await rig.answers(1)
        await until(lambda: _look_again(rig, consumer))
    assert await rig.tally() == {"T-1": ["a", "b", "c", "d", "e"]}


async def test_an_event_whose_ticket_never_comes_is_an_orphan(
    kafka_address: str, database_url: str, topic_prefix: str
) -> None:
    """Parked 15 minutes, then dead-lettered as `orphan` (L13)."""
    now = FakeNow(machine_now())
    async with _rig(kafka_address, database_url, topic_prefix, now) as rig:
        consumer = rig.consumer()
        async with running(consumer, rig.relay):
            await rig.send(added("T-9", "b"))
            await until(lambda: _count(rig, "dead_letter where state = 'waiting'", 1))
            now.advance(minutes=14, seconds=59)
            await SecondTry(consumer).retry_waiting()
            assert await _count(rig, "dead_letter where state = 'waiting'", 1)
            now.advance(seconds=10)
            await SecondTry(consumer).retry_waiting()
            (letter,) = await rig.dead_letters(1)
        assert letter.headers["x-error-code"] == "orphan"


async def test_a_handler_may_say_that_a_record_can_never_be_handled(rig: Rig) -> None:
    await rig.send(created("T-1", "a"), added("T-1", "b", "never"), added("T-1", "c"))
    async with running(rig.consumer(), rig.relay):
        (letter,) = await rig.dead_letters(1)
        await rig.answers(2)
    assert letter.headers["x-error-code"] == "ticket_exists"
    assert await rig.tally() == {"T-1": ["a", "c"]}


async def test_events_without_a_handler_are_passed_over(rig: Rig) -> None:
    await rig.send((TicketClosed.wire_type, "x", ticket_data("closed", "T-1")), created("T-1", "a"))
    async with running(rig.consumer(), rig.relay):
        await rig.answers(1)
        assert await read_topic(rig.kafka.bootstrap_servers, rig.kafka.topic_prefix + TICKET.dead_letters(GROUP)) == []


async def test_a_process_that_lost_the_partition_cannot_commit(rig: Rig) -> None:
    """The cursor is a compare-and-set: a batch behind it is dropped and the cursor is read again."""
    consumer = rig.consumer()
    async with running(consumer, rig.relay):
        await rig.send(created("T-1", "a"))
        await rig.answers(1)
        async with rig.database.transaction() as connection:
            await connection.execute("update consumer_cursor set next_offset = 0")
        await rig.send(added("T-1", "b"))
        await rig.answers(2)
    assert await rig.tally() == {"T-1": ["a", "b"]}


async def test_a_new_consumer_goes_on_where_the_last_one_stood(rig: Rig) -> None:
    async with running(rig.consumer(), rig.relay):
        await rig.send(created("T-1", "a"))
        await rig.answers(1)
    await rig.send(added("T-1", "b"))
    async with running(rig.consumer()):
        await until(lambda: _count(rig, "outbox", 1))
    assert await rig.tally() == {"T-1": ["a", "b"]}


async def test_two_consumers_of_a_group_share_the_work(rig: Rig) -> None:
    """Members come and go; each event is applied once, in order per ticket."""
    tickets = [f"T-{n}" for n in range(60)]
    first, second = rig.consumer(), rig.consumer()
    async with running(rig.relay, first):
        await rig.send(*[created(t, f"{t}-a") for t in tickets])
        await rig.answers(60)
        async with running(second):
            for step in "bcdefg":
                await rig.send(*[added(t, f"{t}-{step}") for t in tickets])
            await rig.answers(60 * 7)
    assert await rig.tally() == {t: [f"{t}-{step}" for step in "abcdefg"] for t in tickets}


async def test_the_database_may_go_away_in_the_middle(rig: Rig) -> None:
    """Cut connections are the world failing: read again, nothing lost, nothing twice, nothing dead-lettered."""
    tickets = [f"T-{n}" for n in range(100)]
    async with running(rig.consumer(), rig.relay):
        for step in "abcd":
            await rig.send(*[(created if step == "a" else added)(t, f"{t}-{step}") for t in tickets])
            plain = await asyncpg.connect(rig.database_url)
            await plain.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1",
                f"support-{rig.database.schema}",
            )
            await plain.close()
        seen = await rig.answers(400)
    assert await rig.tally() == {t: [f"{t}-{step}" for step in "abcd"] for t in tickets}
    assert len({one.headers["ce_id"] for one in seen}) == 400


async def test_a_relay_that_dies_between_publishing_and_forgetting_repeats_the_same_bytes(rig: Rig) -> None:
    """At least once, in order, with the same id and the same bytes."""
    await _fill_outbox(rig, ["1", "2", "3"])
    dying = Relay(rig.database, rig.kafka, Lane.BULK)
    connection = await rig.database.dedicated()
    publish = dying._publisher.publish

    async def publish_and_die(messages: Sequence[Message], **deadline: float) -> None:
        await publish(messages, **deadline)
        raise asyncio.CancelledError

    dying._publisher.publish = publish_and_die  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await dying._publish_some(connection)
    await connection.close()
    await dying._publisher.stop()
    async with running(rig.relay):
        await until(lambda: _count(rig, "outbox", 0))
    seen = await rig.answers(3)
    assert [one.value for one in seen] == [b"1", b"2", b"3"] * 2


async def test_one_relay_works_and_another_takes_over_at_once(rig: Rig) -> None:
    """The lock belongs to the database session: whoever dies frees it."""
    second = Relay(rig.database, rig.kafka, Lane.BULK)
    async with running(second):
        async with running(rig.relay):
            await _fill_outbox(rig, ["1"])
            await rig.answers(1)
        await _fill_outbox(rig, ["2"])
        seen = await rig.answers(2)
    assert [one.value for one in seen] == [b"1", b"2"]


async def test_what_the_broker_will_never_take_is_kept_and_the_rest_goes_out(rig: Rig) -> None:
    """One impossible record neither wedges the producer nor is lost, and readiness says so."""
    await _fill_outbox(rig, ["1", "x" * (topics.MAX_RECORD_BYTES + 1), "3"])
    async with running(rig.relay):
        seen = await rig.answers(2)
        await until(lambda: _count(rig, "outbox_rejected", 1))
        assert rig.relay.failing() is not None
        seen = await rig.answers(2)
    assert list(dict.fromkeys(one.value for one in seen)) == [b"1", b"3"]


async def test_an_id_conflict_stays_set_aside_when_it_is_put_back(rig: Rig) -> None:
    """The first meaning stands, whatever an operator puts back."""
    await rig.send(created("T-1", "a"), (CREATED, "a", ticket_data("created", "T-1", body="x")))
    consumer = rig.consumer()
    async with running(consumer, rig.relay):
        await rig.dead_letters(1)
        (kept,) = await _kept(rig)
        assert await SecondTry(consumer).redrive([kept.id]) == Redriven(handled=0, still_failing=1)
    assert await rig.tally() == {"T-1": ["a"]}


async def test_what_was_published_twice_and_is_put_back_twice_is_applied_once(rig: Rig) -> None:
    """A record that nobody understood has not passed the inbox; it passes it when it is put back."""
    old = rig.consumer()
    old._types = {CREATED: TicketCreated}
    async with running(old, rig.relay):
        await rig.send(created("T-1", "a"), added("T-1", "b"), added("T-1", "b"))
        await rig.dead_letters(2)
    upgraded = rig.consumer()
    assert (await SecondTry(upgraded).redrive([one.id for one in await _kept(rig)])).handled == 2
    assert await rig.tally() == {"T-1": ["a", "b"]}
    assert await _kept(rig) == []


async def test_failure_in_the_middle_of_isolation_reads_everything_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a batch is applied or none of what follows is passed over: the places of all its partitions are forgotten."""
    BROKEN.add("boom")
    tickets = [f"T-{n}" for n in range(24)]
    consumer = rig.consumer()
    transact, calls = consumer._transact, iter(range(1_000))

    async def transact_with_a_blip(batch: Any, **options: bool) -> None:
        if 2 <= next(calls) <= 4:
            raise TransientFailure("blip")
        await transact(batch, **options)

    await rig.send(*[created(t, f"{t}-a") for t in tickets])
    async with running(consumer, rig.relay):
        await rig.answers(24)
        monkeypatch.setattr(consumer, "_transact", transact_with_a_blip)
        await rig.send(*[added(t, f"{t}-b", "boom" if t == "T-7" else "more") for t in tickets])
        await rig.dead_letters(1)
        await rig.answers(47)
    assert await rig.tally() == {t: [f"{t}-a"] + ([f"{t}-b"] if t != "T-7" else []) for t in tickets}


async def test_a_relay_that_stands_by_does_not_spin(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process wakes it with every commit; the lock is somebody else's all the same."""
    looks = 0

    class Busy:
        async def execute(self, statement: str) -> None:
            """The session's settings."""

        async def fetchval(self, *_: object) -> bool:
            nonlocal looks
            looks += 1
            return False

        def terminate(self) -> None:
            """Nothing to end."""

    async def dedicated() -> Busy:
        return Busy()

    monkeypatch.setattr(rig.database, "dedicated", dedicated)
    async with running(rig.relay):
        rig.relay.wake()
        await asyncio.sleep(1)
    assert looks <= 8


def test_a_header_without_a_value_is_an_empty_one() -> None:
    """Kafka allows it; decoding and setting aside must survive it."""
    raw = SimpleNamespace(partition=0, offset=1, timestamp=0, key=None, value=None, headers=[("content-type", None)])
    assert _record("t", raw).headers == (("content-type", b""),)


class Latin(str):
    """A name as a program writes it that knows no UTF-8."""

    def encode(self, *_: object) -> bytes:
        return super().encode("latin-1")


@pytest.mark.parametrize("compression", [0, 1])  # none, gzip
def test_no_name_of_a_header_keeps_a_record_from_being_read(compression: int) -> None:
    """The broker takes any bytes; a consumer that stops at them stops for every record of its partitions (S6)."""
    fetched, begin = b"", 0
    for names in (["ce_id"], ["ce_id", Latin("Schlüssel")], ["ce_id"]):
        batch = _DefaultRecordBatchBuilderPy(
            magic=2,
            compression_type=compression,
            is_transactional=0,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=MAX_RECORD_BYTES,
        )
        for offset in range(2):
            batch.append(offset, 0, b"k", b"v" * 99, [(name, b"x") for name in names])
        fetched += begin.to_bytes(8) + bytes(batch.build())[8:]
        begin += 2
    records = PartitionRecords(
        TopicPartition("t", 0), _AnyNames(fetched), [], 0, None, None, True, isolation_level=READ_COMMITTED
    )
    read = [_record("t", raw) for raw in records]
    assert [one.offset for one in read] == list(range(6))
    assert {one.value for one in read} == {b"v" * 99}
    assert [[name for name, _ in one.headers] for one in read[1:3]] == [["ce_id"], ["ce_id", "Schl\ufffdssel"]]


@pytest.mark.parametrize("milliseconds", [-1, 1_782_000_000_000_000, 2**63 - 1])
def test_no_time_that_a_producer_writes_keeps_a_record_from_being_read(milliseconds: int) -> None:
    """Microseconds for milliseconds are no year that a calendar has; unread, the record would hold up its partition for ever."""
    raw = SimpleNamespace(partition=0, offset=0, timestamp=milliseconds, key=b"k", value=b"{}", headers=())
    read = _record("t", raw)
    assert (read.value, read.timestamp + timedelta(days=1) > read.timestamp) == (b"{}", True)


async def test_inbox_days_move_with_time_and_keep_what_matters(rig: Rig) -> None:
    """Days beyond the window are dropped whole; a day that had rows before its partition takes them over."""
    day = AT.date()
    await inbox.keep_days(rig.database, day)
    async with rig.database.transaction() as connection:
        await connection.execute("insert into inbox values ($1, 'x', 'g', 'm')", day + timedelta(days=3))
        await connection.execute("insert into inbox values ($1, 'y', 'g', 'm')", day)
    await inbox.keep_days(rig.database, day + timedelta(days=1))
    assert await _count(rig, "inbox", 2)
    assert await _count(rig, "inbox_other_days", 0)
    await inbox.keep_days(rig.database, day + timedelta(days=10))
    assert await _count(rig, "inbox", 1)


async def _fill_outbox(rig: Rig, values: Sequence[str]) -> None:
    async with rig.database.transaction() as connection:
        messages = [Message(ROUTING.name, b"T-1", headers_of(CREATED, value[:9]), value.encode()) for value in values]
        await outbox.add(connection, messages, now=AT)


async def _count(rig: Rig, table: str, expected: int) -> bool:
    async with rig.database.connection() as connection:
        return bool(await connection.fetchval(f"select count(*) from {table}") == expected)


async def _kept(rig: Rig) -> list[Kept]:
    async with rig.database.connection() as connection:
        return await dead_letter.find(connection, consumer=GROUP)


async def _look_again(rig: Rig, consumer: Consumer[Tally]) -> bool:
    await SecondTry(consumer).retry_waiting()
    return await _count(rig, "dead_letter where state = 'waiting'", 0)
