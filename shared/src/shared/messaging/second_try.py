"""What was set aside is tried again: what waits for its ticket by itself, the rest when an operator puts it back.

The same decoding, the same handlers and the same kind of transaction as the first time, on records from the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import structlog

from shared.errors import DeadLetterCode, InvalidMessage, TransientFailure
from shared.messaging import dead_letter, inbox
from shared.messaging.consumer import Consumer
from shared.messaging.dead_letter import Kept, State
from shared.messaging.unit_of_work import UnitOfWork
from shared.runtime import metrics
from shared.runtime.database import is_transient
from shared.runtime.log import where

TICKETS_AT_ONCE = 200
PASSED_THE_INBOX = (DeadLetterCode.HANDLER_ERROR, DeadLetterCode.ORPHAN, DeadLetterCode.TICKET_EXISTS)
"""Codes of records whose identity the inbox remembers from the first try."""

log = structlog.get_logger()
U = TypeVar("U", bound=UnitOfWork)
Refusal = tuple[DeadLetterCode, State]


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of the records that were put back."""

    handled: int
    still_failing: int


class SecondTry(Generic[U]):
    """The second tries of one consumer."""

    def __init__(self, consumer: Consumer[U]) -> None:
        self.group = consumer.group
        self._consumer = consumer
        self._units = consumer.units

    async def retry_waiting(self) -> bool:
        """Try the records again that wait for their ticket, each ticket's in order; after 15 minutes they are orphans (L13).

        Answers whether there may be more.
        """
        async with self._units.database.connection() as connection:
            due = await dead_letter.due_waiting(connection, self.group, now=self._units.now(), limit=TICKETS_AT_ONCE)
        for key in due:
            try:
                await self._retry(key)
            except Exception as error:
                if is_transient(error):
                    raise
                log.error("waiting record failed", group=self.group, error=type(error).__name__, where=where(error))
                await self._park(key)
        return len(due) == TICKETS_AT_ONCE

    async def redrive(self, ids: Sequence[int]) -> Redriven:
        """Put records back: they go through the same handlers, with a parked one all parked records of its ticket.

        What still fails stays where it is.
        """
        handled = 0
        for one_id in ids:
            try:
                handled += await self._redrive(one_id)
            except Exception as error:
                if is_transient(error):
                    raise TransientFailure(type(error).__name__) from error
                log.error("record still fails", group=self.group, dead_letter=one_id, error=type(error).__name__)
        async with self._units.database.connection() as connection:
            left = await dead_letter.find(connection, consumer=self.group, ids=ids, limit=len(ids) or 1)
        return Redriven(handled, len(left))

    async def _retry(self, key: bytes) -> None:
        async with self._units.begin() as unit:
            kept = await dead_letter.waiting_of(unit.connection, self.group, key)
            for one, refusal in zip(kept, await self._handle(unit, await self._restored(unit, kept)), strict=True):
                if refusal is None:
                    await dead_letter.remove(unit.connection, [one])
                elif refusal[1] is State.DEAD or unit.now - one.created_at >= dead_letter.WAIT_FOR_TICKET:
                    await self._announce(unit, [one], refusal[0], State.DEAD)
                else:
                    await dead_letter.try_later(unit.connection, [one], now=unit.now)

    async def _park(self, key: bytes) -> None:
        async with self._units.begin() as unit:
            kept = await dead_letter.waiting_of(unit.connection, self.group, key)
            await dead_letter.park(unit.connection, self.group, [key], now=unit.now)
            await self._announce(unit, kept, DeadLetterCode.HANDLER_ERROR, State.PARKED)

    async def _redrive(self, one_id: int) -> int:
        async with self._units.begin() as unit:
            kept = await dead_letter.locked_with_their_tickets(unit.connection, self.group, one_id)
            new = [one for one in await self._restored(unit, kept) if await self._is_new(unit, one)]
            for refusal in await self._handle(unit, new):
                if refusal is not None:
                    raise InvalidMessage(refusal[0])
            await dead_letter.remove(unit.connection, kept)
            await dead_letter.unpark(unit.connection, self.group, [one.record.key for one in kept])
        return len(kept)

    async def _is_new(self, unit: U, one: Kept) -> bool:
        """Whether a record that never passed the inbox may be applied now; the others have passed it once already.

        Raises:
            InvalidMessage: its id is known with another meaning; the first stands.
        """
        message = self._consumer.decode(one.record).message
        if one.code in PASSED_THE_INBOX or message is None:
            return True
        opened = await inbox.open_batch(unit.connection, self.group, [], [message])
        if opened.conflicts:
            raise InvalidMessage(DeadLetterCode.ID_CONFLICT)
        return bool(opened.fresh)

    async def _restored(self, unit: U, kept: Sequence[Kept]) -> Sequence[Kept]:
        """The records as they came, where somebody else keeps their words."""
        custody = self._consumer.custody
        return (
            kept if custody is None else [replace(one, record=await custody.restore(unit, one.record)) for one in kept]
        )

    async def _handle(self, unit: U, kept: Sequence[Kept]) -> list[Refusal | None]:
        """Handle records in order, all loaded together; answers for each why it was refused, or None."""
        decoded = [self._consumer.decode(one.record) for one in kept]
        await unit.load([one.message for one in decoded if one.message and self._consumer.is_ours(one.message)])
        refusals: list[Refusal | None] = []
        for one in decoded:
            if one.message is None:
                refusals.append((one.code or DeadLetterCode.INVALID_DATA, State.DEAD))
            else:
                refusals.append(
                    self._consumer.handle(one.message, unit) if self._consumer.is_ours(one.message) else None
                )
        return refusals

    async def _announce(self, unit: U, kept: Sequence[Kept], code: DeadLetterCode, state: State) -> None:
        await dead_letter.change(unit.connection, kept, state, code, now=unit.now)
        for one in kept:
            unit.dead_letters.append(dead_letter.announcement(one.record, self.group, code, one.attempts))
            metrics.DEAD_LETTERS.labels(self.group, code.value).inc()
