"""A running system as upstream and an operator see it: posts events until they are accepted, reads what came of them."""

import asyncio
import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from deploy.engines import Engines
from deploy.given import GivenDatabase, GivenKafka
from deploy.stack import SERVICES, Service, Stack
from shared.events.envelope import Record, rfc3339
from shared.messaging.kafka import Kafka
from shared.runtime.now import machine_now
from shared.testing.builders import ticket_data
from shared.testing.topic import Seen, read_topic

SOURCE = "/helpdesk"
TRY_AGAIN_SECONDS = 0.2
ACCEPTED = 202


def event(fact: str, ticket_id: str, event_id: str, **data: Any) -> dict[str, Any]:
    """A ticket event in structured mode."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": f"com.storytailor.support.ticket.{fact}.v1",
        "time": rfc3339(machine_now()),
        "data": ticket_data(fact, ticket_id, **data),
    }


@dataclass
class System:
    """A stack with topics of its own."""

    stack: Stack
    engines: Engines
    topic_prefix: str
    database_url: str

    @classmethod
    async def start(
        cls,
        directory: Path,
        engines: Engines,
        *,
        replicas: int = 1,
        services: Iterable[Service] = SERVICES,
        environment: Mapping[str, str] | None = None,
    ) -> "System":
        """A system on running engines, in a database of its own."""
        name = f"t{secrets.token_hex(3)}"
        await _create_database(engines.database_url, name)
        url = engines.database_url.rpartition("/")[0] + f"/{name}"
        given = Engines(GivenKafka(engines.kafka_address), GivenDatabase(url))
        environment = {"SUPPORT_TOPIC_PREFIX": f"{name}.", **(environment or {})}
        stack = Stack(directory, given, services=services, replicas=replicas, environment=environment)
        system = cls(stack, engines, f"{name}.", url)
        try:
            await asyncio.to_thread(stack.start)
        except BaseException:
            stack.stop()
            raise
        return system

    def stop(self) -> None:
        self.stack.stop()

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(headers={"authorization": f"Bearer {self.stack.api_key}"}, timeout=15)

    async def ask(self, service: str, path: str, **options: Any) -> Any:
        """A GET that has to succeed."""
        async with self.client() as client:
            answer = await client.get(self.stack.url(service) + path, **options)
            answer.raise_for_status()
            return answer.json()

    async def post(self, *events: dict[str, Any], deadline_seconds: float = 120.0) -> None:
        """Post events in this order, each until it is accepted: what upstream does when we are away."""
        async with self.client() as client, asyncio.timeout(deadline_seconds):
            for start in range(0, len(events), 100):
                await self._post_batch(client, events[start : start + 100])

    async def _post_batch(self, client: httpx2.AsyncClient, batch: Sequence[dict[str, Any]]) -> None:
        while True:
            try:
                answer = await client.post(
                    self.stack.url("intake") + "/v1/events",
                    content=json.dumps(batch),
                    headers={"content-type": "application/cloudevents-batch+json"},
                )
            except httpx2.TransportError:
                await asyncio.sleep(TRY_AGAIN_SECONDS)
                continue
            if answer.status_code == 207 and all(item["status"] == ACCEPTED for item in answer.json()):
                return
            assert answer.status_code in (207, 503), answer.text
            await asyncio.sleep(TRY_AGAIN_SECONDS)

    async def read(self, topic: str) -> list[Seen]:
        return await read_topic(self.engines.kafka_address, self.topic_prefix + topic)

    async def read_raw(self, topic: str) -> list[Record]:
        """A topic's records byte for byte."""
        async with Kafka(self.engines.kafka_address).watcher([self.topic_prefix + topic]) as watcher:
            return await watcher.everything()

    async def read_until(
        self, topic: str, enough: Callable[[list[Seen]], bool], *, deadline_seconds: float = 60.0
    ) -> list[Seen]:
        """A topic's records once they are enough; the broker may be away meanwhile.

        Raises:
            AssertionError: they never were; tells what there was.
        """
        end = asyncio.get_running_loop().time() + deadline_seconds
        seen: list[Seen] = []
        while asyncio.get_running_loop().time() < end:
            seen = await self.read(topic)
            if enough(seen):
                return seen
            await asyncio.sleep(0.3)
        counts: dict[str, int] = defaultdict(int)
        for one in first_occurrences(seen):
            counts[one.fact] += 1
        raise AssertionError(f"{topic}: {len(seen)} records, not enough: {dict(counts)}")

    async def mails(self) -> list[dict[str, Any]]:
        async with self.client() as client:
            answer = await client.get(f"{self.stack.catcher.url}/mails.json")
            found: list[dict[str, Any]] = answer.json()
            return found

    async def sql(self, query: str) -> Any:
        """One value from the tables, for checks that nothing is left behind."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()


async def _create_database(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"create database {name}")
    finally:
        await connection.close()


def first_occurrences(seen: Iterable[Seen]) -> list[Seen]:
    """Without repetitions; those must be the same to the byte.

    Raises:
        AssertionError: an id came twice with other bytes.
    """
    first: dict[tuple[str, str], Seen] = {}
    for one in seen:
        known = first.setdefault((one.headers["ce_source"], one.headers["ce_id"]), one)
        assert known.value == one.value, f"{one.fact} {one.headers['ce_id']} was published twice with other bytes"
    return list(first.values())


def by_ticket(seen: Iterable[Seen]) -> dict[str, list[Seen]]:
    """First occurrences by key, in order."""
    found: dict[str, list[Seen]] = defaultdict(list)
    for one in first_occurrences(seen):
        found[one.key].append(one)
    return dict(found)
