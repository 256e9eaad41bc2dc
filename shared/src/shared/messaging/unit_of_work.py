"""One transaction: what was loaded, what a handler decided, what leaves. Handlers never see a connection or a commit.

A service subclasses `UnitOfWork` with its repositories: `load` reads the rows of a whole batch in a few statements, handlers
work on them in memory, `save` writes them in a few statements. What is emitted goes to the outbox in the same transaction,
after `save`, so that the outbox order of a key is its commit order.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from shared.events.envelope import Event, Outgoing, Received, derived_id, source_of
from shared.events.topics import TOPIC_OF, Lane
from shared.messaging import outbox
from shared.messaging.kafka import Message
from shared.runtime.database import Connection, Database
from shared.runtime.now import Now


class UnitOfWork(ABC):
    """What one batch, one timer tick or one command reads and writes, all or nothing."""

    service: ClassVar[str]
    """The name of the service; its events come from `source_of(service)`."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self.emitted: list[Outgoing] = []
        self.dead_letters: list[Message] = []
        self.after_commit: list[Callable[[], None]] = []
        """Called once the transaction has committed, to wake whoever waits for it."""
        self._cause: Received[Event] | None = None
        self._emitted_by_cause = 0

    @abstractmethod
    async def load(self, messages: Sequence[Received[Event]]) -> None:
        """Read and lock, in a fixed order, every row that the handlers of these messages may need."""

    @abstractmethod
    async def save(self) -> None:
        """Write what the handlers changed."""

    def because_of(self, message: Received[Event] | None) -> None:
        """From here on, what is emitted is caused by this message. The consumer calls it before each handler."""
        self._cause = message
        self._emitted_by_cause = 0

    def emit(self, event: Event, *, occurred_at: datetime, seed: str | None = None, correlation_id: str = "") -> str:
        """Queue an event; it leaves if and only if this transaction commits. Returns its id.

        The id is derived from the cause, so that the same cause gives the same id for ever. Without a cause (timers,
        commands) `seed` names what happened, for example `ticket|milestone|cycle|0.5`.
        """
        value = event.__pydantic_serializer__.to_json(event)
        return self.emit_written(
            type(event), event.key, value, occurred_at=occurred_at, seed=seed, correlation_id=correlation_id
        )

    def emit_written(
        self,
        event_class: type[Event],
        key: str,
        value: bytes,
        *,
        occurred_at: datetime,
        seed: str | None = None,
        correlation_id: str = "",
    ) -> str:
        """Queue an event whose data is JSON already."""
        cause = self._cause
        if seed is not None:
            event_id = self.id_of(event_class, seed)
        elif cause is not None:
            place = str(self._emitted_by_cause)
            event_id = self.id_of(event_class, cause.envelope.source, cause.envelope.id, place)
            self._emitted_by_cause += 1
        else:
            raise ValueError("an event without a cause needs a seed")
        if cause is not None and not correlation_id:
            correlation_id = cause.envelope.correlation_id or cause.envelope.id
        self.emitted.append(
            Outgoing(
                topic=TOPIC_OF[event_class.wire_type].name,
                key=key,
                wire_type=event_class.wire_type,
                source=source_of(self.service),
                id=event_id,
                occurred_at=occurred_at,
                correlation_id=correlation_id or event_id,
                causation_id=cause.envelope.id if cause is not None else None,
                value=value,
            )
        )
        return event_id

    def id_of(self, event_class: type[Event], *seed: str) -> str:
        """The id of the event that follows from the seed."""
        return derived_id(self.service, event_class.wire_type, *seed)


U = TypeVar("U", bound=UnitOfWork)


class UnitsOfWork(Generic[U]):
    """Begins units of work and commits them; nobody else commits."""

    def __init__(
        self, database: Database, make: Callable[[Connection, datetime], U], *, now: Now, wake: Callable[[Lane], None]
    ) -> None:
        self.database = database
        self._make = make
        self.now = now
        self._wake = wake

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[U]:
        """A unit of work: saved, its events put into the outbox and committed at the end; dropped whole on any error."""
        async with self.database.transaction() as connection:
            unit = self._make(connection, self.now())
            yield unit
            await unit.save()
            leaving = [outbox.to_message(event) for event in unit.emitted] + unit.dead_letters
            lanes = await outbox.add(connection, leaving, now=unit.now)
        for lane in lanes:
            self._wake(lane)
        for wake in unit.after_commit:
            wake()
