"""The notifier's tables: what is known of tickets, every notification with its fate, and the texts that these name.

All are read back whole, so each is one document with the few columns that SQL has to find it by.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial

import structlog
from pydantic import TypeAdapter, ValidationError

from notifier.domain.desk import Desk
from notifier.domain.notification import OPEN, Audience, Channel, Notification, State, Way
from notifier.domain.roll_up import LIVE, NAMED, WARNINGS, Pace, Stream, Waiting
from notifier.domain.templates import Templates
from notifier.domain.ticket import Ticket
from notifier.domain.wording import Edition
from shared.directory import Person
from shared.errors import TransientFailure
from shared.events.envelope import Event, Received
from shared.events.routing import RoutingAssigned, RoutingDeescalated, RoutingEscalated
from shared.events.safety import HAND_OVER, SafetyIncidentAcknowledged, SafetyPageRequested, WatchEvent
from shared.events.sla import SlaBreached, SlaCorrected, SlaEvent, SlaWarning
from shared.events.ticket import PersonKind, TicketClosed, TicketMessageAdded, TicketReopened, TicketResolved
from shared.messaging.unit_of_work import UnitOfWork
from shared.runtime.database import Connection
from shared.vocabulary import Team

_TICKET = TypeAdapter(Ticket)
_NOTIFICATION = TypeAdapter(Notification)
_PACE = TypeAdapter(Pace)

log = structlog.get_logger()

_READ_TICKETS = "select ticket_id, version, document from ticket_context where ticket_id = any($1)"
_LOCK_TICKETS = _READ_TICKETS + " order by ticket_id for update"
_SAVE_TICKETS = """
insert into ticket_context as t (ticket_id, version, document)
select * from unnest($1::text[], $2::integer[], $3::bytea[]) order by 1
on conflict (ticket_id) do update set version = excluded.version, document = excluded.document
where t.version = excluded.version - 1
"""
_LOCK_OPEN_OF_TICKETS = """
select document from notification where ticket_id = any($1) and state in ('queued', 'sending', 'held', 'suppressed')
order by id for update
"""
_LOCK_OF_TICKETS = "select document from notification where ticket_id = any($1) order by id for update"
_LOCK_OPEN_PAGES = """
select document, id from notification where incident_ref = any($1) and state in ('queued', 'sending')
order by id for update
"""
_LOCK_PACES = """
select document, lane from pace
join unnest($1::text[], $2::text[], $3::text[], $4::text[]) as wanted (recipient, lane, mode, way)
    using (recipient, lane, mode, way)
order by recipient, lane, mode, way for update of pace
"""
_MAKE_PACES = """
insert into pace (recipient, lane, mode, way, document)
select *, 'null'::bytea from unnest($1::text[], $2::text[], $3::text[], $4::text[]) order by 1, 2, 3, 4
on conflict do nothing
"""
_SAVE_PACES = """
update pace set document = new.document
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[]) as new (recipient, lane, mode, way, document)
where (pace.recipient, pace.lane, pace.mode, pace.way) = (new.recipient, new.lane, new.mode, new.way)
"""
_WAITING = """
select convert_from(document, 'utf8')::json #>> '{intent,facts,severity}' as severity,
    count(*) as pages, min(created_at) as oldest
from notification where rolled_up_in = $1 and state = 'queued' group by 1
"""
_NAMED = """
select incident_ref from notification where rolled_up_in = $1 and state = 'queued' and incident_ref is not null
order by created_at, incident_ref limit $2
"""
_WARNINGS = """
with waiting as (
    select id, document, (convert_from(document, 'utf8')::json #>> '{intent,valid_until}')::timestamptz as due_at
    from notification where rolled_up_in = $1 and state = 'queued'
)
select document, count(*) over () as waiting from waiting where due_at > $2 order by due_at, id limit $3
"""
_ROLL_UP = """
update notification set next_look_at = $2 where rolled_up_in = $1 and state = 'queued'
"""
_SAID = """
select {what} from notification
where urgent = $1 and rolled_up_in is not null and state = 'queued' and next_look_at <= $2
    and ($4::text[] is null or id = any($4))
order by next_look_at limit $3 {lock}
"""
_PUT_OFF = "update notification set next_look_at = $2 where id = $1 and next_look_at <= $2"
_LOCK = "select document from notification where id = any($1) order by id for update"
_DUE = """
select due.{what} from unnest($3::text[], $4::integer[]) as free (channel, places)
cross join lateral (
    select {what} from notification
    where urgent = $1 and notification.channel = free.channel and next_look_at <= $2 and rolled_up_in is null
        and id <> all($5::text[]) and destination <> all($6::text[]) and ($7::text[] is null or id = any($7))
    order by next_look_at limit free.places {lock}
) as due
"""
_CLAIM, _COVERED = (query.format(what="document", lock="for update skip locked") for query in (_DUE, _SAID))
_DUE_IDS, _SAID_IDS = (query.format(what="id", lock="") for query in (_DUE, _SAID))
_WAITING_TOO_LONG = """
select document, id from notification
where urgent and next_look_at <= $1 and rolled_up_in is null and destination = any($2::text[]) and not others_asked
order by next_look_at limit $3
"""
_ADD = """
insert into notification
    (id, urgent, state, reason, next_look_at, ticket_id, incident_ref, created_at, document, rolled_up_in, channel, destination,
     audience)
select * from unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[],
                     $8::timestamptz[], $9::bytea[], $10::text[], $11::text[], $12::text[], $13::text[])
on conflict (id) do nothing
"""
_CHANGE = """
update notification as n set state = new.state, reason = new.reason, next_look_at = new.next_look_at,
    document = new.document, destination = new.destination, sent_at = new.sent_at, others_asked = new.others_asked
from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bytea[], $6::text[], $7::timestamptz[], $8::boolean[])
     as new (id, state, reason, next_look_at, document, destination, sent_at, others_asked)
where n.id = new.id
"""
_SOUGHT = "select document, id from notification where {} order by created_at, id limit {}"
_WAITING_FOR_A_PERSON = """
select document, id from notification
where (state = 'held' or (state = 'suppressed' and reason = 'safety_ticket')) and (created_at, id) > ($1, $2)
order by created_at, id limit $3
"""

_KEEP_EDITION = "insert into edition (version, document) values ($1, $2) on conflict do nothing"
_EDITIONS = "select version, document from edition where version = any($1)"

Wake = Callable[[bool], None]
"""Tells the urgent (True) or the other way out that something is due."""


class Tickets:
    """The tickets of one unit of work."""

    def __init__(self) -> None:
        self._known: dict[str, Ticket] = {}
        self._versions: dict[str, int] = {}
        self._changed: set[str] = set()

    def get(self, ticket_id: str) -> Ticket:
        """What is known of the ticket, which may be nothing yet."""
        return self._known.get(ticket_id) or Ticket(ticket_id)

    def save(self, ticket: Ticket) -> None:
        self._known[ticket.id] = ticket
        self._changed.add(ticket.id)

    async def read(self, connection: Connection, ticket_ids: Iterable[str], *, lock: bool = True) -> None:
        wanted = sorted(ticket_ids)
        if not wanted:
            return
        for row in await connection.fetch(_LOCK_TICKETS if lock else _READ_TICKETS, wanted):
            self._known[row["ticket_id"]] = _TICKET.validate_json(row["document"])
            self._versions[row["ticket_id"]] = row["version"]

    async def write(self, connection: Connection) -> None:
        """
        Raises:
            TransientFailure: another transaction wrote one of these tickets first.
        """
        ids = sorted(self._changed)
        if not ids:
            return
        versions = [self._versions.get(one, 0) + 1 for one in ids]
        documents = [_TICKET.dump_json(self._known[one]) for one in ids]
        written = await connection.execute(_SAVE_TICKETS, ids, versions, documents)
        if written != f"INSERT 0 {len(ids)}":
            raise TransientFailure("lost a race for a ticket")


class Notifications:
    """The notifications of one unit of work: those read, and those that are new."""

    def __init__(self) -> None:
        self._known: dict[str, Notification] = {}
        self._of: defaultdict[str, list[str]] = defaultdict(list)
        self._new: set[str] = set()
        self._changed: set[str] = set()

    def find(self, notification_id: str) -> Notification | None:
        return self._known.get(notification_id)

    def of(self, about: str) -> list[Notification]:
        """What was read or added about a ticket or an incident."""
        return [self._known[one] for one in self._of[about]]

    def open_of(self, about: str) -> list[Notification]:
        """What may still go out about a ticket or an incident."""
        return [notification for notification in self.of(about) if notification.state in OPEN]

    def add(self, notification: Notification) -> None:
        self._keep(notification)
        self._new.add(notification.id)

    def save(self, notification: Notification) -> None:
        self._known[notification.id] = notification
        self._changed.add(notification.id)

    async def read_open_of_tickets(self, connection: Connection, ticket_ids: Iterable[str]) -> None:
        if wanted := sorted(ticket_ids):
            self._read(await connection.fetch(_LOCK_OPEN_OF_TICKETS, wanted))

    async def read_of_tickets(self, connection: Connection, ticket_ids: Iterable[str]) -> None:
        if wanted := sorted(ticket_ids):
            self._read(await connection.fetch(_LOCK_OF_TICKETS, wanted))

    async def read_open_pages(self, connection: Connection, incident_refs: Iterable[str]) -> None:
        """Those that this version can read: what it cannot read costs their incident no other page (S4)."""
        if not (wanted := sorted(incident_refs)):
            return
        for row in await connection.fetch(_LOCK_OPEN_PAGES, wanted):
            try:
                self._read([row])
            except ValidationError:
                log.error("page not readable", notification_id=row["id"])

    async def lock(self, connection: Connection, notification_ids: Iterable[str]) -> None:
        if wanted := sorted(notification_ids):
            self._read(await connection.fetch(_LOCK, wanted))

    async def sought(self, connection: Connection, sought: "Sought", *, limit: int) -> Sequence[Notification]:
        """What fits, oldest first, locked."""
        query, values = sought.query(limit=limit)
        return self._read(await connection.fetch(f"{query} for update", *values))

    async def claim(
        self,
        connection: Connection,
        *,
        urgent: bool,
        due_at: datetime,
        places: Mapping[Channel, int],
        spared: Collection[str],
        among: Sequence[str] | None = None,
    ) -> Sequence[Notification]:
        """What is due on one lane, as much as there are places on each channel, locked; of these ids alone where they are given.

        Passed over is what another replica is looking at, what this unit has read already (the database does not know yet
        what became of it), and what goes to destinations that are spared.
        """
        free = {channel: count for channel, count in places.items() if count > 0}
        if not free:
            return []
        return self._read(
            await connection.fetch(
                _CLAIM,
                urgent,
                due_at,
                list(free),
                list(free.values()),
                list(self._known),
                list(spared),
                among,
            )
        )

    async def waiting_for(self, connection: Connection, roll_up_id: str) -> Waiting | None:
        """What a roll-up has to say now; None when nothing waits for it any more."""
        rows = await connection.fetch(_WAITING, roll_up_id)
        if not rows:
            return None
        named = await connection.fetch(_NAMED, roll_up_id, NAMED)
        by_severity = {row["severity"]: row["pages"] for row in rows}
        return Waiting(by_severity, min(row["oldest"] for row in rows), [row["incident_ref"] for row in named])

    async def roll_up(self, connection: Connection, roll_up_id: str, now: datetime) -> None:
        """From now on what waits for it is covered by it."""
        await connection.execute(_ROLL_UP, roll_up_id, now)

    async def warnings_for(
        self, connection: Connection, digest_id: str, now: datetime
    ) -> tuple[Sequence[Notification], int]:
        """The earliest due of what a digest has to say and still holds, and how much there is of that (T6)."""
        rows = await connection.fetch(_WARNINGS, digest_id, now, NAMED)
        return self._read(rows), rows[0]["waiting"] if rows else 0

    async def covered(
        self, connection: Connection, *, urgent: bool, due_at: datetime, limit: int, among: Sequence[str] | None = None
    ) -> Sequence[Notification]:
        """What a roll-up has said, locked, and is not marked so yet; of these ids alone where they are given."""
        return self._read(await connection.fetch(_COVERED, urgent, due_at, limit, among))

    def due_lanes(self, now: datetime) -> set[bool]:
        """The lanes, urgent or not, on which something was put that may go now."""
        touched = (self._known[one] for one in self._new | self._changed)
        return {one.is_urgent for one in touched if one.next_look_at is not None and one.next_look_at <= now}

    def names_edition(self, version: str) -> bool:
        """Whether one that was made or decided on anew is to be written from that edition."""
        decided = (self._known[one].intent.wording for one in self._new | self._changed)
        return any(wording.edition == version for wording in decided if wording)

    async def write(self, connection: Connection) -> None:
        if self._new:
            new = [self._known[one] for one in sorted(self._new)]
            await connection.execute(
                _ADD,
                [one.id for one in new],
                [one.is_urgent for one in new],
                [one.state.value for one in new],
                [one.reason for one in new],
                [one.next_look_at for one in new],
                [one.intent.ticket_id for one in new],
                [one.intent.incident_ref for one in new],
                [one.created_at for one in new],
                [_NOTIFICATION.dump_json(one) for one in new],
                [one.rolled_up_in for one in new],
                [one.intent.channel.value for one in new],
                [one.destination for one in new],
                [one.intent.audience.value for one in new],
            )
        if changed := [self._known[one] for one in sorted(self._changed - self._new)]:
            await connection.execute(
                _CHANGE,
                [one.id for one in changed],
                [one.state.value for one in changed],
                [one.reason for one in changed],
                [one.next_look_at for one in changed],
                [_NOTIFICATION.dump_json(one) for one in changed],
                [one.destination for one in changed],
                [one.sent_at for one in changed],
                [one.others_asked for one in changed],
            )

    def _read(self, rows: Iterable[Sequence[str]]) -> list[Notification]:
        found = [_NOTIFICATION.validate_json(row[0]) for row in rows]
        for notification in found:
            self._keep(notification)
        return found

    def _keep(self, notification: Notification) -> None:
        if notification.id not in self._known:
            about = notification.intent.ticket_id or notification.intent.incident_ref
            self._of[about or ""].append(notification.id)
        self._known[notification.id] = notification


class Paces:
    """How the people of one unit of work were paged lately, locked: they are counted one transaction after the other."""

    def __init__(self) -> None:
        self._known: dict[Stream, Pace] = {}
        self._changed: set[Stream] = set()

    def get(self, stream: Stream) -> Pace:
        return self._known.get(stream) or Pace(stream)

    def save(self, pace: Pace) -> None:
        self._known[pace.stream] = pace
        self._changed.add(pace.stream)

    async def read(self, connection: Connection, streams: Iterable[Stream]) -> None:
        wanted = sorted(set(streams) - self._known.keys())
        if not wanted:
            return
        columns = [list(column) for column in zip(*wanted, strict=True)]
        await connection.execute(_MAKE_PACES, *columns)
        for row in await connection.fetch(_LOCK_PACES, *columns):
            if row["document"] != b"null":
                try:
                    pace = _PACE.validate_json(row["document"])
                except ValidationError:  # then counting begins anew: that costs nobody a page (S4)
                    log.error("pace not readable", lane=row["lane"])
                    continue
                self._known[pace.stream] = pace

    async def write(self, connection: Connection) -> None:
        if changed := sorted(self._changed):
            columns = [list(column) for column in zip(*changed, strict=True)]
            await connection.execute(_SAVE_PACES, *columns, [_PACE.dump_json(self._known[one]) for one in changed])


class NotifierUnit(UnitOfWork):
    """What a batch, a look for due notifications or a person's command reads and writes."""

    service = "notifier"

    def __init__(self, connection: Connection, now: datetime, desk: Desk, wake: Wake) -> None:
        super().__init__(connection, now)
        self.desk = desk
        self.tickets = Tickets()
        self.notifications = Notifications()
        self.paces = Paces()
        self._wake = wake

    async def load(self, messages: Sequence[Received[Event]]) -> None:
        tickets, changing, corrected, incidents, streams, teams = set(), set(), set(), set(), set(), set()
        for message in messages:
            event = message.event
            if isinstance(event, SafetyPageRequested | SafetyIncidentAcknowledged):
                incidents.add(event.incident_ref)
                if isinstance(event, SafetyPageRequested):
                    ways = self.ways_of(event)
                    streams |= {Stream(way.recipient, event.lane, event.mode, way.name) for way in ways}
            elif isinstance(event, WatchEvent):
                continue
            elif isinstance(event, SlaEvent) and not isinstance(event, SlaWarning | SlaBreached | SlaCorrected):
                changing.add(event.key)
            elif not isinstance(event, TicketMessageAdded) or is_of_customer(event):
                tickets.add(event.key)
                if isinstance(event, SlaCorrected):
                    corrected.add(event.key)
                elif isinstance(event, SlaEvent | TicketResolved | TicketReopened | TicketClosed | TicketMessageAdded):
                    changing.add(event.key)
                elif isinstance(event, RoutingAssigned | RoutingEscalated | RoutingDeescalated):
                    teams |= {event.team, event.owning_team}
        await self.tickets.read(self.connection, tickets)
        warned = [message.event.ticket_id for message in messages if isinstance(message.event, SlaWarning)]
        if warned:
            teams |= {self.team_of(self.tickets.get(ticket_id)) for ticket_id in warned}
            streams |= {stream for team in teams for stream in self._warnings_to(team)}
        await self.paces.read(self.connection, streams)  # before what waits for a roll-up, as whoever counts one does
        await self.notifications.read_open_of_tickets(self.connection, changing - corrected)
        await self.notifications.read_of_tickets(self.connection, corrected)
        await self.notifications.read_open_pages(self.connection, incidents)

    async def _keep_edition(self) -> None:
        """With the first decision that names it, the edition in force is kept."""
        edition = self.desk.templates.edition
        if edition.version not in self.desk.editions and self.notifications.names_edition(edition.version):
            await self.connection.execute(_KEEP_EDITION, edition.version, edition.model_dump_json().encode())
            self.after_commit.append(lambda: self.desk.editions.update({edition.version: self.desk.templates}))

    def _warnings_to(self, team: Team) -> set[Stream]:
        ways = (Channel.EMAIL, *self.desk.directory.team_channels(team))
        return {Stream(f"{Audience.TEAM}/{team}", WARNINGS, LIVE, way.value) for way in ways}

    def team_of(self, ticket: Ticket) -> Team:
        """The team to write to about a ticket; while nobody has routed it, those who triage."""
        return ticket.routing.people if ticket.routing else self.desk.policy.routing.triage.team

    def ways_of(self, page: SafetyPageRequested) -> list[Way]:
        """Every way to everybody who holds one of the page's roles or is named by it, each once, and to all of them together;
        empty where there is nobody."""
        people = [person.id for role in page.roles for person in self._holders(page, role)]
        ways = [way for person in dict.fromkeys([*people, *page.persons]) for way in self.desk.ways_to(person)]
        return [*ways, *self.desk.together()] if ways else []

    def _holders(self, page: SafetyPageRequested, role: str) -> tuple[Person, ...]:
        """Who is on duty now, and whoever was since the epoch began: nobody is dropped at a hand-over (S4)."""
        directory, since = self.desk.directory, page.on_duty_since or self.now
        if page.reason_code == HAND_OVER:
            return directory.relieved_at(role, since)
        return directory.on_duty_since(role, since, self.now)

    async def read_editions(self, notifications: Iterable[Notification]) -> None:
        """The texts that these name, as they were when it was decided on them (HD-68)."""
        named = {one.intent.wording.edition for one in notifications if one.intent.wording}
        unknown = named - self.desk.editions.keys() - {self.desk.templates.edition.version}
        if not unknown:
            return
        for row in await self.connection.fetch(_EDITIONS, sorted(unknown)):
            try:
                self.desk.editions[row["version"]] = Templates(Edition.model_validate_json(row["document"]))
            except ValueError:  # then its messages wait for a person, and the others go on
                log.exception("edition unreadable", edition=row["version"])

    async def save(self) -> None:
        await self.tickets.write(self.connection)
        await self._keep_edition()
        await self.notifications.write(self.connection)
        await self.paces.write(self.connection)
        for urgent in self.notifications.due_lanes(self.now):
            self.after_commit.append(partial(self._wake, urgent))


def is_of_customer(message: TicketMessageAdded) -> bool:
    """Whether a customer wrote it, and not a machine for them: the only messages that change anything here."""
    return message.author.kind is PersonKind.CUSTOMER and not message.automated


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """Which notifications are looked for; what is None is not asked. `until` is not included."""

    ticket_id: str | None = None
    incident_ref: str | None = None
    state: State | None = None
    channel: Channel | None = None
    audience: Audience | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[datetime, str] | None = None

    def query(self, *, limit: int) -> tuple[str, list[object]]:
        """Statement and values: only what is asked stands in it, so that the index of a ticket or an incident is used."""
        conditions, values = [], list[object]()
        for name, value in asdict(self).items():
            if value is None:
                continue
            if name == "after":
                conditions.append(f"(created_at, id) > (${len(values) + 1}, ${len(values) + 2})")
                values += value
                continue
            values.append(value)
            column = {"since": "created_at >=", "until": "created_at <"}.get(name, f"{name} =")
            conditions.append(f"{column} ${len(values)}")
        values.append(limit)
        return _SOUGHT.format(" and ".join(conditions) or "true", f"${len(values)}"), values


@dataclass(frozen=True, slots=True)
class Listing:
    """A part of a list, oldest first."""

    notifications: Sequence[Notification]
    unread: Sequence[str]
    """The ids of those that this version cannot read."""
    last: str | None
    """The id of the last one, read or not, where there may be more."""


async def listed(connection: Connection, sought: Sought, *, limit: int) -> Listing:
    """What fits."""
    query, values = sought.query(limit=limit)
    return _listing(await connection.fetch(query, *values), limit)


async def waiting_too_long(
    connection: Connection, *, since: datetime, destinations: Collection[str], limit: int
) -> Sequence[Notification]:
    """Pages that were due by then and go to these destinations, for which nobody else was looked for; not locked.

    What this version cannot read is passed over: it is found when it is due.
    """
    return _listing(await connection.fetch(_WAITING_TOO_LONG, since, list(destinations), limit), limit).notifications


async def place_of(connection: Connection, notification_id: str) -> tuple[datetime, str] | None:
    """Where a notification stands in the order of the lists."""
    created_at = await connection.fetchval("select created_at from notification where id = $1", notification_id)
    return (created_at, notification_id) if created_at is not None else None


async def due_ids(
    connection: Connection,
    *,
    urgent: bool,
    due_at: datetime,
    places: Mapping[Channel, int],
    spared: Collection[str],
    covered: int,
) -> list[str]:
    """What a look at a lane takes, unread."""
    channels, free = list(places), [max(0, count) for count in places.values()]
    due = await connection.fetch(_DUE_IDS, urgent, due_at, channels, free, [], list(spared), None)
    said = await connection.fetch(_SAID_IDS, urgent, due_at, covered, None)
    return [row["id"] for row in (*due, *said)]


async def put_off(connection: Connection, notification_id: str, until: datetime) -> None:
    """Look at it again then; nothing else of it changes, and it need not be readable."""
    await connection.execute(_PUT_OFF, notification_id, until)


async def waiting_for_a_person(connection: Connection, *, after: tuple[datetime, str], limit: int) -> Listing:
    """What is held, and what is suppressed because of safety, from a place on."""
    return _listing(await connection.fetch(_WAITING_FOR_A_PERSON, *after, limit), limit)


def _listing(rows: Sequence[Mapping[str, str]], limit: int) -> Listing:
    found, unread = [], []
    for row in rows:
        try:
            found.append(_NOTIFICATION.validate_json(row["document"]))
        except ValidationError:
            unread.append(row["id"])
    return Listing(found, unread, rows[-1]["id"] if len(rows) == limit else None)
