"""The audit: a chain of rows, one for each event of an incident and for each read of one, written with the change itself (S5).

Each row carries the hash of the row before it, of the incident's row before it, and of itself, taken over what the database
keeps. Appending is one transaction after the other, from the lock to the commit: `append` comes last before it. Who checks the
chain shares no code with this module; how a row is hashed is written in the runbook.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from shared.events.envelope import Outgoing, rfc3339
from shared.events.safety import SafetyAuditHead
from shared.events.topics import SAFETY
from shared.runtime.database import Connection

LOCK_SPACE = 0x53_41_55_44
NOTHING_BEFORE = bytes(32)
"""What the first row of all, and the first of an incident, names as the hash before it."""
NO_PERSON = "system"
"""The role of whatever happens without a person."""

_LOCK = "select pg_advisory_xact_lock($1, hashtext(current_schema()))"
_HEAD = """
with head as (select seq, row_hash from audit order by seq desc limit 1)
select clock_timestamp() as at, (select seq from head) as seq, (select row_hash from head) as row_hash,
       array(select (select row_hash from audit where incident_ref = ref order by seq desc limit 1)
             from unnest($1::text[]) with ordinality as wanted (ref, place) order by place) as of_incidents
"""
_APPEND = """
insert into audit (seq, at, incident_ref, type, event_id, actor, role, reason, commitment, prev_hash, prev_of_incident, row_hash)
select seq, $1, incident_ref, type, event_id, actor, role, reason, commitment, prev_hash, prev_of_incident, row_hash
from unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::bytea[],
            $11::bytea[], $12::bytea[])
     as row (seq, incident_ref, type, event_id, actor, role, reason, commitment, prev_hash, prev_of_incident, row_hash)
"""
_PUBLISH = """
insert into audit_head (minute, count, row_hash)
select date_trunc('minute', $1::timestamptz), seq, row_hash from audit order by seq desc limit 1
on conflict do nothing returning count, row_hash
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a row tells. `commitment` stands for the details: the hash of an event's bytes, or the sealed value's."""

    incident_ref: str
    type: str
    event_id: str
    actor: str
    role: str
    reason: str
    commitment: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """How many rows there are, and the hash of the last one."""

    count: int
    row_hash: bytes


def entries_of(events: Iterable[Outgoing]) -> list[Entry]:
    """A row for each event of the restricted topic, but for those about the audit itself."""
    return [
        _entry_of(event)
        for event in events
        if event.topic == SAFETY.name and event.wire_type != SafetyAuditHead.wire_type
    ]


async def append(connection: Connection, entries: Sequence[Entry]) -> None:
    """Add rows at the end, in this order, in the caller's transaction, which commits next."""
    if not entries:
        return
    await connection.execute(_LOCK, LOCK_SPACE)
    refs = list({entry.incident_ref for entry in entries})
    head = await connection.fetchrow(_HEAD, refs)
    seq, before, at = head["seq"] or 0, head["row_hash"] or NOTHING_BEFORE, head["at"]
    of_incident = {ref: found or NOTHING_BEFORE for ref, found in zip(refs, head["of_incidents"], strict=True)}
    hashes = []
    for entry in entries:
        seq += 1
        own = row_hash(seq, at, entry, before, of_incident[entry.incident_ref])
        hashes.append((seq, before, of_incident[entry.incident_ref], own))
        before = of_incident[entry.incident_ref] = own
    await connection.execute(
        _APPEND,
        at,
        [numbered for numbered, *_ in hashes],
        [entry.incident_ref for entry in entries],
        [entry.type for entry in entries],
        [entry.event_id for entry in entries],
        [entry.actor for entry in entries],
        [entry.role for entry in entries],
        [entry.reason for entry in entries],
        [entry.commitment for entry in entries],
        [prev for _, prev, _, _ in hashes],
        [prev for _, _, prev, _ in hashes],
        [own for *_, own in hashes],
    )


def row_hash(seq: int, at: datetime, entry: Entry, prev_hash: bytes, prev_of_incident: bytes) -> bytes:
    """SHA-256 over the row as JSON, with its length before it."""
    row = orjson.dumps(
        [
            seq,
            rfc3339(at),
            entry.incident_ref,
            entry.type,
            entry.event_id,
            entry.actor,
            entry.role,
            entry.reason,
            entry.commitment.hex(),
            prev_hash.hex(),
            prev_of_incident.hex(),
        ]
    )
    return hashlib.sha256(len(row).to_bytes(8) + row).digest()


async def head_to_publish(connection: Connection, *, now: datetime) -> Head | None:
    """Where the chain stands, once a minute, whichever replica asks first; None for the others and while there are no rows."""
    row = await connection.fetchrow(_PUBLISH, now)
    return Head(row["count"], row["row_hash"]) if row else None


def _entry_of(event: Outgoing) -> Entry:
    said = orjson.loads(event.value)
    return Entry(
        incident_ref=event.key,
        type=event.wire_type,
        event_id=event.id,
        actor=said.get("actor_id") or event.source,
        role=said.get("actor_role") or NO_PERSON,
        reason=said.get("reason_code") or "",
        commitment=hashlib.sha256(event.value).digest(),
    )
