"""Why a clock is due when it is: every stretch of time that counts or does not, and all that moved the due time (L15).

A person can check it by hand: up to the due time, the stretches that count sum up to the length of the promise. Only where no
due time stands do they end before: of a paused clock now, since nobody knows when it goes on, of a cancelled one at its end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from shared.policy.business_time import SegmentKind
from shared.vocabulary import ClockState, Milestone
from sla_monitor.domain.clock import Change, Clock, Fact, Turn


class StretchKind(StrEnum):
    """Why a stretch of time counts, or does not."""

    COUNTED = "counted"
    NIGHT = "night"
    WEEKEND = "weekend"
    HOLIDAY = "holiday"
    CLOSED_DAY = "closed_day"
    BREAK = "break"
    PAUSED = "paused"
    """The customer was asked (L9)."""
    RESOLVED = "resolved"
    """Between a resolution and the reopening (L12)."""


class Stretch(NamedTuple):
    """A stretch of time that counts whole or not at all; half-open. A pause that goes on ends now, and nothing ended it."""

    starts_at: datetime
    ends_at: datetime
    kind: StretchKind
    name: str | None = None
    """What the day is called, if it is closed by name."""
    begun_by: Fact | None = None
    ended_by: Fact | None = None

    @property
    def counts(self) -> bool:
        return self.kind is StretchKind.COUNTED

    @property
    def length(self) -> timedelta:
        return self.ends_at - self.starts_at


class Move(NamedTuple):
    """The due time moved: at which turn, when, and because of what."""

    turn: Turn
    at: datetime
    was_due_at: datetime
    due_at: datetime
    clause: str | None
    because: Fact | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One clock as it stands, and how it came to that."""

    clock: Clock
    clauses: tuple[str, ...]
    """Of the promise, then of each turn."""
    stretches: tuple[Stretch, ...]
    """Without a gap, from the start to the due time, or to where it ends before that."""
    moves: tuple[Move, ...]

    @property
    def counted(self) -> timedelta:
        """What the stretches that count sum up to."""
        return sum((stretch.length for stretch in self.stretches if stretch.counts), timedelta(0))


class _Cause(NamedTuple):
    """What made a pause, and what ended it."""

    kind: StretchKind
    begun_by: Fact | None
    ended_by: Fact | None = None


def explain(changes: Sequence[Change], now: datetime) -> list[Explanation]:
    """Every clock in every cycle, in the order in which they started; `changes` are all of the ticket's until `now` (L15)."""
    stories: dict[str, list[Change]] = {}
    for change in changes:
        stories.setdefault(change.clock.key, []).append(change)
    causes, moves = _causes(changes), _moves(changes)
    return [
        Explanation(
            clock=story[-1].clock,
            clauses=_clauses(story),
            stretches=tuple(_stretches(story[-1].clock, causes[key], now)),
            moves=tuple(moves[key]),
        )
        for key, story in stories.items()
    ]


def _clauses(story: Sequence[Change]) -> tuple[str, ...]:
    turns = (change.clause for change in story if change.clause is not None)
    return tuple(dict.fromkeys((*story[-1].clock.promise.clauses, *turns)))


def _causes(changes: Sequence[Change]) -> dict[str, tuple[_Cause, ...]]:
    """For each clock what its pauses came from, in their order.

    A clock that goes on after a reopening takes its pauses along, so that they are followed over all cycles of a milestone.
    """
    found: dict[str, tuple[_Cause, ...]] = {}
    latest: dict[Milestone, list[_Cause]] = {}
    ended: dict[Milestone, Change] = {}
    for change in changes:
        milestone, pauses = change.clock.promise.milestone, change.clock.pauses
        if change.turn is Turn.STARTED:
            latest[milestone] = []
        known = latest[milestone]
        if known and known[-1].ended_by is None and pauses and pauses[len(known) - 1].ended_at is not None:
            known[-1] = known[-1]._replace(ended_by=change.because)
        if len(pauses) > len(known):
            if change.turn is Turn.PAUSED:
                known.append(_Cause(StretchKind.PAUSED, change.because))
            else:
                known.append(_Cause(StretchKind.RESOLVED, ended[milestone].because, change.because))
        if change.clock.ended_at is not None:
            ended[milestone] = change
        found[change.clock.key] = tuple(known[: len(pauses)])
    return found


def _moves(changes: Sequence[Change]) -> dict[str, list[Move]]:
    """For each clock when its due time moved; a pause that a resolution ends moves it as well."""
    found: dict[str, list[Move]] = {}
    due: dict[Milestone, datetime] = {}
    for turn, clock, at, clause, because, _ in changes:
        moves = found.setdefault(clock.key, [])
        milestone = clock.promise.milestone
        if turn is Turn.FULFILLED_LATE:  # it may be of an earlier cycle, and moves nothing
            continue
        if turn is not Turn.STARTED and due[milestone] != clock.due_at:
            moves.append(Move(turn, at, due[milestone], clock.due_at, clause, because))
        due[milestone] = clock.due_at
    return found


def _stretches(clock: Clock, causes: Sequence[_Cause], now: datetime) -> Iterator[Stretch]:
    since, until = clock.started_at, _until(clock, now)
    for pause, cause in zip(clock.pauses, causes, strict=True):
        starts_at, ends_at = min(pause.started_at, until), min(pause.ended_at or until, until)
        yield from _running(clock, since, starts_at)
        if starts_at < ends_at:
            yield Stretch(starts_at, ends_at, cause.kind, None, cause.begun_by, cause.ended_by)
        since = ends_at
    yield from _running(clock, since, until)


def _until(clock: Clock, now: datetime) -> datetime:
    """Where an explanation ends; time that goes backwards does not shorten it."""
    if clock.state is ClockState.PAUSED:
        return max(now, clock.pauses[-1].started_at)
    if clock.state is ClockState.CANCELLED and clock.ended_at is not None:
        return clock.ended_at
    return clock.due_at


def _running(clock: Clock, start: datetime, end: datetime) -> Iterator[Stretch]:
    """What lies outside the pauses, in the unit of the target (L2, L3)."""
    if start >= end:
        return
    if not clock.promise.in_business_time:
        yield Stretch(start, end, StretchKind.COUNTED)
        return
    for segment in clock.rules.calendar.segments(start, end):
        is_open = segment.kind is SegmentKind.OPEN
        kind = StretchKind.COUNTED if is_open else StretchKind(segment.kind.value)
        yield Stretch(segment.starts_at, segment.ends_at, kind, segment.name)
