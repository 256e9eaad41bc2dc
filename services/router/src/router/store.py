"""The tables of the router and all of its SQL: tickets as routed, and every decision ever taken (R8).

A row keeps in columns what SQL has to find; the rest of a ticket is one document that only this service reads.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

import orjson
from pydantic import TypeAdapter

from router.domain.assignment import Waiting
from router.domain.classification import NOTHING, Classification, Classifier, Explanation, Reading, UpstreamWords
from router.domain.company import Kind, Sighting, window_of
from router.domain.ticket import Decision, Ticket
from shared.errors import TransientFailure, UnknownTicket
from shared.events.envelope import SAFETY_BRIDGE, Event, Received
from shared.events.routing import RoutingEvent
from shared.events.ticket import TicketClosed, TicketCreated
from shared.messaging.unit_of_work import UnitOfWork
from shared.policy.model import Policy, Several
from shared.runtime.database import Connection, Database
from shared.vocabulary import Category, Level, Team, TicketId, Tier

_TICKET: TypeAdapter[Ticket] = TypeAdapter(Ticket)
_EXPLANATION: TypeAdapter[Explanation] = TypeAdapter(Explanation)

_LOAD = """
select version, document from ticket where ticket_id = any($1::text[]) order by ticket_id for update
"""
_SAVE = """
insert into ticket as kept (ticket_id, version, team, level, assignee, is_assignable, is_load, due_at, created_at, document)
select * from unnest($1::text[], $2::int[], $3::text[], $4::smallint[], $5::text[], $6::boolean[], $7::boolean[],
                     $8::timestamptz[], $9::timestamptz[], $10::bytea[])
on conflict (ticket_id) do update
set version = excluded.version, team = excluded.team, level = excluded.level, assignee = excluded.assignee,
    created_at = excluded.created_at,
    is_assignable = excluded.is_assignable, is_load = excluded.is_load, due_at = excluded.due_at, document = excluded.document
where kept.version = excluded.version - 1
"""
_APPEND = """
insert into decision (ticket_id, number, wire_type, restricted, document, explanation)
select * from unnest($1::text[], $2::int[], $3::text[], $4::boolean[], $5::bytea[], $6::bytea[])
"""
_SIGHTED_AT_MOST = 50
_SIGHTED = """
select seen.kind, seen.key, seen.ticket_id, seen.requester_id, seen.at, seen.text, seen.counts
from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) as asked (kind, key, since, until)
cross join lateral (
    select * from sighting
    where sighting.kind = asked.kind and sighting.key = asked.key and sighting.at between asked.since and asked.until
      and (sighting.counts or sighting.kind <> 'ip')
    order by sighting.at desc limit $5
) as seen
"""
_SIGHTED_OF = "select kind, key, at from sighting where kind = 'ip' and ticket_id = any($1::text[])"
_ONE_AT_A_TIME = """
select pg_advisory_xact_lock(hashtextextended(key, 7261)) from (select unnest($1::text[]) as key order by 1) as keys
"""
_SIGHT = """
insert into sighting (kind, key, ticket_id, requester_id, at, text, counts)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bytea[], $7::boolean[])
on conflict (kind, key, at, ticket_id) do update set counts = excluded.counts where sighting.counts <> excluded.counts
"""
_FORGET_TICKETS = "delete from sighting where ticket_id = any($1::text[])"
_FORGET_WORDS = "update decision set explanation = null where ticket_id = any($1::text[]) and explanation is not null"
_RESTRICTED = "select distinct ticket_id from decision where restricted and ticket_id = any($1::text[])"
_FORGET = "delete from sighting where kind = $1 and at < $2"
_REMEMBER = """
insert into feedback (ticket_id, at, classifier_version, confidence, was_category, was_subcategory, category, subcategory)
select * from unnest($1::text[], $2::timestamptz[], $3::text[], $4::real[], $5::text[], $6::text[], $7::text[], $8::text[])
"""
_ALONE = "select pg_try_advisory_xact_lock(7261, 1)"
_KEEP_POLICY = "insert into policy_version (version, document) values ($1, $2) on conflict do nothing"
_POLICY = "select document from policy_version where version = $1"
_EXPLANATIONS = """
select number, wire_type, document, explanation from decision
where ticket_id = $1 and not exists (select from decision where ticket_id = $1 and restricted)
order by number
"""
_CORRECTED = """
select classifier_version, was_category, category, count(*) as corrections, avg(confidence) as confidence from feedback
where at >= $1 group by 1, 2, 3 order by 1, 4 desc, 2, 3
"""
_LOADS = """
select team, assignee, count(*) filter (where is_load) as carried from ticket
where is_assignable and assignee is not null and team = any($1::text[]) group by team, assignee
"""
_WAITING = """
select ticket_id, due_at, created_at from ticket
where is_assignable and team = $1 and (assignee is null or not (assignee = any($2::text[])))
order by due_at nulls last, created_at limit $3
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
    explanation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a person corrected: a ticket as it was classified, and as it is (the classifier's mistakes, for the score card)."""

    before: Ticket
    after: Classification
    at: datetime


@dataclass(frozen=True, slots=True)
class Judged:
    """What the words of a new ticket say, and under which keys others have the same trouble (E6)."""

    reading: Reading
    classification: Classification
    troubles: tuple[str, ...]


def judge(message: Received[TicketCreated], classifier: Classifier) -> Judged:
    """A ticket of the safety-bridge is restricted: its words are nobody's business here (S9)."""
    created = message.event
    texts = (created.subject, created.body)
    if message.envelope.source == SAFETY_BRIDGE:
        return Judged(NOTHING, classifier.classify(("",), NOTHING, None, Tier.FREE), ())
    has_upstream = created.category is not None or created.subcategory is not None
    upstream = UpstreamWords(created.category, created.subcategory) if has_upstream else None
    reading = classifier.read(*texts)
    classification = classifier.classify(texts, reading, upstream, created.tier or Tier.FREE)
    is_shared = classification.category in (Category.TECHNICAL, Category.ACCOUNT)
    return Judged(reading, classification, classifier.troubles(texts, classification) if is_shared else ())


class Sightings:
    """Who was seen with what, of one unit of work: as loaded and as added."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Kind, str], dict[TicketId, Sighting]] = defaultdict(dict)
        self.added: dict[tuple[Kind, str, TicketId], Sighting] = {}
        self.forgotten: set[TicketId] = set()

    def loaded(self, sighting: Sighting) -> None:
        self._seen[sighting.kind, sighting.key].setdefault(sighting.ticket_id, sighting)

    def see(self, sighting: Sighting) -> list[Sighting]:
        """Add a ticket to those under its key; answers them all."""
        under_key = self._seen[sighting.kind, sighting.key]
        if under_key.get(sighting.ticket_id) != sighting:
            under_key[sighting.ticket_id] = sighting
            self.added[sighting.kind, sighting.key, sighting.ticket_id] = sighting
        return list(under_key.values())

    def forget(self, ticket_id: TicketId) -> None:
        """A restricted ticket is seen with nobody (S9)."""
        self.forgotten.add(ticket_id)
        for under_key in self._seen.values():
            under_key.pop(ticket_id, None)
        self.added = {place: sighting for place, sighting in self.added.items() if sighting.ticket_id != ticket_id}

    def others(self, policy: Policy) -> set[TicketId]:
        """The tickets that may have to hear of a new one: of one trouble those before it was known as one (E6)."""
        return {
            ticket_id
            for (kind, _), under_key in self._seen.items()
            if kind is Kind.IP
            or (kind is Kind.TROUBLE and _may_be_news(under_key.values(), policy.escalation.same_trouble))
            for ticket_id in under_key
        }


def _may_be_news(seen: Iterable[Sighting], trouble: Several) -> bool:
    """Whether some of them may not know of each other yet: twice as many as it takes do, also when two batches met."""
    return len({sighting.requester_id for sighting in seen}) < 2 * trouble.requesters


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

    def circle(self, ticket: Ticket) -> list[Ticket]:
        """The tickets that were merged into one another up to this one again; empty where the chain has an end (HD-30)."""
        chain = [ticket]
        while (merge := chain[-1].merge) is not None and (known := self._tickets.get(merge.into)) is not None:
            if known.ticket_id == ticket.ticket_id:
                return chain
            if known in chain:
                break
            chain.append(known)
        return []

    def missing(self) -> set[TicketId]:
        """What tickets in hand were merged into and is not in hand."""
        return {one.merge.into for one in self._tickets.values() if one.merge is not None} - self._tickets.keys()

    def forget(self, hidden: TicketId) -> None:
        """From now on the others do not name a ticket that was restricted (S9)."""
        for ticket_id, ticket in self._tickets.items():
            self._tickets[ticket_id] = ticket.without({hidden})

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
        self.sightings = Sightings()
        self.history: list[Entry] = []
        self.feedback: list[Feedback] = []
        self._judged: dict[bytes, Judged] = {}

    def decide(
        self,
        decision: Decision,
        event: RoutingEvent,
        *,
        occurred_at: datetime,
        explanation: Explanation | None = None,
        seed: str | None = None,
    ) -> None:
        """Announce a decision and write it into its ticket's history; its words stay there (R8, S5)."""
        self.emit(event, occurred_at=occurred_at, seed=seed)
        self.history.append(
            Entry(
                ticket_id=event.ticket_id,
                number=decision.number,
                wire_type=event.wire_type,
                restricted=decision.placement.restricted,
                document=self.emitted[-1].value,
                explanation=_EXPLANATION.dump_json(explanation) if explanation else None,
            )
        )

    async def load(self, messages: Sequence[Received[Event]]) -> None:
        ids = {message.event.key for message in messages}
        if not ids:
            return
        await self._load_sightings(messages, ids)
        asked: set[str] = set()
        into = {into for one in messages if isinstance(one.event, TicketClosed) and (into := one.event.into)}
        ahead: set[str] = {*ids, *self.sightings.others(self.policy), *into}
        while ahead:
            await self.load_tickets(ahead)
            asked |= ahead
            ahead = {*(self.tickets.missing() - asked)} if into else set()

    async def load_tickets(self, ids: Iterable[str]) -> None:
        """Read and lock these tickets, in the order of their ids."""
        rows = await self.connection.fetch(_LOAD, sorted(ids))
        tickets = await _discreet([_TICKET.validate_json(row["document"]) for row in rows], self.connection)
        for row, ticket in zip(rows, tickets, strict=True):
            self.tickets.loaded(ticket, row["version"])

    async def _load_sightings(self, messages: Sequence[Received[Any]], ids: set[str]) -> None:
        """Under every key that the messages touch. Disputes of one intellectual property are looked at one at a time, so that
        two of them that come at once know of each other (E2)."""
        created = [message for message in messages if isinstance(message.event, TicketCreated)]
        asked: dict[tuple[Kind, str], list[datetime]] = defaultdict(list)
        for message in created:
            for kind, key in self._keys_of(message):
                asked[kind, key].append(message.occurred_at)
        if len(created) < len(messages):
            for row in await self.connection.fetch(_SIGHTED_OF, list(ids)):
                asked[Kind(row["kind"]), row["key"]].append(row["at"])
        properties = [key for kind, key in asked if kind is Kind.IP]
        if properties:
            await self.connection.execute(_ONE_AT_A_TIME, properties)
        rows = await self.connection.fetch(
            _SIGHTED,
            [kind for kind, _ in asked],
            [key for _, key in asked],
            [min(times) - window_of(kind, self.policy) for (kind, _), times in asked.items()],
            [max(times) + window_of(kind, self.policy) for (kind, _), times in asked.items()],
            max(_SIGHTED_AT_MOST, self.policy.hygiene.flood_tickets),
        )
        for row in rows:
            self.sightings.loaded(Sighting(Kind(row["kind"]), *list(row.values())[1:]))

    def _keys_of(self, message: Received[TicketCreated]) -> Iterator[tuple[Kind, str]]:
        """Under which keys a new ticket will be seen."""
        created = message.event
        yield Kind.REQUESTER, created.requester.id
        if created.ip is not None:
            yield Kind.IP, created.ip.id
        for key in self.judged(message).troubles:
            yield Kind.TROUBLE, key

    def judged(self, message: Received[TicketCreated]) -> Judged:
        """What the classifier makes of a new ticket; asked for when its rows are read and when it is handled, made once."""
        known = self._judged.get(message.envelope.identity)
        if known is None:
            known = self._judged[message.envelope.identity] = judge(message, self.classifier)
        return known

    async def loads(self, teams: Iterable[Team]) -> dict[Team, dict[str, int]]:
        """How many tickets with a running clock each person of these teams has (HD-58)."""
        found: dict[Team, dict[str, int]] = {team: {} for team in teams}
        for row in await self.connection.fetch(_LOADS, list(found)):
            found[Team(row["team"])][row["assignee"]] = row["carried"]
        return found

    async def waiting(self, team: Team, members: Iterable[str], limit: int) -> list[Waiting]:
        """Open tickets of a team that nobody of it has, the earliest due first (HD-59, HD-60)."""
        rows = await self.connection.fetch(_WAITING, team, list(members), limit)
        return [Waiting(TicketId(row["ticket_id"]), row["due_at"], row["created_at"]) for row in rows]

    async def alone(self) -> bool:
        """Whether nobody else assigns at this moment; until the end of the transaction nobody will."""
        return bool(await self.connection.fetchval(_ALONE))

    async def keep_policy(self) -> None:
        """Remember the policy in force, so that a decision can be recomputed by it later."""
        await self.connection.execute(_KEEP_POLICY, self.policy.version, self.policy.model_dump_json())

    async def forget_sightings(self) -> None:
        """Drop those that count for nothing any more."""
        for kind in Kind:
            await self.connection.execute(_FORGET, kind, self.now - 2 * window_of(kind, self.policy))

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
                [entry.explanation for entry in self.history],
            )
        if self.sightings.forgotten:
            await self.connection.execute(_FORGET_TICKETS, list(self.sightings.forgotten))
            await self.connection.execute(_FORGET_WORDS, list(self.sightings.forgotten))
        if self.sightings.added:
            seen = [astuple(sighting) for sighting in self.sightings.added.values()]
            await self.connection.execute(_SIGHT, *map(list, zip(*seen, strict=True)))
        if self.feedback:
            await self.connection.execute(_REMEMBER, *map(list, zip(*map(_feedback_row, self.feedback), strict=True)))


async def _discreet(tickets: list[Ticket], connection: Connection) -> list[Ticket]:
    """The tickets without those that they name and that were restricted since (S9)."""
    named = {other for ticket in tickets for other in ticket.named}
    if not named:
        return tickets
    hidden = {row["ticket_id"] for row in await connection.fetch(_RESTRICTED, list(named))}
    return [ticket.without(hidden) for ticket in tickets]


def _feedback_row(one: Feedback) -> tuple[object, ...]:
    was = one.before.classification
    return (
        one.before.ticket_id,
        one.at,
        was.version,
        was.confidence,
        was.category,
        was.subcategory,
        one.after.category,
        one.after.subcategory,
    )


def _columns(rows: Iterable[tuple[Ticket, int]]) -> list[list[object]]:
    columns = [
        (
            ticket.ticket_id,
            version,
            ticket.in_force.placement.team,
            ticket.in_force.placement.level,
            ticket.assignee,
            ticket.is_assignable,
            ticket.is_load,
            ticket.due_at,
            ticket.created_at,
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
            documents = await connection.fetch(_FIND, ticket_id)
            found = await _discreet([_TICKET.validate_json(row["document"]) for row in documents], connection)
        return found[0] if found else None

    async def history(self, ticket_id: str) -> list[dict[str, object]]:
        """The decisions in order; of a restricted ticket those that say so, never what was said before (S5, S9)."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_HISTORY, ticket_id)
        return [{"type": row["wire_type"], **orjson.loads(row["document"])} for row in rows]

    async def explanations(self, ticket_id: str) -> list[dict[str, object]]:
        """The decisions with the words behind them; nothing of a restricted ticket (S5, S9)."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_EXPLANATIONS, ticket_id)
        return [
            {
                "decision": {"type": row["wire_type"], **orjson.loads(row["document"])},
                "explanation": orjson.loads(row["explanation"]) if row["explanation"] is not None else None,
            }
            for row in rows
        ]

    async def policy(self, version: str) -> str | None:
        """The document of a policy that was in force here."""
        async with self._database.connection() as connection:
            document: str | None = await connection.fetchval(_POLICY, version)
            return document

    async def corrections(self, since: datetime) -> list[dict[str, object]]:
        """What people corrected since then, by classifier version: from which category to which, and how sure it had been."""
        async with self._database.connection() as connection:
            return [dict(row) for row in await connection.fetch(_CORRECTED, since)]

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
            return await _discreet([_TICKET.validate_json(row["document"]) for row in rows], connection)
