"""The tables of the sla-monitor and all of its SQL: tickets with their clocks, and when each has to be looked at next.

A ticket's facts and what was told of its clocks are one document that only this service reads. The timer is narrow and
exists only while time alone can change something. Whoever writes a timer holds the lock of its ticket's row: that is the only
lock order, so consumers and timers never wait for each other in a circle.
"""

from collections.abc import Sequence
from datetime import datetime

from pydantic import TypeAdapter

from shared.errors import TransientFailure, UnknownTicket
from shared.events.envelope import Event, Received
from shared.messaging.unit_of_work import UnitOfWork
from shared.runtime.database import Connection, Database
from sla_monitor.domain.clock import Rules
from sla_monitor.domain.ticket import Ticket

_TICKET: TypeAdapter[Ticket] = TypeAdapter(Ticket)

_LOAD = """
select version, document from ticket_clock where ticket_id = any($1::text[]) order by ticket_id for update
"""
_CLAIM = """
select ticket.version, ticket.document
from timer join ticket_clock as ticket using (ticket_id)
where timer.look_at <= $1 order by timer.look_at limit $2
for update of ticket skip locked
"""
_SAVE = """
insert into ticket_clock as kept (ticket_id, version, document)
select * from unnest($1::text[], $2::int[], $3::bytea[])
on conflict (ticket_id) do update set version = excluded.version, document = excluded.document
where kept.version = excluded.version - 1
"""
_ARM = """
insert into timer as kept (ticket_id, look_at)
select * from unnest($1::text[], $2::timestamptz[])
on conflict (ticket_id) do update set look_at = excluded.look_at where kept.look_at <> excluded.look_at
"""
_DISARM = "delete from timer where ticket_id = any($1::text[])"
_FIND = "select document from ticket_clock where ticket_id = $1"


class Tickets:
    """The tickets of one unit of work, as loaded and as changed."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        self._tickets: dict[str, Ticket] = {}
        self.changed: set[str] = set()
        self.look_at: dict[str, datetime | None] = {}

    def loaded(self, ticket: Ticket, version: int) -> None:
        self._tickets[ticket.ticket_id] = ticket
        self._versions[ticket.ticket_id] = version

    def find(self, ticket_id: str) -> Ticket | None:
        return self._tickets.get(ticket_id)

    def get(self, ticket_id: str) -> Ticket:
        """
        Raises:
            UnknownTicket: neither its `created` nor a routing decision has come yet (L13).
        """
        ticket = self._tickets.get(ticket_id)
        if ticket is None:
            raise UnknownTicket
        return ticket

    def save(self, ticket: Ticket, *, look_at: datetime | None) -> None:
        """Keep a ticket, and when it has to be looked at next."""
        self._tickets[ticket.ticket_id] = ticket
        self.changed.add(ticket.ticket_id)
        self.look_at[ticket.ticket_id] = look_at

    def put_off(self, ticket: Ticket, *, look_at: datetime) -> None:
        """Leave a ticket as it was loaded and look at it later."""
        self.changed.discard(ticket.ticket_id)
        self.look_at[ticket.ticket_id] = look_at

    def to_write(self) -> list[tuple[str, int, bytes]]:
        """The changed tickets with their next version, in the order in which rows are locked."""
        return [
            (one, self._versions.get(one, 0) + 1, _TICKET.dump_json(self._tickets[one], exclude_defaults=True))
            for one in sorted(self.changed)
        ]


class SlaUnit(UnitOfWork):
    """What the sla-monitor reads and writes for one batch or one look."""

    service = "sla-monitor"

    def __init__(self, connection: Connection, now: datetime, rules: Rules) -> None:
        super().__init__(connection, now)
        self.rules = rules
        self.tickets = Tickets()

    async def load(self, messages: Sequence[Received[Event]]) -> None:
        ids = {message.event.key for message in messages}
        for row in await self.connection.fetch(_LOAD, list(ids)) if ids else ():
            self.tickets.loaded(_TICKET.validate_json(row["document"]), row["version"])

    async def claim(self, limit: int) -> list[Ticket]:
        """Tickets that have to be looked at, those due first; what another replica holds is left to it."""
        found = []
        for row in await self.connection.fetch(_CLAIM, self.now, limit):
            ticket = _TICKET.validate_json(row["document"])
            self.tickets.loaded(ticket, row["version"])
            found.append(ticket)
        return found

    async def save(self) -> None:
        """
        Raises:
            TransientFailure: another transaction wrote one of the tickets first; the work is done again.
        """
        if rows := self.tickets.to_write():
            status = await self.connection.execute(_SAVE, *(list(column) for column in zip(*rows, strict=True)))
            if status != f"INSERT 0 {len(rows)}":
                raise TransientFailure("a ticket was written by another transaction")
        armed = {one: look_at for one, look_at in self.tickets.look_at.items() if look_at is not None}
        if armed:
            await self.connection.execute(_ARM, list(armed), list(armed.values()))
        if disarmed := list(self.tickets.look_at.keys() - armed.keys()):
            await self.connection.execute(_DISARM, disarmed)


class ClockedTickets:
    """The tickets as the API shows them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, ticket_id: str) -> Ticket | None:
        async with self._database.connection() as connection:
            document = await connection.fetchval(_FIND, ticket_id)
        return _TICKET.validate_json(document) if document is not None else None
