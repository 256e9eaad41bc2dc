"""One process of the notifier for a test: a real database, its own ways out, and a channel that does what the test says."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from notifier import handlers
from notifier.app import SUBSCRIPTIONS
from notifier.domain.desk import Desk
from notifier.domain.notification import Channel, Notification
from notifier.domain.retry import Outcome, SendResult
from notifier.senders import Message
from notifier.senders.destinations import Allowance, Channels, Destinations
from notifier.store import NotifierUnit, Sought, listed
from notifier.timers import Deliveries
from shared.events.envelope import Received
from shared.messaging.unit_of_work import UnitsOfWork
from shared.runtime.database import Database
from shared.testing.time import FakeNow

ACCEPTED = SendResult(Outcome.ACCEPTED, "smtp_250")


class Post:
    """A channel that answers what the test says, and keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[Message] = []
        self.answers: list[SendResult] = []
        self.answers_to: dict[str, list[SendResult]] = {}
        self.hang = False
        self.on_send: Callable[[], Any] = lambda: None

    async def send(self, message: Message, *, within: timedelta) -> SendResult:
        self.given.append(message)
        self.on_send()
        if self.hang:
            await asyncio.Event().wait()
        answers = self.answers_to.get(message.recipient, self.answers)
        return answers.pop(0) if answers else ACCEPTED

    def given_to(self, recipient: str) -> list[Message]:
        return [message for message in self.given if message.recipient == recipient]

    async def close(self) -> None:
        pass

    @property
    def subjects(self) -> list[str]:
        return sorted(message.subject for message in self.given)


def post_by_every_channel(post: Post, now: FakeNow) -> Channels:
    """Channels of which none is ever spared."""
    allowance = Allowance(at_once=10, opens_after=1_000_000)
    return Channels({channel: Destinations(post, allowance, now, places=10) for channel in Channel})


class Replica:
    """One process of the notifier: its own connections and ways out. What is not in the database is lost with it."""

    def __init__(self, database: Database, desk: Desk, now: FakeNow) -> None:
        self.post = Post()
        self.woken: list[bool] = []
        self.desk = replace(desk, editions={})
        make = partial(NotifierUnit, desk=self.desk, wake=self.woken.append)
        self.units = UnitsOfWork(database, make, now=now, wake=lambda _: None)
        self.mails, self.pages = (
            Deliveries(self.units, post_by_every_channel(self.post, now), urgent=urgent) for urgent in (False, True)
        )

    async def hear(self, *messages: Received[Any]) -> None:
        """A batch is consumed."""
        async with self.units.begin() as unit:
            await unit.load(messages)
            for message in messages:
                unit.because_of(message)
                SUBSCRIPTIONS[type(message.event)](message, unit)

    async def deliver(self) -> None:
        """Look, send, and look again to write down what became of it."""
        for way_out in (self.pages, self.mails):
            await way_out.look()
            await asyncio.gather(*way_out._under_way)
            await way_out.look()

    async def begin(self) -> None:
        """Look and begin to send; the process may now die."""
        for way_out in (self.pages, self.mails):
            await way_out.look()
        await asyncio.sleep(0)

    async def die(self) -> None:
        for task in self.pages._under_way | self.mails._under_way:
            task.cancel()

    async def complete(self, template: str, facts: dict[str, str | bool], ticket_id: str = "T-1") -> None:
        """A person supplies what the message with this text waits for."""
        await self._command(template, ticket_id, partial(handlers.complete, facts=facts, by="robin"))

    async def release(self, template: str, ticket_id: str = "T-1") -> None:
        """A person lets the message with this text go."""
        await self._command(template, ticket_id, partial(handlers.release, by="robin"))

    async def _command(self, template: str, ticket_id: str, command: Callable[..., Notification]) -> None:
        async with self.units.begin() as unit:
            await unit.tickets.read(unit.connection, [ticket_id])
            await unit.notifications.read_of_tickets(unit.connection, [ticket_id])
            (waiting,) = [one for one in unit.notifications.of(ticket_id) if one.intent.template == template]
            command(waiting, unit=unit)

    async def notifications(self, ticket_id: str = "T-1") -> list[Notification]:
        async with self.units.database.connection() as connection:
            return list((await listed(connection, Sought(ticket_id=ticket_id), limit=100)).notifications)

    async def states(self, ticket_id: str = "T-1") -> dict[str, str]:
        return {one.intent.template: one.state.value for one in await self.notifications(ticket_id)}

    async def told(self) -> list[str]:
        """What has been put into the outbox, in order."""
        async with self.units.database.connection() as connection:
            rows = await connection.fetch("select headers from outbox order by seq")
        return [bytes(row["headers"]).split(b"support.notification.")[1].split(b".v1")[0].decode() for row in rows]

    async def rows(self, query: str) -> list[Any]:
        async with self.units.database.connection() as connection:
            return list(await connection.fetch(query))

    async def value(self, query: str) -> Any:
        async with self.units.database.connection() as connection:
            return await connection.fetchval(query)
