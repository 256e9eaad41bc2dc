"""What tickets have in common: the same requester, the same intellectual property, the same trouble (E2, E6).

A sighting says that a ticket was seen under a key. Keys are hashes or ids, never words. What follows for the ticket at hand,
and for those seen before, is decided here from the sightings of the time that counts.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.policy.model import Policy, Several
from shared.policy.patterns import words_of
from shared.vocabulary import Hint, TicketId

NAMED_AT_MOST = 20
"""So many other tickets a decision names."""


class Kind(StrEnum):
    """What tickets may have in common."""

    REQUESTER = "requester"
    IP = "ip"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A ticket under a key. `text` stands for its words; `counts` says what the kind asks for: of an IP that it is disputed,
    of a requester that a machine wrote."""

    kind: Kind
    key: str
    ticket_id: TicketId
    requester_id: str
    at: datetime
    text: bytes = b""
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Why a ticket may be none; of a duplicate which one it repeats. A person closes it, never a rule."""

    hint: Hint
    of: TicketId | None = None


def window_of(kind: Kind, policy: Policy) -> timedelta:
    """For how long a sighting of this kind counts."""
    if kind is Kind.IP:
        return timedelta(minutes=policy.escalation.same_ip.within_minutes)
    if kind is Kind.TROUBLE:
        return timedelta(minutes=policy.escalation.same_trouble.within_minutes)
    hygiene = policy.hygiene
    return timedelta(minutes=max(hygiene.duplicate_within_minutes, hygiene.flood_within_minutes))


def fingerprint(*texts: str) -> bytes:
    """Eight bytes that stand for the words of a text, whatever case, spaces and punctuation they come with."""
    words = " ".join(word for text in texts for word in words_of(text))
    return hashlib.blake2b(words.encode(), digest_size=8, key=b"storytailor-router").digest()


def together(mine: Sighting, seen: Iterable[Sighting], several: Several) -> tuple[TicketId, ...]:
    """The tickets of others that make one matter with this one, oldest first; none while they are too few (E2, E6)."""
    since = mine.at - timedelta(minutes=several.within_minutes)
    until = mine.at + timedelta(minutes=several.within_minutes)
    others = [one for one in seen if one.counts and since <= one.at <= until and one.ticket_id != mine.ticket_id]
    requesters = {one.requester_id for one in others} | {mine.requester_id}
    if not mine.counts or len(requesters) < several.requesters:
        return ()
    in_order = sorted(others, key=lambda one: (one.at, one.ticket_id))
    return tuple(dict.fromkeys(one.ticket_id for one in in_order))


def suggestions(
    mine: Sighting, seen: Sequence[Sighting], hints: Iterable[Hint], policy: Policy
) -> tuple[Suggestion, ...]:
    """What the words, the machine's marks and the requester's other tickets suggest (HD-62 to HD-64)."""
    hygiene = policy.hygiene
    found = [Suggestion(hint) for hint in hints]
    earlier = [one for one in seen if one.ticket_id != mine.ticket_id and one.at <= mine.at]
    repeated = [
        one
        for one in earlier
        if one.text == mine.text and mine.at - one.at <= timedelta(minutes=hygiene.duplicate_within_minutes)
    ]
    if repeated:
        found.append(Suggestion(Hint.DUPLICATE, min(repeated, key=lambda one: (one.at, one.ticket_id)).ticket_id))
    lately = [one for one in earlier if mine.at - one.at <= timedelta(minutes=hygiene.flood_within_minutes)]
    if len(lately) + 1 > hygiene.flood_tickets:
        found.append(Suggestion(Hint.FLOOD))
    if mine.counts and sum(one.counts for one in lately) + 1 > hygiene.loop_machine_mails:
        found.append(Suggestion(Hint.LOOP))
    return tuple(dict.fromkeys(found))
