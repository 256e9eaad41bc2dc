"""The tables of the sla-monitor and all of its SQL: tickets with their clocks, and when each has to be looked at next.

A ticket's facts and what was told of its clocks are one document that only this service reads. Beside it stands the plan: what is
told as time passes if nothing more is heard. The timer is narrow; a look that tells what is planned writes nothing else but that
it has looked, and whoever reads the document next adds what it told. A handler locks the ticket's row, then its timer; a look
locks timers, then takes of their tickets those that nobody holds. A look never waits for a row, so nobody waits in a circle.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, Self

from pydantic import TypeAdapter, ValidationError

from shared.errors import TransientFailure, UnknownTicket
from shared.events.envelope import Event, Received
from shared.events.sla import SlaBreached, SlaEvent, SlaWarning
from shared.events.ticket import TicketClosed
from shared.events.topics import Lane
from shared.messaging.unit_of_work import UnitOfWork
from shared.policy.business_time import Calendar
from shared.policy.model import Clocks
from shared.runtime.database import Connection, Database
from sla_monitor.domain.plan import Course, Deadline, Plan, catch_up
from sla_monitor.domain.targets import Rules, RulesKey
from sla_monitor.domain.ticket import Outlook, Ticket

_TICKET: TypeAdapter[Ticket] = TypeAdapter(Ticket)

_LOAD = """
with recursive wanted (ticket_id) as (
    select unnest($1::text[])
    union
    select kept.merged_into from wanted join ticket_clock as kept using (ticket_id) where kept.merged_into is not null
)
select version, document from ticket_clock
where ticket_id in (select ticket_id from wanted) order by ticket_id for update
"""
# The lane is written out, so that a prepared plan may use the lane's own index. The bound below keeps a look away from the dead
# rows of what was told before, which an old snapshot keeps in the index.
_DUE = {
    lane: f"""
select ticket_id, look_at, looks from timer
where lane = {lane:d} and look_at <= $1 and look_at >= coalesce($2::timestamptz, '-infinity')
order by look_at limit $3
for update skip locked
"""
    for lane in Lane
}
_OLDEST = {
    lane: f"""
select ticket_id, look_at from timer
where lane = {lane:d} and look_at >= coalesce($1::timestamptz, '-infinity')
order by look_at limit 1
"""
    for lane in Lane
}
_TAKE = "select ticket_id, version, document from ticket_clock where ticket_id = any($1::text[]) for update skip locked"
_SAVE = """
insert into ticket_clock as kept (ticket_id, version, document, merged_into, plan)
select * from unnest($1::text[], $2::int[], $3::bytea[], $4::text[], $5::bytea[])
on conflict (ticket_id) do update
set version = excluded.version, document = excluded.document, merged_into = excluded.merged_into, plan = excluded.plan
where kept.version = excluded.version - 1
"""
_ARM = """
insert into timer as kept (ticket_id, look_at, lane)
select * from unnest($1::text[], $2::timestamptz[], $3::smallint[])
on conflict (ticket_id) do update set look_at = excluded.look_at, lane = excluded.lane, is_put_off = false, looks = null
where kept.look_at is distinct from excluded.look_at or kept.lane <> excluded.lane or kept.is_put_off or kept.looks is not null
"""
_PLANS = "select ticket_id, plan from ticket_clock where ticket_id = any($1::text[]) and plan is not null"
# Without a next look the row stays, so that it is known what was told.
_LOOKED = """
update timer set look_at = next.look_at, looks = array_append(looks, $3), is_put_off = false
from unnest($1::text[], $2::timestamptz[]) as next (ticket_id, look_at) where timer.ticket_id = next.ticket_id
"""
# A statement of its own, after the ticket's row is locked: it sees what the look in hand has told, for which it waits.
_LOOKS = """
select ticket_id, looks, case when looks is not null then plan end as plan
from timer join ticket_clock using (ticket_id) where ticket_id = any($1::text[]) order by ticket_id for update of timer
"""
_PUT_OFF = """
update timer set look_at = later.look_at, is_put_off = true
from unnest($1::text[], $2::timestamptz[]) as later (ticket_id, look_at) where timer.ticket_id = later.ticket_id
"""
_COUNT_PUT_OFF = "select count(*) from timer where is_put_off"
_DISARM = "delete from timer where ticket_id = any($1::text[])"
_HOLD = "select version, document from ticket_clock where ticket_id = any($1::text[]) order by ticket_id for update"
_PAGE = "select ticket_id, document from ticket_clock where ticket_id > $1 order by ticket_id limit $2"
_ALL_RULES = "select policy_version, calendar, clocks, compiled from rules"
_FIND = "select document from ticket_clock where ticket_id = $1"
_KEEP_RULES = """
insert into rules (policy_version, calendar, clocks, compiled) values ($1, $2, $3, $4) on conflict do nothing
"""
_READ_RULES = """
select policy_version, calendar, clocks, compiled from rules
where (policy_version, calendar) in (select * from unnest($1::text[], $2::text[]))
"""


class Due(NamedTuple):
    """A timer that is due, or will be next."""

    ticket_id: str
    look_at: datetime
    lane: Lane
    looks: tuple[datetime, ...] = ()
    """The looks that told what was planned, since the ticket was written."""


class KeptRules(NamedTuple):
    """Rules as they are written down, and as another process gets them."""

    policy_version: str
    calendar: str
    clocks: str
    compiled: bytes

    @classmethod
    def of(cls, rules: Rules) -> Self:
        return cls(*rules.key, rules.clocks.model_dump_json(), rules.calendar.to_bytes())

    @property
    def key(self) -> RulesKey:
        return self.policy_version, self.calendar

    def read(self) -> Rules:
        return Rules(self.policy_version, Clocks.model_validate_json(self.clocks), Calendar.from_bytes(self.compiled))


class Rulebook(Mapping[RulesKey, Rules]):
    """The rules by which any clock runs: those in force, and those of before that running clocks keep (L11).

    They are kept with the calendar as it was compiled: neither an edited policy nor newer holidays or time zone data move a due
    time by themselves. One for a process.
    """

    def __init__(self, in_force: Rules) -> None:
        self.in_force = in_force
        self._known = {in_force.key: in_force}
        self._is_kept = False
        self._kept: KeptRules | None = None

    def __getitem__(self, key: RulesKey) -> Rules:
        return self._known[key]

    def __iter__(self) -> Iterator[RulesKey]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    async def read(self, connection: Connection, keys: Iterable[RulesKey]) -> None:
        """Make these rules known; those that are nowhere stay unknown, and the clocks that run by them cannot be looked at."""
        if missing := set(keys) - self._known.keys():
            versions, calendars = zip(*missing, strict=True)
            for row in await connection.fetch(_READ_RULES, list(versions), list(calendars)):
                rules = KeptRules(**row).read()
                self._known[rules.key] = rules

    async def keep(self, unit: UnitOfWork) -> None:
        """Write down the rules in force, in the first transaction that lets clocks run by them."""
        if not self._is_kept:
            await unit.connection.execute(_KEEP_RULES, *self.kept)
            unit.after_commit.append(self._was_kept)

    def _was_kept(self) -> None:
        self._is_kept = True

    @property
    def kept(self) -> KeptRules:
        """The rules in force as they are written down."""
        if self._kept is None:
            self._kept = KeptRules.of(self.in_force)
        return self._kept


class Tickets:
    """The tickets of one unit of work, as loaded and as changed."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        self._tickets: dict[str, Ticket] = {}
        self.changed: set[str] = set()
        self.outlook: dict[str, Outlook] = {}
        self.looked: dict[str, datetime | None] = {}
        self.later: dict[str, datetime] = {}

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
        if ticket is None or not ticket.is_known():
            raise UnknownTicket
        return ticket

    def expect(self, ticket_id: str) -> None:
        """Keep a ticket that another one was merged into, if it is yet to come: what is said meanwhile waits for it (HD-29).

        It is a row, so that its coming in another transaction is noticed.
        """
        if ticket_id not in self._tickets:
            self.save(Ticket(ticket_id, ""), Outlook())

    def heirs(self, ticket: Ticket) -> list[Ticket]:
        """The tickets that it was merged into, one after the other; the last one goes on (HD-30)."""
        return self._chain(ticket)[1:]

    def circle(self, ticket: Ticket) -> list[Ticket]:
        """The tickets that were merged into one another up to this one again; empty where the chain has an end (HD-30)."""
        chain = self._chain(ticket)
        return chain if chain[-1].merged_into == ticket.ticket_id else []

    def missing(self) -> set[str]:
        """What tickets in hand were merged into and is not in hand."""
        into = {ticket.merged_into for ticket in self._tickets.values() if ticket.merged_into is not None}
        return into - self._tickets.keys()

    def _chain(self, ticket: Ticket) -> list[Ticket]:
        """The ticket, and what it was merged into; one that went to safety since goes on by itself (S1, S6)."""
        chain = [ticket]
        while (into := chain[-1].merged_into) is not None and not chain[-1].is_of_safety():
            known = self._tickets.get(into)
            if known is None or any(one is known for one in chain):
                break
            chain.append(known)
        return chain

    def save(self, ticket: Ticket, outlook: Outlook) -> None:
        """Keep a ticket, and what time alone will change of it."""
        self._tickets[ticket.ticket_id] = ticket
        self.changed.add(ticket.ticket_id)
        self.outlook[ticket.ticket_id] = outlook

    def leave(self, ticket_id: str, *, look_at: datetime | None) -> None:
        """Leave a ticket as it is kept: what was planned is told, and this is the time of what is planned next."""
        self.looked[ticket_id] = look_at

    def put_off(self, ticket_id: str, *, look_at: datetime) -> None:
        """Leave a ticket as it was loaded and look at it later."""
        self.changed.discard(ticket_id)
        self.outlook.pop(ticket_id, None)
        self.later[ticket_id] = look_at

    def lane_of(self, ticket_id: str) -> Lane:
        """What stands with safety is looked at first (S1)."""
        return Lane.URGENT if self._tickets[ticket_id].is_of_safety() else Lane.BULK

    def to_write(self) -> list[tuple[str, int, bytes, str | None, bytes | None]]:
        """The changed tickets with their next version, in the order in which rows are locked."""
        rows = []
        for one in sorted(self.changed):
            ticket = self._tickets[one]
            plan = Plan.of(ticket, self.outlook[one])
            document = _TICKET.dump_json(ticket, exclude_defaults=True)
            version = self._versions.get(one, 0) + 1
            rows.append((one, version, document, ticket.merged_into, plan.to_bytes() if plan else None))
        return rows

    def rules(self) -> set[RulesKey]:
        """What the clocks of these tickets run by."""
        return {key for ticket in self._tickets.values() for key in ticket.rules()}


class SlaUnit(UnitOfWork):
    """What the sla-monitor reads and writes for one batch or one look."""

    service = "sla-monitor"

    def __init__(self, connection: Connection, now: datetime, book: Rulebook) -> None:
        super().__init__(connection, now)
        self.book = book
        self.tickets = Tickets()

    @property
    def rules(self) -> Rules:
        """Those in force, by which new clocks start."""
        return self.book.in_force

    async def load(self, messages: Sequence[Received[Event]]) -> None:
        ids = {message.event.key for message in messages}
        ids |= {
            into for message in messages if isinstance(message.event, TicketClosed) and (into := message.event.into)
        }
        asked: set[str] = set()
        while ids:  # once more only where a merge was committed since the query began
            await self.load_tickets(_LOAD, list(ids))
            asked |= ids
            ids = self.tickets.missing() - asked

    async def load_tickets(self, query: str, *values: object) -> list[Ticket]:
        """Read and lock tickets, with the rules that their clocks run by."""
        found = []
        for row in await self.connection.fetch(query, *values):
            ticket = _TICKET.validate_json(row["document"])
            self.tickets.loaded(ticket, row["version"])
            found.append(ticket)
        if unreadable := await self._catch_up(found):
            raise ValueError(f"{len(unreadable)} plans cannot be read")
        await self.book.read(self.connection, self.tickets.rules())
        return found

    async def _catch_up(self, tickets: Sequence[Ticket]) -> list[str]:
        """Lock the timers of locked tickets; add what was told as planned since they were written.

        Answers the ids of those whose plan cannot be read.
        """
        unreadable: list[str] = []
        if not tickets:
            return unreadable
        for row in await self.connection.fetch(_LOOKS, [ticket.ticket_id for ticket in tickets]):
            ticket_id, looks = row["ticket_id"], row["looks"]
            if looks is not None:
                try:
                    plan = Plan.from_bytes(row["plan"])
                    catch_up(self.tickets.get(ticket_id), plan, looks, partial(self._planned_id, ticket_id))
                except (ValueError, TypeError, LookupError):
                    unreadable.append(ticket_id)
        return unreadable

    async def plans(self, due: Sequence[Due]) -> dict[str, bytes]:
        """What is planned to be told of the tickets of these timers."""
        rows = await self.connection.fetch(_PLANS, [one.ticket_id for one in due]) if due else []
        return {row["ticket_id"]: row["plan"] for row in rows}

    def _planned_id(self, ticket_id: str, course: Course, deadline: Deadline) -> str:
        return self.id_of(event_class_of(deadline.threshold), course.seed(ticket_id, deadline))

    async def due(
        self, limit: int, *, lanes: Iterable[Lane] = Lane, low: Mapping[Lane, datetime] | None = None
    ) -> list[Due]:
        """Lock timers that are due and that no other replica looks at: lane by lane, the earliest first, none below `low`."""
        due: list[Due] = []
        for lane in lanes:
            if len(due) < limit:
                bound = low.get(lane) if low else None
                rows = await self.connection.fetch(_DUE[lane], self.now, bound, limit - len(due))
                due += [Due(row["ticket_id"], row["look_at"], lane, tuple(row["looks"] or ())) for row in rows]
        return due

    async def take(self, due: Sequence[Due]) -> tuple[list[Ticket], list[str]]:
        """The tickets of these timers, in their order, and the ids of those that cannot be read; what a handler has in hand
        is left to the next look."""
        if not due:
            return [], []
        taken, unreadable = {}, []
        for row in await self.connection.fetch(_TAKE, [one.ticket_id for one in due]):
            try:
                ticket = _TICKET.validate_json(row["document"])
            except ValidationError:
                unreadable.append(row["ticket_id"])
            else:
                self.tickets.loaded(ticket, row["version"])
                taken[ticket.ticket_id] = ticket
        for ticket_id in await self._catch_up(list(taken.values())):
            del taken[ticket_id]
            unreadable.append(ticket_id)
        await self.book.read(self.connection, self.tickets.rules())
        return [taken[one.ticket_id] for one in due if one.ticket_id in taken], unreadable

    async def hold(self, ticket_ids: Sequence[str]) -> list[Ticket]:
        """These tickets, in the order in which rows are locked."""
        return await self.load_tickets(_HOLD, list(ticket_ids))

    async def claim(self, limit: int) -> list[Ticket]:
        """Tickets that have to be looked at, those due first; what another replica holds is left to it."""
        return (await self.take(await self.due(limit)))[0]

    async def oldest(self, lane: Lane, low: datetime | None = None) -> Due | None:
        """The earliest timer of a lane, whoever holds it."""
        return await _oldest(self.connection, lane, low)

    async def save(self) -> None:
        """
        Raises:
            TransientFailure: another transaction wrote one of the tickets first; the work is done again.
        """
        if rows := self.tickets.to_write():
            await self.book.keep(self)
            status = await self.connection.execute(_SAVE, *(list(column) for column in zip(*rows, strict=True)))
            if status != f"INSERT 0 {len(rows)}":
                raise TransientFailure("a ticket was written by another transaction")
        outlooks = self.tickets.outlook
        armed = {one: outlook.look_at for one, outlook in outlooks.items() if outlook.look_at is not None}
        if armed:
            lanes = [self.tickets.lane_of(one) for one in armed]
            await self.connection.execute(_ARM, list(armed), list(armed.values()), lanes)
        if disarmed := list(outlooks.keys() - armed.keys()):
            await self.connection.execute(_DISARM, disarmed)
        if later := self.tickets.later:
            await self.connection.execute(_PUT_OFF, list(later), list(later.values()))
        if looked := self.tickets.looked:
            await self.connection.execute(_LOOKED, list(looked), list(looked.values()), self.now)


class Timers:
    """The timers as the watchdog sees them: what is due, whoever holds it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> tuple[dict[Lane, Due | None], int]:
        """The earliest timer of each lane, and how many looks were put off."""
        async with self._database.connection() as connection:
            oldest = {lane: await _oldest(connection, lane, None) for lane in Lane}
            return oldest, await connection.fetchval(_COUNT_PUT_OFF)


async def _oldest(connection: Connection, lane: Lane, low: datetime | None) -> Due | None:
    row = await connection.fetchrow(_OLDEST[lane], low)
    return Due(row["ticket_id"], row["look_at"], lane) if row else None


class ClockedTickets:
    """The tickets as the API shows them."""

    def __init__(self, database: Database, book: Rulebook) -> None:
        self._database = database
        self.book = book

    async def find(self, ticket_id: str) -> Ticket | None:
        async with self._database.connection() as connection:
            document = await connection.fetchval(_FIND, ticket_id)
            if document is None:
                return None
            ticket = _TICKET.validate_json(document)
            await self.book.read(connection, ticket.rules())
        return ticket if ticket.is_known() else None

    async def pages(self, size: int) -> AsyncIterator[list[bytes]]:
        """All documents by ticket id, without locks, each page as it is when it is read."""
        after = ""
        while True:
            async with self._database.connection() as connection:
                rows = await connection.fetch(_PAGE, after, size)
            if rows:
                yield [row["document"] for row in rows]
            if len(rows) < size:
                return
            after = rows[-1]["ticket_id"]

    async def kept_rules(self) -> tuple[KeptRules, ...]:
        """All rules by which any clock runs: those in force and those of before."""
        async with self._database.connection() as connection:
            kept = {found.key: found for row in await connection.fetch(_ALL_RULES) if (found := KeptRules(**row))}
        return tuple(({self.book.kept.key: self.book.kept} | kept).values())


def event_class_of(threshold: float | None) -> type[SlaEvent]:
    """The event that tells a threshold, or without one the due time."""
    return SlaBreached if threshold is None else SlaWarning


def read_ticket(document: bytes) -> Ticket:
    return _TICKET.validate_json(document)
