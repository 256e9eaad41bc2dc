"""Dead letters over HTTP, the same in every service that consumes: list, look at one, put back. For operators only."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from shared.events.envelope import Instant
from shared.messaging import dead_letter
from shared.messaging.consumer import Consumer
from shared.messaging.dead_letter import Kept
from shared.messaging.second_try import SecondTry
from shared.runtime.database import Database
from shared.runtime.http import Problem, require
from shared.runtime.settings import Scope


class DeadLetter(BaseModel):
    """A record set aside; without its bytes, which may hold a customer's words."""

    id: int
    consumer_group: str
    code: str
    state: str
    topic: str
    partition: int
    offset: int
    key: str
    attempts: int
    created_at: Instant


class DeadLetterWithBytes(DeadLetter):
    headers: dict[str, str]
    body: str


class Page(BaseModel):
    """`next_after` goes into `after` for the next page; null on the last one."""

    dead_letters: list[DeadLetter]
    next_after: int | None


Number = Annotated[int, Field(ge=0, lt=2**63)]


class RedriveRequest(BaseModel):
    ids: list[Number] = Field(min_length=1, max_length=1000)


class RedriveAnswer(BaseModel):
    """How many records were handled (parked ones bring all of their ticket) and how many of those asked for still fail."""

    handled: int
    still_failing: int


def dead_letter_routes(consumers: Sequence[Consumer[Any]], database: Database) -> APIRouter:
    """`GET /v1/dead-letters`, `GET /v1/dead-letters/{id}`, `POST /v1/dead-letters/redrive`."""
    router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"], dependencies=[Depends(require(Scope.OPERATE))])
    by_group = {consumer.group: consumer for consumer in consumers}

    async def find(**options: Any) -> list[tuple[str, Kept]]:
        async with database.connection() as connection:
            found = [
                (group, one)
                for group in by_group
                for one in await dead_letter.find(connection, consumer=group, **options)
            ]
        return sorted(found, key=lambda pair: pair[1].id)

    @router.get("")
    async def list_dead_letters(after: Number = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Page:
        """Parked and dead records, oldest first."""
        found = (await find(after=after, limit=limit))[:limit]
        shown = [DeadLetter(**_fields(group, one)) for group, one in found]
        return Page(dead_letters=shown, next_after=shown[-1].id if len(shown) == limit else None)

    @router.get("/{dead_letter_id}")
    async def show_dead_letter(dead_letter_id: Number) -> DeadLetterWithBytes:
        """One record with its headers and bytes."""
        for group, one in await find(ids=[dead_letter_id]):
            headers = {name: value.decode(errors="replace") for name, value in one.record.headers}
            body = one.record.value.decode(errors="replace")
            return DeadLetterWithBytes(**_fields(group, one), headers=headers, body=body)
        raise Problem(404)

    @router.post("/redrive")
    async def redrive(request: RedriveRequest) -> RedriveAnswer:
        """Put records back through their handlers; what still fails stays."""
        handled = still_failing = 0
        found = await find(ids=request.ids, limit=len(request.ids))
        for group, consumer in by_group.items():
            if ids := [one.id for of_group, one in found if of_group == group]:
                redriven = await SecondTry(consumer).redrive(ids)
                handled += redriven.handled
                still_failing += redriven.still_failing
        return RedriveAnswer(handled=handled, still_failing=still_failing)

    return router


def _fields(group: str, one: Kept) -> dict[str, str | int | datetime]:
    return {
        "id": one.id,
        "consumer_group": group,
        "code": one.code.value,
        "state": one.state.value,
        "topic": one.record.topic,
        "partition": one.record.partition,
        "offset": one.record.offset,
        "key": one.record.key.decode(errors="replace"),
        "attempts": one.attempts,
        "created_at": one.created_at,
    }
