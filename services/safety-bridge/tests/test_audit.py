"""The audit on a real database, and its verifier, which knows the rows and the runbook only."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from console.audit import verify
from console.audit_verifier import PublishedHead, Verification
from safety_bridge import audit, handlers
from safety_bridge.audit import Entry
from safety_bridge.timers import publish_audit_head
from shared.events.agent import SafetyCrisisDetected, SafetyIncidentUpdated
from shared.events.topics import SAFETY, Lane
from shared.messaging.kafka import Kafka
from shared.messaging.outbox import Relay
from shared.runtime.database import Database

SUPPORT = {"id": "on-call-1", "role": "support"}


async def a_busy_night(service: Any, incidents: int = 6) -> list[str]:
    """Some incidents, opened, raised and acknowledged in turn; answers their references in the order of their opening."""
    for number in range(incidents):
        await service.hear(SafetyCrisisDetected, {"agent_incident_id": f"A-{number}", "severity": "high"})
    for number in range(incidents):
        await service.hear(SafetyIncidentUpdated, {"agent_incident_id": f"A-{number}", "severity": "critical"})
    refs = [
        row["ref"]
        for row in await service.rows("select ref from incident order by document->'facts'->'agent_incident_ids'")
    ]
    for ref in refs:
        assert (await service.post(f"/v1/incidents/{ref}/acknowledge", {"epoch": 2, "actor": SUPPORT})).is_success
    return refs


async def faults_of(service: Any, heads: Path | None = None) -> list[str]:
    return (await verify(service.url, kafka=None, heads_file=heads)).faults


async def test_each_event_of_an_incident_has_one_row_in_its_transaction(audited: Any) -> None:
    """Invariant 41: the event's id, type, actor and the hash of its bytes; what was rolled back has neither."""
    await a_busy_night(audited, 2)
    audited.now.advance(hours=1)
    with pytest.raises(ZeroDivisionError):
        await page_and_fail(audited)
    told = await audited.rows(
        f"select encode(sha256(payload), 'hex') as digest from outbox where topic = '{SAFETY.name}' order by seq"
    )
    rows = await audited.rows("select *, encode(commitment, 'hex') as digest from audit order by seq")
    assert sorted(row["digest"] for row in rows) == sorted(row["digest"] for row in told)
    assert len({row["event_id"] for row in rows}) == len(rows) >= 2 * (2 + 2 + 1)
    taken = [row for row in rows if row["type"].endswith("incident_acknowledged.v1")]
    assert {(row["actor"], row["role"]) for row in taken} == {("on-call-1", "support")}
    assert {row["role"] for row in rows if row not in taken} == {"system"}


async def page_and_fail(service: Any) -> None:
    async with service.units.begin() as unit:
        (row, *_) = await service.rows("select ref from incident")
        handlers.look(replace(await unit.incidents.load_one(unit.connection, row["ref"]), next_page_at=unit.now), unit)
        await unit.save()
        raise ZeroDivisionError


async def test_an_untouched_audit_is_whole(audited: Any, tmp_path: Path) -> None:
    """Invariant 40; the published head is a line of the file too."""
    await a_busy_night(audited)
    heads = tmp_path / "heads.jsonl"
    for _ in range(3):
        await publish_audit_head(audited.units, heads)
        audited.now.advance(seconds=25)
    lines = [json.loads(line) for line in heads.read_text().splitlines()]
    (count,) = [line["count"] for line in lines]
    assert count >= 30
    assert (await audited.left()).count("audit_head") == 1
    verdict = await verify(audited.url, kafka=None, heads_file=heads)
    assert (verdict.rows, verdict.heads, verdict.faults) == (count, 1, [])


@pytest.mark.parametrize("statement", ["update audit set actor = 'x'", "delete from audit", "truncate audit"])
async def test_the_service_itself_cannot_change_a_row(audited: Any, statement: str) -> None:
    """4.11: neither by its role nor past the trigger, which stops the owner of the database too (S5)."""
    await a_busy_night(audited, 1)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await audited.rows(statement)
    with pytest.raises(asyncpg.RaiseError, match="only ever added to"):
        await as_owner(audited, "set search_path to safety_bridge", statement)


async def as_owner(service: Any, *statements: str) -> None:
    """What somebody does who may do everything with the database."""
    connection = await asyncpg.connect(service.url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


TAMPERED = {
    "one byte changed": ("update audit set actor = 'tim' where seq = 14", "row 14 is not what was written"),
    "a time moved": ("update audit set at = at + '1 microsecond' where seq = 3", "row 3 is not what was written"),
    "a row taken out": ("delete from audit where seq = 12", "rows 12 to 12 are missing"),
    "the first row taken out": ("delete from audit where seq = 1", "rows 1 to 1 are missing"),
    "the last ten rows taken off": (
        "delete from audit where seq > (select max(seq) - 10 from audit)",
        "the last 10 are gone",
    ),
    "all rows taken off": ("delete from audit", "the audit ends with row 0"),
    "a whole incident taken out": (
        "delete from audit where incident_ref = (select incident_ref from audit where seq = 5)",
        "does not follow",
    ),
    "two rows exchanged": (
        "alter table audit drop constraint audit_pkey; "
        "update audit set seq = case seq when 7 then 8 else 7 end where seq in (7, 8)",
        "row 7 does not follow row 6: the link is broken",
    ),
    "a row put in": (
        "update audit set seq = seq + 1000 where seq > 9; update audit set seq = seq - 999 where seq > 1000; "
        "insert into audit select 10, at, incident_ref, type, 'e-new', actor, role, reason, commitment, '\\x00', "
        "prev_of_incident, row_hash from audit where seq = 9",
        "row 10 is not what was written",
    ),
    "a row moved to another incident": (
        "update audit set incident_ref = (select incident_ref from audit where seq = 1) where seq = 20",
        "row 20 is not what was written",
    ),
}


@pytest.mark.parametrize("case", TAMPERED)
async def test_whatever_is_done_to_the_rows_is_found_and_named(audited: Any, tmp_path: Path, case: str) -> None:
    """SN-45, invariant 40: a change, an insertion, a removal (of the tail, of a whole incident), another order."""
    await a_busy_night(audited)
    heads = tmp_path / "heads.jsonl"
    await publish_audit_head(audited.units, heads)
    statement, fault = TAMPERED[case]
    await as_owner(audited, "set search_path to safety_bridge", "set session_replication_role = replica", statement)
    assert any(fault in one for one in await faults_of(audited, heads))


async def test_a_backup_of_yesterday_and_a_history_written_anew_are_found_by_the_heads(
    audited: Any, tmp_path: Path
) -> None:
    """SN-45: both are whole in themselves; only what was published says otherwise."""
    await a_busy_night(audited, 2)
    yesterday = await audited.rows("select * from audit order by seq")
    await a_busy_night(audited, 6)
    heads = tmp_path / "heads.jsonl"
    await publish_audit_head(audited.units, heads)
    await as_owner(
        audited,
        "set search_path to safety_bridge",
        "set session_replication_role = replica",
        f"delete from audit where seq > {len(yesterday)}",
    )
    assert await faults_of(audited) == []
    (fault,) = await faults_of(audited, heads)
    assert f"the audit ends with row {len(yesterday)}" in fault
    await a_busy_night(audited, 12)
    (fault,) = await faults_of(audited, heads)
    assert "what was written until then was changed" in fault


async def test_no_bit_of_any_column_can_change_unseen(audited: Any) -> None:
    """Invariant 40: every bit of every column of some rows, one after the other."""
    await a_busy_night(audited, 2)
    rows = [dict(row) for row in await audited.rows("select * from audit order by seq")]
    assert faults(rows) == []
    head = PublishedHead("now", len(rows), rows[-1]["row_hash"])
    changes = 0
    for place in (0, len(rows) // 2, len(rows) - 1):
        for column, value in rows[place].items():
            for changed in every_bit_changed(value):
                again = [dict(row) for row in rows]
                again[place][column] = changed
                assert faults(again, head), (place, column)
                changes += 1
    assert changes > 3 * 4 * 256


def faults(rows: list[dict[str, Any]], *heads: PublishedHead) -> list[str]:
    verification = Verification(heads)
    for row in rows:
        verification.take(row)
    return verification.finish()


def every_bit_changed(value: Any) -> list[Any]:
    if isinstance(value, int):
        return [value ^ 1 << bit for bit in range(63)]
    if isinstance(value, bytes):
        return [_bit_changed(value, bit) for bit in range(8 * len(value))]
    if isinstance(value, str):
        # of a letter the lowest six bits, so that it stays text
        return [_bit_changed(value.encode(), bit).decode() for bit in range(8 * len(value)) if bit % 8 < 6]
    return [value.fromtimestamp(value.timestamp() + 1e-6 * 2**bit, value.tzinfo) for bit in range(1, 40)]


def _bit_changed(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


async def append_at_once(url: str, *, connections: int, rows_each: int, at_once: Callable[[], int]) -> None:
    async def append(writer: int) -> None:
        database = Database(url, schema="safety_bridge", pool_size=1)
        left = rows_each
        while left:
            batch = min(left, at_once())
            entries = [
                Entry(
                    f"SI-{(writer + n) % 5}", "type", f"{writer}-{left - n}", "ä\u2028'\"\\/", "system", "", bytes(32)
                )
                for n in range(batch)
            ]
            async with database.transaction() as connection:
                await audit.append(connection, entries)
            left -= batch
        await database.close()

    await asyncio.gather(*(append(writer) for writer in range(connections)))


async def test_eight_connections_that_append_at_once_make_one_chain(audited: Any) -> None:
    """SN-46, invariant 40: no fork, no gap, and every incident's own chain whole."""
    await append_at_once(audited.url, connections=8, rows_each=60, at_once=lambda: random.randint(1, 3))
    verdict = await verify(audited.url, kafka=None, heads_file=None)
    assert (verdict.rows, verdict.faults) == (480, [])


@pytest.mark.long
async def test_eight_connections_with_5000_rows_each_make_one_chain(audited: Any) -> None:
    """SN-46 at its full size."""
    await append_at_once(audited.url, connections=8, rows_each=5_000, at_once=lambda: random.randint(1, 20))
    verdict = await verify(audited.url, kafka=None, heads_file=None)
    assert (verdict.rows, verdict.faults) == (40_000, [])


async def test_a_fork_is_refused_by_the_database(audited: Any) -> None:
    """4.11: the second guard; two rows cannot follow the same one even if the lock failed."""
    await a_busy_night(audited, 1)
    with pytest.raises(asyncpg.UniqueViolationError, match="prev_hash"):
        await audited.rows(
            "insert into audit select seq + 100, at, incident_ref, type, event_id, actor, role, reason, commitment, "
            "prev_hash, prev_of_incident, row_hash from audit where seq = 2"
        )


async def test_what_is_on_the_topic_witnesses_for_the_rows(audited: Any, kafka_address: str, topic_prefix: str) -> None:
    """SN-45: a tail removed before its head was published is found by the events that left meanwhile (invariant 41)."""
    kafka = Kafka(kafka_address, topic_prefix=topic_prefix)
    await kafka.create_topics()
    await a_busy_night(audited, 1)
    await publish_audit_head(audited.units, None)
    await a_busy_night(audited, 2)
    relay = Relay(audited.databases[0], kafka, Lane.URGENT)
    relaying = asyncio.create_task(relay.run())
    while await audited.rows(f"select 1 from outbox where topic = '{SAFETY.name}'"):
        await asyncio.sleep(0.05)
    await relay.stop()
    await relaying
    verdict = await verify(audited.url, kafka=kafka, heads_file=None)
    assert (verdict.heads, verdict.faults) == (1, [])
    assert verdict.events == verdict.rows
    await as_owner(
        audited,
        "set search_path to safety_bridge",
        "set session_replication_role = replica",
        "delete from audit where seq = (select max(seq) from audit)",
    )
    (fault,) = (await verify(audited.url, kafka=kafka, heads_file=None)).faults
    assert fault.startswith("no row tells of the event")
