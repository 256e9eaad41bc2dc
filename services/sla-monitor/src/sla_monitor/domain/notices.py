"""What has to be announced: the difference between what became of the clocks and what was told so far (L10, L13, L16).

Nothing is told twice, and nothing told stays standing when a late fact shows that it was not so: that is corrected, naming
the event that it withdraws.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple, Self

from shared.vocabulary import ClockState, Milestone
from sla_monitor.domain.clock import Change, Clock, Fact, Pause, Terms, Turn

_LOUD = (Turn.BREACHED, Turn.FULFILLED_LATE)
"""Turns that are announced by themselves even when a correction already shows the clock."""
_OPEN = (Turn.STARTED, Turn.PAUSED, Turn.RESUMED, Turn.RETARGETED)

Mark = tuple[Turn, datetime | None]
"""What makes a turn the same turn; a clock starts once, whenever that was decided."""


class Look(NamedTuple):
    """What may change about a clock although its turns are the same."""

    due_at: datetime | None
    pauses: tuple[Pause, ...]
    reason: str | None

    @classmethod
    def of(cls, clock: Clock) -> Self:
        return cls(clock.due_at, clock.pauses, clock.reason)


@dataclass(frozen=True, slots=True)
class Step:
    """A turn that was told, and by which event."""

    turn: Turn
    at: datetime | None
    event_id: str

    @property
    def mark(self) -> Mark:
        return self.turn, self.at


@dataclass(slots=True)
class Told:
    """What was told about one clock: its turns so far, and how it stood then."""

    steps: list[Step] = field(default_factory=list)
    due_at: datetime | None = None
    pauses: tuple[Pause, ...] = ()
    reason: str | None = None
    provisional: bool = False
    warned: float = 0.0
    """The highest threshold told; each is told once for a clock, also after a retarget (L10)."""
    corrections: int = 0
    told_until: datetime | None = None
    """When the latest thing told happened; of a start its mark does not say it."""

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple(step.mark for step in self.steps)

    @property
    def latest(self) -> datetime | None:
        """When the last turn told happened."""
        told = (self.told_until, *(step.at for step in self.steps))
        return max((at for at in told if at is not None), default=None)

    def record(self, notice: "Notice", *, event_id: str, provisional: bool) -> None:
        """Remember that a notice was told, by which event."""
        known = {step.mark: step for step in self.steps}
        self.steps = [known.get(mark) or Step(*mark, event_id) for mark in notice.tells]
        self.due_at, self.pauses, self.reason = Look.of(notice.clock)
        self.provisional = provisional
        self.warned = notice.threshold or self.warned
        self.corrections += notice.turn is Turn.CORRECTED
        self.told_until = max(self.told_until or notice.at, notice.at)

    def pass_deadline(self, at: datetime, threshold: float | None, event_id: str) -> None:
        """Remember that a threshold, or without one the due time, was told as planned; the clock ran on as it was."""
        if threshold is None:
            self.steps = [*self.steps, Step(Turn.BREACHED, at, event_id)]
        else:
            self.warned = threshold
        self.told_until = max(self.told_until or at, at)


class Notice(NamedTuple):
    """One announcement about one clock: the clock as it stands after the turn, and when that happened."""

    turn: Turn
    clock: Clock
    at: datetime
    clause: str | None
    tells: tuple[Mark, ...]
    """All the clock's turns that are told once this is."""
    corrections: int = 0
    """How often the clock was corrected before: what is told again after a correction is another event."""
    because: Fact | None = None
    previous_due_at: datetime | None = None
    threshold: float | None = None
    corrects: str | None = None
    """The id of the event that this one withdraws (L13)."""

    def seed(self, ticket_id: str) -> str:
        """What the id of the event follows from."""
        turn = self.threshold or self.at, len(self.tells), self.clause
        return seed(ticket_id, self.clock.key, *turn, self.corrections)


class Running(NamedTuple):
    """A clock that runs on after all was told of it, and its thresholds still to come, before it is due."""

    clock: Clock
    turns: int
    corrections: int
    thresholds: Sequence[tuple[float, datetime]]

    @property
    def look_at(self) -> datetime:
        """When time alone changes it next."""
        return self.thresholds[0][1] if self.thresholds else self.clock.due_at


def seed(ticket_id: str, key: str, what: float | datetime, turns: int, clause: str | None, corrections: int) -> str:
    """What the id of an event follows from: a threshold of a clock is told once; another turn is known by its time.

    Two turns may share their instant, and that a promise is no longer provisional is told beside them (L16).
    """
    turn = f"{what.isoformat()}|{turns}|{clause}" if isinstance(what, datetime) else what
    return f"{ticket_id}|{key}|{turn}|{corrections}"


def announce(
    terms: Terms, changes: Sequence[Change], told: Mapping[str, Told], now: datetime
) -> tuple[list[Notice], list[Running]]:
    """What is not told yet, in the order in which it happened, and the clocks that time alone will change (L10)."""
    found: list[tuple[datetime, Notice]] = []
    running: list[Running] = []
    for key, story in _stories(changes, told).items():
        clock, known = story[-1].clock, told.get(key) or Told()
        news = list(_news(terms, story, known))
        if clock.state is ClockState.RUNNING:
            passed, to_come = _thresholds(clock, known.warned, now)
            corrections = known.corrections + sum(notice.turn is Turn.CORRECTED for notice in news)
            running.append(Running(clock, len(story), corrections, to_come))
            if passed is not None:
                share, at = passed
                news.append(Notice(Turn.WARNING, clock, at, "L10", _marks(story), threshold=share))
        place = terms.decided_at
        for notice in news:
            place = max(place, notice.at)
            found.append((place, notice))
    found.sort(key=itemgetter(0))
    return [notice for _, notice in found], running


def withdrawals(changes: Sequence[Change], told: Mapping[str, Told], because: Fact) -> list[Notice]:
    """A restricted ticket has no clock on the general topics: what was told to run is cancelled, nothing else said (L6).

    So is a cycle that was told and began after the restriction, which is heard of late.
    """
    stories = _stories(changes, told)
    return [
        Notice(
            Turn.CANCELLED,
            stories[key][-1].clock._replace(state=ClockState.CANCELLED, ended_at=because.at, reason="restricted"),
            because.at,
            "L6",
            (*known.marks, (Turn.CANCELLED, because.at)),
            known.corrections,
            because,
        )
        for key, known in told.items()
        if key in stories and known.steps[-1].turn in _OPEN
    ]


def _stories(changes: Sequence[Change], told: Mapping[str, Told]) -> dict[str, list[Change]]:
    """The changes of each clock. A cycle that was told and never was (a late `closed`) ends as superseded."""
    stories: dict[str, list[Change]] = {}
    for change in changes:
        stories.setdefault(change.clock.key, []).append(change)
    for key in told.keys() - stories.keys():
        milestone, cycle = key.split("|")
        known = told[key]
        gone_at = known.steps[0].at or known.latest
        like = next(
            (ones[0].clock for one, ones in stories.items() if one.startswith(f"{milestone}|")), changes[0].clock
        )
        if gone_at is not None:
            gone = like._replace(
                promise=like.promise._replace(milestone=Milestone(milestone)),
                cycle=int(cycle),
                due_at=known.due_at or like.due_at,
                state=ClockState.CANCELLED,
                ended_at=gone_at,
                reason="superseded",
            )
            stories[key] = [Change(Turn.CANCELLED, gone, gone_at, "L13")]
    return stories


def _news(terms: Terms, story: Sequence[Change], told: Told) -> Iterator[Notice]:
    """What was told of a clock is the beginning of its story, and the rest is news; where it is not, that is corrected."""
    marks, known = _marks(story), told.marks
    shown, corrections = Look(told.due_at, told.pauses, told.reason), told.corrections
    if told.provisional and not terms.provisional:
        stands = next((change.clock for change in reversed(story) if _mark(change) in known), story[0].clock)
        yield Notice(Turn.RETARGETED, stands, terms.decided_at, "L16", known, previous_due_at=told.due_at)
        shown = Look.of(stands)
    told_until = _agreement(known, marks)
    if told_until < len(known) or (told_until == len(story) and shown != Look.of(story[-1].clock)):
        told_until = _quiet_until(story, told_until, known)
        yield _correction(story[told_until - 1], told, marks, told_until, shown)
        corrections += 1
    for place, change in enumerate(story[told_until:], start=told_until + 1):
        yield Notice(
            change.turn,
            change.clock,
            change.at,
            change.clause,
            marks[:place],
            corrections,
            change.because,
            change.previous_due_at,
        )


def _quiet_until(story: Sequence[Change], place: int, known: Sequence[Mark]) -> int:
    """How far a correction tells the story by showing the clock; from a new breach on it is told turn by turn."""
    for change in story[place:]:
        if change.turn in _LOUD and _mark(change) not in known:
            break
        place += 1
    return place


def _correction(change: Change, told: Told, marks: tuple[Mark, ...], told_until: int, shown: Look) -> Notice:
    """The clock as it stood after `change`, naming what was not so: the breach, else the last turn told (L13).

    A breach that stands is not named: to whoever hears of it, it would be withdrawn.
    """
    gone = [step for step in told.steps if step.mark not in marks] or [
        step for step in told.steps if step.turn is not Turn.BREACHED
    ]
    withdrawn = next((step for step in gone if step.turn is Turn.BREACHED), gone[-1])
    return Notice(
        Turn.CORRECTED,
        change.clock,
        change.at,
        "L13",
        marks[:told_until],
        told.corrections,
        change.because,
        previous_due_at=shown.due_at if shown.due_at != change.clock.due_at else None,
        corrects=withdrawn.event_id,
    )


def _marks(story: Sequence[Change]) -> tuple[Mark, ...]:
    return tuple([_mark(change) for change in story])


def _mark(change: Change) -> Mark:
    return change.turn, None if change.turn is Turn.STARTED else change.at


def _agreement(known: Sequence[Mark], marks: Sequence[Mark]) -> int:
    """How many turns what was told and what was have in common from the beginning."""
    shorter = min(len(known), len(marks))
    return next((place for place in range(shorter) if known[place] != marks[place]), shorter)


def _thresholds(
    clock: Clock, warned: float, now: datetime
) -> tuple[tuple[float, datetime] | None, list[tuple[float, datetime]]]:
    """The highest threshold passed in this cycle and not told, with its instant; and those to come until due (L10)."""
    passed, to_come = None, []
    for share in clock.rules.clocks.warn_at:
        if share <= warned or (counted := share * clock.promise.length) <= clock.carried:
            continue
        at = clock.instant_of(counted)
        if at <= now:
            passed = share, at
        elif at < clock.due_at:
            to_come.append((share, at))
    return passed, to_come
