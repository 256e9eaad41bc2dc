"""The loop: poll a batch, decode, one transaction (cursor, inbox, state, outbox), commit the offsets as a hint.

While one batch is in its transaction the next one is polled and decoded. Whatever goes wrong has one answer: forget where
the partition stands (`_ready`), so that the next poll reads the cursor from the database and seeks there.

- The world fails (database, broker, lost race): read again after a growing pause, for ever.
- A record cannot be decoded, or its handler says that it never can be handled: dead letter, in the same transaction.
- A handler fails otherwise: the batch is halved until the record is alone, tried three times, then the ticket's records are
  parked in order while other tickets go on.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar

import structlog

from shared.errors import DeadLetterCode, InvalidMessage, TransientFailure, UnknownTicket
from shared.events.envelope import Event, Received, Record, decode
from shared.events.topics import Lane, Topic
from shared.messaging import dead_letter, inbox
from shared.messaging.dead_letter import Custody, SetAside, State
from shared.messaging.kafka import Kafka, Partition, Reader
from shared.messaging.outbox import lane_of
from shared.messaging.pauses import Pauses
from shared.messaging.unit_of_work import UnitOfWork, UnitsOfWork
from shared.runtime import metrics
from shared.runtime.database import is_transient, took_too_long
from shared.runtime.log import where

BATCH = 500
POLL_SECONDS = 0.1
TRIES = 3
TRY_AGAIN_SECONDS = (0.05, 0.2)
FAULT_WINDOW = 500
FAULT_SHARE = 0.2
COMMIT_EVERY_SECONDS = 1.0
INBOX_UPKEEP = timedelta(hours=1)

log = structlog.get_logger()
U = TypeVar("U", bound=UnitOfWork)
Handler = Callable[[Received[Any], U], None]
Unreadable = Callable[[Record, DeadLetterCode, U], None]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A record and what it says; `code` where it says nothing we understand."""

    record: Record
    message: Received[Event] | None
    code: DeadLetterCode | None = None


class Consumer(Generic[U]):
    """Applies the events of some topics through handlers, each exactly once, in order per key.

    Args:
        group: the consumer group; also the name under which cursor, inbox and dead letters are kept.
        handlers: what to do about each event class; other events of the topics are skipped.
        concerns: of the handled classes, which events concern this consumer at all; the others are skipped before they
            cost anything.
        keeps_order: whether later records of a key wait behind one that failed; without it each stands for itself.
        unreadable: called in the same transaction for every record that becomes a dead letter, for topics on which nothing
            may end there alone (S6).
        custody: keeps the words of what is set aside, for topics whose dead letters must not hold them (S5).
    """

    def __init__(
        self,
        group: str,
        topics: Sequence[Topic],
        handlers: Mapping[type[Event], Handler[U]],
        units: UnitsOfWork[U],
        kafka: Kafka,
        *,
        concerns: Callable[[Any], bool] = lambda _: True,
        keeps_order: bool = True,
        unreadable: Unreadable[U] | None = None,
        custody: Custody | None = None,
    ) -> None:
        self.group = group
        self.name = f"consumer-{group.removeprefix('support.')}"
        self._topics = topics
        self._types = {wire_type: event for topic in topics for wire_type, event in topic.types.items()}
        self._handlers = handlers
        self.units = units
        self._kafka = kafka
        self._concerns = concerns
        self._keeps_order = keeps_order
        self._unreadable = unreadable
        self.custody = custody
        self._ready: dict[Partition, int] = {}
        self._outcomes: deque[bool] = deque(maxlen=FAULT_WINDOW)
        self._stop = asyncio.Event()
        self._trouble: str | None = "not started"
        self._refused: dict[Partition, str] = {}
        self._doubted: set[Partition] = set()
        self._urgent_set_aside = 0
        """On the urgent lane a dead letter that nobody else hears of is an alarm (S6)."""
        self._inbox_upkeep_at = self.units.now()
        self._committed_at = 0.0
        self._commit: asyncio.Task[None] | None = None

    def failing(self) -> str | None:
        """Why this consumer is not healthy, or None. A consumer without partitions is healthy: it stands by."""
        if self._refused:
            return "; ".join(self._refused.values())
        if self._urgent_set_aside:
            return f"{self._urgent_set_aside} records of the urgent lane were set aside; put them back and restart"
        faults = self._outcomes.count(False)
        if len(self._outcomes) == FAULT_WINDOW and faults > FAULT_SHARE * FAULT_WINDOW:
            return f"handlers failed on {faults} of the last {FAULT_WINDOW} events"
        return self._trouble

    async def stop(self) -> None:
        """Finish the batch in hand and leave the group."""
        self._stop.set()

    async def run(self) -> None:
        """Consume until stopped; whatever fails outside is tried again with growing pauses, for ever."""
        pauses = Pauses()
        while not self._stop.is_set():
            reader = self._kafka.reader(self.group, [topic.name for topic in self._topics], max_records=BATCH)
            try:
                await reader.start()
                await self._consume(reader, pauses)
            except Exception as error:
                if not is_transient(error):
                    log.exception("consumer failed", group=self.group, error=type(error).__name__)
                self._trouble = f"not consuming: {type(error).__name__}"
                await pauses.wait(self._stop)
            finally:
                await reader.stop()

    async def _consume(self, reader: Reader, pauses: Pauses) -> None:
        self._ready.clear()
        self._trouble = None
        epoch = reader.epoch
        in_hand: asyncio.Task[bool] | None = None
        try:
            while not self._stop.is_set():
                polled = await reader.poll(timeout_seconds=POLL_SECONDS)
                decoded = {at: [self.decode(record) for record in records] for at, records in polled.items()}
                if in_hand is not None:
                    went_well, in_hand = await in_hand, None
                    if went_well:
                        pauses.reset()
                    else:
                        await pauses.wait(self._stop)
                if reader.epoch != epoch:
                    epoch = reader.epoch
                    self._ready.clear()
                    self._refused.clear()
                    self._doubted.clear()
                batch = self._ours(decoded)
                await self._put_in_place(reader)
                await self._keep_inbox_days()
                self._commit_hint(reader)
                if batch:
                    in_hand = asyncio.create_task(self._apply(batch))
        finally:
            if in_hand is not None:
                await in_hand
        await reader.commit(self._ready)

    async def _keep_inbox_days(self) -> None:
        """Once a day; what fails waits for the next hour, since every day finds a place in the inbox all the same."""
        now = self.units.now()
        if now < self._inbox_upkeep_at:
            return
        self._inbox_upkeep_at = now + INBOX_UPKEEP
        try:
            await inbox.keep_days(self.units.database, now.date())
        except TransientFailure as failure:
            log.warning("inbox days not kept", group=self.group, reason=str(failure))

    def _ours(self, polled: Mapping[Partition, list[Decoded]]) -> list[Decoded]:
        """What of the polled records is to be applied now. Records of a partition that is not in place come again."""
        return [
            one
            for partition, records in polled.items()
            if partition in self._ready
            for one in records
            if one.record.offset >= self._ready[partition]
        ]

    async def _put_in_place(self, reader: Reader) -> None:
        """Read the cursors of partitions whose place is not known (any more), and seek there."""
        homeless = reader.assigned() - set(self._ready) - set(self._refused)
        if not homeless:
            return
        epoch = reader.epoch
        bounds = await reader.bounds(homeless)
        async with self.units.database.transaction() as connection:
            cursors = await inbox.cursors(connection, self.group, {at: first for at, (first, _) in bounds.items()})
            for partition, (first, _) in bounds.items():
                if (lost := first - cursors[partition]) > 0:
                    log.error("records lost by retention", group=self.group, partition=partition, lost=lost)
                    metrics.LOST.labels(self.group).inc(lost)
                    await inbox.move_cursor(connection, self.group, inbox.Move(partition, cursors[partition], first))
                    cursors[partition] = first
        if reader.epoch != epoch:
            return
        for partition, (_, end) in bounds.items():
            if cursors[partition] > end and partition not in self._doubted:
                self._doubted.add(partition)  # whoever had the partition may just have moved on: look once more
            elif cursors[partition] > end:
                self._refused[partition] = (
                    f"{partition} ends before our cursor: was the topic made anew? See the runbook."
                )
                log.error("cursor beyond the end", group=self.group, partition=partition)
            else:
                reader.seek(partition, cursors[partition])
                self._ready[partition] = cursors[partition]

    def _commit_hint(self, reader: Reader) -> None:
        idle = self._commit is None or self._commit.done()
        if idle and self._ready and time.monotonic() - self._committed_at > COMMIT_EVERY_SECONDS:
            self._committed_at = time.monotonic()
            self._commit = asyncio.create_task(reader.commit(dict(self._ready)))

    def decode(self, record: Record) -> Decoded:
        """What a record says; never fails."""
        try:
            return Decoded(record, decode(record, self._types))
        except InvalidMessage as invalid:
            return Decoded(record, None, invalid.code)
        except Exception as error:
            log.error("record not decoded", group=self.group, error=type(error).__name__, where=where(error))
            return Decoded(record, None, DeadLetterCode.INVALID_ENVELOPE)

    async def _apply(self, batch: Sequence[Decoded]) -> bool:
        """Apply a batch; False when it has to be read again."""
        started = time.monotonic()
        try:
            await self._transact(batch)
        except inbox.Fenced:
            metrics.FENCED.labels(self.group).inc()
            self._forget(batch)
            return False
        except Exception as error:
            if took_too_long(error) and len(batch) > 1:
                return await self._halve(batch)
            if is_transient(error):
                self._trouble = f"tried again: {type(error).__name__}"
                metrics.RETRIED.labels(self.group).inc()
                self._forget(batch)
                return False
            return await self._isolate(batch, error)
        self._trouble = None
        metrics.BATCH_SECONDS.labels(self.group).observe(time.monotonic() - started)
        return True

    async def _isolate(self, batch: Sequence[Decoded], error: Exception) -> bool:
        """Halve until the failing record is alone; try it three times; then park it."""
        if len(batch) > 1:
            return await self._halve(batch)
        record = batch[0].record
        for pause in TRY_AGAIN_SECONDS:
            await asyncio.sleep(pause)
            try:
                await self._transact(batch)
            except Exception as again:
                if is_transient(again) or isinstance(again, inbox.Fenced):
                    self._forget(batch)
                    return False
                error = again
            else:
                return True
        log.error(
            "record parked",
            group=self.group,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error=type(error).__name__,
            where=where(error),
        )
        try:
            await self._transact(batch, park=True)
        except Exception as again:
            if not is_transient(again) and not isinstance(again, inbox.Fenced):
                log.exception("parking failed", group=self.group, error=type(again).__name__)
                self._trouble = f"not set aside: {type(again).__name__}"
            self._forget(batch)
            return False
        return True

    async def _halve(self, batch: Sequence[Decoded]) -> bool:
        middle = len(batch) // 2
        if await self._apply(batch[:middle]) and await self._apply(batch[middle:]):
            return True
        self._forget(batch)
        return False

    async def _transact(self, batch: Sequence[Decoded], *, park: bool = False) -> None:
        """One transaction over a batch. With `park`, its records are set aside instead of handled."""
        moves = self._moves(batch)
        messages = [one.message for one in batch if one.message is not None and self.is_ours(one.message)]
        record_of = {id(one.message): one.record for one in batch}
        async with self.units.begin() as unit:
            keys = [self._kept(record_of[id(message)]).key for message in messages]
            opened = await inbox.open_batch(unit.connection, self.group, moves, messages, keys)
            aside = [SetAside(one.record, one.code, State.DEAD) for one in batch if one.code is not None]
            aside += [SetAside(record_of[id(m)], DeadLetterCode.ID_CONFLICT, State.DEAD) for m in opened.conflicts]
            wanted: list[Received[Event]] = []
            for message in opened.fresh:
                record = record_of[id(message)]
                if park or self._kept(record).key in opened.parked:
                    state = State.PARKED if self._keeps_order else State.DEAD
                    aside.append(SetAside(record, DeadLetterCode.HANDLER_ERROR, state, attempts=TRIES if park else 0))
                else:
                    wanted.append(message)
            await unit.load(wanted)
            for message in wanted:
                if outcome := self.handle(message, unit):
                    aside.append(SetAside(record_of[id(message)], *outcome))
            await self._set_aside(unit, aside)
        for move in moves:
            self._ready[move.partition] = move.next_offset
        self._count(len(wanted), len(opened.duplicates), aside, faults=1 if park else 0)

    def handle(self, message: Received[Event], unit: U) -> tuple[DeadLetterCode, State] | None:
        """Call the handler; what it says of the record when it will not have it."""
        unit.because_of(message)
        before = len(unit.emitted)
        try:
            self._handlers[type(message.event)](message, unit)
        except InvalidMessage as invalid:
            refusal = (invalid.code, State.DEAD)
        except UnknownTicket:
            refusal = (DeadLetterCode.ORPHAN, State.WAITING)
        else:
            return None
        if len(unit.emitted) != before:
            raise RuntimeError("a handler refused a record after it had emitted an event")
        return refusal

    async def _set_aside(self, unit: U, aside: Sequence[SetAside]) -> None:
        kept = [replace(one, record=self._kept(one.record)) for one in aside]
        unit.dead_letters += await dead_letter.set_aside(unit.connection, self.group, kept, now=unit.now)
        if self._unreadable is not None:
            unit.because_of(None)
            for one in aside:
                if one.state is not State.WAITING:
                    self._unreadable(one.record, one.code, unit)

    def _kept(self, record: Record) -> Record:
        """The record as the dead letters may hold it."""
        return record if self.custody is None else self.custody.withhold(record)

    def is_ours(self, message: Received[Event]) -> bool:
        """Whether there is a handler for it, and it concerns this consumer."""
        return type(message.event) in self._handlers and self._concerns(message.event)

    def _moves(self, batch: Sequence[Decoded]) -> list[inbox.Move]:
        last: dict[Partition, int] = {}
        for one in batch:
            last[(one.record.topic, one.record.partition)] = one.record.offset
        if not self._ready.keys() >= last.keys():
            raise inbox.Fenced
        return [inbox.Move(partition, self._ready[partition], offset + 1) for partition, offset in sorted(last.items())]

    def _forget(self, batch: Sequence[Decoded]) -> None:
        for one in batch:
            self._ready.pop((one.record.topic, one.record.partition), None)

    def _count(self, handled: int, duplicates: int, aside: Sequence[SetAside], *, faults: int) -> None:
        self._outcomes.extend([True] * min(handled, FAULT_WINDOW))
        self._outcomes.extend([False] * faults)
        metrics.HANDLED.labels(self.group).inc(handled)
        metrics.DUPLICATES.labels(self.group).inc(duplicates)
        for one in aside:
            if one.state is State.WAITING:
                metrics.WAITING.labels(self.group).inc()
            else:
                metrics.DEAD_LETTERS.labels(self.group, one.code.value).inc()
                self._urgent_set_aside += self._unreadable is None and lane_of(one.record.topic) is Lane.URGENT
