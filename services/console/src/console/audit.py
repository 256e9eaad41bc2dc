"""Brings the verifier what it needs: the rows of the audit, and what was published of it on the restricted topic or in a file."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from console.audit_verifier import PublishedEvent, PublishedHead, Verification
from console.services import Unanswered
from shared.events.envelope import Record
from shared.events.safety import SafetyAuditHead
from shared.events.topics import SAFETY
from shared.messaging.kafka import Kafka

ROWS = """
select seq, at, incident_ref, type, event_id, actor, role, reason, commitment, prev_hash, prev_of_incident, row_hash
from safety_bridge.audit order by seq
"""
ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many rows and published heads were compared, and everything that is wrong."""

    rows: int
    heads: int
    events: int
    faults: list[str]


async def verify(database_url: str, *, kafka: Kafka | None, heads_file: Path | None) -> Verdict:
    """Compare the audit with itself and with what was published of it, which is read first.

    Raises:
        Unanswered: the database does not answer, or the file of heads cannot be read.
        TransientFailure: the broker does not answer.
    """
    heads, events = await _published(kafka) if kafka is not None else ([], [])
    if heads_file is not None:
        heads += _heads_of(heads_file)
    verification = Verification(heads, events)
    try:
        connection = await asyncpg.connect(database_url, timeout=10)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                async for row in connection.cursor(ROWS, prefetch=ROWS_AT_ONCE):
                    verification.take(row)
        finally:
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unanswered(f"the audit cannot be read: {type(error).__name__}") from error
    return Verdict(verification.count, len(heads), len(events), verification.finish())


async def _published(kafka: Kafka) -> tuple[list[PublishedHead], list[PublishedEvent]]:
    async with kafka.watcher([SAFETY.name]) as watcher:
        records = await watcher.everything()
    heads = [_head(json.loads(one.value)) for one in records if _header(one, "ce_type") == SafetyAuditHead.wire_type]
    return heads, [_event(one) for one in records if _header(one, "ce_type") != SafetyAuditHead.wire_type]


def _heads_of(file: Path) -> Sequence[PublishedHead]:
    try:
        return [_head(json.loads(line)) for line in file.read_text().splitlines()]
    except (OSError, ValueError, KeyError) as error:
        raise Unanswered(f"{file} is no file of heads: {type(error).__name__}") from error


def _head(said: dict[str, Any]) -> PublishedHead:
    return PublishedHead(said["occurred_at"], said["count"], bytes.fromhex(said["row_hash"]))


def _event(record: Record) -> PublishedEvent:
    return PublishedEvent(_header(record, "ce_id"), _header(record, "ce_type"), hashlib.sha256(record.value).digest())


def _header(record: Record, name: str) -> str:
    return dict(record.headers).get(name, b"").decode(errors="replace")
