"""What people and tools ask the notifier: what became of messages, which ones wait, and to let them go."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Self

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from notifier import handlers, store, watch
from notifier.domain.notification import Notification
from notifier.domain.templates import MAX_IN_BODY
from notifier.store import NotifierUnit
from shared.events.envelope import Identifier, Instant
from shared.messaging.unit_of_work import UnitsOfWork
from shared.runtime.http import Problem, require
from shared.runtime.settings import ApiKey, Scope

PAGE_SIZE = 200
MOST_OF_A_TICKET = 1000
MayAct = Annotated[ApiKey, Depends(require(Scope.NOTIFICATIONS_ACT))]
log = structlog.get_logger()
_BEGINNING = (datetime(1970, 1, 1, tzinfo=UTC), "")


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
            clauses=intent.clauses,
        )


class NotificationList(BaseModel):
    notifications: list[Shown]


class HeldList(BaseModel):
    """What waits for a person, oldest first; `next_page_token` is the id of the last one where there are more."""

    held: list[Shown]
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
    """`GET /v1/notifications`, `GET /v1/held`, `POST /v1/held/{id}/complete`, `POST /v1/held/{id}/release`,
    `GET /v1/destinations`, `POST /v1/destinations/{name}/enable`."""
    routes = APIRouter(prefix="/v1", tags=["notifications"])
    reads = Depends(require(Scope.NOTIFICATIONS_READ))

    @routes.get("/notifications", dependencies=[reads])
    async def notifications(
        ticket_id: Annotated[Identifier | None, Query()] = None,
        incident_ref: Annotated[Identifier | None, Query()] = None,
    ) -> NotificationList:
        """Everything that somebody was or should be told about a ticket, or about an incident, oldest first."""
        if ticket_id is None and incident_ref is None:
            raise Problem(422, errors=[{"pointer": "/ticket_id", "detail": "either ticket_id or incident_ref"}])
        async with units.database.connection() as connection:
            sought = store.Sought(ticket_id=ticket_id, incident_ref=incident_ref)
            found = await store.listed(connection, sought, limit=MOST_OF_A_TICKET)
        return NotificationList(notifications=_shown(found))

    @routes.get("/held", dependencies=[reads])
    async def held(page_token: Annotated[Identifier | None, Query()] = None) -> HeldList:
        """What waits for a person."""
        async with units.database.connection() as connection:
            after = await store.place_of(connection, page_token) if page_token else _BEGINNING
            if after is None:
                raise Problem(422, errors=[{"pointer": "/page_token", "detail": "unknown page token"}])
            found = await store.waiting_for_a_person(connection, after=after, limit=PAGE_SIZE)
        more = found[-1].id if len(found) == PAGE_SIZE else None
        return HeldList(held=_shown(found), next_page_token=more)

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


async def _locked(notification_id: str, unit: NotifierUnit) -> Notification:
    await unit.notifications.lock(unit.connection, [notification_id])
    notification = unit.notifications.find(notification_id)
    if notification is None:
        raise Problem(404)
    if notification.intent.ticket_id is not None:
        await unit.tickets.read(unit.connection, [notification.intent.ticket_id], lock=False)
    return notification


def _shown(found: Sequence[Notification]) -> list[Shown]:
    return [Shown.of(notification) for notification in found]
