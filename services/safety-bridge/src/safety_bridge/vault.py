"""The vault: what an incident holds in words or pseudonyms, sealed under a key of that incident's own (S5).

Nothing else in the tables says what it says. The audit keeps of each sealed value only a commitment, made with a random salt
that is sealed beside the value: whoever has the rows can guess nothing, and destroying the key ends value and salt together.
"""

import hashlib
import hmac
import secrets
from base64 import b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import asyncpg
import orjson
import structlog

from safety_bridge.audit import NO_PERSON, Entry
from safety_bridge.domain.retention import Retention
from shared.events.envelope import source_of
from shared.runtime.database import Connection
from shared.runtime.keys import CannotOpen, KeyService, new_key, seal, unseal

SALT_BYTES = 32
BY_ITSELF = b"\0itself\0"
"""What a value begins with that is sealed under a key of its own, which stands before it with its length in two bytes."""
OURSELVES = source_of("safety-bridge")

log = structlog.get_logger()

_KEYS = """
insert into incident_key as known (incident_ref, wrapped, delete_after, look_at)
select ref, wrapped, delete_after, delete_after
from unnest($1::text[], $2::bytea[], $3::timestamptz[]) as new (ref, wrapped, delete_after) order by ref
on conflict (incident_ref) do update
    set wrapped = coalesce(known.wrapped, excluded.wrapped),
        delete_after = greatest(known.delete_after, excluded.delete_after),
        look_at = greatest(known.delete_after, excluded.delete_after)
returning incident_ref, wrapped
"""
_SECRETS = """
insert into secret (incident_ref, kind, place, at, sealed)
select ref, kind, place, $1, sealed
from unnest($2::text[], $3::text[], $4::text[], $5::bytea[]) with ordinality as new (ref, kind, place, sealed, number)
order by number
"""
_WHOLE = """
with recursive whole (ref) as (
    values ($1::text)
    union
    select incident.ref from incident join whole on incident.document->>'continues_in' = whole.ref
)
"""
_OF_INCIDENT = f"""
{_WHOLE}
select id, incident_ref, kind, at, sealed, wrapped
from secret join incident_key using (incident_ref) where incident_ref in (select ref from whole) order by id
"""
_DUE = """
select incident_ref, delete_after, held_by from incident_key where look_at <= $1
order by look_at limit $2 for update skip locked
"""
_OF_WHOLE = f"""
{_WHOLE}
select $1 as incident_ref, max(delete_after) as delete_after, max(held_by) as held_by
from incident_key where incident_ref in (select ref from whole)
"""
_RETENTION = """
insert into incident_key as known (incident_ref, wrapped, delete_after, look_at) values ($1, null, $2, null)
on conflict (incident_ref) do update set delete_after = known.delete_after
returning incident_ref, delete_after, held_by
"""
_KEEP = """
update incident_key
set delete_after = $2, held_by = $3, look_at = case when wrapped is not null then $4::timestamptz end
where incident_ref = $1
"""
_DESTROY = "update incident_key set wrapped = null, look_at = null where incident_ref = $1"
_ERASE = "delete from secret where incident_ref = $1"
_WRAPPED_BEFORE = """
select incident_ref, wrapped from incident_key where substring(wrapped for length($1::bytea)) <> $1
order by incident_ref limit $2 for update skip locked
"""
_REWRAP = """
update incident_key as known set wrapped = new.wrapped
from unnest($1::text[], $2::bytea[]) as new (ref, wrapped) where known.incident_ref = new.ref
"""
_OF_PLACE = (
    "select incident_ref, kind, sealed, wrapped from secret join incident_key using (incident_ref) where place = $1"
)


class Kind(StrEnum):
    """What is sealed: a person's note, known values that are protected, what an event should not have said, a whole record."""

    NOTE = "note"
    PROTECTED = "protected"
    QUARANTINE = "quarantine"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class Secret:
    """A value on its way in. `place` finds it again where no incident is known: the record's partition and offset."""

    incident_ref: str
    kind: Kind
    value: bytes
    place: str | None
    actor: str
    role: str
    sealed_about: str | None = None
    """What it was sealed about with the master key by another service of ours, where it was; then the vault unseals it first."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A value as it was sealed."""

    id: int
    incident_ref: str
    kind: Kind
    at: datetime
    value: bytes


class Vault:
    """What a unit of work seals and opens. Sealing takes effect when the unit is saved."""

    def __init__(self, keys: KeyService, *, now: datetime, keep_for: timedelta) -> None:
        self._keys = keys
        self._now = now
        self.keep_for = keep_for
        self.sealing: list[Secret] = []
        self._preserved: dict[str, datetime] = {}

    def seal(
        self,
        incident_ref: str,
        kind: Kind,
        value: bytes,
        *,
        place: str | None = None,
        actor: str = OURSELVES,
        role: str = NO_PERSON,
    ) -> None:
        """Keep this under the incident's key; by whom stands in the audit."""
        self.sealing.append(Secret(incident_ref, kind, value, place, actor, role))

    def take_over(self, incident_ref: str, kind: Kind, sealed: bytes, *, about: str) -> None:
        """Keep what another service of ours has sealed with the master key. What does not open is kept as it is."""
        self.sealing.append(Secret(incident_ref, kind, sealed, None, OURSELVES, NO_PERSON, sealed_about=about))

    def preserve(self, incident_ref: str, until: datetime) -> None:
        """Nothing of the incident is destroyed before then; an earlier date changes nothing."""
        self._preserved[incident_ref] = max(until, self._preserved.get(incident_ref, until))

    async def write(self, connection: Connection) -> list[Entry]:
        """Seal what is to be sealed; answers what the audit keeps of it."""
        keys = await self._keys_of(connection, {one.incident_ref for one in self.sealing} | set(self._preserved))
        sealed, entries = [], []
        for one in self.sealing:
            salt, value = secrets.token_bytes(SALT_BYTES), await self._value_of(one)
            sealed.append(await self._sealed(keys[one.incident_ref], salt + value, _about(one.incident_ref, one.kind)))
            commitment = hmac.digest(salt, value, hashlib.sha256)
            entries.append(Entry(one.incident_ref, "sealed", "", one.actor, one.role, one.kind, commitment))
        if sealed:
            await connection.execute(
                _SECRETS,
                self._now,
                [one.incident_ref for one in self.sealing],
                [one.kind for one in self.sealing],
                [one.place for one in self.sealing],
                sealed,
            )
        return entries

    async def open(self, connection: Connection, incident_ref: str) -> Sequence[Opened]:
        """Everything sealed of an incident and of those that were merged into it; nothing once its key is destroyed.

        Raises:
            CannotOpen: the installation's key is another one, or somebody changed the tables.
        """
        rows = await connection.fetch(_OF_INCIDENT, incident_ref)
        opened: dict[str, bytes] = {}
        return [
            Opened(row["id"], row["incident_ref"], Kind(row["kind"]), row["at"], await self._unsealed(row, opened))
            for row in rows
        ]

    async def open_place(self, connection: Connection, place: str) -> bytes | None:
        """The record of this place, if it is still kept."""
        row = await connection.fetchrow(_OF_PLACE, place)
        return None if row is None else await self._unsealed(row, {})

    async def due(self, connection: Connection, *, limit: int) -> list[Retention]:
        """Read and lock what is to be looked at now, and that no other replica has in hand."""
        return [_retention(row) for row in await connection.fetch(_DUE, self._now, limit)]

    async def retention_of(self, connection: Connection, incident_ref: str) -> Retention:
        """Read and lock how long an incident's content is kept."""
        return _retention(await connection.fetchrow(_RETENTION, incident_ref, self._now + self.keep_for))

    async def retention_of_whole(self, connection: Connection, incident_ref: str) -> Retention:
        """How long the content of an incident is kept with that of those merged into it: a hold on one of them is on all."""
        return _retention(await connection.fetchrow(_OF_WHOLE, incident_ref))

    async def keep(self, connection: Connection, kept: Retention, *, look_at: datetime) -> None:
        """Keep the content; when its date has come, look again then."""
        await connection.execute(_KEEP, kept.incident_ref, kept.delete_after, kept.held_by, look_at)

    async def destroy(self, connection: Connection, incident_ref: str) -> None:
        """The key and all that it sealed. What is sealed from now on gets another key."""
        await connection.execute(_ERASE, incident_ref)
        await connection.execute(_DESTROY, incident_ref)

    async def rewrap(self, connection: Connection, *, limit: int) -> int:
        """Wrap keys with the newest master key that an older one wraps still; answers how many there were."""
        rows = await connection.fetch(_WRAPPED_BEFORE, self._keys.prefix, limit)
        keys = [await self._keys.unwrap(row["wrapped"], row["incident_ref"]) for row in rows]
        refs = [row["incident_ref"] for row in rows]
        wrapped = [await self._keys.wrap(key, ref) for key, ref in zip(keys, refs, strict=True)]
        await connection.execute(_REWRAP, refs, wrapped)
        return len(rows)

    async def _value_of(self, one: Secret) -> bytes:
        if one.sealed_about is None:
            return one.value
        try:
            return await self._keys.unwrap(one.value, one.sealed_about)
        except CannotOpen:
            return orjson.dumps({"value": b64encode(one.value).decode(), "cannot_open": True})

    async def _sealed(self, key: bytes | None, value: bytes, about: str) -> bytes:
        if key is not None:
            return seal(key, value, about)
        own = new_key()
        wrapped = await self._keys.wrap(own, about)
        return BY_ITSELF + len(wrapped).to_bytes(2) + wrapped + seal(own, value, about)

    async def _unsealed(self, row: asyncpg.Record, opened: dict[str, bytes]) -> bytes:
        """The value of a row; `opened` are the keys of incidents that were unwrapped so far."""
        ref, sealed = row["incident_ref"], row["sealed"]
        about = _about(ref, row["kind"])
        if sealed.startswith(BY_ITSELF):
            begin = len(BY_ITSELF) + 2
            end = begin + int.from_bytes(sealed[begin - 2 : begin])
            key, sealed = await self._keys.unwrap(sealed[begin:end], about), sealed[end:]
        else:
            key = opened[ref] = opened.get(ref) or await self._keys.unwrap(row["wrapped"], ref)
        return unseal(key, sealed, about)[SALT_BYTES:]

    async def _keys_of(self, connection: Connection, refs: Collection[str]) -> dict[str, bytes | None]:
        """The keys of these incidents; None where one cannot be opened: no signal waits for that (S6)."""
        if not refs:
            return {}
        fresh = {ref: new_key() for ref in sorted(refs)}
        kept_until = self._now + self.keep_for
        rows = await connection.fetch(
            _KEYS,
            list(fresh),
            [await self._keys.wrap(key, ref) for ref, key in fresh.items()],
            [max(kept_until, self._preserved.get(ref, kept_until)) for ref in fresh],
        )
        return {row["incident_ref"]: await self._key_of(row) for row in rows}

    async def _key_of(self, row: asyncpg.Record) -> bytes | None:
        try:
            return await self._keys.unwrap(row["wrapped"], row["incident_ref"])
        except CannotOpen:
            log.error("key of an incident cannot be opened", incident_ref=row["incident_ref"])
            return None


def _retention(row: asyncpg.Record) -> Retention:
    return Retention(row["incident_ref"], row["delete_after"], row["held_by"])


def _about(incident_ref: str, kind: str) -> str:
    return f"{incident_ref}|{kind}"
