"""Which incident a signal belongs to, and what the incident is called."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import NewType

from shared.vocabulary import TicketId

IncidentRef = NewType("IncidentRef", str)

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Base 32 without letters that are misread over the telephone."""
REF_LENGTH = 8

_FIT_ID = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_FIT_NAME = re.compile(r"[\x21-\x3f\x41-\x7e]{1,128}")


class Mode(StrEnum):
    """A drill never turns live nor the other way round: the mode is part of the identity."""

    LIVE = "live"
    DRILL = "drill"


class IdentityKind(StrEnum):
    AGENT = "agent"
    TICKET = "ticket"
    UNREADABLE = "unreadable"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Identity:
    """One name under which an incident is known; it may have several.

    `key` stands for all of it in storage. `name` is the id that people search by, where it is fit to be shown.
    """

    kind: IdentityKind
    key: bytes
    name: str | None = None
    mode: Mode = Mode.LIVE


def of_agent_incident(source: str, agent_incident_id: object, mode: Mode) -> Identity:
    """The agent's own incident. An id of any odd kind still groups its events, it is only not shown."""
    key = _key("agent", source, str(agent_incident_id), mode)
    return Identity(IdentityKind.AGENT, key, fit_name(agent_incident_id), mode)


def of_ticket(ticket_id: TicketId, mode: Mode = Mode.LIVE) -> Identity:
    """The incident of a safety ticket: one for each (S8)."""
    return Identity(IdentityKind.TICKET, _key("ticket", ticket_id, mode), ticket_id, mode)


def of_unreadable(producer: str) -> Identity:
    """Everything unreadable from one producer is one incident (S6)."""
    return Identity(IdentityKind.UNREADABLE, _key("unreadable", producer))


def of_foreign(source: str) -> Identity:
    """Everything that one producer says of another deployment is one incident here (S6)."""
    return Identity(IdentityKind.FOREIGN, _key("foreign", source))


def fit_id(value: object) -> str | None:
    """The value where it is an id: text of 1 to 128 characters without control characters."""
    return value if isinstance(value, str) and _FIT_ID.fullmatch(value) else None


def fit_name(value: object) -> str | None:
    """The value where it is a name that a program gives: no spaces, no @, plain characters. Only such a one of the agent's is
    shown and passed on; anything else may be a person's name, address or words (S5)."""
    return value if isinstance(value, str) and _FIT_NAME.fullmatch(value) else None


def references(identity: Identity) -> Iterator[IncidentRef]:
    """The references an incident born under this identity may carry, in order: the first that is free.

    Always the same ones, so that a repeated birth gives the same reference; more than one, since 40 bits do collide.
    """
    for attempt in count():
        digest = int.from_bytes(hashlib.blake2b(identity.key + attempt.to_bytes(4), digest_size=5).digest())
        digits = (CROCKFORD[digest >> 5 * place & 31] for place in range(REF_LENGTH))
        yield IncidentRef("SI-" + "".join(digits))


def _key(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()
