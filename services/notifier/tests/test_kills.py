"""Killed at random while messages go out over flaky channels: every page arrives, no customer's message arrives twice, and the
ledger explains each one. What arrived is asked of the servers, not of the service.
"""

import asyncio
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from aiosmtpd.smtp import SMTP
from http_room import Asked, HttpRoom, answer, http_room
from mortal_replica import CommonNow, Nursery, a_desk, nursery
from notifier_replica import Replica

from notifier.domain.notification import Audience, Channel, Notification, Reason, State, Template
from notifier.senders import Message, slack
from notifier.store import _NOTIFICATION
from shared.messaging.outbox import unpack_headers
from shared.runtime.database import Database
from shared.vocabulary import Team

SEED = int(os.environ.get("SUPPORT_TEST_SEED", "1"))
PEOPLE = 150
DEAD_SLACK, DEAD_HOOK = "slack/p1", "hook/p2"
AT_WORK = 2
DEADLINE_SECONDS = 540.0
SOON = timedelta(seconds=5)

CUT_EVERY_LINE = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and application_name = 'support-notifier'
"""
WHAT_IS_OPEN = """
select count(*) filter (where state in ('queued', 'sending')) as open,
    count(*) filter (where next_look_at <= $1 or state = 'sending') as due, max(next_look_at) as last
from notification
"""


@dataclass
class FlakyMail:
    """An SMTP server that has bad days, and knows what it has taken."""

    chance: random.Random
    taken: Counter[str] = field(default_factory=Counter)
    """By the id of the message."""
    recipients: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    unanswered: Counter[str] = field(default_factory=Counter)
    """By recipient, how often it has left open whether it would take or took a text."""
    answers: Counter[str] = field(default_factory=Counter)

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:  # noqa: N802 - aiosmtpd's name
        said = self._draw(250, {451: 0.1, 421: 0.02, 550: 0.01})
        if said == 250:
            envelope.rcpt_tos.append(address)
            self.unanswered[address] += 1
        return f"{said} x"

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802 - aiosmtpd's name
        (recipient,) = envelope.rcpt_tos
        said = self._draw(250, {451: 0.05, 554: 0.01, 0: 0.03, -1: 0.005})
        if said == 250 or (said <= 0 and self.chance.random() < 0.5):
            message_id = message_from_bytes(envelope.content)["Message-ID"].strip("<>").partition("@")[0]
            self.taken[message_id] += 1
            self.recipients[message_id].append(recipient)
        if said == 0:
            server.transport.abort()
        if said == -1:
            await asyncio.Event().wait()
        self.unanswered[recipient] -= said > 0
        return f"{said} x"

    def _draw(self, usual: int, others: dict[int, float]) -> int:
        said = self.chance.choices([usual, *others], [1 - sum(others.values()), *others.values()])[0]
        self.answers[f"smtp {said}"] += 1
        return said


class FlakyWeb(HttpRoom):
    """Slack and the webhooks of many people on one server that has bad days."""

    chance: random.Random
    answered: Counter[str]
    taken: Counter[tuple[str, bytes | str]]
    """By path, and what stands there for the message: the id of a webhook, the words of Slack."""
    unanswered: set[tuple[str, bytes | str]]

    def answer_to(self, asked: Asked) -> bytes | None:
        is_hook = asked.path.startswith("hook")
        good, no = (answer(204), 400) if is_hook else (answer(200, b"ok"), 200)
        saying_no = answer(no, b'{"ok": false, "error": "internal_error"}')
        gone = {DEAD_SLACK: answer(200, b'{"ok": false, "error": "channel_not_found"}'), DEAD_HOOK: answer(410)}
        if asked.path in gone:
            return gone[asked.path]
        key = (asked.path, asked.headers.get("webhook-id", asked.body))
        said = self.chance.choices(["ok", "503", "429", "no", "drop", "stall"], [80, 10, 5, 2, 2.5, 0.5])[0]
        self.answered[said] += 1
        if said == "ok" or (said in ("drop", "stall") and self.chance.random() < 0.5):
            self.taken[key] += 1
        if said in ("drop", "stall"):
            self.unanswered.add(key)
        self.drops_line = said == "drop"
        others = {"503": answer(503), "429": answer(429, retry_after="3"), "no": saying_no, "stall": None}
        return good if said in ("ok", "drop") else others[said]


@dataclass
class World:
    """The servers, the processes, and who breaks them."""

    chance: random.Random
    now: CommonNow
    mail: FlakyMail
    web: FlakyWeb
    office: Replica
    """Where events arrive; it sends nothing."""
    nursery: Nursery
    master: asyncpg.Connection
    quiet: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who must not lose its own connection."""
    cut: set[str] = field(default_factory=set)
    """Messages that were under way when something was killed."""
    lines_cut: int = 0

    async def hear(self, *messages: Any) -> None:
        async with self.quiet:
            await self.office.hear(*messages)

    async def break_things(self) -> None:
        """Kill a process or the connections of all, again and again; another process takes the place of a dead one."""
        while True:
            await asyncio.sleep(self.chance.uniform(0.3, 3.0))
            if not self.nursery.killed or self.chance.random() < 0.7:
                self.nursery.kill(self.chance.choice(self.nursery.alive))
                await self._note_what_is_cut()
                await self.nursery.bear()
            else:
                async with self.quiet:
                    self.lines_cut += await self.master.fetchval(CUT_EVERY_LINE)
                await self._note_what_is_cut()

    async def _note_what_is_cut(self) -> None:
        async with self.quiet:
            self.cut |= {
                row["id"] for row in await self.office.rows("select id from notification where state = 'sending'")
            }

    async def settle(self) -> None:
        """Wait until nothing is open; where nothing is due soon, hours pass at once."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                async with self.quiet, self.office.units.database.connection() as connection:
                    seen = await connection.fetchrow(WHAT_IS_OPEN, self.now() + SOON)
                if not seen["open"]:
                    return
                if not seen["due"] and seen["last"] is not None:
                    self.now.move_to(seen["last"])
                await asyncio.sleep(0.2)


@pytest.fixture
def chance() -> random.Random:
    print(f"SUPPORT_TEST_SEED={SEED}")
    return random.Random(SEED)


@pytest.fixture
async def world(chance: random.Random, database_url: str, database: Database, tmp_path: Path) -> AsyncIterator[World]:
    mail, web = FlakyMail(chance), FlakyWeb()
    web.chance, web.answered, web.taken, web.unanswered = chance, Counter(), Counter(), set()
    async with http_room(one=web), smtp_server(mail) as smtp_port:
        directory_file = tmp_path / "directory.yaml"
        directory_file.write_text(yaml.safe_dump(a_directory(web.url.removesuffix("hook"))))
        clock = tmp_path / "clock"
        now = CommonNow(clock)
        office = Replica(database, a_desk(directory_file), now)
        async with nursery(directory_file, smtp_port, database_url, clock, tmp_path / "log") as born:
            for _ in range(AT_WORK):
                await born.bear()
            master = await asyncpg.connect(database_url)
            yield World(chance, now, mail, web, office, born, master)
            await master.close()


@asynccontextmanager
async def smtp_server(mail: FlakyMail) -> AsyncIterator[int]:
    connections: list[SMTP] = []

    def connected() -> SMTP:
        connections.append(SMTP(mail, hostname="test"))
        return connections[-1]

    server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for connection in connections:
        if connection.transport is not None:
            connection.transport.abort()
    await asyncio.sleep(0)


def a_directory(base: str) -> dict[str, Any]:
    """People with three ways each, and one team with as many."""

    def person(name: str) -> dict[str, Any]:
        ways = [("slack", f"{base}slack/{name}"), ("webhook", f"{base}hook/{name}")]
        urgent = [{"kind": kind, "address": url, "urgent": True, "verified": True} for kind, url in ways]
        return {"id": name, "email": f"{name}@staff.example", "channels": urgent}

    teams = {
        team.value: {"address": f"{team.value}@staff.example", "lead": f"{team.value}-lead@staff.example"}
        for team in Team
        if team is not Team.CHILD_SAFETY_AGENT
    }
    teams["technical_support"] |= {"slack": f"{base}slack/team", "webhook": f"{base}hook/team"}
    on_call = {
        "primary": [person("primary")],
        "safety_team": [person(f"p{number}") for number in range(PEOPLE)],
        "ops": [{"id": "olga", "email": "olga@staff.example"}],
    }
    return {"teams": teams, "on_call": on_call}


def events(count: int, chance: random.Random, say: Any) -> Iterator[list[Any]]:
    """Batches that make at least so many messages: tickets are opened, routed and resolved, incidents paged for, some of them
    acknowledged."""
    for number in range(count // 6):
        ticket = f"T-{number}"
        requester = {"id": f"u-{number}", "email": f"{ticket}@example.com"}
        yield [say.created(ticket, requester=requester)]
        team = "technical_support" if number % 8 == 0 else "customer_service"
        yield [say.assigned("login", ticket, team=team), say.resolved(ticket)]
        ref = f"SI-{number:08}"
        person = f"p{chance.randrange(PEOPLE)}"
        yield [say.paged(ref, roles=["primary"] if number % 10 == 0 else [], persons=[person])]
        if chance.random() < 0.2:
            yield [say.acknowledged(ref)]


@pytest.mark.parametrize("count", [150, pytest.param(5_000, marks=pytest.mark.long)])
async def test_killed_at_random_every_page_arrives_no_customer_is_written_to_twice_and_the_ledger_tells_why(
    world: World, chance: random.Random, say: Any, count: int, tmp_path: Path
) -> None:
    """SN-10, SN-11, invariants 26 and 27: whatever becomes of processes, lines and servers."""
    breaking = asyncio.create_task(world.break_things())
    batch: list[Any] = []
    for some in events(count, chance, say):
        batch += some
        if len(batch) >= 40:
            await world.hear(*batch)
            batch.clear()
            await asyncio.sleep(0.05)
    await world.hear(*batch)
    settling = asyncio.create_task(world.settle())
    await asyncio.wait([breaking, settling], return_when=asyncio.FIRST_COMPLETED)
    if breaking.done():
        breaking.result()
    breaking.cancel()
    await settling
    ledger = await Ledger.read(world)
    ledger.tell()
    assert len(ledger.all) >= count
    assert world.nursery.killed
    for one in ledger.all:
        ledger.explain(one)
    ledger.knows_all_that_arrived()
    ledger.has_paged_for_every_incident()
    assert "@example.com" not in (tmp_path / "log").read_text()


@dataclass
class Ledger:
    """What the service has written down, beside what the servers have got."""

    world: World
    all: list[Notification]
    events: dict[str, list[str]]
    """What was said of each on the topic, in order."""
    words: dict[str, tuple[str, bytes]]
    """What Slack was told of each, and where."""

    @classmethod
    async def read(cls, world: World) -> "Ledger":
        office = world.office
        every = [_NOTIFICATION.validate_json(row[0]) for row in await office.rows("select document from notification")]
        events: dict[str, list[str]] = defaultdict(list)
        for row in await office.rows("select headers, payload from outbox order by seq"):
            kind = dict(unpack_headers(row["headers"]))["ce_type"].decode().split(".")[-2]
            if (of := json.loads(row["payload"]).get("notification_id")) is not None:
                events[of].append(kind)
        async with office.units.begin() as unit:
            by_slack = [one for one in every if one.intent.channel is Channel.SLACK]
            tickets = {one.intent.ticket_id for one in by_slack if one.intent.ticket_id}
            await unit.tickets.read(unit.connection, tickets, lock=False)
            words = {}
            for one in by_slack:
                ticket = unit.tickets.get(one.intent.ticket_id) if one.intent.ticket_id else None
                if one.is_uncounted:
                    continue
                said = unit.desk.words(one.intent, ticket)
                url = unit.desk.address(one.intent, ticket) or ""
                message = Message(one.id, "", url, said.subject, said.body, one.created_at)
                words[one.id] = url.split("/", 3)[3], slack.compose(message)
        return cls(world, every, events, words)

    def tell(self) -> None:
        """For whoever wants to know how it went."""
        world = self.world
        outcomes = Counter(f"{one.intent.audience} {one.state}" for one in self.all)
        print(
            f"{len(self.all)} messages, {world.nursery.killed} kills, {world.lines_cut} lines cut, until {world.now()}"
        )
        arrived = Counter(f"{one.intent.audience} {one.state}" for one in self.all if self.arrivals(one))
        twice = Counter(f"{one.intent.audience} {one.state}" for one in self.all if self.arrivals(one) > 1)
        print("by outcome", dict(outcomes), "arrived", dict(arrived), "more than once", dict(twice), sep="\n")
        print(dict(world.mail.answers), dict(world.web.answered), sep="\n")

    def arrivals(self, one: Notification) -> int:
        """How often a server has taken it."""
        if one.intent.channel is Channel.EMAIL:
            return self.world.mail.taken[one.id]
        return self.world.web.taken[self._key(one)]

    def is_doubtful(self, one: Notification) -> bool:
        """Whether some try of it left its outcome open: a server that did not answer, a process that died."""
        if one.id in self.world.cut:
            return True
        if one.intent.channel is Channel.EMAIL:
            return self.world.mail.unanswered[self._mailbox(one)] > 0
        return self._key(one) in self.world.web.unanswered

    def explain(self, one: Notification) -> None:
        """Its state is what the servers have seen of it, and what was said of it on the topic."""
        arrived, doubtful = self.arrivals(one), self.is_doubtful(one)
        is_customer = one.intent.audience is Audience.CUSTOMER
        explained = {
            State.SENT: arrived >= 1 and one.attempts >= 1,
            State.FAILED: one.reason is not None and (arrived == 0 or (one.is_doubtful and not is_customer)),
            State.HELD: is_customer and one.reason == Reason.AMBIGUOUS and bool(arrived or doubtful),
            State.SUPERSEDED: not is_customer and self._is_overtaken(one),
        }
        assert explained.get(one.state, False), (one, arrived, doubtful)
        assert not is_customer or arrived <= 1, (one, arrived)
        told = self.events[one.id]
        assert (told[0], told[-1]) == ("queued", one.state), (one, told)
        assert len(told) == len(set(told)), (one, told)

    def has_paged_for_every_incident(self) -> None:
        """Each person who was to be paged was reached by some way, or somebody in their place, unless it was acknowledged."""
        reached, acknowledged = defaultdict(bool), set()
        for one in self.all:
            if one.intent.template is Template.PAGE:
                about = one.intent.incident_ref, one.intent.stands_in_for or one.intent.recipient
                by_roll_up = one.covered_by is not None and self.arrivals(self.by_id(one.covered_by)) > 0
                reached[about] |= self.arrivals(one) > 0 or by_roll_up
                if one.reason == Reason.ACKNOWLEDGED:
                    acknowledged.add(one.intent.incident_ref)
        assert reached
        assert [about for about, is_reached in reached.items() if not is_reached and about[0] not in acknowledged] == []

    def knows_all_that_arrived(self) -> None:
        """Nothing arrived that is not in the ledger, or at another address than its own."""
        mails = {one.id: [self._mailbox(one)] for one in self.all if one.intent.channel is Channel.EMAIL}
        assert {of: sorted(set(to)) for of, to in self.world.mail.recipients.items()}.items() <= mails.items()
        assert self.world.web.taken.keys() <= {
            self._key(one) for one in self.all if one.intent.channel is not Channel.EMAIL
        }

    def by_id(self, notification_id: str) -> Notification:
        return next(one for one in self.all if one.id == notification_id)

    def _is_overtaken(self, one: Notification) -> bool:
        if one.reason == Reason.ROLLED_UP:
            return one.covered_by is not None and self.by_id(one.covered_by).state in (State.SENT, State.FAILED)
        return one.reason == Reason.ACKNOWLEDGED

    def _key(self, one: Notification) -> tuple[str, bytes | str]:
        if one.intent.channel is Channel.SLACK:
            return self.words.get(one.id, ("", b""))
        return f"hook/{one.intent.recipient.replace('team/technical_support', 'team')}", one.id

    def _mailbox(self, one: Notification) -> str:
        if one.intent.audience is Audience.CUSTOMER:
            return f"{one.intent.ticket_id}@example.com"
        return f"{one.intent.recipient.removeprefix('team/')}@staff.example"
