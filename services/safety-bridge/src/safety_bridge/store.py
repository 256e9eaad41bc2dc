"""The tables of the safety-bridge and all of its SQL.

An incident is one document; beside it stands only what is searched by, and when something of it is due (`look_at`). Aliases
are the names under which it is known: the agent's incident id, tickets, a producer of unreadable records. No table holds a
word of an event (S5).
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import ClassVar

import asyncpg
from pydantic import TypeAdapter, ValidationError

from safety_bridge import audit, watch
from safety_bridge.domain import deadlines, handover, identity, signal
from safety_bridge.domain.explanation import Told
from safety_bridge.domain.identity import Identity, IncidentRef
from safety_bridge.domain.incident import Incident
from safety_bridge.vault import Vault
from shared.directory import Directory
from shared.errors import TransientFailure
from shared.events.agent import AgentEvent, SafetyTicketFlagged, SafetyUnreadable
from shared.events.envelope import OUR_SOURCES, Envelope, Event, Outgoing, Received, derived_id
from shared.events.routing import RoutingAssigned, RoutingRefused
from shared.events.topics import SAFETY
from shared.messaging.unit_of_work import UnitOfWork
from shared.policy.model import Policy
from shared.runtime.database import Connection
from shared.runtime.keys import KeyService
from shared.vocabulary import Category, TicketId

REFERENCES_TRIED = 4
LISTED = 1_000

_DOCUMENT = TypeAdapter(Incident)
_KNOWN = """
select identity, ref, version, document::text
from incident_alias join incident using (ref)
where identity = any($1::bytea[]) order by ref for update of incident
"""
_TAKEN = "select ref from incident where ref = any($1::text[])"
_ONE = "select ref, version, document::text from incident where ref = $1 for update"
_DUE = """
select ref, version, document::text from incident where look_at <= $1 and ($3::text[] is null or ref = any($3))
order by look_at limit $2 for update skip locked
"""
_DUE_REFS = "select ref from incident where look_at <= $1 order by look_at limit $2"
_WRITE = """
insert into incident as known (ref, document, version, look_at, opened_at)
select * from unnest($1::text[], $2::jsonb[], $3::int[], $4::timestamptz[], $5::timestamptz[])
         as row (ref, document, version, look_at, opened_at)
order by ref
on conflict (ref) do update
    set document = excluded.document, version = excluded.version, look_at = excluded.look_at
    where known.version = excluded.version - 1
"""
_NAME = """
insert into incident_alias (identity, kind, name, ref)
select * from unnest($1::bytea[], $2::text[], $3::text[], $4::text[]) as row (identity, kind, name, ref)
order by identity
on conflict do nothing
"""
_PUT_OFF = "update incident set look_at = $2 where ref = any($1::text[])"
_HAND_OVER = "update incident_alias set ref = $2 where ref = $1"
_READ = "select document::text from incident where ref = $1"
_RELATED = """
select ref from incident
where ref <> $1 and (document #> '{facts,subjects}' ?| $2::text[] or document #> '{facts,accounts}' ?| $3::text[])
order by opened_at desc limit $4
"""
_LIST = """
select ref, document::text from incident
where ($1::text is null or ref in (select ref from incident_alias where kind = 'agent' and name = $1))
  and ($2::text is null or ref in (select ref from incident_alias where kind = 'ticket' and name = $2))
order by document ->> 'next_page_at' is null, opened_at desc limit $3
"""
_KEEP_TOLD = """
insert into told (incident_ref, at, fact, data)
select ref, $1, fact, data from unnest($2::text[], $3::text[], $4::jsonb[]) as row (ref, fact, data)
"""
_TOLD = "select at, fact, data::text from told where incident_ref = $1 order by at, seq"


def identities_of(message: Received[Event], environment: str | None = None) -> tuple[Identity, ...]:
    """The incidents that a message speaks of, the one it belongs to first; none where it is no signal."""
    event, envelope = message.event, message.envelope
    match event:
        case AgentEvent() if signal.is_of_another(environment, event.environment):
            return (identity.of_foreign(envelope.source),)
        case SafetyUnreadable():
            return (identity.of_unreadable(envelope.source),)
        case SafetyTicketFlagged() if ticket_id := signal.ticket_of(
            event, fit=identity.fit_id if is_ours(envelope) else identity.fit_name
        ):
            return (identity.of_ticket(ticket_id),)
        case AgentEvent():
            return signal.identities_of(event, source=envelope.source, event_id=envelope.id)
        case RoutingAssigned(category=Category.SAFETY, restricted=False) | RoutingRefused():
            return (identity.of_ticket(TicketId(event.ticket_id)),)
    return ()


def is_ours(envelope: Envelope) -> bool:
    """Whether one of our own services says it: their ids are those of tickets, and their words are codes (S9)."""
    return envelope.source.startswith(OUR_SOURCES)


class Incidents:
    """The incidents that a unit of work has in hand."""

    def __init__(self) -> None:
        self._by_ref: dict[IncidentRef, Incident] = {}
        self._versions: dict[IncidentRef, int] = {}
        self._ref_of: dict[bytes, IncidentRef] = {}
        self._taken: set[IncidentRef] = set()
        self._changed: set[IncidentRef] = set()
        self._new_names: list[tuple[Identity, IncidentRef]] = []
        self._handed_over: list[tuple[IncidentRef, IncidentRef]] = []
        self._put_off: dict[IncidentRef, datetime] = {}

    def find(self, wanted: Identity) -> Incident | None:
        """The incident known under this name; where it goes on as another one, that.

        Raises:
            TransientFailure: it was merged into another one while we waited for it.
        """
        ref = self._ref_of.get(wanted.key)
        while ref is not None:
            if ref not in self._by_ref:
                raise TransientFailure("an incident was merged meanwhile")
            found = self._by_ref[ref]
            if found.continues_in is None:
                return found
            ref = found.continues_in
        return None

    def free_reference(self, born_as: Identity) -> IncidentRef:
        """The reference of an incident born now.

        Raises:
            TransientFailure: all that were looked for are taken, which does not happen before there are many millions.
        """
        for ref in islice(identity.references(born_as), REFERENCES_TRIED):
            if ref not in self._taken and ref not in self._by_ref:
                return ref
        raise TransientFailure("no free incident reference")

    def save(self, incident: Incident, names: Iterable[Identity] = ()) -> None:
        """Keep the incident, from now on also known under these names."""
        self._by_ref[incident.ref] = incident
        self._changed.add(incident.ref)
        for name in names:
            if name.key not in self._ref_of:
                self._ref_of[name.key] = incident.ref
                self._new_names.append((name, incident.ref))

    def put_off(self, incident: Incident, until: datetime) -> None:
        """Look at it again then. When its next page is due stays as it was, so that it does not look as if all were well."""
        self.save(incident)
        self._put_off[incident.ref] = until

    def hand_over(self, gone: Incident, to: Incident) -> None:
        """Whatever is said of the one from now on belongs to the other."""
        self._handed_over.append((gone.ref, to.ref))

    async def load(self, connection: Connection, wanted: Collection[Identity]) -> None:
        """Read and lock the incidents of these names, and see which references are taken for those that are new."""
        keys = {one.key for one in wanted if one.key not in self._ref_of}
        if not keys:
            return
        for row in await connection.fetch(_KNOWN, list(keys)):
            self._ref_of[row["identity"]] = row["ref"]
            self._take(row)
        candidates = {
            ref
            for one in wanted
            if one.key not in self._ref_of
            for ref in islice(identity.references(one), REFERENCES_TRIED)
        }
        if candidates:
            self._taken |= {row["ref"] for row in await connection.fetch(_TAKEN, list(candidates))}

    async def load_one(self, connection: Connection, ref: str) -> Incident | None:
        """Read and lock one incident."""
        row = await connection.fetchrow(_ONE, ref)
        return self._take(row) if row else None

    async def load_due(
        self, connection: Connection, *, now: datetime, limit: int, among: Sequence[IncidentRef] | None = None
    ) -> tuple[Sequence[Incident], Sequence[IncidentRef]]:
        """Read and lock the incidents, of these alone where they are given, of which something is due now, and that no other
        replica has in hand; and the references of those whose documents this version cannot read.
        """
        due, unread = [], []
        for row in await connection.fetch(_DUE, now, limit, among):
            try:
                due.append(self._take(row))
            except ValidationError:
                unread.append(IncidentRef(row["ref"]))
        return due, unread

    async def write(self, connection: Connection, policy: Policy) -> None:
        """
        Raises:
            TransientFailure: another transaction was first; the same work may be tried again.
        """
        if not self._changed:
            return
        changed = [self._by_ref[ref] for ref in self._changed]
        written = await connection.execute(
            _WRITE,
            [one.ref for one in changed],
            [_DOCUMENT.dump_json(one).decode() for one in changed],
            [self._versions.get(one.ref, 0) + 1 for one in changed],
            [self._put_off.get(one.ref) or deadlines.next_look_at(one, policy) for one in changed],
            [one.opened_at for one in changed],
        )
        named = await connection.execute(
            _NAME,
            [name.key for name, _ in self._new_names],
            [name.kind.value for name, _ in self._new_names],
            [name.name for name, _ in self._new_names],
            [ref for _, ref in self._new_names],
        )
        if (written, named) != (f"INSERT 0 {len(changed)}", f"INSERT 0 {len(self._new_names)}"):
            raise TransientFailure("an incident was changed meanwhile")
        for gone, to in self._handed_over:
            await connection.execute(_HAND_OVER, gone, to)

    def _take(self, row: asyncpg.Record) -> Incident:
        ref = IncidentRef(row["ref"])
        if ref not in self._by_ref:
            self._by_ref[ref] = _DOCUMENT.validate_json(row["document"])
            self._versions[ref] = row["version"]
        return self._by_ref[ref]


async def keep_told(connection: Connection, events: Iterable[Outgoing], now: datetime) -> None:
    """What was told of incidents, beside its way to the topic: it explains later who was paged, and why not."""
    of_incidents = [event for event in events if event.topic == SAFETY.name and b'"incident_ref"' in event.value]
    if of_incidents:
        await connection.execute(
            _KEEP_TOLD,
            now,
            [event.key for event in of_incidents],
            [event.wire_type.split(".")[-2] for event in of_incidents],
            [event.value.decode() for event in of_incidents],
        )


async def read_told(connection: Connection, ref: str) -> list[Told]:
    """All that was told of an incident, in order of time."""
    rows = await connection.fetch(_TOLD, ref)
    return [Told(row["at"], row["fact"], json.loads(row["data"])) for row in rows]


class SafetyUnit(UnitOfWork):
    """A unit of work with incidents, the policy, the directory in force, and in which roles each person may act."""

    service: ClassVar[str] = "safety-bridge"

    def __init__(
        self,
        connection: Connection,
        now: datetime,
        *,
        policy: Policy,
        directory: Directory,
        staff: Mapping[str, frozenset[str]],
        keys: KeyService,
        environment: str | None = None,
    ) -> None:
        super().__init__(connection, now)
        self.vault = Vault(keys, now=now, keep_for=timedelta(days=policy.safety.keep_for_days))
        self.policy = policy
        self.directory = directory
        self.staff = staff
        self.environment = environment
        self.incidents = Incidents()
        self.noticed = watch.Noticed()
        self.noted: list[audit.Entry] = []
        """What the audit keeps although no event tells of it."""
        self._later: list[tuple[Sequence[Identity], Callable[[], None]]] = []

    @property
    def reachable(self) -> frozenset[str]:
        """The roles that somebody can be paged in now."""
        return handover.reachable_at(self.directory, self.now)

    async def load(self, messages: Sequence[Received[Event]]) -> None:
        wanted = [one for message in messages for one in identities_of(message, self.environment)]
        for message in messages:
            if isinstance(message.event, AgentEvent):
                other = signal.in_other_mode(message.event, source=message.envelope.source)
                wanted += [other] if other is not None else []
        await self.incidents.load(self.connection, wanted)

    def after_loading(self, wanted: Sequence[Identity], do: Callable[[], None]) -> None:
        """Do it before saving, once these incidents have been read: what no batch could foresee."""
        self._later.append((wanted, do))

    def emit(self, event: Event, *, occurred_at: datetime, seed: str | None = None, correlation_id: str = "") -> str:
        """As for any unit; an id that may be somebody's words is not passed on as the cause (S5)."""
        event_id = super().emit(event, occurred_at=occurred_at, seed=seed, correlation_id=correlation_id)
        emitted = self.emitted[-1]
        if emitted.causation_id is not None and identity.fit_name(emitted.causation_id) is None:
            self.emitted[-1] = replace(emitted, causation_id=derived_id(emitted.causation_id))
        return event_id

    async def save(self) -> None:
        if self._later:
            await self.incidents.load(self.connection, [one for wanted, _ in self._later for one in wanted])
            for _, do in self._later:
                do()
        await self.incidents.write(self.connection, self.policy)
        await self.noticed.write(self.connection, self.now)
        await keep_told(self.connection, self.emitted, self.now)
        sealed = await self.vault.write(self.connection)
        await audit.append(self.connection, [*audit.entries_of(self.emitted), *sealed, *self.noted])


async def due_refs(connection: Connection, *, now: datetime, limit: int) -> list[IncidentRef]:
    """What a look takes, unread."""
    return [IncidentRef(row["ref"]) for row in await connection.fetch(_DUE_REFS, now, limit)]


async def put_off(connection: Connection, refs: Sequence[IncidentRef], until: datetime) -> None:
    """Look at them again then; nothing else of them changes, and they need not be readable."""
    await connection.execute(_PUT_OFF, refs, until)


async def read_incident(connection: Connection, ref: str) -> Incident | None:
    """One incident, as last written; nothing is locked."""
    document = await connection.fetchval(_READ, ref)
    return _DOCUMENT.validate_json(document) if document else None


async def related_to(connection: Connection, incident: Incident) -> tuple[str, ...]:
    """The other incidents of the same subject or account, the latest first; each goes its own way."""
    subjects, accounts = list(incident.facts.subjects), list(incident.facts.accounts)
    if not subjects and not accounts:
        return ()
    return tuple(row["ref"] for row in await connection.fetch(_RELATED, incident.ref, subjects, accounts, LISTED))


async def read_whole(connection: Connection, ref: str) -> Incident | None:
    """The incident, or the one as which it goes on."""
    found = await read_incident(connection, ref)
    while found is not None and found.continues_in is not None:
        found = await read_incident(connection, found.continues_in)
    return found


@dataclass(frozen=True, slots=True)
class Listing:
    """The incidents that were asked for, as far as a list goes."""

    incidents: Sequence[Incident]
    unread: Sequence[IncidentRef]
    """Of them, those whose documents this version cannot read."""
    is_cut: bool
    """Whether there are more."""


async def list_incidents(connection: Connection, *, agent_incident_id: str | None, ticket_id: str | None) -> Listing:
    """Those of this agent's id and of this ticket where they are given; who is still paged for first, then the latest."""
    rows = await connection.fetch(_LIST, agent_incident_id, ticket_id, LISTED + 1)
    incidents, unread = [], []
    for row in rows[:LISTED]:
        try:
            incidents.append(_DOCUMENT.validate_json(row["document"]))
        except ValidationError:
            unread.append(IncidentRef(row["ref"]))
    return Listing(incidents, unread, is_cut=len(rows) > LISTED)
