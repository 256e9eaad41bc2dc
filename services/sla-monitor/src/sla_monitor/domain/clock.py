"""The clocks of one ticket, as a pure function of its facts (L8, L9, L12, L13).

`fold` plays the facts in the order in which they happened, whatever the order in which they arrived, and answers what became
of each clock. A late fact is played in its place, so that late, swapped and repeated events come out right by construction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from shared.policy.model import Policy
from shared.vocabulary import Category, ClockState, Milestone, Subcategory, Team
from sla_monitor.domain.business_time import Calendar
from sla_monitor.domain.targets import Promise

_PAUSING = (Milestone.RESOLUTION, Milestone.ESCALATION)
_ANSWERED = (Milestone.ACKNOWLEDGEMENT, Milestone.INITIAL_RESPONSE)
_OPEN = (ClockState.RUNNING, ClockState.PAUSED)
_NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True, repr=False)
class Rules:
    """What clocks are judged by: the policy and its calendar, compiled."""

    policy: Policy
    calendar: Calendar


class FactKind(StrEnum):
    """What clocks care about, in the order in which facts of one instant count: answered, stopped, paused, started, ended."""

    ROUTED = "routed"
    ACKNOWLEDGED = "acknowledged"
    REPLIED = "replied"
    RESOLVED = "resolved"
    WAITING = "waiting"
    CONTINUED = "continued"
    CUSTOMER_WROTE = "customer_wrote"
    REOPENED = "reopened"
    CLOSED = "closed"
    RESTRICTED = "restricted"


_PLACE = {kind: place for place, kind in enumerate(FactKind)}


class Care(StrEnum):
    """Whose hands a ticket is in, as far as its clocks care: with safety and legal nothing pauses (L9)."""

    ORDINARY = "ordinary"
    LEGAL = "legal"
    SAFETY = "safety"


def care_of(category: Category | None, subcategory: Subcategory | None, *teams: Team) -> Care:
    """The care that a routing decision puts a ticket in (L9)."""
    if category is Category.SAFETY:
        return Care.SAFETY
    if subcategory is Subcategory.RIGHTS_HOLDER_CLAIM or Team.LEGAL in teams:
        return Care.LEGAL
    return Care.ORDINARY


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened to a ticket; a routing decision has its care, a closing its reason."""

    at: datetime
    kind: FactKind
    id: str
    claimed_at: datetime | None = None
    care: Care | None = None
    reason: str | None = None

    @property
    def order(self) -> tuple[datetime, int, str]:
        """By the time at which it happened; of the same instant the same order whatever came first (L13)."""
        return self.at, _PLACE[self.kind], self.id


@dataclass(frozen=True, slots=True)
class Terms:
    """What was promised for a ticket: at its first routing decision, or provisionally for its tier (L16)."""

    created_at: datetime
    decided_at: datetime
    promises: tuple[Promise, ...]
    care: Care
    policy_version: str
    calendar: str
    decided_by: str | None = None
    """The id of the routing decision; a provisional start has none."""
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """A stretch that does not count; an open one has no end (L9, L12)."""

    started_at: datetime
    ended_at: datetime | None = None


class Clock(NamedTuple):
    """One milestone of one ticket in one cycle. While it is paused `due_at` is what it was when the pause began.

    A fold makes a dozen of them for each event: a named tuple costs a fifth of a frozen dataclass.
    """

    promise: Promise
    cycle: int
    started_at: datetime
    due_at: datetime
    state: ClockState = ClockState.RUNNING
    pauses: tuple[Pause, ...] = ()
    ended_at: datetime | None = None
    """When it was fulfilled, in time or late, or cancelled."""
    reason: str | None = None
    carried: timedelta = _NOTHING
    """What earlier cycles had counted (L12)."""

    @property
    def key(self) -> str:
        """Names the clock within its ticket (L10)."""
        return f"{self.promise.milestone}|{self.cycle}"

    def counted(self, at: datetime, calendar: Calendar) -> timedelta:
        """The time counted until `at`, in the unit of the target, pauses left out (L9)."""
        total, since = _NOTHING, self.started_at
        for pause in self.pauses:
            total += self._measure(since, min(pause.started_at, at), calendar)
            if pause.ended_at is None or at <= pause.ended_at:
                return total
            since = pause.ended_at
        return total + self._measure(since, at, calendar)

    def instant_of(self, counted: timedelta, calendar: Calendar) -> datetime:
        """The earliest instant by which so much time is counted; the last pause must be over."""
        since = self.started_at
        for pause in self.pauses:
            stretch = self._measure(since, pause.started_at, calendar)
            if counted <= stretch or pause.ended_at is None:
                break
            counted -= stretch
            since = pause.ended_at
        return calendar.add(since, counted) if self.promise.in_business_time else since + counted

    def share(self, at: datetime, calendar: Calendar) -> float:
        """The share of the target used up at `at`, between 0 and 1 (L15)."""
        if self.promise.length <= _NOTHING:
            return 1.0
        return min(self.counted(at, calendar) / self.promise.length, 1.0)

    def _measure(self, start: datetime, end: datetime, calendar: Calendar) -> timedelta:
        if self.promise.in_business_time:
            return calendar.measure(start, end)
        return max(end - start, _NOTHING)


class Turn(StrEnum):
    """What can become of a clock, in the words of the events."""

    STARTED = "clock_started"
    WARNING = "warning"
    BREACHED = "breached"
    MET = "met"
    FULFILLED_LATE = "fulfilled_late"
    PAUSED = "paused"
    RESUMED = "resumed"
    RETARGETED = "retargeted"
    CANCELLED = "cancelled"
    CORRECTED = "corrected"


class Change(NamedTuple):
    """One turn of one clock: the clock as it stood after it, when, by which fact and by which clause."""

    turn: Turn
    clock: Clock
    at: datetime
    clause: str | None
    because: Fact | None = None
    previous_due_at: datetime | None = None


def fold(terms: Terms, facts: Sequence[Fact], now: datetime, rules: Rules) -> list[Change]:
    """Everything that became of the clocks until `now`; `facts` are in their order."""
    story = _Story(terms, rules)
    for fact in facts:
        at = max(fact.at, terms.created_at)
        story.breach_before(at)
        story.play(fact, at)
    story.breach_until(now)
    return story.changes


class _Story:
    """Plays facts; holds the clock of each milestone in its latest cycle."""

    def __init__(self, terms: Terms, rules: Rules) -> None:
        self._calendar = rules.calendar
        self._reopen_within = timedelta(days=rules.policy.clocks.reopen_within_days)
        self._care = terms.care
        self._is_waiting = False
        self._resolved_at: datetime | None = None
        self._is_closed = False
        self._clocks: dict[Milestone, Clock] = {}
        self.changes: list[Change] = []
        for promise in terms.promises:
            clock = Clock(promise, 1, terms.created_at, promise.due_at)
            self._turn(Turn.STARTED, clock, terms.decided_at, "L16")

    def breach_before(self, instant: datetime) -> None:
        """What is due earlier is breached: an event at the due instant is still in time (L8)."""
        for clock in self._running():
            if clock.due_at < instant:
                self._breach(clock)

    def breach_until(self, now: datetime) -> None:
        """What is due by now is breached (L10)."""
        for clock in self._running():
            if clock.due_at <= now:
                self._breach(clock)

    def play(self, fact: Fact, at: datetime) -> None:
        match fact.kind:
            case FactKind.ROUTED if fact.care is not None:
                self._care = fact.care
            case FactKind.ACKNOWLEDGED:
                self._fulfil(Milestone.ACKNOWLEDGEMENT, at, fact, "L8")
            case FactKind.REPLIED:
                for milestone in _ANSWERED:
                    self._fulfil(milestone, at, fact, "L8")
            case FactKind.RESOLVED:
                self._resolve(at, fact)
            case FactKind.WAITING:
                self._is_waiting = self._resolved_at is None
            case FactKind.CONTINUED:
                self._is_waiting = False
            case FactKind.CUSTOMER_WROTE:
                self._is_waiting = False
                self._reopen(at, fact)
            case FactKind.REOPENED:
                self._reopen(at, fact)
            case FactKind.CLOSED if self._care is not Care.SAFETY:
                self._close(at, fact, fact.reason, None)
            case FactKind.RESTRICTED:
                self._close(at, fact, fact.kind, "L6")
        self._pause_or_resume(at, fact)

    def _resolve(self, at: datetime, fact: Fact) -> None:
        """Meets `resolution` and cancels the rest (L12)."""
        if self._resolved_at is not None or self._is_closed:
            return
        self._fulfil(Milestone.RESOLUTION, at, fact, "L12")
        self._cancel(Milestone.ESCALATION, at, fact, "resolved", "L12")
        for milestone in _ANSWERED:
            self._cancel(milestone, at, fact, "resolved_unanswered", "L12")
        self._resolved_at = at
        self._is_waiting = False

    def _reopen(self, at: datetime, fact: Fact) -> None:
        """Resumes what the resolution ended, in the next cycle; the time in between is a pause (L12).

        A breach stands: its clock goes on breached, and is not breached again.
        """
        resolved_at = self._resolved_at
        if resolved_at is None or self._is_closed or at - resolved_at > self._reopen_within:
            return
        self._resolved_at = None
        for milestone in _PAUSING:
            ended = self._clocks.get(milestone)
            if ended is None or ended.ended_at != resolved_at:
                continue
            is_breached = ended.state is ClockState.BREACHED
            resumed = ended._replace(
                cycle=ended.cycle + 1,
                state=ClockState.BREACHED if is_breached else ClockState.RUNNING,
                pauses=(*ended.pauses, Pause(resolved_at, at)),
                ended_at=None,
                reason=None,
                carried=ended.counted(resolved_at, self._calendar),
            )
            if not is_breached:
                resumed = resumed._replace(due_at=max(at, resumed.instant_of(ended.promise.length, self._calendar)))
            self._turn(Turn.RESUMED, resumed, at, "L12", fact, ended.due_at)

    def _close(self, at: datetime, fact: Fact, reason: str | None, clause: str | None) -> None:
        """Cancels what still runs, for good."""
        self._is_closed = True
        for milestone in list(self._clocks):
            self._cancel(milestone, at, fact, reason, clause)

    def _pause_or_resume(self, at: datetime, fact: Fact) -> None:
        """While the customer is asked, resolution and escalation pause; never with safety or legal (L9)."""
        is_paused = self._is_waiting and self._care is Care.ORDINARY
        for milestone in _PAUSING:
            clock = self._clocks.get(milestone)
            if clock is None:
                continue
            if is_paused and clock.state is ClockState.RUNNING:
                if clock.due_at <= at:
                    self._breach(clock)
                else:
                    paused = clock._replace(state=ClockState.PAUSED, pauses=(*clock.pauses, Pause(at)))
                    self._turn(Turn.PAUSED, paused, at, "L9", fact)
            elif not is_paused and clock.state is ClockState.PAUSED:
                resumed = clock._replace(state=ClockState.RUNNING, pauses=_ended(clock.pauses, at))
                resumed = resumed._replace(due_at=resumed.instant_of(clock.promise.length, self._calendar))
                self._turn(Turn.RESUMED, resumed, at, "L9", fact, clock.due_at)

    def _fulfil(self, milestone: Milestone, at: datetime, fact: Fact, clause: str) -> None:
        clock = self._clocks.get(milestone)
        if clock is None:
            return
        if clock.state in _OPEN:
            met = clock._replace(state=ClockState.MET, ended_at=at, pauses=_ended(clock.pauses, at))
            self._turn(Turn.MET, met, at, clause, fact)
        elif clock.state is ClockState.BREACHED and clock.ended_at is None:
            self._turn(Turn.FULFILLED_LATE, clock._replace(ended_at=at), at, "L13", fact)

    def _cancel(self, milestone: Milestone, at: datetime, fact: Fact, reason: str | None, clause: str | None) -> None:
        clock = self._clocks.get(milestone)
        if clock is not None and clock.state in _OPEN:
            pauses = _ended(clock.pauses, at)
            cancelled = clock._replace(state=ClockState.CANCELLED, ended_at=at, reason=reason, pauses=pauses)
            self._turn(Turn.CANCELLED, cancelled, at, clause, fact)

    def _breach(self, clock: Clock) -> None:
        self._turn(Turn.BREACHED, clock._replace(state=ClockState.BREACHED), clock.due_at, "L10")

    def _running(self) -> list[Clock]:
        return [clock for clock in self._clocks.values() if clock.state is ClockState.RUNNING]

    def _turn(
        self,
        turn: Turn,
        clock: Clock,
        at: datetime,
        clause: str | None,
        because: Fact | None = None,
        previous_due_at: datetime | None = None,
    ) -> None:
        self._clocks[clock.promise.milestone] = clock
        self.changes.append(Change(turn, clock, at, clause, because, previous_due_at))


def _ended(pauses: tuple[Pause, ...], at: datetime) -> tuple[Pause, ...]:
    """The pauses with the open one ended."""
    if pauses and pauses[-1].ended_at is None:
        return (*pauses[:-1], Pause(pauses[-1].started_at, at))
    return pauses
