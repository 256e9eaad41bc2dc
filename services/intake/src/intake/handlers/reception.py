"""Decides for each post which event it is.

A CloudEvent or a plain ticket that is not a fact we accept is refused with a reason. An event of the fast lane never is: what
cannot be read goes sealed to the agent's topic, for the bridge's vault, and wakes somebody (S5, S6).
"""

import hashlib
import uuid
from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from intake.domain.acceptance import (
    Fault,
    Flag,
    Invalid,
    Moment,
    SafetyWatch,
    SourceNotAllowed,
    TooLarge,
    UnknownType,
    Window,
    repeatable_by,
    unknown_words,
)
from intake.handlers.reading import (
    AN_ID,
    Arrival,
    Told,
    encoded,
    instant,
    is_identifier,
    refuse_odd_json,
    said_by,
    texts_in,
    told,
    validated,
)
from intake.store import Post
from shared.errors import Refusal
from shared.events import agent, ticket
from shared.events.envelope import Envelope, Outgoing, derived_id, meaning_of, source_of
from shared.events.topics import AGENT, MAX_RECORD_BYTES, TICKET
from shared.messaging.outbox import to_message
from shared.policy.model import Policy
from shared.runtime.keys import MasterKeys
from shared.runtime.now import Now
from shared.runtime.settings import ApiKey

SOURCE = source_of("intake")
MAX_EVENT_BYTES = 256 * 1024
MAX_SAFETY_EVENT_BYTES = MAX_RECORD_BYTES * 3 // 4
"""What a record can carry. Numbers may grow when they are written anew, so a body within its limit can end above this."""
NO_TIME = datetime.min.replace(tzinfo=UTC)
"""Stands in an event's meaning for the time it did not claim, so that its retry means the same."""

TICKET_EVENTS = {
    event_class.wire_type: event_class
    for event_class in ticket.EVENTS
    if event_class is not ticket.TicketRestricted  # the safety bridge alone restricts (S9)
}
SAFETY_EVENTS = {event_class.wire_type: event_class for event_class in agent.EVENTS}


@dataclass(frozen=True, slots=True)
class Raw:
    """The bytes of a post, as they are passed on, sealed, when nobody can read them."""

    headers: bytes
    body: bytes


class Reception:
    """What an event has to be to be accepted, and what is written for it when it is new."""

    def __init__(self, policy: Policy, *, window: Window, keys: MasterKeys, now: Now) -> None:
        self._policy = policy
        self._watch = SafetyWatch(policy)
        self._window = window
        self._keys = keys
        self._now = now

    def on_event(self, key: ApiKey, arrival: Arrival) -> Post:
        """The ticket event that a CloudEvent is.

        Raises:
            Refusal: it is not a fact we accept; pointers are into the CloudEvent in its structured form.
        """
        attributes = _spoken_for(key, arrival)
        event_class = TICKET_EVENTS.get(attributes.type)
        if event_class is None:
            raise UnknownType
        return self._ticket_event(event_class, attributes, arrival.data, at="/data")

    def on_ticket(self, key: ApiKey, fields: Any, idempotency_key: str | None) -> Post:
        """The `ticket.created` that plain JSON is, with the name of its key as the source. `time` may be given beside the
        data; a retry is known by the idempotency key, else by the ticket id.

        Raises:
            Refusal: it is not a fact we accept; pointers are into the body.
        """
        if not isinstance(fields, dict):
            raise Invalid((Fault("", "must be an object"),))
        faults: list[Fault] = []
        source, ticket_id = _source_of(key), fields.get("ticket_id")
        time = instant(fields.pop("time", None), faults)
        if ticket_id is not None and not is_identifier(ticket_id):
            faults.append(Fault("/ticket_id", AN_ID))
        if idempotency_key is not None and not is_identifier(idempotency_key):
            faults.append(Fault("", f"Idempotency-Key {AN_ID}"))
        if faults:
            raise Invalid(tuple(faults))
        same = repeatable_by(source, idempotency_key, ticket_id)
        event_id = derived_id(*same) if same else str(uuid.uuid4())
        if ticket_id is None:
            fields["ticket_id"] = derived_id(event_id, "ticket")
        attributes = Told(source, event_id, ticket.TicketCreated.wire_type, time)
        return self._ticket_event(ticket.TicketCreated, attributes, fields, at="")

    def on_safety_event(self, key: ApiKey, arrival: Arrival | None, raw: Raw) -> Post:
        """The event of the fast lane, or the mark that it is unreadable: never a refusal (S6)."""
        if arrival is None:
            return self._unreadable(key, "invalid_json", raw)
        try:
            return self._safety_event(key, arrival)
        except Refusal as refusal:
            return self._unreadable(key, refusal.slug.replace("-", "_"), raw)

    def alarm(self, key: ApiKey, body: bytes) -> Post | None:
        """The mark of a refused post whose words tell of a crisis, with its bytes sealed (S5, S6)."""
        return self._unreadable(key, "refused", Raw(b"", body)) if self._watch.hears(*texts_in(body)) else None

    def _ticket_event(self, event_class: type[ticket.TicketEvent], attributes: Told, data: Any, *, at: str) -> Post:
        received_at = self._now()
        value = encoded(data, at)
        refuse_odd_json(data, value, at)
        event = validated(event_class, data, at)
        said = said_by(event)
        if faults := unknown_words(said, self._policy):
            raise Invalid(tuple(fault.below(at) for fault in faults))
        if len(value) > MAX_EVENT_BYTES:
            raise TooLarge
        moment = self._window.place(attributes.time, received_at)
        fact = _outgoing(TICKET.name, event.ticket_id, attributes, moment, value)
        flag = self._watch.flag(said)
        leaving = [fact] if flag is None else [fact, _flagged(event.ticket_id, flag, because=fact)]
        return _post(attributes, data, event.ticket_id, received_at, leaving, is_safety=flag is not None)

    def _safety_event(self, key: ApiKey, arrival: Arrival) -> Post:
        """The event as it came. Another body under a known id leaves too, once: the bridge tells it from the first, and what it
        raises is raised (S6).
        """
        received_at = self._now()
        attributes = _spoken_for(key, arrival)
        event_class = SAFETY_EVENTS.get(attributes.type)
        if event_class is None:
            raise UnknownType
        value = encoded(arrival.data, "/data")
        event = validated(event_class, arrival.data, "/data")
        if len(value) > MAX_SAFETY_EVENT_BYTES:
            raise TooLarge
        moment = self._window.place_any_age(attributes.time, received_at)
        incident_id, ticket_id = _text(event.agent_incident_id), _text(event.ticket_id)
        fact = _outgoing(AGENT.name, incident_id or ticket_id or attributes.id, attributes, moment, value)
        post = _post(attributes, arrival.data, ticket_id, received_at, [fact], is_safety=True)
        as_another = hashlib.blake2b(post.identity + post.meaning, digest_size=16).digest()
        return replace(post, otherwise=replace(post, identity=as_another))

    def _unreadable(self, key: ApiKey, reason: str, raw: Raw) -> Post:
        """Its id is that of its bytes, so that a retry is known as one; its source names the producer."""
        received_at, source = self._now(), _source_of(key)
        digest = hashlib.blake2b(raw.headers + b"\n" + raw.body, digest_size=16)
        event_id = derived_id(source, digest.hexdigest())
        attributes = Told(source, event_id, agent.SafetyUnreadable.wire_type)
        sealed = self._keys.seal(_packed(raw), event_id)
        told = agent.SafetyUnreadable(reason_code=reason, sealed=b64encode(sealed).decode())
        value = told.model_dump_json(exclude_none=True).encode()
        mark = _outgoing(AGENT.name, event_id, attributes, Moment(received_at), value)
        return Post(
            identity=_identity(attributes),
            meaning=digest.digest(),
            event_id=event_id,
            ticket_id=None,
            known_from=received_at,
            messages=(to_message(mark),),
            is_safety=True,
        )


def _packed(raw: Raw) -> bytes:
    return orjson.dumps({"headers": b64encode(raw.headers).decode(), "value": b64encode(raw.body).decode()})


def _source_of(key: ApiKey) -> str:
    """Of what is made here for a producer."""
    return f"{SOURCE}/{key.name}"


def _spoken_for(key: ApiKey, arrival: Arrival) -> Told:
    attributes = told(arrival.attributes)
    if not key.may_speak_for(attributes.source):
        raise SourceNotAllowed
    return attributes


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _flagged(ticket_id: str, flag: Flag, because: Outgoing) -> Outgoing:
    """Tells the safety bridge of a ticket, in ids alone (S6)."""
    wire_type = agent.SafetyTicketFlagged.wire_type
    event = agent.SafetyTicketFlagged(ticket_id=ticket_id, subcategory=flag.subcategory, evidence=flag.evidence)
    return Outgoing(
        topic=AGENT.name,
        key=ticket_id,
        wire_type=wire_type,
        source=SOURCE,
        id=derived_id(SOURCE, wire_type, because.source, because.id),
        occurred_at=because.occurred_at,
        correlation_id=because.correlation_id,
        causation_id=because.id,
        value=event.model_dump_json(exclude_none=True).encode(),
    )


def _outgoing(topic: str, key: str, attributes: Told, moment: Moment, value: bytes) -> Outgoing:
    return Outgoing(
        topic=topic,
        key=key,
        wire_type=attributes.type,
        source=attributes.source,
        id=attributes.id,
        occurred_at=moment.occurred_at,
        correlation_id=attributes.correlation_id or attributes.id,
        causation_id=None,
        value=value,
        claimed_at=moment.claimed_at,
    )


def _post(
    attributes: Told,
    data: Any,
    ticket_id: str | None,
    received_at: datetime,
    leaving: list[Outgoing],
    *,
    is_safety: bool,
) -> Post:
    return Post(
        identity=_identity(attributes),
        meaning=meaning_of(attributes.type, attributes.subject, attributes.time or NO_TIME, data),
        event_id=attributes.id,
        ticket_id=ticket_id,
        known_from=max(received_at, attributes.time or received_at),
        messages=tuple(to_message(event) for event in leaving),
        is_safety=is_safety,
    )


def _identity(attributes: Told) -> bytes:
    return Envelope(attributes.source, attributes.id, attributes.type, NO_TIME).identity
