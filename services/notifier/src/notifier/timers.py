"""What is due goes out: claimed, checked once more, handed to its channel, and what became of it written down.

One look is one transaction: it writes down what the finished tries brought and claims what is due next; the sending itself
happens between looks, each message in a task of its own, so that one that hangs holds up nobody. A process that dies in
between leaves rows whose lease ends: pages and staff mails are then tried again under the same id, a customer's is held.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog
from prometheus_client import Counter, Histogram

from notifier.domain.facts import is_drill
from notifier.domain.gate import TextStopped
from notifier.domain.notification import GO, Notification, Reason, State, Verdict
from notifier.domain.retry import LOST, Outcome, SendResult, begun, ended, send_within
from notifier.domain.roll_up import Stream
from notifier.domain.templates import Words
from notifier.domain.ticket import Ticket
from notifier.handlers import announce
from notifier.senders import Message, Sender
from notifier.store import NotifierUnit
from shared.errors import TransientFailure
from shared.events.envelope import derived_id
from shared.messaging.ticker import Ticker
from shared.messaging.unit_of_work import UnitsOfWork

COVERED_AT_ONCE = 200
"""How many pages that a roll-up has said are marked so in one look: the pages of other lanes do not wait long for it."""
DRAIN_SECONDS = 6.0
"""How long a stopping service waits for tries under way; what is later is found by its lease."""

TRIES = Counter(
    "support_delivery_tries_total", "Tries to deliver a notification, by audience and outcome.", ["audience", "outcome"]
)
SENT_AFTER = Histogram(
    "support_notification_sent_seconds",
    "Time from the decision to tell somebody to the channel's acceptance.",
    ["audience"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 600, 3600, 86_400),
)

STOPPED = Counter(
    "support_notification_text_stopped_total",
    "Texts that did not go out as written; pages then went with a fixed text. Each is a bug.",
    ["audience", "reason"],
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way, and the notification as it was when the try began."""

    notification: Notification
    message: Message


@dataclass(frozen=True, slots=True)
class Finished:
    """A try that has ended and is not written down yet."""

    notification: Notification
    result: SendResult


class Deliveries:
    """One lane's way out. The urgent one has its own database connections, sender and loop, and waits behind nothing.

    Args:
        at_once: how many messages may be under way together.
    """

    def __init__(self, units: UnitsOfWork[NotifierUnit], sender: Sender, *, urgent: bool, at_once: int) -> None:
        self.name = "pages" if urgent else "deliveries"
        self._units = units
        self._sender = sender
        self._urgent = urgent
        self._at_once = at_once
        self._ticker = Ticker(self.name, self.look, every_seconds=0.2 if urgent else 1.0)
        self._under_way: set[asyncio.Task[None]] = set()
        self._finished: list[Finished] = []

    def wake(self) -> None:
        """Something is due, or a try has ended."""
        self._ticker.wake()

    def failing(self) -> str | None:
        return self._ticker.failing()

    async def stop(self) -> None:
        await self._ticker.stop()

    async def run(self) -> None:
        """Deliver until stopped; then wait a little for what is under way and write it down."""
        await self._ticker.run()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=DRAIN_SECONDS)
        with suppress(TransientFailure):
            await self._look(limit=0)
        await self._sender.close()

    async def look(self) -> bool:
        """Write down, claim, begin. True when there may be more to do at once."""
        return await self._look(limit=self._at_once - len(self._under_way))

    async def _look(self, *, limit: int) -> bool:
        finished = list(self._finished)
        async with self._units.begin() as unit:
            await unit.notifications.lock(unit.connection, [one.notification.id for one in finished])
            for one in finished:
                _write_down(one, unit)
            due = await unit.notifications.claim(unit.connection, urgent=self._urgent, due_at=unit.now, limit=limit)
            covered = await self._cover(unit)
            await unit.tickets.read(
                unit.connection, {one.intent.ticket_id for one in due if one.intent.ticket_id}, lock=False
            )
            await unit.read_editions(due)
            uncounted = [one for one in due if one.is_uncounted]
            letters = [letter for one in due if not one.is_uncounted and (letter := _begin(one, unit)) is not None]
        del self._finished[: len(finished)]
        for letter in letters:
            self._under_way.add(asyncio.create_task(self._send(letter)))
        for roll_up in uncounted:
            await self._count(roll_up)
        return limit > 0 and (len(due) == limit or bool(uncounted) or covered == COVERED_AT_ONCE)

    async def _cover(self, unit: NotifierUnit) -> int:
        """Mark pages that a roll-up stands for; answers how many."""
        if not self._urgent:
            return 0
        covered = await unit.notifications.covered(unit.connection, limit=COVERED_AT_ONCE)
        for page in covered:
            _settle(page, page.superseded(Reason.ROLLED_UP, by=page.rolled_up_in), unit)
        return len(covered)

    async def _count(self, claimed: Notification) -> None:
        """Count what a roll-up has to say, once; from then on it stands for those pages (4.8)."""
        async with self._units.begin() as unit:
            facts = claimed.intent.facts
            stream = Stream(claimed.intent.recipient, facts["lane"], facts["mode"])
            await unit.paces.read(unit.connection, [stream])
            await unit.notifications.lock(unit.connection, [claimed.id])
            roll_up = unit.notifications.find(claimed.id)
            if roll_up is None or not roll_up.is_uncounted or roll_up.state is not State.QUEUED:
                return
            pace, waiting = unit.paces.get(stream), await unit.notifications.waiting_for(unit.connection, roll_up.id)
            if waiting is None:
                unit.paces.save(replace(pace, roll_up_at=None))
                _settle(roll_up, roll_up.superseded(Reason.ACKNOWLEDGED), unit)
                return
            unit.paces.save(pace.rolled_up(unit.now))
            await unit.notifications.roll_up(unit.connection, roll_up.id, unit.now)
            intent = replace(roll_up.intent, facts={**roll_up.intent.facts, **waiting.facts(unit.now)})
            unit.notifications.save(replace(roll_up, intent=intent))

    async def _send(self, letter: Letter) -> None:
        try:
            result = await self._sender.send(letter.message, within=send_within(letter.notification))
        except Exception as error:
            log.exception("sender failed", notification_id=letter.notification.id, error=type(error).__name__)
            result = SendResult(Outcome.AMBIGUOUS, "sender_failed")
        TRIES.labels(letter.notification.intent.audience, result.outcome).inc()
        self._finished.append(Finished(letter.notification, result))
        if (this := asyncio.current_task()) is not None:
            self._under_way.discard(this)  # before the look that it wakes counts who is under way
        self.wake()


def _write_down(finished: Finished, unit: NotifierUnit) -> None:
    """What a try brought; nothing if its lease had ended and another try has begun since."""
    now = unit.notifications.find(finished.notification.id)
    if now is None or now.attempts != finished.notification.attempts:
        return
    _settle(now, ended(now, finished.result, unit.now), unit)


def _begin(notification: Notification, unit: NotifierUnit) -> Letter | None:
    """The letter to send, if the notification is still needed and allowed (T3)."""
    if notification.state is State.SENDING:
        lost = ended(notification, LOST, unit.now)
        if lost.state is not State.QUEUED:
            _settle(notification, lost, unit)
            return None
    try:
        verdict, message = _written(notification, unit)
    except Exception as error:  # a bug: this one waits for a person, and the others go on
        log.exception("text failed", notification_id=notification.id, error=type(error).__name__)
        verdict, message = Verdict(State.HELD, Reason.UNRENDERABLE), None
    if message is None:
        _settle(notification, notification.under(verdict, unit.now), unit)
        return None
    under_way = begun(notification, unit.now)
    unit.notifications.save(under_way)
    return Letter(under_way, message)


def _written(notification: Notification, unit: NotifierUnit) -> tuple[Verdict, Message | None]:
    """The message, or what is to become of the notification without one."""
    intent = notification.intent
    ticket = unit.tickets.get(intent.ticket_id) if intent.ticket_id else None
    verdict = unit.desk.verdict(intent, ticket, released=notification.released, now=unit.now)
    if verdict != GO:
        return verdict, None
    address = unit.desk.address(intent, ticket)
    if address is None:
        return Verdict(State.FAILED, Reason.NO_ADDRESS), None
    if not unit.desk.may_write_to(address):
        return Verdict(State.SUPPRESSED, Reason.NOT_ALLOWED), None
    words = _words(notification, ticket, unit)
    if words is None:
        return Verdict(State.HELD, Reason.CONFIDENTIAL), None
    message = Message(
        id=notification.id,
        thread=derived_id("thread", intent.ticket_id or intent.incident_ref or notification.id),
        recipient=address,
        subject=words.subject,
        body=words.body,
        html=words.html,
        language=intent.wording.language if intent.wording else None,
        written_at=notification.created_at,
    )
    return GO, message


def _words(notification: Notification, ticket: Ticket | None, unit: NotifierUnit) -> Words | None:
    """What it says; a page's fixed text if that may not be sent or cannot be written, None if anything else may not (S5)."""
    intent = notification.intent
    try:
        return unit.desk.words(intent, ticket, released=notification.released)
    except TextStopped as stopped:
        _report_stopped(notification, stopped.value)
        return unit.desk.fixed_page(intent) if notification.is_urgent else None
    except Exception as error:
        if not notification.is_urgent:
            raise
        _report_stopped(notification, type(error).__name__)
        return unit.desk.fixed_page(intent)


def _report_stopped(notification: Notification, why: str) -> None:
    STOPPED.labels(notification.intent.audience, why).inc()
    log.error("text stopped", notification_id=notification.id, template=notification.intent.template, reason=why)


def _settle(before: Notification, after: Notification, unit: NotifierUnit) -> None:
    """Keep it, and say so unless it only waits for its next try."""
    if after == before:
        return
    unit.notifications.save(after)
    if after.state is not State.QUEUED:
        announce(after, unit)
    if after.state is State.SENT and not is_drill(after.intent):
        waited: timedelta = unit.now - after.created_at
        SENT_AFTER.labels(after.intent.audience).observe(waited.total_seconds())
