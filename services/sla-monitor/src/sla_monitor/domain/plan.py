"""What is told of a ticket's clocks if nothing more is heard of it: told at its time without playing the facts again (L10).

Whenever facts are played, the deadlines still to come are written down beside them, and hold until the next fact. A plan is read
thousands of times a second: it is plain JSON, and what is compared of it are microseconds since 1970.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

import orjson

from sla_monitor.domain.clock import Clock
from sla_monitor.domain.notices import Running, seed
from sla_monitor.domain.ticket import Outlook, Ticket

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)


class Form(NamedTuple):
    """What the events of a clock say that those of many others say, too."""

    policy_version: str
    calendar: str
    clauses: str
    milestone: str
    cycle: int
    level: int | None
    amount: int
    unit: str
    short_notice: bool
    provisional: bool
    reason: str | None

    @classmethod
    def of(cls, running: Running, *, provisional: bool) -> Self:
        clock, promise = running.clock, running.clock.promise
        return cls(
            clock.rules.policy_version,
            clock.rules.calendar.name,
            " ".join(promise.clauses),
            promise.milestone,
            clock.cycle,
            clock.level,
            promise.target.amount,
            promise.target.unit,
            promise.short_notice,
            provisional,
            clock.reason,
        )


class Deadline(NamedTuple):
    """A threshold of a clock, or its due time: that has no threshold."""

    at: int
    threshold: float | None
    elapsed_share: float


class Course(NamedTuple):
    """What a running clock tells by time alone: its deadlines, the last of which is the due time."""

    key: str
    turns: int
    corrections: int
    deadlines: Sequence[Deadline]
    started_at: str
    due_at: str
    pauses: Sequence[tuple[str, str | None]]
    form: Form

    @classmethod
    def of(cls, running: Running, *, provisional: bool) -> Self:
        clock = running.clock
        deadlines = [Deadline(micros(at), share, _elapsed(share, clock)) for share, at in running.thresholds]
        deadlines.append(Deadline(micros(clock.due_at), None, round(clock.share(clock.due_at), 6)))
        return cls(
            clock.key,
            running.turns,
            running.corrections,
            deadlines,
            text(clock.started_at),
            text(clock.due_at),
            [(text(pause.started_at), text(pause.ended_at) if pause.ended_at else None) for pause in clock.pauses],
            Form.of(running, provisional=provisional),
        )

    def seed(self, ticket_id: str, deadline: Deadline) -> str:
        """What the id of the event follows from, the same as of a notice."""
        what = deadline.threshold or instant(deadline.at)
        return seed(ticket_id, self.key, what, self.turns + 1, "L10", 0 if deadline.threshold else self.corrections)


class Plan(NamedTuple):
    """What is told of the running clocks of a ticket, until a fact has its time that was heard of before."""

    correlation_id: str
    until: int | None
    courses: Sequence[Course]

    @classmethod
    def of(cls, ticket: Ticket, outlook: Outlook) -> Self | None:
        """None where nothing is to come, or only something that has to be judged when it does."""
        if ticket.terms is None or not outlook.running:
            return None
        until = micros(outlook.until) if outlook.until is not None else None
        courses = [Course.of(one, provisional=ticket.terms.provisional) for one in outlook.running]
        return cls(ticket.correlation_id, until, courses)

    @classmethod
    def from_bytes(cls, written: bytes) -> Self:
        correlation_id, until, courses = orjson.loads(written)
        return cls(correlation_id, until, [Course(*course) for course in courses])

    def to_bytes(self) -> bytes:
        return orjson.dumps(
            [self.correlation_id, self.until, [[*one[:-1], list(one.form)] for one in self.courses]], default=list
        )

    def due(self, now: int, last: int | None) -> list[tuple[Course, Deadline]]:
        """What is told at `now`, in the order in which it happened: of each clock the latest that passed since `last` (L10)."""
        found = []
        for course in self.courses:
            passed = None
            for deadline in course.deadlines:
                if deadline[0] > now:
                    break
                if last is None or deadline[0] > last:
                    passed = deadline
            if passed is not None:
                found.append((course, Deadline(*passed)))
        return sorted(found, key=_at)

    def next_look(self, now: int) -> int | None:
        """When something is to be told next."""
        found = self.until
        for course in self.courses:
            for deadline in course.deadlines:
                if deadline[0] > now:
                    if found is None or deadline[0] < found:
                        found = deadline[0]
                    break
        return found

    def told_in(self, looks: Sequence[datetime]) -> Iterator[tuple[Course, Deadline]]:
        """What these looks told."""
        last = None
        for look in map(micros, looks):
            yield from self.due(look, last)
            last = look


def catch_up(ticket: Ticket, plan: Plan, looks: Sequence[datetime], id_of: Callable[[Course, Deadline], str]) -> None:
    """Let the ticket remember what was told as planned since it was written down."""
    for course, deadline in plan.told_in(looks):
        at = instant(deadline.at)
        ticket.told[course.key].pass_deadline(at, deadline.threshold, id_of(course, deadline))


def micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICRO


def instant(at: int) -> datetime:
    return _EPOCH + at * _MICRO


def text(at: datetime) -> str:
    """An instant as it leaves."""
    return at.isoformat(timespec="microseconds")[:-6] + "Z"


def _elapsed(share: float, clock: Clock) -> float:
    """What the share is to the microsecond; it is just counted at its instant."""
    return round(share * clock.promise.length / clock.promise.length, 6)


def _at(found: tuple[Course, Deadline]) -> int:
    return found[1].at
