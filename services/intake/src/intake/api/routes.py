"""The three endpoints of intake as bare ASGI routes: FastAPI's machinery would cost more than all that is done here.

`documentation` describes them in the OpenAPI document.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Send
from starlette.types import Scope as Request

from intake.api.cloudevents import (
    BATCH,
    JSON,
    STRUCTURED,
    Headers,
    binary,
    items_of,
    media_type,
    parse,
    read_leniently,
    structured,
)
from intake.api.documentation import describe
from intake.api.rate_limit import RateLimit
from intake.domain.acceptance import IdTaken, Invalid, UnknownType
from intake.handlers.reception import TICKET_EVENTS, Reception
from intake.handlers.saving import Save
from intake.store import Outcome, Post, Receipt
from shared.errors import Refusal
from shared.runtime.http import Problem, authorise
from shared.runtime.settings import ApiKey, Scope

MAX_REQUEST_BYTES = 1024 * 1024
Answer = tuple[int, Any]


def add_routes(
    api: FastAPI, *, reception: Reception, limit: RateLimit, bulk: Save, urgent: Save, fast_lane: Save
) -> None:
    """Put the routes before all others, and into the OpenAPI document.

    Args:
        bulk: saves ticket events.
        urgent: saves ticket events that carry a safety flag; they wait behind no others (S6).
        fast_lane: saves what comes over the fast lane.
    """
    desk = Desk(reception, limit, bulk, urgent)
    routes = {
        "/v1/events": Events(api, desk),
        "/v1/tickets": Tickets(api, desk),
        "/v1/safety/events": SafetyEvents(api, reception, fast_lane),
    }
    api.router.routes[:0] = [Route(path, endpoint, methods=["POST"]) for path, endpoint in routes.items()]
    describe(api)


class Endpoint(ABC):
    """Reads a request with a valid key and sends the answer; what is raised becomes a problem document further out."""

    scope: Scope
    waits_for_start = True

    def __init__(self, api: FastAPI) -> None:
        self._state = api.state

    async def __call__(self, request: Request, receive: Receive, send: Send) -> None:
        headers = dict(request["headers"])
        key = authorise(self._state.keys, _bearer(headers), self.scope)
        if self.waits_for_start and not self._state.started:
            raise Problem(503)
        body = await _read(headers, receive)
        status, answer = await self.answer(key, headers, body)
        content = orjson.dumps(answer)
        told = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": content})

    @abstractmethod
    async def answer(self, key: ApiKey, headers: Headers, body: bytes) -> Answer:
        """Status and body of the answer to a request of a key that may ask."""


class Desk:
    """Takes the posts that one request brings: limits, saves, answers."""

    def __init__(self, reception: Reception, limit: RateLimit, bulk: Save, urgent: Save) -> None:
        self.reception = reception
        self._limit = limit
        self._bulk = bulk
        self._urgent = urgent

    def admit(self, key: ApiKey, post: Post) -> Post:
        """
        Raises:
            Problem: 429; never for a safety signal (S6).
        """
        if not post.is_safety:
            self._limit.take(key.name)
        return post

    async def save(self, posts: Sequence[Post]) -> list[Receipt]:
        """The receipts, in order. A ticket that carries a safety flag does not wait for the rest, and stays in order."""
        flagged = {post.ticket_id for post in posts if post.is_safety}
        receipts: dict[int, Receipt] = {}
        for save, is_urgent in ((self._urgent, True), (self._bulk, False)):
            places = [place for place, post in enumerate(posts) if (post.ticket_id in flagged) is is_urgent]
            if places:
                saved = await save([posts[place] for place in places])
                receipts.update(zip(places, saved, strict=True))
        return [receipts[place] for place in range(len(posts))]

    async def heed(self, key: ApiKey, refused: Sequence[bytes]) -> None:
        """What is refused is not unseen: where its words tell of a crisis somebody is woken, with its bytes sealed (S5, S6)."""
        alarms = [alarm for body in refused if (alarm := self.reception.alarm(key, body)) is not None]
        if alarms:
            await self._urgent(alarms)

    async def take(self, key: ApiKey, post: Post) -> Answer:
        """
        Raises:
            Problem: the limit is reached, or the id is taken.
        """
        [receipt] = await self.save([self.admit(key, post)])
        return 202, accepted(receipt)


class Events(Endpoint):
    """`POST /v1/events`: CloudEvents, one or many."""

    scope = Scope.EVENTS_WRITE

    def __init__(self, api: FastAPI, desk: Desk) -> None:
        super().__init__(api)
        self._desk = desk

    async def answer(self, key: ApiKey, headers: Headers, body: bytes) -> Answer:
        media = media_type(headers, (STRUCTURED, BATCH, JSON))
        try:
            if media == BATCH:
                items = items_of(body)
            else:
                arrival = structured(parse(body)) if media == STRUCTURED else binary(headers, body)
                return await self._desk.take(key, self._desk.reception.on_event(key, arrival))
        except (Refusal, Problem) as no:
            await self._desk.heed(key, [body])
            raise problem_of(no) from None
        return await self._batch(key, items)

    async def _batch(self, key: ApiKey, items: list[Any]) -> Answer:
        """Each item stands alone: it has its own answer, in order."""
        answers: list[Any] = []
        posts: dict[int, Post] = {}
        refused: list[bytes] = []
        for place, item in enumerate(items):
            try:
                posts[place] = self._desk.admit(key, self._desk.reception.on_event(key, structured(item)))
                answers.append(None)
            except (Refusal, Problem) as no:
                refused.append(orjson.dumps(item))
                answers.append(_item_problem(problem_of(no)))
        receipts = await self._desk.save(list(posts.values()))
        for place, receipt in zip(posts, receipts, strict=True):
            try:
                answers[place] = {"status": 202, **accepted(receipt)}
            except Refusal as refusal:
                refused.append(orjson.dumps(items[place]))
                answers[place] = _item_problem(problem_of(refusal))
        await self._desk.heed(key, refused)
        return 207, answers


class Tickets(Endpoint):
    """`POST /v1/tickets`: plain JSON for people who do not want CloudEvents."""

    scope = Scope.EVENTS_WRITE

    def __init__(self, api: FastAPI, desk: Desk) -> None:
        super().__init__(api)
        self._desk = desk

    async def answer(self, key: ApiKey, headers: Headers, body: bytes) -> Answer:
        media_type(headers, (JSON,))
        idempotency_key = headers.get(b"idempotency-key")
        try:
            repeats = idempotency_key.decode().strip('"') if idempotency_key is not None else None
            return await self._desk.take(key, self._desk.reception.on_ticket(key, parse(body), repeats))
        except UnicodeDecodeError:
            raise Problem(400, "invalid-header", "The Idempotency-Key is not UTF-8") from None
        except (Refusal, Problem) as no:
            await self._desk.heed(key, [body])
            raise problem_of(no) from None


class SafetyEvents(Endpoint):
    """`POST /v1/safety/events`: the fast lane. With a valid key every body is accepted (S6)."""

    scope = Scope.SAFETY_WRITE
    waits_for_start = False

    def __init__(self, api: FastAPI, reception: Reception, fast_lane: Save) -> None:
        super().__init__(api)
        self._reception = reception
        self._fast_lane = fast_lane

    async def answer(self, key: ApiKey, headers: Headers, body: bytes) -> Answer:
        posts = [self._reception.on_safety_event(key, *read) for read in read_leniently(headers, body)]
        answers = [accepted(receipt) for receipt in await self._fast_lane(posts)]
        return 202, answers if len(answers) > 1 else answers[0]


def accepted(receipt: Receipt) -> dict[str, Any]:
    """
    Raises:
        IdTaken: another event has the same source and id.
    """
    if receipt.outcome is Outcome.CONFLICT:
        raise IdTaken
    return {
        "event_id": receipt.event_id,
        "ticket_id": receipt.ticket_id,
        "duplicate": receipt.outcome is Outcome.DUPLICATE,
    }


def problem_of(refusal: Refusal | Problem) -> Problem:
    """A refusal as a problem document: places and known words, never what was sent."""
    if isinstance(refusal, Problem):
        return refusal
    title = (type(refusal).__doc__ or refusal.slug).strip().splitlines()[0]
    extra: dict[str, Any] = {"clause": refusal.clause} if refusal.clause else {}
    errors = None
    if isinstance(refusal, Invalid):
        errors = [{"pointer": fault.pointer, "detail": fault.detail} for fault in refusal.faults]
    if isinstance(refusal, UnknownType):
        extra["known"] = sorted(TICKET_EVENTS)
    return Problem(refusal.status, refusal.slug, title, errors=errors, **extra)


def _item_problem(problem: Problem) -> dict[str, Any]:
    return {"status": problem.status, "problem": problem.document()}


def _bearer(headers: Headers) -> str | None:
    method, _, presented = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return presented.strip() if method.lower() == "bearer" else None


async def _read(headers: Headers, receive: Receive) -> bytes:
    """The body, which is given up as soon as it is too long.

    Raises:
        Problem: 413, whether the length was announced or not.
    """
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > MAX_REQUEST_BYTES:
        raise Problem(413)
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "incomplete", "The request ended early")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_REQUEST_BYTES:
            raise Problem(413)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
