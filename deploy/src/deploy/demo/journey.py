"""One journey through the system: what is sent in at one end, and what is seen to come of it on topics, APIs and in mails."""

import asyncio
import json
import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpx2

from deploy.demo.installation import Installation
from shared.events.envelope import Record, rfc3339
from shared.events.topics import TOPICS
from shared.messaging.kafka import Kafka
from shared.runtime.now import machine_now

PATIENCE_SECONDS = 30.0
MAIL_LOOK_SECONDS = 0.1
UPSTREAM = "/storytailor/demo"
Json = dict[str, Any]


class Unexpected(Exception):  # noqa: N818 - it names what was seen, not a failure of ours
    """Something did not happen, or otherwise than it should."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A record on a topic."""

    topic: str
    key: str
    fact: str
    headers: dict[str, str]
    data: Json
    """The fields of the event, those of an incident's tracks among them."""

    @classmethod
    def of(cls, record: Record) -> Self:
        headers = {name: value.decode(errors="replace") for name, value in record.headers}
        fact = headers.get("ce_type", "?").removeprefix("com.storytailor.").removeprefix("support.")
        try:
            data = json.loads(record.value)
            data |= data.get("tracks", {})
        except ValueError:
            data = {}
        return cls(record.topic, record.key.decode(errors="replace"), fact.rsplit(".v", 1)[0], headers, data)

    def concerns(self, name: str) -> bool:
        """Whether it is about this ticket or incident."""
        return name in (
            self.key,
            *(self.data.get(field) for field in ("ticket_id", "incident_ref", "agent_incident_id")),
        )


class System:
    """A running system as the demo sees it: its APIs, its mails, and every record from now on."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.kafka = Kafka(installation.kafka, topic_prefix=installation.topic_prefix, client_id="support-demo")
        self.http = httpx2.AsyncClient(headers={"authorization": f"Bearer {installation.api_key}"}, timeout=10)
        self._records: list[Seen] = []
        self._news = asyncio.Condition()
        topics = [topic.name for topic in TOPICS]
        topics += [topic.dead_letters(group) for topic in TOPICS for group in topic.consumers]
        self._watcher = self.kafka.watcher(topics)

    async def __aenter__(self) -> Self:
        await self._watcher.__aenter__()
        await self._watcher.skip_to_end()
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._following.cancel()
        with suppress(asyncio.CancelledError):
            await self._following
        await self._watcher.__aexit__(kind, error, trace)
        await self.http.aclose()

    def url(self, service: str, path: str) -> str:
        return self.installation.services[service] + path

    async def record(self, fits: Callable[[Seen], bool]) -> Seen | None:
        """The first record that fits, also one seen before; None when there is none in time."""
        checked = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS), self._news:
                while True:
                    for seen in self._records[checked:]:
                        if fits(seen):
                            return seen
                    checked = len(self._records)
                    await self._news.wait()
        return None

    def records(self, fits: Callable[[Seen], bool]) -> list[Seen]:
        """All records so far that fit."""
        return [seen for seen in self._records if fits(seen)]

    async def mails(self) -> list[Json]:
        """All mails caught so far."""
        answer = await self.http.get(f"{self.installation.mail_url}/mails.json")
        mails: list[Json] = answer.json()
        return mails

    async def _follow(self) -> None:
        async for record in self._watcher.follow():
            async with self._news:
                self._records.append(Seen.of(record))
                self._news.notify_all()


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the table: when (since the journey began), where, and what."""

    after: timedelta
    where: str
    what: str


class Journey:
    """One ticket or incident, followed. Each method adds a step, and raises when it is not as it should be.

    Raises:
        Unexpected: by every method.
    """

    def __init__(self, title: str, system: System) -> None:
        self.title = title
        self.steps: list[Step] = []
        self.system = system
        self.name = f"DEMO-{secrets.token_hex(4).upper()}"
        """The ticket's id, or the agent's id of the incident."""
        self.customer = f"{self.name.lower()}@family.example"
        self._began_at = time.monotonic()

    async def create_ticket(self, *, again: bool = False, **data: Any) -> None:
        """A customer writes; `again`: the same post once more."""
        ticket = {
            "ticket_id": self.name,
            "channel": "web",
            "requester": {"id": f"user-{self.name}", "name": "Mia", "email": self.customer},
        }
        answer = await self.post("intake", "/v1/tickets", {**ticket, **data})
        if answer["duplicate"] is not again:
            raise Unexpected(f"duplicate is {answer['duplicate']}")
        self.note("POST /v1/tickets", f"202 {'duplicate: ' if again else ''}{data['subject']!r}")

    async def tell(self, fact: str, path: str = "/v1/events", **data: Any) -> None:
        """Upstream tells a fact, as a CloudEvent: `ticket.resolved` about the ticket, `safety.…` by the Child Safety Agent."""
        aggregate = "support." if fact.startswith("ticket.") else ""
        subject = {"ticket_id": self.name} if fact.startswith("ticket.") else {"agent_incident_id": self.name}
        event = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": UPSTREAM,
            "type": f"com.storytailor.{aggregate}{fact}.v1",
            "time": rfc3339(machine_now()),
            "subject": self.name,
            "data": {**subject, **data},
        }
        await self.post("intake", path, event, media_type="application/cloudevents+json")
        self.note(f"POST {path}", f"202 {fact}")

    async def post(self, service: str, path: str, body: Json, media_type: str = "application/json") -> Json:
        """Post; the answer, which has to be a good one."""
        answer = await self.system.http.post(
            self.system.url(service, path), content=json.dumps(body), headers={"content-type": media_type}
        )
        if not answer.is_success:
            raise Unexpected(f"POST {path}: {answer.status_code} {answer.text}")
        content: Json = answer.json()
        return content

    async def get(self, service: str, path: str) -> Json:
        answer = await self.system.http.get(self.system.url(service, path))
        if not answer.is_success:
            raise Unexpected(f"GET {path}: {answer.status_code} {answer.text}")
        content: Json = answer.json()
        return content

    async def sees(self, fact: str, *, of: str | None = None, show: Sequence[str] = (), **fields: Any) -> Json:
        """A record of this fact about the journey's ticket (or `of` an incident) whose fields are these; its data."""
        name = of or self.name
        seen = await self.system.record(
            lambda one: (
                one.fact == fact
                and one.concerns(name)
                and "x-error-code" not in one.headers
                and all(one.data.get(field) == value for field, value in fields.items())
            )
        )
        if seen is None:
            others = [one.data for one in self.system.records(lambda one: one.fact == fact and one.concerns(name))]
            raise Unexpected(f"no {fact} with {fields}; seen: {others or 'none'}")
        shown = [f"{field}={_word(seen.data.get(field))}" for field in (*fields, *show)]
        clauses = f" ({', '.join(seen.data['clauses'])})" if seen.data.get("clauses") else ""
        self.note(seen.topic, f"{fact}: {' '.join(shown)}{clauses}")
        return seen.data

    async def sees_dead_letter(self, topic: str, code: str) -> None:
        """A record with the journey's key among the dead letters of this topic."""
        seen = await self.system.record(lambda one: one.topic == topic and one.key == self.name)
        if seen is None or seen.headers.get("x-error-code") != code:
            raise Unexpected(f"no dead letter with {code} on {topic}")
        self.note(topic, f"x-error-code={code} x-attempts={seen.headers['x-attempts']}")

    async def mail(self, to: str, *parts: str) -> None:
        """A mail to this address with these parts in subject or text, in the catcher."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if found := await self._mails(to, parts):
                self.note(f"mail to {to}", found[0]["subject"])
                return
            await asyncio.sleep(MAIL_LOOK_SECONDS)
        raise Unexpected(f"no mail to {to} with {parts}")

    async def no_mail(self, to: str) -> None:
        """Up to now no mail to this address."""
        if await self._mails(to, ()):
            raise Unexpected(f"a mail to {to}")
        self.note(f"mail to {to}", "none")

    def note(self, where: str, what: str) -> None:
        self.steps.append(Step(timedelta(seconds=time.monotonic() - self._began_at), where, what))

    async def _mails(self, to: str, parts: Sequence[str]) -> list[Json]:
        return [
            mail
            for mail in await self.system.mails()
            if to in mail["to"] and all(part in f"{mail['subject']}\n{mail['text']}" for part in parts)
        ]


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
