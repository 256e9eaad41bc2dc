"""What is due goes out: claimed, checked once more, handed to its channel, and what became of it written down.

One look is one transaction: it writes down what the finished tries brought and claims what is due next; the sending itself
happens between looks, each message in a task of its own, so that one that hangs holds up nobody. A process that dies in
between leaves rows whose lease ends: pages and staff mails are then tried again under the same id, a customer's is held.
A page that has reached nobody is told to somebody else before its result is written down, so that neither is lost.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge, Histogram

from notifier import watch
from notifier.domain.audience import follow_up
from notifier.domain.facts import is_drill, targets
from notifier.domain.gate import TextStopped
from notifier.domain.notification import GO, Audience, Channel, Notification, Reason, State, Template, Verdict
from notifier.domain.retry import LOST, Outcome, SendResult, begun, ended, has_reached_nobody, send_within
from notifier.domain.roll_up import Stream
from notifier.domain.templates import Words
from notifier.domain.ticket import Ticket
from notifier.handlers import (
    announce,
    ask_later,
    id_of,
    on_destination_gone,
    on_unreached,
    pages_on,
    stand_in_candidates,
    streams_of,
    tell_of_loop,
)
from notifier.senders import Message
from notifier.senders.destinations import Channels
from notifier.store import NotifierUnit, due_ids, put_off, waiting_too_long
from shared.errors import TransientFailure
from shared.events.envelope import derived_id
from shared.messaging.past_failures import past_failures
from shared.messaging.ticker import Ticker
from shared.messaging.unit_of_work import UnitsOfWork
from shared.runtime.database import is_transient
from shared.runtime.log import where

COVERED_AT_ONCE = 200
"""How many pages that a roll-up has said are marked so in one look: the pages of other lanes do not wait long for it."""
SPARED_AT_MOST = timedelta(seconds=2)
"""How long a page waits for a destination in trouble before another way or person is looked for."""
OTHERS_AT_ONCE = 20
LOOK_AGAIN_AFTER = timedelta(seconds=30)
"""When a notification is looked at again whose look failed."""
DRAIN_SECONDS = 6.0
"""How long a stopping service waits for tries under way; what is later is found by its lease."""

LATE_AFTER = timedelta(seconds=30)
"""By when the first page of an incident has to have left (invariant 17)."""
TRIES = Counter(
    "support_delivery_tries_total",
    "Tries to deliver a notification, by audience, channel and outcome.",
    ["audience", "channel", "outcome"],
)
DISABLED = Gauge("support_destinations_disabled", "Destinations to which nothing is sent until a person lifts that.")
SENT_AFTER = Histogram(
    "support_notification_sent_seconds",
    "Time from the decision to tell somebody to the channel's acceptance.",
    ["audience"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 600, 3600, 86_400),
)

FAILED = Counter(
    "support_notification_looks_failed_total", "Looks at a notification that failed and were put off; each is a bug."
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
    """One lane's way out. The urgent one has its own database connections, senders and loop, and waits behind nothing."""

    def __init__(self, units: UnitsOfWork[NotifierUnit], channels: Channels, *, urgent: bool) -> None:
        self.name = "pages" if urgent else "deliveries"
        self._units = units
        self._channels = channels
        self._urgent = urgent
        self._taken: Tally[Channel] = Tally()
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
            await self._keep_results()
        await self._channels.close()

    async def look(self) -> bool:
        """Write down, claim, begin. True when there may be more to do at once."""
        try:
            return await self._look(self._free_places(), self._finished)
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("look failed", lane=self.name, error=type(error).__name__)
            await self._keep_results()
            await past_failures(await self._due_ids(), self._look_at, self._look_later)
            return False

    async def _keep_results(self) -> None:
        """What the last tries brought: nothing is begun. What cannot be written down is left to its lease, as if the process had
        died.
        """
        await past_failures(list(self._finished), self._write_down, self._leave_to_its_lease)

    async def _write_down(self, finished: Sequence[Finished]) -> None:
        await self._look({}, finished, among=())

    async def _leave_to_its_lease(self, finished: Finished, error: Exception) -> None:
        _report_failed_look(finished.notification.id, error)
        self._finished.remove(finished)

    async def _due_ids(self) -> list[str]:
        async with self._units.database.connection() as connection:
            return await due_ids(
                connection,
                urgent=self._urgent,
                due_at=self._units.now(),
                places=self._free_places(),
                spared=self._channels.busy(),
                covered=COVERED_AT_ONCE,
            )

    async def _look_at(self, ids: Sequence[str]) -> None:
        await self._look(self._free_places(), (), among=ids)

    async def _look_later(self, notification_id: str, error: Exception) -> None:
        _report_failed_look(notification_id, error)
        async with self._units.database.connection() as connection:
            await put_off(connection, notification_id, self._units.now() + LOOK_AGAIN_AFTER)

    def _free_places(self) -> dict[Channel, int]:
        return {channel: count - self._taken[channel] for channel, count in self._channels.places.items()}

    async def _look(
        self, places: Mapping[Channel, int], finished: Sequence[Finished], *, among: Sequence[str] | None = None
    ) -> bool:
        """One look, of these ids alone where they are given."""
        finished = list(finished)
        await self._tell_others(finished)
        async with self._units.begin() as unit:
            asked = [follow_up(one.notification.intent) for one in finished]
            await unit.notifications.lock(
                unit.connection, [one.notification.id for one in finished] + [id_of(one) for one in asked if one]
            )
            accepted = [one.notification.id for one in finished if one.result.outcome is Outcome.ACCEPTED]
            untold = await watch.untold_since_of(unit.connection, accepted if self._urgent else ())
            await unit.tickets.read(unit.connection, _tickets_of(one.notification for one in finished), lock=False)
            for one in finished:
                _record_result(one, unit, untold)
                if one.result.is_gone:
                    await _disable(one, unit)
            disabled = await watch.disabled_names(unit.connection)
            due = await unit.notifications.claim(
                unit.connection,
                urgent=self._urgent,
                due_at=unit.now,
                places=places,
                spared=self._channels.busy(),
                among=among,
            )
            covered = await self._cover(unit, among)
            await unit.tickets.read(unit.connection, _tickets_of(due), lock=False)
            await unit.read_editions(due)
            due, left = self._with_room(due)
            await unit.paces.read(unit.connection, [stream for one in due if (stream := _counted_as(one, unit))])
            uncounted = [one for one in due if one.is_uncounted and not _put_off(one, unit)]
            begun_now = [_begin(one, disabled, unit) for one in due if not one.is_uncounted]
        DISABLED.set(len(disabled))
        for written_down in finished:
            self._finished.remove(written_down)
        for begun_one in begun_now:
            if isinstance(begun_one, Letter):
                self._taken[begun_one.message.channel] += 1
                self._under_way.add(asyncio.create_task(self._send(begun_one)))
            elif begun_one is not None:
                self._finished.append(begun_one)
        for roll_up in uncounted:
            await self._count(roll_up)
        claimed = Tally(one.intent.channel for one in due)
        is_full = any(count == places[channel] for channel, count in claimed.items())
        return bool(places) and bool(is_full or left or uncounted or self._finished or covered == COVERED_AT_ONCE)

    def _with_room(self, due: Sequence[Notification]) -> tuple[list[Notification], int]:
        """What its destination can be handed now, and how many are left as they are: after this look it is spared."""
        with_room: list[Notification] = []
        taken: Tally[str] = Tally()
        for one in due:
            if taken[one.destination] < self._channels.room(one.intent.channel, one.destination):
                taken[one.destination] += 1
                with_room.append(one)
        return with_room, len(due) - len(with_room)

    async def _tell_others(self, finished: Sequence[Finished]) -> None:
        """Look for another way or person for each page that has not reached its recipient, and for those that wait too long."""
        now = self._units.now()
        unreached = [one.notification for one in finished if has_reached_nobody(one.notification, one.result, now)]
        if self._urgent and (troubled := self._channels.troubled()):
            since = now - SPARED_AT_MOST
            async with self._units.database.connection() as connection:
                unreached += await waiting_too_long(
                    connection, since=since, destinations=troubled, limit=OTHERS_AT_ONCE
                )
        unasked = [page for page in unreached if not page.others_asked]
        await past_failures(unasked, self._tell_others_of, self._tell_nobody_else)

    async def _tell_others_of(self, unreached: Sequence[Notification]) -> None:
        for roll_up in (page for page in unreached if page.is_uncounted):
            await self._count(roll_up)  # whoever is told instead is told the same
        async with self._units.begin() as unit:
            await _ask_others(unreached, unit)

    async def _tell_nobody_else(self, page: Notification, error: Exception) -> None:
        _report_failed_look(page.id, error)

    async def _cover(self, unit: NotifierUnit, among: Sequence[str] | None) -> int:
        """Mark what a roll-up stands for, and what it could not say any more; answers how many."""
        covered = await unit.notifications.covered(
            unit.connection, urgent=self._urgent, due_at=unit.now, limit=COVERED_AT_ONCE, among=among
        )
        for one in covered:
            is_late = one.intent.valid_until is not None and one.intent.valid_until <= unit.now
            late = one.under(Verdict(State.EXPIRED, Reason.TOO_LATE), unit.now)
            _settle(one, late if is_late else one.superseded(Reason.ROLLED_UP, by=one.rolled_up_in), unit)
        return len(covered)

    async def _count(self, claimed: Notification) -> None:
        """Count what a roll-up has to say, once; from then on it stands for those pages (4.8)."""
        async with self._units.begin() as unit:
            facts = claimed.intent.facts
            stream = Stream(claimed.intent.recipient, facts["lane"], facts["mode"], claimed.intent.place)
            await unit.paces.read(unit.connection, [stream])
            await unit.notifications.lock(unit.connection, [claimed.id])
            roll_up = unit.notifications.find(claimed.id)
            if roll_up is None or not roll_up.is_uncounted or roll_up.state is not State.QUEUED:
                return
            pace, said = unit.paces.get(stream), await _said_by(roll_up, unit)
            await unit.notifications.roll_up(unit.connection, roll_up.id, unit.now)
            if said is None:
                unit.paces.save(replace(pace, roll_up_at=None))
                reason = Reason.ACKNOWLEDGED if roll_up.is_urgent else Reason.OUTDATED
                _settle(roll_up, roll_up.superseded(reason), unit)
                return
            unit.paces.save(pace.rolled_up(unit.now))
            unit.notifications.save(replace(roll_up, intent=replace(roll_up.intent, facts={**facts, **said})))

    async def _send(self, letter: Letter) -> None:
        try:
            result = await self._channels.send(letter.message, within=send_within(letter.notification))
        except Exception as error:
            log.exception("sender failed", notification_id=letter.notification.id, error=type(error).__name__)
            result = SendResult(Outcome.AMBIGUOUS, "sender_failed")
        intent = letter.notification.intent
        TRIES.labels(intent.audience, intent.channel, result.outcome).inc()
        self._finished.append(Finished(letter.notification, result))
        self._taken[intent.channel] -= 1
        if (this := asyncio.current_task()) is not None:
            self._under_way.discard(this)  # before the look that it wakes counts who is under way
        self.wake()


def _report_failed_look(notification_id: str, error: Exception) -> None:
    FAILED.inc()
    log.error("look failed", notification_id=notification_id, error=type(error).__name__, where=where(error))


async def _ask_others(unreached: Sequence[Notification], unit: NotifierUnit) -> None:
    """In one transaction with the mark that it was done, before the result of a try is written down: a process that dies in
    between finds the try by its lease.
    """
    ways = {page.id: [way for ways in stand_in_candidates(page, unit).values() for way in ways] for page in unreached}
    streams = {stream for page in unreached for stream in streams_of(page, ways[page.id])}
    ids = {one for page in unreached for one in (page.id, *pages_on(ways[page.id], page))}
    await unit.paces.read(unit.connection, streams)  # before the pages, as whoever counts a roll-up does
    await unit.notifications.lock(unit.connection, ids)
    found = [now for page in unreached if (now := unit.notifications.find(page.id)) is not None]
    asking = [now for now in found if now.state in (State.QUEUED, State.SENDING) and not now.others_asked]
    for now in asking:
        unit.notifications.save(replace(now, others_asked=True))  # before any of them is counted on
    for now in asking:
        on_unreached(now, unit)


async def _said_by(roll_up: Notification, unit: NotifierUnit) -> dict[str, str] | None:
    """What a roll-up has to say now; None when nothing waits for it any more."""
    if roll_up.intent.template is Template.SLA_DIGEST:
        warnings, total = await unit.notifications.warnings_for(unit.connection, roll_up.id, unit.now)
        ids = _tickets_of(warnings)
        await unit.tickets.read(unit.connection, ids, lock=False)
        tickets = {ticket_id: unit.tickets.get(ticket_id) for ticket_id in ids}
        more = total - len(warnings)
        return targets([one.intent for one in warnings], tickets, more=more) if warnings else None
    waiting = await unit.notifications.waiting_for(unit.connection, roll_up.id)
    return waiting.facts(unit.now) if waiting else None


def _counted_as(notification: Notification, unit: NotifierUnit) -> Stream | None:
    return unit.desk.counted_as(notification, unit.tickets.get(notification.intent.ticket_id or ""))


def _put_off(notification: Notification, unit: NotifierUnit) -> bool:
    """Whether it waits for the next opening, as notices that may wait do (T6)."""
    opening = unit.desk.hours.opening(notification.intent.template, unit.now)
    if opening > unit.now:
        unit.notifications.save(replace(notification, state=State.QUEUED, next_look_at=opening))
    return opening > unit.now


def _tickets_of(notifications: Iterable[Notification]) -> set[str]:
    return {one.intent.ticket_id for one in notifications if one.intent.ticket_id}


def _record_result(finished: Finished, unit: NotifierUnit, untold: Mapping[str, datetime]) -> None:
    """What a try brought; nothing if its lease had ended and another try has begun since."""
    now = unit.notifications.find(finished.notification.id)
    if now is None or now.attempts != finished.notification.attempts:
        return
    first = untold.get(now.intent.incident_ref or "")
    late_by = unit.now - first if first is not None and unit.now - first > LATE_AFTER else None
    after = ended(now, finished.result, unit.now)
    _settle(now, after, unit, late_by=late_by)
    if after.state is State.SENT:
        ask_later(after, unit)


async def _disable(finished: Finished, unit: NotifierUnit) -> None:
    """Nothing goes there any more; whoever looks after the watch is told once."""
    one = finished.notification
    gone = watch.Disabled(one.destination, one.intent.channel, one.intent.recipient, finished.result.code, unit.now)
    if await watch.disable(unit.connection, gone):
        log.error("destination disabled", destination=gone.name, recipient=gone.recipient, reason=gone.reason)
        on_destination_gone(one, unit)


def _begin(notification: Notification, disabled: Collection[str], unit: NotifierUnit) -> Letter | Finished | None:
    """The letter to send, if the notification is still needed and allowed (T3); of a page that cannot be sent a try that has
    failed, so that somebody else is told (invariant 27).
    """
    notification = replace(notification, destination=unit.desk.destination(notification.intent))
    if notification.state is State.SENDING:
        lost = ended(notification, LOST, unit.now)
        if lost.state is not State.QUEUED:
            _settle(notification, lost, unit)
            return None
        notification = replace(notification, is_doubtful=True)
    if _put_off(notification, unit):
        return None
    try:
        verdict, message = _written(notification, disabled, unit)
    except Exception as error:  # a bug: this one waits for a person, and the others go on
        log.exception("text failed", notification_id=notification.id, error=type(error).__name__)
        state = State.FAILED if notification.is_urgent else State.HELD
        verdict, message = Verdict(state, Reason.UNRENDERABLE), None
    under_way = begun(notification, unit.now)
    if message is not None:
        unit.notifications.save(under_way)
        return Letter(under_way, message)
    if notification.is_urgent and verdict.state is State.FAILED:
        unit.notifications.save(under_way)
        return Finished(under_way, SendResult(Outcome.PERMANENT, verdict.reason or "unsendable"))
    _settle(notification, notification.under(verdict, unit.now), unit)
    return None


def _written(
    notification: Notification, disabled: Collection[str], unit: NotifierUnit
) -> tuple[Verdict, Message | None]:
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
    if notification.destination in disabled:
        return Verdict(State.FAILED, Reason.DESTINATION_DISABLED), None
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
        channel=intent.channel,
        destination=notification.destination,
        to_customer=intent.audience is Audience.CUSTOMER,
    )
    if ticket is not None and _is_one_too_many(notification, ticket, unit):
        return Verdict(State.SUPPRESSED, Reason.TOO_MANY), None
    return GO, message


def _is_one_too_many(notification: Notification, ticket: Ticket, unit: NotifierUnit) -> bool:
    """Whether its requester has had enough for now, as in a loop of machines; the first time that is told (HD-63)."""
    stream = _counted_as(notification, unit)
    if stream is None:
        return False
    before = unit.paces.get(stream)
    pace = before.written_to(unit.now, unit.desk.automatic)
    unit.paces.save(pace)
    if pace.roll_up_at is not None and pace.roll_up_at != before.roll_up_at:
        tell_of_loop(notification, ticket, unit)
    return pace.roll_up_at is not None


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


def _settle(before: Notification, after: Notification, unit: NotifierUnit, *, late_by: timedelta | None = None) -> None:
    """Keep it, and say so unless it only waits for its next try."""
    if after == before:
        return
    unit.notifications.save(after)
    if after.state is not State.QUEUED:
        announce(after, unit, late_by=late_by)
    if after.state is State.SENT and not is_drill(after.intent):
        waited: timedelta = unit.now - after.created_at
        SENT_AFTER.labels(after.intent.audience).observe(waited.total_seconds())
