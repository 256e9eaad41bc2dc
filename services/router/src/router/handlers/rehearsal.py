"""The log played once more through the same handlers, in memory: nothing is stored and nothing is announced.

So a decision can be recomputed under the policy that it was taken by, and a draft of a policy can be tried on what really
happened.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import orjson

from router.domain.classification import Classifier
from router.domain.routing import Placement
from router.store import RoutingUnit
from shared.errors import InvalidMessage, UnknownTicket
from shared.events.envelope import Event, Received, Record, decode, rfc3339
from shared.events.topics import SLA, TICKET
from shared.runtime.database import Connection
from shared.vocabulary import TicketId

Handlers = Mapping[type[Event], Callable[[Received[Any], RoutingUnit], None]]

_TYPES = TICKET.types | SLA.types
_NOBODY = cast(Connection, None)
"""Handlers never see a connection."""
_OF_THE_MOMENT = ("emitted_at", "decision_id", "replaces", "assignee", "watchers", "suggestions")
"""What says when and in which row a decision was taken, who of the team had it, and what else its requester wrote."""
_STANDS = ("category", "subcategory", "team", "owning_team", "also_notified")


@dataclass(frozen=True, slots=True)
class Turn:
    """Another policy comes into force: before the event that led to the decision after so many about a ticket."""

    ticket_id: str
    after: int
    occurred_at: str
    classifier: Classifier


class Rehearsal:
    """Handlers at work on tickets that exist in memory only."""

    def __init__(self, handlers: Handlers, classifier: Classifier, now: datetime, turns: Iterable[Turn] = ()) -> None:
        self._handlers = handlers
        self._turns = deque(turns)
        self._unit = RoutingUnit(_NOBODY, now, classifier)
        self._known: set[bytes] = set()
        self._waiting: dict[str, list[Received[Event]]] = defaultdict(list)

    def play(self, records: Iterable[Record]) -> None:
        """Records of the ticket and SLA topics, in the order in which they were written; a repetition changes nothing."""
        for record in in_order(records):
            try:
                message = decode(record, _TYPES)
            except InvalidMessage:
                continue
            if type(message.event) in self._handlers and message.envelope.identity not in self._known:
                self._known.add(message.envelope.identity)
                self._handle(message)

    def decisions(self, ticket_id: str) -> list[dict[str, Any]]:
        """The decisions about a ticket, oldest first, as they would have been announced."""
        return [
            {"type": entry.wire_type, **orjson.loads(entry.document)}
            for entry in self._unit.history
            if entry.ticket_id == ticket_id
        ]

    def placement(self, ticket_id: str) -> Placement | None:
        """Where a ticket stands in the end."""
        ticket = self._unit.tickets.find(TicketId(ticket_id))
        return ticket.in_force.placement if ticket is not None else None

    def _handle(self, message: Received[Event]) -> None:
        """One event; what speaks of a ticket not seen yet is handled right after its first event (L13)."""
        self._turn(message)
        self._unit.because_of(message)
        try:
            self._handlers[type(message.event)](message, self._unit)
        except UnknownTicket:
            self._waiting[message.event.key].append(message)
            return
        except InvalidMessage:
            return
        for waiting in self._waiting.pop(message.event.key, ()):
            self._handle(waiting)

    def _turn(self, message: Received[Event]) -> None:
        """A decision happened when the fact happened that caused it: that tells the event."""
        if self._turns:
            turn = self._turns[0]
            decided = sum(entry.ticket_id == turn.ticket_id for entry in self._unit.history)
            if (decided, rfc3339(message.occurred_at)) == (turn.after, turn.occurred_at):
                self._turns.popleft()
                self._unit.classifier, self._unit.policy = turn.classifier, turn.classifier.policy


@dataclass(frozen=True, slots=True)
class Moved:
    """A ticket that stands elsewhere under a draft."""

    ticket_id: str
    was: Placement
    now: Placement


def in_order(records: Iterable[Record]) -> Iterator[Record]:
    """By the time of writing, and never against the order of a partition."""
    partitions: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in records:
        partitions[record.topic, record.partition].append(record)
    latest = [_never_earlier(sorted(ones, key=lambda one: one.offset)) for ones in partitions.values()]
    for _, record in heapq.merge(*latest, key=lambda dated: (dated[0], dated[1].topic, dated[1].partition)):
        yield record


def _never_earlier(records: Iterable[Record]) -> Iterator[tuple[datetime, Record]]:
    """Each record with the latest time seen so far."""
    latest: datetime | None = None
    for record in records:
        latest = record.timestamp if latest is None else max(latest, record.timestamp)
        yield latest, record


def differences(recorded: list[dict[str, Any]], again: list[dict[str, Any]]) -> list[str]:
    """The fields in which what was decided and what is decided now differ, as `<number>.<field>`; none is the same result."""
    before, after = without_assignments(recorded), without_assignments(again)
    if len(before) != len(after):
        return ["decisions"]
    return [
        f"{number}.{name}"
        for number, (one, other) in enumerate(zip(before, after, strict=True), start=1)
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def without_assignments(decisions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the log decides: who of the team took a ticket is decided by the hour, and leaves it where it stands."""
    told = [{name: value for name, value in one.items() if name not in _OF_THE_MOMENT} for one in decisions]
    return [one for place, one in enumerate(told) if place == 0 or _stands(one) != _stands(told[place - 1])]


def _stands(decision: dict[str, Any]) -> list[Any]:
    """Where a ticket stands after a decision, whichever way it says so; see `Placement.equals`."""
    level = decision.get("level", decision.get("to_level"))
    return [level, decision.get("restricted", False), *(decision.get(name) for name in _STANDS)]
