"""What the OpenAPI document says of the bare routes. Its examples are posted by a test."""

from collections.abc import Iterable
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from intake.api.cloudevents import BATCH, JSON, MAX_ITEMS, STRUCTURED
from intake.handlers.reception import SAFETY_EVENTS, TICKET_EVENTS
from shared.events.envelope import Identifier, Instant
from shared.events.ticket import TicketCreated
from shared.runtime.http import PROBLEM_TYPE

Json = dict[str, Any]
REF = "#/components/schemas/{model}"

TICKET_EXAMPLE: Json = {
    "ticket_id": "T-1001",
    "subject": "No sound",
    "body": "The story opens, but the voice stays silent.",
    "channel": "web",
    "tier": "family",
    "requester": {"id": "user-17", "locale": "en"},
    "category": "technical",
    "subcategory": "voice_synthesis",
}
EVENT_EXAMPLE: Json = {
    "specversion": "1.0",
    "id": "helpdesk-1001-created",
    "source": "/helpdesk",
    "type": TicketCreated.wire_type,
    "data": TICKET_EXAMPLE,
}
SAFETY_EXAMPLE: Json = {
    "specversion": "1.0",
    "id": "agent-7-detected",
    "source": "/child-safety-agent",
    "type": "com.storytailor.safety.crisis_detected.v1",
    "data": {"agent_incident_id": "incident-7", "severity": "critical"},
}


class CloudEvent(BaseModel):
    """A CloudEvent in structured mode. In binary mode its attributes are `ce-` headers and the body is its data."""

    specversion: Literal["1.0"]
    id: Identifier
    source: Identifier
    type: str
    time: Instant | None = None
    """When it happened; missing: at receipt. Older than the window: refused; in the future: receipt counts (L13)."""
    subject: str | None = None
    correlationid: Identifier | None = None
    data: Json


class Accepted(BaseModel):
    """The event cannot be lost any more. `duplicate`: it was known already, nothing is published again."""

    event_id: str
    ticket_id: str | None
    duplicate: bool


class FieldError(BaseModel):
    pointer: str
    detail: str


class ProblemDocument(BaseModel):
    """RFC 9457. No submitted value is repeated; `pointer` is a place in the CloudEvent in structured form, or in the body."""

    type: str
    title: str
    status: int
    errors: list[FieldError] | None = None
    clause: str | None = None


class ItemAnswer(BaseModel):
    """The answer to one item of a batch: what a single post would have been answered."""

    status: int
    event_id: str | None = None
    ticket_id: str | None = None
    duplicate: bool | None = None
    problem: ProblemDocument | None = None


def describe(api: FastAPI) -> None:
    """Add the routes to the document that FastAPI makes."""
    made_by_fastapi = api.openapi

    def openapi() -> Json:
        document = made_by_fastapi()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(_schemas())
        components.setdefault("securitySchemes", {})["key"] = {"type": "http", "scheme": "bearer"}
        document["paths"].update(_paths())
        return document

    api.openapi = openapi  # type: ignore[method-assign]


def _schemas() -> Json:
    models: list[type[BaseModel]] = [CloudEvent, Accepted, ProblemDocument, ItemAnswer, *TICKET_EVENTS.values()]
    _, document = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    schemas: Json = document["$defs"]
    created = schemas[TicketCreated.__name__]
    schemas["PlainTicket"] = {
        **created,
        "title": "PlainTicket",
        "description": "The data of `ticket.created`; without `ticket_id` one is made.",
        "required": [name for name in created["required"] if name != "ticket_id"],
        "properties": {**created["properties"], "time": {"type": "string", "format": "date-time"}},
    }
    schemas["CloudEvent"]["properties"]["data"] = {"anyOf": [_ref(model.__name__) for model in TICKET_EVENTS.values()]}
    schemas["CloudEvent"]["properties"]["type"] = {"type": "string", "enum": sorted(TICKET_EVENTS)}
    schemas["SafetyEvent"] = {
        **schemas["CloudEvent"],
        "title": "SafetyEvent",
        "properties": {
            **schemas["CloudEvent"]["properties"],
            "type": {"type": "string", "enum": sorted(SAFETY_EVENTS)},
            "data": {"type": "object"},
        },
    }
    return schemas


def _paths() -> Json:
    many = {"type": "array", "items": _ref("CloudEvent"), "minItems": 1, "maxItems": MAX_ITEMS}
    idempotency_key = {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "maxLength": 128},
        "description": "The same key gives the same event; with other content 409. Remembered for the window.",
    }
    return {
        "/v1/events": _post(
            "Post ticket events as CloudEvents",
            {
                STRUCTURED: {"schema": _ref("CloudEvent"), "example": EVENT_EXAMPLE},
                BATCH: {"schema": many, "example": [EVENT_EXAMPLE]},
                JSON: {"schema": {"type": "object"}, "example": TICKET_EXAMPLE},
            },
            {
                "202": _answer("Accepted", _ref("Accepted")),
                "207": _answer("A batch: one answer for each item", {"type": "array", "items": _ref("ItemAnswer")}),
                **_problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
            },
        ),
        "/v1/tickets": _post(
            "Post a new ticket as plain JSON",
            {JSON: {"schema": _ref("PlainTicket"), "example": TICKET_EXAMPLE}},
            {
                "202": _answer("Accepted", _ref("Accepted")),
                **_problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
            },
            parameters=[idempotency_key],
        ),
        "/v1/safety/events": _post(
            "Post a safety event; every body is accepted, and what cannot be read wakes somebody",
            {
                STRUCTURED: {"schema": _ref("SafetyEvent"), "example": SAFETY_EXAMPLE},
                "*/*": {"schema": {}},
            },
            {"202": _answer("Accepted", _ref("Accepted")), **_problems(401, 403, 413, 503)},
        ),
    }


def _post(summary: str, content: Json, responses: Json, parameters: Iterable[Json] = ()) -> Json:
    return {
        "post": {
            "summary": summary,
            "security": [{"key": []}],
            "parameters": list(parameters),
            "requestBody": {"required": True, "content": content},
            "responses": responses,
        }
    }


def _answer(description: str, schema: Json) -> Json:
    return {"description": description, "content": {JSON: {"schema": schema}}}


def _problems(*statuses: int) -> Json:
    content = {PROBLEM_TYPE: {"schema": _ref("ProblemDocument")}}
    return {str(status): {"description": "Refused", "content": content} for status in statuses}


def _ref(model: str) -> Json:
    return {"$ref": REF.format(model=model)}
