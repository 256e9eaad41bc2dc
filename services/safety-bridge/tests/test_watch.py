"""The watch itself, on a real database: feeds, storms, and the proof that goes to an outside watcher (S4)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from safety_bridge.timers import SelfProof, look_after_the_watch, page_who_is_due
from shared.errors import TransientFailure
from shared.events.agent import (
    SafetyAgentHeartbeat,
    SafetyCrisisDetected,
    SafetyMandatoryReportTriggered,
)
from shared.events.topics import AGENT
from shared.messaging.outbox import unpack_headers
from shared.runtime.beat import Beat

FEEDS = ("/agent/one", "/agent/two")


def not_behind() -> bool:
    return False


async def beat(service: Any, source: str, highest: int | None = None) -> None:
    await service.hear(SafetyAgentHeartbeat, {"highest_sequence": highest}, source=source)


async def look(service: Any, **time: float) -> list[dict[str, Any]]:
    """Time passes while the watch looks every five seconds; answers what it told."""
    end = service.now() + timedelta(**time)
    while service.now() < end:
        service.now.advance(seconds=5)
        await look_after_the_watch(service.units, FEEDS, not_behind)
    return await told(service)


async def told(service: Any) -> list[dict[str, Any]]:
    """What left since it was last asked; taken out of the outbox."""
    rows = await service.rows("with gone as (delete from outbox returning *) select * from gone order by seq")
    found = []
    for row in rows:
        fact = dict(unpack_headers(row["headers"]))["ce_type"].decode().rsplit(".", 2)[1]
        found.append({"fact": fact} | json.loads(row["payload"]))
    return found


async def test_a_source_that_stops_and_one_that_never_spoke_are_both_told_within_two_minutes(service: Any) -> None:
    """SN-44, invariant 44: lead and ops are told of both; a return is told too; heartbeats open no incident."""
    await look(service, seconds=5)
    await beat(service, "/agent/one")
    await beat(service, "/nobody/expects/this")
    assert await look(service, seconds=85) == []
    silent = await look(service, seconds=15)
    assert [(one["fact"], one["about"], one["last_heard_at"] is None) for one in silent] == [
        ("feed_silent", "/agent/one", False),
        ("feed_silent", "/agent/two", True),
    ]
    assert {tuple(one["roles"]) for one in silent} == {("lead", "ops")}
    await beat(service, "/agent/two")
    assert [(one["fact"], one["about"]) for one in await look(service, seconds=5)] == [("feed_back", "/agent/two")]
    assert await service.rows("select ref from incident") == []
    assert [row["source"] for row in await service.rows("select source from feed order by 1")] == list(FEEDS)


async def test_what_was_published_and_never_arrived_is_named_range_by_range(service: Any) -> None:
    """SN-44: every missing range, whatever else arrives late or twice; numbers already looked for are forgotten."""
    await look(service, seconds=5)
    await beat(service, "/agent/one", 10)
    await look(service, seconds=5)
    for number in (11, 12, 14, 14, 2000, 30):
        await service.hear(
            SafetyCrisisDetected, {"agent_incident_id": f"A-{number}", "sequence": number}, source="/agent/one"
        )
    await service.hear(SafetyCrisisDetected, {"agent_incident_id": "A-x", "sequence": "13"}, source="/agent/one")
    await beat(service, "/agent/one", 2000)
    await told(service)
    assert await look(service, seconds=30) == []
    (gap,) = await look(service, seconds=10)
    ranges = [(one["first"], one["last"]) for one in gap["missing"]]
    assert (gap["fact"], gap["about"], ranges) == ("feed_gap", "/agent/one", [(13, 13), (15, 29), (31, 1999)])
    await beat(service, "/agent/one", 2000)
    assert [one for one in await look(service, seconds=60) if one["about"] == "/agent/one"] == []
    assert await service.rows("select * from feed_number") == []


async def test_while_we_are_behind_ourselves_nothing_is_missing_yet(service: Any) -> None:
    """Records that wait to be read are no gap of the source's."""
    await look(service, seconds=5)
    await beat(service, "/agent/one", 10)
    await look(service, seconds=5)
    await beat(service, "/agent/one", 11)
    await told(service)
    for _ in range(15):
        service.now.advance(seconds=5)
        await look_after_the_watch(service.units, FEEDS, lambda: True)
    assert await told(service) == []


async def test_a_storm_is_told_once_and_every_incident_in_it_is_kept_and_paged(service: Any) -> None:
    """SN-30, invariant 7: over 50 in a minute; lead and ops hear of it once, of its end when it was calm for ten minutes."""
    await look(service, seconds=5)
    for number in range(60):
        await service.hear(SafetyCrisisDetected, {"agent_incident_id": f"A-{number}", "severity": "critical"})
        await service.hear(SafetyCrisisDetected, {"agent_incident_id": f"D-{number}", "mode": "drill"})
    assert [one["fact"] for one in await told(service)].count("page_requested") == 120
    (storm,) = [one for one in await look(service, seconds=60) if one["about"] == "storm"]
    assert (storm["fact"], storm["opened"], storm["roles"]) == ("storm_started", 60, ["lead", "ops"])
    (ended,) = [one for one in await look(service, minutes=11) if one["about"] == "storm"]
    assert (ended["fact"], ended["opened"]) == ("storm_ended", 60)


async def test_two_replicas_tell_once(service: Any) -> None:
    """Whoever has the turn looks; the other need not."""
    await look(service, seconds=5)
    for _ in range(5):
        service.now.advance(seconds=20)
        await asyncio.gather(*(look_after_the_watch(service.units, FEEDS, not_behind) for _ in range(2)))
    assert len(await told(service)) == 2


class Topic:
    """Where the agent's topic ends."""

    def __init__(self) -> None:
        self.end = 0
        self.is_away = False

    @asynccontextmanager
    async def watcher(self, topics: list[str]) -> AsyncIterator["Topic"]:
        assert topics == [AGENT.name]
        if self.is_away:
            raise TransientFailure("away")
        yield self

    async def ends(self) -> dict[tuple[str, int], int]:
        return {(AGENT.name, 0): self.end}


class Watcher:
    """The outside watcher: an HTTP server on a port of its own that counts beats."""

    def __init__(self) -> None:
        self.beats = 0
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"POST /ping/secret HTTP/1.1")
        self.beats += 1
        writer.write(self.answer)
        await writer.drain()
        writer.close()


class Proof:
    """A self-proof of the service, looked at every ten seconds as the wiring does."""

    def __init__(self, service: Any, url: str) -> None:
        self.service, self.topic = service, Topic()
        self.proof = SelfProof(
            service.databases[1], self.topic, service.now, Beat(SecretStr(url), service.now), group="g"
        )

    async def look(self, **time: float) -> str | None:
        end = self.service.now() + timedelta(**time)
        while self.service.now() < end:
            self.service.now.advance(seconds=10)
            await self.proof.look()
        return self.proof.doubt()


@pytest.fixture
async def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
async def proof(service: Any, watcher: Watcher) -> AsyncIterator[Proof]:
    server = await asyncio.start_server(watcher.take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield Proof(service, f"http://127.0.0.1:{port}/ping/secret")
    server.close()
    await server.wait_closed()


async def test_beats_go_out_every_thirty_seconds_while_nobody_is_forgotten(proof: Proof, watcher: Watcher) -> None:
    """Invariant 43, on a real connection."""
    assert await proof.look(minutes=5) is None
    assert watcher.beats == 10


async def test_beats_stop_within_a_minute_when_a_page_is_overdue(proof: Proof, watcher: Watcher, service: Any) -> None:
    """Invariants 15 and 43: also when it is overdue because paging fails and is tried again and again."""
    await service.hear(SafetyCrisisDetected, {"agent_incident_id": "A-1", "severity": "critical"})
    await told(service)
    assert await proof.look(minutes=1) is None
    before = watcher.beats
    assert "1 pages are overdue" in str(await proof.look(seconds=80))
    assert watcher.beats - before <= 2
    before = watcher.beats
    await proof.look(minutes=5)
    assert watcher.beats == before
    for _ in range(3):
        await page_who_is_due(service.units)
        await told(service)
        assert await proof.look(seconds=10) is None
    assert watcher.beats == before + 1


async def test_a_page_that_fails_again_and_again_does_not_pass_for_one_that_is_not_due(
    proof: Proof, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariants 15 and 43: it is put off so that others go on, and stays overdue all the same."""
    await service.hear(SafetyMandatoryReportTriggered, {"agent_incident_id": "A-1"})
    await told(service)
    service.now.advance(minutes=6)

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("safety_bridge.handlers.look", fail)
    for _ in range(4):
        await page_who_is_due(service.units)
        service.now.advance(seconds=20)
    assert "1 pages are overdue" in str(await proof.look(seconds=10))


async def test_an_urgent_event_that_is_not_published_stops_the_beats(
    proof: Proof, watcher: Watcher, service: Any
) -> None:
    """Invariant 43"""
    await service.hear(SafetyCrisisDetected, {"agent_incident_id": "A-1", "severity": "low"})
    assert "an urgent event waits to be published" in str(await proof.look(seconds=20))
    assert watcher.beats <= 1
    await told(service)
    assert await proof.look(seconds=30) is None


async def test_records_that_are_not_read_stop_the_beats(proof: Proof, watcher: Watcher, service: Any) -> None:
    """Invariant 43: records of more than 30 seconds ago are still unread; what is read in time never stops them."""
    await service.rows("insert into consumer_cursor values ('g', 'safety.agent.v1', 0, 0)")
    assert await proof.look(seconds=10) is None
    for _ in range(10):
        proof.topic.end += 5
        assert await proof.look(seconds=10) is None
        await service.rows(f"update consumer_cursor set next_offset = {proof.topic.end}")
    before = watcher.beats
    proof.topic.end += 1
    assert "not read up to now" in str(await proof.look(seconds=60))
    assert proof.proof.is_behind()
    assert watcher.beats - before <= 1
    await service.rows("delete from consumer_cursor")


async def test_a_world_that_does_not_answer_proves_nothing(proof: Proof, watcher: Watcher) -> None:
    """Invariant 43: no beat while the broker is away; what the watcher answers badly is said, and tried again."""
    proof.topic.is_away = True
    assert "cannot be shown" in str(await proof.look(minutes=1))
    assert watcher.beats == 0
    proof.topic.is_away = False
    watcher.answer = b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"
    for _ in range(3):  # also while it is not time for another one
        assert await proof.look(seconds=10) == "the outside watcher was not reached: answered 500"
    watcher.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    assert await proof.look(seconds=30) is None
