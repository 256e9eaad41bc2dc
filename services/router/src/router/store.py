"""The tables of the router and all of its SQL: tickets as routed, and every decision ever taken (R8).

A row keeps in columns what SQL has to find; the rest of a ticket is one document that only this service reads.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from pydantic import TypeAdapter

from router.domain.classification import Classifier
from router.domain.ticket import Decision, Ticket
from shared.errors import TransientFailure, UnknownTicket
from shared.events.envelope import Event, Received
from shared.events.routing import RoutingEvent
from shared.messaging.unit_of_work import UnitOfWork
from shared.runtime.database import Connection, Database
from shared.vocabulary import Level, Team, TicketId

_TICKET: TypeAdapter[Ticket] = TypeAdapter(Ticket)

_LOAD = """
select version, document from ticket where ticket_id = any($1::text[]) order by ticket_id for update
"""
_SAVE = """
insert into ticket as kept (ticket_id, version, team, level, document)
select * from unnest($1::text[], $2::int[], $3::text[], $4::smallint[], $5::bytea[])
on conflict (ticket_id) do update
set version = excluded.version, team = excluded.team, level = excluded.level, document = excluded.document
where kept.version = excluded.version - 1
"""
_APPEND = """
insert into decision (ticket_id, number, wire_type, restricted, document)
select * from unnest($1::text[], $2::int[], $3::text[], $4::boolean[], $5::bytea[])
"""
_FIND = "select document from ticket where ticket_id = $1"
_HISTORY = """
select wire_type, document from decision
where ticket_id = $1 and (restricted or not exists (select from decision where ticket_id = $1 and restricted))
order by number
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a ticket's history: the event that announced a decision (R8)."""

    ticket_id: str
    number: int
    wire_type: str
    restricted: bool
    document: bytes


class Tickets:
    """The tickets of one unit of work, as loaded and as changed."""

    def __init__(self) -> None:
        self._versions: dict[TicketId, int] = {}
        self._tickets: dict[TicketId, Ticket] = {}
        self.changed: set[TicketId] = set()

    def loaded(self, ticket: Ticket, version: int) -> None:
        self._tickets[ticket.ticket_id] = ticket
        self._versions[ticket.ticket_id] = version

    def find(self, ticket_id: TicketId) -> Ticket | None:
        return self._tickets.get(ticket_id)

    def get(self, ticket_id: TicketId) -> Ticket:
        """
        Raises:
            UnknownTicket: its `created` has not come yet (L13).
        """
        ticket = self._tickets.get(ticket_id)
        if ticket is None:
            raise UnknownTicket
        return ticket

    def save(self, ticket: Ticket) -> None:
        if self._tickets.get(ticket.ticket_id) != ticket:
            self._tickets[ticket.ticket_id] = ticket
            self.changed.add(ticket.ticket_id)

    def to_write(self) -> list[tuple[Ticket, int]]:
        """The changed tickets with their next version, in the order in which rows are locked."""
        return [(self._tickets[one], self._versions.get(one, 0) + 1) for one in sorted(self.changed)]


class RoutingUnit(UnitOfWork):
    """What the router reads and writes for one batch."""

    service = "router"

    def __init__(self, connection: Connection, now: datetime, classifier: Classifier) -> None:
        super().__init__(connection, now)
        self.classifier = classifier
        self.policy = classifier.policy
        self.tickets = Tickets()
        self.history: list[Entry] = []

    def decide(self, decision: Decision, event: RoutingEvent, *, occurred_at: datetime) -> None:
        """Announce a decision and write it into its ticket's history."""
        self.emit(event, occurred_at=occurred_at)
        self.history.append(
            Entry(
                ticket_id=event.ticket_id,
                number=decision.number,
                wire_type=event.wire_type,
                restricted=decision.placement.restricted,
                document=self.emitted[-1].value,
            )
        )

    async def load(self, messages: Sequence[Received[Event]]) -> None:
        ids = {message.event.key for message in messages}
        for row in await self.connection.fetch(_LOAD, list(ids)) if ids else ():
            self.tickets.loaded(_TICKET.validate_json(row["document"]), row["version"])

    async def save(self) -> None:
        """
        Raises:
            TransientFailure: another transaction wrote one of the tickets first; the batch is read again.
        """
        rows = self.tickets.to_write()
        if rows:
            status = await self.connection.execute(_SAVE, *_columns(rows))
            if status != f"INSERT 0 {len(rows)}":
                raise TransientFailure("a ticket was written by another transaction")
        if self.history:
            await self.connection.execute(
                _APPEND,
                [entry.ticket_id for entry in self.history],
                [entry.number for entry in self.history],
                [entry.wire_type for entry in self.history],
                [entry.restricted for entry in self.history],
                [entry.document for entry in self.history],
            )


def _columns(rows: Iterable[tuple[Ticket, int]]) -> list[list[object]]:
    columns = [
        (
            ticket.ticket_id,
            version,
            ticket.in_force.placement.team,
            ticket.in_force.placement.level,
            _TICKET.dump_json(ticket),
        )
        for ticket, version in rows
    ]
    return [list(column) for column in zip(*columns, strict=True)]


class RoutedTickets:
    """The tickets as the API shows them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, ticket_id: str) -> Ticket | None:
        async with self._database.connection() as connection:
            document = await connection.fetchval(_FIND, ticket_id)
        return _TICKET.validate_json(document) if document is not None else None

    async def history(self, ticket_id: str) -> list[dict[str, object]]:
        """The decisions in order; of a restricted ticket those that say so, never what was said before (S5, S9)."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_HISTORY, ticket_id)
        return [{"type": row["wire_type"], **orjson.loads(row["document"])} for row in rows]

    async def page(self, *, team: Team | None, level: Level | None, after: str, limit: int) -> list[Ticket]:
        """Tickets by id, those behind the given id."""
        conditions, values = ["ticket_id > $1"], [after, limit]
        for column, wanted in (("team", team), ("level", level)):
            if wanted is not None:
                values.append(wanted)
                conditions.append(f"{column} = ${len(values)}")
        query = f"select document from ticket where {' and '.join(conditions)} order by ticket_id limit $2"
        async with self._database.connection() as connection:
            rows = await connection.fetch(query, *values)
        return [_TICKET.validate_json(row["document"]) for row in rows]
