"""What people and tools ask the notifier: what became of messages, which ones wait, and to let them go."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

import structlog
from fastapi import APIRouter, Depends, Header, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from notifier import handlers, store, watch
from notifier.domain.notification import Audience, Channel, Notification, NotResendable, State
from notifier.domain.templates import MAX_IN_BODY
from notifier.store import NotifierUnit, Sought
from shared.events.envelope import Identifier, Instant
from shared.messaging.unit_of_work import UnitsOfWork
from shared.runtime.database import Connection
from shared.runtime.http import Problem, require
from shared.runtime.settings import ApiKey, Scope

HELD_PAGE = 200
LIST_PAGE = 1000
MOST_AT_ONCE = 500
"""How many are sent again with one request."""
MayAct = Annotated[ApiKey, Depends(require(Scope.NOTIFICATIONS_ACT))]
MayReadText = Annotated[ApiKey, Depends(require(Scope.NOTIFICATIONS_TEXT))]
ResendKey = Annotated[Identifier, Header(alias="Idempotency-Key")]
"""What tells one wish to send again from another: the same one sends nothing twice. Without it each is sent again once."""
_BEGINNING = (datetime(1970, 1, 1, tzinfo=UTC), "")

log = structlog.get_logger()


class Shown(BaseModel):
    """A notification without its words and without an address."""

    notification_id: str
    ticket_id: str | None
    incident_ref: str | None
    channel: str
    way: str
    """The channel, with a number where the recipient has several of it."""
    audience: str
    recipient: str
    """A reference: `requester`, `team/legal`, a person's id; never an address."""
    stands_in_for: str | None
    """The person who could not be reached, and in whose place this one is told."""
    template: str
    edition: str | None
    """The version of the texts that it is written from."""
    language: str | None
    fallback: str | None
    """Why that is not the language that was asked for: `shorter` (`de` for `de-AT`) or `default`."""
    state: str
    reason_code: str | None
    missing: tuple[str, ...]
    covered_by: str | None
    attempts: int
    created_at: Instant
    next_look_at: Instant | None
    decided_by: str | None
    resend_of: str | None
    clauses: tuple[str, ...]

    @classmethod
    def of(cls, notification: Notification) -> Self:
        intent, wording = notification.intent, notification.intent.wording
        return cls(
            notification_id=notification.id,
            ticket_id=intent.ticket_id,
            incident_ref=intent.incident_ref,
            channel=intent.channel,
            way=intent.place,
            audience=intent.audience,
            recipient=intent.recipient,
            stands_in_for=intent.stands_in_for,
            template=intent.template,
            edition=wording.edition if wording else None,
            language=wording.language if wording else None,
            fallback=wording.fallback if wording else None,
            state=notification.state,
            reason_code=notification.reason,
            missing=notification.missing,
            covered_by=notification.covered_by,
            attempts=notification.attempts,
            created_at=notification.created_at,
            next_look_at=notification.next_look_at,
            decided_by=notification.decided_by,
            resend_of=notification.resend_of,
            clauses=intent.clauses,
        )


class NotificationList(BaseModel):
    """Oldest first; `next_page_token` is the id of the last one where there may be more."""

    notifications: list[Shown]
    unreadable: list[str] = []
    """Ids of those that this version cannot show."""
    next_page_token: str | None = None


class Text(BaseModel):
    """What a notification says, by the facts that are known now."""

    notification_id: str
    language: str | None
    subject: str
    body: str
    html: str | None


class Range(BaseModel):
    """Which notifications are sent again: those of one state made in a stretch of time, `until` not included."""

    model_config = ConfigDict(extra="forbid")

    state: Literal[State.SENT, State.FAILED, State.SUPPRESSED]
    since: Instant
    until: Instant
    channel: Channel | None = None
    audience: Audience | None = None
    dry_run: bool = True


class Resent(BaseModel):
    """What was, or in a dry run would be, done about a range."""

    dry_run: bool
    matched: int
    resent: int
    already_resent: int
    refused: dict[str, int]
    """How many are not sent again, by reason."""


class HeldList(BaseModel):
    """What waits for a person, oldest first; `next_page_token` is the id of the last one where there are more."""

    held: list[Shown]
    unreadable: list[str] = []
    next_page_token: str | None = None


class ShownDestination(BaseModel):
    """A destination to which nothing is sent; `name` tells no address, `recipient` is a reference."""

    name: str
    channel: str
    recipient: str
    reason_code: str
    disabled_at: Instant


class DestinationList(BaseModel):
    disabled: list[ShownDestination]


class Facts(BaseModel):
    """Facts by name: `true` for what was done, words for the rest (T2)."""

    model_config = ConfigDict(extra="forbid")

    facts: dict[
        Annotated[str, StringConstraints(max_length=64)],
        bool | Annotated[str, StringConstraints(min_length=1, max_length=MAX_IN_BODY)],
    ] = Field(min_length=1, max_length=20)


def notification_routes(units: UnitsOfWork[NotifierUnit]) -> APIRouter:
    """`/v1/notifications`: list, text, resend one or a range; `/v1/held`: list, complete, release;
    `/v1/destinations`: list, enable."""
    routes = APIRouter(prefix="/v1", tags=["notifications"])
    reads = Depends(require(Scope.NOTIFICATIONS_READ))

    @routes.get("/notifications", dependencies=[reads])
    async def notifications(
        ticket_id: Annotated[Identifier | None, Query()] = None,
        incident_ref: Annotated[Identifier | None, Query()] = None,
        state: Annotated[State | None, Query()] = None,
        channel: Annotated[Channel | None, Query()] = None,
        audience: Annotated[Audience | None, Query()] = None,
        since: Annotated[Instant | None, Query()] = None,
        until: Annotated[Instant | None, Query()] = None,
        page_token: Annotated[Identifier | None, Query()] = None,
    ) -> NotificationList:
        """What somebody was or should be told, oldest first; `until` is not included."""
        async with units.database.connection() as connection:
            sought = Sought(
                ticket_id=ticket_id,
                incident_ref=incident_ref,
                state=state,
                channel=channel,
                audience=audience,
                since=since,
                until=until,
                after=await _place(connection, page_token),
            )
            found = await store.listed(connection, sought, limit=LIST_PAGE)
        return NotificationList(notifications=_shown(found), unreadable=list(found.unread), next_page_token=found.last)

    @routes.get("/notifications/{notification_id}/text")
    async def text(notification_id: str, key: MayReadText) -> Text:
        """What it says. Who read it is logged; what a customer is told about a safety ticket is not shown (S5)."""
        async with units.begin() as unit:
            notification = await _locked(notification_id, unit)
            await unit.read_editions([notification])
            words = handlers.text_of(notification, unit)
        log.info("text read", notification_id=notification_id, key=key.name)
        wording = notification.intent.wording
        return Text(
            notification_id=notification_id,
            language=wording.language if wording else None,
            subject=words.subject,
            body=words.body,
            html=words.html,
        )

    @routes.post("/notifications/{notification_id}/resend")
    async def resend(notification_id: str, key: MayAct, idempotency_key: ResendKey = "once") -> Shown:
        """Send it once more, as another message, if what it says still holds."""
        async with units.begin() as unit:
            notification = await _locked(notification_id, unit)
            await _lock_again([notification], idempotency_key, unit)
            return Shown.of(handlers.resend(notification, idempotency_key, key.name, unit))

    @routes.post("/notifications/resend")
    async def resend_range(body: Range, key: MayAct, idempotency_key: ResendKey = "once") -> Resent:
        """Send a range once more, each if what it says still holds; first a dry run, which says how many that are."""
        sought = Sought(**body.model_dump(exclude={"dry_run"}))
        async with units.begin() as unit:
            if body.until > unit.now:  # what is made by this request does not stand in its own range
                raise Problem(422, errors=[{"pointer": "/until", "detail": "must not be in the future"}])
            found = await unit.notifications.sought(unit.connection, sought, limit=MOST_AT_ONCE + 1)
            if len(found) > MOST_AT_ONCE:
                raise Problem(422, errors=[{"pointer": "/until", "detail": f"more than {MOST_AT_ONCE} in this range"}])
            about = {one.intent.ticket_id for one in found if one.intent.ticket_id}
            await unit.tickets.read(unit.connection, about, lock=False)
            known = await _lock_again(found, idempotency_key, unit)
            refused: Counter[str] = Counter()
            send_again = handlers.resent if body.dry_run else handlers.resend
            resent = set[str]()
            for notification in found:
                try:
                    resent.add(send_again(notification, idempotency_key, key.name, unit).id)
                except NotResendable as refusal:
                    refused[refusal.reason] += 1
        already = len(known.intersection(resent))
        return Resent(
            dry_run=body.dry_run,
            matched=len(found),
            resent=len(resent) - already,
            already_resent=already,
            refused=dict(refused),
        )

    @routes.get("/held", dependencies=[reads])
    async def held(page_token: Annotated[Identifier | None, Query()] = None) -> HeldList:
        """What waits for a person."""
        async with units.database.connection() as connection:
            after = await _place(connection, page_token) or _BEGINNING
            found = await store.waiting_for_a_person(connection, after=after, limit=HELD_PAGE)
        return HeldList(held=_shown(found), unreadable=list(found.unread), next_page_token=found.last)

    @routes.post("/held/{notification_id}/complete")
    async def complete(notification_id: str, body: Facts, key: MayAct) -> Shown:
        """Supply facts that it waits for; with all of them it goes out (T2)."""
        async with units.begin() as unit:
            notification = await _locked(notification_id, unit)
            return Shown.of(handlers.complete(notification, body.facts, key.name, unit))

    @routes.post("/held/{notification_id}/release")
    async def release(notification_id: str, key: MayAct) -> Shown:
        """Let it go out although the ticket is a safety ticket (T3), or although it may have arrived already."""
        async with units.begin() as unit:
            notification = await _locked(notification_id, unit)
            return Shown.of(handlers.release(notification, key.name, unit))

    @routes.get("/destinations", dependencies=[reads])
    async def destinations() -> DestinationList:
        """To where nothing is sent, since it has said that it is gone (SN-13, SN-51)."""
        async with units.database.connection() as connection:
            gone = await watch.disabled(connection)
        shown = [
            ShownDestination(
                name=one.name,
                channel=one.channel,
                recipient=one.recipient,
                reason_code=one.reason,
                disabled_at=one.disabled_at,
            )
            for one in gone
        ]
        return DestinationList(disabled=shown)

    @routes.post("/destinations/{name}/enable", status_code=204)
    async def enable(name: str, key: MayAct) -> None:
        """Send there again."""
        async with units.begin() as unit:
            if not await watch.enable(unit.connection, name):
                raise Problem(404)
        log.info("destination enabled", destination=name, by=key.name)

    return routes


async def _place(connection: Connection, page_token: str | None) -> tuple[datetime, str] | None:
    """After which one a page begins; None at the beginning."""
    if page_token is None:
        return None
    if (place := await store.place_of(connection, page_token)) is None:
        raise Problem(422, errors=[{"pointer": "/page_token", "detail": "unknown page token"}])
    return place


async def _lock_again(found: Sequence[Notification], key: str, unit: NotifierUnit) -> set[str]:
    """What has been sent again already under this key, locked."""
    ids = {again for one in found if (again := handlers.id_again(one, key)) is not None}
    await unit.notifications.lock(unit.connection, ids)
    return {one for one in ids if unit.notifications.find(one) is not None}


async def _locked(notification_id: str, unit: NotifierUnit) -> Notification:
    await unit.notifications.lock(unit.connection, [notification_id])
    notification = unit.notifications.find(notification_id)
    if notification is None:
        raise Problem(404)
    if notification.intent.ticket_id is not None:
        await unit.tickets.read(unit.connection, [notification.intent.ticket_id], lock=False)
    return notification


def _shown(found: store.Listing) -> list[Shown]:
    return [Shown.of(notification) for notification in found.notifications]
